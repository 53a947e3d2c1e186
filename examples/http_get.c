/* http_get: prints what a web server answers. The name is looked up, all its addresses are tried.
   Run:  cc examples/http_get.c -o http_get -pthread && ./http_get localhost:8080 /
   Talk: HOST[:PORT] PATH; examples/http_hello.c is a server for it */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static asocket *connect_to(asocket_selector *selector, char *host)
{
    asocket_builder tcp = asocket_tcp(selector);
    char *colon = strrchr(host, ':');

    tcp.connect_timeout = 10000; /* of the name and the connection together */
    tcp.timeout = 30000;
    if (colon)
        *colon = 0;
    return asocket_connect(tcp, host, colon ? atoi(colon + 1) : 80);
}

/* The status, or why there is none; the lines up to the empty one are read. */
static int read_head(asocket_read_channel *in)
{
    char line[8192];
    int answer = 0;
    ptrdiff_t length = asocket_read_line(in, line, sizeof line);

    if (length < 0)
        return (int)length;
    sscanf(line, "HTTP/%*s %d", &answer);
    while ((length = asocket_read_line(in, line, sizeof line)) > 0) {
    }
    return length < 0 ? (int)length : answer;
}

int main(int argc, char **argv)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket *socket = argc == 3 ? connect_to(selector, argv[1]) : NULL;
    asocket_read_channel *in = asocket_open_read_channel(socket);
    asocket_write_channel *out = asocket_open_write_channel(socket, ASOCKET_AUTO_FLUSH);
    char bytes[16384];
    ptrdiff_t count = 0;
    int answer = -1;

    if (socket && asocket_printf(out, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", argv[2], argv[1]) > 0)
        answer = read_head(in);
    while (answer > 0 && (count = asocket_read(in, bytes, sizeof bytes)) > 0)
        fwrite(bytes, 1, (size_t)count, stdout);
    if (argc != 3)
        fprintf(stderr, "http_get HOST[:PORT] PATH\n");
    else if (answer < 0 || count != ASOCKET_EOF)
        fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_selector_destroy(selector);
    return answer == 200 && count == ASOCKET_EOF ? 0 : 1;
}
