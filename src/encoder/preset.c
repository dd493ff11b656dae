#include "encoder/preset.h"
#include "encoder/encoder.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

typedef enum { TEXT, WHOLE, NUMBER, FLAG, TRIPLE, TEXTS } Kind;

enum { VIT = 1, SWIN = 2, RESNET = 4, EVERY = VIT | SWIN | RESNET };

/* Whether two networks that differ in a key give different features for the same weights and transform. */
typedef enum { ASIDE, IDENTITY } Weight;

typedef struct {
    const char *key;
    Kind kind;
    size_t offset;
    int networks; /* that use it */
    Weight weight;
    const char *choices; /* "|a|b|", or NULL for any text */
} Field;

#define FIELD(key, kind, networks, weight, choices)                                                          \
    { #key, kind, offsetof(LobPreset, key), networks, weight, choices }
#define RESAMPLES "|bilinear|bicubic|bicubic-antialias|bicubic-dino|"
static const Field FIELDS[] = {
    FIELD(network, TEXT, EVERY, IDENTITY, "|vit|swin|resnet50|"),
    FIELD(layout, TEXT, VIT, IDENTITY, "|timm|dinov2|hf-dinov2|hf-vit|"),
    FIELD(mlp, TEXT, VIT, IDENTITY, "|gelu|swiglu|"),
    FIELD(position, TEXT, VIT, IDENTITY, "|all|class+patches|patches|"),
    FIELD(position_resample, TEXT, VIT, IDENTITY, RESAMPLES),
    FIELD(position_through_resample, TEXT, VIT, IDENTITY, RESAMPLES),
    FIELD(output, TEXT, VIT, ASIDE, "|class|mean|class+mean|pool|"), /* told in full */
    FIELD(prefix, TEXT, EVERY, IDENTITY, NULL),
    FIELD(pool_prefix, TEXT, VIT, IDENTITY, NULL),
    FIELD(filter, TEXT, EVERY, ASIDE, "|bilinear|bicubic|"),
    FIELD(licence, TEXT, EVERY, ASIDE, NULL),
    FIELD(ignore, TEXTS, EVERY, ASIDE, NULL),
    FIELD(image, WHOLE, EVERY, ASIDE, NULL),
    FIELD(patch, WHOLE, VIT, IDENTITY, NULL),
    FIELD(depth, WHOLE, VIT, IDENTITY, NULL),
    FIELD(width, WHOLE, VIT, IDENTITY, NULL),
    FIELD(heads, WHOLE, VIT, IDENTITY, NULL),
    FIELD(hidden, WHOLE, VIT, IDENTITY, NULL),
    FIELD(registers, WHOLE, VIT, IDENTITY, NULL),
    FIELD(position_grid, WHOLE, VIT, IDENTITY, NULL),
    FIELD(position_through, WHOLE, VIT, IDENTITY, NULL),
    FIELD(resize, WHOLE, EVERY, ASIDE, NULL),
    FIELD(pool_width, WHOLE, VIT, IDENTITY, NULL),
    FIELD(pool_heads, WHOLE, VIT, IDENTITY, NULL),
    FIELD(layer_scale, FLAG, VIT, IDENTITY, NULL),
    FIELD(eps, NUMBER, VIT | SWIN, IDENTITY, NULL),
    FIELD(recommended_mpp, NUMBER, EVERY, ASIDE, NULL),
    FIELD(mean, TRIPLE, EVERY, ASIDE, NULL),
    FIELD(sd, TRIPLE, EVERY, ASIDE, NULL),
};
#undef RESAMPLES
#undef FIELD

static void *member(LobPreset *preset, const Field *field) {
    return (char *)preset + field->offset;
}

static void append_identity(GString *text, const LobPreset *preset, const Field *field) {
    const void *value = (const char *)preset + field->offset;
    if (field->kind == TEXT && *(char *const *)value) {
        g_string_append_printf(text, "%s=%s\n", field->key, *(char *const *)value);
    } else if (field->kind == WHOLE && *(const int64_t *)value != 0) {
        g_string_append_printf(text, "%s=%" G_GINT64_FORMAT "\n", field->key, *(const int64_t *)value);
    } else if (field->kind == FLAG && *(const bool *)value) {
        g_string_append_printf(text, "%s\n", field->key);
    } else if (field->kind == NUMBER && *(const double *)value != 0) {
        g_string_append_printf(text, "%s=%.9g\n", field->key, *(const double *)value);
    }
}

/* Keys that are absent do not count, so that new ones leave the identity of older networks as it was. */
char *lob_preset_identity(const LobPreset *preset) {
    g_autoptr(GString) text = g_string_new(NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(FIELDS); i++) {
        if (FIELDS[i].weight == IDENTITY) {
            append_identity(text, preset, &FIELDS[i]);
        }
    }
    g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text->str, -1);
    return g_strdup_printf("output=%s,network=%.12s", preset->output ? preset->output : "mean", hash);
}

