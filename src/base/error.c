#include "base/base.h"

#include <stdarg.h>

GQuark lob_error_quark(void) {
    return g_quark_from_static_string("lob-error-quark");
}

int lob_error_exit_code(const GError *error) {
    if (error == NULL)
        return LOB_EXIT_DONE;
    if (error->domain != LOB_ERROR)
        return LOB_EXIT_OTHER;
    switch ((LobErrorCode)error->code) {
    case LOB_ERROR_INPUT:
    case LOB_ERROR_NOT_ESTIMABLE:
        return LOB_EXIT_INPUT;
    case LOB_ERROR_SLIDE:
        return LOB_EXIT_SLIDES_FAILED;
    case LOB_ERROR_STOPPED:
        return LOB_EXIT_STOPPED;
    case LOB_ERROR_HALTED:
        return LOB_EXIT_HALTED;
    case LOB_ERROR_INTERNAL:
    case LOB_ERROR_IO:
        break;
    }
    return LOB_EXIT_OTHER;
}

bool lob_fail(GError **err, LobErrorCode code, const char *format, ...) {
    if (err == NULL)
        return false;
    va_list args;
    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(err, LOB_ERROR, (int)code, message);
    return false;
}

bool lob_fail_errno(GError **err, LobErrorCode code, int errnum, const char *format, ...) {
    if (err == NULL)
        return false;
    va_list args;
    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(err, LOB_ERROR, (int)code, "%s: %s", message, g_strerror(errnum));
    return false;
}
