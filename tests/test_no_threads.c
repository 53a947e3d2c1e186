/* A library without threads: names are looked up in place. The resolver is ours (names.h). */
#define ASOCKET_NO_THREADS
#include "names.h"

static const names_entry known[] = {{"two.example", 0, 0, "2001:db8::1 192.0.2.2"},
                                    {"here.example", 0, 0, "127.0.0.1"},
                                    {"again.example", EAI_AGAIN, 0, NULL},
                                    {NULL, 0, 0, NULL}};

static asocket_selector *selector;

static void ask(asocket_selector *owner, void *status)
{
    asocket_address found[4];

    *(int *)status = asocket_resolve(owner, "two.example", 80, found, 4);
}

static void names_are_looked_up(void)
{
    asocket_address found[4];
    int first = 0, second = 0;

    memset(found, 0, sizeof found);
    is_int(asocket_resolve(selector, "two.example", 80, found, 4), 2, "a name is looked up");
    ok(found[0].ip.family == 6 && found[0].port == 80, "with its addresses, and the port");
    is_status(asocket_resolve(selector, "again.example", 80, found, 4), ASOCKET_EUNREACHABLE,
              "errors are told");
    is_status(asocket_resolve(selector, "unknown.example", 80, found, 4), ASOCKET_ENOTFOUND,
              "unknown names too");
    is_int(names_calls(), 3, "one call of the system for each,");
    is_int(asocket_resolve(selector, "localhost", 80, found, 4), 2, "none for localhost");
    is_int(names_calls(), 3, "which is known");
    asocket_launch(selector, ask, &first);
    asocket_launch(selector, ask, &second);
    asocket_run(selector);
    ok(first == 2 && second == 2, "coroutines look up one after the other");
    is_int(names_blocks(), 0, "without memory of its own");
    is_int(names_lists(), 0, "the system's lists are freed");
}

static void names_are_connected_to(void)
{
    int port = 0, listener = test_peer_listen(&port);
    asocket *socket = asocket_connect(asocket_tcp(selector), "here.example", port);

    ok(socket != NULL, "a name is connected to");
    asocket_close(socket);
    close(listener);
    ok(!asocket_connect(asocket_tcp(selector), "unknown.example", port), "an unknown one is not");
    is_str(asocket_error_message(selector), "connect unknown.example: not found",
           "and the message names it");
}

int main(int argc, char **argv)
{
    int result;

    resolver.entries = known;
    selector = test_selector(argc, argv);
    names_are_looked_up();
    names_are_connected_to();
    is_int(resolver.threads, 0, "P6: no thread was made");
    result = test_end(selector);
    names_over();
    return result;
}
