/* Every way to write, to a plain socket that looks at what has left and when: flushing, a full
   ring, time-outs and cancels in the middle, resets, half-close, two coroutines on one socket. */
#include "bytes.h"

#include <poll.h>

static asocket_selector *selector;

/* --- the system, watched: these are found before the C library's ------------------------------ */

#ifdef __linux__
#include <sys/syscall.h>

static bool narrow;  /* there never seems to be room for more */
static int no_rooms; /* sends to come that find none */

ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    if (narrow && no_rooms) {
        no_rooms--;
        errno = EAGAIN;
        return -1;
    }
    return (ssize_t)syscall(SYS_sendto, fd, bytes, size, flags, NULL, 0);
}

int ppoll(struct pollfd *handles, nfds_t count, const struct timespec *limit, const sigset_t *mask)
{
    if (narrow && count == 1)
        return 0;
    return (int)syscall(SYS_ppoll, handles, count, limit, mask, (size_t)8);
}
#endif

/* --- a connection to a plain socket ----------------------------------------------------------- */

typedef struct connection {
    asocket *socket;
    int peer;
    asocket_read_channel *in;
    asocket_write_channel *out;
    uint64_t sent, received; /* places in the pattern: of the next byte to write, to arrive */
} connection;

/* Little is kept by the system: some 20 KB before a writer has to wait. */
static int peer_connect(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), size = 4096;

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (!test_peer_dial(fd, "127.0.0.1", port))
        exit(1);
    return fd;
}

static void connection_open(connection *c, size_t capacity, int flags)
{
    asocket_builder builder = asocket_tcp(selector);
    asocket_address address;
    asocket *server;

    memset(c, 0, sizeof *c);
    builder.channel_capacity = capacity;
    builder.send_buffer = 8192;
    server = asocket_bind(builder, "127.0.0.1", 0);
    if (!server || asocket_local_address(server, &address) < 0)
        exit(1);
    c->peer = peer_connect(address.port);
    c->socket = asocket_accept(server);
    asocket_close(server);
    c->in = asocket_open_read_channel(c->socket);
    c->out = asocket_open_write_channel(c->socket, flags);
    if (!c->out)
        exit(1);
}

static void connection_close(connection *c)
{
    if (c->peer >= 0)
        close(c->peer);
    asocket_close(c->socket);
}

/* Whether at least so many bytes reach the peer, without the selector's loop running. */
static bool peer_has(const connection *c, size_t size)
{
    int64_t end = test_clock() + (int64_t)2000000000 * test_slowness();

    while (peer_waiting(c->peer) < size && test_clock() < end)
        poll(NULL, 0, 1);
    return peer_waiting(c->peer) >= size;
}

/* Whether exactly these bytes come next. */
static bool peer_gets(const connection *c, const char *bytes, size_t size)
{
    char got[1024];
    ptrdiff_t count = test_peer_receive(selector, c->peer, got, size);

    return count == (ptrdiff_t)size && !memcmp(got, bytes, size);
}

/* Takes up to `most` bytes that have come to the peer, which must go on with the pattern. */
static size_t drain_some(connection *c, size_t most)
{
    char bytes[8192];
    ssize_t count = recv(c->peer, bytes, most < sizeof bytes ? most : sizeof bytes, MSG_DONTWAIT);

    if (count <= 0)
        return 0;
    check(pattern_is(bytes, (size_t)count, c->received), "the bytes from %d on are in order",
          (int)c->received);
    c->received += (uint64_t)count;
    return (size_t)count;
}

/* Takes all that was sent, with the loop running. */
static void drain_all(connection *c)
{
    int64_t end = test_clock() + (int64_t)10000000000 * test_slowness();

    while (c->received < c->sent && test_clock() < end)
        if (!drain_some(c, (size_t)(c->sent - c->received)))
            asocket_poll(selector, 1);
    check(c->received == c->sent, "%d bytes have come, not %d", (int)c->sent, (int)c->received);
    check(drain_some(c, 1) == 0, "and not one more");
}

/* --- each way to write ------------------------------------------------------------------------ */

static int write_all_kinds(asocket_write_channel *out)
{
    int status = asocket_write(out, "by\0tes", 6) == 6 ? 0 : 1;

    status |= asocket_write_string(out, "text") != 4;
    status |= asocket_write_string(out, "") != 0;
    status |= asocket_write(out, NULL, 0) != 0;
    status |= asocket_printf(out, "%s-%03d|%-4s|%.2f|%c", "printf", 7, "ab", 1.5, 0) != 22;
    status |= asocket_write_byte(out, 0xff);
    status |= asocket_write_u16be(out, 0x8102) | asocket_write_u16le(out, 0x8102);
    status |= asocket_write_u32be(out, 0x81020304) | asocket_write_u32le(out, 0x81020304);
    status |= asocket_write_u64be(out, 0x8102030405060708u);
    status |= asocket_write_u64le(out, 0x8102030405060708u);
    return status;
}

static const char all_kinds[] = "by\0testext"
                                "printf-007|ab  |1.50|\0"
                                "\xff\x81\x02\x02\x81\x81\x02\x03\x04\x04\x03\x02\x81"
                                "\x81\x02\x03\x04\x05\x06\x07\x08\x08\x07\x06\x05\x04\x03\x02\x81";

static void test_all_kinds(void)
{
    static const size_t capacities[] = {8, 9, 17, 64, 0};
    size_t i;
    int flags, round;

    for (i = 0; i < sizeof capacities / sizeof *capacities; i++)
        for (flags = 0; flags <= ASOCKET_AUTO_FLUSH; flags++) {
            connection c;

            connection_open(&c, capacities[i], flags);
            for (round = 0; round < 20; round++)
                check(!write_all_kinds(c.out), "capacity %d, flags %d, round %d",
                      (int)capacities[i], flags, round);
            check(!asocket_flush(c.out), "they are flushed");
            for (round = 0; round < 20; round++)
                check(peer_gets(&c, all_kinds, sizeof all_kinds - 1),
                      "capacity %d, flags %d: they arrive, %d", (int)capacities[i], flags, round);
            connection_close(&c);
        }
    checked(
        "bytes, text, formatted text and integers arrive as written, through rings of any size");
}

