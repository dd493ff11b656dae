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

void lob_html_section(GString *out, const char *id, const char *title, const char *lead) {
    lob_html_printf(out, "<section id=\"%s\"><h2>", id);
    lob_html_text(out, title);
    g_string_append(out, "</h2><p class=\"lead\">");
    lob_html_text(out, lead);
    g_string_append(out, "</p>\n");
}

void lob_html_table_begin(GString *out, const char *caption, const char *const *columns) {
    g_string_append(out, "<div class=\"scroll\"><table class=\"sortable\"><caption>");
    lob_html_text(out, caption);
    g_string_append(out, "</caption><thead><tr>");
    for (size_t i = 0; columns[i]; i++) {
        g_string_append(out, "<th scope=\"col\"><button type=\"button\">");
        lob_html_text(out, columns[i]);
        g_string_append(out, "</button></th>");
    }
    g_string_append(out, "</tr></thead><tbody>\n");
}

void lob_html_row_begin(GString *out) {
    g_string_append(out, "<tr>");
}

static bool reads_as_number(const char *text) {
    char *end = NULL;
    g_ascii_strtod(text, &end);
    return *text && end && *end == '\0';
}

void lob_html_cell(GString *out, const char *text) {
    g_string_append(out, reads_as_number(text) ? "<td class=\"n\">" : "<td>");
    lob_html_text(out, *text ? text : "\xe2\x80\x93");
    g_string_append(out, "</td>");
}

void lob_html_cell_number(GString *out, double value, int decimals) {
    if (isnan(value))
        g_string_append(out, "<td class=\"n\">\xe2\x80\x93</td>");
    else
        lob_html_printf(out, "<td class=\"n\">%.*f</td>", decimals, value);
}

void lob_html_row_end(GString *out) {
    g_string_append(out, "</tr>\n");
}

void lob_html_table_end(GString *out) {
    g_string_append(out, "</tbody></table></div>\n");
}

const char lob_html_style[] =
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1c2126;--soft:#5a6570;--line:#d4dae0;--card:#f5f7f9;"
    "--c0:#0072b2;--c1:#d55e00;--c2:#007a5a;--c3:#a0527d;--c4:#5a6570}\n"
    "@media "
    "(prefers-color-scheme:dark){:root{--bg:#14181c;--fg:#e8ecef;--soft:#a3aeb8;--line:#3a434c;--card:#"
    "1d2329;"
    "--c0:#56b4e9;--c1:#f0935a;--c2:#3fc79a;--c3:#dd9cc3;--c4:#a3aeb8}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);"
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}\n"
    "main,header,footer{max-width:60rem;margin:0 auto;padding:0 1rem}h1{margin:1.5rem 0 "
    ".2rem;font-size:1.7rem}"
    "h2{margin:2.2rem 0 .3rem;font-size:1.25rem;border-top:1px solid var(--line);padding-top:1rem}"
    "h3{font-size:1rem;margin:1.2rem 0 .3rem}.lead,.note{color:var(--soft)}.note{font-size:.9rem}\n"
    "nav a{margin-right:1rem}a{color:var(--c0)}.scroll{overflow-x:auto}"
    "table{border-collapse:collapse;width:100%;font-size:.9rem;margin:.6rem 0}"
    "caption{text-align:left;font-weight:600;padding:.3rem 0}"
    "th,td{padding:.25rem .5rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;"
    "overflow-wrap:anywhere}td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "th button{all:unset;cursor:pointer;font-weight:600}th button:focus-visible{outline:2px solid var(--c0)}"
    "th[aria-sort=ascending] button::after{content:' \\2191'}th[aria-sort=descending] "
    "button::after{content:' \\2193'}\n"
    "figure{margin:.8rem 0;background:var(--card);padding:.6rem;border-radius:.4rem}"
    "figcaption{font-size:.9rem;color:var(--soft)}svg{width:100%;height:auto;display:block;max-width:46rem}"
    "svg text{fill:var(--fg);font:12px system-ui,sans-serif}svg .soft{fill:var(--soft)}svg "
    ".bold{font-weight:600}"
    "svg .axis{stroke:var(--soft);stroke-width:1}svg .grid{stroke:var(--line);stroke-width:1}"
    "svg .ref{stroke:var(--soft);stroke-dasharray:4 3}svg .mark{fill:var(--c0);stroke:none}"
    "svg .s0,svg .s1,svg .s2,svg .s3{fill:none;stroke-width:2}svg .s0{stroke:var(--c0)}"
    "svg .s1{stroke:var(--c1);stroke-dasharray:7 3}svg .s2{stroke:var(--c2);stroke-dasharray:2 2}svg "
    ".s3{stroke:var(--c3)}"
    "svg .b0,svg .b1,svg .b2{stroke:none;opacity:.15}svg .b0{fill:var(--c0)}svg .b1{fill:var(--c1)}svg "
    ".b2{fill:var(--c2)}"
    "svg text.t0{fill:var(--c0)}svg text.t1{fill:var(--c1)}svg text.t2{fill:var(--c2)}\n"
    ".box{background:var(--card);border-left:4px solid var(--c0);padding:.6rem 1rem;margin:1rem 0}"
    "input{font:inherit;padding:.3rem;width:100%;max-width:20rem;background:var(--bg);color:var(--fg);"
    "border:1px solid var(--soft);border-radius:.3rem}\n"
    "@media print{nav,.screen{display:none}body{font-size:10pt}section{break-inside:auto}"
    "figure,tr{break-inside:avoid}}\n";

const char lob_html_script[] =
    "document.querySelectorAll('table.sortable th "
    "button').forEach(function(b){b.addEventListener('click',function(){"
    "var th=b.parentNode,row=th.parentNode,i=Array.prototype.indexOf.call(row.children,th),"
    "up=th.getAttribute('aria-sort')!=='ascending',body=row.closest('table').tBodies[0];"
    "Array.prototype.forEach.call(row.children,function(o){o.removeAttribute('aria-sort')});"
    "th.setAttribute('aria-sort',up?'ascending':'descending');"
    "Array.prototype.slice.call(body.rows).sort(function(p,q){var "
    "x=p.cells[i].textContent,y=q.cells[i].textContent,"
    "n=parseFloat(x)-parseFloat(y);return (isNaN(n)?x.localeCompare(y):n)*(up?1:-1)})"
    ".forEach(function(r){body.appendChild(r)})})});\n"
    "document.querySelectorAll('input[data-filter]').forEach(function(f){f.addEventListener('input',function("
    "){"
    "var t=f.value.toLowerCase();Array.prototype.forEach.call("
    "document.getElementById(f.dataset.filter).querySelectorAll('tbody tr'),function(r){"
    "r.hidden=t!==''&&r.textContent.toLowerCase().indexOf(t)<0})})});\n";
