/* scenarios.h - small programs that use the library over real sockets on loopback, each in a few
   milliseconds and with a deadline on everything. A scenario goes on as far as it can when a call
   fails, and leaves nothing behind. The list is at the end. */
#ifndef SCENARIOS_H
#define SCENARIOS_H

#include "scene.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/un.h>
#include <sys/wait.h>

#ifdef TEST_TLS
#include "scenarios_tls.h"
#endif

/* --- the scenarios ---------------------------------------------------------------------------- */

/* A selector comes and goes. */
static void play_create(scene *s)
{
    asocket_selector *selector = scene_selector(s);

    if (!selector)
        return;
    s->selector = selector;
    (void)went(s, "poll", asocket_poll(selector, 0), 0);
    right(asocket_next_timeout(selector) == ASOCKET_FOREVER, "a new selector has something to do");
    s->selector = NULL;
    asocket_selector_destroy(selector);
}

/* Both ends in one thread, no coroutine. */
static void play_echo(scene *s)
{
    if (!paired(s, tcp(s)))
        return;
    if (!wrote(s, s->client_out, "hello\n") || !reads(s, s->peer_in, "hello"))
        return;
    if (!went(s, "printf", asocket_printf(s->peer_out, "%s %d\r\n", "hello", 2), MAY_WRITE))
        return;
    (void)reads(s, s->client_in, "hello 2");
    (void)went(s, "close", asocket_close(s->client), 0);
    ends(s, s->peer_in);
    (void)went(s, "close", asocket_close(s->peer), 0);
    (void)went(s, "await_closed", asocket_await_closed(s->client), MAY_WAIT);
}

static void part_echo_server(scene *s)
{
    char line[100];

    if (!accepted(s))
        return;
    while (asocket_read_line(s->peer_in, line, sizeof line) >= 0)
        if (!wrote(s, s->peer_out, line) || !wrote(s, s->peer_out, "\n"))
            break;
    (void)asocket_close(s->peer);
}

static void part_echo_client(scene *s)
{
    if (!connected(s, tcp(s)))
        return;
    if (wrote(s, s->client_out, "one\n") && reads(s, s->client_in, "one") &&
        wrote(s, s->client_out, "two\nthree\n") && reads(s, s->client_in, "two") &&
        reads(s, s->client_in, "three"))
        s->done++;
    (void)asocket_close(s->client);
}

/* The same, a coroutine each. */
static void play_coroutines(scene *s)
{
    if (!listening(s, tcp(s)))
        return;
    (void)go(s, part_echo_server);
    (void)go(s, part_echo_client);
    (void)went(s, "run", asocket_run(s->selector), 0);
    right(s->done || !s->strict, "the client did not get its answers");
}

static void serve_one(asocket_selector *selector, void *argument)
{
    asocket *client = (asocket *)argument;
    asocket_read_channel *in = asocket_open_read_channel(client);
    asocket_write_channel *out = asocket_open_write_channel(client, ASOCKET_AUTO_FLUSH);
    char line[100];

    (void)asocket_set_deadline(selector, SCENE_TIME / 2);
    while (asocket_read_line(in, line, sizeof line) >= 0)
        if (asocket_printf(out, "%s\n", line) < 0)
            break;
}

static void part_serve(scene *s)
{
    failed(s, "serve", asocket_serve(s->server, serve_one), ASOCKET_ECLOSED, MAY_ACCEPT);
}

static void part_three_clients(scene *s)
{
    int i;

    for (i = 0; i < 3; i++) {
        if (connected(s, tcp(s)) && wrote(s, s->client_out, "hello\n"))
            (void)reads(s, s->client_in, "hello");
        (void)asocket_close(s->client);
        s->client = NULL;
    }
    (void)went(s, "close", asocket_close(s->server), 0);
}

/* asocket_serve, three clients one after the other, and the server is closed. */
static void play_serve(scene *s)
{
    if (!listening(s, tcp(s)))
        return;
    (void)go(s, part_serve);
    (void)go(s, part_three_clients);
    (void)join_all(s);
}

static void part_answer_at_the_end(scene *s)
{
    if (bulk_read(s, s->peer_in, 1000, 0) && wrote(s, s->peer_out, "got it all\n"))
        (void)went(s, "finish", asocket_finish(s->peer_out), MAY_WRITE);
}

static void part_ask_and_finish(scene *s)
{
    if (!bulk_write(s, s->client_out, 3000, 1000))
        return;
    if (!went(s, "finish", asocket_finish(s->client_out), MAY_WRITE))
        return;
    failed(s, "write", asocket_write_byte(s->client_out, 1), ASOCKET_ECLOSED, MAY_WRITE);
    if (reads(s, s->client_in, "got it all"))
        ends(s, s->client_in);
    right(!s->strict || s->received == s->sent, "half-close lost bytes");
}

/* One side is ended, the other goes on. */
static void play_half_close(scene *s)
{
    if (!paired(s, tcp(s)))
        return;
    (void)go(s, part_answer_at_the_end);
    (void)go(s, part_ask_and_finish);
    (void)join_all(s);
    (void)went(s, "shutdown", asocket_shutdown(s->peer, ASOCKET_READ), MAY_WRITE);
    ends(s, s->peer_in);
    (void)went(s, "shutdown", asocket_shutdown(s->peer, ASOCKET_READ | ASOCKET_WRITE), MAY_WRITE);
}

static void part_read_until_cancelled(scene *s)
{
    char byte;

    failed(s, "read", asocket_read(s->peer_in, &byte, 1), ASOCKET_ECANCELED, MAY_READ);
    s->done++;
}

static void part_accept_until_cancelled(scene *s)
{
    asocket *socket = keep(s, asocket_accept(s->server));

    failed(s, "accept", socket ? 0 : asocket_error(s->selector), ASOCKET_ECANCELED, MAY_ACCEPT);
    s->done++;
}

static void part_sleep_until_cancelled(scene *s)
{
    failed(s, "sleep", asocket_sleep(s->selector, ASOCKET_FOREVER), ASOCKET_ECANCELED, MAY_WAIT);
    s->done++;
}

static void part_parent(scene *s)
{
    bool sleeper = go(s, part_sleep_until_cancelled) != 0;

    (void)go(s, part_accept_until_cancelled);
    if (sleeper)
        failed(s, "join_all", asocket_join_all(s->selector), ASOCKET_ECANCELED, MAY_WAIT);
    else
        (void)join_all(s); /* nobody, or one whose accept has failed */
    s->done++;
}

/* Coroutines that wait for different things are cancelled; the connection is whole afterwards. */
static void play_cancel(scene *s)
{
    asocket_job reader, parent;

    if (!paired(s, tcp(s)))
        return;
    reader = go(s, part_read_until_cancelled);
    parent = go(s, part_parent);
    (void)nap(s, 1);
    (void)went(s, "cancel", asocket_cancel(s->selector, reader), 0);
    (void)went(s, "join", asocket_join(s->selector, reader), MAY_WAIT);
    (void)went(s, "cancel", asocket_cancel(s->selector, parent), 0);
    if (!join_all(s))
        return;
    right(!s->strict || s->done == 4, "not all were cancelled");
    if (wrote(s, s->client_out, "after\n"))
        (void)reads(s, s->peer_in, "after");
}

