/* Datagrams: one at a time and many, whole, cut and empty, to one, to all and to groups, what comes
   back as an error, and how a wait ends. The peers are plain sockets. */
#include "test.h"

#include <net/if.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

enum { LARGEST = 65507, MANY = 200 };

static asocket_selector *selector;

/* --- sendmmsg, watched: this one is found before the C library's ------------------------------ */

static int segmented;     /* messages that the kernel was asked to cut */
static int batches;       /* calls */
static int segment_error; /* with which such a message fails, as long as it is set */

#ifdef __linux__

enum { MANY_AT_ONCE = 1 }; /* with one system call */

/* Whether the kernel cuts datagrams: UDP_SEGMENT, Linux 4.18. */
static bool segments_are_known(const asocket *socket)
{
    int size;
    socklen_t length = sizeof size;

#ifdef UDP_SEGMENT /* s390x is run without */
    if (UDP_SEGMENT != 103)
        return false;
#endif
    return getsockopt(asocket_native_handle(socket), IPPROTO_UDP, 103, &size, &length) == 0;
}

static bool is_segmented(const struct msghdr *message)
{
    return message->msg_controllen > 0;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, test_message_flags flags)
{
    unsigned i;

    batches++;
    for (i = 0; i < count; i++) {
        segmented += is_segmented(&messages[i].msg_hdr);
        if (segment_error && is_segmented(&messages[i].msg_hdr))
            count = i;
    }
    if (!count) {
        errno = segment_error;
        return -1;
    }
    return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
}

#else

enum { MANY_AT_ONCE = 0 };

static bool segments_are_known(const asocket *socket)
{
    (void)socket;
    return false;
}

#endif

/* --- sockets, and peers that are not the library's -------------------------------------------- */

static asocket_address address_of(const asocket *socket)
{
    asocket_address address;

    asocket_local_address(socket, &address);
    return address;
}

static int port_of(const asocket *socket)
{
    return address_of(socket).port;
}

/* Bound to a port of the system's choice; what fails there does not wait for ever. */
static asocket *bound_with(asocket_builder udp, const char *host)
{
    asocket *made;

    udp.timeout = udp.timeout ? udp.timeout : 5000;
    made = asocket_bind(udp, host, 0);
    if (!made)
        ok(false, "a socket can be bound to %s: %s", host, asocket_error_message(selector));
    return made;
}

static asocket *bound(void)
{
    return bound_with(asocket_udp(selector), "127.0.0.1");
}

static asocket *connected_to(int port)
{
    asocket_builder udp = asocket_udp(selector);
    asocket *made;

    udp.timeout = 5000;
    made = asocket_connect(udp, "127.0.0.1", port);
    if (!made)
        ok(false, "a socket can be connected: %s", asocket_error_message(selector));
    return made;
}

static int peer_port(int peer)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;

    memset(&address, 0, sizeof address);
    getsockname(peer, (struct sockaddr *)&address, &size);
    return ntohs(address.sin_port);
}

/* A plain socket on 127.0.0.1; port 0: any. */
static int peer_on(int port)
{
    struct timeval limit = {5, 0};
    struct sockaddr_in address = test_peer_address("127.0.0.1", port);
    int peer = socket(AF_INET, SOCK_DGRAM, 0);

    setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (bind(peer, (struct sockaddr *)&address, sizeof address) < 0) {
        close(peer);
        return -1;
    }
    return peer;
}

static bool peer_send(int peer, int port, const void *data, size_t size)
{
    struct sockaddr_in to = test_peer_address("127.0.0.1", port);

    return sendto(peer, data, size, 0, (struct sockaddr *)&to, sizeof to) == (ssize_t)size;
}

/* Whether exactly this comes next, from this port (0: from any). */
static bool peer_gets(int peer, const void *data, size_t size, int port)
{
    static char buffer[70000];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t count;

    memset(&from, 0, sizeof from);
    count = recvfrom(peer, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &length);

    return count == (ssize_t)size && memcmp(buffer, data, size) == 0 &&
           (!port || port == ntohs(from.sin_port));
}

/* Whether this text comes next. */
static bool hears(asocket *socket, const char *text)
{
    char buffer[200];
    ptrdiff_t count = asocket_receive_from(socket, buffer, sizeof buffer, NULL);

    if (count == (ptrdiff_t)strlen(text) && memcmp(buffer, text, strlen(text)) == 0)
        return true;
    diag("received %d: %s", (int)count, count < 0 ? asocket_error_message(selector) : buffer);
    return false;
}

static ptrdiff_t send_text(asocket *socket, const char *text, const asocket_address *to)
{
    return asocket_send_to(socket, text, strlen(text), to);
}

/* Within the socket's time-out: the size of what comes. */
static ptrdiff_t receive_soon(asocket *socket)
{
    char buffer[200];

    return asocket_receive_from(socket, buffer, sizeof buffer, NULL);
}

/* Answers at once: nothing is there, or the size of what is. */
static ptrdiff_t receive_now(asocket *socket)
{
    ptrdiff_t count;

    asocket_set_timeout(socket, ASOCKET_NO_WAIT);
    count = receive_soon(socket);
    asocket_set_timeout(socket, 5000);
    return count;
}

static bool ipv6_works(void)
{
    asocket *probe = asocket_bind(asocket_udp(selector), "::1", 0);

    asocket_close(probe);
    return probe != NULL;
}

/* --- one at a time ---------------------------------------------------------------------------- */

static void test_there_and_back(void)
{
    asocket *socket = bound();
    asocket_address from;
    char buffer[100];
    int peer = peer_on(0);

    ok(port_of(socket) > 0, "port 0 becomes a port that is free");
    ok(peer_send(peer, port_of(socket), "hello", 5), "a peer sends");
    is_int(asocket_receive_from(socket, buffer, sizeof buffer, &from), 5, "its size is told");
    ok(memcmp(buffer, "hello", 5) == 0, "what was sent is received");
    ok(from.port == peer_port(peer) && from.ip.family == 4 && asocket_ip_is_loopback(&from.ip),
       "and from whom");
    is_int(asocket_send_to(socket, "answer", 6, &from), 6, "an answer to the sender");
    ok(peer_gets(peer, "answer", 6, port_of(socket)), "arrives, from our port");
    close(peer);
    asocket_close(socket);
}

static void test_order(void)
{
    asocket *socket = bound();
    int peer = peer_on(0);

    peer_send(peer, port_of(socket), "one", 3);
    peer_send(peer, port_of(socket), "two", 3);
    peer_send(peer, port_of(socket), "three", 5);
    ok(hears(socket, "one") && hears(socket, "two") && hears(socket, "three"),
       "datagrams stay apart and in order");
    is_status(receive_now(socket), ASOCKET_EAGAIN, "then there is none");
    close(peer);
    asocket_close(socket);
}

static void test_connected(void)
{
    int peer = peer_on(0), stranger = peer_on(0);
    asocket *socket = connected_to(peer_port(peer));
    asocket_address remote, elsewhere = asocket_address_of(asocket_ipv4(127, 0, 0, 1), 0);

    ok(asocket_remote_address(socket, &remote) == ASOCKET_OK && remote.port == peer_port(peer),
       "a connected socket knows its peer");
    is_int(send_text(socket, "one", NULL), 3, "no target is the peer");
    ok(peer_gets(peer, "one", 3, port_of(socket)), "and it arrives there");
    memset(&remote, 0, sizeof remote);
    is_int(send_text(socket, "two", &remote), 3, "an empty target is the peer");
    ok(peer_gets(peer, "two", 3, port_of(socket)), "and it arrives there");
    elsewhere.port = (uint16_t)peer_port(stranger);
    is_int(send_text(socket, "you", &elsewhere), 3, "another target is another one");
    ok(peer_gets(stranger, "you", 3, port_of(socket)), "and it arrives there");
    peer_send(stranger, port_of(socket), "stranger", 8);
    peer_send(peer, port_of(socket), "peer", 4);
    ok(hears(socket, "peer"), "only what its peer sends is received");
    close(peer);
    close(stranger);
    asocket_close(socket);
}

