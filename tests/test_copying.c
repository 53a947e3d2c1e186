/* asocket_copy: between sockets and pipes in all four ways, large, limited, interrupted at any
   moment and continued, with either end breaking. */
#include "bytes.h"

static asocket_selector *selector;

/* --- what goes through ------------------------------------------------------------------------ */

enum { PERIOD = 65521, BLOCK = PERIOD + 65536 }; /* a prime, and no power of two near it */
static char block[BLOCK];

/* The bytes of the stream from a place on: up to 65,536. */
static const char *bytes_at(uint64_t place)
{
    return block + place % PERIOD;
}

static void block_fill(void)
{
    uint32_t seed = 2463534242u;
    size_t i;

    for (i = 0; i < BLOCK; i++)
        block[i] = i < PERIOD ? (char)random_next(&seed) : block[i - PERIOD];
}

/* --- a lane: producer -> source -> copy -> sink -> consumer ------------------------------------ */

typedef struct lane {
    bool from_pipe, to_pipe;
    asocket *sockets[4]; /* of the source, of the sink; both ends */
    asocket_write_channel *feed;
    asocket_read_channel *in;
    asocket_write_channel *out;
    asocket_read_channel *drain;
    uint64_t volume, sent, received;
    uint32_t seed;
    bool slow;      /* the consumer */
    size_t patient; /* bytes that a slow consumer takes between two rests */
} lane;

static const char *name_of(const lane *l)
{
    static const char *const names[] = {"socket to socket", "socket to pipe", "pipe to socket",
                                        "pipe to pipe"};

    return names[l->from_pipe * 2 + l->to_pipe];
}

static void sockets_open(asocket_builder builder, asocket *ends[2])
{
    asocket *server = asocket_bind(builder, "127.0.0.1", 0);
    asocket_address address;

    if (!server || asocket_local_address(server, &address) < 0)
        exit(1);
    ends[0] = asocket_connect_address(builder, &address);
    ends[1] = asocket_accept(server);
    asocket_close(server);
    if (!ends[0] || !ends[1])
        exit(1);
}

/* Small buffers in the system when the capacity is given: every wait happens often. */
static void lane_open(lane *l, bool from_pipe, bool to_pipe, size_t capacity, int flags)
{
    asocket_builder builder = asocket_tcp(selector);

    memset(l, 0, sizeof *l);
    l->from_pipe = from_pipe;
    l->to_pipe = to_pipe;
    l->seed = 88172645u;
    builder.channel_capacity = capacity;
    builder.send_buffer = builder.receive_buffer = capacity ? 8192 : 0;
    if (from_pipe) {
        asocket_pipe(selector, capacity, &l->in, &l->feed);
    } else {
        sockets_open(builder, l->sockets);
        l->feed = asocket_open_write_channel(l->sockets[0], 0);
        l->in = asocket_open_read_channel(l->sockets[1]);
    }
    if (to_pipe) {
        asocket_pipe(selector, capacity, &l->drain, &l->out);
    } else {
        sockets_open(builder, l->sockets + 2);
        l->out = asocket_open_write_channel(l->sockets[2], flags);
        l->drain = asocket_open_read_channel(l->sockets[3]);
    }
}

static void lane_close(lane *l)
{
    int i;

    if (l->from_pipe) {
        asocket_cancel_read(l->in);
        asocket_cancel_write(l->feed, ASOCKET_ECANCELED);
    }
    if (l->to_pipe) {
        asocket_cancel_read(l->drain);
        asocket_cancel_write(l->out, ASOCKET_ECANCELED);
    }
    for (i = 0; i < 4; i++)
        if (l->sockets[i])
            asocket_close(l->sockets[i]);
}

static void produce(asocket_selector *owner, void *argument)
{
    lane *l = (lane *)argument;

    while (l->sent < l->volume) {
        size_t size = l->slow ? 1 + random_below(&l->seed, 5000) : 65536;

        if (size > l->volume - l->sent)
            size = (size_t)(l->volume - l->sent);
        if (asocket_write(l->feed, bytes_at(l->sent), size) != (ptrdiff_t)size)
            return;
        l->sent += size;
        if (l->slow && random_below(&l->seed, 4) == 0) {
            asocket_flush(l->feed);
            asocket_yield(owner);
        }
    }
    check(!asocket_finish(l->feed), "%s: the source ends", name_of(l));
}

