/* fdlimit.c - a server at its descriptor limit. Some clients are inside and keep asking; many more
   connect than the server may accept, and wait. Measured: how often accept fails meanwhile, what
   the server burns, and how the clients inside fare. Then clients that were answered leave, a few
   at a time, until everybody has been answered.

   usage: fdlimit PORT:PID      (the server started under "ulimit -n 64")
   Prints one line. failed_accepts=-1: not counted on this machine. */
#include "meter.h"

#include <poll.h>

enum {
    INSIDE = 20,
    OUTSIDE = 300,
    SIZE = 64,
    SPELLS = 10,
    SPELL_MS = 50,
    CROWD_MS = 2000,
    LEAVING = 10
};

enum state { WAITING, ANSWERED, DROPPED, GONE };

struct latency {
    uint64_t p50, p99;
};

struct client {
    int link;
    enum state state;
};

static int port;
static struct client inside[INSIDE], outside[OUTSIDE];

static void give_up(const char *why)
{
    fprintf(stderr, "fdlimit: %s\n", why);
    exit(1);
}

/* The handshake is the kernel's, so connect succeeds also when nobody accepts. */
static struct client enter(void)
{
    struct sockaddr_in address = loopback(port);
    struct client client;
    int one = 1;

    client.state = WAITING;
    client.link = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client.link < 0)
        fail("socket");
    if (connect(client.link, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect");
    setsockopt(client.link, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return client;
}

static void ask(const struct client *client)
{
    char message[SIZE];

    memset(message, 'x', sizeof message);
    message[SIZE - 1] = '\n';
    if (send(client->link, message, sizeof message, MSG_NOSIGNAL) < 0 && errno != EPIPE &&
        errno != ECONNRESET)
        fail("send");
}

static void take_answer(struct client *client)
{
    char answer[SIZE];
    ssize_t received = recv(client->link, answer, sizeof answer, MSG_DONTWAIT);

    if (received == SIZE)
        client->state = ANSWERED;
    else if (received >= 0 || errno != EAGAIN)
        client->state = DROPPED;
}

/* Every client inside asks in turn; the latency is that of a single request, never of a queue. */
static void ask_inside(struct histogram *latencies)
{
    int i;

    for (i = 0; i < INSIDE; i++) {
        struct pollfd link;
        uint64_t start = now();

        ask(&inside[i]);
        link.fd = inside[i].link;
        link.events = POLLIN;
        if (poll(&link, 1, 5000) <= 0)
            give_up("a client inside was not answered");
        inside[i].state = WAITING;
        take_answer(&inside[i]);
        if (inside[i].state != ANSWERED)
            give_up("a client inside was dropped");
        histogram_add(latencies, now() - start);
    }
}

/* The best of several spells: the machine is shared, and what others do only adds. */
static struct latency work_inside(void)
{
    static struct histogram latencies;
    struct latency best = {UINT64_MAX, UINT64_MAX};
    int i;

    for (i = 0; i < SPELLS; i++) {
        uint64_t end = now() + SPELL_MS * 1000000ull;

        memset(&latencies, 0, sizeof latencies);
        while (now() < end)
            ask_inside(&latencies);
        if (percentile(&latencies, 50) < best.p50)
            best.p50 = percentile(&latencies, 50);
        if (percentile(&latencies, 99) < best.p99)
            best.p99 = percentile(&latencies, 99);
    }
    return best;
}

static int count_outside(enum state state)
{
    int i, count = 0;

    for (i = 0; i < OUTSIDE; i++)
        count += outside[i].state == state;
    return count;
}

static void look_outside(void)
{
    int i;

    for (i = 0; i < OUTSIDE; i++) {
        if (outside[i].state == WAITING)
            take_answer(&outside[i]);
    }
}

static void leave(int at_most)
{
    int i;

    for (i = 0; i < OUTSIDE && at_most > 0; i++) {
        if (outside[i].state != ANSWERED)
            continue;
        close(outside[i].link);
        outside[i].state = GONE;
        at_most--;
    }
}

/* Those answered make room for those who wait, until nobody waits or 20 seconds are over. */
static void recover(void)
{
    uint64_t end = now() + 20000000000u;

    while (count_outside(WAITING) > 0 && now() < end) {
        leave(LEAVING);
        pause_ms(5);
        look_outside();
    }
}

static void report(const char *name, struct latency latency)
{
    printf("%s_p50_ns=%llu %s_p99_ns=%llu ", name, (unsigned long long)latency.p50, name,
           (unsigned long long)latency.p99);
}

static void open_inside(void)
{
    int i;

    for (i = 0; i < INSIDE; i++)
        inside[i] = enter();
}

static void open_outside(void)
{
    int i;

    for (i = 0; i < OUTSIDE; i++) {
        outside[i] = enter();
        ask(&outside[i]);
    }
}

int main(int argc, char **argv)
{
    struct latency calm, crowd;
    uint64_t failed, cpu, start;
    int counter, answered;
    char *colon;
    pid_t pid;

    if (argc != 2)
        give_up("usage: fdlimit PORT:PID");
    port = (int)strtol(argv[1], &colon, 10);
    pid = (pid_t)strtol(*colon ? colon + 1 : "", NULL, 10);
    open_inside();
    calm = work_inside();
    counter = count_failed_accepts(pid);
    open_outside();
    pause_ms(100); /* those for whom there is room are let in */
    look_outside();
    answered = count_outside(ANSWERED);
    failed = counter_value(counter);
    cpu = nanoseconds(cpu_clock_of(pid));
    start = now();
    pause_ms(CROWD_MS); /* nobody asks: what the server does now, it does because of the limit */
    cpu = nanoseconds(cpu_clock_of(pid)) - cpu;
    failed = counter_value(counter) - failed;
    start = now() - start;
    crowd = work_inside();
    printf("failed_accepts=%.1f idle_cpu_percent=%.2f ",
           counter < 0 ? -1.0 : (double)failed * 1e9 / (double)start,
           (double)cpu * 100.0 / (double)start);
    report("calm", calm);
    report("crowd", crowd);
    start = now();
    recover();
    printf("outside=%d at_once=%d answered=%d dropped=%d recovered_ms=%.0f\n", OUTSIDE, answered,
           count_outside(ANSWERED) + count_outside(GONE), count_outside(DROPPED),
           (double)(now() - start) / 1e6);
    return 0;
}
