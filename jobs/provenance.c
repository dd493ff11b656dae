#include "jobs/provenance.h"
#include "encoder/encoder.h"
#include "mpi/stage.h"

#include <cblas.h>
#include <hdf5.h>
#include <jansson.h>
#include <mpi.h>
#include <openslide.h>
#include <stdio.h>
#include <string.h>

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

bool lob_provenance_write(const LobWorld *world, const LobCohort *cohort, GError **err) {
    const LobStudy *study = cohort->study;
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *time = g_date_time_format_iso8601(now), *cpu = lob_cpu_type(), *hdf5 = hdf5_version();
    g_autofree char *mpi = mpi_version(), *path = lob_study_out(study, "provenance.json");
    g_autofree char *encoder = lob_encoder_name(study->encoder.name, study->encoder.config);
    json_t *root = json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:s, s:s, s:s, s:s}, s:s, s:i, s:s, s:{s:I, s:I, "
                             "s:I}, s:{s:s, s:s}, s:s}",
                             "program", "lobule " LOB_VERSION, "time", time, "compiler", __VERSION__,
                             "libraries", "openslide", openslide_get_version(), "hdf5", hdf5, "mpi", mpi,
                             "openblas", openblas_get_config(), "openblas_core", openblas_get_corename(),
                             "jansson", JANSSON_VERSION, "cpu", cpu, "ranks", world->size, "study_sha256",
                             study->text_sha256, "cohort", "patients", (json_int_t)cohort->n_patients,
                             "slides", (json_int_t)cohort->n_slides, "centers", (json_int_t)cohort->n_centers,
                             "encoder", "name", study->features ? "as in features" : encoder, "precision",
                             study->encoder.precision, "model", study->model.kind);
    if (!root)
        return lob_fail(err, LOB_ERROR_INTERNAL, "provenance.json: text that is not UTF-8");
    g_autofree char *text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    return lob_file_replace(path, text, strlen(text), err);
}
