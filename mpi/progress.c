#include "mpi/progress.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BAR_SECONDS 0.5
#define LINE_SECONDS 30.0
#define STATUS_SECONDS 3.0
/* The rate is a mean over about this long, so that the time left does not jump. */
#define RATE_SECONDS 60.0

static bool got_on;

struct LobProgress {
    const LobCohort *cohort;
    const char *stage;
    char *path; /* of status.json */
    int ranks;
    bool terminal, begun, bar_open, quiet;
    double started, said, wrote;
    double rate, rate_at; /* tiles (or slides, where tiles are unknown) a second, and when it was taken */
    double counted;
    LobProgressCounts total;
    LobProgressCounts *centers;
};

LobProgress *lob_progress_new(const LobCohort *cohort, const char *stage, int ranks) {
    LobProgress *p = g_new0(LobProgress, 1);
    p->cohort = cohort;
    p->stage = stage;
    p->ranks = ranks;
    p->path = lob_study_out(cohort->study, "status.json");
    p->terminal = isatty(STDERR_FILENO) == 1;
    p->centers = g_new0(LobProgressCounts, cohort->n_centers + 1);
    p->started = lob_clock();
    return p;
}

/* ---- rate and time left ---- */

static double work_done(const LobProgressCounts *c) {
    if (c->models > 0)
        return c->models_done;
    return c->tiles > 0 ? (double)c->tiles_done : (double)(c->slides_done + c->slides_failed);
}

static double work_all(const LobProgressCounts *c) {
    if (c->models > 0)
        return c->models;
    return c->tiles > 0 ? (double)c->tiles : (double)c->slides;
}

static void learn_rate(LobProgress *p, double now) {
    const double done = work_done(&p->total), passed = now - p->rate_at;
    if (passed < BAR_SECONDS)
        return;
    if (p->total.models > 0) { /* hours apart: the mean since the beginning */
        p->rate = (done - p->counted) / (now - p->started);
        return;
    }
    const double newest = (done - p->counted) / passed;
    const double weight = p->rate > 0 ? MIN(1, passed / MIN(RATE_SECONDS, now - p->started)) : 1;
    p->rate += weight * (newest - p->rate);
    p->rate_at = now;
    p->counted = done;
}

static double seconds_left(const LobProgress *p) {
    const double left = work_all(&p->total) - work_done(&p->total);
    return left <= 0 ? 0 : p->rate > 0 ? left / p->rate : -1;
}

static char *duration_text(double seconds) {
    const long s = (long)(seconds + 0.5);
    if (seconds < 0)
        return g_strdup("unknown");
    if (s >= 86400)
        return g_strdup_printf("%ldd %02ldh", s / 86400, s % 86400 / 3600);
    return s >= 3600 ? g_strdup_printf("%ld:%02ld:%02ld", s / 3600, s % 3600 / 60, s % 60)
                     : g_strdup_printf("%ld:%02ld", s / 60, s % 60);
}

/* ---- words ---- */

static char *summary(const LobProgress *p) {
    const LobProgressCounts *c = &p->total;
    g_autofree char *left = duration_text(seconds_left(p));
    GString *text = g_string_new(NULL);
    if (c->models) {
        g_string_append_printf(text,
                               "%s: models %u of %u, rank 0 trained %" G_GUINT64_FORMAT " epochs, left %s",
                               p->stage, c->models_done, c->models, c->epochs, left);
        return g_string_free(text, FALSE);
    }
    g_string_append_printf(text, "%s: slides %u of %u", p->stage, c->slides_done + c->slides_failed,
                           c->slides);
    if (c->slides_failed)
        g_string_append_printf(text, " (%u failed)", c->slides_failed);
    if (c->tiles)
        g_string_append_printf(text, ", tiles %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT ", %.1f tiles/s",
                               c->tiles_done, c->tiles, p->rate);
    g_string_append_printf(text, ", left %s", left);
    return g_string_free(text, FALSE);
}

static void append_centers(const LobProgress *p, GString *text) {
    const size_t shown = MIN(p->cohort->n_centers, 8);
    for (size_t c = 0; c < shown; c++)
        if (work_all(&p->centers[c]) > 0)
            g_string_append_printf(text, "  %s %.0f%%", p->cohort->centers[c],
                                   100 * work_done(&p->centers[c]) / work_all(&p->centers[c]));
}

