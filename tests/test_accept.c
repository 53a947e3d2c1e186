/* Listening and accepting: where a listener can be reached, what accepted sockets inherit, how an
   accept ends, many clients, and the limit of descriptors. The peers are plain sockets. */
#include "test.h"

#include <poll.h>
#include <sys/resource.h>
#ifdef __linux__
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#endif

static asocket_selector *selector;

/* --- peers and servers ------------------------------------------------------------------------ */

/* A blocking connection to an IPv4 or IPv6 address; -1 and errno: it did not work. */
static int peer_to(const char *host, int port)
{
    struct sockaddr_storage to;
    asocket_address address;
    int length, fd;

    memset(&address, 0, sizeof address);
    if (asocket_ip_parse(&address.ip, host) < 0)
        return -1;
    address.port = (uint16_t)port;
    length = asocket_address_to_native(&address, &to, sizeof to);
    fd = socket(to.ss_family, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, (socklen_t)length) < 0) {
        int error = errno;

        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static bool ipv6_works(void)
{
    struct sockaddr_in6 at;
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool works;

    memset(&at, 0, sizeof at);
    at.sin6_family = AF_INET6;
    at.sin6_addr = in6addr_loopback;
    works = fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0;
    if (fd >= 0)
        close(fd);
    return works;
}

static int port_of(const asocket *server)
{
    asocket_address address;

    return asocket_local_address(server, &address) < 0 ? -1 : address.port;
}

static asocket *listen_on(const char *host)
{
    asocket *server = asocket_bind(asocket_tcp(selector), host, 0);

    if (!server)
        ok(false, "a server can be bound: %s", asocket_error_message(selector));
    return server;
}

/* The same, with a time-out, so that a test that fails does not hang. */
static asocket *listen_locally(void)
{
    asocket *server = listen_on("127.0.0.1");

    asocket_set_timeout(server, 5000);
    return server;
}

/* Whether a connection to this address reaches the server. */
static bool reaches(asocket *server, const char *host)
{
    int peer = peer_to(host, port_of(server));
    asocket *client = NULL;

    asocket_set_timeout(server, 50);
    if (peer >= 0)
        client = asocket_accept(server);
    if (client)
        asocket_abort(client);
    if (peer >= 0)
        close(peer);
    return client != NULL;
}

/* Accepts one connection and asks for its first byte; -1: there was none. */
static int accepted_byte(asocket *server)
{
    asocket *client = asocket_accept(server);
    asocket_read_channel *in = client ? asocket_open_read_channel(client) : NULL;
    int byte = in ? asocket_read_byte(in) : -1;

    if (client)
        asocket_abort(client);
    return byte;
}

/* --- one at a time ---------------------------------------------------------------------------- */

static void test_one_at_a_time(void)
{
    asocket *server = listen_locally(), *client;
    asocket_address remote, local;
    struct sockaddr_in own;
    socklen_t length = sizeof own;
    int first = test_peer_connect(port_of(server)), second = test_peer_connect(port_of(server));

    ok(port_of(server) > 0, "port 0 becomes a port that is free");
    ok(first >= 0 && second >= 0, "connections are taken before anybody accepts");
    ok(test_peer_send(first, "1", 1) && test_peer_send(second, "2", 1), "they may send already");
    client = asocket_accept(server);
    memset(&own, 0, sizeof own);
    getsockname(first, (struct sockaddr *)&own, &length);
    ok(client && asocket_remote_address(client, &remote) == ASOCKET_OK &&
           remote.port == ntohs(own.sin_port) && remote.ip.family == 4,
       "an accepted socket knows its peer");
    ok(client && asocket_local_address(client, &local) == ASOCKET_OK &&
           local.port == port_of(server) && asocket_ip_is_loopback(&local.ip),
       "and its own address");
    is_int(accepted_byte(server), '2', "connections come in their order");
    asocket_abort(client);
    close(first);
    close(second);
    asocket_close(server);
}

/* The queue's length as the kernel has it, or -1. */
static int backlog_of(asocket *server)
{
#ifdef __linux__
    struct tcp_info info;
    socklen_t length = sizeof info;

    if (getsockopt(asocket_native_handle(server), IPPROTO_TCP, TCP_INFO, &info, &length) == 0 &&
        length > offsetof(struct tcp_info, tcpi_sacked))
        return (int)info.tcpi_sacked; /* of a listener: the most that it queues */
#else
    (void)server;
#endif
    return -1;
}

static void test_backlog(void)
{
    asocket_builder builder = asocket_tcp(selector);
    asocket *server = listen_locally();

    if (backlog_of(server) < 0) {
        skip(2, "the system does not tell the backlog");
    } else {
        ok(backlog_of(server) == 511 || backlog_of(server) == 128, "the default backlog is 511");
        asocket_close(server);
        builder.backlog = 3;
        server = asocket_bind(builder, "127.0.0.1", 0);
        is_int(backlog_of(server), 3, "the builder's backlog reaches the kernel");
    }
    asocket_close(server);
}

/* --- where it listens ------------------------------------------------------------------------- */

static void test_ipv4(void)
{
    asocket *server = listen_on("127.0.0.1"), *any = listen_on("0.0.0.0");

    ok(reaches(server, "127.0.0.1"), "127.0.0.1 is reached there");
    ok(!reaches(server, test_own_host()), "and nowhere else");
    ok(!reaches(server, "::1"), "not over IPv6");
    ok(reaches(any, "127.0.0.1") && reaches(any, "127.0.0.2"), "0.0.0.0 is every IPv4 address");
    asocket_close(server);
    asocket_close(any);
    server = listen_on("localhost");
    ok(reaches(server, "127.0.0.1") && !reaches(server, test_own_host()), "localhost is 127.0.0.1");
    asocket_close(server);
}

static void test_ipv6(void)
{
    asocket_builder builder = asocket_tcp(selector);
    asocket *server = listen_on("::1");

    ok(reaches(server, "::1") && !reaches(server, test_own_host()),
       "::1 is reached over IPv6 only");
    asocket_close(server);
    builder.only_ipv6 = true;
    server = asocket_bind(builder, "::", 0);
    ok(server && reaches(server, "::1"), "with only_ipv6, :: is reached over IPv6");
    ok(!reaches(server, test_own_host()), "and not over IPv4");
    asocket_close(server);
    builder.only_ipv6 = -1;
    server = asocket_bind(builder, "::", 0);
    ok(server && reaches(server, "127.0.0.1"), "with only_ipv6 off, over both");
    asocket_close(server);
}

static void test_dual_stack(void)
{
    static const char *const hosts[] = {NULL, "::"};
    size_t i;

    for (i = 0; i < 2; i++) {
        asocket *server = listen_on(hosts[i]), *client;
        asocket_address remote, local;
        int peer = peer_to("127.0.0.1", port_of(server));

        client = asocket_accept(server);
        ok(client && asocket_remote_address(client, &remote) == ASOCKET_OK &&
               asocket_ip_is_ipv4(&remote.ip),
           "host %s takes IPv4, and shows such a peer as one", hosts[i] ? hosts[i] : "NULL");
        ok(client && asocket_local_address(client, &local) == ASOCKET_OK &&
               asocket_ip_is_ipv4(&local.ip) && asocket_ip_is_loopback(&local.ip),
           "its local address is the one that was reached");
        ok(reaches(server, "::1"), "and IPv6");
        asocket_abort(client);
        close(peer);
        asocket_close(server);
    }
}

#ifdef __linux__
enum { NOT_HERE = 77 };

/* A network of our own in which IPv6 sockets take IPv6 only, as on some systems. */
static bool enter_another_system(void)
{
    int lookup, fd;
    struct ifreq loopback;
    bool good;

    if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
        return false;
    lookup = socket(AF_INET, SOCK_DGRAM, 0);
    memset(&loopback, 0, sizeof loopback);
    strcpy(loopback.ifr_name, "lo");
    loopback.ifr_flags = IFF_UP | IFF_RUNNING;
    fd = open("/proc/sys/net/ipv6/bindv6only", O_WRONLY);
    good = !ioctl(lookup, SIOCSIFFLAGS, &loopback) && fd >= 0 && write(fd, "1", 1) == 1;
    close(fd);
    close(lookup);
    return good;
}

static int dual_stack_there(int backend)
{
    asocket_selector_options options;
    asocket_address address;
    asocket *server;

    asocket_selector_destroy(selector); /* the parent's */
    if (!enter_another_system())
        return NOT_HERE;
    memset(&options, 0, sizeof options);
    options.backend = backend;
    selector = asocket_selector_create(&options);
    server = asocket_bind(asocket_tcp(selector), NULL, 0);
    if (!server || asocket_local_address(server, &address) < 0)
        return 1;
    return test_peer_connect_to("127.0.0.1", address.port) >= 0 && asocket_accept(server) ? 0 : 2;
}

static void test_dual_stack_elsewhere(int backend)
{
    int status = -1;
    pid_t child;

    if (test_skips(test_emulated(), 1, "an emulator does not wipe pages on a fork"))
        return;
    child = fork();
    if (!child)
        _exit(dual_stack_there(backend));
    waitpid(child, &status, 0);
    if (test_skips(WIFEXITED(status) && WEXITSTATUS(status) == NOT_HERE, 1,
                   "a network of one's own is not allowed here"))
        return;
    is_int(status, 0, "P13: no host takes IPv4, whatever the system's default is");
}
#else
static void test_dual_stack_elsewhere(int backend)
{
    (void)backend;
    skip(1, "it has no other default");
}
#endif

/* --- what is inherited ------------------------------------------------------------------------ */

static asocket_builder demanding(void)
{
    asocket_builder builder = asocket_tcp(selector);

    builder.no_delay = -1;
    builder.keep_alive = true;
    if (!TEST_WINDOWS) { /* Wine has none of them */
        builder.keep_alive_idle = 77;
        builder.keep_alive_interval = 7;
        builder.keep_alive_count = 5;
    }
    builder.type_of_service = 0x10;
    builder.ttl = 33;
    builder.send_buffer = 20000;
    builder.receive_buffer = 30000;
    builder.timeout = 20;
    builder.channel_capacity = 1024;
    return builder;
}

/* Of a socket that takes both families macOS and the BSDs tell only the options of IPv6. */
static bool has_ipv4_options(const asocket *socket)
{
    return test_option(socket, IPPROTO_IP, IP_TTL) >= 0;
}

static int service_of(const asocket *socket)
{
    return has_ipv4_options(socket) ? test_option(socket, IPPROTO_IP, IP_TOS)
                                    : test_option(socket, IPPROTO_IPV6, IPV6_TCLASS);
}

static int hops_of(const asocket *socket)
{
    return has_ipv4_options(socket) ? test_option(socket, IPPROTO_IP, IP_TTL)
                                    : test_option(socket, IPPROTO_IPV6, IPV6_UNICAST_HOPS);
}

static void check_inherited(const asocket *client)
{
    is_int(test_option(client, IPPROTO_TCP, TCP_NODELAY), 0, "no_delay off is inherited");
    ok(test_option(client, SOL_SOCKET, SO_KEEPALIVE) != 0, "keep_alive is inherited");
#ifdef __linux__
    is_int(test_option(client, IPPROTO_TCP, TCP_KEEPIDLE), 77, "keep_alive_idle is inherited");
    is_int(test_option(client, IPPROTO_TCP, TCP_KEEPINTVL), 7, "keep_alive_interval is inherited");
    is_int(test_option(client, IPPROTO_TCP, TCP_KEEPCNT), 5, "keep_alive_count is inherited");
#endif
    ok(test_option(client, SOL_SOCKET, SO_SNDBUF) >= 20000 &&
           test_option(client, SOL_SOCKET, SO_SNDBUF) <= 40000,
       "send_buffer is inherited");
    ok(test_option(client, SOL_SOCKET, SO_RCVBUF) >= 30000 &&
           test_option(client, SOL_SOCKET, SO_RCVBUF) <= 60000,
       "receive_buffer is inherited");
    is_int(service_of(client), 0x10, "type_of_service is inherited");
    is_int(hops_of(client), 33, "ttl is inherited");
}

static void check_inherited_by_the_library(asocket *client)
{
    asocket_read_channel *in = asocket_open_read_channel(client);
    int64_t start = test_clock();
    const char *bytes;
    char byte;

    is_status(asocket_read(in, &byte, 1), ASOCKET_ETIMEDOUT, "P7: the time-out is inherited");
    ok(test_took(start, 20, 40), "P7: and no other one");
    is_status(asocket_peek(in, &bytes, 1025), ASOCKET_EMSGSIZE, "the capacity is inherited");
    is_int(fcntl(asocket_native_handle(client), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC,
           "P6: an accepted descriptor is close-on-exec");
    is_int(fcntl(asocket_native_handle(client), F_GETFL) & O_NONBLOCK, O_NONBLOCK,
           "and does not block");
}

static void test_inherited(void)
{
    asocket *server = asocket_bind(demanding(), "127.0.0.1", 0), *client;
    int peer = test_peer_connect(port_of(server));

    client = asocket_accept(server);
    if (ok(client != NULL, "a demanding server accepts")) {
        check_inherited(client);
        check_inherited_by_the_library(client);
    }
    asocket_abort(client);
    close(peer);
    asocket_close(server);

    server = listen_locally();
    peer = test_peer_connect(port_of(server));
    client = asocket_accept(server);
    ok(client && test_option(client, IPPROTO_TCP, TCP_NODELAY) != 0, "no_delay is on by default");
    asocket_abort(client);
    close(peer);
    asocket_close(server);
}

/* IPv4 clients of an IPv6 listener have their options elsewhere. */
static void test_inherited_dual_stack(void)
{
    asocket *server = asocket_bind(demanding(), NULL, 0), *client;
    int fourth = peer_to("127.0.0.1", port_of(server)), sixth = peer_to("::1", port_of(server));

    client = asocket_accept(server);
    if (ok(client != NULL, "a demanding dual-stack server accepts over IPv4"))
        check_inherited(client);
    asocket_abort(client);
    client = asocket_accept(server);
    if (!test_skips(TEST_WINDOWS, 1, "Wine has no IPV6_TCLASS"))
        ok(client && test_option(client, IPPROTO_IPV6, IPV6_TCLASS) == 0x10 &&
               test_option(client, IPPROTO_IPV6, IPV6_UNICAST_HOPS) == 33,
           "over IPv6, type_of_service and ttl are inherited");
    asocket_abort(client);
    close(fourth);
    close(sixth);
    asocket_close(server);
}

/* --- how an accept ends ----------------------------------------------------------------------- */

typedef struct acceptor {
    asocket *server, *client;
    int64_t deadline; /* ms; 0: none */
    int64_t started;
    int error;
    bool ended;
} acceptor;

static void accept_one(asocket_selector *owner, void *argument)
{
    acceptor *a = (acceptor *)argument;

    if (a->deadline)
        asocket_set_deadline(owner, a->deadline);
    a->started = test_clock();
    a->client = asocket_accept(a->server);
    a->error = a->client ? 0 : asocket_error(owner);
    a->ended = true;
    if (a->client)
        asocket_abort(a->client);
}

static asocket_job launch_acceptor(acceptor *a, asocket *server)
{
    memset(a, 0, sizeof *a);
    a->server = server;
    return asocket_launch(selector, accept_one, a);
}

/* The server goes on as if nothing had been. */
static void check_goes_on(asocket *server, const char *after)
{
    int peer = test_peer_connect(port_of(server));

    test_peer_send(peer, "x", 1);
    is_int(accepted_byte(server), 'x', "P7: after %s the next accept works", after);
    close(peer);
}

static void test_cancelled(void)
{
    asocket *server = listen_locally();
    acceptor a;
    asocket_job job = launch_acceptor(&a, server);
    int peer;

    asocket_sleep(selector, 5);
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ECANCELED, "P7: a cancel ends an accept");

    peer = test_peer_connect(port_of(server));
    test_peer_send(peer, "p", 1);
    job = launch_acceptor(&a, server);
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ECANCELED, "P7: a cancel wins over a pending connection");
    is_int(accepted_byte(server), 'p', "P7: which stays for the next accept");
    close(peer);
    check_goes_on(server, "a cancel");
    asocket_close(server);
}

