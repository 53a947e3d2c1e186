/* Flows of datagrams, which the kernel cuts from one send and joins to one receive (udp(7)): what
   the caller sends and gets is the same as without, whatever call it is and wherever the socket
   goes; where the kernel refuses, and where it does not pay, it is left alone. */
#include "test.h"

#ifndef __linux__

int main(void)
{
    skip_all("flows are Linux' own");
}

#else

#include <netinet/udp.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { SIZE = 100, RUN = 50, RUNS = 6, SLOT = 2000 };

static asocket_selector *selector;

/* --- the system, watched: these are found before the C library's ------------------------------ */

static int joins, parts;   /* UDP_GRO was switched on, off */
static int join_error;     /* with which it is refused */
static int receive_error;  /* with which the next recvmsg fails */
static int segments_until; /* longer datagrams are cut by no path; 0: by every one */
static int segmented;      /* messages that the kernel was asked to cut */

int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    if (level == IPPROTO_UDP && name == UDP_GRO) {
        int on;

        memcpy(&on, value, sizeof on);
        *(on ? &joins : &parts) += 1;
        if (join_error) {
            errno = join_error;
            return -1;
        }
    }
    return (int)syscall(SYS_setsockopt, fd, level, name, value, size);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    if (receive_error) {
        errno = receive_error;
        receive_error = 0;
        return -1;
    }
    return (ssize_t)syscall(SYS_recvmsg, fd, message, flags);
}

static int cut_size(const struct msghdr *message)
{
    const struct cmsghdr *control = CMSG_FIRSTHDR(message);
    uint16_t size = 0;

    if (control)
        memcpy(&size, CMSG_DATA(control), sizeof size);
    return size;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, test_message_flags flags)
{
    unsigned i, good = 0;

    for (i = 0; i < count && good == i; i++) {
        int size = cut_size(&messages[i].msg_hdr);

        segmented += size > 0;
        good += !segments_until || size <= segments_until;
    }
    if (!good) {
        errno = EMSGSIZE;
        return -1;
    }
    return (int)syscall(SYS_sendmmsg, fd, messages, good, flags);
}

/* --- sending and receiving -------------------------------------------------------------------- */

static char bytes[RUNS * RUN][SLOT];
static asocket_datagram incoming[RUNS * RUN];

static asocket_address address_of(const asocket *socket)
{
    asocket_address address;

    asocket_local_address(socket, &address);
    return address;
}

static asocket *bound(void)
{
    asocket_builder udp = asocket_udp(selector);
    asocket *made;

    udp.timeout = 5000;
    udp.receive_buffer = 1 << 20;
    made = asocket_bind(udp, "127.0.0.1", 0);
    if (!made)
        ok(false, "a socket can be bound: %s", asocket_error_message(selector));
    return made;
}

/* Datagram i of a flow is filled with i; the last is shorter. */
static size_t size_of(size_t i, size_t count)
{
    return i + 1 < count ? SIZE : SIZE / 2;
}

/* In one send that the kernel cuts, by a plain socket. */
static bool send_cut(int peer, const asocket *to, size_t count)
{
    static char flow[RUN * SIZE];
    union {
        size_t alignment;
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
    } control;
    struct sockaddr_in native;
    struct msghdr message;
    struct iovec piece;
    asocket_address address = address_of(to);
    uint16_t size = SIZE;
    size_t i;

    for (i = 0; i < count; i++)
        memset(flow + i * SIZE, (int)i, SIZE);
    asocket_address_to_native(&address, &native, sizeof native);
    memset(&message, 0, sizeof message);
    memset(&control, 0, sizeof control);
    piece.iov_base = flow;
    piece.iov_len = (count - 1) * SIZE + size_of(count - 1, count);
    message.msg_name = &native;
    message.msg_namelen = sizeof native;
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    CMSG_FIRSTHDR(&message)->cmsg_level = IPPROTO_UDP;
    CMSG_FIRSTHDR(&message)->cmsg_type = UDP_SEGMENT;
    CMSG_FIRSTHDR(&message)->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &size, sizeof size);
    return sendmsg(peer, &message, 0) == (ssize_t)piece.iov_len;
}

