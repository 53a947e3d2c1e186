/* test_unix.c - Unix sockets of Windows, over a stand-in (strict.c): streams, and sockets that go
   through them as bytes, which the kernels elsewhere carry (tests/test_passing.c). */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SEAM_send , short_send
static ssize_t short_send(uintptr_t handle, const void *bytes, size_t size, int flags);
#include "private.h"
#include "passing.h"

enum { PARCEL = sizeof(((asocket__parcel *)0)->block) };
static const char mark[] = ASOCKET__PARCEL_MARK;

static asocket_selector *selector;
static int backend;
static size_t room = SIZE_MAX; /* that the system has for what is sent */

static void fill(uintptr_t handle)
{
    static const char nothing[4096];

    while (ASOCKET__SYSTEM(send)(handle, nothing, sizeof nothing, 0) > 0) {
    }
}

static ssize_t short_send(uintptr_t handle, const void *bytes, size_t size, int flags)
{
    ssize_t count;

    if (!room) {
        errno = EAGAIN;
        return -1;
    }
    count = ASOCKET__SYSTEM(send)(handle, bytes, size < room ? size : room, flags);
    if (count > 0 && room != SIZE_MAX)
        room -= (size_t)count;
    return count;
}

/* --- streams --------------------------------------------------------------------------------- */

/* A path that nobody has. */
static const char *free_path(void)
{
    static char path[108];
    static int count;

    snprintf(path, sizeof path, "asocket-test-%d-%d", (int)GetCurrentProcessId(), count++);
    DeleteFileA(path);
    return path;
}

static bool exists(const char *path)
{
    return GetFileAttributesA(path) != INVALID_FILE_ATTRIBUTES;
}

typedef struct channel {
    asocket *socket; /* ours */
    int peer;        /* the other end, plain */
} channel;

static int peer_to(const char *path)
{
    struct timeval limit = {10, 0};
    int peer = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un at;

    memset(&at, 0, sizeof at);
    at.sun_family = AF_UNIX;
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(peer, (struct sockaddr *)&at, sizeof at) == 0)
        return peer;
    close(peer);
    return -1;
}

static bool channel_open(channel *c)
{
    asocket_builder local = asocket_unix(selector);
    const char *path = free_path();
    asocket *server;

    local.unlink = 1;
    server = asocket_bind(local, path, 0);
    c->peer = server ? peer_to(path) : -1;
    c->socket = server ? asocket_accept(server) : NULL;
    asocket_close(server);
    if (c->socket && c->peer >= 0)
        return true;
    return ok(false, "a pair of Unix sockets: %s", asocket_error_message(selector));
}

static void channel_close(channel *c)
{
    asocket_close(c->socket);
    if (c->peer >= 0)
        close(c->peer);
}

static void a_stream(void)
{
    asocket_builder local = asocket_unix(selector);
    const char *path = free_path();
    asocket *server, *client, *accepted;
    asocket_read_channel *in;
    asocket_address address;
    char line[16] = "";

    local.unlink = 1;
    server = asocket_bind(local, path, 0);

    ok(server && exists(path), "a path is bound");
    ok(!asocket_bind(local, path, 0) && asocket_error(selector) == ASOCKET_EADDRINUSE,
       "which nobody else can");
    client = asocket_connect(local, path, 0);
    accepted = asocket_accept(server);
    ok(client && accepted, "a client connects: %s", asocket_error_message(selector));
    ok(!asocket_remote_address(client, &address) && address.path_length == strlen(path) &&
           !memcmp(address.path, path, address.path_length),
       "whose peer has that name");
    asocket_write_string(asocket_open_write_channel(client, ASOCKET_AUTO_FLUSH), "hello\n");
    in = asocket_open_read_channel(accepted);
    is_int(asocket_read_line(in, line, sizeof line), 5, "P13: a line arrives");
    asocket_close(client);
    is_status(asocket_read_line(in, line, sizeof line), ASOCKET_EOF, "P1: and the end");
    asocket_close(accepted);
    asocket_close(server);
    ok(!exists(path), "the file goes with its listener");
    ok(!asocket_connect(local, path, 0), "then nobody is there");
    is_status(asocket_error(selector), ASOCKET_ECONNREFUSED, "which is a refusal");
    ok(!asocket_bind(asocket_unix_datagram(selector), path, 0), "there are streams only");
    is_status(asocket_error(selector), ASOCKET_ENOTSUP, "not datagrams");
}