static void consume(asocket_selector *owner, void *argument)
{
    lane *l = (lane *)argument;
    char bytes[4096], *large = l->slow ? NULL : (char *)malloc(65536), *to = large ? large : bytes;
    uint64_t rest = l->patient;
    ptrdiff_t count;

    while ((count = asocket_read(l->drain, to, large ? 65536 : sizeof bytes)) > 0) {
        if (!check(!memcmp(to, bytes_at(l->received), (size_t)count), "%s: the bytes at %d",
                   name_of(l), (int)l->received))
            break;
        l->received += (uint64_t)count;
        if (l->slow && l->received > rest) {
            rest = l->received + l->patient;
            asocket_sleep(owner, 1);
        }
    }
    check(count == ASOCKET_EOF, "%s: the sink ends: %d", name_of(l), (int)count);
    free(large);
}

typedef struct copying {
    lane *on;
    int64_t limit, result, transferred;
    bool done;
} copying;

static void copy_now(copying *c)
{
    c->result = asocket_copy(c->on->in, c->on->out, c->limit);
    c->transferred = asocket_transferred(c->on->in);
    check(c->result < 0 || c->result == c->transferred, "the result is what was transferred");
    check(asocket_written(c->on->out) == c->transferred, "what was read was written");
    c->done = true;
}

static void copy_run(asocket_selector *owner, void *argument)
{
    (void)owner;
    copy_now((copying *)argument);
}

static asocket_job launch_copy(copying *c, lane *l, int64_t limit)
{
    memset(c, 0, sizeof *c);
    c->on = l;
    c->limit = limit;
    return asocket_launch(selector, copy_run, c);
}

/* --- whole streams ---------------------------------------------------------------------------- */

static void copy_whole(lane *l, uint64_t volume, size_t most_memory)
{
    size_t memory, before = test_selector_memory.bytes;
    copying c;

    l->volume = volume;
    asocket_launch(selector, produce, l);
    asocket_launch(selector, consume, l);
    launch_copy(&c, l, ASOCKET_FOREVER);
    for (memory = before; !c.done; asocket_poll(selector, ASOCKET_FOREVER))
        if (test_selector_memory.bytes > memory)
            memory = test_selector_memory.bytes;
    check(c.result == (int64_t)volume, "%s: %d bytes are copied", name_of(l), (int)c.result);
    check(memory - before <= most_memory, "%s: it takes %d bytes of memory", name_of(l),
          (int)(memory - before));
    check(!asocket_finish(l->out), "%s: the sink is ended", name_of(l));
    asocket_join_all(selector);
    check(l->received == volume, "%s: %d bytes arrive", name_of(l), (int)l->received);
}

static void test_large(void)
{
    uint64_t volume = test_slowness() > 4 ? 4 << 20 : 64 << 20;
    int kind;
    lane l;

    for (kind = 0; kind < 4; kind++) {
        lane_open(&l, kind & 2, kind & 1, 0, 0);
        copy_whole(&l, kind ? volume / 4 : volume, 400000);
        lane_close(&l);
        checked("P5: %d MiB from %s, byte for byte, in bounded memory",
                (int)((kind ? volume / 4 : volume) >> 20), name_of(&l));
    }
}

static void test_slow_consumer(void)
{
    int kind, flags;
    lane l;

    for (kind = 0; kind < 4; kind++)
        for (flags = 0; flags <= ASOCKET_AUTO_FLUSH; flags++) {
            lane_open(&l, kind & 2, kind & 1, 4096, flags);
            l.slow = true;
            l.patient = 10000;
            copy_whole(&l, 300000, 400000);
            lane_close(&l);
        }
    checked("P5: with a slow consumer and small buffers too, in all four ways");
}

/* What comes in by a socket goes out by it: an echo server in one line. */
static void test_echo(void)
{
    asocket *ends[2];
    lane l;

    memset(&l, 0, sizeof l);
    sockets_open(asocket_tcp(selector), ends);
    l.feed = asocket_open_write_channel(ends[0], 0);
    l.drain = asocket_open_read_channel(ends[0]);
    l.in = asocket_open_read_channel(ends[1]);
    l.out = asocket_open_write_channel(ends[1], 0);
    copy_whole(&l, test_slowness() > 4 ? 1 << 20 : 8 << 20, 400000);
    asocket_close(ends[0]);
    asocket_close(ends[1]);
    checked("P3: a copy of a socket to itself is an echo server");
}

