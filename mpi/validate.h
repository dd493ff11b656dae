/* Inside the validation job: its plan of models, its lock, resident bags, results, tables. */
#ifndef LOB_VALIDATE_H
#define LOB_VALIDATE_H

#include "hdf5io/hdf5io.h"
#include "model/model.h"
#include "mpi/sparse.h"
#include "mpi/validate_group.h"

#define LOB_TOP_TILES 8 /* kept a patient and a model at either end, the most extreme first */

/* ---- what is trained: endpoint x model x repeat x fold x seed, in this order ---- */
typedef struct {
    size_t endpoint, model;
    int repeat, fold, seed;
} LobTask;

typedef struct {
    const LobCohort *cohort; /* borrowed */
    LobFolds *folds;
    char **sources; /* NULL-terminated stores or one folder; empty: covariates only */
    const char
        *models[2]; /* the study's kind; then the comparator from covariates alone, where there are any */
    size_t n_models;
    LobModelOptions *options; /* [endpoint][model], seed of the first */
    LobTask *tasks;
    size_t n_tasks;
    bool
        may_share; /* ranks may share patients out, and features stream: only where all that is done allows */
    bool one_group; /* all ranks share the patients out, whatever site.groups says: nothing is trained */
    char lock[65];  /* hash of what was locked: results of another lock are not used */
} LobPlan;

bool lob_plan_init(LobPlan *plan, const LobCohort *cohort, GError **err);
void lob_plan_clear(LobPlan *plan);
bool lob_plan_needs_bags(const LobPlan *plan);
/* Rank 0. Writes output/lock.json, or compares with the one there: an INPUT error names what differs, unless
 * openings.jsonl shows that nothing was opened under it yet (it is then written anew). Fills
 * plan->lock. Nothing of a held-out center has been read before but ids and the tables. */
bool lob_plan_lock(LobPlan *plan, GError **err);

/* ---- bags: once a node, or shared out where plan->may_share ---- */
typedef struct {
    LobShared *features, *index; /* features: or sparse */
    LobSparse *sparse;
    LobSeat seat;
    int n_groups;
    bool spread;        /* nodes hold different patients */
    LobMpiGroup *group; /* NULL without MPI */
    uint32_t *owner;
    size_t n_patients;
    uint64_t n_rows;
    LobBags bags;
    LobBagSet set;    /* on the node's first rank: which slide rows came from */
    uint64_t *origin; /* rank 0: row before repeated and unreadable ones were dropped */
} LobResident;

/* Collective. */
bool lob_resident_load(LobResident *resident, const LobWorld *world, const LobPlan *plan, GError **err);
/* Tells what this process has read and held so far, beside what the features take. */
void lob_resident_log(const LobResident *resident);
void lob_resident_clear(LobResident *resident); /* collective */

/* ---- one trained model's results ---- */
typedef struct {
    uint32_t patient;
    float attention; /* share of the patient's attention */
    uint64_t row;
    uint64_t least; /* 1: among the least attended, 0: among the most */
} LobTopTile;

/* The attention over all tiles of a patient chosen to be drawn. */
enum { LOB_MAP_HIGH = 1, LOB_MAP_LOW = 2, LOB_MAP_ASKED = 4 };
typedef struct {
    uint32_t patient, why; /* LOB_MAP_... of highest or lowest risk in its center, or named in the study */
    uint64_t n;            /* tiles of its bag */
} LobAttentionMap;

typedef struct {
    uint64_t n_maps, n_map_values;
    LobAttentionMap *maps; /* [n_maps] */
    float *map_values;     /* [n_map_values] their attention, one map behind the other */
    uint64_t n, n_horizons, n_ends, n_classes, n_tiles; /* n: scored patients */
    int64_t best_epoch, epochs_run;
    double inner_loss, train_loss, cut, seconds;
    char digest[72];    /* SHA-256 of the weights, hexadecimal */
    char reason[256];   /* why nothing could be trained and all else is empty; or "" */
    uint32_t *patient;  /* [n] */
    float *lp;          /* [n] */
    float *survival;    /* [n][n_horizons] */
    double *ends;       /* [n_ends] days; survival alone, as the next */
    float *curve;       /* [n][n_ends] */
    float *probability; /* [n][n_classes] */
    LobTopTile *tiles;  /* [n_tiles] */
    uint64_t n_learning;
    LobLearning *learning; /* [n_learning] */
} LobTaskResult;

/* Tasks [first, first + n) are seeds of one endpoint, model, repeat and fold; they are trained in one sweep.
 */
bool lob_tasks_run(const LobPlan *plan, size_t first, size_t n, const LobBags *bags,
                   LobCheckpoint *checkpoint, LobTaskResult *results, GError **err);
/* What an earlier run left of them unfinished at `path`. Collective over the bags' group, and may be NULL for
 * lob_tasks_run. */
LobCheckpoint *lob_bundle_checkpoint(const LobPlan *plan, const char *path, size_t first, size_t n,
                                     const LobBags *bags);
/* How many of the seeds of a fold or final model are trained together: all, unless half of the trainers would
 * go without work. What a model is depends on its company in the last bits, so this changes rarely. */
