// tls_pin.c - talks to a device whose certificate nobody signed: what counts is its key.
// tls_pin host port pin   (64 hexadecimal digits; any wrong one makes it tell the right one)
// cc examples/tls_pin.c -lbearssl
#define ASOCKET_IMPLEMENTATION
#define ASOCKET_TLS_IMPLEMENTATION
#include "../asocket_tls.h"
#include <stdio.h>
#include <stdlib.h>

static void read_pin(const char *text, uint8_t pin[32])
{
    unsigned byte;
    int i;

    for (i = 0; i < 32 && sscanf(text + 2 * i, "%2x", &byte) == 1; i++)
        pin[i] = (uint8_t)byte;
}

int main(int argc, char **argv)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket_tls_options options = {0};
    asocket *secure;
    asocket_read_channel *in;
    asocket_write_channel *out;
    uint8_t pin[1][32] = {{0}};
    char line[1000];

    if (argc < 4) {
        fprintf(stderr, "tls_pin host port pin\n");
        return 2;
    }
    read_pin(argv[3], pin[0]);
    options.pins = (const uint8_t(*)[32])pin;
    options.pin_count = 1;
    options.pin_only = true; // no chain, no name, no dates: this key, or none
    secure = asocket_tls(asocket_connect(asocket_tcp(selector), argv[1], atoi(argv[2])), &options);
    in = asocket_open_read_channel(secure);
    out = asocket_open_write_channel(secure, ASOCKET_AUTO_FLUSH);
    asocket_write_string(out, "GET / HTTP/1.0\r\n\r\n");
    while (asocket_read_line(in, line, sizeof line) >= 0)
        puts(line);
    if (asocket_error(selector) != ASOCKET_EOF)
        fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_selector_destroy(selector);
    return secure == NULL;
}