/* Many at a time, none of which gets rid of what it read. */
static void test_memory_of_many(void)
{
    enum { LANES = 20 };
    static lane lanes[LANES];
    static copying copies[LANES];
    size_t memory;
    int i;

    for (i = 0; i < LANES; i++) {
        lane_open(&lanes[i], false, false, 0, 0);
        lanes[i].volume = 16 << 20;
        asocket_launch(selector, produce, &lanes[i]);
        launch_copy(&copies[i], &lanes[i], ASOCKET_FOREVER);
    }
    memory = test_selector_memory.bytes;
    for (i = 0; i < 200; i++)
        asocket_poll(selector, 0);
    for (i = 0; i < LANES; i++)
        check(!copies[i].done, "copy %d waits", i);
    memory = test_selector_memory.bytes - memory;
    check(memory <= 4 * 262144 + LANES * 2 * 16384 + 65536, "%d copies that wait take %d bytes",
          LANES, (int)memory);
    asocket_cancel_all(selector);
    asocket_join_all(selector);
    for (i = 0; i < LANES; i++) {
        asocket_abort(lanes[i].sockets[0]);
        asocket_abort(lanes[i].sockets[2]);
        lane_close(&lanes[i]);
    }
    checked("P5: the memory of many copies that wait is bounded");
}

/* --- limits ----------------------------------------------------------------------------------- */

static void test_limit(bool from_pipe, bool to_pipe)
{
    char bytes[64];
    copying c;
    lane l;

    lane_open(&l, from_pipe, to_pipe, 64, 0);
    asocket_write(l.feed, "0123456789abcdef", 16);
    asocket_flush(l.feed);
    is_int(asocket_copy(l.in, l.out, 0), 0, "%s: a limit of 0 copies nothing", name_of(&l));
    is_int(asocket_copy(l.in, l.out, 10), 10, "%s: a limit of 10", name_of(&l));
    is_int(asocket_read_full(l.drain, bytes, 10), 10, "P4: %s: what is copied is flushed",
           name_of(&l));
    ok(!memcmp(bytes, "0123456789", 10), "%s: in its order", name_of(&l));
    is_int(asocket_read(l.in, bytes, 2), 2, "%s: the rest stays", name_of(&l));
    ok(!memcmp(bytes, "ab", 2), "%s: to be read", name_of(&l));
    launch_copy(&c, &l, 100);
    settle(selector);
    ok(!c.done, "%s: fewer than the limit are waited for", name_of(&l));
    asocket_finish(l.feed);
    ok(run_until(selector, &c.done) && c.result == 4, "%s: the end comes first", name_of(&l));
    is_int(asocket_read_full(l.drain, bytes, 4), 4, "%s: these are copied", name_of(&l));
    is_int(asocket_copy(l.in, l.out, 10), 0, "P1: %s: at the end there is nothing", name_of(&l));
    is_status(asocket_copy(l.in, l.out, -5), ASOCKET_EINVAL, "%s: no limit is negative",
              name_of(&l));
    lane_close(&l);
}

/* Limited copies and reads by turns: each takes up where the last one ended. */
static void copy_by_turns(bool from_pipe, bool to_pipe)
{
    uint32_t seed = 19088743u;
    int64_t place = 0, through = 0;
    char bytes[300];
    lane l;

    lane_open(&l, from_pipe, to_pipe, 100, 0);
    l.slow = true;
    l.volume = 50000;
    asocket_launch(selector, produce, &l);
    while (place < 50000 && !check_failures) {
        int64_t limit = random_below(&seed, 300), got;
        ptrdiff_t count;

        if (to_pipe) /* nobody empties it meanwhile */
            limit %= 100;
        got = asocket_copy(l.in, l.out, limit);
        check(got == limit || place + got == 50000, "a copy of %d: %d", (int)limit, (int)got);
        count = asocket_read_full(l.drain, bytes, (size_t)got);
        check(count == got && !memcmp(bytes, bytes_at((uint64_t)place), (size_t)got),
              "%d bytes at %d", (int)got, (int)place);
        place += got;
        through += got;
        count = asocket_read(l.in, bytes, random_below(&seed, 200));
        check(count == ASOCKET_EOF || !memcmp(bytes, bytes_at((uint64_t)place), (size_t)count),
              "%d bytes read at %d", (int)count, (int)place);
        place += count > 0 ? count : 0;
    }
    check(through > 1000, "much was copied");
    asocket_join_all(selector);
    lane_close(&l);
}

