/* Writes the overview and the tissue mask of a slide as PNG files, for comparison with other programs.
 *
 * usage: tissue_masks otsu|hsv SLIDE MPP OVERVIEW.png MASK.png      (MPP 0: the file's own)
 * prints the um per pixel of the pictures, in x and y. */
#include "slide/slide.h"
#include "tissue/tissue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool write_both(char **argv, GError **err) {
    LobSlideSpec spec = {argv[2], g_ascii_strtod(argv[3], NULL), LOB_MPP_MANIFEST};
    g_autoptr(LobSlide) slide = lob_slide_open(&spec, err);
    g_auto(LobImage) overview = {0};
    g_auto(LobMask) mask = {0};
    LobTissueOptions options = lob_tissue_defaults;
    double scale_x, scale_y;
    options.method = strcmp(argv[1], "hsv") == 0 ? LOB_TISSUE_HSV : LOB_TISSUE_OTSU;
    if (slide == NULL || !lob_slide_overview(slide, options.mpp, &overview, &scale_x, &scale_y, err))
        return false;
    const LobSlideInfo *info = lob_slide_info(slide);
    printf("%.9g %.9g\n", scale_x * info->mpp_x, scale_y * info->mpp_y);
    return lob_tissue_mask(&overview, scale_x, scale_y, info->mpp_x, info->mpp_y, &options, &mask, err) &&
           lob_image_save_png(argv[4], &overview, err) && lob_image_save_png(argv[5], &mask.image, err);
}

int main(int argc, char **argv) {
    g_autoptr(GError) err = NULL;
    if (argc != 6) {
        fprintf(stderr, "usage: tissue_masks otsu|hsv SLIDE MPP OVERVIEW.png MASK.png\n");
        return LOB_EXIT_INPUT;
    }
    if (write_both(argv, &err))
        return LOB_EXIT_DONE;
    fprintf(stderr, "tissue_masks: %s\n", err->message);
    return lob_error_exit_code(err);
}
