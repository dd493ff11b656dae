#include "encoder/weights.h"
#include "encoder/weights_zip.h"

#include <string.h>

/* A pickle is a program for a stack machine. This machine knows the instructions with which PyTorch writes a
 * dictionary of tensors, and six callables; anything else is refused, so no file can run code. Values live in
 * one arena until the file is read, hence cycles and sharing need no care. */

typedef enum { NONE, INTEGER, TEXT, TUPLE, LIST, DICT, GLOBAL, STORAGE, TENSOR, MARK, OTHER } Kind;
typedef enum { MAKE_DICT, MAKE_TENSOR, MAKE_PARAMETER, STORAGE_TYPE } Callable;

typedef struct {
    const char *name; /* module and attribute */
    Callable callable;
    size_t element; /* storage types: bytes an element */
    LobDtype dtype;
} Global;

static const Global GLOBALS[] = {
    {"collections OrderedDict", MAKE_DICT, 0, LOB_DTYPE_OTHER},
    {"torch._utils _rebuild_tensor_v2", MAKE_TENSOR, 0, LOB_DTYPE_OTHER},
    {"torch._utils _rebuild_parameter", MAKE_PARAMETER, 0, LOB_DTYPE_OTHER},
    {"torch FloatStorage", STORAGE_TYPE, 4, LOB_DTYPE_F32},
    {"torch HalfStorage", STORAGE_TYPE, 2, LOB_DTYPE_F16},
    {"torch BFloat16Storage", STORAGE_TYPE, 2, LOB_DTYPE_BF16},
    {"torch DoubleStorage", STORAGE_TYPE, 8, LOB_DTYPE_OTHER},
    {"torch LongStorage", STORAGE_TYPE, 8, LOB_DTYPE_OTHER},
    {"torch IntStorage", STORAGE_TYPE, 4, LOB_DTYPE_OTHER},
    {"torch ShortStorage", STORAGE_TYPE, 2, LOB_DTYPE_OTHER},
    {"torch CharStorage", STORAGE_TYPE, 1, LOB_DTYPE_OTHER},
    {"torch ByteStorage", STORAGE_TYPE, 1, LOB_DTYPE_OTHER},
    {"torch BoolStorage", STORAGE_TYPE, 1, LOB_DTYPE_OTHER},
};

typedef struct {
    Kind kind;
    int64_t integer;
    char *text;
    GPtrArray *items; /* tuple and list: values; dict: key, value, key, value ... */
    const Global *global;
    LobZipEntry storage;
    LobTensor tensor;
} Value;

typedef struct {
    LobWeights *weights;
    GHashTable *entries;
    const char *prefix; /* of the storages' names */
    const uint8_t *at, *end;
    GPtrArray *arena, *stack;
    GHashTable *memo;
    guint next_memo;
    size_t visits;
} Machine;

/* A tensor takes about twenty values. */
enum { MAX_PICKLE = 64 << 20, MAX_VALUES = 2 << 20, MAX_VISITS = 1 << 20, MAX_NESTING = 6 };

static void value_free(void *data) {
    Value *value = data;
    g_free(value->text);
    g_clear_pointer(&value->items, g_ptr_array_unref);
    g_free(value);
}

static Value *value_new(Machine *m, Kind kind) {
    Value *value = g_new0(Value, 1);
    value->kind = kind;
    if (kind == TUPLE || kind == LIST || kind == DICT) {
        value->items = g_ptr_array_new();
    }
    g_ptr_array_add(m->arena, value);
    return value;
}

static Value *push(Machine *m, Value *value) {
    g_ptr_array_add(m->stack, value);
    return value;
}

static bool bad(const Machine *m, GError **err, const char *what) {
    return lob_fail(err, LOB_ERROR_INPUT, "%s: its pickle is damaged: %s", m->weights->path, what);
}

static Value *pop(Machine *m) {
    return m->stack->len ? g_ptr_array_remove_index(m->stack, m->stack->len - 1) : NULL;
}

static Value *top(const Machine *m) {
    return m->stack->len ? g_ptr_array_index(m->stack, m->stack->len - 1) : NULL;
}

static bool take(Machine *m, size_t count, const uint8_t **bytes) {
    if (count > (size_t)(m->end - m->at)) {
        return false;
    }
    *bytes = m->at;
    m->at += count;
    return true;
}