/* One by one. */
static void send_single(int peer, const asocket *to, size_t count)
{
    struct sockaddr_in native;
    asocket_address address = address_of(to);
    char datagram[SIZE];
    size_t i;

    asocket_address_to_native(&address, &native, sizeof native);
    for (i = 0; i < count; i++) {
        memset(datagram, (int)i, sizeof datagram);
        sendto(peer, datagram, size_of(i, count), 0, (struct sockaddr *)&native, sizeof native);
    }
}

static void prepare(size_t capacity)
{
    size_t i;

    memset(bytes, 0xA5, sizeof bytes);
    memset(incoming, 0xA5, sizeof incoming);
    for (i = 0; i < RUNS * RUN; i++) {
        incoming[i].data = bytes[i];
        incoming[i].capacity = capacity;
    }
}

static size_t receive_flow(asocket *socket, size_t count)
{
    size_t have = 0;

    prepare(SLOT);
    while (have < count) {
        int got = asocket_receive_many(socket, incoming + have, RUNS * RUN - have);

        if (got <= 0)
            break;
        have += (size_t)got;
    }
    return have;
}

/* Whether they are those of flows of `count` datagrams each. */
static bool are_flows(size_t have, size_t count)
{
    size_t i, k;

    for (i = 0; i < have; i++) {
        const char *data = (const char *)incoming[i].data;

        if (incoming[i].size != size_of(i % count, count) || incoming[i].truncated) {
            diag("datagram %d has %d bytes", (int)i, (int)incoming[i].size);
            return false;
        }
        for (k = 0; k < SLOT; k++) {
            int expected = k < incoming[i].size ? (int)(i % count) : 0xA5;

            if ((unsigned char)data[k] != expected)
                return false;
        }
    }
    return true;
}

/* Until the socket has the kernel join, if that can be: a flow has gone through it. */
static bool warm(asocket *socket, int peer)
{
    int before = joins;
    size_t i;

    for (i = 0; i < RUNS; i++) {
        if (!send_cut(peer, socket, RUN))
            return false; /* this kernel does not cut */
        if (receive_flow(socket, RUN) != RUN || !are_flows(RUN, RUN))
            return !ok(false, "a flow is received before it is joined");
    }
    send_cut(peer, socket, RUN); /* now it is tried */
    return receive_flow(socket, RUN) == RUN && joins == before + 1 && !parts;
}

/* A socket that has flows joined, and the peer that sends them. False: the kernel cannot. */
typedef struct flow {
    asocket *socket;
    int peer;
} flow;

static bool open_flow(flow *opened)
{
    int on = 1, probe = socket(AF_INET, SOCK_DGRAM, 0);
    bool can = syscall(SYS_setsockopt, probe, IPPROTO_UDP, UDP_GRO, &on, sizeof on) == 0;

    close(probe);
    joins = parts = 0;
    opened->socket = bound();
    opened->peer = socket(AF_INET, SOCK_DGRAM, 0);
    can = can && send_cut(opened->peer, opened->socket, 1) && receive_flow(opened->socket, 1) == 1;
    if (!can)
        skip(1, "this kernel does not cut and join datagrams");
    else
        ok(warm(opened->socket, opened->peer), "a long flow has the kernel join");
    if (!can)
        asocket_close(opened->socket);
    if (!can)
        close(opened->peer);
    return can;
}

static void close_flow(flow *opened)
{
    close(opened->peer);
    asocket_close(opened->socket);
}

static uint64_t calls(void)
{
    asocket_statistics statistics;

    asocket_stats(selector, &statistics);
    return statistics.system_calls;
}

/* Answers at once. */
static ptrdiff_t receive_now(asocket *socket, asocket_datagram *datagram)
{
    ptrdiff_t count;

    asocket_set_timeout(socket, ASOCKET_NO_WAIT);
    count = asocket_receive(socket, datagram);
    asocket_set_timeout(socket, 5000);
    return count;
}

