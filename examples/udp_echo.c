/* udp_echo: sends each datagram back to whom it came from.
   Run:  cc examples/udp_echo.c -o udp_echo && ./udp_echo [PORT]
   Talk: nc -u 127.0.0.1 2323, or socat - UDP:127.0.0.1:2323 */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <stdio.h>
#include <stdlib.h>

static int echo(asocket *socket)
{
    static char bytes[65536]; /* the largest datagram fits */
    asocket_datagram datagram;
    ptrdiff_t status;

    for (;;) {
        datagram.data = bytes;
        datagram.capacity = sizeof bytes;
        status = asocket_receive(socket, &datagram);
        if (status < 0)
            return (int)status;
        if (asocket_send(socket, &datagram) < 0) /* one who cannot be reached ends nothing */
            fprintf(stderr, "%s\n", asocket_error_message(asocket_selector_of(socket)));
    }
}

int main(int argc, char **argv)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    int port = argc > 1 ? atoi(argv[1]) : 2323;
    asocket *socket = asocket_bind(asocket_udp(selector), "127.0.0.1", port);
    asocket_address address;

    if (socket && asocket_local_address(socket, &address) >= 0) {
        fprintf(stderr, "Listening on 127.0.0.1:%d\n", address.port);
        echo(socket);
    }
    fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_selector_destroy(selector);
    return 1;
}
