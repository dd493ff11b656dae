/* The benefit stage within the model file: group `benefit`. */
#include "hdf5io/model_file_internal.h"

#include <math.h>
#include <string.h>

#define MOST_SIDE ((double)(1 << 20))
#define MOST_VALUES ((hsize_t)1 << 31)

/* A dataset of doubles. */
typedef struct {
    const char *name;
    double **values;
    size_t rows, width;
} Piece;

enum { PIECES = 13 };

static void list_pieces(LobBenefitModel *m, Piece pieces[PIECES]) {
    LobBasis *b = &m->basis;
    size_t k = b->k, draws = m->n_draws, c = m->n_covariates;
    const Piece list[PIECES] = {{"horizons", &m->horizons, 1, m->n_horizons},
                                {"bases", &b->bases, k, b->dim},
                                {"center", &b->center, 1, k},
                                {"variance", &b->variance, 1, k},
                                {"tile_variance", &b->blur, 1, k},
                                {"main", &m->main, draws, c + k + 3},
                                {"shift", &m->shift, draws, k},
                                {"hazard", &m->hazard, 2 * draws, LOB_BENEFIT_GRID + 1},
                                {"adverse", &m->adverse, 1, c + k + 3},
                                {"effect_1", &m->gamma[0], draws, k},
                                {"effect_2", &m->gamma[1], draws, k},
                                {"propensity_1", &m->propensity_beta[0], 1, c + 2},
                                {"propensity_2", &m->propensity_beta[1], 1, c + 2}};
    memcpy(pieces, list, sizeof list);
}

/* A part that is not estimable has no propensity, and adverse events may be none of the study's. */
static bool is_there(const LobBenefitModel *m, const Piece *piece, bool adverse) {
    return (piece->values != &m->adverse || adverse) &&
           (piece->values != &m->propensity_beta[0] || m->estimable[0]) &&
           (piece->values != &m->propensity_beta[1] || m->estimable[1]);
}

/* Whole numbers of the group. */
typedef struct {
    const char *name;
    size_t *value;
} Size;

enum { SIZES = 7 };

static void list_sizes(LobBenefitModel *m, Size sizes[SIZES]) {
    const Size list[SIZES] = {{"covariates", &m->n_covariates},   {"arms", &m->n_arms},
                              {"horizons_given", &m->n_horizons}, {"draws", &m->n_draws},
                              {"components", &m->basis.k},        {"dim", &m->basis.dim},
                              {"factors", &m->basis.factors}};
    memcpy(sizes, list, sizeof list);
}

/* ---- writing ---- */

static bool put_numbers(hid_t group, LobBenefitModel *m, GError **err) {
    Size sizes[SIZES];
    list_sizes(m, sizes);
    for (size_t i = 0; i < SIZES; i++)
        if (!lob_h5_write_number(group, sizes[i].name, H5T_STD_I64LE, (double)*sizes[i].value, err))
            return false;
    for (int f = 0; f < LOB_PARTS; f++) {
        const char *const estimable[] = {"estimable_1", "estimable_2"}, *const sd[] = {"sd_1", "sd_2"};
        const char *const reason[] = {"reason_1", "reason_2"};
        if (!lob_h5_write_number(group, estimable[f], H5T_STD_I64LE, m->estimable[f], err) ||
            !lob_h5_write_number(group, sd[f], H5T_IEEE_F64LE, m->sd[f], err) ||
            !lob_h5_write_text(group, reason[f], m->reason[f], err))
            return false;
    }
    g_autofree char *seed = g_strdup_printf("%" G_GUINT64_FORMAT, m->seed);
    return lob_h5_write_text(group, "endpoint", m->endpoint, err) &&
           lob_h5_write_text(group, "seed", seed, err) &&
           lob_h5_write_number(group, "of_tiles", H5T_STD_I64LE, m->basis.of_tiles, err) &&
           lob_h5_write_number(group, "earned", H5T_STD_I64LE, m->earned, err) &&
           lob_h5_write_number(group, "product", H5T_STD_I64LE, m->use_product, err) &&
           lob_h5_write_number(group, "tau", H5T_IEEE_F64LE, m->tau, err) &&
           lob_h5_write_number(group, "margin_days", H5T_IEEE_F64LE, m->margin_days, err) &&
           lob_h5_write_number(group, "penalty_days", H5T_IEEE_F64LE, m->penalty_days, err) &&
           lob_h5_write_number(group, "factor", H5T_IEEE_F64LE, m->basis.factor, err) &&
           lob_h5_write_number(group, "specific_variance", H5T_IEEE_F64LE, m->basis.specific, err);
}

