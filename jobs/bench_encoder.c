/* lobule bench encoder: random weights of the true shapes, beside the same library's bare products. */
#include "encoder/encoder.h"
#include "jobs/bench_internal.h"
#include "mpi/farm.h"
#include "mpi/world.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TILE = 224 };

typedef struct {
    LobEncoder *encoder;
    uint8_t *rgb;
    float *out;
    size_t n;
    LobBenchBound *bound;
    double pace_seconds;
} Encoding;

static bool run_encoder(void *user, double *units, GError **err) {
    const Encoding *e = user;
    *units = (double)e->n;
    return lob_encoder_encode(e->encoder, e->rgb, e->n, e->out, NULL, NULL, err);
}

/* Dark blobs on pink, so that encoders that look for nuclei find some. */
static uint8_t *paint_tiles(size_t n) {
    uint8_t *rgb = g_malloc(n * TILE * TILE * 3);
    LobRng rng;
    lob_rng_init(&rng, 1, "bench/tiles");
    for (size_t i = 0; i < n * TILE * TILE; i++) {
        const double x = (double)(i % TILE), y = (double)(i / TILE % TILE);
        const bool nucleus = sin(x / 5) * sin(y / 6) > 0.7;
        const double noise = 20 * lob_rng_uniform(&rng);
        rgb[3 * i] = (uint8_t)((nucleus ? 90 : 220) + noise);
        rgb[3 * i + 1] = (uint8_t)((nucleus ? 60 : 160) + noise);
        rgb[3 * i + 2] = (uint8_t)((nucleus ? 130 : 200) + noise);
    }
    return rgb;
}

enum { RATE, SHARE, PACE }; /* of a turn */

static bool encode_for_a_while(void *user, double *values, GError **err) {
    Encoding *e = user;
    return lob_bench_pace(run_encoder, e, e->pace_seconds, &values[RATE], &values[SHARE], err);
}

static bool encoding_turn(void *user, double *values, GError **err) {
    const Encoding *e = user;
    return lob_bench_bound_turn(e->bound, e->pace_seconds, encode_for_a_while, user, values, &values[PACE],
                                err);
}

/* Beside the products of its precision, which each turn begins and ends with. */
static bool measure_network(const LobBench *bench, const LobBench *brief, Encoding *e, double flop,
                            LobBenchResult *r, GError **err) {
    LobBenchSeries turns;
    e->pace_seconds = brief->seconds / 2;
    e->bound = lob_bench_bound_new(brief, bench->precision, NULL, err);
    const bool ok = e->bound && lob_bench_repeat(bench, encoding_turn, e, &turns, err);
    g_clear_pointer(&e->bound, lob_bench_bound_free);
    if (!ok)
        return false;
    r->rate = lob_bench_summary(turns.values[RATE], turns.n);
    r->rate.cpu = lob_bench_summary(turns.values[SHARE], turns.n).rate / bench->world->size;
    r->kind = LOB_BENCH_BOUND;
    r->ceiling = lob_bench_summary(turns.values[PACE], turns.n).rate / flop;
    r->ratio = lob_bench_paired(&turns, RATE, PACE, flop);
    r->gflops = 1e-9 * flop * r->rate.rate;
    return true;
}

static bool measure(const LobBench *bench, Encoding *e, LobBenchResult *r, GError **err) {
    const double flop = lob_encoder_cost(e->encoder).flop;
    LobBench brief = *bench;
    LobBenchRate copying;
    brief.seconds = fmin(bench->seconds, 1);
    brief.repeats = MIN(bench->repeats, 3);
    if (flop > 0)
        return measure_network(bench, &brief, e, flop, r, err);
    if (!lob_bench_measure(bench, run_encoder, e, &r->rate, err) || !lob_bench_memory(&brief, &copying, err))
        return false;
    r->kind = LOB_BENCH_REFERENCE;
    r->ceiling = copying.rate / (2.0 * TILE * TILE * 3);
    return true;
}

/* ---- what else is told ---- */

