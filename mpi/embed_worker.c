/* A range of tiles on a worker: read, encode, write. The next batch is read while this one is encoded, across
 * ranges too where the slide stays the same. Batches are cut on fixed tile indices. */
#include "mpi/embed_internal.h"

#include <math.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* Reading is waited for in steps of this, so that messages and stops are seen. */
#define POLL_MS 20
/* The worker's clock starts when the task arrives, also one fetched ahead, a little after rank 0's: what
 * comes this close to the lease's end is not written. */
#define LEASE_SHARE 0.9
#define NO_SLIDE UINT32_MAX

struct LobEmbedder {
    const LobEmbed *embed;
    const LobStudy *study;
    LobShared *weights;
    LobEncoder *encoder;
    LobEncoderMemory memory;
    LobReader *reader;
    LobFarm *farm;
    LobFarmStats *stats;
    uint32_t batch;
    size_t dim;
    double patience; /* seconds a reader may stay silent before collect decides */

    uint32_t slide; /* cohort index of the open slide, NO_SLIDE */
    LobGrid grid;   /* of the open slide */
    uint32_t asked[2];
    int n_asked;           /* requests under way, oldest first: their first tiles */
    float *rows;           /* [range][dim] */
    uint8_t (*quality)[2]; /* [range] blur, over-exposure */
    size_t room;           /* tiles that rows and quality have room for */
    LobStainMethod stain;
    LobStainMap stain_map; /* of the open slide */
    uint8_t *stained;      /* a batch of normalised tiles; NULL where stains stay as they are */
};

/* ---- set-up ---- */

static void *share_weights(void *user, size_t size, bool *fill, GError **err) {
    LobEmbedder *e = user;
    e->weights = lob_shared_new(e->embed->stage.world, size, err);
    *fill = e->embed->stage.world->node_rank == 0;
    return e->weights ? lob_shared_data(e->weights) : NULL;
}

static void weights_ready(void *user) {
    const LobEmbedder *e = user;
    lob_mpi_barrier(lob_world_node_comm(e->embed->stage.world));
}

static void warn_of_other_cpu(const LobEmbed *embed) {
    g_autofree char *cpu = lob_cpu_type();
    if (embed->stage.world->node_rank == 0 && strcmp(cpu, embed->stage.header.cpu) != 0)
        lob_warning("rank %d computes on '%s', the store was laid out on '%s': rows may differ in their last "
                    "bit",
                    embed->stage.world->rank, cpu, embed->stage.header.cpu);
}

static size_t tile_bytes(const LobEmbedder *e) {
    return 3 * (size_t)e->study->tiles.size * (size_t)e->study->tiles.size;
}

static bool open_tools(LobEmbedder *e, GError **err) {
    const LobWorld *world = e->embed->stage.world;
    e->memory = (LobEncoderMemory){.alloc = share_weights, .ready = weights_ready, .user = e};
    LobEncoderOptions options = lob_stage_encoder_options(e->study);
    options.memory = world->has_mpi && world->node_size > 1 ? &e->memory : NULL;
    e->encoder = lob_stage_encoder(e->study, &options, err);
    if (!e->encoder)
        return false;
    e->dim = (size_t)lob_encoder_info(e->encoder)->dim;
    if (!lob_stage_stain(e->study, &e->stain, err))
        return false;
    if (e->stain != LOB_STAIN_NONE)
        e->stained = g_malloc(e->batch * tile_bytes(e));
    e->reader = lob_stage_reader(e->study, e->batch, err);
    return e->reader != NULL;
}

bool lob_embedder_new(LobEmbed *embed, LobEmbedder **embedder, GError **err) {
    LobEmbedder *e = *embedder = g_new0(LobEmbedder, 1);
    e->embed = embed;
    e->study = embed->stage.cohort->study;
    e->stats = &embed->stats;
    e->batch = (uint32_t)e->study->encoder.batch;
    e->slide = NO_SLIDE;
    e->patience = e->study->site.reader_seconds > 0 ? e->study->site.reader_seconds
                                                    : lob_reader_default_limits.tile_seconds;
    warn_of_other_cpu(embed);
    return open_tools(e, err);
}