static bool put_arms(hid_t group, const LobBenefitModel *m, GError **err) {
    g_autofree char **names = g_new0(char *, m->n_arms + 1);
    g_autofree uint8_t *codes = g_new0(uint8_t, 2 * m->n_arms + 1);
    for (size_t a = 0; a < m->n_arms; a++) {
        names[a] = m->arms[a].name;
        for (size_t f = 0; f < LOB_PARTS; f++)
            codes[2 * a + f] = (uint8_t)m->arms[a].code[f];
    }
    return lob_model_put_texts(group, "arm", names, m->n_arms, err) &&
           lob_model_put_rows(group, "arm_code", H5T_STD_U8LE, H5T_NATIVE_UINT8, 2, m->n_arms, 2, codes, err);
}

bool lob_model_put_benefit(hid_t root, LobBenefitModel *m, GError **err) {
    Piece pieces[PIECES];
    g_auto(LobHid) group = H5Gcreate2(root, "benefit", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (!LOB_H5(err, LOB_ERROR_IO, group, "cannot make group benefit") || !put_numbers(group, m, err) ||
        !put_arms(group, m, err))
        return false;
    list_pieces(m, pieces);
    for (size_t i = 0; i < PIECES; i++)
        if (is_there(m, &pieces[i], m->adverse != NULL) &&
            !lob_model_put_rows(group, pieces[i].name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, pieces[i].rows,
                                pieces[i].width, *pieces[i].values, err))
            return false;
    size_t d = m->basis.of_tiles ? m->basis.dim : 0;
    return lob_model_put_rows(group, "tile_mean", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 1, d, 1, m->basis.mean,
                              err) &&
           lob_model_put_rows(group, "tile_inverse_sd", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 1, d, 1,
                              m->basis.inverse, err);
}

/* ---- reading ---- */

typedef struct {
    hid_t group;
    const char *path;
    GError **err;
} Reader;

static bool get_whole(const Reader *r, const char *name, double most, size_t *value) {
    double number = 0;
    if (!lob_h5_read_number(r->group, name, r->path, &number, NULL, r->err))
        return false;
    if (!(number >= 0 && number <= most && number <= floor(number)))
        return lob_fail(r->err, LOB_ERROR_INPUT, "%s: benefit/%s is out of range: %g", r->path, name, number);
    *value = (size_t)number;
    return true;
}

static bool get_switch(const Reader *r, const char *name, bool *value) {
    size_t number = 0;
    if (!get_whole(r, name, 1, &number))
        return false;
    *value = number > 0;
    return true;
}

static bool get_real(const Reader *r, const char *name, double *value) {
    return lob_h5_read_number(r->group, name, r->path, value, NULL, r->err);
}

static bool get_text(const Reader *r, const char *name, char **text) {
    return lob_h5_read_text(r->group, name, r->path, text, NULL, r->err);
}

/* Exactly rows x width values, of the file's own class. */
static void *get_rows(const Reader *r, const char *name, H5T_class_t class, hid_t type, int rank, size_t rows,
                      size_t width) {
    hsize_t dims[2] = {0, 1};
    g_auto(LobHid) dataset = lob_h5_open_dataset(r->group, name, r->path, rank, dims, r->err);
    if (dataset < 0)
        return NULL;
    g_auto(LobHid) stored = H5Dget_type(dataset);
    if (stored < 0 || H5Tget_class(stored) != class || dims[0] != rows || (rank > 1 && dims[1] != width) ||
        (width > 0 && rows > MOST_VALUES / width)) {
        lob_fail(r->err, LOB_ERROR_INPUT, "%s: benefit/%s has not the type and shape that its sizes ask for",
                 r->path, name);
        return NULL;
    }
    void *data = g_try_malloc0(MAX(rows * width * H5Tget_size(type), 1));
    if (!data)
        lob_fail(r->err, LOB_ERROR_INPUT, "%s: benefit/%s is too large", r->path, name);
    else if (!lob_h5_read_rows(dataset, type, 0, width ? rows : 0, data, name, r->err))
        g_clear_pointer(&data, g_free);
    return data;
}

static bool get_numbers(const Reader *r, LobBenefitModel *m) {
    Size sizes[SIZES];
    g_autofree char *seed = NULL;
    list_sizes(m, sizes);
    for (size_t i = 0; i < SIZES; i++)
        if (!get_whole(r, sizes[i].name, MOST_SIDE, sizes[i].value))
            return false;
    return get_text(r, "endpoint", &m->endpoint) && get_text(r, "seed", &seed) &&
           (g_ascii_string_to_unsigned(seed, 10, 0, UINT64_MAX, &m->seed, NULL) ||
            lob_fail(r->err, LOB_ERROR_INPUT, "%s: benefit/seed is no number", r->path)) &&
           get_switch(r, "of_tiles", &m->basis.of_tiles) && get_switch(r, "earned", &m->earned) &&
           get_switch(r, "product", &m->use_product) && get_real(r, "tau", &m->tau) &&
           get_real(r, "margin_days", &m->margin_days) && get_real(r, "penalty_days", &m->penalty_days) &&
           get_real(r, "factor", &m->basis.factor) && get_real(r, "specific_variance", &m->basis.specific) &&
           get_switch(r, "estimable_1", &m->estimable[0]) && get_switch(r, "estimable_2", &m->estimable[1]) &&
           get_real(r, "sd_1", &m->sd[0]) && get_real(r, "sd_2", &m->sd[1]) &&
           get_text(r, "reason_1", &m->reason[0]) && get_text(r, "reason_2", &m->reason[1]);
}

static bool get_arms(const Reader *r, LobBenefitModel *m) {
    hsize_t dims[2];
    g_auto(LobHid) dataset = lob_h5_open_dataset(r->group, "arm", r->path, 1, dims, r->err);
    g_autofree uint8_t *codes =
        dataset < 0 ? NULL : get_rows(r, "arm_code", H5T_INTEGER, H5T_NATIVE_UINT8, 2, m->n_arms, 2);
    if (!codes)
        return false;
    if (dims[0] != m->n_arms)
        return lob_fail(r->err, LOB_ERROR_INPUT, "%s: benefit/arm has not as many names as arms", r->path);
    g_auto(GStrv) names = lob_h5_read_strings(dataset, dims[0], "arm", r->err);
    if (!names)
        return false;
    m->arms = g_new0(LobArmLevel, m->n_arms + 1);
    for (size_t a = 0; a < m->n_arms; a++)
        m->arms[a] = (LobArmLevel){.name = g_strdup(names[a]), .code = {codes[2 * a], codes[2 * a + 1]}};
    return true;
}

static bool get_pieces(const Reader *r, LobBenefitModel *m) {
    Piece pieces[PIECES];
    const bool adverse = lob_h5_has(r->group, "adverse");
    list_pieces(m, pieces);
    for (size_t i = 0; i < PIECES; i++)
        if (is_there(m, &pieces[i], adverse) &&
            !(*pieces[i].values = get_rows(r, pieces[i].name, H5T_FLOAT, H5T_NATIVE_DOUBLE, 2, pieces[i].rows,
                                           pieces[i].width)))
            return false;
    size_t d = m->basis.of_tiles ? m->basis.dim : 0;
    return (m->basis.mean = get_rows(r, "tile_mean", H5T_FLOAT, H5T_NATIVE_FLOAT, 1, d, 1)) &&
           (m->basis.inverse = get_rows(r, "tile_inverse_sd", H5T_FLOAT, H5T_NATIVE_FLOAT, 1, d, 1));
}

bool lob_model_read_benefit(hid_t root, const char *path, LobBenefitModel **benefit, GError **err) {
    g_autoptr(GError) cause = NULL;
    if (!lob_h5_has(root, "benefit"))
        return true;
    g_auto(LobHid) group = H5Gopen2(root, "benefit", H5P_DEFAULT);
    if (group < 0)
        return lob_fail(err, LOB_ERROR_INPUT, "%s: group benefit cannot be read", path);
    const Reader r = {group, path, err};
    *benefit = g_new0(LobBenefitModel, 1);
    if (!get_numbers(&r, *benefit) || !get_arms(&r, *benefit) || !get_pieces(&r, *benefit))
        return false;
    return lob_benefit_model_check(*benefit, &cause) ||
           lob_fail(err, LOB_ERROR_INPUT, "%s: %s", path, cause->message);
}
