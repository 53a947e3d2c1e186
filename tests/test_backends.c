/* One contract for every backend: what >>epoll in asocket.h says of the table of functions, tried on
   the table itself, without the loop above it. The same tests over each backend compiled in. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef _WIN32
typedef uintptr_t a_handle;
#else
typedef int a_handle;
#endif
#define SEAM_recv , counted_recv
static ssize_t counted_recv(a_handle handle, void *buffer, size_t size, int flags);
#ifdef __linux__
#include <sys/epoll.h>
#define SEAM_epoll_ctl , refusing_epoll_ctl
static int refusing_epoll_ctl(int epoll, int operation, int handle, struct epoll_event *event);
#endif
#include "private.h"

#include <poll.h>
#include <pthread.h>
#ifdef __linux__
#include <signal.h>
#endif

static asocket_selector *selector;
static const asocket__backend *backend;
static int receives; /* calls of recv(2) by the library */

static ssize_t counted_recv(a_handle handle, void *buffer, size_t size, int flags)
{
    receives++;
    return ASOCKET__SYSTEM(recv)(handle, buffer, size, flags);
}

static int refusals[3]; /* errnos with which the next calls are refused, up to 0 */
static int refused;

#ifdef __linux__
static int refusing_epoll_ctl(int epoll, int operation, int handle, struct epoll_event *event)
{
    if (refused == 2 || !refusals[refused])
        return epoll_ctl(epoll, operation, handle, event);
    errno = refusals[refused++];
    return -1;
}
#endif

enum { NOTHING = 20 }; /* ms without a report that are taken for none */

/* Waits up to so many ms for reports: how many came. */
static int look(int64_t milliseconds)
{
    return backend->wait(selector, milliseconds * ASOCKET__MILLISECOND);
}

/* Looks until the socket is ready for all of `directions`; 5 seconds are enough. */
static bool becomes_ready(asocket *socket, int directions)
{
    int64_t end = test_clock() + (int64_t)5000000000 * test_slowness();

    while ((socket->ready & directions) != directions && test_clock() < end)
        look(100);
    return (socket->ready & directions) == directions;
}

/* Whether no report of the socket comes for a while. */
static bool stays_quiet(asocket *socket)
{
    look(NOTHING);
    return !socket->ready;
}

/* A pair whose socket is ready for nothing, and not armed. */
static bool quiet_pair(test_pair *pair)
{
    if (!test_pair_open(selector, pair))
        return false;
    look(0);
    pair->socket->ready = 0;
    return true;
}

static int arm(asocket *socket, int directions)
{
    return backend->arm(selector, socket, directions);
}

/* Takes what is reported until nothing is. */
static bool settle(void)
{
    int count = 0;

    while (look(0) > 0 && count < 3000)
        count++;
    return count < 3000;
}

/* Reads what there is, as the loop's users do: until it would block. */
static ptrdiff_t read_all(asocket *socket)
{
    ptrdiff_t total = 0, count;
    char bytes[256];

    while ((count = asocket__socket_recv(socket, bytes, sizeof bytes)) > 0)
        total += count;
    return total ? total : count;
}

