/* The selector: its options, its loop, stop and post from other threads, foreign descriptors, life
   inside of other loops, and what it must leave alone in the process. */
#include "test.h"

#include "latch.h"

#include <pthread.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>

static asocket_selector *selector;
static int backend;

static bool slow(void)
{
    return test_slowness() > 1;
}

static asocket_statistics statistics_of(const asocket_selector *owner)
{
    asocket_statistics now;

    memset(&now, 0, sizeof now);
    asocket_stats(owner, &now);
    return now;
}

static asocket_selector_options options_here(void)
{
    asocket_selector_options options;

    memset(&options, 0, sizeof options);
    options.backend = backend;
    return options;
}

static asocket_selector *another_selector(void)
{
    return test_selector_with(options_here());
}

static void settle(asocket_selector *owner)
{
    int i;

    for (i = 0; i < 8; i++)
        asocket_poll(owner, 0);
}

static void count_up(asocket_selector *owner, void *argument)
{
    (void)owner;
    ++*(int *)argument;
}

static void sleep_then_count(asocket_selector *owner, void *argument)
{
    asocket_sleep(owner, ASOCKET_FOREVER);
    ++*(int *)argument;
}

/* --- creating --------------------------------------------------------------------------------- */

static void create_with_backends(void)
{
    static const struct {
        int backend;
        bool here;
        const char *name;
    } rows[] = {{ASOCKET_BACKEND_DEFAULT, true, "the default"},
                {ASOCKET_BACKEND_POLL, true, "poll"},
                {ASOCKET_BACKEND_IOCP, TEST_WINDOWS, "iocp"},
                {ASOCKET_BACKEND_URING, false, "uring"}};
    size_t i;

    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        asocket_selector_options options = options_here();
        asocket_selector *made = NULL;
        int status;

        options.backend = rows[i].backend;
        status = asocket_selector_open(&options, &made);
        is_status(status, rows[i].here ? ASOCKET_OK : ASOCKET_ENOTSUP, "P13: open with %s",
                  rows[i].name);
        ok((made != NULL) == rows[i].here, "P13: and a selector only if it is here");
        if (made)
            is_status(asocket_sleep(made, 1), ASOCKET_OK, "which works");
        asocket_selector_destroy(made);
    }
    asocket_selector_destroy(NULL);
}

static void create_with_defaults(void)
{
    asocket_selector *made = asocket_selector_create(NULL);
    int ran = 0;

    ok(made != NULL, "a selector needs no options");
    asocket_launch(made, count_up, &ran);
    is_status(asocket_run(made), ASOCKET_OK, "it runs");
    is_int(ran, 1, "what was launched");
    asocket_selector_destroy(made);
}

static void create_at_limits(void)
{
    asocket_selector_options options = options_here();
    asocket_selector *made = NULL;
    int ran = 0;

    options.stack_size = 1;
    options.channel_capacity = 1;
    options.close_timeout = 1;
    is_status(asocket_selector_open(&options, &made), ASOCKET_OK, "the smallest of all options");
    asocket_launch(made, count_up, &ran);
    asocket_run(made);
    is_int(ran, 1, "will do");
    asocket_selector_destroy(made);
    options.stack_size = ((size_t)1 << 30) + 1;
    is_status(asocket_selector_open(&options, &made), ASOCKET_EINVAL, "a stack of more than 1 GiB");
    options.stack_size = 0;
    options.channel_capacity = ((size_t)1 << 30) + 1;
    is_status(asocket_selector_open(&options, &made), ASOCKET_EINVAL,
              "channels of more than 1 GiB");
    options.channel_capacity = 0;
    options.close_timeout = INT64_C(86400001);
    is_status(asocket_selector_open(&options, &made), ASOCKET_EINVAL, "lingering more than a day");
    ok(made == NULL, "make no selector");
}

/* The limit that leaves so many: whatever else this process has inherited. */
static rlim_t limit_leaving(int left)
{
    int limit = 0;

    while (left > 0 || fcntl(limit, F_GETFD) >= 0)
        left -= fcntl(limit++, F_GETFD) < 0;
    return (rlim_t)limit;
}

static void create_without_descriptors(void)
{
    enum { MOST = 6 }; /* NetBSD's kqueue and its pipe; the one over epoll takes four itself */
    asocket_selector_options options = options_here();
    struct rlimit limit, none;
    asocket_selector *made = NULL;
    int before = test_open_descriptors(), left, status = 0;

    if (test_skips(TEST_WINDOWS, 1,
                   "the system has no limit of descriptors that a program could set"))
        return;
    getrlimit(RLIMIT_NOFILE, &limit);
    for (left = 0; left <= MOST; left++) {
        none = limit;
        none.rlim_cur = limit_leaving(left);
        setrlimit(RLIMIT_NOFILE, &none);
        status = asocket_selector_open(&options, &made);
        setrlimit(RLIMIT_NOFILE, &limit);
        if (!status)
            break;
        is_status(status, ASOCKET_EMFILE, "with %d descriptors left there is no selector", left);
        is_int(test_open_descriptors(), before, "P6: and no descriptor is lost");
    }
    is_status(status, ASOCKET_OK, "with %d there is", left);
    asocket_selector_destroy(made);
}

static void memory_is_balanced(void)
{
    asocket_selector_options options = options_here();
    test_memory memory;
    asocket_selector *made = NULL;
    test_pair pair;
    int ran = 0, i;

    memset(&memory, 0, sizeof memory);
    options.allocator = test_allocator(&memory);
    is_status(asocket_selector_open(&options, &made), ASOCKET_OK, "a selector with an allocator");
    ok(memory.blocks > 0, "which it uses");
    for (i = 0; i < 100; i++)
        asocket_launch(made, sleep_then_count, &ran);
    asocket_post(made, count_up, &ran);
    if (test_pair_open(made, &pair)) {
        asocket_write_string(asocket_open_write_channel(pair.socket, 0), "not flushed");
        test_peer_send(pair.peer, "not read", 8);
        asocket_peek(asocket_open_read_channel(pair.socket), &(const char *){NULL}, 1);
        asocket_on_ready(pair.server, ASOCKET_READ, count_up, &ran);
        close(pair.peer);
    }
    asocket_post(made, count_up, &ran);
    asocket_selector_destroy(made);
    is_int(memory.blocks, 0, "P6: destroy gives back every block");
    is_int(memory.bytes, 0, "P6: and every byte");
    is_int(memory.wrong_sizes, 0, "the allocator is told the right sizes");
    is_int(ran, 102, "coroutines and posts have run to their end");
}

