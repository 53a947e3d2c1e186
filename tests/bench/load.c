/* load.c - the load. Opens the same connections to each server under test and gives each a short
   slice in turn, many times over, so that whatever else the machine does hits all of them alike.

   Every connection carries an endless stream of numbered messages and every byte that comes back is
   compared with what went out. A slice lets the server warm up, notes its CPU time (the kernel's
   figure for that process, user and system), runs, notes it again, and then stops asking and waits
   for the answers still owed, so that the server is idle while the others have their turn.

   usage: load [options] PORT:PID...
     -w WORK   echo; sink (one way); storm (connect, one request, its answer, close);
               fin (storm, but the client half-closes right after its request)
     -l        messages are lines        -c N   connections          -m N   bytes per message
     -d N      messages in flight        -t N   ms per slice         -r N   slices per server
     -k N      further slices per server in which system calls are counted, not time
     -b        storms come in bursts: the server is stopped (SIGSTOP) while all N connect

   One output line per slice. calls=-1: not counted, in this kind of slice or on this machine. */
#include "meter.h"

#include <signal.h>
#include <sys/epoll.h>

enum {
    BATCH = 512,
    KINDS = 61, /* messages before the stream repeats: prime, so a shift shows */
    WARM_UP_MS = 10,
    PATIENCE_MS = 5000, /* a server that says nothing for so long is broken */
    MAX_SERVERS = 8
};

enum work { WORK_ECHO, WORK_SINK, WORK_STORM, WORK_FIN };

struct options {
    enum work work;
    bool lines, burst, reopen;
    int buffers; /* of the client's sockets; 0: the system's choice */
    size_t connections, size, depth;
    unsigned slice_ms, slices, counted;
};

struct link {
    int descriptor;
    uint64_t sent, received, allowed; /* bytes of the stream; sent <= allowed */
    uint64_t phase;                   /* where in the pattern this link's stream begins */
    uint64_t *stamps;                 /* when each message in flight was sent */
};

struct server {
    int port, queue;
    pid_t pid;
    clockid_t clock;
    struct link *links;
    uint64_t owed;     /* bytes asked for and not yet answered */
    uint64_t requests; /* answered, or taken where there is no answer */
    unsigned opened;   /* connections so far: chooses the source address */
    unsigned active;   /* storm: connections now open */
};

static struct options options = {WORK_ECHO, false, false, false, 0, 1, 64, 1, 100, 1, 0};
static char *pattern, *inbox;
static uint64_t period, deadline;
static bool stopping; /* no new requests: the slice is over */
static struct histogram latencies;

static void give_up(const char *why)
{
    fprintf(stderr, "load: %s\n", why);
    exit(1);
}

/* The pattern is as much longer than its period as a call may move, so that every piece of the
   stream lies in one piece. */
static void make_pattern(void)
{
    size_t i, length;
    uint32_t random = 12345;

    period = KINDS * options.size;
    length = (size_t)period + BUFFER_SIZE;
    pattern = allocate(length);
    inbox = allocate(BUFFER_SIZE);
    for (i = 0; i < period; i++) {
        random = random * 1103515245u + 12345u;
        pattern[i] = (char)('0' + (random >> 16) % 64);
        if (options.lines && i % options.size == options.size - 1)
            pattern[i] = '\n';
    }
    for (i = (size_t)period; i < length; i++)
        pattern[i] = pattern[i - period];
}

static const char *expected(const struct link *link, uint64_t position)
{
    return pattern + (link->phase + position) % period;
}

static void watch(struct server *server, struct link *link)
{
    struct epoll_event event;

    memset(&event, 0, sizeof event);
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    event.data.ptr = link;
    if (epoll_ctl(server->queue, EPOLL_CTL_ADD, link->descriptor, &event) < 0)
        fail("epoll_ctl");
}

