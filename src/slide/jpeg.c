#include "slide/jpeg.h"

#include <setjmp.h>

typedef struct {
    struct jpeg_error_mgr base;
    jmp_buf out;
    char text[JMSG_LENGTH_MAX];
} Trouble;

_Noreturn static void give_up(j_common_ptr jpeg) {
    Trouble *trouble = (Trouble *)(void *)jpeg->err;
    jpeg->err->format_message(jpeg, trouble->text);
    longjmp(trouble->out, 1);
}

/* ---- decoding ---- */

/* Warnings are of damaged data, and errors to OpenSlide too. */
static void on_message(j_common_ptr jpeg, int level) {
    if (level < 0)
        give_up(jpeg);
}

static bool start(struct jpeg_decompress_struct *jpeg, const LobTiffJpeg *form, const uint8_t *data,
                  size_t size, J_COLOR_SPACE space) {
    if (form->tables != NULL) {
        jpeg_mem_src(jpeg, form->tables, form->tables_size);
        if (jpeg_read_header(jpeg, FALSE) != JPEG_HEADER_TABLES_ONLY)
            return false;
    }
    jpeg_mem_src(jpeg, data, size);
    if (jpeg_read_header(jpeg, TRUE) != JPEG_HEADER_OK || jpeg->num_components != 3)
        return false;
    jpeg->jpeg_color_space = form->ycbcr ? JCS_YCbCr : JCS_RGB;
    jpeg->out_color_space = space;
    return jpeg_start_decompress(jpeg) && jpeg->output_width == (JDIMENSION)form->width &&
           jpeg->output_height == (JDIMENSION)form->height;
}

bool lob_tiff_jpeg_decode(const LobTiffJpeg *form, const uint8_t *data, size_t size, J_COLOR_SPACE space,
                          uint8_t *pixels) {
    struct jpeg_decompress_struct jpeg;
    Trouble trouble;
    jpeg.err = jpeg_std_error(&trouble.base);
    trouble.base.error_exit = give_up;
    trouble.base.emit_message = on_message;
    if (setjmp(trouble.out) != 0) {
        jpeg_destroy_decompress(&jpeg);
        return false;
    }
    jpeg_create_decompress(&jpeg);
    bool ok = start(&jpeg, form, data, size, space);
    while (ok && jpeg.output_scanline < jpeg.output_height) {
        JSAMPROW row =
            pixels + (size_t)jpeg.output_scanline * jpeg.output_width * (size_t)jpeg.output_components;
        ok = jpeg_read_scanlines(&jpeg, &row, 1) == 1;
    }
    jpeg_destroy_decompress(&jpeg);
    return ok;
}

/* ---- compressing ---- */

bool lob_jpeg_compress(const uint8_t *rgb, int width, int height, int quality, unsigned char **data,
                       unsigned long *size, GError **err) {
    struct jpeg_compress_struct jpeg;
    Trouble trouble = {0};
    jpeg.err = jpeg_std_error(&trouble.base);
    trouble.base.error_exit = give_up;
    if (setjmp(trouble.out)) {
        jpeg_destroy_compress(&jpeg);
        return lob_fail(err, LOB_ERROR_INTERNAL, "a picture of %d x %d px: %s", width, height, trouble.text);
    }
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, data, size);
    jpeg.image_width = (JDIMENSION)width;
    jpeg.image_height = (JDIMENSION)height;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, quality, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    while (jpeg.next_scanline < jpeg.image_height) {
        JSAMPROW row = (JSAMPROW)(rgb + 3 * (size_t)width * jpeg.next_scanline);
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    return true;
}
