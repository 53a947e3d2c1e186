/* Pipes in memory: how much they hold, what the reader sees and when, how each end tells the
   other, when they are freed; against a model, and in long chains. */
#include "bytes.h"

static asocket_selector *selector;

typedef struct pipe_ends {
    asocket_read_channel *in;
    asocket_write_channel *out;
    size_t capacity;
} pipe_ends;

static pipe_ends pipe_of(size_t capacity)
{
    pipe_ends p;

    p.capacity = capacity;
    if (asocket_pipe(selector, capacity, &p.in, &p.out) != ASOCKET_OK)
        exit(1);
    return p;
}

static void pipe_done(pipe_ends *p)
{
    asocket_cancel_read(p->in);
    asocket_cancel_write(p->out, ASOCKET_ECANCELED);
}

/* From here on every call that would have to wait answers ASOCKET_ETIMEDOUT instead. */
static int64_t never_wait(void)
{
    return asocket_set_deadline(selector, 0);
}

static uint64_t buffers_now(void)
{
    asocket_statistics now;

    asocket_stats(selector, &now);
    return now.buffers;
}

/* --- how much it holds ------------------------------------------------------------------------ */

static void check_capacity(size_t capacity)
{
    char *bytes = (char *)calloc(1, capacity + 1);
    int64_t former = never_wait();
    pipe_ends p = pipe_of(capacity);
    size_t i;

    check(asocket_write(p.out, bytes, capacity) == (ptrdiff_t)capacity, "%d bytes fit",
          (int)capacity);
    check(asocket_write_byte(p.out, 0) == ASOCKET_ETIMEDOUT && !asocket_written(p.out),
          "one more does not");
    check(asocket_read_byte(p.in) == 0 && !asocket_write_byte(p.out, 0), "one out, one in");
    check(asocket_write_byte(p.out, 0) == ASOCKET_ETIMEDOUT, "and not two");
    pipe_done(&p);
    p = pipe_of(capacity);
    check(asocket_write(p.out, bytes, capacity + 1) == ASOCKET_ETIMEDOUT &&
              asocket_written(p.out) == (int64_t)capacity,
          "of %d + 1 bytes %d go in", (int)capacity, (int)asocket_written(p.out));
    pipe_done(&p);
    p = pipe_of(capacity);
    for (i = 0; i < capacity; i++)
        check(!asocket_write_byte(p.out, 0), "byte %d fits", (int)i);
    check(asocket_write_byte(p.out, 0) == ASOCKET_ETIMEDOUT, "the one after does not");
    pipe_done(&p);
    asocket_restore_deadline(selector, former);
    free(bytes);
}

static void test_capacity(void)
{
    size_t capacity;

    for (capacity = 1; capacity <= 40; capacity++)
        check_capacity(capacity);
    check_capacity(4096);
    check_capacity(16384);
    check_capacity(16385);
    checked("P5: a pipe holds its capacity and not one byte more");
}

typedef struct writer {
    pipe_ends *to;
    const char *bytes;
    size_t size;
    ptrdiff_t result;
    bool done;
} writer;

static void write_run(asocket_selector *owner, void *argument)
{
    writer *w = (writer *)argument;

    (void)owner;
    w->result = asocket_write(w->to->out, w->bytes, w->size);
    asocket_flush(w->to->out);
    w->done = true;
}

static void launch_write(writer *w, pipe_ends *p, const char *bytes, size_t size)
{
    memset(w, 0, sizeof *w);
    w->to = p;
    w->bytes = bytes;
    w->size = size;
    asocket_launch(selector, write_run, w);
    settle(selector);
}

static void test_writer_waits(void)
{
    char got[32];
    pipe_ends p = pipe_of(16);
    writer w;

    launch_write(&w, &p, "0123456789abcdefg", 17);
    ok(!w.done, "P5: a writer of one byte more than the capacity waits");
    is_int(asocket_available(p.in), 16, "P5: what fits can be read meanwhile");
    is_int(asocket_read(p.in, got, 1), 1, "P5: one byte is read");
    settle(selector);
    ok(w.done && w.result == 17, "P5: then the write is complete");
    asocket_flush(p.out);
    is_int(asocket_read(p.in, got, 32), 16, "P5: the rest is there");
    ok(!memcmp(got, "123456789abcdefg", 16), "in its order");
    pipe_done(&p);
}