static void test_written(void)
{
    connection c;

    connection_open(&c, 16, 0);
    asocket_write(c.out, "12345", 5);
    is_int(asocket_written(c.out), 5, "written says what the last call wrote");
    asocket_printf(c.out, "%d", 123);
    is_int(asocket_written(c.out), 3, "also of printf");
    asocket_write_u32be(c.out, 1);
    is_int(asocket_written(c.out), 4, "and of an integer");
    asocket_write(c.out, "0123456789012345678901234567890123456789", 40);
    is_int(asocket_written(c.out), 40, "and of more than the ring holds");
    asocket_flush(c.out);
    is_int(asocket_written(c.out), 0, "a flush writes nothing new");
    connection_close(&c);
}

/* --- printf ----------------------------------------------------------------------------------- */

/* `before` bytes are in the ring, whose first byte is not at 0 any more; then text of `length`. */
static void print_after(connection *c, size_t before, size_t length)
{
    char text[200], expected[400];

    memset(text, 'p', sizeof text);
    pattern_fill(expected, before, 1);
    memset(expected + before, 'p', length);
    check(asocket_write(c->out, expected, before) == (ptrdiff_t)before, "the bytes before");
    check(asocket_printf(c->out, "%.*s", (int)length, text) == (ptrdiff_t)length &&
              asocket_written(c->out) == (int64_t)length,
          "text of %d after %d", (int)length, (int)before);
    check(!asocket_flush(c->out) && peer_gets(c, expected, before + length),
          "text of %d after %d arrives", (int)length, (int)before);
}

static void test_printf_sizes(void)
{
    size_t before, length;
    connection c;

    connection_open(&c, 16, 0);
    for (before = 0; before <= 16; before++)
        for (length = 0; length <= 36; length++)
            print_after(&c, before, length);
    print_after(&c, 3, 199);
    connection_close(&c);
    checked("printf of every length up to beyond the ring, after every number of bytes");
}

typedef struct printing {
    connection *to;
    const char *text;
    ptrdiff_t result;
} printing;

static void print_long(asocket_selector *owner, void *argument)
{
    printing *p = (printing *)argument;

    (void)owner;
    p->result = asocket_printf(p->to->out, "%d%s%d", 1, p->text, 2);
    asocket_finish(p->to->out);
}

static void test_printf_long(void)
{
    char *text = (char *)malloc(100001), *got = (char *)malloc(100003);
    connection c;
    printing p;

    memset(text, 'x', 100000);
    text[100000] = 0;
    connection_open(&c, 4096, 0);
    p.to = &c, p.text = text;
    asocket_launch(selector, print_long, &p);
    check(test_peer_receive(selector, c.peer, got, 100003) == 100002, "it arrives");
    check(p.result == 100002, "the length is told");
    check(got[0] == '1' && !memcmp(got + 1, text, 100000) && got[100001] == '2', "it is whole");
    connection_close(&c);
    free(text);
    free(got);
    checked("P5: printf of 100,000 bytes through a ring of 4 KiB");
}

static void test_empty_writes_keep_nothing(void)
{
    asocket_statistics before, after;
    connection c;
    char *space;

    connection_open(&c, 0, 0);
    asocket_stats(selector, &before);
    asocket_printf(c.out, "%s", "");
    asocket_write_string(c.out, "");
    asocket_stats(selector, &after);
    is_int(after.buffers, before.buffers, "P5: writing nothing leaves no buffer behind");
    asocket_reserve(c.out, &space, 10);
    asocket_commit(c.out, 0);
    asocket_stats(selector, &after);
    is_int(after.buffers, before.buffers, "P5: nor does a commit of nothing");
    connection_close(&c);
}

/* --- reserve and commit ----------------------------------------------------------------------- */

static void reserve_and_commit(connection *c, size_t before, size_t minimum, size_t count)
{
    char expected[64], *space = NULL;
    ptrdiff_t size;

    pattern_fill(expected, before + count, 50);
    check(asocket_write(c->out, expected, before) == (ptrdiff_t)before, "the bytes before");
    size = asocket_reserve(c->out, &space, minimum);
    if (!check(size >= (ptrdiff_t)minimum && size > 0 && space, "%d after %d: %d", (int)minimum,
               (int)before, (int)size))
        return;
    memset(space, '?', (size_t)size);
    memcpy(space, expected + before, count);
    check(!asocket_commit(c->out, count) && asocket_written(c->out) == (int64_t)count,
          "%d of %d after %d are committed", (int)count, (int)size, (int)before);
    check(!asocket_flush(c->out) && peer_gets(c, expected, before + count),
          "%d of %d after %d arrive", (int)count, (int)size, (int)before);
}

static void test_reserve(void)
{
    size_t before, minimum, count;
    connection c;

    connection_open(&c, 17, 0);
    for (before = 0; before <= 17; before++)
        for (minimum = 0; minimum <= 17; minimum++)
            for (count = 0; count <= minimum; count += 1 + minimum / 3)
                reserve_and_commit(&c, before, minimum, count);
    connection_close(&c);
    checked("reserve gives every number of bytes in one piece; so many as are committed arrive");
}

static void test_reserve_misuse(void)
{
    connection c;
    char *space;
    ptrdiff_t size;

    connection_open(&c, 17, 0);
    is_status(asocket_reserve(c.out, &space, 18), ASOCKET_EMSGSIZE, "reserve above the capacity");
    ok(space == NULL, "gives no space");
    size = asocket_reserve(c.out, &space, 4);
    memset(space, 'a', 4);
    is_status(asocket_commit(c.out, (size_t)size + 1), ASOCKET_EINVAL, "committing too much fails");
    is_status(asocket_commit(c.out, 4), ASOCKET_OK, "and the right number still works");
    is_status(asocket_commit(c.out, 1), ASOCKET_EINVAL, "there is nothing to commit twice");
    asocket_reserve(c.out, &space, 4);
    asocket_write_string(c.out, "xyz");
    is_status(asocket_commit(c.out, 4), ASOCKET_EINVAL, "another call ends the reservation");
    asocket_flush(c.out);
    ok(peer_gets(&c, "aaaaxyz", 7), "nothing else was sent");
    test_take_asserts();
    connection_close(&c);
}

