/* Models trained in lock-step are the models trained alone, over one rank and over several that share the
 * patients out; and the fused kernels are the plain ones. */
#include "model/sweep.h"
#include "model/sweep_kernels.h"
#include "model_fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WIDE = 24, MOST = 700, SEEDS = 3 };

/* Bags from one tile to more than a block of rows; column 0 carries what the outcome follows. */
typedef struct {
    uint64_t first[PATIENTS], count[PATIENTS];
    uint16_t *features;
    LobBags bags;
} Bags;

static Bags *bags_changed(Change change) {
    Bags *b = g_new0(Bags, 1);
    LobRng rng;
    uint64_t rows = 0;
    for (int p = 0; p < PATIENTS; p++) {
        b->first[p] = rows;
        b->count[p] = p % 9 == 4 ? 0 : p % 7 == 0 ? 1 : (uint64_t)(p * 131 % MOST) + 1;
        b->count[p] = is_changed(change, p) ? 3 * MOST - 2 * b->count[p] : b->count[p];
        rows += b->count[p];
    }
    b->features = g_new(uint16_t, rows * WIDE);
    for (int p = 0; p < PATIENTS; p++) {
        g_autofree char *stream = g_strdup_printf("bag/%d/%d", p, is_changed(change, p));
        lob_rng_init(&rng, 5, stream);
        for (uint64_t i = 0; i < b->count[p] * WIDE; i++)
            b->features[b->first[p] * WIDE + i] = lob_half_from_float(
                (float)(5 + lob_rng_normal(&rng) + (i % WIDE == 0 ? 1.5 * sin(p * 2.4) : 0)));
    }
    b->bags = (LobBags){.n_patients = PATIENTS, .dim = WIDE, b->first, b->count, b->features, .group = NULL};
    return b;
}

static Bags *bags_new(void) {
    return bags_changed(no_change);
}

static void bags_free(Bags *b) {
    g_free(b->features);
    g_free(b);
}

typedef struct {
    LobView *views[SEEDS];
    LobModelOptions options[SEEDS];
    LobModelResult results[SEEDS];
} Models;

static void models_init(Models *m, const World *w, const LobModelOptions *options) {
    for (int k = 0; k < SEEDS; k++) {
        m->options[k] = *options;
        m->options[k].seed = 7 + (uint64_t)k;
        m->views[k] = lob_view_new(w->cohort, w->folds, 0, 0, 1, m->options[k].seed, NULL);
        cr_assert(m->views[k]);
    }
}

static void models_clear(Models *m) {
    for (int k = 0; k < SEEDS; k++) {
        g_clear_pointer(&m->views[k], lob_view_free);
        lob_model_result_clear(&m->results[k]);
    }
}

static void fit_alone(Models *m, const LobBags *bags) {
    g_autoptr(GError) err = NULL;
    for (int k = 0; k < SEEDS; k++)
        cr_assert(lob_model_fit(m->views[k], bags, &m->options[k], &m->results[k], NULL, NULL, &err), "%s",
                  err ? err->message : "");
}

static void fit_swept(Models *m, const LobBags *bags) {
    g_autoptr(GError) err = NULL;
    cr_assert(lob_sweep_fit((const LobView *const *)m->views, bags, m->options, SEEDS, m->results, NULL, NULL,
                            &err),
              "%s", err ? err->message : "");
}

static void expect_close(const float *a, const float *b, size_t n, double tolerance, const char *what) {
    for (size_t i = 0; i < n; i++) {
        if (isnan(a[i]) && isnan(b[i]))
            continue;
        cr_assert_float_eq(a[i], b[i], tolerance * (1 + fabs((double)a[i])), "%s %zu: %.9g and %.9g", what, i,
                           (double)a[i], (double)b[i]);
    }
}