static void draw_bar(LobProgress *p) {
    g_autofree char *words = summary(p);
    g_autoptr(GString) text = g_string_new(NULL);
    const double share = work_all(&p->total) > 0 ? work_done(&p->total) / work_all(&p->total) : 1;
    const int full = (int)(20 * CLAMP(share, 0, 1));
    g_string_append_printf(text, "[%.*s%.*s] %s", full, "####################", 20 - full,
                           "....................", words);
    append_centers(p, text);
    fprintf(stderr, "\r%s\033[K", text->str);
    (void)fflush(stderr);
    p->bar_open = true;
}

static void close_bar(LobProgress *p) {
    if (!p->bar_open)
        return;
    draw_bar(p);
    fprintf(stderr, "\n");
    p->bar_open = false;
}

/* ---- status.json ---- */

static json_t *counts_json(const LobProgressCounts *c) {
    if (c->models)
        return json_pack("{s:I, s:I, s:I}", "models", (json_int_t)c->models, "models_done",
                         (json_int_t)c->models_done, "epochs", (json_int_t)c->epochs);
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "slides", (json_int_t)c->slides, "slides_done",
                     (json_int_t)c->slides_done, "slides_failed", (json_int_t)c->slides_failed, "tiles",
                     (json_int_t)c->tiles, "tiles_done", (json_int_t)c->tiles_done);
}

static void write_status(LobProgress *p, const char *state, const char *reason) {
    json_t *centers = json_object();
    for (size_t c = 0; c < p->cohort->n_centers; c++)
        if (work_all(&p->centers[c]) > 0)
            json_object_set_new(centers, p->cohort->centers[c], counts_json(&p->centers[c]));
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:I, s:f, s:f, s:f, s:o, s:o}", "study",
                  p->cohort->study->name, "stage", p->stage, "state", state, "reason", reason, "host",
                  g_get_host_name(), "pid", (int)getpid(), "ranks", p->ranks, "time", (json_int_t)time(NULL),
                  "elapsed_seconds", lob_clock() - p->started, "per_second", p->rate, "seconds_left",
                  seconds_left(p), "total", counts_json(&p->total), "centers", centers);
    const char *job = g_getenv("SLURM_JOB_ID");
    if (job)
        json_object_set_new(root, "slurm_job", json_string(job));
    if (p->quiet)
        json_object_set_new(root, "quiet", json_true());
    char *text = json_dumps(root, JSON_INDENT(1));
    g_autoptr(GError) err = NULL;
    if (!lob_file_replace(p->path, text, strlen(text), &err))
        lob_warning("%s", err->message);
    free(text);
    json_decref(root);
    p->wrote = lob_clock();
}

void lob_progress_update(LobProgress *p, const LobProgressCounts *total, const LobProgressCounts *by_center) {
    const double now = lob_clock();
    got_on = got_on || (p->begun && work_done(total) > work_done(&p->total));
    p->total = *total;
    if (by_center)
        memcpy(p->centers, by_center, p->cohort->n_centers * sizeof *by_center);
    if (!p->begun) {
        p->begun = true;
        p->counted = work_done(total);
        p->rate_at = p->said = now;
        write_status(p, "running", "");
        return;
    }
    learn_rate(p, now);
    if (now - p->wrote >= STATUS_SECONDS)
        write_status(p, "running", "");
    if (now - p->said < (p->terminal ? BAR_SECONDS : LINE_SECONDS))
        return;
    p->said = now;
    if (p->terminal) {
        draw_bar(p);
        return;
    }
    g_autofree char *words = summary(p);
    lob_info("%s", words);
}

void lob_progress_goes_quiet(LobProgress *p, const char *words) {
    close_bar(p);
    p->quiet = true;
    write_status(p, "running", words);
}

void lob_progress_end(LobProgress *p, const char *state, const char *reason) {
    learn_rate(p, lob_clock());
    close_bar(p);
    p->quiet = false;
    write_status(p, state, reason);
}

void lob_progress_free(LobProgress *p) {
    if (!p)
        return;
    if (p->bar_open)
        fprintf(stderr, "\n");
    g_free(p->path);
    g_free(p->centers);
    g_free(p);
}

bool lob_progress_made(void) {
    return got_on;
}