static void test_timed_out(void)
{
    asocket *server = listen_locally();
    int64_t start = test_clock();
    acceptor a;

    asocket_set_timeout(server, 20);
    ok(!asocket_accept(server), "P7: an accept outside of coroutines times out");
    is_status(asocket_error(selector), ASOCKET_ETIMEDOUT, "P7: and says so");
    ok(test_took(start, 20, 40), "P7: not early, and soon");
    asocket_join(selector, launch_acceptor(&a, server));
    is_status(a.error, ASOCKET_ETIMEDOUT, "P7: inside of one too");
    ok(test_took(a.started, 20, 40), "P7: not early, and soon");
    ok(strstr(asocket_error_message(selector), "accept 127.0.0.1:") != NULL,
       "the message names the call and the address");
    asocket_set_timeout(server, ASOCKET_FOREVER);
    check_goes_on(server, "a time-out");
    asocket_close(server);
}

static void test_deadline(void)
{
    asocket *server = listen_locally();
    acceptor a;
    asocket_job job = launch_acceptor(&a, server);

    a.deadline = 20;
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ETIMEDOUT, "P7: the coroutine's deadline ends an accept");
    ok(test_took(a.started, 20, 40), "P7: not early, and soon");
    check_goes_on(server, "a deadline");
    asocket_close(server);
}