/* Time-outs and deadlines end waits; what was being waited for still works. */
static void play_deadline(scene *s)
{
    int64_t former;
    char byte;

    if (!paired(s, tcp(s)))
        return;
    (void)went(s, "set_timeout", asocket_set_timeout(s->peer, 20), MAY(ECLOSED));
    failed(s, "read", asocket_read(s->peer_in, &byte, 1), ASOCKET_ETIMEDOUT, MAY_READ);
    (void)went(s, "set_timeout", asocket_set_timeout(s->peer, ASOCKET_NO_WAIT), MAY(ECLOSED));
    failed(s, "read", asocket_read(s->peer_in, &byte, 1), ASOCKET_EAGAIN, MAY_READ);
    (void)went(s, "set_timeout", asocket_set_timeout(s->peer, 0), MAY(ECLOSED));
    former = asocket_set_deadline(s->selector, 20);
    failed(s, "read", asocket_read(s->peer_in, &byte, 1), ASOCKET_ETIMEDOUT, MAY_READ);
    failed(s, "sleep", asocket_sleep(s->selector, 1000), ASOCKET_ETIMEDOUT, MAY_WAIT);
    asocket_restore_deadline(s->selector, former);
    (void)went(s, "sleep", asocket_sleep_ns(s->selector, 1500000), MAY_WAIT);
    if (wrote(s, s->client_out, "after\n"))
        (void)reads(s, s->peer_in, "after");
}

static void part_read_slowly(scene *s)
{
    (void)bulk_read(s, s->peer_in, 8000, 2);
}

/* A close with more to send than the kernel takes: it is sent all the same. */
static void play_close_pending(scene *s)
{
    char bytes[1000];
    int i;

    if (!paired(s, narrow(s)))
        return;
    (void)asocket_set_timeout(s->client, ASOCKET_NO_WAIT);
    for (s->sent = 0; s->sent < 1000000; s->sent += (int64_t)sizeof bytes) {
        for (i = 0; i < (int)sizeof bytes; i++)
            bytes[i] = bulk_byte(s->sent + i);
        if (asocket_write(s->client_out, bytes, sizeof bytes) < 0)
            break;
    }
    (void)went(s, "close", asocket_close(s->client), 0);
    (void)go(s, part_read_slowly);
    (void)join_all(s);
    right(!s->strict || s->received == s->sent, "P2: what was written before the close is lost");
    (void)went(s, "close", asocket_close(s->peer), 0);
    (void)went(s, "await_closed", asocket_await_closed(s->client), MAY_WAIT);
}

static void part_read_until_reset(scene *s)
{
    char byte;

    failed(s, "read", asocket_read(s->peer_in, &byte, 1), ASOCKET_ECONNRESET, MAY_READ);
    s->done++;
}

/* A reset, seen by one who waits, and by one who writes. */
static void play_abort(scene *s)
{
    ptrdiff_t written;

    if (!paired(s, tcp(s)))
        return;
    (void)go(s, part_read_until_reset);
    (void)nap(s, 1);
    if (wrote(s, s->peer_out, "unread")) /* so that it is a reset even if the system refuses to */
        (void)went(s, "flush", asocket_flush(s->peer_out), MAY_WRITE);
    (void)went(s, "abort", asocket_abort(s->client), 0);
    (void)join_all(s);
    written = asocket_write_string(s->peer_out, "too late");
    if (written >= 0) /* in a coroutine it is only kept */
        written = asocket_flush(s->peer_out);
    failed(s, "write", written, ASOCKET_ECONNRESET, MAY_WRITE);
    (void)went(s, "abort", asocket_abort(s->peer), 0);
    (void)went(s, "await_closed", asocket_await_closed(s->peer), MAY_WAIT);
}

enum { LARGE = 120000 };

static void part_write_large(scene *s)
{
    char bytes[LARGE];
    int i;

    for (i = 0; i < LARGE; i++)
        bytes[i] = bulk_byte(i);
    if (went(s, "write", asocket_write(s->client_out, bytes, LARGE), MAY_WRITE))
        s->sent = LARGE;
    (void)went(s, "close", asocket_close(s->client), 0);
}

/* More than fits anywhere, for a reader who takes its time. */
static void play_large(scene *s)
{
    if (!paired(s, narrow(s)))
        return;
    (void)go(s, part_write_large);
    (void)go(s, part_read_slowly);
    (void)join_all(s);
    right(!s->strict || s->received == LARGE, "a large write did not arrive whole");
}

static void part_write_small(scene *s)
{
    if (bulk_write(s, s->client_out, 60000, 600))
        (void)went(s, "flush", asocket_flush(s->client_out), MAY_WRITE);
    (void)went(s, "close", asocket_close(s->client), 0);
}

/* Many small writes that fill the ring, for the same reader. */
static void play_small(scene *s)
{
    if (!paired(s, narrow(s)))
        return;
    (void)go(s, part_write_small);
    (void)go(s, part_read_slowly);
    (void)join_all(s);
    right(!s->strict || (s->received == 60000 && s->sent == 60000), "small writes were lost");
}

/* The second connection of a proxy: its own client and peer. */
static bool paired_again(scene *s, scene *second)
{
    *second = *s;
    second->kept_count = 0;
    if (!listening(second, tcp(s)) || !connected(second, tcp(s)) || !accepted(second))
        return false;
    return true;
}

static scene second_pair; /* of play_copy */

static void part_write_bulk(scene *s)
{
    if (bulk_write(s, s->client_out, 50000, 10000))
        (void)went(s, "finish", asocket_finish(s->client_out), MAY_WRITE);
}

static void part_copy(scene *s)
{
    int64_t copied = asocket_copy(s->peer_in, second_pair.client_out, ASOCKET_FOREVER);

    if (went(s, "copy", copied, MAY_READ))
        right(!s->strict || copied == 50000, "not all was copied");
    (void)asocket_close(second_pair.client);
    (void)asocket_close(s->peer);
}

static void part_read_copied(scene *s)
{
    (void)s;
    (void)bulk_read(&second_pair, second_pair.peer_in, 3000, 1);
}

/* From one connection to another. */
static void play_copy(scene *s)
{
    memset(&second_pair, 0, sizeof second_pair);
    if (paired(s, tcp(s)) && paired_again(s, &second_pair)) {
        (void)go(s, part_write_bulk);
        (void)go(s, part_copy);
        (void)go(s, part_read_copied);
        (void)join_all(s);
        right(!s->strict || second_pair.received == 50000, "not all that was copied arrived");
    }
    scene_close(&second_pair);
}

static void part_pipe_writer(scene *s)
{
    if (bulk_write(s, s->client_out, 20000, 500))
        (void)went(s, "finish", asocket_finish(s->client_out), MAY_WRITE);
    else
        (void)asocket_cancel_write(s->client_out, ASOCKET_EIO);
}

static void part_pipe_reader(scene *s)
{
    if (!bulk_read(s, s->peer_in, 700, 0))
        (void)asocket_cancel_read(s->peer_in);
    right(!s->strict || s->received == 20000, "a pipe lost bytes");
}

