/* echo_server: answers each line with the same line, for any number of clients at once.
   Run:  cc examples/echo_server.c -o echo_server && ./echo_server [PORT]
   Talk: telnet 127.0.0.1 2323, nc 127.0.0.1 2323, or examples/echo_client.c */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <stdio.h>
#include <stdlib.h>

static void echo(asocket_selector *selector, void *argument)
{
    asocket *client = (asocket *)argument;
    asocket_read_channel *in = asocket_open_read_channel(client);
    asocket_write_channel *out = asocket_open_write_channel(client, ASOCKET_AUTO_FLUSH);
    asocket_address address;
    char line[4096] = "?";
    ptrdiff_t length;

    if (asocket_remote_address(client, &address) >= 0)
        asocket_address_format(&address, line, sizeof line);
    fprintf(stderr, "Accepted %s\n", line);
    while ((length = asocket_read_line(in, line, sizeof line)) >= 0) {
        asocket_write(out, line, (size_t)length);  /* both leave in one packet, */
        if (asocket_write_string(out, "\r\n") < 0) /* when this coroutine waits for more */
            break;
    }
    if (length != ASOCKET_EOF)
        fprintf(stderr, "%s\n", asocket_error_message(selector));
}

int main(int argc, char **argv)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    int port = argc > 1 ? atoi(argv[1]) : 2323;
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", port);
    asocket_address address;

    if (server && asocket_local_address(server, &address) >= 0) {
        fprintf(stderr, "Listening on 127.0.0.1:%d\n", address.port);
        asocket_serve(server, echo);
    }
    fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_selector_destroy(selector);
    return 1;
}
