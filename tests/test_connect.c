/* Connecting, to one address and to several; adopting descriptors; options of sockets and builders.
   The peers are plain sockets. */
#include "hole.h"

#include <sys/resource.h>

#ifndef TCP_KEEPIDLE
#define TCP_KEEPIDLE TCP_KEEPALIVE
#endif

static asocket_selector *selector;
static int backend;

/* --- peers ------------------------------------------------------------------------------------ */

static int refuser(int *port)
{
    *port = 0;
    return test_peer_bind("127.0.0.1", port);
}

/* An IPv6 listener on ::1; -1: there is no IPv6. */
static int listen_ipv6(int *port)
{
    static const int on = 1;
    struct sockaddr_in6 at;
    socklen_t length = sizeof at;
    int fd = socket(AF_INET6, SOCK_STREAM, 0);

    *port = 0;
    memset(&at, 0, sizeof at);
    at.sin6_family = AF_INET6;
    at.sin6_addr = in6addr_loopback;
    if (fd >= 0)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 10) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &length) < 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *port = ntohs(at.sin6_port);
    return fd;
}

static asocket_address local_port(int port)
{
    return asocket_address_of(asocket_ipv4(127, 0, 0, 1), (uint16_t)port);
}

/* Whether bytes go both ways between a socket and the next connection of a listener. */
static bool talks(asocket *socket, int listener)
{
    int peer = accept(listener, NULL, NULL);
    asocket_read_channel *in = asocket_open_read_channel(socket);
    asocket_write_channel *out = asocket_open_write_channel(socket, ASOCKET_AUTO_FLUSH);
    char text[16];
    bool both;

    asocket_set_timeout(socket, 5000);
    both = asocket_write_string(out, "there\n") == 6 &&
           test_peer_expect(selector, peer, "there\n") && test_peer_send(peer, "back\n", 5) &&
           asocket_read_line(in, text, sizeof text) == 4 && strcmp(text, "back") == 0;
    close(peer);
    return both;
}

static bool nobody_came(int listener)
{
    int flags = fcntl(listener, F_GETFL), fd;

    fcntl(listener, F_SETFL, flags | O_NONBLOCK);
    fd = accept(listener, NULL, NULL);
    fcntl(listener, F_SETFL, flags);
    if (fd >= 0)
        close(fd);
    return fd < 0;
}

/* The message names the call and the address. */
static bool message_says(const char *call, int port, const char *why)
{
    char expected[128];

    snprintf(expected, sizeof expected, "%s 127.0.0.1:%d: %s", call, port, why);
    if (strcmp(asocket_error_message(selector), expected) == 0)
        return true;
    diag("\"%s\" instead of \"%s\"", asocket_error_message(selector), expected);
    return false;
}

static uint64_t open_sockets(void)
{
    asocket_statistics statistics;

    memset(&statistics, 0, sizeof statistics);
    asocket_stats(selector, &statistics);
    return statistics.sockets;
}

/* --- it works --------------------------------------------------------------------------------- */

static void test_hosts(void)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "LocalHost.", "db.localhost"};
    int port, listener = test_peer_listen(&port);
    size_t i;

    for (i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        asocket *socket = asocket_connect(asocket_tcp(selector), hosts[i], port);

        ok(socket && talks(socket, listener), "%s can be connected to", hosts[i]);
        asocket_abort(socket);
    }
    close(listener);
}

static void test_addresses(void)
{
    int port, listener = test_peer_listen(&port);
    asocket_address to = local_port(port), remote, local;
    asocket *socket = asocket_connect_address(asocket_tcp(selector), &to);

    ok(socket && asocket_remote_address(socket, &remote) == 0 &&
           asocket_address_equal(&remote, &to),
       "a connection knows where it leads");
    ok(socket && asocket_local_address(socket, &local) == 0 && asocket_ip_is_loopback(&local.ip) &&
           local.port != 0,
       "and where it comes from");
    ok(socket && (fcntl(asocket_native_handle(socket), F_GETFD) & FD_CLOEXEC) &&
           (fcntl(asocket_native_handle(socket), F_GETFL) & O_NONBLOCK),
       "P6: its descriptor is close-on-exec, and does not block");
    asocket_abort(socket);
    close(listener);
}

/* An IPv4 address in IPv6's clothes. */
static void test_mapped(void)
{
    int port, listener = test_peer_listen(&port);
    asocket *socket = asocket_connect(asocket_tcp(selector), "::ffff:127.0.0.1", port);
    asocket_address remote;

    ok(socket && asocket_remote_address(socket, &remote) == 0 && asocket_ip_is_ipv4(&remote.ip) &&
           asocket_ip_is_loopback(&remote.ip) && remote.port == port,
       "::ffff:127.0.0.1 leads to 127.0.0.1, and is shown as that");
    ok(socket && talks(socket, listener), "and works");
    asocket_abort(socket);
    close(listener);
}

static void test_ipv6(void)
{
    int port, listener = listen_ipv6(&port);
    asocket *socket;

    if (listener < 0) {
        skip(3, "there is no IPv6 here");
        return;
    }
    socket = asocket_connect(asocket_tcp(selector), "::1", port);
    ok(socket && talks(socket, listener), "::1 can be connected to");
    asocket_abort(socket);
    socket = asocket_connect(asocket_tcp(selector), "::1%1", port);
    ok(socket && talks(socket, listener), "with a zone, too");
    asocket_abort(socket);
    socket = asocket_connect(asocket_tcp(selector), "localhost", port);
    ok(socket && talks(socket, listener), "localhost is tried over IPv6 when IPv4 refuses");
    asocket_abort(socket);
    close(listener);
    test_mapped();
}

