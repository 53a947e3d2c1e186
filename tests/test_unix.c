/* Unix sockets: streams and datagrams, paths and abstract names, what becomes of the file, who the
   peer is, and that all else is as with TCP. The peers are plain sockets. */
#include "test.h"

#include <stddef.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { LARGE = 8 << 20, NOBODY = 65534 };

static asocket_selector *selector;
static char directory[] = "/tmp/asocket-test-XXXXXX";

/* --- names ------------------------------------------------------------------------------------ */

/* A path in the test's directory; good until the next but three. */
static const char *path_of(const char *name)
{
    static char paths[4][108];
    static int next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

#ifdef __linux__
enum { ABSTRACT = 1 }; /* names, in no directory */
#else
enum { ABSTRACT = 0 };
#endif
enum { LONGEST = sizeof((struct sockaddr_un *)0)->sun_path - 1 };

/* A name that nobody has; its file goes with the socket. */
static const char *free_name(void)
{
    static char name[108];
    static int count;

    if (ABSTRACT)
        snprintf(name, sizeof name, "@asocket-test-%d-%d", (int)getpid(), count++);
    else
        snprintf(name, sizeof name, "%s/%d", directory, count++);
    return name;
}

static bool exists(const char *path)
{
    struct stat file;

    return lstat(path, &file) == 0;
}

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

    close(fd);
}

/* A path of exactly so many bytes. */
static const char *path_as_long_as(size_t length)
{
    static char path[200];

    memset(path, 'x', sizeof path);
    memcpy(path, directory, strlen(directory));
    path[strlen(directory)] = '/';
    path[length] = 0;
    return path;
}

/* --- peers ------------------------------------------------------------------------------------ */

static socklen_t native_address(struct sockaddr_un *address, const char *name)
{
    size_t length = strlen(name);

    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, name, length);
    if (name[0] == '@')
        address->sun_path[0] = 0;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

