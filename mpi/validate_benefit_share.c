/* The draws of a permutation are shared out over the ranks: rank 0 sends the folds' fits, every rank refits
 * the effect in its draws, rank 0 collects them. A draw depends on its number alone, so the number of ranks
 * changes nothing. */
#include "mpi/validate_benefit.h"

#include <string.h>

typedef struct {
    int32_t part, marker;
    uint64_t endpoint, n_folds;
} Head;

typedef struct {
    int32_t fold, unused;
    double marker_mean, marker_sd;
} FoldHead;

typedef struct {
    int64_t draw;
    double z;
} Answer;

static void put(GByteArray *bytes, const void *data, size_t size) {
    g_byte_array_append(bytes, data, (guint)size);
}

static GByteArray *pack(const LobBenefitStudy *s, const LobBenefitContrast *c) {
    const size_t n = s->plan->cohort->n_patients;
    const Head head = {c->part, c->marker, s->endpoint, s->n_folds};
    GByteArray *bytes = g_byte_array_new();
    put(bytes, &head, sizeof head);
    put(bytes, s->lp, n * sizeof(double));
    if (c->marker)
        put(bytes, s->marker, n * sizeof(double));
    for (size_t f = 0; f < s->n_folds; f++) {
        const LobBenefitFold *fold = &s->folds[f];
        const FoldHead of = {fold->view->fold, 0, fold->marker_mean, fold->marker_sd};
        put(bytes, &of, sizeof of);
        lob_benefit_pack(&fold->fit, bytes);
    }
    return bytes;
}

static bool unpack(LobBenefitStudy *s, LobBenefitContrast *c, const char *at, GError **err) {
    const LobCohort *cohort = s->plan->cohort;
    const size_t n = cohort->n_patients;
    Head head;
    memcpy(&head, at, sizeof head);
    at += sizeof head;
    *c = (LobBenefitContrast){.part = head.part, .marker = head.marker != 0};
    s->endpoint = head.endpoint;
    s->lp = g_memdup2(at, n * sizeof(double));
    at += n * sizeof(double);
    if (c->marker) {
        s->marker = g_memdup2(at, n * sizeof(double));
        at += n * sizeof(double);
    }
    s->folds = g_new0(LobBenefitFold, head.n_folds + 1);
    while (s->n_folds < head.n_folds) {
        FoldHead of;
        LobBenefitFold *fold = &s->folds[s->n_folds];
        memcpy(&of, at, sizeof of);
        at += sizeof of;
        fold->marker_mean = of.marker_mean;
        fold->marker_sd = of.marker_sd;
        fold->view = lob_view_new(cohort, s->plan->folds, s->endpoint, 0, of.fold,
                                  cohort->study->validation.seed, err);
        if (!fold->view)
            return false;
        s->n_folds++;
        lob_benefit_unpack(&fold->fit, fold->view, &at);
    }
    return true;
}

/* This rank's draws to rank 0. */
static bool hand_in(const LobWorld *world, LobBenefitContrast *c, GError *problem, GError **err) {
    g_autoptr(GByteArray) outbox = g_byte_array_new();
    g_autofree void *all = NULL;
    size_t total = 0;
    for (int draw = world->rank; !problem && draw < LOB_BENEFIT_PERMUTATIONS; draw += world->size) {
        const Answer answer = {draw, c->draw[draw]};
        put(outbox, &answer, sizeof answer);
    }
    if (!lob_world_collect(world, outbox, problem, &all, &total, err))
        return false;
    for (size_t i = 0; i < total / sizeof(Answer); i++) {
        Answer answer;
        memcpy(&answer, (const char *)all + i * sizeof answer, sizeof answer);
        c->draw[answer.draw] = answer.z;
    }
    return true;
}

bool lob_benefit_draws_shared(const LobBenefitStudy *s, LobBenefitContrast *c, GError **err) {
    const LobWorld *world = s->world;
    GError *problem = NULL;
    if (!world || world->size == 1)
        return lob_benefit_draws(s, c, 0, 1, err);
    g_autoptr(GByteArray) bytes = pack(s, c);
    uint64_t size = bytes->len;
    lob_world_bcast(world, &size, sizeof size);
    lob_world_bcast(world, bytes->data, size);
    (void)lob_benefit_draws(s, c, 0, world->size, &problem);
    return hand_in(world, c, problem, err);
}

void lob_benefit_help(const LobWorld *world, const LobPlan *plan) {
    for (uint64_t size = 0;;) {
        g_autoptr(GError) ended = NULL; /* rank 0 has it, too */
        GError *problem = NULL;
        LobBenefitContrast c;
        LobBenefitStudy s = {.plan = plan};
        lob_world_bcast(world, &size, sizeof size);
        if (size == 0)
            return;
        g_autofree char *bytes = g_malloc(size);
        lob_world_bcast(world, bytes, size);
        if (unpack(&s, &c, bytes, &problem))
            (void)lob_benefit_draws(&s, &c, world->rank, world->size, &problem);
        (void)hand_in(world, &c, problem, &ended);
        lob_benefit_folds_clear(&s);
        g_free(s.lp);
        g_free(s.marker);
    }
}

void lob_benefit_dismiss(const LobWorld *world) {
    uint64_t none = 0;
    lob_world_bcast(world, &none, sizeof none);
}
