/* Who lives on a slide: tumour cells by grade, hepatocytes, lymphocytes by immune (in the tumour only; those
 * of portal tracts do not know of it), stroma cells, vacuoles and red cells. */
#include "demo/demo_internal.h"

#include <math.h>

#define HASH_UM 18.0F

/* Finds neighbours closer than HASH_UM while nuclei are being placed. */
typedef struct {
    int columns, rows;
    int32_t *head; /* [columns * rows], -1 = empty */
    GArray *next;  /* int32_t, by nucleus */
} Near;

typedef struct {
    LobDemoScene *scene;
    LobRng *rng;
    Near near;
} Crowd;

static float uniform(LobRng *rng, double from, double to) {
    return (float)(from + (to - from) * lob_rng_uniform(rng));
}

static int hash_cell(const Near *near, float x, float y) {
    int i = CLAMP((int)(x / HASH_UM), 0, near->columns - 1);
    int j = CLAMP((int)(y / HASH_UM), 0, near->rows - 1);
    return j * near->columns + i;
}

/* Whether a nucleus of long semi-axis `a` fits at (x, y) with `gap` um to every other one. */
static bool fits(const Crowd *crowd, float x, float y, float a, float gap) {
    const Near *near = &crowd->near;
    int ci = (int)(x / HASH_UM), cj = (int)(y / HASH_UM);
    for (int j = MAX(cj - 1, 0); j <= MIN(cj + 1, near->rows - 1); j++) {
        for (int i = MAX(ci - 1, 0); i <= MIN(ci + 1, near->columns - 1); i++) {
            for (int32_t k = near->head[j * near->columns + i]; k >= 0;
                 k = g_array_index(near->next, int32_t, k)) {
                const LobDemoNucleus *n = &g_array_index(crowd->scene->nuclei, LobDemoNucleus, k);
                float reach = 0.5F * (n->a + n->b) + a + gap;
                float dx = n->x - x, dy = n->y - y;
                if (dx * dx + dy * dy < reach * reach)
                    return false;
            }
        }
    }
    return true;
}

/* Nothing hangs over the tissue's edge. */
static void add(Crowd *crowd, const LobDemoNucleus *nucleus) {
    Near *near = &crowd->near;
    if (lob_demo_scene_tissue(crowd->scene, nucleus->x, nucleus->y) < nucleus->a + 1.0F)
        return;
    int cell = hash_cell(near, nucleus->x, nucleus->y);
    g_array_append_val(near->next, near->head[cell]);
    near->head[cell] = (int32_t)crowd->scene->nuclei->len;
    g_array_append_val(crowd->scene->nuclei, *nucleus);
}

/* radius: of a circle of the same area; aspect: long over short axis; ragged: SD of the contour. */
static LobDemoNucleus shaped(LobRng *rng, float x, float y, double radius, double aspect, double ragged) {
    double angle = G_PI * lob_rng_uniform(rng), root = sqrt(MAX(aspect, 1.0));
    LobDemoNucleus n = {.x = x,
                        .y = y,
                        .a = (float)(radius * root),
                        .b = (float)(radius / root),
                        .cos_t = (float)cos(angle),
                        .sin_t = (float)sin(angle),
                        .salt = (uint32_t)lob_rng_u64(rng)};
    n.w3c = (float)(ragged * lob_rng_normal(rng));
    n.w3s = (float)(ragged * lob_rng_normal(rng));
    n.w4c = (float)(0.7 * ragged * lob_rng_normal(rng));
    n.w4s = (float)(0.7 * ragged * lob_rng_normal(rng));
    n.nucleolus_x = uniform(rng, -0.4, 0.4);
    n.nucleolus_y = uniform(rng, -0.4, 0.4);
    return n;
}

static void add_lymphocyte(Crowd *crowd, float x, float y) {
    LobRng *rng = crowd->rng;
    double radius = 2.95 * exp(0.06 * lob_rng_normal(rng));
    LobDemoNucleus n = shaped(rng, x, y, radius, 1.0 + 0.10 * lob_rng_uniform(rng), 0.02);
    n.kind = LOB_KIND_LYMPHOCYTE;
    n.h = (float)(1.45 * exp(0.07 * lob_rng_normal(rng)));
    n.rim = 0.10F;
    n.clump = 0.14F;
    if (fits(crowd, x, y, n.a, 0.5F))
        add(crowd, &n);
}

