/* goodbye: echoes lines, and says why it hangs up: on who is idle for a minute (or MS), takes 5 s to
   finish a line, writes too long ones, or is still there when Ctrl-C stops the server.
   Run:  cc examples/goodbye.c -o goodbye && ./goodbye [PORT [MS]]
   Talk: telnet 127.0.0.1 2325 or nc 127.0.0.1 2325 */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static asocket_selector *running; /* what the signal handler stops */
static int idle;

static void echo(asocket_selector *selector, void *client)
{
    asocket_read_channel *in = asocket_open_read_channel((asocket *)client);
    asocket_write_channel *out = asocket_open_write_channel((asocket *)client, ASOCKET_AUTO_FLUSH);
    const char *bytes;
    char line[256];
    ptrdiff_t status;

    asocket_set_timeout((asocket *)client, idle);
    while ((status = asocket_peek(in, &bytes, 1)) >= 0) { /* idle until a line begins */
        int64_t former = asocket_set_deadline(selector, 5000);

        status = asocket_read_line(in, line, sizeof line);
        asocket_restore_deadline(selector, former);
        if (status < 0 || (status = asocket_printf(out, "%s\n", line)) < 0)
            break;
    }
    if (status != ASOCKET_EOF) /* timed out, too long, or cancelled */
        asocket_printf(out, "Goodbye: %s\n", asocket_strerror((int)status));
}

static void interrupted(int number)
{
    (void)number;
    asocket_stop(running);
}

int main(int argc, char **argv)
{
    int port = argc > 1 ? atoi(argv[1]) : 2325, status = -1;
    asocket *server =
        asocket_bind(asocket_tcp(running = asocket_selector_create(NULL)), "127.0.0.1", port);
    asocket_address address;

    idle = argc > 2 ? atoi(argv[2]) : 60000;
    signal(SIGINT, interrupted);
    if (server && asocket_local_address(server, &address) >= 0) {
        fprintf(stderr, "Listening on 127.0.0.1:%d\n", address.port);
        status = asocket_serve(server, echo);
    }
    if (status != ASOCKET_ECANCELED) /* that is asocket_stop */
        fprintf(stderr, "%s\n", asocket_error_message(running));
    signal(SIGINT, SIG_DFL);           /* a second one does not wait */
    asocket_selector_destroy(running); /* cancels the coroutines, sends what they still say */
    return status != ASOCKET_ECANCELED;
}