void lob_embedder_free(LobEmbedder *e) {
    if (!e)
        return;
    if (e->reader)
        lob_reader_free(e->reader);
    if (e->encoder)
        lob_encoder_free(e->encoder);
    lob_shared_free(e->weights);
    lob_grid_clear(&e->grid);
    g_free(e->rows);
    g_free(e->quality);
    g_free(e->stained);
    g_free(e);
}

/* Pink with violet spots, so that no column of the texture encoder lacks something to measure. */
bool lob_embedder_probe(LobEmbedder *e, float *row, GError **err) {
    static const uint8_t colours[][3] = {{225, 170, 200}, {110, 70, 150}};
    const size_t side = (size_t)e->study->tiles.size;
    g_autofree uint8_t *rgb = g_malloc(side * side * 3);
    LobRng rng;
    lob_rng_init(&rng, 1, "embed/probe");
    for (size_t i = 0; i < side * side; i++) {
        const uint8_t *colour = colours[(i / side / 8 + i % side / 8) % 5 == 0];
        for (size_t c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)(colour[c] + lob_rng_below(&rng, 25));
    }
    return lob_encoder_probe(e->encoder, rgb, row, err);
}

/* ---- a slide ---- */

static bool open_slide(LobEmbedder *e, const LobEmbedTask *task, GError **err) {
    const LobCohortSlide *slide = &e->embed->stage.cohort->slides[task->cohort_slide];
    const LobSlideSpec spec = lob_stage_slide_spec(slide);
    g_autofree char *grid = lob_plan_grid_path(e->study, slide->slide_id);
    LobSlideInfo info;
    if (e->slide == task->cohort_slide)
        return true;
    lob_stage_test_kill("embed", slide->slide_id);
    e->slide = NO_SLIDE;
    e->n_asked = 0;
    if (!lob_reader_open(e->reader, &spec, &info, err) ||
        !lob_plan_facts_same_file(&task->facts, &info, err) ||
        !lob_plan_grid_load(grid, task->facts.tiles, task->facts.grid_crc, &e->grid, err))
        return false;
    if (e->stained && !lob_stains_known(&task->facts.stains))
        return lob_fail(err, LOB_ERROR_SLIDE,
                        "its plan does not know its stains: run plan again in a new "
                        "output folder to normalise them");
    if (e->stained)
        lob_stain_map_init(&e->stain_map, e->stain, &task->facts.stains);
    e->slide = task->cohort_slide;
    return true;
}

/* ---- batches ---- */

/* A slide's first tile stands alone: a job shows within seconds that it works, whatever a batch costs. */
static uint32_t batch_tiles(const LobEmbedder *e, uint32_t first, uint32_t end) {
    return first == 0 ? 1 : MIN(e->batch - first % e->batch, end - first);
}

static bool ask(LobEmbedder *e, uint32_t first, uint32_t end, GError **err) {
    const LobTileSpec spec = lob_stage_tile_spec(e->study);
    e->asked[e->n_asked++] = first;
    return lob_reader_request(e->reader, &spec, (const int32_t(*)[2])(e->grid.xy + first),
                              batch_tiles(e, first, end), err);
}

/* The first tile of the next range, if it is here already and of the same slide; else -1. */
static int64_t next_range(const LobEmbedder *e, uint32_t *end) {
    size_t size = 0;
    const void *data = lob_farm_peek(e->farm, &size);
    LobEmbedTask next;
    if (!data || size != sizeof next)
        return -1;
    memcpy(&next, data, sizeof next);
    *end = next.lease.first + next.lease.count;
    return next.cohort_slide == e->slide ? (int64_t)next.lease.first : -1;
}

