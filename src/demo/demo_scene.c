/* A slide before it is drawn: scanner, outline of the tissue, where tumour ends and liver begins, portal
 * tracts, artefacts. Geometry in um. What is chosen here is independent of the outcome but for grade and
 * immune. */
#include "demo/demo_internal.h"

#include <math.h>

#define TILE_UM 112.0     /* 224 px at 0.5 um/px */
#define AREA_OF_TILE 0.90 /* tissue of a wanted tile: the grid also keeps tiles on the edge */
#define MARGIN_UM 90.0

/* Measured ranges of H&E stain vectors, scanners and staining protocols; further centers are drawn. */
static const LobDemoScanner scanners[] = {
    {{0.650, 0.704, 0.286}, {0.150, 0.930, 0.330}, {243, 241, 244}, 0.30, 1.6, 0.4990},
    {{0.563, 0.720, 0.406}, {0.216, 0.801, 0.558}, {238, 236, 232}, 0.38, 2.0, 0.2526},
    {{0.730, 0.640, 0.240}, {0.110, 0.880, 0.300}, {247, 245, 248}, 0.45, 1.4, 0.5021},
    {{0.600, 0.730, 0.330}, {0.290, 0.900, 0.400}, {232, 234, 238}, 0.35, 2.4, 0.4942},
};
static const double stain_gain[][2] = {{1.00, 1.00}, {0.88, 1.12}, {1.14, 0.82}, {0.95, 0.90}};

void lob_demo_scanner(uint64_t seed, int center, LobDemoScanner *scanner) {
    g_autofree char *name = g_strdup_printf("scanner/%d", center);
    LobRng rng;
    lob_rng_init(&rng, seed, name);
    size_t like = (size_t)center % G_N_ELEMENTS(scanners);
    *scanner = scanners[like];
    double gain_h = stain_gain[like][0], gain_e = stain_gain[like][1];
    if ((size_t)center >= G_N_ELEMENTS(scanners)) {
        gain_h *= exp(0.08 * lob_rng_normal(&rng));
        gain_e *= exp(0.08 * lob_rng_normal(&rng));
        scanner->mpp *= 1.0 + 0.008 * (lob_rng_uniform(&rng) - 0.5);
        scanner->blur_um *= 0.85 + 0.3 * lob_rng_uniform(&rng);
    }
    for (int c = 0; c < 3; c++) {
        if ((size_t)center >= G_N_ELEMENTS(scanners)) {
            scanner->hematoxylin[c] += 0.03 * lob_rng_normal(&rng);
            scanner->eosin[c] = MAX(0.03, scanner->eosin[c] + 0.03 * lob_rng_normal(&rng));
            scanner->white[c] += 2.0 * lob_rng_normal(&rng);
        }
        scanner->hematoxylin[c] *= gain_h;
        scanner->eosin[c] *= gain_e;
    }
}

const char *lob_demo_kind_name(LobDemoKind kind) {
    static const char *const names[] = {"tumour", "hepatocyte", "lymphocyte", "stroma"};
    return names[kind];
}

/* Radial outline: an ellipse with a few harmonics. The value is not an exact distance, but has its sign and,
 * near the edge, about its size. */
float lob_demo_scene_tissue(const LobDemoScene *scene, float x, float y) {
    float u = (x - scene->cx) / scene->rx, v = (y - scene->cy) / scene->ry;
    float r = sqrtf(u * u + v * v);
    float angle = atan2f(v, u), edge = 1.0F;
    for (int k = 0; k < LOB_DEMO_HARMONICS; k++)
        edge += scene->outline[k] * cosf((float)(k + 2) * angle + scene->outline_phase[k]);
    return (edge - r) * 0.5F * (scene->rx + scene->ry);
}

float lob_demo_scene_tumour(const LobDemoScene *scene, float x, float y) {
    float along = -scene->cut_ny * (x - scene->cx) + scene->cut_nx * (y - scene->cy);
    float across = scene->cut_nx * (x - scene->cx) + scene->cut_ny * (y - scene->cy);
    return across + scene->cut_amplitude * sinf(scene->cut_wave * along + scene->cut_phase) -
           scene->cut_offset;
}