/* A little-endian number of 1 to 8 bytes. */
static bool take_number(Machine *m, size_t width, uint64_t *number) {
    const uint8_t *p;
    if (!take(m, width, &p)) {
        return false;
    }
    *number = 0;
    for (size_t i = width; i-- > 0;) {
        *number = *number << 8 | p[i];
    }
    return true;
}

/* Moves what lies above the topmost mark to `into`, and removes the mark. */
static bool take_marked(Machine *m, GPtrArray *into) {
    guint mark = m->stack->len;
    while (mark > 0 && ((Value *)g_ptr_array_index(m->stack, mark - 1))->kind != MARK) {
        mark--;
    }
    if (mark == 0) {
        return false;
    }
    for (guint i = mark; i < m->stack->len; i++) {
        g_ptr_array_add(into, g_ptr_array_index(m->stack, i));
    }
    g_ptr_array_set_size(m->stack, (int)mark - 1);
    return true;
}

static bool push_global(Machine *m, const char *name, GError **err) {
    for (size_t i = 0; i < G_N_ELEMENTS(GLOBALS); i++) {
        if (strcmp(name, GLOBALS[i].name) == 0) {
            push(m, value_new(m, GLOBAL))->global = &GLOBALS[i];
            return true;
        }
    }
    g_autofree char *shown = g_utf8_make_valid(name, -1);
    return lob_fail(
        err, LOB_ERROR_INPUT,
        "%s: its pickle asks for %s, which is not run; save the state_dict alone, or as safetensors",
        m->weights->path, shown);
}

/* GLOBAL: two lines, module and name. */
static bool run_global(Machine *m, G_GNUC_UNUSED size_t unused, GError **err) {
    const uint8_t *start = m->at;
    const uint8_t *first = memchr(start, '\n', (size_t)(m->end - start));
    const uint8_t *second = first ? memchr(first + 1, '\n', (size_t)(m->end - first - 1)) : NULL;
    if (!second) {
        return bad(m, err, "an unfinished name");
    }
    m->at = second + 1;
    g_autofree char *name = g_strdup_printf("%.*s %.*s", (int)(first - start), (const char *)start,
                                            (int)(second - first - 1), (const char *)first + 1);
    return push_global(m, name, err);
}

static bool run_stack_global(Machine *m, G_GNUC_UNUSED size_t unused, GError **err) {
    const Value *attribute = pop(m), *module = pop(m);
    if (!attribute || !module || attribute->kind != TEXT || module->kind != TEXT) {
        return bad(m, err, "a name that is no text");
    }
    g_autofree char *name = g_strdup_printf("%s %s", module->text, attribute->text);
    return push_global(m, name, err);
}

static const Value *item(const Value *tuple, guint i, Kind kind) {
    const Value *value = i < tuple->items->len ? g_ptr_array_index(tuple->items, i) : NULL;
    return value && value->kind == kind ? value : NULL;
}

/* Persistent id: ("storage", type, key, device, elements). */
static bool run_persistent_id(Machine *m, G_GNUC_UNUSED size_t unused, GError **err) {
    const Value *id = pop(m);
    if (!id || id->kind != TUPLE) {
        return bad(m, err, "a storage without description");
    }
    const Value *tag = item(id, 0, TEXT), *type = item(id, 1, GLOBAL), *key = item(id, 2, TEXT);
    if (!tag || strcmp(tag->text, "storage") != 0 || !type || type->global->callable != STORAGE_TYPE ||
        !key) {
        return bad(m, err, "a storage of unknown description");
    }
    g_autofree char *name = g_strconcat(m->prefix, key->text, NULL);
    const LobZipEntry *entry = g_hash_table_lookup(m->entries, name);
    if (!entry) {
        return lob_fail(err, LOB_ERROR_INPUT, "%s: storage %s is missing from the archive", m->weights->path,
                        name);
    }
    Value *storage = push(m, value_new(m, STORAGE));
    storage->storage = *entry;
    storage->global = type->global;
    return true;
}

/* Row-major, but lengths of one may have any stride. */
static bool is_contiguous(const LobTensor *tensor, const Value *strides) {
    int64_t expected = 1;
    for (int i = tensor->ndim - 1; i >= 0; i--) {
        const Value *stride = item(strides, (guint)i, INTEGER);
        if (!stride || (tensor->shape[i] != 1 && stride->integer != expected)) {
            return false;
        }
        expected *= tensor->shape[i];
    }
    return true;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, ...) */
