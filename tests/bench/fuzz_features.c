/* Mutated feature files (.h5 and .pt with what lies beside them) through their readers, each batch in a
 * process of its own. Build with -DLOB_SANITIZE=ON.
 *
 * usage: fuzz_features FOLDER SECONDS [SEED]     FOLDER: small whole files of every layout
 * Prints how many were read and how many refused; 1 where a process died, with the files that did it kept as
 * FOLDER.crash-N. */
#include "hdf5io/feature_file.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH 100
#define SECONDS_EACH 20

typedef struct {
    uint64_t read, refused, probed; /* probed: a process of its own died of the file */
    uint64_t now;                   /* number of the file a process is at */
} Shared;

static char *mutate(LobRng *rng, const char *data, size_t size, size_t *out_size) {
    size_t n = size;
    char *out = g_malloc(2 * size + 1);
    memcpy(out, data, size);
    const uint32_t how = lob_rng_below(rng, 8), edits = 1 + lob_rng_below(rng, 8);
    if (how == 0)
        n = lob_rng_below(rng, (uint32_t)size + 1);
    if (how == 1) {
        const size_t from = lob_rng_below(rng, (uint32_t)size),
                     length = lob_rng_below(rng, (uint32_t)(size - from) + 1);
        memcpy(out + size, data + from, length);
        n = size + length;
    }
    for (uint32_t e = 0; how > 1 && e < edits; e++) {
        const size_t at = lob_rng_below(rng, (uint32_t)MIN(size, how < 5 ? size : 4096));
        const uint8_t byte = (uint8_t)out[at], other = (uint8_t)lob_rng_below(rng, 256);
        out[at] = (char)(how % 2 ? other : byte ^ (uint8_t)(1u << other % 8));
    }
    *out_size = n;
    return out;
}

static void try_file(const char *path, Shared *shared) {
    g_autoptr(GError) err = NULL;
    const bool lives = lob_feature_files_probe(&path, 1, NULL, &err);
    g_autoptr(LobFeatureFile) file = lives ? lob_feature_file_open(path, &err) : NULL;
    const size_t rows = file ? MIN(file->rows, 10000) : 0, dim = file ? (size_t)file->dim : 0;
    g_autofree float *floats = g_try_new(float, rows *dim + 1);
    g_autofree int32_t(*xy)[2] = file ? g_try_malloc((file->rows + 1) * sizeof *xy) : NULL;
    const bool ok = file && floats && xy && lob_feature_file_read_floats(file, 0, rows, floats, &err) &&
                    lob_feature_file_read_coords(file, 0.25, xy, &err);
    if (!lives)
        shared->probed++;
    else if (ok)
        shared->read++;
    else
        shared->refused++;
}

/* Of a Slideflow bag one of its three files is mutated. */
static void make_and_try(LobRng *rng, GPtrArray *names, const char *folder, const char *work,
                         Shared *shared) {
    const char *name = names->pdata[lob_rng_below(rng, names->len)];
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *from = g_build_filename(folder, names->pdata[i], NULL);
        g_autofree char *to = g_build_filename(work, names->pdata[i], NULL);
        g_autofree char *data = NULL;
        size_t size = 0, n = 0;
        if (!g_file_get_contents(from, &data, &size, NULL))
            exit(2);
        g_autofree char *mutant = strcmp(name, names->pdata[i]) == 0 ? mutate(rng, data, size, &n) : NULL;
        if (!g_file_set_contents(to, mutant ? mutant : data, (gssize)(mutant ? n : size), NULL))
            exit(2);
    }
    for (guint i = 0; i < names->len; i++) {
        const char *each = names->pdata[i];
        g_autofree char *path = g_build_filename(work, each, NULL);
        const bool features = g_str_has_suffix(each, ".pt") || g_str_has_suffix(each, ".h5");
        const bool beside = g_str_has_suffix(name, ".json") || strstr(name, ".index.");
        if (features && (strcmp(each, name) == 0 || (beside && g_str_has_suffix(each, ".pt"))))
            try_file(path, shared);
    }
}

static void run_batch(uint64_t batch, uint64_t seed, GPtrArray *names, const char *folder, const char *work,
                      Shared *shared) {
    for (uint64_t i = 0; i < BATCH; i++) {
        g_autofree char *stream = g_strdup_printf("%" PRIu64, batch * BATCH + i);
        LobRng rng;
        lob_rng_init(&rng, seed, stream);
        shared->now = batch * BATCH + i;
        alarm(SECONDS_EACH);
        make_and_try(&rng, names, folder, work, shared);
    }
    _exit(0);
}

static GPtrArray *list(const char *folder) {
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name = NULL;
    while (dir && (name = g_dir_read_name(dir)))
        g_ptr_array_add(names, g_strdup(name));
    return names;
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    g_autoptr(GPtrArray) names = list(argv[1]);
    g_autofree char *work = g_dir_make_tmp("lob-fuzz-XXXXXX", NULL);
    const uint64_t seed = argc > 3 ? g_ascii_strtoull(argv[3], NULL, 10) : 1;
    const double end = lob_clock() + g_ascii_strtod(argv[2], NULL);
    Shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t crashes = 0;
    if (names->len == 0 || !work || shared == MAP_FAILED)
        return 2;
    for (uint64_t batch = 0; lob_clock() < end; batch++) {
        const pid_t pid = fork();
        int status = 0;
        if (pid == 0)
            run_batch(batch, seed, names, argv[1], work, shared);
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            return 2;
        if (status != 0) {
            g_autofree char *kept = g_strdup_printf("%s.crash-%" PRIu64, argv[1], crashes++);
            g_autofree char *command = g_strdup_printf("cp -r '%s' '%s'", work, kept);
            printf("file %" PRIu64 ": %s %d, kept in %s (%d)\n", shared->now,
                   WIFSIGNALED(status) ? "signal" : "exit",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), kept, system(command));
        }
    }
    printf("%" PRIu64 " read, %" PRIu64 " refused, %" PRIu64 " of them because the probe died; %" PRIu64
           " crashes\n",
           shared->read, shared->refused + shared->probed, shared->probed, crashes);
    return crashes > 0;
}
