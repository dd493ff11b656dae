#include "encoder/texture_internal.h"

#include <math.h>
#include <string.h>

static const float MIN_AREA = 9, MAX_AREA = 320; /* um2 */
static const float MIN_BREADTH = 1.8f;           /* um */
static const float MIN_FILL = 0.6f; /* below it: a fibre, a fold, a heap that did not come apart */
/* A nucleus adds more haematoxylin to its surroundings than eosin; an erythrocyte does the reverse. */
static const float MIN_HEMA_TO_EOSIN = 0.8f;

static void gather(const LobTexture *t, LobTextureMoments *all) {
    const size_t size = (size_t)t->size;
    memset(all, 0, t->nucleus_count * sizeof *all);
    for (size_t y = 0; y < size; y++) {
        for (size_t x = 0; x < size; x++) {
            const size_t i = y * size + x;
            if (t->label[i] == 0) {
                continue;
            }
            LobTextureMoments *m = &all[t->label[i] - 1];
            const double dx = (double)x, dy = (double)y, h = (double)t->hema[i];
            m->n++;
            m->x += dx;
            m->y += dy;
            m->xx += dx * dx;
            m->yy += dy * dy;
            m->xy += dx * dy;
            m->hema += h;
            m->hema2 += h * h;
            m->eosin += (double)t->eosin[i];
            m->background += (double)t->background[i];
            m->at_border |= x == 0 || y == 0 || x + 1 == size || y + 1 == size;
        }
    }
}

/* A soft step from 0 to 1 over `width` about `at`. */
static float step(float value, float at, float width) {
    return 1 / (1 + expf(-4 * (value - at) / width));
}

/* Shape from second moments; a pixel's own extent adds 1/12 to each variance. */
static LobTextureNucleus describe(const LobTexture *t, const LobTextureMoments *m) {
    const double mx = m->x / m->n, my = m->y / m->n;
    const double xx = m->xx / m->n - mx * mx + 1.0 / 12, yy = m->yy / m->n - my * my + 1.0 / 12;
    const double xy = m->xy / m->n - mx * my;
    const double half = (xx + yy) / 2, root = sqrt((xx - yy) * (xx - yy) / 4 + xy * xy);
    const double large = half + root, little = MAX(half - root, 1e-3);
    const double hema = m->hema / m->n,
                 contrast = MAX(hema + log10(MAX(1 - m->background / m->n, 0.01)), 1e-3);
    return (LobTextureNucleus){
        .x = (float)mx,
        .y = (float)my,
        .area = (float)(m->n * t->mpp * t->mpp),
        .eccentricity = (float)sqrt(MAX(0, 1 - little / large)),
        .breadth = (float)(4 * sqrt(little) * t->mpp),
        .fill = (float)(m->n / (4 * G_PI * sqrt(large * little))),
        .darkness = (float)hema,
        .contrast = (float)contrast,
        .roughness = (float)MIN(sqrt(MAX(0, m->hema2 / m->n - hema * hema)) / contrast, 2),
        .at_border = m->at_border,
    };
}

static bool is_nucleus(const LobTexture *t, const LobTextureNucleus *n, const LobTextureMoments *m) {
    const float eosin = (float)(m->eosin / m->n) - t->level_eosin;
    return n->area >= MIN_AREA && n->area <= MAX_AREA && n->breadth >= MIN_BREADTH && n->fill >= MIN_FILL &&
           n->contrast >= MIN_HEMA_TO_EOSIN * eosin;
}

/* The usual contrast of a nucleus too large for a lymphocyte: the tile's own, drawn to a prior where there
 * are few, so that "dark" follows the strength of the stain. */
static float usual_contrast(const LobTexture *t) {
    const double prior = 0.35, weight = 4, large = 42;
    double sum = prior * weight, count = weight;
    for (size_t k = 0; k < t->nucleus_count; k++) {
        if ((double)t->nuclei[k].area > large) {
            sum += (double)t->nuclei[k].contrast;
            count++;
        }
    }
    return (float)(sum / count);
}

static float lymphocyte_likeness(const LobTextureNucleus *n, float usual) {
    const float small = step(n->area, 12, 6) * (1 - step(n->area, 48, 14));
    const float round = 1 - step(n->eccentricity, 0.8f, 0.2f);
    const float dark = step(n->contrast / usual, 1.3f, 0.4f);
    return small * round * dark;
}

void lob_texture_measure(LobTexture *t) {
    size_t kept = 0;
    gather(t, t->moments);
    for (size_t k = 0; k < t->nucleus_count; k++) {
        const LobTextureNucleus n = describe(t, &t->moments[k]);
        if (is_nucleus(t, &n, &t->moments[k])) {
            t->nuclei[kept++] = n;
        }
    }
    t->nucleus_count = kept;
    const float usual = usual_contrast(t);
    for (size_t k = 0; k < kept; k++) {
        t->nuclei[k].lympho = lymphocyte_likeness(&t->nuclei[k], usual);
    }
}
