/* Sockets that go to another process, and what a forked child may do with those of its parent. */
#include "test.h"
#include "passing.h"

#include <sys/resource.h>
#include <sys/wait.h>

#ifdef NDEBUG /* then reads and writes do not ask whose the selector is */
enum { CHECKED = 0 };
#else
enum { CHECKED = 1 };
#endif

static asocket_selector *selector;
static int backend;

/* --- a channel of descriptors ----------------------------------------------------------------- */

typedef struct channel {
    asocket *socket; /* ours */
    int peer;        /* the other end, plain */
} channel;

static asocket_selector *another_selector(void)
{
    asocket_selector_options options;

    memset(&options, 0, sizeof options);
    options.backend = backend;
    return asocket_selector_create(&options);
}

static bool channel_open(channel *c)
{
    struct timeval limit = {10, 0};
    int ends[2];

    memset(c, 0, sizeof *c);
    c->peer = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return ok(false, "a pair of Unix sockets");
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    test_peer_quiet(ends[1]);
    setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    c->socket = asocket_adopt(asocket_unix(selector), ends[0]);
    c->peer = ends[1];
    return c->socket != NULL;
}

static void channel_close(channel *c)
{
    asocket_close(c->socket);
    if (c->peer >= 0)
        close(c->peer);
}

/* One message with a byte and so many descriptors. */
static bool send_handles(int channel_end, const int *handles, int count)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(16 * sizeof(int))];
    } control;
    struct msghdr message;
    struct iovec piece;
    char byte = 'x';

    memset(&message, 0, sizeof message);
    memset(&control, 0, sizeof control);
    piece.iov_base = &byte;
    piece.iov_len = 1;
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    if (count) {
        message.msg_control = control.bytes;
        message.msg_controllen = (socklen_t)CMSG_SPACE((size_t)count * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = (socklen_t)CMSG_LEN((size_t)count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), handles, (size_t)count * sizeof(int));
    }
    return sendmsg(channel_end, &message, MSG_NOSIGNAL) == 1;
}

/* --- receiving -------------------------------------------------------------------------------- */

static void messages_without_are_skipped(void)
{
    asocket *received;
    test_pair pair;
    channel c;
    int handle;

    if (!channel_open(&c) || !test_pair_open(selector, &pair))
        return;
    handle = asocket_native_handle(pair.socket);
    send_handles(c.peer, NULL, 0);
    send_handles(c.peer, NULL, 0);
    send_handles(c.peer, &handle, 1);
    received = asocket_receive_socket(c.socket);
    ok(received != NULL, "messages without a descriptor are skipped");
    asocket_write_string(asocket_open_write_channel(received, ASOCKET_AUTO_FLUSH), "hello\n");
    ok(test_peer_expect(selector, pair.peer, "hello\n"), "what comes is the connection");
    ok(fcntl(asocket_native_handle(received), F_GETFD) & FD_CLOEXEC, "P6: closed on exec");
    asocket_close(received);
    channel_close(&c);
    test_pair_close(&pair);
}

static void extra_ones_are_closed(void)
{
    asocket *received;
    test_pair pair;
    channel c;
    int handles[16], before, i;

    if (!channel_open(&c) || !test_pair_open(selector, &pair))
        return;
    for (i = 0; i < 16; i++)
        handles[i] = asocket_native_handle(pair.socket);
    before = test_open_descriptors();
    send_handles(c.peer, handles, 16);
    received = asocket_receive_socket(c.socket);
    ok(received != NULL, "of 16 descriptors in one message the first comes");
    is_int(test_open_descriptors(), before + 1, "P10: the others are closed");
    asocket_abort(received);
    channel_close(&c);
    test_pair_close(&pair);
}

