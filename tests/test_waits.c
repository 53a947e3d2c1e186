/* Every call that waits, ended in every way, inside and outside of coroutines: it answers soon, with
   its own status, the next call works and no byte is lost. */
#include "hole.h"
#include "line.h"

static asocket_selector *selector;
static char scratch[20000];

/* --- scenes ----------------------------------------------------------------------------------- */

static hole full;

/* What calls wait for. */
typedef struct scene {
    line from, to;  /* nothing comes from `from` ... */
    size_t stuffed; /* ... and nothing goes to `to` any more, after so many bytes */
    int64_t moved;  /* by what ended */
    int64_t connect_timeout;
    int ends[2]; /* of a pipe of the system's */
    asocket_job sleeper;
} scene;

typedef struct call {
    const char *name;
    int64_t (*run)(scene *s);
    asocket *(*target)(scene *s); /* has the time-out, and may be closed */
    void (*check)(scene *s);      /* that the next call works */
    int before;                   /* bytes that have come, of 10 that are waited for */
    bool full;                    /* `to` is */
    int closed;                   /* what a close of the target makes of it */
} call;

static asocket *source(scene *s)
{
    return s->from.pair.socket;
}

static asocket *sink(scene *s)
{
    return s->to.pair.socket;
}

static asocket *listener(scene *s)
{
    return s->from.pair.server;
}

/* --- the calls -------------------------------------------------------------------------------- */

static int64_t run_read(scene *s)
{
    return asocket_read(s->from.in, scratch, 10);
}

static int64_t run_read_large(scene *s)
{
    return asocket_read(s->from.in, scratch, sizeof scratch);
}

static int64_t run_read_full(scene *s)
{
    return asocket_read_full(s->from.in, scratch, 10);
}

static int64_t run_read_line(scene *s)
{
    return asocket_read_line(s->from.in, scratch, sizeof scratch);
}

static int64_t run_read_until(scene *s)
{
    return asocket_read_until(s->from.in, "--", 2, scratch, sizeof scratch);
}

static int64_t run_read_u64(scene *s)
{
    uint64_t value;

    return asocket_read_u64le(s->from.in, &value);
}

static int64_t run_peek(scene *s)
{
    const char *bytes;

    return asocket_peek(s->from.in, &bytes, 10);
}

static int64_t run_discard(scene *s)
{
    return asocket_discard(s->from.in, 10);
}

static int64_t run_write(scene *s)
{
    memset(scratch, 'w', 5000);
    return asocket_write(s->to.out, scratch, 5000);
}

/* More than the channel holds: what went over can be asked for. */
static int64_t run_write_large(scene *s)
{
    int64_t answer;

    fill_pattern(scratch, sizeof scratch, s->stuffed + (size_t)s->moved);
    answer = asocket_write(s->to.out, scratch, sizeof scratch);
    s->moved += asocket_written(s->to.out);
    return answer;
}

static int64_t run_printf(scene *s)
{
    return asocket_printf(s->to.out, "%5000d", 1);
}

static int64_t run_reserve(scene *s)
{
    char *bytes;

    return asocket_reserve(s->to.out, &bytes, 5000);
}

static int64_t run_flush(scene *s)
{
    return asocket_flush(s->to.out);
}

static int64_t run_finish(scene *s)
{
    return asocket_finish(s->to.out);
}

static int64_t run_shutdown(scene *s)
{
    return asocket_shutdown(s->to.pair.socket, ASOCKET_WRITE);
}

static int64_t run_copy(scene *s)
{
    int64_t answer = asocket_copy(s->from.in, s->to.out, 10 - s->moved);

    s->moved += asocket_transferred(s->from.in);
    return answer;
}

static int64_t run_accept(scene *s)
{
    asocket *client = asocket_accept(s->from.pair.server);

    return client ? asocket_abort(client) : asocket_error(selector);
}

static int64_t run_connect(scene *s)
{
    asocket_builder builder = asocket_tcp(selector);
    asocket *socket;

    builder.connect_timeout = s->connect_timeout;
    socket = asocket_connect(builder, "127.0.0.1", full.port);
    return socket ? asocket_abort(socket) : asocket_error(selector);
}

