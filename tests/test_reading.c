/* Every way to read, over TCP from a plain socket and over a pipe: in all splits, byte by byte,
   with the end, a reset, a time-out, a deadline and a cancel at every place, at every position of
   a small ring. */
#include "bytes.h"

static asocket_selector *selector;

/* --- where the bytes come from ---------------------------------------------------------------- */

typedef struct source {
    bool pipe;
    size_t capacity;
    asocket *socket;
    int peer;
    asocket_read_channel *in;
    asocket_write_channel *out; /* of the pipe */
} source;

static void source_open(source *s, bool pipe, size_t capacity)
{
    asocket_builder builder = asocket_tcp(selector);
    test_pair pair;

    memset(s, 0, sizeof *s);
    s->pipe = pipe;
    s->capacity = capacity ? capacity : 16384;
    s->peer = -1;
    if (pipe) {
        check(!asocket_pipe(selector, capacity, &s->in, &s->out), "a pipe can be made");
        return;
    }
    builder.channel_capacity = capacity;
    if (!test_pair_open_with(builder, &pair))
        exit(done_testing());
    asocket_close(pair.server);
    peer_no_delay(pair.peer);
    s->socket = pair.socket;
    s->peer = pair.peer;
    s->in = asocket_open_read_channel(s->socket);
    check(s->in != NULL, "a read channel can be opened");
}

static void source_close(source *s)
{
    if (s->pipe) {
        asocket_cancel_write(s->out, ASOCKET_ECANCELED);
        asocket_cancel_read(s->in);
    } else {
        if (s->peer >= 0)
            close(s->peer);
        asocket_close(s->socket);
    }
    memset(s, 0, sizeof *s);
}

/* The bytes are there for the reader at once. */
static void source_feed(source *s, const char *bytes, size_t size)
{
    if (s->pipe)
        check(asocket_write(s->out, bytes, size) == (ptrdiff_t)size && !asocket_flush(s->out),
              "the pipe takes %d bytes", (int)size);
    else
        check(peer_feed(selector, s->peer, bytes, size), "the peer sends %d bytes", (int)size);
}

static void source_end(source *s)
{
    if (s->pipe)
        check(!asocket_finish(s->out), "the pipe ends");
    else
        check(!shutdown(s->peer, SHUT_WR), "the peer ends");
}

/* After the bytes that were fed the connection breaks: ASOCKET_ECONNRESET. */
static void source_break(source *s)
{
    if (s->pipe) {
        check(!asocket_cancel_write(s->out, ASOCKET_ECONNRESET), "the pipe breaks");
    } else {
        test_peer_reset(s->peer);
        s->peer = -1;
    }
}

static const char *name_of(const source *s)
{
    return s->pipe ? "pipe" : "socket";
}

/* --- what is read ----------------------------------------------------------------------------- */

/* WHOLE: consumes all or nothing. LINE: so too, but the end of the stream ends it as well. DROP and
   DROP_UNTIL: consume as they go. */
enum { WHOLE, LINE, DROP, DROP_UNTIL };

typedef struct message {
    const char *name;
    int kind;
    ptrdiff_t (*take)(asocket_read_channel *in, char *out);
    const char *wire; /* 8 bytes at most: it fits the smallest ring */
    size_t size;      /* of wire */
    ptrdiff_t result;
    const char *value; /* what take leaves in `out` */
} message;

static int64_t progress; /* of a message that consumes as it goes, over its attempts */

static ptrdiff_t take_full(asocket_read_channel *in, char *out)
{
    return asocket_read_full(in, out, 8);
}

static ptrdiff_t take_line(asocket_read_channel *in, char *out)
{
    return asocket_read_line(in, out, 64);
}

static ptrdiff_t take_until(asocket_read_channel *in, char *out)
{
    return asocket_read_until(in, "||", 2, out, 64);
}

static ptrdiff_t take_until_one(asocket_read_channel *in, char *out)
{
    return asocket_read_until(in, "\0", 1, out, 64);
}

static ptrdiff_t take_byte(asocket_read_channel *in, char *out)
{
    int value = asocket_read_byte(in);

    out[0] = (char)value;
    return value < 0 ? value : 1;
}

static ptrdiff_t take_peek(asocket_read_channel *in, char *out)
{
    const char *bytes;
    ptrdiff_t count = asocket_peek(in, &bytes, 7);

    if (count < 0)
        return count;
    check(count >= 7 && asocket_available(in) >= count, "peek shows what it says");
    memcpy(out, bytes, 7);
    count = asocket_consume(in, 7);
    return count < 0 ? count : 7;
}

static ptrdiff_t take_discard(asocket_read_channel *in, char *out)
{
    ptrdiff_t count = asocket_discard(in, (size_t)(8 - progress));

    (void)out;
    progress += asocket_transferred(in);
    return count < 0 ? count : (ptrdiff_t)progress;
}

static ptrdiff_t take_discard_until(asocket_read_channel *in, char *out)
{
    ptrdiff_t count = asocket_discard_until(in, "||", 2);

    (void)out;
    progress += asocket_transferred(in);
    return count < 0 ? count : (ptrdiff_t)progress;
}

#define TAKE_NUMBER(name, type)                                                   \
    static ptrdiff_t take_##name(asocket_read_channel *in, char *out)             \
    {                                                                             \
        type value = 0;                                                           \
        int status = asocket_read_##name(in, &value);                             \
                                                                                  \
        return status ? status : sprintf(out, "%llx", (unsigned long long)value); \
    }
TAKE_NUMBER(u16be, uint16_t)
TAKE_NUMBER(u16le, uint16_t)
TAKE_NUMBER(u32be, uint32_t)
TAKE_NUMBER(u32le, uint32_t)
TAKE_NUMBER(u64be, uint64_t)
TAKE_NUMBER(u64le, uint64_t)

