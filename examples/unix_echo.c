/* unix_echo: sends back all bytes that come over a Unix socket, and says whose they are.
   Run:  cc examples/unix_echo.c -o unix_echo && ./unix_echo [PATH]
   Talk: nc -NU /tmp/unix_echo.socket, or socat - UNIX:/tmp/unix_echo.socket */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <stdio.h>

static void echo(asocket_selector *selector, void *argument)
{
    asocket *client = (asocket *)argument;
    asocket_read_channel *in = asocket_open_read_channel(client);
    asocket_write_channel *out = asocket_open_write_channel(client, ASOCKET_AUTO_FLUSH);
    asocket_credentials who;

    if (asocket_peer_credentials(client, &who) >= 0)
        fprintf(stderr, "Accepted process %ld of user %ld\n", (long)who.process, (long)who.user);
    if (asocket_copy(in, out, ASOCKET_FOREVER) < 0)
        fprintf(stderr, "%s\n", asocket_error_message(selector));
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "/tmp/unix_echo.socket";
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket_builder local = asocket_unix(selector);
    asocket *server;

    local.unlink = true; /* what a server that was killed has left is not in the way */
    server = asocket_bind(local, path, 0);
    if (server) {
        fprintf(stderr, "Listening on %s\n", path);
        asocket_serve(server, echo);
    }
    fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_selector_destroy(selector);
    return 1;
}