static void limit_buffers(int descriptor)
{
    int size = options.buffers;

    if (size == 0)
        return;
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

/* Connects waiting: on this machine's loopback the handshake is over before connect returns. */
static void open_link(struct server *server, struct link *link)
{
    struct sockaddr_in address = loopback(server->port);
    int one = 1;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (descriptor < 0)
        fail("socket");
    if (options.work >= WORK_STORM)
        bind_source(descriptor, server->opened);
    limit_buffers(descriptor);
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect");
    if (options.work < WORK_STORM)
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    link->descriptor = descriptor;
    link->phase = server->opened++ % KINDS * options.size;
    link->sent = link->received = link->allowed = 0;
}

static void stamp_messages(struct link *link, uint64_t from, uint64_t to)
{
    uint64_t message, first = (from + options.size - 1) / options.size, time;

    if (first * options.size >= to)
        return;
    time = now();
    for (message = first; message * options.size < to; message++)
        link->stamps[message % options.depth] = time;
}

static void send_allowed(struct link *link)
{
    while (link->sent < link->allowed) {
        uint64_t size = link->allowed - link->sent;
        ssize_t sent;

        if (size > BUFFER_SIZE)
            size = BUFFER_SIZE;
        stamp_messages(link, link->sent, link->sent + size);
        sent = send(link->descriptor, expected(link, link->sent), (size_t)size,
                    MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN)
            return;
        if (sent < 0)
            fail("send");
        link->sent += (uint64_t)sent;
    }
}

/* Keeps as many messages in flight as the options say, unless the slice is over. */
static void ask(struct server *server, struct link *link)
{
    uint64_t allowed = (link->received / options.size + options.depth) * options.size;

    if (!stopping && allowed > link->allowed) {
        server->owed += allowed - link->allowed;
        link->allowed = allowed;
    }
    send_allowed(link);
}

static void count_answers(struct server *server, const struct link *link, size_t received)
{
    uint64_t message = link->received / options.size;
    uint64_t end = (link->received + received) / options.size;
    uint64_t time = message < end ? now() : 0;

    server->requests += end - message;
    for (; message < end; message++)
        histogram_add(&latencies, time - link->stamps[message % options.depth]);
}

/* Takes what has come; answers the bytes, 0 at EOF, -1 when there is nothing. */
static ssize_t receive(struct server *server, struct link *link)
{
    ssize_t received = recv(link->descriptor, inbox, BUFFER_SIZE, MSG_DONTWAIT);

    if (received < 0 && errno != EAGAIN)
        fail("recv");
    if (received <= 0)
        return received;
    if (link->received + (uint64_t)received > link->sent)
        give_up("more came back than was sent");
    if (memcmp(inbox, expected(link, link->received), (size_t)received) != 0)
        give_up("what came back is not what was sent");
    count_answers(server, link, (size_t)received);
    link->received += (uint64_t)received;
    server->owed -= (uint64_t)received;
    return received;
}

static void exchange(struct server *server, struct link *link)
{
    ssize_t received;

    do {
        received = receive(server, link);
        if (received == 0)
            give_up("the server closed a connection");
    } while (received == BUFFER_SIZE);
    ask(server, link);
}

/* One way: sends until the socket is full or the slice is over. */
static void pour(struct server *server, struct link *link)
{
    while (!stopping && now() < deadline) {
        uint64_t before = link->sent / options.size;

        link->allowed = link->sent + BUFFER_SIZE;
        send_allowed(link);
        server->requests += link->sent / options.size - before;
        if (link->sent < link->allowed)
            return;
    }
}

static void open_storm(struct server *server, struct link *link)
{
    server->active++;
    open_link(server, link);
    server->owed += options.size;
    link->allowed = options.size;
    send_allowed(link);
    if (options.work == WORK_FIN && shutdown(link->descriptor, SHUT_WR) < 0)
        fail("shutdown");
    watch(server, link);
}

/* Burst: the server is held while all connect, so that it meets them all with their requests. How
   many it would meet otherwise is up to the scheduler, and so is the number of its waits. */
static void open_burst(struct server *server)
{
    size_t i;

    if (options.burst && kill(server->pid, SIGSTOP) < 0)
        fail("kill");
    for (i = 0; i < options.connections; i++)
        open_storm(server, &server->links[i]);
    if (options.burst && kill(server->pid, SIGCONT) < 0)
        fail("kill");
}

static void close_storm(struct server *server, struct link *link)
{
    close(link->descriptor);
    server->active--;
    if (stopping)
        return;
    if (!options.burst)
        open_storm(server, link);
    else if (server->active == 0)
        open_burst(server);
}

/* The client closes when it has its answer; after a half-close it waits for the server's EOF. */
static void weather(struct server *server, struct link *link)
{
    ssize_t received;
    bool over;

    do
        received = receive(server, link);
    while (received > 0 && options.work == WORK_FIN);
    over = options.work == WORK_FIN ? received == 0 : link->received == options.size;
    if (received == 0 && link->received < options.size)
        give_up("the server closed before its answer was complete");
    if (!over)
        return;
    close_storm(server, link);
}

static void handle(struct server *server, struct link *link)
{
    if (options.work == WORK_ECHO)
        exchange(server, link);
    else if (options.work == WORK_SINK)
        pour(server, link);
    else
        weather(server, link);
}

/* One wait and what it brings. Dies when the server keeps silent. */
static void turn(struct server *server)
{
    static struct epoll_event events[BATCH];
    int i, count = epoll_wait(server->queue, events, BATCH, PATIENCE_MS);

    if (count == 0)
        give_up("no answer for 5 seconds");
    if (count < 0 && errno != EINTR)
        fail("epoll_wait");
    for (i = 0; i < count; i++)
        handle(server, events[i].data.ptr);
}

static void run_for(struct server *server, unsigned ms)
{
    size_t i;

    deadline = now() + ms * 1000000ull;
    for (i = 0; i < options.connections && options.work == WORK_SINK; i++)
        pour(server, &server->links[i]); /* the last deadline ended it before the socket was full */
    while (now() < deadline)
        turn(server);
}

static void reopen_links(struct server *server)
{
    size_t i;

    for (i = 0; i < options.connections; i++) {
        close(server->links[i].descriptor);
        open_link(server, &server->links[i]);
        watch(server, &server->links[i]);
    }
}

static void begin(struct server *server)
{
    size_t i;

    stopping = false;
    if (options.reopen && options.work < WORK_STORM)
        reopen_links(server);
    for (i = 0; i < options.connections && options.work == WORK_ECHO; i++)
        ask(server, &server->links[i]);
    if (options.work >= WORK_STORM)
        open_burst(server);
}

static void drain(struct server *server)
{
    stopping = true;
    while (server->owed > 0 || server->active > 0)
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

/* System calls are counted from silence to silence, so that each belongs to a request counted here:
   with a thousand connections the requests half done at an edge would be many. */
static void count_slice(struct server *server, long number, unsigned round)
{
    int calls = count_calls(server->pid), sends = count_sends(server->pid);
    struct snapshot a, b;

    if (calls < 0 || sends < 0)
        fprintf(stderr, "load: system calls not counted: %s\n", strerror(errno));
    a = snapshot_of(server, calls, sends);
    begin(server);
    run_for(server, options.slice_ms);
    drain(server);
    pause_ms(2); /* the last closes, to which the server answers nothing */
    b = snapshot_of(server, calls, sends);
    print_slice(number, round, server->pid, &latencies, &a, &b, calls >= 0 && sends >= 0);
    if (calls >= 0)
        close(calls);
    if (sends >= 0)
        close(sends);
}

static void prepare(struct server *server, const char *address)
{
    char *colon;
    size_t i;

    memset(server, 0, sizeof *server);
    server->port = (int)strtol(address, &colon, 10);
    if (*colon != ':')
        give_up("an address is PORT:PID");
    server->pid = (pid_t)strtol(colon + 1, NULL, 10);
    server->clock = cpu_clock_of(server->pid);
    server->queue = epoll_create1(EPOLL_CLOEXEC);
    if (server->queue < 0)
        fail("epoll_create1");
    server->links = allocate(options.connections * sizeof *server->links);
    for (i = 0; i < options.connections; i++) {
        server->links[i].stamps = allocate(options.depth * sizeof(uint64_t));
        if (options.work >= WORK_STORM)
            continue;
        open_link(server, &server->links[i]);
        watch(server, &server->links[i]);
    }
}

static size_t number_option(void)
{
    long number = strtol(optarg, NULL, 10);

    if (number < 0)
        give_up("a number is negative");
    return (size_t)number;
}

static enum work work_option(void)
{
    const char *const names[] = {"echo", "sink", "storm", "fin"};
    int i;

    for (i = WORK_ECHO; i <= WORK_FIN; i++) {
        if (strcmp(optarg, names[i]) == 0)
            return (enum work)i;
    }
    give_up("unknown work");
    return WORK_ECHO;
}

static void take_option(int letter)
{
    switch (letter) {
    case 'w': options.work = work_option(); break;
    case 'l': options.lines = true; break;
    case 'b': options.burst = true; break;
    case 'o': options.reopen = true; break;
    case 's': options.buffers = (int)number_option(); break;
    case 'c': options.connections = number_option(); break;
    case 'm': options.size = number_option(); break;
    case 'd': options.depth = number_option(); break;
    case 't': options.slice_ms = (unsigned)number_option(); break;
    case 'r': options.slices = (unsigned)number_option(); break;
    case 'k': options.counted = (unsigned)number_option(); break;
    default: exit(2);
    }
}

int main(int argc, char **argv)
{
    static struct server servers[MAX_SERVERS];
    long i, count;
    unsigned round;
    int letter;

    while ((letter = getopt(argc, argv, "w:lbos:c:m:d:t:r:k:")) != -1)
        take_option(letter);
    count = argc - optind;
    if (count < 1 || count > MAX_SERVERS || !options.connections || !options.size || !options.depth)
        give_up("usage: load [options] PORT:PID...");
    raise_descriptor_limit();
    make_pattern();
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
    return 0;
}
