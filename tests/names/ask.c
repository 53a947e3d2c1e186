/* ask.c - what tests/names.t asks names with.

     ask names MS HOST...            looks all up at the same time, each within MS (0: no limit)
     ask connect MS HOST PORT        connects within MS, says to whom, and prints what comes

   One line for each name, in the order of the answers: the name, its addresses in their order or
   the error's sentence, and after how many ms; then the longest time between two turns of a
   coroutine that sleeps 5 ms each: how much the lookups kept others from running. */
#define ASOCKET_IMPLEMENTATION
#include "../../asocket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t limit, begin, longest;
static bool finished;

static int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void print_address(const asocket_address *address)
{
    char text[128];

    asocket_address_format(address, text, sizeof text);
    printf(" %s", text);
}

static void look_up(asocket_selector *selector, void *argument)
{
    const char *host = (const char *)argument;
    asocket_address *addresses = (asocket_address *)calloc(64, sizeof *addresses);
    int count, i;

    if (limit)
        asocket_set_deadline(selector, limit);
    count = asocket_resolve(selector, host, 80, addresses, 64);
    printf("%s:", host);
    for (i = 0; i < count; i++)
        print_address(&addresses[i]);
    if (count < 0)
        printf(" %s", asocket_error_message(selector));
    printf(" (%d ms)\n", (int)(now() - begin));
    free(addresses);
}

static void beat(asocket_selector *selector, void *argument)
{
    int64_t last = now();

    (void)argument;
    while (!finished && asocket_sleep(selector, 5) >= 0) {
        int64_t here = now();

        if (here - last > longest)
            longest = here - last;
        last = here;
    }
}

static void look_all_up(asocket_selector *selector, char **hosts)
{
    asocket_job heart = asocket_launch(selector, beat, NULL), asked[1024];
    int i, count = 0;

    for (; *hosts && count < 1024; hosts++)
        asked[count++] = asocket_launch(selector, look_up, *hosts);
    for (i = 0; i < count; i++)
        asocket_join(selector, asked[i]);
    finished = true;
    asocket_join(selector, heart);
    printf("longest turn: %d ms\n", (int)longest);
}

static int connect_to(asocket_selector *selector, const char *host, int port)
{
    asocket_builder tcp = asocket_tcp(selector);
    asocket_address remote;
    asocket *socket;
    asocket_read_channel *in;
    char bytes[4096];
    ptrdiff_t count;

    tcp.connect_timeout = limit;
    socket = asocket_connect(tcp, host, port);
    if (!socket) {
        printf("%s (%d ms)\n", asocket_error_message(selector), (int)(now() - begin));
        return 1;
    }
    asocket_remote_address(socket, &remote);
    printf("connected to");
    print_address(&remote);
    printf(" (%d ms)\n", (int)(now() - begin));
    in = asocket_open_read_channel(socket);
    while ((count = asocket_read(in, bytes, sizeof bytes)) > 0)
        fwrite(bytes, 1, (size_t)count, stdout);
    return count == ASOCKET_EOF ? 0 : 1;
}

int main(int argc, char **argv)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    int status = 2;

    begin = now();
    limit = argc > 2 ? atoi(argv[2]) : 0;
    if (argc > 3 && !strcmp(argv[1], "names")) {
        look_all_up(selector, argv + 3);
        status = 0;
    } else if (argc == 5 && !strcmp(argv[1], "connect")) {
        status = connect_to(selector, argv[3], atoi(argv[4]));
    }
    fflush(stdout);
    asocket_selector_destroy(selector);
    return status;
}
