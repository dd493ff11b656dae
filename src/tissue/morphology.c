/* Median, closing and connected parts on small images. */
#include "tissue/tissue_internal.h"

#include <math.h>
#include <string.h>

static int clamp_index(int i, int n) {
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

/* Adds (or with sign -1 takes away) the window's column x to the histogram of values. */
static void add_column(const LobImage *image, int x, int y, int radius, int sign, int histogram[256]) {
    int column = clamp_index(x, image->width);
    for (int dy = -radius; dy <= radius; dy++) {
        size_t row = (size_t)clamp_index(y + dy, image->height);
        histogram[image->data[row * (size_t)image->width + (size_t)column]] += sign;
    }
}

void lob_median_filter(LobImage *image, int radius) {
    if (radius < 1)
        return;
    int side = 2 * radius + 1, middle = side * side / 2;
    uint8_t *out = g_malloc((size_t)image->width * (size_t)image->height);
    for (int y = 0; y < image->height; y++) {
        int histogram[256] = {0};
        for (int x = -radius; x <= radius; x++)
            add_column(image, x, y, radius, 1, histogram);
        for (int x = 0; x < image->width; x++) {
            int below = 0, value = 0;
            while (below + histogram[value] <= middle)
                below += histogram[value++];
            out[(size_t)y * (size_t)image->width + (size_t)x] = (uint8_t)value;
            add_column(image, x - radius, y, radius, -1, histogram);
            add_column(image, x + radius + 1, y, radius, 1, histogram);
        }
    }
    g_free(image->data);
    image->data = out;
}

/* sums [height][width + 1]: how many pixels equal to `value` lie left of x in each row. */
static void row_sums(const LobImage *mask, uint8_t value, int32_t *sums) {
    for (int y = 0; y < mask->height; y++) {
        int32_t *row = sums + (size_t)y * (size_t)(mask->width + 1);
        row[0] = 0;
        for (int x = 0; x < mask->width; x++)
            row[x + 1] = row[x] + (mask->data[(size_t)y * (size_t)mask->width + (size_t)x] == value);
    }
}

/* Every pixel within the disc around a pixel equal to `value` becomes `value`. */
static void grow(LobImage *mask, uint8_t value, double radius) {
    size_t stride = (size_t)mask->width + 1;
    g_autofree int32_t *sums = g_new(int32_t, stride * (size_t)mask->height);
    row_sums(mask, value, sums);
    for (int dy = -(int)radius; dy <= (int)radius; dy++) {
        int half = (int)sqrt(radius * radius - dy * dy);
        for (int y = MAX(0, -dy); y < MIN(mask->height, mask->height - dy); y++) {
            const int32_t *row = sums + (size_t)(y + dy) * stride;
            uint8_t *out = mask->data + (size_t)y * (size_t)mask->width;
            for (int x = 0; x < mask->width; x++)
                if (row[MIN(x + half + 1, mask->width)] > row[MAX(x - half, 0)])
                    out[x] = value;
        }
    }
}

void lob_close_disc(LobImage *mask, int diameter) {
    if (diameter < 2)
        return;
    grow(mask, 255, diameter / 2.0);
    grow(mask, 0, diameter / 2.0);
}

static uint32_t root_of(uint32_t *parent, uint32_t i) {
    while (parent[i] != i) {
        parent[i] = parent[parent[i]];
        i = parent[i];
    }
    return i;
}

static void join(uint32_t *parent, uint32_t a, uint32_t b) {
    a = root_of(parent, a);
    b = root_of(parent, b);
    if (a < b)
        parent[b] = a;
    else
        parent[a] = b;
}

/* Joins each pixel to its equal neighbours above and to the left. parent [height*width]. */
static void join_neighbours(const LobImage *mask, uint8_t value, uint32_t *parent) {
    uint32_t width = (uint32_t)mask->width;
    bool diagonal = value == 255;
    for (uint32_t y = 0; y < (uint32_t)mask->height; y++)
        for (uint32_t x = 0; x < width; x++) {
            uint32_t i = y * width + x;
            if (mask->data[i] != value)
                continue;
            if (x > 0 && mask->data[i - 1] == value)
                join(parent, i, i - 1);
            if (y > 0 && mask->data[i - width] == value)
                join(parent, i, i - width);
            if (diagonal && y > 0 && x > 0 && mask->data[i - width - 1] == value)
                join(parent, i, i - width - 1);
            if (diagonal && y > 0 && x + 1 < width && mask->data[i - width + 1] == value)
                join(parent, i, i - width + 1);
        }
}

void lob_parts_find(const LobImage *mask, uint8_t value, LobParts *parts) {
    size_t n = (size_t)mask->width * (size_t)mask->height;
    uint32_t *parent = g_new(uint32_t, n);
    for (size_t i = 0; i < n; i++)
        parent[i] = (uint32_t)i;
    join_neighbours(mask, value, parent);
    parts->label = g_new0(uint32_t, n);
    parts->n = 0;
    for (size_t i = 0; i < n; i++)
        if (mask->data[i] == value) {
            uint32_t root = root_of(parent, (uint32_t)i);
            parts->label[i] = root == i ? ++parts->n : parts->label[root];
        }
    g_free(parent);
    parts->area = g_new0(uint64_t, (size_t)parts->n + 1);
    parts->border = g_new0(bool, (size_t)parts->n + 1);
    for (size_t i = 0; i < n; i++) {
        size_t x = i % (size_t)mask->width, y = i / (size_t)mask->width;
        uint32_t label = parts->label[i];
        parts->area[label]++;
        if (x == 0 || y == 0 || x + 1 == (size_t)mask->width || y + 1 == (size_t)mask->height)
            parts->border[label] = true;
    }
}

void lob_parts_clear(LobParts *parts) {
    g_free(parts->label);
    g_free(parts->area);
    g_free(parts->border);
    *parts = (LobParts){0};
}

void lob_clean_parts(LobImage *mask, double min_object, double min_hole, bool keep_holes) {
    size_t n = (size_t)mask->width * (size_t)mask->height;
    g_auto(LobParts) objects = {0}, holes = {0};
    lob_parts_find(mask, 255, &objects);
    for (size_t i = 0; i < n; i++)
        if (objects.label[i] > 0 && (double)objects.area[objects.label[i]] < min_object)
            mask->data[i] = 0;
    lob_parts_find(mask, 0, &holes);
    for (size_t i = 0; i < n; i++) {
        uint32_t hole = holes.label[i];
        if (hole > 0 && !holes.border[hole] && (!keep_holes || (double)holes.area[hole] < min_hole))
            mask->data[i] = 255;
    }
}