static bool await_batch(LobEmbedder *e, const uint8_t **rgb, const uint8_t **status, char **reason,
                        GError **err) {
    const double start = lob_clock();
    struct pollfd pollfd = {.fd = lob_reader_fd(e->reader), .events = POLLIN};
    while (lob_clock() - start < e->patience && poll(&pollfd, 1, POLL_MS) <= 0)
        if (!lob_farm_tick(e->farm))
            return lob_fail(err, LOB_ERROR_STOPPED, "stopped");
    const bool ok = lob_reader_collect(e->reader, rgb, status, reason, err);
    e->asked[0] = e->asked[1];
    e->n_asked--;
    e->stats->reading += lob_clock() - start;
    return ok;
}

/* Requests that were made ahead but are not what is wanted now. */
static bool drop_others(LobEmbedder *e, uint32_t first, GError **err) {
    const uint8_t *rgb, *status;
    while (e->n_asked > 0 && e->asked[0] != first)
        if (!await_batch(e, &rgb, &status, NULL, err))
            return false;
    return true;
}

static uint32_t blank_unreadable(const LobEmbedder *e, const uint8_t *status, uint32_t n, float *rows) {
    uint32_t unreadable = 0;
    for (uint32_t t = 0; t < n; t++) {
        if (status[t] == LOB_TILE_OK)
            continue;
        unreadable++;
        for (size_t d = 0; d < e->dim; d++)
            rows[t * e->dim + d] = NAN;
    }
    return unreadable;
}

/* Measured on the pixels as they were scanned. */
static void judge_tiles(const LobEmbedder *e, const uint8_t *rgb, const uint8_t *status, uint32_t n,
                        uint8_t (*quality)[2]) {
    for (uint32_t t = 0; t < n; t++) {
        const bool readable = status[t] == LOB_TILE_OK;
        const LobTileQuality tile = readable ? lob_tile_quality(rgb + t * tile_bytes(e), e->study->tiles.size)
                                             : (LobTileQuality){LOB_QUALITY_UNKNOWN, LOB_QUALITY_UNKNOWN};
        quality[t][0] = tile.blur;
        quality[t][1] = tile.overexposed;
    }
}

static bool do_batch(LobEmbedder *e, uint32_t at, const LobLease *lease, LobEmbedResult *result,
                     GError **err) {
    const uint32_t end = lease->first + lease->count, n = batch_tiles(e, at, end);
    float *rows = e->rows + (size_t)(at - lease->first) * e->dim;
    const uint8_t *rgb = NULL, *status = NULL;
    g_autofree char *reason = NULL;
    uint32_t ahead_end = end;
    const int64_t ahead = at + n < end ? (int64_t)at + n : next_range(e, &ahead_end);
    if (!drop_others(e, at, err) || (e->n_asked == 0 && !ask(e, at, end, err)) ||
        (e->n_asked == 1 && ahead >= 0 && !ask(e, (uint32_t)ahead, ahead_end, err)) ||
        !await_batch(e, &rgb, &status, &reason, err))
        return false;
    const double start = lob_clock();
    judge_tiles(e, rgb, status, n, e->quality + (at - lease->first));
    if (e->stained) {
        lob_stain_apply(&e->stain_map, rgb, n * tile_bytes(e) / 3, e->stained);
        rgb = e->stained;
    }
    if (!lob_encoder_encode(e->encoder, rgb, n, rows, lob_farm_tick, e->farm, err))
        return false;
    if (e->stats->compute <= 0)
        lob_debug("embed: the first %u of this rank's tiles encoded", n);
    e->stats->compute += lob_clock() - start;
    result->unreadable += blank_unreadable(e, status, n, rows);
    if (reason && !result->reason[0])
        g_strlcpy(result->reason, reason, sizeof result->reason);
    return true;
}

/* ---- a range ---- */

static bool do_range(LobEmbedder *e, const LobEmbedTask *task, LobEmbedResult *result, GError **err) {
    const LobLease *lease = &task->lease;
    if (e->room < lease->count) {
        e->room = lease->count;
        g_free(e->rows);
        e->rows = g_new(float, e->room * e->dim);
        g_free(e->quality);
        e->quality = g_malloc(e->room * sizeof *e->quality);
    }
    if (!open_slide(e, task, err))
        return false;
    for (uint32_t at = lease->first; at < lease->first + lease->count;) {
        const uint32_t n = batch_tiles(e, at, lease->first + lease->count);
        if (!do_batch(e, at, lease, result, err))
            return false;
        at += n;
        if (!lob_farm_tick(e->farm))
            return lob_fail(err, LOB_ERROR_STOPPED, "stopped");
    }
    return true;
}