/* A pipe between two coroutines, and one that is given up. */
static void play_pipe(scene *s)
{
    char byte;

    if (!went(s, "pipe", asocket_pipe(s->selector, 1000, &s->peer_in, &s->client_out), MAY_LAUNCH))
        return;
    if (!go(s, part_pipe_writer))
        (void)asocket_cancel_write(s->client_out, ASOCKET_EIO);
    if (!go(s, part_pipe_reader))
        (void)asocket_cancel_read(s->peer_in);
    (void)join_all(s);
    if (!went(s, "pipe", asocket_pipe(s->selector, 0, &s->peer_in, &s->client_out), MAY_LAUNCH))
        return;
    (void)wrote(s, s->client_out, "gone");
    (void)went(s, "cancel_write", asocket_cancel_write(s->client_out, ASOCKET_ECONNRESET), 0);
    failed(s, "read", asocket_read(s->peer_in, &byte, 1), ASOCKET_ECONNRESET, MAY_READ);
    (void)asocket_cancel_read(s->peer_in);
}

static void part_print(scene *s)
{
    int i;

    for (i = 0; i < 3; i++)
        if (!went(s, "printf", asocket_printf(s->client_out, "%0*d\n", 3000 + 2000 * i, 7),
                  MAY_WRITE))
            break;
    (void)went(s, "flush", asocket_flush(s->client_out), MAY_WRITE);
    (void)asocket_close(s->client);
}

static void part_read_printed(scene *s)
{
    static char line[10000];
    int i;

    for (i = 0; i < 3; i++) {
        ptrdiff_t length = asocket_read_line(s->peer_in, line, sizeof line);

        if (!went(s, "read_line", length, MAY_READ))
            return;
        right(length == 3000 + 2000 * i || s->client_out == NULL || !s->strict,
              "a printed line has another length");
    }
    ends(s, s->peer_in);
}

/* Lines longer than the channel. */
static void play_printf(scene *s)
{
    if (!paired(s, tcp(s)))
        return;
    (void)go(s, part_print);
    (void)go(s, part_read_printed);
    (void)join_all(s);
}

/* Every reading call once, of numbers and texts that come in pieces. */
static void part_read_frames(scene *s)
{
    char text[100];
    const char *bytes;
    uint32_t number = 0;
    uint64_t large = 0;

    if (!went(s, "read_u32be", asocket_read_u32be(s->peer_in, &number), MAY_READ) ||
        !went(s, "read_u64le", asocket_read_u64le(s->peer_in, &large), MAY_READ))
        return;
    right(number == 0x01020304 && large == 5, "a number arrived as another one");
    if (!went(s, "read_until", asocket_read_until(s->peer_in, "--", 2, text, sizeof text),
              MAY_READ))
        return;
    right(!strcmp(text, "head"), "read_until gave another text");
    if (!went(s, "peek", asocket_peek(s->peer_in, &bytes, 4), MAY_READ))
        return;
    right(!memcmp(bytes, "body", 4), "peek gave other bytes");
    if (!went(s, "consume", asocket_consume(s->peer_in, 2), MAY_READ) ||
        !went(s, "discard", asocket_discard(s->peer_in, 2), MAY_READ) ||
        !went(s, "discard_until", asocket_discard_until(s->peer_in, ";", 1), MAY_READ) ||
        !went(s, "read_full", asocket_read_full(s->peer_in, text, 3), MAY_READ))
        return;
    right(!memcmp(text, "end", 3), "read_full gave other bytes");
    s->done++;
}

static void part_write_frames(scene *s)
{
    char *space;

    if (!went(s, "write_u32be", asocket_write_u32be(s->client_out, 0x01020304), MAY_WRITE) ||
        !went(s, "write_u64le", asocket_write_u64le(s->client_out, 5), MAY_WRITE) || !nap(s, 1) ||
        !wrote(s, s->client_out, "head-") || !nap(s, 1) || !wrote(s, s->client_out, "-bod") ||
        !nap(s, 1) || !wrote(s, s->client_out, "y, and more;e"))
        return;
    if (!went(s, "reserve", asocket_reserve(s->client_out, &space, 2), MAY_WRITE))
        return;
    memcpy(space, "nd", 2);
    if (went(s, "commit", asocket_commit(s->client_out, 2), MAY_WRITE))
        (void)went(s, "flush", asocket_flush(s->client_out), MAY_WRITE);
}

static void play_frames(scene *s)
{
    if (!paired(s, tcp(s)))
        return;
    (void)go(s, part_read_frames);
    (void)go(s, part_write_frames);
    (void)join_all(s);
    right(s->done || !s->strict, "not all frames were read");
}

static struct posts { /* outlive a scenario: without memory for coroutines they run later */
    int accepted, run;
} posts;

static void posted(asocket_selector *selector, void *argument)
{
    (void)selector;
    (void)argument;
    posts.run++;
}

static void post_some(scene *s)
{
    int i;

    for (i = 0; i < 3; i++) {
        int status = asocket_post(s->selector, posted, NULL);

        posts.accepted += status == 0;
        if (status && (status != ASOCKET_ENOMEM || s->strict))
            seam_complain("post answered %d", status);
    }
}

/* Runs the loop until all posts have run. */
static void posts_wait(scene *s)
{
    int turns;

    for (turns = 0; posts.run < posts.accepted && turns < 100; turns++)
        (void)went(s, "poll", asocket_poll(s->selector, 10), MAY(ECANCELED));
}

/* When nothing fails any more: each post ran, and no more than once. */
static void posts_after(scene *s)
{
    posts_wait(s);
    if (posts.run != posts.accepted)
        seam_complain("of %d posts %d were run", posts.accepted, posts.run);
    memset(&posts, 0, sizeof posts);
}

/* Posts of the same thread, and asocket_stop. */
static void play_post(scene *s)
{
    post_some(s);
    asocket_stop(s->selector);
    right(asocket_poll(s->selector, ASOCKET_FOREVER) == ASOCKET_ECANCELED, "stop was not noticed");
    posts_wait(s);
}

static void *poster_main(void *argument)
{
    scene *s = (scene *)argument;

    post_some(s);
    usleep(1000);
    post_some(s);
    asocket_stop(s->selector);
    return NULL;
}

/* Posts of another thread, while the loop waits without end. */
static void play_thread(scene *s)
{
    pthread_t thread;

    asocket_restore_deadline(s->selector, ASOCKET_NEVER);
    if (pthread_create(&thread, NULL, poster_main, s)) {
        seam_complain("no thread");
        return;
    }
    while (asocket_poll(s->selector, ASOCKET_FOREVER) != ASOCKET_ECANCELED) {
    }
    (void)pthread_join(thread, NULL);
    posts_wait(s);
}

