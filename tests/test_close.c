/* Closing: what was written arrives, closing returns at once and is bounded in time, whoever waits
   is told, a closed handle stays one, and a connection that breaks is never taken for one that
   ended. The peers are plain sockets. */
#include "line.h"

#include <pthread.h>

static asocket_selector *selector;
static int backend;

static bool line_open(line *l)
{
    return line_open_on(selector, l, 0);
}

/* Somebody else on the same selector, who must not be disturbed. */
static line bystander;

static bool undisturbed(void)
{
    char byte;

    return test_peer_send(bystander.pair.peer, "?", 1) &&
           asocket_read(bystander.in, &byte, 1) == 1 &&
           asocket_write_byte(bystander.out, '!') == 0 && asocket_flush(bystander.out) == 0 &&
           test_peer_expect(selector, bystander.pair.peer, "!");
}

static uint64_t turns(void)
{
    asocket_statistics statistics;

    memset(&statistics, 0, sizeof statistics);
    asocket_stats(selector, &statistics);
    return statistics.turns;
}

/* --- what was written arrives ----------------------------------------------------------------- */

static void test_small(int flags, const char *kind)
{
    line l;

    if (!line_open_on(selector, &l, flags))
        return;
    asocket_write_string(l.out, "written before");
    is_status(asocket_close(l.pair.socket), ASOCKET_OK, "a socket can be closed");
    ok(test_peer_expect(selector, l.pair.peer, "written before"),
       "P2: what was written %s before a close arrives", kind);
    is_int(receive_all(selector, l.pair.peer, 0).end, 0, "P2: and then the end of the stream");
    line_close(&l);
}

static size_t write_size;

static void write_and_end(asocket_selector *owner, void *argument)
{
    static char bytes[1000000];
    asocket_write_channel *out =
        asocket_open_write_channel((asocket *)argument, ASOCKET_AUTO_FLUSH);
    size_t total;

    (void)owner;
    for (total = 0; total < 1000000; total += write_size) {
        fill_pattern(bytes, write_size, total);
        if (asocket_write(out, bytes, write_size) < 0)
            return;
    }
}

static void test_large_to_a_slow_reader(size_t size)
{
    test_pair pair;
    arrival a;

    if (!test_pair_open(selector, &pair))
        return;
    write_size = size;
    asocket_launch_socket(selector, write_and_end, pair.socket);
    a = receive_all(selector, pair.peer, 1);
    is_int(a.total, 1000000, "P2: a million bytes, %zu at a time, reach a slow reader", size);
    ok(a.intact && a.end == 0, "P2: though the writer has ended long ago");
    test_pair_close(&pair);
}

/* What the channel holds when the socket is closed is sent by the loop. */
static void test_full_channel(void)
{
    size_t total;
    line l;

    if (!line_open(&l))
        return;
    total = line_stuff(&l);
    asocket_close(l.pair.socket);
    ok(all_arrived(selector, l.pair.peer, total), "P2: what a full channel holds arrives");
    line_close(&l);
}

static void test_unread_input(bool deaf)
{
    static char junk[100000];
    line l;

    if (!line_open(&l))
        return;
    ok(send_what_fits(l.pair.peer, junk, sizeof junk) > 0, "a peer sends what nobody will read");
    asocket_write_string(l.out, "goodbye");
    if (deaf)
        asocket_shutdown(l.pair.socket, ASOCKET_READ);
    asocket_close(l.pair.socket);
    ok(send(l.pair.peer, junk, 1000, MSG_DONTWAIT | MSG_NOSIGNAL) > 0 || errno == EAGAIN,
       "P2: it may send more when that side has closed"); /* else a reset would be told here */
    ok(test_peer_expect(selector, l.pair.peer, "goodbye"),
       "P2: what was written arrives in spite of unread input%s",
       deaf ? ", also after shutdown(READ)" : "");
    is_int(receive_all(selector, l.pair.peer, 0).end, 0, "P2: which becomes no reset");
    line_close(&l);
}

static void test_cancelled_input(void)
{
    static char junk[100000];
    line l;

    if (!line_open(&l))
        return;
    send_what_fits(l.pair.peer, junk, sizeof junk);
    asocket_cancel_read(l.in);
    asocket_write_string(l.out, "goodbye");
    asocket_close(l.pair.socket);
    ok(test_peer_expect(selector, l.pair.peer, "goodbye"),
       "P2: what was written arrives after cancel_read");
    is_int(receive_all(selector, l.pair.peer, 0).end, 0, "P2: and no reset");
    line_close(&l);
}

/* The peer sends on and on while it reads the answer in small pieces. */
static void test_talkative_peer(void)
{
    arrival a = {0, true, 1};
    char bytes[2000];
    size_t total;
    line l;

    if (!line_open(&l))
        return;
    total = line_stuff(&l);
    asocket_close(l.pair.socket);
    while (a.end > 0) {
        ssize_t count = recv(l.pair.peer, bytes, sizeof bytes, MSG_DONTWAIT);

        if (!arrived(&a, bytes, count) && !(count < 0 && errno == EAGAIN))
            a.end = count < 0 ? -errno : 0;
        send_what_fits(l.pair.peer, bytes, sizeof bytes);
        asocket_yield(selector);
        asocket_poll(selector, 0);
    }
    is_int(a.total, total, "P2: what was written arrives at a peer that sends all the time");
    ok(a.intact && a.end == 0, "P2: unharmed, and then the end of the stream");
    line_close(&l);
}