/* --- sockets through them -------------------------------------------------------------------- */

static bool talks(asocket *socket, int peer)
{
    asocket_write_channel *out = asocket_open_write_channel(socket, ASOCKET_AUTO_FLUSH);
    char line[16] = "";

    asocket_set_timeout(socket, 5000);
    return asocket_write_string(out, "hello\n") >= 0 &&
           test_peer_expect(selector, peer, "hello\n") && test_peer_send(peer, "back\n", 5) &&
           asocket_read_line(asocket_open_read_channel(socket), line, sizeof line) == 4;
}

/* Two ends of the library, to send through one and receive from the other. */
static bool both_open(asocket **to, asocket **from)
{
    asocket_builder local = asocket_unix(selector);
    const char *path = free_path();
    asocket *server;

    local.unlink = 1;
    server = asocket_bind(local, path, 0);
    *to = server ? asocket_connect(asocket_unix(selector), path, 0) : NULL;
    *from = server ? asocket_accept(server) : NULL;
    asocket_close(server);
    return ok(*to && *from, "a pair of Unix sockets: %s", asocket_error_message(selector));
}

static void several_go(void)
{
    enum { COUNT = 5 };
    test_pair pairs[COUNT];
    asocket *to, *from, *received[COUNT];
    int good = 0, i;

    if (!both_open(&to, &from))
        return;
    for (i = 0; i < COUNT; i++) {
        if (!test_pair_open(selector, &pairs[i]))
            return;
        good += asocket_send_socket(to, pairs[i].socket) == ASOCKET_OK;
        if (i % 2)
            asocket_abort(pairs[i].socket);
        else
            asocket_close(pairs[i].socket);
    }
    is_int(good, COUNT, "connections go through a Unix socket, and are closed here");
    asocket_close(to);
    for (i = 0, good = 0; i < COUNT; i++) {
        received[i] = asocket_receive_socket(from);
        good += received[i] && talks(received[i], pairs[i].peer);
    }
    is_int(good, COUNT, "one after another, each comes out alive");
    ok(!asocket_receive_socket(from), "no other one does");
    is_status(asocket_error(selector), ASOCKET_EOF, "P1: that was the end");
    for (i = 0; i < COUNT; i++) {
        asocket_close(received[i]);
        test_pair_close(&pairs[i]);
    }
    asocket_close(from);
}

static void one_that_waited_stays(void)
{
    asocket *to, *from, *received;
    test_pair pair;
    char byte;

    if (!both_open(&to, &from) || !test_pair_open(selector, &pair))
        return;
    asocket_set_timeout(pair.socket, 5);
    is_status(asocket_read(asocket_open_read_channel(pair.socket), &byte, 1), ASOCKET_ETIMEDOUT,
              "a connection waits");
    if (backend == ASOCKET_BACKEND_IOCP) {
        is_status(asocket_send_socket(to, pair.socket), ASOCKET_ENOTSUP,
                  "P13: then it cannot leave its port");
        ok(strstr(asocket_error_message(selector), "waited") != NULL, "the message says why: %s",
           asocket_error_message(selector));
    } else {
        is_status(asocket_send_socket(to, pair.socket), ASOCKET_OK, "P13: it can go");
        received = asocket_receive_socket(from);
        ok(received && talks(received, pair.peer), "P13: and works where it comes out");
        asocket_close(received);
    }
    asocket_close(to);
    asocket_close(from);
    test_pair_close(&pair);
}

