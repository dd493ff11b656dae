#include "encoder/texture_internal.h"

#include <math.h>
#include <string.h>

/* The columns, in the order in which lob_texture_features writes them. Areas in um2, lengths in um, densities
 * per 1000 um2 of tissue, darkness in optical density (base 10). nuc_* all nuclei, lym_* small round dark
 * ones, cell_* the others. What a tile cannot give (a mean over no nuclei) has the fixed value of `typical`
 * below. */
const char *const lob_texture_columns[] = {
    "nuc_density", "nuc_area_fraction", "nuc_area_mean", "nuc_area_sd", "nuc_area_p10", "nuc_area_p50",
    "nuc_area_p90", "nuc_ecc_mean", "nuc_ecc_sd", "nuc_ecc_p90", "nuc_irregular_mean", "nuc_irregular_p90",
    "nuc_dark_mean", "nuc_dark_sd", "nuc_dark_p10", "nuc_dark_p90", "nuc_contrast_mean", "nuc_contrast_sd",
    "nuc_chromatin_mean", "nuc_chromatin_sd", "nuc_spacing_mean", "nuc_spacing_sd", "nuc_large_fraction",
    /* lymphocytes */
    "lym_density", "lym_fraction", "lym_score_mean", "lym_score_density", "lym_cluster", "lym_hotspot",
    "lym_infiltration",
    /* cells other than lymphocytes */
    "cell_density", "cell_area_mean", "cell_area_sd", "cell_area_p50", "cell_area_p90", "cell_ecc_mean",
    "cell_ecc_sd", "cell_irregular_mean", "cell_dark_mean", "cell_dark_sd", "cell_contrast_mean",
    "cell_contrast_sd", "cell_chromatin_mean", "cell_spacing_mean", "cell_spacing_sd", "cell_nc_ratio",
    /* stains */
    "hema_mean", "hema_sd", "hema_skew", "hema_background", "eos_mean", "eos_sd", "eos_skew",
    "saturation_mean", "saturation_sd", "brightness_mean", "brightness_sd",
    /* texture */
    "glcm_h1_contrast", "glcm_h1_correlation", "glcm_h1_energy", "glcm_h1_homogeneity", "glcm_h4_contrast",
    "glcm_h4_correlation", "glcm_h4_energy", "glcm_h4_homogeneity", "glcm_e1_contrast", "glcm_e1_correlation",
    "glcm_e1_energy", "glcm_e1_homogeneity", "glcm_e4_contrast", "glcm_e4_correlation", "glcm_e4_energy",
    "glcm_e4_homogeneity", "lbp_0", "lbp_1", "lbp_2", "lbp_3", "lbp_4", "lbp_5", "lbp_6", "lbp_7", "lbp_8",
    "lbp_other",
    /* space without tissue */
    "lumen_fraction", "white_fraction"};

size_t lob_texture_column_count(void) {
    return G_N_ELEMENTS(lob_texture_columns);
}

static const float CLUSTER_UM = 15, HOTSPOT_UM = 30, LARGE_UM2 = 75, MAX_SPACING_UM = 60;

typedef struct {
    float mean, sd, p10, p50, p90;
} Summary;

/* A quantity of nuclei, and what a tile without nuclei is given: typical of parenchyma, so that an empty tile
 * moves a slide's mean little. */
typedef struct {
    float (*of)(const LobTextureNucleus *n);
    Summary typical;
} Quantity;

static float area_of(const LobTextureNucleus *n) {
    return n->area;
}
static float eccentricity_of(const LobTextureNucleus *n) {
    return n->eccentricity;
}
static float irregularity_of(const LobTextureNucleus *n) {
    return 1 - MIN(n->fill, 1);
}
static float darkness_of(const LobTextureNucleus *n) {
    return n->darkness;
}
static float contrast_of(const LobTextureNucleus *n) {
    return n->contrast;
}
static float roughness_of(const LobTextureNucleus *n) {
    return n->roughness;
}

static const Quantity AREA = {area_of, {40, 14, 24, 38, 58}};
static const Quantity ECCENTRICITY = {eccentricity_of, {0.6f, 0.15f, 0.4f, 0.6f, 0.8f}};
static const Quantity IRREGULARITY = {irregularity_of, {0.04f, 0.03f, 0.01f, 0.03f, 0.08f}};
static const Quantity DARKNESS = {darkness_of, {0.4f, 0.08f, 0.3f, 0.4f, 0.5f}};
static const Quantity CONTRAST = {contrast_of, {0.25f, 0.06f, 0.18f, 0.25f, 0.32f}};
static const Quantity ROUGHNESS = {roughness_of, {0.3f, 0.08f, 0.2f, 0.3f, 0.4f}};

