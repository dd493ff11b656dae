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

/* ---- the ceiling: the best of a few large products, as a layer of ViT-L over eight tiles has them ---- */

typedef struct {
    LobEncoderProduct *product;
    double flop;
} Product;

static bool run_product(void *user, double *units, GError **err) {
    const Product *p = user;
    *units = p->flop;
    return lob_encoder_product_run(p->product, err);
}

static bool gemm_ceiling(const LobBench *bench, double *flops, GError **err) {
    static const size_t shapes[][3] = {{1576, 1024, 1024}, {1576, 4096, 1024}, {1576, 1024, 4096}};
    for (size_t i = 0; i < G_N_ELEMENTS(shapes); i++) {
        const size_t m = shapes[i][0], n = shapes[i][1], k = shapes[i][2];
        LobBenchRate rate;
        g_autoptr(LobEncoderProduct) product = lob_encoder_product_new(bench->precision, m, n, k, err);
        Product p = {product, 2.0 * (double)m * (double)n * (double)k};
        if (!product || !lob_bench_measure(bench, run_product, &p, &rate, err))
            return false;
        *flops = MAX(*flops, rate.rate);
    }
    return true;
}

/* Before the encoder and after it, since a machine's clock drifts: the larger counts. */
static bool measure(const LobBench *bench, Encoding *e, LobBenchResult *r, GError **err) {
    const double flop = lob_encoder_cost(e->encoder).flop;
    LobBench brief = *bench;
    brief.seconds = fmin(bench->seconds, 1);
    brief.repeats = MIN(bench->repeats, 3);
    if (flop > 0 && !gemm_ceiling(&brief, &r->ceiling, err))
        return false;
    if (!lob_bench_measure(bench, run_encoder, e, &r->rate, err))
        return false;
    if (flop > 0 ? !gemm_ceiling(&brief, &r->ceiling, err) : !lob_bench_memory(bench, &r->ceiling, err))
        return false;
    r->ceiling /= flop > 0 ? flop : 2.0 * TILE * TILE * 3;
    r->gflops = 1e-9 * flop * r->rate.rate;
    return true;
}

/* ---- what else is told ---- */

/* MiB of the most memory this process ever had, the shared weights included; 0 where it is not known. */
static double most_memory(void) {
    g_autofree char *text = NULL;
    if (!g_file_get_contents("/proc/self/status", &text, NULL, NULL))
        return 0;
    const char *line = strstr(text, "VmHWM:");
    return line ? g_ascii_strtod(line + strlen("VmHWM:"), NULL) / 1024 : 0;
}

static json_t *tell_cost(const LobBench *bench, const LobEncoder *encoder) {
    const LobEncoderCost cost = lob_encoder_cost(encoder);
    json_t *more =
        json_pack("{s:s, s:i, s:f, s:f, s:f, s:f}", "precision", bench->precision, "batch", bench->batch,
                  "gflop_a_tile", 1e-9 * cost.flop, "weights_mib", (double)cost.weight_bytes / 1048576,
                  "working_mib", (double)cost.working_bytes / 1048576, "peak_rss_mib", most_memory());
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

static LobEncoder *open_encoder(const LobBench *bench, Node *node, GError **err) {
    const LobWorld *world = bench->world;
    const LobEncoderMemory memory = {share_weights, weights_ready, node};
    const LobEncoderOptions options = {
        .name = bench->encoder,
        .precision = bench->precision,
        .tile_size = TILE,
        .mpp = 0.5,
        .batch = (size_t)bench->batch,
        .random_weights = strcmp(bench->encoder, "texture") != 0,
        .memory = world->has_mpi && world->node_size > 1 ? &memory : NULL,
    };
    return lob_encoder_open(&options, err);
}

static bool bench_opened(const LobBench *bench, LobEncoder *encoder, GError **err) {
    const size_t n = (size_t)bench->batch;
    g_autofree uint8_t *rgb = paint_tiles(n);
    g_autofree float *out = g_new(float, n *(size_t)lob_encoder_info(encoder)->dim);
    Encoding e = {encoder, rgb, out, n};
    g_autofree char *what = g_strdup_printf("%s %s", bench->encoder, bench->precision);
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

bool lob_bench_encoder(const LobBench *bench, GError **err) {
    Node node = {.world = bench->world};
    GError *mine = NULL;
    LobEncoder *encoder = open_encoder(bench, &node, &mine);
    const bool ok = lob_world_agree(bench->world, mine, err) && bench_opened(bench, encoder, err);
    lob_encoder_free(encoder);
    lob_shared_free(node.weights);
    return ok;
}