static ptrdiff_t send_until_full(asocket *socket)
{
    static char bytes[65536];
    ptrdiff_t total = 0, count;

    socket->ready |= ASOCKET_WRITE;
    while ((count = asocket__socket_send(socket, bytes, sizeof bytes, 0)) > 0) {
        total += count;
        socket->ready |= ASOCKET_WRITE; /* a short one: only EAGAIN says that it is full */
    }
    return count == ASOCKET_EAGAIN ? total : count;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void one_report_for_what_comes(void)
{
    test_pair pair;

    if (!quiet_pair(&pair))
        return;
    is_status(arm(pair.socket, ASOCKET_READ), ASOCKET_OK, "reading is armed");
    ok(stays_quiet(pair.socket), "nothing comes: no report");
    test_peer_send(pair.peer, "first", 5);
    ok(becomes_ready(pair.socket, ASOCKET_READ), "bytes come: a report");
    ok(!(pair.socket->ready & ASOCKET_WRITE), "of reading only");
    pair.socket->ready = 0;
    ok(stays_quiet(pair.socket), "and no other for the same bytes");
    pair.socket->ready = ASOCKET_READ;
    is_int(read_all(pair.socket), 5, "they are there");
    is_status(arm(pair.socket, ASOCKET_READ), ASOCKET_OK, "armed again");
    ok(stays_quiet(pair.socket), "nothing more comes: no report");
    test_peer_send(pair.peer, "second", 6);
    ok(becomes_ready(pair.socket, ASOCKET_READ), "more bytes come: one more report");
    is_int(read_all(pair.socket), 6, "and they are there");
    test_pair_close(&pair);
}

static void what_is_there_already(void)
{
    struct pollfd entry;
    test_pair pair;

    if (!quiet_pair(&pair))
        return;
    test_peer_send(pair.peer, "early", 5);
    entry.fd = asocket_native_handle(pair.socket);
    entry.events = POLLIN;
    poll(&entry, 1, 5000);
    ok(stays_quiet(pair.socket), "what nobody asked for is not reported");
    is_status(arm(pair.socket, ASOCKET_READ), ASOCKET_OK, "reading is armed when bytes are there");
    ok(becomes_ready(pair.socket, ASOCKET_READ), "and they are reported");
    is_int(read_all(pair.socket), 5, "P1: all of them");
    test_pair_close(&pair);
}

static void armed_twice(void)
{
    test_pair pair;
    uint64_t calls;

    if (!quiet_pair(&pair))
        return;
    arm(pair.socket, ASOCKET_READ);
    calls = selector->statistics.system_calls;
    arm(pair.socket, ASOCKET_READ);
    ok(selector->statistics.system_calls == calls, "to arm it again costs no system call");
    test_peer_send(pair.peer, "x", 1);
    ok(becomes_ready(pair.socket, ASOCKET_READ), "armed twice is armed");
    pair.socket->ready = 0;
    ok(stays_quiet(pair.socket), "once");
    pair.socket->ready = ASOCKET_READ;
    read_all(pair.socket);
    test_pair_close(&pair);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void room_again(void)
{
    static char bytes[65536];
    ptrdiff_t total;
    test_pair pair;

    if (!quiet_pair(&pair))
        return;
    total = send_until_full(pair.socket);
    ok(total > 0, "the system takes so much and no more");
    is_status(arm(pair.socket, ASOCKET_WRITE), ASOCKET_OK, "writing is armed");
    ok(stays_quiet(pair.socket), "there is no room: no report");
    while (total > 0 && !(pair.socket->ready & ASOCKET_WRITE)) {
        ssize_t count = recv(pair.peer, bytes, sizeof bytes, MSG_DONTWAIT);

        total -= count > 0 ? count : 0;
        look(1);
    }
    ok(pair.socket->ready & ASOCKET_WRITE, "the peer reads: a report");
    ok(!(pair.socket->ready & ASOCKET_READ), "of writing only");
    ok(send_until_full(pair.socket) > 0, "and there is room");
    test_pair_close(&pair);
}

static void room_from_the_start(void)
{
    test_pair pair;

    if (!quiet_pair(&pair))
        return;
    is_status(arm(pair.socket, ASOCKET_WRITE), ASOCKET_OK, "writing is armed when there is room");
    ok(becomes_ready(pair.socket, ASOCKET_WRITE), "and that is reported");
    test_pair_close(&pair);
}

/* The second direction must reach the backend, too, when the first one is armed or ready. */
static void both_directions(void)
{
    test_pair pair;

    if (!quiet_pair(&pair))
        return;
    arm(pair.socket, ASOCKET_READ);
    arm(pair.socket, ASOCKET_WRITE);
    ok(becomes_ready(pair.socket, ASOCKET_WRITE), "P12: writing is reported beside reading");
    ok(!(pair.socket->ready & ASOCKET_READ), "which is not");
    test_peer_send(pair.peer, "x", 1);
    ok(becomes_ready(pair.socket, ASOCKET_READ), "P12: until something comes");
    test_pair_close(&pair);
}

/* --- ends ------------------------------------------------------------------------------------- */

static void the_peer_ends_its_side(void)
{
    test_pair pair;

    if (!quiet_pair(&pair))
        return;
    arm(pair.socket, ASOCKET_READ);
    test_peer_send(pair.peer, "last", 4);
    shutdown(pair.peer, SHUT_WR);
    ok(becomes_ready(pair.socket, ASOCKET_READ), "an end of stream is reported to the reader");
    is_int(read_all(pair.socket), 4, "P1: what came before it first");
    pair.socket->ready |= ASOCKET_READ;
    is_int(read_all(pair.socket), 0, "P1: then the end");
    ok(send_until_full(pair.socket) > 0, "P3: writing goes on");
    test_pair_close(&pair);
}

static void the_peer_resets(void)
{
    test_pair pair;
    ptrdiff_t count;

    if (!quiet_pair(&pair))
        return;
    send_until_full(pair.socket);
    pair.socket->ready = 0;
    arm(pair.socket, ASOCKET__BOTH);
    ok(stays_quiet(pair.socket), "nothing happens: no report");
    test_peer_reset(pair.peer);
    pair.peer = -1;
    ok(becomes_ready(pair.socket, ASOCKET__BOTH), "a reset is reported to both sides");
    count = read_all(pair.socket);
    is_status(count, ASOCKET_ECONNRESET, "and is no end of stream");
    test_pair_close(&pair);
}

static void a_refused_connection(void)
{
    asocket_builder tcp = asocket_tcp(selector);
    asocket *socket;
    int port = 1, listener = test_peer_listen(&port);

    close(listener);
    tcp.connect_timeout = 5000;
    socket = asocket_connect(tcp, "127.0.0.1", port);
    ok(!socket, "a connection that is refused is reported");
    is_status(asocket_error(selector), ASOCKET_ECONNREFUSED, "P13: as what it is");
}

static void somebody_connects(void)
{
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0), *client;
    asocket_address address;
    int peer;

    if (!server)
        return;
    server->ready = 0;
    is_status(arm(server, ASOCKET_READ), ASOCKET_OK, "a listener is armed");
    ok(stays_quiet(server), "nobody connects: no report");
    asocket_local_address(server, &address);
    peer = test_peer_connect(address.port);
    ok(becomes_ready(server, ASOCKET_READ), "somebody does: a report");
    client = asocket_accept(server);
    ok(client != NULL, "P9: and can be accepted");
    asocket_close(client);
    close(peer);
    asocket_close(server);
}

/* --- removing --------------------------------------------------------------------------------- */

static void removed_is_forgotten(void)
{
    test_pair pair;

    if (!quiet_pair(&pair))
        return;
    arm(pair.socket, ASOCKET__BOTH);
    becomes_ready(pair.socket, ASOCKET_WRITE);
    pair.socket->shared = 1; /* its descriptor lives on: closing will not take it out */
    backend->remove(selector, pair.socket);
    pair.socket->registered = backend->reports;
    pair.socket->ready = 0;
    test_peer_send(pair.peer, "x", 1);
    is_int(look(NOTHING), 0, "P10: what was removed is not heard of again");
    ok(!pair.socket->ready, "nor signalled");
    backend->remove(selector, pair.socket);
    is_status(arm(pair.socket, ASOCKET_READ), ASOCKET_OK, "it can be armed once more");
    ok(becomes_ready(pair.socket, ASOCKET_READ), "and what came meanwhile is reported");
    test_pair_close(&pair);
}

/* A report of a closed socket must meet nobody, least of all the next one with its number. */
static void closed_is_forgotten(void)
{
    test_pair old, young;
    int copy, before;

    if (!quiet_pair(&old))
        return;
    arm(old.socket, ASOCKET_READ);
    before = asocket_native_handle(old.socket);
    copy = dup(before);
    asocket_abort(old.socket);
    if (!quiet_pair(&young))
        return;
    arm(young.socket, ASOCKET_READ);
    test_peer_send(old.peer, "x", 1);
    ok(stays_quiet(young.socket), "P10: what a closed socket's duplicate receives meets nobody");
    test_peer_send(young.peer, "y", 1);
    ok(becomes_ready(young.socket, ASOCKET_READ), "and the next socket is heard of");
    is_int(read_all(young.socket), 1, "with its own byte");
    close(copy);
    test_pair_close(&old);
    test_pair_close(&young);
}

/* Nobody has seen the handle: the next socket may be at the same place in memory at once. */
static void nor_who_is_in_its_place(void)
{
    asocket *former, *next;
    int copy, peer;
    test_pair pair;

    if (!quiet_pair(&pair))
        return;
    arm(pair.socket, ASOCKET_READ);
    former = pair.socket;
    copy = dup(asocket_native_handle(former));
    asocket__close_unseen(former);
    peer = test_peer_connect(pair.port);
    next = asocket_accept(pair.server);
    ok(next == former, "a socket in the place of another one");
    look(0);
    next->ready = 0;
    arm(next, ASOCKET_READ);
    test_peer_send(pair.peer, "x", 1);
    ok(stays_quiet(next), "P10: is not told what the other's duplicate receives");
    test_peer_send(peer, "y", 1);
    ok(becomes_ready(next, ASOCKET_READ) && read_all(next) == 1, "but what it receives");
    close(copy);
    close(pair.peer);
    pair.peer = peer;
    pair.socket = next;
    test_pair_close(&pair);
}

/* --- one among others ------------------------------------------------------------------------- */

static void one_bad_descriptor(void)
{
    test_pair bad, good;

    if (!quiet_pair(&bad) || !quiet_pair(&good))
        return;
    arm(bad.socket, ASOCKET__BOTH);
    arm(good.socket, ASOCKET_READ);
    test_peer_reset(bad.peer);
    bad.peer = -1;
    ok(becomes_ready(bad.socket, ASOCKET_READ), "P10: an error is reported to the one it is of");
    look(NOTHING);
    ok(!good.socket->ready, "P10: and to nobody else");
    close(asocket_native_handle(bad.socket)); /* behind the library's back */
    bad.socket->ready = 0;
    (void)arm(bad.socket, ASOCKET_READ);
    test_peer_send(good.peer, "x", 1);
    ok(becomes_ready(good.socket, ASOCKET_READ),
       "P10: a descriptor that is gone hurts nobody else");
    asocket_abort(bad.socket);
    test_pair_close(&bad);
    test_pair_close(&good);
}

enum { CROWD = ASOCKET__EVENTS + 60 };

/* More than one wait can report. */
static void a_crowd(void)
{
    static asocket *sockets[CROWD];
    static int peers[CROWD];
    int i, ready = 0, rounds, ends[2];

    for (i = 0; i < CROWD; i++) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
            break;
        peers[i] = ends[1];
        sockets[i] =
            asocket_adopt(TEST_WINDOWS ? asocket_tcp(selector) : asocket_unix(selector), ends[0]);
        if (!sockets[i])
            break;
        sockets[i]->ready = 0;
        arm(sockets[i], ASOCKET_READ);
        test_peer_send(peers[i], "x", 1);
    }
    if (!is_int(i, CROWD, "many sockets"))
        return;
    for (rounds = 0; rounds < 10 && ready < CROWD; rounds++) {
        look(100);
        for (i = ready = 0; i < CROWD; i++)
            ready += (sockets[i]->ready & ASOCKET_READ) != 0;
    }
    is_int(ready, CROWD, "are all reported");
    for (i = 0; i < CROWD; i++) {
        asocket_abort(sockets[i]);
        close(peers[i]);
    }
}

