/* How fast tiles are read: by the slide's source in this process, by plain OpenSlide and resampling in this
 * process, and by isolated readers, all in one run, taking turns.
 *
 * usage: read_speed SLIDE ROUNDS
 *
 * Prints one JSON line a way and round: case, tiles, seconds, rate, cpu (processor seconds of this process),
 * and at the end the processor seconds a round of all readers. On a busy machine only those are of use. */
#include "slide/slide_internal.h"

#include <math.h>
#include <openslide.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define REQUEST 64

static double cpu_seconds(int who) {
    struct rusage used;
    getrusage(who, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

typedef const int32_t (*Positions)[2];

static const LobTileSpec spec = {0.5, 224, 0, 1.1};

static GArray *positions_of(const LobSlideInfo *info, GError **err) {
    double w, h, step_x, step_y;
    if (!lob_tile_footprint(info, &spec, &w, &h, &step_x, &step_y, err))
        return NULL;
    GArray *xy = g_array_new(FALSE, FALSE, sizeof(int32_t[2]));
    for (double y = 0; y + h <= (double)info->height; y += step_y)
        for (double x = 0; x + w <= (double)info->width; x += step_x) {
            int32_t at[2] = {(int32_t)lround(x), (int32_t)lround(y)};
            g_array_append_val(xy, at);
        }
    return xy;
}

static bool read_tiles(const LobSlideSpec *slide, Positions xy, size_t n, uint8_t *rgb, GError **err) {
    g_autoptr(LobSlide) open = lob_slide_open(slide, err);
    for (size_t i = 0; open != NULL && i < n; i++)
        if (!lob_slide_tile(open, &spec, xy[i][0], xy[i][1], rgb, err))
            return false;
    return open != NULL;
}

/* What a program in C would do without this one: OpenSlide's region at level 0, resampled. */
static bool read_openslide(const LobSlideSpec *slide, Positions xy, size_t n, uint8_t *rgb, GError **err) {
    double w, h, step_x, step_y;
    g_autoptr(LobSlide) open = lob_slide_open(slide, err);
    if (open == NULL || !lob_tile_footprint(lob_slide_info(open), &spec, &w, &h, &step_x, &step_y, err))
        return false;
    int width = (int)ceil(w), height = (int)ceil(h);
    openslide_t *os = openslide_open(slide->path);
    g_autofree uint32_t *argb = g_new(uint32_t, (size_t)width * (size_t)height);
    for (size_t i = 0; i < n; i++) {
        openslide_read_region(os, argb, xy[i][0], xy[i][1], 0, width, height);
        lob_resample_rgbx((const uint8_t *)argb, width, height, (size_t)width, 0, 0, w, h, rgb, spec.size,
                          spec.size);
    }
    bool ok = openslide_get_error(os) == NULL || lob_fail(err, LOB_ERROR_SLIDE, "OpenSlide failed");
    openslide_close(os);
    return ok;
}

static bool read_isolated(const LobSlideSpec *slide, Positions xy, size_t n, LobReader *reader,
                          GError **err) {
    LobSlideInfo info;
    const uint8_t *rgb, *status;
    size_t asked = 0;
    if (!lob_reader_open(reader, slide, &info, err))
        return false;
    for (size_t got = 0; got < n; got += REQUEST) {
        for (; asked < n && asked < got + 2 * REQUEST; asked += REQUEST)
            if (!lob_reader_request(reader, &spec, xy + asked, MIN(REQUEST, n - asked), err))
                return false;
        if (!lob_reader_collect(reader, &rgb, &status, NULL, err))
            return false;
    }
    return true;
}

static bool run(const char *path, int rounds, GError **err) {
    static const char *const names[] = {"in_process", "openslide", "isolated"};
    LobSlideSpec slide = {path, 0, LOB_MPP_UNKNOWN};
    LobSlideInfo info;
    g_autoptr(LobReader) reader = lob_reader_new(&lob_reader_default_limits, err);
    if (reader == NULL || !lob_reader_open(reader, &slide, &info, err))
        return false;
    g_autoptr(GArray) array = positions_of(&info, err);
    if (array == NULL)
        return false;
    Positions xy = (Positions)(void *)array->data;
    g_autofree uint8_t *rgb = g_malloc(3 * 224 * 224);
    for (int i = 0; i < 3 * rounds; i++) {
        double start = lob_clock(), cpu = cpu_seconds(RUSAGE_SELF);
        bool ok = i % 3 == 0   ? read_tiles(&slide, xy, array->len, rgb, err)
                  : i % 3 == 1 ? read_openslide(&slide, xy, array->len, rgb, err)
                               : read_isolated(&slide, xy, array->len, reader, err);
        double seconds = lob_clock() - start;
        if (!ok)
            return false;
        printf("{\"bench\":\"read\",\"case\":\"%s\",\"tiles\":%u,\"seconds\":%.3f,\"rate\":%.1f,"
               "\"cpu\":%.3f}\n",
               names[i % 3], array->len, seconds, array->len / seconds, cpu_seconds(RUSAGE_SELF) - cpu);
    }
    return true;
}

int main(int argc, char **argv) {
    g_autoptr(GError) err = NULL;
    if (argc != 3) {
        fprintf(stderr, "usage: read_speed SLIDE ROUNDS\n");
        return LOB_EXIT_INPUT;
    }
    bool ok = lob_zygote_start(&err) && run(argv[1], atoi(argv[2]), &err);
    lob_zygote_stop();
    printf("{\"bench\":\"read\",\"case\":\"isolated_readers\",\"cpu\":%.3f}\n",
           cpu_seconds(RUSAGE_CHILDREN) / MAX(atoi(argv[2]), 1));
    if (!ok)
        fprintf(stderr, "read_speed: %s\n", err->message);
    return lob_error_exit_code(err);
}
