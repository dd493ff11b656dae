/* What the files of this room share: the cohort's constants and the painter's scene. */
#ifndef LOB_DEMO_INTERNAL_H
#define LOB_DEMO_INTERNAL_H

#include "demo/demo.h"

#define LOB_DEMO_YEAR_DAYS 365.25

/* ---- cohort ---- */

/* What a kind of cohort plants besides the options. */
typedef struct {
    double rate, shape;            /* Weibull baseline: S0(t) = exp(-(rate t)^shape), t in years */
    double mvi_weight, afp_weight; /* log-HR as multiples of covariate_effect (size: 1) */
    double size_grade;             /* correlation of tumour size with grade */
    double tace_share;             /* treated where indication is average */
    double censor_from, censor_to; /* years of administrative follow-up, uniform */
    double two_slides;             /* share of patients with a second slide */
} LobDemoPlan;
const LobDemoPlan *lob_demo_plan(const LobDemoOptions *options);
/* Labels and what follows recurrence, from a random stream of their own. After outcome. */
void lob_demo_labels(const LobDemoOptions *options, size_t index, LobDemoPatient *patient);

/* ---- hashed noise ---- */
uint32_t lob_demo_hash(uint32_t a, uint32_t b, uint32_t salt);
static inline float lob_demo_unit(uint32_t hash) { /* [0, 1) */
    return (float)(hash >> 8) * 0x1.0p-24F;
}

#define LOB_DEMO_WAVES 14
/* A sum of plane waves of random direction and phase: unit variance, smooth, defined everywhere. Its zero
 * lines wind like the spaces between liver cell plates. */
typedef struct {
    float kx[LOB_DEMO_WAVES], ky[LOB_DEMO_WAVES], phase[LOB_DEMO_WAVES]; /* rad/um, rad */
} LobDemoWaves;
void lob_demo_waves_init(LobDemoWaves *waves, LobRng *rng, double wavelength_um, double spread);
float lob_demo_waves_at(const LobDemoWaves *waves, float x, float y);
/* out[rows][columns] at (x0 + i step, y0 + j step). */
void lob_demo_waves_grid(const LobDemoWaves *waves, float x0, float y0, float step, int columns, int rows,
                         float *out);

#define LOB_DEMO_TEXTURE 512 /* px a side, a power of two; periodic */
/* Gaussian noise smoothed to about `um` um, unit variance; [512][512]. stretch > 1 makes fibres along x. */
float *lob_demo_texture(LobRng *rng, double um, double stretch, double mpp);

/* ---- scene: everything on a slide, in um from its top-left ---- */
typedef enum { LOB_KIND_TUMOUR, LOB_KIND_HEPATOCYTE, LOB_KIND_LYMPHOCYTE, LOB_KIND_STROMA } LobDemoKind;
const char *lob_demo_kind_name(LobDemoKind kind);

typedef struct {
    float x, y, a, b;               /* centre and semi-axes, um */
    float cos_t, sin_t;             /* of the long axis */
    float w3c, w3s, w4c, w4s;       /* contour: r = 1 + third and fourth harmonics */
    float h;                        /* haematoxylin of its body */
    float rim, clump, nucleolus;    /* chromatin, relative to h */
    float nucleolus_x, nucleolus_y; /* in semi-axes */
    uint32_t salt;                  /* offset into the chromatin texture */
    uint8_t kind;                   /* LobDemoKind */
} LobDemoNucleus;

/* An ellipse that replaces what is below: fat vacuole, vein, gland lumen (empty) or red cell (eosin). */
typedef struct {
    float x, y, a, b, cos_t, sin_t;
    float h, e;
} LobDemoDisc;

typedef struct {
    float x, y, r, wobble, phase;
} LobDemoPortal;

typedef struct {
    double hematoxylin[3], eosin[3]; /* optical density per unit of stain, R, G, B */
    double white[3];                 /* background intensity, 0..255 */
    double blur_um, noise;           /* SD of the optics, SD of the sensor in grey values */
    double mpp;
} LobDemoScanner;
void lob_demo_scanner(uint64_t seed, int center, LobDemoScanner *scanner);

#define LOB_DEMO_HARMONICS 9
#define LOB_DEMO_BIN_UM 64.0F

typedef struct {
    uint32_t *start;   /* [columns*rows + 1] */
    uint32_t *members; /* indices */
    int columns, rows;
} LobDemoBins;

typedef struct {
    LobDemoScanner scanner;
    int width, height; /* level-0 px */
    float width_um, height_um;
    double grade, immune; /* of this block of tissue */
    float cx, cy, rx, ry, outline[LOB_DEMO_HARMONICS], outline_phase[LOB_DEMO_HARMONICS];
    float cut_nx, cut_ny, cut_offset, cut_wave, cut_amplitude, cut_phase; /* where tumour meets liver */
    float capsule_um;                                                     /* half thickness */
    LobDemoWaves tumour_cords, liver_cords, grade_field, stain_field;
    float tumour_slit, liver_slit;   /* |cords| below this is a sinusoid */
    float tumour_slope, liver_slope; /* um per unit of cords */
    float tumour_pitch, liver_pitch; /* um between cells */
    float tumour_eosin, tumour_blue; /* of the cytoplasm */
    uint32_t salt;
    LobDemoPortal *portals;
    size_t n_portals;
    bool has_fold;
    float fold_nx, fold_ny, fold_offset, fold_width, fold_strength;
    bool has_pen;
    float pen_x[4], pen_y[4], pen_width, pen_colour[3]; /* polyline, um; transmittance */
    GArray *nuclei;                                     /* LobDemoNucleus */
    GArray *discs;                                      /* LobDemoDisc */
    LobDemoBins nucleus_bins, disc_bins;
    float *grain, *fibre, *chromatin; /* textures at the slide's scale */
} LobDemoScene;

typedef enum { LOB_REGION_OUTSIDE, LOB_REGION_TUMOUR, LOB_REGION_LIVER, LOB_REGION_STROMA } LobDemoRegion;

LobDemoScene *lob_demo_scene_new(const LobDemo *demo, size_t patient, int slide);
void lob_demo_scene_free(LobDemoScene *scene);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobDemoScene, lob_demo_scene_free)
/* Distances in um, positive inside: tissue; tumour side of the cut; nearest portal tract. */
float lob_demo_scene_tissue(const LobDemoScene *scene, float x, float y);
float lob_demo_scene_tumour(const LobDemoScene *scene, float x, float y);
float lob_demo_scene_portal(const LobDemoScene *scene, float x, float y);
LobDemoRegion lob_demo_scene_region(const LobDemoScene *scene, float x, float y);
/* Centre of cell (i, j) of a jittered hexagonal grid. */
void lob_demo_cell(uint32_t salt, float pitch, int i, int j, float *x, float *y);
/* Fills the scene with nuclei, vacuoles and red cells. */
void lob_demo_populate(LobDemoScene *scene, LobRng *rng);

/* ---- painter ---- */
#define LOB_DEMO_TILE 256 /* px a side of the file's tiles, and of a painted block */
typedef struct LobDemoPainter LobDemoPainter;
LobDemoPainter *lob_demo_painter_new(const LobDemoScene *scene);
void lob_demo_painter_free(LobDemoPainter *painter);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobDemoPainter, lob_demo_painter_free)
/* The block whose top-left is (column, row) * 256 px; rgb [256][256][3]. */
void lob_demo_paint(LobDemoPainter *painter, int column, int row, uint8_t *rgb);

#endif
