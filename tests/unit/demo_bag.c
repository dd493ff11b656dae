/* Bags must show the latents about as well as a good encoder would: pooled, with a linear reader. */
#include "demo/demo.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* Least squares by Gauss-Jordan on the normal equations; a [n][n + 1] is overwritten, the solution is the
 * last column. */
static void solve(double *a, size_t n) {
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; i < n; i++) {
            double f = i == k ? 0.0 : a[i * (n + 1) + k] / a[k * (n + 1) + k];
            for (size_t j = k; i != k && j <= n; j++)
                a[i * (n + 1) + j] -= f * a[k * (n + 1) + j];
        }
    }
    for (size_t i = 0; i < n; i++)
        a[i * (n + 1) + n] /= a[i * (n + 1) + i];
}

typedef struct {
    size_t n, dim; /* dim: columns and one intercept a center */
    double *x;     /* [n][dim] pooled */
} Pooled;

static Pooled pool(const LobDemo *demo) {
    size_t columns = (size_t)demo->options.dim, rows = (size_t)demo->options.tiles;
    Pooled p = {.n = demo->n_patients, .dim = columns + (size_t)demo->options.centers};
    p.x = g_new0(double, p.n *p.dim);
    g_autofree float *bag = g_new(float, rows *columns);
    for (size_t i = 0; i < p.n; i++) {
        lob_demo_bag(demo, i, bag);
        for (size_t r = 0; r < rows; r++) {
            for (size_t d = 0; d < columns; d++)
                p.x[i * p.dim + d] += (double)bag[r * columns + d] / (double)rows;
        }
        p.x[i * p.dim + columns + (size_t)demo->patients[i].center] = 1.0;
    }
    return p;
}

/* Squared correlation of a latent with its best linear reading; fitted on even patients, judged on odd. */
static double reliability(const Pooled *p, const double *latent) {
    size_t m = p->dim;
    g_autofree double *a = g_new0(double, m *(m + 1));
    for (size_t i = 0; i < p->n; i += 2) {
        for (size_t j = 0; j < m; j++) {
            for (size_t k = 0; k < m; k++)
                a[j * (m + 1) + k] += p->x[i * m + j] * p->x[i * m + k];
            a[j * (m + 1) + m] += p->x[i * m + j] * latent[i];
        }
    }
    for (size_t j = 0; j < m; j++)
        a[j * (m + 1) + j] += 1e-6;
    solve(a, m);
    double sf = 0, sl = 0, sff = 0, sll = 0, sfl = 0, n = 0;
    for (size_t i = 1; i < p->n; i += 2, n++) {
        double f = 0;
        for (size_t j = 0; j < m; j++)
            f += p->x[i * m + j] * a[j * (m + 1) + m];
        sf += f;
        sl += latent[i];
        sff += f * f;
        sll += latent[i] * latent[i];
        sfl += f * latent[i];
    }
    double c = (sfl - sf * sl / n) / sqrt((sff - sf * sf / n) * (sll - sl * sl / n));
    return c * c;
}

Test(demo_bag, pooled_features_read_grade_and_immune_but_not_perfectly) {
    LobDemoOptions options;
    lob_demo_defaults(&options, true);
    g_autoptr(LobDemo) demo = lob_demo_new(&options);
    Pooled p = pool(demo);
    g_autofree double *grade = g_new(double, p.n), *immune = g_new(double, p.n), *vessel = g_new(double, p.n);
    for (size_t i = 0; i < p.n; i++) {
        grade[i] = demo->patients[i].grade;
        immune[i] = demo->patients[i].immune;
        vessel[i] = demo->patients[i].vessel;
    }
    double g = reliability(&p, grade), m = reliability(&p, immune), v = reliability(&p, vessel);
    cr_log_info("reliability: grade %.3f, immune %.3f, vessel %.3f", g, m, v);
    cr_expect(g >= 0.85 && g < 0.96, "grade %.3f", g);
    cr_expect(m >= 0.85 && m < 0.96, "immune %.3f", m);
    cr_expect(v >= 0.75 && v < 0.96, "vessel %.3f", v);
    g_free(p.x);
}

Test(demo_bag, a_quarter_of_the_columns_carry_the_center) {
    LobDemoOptions options;
    lob_demo_defaults(&options, true);
    g_autoptr(LobDemo) demo = lob_demo_new(&options);
    Pooled p = pool(demo);
    double between[2] = {0};
    for (size_t d = 0; d < 48; d++) {
        double mean[6] = {0}, n[6] = {0}, all = 0, spread = 0;
        for (size_t i = 0; i < p.n; i++) {
            mean[demo->patients[i].center] += p.x[i * p.dim + d];
            n[demo->patients[i].center]++;
        }
        for (int c = 0; c < 6; c++)
            all += mean[c] /= n[c];
        for (int c = 0; c < 6; c++)
            spread += pow(mean[c] - all / 6, 2) / 6;
        between[d % 4 == 0] += sqrt(spread) / (d % 4 == 0 ? 12 : 36);
    }
    cr_expect(between[1] > 0.35, "center SD %.3f in shifted columns", between[1]);
    cr_expect(between[0] < 0.10, "center SD %.3f in the others", between[0]);
    g_free(p.x);
}

Test(demo_bag, depends_on_seed_and_patient_alone) {
    LobDemoOptions options;
    lob_demo_defaults(&options, true);
    options.patients = 60;
    g_autoptr(LobDemo) a = lob_demo_new(&options), b = lob_demo_new(&options);
    float x[32 * 48], y[32 * 48];
    lob_demo_bag(a, 17, x);
    lob_demo_bag(b, 3, y);
    cr_expect_neq(memcmp(x, y, sizeof x), 0);
    lob_demo_bag(b, 17, y);
    cr_expect_eq(memcmp(x, y, sizeof x), 0);
}