static void no_socket_is_refused(void)
{
    asocket *received;
    int ends[2], before;
    test_pair pair;
    channel c;

    if (!channel_open(&c) || !test_pair_open(selector, &pair) || pipe(ends) < 0)
        return;
    before = test_open_descriptors();
    send_handles(c.peer, ends, 1);
    ok(!asocket_receive_socket(c.socket), "a pipe is no socket");
    ok(asocket_error(selector) < -1000, "which has a status: %s", asocket_error_message(selector));
    is_int(test_open_descriptors(), before, "P10: it is closed");
    before = asocket_native_handle(pair.socket);
    send_handles(c.peer, &before, 1);
    received = asocket_receive_socket(c.socket);
    ok(received != NULL, "P10: the next one comes");
    asocket_close(received);
    close(ends[0]);
    close(ends[1]);
    channel_close(&c);
    test_pair_close(&pair);
}

/* As accept skips it. */
static void broken_ones_are_skipped(void)
{
    test_pair broken, whole;
    asocket *received;
    channel c;
    int handle;

    if (!channel_open(&c) || !test_pair_open(selector, &broken) ||
        !test_pair_open(selector, &whole))
        return;
    handle = asocket_native_handle(broken.socket);
    send_handles(c.peer, &handle, 1);
    test_peer_reset(broken.peer);
    broken.peer = -1;
    handle = asocket_native_handle(whole.socket);
    send_handles(c.peer, &handle, 1);
    received = asocket_receive_socket(c.socket);
    ok(received != NULL, "P9: a connection that broke on its way is skipped");
    asocket_write_string(asocket_open_write_channel(received, ASOCKET_AUTO_FLUSH), "hello\n");
    ok(test_peer_expect(selector, whole.peer, "hello\n"), "what comes is the next one");
    asocket_close(received);
    channel_close(&c);
    test_pair_close(&broken);
    test_pair_close(&whole);
}

#ifdef ASOCKET_VALGRIND
static void no_room_is_told(void)
{
    skip(2, "Valgrind passes descriptors on beyond the limit");
}
#else
static void no_room_is_told(void)
{
    struct rlimit former, few;
    test_pair pair;
    channel c;
    int handle;

    if (!channel_open(&c) || !test_pair_open(selector, &pair))
        return;
    handle = asocket_native_handle(pair.socket);
    send_handles(c.peer, &handle, 1);
    getrlimit(RLIMIT_NOFILE, &former);
    few = former;
    few.rlim_cur = 3;
    setrlimit(RLIMIT_NOFILE, &few);
    ok(!asocket_receive_socket(c.socket), "no room for a descriptor");
    is_status(asocket_error(selector), ASOCKET_EMFILE, "the status says so");
    setrlimit(RLIMIT_NOFILE, &former);
    channel_close(&c);
    test_pair_close(&pair);
}
#endif

static void waits_end(void)
{
    channel c;

    if (!channel_open(&c))
        return;
    waits_for_a_socket_end(c.socket);
    channel_close(&c);
}

static void the_end_is_told(void)
{
    channel c;

    if (!channel_open(&c))
        return;
    close(c.peer);
    c.peer = -1;
    ok(!asocket_receive_socket(c.socket), "P1: the other end is closed");
    is_status(asocket_error(selector), ASOCKET_EOF, "P1: that is the end of the stream");
    channel_close(&c);
}

/* A SIGPIPE would end this program. */
static void nobody_receives(void)
{
    test_pair pair;
    channel c;

    if (!channel_open(&c) || !test_pair_open(selector, &pair))
        return;
    close(c.peer);
    c.peer = -1;
    is_status(asocket_send_socket(c.socket, pair.socket), ASOCKET_ECONNRESET,
              "P6: a socket for nobody is an error, and no signal");
    test_peer_send(pair.peer, "x", 1);
    is_int(asocket_read_byte(asocket_open_read_channel(pair.socket)), 'x', "which stays ours");
    asocket_close(pair.socket);
    is_int(test_peer_end(selector, pair.peer), 0, "to the end");
    channel_close(&c);
    test_pair_close(&pair);
}

static void count_turns(asocket_selector *owner, void *argument)
{
    while (asocket_yield(owner) == ASOCKET_OK && *(int *)argument >= 0)
        ++*(int *)argument;
}

