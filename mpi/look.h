/* Looking at one slide: its scale, an overview, where the tissue is, the tiles. Local; decoding happens in an
 * isolated reader, so no MPI is needed. */
#ifndef LOB_LOOK_H
#define LOB_LOOK_H

#include "cohort/cohort.h"
#include "slide/slide.h"
#include "tissue/tissue.h"

typedef struct {
    LobSlideSpec slide;
    LobTileSpec tile;
    LobTissueOptions tissue; /* slide_id is the slide's; origin and unknown parts are set from the slide */
    double min_tissue;
    void (*pulse)(void *user); /* called between the steps, which may take seconds; NULL = not */
    void *user;
} LobLookSpec;

typedef struct {
    LobSlideInfo info; /* filled as soon as the slide is open, also where a later step fails */
    LobImage overview;
    LobMask mask;
    double tile_width, tile_height; /* level-0 px */
    LobGrid grid;                   /* may be empty */
} LobLook;
void lob_look_clear(LobLook *look);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobLook, lob_look_clear)

/* The study's options for one of its slides; texts stay the study's and the cohort's. */
bool lob_look_spec(const LobStudy *study, const LobCohortSlide *slide, LobLookSpec *spec, GError **err);
/* Tissue method by its name in the study file. */
bool lob_look_method(const char *name, LobTissueMethod *method, GError **err);

/* The scale is checked first: a slide without it is refused before anything is decoded. SLIDE errors. */
bool lob_look_at(LobReader *reader, const LobLookSpec *spec, LobLook *look, GError **err);
/* The slide is wide enough and has tissue enough for one tile at least; else a SLIDE error that says so. */
bool lob_look_has_tiles(const LobLookSpec *spec, const LobLook *look, GError **err);

#endif