/* --- what the process must not notice --------------------------------------------------------- */

static volatile sig_atomic_t pipe_signals;

static void note_signal(int number)
{
    (void)number;
    pipe_signals++;
}

/* The actions of all signals, and the mask. */
typedef struct signals {
    struct sigaction actions[64];
    sigset_t mask;
} signals;

static void look_at_signals(signals *now)
{
    int i;

    memset(now, 0, sizeof *now);
    for (i = 1; i < 64; i++)
        sigaction(i, NULL, &now->actions[i]);
    pthread_sigmask(SIG_SETMASK, NULL, &now->mask);
}

static bool same_signals(const signals *a, const signals *b)
{
    int i;

    for (i = 1; i < 64; i++)
        if (a->actions[i].sa_handler != b->actions[i].sa_handler ||
            a->actions[i].sa_flags != b->actions[i].sa_flags ||
            sigismember(&a->mask, i) != sigismember(&b->mask, i))
            return false;
    return true;
}

static void write_to_nobody(asocket_selector *owner)
{
    asocket_write_channel *out;
    test_pair pair;
    int status = ASOCKET_OK, i;

    if (!test_pair_open(owner, &pair))
        return;
    out = asocket_open_write_channel(pair.socket, ASOCKET_AUTO_FLUSH);
    test_peer_reset(pair.peer);
    pair.peer = -1;
    for (i = 0; i < 5 && status >= 0; i++) {
        status = (int)asocket_write_string(out, "is anybody there?");
        if (status >= 0)
            status = asocket_flush(out);
    }
    is_status(status, ASOCKET_ECONNRESET, "writing to a connection that is gone says so");
    test_pair_close(&pair);
}

static void signals_are_left_alone(void)
{
    struct sigaction noting, former;
    signals before, after;
    asocket_selector *made;
    int ran = 0;

    if (test_skips(TEST_WINDOWS, 3, "Windows has no signals that interrupt"))
        return;
    memset(&noting, 0, sizeof noting);
    noting.sa_handler = note_signal;
    sigaction(SIGPIPE, &noting, &former);
    look_at_signals(&before);
    made = another_selector();
    asocket_launch(made, sleep_then_count, &ran);
    settle(made);
    write_to_nobody(made);
    look_at_signals(&after);
    ok(same_signals(&before, &after), "P6: no signal's action or mask is changed while it runs");
    asocket_selector_destroy(made);
    look_at_signals(&after);
    ok(same_signals(&before, &after), "P6: nor after it");
    is_int(pipe_signals, 0, "P6: SIGPIPE is never raised");
    sigaction(SIGPIPE, &former, NULL);
}

/* How many descriptors a program that we start would inherit. */
static int inheritable(void)
{
    int fd, count = 0;

    for (fd = 3; fd < 256; fd++) {
        int flags = fcntl(fd, F_GETFD);

        if (flags >= 0 && !(flags & FD_CLOEXEC))
            count++;
    }
    return count;
}

static void descriptors_are_not_inherited(void)
{
    int before = inheritable(), adopted[2] = {-1, -1}, port;
    asocket_selector *made = another_selector();
    asocket *client, *accepted, *foreign;
    asocket_address address;
    asocket *server = asocket_bind(asocket_tcp(made), "127.0.0.1", 0);

    asocket_local_address(server, &address);
    client = asocket_connect(asocket_tcp(made), "127.0.0.1", address.port);
    accepted = asocket_accept(server);
    adopted[0] = test_peer_listen(&port);
    foreign = asocket_adopt(asocket_tcp(made), adopted[0]);
    ok(client && accepted && foreign, "a server, both ends of a connection, an adopted listener");
    is_int(inheritable(), before, "P6: every descriptor is close-on-exec");
    asocket_selector_destroy(made);
    is_int(inheritable(), before, "P6: also later");
}

static void descriptors_are_balanced(void)
{
    int before = test_open_descriptors(), i, peer;
    asocket_selector *made = another_selector();
    asocket *server = asocket_bind(asocket_tcp(made), "127.0.0.1", 0);
    asocket_address address;

    asocket_local_address(server, &address);
    for (i = 0; i < 5; i++)
        asocket_connect(asocket_tcp(made), "127.0.0.1", address.port);
    peer = test_peer_connect(address.port);
    for (i = 0; i < 3; i++)
        asocket_accept(server);
    asocket_close(server);
    ok(statistics_of(made).sockets >= 8, "sockets that nobody closes");
    close(peer);
    asocket_selector_destroy(made);
    is_int(test_open_descriptors(), before, "P6: destroy closes what was forgotten");
}

/* --- the loop --------------------------------------------------------------------------------- */

static void yield_and_count(asocket_selector *owner, void *argument)
{
    int i;

    for (i = 0; i < 3; i++) {
        ++*(int *)argument;
        asocket_yield(owner);
    }
}

static void polls_are_turns(void)
{
    int64_t start = test_clock();
    int steps = 0;

    is_status(asocket_poll(selector, 0), ASOCKET_OK, "a poll with nothing to do");
    ok(test_took(start, 0, 10), "does not wait when told so");
    start = test_clock();
    is_status(asocket_poll(selector, 20), ASOCKET_OK, "a poll that waits");
    ok(test_took(start, 20, 20), "P11: takes its time, not less");
    asocket_launch(selector, yield_and_count, &steps);
    asocket_launch(selector, yield_and_count, &steps);
    is_int(asocket_poll(selector, 1000), 2, "a poll says how many coroutines it resumed");
    is_int(steps, 2, "each that is ready, once");
    asocket_poll(selector, ASOCKET_FOREVER);
    is_int(steps, 4, "and does not wait while one is ready");
    asocket_run(selector);
    is_int(steps, 6, "run goes on until the end");
}

static void poll_ends_when_something_comes(void)
{
    int64_t start = test_clock();
    test_pair pair;
    int ran = 0;

    if (!test_pair_open(selector, &pair))
        return;
    asocket_on_ready(pair.socket, ASOCKET_READ, count_up, &ran);
    settle(selector);
    is_int(ran, 0, "nothing has come");
    test_peer_send(pair.peer, "x", 1);
    while (!ran && test_clock() - start < INT64_C(5000000000))
        asocket_poll(selector, 10000);
    ok(ran == 1 && test_took(start, 0, 100), "a poll ends when bytes come");
    test_pair_close(&pair);
}

static void sleep_50(asocket_selector *owner, void *argument)
{
    asocket_sleep(owner, 50);
    ++*(int *)argument;
}

static void sleep_long(asocket_selector *owner, void *argument)
{
    (void)argument;
    asocket_sleep(owner, 10000);
}