static const message messages[] = {
    {"read_full", WHOLE, take_full,
     "\0"
     "1\r\n5678",
     8, 8,
     "\0"
     "1\r\n5678"},
    {"read_line with LF", LINE, take_line, "abcdef\n", 7, 6, "abcdef"},
    {"read_line with CRLF", LINE, take_line, "abcdef\r\n", 8, 6, "abcdef"},
    {"read_line with lone CRs", LINE, take_line, "\r\rb\r\r\r\n", 7, 5, "\r\rb\r\r"},
    {"read_line of an empty line", LINE, take_line, "\r\n", 2, 0, ""},
    {"read_until", WHOLE, take_until, "a|b|c||", 7, 5, "a|b|c"},
    {"read_until a NUL", WHOLE, take_until_one, "word\0", 5, 4, "word"},
    {"read_byte", WHOLE, take_byte, "\xff", 1, 1, "\xff"},
    {"read_u16be", WHOLE, take_u16be, "\x81\x02", 2, 4, "8102"},
    {"read_u16le", WHOLE, take_u16le, "\x02\x81", 2, 4, "8102"},
    {"read_u32be", WHOLE, take_u32be, "\x81\x02\x03\x04", 4, 8, "81020304"},
    {"read_u32le", WHOLE, take_u32le, "\x04\x03\x02\x81", 4, 8, "81020304"},
    {"read_u64be", WHOLE, take_u64be, "\x81\2\3\4\5\6\7\x88", 8, 16, "8102030405060788"},
    {"read_u64le", WHOLE, take_u64le, "\x88\7\6\5\4\3\2\x81", 8, 16, "8102030405060788"},
    {"peek and consume", WHOLE, take_peek, "1234567", 7, 7, "1234567"},
    {"discard", DROP, take_discard, "12345678", 8, 8, ""},
    {"discard_until", DROP_UNTIL, take_discard_until, "|345|6||", 8, 8, ""},
};
enum { MESSAGES = sizeof messages / sizeof *messages };

typedef struct attempt {
    const source *from;
    const message *what;
    char out[80];
    ptrdiff_t result;
    bool done;
} attempt;

static void attempt_now(attempt *a)
{
    memset(a->out, 0, sizeof a->out);
    a->result = a->what->take(a->from->in, a->out);
    a->done = true;
}

static void attempt_run(asocket_selector *owner, void *argument)
{
    (void)owner;
    attempt_now((attempt *)argument);
}

static void attempt_prepare(attempt *a, const source *s, const message *m)
{
    memset(a, 0, sizeof *a);
    a->from = s;
    a->what = m;
    progress = 0;
}

/* Starts it in a coroutine and lets it run until it waits. */
static asocket_job attempt_launch(attempt *a, const source *s, const message *m)
{
    asocket_job job;

    attempt_prepare(a, s, m);
    job = asocket_launch(selector, attempt_run, a);
    check(job != 0, "a coroutine can be launched");
    settle(selector);
    return job;
}

static bool is_the_value(const attempt *a)
{
    const message *m = a->what;

    return a->result == m->result &&
           !memcmp(a->out, m->value, m->kind >= DROP ? 0 : (size_t)m->result);
}

/* --- every split, every position of the ring -------------------------------------------------- */

/* The ring's first byte is moved to `head`, `split` bytes are there, then the rest comes. */
static void read_split(source *s, const message *m, size_t head, size_t split)
{
    char filler[64], skipped[64], rest[16];
    attempt a;

    pattern_fill(filler, head, 77);
    memcpy(filler + head, m->wire, split);
    source_feed(s, filler, head + split);
    check(asocket_read_full(s->in, skipped, head) == (ptrdiff_t)head &&
              pattern_is(skipped, head, 77),
          "%s: the %d bytes before it", m->name, (int)head);
    attempt_launch(&a, s, m);
    check(a.done == (split == m->size), "%s waits for its last byte", m->name);
    memcpy(rest, m->wire + split, m->size - split);
    rest[m->size - split] = 'Z';
    source_feed(s, rest, m->size - split + 1);
    check(run_until(selector, &a.done) && is_the_value(&a),
          "%s over a %s of capacity %d, head %d, split at %d: got %d, \"%s\"", m->name, name_of(s),
          (int)s->capacity, (int)head, (int)split, (int)a.result, a.out);
    check(asocket_read_byte(s->in) == 'Z', "%s takes no byte more", m->name);
}

static void read_all_splits(bool pipe, size_t capacity)
{
    size_t head, split, step = test_slowness() > 8 ? 3 : 1;
    source s;
    int i;

    source_open(&s, pipe, capacity);
    for (i = 0; i < MESSAGES && !check_failures; i++)
        for (head = 0; head < s.capacity && head < 20; head += step)
            for (split = 0; split <= messages[i].size; split++)
                if (!pipe || head + split <= s.capacity)
                    read_split(&s, &messages[i], head, split);
    source_close(&s);
    checked("P7: every read over a %s of %d bytes, in all splits, at every place of the ring",
            pipe ? "pipe" : "socket", (int)capacity);
}

static void test_splits(void)
{
    static const size_t capacities[] = {8, 9, 16, 17, 64};
    size_t i;

    for (i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        read_all_splits(false, capacities[i]);
        read_all_splits(true, capacities[i]);
    }
}

/* --- one byte at a time ----------------------------------------------------------------------- */

static void read_bytewise(source *s, const message *m)
{
    attempt a;
    size_t i;

    attempt_launch(&a, s, m);
    for (i = 0; i < m->size; i++) {
        check(!a.done, "%s: not done before byte %d", m->name, (int)i);
        source_feed(s, m->wire + i, 1);
        settle(selector);
    }
    check(run_until(selector, &a.done) && is_the_value(&a), "%s over a %s, byte by byte: %d",
          m->name, name_of(s), (int)a.result);
}

static void test_bytewise(void)
{
    int kind, round, i;

    for (kind = 0; kind < 2; kind++) {
        source s;

        source_open(&s, kind == 1, 17);
        for (round = 0; round < 5; round++)
            for (i = 0; i < MESSAGES; i++)
                read_bytewise(&s, &messages[i]);
        check(asocket_available(s.in) == 0, "nothing is left");
        source_close(&s);
        checked("P7: every read over a %s when bytes come one at a time", kind ? "pipe" : "socket");
    }
}

/* --- the end and a reset at every place ------------------------------------------------------- */

