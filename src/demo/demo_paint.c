/* Paints blocks of a scene. Stains are concentrations that add up; light follows Beer and Lambert; then come
 * the optics' blur and the sensor's noise. Smooth things are computed on a lattice of 2 um and interpolated;
 * nuclei are stamped with their edges antialiased. A block depends on the scene alone. */
#include "demo/demo_internal.h"

#include <math.h>

enum {
    HALO = 8,                        /* px painted around a block, for the blur */
    SIDE = LOB_DEMO_TILE + 2 * HALO, /* px a side while painting */
    TEXTURE_MASK = LOB_DEMO_TEXTURE - 1,
    NOISE = 1 << 16,
};

/* Lattice fields. Distances in um, cut to +-20, positive: inside. */
enum {
    F_TISSUE,   /* inside the outline */
    F_CELLS,    /* outside of sinusoids */
    F_MEMBRANE, /* from the line between two cells */
    F_EOSIN,    /* concentrations of the ground */
    F_BLUE,
    F_FIBRE, /* share of fibrous texture */
    F_FOLD,  /* thickness of the section, 1 = single */
    F_PEN,   /* inside the pen's stroke */
    FIELDS,
};

struct LobDemoPainter {
    const LobDemoScene *scene; /* borrowed */
    int step, columns;         /* lattice: px between points, points a side */
    float *lattice;            /* [FIELDS][columns][columns] */
    float *waves;              /* [3][columns][columns]: tumour cords, liver cords, stain */
    float *h, *e;              /* [SIDE][SIDE] concentrations */
    float *light[3];           /* [SIDE][SIDE] 0..255 */
    float *rows;               /* [FIELDS][SIDE] a row of interpolated fields */
    float *noise;              /* [NOISE + 4096] */
    float kernel[2 * HALO + 1];
    int radius;
    float x0, y0; /* um of the painted block's top-left */
    bool empty;   /* no tissue in reach */
    bool inked;   /* the pen's stroke in reach */
};

static float saturate(float v) {
    return v < 0.0F ? 0.0F : v > 1.0F ? 1.0F : v;
}

LobDemoPainter *lob_demo_painter_new(const LobDemoScene *scene) {
    LobDemoPainter *p = g_new0(LobDemoPainter, 1);
    p->scene = scene;
    p->step = MAX(1, (int)lround(2.0 / scene->scanner.mpp));
    p->columns = SIDE / p->step + 2;
    size_t points = (size_t)p->columns * (size_t)p->columns;
    p->lattice = g_new(float, FIELDS *points);
    p->waves = g_new(float, 3 * points); /* tumour, liver, stain */
    p->h = g_new(float, SIDE *SIDE);
    p->e = g_new(float, SIDE *SIDE);
    for (int c = 0; c < 3; c++)
        p->light[c] = g_new(float, SIDE *SIDE);
    p->rows = g_new(float, FIELDS *(SIDE + 64));
    for (int x = 0; x < SIDE; x++)
        p->rows[F_FOLD * (SIDE + 64) + x] = 1.0F; /* stays so where the slide has no fold */
    p->noise = g_new(float, NOISE + 4096);
    LobRng rng;
    lob_rng_init(&rng, scene->salt, "sensor");
    for (int i = 0; i < NOISE + 4096; i++)
        p->noise[i] = (float)(scene->scanner.noise * lob_rng_normal(&rng));
    double sd = scene->scanner.blur_um / scene->scanner.mpp, sum = 0.0;
    p->radius = MIN(HALO, (int)ceil(2.5 * sd));
    for (int k = -p->radius; k <= p->radius; k++)
        sum += exp(-0.5 * k * k / (sd * sd));
    for (int k = -p->radius; k <= p->radius; k++)
        p->kernel[k + p->radius] = (float)(exp(-0.5 * k * k / (sd * sd)) / sum);
    return p;
}

void lob_demo_painter_free(LobDemoPainter *p) {
    if (p == NULL)
        return;
    g_free(p->lattice);
    g_free(p->waves);
    g_free(p->h);
    g_free(p->e);
    for (int c = 0; c < 3; c++)
        g_free(p->light[c]);
    g_free(p->rows);
    g_free(p->noise);
    g_free(p);
}