/* --- foreign descriptors ---------------------------------------------------------------------- */

static void descriptors_of_others(void)
{
    char path[] = "/tmp/asocket-backends-XXXXXX";
    int ends[2], file = mkstemp(path);

    if (pipe(ends))
        return;
    unlink(path);
    if (!test_skips(TEST_WINDOWS, 1, "a handle is a socket there"))
        is_int(asocket_wait_handle(selector, file, ASOCKET__BOTH), ASOCKET__BOTH,
               "P13: a plain file is always ready");
    is_int(asocket_wait_handle(selector, ends[1], ASOCKET_WRITE), ASOCKET_WRITE,
           "an empty pipe can be written to");
    asocket_set_deadline(selector, NOTHING);
    is_status(asocket_wait_handle(selector, ends[0], ASOCKET_READ), ASOCKET_ETIMEDOUT,
              "and not be read from");
    asocket_restore_deadline(selector, ASOCKET_NEVER);
    if (write(ends[1], "x", 1) == 1)
        is_int(asocket_wait_handle(selector, ends[0], ASOCKET_READ), ASOCKET_READ,
               "until something is in it");
    is_int(look(NOTHING), 0, "and it is forgotten after that");
    close(ends[0]);
    is_int(asocket_wait_handle(selector, ends[1], ASOCKET_WRITE), ASOCKET_WRITE,
           "a pipe that nobody reads is reported: the write will say it");
    close(ends[1]);
    close(file);
}