/* CRC of all four columns of the range, as readers of the store see them. */
static uint32_t quality_crc(const LobEmbedder *e, const LobLease *lease) {
    uint32_t crc = 0;
    for (uint32_t i = 0; i < lease->count; i++) {
        const uint32_t tile = lease->first + i;
        const uint8_t all[LOB_QUALITIES] = {e->grid.pen ? e->grid.pen[tile] : LOB_QUALITY_UNKNOWN,
                                            e->grid.fold ? e->grid.fold[tile] : LOB_QUALITY_UNKNOWN,
                                            e->quality[i][0], e->quality[i][1]};
        crc = lob_crc32c(crc, all, sizeof all);
    }
    return crc;
}

/* Quality goes first, so that one sync makes both durable. */
static bool write_range(LobEmbedder *e, LobPart *part, const LobEmbedTask *task, LobEmbedResult *answer,
                        GError **err) {
    const LobLease *lease = &task->lease;
    answer->has_quality = lob_part_has_quality(part);
    if (answer->has_quality) {
        answer->quality_crc = quality_crc(e, lease);
        if (!lob_part_write_quality(part, task->row, lease->count, (const uint8_t(*)[2])e->quality, err))
            return false;
    }
    return lob_part_write_rows(part, task->row, lease->count, e->rows, &answer->crc, err);
}

/* LOB_TEST_LATE=RANK:SECONDS: when that rank is to write for the first time it is held up so long, and then
 * writes other rows. */
static void test_late(LobEmbedder *e, const LobLease *lease) {
    static bool done;
    const char *hook = g_getenv("LOB_TEST_LATE"), *colon = hook ? strchr(hook, ':') : NULL;
    if (done || !colon || g_ascii_strtoll(hook, NULL, 10) != e->embed->stage.world->rank)
        return;
    done = true;
    g_usleep((gulong)(g_ascii_strtod(colon + 1, NULL) * G_USEC_PER_SEC));
    e->rows[(size_t)(lease->count - 1) * e->dim] += 1;
}

static bool is_slides(const GError *error) {
    return error->domain == LOB_ERROR && error->code == LOB_ERROR_SLIDE;
}

bool lob_embed_work(void *user, LobFarm *farm, const void *data, size_t size, GByteArray *result,
                    GError **err) {
    LobEmbed *embed = user;
    LobEmbedder *e = embed->embedder;
    LobEmbedTask task = {0};
    g_autoptr(GError) problem = NULL;
    const double start = lob_clock();
    memcpy(&task, data, MIN(size, sizeof task));
    LobEmbedResult answer = {.lease = task.lease, .outcome = LOB_RANGE_WRITTEN};
    e->farm = farm;
    lob_reader_set_tick(e->reader, lob_farm_tick, farm);
    if (!do_range(e, &task, &answer, &problem)) {
        if (!is_slides(problem)) {
            g_propagate_error(err, g_steal_pointer(&problem));
            return false;
        }
        e->slide = NO_SLIDE;
        answer.outcome = LOB_RANGE_SLIDE_FAILED;
        answer.crashed = lob_reader_crashed(e->reader);
        g_strlcpy(answer.reason, problem->message, sizeof answer.reason);
    } else if (lob_clock() - lob_farm_came(farm) > LEASE_SHARE * task.lease.patience) {
        answer.outcome = LOB_RANGE_LATE;
    } else {
        test_late(e, &task.lease);
        const double writing = lob_clock();
        if (!write_range(e, embed->part, &task, &answer, err))
            return false;
        e->stats->writing += lob_clock() - writing;
        e->stats->tiles += task.lease.count;
    }
    answer.seconds = lob_clock() - start;
    g_byte_array_append(result, (const guint8 *)&answer, sizeof answer);
    return true;
}