/* A ring that was made larger because both ends waited is given up when it runs empty. */
static void test_bound_comes_back(void)
{
    char got[16];
    uint64_t before = buffers_now();
    pipe_ends p = pipe_of(16);
    int64_t former;
    writer w;

    asocket_write(p.out, "0123456789", 10);
    launch_write(&w, &p, "abcdefghij", 10);
    ok(!w.done, "10 bytes do not fit behind 10 in 16");
    is_int(asocket_read_full(p.in, got, 12), 12, "a read of 12 and that write do not block");
    ok(w.done && !memcmp(got, "0123456789ab", 12), "each other");
    is_int(asocket_read_full(p.in, got, 8), 8, "the rest of it");
    is_int(buffers_now(), before, "P5: the empty pipe keeps no buffer");
    former = never_wait();
    is_status(asocket_write(p.out, "0123456789abcdefg", 17), ASOCKET_ETIMEDOUT,
              "P5: then it holds what it held before");
    is_int(asocket_written(p.out), 16, "P5: and no more");
    asocket_restore_deadline(selector, former);
    pipe_done(&p);
}

/* --- what the reader sees --------------------------------------------------------------------- */

typedef struct reader {
    pipe_ends *from;
    char got[64];
    size_t size;
    ptrdiff_t result;
    bool done;
} reader;

static void read_run(asocket_selector *owner, void *argument)
{
    reader *r = (reader *)argument;

    (void)owner;
    r->result = asocket_read_full(r->from->in, r->got, r->size);
    r->done = true;
}

static asocket_job launch_read(reader *r, pipe_ends *p, size_t size)
{
    asocket_job job;

    memset(r, 0, sizeof *r);
    r->from = p;
    r->size = size;
    job = asocket_launch(selector, read_run, r);
    settle(selector);
    return job;
}

static void test_flush(void)
{
    pipe_ends p = pipe_of(16);
    reader r;

    launch_read(&r, &p, 3);
    asocket_write(p.out, "abc", 3);
    settle(selector);
    ok(!r.done, "P4: without a flush the reader goes on waiting");
    is_int(asocket_available(p.in), 0, "P4: and nothing is available");
    is_status(asocket_flush(p.out), ASOCKET_OK, "P4: a flush does not wait for the reader");
    settle(selector);
    ok(r.done && r.result == 3, "P4: which then has it");
    asocket_write(p.out, "defg", 4);
    asocket_flush(p.out);
    asocket_write(p.out, "hi", 2);
    is_int(asocket_available(p.in), 4, "P4: what was written since the flush is not seen");
    is_int(asocket_discard(p.in, 4), 4, "P4: the rest is read");
    is_int(asocket_available(p.in), 0, "P4: and still not seen");
    asocket_finish(p.out);
    is_int(asocket_available(p.in), 2, "P4: a finish shows it");
    pipe_done(&p);
}

/* Who writes without ever flushing is seen when the pipe is full. */
static void test_full_is_flushed(void)
{
    pipe_ends p = pipe_of(16);
    reader r;
    writer w;

    launch_read(&r, &p, 8);
    asocket_write(p.out, "0123456789", 10);
    settle(selector);
    ok(!r.done, "P4: 10 of 16 bytes are not seen");
    launch_write(&w, &p, "0123456789", 10);
    ok(r.done && r.result == 8 && w.done, "P4: when there is no room for more they are");
    pipe_done(&p);
}

/* --- how one end tells the other -------------------------------------------------------------- */