static void test_by_structure(void)
{
    asocket *socket = bound(), *other = bound();
    asocket_address to = address_of(other);
    char text[] = "by structure", buffer[100];
    asocket_datagram datagram;

    memset(&datagram, 0, sizeof datagram);
    datagram.data = text;
    datagram.size = strlen(text);
    datagram.address = to;
    is_int(asocket_send(socket, &datagram), strlen(text), "a datagram is sent");
    memset(&datagram, 0xA5, sizeof datagram);
    datagram.data = buffer;
    datagram.capacity = sizeof buffer;
    is_int(asocket_receive(other, &datagram), strlen(text), "and received");
    ok(datagram.size == strlen(text) && memcmp(buffer, text, datagram.size) == 0,
       "its bytes and their number");
    to = address_of(socket);
    ok(asocket_address_equal(&datagram.address, &to), "its sender");
    ok(!datagram.truncated && datagram.data == buffer && datagram.capacity == sizeof buffer,
       "it is whole, and the buffer is what it was");
    asocket_close(socket);
    asocket_close(other);
}

static void test_empty(void)
{
    asocket *socket = bound();
    asocket_address from;
    asocket_datagram datagram;
    char buffer[10];
    int peer = peer_on(0);

    peer_send(peer, port_of(socket), "", 0);
    peer_send(peer, port_of(socket), "", 0);
    peer_send(peer, port_of(socket), "after", 5);
    is_int(asocket_receive_from(socket, buffer, sizeof buffer, &from), 0,
           "P1: an empty datagram is one, and no end");
    is_int(from.port, peer_port(peer), "it has a sender");
    memset(&datagram, 0, sizeof datagram);
    is_int(asocket_receive(socket, &datagram), 0, "it needs no buffer");
    ok(!datagram.truncated, "nothing of it is lost");
    ok(hears(socket, "after"), "what follows is received");
    is_int(asocket_send_to(socket, NULL, 0, &from), 0, "an empty datagram can be sent");
    ok(peer_gets(peer, "", 0, port_of(socket)), "and arrives");
    close(peer);
    asocket_close(socket);
}

static void test_cut(void)
{
    asocket *socket = bound();
    asocket_datagram datagram;
    char buffer[4] = "???";
    int peer = peer_on(0), i;

    for (i = 0; i < 4; i++)
        peer_send(peer, port_of(socket), "12345", i < 3 ? 5 : 3);
    is_int(asocket_receive_from(socket, buffer, 3, NULL), 3, "a buffer too small is filled");
    ok(memcmp(buffer, "123", 4) == 0, "and no byte more");
    is_status(asocket_error(selector), ASOCKET_EMSGSIZE, "the error says that it was cut");
    memset(&datagram, 0, sizeof datagram);
    datagram.data = buffer;
    datagram.capacity = 4;
    is_int(asocket_receive(socket, &datagram), 4, "a structure's buffer is filled");
    ok(datagram.truncated && datagram.size == 4, "it says that it was cut");
    is_int(asocket_receive_from(socket, NULL, 0, NULL), 0, "a buffer of 0 bytes takes nothing");
    (void)asocket_set_timeout(socket, -5); /* another failure */
    is_int(asocket_receive(socket, &datagram), 3, "the rest of a cut one is gone");
    ok(!datagram.truncated, "a whole one is not called cut");
    is_status(asocket_error(selector), ASOCKET_EINVAL, "nor by the error");
    close(peer);
    asocket_close(socket);
}

static void test_largest(void)
{
    static char data[LARGEST + 1], buffer[LARGEST + 1];
    asocket *socket = bound();
    asocket_address to, from;
    int peer = peer_on(0), i;

    to = asocket_address_of(asocket_ipv4(127, 0, 0, 1), (uint16_t)peer_port(peer));
    for (i = 0; i < LARGEST; i++)
        data[i] = (char)(i * 7 + i / 256);
    is_int(asocket_send_to(socket, data, LARGEST, &to), LARGEST, "65,507 bytes are sent");
    ok(peer_gets(peer, data, LARGEST, 0), "and arrive");
    is_status(asocket_send_to(socket, data, LARGEST + 1, &to), ASOCKET_EMSGSIZE,
              "one more is too long");
    is_int(send_text(socket, "next", &to), 4, "the next one is sent");
    ok(peer_gets(peer, "next", 4, 0), "and arrives");
    ok(peer_send(peer, port_of(socket), data, LARGEST), "the peer sends as much");
    is_int(asocket_receive_from(socket, buffer, sizeof buffer, &from), LARGEST, "it is received");
    ok(memcmp(data, buffer, LARGEST) == 0, "as it was");
    close(peer);
    asocket_close(socket);
}

/* --- to all, to groups ------------------------------------------------------------------------ */

static void test_broadcast(void)
{
    asocket_builder udp = asocket_udp(selector);
    asocket *receiver = bound_with(udp, "0.0.0.0"), *quiet = bound_with(udp, "0.0.0.0"), *loud;
    asocket_address everybody = asocket_address_of(asocket_ipv4(127, 255, 255, 255), 0);
    int value = -1;

    everybody.port = (uint16_t)port_of(receiver);
    is_status(send_text(quiet, "all", &everybody), ASOCKET_EACCES,
              "a broadcast without the option is refused");
    udp.broadcast = true;
    loud = bound_with(udp, "0.0.0.0");
    ok(asocket_get_option(loud, ASOCKET_OPTION_BROADCAST, &value) == ASOCKET_OK && value == 1,
       "the builder's option is set");
    is_int(send_text(loud, "all", &everybody), 3, "with it a broadcast is sent");
    ok(hears(receiver, "all"), "and received");
    asocket_set_option(quiet, ASOCKET_OPTION_BROADCAST, 1);
    is_int(send_text(quiet, "now", &everybody), 3, "the option can be set later");
    ok(hears(receiver, "now"), "with the same effect");
    asocket_close(receiver);
    asocket_close(quiet);
    asocket_close(loud);
}

static const char *emulated = "the emulator knows no interfaces of groups";

/* Whether a message to a group comes back on this interface. */
static bool carries_groups(const char *any, const asocket_ip *group, unsigned interface)
{
    asocket_builder udp = asocket_udp(selector);
    asocket *probe;
    asocket_address to;
    bool works;

    udp.multicast_interface = interface;
    udp.timeout = 100;
    probe = bound_with(udp, any);
    to = asocket_address_of(*group, (uint16_t)port_of(probe));
    works = asocket_join_group(probe, group, interface) == ASOCKET_OK &&
            send_text(probe, "probe", &to) == 5 && receive_soon(probe) == 5;
    asocket_close(probe);
    return works;
}

/* "lo", which has no groups of IPv6 on every system, or another one; 0: none. */
static unsigned group_interface(const char *any, const asocket_ip *group)
{
    struct if_nameindex *all = NULL;
    unsigned found = if_nametoindex("lo");
    size_t i;

    if (test_emulated())
        return 0;
    all = if_nameindex();
    if (!carries_groups(any, group, found))
        found = 0;
    for (i = 0; all && all[i].if_index && !found; i++)
        if (carries_groups(any, group, all[i].if_index))
            found = all[i].if_index;
    if_freenameindex(all);
    return found;
}

/* A group's message reaches who has joined and nobody else. */
static void check_group(const char *name, const char *any, asocket_ip group)
{
    unsigned lo = group_interface(any, &group);
    asocket_builder udp = asocket_udp(selector);
    asocket *member = bound_with(udp, any), *sender;
    asocket_address to = asocket_address_of(group, (uint16_t)port_of(member));
    int value = 0;

    udp.multicast_interface = lo;
    udp.multicast_ttl = 3;
    sender = bound_with(udp, any);
    if (!lo || asocket_join_group(member, &group, lo) < 0) {
        skip(9, "no interface here carries groups");
        asocket_close(member);
        asocket_close(sender);
        return;
    }
    is_int(send_text(sender, "group", &to), 5, "%s: a message to a group is sent", name);
    ok(hears(member, "group"), "%s: a member receives it", name);
    is_status(asocket_join_group(member, &group, lo), ASOCKET_EADDRINUSE, "%s: one can join once",
              name);
    is_int(asocket_leave_group(member, &group, lo), ASOCKET_OK, "%s: a member leaves", name);
    send_text(sender, "late", &to);
    is_status(receive_now(member), ASOCKET_EAGAIN, "%s: and receives no more", name);
    is_status(asocket_leave_group(member, &group, lo), ASOCKET_EADDRNOTAVAIL,
              "%s: one can leave once", name);
    ok(asocket_get_option(sender, ASOCKET_OPTION_MULTICAST_TTL, &value) == 0 && value == 3,
       "%s: the builder's hops are set", name);
    ok(asocket_get_option(sender, ASOCKET_OPTION_MULTICAST_LOOP, &value) == 0 && value == 1,
       "%s: a sender hears itself unless told otherwise", name);
    asocket_set_option(sender, ASOCKET_OPTION_MULTICAST_LOOP, 0);
    ok(asocket_get_option(sender, ASOCKET_OPTION_MULTICAST_LOOP, &value) == 0 && value == 0,
       "%s: which it can be", name);
    asocket_close(member);
    asocket_close(sender);
}