static void test_by_turns(void)
{
    int kind;

    for (kind = 0; kind < 4; kind++)
        copy_by_turns(kind & 2, kind & 1);
    checked(
        "P7: limited copies and plain reads by turns, in all four ways, lose and repeat nothing");
}

/* What was in either channel before the copy keeps its place. */
static void test_order(bool to_pipe)
{
    char line[64];
    lane l;

    lane_open(&l, false, to_pipe, 64, 0);
    asocket_write_string(l.feed, "CONNECT\nbuffered");
    asocket_flush(l.feed);
    is_int(asocket_read_line(l.in, line, sizeof line), 7, "%s: a line was read", name_of(&l));
    ok(asocket_available(l.in) == 8, "%s: more than it was received", name_of(&l));
    asocket_write_string(l.out, "OK\n");
    asocket_write_string(l.feed, " later\n");
    asocket_finish(l.feed);
    is_int(asocket_copy(l.in, l.out, ASOCKET_FOREVER), 15, "%s: the copy", name_of(&l));
    is_int(asocket_read_line(l.drain, line, sizeof line), 2, "%s: what was written comes first",
           name_of(&l));
    is_int(asocket_read_line(l.drain, line, sizeof line), 14, "%s: then what was buffered",
           name_of(&l));
    is_str(line, "buffered later", "%s: then what came", name_of(&l));
    lane_close(&l);
}

/* --- interruptions ---------------------------------------------------------------------------- */

enum { BY_CANCEL, BY_DEADLINE, BY_TIMEOUT, BY_NO_WAIT, INTERRUPTIONS };

static int interrupt(copying *c, int how)
{
    lane *l = c->on;
    int64_t former;
    asocket_job job;
    uint32_t turns;

    switch (how) {
    case BY_CANCEL:
        job = launch_copy(c, l, ASOCKET_FOREVER);
        for (turns = random_below(&l->seed, 8); turns; turns--)
            asocket_poll(selector, 0);
        asocket_cancel(selector, job);
        check(run_until(selector, &c->done), "%s: a cancel ends a copy", name_of(l));
        return ASOCKET_ECANCELED;
    case BY_DEADLINE:
        former = asocket_set_deadline(selector, random_below(&l->seed, 2));
        copy_now(c);
        asocket_restore_deadline(selector, former);
        return ASOCKET_ETIMEDOUT;
    case BY_TIMEOUT: copy_now(c); return ASOCKET_ETIMEDOUT;
    default:
        copy_now(c);
        asocket_yield(selector);
        return ASOCKET_EAGAIN;
    }
}

static void copy_interrupted(lane *l, int how)
{
    int64_t total = 0;
    int interruptions = 0;
    copying c;

    memset(&c, 0, sizeof c);
    c.on = l;
    c.limit = ASOCKET_FOREVER;
    c.result = -1;
    while (c.result < 0 && !check_failures) {
        int expected = interrupt(&c, how);

        check(c.result >= 0 || c.result == expected, "%s: interrupted: %d", name_of(l),
              (int)c.result);
        total += c.transferred;
        interruptions += c.result < 0;
        if (interruptions % 16 == 0)
            asocket_sleep(selector, 1); /* the consumer catches up */
    }
    check(interruptions > 5, "%s: interrupted %d times", name_of(l), interruptions);
    check(total == (int64_t)l->volume, "%s: all copies together moved %d bytes of %d", name_of(l),
          (int)total, (int)l->volume);
}

static void test_interrupted(int how, const char *what)
{
    int kind, i;
    lane l;

    for (kind = 0; kind < (how >= BY_TIMEOUT ? 1 : 4); kind++) {
        lane_open(&l, kind & 2, kind & 1, 512, 0);
        for (i = 1; i < 3; i++)
            if (how >= BY_TIMEOUT)
                asocket_set_timeout(l.sockets[i], how == BY_NO_WAIT ? ASOCKET_NO_WAIT : 1);
        l.slow = true;
        l.patient = 3000;
        l.volume = test_slowness() > 8 ? 50000 : 200000;
        asocket_launch(selector, produce, &l);
        asocket_launch(selector, consume, &l);
        copy_interrupted(&l, how);
        if (l.sockets[2])
            asocket_set_timeout(l.sockets[2], ASOCKET_FOREVER);
        check(!asocket_finish(l.out), "%s: the sink is ended", name_of(&l));
        asocket_join_all(selector);
        check(l.received == l.volume, "%s: %d bytes arrive", name_of(&l), (int)l.received);
        lane_close(&l);
    }
    checked("P7: a copy that is interrupted by %s again and again and goes on each time loses "
            "nothing",
            what);
}

