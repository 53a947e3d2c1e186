/* test_layers.c - sockets on sockets: compression by zlib, and a mask simple enough to misbehave on
   purpose. Lines, large transfers, half-close, every way a wait ends, every way a layer ends. */
#include "test.h"

#include <poll.h>

#if defined(__has_include)
#if __has_include(<zlib.h>) && !defined(TEST_WITHOUT_ZLIB)
#include <zlib.h>
#define HAVE_ZLIB 1
#endif
#endif
#ifndef HAVE_ZLIB
#define HAVE_ZLIB 0
#endif

static asocket_selector *selector;
static int64_t timeout_of_all; /* of the builder; 0: 5 s */

/* --- what a transport may keep, and how it may misbehave --------------------------------------- */

enum { PIECE = 4096 }; /* bytes that a transport takes at a time */

static int closes, cancels, living; /* of all transports */

typedef struct bottom { /* the channels of the socket below */
    asocket_read_channel *in;
    asocket_write_channel *out;
} bottom;

static void bottom_open(bottom *b, asocket *lower)
{
    if (!b->in)
        b->in = asocket_open_read_channel(lower);
    if (!b->out)
        b->out = asocket_open_write_channel(lower, 0);
}

/* Room first, so that what was taken can always be kept: then it goes, now or in the background. */
static int bottom_ready(bottom *b, asocket *lower)
{
    bottom_open(b, lower);
    return asocket_flush(b->out);
}

static int bottom_send(bottom *b, const void *bytes, size_t size)
{
    ptrdiff_t status = asocket_write(b->out, bytes, size);

    if (status >= 0)
        (void)asocket_flush(b->out);
    return status < 0 ? (int)status : 0;
}

/* --- a mask ------------------------------------------------------------------------------------ */

typedef struct mask {
    bottom lower;
    uint8_t key;
    int failing_read, failing_write; /* answered instead of doing it */
    bool breaking;                   /* ends the channel below with what was taken */
    bool ending;                     /* read answers 0 */
    bool finishing;                  /* ends the stream below itself */
    bool yielding;                   /* others run before it reads */
    int dozing;                      /* naps of 1 ms before it reads, whatever comes */
    bool writing_late;               /* others run before it writes */
    bool lingering;                  /* close waits for the peer, whatever that takes */
    bool waiting_for_good;           /* ... and then for nothing at all */
    int inside;                      /* calls of read and write that have not returned */
} mask;

static void mask_bytes(const mask *m, char *bytes, ptrdiff_t count)
{
    ptrdiff_t i;

    for (i = 0; i < count; i++)
        bytes[i] = (char)(bytes[i] ^ m->key);
}

static ptrdiff_t mask_read(void *state, asocket *lower, void *buffer, size_t size)
{
    mask *m = (mask *)state;
    ptrdiff_t count;
    int doze;

    bottom_open(&m->lower, lower);
    if (m->failing_read || m->ending)
        return m->failing_read;
    m->inside++;
    for (doze = 0; doze < m->dozing; doze++)
        (void)asocket_sleep(asocket_selector_of(lower), 1);
    if (m->yielding)
        asocket_yield(asocket_selector_of(lower));
    count = asocket_read(m->lower.in, buffer, size < PIECE ? size : PIECE);
    m->inside--;
    mask_bytes(m, (char *)buffer, count);
    return count;
}

static ptrdiff_t mask_write(void *state, asocket *lower, const void *bytes, size_t size)
{
    mask *m = (mask *)state;
    char piece[PIECE];
    int status;

    if (m->failing_write || (!size && !m->finishing))
        return m->failing_write;
    if (!size) {
        bottom_open(&m->lower, lower);
        return asocket_finish(m->lower.out);
    }
    size = size < PIECE ? size : PIECE;
    m->inside++;
    if (m->writing_late)
        asocket_yield(asocket_selector_of(lower));
    status = bottom_ready(&m->lower, lower);
    if (!status) {
        memcpy(piece, bytes, size);
        mask_bytes(m, piece, (ptrdiff_t)size);
        status = bottom_send(&m->lower, piece, size);
    }
    if (m->breaking)
        (void)asocket_cancel_write(m->lower.out, ASOCKET_EIO);
    m->inside--;
    return status < 0 ? status : (ptrdiff_t)size;
}

static int mask_close(void *state, asocket *lower)
{
    mask *m = (mask *)state;
    ptrdiff_t status = 0;
    char bytes[64];

    bottom_open(&m->lower, lower);
    closes++;
    living--;
    if (m->inside)
        diag("close came while somebody is inside");
    while (m->lingering && status >= 0)
        status = asocket_read(m->lower.in, bytes, sizeof bytes);
    if (m->waiting_for_good)
        (void)asocket_sleep(asocket_selector_of(lower), ASOCKET_FOREVER);
    free(m);
    return 0;
}

static void mask_cancel(void *state, asocket *lower)
{
    mask *m = (mask *)state;

    (void)lower;
    if (m->inside)
        diag("cancel came while somebody is inside");
    cancels++;
    living--;
    free(m);
}

static const asocket_transport masking = {mask_read, mask_write, mask_close, mask_cancel};

static mask *mask_new(uint8_t key)
{
    mask *m = (mask *)calloc(1, sizeof *m);

    m->key = key;
    living++;
    return m;
}

/* --- compression ------------------------------------------------------------------------------- */

#if HAVE_ZLIB
typedef struct packer {
    bottom lower;
    z_stream deflating, inflating;
    bool full;     /* more may come out of inflating without anything going in */
    bool ended;    /* the peer's stream */
    bool finished; /* ours */
    bool polite;   /* close waits for the peer's end, so that no byte of it is taken for plain */
} packer;

static ptrdiff_t packer_inflate(packer *p, const char *bytes, size_t have, void *buffer,
                                size_t size)
{
    int result;

    p->inflating.next_in = (Bytef *)(uintptr_t)bytes;
    p->inflating.avail_in = (uInt)have;
    p->inflating.next_out = (Bytef *)buffer;
    p->inflating.avail_out = (uInt)size;
    result = inflate(&p->inflating, Z_SYNC_FLUSH);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        return ASOCKET_EIO;
    (void)asocket_consume(p->lower.in, have - p->inflating.avail_in);
    p->full = p->inflating.avail_out == 0;
    p->ended = result == Z_STREAM_END;
    return (ptrdiff_t)(size - p->inflating.avail_out);
}

static ptrdiff_t packer_read(void *state, asocket *lower, void *buffer, size_t size)
{
    packer *p = (packer *)state;
    ptrdiff_t made = 0;

    bottom_open(&p->lower, lower);
    while (!made && !p->ended) {
        const char *bytes = NULL;
        ptrdiff_t have = asocket_peek(p->lower.in, &bytes, p->full ? 0 : 1);

        if (have < 0)
            return have;
        made = packer_inflate(p, bytes, (size_t)have, buffer, size);
    }
    return made ? made : ASOCKET_EOF;
}

static int packer_put(packer *p, const void *bytes, size_t size, int flush)
{
    char packed[2 * PIECE];

    p->deflating.next_in = (Bytef *)(uintptr_t)bytes;
    p->deflating.avail_in = (uInt)size;
    p->deflating.next_out = (Bytef *)packed;
    p->deflating.avail_out = sizeof packed;
    (void)deflate(&p->deflating, flush);
    p->finished = flush == Z_FINISH;
    return bottom_send(&p->lower, packed, sizeof packed - p->deflating.avail_out);
}

static ptrdiff_t packer_write(void *state, asocket *lower, const void *bytes, size_t size)
{
    packer *p = (packer *)state;
    int status = bottom_ready(&p->lower, lower);

    if (size > PIECE)
        size = PIECE;
    if (!status && !p->finished)
        status = packer_put(p, bytes, size, size ? Z_SYNC_FLUSH : Z_FINISH);
    return status < 0 ? status : (ptrdiff_t)size;
}

static void packer_free(packer *p)
{
    (void)deflateEnd(&p->deflating);
    (void)inflateEnd(&p->inflating);
    free(p);
    living--;
}

static int packer_close(void *state, asocket *lower)
{
    packer *p = (packer *)state;
    char bytes[100];

    closes++;
    if (!p->finished && bottom_ready(&p->lower, lower) == 0)
        (void)packer_put(p, NULL, 0, Z_FINISH);
    while (p->polite && packer_read(p, lower, bytes, sizeof bytes) > 0)
        ;
    packer_free(p);
    return 0;
}

static void packer_cancel(void *state, asocket *lower)
{
    (void)lower;
    cancels++;
    packer_free((packer *)state);
}

static const asocket_transport packing = {packer_read, packer_write, packer_close, packer_cancel};