static void test_groups(void)
{
    check_group("IPv4", "0.0.0.0", asocket_ipv4(239, 255, 77, 1));
    if (ipv6_works())
        check_group("IPv6", "::", asocket_ipv6(0xff01, 0, 0, 0, 0, 0, 0, 0x77));
    else
        skip(9, "there is no IPv6 here");
}

/* The zone of a group's address is its interface. */
static void test_zones(void)
{
    asocket_ip group = asocket_ipv6(0xff01, 0, 0, 0, 0, 0, 0, 0x78);
    unsigned interface = ipv6_works() ? group_interface("::", &group) : 0;
    asocket *member;
    asocket_address to, from;
    char buffer[10];

    if (!interface || !if_indextoname(interface, group.zone)) {
        skip(5, "no interface here carries groups of IPv6");
        return;
    }
    member = bound_with(asocket_udp(selector), "::");
    is_status(asocket_join_group(member, &group, 0), ASOCKET_OK, "a zone says on which interface");
    to = asocket_address_of(group, (uint16_t)port_of(member));
    is_int(send_text(member, "zone", &to), 4, "to join and to send to");
    is_int(asocket_receive_from(member, buffer, sizeof buffer, &from), 4, "it arrives");
    is_int(from.ip.family, 6, "from an IPv6 address");
    strcpy(to.ip.zone, "nowhere");
    is_status(send_text(member, "zone", &to), ASOCKET_EADDRNOTAVAIL, "a zone that is none");
    asocket_close(member);
}

static void test_dual_stack(void)
{
    asocket *both = bound_with(asocket_udp(selector), NULL);
    asocket_address from, to;
    asocket_ip group = asocket_ipv4(239, 255, 77, 2);
    char buffer[100], text[100] = "";
    int peer = peer_on(0);

    peer_send(peer, port_of(both), "four", 4);
    is_int(asocket_receive_from(both, buffer, sizeof buffer, &from), 4,
           "every interface: IPv4 is heard");
    asocket_ip_format(&from.ip, text, sizeof text);
    is_str(text, "127.0.0.1", "and shown as IPv4");
    is_int(send_text(both, "to you", &from), 6, "and reached");
    ok(peer_gets(peer, "to you", 6, port_of(both)), "as its answer");
    to = from;
    to.ip = asocket_ip_to_mapped(&from.ip);
    is_int(send_text(both, "mapped", &to), 6, "by its mapped address too");
    ok(peer_gets(peer, "mapped", 6, port_of(both)), "the same");
    if (asocket_join_group(both, &group, if_nametoindex("lo")) < 0) {
        skip(1, asocket_error_message(selector));
    } else {
        asocket_builder udp = asocket_udp(selector);
        asocket *sender;

        udp.multicast_interface = if_nametoindex("lo");
        sender = bound_with(udp, "0.0.0.0");
        to = asocket_address_of(group, (uint16_t)port_of(both));
        send_text(sender, "group", &to);
        ok(hears(both, "group"), "it can join groups of both families");
        asocket_close(sender);
    }
    close(peer);
    asocket_close(both);
}

static void test_mapped_targets(void)
{
    asocket *four = bound();
    asocket_address to = address_of(four);

    to.ip = asocket_ip_to_mapped(&to.ip);
    is_int(send_text(four, "self", &to), 4, "an IPv4 socket understands a mapped address");
    ok(hears(four, "self"), "it arrives");
    asocket_close(four);
}

/* --- many at a time --------------------------------------------------------------------------- */

typedef struct pack {
    asocket_datagram datagrams[MANY];
    char bytes[MANY][1000];
    size_t count;
} pack;

static pack outgoing, incoming;

/* Datagram i is filled with i. */
static void pack_add(const asocket_address *to, size_t size)
{
    asocket_datagram *datagram = &outgoing.datagrams[outgoing.count];

    memset(datagram, 0, sizeof *datagram);
    datagram->data = outgoing.bytes[outgoing.count];
    datagram->size = size;
    if (to)
        datagram->address = *to;
    memset(datagram->data, (int)outgoing.count, size);
    outgoing.count++;
}

static void pack_fill(const asocket_address *to, size_t count, size_t size)
{
    outgoing.count = 0;
    while (outgoing.count < count)
        pack_add(to, size);
}

static int send_pack(asocket *socket)
{
    return asocket_send_many(socket, outgoing.datagrams, outgoing.count);
}

/* Receives so many, in as many calls as it takes; how many came. */
static size_t receive_pack(asocket *socket, size_t count)
{
    size_t i;

    memset(&incoming, 0, sizeof incoming);
    for (i = 0; i < MANY; i++) {
        incoming.datagrams[i].data = incoming.bytes[i];
        incoming.datagrams[i].capacity = sizeof incoming.bytes[i];
    }
    while (incoming.count < count) {
        int got = asocket_receive_many(socket, incoming.datagrams + incoming.count,
                                       count - incoming.count);

        if (got <= 0)
            break;
        incoming.count += (size_t)got;
    }
    return incoming.count;
}

/* Whether those received are the outgoing ones from `first` on, every `step`th. */
static bool packs_agree(size_t first, size_t step)
{
    size_t i;

    for (i = 0; i < incoming.count; i++) {
        const asocket_datagram *sent = &outgoing.datagrams[first + i * step];
        const asocket_datagram *got = &incoming.datagrams[i];

        if (got->size != sent->size || got->truncated ||
            memcmp(got->data, sent->data, got->size) != 0) {
            diag("datagram %d: %d bytes, expected %d", (int)i, (int)got->size, (int)sent->size);
            return false;
        }
    }
    return true;
}

static void check_many(size_t count, size_t size)
{
    asocket *socket = bound(), *receiver = bound();
    asocket_address to = address_of(receiver), from = address_of(socket);

    pack_fill(&to, count, size);
    is_int(send_pack(socket), count, "%d datagrams of %d bytes are sent", (int)count, (int)size);
    is_int(receive_pack(receiver, count), count, "all of them are received");
    ok(packs_agree(0, 1), "one by one, in order");
    ok(asocket_address_equal(&incoming.datagrams[count - 1].address, &from), "with their sender");
    is_status(receive_now(receiver), ASOCKET_EAGAIN, "and no more");
    asocket_close(socket);
    asocket_close(receiver);
}

static void test_many(void)
{
    check_many(1, 10);
    check_many(64, 100);
    check_many(65, 33);
    check_many(MANY, 64);
    check_many(3, 0);
}

static void test_system_calls(void)
{
    asocket *socket = bound(), *receiver = bound();
    asocket_address to = address_of(receiver);
    asocket_statistics before, after;

    pack_fill(&to, 64, 100);
    asocket_stats(selector, &before);
    send_pack(socket);
    asocket_stats(selector, &after);
    ok(after.system_calls - before.system_calls <= (MANY_AT_ONCE ? 3 : 66),
       MANY_AT_ONCE ? "64 are sent with one system call, not 64"
                    : "64 are sent, one call for each");
    asocket_stats(selector, &before);
    receive_pack(receiver, 64);
    asocket_stats(selector, &after);
    ok(after.system_calls - before.system_calls <= (MANY_AT_ONCE ? 4 : 68),
       MANY_AT_ONCE ? "64 are received with one, not 64" : "64 are received, one call for each");
    asocket_close(socket);
    asocket_close(receiver);
}