static void test_bad_hosts(void)
{
    static const char *const hosts[] = {"",           "1.2.3.4.5", "[::1]", "127.0.0.1:80",
                                        "127.0.0.1 ", "::1%",      ":::",   "256.0.0.1"};
    size_t i;

    for (i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        asocket *socket = asocket_connect(asocket_tcp(selector), hosts[i], 80);
        int status = asocket_error(selector);

        ok(!socket && (status == ASOCKET_EINVAL || status == ASOCKET_ENOTSUP ||
                       status == ASOCKET_ENOTFOUND),
           "\"%s\" is no host", hosts[i]);
        ok(strstr(asocket_error_message(selector), hosts[i]) != NULL, "the message shows it");
    }
    ok(!asocket_connect(asocket_tcp(selector), NULL, 80) &&
           asocket_error(selector) == ASOCKET_EINVAL,
       "nor is none at all");
    ok(!asocket_connect(asocket_tcp(selector), "fe80::1%nosuch0", 80) &&
           asocket_error(selector) == ASOCKET_EADDRNOTAVAIL,
       "a zone must be an interface");
    ok(strstr(asocket_error_message(selector), "nosuch0") != NULL, "the message shows it");
}

static void test_bad_ports(void)
{
    static const int ports[] = {-1, 65536, -65536, 1 << 30};
    char text[40];
    size_t i;

    for (i = 0; i < sizeof ports / sizeof *ports; i++) {
        ok(!asocket_connect(asocket_tcp(selector), "127.0.0.1", ports[i]) &&
               asocket_error(selector) == ASOCKET_EINVAL,
           "%d is no port to connect to", ports[i]);
        ok(!asocket_bind(asocket_tcp(selector), "127.0.0.1", ports[i]) &&
               asocket_error(selector) == ASOCKET_EINVAL,
           "nor to bind");
        snprintf(text, sizeof text, "bind 127.0.0.1:%d: the port", ports[i]);
        ok(strstr(asocket_error_message(selector), text) != NULL, "the message shows it");
    }
    ok(!asocket_connect(asocket_tcp(selector), "127.0.0.1", 0) && asocket_error(selector) < 0,
       "nobody answers at port 0");
}

/* --- it does not work ------------------------------------------------------------------------- */

static void test_refused(void)
{
    int64_t start = test_clock();
    int port, fd = refuser(&port);

    ok(!asocket_connect(asocket_tcp(selector), "127.0.0.1", port), "a connect can be refused");
    is_status(asocket_error(selector), ASOCKET_ECONNREFUSED, "it says so");
    ok(message_says("connect", port, "connection refused"), "and the message says by whom");
    ok(test_took(start, 0, 100), "at once");
    ok(!asocket_connect(asocket_tcp(selector), "localhost", port) &&
           strstr(asocket_error_message(selector), " of localhost: ") != NULL,
       "and of a name, also whose address it was");
    is_int(open_sockets(), 0, "nothing stays open");
    close(fd);
}

typedef struct attempt {
    int port, error;
    int64_t timeout, deadline, started;
    bool ended;
} attempt;

static void try_to_connect(asocket_selector *owner, void *argument)
{
    attempt *a = (attempt *)argument;
    asocket_builder builder = asocket_tcp(owner);
    asocket *socket;

    builder.connect_timeout = a->timeout;
    a->started = test_clock();
    if (a->deadline)
        asocket_set_deadline(owner, a->deadline);
    socket = asocket_connect(builder, "127.0.0.1", a->port);
    a->error = socket ? 0 : asocket_error(owner);
    a->ended = true;
    asocket_abort(socket);
}

static asocket_job launch_attempt(attempt *a, int port)
{
    memset(a, 0, sizeof *a);
    a->port = port;
    return asocket_launch(selector, try_to_connect, a);
}

static void test_timed_out(void)
{
    asocket_builder builder = asocket_tcp(selector);
    int64_t start;
    attempt a;
    hole h;

    if (!hole_dig(&h))
        return;
    builder.connect_timeout = 30;
    start = test_clock();
    ok(!asocket_connect(builder, "127.0.0.1", h.port),
       "P7: a connect outside of coroutines times out");
    is_status(asocket_error(selector), ASOCKET_ETIMEDOUT, "P7: and says so");
    ok(test_took(start, 30, 50), "P7: not early, and soon");
    ok(message_says("connect", h.port, "timed out"), "the message says where");
    launch_attempt(&a, h.port);
    a.timeout = 30;
    asocket_join_all(selector);
    is_status(a.error, ASOCKET_ETIMEDOUT, "P7: so does one in a coroutine");
    ok(test_took(a.started, 30, 50), "P7: not early, and soon");
    is_int(open_sockets(), 0, "nothing stays open");
    hole_fill(&h);
}

static void test_ended(void)
{
    asocket_job job;
    attempt a;
    hole h;

    if (!hole_dig(&h))
        return;
    job = launch_attempt(&a, h.port);
    a.deadline = 30;
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ETIMEDOUT, "P7: a deadline ends a connect");
    ok(test_took(a.started, 30, 50), "P7: not early, and soon");
    job = launch_attempt(&a, h.port);
    asocket_sleep(selector, 5);
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ECANCELED, "P7: so does a cancel");
    job = launch_attempt(&a, h.port);
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ECANCELED, "P7: also one that came before the connect");
    job = launch_attempt(&a, h.port);
    a.timeout = ASOCKET_NO_WAIT;
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_EAGAIN, "P7: ASOCKET_NO_WAIT does not wait");
    ok(test_took(a.started, 0, 20), "P7: at all");
    is_int(open_sockets(), 0, "nothing stays open");
    hole_fill(&h);
}

/* The selector is destroyed while somebody connects. */
static void test_destroyed_meanwhile(void)
{
    asocket_selector *brief;
    int64_t start;
    attempt a;
    hole h;

    if (!hole_dig(&h))
        return;
    brief = test_selector_closing(backend, 0);
    memset(&a, 0, sizeof a);
    a.port = h.port;
    asocket_launch(brief, try_to_connect, &a);
    asocket_sleep(brief, 2);
    start = test_clock();
    asocket_selector_destroy(brief);
    is_status(a.error, ASOCKET_ECANCELED, "P7: the end of a selector ends a connect");
    ok(test_took(start, 0, 50), "P7: at once");
    hole_fill(&h);
}