static int compare_floats(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static float percentile(const float *sorted, size_t n, double share) {
    const double at = share * (double)(n - 1);
    const size_t i = (size_t)at;
    const float low = sorted[i], high = sorted[MIN(i + 1, n - 1)];
    return low + (float)(at - (double)i) * (high - low);
}

static Summary summarise(float *values, size_t n, Summary typical) {
    double sum = 0, squares = 0;
    Summary s = typical;
    if (n == 0) {
        return s;
    }
    for (size_t i = 0; i < n; i++) {
        sum += (double)values[i];
    }
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        squares += ((double)values[i] - mean) * ((double)values[i] - mean);
    }
    s.mean = (float)mean;
    if (n > 1) {
        s.sd = (float)sqrt(squares / (double)(n - 1));
    }
    qsort(values, n, sizeof *values, compare_floats);
    s.p10 = percentile(values, n, 0.1);
    s.p50 = percentile(values, n, 0.5);
    s.p90 = percentile(values, n, 0.9);
    return s;
}

typedef enum { ALL, CELLS } Which;

static bool is_lymphocyte(const LobTextureNucleus *n) {
    return n->lympho >= 0.5f;
}

static bool belongs(const LobTextureNucleus *n, Which which) {
    return which == ALL || !is_lymphocyte(n);
}

/* Over the nuclei that lie wholly in the tile. */
static Summary over_nuclei(LobTexture *t, Which which, Quantity quantity) {
    size_t n = 0;
    for (size_t i = 0; i < t->nucleus_count; i++) {
        if (belongs(&t->nuclei[i], which) && !t->nuclei[i].at_border) {
            t->values[n++] = quantity.of(&t->nuclei[i]);
        }
    }
    return summarise(t->values, n, quantity.typical);
}

static float squared_distance(const LobTextureNucleus *p, const LobTextureNucleus *q) {
    return (p->x - q->x) * (p->x - q->x) + (p->y - q->y) * (p->y - q->y);
}

/* Distances to the nearest other nucleus of the same kind, in um; a lone nucleus has the greatest. */
static Summary spacing(LobTexture *t, Which which) {
    const Summary typical = {12, 4, 8, 12, 18};
    const float limit = MAX_SPACING_UM / (float)t->mpp;
    size_t n = 0;
    for (size_t i = 0; i < t->nucleus_count; i++) {
        float nearest = limit * limit;
        if (!belongs(&t->nuclei[i], which)) {
            continue;
        }
        for (size_t j = 0; j < t->nucleus_count; j++) {
            if (i != j && belongs(&t->nuclei[j], which)) {
                nearest = MIN(nearest, squared_distance(&t->nuclei[i], &t->nuclei[j]));
            }
        }
        t->values[n++] = sqrtf(nearest) * (float)t->mpp;
    }
    return summarise(t->values, n, typical);
}

static float *write_nuclei(LobTexture *t, float *out, float tissue_um2) {
    double area = 0;
    size_t large = 0;
    for (size_t i = 0; i < t->nucleus_count; i++) {
        area += (double)t->nuclei[i].area;
        large += t->nuclei[i].area > LARGE_UM2;
    }
    const Summary a = over_nuclei(t, ALL, AREA), e = over_nuclei(t, ALL, ECCENTRICITY);
    const Summary f = over_nuclei(t, ALL, IRREGULARITY), d = over_nuclei(t, ALL, DARKNESS);
    const Summary c = over_nuclei(t, ALL, CONTRAST), r = over_nuclei(t, ALL, ROUGHNESS);
    const Summary s = spacing(t, ALL);
    const float values[] = {1000 * (float)t->nucleus_count / tissue_um2,
                            (float)area / tissue_um2,
                            a.mean,
                            a.sd,
                            a.p10,
                            a.p50,
                            a.p90,
                            e.mean,
                            e.sd,
                            e.p90,
                            f.mean,
                            f.p90,
                            d.mean,
                            d.sd,
                            d.p10,
                            d.p90,
                            c.mean,
                            c.sd,
                            r.mean,
                            r.sd,
                            s.mean,
                            s.sd,
                            (float)large / (float)MAX(t->nucleus_count, 1)};
    memcpy(out, values, sizeof values);
    return out + G_N_ELEMENTS(values);
}