/* A plain socket that does not wait for ever. */
static int peer_of(int type)
{
    struct timeval limit = {10, 0};
    int peer = socket(AF_UNIX, type, 0);

    test_peer_quiet(peer);
    setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(peer, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return peer;
}

static int peer_bound(int type, const char *name)
{
    struct sockaddr_un address[2]; /* NUL bytes behind the longest path */
    socklen_t size;
    int peer = peer_of(type);

    memset(address, 0, sizeof address);
    size = native_address(address, name);
    if (bind(peer, (struct sockaddr *)address, size) < 0)
        diag("peer: bind %s: %s", name, strerror(errno));
    return peer;
}

static bool peer_connect(int peer, const char *name)
{
    struct sockaddr_un address;
    socklen_t size = native_address(&address, name);

    return connect(peer, (struct sockaddr *)&address, size) == 0;
}

static int peer_to(const char *name)
{
    int peer = peer_of(SOCK_STREAM);

    if (peer_connect(peer, name))
        return peer;
    close(peer);
    return -1;
}

static bool peer_send_to(int peer, const char *name, const char *text)
{
    struct sockaddr_un address;
    socklen_t size = native_address(&address, name);

    return sendto(peer, text, strlen(text), 0, (struct sockaddr *)&address, size) ==
           (ssize_t)strlen(text);
}

static bool peer_gets(int peer, const char *text)
{
    char buffer[1000];
    ssize_t count = recv(peer, buffer, sizeof buffer, 0);

    return count == (ssize_t)strlen(text) && memcmp(buffer, text, strlen(text)) == 0;
}

/* A file that nobody listens on any more. */
static void make_stale(int type, const char *path)
{
    close(peer_bound(type, path));
}

/* --- sockets ---------------------------------------------------------------------------------- */

static asocket_builder unix_builder(int unlink_it)
{
    asocket_builder builder = asocket_unix(selector);

    builder.timeout = builder.connect_timeout = 5000;
    builder.unlink = unlink_it;
    return builder;
}

static asocket_builder datagram_builder(int unlink_it)
{
    asocket_builder builder = asocket_unix_datagram(selector);

    builder.timeout = 5000;
    builder.unlink = unlink_it;
    return builder;
}

static asocket *made(asocket *socket)
{
    if (!socket)
        ok(false, "a socket can be made: %s", asocket_error_message(selector));
    return socket;
}

static asocket *listening(const char *name)
{
    return made(asocket_bind(unix_builder(1), name, 0));
}

static asocket *receiving(const char *name)
{
    return made(asocket_bind(datagram_builder(1), name, 0));
}

static asocket *connected(const char *name)
{
    return made(asocket_connect(unix_builder(0), name, 0));
}

/* That nothing was made, and why. */
static bool refused(asocket *socket, int status)
{
    if (!socket && asocket_error(selector) == status)
        return true;
    diag("%s", socket ? "it was made" : asocket_error_message(selector));
    asocket_close(socket);
    return false;
}

static bool text_of(const asocket_address *address, char *text, size_t size)
{
    return asocket_address_format(address, text, size) >= 0;
}

static bool local_is(const asocket *socket, const char *expected)
{
    asocket_address address;
    char text[200] = "";

    asocket_local_address(socket, &address);
    text_of(&address, text, sizeof text);
    if (strcmp(text, expected) == 0)
        return true;
    diag("it is \"%s\", expected \"%s\"", text, expected);
    return false;
}

static bool remote_is(const asocket *socket, const char *expected)
{
    asocket_address address;
    char text[200] = "";

    if (asocket_remote_address(socket, &address) < 0)
        return false;
    text_of(&address, text, sizeof text);
    return strcmp(text, expected) == 0;
}

static const char *unix_text(const char *name)
{
    static char text[200];

    snprintf(text, sizeof text, "unix:%s", name);
    return text;
}

/* A server, a socket that it accepted, and its peer. */
typedef struct pair {
    asocket *server, *socket;
    int peer;
} pair;

static pair pair_open(void)
{
    const char *name = free_name();
    pair p;

    p.server = listening(name);
    p.peer = peer_to(name);
    p.socket = made(asocket_accept(p.server));
    return p;
}

static void pair_close(pair *p)
{
    if (p->peer >= 0)
        close(p->peer);
    asocket_close(p->socket);
    asocket_close(p->server);
}

/* --- names ------------------------------------------------------------------------------------ */

static void test_path(void)
{
    const char *path = path_of("stream");
    asocket *server = listening(path), *accepted;
    int peer = peer_to(path);
    struct stat file;

    ok(lstat(path, &file) == 0 && S_ISSOCK(file.st_mode), "a path becomes a file");
    ok(local_is(server, unix_text(path)), "which is its address");
    accepted = made(asocket_accept(server));
    test_peer_send(peer, "hello\n", 6);
    is_int(asocket_read_byte(asocket_open_read_channel(accepted)), 'h', "a connection is accepted");
    ok(local_is(accepted, unix_text(path)), "with the listener's address");
    close(peer);
    asocket_close(accepted);
    asocket_close(server);
    ok(local_is(server, unix_text(path)), "P8: it knows where it was when it is closed");
}

static void test_both_ends(void)
{
    const char *path = path_of("both");
    asocket *server = listening(path), *client = connected(path);
    asocket *accepted = made(asocket_accept(server));
    char line[20] = "";

    ok(remote_is(client, unix_text(path)), "a client knows whom it called");
    asocket_write_string(asocket_open_write_channel(client, ASOCKET_AUTO_FLUSH), "hello\n");
    is_int(asocket_read_line(asocket_open_read_channel(accepted), line, sizeof line), 5,
           "what it writes arrives");
    is_str(line, "hello", "as it was");
    asocket_close(client);
    asocket_close(accepted);
    asocket_close(server);
}

static void test_abstract(void)
{
    const char *name = free_name();
    asocket *server = ABSTRACT ? listening(name) : NULL, *accepted;
    int peer = ABSTRACT ? peer_to(name) : -1;

    if (!ABSTRACT) {
        ok(refused(asocket_bind(unix_builder(0), "@name", 0), ASOCKET_ENOTSUP),
           "P13: abstract names are Linux' own: %s", asocket_error_message(selector));
        return;
    }
    ok(peer >= 0, "an abstract name is listened on");
    ok(local_is(server, unix_text(name)), "it is its address");
    ok(!exists(name) && !exists(name + 1), "it has no file");
    accepted = made(asocket_accept(server));
    ok(accepted != NULL, "a connection is accepted");
    ok(refused(asocket_bind(unix_builder(1), name, 0), ASOCKET_EADDRINUSE), "it is one socket's");
    asocket_close(accepted);
    asocket_close(server);
    server = listening(name);
    ok(server != NULL, "and free when that is closed");
    asocket_close(server);
    close(peer);
}

static void test_name_length(void)
{
    asocket *server = listening(path_as_long_as(LONGEST)), *client;
    char name[200];

    client = connected(path_as_long_as(LONGEST));
    ok(server && client, "a path has up to %d bytes", LONGEST);
    ok(client && remote_is(client, unix_text(path_as_long_as(LONGEST))), "all of which count");
    asocket_close(client);
    asocket_close(server);
    ok(refused(asocket_bind(unix_builder(0), path_as_long_as(LONGEST + 1), 0), ASOCKET_EINVAL),
       "%d are too many", LONGEST + 1);
    ok(strstr(asocket_error_message(selector), "too long") != NULL, "the message says so: %s",
       asocket_error_message(selector));
    ok(refused(asocket_connect(unix_builder(0), path_as_long_as(150), 0), ASOCKET_EINVAL),
       "to connect, too");
    if (!ABSTRACT)
        return;
    memset(name, 'y', sizeof name);
    name[0] = '@';
    name[108] = 0;
    server = listening(name);
    ok(server && local_is(server, unix_text(name)), "an abstract name has up to 107 bytes");
    asocket_close(server);
    name[108] = 'y';
    name[109] = 0;
    ok(refused(asocket_bind(unix_builder(0), name, 0), ASOCKET_EINVAL), "108 are too many");
}

static void test_wrong_names(void)
{
    asocket_address internet = asocket_address_of(asocket_ipv4(127, 0, 0, 1), 0), path;

    asocket_address_parse(&path, unix_text(path_of("wrong")));
    ok(refused(asocket_bind(unix_builder(0), "", 0), ASOCKET_EINVAL), "no path");
    ok(refused(asocket_bind(unix_builder(0), NULL, 0), ASOCKET_EINVAL), "nothing at all");
    ok(refused(asocket_bind(unix_builder(0), "@", 0), ASOCKET_EINVAL), "no abstract name");
    ok(refused(asocket_bind(unix_builder(0), path_of("wrong"), 80), ASOCKET_EINVAL),
       "a path has no port");
    ok(strstr(asocket_error_message(selector), "port") != NULL, "the message says so");
    ok(refused(asocket_connect(unix_builder(0), path_of("wrong"), 80), ASOCKET_EINVAL),
       "to connect, too");
    ok(refused(asocket_bind_address(unix_builder(0), &internet), ASOCKET_EINVAL),
       "an address of the internet is none");
    ok(refused(asocket_bind_address(asocket_tcp(selector), &path), ASOCKET_EINVAL),
       "nor is a path one of TCP");
    ok(!exists(path_of("wrong")), "none of them made a file");
}

static void test_addresses(void)
{
    asocket_address address;
    asocket *server, *client;

    asocket_address_parse(&address, unix_text(path_of("address")));
    server = made(asocket_bind_address(unix_builder(1), &address));
    client = made(asocket_connect_address(unix_builder(0), &address));
    ok(server && client, "bind and connect by address");
    asocket_close(client);
    client = made(asocket_connect_any(unix_builder(0), &address, 1));
    ok(client != NULL, "connect to any of one");
    asocket_close(client);
    asocket_close(server);
}

/* --- the file --------------------------------------------------------------------------------- */

static void test_file_left_alone(void)
{
    const char *path = path_of("left");
    asocket *server = made(asocket_bind(unix_builder(0), path, 0));

    asocket_close(server);
    ok(exists(path), "without unlink the file stays");
    ok(refused(asocket_bind(unix_builder(0), path, 0), ASOCKET_EADDRINUSE),
       "without unlink it is in the way");
    ok(refused(asocket_bind(unix_builder(-1), path, 0), ASOCKET_EADDRINUSE),
       "so it is with unlink off");
    server = listening(path);
    ok(server != NULL, "with unlink a dead socket's file goes");
    asocket_close(server);
    ok(!exists(path), "ours goes at the close");
}

static void test_file_of_the_living(void)
{
    const char *path = path_of("living");
    asocket *server = listening(path);
    int other = peer_bound(SOCK_DGRAM, path_of("other kind")), peer;

    ok(refused(asocket_bind(unix_builder(1), path, 0), ASOCKET_EADDRINUSE),
       "a living socket's file stays");
    ok(refused(asocket_bind(datagram_builder(1), path, 0), ASOCKET_EADDRINUSE),
       "also if it is another kind of socket");
    ok(refused(asocket_bind(unix_builder(1), path_of("other kind"), 0), ASOCKET_EADDRINUSE),
       "either way");
    peer = peer_to(path);
    ok(exists(path) && peer >= 0, "it goes on listening");
    close(peer);
    close(other);
    unlink(path_of("other kind"));
    asocket_close(server);
}

static void test_file_that_is_no_socket(void)
{
    const char *path = path_of("regular");

    make_file(path);
    ok(refused(asocket_bind(unix_builder(1), path, 0), ASOCKET_EADDRINUSE),
       "what is no socket is in the way");
    ok(exists(path), "and stays");
    unlink(path);
    ok(symlink(path_of("target"), path) == 0, "a link");
    make_stale(SOCK_STREAM, path_of("target"));
    ok(refused(asocket_bind(unix_builder(1), path, 0), ASOCKET_EADDRINUSE), "is in the way");
    ok(exists(path) && exists(path_of("target")), "and stays, with what it points to");
    unlink(path);
    unlink(path_of("target"));
}

static void test_file_of_datagrams(void)
{
    const char *path = path_of("stale datagrams");
    asocket *socket;

    make_stale(SOCK_DGRAM, path);
    ok(refused(asocket_bind(datagram_builder(0), path, 0), ASOCKET_EADDRINUSE),
       "datagrams: a file is in the way");
    socket = receiving(path);
    ok(socket != NULL, "datagrams: with unlink a dead one goes");
    ok(refused(asocket_bind(datagram_builder(1), path, 0), ASOCKET_EADDRINUSE),
       "datagrams: a living one stays");
    asocket_close(socket);
    ok(!exists(path), "datagrams: ours goes at the close");
}

static void test_file_of_another(void)
{
    const char *path = path_of("replaced");
    asocket *server = listening(path);

    unlink(path);
    make_file(path);
    asocket_close(server);
    ok(exists(path), "a file that took the place of ours stays");
    unlink(path);
    server = listening(path);
    unlink(path);
    ok(asocket_close(server) == ASOCKET_OK, "one that is gone is no harm");
    server = listening(path);
    asocket_abort(server);
    ok(!exists(path), "an abort takes ours, too");
}

static void test_file_of_a_client(void)
{
    const char *path = path_of("client");
    asocket *server = receiving(path_of("server")), *client;
    asocket_builder builder = datagram_builder(1);
    asocket_address from;
    char buffer[20];

    asocket_address_parse(&builder.local, unix_text(path));
    make_stale(SOCK_DGRAM, path);
    client = made(asocket_connect(builder, path_of("server"), 0));
    ok(client && local_is(client, unix_text(path)), "a client has a name, too");
    is_int(asocket_send_to(client, "hello", 5, NULL), 5, "it sends");
    is_int(asocket_receive_from(server, buffer, sizeof buffer, &from), 5, "it is heard");
    is_int(asocket_send_to(server, "answer", 6, &from), 6, "a named peer can be answered");
    is_int(asocket_receive_from(client, buffer, sizeof buffer, NULL), 6, "and hears it");
    asocket_close(client);
    ok(!exists(path), "its file goes at the close");
    asocket_close(server);
}

/* --- what a connect finds --------------------------------------------------------------------- */

static void test_nobody_there(void)
{
    const char *path = path_of("nobody");

    ok(refused(asocket_connect(unix_builder(0), path, 0), ASOCKET_ENOTFOUND), "no file");
    ok(strstr(asocket_error_message(selector), path) != NULL, "the message names it: %s",
       asocket_error_message(selector));
    ok(refused(asocket_bind(unix_builder(0), path_of("no/such"), 0), ASOCKET_ENOTFOUND),
       "no directory");
    ok(refused(asocket_connect(unix_builder(0), free_name(), 0),
               ABSTRACT ? ASOCKET_ECONNREFUSED : ASOCKET_ENOTFOUND),
       "a name that is nobody's");
    make_stale(SOCK_STREAM, path);
    ok(refused(asocket_connect(unix_builder(0), path, 0), ASOCKET_ECONNREFUSED),
       "a file on which nobody listens");
    unlink(path);
    make_file(path);
    ok(refused(asocket_connect(unix_builder(0), path, 0), ASOCKET_ECONNREFUSED),
       "a file that is no socket");
    unlink(path);
    ok(refused(asocket_connect(unix_builder(0), path_of("no/such"), 0), ASOCKET_ENOTFOUND),
       "a directory that is none");
}

/* A path of streams is none of datagrams; macOS has another meaning for that error. */
#ifdef __APPLE__
enum { OTHER_KIND = ASOCKET_ECONNRESET };
#else
enum { OTHER_KIND = ASOCKET_EINVAL };
#endif

static void test_other_kind(void)
{
    const char *stream = path_of("stream"), *datagrams = path_of("datagrams");
    asocket *server = asocket_bind(unix_builder(0), stream, 0);
    asocket *receiver = asocket_bind(asocket_unix_datagram(selector), datagrams, 0);
    asocket_address to;

    asocket_local_address(server, &to);
    ok(refused(asocket_connect(unix_builder(0), datagrams, 0), OTHER_KIND),
       "a connection to a socket of datagrams");
    ok(refused(asocket_connect(asocket_unix_datagram(selector), stream, 0), OTHER_KIND),
       "a datagram socket to a listener");
    is_status(asocket_send_to(receiver, "x", 1, &to), OTHER_KIND, "a datagram to a listener");
    asocket_close(server);
    asocket_close(receiver);
    unlink(stream);
    unlink(datagrams);
}

/* What has no status of its own is told by its number. */
static void test_errors_of_the_system(void)
{
    const char *path = path_of("round");
    asocket_builder builder = unix_builder(0);
    char number[32], local[120];

    snprintf(number, sizeof number, "errno %d", ELOOP);
    if (symlink(path, path) < 0)
        return;
    ok(refused(asocket_connect(builder, path, 0), ASOCKET_EIO) &&
           strstr(asocket_error_message(selector), number) != NULL,
       "a link to itself, for connect: %s", asocket_error_message(selector));
    ok(refused(asocket_bind(builder, path_of("round/about"), 0), ASOCKET_EIO) &&
           strstr(asocket_error_message(selector), number) != NULL,
       "for bind: %s", asocket_error_message(selector));
    snprintf(local, sizeof local, "unix:%s", path_of("round/about"));
    ok(asocket_address_parse(&builder.local, local) == ASOCKET_OK &&
           refused(asocket_connect(builder, path, 0), ASOCKET_EIO) &&
           strstr(asocket_error_message(selector), number) != NULL,
       "for the local address: %s", asocket_error_message(selector));
    unlink(path);
}

/* In a process of its own, as a user who may not. */
static int status_as_nobody(const char *path, int backend)
{
    asocket_selector_options options;

    memset(&options, 0, sizeof options);
    options.backend = backend;
    if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
        return 2;
    selector = asocket_selector_create(&options);
    if (!selector || asocket_connect(unix_builder(0), path, 0) ||
        asocket_error(selector) != ASOCKET_EACCES)
        return 3;
    if (asocket_bind(unix_builder(1), path_of("forbidden"), 0) ||
        asocket_error(selector) != ASOCKET_EACCES)
        return 4;
    asocket_selector_destroy(selector);
    return 0;
}

static void test_permission(int backend)
{
    const char *path = path_of("permission");
    asocket *server = listening(path);
    int status = -1;
    pid_t child;

    if (getuid() != 0) {
        skip(1, "only root can become nobody");
        asocket_close(server);
        return;
    }
    fflush(stdout);
    child = fork();
    if (child == 0)
        _exit(status_as_nobody(path, backend));
    waitpid(child, &status, 0);
    is_int(status, 0, "who may not connect or bind is told EACCES");
    asocket_close(server);
}

/* --- who the peer is -------------------------------------------------------------------------- */

static void test_nameless(void)
{
    pair p = pair_open();
    asocket_address address;
    char text[20] = "?";

    is_status(asocket_remote_address(p.socket, &address), ASOCKET_OK, "a peer without a name");
    ok(!address.path_length && !address.ip.family, "has an empty address");
    is_status(asocket_address_format(&address, text, sizeof text), ASOCKET_EINVAL,
              "of which there is no text");
    is_str(text, "", "not even a wrong one");
    pair_close(&p);
}

static void test_named_peer(void)
{
    const char *name = free_name(), *path = path_of("peer");
    asocket *server = listening(name), *accepted;
    int peer = peer_bound(SOCK_STREAM, path);

    ok(peer_connect(peer, name), "a peer with a name connects");
    accepted = made(asocket_accept(server));
    ok(accepted && remote_is(accepted, unix_text(path)), "it is its address");
    asocket_abort(accepted);
    ok(accepted && remote_is(accepted, unix_text(path)), "P8: also when the socket is closed");
    close(peer);
    unlink(path);
    asocket_close(server);
}

/* The system lets a path fill sun_path to the last byte. */
static void test_longest_peer(void)
{
    const char *name = free_name(), *path = path_as_long_as(108);
    asocket *server = listening(name), *accepted;
    asocket_address address;
    int peer = peer_bound(SOCK_STREAM, path);

    ok(peer_connect(peer, name), "a peer with a path of 108 bytes connects");
    accepted = made(asocket_accept(server));
    is_status(asocket_remote_address(accepted, &address), ASOCKET_OK, "P10: it does no harm");
    ok(address.path_length == 108 && memcmp(address.path, path, 108) == 0, "and is shown as it is");
    asocket_abort(accepted);
    close(peer);
    unlink(path);
    asocket_close(server);
}

static void test_credentials(void)
{
    const char *name = free_name();
    asocket *server = listening(name), *accepted;
    asocket_credentials who;
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        char byte;
        int peer = peer_to(name);

        _exit(recv(peer, &byte, 1, 0) == 0 ? 0 : 1);
    }
    memset(&who, 0, sizeof who);
    accepted = made(asocket_accept(server));
    is_status(asocket_peer_credentials(accepted, &who), ASOCKET_OK, "a peer has credentials");
    is_int(who.process, child, "its process");
    is_int(who.user, getuid(), "its user");
    is_int(who.group, getgid(), "its group");
    asocket_abort(accepted);
    waitpid(child, NULL, 0);
    asocket_close(server);
}