static void test_descriptor_limit(void)
{
    struct rlimit before, limit;
    int port, listener = test_peer_listen(&port), lowest = dup(0);
    asocket *socket;

    close(lowest);
    getrlimit(RLIMIT_NOFILE, &before);
    limit = before;
    limit.rlim_cur = (rlim_t)lowest;
    setrlimit(RLIMIT_NOFILE, &limit);
    socket = asocket_connect(asocket_tcp(selector), "127.0.0.1", port);
    setrlimit(RLIMIT_NOFILE, &before);
    ok(!socket, "without a descriptor there is no connection");
    is_status(asocket_error(selector), ASOCKET_EMFILE, "it says so");
    ok(message_says("connect", port, "too many open descriptors"), "the message, too");
    close(listener);
}

/* --- from here -------------------------------------------------------------------------------- */

/* A socket that is given the port that it connects to meets itself. */
static void test_self_connect(void)
{
    asocket_builder builder = asocket_tcp(selector);
    int port, fd = refuser(&port);

    close(fd);
    builder.local = local_port(port);
    ok(!asocket_connect(builder, "127.0.0.1", port), "nobody connects to himself");
    is_status(asocket_error(selector), ASOCKET_ECONNREFUSED, "it is refused");
    is_int(open_sockets(), 0, "nothing stays open");
    close(refuser(&port));
    builder.local = local_port(port);
    ok(!asocket_connect(builder, "0.0.0.0", port) &&
           asocket_error(selector) == ASOCKET_ECONNREFUSED,
       "nor by the address that means this machine");
    fd = listen_ipv6(&port);
    if (fd < 0) {
        skip(1, "there is no IPv6 here");
        return;
    }
    close(fd);
    builder.local = asocket_address_of(asocket_ipv6(0, 0, 0, 0, 0, 0, 0, 1), (uint16_t)port);
    ok(!asocket_connect(builder, "::1", port) && asocket_error(selector) == ASOCKET_ECONNREFUSED,
       "nor over IPv6");
}

static void test_local_address(void)
{
    asocket_builder builder = asocket_tcp(selector);
    int port, free_port, listener = test_peer_listen(&port);
    asocket_address local;
    asocket *socket;

    close(refuser(&free_port));
    builder.local = asocket_address_of(asocket_ipv4(127, 0, 0, 5), 0);
    socket = asocket_connect(builder, "127.0.0.1", port);
    ok(socket && asocket_local_address(socket, &local) == 0 && local.ip.bytes[3] == 5 && local.port,
       "a connection can come from an address of ours");
    asocket_abort(socket);
    builder.local = local_port(free_port);
    socket = asocket_connect(builder, "127.0.0.1", port);
    ok(socket && asocket_local_address(socket, &local) == 0 && local.port == free_port,
       "and from a port");
    asocket_abort(socket);
    builder.local = asocket_address_of(asocket_ipv4(192, 0, 2, 1), 0);
    ok(!asocket_connect(builder, "127.0.0.1", port) &&
           asocket_error(selector) == ASOCKET_EADDRNOTAVAIL,
       "not from one that is not ours");
    is_str(asocket_error_message(selector), "bind 192.0.2.1:0: address not available",
           "the message names it");
    builder.local = local_port(port);
    ok(!asocket_connect(builder, "127.0.0.1", port) &&
           asocket_error(selector) == ASOCKET_EADDRINUSE,
       "nor from a port that is taken");
    builder.local = asocket_address_of(asocket_ipv6(0, 0, 0, 0, 0, 0, 0, 1), 0);
    ok(!asocket_connect(builder, "127.0.0.1", port) && asocket_error(selector) == ASOCKET_EINVAL,
       "nor from one of another family");
    is_int(open_sockets(), 0, "nothing stays open");
    close(listener);
}

/* --- one of several --------------------------------------------------------------------------- */

static void test_first_of_several(void)
{
    int ports[2], first = test_peer_listen(&ports[0]), second = test_peer_listen(&ports[1]);
    asocket_address addresses[2];
    asocket *socket;

    addresses[0] = local_port(ports[0]);
    addresses[1] = local_port(ports[1]);
    socket = asocket_connect_any(asocket_tcp(selector), addresses, 2);
    ok(socket && talks(socket, first), "the first of several addresses is tried first");
    ok(nobody_came(second), "when it answers, the second is left alone");
    asocket_abort(socket);
    close(first);
    close(second);
}

static void test_refused_of_several(void)
{
    int refused, other, port, fd = refuser(&refused), fd2 = refuser(&other);
    int listener = test_peer_listen(&port);
    asocket_address addresses[3];
    int64_t start = test_clock();
    asocket *socket;

    addresses[0] = local_port(refused);
    addresses[1] = local_port(other);
    addresses[2] = local_port(port);
    socket = asocket_connect_any(asocket_tcp(selector), addresses, 3);
    ok(socket && talks(socket, listener), "those that refuse are skipped");
    ok(test_took(start, 0, 100), "at once");
    asocket_abort(socket);
    ok(!asocket_connect_any(asocket_tcp(selector), addresses, 2), "all may refuse");
    is_status(asocket_error(selector), ASOCKET_ECONNREFUSED, "then it is refused");
    ok(message_says("connect", other, "connection refused"), "the message names the last one");
    is_int(open_sockets(), 0, "nothing stays open");
    close(fd);
    close(fd2);
    close(listener);
}

