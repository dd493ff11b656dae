/* From an overview to a mask of tissue. */
#include "tissue/tissue_internal.h"

#include <math.h>
#include <string.h>

/* Chroma (largest less smallest of R, G, B; 0..255) tells stained tissue from glass, shadow and dust, which
 * are grey. Otsu finds where, but always splits: a slide full of tissue into dark and pale, a blank one into
 * noise and noise. So its threshold is kept between what glass never passes and what tissue always does, and
 * where the two classes hardly differ there is one class, tissue or not by its mean. */
#define CHROMA_GLASS 10
#define CHROMA_TISSUE 30
#define CHROMA_CONTRAST 8.0

#define HSV_SATURATION 8 /* CLAM's threshold of HSV saturation, 0..255 */

const LobTissueOptions lob_tissue_defaults = {
    .method = LOB_TISSUE_OTSU,
    .mpp = 8,
    .median_um = 56,
    .close_um = 40,
    .min_object_um2 = 40000,
    .min_hole_um2 = 20000,
    .keep_holes = true,
};

void lob_mask_clear(LobMask *mask) {
    lob_image_clear(&mask->image);
    lob_image_clear(&mask->unknown);
}

int lob_otsu_threshold(const uint64_t histogram[256]) {
    double total = 0, moment = 0;
    for (int v = 0; v < 256; v++) {
        total += (double)histogram[v];
        moment += (double)histogram[v] * v;
    }
    double below = 0, below_moment = 0, best = 0;
    int threshold = -1;
    for (int v = 0; v < 255; v++) {
        below += (double)histogram[v];
        below_moment += (double)histogram[v] * v;
        double above = total - below;
        if (below <= 0 || above <= 0)
            continue;
        double gap = below_moment / below - (moment - below_moment) / above;
        double between = below / total * (above / total) * gap * gap;
        if (between > best) {
            best = between;
            threshold = v;
        }
    }
    return threshold;
}

static void chroma_image(const LobImage *rgb, LobImage *out) {
    lob_image_init(out, rgb->width, rgb->height, 1);
    for (size_t i = 0; i < (size_t)rgb->width * (size_t)rgb->height; i++) {
        const uint8_t *p = rgb->data + 3 * i;
        out->data[i] = (uint8_t)(MAX(MAX(p[0], p[1]), p[2]) - MIN(MIN(p[0], p[1]), p[2]));
    }
}

/* Saturation of HSV, rounded to 0..255. */
static void saturation_image(const LobImage *rgb, LobImage *out) {
    chroma_image(rgb, out);
    for (size_t i = 0; i < (size_t)rgb->width * (size_t)rgb->height; i++) {
        const uint8_t *p = rgb->data + 3 * i;
        int value = MAX(MAX(p[0], p[1]), p[2]);
        out->data[i] = (uint8_t)(value > 0 ? (510 * out->data[i] + value) / (2 * value) : 0);
    }
}

/* The chroma above which a pixel is tissue; 255: none is. unknown (may be NULL) has no say. */
static int chroma_threshold(const LobImage *chroma, const uint8_t *unknown) {
    uint64_t histogram[256] = {0};
    size_t all = (size_t)chroma->width * (size_t)chroma->height, n = 0;
    for (size_t i = 0; i < all; i++)
        if (unknown == NULL || !unknown[i]) {
            histogram[chroma->data[i]]++;
            n++;
        }
    int threshold = lob_otsu_threshold(histogram);
    double count[2] = {0}, sum[2] = {0};
    for (int v = 0; v < 256; v++) {
        count[v > threshold] += (double)histogram[v];
        sum[v > threshold] += (double)histogram[v] * v;
    }
    double mean = (sum[0] + sum[1]) / (double)MAX(n, 1);
    if (threshold < 0 || sum[1] / count[1] - sum[0] / count[0] < CHROMA_CONTRAST)
        return mean >= CHROMA_TISSUE ? -1 : 255;
    return CLAMP(threshold, CHROMA_GLASS, CHROMA_TISSUE);
}

static void apply_threshold(LobImage *image, int threshold) {
    for (size_t i = 0; i < (size_t)image->width * (size_t)image->height; i++)
        image->data[i] = image->data[i] > threshold ? 255 : 0;
}

static void add_unknown(LobMask *mask) {
    for (size_t i = 0;
         mask->unknown.data != NULL && i < (size_t)mask->image.width * (size_t)mask->image.height; i++)
        mask->image.data[i] |= mask->unknown.data[i];
}

/* Takes over the options' unknown pixels, if there are any. */
static void take_unknown(LobMask *mask, const LobImage *unknown) {
    if (unknown == NULL || unknown->data == NULL)
        return;
    size_t n = (size_t)unknown->width * (size_t)unknown->height;
    if (memchr(unknown->data, 255, n) == NULL)
        return;
    lob_image_init(&mask->unknown, unknown->width, unknown->height, 1);
    memcpy(mask->unknown.data, unknown->data, n);
}

/* A median's side must be odd: the nearest odd number of px, as its radius. */
static int median_radius(double um, double um_per_px) {
    return (int)floor(um / um_per_px / 2);
}

bool lob_tissue_mask(const LobImage *overview, double scale_x, double scale_y, double mpp_x, double mpp_y,
                     const LobTissueOptions *options, LobMask *mask, GError **err) {
    *mask = (LobMask){
        .scale_x = scale_x, .scale_y = scale_y, .origin_x = options->origin_x, .origin_y = options->origin_y};
    take_unknown(mask, options->unknown);
    if (options->method == LOB_TISSUE_MASKS) {
        lob_image_init(&mask->image, overview->width, overview->height, 1);
        if (lob_mask_from_file(options->masks, options->slide_id, scale_x, scale_y, mask->origin_x,
                               mask->origin_y, &mask->image, err)) {
            lob_clean_parts(&mask->image, 0, 0, options->keep_holes);
            return true;
        }
        lob_mask_clear(mask);
        return false;
    }
    double um_x = mpp_x > 0 ? scale_x * mpp_x : options->mpp,
           um_y = mpp_y > 0 ? scale_y * mpp_y : options->mpp;
    double um = sqrt(um_x * um_y);
    if (!(um > 0)) {
        lob_mask_clear(mask);
        return lob_fail(err, LOB_ERROR_INTERNAL, "a tissue mask needs a scale");
    }
    if (options->method == LOB_TISSUE_HSV)
        saturation_image(overview, &mask->image);
    else
        chroma_image(overview, &mask->image);
    lob_median_filter(&mask->image, median_radius(options->median_um, um));
    apply_threshold(&mask->image, options->method == LOB_TISSUE_HSV
                                      ? HSV_SATURATION
                                      : chroma_threshold(&mask->image, mask->unknown.data));
    add_unknown(mask); /* tissue that reaches into it is no small object */
    lob_close_disc(&mask->image, (int)lround(options->close_um / um));
    lob_clean_parts(&mask->image, options->min_object_um2 / (um_x * um_y),
                    options->min_hole_um2 / (um_x * um_y), options->keep_holes);
    add_unknown(mask);
    return true;
}