/* --- the ends of the ends --------------------------------------------------------------------- */

static void test_busy(bool wait_for_room)
{
    char bytes[4];
    copying c;
    lane l;

    lane_open(&l, false, true, 16, 0);
    if (wait_for_room)
        asocket_write(l.feed, block, 40), asocket_flush(l.feed);
    launch_copy(&c, &l, ASOCKET_FOREVER);
    settle(selector);
    ok(!c.done, "a copy waits for %s", wait_for_room ? "room" : "bytes");
    is_status(asocket_read(l.in, bytes, 1), ASOCKET_EBUSY, "P12: a second reader");
    is_status(asocket_write(l.out, bytes, 1), ASOCKET_EBUSY, "P12: a second writer");
    is_status(asocket_copy(l.in, l.out, 1), ASOCKET_EBUSY, "P12: a second copy");
    asocket_cancel_all(selector);
    asocket_join_all(selector);
    is_status(c.result, ASOCKET_ECANCELED, "it is cancelled");
    lane_close(&l);
}

/* How the source ends, and what the copy says after passing on all that came before. */
static void test_source_breaks(bool from_pipe, int status)
{
    copying c;
    char bytes[16];
    lane l;

    lane_open(&l, from_pipe, true, 64, 0);
    asocket_write(l.feed, "before", 6);
    asocket_flush(l.feed);
    launch_copy(&c, &l, ASOCKET_FOREVER);
    settle(selector);
    if (from_pipe)
        asocket_cancel_write(l.feed, status);
    else
        asocket_abort(l.sockets[0]);
    ok(run_until(selector, &c.done), "a %s that breaks ends the copy", name_of(&l));
    is_status(c.result, status, "with its status");
    is_int(c.transferred, 6, "and what came before went over");
    asocket_flush(l.out);
    is_int(asocket_read_full(l.drain, bytes, 6), 6, "to be read");
    lane_close(&l);
}

/* The sink breaks while the copy waits for room: what did not go over is still there. */
static void test_sink_breaks(bool to_pipe)
{
    int64_t left = 0;
    copying c;
    char bytes[512];
    ptrdiff_t count;
    lane l;

    lane_open(&l, true, to_pipe, 512, 0);
    l.volume = 1 << 20;
    asocket_launch(selector, produce, &l);
    launch_copy(&c, &l, ASOCKET_FOREVER);
    settle(selector);
    ok(!c.done, "%s: the copy waits for room", name_of(&l));
    if (to_pipe)
        asocket_cancel_read(l.drain);
    else
        asocket_abort(l.sockets[3]);
    ok(run_until(selector, &c.done), "%s: a sink that breaks ends it", name_of(&l));
    is_status(c.result, to_pipe ? ASOCKET_ECANCELED : ASOCKET_ECONNRESET, "%s: with its status",
              name_of(&l));
    while (left + c.transferred < (int64_t)l.volume) {
        count = asocket_read(l.in, bytes, sizeof bytes);
        if (!check(count > 0 &&
                       !memcmp(bytes, bytes_at((uint64_t)(c.transferred + left)), (size_t)count),
                   "%s: the bytes after the copy", name_of(&l)))
            break;
        left += count;
    }
    checked("P7: %s: what did not go over can still be read", name_of(&l));
    asocket_join_all(selector);
    lane_close(&l);
}

int main(int argc, char **argv)
{
    static const char *const interruptions[] = {"a cancel", "a deadline", "a time-out",
                                                "ASOCKET_NO_WAIT"};
    int i;

    selector = test_selector(argc, argv);
    block_fill();
    test_large();
    test_slow_consumer();
    test_echo();
    test_memory_of_many();
    for (i = 0; i < 4; i++)
        test_limit(i & 2, i & 1);
    test_by_turns();
    test_order(false);
    test_order(true);
    for (i = 0; i < INTERRUPTIONS; i++)
        test_interrupted(i, interruptions[i]);
    test_busy(false);
    test_busy(true);
    test_source_breaks(true, ASOCKET_EIO);
    test_source_breaks(false, ASOCKET_ECONNRESET);
    test_sink_breaks(false);
    test_sink_breaks(true);
    return test_end(selector);
}