/* --- a close is quick, and bounded ------------------------------------------------------------ */

static void test_returns_at_once(void)
{
    int64_t start;
    uint64_t before;
    line l;

    if (!line_open(&l))
        return;
    line_stuff(&l);
    before = turns();
    start = test_clock();
    asocket_close(l.pair.socket);
    ok(turns() == before && test_took(start, 0, 10), "P2: a close does not wait");
    ok(asocket_is_closed(l.pair.socket), "P8: and the handle is closed from then on");
    line_close(&l);
}

static asocket_selector *hasty_selector(void)
{
    return test_selector_closing(backend, 200);
}

/* A peer that never reads gets a reset after close_timeout: it must not believe that it has all. */
static void test_peer_that_never_reads(void)
{
    asocket_selector *hasty = hasty_selector();
    int64_t start;
    size_t total;
    arrival a;
    line l;

    if (!line_open_on(hasty, &l, 0))
        return;
    total = line_stuff(&l);
    start = test_clock();
    asocket_close(l.pair.socket);
    is_status(asocket_await_closed(l.pair.socket), ASOCKET_OK, "P2: a close comes to its end");
    ok(test_took(start, 200, 250), "P2: after close_timeout at last");
    a = receive_all(hasty, l.pair.peer, 0);
    ok(a.total < total && a.intact, "P2: not everything came by then");
    is_int(a.end, -ECONNRESET, "P2: and that is a reset, not an end of the stream");
    line_close(&l);
    asocket_selector_destroy(hasty);
}

/* A peer that has got everything and does not end its side. */
static void test_peer_that_never_ends(void)
{
    asocket_selector *hasty = hasty_selector();
    asocket_statistics statistics;
    int64_t start;
    line l;

    if (!line_open_on(hasty, &l, 0))
        return;
    asocket_write_string(l.out, "all");
    start = test_clock();
    asocket_close(l.pair.socket);
    ok(test_peer_expect(hasty, l.pair.peer, "all"), "P2: a peer got everything");
    asocket_stats(hasty, &statistics);
    is_int(statistics.sockets, 2, "P2: the descriptor stays while the peer may still send");
    asocket_await_closed(l.pair.socket);
    ok(test_took(start, 200, 250), "P2: but not longer than close_timeout");
    is_int(receive_all(hasty, l.pair.peer, 0).end, 0, "P2: and the stream ended in order");
    asocket_stats(hasty, &statistics);
    is_int(statistics.sockets, 1, "P2: the descriptor is given back");
    line_close(&l);
    asocket_selector_destroy(hasty);
}

static void send_without_end(asocket_selector *owner, void *argument)
{
    static char bytes[65536];
    const int *peer = (const int *)argument;

    while (send(*peer, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL) > 0 || errno == EAGAIN)
        if (asocket_yield(owner) < 0)
            break;
}

static void test_peer_that_sends_for_ever(void)
{
    asocket_selector *hasty = hasty_selector();
    int64_t start;
    asocket_job job;
    line l;

    if (!line_open_on(hasty, &l, 0))
        return;
    job = asocket_launch(hasty, send_without_end, &l.pair.peer);
    start = test_clock();
    asocket_close(l.pair.socket);
    asocket_await_closed(l.pair.socket);
    ok(test_took(start, 200, 250),
       "P2: a peer that sends for ever is given up after close_timeout");
    asocket_cancel(hasty, job);
    asocket_join(hasty, job);
    line_close(&l);
    asocket_selector_destroy(hasty);
}

/* --- the end of a selector -------------------------------------------------------------------- */

static void *receive_in_a_thread(void *argument)
{
    arrival *a = (arrival *)argument;
    char bytes[4096];
    ssize_t count;

    do
        count = recv(a->end, bytes, sizeof bytes, 0); /* `end` is the descriptor at first */
    while (arrived(a, bytes, count));
    a->end = count < 0 ? -errno : 0;
    return NULL;
}

static void test_destroy_flushes(bool closed)
{
    asocket_selector *brief = test_selector_closing(backend, 5000);
    arrival a = {0, true, 0};
    pthread_t thread;
    size_t total;
    line l;

    if (!line_open_on(brief, &l, 0))
        return;
    total = line_stuff(&l);
    if (closed)
        asocket_close(l.pair.socket);
    a.end = l.pair.peer;
    if (!ok(pthread_create(&thread, NULL, receive_in_a_thread, &a) == 0, "a peer reads"))
        return;
    asocket_selector_destroy(brief);
    pthread_join(thread, NULL);
    ok(a.total == total && a.intact && a.end == 0,
       "P2: destroying a selector sends what %s socket held", closed ? "a closed" : "an open");
    close(l.pair.peer);
}

/* --- abort ------------------------------------------------------------------------------------ */

static void test_abort(void)
{
    arrival a;
    line l;

    if (!line_open(&l))
        return;
    line_stuff(&l);
    is_status(asocket_abort(l.pair.socket), ASOCKET_OK, "a socket can be aborted");
    is_status(asocket_await_closed(l.pair.socket), ASOCKET_OK, "P2: it is gone at once");
    a = receive_all(selector, l.pair.peer, 0);
    is_int(a.end, -ECONNRESET, "P2: the peer sees a reset");
    is_status(asocket_read(l.in, &a, 1), ASOCKET_ECLOSED, "P8: an aborted handle is closed");
    line_close(&l);
}