static void test_wrong_credentials(void)
{
    asocket *tcp = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    asocket *datagrams = receiving(free_name());
    asocket_credentials who;
    pair p = pair_open();

    is_status(asocket_peer_credentials(NULL, &who), ASOCKET_EINVAL, "credentials of nobody");
    is_status(asocket_peer_credentials(p.socket, NULL), ASOCKET_EINVAL, "to nowhere");
    is_status(asocket_peer_credentials(tcp, &who), ASOCKET_EINVAL, "of a TCP listener");
    is_status(asocket_peer_credentials(p.server, &who), ASOCKET_EINVAL, "of a listener");
    is_status(asocket_peer_credentials(datagrams, &who), ASOCKET_EINVAL, "of no stream");
    asocket_close(p.socket);
    is_status(asocket_peer_credentials(p.socket, &who), ASOCKET_ECLOSED, "P8: of a closed one");
    asocket_close(tcp);
    asocket_close(datagrams);
    pair_close(&p);
}

/* --- accepting -------------------------------------------------------------------------------- */

/* A listener whose queue is full, and those who filled it. */
typedef struct crowd {
    asocket *server;
    const char *name;
    int peers[20], count;
} crowd;

static crowd crowd_gather(void)
{
    asocket_builder builder = unix_builder(1);
    crowd c;

    c.name = free_name();
    c.count = 0;
    builder.backlog = 1;
    c.server = made(asocket_bind(builder, c.name, 0));
    while (c.count < 20) {
        int peer = peer_of(SOCK_STREAM);

        fcntl(peer, F_SETFL, O_NONBLOCK);
        if (!peer_connect(peer, c.name)) {
            close(peer);
            break;
        }
        c.peers[c.count++] = peer;
    }
    return c;
}