static int64_t run_sleep(scene *s)
{
    (void)s;
    return asocket_sleep(selector, 5000);
}

static int64_t run_join(scene *s)
{
    return asocket_join(selector, s->sleeper);
}

static int64_t run_wait_handle(scene *s)
{
    return asocket_wait_handle(selector, s->ends[0], ASOCKET_READ);
}

static int64_t run_await_closed(scene *s)
{
    return asocket_await_closed(s->from.pair.socket);
}

/* --- whether the next call works -------------------------------------------------------------- */

/* Of ten bytes some had come before; the others come now. */
static void check_reading(scene *s)
{
    char rest[10];
    size_t before = (size_t)asocket_available(s->from.in);

    fill_pattern(rest, 10 - before, before);
    test_peer_send(s->from.pair.peer, rest, 10 - before);
    memset(scratch, 0, sizeof scratch);
    is_int(asocket_read_full(s->from.in, scratch, 10), 10, "P7: the next read works");
    fill_pattern(rest, 10, 0);
    ok(memcmp(scratch, rest, 10) == 0, "P7: no byte was lost");
}

static void finish_writing(asocket_selector *owner, void *argument)
{
    scene *s = (scene *)argument;
    size_t from = s->stuffed + (size_t)s->moved;

    (void)owner;
    fill_pattern(scratch, 5000, from);
    ok(asocket_write(s->to.out, scratch, 5000) == 5000 && asocket_finish(s->to.out) == 0,
       "P7: the next write works, and so does the finish");
}

/* What fits the channel was written whole or not at all, and nothing of it is lost. */
static void check_writing(scene *s)
{
    asocket_job job = asocket_launch(selector, finish_writing, s);

    ok(all_arrived(selector, s->to.pair.peer, s->stuffed + (size_t)s->moved + 5000),
       "P7: no byte was lost, and none came twice");
    asocket_join(selector, job);
}

static void finish_copying(asocket_selector *owner, void *argument)
{
    scene *s = (scene *)argument;

    (void)owner;
    ok(asocket_copy(s->from.in, s->to.out, 10 - s->moved) == 10 - s->moved &&
           asocket_finish(s->to.out) == 0,
       "P7: the next copy works");
}

/* What was not copied is still to be read. */
static void check_copying(scene *s)
{
    asocket_job job = asocket_launch(selector, finish_copying, s);
    char rest[10];

    if (asocket_available(s->from.in) == 0 && !s->moved) {
        fill_pattern(rest, 10, s->stuffed);
        test_peer_send(s->from.pair.peer, rest, 10);
    }
    ok(all_arrived(selector, s->to.pair.peer, s->stuffed + 10), "P7: no byte was lost in between");
    asocket_join(selector, job);
}

static void check_accepting(scene *s)
{
    int peer = test_peer_connect(s->from.pair.port);

    is_int(run_accept(s), ASOCKET_OK, "P7: the next accept works");
    close(peer);
}

static void check_connecting(scene *s)
{
    asocket *socket = asocket_connect(asocket_tcp(selector), "127.0.0.1", s->from.pair.port);

    ok(socket != NULL, "P7: the next connect works");
    asocket_abort(socket);
}

static void check_sleeping(scene *s)
{
    (void)s;
    is_status(asocket_sleep(selector, 1), ASOCKET_OK, "P7: the next sleep works");
}

static void check_joining(scene *s)
{
    asocket_cancel(selector, s->sleeper);
    is_status(run_join(s), ASOCKET_OK, "P7: the next join works");
}

static void check_handle(scene *s)
{
    ok(write(s->ends[1], "x", 1) == 1 && run_wait_handle(s) == ASOCKET_READ,
       "P7: the next wait_handle works");
}

static void check_awaiting(scene *s)
{
    asocket_abort(s->from.pair.socket);
    is_status(run_await_closed(s), ASOCKET_OK, "P7: the next await_closed works");
}

