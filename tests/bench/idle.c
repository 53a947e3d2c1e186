/* idle.c - what an idle connection costs the server, and whether it still answers when there are
   very many. Holds the connections from this process, weighs the server (resident memory and its
   page tables), then sends one message on each, all before the first answer is read, checks every
   answer and weighs again.

   usage: idle PORT:PID CONNECTIONS
   Prints one line; the bytes are per connection, against the server after its first connection. */
#include "meter.h"

#include <poll.h>

enum { MESSAGE_SIZE = 64, STEP = 500, PATIENCE_MS = 10000 };

struct weight {
    long resident, tables;
};

static int port;
static pid_t pid;
static int *links;

static void give_up(const char *why)
{
    fprintf(stderr, "idle: %s\n", why);
    exit(1);
}

static int open_link(long number)
{
    struct sockaddr_in address = loopback(port);
    int link = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (link < 0)
        fail("socket");
    bind_source(link, (unsigned)number);
    if (connect(link, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect");
    return link;
}

/* Lines, so that it serves any of the servers; each message names its connection. */
static void make_message(char *message, long number)
{
    memset(message, '.', MESSAGE_SIZE);
    snprintf(message, MESSAGE_SIZE, "%ld", number);
    message[strlen(message)] = '.';
    message[MESSAGE_SIZE - 1] = '\n';
}

static void ask(long number)
{
    char message[MESSAGE_SIZE];

    make_message(message, number);
    if (send(links[number], message, MESSAGE_SIZE, MSG_NOSIGNAL) != MESSAGE_SIZE)
        fail("send");
}

/* A message this small comes in one piece on the loopback; a server that splits it has a fault. */
static bool is_answered(long number)
{
    struct pollfd link;
    char message[MESSAGE_SIZE], answer[MESSAGE_SIZE + 1];

    link.fd = links[number];
    link.events = POLLIN;
    if (poll(&link, 1, PATIENCE_MS) <= 0)
        return false;
    make_message(message, number);
    return recv(links[number], answer, sizeof answer, MSG_DONTWAIT) == MESSAGE_SIZE &&
           memcmp(answer, message, MESSAGE_SIZE) == 0;
}

/* After every step the newest connection is used once: accepts go in order, so when it is answered
   all have been accepted, and the queue of the listener cannot overflow. */
static void open_links(long from, long to)
{
    long i;

    for (i = from; i < to; i++) {
        links[i] = open_link(i);
        if ((i + 1) % STEP != 0 && i + 1 != to)
            continue;
        ask(i);
        if (!is_answered(i))
            give_up("the server stopped accepting");
    }
}

static long ask_all(long count)
{
    long i, answered = 0;

    for (i = 0; i < count; i++)
        ask(i);
    for (i = 0; i < count; i++) {
        if (!is_answered(i))
            break; /* do not wait ten seconds for each of the others */
        answered++;
    }
    return answered;
}

static struct weight weigh(void)
{
    struct weight weight;

    pause_ms(20); /* until the server is asleep */
    weight.resident = resident_kib(pid);
    weight.tables = proc_kib(pid, "status", "VmPTE:");
    return weight;
}

static double per_connection(long after, long before, long count)
{
    return (double)(after - before) * 1024.0 / (double)(count - 1);
}

int main(int argc, char **argv)
{
    struct weight first, opened, used;
    long answered, count = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    uint64_t cpu;
    char *colon;

    if (count < 2)
        give_up("usage: idle PORT:PID CONNECTIONS");
    port = (int)strtol(argv[1], &colon, 10);
    pid = (pid_t)strtol(*colon ? colon + 1 : "", NULL, 10);
    raise_descriptor_limit();
    links = allocate((size_t)count * sizeof *links);
    open_links(0, 1);
    first = weigh();
    cpu = nanoseconds(cpu_clock_of(pid));
    open_links(1, count);
    cpu = nanoseconds(cpu_clock_of(pid)) - cpu;
    opened = weigh();
    answered = ask_all(count);
    used = weigh();
    printf("connections=%ld answered=%ld open_bytes=%.0f used_bytes=%.0f table_bytes=%.0f", count,
           answered, per_connection(opened.resident, first.resident, count),
           per_connection(used.resident, first.resident, count),
           per_connection(used.tables, first.tables, count));
    printf(" accept_ns=%.0f rss_kib=%ld\n", (double)cpu / (double)(count - 1), used.resident);
    return 0;
}