static void add_stroma(Crowd *crowd, float x, float y, double angle) {
    LobRng *rng = crowd->rng;
    LobDemoNucleus n =
        shaped(rng, x, y, 2.4 * exp(0.1 * lob_rng_normal(rng)), 2.6 + 1.2 * lob_rng_uniform(rng), 0.03);
    n.cos_t = (float)cos(angle);
    n.sin_t = (float)sin(angle);
    n.kind = LOB_KIND_STROMA;
    n.h = (float)(0.85 * exp(0.12 * lob_rng_normal(rng)));
    n.rim = 0.15F;
    n.clump = 0.12F;
    if (fits(crowd, x, y, 0.5F * (n.a + n.b), 1.0F))
        add(crowd, &n);
}

static bool in_tumour(const LobDemoScene *scene, float x, float y) {
    return lob_demo_scene_region(scene, x, y) == LOB_REGION_TUMOUR;
}

/* Infiltrating lymphocytes: scattered ones and aggregates, both denser with immune. */
static void infiltrate(Crowd *crowd) {
    LobDemoScene *scene = crowd->scene;
    LobRng *rng = crowd->rng;
    double i = CLAMP(scene->immune, -2.6, 2.6);
    double field_mm2 = (double)scene->width_um * (double)scene->height_um * 1e-6;
    int scattered = (int)(field_mm2 * 190.0 * exp(0.70 * i) + 0.5);
    for (int k = 0; k < scattered; k++) {
        float x = uniform(rng, 0, (double)scene->width_um), y = uniform(rng, 0, (double)scene->height_um);
        if (in_tumour(scene, x, y))
            add_lymphocyte(crowd, x, y);
    }
    /* Rounded by a dither, so that small slides are not biased. */
    int aggregates = (int)(field_mm2 * 9.0 * exp(0.45 * i) + lob_rng_uniform(rng));
    for (int k = 0; k < aggregates; k++) {
        float x = uniform(rng, 0, (double)scene->width_um), y = uniform(rng, 0, (double)scene->height_um);
        double spread = 11.0 + 11.0 * lob_rng_uniform(rng);
        int members = 14 + (int)lob_rng_below(rng, 16);
        for (int m = 0; m < members && in_tumour(scene, x, y); m++) {
            float mx = x + (float)(spread * lob_rng_normal(rng));
            float my = y + (float)(spread * lob_rng_normal(rng));
            if (in_tumour(scene, mx, my))
                add_lymphocyte(crowd, mx, my);
        }
    }
}

static void add_disc(LobDemoScene *scene, LobRng *rng, float x, float y, double radius, double aspect,
                     float h, float e) {
    double angle = G_PI * lob_rng_uniform(rng);
    LobDemoDisc disc = {.x = x,
                        .y = y,
                        .a = (float)(radius * sqrt(aspect)),
                        .b = (float)(radius / sqrt(aspect)),
                        .cos_t = (float)cos(angle),
                        .sin_t = (float)sin(angle),
                        .h = h,
                        .e = e};
    g_array_append_val(scene->discs, disc);
}