/* Distance between the two nearest cell centres' claims, and the nearest cell's own number. */
static float membrane(uint32_t salt, float pitch, float x, float y, uint32_t *cell) {
    int cj = (int)floorf(y / (pitch * 0.866F)), ci = (int)floorf(x / pitch);
    float first = 1e9F, second = 1e9F;
    for (int j = cj - 1; j <= cj + 2; j++) {
        for (int i = ci - 1; i <= ci + 1; i++) {
            float px, py;
            lob_demo_cell(salt, pitch, i, j, &px, &py);
            float d = (px - x) * (px - x) + (py - y) * (py - y);
            if (d < first) {
                second = first;
                first = d;
                *cell = lob_demo_hash((uint32_t)i, (uint32_t)j, salt + 2);
            } else if (d < second) {
                second = d;
            }
        }
    }
    return sqrtf(second) - sqrtf(first);
}

static float pen_distance(const LobDemoScene *s, float x, float y) {
    float best = 1e9F;
    for (int k = 0; k < 3; k++) {
        float dx = s->pen_x[k + 1] - s->pen_x[k], dy = s->pen_y[k + 1] - s->pen_y[k];
        float t = saturate(((x - s->pen_x[k]) * dx + (y - s->pen_y[k]) * dy) / (dx * dx + dy * dy + 1e-6F));
        best = MIN(best, hypotf(x - s->pen_x[k] - t * dx, y - s->pen_y[k] - t * dy));
    }
    return 0.5F * s->pen_width - best;
}

typedef struct {
    float cells, membrane, eosin, blue, fibre;
} Ground;

/* Cytoplasm of tumour or liver at one point; width: of its sinusoids, about 1. */
static Ground parenchyma(const LobDemoScene *s, bool tumour, float cords, float width, float x, float y) {
    uint32_t cell = 0;
    float slit = tumour ? s->tumour_slit : s->liver_slit, slope = tumour ? s->tumour_slope : s->liver_slope;
    float pitch = tumour ? s->tumour_pitch : s->liver_pitch;
    Ground g = {.cells = CLAMP((fabsf(cords) - slit * width) * slope, -20.0F, 20.0F)};
    g.membrane = membrane(s->salt + (tumour ? 0U : 16U), pitch, x, y, &cell);
    float own = lob_demo_unit(cell);
    if (tumour) {
        g.eosin = s->tumour_eosin * (0.84F + 0.32F * own) * (own > 0.93F ? 0.55F : 1.0F);
        g.blue = s->tumour_blue;
    } else {
        g.eosin = 0.58F * (0.90F + 0.20F * own);
        g.blue = 0.05F;
    }
    return g;
}

static Ground stroma_ground(void) {
    return (Ground){.cells = 20.0F, .membrane = 20.0F, .eosin = 0.42F, .blue = 0.03F, .fibre = 1.0F};
}

static Ground mix(Ground a, Ground b, float t) {
    return (Ground){a.cells + t * (b.cells - a.cells), a.membrane + t * (b.membrane - a.membrane),
                    a.eosin + t * (b.eosin - a.eosin), a.blue + t * (b.blue - a.blue),
                    a.fibre + t * (b.fibre - a.fibre)};
}

static Ground ground_at(const LobDemoPainter *p, size_t at, float x, float y, float tumour) {
    const LobDemoScene *s = p->scene;
    size_t points = (size_t)p->columns * (size_t)p->columns;
    float capsule = s->capsule_um - fabsf(tumour);
    float portal = tumour < 0.0F ? lob_demo_scene_portal(s, x, y) : -1e6F;
    float stroma = saturate(MAX(capsule, portal) * 0.25F + 0.5F);
    Ground ground = stroma_ground();
    if (stroma < 1.0F)
        ground = mix(parenchyma(s, tumour > 0.0F, p->waves[(tumour > 0.0F ? 0 : points) + at],
                                1.0F - 0.35F * p->waves[(tumour > 0.0F ? points : 0) + at], x, y),
                     ground, stroma);
    float stain = 1.0F + 0.07F * p->waves[2 * points + at];
    ground.eosin *= stain;
    return ground;
}

/* Whether the whole block lies deep inside (1) or far outside (-1) of the tissue, judged from 5 x 5 points;
 * the outline bends too little to pass between them within the margin. */
static int outline_side(const LobDemoPainter *p) {
    enum { N = 5 };
    float step = (float)((SIDE + p->step) * p->scene->scanner.mpp) / (N - 1), least = 1e9F, most = -1e9F;
    for (int j = 0; j < N; j++) {
        for (int i = 0; i < N; i++) {
            float d = lob_demo_scene_tissue(p->scene, p->x0 + (float)i * step, p->y0 + (float)j * step);
            least = MIN(least, d);
            most = MAX(most, d);
        }
    }
    float margin = 20.0F + 1.2F * step;
    return least > margin ? 1 : most < -margin ? -1 : 0;
}