static void test_no_wait(void)
{
    asocket *server = listen_locally();
    asocket_statistics before, after;
    int peer;

    asocket_set_timeout(server, ASOCKET_NO_WAIT);
    asocket_stats(selector, &before);
    ok(!asocket_accept(server), "P7: with ASOCKET_NO_WAIT an accept does not wait");
    asocket_stats(selector, &after);
    is_status(asocket_error(selector), ASOCKET_EAGAIN, "P7: and says that it would have to");
    is_int(after.turns - before.turns, 0, "P7: the loop did not even turn");
    peer = test_peer_connect(port_of(server));
    asocket_poll(selector, 50); /* the kernel tells the loop, and the loop the listener */
    test_peer_send(peer, "n", 1);
    asocket_set_timeout(server, 1000);
    is_int(accepted_byte(server), 'n', "a connection that came meanwhile is accepted");
    close(peer);
    asocket_close(server);
}

static void test_closed_meanwhile(void)
{
    asocket *server = listen_on(test_own_host());
    asocket_address address;
    acceptor a;
    asocket_job job = launch_acceptor(&a, server);
    int port = port_of(server);

    asocket_sleep(selector, 5);
    asocket_close(server);
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ECLOSED, "P8: a close by another coroutine ends an accept");
    ok(!asocket_accept(server), "P8: a closed listener does not accept");
    is_status(asocket_error(selector), ASOCKET_ECLOSED, "P8: and says so");
    ok(asocket_local_address(server, &address) == ASOCKET_OK && address.port == port,
       "P8: its address goes on working");
    ok(test_peer_connect_to(test_own_host(), port) < 0 && errno == ECONNREFUSED,
       "nobody listens there any more");
}