static bool make_tensor(Machine *m, const Value *args, GError **err) {
    const Value *storage = item(args, 0, STORAGE), *offset = item(args, 1, INTEGER);
    const Value *size = item(args, 2, TUPLE), *strides = item(args, 3, TUPLE);
    LobTensor tensor = {0};
    if (!storage || !offset || !size || !strides || size->items->len > LOB_TENSOR_MAX_DIMS ||
        size->items->len != strides->items->len) {
        return bad(m, err, "a tensor of unknown description");
    }
    tensor.ndim = (int)size->items->len;
    for (int i = 0; i < tensor.ndim; i++) {
        const Value *length = item(size, (guint)i, INTEGER);
        if (!length) {
            return bad(m, err, "a length that is no integer");
        }
        tensor.shape[i] = length->integer;
    }
    const size_t element = storage->global->element, capacity = storage->storage.size / element;
    if (!lob_shape_count(tensor.shape, tensor.ndim, &tensor.count) || offset->integer < 0 ||
        (uint64_t)offset->integer > capacity || tensor.count > capacity - (size_t)offset->integer) {
        return bad(m, err, "a tensor larger than its storage (truncated?)");
    }
    if (tensor.count > 0 && !is_contiguous(&tensor, strides)) {
        return lob_fail(err, LOB_ERROR_INPUT,
                        "%s: a tensor is stored transposed; save it with .contiguous(), or as safetensors",
                        m->weights->path);
    }
    tensor.dtype = storage->global->dtype;
    tensor.dtype_name = strchr(storage->global->name, ' ') + 1;
    tensor.data = storage->storage.data + (size_t)offset->integer * element;
    push(m, value_new(m, TENSOR))->tensor = tensor;
    return true;
}

static bool run_reduce(Machine *m, G_GNUC_UNUSED size_t unused, GError **err) {
    const Value *args = pop(m), *callable = pop(m);
    if (!args || args->kind != TUPLE || !callable || callable->kind != GLOBAL) {
        return bad(m, err, "a call of something that is no function");
    }
    switch (callable->global->callable) {
    case MAKE_DICT:
        if (args->items->len == 0) {
            push(m, value_new(m, DICT));
            return true;
        }
        break;
    case MAKE_TENSOR:
        return make_tensor(m, args, err);
    case MAKE_PARAMETER: {
        const Value *tensor = item(args, 0, TENSOR);
        if (tensor) {
            push(m, value_new(m, TENSOR))->tensor = tensor->tensor;
            return true;
        }
        break;
    }
    case STORAGE_TYPE:
        break;
    }
    return bad(m, err, "a call with unexpected arguments");
}

static bool run_text(Machine *m, size_t width, GError **err) {
    uint64_t length;
    const uint8_t *text;
    if (!take_number(m, width, &length) || !take(m, (size_t)length, &text)) {
        return bad(m, err, "an unfinished text");
    }
    push(m, value_new(m, TEXT))->text = g_strndup((const char *)text, (size_t)length);
    return true;
}

static bool run_integer(Machine *m, size_t opcode, GError **err) {
    uint64_t number = 0, width = opcode == 'K' ? 1 : opcode == 'M' ? 2 : 4;
    if (opcode == 0x8a && (!take_number(m, 1, &width) || width > 8)) {
        return bad(m, err, "an integer of more than 64 bits");
    }
    if (width > 0 && !take_number(m, (size_t)width, &number)) {
        return bad(m, err, "an unfinished integer");
    }
    if (opcode == 'J') {
        number = (uint64_t)(int64_t)(int32_t)(uint32_t)number;
    } else if (opcode == 0x8a && width > 0 && width < 8 && number >> (8 * width - 1)) {
        number |= UINT64_MAX << (8 * width);
    }
    push(m, value_new(m, INTEGER))->integer = (int64_t)number;
    return true;
}

static bool run_push(Machine *m, size_t kind, G_GNUC_UNUSED GError **err) {
    push(m, value_new(m, (Kind)kind));
    return true;
}

/* Bytes that mean nothing here: the protocol's number, a frame's length. */
static bool run_skip(Machine *m, size_t count, GError **err) {
    const uint8_t *skipped;
    return take(m, count, &skipped) || bad(m, err, "an unfinished instruction");
}

static bool run_float(Machine *m, size_t width, GError **err) {
    push(m, value_new(m, OTHER));
    return run_skip(m, width, err);
}

