#include "cohort/cohort_internal.h"

#include <stdarg.h>
#include <string.h>

#define PROBLEMS_TOLD 20

void lob_problem(LobProblems *problems, const char *format, ...) {
    if (problems->count++ >= PROBLEMS_TOLD)
        return;
    if (problems->text == NULL)
        problems->text = g_string_new(NULL);
    va_list args;
    va_start(args, format);
    g_string_append(problems->text, "\n  ");
    g_string_append_vprintf(problems->text, format, args);
    va_end(args);
}

void lob_problem_take(LobProblems *problems, GError *error) {
    lob_problem(problems, "%s", error->message);
    g_error_free(error);
}

bool lob_problems_check(LobProblems *problems, const char *what, GError **err) {
    if (problems->count == 0)
        return true;
    g_autofree char *more = NULL;
    if (problems->count > PROBLEMS_TOLD)
        more = g_strdup_printf("\n  ... and %zu more", problems->count - PROBLEMS_TOLD);
    lob_fail(err, LOB_ERROR_INPUT, "%s: %zu problem%s:%s%s", what, problems->count,
             problems->count == 1 ? "" : "s", problems->text->str, more != NULL ? more : "");
    g_string_free(problems->text, TRUE);
    *problems = (LobProblems){0};
    return false;
}

bool lob_is_missing_marker(const char *cell) {
    static const char *const markers[] = {"na",   "n/a", "nan", "null", "none",
                                          "#n/a", "?",   "-",   ".",    "missing"};
    g_autofree char *lower = g_ascii_strdown(cell, -1);
    for (size_t i = 0; i < G_N_ELEMENTS(markers); i++)
        if (strcmp(lower, markers[i]) == 0)
            return true;
    return false;
}