static void test_abort_while_closing(void)
{
    line l;

    if (!line_open(&l))
        return;
    line_stuff(&l);
    asocket_close(l.pair.socket);
    asocket_abort(l.pair.socket);
    asocket_await_closed(l.pair.socket);
    is_int(receive_all(selector, l.pair.peer, 0).end, -ECONNRESET,
           "P2: an abort after a close ends the flushing with a reset");
    line_close(&l);
}

static void test_twice(void)
{
    line l;

    if (!line_open(&l))
        return;
    asocket_write_string(l.out, "once");
    asocket_close(l.pair.socket);
    is_status(asocket_close(l.pair.socket), ASOCKET_OK, "P8: closing twice is harmless");
    ok(test_peer_expect(selector, l.pair.peer, "once"), "P8: and loses nothing");
    close(l.pair.peer);
    l.pair.peer = -1;
    asocket_await_closed(l.pair.socket);
    is_status(asocket_close(l.pair.socket), ASOCKET_OK, "P8: nor is it when all is over");
    ok(undisturbed(), "P8: and nobody else is closed instead");
    line_close(&l);
}

/* --- whoever waits is told -------------------------------------------------------------------- */

typedef struct waiter {
    int64_t (*call)(struct waiter *w);
    line from, to; /* `to` takes no more bytes */
    asocket_job job;
    int64_t answer;
    bool ended;
} waiter;

static char scratch[20000];

static int64_t wait_read(waiter *w)
{
    return asocket_read(w->from.in, scratch, 10);
}

static int64_t wait_read_large(waiter *w)
{
    return asocket_read(w->from.in, scratch, sizeof scratch);
}

static int64_t wait_read_full(waiter *w)
{
    return asocket_read_full(w->from.in, scratch, 10);
}

static int64_t wait_read_line(waiter *w)
{
    return asocket_read_line(w->from.in, scratch, sizeof scratch);
}

static int64_t wait_read_until(waiter *w)
{
    return asocket_read_until(w->from.in, "--", 2, scratch, sizeof scratch);
}

static int64_t wait_read_u32(waiter *w)
{
    uint32_t value;

    return asocket_read_u32be(w->from.in, &value);
}

static int64_t wait_peek(waiter *w)
{
    const char *bytes;

    return asocket_peek(w->from.in, &bytes, 10);
}

static int64_t wait_discard(waiter *w)
{
    return asocket_discard(w->from.in, 10);
}

static int64_t wait_discard_until(waiter *w)
{
    return asocket_discard_until(w->from.in, "--", 2);
}

static int64_t wait_write(waiter *w)
{
    return asocket_write(w->to.out, scratch, 5000);
}

static int64_t wait_write_large(waiter *w)
{
    return asocket_write(w->to.out, scratch, sizeof scratch);
}

static int64_t wait_printf(waiter *w)
{
    return asocket_printf(w->to.out, "%5000d", 1);
}

static int64_t wait_reserve(waiter *w)
{
    char *bytes;

    return asocket_reserve(w->to.out, &bytes, 5000);
}

static int64_t wait_flush(waiter *w)
{
    return asocket_flush(w->to.out);
}

static int64_t wait_finish(waiter *w)
{
    return asocket_finish(w->to.out);
}

static int64_t wait_shutdown(waiter *w)
{
    return asocket_shutdown(w->to.pair.socket, ASOCKET_WRITE);
}

static int64_t wait_copy(waiter *w)
{
    return asocket_copy(w->from.in, w->to.out, ASOCKET_FOREVER);
}

static int64_t wait_accept(waiter *w)
{
    return asocket_accept(w->from.pair.server) ? 0 : asocket_error(selector);
}

static int64_t wait_await_closed(waiter *w)
{
    return asocket_await_closed(w->from.pair.server);
}