static void test_finish(void)
{
    char got[16];
    pipe_ends p = pipe_of(16);

    asocket_write(p.out, "last", 4);
    is_status(asocket_finish(p.out), ASOCKET_OK, "P3: a pipe is finished, unflushed bytes too");
    is_status(asocket_write(p.out, "x", 1), ASOCKET_ECLOSED, "P3: a later write");
    is_status(asocket_finish(p.out), ASOCKET_OK, "P3: finishing twice is harmless");
    is_status(asocket_cancel_write(p.out, ASOCKET_EIO), ASOCKET_ECLOSED, "P3: too late to cancel");
    is_status(asocket_read_full(p.in, got, 5), ASOCKET_EOF, "P1: one byte too few is the end");
    is_int(asocket_read_full(p.in, got, 4), 4, "P1: the bytes are there all the same");
    is_status(asocket_read(p.in, got, 1), ASOCKET_EOF, "P1: then the end");
    is_status(asocket_read(p.in, got, 1), ASOCKET_EOF, "P1: and again");
    is_status(asocket_cancel_read(p.in), ASOCKET_OK, "the reader may still give up");
}

static void test_finish_wakes(void)
{
    pipe_ends p = pipe_of(16);
    reader r;

    launch_read(&r, &p, 8);
    asocket_write(p.out, "0123", 4);
    asocket_finish(p.out);
    ok(run_until(selector, &r.done), "P1: a reader that waits sees the end");
    is_status(r.result, ASOCKET_EOF, "P1: as the end");
    is_int(asocket_available(p.in), 4, "P7: with what it could not complete left");
    pipe_done(&p);
}

static void test_cancel_write(int status)
{
    char got[16];
    pipe_ends p = pipe_of(16);
    reader r;

    asocket_write(p.out, "flushed", 7);
    asocket_flush(p.out);
    asocket_write(p.out, "not", 3);
    is_status(asocket_cancel_write(p.out, ASOCKET_OK), ASOCKET_EINVAL, "0 is no failure");
    is_status(asocket_cancel_write(p.out, status), ASOCKET_OK, "writing is given up: %s",
              asocket_strerror(status));
    is_status(asocket_write(p.out, "x", 1), ASOCKET_ECANCELED, "the writer is told so");
    is_int(asocket_read(p.in, got, 16), 7, "the reader gets what was flushed");
    is_status(asocket_read(p.in, got, 16), status, "then the status");
    is_status(asocket_read_byte(p.in), status, "and again");
    p = pipe_of(16);
    launch_read(&r, &p, 1);
    asocket_write(p.out, "not", 3);
    asocket_cancel_write(p.out, status);
    ok(run_until(selector, &r.done) && r.result == status, "a reader that waits gets it too");
    pipe_done(&p);
}

static void test_cancel_write_wakes(void)
{
    static const char bytes[100] = {0};
    pipe_ends p = pipe_of(16);
    reader r;
    writer w;

    launch_write(&w, &p, bytes, sizeof bytes);
    ok(!w.done, "a writer waits");
    asocket_cancel_write(p.out, ASOCKET_EIO);
    ok(run_until(selector, &w.done) && w.result == ASOCKET_ECANCELED, "P7: until it is cancelled");
    is_int(asocket_available(p.in), 16, "what the reader could see stays");
    launch_read(&r, &p, 17);
    ok(r.done && r.result == ASOCKET_EIO, "then comes the status");
    pipe_done(&p);
}

static void test_cancel_read(void)
{
    static const char bytes[100] = {0};
    uint64_t before = buffers_now();
    pipe_ends p = pipe_of(16);
    char *space;
    writer w;

    launch_write(&w, &p, bytes, sizeof bytes);
    is_status(asocket_cancel_read(p.in), ASOCKET_OK, "reading is given up");
    ok(run_until(selector, &w.done) && w.result == ASOCKET_ECANCELED,
       "P7: a writer that waits is told");
    is_status(asocket_write(p.out, "x", 1), ASOCKET_ECANCELED, "a later write too");
    is_int(asocket_written(p.out), 0, "... which put in nothing");
    is_status(asocket_reserve(p.out, &space, 1), ASOCKET_ECANCELED, "and a reservation");
    is_status(asocket_flush(p.out), ASOCKET_ECANCELED, "and a flush");
    is_int(buffers_now(), before, "P5: the bytes that nobody will read are gone");
    is_status(asocket_cancel_read(p.in), ASOCKET_OK, "again is harmless");
    asocket_cancel_write(p.out, ASOCKET_EIO);
    asocket_finish(p.out);
}