/* What a read answers when the stream ends with `status` after `have` of its bytes. */
static ptrdiff_t result_at_end(const message *m, size_t have, int status)
{
    if (status == ASOCKET_EOF && have && (m->kind == LINE || m->kind == DROP))
        return (ptrdiff_t)have;
    return status;
}

/* How many bytes are still to be read then. */
static size_t left_at_end(const message *m, size_t have, int status)
{
    if (m->kind == DROP)
        return 0;
    if (m->kind == DROP_UNTIL)
        return have ? 1 : 0;
    return m->kind == LINE && status == ASOCKET_EOF ? 0 : have;
}

static void check_after_end(source *s, const attempt *a, size_t have, int status)
{
    const message *m = a->what;
    size_t left = left_at_end(m, have, status);
    char bytes[16];

    check(a->result == result_at_end(m, have, status), "%s over a %s, %s after %d bytes: got %d",
          m->name, name_of(s), asocket_strerror(status), (int)have, (int)a->result);
    if (m->kind == LINE && a->result >= 0)
        check(!memcmp(a->out, m->wire, have) && !a->out[have], "the last line has its bytes");
    check(asocket_available(s->in) == (ptrdiff_t)left, "%s, %s after %d: %d bytes are left",
          m->name, asocket_strerror(status), (int)have, (int)asocket_available(s->in));
    check(asocket_read_full(s->in, bytes, left) == (ptrdiff_t)left &&
              !memcmp(bytes, m->wire + have - left, left),
          "%s: what was not consumed can be read", m->name);
    check(asocket_read(s->in, bytes, 1) == status && asocket_read_byte(s->in) == status &&
              asocket_read_line(s->in, bytes, sizeof bytes) == status,
          "%s after %d: the end is told again", m->name, (int)have);
}

/* `parked`: the read waits already when the bytes and the end come. */
static void read_to_end(bool pipe, const message *m, size_t have, int status, bool parked)
{
    source s;
    attempt a;

    source_open(&s, pipe, 16);
    if (parked)
        attempt_launch(&a, &s, m);
    else
        attempt_prepare(&a, &s, m);
    source_feed(&s, m->wire, have);
    if (parked)
        settle(selector);
    if (status == ASOCKET_EOF)
        source_end(&s);
    else
        source_break(&s);
    if (parked)
        check(run_until(selector, &a.done), "%s: the wait is over", m->name);
    else
        attempt_now(&a);
    check_after_end(&s, &a, have, status);
    source_close(&s);
}

static void read_to_all_ends(bool pipe, int status)
{
    size_t have;
    int i;

    for (i = 0; i < MESSAGES; i++)
        for (have = 0; have < messages[i].size; have++) {
            read_to_end(pipe, &messages[i], have, status, false);
            read_to_end(pipe, &messages[i], have, status, true);
        }
    checked("P1, P7: every read over a %s with %s at every place: told apart, told again, "
            "nothing lost",
            pipe ? "pipe" : "socket", status == ASOCKET_EOF ? "the end" : "a reset");
}

static void test_ends(void)
{
    read_to_all_ends(false, ASOCKET_EOF);
    read_to_all_ends(true, ASOCKET_EOF);
    read_to_all_ends(false, ASOCKET_ECONNRESET);
    read_to_all_ends(true, ASOCKET_ECONNRESET);
}

/* --- an interruption at every place ----------------------------------------------------------- */

enum { BY_NO_WAIT, BY_TIMEOUT, BY_DEADLINE, BY_CANCEL, INTERRUPTIONS };
static const char *const interruptions[] = {"ASOCKET_NO_WAIT", "a time-out", "a deadline",
                                            "a cancel"};

static int status_of_interruption(int how)
{
    return how == BY_NO_WAIT  ? ASOCKET_EAGAIN
           : how == BY_CANCEL ? ASOCKET_ECANCELED
                              : ASOCKET_ETIMEDOUT;
}

/* Who never waits sees what the loop has seen. */
static void interrupt_by_timeout(source *s, attempt *a, int64_t timeout)
{
    settle(selector);
    asocket_set_timeout(s->socket, timeout);
    attempt_now(a);
    asocket_set_timeout(s->socket, ASOCKET_FOREVER);
}

static void interrupt_by_deadline(attempt *a)
{
    int64_t former = asocket_set_deadline(selector, 1);

    attempt_now(a);
    asocket_restore_deadline(selector, former);
}

static void interrupt_by_cancel(source *s, attempt *a)
{
    asocket_job job = attempt_launch(a, s, a->what);

    asocket_cancel(selector, job);
    check(run_until(selector, &a->done), "a cancel ends the wait");
}

static void interrupt(source *s, attempt *a, int how)
{
    if (how == BY_CANCEL)
        interrupt_by_cancel(s, a);
    else if (how == BY_DEADLINE)
        interrupt_by_deadline(a);
    else
        interrupt_by_timeout(s, a, how == BY_NO_WAIT ? ASOCKET_NO_WAIT : 1);
}

static void read_interrupted(source *s, const message *m, size_t have, int how)
{
    attempt a;

    attempt_prepare(&a, s, m);
    source_feed(s, m->wire, have);
    interrupt(s, &a, how);
    check(a.result == status_of_interruption(how), "%s over a %s, %s after %d bytes: got %d",
          m->name, name_of(s), interruptions[how], (int)have, (int)a.result);
    if (m->kind == WHOLE || m->kind == LINE)
        check(asocket_available(s->in) == (ptrdiff_t)have && !asocket_transferred(s->in),
              "%s, %s after %d bytes: nothing is consumed", m->name, interruptions[how], (int)have);
    source_feed(s, m->wire + have, m->size - have);
    attempt_now(&a);
    check(is_the_value(&a), "%s over a %s again, after %s at %d: got %d", m->name, name_of(s),
          interruptions[how], (int)have, (int)a.result);
}