size_t lob_bundle_width(size_t n_tasks, size_t seeds, int trainers);
/* The group that trains with this rank; without bags each rank is one. */
typedef struct {
    LobSeat seat;
    int n_groups;
    const LobGroup *table; /* NULL: alone */
} LobTrainer;
LobTrainer lob_trainer(const LobWorld *world, const LobResident *resident, bool loaded);
/* Collective over the trainer's group: whether all its ranks may go on. */
bool lob_trainer_goes_on(const LobTrainer *trainer, bool ok);
/* The scores and most attended tiles of those of the patients that the fit scored, into an empty result. */
void lob_task_keep_scores(const LobModelResult *fit, const uint32_t *patients, size_t n_patients,
                          const LobBags *bags, LobTaskResult *result);
/* Who of a task's scored patients is drawn, by the study's choice: [*n], freed by the caller; none but in the
 * first seed and repeat of the study's own model. */
LobAttentionMap *lob_maps_choose(const LobPlan *plan, size_t task, const LobTaskResult *result,
                                 const LobBags *bags, uint64_t *n);
/* The maps of the first seed and repeat of the study's own model: of the scored patients, by the study's
 * choice. */
void lob_task_keep_maps(const LobPlan *plan, size_t task, const LobModelResult *fit, const LobBags *bags,
                        LobTaskResult *result);
/* Every tile's attention, in a file beside the results: of the study's own model for its first endpoint, in
 * the first repeat, where lob_plan_keeps_attention. Written by the first rank of the bags' group. */
bool lob_task_keep_attention(const LobPlan *plan, size_t task, const LobModelResult *fit, const LobBags *bags,
                             const LobTaskResult *result, GError **err);
/* Whether that file is there as far as its head, index and size tell, or is not asked for. */
bool lob_task_attention_stands(const LobPlan *plan, size_t task, const LobTaskResult *result);
bool lob_plan_keeps_attention(const LobPlan *plan);
char *lob_attention_path(const LobPlan *plan); /* output/attention/attention.h5 */
void lob_task_result_clear(LobTaskResult *result);
/* Bytes with the lock and a CRC, as kept in output/train/. */
GByteArray *lob_task_pack(const LobPlan *plan, size_t task, const LobTaskResult *result);
/* False where the bytes are damaged or of another lock. */
bool lob_task_unpack(const LobPlan *plan, size_t task, const void *data, size_t size, LobTaskResult *result);
char *lob_task_path(const LobPlan *plan, size_t task);
char *lob_task_attention_path(const LobPlan *plan, size_t task);
char *lob_task_part_path(const LobPlan *plan, size_t task); /* of the bundle that begins with the task */

/* ---- tables, on rank 0 ---- */
/* A patient's scores in one repeat, over the seeds. */
typedef struct {
    uint32_t patient;
    int repeat, fold;
    double lp;        /* mean over seeds */
    double *seed_lp;  /* [seeds] */
    double *survival; /* [n_horizons] mean over seeds */
    /* S at the patient's own time, or at the last day that training covers where that is earlier, and whether
     * the event was seen by then: mean over seeds; NAN and -1 without a known outcome. */
    double own;
    int8_t own_event;
    double *probability; /* [n_classes] mean over seeds; NAN for a label that training never saw */
    bool high;           /* above the mean training cut of its fold */
} LobScore;

typedef struct {
    size_t endpoint, model, n;
    size_t n_horizons, n_classes;
    int seeds;
    LobScore *scores;    /* [n] by repeat, then patient */
    const char **reason; /* [repeats x folds] why a fold has no score, borrowed; NULL where it has */
} LobScores;

void lob_scores_collect(LobScores *scores, const LobPlan *plan, const LobTaskResult *results, size_t endpoint,
                        size_t model);
void lob_scores_clear(LobScores *scores);
/* False where the patient's label is one that training never saw: such a patient shows nothing of the model.
 */
bool lob_score_is_scorable(const LobScores *scores, const LobScore *score, const LobCohort *cohort);

bool lob_tables_write(const LobPlan *plan, const LobTaskResult *results, const LobResident *resident,
                      GError **err);
/* predictions.csv; metrics.csv and meta.csv. models [endpoint][model] */
bool lob_predictions_write(const LobPlan *plan, const LobScores *models, GError **err);
bool lob_metrics_write(const LobPlan *plan, const LobScores *models, GError **err);
/* output/attention/top_tiles.csv and bottom_tiles.csv; nothing where no bags are loaded. */
bool lob_top_tiles_write(const LobPlan *plan, const LobTaskResult *results, const LobResident *resident,
                         GError **err);
/* output/attention/attention.h5 from the models' own files, a patient at a time; what an earlier run left
 * there goes where none is kept. */
bool lob_attention_gather(const LobPlan *plan, const LobTaskResult *results, const LobResident *resident,
                          GError **err);
/* output/attention/maps.csv and a table of tiles for each slide in it; what an earlier run left there goes.
 */
bool lob_maps_write(const LobPlan *plan, const LobTaskResult *results, const LobResident *resident,
                    GError **err);
/* output/center_probe.csv. Reads no outcome. */
bool lob_probe_write(const LobPlan *plan, const LobResident *resident, GError **err);
/* Records in output/openings.jsonl that held-out outcomes were looked at under this lock. */
bool lob_opening_record(const LobPlan *plan, GError **err);
/* Appends the metrics of all models to metrics and meta. */
void lob_metrics_rows(const LobPlan *plan, const LobScores *models, LobCsv *metrics, LobCsv *meta);

#endif
