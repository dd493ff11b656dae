/* A YAML document read against tables of fields. Errors are INPUT and say file, line, key and what was
 * expected. Aliases are only references to nodes and the tables bound the depth, so hostile documents cannot
 * grow. */
#ifndef LOB_COHORT_YAML_SCHEMA_H
#define LOB_COHORT_YAML_SCHEMA_H

#include "base/base.h"

#include <yaml.h>

typedef struct {
    char *path;
    yaml_document_t document;
    bool loaded;
    char *sha256;
    const yaml_node_t *key; /* of the pair being visited */
} LobYaml;

bool lob_yaml_load(LobYaml *yaml, const char *path, GError **err);
/* The same from bytes. */
bool lob_yaml_parse(LobYaml *yaml, const char *path, const char *data, size_t size, GError **err);
void lob_yaml_clear(LobYaml *yaml);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LobYaml, lob_yaml_clear)

typedef const yaml_node_t Node;
typedef bool (*LobYamlHandler)(LobYaml *yaml, Node *value, const char *key, void *target, GError **err);

typedef enum {
    LOB_YAML_TEXT,    /* char * */
    LOB_YAML_FILE,    /* char *: resolved beside the document; must exist */
    LOB_YAML_PATH,    /* char *: resolved beside the document */
    LOB_YAML_INTEGER, /* int in [low, high] */
    LOB_YAML_SEED,    /* uint64_t */
    LOB_YAML_REAL,    /* double in [low, high] */
    LOB_YAML_SWITCH,  /* bool */
    LOB_YAML_CUSTOM,  /* handler */
} LobYamlType;

typedef struct {
    const char *key;
    LobYamlType type;
    size_t offset; /* into the target */
    bool required;
    bool nullable;       /* null keeps the default */
    double low, high;    /* numbers */
    const char *choices; /* text: "a|b|c", or NULL */
    LobYamlHandler handler;
} LobYamlField;

/* Reads a mapping; `where` is its dotted name ("" at the root). */
bool lob_yaml_map(LobYaml *yaml, Node *node, const char *where, const LobYamlField *fields, size_t n_fields,
                  void *target, GError **err);
/* Calls visit for every pair of a mapping with free keys, which are checked for being texts without repeats.
 */
bool lob_yaml_pairs(LobYaml *yaml, Node *node, const char *where, LobYamlHandler visit, void *target,
                    GError **err);
/* Calls visit for every item of a list; its `key` is "where[3]", counted from 1. */
bool lob_yaml_items(LobYaml *yaml, Node *node, const char *where, LobYamlHandler visit, void *target,
                    GError **err);

bool lob_yaml_is_null(Node *node);
bool lob_yaml_text(LobYaml *yaml, Node *node, const char *key, char **text, GError **err);
bool lob_yaml_switch(LobYaml *yaml, Node *node, const char *key, bool *value, GError **err);
bool lob_yaml_real(LobYaml *yaml, Node *node, const char *key, double low, double high, double *value,
                   GError **err);
/* A path beside the document that must exist. */
bool lob_yaml_file(LobYaml *yaml, Node *node, const char *key, char **path, GError **err);
Node *lob_yaml_root(LobYaml *yaml);
/* The value at a dotted name of mappings' keys; where a part of it is not there, what holds it. */
Node *lob_yaml_at(LobYaml *yaml, const char *key);
bool lob_yaml_fail(const LobYaml *yaml, Node *node, GError **err, const char *format, ...)
    G_GNUC_PRINTF(4, 5);

/* The nearest of NULL-terminated candidates, or NULL where none is near. */
const char *lob_nearest(const char *word, const char *const *candidates);

#endif