/* While somebody else waits for it, too, its directions stay armed: each wait is told all the same. */
static void descriptors_of_others_again(void)
{
    asocket *foreign;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
        return;
    foreign = asocket__foreign_open(selector, ends[0]);
    foreign->ready = 0;
    arm(foreign, ASOCKET_WRITE);
    ok(becomes_ready(foreign, ASOCKET_WRITE), "there is room: a report");
    foreign->ready = 0;
    arm(foreign, ASOCKET_WRITE);
    ok(becomes_ready(foreign, ASOCKET_WRITE), "armed again there still is: one more");
    asocket__foreign_close(foreign);
    close(ends[0]);
    close(ends[1]);
}

/* --- waking and time -------------------------------------------------------------------------- */

static void *wake_soon(void *argument)
{
    struct timespec time = {0, 5000000};

    (void)argument;
    nanosleep(&time, NULL);
    backend->wake(selector);
    return NULL;
}

static void another_thread_wakes(void)
{
    const int many =
        TEST_WINDOWS ? 20000 : 100000; /* more than any buffer takes, 80 us each there */
    int64_t start = test_clock();
    pthread_t thread;
    int i;

    pthread_create(&thread, NULL, wake_soon, NULL);
    backend->wait(selector, 10 * INT64_C(1000000000));
    pthread_join(thread, NULL);
    ok(test_took(start, 0, 8000), "another thread ends a wait");
    settle();
    backend->wake(selector);
    start = test_clock();
    backend->wait(selector, 10 * INT64_C(1000000000));
    ok(test_took(start, 0, 8000), "a wake-up before the wait ends it, too");
    start = test_clock();
    for (i = 0; i < many; i++)
        backend->wake(selector);
    ok(test_took(start, 0, 8000), "any number of them blocks nobody");
    ok(settle(), "and they are over some time");
    backend->wake(selector);
    start = test_clock();
    backend->wait(selector, 10 * INT64_C(1000000000));
    ok(test_took(start, 0, 8000), "one more is heard");
    settle();
}

