#include "jobs/provenance.h"
#include "mpi/space.h"
#include "mpi/stage.h"

#include <cblas.h>
#include <hdf5.h>
#include <mpi.h>
#include <openslide.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static char *hdf5_version(void) {
    unsigned major = 0, minor = 0, release = 0;
    if (H5get_libversion(&major, &minor, &release) < 0)
        return g_strdup("unknown");
    return g_strdup_printf("%u.%u.%u", major, minor, release);
}

/* MPI allows asking for its version before MPI_Init. */
static char *mpi_version(void) {
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    if (MPI_Get_library_version(text, &length) != MPI_SUCCESS)
        return g_strdup("unknown");
    return g_strndup(text, strcspn(text, ",\n"));
}

json_t *lob_provenance_program(void) {
    g_autofree char *cpu = lob_cpu_type(), *hdf5 = hdf5_version(), *mpi = mpi_version();
    return json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:s, s:s, s:s, s:s}, s:s}", "program",
                     "lobule " LOB_VERSION, "commit", lob_version_commit(), "compiler", __VERSION__,
                     "libraries", "openslide", openslide_get_version(), "hdf5", hdf5, "mpi", mpi, "openblas",
                     openblas_get_config(), "openblas_core", openblas_get_corename(), "jansson",
                     JANSSON_VERSION, "cpu", cpu);
}

/* ---- the machine ---- */

/* How many ranks are on which host, on rank 0. */
static json_t *rank_map(const LobWorld *world) {
    char mine[256] = {0};
    void *all = NULL;
    size_t *sizes = NULL;
    g_strlcpy(mine, g_get_host_name(), sizeof mine);
    if (!world->has_mpi)
        return json_pack("{s:i}", mine, 1);
    lob_world_gather(world, mine, sizeof mine, &all, &sizes);
    if (world->rank != 0)
        return NULL;
    json_t *map = json_object();
    for (int r = 0; r < world->size; r++) {
        const char *host = (const char *)all + (size_t)r * sizeof mine;
        const json_int_t before = json_integer_value(json_object_get(map, host));
        json_object_set_new(map, host, json_integer(before + 1));
    }
    g_free(all);
    g_free(sizes);
    return map;
}

json_t *lob_provenance_machine(const LobWorld *world, const char *dir) {
    json_t *map = rank_map(world);
    if (world->rank != 0)
        return NULL;
    struct utsname kernel = {0};
    const char *module = g_getenv("OMPI_MCA_io");
    json_t *root = lob_provenance_program();
    json_t *machine = json_object();
    (void)uname(&kernel);
    json_object_set_new(machine, "openblas_core", json_string(openblas_get_corename()));
    json_object_set_new(machine, "host", json_string(g_get_host_name()));
    json_object_set_new(machine, "kernel", json_sprintf("%s %s", kernel.sysname, kernel.release));
    json_object_set_new(machine, "cores", json_integer((json_int_t)sysconf(_SC_NPROCESSORS_ONLN)));
    json_object_set_new(machine, "rank_map", map);
    json_object_set_new(machine, "io_module", json_string(module ? module : "as MPI chooses"));
    json_object_set_new(machine, "file_system", json_string(lob_space_kind(dir)));
    json_object_update(root, machine);
    json_decref(machine);
    return root;
}

/* ---- an output folder's ---- */

bool lob_provenance_write(const LobWorld *world, const LobCohort *cohort, GError **err) {
    const LobStudy *study = cohort->study;
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *time = g_date_time_format_iso8601(now);
    g_autofree char *path = lob_study_out(study, "provenance.json");
    json_t *root = lob_provenance_program();
    json_t *job =
        json_pack("{s:s, s:i, s:s, s:{s:I, s:I, s:I}, s:{s:s, s:s}, s:s}", "time", time, "ranks", world->size,
                  "study_sha256", study->text_sha256, "cohort", "patients", (json_int_t)cohort->n_patients,
                  "slides", (json_int_t)cohort->n_slides, "centers", (json_int_t)cohort->n_centers, "encoder",
                  "name", study->features ? "as in features" : study->encoder.stored, "precision",
                  study->encoder.precision, "model", study->model.kind);
    if (!root || !job) {
        json_decref(root);
        json_decref(job);
        return lob_fail(err, LOB_ERROR_INTERNAL, "provenance.json: text that is not UTF-8");
    }
    json_object_update(root, job);
    json_decref(job);
    g_autofree char *text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    return lob_file_replace(path, text, strlen(text), err);
}