static void crowd_leave(crowd *c)
{
    while (c->count)
        close(c->peers[--c->count]);
    asocket_close(c->server);
}

static void accept_soon(asocket_selector *unused, void *argument)
{
    asocket *server = (asocket *)argument;

    asocket_sleep(unused, 20);
    asocket_close(asocket_accept(server));
}

static void test_full_backlog(void)
{
    crowd c = crowd_gather();
    asocket_builder builder = unix_builder(0);
    asocket_statistics before, after;
    asocket *client;
    int64_t start = test_clock();

    ok(c.count > 0 && c.count < 20, "a queue can be full");
    builder.connect_timeout = 20;
    ok(refused(asocket_connect(builder, c.name, 0), ASOCKET_ETIMEDOUT), "P7: who waits times out");
    ok(test_took(start, 20, 60), "P11: not early");
    builder.connect_timeout = ASOCKET_NO_WAIT;
    ok(refused(asocket_connect(builder, c.name, 0), ASOCKET_EAGAIN),
       "who does not wait is told so");
    asocket_stats(selector, &before);
    builder.connect_timeout = 500;
    ok(refused(asocket_connect(builder, c.name, 0), ASOCKET_ETIMEDOUT), "P11: who waits for long");
    asocket_stats(selector, &after);
    if (!ok(after.system_calls - before.system_calls < 100, "P11: asks less and less often"))
        diag("%d system calls", (int)(after.system_calls - before.system_calls));
    asocket_launch(selector, accept_soon, c.server);
    builder.connect_timeout = 5000;
    start = test_clock();
    client = made(asocket_connect(builder, c.name, 0));
    ok(client != NULL, "who waits gets in when somebody is accepted");
    ok(test_took(start, 20, 60), "soon after that");
    asocket_close(client);
    crowd_leave(&c);
}

