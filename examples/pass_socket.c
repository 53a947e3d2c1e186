/* pass_socket: one process accepts, another one answers; the connections go through a Unix socket.
   Run:  cc examples/pass_socket.c -o pass_socket && ./pass_socket [PORT]
   Talk: nc 127.0.0.1 9003; it says who answers, and repeats each line */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void answer(asocket_selector *selector, void *client)
{
    asocket_read_channel *in = asocket_open_read_channel((asocket *)client);
    asocket_write_channel *out = asocket_open_write_channel((asocket *)client, ASOCKET_AUTO_FLUSH);

    (void)selector;
    asocket_printf(out, "process %ld answers\n", (long)getpid());
    asocket_copy(in, out, ASOCKET_FOREVER);
}

static void answer_what_comes(int end)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket *parent = asocket_adopt(asocket_unix(selector), end), *client;

    while ((client = asocket_receive_socket(parent)) != NULL)
        asocket_launch_socket(selector, answer, client);
    asocket_selector_destroy(selector); /* the parent has ended */
}

static void accept_and_send(int end, int port)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket *child = asocket_adopt(asocket_unix(selector), end);
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", port), *client;
    asocket_address address;

    if (server && asocket_local_address(server, &address) >= 0)
        fprintf(stderr, "Listening on 127.0.0.1:%d\n", address.port);
    while (server && (client = asocket_accept(server)) && asocket_send_socket(child, client) >= 0)
        asocket_close(client); /* here: it is the child's now */
    fprintf(stderr, "%s\n", asocket_error_message(selector));
}

int main(int argc, char **argv)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return 1;
    if (fork() == 0) { /* before there are selectors: they are of one process */
        close(ends[0]);
        answer_what_comes(ends[1]);
        return 0;
    }
    close(ends[1]);
    accept_and_send(ends[0], argc > 1 ? atoi(argv[1]) : 9003);
    return 1;
}
