/* scratch.c removes all temporary files at the end of a test program; what is large can go earlier. */
#ifndef LOB_TEST_SCRATCH_H
#define LOB_TEST_SCRATCH_H

/* A folder and all below it; returns 0, or -1 with errno. */
int scratch_remove(const char *folder);

#endif