/* --- joined ----------------------------------------------------------------------------------- */

static void test_many(void)
{
    flow f;
    uint64_t before;
    size_t i;

    if (!open_flow(&f))
        return;
    before = calls();
    for (i = 0; i < RUNS; i++)
        send_cut(f.peer, f.socket, RUN);
    is_int(receive_flow(f.socket, RUNS * RUN), RUNS * RUN, "joined: many at a time all come");
    ok(are_flows(RUNS * RUN, RUN), "joined: as they were cut, in order");
    ok(calls() - before <= 4 * RUNS, "joined: %d system calls for %d", (int)(calls() - before),
       RUNS * RUN);
    is_status(receive_now(f.socket, &incoming[0]), ASOCKET_EAGAIN, "joined: then there is none");
    ok(incoming[1].address.port != 0 && incoming[1].address.port == incoming[0].address.port,
       "joined: each has its sender");
    is_int(parts, 0, "joined: it goes on");
    close_flow(&f);
}

/* A batch that ends in the middle of a joined one. */
static void test_few_at_a_time(void)
{
    flow f;
    size_t have = 0, calls_made = 0;

    if (!open_flow(&f))
        return;
    send_cut(f.peer, f.socket, RUN);
    prepare(SLOT);
    while (have < RUN && calls_made++ < RUN) {
        int got = asocket_receive_many(f.socket, incoming + have, have + 7 < RUN ? 7 : RUN - have);

        if (got <= 0)
            break;
        have += (size_t)got;
    }
    is_int(have, RUN, "joined: seven at a time all come");
    is_int(calls_made, (RUN + 6) / 7, "joined: seven each");
    ok(are_flows(RUN, RUN), "joined: in order");
    close_flow(&f);
}

static void count_calls(asocket_selector *unused, void *argument)
{
    (void)unused;
    ++*(int *)argument;
}

/* What came with others waits in the socket; the kernel knows nothing of it. */
static void test_on_ready(void)
{
    int called = 0;
    flow f;

    if (!open_flow(&f))
        return;
    send_cut(f.peer, f.socket, RUN);
    prepare(SLOT);
    is_int(asocket_receive_many(f.socket, incoming, 7), 7, "joined: some of a flow");
    asocket_on_ready(f.socket, ASOCKET_READ, count_calls, &called);
    asocket_poll(selector, 0);
    is_int(called, 1, "joined: on_ready knows that there are more");
    is_int(receive_now(f.socket, &incoming[7]), SIZE, "joined: which come at once");
    is_int(asocket_receive_many(f.socket, incoming + 8, RUN), RUN - 8, "joined: all of them");
    ok(are_flows(RUN, RUN), "joined: in order");
    asocket_on_ready(f.socket, ASOCKET_READ, count_calls, &called);
    asocket_poll(selector, 0);
    is_int(called, 1, "joined: then there are none");
    close_flow(&f);
}

static void test_one_by_one(void)
{
    flow f;
    size_t i;

    if (!open_flow(&f))
        return;
    send_cut(f.peer, f.socket, RUN);
    prepare(SLOT);
    for (i = 0; i < RUN; i++)
        if (asocket_receive(f.socket, &incoming[i]) != (ptrdiff_t)size_of(i, RUN))
            break;
    is_int(i, RUN, "joined: a receive of one gets one");
    ok(are_flows(RUN, RUN), "joined: whole and in order");

    send_cut(f.peer, f.socket, 2);
    incoming[0].capacity = 10;
    is_int(asocket_receive(f.socket, &incoming[0]), 10, "joined: a buffer too small is filled");
    ok(incoming[0].truncated && bytes[0][10] == 0, "joined: and no byte more; it says so");
    is_int(asocket_receive_from(f.socket, bytes[0], SLOT, &incoming[0].address), SIZE / 2,
           "joined: the next one is whole");

    send_cut(f.peer, f.socket, 1);
    send_single(f.peer, f.socket, 1);
    ok(asocket_receive(f.socket, &incoming[1]) == SIZE / 2 &&
           asocket_receive(f.socket, &incoming[2]) == SIZE / 2,
       "joined: single ones come as before");
    close_flow(&f);
}

