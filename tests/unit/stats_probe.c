/* The class probe: a planted signature is found, noise is not, and rows are never learned from and asked
 * alike. */
#include "stats/stats.h"

#include <criterion/criterion.h>
#include <math.h>

enum { N = 600, P = 3, K = 3 };

static LobProbe probe_of(double shift, double missing) {
    static double x[N * P];
    static uint32_t class_of[N], fold[N];
    LobRng rng;
    lob_rng_init(&rng, 5, "probe");
    for (uint32_t i = 0; i < N; i++) {
        class_of[i] = i % 4 == 3 ? 0 : i % K; /* the first is the largest */
        fold[i] = i / 7 % 5;
        for (size_t k = 0; k < P; k++)
            x[i * P + k] =
                lob_rng_uniform(&rng) < missing ? NAN : lob_rng_normal(&rng) + (class_of[i] == k ? shift : 0);
    }
    return lob_class_probe(x, N, P, class_of, K, fold, 5);
}

Test(stats_probe, finds_what_is_planted_and_nothing_else) {
    const LobProbe strong = probe_of(8, 0), none = probe_of(0, 0), gaps = probe_of(8, 0.1);
    cr_expect(strong.accuracy > 0.99 && strong.n == N, "%g", strong.accuracy);
    cr_expect_float_eq(none.largest, 0.5, 0.01);
    cr_expect(none.accuracy < none.largest + 0.05 && none.accuracy > 0.3, "%g", none.accuracy);
    cr_expect(gaps.accuracy > 0.85, "missing cells count as the mean: %g", gaps.accuracy);
}

Test(stats_probe, says_why_not) {
    const double x[] = {1, 2, 3, 4};
    const uint32_t two[] = {0, 0, 0, 1}, one[] = {0, 0, 0, 0}, fold[] = {0, 0, 1, 1};
    const LobProbe lone = lob_class_probe(x, 4, 1, two, 2, fold, 2),
                   single = lob_class_probe(x, 4, 1, one, 1, fold, 2),
                   empty = lob_class_probe(x, 0, 1, one, 2, fold, 2);
    cr_expect(isnan(lone.accuracy) && lone.reason && lone.largest == 0.75);
    cr_expect(isnan(single.accuracy) && single.reason);
    cr_expect(isnan(empty.accuracy) && empty.reason);
}