static packer *packer_new(void)
{
    packer *p = (packer *)calloc(1, sizeof *p);

    (void)deflateInit(&p->deflating, Z_BEST_SPEED);
    (void)inflateInit(&p->inflating);
    living++;
    return p;
}
#endif

/* --- a connection with a layer at both ends ---------------------------------------------------- */

typedef struct end {
    asocket *lower, *socket; /* socket: the layer */
    asocket_read_channel *in;
    asocket_write_channel *out;
    mask *mask; /* NULL: packed */
} end;

enum { MASKED, PACKED };

static void end_dress(end *e, asocket *lower, int kind, int flags)
{
    memset(e, 0, sizeof *e);
    e->lower = lower;
#if HAVE_ZLIB
    if (kind == PACKED)
        e->socket = asocket_layer(lower, &packing, packer_new());
#endif
    if (kind == MASKED)
        e->mask = mask_new(0x5a);
    if (kind == MASKED)
        e->socket = asocket_layer(lower, &masking, e->mask);
    e->in = asocket_open_read_channel(e->socket);
    e->out = asocket_open_write_channel(e->socket, flags);
}

typedef struct both {
    asocket *server;
    end a, b;
} both;

static void plain_open(asocket_selector *owner, both *c)
{
    asocket_builder builder = asocket_tcp(owner);
    asocket_address address;

    builder.timeout = timeout_of_all ? timeout_of_all : 5000;
    builder.send_buffer = 8192;
    builder.receive_buffer = 8192;
    c->server = asocket_bind(builder, "127.0.0.1", 0);
    memset(&address, 0, sizeof address);
    (void)asocket_local_address(c->server, &address);
    c->a.lower = asocket_connect_address(builder, &address);
    c->b.lower = asocket_accept(c->server);
}

static void both_open(asocket_selector *owner, both *c, int kind, int flags)
{
    plain_open(owner, c);
    end_dress(&c->a, c->a.lower, kind, flags);
    end_dress(&c->b, c->b.lower, kind, flags);
}

static void both_close(both *c)
{
    asocket_close(c->a.socket);
    asocket_close(c->b.socket);
    asocket_close(c->server);
    (void)asocket_await_closed(c->a.socket);
    (void)asocket_await_closed(c->b.socket);
}

static void counts_reset(void)
{
    closes = cancels = 0;
}

static bool hear(asocket_read_channel *in, const char *expected)
{
    char text[64];
    ptrdiff_t length = asocket_read_line(in, text, sizeof text);

    if (length >= 0 && !strcmp(text, expected))
        return true;
    diag("\"%s\" instead of \"%s\"", length < 0 ? asocket_strerror((int)length) : text, expected);
    return false;
}

static void say(asocket_write_channel *out, const char *text)
{
    asocket_write_string(out, text);
    asocket_flush(out);
}

/* --- coroutines that do one thing with an end -------------------------------------------------- */

typedef struct deed {
    end *e;
    ptrdiff_t result;
    size_t size;
    uint32_t sum;
    bool done;
} deed;

static uint32_t sum_of(uint32_t sum, const char *bytes, size_t size)
{
    size_t i;

    for (i = 0; i < size; i++)
        sum = (sum ^ (uint8_t)bytes[i]) * 16777619u;
    return sum;
}

/* Bytes that compress, but not to nothing. */
static void fill(char *bytes, size_t size, size_t from)
{
    size_t i;

    for (i = 0; i < size; i++)
        bytes[i] = (char)((from + i) * (from + i) % 61 + ((from + i) >> 12));
}

static void read_once(asocket_selector *s, void *argument)
{
    deed *d = (deed *)argument;
    char bytes[100];

    (void)s;
    d->result = asocket_read(d->e->in, bytes, sizeof bytes);
    d->done = true;
}

static void read_all(asocket_selector *s, void *argument)
{
    deed *d = (deed *)argument;
    char bytes[8192];

    (void)s;
    d->size = 0;
    d->sum = 2166136261u;
    while ((d->result = asocket_read(d->e->in, bytes, sizeof bytes)) > 0) {
        d->sum = sum_of(d->sum, bytes, (size_t)d->result);
        d->size += (size_t)d->result;
    }
    d->done = true;
}

/* Writes d->size bytes of the pattern, or until that fails. */
static void write_all(asocket_selector *s, void *argument)
{
    deed *d = (deed *)argument;
    char bytes[10000];
    size_t total = 0;

    (void)s;
    d->sum = 2166136261u;
    while (total < d->size) {
        size_t count = d->size - total < sizeof bytes ? d->size - total : sizeof bytes;

        fill(bytes, count, total);
        d->result = asocket_write(d->e->out, bytes, count);
        if (d->result < 0)
            break;
        d->sum = sum_of(d->sum, bytes, count);
        total += count;
    }
    d->size = total;
    if (d->result >= 0)
        d->result = asocket_finish(d->e->out);
    d->done = true;
}

static void echo_lines(asocket_selector *s, void *argument)
{
    end *e = (end *)argument;
    char text[256];

    (void)s;
    while (asocket_read_line(e->in, text, sizeof text) >= 0)
        asocket_printf(e->out, "<%s>\n", text);
    asocket_finish(e->out);
}

/* --- through a layer as without one ------------------------------------------------------------ */

static void lines_go_there_and_back(int kind)
{
    char text[256], expected[256];
    int i, right = 0;
    both c;

    both_open(selector, &c, kind, ASOCKET_AUTO_FLUSH);
    asocket_launch(selector, echo_lines, &c.b);
    for (i = 0; i < 100; i++) {
        asocket_printf(c.a.out, "line %d\r\n", i);
        snprintf(expected, sizeof expected, "<line %d>", i);
        right += asocket_read_line(c.a.in, text, sizeof text) > 0 && !strcmp(text, expected);
    }
    is_int(right, 100, "P4: lines go there and back, with auto-flush");
    asocket_write_string(c.a.out, "\nlast");
    is_status(asocket_finish(c.a.out), ASOCKET_OK, "P3: half-close through the layer");
    ok(asocket_read_line(c.a.in, text, sizeof text) == 2 && !strcmp(text, "<>"),
       "P1: an empty line is no end");
    ok(asocket_read_line(c.a.in, text, sizeof text) == 6 && !strcmp(text, "<last>"),
       "P1: a last line without terminator is delivered");
    is_status(asocket_read_line(c.a.in, text, sizeof text), ASOCKET_EOF, "P1: then the end");
    asocket_join_all(selector);
    both_close(&c);
}

static void large_transfers_arrive(int kind)
{
    size_t size = ((size_t)8 << 20) / (size_t)test_slowness();
    deed up, down, up_read, down_read;
    both c;

    memset(&up, 0, sizeof up);
    both_open(selector, &c, kind, 0);
    up.size = size;
    down = down_read = up_read = up;
    down.size = size / 8;
    up.e = down_read.e = &c.a;
    down.e = up_read.e = &c.b;
    asocket_launch(selector, write_all, &up);
    asocket_launch(selector, read_all, &up_read);
    asocket_launch(selector, write_all, &down);
    asocket_launch(selector, read_all, &down_read);
    asocket_join_all(selector);
    is_status(up.result, ASOCKET_OK, "a large transfer is written");
    ok(up_read.size == size && up_read.sum == up.sum, "P12: ... and arrives, intact (%zu bytes)",
       up_read.size);
    ok(down_read.size == size / 8 && down_read.sum == down.sum,
       "P12: ... and so does another one, the other way at the same time");
    is_status(up_read.result, ASOCKET_EOF, "P3: ... up to the end of stream");
    both_close(&c);
}

static void a_half_close_leaves_the_other_direction(int kind)
{
    char text[64];
    both c;

    both_open(selector, &c, kind, 0);
    asocket_write_string(c.a.out, "question");
    is_status(asocket_finish(c.a.out), ASOCKET_OK, "finish through a layer");
    is_status(asocket_finish(c.a.out), ASOCKET_OK, "... twice is harmless");
    is_status(asocket_write_string(c.a.out, "x"), ASOCKET_ECLOSED, "... no more can be written");
    ok(asocket_read_line(c.b.in, text, sizeof text) == 8 && !strcmp(text, "question"),
       "P3: what was written before arrives");
    is_status(asocket_read(c.b.in, text, 1), ASOCKET_EOF, "P3: then the end");
    asocket_write_string(c.b.out, "answer");
    asocket_finish(c.b.out);
    ok(asocket_read_line(c.a.in, text, sizeof text) == 6 && !strcmp(text, "answer"),
       "P3: the other direction goes on");
    both_close(&c);
}

