#include "encoder/vit_internal.h"

#include <string.h>

void lob_vit_rows_init(LobVitRows *rows, size_t tokens, size_t group) {
    *rows = (LobVitRows){.tokens = tokens, .group = group, .main = tokens};
    if (group == 0) {
        return;
    }
    rows->main = tokens / group * group;
    rows->tail = tokens - rows->main;
    rows->left = (rows->tail + 1) / 2;
    rows->share = rows->tail > 0 ? group / 2 / rows->left : 0;
}

static size_t front(const LobVitRows *rows, size_t n) {
    return rows->tail > 0 ? (n + rows->share - 1) / rows->share * rows->group : 0;
}

size_t lob_vit_rows_all(const LobVitRows *rows, size_t n) {
    return front(rows, n) + n * rows->main;
}

size_t lob_vit_rows_memory(const LobVitRows *rows, size_t n) {
    return lob_vit_rows_all(rows, n) + rows->tail;
}

size_t lob_vit_rows_tile(const LobVitRows *rows, size_t n, size_t b) {
    return front(rows, n) + b * rows->main;
}

size_t lob_vit_rows_token(const LobVitRows *rows, size_t n, size_t b, size_t t) {
    if (t < rows->main) {
        return lob_vit_rows_tile(rows, n, b) + t;
    }
    const size_t own = b % rows->share, of_tail = t - rows->main;
    const size_t group = b / rows->share * rows->group;
    return of_tail < rows->left
               ? group + own * rows->left + of_tail
               : group + rows->group / 2 + own * (rows->tail - rows->left) + of_tail - rows->left;
}

void lob_vit_rows_clear(const LobVitRows *rows, size_t n, float *memory, size_t width) {
    memset(memory, 0, front(rows, n) * width * sizeof *memory);
}

void lob_vit_rows_put_tail(const LobVitRows *rows, size_t n, size_t b, float *memory, size_t width) {
    const float *behind = memory + (lob_vit_rows_tile(rows, n, b) + rows->main) * width;
    for (size_t t = rows->main; t < rows->tokens; t++, behind += width) {
        memcpy(memory + lob_vit_rows_token(rows, n, b, t) * width, behind, width * sizeof *memory);
    }
}

void lob_vit_rows_take_tail(const LobVitRows *rows, size_t n, size_t b, float *memory, size_t width) {
    float *behind = memory + (lob_vit_rows_tile(rows, n, b) + rows->main) * width;
    for (size_t t = rows->main; t < rows->tokens; t++, behind += width) {
        memcpy(behind, memory + lob_vit_rows_token(rows, n, b, t) * width, width * sizeof *memory);
    }
}