static bool run_tuple(Machine *m, size_t count, GError **err) {
    Value *tuple = value_new(m, TUPLE);
    if (count > m->stack->len) {
        return bad(m, err, "a tuple of nothing");
    }
    for (guint i = m->stack->len - (guint)count; i < m->stack->len; i++) {
        g_ptr_array_add(tuple->items, g_ptr_array_index(m->stack, i));
    }
    g_ptr_array_set_size(m->stack, (int)(m->stack->len - (guint)count));
    push(m, tuple);
    return true;
}

/* SETITEM(S) and APPEND(S). */
static bool run_add(Machine *m, size_t opcode, GError **err) {
    const bool marked = opcode == 'u' || opcode == 'e';
    const Kind kind = opcode == 'u' || opcode == 's' ? DICT : LIST;
    g_autoptr(GPtrArray) added = g_ptr_array_new();
    if (marked && !take_marked(m, added)) {
        return bad(m, err, "items without a mark");
    }
    for (int i = 0; !marked && i < (kind == DICT ? 2 : 1); i++) {
        Value *value = pop(m);
        if (!value) {
            return bad(m, err, "items that are missing");
        }
        g_ptr_array_insert(added, 0, value);
    }
    const Value *target = top(m);
    if (!target || target->kind != kind || (kind == DICT && added->len % 2 != 0)) {
        return bad(m, err, "items for something that takes none");
    }
    for (guint i = 0; i < added->len; i++) {
        g_ptr_array_add(target->items, g_ptr_array_index(added, i));
    }
    return true;
}

static bool run_put(Machine *m, size_t width, GError **err) {
    uint64_t index = m->next_memo;
    if (width > 0 && !take_number(m, width, &index)) {
        return bad(m, err, "an unfinished memo");
    }
    if (!top(m)) {
        return bad(m, err, "a memo of nothing");
    }
    m->next_memo++;
    g_hash_table_insert(m->memo, GUINT_TO_POINTER((guint)index), top(m));
    return true;
}

static bool run_get(Machine *m, size_t width, GError **err) {
    uint64_t index;
    Value *value = NULL;
    if (take_number(m, width, &index)) {
        value = g_hash_table_lookup(m->memo, GUINT_TO_POINTER((guint)index));
    }
    if (!value) {
        return bad(m, err, "a memo that was never made");
    }
    push(m, value);
    return true;
}

static bool run_marked_tuple(Machine *m, G_GNUC_UNUSED size_t unused, GError **err) {
    Value *tuple = value_new(m, TUPLE);
    if (!take_marked(m, tuple->items)) {
        return bad(m, err, "a tuple without a mark");
    }
    push(m, tuple);
    return true;
}

/* BUILD gives an object its attributes; those of a state_dict (_metadata) mean nothing here. */
static bool run_build(Machine *m, G_GNUC_UNUSED size_t unused, GError **err) {
    const Value *state = pop(m), *object = top(m);
    if (!state || !object || (object->kind != DICT && object->kind != TENSOR)) {
        return bad(m, err, "attributes for something that takes none");
    }
    return true;
}

static const struct {
    uint8_t code;
    bool (*run)(Machine *m, size_t argument, GError **err);
    size_t argument;
} OPCODES[] = {
    {0x80, run_skip, 1}, /* PROTO */
    {0x95, run_skip, 8}, /* FRAME */
    {'(', run_push, MARK},       {'}', run_push, DICT},      {']', run_push, LIST},
    {')', run_push, TUPLE},      {'N', run_push, NONE},      {0x88, run_push, OTHER}, /* NEWTRUE */
    {0x89, run_push, OTHER},                                                          /* NEWFALSE */
    {'X', run_text, 4},          {0x8c, run_text, 1},                                 /* SHORT_BINUNICODE */
    {'J', run_integer, 'J'},     {'K', run_integer, 'K'},    {'M', run_integer, 'M'},
    {0x8a, run_integer, 0x8a}, /* LONG1 */
    {'G', run_float, 8},         {'t', run_marked_tuple, 0}, {0x85, run_tuple, 1},
    {0x86, run_tuple, 2},        {0x87, run_tuple, 3},       {'a', run_add, 'a'},
    {'e', run_add, 'e'},         {'s', run_add, 's'},        {'u', run_add, 'u'},
    {'q', run_put, 1},           {'r', run_put, 4},          {0x94, run_put, 0}, /* MEMOIZE */
    {'h', run_get, 1},           {'j', run_get, 4},          {'c', run_global, 0},
    {0x93, run_stack_global, 0}, /* STACK_GLOBAL */
    {'Q', run_persistent_id, 0}, {'R', run_reduce, 0},       {'b', run_build, 0},
};