static void a_close_loses_nothing(int kind, bool impatient)
{
    const char *how = impatient ? ", however impatient the socket is" : "";
    deed d;
    both c;
    char bytes[10000];

    counts_reset();
    both_open(selector, &c, kind, 0);
    memset(&d, 0, sizeof d);
    d.e = &c.b;
    fill(bytes, sizeof bytes, 0);
    if (impatient)
        asocket_set_timeout(c.a.socket, ASOCKET_NO_WAIT);
    is_int(asocket_write(c.a.out, bytes, sizeof bytes), sizeof bytes, "written, not flushed%s",
           how);
    is_status(asocket_close(c.a.socket), ASOCKET_OK, "close");
    is_status(asocket_close(c.a.socket), ASOCKET_OK, "P8: closing twice is harmless");
    is_status(asocket_write(c.a.out, "x", 1), ASOCKET_ECLOSED,
              "P8: a closed layer answers ECLOSED");
    asocket_launch(selector, read_all, &d);
    asocket_join_all(selector);
    ok(d.size == sizeof bytes && d.sum == sum_of(2166136261u, bytes, sizeof bytes),
       "P2: what was written before the close arrives%s", how);
    is_status(d.result, ASOCKET_EOF, "... then the end");
    both_close(&c);
    is_int(closes, 2, "each transport said goodbye once");
    is_int(cancels, 0, "... and none was cancelled");
    ok(asocket_is_closed(c.a.lower), "the socket below is closed too");
}

static void an_abort_says_no_goodbye(int kind)
{
    char bytes[10];
    both c;

    counts_reset();
    both_open(selector, &c, kind, 0);
    asocket_write_string(c.a.out, "never");
    is_status(asocket_abort(c.a.socket), ASOCKET_OK, "abort");
    is_status(asocket_read(c.b.in, bytes, 10), ASOCKET_ECONNRESET, "the peer sees a reset");
    is_status(asocket_await_closed(c.a.socket), ASOCKET_OK, "it is closed");
    is_int(cancels, 1, "the transport was cancelled, once");
    is_int(closes, 0, "... and did not say goodbye");
    asocket_abort(c.b.socket);
    both_close(&c);
    is_int(cancels, 2, "so was the other one");
    is_int(living, 0, "no state of a transport is left");
}

/* --- layers that end while somebody waits ------------------------------------------------------ */

static void a_reader_inside_learns_of_the_end(int kind, int (*finish)(asocket *))
{
    deed d;
    both c;

    counts_reset();
    both_open(selector, &c, kind, 0);
    memset(&d, 0, sizeof d);
    d.e = &c.a;
    asocket_launch(selector, read_once, &d);
    asocket_sleep(selector, 1);
    is_status(finish(c.a.socket), ASOCKET_OK, "ended while a reader waits in the transport");
    asocket_join_all(selector);
    is_status(d.result, ASOCKET_ECLOSED, "P8: the reader is told");
    asocket_await_closed(c.a.socket);
    is_int(closes + cancels, 1, "... its transport ended once");
    both_close(&c);
    is_int(living, 0, "... nothing is left");
}

static void a_writer_inside_learns_of_the_end(int kind, int (*finish)(asocket *))
{
    deed w, r;
    both c;

    counts_reset();
    both_open(selector, &c, kind, 0);
    memset(&w, 0, sizeof w);
    memset(&r, 0, sizeof r);
    w.e = &c.a;
    w.size = (size_t)64 << 20;
    asocket_launch(selector, write_all, &w);
    asocket_sleep(selector, 30);
    ok(!w.done, "a writer waits in the transport");
    finish(c.a.socket);
    asocket_join_all(selector);
    is_status(w.result, ASOCKET_ECLOSED, "P8: the writer is told");
    r.e = &c.b;
    asocket_launch(selector, read_all, &r);
    asocket_join_all(selector);
    is_status(r.result, finish == asocket_close ? ASOCKET_EOF : ASOCKET_ECONNRESET,
              "... the peer sees how it ended");
    if (finish == asocket_close)
        ok(r.size >= w.size, "P2: what the writer had written arrives (%zu of %zu)", r.size,
           w.size);
    else
        ok(r.size < (size_t)64 << 20, "... in the middle");
    both_close(&c);
    is_int(living, 0, "... nothing is left");
}

static int shut_reading(end *e)
{
    return asocket_shutdown(e->socket, ASOCKET_READ);
}

static int give_up_reading(end *e)
{
    return asocket_cancel_read(e->in);
}

static void a_reader_inside_is_let_go(int kind, int (*how)(end *), int expected)
{
    char bytes[10];
    deed d;
    both c;

    both_open(selector, &c, kind, 0);
    memset(&d, 0, sizeof d);
    d.e = &c.a;
    asocket_launch(selector, read_once, &d);
    asocket_sleep(selector, 1);
    is_status(how(&c.a), ASOCKET_OK, "reading ends while a reader waits in the transport");
    asocket_join_all(selector);
    is_status(d.result, expected, "P7: ... who is told");
    is_status(asocket_read(c.a.in, bytes, 1), expected, "... as is the next one");
    say(c.a.out, "abc\n");
    is_int(asocket_read(c.b.in, bytes, 10), 4, "P3: ... the other direction goes on");
    both_close(&c);
}

static void a_writer_inside_is_let_go(int kind)
{
    deed w, r;
    both c;

    both_open(selector, &c, kind, 0);
    memset(&w, 0, sizeof w);
    r = w;
    w.e = &c.a;
    r.e = &c.b;
    w.size = (size_t)64 << 20;
    asocket_launch(selector, write_all, &w);
    asocket_sleep(selector, 10);
    is_status(asocket_cancel_write(c.a.out, ASOCKET_EIO), ASOCKET_OK, "writing is given up");
    asocket_join_all(selector);
    is_status(w.result, ASOCKET_ECANCELED, "P7: ... the writer in the transport is told");
    asocket_launch(selector, read_all, &r);
    asocket_sleep(selector, 20);
    say(c.b.out, "abc\n");
    ok(hear(c.a.in, "abc"), "P3: ... the other direction goes on");
    asocket_abort(c.a.socket);
    both_close(&c);
    asocket_join_all(selector);
}

static void bytes_given_up_are_no_end(int kind)
{
    char bytes[10];
    both c;

    both_open(selector, &c, kind, 0);
    asocket_write_string(c.a.out, "lost");
    is_status(asocket_cancel_write(c.a.out, ASOCKET_EIO), ASOCKET_OK, "writing is given up");
    asocket_close(c.a.socket);
    is_status(asocket_read(c.b.in, bytes, sizeof bytes), ASOCKET_ECONNRESET,
              "... with bytes unsent the close is a reset, and no goodbye");
    both_close(&c);
}

static void an_abort_ends_a_long_goodbye(void)
{
    int64_t start = test_clock();
    both c;

    counts_reset();
    both_open(selector, &c, MASKED, 0);
    c.a.mask->lingering = true;
    is_status(asocket_close(c.a.socket), ASOCKET_OK, "P2: close returns at once");
    ok(closes == 1 && !asocket_is_closed(c.a.lower), "... when its transport still waits");
    asocket_sleep(selector, 5);
    ok(closes == 1 && !asocket_is_closed(c.a.lower), "a transport takes its time for the goodbye");
    is_status(asocket_abort(c.a.socket), ASOCKET_OK, "abort of the layer that was closed");
    is_status(asocket_await_closed(c.a.socket), ASOCKET_OK, "... ends it");
    ok(test_took(start, 5, 500), "... at once");
    is_int(closes + cancels, 1, "... and its transport ended once");
    both_close(&c);
}

/* --- waits that end ---------------------------------------------------------------------------- */

static bool exchange_works(both *c)
{
    char text[64];

    asocket_set_timeout(c->a.socket, 5000);
    asocket_set_timeout(c->b.socket, 5000);
    if (asocket_write_string(c->b.out, "still there\n") < 0 || asocket_flush(c->b.out) < 0)
        return false;
    return asocket_read_line(c->a.in, text, sizeof text) == 11;
}