enum { CLOSE_FROM = 1, CLOSE_TO, CLOSE_SERVER };
static const struct {
    const char *name;
    int64_t (*call)(waiter *w);
    int closed;
    bool input; /* there are bytes to copy */
    int expected;
} waiting_calls[] = {
    {"read", wait_read, CLOSE_FROM, false, ASOCKET_ECLOSED},
    {"read of more than the capacity", wait_read_large, CLOSE_FROM, false, ASOCKET_ECLOSED},
    {"read_full", wait_read_full, CLOSE_FROM, false, ASOCKET_ECLOSED},
    {"read_line", wait_read_line, CLOSE_FROM, false, ASOCKET_ECLOSED},
    {"read_until", wait_read_until, CLOSE_FROM, false, ASOCKET_ECLOSED},
    {"read_u32be", wait_read_u32, CLOSE_FROM, false, ASOCKET_ECLOSED},
    {"peek", wait_peek, CLOSE_FROM, false, ASOCKET_ECLOSED},
    {"discard", wait_discard, CLOSE_FROM, false, ASOCKET_ECLOSED},
    {"discard_until", wait_discard_until, CLOSE_FROM, false, ASOCKET_ECLOSED},
    {"write", wait_write, CLOSE_TO, false, ASOCKET_ECLOSED},
    {"write of more than the capacity", wait_write_large, CLOSE_TO, false, ASOCKET_ECLOSED},
    {"printf", wait_printf, CLOSE_TO, false, ASOCKET_ECLOSED},
    {"reserve", wait_reserve, CLOSE_TO, false, ASOCKET_ECLOSED},
    {"flush", wait_flush, CLOSE_TO, false, ASOCKET_ECLOSED},
    {"finish", wait_finish, CLOSE_TO, false, ASOCKET_ECLOSED},
    {"shutdown", wait_shutdown, CLOSE_TO, false, ASOCKET_ECLOSED},
    {"copy without input, its source", wait_copy, CLOSE_FROM, false, ASOCKET_ECLOSED},
    {"copy without input, its target", wait_copy, CLOSE_TO, false, ASOCKET_ECLOSED},
    {"copy without room, its target", wait_copy, CLOSE_TO, true, ASOCKET_ECLOSED},
    {"copy without room, its source", wait_copy, CLOSE_FROM, true, ASOCKET_ECLOSED},
    {"accept", wait_accept, CLOSE_SERVER, false, ASOCKET_ECLOSED},
    {"await_closed", wait_await_closed, CLOSE_SERVER, false, ASOCKET_OK},
};
enum { WAITING_CALLS = sizeof waiting_calls / sizeof *waiting_calls };

static void wait_in_call(asocket_selector *owner, void *argument)
{
    waiter *w = (waiter *)argument;

    (void)owner;
    w->answer = w->call(w);
    w->ended = true;
}

/* Lets the others run until it has ended: whether it did, soon. */
static bool ends_soon(const bool *ended)
{
    int i;

    for (i = 0; i < 100 && !*ended; i++)
        asocket_yield(selector);
    return *ended;
}

static void waiter_end(waiter *w)
{
    asocket_cancel(selector, w->job);
    asocket_join(selector, w->job);
    line_close(&w->from);
    line_close(&w->to);
}

/* A coroutine that waits in the call. On a busy machine a kernel may make room after all: then it
   is tried again. */
static bool waiter_start(waiter *w, size_t row)
{
    int tries;

    for (tries = 0; tries < 10; tries++) {
        memset(w, 0, sizeof *w);
        if (!line_open(&w->from) || !line_open(&w->to))
            return false;
        line_stuff(&w->to);
        if (waiting_calls[row].input)
            test_peer_send(w->from.pair.peer, "some bytes", 10);
        w->call = waiting_calls[row].call;
        w->job = asocket_launch(selector, wait_in_call, w);
        asocket_sleep(selector, 2);
        if (!w->ended)
            return ok(true, "%s waits", waiting_calls[row].name);
        waiter_end(w);
    }
    return ok(false, "%s waits", waiting_calls[row].name);
}

static void test_waiting_call(size_t row, bool abort)
{
    waiter w;
    asocket *victim;

    if (!waiter_start(&w, row))
        return;
    victim = waiting_calls[row].closed == CLOSE_FROM ? w.from.pair.socket
             : waiting_calls[row].closed == CLOSE_TO ? w.to.pair.socket
                                                     : w.from.pair.server;
    if (abort)
        asocket_abort(victim);
    else
        asocket_close(victim);
    if (ok(ends_soon(&w.ended), "P7: a%s ends it", abort ? "n abort" : " close"))
        is_status(w.answer, waiting_calls[row].expected, "P8: and it says so");
    waiter_end(&w);
}

/* A reader and a writer of one socket. */
static void test_both_directions(void)
{
    waiter r, w;
    asocket_job reader, writer;

    memset(&r, 0, sizeof r);
    memset(&w, 0, sizeof w);
    if (!line_open(&r.from))
        return;
    line_stuff(&r.from);
    w.to = r.from;
    r.call = wait_read;
    w.call = wait_flush;
    reader = asocket_launch(selector, wait_in_call, &r);
    writer = asocket_launch(selector, wait_in_call, &w);
    asocket_sleep(selector, 2);
    asocket_close(r.from.pair.socket);
    ok(ends_soon(&r.ended) && ends_soon(&w.ended) && r.answer == ASOCKET_ECLOSED &&
           w.answer == ASOCKET_ECLOSED,
       "P8, P12: a close ends the reader and the writer of a socket");
    asocket_join(selector, reader);
    asocket_join(selector, writer);
    line_close(&r.from);
}

/* --- a closed handle stays one ---------------------------------------------------------------- */