static void tissue_lattice(LobDemoPainter *p, float um) {
    int n = p->columns, side = outline_side(p);
    float *out = p->lattice + (size_t)F_TISSUE * (size_t)n * (size_t)n;
    p->empty = side <= 0;
    for (int j = 0; j < n; j++) {
        for (int i = 0; i < n; i++) {
            float d = 20.0F * (float)side;
            if (side == 0)
                d = lob_demo_scene_tissue(p->scene, p->x0 + (float)i * um, p->y0 + (float)j * um);
            out[j * n + i] = CLAMP(d, -20.0F, 20.0F);
            p->empty = p->empty && out[j * n + i] < -6.0F;
        }
    }
}

static void pen_lattice(LobDemoPainter *p, float um) {
    int n = p->columns;
    float *out = p->lattice + (size_t)F_PEN * (size_t)n * (size_t)n;
    p->inked = false;
    for (int k = 0; p->scene->has_pen && k < n * n; k++) {
        float d = pen_distance(p->scene, p->x0 + (float)(k % n) * um, p->y0 + (float)(k / n) * um);
        out[k] = CLAMP(d, -20.0F, 20.0F);
        p->inked = p->inked || out[k] > -6.0F;
    }
}

/* Thickness of the section: doubled, about, in a fold. */
static float fold_at(const LobDemoScene *s, float x, float y, float ripple) {
    if (!s->has_fold)
        return 1.0F;
    float across = s->fold_nx * (x - s->cx) + s->fold_ny * (y - s->cy) - s->fold_offset + 6.0F * ripple;
    return 1.0F + s->fold_strength * saturate((0.5F * s->fold_width - fabsf(across)) * 0.4F + 0.5F);
}

/* Fills the lattice of the block at (x0, y0). */
static void compute_lattice(LobDemoPainter *p) {
    const LobDemoScene *s = p->scene;
    int n = p->columns;
    size_t points = (size_t)n * (size_t)n;
    float um = (float)(p->step * s->scanner.mpp), *f = p->lattice;
    tissue_lattice(p, um);
    pen_lattice(p, um);
    if (p->empty)
        return;
    lob_demo_waves_grid(&s->tumour_cords, p->x0, p->y0, um, n, n, p->waves);
    lob_demo_waves_grid(&s->liver_cords, p->x0, p->y0, um, n, n, p->waves + points);
    lob_demo_waves_grid(&s->stain_field, p->x0, p->y0, um, n, n, p->waves + 2 * points);
    for (int j = 0; j < n; j++) {
        for (int i = 0; i < n; i++) {
            float x = p->x0 + (float)i * um, y = p->y0 + (float)j * um;
            size_t at = (size_t)(j * n + i);
            Ground g = ground_at(p, at, x, y, lob_demo_scene_tumour(s, x, y));
            f[F_CELLS * points + at] = g.cells;
            f[F_MEMBRANE * points + at] = g.membrane;
            f[F_EOSIN * points + at] = g.eosin;
            f[F_BLUE * points + at] = g.blue;
            f[F_FIBRE * points + at] = g.fibre;
            f[F_FOLD * points + at] = fold_at(s, x, y, p->waves[2 * points + at]);
        }
    }
}

/* Bilinear interpolation of one field along px row y into rows[field][SIDE]. */
static void expand_row(LobDemoPainter *p, int field, int y) {
    int n = p->columns, j = y / p->step;
    float ty = (float)(y - j * p->step) / (float)p->step, tx = 1.0F / (float)p->step;
    const float *top = p->lattice + ((size_t)field * (size_t)n + (size_t)j) * (size_t)n, *below = top + n;
    float *out = p->rows + field * (SIDE + 64);
    for (int i = 0; i * p->step < SIDE; i++) {
        float left = top[i] + ty * (below[i] - top[i]);
        float right = top[i + 1] + ty * (below[i + 1] - top[i + 1]);
        float slope = (right - left) * tx;
        for (int k = 0; k < p->step; k++)
            out[i * p->step + k] = left + slope * (float)k;
    }
}

