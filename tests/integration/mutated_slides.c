/* Reads damaged copies of a slide in isolated readers and says what came of each.
 *
 * usage: mutated_slides ORIGINAL < NAMES       for tests/bench/mutated_slides.py
 *
 * One line for each line of input: refused|overview|lost|read, seconds, then x,y of each tile that is not the
 * original's: "u" before unreadable ones, "d" before different ones; or the reason. */
#include "slide/slide_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SIZE = 224, BYTES = 3 * SIZE * SIZE, MOST = 64 };

static const LobTileSpec spec = {0.5, SIZE, 0, 1.1};
static const LobReaderLimits limits = {2, 2, (size_t)512 << 20, MOST, SIZE};

typedef struct {
    size_t n;
    int32_t xy[MOST][2];
    uint8_t *rgb; /* [n][BYTES] */
} Original;

static bool read_original(const char *path, Original *original, GError **err) {
    double w, h, step_x, step_y;
    g_autoptr(LobSlide) slide = lob_slide_open(&(LobSlideSpec){path, 0, LOB_MPP_UNKNOWN}, err);
    if (slide == NULL || !lob_tile_footprint(lob_slide_info(slide), &spec, &w, &h, &step_x, &step_y, err))
        return false;
    original->rgb = g_malloc((size_t)MOST * BYTES);
    for (double y = 0; y + h <= (double)lob_slide_info(slide)->height; y += step_y)
        for (double x = 0; x + w <= (double)lob_slide_info(slide)->width && original->n < MOST; x += step_x) {
            int32_t *at = original->xy[original->n];
            at[0] = (int32_t)lround(x);
            at[1] = (int32_t)lround(y);
            if (!lob_slide_tile(slide, &spec, at[0], at[1], original->rgb + original->n++ * BYTES, err))
                return false;
        }
    return true;
}

static const char *read_copy(LobReader *reader, const char *path, const Original *original, GString *told,
                             GError **err) {
    LobSlideInfo info;
    const uint8_t *rgb, *status;
    double scale_x, scale_y;
    bool overview = true;
    g_auto(LobImage) image = {0}, unknown = {0};
    LobSlideSpec slide = {path, 0.5, LOB_MPP_MANIFEST};
    if (!lob_reader_open(reader, &slide, &info, err))
        return "refused";
    if (!lob_reader_overview(reader, 8, &image, &unknown, &scale_x, &scale_y, NULL)) {
        overview = false;
        if (!lob_reader_open(reader, &slide, &info, err))
            return "lost";
    }
    if (!lob_reader_request(reader, &spec, original->xy, original->n, err) ||
        !lob_reader_collect(reader, &rgb, &status, NULL, err))
        return "lost";
    for (size_t i = 0; i < original->n; i++) {
        bool same = memcmp(rgb + i * BYTES, original->rgb + i * BYTES, BYTES) == 0;
        if (status[i] == LOB_TILE_UNREADABLE || !same)
            g_string_append_printf(told, " %s%d,%d", status[i] == LOB_TILE_UNREADABLE ? "u" : "d",
                                   original->xy[i][0], original->xy[i][1]);
    }
    return overview ? "read" : "overview";
}

static bool read_copies(const Original *original, GError **err) {
    char line[4096];
    g_autoptr(LobReader) reader = lob_reader_new(&limits, err);
    while (reader != NULL && fgets(line, sizeof line, stdin) != NULL) {
        g_autoptr(GError) reason = NULL;
        g_autoptr(GString) told = g_string_new(NULL);
        double start = lob_clock();
        const char *state = read_copy(reader, g_strchomp(line), original, told, &reason);
        if (reason != NULL && !g_error_matches(reason, LOB_ERROR, LOB_ERROR_SLIDE)) {
            g_propagate_error(err, g_steal_pointer(&reason));
            return false;
        }
        printf("%s %.3f%s%s%s\n", state, lob_clock() - start, told->str, reason != NULL ? " " : "",
               reason != NULL ? reason->message : "");
        fflush(stdout);
    }
    return reader != NULL;
}

int main(int argc, char **argv) {
    g_autoptr(GError) err = NULL;
    Original original = {0};
    if (argc != 2) {
        fprintf(stderr, "usage: mutated_slides ORIGINAL < NAMES\n");
        return LOB_EXIT_INPUT;
    }
    bool ok =
        lob_zygote_start(&err) && read_original(argv[1], &original, &err) && read_copies(&original, &err);
    g_free(original.rgb);
    lob_zygote_stop();
    if (!ok)
        fprintf(stderr, "mutated_slides: %s\n", err->message);
    return lob_error_exit_code(err);
}