/* Closed, but still flushing. */
static void test_lingering_handle(void)
{
    asocket_address local, remote, address;
    line l;

    if (!line_open(&l))
        return;
    asocket_local_address(l.pair.socket, &local);
    asocket_remote_address(l.pair.socket, &remote);
    line_stuff(&l);
    asocket_close(l.pair.socket);
    ok(asocket_is_closed(l.pair.socket), "P8: a socket that still flushes is closed");
    ok(asocket_native_handle(l.pair.socket) == TEST_NO_HANDLE, "P8: it shows no descriptor");
    is_status(asocket_read(l.in, scratch, 1), ASOCKET_ECLOSED, "P8: reading says so");
    is_status(asocket_write(l.out, "x", 1), ASOCKET_ECLOSED, "P8: writing says so");
    is_status(asocket_flush(l.out), ASOCKET_ECLOSED, "P8: flushing says so");
    is_status(asocket_finish(l.out), ASOCKET_ECLOSED, "P8: finishing says so");
    is_status(asocket_cancel_write(l.out, ASOCKET_ECANCELED), ASOCKET_ECLOSED,
              "P8: what it flushes cannot be taken back");
    is_status(asocket_set_timeout(l.pair.socket, 1), ASOCKET_ECLOSED, "P8: options say so");
    ok(asocket_local_address(l.pair.socket, &address) == 0 &&
           asocket_address_equal(&address, &local),
       "P8: its address is known");
    ok(asocket_remote_address(l.pair.socket, &address) == 0 &&
           asocket_address_equal(&address, &remote),
       "P8: its peer's too");
    close(l.pair.peer);
    l.pair.peer = -1;
    is_status(asocket_await_closed(l.pair.socket), ASOCKET_OK, "P8: its end can be awaited");
    ok(asocket_local_address(l.pair.socket, &address) == 0 &&
           asocket_address_equal(&address, &local),
       "P8: the address outlives it");
    line_close(&l);
}

/* The local address of who never asked for it, of a listener on every interface. */
static void test_address_after_close(void)
{
    asocket *server = asocket_bind(asocket_tcp(selector), "0.0.0.0", 0), *client;
    asocket_address address, local;
    int peer;

    asocket_local_address(server, &address);
    peer = test_peer_connect(address.port);
    client = asocket_accept(server);
    asocket_abort(client);
    ok(asocket_local_address(client, &local) == ASOCKET_OK && local.port == address.port &&
           asocket_ip_is_loopback(&local.ip),
       "P8: the local address can be asked for the first time after the end");
    close(peer);
    asocket_close(server);
}

/* What takes a socket's memory for a while but is no close must not shorten the wait. */
static void bustle(void)
{
    asocket_builder builder = asocket_tcp(selector);
    int handle = socket(AF_INET, SOCK_DGRAM, 0);

    asocket_wait_handle(selector, handle, ASOCKET_WRITE);
    close(handle);
    builder.local = asocket_address_of(asocket_ipv4(192, 0, 2, 1), 0); /* not ours */
    asocket_connect(builder, "127.0.0.1", 1);
}

/* Makes and closes sockets, with something in between: whether none of them was `old`. */
static bool none_is(const asocket *old, int times, void (*between)(void))
{
    bool none = true;
    int i;

    for (i = 0; i < times && none; i++) {
        asocket *made = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);

        none = made && made != old;
        asocket_close(made);
        if (between)
            between();
    }
    if (!none)
        diag("after %d closes", i);
    return none;
}

static void test_not_used_again_too_soon(void)
{
    line l;

    if (!line_open(&l))
        return;
    asocket_abort(l.pair.socket);
    ok(none_is(l.pair.socket, 1023, bustle),
       "P8: a handle is not used again before 1,024 later closes");
    is_status(asocket_read(l.in, scratch, 1), ASOCKET_ECLOSED,
              "P8: it still says that it is closed");
    ok(none_is(l.pair.socket, 1, bustle), "P8: nor by the socket that is the last of them");
    line_close(&l);
}

#ifdef NDEBUG
/* With asserts, memory is kept longer, so that stale handles are found. */
static void test_used_again(void)
{
    size_t before = 0;
    int i;

    for (i = 0; i < 4000; i++) {
        if (i == 2000)
            before = test_selector_memory.bytes;
        asocket_close(asocket_bind(asocket_tcp(selector), "127.0.0.1", 0));
    }
    is_int(test_selector_memory.bytes, before, "P5: later the memory of handles is used again");
}
#endif

typedef struct holder {
    asocket *socket;
    asocket_job job;
    bool closed, go;
} holder;

static holder held;

static void close_and_live_on(asocket_selector *owner, void *argument)
{
    asocket_abort((asocket *)argument);
    held.closed = true;
    while (!held.go)
        asocket_sleep(owner, 1);
}

static void test_not_used_again_while_launched(void)
{
    line l;

    if (!line_open(&l))
        return;
    memset(&held, 0, sizeof held);
    held.job = asocket_launch_socket(selector, close_and_live_on, l.pair.socket);
    ok(ends_soon(&held.closed), "a coroutine closes its socket and lives on");
    ok(none_is(l.pair.socket, 1300, bustle), "P8: the handle is not used again meanwhile");
    ok(asocket_is_closed(l.pair.socket), "P8: it is closed");
    held.go = true;
    asocket_join(selector, held.job);
    line_close(&l);
}

/* A copy waits for input while its target is closed, and many others come and go. */
static void test_not_used_again_while_inside(void)
{
    waiter w;
    asocket_job job;

    memset(&w, 0, sizeof w);
    if (!line_open(&w.from) || !line_open(&w.to))
        return;
    w.call = wait_copy;
    job = asocket_launch(selector, wait_in_call, &w);
    asocket_sleep(selector, 2);
    asocket_abort(w.to.pair.socket);
    ok(none_is(w.to.pair.socket, 1300, NULL),
       "P8: a handle is not used again while a coroutine is inside a call on it");
    test_peer_send(w.from.pair.peer, "for nobody else", 15);
    ok(ends_soon(&w.ended) && w.answer == ASOCKET_ECLOSED,
       "P8: and the call says that it is closed");
    asocket_join(selector, job);
    line_close(&w.from);
    line_close(&w.to);
}