static void test_refused_counts(void)
{
    pipe_ends p = pipe_of(16);
    char bytes[4];

    asocket_write(p.out, "abcd", 4);
    asocket_flush(p.out);
    is_int(asocket_read(p.in, bytes, 3), 3, "three bytes are read");
    asocket_cancel_read(p.in);
    is_int(asocket_transferred(p.in), 3, "... which a cancel does not change");
    is_status(asocket_read(p.in, bytes, 3), ASOCKET_ECANCELED, "P7: a read after it is refused");
    is_int(asocket_transferred(p.in), 0, "... and has taken nothing");
    pipe_done(&p);
}

static void test_second_writer(void)
{
    static const char bytes[100] = {0};
    pipe_ends p = pipe_of(16);
    char *space;
    writer w;

    launch_write(&w, &p, bytes, sizeof bytes);
    is_status(asocket_write(p.out, "x", 1), ASOCKET_EBUSY, "P12: a second writer of a pipe");
    is_status(asocket_reserve(p.out, &space, 1), ASOCKET_EBUSY, "P12: by reservation");
    is_status(asocket_flush(p.out), ASOCKET_EBUSY, "P12: a flush");
    is_status(asocket_finish(p.out), ASOCKET_EBUSY, "P12: a finish");
    is_int(asocket_discard(p.in, 100 - 16), 100 - 16, "P12: the first");
    settle(selector);
    ok(w.done && w.result == 100, "P12: is undisturbed");
    pipe_done(&p);
}

/* --- freeing ---------------------------------------------------------------------------------- */

enum { FINISH, CANCEL_WRITE, READ_TO_THE_END, CANCEL_READ };

static void end_writer(pipe_ends *p, int how)
{
    if (how == FINISH)
        asocket_finish(p->out);
    else
        asocket_cancel_write(p->out, ASOCKET_EIO);
}

static void end_reader(pipe_ends *p, int how)
{
    char got[64];

    if (how == CANCEL_READ)
        asocket_cancel_read(p->in);
    else
        while (asocket_read(p->in, got, sizeof got) > 0) {
        }
}

/* What the writer leaves behind: nothing, bytes, a reservation, an empty text. */
static void leave_behind(pipe_ends *p, int what)
{
    char *space;

    if (what == 1 || what == 2)
        asocket_write(p->out, "bytes", 5);
    if (what == 2)
        asocket_flush(p->out);
    if (what == 3)
        asocket_reserve(p->out, &space, 3);
    if (what == 4)
        asocket_printf(p->out, "%s", "");
}

/* More of them than are kept for stale handles; then no more memory may be taken. */
static void use_pipes(int writer_end, int reader_end, bool reader_first, int what)
{
    size_t memory = 0;
    uint64_t buffers = buffers_now();
    int i;

    for (i = 0; i < 1300; i++) {
        pipe_ends p = pipe_of(64);

        leave_behind(&p, what);
        if (reader_first)
            end_reader(&p, reader_end);
        end_writer(&p, writer_end);
        if (!reader_first)
            end_reader(&p, reader_end);
        if (i == 1100)
            memory = test_selector_memory.bytes;
    }
    check(test_selector_memory.bytes == memory, "writer %d, reader %d, %s first, leaving %d: %d",
          writer_end, reader_end, reader_first ? "reader" : "writer", what,
          (int)(test_selector_memory.bytes - memory));
    check(buffers_now() == buffers, "writer %d, reader %d, %s first, leaving %d: buffers %d",
          writer_end, reader_end, reader_first ? "reader" : "writer", what,
          (int)(buffers_now() - buffers));
}

static void test_freeing(void)
{
    int writer_end, what;

    for (writer_end = FINISH; writer_end <= CANCEL_WRITE; writer_end++)
        for (what = 0; what <= 4; what++) {
            use_pipes(writer_end, READ_TO_THE_END, false, what);
            use_pipes(writer_end, CANCEL_READ, false, what);
            use_pipes(writer_end, CANCEL_READ, true, what);
        }
    checked("P5: a pipe is freed when both ends are done, whichever way and in any order");
}