static void test_busy(void)
{
    asocket *server = listen_locally();
    acceptor a;
    asocket_job job = launch_acceptor(&a, server);
    int peer;

    asocket_sleep(selector, 5);
    ok(!asocket_accept(server), "P12: a second acceptor does not wait");
    is_status(asocket_error(selector), ASOCKET_EBUSY, "P12: and is told that there is one");
    ok(!a.ended, "P12: the first one is unaffected");
    peer = test_peer_connect(port_of(server));
    asocket_join(selector, job);
    ok(a.client != NULL, "P12: and accepts");
    close(peer);
    check_goes_on(server, "that");
    asocket_close(server);
}

/* --- broken connections ----------------------------------------------------------------------- */

static void greet(asocket_selector *owner, void *argument)
{
    asocket *client = (asocket *)argument;
    asocket_read_channel *in = asocket_open_read_channel(client);
    asocket_write_channel *out = asocket_open_write_channel(client, ASOCKET_AUTO_FLUSH);
    char line[64];

    (void)owner;
    while (asocket_read_line(in, line, sizeof line) >= 0)
        asocket_printf(out, "hello %s\n", line);
}

typedef struct service {
    asocket *server;
    int status;
    bool ended;
} service;

static void serve(asocket_selector *owner, void *argument)
{
    service *s = (service *)argument;

    (void)owner;
    s->status = asocket_serve(s->server, greet);
    s->ended = true;
}