static const call calls[] = {
    {"read", run_read, source, check_reading, 0, false, ASOCKET_ECLOSED},
    {"read of much", run_read_large, source, check_reading, 0, false, ASOCKET_ECLOSED},
    {"read_full", run_read_full, source, check_reading, 5, false, ASOCKET_ECLOSED},
    {"read_line", run_read_line, source, check_reading, 5, false, ASOCKET_ECLOSED},
    {"read_until", run_read_until, source, check_reading, 5, false, ASOCKET_ECLOSED},
    {"read_u64le", run_read_u64, source, check_reading, 5, false, ASOCKET_ECLOSED},
    {"peek", run_peek, source, check_reading, 5, false, ASOCKET_ECLOSED},
    {"discard", run_discard, source, check_reading, 5, false, ASOCKET_ECLOSED},
    {"write", run_write, sink, check_writing, 0, true, ASOCKET_ECLOSED},
    {"write of much", run_write_large, sink, check_writing, 0, true, ASOCKET_ECLOSED},
    {"printf", run_printf, sink, check_writing, 0, true, ASOCKET_ECLOSED},
    {"reserve", run_reserve, sink, check_writing, 0, true, ASOCKET_ECLOSED},
    {"flush", run_flush, sink, check_writing, 0, true, ASOCKET_ECLOSED},
    {"finish", run_finish, sink, check_writing, 0, true, ASOCKET_ECLOSED},
    {"shutdown", run_shutdown, sink, check_writing, 0, true, ASOCKET_ECLOSED},
    {"copy without input", run_copy, source, check_copying, 0, false, ASOCKET_ECLOSED},
    {"copy without room", run_copy, sink, check_copying, 10, true, ASOCKET_ECLOSED},
    {"accept", run_accept, listener, check_accepting, 0, false, ASOCKET_ECLOSED},
    {"connect", run_connect, NULL, check_connecting, 0, false, 0},
    {"sleep", run_sleep, NULL, check_sleeping, 0, false, 0},
    {"join", run_join, NULL, check_joining, 0, false, 0},
    {"wait_handle", run_wait_handle, NULL, check_handle, 0, false, 0},
    {"await_closed", run_await_closed, source, check_awaiting, 0, false, ASOCKET_OK},
};
enum { CALLS = sizeof calls / sizeof *calls };

/* --- the ways to end one ---------------------------------------------------------------------- */

enum { BY_TIMEOUT, BY_NO_WAIT, BY_DEADLINE, BY_CANCEL, BY_CLOSE, BY_STOP, WAYS };
static const struct {
    const char *name;
    int status;
    int at_least; /* ms */
} ways[WAYS] = {{"a time-out", ASOCKET_ETIMEDOUT, 10}, {"ASOCKET_NO_WAIT", ASOCKET_EAGAIN, 0},
                {"a deadline", ASOCKET_ETIMEDOUT, 10}, {"a cancel", ASOCKET_ECANCELED, 5},
                {"a close", ASOCKET_ECLOSED, 5},       {"asocket_stop", ASOCKET_ECANCELED, 5}};

static bool applies(const call *c, int way, bool inside)
{
    bool timed = c->run == run_connect || (c->target && c->run != run_await_closed);

    switch (way) {
    case BY_TIMEOUT:
    case BY_NO_WAIT: return timed;
    case BY_CANCEL: return inside;
    case BY_CLOSE: return c->target != NULL;
    case BY_STOP: return !inside;
    default: return true;
    }
}

typedef struct trial {
    scene scene;
    const call *call;
    int way;
    bool inside;
    asocket_job job; /* that waits */
    int64_t begun;   /* before whoever ends the wait does */
    int64_t answer, took, again;
    bool goodbye; /* a write that need not park still worked */
} trial;

/* It never comes to its end by itself. */
static void sleep_long(asocket_selector *owner, void *argument)
{
    (void)argument;
    asocket_sleep(owner, ASOCKET_FOREVER);
}