/* One end that is done does not make the pipe go away under the other one. */
static void outlive(bool reading)
{
    pipe_ends p = pipe_of(64);
    char got[8];

    asocket_write(p.out, "bytes", 5);
    asocket_flush(p.out);
    if (reading)
        asocket_finish(p.out);
    else
        asocket_cancel_read(p.in);
    use_pipes(FINISH, READ_TO_THE_END, false, 1);
    if (reading)
        check(asocket_read_full(p.in, got, 5) == 5 && !memcmp(got, "bytes", 5) &&
                  asocket_read(p.in, got, 1) == ASOCKET_EOF,
              "the reader's end");
    else
        check(asocket_write(p.out, "x", 1) == ASOCKET_ECANCELED, "the writer's end");
    pipe_done(&p);
}

static void test_one_end_done(void)
{
    outlive(true);
    outlive(false);
    checked(
        "P8: a pipe stays while one of its ends is not done, whatever comes and goes meanwhile");
}

/* Both ends are done while their coroutines have not yet left their calls. */
static void test_done_inside_a_call(void)
{
    pipe_ends p = pipe_of(16);
    writer w;

    launch_write(&w, &p, "0123456789abcdefg", 17);
    asocket_cancel_write(p.out, ASOCKET_EIO);
    asocket_cancel_read(p.in);
    use_pipes(FINISH, CANCEL_READ, false, 1);
    settle(selector);
    ok(w.done && w.result == ASOCKET_ECANCELED,
       "P8: a pipe stays while a coroutine is inside a call on it");
}

static void test_many(void)
{
    enum { COUNT = 2000 };
    static pipe_ends pipes[COUNT];
    uint64_t buffers = buffers_now();
    int i;

    for (i = 0; i < COUNT; i++) {
        pipes[i] = pipe_of(32);
        asocket_write_u32be(pipes[i].out, (uint32_t)i);
        asocket_flush(pipes[i].out);
    }
    is_int(buffers_now() - buffers, COUNT, "P5: %d pipes with bytes have a buffer each", COUNT);
    for (i = 0; i < COUNT; i++) {
        uint32_t value = 0;

        check(!asocket_read_u32be(pipes[i].in, &value) && value == (uint32_t)i, "pipe %d", i);
        if (i % 2)
            pipe_done(&pipes[i]);
    }
    checked("each has its own bytes");
    is_int(buffers_now() - buffers, 0, "P5: empty they have none");
}

/* --- against a model -------------------------------------------------------------------------- */

typedef struct model {
    pipe_ends p;
    uint64_t written, flushed, taken; /* places in the pattern */
} model;

static void model_write(model *m, uint32_t *seed)
{
    size_t size = random_below(seed, (uint32_t)m->p.capacity * 2 + 1);
    size_t room = m->p.capacity - (size_t)(m->written - m->taken);
    char bytes[128];
    ptrdiff_t result;

    pattern_fill(bytes, size, m->written);
    result = asocket_write(m->p.out, bytes, size);
    if (size <= room) {
        check(result == (ptrdiff_t)size, "%d bytes into %d: %d", (int)size, (int)room, (int)result);
        m->written += size;
        return;
    }
    check(result == ASOCKET_ETIMEDOUT, "%d bytes into %d: %d", (int)size, (int)room, (int)result);
    if (size > m->p.capacity)
        m->written += room;
    check(asocket_written(m->p.out) == (int64_t)(size > m->p.capacity ? room : 0),
          "of %d bytes into %d: %d", (int)size, (int)room, (int)asocket_written(m->p.out));
    m->flushed = m->written; /* who waits for room shows what there is */
}

static void model_read(model *m, uint32_t *seed);

