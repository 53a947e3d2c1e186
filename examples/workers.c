/* workers: four threads with a selector each and one listener for all; the answer says who it was.
   Run:  cc examples/workers.c -o workers -pthread && ./workers [PORT]
   Talk: curl http://127.0.0.1:8080/ or, many at once, curl -Z 'http://127.0.0.1:8080/[1-50]' */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORKERS = 4 };
static asocket_selector *selectors[WORKERS];

static void answer(asocket_selector *selector, void *client)
{
    asocket_read_channel *in = asocket_open_read_channel((asocket *)client);
    asocket_write_channel *out = asocket_open_write_channel((asocket *)client, ASOCKET_AUTO_FLUSH);
    char line[1024];
    int worker = 0;

    asocket_set_timeout((asocket *)client, 10000);
    while (asocket_read_line(in, line, sizeof line) > 0) {
    }
    while (selectors[worker] != selector)
        worker++;
    asocket_printf(out, "HTTP/1.0 200 OK\r\n\r\nworker %d\n", worker);
}

static void serve(asocket_selector *selector, void *server)
{
    asocket_serve((asocket *)server, answer);
    fprintf(stderr, "%s\n", asocket_error_message(selector));
}

static void *work(void *selector)
{
    asocket_sleep((asocket_selector *)selector, ASOCKET_FOREVER); /* what arrives runs meanwhile */
    return NULL;
}

int main(int argc, char **argv)
{
    int port = argc > 1 ? atoi(argv[1]) : 8080, i;
    asocket *server;
    asocket_address address;
    pthread_t thread;

    for (i = 0; i < WORKERS; i++)
        selectors[i] = asocket_selector_create(NULL);
    server = asocket_bind(asocket_tcp(selectors[0]), "127.0.0.1", port);
    for (i = 1; server && i < WORKERS; i++)
        if (!asocket_share(server, selectors[i], serve))
            pthread_create(&thread, NULL, work, selectors[i]);
    if (server && asocket_local_address(server, &address) >= 0) {
        fprintf(stderr, "Listening on 127.0.0.1:%d\n", address.port);
        asocket_serve(server, answer);
    }
    fprintf(stderr, "%s\n", asocket_error_message(selectors[0]));
    return 1;
}