/* --- interruptions ---------------------------------------------------------------------------- */

enum { BY_NO_WAIT, BY_TIMEOUT, BY_DEADLINE, BY_CANCEL, INTERRUPTIONS };
static const char *const interruptions[] = {"ASOCKET_NO_WAIT", "a time-out", "a deadline",
                                            "a cancel"};
static const int statuses[] = {ASOCKET_EAGAIN, ASOCKET_ETIMEDOUT, ASOCKET_ETIMEDOUT,
                               ASOCKET_ECANCELED};

typedef struct writing {
    connection *to;
    size_t size;
    bool formatted; /* by printf */
    ptrdiff_t result;
    bool done;
} writing;

static void write_now(writing *w)
{
    char bytes[3 * 2048];

    pattern_fill(bytes, w->size, w->to->sent);
    if (w->formatted && !memchr(bytes, 0, w->size))
        w->result = asocket_printf(w->to->out, "%.*s", (int)w->size, bytes);
    else
        w->result = asocket_write(w->to->out, bytes, w->size);
    w->done = true;
}

static void write_run(asocket_selector *owner, void *argument)
{
    (void)owner;
    write_now((writing *)argument);
}

static void write_interrupted(writing *w, int how)
{
    asocket *socket = w->to->socket;

    if (how == BY_CANCEL) {
        asocket_job job = asocket_launch(selector, write_run, w);

        settle(selector);
        asocket_cancel(selector, job);
        check(run_until(selector, &w->done), "a cancel ends a wait to write");
    } else if (how == BY_DEADLINE) {
        int64_t former = asocket_set_deadline(selector, 1);

        write_now(w);
        asocket_restore_deadline(selector, former);
    } else {
        asocket_set_timeout(socket, how == BY_NO_WAIT ? ASOCKET_NO_WAIT : 1);
        write_now(w);
        asocket_set_timeout(socket, ASOCKET_FOREVER);
    }
}

/* One write of any size up to three rings: true when it was whole. */
static bool random_write(connection *c, size_t capacity, int how, uint32_t *seed)
{
    int64_t written;
    writing w;

    memset(&w, 0, sizeof w);
    w.to = c;
    w.size = 1 + random_below(seed, (uint32_t)capacity * (random_below(seed, 4) ? 1 : 3));
    w.formatted = random_below(seed, 2) == 1;
    write_interrupted(&w, how);
    written = asocket_written(c->out);
    check(w.result == (ptrdiff_t)w.size || w.result == statuses[how], "%d", (int)w.result);
    check(w.result < 0 || written == w.result, "a whole write is written");
    check(w.result > 0 || written == 0 || w.size > capacity,
          "%s: of %d bytes into a ring of %d, %d were written", interruptions[how], (int)w.size,
          (int)capacity, (int)written);
    c->sent += (uint64_t)written;
    return w.result > 0;
}

static void write_with(int how, size_t capacity, int flags)
{
    uint32_t seed = 19088743u + (uint32_t)capacity;
    int failures = 0, round;
    connection c;

    connection_open(&c, capacity, flags);
    for (round = 0; failures < 25 && round < 100000; round++)
        if (!random_write(&c, capacity, how, &seed)) {
            failures++;
            drain_some(&c, random_below(&seed, 8000));
            settle(selector);
        }
    check(failures == 25, "the writer had to wait");
    drain_all(&c);
    asocket_flush(c.out);
    drain_all(&c);
    connection_close(&c);
}

static void test_interruptions(void)
{
    int how;

    for (how = 0; how < INTERRUPTIONS; how++) {
        write_with(how, 16, 0);
        write_with(how, 17, ASOCKET_AUTO_FLUSH);
        write_with(how, 64, 0);
        write_with(how, 64, ASOCKET_AUTO_FLUSH);
        write_with(how, 2048, 0);
        write_with(how, 2048, ASOCKET_AUTO_FLUSH);
        checked("P7: a write that ends by %s has written all or nothing; above the capacity it "
                "says how much",
                interruptions[how]);
    }
}

/* While a window is reserved, the loop goes on sending what was before it. */
static void reserve_while_draining(size_t capacity)
{
    uint32_t seed = 305419896u;
    int round;
    connection c;

    connection_open(&c, capacity, 0);
    asocket_set_timeout(c.socket, ASOCKET_NO_WAIT);
    for (round = 0; round < 30000 / (int)capacity; round++) {
        size_t most = 1 + random_below(&seed, (uint32_t)capacity), count;
        char *space;
        ptrdiff_t size = asocket_reserve(c.out, &space, most);

        if (random_below(&seed, 8) == 0)
            drain_some(&c, random_below(&seed, 6000));
        settle(selector);
        if (size < 0)
            continue;
        count = random_below(&seed, (uint32_t)size + 1);
        memset(space, '?', (size_t)size);
        pattern_fill(space, count, c.sent);
        check(!asocket_commit(c.out, count), "%d of %d", (int)count, (int)size);
        c.sent += count;
        asocket_flush(c.out);
    }
    asocket_set_timeout(c.socket, ASOCKET_FOREVER);
    drain_all(&c);
    connection_close(&c);
}

static void test_reserve_while_draining(void)
{
    reserve_while_draining(16);
    reserve_while_draining(17);
    reserve_while_draining(100);
    checked("what is committed arrives after what was before it, however much of that has left "
            "since it was reserved");
}