static bool run_one(Machine *m, uint8_t opcode, GError **err) {
    for (size_t i = 0; i < G_N_ELEMENTS(OPCODES); i++) {
        if (OPCODES[i].code == opcode) {
            return OPCODES[i].run(m, OPCODES[i].argument, err);
        }
    }
    return lob_fail(
        err, LOB_ERROR_INPUT,
        "%s: its pickle uses the instruction 0x%02x, which a dictionary of tensors does not need; "
        "it is not run",
        m->weights->path, opcode);
}

/* Nested dictionaries ("state_dict", "model") become prefixes. */
static bool collect(Machine *m, const Value *dict, const char *prefix, int nesting, GError **err) {
    for (guint i = 0; i + 1 < dict->items->len; i += 2) {
        const Value *key = g_ptr_array_index(dict->items, i), *value = g_ptr_array_index(dict->items, i + 1);
        if (++m->visits > MAX_VISITS || nesting > MAX_NESTING) {
            return bad(m, err, "dictionaries without end");
        }
        if (key->kind != TEXT || (value->kind != TENSOR && value->kind != DICT)) {
            continue;
        }
        g_autofree char *name = g_strconcat(prefix, key->text, NULL);
        if (value->kind == DICT) {
            g_autofree char *inner = g_strconcat(name, ".", NULL);
            if (!collect(m, value, inner, nesting + 1, err)) {
                return false;
            }
        } else if (!lob_weights_add(m->weights, g_steal_pointer(&name), value->tensor)) {
            return lob_fail(err, LOB_ERROR_INPUT, "%s: two tensors are named %s%s", m->weights->path, prefix,
                            key->text);
        }
    }
    return true;
}

static bool run(Machine *m, GError **err) {
    for (;;) {
        const uint8_t *opcode;
        if (!take(m, 1, &opcode)) {
            return bad(m, err, "no end");
        }
        if (*opcode == '.') {
            break;
        }
        if (!run_one(m, *opcode, err)) {
            return false;
        }
        if (MAX(MAX(m->arena->len, m->stack->len), g_hash_table_size(m->memo)) > MAX_VALUES) {
            return lob_fail(err, LOB_ERROR_INPUT,
                            "%s: its pickle makes more than %d values; no list of tensors needs that many",
                            m->weights->path, (int)MAX_VALUES);
        }
    }
    const Value *root = pop(m);
    if (root && root->kind == TENSOR) {
        (void)lob_weights_add(m->weights, g_strdup(""), root->tensor);
        return true;
    }
    if (!root || root->kind != DICT) {
        return bad(m, err, "it holds no dictionary of tensors");
    }
    return collect(m, root, "", 0, err);
}

static bool find_pickle(const LobWeights *weights, GHashTable *entries, char **prefix, LobZipEntry *pickle,
                        GError **err) {
    GHashTableIter iter;
    void *key, *value;
    g_hash_table_iter_init(&iter, entries);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        const char *name = key;
        if (g_str_has_suffix(name, "/data.pkl")) {
            *pickle = *(LobZipEntry *)value;
            *prefix = g_strdup_printf("%.*s/data/", (int)(strlen(name) - strlen("/data.pkl")), name);
            if (pickle->size > MAX_PICKLE) {
                return lob_fail(err, LOB_ERROR_INPUT, "%s: its pickle is larger than any list of tensors",
                                weights->path);
            }
            return true;
        }
    }
    return lob_fail(err, LOB_ERROR_INPUT, "%s: a zip archive without data.pkl: not a PyTorch file",
                    weights->path);
}

bool lob_torch_parse(LobWeights *weights, GError **err) {
    g_autoptr(GHashTable) entries = lob_zip_entries(weights->path, weights->map, weights->size, err);
    g_autofree char *prefix = NULL;
    LobZipEntry pickle = {NULL, 0};
    if (!entries || !find_pickle(weights, entries, &prefix, &pickle, err)) {
        return false;
    }
    g_autoptr(GPtrArray) arena = g_ptr_array_new_with_free_func(value_free), stack = g_ptr_array_new();
    g_autoptr(GHashTable) memo = g_hash_table_new(NULL, NULL);
    Machine machine = {.weights = weights,
                       .entries = entries,
                       .prefix = prefix,
                       .at = pickle.data,
                       .end = pickle.data + pickle.size,
                       .arena = arena,
                       .stack = stack,
                       .memo = memo};
    return run(&machine, err);
}