static void test_senders_and_sizes(void)
{
    flow f;
    int other = socket(AF_INET, SOCK_DGRAM, 0);
    size_t i, good = 0;

    if (!open_flow(&f)) {
        close(other);
        return;
    }
    send_cut(f.peer, f.socket, 20);
    send_cut(other, f.socket, 20);
    send_single(f.peer, f.socket, 1);
    sendto(f.peer, "", 0, 0, NULL, 0);
    is_int(receive_flow(f.socket, 41), 41, "joined: flows of two senders come");
    for (i = 0; i < 20; i++)
        good += incoming[i].address.port == incoming[0].address.port &&
                incoming[20 + i].address.port == incoming[20].address.port;
    is_int(good, 20, "joined: each one's with its address");
    ok(incoming[0].address.port != incoming[20].address.port &&
           incoming[40].address.port == incoming[0].address.port,
       "joined: and they are two");
    ok(are_flows(40, 20), "joined: none of them mixed");
    close(other);
    close_flow(&f);
}

static void test_empty_one(void)
{
    flow f;
    struct sockaddr_in native;
    asocket_address address;

    if (!open_flow(&f))
        return;
    address = address_of(f.socket);
    asocket_address_to_native(&address, &native, sizeof native);
    sendto(f.peer, "", 0, 0, (struct sockaddr *)&native, sizeof native);
    send_single(f.peer, f.socket, 1);
    prepare(SLOT);
    is_int(asocket_receive_many(f.socket, incoming, 2), 2, "joined: an empty one is one");
    ok(incoming[0].size == 0 && incoming[1].size == SIZE / 2, "P1: and no end");
    close_flow(&f);
}

/* An error between two receives belongs to the next call. */
static void test_error(void)
{
    flow f;

    if (!open_flow(&f))
        return;
    send_single(f.peer, f.socket, 1);
    receive_error = ECONNREFUSED;
    is_status(asocket_receive_many(f.socket, incoming, 2), ASOCKET_ECONNREFUSED,
              "joined: an error is told");
    is_int(receive_flow(f.socket, 1), 1, "P7: what came is still there");
    send_cut(f.peer, f.socket, 10);
    prepare(SLOT);
    is_int(asocket_receive_many(f.socket, incoming, 1), 1, "joined: what comes then is received");
    receive_error = ECONNREFUSED;
    is_int(asocket_receive_many(f.socket, incoming + 1, 20), 9, "joined: so is what was joined");
    ok(are_flows(10, 10), "joined: in order");
    is_status(asocket_receive_many(f.socket, incoming, 20), ASOCKET_ECONNREFUSED,
              "joined: an error after it is the next call's");
    is_status(receive_now(f.socket, incoming), ASOCKET_EAGAIN, "P10: and of that one only");
    close_flow(&f);
}

/* --- when it is given up, or refused ---------------------------------------------------------- */

static void test_given_up(void)
{
    size_t full;
    flow f;
    int i;

    if (!open_flow(&f))
        return;
    full = test_selector_memory.bytes;
    for (i = 0; i < 3 && !parts; i++) {
        send_single(f.peer, f.socket, RUN);
        is_int(receive_flow(f.socket, RUN), RUN, "not joined: singles come");
        ok(are_flows(RUN, RUN), "not joined: as they were sent");
    }
    is_int(parts, 1, "not joined: it is given up");
    is_status(receive_now(f.socket, incoming), ASOCKET_EAGAIN, "not joined: nothing is left");
    ok(test_selector_memory.bytes + 65536 <= full, "P5: nor is its memory");
    for (i = 0; i < RUNS; i++) {
        send_cut(f.peer, f.socket, RUN);
        if (receive_flow(f.socket, RUN) != RUN || !are_flows(RUN, RUN))
            break;
    }
    is_int(i, RUNS, "not joined: flows still come");
    is_int(joins, 1, "not joined: it is not tried again so soon");
    for (i = 0; i < 100 && joins == 1; i++) {
        send_cut(f.peer, f.socket, RUN);
        if (receive_flow(f.socket, RUN) != RUN || !are_flows(RUN, RUN))
            break;
    }
    is_int(joins, 2, "not joined: but later");
    send_cut(f.peer, f.socket, RUN);
    ok(receive_flow(f.socket, RUN) == RUN && are_flows(RUN, RUN), "joined again");
    close_flow(&f);
}

