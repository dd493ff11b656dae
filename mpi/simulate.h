/* Simulation of the embed stage: virtual workers, the real scheduler (sched.h). Local; no MPI, no clock but
 * to measure what the scheduler itself costs. The same options and seed give the same result, but for that.
 */
#ifndef LOB_SIMULATE_H
#define LOB_SIMULATE_H

#include "mpi/sched.h"

typedef struct {
    int ranks;
    int rank0_works_up_to;   /* in larger worlds rank 0 only deals */
    const uint32_t *tiles;   /* [n_slides] */
    const uint32_t *centers; /* [n_slides], or NULL: one center */
    uint32_t n_slides;
    uint64_t seed;

    double seconds_per_tile; /* compute on one undisturbed rank */
    double spread;           /* coefficient of variation of a range's time (lognormal, mean 1) */
    double open_seconds;     /* a worker turns to another slide */
    double write_seconds;    /* rows of a range written and durable */
    double straggler_share;  /* of the nodes */
    double straggler_factor; /* their time for a tile over the others' */
    int node_ranks;

    double latency;         /* seconds a message travels */
    double message_seconds; /* coordinator's cost of receiving or sending one */
    double record_seconds;  /* and of writing out a journal record: one for a lease, one for a range */
    double sync_seconds;    /* making the journal durable, once a round of dealing */
    double serve_seconds;  /* while rank 0 computes it looks at messages this often: a layer of its encoder */
    double bandwidth;      /* of the file system, bytes a second, shared by all; 0: no limit, and none of the
                              next three is seen */
    double bytes_per_tile; /* read */
    double row_bytes;      /* written for a tile; read again where a run did not end cleanly */
    double weight_bytes;   /* that each node reads at a start of the job */

    double mtbf_seconds;      /* of the whole job whatever its size, exponential; 0: never */
    double node_mtbf_seconds; /* of each node of node_ranks ranks; 0: never; both rates add up */
    double walltime_seconds;  /* a slice; 0: no limit */
    double restart_seconds;   /* from an end to the first range of the next slice */
    LobSchedOptions sched;    /* workers is set here */
} LobSimulation;
extern const LobSimulation lob_simulation_defaults;

typedef struct {
    int workers;             /* ranks that compute */
    double makespan;         /* seconds, restarts included */
    double ideal;            /* all tiles on all ranks at full speed, nothing else */
    double efficiency;       /* ideal / makespan */
    double tail;             /* from the first rank without work to the end */
    double work;             /* rank-seconds that counted */
    double lost;             /* rank-seconds of ranges that did not: in flight at an end, late, done twice */
    double lost_to_failures; /* rank-seconds: in flight at a failure, restarting after it, reading again */
    double down;             /* seconds between slices */
    double loading;          /* seconds of reading weights at starts */
    double verifying;        /* seconds of reading rows again after failures */
    double sched_seconds;    /* CPU time inside the scheduler, measured here */
    double message_seconds;  /* as assumed, summed */
    double record_seconds;   /* likewise */
    double coordinator_busy; /* share of the slices' time: scheduler, messages and records */
    double answer_seconds;   /* mean from a result's arrival to the task dealt for it */
    double journal_busy;     /* share of the slices' time waiting for the journal's sync */
    double requests_per_second;
    uint64_t tiles, ranges, messages, records, syncs, late, twice;
    uint32_t failures, slices;
} LobSimulated;

/* INPUT errors: options without sense; a job that never comes to its end. */
bool lob_simulate(const LobSimulation *simulation, LobSimulated *result, GError **err);
/* Slides dealt beforehand, slide i to worker i mod workers, and never moved; without failures or messages. */
bool lob_simulate_static(const LobSimulation *simulation, LobSimulated *result, GError **err);

/* Slides' sizes, lognormal: median and sigma of the logarithm; at least one tile each. Caller frees. */
uint32_t *lob_simulate_tiles(uint32_t n_slides, double median, double sigma, uint64_t seed);
/* The lognormal whose logarithm has the mean and standard deviation of theirs; each at least one tile. */
void lob_simulate_fit(const uint32_t *tiles, uint32_t n_slides, double *median, double *sigma);

/* INPUT error: a number without sense. */
bool lob_simulate_check(const LobSimulation *o, GError **err);

#endif