static void test_interruptions(void)
{
    int kind, how, i;
    size_t have;

    for (kind = 0; kind < 2; kind++)
        for (how = kind ? BY_DEADLINE : BY_NO_WAIT; how < INTERRUPTIONS; how++) {
            source s;

            source_open(&s, kind == 1, 17);
            for (i = 0; i < MESSAGES; i++)
                for (have = 0; have < messages[i].size; have++)
                    read_interrupted(&s, &messages[i], have, how);
            check(asocket_available(s.in) == 0, "nothing is left over");
            source_close(&s);
            checked("P7: every read over a %s loses nothing by %s at any place",
                    kind ? "pipe" : "socket", interruptions[how]);
        }
}

/* --- plain reads ------------------------------------------------------------------------------ */

static void test_read(void)
{
    char bytes[64];
    source s;

    source_open(&s, false, 16);
    source_feed(&s, "0123456789", 10);
    is_int(asocket_read(s.in, bytes, 4), 4, "a read takes no more than was asked for");
    is_int(asocket_transferred(s.in), 4, "and says how many that were");
    is_int(asocket_available(s.in), 6, "the rest is kept");
    is_int(asocket_read(s.in, bytes, sizeof bytes), 6, "a large read takes what is kept first");
    ok(!memcmp(bytes, "456789", 6), "in its order");
    source_feed(&s, "abc", 3);
    is_int(asocket_read(s.in, bytes, sizeof bytes), 3, "a read does not wait for more than 1 byte");
    source_feed(&s, "defghijklmnopqrstuvw", 20);
    is_int(asocket_read(s.in, bytes, sizeof bytes), 20, "P5: a large read goes past the ring");
    ok(!memcmp(bytes, "defghijklmnopqrstuvw", 20), "in its order");
    source_close(&s);
}

static void test_size_zero(bool pipe)
{
    const char *bytes = "";
    source s;

    source_open(&s, pipe, 16);
    is_int(asocket_read(s.in, NULL, 0), 0, "%s: a read of 0 bytes is 0", name_of(&s));
    is_int(asocket_read_full(s.in, NULL, 0), 0, "%s: and a full one", name_of(&s));
    is_int(asocket_discard(s.in, 0), 0, "%s: and a discard", name_of(&s));
    is_int(asocket_peek(s.in, &bytes, 0), 0, "%s: a peek of 0 does not wait", name_of(&s));
    is_int(asocket_consume(s.in, 0), 0, "%s: nor to consume 0", name_of(&s));
    source_end(&s);
    is_int(asocket_read(s.in, NULL, 0), 0, "%s: a read of 0 bytes is 0 at the end too",
           name_of(&s));
    is_status(asocket_peek(s.in, &bytes, 1), ASOCKET_EOF, "P1: %s: the end is told by peek",
              name_of(&s));
    source_close(&s);
}

static void test_available(void)
{
    asocket_statistics before, after;
    const char *bytes;
    source s;

    source_open(&s, false, 16);
    source_feed(&s, "0123456789", 10);
    is_int(asocket_available(s.in), 0, "what nobody asked for is not in the channel");
    is_int(asocket_peek(s.in, &bytes, 1), 10, "P5: a peek of 1 byte shows all that came");
    asocket_stats(selector, &before);
    is_int(asocket_available(s.in), 10, "then it is available");
    is_int(asocket_peek(s.in, &bytes, 10), 10, "and shown");
    is_int(asocket_consume(s.in, 3), 0, "and can be dropped");
    is_int(asocket_available(s.in), 7, "piece by piece");
    asocket_stats(selector, &after);
    is_int(after.system_calls, before.system_calls, "all of it without a system call");
    is_status(asocket_consume(s.in, 8), ASOCKET_EINVAL, "more than there is cannot be consumed");
    is_int(asocket_available(s.in), 7, "and nothing was");
    is_status(asocket_peek(s.in, &bytes, 17), ASOCKET_EMSGSIZE, "a peek above the capacity fails");
    ok(bytes == NULL, "and shows nothing");
    source_close(&s);
}

/* At every place of the ring, peek shows what was asked for in one piece. */
static void test_peek_wraps(bool pipe)
{
    char bytes[32], skipped[32];
    const char *window;
    size_t head, size;
    source s;

    source_open(&s, pipe, 17);
    for (head = 1; head < 17; head++)
        for (size = 1; size <= 17; size++) {
            pattern_fill(bytes, 17, head * 100);
            source_feed(&s, bytes, 17);
            check(asocket_read_full(s.in, skipped, head) == (ptrdiff_t)head, "the head moves");
            pattern_fill(bytes, head, head * 100 + 17);
            source_feed(&s, bytes, head);
            check(asocket_peek(s.in, &window, size) >= (ptrdiff_t)size &&
                      pattern_is(window, size, head * 100 + head),
                  "head %d, peek of %d", (int)head, (int)size);
            check(asocket_discard(s.in, 17) == 17, "then they go");
        }
    source_close(&s);
    checked("peek over a %s shows every number of bytes in one piece, across the wrap",
            pipe ? "pipe" : "socket");
}

static void test_no_buffer_when_idle(void)
{
    asocket_statistics before, during, after;
    attempt a;
    source s;

    source_open(&s, false, 0);
    asocket_stats(selector, &before);
    attempt_launch(&a, &s, &messages[0]);
    asocket_stats(selector, &during);
    is_int(during.buffers, before.buffers,
           "P5: a read that waits for its first byte has no buffer");
    source_feed(&s, messages[0].wire, 3);
    settle(selector);
    asocket_stats(selector, &during);
    is_int(during.buffers, before.buffers + 1, "P5: bytes half read are in one");
    source_feed(&s, messages[0].wire + 3, 5);
    ok(run_until(selector, &a.done) && is_the_value(&a), "P5: it is complete");
    asocket_stats(selector, &after);
    is_int(after.buffers, before.buffers, "P5: and has given its buffer back");
    source_close(&s);
}

/* --- requests larger than the channel --------------------------------------------------------- */