/* A plain socket of the system, bound to a port; nobody listens there. */
static int plain_bound(scene *s, int *port)
{
    struct sockaddr_in at;
    socklen_t size = sizeof at;
    int fd = keep_handle(s, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = here_native();
    if (bind(fd, (struct sockaddr *)&at, sizeof at) ||
        getsockname(fd, (struct sockaddr *)&at, &size))
        seam_complain("a plain socket cannot be bound");
    *port = ntohs(at.sin_port);
    return fd;
}

/* The first address refuses, the second one answers. */
static void play_any(scene *s)
{
    asocket_address addresses[3];
    int closed;

    (void)plain_bound(s, &closed);
    if (!listening(s, tcp(s)))
        return;
    addresses[0] = asocket_address_of(here_ip(), (uint16_t)closed);
    addresses[1] = asocket_address_of(here_ip(), (uint16_t)s->port);
    addresses[2] = addresses[0];
    s->client = keep(s, asocket_connect_any(tcp(s), addresses, 3));
    if (!got(s, "connect_any", s->client != NULL, MAY_CONNECT) || !accepted(s))
        return;
    if (wrote(s, s->peer_out, "hello\n")) {
        s->client_in = asocket_open_read_channel(s->client);
        (void)reads(s, s->client_in, "hello");
    }
}

/* Nobody answers; a local address; "localhost"; a time that is too short. */
static void play_refused(scene *s)
{
    asocket_builder builder = tcp(s);
    asocket *socket;
    int closed;

    (void)plain_bound(s, &closed);
    builder.connect_timeout = 500;
    builder.local = asocket_address_of(here_ip(), 0);
    socket = keep(s, asocket_connect(builder, here(), closed));
    failed(s, "connect", socket ? 0 : asocket_error(s->selector), ASOCKET_ECONNREFUSED,
           MAY_CONNECT | MAY(EADDRINUSE) | MAY(EACCES));
    if (!listening(s, tcp(s)) || !connected(s, builder))
        return;
    socket = keep(s, asocket_connect(tcp(s), "localhost", s->port)); /* nobody, or a stranger */
    if (!socket)
        (void)went(s, "connect", s->strict ? 0 : asocket_error(s->selector), MAY_CONNECT);
    builder.connect_timeout = ASOCKET_NO_WAIT;
    socket = keep(s, asocket_connect(builder, here(), s->port));
    if (!socket)
        failed(s, "connect", asocket_error(s->selector), ASOCKET_EAGAIN,
               MAY_CONNECT | MAY(EADDRINUSE) | MAY(EACCES));
}

static void part_wait_handle(scene *s)
{
    int events = asocket_wait_handle(s->selector, s->handles[0], ASOCKET_READ);

    if (went(s, "wait_handle", events, MAY_HANDLE))
        right(events == ASOCKET_READ, "wait_handle gave other events");
}

static void part_write_handle(scene *s)
{
    int events;

    if (!nap(s, 2))
        return;
    events = asocket_wait_handle(s->selector, s->handles[1], ASOCKET_WRITE);
    if (went(s, "wait_handle", events, MAY_HANDLE))
        right(events == ASOCKET_WRITE, "wait_handle gave other events");
    if (write(s->handles[1], "x", 1) != 1)
        seam_complain("a plain pipe does not work");
}

/* Descriptors that are not the library's: a pipe, and a plain file. */
static void play_handle(scene *s)
{
    int ends_of_pipe[2], events;

    if (pipe2(ends_of_pipe, O_CLOEXEC)) {
        seam_complain("no pipe");
        return;
    }
    (void)keep_handle(s, ends_of_pipe[0]);
    (void)keep_handle(s, ends_of_pipe[1]);
    (void)go(s, part_wait_handle);
    (void)go(s, part_write_handle);
    (void)join_all(s);
    events = asocket_wait_handle(
        s->selector, keep_handle(s, open("/proc/self/exe", O_RDONLY | O_CLOEXEC)), ASOCKET_READ);
    (void)went(s, "wait_handle", events, MAY_HANDLE);
}

static void part_one_of_many(scene *s)
{
    if (nap(s, 1))
        s->done++;
}

/* More coroutines than one mapping holds stacks for. */
static void play_many(scene *s)
{
    int i;

    for (i = 0; i < 80; i++)
        (void)go(s, part_one_of_many);
    (void)join_all(s);
    right(!s->strict || s->done == 80, "not all coroutines ran");
}

static void on_connection(asocket_selector *selector, void *argument)
{
    scene *s = (scene *)argument;

    (void)selector;
    (void)asocket_set_timeout(s->server, ASOCKET_NO_WAIT);
    s->peer = keep(s, asocket_accept(s->server));
    s->done |= 1;
}

static void on_bytes(asocket_selector *selector, void *argument)
{
    scene *s = (scene *)argument;

    (void)selector;
    s->done |= 2;
}

static void turns_until(scene *s, int done)
{
    int turns;

    for (turns = 0; !(s->done & done) && turns < 200; turns++)
        (void)went(s, "poll", asocket_poll(s->selector, 10), 0);
    right(!s->strict || (s->done & done), "on_ready did not call");
}

/* Callbacks instead of coroutines. */
static void play_ready(scene *s)
{
    const int on = MAY(EINVAL) | MAY(ENOMEM) | MAY(ECLOSED);

    if (!listening(s, tcp(s)))
        return;
    (void)asocket_poll(s->selector, 0);
    if (!went(s, "on_ready", asocket_on_ready(s->server, ASOCKET_READ, on_connection, s), on))
        return;
    if (!connected(s, tcp(s)))
        return;
    turns_until(s, 1);
    if (!s->peer)
        return;
    s->peer_in = asocket_open_read_channel(s->peer);
    if (!went(s, "on_ready", asocket_on_ready(s->peer, ASOCKET_READ, on_bytes, s), on))
        return;
    /* No timer runs: this wait has no end of its own, and what refuses it must not be asked at once
       again. */
    if (wrote(s, s->client_out, "hello\n") &&
        went(s, "flush", asocket_flush(s->client_out), MAY_WRITE) && !(s->done & 2))
        (void)went(s, "poll", asocket_poll(s->selector, ASOCKET_FOREVER), 0);
    turns_until(s, 2);
    if (seam_swarming() &&
        (s->done & 2)) /* the server's time-out: "not yet" and no report would end it */
        (void)asocket_set_timeout(s->peer, 0);
    (void)reads(s, s->peer_in, "hello");
}

static asocket *adopted(scene *s, int fd)
{
    asocket *socket = keep(s, asocket_adopt(tcp(s), fd));

    if (!got(s, "adopt", socket != NULL, MAY_ADOPT))
        (void)keep_handle(s, fd); /* it stays ours */
    return socket;
}

/* A listener and a connection that were made by others. */
static void play_adopt(scene *s)
{
    struct sockaddr_in to;
    int listener, fd;

    listener = plain_bound(s, &s->port);
    s->handle_count--;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_port = htons((uint16_t)s->port);
    to.sin_addr.s_addr = here_native();
    if (listen(listener, 5) || connect(fd, (struct sockaddr *)&to, sizeof to))
        seam_complain("plain sockets cannot be connected");
    s->server = adopted(s, listener);
    s->client = adopted(s, fd);
    if (!s->server || !s->client || !accepted(s))
        return;
    s->client_in = asocket_open_read_channel(s->client);
    if (wrote(s, s->peer_out, "hello\n"))
        (void)reads(s, s->client_in, "hello");
}

/* Every option that the builder has for TCP. */
static asocket_builder with_options(scene *s)
{
    asocket_builder builder = tcp(s);

    builder.reuse_port = builder.keep_alive = 1;
    builder.keep_alive_idle = builder.keep_alive_interval = 30;
    builder.keep_alive_count = 3;
    builder.type_of_service = 8;
    builder.ttl = 10;
    builder.send_buffer = builder.receive_buffer = 65536;
    builder.timeout = 1000;
    return builder;
}

/* Options, IPv6 with IPv4 inside, addresses with a zone. */
static void play_options(scene *s)
{
    asocket_builder builder = with_options(s);
    asocket_address address;
    char native[128];
    int value = 0;

    s->server = keep(s, asocket_bind(builder, NULL, 0));
    if (!got(s, "bind", s->server != NULL, MAY_BIND))
        return;
    (void)asocket_local_address(s->server, &address);
    s->port = address.port;
    if (!connected(s, builder) || !accepted(s))
        return;
    if (went(s, "local_address", asocket_local_address(s->peer, &address), MAY_ADDRESS))
        right(address.port == s->port, "an accepted socket has another port");
    if (went(s, "set_option", asocket_set_option(s->peer, ASOCKET_OPTION_TTL, 7), MAY_OPTION) &&
        went(s, "get_option", asocket_get_option(s->peer, ASOCKET_OPTION_TTL, &value), MAY_OPTION))
        right(value == 7, "an option has another value");
    if (asocket_address_parse(&address, "[fe80::1%lo]:80") == 0) {
        int size = asocket_address_to_native(&address, native, sizeof native);

        right(size > 0 || (size == ASOCKET_EADDRNOTAVAIL && !s->strict), "no such zone");
    }
}

static void answer_once(asocket_selector *selector, void *argument)
{
    asocket_read_channel *in = asocket_open_read_channel((asocket *)argument);
    asocket_write_channel *out =
        asocket_open_write_channel((asocket *)argument, ASOCKET_AUTO_FLUSH);
    char line[100];

    (void)asocket_set_deadline(selector, SCENE_TIME / 2);
    if (asocket_read_line(in, line, sizeof line) >= 0)
        (void)asocket_printf(out, "%s\n", line);
}

static void part_launch_answers(scene *s)
{
    asocket_job job;

    s->peer = asocket_accept(s->server);
    if (!got(s, "accept", s->peer != NULL, MAY_ACCEPT))
        return;
    job = asocket_launch_socket(s->selector, answer_once, s->peer);
    if (!got(s, "launch_socket", job != 0, MAY_LAUNCH))
        right(asocket_is_closed(s->peer), "a socket whose launch failed is open");
}

/* Sockets that belong to coroutines, by address; another capacity. */
static void play_launch(scene *s)
{
    asocket_address address = asocket_address_of(here_ip(), 0);

    s->server = keep(s, asocket_bind_address(tcp(s), &address));
    if (!got(s, "bind_address", s->server != NULL, MAY_BIND) ||
        !went(s, "local_address", asocket_local_address(s->server, &address), MAY_ADDRESS) ||
        !go(s, part_launch_answers))
        return;
    s->client = keep(s, asocket_connect_address(tcp(s), &address));
    if (!got(s, "connect_address", s->client != NULL, MAY_CONNECT) ||
        !went(s, "set_capacity", asocket_set_capacity(s->client, 9000), MAY(ENOMEM)))
        return;
    s->client_in = asocket_open_read_channel(s->client);
    s->client_out = asocket_open_write_channel(s->client, 0);
    if (wrote(s, s->client_out, "hello\n") &&
        went(s, "flush", asocket_flush(s->client_out), MAY_WRITE) &&
        reads(s, s->client_in, "hello"))
        ends(s, s->client_in);
}

static void release_counted(void *value)
{
    --*(int *)value;
}

/* Something that lives as long as the selector. */
static void play_attach(scene *s)
{
    static const char keys[2] = "k";
    static int kept;
    asocket_selector *selector = scene_selector(s);
    int i, made;

    if (!selector)
        return;
    s->selector = selector;
    for (i = made = kept = 0; i < 2; i++) {
        int status = asocket_attach(selector, &keys[i], &kept, release_counted);

        if (went(s, "attach", status, MAY_LAUNCH))
            made++;
        right((asocket_attached(selector, &keys[i]) == &kept) == (status == 0),
              "what was attached is not found");
    }
    kept = made;
    s->selector = NULL;
    asocket_selector_destroy(selector);
    right(kept == 0, "not all that was attached was released, once");
}

static void part_never_ends(scene *s)
{
    (void)asocket_set_deadline(s->selector, ASOCKET_FOREVER);
    failed(s, "sleep", asocket_sleep(s->selector, ASOCKET_FOREVER), ASOCKET_ECANCELED, MAY_WAIT);
    (void)wrote(s, s->client_out, "goodbye\n");
}

/* Until something ends it, which need not be the same thing each time. */
static void part_read_on(scene *s)
{
    char bytes[1000];
    ptrdiff_t count = 1;

    while (count > 0)
        count = asocket_read(s->peer_in, bytes, sizeof bytes);
    s->done++;
}

static void busy_work(scene *s)
{
    static const char bytes[3000];
    asocket_read_channel *in;
    asocket_write_channel *out;

    if (!paired(s, narrow(s)))
        return;
    (void)asocket_set_timeout(s->client, ASOCKET_NO_WAIT);
    while (asocket_write(s->client_out, bytes, sizeof bytes) >= 0) {
    }
    (void)go(s, part_never_ends);
    (void)go(s, part_accept_until_cancelled);
    (void)go(s, part_read_on);
    if (asocket_pipe(s->selector, 0, &in, &out) == 0)
        (void)wrote(s, out, "in a pipe");
    (void)asocket_poll(s->selector, 0);
}

/* Destroyed in the midst of everything: coroutines wait, bytes are not sent, nothing is closed. */
static void play_destroy(scene *s)
{
    s->selector = scene_selector(s);
    if (!s->selector)
        return;
    (void)asocket_set_deadline(s->selector, SCENE_TIME);
    busy_work(s);
    posts.accepted += asocket_post(s->selector, posted, NULL) == 0;
    asocket_selector_destroy(s->selector);
    s->selector = NULL;
    s->kept_count = 0;
    if (posts.run > posts.accepted || (s->strict && posts.run < posts.accepted))
        seam_complain("of %d posts %d were run", posts.accepted, posts.run);
    memset(&posts, 0, sizeof posts);
}

/* --- datagrams, Unix sockets ------------------------------------------------------------------ */

static asocket *receiver(scene *s, asocket_builder builder, const char *host,
                         asocket_address *address)
{
    asocket *socket = keep(s, asocket_bind(builder, host, 0));

    if (!got(s, "bind", socket != NULL, MAY_BIND))
        return NULL;
    if (!went(s, "local_address", asocket_local_address(socket, address), MAY_ADDRESS))
        return NULL;
    return socket;
}

static bool message_expect(scene *s, asocket *socket, const char *text, asocket_address *from)
{
    char buffer[100];
    ptrdiff_t size = asocket_receive_from(socket, buffer, sizeof buffer, from);

    if (!went(s, "receive_from", size, MAY_MESSAGE))
        return false;
    right(size == (ptrdiff_t)strlen(text) && !memcmp(buffer, text, (size_t)size),
          "a datagram arrived as another one");
    return true;
}

/* Many of one size, so that the kernel cuts them out of one, and a smaller one. */
static void messages_many(scene *s, asocket *to, asocket *from, const asocket_address *address)
{
    enum { MANY = 10, SIZE = 300 };
    static char bytes[MANY][SIZE];
    asocket_datagram datagrams[MANY];
    int i, count;

    memset(datagrams, 0, sizeof datagrams);
    for (i = 0; i < MANY; i++) {
        datagrams[i].data = memset(bytes[i], 'a' + i, SIZE);
        datagrams[i].size = i < MANY - 1 ? SIZE : 5;
        datagrams[i].capacity = SIZE;
        datagrams[i].address = *address;
    }
    count = asocket_send_many(from, datagrams, MANY);
    if (!went(s, "send_many", count, MAY_MESSAGE))
        return;
    right(count == MANY || !s->strict, "send_many sent fewer");
    while (count > 0) {
        int received = asocket_receive_many(to, datagrams, MANY);

        if (!went(s, "receive_many", received, MAY_MESSAGE))
            return;
        count -= received;
    }
    right(count == 0, "receive_many received more than was sent");
}

/* UDP: to and fro, many at a time, a connected socket, a group. */
static void play_udp(scene *s)
{
    asocket_ip group = asocket_ipv4(239, 1, 2, 3);
    asocket_builder builder = asocket_udp(s->selector);
    asocket_address address, from;
    asocket *one, *two;

    one = receiver(s, asocket_udp(s->selector), here(), &address);
    builder.multicast_interface = 1;
    builder.multicast_ttl = 2;
    builder.broadcast = 1;
    two = keep(s, asocket_bind(builder, here(), 0));
    if (!one || !got(s, "bind", two != NULL, MAY_BIND))
        return;
    if (went(s, "send_to", asocket_send_to(two, "hello", 5, &address), MAY_MESSAGE)) {
        if (!message_expect(s, one, "hello", &from) ||
            !went(s, "send_to", asocket_send_to(one, "hi", 2, &from), MAY_MESSAGE) ||
            !message_expect(s, two, "hi", NULL))
            return;
    }
    if (went(s, "join_group", asocket_join_group(one, &group, 1), MAY_OPTION))
        (void)went(s, "leave_group", asocket_leave_group(one, &group, 1), MAY_OPTION);
    two = keep(s, asocket_connect(asocket_udp(s->selector), here(), address.port));
    if (got(s, "connect", two != NULL, MAY_CONNECT) &&
        went(s, "send_to", asocket_send_to(two, "", 0, NULL), MAY_MESSAGE))
        (void)message_expect(s, one, "", NULL);
}

/* UDP, many datagrams in few calls. */
static void play_udp_many(scene *s)
{
    asocket_address address, unused;
    asocket *one = receiver(s, asocket_udp(s->selector), here(), &address);
    asocket *two = receiver(s, asocket_udp(s->selector), here(), &unused);

    if (one && two)
        messages_many(s, one, two, &address);
}

enum { FLOW = 64, FLOW_SIZE = 50 };

/* So many at once, each with its number; whatever is lost, none arrives as another one. */
static bool flow_send(scene *s, asocket *from, const asocket_address *address, int count)
{
    static char bytes[FLOW][FLOW_SIZE];
    asocket_datagram datagrams[FLOW];
    int i;

    memset(datagrams, 0, sizeof datagrams);
    for (i = 0; i < count; i++) {
        datagrams[i].data = memset(bytes[i], i, FLOW_SIZE);
        datagrams[i].size = FLOW_SIZE;
        datagrams[i].address = *address;
    }
    return went(s, "send_many", asocket_send_many(from, datagrams, (size_t)count), MAY_MESSAGE);
}

static bool flow_receive(scene *s, asocket *to, int count)
{
    static char bytes[2 * FLOW][2 * FLOW_SIZE];
    asocket_datagram datagrams[2 * FLOW];
    int i, received;

    for (; count > 0; count -= received) {
        memset(datagrams, 0, sizeof datagrams);
        for (i = 0; i < 2 * FLOW; i++) {
            datagrams[i].data = bytes[i];
            datagrams[i].capacity = sizeof bytes[i];
        }
        received = asocket_receive_many(to, datagrams, 2 * FLOW);
        if (!went(s, "receive_many", received, MAY_MESSAGE))
            return false;
        for (i = 0; i < received; i++)
            right(datagrams[i].size == FLOW_SIZE && !datagrams[i].truncated &&
                      !memcmp(bytes[i], bytes[i] + 1, FLOW_SIZE - 1),
                  "a datagram arrived joined or cut");
    }
    right(count == 0, "receive_many received more than was sent");
    return true;
}

/* A flow, which the kernel is told to join, and then datagrams that are not worth it. */
static void play_udp_flow(scene *s)
{
    asocket_address address, unused;
    asocket *to = receiver(s, asocket_udp(s->selector), here(), &address);
    asocket *from = receiver(s, asocket_udp(s->selector), here(), &unused);
    int i;

    if (!to || !from)
        return;
    for (i = 0; i < 6; i++)
        if (!flow_send(s, from, &address, FLOW) || !flow_receive(s, to, FLOW))
            return;
    for (i = 0; i < 35; i++)
        if (!flow_send(s, from, &address, 1) || !flow_receive(s, to, 1))
            return;
    if (flow_send(s, from, &address, FLOW))
        (void)flow_receive(s, to, FLOW);
}

static const char *scene_path(int number)
{
    static char path[100];

    snprintf(path, sizeof path, "/tmp/asocket-faults-%d-%d", (int)getpid(), number);
    return path;
}

/* A path at which a server died. */
static void path_prepare(void)
{
    struct sockaddr_un at;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memset(&at, 0, sizeof at);
    at.sun_family = AF_UNIX;
    memcpy(at.sun_path, scene_path(1), strlen(scene_path(1)) + 1);
    (void)unlink(scene_path(1));
    if (bind(fd, (struct sockaddr *)&at, sizeof at))
        seam_complain("a plain Unix socket cannot be bound");
    (void)close(fd);
}

static void unix_talk(scene *s, asocket_builder builder)
{
    asocket_credentials credentials;

    s->server = keep(s, asocket_bind(builder, scene_path(1), 0));
    if (!got(s, "bind", s->server != NULL, MAY_BIND | MAY(ENOTFOUND)))
        return;
    s->client = keep(s, asocket_connect(builder, scene_path(1), 0));
    if (!got(s, "connect", s->client != NULL, MAY_CONNECT | MAY(ENOTFOUND)) || !accepted(s))
        return;
    s->client_in = asocket_open_read_channel(s->client);
    if (wrote(s, s->peer_out, "hello\n"))
        (void)reads(s, s->client_in, "hello");
    if (went(s, "peer_credentials", asocket_peer_credentials(s->client, &credentials), MAY_OPTION))
        right(credentials.process == getpid(), "peer_credentials gave another process");
    (void)asocket_close(s->server);
    right(!s->strict || access(scene_path(1), F_OK), "the path of a closed server is still there");
}

/* A Unix stream at a path that a dead server left. */
static void play_unix(scene *s)
{
    asocket_builder builder = asocket_unix(s->selector);

    builder.unlink = 1;
    path_prepare();
    unix_talk(s, builder);
    (void)unlink(scene_path(1));
}

/* Unix datagrams, between two paths. */
static void play_unix_datagram(scene *s)
{
    asocket_builder builder = asocket_unix_datagram(s->selector);
    asocket_address from;
    asocket *one, *two = NULL;

    builder.unlink = 1;
    (void)unlink(scene_path(1));
    (void)unlink(scene_path(2));
    one = keep(s, asocket_bind(builder, scene_path(1), 0));
    if (got(s, "bind", one != NULL, MAY_BIND | MAY(ENOTFOUND)))
        two = keep(s, asocket_bind(builder, scene_path(2), 0));
    if (one && got(s, "bind", two != NULL, MAY_BIND | MAY(ENOTFOUND))) {
        asocket_address address;

        (void)asocket_local_address(one, &address);
        if (went(s, "send_to", asocket_send_to(two, "hello", 5, &address), MAY_MESSAGE)) {
            if (message_expect(s, one, "hello", &from) &&
                went(s, "send_to", asocket_send_to(one, "hi", 2, &from), MAY_MESSAGE))
                (void)message_expect(s, two, "hi", NULL);
        }
    }
    scene_close(s);
    (void)unlink(scene_path(1));
    (void)unlink(scene_path(2));
}

/* --- names, moving, layers, files ------------------------------------------------------------- */

/* A name that the system looks up. */
static void play_resolve(scene *s)
{
    asocket_address address;
    int count;

    seam_host = here();
    if (!listening(s, tcp(s)))
        return;
    count = asocket_resolve(s->selector, "server.test", s->port, &address, 1);
    if (went(s, "resolve", count, MAY_RESOLVE))
        right(count == 1 && address.port == s->port, "resolve gave another address");
    s->client = keep(s, asocket_connect(tcp(s), "server.test", s->port));
    (void)got(s, "connect", s->client != NULL, MAY_CONNECT | MAY_RESOLVE);
}

static scene *moved_scene; /* of what runs in the other selector */

static void moved(asocket_selector *selector, void *argument)
{
    asocket_read_channel *in = asocket_open_read_channel((asocket *)argument);
    asocket_write_channel *out =
        asocket_open_write_channel((asocket *)argument, ASOCKET_AUTO_FLUSH);
    char line[100];

    (void)selector;
    moved_scene->done++;
    if (asocket_read_line(in, line, sizeof line) >= 0)
        (void)asocket_printf(out, "%s\n", line);
}

static void shared_there(asocket_selector *selector, void *argument)
{
    (void)argument;
    (void)selector;
    moved_scene->done++;
}

/* Until nothing goes on in the other selector, but not for ever. */
static void move_run(asocket_selector *other)
{
    asocket_statistics statistics;
    int turns;

    for (turns = 0; turns < 30; turns++) {
        (void)asocket_poll(other, turns < 10 ? 0 : 5);
        (void)asocket_stats(other, &statistics);
        if (!statistics.coroutines && turns > 10)
            return;
    }
}

static void move_both(scene *s, asocket_selector *other)
{
    char byte;

    if (!wrote(s, s->client_out, "xhello\n") ||
        !went(s, "read", asocket_read(s->peer_in, &byte, 1), MAY_READ))
        return;
    (void)went(s, "share", asocket_share(s->server, other, shared_there), MAY_OPTION | MAY(EMFILE));
    (void)went(s, "hand_over", asocket_hand_over(s->peer, other, moved), MAY_WRITE);
    move_run(other);
    if (reads(s, s->client_in, "hello"))
        right(s->done == 2 || !s->strict, "not all arrived in the other selector");
}

/* A connection that was partly read, and a listener, go to another selector. */
static void play_move(scene *s)
{
    asocket_selector *other = scene_selector(s);

    moved_scene = s;
    if (other && paired(s, tcp(s)))
        move_both(s, other);
    asocket_selector_destroy(other);
}

/* Two descriptors in one message: the second one is closed. */
static void send_two(const asocket *channel)
{
    int handles[2] = {socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), 0};
    char control[CMSG_SPACE(sizeof handles)];
    struct iovec piece = {(void *)(uintptr_t) "S", 1};
    struct msghdr message;
    struct cmsghdr *header;

    memset(&message, 0, sizeof message);
    memset(control, 0, sizeof control);
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof handles);
    handles[1] = handles[0];
    memcpy(CMSG_DATA(header), handles, sizeof handles);
    if (sendmsg(asocket_native_handle(channel), &message, 0) != 1)
        seam_complain("a plain message cannot be sent");
    (void)close(handles[0]);
}

