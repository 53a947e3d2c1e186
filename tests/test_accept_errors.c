/* Every error of accept(2) in turn: which ones skip a connection, which pause, which end the
   listener. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <sys/socket.h>

#ifdef __APPLE__
#define SEAM_accept , failing_accept
#define FLAGS(...)
#else
#define SEAM_accept4 , failing_accept
#define accept       accept4
#define FLAGS(...)   , __VA_ARGS__
#endif
static int failing_accept(int listener, struct sockaddr *address, socklen_t *size FLAGS(int flags));

#include "private.h"

static asocket_selector *selector;

/* --- the seam --------------------------------------------------------------------------------- */

static int fail_with;  /* errno */
static int fail_times; /* so many calls */
static int calls;      /* since fail() */

static int failing_accept(int listener, struct sockaddr *address, socklen_t *size FLAGS(int flags))
{
    calls++;
    if (fail_times > 0) {
        fail_times--;
        errno = fail_with;
        return -1;
    }
    return accept(listener, address, size FLAGS(flags));
}

static void fail(int error, int times)
{
    fail_with = error;
    fail_times = times;
    calls = 0;
}

enum { ALWAYS = 1000000000 };

/* --- a listener with one client that waits ---------------------------------------------------- */

typedef struct door {
    asocket *server, *other; /* other: one more socket of ours */
    int port, peer;
    uint64_t paused; /* accept_pauses when it was opened */
} door;

static uint64_t pauses(void)
{
    asocket_statistics statistics = {0, 0, 0, 0, 0, 0, 0, 0, 0};

    asocket_stats(selector, &statistics);
    return statistics.accept_pauses;
}

/* An accept that finds nobody ends it: the next pause is short again. */
static void shortage_is_over(door *d)
{
    fail(0, 0);
    asocket_set_timeout(d->other, ASOCKET_NO_WAIT);
    asocket_accept(d->other);
}

static bool door_open(door *d)
{
    asocket_address address;

    memset(d, 0, sizeof *d);
    fail(0, 0);
    d->server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    d->other = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    if (!d->server || asocket_local_address(d->server, &address) < 0)
        return ok(false, "a server can be bound: %s", asocket_error_message(selector));
    d->port = address.port;
    shortage_is_over(d);
    d->peer = test_peer_connect(d->port);
    d->paused = pauses();
    asocket_set_timeout(d->server, 5000);
    return true;
}

/* The next accept takes the client that waits. */
static bool door_lets_in(door *d)
{
    asocket *client = asocket_accept(d->server);
    asocket_address remote;
    struct sockaddr_in own;
    socklen_t length = sizeof own;
    bool same;

    memset(&own, 0, sizeof own);
    getsockname(d->peer, (struct sockaddr *)&own, &length);
    same = client && asocket_remote_address(client, &remote) == ASOCKET_OK &&
           remote.port == ntohs(own.sin_port);
    if (client)
        asocket_abort(client);
    return same;
}

static void door_shut(door *d)
{
    fail(0, 0);
    close(d->peer);
    asocket_close(d->other);
    asocket_close(d->server);
}

/* --- inside of a coroutine -------------------------------------------------------------------- */

typedef struct acceptor {
    asocket *server;
    int64_t deadline, started;
    int error;
    bool ended;
} acceptor;

static void accept_one(asocket_selector *owner, void *argument)
{
    acceptor *a = (acceptor *)argument;
    asocket *client;

    if (a->deadline)
        asocket_set_deadline(owner, a->deadline);
    a->started = test_clock();
    client = asocket_accept(a->server);
    a->error = client ? 0 : asocket_error(owner);
    a->ended = true;
    if (client)
        asocket_abort(client);
}

static asocket_job launch_acceptor(acceptor *a, asocket *server)
{
    memset(a, 0, sizeof *a);
    a->server = server;
    return asocket_launch(selector, accept_one, a);
}

/* --- errors of one connection ----------------------------------------------------------------- */

typedef struct error_name {
    int error;
    const char *name;
} error_name;