typedef struct {
    double likeness; /* sum over all nuclei */
    size_t lymphocytes, cells;
    size_t neighbours;  /* pairs of lymphocytes within CLUSTER_UM, both ways */
    size_t hotspot;     /* most lymphocytes within HOTSPOT_UM of one of them, itself included */
    size_t infiltrated; /* other cells with a lymphocyte within CLUSTER_UM */
} Immune;

static Immune count_immune(const LobTexture *t) {
    const float near = CLUSTER_UM / (float)t->mpp, wide = HOTSPOT_UM / (float)t->mpp;
    Immune m = {0, 0, 0, 0, 0, 0};
    for (size_t i = 0; i < t->nucleus_count; i++) {
        const LobTextureNucleus *p = &t->nuclei[i];
        size_t within_near = 0, within_wide = 0;
        m.likeness += (double)p->lympho;
        for (size_t j = 0; j < t->nucleus_count; j++) {
            if (i == j || !is_lymphocyte(&t->nuclei[j])) {
                continue;
            }
            const float distance = squared_distance(p, &t->nuclei[j]);
            within_near += distance <= near * near;
            within_wide += distance <= wide * wide;
        }
        if (is_lymphocyte(p)) {
            m.lymphocytes++;
            m.neighbours += within_near;
            m.hotspot = MAX(m.hotspot, within_wide + 1);
        } else {
            m.cells++;
            m.infiltrated += within_near > 0;
        }
    }
    return m;
}

static float *write_immune(const LobTexture *t, float *out, float tissue_um2) {
    const Immune m = count_immune(t);
    const float nuclei = (float)MAX(t->nucleus_count, 1);
    const float values[] = {1000 * (float)m.lymphocytes / tissue_um2,
                            (float)m.lymphocytes / nuclei,
                            (float)m.likeness / nuclei,
                            1000 * (float)m.likeness / tissue_um2,
                            (float)m.neighbours / (float)MAX(m.lymphocytes, 1),
                            (float)m.hotspot,
                            (float)m.infiltrated / (float)MAX(m.cells, 1)};
    memcpy(out, values, sizeof values);
    return out + G_N_ELEMENTS(values);
}

static float *write_cells(LobTexture *t, float *out, float tissue_um2) {
    double area = 0;
    size_t cells = 0;
    for (size_t i = 0; i < t->nucleus_count; i++) {
        if (belongs(&t->nuclei[i], CELLS)) {
            area += (double)t->nuclei[i].area;
            cells++;
        }
    }
    const Summary a = over_nuclei(t, CELLS, AREA), e = over_nuclei(t, CELLS, ECCENTRICITY);
    const Summary f = over_nuclei(t, CELLS, IRREGULARITY), d = over_nuclei(t, CELLS, DARKNESS);
    const Summary c = over_nuclei(t, CELLS, CONTRAST), r = over_nuclei(t, CELLS, ROUGHNESS);
    const Summary s = spacing(t, CELLS);
    const float values[] = {1000 * (float)cells / tissue_um2,
                            a.mean,
                            a.sd,
                            a.p50,
                            a.p90,
                            e.mean,
                            e.sd,
                            f.mean,
                            d.mean,
                            d.sd,
                            c.mean,
                            c.sd,
                            r.mean,
                            s.mean,
                            s.sd,
                            (float)area / MAX(tissue_um2 - (float)area, 0.1f * tissue_um2)};
    memcpy(out, values, sizeof values);
    return out + G_N_ELEMENTS(values);
}

typedef struct {
    float mean, sd, skew;
} Spread;

/* Over tissue; zeros where there is none, skewness 0 where there is no spread. */
static Spread spread(const LobTexture *t, const float *plane) {
    double sum = 0, second = 0, third = 0;
    const double n = (double)t->tissue_count;
    if (t->tissue_count == 0) {
        return (Spread){0, 0, 0};
    }
    for (size_t i = 0; i < t->pixels; i++) {
        sum += t->tissue[i] ? (double)plane[i] : 0;
    }
    const double mean = sum / n;
    for (size_t i = 0; i < t->pixels; i++) {
        const double d = t->tissue[i] ? (double)plane[i] - mean : 0;
        second += d * d;
        third += d * d * d;
    }
    const double sd = sqrt(second / n);
    return (Spread){(float)mean, (float)sd, sd > 1e-4 ? (float)(third / n / (sd * sd * sd)) : 0};
}