/* Interrupted after `have` of 100 bytes: what was transferred plus what is kept is what came. */
static void read_large_interrupted(source *s, size_t have)
{
    char bytes[100], got[100];
    int64_t moved;

    pattern_fill(bytes, sizeof bytes, have * 1000);
    source_feed(s, bytes, have);
    settle(selector);
    asocket_set_timeout(s->socket, ASOCKET_NO_WAIT);
    check(asocket_read_full(s->in, got, sizeof got) == ASOCKET_EAGAIN, "interrupted at %d",
          (int)have);
    asocket_set_timeout(s->socket, ASOCKET_FOREVER);
    moved = asocket_transferred(s->in);
    check(moved >= 0 && (size_t)moved + (size_t)asocket_available(s->in) == have,
          "%d came: %d transferred, %d kept", (int)have, (int)moved, (int)asocket_available(s->in));
    source_feed(s, bytes + have, sizeof bytes - have);
    check(asocket_read_full(s->in, got + moved, sizeof got - (size_t)moved) ==
                  (ptrdiff_t)sizeof got - (ptrdiff_t)moved &&
              pattern_is(got, sizeof got, have * 1000),
          "the rest follows what was transferred");
}

static void test_large_requests(void)
{
    static const size_t capacities[] = {8, 16, 17, 99};
    size_t i, have;

    for (i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        source s;

        source_open(&s, false, capacities[i]);
        for (have = 0; have < 100; have++)
            read_large_interrupted(&s, have);
        source_close(&s);
    }
    checked("P7: a read larger than the channel, interrupted, says how many bytes it has moved");
}

typedef struct feeding {
    source *to;
    const char *bytes;
    size_t size, piece;
} feeding;

static void feed_in_pieces(asocket_selector *owner, void *argument)
{
    feeding *f = (feeding *)argument;
    size_t at;

    (void)owner;
    for (at = 0; at < f->size; at += f->piece)
        source_feed(f->to, f->bytes + at, f->size - at < f->piece ? f->size - at : f->piece);
}

/* Over a pipe, whose writer must wait in the middle. */
static void test_large_requests_over_a_pipe(void)
{
    static char bytes[1000], got[1000];
    static const size_t capacities[] = {1, 2, 7, 64, 999};
    size_t i, piece;

    pattern_fill(bytes, sizeof bytes, 5);
    for (i = 0; i < sizeof capacities / sizeof *capacities; i++)
        for (piece = 1; piece <= 1000; piece = piece * 3 + 1) {
            feeding f;
            source s;

            source_open(&s, true, capacities[i]);
            f.to = &s, f.bytes = bytes, f.size = sizeof bytes, f.piece = piece;
            asocket_launch(selector, feed_in_pieces, &f);
            check(asocket_read_full(s.in, got, sizeof got) == 1000 && pattern_is(got, 1000, 5),
                  "1,000 bytes in pieces of %d through %d", (int)piece, (int)capacities[i]);
            asocket_join_all(selector);
            source_close(&s);
        }
    checked("reads and writes larger than a pipe, in pieces of many sizes");
}

/* Reads 600 bytes in records of `size`, or in lines of that length: how many were read. */
static size_t read_records(source *s, size_t size, bool lines, char *got)
{
    size_t at, step = lines ? size + 1 : size;

    for (at = 0; at + step <= 600; at += step) {
        ptrdiff_t count = lines ? asocket_read_line(s->in, got + at, 600 - at)
                                : asocket_read_full(s->in, got + at, size);

        if (!check(count == (ptrdiff_t)size, "%d at %d: %s", (int)size, (int)at,
                   asocket_strerror((int)count)))
            break;
        if (lines)
            got[at + size] = '\n';
    }
    return at;
}

/* Writes that do not end where the reads end: neither may wait for the other for ever. */
static void unaligned_pipe(size_t piece, size_t size, bool lines)
{
    int64_t former = asocket_set_deadline(selector, 3000 * test_slowness());
    static char bytes[600], got[600];
    size_t i, count;
    feeding f;
    source s;

    for (i = 0; i < sizeof bytes; i++)
        bytes[i] = lines && i % (size + 1) == size ? '\n' : (char)('a' + i % 23);
    source_open(&s, true, 16);
    f.to = &s, f.bytes = bytes, f.size = sizeof bytes, f.piece = piece;
    asocket_launch(selector, feed_in_pieces, &f);
    count = read_records(&s, size, lines, got);
    asocket_restore_deadline(selector, former);
    check(!memcmp(bytes, got, count), "writes of %d, %s of %d", (int)piece,
          lines ? "lines" : "reads", (int)size);
    if (check_failures)
        asocket_cancel_read(s.in); /* the writer goes on */
    asocket_discard(s.in, sizeof bytes - count);
    asocket_join_all(selector);
    source_close(&s);
}

static void test_unaligned_pipe(void)
{
    size_t piece, size;

    for (piece = 1; piece <= 17; piece++)
        for (size = 1; size <= 16 && !check_failures; size++)
            unaligned_pipe(piece, size, false);
    checked("P7: writes and reads of every size up to a pipe's capacity do not block each other");
    for (piece = 1; piece <= 17; piece++)
        for (size = 1; size <= 40 && !check_failures; size++)
            unaligned_pipe(piece, size, true);
    checked("P7: nor do writes and lines, shorter or longer than the pipe holds");
}

/* --- lines ------------------------------------------------------------------------------------ */

/* What the lines of a whole text are, by plain search. */
typedef struct text {
    const char *bytes;
    size_t size, at;
} text;

/* The next line's content up to but not including its LF; *through: the place after the LF. */
static size_t text_line(const text *t, size_t *through, bool *ended)
{
    const char *feed = (const char *)memchr(t->bytes + t->at, '\n', t->size - t->at);
    size_t end = feed ? (size_t)(feed - t->bytes) : t->size;

    *ended = feed != NULL;
    *through = feed ? end + 1 : end;
    return end - t->at - (feed && end > t->at && t->bytes[end - 1] == '\r');
}

/* A line that was too long: what was moved is the beginning of it, the rest can be skipped. */
static void check_too_long(source *s, text *t, const char *line, size_t size)
{
    int64_t moved = asocket_transferred(s->in);
    size_t through;
    bool ended;
    ptrdiff_t count;

    text_line(t, &through, &ended);
    check(moved >= 0 && (size_t)moved <= size && !memcmp(line, t->bytes + t->at, (size_t)moved),
          "what was moved of it is in the buffer");
    check(moved == 0 || through - t->at + !ended > s->capacity,
          "of one that fits the ring with its end nothing is moved");
    count = asocket_discard_until(s->in, "\n", 1);
    check(count == (ended ? (ptrdiff_t)(through - t->at) - moved : (ptrdiff_t)ASOCKET_EOF),
          "the rest of it can be skipped: %d", (int)count);
    t->at = through;
}

