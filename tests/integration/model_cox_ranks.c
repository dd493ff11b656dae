/* Cox's loss over ranks that each hold some of the patients, in mini-batches: every rank prints nothing but
 * rank 0, which prints losses and gradients; and all ranks must hold the same bits. Started by
 * model_cox_ranks.sh. */
#include "model/cox_loss.h"
#include "model/group.h"

#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENTS = 60, BATCH = 20 };

static void gather(const LobGroup *group, const double *mine, const size_t *n, double *all) {
    g_autofree int *counts = g_new(int, group->size), *offsets = g_new0(int, group->size);
    for (int r = 0; r < group->size; r++) {
        counts[r] = (int)n[r];
        offsets[r] = r ? offsets[r - 1] + counts[r - 1] : 0;
    }
    MPI_Allgatherv(mine, counts[group->rank], MPI_DOUBLE, all, counts, offsets, MPI_DOUBLE, MPI_COMM_WORLD);
}

/* True on every rank where all hold what rank 0 holds. */
static bool all_equal(const double *values, int n) {
    g_autofree double *first = g_memdup2(values, (size_t)n * sizeof *values);
    MPI_Bcast(first, n, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    int same = memcmp(first, values, (size_t)n * sizeof *values) == 0;
    MPI_Allreduce(MPI_IN_PLACE, &same, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    return same;
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    LobGroup group = {.allgather = gather};
    MPI_Comm_rank(MPI_COMM_WORLD, &group.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &group.size);
    double time[PATIENTS];
    int8_t event[PATIENTS];
    uint32_t center[PATIENTS], owner[PATIENTS], order[PATIENTS];
    for (uint32_t p = 0; p < PATIENTS; p++) {
        order[p] = (p * 23) % PATIENTS;
        time[p] = 1 + (11 * p) % 9;
        event[p] = p % 5 != 2;
        center[p] = p % 4;
        owner[p] = (p * p + p / 7) % (uint32_t)group.size;
    }
    bool same = true;
    for (int begin = 0; begin < PATIENTS; begin += BATCH) {
        double score[BATCH], gradient[BATCH];
        size_t events;
        for (int i = 0; i < BATCH; i++) {
            uint32_t p = order[begin + i];
            score[i] = owner[p] == (uint32_t)group.rank ? 2 * sin(0.7 * p) : NAN;
        }
        lob_group_gather(&group, owner, order + begin, BATCH, 1, score);
        double loss =
            lob_cox_loss(score, time + begin, event + begin, center + begin, BATCH, gradient, &events);
        same = all_equal(gradient, BATCH) && all_equal(&loss, 1) && same;
        if (group.rank != 0)
            continue;
        printf("loss %.17g events %zu\n", loss, events);
        for (int i = 0; i < BATCH; i++)
            printf("%u %.17g\n", order[begin + i], gradient[i]);
    }
    if (group.rank == 0 && !same)
        fprintf(stderr, "ranks differ\n");
    MPI_Finalize();
    return group.rank == 0 && !same;
}