/* The kernel tells where the parts of a joined one end only while it joins. */
static void test_given_up_before_a_flow(void)
{
    enum { SINGLE = 70 }; /* two rounds: a flow was in the first one */
    flow f;

    if (!open_flow(&f))
        return;
    send_single(f.peer, f.socket, SINGLE);
    send_cut(f.peer, f.socket, RUN);
    is_int(receive_flow(f.socket, SINGLE + RUN), SINGLE + RUN,
           "what was joined before it was given up comes apart");
    send_single(f.peer, f.socket, SINGLE);
    receive_flow(f.socket, SINGLE);
    is_status(receive_now(f.socket, &incoming[0]), ASOCKET_EAGAIN, "then there is none");
    is_int(parts, 1, "it is given up when nothing is left");
    send_cut(f.peer, f.socket, RUN);
    ok(receive_flow(f.socket, RUN) == RUN && are_flows(RUN, RUN), "all goes on without");
    close_flow(&f);
}

/* What is in the queue when it is switched on cannot be joined any more, and is no reason to give
   up. */
static void test_full_queue(void)
{
    flow f;
    size_t have = 0, i;
    uint64_t before;

    if (!open_flow(&f))
        return;
    asocket_close(f.socket);
    f.socket = bound();
    joins = parts = 0;
    for (i = 0; i < RUNS + 2; i++)
        send_cut(f.peer, f.socket, RUN);
    prepare(SLOT);
    while (have < (RUNS + 2) * RUN) {
        int got = asocket_receive_many(f.socket, incoming, 40);

        if (got <= 0)
            break;
        have += (size_t)got;
    }
    is_int(have, (RUNS + 2) * RUN, "a full queue: all of it comes");
    is_int(joins, 1, "a full queue: meanwhile the kernel is told to join");
    is_int(parts, 0, "a full queue: which is not given up for what came before");
    before = calls();
    for (i = 0; i < RUNS; i++)
        send_cut(f.peer, f.socket, RUN);
    ok(receive_flow(f.socket, RUNS * RUN) == RUNS * RUN && are_flows(RUNS * RUN, RUN),
       "a full queue: what comes then is received");
    ok(calls() - before <= 4 * RUNS, "a full queue: joined");
    close_flow(&f);
}

static void test_refused(void)
{
    asocket *socket_ = bound();
    int peer = socket(AF_INET, SOCK_DGRAM, 0), i;

    joins = parts = 0;
    join_error = ENOPROTOOPT;
    for (i = 0; i < 2 * RUNS; i++) {
        send_single(peer, socket_, RUN);
        if (receive_flow(socket_, RUN) != RUN || !are_flows(RUN, RUN))
            break;
    }
    is_int(i, 2 * RUNS, "refused: all goes on without");
    is_int(joins, 1, "refused: it was tried once");
    join_error = 0;
    close(peer);
    asocket_close(socket_);
}

/* Datagrams of many senders are none that could be joined. */
static void test_no_flow(void)
{
    asocket *socket_ = bound();
    int peers[10], i, k;

    joins = 0;
    for (i = 0; i < 10; i++)
        peers[i] = socket(AF_INET, SOCK_DGRAM, 0);
    for (k = 0; k < 50; k++) {
        for (i = 0; i < 10; i++)
            send_single(peers[i], socket_, 1);
        if (receive_flow(socket_, 10) != 10)
            break;
    }
    is_int(k, 50, "no flow: datagrams of ten senders come");
    is_int(joins, 0, "no flow: the kernel is not asked to join them");
    for (i = 0; i < 10; i++)
        close(peers[i]);
    asocket_close(socket_);
}

