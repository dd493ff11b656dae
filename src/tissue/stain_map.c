/* Pixels brought to the fixed reference of a stain normalisation. */
#include "tissue/tissue_internal.h"

#include <math.h>
#include <string.h>

/* Stains (columns haematoxylin, eosin) and strengths of the Macenko method's published code. */
static const double HEMA[3] = {0.5626, 0.7201, 0.4062}, EOSIN[3] = {0.2159, 0.8012, 0.5581};
static const double STRENGTH[2] = {1.9705, 1.0308};
/* l, alpha, beta of region TCGA-A2-A3XS-DX1, Amgad et al. 2019. */
static const double MEAN[3] = {8.74108109, -0.12440419, 0.0444982};
static const double SD[3] = {0.6135447, 0.10989545, 0.0286032};

/* The inverse of lob_lms_from_rgb. */
const double lob_rgb_from_lms[3][3] = {{4.468669863496255, -3.5886759034721267, 0.11960436657860116},
                                       {-1.2197166276177631, 2.3830879129554567, -0.16263011175140055},
                                       {0.058508476938545856, -0.2610784390276937, 1.205665908525623}};

#define LMS_STEPS 64 /* of the logarithm's table, a grey level */
#define EXP_STEPS 2048
#define EXP_LEAST (-2.0)
#define EXP_MOST 7.0
enum { LMS_ENTRIES = 256 * LMS_STEPS, EXP_ENTRIES = 9 * EXP_STEPS };

static struct {
    float density[256];         /* natural optical density */
    float share[256];           /* how much of Reinhard's change a pixel of this density takes */
    float log_lms[LMS_ENTRIES]; /* of at least 1 */
    float power[EXP_ENTRIES];   /* e^x from EXP_LEAST on */
    uint8_t light[EXP_ENTRIES]; /* grey level of an optical density from EXP_LEAST on */
} tables;

static uint8_t grey_level(double value) {
    return (uint8_t)lround(CLAMP(value, 0.0, 255.0));
}

static double take_share(uint8_t value) {
    return CLAMP(lob_stain_density(value) / LOB_STAIN_LEAST, 0.0, 1.0);
}

static void make_tables(void) {
    static gsize made;
    if (!g_once_init_enter(&made))
        return;
    for (int v = 0; v < 256; v++) {
        tables.density[v] = (float)lob_stain_density((uint8_t)v);
        tables.share[v] = (float)take_share((uint8_t)v);
    }
    for (int i = 0; i < LMS_ENTRIES; i++)
        tables.log_lms[i] = (float)log(MAX((double)i / LMS_STEPS, 1.0));
    for (int i = 0; i < EXP_ENTRIES; i++) {
        double x = EXP_LEAST + (double)i / EXP_STEPS;
        tables.power[i] = (float)exp(x);
        tables.light[i] = grey_level(LOB_STAIN_WHITE * exp(-x) - 1);
    }
    g_once_init_leave(&made, 1);
}

static void macenko_map(LobStainMap *map, const LobStains *stains) {
    double unmix[2][3];
    lob_stain_unmixing(stains->hema, stains->eosin, unmix);
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++)
            map->to[r][c] = HEMA[r] * STRENGTH[0] / stains->strength[0] * unmix[0][c] +
                            EOSIN[r] * STRENGTH[1] / stains->strength[1] * unmix[1][c];
}

/* log LMS -> lab, scaled and shifted, -> log LMS: one affine map. */
static void reinhard_map(LobStainMap *map, const LobStains *stains) {
    for (int k = 0; k < 3; k++) {
        double scale = SD[k] / stains->sd[k];
        for (int r = 0; r < 3; r++) {
            map->shift[r] += lob_lab_from_log_lms[k][r] * (MEAN[k] - scale * stains->mean[k]);
            for (int c = 0; c < 3; c++)
                map->to[r][c] += lob_lab_from_log_lms[k][r] * scale * lob_lab_from_log_lms[k][c];
        }
    }
}

void lob_stain_map_init(LobStainMap *map, LobStainMethod method, const LobStains *stains) {
    *map = (LobStainMap){.method = method};
    if (method == LOB_STAIN_MACENKO)
        macenko_map(map, stains);
    else if (method == LOB_STAIN_REINHARD)
        reinhard_map(map, stains);
    make_tables();
}

static size_t power_index(float x) {
    float clamped = x < (float)EXP_LEAST ? (float)EXP_LEAST : x;
    float at = (clamped - (float)EXP_LEAST) * EXP_STEPS + 0.5f;
    return at < EXP_ENTRIES - 1 ? (size_t)at : EXP_ENTRIES - 1;
}