/* A ring that breaks while a window of it is reserved: its block must not become another's yet. */
static void test_reserve_then_reset(void)
{
    static char bytes[16384];
    connection broken, other;
    const char *seen;
    char *space;
    ptrdiff_t size;

    connection_open(&broken, 0, 0);
    connection_open(&other, 0, 0);
    asocket_set_timeout(broken.socket, ASOCKET_NO_WAIT);
    while (asocket_write(broken.out, all_kinds, 50) == 50) {
    }
    size = asocket_reserve(broken.out, &space, 1);
    test_peer_reset(broken.peer);
    broken.peer = -1;
    settle(selector);
    pattern_fill(bytes, sizeof bytes, 0);
    test_peer_send(other.peer, bytes, sizeof bytes);
    is_int(asocket_peek(other.in, &seen, sizeof bytes), sizeof bytes,
           "another connection fills a buffer");
    if (size > 0)
        memset(space, '?', (size_t)size);
    ok(size > 0 && pattern_is(seen, sizeof bytes, 0),
       "P10: who fills a window that was reserved before a reset hurts nobody else");
    is_status(asocket_commit(broken.out, 1), ASOCKET_ECONNRESET, "and is told at the commit");
    connection_close(&broken);
    connection_close(&other);
}

/* --- when bytes leave ------------------------------------------------------------------------- */

static void test_flush(void)
{
    asocket_statistics before, after;
    connection c;
    int i;

    connection_open(&c, 0, 0);
    asocket_yield(selector); /* not in the middle of writing */
    asocket_stats(selector, &before);
    for (i = 0; i < 10; i++)
        asocket_write_string(c.out, "0123456789");
    asocket_stats(selector, &after);
    is_int(after.system_calls, before.system_calls, "P4: small writes make no system call");
    settle(selector);
    asocket_sleep(selector, 5);
    is_int(peer_waiting(c.peer), 0, "P4: without auto-flush nothing leaves before the flush");
    asocket_stats(selector, &before);
    is_status(asocket_flush(c.out), ASOCKET_OK, "P4: the flush");
    asocket_stats(selector, &after);
    is_int(after.system_calls - before.system_calls, 1, "P4: sends it with one call");
    ok(peer_has(&c, 100), "P4: and it is with the kernel, without the loop running");
    is_int(after.buffers, before.buffers - 1, "P5: the buffer goes back");
    connection_close(&c);
}

/* A flush that has to wait returns when the kernel has everything. */
static void flush_run(asocket_selector *owner, void *argument)
{
    writing *w = (writing *)argument;

    (void)owner;
    w->result = asocket_flush(w->to->out);
    w->done = true;
}

/* More than the system may still take when its buffers have filled. */
enum { LARGE_RING = 131072 };

/* Opens a connection whose ring is full. */
static void connection_open_full(connection *c)
{
    char bytes[4096];
    ptrdiff_t count;

    connection_open(c, LARGE_RING, 0);
    asocket_set_timeout(c->socket, ASOCKET_NO_WAIT);
    do {
        pattern_fill(bytes, sizeof bytes, c->sent);
        count = asocket_write(c->out, bytes, sizeof bytes);
        c->sent += count > 0 ? (uint64_t)count : 0;
    } while (count > 0);
    asocket_set_timeout(c->socket, ASOCKET_FOREVER);
}

static void test_flush_waits(void)
{
    connection c;
    writing w;

    connection_open_full(&c);
    memset(&w, 0, sizeof w);
    w.to = &c;
    asocket_launch(selector, flush_run, &w);
    settle(selector);
    ok(!w.done, "P4: a flush waits until there is room");
    while (!w.done && c.received < c.sent)
        if (!drain_some(&c, 8192))
            asocket_poll(selector, 1);
    ok(run_until(selector, &w.done) && w.result == ASOCKET_OK, "P4: and returns");
    asocket_set_timeout(c.socket, ASOCKET_NO_WAIT);
    is_status(asocket_flush(c.out), ASOCKET_OK, "P4: with everything in the kernel");
    drain_all(&c);
    checked("P4: and in order");
    connection_close(&c);
}

/* A finish that is interrupted has not ended anything. */
static void test_finish_waits(void)
{
    connection c;

    connection_open_full(&c);
    asocket_set_timeout(c.socket, ASOCKET_NO_WAIT);
    is_status(asocket_finish(c.out), ASOCKET_EAGAIN, "P7: a finish that must not wait");
    asocket_set_timeout(c.socket, 1);
    is_status(asocket_finish(c.out), ASOCKET_ETIMEDOUT, "P7: one that times out");
    asocket_set_timeout(c.socket, ASOCKET_FOREVER);
    drain_all(&c);
    is_int(asocket_write(c.out, "", 1), 1, "P7: one may go on writing");
    is_status(asocket_finish(c.out), ASOCKET_OK, "P7: and finish later");
    is_int(test_peer_receive(selector, c.peer, &c.sent, 8), 1, "P3: the peer has it all");
    checked("P3: in order");
    connection_close(&c);
}

typedef struct burst {
    connection *to;
    uint64_t calls_before, calls_after; /* of the system, around ten writes */
    size_t arrived;                     /* before the coroutine waits */
    bool yields;
} burst;

static void write_burst(asocket_selector *owner, void *argument)
{
    burst *b = (burst *)argument;
    asocket_statistics before, after;
    int i;

    asocket_stats(owner, &before);
    for (i = 0; i < 10; i++)
        asocket_write_string(b->to->out, "0123456789");
    asocket_stats(owner, &after);
    b->calls_before = after.system_calls - before.system_calls;
    b->arrived = peer_waiting(b->to->peer);
    if (b->yields)
        asocket_yield(owner);
    asocket_stats(owner, &before);
    b->calls_after = before.system_calls - after.system_calls;
}

static void test_auto_flush(bool yields)
{
    const char *when = yields ? "waits" : "ends";
    asocket_statistics before, after;
    connection c;
    burst b;

    connection_open(&c, 0, ASOCKET_AUTO_FLUSH);
    memset(&b, 0, sizeof b);
    b.to = &c;
    b.yields = yields;
    asocket_stats(selector, &before);
    asocket_launch(selector, write_burst, &b);
    asocket_join_all(selector);
    asocket_stats(selector, &after);
    is_int(b.calls_before, 0, "P4: ten small writes of a coroutine make no system call");
    is_int(b.arrived, 0, "P4: and have not left");
    ok(peer_has(&c, 100), "P4: with auto-flush they leave when the coroutine %s", when);
    if (yields)
        ok(b.calls_after <= 2, "P4: in one send");
    ok(after.system_calls - before.system_calls <= 4, "P4: in one send, with what the loop needs");
    is_int(after.buffers, before.buffers, "P5: and leave no buffer behind");
    connection_close(&c);
}

