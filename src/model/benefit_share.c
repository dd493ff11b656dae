/* What of a fold's fit another rank needs to refit the effect under exchanged modifiers. */
#include "model/benefit_internal.h"

#include <string.h>

static void put(GByteArray *bytes, const void *data, size_t size) {
    if (size)
        g_byte_array_append(bytes, data, (guint)size);
}

static void take(const char **at, void *data, size_t size) {
    memcpy(data, *at, size);
    *at += size;
}

static void *take_new(const char **at, size_t n, size_t width) {
    void *data = g_malloc0((n + 1) * width);
    take(at, data, n * width);
    return data;
}

void lob_benefit_pack(const LobBenefit *benefit, GByteArray *bytes) {
    const uint64_t sizes[] = {benefit->k, benefit->n_train, benefit->n_held_out, benefit->n_main,
                              benefit->use_product};
    put(bytes, sizes, sizeof sizes);
    put(bytes, benefit->z, benefit->n_patients * benefit->k * sizeof *benefit->z);
    put(bytes, benefit->train, benefit->n_train * sizeof *benefit->train);
    put(bytes, benefit->held_out, benefit->n_held_out * sizeof *benefit->held_out);
    put(bytes, benefit->main, benefit->n_main * sizeof *benefit->main);
    for (int f = 0; f < LOB_PARTS; f++) {
        put(bytes, &benefit->part[f].estimable, sizeof(bool));
        put(bytes, benefit->part[f].weight, benefit->n_patients * sizeof(double));
    }
}

void lob_benefit_unpack(LobBenefit *benefit, const LobView *view, const char **at) {
    uint64_t sizes[5];
    const size_t n = view->cohort->n_patients;
    take(at, sizes, sizeof sizes);
    *benefit = (LobBenefit){.view = view,
                            .n_patients = n,
                            .k = sizes[0],
                            .n_train = sizes[1],
                            .n_held_out = sizes[2],
                            .n_main = sizes[3],
                            .use_product = sizes[4] > 0};
    lob_benefit_codes(benefit);
    benefit->z = take_new(at, n * benefit->k, sizeof *benefit->z);
    benefit->train = take_new(at, benefit->n_train, sizeof *benefit->train);
    benefit->held_out = take_new(at, benefit->n_held_out, sizeof *benefit->held_out);
    benefit->main = take_new(at, benefit->n_main, sizeof *benefit->main);
    for (int f = 0; f < LOB_PARTS; f++) {
        take(at, &benefit->part[f].estimable, sizeof(bool));
        benefit->part[f].weight = take_new(at, n, sizeof(double));
    }
}