static void test_segments(void)
{
    asocket *socket = bound(), *receiver = bound();
    asocket_address to = address_of(receiver);

    segmented = batches = 0;
    pack_fill(&to, 40, 500);
    pack_add(&to, 200); /* the last of a run may be shorter */
    is_int(send_pack(socket), 41, "a run of one size to one target is sent");
    if (segments_are_known(socket))
        ok(segmented == 1 && batches == 1, "in one piece that the kernel cuts");
    else
        skip(1, "this kernel does not cut datagrams");
    is_int(receive_pack(receiver, 41), 41, "they arrive one by one");
    ok(packs_agree(0, 1), "in order, each whole");
    asocket_close(socket);
    asocket_close(receiver);
}

static void test_mixed(void)
{
    static const size_t sizes[] = {10, 10, 10, 20, 20, 5, 0, 7, 0, 0, 30, 30, 40, 1};
    asocket *socket = bound(), *first = bound(), *second = bound();
    asocket_address to_first = address_of(first), to_second = address_of(second);
    size_t i;

    outgoing.count = 0;
    for (i = 0; i < 98; i++)
        pack_add(&to_first, sizes[i % 14]);
    is_int(send_pack(socket), 98, "runs of several sizes are sent, empty ones among them");
    is_int(receive_pack(first, 98), 98, "they arrive");
    ok(packs_agree(0, 1), "each with its size");

    outgoing.count = 0;
    for (i = 0; i < 80; i++)
        pack_add(i % 2 ? &to_second : &to_first, 50);
    is_int(send_pack(socket), 80, "to two targets in turn");
    is_int(receive_pack(first, 40), 40, "the first one gets its own");
    ok(packs_agree(0, 2), "every other one");
    is_int(receive_pack(second, 40), 40, "the second one too");
    ok(packs_agree(1, 2), "the rest");
    asocket_close(socket);
    asocket_close(first);
    asocket_close(second);
}

static void test_many_connected(void)
{
    int peer = peer_on(0);
    asocket *socket = connected_to(peer_port(peer));
    char expected[30];
    int i, right = 0;

    pack_fill(NULL, 70, sizeof expected);
    is_int(send_pack(socket), 70, "many to the connected peer");
    for (i = 0; i < 70; i++) {
        memset(expected, i, sizeof expected);
        right += peer_gets(peer, expected, sizeof expected, port_of(socket));
    }
    is_int(right, 70, "arrive as single datagrams at a plain socket");
    close(peer);
    asocket_close(socket);
}

static void test_many_cut(void)
{
    asocket *receiver = bound();
    asocket_datagram datagrams[3];
    char buffer[3][4];
    int peer = peer_on(0), i;

    memset(datagrams, 0, sizeof datagrams);
    for (i = 0; i < 3; i++) {
        datagrams[i].data = buffer[i];
        datagrams[i].capacity = 4;
    }
    peer_send(peer, port_of(receiver), "1234", 4);
    peer_send(peer, port_of(receiver), "12345", 5);
    peer_send(peer, port_of(receiver), "", 0);
    is_int(asocket_receive_many(receiver, datagrams, 3), 3, "three are received");
    ok(!datagrams[0].truncated && datagrams[1].truncated && !datagrams[2].truncated,
       "the one that was cut says so");
    ok(datagrams[0].size == 4 && datagrams[1].size == 4 && datagrams[2].size == 0,
       "each size is what was stored");
    close(peer);
    asocket_close(receiver);
}

/* What stops a batch in its middle. */
static void test_many_partly(void)
{
    asocket *socket = bound(), *receiver = bound();
    asocket_address to = address_of(receiver);

    pack_fill(&to, 5, 20);
    outgoing.datagrams[3].address.ip = asocket_ipv6(0, 0, 0, 0, 0, 0, 0, 1);
    is_int(send_pack(socket), 3, "those before a wrong one go");
    is_status(asocket_error(selector), ASOCKET_EINVAL, "the error says what was wrong");
    is_int(receive_pack(receiver, 3), 3, "they arrive");
    is_status(receive_now(receiver), ASOCKET_EAGAIN, "those after it do not");
    outgoing.datagrams[0].address.ip = outgoing.datagrams[3].address.ip;
    is_status(send_pack(socket), ASOCKET_EINVAL, "if the first is wrong, none goes");
    asocket_close(socket);
    asocket_close(receiver);
}

/* A selector of its own: it remembers what the kernel cannot do. */
static void check_fallback(int backend, int error, const char *what)
{
    asocket_selector *kept = selector;
    asocket *socket, *receiver;
    asocket_address to;

    selector = test_selector_closing(backend, 0);
    socket = bound();
    receiver = bound();
    to = address_of(receiver);
    segment_error = error;
    pack_fill(&to, 30, 100);
    is_int(send_pack(socket), 30, "%s: what the kernel will not cut is sent one by one", what);
    is_int(receive_pack(receiver, 30), 30, "%s: it arrives", what);
    ok(packs_agree(0, 1), "%s: in order", what);
    segmented = 0;
    is_int(send_pack(socket), 30, "%s: so is what follows", what);
    is_int(segmented, 0, "%s: without another try", what);
    segment_error = 0;
    asocket_selector_destroy(selector);
    selector = kept;
}

static void test_fallback(int backend)
{
    if (!MANY_AT_ONCE) {
        skip(15, "this system cuts no datagrams");
        return;
    }
    check_fallback(backend, EIO, "EIO");
    check_fallback(backend, EINVAL, "EINVAL");
    check_fallback(backend, EOPNOTSUPP, "EOPNOTSUPP");
}

/* --- errors that come back -------------------------------------------------------------------- */

/* A port on which nobody receives. */
static int unused_port(void)
{
    int peer = peer_on(0), port = peer_port(peer);

    close(peer);
    return port;
}

static void test_refused_sender(void)
{
    int port = unused_port(), peer;
    asocket *socket = connected_to(port);

    is_int(send_text(socket, "lost", NULL), 4, "what nobody receives is sent");
    is_status(send_text(socket, "told", NULL), ASOCKET_ECONNREFUSED, "the next call says so");
    peer = peer_on(port);
    is_int(send_text(socket, "works", NULL), 5, "and the one after it works");
    ok(peer_gets(peer, "works", 5, port_of(socket)), "P7: as if nothing had happened");
    close(peer);
    asocket_close(socket);
}

static void test_refused_receiver(void)
{
    int port = unused_port(), peer;
    asocket *socket = connected_to(port);
    char buffer[10];

    send_text(socket, "lost", NULL);
    is_status(asocket_receive_from(socket, buffer, sizeof buffer, NULL), ASOCKET_ECONNREFUSED,
              "a receive tells of the refusal");
    ok(strstr(asocket_error_message(selector), "127.0.0.1:") != NULL, "and by whom: %s",
       asocket_error_message(selector));
    peer = peer_on(port);
    peer_send(peer, port_of(socket), "later", 5);
    ok(hears(socket, "later"), "P10: the next one receives");
    close(peer);
    asocket_close(socket);
}

/* Segmentation has nothing to do with a refusal. */
static void test_refused_many(void)
{
    int port = unused_port();
    asocket *socket = connected_to(port);

    send_text(socket, "lost", NULL);
    pack_fill(NULL, 10, 50);
    is_status(send_pack(socket), ASOCKET_ECONNREFUSED, "many: a refusal is told");
    segmented = 0;
    ok(send_pack(socket) >= (MANY_AT_ONCE ? 10 : 1), "many: the next call sends");
#ifdef __s390x__ /* qemu hands the size on in the wrong order of bytes: see systems.mk */
    skip(1, "the emulator cannot let the kernel cut");
#else
    is_int(segmented, MANY_AT_ONCE, "many: and goes on letting the kernel cut");
#endif
    asocket_close(socket);
}