static void test_auto_flush_outside(void)
{
    connection c;

    connection_open(&c, 64, ASOCKET_AUTO_FLUSH);
    asocket_write_string(c.out, "write");
    ok(peer_has(&c, 5), "P4: outside of coroutines a write has left when it returns");
    asocket_printf(c.out, "%s", "printf");
    ok(peer_has(&c, 11), "P4: so has a printf");
    asocket_write_u32be(c.out, 1);
    ok(peer_has(&c, 15), "P4: and an integer");
    connection_close(&c);
}

/* Two auto-flush channels, written to by turns. */
static void write_to_two(asocket_selector *owner, void *argument)
{
    connection *both = (connection *)argument;
    int i;

    for (i = 0; i < 5; i++) {
        asocket_write_string(both[0].out, "a");
        asocket_write_string(both[1].out, "b");
    }
    asocket_sleep(owner, 1);
    asocket_write_string(both[1].out, "c");
    asocket_close(both[1].socket);
    asocket_write_string(both[0].out, "d");
}

static void test_auto_flush_of_two(void)
{
    connection both[2];

    connection_open(&both[0], 0, ASOCKET_AUTO_FLUSH);
    connection_open(&both[1], 0, ASOCKET_AUTO_FLUSH);
    asocket_launch(selector, write_to_two, both);
    asocket_join_all(selector);
    ok(peer_gets(&both[0], "aaaaad", 6), "P4: a coroutine's every channel leaves when it waits");
    ok(peer_gets(&both[1], "bbbbbc", 6), "P2: also one that it closed before");
    connection_close(&both[0]);
    connection_close(&both[1]);
}

/* --- a slow reader ---------------------------------------------------------------------------- */

enum { VOLUME = 4 << 20 };

typedef struct stream {
    connection *to;
    size_t piece, most_memory;
    uint64_t most_buffers;
    bool done;
} stream;

static void write_stream(asocket_selector *owner, void *argument)
{
    stream *s = (stream *)argument;
    char *bytes = (char *)malloc(s->piece);
    asocket_statistics now;

    while (s->to->sent < VOLUME) {
        pattern_fill(bytes, s->piece, s->to->sent);
        if (!check(asocket_write(s->to->out, bytes, s->piece) == (ptrdiff_t)s->piece, "a write"))
            break;
        s->to->sent += s->piece;
        asocket_stats(owner, &now);
        if (now.buffers > s->most_buffers)
            s->most_buffers = now.buffers;
        if (test_selector_memory.bytes > s->most_memory)
            s->most_memory = test_selector_memory.bytes;
    }
    check(!asocket_flush(s->to->out), "the flush");
    free(bytes);
    s->done = true;
}

static void write_to_slow_reader(size_t piece)
{
    asocket_statistics before;
    size_t memory;
    connection c;
    stream s;

    connection_open(&c, 0, 0);
    asocket_stats(selector, &before);
    memset(&s, 0, sizeof s);
    s.to = &c;
    s.piece = piece;
    asocket_launch(selector, write_stream, &s);
    memory = test_selector_memory.bytes;
    settle(selector);
    check(!s.done && c.sent < 200000, "a writer whose ring is full waits");
    while (!s.done && !check_failures)
        if (!drain_some(&c, 8192))
            asocket_poll(selector, 1);
    drain_all(&c);
    check(s.most_buffers <= before.buffers + 1, "it has one buffer");
    check(s.most_memory <= memory + 16384 + 4096, "and no more memory: %d",
          (int)(s.most_memory - memory));
    connection_close(&c);
    checked("P5: %d bytes in writes of %d to a slow reader take one ring", VOLUME, (int)piece);
}

static void test_large_writes_bypass(void)
{
    asocket_statistics before, during;
    connection c;
    stream s;

    connection_open(&c, 0, 0);
    asocket_stats(selector, &before);
    memset(&s, 0, sizeof s);
    s.to = &c;
    s.piece = VOLUME;
    asocket_launch(selector, write_stream, &s);
    settle(selector);
    asocket_stats(selector, &during);
    is_int(during.buffers, before.buffers, "P5: a large write that waits has no buffer");
    while (!s.done && !check_failures)
        if (!drain_some(&c, 8192))
            asocket_poll(selector, 1);
    drain_all(&c);
    checked("P5: it is whole");
    connection_close(&c);
}

/* --- a peer that is gone ---------------------------------------------------------------------- */

static void check_writes_refused(connection *c, int status)
{
    char *space;

    check(asocket_write(c->out, "x", 1) == status, "write");
    check(asocket_write(c->out, all_kinds, 60) == status, "a larger write");
    check(asocket_write_string(c->out, "text") == status, "write_string");
    check(asocket_printf(c->out, "%d", 1) == status, "printf");
    check(asocket_write_byte(c->out, 1) == status, "write_byte");
    check(asocket_write_u16be(c->out, 1) == status && asocket_write_u16le(c->out, 1) == status &&
              asocket_write_u32be(c->out, 1) == status &&
              asocket_write_u32le(c->out, 1) == status &&
              asocket_write_u64be(c->out, 1) == status && asocket_write_u64le(c->out, 1) == status,
          "integers");
    check(asocket_reserve(c->out, &space, 1) == status, "reserve");
    check(asocket_commit(c->out, 0) == status, "commit");
    check(asocket_flush(c->out) == status, "flush");
}

static void test_reset(int flags)
{
    ptrdiff_t result = 0;
    connection c;
    char bytes[4];
    int i;

    connection_open(&c, 0, flags);
    test_peer_send(c.peer, "last", 4);
    test_peer_reset(c.peer);
    c.peer = -1;
    for (i = 0; i < 1000 && result >= 0; i++) {
        result = asocket_write_string(c.out, "into the void");
        if (result > 0)
            result = asocket_flush(c.out);
        settle(selector);
    }
    is_status(result, ASOCKET_ECONNRESET, "P6: writing to a peer that has reset fails");
    check_writes_refused(&c, ASOCKET_ECONNRESET);
    checked("P6: so does every write from then on, and no signal comes");
    is_status(asocket_finish(c.out), ASOCKET_ECONNRESET, "and a finish");
    is_int(asocket_read_full(c.in, bytes, 4), 4, "P3: what came before can still be read");
    is_status(asocket_read(c.in, bytes, 4), ASOCKET_ECONNRESET, "P1: then a reset, not the end");
    connection_close(&c);
}