static void pass_peer(scene *s, asocket *from, asocket *to)
{
    asocket *passed;

    if (!went(s, "send_socket", asocket_send_socket(from, s->peer), MAY_MESSAGE))
        return;
    (void)asocket_close(s->peer);
    passed = keep(s, asocket_receive_socket(to));
    if (!got(s, "receive_socket", passed != NULL, MAY_MESSAGE | MAY(EOF) | MAY_ADOPT))
        return;
    if (wrote(s, asocket_open_write_channel(passed, ASOCKET_AUTO_FLUSH), "hello\n"))
        (void)reads(s, s->client_in, "hello");
    send_two(from);
    passed = keep(s, asocket_receive_socket(to));
    (void)got(s, "receive_socket", passed != NULL, MAY_MESSAGE | MAY(EOF) | MAY_ADOPT);
}

/* A connection goes through a Unix socket, and comes back. */
static void play_pass(scene *s)
{
    asocket *server, *from = NULL, *to = NULL;

    (void)unlink(scene_path(1));
    server = keep(s, asocket_bind(asocket_unix(s->selector), scene_path(1), 0));
    if (got(s, "bind", server != NULL, MAY_BIND | MAY(ENOTFOUND)))
        from = keep(s, asocket_connect(asocket_unix(s->selector), scene_path(1), 0));
    if (server && got(s, "connect", from != NULL, MAY_CONNECT | MAY(ENOTFOUND)))
        to = keep(s, asocket_accept(server));
    if (from && got(s, "accept", to != NULL, MAY_ACCEPT) && paired(s, tcp(s)))
        pass_peer(s, from, to);
    scene_close(s);
    (void)unlink(scene_path(1));
}