static void test_refused_many_receiver(void)
{
    int port = unused_port(), peer;
    asocket *socket = connected_to(port);

    send_text(socket, "lost", NULL);
    is_int(receive_pack(socket, 1), 0, "many: none is received when the peer refuses");
    is_status(asocket_error(selector), ASOCKET_ECONNREFUSED, "many: the error says so");
    peer = peer_on(port);
    peer_send(peer, port_of(socket), "later", 5);
    is_int(receive_pack(socket, 1), 1, "many: the next call receives");
    close(peer);
    asocket_close(socket);
}

static void test_refused_unconnected(void)
{
    asocket *socket = bound();
    asocket_address nobody = asocket_address_of(asocket_ipv4(127, 0, 0, 1), 0);
    int peer = peer_on(0);

    nobody.port = (uint16_t)unused_port();
    send_text(socket, "lost", &nobody);
    is_int(send_text(socket, "lost", &nobody), 4, "one target's refusal is no other's business");
    peer_send(peer, port_of(socket), "fine", 4);
    ok(hears(socket, "fine"), "nor the receiver's");
    close(peer);
    asocket_close(socket);
}

typedef struct waiter {
    asocket *socket;
    ptrdiff_t results[4];
    int count;
} waiter;

static void receive_three(asocket_selector *unused, void *argument)
{
    waiter *w = (waiter *)argument;
    char buffer[100];

    (void)unused;
    while (w->count < 3)
        w->results[w->count++] = asocket_receive_from(w->socket, buffer, sizeof buffer, NULL);
}

static void test_refused_while_waiting(void)
{
    int port = unused_port(), peer;
    waiter w = {connected_to(port), {0}, 0};
    asocket_job job = asocket_launch(selector, receive_three, &w);

    asocket_sleep(selector, 5);
    send_text(w.socket, "lost", NULL);
    asocket_sleep(selector, 5);
    peer = peer_on(port);
    peer_send(peer, port_of(w.socket), "one", 3);
    asocket_sleep(selector, 5);
    peer_send(peer, port_of(w.socket), "seven!!", 7);
    asocket_join(selector, job);
    is_status(w.results[0], ASOCKET_ECONNREFUSED, "a refusal wakes who waits");
    ok(w.results[1] == 3 && w.results[2] == 7, "P10: who goes on receiving");
    close(peer);
    asocket_close(w.socket);
}

/* --- how a wait ends -------------------------------------------------------------------------- */

static void test_timeout(void)
{
    asocket *socket = bound();
    asocket_datagram datagram;
    int64_t start = test_clock(), former;
    char byte;

    memset(&datagram, 0, sizeof datagram);
    asocket_set_timeout(socket, 20);
    is_status(asocket_receive_from(socket, &byte, 1, NULL), ASOCKET_ETIMEDOUT,
              "P7: a receive times out");
    ok(test_took(start, 20, 40), "P11: not early");
    is_status(asocket_receive(socket, &datagram), ASOCKET_ETIMEDOUT, "P7: by structure too");
    is_status(asocket_receive_many(socket, &datagram, 1), ASOCKET_ETIMEDOUT, "P7: and of many");
    asocket_set_timeout(socket, ASOCKET_FOREVER);
    former = asocket_set_deadline(selector, 10);
    is_status(asocket_receive_from(socket, &byte, 1, NULL), ASOCKET_ETIMEDOUT,
              "P7: a deadline ends a receive");
    asocket_restore_deadline(selector, former);
    asocket_set_timeout(socket, ASOCKET_NO_WAIT);
    is_status(asocket_receive_from(socket, &byte, 1, NULL), ASOCKET_EAGAIN, "it need not wait");
    is_status(asocket_receive(socket, &datagram), ASOCKET_EAGAIN, "by structure");
    is_status(asocket_receive_many(socket, &datagram, 1), ASOCKET_EAGAIN, "of many");
    asocket_close(socket);
}

/* What came while nobody ran the loop. */
static void test_no_wait(void)
{
    asocket *socket = bound();
    int peer = peer_on(0);

    is_status(receive_now(socket), ASOCKET_EAGAIN, "nothing is there");
    peer_send(peer, port_of(socket), "abc", 3);
    is_int(receive_now(socket), 3, "who never waits gets what has come");
    is_status(receive_now(socket), ASOCKET_EAGAIN, "once");
    close(peer);
    asocket_close(socket);
}

static void receive_until_refused(asocket_selector *unused, void *argument)
{
    waiter *w = (waiter *)argument;
    char buffer[100];

    (void)unused;
    do
        w->results[0] = asocket_receive_from(w->socket, buffer, sizeof buffer, NULL);
    while (w->results[0] >= 0);
    w->results[1] = asocket_send_to(w->socket, "bye", 3, NULL);
}

static void test_cancel(void)
{
    int peer = peer_on(0);
    waiter w = {connected_to(peer_port(peer)), {0}, 0};
    asocket_job job = asocket_launch(selector, receive_until_refused, &w);

    asocket_sleep(selector, 5);
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(w.results[0], ASOCKET_ECANCELED, "P7: a cancel ends a receive");
    is_int(w.results[1], 3, "P7: what need not wait still works");
    ok(peer_gets(peer, "bye", 3, 0), "and arrives");
    peer_send(peer, port_of(w.socket), "more", 4);
    ok(hears(w.socket, "more"), "P7: the socket works on for others");
    close(peer);
    asocket_close(w.socket);
}

static void test_close_by_another(void)
{
    waiter w = {bound(), {0}, 0};
    asocket_job job = asocket_launch(selector, receive_until_refused, &w);
    char byte;

    asocket_sleep(selector, 5);
    asocket_close(w.socket);
    asocket_join(selector, job);
    is_status(w.results[0], ASOCKET_ECLOSED, "P8: a close ends a receive");
    is_status(w.results[1], ASOCKET_ECLOSED, "P8: and what follows");
    is_status(asocket_receive_from(w.socket, &byte, 1, NULL), ASOCKET_ECLOSED, "P8: anybody's");
    ok(asocket_is_closed(w.socket) && asocket_close(w.socket) == ASOCKET_OK, "P8: once is enough");
    is_int(asocket_await_closed(w.socket), ASOCKET_OK, "it has nothing to wait for");
    ok(port_of(w.socket) > 0, "P8: it still knows where it was");
}

static void test_two_coroutines(void)
{
    waiter w = {bound(), {0}, 0};
    asocket_address self = address_of(w.socket);
    asocket_datagram datagram;
    asocket_job job = asocket_launch(selector, receive_three, &w);
    char byte;

    memset(&datagram, 0, sizeof datagram);
    asocket_sleep(selector, 5);
    is_status(asocket_receive_from(w.socket, &byte, 1, NULL), ASOCKET_EBUSY,
              "P12: a second receiver is refused");
    is_status(asocket_receive(w.socket, &datagram), ASOCKET_EBUSY, "P12: by structure");
    is_status(asocket_receive_many(w.socket, &datagram, 1), ASOCKET_EBUSY, "P12: of many");
    is_int(send_text(w.socket, "one", &self), 3, "P12: a sender is not");
    pack_fill(&self, 2, 8);
    is_int(send_pack(w.socket), 2, "P12: nor one of many");
    asocket_join(selector, job);
    ok(w.results[0] == 3 && w.results[1] == 8 && w.results[2] == 8, "P12: the first one receives");
    asocket_close(w.socket);
}

/* --- fairness --------------------------------------------------------------------------------- */

typedef struct flood {
    asocket *socket;
    bool many, stop;
    int rounds;
} flood;

/* Sends to itself and receives that: it never has to wait. */
static void flood_itself(asocket_selector *unused, void *argument)
{
    flood *f = (flood *)argument;
    asocket_address self = address_of(f->socket);
    asocket_datagram datagram;
    char byte = 'x';

    (void)unused;
    memset(&datagram, 0, sizeof datagram);
    datagram.data = &byte;
    while (!f->stop && f->rounds < 100000) {
        datagram.size = datagram.capacity = 1;
        datagram.address = self;
        if (f->many ? asocket_send_many(f->socket, &datagram, 1) < 0 ||
                          asocket_receive_many(f->socket, &datagram, 1) < 0
                    : asocket_send(f->socket, &datagram) < 0 ||
                          asocket_receive(f->socket, &datagram) < 0)
            return;
        f->rounds++;
    }
}