/* --- half-close ------------------------------------------------------------------------------- */

static void test_half_close(void)
{
    line l;

    if (!line_open(&l))
        return;
    asocket_write_string(l.out, "question");
    is_status(asocket_finish(l.out), ASOCKET_OK, "P3: our side can be ended");
    ok(test_peer_expect(selector, l.pair.peer, "question"), "P3: what was written arrives");
    is_int(receive_all(selector, l.pair.peer, 0).end, 0, "P3: and the end");
    test_peer_send(l.pair.peer, "answer\n", 7);
    is_int(asocket_read_line(l.in, scratch, sizeof scratch), 6, "P3: the other direction goes on");
    is_status(asocket_finish(l.out), ASOCKET_OK, "P3: ending twice is harmless");
    is_status(asocket_write(l.out, "x", 1), ASOCKET_ECLOSED, "writing after it is refused");
    shutdown(l.pair.peer, SHUT_WR);
    is_status(asocket_read(l.in, scratch, 1), ASOCKET_EOF, "P1: until the peer ends its own");
    line_close(&l);
}

static void test_half_close_by_the_peer(void)
{
    line l;

    if (!line_open(&l))
        return;
    test_peer_send(l.pair.peer, "question\n", 9);
    shutdown(l.pair.peer, SHUT_WR);
    asocket_sleep(selector, 2);
    is_int(asocket_read_line(l.in, scratch, sizeof scratch), 8, "P3: bytes before an end are read");
    is_status(asocket_read_line(l.in, scratch, sizeof scratch), ASOCKET_EOF, "P1: then the end");
    asocket_write_string(l.out, "answer");
    is_status(asocket_flush(l.out), ASOCKET_OK, "P3: writing goes on");
    asocket_write_string(l.out, " and more");
    asocket_close(l.pair.socket);
    ok(test_peer_expect(selector, l.pair.peer, "answer and more"), "P3: and arrives");
    is_int(receive_all(selector, l.pair.peer, 0).end, 0, "P3: with its end");
    line_close(&l);
}

static void test_shutdown_both(void)
{
    line l;

    if (!line_open(&l))
        return;
    test_peer_send(l.pair.peer, "unread", 6);
    asocket_write_string(l.out, "written");
    is_status(asocket_shutdown(l.pair.socket, ASOCKET_READ | ASOCKET_WRITE), ASOCKET_OK,
              "P3: both sides can be shut down");
    is_status(asocket_read(l.in, scratch, 1), ASOCKET_EOF, "P1: reading is at its end");
    is_status(asocket_write(l.out, "x", 1), ASOCKET_ECLOSED, "writing is refused");
    ok(!asocket_is_closed(l.pair.socket), "the socket is open");
    ok(test_peer_expect(selector, l.pair.peer, "written"), "P2: what was written before arrives");
    asocket_close(l.pair.socket);
    is_int(receive_all(selector, l.pair.peer, 0).end, 0, "P2: and the end");
    line_close(&l);
}

/* Bytes that came are not lost by ending the other side. */
static void test_finish_keeps_input(void)
{
    line l;

    if (!line_open(&l))
        return;
    test_peer_send(l.pair.peer, "kept\nback\n", 10);
    is_int(asocket_read_line(l.in, scratch, sizeof scratch), 4, "one line is read");
    asocket_finish(l.out);
    is_int(asocket_read_line(l.in, scratch, sizeof scratch), 4, "P3: the other after the finish");
    line_close(&l);
}

/* --- connections that break ------------------------------------------------------------------- */

/* Reads on: what comes after the last byte? */
static int64_t read_to_the_end(asocket_read_channel *in)
{
    int64_t count;

    do
        count = asocket_read(in, scratch, 100);
    while (count > 0);
    return count;
}

static void line_reset(line *l)
{
    test_peer_reset(l->pair.peer);
    l->pair.peer = -1;
}

static void test_reset_before_reading(const char *bytes)
{
    line l;

    if (!line_open(&l))
        return;
    test_peer_send(l.pair.peer, bytes, strlen(bytes));
    line_reset(&l);
    is_status(read_to_the_end(l.in), ASOCKET_ECONNRESET,
              "P10: a reset %s is one, and no end of the stream",
              *bytes ? "behind some bytes" : "before reading");
    is_status(asocket_read(l.in, scratch, 1), ASOCKET_ECONNRESET, "P10: and stays one");
    ok(undisturbed(), "P10: others are undisturbed");
    line_close(&l);
}

static void test_reset_while_waiting(size_t row)
{
    waiter w;
    line *victim;

    if (!waiter_start(&w, row))
        return;
    victim = waiting_calls[row].closed == CLOSE_FROM ? &w.from : &w.to;
    line_reset(victim);
    asocket_sleep(selector, 2);
    if (ok(ends_soon(&w.ended), "P7: a reset ends %s", waiting_calls[row].name))
        is_status(w.answer, ASOCKET_ECONNRESET, "P10: and it says so");
    is_status(read_to_the_end(victim->in), ASOCKET_ECONNRESET, "P10: so does the next read");
    ok(asocket_write(victim->out, scratch, 20000) == ASOCKET_ECONNRESET,
       "P10: and the next write that reaches the kernel");
    waiter_end(&w);
}