/* Fibres run along the capsule: the texture's x axis is turned that way. */
static void fibre_row(const LobDemoPainter *p, const float *share, int gx, int gy, float *out) {
    const LobDemoScene *s = p->scene;
    float c = -s->cut_ny, q = s->cut_nx;
    for (int x = 0; x < SIDE; x++) {
        out[x] = 0.0F;
        if (share[x] <= 0.01F)
            continue;
        int u = (int)floorf(c * (float)(gx + x) + q * (float)gy);
        int v = (int)floorf(c * (float)gy - q * (float)(gx + x));
        out[x] = s->fibre[(v & TEXTURE_MASK) * LOB_DEMO_TEXTURE + (u & TEXTURE_MASK)];
    }
}

/* Ground of one px row at level-0 px (gx, gy): cytoplasm with grain and membranes, sinusoids, fibres. */
static void ground_row(LobDemoPainter *p, int y, int gx, int gy) {
    const LobDemoScene *s = p->scene;
    const float *tissue = p->rows + F_TISSUE * (SIDE + 64), *cells = p->rows + F_CELLS * (SIDE + 64);
    const float *membrane_um = p->rows + F_MEMBRANE * (SIDE + 64), *eosin = p->rows + F_EOSIN * (SIDE + 64);
    const float *blue = p->rows + F_BLUE * (SIDE + 64), *fibre = p->rows + F_FIBRE * (SIDE + 64);
    float *h = p->h + y * SIDE, *e = p->e + y * SIDE, grain[SIDE], fibres[SIDE];
    const float *grain_row = s->grain + (gy & TEXTURE_MASK) * LOB_DEMO_TEXTURE;
    for (int x = 0; x < SIDE; x++)
        grain[x] = grain_row[(gx + x) & TEXTURE_MASK];
    fibre_row(p, fibre, gx, gy, fibres);
    for (int x = 0; x < SIDE; x++) {
        float inside = saturate(tissue[x] * 0.7F + 0.5F);
        float cell = saturate((cells[x] + 0.35F * grain[x]) * 0.7F + 0.5F);
        float line = saturate(membrane_um[x] * 0.7F);
        float rough = 1.0F + 0.20F * (1.0F - fibre[x]) * grain[x] + 0.22F * fibre[x] * fibres[x];
        float body_e = eosin[x] * rough * (1.30F - 0.30F * line);
        float body_h = blue[x] * (1.0F + 0.25F * grain[x]);
        float gap_e = 0.09F + 0.02F * grain[x];
        e[x] = inside * (gap_e + cell * (body_e - gap_e));
        h[x] = inside * cell * body_h;
    }
}

/* The px rectangle of a shape of `reach` um around (x, y), cut to the block; false where empty. */
static bool window(const LobDemoPainter *p, float x, float y, float reach, int box[4]) {
    float scale = (float)(1.0 / p->scene->scanner.mpp);
    box[0] = MAX((int)floorf((x - reach - p->x0) * scale), 0);
    box[1] = MIN((int)ceilf((x + reach - p->x0) * scale), SIDE - 1);
    box[2] = MAX((int)floorf((y - reach - p->y0) * scale), 0);
    box[3] = MIN((int)ceilf((y + reach - p->y0) * scale), SIDE - 1);
    return box[0] <= box[1] && box[2] <= box[3];
}

static void stamp_disc(LobDemoPainter *p, const LobDemoDisc *d) {
    int box[4];
    if (!window(p, d->x, d->y, d->a + 1.0F, box))
        return;
    float mpp = (float)p->scene->scanner.mpp, size = 0.5F * (d->a + d->b);
    for (int j = box[2]; j <= box[3]; j++) {
        for (int i = box[0]; i <= box[1]; i++) {
            float dx = p->x0 + (float)i * mpp - d->x, dy = p->y0 + (float)j * mpp - d->y;
            float u = (dx * d->cos_t + dy * d->sin_t) / d->a, v = (dy * d->cos_t - dx * d->sin_t) / d->b;
            float cover = saturate((1.0F - sqrtf(u * u + v * v)) * size / 0.5F + 0.5F);
            p->h[j * SIDE + i] += cover * (d->h - p->h[j * SIDE + i]);
            p->e[j * SIDE + i] += cover * (d->e - p->e[j * SIDE + i]);
        }
    }
}

/* Chromatin at (u, v) in semi-axes: a membrane rim, clumps from the texture, a nucleolus. */
static float chromatin(const LobDemoNucleus *n, float r, float u, float v, float clump) {
    float rim = saturate((r - 0.62F) * 4.0F);
    float du = u - n->nucleolus_x, dv = v - n->nucleolus_y;
    float spot = saturate(1.6F - sqrtf(du * du + dv * dv) * 6.0F);
    return n->h * (1.0F + n->rim * (rim - 0.45F) + n->clump * clump + n->nucleolus * spot);
}