static void test_hanging_of_several(void)
{
    int port, listener = test_peer_listen(&port), descriptors;
    asocket_address addresses[3];
    asocket_builder builder = asocket_tcp(selector);
    int64_t start;
    asocket *socket;
    hole h;

    if (!hole_dig(&h))
        return;
    addresses[0] = local_port(h.port);
    addresses[1] = local_port(port);
    addresses[2] = local_port(h.port);
    descriptors = test_open_descriptors();
    start = test_clock();
    socket = asocket_connect_any(builder, addresses, 2);
    ok(socket && talks(socket, listener),
       "while the first address does not answer, the next is tried");
    ok(test_took(start, 250, 300), "after 250 ms");
    is_int(test_open_descriptors(), descriptors + 1, "the attempt that lost is closed");
    is_int(open_sockets(), 1, "and not counted");
    asocket_abort(socket);
    builder.connect_timeout = 40;
    start = test_clock();
    ok(!asocket_connect_any(builder, addresses, 3), "the time-out is for all of them together");
    is_status(asocket_error(selector), ASOCKET_ETIMEDOUT, "P7: and ends the race");
    ok(test_took(start, 40, 60), "P7: not early, and soon");
    is_int(test_open_descriptors(), descriptors, "all attempts are closed");
    close(listener);
    hole_fill(&h);
}

/* Those who filled it leave: who asks again gets in. */
static void open_hole(asocket_selector *owner, void *argument)
{
    hole *h = (hole *)argument;
    int i, peer;

    asocket_sleep(owner, 300);
    for (i = 1; i < 3; i++) {
        close(h->crowd[i]);
        h->crowd[i] = -1;
    }
    fcntl(h->listener, F_SETFL, O_NONBLOCK);
    while ((peer = accept(h->listener, NULL, NULL)) >= 0)
        close(peer);
}

/* The first hangs, then the second does: the first one's answer still counts. */
static void test_late_of_several(void)
{
    asocket_builder builder = asocket_tcp(selector);
    asocket_address addresses[2], peer;
    asocket *socket;
    hole slow, never;

    if (!hole_dig(&slow) || !hole_dig(&never))
        return;
    addresses[0] = local_port(slow.port);
    addresses[1] = local_port(never.port);
    builder.connect_timeout = 20000;
    asocket_launch(selector, open_hole, &slow);
    socket = asocket_connect_any(builder, addresses, 2);
    ok(socket && asocket_remote_address(socket, &peer) == ASOCKET_OK && peer.port == slow.port,
       "an address that is slow to answer may still win when the next one hangs");
    asocket_join_all(selector);
    asocket_abort(socket);
    is_int(open_sockets(), 0, "nothing stays open");
    hole_fill(&slow);
    hole_fill(&never);
}

/* The first hangs, the second refuses at once: the third need not wait for its turn. */
static void test_mixed_of_several(void)
{
    int refused, port, fd = refuser(&refused), listener = test_peer_listen(&port);
    asocket_address addresses[3];
    int64_t start;
    asocket *socket;
    hole h;

    if (!hole_dig(&h))
        return;
    addresses[0] = local_port(h.port);
    addresses[1] = local_port(refused);
    addresses[2] = local_port(port);
    start = test_clock();
    socket = asocket_connect_any(asocket_tcp(selector), addresses, 3);
    ok(socket && talks(socket, listener), "the third answers");
    ok(test_took(start, 250, 300), "a refusal lets the next one start at once");
    asocket_abort(socket);
    close(fd);
    close(listener);
    hole_fill(&h);
}

/* One that the system refuses without asking anybody. */
static void test_impossible_of_several(void)
{
    int port, listener = test_peer_listen(&port);
    asocket_builder builder = asocket_tcp(selector);
    asocket_address addresses[2];
    asocket *socket;

    builder.connect_timeout = 5000;
    addresses[0] = asocket_address_of(asocket_ipv4(255, 255, 255, 255), 80);
    addresses[1] = local_port(port);
    ok(!asocket_connect_address(builder, &addresses[0]), "nobody is at 255.255.255.255");
    ok(asocket_error(selector) == ASOCKET_EACCES || asocket_error(selector) == ASOCKET_EUNREACHABLE,
       "it says so");
    ok(strncmp(asocket_error_message(selector), "connect 255.255.255.255:80: ", 28) == 0,
       "the message names it");
    socket = asocket_connect_any(builder, addresses, 2);
    ok(socket && talks(socket, listener), "an address that is impossible is skipped");
    asocket_abort(socket);
    is_int(open_sockets(), 0, "nothing stays open");
    close(listener);
}

static asocket_address race_addresses[2];

static void race(asocket_selector *owner, void *argument)
{
    attempt *a = (attempt *)argument;
    asocket *socket = asocket_connect_any(asocket_tcp(owner), race_addresses, 2);

    a->error = socket ? 0 : asocket_error(owner);
    a->ended = true;
    asocket_abort(socket);
}

static void test_cancelled_race(void)
{
    int descriptors;
    asocket_job job;
    attempt a;
    hole h;

    if (!hole_dig(&h))
        return;
    race_addresses[0] = race_addresses[1] = local_port(h.port);
    memset(&a, 0, sizeof a);
    descriptors = test_open_descriptors();
    job = asocket_launch(selector, race, &a);
    asocket_sleep(selector, 260);
    is_int(test_open_descriptors(), descriptors + 2, "two attempts run");
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(a.error, ASOCKET_ECANCELED, "P7: a cancel ends the race");
    is_int(test_open_descriptors(), descriptors, "both are closed");
    hole_fill(&h);
}

static void test_families_of_several(void)
{
    int refused, port, fd = refuser(&refused), listener = listen_ipv6(&port);
    asocket_address addresses[2];
    asocket *socket;

    if (listener < 0) {
        close(fd);
        skip(1, "there is no IPv6 here");
        return;
    }
    addresses[0] = local_port(refused);
    addresses[1] = asocket_address_of(asocket_ipv6(0, 0, 0, 0, 0, 0, 0, 1), (uint16_t)port);
    socket = asocket_connect_any(asocket_tcp(selector), addresses, 2);
    ok(socket && talks(socket, listener), "the addresses may be of different families");
    asocket_abort(socket);
    close(fd);
    close(listener);
}