#define NAMED(error)  \
    {                 \
        error, #error \
    }

#ifndef ENONET
#define ENONET EPROTO
#endif

/* accept(2): already-pending network errors of the new socket, and a connection that is gone. */
static const error_name skipped[] = {NAMED(ECONNABORTED), NAMED(EPROTO),       NAMED(EINTR),
                                     NAMED(ENETDOWN),     NAMED(ENOPROTOOPT),  NAMED(EHOSTDOWN),
                                     NAMED(ENONET),       NAMED(EHOSTUNREACH), NAMED(EOPNOTSUPP),
                                     NAMED(ENETUNREACH),  NAMED(EPERM),        NAMED(ECONNRESET),
                                     NAMED(ETIMEDOUT)};
enum { SKIPPED = sizeof skipped / sizeof *skipped };

static void test_skipped(const error_name *row)
{
    door d;

    if (!door_open(&d))
        return;
    fail(row->error, 3);
    ok(door_lets_in(&d), "P9: three times %s, and the next connection is accepted", row->name);
    is_int(calls, 4, "P9: %s is skipped at once", row->name);
    is_int(pauses() - d.paused, 0, "P9: %s does not pause", row->name);
    door_shut(&d);
}

/* With ASOCKET_NO_WAIT a broken connection does not hide the next one. */
static void test_skipped_without_waiting(void)
{
    door d;

    if (!door_open(&d))
        return;
    asocket_set_timeout(d.server, ASOCKET_NO_WAIT);
    fail(ECONNABORTED, 3);
    ok(door_lets_in(&d), "P9: ASOCKET_NO_WAIT skips what is broken, too");
    door_shut(&d);
}

static void count_turns(asocket_selector *owner, void *argument)
{
    int *turns = (int *)argument;

    while (*turns < 100 && asocket_yield(owner) == ASOCKET_OK)
        ++*turns;
}

/* A storm of broken connections: the others run, and it can be ended. */
static void test_endless_skipping(void)
{
    acceptor a;
    asocket_job job;
    int turns = 0;
    door d;

    if (!door_open(&d))
        return;
    fail(ECONNABORTED, ALWAYS);
    job = launch_acceptor(&a, d.server);
    asocket_sleep(selector, 40);
    ok(!a.ended && calls > 100, "P9: in a storm of broken connections accepting goes on");
    ok(calls < 2000, "P9: but does not take the whole processor");
    asocket_join(selector, asocket_launch(selector, count_turns, &turns));
    is_int(turns, 100, "P11: others run meanwhile");
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ECANCELED, "P7: a cancel ends it");
    job = launch_acceptor(&a, d.server);
    a.deadline = 20;
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ETIMEDOUT, "P7: so does a deadline");
    ok(test_took(a.started, 20, 40), "P7: not early, and soon");
    job = launch_acceptor(&a, d.server);
    asocket_sleep(selector, 1);
    asocket_close(d.server);
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ECLOSED, "P8: so does a close");
    door_shut(&d);
}

/* --- out of something ------------------------------------------------------------------------- */

static const error_name pausing[] = {NAMED(EMFILE), NAMED(ENFILE), NAMED(ENOBUFS), NAMED(ENOMEM)};
enum { PAUSING = sizeof pausing / sizeof *pausing };

static void test_pausing(const error_name *row)
{
    int64_t start = test_clock();
    door d;

    if (!door_open(&d))
        return;
    fail(row->error, 3);
    ok(door_lets_in(&d), "P9: three times %s, and the connection is accepted", row->name);
    ok(test_took(start, 35, 100), "P9: %s pauses, longer each time", row->name);
    is_int(calls, 4, "P9: %s is tried again once after each pause", row->name);
    is_int(pauses() - d.paused, 3, "P9: pauses are counted");
    door_shut(&d);
}

/* A descriptor that somebody else gives back is found in less than 100 ms, however long it took. */
static void test_pause_stays_short(void)
{
    int64_t start = test_clock();
    door d;

    if (!door_open(&d))
        return;
    fail(EMFILE, 9);
    ok(door_lets_in(&d), "P9: nine times EMFILE, and the connection is accepted");
    ok(test_took(start, 450, 900), "P9: no pause is longer than 90 ms, nor does it spin");
    door_shut(&d);
}