/* Reads one line and compares it: false after the end. */
static bool check_line(source *s, text *t, size_t size)
{
    char line[64];
    size_t begin = t->at, through, length;
    bool ended;
    ptrdiff_t got;

    memset(line, '#', sizeof line);
    got = asocket_read_line(s->in, line, size);
    check(line[size] == '#', "nothing is written past the buffer");
    if (begin == t->size) {
        check(got == ASOCKET_EOF && asocket_read_line(s->in, line, size) == ASOCKET_EOF,
              "the end, and again: %d", (int)got);
        return false;
    }
    length = text_line(t, &through, &ended);
    if (length > size - 1) {
        if (check(got == ASOCKET_EMSGSIZE, "%d in %d: %d", (int)length, (int)size, (int)got))
            check_too_long(s, t, line, size);
        return got == ASOCKET_EMSGSIZE;
    }
    t->at = through;
    check((asocket_transferred(s->in) > got) == ended, "more was consumed when it had its end");
    return check(got == (ptrdiff_t)length && !memcmp(line, t->bytes + begin, length) && !line[got],
                 "the line of %d bytes at %d: %d", (int)length, (int)begin, (int)got);
}

typedef struct line_reader {
    source *from;
    text content;
    size_t size; /* of the buffer */
    bool done;
} line_reader;

static void read_lines(asocket_selector *owner, void *argument)
{
    line_reader *r = (line_reader *)argument;

    (void)owner;
    while (check_line(r->from, &r->content, r->size)) {
    }
    r->done = true;
}

/* Reads a text that comes in two pieces, or byte by byte (split 0), then the end. */
static void lines_of(bool pipe, size_t capacity, const char *bytes, size_t size, size_t buffer,
                     size_t split)
{
    size_t at, step = split ? split : 1;
    line_reader r;
    source s;

    source_open(&s, pipe, capacity);
    memset(&r, 0, sizeof r);
    r.from = &s;
    r.content.bytes = bytes;
    r.content.size = size;
    r.size = buffer;
    asocket_launch(selector, read_lines, &r);
    for (at = 0; at < size; at += step) {
        if (at && split)
            step = size - at;
        source_feed(&s, bytes + at, size - at < step ? size - at : step);
        settle(selector);
    }
    source_end(&s);
    if (!check(run_until(selector, &r.done), "all lines are read"))
        diag("%s of %d, buffer of %d, split %d", name_of(&s), (int)capacity, (int)buffer,
             (int)split);
    asocket_cancel_all(selector);
    asocket_join_all(selector);
    source_close(&s);
}

static void test_lines(void)
{
    static const char bytes[] = "LF\nCRLF\r\n\n\r\nlone\rCR\nN\0L\0\r\n\r\r\n \nlast\r";
    const size_t size = sizeof bytes - 1;
    size_t split;

    for (split = 0; split <= size; split++) {
        lines_of(false, 64, bytes, size, 32, split);
        lines_of(true, 64, bytes, size, 32, split);
    }
    checked("P1: lines end with LF or CRLF in any split; lone CRs, NULs and empty lines are kept; "
            "the last one needs no end, and what was consumed tells whether it had one");
    for (split = 0; split <= size; split++) {
        lines_of(false, 8, bytes, size, 32, split);
        lines_of(false, 16, bytes, size, 5, split);
        lines_of(true, 8, bytes, size, 9, split);
    }
    checked("P5: so too through rings that are smaller than a line, and into smaller buffers");
}

static void random_lines(uint32_t *seed)
{
    char bytes[40];
    size_t i, size = random_below(seed, sizeof bytes + 1);
    size_t capacity = 1 + random_below(seed, 24), buffer = 1 + random_below(seed, 24);
    bool pipe = random_below(seed, 2) == 1;

    for (i = 0; i < size; i++)
        bytes[i] = "aaa\r\r\n\n\0"[random_below(seed, 8)];
    lines_of(pipe, capacity, bytes, size, buffer, random_below(seed, (uint32_t)size + 1));
}

static void test_random_lines(void)
{
    uint32_t seed = 123456789u;
    int round, rounds = test_slowness() > 8 ? 300 : 2500;

    for (round = 0; round < rounds && !check_failures; round++) {
        uint32_t before = seed;

        random_lines(&seed);
        if (check_failures)
            diag("round %d, seed %u", round, (unsigned)before);
    }
    checked("P1: random lines through rings and buffers of all sizes are what a search finds");
}

static void test_too_long(bool pipe)
{
    char line[16], until[16];
    source s;

    source_open(&s, pipe, 64);
    source_feed(&s, "0123456789\r\nnext\n", 17);
    is_status(asocket_read_line(s.in, line, 10), ASOCKET_EMSGSIZE, "%s: a line of 10 in 10 bytes",
              name_of(&s));
    is_int(asocket_transferred(s.in), 0, "%s: nothing was consumed", name_of(&s));
    is_status(asocket_read_until(s.in, "\r\n", 2, until, 10), ASOCKET_EMSGSIZE,
              "%s: nor with read_until", name_of(&s));
    is_int(asocket_read_line(s.in, line, 11), 10, "%s: exactly size - 1 fits", name_of(&s));
    is_str(line, "0123456789", "%s: and is whole", name_of(&s));
    is_int(asocket_read_until(s.in, "\n", 1, until, 5), 4, "%s: so with read_until", name_of(&s));
    is_str(until, "next", "%s: and is whole", name_of(&s));
    source_feed(&s, "no end of this line is in sight", 31);
    is_status(asocket_read_line(s.in, line, 16), ASOCKET_EMSGSIZE,
              "%s: too long is told before the line has ended", name_of(&s));
    is_str(line, "", "%s: and what was read before is not shown again", name_of(&s));
    is_int(asocket_available(s.in), 31, "%s: and leaves it readable", name_of(&s));
    source_feed(&s, "\nok\n", 4);
    is_int(asocket_discard_until(s.in, "\n", 1), 32, "%s: it can be skipped", name_of(&s));
    is_int(asocket_read_line(s.in, line, 16), 2, "%s: and the next one read", name_of(&s));
    source_close(&s);
}