static void stamp_nucleus(LobDemoPainter *p, const LobDemoNucleus *n, int gx, int gy) {
    int box[4];
    if (!window(p, n->x, n->y, n->a * 1.3F + 1.0F, box))
        return;
    const LobDemoScene *s = p->scene;
    float mpp = (float)s->scanner.mpp, size = 0.5F * (n->a + n->b), edge = MAX(mpp, 0.35F);
    int tx = (int)(n->salt & TEXTURE_MASK), ty = (int)(n->salt >> 10 & TEXTURE_MASK);
    for (int j = box[2]; j <= box[3]; j++) {
        const float *clumps = s->chromatin + ((j + gy + ty) & TEXTURE_MASK) * LOB_DEMO_TEXTURE;
        for (int i = box[0]; i <= box[1]; i++) {
            float dx = p->x0 + (float)i * mpp - n->x, dy = p->y0 + (float)j * mpp - n->y;
            float u = (dx * n->cos_t + dy * n->sin_t) / n->a, v = (dy * n->cos_t - dx * n->sin_t) / n->b;
            float r = sqrtf(u * u + v * v);
            if (r > 1.6F)
                continue;
            float c = r > 1e-3F ? u / r : 1.0F, q = r > 1e-3F ? v / r : 0.0F;
            float c2 = c * c - q * q, s2 = 2.0F * c * q;
            float contour = 1.0F + n->w3c * c * (4.0F * c * c - 3.0F) + n->w3s * q * (3.0F - 4.0F * q * q) +
                            n->w4c * (2.0F * c2 * c2 - 1.0F) + n->w4s * 2.0F * c2 * s2;
            float cover = saturate((contour - r) * size / edge + 0.5F);
            if (cover <= 0.0F)
                continue;
            float *h = &p->h[j * SIDE + i], *e = &p->e[j * SIDE + i];
            float body = chromatin(n, r / contour, u, v, clumps[(i + gx + tx) & TEXTURE_MASK]);
            *h += cover * (MAX(body, 0.05F) - *h);
            *e += cover * (0.30F * *e + 0.08F - *e);
        }
    }
}

/* Every item of the bins a block touches, once: a bin's item is drawn by the first bin that lists it. */
static void stamp_all(LobDemoPainter *p, bool nuclei, int gx, int gy) {
    const LobDemoScene *s = p->scene;
    const LobDemoBins *bins = nuclei ? &s->nucleus_bins : &s->disc_bins;
    float extent = (float)(SIDE * s->scanner.mpp);
    int i0 = MAX((int)floorf(p->x0 / LOB_DEMO_BIN_UM), 0), j0 = MAX((int)floorf(p->y0 / LOB_DEMO_BIN_UM), 0);
    int i1 = MIN((int)floorf((p->x0 + extent) / LOB_DEMO_BIN_UM), bins->columns - 1);
    int j1 = MIN((int)floorf((p->y0 + extent) / LOB_DEMO_BIN_UM), bins->rows - 1);
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    for (int j = j0; j <= j1; j++) {
        for (int i = i0; i <= i1; i++) {
            size_t b = (size_t)j * (size_t)bins->columns + (size_t)i;
            for (uint32_t k = bins->start[b]; k < bins->start[b + 1]; k++) {
                uint32_t member = bins->members[k];
                if (!g_hash_table_add(seen, GUINT_TO_POINTER(member + 1)))
                    continue;
                if (nuclei)
                    stamp_nucleus(p, &g_array_index(s->nuclei, LobDemoNucleus, member), gx, gy);
                else
                    stamp_disc(p, &g_array_index(s->discs, LobDemoDisc, member));
            }
        }
    }
}

/* exp(-x) for 0 <= x < 80, relative error below 2e-4: the power of two from the exponent bits, the rest from
 * a cubic. Branch-free, so that the compiler makes vectors of it. */
static inline float exp_minus(float x) {
    float t = x * -1.44269504F;
    int32_t whole = (int32_t)(t - 1.0F); /* rounds down: t <= 0 */
    float rest = t - (float)whole;       /* [0, 1] */
    union {
        int32_t i;
        float f;
    } power = {.i = (int32_t)((uint32_t)(whole + 127) << 23)};
    return power.f * (1.0F + rest * (0.69583282F + rest * (0.22606716F + rest * 0.07802314F)));
}