typedef struct accepting {
    asocket *server;
    int status;
} accepting;

static void accept_one(asocket_selector *unused, void *argument)
{
    accepting *a = (accepting *)argument;

    a->status = asocket_accept(a->server) ? ASOCKET_OK : asocket_error(unused);
}

static void test_accept_ends(void)
{
    accepting a = {listening(free_name()), 0};
    asocket_job job;

    asocket_set_timeout(a.server, ASOCKET_NO_WAIT);
    ok(refused(asocket_accept(a.server), ASOCKET_EAGAIN), "P9: nobody is there");
    asocket_set_timeout(a.server, 10);
    ok(refused(asocket_accept(a.server), ASOCKET_ETIMEDOUT), "P9: an accept times out");
    asocket_set_timeout(a.server, ASOCKET_FOREVER);
    job = asocket_launch(selector, accept_one, &a);
    asocket_sleep(selector, 2);
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(a.status, ASOCKET_ECANCELED, "P9: it can be cancelled");
    job = asocket_launch(selector, accept_one, &a);
    asocket_sleep(selector, 2);
    asocket_close(a.server);
    asocket_join(selector, job);
    is_status(a.status, ASOCKET_ECLOSED, "P9: a close ends it");
}

static void echo(asocket_selector *unused, void *argument)
{
    asocket *client = (asocket *)argument;
    asocket_write_channel *out = asocket_open_write_channel(client, ASOCKET_AUTO_FLUSH);

    (void)unused;
    asocket_copy(asocket_open_read_channel(client), out, ASOCKET_FOREVER);
    asocket_finish(out);
}

static void serve_echo(asocket_selector *unused, void *argument)
{
    (void)unused;
    asocket_serve((asocket *)argument, echo);
}

static void test_serve(void)
{
    const char *name = path_of("served");
    asocket *server = listening(name);
    asocket_job job = asocket_launch(selector, serve_echo, server);
    int peers[20], i, right = 0;

    for (i = 0; i < 20; i++) {
        peers[i] = peer_to(name);
        test_peer_send(peers[i], "hello", 5);
    }
    for (i = 19; i >= 0; i--) {
        right += test_peer_expect(selector, peers[i], "hello");
        close(peers[i]);
    }
    is_int(right, 20, "a server answers 20 at a time");
    asocket_close(server);
    asocket_join(selector, job);
    ok(!exists(name), "and ends with its file");
}

/* --- the stream ------------------------------------------------------------------------------- */

static void test_half_close(void)
{
    pair p = pair_open();
    asocket_read_channel *in = asocket_open_read_channel(p.socket);
    asocket_write_channel *out = asocket_open_write_channel(p.socket, 0);
    char line[20];

    test_peer_send(p.peer, "last", 4);
    shutdown(p.peer, SHUT_WR);
    is_int(asocket_read_line(in, line, sizeof line), 4, "P1: a last line needs no end");
    is_status(asocket_read_line(in, line, sizeof line), ASOCKET_EOF, "P1: then there is the end");
    asocket_write_string(out, "answer");
    is_status(asocket_finish(out), ASOCKET_OK, "P3: the other direction goes on");
    ok(test_peer_expect(selector, p.peer, "answer"), "P3: and arrives");
    is_int(test_peer_end(selector, p.peer), 0, "P3: with an end of its own");
    is_status(asocket_write_string(out, "more"), ASOCKET_ECLOSED, "which is one");
    pair_close(&p);
}

typedef struct bulk {
    asocket_read_channel *in;
    char *bytes;
    ptrdiff_t count;
} bulk;

static void read_bulk(asocket_selector *unused, void *argument)
{
    bulk *b = (bulk *)argument;

    (void)unused;
    b->count = asocket_read_full(b->in, b->bytes, LARGE);
}

static void test_large(void)
{
    const char *name = free_name();
    asocket *server = listening(name), *client = connected(name);
    asocket_job served = asocket_launch(selector, serve_echo, server), reading;
    asocket_write_channel *out = asocket_open_write_channel(client, 0);
    char *bytes = (char *)malloc(LARGE);
    bulk b = {asocket_open_read_channel(client), (char *)malloc(LARGE), 0};
    size_t i;

    for (i = 0; i < LARGE; i++)
        bytes[i] = (char)(i * 31 + i / 4096);
    reading = asocket_launch(selector, read_bulk, &b);
    is_int(asocket_write(out, bytes, LARGE), LARGE, "8 MiB are written");
    is_status(asocket_finish(out), ASOCKET_OK, "P3: to the end");
    asocket_join(selector, reading);
    is_int(b.count, LARGE, "they come back");
    ok(memcmp(bytes, b.bytes, LARGE) == 0, "as they were");
    is_status(asocket_read_byte(b.in), ASOCKET_EOF, "P1: and no more");
    free(bytes);
    free(b.bytes);
    asocket_close(client);
    asocket_close(server);
    asocket_join(selector, served);
}

