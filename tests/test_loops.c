/* test_loops.c - a selector inside the loops of others (poll, libuv, GLib), and what is theirs inside
   of ours. In each an echo server talks with a client that also waits for timers, while a thread
   posts; then nothing happens, and nothing must turn. */
#include "test.h"

#include <poll.h>
#include <pthread.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif

#if defined(__has_include)
#if __has_include(<uv.h>) && !defined(TEST_WITHOUT_UV)
#include <uv.h>
#define HAVE_UV 1
#endif
#if __has_include(<glib.h>) && !defined(TEST_WITHOUT_GLIB)
#include <glib-unix.h>
#define HAVE_GLIB 1
#endif
#endif
#ifndef HAVE_UV
#define HAVE_UV 0
#endif
#ifndef HAVE_GLIB
#define HAVE_GLIB 0
#endif

enum { ROUNDS = 30, POSTS = 100, IDLE = 150 };

static asocket_selector *selector;
static asocket *server;
static int echoed, early, posted; /* of the current world */
static bool talked;

static bool done(void)
{
    return talked && posted == POSTS;
}

/* --- what goes on in the selector -------------------------------------------------------------- */

static void echo(asocket_selector *s, void *argument)
{
    asocket *client = (asocket *)argument;
    asocket_read_channel *in = asocket_open_read_channel(client);
    asocket_write_channel *out = asocket_open_write_channel(client, ASOCKET_AUTO_FLUSH);
    char text[64];

    (void)s;
    while (asocket_read_line(in, text, sizeof text) >= 0)
        asocket_printf(out, "%s\n", text);
}

static void serve(asocket_selector *s, void *argument)
{
    (void)s, (void)argument;
    (void)asocket_serve(server, echo);
}

static void talk(asocket_selector *s, void *argument)
{
    asocket_address address;
    asocket *socket;
    asocket_read_channel *in;
    asocket_write_channel *out;
    char text[64];
    int i;

    (void)argument;
    (void)asocket_local_address(server, &address);
    socket = asocket_connect_address(asocket_tcp(s), &address);
    in = asocket_open_read_channel(socket);
    out = asocket_open_write_channel(socket, ASOCKET_AUTO_FLUSH);
    for (i = 0; i < ROUNDS; i++) {
        int64_t start = test_clock();

        asocket_printf(out, "hello %d\n", i);
        echoed += asocket_read_line(in, text, sizeof text) > 0 && atoi(text + 6) == i;
        asocket_sleep(s, 2);
        early += test_clock() - start < 2000000;
    }
    asocket_close(socket);
    talked = true;
}

static void count_post(asocket_selector *s, void *argument)
{
    (void)s, (void)argument;
    posted++;
}

