/* http_hello: HTTP/1 with keep-alive, pipelining, request bodies and a deadline for each request.
   Run:  cc -O2 examples/http_hello.c -o http_hello && ./http_hello [PORT]
   Talk: curl -v http://127.0.0.1:8080/ or wrk -c 100 -d 5 http://127.0.0.1:8080/ */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void answer(asocket_selector *selector, void *client)
{
    asocket_read_channel *in = asocket_open_read_channel((asocket *)client);
    asocket_write_channel *out = asocket_open_write_channel((asocket *)client, ASOCKET_AUTO_FLUSH);
    ptrdiff_t status;
    bool valid, last = false;

    do {
        int64_t former = asocket_set_deadline(selector, 30000);
        char line[4096], method[16] = "";
        long long body = 0, minor = 0;

        status = asocket_read_line(in, line, sizeof line);
        valid = status > 0 && sscanf(line, "%15s %*s HTTP/1.%1lld", method, &minor) == 2;
        while (status > 0 && (status = asocket_read_line(in, line, sizeof line)) > 0) {
            for (char *c = line; *c; c++)
                *c = (char)tolower((unsigned char)*c);
            sscanf(line, "content-length: %18lld", &body);
            valid = valid && body >= 0 && strncmp(line, "transfer-encoding:", 18) != 0;
            last = last || (strncmp(line, "connection:", 11) == 0 && strstr(line, "close"));
        }
        last = last || !valid || minor == 0;
        body = valid ? body : 0;
        if (status == 0 && (status = asocket_discard(in, (size_t)body)) == body)
            status = asocket_printf(out, "HTTP/1.1 %s\r\nContent-Length: 14\r\n%s\r\n%s",
                                    valid ? "200 OK" : "400 Bad Request",
                                    last ? "Connection: close\r\n" : "",
                                    strcmp(method, "HEAD") ? "Hello, World!\n" : "");
        asocket_restore_deadline(selector, former);
    } while (status >= 0 && !last);
    if (status < 0 && status != ASOCKET_EOF)
        fprintf(stderr, "%s\n", asocket_error_message(selector));
}

int main(int argc, char **argv)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    int port = argc > 1 ? atoi(argv[1]) : 8080;
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", port);
    asocket_address address;

    if (server && asocket_local_address(server, &address) >= 0) {
        fprintf(stderr, "Listening on 127.0.0.1:%d\n", address.port);
        asocket_serve(server, answer);
    }
    fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_selector_destroy(selector);
    return 1;
}
