/* What a kqueue of macOS or the BSDs says that the one over epoll never does: the reports and
   refusals are changed on their way to the library. Which system says what stands beside each. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif
#if defined(__linux__) && !defined(ASOCKET_KQUEUE)

#include "test.h"

int main(void)
{
    skip_all("kqueue is not compiled in");
}

#else

#include <sys/event.h>

#define SEAM_kqueue , my_kqueue
#define SEAM_kevent , my_kevent
static int my_kqueue(void);
static int my_kevent(int kq, const struct kevent *changes, int change_count, struct kevent *events,
                     int event_count, const struct timespec *timeout);

#include "private.h"

#include <pthread.h>

static asocket_selector *selector;

/* --- the seam --------------------------------------------------------------------------------- */

static int refuse_queue;   /* errno of kqueue() */
static int refuse_change;  /* errno of a change, */
static int64_t refused;    /* of this filter only */
static bool refuse_anyway; /* but make it all the same, as when a signal comes */
static int refuse_wait;    /* errno of the next wait */
static uint32_t end_flags; /* fflags of each EV_EOF */
static bool end_writing;   /* each report of EVFILT_WRITE has EV_EOF */
static bool fail_report;   /* each report has EV_ERROR */
static time_t longest;     /* wait */

static int my_kqueue(void)
{
    errno = refuse_queue;
    return refuse_queue ? -1 : kqueue();
}

static void change_reports(struct kevent *events, int count)
{
    int i;

    for (i = 0; i < count; i++) {
        if (end_writing && events[i].filter == EVFILT_WRITE)
            events[i].flags |= EV_EOF;
        if (fail_report && events[i].filter != EVFILT_USER)
            events[i].flags |= EV_ERROR;
        if (events[i].flags & EV_EOF)
            events[i].fflags = end_flags;
    }
}

static int my_kevent(int kq, const struct kevent *changes, int change_count, struct kevent *events,
                     int event_count, const struct timespec *timeout)
{
    int result;

    if (change_count && refuse_change && (int64_t)changes[0].filter == refused) {
        if (refuse_anyway)
            (void)kevent(kq, changes, change_count, events, event_count, timeout);
        errno = refuse_change;
        return -1;
    }
    if (event_count && refuse_wait) {
        errno = refuse_wait;
        refuse_wait = 0;
        return -1;
    }
    if (event_count && timeout && timeout->tv_sec > longest)
        longest = timeout->tv_sec;
    result = kevent(kq, changes, change_count, events, event_count, timeout);
    change_reports(events, result);
    return result;
}

/* A pair whose socket has no filter yet. */
static bool new_pair(test_pair *pair)
{
    selector->expected[0] = selector->expected[1] = 3; /* such sockets are tried first */
    if (!test_pair_open(selector, pair))
        return false;
    asocket_sleep(selector, 1);
    return is_int(pair->socket->registered, 0, "a new socket has no filters");
}

/* --- ends ------------------------------------------------------------------------------------- */

/* A call in between may take the error of a connection that broke away: what follows the bytes
   would look like an end of stream. */
static void a_reset_is_remembered(void)
{
    asocket_read_channel *in;
    char bytes[8];
    test_pair pair;

    if (!new_pair(&pair))
        return;
    in = asocket_open_read_channel(pair.socket);
    asocket_set_timeout(pair.socket, 20);
    is_status(asocket_read(in, bytes, sizeof bytes), ASOCKET_ETIMEDOUT, "a reader waits");
    end_flags = ECONNRESET;
    test_peer_send(pair.peer, "last", 4);
    shutdown(pair.peer, SHUT_WR);
    asocket_set_timeout(pair.socket, 5000);
    is_int(asocket_read(in, bytes, sizeof bytes), 4, "what came before the reset is read");
    is_status(asocket_read(in, bytes, sizeof bytes), ASOCKET_ECONNRESET,
              "P1: EV_EOF with ECONNRESET is no end of stream");
    end_flags = 0;
    test_pair_close(&pair);
}