/* Serves from now on, with a coroutine for each client. */
static asocket_job launch_service(service *s, asocket *server)
{
    memset(s, 0, sizeof *s);
    s->server = server;
    asocket_set_timeout(server, ASOCKET_FOREVER);
    return asocket_launch(selector, serve, s);
}

static bool greets(int peer)
{
    return test_peer_send(peer, "you\n", 4) && test_peer_expect(selector, peer, "hello you\n");
}

static void test_aborted_connections(void)
{
    asocket *server = listen_locally();
    service s;
    asocket_job job;
    int i, peer;

    for (i = 0; i < 20; i++)
        test_peer_reset(test_peer_connect(port_of(server)));
    peer = test_peer_connect(port_of(server));
    job = launch_service(&s, server);
    ok(greets(peer), "P9: behind 20 connections that broke before they were accepted, one works");
    ok(!s.ended, "P9: and accepting goes on");
    for (i = 0; i < 20; i++)
        test_peer_reset(test_peer_connect(port_of(server)));
    ok(greets(peer), "P10: nor do 20 more hurt the one that works");
    close(peer);
    asocket_close(server);
    asocket_join(selector, job);
    is_status(s.status, ASOCKET_ECLOSED, "P9: serving ends when the server is closed");
}

/* --- many ------------------------------------------------------------------------------------- */