/* Between reserve and commit the reader may do anything. */
static void model_reserve(model *m, uint32_t *seed)
{
    size_t minimum = random_below(seed, (uint32_t)m->p.capacity + 1);
    size_t room = m->p.capacity - (size_t)(m->written - m->taken), count;
    char *space;
    ptrdiff_t size = asocket_reserve(m->p.out, &space, minimum);

    if ((minimum ? minimum : 1) > room) {
        check(size == ASOCKET_ETIMEDOUT, "reserve %d of %d: %d", (int)minimum, (int)room,
              (int)size);
        m->flushed = m->written;
        return;
    }
    if (!check(size >= (ptrdiff_t)minimum && size > 0, "reserve %d of %d: %d", (int)minimum,
               (int)room, (int)size))
        return;
    memset(space, '?', (size_t)size);
    while (random_below(seed, 3))
        model_read(m, seed);
    count = random_below(seed, (uint32_t)size + 1);
    pattern_fill(space, count, m->written);
    check(!asocket_commit(m->p.out, count), "commit %d of %d", (int)count, (int)size);
    m->written += count;
}

static void model_peek(model *m, uint32_t *seed)
{
    size_t there = (size_t)(m->flushed - m->taken);
    size_t minimum = random_below(seed, (uint32_t)m->p.capacity + 1), count;
    const char *bytes;
    ptrdiff_t size = asocket_peek(m->p.in, &bytes, minimum);

    if (minimum > there) {
        check(size == ASOCKET_ETIMEDOUT, "peek %d of %d: %d", (int)minimum, (int)there, (int)size);
        return;
    }
    if (!check(size >= (ptrdiff_t)minimum && (size_t)size <= there && (size > 0) == (there > 0) &&
                   pattern_is(bytes, (size_t)size, m->taken),
               "peek %d of %d: %d", (int)minimum, (int)there, (int)size))
        return;
    count = random_below(seed, (uint32_t)size + 1);
    check(!asocket_consume(m->p.in, count), "consume %d", (int)count);
    m->taken += count;
}

static void model_read(model *m, uint32_t *seed)
{
    size_t there = (size_t)(m->flushed - m->taken);
    size_t size = random_below(seed, (uint32_t)m->p.capacity + 1);
    bool full = random_below(seed, 2) == 1;
    size_t expected = full || size < there ? size : there;
    char bytes[128];
    ptrdiff_t result;

    if (random_below(seed, 3) == 0) {
        model_peek(m, seed);
        return;
    }
    result = full ? asocket_read_full(m->p.in, bytes, size) : asocket_read(m->p.in, bytes, size);
    if ((full && size > there) || (size && !there)) {
        check(result == ASOCKET_ETIMEDOUT, "read %d of %d: %d", (int)size, (int)there, (int)result);
        return;
    }
    check(result == (ptrdiff_t)expected && pattern_is(bytes, expected, m->taken), "read %d of %d",
          (int)size, (int)there);
    m->taken += expected;
}

static void model_walk(size_t capacity, uint32_t seed, int steps)
{
    int64_t former = never_wait();
    uint64_t buffers = buffers_now();
    model m;

    memset(&m, 0, sizeof m);
    m.p = pipe_of(capacity);
    while (steps-- > 0 && !check_failures) {
        uint32_t choice = random_below(&seed, 8);

        if (choice < 2)
            model_write(&m, &seed);
        else if (choice < 4)
            model_reserve(&m, &seed);
        else if (choice < 7)
            model_read(&m, &seed);
        else if (!check(!asocket_flush(m.p.out), "a flush"))
            break;
        else
            m.flushed = m.written;
        check(asocket_available(m.p.in) == (ptrdiff_t)(m.flushed - m.taken), "%d available, not %d",
              (int)(m.flushed - m.taken), (int)asocket_available(m.p.in));
        check(buffers_now() - buffers <= (m.written != m.taken), "P5: a buffer for %d bytes only",
              (int)(m.written - m.taken));
    }
    asocket_restore_deadline(selector, former);
    pipe_done(&m.p);
}

static void test_model(void)
{
    size_t capacity;
    int steps = test_slowness() > 8 ? 200 : 1500;

    for (capacity = 1; capacity <= 40; capacity++)
        model_walk(capacity, 1181783497u + (uint32_t)capacity, steps);
    checked(
        "any sequence of writes, reservations, flushes, reads and peeks does what a model does");
}

/* --- in motion -------------------------------------------------------------------------------- */