/* Another socket is closed while accept pauses for long. */
static void test_pause_ends_with_a_close_of_ours(void)
{
    acceptor a;
    asocket_job job;
    int i;
    door d;

    if (!door_open(&d))
        return;
    fail(EMFILE, ALWAYS);
    job = launch_acceptor(&a, d.server);
    while (pauses() - d.paused < 7 && asocket_sleep(selector, 1) == ASOCKET_OK)
        continue; /* now it waits for 90 ms */
    ok(calls <= 7, "P9: it does not spin");
    fail(0, 0);
    asocket_close(d.other);
    for (i = 0; i < 20 && !a.ended; i++)
        asocket_yield(selector);
    ok(a.ended && a.error == 0, "P9: it tries again as soon as a socket of ours is closed");
    asocket_join(selector, job);
    door_shut(&d);
}

static void cancel_after(asocket_selector *owner, void *argument)
{
    asocket_job *job = (asocket_job *)argument;

    if (asocket_sleep(owner, 2500) == ASOCKET_OK)
        asocket_cancel(owner, *job);
}

/* The time-out is that of the whole wait, not of each pause. */
static void test_pause_times_out(void)
{
    acceptor a;
    asocket_job job, guard;
    door d;

    if (!door_open(&d))
        return;
    fail(ENFILE, ALWAYS);
    asocket_set_timeout(d.server, 1100);
    job = launch_acceptor(&a, d.server);
    guard = asocket_launch(selector, cancel_after, &job);
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ETIMEDOUT, "P7, P9: an accept that pauses times out");
    ok(test_took(a.started, 1100, 1200), "P7: not early, and soon");
    ok(calls >= 2 && calls <= 22, "P9: it tried less than 20 times a second");
    asocket_cancel(selector, guard);
    asocket_join(selector, guard);
    shortage_is_over(&d);
    ok(door_lets_in(&d), "P7: afterwards the connection is still there");
    door_shut(&d);
}

static void test_pause_is_ended(void)
{
    acceptor a;
    asocket_job job;
    door d;

    if (!door_open(&d))
        return;
    fail(ENOMEM, ALWAYS);
    job = launch_acceptor(&a, d.server);
    a.deadline = 30;
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ETIMEDOUT, "P7, P9: a deadline ends an accept that pauses");
    ok(test_took(a.started, 30, 50), "P7: not early, and soon");
    job = launch_acceptor(&a, d.server);
    asocket_sleep(selector, 5);
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ECANCELED, "P7, P9: so does a cancel");
    asocket_set_timeout(d.server, ASOCKET_NO_WAIT);
    ok(!asocket_accept(d.server) && asocket_error(selector) == ASOCKET_EAGAIN,
       "P7, P9: ASOCKET_NO_WAIT does not pause");
    asocket_set_timeout(d.server, ASOCKET_FOREVER);
    job = launch_acceptor(&a, d.server);
    asocket_sleep(selector, 5);
    asocket_close(d.server);
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ECLOSED, "P8, P9: so does a close");
    door_shut(&d);
}

/* Two listeners of one selector are out of descriptors; one is closed, and then another. */
static void test_two_listeners_pause(void)
{
    acceptor one, two;
    asocket_job first, second;
    asocket *spare = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    door d, e;
    int i;

    if (!door_open(&d) || !door_open(&e))
        return;
    fail(EMFILE, ALWAYS);
    first = launch_acceptor(&one, d.server);
    second = launch_acceptor(&two, e.server);
    while (pauses() - e.paused < 6 && asocket_sleep(selector, 1) == ASOCKET_OK)
        continue;
    fail(0, 0);
    asocket_close(spare);
    asocket_close(d.other);
    for (i = 0; i < 20 && !(one.ended && two.ended); i++)
        asocket_yield(selector);
    ok(one.ended && one.error == 0 && two.ended && two.error == 0,
       "P9: two closes of ours let two listeners go on");
    asocket_join(selector, first);
    asocket_join(selector, second);
    door_shut(&d);
    door_shut(&e);
}