static void a_read_that_times_out_can_be_repeated(int kind)
{
    int64_t start = test_clock(), former;
    char text[64];
    both c;

    both_open(selector, &c, kind, 0);
    asocket_set_timeout(c.a.socket, 20);
    is_status(asocket_read(c.a.in, text, 1), ASOCKET_ETIMEDOUT, "P7: a read times out");
    ok(test_took(start, 20, 200), "... when it is time");
    ok(exchange_works(&c), "P7: ... and the next one works");
    former = asocket_set_deadline(selector, 20);
    is_status(asocket_read(c.a.in, text, 1), ASOCKET_ETIMEDOUT, "P7: a deadline ends a read");
    asocket_restore_deadline(selector, former);
    ok(exchange_works(&c), "P7: ... and the next one works");
    asocket_set_timeout(c.a.socket, ASOCKET_NO_WAIT);
    is_status(asocket_read(c.a.in, text, 1), ASOCKET_EAGAIN, "P7: NO_WAIT is told EAGAIN");
    is_status(asocket_read_line(c.a.in, text, sizeof text), ASOCKET_EAGAIN, "P7: ... so is a line");
    ok(exchange_works(&c), "P7: ... and the next one works");
    asocket_write_string(c.b.out, "half");
    asocket_flush(c.b.out);
    asocket_set_timeout(c.a.socket, 20);
    is_status(asocket_read_line(c.a.in, text, sizeof text), ASOCKET_ETIMEDOUT, "half a line");
    asocket_write_string(c.b.out, " and half\n");
    asocket_flush(c.b.out);
    ok(asocket_read_line(c.a.in, text, sizeof text) == 13 && !strcmp(text, "half and half"),
       "P7: what was half read stays readable");
    both_close(&c);
}

static void cancelled_read(asocket_selector *s, void *argument)
{
    deed *d = (deed *)argument;

    read_once(s, d);
    asocket_write_string(d->e->out, "bye\n");
    d->size = asocket_flush(d->e->out) == 0;
}

static void a_cancelled_read_can_be_repeated(int kind)
{
    char text[64];
    asocket_job job;
    deed d;
    both c;

    both_open(selector, &c, kind, 0);
    memset(&d, 0, sizeof d);
    d.e = &c.a;
    job = asocket_launch(selector, cancelled_read, &d);
    asocket_sleep(selector, 1);
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(d.result, ASOCKET_ECANCELED, "P7: a read is cancelled");
    ok(d.size, "P7: ... clean-up can say goodbye through the layer");
    ok(asocket_read_line(c.b.in, text, sizeof text) == 3, "... which arrives");
    ok(exchange_works(&c), "P7: ... and another coroutine's next call works");
    both_close(&c);
}

/* Writes until it is refused: what it had written by then is what must arrive. */
static size_t write_until_refused(end *e, uint32_t *sum, int *status)
{
    char bytes[1000];
    size_t total = 0;
    ptrdiff_t result = 0;
    int refused = 0;

    *sum = 2166136261u;
    while (refused < 3 && total < (size_t)64 << 20) {
        fill(bytes, sizeof bytes, total);
        result = asocket_write(e->out, bytes, sizeof bytes);
        refused += result < 0;
        if (result < 0)
            continue;
        *sum = sum_of(*sum, bytes, sizeof bytes);
        total += sizeof bytes;
    }
    *status = (int)result;
    return total;
}

static void a_write_that_is_refused_can_be_repeated(int kind, int64_t timeout, int expected)
{
    uint32_t sum;
    size_t total;
    int status;
    deed r;
    both c;

    both_open(selector, &c, kind, 0);
    asocket_set_timeout(c.a.socket, timeout);
    total = write_until_refused(&c.a, &sum, &status);
    is_status(status, expected, "P7: a write ends");
    if (kind == MASKED) /* packed, the system may find room for what is left */
        is_status(asocket_flush(c.a.out), expected, "P7: so does a flush");
    asocket_set_timeout(c.a.socket, 5000);
    memset(&r, 0, sizeof r);
    r.e = &c.b;
    asocket_launch(selector, read_all, &r);
    is_int(asocket_write(c.a.out, "more", 4), 4, "P7: ... and the next one works");
    is_status(asocket_finish(c.a.out), ASOCKET_OK, "... up to the half-close");
    asocket_join_all(selector);
    ok(r.size == total + 4 && r.sum == sum_of(sum, "more", 4),
       "P7: ... all of it arrives, once (%zu of %zu)", r.size, total + 4);
    both_close(&c);
}

static void a_finish_that_is_refused_can_be_repeated(int kind)
{
    uint32_t sum;
    size_t total;
    int status;
    deed r;
    both c;

    both_open(selector, &c, kind, 0);
    asocket_set_timeout(c.a.socket, 10);
    total = write_until_refused(&c.a, &sum, &status);
    is_status(asocket_finish(c.a.out), ASOCKET_ETIMEDOUT, "P7: a half-close times out");
    asocket_set_timeout(c.a.socket, 5000);
    memset(&r, 0, sizeof r);
    r.e = &c.b;
    asocket_launch(selector, read_all, &r);
    is_status(asocket_finish(c.a.out), ASOCKET_OK, "P7: ... and can be repeated");
    asocket_join_all(selector);
    ok(r.size == total && r.sum == sum && r.result == ASOCKET_EOF, "... all of it arrives");
    both_close(&c);
}

static void write_then_cancelled(asocket_selector *s, void *argument)
{
    deed *d = (deed *)argument;
    uint32_t sum;
    int status;

    (void)s;
    d->size = write_until_refused(d->e, &sum, &status);
    d->sum = sum;
    d->result = status;
}

static void a_cancelled_writer_loses_nothing(int kind, int flags)
{
    asocket_job job;
    deed w, r;
    both c;

    both_open(selector, &c, kind, flags);
    memset(&w, 0, sizeof w);
    memset(&r, 0, sizeof r);
    w.e = &c.a;
    r.e = &c.b;
    job = asocket_launch(selector, write_then_cancelled, &w);
    asocket_sleep(selector, 20);
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(w.result, ASOCKET_ECANCELED, "P7: a writer is cancelled");
    asocket_close(c.a.socket);
    asocket_launch(selector, read_all, &r);
    asocket_join_all(selector);
    ok(r.size == w.size && r.sum == w.sum, "P2: what it had written arrives (%zu of %zu)", r.size,
       w.size);
    both_close(&c);
}

static void a_flush_waits_for_the_kernel(void)
{
    asocket_statistics statistics;
    char bytes[1];
    uint32_t sum;
    int status;
    both c;

    both_open(selector, &c, MASKED, 0);
    asocket_set_timeout(c.a.socket, 10);
    (void)write_until_refused(&c.a, &sum, &status);
    is_status(asocket_flush(c.a.out), ASOCKET_ETIMEDOUT, "P4: a flush waits for the kernel");
    is_status(asocket_flush(c.a.out), ASOCKET_ETIMEDOUT, "P4: ... each time");
    asocket_abort(c.b.socket);
    asocket_set_timeout(c.a.socket, 5000);
    ok(asocket_read(c.a.in, bytes, 1) == ASOCKET_ECONNRESET, "the peer is gone");
    is_status(asocket_flush(c.a.out), ASOCKET_ECONNRESET, "... which the flush says, too");
    both_close(&c);
    asocket_sleep(selector, 1);
    asocket_stats(selector, &statistics);
    is_int(statistics.buffers, 0, "P5: no buffer is left");
}

/* --- several at a layer ------------------------------------------------------------------------ */

static void second_users_are_told(int kind)
{
    char bytes[10];
    deed reader, writer;
    both c;

    both_open(selector, &c, kind, 0);
    memset(&reader, 0, sizeof reader);
    writer = reader;
    reader.e = writer.e = &c.a;
    writer.size = (size_t)1 << 20;
    asocket_launch(selector, read_once, &reader);
    asocket_launch(selector, write_all, &writer);
    asocket_sleep(selector, 5);
    is_status(asocket_read(c.a.in, bytes, 1), ASOCKET_EBUSY, "P12: a second reader is told EBUSY");
    is_status(asocket_write(c.a.out, bytes, 1), ASOCKET_EBUSY, "P12: so is a second writer");
    ok(asocket_detach(c.a.socket) == NULL && asocket_error(selector) == ASOCKET_EBUSY,
       "P12: ... and who would detach the layer");
    asocket_write_string(c.b.out, "x");
    asocket_flush(c.b.out);
    writer.e = &c.a;
    reader.e = &c.b;
    asocket_launch(selector, read_all, &reader);
    asocket_join_all(selector);
    ok(reader.size == (size_t)1 << 20 && reader.sum == writer.sum, "P12: ... the first ones go on");
    both_close(&c);
}

/* --- what a transport may answer --------------------------------------------------------------- */