static void next_timeouts(void)
{
    asocket_job job;
    test_pair pair;
    int ran = 0;

    settle(selector);
    is_int(asocket_next_timeout(selector), ASOCKET_FOREVER, "with nothing to do: for ever");
    job = asocket_launch(selector, sleep_long, NULL);
    is_int(asocket_next_timeout(selector), 0, "with a coroutine that is ready: 0");
    settle(selector);
    ok(asocket_next_timeout(selector) >= 1 && asocket_next_timeout(selector) <= 10000,
       "with one that sleeps: until it wakes");
    asocket_cancel(selector, job);
    is_int(asocket_next_timeout(selector), 0, "with one that was woken: 0");
    asocket_run(selector);
    is_int(asocket_next_timeout(selector), ASOCKET_FOREVER, "for ever again");
    asocket_post(selector, count_up, &ran);
    is_int(asocket_next_timeout(selector), 0, "with a post: 0");
    asocket_run(selector);
    asocket_stop(selector);
    is_int(asocket_next_timeout(selector), 0, "with a stop: 0");
    asocket_poll(selector, 0);
    if (!test_pair_open(selector, &pair))
        return;
    settle(selector);
    is_int(asocket_next_timeout(selector), ASOCKET_FOREVER, "with idle sockets: for ever");
    test_pair_close(&pair);
}

/* Between rounding up and the truth: a loop that waits that long never has to wait again. */
static void next_timeout_is_rounded_up(void)
{
    int64_t start = test_clock(), left;
    int ran = 0, waits = 0;

    asocket_launch(selector, sleep_50, &ran);
    settle(selector);
    while (!ran && waits < 20) {
        left = asocket_next_timeout(selector);
        if (left > 0) {
            struct timespec time = {0, (long)left * 1000000};

            nanosleep(&time, NULL);
            waits++;
        }
        asocket_poll(selector, 0);
    }
    ok(ran && test_took(start, 50, 50), "a loop that waits as long as it is told");
    ok(waits <= 2, "P11: waits once, and not again for a rest of less than a millisecond");
}

/* --- nothing to do ---------------------------------------------------------------------------- */

static void read_for_ever(asocket_selector *owner, void *argument)
{
    char bytes[64];

    (void)owner;
    while (asocket_read(asocket_open_read_channel((asocket *)argument), bytes, sizeof bytes) > 0) {
    }
}

static void idle_costs_nothing(void)
{
    asocket_builder tcp = asocket_tcp(selector);
    asocket_statistics before, after;
    test_pair pairs[20];
    clock_t cpu;
    int64_t start;
    int ran = 0, i;

    for (i = 0; i < 20; i++)
        if (!test_pair_open_with(tcp, &pairs[i]))
            return;
    for (i = 0; i < 20; i++)
        asocket_launch_socket(selector, read_for_ever, pairs[i].socket);
    asocket_launch(selector, sleep_then_count, &ran);
    settle(selector);
    before = statistics_of(selector);
    cpu = clock();
    start = test_clock();
    asocket_poll(selector, 300);
    cpu = clock() - cpu;
    ok(test_took(start, TEST_WINDOWS ? 280 : 300, 300), /* its waits may end a tick early */
       "P11: a poll with 20 idle connections blocks for its 300 ms");
    after = statistics_of(selector);
    is_int((int64_t)(after.turns - before.turns), 1, "P11: idle: one turn of the loop");
    is_int((int64_t)(after.wakeups - before.wakeups), 0, "P11: idle: no wake-up");
    is_int((int64_t)(after.system_calls - before.system_calls), 1, "P11: idle: one system call");
    is_int((int64_t)after.buffers, 0, "P5: idle: no buffers");
    ok(slow() || (double)cpu / CLOCKS_PER_SEC < 0.02, "P11: idle: no CPU time");
    asocket_cancel_all(selector);
    for (i = 0; i < 20; i++)
        test_pair_close(&pairs[i]);
    asocket_run(selector);
}

/* Peers that went, and nobody reads: what there is to tell must not be told again and again. */
static void hang_ups_do_not_spin(void)
{
    asocket_statistics before, after;
    test_pair gone, reset, talking;

    if (!test_pair_open(selector, &gone) || !test_pair_open(selector, &reset) ||
        !test_pair_open(selector, &talking))
        return;
    asocket_set_timeout(gone.socket, 1);
    asocket_set_timeout(reset.socket, 1);
    asocket_set_timeout(talking.socket, 1);
    asocket_read_byte(asocket_open_read_channel(gone.socket));
    asocket_read_byte(asocket_open_read_channel(reset.socket));
    asocket_read_byte(asocket_open_read_channel(talking.socket));
    close(gone.peer);
    gone.peer = -1;
    test_peer_reset(reset.peer);
    reset.peer = -1;
    test_peer_send(talking.peer, "hello", 5);
    before = statistics_of(selector);
    asocket_sleep(selector, 100);
    after = statistics_of(selector);
    if (!ok(after.turns - before.turns <= 10, "P10: peers that go while nobody reads do not spin"))
        diag("%d turns", (int)(after.turns - before.turns));
    test_pair_close(&gone);
    test_pair_close(&reset);
    test_pair_close(&talking);
}

/* --- stop ------------------------------------------------------------------------------------- */

static void stop_before_run(void)
{
    int ran = 0;

    asocket_launch(selector, sleep_50, &ran);
    asocket_stop(selector);
    asocket_stop(selector);
    is_status(asocket_run(selector), ASOCKET_ECANCELED, "a stop waits for the next run");
    is_status(asocket_error(selector), ASOCKET_ECANCELED, "which notes why it ended");
    is_int(ran, 0, "and did nothing");
    is_status(asocket_run(selector), ASOCKET_OK, "the one after it runs");
    is_int(ran, 1, "coroutines are untouched by a stop");
}

static void stop_without_coroutines(void)
{
    asocket_stop(selector);
    is_status(asocket_run(selector), ASOCKET_ECANCELED, "a stop ends a run that has nothing to do");
    is_status(asocket_run(selector), ASOCKET_OK, "once");
}

static void stop_each_wait(void)
{
    asocket_job job;
    int ran = 0;

    asocket_stop(selector);
    is_status(asocket_poll(selector, 1000), ASOCKET_ECANCELED, "a stop ends a poll");
    is_status(asocket_poll(selector, 0), ASOCKET_OK, "once");
    asocket_stop(selector);
    is_status(asocket_sleep(selector, 1000), ASOCKET_ECANCELED, "a stop ends a sleep outside");
    is_status(asocket_sleep(selector, 1), ASOCKET_OK, "once");
    job = asocket_launch(selector, sleep_then_count, &ran);
    asocket_stop(selector);
    is_status(asocket_join(selector, job), ASOCKET_ECANCELED, "a stop ends a join outside");
    asocket_cancel(selector, job);
    is_status(asocket_join(selector, job), ASOCKET_OK, "once");
}

