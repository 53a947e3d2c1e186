/* hand_over: one thread accepts, two others talk, by turns; Ctrl-C ends all three.
   Run:  cc examples/hand_over.c -o hand_over -pthread && ./hand_over [PORT]
   Talk: telnet 127.0.0.1 2326 or nc 127.0.0.1 2326, several times */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static asocket_selector *acceptor, *workers[2];

static void echo(asocket_selector *selector, void *client)
{
    asocket_read_channel *in = asocket_open_read_channel((asocket *)client);
    asocket_write_channel *out = asocket_open_write_channel((asocket *)client, ASOCKET_AUTO_FLUSH);
    char line[1024];

    while (asocket_read_line(in, line, sizeof line) >= 0)
        asocket_printf(out, "%d: %s\n", selector == workers[1], line);
}

static void *work(void *selector)
{
    asocket_sleep((asocket_selector *)selector, ASOCKET_FOREVER); /* what arrives runs meanwhile */
    return NULL;
}

static void interrupted(int number)
{
    (void)number;
    asocket_stop(acceptor);
}

int main(int argc, char **argv)
{
    int port = argc > 1 ? atoi(argv[1]) : 2326, status, i;
    pthread_t threads[2];
    asocket *server, *client;
    asocket_address address;

    acceptor = asocket_selector_create(NULL);
    signal(SIGINT, interrupted);
    for (i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, work, workers[i] = asocket_selector_create(NULL));
    server = asocket_bind(asocket_tcp(acceptor), "127.0.0.1", port);
    if (server && asocket_local_address(server, &address) >= 0)
        fprintf(stderr, "Listening on 127.0.0.1:%d\n", address.port);
    for (i = 0; (client = asocket_accept(server)) != NULL; asocket_close(client), i = !i)
        asocket_hand_over(client, workers[i], echo); /* if that fails, the close has work to do */
    if ((status = asocket_error(acceptor)) != ASOCKET_ECANCELED) /* that is asocket_stop */
        fprintf(stderr, "%s\n", asocket_error_message(acceptor));
    for (i = 0; i < 2; i++) { /* destroyed here: asocket_stop must have returned before */
        asocket_stop(workers[i]), pthread_join(threads[i], NULL);
        asocket_selector_destroy(workers[i]);
    }
    asocket_selector_destroy(acceptor);
    return status != ASOCKET_ECANCELED;
}
