/* udp_load.c - the load of the datagram servers. Gives each server a short slice in turn, as load.c
   does, and prints the same lines.

   Nothing is sent that has no room: a window of datagrams is in flight, what comes back makes room
   for more. Datagrams may be lost all the same; when nothing comes for a while, what is missing is
   given up and its number goes to standard error. What counts is what arrived, at the receiver.

   usage: udp_load [options] PORT:PID...
     -w WORK   echo; in: a flow to the server, which answers every 64th datagram with its count;
               out: a flow from the server, asked for by 64 datagrams at a time
     -c N      sockets, echo only     -m N   bytes per datagram    -d N   in flight per socket
     -t N      ms per slice           -r N   slices per server
     -k N      further slices per server in which system calls are counted, not time

   The flows are cut into datagrams, and put together again, by the kernel at this end, as a network
   card would do it: so the load is fast, and the server does not pay for this end's work. */
#include "meter.h"
#include "udp.h"

#include <poll.h>

enum {
    WARM_UP_MS = 10,
    LOST_MS = 50,    /* what has not come by then will not */
    DEAD_TURNS = 40, /* a server that says nothing for so often that long is broken */
    MAX_SERVERS = 8,
    MAX_SOCKETS = 64,
    ONCE = 32,       /* datagrams in one send: 32 of the longest are less than 65,000 bytes */
    FLOW = 2 * BATCH /* datagrams of a flow in flight */
};

struct options {
    enum work work;
    size_t sockets, size, depth;
    unsigned slice_ms, slices, counted;
};

struct server {
    int port;
    pid_t pid;
    clockid_t clock;
    struct pollfd sockets[MAX_SOCKETS];
    uint64_t sent[MAX_SOCKETS], received[MAX_SOCKETS]; /* given up: received */
    uint64_t requests, count; /* count: the server's own, of a flow to it */
};

static struct options options = {WORK_ECHO, 16, 64, 1, 100, 1, 0};
static char inbox[65536], outbox[65536];
static uint64_t stamps[MAX_SOCKETS][FLOW], lost;
static bool stopping;
static struct histogram latencies;

static void give_up(const char *why)
{
    fprintf(stderr, "udp_load: %s\n", why);
    exit(1);
}

static size_t window(void)
{
    return options.work == WORK_ECHO ? options.depth : FLOW;
}

/* --- echo: each datagram begins with its number --- */

static void send_numbered(struct server *server, size_t i)
{
    uint64_t number = server->sent[i]++;

    memcpy(outbox, &number, sizeof number);
    stamps[i][number % options.depth] = now();
    if (send(server->sockets[i].fd, outbox, options.size, 0) != (ssize_t)options.size)
        fail("send");
}

static void take_echo(struct server *server, size_t i, size_t size)
{
    uint64_t number;

    memcpy(&number, inbox, sizeof number);
    if (size != options.size || number >= server->sent[i] ||
        memcmp(inbox + sizeof number, outbox + sizeof number, size - sizeof number) != 0)
        give_up("what came back is not what was sent");
    if (number < server->received[i])
        return; /* late: given up already */
    lost += number - server->received[i];
    server->received[i] = number + 1;
    server->requests++;
    histogram_add(&latencies, now() - stamps[i][number % options.depth]);
}

/* --- flows --- */

static void send_segments(int descriptor, size_t count)
{
    struct segmentation segmentation;
    struct iovec piece;
    struct msghdr message;

    piece.iov_base = outbox;
    piece.iov_len = options.size * count;
    memset(&message, 0, sizeof message);
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    segment(&message, &segmentation, (uint16_t)options.size);
    if (sendmsg(descriptor, &message, MSG_NOSIGNAL) < 0)
        fail("sendmsg with UDP_SEGMENT");
}

/* The last of 64 asks for the count. */
static void send_burst(struct server *server)
{
    size_t last = (ONCE - 1) * options.size;

    send_segments(server->sockets[0].fd, ONCE);
    outbox[last] = '?';
    send_segments(server->sockets[0].fd, ONCE);
    outbox[last] = '.';
    server->sent[0] += BATCH;
}

static void take_count(struct server *server, size_t size)
{
    uint64_t count;

    if (size != sizeof count)
        give_up("the count is no number");
    memcpy(&count, inbox, sizeof count);
    server->requests += count - server->count;
    server->count = count;
    server->received[0] += server->sent[0] - server->received[0] < BATCH ? 0 : BATCH;
}

static void send_request(struct server *server)
{
    struct request request;

    request.count = BATCH;
    request.size = (uint32_t)options.size;
    if (send(server->sockets[0].fd, &request, sizeof request, MSG_NOSIGNAL) < 0)
        fail("send");
    server->sent[0] += BATCH;
}

static void take_flow(struct server *server, size_t size)
{
    uint64_t count = size / options.size, owed = server->sent[0] - server->received[0];

    if (size % options.size != 0)
        give_up("what came is not what was asked for");
    server->requests += count;
    server->received[0] += count < owed ? count : owed;
}

/* --- all of them --- */

static void ask(struct server *server, size_t i)
{
    size_t step = options.work == WORK_ECHO ? 1 : BATCH;

    while (!stopping && server->sent[i] - server->received[i] + step <= window()) {
        if (options.work == WORK_ECHO)
            send_numbered(server, i);
        else if (options.work == WORK_IN)
            send_burst(server);
        else
            send_request(server);
    }
}

static void take(struct server *server, size_t i, size_t size)
{
    if (options.work == WORK_ECHO)
        take_echo(server, i, size);
    else if (options.work == WORK_IN)
        take_count(server, size);
    else
        take_flow(server, size);
}