static void stop_and_sleep(asocket_selector *owner, void *argument)
{
    asocket_stop(owner);
    *(int *)argument = asocket_sleep(owner, 1);
}

static void stop_at_last(asocket_selector *owner, void *argument)
{
    (void)argument;
    asocket_stop(owner);
}

static void stop_by_the_last(void)
{
    asocket_launch(selector, stop_at_last, NULL);
    is_status(asocket_run(selector), ASOCKET_ECANCELED, "the last coroutine may stop the loop");
    is_status(asocket_sleep(selector, 1), ASOCKET_OK, "whose next wait is not disturbed");
}

static void stop_inside(void)
{
    int status = 1;

    asocket_launch(selector, stop_and_sleep, &status);
    is_status(asocket_run(selector), ASOCKET_ECANCELED, "a coroutine may stop the loop it runs in");
    is_int(status, 1, "it goes on waiting");
    is_status(asocket_run(selector), ASOCKET_OK, "until the next run");
    is_status(status, ASOCKET_OK, "its wait was not disturbed");
}

static void *stop_later(void *argument)
{
    struct timespec time = {0, 20000000};

    nanosleep(&time, NULL);
    asocket_stop((asocket_selector *)argument);
    return NULL;
}

static void stop_from_thread(void)
{
    int64_t start = test_clock();
    pthread_t thread;
    asocket_job job;
    int ran = 0;

    job = asocket_launch(selector, sleep_then_count, &ran);
    pthread_create(&thread, NULL, stop_later, selector);
    is_status(asocket_run(selector), ASOCKET_ECANCELED, "a stop from another thread ends a run");
    ok(test_took(start, 20, 20), "that was blocked");
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, stop_later, selector);
    is_status(asocket_sleep(selector, 60000), ASOCKET_ECANCELED, "and a sleep outside");
    pthread_join(thread, NULL);
    asocket_cancel(selector, job);
    asocket_run(selector);
    is_int(ran, 1, "the coroutine lives on");
}

static asocket_selector *to_be_stopped;

static void stop_in_handler(int number)
{
    (void)number;
    asocket_stop(to_be_stopped);
}

static void stop_from_signal_handler(void)
{
    struct sigaction stopping, former;
    asocket_job job;
    int ran = 0;

    if (test_skips(TEST_WINDOWS, 3, "Windows has no signals that interrupt"))
        return;
    memset(&stopping, 0, sizeof stopping);
    stopping.sa_handler = stop_in_handler;
    to_be_stopped = selector;
    sigaction(SIGUSR1, &stopping, &former);
    job = asocket_launch(selector, sleep_then_count, &ran);
    raise(SIGUSR1);
    sigaction(SIGUSR1, &former, NULL);
    is_status(asocket_run(selector), ASOCKET_ECANCELED, "a stop in a signal handler, before a run");
    asocket_cancel(selector, job);
    is_status(asocket_run(selector), ASOCKET_OK, "ends one run");
    is_int(ran, 1, "nothing is lost");
}

static void *signal_later(void *argument)
{
    struct timespec time = {0, 20000000};

    nanosleep(&time, NULL);
    pthread_kill(*(pthread_t *)argument, SIGUSR1);
    return NULL;
}

static void stop_a_blocked_run_from_a_handler(void)
{
    struct sigaction stopping, former;
    pthread_t self = pthread_self(), thread;
    int64_t start = test_clock();
    asocket_job job;
    int ran = 0;

    if (test_skips(TEST_WINDOWS, 2, "Windows has no signals that interrupt"))
        return;
    memset(&stopping, 0, sizeof stopping);
    stopping.sa_handler = stop_in_handler;
    stopping.sa_flags = SA_RESTART;
    to_be_stopped = selector;
    sigaction(SIGUSR1, &stopping, &former);
    job = asocket_launch(selector, sleep_then_count, &ran);
    pthread_create(&thread, NULL, signal_later, &self);
    is_status(asocket_run(selector), ASOCKET_ECANCELED, "a stop in a handler ends a blocked run");
    ok(test_took(start, 20, 20), "at once");
    pthread_join(thread, NULL);
    sigaction(SIGUSR1, &former, NULL);
    asocket_cancel(selector, job);
    asocket_run(selector);
}

static void ignore_signal(int number)
{
    (void)number;
}

static void signals_do_not_end_waits(void)
{
    struct sigaction ignoring, former;
    pthread_t self = pthread_self(), thread;
    int64_t start = test_clock();

    if (test_skips(TEST_WINDOWS, 2, "Windows has no signals that interrupt"))
        return;
    memset(&ignoring, 0, sizeof ignoring);
    ignoring.sa_handler = ignore_signal;
    sigaction(SIGUSR1, &ignoring, &former);
    pthread_create(&thread, NULL, signal_later, &self);
    is_status(asocket_sleep(selector, 60), ASOCKET_OK, "a signal in the middle of a wait");
    ok(test_took(start, 60, 60), "P11: does not shorten it");
    pthread_join(thread, NULL);
    sigaction(SIGUSR1, &former, NULL);
}

/* --- post ------------------------------------------------------------------------------------- */

enum { THREADS = 4 };

typedef struct parcel {
    struct office *office;
    int sender, number;
} parcel;

typedef struct office {
    asocket_selector *selector;
    parcel *parcels;
    asocket_job waiter;
    int each; /* that a sender posts */
    int got, next[THREADS], disorder, twice;
    pthread_t threads[THREADS];
} office;

static void take_parcel(asocket_selector *owner, void *argument)
{
    parcel *got = (parcel *)argument;
    office *all = got->office;

    if (got->number < all->next[got->sender])
        all->twice++;
    else if (got->number > all->next[got->sender])
        all->disorder++;
    all->next[got->sender] = got->number + 1;
    if (++all->got == THREADS * all->each)
        asocket_cancel(owner, all->waiter);
}

static void *send_parcels(void *argument)
{
    parcel *own = (parcel *)argument;
    int each = own->office->each, i;

    for (i = 0; i < each; i++)
        while (asocket_post(own->office->selector, take_parcel, &own[i]) != ASOCKET_OK) {
        }
    return NULL;
}