void lob_preset_free(LobPreset *preset) {
    if (!preset) {
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(FIELDS); i++) {
        if (FIELDS[i].kind == TEXT) {
            g_free(*(char **)member(preset, &FIELDS[i]));
        } else if (FIELDS[i].kind == TEXTS) {
            g_strfreev(*(char ***)member(preset, &FIELDS[i]));
        }
    }
    g_free(preset->name);
    g_free(preset->path);
    g_free(preset);
}

static bool at_line(const LobPreset *preset, const yaml_mark_t *mark, GError **err, const char *key,
                    const char *what) {
    return lob_fail(err, LOB_ERROR_INPUT, "%s:%zu: %s: %s", preset->path, mark->line + 1, key, what);
}

static bool parse_number(const char *text, double *number) {
    char *end;
    *number = g_ascii_strtod(text, &end);
    return *text && !*end && *number > -1e9 && *number < 1e9;
}

static bool set_field(LobPreset *preset, const Field *field, GPtrArray *values, const yaml_mark_t *mark,
                      GError **err) {
    const char *first = values->len ? g_ptr_array_index(values, 0) : "";
    const bool single = values->len == 1;
    double number[3] = {0, 0, 0};
    switch (field->kind) {
    case TEXT: {
        g_autofree char *choice = g_strdup_printf("|%s|", first);
        if (!single || (field->choices && !strstr(field->choices, choice))) {
            g_autofree char *what =
                g_strdup_printf("'%s' is none of %s", first, field->choices ? field->choices : "texts");
            return at_line(preset, mark, err, field->key, what);
        }
        *(char **)member(preset, field) = g_strdup(first);
        return true;
    }
    case WHOLE:
        if (!single || !parse_number(first, number) || number[0] != (double)(int64_t)number[0] ||
            number[0] < 0 || number[0] > 1 << 20) {
            return at_line(preset, mark, err, field->key, "a whole number is needed");
        }
        *(int64_t *)member(preset, field) = (int64_t)number[0];
        return true;
    case NUMBER:
        if (!single || !parse_number(first, member(preset, field))) {
            return at_line(preset, mark, err, field->key, "a number is needed");
        }
        return true;
    case FLAG:
        if (!single || (strcmp(first, "true") != 0 && strcmp(first, "false") != 0)) {
            return at_line(preset, mark, err, field->key, "true or false is needed");
        }
        *(bool *)member(preset, field) = first[0] == 't';
        return true;
    case TRIPLE:
        for (guint i = 0; i < 3; i++) {
            if (values->len != 3 || !parse_number(g_ptr_array_index(values, i), &number[i])) {
                return at_line(preset, mark, err, field->key, "three numbers are needed, as [0.5, 0.5, 0.5]");
            }
        }
        memcpy(member(preset, field), number, sizeof number);
        return true;
    case TEXTS:
        g_ptr_array_add(values, NULL);
        *(char ***)member(preset, field) = g_strdupv((char **)values->pdata);
        return true;
    }
    return false;
}

static bool next(LobPreset *preset, yaml_parser_t *parser, yaml_event_t *event, GError **err) {
    if (!yaml_parser_parse(parser, event)) {
        return lob_fail(err, LOB_ERROR_INPUT, "%s:%zu: %s", preset->path, parser->problem_mark.line + 1,
                        parser->problem ? parser->problem : "not YAML");
    }
    return true;
}

/* The scalar, or the scalars of the list, that the next events hold. */
static bool read_values(LobPreset *preset, yaml_parser_t *parser, GPtrArray *values, const char *key,
                        GError **err) {
    int depth = 0;
    do {
        yaml_event_t event;
        if (!next(preset, parser, &event, err)) {
            return false;
        }
        const yaml_mark_t mark = event.start_mark;
        const yaml_event_type_t type = event.type;
        if (type == YAML_SCALAR_EVENT) {
            g_ptr_array_add(values, g_strdup((const char *)event.data.scalar.value));
        }
        yaml_event_delete(&event);
        if (type == YAML_SEQUENCE_START_EVENT && depth == 0) {
            depth = 1;
        } else if (type == YAML_SEQUENCE_END_EVENT) {
            depth = 0;
        } else if (type != YAML_SCALAR_EVENT) {
            return at_line(preset, &mark, err, key, "a value or a list of values is needed");
        }
    } while (depth > 0);
    return true;
}

static bool read_key(LobPreset *preset, yaml_parser_t *parser, const char *key, const yaml_mark_t *mark,
                     GHashTable *seen, GError **err) {
    g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func(g_free);
    if (!g_hash_table_insert(seen, g_strdup(key), GSIZE_TO_POINTER(mark->line + 1))) {
        return at_line(preset, mark, err, key, "given twice");
    }
    if (!read_values(preset, parser, values, key, err)) {
        return false;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(FIELDS); i++) {
        if (strcmp(FIELDS[i].key, key) == 0) {
            return set_field(preset, &FIELDS[i], values, mark, err);
        }
    }
    return at_line(preset, mark, err, key, "unknown key");
}