static void test_resets_while_waiting(void)
{
    size_t row;

    for (row = 0; row < WAITING_CALLS; row++)
        if (waiting_calls[row].closed != CLOSE_SERVER && !waiting_calls[row].input &&
            strcmp(waiting_calls[row].name, "copy without input, its target") != 0)
            test_reset_while_waiting(row);
    ok(undisturbed(), "P10: others are undisturbed");
}

/* The error is told once by the system: to the writer. The reader must not see an end. */
static void test_reset_seen_by_the_writer(int flags)
{
    int status = 0, i;
    line l;

    if (!line_open_on(selector, &l, flags))
        return;
    line_reset(&l);
    for (i = 0; i < 3 && !status; i++) {
        status = asocket_write_byte(l.out, 'x');
        status = status ? status : asocket_flush(l.out);
    }
    is_status(status, ASOCKET_ECONNRESET, "P10: a writer notices a reset");
    is_status(read_to_the_end(l.in), ASOCKET_ECONNRESET, "P10: and so does the reader after it");
    line_close(&l);
}

/* The loop that sends in the background notices it first. */
static void test_reset_seen_by_the_loop(void)
{
    line l;

    if (!line_open(&l))
        return;
    line_stuff(&l);
    line_reset(&l);
    asocket_sleep(selector, 5);
    is_status(read_to_the_end(l.in), ASOCKET_ECONNRESET,
              "P10: after the loop noticed a reset the reader is told");
    is_status(asocket_flush(l.out), ASOCKET_ECONNRESET, "P10: and so is the writer");
    line_close(&l);
}

static void test_reset_while_closing(bool flushing)
{
    int64_t start;
    line l;

    if (!line_open(&l))
        return;
    if (flushing)
        line_stuff(&l);
    asocket_close(l.pair.socket);
    asocket_sleep(selector, 2);
    start = test_clock();
    line_reset(&l);
    is_status(asocket_await_closed(l.pair.socket), ASOCKET_OK,
              "P10: a reset ends a close that is %s", flushing ? "flushing" : "draining");
    ok(test_took(start, 0, 100), "P10: at once");
    ok(undisturbed(), "P10: others are undisturbed");
    line_close(&l);
}

static void test_reset_before_accept(void)
{
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0), *client;
    asocket_address address;
    asocket_read_channel *in;

    asocket_local_address(server, &address);
    test_peer_reset(test_peer_connect(address.port));
    asocket_set_timeout(server, 50);
    client = asocket_accept(server);
    if (client) {
        in = asocket_open_read_channel(client);
        is_status(read_to_the_end(in), ASOCKET_ECONNRESET, "P10: a reset before the accept is one");
        asocket_close(client);
    } else {
        is_status(asocket_error(selector), ASOCKET_ETIMEDOUT, "P9: it was skipped");
    }
    asocket_close(server);
}

static void test_reset_after_half_close(void)
{
    line l;

    if (!line_open(&l))
        return;
    asocket_finish(l.out);
    line_reset(&l);
    is_status(read_to_the_end(l.in), ASOCKET_ECONNRESET, "P10: a reset after our finish is one");
    is_status(asocket_finish(l.out), ASOCKET_OK, "P3: finishing once more is harmless");
    line_close(&l);
}

/* shutdown(2) says ENOTCONN when the peer is gone: that is no failure of ours. */
static void test_shutdown_after_reset(void)
{
    line l;

    if (!line_open(&l))
        return;
    line_reset(&l);
    asocket_sleep(selector, 2);
    is_status(asocket_shutdown(l.pair.socket, ASOCKET_READ), ASOCKET_OK,
              "P10: shutdown(READ) after a reset is harmless");
    is_status(asocket_shutdown(l.pair.socket, ASOCKET_WRITE), ASOCKET_OK,
              "P10: so is shutdown(WRITE)");
    is_status(asocket_close(l.pair.socket), ASOCKET_OK, "P10: and the close");
    is_status(asocket_await_closed(l.pair.socket), ASOCKET_OK, "P10: which ends");
    line_close(&l);
}

/* Bytes out of band are of no interest, and stop nothing. */
static void test_out_of_band(void)
{
    line l;

    if (!line_open(&l))
        return;
    send(l.pair.peer, "!", 1, MSG_OOB);
    test_peer_send(l.pair.peer, "line\n", 5);
    is_int(asocket_read_line(l.in, scratch, sizeof scratch), 4, "P10: urgent bytes stop nothing");
    line_close(&l);
}

/* --- a descriptor closed behind the library's back -------------------------------------------- */

static void test_stolen_descriptor(size_t row)
{
    waiter w;
    line *victim;
    uint64_t before;

    if (!waiter_start(&w, row))
        return;
    victim = waiting_calls[row].closed == CLOSE_FROM ? &w.from : &w.to;
    close(asocket_native_handle(victim->pair.socket));
    before = turns();
    ok(undisturbed(), "P10: a descriptor closed behind the library's back hurts nobody else");
    asocket_sleep(selector, 20);
    ok(turns() - before < 50, "P10: nor does the loop spin");
    asocket_abort(victim->pair.socket); /* closes the number again, which nobody has yet */
    ok(ends_soon(&w.ended) && w.answer == ASOCKET_ECLOSED, "P10: who waits for it can be ended");
    waiter_end(&w);
}