static void others_go(void)
{
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0), *udp, *accepted;
    asocket *to, *from, *local;
    asocket_address address;
    int peer;

    asocket_local_address(server, &address);
    if (!both_open(&to, &from))
        return;
    is_status(asocket_send_socket(to, server), ASOCKET_OK, "a listener goes");
    asocket_close(server);
    server = asocket_receive_socket(from);
    peer = test_peer_connect(address.port);
    accepted = asocket_accept(server);
    ok(accepted && talks(accepted, peer), "and listens where it comes out");
    asocket_close(accepted);
    asocket_close(server);
    close(peer);
    udp = asocket_bind(asocket_udp(selector), "127.0.0.1", 0);
    asocket_local_address(udp, &address);
    is_status(asocket_send_socket(to, udp), ASOCKET_OK, "a socket of datagrams goes");
    asocket_close(udp);
    udp = asocket_receive_socket(from);
    is_int(asocket_send_to(udp, "x", 1, &address), 1, "and sends, to itself");
    is_int(asocket_receive_from(udp, &accepted, 1, NULL), 1, "what it receives");
    asocket_close(udp);
    is_status(asocket_send_socket(to, to), ASOCKET_OK, "a Unix socket goes through itself");
    local = asocket_receive_socket(from);
    ok(local && asocket_send_socket(local, to) == ASOCKET_OK, "and takes others");
    asocket_close(asocket_receive_socket(from));
    asocket_close(local);
    asocket_close(to);
    asocket_close(from);
}

/* What the library sends for a socket, as bytes. */
static bool parcel_of(asocket *socket, char *bytes)
{
    bool good;
    channel c;

    if (!channel_open(&c))
        return false;
    good = asocket_send_socket(c.socket, socket) == ASOCKET_OK &&
           test_peer_receive(selector, c.peer, bytes, PARCEL) == PARCEL;
    channel_close(&c);
    return good;
}

static void it_comes_in_pieces(void)
{
    static const int cuts[] = {1, 15, 16, 17, PARCEL - 1};
    char parcel[PARCEL];
    asocket *received;
    int good = 0, i;
    test_pair pair;
    channel c;

    if (!channel_open(&c) || !test_pair_open(selector, &pair))
        return;
    for (i = 0; i < 5; i++) {
        if (!parcel_of(pair.socket, parcel))
            return;
        test_peer_send(c.peer, parcel, (size_t)cuts[i]);
        asocket_set_timeout(c.socket, 20);
        good += !asocket_receive_socket(c.socket) && asocket_error(selector) == ASOCKET_ETIMEDOUT;
        test_peer_send(c.peer, parcel + cuts[i], (size_t)(PARCEL - cuts[i]));
        asocket_set_timeout(c.socket, 5000);
        received = asocket_receive_socket(c.socket);
        good += received != NULL;
        asocket_abort(received);
    }
    is_int(good, 10, "P7: a wait that ends within one loses nothing of it");
    channel_close(&c);
    test_pair_close(&pair);
}

static void bytes_among_them(void)
{
    char parcel[PARCEL], line[16] = "";
    asocket *received;
    test_pair pair;
    channel c;

    if (!channel_open(&c) || !test_pair_open(selector, &pair) || !parcel_of(pair.socket, parcel))
        return;
    test_peer_send(c.peer, "nothing, asocket: or a", 22);
    test_peer_send(c.peer, parcel, PARCEL);
    test_peer_send(c.peer, "behind\n", 7);
    received = asocket_receive_socket(c.socket);
    ok(received && talks(received, pair.peer),
       "bytes before one are skipped, also what is like it");
    asocket_set_timeout(c.socket, 5000);
    ok(asocket_read_line(asocket_open_read_channel(c.socket), line, sizeof line) == 6 &&
           !strcmp(line, "behind"),
       "P13: what stands behind it comes");
    asocket_close(received);
    channel_close(&c);
    test_pair_close(&pair);
}

