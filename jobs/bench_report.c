/* What a bench found: a JSON line on standard output, a line for people on standard error. */
#include "jobs/bench_internal.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

static const char *const kinds[] = {"none", "bound", "reference", "budget"};

static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static char *now_utc(void) {
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    return g_date_time_format_iso8601(now);
}

/* Where repetitions had no ceiling of their own, the interval is the rate's, and the ceiling's spread is not
 * in it. */
static LobBenchRate ratio_of(const LobBenchResult *r) {
    if (r->kind == LOB_BENCH_UNBOUND)
        return (LobBenchRate){.rate = NAN, .lower = NAN, .upper = NAN};
    if (r->ratio.rate > 0)
        return r->ratio;
    return (LobBenchRate){.rate = r->rate.rate / r->ceiling,
                          .lower = r->rate.lower / r->ceiling,
                          .upper = r->rate.upper / r->ceiling};
}

static void add_ceiling(json_t *line, const LobBenchResult *r, const LobBenchRate *ratio) {
    const bool none = r->kind == LOB_BENCH_UNBOUND;
    json_object_set_new(line, "ceiling", none ? json_null() : number(r->ceiling));
    json_object_set_new(line, "ceiling_name", none ? json_null() : json_string(r->ceiling_name));
    json_object_set_new(line, "ceiling_kind", none ? json_null() : json_string(kinds[r->kind]));
    json_object_set_new(line, "ratio", number(ratio->rate));
    json_object_set_new(line, "ratio_lower", number(ratio->lower));
    json_object_set_new(line, "ratio_upper", number(ratio->upper));
    json_object_set_new(line, "ratio_paired", none ? json_null() : json_boolean(r->ratio.rate > 0));
}

static json_t *make_line(const LobBench *bench, const LobBenchResult *r, const LobBenchRate *ratio) {
    json_t *line = json_pack("{s:s, s:s, s:f, s:s, s:o, s:o, s:i, s:o, s:i}", "bench", r->bench, "case",
                             r->what, "rate", r->rate.rate, "unit", r->unit, "lower", number(r->rate.lower),
                             "upper", number(r->rate.upper), "repeats", r->rate.repeats, "spread",
                             number(r->rate.spread), "ranks", bench->world->size);
    add_ceiling(line, r, ratio);
    if (r->gflops > 0)
        json_object_set_new(line, "gflops", json_real(r->gflops));
    if (r->rate.cpu > 0)
        json_object_set_new(line, "cpu_share", json_real(r->rate.cpu));
    if (r->more)
        json_object_update(line, r->more);
    g_autofree char *time = now_utc();
    json_t *provenance = json_copy(bench->provenance);
    json_object_set_new(provenance, "time", json_string(time));
    json_object_set(line, "options", bench->options);
    json_object_set_new(line, "provenance", provenance);
    return line;
}

static char *interval(const LobBenchRate *rate) {
    return isfinite(rate->lower) ? g_strdup_printf("[%.4g, %.4g]", rate->lower, rate->upper)
                                 : g_strdup_printf("n=%d", rate->repeats);
}

static void print_line(const LobBenchResult *r, const LobBenchRate *ratio) {
    g_autofree char *rate = interval(&r->rate);
    fprintf(stderr, "%-9s %-34s %11.4g %-10s %s  ", r->bench, r->what, r->rate.rate, r->unit, rate);
    if (r->gflops > 0)
        fprintf(stderr, "%.1f GFLOP/s  ", r->gflops);
    if (r->kind != LOB_BENCH_UNBOUND)
        fprintf(stderr, "%.3f of the %s: %s (%.4g)", ratio->rate, kinds[r->kind], r->ceiling_name,
                r->ceiling);
    if (r->ratio.rate > 0) {
        g_autofree char *bounds = interval(&r->ratio);
        fprintf(stderr, ", each turn against its neighbour %s", bounds);
    }
    fprintf(stderr, "\n");
}

void lob_bench_report(const LobBench *bench, const LobBenchResult *r) {
    if (bench->world->rank != 0)
        return;
    const LobBenchRate ratio = ratio_of(r);
    json_t *line = make_line(bench, r, &ratio);
    json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    printf("\n");
    fflush(stdout);
    print_line(r, &ratio);
    json_array_append_new(bench->lines, line);
}

/* ---- memory of this process ---- */

void lob_bench_forget_peak(void) {
    const int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, "5", 1) != 1)
        lob_debug("the kernel does not forget how much memory was used before");
    close(fd);
}

double lob_bench_peak_bytes(void) {
    const double kib = lob_proc_number("/proc/self/status", "VmHWM");
    return kib > 0 ? 1024 * kib : 0;
}
