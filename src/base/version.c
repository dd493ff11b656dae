#include "base/base.h"
#include "lob_commit.h"

const char *lob_version_commit(void) {
    return LOB_COMMIT;
}