static void errors_of_a_transport_reach_the_caller(void)
{
    char bytes[10];
    both c;

    both_open(selector, &c, MASKED, 0);
    c.a.mask->failing_read = ASOCKET_ETLS;
    c.a.mask->failing_write = ASOCKET_EIO;
    is_status(asocket_read(c.a.in, bytes, 1), ASOCKET_ETLS, "an error of read reaches the caller");
    is_int(asocket_write_string(c.a.out, "x"), 1, "a small write is kept,");
    is_status(asocket_flush(c.a.out), ASOCKET_EIO, "... an error of write reaches the flush");
    is_status(asocket_write_string(c.a.out, "x"), ASOCKET_EIO, "... and whoever writes then");
    c.b.mask->ending = true;
    is_status(asocket_read(c.b.in, bytes, 1), ASOCKET_EOF, "a read of 0 is the end of stream");
    both_close(&c);
    both_open(selector, &c, MASKED, 0);
    c.a.mask->failing_read = ASOCKET_EOF;
    is_status(asocket_read(c.a.in, bytes, 1), ASOCKET_EOF, "so is one of EOF");
    c.b.mask->failing_write = ASOCKET_ECONNRESET;
    is_status(asocket_finish(c.b.out), ASOCKET_ECONNRESET, "an error of the end reaches finish");
    both_close(&c);
    is_int(living, 0, "transports that failed end as others do");
}

/* Outside of coroutines auto-flush is done before the write returns: it says how it went. */
static void a_write_that_cannot_leave_says_so(void)
{
    both c;

    both_open(selector, &c, MASKED, ASOCKET_AUTO_FLUSH);
    c.a.mask->failing_write = ASOCKET_ENOMEM;
    is_status(asocket_write_string(c.a.out, "lost\n"), ASOCKET_ENOMEM,
              "P7: what a transport has no memory for is not written");
    c.a.mask->failing_write = 0;
    is_int(asocket_write_string(c.a.out, "kept\n"), 5, "P7: ... the next write works");
    ok(hear(c.b.in, "kept"), "P7: ... and nothing comes before it");
    c.a.mask->breaking = true;
    is_status(asocket_write_string(c.a.out, "lost\n"), ASOCKET_ECANCELED,
              "a socket below that breaks with what was taken is told");
    is_status(asocket_write_string(c.a.out, "more\n"), ASOCKET_ECANCELED, "... from then on");
    both_close(&c);
}

typedef struct copying {
    asocket_read_channel *in;
    asocket_write_channel *out;
    int64_t result;
} copying;

static void copy_three(asocket_selector *s, void *argument)
{
    copying *c = (copying *)argument;

    (void)s;
    c->result = asocket_copy(c->in, c->out, 3);
}

typedef struct filling {
    asocket_write_channel *out;
    ptrdiff_t result;
} filling;

static void write_a_block(asocket_selector *s, void *argument)
{
    filling *f = (filling *)argument;
    char *block = (char *)calloc(1, 2 * PIECE);

    (void)s;
    f->result = block ? asocket_write(f->out, block, 2 * PIECE) : 0;
    free(block);
}

/* A write of a whole block goes past it: the block may be gone when the transport comes back, which
   took a part. */
static void a_block_may_go_while_it_is_written(int (*finish)(asocket *))
{
    test_pair pair;
    asocket *layer;
    mask *m = mask_new(1);
    filling f;

    if (!test_pair_open(selector, &pair))
        return;
    m->writing_late = true;
    layer = asocket_layer(pair.socket, &masking, m);
    is_int(asocket_set_capacity(layer, 2 * PIECE), 0, "(a capacity)");
    f.out = asocket_open_write_channel(layer, 0);
    f.result = 0;
    asocket_launch(selector, write_a_block, &f);
    asocket_poll(selector, 0);
    is_int(m->inside, 1, "a block is written, its transport works");
    if (finish)
        finish(layer);
    else
        (void)asocket_cancel_write(f.out, ASOCKET_EIO);
    asocket_join_all(selector);
    is_status(f.result, finish ? ASOCKET_ECLOSED : ASOCKET_ECANCELED,
              "P8: ... and learns that its channel has gone");
    asocket_close(layer);
    test_pair_close(&pair);
    asocket_await_closed(layer);
}

/* What a copy is about to send stays where it is until it is sent. */
static void a_copy_keeps_other_readers_out(void)
{
    copying mine;
    test_pair pair;
    const char *there;
    char bytes[4];
    both c;

    if (!test_pair_open(selector, &pair))
        return;
    both_open(selector, &c, MASKED, 0);
    c.a.mask->writing_late = true;
    mine.in = asocket_open_read_channel(pair.socket);
    mine.out = c.a.out;
    mine.result = 0;
    is_int(send(pair.peer, "abcd\n", 5, 0), 5, "(bytes)");
    is_int(asocket_peek(mine.in, &there, 5), 5, "(they are there)");
    asocket_launch(selector, copy_three, &mine);
    asocket_poll(selector, 0);
    is_int(c.a.mask->inside, 1, "a copy is inside of a transport");
    is_status(asocket_read(mine.in, bytes, 4), ASOCKET_EBUSY, "P12: its read channel is in use");
    is_status(asocket_copy(mine.in, c.b.out, 1), ASOCKET_EBUSY, "P12: ... for a copy, too");
    ok(strstr(asocket_error_message(selector), "another coroutine") != NULL,
       "P12: ... which says why: %s", asocket_error_message(selector));
    asocket_join_all(selector);
    is_int(mine.result, 3, "P12: ... the copy goes on");
    is_int(asocket_read(mine.in, bytes, 4), 2, "P12: ... and leaves what it did not take");
    asocket_flush(c.a.out);
    is_int(asocket_read_full(c.b.in, bytes, 3), 3, "P12: ... and its bytes");
    ok(!memcmp(bytes, "abc", 3), "P12: ... are those");
    both_close(&c);
    test_pair_close(&pair);
}

/* Outside of coroutines: behind what waits already, for lack of memory nothing is taken. */
static void a_copy_that_cannot_leave_loses_nothing(void)
{
    asocket_read_channel *in;
    test_pair pair;
    both c;

    if (!test_pair_open(selector, &pair))
        return;
    both_open(selector, &c, MASKED, ASOCKET_AUTO_FLUSH);
    in = asocket_open_read_channel(pair.socket);
    asocket_set_timeout(c.a.socket, ASOCKET_NO_WAIT);
    is_int(send(pair.peer, "bc\n", 3, 0), 3, "(bytes)");
    c.a.mask->failing_write = ASOCKET_EAGAIN;
    is_int(asocket_write_string(c.a.out, "a"), 1, "a byte waits to leave");
    c.a.mask->failing_write = ASOCKET_ENOMEM;
    is_status((int)asocket_copy(in, c.a.out, 3), ASOCKET_ENOMEM,
              "P7: what there is no memory for is not copied");
    is_int(asocket_transferred(in), 0, "P7: ... and not counted");
    is_int(asocket_written(c.a.out), 0, "P7: ... at neither end");
    c.a.mask->failing_write = 0;
    is_int(asocket_copy(in, c.a.out, 3), 3, "P7: ... it is there for the next copy");
    ok(hear(c.b.in, "abc"), "P7: ... and arrives once, behind what was there before");
    both_close(&c);
    test_pair_close(&pair);
}

static void layers_stand_on_layers(void)
{
    end a, b;
    char text[64];
    both c;

    counts_reset();
    both_open(selector, &c, MASKED, 0);
    c.a.mask->key = c.b.mask->key = 0x21;
    c.a.mask->lower.in = NULL;
    (void)c;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    a.mask = mask_new(0x13);
    b.mask = mask_new(0x13);
    a.mask->lower.in = c.a.in, a.mask->lower.out = c.a.out;
    b.mask->lower.in = c.b.in, b.mask->lower.out = c.b.out;
    a.socket = asocket_layer(c.a.socket, &masking, a.mask);
    b.socket = asocket_layer(c.b.socket, &masking, b.mask);
    a.in = asocket_open_read_channel(a.socket);
    a.out = asocket_open_write_channel(a.socket, 0);
    b.in = asocket_open_read_channel(b.socket);
    b.out = asocket_open_write_channel(b.socket, 0);
    asocket_write_string(a.out, "two masks\n");
    is_status(asocket_flush(a.out), ASOCKET_OK, "a layer on a layer");
    ok(asocket_read_line(b.in, text, sizeof text) == 9 && !strcmp(text, "two masks"),
       "... is read through both");
    asocket_write_string(a.out, "the end");
    is_status(asocket_finish(a.out), ASOCKET_OK, "P3: half-close through both");
    ok(asocket_read_line(b.in, text, sizeof text) == 7, "... arrives");
    is_status(asocket_read(b.in, text, 1), ASOCKET_EOF, "... and the end");
    asocket_write_string(b.out, "last words");
    asocket_close(b.socket);
    ok(asocket_read_line(a.in, text, sizeof text) == 10, "P2: ... also what was closed upon");
    ok(asocket_detach(c.a.socket) == NULL, "only the topmost can be detached");
    ok(asocket_layer(c.a.socket, &masking, a.mask) == NULL, "... or bear another");
    asocket_close(a.socket);
    asocket_await_closed(a.socket);
    asocket_await_closed(b.socket);
    is_status(asocket_await_closed(c.a.lower), ASOCKET_OK, "closing the top closes all below");
    asocket_await_closed(c.b.lower);
    is_int(closes, 4, "each transport says goodbye, once");
    is_int(living, 0, "... and nothing is left");
    asocket_close(c.server);
}