static void a_flood_is_fair(void)
{
    char bytes[8192];
    int turns = 0, handle;
    test_pair pair;
    channel c;

    if (!channel_open(&c) || !test_pair_open(selector, &pair))
        return;
    memset(bytes, 'x', sizeof bytes);
    handle = asocket_native_handle(pair.socket);
    test_peer_send(c.peer, bytes, sizeof bytes);
    send_handles(c.peer, &handle, 1);
    asocket_launch(selector, count_turns, &turns);
    asocket_close(asocket_receive_socket(c.socket));
    ok(turns >= 100, "P11: a flood of bytes without descriptors lets others run (%d)", turns);
    turns = -1;
    asocket_join_all(selector);
    channel_close(&c);
    test_pair_close(&pair);
}

static void wrong_sockets(void)
{
    test_pair pair;
    channel c;

    if (!channel_open(&c) || !test_pair_open(selector, &pair))
        return;
    ok(!asocket_receive_socket(NULL), "from no socket");
    ok(!asocket_receive_socket(pair.socket), "from what is no Unix socket");
    is_status(asocket_error(selector), ASOCKET_EINVAL, "nothing comes");
    ok(strstr(asocket_error_message(selector), "Unix") != NULL, "and the message says so");
    ok(!asocket_receive_socket(pair.server), "from a listener");
    is_status(asocket_send_socket(NULL, pair.socket), ASOCKET_EINVAL, "through no socket");
    is_status(asocket_send_socket(c.socket, NULL), ASOCKET_EINVAL, "no socket");
    is_status(asocket_send_socket(pair.socket, pair.socket), ASOCKET_EINVAL,
              "through what is no Unix socket");
    ok(strstr(asocket_error_message(selector), "Unix") != NULL, "and the message says so");
    asocket_close(pair.socket);
    is_status(asocket_send_socket(c.socket, pair.socket), ASOCKET_ECLOSED, "a closed one");
    channel_close(&c);
    test_pair_close(&pair);
}

/* A receive of bytes ends behind a descriptor (unix(7)), which is dropped. */
static void bytes_behind_one_are_read(void)
{
    char line[16] = "";
    asocket_read_channel *in;
    test_pair pair;
    channel c;
    int handle;

    if (!channel_open(&c) || !test_pair_open(selector, &pair))
        return;
    in = asocket_open_read_channel(c.socket);
    handle = asocket_native_handle(pair.socket);
    asocket_set_timeout(c.socket, 1);
    is_status(asocket_read_line(in, line, sizeof line), ASOCKET_ETIMEDOUT, "no line comes");
    asocket_set_timeout(c.socket, 2000 * test_slowness());
    test_peer_send(c.peer, "before", 6);
    send_handles(c.peer, &handle, 1);
    test_peer_send(c.peer, "\nafter\n", 7);
    ok(asocket_read_line(in, line, sizeof line) == 7 && !strcmp(line, "beforex"),
       "a descriptor among them does not matter");
    ok(asocket_read_line(in, line, sizeof line) == 5 && !strcmp(line, "after"),
       "P13: what stands behind it comes");
    channel_close(&c);
    test_pair_close(&pair);
}

typedef struct sending {
    asocket *through, *socket;
    int status;
} sending;

static void send_run(asocket_selector *owner, void *argument)
{
    sending *s = (sending *)argument;

    (void)owner;
    s->status = asocket_send_socket(s->through, s->socket);
}

