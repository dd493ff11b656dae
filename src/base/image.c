#include "base/base.h"

void lob_image_init(LobImage *image, int width, int height, int channels) {
    g_assert(width > 0 && height > 0 && (channels == 1 || channels == 3));
    image->width = width;
    image->height = height;
    image->channels = channels;
    image->data = g_malloc0_n((size_t)width * (size_t)height, (size_t)channels);
}

void lob_image_clear(LobImage *image) {
    g_free(image->data);
    *image = (LobImage){0};
}