/* Writes that must wait: one that needs room in the ring, and one that goes past it. */
static const size_t waiting_sizes[] = {100000, 1 << 20};

static void write_zeros(asocket_selector *owner, void *argument)
{
    static const char zeros[1 << 20];
    writing *w = (writing *)argument;

    (void)owner;
    w->result = asocket_write(w->to->out, zeros, w->size);
    w->done = true;
}

/* Opens a connection and starts a write that waits. */
static void writing_open(writing *w, connection *c, size_t size)
{
    connection_open_full(c);
    memset(w, 0, sizeof *w);
    w->to = c;
    w->size = size;
    asocket_launch(selector, write_zeros, w);
    settle(selector);
    ok(!w->done, "a write of %d bytes waits", (int)size);
}

static void test_reset_while_waiting(size_t size)
{
    connection c;
    writing w;

    writing_open(&w, &c, size);
    test_peer_reset(c.peer);
    c.peer = -1;
    ok(run_until(selector, &w.done), "P7: a reset ends a wait to write");
    is_status(w.result, ASOCKET_ECONNRESET, "P10: with ASOCKET_ECONNRESET");
    connection_close(&c);
}

/* --- half-close ------------------------------------------------------------------------------- */

static void test_finish(int flags)
{
    connection c;
    char bytes[8];

    connection_open(&c, 64, flags);
    asocket_write_string(c.out, "the last words");
    is_status(asocket_finish(c.out), ASOCKET_OK, "P3: our side ends");
    ok(peer_gets(&c, "the last words", 14), "P3: after what was written");
    is_int(test_peer_end(selector, c.peer), 0, "P3: in order");
    check_writes_refused(&c, ASOCKET_ECLOSED);
    checked("P3: every later write says ASOCKET_ECLOSED");
    is_status(asocket_finish(c.out), ASOCKET_OK, "P3: finishing twice is harmless");
    is_status(asocket_shutdown(c.socket, ASOCKET_WRITE), ASOCKET_OK, "P3: so is a shutdown");
    test_peer_send(c.peer, "answer", 6);
    is_int(asocket_read_full(c.in, bytes, 6), 6, "P3: the other direction goes on");
    shutdown(c.peer, SHUT_WR);
    is_status(asocket_read(c.in, bytes, 6), ASOCKET_EOF, "P1: until the peer ends it");
    connection_close(&c);
}

static void test_peer_finishes_first(void)
{
    connection c;
    char bytes[8];

    connection_open(&c, 64, ASOCKET_AUTO_FLUSH);
    test_peer_send(c.peer, "ask", 3);
    shutdown(c.peer, SHUT_WR);
    is_int(asocket_read(c.in, bytes, sizeof bytes), 3, "P3: the peer has ended its side");
    is_status(asocket_read(c.in, bytes, sizeof bytes), ASOCKET_EOF, "P1: that is the end");
    is_int(asocket_write_string(c.out, "answer"), 6, "P3: writing goes on");
    ok(peer_gets(&c, "answer", 6), "P3: and arrives");
    is_status(asocket_finish(c.out), ASOCKET_OK, "P3: we end ours");
    is_int(test_peer_end(selector, c.peer), 0, "P3: in order");
    connection_close(&c);
}

static void test_shutdown_unopened(void)
{
    connection c;
    test_pair pair;

    test_pair_open(selector, &pair);
    is_status(asocket_shutdown(pair.socket, ASOCKET_WRITE), ASOCKET_OK,
              "P3: a side that was never opened can be ended");
    is_int(test_peer_end(selector, pair.peer), 0, "P3: the peer sees the end");
    c.out = asocket_open_write_channel(pair.socket, 0);
    is_status(asocket_write(c.out, "x", 1), ASOCKET_ECLOSED, "P3: opened later, it is finished");
    test_pair_close(&pair);
}

/* --- who may write, and until when ------------------------------------------------------------ */

/* Starts a write that must wait, of more than the system takes. */
static asocket_job wait_to_write(connection *c, stream *s)
{
    asocket_job job;

    memset(s, 0, sizeof *s);
    s->to = c;
    s->piece = VOLUME;
    job = asocket_launch(selector, write_stream, s);
    settle(selector);
    return job;
}

static void test_second_writer(void)
{
    connection c;
    stream s;

    connection_open(&c, 16, 0);
    wait_to_write(&c, &s);
    ok(!s.done, "P12: a first writer waits");
    check_writes_refused(&c, ASOCKET_EBUSY);
    checked("P12: a second writer is told ASOCKET_EBUSY by every call");
    is_status(asocket_finish(c.out), ASOCKET_EBUSY, "P12: so is who wants to finish");
    is_status(asocket_shutdown(c.socket, ASOCKET_WRITE), ASOCKET_EBUSY, "P12: or to shut down");
    while (!s.done && !check_failures)
        if (!drain_some(&c, 8192))
            asocket_poll(selector, 1);
    drain_all(&c);
    checked("P12: the first is undisturbed");
    connection_close(&c);
}

static void test_cancel_write(size_t size)
{
    asocket_statistics before, after;
    connection c;
    writing w;
    char bytes[10];

    asocket_stats(selector, &before);
    writing_open(&w, &c, size);
    is_status(asocket_cancel_write(c.out, ASOCKET_EIO), ASOCKET_OK, "writing can be given up");
    ok(run_until(selector, &w.done), "P7: who waits goes on");
    is_status(w.result, ASOCKET_ECANCELED, "P7: with ASOCKET_ECANCELED");
    check_writes_refused(&c, ASOCKET_ECANCELED);
    checked("every write then says ASOCKET_ECANCELED");
    asocket_stats(selector, &after);
    is_int(after.buffers, before.buffers, "P5: the unsent bytes are gone");
    test_peer_send(c.peer, "still here", 10);
    is_int(asocket_read_full(c.in, bytes, 10), 10, "P3: reading goes on");
    asocket_close(c.socket);
    is_int(test_peer_end(selector, c.peer), -ECONNRESET,
           "the peer does not take what it got for everything");
    connection_close(&c);
}

