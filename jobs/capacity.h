/* What a campaign takes on given nodes: node-hours, walltime, ranks a node, memory, disk. check asks for the
 * study at hand, simulate --capacity for a cohort on paper. No MPI. */
#ifndef LOB_JOBS_CAPACITY_H
#define LOB_JOBS_CAPACITY_H

#include "mpi/simulate.h"

typedef struct {
    int nodes, cores;        /* cores a node */
    double node_gib;         /* memory of a node */
    double walltime_seconds; /* most that a job may ask for; 0: 24 h */
    double plan_seconds;     /* of one core for a slide's tissue mask and grid */
} LobMachine;

/* What encoding costs. */
typedef struct {
    double seconds;     /* of a core for a tile, its neighbours busy */
    double spread;      /* coefficient of variation of a range's time */
    double weights_gib; /* once a node */
    double rank_gib;    /* of each rank beside them */
    int dim;            /* values a tile */
} LobTileCost;

/* Beside the encoder's own memory: the process, its slide reader, their caches. An assumption. */
#define LOB_RANK_GIB 0.25
/* Of the encoder's own memory, where nothing tells it. An assumption. */
#define LOB_WORKING_GIB 0.1
/* A core's speed while all are busy over its speed alone. An assumption. */
#define LOB_ALL_CORES 0.8
/* Training's speed on a core in GFLOP/s, where no bench tells it. An assumption. */
#define LOB_TRAIN_GFLOPS 10.0
/* Seconds of a core for planning a slide, and hours between failures of a node (five years). Assumptions. */
#define LOB_PLAN_SECONDS 10.0
#define LOB_NODE_MTBF_HOURS 43800.0

/* What a tile takes longer on a node whose cores are all busy than it took while measured_ranks (0: none; it
 * is assumed) worked side by side: 1 where these were as many. */
double lob_capacity_slowdown(int measured_ranks, int cores, double all_cores);

typedef struct {
    int ranks;       /* that measured side by side */
    double slowdown; /* for busy neighbours, that seconds were multiplied by */
} LobMeasured;

/* What a file of lobule bench's lines says of an encoder: seconds of a tile, and where it is told spread and
 * memory, replace what cost has. INPUT error: the file cannot be read, or it lacks the encoder and found is
 * NULL; else *found says whether it has it. */
bool lob_capacity_measured(const char *bench, const char *encoder, const char *precision, int cores,
                           double all_cores, LobTileCost *cost, LobMeasured *how, bool *found, GError **err);
/* GFLOP/s of a core in training: *measured in the file, else (or where bench is NULL) LOB_TRAIN_GFLOPS. */
bool lob_capacity_train_speed(const char *bench, double *gflops, bool *measured, GError **err);

typedef struct {
    int ranks_node, ranks;
    double node_gib;         /* that they take on a node */
    double efficiency;       /* of embedding, simulated */
    double plan_hours;       /* wall clock of the plan stage */
    double up_hours;         /* wall clock of plan and embed, waiting between slices left out */
    double node_hours;       /* up_hours on all nodes */
    double days;             /* with what lies between slices */
    double walltime_hours;   /* to ask for, each time */
    double lost_to_failures; /* share of all rank-hours */
    uint32_t slices, failures;
    double coarser;   /* ranges were simulated so much larger than they are: efficiency is a lower bound */
    double store_gib; /* features, coordinates, tissue and quality */
} LobNeed;

/* Simulates the job with `base` (messages, file system, failures, seed; its sizes, ranks and costs are
 * replaced). INPUT error: a node does not hold the weights and one rank, or a number makes no sense. */
bool lob_capacity_embed(const LobMachine *machine, const LobTileCost *cost, const LobSimulation *base,
                        const uint32_t *tiles, const uint32_t *centers, uint32_t n_slides, LobNeed *need,
                        GError **err);

/* Bytes of a tile in the store. */
double lob_capacity_row_bytes(int dim);

/* ---- validation ---- */
typedef struct {
    const uint64_t *rows; /* [n_patients] tiles of each */
    size_t n_patients;
    int dim, folds, seeds, endpoints;
    int comparators; /* models trained beside each, whose cost is not counted: 0 or 1 */
    int epochs, hidden, attention, batch, max_tiles, rounds; /* of the model, as LobModelOptions */
    int groups;                                              /* as site.groups; 0: as memory asks */
    double memory_gib; /* for features on a node, as site.memory_gib; 0: four fifths of it */
    bool streams;      /* features come from the nodes' disks, as with site.stream */
    double gflops;     /* of a core in training */
} LobTraining;

typedef struct {
    double features_gib, memory_gib; /* of the cohort; that a node has for them */
    int ranks, groups, group_ranks;  /* the program's own seating; ranks of the largest group */
    int tasks, bundles, width;       /* models, and how they are trained together */
    int busy_groups, turns;          /* groups with a bundle; bundles one after the other in the busiest */
    double speedup;    /* of a group over one rank: the patients of a mini-batch are not spread evenly */
    double useful;     /* cores that have work, in all */
    double core_hours; /* of arithmetic */
    double hours;      /* wall clock */
    double node_hours; /* of all nodes for so long */
} LobTrainingNeed;

/* Asks the functions that a run asks. INPUT error: the nodes do not hold the cohort (it says how many would).
 */
bool lob_capacity_train(const LobMachine *machine, const LobTraining *training, uint64_t seed,
                        LobTrainingNeed *need, GError **err);

#endif