static void expect_same(const LobModelResult *a, const LobModelResult *b, size_t rows, double tolerance) {
    cr_assert_eq(a->best_epoch, b->best_epoch);
    cr_assert_eq(a->epochs_run, b->epochs_run);
    cr_assert_eq(a->n_weights, b->n_weights);
    expect_close(a->weights, b->weights, a->n_weights, tolerance, "weight");
    expect_close(a->lp, b->lp, PATIENTS, tolerance, "lp");
    cr_expect_float_eq(a->cut, b->cut, tolerance);
    cr_expect_float_eq(a->train_loss, b->train_loss, tolerance);
    if (a->survival)
        expect_close(a->survival, b->survival, PATIENTS * a->n_horizons, tolerance, "S");
    if (a->probability)
        expect_close(a->probability, b->probability, PATIENTS * a->n_classes, tolerance, "probability");
    if (rows)
        expect_close(a->attention, b->attention, rows, tolerance, "attention");
}

static LobModelOptions sweep_options(const World *w) {
    LobModelOptions o = options_for(w, "abmil");
    o.hidden = 20;
    o.attention = 9;
    o.epochs = 6;
    o.max_tiles = 600;
    o.rounds = MIN(o.rounds, 3);
    o.patience = 2;
    return o;
}

static void check_same(const char *endpoint, int rounds) {
    World *w = world_new(no_change, endpoint);
    Bags *b = bags_new();
    Models alone = {0}, swept = {0};
    LobModelOptions o = sweep_options(w);
    o.rounds = rounds;
    models_init(&alone, w, &o);
    models_init(&swept, w, &o);
    fit_alone(&alone, &b->bags);
    fit_swept(&swept, &b->bags);
    uint64_t rows = b->first[PATIENTS - 1] + b->count[PATIENTS - 1];
    for (int k = 0; k < SEEDS; k++)
        expect_same(&alone.results[k], &swept.results[k], rows, 1e-5);
    models_clear(&alone);
    models_clear(&swept);
    bags_free(b);
    world_free(w);
}

Test(model, sweep_is_the_models_alone) {
    check_same(survival, 3);
    check_same(survival, 0);
    check_same(binary, 0);
}

static void fit_changed(Models *m, Change change, const char *endpoint, int rounds) {
    World *w = world_new(change, endpoint);
    Bags *b = bags_changed(change);
    LobModelOptions o = sweep_options(w);
    o.rounds = rounds;
    models_init(m, w, &o);
    fit_swept(m, &b->bags);
    for (int k = 0; k < SEEDS; k++)
        g_clear_pointer(&m->views[k], lob_view_free);
    bags_free(b);
    world_free(w);
}

static bool same_bits(const LobModelResult *a, const LobModelResult *b) {
    return a->n_weights == b->n_weights && a->best_epoch == b->best_epoch && a->cut == b->cut &&
           memcmp(a->weights, b->weights, a->n_weights * sizeof(float)) == 0;
}

/* Fold 1 is held out: replacing all there is of it moves no bit of any model of the sweep, bags of quite
 * another size included; a training center moves every one. */
static void check_leakage(const char *endpoint, int rounds) {
    Models plain = {0}, held_out = {0}, training = {0};
    fit_changed(&plain, no_change, endpoint, rounds);
    fit_changed(&held_out, (Change){1, -1}, endpoint, rounds);
    fit_changed(&training, (Change){2, -1}, endpoint, rounds);
    for (int k = 0; k < SEEDS; k++) {
        cr_expect(same_bits(&plain.results[k], &held_out.results[k]), "%s: seed %d moved", endpoint, k);
        cr_expect_not(same_bits(&plain.results[k], &training.results[k]), "%s: seed %d", endpoint, k);
    }
    models_clear(&plain);
    models_clear(&held_out);
    models_clear(&training);
}

Test(model, held_out_center_cannot_reach_a_sweep) {
    check_leakage(survival, 3);
    check_leakage(binary, 0);
    check_leakage("{name: cls, kind: multiclass, label: class}", 0);
}

static bool never(void *user) {
    (*(int *)user)++;
    return false;
}