static void test_graceful_close(void)
{
    pair p = pair_open();
    asocket_write_channel *out = asocket_open_write_channel(p.socket, 0);
    static char bytes[1 << 16];
    static char got[1 << 16];

    memset(bytes, 'g', sizeof bytes);
    asocket_set_option(p.socket, ASOCKET_OPTION_SEND_BUFFER, 5000);
    asocket_write(out, bytes, 10000);
    is_status(asocket_close(p.socket), ASOCKET_OK, "a close returns at once");
    ok(asocket_is_closed(p.socket), "P8: it is closed");
    is_int(test_peer_receive(selector, p.peer, got, 10000), 10000, "P2: what was written arrives");
    is_int(test_peer_end(selector, p.peer), 0, "P2: and the end");
    close(p.peer);
    p.peer = -1;
    is_status(asocket_await_closed(p.socket), ASOCKET_OK, "P2: then it is gone");
    pair_close(&p);
}

/* Unread bytes must not cost the peer what was written. */
static void test_close_with_unread(void)
{
    pair p = pair_open();
    asocket_write_channel *out = asocket_open_write_channel(p.socket, 0);

    test_peer_send(p.peer, "never read", 10);
    asocket_write_string(out, "answer");
    asocket_close(p.socket);
    ok(test_peer_expect(selector, p.peer, "answer"), "P2: an answer arrives before its end");
    is_int(test_peer_end(selector, p.peer), 0, "P2: which is no reset");
    pair_close(&p);
}

static void test_abort(void)
{
    pair p = pair_open();

    test_peer_send(p.peer, "never read", 10);
    is_status(asocket_abort(p.socket), ASOCKET_OK, "an abort");
    is_int(test_peer_end(selector, p.peer), -ECONNRESET, "is a reset when bytes are left");
    is_status(asocket_abort(p.socket), ASOCKET_ECLOSED, "once");
    pair_close(&p);
}

static void test_reset_by_peer(void)
{
    pair p = pair_open();
    asocket_read_channel *in = asocket_open_read_channel(p.socket);
    asocket_write_channel *out = asocket_open_write_channel(p.socket, 0);

    asocket_write_string(out, "never read");
    asocket_flush(out);
    close(p.peer);
    p.peer = -1;
    is_status(asocket_read_byte(in), ASOCKET_ECONNRESET, "P1: a reset is no end");
    asocket_write_string(out, "more");
    is_status(asocket_flush(out), ASOCKET_ECONNRESET, "P6: writing to nobody is a status");
    pair_close(&p);
}

static void test_waits(void)
{
    pair p = pair_open();
    asocket_read_channel *in = asocket_open_read_channel(p.socket);
    asocket_write_channel *out = asocket_open_write_channel(p.socket, 0);
    static char bytes[1 << 20];
    int64_t former;

    asocket_set_timeout(p.socket, 10);
    is_status(asocket_read_byte(in), ASOCKET_ETIMEDOUT, "P7: reading times out");
    is_status(asocket_write(out, bytes, sizeof bytes), ASOCKET_ETIMEDOUT, "P7: so does writing");
    asocket_set_timeout(p.socket, ASOCKET_FOREVER);
    former = asocket_set_deadline(selector, 10);
    is_status(asocket_read_byte(in), ASOCKET_ETIMEDOUT, "P7: a deadline ends it, too");
    asocket_restore_deadline(selector, former);
    test_peer_send(p.peer, "x", 1);
    is_int(asocket_read_byte(in), 'x', "P7: the next call works");
    asocket_abort(p.socket);
    pair_close(&p);
}

/* --- adopting --------------------------------------------------------------------------------- */

static void test_adopt_stream(void)
{
    asocket *left, *right;
    asocket_credentials who;
    int ends[2];
    char line[20];

    socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
    left = made(asocket_adopt(unix_builder(0), ends[0]));
    right = made(asocket_adopt(unix_builder(0), ends[1]));
    ok(fcntl(ends[0], F_GETFL) & O_NONBLOCK && fcntl(ends[0], F_GETFD) & FD_CLOEXEC,
       "P6: adopted, an end is non-blocking and close-on-exec");
    asocket_write_string(asocket_open_write_channel(left, ASOCKET_AUTO_FLUSH), "across\n");
    is_int(asocket_read_line(asocket_open_read_channel(right), line, sizeof line), 6,
           "from one end to the other");
    ok(asocket_peer_credentials(left, &who) == ASOCKET_OK && who.process == getpid(),
       "the peer is this process");
    asocket_close(left);
    asocket_close(right);
}

static void test_adopt_datagrams(void)
{
    asocket *left;
    asocket_address from;
    char buffer[20];
    int ends[2];

    socketpair(AF_UNIX, SOCK_DGRAM, 0, ends);
    ok(refused(asocket_adopt(unix_builder(0), ends[0]), ASOCKET_EINVAL), "datagrams are no stream");
    ok(refused(asocket_adopt(asocket_udp(selector), ends[0]), ASOCKET_EINVAL), "nor UDP");
    left = made(asocket_adopt(datagram_builder(0), ends[0]));
    is_int(asocket_send_to(left, "there", 5, NULL), 5, "an end sends to the other");
    ok(peer_gets(ends[1], "there"), "which receives");
    is_int(send(ends[1], "", 0, 0), 0, "and answers with nothing");
    is_int(asocket_receive_from(left, buffer, sizeof buffer, &from), 0, "P1: which is no end");
    ok(!from.path_length && !from.ip.family, "and comes from nowhere");
    close(ends[1]);
    asocket_send_to(left, "lost", 4, NULL); /* or the loss is told at once */
    asocket_set_timeout(left, 10);
    ok(asocket_send_to(left, "lost", 4, NULL) < 0, "with nobody there sending fails");
    ok(asocket_receive_from(left, buffer, sizeof buffer, NULL) < 0, "so does receiving");
    asocket_close(left);
}

static bool starving;

static void *resize_or_not(void *user, void *block, size_t old_size, size_t new_size)
{
    (void)user;
    (void)old_size;
    if (new_size)
        return starving ? NULL : realloc(block, new_size);
    free(block);
    return NULL;
}

