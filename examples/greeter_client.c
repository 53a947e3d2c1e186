/* greeter_client: one coroutine prints what arrives while another sends what is typed.
   Run:  cc examples/greeter_client.c -o greeter_client && ./greeter_client [HOST [PORT]]
   Talk: start examples/greeter.c first; type names; Ctrl-D ends, the last answers still come. */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int exit_status = 1;

static void print_arriving(asocket_selector *selector, void *socket)
{
    asocket_read_channel *in = asocket_open_read_channel((asocket *)socket);
    char text[4096];
    ptrdiff_t count;

    while ((count = asocket_read(in, text, sizeof text)) > 0) {
        fwrite(text, 1, (size_t)count, stdout);
        fflush(stdout);
    }
    exit_status = count == ASOCKET_EOF ? 0 : 1;
    fprintf(stderr, "%s\n", exit_status ? asocket_error_message(selector) : "Connection closed");
}

static void send_typed(asocket_selector *selector, void *socket)
{
    asocket_write_channel *out = asocket_open_write_channel((asocket *)socket, ASOCKET_AUTO_FLUSH);
    char text[4096];
    ptrdiff_t count, status;

    do {
        status = asocket_wait_handle(selector, STDIN_FILENO, ASOCKET_READ);
        count = status < 0 ? 0 : read(STDIN_FILENO, text, sizeof text);
        if (count > 0)
            status = asocket_write(out, text, (size_t)count);
    } while (count > 0 && status >= 0);
    if (count < 0)
        perror("standard input");
    if (status < 0 && status != ASOCKET_ECANCELED)
        fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_finish(out); /* half-close: nothing more to say, but still listening */
}

int main(int argc, char **argv)
{
    const char *host = argc > 1 ? argv[1] : "127.0.0.1";
    int port = argc > 2 ? atoi(argv[2]) : 9002;
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket *socket = asocket_connect(asocket_tcp(selector), host, port);

    if (socket && asocket_launch(selector, send_typed, socket))
        print_arriving(selector, socket); /* a wait in main runs the coroutines */
    else
        fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_selector_destroy(selector); /* cancels the typing, closes the socket */
    return exit_status;
}