static void macenko_pixels(const float to[3][3], const uint8_t *in, size_t n, uint8_t *out) {
    for (size_t i = 0; i < n; i++) {
        float d[3] = {tables.density[in[3 * i]], tables.density[in[3 * i + 1]],
                      tables.density[in[3 * i + 2]]};
        for (size_t c = 0; c < 3; c++)
            out[3 * i + c] = tables.light[power_index(to[c][0] * d[0] + to[c][1] * d[1] + to[c][2] * d[2])];
    }
}

static void reinhard_pixels(const float to[3][3], const float shift[3], const uint8_t *in, size_t n,
                            uint8_t *out) {
    for (size_t i = 0; i < n; i++) {
        const uint8_t p[3] = {in[3 * i], in[3 * i + 1], in[3 * i + 2]};
        float logs[3], lms[3], share = tables.share[MIN(MIN(p[0], p[1]), p[2])];
        for (int c = 0; c < 3; c++) {
            const double *m = lob_lms_from_rgb[c];
            float value = (float)m[0] * p[0] + (float)m[1] * p[1] + (float)m[2] * p[2];
            logs[c] = tables.log_lms[MIN((size_t)(value * LMS_STEPS + 0.5f), LMS_ENTRIES - 1)];
        }
        for (int c = 0; c < 3; c++)
            lms[c] = tables.power[power_index(to[c][0] * logs[0] + to[c][1] * logs[1] + to[c][2] * logs[2] +
                                              shift[c])];
        for (int c = 0; c < 3; c++) {
            const double *m = lob_rgb_from_lms[c];
            float value = (float)m[0] * lms[0] + (float)m[1] * lms[1] + (float)m[2] * lms[2];
            value = p[c] + share * (value - p[c]);
            out[3 * i + (size_t)c] = (uint8_t)(CLAMP(value, 0.0f, 255.0f) + 0.5f);
        }
    }
}

void lob_stain_apply(const LobStainMap *map, const uint8_t *in, size_t n, uint8_t *out) {
    float to[3][3], shift[3];
    for (int r = 0; r < 3; r++) {
        shift[r] = (float)map->shift[r];
        for (int c = 0; c < 3; c++)
            to[r][c] = (float)map->to[r][c];
    }
    if (map->method == LOB_STAIN_MACENKO)
        macenko_pixels((const float(*)[3])to, in, n, out);
    else if (map->method == LOB_STAIN_REINHARD)
        reinhard_pixels((const float(*)[3])to, shift, in, n, out);
    else
        memmove(out, in, 3 * n);
}

static void reference_pixel(const LobStainMap *map, const uint8_t p[3], uint8_t out[3]) {
    double from[3], to[3];
    for (int c = 0; c < 3; c++) {
        const double *m = lob_lms_from_rgb[c];
        from[c] = map->method == LOB_STAIN_MACENKO ? lob_stain_density(p[c])
                                                   : log(MAX(m[0] * p[0] + m[1] * p[1] + m[2] * p[2], 1.0));
    }
    for (int r = 0; r < 3; r++)
        to[r] = exp(
            (map->method == LOB_STAIN_MACENKO ? -1 : 1) *
            (map->to[r][0] * from[0] + map->to[r][1] * from[1] + map->to[r][2] * from[2] + map->shift[r]));
    double share = take_share(MIN(MIN(p[0], p[1]), p[2]));
    for (int c = 0; c < 3; c++) {
        const double *m = lob_rgb_from_lms[c];
        double value = m[0] * to[0] + m[1] * to[1] + m[2] * to[2];
        out[c] = map->method == LOB_STAIN_MACENKO ? grey_level(LOB_STAIN_WHITE * to[c] - 1)
                                                  : grey_level(p[c] + share * (value - p[c]));
    }
}

void lob_stain_apply_reference(const LobStainMap *map, const uint8_t *in, size_t n, uint8_t *out) {
    for (size_t i = 0; i < n; i++) {
        const uint8_t p[3] = {in[3 * i], in[3 * i + 1], in[3 * i + 2]};
        if (map->method == LOB_STAIN_NONE)
            memcpy(out + 3 * i, p, 3);
        else
            reference_pixel(map, p, out + 3 * i);
    }
}

bool lob_stain_method(const char *name, LobStainMethod *method) {
    static const char *const names[] = {"none", "macenko", "reinhard"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (strcmp(names[i], name) == 0) {
            *method = (LobStainMethod)i;
            return true;
        }
    return false;
}

const char *lob_stain_identity(LobStainMethod method) {
    static const char *const texts[] = {"", "macenko to the method's published stains and strengths",
                                        "reinhard to l, alpha, beta of TCGA-A2-A3XS-DX1"};
    return texts[method];
}