/* The receiver blocks without a time-out: a wake-up that is lost hangs it. */
static void post_from_threads(int each, const char *how)
{
    asocket_statistics before = statistics_of(selector);
    office all;
    int ran = 0, i, n;

    memset(&all, 0, sizeof all);
    all.selector = selector;
    all.each = each;
    all.parcels = (parcel *)calloc((size_t)(THREADS * each), sizeof *all.parcels);
    for (i = 0; i < THREADS; i++)
        for (n = 0; n < each; n++) {
            parcel *own = &all.parcels[i * each + n];

            own->office = &all;
            own->sender = i;
            own->number = n;
        }
    all.waiter = asocket_launch(selector, sleep_then_count, &ran);
    for (i = 0; i < THREADS; i++)
        pthread_create(&all.threads[i], NULL, send_parcels, &all.parcels[i * each]);
    asocket_run(selector);
    for (i = 0; i < THREADS; i++)
        pthread_join(all.threads[i], NULL);
    is_int(all.got, THREADS * each, "posts from %d threads all arrive, %s", THREADS, how);
    ok(all.twice == 0 && all.disorder == 0, "each once, in the order of its thread, %s", how);
    ok(statistics_of(selector).turns - before.turns <= (uint64_t)(THREADS * each) * 2 + 100,
       "P11: without needless turns, %s", how);
    free(all.parcels);
}

typedef struct rally { /* one post at a time: the next one when the last has run */
    latch ran;
    asocket_selector *selector;
    asocket_job waiter;
    int rounds, got;
} rally;

static void hit_back(asocket_selector *owner, void *argument)
{
    rally *all = (rally *)argument;

    if (++all->got == all->rounds)
        asocket_cancel(owner, all->waiter);
    latch_post(&all->ran);
}

static void *serve_balls(void *argument)
{
    rally *all = (rally *)argument;
    int i;

    for (i = 0; i < all->rounds; i++) {
        asocket_post(all->selector, hit_back, all);
        latch_wait(&all->ran);
    }
    return NULL;
}

static void post_and_wait(int rounds, const char *how)
{
    pthread_t thread;
    rally all;
    int ran = 0;

    memset(&all, 0, sizeof all);
    latch_init(&all.ran);
    all.selector = selector;
    all.rounds = rounds;
    all.waiter = asocket_launch(selector, sleep_then_count, &ran);
    pthread_create(&thread, NULL, serve_balls, &all);
    asocket_run(selector);
    pthread_join(thread, NULL);
    is_int(all.got, rounds, "%d posts one by one, none is overlooked, %s", rounds, how);
    latch_destroy(&all.ran);
}

#ifdef __linux__

static void post_on_one_processor(void)
{
    cpu_set_t all, one;
    size_t i = 0;

    if (sched_getaffinity(0, sizeof all, &all) < 0) {
        skip(4, "no sched_getaffinity here");
        return;
    }
    while (!CPU_ISSET(i, &all))
        i++;
    CPU_ZERO(&one);
    CPU_SET(i, &one);
    sched_setaffinity(0, sizeof one, &one);
    post_from_threads(slow() ? 100 : 1000, "on one processor");
    post_and_wait(slow() ? 50 : 500, "on one processor");
    sched_setaffinity(0, sizeof all, &all);
}

#else

static void post_on_one_processor(void)
{
    skip(4, "threads cannot be kept on one processor here");
}

#endif

static char order[32];

static void note_order(asocket_selector *owner, void *argument)
{
    size_t length = strlen(order);

    (void)owner;
    order[length] = *(const char *)argument;
    order[length + 1] = 0;
}

static void post_two(asocket_selector *owner, void *argument)
{
    asocket_post(owner, note_order, "b");
    asocket_post(owner, note_order, "c");
    note_order(owner, argument);
}

static void post_from_the_same_thread(void)
{
    order[0] = 0;
    asocket_post(selector, post_two, "a");
    is_str(order, "", "a post does not run at once");
    asocket_run(selector);
    is_str(order, "abc", "run waits for posts, also for those of posts, in their order");
}

static void post_and_yield(asocket_selector *owner, void *argument)
{
    int i;

    asocket_post(owner, note_order, "p");
    for (i = 0; i < 3; i++)
        asocket_yield(owner);
    note_order(owner, argument);
}

static void posts_do_not_wait_for_idleness(void)
{
    order[0] = 0;
    asocket_launch(selector, post_and_yield, "y");
    asocket_run(selector);
    is_str(order, "py", "P11: a post runs although others are always ready");
}

static void post_is_joined_and_cancelled(void)
{
    int ran = 0;

    asocket_post(selector, sleep_then_count, &ran);
    settle(selector);
    asocket_cancel_all(selector);
    is_status(asocket_join_all(selector), ASOCKET_OK, "a post is a coroutine of the code outside");
    is_int(ran, 1, "P7: which cancel_all and join_all there reach");
}

static void posts_at_the_end(void)
{
    asocket_selector *made = another_selector();
    int ran = 0, i;

    for (i = 0; i < 3; i++)
        asocket_post(made, sleep_then_count, &ran);
    asocket_selector_destroy(made);
    is_int(ran, 3, "posts that wait when the selector is destroyed run, cancelled");
}

static void post_at_the_end(asocket_selector *owner, void *argument)
{
    asocket_sleep(owner, ASOCKET_FOREVER);
    asocket_post(owner, count_up, argument);
}

static void posts_of_the_last_ones(void)
{
    asocket_selector *made = another_selector();
    int ran = 0;

    asocket_launch(made, post_at_the_end, &ran);
    asocket_poll(made, 0);
    asocket_selector_destroy(made);
    is_int(ran, 1, "so do those that coroutines post while they end");
}

/* --- descriptors of others -------------------------------------------------------------------- */

typedef struct waiter {
    int fd, events;
    int status;
    bool ended;
} waiter;

static void wait_for_handle(asocket_selector *owner, void *argument)
{
    waiter *own = (waiter *)argument;

    own->status = asocket_wait_handle(owner, own->fd, own->events);
    own->ended = true;
}

static waiter waiter_on(int fd, int events)
{
    waiter made;

    memset(&made, 0, sizeof made);
    made.fd = fd;
    made.events = events;
    return made;
}