static void broken_ones(void)
{
    char parcel[PARCEL], bad[PARCEL];
    asocket *received;
    test_pair pair;
    channel c;

    if (!channel_open(&c) || !test_pair_open(selector, &pair) || !parcel_of(pair.socket, parcel))
        return;
    memset(bad, 0x55, sizeof bad);
    memcpy(bad, mark, 16);
    test_peer_send(c.peer, bad, sizeof bad);
    ok(!asocket_receive_socket(c.socket), "what describes no socket gives none");
    ok(asocket_error(selector) < -1000, "but a status: %s", asocket_error_message(selector));
    test_peer_send(c.peer, parcel, PARCEL);
    received = asocket_receive_socket(c.socket);
    ok(received != NULL, "P10: the next one comes");
    asocket_close(received);
    test_peer_send(c.peer, bad, 100);
    close(c.peer);
    c.peer = -1;
    ok(!asocket_receive_socket(c.socket), "the stream ends within one");
    is_status(asocket_error(selector), ASOCKET_EIO, "P1: that is no end");
    ok(!asocket_receive_socket(c.socket) && asocket_error(selector) == ASOCKET_EOF,
       "P1: but then it is over");
    channel_close(&c);
    test_pair_close(&pair);
}

static void make_room(asocket_selector *owner, void *argument)
{
    int i;

    (void)argument;
    for (i = 0; i < 12 && room != SIZE_MAX; i++) {
        asocket_sleep(owner, 2);
        room = 60;
    }
    room = SIZE_MAX;
}

static void it_leaves_in_pieces(void)
{
    asocket *to, *from, *received;
    long before = strict_duplicates;
    test_pair pair;

    if (!both_open(&to, &from) || !test_pair_open(selector, &pair))
        return;
    room = 60;
    asocket_launch(selector, make_room, NULL);
    is_status(asocket_send_socket(to, pair.socket), ASOCKET_OK, "one waits for room on its way");
    asocket_join_all(selector);
    received = asocket_receive_socket(from);
    ok(received && talks(received, pair.peer), "and comes whole");
    is_int(strict_duplicates - before, 0, "P10: once");
    asocket_close(received);
    asocket_close(to);
    asocket_close(from);
    test_pair_close(&pair);
}

static void no_room_in_time(void)
{
    asocket *to, *from;
    long before = strict_duplicates;
    test_pair pair;
    reception own;

    if (!both_open(&to, &from) || !test_pair_open(selector, &pair))
        return;
    fill((uintptr_t)asocket_native_handle(to));
    asocket_set_timeout(to, 20);
    is_status(asocket_send_socket(to, pair.socket), ASOCKET_ETIMEDOUT, "P7: no room: a time-out");
    memset(&own, 0, sizeof own);
    own.from = from;
    asocket_launch(selector, receive_one, &own);
    asocket_set_timeout(to, 5000);
    is_status(asocket_send_socket(to, pair.socket), ASOCKET_OK, "P7: of which nothing was sent");
    asocket_join_all(selector);
    ok(own.received && talks(own.received, pair.peer), "later one goes");
    is_int(strict_duplicates - before, 0, "P10: no duplicate was made for nobody");
    asocket_close(own.received);
    asocket_close(to);
    asocket_close(from);
    test_pair_close(&pair);
}

typedef struct sending {
    asocket *through, *socket;
    int status;
} sending;

static void send_one(asocket_selector *owner, void *argument)
{
    sending *own = (sending *)argument;

    (void)owner;
    own->status = asocket_send_socket(own->through, own->socket);
}

static void a_part_is_the_end(void)
{
    asocket_job job;
    asocket *from;
    test_pair pair;
    sending own;

    if (!both_open(&own.through, &from) || !test_pair_open(selector, &pair))
        return;
    own.socket = pair.socket;
    own.status = 0;
    room = 60;
    job = asocket_launch(selector, send_one, &own);
    asocket_sleep(selector, 5);
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(own.status, ASOCKET_ECANCELED, "P7: a part has gone when the wait ends");
    room = SIZE_MAX;
    is_status(asocket_send_socket(own.through, pair.socket), ASOCKET_ECANCELED,
              "behind which nothing can follow");
    asocket_close(own.through);
    asocket_set_timeout(from, 5000);
    ok(!asocket_receive_socket(from), "the receiver gets none");
    ok(asocket_error(selector) != ASOCKET_EOF, "P1: and is told that one is missing: %s",
       asocket_error_message(selector));
    asocket_close(from);
    test_pair_close(&pair);
}