typedef struct mover {
    pipe_ends *to;
    size_t volume;
    uint32_t seed;
} mover;

/* Fills windows of any size while the reader empties the ring. */
static void fill_windows(asocket_selector *owner, void *argument)
{
    mover *m = (mover *)argument;
    uint64_t place = 0;

    while (place < m->volume) {
        size_t most = 1 + random_below(&m->seed, (uint32_t)m->to->capacity), count;
        char *space;
        ptrdiff_t size = asocket_reserve(m->to->out, &space, most);

        if (!check(size >= (ptrdiff_t)most, "a reservation"))
            break;
        memset(space, '?', (size_t)size);
        if (random_below(&m->seed, 2))
            asocket_yield(owner); /* the reader goes on */
        count = random_below(&m->seed, (uint32_t)size + 1);
        if (count > m->volume - place)
            count = m->volume - (size_t)place;
        pattern_fill(space, count, place);
        check(!asocket_commit(m->to->out, count), "a commit");
        place += count;
        if (random_below(&m->seed, 4) == 0)
            asocket_flush(m->to->out);
    }
    check(!asocket_finish(m->to->out), "a finish");
}

static void move_through(size_t capacity, size_t volume)
{
    uint32_t seed = 2654435769u ^ (uint32_t)capacity;
    pipe_ends p = pipe_of(capacity);
    ptrdiff_t count;
    uint64_t place = 0;
    char bytes[256];
    mover m;

    m.to = &p;
    m.volume = volume;
    m.seed = seed;
    asocket_launch(selector, fill_windows, &m);
    while ((count = asocket_read(p.in, bytes, 1 + random_below(&seed, (uint32_t)capacity))) > 0) {
        const char *window;

        if (!check(pattern_is(bytes, (size_t)count, place), "the bytes at %d", (int)place))
            break;
        place += (uint64_t)count;
        count = asocket_peek(p.in, &window, random_below(&seed, (uint32_t)capacity + 1));
        check(count == ASOCKET_EOF || (count >= 0 && pattern_is(window, (size_t)count, place)),
              "the window at %d", (int)place);
    }
    check(count == ASOCKET_EOF && place == volume, "%d bytes of %d", (int)place, (int)volume);
    asocket_join_all(selector);
}

static void test_reserve_in_motion(void)
{
    size_t capacity, volume = test_slowness() > 8 ? 500 : 5000;

    for (capacity = 1; capacity <= 40; capacity++)
        move_through(capacity, volume);
    move_through(200, volume * 10);
    checked("P7: windows are reserved and filled while the reader reads, peeks and waits");
}

/* --- chains ----------------------------------------------------------------------------------- */

enum { STATIONS = 100 };
static pipe_ends chain[STATIONS + 1];

typedef struct station {
    int number;
    bool copies;
} station;

/* Passes on what comes, by its own means: whole records, lines, windows, or a copy. */
static void pass_on(asocket_selector *owner, void *argument)
{
    const station *s = (const station *)argument;
    asocket_read_channel *in = chain[s->number].in;
    asocket_write_channel *out = chain[s->number + 1].out;
    size_t size = 1 + (size_t)s->number % 16;
    ptrdiff_t count = 0;
    char bytes[16];

    (void)owner;
    if (s->copies)
        check(asocket_copy(in, out, ASOCKET_FOREVER) >= 0, "station %d copies", s->number);
    while (!s->copies && (count = asocket_read(in, bytes, size)) > 0)
        if (asocket_write(out, bytes, (size_t)count) != count || asocket_flush(out))
            break;
    check(s->copies || count == ASOCKET_EOF, "station %d sees the end: %d", s->number, (int)count);
    check(!asocket_finish(out), "station %d ends", s->number);
}

static void feed_chain(asocket_selector *owner, void *argument)
{
    size_t volume = *(const size_t *)argument, place;
    char bytes[100];

    (void)owner;
    for (place = 0; place < volume; place += sizeof bytes) {
        pattern_fill(bytes, sizeof bytes, place);
        check(asocket_write(chain[0].out, bytes, sizeof bytes) == (ptrdiff_t)sizeof bytes,
              "the chain is fed");
    }
    check(!asocket_finish(chain[0].out), "the feed ends");
}