/* Its transports open the channels below by themselves. */
static void a_transport_opens_the_channels_of_a_layer_below(void)
{
    mask *inner, *outer;
    asocket *top;
    asocket_write_channel *out;
    test_pair pair;
    char bytes[4];

    if (!test_pair_open(selector, &pair))
        return;
    inner = mask_new(1);
    outer = mask_new(2);
    top = asocket_layer(asocket_layer(pair.socket, &masking, inner), &masking, outer);
    out = asocket_open_write_channel(top, 0);
    asocket_write_string(out, "abc");
    is_status(asocket_flush(out), ASOCKET_OK, "a transport opens the channels of a layer below");
    is_int(test_peer_receive(selector, pair.peer, bytes, 3), 3, "... and they work");
    ok(!memcmp(bytes, "ba`", 3), "... both masks were put on");
    asocket_close(top);
    test_pair_close(&pair);
    asocket_await_closed(top);
}

/* Which the library does, too, when all transports were told of the end. */
static void transports_end_the_stream_below(void)
{
    mask *inner, *outer;
    asocket *top;
    asocket_write_channel *out;
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    inner = mask_new(1);
    outer = mask_new(2);
    inner->finishing = outer->finishing = true;
    top = asocket_layer(asocket_layer(pair.socket, &masking, inner), &masking, outer);
    out = asocket_open_write_channel(top, 0);
    asocket_write_string(out, "abc");
    is_status(asocket_finish(out), ASOCKET_OK, "P3: transports may end the stream below");
    is_status(asocket_finish(out), ASOCKET_OK, "... twice is harmless");
    ok(test_peer_expect(selector, pair.peer, "ba`"), "... what was written before arrives");
    is_int(test_peer_end(selector, pair.peer), 0, "... then the end");
    test_pair_close(&pair);
    asocket_await_closed(top);
}

typedef struct reading {
    asocket_read_channel *in;
    ptrdiff_t result;
} reading;

static void read_one(asocket_selector *s, void *argument)
{
    reading *r = (reading *)argument;
    char byte;

    (void)s;
    r->result = asocket_read(r->in, &byte, 1);
}

/* Who closes a layer, or gives its direction up, while the transport is between two waits cannot
   end one: it must not begin another. */
static void a_transport_at_work_does_not_wait_any_more(int how, int expected)
{
    mask *m = mask_new(1);
    test_pair pair;
    asocket *layer;
    reading r;
    int i;

    if (!test_pair_open(selector, &pair))
        return;
    m->yielding = true;
    layer = asocket_layer(pair.socket, &masking, m);
    r.in = asocket_open_read_channel(layer);
    r.result = 0;
    asocket_launch(selector, read_one, &r);
    asocket_poll(selector, 0);
    if (how == 0)
        asocket_close(layer);
    else if (how == 1)
        asocket_cancel_read(r.in);
    else
        asocket_shutdown(layer, ASOCKET_READ);
    for (i = 0; i < 10; i++)
        asocket_poll(selector, 0);
    is_status(r.result, expected, "P8: a transport at work learns of it before it waits, way %d",
              how);
    asocket_close(layer);
    test_pair_close(&pair);
    asocket_await_closed(layer);
    ok(r.result, "... and is left");
}

/* --- on and off -------------------------------------------------------------------------------- */

typedef struct talk { /* plain lines, a layer, plain lines again, on the same channels */
    asocket *socket;
    asocket_read_channel *in;
    asocket_write_channel *out;
    int kind, stage;
} talk;

static asocket *talk_dress(talk *t)
{
    mask *m;

#if HAVE_ZLIB
    if (t->kind == PACKED) {
        packer *p = packer_new();

        p->lower.in = t->in;
        p->lower.out = t->out;
        p->polite = true;
        return asocket_layer(t->socket, &packing, p);
    }
#endif
    m = mask_new(0x77);
    m->lower.in = t->in;
    m->lower.out = t->out;
    return asocket_layer(t->socket, &masking, m);
}

static void talk_back(asocket_selector *s, void *argument)
{
    talk *t = (talk *)argument;
    asocket *layer, *lower;
    asocket_read_channel *in;
    asocket_write_channel *out;

    (void)s;
    t->stage += hear(t->in, "plain");
    say(t->out, "go\n");
    layer = talk_dress(t);
    in = asocket_open_read_channel(layer);
    out = asocket_open_write_channel(layer, 0);
    t->stage += hear(in, "dressed");
    asocket_write_string(out, "dressed too\n"); /* detach flushes it */
    lower = asocket_detach(layer);
    t->stage += lower == t->socket;
    if (t->kind == MASKED) /* which does not know where its bytes end */
        t->stage += hear(t->in, "off") - 1;
    say(t->out, "plain again\n");
    t->stage += hear(t->in, "plain at last");
}

static void a_layer_is_put_on_and_taken_off(int kind)
{
    asocket_read_channel *in;
    asocket_write_channel *out;
    asocket *layer;
    talk a, b;
    both c;

    counts_reset();
    memset(&a, 0, sizeof a);
    memset(&c, 0, sizeof c);
    plain_open(selector, &c);
    a.kind = kind;
    b = a;
    a.socket = c.a.lower;
    b.socket = c.b.lower;
    a.in = asocket_open_read_channel(a.socket);
    a.out = asocket_open_write_channel(a.socket, 0);
    b.in = asocket_open_read_channel(b.socket);
    b.out = asocket_open_write_channel(b.socket, 0);
    asocket_launch(selector, talk_back, &b);
    say(a.out, "plain\n");
    ok(hear(a.in, "go"), "a plain line");
    layer = talk_dress(&a);
    ok(layer != NULL, "a layer is put on");
    in = asocket_open_read_channel(layer);
    out = asocket_open_write_channel(layer, 0);
    say(out, "dressed\n");
    ok(hear(in, "dressed too"), "a line through it");
    if (kind == PACKED) /* which knows where its bytes end */
        is_status(asocket_read_byte(in), ASOCKET_EOF, "the peer took its layer off");
    ok(asocket_detach(layer) == a.socket, "the layer is taken off");
    if (kind == MASKED)
        say(a.out, "off\n");
    ok(asocket_is_closed(layer), "... and closed");
    ok(asocket_detach(layer) == NULL, "... once");
    ok(hear(a.in, "plain again"), "what the transport did not consume is still there");
    say(a.out, "plain at last\n");
    asocket_join_all(selector);
    is_int(b.stage, 4, "the other side has seen the same");
    is_int(closes, 2, "detach ends the transport by its close");
    asocket_close(a.socket);
    asocket_close(b.socket);
    asocket_close(c.server);
    asocket_await_closed(a.socket);
    asocket_await_closed(b.socket);
}

static void unread_bytes_keep_a_layer_on(void)
{
    char text[64];
    both c;

    both_open(selector, &c, MASKED, 0);
    say(c.b.out, "one\ntwo\n");
    ok(hear(c.a.in, "one"), "a line was read");
    ok(asocket_detach(c.a.socket) == NULL && asocket_error(selector) == ASOCKET_EBUSY,
       "a layer with unread bytes cannot be detached");
    ok(hear(c.a.in, "two"), "... they are still there");
    ok(asocket_detach(c.a.socket) == c.a.lower, "... then it can");
    is_status(asocket_read(c.a.in, text, 1), ASOCKET_ECLOSED, "P8: its channels are closed");
    asocket_close(c.a.lower);
    both_close(&c);
}

typedef struct detaching {
    asocket *layer, *got;
    bool done;
} detaching;

static void detach_it(asocket_selector *s, void *argument)
{
    detaching *d = (detaching *)argument;

    (void)s;
    d->got = asocket_detach(d->layer);
    d->done = true;
}

static void a_close_during_detach_ends_the_transport_once(int (*finish)(asocket *))
{
    detaching d;
    both c;

    counts_reset();
    both_open(selector, &c, MASKED, 0);
    c.a.mask->lingering = true;
    memset(&d, 0, sizeof d);
    d.layer = c.a.socket;
    asocket_launch(selector, detach_it, &d);
    asocket_sleep(selector, 2);
    ok(!d.done && closes == 1, "a goodbye takes its time");
    finish(c.a.socket);
    asocket_sleep(selector, 2);
    asocket_close(c.b.socket);
    asocket_await_closed(c.b.socket);
    asocket_join_all(selector);
    is_int(closes + cancels, 2, "each transport ended once");
    asocket_close(d.got);
    asocket_close(c.a.lower);
    both_close(&c);
    is_int(living, 0, "... nothing is left");
}

