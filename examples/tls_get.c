// tls_get.c - fetches a page over HTTPS, verified: tls_get host [port [path [roots.pem]]]
// cc examples/tls_get.c -lbearssl
#define ASOCKET_IMPLEMENTATION
#define ASOCKET_TLS_IMPLEMENTATION
#include "../asocket_tls.h"
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    const char *host = argc > 1 ? argv[1] : "example.org";
    int port = argc > 2 ? atoi(argv[2]) : 443;
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket_tls_options options = {0};
    asocket_tls_details details;
    asocket *secure;
    asocket_read_channel *in;
    asocket_write_channel *out;
    char bytes[4096];
    ptrdiff_t count;

    if (argc > 4) {
        options.trust = asocket_tls_trust_create();
        if (asocket_tls_trust_add_file(options.trust, argv[4]) < 0)
            fprintf(stderr, "%s\n", asocket_tls_trust_message(options.trust));
    }
    secure = asocket_tls(asocket_connect(asocket_tcp(selector), host, port), &options);
    in = asocket_open_read_channel(secure);
    out = asocket_open_write_channel(secure, ASOCKET_AUTO_FLUSH);
    if (asocket_tls_info(secure, &details) == 0)
        fprintf(stderr, "%s, %s\n", details.version, details.suite_name);
    asocket_printf(out, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                   argc > 3 ? argv[3] : "/", host);
    while ((count = asocket_read(in, bytes, sizeof bytes)) > 0)
        fwrite(bytes, 1, (size_t)count, stdout);
    if (count != ASOCKET_EOF)
        fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_tls_trust_release(options.trust);
    asocket_selector_destroy(selector);
    return count != ASOCKET_EOF;
}