static void test_until_at_the_end(void)
{
    char bytes[32];
    source s;

    source_open(&s, false, 16);
    source_feed(&s, "no delimiter", 12);
    source_end(&s);
    is_status(asocket_read_until(s.in, "|", 1, bytes, sizeof bytes), ASOCKET_EOF,
              "P1: the end without the delimiter is the end");
    is_int(asocket_available(s.in), 12, "and the bytes stay");
    is_int(asocket_read_line(s.in, bytes, sizeof bytes), 12, "to be read another way");
    source_close(&s);
    source_open(&s, false, 16);
    source_feed(&s, "longer than the ring is, no delimiter", 37);
    source_end(&s);
    is_status(asocket_discard_until(s.in, "||||", 4), ASOCKET_EOF, "discard_until at the end");
    is_int(asocket_transferred(s.in), 34, "has dropped all but what could begin one");
    is_int(asocket_read(s.in, bytes, 32), 3, "and that is left");
    source_close(&s);
}

/* --- long ones, in linear time ---------------------------------------------------------------- */

enum { MEGABYTE = 1 << 20 };
static char large[MEGABYTE + 4], line_buffer[MEGABYTE + 4];

/* Whoever reads looks at each piece. */
static void feed_one_by_one(asocket_selector *owner, void *argument)
{
    feeding *f = (feeding *)argument;
    size_t at;

    for (at = 0; at < f->size; at += f->piece) {
        source_feed(f->to, f->bytes + at, f->size - at < f->piece ? f->size - at : f->piece);
        asocket_yield(owner);
    }
}

/* In small pieces, each of which looks like the beginning of the delimiter: a search that begins
   again with each piece takes a minute. */
static void test_linear_search(void)
{
    static const char *const ends[] = {"\n", "\r\n"};
    int i, size = MEGABYTE / (test_slowness() > 4 ? 8 : 1);

    for (i = 0; i < 2; i++) {
        int64_t start = test_clock();
        ptrdiff_t got;
        feeding f;
        source s;

        memset(large, i ? '\r' : 'a', (size_t)size);
        large[size - 1] = 'a';
        strcpy(large + size, ends[i]);
        source_open(&s, true, MEGABYTE * 2);
        f.to = &s, f.bytes = large, f.size = (size_t)size + strlen(ends[i]), f.piece = 64;
        asocket_launch(selector, feed_one_by_one, &f);
        got = i ? asocket_read_until(s.in, "\r\n", 2, line_buffer, sizeof line_buffer)
                : asocket_read_line(s.in, line_buffer, sizeof line_buffer);
        is_int(got, size, "a %s of 1 MiB in pieces of 64 bytes is read", i ? "record" : "line");
        ok(test_took(start, 0, 2000), "in linear time");
        ok(!memcmp(line_buffer, large, (size_t)size), "and is whole");
        asocket_join_all(selector);
        source_close(&s);
    }
}

static void test_long_line(void)
{
    source s;
    feeding f;

    memset(large, 'x', MEGABYTE);
    memcpy(large + MEGABYTE - 2, "\r\n", 3);
    source_open(&s, false, 4096);
    f.to = &s, f.bytes = large, f.size = MEGABYTE, f.piece = MEGABYTE;
    asocket_launch(selector, feed_in_pieces, &f);
    is_int(asocket_read_line(s.in, line_buffer, sizeof line_buffer), MEGABYTE - 2,
           "P5: a line of 1 MiB through a ring of 4 KiB into a buffer that holds it");
    ok(!memcmp(line_buffer, large, MEGABYTE - 2) && !line_buffer[MEGABYTE - 2], "is whole");
    is_int(asocket_transferred(s.in), MEGABYTE, "its end was consumed with it");
    asocket_join_all(selector);
    source_close(&s);
}

/* --- two readers, cancelling, closing --------------------------------------------------------- */

static void check_all_refused(source *s, int status)
{
    attempt a;
    char bytes[4];
    const char *window;
    int i;

    for (i = 0; i < MESSAGES; i++) {
        attempt_prepare(&a, s, &messages[i]);
        attempt_now(&a);
        check(a.result == status, "%s: %d", messages[i].name, (int)a.result);
    }
    check(asocket_read(s->in, bytes, 4) == status, "read");
    check(asocket_peek(s->in, &window, 0) == status, "peek of 0");
    check(asocket_consume(s->in, 0) == status, "consume");
}

static void test_second_reader(bool pipe)
{
    attempt first;
    source s;

    source_open(&s, pipe, 16);
    attempt_launch(&first, &s, &messages[0]);
    source_feed(&s, messages[0].wire, 5);
    settle(selector);
    check_all_refused(&s, ASOCKET_EBUSY);
    checked("P12: a second reader of a %s is told ASOCKET_EBUSY by every call", name_of(&s));
    is_int(asocket_available(s.in), 5, "P12: it may ask what is there");
    source_feed(&s, messages[0].wire + 5, 3);
    ok(run_until(selector, &first.done) && is_the_value(&first), "P12: the first is undisturbed");
    source_close(&s);
}

static void test_cancel_read(bool pipe)
{
    attempt a;
    source s;

    source_open(&s, pipe, 16);
    attempt_launch(&a, &s, &messages[0]);
    source_feed(&s, messages[0].wire, 5);
    settle(selector);
    is_status(asocket_cancel_read(s.in), ASOCKET_OK, "reading a %s can be given up", name_of(&s));
    ok(run_until(selector, &a.done) && a.result == ASOCKET_ECANCELED, "P7: who waits is told");
    check_all_refused(&s, ASOCKET_ECANCELED);
    checked("every read of a %s then says ASOCKET_ECANCELED", name_of(&s));
    is_status(asocket_available(s.in), ASOCKET_ECANCELED, "the buffered bytes are gone");
    is_status(asocket_cancel_read(s.in), ASOCKET_OK, "again is harmless");
    if (!pipe) {
        s.out = asocket_open_write_channel(s.socket, ASOCKET_AUTO_FLUSH);
        is_int(asocket_write_string(s.out, "still here"), 10, "P3: writing goes on");
        ok(test_peer_expect(selector, s.peer, "still here"), "P3: and arrives");
    }
    source_close(&s);
}

