#include "report/report_internal.h"

#include <math.h>
#include <string.h>

void lob_html_text(GString *out, const char *text) {
    for (const char *p = text; *p; p = g_utf8_next_char(p)) {
        const gunichar c = g_utf8_get_char(p);
        switch (c) {
        case '<':
            g_string_append(out, "&lt;");
            break;
        case '>':
            g_string_append(out, "&gt;");
            break;
        case '&':
            g_string_append(out, "&amp;");
            break;
        case '"':
            g_string_append(out, "&quot;");
            break;
        case '\'':
            g_string_append(out, "&#39;");
            break;
        default:
            /* Control characters and direction overrides could make a name look like another. */
            if (c == '\n' || (!g_unichar_iscntrl(c) && g_unichar_type(c) != G_UNICODE_FORMAT))
                g_string_append_unichar(out, c);
        }
    }
}

void lob_html_printf(GString *out, const char *format, ...) {
    va_list args;
    va_start(args, format);
    g_string_append_vprintf(out, format, args);
    va_end(args);
}

void lob_html_json(GString *out, const char *text) {
    g_string_append_c(out, '"');
    for (const char *p = text; *p; p = g_utf8_next_char(p)) {
        const gunichar c = g_utf8_get_char(p);
        /* < and > could end the script; the others end a string or a line in some parser. */
        if (c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == '\'' || c < 0x20 ||
            c == 0x2028 || c == 0x2029)
            g_string_append_printf(out, "\\u%04x", (unsigned)c);
        else if (g_unichar_type(c) != G_UNICODE_FORMAT)
            g_string_append_unichar(out, c);
    }
    g_string_append_c(out, '"');
}

void lob_html_number(GString *out, double value, int decimals) {
    if (isnan(value))
        g_string_append(out, "not estimable");
    else
        lob_html_printf(out, "<data value=\"%.17g\">%.*f</data>", value, decimals, value);
}

void lob_html_section(GString *out, const char *id, const char *title, const char *lead) {
    lob_html_printf(out, "<section aria-labelledby=\"%s\"><h2 id=\"%s\">", id, id);
    lob_html_text(out, title);
    g_string_append(out, "</h2><p class=\"lead\">");
    lob_html_text(out, lead);
    g_string_append(out, "</p>\n");
}

void lob_html_section_end(GString *out) {
    g_string_append(out, "</section>\n");
}

void lob_html_heading(GString *out, const char *title) {
    g_string_append(out, "<h3>");
    lob_html_text(out, title);
    g_string_append(out, "</h3>\n");
}
