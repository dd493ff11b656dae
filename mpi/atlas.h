/* Where the rows of bags lie on their slides: the stores behind a validation, looked up by slide. Local, rank
 * 0.
 */
#ifndef LOB_ATLAS_H
#define LOB_ATLAS_H

#include "hdf5io/hdf5io.h"

typedef struct LobAtlas LobAtlas;

/* sources: NULL-terminated stores; folders of other tools' files, which give no place, are passed over. */
LobAtlas *lob_atlas_new(char **sources, GError **err);
void lob_atlas_free(LobAtlas *atlas);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LobAtlas, lob_atlas_free)

/* One slide's readable tiles, in the order of its bag (unreadable ones are not in it). */
typedef struct {
    const LobStoreSlide *slide;
    const LobStoreHeader *header;
    LobStore *store;
    size_t n;
    int32_t (*xy)[2]; /* [n] level-0 px, top-left */
    uint64_t *row;    /* [n] of the store */
} LobAtlasSlide;
/* *found NULL (and true) where no store holds the slide as done. Owned by the atlas; the next call ends it.
 */
bool lob_atlas_slide(LobAtlas *atlas, const char *slide_id, const LobAtlasSlide **found, GError **err);
/* The named feature of those tiles, [n], or NULL (and true) where the encoder has no such column. Caller
 * frees.
 */
bool lob_atlas_column(const LobAtlasSlide *slide, const char *column, float **values, GError **err);

#endif