/* Waits so long, as the loop does it: again when a wait was too short. Returns how many it took. */
static int wait_whole(int64_t time)
{
    int64_t end = test_clock() + time, left = time;
    int waits = 0, happened = 0;

    do {
        happened += backend->wait(selector, left);
        waits++;
        left = end - test_clock();
    } while (left > 0 && waits < 10);
    is_int(happened, 0, "nothing happens in %d us", (int)(time / 1000));
    return waits;
}

static void time_outs(void)
{
    static const int64_t times[] = {0, 1, 1000, 300000, 1700000, 20000000};
    int64_t start;
    size_t i;
    int waits;

    for (i = 0; i < sizeof times / sizeof *times; i++) {
        start = test_clock();
        waits = wait_whole(times[i]);
        /* A wait of Windows may end a tick early; what is left of it is less than a tick then. */
        ok(waits <= (TEST_WINDOWS ? 2 : 1), "P11: the wait is not shorter than %d us (%d waits)",
           (int)(times[i] / 1000), waits);
        ok(test_took(start, 0, times[i] / 1000000 + 50), "nor much longer");
    }
}

#ifdef __linux__
static void nothing_more(int number)
{
    (void)number;
}

static int signalled_enough;

static void *signal_now_and_then(void *argument)
{
    struct timespec time = {0, 5000000};

    while (!__atomic_load_n(&signalled_enough, __ATOMIC_RELAXED)) {
        nanosleep(&time, NULL);
        pthread_kill(*(pthread_t *)argument, SIGUSR1);
    }
    return NULL;
}