static void test_no_addresses(void)
{
    static asocket_address many[1025];

    ok(!asocket_connect_any(asocket_tcp(selector), many, 0) &&
           asocket_error(selector) == ASOCKET_EINVAL,
       "at least one address is needed");
    ok(!asocket_connect_any(asocket_tcp(selector), NULL, 1) &&
           asocket_error(selector) == ASOCKET_EINVAL,
       "not NULL");
    ok(!asocket_connect_any(asocket_tcp(selector), many, 1025) &&
           asocket_error(selector) == ASOCKET_EINVAL,
       "1,024 at most");
    ok(!asocket_connect_any(asocket_tcp(selector), many, 1) &&
           asocket_error(selector) == ASOCKET_EINVAL,
       "none of them empty");
}

/* --- adopting --------------------------------------------------------------------------------- */

static void test_adopt_connected(int flags)
{
    int port, listener = test_peer_listen(&port), fd = test_peer_connect(port);
    asocket_address local, remote;
    asocket *socket;

    fcntl(fd, F_SETFL, flags);
    socket = asocket_adopt(asocket_tcp(selector), fd);
    if (!ok(socket != NULL, "a connected descriptor that does%s block is adopted",
            flags ? " not" : ""))
        return;
    is_int(asocket_native_handle(socket), fd, "it is the same descriptor");
    ok((fcntl(fd, F_GETFL) & O_NONBLOCK) && (fcntl(fd, F_GETFD) & FD_CLOEXEC),
       "P6: it does not block now, and is close-on-exec");
    ok(asocket_remote_address(socket, &remote) == 0 && remote.port == port &&
           asocket_local_address(socket, &local) == 0 && local.port != 0,
       "both addresses are known");
    ok(!asocket_adopt(asocket_tcp(selector), fd) && asocket_error(selector) == ASOCKET_EBUSY,
       "P10: it is not adopted twice: %s", asocket_error_message(selector));
    ok(talks(socket, listener), "it reads and writes");
    asocket_close(socket);
    asocket_await_closed(socket);
    ok(fcntl(fd, F_GETFD) < 0, "closing the socket closes it");
    close(listener);
}

static void test_adopt_listener(void)
{
    int port, listener = test_peer_listen(&port), peer;
    asocket *server = asocket_adopt(asocket_tcp(selector), listener), *client;

    ok(server != NULL, "a listening descriptor is adopted");
    peer = test_peer_connect(port);
    client = asocket_accept(server);
    ok(client != NULL, "and accepts");
    ok(!asocket_open_read_channel(server) && asocket_error(selector) == ASOCKET_EINVAL,
       "it is a listener");
    asocket_abort(client);
    asocket_close(server);
    close(peer);
}

/* Still open, and as it was. */
static void check_kept(int fd, int flags, const char *what)
{
    ok(!asocket_adopt(asocket_tcp(selector), fd), "%s is not adopted", what);
    is_status(asocket_error(selector), ASOCKET_EINVAL, "as it is the wrong kind");
    is_int(fcntl(fd, F_GETFL), flags, "the caller keeps it as it was");
    close(fd);
}

static void test_adopt_others(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), ends[2];

    check_kept(fd, fcntl(fd, F_GETFL), "a datagram socket");
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    check_kept(fd, fcntl(fd, F_GETFL), "a Unix socket");
    fd = socket(AF_INET, SOCK_STREAM, 0);
    check_kept(fd, fcntl(fd, F_GETFL), "a socket that neither listens nor is connected");
    if (!test_skips(TEST_WINDOWS, 6, "a pipe is a connection here") && pipe(ends) == 0) {
        check_kept(ends[0], fcntl(ends[0], F_GETFL), "a pipe");
        check_kept(ends[1], fcntl(ends[1], F_GETFL), "the other end of a pipe");
    }
    fd = open("/dev/null", O_RDONLY);
    check_kept(fd, fcntl(fd, F_GETFL), "a file");
    check_kept(fd, -1, "a descriptor that is closed");
    check_kept(-1, -1, "no descriptor");
}

/* An option that the system does not honour. */
static void test_adopt_impossible(void)
{
    int port, listener = test_peer_listen(&port), fd = test_peer_connect(port);
    asocket_builder builder = asocket_tcp(selector);

    builder.only_ipv6 = true;
    ok(!asocket_adopt(builder, fd), "with an option that is impossible nothing is adopted");
    is_status(asocket_error(selector), ASOCKET_ENOTSUP, "it says so");
    ok(strstr(asocket_error_message(selector), "only_ipv6") != NULL,
       "the message names the option");
    ok(!(fcntl(fd, F_GETFL) & O_NONBLOCK), "the caller keeps a descriptor that blocks");
    close(fd);
    close(listener);
}

static void test_adopt_options(void)
{
    int port, listener = test_peer_listen(&port), fd = test_peer_connect(port), value = 0;
    socklen_t length = sizeof value;
    asocket_builder builder = asocket_tcp(selector);
    asocket *socket;
    char byte;

    builder.keep_alive = true;
    builder.timeout = 10;
    socket = asocket_adopt(builder, fd);
    getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &length);
    ok(value != 0, "an adopted descriptor gets the builder's options");
    is_status(asocket_read(asocket_open_read_channel(socket), &byte, 1), ASOCKET_ETIMEDOUT,
              "P7: and its time-out");
    asocket_abort(socket);
    close(listener);
}

/* Already bound, it can no longer choose between the families: that is not asked of it. */
static void test_adopt_bound_datagrams(void)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 at;
    asocket *socket;

    memset(&at, 0, sizeof at);
    at.sin6_family = AF_INET6;
    at.sin6_addr = in6addr_loopback;
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0) {
        skip(1, "there is no IPv6 here");
        return;
    }
    socket = asocket_adopt(asocket_udp(selector), fd);
    if (!ok(socket != NULL, "a bound IPv6 datagram socket is adopted"))
        diag("%s", asocket_error_message(selector));
    if (!socket)
        close(fd);
    asocket_abort(socket);
}

