/* echo_client: sends lines, prints the answers, all of it in main, no wait without end.
   Run:  cc examples/echo_client.c -o echo_client && ./echo_client [HOST [PORT [LINE...]]]
   Talk: start examples/echo_server.c first */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <stdio.h>
#include <stdlib.h>

static int ask(asocket_read_channel *in, asocket_write_channel *out, const char *question)
{
    char answer[4096];
    ptrdiff_t status = asocket_printf(out, "%s\r\n", question);

    if (status >= 0)
        status = asocket_flush(out);
    if (status >= 0)
        status = asocket_read_line(in, answer, sizeof answer);
    if (status >= 0)
        printf("%s\n", answer);
    return (int)status;
}

int main(int argc, char **argv)
{
    const char *host = argc > 1 ? argv[1] : "127.0.0.1";
    int port = argc > 2 ? atoi(argv[2]) : 2323;
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket_builder tcp = asocket_tcp(selector);
    asocket *socket;
    asocket_read_channel *in;
    asocket_write_channel *out;
    int status = -1;

    tcp.connect_timeout = 5000; /* milliseconds */
    tcp.timeout = 5000;         /* for each later wait */
    socket = asocket_connect(tcp, host, port);
    if (socket) {
        in = asocket_open_read_channel(socket);
        out = asocket_open_write_channel(socket, 0);
        status = argc > 3 ? 0 : ask(in, out, "hello");
        for (int i = 3; i < argc && status >= 0; i++)
            status = ask(in, out, argv[i]);
        asocket_close(socket);
    }
    if (status < 0)
        fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_selector_destroy(selector);
    return status < 0;
}