static int networks_of(const LobPreset *preset) {
    const char *const names[] = {"vit", "swin", "resnet50"};
    const int bits[] = {VIT, SWIN, RESNET};
    for (size_t i = 0; preset->network && i < G_N_ELEMENTS(names); i++) {
        if (strcmp(preset->network, names[i]) == 0) {
            return bits[i];
        }
    }
    return EVERY;
}

static bool check_keys(const LobPreset *preset, GHashTable *seen, GError **err) {
    for (size_t i = 0; i < G_N_ELEMENTS(FIELDS); i++) {
        const size_t line = GPOINTER_TO_SIZE(g_hash_table_lookup(seen, FIELDS[i].key));
        if (line > 0 && !(FIELDS[i].networks & networks_of(preset))) {
            return lob_fail(err, LOB_ERROR_INPUT, "%s:%zu: %s: network %s does not have this; leave it out",
                            preset->path, line, FIELDS[i].key, preset->network);
        }
    }
    return true;
}

static bool read_document(LobPreset *preset, yaml_parser_t *parser, GHashTable *seen, GError **err) {
    bool inside = false;
    for (;;) {
        yaml_event_t event;
        bool ok = true;
        if (!next(preset, parser, &event, err)) {
            return false;
        }
        const yaml_event_type_t type = event.type;
        if (type == YAML_MAPPING_START_EVENT && !inside) {
            inside = true;
        } else if (type == YAML_SCALAR_EVENT && inside) {
            ok =
                read_key(preset, parser, (const char *)event.data.scalar.value, &event.start_mark, seen, err);
        } else if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_START_EVENT &&
                   type != YAML_MAPPING_END_EVENT && type != YAML_DOCUMENT_END_EVENT &&
                   type != YAML_STREAM_END_EVENT) {
            ok = at_line(preset, &event.start_mark, err, "preset", "lines of 'key: value' are needed");
        }
        yaml_event_delete(&event);
        if (!ok || type == YAML_STREAM_END_EVENT) {
            return ok;
        }
    }
}

LobPreset *lob_preset_read(const char *path, GError **err) {
    g_autoptr(LobPreset) preset = g_new0(LobPreset, 1);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    yaml_parser_t parser;
    FILE *file = fopen(path, "re");
    preset->path = g_strdup(path);
    preset->name = lob_path_stem(path, ".yaml");
    for (int c = 0; c < 3; c++) {
        preset->mean[c] = NAN;
    }
    if (!file) {
        lob_fail_errno(err, LOB_ERROR_INPUT, errno, "encoder preset %s cannot be opened", path);
        return NULL;
    }
    bool ok = yaml_parser_initialize(&parser);
    if (ok) {
        yaml_parser_set_input_file(&parser, file);
        ok = read_document(preset, &parser, seen, err) && check_keys(preset, seen, err);
        yaml_parser_delete(&parser);
    } else {
        lob_fail(err, LOB_ERROR_INTERNAL, "no YAML parser");
    }
    if (fclose(file) != 0 && ok) {
        ok = lob_fail_errno(err, LOB_ERROR_IO, errno, "%s", path);
    }
    return ok ? g_steal_pointer(&preset) : NULL;
}

/* Takes ownership of `folder`. */
static char *existing(char *folder) {
    if (g_file_test(folder, G_FILE_TEST_IS_DIR)) {
        return folder;
    }
    g_free(folder);
    return NULL;
}

static char *beside_executable(void) {
    static const char *const places[] = {"../configs/encoders", "../share/lobule/configs/encoders",
                                         "configs/encoders"};
    g_autofree char *executable = g_file_read_link("/proc/self/exe", NULL);
    char *found = NULL;
    for (size_t i = 0; executable && !found && i < G_N_ELEMENTS(places); i++) {
        g_autofree char *folder = g_path_get_dirname(executable);
        found = existing(g_build_filename(folder, places[i], NULL));
    }
    return found;
}

static char *find_folder(void) {
    const char *configured = g_getenv("LOB_CONFIGS");
    if (configured && *configured) {
        return existing(g_build_filename(configured, "encoders", NULL));
    }
    char *found = beside_executable();
    if (!found) {
        found = existing(g_build_filename(LOB_CONFIG_DIR, "encoders", NULL));
    }
    return found;
}

const char *lob_preset_folder(void) {
    static gsize once;
    static const char *folder;
    if (g_once_init_enter(&once)) {
        folder = find_folder();
        g_once_init_leave(&once, 1);
    }
    return folder;
}

char *lob_preset_find(const char *name) {
    const char *folder = lob_preset_folder();
    if (!folder || strchr(name, '/')) {
        return NULL;
    }
    g_autofree char *file = g_strconcat(name, ".yaml", NULL);
    g_autofree char *path = g_build_filename(folder, file, NULL);
    return g_file_test(path, G_FILE_TEST_IS_REGULAR) ? g_steal_pointer(&path) : NULL;
}