static void run_chain(size_t capacity, bool copies, size_t volume)
{
    static station stations[STATIONS];
    ptrdiff_t count;
    uint64_t place = 0;
    char bytes[100];
    int i;

    for (i = 0; i <= STATIONS; i++)
        chain[i] = pipe_of(capacity);
    for (i = 0; i < STATIONS; i++) {
        stations[i].number = i;
        stations[i].copies = copies && i % 3 != 0;
        asocket_launch(selector, pass_on, &stations[i]);
    }
    asocket_launch(selector, feed_chain, &volume);
    while ((count = asocket_read(chain[STATIONS].in, bytes, sizeof bytes)) > 0) {
        check(pattern_is(bytes, (size_t)count, place), "the bytes at %d", (int)place);
        place += (uint64_t)count;
    }
    check(count == ASOCKET_EOF && place == volume, "%d bytes come out", (int)place);
    check(!asocket_join_all(selector), "all stations end");
}

static void test_chains(void)
{
    size_t volume = test_slowness() > 4 ? 2000 : 20000;
    uint64_t buffers = buffers_now();

    run_chain(16, false, volume);
    run_chain(1, false, volume / 10);
    run_chain(16, true, volume);
    run_chain(0, true, volume);
    is_int(buffers_now(), buffers, "P5: no buffer stays behind");
    checked("bytes go through a chain of %d coroutines and pipes", STATIONS);
}

/* A break in the middle of a chain reaches both of its ends. */
static void test_broken_chain(void)
{
    pipe_ends first = pipe_of(16), second = pipe_of(16);
    ptrdiff_t count;
    char got[16];
    writer w;

    launch_write(&w, &first, "0123456789abcdef0123456789abcdef", 32);
    count = asocket_read(first.in, got, 10);
    asocket_write(second.out, got, (size_t)count);
    asocket_flush(second.out);
    asocket_cancel_read(first.in);
    asocket_cancel_write(second.out, ASOCKET_ECONNRESET);
    ok(run_until(selector, &w.done) && w.result == ASOCKET_ECANCELED, "the writer is told");
    is_int(asocket_read(second.in, got, 16), 10, "the reader gets what had come through");
    is_status(asocket_read(second.in, got, 16), ASOCKET_ECONNRESET, "and why there is no more");
    pipe_done(&first);
    pipe_done(&second);
}

/* --- the selector's end ----------------------------------------------------------------------- */

static reader last_reader;
static writer last_writer;
static pipe_ends last[2];

static void leave_waiting(void)
{
    static const char bytes[100] = {0};

    last[0] = pipe_of(16);
    last[1] = pipe_of(16);
    launch_read(&last_reader, &last[0], 8);
    asocket_write(last[0].out, "half", 4);
    launch_write(&last_writer, &last[1], bytes, sizeof bytes);
    ok(!last_reader.done && !last_writer.done, "a reader and a writer wait when the selector ends");
}

static int test_end_with_waiters(void)
{
    asocket_selector_destroy(selector);
    ok(last_reader.done && last_reader.result == ASOCKET_ECANCELED, "P7: the reader is cancelled");
    ok(last_writer.done && last_writer.result == ASOCKET_ECANCELED, "P7: and the writer");
    return test_end(NULL); /* looks for what was left behind */
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    test_capacity();
    test_writer_waits();
    test_bound_comes_back();
    test_flush();
    test_full_is_flushed();
    test_finish();
    test_finish_wakes();
    test_cancel_write(ASOCKET_EIO);
    test_cancel_write(ASOCKET_EOF);
    test_cancel_write(ASOCKET_ECANCELED);
    test_cancel_write_wakes();
    test_cancel_read();
    test_refused_counts();
    test_second_writer();
    test_freeing();
    test_one_end_done();
    test_done_inside_a_call();
    test_many();
    test_model();
    test_reserve_in_motion();
    test_chains();
    test_broken_chain();
    leave_waiting();
    return test_end_with_waiters();
}
