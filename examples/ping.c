/* ping: both ends of a connection in one thread, without a loop and without a coroutine.
   Run:  cc examples/ping.c -o ping && ./ping
   Talk: it talks to itself, over a port of the system's choice */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <stdio.h>

static int ping(asocket_selector *selector)
{
    asocket *server, *client, *accepted;
    asocket_address address;
    char text[5] = "";

    server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    if (!server || asocket_local_address(server, &address) < 0)
        return -1;
    client = asocket_connect_address(asocket_tcp(selector), &address);
    if (!client)
        return -1;
    if (asocket_write_string(asocket_open_write_channel(client, ASOCKET_AUTO_FLUSH), "ping") < 0)
        return -1;
    accepted = asocket_accept(server);
    if (!accepted)
        return -1;
    if (asocket_read_full(asocket_open_read_channel(accepted), text, 4) < 0)
        return -1;
    printf("%s\n", text);
    return 0;
}

int main(void)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    int status = ping(selector);

    if (status < 0)
        fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_selector_destroy(selector); /* closes all three sockets */
    return status < 0;
}
