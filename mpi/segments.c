/* MPI keeps the memory its ranks share under names in /dev/shm until MPI_Finalize, and where the launcher is
 * killed nobody removes them. The names serve to find the memory: once each rank of a node has mapped that of
 * all others, they are not needed, and without them the memory ends with its last rank. MPI_Finalize
 * complains of names it does not find, so it is given empty files to remove. */
#include "mpi/world.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static GPtrArray *unnamed; /* on the first rank of a node: paths whose names were removed */

/* The path of a segment of Open MPI's shared-memory transport (version 4: vader, 5: sm) in a line of
 * /proc/self/maps, or NULL. */
static const char *segment_path(const char *line) {
    const char *path = strchr(line, '/');
    const char *name = path ? strrchr(path, '/') + 1 : "";
    return g_str_has_prefix(name, "vader_segment.") || g_str_has_prefix(name, "sm_segment.") ? path : NULL;
}

static GPtrArray *mapped_segments(void) {
    GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *maps = NULL;
    if (!g_file_get_contents("/proc/self/maps", &maps, NULL, NULL))
        return paths;
    g_auto(GStrv) lines = g_strsplit(maps, "\n", -1);
    for (char **line = lines; *line; line++) {
        const char *path = segment_path(*line);
        if (path && !g_str_has_suffix(path, " (deleted)") &&
            !g_ptr_array_find_with_equal_func(paths, path, g_str_equal, NULL))
            g_ptr_array_add(paths, g_strdup(path));
    }
    return paths;
}

void lob_world_unname_segments(const LobWorld *world) {
    const MPI_Comm node = lob_world_node_comm(world);
    g_autoptr(GPtrArray) paths = mapped_segments();
    double complete = paths->len == (guint)world->node_size;
    lob_mpi_allreduce_sum(node, &complete, 1);
    if (world->node_rank != 0 || (int)complete != world->node_size)
        return;
    for (guint i = 0; i < paths->len; i++)
        (void)unlink(paths->pdata[i]); /* one that stays is only untidy */
    unnamed = g_steal_pointer(&paths);
}

void lob_world_rename_segments(void) {
    for (guint i = 0; unnamed && i < unnamed->len; i++) {
        const int fd = open(unnamed->pdata[i], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0)
            close(fd);
    }
    g_clear_pointer(&unnamed, g_ptr_array_unref);
}