/* EV_EOF of EVFILT_WRITE is also what our own half-close looks like, and the close of a Unix peer. */
static void an_end_of_writing_is_no_end_of_reading(void)
{
    asocket_read_channel *in;
    asocket_write_channel *out;
    char bytes[8];
    test_pair pair;

    if (!new_pair(&pair))
        return;
    in = asocket_open_read_channel(pair.socket);
    out = asocket_open_write_channel(pair.socket, 0);
    end_writing = true;
    is_status(selector->backend->arm(selector, pair.socket, ASOCKET__BOTH), ASOCKET_OK, "armed");
    asocket_write_string(out, "hello");
    is_status(asocket_finish(out), ASOCKET_OK, "our side is ended");
    asocket_sleep(selector, 5);
    ok(!pair.socket->hangup, "P3: EV_EOF of EVFILT_WRITE says nothing of the peer's side");
    test_peer_send(pair.peer, "answer", 6);
    asocket_set_timeout(pair.socket, 5000);
    is_int(asocket_read(in, bytes, sizeof bytes), 6, "P3: which goes on");
    end_writing = false;
    test_pair_close(&pair);
}

/* libkqueue keeps the filters of a descriptor that was closed. */
static void a_report_of_another(void)
{
    struct kevent event;
    test_pair pair;

    if (!new_pair(&pair))
        return;
    pair.socket->ready = 0;
    EV_SET(&event, (uintptr_t)pair.peer, EVFILT_READ, 0, 0, 0,
           ASOCKET__KQUEUE_KEY(pair.socket->index));
    asocket__kqueue_report(selector, &event);
    ok(!pair.socket->ready, "P10: a late report of another descriptor is ignored");
    event.ident = (uintptr_t)asocket_native_handle(pair.socket);
    asocket__kqueue_report(selector, &event);
    is_int(pair.socket->ready, ASOCKET_READ, "one of its own is not");
    event.udata = ASOCKET__KQUEUE_KEY(1000000);
    asocket__kqueue_report(selector, &event);
    is_int(pair.socket->ready, ASOCKET_READ, "P10: nor does one of no socket hurt");
    test_pair_close(&pair);
}

/* EV_EOF with an error, by either filter, is the end of both sides; without one it is that of its
   own side only. */
static void a_broken_connection(void)
{
    struct kevent event;
    test_pair pair;

    if (!new_pair(&pair))
        return;
    EV_SET(&event, (uintptr_t)asocket_native_handle(pair.socket), EVFILT_WRITE, EV_EOF, 0, 0,
           ASOCKET__KQUEUE_KEY(pair.socket->index));
    pair.socket->ready = 0;
    asocket__kqueue_report(selector, &event);
    is_int(pair.socket->ready, ASOCKET_WRITE, "P3: EV_EOF of EVFILT_WRITE wakes no reader");
    event.fflags = ETIMEDOUT;
    asocket__kqueue_report(selector, &event);
    is_int(pair.socket->ready, ASOCKET__BOTH, "P10: with an error it wakes both sides");
    pair.socket->ready = 0;
    event.filter = EVFILT_READ;
    asocket__kqueue_report(selector, &event);
    is_int(pair.socket->ready, ASOCKET__BOTH, "P10: so does that of EVFILT_READ");
    ok(!pair.socket->reset, "a reset is another error");
    test_pair_close(&pair);
}

static void a_report_of_an_error(void)
{
    test_pair pair;

    if (!new_pair(&pair))
        return;
    fail_report = true;
    pair.socket->ready = 0;
    is_status(selector->backend->arm(selector, pair.socket, ASOCKET_READ), ASOCKET_OK, "armed");
    test_peer_send(pair.peer, "x", 1);
    asocket_sleep(selector, 5);
    is_int(pair.socket->ready, ASOCKET__BOTH,
           "P10: EV_ERROR: both sides try, and a call will tell");
    fail_report = false;
    test_pair_close(&pair);
}

/* --- refusals --------------------------------------------------------------------------------- */

static void a_signal_while_registering(void)
{
    test_pair pair;

    if (!new_pair(&pair))
        return;
    pair.socket->ready = 0;
    refuse_change = EINTR;
    refused = (int64_t)EVFILT_READ;
    refuse_anyway = true;
    is_status(selector->backend->arm(selector, pair.socket, ASOCKET_READ), ASOCKET_OK,
              "EINTR of a change: it was made");
    refuse_change = 0;
    refuse_anyway = false;
    test_peer_send(pair.peer, "x", 1);
    asocket_sleep(selector, 5);
    is_int(pair.socket->ready, ASOCKET_READ, "and what comes is reported");
    test_pair_close(&pair);
}