static void wait_for_pipe(void)
{
    waiter own;
    int ends[2];

    if (pipe(ends) < 0)
        return;
    own = waiter_on(ends[0], ASOCKET_READ);
    asocket_launch(selector, wait_for_handle, &own);
    settle(selector);
    ok(!own.ended, "wait_handle waits while a pipe is empty");
    ok(write(ends[1], "x", 1) == 1, "something is written");
    asocket_run(selector);
    is_int(own.status, ASOCKET_READ, "it answers the event that came");
    is_int(asocket_wait_handle(selector, ends[0], ASOCKET_READ), ASOCKET_READ,
           "and again as long as nobody reads");
    is_int(asocket_wait_handle(selector, ends[1], ASOCKET_WRITE), ASOCKET_WRITE,
           "a pipe with room can be written");
    ok(!(fcntl(ends[0], F_GETFL) & O_NONBLOCK), "P6: the descriptor's mode is left alone");
    close(ends[1]);
    ok(read(ends[0], &(char){0}, 1) == 1, "what was written is read");
    is_int(asocket_wait_handle(selector, ends[0], ASOCKET_READ), ASOCKET_READ,
           "the end of a pipe is an event for its reader");
    close(ends[0]);
}

static void wait_for_broken_pipe(void)
{
    int ends[2];

    if (pipe(ends) < 0)
        return;
    close(ends[0]);
    is_int(asocket_wait_handle(selector, ends[1], ASOCKET_WRITE), ASOCKET_WRITE,
           "a pipe without reader is an event for its writer");
    close(ends[1]);
}

static void wait_for_files(void)
{
    FILE *file = tmpfile();
    int null = open("/dev/null", O_RDWR);
    const int both = ASOCKET_READ | ASOCKET_WRITE;

    if (!test_skips(TEST_WINDOWS, 3, "a handle is a socket there")) {
        is_int(asocket_wait_handle(selector, fileno(file), both), both,
               "P13: a file is always ready");
        is_int(asocket_wait_handle(selector, fileno(file), ASOCKET_READ), ASOCKET_READ,
               "P13: for what was asked");
        is_int(asocket_wait_handle(selector, null, both), both, "P13: so is /dev/null");
    }
    close(null);
    is_status(asocket_wait_handle(selector, null, ASOCKET_READ), ASOCKET_EINVAL,
              "P13: a closed descriptor is refused");
    is_status(asocket_wait_handle(selector, 1 << 20, ASOCKET_READ), ASOCKET_EINVAL,
              "P13: so is a number that never was one");
    fclose(file);
}

/* What the library opened it watches itself. */
static void wait_for_our_own(void)
{
    asocket_read_channel *in;
    asocket_handle handle;
    test_pair pair;
    char text[8];
    int i;

    if (!test_pair_open(selector, &pair))
        return;
    handle = asocket_native_handle(pair.socket);
    in = asocket_open_read_channel(pair.socket);
    asocket_set_timeout(pair.socket, 5000);
    for (i = 0; i < 2; i++) {
        is_status(asocket_wait_handle(selector, handle, ASOCKET_READ), ASOCKET_EBUSY,
                  "P13: a socket of the library is refused, %s",
                  i ? "also when it was waited for" : "also when it is new");
        is_status(asocket_wait_handle(selector, handle, ASOCKET_WRITE), ASOCKET_EBUSY,
                  "P13: for whatever event");
        test_peer_send(pair.peer, "x\n", 2);
        is_int(asocket_read_line(in, text, sizeof text), 1, "P10: and unharmed");
        asocket_set_timeout(pair.socket, 5);
        is_status(asocket_read_line(in, text, sizeof text), ASOCKET_ETIMEDOUT, "P7: it waits");
        asocket_set_timeout(pair.socket, 5000);
    }
    test_pair_close(&pair);
}

static void two_wait_for_one(void)
{
    waiter reader, writer, third;
    char block[65536];
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    memset(block, 'x', sizeof block);
    while (write(ends[0], block, sizeof block) > 0) {
    }
    reader = waiter_on(ends[0], ASOCKET_READ);
    writer = waiter_on(ends[0], ASOCKET_WRITE);
    third = waiter_on(ends[0], ASOCKET_READ | ASOCKET_WRITE);
    asocket_launch(selector, wait_for_handle, &reader);
    asocket_launch(selector, wait_for_handle, &writer);
    asocket_launch(selector, wait_for_handle, &third);
    settle(selector);
    ok(!reader.ended && !writer.ended, "P12: one may wait to read, one to write");
    is_status(third.status, ASOCKET_EBUSY, "P12: a second one for the same is told so");
    ok(write(ends[1], "x", 1) == 1, "something comes");
    settle(selector);
    ok(reader.ended && reader.status == ASOCKET_READ, "P12: the reader is woken");
    ok(!writer.ended, "P12: the writer is not");
    while (read(ends[1], block, sizeof block) > 0) {
    }
    asocket_run(selector);
    is_int(writer.status, ASOCKET_WRITE, "P12: until there is room");
    close(ends[0]);
    close(ends[1]);
}

/* Taken over meanwhile it would have two who wait for its events. */
static void adopt_what_is_waited_for(void)
{
    waiter own;
    asocket *socket;
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    own = waiter_on(pair.peer, ASOCKET_READ);
    asocket_launch(selector, wait_for_handle, &own);
    settle(selector);
    socket = asocket_adopt(asocket_tcp(selector), pair.peer);
    is_status(socket ? 0 : asocket_error(selector), ASOCKET_EBUSY,
              "P13: a descriptor that a coroutine waits for is not adopted");
    asocket_write_byte(asocket_open_write_channel(pair.socket, ASOCKET_AUTO_FLUSH), 'x');
    while (!own.ended && asocket_poll(selector, 5000) >= 0) {
    }
    is_int(own.status, ASOCKET_READ, "P10: who waited is told of it");
    if (!socket)
        socket = asocket_adopt(asocket_tcp(selector), pair.peer);
    ok(socket != NULL, "when nobody waits for it, it is");
    asocket_abort(socket);
    asocket_close(pair.socket);
    asocket_close(pair.server);
}

/* The number of a descriptor that was waited for comes back as another one. */
static void numbers_come_back(void)
{
    waiter own;
    int first[2], second[2];

    if (pipe(first) < 0 || write(first[1], "x", 1) != 1)
        return;
    asocket_wait_handle(selector, first[0], ASOCKET_READ);
    close(first[0]);
    close(first[1]);
    if (pipe(second) < 0)
        return;
    is_int(second[0], first[0], "a number comes back");
    own = waiter_on(second[0], ASOCKET_READ);
    asocket_launch(selector, wait_for_handle, &own);
    settle(selector);
    ok(!own.ended, "P10: as another descriptor, with nothing to read");
    ok(write(second[1], "x", 1) == 1, "until something comes");
    asocket_run(selector);
    is_int(own.status, ASOCKET_READ, "P10: which is noticed");
    close(second[0]);
    close(second[1]);
}