/* Sixty datagrams to itself and back, round after round. */
static void flood_by_batches(asocket_selector *unused, void *argument)
{
    flood *f = (flood *)argument;
    asocket_address self = address_of(f->socket);

    (void)unused;
    pack_fill(&self, 60, 50);
    while (!f->stop && f->rounds < 10000) {
        if (send_pack(f->socket) != 60 || receive_pack(f->socket, 60) != 60)
            return;
        f->rounds++;
    }
}

static void check_fairness_of_batches(void)
{
    flood f = {bound(), true, false, 0};
    asocket_job job = asocket_launch(selector, flood_by_batches, &f);
    int i;

    for (i = 0; i < 10; i++)
        asocket_yield(selector);
    ok(f.rounds > 0 && f.rounds <= 11 * 8,
       "P11: a flood of batches lets others run: %d rounds of 60 in 10 turns", f.rounds);
    f.stop = true;
    asocket_join(selector, job);
    asocket_close(f.socket);
}

static void check_fairness(bool many)
{
    flood f = {bound(), many, false, 0};
    asocket_job job = asocket_launch(selector, flood_itself, &f);
    int i;

    for (i = 0; i < 10; i++)
        asocket_yield(selector);
    ok(f.rounds > 0 && f.rounds <= 11 * 33, "P11: a flood%s lets others run: %d rounds in 10 turns",
       many ? " of many" : "", f.rounds);
    f.stop = true;
    asocket_join(selector, job);
    asocket_close(f.socket);
}

static void test_fairness(void)
{
    check_fairness(false);
    check_fairness(true);
    check_fairness_of_batches();
}

/* --- channels --------------------------------------------------------------------------------- */

static void test_channels(void)
{
    int peer = peer_on(0);
    asocket *socket = connected_to(peer_port(peer)), *unconnected = bound();
    asocket_read_channel *in = asocket_open_read_channel(socket);
    asocket_write_channel *out = asocket_open_write_channel(socket, 0);
    char line[20] = "";

    ok(in && out, "a connected datagram socket opens channels");
    ok(!asocket_open_read_channel(unconnected) && asocket_error(selector) == ASOCKET_EINVAL,
       "one that is not connected does not");
    asocket_write_string(out, "one ");
    asocket_write_string(out, "datagram");
    is_int(asocket_flush(out), ASOCKET_OK, "what is written until the flush");
    ok(peer_gets(peer, "one datagram", 12, port_of(socket)), "is one datagram");
    peer_send(peer, port_of(socket), "two ", 4);
    peer_send(peer, port_of(socket), "", 0);
    peer_send(peer, port_of(socket), "datagrams\nand ", 14);
    peer_send(peer, port_of(socket), "more\n", 5);
    ok(asocket_read_line(in, line, sizeof line) == 13 && !strcmp(line, "two datagrams"),
       "datagrams are read as bytes; an empty one is no end");
    ok(asocket_read_line(in, line, sizeof line) == 8 && !strcmp(line, "and more"),
       "none waits for another one to come");
    asocket_set_timeout(socket, 10);
    is_status(asocket_read_byte(in), ASOCKET_ETIMEDOUT, "P7: reading times out");
    close(peer);
    asocket_close(socket);
    asocket_close(unconnected);
}

typedef struct empties {
    asocket_read_channel *in;
    bool lines;
    ptrdiff_t last;
    int received;
    bool done;
} empties;

static void read_empties(asocket_selector *unused, void *argument)
{
    empties *e = (empties *)argument;
    char line[20];

    (void)unused;
    do
        e->last = e->lines ? asocket_read_line(e->in, line, sizeof line)
                           : asocket_read(e->in, line, sizeof line);
    while (e->last == 0 && ++e->received);
    e->done = true;
}

/* More of them than a stack has room for calls. */
static void test_channels_empty(bool lines)
{
    int peer = peer_on(0), i, turns = 0;
    asocket *socket = connected_to(peer_port(peer));
    empties e = {asocket_open_read_channel(socket), lines, 0, 0, false};

    asocket_launch(selector, read_empties, &e);
    for (i = 0; i < 3000; i++) {
        peer_send(peer, port_of(socket), "", 0);
        if (i % 100 == 0)
            asocket_sleep(selector, 1);
    }
    asocket_sleep(selector, 1);
    for (i = 0; i < 200; i++)
        peer_send(peer, port_of(socket), "", 0);
    peer_send(peer, port_of(socket), "hello\n", 6);
    while (!e.done && turns < 1000 && asocket_poll(selector, 1000) >= 0)
        turns++;
    ok(e.done && e.last == (lines ? 5 : 6), "P10: a flood of empty datagrams is survived, by %s",
       lines ? "lines" : "bytes");
    ok(turns >= 3, "P11: it lets others run: %d turns", turns);
    close(peer);
    asocket_close(socket);
}

static void test_channels_refused(void)
{
    int port = unused_port(), peer;
    asocket *socket = connected_to(port);
    asocket_read_channel *in = asocket_open_read_channel(socket);
    asocket_write_channel *out = asocket_open_write_channel(socket, 0);

    asocket_write_string(out, "lost");
    is_int(asocket_flush(out), ASOCKET_OK, "a channel sends what nobody receives");
    is_status(asocket_read_byte(in), ASOCKET_ECONNREFUSED, "its reader is told");
    asocket_write_string(out, "lost");
    asocket_flush(out);
    asocket_write_string(out, "told");
    is_status(asocket_flush(out), ASOCKET_ECONNREFUSED, "or its writer");
    peer = peer_on(port);
    asocket_write_string(out, "works");
    is_status(asocket_flush(out), ASOCKET_OK, "and only once");
    ok(peer_gets(peer, "works", 5, 0), "P7: writing goes on");
    peer_send(peer, port_of(socket), "x", 1);
    is_status(asocket_read_byte(in), 'x', "P7: and reading");
    close(peer);
    asocket_close(socket);
}

static void test_channels_given_up(void)
{
    int peer = peer_on(0);
    asocket *socket = connected_to(peer_port(peer));
    asocket_read_channel *in = asocket_open_read_channel(socket);
    char byte;

    asocket_cancel_read(in);
    is_status(asocket_receive_from(socket, &byte, 1, NULL), ASOCKET_ECANCELED,
              "who gave up reading receives no datagrams either");
    is_int(send_text(socket, "out", NULL), 3, "but sends");
    ok(peer_gets(peer, "out", 3, 0), "which arrives");
    close(peer);
    asocket_close(socket);
}

/* Two auto-flush channels talk: what is written leaves with the next wait. */
static void test_channels_auto_flush(void)
{
    int peer = peer_on(0);
    asocket *socket = connected_to(peer_port(peer));
    asocket_write_channel *out = asocket_open_write_channel(socket, ASOCKET_AUTO_FLUSH);

    asocket_write_string(out, "at once");
    ok(peer_gets(peer, "at once", 7, 0), "P4: outside of coroutines before the write returns");
    asocket_write_string(out, "last");
    asocket_close(socket);
    ok(peer_gets(peer, "last", 4, 0), "P2: what was written before the close arrives");
    close(peer);
}

/* --- adopting --------------------------------------------------------------------------------- */

static int plain_ipv6(void)
{
    struct sockaddr_in6 at;
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);

    memset(&at, 0, sizeof at);
    at.sin6_family = AF_INET6;
    at.sin6_addr = in6addr_loopback;
    (void)bind(fd, (struct sockaddr *)&at, sizeof at);
    return fd;
}

