/* Tiles over a mask. */
#include "tissue/tissue_internal.h"

#include <math.h>

/* sums [height+1][width+1]: tissue pixels above and to the left. */
typedef struct {
    int width, height;
    uint64_t *sums;
} Integral;

static void integral_clear(Integral *integral) {
    g_free(integral->sums);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Integral, integral_clear)

static void integral_init(Integral *integral, const LobImage *mask) {
    size_t width = (size_t)mask->width, stride = width + 1;
    integral->width = mask->width;
    integral->height = mask->height;
    integral->sums = g_new0(uint64_t, stride * ((size_t)mask->height + 1));
    for (size_t y = 0; y < (size_t)mask->height; y++) {
        uint64_t row = 0;
        for (size_t x = 0; x < width; x++) {
            row += mask->data[y * width + x] != 0;
            integral->sums[(y + 1) * stride + x + 1] = integral->sums[y * stride + x + 1] + row;
        }
    }
}

/* Tissue area of [0, x) x [0, y), px; exact for fractional corners, as a mask is constant over each pixel. */
static double area_to(const Integral *integral, double x, double y) {
    x = CLAMP(x, 0.0, (double)integral->width);
    y = CLAMP(y, 0.0, (double)integral->height);
    size_t stride = (size_t)integral->width + 1;
    size_t i = MIN((size_t)x, (size_t)integral->width - 1), j = MIN((size_t)y, (size_t)integral->height - 1);
    double fx = x - (double)i, fy = y - (double)j;
    const uint64_t *upper = integral->sums + j * stride + i, *lower = upper + stride;
    double top = (1 - fx) * (double)upper[0] + fx * (double)upper[1];
    double bottom = (1 - fx) * (double)lower[0] + fx * (double)lower[1];
    return (1 - fy) * top + fy * bottom;
}

static double area_of(const Integral *integral, double x0, double y0, double x1, double y1) {
    return area_to(integral, x1, y1) - area_to(integral, x0, y1) - area_to(integral, x1, y0) +
           area_to(integral, x0, y0);
}

/* How many tiles of `tile` stepped by `step` fit into `length`. */
static int64_t fit(int64_t length, double tile, double step) {
    double room = (double)length - tile + 1e-6;
    return room < 0 ? 0 : (int64_t)floor(room / step) + 1;
}

void lob_grid_clear(LobGrid *grid) {
    g_free(grid->xy);
    g_free(grid->tissue);
    g_free(grid->pen);
    g_free(grid->fold);
    *grid = (LobGrid){0};
}

bool lob_grid_make(const LobMask *mask, int64_t origin_x, int64_t origin_y, int64_t width, int64_t height,
                   double tile_w, double tile_h, double step_x, double step_y, double min_tissue,
                   LobGrid *grid, GError **err) {
    if (!(tile_w > 0) || !(tile_h > 0) || !(step_x > 0) || !(step_y > 0))
        return lob_fail(err, LOB_ERROR_INPUT, "a grid needs tiles and steps larger than nothing");
    if (origin_x < 0 || origin_y < 0 || origin_x + width > INT32_MAX || origin_y + height > INT32_MAX)
        return lob_fail(err, LOB_ERROR_INPUT,
                        "a slide that reaches to %" G_GINT64_FORMAT ",%" G_GINT64_FORMAT
                        " px has positions beyond %d",
                        origin_x + width, origin_y + height, INT32_MAX);
    g_auto(Integral) integral = {0};
    integral_init(&integral, &mask->image);
    GArray *xy = g_array_new(FALSE, FALSE, sizeof(int32_t[2]));
    GByteArray *tissue = g_byte_array_new();
    double px = tile_w / mask->scale_x * (tile_h / mask->scale_y); /* mask px a tile */
    int64_t columns = fit(width, tile_w, step_x), rows = fit(height, tile_h, step_y);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
            int32_t at[2] = {(int32_t)lround((double)origin_x + (double)c * step_x),
                             (int32_t)lround((double)origin_y + (double)r * step_y)};
            double x = ((double)at[0] - (double)mask->origin_x) / mask->scale_x;
            double y = ((double)at[1] - (double)mask->origin_y) / mask->scale_y;
            double share =
                area_of(&integral, x, y, x + tile_w / mask->scale_x, y + tile_h / mask->scale_y) / px;
            if (share <= 1e-9 || share < min_tissue - 1e-9)
                continue;
            uint8_t percent = (uint8_t)lround(100 * MIN(share, 1.0));
            g_array_append_val(xy, at);
            g_byte_array_append(tissue, &percent, 1);
        }
    grid->n = xy->len;
    grid->xy = (int32_t(*)[2])(void *)g_array_free(xy, FALSE);
    grid->tissue = g_byte_array_free(tissue, FALSE);
    return true;
}

/* Percent of each tile's footprint that a plane covers; unknown (may be NULL) as for lob_grid_judge. */
static uint8_t *percents(const LobGrid *grid, const LobMask *mask, const LobImage *plane,
                         const Integral *unknown, double tile_w, double tile_h) {
    g_auto(Integral) integral = {0};
    integral_init(&integral, plane);
    uint8_t *percent = g_malloc(MAX(grid->n, 1));
    double w = tile_w / mask->scale_x, h = tile_h / mask->scale_y;
    for (size_t i = 0; i < grid->n; i++) {
        double x = ((double)grid->xy[i][0] - (double)mask->origin_x) / mask->scale_x;
        double y = ((double)grid->xy[i][1] - (double)mask->origin_y) / mask->scale_y;
        double share = area_of(&integral, x, y, x + w, y + h) / (w * h);
        bool blind = unknown != NULL && area_of(unknown, x, y, x + w, y + h) >= 0.5 * w * h;
        percent[i] = blind ? LOB_TILE_UNKNOWN : (uint8_t)lround(100 * CLAMP(share, 0.0, 1.0));
    }
    return percent;
}

void lob_grid_judge(LobGrid *grid, const LobImage *overview, const LobMask *mask, double tile_w,
                    double tile_h) {
    g_auto(LobImage) ink = {0}, folds = {0};
    g_auto(Integral) unknown = {0};
    size_t n = (size_t)overview->width * (size_t)overview->height;
    g_autofree uint8_t *tissue = g_memdup2(mask->image.data, n);
    bool blind = mask->unknown.data != NULL;
    for (size_t i = 0; blind && i < n; i++)
        if (mask->unknown.data[i])
            tissue[i] = 0;
    if (blind)
        integral_init(&unknown, &mask->unknown);
    lob_ink_plane(overview, &ink);
    lob_fold_plane(overview, tissue, &folds);
    g_free(grid->pen);
    g_free(grid->fold);
    grid->pen = percents(grid, mask, &ink, blind ? &unknown : NULL, tile_w, tile_h);
    grid->fold = percents(grid, mask, &folds, blind ? &unknown : NULL, tile_w, tile_h);
}