static void test_channel(void)
{
    flow f;
    asocket_address address;
    asocket *connected;

    if (!open_flow(&f))
        return;
    close_flow(&f);
    f.socket = bound();
    address = address_of(f.socket);
    connected = asocket_connect_address(asocket_udp(selector), &address);
    address = address_of(connected);
    asocket_send_to(f.socket, "one", 3, &address);
    prepare(SLOT);
    is_int(asocket_receive_many(connected, incoming, 2), 1, "a connected socket receives many");
    ok(!asocket_open_read_channel(connected) && asocket_error(selector) == ASOCKET_EBUSY,
       "from then on it opens no read channel: what the kernel joined has no bytes of a stream");
    ok(asocket_open_write_channel(connected, 0) != NULL, "but one to write");
    asocket_close(connected);
    connected = asocket_connect_address(asocket_udp(selector), &address);
    ok(connected == NULL || asocket_open_read_channel(connected) != NULL, "another one does");
    asocket_close(connected);
    asocket_close(f.socket);
}

static ptrdiff_t no_read(void *state, asocket *lower, void *buffer, size_t size)
{
    (void)state, (void)lower, (void)buffer, (void)size;
    return ASOCKET_EOF;
}

static ptrdiff_t no_write(void *state, asocket *lower, const void *data, size_t size)
{
    (void)state, (void)lower, (void)data;
    return (ptrdiff_t)size;
}

static int no_close(void *state, asocket *lower)
{
    (void)state, (void)lower;
    return 0;
}

static void no_cancel(void *state, asocket *lower)
{
    (void)state, (void)lower;
}

/* Those who build on it may open its channels once more, but for this one. */
static void test_layer(void)
{
    static const asocket_transport transport = {no_read, no_write, no_close, no_cancel};
    struct sockaddr_in at = test_peer_address("127.0.0.1", 0);
    socklen_t length = sizeof at;
    asocket_address address;
    asocket *layer;
    flow f;

    if (!open_flow(&f))
        return;
    close_flow(&f);
    f.peer = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(f.peer, (struct sockaddr *)&at, sizeof at) < 0)
        diag("no peer: %s", strerror(errno));
    getsockname(f.peer, (struct sockaddr *)&at, &length);
    asocket_address_from_native(&address, &at, sizeof at);
    f.socket = asocket_connect_address(asocket_udp(selector), &address);
    joins = 0;
    ok(warm(f.socket, f.peer), "a connected socket has a flow joined");
    layer = asocket_layer(f.socket, &transport, NULL);
    ok(!asocket_open_read_channel(f.socket) && asocket_error(selector) == ASOCKET_EBUSY,
       "a layer's transport opens no read channel on it either");
    ok(asocket_open_write_channel(f.socket, 0) != NULL, "but one to write");
    ok(asocket_detach(layer) == f.socket && !asocket_open_read_channel(f.socket),
       "nor does anybody when the layer is off");
    close_flow(&f);
}

/* --- where the socket goes -------------------------------------------------------------------- */

static struct {
    size_t came;
    bool right, done;
} moved;

static void receive_moved(asocket_selector *owner, void *argument)
{
    size_t have = 0;

    (void)owner;
    asocket_set_timeout((asocket *)argument, 5000);
    prepare(SLOT);
    while (have < moved.came && asocket_receive((asocket *)argument, &incoming[have]) >= 0)
        have++;
    moved.right = have == moved.came;
    moved.came = have;
    moved.done = true;
}

static void wait_moved(void)
{
    int i;

    for (i = 0; i < 1000 && !moved.done; i++)
        asocket_sleep(selector, 5);
}

