/* What the plan learns of a slide: facts, one line of text in the journal and a GVariant on the wire; and the
 * grid, a file of its own beside the journal. */
#ifndef LOB_PLAN_FACTS_H
#define LOB_PLAN_FACTS_H

#include "hdf5io/hdf5io.h"
#include "slide/slide.h"
#include "tissue/tissue.h"

typedef struct {
    int64_t width, height;
    double mpp_x, mpp_y;
    int32_t mpp_source;
    char quickhash[72];
    int64_t file_size, file_mtime;
    uint32_t tiles, grid_crc;
    LobSlideQuality quality;
    LobStains stains; /* NaN where not known */
    double seconds;
} LobPlanFacts;

/* The last member holds what later versions added: unknown share, stains. */
#define LOB_PLAN_FACTS_TYPE "(xxddisxxuuddddddddad)"
GVariant *lob_plan_facts_pack(const LobPlanFacts *facts); /* floating */
bool lob_plan_facts_unpack(GVariant *variant, LobPlanFacts *facts);
char *lob_plan_facts_text(const LobPlanFacts *facts);
bool lob_plan_facts_parse(const char *text, LobPlanFacts *facts);

/* The columns a store has of a slide's stains. */
void lob_plan_facts_stain(const LobPlanFacts *facts, double stain[LOB_STORE_STAINS]);

/* Whether a slide's file is still the one the facts were taken from. SLIDE error naming what changed. */
bool lob_plan_facts_same_file(const LobPlanFacts *facts, const LobSlideInfo *info, GError **err);

/* <output>/plan/<slide>.grid; names are escaped. Caller frees. */
char *lob_plan_grid_path(const LobStudy *study, const char *slide_id);
/* Judged grids only. */
bool lob_plan_grid_save(const char *path, const LobGrid *grid, uint32_t *crc, GError **err);
/* IO error where the file is missing, damaged, or not the one with this CRC and size. pen and fold are NULL
 * in plans of earlier versions. */
bool lob_plan_grid_load(const char *path, uint32_t tiles, uint32_t crc, LobGrid *grid, GError **err);

#endif