enum { CLIENTS = 200 };

static void test_many_clients(void)
{
    asocket *server = listen_locally();
    asocket_statistics statistics;
    int peers[CLIENTS], served = 0, i;
    service s;
    asocket_job job = launch_service(&s, server);

    for (i = 0; i < CLIENTS; i++)
        peers[i] = test_peer_connect(port_of(server));
    for (i = 0; i < CLIENTS; i++)
        test_peer_send(peers[i], "you\n", 4);
    for (i = 0; i < CLIENTS; i++)
        served += test_peer_expect(selector, peers[i], "hello you\n");
    is_int(served, CLIENTS, "serve greets 200 clients that came at once");
    asocket_stats(selector, &statistics);
    is_int(statistics.coroutines, CLIENTS + 1, "each has its coroutine");
    for (i = 0; i < CLIENTS; i += 2)
        close(peers[i]);
    for (served = 0, i = 1; i < CLIENTS; i += 2)
        served += greets(peers[i]);
    is_int(served, CLIENTS / 2, "when half of them left, the others are served on");
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(s.status, ASOCKET_ECANCELED, "P9: serving ends when it is cancelled");
    for (i = 1; i < CLIENTS; i += 2)
        close(peers[i]);
    asocket_join_all(selector);
    asocket_close(server);
}

/* Listen, connect, write, accept, read: in this order, and nobody else runs. */
static void test_one_thread_without_a_loop(void)
{
    asocket *server = listen_locally();
    asocket *there = asocket_connect(asocket_tcp(selector), "127.0.0.1", port_of(server)), *here;
    asocket_write_channel *out;
    asocket_read_channel *in;
    char line[32];

    if (!ok(there != NULL, "one thread listens, and connects to itself"))
        return;
    out = asocket_open_write_channel(there, ASOCKET_AUTO_FLUSH);
    is_int(asocket_write_string(out, "to myself\n"), 10, "it writes before anybody accepts");
    here = asocket_accept(server);
    in = asocket_open_read_channel(here);
    ok(asocket_read_line(in, line, sizeof line) == 9 && strcmp(line, "to myself") == 0,
       "it accepts and reads what it wrote");
    is_status(asocket_close(there), ASOCKET_OK, "it closes one end");
    is_status(asocket_read_line(in, line, sizeof line), ASOCKET_EOF,
              "P1: and sees it at the other");
    asocket_close(here);
    asocket_close(server);
    is_status(asocket_await_closed(there), ASOCKET_OK, "and both ends are gone");
}