/* Vein, bile duct (a ring of cuboidal cells) and a mantle of lymphocytes. */
static void furnish_portal(Crowd *crowd, const LobDemoPortal *p) {
    LobDemoScene *scene = crowd->scene;
    LobRng *rng = crowd->rng;
    double angle = 2.0 * G_PI * lob_rng_uniform(rng), vein = 0.26 * (double)p->r;
    float vx = p->x + 0.35F * p->r * (float)cos(angle), vy = p->y + 0.35F * p->r * (float)sin(angle);
    add_disc(scene, rng, vx, vy, vein, 1.0 + 0.6 * lob_rng_uniform(rng), 0.0F, 0.04F);
    float bx = p->x - 0.45F * p->r * (float)cos(angle), by = p->y - 0.45F * p->r * (float)sin(angle);
    double duct = 8.0 + 4.0 * lob_rng_uniform(rng);
    add_disc(scene, rng, bx, by, 0.40 * duct, 1.2, 0.0F, 0.05F);
    int cells = (int)(2.0 * G_PI * duct / 7.0);
    for (int k = 0; k < cells; k++) {
        double theta = 2.0 * G_PI * k / cells;
        float x = bx + (float)(duct * cos(theta)), y = by + (float)(duct * sin(theta));
        LobDemoNucleus n = shaped(rng, x, y, 2.6, 1.2, 0.03);
        n.kind = LOB_KIND_STROMA;
        n.h = 0.75F;
        n.rim = 0.2F;
        n.clump = 0.12F;
        if (fits(crowd, x, y, n.a, 0.3F))
            add(crowd, &n);
    }
    int lymphocytes = (int)(0.35 * (double)p->r + (double)p->r * 0.5 * lob_rng_uniform(rng));
    for (int k = 0; k < lymphocytes; k++) {
        double r = (double)p->r * sqrt(lob_rng_uniform(rng)), theta = 2.0 * G_PI * lob_rng_uniform(rng);
        float x = p->x + (float)(r * cos(theta)), y = p->y + (float)(r * sin(theta));
        if (hypotf(x - vx, y - vy) > (float)vein * 1.3F + 3.0F && lob_demo_scene_portal(scene, x, y) > 0.0F)
            add_lymphocyte(crowd, x, y);
    }
}

/* A tumour cell's nucleus: the higher the grade the larger, darker, coarser and less round. */
static void add_tumour_cell(Crowd *crowd, float x, float y) {
    LobDemoScene *scene = crowd->scene;
    LobRng *rng = crowd->rng;
    double g = scene->grade + 0.30 * (double)lob_demo_waves_at(&scene->grade_field, x, y);
    g = CLAMP(g, -2.7, 2.7);
    double up = g + 2.7; /* 0 .. 5.4 */
    if (lob_rng_uniform(rng) < 0.22 - 0.02 * g)
        return;
    double radius = 3.85 * exp(0.115 * g + (0.06 + 0.02 * up) * lob_rng_normal(rng));
    double aspect = 1.06 + 0.05 * up + (0.03 + 0.03 * up) * fabs(lob_rng_normal(rng));
    LobDemoNucleus n = shaped(rng, x, y, CLAMP(radius, 2.4, 8.0), MIN(aspect, 2.2), 0.01 + 0.012 * up);
    n.kind = LOB_KIND_TUMOUR;
    n.h = (float)(0.62 * exp(0.06 * g + 0.10 * lob_rng_normal(rng)));
    n.rim = 0.35F;
    n.clump = (float)(0.14 + 0.03 * up);
    n.nucleolus = (float)(lob_rng_uniform(rng) < 0.25 + 0.08 * up ? 0.5 + 0.1 * up : 0.0);
    if (fits(crowd, x, y, 0.5F * (n.a + n.b), 0.4F))
        add(crowd, &n);
}

static void add_hepatocyte(Crowd *crowd, float x, float y) {
    LobRng *rng = crowd->rng;
    if (lob_rng_uniform(rng) < 0.30)
        return;
    LobDemoNucleus n = shaped(rng, x, y, 3.7 * exp(0.08 * lob_rng_normal(rng)), 1.08, 0.015);
    n.kind = LOB_KIND_HEPATOCYTE;
    n.h = (float)(0.60 * exp(0.08 * lob_rng_normal(rng)));
    n.rim = 0.40F;
    n.clump = 0.16F;
    n.nucleolus = lob_rng_uniform(rng) < 0.6 ? 0.6F : 0.0F;
    if (fits(crowd, x, y, n.a, 0.5F))
        add(crowd, &n);
}

