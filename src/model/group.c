/* What every group needs, over its table of functions. */
#include "model/group.h"

#include <glib.h>
#include <string.h>

void lob_group_gather(const LobGroup *group, const uint32_t *owner, const uint32_t *patients, size_t n,
                      size_t width, double *values) {
    if (!group || !owner)
        return;
    size_t ranks = (size_t)group->size, mine = 0;
    g_autofree size_t *counts = g_new0(size_t, ranks), *next = g_new0(size_t, ranks);
    g_autofree double *own = g_new(double, MAX(n * width, 1)), *all = g_new(double, MAX(n * width, 1));
    for (size_t i = 0; i < n; i++) {
        counts[owner[patients[i]]] += width;
        if (owner[patients[i]] == (uint32_t)group->rank)
            memcpy(own + width * mine++, values + i * width, width * sizeof *own);
    }
    for (size_t r = 1; r < ranks; r++)
        next[r] = next[r - 1] + counts[r - 1];
    group->allgather(group, own, counts, all);
    for (size_t i = 0; i < n; i++) {
        memcpy(values + i * width, all + next[owner[patients[i]]], width * sizeof *all);
        next[owner[patients[i]]] += width;
    }
}