/* The name of who it is connected to needs some; an adopted one without would send to nobody. */
static void test_adopt_without_memory(int backend)
{
    asocket_selector *former = selector;
    asocket_selector_options options;
    asocket *left;
    int ends[2];

    memset(&options, 0, sizeof options);
    options.backend = backend;
    options.allocator.resize = resize_or_not;
    selector = asocket_selector_create(&options);
    asocket_close(made(asocket_bind(asocket_udp(selector), "127.0.0.1", 0))); /* room for sockets */
    socketpair(AF_UNIX, SOCK_DGRAM, 0, ends);
    starving = true;
    left = asocket_adopt(datagram_builder(0), ends[0]);
    ok(refused(left, ASOCKET_ENOMEM), "without memory nothing is adopted");
    starving = false;
    left = made(asocket_adopt(datagram_builder(0), ends[0]));
    is_int(asocket_send_to(left, "there", 5, NULL), 5, "... and the caller has kept it");
    asocket_close(left);
    close(ends[1]);
    asocket_selector_destroy(selector);
    selector = former;
}

static void test_adopt_listener(void)
{
    const char *path = path_of("adopted");
    int fd = peer_bound(SOCK_STREAM, path), peer;
    asocket *server, *accepted;

    listen(fd, 5);
    server = made(asocket_adopt(unix_builder(0), fd));
    peer = peer_to(path);
    accepted = made(asocket_accept(server));
    ok(accepted != NULL, "an adopted listener accepts");
    ok(local_is(server, unix_text(path)), "it knows its path");
    close(peer);
    asocket_close(accepted);
    asocket_close(server);
    ok(exists(path), "and leaves the file to its owner");
    unlink(path);
}

/* --- datagrams -------------------------------------------------------------------------------- */

static void test_datagrams(void)
{
    const char *path = path_of("datagrams");
    asocket *socket = receiving(path);
    asocket_address from;
    char buffer[20], text[200] = "";
    int named = peer_bound(SOCK_DGRAM, path_of("named")), nameless = peer_of(SOCK_DGRAM);

    ok(peer_send_to(named, path, "hello"), "a named peer sends");
    is_int(asocket_receive_from(socket, buffer, sizeof buffer, &from), 5, "it is received");
    text_of(&from, text, sizeof text);
    is_str(text, unix_text(path_of("named")), "with its name");
    is_int(asocket_send_to(socket, "you", 3, &from), 3, "it can be answered");
    ok(peer_gets(named, "you"), "and gets that");
    ok(peer_send_to(nameless, path, "hi"), "a nameless one sends");
    is_int(asocket_receive_from(socket, buffer, sizeof buffer, &from), 2, "it is received");
    ok(!from.path_length && !from.ip.family, "from nobody");
    is_status(asocket_send_to(socket, "who", 3, &from), ASOCKET_EINVAL, "who cannot be answered");
    close(named);
    close(nameless);
    unlink(path_of("named"));
    asocket_close(socket);
}

static void test_abstract_datagrams(void)
{
    asocket *first = receiving(free_name()), *second = receiving(free_name());
    asocket_address to, from;
    asocket_datagram datagram;
    char buffer[4];

    asocket_local_address(second, &to);
    is_int(asocket_send_to(first, "hello", 5, &to), 5, "to an abstract name");
    memset(&datagram, 0, sizeof datagram);
    datagram.data = buffer;
    datagram.capacity = sizeof buffer;
    is_int(asocket_receive(second, &datagram), 4, "one that is too long for the buffer");
    ok(datagram.truncated, "says so");
    asocket_local_address(first, &from);
    ok(asocket_address_equal(&datagram.address, &from), "and from whom it is");
    is_int(asocket_send_to(first, NULL, 0, &to), 0, "an empty one");
    is_int(asocket_receive(second, &datagram), 0, "P1: is one");
    ok(!datagram.truncated, "and whole");
    asocket_close(first);
    asocket_close(second);
}

static void test_datagram_targets(void)
{
    const char *path = path_of("target");
    asocket *socket = receiving(free_name());
    asocket_address to, internet = asocket_address_of(asocket_ipv4(127, 0, 0, 1), 9);
    static char bytes[1 << 20];

    asocket_address_parse(&to, unix_text(path));
    is_status(asocket_send_to(socket, "x", 1, &to), ASOCKET_ENOTFOUND, "to no file");
    make_stale(SOCK_DGRAM, path);
    is_status(asocket_send_to(socket, "x", 1, &to), ASOCKET_ECONNREFUSED, "to nobody");
    unlink(path);
    is_status(asocket_send_to(socket, "x", 1, &internet), ASOCKET_EINVAL, "to the internet");
    is_status(asocket_send_to(socket, "x", 1, NULL), ASOCKET_EINVAL, "to nowhere");
    asocket_local_address(socket, &to);
    is_status(asocket_send_to(socket, bytes, sizeof bytes, &to), ASOCKET_EMSGSIZE, "too much");
    is_int(asocket_send_to(socket, "x", 1, &to), 1, "to itself");
    is_int(asocket_receive_from(socket, bytes, sizeof bytes, NULL), 1, "which receives it");
    asocket_close(socket);
}

/* A receiver that lost its peer is told at most once, and goes on. */
static void test_datagram_peer_gone(void)
{
    const char *path = path_of("gone");
    asocket *receiver = receiving(path), *client;
    asocket *again;

    client = made(asocket_connect(datagram_builder(0), path, 0));
    is_int(asocket_send_to(client, "one", 3, NULL), 3, "a connected one sends");
    asocket_close(receiver);
    is_status(asocket_send_to(client, "two", 3, NULL), ASOCKET_ECONNREFUSED,
              "until nobody is there");
    ok(asocket_send_to(client, "three", 5, NULL) < 0, "which stays so");
    again = receiving(path);
    ok(again != NULL, "another one may come");
    asocket_close(again);
    asocket_close(client);
}

typedef struct drain {
    asocket *socket;
    int wanted, got;
} drain;

static void drain_slowly(asocket_selector *unused, void *argument)
{
    drain *d = (drain *)argument;
    char byte;

    while (d->got < d->wanted) {
        if (asocket_receive_from(d->socket, &byte, 1, NULL) < 0)
            return;
        d->got++;
        if (d->got % 10 == 0)
            asocket_sleep(unused, 1);
    }
}

