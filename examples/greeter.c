/* greeter: a coroutine per connection, one line after the other.
   Run:  cc examples/greeter.c -o greeter && ./greeter
   Talk: telnet 127.0.0.1 9002, nc 127.0.0.1 9002, or examples/greeter_client.c */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <stdio.h>

static void greet(asocket_selector *selector, void *argument)
{
    asocket *client = (asocket *)argument;
    asocket_read_channel *in = asocket_open_read_channel(client);
    asocket_write_channel *out = asocket_open_write_channel(client, ASOCKET_AUTO_FLUSH);
    char name[256];

    (void)selector;
    asocket_write_string(out, "Please enter your name\n");
    while (asocket_read_line(in, name, sizeof name) >= 0)
        asocket_printf(out, "Hello, %s!\n", name);
}

int main(void)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 9002);

    if (server)
        asocket_serve(server, greet); /* a coroutine per connection, until the server is closed */
    fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_selector_destroy(selector);
    return 1;
}
