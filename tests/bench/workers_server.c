/* workers_server.c - one port, several threads, each with a selector and a listener of its own: the
   system deals the connections out (reuse_port). Answers lines, as the line servers do.

   usage: workers_server WORKERS [MICROSECONDS]
   Each line costs the server so much computing before it is answered: what workers are for. */
#include "meter.h"

#define ASOCKET_IMPLEMENTATION
#include "../../asocket.h"

enum { MOST = 16 };

struct worker {
    asocket_selector *selector;
    asocket *listener;
    pthread_t thread;
};

static struct worker workers[MOST];
static uint64_t computing_ns;

static void compute(void)
{
    uint64_t begin = nanoseconds(CLOCK_THREAD_CPUTIME_ID);

    while (nanoseconds(CLOCK_THREAD_CPUTIME_ID) - begin < computing_ns)
        continue;
}

static void answer_lines_of(asocket_selector *selector, void *argument)
{
    asocket_read_channel *in = asocket_open_read_channel(argument);
    asocket_write_channel *out = asocket_open_write_channel(argument, ASOCKET_AUTO_FLUSH);
    char line[256];
    ptrdiff_t length;

    (void)selector;
    while ((length = asocket_read_line(in, line, sizeof line)) >= 0) {
        if (computing_ns > 0)
            compute();
        if (asocket_write(out, line, (size_t)length) < 0 || asocket_write(out, "\n", 1) < 0)
            return;
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;

    asocket_serve(worker->listener, answer_lines_of);
    fprintf(stderr, "%s\n", asocket_error_message(worker->selector));
    return NULL;
}

static int open_worker(struct worker *worker, int port)
{
    asocket_builder tcp;
    asocket_address address;

    worker->selector = asocket_selector_create(NULL);
    tcp = asocket_tcp(worker->selector);
    tcp.reuse_port = true;
    tcp.backlog = BACKLOG;
    worker->listener = asocket_bind(tcp, "127.0.0.1", port);
    if (worker->listener && asocket_local_address(worker->listener, &address) >= 0)
        return address.port;
    fprintf(stderr, "%s\n", asocket_error_message(worker->selector));
    exit(1);
}

int main(int argc, char **argv)
{
    long i, count = argc > 1 ? strtol(argv[1], NULL, 10) : 1;
    int port = 0;

    computing_ns = argc > 2 ? (uint64_t)strtol(argv[2], NULL, 10) * 1000 : 0;
    raise_descriptor_limit();
    for (i = 0; i < count && i < MOST; i++)
        port = open_worker(&workers[i], port);
    for (i = 1; i < count && i < MOST; i++) {
        errno = pthread_create(&workers[i].thread, NULL, work, &workers[i]);
        if (errno != 0)
            fail("pthread_create");
    }
    announce(port);
    work(&workers[0]);
    return 1;
}
