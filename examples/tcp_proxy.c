/* tcp_proxy: forwards connections, both directions at once, each until its own end.
   Run:  cc examples/tcp_proxy.c -o tcp_proxy && ./tcp_proxy 8000 127.0.0.1 8080
   Talk: curl http://127.0.0.1:8000/ with examples/http_hello.c behind it */
#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"
#include <stdio.h>
#include <stdlib.h>

static const char *target_host;
static int target_port;

static void forward(asocket_selector *selector, void *argument)
{
    asocket *from = ((asocket **)argument)[0], *to = ((asocket **)argument)[1];
    asocket_write_channel *out = asocket_open_write_channel(to, 0);
    int64_t status = asocket_copy(asocket_open_read_channel(from), out, ASOCKET_FOREVER);

    if (status >= 0)
        status = asocket_finish(out); /* pass the half-close on: an answer may still come */
    if (status >= 0)
        return;
    if (status != ASOCKET_ECLOSED) /* the first to fail says why, and ends both directions */
        fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_abort(from);
    asocket_abort(to);
}

static void proxy(asocket_selector *selector, void *argument)
{
    asocket *client = (asocket *)argument;
    asocket *target = asocket_connect(asocket_tcp(selector), target_host, target_port);
    asocket *request[] = {client, target}, *answer[] = {target, client};

    if (!target || !asocket_launch(selector, forward, request))
        fprintf(stderr, "%s\n", asocket_error_message(selector));
    else
        forward(selector, answer);
    asocket_join_all(selector);
    asocket_close(target);
}

int main(int argc, char **argv)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    int port = argc > 1 ? atoi(argv[1]) : 8000;
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", port);
    asocket_address address;

    target_host = argc > 2 ? argv[2] : "127.0.0.1";
    target_port = argc > 3 ? atoi(argv[3]) : 8080;
    if (server && asocket_local_address(server, &address) >= 0) {
        fprintf(stderr, "Listening on 127.0.0.1:%d\n", address.port);
        asocket_serve(server, proxy);
    }
    fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_selector_destroy(selector);
    return 1;
}
