/* names_server.c - looking names up. How many lookups a second: of names under "localhost", which
   are known at once, and of a name that the system knows without a name server, which goes through
   the threads. And an echo server that looks such a name up all the while, at a steady pace, to see
   whether its connections notice.

   usage: names_server rates           prints "name=value" lines
          names_server PER_SECOND      0: no lookups; prints the port, and how many it does */
#include "meter.h"

#define ASOCKET_IMPLEMENTATION
#include "../../asocket.h"

enum { KNOWN = 400000, ASKED = 2000, ASKERS = 4, REPORT_MS = 200 };

static char hosts[ASKERS][256];
static long pause_us, done;

static void check(asocket_selector *selector, long long status)
{
    if (status >= 0)
        return;
    fprintf(stderr, "names_server: %s\n", asocket_error_message(selector));
    exit(1);
}

/* The machine's own name, in different spellings: identical lookups would be made only once. */
static void spell_hosts(void)
{
    size_t i;

    for (i = 0; i < ASKERS; i++) {
        if (gethostname(hosts[i], sizeof hosts[i] - 1) < 0)
            fail("gethostname");
        hosts[i][0] = (char)(hosts[i][0] ^ (i & 1 ? 0x20 : 0));
        hosts[i][1] = (char)(hosts[i][1] ^ (i & 2 ? 0x20 : 0));
    }
}

static void look_up_many(asocket_selector *selector, const char *host, long count)
{
    asocket_address addresses[8];

    while (count-- > 0)
        check(selector, asocket_resolve(selector, host, 80, addresses, 8));
}

static void ask(asocket_selector *selector, void *argument)
{
    look_up_many(selector, argument, ASKED);
}

static void print_rate(const char *name, long count, uint64_t begin)
{
    printf("%s=%.0f\n", name, (double)count * 1e9 / (double)(now() - begin));
}

static void print_rates(asocket_selector *selector)
{
    uint64_t begin = now();
    long i;

    look_up_many(selector, "some.localhost", KNOWN);
    print_rate("known_per_s", KNOWN, begin);
    begin = now();
    look_up_many(selector, hosts[0], ASKED);
    print_rate("asked_per_s", ASKED, begin);
    begin = now();
    for (i = 0; i < ASKERS; i++)
        check(selector, asocket_launch(selector, ask, hosts[i]) ? 0 : asocket_error(selector));
    check(selector, asocket_run(selector));
    print_rate("asked_by_4_per_s", ASKERS * ASKED, begin);
}

static void look_up_steadily(asocket_selector *selector, void *argument)
{
    for (;; done++) {
        asocket_sleep_ns(selector, pause_us * 1000);
        look_up_many(selector, argument, 1);
    }
}

static void report(asocket_selector *selector, void *argument)
{
    uint64_t begin = now();

    (void)argument;
    for (;;) {
        asocket_sleep(selector, REPORT_MS);
        print_rate("lookups", done, begin);
        fflush(stdout);
    }
}

static void echo(asocket_selector *selector, void *argument)
{
    asocket_read_channel *in = asocket_open_read_channel(argument);
    asocket_write_channel *out = asocket_open_write_channel(argument, 0);

    (void)selector;
    asocket_copy(in, out, ASOCKET_FOREVER);
}

static void serve(asocket_selector *selector)
{
    asocket_builder tcp = asocket_tcp(selector);
    asocket *server;
    asocket_address address;

    tcp.backlog = BACKLOG;
    raise_descriptor_limit();
    server = asocket_bind(tcp, "127.0.0.1", 0);
    if (server && asocket_local_address(server, &address) >= 0) {
        announce(address.port);
        asocket_launch(selector, report, NULL);
        if (pause_us > 0)
            asocket_launch(selector, look_up_steadily, hosts[0]);
        asocket_serve(server, echo);
    }
    check(selector, asocket_error(selector));
}

int main(int argc, char **argv)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    long per_second = argc > 1 ? strtol(argv[1], NULL, 10) : 0;

    spell_hosts();
    pause_us = per_second > 0 ? 1000000 / per_second : 0;
    if (argc > 1 && strcmp(argv[1], "rates") == 0)
        print_rates(selector);
    else
        serve(selector);
    asocket_selector_destroy(selector);
    return 0;
}