/* What draws nothing by its seed is trained once, and every seed is what it would be alone, to the bit. */
Test(model, clinical_seeds_are_one_model) {
    const char *endpoints[] = {survival, binary};
    for (size_t i = 0; i < G_N_ELEMENTS(endpoints); i++) {
        World *w = world_new(no_change, endpoints[i]);
        LobModelOptions o = options_for(w, "clinical");
        Models alone = {0}, swept = {0};
        int asked_alone = 0, asked_swept = 0;
        models_init(&alone, w, &o);
        models_init(&swept, w, &o);
        for (int k = 0; k < SEEDS; k++)
            cr_assert(lob_model_fit(alone.views[k], &w->bags, &alone.options[k], &alone.results[k], never,
                                    &asked_alone, NULL));
        cr_assert(lob_sweep_fit((const LobView *const *)swept.views, &w->bags, swept.options, SEEDS,
                                swept.results, never, &asked_swept, NULL));
        cr_expect_eq(asked_alone, SEEDS * asked_swept);
        for (int k = 0; k < SEEDS; k++) {
            expect_same(&alone.results[k], &swept.results[k], 0, 0);
            cr_expect(same_bits(&alone.results[k], &swept.results[k]));
        }
        models_clear(&alone);
        models_clear(&swept);
        world_free(w);
    }
}

/* Near fp32 and not fp32; refused where the machine cannot. */
Test(model, sweep_in_bf16_is_near) {
    World *w = world_new(no_change, survival);
    Bags *b = bags_new();
    LobModelOptions o = sweep_options(w);
    Models plain = {0}, rounded = {0};
    g_autoptr(GError) err = NULL;
    o.rounds = 0;
    models_init(&plain, w, &o);
    o.bf16 = true;
    models_init(&rounded, w, &o);
    fit_swept(&plain, &b->bags);
    if (lob_sweep_fit((const LobView *const *)rounded.views, &b->bags, rounded.options, SEEDS,
                      rounded.results, NULL, NULL, &err)) {
        for (int k = 0; k < SEEDS; k++) {
            expect_close(plain.results[k].lp, rounded.results[k].lp, PATIENTS, 0.02, "lp");
            cr_expect(memcmp(plain.results[k].lp, rounded.results[k].lp, PATIENTS * sizeof(float)) != 0);
        }
    } else {
        cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_INPUT), "%s", err->message);
        fprintf(stderr, "bf16 is not compared with fp32 here: %s\n", err->message);
    }
    models_clear(&plain);
    models_clear(&rounded);
    bags_free(b);
    world_free(w);
}

/* ---- ranks: processes that share a page, and wait for each other ---- */

enum { MOST_RANKS = 3, ROOM = 1 << 16 };

typedef struct {
    pthread_barrier_t barrier;
    double values[MOST_RANKS][ROOM];
    float lp[MOST_RANKS][SEEDS][PATIENTS], cut[MOST_RANKS][SEEDS];
    uint64_t weights[MOST_RANKS][SEEDS]; /* sum over the bits */
} Shared;

static void test_allreduce_double(const LobGroup *group, double *values, size_t n) {
    Shared *s = group->user;
    cr_assert(n <= ROOM);
    memcpy(s->values[group->rank], values, n * sizeof *values);
    pthread_barrier_wait(&s->barrier);
    for (size_t i = 0; i < n; i++) {
        values[i] = 0;
        for (int r = 0; r < group->size; r++)
            values[i] += s->values[r][i];
    }
    pthread_barrier_wait(&s->barrier);
}

static void test_allreduce(const LobGroup *group, float *values, size_t n) {
    g_autofree double *wide = g_new(double, n);
    for (size_t i = 0; i < n; i++)
        wide[i] = (double)values[i];
    test_allreduce_double(group, wide, n);
    for (size_t i = 0; i < n; i++)
        values[i] = (float)wide[i];
}

static void test_allgather(const LobGroup *group, const double *mine, const size_t *n, double *all) {
    Shared *s = group->user;
    cr_assert(n[group->rank] <= ROOM);
    memcpy(s->values[group->rank], mine, n[group->rank] * sizeof *mine);
    pthread_barrier_wait(&s->barrier);
    for (int r = 0; r < group->size; all += n[r++])
        memcpy(all, s->values[r], n[r] * sizeof *all);
    pthread_barrier_wait(&s->barrier);
}