/* A forked child ends the selector that it inherited; the parent's goes on. */
static void play_fork(scene *s)
{
    int status = 0;
    pid_t child;

    if (!paired(s, tcp(s)))
        return;
    child = fork();
    if (!child) {
        asocket_selector_destroy(s->selector);
        _exit(asocket_error_message(NULL) ? 0 : 1);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0 || status)
        seam_complain("a forked child cannot end the selector: %d", status);
    if (wrote(s, s->client_out, "hello\n"))
        (void)reads(s, s->peer_in, "hello");
}

static ptrdiff_t plain_read(void *state, asocket *lower, void *buffer, size_t size)
{
    (void)lower;
    return asocket_read(((scene *)state)->peer_in, buffer, size);
}

static ptrdiff_t plain_write(void *state, asocket *lower, const void *bytes, size_t size)
{
    scene *s = (scene *)state;
    ptrdiff_t written;

    (void)lower;
    if (!size)
        return 0;
    written = asocket_write(s->peer_out, bytes, size);
    return written < 0 ? written : asocket_flush(s->peer_out) < 0 ? ASOCKET_ECONNRESET : written;
}

static int plain_close(void *state, asocket *lower)
{
    (void)lower;
    ((scene *)state)->done++;
    return 0;
}

static void plain_cancel(void *state, asocket *lower)
{
    (void)plain_close(state, lower);
}

