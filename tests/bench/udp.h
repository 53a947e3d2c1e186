/* udp.h - what the datagram servers and their load agree on. */
#ifndef UDP_H
#define UDP_H

#include "bench.h"

#include <netinet/udp.h>
#include <sys/uio.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum {
    BATCH = 64,             /* datagrams per call */
    SLOT = 2048,            /* room for one */
    RECEIVE_BUFFER = 212992 /* of both sides: holds what the flows have in flight */
};

enum work { WORK_ECHO, WORK_IN, WORK_OUT };

/* What asks a server for a flow. */
struct request {
    uint32_t count, size;
};

struct segmentation {
    union {
        size_t alignment;
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
    } control;
};

static inline enum work parse_work(const char *name)
{
    const char *const names[] = {"echo", "in", "out"};
    int i;

    for (i = WORK_ECHO; i <= WORK_OUT; i++) {
        if (strcmp(name, names[i]) == 0)
            return (enum work)i;
    }
    fprintf(stderr, "unknown work: %s\n", name);
    exit(2);
}

static inline bool take_request(struct request *request, const char *bytes, size_t size)
{
    if (size != sizeof *request)
        return false;
    memcpy(request, bytes, sizeof *request);
    return request->size > 0 && request->size <= SLOT;
}

/* Has the kernel cut the message into datagrams of this size (udp(7)). */
static inline void segment(struct msghdr *message, struct segmentation *segmentation, uint16_t size)
{
    struct cmsghdr *header;

    message->msg_control = segmentation->control.bytes;
    message->msg_controllen = sizeof segmentation->control.bytes;
    header = CMSG_FIRSTHDR(message);
    header->cmsg_level = IPPROTO_UDP;
    header->cmsg_type = UDP_SEGMENT;
    header->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(header), &size, sizeof size);
}

#endif