float lob_demo_scene_portal(const LobDemoScene *scene, float x, float y) {
    float best = -1e6F;
    for (size_t i = 0; i < scene->n_portals; i++) {
        const LobDemoPortal *p = &scene->portals[i];
        float dx = x - p->x, dy = y - p->y, reach = 1.5F * p->r;
        if (dx * dx + dy * dy > reach * reach)
            continue;
        float r = p->r * (1.0F + p->wobble * cosf(3.0F * atan2f(dy, dx) + p->phase));
        best = MAX(best, r - sqrtf(dx * dx + dy * dy));
    }
    return best;
}

LobDemoRegion lob_demo_scene_region(const LobDemoScene *scene, float x, float y) {
    if (lob_demo_scene_tissue(scene, x, y) < 0.0F)
        return LOB_REGION_OUTSIDE;
    float tumour = lob_demo_scene_tumour(scene, x, y);
    if (fabsf(tumour) < scene->capsule_um)
        return LOB_REGION_STROMA;
    if (tumour > 0.0F)
        return LOB_REGION_TUMOUR;
    return lob_demo_scene_portal(scene, x, y) > 0.0F ? LOB_REGION_STROMA : LOB_REGION_LIVER;
}

void lob_demo_cell(uint32_t salt, float pitch, int i, int j, float *x, float *y) {
    float dx = lob_demo_unit(lob_demo_hash((uint32_t)i, (uint32_t)j, salt)) - 0.5F;
    float dy = lob_demo_unit(lob_demo_hash((uint32_t)i, (uint32_t)j, salt + 1)) - 0.5F;
    *x = pitch * ((float)i + ((j & 1) != 0 ? 0.5F : 0.0F) + 0.5F * dx);
    *y = pitch * 0.866F * ((float)j + 0.5F * dy);
}

static float uniform(LobRng *rng, double from, double to) {
    return (float)(from + (to - from) * lob_rng_uniform(rng));
}

static void place_tissue(LobDemoScene *scene, LobRng *rng, double tiles) {
    double area = tiles * AREA_OF_TILE * TILE_UM * TILE_UM;
    double aspect = 0.75 + 0.6 * lob_rng_uniform(rng), squares = 0.0, largest = 1.0;
    for (int k = 0; k < LOB_DEMO_HARMONICS; k++) {
        double amplitude = 0.09 * lob_rng_normal(rng) / (1.0 + 0.5 * k);
        amplitude = CLAMP(amplitude, -0.12, 0.12);
        scene->outline[k] = (float)amplitude;
        scene->outline_phase[k] = uniform(rng, 0, 2 * G_PI);
        squares += 0.5 * amplitude * amplitude;
        largest += fabs(amplitude) * 0.6;
    }
    double r = sqrt(area / (G_PI * (1.0 + squares)));
    scene->rx = (float)(r * sqrt(aspect));
    scene->ry = (float)(r / sqrt(aspect));
    double width = 2.0 * ((double)scene->rx * largest + MARGIN_UM);
    double height = 2.0 * ((double)scene->ry * largest + MARGIN_UM);
    scene->width = (int)ceil(width / scene->scanner.mpp);
    scene->height = (int)ceil(height / scene->scanner.mpp);
    scene->width_um = (float)(scene->width * scene->scanner.mpp);
    scene->height_um = (float)(scene->height * scene->scanner.mpp);
    scene->cx = 0.5F * scene->width_um;
    scene->cy = 0.5F * scene->height_um;
}

/* The cut is moved by bisection until 15 to 30 % of the tissue lie beyond it. */
static void place_cut(LobDemoScene *scene, LobRng *rng) {
    double angle = 2.0 * G_PI * lob_rng_uniform(rng), wanted = 0.15 + 0.15 * lob_rng_uniform(rng);
    scene->cut_nx = (float)cos(angle);
    scene->cut_ny = (float)sin(angle);
    scene->cut_wave = uniform(rng, 0.004, 0.009);
    scene->cut_amplitude = uniform(rng, 15, 55);
    scene->cut_phase = uniform(rng, 0, 2 * G_PI);
    scene->capsule_um = uniform(rng, 6, 16);
    float low = -scene->rx - scene->ry, high = -low;
    for (int step = 0; step < 14; step++) {
        scene->cut_offset = 0.5F * (low + high);
        int tissue = 0, liver = 0;
        for (float y = 5.0F; y < scene->height_um; y += 25.0F) {
            for (float x = 5.0F; x < scene->width_um; x += 25.0F) {
                if (lob_demo_scene_tissue(scene, x, y) < 0.0F)
                    continue;
                tissue++;
                liver += lob_demo_scene_tumour(scene, x, y) < 0.0F;
            }
        }
        if (liver < wanted * tissue)
            low = scene->cut_offset;
        else
            high = scene->cut_offset;
    }
}