static void test_hand_over(void)
{
    flow f;
    asocket_datagram first;

    if (!open_flow(&f))
        return;
    send_cut(f.peer, f.socket, 30);
    memset(&first, 0, sizeof first);
    first.data = bytes[0];
    first.capacity = SLOT;
    is_int(asocket_receive(f.socket, &first), SIZE, "moving: the first of a flow is received");
    send_cut(f.peer, f.socket, 20);
    memset(&moved, 0, sizeof moved);
    moved.came = 49;
    is_status(asocket_hand_over(f.socket, selector, receive_moved), ASOCKET_OK, "moving");
    wait_moved();
    ok(moved.right, "moving: the rest goes with the socket, and what follows is taken apart");
    is_int(incoming[29].size, SIZE, "moving: one by one");
    close(f.peer);
}

static void test_share(void)
{
    flow f;

    if (!open_flow(&f))
        return;
    send_cut(f.peer, f.socket, 30);
    is_int(asocket_receive(f.socket, &incoming[0]), SIZE, "sharing: the first is received here");
    memset(&moved, 0, sizeof moved);
    moved.came = 20;
    is_status(asocket_share(f.socket, selector, receive_moved), ASOCKET_OK, "sharing");
    send_cut(f.peer, f.socket, 20);
    wait_moved();
    ok(moved.right && are_flows(20, 20), "sharing: the duplicate takes apart what comes");
    is_int(receive_flow(f.socket, 29), 29, "sharing: what came before is here");
    is_int(incoming[0].size, SIZE, "sharing: one by one");
    send_single(f.peer, f.socket, 40);
    is_int(receive_flow(f.socket, 40), 40, "sharing: singles come, too");
    is_int(parts, 0, "sharing: nobody changes what the other relies on");
    close_flow(&f);
}

static void test_adopt(void)
{
    flow f;
    asocket *adopted;

    if (!open_flow(&f))
        return;
    adopted = asocket_adopt(asocket_udp(selector), dup(asocket_native_handle(f.socket)));
    send_cut(f.peer, f.socket, 20);
    is_int(receive_flow(adopted, 20), 20, "adopting: a socket that joins is taken apart");
    ok(are_flows(20, 20), "adopting: one by one");
    asocket_close(adopted);
    close_flow(&f);
}

/* --- cut -------------------------------------------------------------------------------------- */

static int send_alike(asocket *socket, const asocket_address *to, size_t size)
{
    static char data[SLOT];
    asocket_datagram outgoing[30];
    size_t i;

    memset(outgoing, 0, sizeof outgoing);
    for (i = 0; i < 30; i++) {
        outgoing[i].data = data;
        outgoing[i].size = size;
        outgoing[i].address = *to;
    }
    segmented = 0;
    return asocket_send_many(socket, outgoing, 30);
}

/* A path whose MTU is too small for a size says so of that size. */
static void test_narrow_path(void)
{
    asocket *narrow = bound(), *wide = bound(), *receiver = bound();
    asocket_address to = address_of(receiver);

    segments_until = 1200;
    is_int(send_alike(narrow, &to, 1300), 30, "narrow: what the path cannot have cut is sent");
    is_int(segmented, 1, "narrow: it was tried");
    is_int(send_alike(narrow, &to, 1300), 30, "narrow: sent again");
    is_int(segmented, 0, "narrow: it is not tried again");
    is_int(send_alike(narrow, &to, 1200), 30, "narrow: shorter ones are sent");
    is_int(segmented, 1, "narrow: and cut");
    segments_until = 0;
    is_int(send_alike(wide, &to, 1300), 30, "narrow: another socket sends");
    is_int(segmented, 1, "narrow: and has its own cut");
    is_int(receive_flow(receiver, 120), 120, "narrow: all of them arrive");
    is_int(incoming[0].size, 1300, "narrow: whole");
    asocket_close(narrow);
    asocket_close(wide);
    asocket_close(receiver);
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    test_many();
    test_few_at_a_time();
    test_on_ready();
    test_one_by_one();
    test_senders_and_sizes();
    test_empty_one();
    test_error();
    test_given_up();
    test_given_up_before_a_flow();
    test_full_queue();
    test_refused();
    test_no_flow();
    test_channel();
    test_layer();
    test_hand_over();
    test_share();
    test_adopt();
    test_narrow_path();
    return test_end(selector);
}

#endif
