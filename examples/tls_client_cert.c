// tls_client_cert.c - shows a certificate of its own to a server that asks for one.
// tls_client_cert host port roots.pem certificate.pem key.pem
// cc examples/tls_client_cert.c -lbearssl
#define ASOCKET_IMPLEMENTATION
#define ASOCKET_TLS_IMPLEMENTATION
#include "../asocket_tls.h"
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket_tls_options options = {0};
    asocket_tls_failure failure;
    asocket *secure;
    asocket_read_channel *in;
    asocket_write_channel *out;
    char line[1000];

    if (argc < 6) {
        fprintf(stderr, "tls_client_cert host port roots.pem certificate.pem key.pem\n");
        return 2;
    }
    options.trust = asocket_tls_trust_create();
    if (asocket_tls_trust_add_file(options.trust, argv[3]) < 0)
        fprintf(stderr, "%s\n", asocket_tls_trust_message(options.trust));
    options.identity = asocket_tls_identity_load(argv[4], argv[5], &failure);
    if (!options.identity)
        fprintf(stderr, "%s\n", failure.sentence);
    secure = asocket_tls(asocket_connect(asocket_tcp(selector), argv[1], atoi(argv[2])), &options);
    in = asocket_open_read_channel(secure);
    out = asocket_open_write_channel(secure, ASOCKET_AUTO_FLUSH);
    asocket_printf(out, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", argv[1]);
    while (asocket_read_line(in, line, sizeof line) >= 0)
        puts(line);
    if (asocket_error(selector) != ASOCKET_EOF)
        fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_tls_identity_release(options.identity);
    asocket_tls_trust_release(options.trust);
    asocket_selector_destroy(selector);
    return secure == NULL;
}