static void exchange(struct server *server, size_t i)
{
    ssize_t size;

    while ((size = recv(server->sockets[i].fd, inbox, sizeof inbox, MSG_DONTWAIT)) >= 0)
        take(server, i, (size_t)size);
    if (errno != EAGAIN)
        fail("recv");
    ask(server, i);
}

static bool is_owed(const struct server *server)
{
    size_t i;

    for (i = 0; i < options.sockets; i++) {
        if (server->received[i] < server->sent[i])
            return true;
    }
    return false;
}

static void forgo(struct server *server)
{
    size_t i;

    for (i = 0; i < options.sockets; i++) {
        lost += server->sent[i] - server->received[i];
        server->received[i] = server->sent[i];
        ask(server, i);
    }
}

static void turn(struct server *server)
{
    static unsigned silent;
    int count = poll(server->sockets, (nfds_t)options.sockets, LOST_MS);
    size_t i;

    if (count < 0 && errno != EINTR)
        fail("poll");
    silent = count > 0 ? 0 : silent + 1;
    if (silent == DEAD_TURNS)
        give_up("no answer for 2 seconds");
    if (count == 0)
        forgo(server);
    for (i = 0; i < options.sockets && count > 0; i++) {
        if (server->sockets[i].revents)
            exchange(server, i);
    }
}

static void begin(struct server *server)
{
    size_t i;

    stopping = false;
    for (i = 0; i < options.sockets; i++)
        ask(server, i);
}

static void run_for(struct server *server, unsigned ms)
{
    uint64_t deadline = now() + ms * 1000000ull;

    while (now() < deadline)
        turn(server);
}

static void drain(struct server *server)
{
    stopping = true;
    while (is_owed(server))
        turn(server);
}

static struct snapshot snapshot_of(const struct server *server, int calls, int sends)
{
    return take_snapshot(server->clock, server->requests, calls, sends);
}

static void time_slice(struct server *server, long number, unsigned round)
{
    struct snapshot a, b;

    begin(server);
    run_for(server, WARM_UP_MS);
    memset(&latencies, 0, sizeof latencies);
    a = snapshot_of(server, -1, -1);
    run_for(server, options.slice_ms);
    b = snapshot_of(server, -1, -1);
    print_slice(number, round, server->pid, &latencies, &a, &b, false);
    drain(server);
}

static void count_slice(struct server *server, long number, unsigned round)
{
    int calls = count_calls(server->pid), sends = count_sends(server->pid);
    struct snapshot a, b;

    a = snapshot_of(server, calls, sends);
    begin(server);
    run_for(server, options.slice_ms);
    drain(server);
    pause_ms(2); /* until it waits again */
    b = snapshot_of(server, calls, sends);
    print_slice(number, round, server->pid, &latencies, &a, &b, calls >= 0 && sends >= 0);
    if (calls >= 0)
        close(calls);
    if (sends >= 0)
        close(sends);
}

static int open_socket(int port)
{
    struct sockaddr_in address = loopback(port);
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int size = RECEIVE_BUFFER, one = 1;

    if (descriptor < 0 || connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect");
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (options.work == WORK_OUT && setsockopt(descriptor, IPPROTO_UDP, UDP_GRO, &one, sizeof one))
        fail("UDP_GRO");
    return descriptor;
}

static void prepare(struct server *server, const char *address)
{
    char *colon;
    size_t i;

    server->port = (int)strtol(address, &colon, 10);
    if (*colon != ':')
        give_up("an address is PORT:PID");
    server->pid = (pid_t)strtol(colon + 1, NULL, 10);
    server->clock = cpu_clock_of(server->pid);
    for (i = 0; i < options.sockets; i++) {
        server->sockets[i].fd = open_socket(server->port);
        server->sockets[i].events = POLLIN;
    }
}

static size_t number_option(void)
{
    long number = strtol(optarg, NULL, 10);

    if (number < 0)
        give_up("a number is negative");
    return (size_t)number;
}

static void take_option(int letter)
{
    switch (letter) {
    case 'w': options.work = parse_work(optarg); break;
    case 'c': options.sockets = number_option(); break;
    case 'm': options.size = number_option(); break;
    case 'd': options.depth = number_option(); break;
    case 't': options.slice_ms = (unsigned)number_option(); break;
    case 'r': options.slices = (unsigned)number_option(); break;
    case 'k': options.counted = (unsigned)number_option(); break;
    default: exit(2);
    }
}

static void check_options(void)
{
    if (options.work != WORK_ECHO)
        options.sockets = 1;
    if (options.sockets < 1 || options.sockets > MAX_SOCKETS || options.depth < 1 ||
        options.depth > FLOW || options.size <= sizeof(struct request) || options.size > SLOT)
        give_up("a number is too small or too large");
}

int main(int argc, char **argv)
{
    static struct server servers[MAX_SERVERS];
    long i, count;
    unsigned round;
    int letter;

    while ((letter = getopt(argc, argv, "w:c:m:d:t:r:k:")) != -1)
        take_option(letter);
    count = argc - optind;
    if (count < 1 || count > MAX_SERVERS)
        give_up("usage: udp_load [options] PORT:PID...");
    check_options();
    memset(outbox, '.', sizeof outbox);
    for (i = 0; i < count; i++)
        prepare(&servers[i], argv[optind + i]);
    for (round = 0; round < options.slices + options.counted; round++) {
        for (i = 0; i < count; i++) {
            long number = (i + (long)round) % count; /* a different one first each time */

            if (round < options.slices)
                time_slice(&servers[number], number, round);
            else
                count_slice(&servers[number], number, round);
        }
    }
    if (lost > 0)
        fprintf(stderr, "%llu datagrams were lost\n", (unsigned long long)lost);
    return 0;
}