/* Portal tracts: about one in (210 um)^2 of liver, by rejection. */
static void place_portals(LobDemoScene *scene, LobRng *rng) {
    GArray *portals = g_array_new(FALSE, FALSE, sizeof(LobDemoPortal));
    int tries = (int)(scene->width_um * scene->height_um / (75.0F * 75.0F));
    for (int i = 0; i < tries; i++) {
        LobDemoPortal p = {.x = uniform(rng, 0, (double)scene->width_um),
                           .y = uniform(rng, 0, (double)scene->height_um),
                           .r = uniform(rng, 32, 62),
                           .wobble = uniform(rng, 0.08, 0.22),
                           .phase = uniform(rng, 0, 2 * G_PI)};
        bool fits = lob_demo_scene_tissue(scene, p.x, p.y) > 0.6F * p.r &&
                    lob_demo_scene_tumour(scene, p.x, p.y) < -p.r - scene->capsule_um;
        for (guint k = 0; fits && k < portals->len; k++) {
            const LobDemoPortal *q = &g_array_index(portals, LobDemoPortal, k);
            fits = hypotf(q->x - p.x, q->y - p.y) > 200.0F;
        }
        if (fits)
            g_array_append_val(portals, p);
    }
    scene->n_portals = portals->len;
    scene->portals = (LobDemoPortal *)(void *)g_array_free(portals, FALSE);
}

/* Plates thicken with grade at an even share of sinusoids; the liver beside it does not know of it. */
static void place_cells(LobDemoScene *scene, LobRng *rng) {
    double g = CLAMP(scene->grade, -2.5, 2.5);
    double tumour_wave = 62.0 * exp(0.10 * g), liver_wave = 50.0;
    lob_demo_waves_init(&scene->tumour_cords, rng, tumour_wave, 0.14);
    lob_demo_waves_init(&scene->liver_cords, rng, liver_wave, 0.08);
    lob_demo_waves_init(&scene->grade_field, rng, 420.0, 0.3);
    lob_demo_waves_init(&scene->stain_field, rng, 260.0, 0.3);
    /* RMS slope of a unit-variance field of wave number k is k / sqrt(2). */
    scene->tumour_slope = (float)(tumour_wave / (2.0 * G_PI) * 1.2);
    scene->liver_slope = (float)(liver_wave / (2.0 * G_PI) * 1.2);
    scene->tumour_slit = 0.16F;
    scene->liver_slit = 2.3F / scene->liver_slope;
    scene->tumour_pitch = (float)(15.6 + 0.25 * g);
    scene->liver_pitch = 21.0F;
    scene->salt = (uint32_t)lob_rng_u64(rng);
}

static void place_artefacts(LobDemoScene *scene, LobRng *rng) {
    static const float inks[3][3] = {{0.22F, 0.35F, 0.75F}, {0.20F, 0.62F, 0.38F}, {0.14F, 0.14F, 0.16F}};
    scene->has_fold = lob_rng_uniform(rng) < 0.15;
    double angle = 2.0 * G_PI * lob_rng_uniform(rng);
    scene->fold_nx = (float)cos(angle);
    scene->fold_ny = (float)sin(angle);
    scene->fold_offset = scene->rx * uniform(rng, -0.5, 0.5);
    scene->fold_width = uniform(rng, 12, 28);
    scene->fold_strength = uniform(rng, 0.7, 1.1);
    scene->has_pen = lob_rng_uniform(rng) < 0.12;
    const float *ink = inks[lob_rng_below(rng, 3)];
    double at = 2.0 * G_PI * lob_rng_uniform(rng);
    for (int i = 0; i < 4; i++) {
        double theta = at + 0.22 * i, reach = 1.12 + 0.08 * lob_rng_uniform(rng);
        scene->pen_x[i] = scene->cx + scene->rx * (float)(reach * cos(theta));
        scene->pen_y[i] = scene->cy + scene->ry * (float)(reach * sin(theta));
    }
    for (int c = 0; c < 3; c++)
        scene->pen_colour[c] = ink[c];
    scene->pen_width = uniform(rng, 22, 40);
}

/* Sets the cytoplasm's stain so that the tumour's mean stain is the same whatever its nuclei: grade is to be
 * read from shapes, not from how much dye a slide took up. */
