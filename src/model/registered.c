#include "model/registered.h"

#include <math.h>
#include <string.h>

bool lob_registered_check(const LobRegistered *r, GError **err) {
    bool sound =
        r->lock && r->text && isfinite(r->marker_mean) && isfinite(r->marker_sd) && r->marker_sd >= 0;
    g_autofree char *hash = sound ? lob_sha256_bytes(r->text, strlen(r->text)) : NULL;
    for (int f = 0; f < LOB_PARTS; f++)
        sound =
            sound && isfinite(r->third[f][0]) && isfinite(r->third[f][1]) && r->third[f][0] <= r->third[f][1];
    return (sound && strcmp(hash, r->lock) == 0) ||
           lob_fail(err, LOB_ERROR_INPUT, "what the model registered is not what its lock was made from");
}

static void append_text(GByteArray *bytes, const char *text) {
    g_byte_array_append(bytes, (const guint8 *)(text ? text : ""), (guint)(text ? strlen(text) : 0) + 1);
}

void lob_registered_append(const LobRegistered *r, GByteArray *bytes) {
    append_text(bytes, r->lock);
    append_text(bytes, r->text);
    append_text(bytes, r->marker);
    const double numbers[] = {r->marker_mean, r->marker_sd, (double)r->has_thirds[0],
                              (double)r->has_thirds[1]};
    g_byte_array_append(bytes, (const guint8 *)numbers, sizeof numbers);
    g_byte_array_append(bytes, (const guint8 *)r->third, sizeof r->third);
}

void lob_registered_clear(LobRegistered *r) {
    g_free(r->lock);
    g_free(r->text);
    g_free(r->marker);
    *r = (LobRegistered){0};
}