static bool prepare(trial *t)
{
    scene *s = &t->scene;
    char bytes[10];

    if (!line_open_on(selector, &s->from, 0) || !line_open_on(selector, &s->to, 0))
        return false;
    if (t->call->full)
        s->stuffed = line_stuff(&s->to);
    fill_pattern(bytes, 10, s->stuffed);
    test_peer_send(s->from.pair.peer, bytes, (size_t)t->call->before);
    asocket_set_timeout(s->from.pair.server, 5000);
    s->connect_timeout = t->way == BY_TIMEOUT ? 10 : t->way == BY_NO_WAIT ? ASOCKET_NO_WAIT : 5000;
    if (t->call->target && t->way <= BY_NO_WAIT)
        asocket_set_timeout(t->call->target(s), s->connect_timeout);
    if (t->call->run == run_join)
        s->sleeper = asocket_launch(selector, sleep_long, NULL);
    return pipe(s->ends) == 0;
}

/* Waits, and is ended. */
static void perform(trial *t)
{
    int64_t start = t->way >= BY_CANCEL ? t->begun : test_clock();
    int64_t former = t->way == BY_DEADLINE ? asocket_set_deadline(selector, 10) : ASOCKET_NEVER;

    t->answer = t->again = t->call->run(&t->scene);
    t->took = test_clock() - start;
    if (t->way == BY_DEADLINE)
        asocket_restore_deadline(selector, former);
    if (t->way != BY_CANCEL)
        return;
    t->again = t->call->run(&t->scene);
    t->goodbye =
        asocket_write_byte(t->scene.from.out, 'b') == 0 && asocket_flush(t->scene.from.out) == 0;
}

static void perform_inside(asocket_selector *owner, void *argument)
{
    (void)owner;
    perform((trial *)argument);
}

/* The other coroutine, who ends the wait. */
static void interfere(asocket_selector *owner, void *argument)
{
    trial *t = (trial *)argument;

    asocket_sleep(owner, 5);
    if (t->way == BY_CANCEL)
        asocket_cancel(owner, t->job);
    else if (t->way == BY_CLOSE && t->call->run == run_await_closed)
        asocket_abort(source(&t->scene)); /* a close would linger */
    else if (t->way == BY_CLOSE)
        asocket_close(t->call->target(&t->scene));
    else if (t->way == BY_STOP)
        asocket_stop(owner);
}

static void clean_up(trial *t)
{
    if (t->scene.sleeper)
        asocket_cancel(selector, t->scene.sleeper);
    if (t->way == BY_STOP)
        asocket_poll(selector, 0); /* it may have come too late */
    close(t->scene.ends[0]);
    close(t->scene.ends[1]);
    line_close(&t->scene.from);
    line_close(&t->scene.to);
}

static void check_answer(const trial *t)
{
    const char *where = t->inside ? "inside" : "outside";
    int64_t least = (int64_t)ways[t->way].at_least * 1000000;
    int64_t most = least + (int64_t)1000000000 * test_slowness();
    int expected = t->way == BY_CLOSE ? t->call->closed : ways[t->way].status;

    is_status(t->answer, expected, "P7: %s ends %s %s of a coroutine", ways[t->way].name,
              t->call->name, where);
    if (!ok(t->took >= least && t->took <= most, "P7: in time"))
        diag("%.3f ms", (double)t->took / 1e6);
    if (t->way == BY_CANCEL)
        ok(t->again == ASOCKET_ECANCELED && t->goodbye,
           "P7: it stays cancelled, and can still say goodbye");
}

static void check_afterwards(trial *t)
{
    if (t->way == BY_CLOSE) {
        is_status(t->call->run(&t->scene), t->call->closed, "P8: the next call says the same");
        return;
    }
    if (t->call->target)
        asocket_set_timeout(t->call->target(&t->scene), 5000);
    t->call->check(&t->scene);
}

static bool attempt(trial *t, const call *c, int way, bool inside)
{
    asocket_job interferer = 0;

    memset(t, 0, sizeof *t);
    t->call = c;
    t->way = way;
    t->inside = inside;
    if (!prepare(t))
        return false;
    t->begun = test_clock();
    if (way >= BY_CANCEL)
        interferer = asocket_launch(selector, interfere, t);
    if (inside) {
        t->job = asocket_launch(selector, perform_inside, t);
        asocket_join(selector, t->job);
    } else {
        perform(t);
    }
    asocket_join(selector, interferer);
    return true;
}