/* --- options ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    asocket_option option;
    int level, ipv4, ipv6_level, ipv6; /* the system's */
    int values[3];                     /* that can be set and asked */
    int wrong[2];
    int factor; /* what Linux multiplies with */
} options[] = {
    {"no_delay", ASOCKET_OPTION_NO_DELAY, IPPROTO_TCP, TCP_NODELAY, 0, 0, {0, 1, 0}, {-1, 2}, 1},
    {"keep_alive",
     ASOCKET_OPTION_KEEP_ALIVE,
     SOL_SOCKET,
     SO_KEEPALIVE,
     0,
     0,
     {1, 0, 1},
     {-1, 2},
     1},
    {"keep_alive_idle",
     ASOCKET_OPTION_KEEP_ALIVE_IDLE,
     IPPROTO_TCP,
     TCP_KEEPIDLE,
     0,
     0,
     {1, 300, 32767},
     {-1, 32768},
     1},
    {"keep_alive_interval",
     ASOCKET_OPTION_KEEP_ALIVE_INTERVAL,
     IPPROTO_TCP,
     TCP_KEEPINTVL,
     0,
     0,
     {1, 75, 32767},
     {-1, 32768},
     1},
    {"keep_alive_count",
     ASOCKET_OPTION_KEEP_ALIVE_COUNT,
     IPPROTO_TCP,
     TCP_KEEPCNT,
     0,
     0,
     {1, 9, 127},
     {-1, 128},
     1},
    {"reuse_address",
     ASOCKET_OPTION_REUSE_ADDRESS,
     SOL_SOCKET,
     SO_REUSEADDR,
     0,
     0,
     {0, 1, 0},
     {-1, 2},
     1},
    {"reuse_port",
     ASOCKET_OPTION_REUSE_PORT,
     SOL_SOCKET,
     SO_REUSEPORT,
     0,
     0,
     {0, 1, 0},
     {-1, 2},
     1},
    {"type_of_service",
     ASOCKET_OPTION_TYPE_OF_SERVICE,
     IPPROTO_IP,
     IP_TOS,
     IPPROTO_IPV6,
     IPV6_TCLASS,
     {0x10, 0xb8, 0},
     {-1, 256},
     1},
    {"ttl",
     ASOCKET_OPTION_TTL,
     IPPROTO_IP,
     IP_TTL,
     IPPROTO_IPV6,
     IPV6_UNICAST_HOPS,
     {1, 255, 64},
     {-1, 256},
     1},
    {"send_buffer",
     ASOCKET_OPTION_SEND_BUFFER,
     SOL_SOCKET,
     SO_SNDBUF,
     0,
     0,
     {10000, 65536, 20000},
     {-1, INT32_MIN},
     2},
    {"receive_buffer",
     ASOCKET_OPTION_RECEIVE_BUFFER,
     SOL_SOCKET,
     SO_RCVBUF,
     0,
     0,
     {10000, 65536, 20000},
     {-1, INT32_MIN},
     2},
};
enum { OPTIONS = sizeof options / sizeof *options };

/* The system's answer, once or twice what was set. */
static bool as_set(size_t row, int got, int set)
{
    return got == set || (options[row].factor == 2 && got == 2 * set) ||
           (options[row].factor == 1 && set == 1 && options[row].wrong[1] == 2 && got != 0);
}

static void check_option(asocket *socket, size_t row, bool ipv6)
{
    bool apart = ipv6 && options[row].ipv6;
    int level = apart ? options[row].ipv6_level : options[row].level;
    int name = apart ? options[row].ipv6 : options[row].ipv4, value = -1, i;

    if (test_skips(TEST_WINDOWS && asocket_set_option(socket, options[row].option,
                                                      options[row].values[0]) == ASOCKET_ENOTSUP,
                   13, "Wine has no such option"))
        return;
    for (i = 0; i < 3; i++) {
        int set = options[row].values[i];

        is_status(asocket_set_option(socket, options[row].option, set), ASOCKET_OK,
                  "%s can be set to %d", options[row].name, set);
        if (!test_skips(TEST_WINDOWS && name == SO_REUSEADDR, 1, "it is SO_EXCLUSIVEADDRUSE"))
            ok(as_set(row, test_option(socket, level, name), set), "the system has it");
        ok(asocket_get_option(socket, options[row].option, &value) == 0 && as_set(row, value, set),
           "and it can be asked for");
    }
    for (i = 0; i < 2; i++)
        is_status(asocket_set_option(socket, options[row].option, options[row].wrong[i]),
                  ASOCKET_EINVAL, "%s cannot be set to %d", options[row].name,
                  options[row].wrong[i]);
    ok(strstr(asocket_error_message(selector), options[row].name) != NULL, "the message names it");
    ok(asocket_get_option(socket, options[row].option, &value) == 0 &&
           as_set(row, value, options[row].values[2]),
       "and nothing changed");
}

static void test_options(void)
{
    test_pair pair;
    int port, listener;
    asocket *socket;
    size_t row;

    if (!test_pair_open(selector, &pair))
        return;
    for (row = 0; row < OPTIONS; row++)
        check_option(row % 2 ? pair.socket : pair.server, row, false);
    test_pair_close(&pair);
    listener = listen_ipv6(&port);
    if (listener < 0) {
        skip(1, "there is no IPv6 here");
        return;
    }
    socket = asocket_connect(asocket_tcp(selector), "::1", port);
    for (row = 0; row < OPTIONS; row++)
        check_option(socket, row, true);
    asocket_abort(socket);
    close(listener);
}

static void test_options_of_others(void)
{
    static const asocket_option others[] = {ASOCKET_OPTION_BROADCAST,
                                            ASOCKET_OPTION_MULTICAST_LOOP,
                                            ASOCKET_OPTION_MULTICAST_TTL,
                                            ASOCKET_OPTION_MULTICAST_INTERFACE,
                                            (asocket_option)0,
                                            (asocket_option)99};
    test_pair pair;
    int value = 7;
    size_t i;

    if (!test_pair_open(selector, &pair))
        return;
    for (i = 0; i < sizeof others / sizeof *others; i++) {
        ok(asocket_set_option(pair.socket, others[i], 1) < 0, "option %d is not for TCP",
           (int)others[i]);
        ok(asocket_get_option(pair.socket, others[i], &value) < 0, "nor can it be asked for");
    }
    is_status(asocket_set_option(pair.socket, ASOCKET_OPTION_ONLY_IPV6, 1), ASOCKET_ENOTSUP,
              "only_ipv6 is not for IPv4");
    is_status(asocket_get_option(pair.socket, ASOCKET_OPTION_ONLY_IPV6, &value), ASOCKET_ENOTSUP,
              "nor can it be asked for");
    test_pair_close(&pair);
}