/* One rank: it cannot read what others own, since that is overwritten first. */
static void be_rank(const World *w, Bags *b, Shared *shared, int rank, int size, const LobModelOptions *o,
                    bool sweep) {
    uint32_t owner[PATIENTS];
    LobGroup group = {.rank = rank,
                      .size = size,
                      .user = shared,
                      .allgather = test_allgather,
                      .allreduce = test_allreduce,
                      .allreduce_double = test_allreduce_double};
    for (uint32_t p = 0; p < PATIENTS; p++) {
        owner[p] = p / 2 % (uint32_t)size;
        for (uint64_t i = b->first[p] * WIDE;
             owner[p] != (uint32_t)rank && i < (b->first[p] + b->count[p]) * WIDE; i++)
            b->features[i] = 0x7e00;
    }
    b->bags.group = &group;
    b->bags.owner = owner;
    Models m = {0};
    models_init(&m, w, o);
    if (sweep)
        fit_swept(&m, &b->bags);
    else
        fit_alone(&m, &b->bags);
    for (int k = 0; k < SEEDS; k++) {
        memcpy(shared->lp[rank][k], m.results[k].lp, sizeof shared->lp[rank][k]);
        shared->cut[rank][k] = (float)m.results[k].cut;
        for (size_t i = 0; i < m.results[k].n_weights; i++) {
            uint32_t bits;
            memcpy(&bits, &m.results[k].weights[i], sizeof bits);
            shared->weights[rank][k] = shared->weights[rank][k] * 31 + bits;
        }
    }
}