/* A layer above a connection, taken off, and once more, closed. */
static void play_layer(scene *s)
{
    static const asocket_transport transport = {plain_read, plain_write, plain_close, plain_cancel};
    asocket_write_channel *out;
    asocket *layer, *lower;
    int i;

    if (!paired(s, tcp(s)))
        return;
    for (i = 0; i < 2; i++) {
        layer = keep(s, asocket_layer(s->peer, &transport, s));
        if (!got(s, "layer", layer != NULL, MAY_LAUNCH))
            return;
        if (wrote(s, s->client_out, "hello\n"))
            (void)reads(s, asocket_open_read_channel(layer), "hello");
        out = asocket_open_write_channel(layer, ASOCKET_AUTO_FLUSH);
        if (wrote(s, out, "hello\n") && went(s, "flush", asocket_flush(out), MAY_WRITE))
            (void)reads(s, s->client_in, "hello");
        lower = i ? NULL : asocket_detach(layer);
        if (!i && !got(s, "detach", lower != NULL, MAY_WRITE | MAY(EBUSY)))
            break;
    }
    (void)asocket_close(layer);
    (void)went(s, "await_closed", asocket_await_closed(layer), MAY_WAIT);
}

static int bulk_file(scene *s, int size)
{
    FILE *file = tmpfile();
    int fd, i;

    if (!file) {
        seam_complain("no temporary file");
        return -1;
    }
    for (i = 0; i < size; i++)
        (void)putc(bulk_byte(i), file);
    (void)fflush(file);
    fd = keep_handle(s, dup(fileno(file)));
    (void)fclose(file);
    return fd;
}

