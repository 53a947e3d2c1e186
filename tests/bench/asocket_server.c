/* asocket_server.c - the same servers on asocket.h, through its public face only and as its manual
   would write them: a coroutine per connection, one line after another.

   usage: asocket_server echo|line|longline|sink */
#define ASOCKET_IMPLEMENTATION
#include "../../asocket.h"

#include "bench.h"

static void echo(asocket_selector *selector, void *argument)
{
    asocket *client = argument;
    asocket_read_channel *in = asocket_open_read_channel(client);
    asocket_write_channel *out = asocket_open_write_channel(client, 0);

    (void)selector;
    asocket_copy(in, out, ASOCKET_FOREVER);
}

/* The capacity of the buffer is all that tells the two kinds of lines apart: it lives on the
   coroutine's stack, so a server of short lines should not pay for long ones. */
static void answer_with(asocket *client, char *line, size_t capacity)
{
    asocket_read_channel *in = asocket_open_read_channel(client);
    asocket_write_channel *out = asocket_open_write_channel(client, ASOCKET_AUTO_FLUSH);
    ptrdiff_t length;

    while ((length = asocket_read_line(in, line, capacity)) >= 0) {
        line[length] = '\n'; // where its NUL was
        if (asocket_write(out, line, (size_t)length + 1) < 0)
            return;
    }
}

static void answer_lines_of(asocket_selector *selector, void *argument)
{
    char line[256];

    (void)selector;
    answer_with(argument, line, sizeof line);
}

static void answer_long_lines_of(asocket_selector *selector, void *argument)
{
    char line[16 * 1024 + 1];

    (void)selector;
    answer_with(argument, line, sizeof line);
}

/* Nobody looks at the bytes, so all connections may read them into the same place. */
static void sink(asocket_selector *selector, void *argument)
{
    static char nowhere[BUFFER_SIZE];
    asocket_read_channel *in = asocket_open_read_channel(argument);

    (void)selector;
    while (asocket_read(in, nowhere, sizeof nowhere) > 0)
        continue;
}

static asocket_function *handler_for(const char *name)
{
    switch (parse_mode(name)) {
    case MODE_LINE: return strcmp(name, "line") == 0 ? answer_lines_of : answer_long_lines_of;
    case MODE_SINK: return sink;
    default: return echo;
    }
}

int main(int argc, char **argv)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket_builder tcp = asocket_tcp(selector);
    asocket *server;
    asocket_address address;

    tcp.backlog = BACKLOG;
    raise_descriptor_limit();
    server = asocket_bind(tcp, "127.0.0.1", 0);
    if (server && asocket_local_address(server, &address) >= 0) {
        announce(address.port);
        asocket_serve(server, handler_for(argc > 1 ? argv[1] : "echo"));
    }
    fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_selector_destroy(selector);
    return 1;
}