static void a_signal_ends_a_wait(void)
{
    pthread_t waiting = pthread_self(), thread;
    int64_t start = test_clock();
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = nothing_more;
    sigaction(SIGUSR1, &action, NULL);
    pthread_create(&thread, NULL, signal_now_and_then, &waiting);
    is_int(backend->wait(selector, 10 * INT64_C(1000000000)), 0, "P10: a signal is no report");
    ok(test_took(start, 0, 8000), "but ends a wait");
    __atomic_store_n(&signalled_enough, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
}
#else
static void a_signal_ends_a_wait(void)
{
    skip(2, "no signals are sent here");
}
#endif

/* What the wait is for, which the system refuses from now on; false: it cannot be had. */
#ifdef _WIN32
static bool exchange_the_end(a_handle *end)
{
    HANDLE now = selector->windows.port;

    if (backend->id != ASOCKET_BACKEND_IOCP)
        return false;
    selector->windows.port = (HANDLE)*end;
    *end = (a_handle)now;
    return true;
}
#elif ASOCKET__EPOLL
static bool exchange_the_end(a_handle *end)
{
    a_handle now = selector->epoll.handle;

    if (backend->id != ASOCKET_BACKEND_EPOLL)
        return false;
    selector->epoll.handle = *end;
    *end = now;
    return true;
}
#else
static bool exchange_the_end(const a_handle *end)
{
    (void)end;
    return false;
}
#endif

static void a_wait_that_is_refused(void)
{
    a_handle end = (a_handle)-1;
    uint64_t turns = selector->statistics.turns;
    int64_t start = test_clock();

    if (!exchange_the_end(&end)) {
        skip(3, "this backend's wait is not refused so easily");
        return;
    }
    is_int(look(0), -1, "the system refuses to wait");
    errno = EINTR;
    is_status(asocket_sleep(selector, 200), ASOCKET_OK, "P10: a sleep goes on after that");
    turns = selector->statistics.turns - turns;
    exchange_the_end(&end);
    if (!ok(turns <= 2 + (uint64_t)(test_clock() - start) / 1000000,
            "P10: whatever errno held, without taking the whole processor"))
        diag("%d turns", (int)turns);
}

/* What is registered under a number, by a duplicate of a connection that was closed, may go at any
   time: between two calls of epoll_ctl, too. */
static void a_number_is_in_use_and_then_free(void)
{
    asocket *socket = asocket_bind(asocket_udp(selector), "127.0.0.1", 0);
    asocket *other = asocket_bind(asocket_udp(selector), "127.0.0.1", 0);
    asocket_address address;

    if (!ok(socket && other && !asocket_local_address(socket, &address), "two that never waited"))
        return;
    refused = 0;
    refusals[0] = EEXIST;
    refusals[1] = ENOENT;
    is_status(arm(socket, ASOCKET_READ), ASOCKET_OK, "P10: a number in use by a duplicate");
    memset(refusals, 0, sizeof refusals);
    asocket_send_to(other, "x", 1, &address);
    ok(becomes_ready(socket, ASOCKET_READ), "P10: which has gone, is watched");
    asocket_close(socket);
    asocket_close(other);
}

/* --- the handle ------------------------------------------------------------------------------- */

static bool handle_is_readable(int milliseconds)
{
    struct pollfd entry;

    entry.fd = backend->handle(selector);
    entry.events = POLLIN;
    return poll(&entry, 1, milliseconds) > 0;
}

static void a_handle_for_other_loops(void)
{
    test_pair pair;

    if (backend->handle(selector) == ASOCKET__NO_HANDLE) {
        skip(5, "this backend has no handle");
        return;
    }
    if (!quiet_pair(&pair))
        return;
    arm(pair.socket, ASOCKET_READ);
    look(0);
    ok(!handle_is_readable(0), "the handle is not readable when there is nothing to report");
    test_peer_send(pair.peer, "x", 1);
    ok(handle_is_readable(5000), "it is when there is");
    ok(becomes_ready(pair.socket, ASOCKET_READ) && !handle_is_readable(0), "until it was reported");
    backend->wake(selector);
    ok(handle_is_readable(5000), "and after a wake-up");
    look(0);
    ok(!handle_is_readable(0), "until a wait ended by it");
    test_pair_close(&pair);
}

/* As much as a channel holds, come at once: one receive takes it and knows that it was all. */
static void a_full_channel_is_one_receive(void)
{
    enum { FULL = 16 * 1024 };
    static char line[FULL + 1];
    test_pair pair;
    asocket_read_channel *in;
    int64_t end = test_clock() + (int64_t)5000000000 * test_slowness();

    if (!test_pair_open(selector, &pair))
        return;
    in = asocket_open_read_channel(pair.socket);
    test_peer_send(pair.peer, "begin\n", 6);
    is_int(asocket_read_line(in, line, sizeof line), 5, "a line comes");
    asocket_set_timeout(pair.socket, 20);
    is_status(asocket_read_line(in, line, sizeof line), ASOCKET_ETIMEDOUT, "and no other");
    memset(line, 'x', FULL);
    line[FULL - 1] = '\n';
    test_peer_send(pair.peer, line, FULL);
    while (recv(asocket_native_handle(pair.socket), line, FULL, MSG_PEEK) < FULL &&
           test_clock() < end)
        (void)poll(NULL, 0, 1);
    asocket_set_timeout(pair.socket, 5000 * test_slowness());
    receives = 0;
    is_int(asocket_read_line(in, line, sizeof line), FULL - 1, "a line as long as the channel");
    asocket_set_timeout(pair.socket, 20);
    is_status(asocket_read_line(in, line, sizeof line), ASOCKET_ETIMEDOUT, "and nothing behind it");
    is_int(receives, 1, "were one receive");
    test_pair_close(&pair);
}

static void wake_in_vain(asocket_selector *woken)
{
    (void)woken;
    errno = EAGAIN; /* it is full, and so is readable */
}

/* A signal handler may stop the loop between a system call and the look at its errno. */
static void a_stop_leaves_errno(void)
{
    asocket__backend vain = *backend;

    vain.wake = wake_in_vain;
    selector->backend = &vain;
    errno = EDOM;
    asocket_stop(selector);
    is_int(errno, EDOM, "P6: asocket_stop leaves errno as it was, also when its wake-up fails");
    selector->backend = backend;
    is_status(asocket_sleep(selector, ASOCKET_FOREVER), ASOCKET_ECANCELED, "and the loop stops");
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    backend = selector->backend;
    is_int(backend->id, test_backend(argc, argv), "the backend that was asked for");
    one_report_for_what_comes();
    what_is_there_already();
    armed_twice();
    room_again();
    room_from_the_start();
    both_directions();
    the_peer_ends_its_side();
    the_peer_resets();
    a_refused_connection();
    somebody_connects();
    removed_is_forgotten();
    closed_is_forgotten();
    nor_who_is_in_its_place();
    one_bad_descriptor();
    a_crowd();
    descriptors_of_others();
    descriptors_of_others_again();
    another_thread_wakes();
    time_outs();
    a_signal_ends_a_wait();
    a_wait_that_is_refused();
    a_number_is_in_use_and_then_free();
    a_handle_for_other_loops();
    a_full_channel_is_one_receive();
    a_stop_leaves_errno();
    return test_end(selector);
}