static void test_adopt(void)
{
    int fd = peer_on(0), peer = peer_on(0), stream = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = test_peer_address("127.0.0.1", peer_port(peer));
    asocket *adopted = asocket_adopt(asocket_udp(selector), fd);
    asocket_address remote;

    ok(adopted != NULL, "a plain socket is adopted: %s", asocket_error_message(selector));
    asocket_set_timeout(adopted, 5000);
    ok(fcntl(fd, F_GETFL) & O_NONBLOCK && fcntl(fd, F_GETFD) & FD_CLOEXEC,
       "P6: it becomes non-blocking and close-on-exec");
    is_status(asocket_remote_address(adopted, &remote), ASOCKET_EINVAL, "it has no peer");
    peer_send(peer, port_of(adopted), "hello", 5);
    ok(hears(adopted, "hello"), "it receives");
    asocket_close(adopted);
    is_int(fcntl(fd, F_GETFD), -1, "and is closed with the socket");

    fd = peer_on(0);
    (void)connect(fd, (struct sockaddr *)&to, sizeof to);
    adopted = asocket_adopt(asocket_udp(selector), fd);
    ok(adopted && asocket_remote_address(adopted, &remote) == ASOCKET_OK &&
           remote.port == peer_port(peer),
       "a connected one brings its peer");
    is_int(send_text(adopted, "there", NULL), 5, "and sends to it");
    ok(peer_gets(peer, "there", 5, 0), "it arrives");
    ok(!asocket_adopt(asocket_udp(selector), stream) && asocket_error(selector) == ASOCKET_EINVAL,
       "a stream is no datagram socket");
    ok(!asocket_adopt(asocket_tcp(selector), peer) && asocket_error(selector) == ASOCKET_EINVAL,
       "nor the other way round");
    ok(!asocket_adopt(asocket_unix_datagram(selector), peer) &&
           asocket_error(selector) == ASOCKET_EINVAL,
       "nor is it a Unix socket");
    ok(fcntl(stream, F_GETFD) >= 0 && fcntl(peer, F_GETFD) >= 0,
       "the caller keeps what was refused");
    asocket_close(adopted);
    close(stream);
    close(peer);
}

static void test_adopt_ipv6(void)
{
    asocket_address self;
    asocket *adopted;
    int fd;

    if (!ipv6_works()) {
        skip(2, "there is no IPv6 here");
        return;
    }
    fd = plain_ipv6();
    adopted = asocket_adopt(asocket_udp(selector), fd);
    if (!ok(adopted != NULL, "a bound IPv6 socket is adopted: %s",
            asocket_error_message(selector))) {
        close(fd);
        skip(1, "it was not adopted");
        return;
    }
    self = address_of(adopted);
    send_text(adopted, "six", &self);
    ok(hears(adopted, "six"), "it receives");
    asocket_close(adopted);
}

/* --- options ---------------------------------------------------------------------------------- */

static void test_options(void)
{
    static const struct {
        asocket_option option;
        int value;
        const char *name;
    } rows[] = {{ASOCKET_OPTION_BROADCAST, 1, "broadcast"},
                {ASOCKET_OPTION_REUSE_ADDRESS, 1, "reuse_address"},
                {ASOCKET_OPTION_REUSE_PORT, 1, "reuse_port"},
                {ASOCKET_OPTION_TYPE_OF_SERVICE, 0x10, "type_of_service"},
                {ASOCKET_OPTION_TTL, 9, "ttl"},
                {ASOCKET_OPTION_MULTICAST_LOOP, 0, "multicast_loop"},
                {ASOCKET_OPTION_MULTICAST_TTL, 4, "multicast_ttl"}};
    asocket *socket = bound();
    size_t i;
    int value;

    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        value = -1;
        if (test_skips(TEST_WINDOWS && rows[i].option == ASOCKET_OPTION_REUSE_PORT, 1,
                       "Windows has no SO_REUSEPORT"))
            continue;
        ok(asocket_set_option(socket, rows[i].option, rows[i].value) == ASOCKET_OK &&
               asocket_get_option(socket, rows[i].option, &value) == ASOCKET_OK &&
               value == rows[i].value,
           "%s is set and asked", rows[i].name);
    }
    value = (int)if_nametoindex("lo");
    if (test_emulated())
        skip(1, emulated);
    else
        is_int(asocket_set_option(socket, ASOCKET_OPTION_MULTICAST_INTERFACE, value), 0,
               "multicast_interface is set");
    ok(asocket_set_option(socket, ASOCKET_OPTION_RECEIVE_BUFFER, 30000) == ASOCKET_OK &&
           asocket_get_option(socket, ASOCKET_OPTION_RECEIVE_BUFFER, &value) == ASOCKET_OK &&
           value >= 30000,
       "receive_buffer is set and asked");
    is_status(asocket_set_option(socket, ASOCKET_OPTION_NO_DELAY, 1), ASOCKET_EINVAL,
              "an option of streams is none of datagrams");
    is_status(asocket_get_option(socket, ASOCKET_OPTION_KEEP_ALIVE, &value), ASOCKET_EINVAL,
              "nor can it be asked");
    is_status(asocket_set_option(socket, ASOCKET_OPTION_TTL, 256), ASOCKET_EINVAL,
              "a value out of range");
    asocket_close(socket);
}

static void test_builder(void)
{
    asocket_builder udp = asocket_udp(selector), tcp = asocket_tcp(selector);
    asocket *socket;
    int value = 0;

    udp.ttl = 7;
    udp.type_of_service = 0x20;
    udp.multicast_loop = -1;
    udp.send_buffer = 20000;
    socket = bound_with(udp, "127.0.0.1");
    ok(asocket_get_option(socket, ASOCKET_OPTION_TTL, &value) == 0 && value == 7, "builder: ttl");
    ok(asocket_get_option(socket, ASOCKET_OPTION_TYPE_OF_SERVICE, &value) == 0 && value == 0x20,
       "builder: type_of_service");
    ok(asocket_get_option(socket, ASOCKET_OPTION_MULTICAST_LOOP, &value) == 0 && value == 0,
       "builder: multicast_loop off");
    ok(asocket_get_option(socket, ASOCKET_OPTION_SEND_BUFFER, &value) == 0 && value < 100000,
       "builder: send_buffer");
    asocket_close(socket);
    udp.no_delay = 1;
    ok(!asocket_bind(udp, "127.0.0.1", 0) && asocket_error(selector) == ASOCKET_EINVAL,
       "builder: an option of streams is refused");
    tcp.broadcast = 1;
    ok(!asocket_bind(tcp, "127.0.0.1", 0) && asocket_error(selector) == ASOCKET_EINVAL,
       "builder: an option of datagrams is refused for a stream");
    udp = asocket_udp(selector);
    udp.unlink = 1;
    ok(!asocket_bind(udp, "127.0.0.1", 0) && asocket_error(selector) == ASOCKET_EINVAL,
       "builder: a port has no file");
}

/* Two sockets on one port would take each other's datagrams. */
static void test_port_in_use(void)
{
    asocket_builder udp = asocket_udp(selector);
    asocket *first = bound(), *second = asocket_bind(udp, "127.0.0.1", port_of(first));

    ok(!second && asocket_error(selector) == ASOCKET_EADDRINUSE, "a port is one socket's");
    asocket_close(second);
    asocket_close(first);
    if (test_skips(TEST_WINDOWS, 1, "Windows has no SO_REUSEPORT"))
        return;
    udp.reuse_port = true;
    first = bound_with(udp, "127.0.0.1");
    second = asocket_bind(udp, "127.0.0.1", port_of(first));
    ok(second != NULL, "unless both share it: %s", second ? "" : asocket_error_message(selector));
    asocket_close(first);
    asocket_close(second);
}

static void test_connect_from(void)
{
    asocket_builder udp = asocket_udp(selector);
    int peer = peer_on(0);
    asocket *socket;

    udp.local = asocket_address_of(asocket_ipv4(127, 0, 0, 2), 0);
    socket = asocket_connect(udp, "127.0.0.1", peer_port(peer));
    if (!test_skips(TEST_WINDOWS, 1, "Wine tells of 127.0.0.1 only"))
        ok(socket && address_of(socket).ip.bytes[3] == 2, "builder: local is where it sends from");
    asocket_close(socket);
    udp.local = asocket_address_of(asocket_ipv4(0, 0, 0, 0), 0);
    socket = asocket_connect(udp, "127.0.0.1", peer_port(peer));
    ok(socket && address_of(socket).ip.bytes[0] == 127 && address_of(socket).port,
       "builder: of any local address the system takes one, and that is told");
    asocket_close(socket);
    socket = asocket_connect(asocket_udp(selector), "localhost", peer_port(peer));
    send_text(socket, "name", NULL);
    ok(peer_gets(peer, "name", 4, 0), "localhost is a peer, too");
    asocket_close(socket);
    close(peer);
}