/* Moves a point out of the sinusoid it lies in or near, along the field's slope. */
static void leave_sinusoid(const LobDemoWaves *cords, float slit, float slope, float clear_um, float *x,
                           float *y) {
    float want = slit + clear_um / slope;
    for (int step = 0; step < 2; step++) {
        float f = lob_demo_waves_at(cords, *x, *y);
        if (fabsf(f) >= want)
            return;
        float fx = lob_demo_waves_at(cords, *x + 1.0F, *y) - f;
        float fy = lob_demo_waves_at(cords, *x, *y + 1.0F) - f;
        float squared = fx * fx + fy * fy;
        if (squared < 1e-5F)
            return;
        float go = (want - fabsf(f)) * (f < 0.0F ? -1.0F : 1.0F) / squared;
        float length = fabsf(go) * sqrtf(squared), limit = length > 6.0F ? 6.0F / length : 1.0F;
        *x += go * fx * limit;
        *y += go * fy * limit;
    }
}

/* Cells of one of the two grids; each gets its nucleus, some a fat vacuole. */
static void settle(Crowd *crowd, LobDemoRegion wanted, float pitch, double fat) {
    LobDemoScene *scene = crowd->scene;
    bool tumour = wanted == LOB_REGION_TUMOUR;
    const LobDemoWaves *cords = tumour ? &scene->tumour_cords : &scene->liver_cords;
    float slit = tumour ? scene->tumour_slit : scene->liver_slit;
    float slope = tumour ? scene->tumour_slope : scene->liver_slope;
    uint32_t salt = scene->salt + (tumour ? 0U : 16U);
    int rows = (int)(scene->height_um / (pitch * 0.866F)) + 1, columns = (int)(scene->width_um / pitch) + 1;
    for (int j = 0; j < rows; j++) {
        for (int i = 0; i < columns; i++) {
            float x, y;
            lob_demo_cell(salt, pitch, i, j, &x, &y);
            if (lob_demo_scene_tissue(scene, x, y) < 5.0F || lob_demo_scene_region(scene, x, y) != wanted)
                continue;
            leave_sinusoid(cords, slit, slope, 5.0F, &x, &y);
            if (lob_rng_uniform(crowd->rng) < fat) {
                double radius = 3.5 + 4.5 * lob_rng_uniform(crowd->rng);
                double angle = 2.0 * G_PI * lob_rng_uniform(crowd->rng), aside = radius + 4.5;
                add_disc(scene, crowd->rng, x + (float)(aside * cos(angle)), y + (float)(aside * sin(angle)),
                         radius, 1.1, 0.0F, 0.02F);
            }
            if (tumour)
                add_tumour_cell(crowd, x, y);
            else
                add_hepatocyte(crowd, x, y);
        }
    }
}

/* Endothelium and red cells in the sinusoids, spindle cells in capsule and portal tracts. */
static void settle_between(Crowd *crowd) {
    LobDemoScene *scene = crowd->scene;
    LobRng *rng = crowd->rng;
    int tries = (int)(scene->width_um * scene->height_um / 90.0F);
    for (int k = 0; k < tries; k++) {
        float x = uniform(rng, 0, (double)scene->width_um), y = uniform(rng, 0, (double)scene->height_um);
        LobDemoRegion region = lob_demo_scene_region(scene, x, y);
        if (region == LOB_REGION_OUTSIDE)
            continue;
        if (region == LOB_REGION_STROMA) {
            bool capsule = fabsf(lob_demo_scene_tumour(scene, x, y)) < scene->capsule_um;
            double angle = capsule ? atan2((double)scene->cut_nx, -(double)scene->cut_ny) : 0.0;
            if (lob_rng_uniform(rng) < 0.16)
                add_stroma(crowd, x, y, angle + 0.3 * lob_rng_normal(rng));
            continue;
        }
        bool tumour = region == LOB_REGION_TUMOUR;
        const LobDemoWaves *cords = tumour ? &scene->tumour_cords : &scene->liver_cords;
        float slit = tumour ? scene->tumour_slit : scene->liver_slit;
        float f = lob_demo_waves_at(cords, x, y);
        if (fabsf(f) > slit)
            continue;
        float fx = lob_demo_waves_at(cords, x + 1.0F, y) - f, fy = lob_demo_waves_at(cords, x, y + 1.0F) - f;
        double u = lob_rng_uniform(rng);
        if (u < 0.16)
            add_stroma(crowd, x, y, atan2((double)fx, -(double)fy));
        else if (u < 0.34 && fabsf(f) < 0.6F * slit)
            add_disc(scene, rng, x, y, 2.3 + 0.5 * lob_rng_uniform(rng), 1.2, 0.03F, uniform(rng, 0.55, 0.8));
    }
}