/* A duplicate keeps the connection, and with epoll even the registration. */
static void test_duplicated_descriptor(void)
{
    uint64_t before;
    int copy, i;
    line l;

    if (!line_open(&l))
        return;
    asocket_sleep(selector, 1);
    copy = dup(asocket_native_handle(l.pair.socket));
    asocket_abort(l.pair.socket);
    before = turns();
    for (i = 0; i < 5; i++) {
        test_peer_send(l.pair.peer, "x", 1);
        asocket_sleep(selector, 1);
    }
    ok(undisturbed(), "P10: what happens on a duplicate of a closed descriptor disturbs nobody");
    ok(turns() - before < 60, "P10: nor does the loop spin");
    close(copy);
    line_close(&l);
}

static void send_a_byte(asocket_selector *owner, void *argument)
{
    const line *l = (const line *)argument;

    asocket_sleep(owner, 5); /* somebody waits for it by then */
    test_peer_send(l->pair.peer, "x", 1);
}

/* The same connection under the same number again: with epoll it is registered already, and for the
   handle that was closed. */
static void test_number_comes_back(void)
{
    int number, copy;
    asocket_read_channel *in;
    asocket *back;
    line l;

    if (test_skips(TEST_WINDOWS, 4, "nobody chooses the numbers of sockets there"))
        return;
    if (!line_open(&l))
        return;
    asocket_set_timeout(l.pair.socket, 1);
    asocket_read(l.in, scratch, 1); /* nothing is there: now it is watched */
    number = asocket_native_handle(l.pair.socket);
    copy = dup(number);
    asocket_abort(l.pair.socket);
    is_int(dup2(copy, number), number, "a connection gets its number back");
    close(copy);
    back = asocket_adopt(asocket_tcp(selector), number);
    in = asocket_open_read_channel(back);
    is_status(asocket_set_timeout(back, 20), ASOCKET_OK, "and is adopted");
    is_status(asocket_read(in, scratch, 1), ASOCKET_ETIMEDOUT, "P10: it can be waited for");
    asocket_set_timeout(back, 5000);
    asocket_post(selector, send_a_byte, &l);
    is_int(asocket_read(in, scratch, 1), 1, "P10: and is heard of");
    asocket_close(back);
    line_close(&l);
}

static void test_stolen_before_the_call(void)
{
    int64_t answer;
    line l;

    if (!line_open(&l))
        return;
    asocket_set_timeout(l.pair.socket, 30);
    close(asocket_native_handle(l.pair.socket));
    answer = asocket_read(l.in, scratch, 1);
    ok(answer == ASOCKET_ECLOSED || answer == ASOCKET_ETIMEDOUT,
       "P10: reading from a descriptor that is closed ends");
    asocket_write_byte(l.out, 'x');
    is_status(asocket_flush(l.out), ASOCKET_ECLOSED, "P10: writing says that it is closed");
    is_status(asocket_close(l.pair.socket), ASOCKET_OK, "P10: closing it is harmless");
    ok(undisturbed(), "P10: others are undisturbed");
    line_close(&l);
}

int main(int argc, char **argv)
{
    size_t row;

    selector = test_selector(argc, argv);
    backend = test_backend(argc, argv);
    if (!line_open(&bystander))
        return test_end(selector);
    test_small(0, "without a flush");
    test_small(ASOCKET_AUTO_FLUSH, "with auto-flush");
    test_large_to_a_slow_reader(10000);
    test_large_to_a_slow_reader(1000000);
    test_full_channel();
    test_unread_input(false);
    test_unread_input(true);
    test_cancelled_input();
    test_talkative_peer();
    test_returns_at_once();
    test_peer_that_never_reads();
    test_peer_that_never_ends();
    test_peer_that_sends_for_ever();
    test_destroy_flushes(true);
    test_destroy_flushes(false);
    test_abort();
    test_abort_while_closing();
    test_twice();
    for (row = 0; row < WAITING_CALLS; row++)
        test_waiting_call(row, row % 2);
    test_both_directions();
    test_lingering_handle();
    test_address_after_close();
    test_not_used_again_too_soon();
    test_not_used_again_while_launched();
    test_not_used_again_while_inside();
#ifdef NDEBUG
    test_used_again();
#endif
    test_half_close();
    test_half_close_by_the_peer();
    test_shutdown_both();
    test_finish_keeps_input();
    test_reset_before_reading("");
    test_reset_before_reading("some bytes");
    test_resets_while_waiting();
    test_reset_seen_by_the_writer(0);
    test_reset_seen_by_the_writer(ASOCKET_AUTO_FLUSH);
    test_reset_seen_by_the_loop();
    test_reset_while_closing(false);
    test_reset_while_closing(true);
    test_reset_before_accept();
    test_reset_after_half_close();
    test_shutdown_after_reset();
    test_out_of_band();
    test_stolen_descriptor(0);
    test_stolen_descriptor(13);
    test_stolen_before_the_call();
    test_duplicated_descriptor();
    test_number_comes_back();
    line_close(&bystander);
    return test_end(selector);
}
