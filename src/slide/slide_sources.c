#include "slide/slide_internal.h"

const LobSlideSource *const lob_slide_sources[] = {&lob_source_openslide, NULL};