/* More than a receiver's queue takes (10 on most systems). */
static void check_full_receiver(asocket *sender, asocket *receiver, const asocket_address *to,
                                const char *which)
{
    drain d = {receiver, 100, 0};
    asocket_job job;
    int sent = 0;

    asocket_set_timeout(sender, ASOCKET_NO_WAIT);
    while (sent < 10000 && asocket_send_to(sender, "x", 1, to) == 1)
        sent++;
    is_status(asocket_error(selector), ASOCKET_EAGAIN, "%s: a receiver's queue is full", which);
    asocket_set_timeout(sender, 20);
    is_status(asocket_send_to(sender, "x", 1, to), ASOCKET_ETIMEDOUT, "%s: P7: who waits times out",
              which);
    asocket_set_timeout(sender, 5000);
    d.wanted = sent + 100;
    job = asocket_launch(selector, drain_slowly, &d);
    for (sent = 0; sent < 100; sent++)
        if (asocket_send_to(sender, "x", 1, to) != 1)
            break;
    is_int(sent, 100, "%s: a sender waits for room", which);
    asocket_join(selector, job);
    is_int(d.got, d.wanted, "%s: and nothing is lost", which);
}

static void test_full_receiver(void)
{
    asocket *receiver = receiving(path_of("full")), *sender = receiving(free_name());
    asocket_address to;
    int64_t start = test_clock();

    asocket_local_address(receiver, &to);
    check_full_receiver(sender, receiver, &to, "unconnected");
    asocket_close(sender);
    sender = made(asocket_connect(datagram_builder(0), path_of("full"), 0));
    check_full_receiver(sender, receiver, NULL, "connected");
    ok(test_took(start, 0, 500), "nobody waited for a time-out");
    asocket_close(sender);
    asocket_close(receiver);
}

static void send_many_of(asocket *sender, const asocket_address *to, int count, int *sent)
{
    asocket_datagram datagrams[70];
    int i;

    memset(datagrams, 0, sizeof datagrams);
    for (i = 0; i < count; i++) {
        datagrams[i].data = (char *)(uintptr_t) "abc";
        datagrams[i].size = (size_t)(i % 3 + 1);
        datagrams[i].address = *to;
    }
    *sent = asocket_send_many(sender, datagrams, (size_t)count);
}

static void test_many_datagrams(void)
{
    asocket *receiver = receiving(free_name()), *sender = receiving(free_name());
    asocket_datagram datagrams[8];
    asocket_address to;
    drain d = {receiver, 70, 0};
    char bytes[8][4];
    int i, sent;
    asocket_job job;

    asocket_local_address(receiver, &to);
    send_many_of(sender, &to, 8, &sent);
    is_int(sent, 8, "many at a time");
    memset(datagrams, 0, sizeof datagrams);
    for (i = 0; i < 8; i++) {
        datagrams[i].data = bytes[i];
        datagrams[i].capacity = sizeof bytes[i];
    }
    is_int(asocket_receive_many(receiver, datagrams, 8), 8, "are received at a time");
    ok(datagrams[0].size == 1 && datagrams[7].size == 2, "each with its size");
    asocket_local_address(sender, &to);
    ok(asocket_address_equal(&datagrams[7].address, &to), "and its sender");
    job = asocket_launch(selector, drain_slowly, &d);
    asocket_local_address(receiver, &to);
    send_many_of(sender, &to, 70, &sent);
    is_int(sent, 70, "more than the queue takes wait for room");
    asocket_join(selector, job);
    is_int(d.got, 70, "and all of them arrive");
    asocket_close(sender);
    asocket_close(receiver);
}

/* --- options ---------------------------------------------------------------------------------- */

static void test_options(void)
{
    asocket_builder builder = unix_builder(1), tcp = asocket_tcp(selector);
    asocket *server = listening(free_name());
    int value = 0;

    is_status(asocket_set_option(server, ASOCKET_OPTION_SEND_BUFFER, 20000), ASOCKET_OK,
              "a buffer has a size");
    ok(asocket_get_option(server, ASOCKET_OPTION_SEND_BUFFER, &value) == ASOCKET_OK &&
           value >= 20000,
       "that can be asked");
    is_status(asocket_set_option(server, ASOCKET_OPTION_NO_DELAY, 1), ASOCKET_EINVAL,
              "an option of TCP is none of Unix sockets");
    is_status(asocket_get_option(server, ASOCKET_OPTION_TTL, &value), ASOCKET_EINVAL,
              "nor one of IP");
    builder.keep_alive = 1;
    ok(refused(asocket_bind(builder, free_name(), 0), ASOCKET_EINVAL), "nor in the builder");
    builder = unix_builder(2);
    ok(refused(asocket_bind(builder, free_name(), 0), ASOCKET_EINVAL), "unlink is a switch");
    tcp.unlink = 1;
    ok(refused(asocket_bind(tcp, "127.0.0.1", 0), ASOCKET_EINVAL), "and none of TCP");
    asocket_close(server);
}

static void remove_directory(void)
{
    unlink(path_as_long_as(LONGEST));
    if (!ok(rmdir(directory) == 0, "no file is left"))
        diag("%s", strerror(errno));
}

static void test_streams(void)
{
    test_both_ends();
    test_name_length();
    test_addresses();
    test_nameless();
    test_accept_ends();
    test_serve();
    test_half_close();
    test_large();
    test_graceful_close();
    test_close_with_unread();
    test_abort();
    test_reset_by_peer();
    test_waits();
    test_adopt_listener();
}

/* What only systems have that are like Unix: datagrams, kinds of files, names of clients. */
static void test_more_than_streams(int backend)
{
    test_path();
    test_abstract();
    test_wrong_names();
    test_file_left_alone();
    test_file_of_the_living();
    test_file_that_is_no_socket();
    test_file_of_datagrams();
    test_file_of_another();
    test_file_of_a_client();
    test_nobody_there();
    test_other_kind();
    test_errors_of_the_system();
    test_permission(backend);
    test_named_peer();
    if (ABSTRACT) /* there the longest path has no NUL byte */
        test_longest_peer();
    test_credentials();
    test_wrong_credentials();
    test_full_backlog();
    test_adopt_stream();
    test_adopt_datagrams();
    test_adopt_without_memory(backend);
    test_datagrams();
    test_abstract_datagrams();
    test_datagram_targets();
    test_datagram_peer_gone();
    test_full_receiver();
    test_many_datagrams();
    test_options();
}

int main(int argc, char **argv)
{
    if (!mkdtemp(directory))
        skip_all("no directory can be made in /tmp");
    selector = test_selector(argc, argv);
    test_streams();
    if (!test_skips(TEST_WINDOWS, 1, "Unix sockets of Windows are streams, of Wine a stand-in"))
        test_more_than_streams(test_backend(argc, argv));
    remove_directory();
    return test_end(selector);
}
