#include "base/base.h"

#include <math.h>
#include <string.h>

static double number_behind(const char *text) {
    char *end;
    const double number = g_ascii_strtod(text, &end);
    return end > text ? number : NAN;
}

double lob_proc_number(const char *path, const char *name) {
    g_autofree char *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL))
        return NAN;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    const size_t length = strlen(name);
    for (size_t i = 0; lines[i]; i++)
        if (strncmp(lines[i], name, length) == 0 && lines[i][length] == ':')
            return number_behind(lines[i] + length + 1);
    return NAN;
}