static json_t *tell_cost(const LobBench *bench, const LobEncoder *encoder) {
    const LobEncoderCost cost = lob_encoder_cost(encoder);
    json_t *more = json_pack(
        "{s:s, s:i, s:f, s:f, s:f, s:f}", "precision", bench->precision, "batch", bench->batch,
        "gflop_a_tile", 1e-9 * cost.flop, "weights_mib", (double)cost.weight_bytes / 1048576, "working_mib",
        (double)cost.working_bytes / 1048576, "peak_rss_mib", lob_bench_peak_bytes() / 1048576);
    double all = 0;
    for (size_t i = 0; i < cost.n_stages; i++)
        all += cost.stages[i].seconds;
    json_t *stages = json_object();
    for (size_t i = 0; i < cost.n_stages; i++)
        json_object_set_new(stages, cost.stages[i].name, json_real(cost.stages[i].seconds / all));
    json_object_set_new(more, "time_by_stage", cost.n_stages > 0 ? json_incref(stages) : json_null());
    json_decref(stages);
    return more;
}

static void print_cost(const LobBench *bench, const LobEncoder *encoder) {
    const LobEncoderCost cost = lob_encoder_cost(encoder);
    double all = 0;
    if (bench->world->rank != 0)
        return;
    fprintf(stderr, "          weights %.0f MiB a node, working memory %.0f MiB a rank\n",
            (double)cost.weight_bytes / 1048576, (double)cost.working_bytes / 1048576);
    for (size_t i = 0; i < cost.n_stages; i++)
        all += cost.stages[i].seconds;
    for (size_t i = 0; i < cost.n_stages; i++)
        fprintf(stderr, "%s%s %.1f %%", i ? ", " : "          ", cost.stages[i].name,
                100 * cost.stages[i].seconds / all);
    fprintf(stderr, "%s", cost.n_stages ? "\n" : "");
}

/* ---- the bench ---- */

typedef struct {
    const LobWorld *world;
    LobShared *weights;
} Node;

static void *share_weights(void *user, size_t size, bool *fill, GError **err) {
    Node *node = user;
    node->weights = lob_shared_new(node->world, size, err);
    *fill = node->world->node_rank == 0;
    return node->weights ? lob_shared_data(node->weights) : NULL;
}

static void weights_ready(void *user) {
    lob_mpi_barrier(lob_world_node_comm(((const Node *)user)->world));
}

static LobEncoder *open_encoder(const LobBench *bench, const char *name, Node *node, GError **err) {
    const LobWorld *world = bench->world;
    const LobEncoderMemory memory = {share_weights, weights_ready, node};
    const LobEncoderOptions options = {
        .name = name,
        .precision = bench->precision,
        .tile_size = TILE,
        .mpp = 0.5,
        .batch = (size_t)bench->batch,
        .random_weights = strcmp(name, "texture") != 0,
        .memory = world->has_mpi && world->node_size > 1 ? &memory : NULL,
    };
    return lob_encoder_open(&options, err);
}

static bool bench_opened(const LobBench *bench, const char *name, LobEncoder *encoder, GError **err) {
    const size_t n = (size_t)bench->batch;
    g_autofree uint8_t *rgb = paint_tiles(n);
    g_autofree float *out = g_new(float, n *(size_t)lob_encoder_info(encoder)->dim);
    Encoding e = {.encoder = encoder, .rgb = rgb, .out = out, .n = n};
    g_autofree char *what = g_strdup_printf("%s %s", name, bench->precision);
    LobBenchResult r = {.bench = "encoder", .what = what, .unit = "tiles/s"};
    r.ceiling_name =
        lob_encoder_cost(encoder).flop > 0 ? "this precision's product alone" : "copying a tile's pixels";
    if (!measure(bench, &e, &r, err))
        return false;
    r.more = tell_cost(bench, encoder);
    lob_bench_report(bench, &r);
    print_cost(bench, encoder);
    json_decref(r.more);
    return true;
}

static bool bench_one(const LobBench *bench, const char *name, GError **err) {
    Node node = {.world = bench->world};
    GError *mine = NULL;
    lob_bench_forget_peak();
    LobEncoder *encoder = open_encoder(bench, name, &node, &mine);
    const bool ok = lob_world_agree(bench->world, mine, err) && bench_opened(bench, name, encoder, err);
    lob_encoder_free(encoder);
    lob_shared_free(node.weights);
    return ok;
}

bool lob_bench_encoder(const LobBench *bench, GError **err) {
    for (char **name = bench->encoders; *name; name++)
        if (!bench_one(bench, *name, err))
            return false;
    return true;
}
