/* Ranks that train one model together, each holding a share of the patients: what they must tell each other,
 * as a table of functions, so that src/model knows no MPI. mpi/validate_group.h gives the table over MPI.
 *
 * Every function is collective over the group: all ranks call it in the same order with the same n. All get
 * the same bits, so that what they compute from them stays the same on all. A failure ends the job. */
#ifndef LOB_GROUP_H
#define LOB_GROUP_H

#include <stddef.h>
#include <stdint.h>

typedef struct LobGroup {
    int rank, size;
    void *user;
    /* Every rank's values end to end in rank order: n[size] says how many each brings, `all` has room for
     * their sum, `mine` are n[rank] of them. */
    void (*allgather)(const struct LobGroup *group, const double *mine, const size_t *n, double *all);
    /* In place: values[n] become the sum over the ranks. */
    void (*allreduce)(const struct LobGroup *group, float *values, size_t n);
    void (*allreduce_double)(const struct LobGroup *group, double *values, size_t n);
} LobGroup;

/* Values of patients, each known to its owner alone: values [n][width] go with patients [n], the same list on
 * all ranks; those of others are filled in. Nothing where group or owner is NULL. */
void lob_group_gather(const LobGroup *group, const uint32_t *owner, const uint32_t *patients, size_t n,
                      size_t width, double *values);

#endif
