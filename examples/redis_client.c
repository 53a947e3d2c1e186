/* redis_client: 1,000 keys set and asked for in one go: a coroutine writes, main reads the answers.
   Run:  cc examples/redis_client.c -o redis_client && ./redis_client [HOST [PORT]]
   Talk: start redis-server first */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 1000 };

static void ask(asocket_selector *selector, void *argument)
{
    asocket_write_channel *out = (asocket_write_channel *)argument;
    int i;

    (void)selector;
    for (i = 0; i < KEYS; i++) {
        asocket_printf(out, "*3\r\n$3\r\nSET\r\n$8\r\nkey:%04d\r\n$6\r\n%06d\r\n", i, i * i);
        asocket_printf(out, "*2\r\n$3\r\nGET\r\n$8\r\nkey:%04d\r\n", i);
    }
    asocket_flush(out); /* fails when the connection does, which the reader is told too */
}

static bool answers(asocket_read_channel *in, int i)
{
    char line[256], expected[8];

    snprintf(expected, sizeof expected, "%06d", i * i);
    return asocket_read_line(in, line, sizeof line) >= 0 && strcmp(line, "+OK") == 0 &&
           asocket_read_line(in, line, sizeof line) >= 0 && strcmp(line, "$6") == 0 &&
           asocket_read_line(in, line, sizeof line) >= 0 && strcmp(line, expected) == 0;
}

int main(int argc, char **argv)
{
    const char *host = argc > 1 ? argv[1] : "127.0.0.1";
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket_builder tcp = asocket_tcp(selector);
    asocket_read_channel *in;
    asocket *socket;
    int right = 0;

    tcp.connect_timeout = tcp.timeout = 5000; /* milliseconds */
    socket = asocket_connect(tcp, host, argc > 2 ? atoi(argv[2]) : 6379);
    in = asocket_open_read_channel(socket);
    if (in && asocket_launch(selector, ask, asocket_open_write_channel(socket, 0)))
        while (right < KEYS && answers(in, right))
            right++;
    if (right < KEYS)
        fprintf(stderr, "%s\n", asocket_error_message(selector));
    printf("%d of %d keys are right\n", right, KEYS);
    asocket_close(socket);
    asocket_selector_destroy(selector);
    return right < KEYS;
}