static void check_ranks(const World *w, const Models *whole, int size, const LobModelOptions *o, bool sweep) {
    Shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_barrierattr_t attributes;
    cr_assert(shared != MAP_FAILED && pthread_barrierattr_init(&attributes) == 0 &&
              pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0 &&
              pthread_barrier_init(&shared->barrier, &attributes, (unsigned)size) == 0);
    for (int rank = 0; rank < size; rank++) {
        if (fork() == 0) {
            be_rank(w, bags_new(), shared, rank, size, o, sweep);
            _exit(0);
        }
    }
    for (int rank = 0, status; rank < size; rank++)
        cr_assert(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (int k = 0; k < SEEDS; k++) {
        expect_close(whole->results[k].lp, shared->lp[0][k], PATIENTS, 1e-5, "lp");
        cr_expect_float_eq(whole->results[k].cut, shared->cut[0][k], 1e-5);
        for (int rank = 1; rank < size; rank++) {
            cr_expect(memcmp(shared->lp[0][k], shared->lp[rank][k], sizeof shared->lp[0][k]) == 0);
            cr_expect_eq(shared->weights[0][k], shared->weights[rank][k], "rank %d's weights", rank);
        }
    }
    munmap(shared, sizeof *shared);
}

Test(model, a_group_trains_what_one_rank_does) {
    World *w = world_new(no_change, survival);
    Bags *b = bags_new();
    LobModelOptions o = sweep_options(w);
    Models whole = {0};
    models_init(&whole, w, &o);
    fit_alone(&whole, &b->bags);
    for (int size = 1; size <= MOST_RANKS; size++) {
        check_ranks(w, &whole, size, &o, true);
        check_ranks(w, &whole, size, &o, false);
    }
    models_clear(&whole);
    bags_free(b);
    world_free(w);
}

/* Two passes over a batch, between which the scores go round: all patients at once, and batches with few
 * events, of which a rank may own none. */
Test(model, a_group_trains_by_cox_what_one_rank_does) {
    World *w = world_new(no_change, survival);
    Bags *b = bags_new();
    LobModelOptions o = sweep_options(w);
    o.cox = true;
    for (int all = 0; all < 2; all++) {
        Models whole = {0};
        o.batch = all ? 1000000 : 7;
        models_init(&whole, w, &o);
        fit_alone(&whole, &b->bags);
        cr_assert_gt(whole.results[0].best_epoch + whole.results[1].best_epoch, 0);
        for (int size = 1; size <= MOST_RANKS; size++)
            check_ranks(w, &whole, size, &o, false);
        models_clear(&whole);
    }
    bags_free(b);
    world_free(w);
}

static bool stop_at_once(void *user) {
    (*(int *)user)++;
    return true;
}

Test(model, a_sweep_stops_where_asked) {
    World *w = world_new(no_change, survival);
    Bags *b = bags_new();
    LobModelOptions o = sweep_options(w);
    Models m = {0};
    g_autoptr(GError) err = NULL;
    int asked = 0;
    models_init(&m, w, &o);
    cr_expect_not(lob_sweep_fit((const LobView *const *)m.views, &b->bags, m.options, SEEDS, m.results,
                                stop_at_once, &asked, &err));
    cr_expect(g_error_matches(err, LOB_ERROR, LOB_ERROR_STOPPED));
    cr_expect_eq(asked, 1);
    for (int k = 0; k < SEEDS; k++)
        cr_expect_null(m.results[k].lp);
    models_clear(&m);
    bags_free(b);
    world_free(w);
}

/* ---- kernels ---- */

enum { ROWS = 5, STRIDE = 90, FLOATS = ROWS * STRIDE };

static void fill(float *v, size_t n, const char *name, double scale) {
    LobRng rng;
    lob_rng_init(&rng, 9, name);
    for (size_t i = 0; i < n; i++)
        v[i] = (float)(scale * lob_rng_normal(&rng));
}

static void check_kernels(size_t n) {
    const LobSweepKernels *fast = lob_sweep_kernels(), *plain = &lob_sweep_kernels_reference;
    const LobSweepKernels *both[] = {fast, plain};
    float m[2][FLOATS], ts[2][FLOATS], score[2][ROWS], sums[2][4][STRIDE], scaled[2][STRIDE], h[FLOATS];
    float a[STRIDE], c[STRIDE], weight[ROWS], e[2][STRIDE], total[2];
    uint16_t halves[STRIDE];
    fill(a, STRIDE, "a", 0.5);
    fill(c, STRIDE, "c", 1);
    fill(weight, ROWS, "weight", 1);
    fill(h, FLOATS, "h", 1);
    lob_halves_from_floats(halves, c, STRIDE);
    for (int k = 0; k < 2; k++) {
        memset(sums[k], 0, sizeof sums[k]);
        fill(m[k], FLOATS, "m", 1);
        fill(ts[k], FLOATS, "ts", 4);
        both[k]->scale_row(halves, a, c, n, scaled[k]);
        both[k]->bias_relu(m[k], STRIDE, a, ROWS, n);
        both[k]->relu_back(m[k], h, STRIDE, weight, c, ROWS, n, sums[k][0]);
        both[k]->gate(ts[k], STRIDE, a, c, ROWS, n, score[k]);
        both[k]->gate_back(ts[k], STRIDE, c, weight, ROWS, n, sums[k][1], sums[k][2]);
        total[k] = both[k]->exp_sum(c, 2, n, e[k]);
    }
    expect_close(scaled[0], scaled[1], n, 0, "scaled");
    expect_close(m[0], m[1], FLOATS, 1e-6, "relu");
    expect_close(score[0], score[1], ROWS, 2e-6, "score");
    expect_close(ts[0], ts[1], FLOATS, 3e-6, "gates");
    for (int i = 0; i < 3; i++)
        expect_close(sums[0][i], sums[1][i], 2 * n, 2e-6, "sum");
    expect_close(e[0], e[1], n, 1e-6, "exp");
    cr_expect_float_eq(total[0], total[1], 1e-5);
}

Test(model, sweep_kernels_are_the_plain_ones) {
    const size_t sizes[] = {1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 45};
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
        check_kernels(sizes[i]);
}