static void wait_with_two_selectors(void)
{
    asocket_selector *other = another_selector();
    waiter one, two;
    int ends[2];

    if (pipe(ends) < 0)
        return;
    one = waiter_on(ends[0], ASOCKET_READ);
    two = waiter_on(ends[0], ASOCKET_READ);
    asocket_launch(selector, wait_for_handle, &one);
    asocket_launch(other, wait_for_handle, &two);
    settle(selector);
    settle(other);
    ok(write(ends[1], "x", 1) == 1, "one pipe");
    settle(selector);
    settle(other);
    ok(one.ended && two.ended, "two selectors may wait for the same descriptor");
    asocket_selector_destroy(other);
    close(ends[0]);
    close(ends[1]);
}

/* --- inside of another loop ------------------------------------------------------------------- */

static void echo(asocket_selector *owner, void *argument)
{
    asocket_read_channel *in = asocket_open_read_channel((asocket *)argument);
    asocket_write_channel *out =
        asocket_open_write_channel((asocket *)argument, ASOCKET_AUTO_FLUSH);
    char line[64];

    while (asocket_read_line(in, line, sizeof line) >= 0) {
        asocket_sleep(owner, 2);
        asocket_printf(out, "%s\n", line);
    }
}

static void serve_echo(asocket_selector *owner, void *argument)
{
    (void)owner;
    asocket_serve((asocket *)argument, echo);
}

typedef struct host { /* a loop around poll(2) that is not ours */
    int peer, rounds, answers;
    bool waits_right; /* never told to wait for longer than the coroutine's 2 ms */
} host;

static void host_turn(host *own)
{
    struct pollfd handles[2];
    int64_t timeout = asocket_next_timeout(selector);
    char answer[64];

    own->rounds++;
    handles[0].fd = asocket_selector_handle(selector);
    handles[1].fd = own->peer;
    handles[0].events = handles[1].events = POLLIN;
    handles[0].revents = handles[1].revents = 0;
    if ((asocket_handle)handles[0].fd == TEST_NO_HANDLE && (timeout < 0 || timeout > 1))
        timeout = 1; /* this backend has no descriptor to wait for */
    if (poll(handles, 2, timeout < 0 ? 5000 : (int)timeout) == 0 && timeout < 0)
        own->waits_right = false;
    if (handles[1].revents && recv(own->peer, answer, sizeof answer, 0) > 0 && ++own->answers < 3)
        test_peer_send(own->peer, "again\n", 6);
    asocket_poll(selector, 0);
}

static void inside_another_loop(void)
{
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    asocket_address address;
    host own;

    memset(&own, 0, sizeof own);
    own.waits_right = true;
    asocket_local_address(server, &address);
    asocket_launch(selector, serve_echo, server);
    settle(selector);
    own.peer = test_peer_connect(address.port);
    test_peer_send(own.peer, "first\n", 6);
    while (own.answers < 3 && own.rounds < 1000)
        host_turn(&own);
    is_int(own.answers, 3, "an echo server runs inside of a loop around poll(2)");
    ok(own.waits_right, "which may sleep until the handle or the next time-out");
    ok(own.rounds <= 100 * test_slowness(), "P11: and has little to turn");
    ok((asocket_selector_handle(selector) == TEST_NO_HANDLE) ==
           (TEST_WINDOWS || backend == ASOCKET_BACKEND_POLL),
       "poll has no handle, the others do");
    close(own.peer);
    asocket_close(server);
    asocket_run(selector);
}

static bool handle_is_readable(void)
{
    struct pollfd handle;

    handle.fd = asocket_selector_handle(selector);
    handle.events = POLLIN;
    return poll(&handle, 1, 0) > 0;
}

static void *post_one(void *argument)
{
    asocket_post(selector, count_up, argument);
    return NULL;
}

static void handle_tells(void)
{
    pthread_t thread;
    test_pair pair;
    int ran = 0;

    if (asocket_selector_handle(selector) == TEST_NO_HANDLE) {
        skip(6, "this backend has no handle");
        return;
    }
    settle(selector);
    ok(!handle_is_readable(), "the handle is not readable when there is nothing to do");
    pthread_create(&thread, NULL, post_one, &ran);
    pthread_join(thread, NULL);
    ok(handle_is_readable(), "it is after a post from another thread");
    settle(selector);
    ok(ran == 1 && !handle_is_readable(), "not any more when that has run");
    asocket_stop(selector);
    ok(handle_is_readable(), "it is after a stop");
    asocket_poll(selector, 0);
    if (!test_pair_open(selector, &pair))
        return;
    asocket_on_ready(pair.socket, ASOCKET_READ, count_up, &ran);
    settle(selector);
    ok(!handle_is_readable(), "it is not with an idle socket");
    test_peer_send(pair.peer, "x", 1);
    ok(handle_is_readable(), "it is when bytes came");
    settle(selector);
    test_pair_close(&pair);
}

/* --- several selectors, several threads ------------------------------------------------------- */

static void accept_and_echo(asocket_selector *owner, void *argument)
{
    asocket *client = asocket_accept((asocket *)argument);

    if (client)
        asocket_launch_socket(owner, echo, client);
}

static void ask_for_echo(asocket_selector *owner, void *argument)
{
    asocket *socket = asocket_connect(asocket_tcp(owner), "127.0.0.1", *(int *)argument);
    char line[64] = "";

    asocket_write_string(asocket_open_write_channel(socket, ASOCKET_AUTO_FLUSH), "hello\n");
    asocket_read_line(asocket_open_read_channel(socket), line, sizeof line);
    *(int *)argument = strcmp(line, "hello") == 0;
    asocket_close(socket);
}

static void two_in_one_thread(void)
{
    asocket_selector *other = another_selector();
    asocket *server = asocket_bind(asocket_tcp(other), "127.0.0.1", 0);
    int64_t start = test_clock();
    asocket_address address;
    int answer;

    asocket_local_address(server, &address);
    answer = address.port;
    asocket_launch(other, accept_and_echo, server);
    asocket_launch(selector, ask_for_echo, &answer);
    while (answer > 1 && test_clock() - start < INT64_C(5000000000)) {
        asocket_poll(selector, 1);
        asocket_poll(other, 1);
    }
    is_int(answer, 1, "two selectors of one thread talk to each other");
    asocket_selector_destroy(other);
    asocket_run(selector);
}

static void sleep_in_the_other(asocket_selector *owner, void *argument)
{
    asocket_selector *other = (asocket_selector *)argument;

    (void)owner;
    asocket_sleep(other, 1);
}