static void no_memory_to_register(void)
{
    asocket_read_channel *in;
    char byte;
    test_pair pair;

    if (!new_pair(&pair))
        return;
    in = asocket_open_read_channel(pair.socket);
    refuse_change = ENOMEM;
    refused = (int64_t)EVFILT_READ;
    is_status(asocket_read(in, &byte, 1), ASOCKET_ENOMEM,
              "P7: a wait that cannot be begun says so");
    refuse_change = 0;
    test_peer_send(pair.peer, "x", 1);
    is_int(asocket_read(in, &byte, 1), 1, "P7: and the next one works");
    test_pair_close(&pair);
}

/* macOS: a pipe that lost its other end (EPIPE); devices without filters elsewhere. */
static void descriptors_without_filters(void)
{
    static const int errors[] = {EPIPE, EINVAL, ENODEV, EPERM};
    int ends[2];
    size_t i;

    if (pipe(ends))
        return;
    refused = (int64_t)EVFILT_READ;
    for (i = 0; i < sizeof errors / sizeof *errors; i++) {
        refuse_change = errors[i];
        is_int(asocket_wait_handle(selector, ends[0], ASOCKET_READ), ASOCKET_READ,
               "what kqueue refuses (%s) is tried", strerror(errors[i]));
    }
    refuse_change = EBADF;
    ok(asocket_wait_handle(selector, ends[0], ASOCKET_READ) < 0, "but not what is closed");
    refuse_change = 0;
    close(ends[0]);
    close(ends[1]);
}

static void waits_that_fail(void)
{
    refuse_wait = EINTR;
    is_int(selector->backend->wait(selector, 1000), 0, "EINTR: nothing was reported");
    refuse_wait = EFAULT;
    is_int(selector->backend->wait(selector, 1000), -1, "other errors: the wait was refused");
    refuse_wait = ENOMEM;
    is_status(asocket_sleep(selector, 2), ASOCKET_OK, "P10: a sleep goes on after that");
}

/* Some kernels refuse more than 100,000,000 seconds (EINVAL). */
static void long_waits(void)
{
    longest = 0;
    refuse_wait = EINTR;
    (void)selector->backend->wait(selector, INT64_MAX - 1);
    longest = 0;
    selector->backend->wake(selector);
    (void)selector->backend->wait(selector, INT64_MAX - 1);
    ok(longest > 3600 && longest <= 86400, "no wait is longer than a day: %ld s", (long)longest);
}

/* --- opening ---------------------------------------------------------------------------------- */

static asocket_selector_options options_here(void)
{
    asocket_selector_options options;

    memset(&options, 0, sizeof options);
    options.backend = ASOCKET_BACKEND_KQUEUE;
    return options;
}

static void *stop_soon(void *argument)
{
    struct timespec time = {0, 5000000};

    nanosleep(&time, NULL);
    asocket_stop((asocket_selector *)argument);
    return NULL;
}

/* NetBSD before 10, older OpenBSD. */
static void no_user_events(void)
{
    asocket_selector_options options = options_here();
    asocket_selector *made = NULL;
    int64_t start = test_clock();
    pthread_t thread;

    refuse_change = EINVAL;
    refused = (int64_t)EVFILT_USER;
    is_status(asocket_selector_open(&options, &made), ASOCKET_OK, "without EVFILT_USER");
    refuse_change = 0;
    if (!made)
        return;
    pthread_create(&thread, NULL, stop_soon, made);
    is_status(asocket_sleep(made, 20000), ASOCKET_ECANCELED, "another thread wakes by a pipe");
    ok(test_took(start, 5, 8000), "at once");
    pthread_join(thread, NULL);
    asocket_selector_destroy(made);
}

static void no_queue(void)
{
    asocket_selector_options options = options_here();
    asocket_selector *made = NULL;
    int before = test_open_descriptors();

    refuse_queue = EMFILE;
    is_status(asocket_selector_open(&options, &made), ASOCKET_EMFILE, "no kqueue, no selector");
    refuse_queue = 0;
    is_int(test_open_descriptors(), before, "P6: and nothing is left open");
    ok(!made, "of none");
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    if (selector->backend->id != ASOCKET_BACKEND_KQUEUE) {
        asocket_selector_destroy(selector);
        skip_all("this is about kqueue");
    }
    a_reset_is_remembered();
    an_end_of_writing_is_no_end_of_reading();
    a_report_of_another();
    a_broken_connection();
    a_report_of_an_error();
    a_signal_while_registering();
    no_memory_to_register();
    descriptors_without_filters();
    waits_that_fail();
    long_waits();
    no_user_events();
    no_queue();
    return test_end(selector);
}

#endif