static void light_row(LobDemoPainter *p, int y) {
    const LobDemoScene *s = p->scene;
    const float *h = p->h + y * SIDE, *e = p->e + y * SIDE;
    const float *pen = p->rows + F_PEN * (SIDE + 64), *fold = p->rows + F_FOLD * (SIDE + 64);
    for (int c = 0; c < 3; c++) {
        float oh = (float)s->scanner.hematoxylin[c], oe = (float)s->scanner.eosin[c];
        float white = (float)s->scanner.white[c], *out = p->light[c] + y * SIDE;
        if (p->empty) {
            for (int x = 0; x < SIDE; x++)
                out[x] = white;
        } else {
            for (int x = 0; x < SIDE; x++)
                out[x] = white * exp_minus(fold[x] * (h[x] * oh + e[x] * oe));
        }
        if (p->inked) {
            float ink = 1.0F - s->pen_colour[c];
            for (int x = 0; x < SIDE; x++)
                out[x] *= 1.0F - ink * saturate(pen[x] * 0.5F + 0.5F);
        }
    }
}

static const float *noise_row(const LobDemoPainter *p, int c, int gx, int gy) {
    return p->noise + (lob_demo_hash((uint32_t)gy, (uint32_t)gx, (uint32_t)c) & (NOISE - 1));
}

/* Glass and nothing on it: only the sensor's noise. */
static void develop_glass(const LobDemoPainter *p, int c, int gx, int gy, uint8_t *rgb) {
    float white = (float)p->scene->scanner.white[c] + 0.5F;
    for (int y = 0; y < LOB_DEMO_TILE; y++) {
        const float *noise = noise_row(p, c, gx, gy + y);
        for (int x = 0; x < LOB_DEMO_TILE; x++)
            rgb[(y * LOB_DEMO_TILE + x) * 3 + c] = (uint8_t)CLAMP(noise[x] + white, 0.0F, 255.0F);
    }
}

/* Separable blur of the inner block, noise, rounding. */
static void develop(LobDemoPainter *p, int c, int gx, int gy, uint8_t *rgb) {
    int r = p->radius;
    const float *light = p->light[c];
    float line[SIDE];
    for (int y = 0; y < LOB_DEMO_TILE; y++) {
        float out[LOB_DEMO_TILE];
        for (int x = 0; x < SIDE; x++)
            line[x] = 0.0F;
        for (int k = -r; k <= r; k++) {
            const float *row = light + (y + HALO + k) * SIDE;
            float weight = p->kernel[k + r];
            for (int x = 0; x < SIDE; x++)
                line[x] += weight * row[x];
        }
        const float *noise = noise_row(p, c, gx, gy + y);
        for (int x = 0; x < LOB_DEMO_TILE; x++)
            out[x] = noise[x] + 0.5F;
        for (int k = -r; k <= r; k++) {
            float weight = p->kernel[k + r];
            for (int x = 0; x < LOB_DEMO_TILE; x++)
                out[x] += weight * line[x + HALO + k];
        }
        for (int x = 0; x < LOB_DEMO_TILE; x++)
            rgb[(y * LOB_DEMO_TILE + x) * 3 + c] = (uint8_t)CLAMP(out[x], 0.0F, 255.0F);
    }
}

void lob_demo_paint(LobDemoPainter *p, int column, int row, uint8_t *rgb) {
    float mpp = (float)p->scene->scanner.mpp;
    int gx = column * LOB_DEMO_TILE - HALO, gy = row * LOB_DEMO_TILE - HALO;
    p->x0 = (float)gx * mpp;
    p->y0 = (float)gy * mpp;
    compute_lattice(p);
    if (!p->empty) {
        for (int y = 0; y < SIDE; y++) {
            for (int field = F_TISSUE; field <= F_FIBRE; field++)
                expand_row(p, field, y);
            ground_row(p, y, gx, gy + y);
        }
        stamp_all(p, false, gx, gy);
        stamp_all(p, true, gx, gy);
    }
    for (int c = 0; p->empty && !p->inked && c < 3; c++)
        develop_glass(p, c, gx, gy, rgb);
    if (p->empty && !p->inked)
        return;
    for (int y = 0; y < SIDE; y++) {
        if (!p->empty && p->scene->has_fold)
            expand_row(p, F_FOLD, y);
        if (p->inked)
            expand_row(p, F_PEN, y);
        light_row(p, y);
    }
    for (int c = 0; c < 3; c++)
        develop(p, c, gx, gy, rgb);
}