static void count_calls(asocket_selector *s, void *argument)
{
    (void)s;
    ++*(int *)argument;
}

static void close_soon(asocket_selector *s, void *argument)
{
    asocket_sleep(s, 5);
    asocket_close((asocket *)argument);
}

/* The loop still has the layer on its list when detach begins. */
static void a_notice_before_detach_ends_nothing(void)
{
    asocket *lower;
    int calls = 0;
    both c;

    counts_reset();
    both_open(selector, &c, MASKED, 0);
    c.a.mask->lingering = true;
    asocket_launch(selector, close_soon, c.b.socket);
    asocket_on_ready(c.a.socket, ASOCKET_READ, count_calls, &calls);
    lower = asocket_detach(c.a.socket);
    ok(lower == c.a.lower, "a layer that somebody waits for is taken off");
    asocket_await_closed(c.b.socket);
    is_int(closes + cancels, 2, "each transport ended once");
    is_int(calls, 0, "what waited for it is forgotten");
    asocket_close(lower);
    both_close(&c);
    is_int(living, 0, "... nothing is left");
}

/* --- in coroutines of a server ----------------------------------------------------------------- */

static void serve_dressed(asocket_selector *s, void *argument)
{
    end e;

    end_dress(&e, (asocket *)argument, HAVE_ZLIB ? PACKED : MASKED, ASOCKET_AUTO_FLUSH);
    echo_lines(s, &e); /* nobody closes anything */
}

static void dressed_server(asocket_selector *s, void *argument)
{
    (void)s;
    (void)asocket_serve((asocket *)argument, serve_dressed);
}

enum { MANY = 200 };

static asocket *served;
static int answered;

static void ask_dressed(asocket_selector *s, void *argument)
{
    asocket_builder builder = asocket_tcp(s);
    asocket_address address;
    char text[64];
    end e;

    (void)argument;
    asocket_local_address(served, &address);
    end_dress(&e, asocket_connect_address(builder, &address), HAVE_ZLIB ? PACKED : MASKED,
              ASOCKET_AUTO_FLUSH);
    asocket_write_string(e.out, "hello\n");
    answered += hear(e.in, "<hello>");
    asocket_finish(e.out);
    answered += asocket_read_line(e.in, text, sizeof text) == ASOCKET_EOF;
    asocket_close(e.socket);
}

static void many_are_served(void)
{
    int i, before = living;
    asocket_statistics statistics;

    counts_reset();
    served = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    asocket_launch(selector, dressed_server, served);
    for (i = 0; i < MANY; i++)
        asocket_launch(selector, ask_dressed, NULL);
    for (i = 0; i < 2000 && closes < 2 * MANY; i++)
        asocket_sleep(selector, 5);
    is_int(answered, 2 * MANY, "200 layered connections at once");
    is_int(closes, 2 * MANY, "... each closed when its coroutine ended");
    is_int(living, before, "... with its transport");
    asocket_close(served);
    asocket_join_all(selector);
    for (i = 0; i < 1000 && (asocket_stats(selector, &statistics), statistics.sockets); i++)
        asocket_sleep(selector, 1);
    is_int(statistics.sockets, 0, "... and its descriptor");
    is_int(statistics.buffers, 0, "P5: ... and its buffers");
}

/* --- selectors that go ------------------------------------------------------------------------- */

static void reads_and_ignores(asocket_selector *s, void *argument)
{
    deed *d = (deed *)argument;

    read_once(s, d);
}

static void selectors_close_their_layers(int argc, char **argv)
{
    asocket_selector *other = test_selector_closing(test_backend(argc, argv), 2000);
    deed d;
    both c;

    counts_reset();
    both_open(other, &c, HAVE_ZLIB ? PACKED : MASKED, 0);
    memset(&d, 0, sizeof d);
    d.e = &c.b;
    asocket_launch(other, reads_and_ignores, &d);
    asocket_sleep(other, 1);
    asocket_write_string(c.a.out, "not flushed");
    asocket_selector_destroy(other);
    is_status(d.result, ASOCKET_ECANCELED, "destroy cancels who waits in a transport");
    is_int(closes + cancels, 2, "... ends the transports, each once");
    is_int(living, 0, "... and nothing is left");
}

static void destroy_sends_what_was_written(int argc, char **argv)
{
    asocket_selector *other = test_selector_closing(test_backend(argc, argv), 2000);
    asocket *layer;
    asocket_write_channel *out;
    char bytes[6000], got[6000];
    test_pair pair;

    if (!test_pair_open(other, &pair))
        return;
    layer = asocket_layer(pair.socket, &masking, mask_new(0));
    out = asocket_open_write_channel(layer, 0);
    fill(bytes, sizeof bytes, 0);
    asocket_write(out, bytes, sizeof bytes);
    shutdown(pair.peer, SHUT_WR);
    asocket_selector_destroy(other);
    is_int(recv(pair.peer, got, sizeof got, MSG_WAITALL), sizeof got,
           "P2: what was written arrives, also when the selector goes");
    ok(!memcmp(bytes, got, sizeof got), "... intact");
    is_int(recv(pair.peer, got, 1, 0), 0, "... then the end");
    close(pair.peer);
}

/* What comes while nobody runs the loop: the bytes, and *end as test_peer_end has it. */
static int receive_meanwhile(int fd, char *bytes, size_t size, int *ended)
{
    struct pollfd entry;
    int have = 0;

    entry.fd = fd;
    entry.events = POLLIN;
    for (*ended = -ETIMEDOUT; *ended == -ETIMEDOUT && poll(&entry, 1, 1000) > 0;) {
        ssize_t count = recv(fd, bytes + have, size - (size_t)have, MSG_DONTWAIT);

        if (count > 0)
            have += (int)count;
        else
            *ended = count < 0 ? -errno : 0;
    }
    return have;
}

/* main may do something else after a close: a layer has to end as a socket does. */
static void a_layer_ends_without_the_loop(int layers, int (*finish)(asocket *), int expected)
{
    bool gently = finish == asocket_close;
    asocket *layer;
    char got[64];
    test_pair pair;
    int ended, have;

    if (!test_pair_open(selector, &pair))
        return;
    counts_reset();
    layer = asocket_layer(pair.socket, &masking, mask_new(0));
    if (layers > 1)
        layer = asocket_layer(layer, &masking, mask_new(0));
    asocket_write_string(asocket_open_write_channel(layer, 0), "goodbye");
    finish(layer);
    have = receive_meanwhile(pair.peer, got, sizeof got, &ended);
    is_int(have, gently ? 7 : 0, "P2: %d layers: a close sends at once what it can", layers);
    is_int(ended, expected, "P2: and ends the stream");
    is_int(gently ? closes : cancels, layers, "each transport has ended");
    test_pair_close(&pair);
    asocket_await_closed(layer);
}

/* A transport that waits for a goodbye which never comes; one that waits for nothing at all. */
static void a_goodbye_is_bounded(int argc, char **argv, bool for_good)
{
    asocket_selector *other = test_selector_closing(test_backend(argc, argv), 100);
    int64_t start;
    mask *m;
    both c;

    counts_reset();
    both_open(other, &c, MASKED, 0);
    m = c.a.mask;
    m->lingering = true;
    m->waiting_for_good = for_good;
    asocket_set_timeout(c.a.socket, ASOCKET_FOREVER);
    start = test_clock();
    asocket_close(c.a.socket);
    if (!for_good) {
        is_status(asocket_await_closed(c.a.socket), ASOCKET_OK,
                  "P2: close_timeout bounds a goodbye that never ends");
        ok(test_took(start, 100, 300), "... in time");
    } else {
        asocket_sleep(other, 5);
    }
    start = test_clock();
    asocket_selector_destroy(other);
    ok(test_took(start, 0, 1300), "P2: ... and so is destroy%s",
       for_good ? ", whatever the transport does" : "");
    is_int(living, 0, "... and nothing is left");
}

static void read_something(asocket_selector *owner, void *argument)
{
    char byte;

    (void)owner;
    (void)asocket_read((asocket_read_channel *)argument, &byte, 1);
}

