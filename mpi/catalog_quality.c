/* Tile quality of done slides, counted for slides.csv. */
#include "mpi/catalog.h"

#define TILES_AT_ONCE ((size_t)1 << 20)

static bool count_slide(const LobStudy *study, LobStore *store, const LobStoreSlide *stored,
                        LobCatalogSlide *slide, uint8_t (*quality)[LOB_QUALITIES], GError **err) {
    for (uint64_t done = 0; done < stored->count; done += TILES_AT_ONCE) {
        const size_t now = MIN(TILES_AT_ONCE, stored->count - done);
        if (!lob_store_read_quality(store, stored->first + done, now, quality, err))
            return false;
        for (size_t i = 0; i < now; i++) {
            const unsigned flags = lob_quality_flags(study, quality[i]);
            for (int q = 0; q < LOB_QUALITIES; q++)
                slide->flagged[q] += flags >> q & 1;
            slide->left_out += lob_filters_drop(study, quality[i]);
        }
    }
    slide->judged = true;
    return true;
}

static bool count_part(LobCatalog *catalog, const LobCatalogPart *part, uint8_t (*quality)[LOB_QUALITIES],
                       GError **err) {
    g_autoptr(LobStore) store = lob_store_open(part->path, err);
    if (!store)
        return false;
    for (size_t s = 0; s < part->n_slides; s++) {
        const int64_t i = lob_catalog_find(catalog, part->slides[s].slide_id);
        LobCatalogSlide *slide = i < 0 ? NULL : &catalog->slides[i];
        if (!slide || slide->part != part->number || slide->state != LOB_STATE_DONE || slide->judged)
            continue;
        if (!count_slide(catalog->cohort->study, store, &part->slides[s], slide, quality, err))
            return false;
    }
    return true;
}

bool lob_catalog_judge(LobCatalog *catalog, GError **err) {
    g_autofree uint8_t(*quality)[LOB_QUALITIES] = g_malloc(TILES_AT_ONCE * sizeof *quality);
    for (size_t p = 0; p < catalog->n_parts; p++)
        if (catalog->parts[p].header.quality && !count_part(catalog, &catalog->parts[p], quality, err))
            return false;
    return true;
}
