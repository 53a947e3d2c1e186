/* echo.c - what a small device would run, to be measured: an echo service without coroutines, in
   one file, for ASOCKET_EMBEDDED. */
#define ASOCKET_EMBEDDED
#define ASOCKET_STATIC
#define ASOCKET_IMPLEMENTATION
#include "../../asocket.h"

enum { CLIENTS = 4 };

typedef struct client {
    asocket *socket;
    asocket_read_channel *in;
    asocket_write_channel *out;
} client;

static void echo(asocket_selector *selector, void *argument)
{
    client *c = (client *)argument;
    char bytes[64];
    ptrdiff_t count;

    (void)selector;
    while ((count = asocket_read(c->in, bytes, sizeof bytes)) > 0)
        asocket_write(c->out, bytes, (size_t)count);
    asocket_flush(c->out);
    if (count == ASOCKET_EAGAIN)
        asocket_on_ready(c->socket, ASOCKET_READ, echo, c);
    else
        asocket_close(c->socket);
}

int main(void)
{
    static client clients[CLIENTS];
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket *server = asocket_bind(asocket_tcp(selector), "0.0.0.0", 7), *socket;
    unsigned next = 0;

    while ((socket = asocket_accept(server)) != NULL) {
        client *c = &clients[next++ % CLIENTS];

        asocket_close(c->socket);
        c->socket = socket;
        asocket_set_timeout(socket, ASOCKET_NO_WAIT);
        c->in = asocket_open_read_channel(socket);
        c->out = asocket_open_write_channel(socket, 0);
        asocket_on_ready(socket, ASOCKET_READ, echo, c);
    }
    return 1;
}