/* Without a writer that waits: some bytes are in the ring, or none. */
static void test_cancel_write_unsent(bool unsent)
{
    connection c;

    connection_open(&c, 0, 0);
    asocket_write_string(c.out, "all");
    asocket_flush(c.out);
    if (unsent)
        asocket_write_string(c.out, "but these");
    is_status(asocket_cancel_write(c.out, ASOCKET_EIO), ASOCKET_OK, "writing is given up");
    is_status(asocket_finish(c.out), ASOCKET_ECANCELED, "and cannot be finished");
    asocket_close(c.socket);
    is_int(test_peer_end(selector, c.peer), unsent ? -ECONNRESET : 0, "the peer sees %s",
           unsent ? "a reset, for bytes were lost" : "the end, for nothing was lost");
    connection_close(&c);
}

static void test_close_while_writing(size_t size)
{
    connection c;
    writing w;

    writing_open(&w, &c, size);
    asocket_close(c.socket);
    ok(run_until(selector, &w.done), "P8: a close ends a wait to write");
    is_status(w.result, ASOCKET_ECLOSED, "P8: with ASOCKET_ECLOSED");
    check_writes_refused(&c, ASOCKET_ECLOSED);
    checked("P8: every write to a closed socket says ASOCKET_ECLOSED");
    is_status(asocket_finish(c.out), ASOCKET_ECLOSED, "P8: a finish too");
    connection_close(&c);
}

typedef struct goodbye {
    connection *to;
    int waited, again, got;
    ptrdiff_t written, large;
    int flushed, finished;
} goodbye;

static void say_goodbye(asocket_selector *owner, void *argument)
{
    goodbye *g = (goodbye *)argument;
    char bytes[8];

    (void)owner;
    g->waited = (int)asocket_read_full(g->to->in, bytes, 5);
    g->again = (int)asocket_read_full(g->to->in, bytes, 5);
    g->got = (int)asocket_read(g->to->in, bytes, sizeof bytes);
    g->written = asocket_write_string(g->to->out, "good");
    g->large = asocket_write(g->to->out, "bye, larger than the ring", 25);
    g->flushed = asocket_flush(g->to->out);
    g->finished = asocket_finish(g->to->out);
}

/* A cancel stays, but what need not wait is still done. */
static void test_goodbye(void)
{
    asocket_job job;
    connection c;
    goodbye g;

    connection_open(&c, 16, ASOCKET_AUTO_FLUSH);
    memset(&g, 0, sizeof g);
    g.to = &c;
    job = asocket_launch(selector, say_goodbye, &g);
    test_peer_send(c.peer, "1234", 4);
    settle(selector);
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(g.waited, ASOCKET_ECANCELED, "P7: a cancel ends a wait");
    is_status(g.again, ASOCKET_ECANCELED, "P7: and the next one");
    is_int(g.got, 4, "P7: but what is there can be read");
    is_int(g.written, 4, "P7: and what there is room for be written");
    is_int(g.large, 25, "P7: also past the ring");
    is_status(g.flushed, ASOCKET_OK, "P7: and flushed");
    is_status(g.finished, ASOCKET_OK, "P7: and finished");
    ok(peer_gets(&c, "goodbye, larger than the ring", 29), "P7: a goodbye arrives");
    is_int(test_peer_end(selector, c.peer), 0, "P3: and the end");
    connection_close(&c);
}

static void test_open_twice(void)
{
    connection c;

    connection_open(&c, 64, 0);
    ok(asocket_open_write_channel(c.socket, ASOCKET_AUTO_FLUSH) == NULL,
       "a write channel is opened once");
    is_status(asocket_error(selector), ASOCKET_EBUSY, "the second time: ASOCKET_EBUSY");
    asocket_write_string(c.out, "first");
    settle(selector);
    is_int(peer_waiting(c.peer), 0, "the first one keeps its flags");
    asocket_flush(c.out);
    ok(peer_gets(&c, "first", 5), "and works");
    connection_close(&c);
}

/* --- both directions -------------------------------------------------------------------------- */

typedef struct end {
    asocket *socket;
    asocket_read_channel *in;
    asocket_write_channel *out;
    uint64_t sent, received;
    size_t volume;
    int status;
} end;

static void send_all(asocket_selector *owner, void *argument)
{
    end *e = (end *)argument;
    char bytes[10007];

    (void)owner;
    while (e->sent < e->volume && !e->status) {
        size_t size = e->volume - (size_t)e->sent;

        size = size < sizeof bytes ? size : sizeof bytes;
        pattern_fill(bytes, size, e->sent);
        if (asocket_write(e->out, bytes, size) < 0)
            e->status = asocket_error(owner);
        e->sent += size;
    }
    if (!e->status)
        e->status = asocket_finish(e->out);
}

static void receive_all(asocket_selector *owner, void *argument)
{
    end *e = (end *)argument;
    char bytes[8192];
    ptrdiff_t count;

    (void)owner;
    while ((count = asocket_read(e->in, bytes, sizeof bytes)) > 0) {
        check(pattern_is(bytes, (size_t)count, e->received), "the bytes at %d", (int)e->received);
        e->received += (uint64_t)count;
    }
    check(count == ASOCKET_EOF, "the end: %d", (int)count);
}

/* Reads everything before it writes anything. */
static void echo_late(asocket_selector *owner, void *argument)
{
    asocket *socket = (asocket *)argument;
    asocket_read_channel *in = asocket_open_read_channel(socket);
    asocket_write_channel *out = asocket_open_write_channel(socket, 0);
    char *all = (char *)malloc(VOLUME * 2 + 1);
    size_t size = 0;
    ptrdiff_t count;

    (void)owner;
    while ((count = asocket_read(in, all + size, VOLUME * 2 + 1 - size)) > 0)
        size += (size_t)count;
    check(count == ASOCKET_EOF, "the server sees the end");
    check(asocket_write(out, all, size) == (ptrdiff_t)size, "the server writes it all");
    check(!asocket_finish(out), "the server ends");
    free(all);
}