static void balance_stain(LobDemoScene *scene) {
    const double mean_blue = 0.185, mean_eosin = 0.45, step = 8.0;
    double cells = 0.0, nuclei = 0.0, load = 0.0;
    for (float y = 4.0F; y < scene->height_um; y += (float)step) {
        for (float x = 4.0F; x < scene->width_um; x += (float)step) {
            if (lob_demo_scene_region(scene, x, y) == LOB_REGION_TUMOUR)
                cells +=
                    step * step *
                    (fabsf(lob_demo_waves_at(&scene->tumour_cords, x, y)) > scene->tumour_slit ? 1.0 : 0.0);
        }
    }
    for (guint i = 0; i < scene->nuclei->len; i++) {
        const LobDemoNucleus *n = &g_array_index(scene->nuclei, LobDemoNucleus, i);
        if (lob_demo_scene_region(scene, n->x, n->y) != LOB_REGION_TUMOUR)
            continue;
        double area = G_PI * (double)(n->a * n->b);
        nuclei += area;
        load += area * (double)(n->h * (1.0F + 0.1F * n->rim + 0.03F * n->nucleolus));
    }
    cells = MAX(cells, 1.6 * nuclei + 1.0);
    double blue = (mean_blue * cells - load) / (cells - nuclei);
    double eosin = (mean_eosin * cells - 0.08 * nuclei) / (cells - 0.70 * nuclei);
    scene->tumour_blue = (float)CLAMP(blue, 0.005, 0.20);
    scene->tumour_eosin = (float)CLAMP(eosin, 0.30, 0.70);
}

double lob_demo_slide_cost(const LobDemo *demo, size_t patient, int slide) {
    const LobDemoPatient *p = &demo->patients[patient];
    LobDemoScanner scanner;
    (void)slide; /* a patient's slides are of one size */
    if (demo->options.bags)
        return 1.0;
    lob_demo_scanner(demo->options.seed, p->center, &scanner);
    return demo->options.tiles / (double)p->n_slides / (scanner.mpp * scanner.mpp);
}

LobDemoScene *lob_demo_scene_new(const LobDemo *demo, size_t patient, int slide) {
    const LobDemoPatient *p = &demo->patients[patient];
    g_autofree char *stream = g_strdup_printf("slide/%s", p->slide_id[slide]);
    LobRng rng;
    lob_rng_init(&rng, demo->options.seed, stream);
    LobDemoScene *scene = g_new0(LobDemoScene, 1);
    lob_demo_scanner(demo->options.seed, p->center, &scene->scanner);
    /* Staining varies from slide to slide, so that darkness alone does not tell the grade. */
    double gain_h = exp(0.08 * lob_rng_normal(&rng)), gain_e = exp(0.08 * lob_rng_normal(&rng));
    for (int c = 0; c < 3; c++) {
        scene->scanner.hematoxylin[c] *= gain_h;
        scene->scanner.eosin[c] *= gain_e;
    }
    scene->grade = p->grade + 0.12 * lob_rng_normal(&rng);
    scene->immune = p->immune + 0.15 * lob_rng_normal(&rng);
    double wobble = 0.75 + 0.5 * lob_rng_uniform(&rng);
    place_tissue(scene, &rng, wobble * demo->options.tiles / p->n_slides);
    place_cut(scene, &rng);
    place_portals(scene, &rng);
    place_cells(scene, &rng);
    place_artefacts(scene, &rng);
    scene->grain = lob_demo_texture(&rng, 0.55, 1.0, scene->scanner.mpp);
    scene->fibre = lob_demo_texture(&rng, 0.8, 7.0, scene->scanner.mpp);
    scene->chromatin = lob_demo_texture(&rng, 0.40, 1.0, scene->scanner.mpp);
    lob_demo_populate(scene, &rng);
    balance_stain(scene);
    return scene;
}

void lob_demo_scene_free(LobDemoScene *scene) {
    if (scene == NULL)
        return;
    g_free(scene->portals);
    g_array_unref(scene->nuclei);
    g_array_unref(scene->discs);
    g_free(scene->nucleus_bins.start);
    g_free(scene->nucleus_bins.members);
    g_free(scene->disc_bins.start);
    g_free(scene->disc_bins.members);
    g_free(scene->grain);
    g_free(scene->fibre);
    g_free(scene->chromatin);
    g_free(scene);
}
