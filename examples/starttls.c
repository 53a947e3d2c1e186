// starttls.c - asks a mail server what it can do, first in plain text, then in private.
// starttls host port [roots.pem]
// cc examples/starttls.c -lbearssl
#define ASOCKET_IMPLEMENTATION
#define ASOCKET_TLS_IMPLEMENTATION
#include "../asocket_tls.h"
#include <stdio.h>
#include <stdlib.h>

// A command and its answer: its code, or 0 if there was none. The last line has "250 ", others "250-".
static int ask(asocket_read_channel *in, asocket_write_channel *out, const char *command)
{
    char line[1000];

    if (*command)
        asocket_printf(out, "%s\r\n", command);
    asocket_flush(out);
    while (asocket_read_line(in, line, sizeof line) >= 4) {
        printf("%s\n", line);
        if (line[3] == ' ')
            return atoi(line);
    }
    return 0;
}

int main(int argc, char **argv)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket_tls_options options = {0};
    asocket *socket = asocket_connect(asocket_tcp(selector), argc > 1 ? argv[1] : "localhost",
                                      argc > 2 ? atoi(argv[2]) : 25);
    asocket_read_channel *in = asocket_open_read_channel(socket);
    asocket_write_channel *out = asocket_open_write_channel(socket, 0);
    int answer = 0;

    if (argc > 3) {
        options.trust = asocket_tls_trust_create();
        asocket_tls_trust_add_file(options.trust, argv[3]);
    }
    if (ask(in, out, "") == 220 && ask(in, out, "EHLO client.example") == 250 &&
        ask(in, out, "STARTTLS") == 220) {
        asocket *secure = asocket_tls(socket, &options);

        in = asocket_open_read_channel(secure);
        out = asocket_open_write_channel(secure, 0);
        printf("--- in private\n");
        if (ask(in, out, "EHLO client.example") == 250)
            answer = ask(in, out, "QUIT");
    }
    if (answer != 221)
        fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_tls_trust_release(options.trust);
    asocket_selector_destroy(selector);
    return answer != 221;
}