/* A transport that is asleep when its layer is closed: it is waited for, not asked all the time. */
static void an_end_waits_without_spinning(void)
{
    asocket_statistics before, after;
    both c;

    counts_reset();
    both_open(selector, &c, MASKED, 0);
    c.a.mask->dozing = 100000; /* until it is told otherwise */
    asocket_launch(selector, read_something, c.a.in);
    asocket_sleep(selector, 10);
    is_int(c.a.mask->inside, 1, "a transport that takes its time");
    asocket_stats(selector, &before);
    asocket_close(c.a.socket);
    asocket_sleep(selector, 40);
    is_int(closes + cancels, 0, "which nobody takes its state from");
    asocket_stats(selector, &after);
    if (!ok(after.turns - before.turns < 2000, "P11: and does not spin until then"))
        diag("%d turns", (int)(after.turns - before.turns));
    c.a.mask->dozing = 0;
    is_status(asocket_await_closed(c.a.socket), ASOCKET_OK, "P2: it ends when that has come out");
    both_close(&c);
}

/* --- arguments --------------------------------------------------------------------------------- */

static ptrdiff_t no_read(void *state, asocket *lower, void *buffer, size_t size)
{
    (void)state, (void)lower, (void)buffer, (void)size;
    return ASOCKET_EIO;
}

static void wrong_arguments_are_refused(void)
{
    asocket_transport partial = {no_read, NULL, mask_close, mask_cancel};
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    ok(asocket_layer(NULL, &masking, NULL) == NULL, "no socket");
    ok(asocket_layer(pair.socket, NULL, NULL) == NULL, "no transport");
    is_status(asocket_error(selector), ASOCKET_EINVAL, "... is EINVAL");
    ok(asocket_layer(pair.socket, &partial, NULL) == NULL, "a transport without write");
    is_status(asocket_error(selector), ASOCKET_EINVAL, "... is EINVAL");
    ok(asocket_layer(server, &masking, NULL) == NULL, "a listener");
    is_status(asocket_error(selector), ASOCKET_EINVAL, "... is EINVAL");
    ok(asocket_detach(NULL) == NULL, "nothing can be detached");
    ok(asocket_detach(pair.socket) == NULL, "what is no layer cannot be detached");
    is_status(asocket_error(selector), ASOCKET_EINVAL, "... is EINVAL");
    ok(asocket_native_handle(pair.socket) != TEST_NO_HANDLE, "the socket is unchanged");
    asocket_close(pair.socket);
    ok(asocket_layer(pair.socket, &masking, NULL) == NULL, "a closed socket");
    is_status(asocket_error(selector), ASOCKET_ECLOSED, "... is ECLOSED");
    test_pair_close(&pair);
    asocket_close(server);
}

static void never(asocket_selector *s, void *argument)
{
    (void)s, (void)argument;
}

static void a_layer_shows_the_socket_below(int argc, char **argv)
{
    asocket_selector *other = test_selector_closing(test_backend(argc, argv), 0);
    asocket_address local, remote, expected;
    int value = -1;
    both c;

    both_open(selector, &c, MASKED, 0);
    ok(asocket_local_address(c.a.socket, &local) == 0 &&
           asocket_remote_address(c.a.socket, &remote) == 0 && remote.port && local.port,
       "addresses through a layer");
    ok(asocket_local_address(c.b.lower, &expected) == 0 &&
           asocket_address_equal(&expected, &remote),
       "... are those of the socket below");
    is_int(asocket_native_handle(c.a.socket), asocket_native_handle(c.a.lower),
           "the native handle is the one below");
    is_status(asocket_set_option(c.a.socket, ASOCKET_OPTION_NO_DELAY, 0), ASOCKET_OK, "options");
    is_status(asocket_get_option(c.a.lower, ASOCKET_OPTION_NO_DELAY, &value), ASOCKET_OK, "...");
    is_int(value, 0, "... are those of the socket below");
    ok(asocket_selector_of(c.a.socket) == selector, "its selector is the same");
    is_status(asocket_hand_over(c.a.socket, other, never), ASOCKET_EINVAL,
              "a layer cannot be handed over");
    ok(asocket_hand_over(c.a.lower, other, never) < 0, "nor the socket below it");
    ok(asocket_layer(c.a.lower, &masking, NULL) == NULL, "it bears one layer only");
    ok(asocket_launch_socket(selector, never, c.a.lower) == 0, "it has no coroutine of its own");
    ok(asocket_open_read_channel(c.a.socket) == NULL && asocket_error(selector) == ASOCKET_EBUSY,
       "a channel is opened once");
    ok(exchange_works(&c), "the layer works after all that");
    asocket_close(c.a.socket);
    asocket_await_closed(c.a.socket);
    ok(asocket_remote_address(c.a.socket, &expected) == 0 &&
           asocket_address_equal(&expected, &remote),
       "P8: addresses after the close");
    is_int(asocket_native_handle(c.a.socket), -1, "... but no handle");
    both_close(&c);
    asocket_selector_destroy(other);
}

static void the_socket_below_may_be_closed(void)
{
    char bytes[1];
    both c;

    both_open(selector, &c, MASKED, 0);
    asocket_close(c.a.lower);
    is_status(asocket_read(c.a.in, bytes, 1), ASOCKET_ECLOSED, "P8: who closes the socket below");
    asocket_write_string(c.a.out, "x");
    is_status(asocket_flush(c.a.out), ASOCKET_ECLOSED, "... ends the layer");
    both_close(&c);
    is_int(living, 0, "... which is closed as usual");
}

/* ----------------------------------------------------------------------------------------------- */

static void as_without_a_layer(int kind)
{
    lines_go_there_and_back(kind);
    large_transfers_arrive(kind);
    a_half_close_leaves_the_other_direction(kind);
    a_close_loses_nothing(kind, false);
    a_close_loses_nothing(kind, true);
    an_abort_says_no_goodbye(kind);
    a_reader_inside_learns_of_the_end(kind, asocket_close);
    a_reader_inside_learns_of_the_end(kind, asocket_abort);
    a_writer_inside_learns_of_the_end(kind, asocket_close);
    a_writer_inside_learns_of_the_end(kind, asocket_abort);
    a_reader_inside_is_let_go(kind, shut_reading, ASOCKET_EOF);
    a_reader_inside_is_let_go(kind, give_up_reading, ASOCKET_ECANCELED);
    a_writer_inside_is_let_go(kind);
    bytes_given_up_are_no_end(kind);
    a_read_that_times_out_can_be_repeated(kind);
    a_cancelled_read_can_be_repeated(kind);
    a_write_that_is_refused_can_be_repeated(kind, 10, ASOCKET_ETIMEDOUT);
    a_write_that_is_refused_can_be_repeated(kind, ASOCKET_NO_WAIT, ASOCKET_EAGAIN);
    a_cancelled_writer_loses_nothing(kind, 0);
    a_cancelled_writer_loses_nothing(kind, ASOCKET_AUTO_FLUSH);
    second_users_are_told(kind);
    a_layer_is_put_on_and_taken_off(kind);
}

int main(int argc, char **argv)
{
    int i;

    selector = test_selector(argc, argv);
    as_without_a_layer(MASKED);
    if (HAVE_ZLIB)
        as_without_a_layer(PACKED);
    else
        skip(1, "zlib.h is missing");
    a_finish_that_is_refused_can_be_repeated(MASKED);
    an_abort_ends_a_long_goodbye();
    a_flush_waits_for_the_kernel();
    errors_of_a_transport_reach_the_caller();
    a_write_that_cannot_leave_says_so();
    a_block_may_go_while_it_is_written(asocket_close);
    a_block_may_go_while_it_is_written(asocket_abort);
    a_block_may_go_while_it_is_written(NULL);
    a_copy_keeps_other_readers_out();
    a_copy_that_cannot_leave_loses_nothing();
    layers_stand_on_layers();
    a_transport_opens_the_channels_of_a_layer_below();
    transports_end_the_stream_below();
    a_transport_at_work_does_not_wait_any_more(0, ASOCKET_ECLOSED);
    a_transport_at_work_does_not_wait_any_more(1, ASOCKET_ECANCELED);
    a_transport_at_work_does_not_wait_any_more(2, ASOCKET_EOF);
    unread_bytes_keep_a_layer_on();
    a_close_during_detach_ends_the_transport_once(asocket_close);
    a_close_during_detach_ends_the_transport_once(asocket_abort);
    a_notice_before_detach_ends_nothing();
    many_are_served();
    selectors_close_their_layers(argc, argv);
    destroy_sends_what_was_written(argc, argv);
    for (i = 1; i < 3; i++) {
        a_layer_ends_without_the_loop(i, asocket_close, 0);
        a_layer_ends_without_the_loop(i, asocket_abort, -ECONNRESET);
    }
    an_end_waits_without_spinning();
    a_goodbye_is_bounded(argc, argv, false);
    a_goodbye_is_bounded(argc, argv, true);
    wrong_arguments_are_refused();
    a_layer_shows_the_socket_below(argc, argv);
    the_socket_below_may_be_closed();
    is_int(living, 0, "no transport is left");
    return test_end(selector);
}