/* --- wrong arguments -------------------------------------------------------------------------- */

/* All calls on a socket that answers them alike. */
static void check_all_calls(asocket *socket, int status, const char *which)
{
    asocket_address to = asocket_address_of(asocket_ipv4(127, 0, 0, 1), 9);
    asocket_ip group = asocket_ipv4(239, 255, 77, 3);
    asocket_datagram datagram;
    char byte = 0;

    memset(&datagram, 0, sizeof datagram);
    is_status(asocket_send_to(socket, &byte, 1, &to), status, "send_to: %s", which);
    is_status(asocket_send(socket, &datagram), status, "send: %s", which);
    is_status(asocket_send_many(socket, &datagram, 1), status, "send_many: %s", which);
    is_status(asocket_receive_from(socket, &byte, 1, &to), status, "receive_from: %s", which);
    is_status(asocket_receive(socket, &datagram), status, "receive: %s", which);
    is_status(asocket_receive_many(socket, &datagram, 1), status, "receive_many: %s", which);
    is_status(asocket_join_group(socket, &group, 0), status, "join_group: %s", which);
    is_status(asocket_leave_group(socket, &group, 0), status, "leave_group: %s", which);
}

static void test_wrong_sockets(void)
{
    asocket *listener = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0), *closed = bound();

    check_all_calls(NULL, ASOCKET_EINVAL, "no socket");
    check_all_calls(listener, ASOCKET_EINVAL, "a listener");
    ok(strstr(asocket_error_message(selector), "listener") != NULL, "the message names its kind");
    asocket_close(listener);
    asocket_close(closed);
    check_all_calls(closed, ASOCKET_ECLOSED, "P8: a closed socket");
}

static void test_wrong_data(void)
{
    asocket *socket = bound();
    asocket_address to = address_of(socket);
    asocket_datagram datagram;
    char byte = 0;

    memset(&datagram, 0, sizeof datagram);
    is_status(asocket_send_to(socket, NULL, 1, &to), ASOCKET_EINVAL, "send_to: no data");
    is_status(asocket_send_to(socket, &byte, SIZE_MAX, &to), ASOCKET_EINVAL,
              "send_to: far too much");
    is_status(asocket_send(socket, NULL), ASOCKET_EINVAL, "send: no datagram");
    datagram.size = 1;
    datagram.address = to;
    is_status(asocket_send(socket, &datagram), ASOCKET_EINVAL, "send: no data");
    is_status(asocket_send_many(socket, &datagram, 1), ASOCKET_EINVAL, "send_many: no data");
    is_status(asocket_send_many(socket, NULL, 1), ASOCKET_EINVAL, "send_many: no datagrams");
    is_int(asocket_send_many(socket, &datagram, 0), 0, "send_many: none of them");
    send_text(socket, "kept", &to);
    datagram.capacity = 1;
    is_status(asocket_receive_from(socket, NULL, 1, NULL), ASOCKET_EINVAL,
              "receive_from: no buffer");
    is_status(asocket_receive(socket, NULL), ASOCKET_EINVAL, "receive: no datagram");
    is_status(asocket_receive(socket, &datagram), ASOCKET_EINVAL, "receive: no buffer");
    is_status(asocket_receive_many(socket, NULL, 1), ASOCKET_EINVAL, "receive_many: no datagrams");
    is_status(asocket_receive_many(socket, &datagram, 1), ASOCKET_EINVAL,
              "receive_many: no buffer");
    is_int(asocket_receive_many(socket, &datagram, 0), 0, "receive_many: none of them");
    ok(hears(socket, "kept"), "none of that cost a datagram");
    asocket_close(socket);
}

static void test_wrong_targets(void)
{
    asocket *socket = bound();
    asocket_address to = asocket_address_of(asocket_ipv6(0, 0, 0, 0, 0, 0, 0, 1), 9);
    asocket_ip group = asocket_ipv4(127, 0, 0, 1);
    asocket_datagram datagram;

    memset(&datagram, 0, sizeof datagram);
    is_status(send_text(socket, "x", NULL), ASOCKET_EINVAL, "nobody to send to");
    is_status(asocket_send_many(socket, &datagram, 1), ASOCKET_EINVAL, "nor many");
    is_status(send_text(socket, "x", &to), ASOCKET_EINVAL, "an IPv6 target of an IPv4 socket");
    asocket_address_parse(&to, "unix:/tmp/name");
    is_status(send_text(socket, "x", &to), ASOCKET_EINVAL, "a path");
    memset(&to, 0, sizeof to);
    to.ip.family = 5;
    is_status(send_text(socket, "x", &to), ASOCKET_EINVAL, "a family that is none");
    is_status(asocket_join_group(socket, &group, 0), ASOCKET_EINVAL, "what is no group");
    is_status(asocket_join_group(socket, NULL, 0), ASOCKET_EINVAL, "no group at all");
    group = asocket_ipv6(0xff02, 0, 0, 0, 0, 0, 0, 0x77);
    is_status(asocket_join_group(socket, &group, 1), ASOCKET_EINVAL,
              "an IPv6 group of an IPv4 socket");
    group = asocket_ipv4(239, 255, 77, 4);
    if (test_emulated() || TEST_WINDOWS)
        skip(1, TEST_WINDOWS ? "Wine has no MCAST_JOIN_GROUP" : emulated);
    else
        is_status(asocket_join_group(socket, &group, 99999), ASOCKET_EADDRNOTAVAIL,
                  "an interface that is none");
    asocket_close(socket);
}

static void test_wrong_calls(void)
{
    asocket *socket = bound();
    asocket_address address;

    ok(!asocket_accept(socket) && asocket_error(selector) == ASOCKET_EINVAL,
       "a datagram socket accepts nobody");
    ok(strstr(asocket_error_message(selector), "datagram") != NULL, "the message names its kind");
    is_status(asocket_remote_address(socket, &address), ASOCKET_EINVAL, "it has no peer");
    is_status(asocket_shutdown(socket, ASOCKET_WRITE), ASOCKET_EINVAL, "nor an end");
    ok(!asocket_bind(asocket_udp(selector), "127.0.0.1", 65536) &&
           asocket_error(selector) == ASOCKET_EINVAL,
       "bind: a port that is none");
    ok(!asocket_connect(asocket_udp(selector), NULL, 1) &&
           asocket_error(selector) == ASOCKET_EINVAL,
       "connect: no host");
    is_int(asocket_abort(socket), ASOCKET_OK, "it can be aborted");
    is_status(asocket_abort(socket), ASOCKET_ECLOSED, "once");
}

/* Left open: the selector's business. */
static void test_left_open(void)
{
    ok(bound() && connected_to(9), "sockets that nobody closes");
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    test_there_and_back();
    test_order();
    test_connected();
    test_by_structure();
    test_empty();
    test_cut();
    test_largest();
    test_broadcast();
    test_groups();
    test_zones();
    test_dual_stack();
    test_mapped_targets();
    test_many();
    if (!test_skips(TEST_WINDOWS, 2, "many go one by one there"))
        test_system_calls();
    test_segments();
    test_mixed();
    test_many_connected();
    test_many_cut();
    test_many_partly();
    test_fallback(test_backend(argc, argv));
    if (!test_skips(TEST_WINDOWS, 14, "it reports refusals to the wrong call: switched off")) {
        test_refused_sender();
        test_refused_receiver();
        test_refused_many();
        test_refused_many_receiver();
        test_refused_unconnected();
        test_refused_while_waiting();
    }
    test_timeout();
    test_no_wait();
    test_cancel();
    test_close_by_another();
    test_two_coroutines();
    test_fairness();
    test_channels();
    test_channels_empty(false);
    test_channels_empty(true);
    if (!test_skips(TEST_WINDOWS, 3, "it reports refusals to the wrong call: switched off"))
        test_channels_refused();
    test_channels_given_up();
    test_channels_auto_flush();
    test_adopt();
    test_adopt_ipv6();
    test_options();
    test_builder();
    test_port_in_use();
    test_connect_from();
    test_wrong_sockets();
    test_wrong_data();
    test_wrong_targets();
    test_wrong_calls();
    test_left_open();
    return test_end(selector);
}
