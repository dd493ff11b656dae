#include "report/report_internal.h"

#include <math.h>
#include <string.h>

bool lob_pooled_read(LobPooled *pooled, const LobPage *page, const char *endpoint, const char *model,
                     const char *metric, GError **err) {
    *pooled = (LobPooled){0, NAN, NAN, NAN, NAN, NAN};
    const LobTable *t = page->meta;
    if (!t)
        return true;
    const struct {
        const char *name;
        double *value;
    } numbers[] = {{"centers", &pooled->centers},
                   {"pooled", &pooled->estimate},
                   {"lower", &pooled->lower},
                   {"upper", &pooled->upper},
                   {"prediction_lower", &pooled->next_lower},
                   {"prediction_upper", &pooled->next_upper}};
    const struct {
        const char *name, *wanted;
    } keys[] = {{"endpoint", endpoint}, {"model", model}, {"metric", metric}};
    for (size_t r = 0; r < lob_table_rows(t); r++) {
        bool match = true;
        for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
            const int column = lob_table_require(t, keys[i].name, err);
            if (column < 0)
                return false;
            match = match && strcmp(lob_table_cell(t, r, column), keys[i].wanted) == 0;
        }
        for (size_t i = 0; match && i < G_N_ELEMENTS(numbers); i++) {
            const int column = lob_table_require(t, numbers[i].name, err);
            if (column < 0 || !lob_table_number(t, r, column, numbers[i].value, err))
                return false;
        }
        if (match)
            return true;
    }
    return true;
}
