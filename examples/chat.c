/* chat: one room, a coroutine per member; nobody waits for a slow reader, who misses lines instead.
   Run:  cc examples/chat.c -o chat && ./chat [PORT]
   Talk: telnet 127.0.0.1 2324 or nc 127.0.0.1 2324, in several terminals */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <stdio.h>
#include <stdlib.h>

enum { SEATS = 1000 };
static asocket_write_channel *room[SEATS];

static void tell_others(asocket_selector *selector, int speaker, const char *name, const char *line)
{
    int64_t former = asocket_set_deadline(selector, 0); /* already over: a full channel refuses */

    for (int seat = 0; seat < SEATS; seat++)
        if (room[seat] && seat != speaker)
            asocket_printf(room[seat], "%s%s\n", name, line); /* all of it or nothing */
    asocket_restore_deadline(selector, former);
}

static void chat(asocket_selector *selector, void *member)
{
    asocket_read_channel *in = asocket_open_read_channel((asocket *)member);
    asocket_write_channel *out = asocket_open_write_channel((asocket *)member, ASOCKET_AUTO_FLUSH);
    char name[32] = "", line[512] = ": ";
    ptrdiff_t length;
    int seat = 0;

    asocket_write_string(out, "Please enter your name\n");
    length = asocket_read_line(in, name, sizeof name);
    while (seat < SEATS - 1 && room[seat])
        seat++;
    if (length >= 0 && !room[seat]) {
        room[seat] = out;
        tell_others(selector, seat, name, " joined");
        while ((length = asocket_read_line(in, line + 2, sizeof line - 2)) >= 0)
            tell_others(selector, seat, name, line);
        room[seat] = NULL;
        tell_others(selector, seat, name, " left");
    }
    fprintf(stderr, "%s left: %s\n", name, length < 0 ? asocket_strerror((int)length) : "no seat");
}

int main(int argc, char **argv)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    int port = argc > 1 ? atoi(argv[1]) : 2324;
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", port);
    asocket_address address;

    if (server && asocket_local_address(server, &address) >= 0) {
        fprintf(stderr, "Listening on 127.0.0.1:%d\n", address.port);
        asocket_serve(server, chat);
    }
    fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_selector_destroy(selector);
    return 1;
}