static void waits_end(void)
{
    channel c;

    if (!channel_open(&c))
        return;
    waits_for_a_socket_end(c.socket);
    channel_close(&c);
}

/* --- two processes --------------------------------------------------------------------------- */

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

/* The other process: answers on every socket that comes, until the end; how many came. */
static void live_as_child(const char *path)
{
    asocket_builder local = asocket_unix(selector);
    asocket *server, *from, *socket;
    UINT count = 0;

    asocket_set_deadline(selector, 60000); /* it does not outlive a test that hangs */
    local.unlink = 1;
    server = asocket_bind(local, path, 0);
    from = asocket_accept(server);
    asocket_close(server);
    while ((socket = asocket_receive_socket(from)) != NULL) {
        asocket_launch_socket(selector, shout, socket);
        count++;
    }
    asocket_join_all(selector);
    TerminateProcess(GetCurrentProcess(), count);
}

static HANDLE start_child(const char *backend_name, const char *path)
{
    char program[MAX_PATH], line[MAX_PATH + 64];
    PROCESS_INFORMATION made;
    STARTUPINFOA start;

    GetModuleFileNameA(NULL, program, sizeof program);
    snprintf(line, sizeof line, "\"%s\" %s windows_unix", program, backend_name);
    memset(&start, 0, sizeof start);
    start.cb = sizeof start;
    start.dwFlags = STARTF_USESTDHANDLES; /* it has nothing to say */
    SetEnvironmentVariableA("TEST_UNIX_CHILD", path);
    if (!CreateProcessA(program, line, NULL, NULL, FALSE, 0, NULL, NULL, &start, &made))
        made.hProcess = NULL;
    else
        CloseHandle(made.hThread);
    SetEnvironmentVariableA("TEST_UNIX_CHILD", NULL);
    return made.hProcess;
}

static asocket *to_child(const char *path)
{
    int64_t end = test_clock() + (int64_t)30000000000;
    asocket *to = NULL;

    while (!to && test_clock() < end) {
        to = asocket_connect(asocket_unix(selector), path, 0);
        if (!to)
            asocket_sleep(selector, 20);
    }
    return to;
}

static void another_process_answers(const char *backend_name)
{
    enum { COUNT = 5 };
    const char *path = free_path();
    HANDLE child = start_child(backend_name, path);
    asocket *to = child ? to_child(path) : NULL;
    test_pair pairs[COUNT];
    DWORD status = 0;
    int good = 0, i;

    if (!ok(to != NULL, "a process begins and listens"))
        return;
    for (i = 0; i < COUNT; i++) {
        if (!test_pair_open(selector, &pairs[i]))
            return;
        good += asocket_send_socket(to, pairs[i].socket) == ASOCKET_OK;
        asocket_close(pairs[i].socket);
    }
    is_int(good, COUNT, "connections are sent to another process, and closed here");
    for (i = 0, good = 0; i < COUNT; i++)
        good += test_peer_send(pairs[i].peer, "hello\n", 6) &&
                test_peer_expect(selector, pairs[i].peer, "child: hello\n");
    is_int(good, COUNT, "which answers on all of them");
    asocket_close(to);
    for (i = 0; i < COUNT; i++)
        test_pair_close(&pairs[i]);
    WaitForSingleObject(child, 10000);
    GetExitCodeProcess(child, &status);
    TerminateProcess(child, 0); /* in case that it has not ended */
    is_int(status, COUNT, "it got as many as were sent, and then the end");
    CloseHandle(child);
}

int main(int argc, char **argv)
{
    backend = test_backend(argc, argv);
    selector = test_selector(argc, argv);
    if (getenv("TEST_UNIX_CHILD"))
        live_as_child(getenv("TEST_UNIX_CHILD"));
    a_stream();
    several_go();
    one_that_waited_stays();
    others_go();
    it_comes_in_pieces();
    bytes_among_them();
    broken_ones();
    it_leaves_in_pieces();
    no_room_in_time();
    a_part_is_the_end();
    waits_end();
    another_process_answers(argv[1]);
    return test_end(selector);
}
