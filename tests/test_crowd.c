/* A crowd: as many connections as the process may have descriptors for, up to 10,000, all open at
   once, each with a coroutine that waits; descriptors far beyond what select(2) can name. All of
   them speak, none is lost, and the quiet ones cost next to nothing. */
#include "test.h"

#include <sys/resource.h>

enum { MOST = 10000 };

static asocket_selector *selector;
static int peers[MOST];
static int answered, ended;

static void answer(asocket_selector *owner, void *argument)
{
    asocket_read_channel *in = asocket_open_read_channel((asocket *)argument);
    asocket_write_channel *out = asocket_open_write_channel((asocket *)argument, 0);
    uint32_t number;

    (void)owner;
    while (asocket_read_u32be(in, &number) == ASOCKET_OK) {
        asocket_write_u32be(out, number + 1);
        if (asocket_flush(out) == ASOCKET_OK)
            answered++;
    }
    ended++;
}

static void serve(asocket_selector *owner, void *argument)
{
    (void)owner;
    asocket_serve((asocket *)argument, answer);
}

/* Each turn of poll looks at all of them. */
static int connections_allowed(int backend)
{
    int most = (backend == ASOCKET_BACKEND_POLL ? MOST / 4 : MOST) /
               (test_slowness() > 4 ? 10 : test_slowness());
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (TEST_WINDOWS)
        return 300;
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < (rlim_t)most * 2 + 100)
        most = ((int)limit.rlim_cur - 100) / 2;
    return most;
}

static uint64_t statistic(size_t offset)
{
    asocket_statistics statistics;
    uint64_t value;

    asocket_stats(selector, &statistics);
    memcpy(&value, (const char *)&statistics + offset, sizeof value);
    return value;
}

static int connect_all(int port, int count)
{
    int i;

    for (i = 0; i < count; i++) {
        peers[i] = test_peer_connect(port);
        if (peers[i] < 0)
            return i;
        while (i % 100 == 99 && statistic(offsetof(asocket_statistics, coroutines)) < (uint64_t)i)
            asocket_sleep(selector, 1); /* so that the queue of the listener never is full */
    }
    return i;
}

/* All ask, then all are answered; the number that were answered right. */
static int ask_all(int count, uint32_t salt)
{
    int i, right = 0;

    for (i = 0; i < count; i++) {
        uint32_t number = htonl((uint32_t)i + salt);

        test_peer_send(peers[i], &number, sizeof number);
    }
    for (i = 0; i < count; i++) {
        uint32_t number = 0;

        right += test_peer_receive(selector, peers[i], &number, sizeof number) == sizeof number &&
                 ntohl(number) == (uint32_t)i + salt + 1;
    }
    return right;
}

static void close_all(int count)
{
    int i;

    for (i = 0; i < count; i++)
        close(peers[i]);
    for (i = 0; i < 2000 && ended < count; i++)
        asocket_sleep(selector, 5);
}

int main(int argc, char **argv)
{
    asocket_address address;
    asocket *server;
    size_t before;
    uint64_t turns;
    int count, made, rounds;

    selector = test_selector(argc, argv);
    count = connections_allowed(test_backend(argc, argv));
    server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    asocket_local_address(server, &address);
    asocket_launch(selector, serve, server);
    before = test_selector_memory.bytes;
    made = connect_all(address.port, count);
    if (!is_int(made, count, "%d connections are made", count))
        count = made;
    if (!count)
        return test_end(selector);
    is_int(ask_all(count, 0), count, "each is answered, by a coroutine of its own");
    ok(statistic(offsetof(asocket_statistics, coroutines)) >= (uint64_t)count,
       "all of them are there at once");
    ok(peers[count - 1] > 1024 || count < 600, "also beyond descriptor 1,024");
    is_int(statistic(offsetof(asocket_statistics, buffers)), 0, "P5: none has a buffer");
    ok((test_selector_memory.bytes - before) / (size_t)count < 1024,
       "P5: each has less than a KiB besides its stack (%d bytes)",
       (int)((test_selector_memory.bytes - before) / (size_t)count));
    asocket_sleep(selector, 50);
    turns = statistic(offsetof(asocket_statistics, turns));
    asocket_sleep(selector, 100);
    ok(statistic(offsetof(asocket_statistics, turns)) - turns <= 3,
       "P11: while all are quiet the loop is, too");
    for (rounds = 1; rounds <= 2; rounds++)
        is_int(ask_all(count, (uint32_t)rounds * 77777), count, "all are answered again");
    is_int(answered, 3 * count, "and nothing else was answered");
    close_all(count);
    is_int(ended, count, "each notices that its peer has gone");
    asocket_close(server);
    return test_end(selector);
}