/* One of them finds a descriptor by itself and gives it back: the other learns of that. */
static void test_one_of_two_goes_on(void)
{
    acceptor one, two;
    asocket_job first, second;
    door d, e;
    int i;

    if (!door_open(&d) || !door_open(&e))
        return;
    fail(EMFILE, 6);
    first = launch_acceptor(&one, d.server);
    second = launch_acceptor(&two, e.server);
    while (!one.ended && !two.ended && asocket_sleep(selector, 1) == ASOCKET_OK)
        continue; /* the other one's pause has just begun */
    for (i = 0; i < 20 && !(one.ended && two.ended); i++)
        asocket_yield(selector);
    ok(one.ended && one.error == 0 && two.ended && two.error == 0,
       "P9: what one listener gives back lets another one go on");
    asocket_join(selector, first);
    asocket_join(selector, second);
    door_shut(&d);
    door_shut(&e);
}

/* Asks again and again; after some times it lets the others run, inside of the call. */
static void ask_often(asocket_selector *owner, void *argument)
{
    asocket *server = (asocket *)argument;

    (void)owner;
    while (!asocket_is_closed(server))
        asocket_accept(server);
}

static void test_handle_is_kept_meanwhile(void)
{
    asocket_job job;
    bool used_again = false;
    door d;
    int i;

    if (!door_open(&d))
        return;
    fail(EMFILE, ALWAYS);
    asocket_set_timeout(d.server, ASOCKET_NO_WAIT);
    job = asocket_launch(selector, ask_often, d.server);
    asocket_yield(selector);
    asocket_close(d.server);
    for (i = 0; i < 1300; i++) {
        asocket *made = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);

        used_again = used_again || made == d.server;
        asocket_close(made);
    }
    ok(!used_again, "P8: a listener's memory is not used again while somebody is inside an accept");
    asocket_join(selector, job);
    door_shut(&d);
}

/* --- the others ------------------------------------------------------------------------------- */

/* Nothing there, though the loop was told so: it waits, and asks again. */
static void test_nothing_there(void)
{
    door d;

    if (!door_open(&d))
        return;
    fail(EAGAIN, 1);
    ok(door_lets_in(&d), "EAGAIN waits for a connection");
    is_int(calls, 2, "and asks again when there is one");
    is_int(pauses() - d.paused, 0, "and is no pause");
    door_shut(&d);
}

static const error_name ending[] = {NAMED(EBADF), NAMED(EINVAL), NAMED(ENOTSOCK)};
enum { ENDING = sizeof ending / sizeof *ending };

/* The descriptor is no listener any more: somebody closed it behind the library's back. */
static void test_ending(const error_name *row)
{
    door d;

    if (!door_open(&d))
        return;
    fail(row->error, ALWAYS);
    ok(!asocket_accept(d.server), "P9, P10: %s ends the accept", row->name);
    is_status(asocket_error(selector), ASOCKET_ECLOSED, "P9: %s means that it is closed",
              row->name);
    is_int(calls, 1, "P10: %s is not tried again", row->name);
    door_shut(&d);
}

int main(int argc, char **argv)
{
    size_t i;

    selector = test_selector(argc, argv);
    if (!selector)
        return 1;
    for (i = 0; i < SKIPPED; i++)
        test_skipped(&skipped[i]);
    test_skipped_without_waiting();
    test_endless_skipping();
    for (i = 0; i < PAUSING; i++)
        test_pausing(&pausing[i]);
    test_pause_stays_short();
    test_pause_ends_with_a_close_of_ours();
    test_pause_times_out();
    test_pause_is_ended();
    test_two_listeners_pause();
    test_one_of_two_goes_on();
    test_handle_is_kept_meanwhile();
    test_nothing_there();
    for (i = 0; i < ENDING; i++)
        test_ending(&ending[i]);
    return test_end(selector);
}