static void selectors_nest(void)
{
    asocket_selector *other = another_selector();
    int ran = 0;

    asocket_launch(other, count_up, &ran);
    asocket_launch(selector, sleep_in_the_other, other);
    is_status(asocket_run(selector), ASOCKET_OK, "a coroutine may run another selector");
    is_int(ran, 1, "whose coroutines run meanwhile");
    asocket_selector_destroy(other);
}

typedef struct visitor {
    asocket_selector *selector;
    int answer;
    asocket *server;
} visitor;

static void *live_in_thread(void *argument)
{
    visitor *own = (visitor *)argument;
    asocket_address address;

    own->selector = another_selector();
    own->server = asocket_bind(asocket_tcp(own->selector), "127.0.0.1", 0);
    asocket_local_address(own->server, &address);
    own->answer = address.port;
    asocket_launch(own->selector, accept_and_echo, own->server);
    asocket_launch(own->selector, ask_for_echo, &own->answer);
    asocket_run(own->selector);
    asocket_selector_destroy(own->selector);
    return NULL;
}

static void each_thread_its_own(void)
{
    visitor all[3];
    pthread_t threads[3];
    int i;

    memset(all, 0, sizeof all);
    for (i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, live_in_thread, &all[i]);
    for (i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ok(all[0].answer == 1 && all[1].answer == 1 && all[2].answer == 1,
       "three threads with a selector each");
}

static void *run_in_thread(void *argument)
{
    visitor *own = (visitor *)argument;

    own->answer = asocket_run(own->selector);
    return NULL;
}

static void taken_over(void)
{
    pthread_t thread;
    visitor own;
    int ran = 0;

    memset(&own, 0, sizeof own);
    own.answer = 1;
    own.selector = another_selector();
    asocket_launch(own.selector, count_up, &ran);
    pthread_create(&thread, NULL, run_in_thread, &own);
    pthread_join(thread, NULL);
    is_status(own.answer, ASOCKET_OK, "another thread may run a selector that nobody runs");
    is_int(ran, 1, "with the coroutines that it has");
    asocket_launch(own.selector, count_up, &ran);
    asocket_run(own.selector);
    is_int(ran, 2, "and the first one go on with it later");
    asocket_selector_destroy(own.selector);
}

typedef struct intruder {
    asocket *socket;
    int ends[2]; /* the thread writes when it is done */
    int sleep, close, run, wait;
    asocket_job job;
    asocket *bound;
    int ran, error;
    const char *message;
} intruder;

static void *intrude(void *argument)
{
    intruder *own = (intruder *)argument;

    own->sleep = asocket_sleep(selector, 1);
    own->close = asocket_close(own->socket);
    own->run = asocket_run(selector);
    own->wait = asocket_wait_handle(selector, own->ends[0], ASOCKET_READ);
    own->job = asocket_launch(selector, count_up, &own->ran);
    own->bound = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    own->error = asocket_error(selector);
    own->message = asocket_error_message(selector);
    if (write(own->ends[1], "x", 1) != 1)
        own->ran = -1;
    return NULL;
}

static void let_in(asocket_selector *owner, void *argument)
{
    intruder *own = (intruder *)argument;
    pthread_t thread;

    pthread_create(&thread, NULL, intrude, own);
    asocket_wait_handle(owner, own->ends[0], ASOCKET_READ);
    pthread_join(thread, NULL);
}

static void wrong_thread_is_noticed(void)
{
    intruder own;

    memset(&own, 0, sizeof own);
    own.socket = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    if (pipe(own.ends) < 0)
        return;
    asocket_launch(selector, let_in, &own);
    asocket_run(selector);
    is_status(own.sleep, ASOCKET_EINVAL,
              "P10: another thread's sleep is refused while the loop runs");
    is_status(own.close, ASOCKET_EINVAL, "P10: its close");
    is_status(own.run, ASOCKET_EINVAL, "P10: its run");
    is_status(own.wait, ASOCKET_EINVAL, "P10: its wait_handle");
    ok(own.job == 0 && own.ran == 0, "P10: its launch");
    ok(own.bound == NULL, "P10: its bind");
    ok(!asocket_is_closed(own.socket), "P10: nothing of it has happened");
    is_status(own.error, ASOCKET_EINVAL, "P10: it is told so");
    ok(strstr(own.message, "thread") != NULL, "P10: and why: %s", own.message);
#ifdef NDEBUG
    skip(1, "asserts are compiled out");
#else
    ok(test_take_asserts() >= 6, "and each is an assert");
#endif
    asocket_close(own.socket);
    close(own.ends[0]);
    close(own.ends[1]);
}

/* ---------------------------------------------------------------------------------------------- */

static void test_creating(void)
{
    create_with_backends();
    create_with_defaults();
    create_at_limits();
    create_without_descriptors();
    memory_is_balanced();
}

static void test_manners(void)
{
    signals_are_left_alone();
    descriptors_are_not_inherited();
    descriptors_are_balanced();
}

static void test_loop(void)
{
    polls_are_turns();
    poll_ends_when_something_comes();
    next_timeouts();
    next_timeout_is_rounded_up();
    idle_costs_nothing();
    hang_ups_do_not_spin();
}

static void test_stopping(void)
{
    stop_before_run();
    stop_without_coroutines();
    stop_by_the_last();
    stop_each_wait();
    stop_inside();
    stop_from_thread();
    stop_from_signal_handler();
    stop_a_blocked_run_from_a_handler();
    signals_do_not_end_waits();
}

static void test_posting(void)
{
    post_from_threads(slow() ? 500 : 5000, "as fast as they can");
    post_and_wait(slow() ? 200 : 2000, "with all processors");
    post_on_one_processor();
    post_from_the_same_thread();
    posts_do_not_wait_for_idleness();
    post_is_joined_and_cancelled();
    posts_at_the_end();
    posts_of_the_last_ones();
}

static void test_handles(void)
{
    wait_for_pipe();
    wait_for_broken_pipe();
    wait_for_files();
    wait_for_our_own();
    two_wait_for_one();
    adopt_what_is_waited_for();
    numbers_come_back();
    wait_with_two_selectors();
}

static void test_company(void)
{
    inside_another_loop();
    handle_tells();
    two_in_one_thread();
    selectors_nest();
    each_thread_its_own();
    taken_over();
    wrong_thread_is_noticed();
}

int main(int argc, char **argv)
{
    backend = test_backend(argc, argv);
    selector = test_selector(argc, argv);
    test_creating();
    test_manners();
    test_loop();
    test_stopping();
    test_posting();
    test_handles();
    test_company();
    return test_end(selector);
}
