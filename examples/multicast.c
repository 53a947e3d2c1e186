/* multicast: sends lines to a group, or prints what is sent to one.
   Run:  cc examples/multicast.c -o multicast
   Talk: ./multicast receive [GROUP:PORT [INTERFACE]], any number of them, and
         ./multicast send [GROUP:PORT [INTERFACE]]; the interface is a number (ip link) */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int send_lines(asocket_builder udp, const asocket_address *group)
{
    asocket *socket = asocket_connect_address(udp, group);
    char line[1400];

    while (socket && fgets(line, sizeof line, stdin))
        if (asocket_send_to(socket, line, strlen(line), NULL) < 0)
            return -1;
    return socket ? 0 : -1;
}

static int receive_lines(asocket_builder udp, const asocket_address *group)
{
    asocket_address from;
    char line[1400], name[64];
    ptrdiff_t count;

    udp.reuse_address = true; /* several programs may listen to a group */
    asocket *socket = asocket_bind(udp, group->ip.family == 4 ? "0.0.0.0" : "::", group->port);
    if (!socket || asocket_join_group(socket, &group->ip, udp.multicast_interface) < 0)
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
    asocket_builder udp = asocket_udp(selector);
    asocket_address group;
    int status = asocket_address_parse(&group, argc > 2 ? argv[2] : "239.255.23.23:2323");

    udp.multicast_interface = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
    if (status < 0 || argc < 2)
        fprintf(stderr, "multicast send|receive [GROUP:PORT [INTERFACE]]\n");
    else if (strcmp(argv[1], "send") == 0)
        status = send_lines(udp, &group);
    else
        status = receive_lines(udp, &group);
    if (status < 0)
        fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_selector_destroy(selector);
    return status < 0;
}