static asocket *library_pair(asocket_builder builder, asocket **client)
{
    asocket *server = asocket_bind(builder, "127.0.0.1", 0), *socket;
    asocket_address address;

    if (!server || asocket_local_address(server, &address) < 0)
        exit(1);
    *client = asocket_connect_address(builder, &address);
    socket = asocket_accept(server);
    asocket_close(server);
    if (!*client || !socket)
        exit(1);
    return socket;
}

static void test_late_echo(void)
{
    asocket *server;
    end e;

    memset(&e, 0, sizeof e);
    server = library_pair(asocket_tcp(selector), &e.socket);
    e.in = asocket_open_read_channel(e.socket);
    e.out = asocket_open_write_channel(e.socket, 0);
    e.volume = VOLUME * 2;
    asocket_launch_socket(selector, echo_late, server);
    asocket_launch(selector, send_all, &e);
    asocket_launch(selector, receive_all, &e);
    is_status(asocket_join_all(selector), ASOCKET_OK, "P3: 8 MiB go to a server and come back");
    is_status(e.status, ASOCKET_OK, "P3: the client ends its side");
    is_int(e.received, VOLUME * 2,
           "P3: after that all of it is echoed, by a server that reads "
           "everything before it writes");
    checked("P12: one coroutine reads while another writes, the bytes are in order");
    asocket_close(e.socket);
}

/* Both ends send and receive at the same time: four coroutines on two sockets. */
static void test_both_ways(size_t capacity)
{
    asocket_builder builder = asocket_tcp(selector);
    end ends[2];
    int i;

    memset(ends, 0, sizeof ends);
    builder.channel_capacity = capacity;
    ends[0].socket = library_pair(builder, &ends[1].socket);
    for (i = 0; i < 2; i++) {
        ends[i].in = asocket_open_read_channel(ends[i].socket);
        ends[i].out = asocket_open_write_channel(ends[i].socket, i ? ASOCKET_AUTO_FLUSH : 0);
        ends[i].volume = VOLUME / 4;
        asocket_launch(selector, send_all, &ends[i]);
        asocket_launch(selector, receive_all, &ends[i]);
    }
    asocket_join_all(selector);
    for (i = 0; i < 2; i++) {
        check(ends[i].received == VOLUME / 4 && !ends[i].status, "end %d", i);
        asocket_close(ends[i].socket);
    }
    checked("P12: both ends send and receive at the same time, rings of %d bytes", (int)capacity);
}

/* One thread, no coroutine: listen, connect, write, accept, read. */
static void test_single_thread_order(void)
{
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0), *client, *accepted;
    asocket_address address;
    char line[32];

    asocket_local_address(server, &address);
    client = asocket_connect_address(asocket_tcp(selector), &address);
    asocket_write_string(asocket_open_write_channel(client, ASOCKET_AUTO_FLUSH), "hello\n");
    accepted = asocket_accept(server);
    is_int(asocket_read_line(asocket_open_read_channel(accepted), line, sizeof line), 5,
           "P4: listen, connect, write, accept, read in one thread without coroutines");
    is_str(line, "hello", "the line is there");
    asocket_close(client);
    asocket_close(accepted);
    asocket_close(server);
}

#ifdef __linux__
/* What a write outside of coroutines could not send at once leaves before the write returns, for
   others run when it must not wait: then it was written. */
static void test_sent_by_others(void)
{
    static char bytes[2000], got[2000];
    connection c;
    int i, k;

    for (i = 0; i < 70; i++) {
        connection_open(&c, 16384, ASOCKET_AUTO_FLUSH);
        asocket_set_timeout(c.socket, ASOCKET_NO_WAIT);
        for (k = 0; k < i; k++) /* others run after some of these */
            check(asocket_read(c.in, got, 1) == ASOCKET_EAGAIN, "nothing comes");
        narrow = true;
        no_rooms = 1;
        check(asocket_write(c.out, bytes, sizeof bytes) == (ptrdiff_t)sizeof bytes,
              "write %d that fits the channel: %s", i, asocket_error_message(selector));
        narrow = false;
        check(test_peer_receive(selector, c.peer, got, sizeof got) == (ptrdiff_t)sizeof got,
              "it arrives");
        connection_close(&c);
    }
    checked("P7: a write that must not wait says what became of it");
}
#else
static void test_sent_by_others(void)
{
    skip(1, "sends cannot be made to fail here");
}
#endif

int main(int argc, char **argv)
{
    int i;

    selector = test_selector(argc, argv);
    test_all_kinds();
    test_written();
    test_printf_sizes();
    test_printf_long();
    test_empty_writes_keep_nothing();
    test_reserve();
    test_reserve_misuse();
    test_interruptions();
    test_reserve_while_draining();
    test_reserve_then_reset();
    test_flush();
    test_flush_waits();
    test_finish_waits();
    test_auto_flush(true);
    test_auto_flush(false);
    test_auto_flush_outside();
    test_auto_flush_of_two();
    write_to_slow_reader(1000);
    write_to_slow_reader(16384);
    write_to_slow_reader(100000);
    test_large_writes_bypass();
    test_reset(0);
    test_reset(ASOCKET_AUTO_FLUSH);
    test_finish(0);
    test_finish(ASOCKET_AUTO_FLUSH);
    test_peer_finishes_first();
    test_shutdown_unopened();
    test_second_writer();
    test_cancel_write_unsent(true);
    test_cancel_write_unsent(false);
    for (i = 0; i < 2; i++) {
        test_reset_while_waiting(waiting_sizes[i]);
        test_cancel_write(waiting_sizes[i]);
        test_close_while_writing(waiting_sizes[i]);
    }
    test_goodbye();
    test_open_twice();
    test_late_echo();
    test_both_ways(64);
    test_both_ways(16384);
    test_single_thread_order();
    test_sent_by_others();
    return test_end(selector);
}
