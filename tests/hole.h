/* hole.h - a listener whose queue is full: whoever connects to it waits. */
#ifndef HOLE_H
#define HOLE_H

#include "test.h"

typedef struct hole {
    int listener, port;
    int crowd[3];
} hole;

/* At a port of one's own; 0: it chooses. False: that is not to be had. */
static inline bool hole_dig_at(hole *h, const char *host, int port)
{
    int i;

    for (i = 0; i < 3; i++)
        h->crowd[i] = -1;
    h->port = port;
    h->listener = test_peer_bind(host, &h->port);
    if (h->listener < 0)
        return false;
    listen(h->listener, 0);
    for (i = 0; i < 3; i++) {
        h->crowd[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (i > 0) /* the first one gets in */
            fcntl(h->crowd[i], F_SETFL, O_NONBLOCK);
        if (!test_peer_dial(h->crowd[i], host, h->port) && errno != EINPROGRESS)
            return ok(false, "a listener can be filled");
    }
    return true;
}

static inline bool hole_dig(hole *h)
{
    return hole_dig_at(h, "127.0.0.1", 0) || ok(false, "a full listener can be made");
}

static inline void hole_fill(hole *h)
{
    int i;

    for (i = 0; i < 3; i++)
        close(h->crowd[i]);
    close(h->listener);
}

#endif
