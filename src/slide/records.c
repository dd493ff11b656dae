/* Records over a local socket, with descriptors; and the layout of the shared memory. */
#include "slide/reader_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

uint64_t lob_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static size_t round_up(size_t n) {
    return (n + 4095) / 4096 * 4096;
}

static size_t buffer_size(const LobReaderLimits *limits) {
    size_t tile = 3 * (size_t)limits->tile_size * (size_t)limits->tile_size;
    return round_up(limits->max_tiles * 9) + round_up(LOB_REASON_SIZE) + round_up(limits->max_tiles * tile);
}

size_t lob_shared_size(const LobReaderLimits *limits) {
    return round_up(sizeof(LobShared)) + 2 * buffer_size(limits);
}

LobTileBuffer lob_shared_buffer(void *shared, const LobReaderLimits *limits, uint32_t buffer) {
    uint8_t *start = (uint8_t *)shared + round_up(sizeof(LobShared)) + (buffer & 1) * buffer_size(limits);
    LobTileBuffer out;
    out.xy = (int32_t(*)[2])(void *)start;
    out.status = start + 8 * limits->max_tiles;
    out.reason = (char *)(start + round_up(limits->max_tiles * 9));
    out.rgb = start + round_up(limits->max_tiles * 9) + round_up(LOB_REASON_SIZE);
    return out;
}

typedef union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(2 * sizeof(int))];
} Ancillary;

ssize_t lob_record_send(int fd, const void *record, size_t size, const int *fds, int n_fds) {
    struct iovec part = {(void *)record, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    Ancillary extra;
    if (n_fds > 0) {
        memset(&extra, 0, sizeof extra);
        message.msg_control = extra.bytes;
        message.msg_controllen = CMSG_SPACE((size_t)n_fds * sizeof(int));
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN((size_t)n_fds * sizeof(int));
        memcpy(CMSG_DATA(head), fds, (size_t)n_fds * sizeof(int));
    }
    ssize_t sent;
    do
        sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent;
}

ssize_t lob_record_receive(int fd, void *record, size_t size, int *fds, int n_fds) {
    struct iovec part = {record, size};
    Ancillary extra;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = extra.bytes, .msg_controllen = sizeof extra.bytes};
    for (int i = 0; i < n_fds; i++)
        fds[i] = -1;
    ssize_t got;
    do
        got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return got;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head != NULL; head = CMSG_NXTHDR(&message, head))
        if (head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS) {
            size_t bytes = head->cmsg_len - CMSG_LEN(0);
            memcpy(fds, CMSG_DATA(head), MIN(bytes, (size_t)n_fds * sizeof(int)));
        }
    return got;
}