/* On a busy machine a kernel may make room for a full socket after all: then it is tried again. */
static void try_it(const call *c, int way, bool inside)
{
    int tries = 1;
    trial t;

    if (!attempt(&t, c, way, inside))
        return;
    while (c->full && (t.answer >= 0 || t.again >= 0) && tries++ < 10) {
        clean_up(&t);
        if (!attempt(&t, c, way, inside))
            return;
    }
    check_answer(&t);
    check_afterwards(&t);
    clean_up(&t);
}

static void test_all_calls_in_all_ways(void)
{
    size_t i;
    int way;

    for (i = 0; i < CALLS; i++)
        for (way = 0; way < WAYS; way++) {
            if (applies(&calls[i], way, true))
                try_it(&calls[i], way, true);
            if (applies(&calls[i], way, false))
                try_it(&calls[i], way, false);
        }
}

/* --- more about time -------------------------------------------------------------------------- */

/* A time-out is for each wait: as long as something comes, none ends the call. */
static void send_slowly(asocket_selector *owner, void *argument)
{
    const int *peer = (const int *)argument;
    int i;

    for (i = 0; i < 5; i++) {
        asocket_sleep(owner, 150);
        test_peer_send(*peer, "x", 1);
    }
}

static void test_timeout_of_each_wait(void)
{
    int64_t start = test_clock(), former;
    asocket_job job;
    line l;

    if (!line_open_on(selector, &l, 0))
        return;
    asocket_set_timeout(l.pair.socket, 600); /* a busy machine may hold us up for 450 of them */
    job = asocket_launch(selector, send_slowly, &l.pair.peer);
    is_int(asocket_read_full(l.in, scratch, 5), 5, "P7: a time-out is for each wait");
    ok(test_took(start, 750, 800), "P7: together they took longer");
    asocket_join(selector, job);

    asocket_set_timeout(l.pair.socket, ASOCKET_FOREVER);
    job = asocket_launch(selector, send_slowly, &l.pair.peer);
    former = asocket_set_deadline(selector, 400);
    is_status(asocket_read_full(l.in, scratch, 5), ASOCKET_ETIMEDOUT,
              "P7: a deadline is for all of them");
    asocket_restore_deadline(selector, former);
    is_int(asocket_read_full(l.in, scratch, 5), 5, "P7: and nothing was lost");
    asocket_join(selector, job);
    line_close(&l);
}

static void test_no_time_out(void)
{
    static const int64_t none[] = {0, ASOCKET_FOREVER};
    asocket_job job;
    size_t i;
    line l;

    if (!line_open_on(selector, &l, 0))
        return;
    for (i = 0; i < 2; i++) {
        is_status(asocket_set_timeout(l.pair.socket, none[i]), ASOCKET_OK,
                  "a time-out of %d is none", (int)none[i]);
        job = asocket_launch(selector, send_slowly, &l.pair.peer);
        is_int(asocket_read_full(l.in, scratch, 5), 5, "P7: it ends no wait");
        asocket_join(selector, job);
    }
    line_close(&l);
}

/* Of a time-out and a deadline the first one counts; a later deadline does not move an earlier. */
static void test_deadlines(void)
{
    int64_t start, outer, inner;
    line l;

    if (!line_open_on(selector, &l, 0))
        return;
    asocket_set_timeout(l.pair.socket, 10);
    outer = asocket_set_deadline(selector, 5000);
    start = test_clock();
    is_status(asocket_read(l.in, scratch, 1), ASOCKET_ETIMEDOUT,
              "P7: a time-out before a deadline");
    ok(test_took(start, 10, 30), "P7: comes first");
    asocket_restore_deadline(selector, outer);

    asocket_set_timeout(l.pair.socket, 5000);
    start = test_clock();
    outer = asocket_set_deadline(selector, 10);
    inner = asocket_set_deadline(selector, 5000);
    is_status(asocket_read(l.in, scratch, 1), ASOCKET_ETIMEDOUT,
              "P7: a deadline before a time-out");
    ok(test_took(start, 10, 30), "P7: comes first, and a later one does not put it off");
    asocket_restore_deadline(selector, inner);
    is_status(asocket_sleep(selector, 1), ASOCKET_ETIMEDOUT, "P7: once it is over every wait ends");
    test_peer_send(l.pair.peer, "x", 1);
    asocket_restore_deadline(selector, outer);
    is_status(asocket_sleep(selector, 1), ASOCKET_OK, "P7: until the former one is back");
    outer = asocket_set_deadline(selector, 0);
    is_int(asocket_read(l.in, scratch, 1), 1, "P7: what need not wait works after a deadline");
    asocket_restore_deadline(selector, outer);
    line_close(&l);
}