static void test_close_while_reading(void)
{
    asocket_job job;
    attempt a;
    source s;

    source_open(&s, false, 16);
    job = attempt_launch(&a, &s, &messages[0]);
    source_feed(&s, messages[0].wire, 5);
    settle(selector);
    asocket_close(s.socket);
    asocket_join(selector, job);
    is_status(a.result, ASOCKET_ECLOSED, "P8: a read that waits while its socket is closed");
    check_all_refused(&s, ASOCKET_ECLOSED);
    checked("P8: every read of a closed socket says ASOCKET_ECLOSED");
    is_status(asocket_available(s.in), ASOCKET_ECLOSED, "P8: so does available");
    source_close(&s);
}

static void test_open_twice(void)
{
    attempt a;
    source s;

    source_open(&s, false, 16);
    ok(asocket_open_read_channel(s.socket) == NULL, "a read channel is opened once");
    is_status(asocket_error(selector), ASOCKET_EBUSY, "the second time: ASOCKET_EBUSY");
    source_feed(&s, messages[0].wire, messages[0].size);
    attempt_prepare(&a, &s, &messages[0]);
    attempt_now(&a);
    ok(is_the_value(&a), "and the first one is unaffected");
    source_close(&s);
}

/* --- shutdown --------------------------------------------------------------------------------- */

static void test_shutdown_read(void)
{
    char bytes[8];
    attempt a;
    source s;

    source_open(&s, false, 16);
    attempt_launch(&a, &s, &messages[0]);
    source_feed(&s, messages[0].wire, 5);
    settle(selector);
    is_status(asocket_shutdown(s.socket, ASOCKET_READ), ASOCKET_OK, "reading can be shut down");
    ok(run_until(selector, &a.done) && a.result == ASOCKET_EOF, "P1: who waits gets the end");
    is_int(asocket_available(s.in), 0, "the buffered bytes are gone");
    source_feed(&s, "late", 4);
    settle(selector);
    is_status(asocket_read(s.in, bytes, 4), ASOCKET_EOF, "P1: what comes later is not read");
    is_status(asocket_shutdown(s.socket, ASOCKET_READ), ASOCKET_OK, "again is harmless");
    s.out = asocket_open_write_channel(s.socket, 0);
    is_int(asocket_write_string(s.out, "still here"), 10, "P3: writing goes on");
    is_status(asocket_flush(s.out), ASOCKET_OK, "P3: and is flushed");
    ok(test_peer_expect(selector, s.peer, "still here"), "P3: and arrives");
    source_close(&s);
}

/* Who has shut reading down and closes must not turn what still comes into a reset. */
static void test_shutdown_read_then_close(bool before)
{
    static char answer[100000], got[100000];
    source s;

    source_open(&s, false, 16);
    pattern_fill(answer, sizeof answer, 3);
    if (before)
        source_feed(&s, large, 50000);
    asocket_shutdown(s.socket, ASOCKET_READ);
    s.out = asocket_open_write_channel(s.socket, 0);
    is_int(asocket_write(s.out, answer, sizeof answer), sizeof answer, "an answer is written");
    asocket_close(s.socket);
    if (!before)
        source_feed(&s, large, 50000);
    settle(selector);
    is_int(test_peer_receive(selector, s.peer, got, sizeof got), sizeof got,
           "P2: it arrives although bytes that nobody reads came %s the close",
           before ? "before" : "after");
    ok(pattern_is(got, sizeof got, 3), "P2: all of it");
    is_int(test_peer_end(selector, s.peer), 0, "P2: and the stream ends in order");
    source_close(&s);
}

/* A receive ends before urgent data (tcp(7)): fewer bytes than were asked for do not say that there
   are no more. telnet sends such data when it is interrupted. */
static void test_urgent(int backend)
{
    char line[16] = "";
    source s;

    source_open(&s, false, 0);
    asocket_set_timeout(s.socket, 1);
    is_status(asocket_read_line(s.in, line, sizeof line), ASOCKET_ETIMEDOUT, "no line comes");
    asocket_set_timeout(s.socket, 2000 * test_slowness());
    if (backend == ASOCKET_BACKEND_KQUEUE) {
        skip(2, "kqueue does not tell of urgent data");
        source_close(&s);
        return;
    }
    test_peer_send(s.peer, "before\n", 7);
    check(send(s.peer, "!", 1, MSG_OOB) == 1, "urgent data leaves");
    test_peer_send(s.peer, "after\n", 6);
    usleep(10000);
    ok(asocket_read_line(s.in, line, sizeof line) == 6 && !strcmp(line, "before"),
       "P13: what stands before urgent data comes");
    ok(asocket_read_line(s.in, line, sizeof line) == 5 && !strcmp(line, "after"),
       "P10, P13: and what stands behind it");
    source_close(&s);
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    test_urgent(test_backend(argc, argv));
    test_splits();
    test_bytewise();
    test_ends();
    test_interruptions();
    test_read();
    test_size_zero(false);
    test_size_zero(true);
    test_available();
    test_peek_wraps(false);
    test_peek_wraps(true);
    test_no_buffer_when_idle();
    test_large_requests();
    test_large_requests_over_a_pipe();
    test_unaligned_pipe();
    test_lines();
    test_random_lines();
    test_too_long(false);
    test_too_long(true);
    test_until_at_the_end();
    test_linear_search();
    test_long_line();
    test_second_reader(false);
    test_second_reader(true);
    test_cancel_read(false);
    test_cancel_read(true);
    test_close_while_reading();
    test_open_twice();
    test_shutdown_read();
    test_shutdown_read_then_close(true);
    test_shutdown_read_then_close(false);
    return test_end(selector);
}
