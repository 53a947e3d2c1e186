/* handover.c - what it costs to hand a connection to another selector: two selectors in two
   threads, connections that go back and forth between them, each arrival handing on at once.

   With many under way both threads are busy: that is the rate. One alone shows how long it is on
   its way, with two threads to wake for each round trip. "Used": wherever a connection arrives it
   sends a byte and waits for its answer before it goes on, as a connection would that is handed
   over to be served, so it enters and leaves both selectors' sets; the time includes the exchange
   and the peer that answers, a coroutine at home. At the end every connection does so.

   usage: handover
   Prints one "name=value" per line. */
#include "meter.h"

#define ASOCKET_IMPLEMENTATION
#include "../../asocket.h"

enum {
    MANY = 64,
    RUNS = 3,
    ROUND_TRIPS = 50000,
    ROUND_TRIPS_ALONE = 5000,
    ROUND_TRIPS_USED = 5000
};

struct cost { /* of one hand-over: by the clock, and of both processors */
    double wall_us, cpu_us;
};

static asocket_selector *home, *away;
static long hops, limit; /* round trips: counted at home only, each is two hand-overs */
static long arrived, connections;
static bool used;

static void check(asocket_selector *selector, bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "handover: %s: %s\n", what, asocket_error_message(selector));
    exit(1);
}

static void hop_home(asocket_selector *selector, void *argument);

static void use(asocket_selector *selector, asocket *socket)
{
    asocket_read_channel *in = asocket_open_read_channel(socket);
    asocket_write_channel *out = asocket_open_write_channel(socket, ASOCKET_AUTO_FLUSH);

    check(selector, asocket_write_byte(out, 'a') >= 0, "write_byte");
    check(selector, asocket_read_byte(in) == 'a', "read_byte");
}

static void hop_away(asocket_selector *selector, void *argument)
{
    if (used)
        use(selector, argument);
    check(selector, asocket_hand_over(argument, home, hop_home) >= 0, "hand_over");
}

/* At the limit it stays, and is closed. */
static void hop_home(asocket_selector *selector, void *argument)
{
    if (used || hops >= limit)
        use(selector, argument);
    if (hops < limit) {
        hops++;
        check(selector, asocket_hand_over(argument, away, hop_away) >= 0, "hand_over");
    } else if (++arrived == connections)
        asocket_stop(selector);
}

static void answer(asocket_selector *selector, void *argument)
{
    asocket_read_channel *in = asocket_open_read_channel(argument);
    asocket_write_channel *out = asocket_open_write_channel(argument, 0);

    (void)selector;
    asocket_copy(in, out, ASOCKET_FOREVER);
}

static void wait_for_end(asocket_selector *selector, void *argument)
{
    (void)argument;
    asocket_sleep(selector, ASOCKET_FOREVER);
}

/* The loop ends when no coroutine is left; while all connections are at home that would be now. */
static void *run_away(void *argument)
{
    (void)argument;
    asocket_run(away);
    return NULL;
}

static void keep(asocket_selector *selector)
{
    check(selector, asocket_launch(selector, wait_for_end, NULL) != 0, "launch");
}

static void open_pairs(asocket **sockets)
{
    asocket *peer, *listener = asocket_bind(asocket_tcp(home), "127.0.0.1", 0);
    asocket_address address;
    long i;

    check(home, listener && asocket_local_address(listener, &address) >= 0, "bind");
    for (i = 0; i < connections; i++) {
        peer = asocket_connect_address(asocket_tcp(home), &address);
        check(home, peer && asocket_launch_socket(home, answer, peer), "connect");
        sockets[i] = asocket_accept(listener);
        check(home, sockets[i] != NULL, "accept");
    }
}

static struct cost run_hops(asocket **sockets)
{
    struct cost cost;
    pthread_t thread;
    uint64_t wall = now(), cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    long i;

    for (i = 0; i < connections; i++)
        check(home, asocket_launch_socket(home, hop_home, sockets[i]) != 0, "launch_socket");
    if (pthread_create(&thread, NULL, run_away, NULL) != 0)
        fail("pthread_create");
    asocket_run(home);
    cost.wall_us = (double)(now() - wall) / 2000.0 / (double)limit;
    cost.cpu_us = (double)(nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 2000.0 / (double)limit;
    asocket_stop(away);
    pthread_join(thread, NULL);
    return cost;
}

static struct cost measure(long count, long round_trips)
{
    asocket *sockets[MANY];
    struct cost cost;

    hops = arrived = 0;
    limit = round_trips;
    connections = count;
    home = asocket_selector_create(NULL);
    away = asocket_selector_create(NULL);
    open_pairs(sockets);
    keep(home);
    keep(away);
    cost = run_hops(sockets);
    asocket_selector_destroy(away);
    asocket_selector_destroy(home);
    return cost;
}

static struct cost best_of(long count, long round_trips)
{
    struct cost best = measure(count, round_trips);
    int i;

    for (i = 1; i < RUNS; i++) {
        struct cost cost = measure(count, round_trips);

        best = cost.wall_us < best.wall_us ? cost : best;
    }
    return best;
}

int main(void)
{
    struct cost many = best_of(MANY, ROUND_TRIPS), alone = best_of(1, ROUND_TRIPS_ALONE), busy;

    used = true;
    busy = best_of(MANY, ROUND_TRIPS_USED);
    printf("handover_us=%.2f\n", many.wall_us);
    printf("handover_cpu_us=%.2f\n", many.cpu_us);
    printf("handover_alone_us=%.2f\n", alone.wall_us);
    printf("handover_used_us=%.2f\n", busy.wall_us);
    printf("handover_used_cpu_us=%.2f\n", busy.cpu_us);
    return 0;
}