static void part_write_file(scene *s)
{
    int64_t count = -1;

    if (bulk_write(s, s->client_out, 100, 100)) { /* the file's bytes go right behind these */
        count = asocket_write_file(s->client_out, s->handles[0], 100, ASOCKET_FOREVER);
        if (went(s, "write_file", count, MAY_WRITE | MAY(ENOTSUP)))
            right(count == 19900, "write_file wrote another number of bytes");
    }
    (void)asocket_finish(s->client_out);
    if (count < 0)
        (void)asocket_cancel_write(s->client_out, ASOCKET_EIO);
}

static void part_read_file(scene *s)
{
    (void)bulk_read(s, s->peer_in, 3000, 0);
    right(!s->strict || s->received == 20000, "a file did not arrive whole");
    (void)asocket_cancel_read(s->peer_in);
}

/* A file to a connection, and to a pipe. */
static void play_file(scene *s)
{
    if (bulk_file(s, 20000) < 0 || !paired(s, tcp(s)))
        return;
    (void)go(s, part_write_file);
    (void)go(s, part_read_file);
    (void)join_all(s);
    (void)asocket_close(s->client);
    if (!went(s, "pipe", asocket_pipe(s->selector, 0, &s->peer_in, &s->client_out), MAY_LAUNCH))
        return;
    if (!go(s, part_write_file))
        (void)asocket_cancel_write(s->client_out, ASOCKET_EIO);
    if (!go(s, part_read_file))
        (void)asocket_cancel_read(s->peer_in);
    (void)join_all(s);
}

enum {
    PROMPT = 1,  /* one after the other: no part waits for another one that gave up */
    DEAR = 2,    /* takes long: fewer runs of it */
    SOCIAL = 4,  /* can be played in a coroutine, beside others; */
    PATHS = 8,   /*   but not beside others with the same paths, */
    SERVER = 16, /*   or the same server */
    ALONE = PATHS | SERVER
};

static const struct scenario {
    const char *name;
    scene_part *play;
    bool own, real_time; /* makes its selector itself; another thread has a part */
    const char *text;
    scene_part *after; /* runs before it is looked what was left behind */
    int traits;
} scenarios[] = {
    {"create", play_create, true, false, "a selector comes and goes", NULL, 0},
    {"echo", play_echo, false, false, "listen, connect, accept, echo outside coroutines", NULL,
     PROMPT | SOCIAL},
    {"coroutines", play_coroutines, false, false, "server and client as coroutines", NULL, 0},
    {"serve", play_serve, false, false, "serving three clients", NULL, SOCIAL},
    {"half-close", play_half_close, false, false, "half-close", NULL, SOCIAL},
    {"cancel", play_cancel, false, false, "cancel in every wait", NULL, SOCIAL},
    {"deadline", play_deadline, false, false, "time-outs and deadlines", NULL, SOCIAL},
    {"close", play_close_pending, false, false, "close with bytes to send", NULL, SOCIAL},
    {"abort", play_abort, false, false, "abort", NULL, SOCIAL},
    {"large", play_large, false, false, "a large write for a slow reader", NULL, SOCIAL},
    {"small", play_small, false, false, "small writes for a slow reader", NULL, SOCIAL},
    {"copy", play_copy, false, false, "copy from connection to connection", NULL, SOCIAL},
    {"pipe", play_pipe, false, false, "pipes between coroutines", NULL, SOCIAL},
    {"printf", play_printf, false, false, "lines longer than the channel", NULL, SOCIAL},
    {"frames", play_frames, false, false, "numbers and delimiters in pieces", NULL, SOCIAL},
    {"post", play_post, false, false, "posts of the same thread, and stop", posts_after, 0},
    {"thread", play_thread, false, true, "posts of another thread", posts_after, 0},
    {"any", play_any, false, false, "connect_any, the first address refuses", NULL,
     PROMPT | SOCIAL},
    {"refused", play_refused, false, false, "connects that are refused, bound, not waited for",
     NULL, PROMPT | SOCIAL},
    {"handle", play_handle, false, false, "waiting for descriptors of others", NULL, SOCIAL},
    {"many", play_many, false, false, "80 coroutines", NULL, SOCIAL},
    {"ready", play_ready, false, false, "callbacks from on_ready", NULL, PROMPT},
    {"adopt", play_adopt, false, false, "adopted descriptors", NULL, PROMPT | SOCIAL},
    {"options", play_options, false, false, "options, dual stack, zones", NULL, PROMPT | SOCIAL},
    {"launch", play_launch, false, false, "a socket that is a coroutine's, by address", NULL,
     SOCIAL},
    {"attach", play_attach, true, false, "attached to a selector", NULL, 0},
    {"udp", play_udp, false, false, "UDP", NULL, PROMPT | SOCIAL},
    {"udp-many", play_udp_many, false, false, "UDP, many at a time", NULL, PROMPT | SOCIAL},
    {"udp-flow", play_udp_flow, false, false, "a flow of UDP, joined by the kernel", NULL, SOCIAL},
    {"unix", play_unix, false, false, "Unix streams, a path left by a dead server", NULL,
     PROMPT | SOCIAL | PATHS},
    {"unix-datagram", play_unix_datagram, false, false, "Unix datagrams", NULL,
     PROMPT | SOCIAL | PATHS},
    {"resolve", play_resolve, false, true, "names that are looked up", NULL, 0},
    {"move", play_move, false, false, "sockets to another selector", NULL, 0},
    {"pass", play_pass, false, false, "sockets through a Unix socket", NULL,
     PROMPT | SOCIAL | PATHS},
    {"fork", play_fork, false, false, "a forked child", NULL, PROMPT},
    {"layer", play_layer, false, false, "layers, detached and closed", NULL, PROMPT | SOCIAL},
    {"file", play_file, false, false, "files to connections and pipes", NULL, SOCIAL},
#ifdef TEST_TLS
    {"tls", play_tls, false, false, "TLS: lines, a lot both ways, half-close", NULL,
     PROMPT | DEAR | SOCIAL | SERVER},
    {"tls-trust", play_tls_trust, false, false, "TLS: trust from memory, files and folders", NULL,
     PROMPT | SOCIAL | SERVER},
    {"tls-options", play_tls_options, false, false,
     "TLS: the system's roots, client certificates, a session resumed, truncation", NULL,
     PROMPT | DEAR | SOCIAL | SERVER},
    {"tls-stranger", play_tls_stranger, false, false, "TLS: servers that nobody trusts", NULL,
     PROMPT | SOCIAL | SERVER},
#endif
    {"destroy", play_destroy, true, false, "destroy in the midst of everything", NULL, 0},
};
enum { SCENARIO_COUNT = sizeof scenarios / sizeof *scenarios };

#endif