/* --- builders --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t field;
    int least, most;
} fields[] = {
    {"backlog", offsetof(asocket_builder, backlog), 0, INT32_MAX},
    {"reuse_address", offsetof(asocket_builder, reuse_address), -1, 1},
    {"reuse_port", offsetof(asocket_builder, reuse_port), -1, 1},
    {"only_ipv6", offsetof(asocket_builder, only_ipv6), -1, 1},
    {"no_delay", offsetof(asocket_builder, no_delay), -1, 1},
    {"keep_alive", offsetof(asocket_builder, keep_alive), -1, 1},
    {"keep_alive_idle", offsetof(asocket_builder, keep_alive_idle), 0, 32767},
    {"keep_alive_interval", offsetof(asocket_builder, keep_alive_interval), 0, 32767},
    {"keep_alive_count", offsetof(asocket_builder, keep_alive_count), 0, 127},
    {"type_of_service", offsetof(asocket_builder, type_of_service), 0, 255},
    {"ttl", offsetof(asocket_builder, ttl), 0, 255},
    {"send_buffer", offsetof(asocket_builder, send_buffer), 0, INT32_MAX / 2},
    {"receive_buffer", offsetof(asocket_builder, receive_buffer), 0, INT32_MAX / 2},
    {"broadcast", offsetof(asocket_builder, broadcast), 0, 0},
    {"multicast_loop", offsetof(asocket_builder, multicast_loop), 0, 0},
    {"multicast_ttl", offsetof(asocket_builder, multicast_ttl), 0, 0},
    {"unlink", offsetof(asocket_builder, unlink), 0, 0},
};

static bool refused_builder(asocket_builder builder, const char *name)
{
    asocket *socket = asocket_bind(builder, "127.0.0.1", 0);
    bool refused = !socket && asocket_error(selector) == ASOCKET_EINVAL &&
                   strstr(asocket_error_message(selector), name) != NULL;

    if (!refused)
        diag("%s", asocket_error_message(selector));
    asocket_abort(socket);
    return refused && !asocket_connect(builder, "127.0.0.1", 1) &&
           asocket_error(selector) == ASOCKET_EINVAL && !asocket_adopt(builder, 0) &&
           asocket_error(selector) == ASOCKET_EINVAL;
}

static void check_field(size_t i, int value)
{
    asocket_builder builder = asocket_tcp(selector);

    memcpy((char *)&builder + fields[i].field, &value, sizeof value);
    ok(refused_builder(builder, fields[i].name), "%s cannot be %d", fields[i].name, value);
}

static void test_builder_ranges(void)
{
    asocket_builder builder;
    size_t i;

    for (i = 0; i < sizeof fields / sizeof *fields; i++) {
        check_field(i, fields[i].least - 1);
        if (fields[i].most < INT32_MAX)
            check_field(i, fields[i].most + 1);
    }
    builder = asocket_tcp(selector);
    builder.connect_timeout = -3;
    ok(refused_builder(builder, "connect_timeout"), "connect_timeout cannot be -3");
    builder = asocket_tcp(selector);
    builder.timeout = -3;
    ok(refused_builder(builder, "timeout"), "timeout cannot be -3");
    builder = asocket_tcp(selector);
    builder.channel_capacity = ((size_t)1 << 30) + 1;
    ok(refused_builder(builder, "channel_capacity"), "channel_capacity is 1 GiB at most");
    builder = asocket_tcp(selector);
    builder.multicast_interface = 1;
    ok(refused_builder(builder, "multicast_interface"), "multicast_interface is not for TCP");
    memset(&builder, 0, sizeof builder);
    builder.selector = selector;
    ok(!asocket_bind(builder, "127.0.0.1", 0) && asocket_error(selector) == ASOCKET_EINVAL,
       "a builder must come from asocket_tcp");
}

static void check_built(const asocket *socket, bool ipv6)
{
    int level = ipv6 ? IPPROTO_IPV6 : IPPROTO_IP;

    if (!test_skips(TEST_WINDOWS && ipv6, 1, "Wine has no such option"))
        is_int(test_option(socket, level, ipv6 ? IPV6_TCLASS : IP_TOS), 0x10,
               "type_of_service is set");
    is_int(test_option(socket, level, ipv6 ? IPV6_UNICAST_HOPS : IP_TTL), 33, "ttl is set");
    ok(test_option(socket, SOL_SOCKET, SO_KEEPALIVE) != 0, "keep_alive is set");
    if (!test_skips(TEST_WINDOWS, 3, "Wine has no such option")) {
        is_int(test_option(socket, IPPROTO_TCP, TCP_KEEPIDLE), 77, "keep_alive_idle is set");
        is_int(test_option(socket, IPPROTO_TCP, TCP_KEEPINTVL), 7, "keep_alive_interval is set");
        is_int(test_option(socket, IPPROTO_TCP, TCP_KEEPCNT), 5, "keep_alive_count is set");
    }
    ok(test_option(socket, SOL_SOCKET, SO_SNDBUF) >= 20000 &&
           test_option(socket, SOL_SOCKET, SO_SNDBUF) <= 40000,
       "send_buffer is set");
    ok(test_option(socket, SOL_SOCKET, SO_RCVBUF) >= 30000 &&
           test_option(socket, SOL_SOCKET, SO_RCVBUF) <= 60000,
       "receive_buffer is set");
    is_int(test_option(socket, IPPROTO_TCP, TCP_NODELAY), 0, "no_delay is off");
}

static void test_built(void)
{
    int port, listener = test_peer_listen(&port);
    asocket_builder builder = asocket_tcp(selector);
    asocket *socket = asocket_connect(builder, "127.0.0.1", port);

    ok(socket && test_option(socket, IPPROTO_TCP, TCP_NODELAY) != 0, "no_delay is on by default");
    ok(socket && test_option(socket, SOL_SOCKET, SO_KEEPALIVE) == 0,
       "keep_alive is off by default");
    asocket_abort(socket);
    builder.type_of_service = 0x10;
    builder.ttl = 33;
    builder.keep_alive = true;
    if (!TEST_WINDOWS) {
        builder.keep_alive_idle = 77;
        builder.keep_alive_interval = 7;
        builder.keep_alive_count = 5;
    }
    builder.send_buffer = 20000;
    builder.receive_buffer = 30000;
    builder.no_delay = -1;
    socket = asocket_connect(builder, "127.0.0.1", port);
    check_built(socket, false);
    asocket_abort(socket);
    close(listener);
    listener = listen_ipv6(&port);
    if (listener < 0)
        return;
    if (TEST_WINDOWS)
        builder.type_of_service = 0; /* Wine has it for IPv4 only */
    socket = asocket_connect(builder, "::1", port);
    check_built(socket, true);
    asocket_abort(socket);
    close(listener);
}

