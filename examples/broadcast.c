/* broadcast: sends lines to everybody on the network, or prints what is sent so.
   Run:  cc examples/broadcast.c -o broadcast
   Talk: ./broadcast receive PORT, any number of them; ./broadcast send 192.168.1.255:PORT */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int send_lines(asocket_builder udp, const char *everybody)
{
    asocket_address address;
    char line[1400];

    if (asocket_address_parse(&address, everybody) < 0)
        return fprintf(stderr, "no address and port: %s\n", everybody), 1;
    udp.broadcast = true; /* without it the system refuses such an address */
    asocket *socket = asocket_bind(udp, "0.0.0.0", 0);
    while (socket && fgets(line, sizeof line, stdin))
        if (asocket_send_to(socket, line, strlen(line), &address) < 0)
            return -1;
    return socket ? 0 : -1;
}

static int receive_lines(asocket_builder udp, int port)
{
    asocket_address from;
    char line[1400], name[64];
    ptrdiff_t count;
    asocket *socket;

    udp.reuse_address = true; /* several programs on one machine may hear it */
    socket = asocket_bind(udp, "0.0.0.0", port);
    if (!socket)
        return -1;
    fprintf(stderr, "Listening\n");
    while ((count = asocket_receive_from(socket, line, sizeof line, &from)) >= 0) {
        asocket_address_format(&from, name, sizeof name);
        printf("%s: %.*s", name, (int)count, line);
        fflush(stdout);
    }
    return -1;
}

int main(int argc, char **argv)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    int status = 1;

    if (argc != 3)
        fprintf(stderr, "broadcast send ADDRESS:PORT | receive PORT\n");
    else
        status = strcmp(argv[1], "send") == 0 ? send_lines(asocket_udp(selector), argv[2])
                                              : receive_lines(asocket_udp(selector), atoi(argv[2]));
    if (status < 0)
        fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_selector_destroy(selector);
    return status != 0;
}
