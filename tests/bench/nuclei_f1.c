/* How well the texture encoder finds the nuclei that a demo slide was drawn with.
 * usage: nuclei_f1 DIR SLIDE_ID...   (DIR as `lobule demo` made it); prints precision, recall and F1 a slide
 * and in all. A detection counts if it lies within 4 um of a drawn centroid that no nearer detection has
 * taken. Nuclei within 4 um of a tile's edge are left out on both sides, since they are cut. Build: cmake
 * --build build --target nuclei_f1 */
#include "encoder/encoder.h"
#include "slide/slide.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SIZE 224
#define MPP 0.5
#define REACH_PX (4.0 / MPP)
#define MAX_NUCLEI 4096

typedef struct {
    size_t hits, found, drawn;
} Count;

typedef struct {
    double x, y;
} Point;

/* Drawn nuclei in the tile's own pixels, those near the edge left out. */
static GArray *drawn_in_tile(const LobTable *truth, double x0, double y0, double scale_x, double scale_y) {
    GArray *points = g_array_new(FALSE, FALSE, sizeof(Point));
    const int cx = lob_table_find(truth, "x"), cy = lob_table_find(truth, "y");
    for (size_t r = 0; r < lob_table_rows(truth); r++) {
        Point p;
        if (!lob_table_number(truth, r, cx, &p.x, NULL) || !lob_table_number(truth, r, cy, &p.y, NULL))
            continue;
        p.x = (p.x - x0) / scale_x;
        p.y = (p.y - y0) / scale_y;
        if (p.x >= 0 && p.y >= 0 && p.x < SIZE && p.y < SIZE)
            g_array_append_val(points, p);
    }
    return points;
}

static bool inside(double x, double y) {
    return x >= REACH_PX && y >= REACH_PX && x < SIZE - REACH_PX && y < SIZE - REACH_PX;
}

/* Greedy: every pair within reach, nearest first. Pairs that touch the rim take part, but only inner points
 * are counted. */
static void match(const GArray *drawn, const LobNucleus *found, size_t n_found, Count *count) {
    g_autofree bool *taken = g_new0(bool, drawn->len + 1), *used = g_new0(bool, n_found + 1);
    for (;;) {
        double best = REACH_PX;
        size_t bi = 0, bj = 0;
        bool any = false;
        for (size_t i = 0; i < drawn->len; i++) {
            const Point *p = &g_array_index(drawn, Point, i);
            for (size_t j = 0; !taken[i] && j < n_found; j++) {
                const double d = hypot(p->x - (double)found[j].x, p->y - (double)found[j].y);
                if (!used[j] && d <= best) {
                    best = d;
                    bi = i;
                    bj = j;
                    any = true;
                }
            }
        }
        if (!any)
            break;
        taken[bi] = used[bj] = true;
        count->hits += inside(g_array_index(drawn, Point, bi).x, g_array_index(drawn, Point, bi).y);
    }
    for (size_t i = 0; i < drawn->len; i++)
        count->drawn += inside(g_array_index(drawn, Point, i).x, g_array_index(drawn, Point, i).y);
    /* A matched detection whose drawn centroid lies in the rim is neither hit nor false. */
    for (size_t j = 0; j < n_found; j++)
        count->found += inside((double)found[j].x, (double)found[j].y);
}

static void print_count(const char *name, const Count *c) {
    const double precision = c->found ? fmin(1, (double)c->hits / (double)c->found) : 0;
    const double recall = c->drawn ? (double)c->hits / (double)c->drawn : 0;
    printf("%s: drawn %zu, found %zu, precision %.3f, recall %.3f, F1 %.3f\n", name, c->drawn, c->found,
           precision, recall, 2 * precision * recall / fmax(precision + recall, 1e-9));
}

static bool measure(const char *dir, const char *id, Count *count, GError **err) {
    g_autofree char *path = g_strdup_printf("%s/slides/%s.svs", dir, id);
    g_autofree char *nuclei = g_strdup_printf("%s/nuclei/%s.csv", dir, id);
    g_autoptr(LobTable) truth = lob_table_read(nuclei, err);
    g_autoptr(LobSlide) slide = truth ? lob_slide_open(&(LobSlideSpec){.path = path}, err) : NULL;
    const LobTileSpec spec = {.mpp = MPP, .size = SIZE, .max_enlarge = 1.1};
    double w, h, step_x, step_y;
    if (!slide || !lob_tile_footprint(lob_slide_info(slide), &spec, &w, &h, &step_x, &step_y, err))
        return false;
    g_autofree uint8_t *rgb = g_malloc((size_t)SIZE * SIZE * 3);
    g_autofree LobNucleus *found = g_new(LobNucleus, MAX_NUCLEI);
    const LobSlideInfo *info = lob_slide_info(slide);
    for (double y = 0; y + h <= (double)info->height; y += step_y)
        for (double x = 0; x + w <= (double)info->width; x += step_x) {
            if (!lob_slide_tile(slide, &spec, (int64_t)x, (int64_t)y, rgb, err))
                return false;
            g_autoptr(GArray) drawn = drawn_in_tile(truth, floor(x), floor(y), w / SIZE, h / SIZE);
            match(drawn, found, lob_texture_nuclei(rgb, SIZE, MPP, found, MAX_NUCLEI), count);
        }
    return true;
}

int main(int argc, char **argv) {
    Count all = {0};
    for (int i = 2; i < argc; i++) {
        Count count = {0};
        g_autoptr(GError) err = NULL;
        if (!measure(argv[1], argv[i], &count, &err)) {
            fprintf(stderr, "nuclei_f1: %s\n", err->message);
            return 1;
        }
        print_count(argv[i], &count);
        all.hits += count.hits;
        all.found += count.found;
        all.drawn += count.drawn;
    }
    print_count("all", &all);
    return 0;
}