static void *post_now_and_then(void *argument)
{
    static const struct timespec pause = {0, 300000};
    int i;

    (void)argument;
    for (i = 0; i < POSTS; i++) {
        asocket_post(selector, count_post, NULL);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static uint64_t turns(void)
{
    asocket_statistics statistics;

    asocket_stats(selector, &statistics);
    return statistics.turns;
}

/* A loop of others: turns until `finished` answers true, or some ms have passed (0: no limit). */
typedef void foreign_loop(bool (*finished)(void), int64_t limit);

static bool never(void)
{
    return false;
}

static void a_selector_works_inside(foreign_loop *run, const char *name)
{
    uint64_t before;
    pthread_t thread;

    echoed = early = posted = 0;
    talked = false;
    server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    asocket_launch(selector, serve, NULL);
    asocket_launch(selector, talk, NULL);
    pthread_create(&thread, NULL, post_now_and_then, NULL);
    run(done, 20000);
    pthread_join(thread, NULL);
    is_int(echoed, ROUNDS, "%s: every echo comes back", name);
    is_int(early, 0, "P11: %s: no timer fires early", name);
    is_int(posted, POSTS, "%s: each post of another thread runs, once", name);
    run(never, 50); /* what lingers ends */
    before = turns();
    run(never, IDLE);
    ok(turns() - before <= 5, "P11: %s: no turns when idle (%d in %d ms)", name,
       (int)(turns() - before), IDLE);
    asocket_close(server);
    asocket_join_all(selector);
}

/* --- poll(2) ----------------------------------------------------------------------------------- */

static int until(int64_t end, int64_t timeout)
{
    int64_t left = (end - test_clock()) / 1000000 + 1;

    return (int)(timeout < 0 || left < timeout ? left : timeout);
}

static void in_poll(bool (*finished)(void), int64_t limit)
{
    int64_t end = test_clock() + limit * 1000000;

    while (!finished() && test_clock() < end) {
        struct pollfd entry = {asocket_selector_handle(selector), POLLIN, 0};
        int64_t timeout = asocket_next_timeout(selector);

        if (poll(&entry, 1, until(end, timeout)) > 0 || timeout >= 0)
            asocket_poll(selector, 0);
    }
}

/* --- libuv ------------------------------------------------------------------------------------- */

#if HAVE_UV
static bool (*uv_finished)(void);
static uv_timer_t uv_due, uv_limit;

static void uv_turn(uv_loop_t *loop)
{
    asocket_poll(selector, 0);
    if (uv_finished())
        uv_stop(loop);
}

static void uv_ready(uv_poll_t *handle, int status, int events)
{
    (void)status, (void)events;
    uv_turn(handle->loop);
}

static void uv_timed(uv_timer_t *handle)
{
    uv_turn(handle->loop);
}

static void uv_over(uv_timer_t *handle)
{
    uv_stop(handle->loop);
}

static void uv_before_wait(uv_prepare_t *handle)
{
    int64_t timeout = asocket_next_timeout(selector);

    (void)handle;
    if (timeout >= 0)
        uv_timer_start(&uv_due, uv_timed, (uint64_t)timeout, 0);
    else
        uv_timer_stop(&uv_due);
}

static void uv_close_one(uv_handle_t *handle, void *argument)
{
    (void)argument;
    uv_close(handle, NULL);
}

static void in_uv(bool (*finished)(void), int64_t limit)
{
    uv_loop_t loop;
    uv_poll_t ready;
    uv_prepare_t prepare;

    uv_finished = finished;
    uv_loop_init(&loop);
    uv_poll_init(&loop, &ready, asocket_selector_handle(selector));
    uv_timer_init(&loop, &uv_due);
    uv_timer_init(&loop, &uv_limit);
    uv_prepare_init(&loop, &prepare);
    uv_poll_start(&ready, UV_READABLE, uv_ready);
    uv_prepare_start(&prepare, uv_before_wait);
    uv_timer_start(&uv_limit, uv_over, (uint64_t)limit, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_walk(&loop, uv_close_one, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
}
#endif

/* --- GLib -------------------------------------------------------------------------------------- */

#if HAVE_GLIB
typedef struct glib_source {
    GSource base;
    gpointer tag;
} glib_source;

static gboolean glib_prepare(GSource *source, gint *timeout)
{
    (void)source;
    *timeout = (gint)asocket_next_timeout(selector);
    return *timeout == 0;
}

static gboolean glib_check(GSource *source)
{
    return g_source_query_unix_fd(source, ((glib_source *)source)->tag) != 0 ||
           asocket_next_timeout(selector) == 0;
}

static gboolean glib_dispatch(GSource *source, GSourceFunc function, gpointer argument)
{
    (void)source, (void)function, (void)argument;
    asocket_poll(selector, 0);
    return G_SOURCE_CONTINUE;
}

static gboolean glib_over(gpointer argument)
{
    *(bool *)argument = true;
    return G_SOURCE_REMOVE;
}

static void in_glib(bool (*finished)(void), int64_t limit)
{
    static GSourceFuncs functions;
    GMainContext *context = g_main_context_new();
    GSource *source, *timer = g_timeout_source_new((guint)limit);
    bool over = false;

    functions.prepare = glib_prepare;
    functions.check = glib_check;
    functions.dispatch = glib_dispatch;
    source = g_source_new(&functions, sizeof(glib_source));
    ((glib_source *)source)->tag =
        g_source_add_unix_fd(source, asocket_selector_handle(selector), G_IO_IN);
    g_source_attach(source, context);
    g_source_set_callback(timer, glib_over, &over, NULL);
    g_source_attach(timer, context);
    while (!over && !finished())
        g_main_context_iteration(context, TRUE);
    g_source_destroy(source);
    g_source_destroy(timer);
    g_source_unref(source);
    g_source_unref(timer);
    g_main_context_unref(context);
}
#endif

/* --- theirs inside of ours --------------------------------------------------------------------- */

typedef struct waiting {
    int fd, events, result;
} waiting;

static void wait_for(asocket_selector *s, void *argument)
{
    waiting *w = (waiting *)argument;

    w->result = asocket_wait_handle(s, w->fd, w->events);
}

static void a_pipe_is_waited_for(void)
{
    waiting w = {0, ASOCKET_READ, 0};
    int ends[2];
    int64_t former;

    if (pipe(ends) < 0)
        return;
    w.fd = ends[0];
    asocket_launch(selector, wait_for, &w);
    asocket_sleep(selector, 2);
    is_int(w.result, 0, "a pipe without bytes is waited for");
    is_status(asocket_wait_handle(selector, ends[0], ASOCKET_READ), ASOCKET_EBUSY,
              "... by one at a time");
    if (write(ends[1], "x", 1) != 1)
        diag("no write");
    asocket_join_all(selector);
    is_int(w.result, ASOCKET_READ, "... until there are some");
    is_int(asocket_wait_handle(selector, ends[1], ASOCKET_WRITE), ASOCKET_WRITE,
           "its other end can be written to");
    if (read(ends[0], &w.fd, 1) != 1)
        diag("no read");
    former = asocket_set_deadline(selector, 5);
    is_status(asocket_wait_handle(selector, ends[0], ASOCKET_READ), ASOCKET_ETIMEDOUT,
              "P7: a deadline ends the wait");
    asocket_restore_deadline(selector, former);
    close(ends[1]);
    is_int(asocket_wait_handle(selector, ends[0], ASOCKET_READ), ASOCKET_READ, "so does its end");
    close(ends[0]);
}

#ifdef __linux__
static void *ring_later(void *argument)
{
    static const struct timespec pause = {0, 5000000};
    uint64_t one = 1;

    nanosleep(&pause, NULL);
    if (write(*(int *)argument, &one, sizeof one) != sizeof one)
        return argument;
    return NULL;
}

static void an_eventfd_is_waited_for(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int64_t start = test_clock();
    pthread_t thread;

    pthread_create(&thread, NULL, ring_later, &fd);
    is_int(asocket_wait_handle(selector, fd, ASOCKET_READ), ASOCKET_READ,
           "an eventfd that another thread writes to");
    ok(test_took(start, 5, 100), "... when it does");
    pthread_join(thread, NULL);
    close(fd);
}
#else
static void an_eventfd_is_waited_for(void)
{
    skip(2, "there is no eventfd");
}
#endif

#if HAVE_UV
static int uv_ticks, uv_rings;

static void uv_tick(uv_timer_t *timer)
{
    if (++uv_ticks == 10)
        uv_close((uv_handle_t *)timer, NULL);
}

static void uv_rang(uv_async_t *async)
{
    uv_rings++;
    uv_close((uv_handle_t *)async, NULL);
}

static void run_uv(asocket_selector *s, void *argument)
{
    uv_loop_t *loop = (uv_loop_t *)argument;

    while (uv_run(loop, UV_RUN_NOWAIT)) {
        int timeout = uv_backend_timeout(loop);
        int64_t former = asocket_set_deadline(s, timeout < 0 ? ASOCKET_FOREVER : timeout);

        (void)asocket_wait_handle(s, uv_backend_fd(loop), ASOCKET_READ);
        asocket_restore_deadline(s, former);
    }
}

static void *ring_uv(void *argument)
{
    uv_async_send((uv_async_t *)argument);
    return NULL;
}

static void the_loop_of_libuv_runs_in_ours(void)
{
    uint64_t before = turns();
    pthread_t thread;
    uv_loop_t loop;
    uv_timer_t timer;
    uv_async_t async;

    uv_loop_init(&loop);
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, uv_tick, 2, 2);
    uv_async_init(&loop, &async, uv_rang);
    asocket_launch(selector, run_uv, &loop);
    asocket_sleep(selector, 5);
    pthread_create(&thread, NULL, ring_uv, &async);
    asocket_join_all(selector);
    pthread_join(thread, NULL);
    is_int(uv_ticks, 10, "libuv's loop runs in a coroutine of ours: its timers,");
    is_int(uv_rings, 1, "... and wake-ups by other threads");
    ok(turns() - before < 100, "P11: ... without spinning (%d turns)", (int)(turns() - before));
    uv_loop_close(&loop);
}
#endif

/* ----------------------------------------------------------------------------------------------- */

static void inside_of_others(void)
{
    a_selector_works_inside(in_poll, "poll");
#if HAVE_UV
    a_selector_works_inside(in_uv, "libuv");
#else
    skip(4, "libuv is missing");
#endif
#if HAVE_GLIB
    a_selector_works_inside(in_glib, "GLib");
#else
    skip(4, "GLib is missing");
#endif
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    if (asocket_selector_handle(selector) == TEST_NO_HANDLE)
        skip(12, "this backend has no handle");
    else
        inside_of_others();
    a_pipe_is_waited_for();
    an_eventfd_is_waited_for();
#if HAVE_UV
    the_loop_of_libuv_runs_in_ours();
    uv_library_shutdown(); /* its descriptors, too */
#else
    skip(3, "libuv is missing");
#endif
    return test_end(selector);
}