/* --- the limit of descriptors ----------------------------------------------------------------- */

static struct rlimit limit_before;

/* From now on `left` more descriptors can be opened in this process. */
static bool limit_descriptors(int left)
{
    struct rlimit limit;
    int lowest = dup(0);

    if (lowest < 0 || getrlimit(RLIMIT_NOFILE, &limit_before) < 0)
        return false;
    close(lowest);
    limit = limit_before;
    limit.rlim_cur = (rlim_t)lowest + (rlim_t)left;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

static void lift_limit(void)
{
    setrlimit(RLIMIT_NOFILE, &limit_before);
}

static int64_t cpu_time(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static uint64_t pauses(void)
{
    asocket_statistics statistics;

    asocket_stats(selector, &statistics);
    return statistics.accept_pauses;
}

/* Lets everybody run until a byte waits at the peer, for some turns that take no time. */
static bool answered_within(int turns, int peer)
{
    struct pollfd entry;

    entry.fd = peer;
    entry.events = POLLIN;
    while (turns-- > 0) {
        asocket_yield(selector);
        if (poll(&entry, 1, 0) > 0)
            return true;
    }
    return false;
}

typedef struct crowd {
    asocket *server, *ours;
    int served;    /* before the limit */
    int late[3];   /* connected at the limit */
    int ours_peer; /* of `ours`, which the library gives up first */
    int foreign;   /* a descriptor that the library does not know */
    service service;
    asocket_job job;
} crowd;

static bool crowd_gather(crowd *c)
{
    int i;

    memset(c, 0, sizeof *c);
    c->server = listen_locally();
    c->ours_peer = test_peer_connect(port_of(c->server));
    c->ours = asocket_accept(c->server);
    c->served = test_peer_connect(port_of(c->server));
    c->job = launch_service(&c->service, c->server);
    c->foreign = open("/dev/null", O_RDONLY);
    for (i = 0; i < 3; i++)
        c->late[i] = socket(AF_INET, SOCK_STREAM, 0);
    return greets(c->served) && limit_descriptors(0);
}

/* Connects a socket that was made before. */
static bool arrives(int fd, int port)
{
    return test_peer_dial(fd, "127.0.0.1", port) && test_peer_send(fd, "you\n", 4);
}

static void crowd_leave(crowd *c)
{
    int i;

    for (i = 0; i < 3; i++)
        close(c->late[i]);
    close(c->served);
    close(c->ours_peer);
    asocket_close(c->server);
    asocket_join_all(selector);
}

static void check_exhausted(crowd *c)
{
    int64_t start = test_clock(), cpu = cpu_time(), ms;
    uint64_t paused = pauses();
    int undisturbed = 0, i;

    for (i = 0; i < 3; i++)
        arrives(c->late[i], port_of(c->server));
    for (i = 0; i < 12; i++) {
        undisturbed += greets(c->served);
        asocket_sleep(selector, 50);
    }
    is_int(undisturbed, 12, "P9: at the limit those who are connected are served on");
    ok(!c->service.ended, "P9: and accepting does not fail");
    cpu = cpu_time() - cpu;
    ms = (test_clock() - start) / 1000000;
    paused = pauses() - paused;
    if (!ok(cpu < (int64_t)200000 * test_slowness(), "P9: it does not spin"))
        diag("%lld us of CPU in %lld ms", (long long)cpu, (long long)ms);
    if (!ok(paused >= 1 && paused * 50 < (uint64_t)ms,
            "P9: it tries again less than 20 times a second"))
        diag("%d pauses in %lld ms", (int)paused, (long long)ms);
}

static void test_descriptor_limit(void)
{
    int64_t start;
    crowd c;

    if (!ok(crowd_gather(&c), "the number of descriptors can be limited"))
        return;
    check_exhausted(&c);
    asocket_abort(c.ours);
    start = test_clock();
    ok(answered_within(200, c.late[0]), "P9: a descriptor of ours that is closed is used at once");
    ok(test_took(start, 0, 100), "P9: in less than 100 ms");
    ok(!answered_within(20, c.late[1]), "P9: by one client, as there is only one");
    close(c.foreign);
    start = test_clock();
    ok(test_peer_expect(selector, c.late[1], "hello you\n"),
       "P9: a descriptor of somebody else's that is closed is found");
    ok(test_took(start, 0, 100), "P9: in less than 100 ms, too");
    lift_limit();
    start = test_clock();
    ok(test_peer_expect(selector, c.late[2], "hello you\n") && test_took(start, 0, 100),
       "P9: so is a limit that was lifted");
    ok(!c.service.ended, "P9: accepting did not fail once");
    crowd_leave(&c);
}

/* At the limit an accept still ends as it should. */
static void test_limit_ends(void)
{
    asocket *server = listen_locally();
    int late = socket(AF_INET, SOCK_STREAM, 0);
    acceptor a;
    asocket_job job;

    limit_descriptors(0);
    arrives(late, port_of(server));
    job = launch_acceptor(&a, server);
    a.deadline = 60;
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ETIMEDOUT, "P7, P9: at the limit a deadline ends an accept");
    ok(test_took(a.started, 60, 80), "P7: not early, and soon");

    job = launch_acceptor(&a, server);
    asocket_sleep(selector, 10);
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ECANCELED, "P7, P9: so does a cancel");

    asocket_set_timeout(server, ASOCKET_NO_WAIT);
    ok(!asocket_accept(server) && asocket_error(selector) == ASOCKET_EAGAIN,
       "P7, P9: ASOCKET_NO_WAIT does not wait for a descriptor");

    asocket_set_timeout(server, ASOCKET_FOREVER);
    job = launch_acceptor(&a, server);
    asocket_sleep(selector, 10);
    asocket_close(server);
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ECLOSED, "P8, P9: so does a close");
    lift_limit();
    close(late);
}

