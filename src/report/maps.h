/* Private to the report room: the tables of attention/ as validation left them, and what is drawn from them.
 */
#ifndef LOB_MAPS_H
#define LOB_MAPS_H

#include "report/picture.h"
#include "report/report_internal.h"
#include "slide/slide.h"

#define LOB_MAP_TOP 4        /* tiles shown by themselves */
#define LOB_MAP_DENSE 1000.0 /* lymphocyte-like nuclei per mm2 at the upper end of the colours */

/* One slide of a chosen patient. Strings belong to the index table. */
typedef struct {
    const char *patient, *center, *slide, *why, *file;
    double lp, tile_width, tile_height, mpp, width, height; /* level-0 px but mpp */
    size_t n;
    double *x, *y;      /* [n] level-0 px, top-left */
    double *attention;  /* [n] share of the patient's; NAN: repeats another tile */
    double *percentile; /* [n] 0..1 within the slide, ties share */
    double *density;    /* [n] lymphocyte-like nuclei per mm2; NULL: not counted */
    size_t top[LOB_MAP_TOP], n_top;
} LobMap;
/* Row r of maps.csv with its table of tiles. */
bool lob_map_read(LobMap *map, const LobPage *page, const LobTable *index, size_t r, GError **err);
void lob_map_clear(LobMap *map);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobMap, lob_map_clear)

/* The reader of slides, made when first needed. */
typedef struct {
    const LobCohort *cohort;
    LobReader *reader;
    bool refused; /* there is no zygote to fork one */
} LobStudio;

/* What is drawn of a map. */
typedef struct {
    LobPicture attention, density; /* density.surface NULL where it was not counted */
    uint8_t *tiles;                /* [n_top][size][size][3], or NULL */
    uint8_t seen[LOB_MAP_TOP];     /* whether the tile could be read */
    int size;
    char *no_thumbnail; /* why the grid alone is drawn; NULL: the slide is under it */
} LobMapPictures;
/* A slide that cannot be read is no error: its grid is drawn. */
void lob_map_draw(LobMapPictures *pictures, LobStudio *studio, const LobMap *map);
void lob_map_pictures_clear(LobMapPictures *pictures);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobMapPictures, lob_map_pictures_clear)

/* attention/<name>.png, <name>-lymphocytes.png, <name>.geojson. */
bool lob_map_save(const LobMap *map, const LobMapPictures *pictures, const LobPage *page, GError **err);

#endif