/* Saturation and brightness as in HSV, 0 .. 1, into planes a and b. */
static void colour_planes(LobTexture *t, const uint8_t *rgb) {
    for (size_t i = 0; i < t->pixels; i++) {
        const float r = rgb[3 * i], g = rgb[3 * i + 1], b = rgb[3 * i + 2];
        const float high = MAX(MAX(r, g), b), low = MIN(MIN(r, g), b);
        t->a[i] = high > 0 ? (high - low) / high : 0;
        t->b[i] = high / 255;
    }
}

static float *write_stains(LobTexture *t, const uint8_t *rgb, float *out) {
    const Spread h = spread(t, t->hema), e = spread(t, t->eosin);
    colour_planes(t, rgb);
    const Spread s = spread(t, t->a), v = spread(t, t->b);
    const float values[] = {h.mean, h.sd,   h.skew, -log10f(MAX(1 - t->level_background, 0.01f)),
                            e.mean, e.sd,   e.skew, s.mean,
                            s.sd,   v.mean, v.sd};
    memcpy(out, values, sizeof values);
    return out + G_N_ELEMENTS(values);
}

/* Grey levels from 0 to mean + 3 SD of the tissue, at least 0.1 so that noise of an empty tile stays in one
 * level.
 */
static void quantise(LobTexture *t, const float *plane, uint8_t *grey) {
    const Spread s = spread(t, plane);
    const float scale = (float)LOB_GLCM_LEVELS / MAX(s.mean + 3 * s.sd, 0.1f);
    for (size_t i = 0; i < t->pixels; i++) {
        const float level = plane[i] * scale;
        grey[i] = (uint8_t)MIN(level, (float)(LOB_GLCM_LEVELS - 1));
    }
}

static float *write_texture(LobTexture *t, float *out) {
    const double scales_um[] = {1, 4};
    const float *planes[] = {t->smooth, t->eosin};
    for (size_t p = 0; p < G_N_ELEMENTS(planes); p++) {
        quantise(t, planes[p], t->scratch8);
        for (size_t s = 0; s < G_N_ELEMENTS(scales_um); s++) {
            const int distance = CLAMP((int)lround(scales_um[s] / t->mpp), 1, t->size / 2);
            const LobGlcm g = lob_glcm(t->scratch8, t->size, distance);
            const float values[] = {g.contrast, g.correlation, g.energy, g.homogeneity};
            memcpy(out, values, sizeof values);
            out += G_N_ELEMENTS(values);
        }
    }
    lob_lbp(t->grey, t->size, MAX(1, (int)lround(1 / t->mpp)), 0.01f, out);
    return out + LOB_LBP_BINS;
}

/* White that is enclosed by tissue within the tile and no larger than a dilated duct. */
static float lumen_pixels(LobTexture *t) {
    const size_t limit = (size_t)(8000 / (t->mpp * t->mpp)), least = (size_t)(25 / (t->mpp * t->mpp));
    size_t total = 0;
    memcpy(t->mask, t->tissue, t->pixels);
    for (size_t i = 0; i < t->pixels; i++) {
        bool edge;
        if (t->mask[i] != 0) {
            continue;
        }
        const size_t count = lob_texture_flood(t, i, &edge);
        total += !edge && count >= least && count <= limit ? count : 0;
    }
    return (float)total;
}

void lob_texture_features(LobTexture *t, const uint8_t *rgb, float *out) {
    const float pixel_um2 = (float)(t->mpp * t->mpp);
    /* a sliver of tissue must not make densities explode */
    const float tissue_um2 = pixel_um2 * (float)MAX(t->tissue_count, t->pixels / 20);
    out = write_nuclei(t, out, tissue_um2);
    out = write_immune(t, out, tissue_um2);
    out = write_cells(t, out, tissue_um2);
    out = write_stains(t, rgb, out);
    out = write_texture(t, out);
    *out++ = lumen_pixels(t) / (float)t->pixels;
    *out++ = 1 - (float)t->tissue_count / (float)t->pixels;
}