/* A closed socket whose peer does not end its side keeps its descriptor only while it is free. */
static void test_lingering_gives_way(void)
{
    test_pair pair;
    asocket_write_channel *out;
    asocket *client;
    int late = socket(AF_INET, SOCK_STREAM, 0);
    int64_t start;

    if (!test_pair_open(selector, &pair))
        return;
    asocket_set_timeout(pair.server, 3000);
    out = asocket_open_write_channel(pair.socket, 0);
    asocket_write_string(out, "bye\n");
    asocket_close(pair.socket);
    limit_descriptors(0);
    arrives(late, pair.port);
    start = test_clock();
    client = asocket_accept(pair.server);
    ok(client != NULL, "P9: at the limit a closed socket that lingers gives way to a new one");
    ok(test_took(start, 0, 100), "P9: at once");
    ok(test_peer_expect(selector, pair.peer, "bye\n"), "P2: what it had written arrives");
    lift_limit();
    asocket_abort(client);
    close(late);
    test_pair_close(&pair);
}

#ifdef ASOCKET_VALGRIND
static const bool under_valgrind = true;
#else
static const bool under_valgrind = false;
#endif

static void test_limits(void)
{
    if (under_valgrind) {
        skip(1, "Valgrind takes a connection before it finds that there are too many");
        return;
    }
    if (test_skips(TEST_WINDOWS, 18,
                   "the system has no limit of descriptors that a program could set"))
        return;
    test_descriptor_limit();
    test_limit_ends();
    test_lingering_gives_way();
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    test_one_at_a_time();
    test_backlog();
    test_ipv4();
    if (ipv6_works()) {
        test_ipv6();
        test_dual_stack();
        test_dual_stack_elsewhere(test_backend(argc, argv));
        test_inherited_dual_stack();
    } else {
        skip(1, "there is no IPv6 here");
    }
    test_inherited();
    test_cancelled();
    test_timed_out();
    test_deadline();
    test_no_wait();
    test_closed_meanwhile();
    test_busy();
    test_aborted_connections();
    test_many_clients();
    test_one_thread_without_a_loop();
    test_limits();
    return test_end(selector);
}