typedef void (*BoundsOf)(const void *item, float *x, float *y, float *reach);

static void nucleus_bounds(const void *item, float *x, float *y, float *reach) {
    const LobDemoNucleus *n = item;
    *x = n->x;
    *y = n->y;
    *reach = n->a * 1.35F + 1.5F;
}

static void disc_bounds(const void *item, float *x, float *y, float *reach) {
    const LobDemoDisc *d = item;
    *x = d->x;
    *y = d->y;
    *reach = d->a + 1.5F;
}

/* Lists, for every bin, whatever may touch it; a counting sort in two passes. */
static void fill_bins(LobDemoBins *bins, const GArray *items, BoundsOf bounds, float width, float height) {
    bins->columns = (int)(width / LOB_DEMO_BIN_UM) + 1;
    bins->rows = (int)(height / LOB_DEMO_BIN_UM) + 1;
    size_t n_bins = (size_t)bins->columns * (size_t)bins->rows;
    bins->start = g_new0(uint32_t, n_bins + 1);
    guint size = g_array_get_element_size((GArray *)(uintptr_t)items);
    g_autofree uint32_t *cursor = NULL;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1) {
            for (size_t b = 0; b < n_bins; b++)
                bins->start[b + 1] += bins->start[b];
            bins->members = g_new(uint32_t, MAX(bins->start[n_bins], 1U));
            cursor = g_new(uint32_t, n_bins);
            memcpy(cursor, bins->start, n_bins * sizeof *cursor);
        }
        for (guint k = 0; k < items->len; k++) {
            float x, y, reach;
            bounds(items->data + (size_t)k * size, &x, &y, &reach);
            int i0 = MAX((int)floorf((x - reach) / LOB_DEMO_BIN_UM), 0);
            int i1 = MIN((int)floorf((x + reach) / LOB_DEMO_BIN_UM), bins->columns - 1);
            int j0 = MAX((int)floorf((y - reach) / LOB_DEMO_BIN_UM), 0);
            int j1 = MIN((int)floorf((y + reach) / LOB_DEMO_BIN_UM), bins->rows - 1);
            for (int j = j0; j <= j1; j++) {
                for (int i = i0; i <= i1; i++) {
                    size_t b = (size_t)j * (size_t)bins->columns + (size_t)i;
                    if (pass == 0)
                        bins->start[b + 1]++;
                    else
                        bins->members[cursor[b]++] = k;
                }
            }
        }
    }
}

void lob_demo_populate(LobDemoScene *scene, LobRng *rng) {
    scene->nuclei = g_array_new(FALSE, FALSE, sizeof(LobDemoNucleus));
    scene->discs = g_array_new(FALSE, FALSE, sizeof(LobDemoDisc));
    Crowd crowd = {.scene = scene, .rng = rng};
    crowd.near.columns = (int)(scene->width_um / HASH_UM) + 1;
    crowd.near.rows = (int)(scene->height_um / HASH_UM) + 1;
    size_t cells = (size_t)crowd.near.columns * (size_t)crowd.near.rows;
    crowd.near.head = g_new(int32_t, cells);
    memset(crowd.near.head, 0xFF, cells * sizeof(int32_t));
    crowd.near.next = g_array_new(FALSE, FALSE, sizeof(int32_t));
    for (size_t i = 0; i < scene->n_portals; i++)
        furnish_portal(&crowd, &scene->portals[i]);
    infiltrate(&crowd);
    settle(&crowd, LOB_REGION_TUMOUR, scene->tumour_pitch, 0.02);
    settle(&crowd, LOB_REGION_LIVER, scene->liver_pitch, 0.06);
    settle_between(&crowd);
    fill_bins(&scene->nucleus_bins, scene->nuclei, nucleus_bounds, scene->width_um, scene->height_um);
    fill_bins(&scene->disc_bins, scene->discs, disc_bounds, scene->width_um, scene->height_um);
    g_free(crowd.near.head);
    g_array_unref(crowd.near.next);
}
