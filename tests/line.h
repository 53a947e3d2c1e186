/* line.h - for tests that look closely at the bytes of a connection: a pattern that shows what was
   lost or came twice, a socket with both channels, and how to fill it. */
#ifndef LINE_H
#define LINE_H

#include "test.h"

#include <sys/ioctl.h>
#ifdef __linux__
#include <linux/sockios.h>
#endif

/* --- peers that look closely ------------------------------------------------------------------ */

static inline char pattern(size_t at)
{
    return (char)(at % 251);
}

static inline void fill_pattern(char *bytes, size_t size, size_t from)
{
    size_t i;

    for (i = 0; i < size; i++)
        bytes[i] = pattern(from + i);
}

typedef struct arrival {
    size_t total;
    bool intact; /* each byte is the pattern's */
    int end;     /* 0: in order, -ECONNRESET, -ETIMEDOUT */
} arrival;

static inline bool arrived(arrival *a, const char *bytes, ssize_t count)
{
    ssize_t i;

    for (i = 0; i < count; i++)
        a->intact = a->intact && bytes[i] == pattern(a->total + (size_t)i);
    if (count > 0)
        a->total += (size_t)count;
    return count > 0;
}

/* Receives all until the end, in pieces, while the selector runs for `pause` ms after each. */
static inline arrival receive_all(asocket_selector *running, int peer, int64_t pause)
{
    int64_t limit = test_clock() + (int64_t)10000000000 * test_slowness();
    arrival a = {0, true, -ETIMEDOUT};
    char bytes[16384];

    while (test_clock() < limit) {
        ssize_t count = recv(peer, bytes, sizeof bytes, MSG_DONTWAIT);

        if (count < 0 && errno == EAGAIN) {
            asocket_sleep(running, 1);
        } else if (!arrived(&a, bytes, count)) {
            a.end = count < 0 ? -errno : 0;
            break;
        } else if (pause) {
            asocket_sleep(running, pause);
        }
    }
    return a;
}

static inline bool all_arrived(asocket_selector *running, int peer, size_t size)
{
    arrival a = receive_all(running, peer, 0);

    if (a.total == size && a.intact && a.end == 0)
        return true;
    diag("%zu of %zu bytes came, %s, and ended with %s", a.total, size,
         a.intact ? "the right ones" : "WRONG ones", strerror(-a.end));
    return false;
}

/* Sends what fits without waiting: how much that was. */
static inline size_t send_what_fits(int peer, const char *bytes, size_t size)
{
    ssize_t count = send(peer, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);

    return count > 0 ? (size_t)count : 0;
}

/* --- a connection with both channels ---------------------------------------------------------- */

typedef struct line {
    test_pair pair;
    asocket_read_channel *in;
    asocket_write_channel *out;
} line;

/* A peer's kernel has received what it has not acknowledged yet, which would make room later: so
   many milliseconds. Unless it can be told to do so at once; or it has so little room that it is
   full with the first pieces, and says so. */
#ifdef TCP_QUICKACK
enum { LINE_ROOM = 32768, LINE_LATER = 0 };
#elif defined(_WIN32)
enum { LINE_ROOM = 8192, LINE_LATER = 20 };
#else
enum { LINE_ROOM = 32768, LINE_LATER = 100 };
#endif

/* A peer whose kernel takes little, in small pieces: it is soon full, and soon empty again. */
static inline int line_peer(int port)
{
    static const int room = LINE_ROOM, piece = 8000;
    struct timeval limit = {10, 0};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    test_peer_quiet(fd);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &piece, sizeof piece);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (fd < 0 || test_peer_dial(fd, "127.0.0.1", port))
        return fd;
    close(fd);
    return -1;
}

static inline bool line_open_on(asocket_selector *owner, line *l, int flags)
{
    asocket_builder builder = asocket_tcp(owner);
    asocket_address address;

    memset(l, 0, sizeof *l);
    l->pair.peer = -1;
    builder.send_buffer = 8192;
    builder.timeout = 5000;
    l->pair.server = asocket_bind(builder, "127.0.0.1", 0);
    if (l->pair.server && asocket_local_address(l->pair.server, &address) == ASOCKET_OK)
        l->pair.peer = line_peer(l->pair.port = address.port);
    if (l->pair.peer >= 0)
        l->pair.socket = asocket_accept(l->pair.server);
    if (!l->pair.socket)
        return ok(false, "a pair can be connected: %s", asocket_error_message(owner));
    l->in = asocket_open_read_channel(l->pair.socket);
    l->out = asocket_open_write_channel(l->pair.socket, flags);
    return true;
}

/* Now, where it can be told. */
static inline void acknowledge(int peer)
{
#ifdef TCP_QUICKACK
    static const int on = 1;

    setsockopt(peer, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
#else
    (void)peer;
#endif
}

/* How much the kernel has that the peer's has not acknowledged; 1: it does not tell. */
static inline int unacknowledged(asocket_handle handle)
{
    int bytes = 1;

#if defined(__linux__)
    ioctl(handle, SIOCOUTQ, &bytes);
#elif defined(SO_NWRITE)
    socklen_t size = sizeof bytes;

    getsockopt(handle, SOL_SOCKET, SO_NWRITE, &bytes, &size);
#else
    (void)handle;
#endif
    return bytes;
}

/* Writes until nothing fits any more, neither the kernel nor the channel: how many bytes. */
static inline size_t line_stuff(line *l)
{
    int64_t changed = test_clock();
    char bytes[1000];
    size_t total = 0;
    int still = 0, before = 0;

    asocket_set_timeout(l->pair.socket, 1);
    while (still < 4 || test_clock() - changed < LINE_LATER * 1000000) {
        int left = unacknowledged(asocket_native_handle(l->pair.socket));

        fill_pattern(bytes, sizeof bytes, total);
        if (asocket_write(l->out, bytes, sizeof bytes) >= 0)
            total += sizeof bytes, left = 0;
        else
            acknowledge(l->pair.peer);
        still = left && left == before ? still + 1 : 0;
        before = left;
        if (!still)
            changed = test_clock();
    }
    asocket_set_timeout(l->pair.socket, 5000);
    return total;
}

static inline void line_close(line *l)
{
    asocket_abort(l->pair.socket);
    test_pair_close(&l->pair);
}

#endif