static void closed_while_it_waits(void)
{
    char bytes[4096];
    test_pair pair;
    sending s;
    channel c;

    if (!channel_open(&c) || !test_pair_open(selector, &pair))
        return;
    memset(bytes, 'x', sizeof bytes);
    while (send(asocket_native_handle(c.socket), bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
    s.through = c.socket;
    s.socket = pair.socket;
    s.status = 1;
    asocket_launch(selector, send_run, &s);
    asocket_sleep(selector, 1);
    is_int(s.status, 1, "a socket waits for room in a channel");
    asocket_close(pair.socket);
    while (recv(c.peer, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
    asocket_join_all(selector);
    is_status(s.status, ASOCKET_ECLOSED, "P8: one that was closed meanwhile is not sent");
    channel_close(&c);
    test_pair_close(&pair);
}

static void test_receiving(void)
{
    bytes_behind_one_are_read();
    closed_while_it_waits();
    messages_without_are_skipped();
    extra_ones_are_closed();
    no_socket_is_refused();
    broken_ones_are_skipped();
    no_room_is_told();
    waits_end();
    the_end_is_told();
    nobody_receives();
    a_flood_is_fair();
    wrong_sockets();
}

/* --- two processes ---------------------------------------------------------------------------- */

static void shout(asocket_selector *owner, void *argument)
{
    asocket_read_channel *in = asocket_open_read_channel((asocket *)argument);
    asocket_write_channel *out =
        asocket_open_write_channel((asocket *)argument, ASOCKET_AUTO_FLUSH);
    char line[64];

    (void)owner;
    while (asocket_read_line(in, line, sizeof line) >= 0)
        asocket_printf(out, "child: %s\n", line);
}

static void serve_in_child(asocket_selector *owner, void *argument)
{
    asocket *server = (asocket *)argument;
    asocket *client = asocket_accept(server);

    if (client)
        asocket_launch_socket(owner, shout, client);
    asocket_join_all(owner);
}

/* Answers on every socket that comes, until the end; how many came. A listener comes last. */
static int answer_in_child(int end)
{
    asocket_selector *own = another_selector();
    asocket *from = asocket_adopt(asocket_unix(own), end), *socket;
    asocket_address address;
    int count = 0;

    while ((socket = asocket_receive_socket(from)) != NULL) {
        bool listens = asocket_remote_address(socket, &address) == ASOCKET_EINVAL;

        asocket_launch_socket(own, listens ? serve_in_child : shout, socket);
        count++;
    }
    asocket_join_all(own);
    asocket_selector_destroy(own);
    return count;
}

static bool child_answers(int peer)
{
    return test_peer_send(peer, "hello\n", 6) && test_peer_expect(selector, peer, "child: hello\n");
}

static void another_process_answers(void)
{
    enum { COUNT = 5 };
    test_pair pairs[COUNT];
    int good = 0, late, status = -1, i;
    channel c;
    pid_t child;

    if (!channel_open(&c))
        return;
    child = fork();
    if (!child) {
        asocket_selector_destroy(selector);
        _exit(answer_in_child(c.peer));
    }
    close(c.peer);
    c.peer = -1;
    for (i = 0; i < COUNT; i++) {
        if (!test_pair_open(selector, &pairs[i]))
            return;
        good += asocket_send_socket(c.socket, pairs[i].socket) == ASOCKET_OK;
        if (i % 2)
            asocket_abort(pairs[i].socket);
        else
            asocket_close(pairs[i].socket);
    }
    is_int(good, COUNT, "connections are sent to another process, and closed here");
    for (i = 0, good = 0; i < COUNT; i++)
        good += child_answers(pairs[i].peer);
    is_int(good, COUNT, "which answers on all of them: neither close nor abort here ends them");
    is_status(asocket_send_socket(c.socket, pairs[0].server), ASOCKET_OK, "a listener is sent");
    asocket_close(pairs[0].server);
    late = test_peer_connect(pairs[0].port);
    ok(late >= 0 && child_answers(late), "the other process accepts from it");
    asocket_close(c.socket);
    close(late);
    for (i = 0; i < COUNT; i++)
        test_pair_close(&pairs[i]);
    waitpid(child, &status, 0);
    is_int(WEXITSTATUS(status), COUNT + 1, "it got as many as were sent, and then the end");
}

/* --- after a fork ----------------------------------------------------------------------------- */

static bool says_parent(void)
{
    const char *message = asocket_error_message(selector);

    return strstr(message, "parent") != NULL;
}

static void nothing(asocket_selector *owner, void *argument)
{
    (void)owner;
    (void)argument;
}

/* How many of the calls on the parent's selector do not say whose it is; the first of them. */
static int refused_in_child(test_pair *pair, asocket_read_channel *in, asocket_write_channel *out)
{
    asocket_address address;
    char byte;
    int wrong = 0, call = 0;

#define REFUSED(result)                             \
    do {                                            \
        bool refused = (result);                    \
                                                    \
        call++;                                     \
        if (!wrong && (!refused || !says_parent())) \
            wrong = call;                           \
    } while (0)
    REFUSED(asocket_run(selector) == ASOCKET_EINVAL);
    REFUSED(asocket_poll(selector, 0) == ASOCKET_EINVAL);
    REFUSED(asocket_sleep(selector, 0) == ASOCKET_EINVAL);
    REFUSED(asocket_yield(selector) == ASOCKET_EINVAL);
    REFUSED(asocket_post(selector, nothing, NULL) == ASOCKET_EINVAL);
    REFUSED(!asocket_launch(selector, nothing, NULL));
    REFUSED(asocket_cancel_all(selector) == ASOCKET_EINVAL);
    REFUSED(!asocket_bind(asocket_tcp(selector), "127.0.0.1", 0));
    REFUSED(!asocket_connect(asocket_tcp(selector), "127.0.0.1", pair->port));
    REFUSED(asocket_resolve(selector, "::1", 80, &address, 1) == ASOCKET_EINVAL);
    REFUSED(!asocket_accept(pair->server));
    REFUSED(asocket_close(pair->server) == ASOCKET_EINVAL);
    REFUSED(asocket_abort(pair->socket) == ASOCKET_EINVAL);
    REFUSED(asocket_read(in, &byte, 1) == ASOCKET_EINVAL);
    REFUSED(asocket_write(out, "x", 1) == ASOCKET_EINVAL);
    REFUSED(asocket_flush(out) == ASOCKET_EINVAL);
    REFUSED(asocket_finish(out) == ASOCKET_EINVAL);
    REFUSED(asocket_hand_over(pair->socket, selector, nothing) == ASOCKET_EINVAL);
    REFUSED(asocket_share(pair->server, selector, nothing) == ASOCKET_EINVAL);
    REFUSED(asocket_wait_handle(selector, pair->peer, ASOCKET_READ) == ASOCKET_EINVAL);
    REFUSED(!asocket_adopt(asocket_tcp(selector), pair->peer));
#undef REFUSED
    asocket_stop(selector);
    return wrong;
}

static void wait_for_line(asocket_selector *owner, void *argument)
{
    asocket_read_channel *in = asocket_open_read_channel((asocket *)argument);
    char line[16];

    (void)owner;
    if (asocket_read_line(in, line, sizeof line) == 5)
        asocket_write_string(asocket_open_write_channel((asocket *)argument, ASOCKET_AUTO_FLUSH),
                             "parent\n");
}

static void a_child_disturbs_nobody(void)
{
    asocket_read_channel *in;
    asocket_write_channel *out;
    test_pair waiting, open;
    int status = -1, opened, all;
    pid_t child;

    if (!test_pair_open(selector, &waiting) || !test_pair_open(selector, &open))
        return;
    in = asocket_open_read_channel(open.socket);
    out = asocket_open_write_channel(open.socket, 0);
    asocket_launch(selector, wait_for_line, waiting.socket);
    asocket_sleep(selector, 5);
    all = test_open_descriptors();
    opened = all - test_descriptors_before;
    child = fork();
    if (!child) {
        int before = test_open_descriptors(), guest = dup(0); /* a kqueue is not inherited: */
        int wrong = CHECKED ? refused_in_child(&open, in, out) : 0;

        asocket_selector_destroy(selector);
        wrong = !wrong && fcntl(guest, F_GETFD) < 0 ? 201 : wrong; /* its number is the guest's */
        close(guest);
        close(waiting.peer);
        close(open.peer);
        opened -= all - before;
        _exit(wrong ? wrong : test_open_descriptors() == before - opened ? 0 : 200);
    }
    waitpid(child, &status, 0);
    is_int(WEXITSTATUS(status), 0, "a child's calls say that the selector is its parent's");
    ok(WIFEXITED(status), "and its copy can be destroyed");
    test_peer_send(waiting.peer, "hello\n", 6);
    ok(test_peer_expect(selector, waiting.peer, "parent\n"),
       "P10: who waits in the parent goes on");
    is_status(asocket_sleep(selector, 1), ASOCKET_OK, "P10: a stop in the child stops it not");
    test_peer_send(open.peer, "x\n", 2);
    is_int(asocket_read_byte(in), 'x', "P10: other connections too");
    asocket_join_all(selector);
    test_pair_close(&waiting);
    test_pair_close(&open);
}

/* In a child that was forked where the loop lies beneath: what the parent had open ends with it. */
static void fork_here(asocket_selector *owner, void *argument)
{
    int *result = (int *)argument, status = 0;
    pid_t child = fork();

    if (!child) {
        int before = test_open_descriptors(); /* without a kqueue, which is not inherited */

        asocket_selector_destroy(owner);
        asocket_selector_destroy(owner);
        _exit(test_open_descriptors() == before - 3 ? 0 : 1);
    }
    waitpid(child, &status, 0);
    *result = WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

static void a_child_of_a_coroutine(void)
{
    asocket_selector *owner = another_selector();
    int in_coroutine = -1, in_callback = -1, turns;
    test_pair pair;

    if (!test_pair_open(owner, &pair))
        return;
    asocket_bind(asocket_udp(owner), "127.0.0.1", 0);
    asocket_launch(owner, fork_here, &in_coroutine);
    asocket_poll(owner, 0);
    is_int(in_coroutine, 0, "a child of a coroutine closes what its parent has open");
    asocket_on_ready(pair.socket, ASOCKET_READ, fork_here, &in_callback);
    test_peer_send(pair.peer, "x", 1);
    for (turns = 0; turns < 10 && in_callback < 0; turns++)
        asocket_poll(owner, 1000);
    is_int(in_callback, 0, "so does one of what on_ready calls");
    is_status(asocket_sleep(owner, 1), ASOCKET_OK, "P10: their parent goes on");
    asocket_selector_destroy(owner);
    close(pair.peer);
}

/* Where no loop lies beneath it gives back its memory, too: of connections, and of their names. */
static void a_child_gives_back_its_memory(void)
{
    asocket_selector_options options;
    asocket_address address;
    test_memory memory;
    asocket_selector *owner;
    asocket *server;
    pid_t child;
    int status = -1;

    memset(&memory, 0, sizeof memory);
    memset(&options, 0, sizeof options);
    options.backend = backend;
    options.allocator = test_allocator(&memory);
    options.close_timeout = 1;
    owner = asocket_selector_create(&options);
    server = asocket_bind(asocket_tcp(owner), "127.0.0.1", 0);
    if (!server || asocket_local_address(server, &address) < 0)
        exit(1);
    ok(asocket_connect(asocket_tcp(owner), "localhost", address.port) != NULL,
       "a connection keeps the name that it was made by");
    child = fork();
    if (!child) {
        asocket_selector_destroy(owner);
        _exit(memory.blocks < 100 ? (int)memory.blocks : 100);
    }
    waitpid(child, &status, 0);
    asocket_selector_destroy(owner);
    is_int(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0, "a child's copy leaves no block");
    is_int(memory.blocks, 0, "nor does its parent's");
}

static void test_processes(void)
{
    if (test_emulated()) {
        skip(16, "an emulator does not wipe pages on a fork");
        return;
    }
    another_process_answers();
    a_child_disturbs_nobody();
    a_child_of_a_coroutine();
    a_child_gives_back_its_memory();
}

/* ---------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    backend = test_backend(argc, argv);
    selector = test_selector(argc, argv);
    test_receiving();
    test_processes();
    return test_end(selector);
}