/* Who asks again and again without waiting, and without a loop, finds what has come. */
static void test_asking_again(void)
{
    int64_t answer;
    int peer, i;
    scene s;
    line l;

    if (!line_open_on(selector, &l, 0))
        return;
    memset(&s, 0, sizeof s);
    s.from = l;
    asocket_set_timeout(l.pair.socket, ASOCKET_NO_WAIT);
    is_status(asocket_read(l.in, scratch, 1), ASOCKET_EAGAIN, "P7: nothing is there");
    is_status(asocket_read(l.in, scratch, 1), ASOCKET_EAGAIN, "P7: nor at the second time");
    test_peer_send(l.pair.peer, "x", 1);
    for (i = 0, answer = ASOCKET_EAGAIN; i < 1000 && answer == ASOCKET_EAGAIN; i++)
        answer = asocket_read(l.in, scratch, 1);
    is_int(answer, 1, "P7: what came is found without a turn of the loop");

    asocket_set_timeout(l.pair.server, ASOCKET_NO_WAIT);
    is_int(run_accept(&s), ASOCKET_EAGAIN, "P7: nobody is there");
    is_int(run_accept(&s), ASOCKET_EAGAIN, "P7: nor at the second time");
    peer = test_peer_connect(l.pair.port);
    for (i = 0, answer = ASOCKET_EAGAIN; i < 1000 && answer == ASOCKET_EAGAIN; i++)
        answer = run_accept(&s);
    is_int(answer, ASOCKET_OK, "P7: who came is found without a turn of the loop");
    close(peer);
    line_close(&l);
}

/* --- stopping the loop ------------------------------------------------------------------------ */

static void stop_soon(asocket_selector *owner, void *argument)
{
    (void)argument;
    asocket_sleep(owner, 5);
    asocket_stop(owner);
}

static void test_stop_leaves_coroutines_alone(void)
{
    asocket_statistics statistics;
    trial t;

    memset(&t, 0, sizeof t);
    t.call = &calls[0];
    t.way = BY_CLOSE; /* nobody interferes */
    t.inside = true;
    if (!prepare(&t))
        return;
    asocket_launch(selector, perform_inside, &t);
    asocket_launch(selector, stop_soon, NULL);
    is_status(asocket_run(selector), ASOCKET_ECANCELED, "P7: asocket_stop ends asocket_run");
    asocket_stats(selector, &statistics);
    is_int(statistics.coroutines, 1, "P7: a coroutine waits on");
    test_peer_send(t.scene.from.pair.peer, "x", 1);
    is_status(asocket_run(selector), ASOCKET_OK, "P7: the next run works");
    is_int(t.answer, 1, "P7: and the coroutine's wait ends in its own way");

    asocket_stop(selector);
    is_status(asocket_sleep(selector, 5000), ASOCKET_ECANCELED,
              "P7: a stop waits for who waits next");
    is_status(asocket_sleep(selector, 1), ASOCKET_OK, "P7: and is then over");
    clean_up(&t);
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    if (hole_dig(&full))
        test_all_calls_in_all_ways();
    test_timeout_of_each_wait();
    test_no_time_out();
    test_deadlines();
    test_asking_again();
    test_stop_leaves_coroutines_alone();
    hole_fill(&full);
    return test_end(selector);
}