/* --- ports that are taken --------------------------------------------------------------------- */

static void test_reuse_port(void)
{
    asocket_builder builder = asocket_tcp(selector);
    asocket *first, *second;
    asocket_address address;

    if (test_skips(TEST_WINDOWS, 4, "Windows has no SO_REUSEPORT"))
        return;
    builder.reuse_port = true;
    first = asocket_bind(builder, "127.0.0.1", 0);
    asocket_local_address(first, &address);
    second = asocket_bind(builder, "127.0.0.1", address.port);
    ok(first && second, "with reuse_port two listeners share a port");
    asocket_close(second);
    builder.reuse_port = 0;
    ok(!asocket_bind(builder, "127.0.0.1", address.port), "not with one that does not");
    is_status(asocket_error(selector), ASOCKET_EADDRINUSE, "it says so");
    ok(message_says("bind", address.port, "address already in use"), "the message says which");
    asocket_close(first);
    first = asocket_bind(builder, "127.0.0.1", address.port);
    ok(first != NULL, "when it is closed, the port is free at once");
    ok(!asocket_bind(builder, "127.0.0.1", address.port) &&
           asocket_error(selector) == ASOCKET_EADDRINUSE,
       "by default nobody shares a port");
    asocket_close(first);
}

/* Two datagram sockets on one port would take each other's messages. */
static void test_datagrams_share_no_port(void)
{
    asocket *first = asocket_bind(asocket_udp(selector), "127.0.0.1", 0), *second;
    asocket_address address;

    asocket_local_address(first, &address);
    second = asocket_bind(asocket_udp(selector), "127.0.0.1", address.port);
    ok(!second && asocket_error(selector) == ASOCKET_EADDRINUSE,
       "by default no two datagram sockets share a port either");
    asocket_close(second);
    asocket_close(first);
}

/* The end that closes first keeps the port for a minute (TIME_WAIT). */
static void test_reuse_address(void)
{
    asocket_builder builder = asocket_tcp(selector);
    asocket *server;
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    asocket_close(pair.socket);
    test_peer_end(selector, pair.peer);
    test_pair_close(&pair);
    asocket_await_closed(pair.socket);
    if (test_skips(TEST_WINDOWS, 2, "SO_EXCLUSIVEADDRUSE keeps a port as long as connections do"))
        return;
    builder.reuse_address = -1;
    ok(!asocket_bind(builder, "127.0.0.1", pair.port) &&
           asocket_error(selector) == ASOCKET_EADDRINUSE,
       "without reuse_address an old connection keeps the port");
    builder.reuse_address = 0;
    server = asocket_bind(builder, "127.0.0.1", pair.port);
    ok(server != NULL, "by default it does not");
    asocket_close(server);
}

static void test_bind_elsewhere(void)
{
    asocket_builder builder = asocket_tcp(selector);

    ok(!asocket_bind(builder, "192.0.2.1", 0) && asocket_error(selector) == ASOCKET_EADDRNOTAVAIL,
       "only an address of ours can be bound");
    is_str(asocket_error_message(selector), "bind 192.0.2.1:0: address not available",
           "the message names it");
    builder.only_ipv6 = true;
    ok(!asocket_bind(builder, "127.0.0.1", 0) && asocket_error(selector) == ASOCKET_ENOTSUP,
       "only_ipv6 fails a listener on IPv4");
    ok(strstr(asocket_error_message(selector), "only_ipv6") != NULL,
       "the message names the option");
    ok(!asocket_bind(asocket_tcp(selector), "", 0) && asocket_error(selector) == ASOCKET_EINVAL,
       "an empty host is none");
    is_int(open_sockets(), 0, "nothing stays open");
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    backend = test_backend(argc, argv);
    test_hosts();
    test_addresses();
    test_ipv6();
    test_bad_hosts();
    test_bad_ports();
    test_refused();
    test_timed_out();
    test_ended();
    test_destroyed_meanwhile();
    if (!test_skips(TEST_WINDOWS, 3,
                    "the system has no limit of descriptors that a program could set"))
        test_descriptor_limit();
    test_self_connect();
    test_local_address();
    test_first_of_several();
    test_refused_of_several();
    test_hanging_of_several();
    test_late_of_several();
    test_mixed_of_several();
    test_impossible_of_several();
    test_cancelled_race();
    test_families_of_several();
    test_no_addresses();
    test_adopt_connected(0);
    test_adopt_connected(O_NONBLOCK);
    test_adopt_listener();
    test_adopt_others();
    test_adopt_impossible();
    test_adopt_options();
    test_adopt_bound_datagrams();
    test_options();
    test_options_of_others();
    test_builder_ranges();
    test_built();
    test_reuse_port();
    test_reuse_address();
    test_datagrams_share_no_port();
    test_bind_elsewhere();
    return test_end(selector);
}
