/* planted.c - a little of everything that the completion port does, for windows.t: built with a
   header in which something was left out, it must not escape the strictness. */
#include "test.h"

static asocket_selector *selector;
static asocket *server, *accepted;
static int port;

static void accept_one(asocket_selector *owner, void *argument)
{
    (void)owner, (void)argument;
    accepted = asocket_accept(server);
}

/* Both ends are the library's; the accept waits before the connection comes. */
static asocket *connection(const char *host)
{
    asocket_builder tcp = asocket_tcp(selector);
    asocket *socket;

    tcp.send_buffer = 8192;
    asocket_launch(selector, accept_one, NULL);
    asocket_sleep(selector, 5);
    socket = asocket_connect(tcp, host, port);
    asocket_join_all(selector);
    return socket;
}

static void read_on(asocket_selector *owner, void *argument)
{
    static char bytes[65536];

    (void)owner;
    while (asocket_read((asocket_read_channel *)argument, bytes, sizeof bytes) > 0) {
    }
}

static void write_much(asocket_selector *owner, void *argument)
{
    static char bytes[3000];
    int i;

    (void)owner;
    for (i = 0; i < 200; i++) {
        memset(bytes, i, sizeof bytes);
        if (asocket_write((asocket_write_channel *)argument, bytes, sizeof bytes) < 0)
            return;
    }
}

static void a_talk(void)
{
    asocket *socket = connection("127.0.0.1");
    asocket_write_channel *out = asocket_open_write_channel(socket, ASOCKET_AUTO_FLUSH);
    asocket_read_channel *in = asocket_open_read_channel(accepted);
    char text[16] = "";

    asocket_write_string(out, "hello\n");
    asocket_read_line(in, text, sizeof text);
    is_str(text, "hello", "a line arrives");
    is_status(asocket_finish(out), ASOCKET_OK, "a stream ends");
    asocket_close(accepted);
    asocket_close(socket);
    asocket_await_closed(socket);
}

static void an_abort_while_somebody_reads(void)
{
    asocket *socket = connection("127.0.0.1");

    asocket_launch(selector, read_on, asocket_open_read_channel(socket));
    asocket_sleep(selector, 5);
    asocket_abort(socket);
    asocket_abort(accepted);
    asocket_join_all(selector);
}

static void an_abort_while_the_kernel_sends(void)
{
    asocket *socket = connection("127.0.0.1");

    asocket_launch(selector, write_much, asocket_open_write_channel(socket, 0));
    asocket_sleep(selector, 50);
    asocket_abort(socket);
    asocket_join_all(selector);
    asocket_sleep(selector, 20);
    asocket_abort(accepted);
}

static void a_close_while_the_kernel_sends(void)
{
    asocket *socket = connection("127.0.0.1");

    asocket_launch(selector, write_much, asocket_open_write_channel(socket, 0));
    asocket_sleep(selector, 50);
    asocket_launch(selector, read_on, asocket_open_read_channel(accepted));
    asocket_sleep(selector, 1);
    asocket_close(socket);
    asocket_join_all(selector);
    asocket_close(accepted);
    asocket_await_closed(socket);
}

int main(int argc, char **argv)
{
    asocket_address address;
    asocket_builder tcp;
    asocket *udp, *peer;
    char byte;

    selector = test_selector(argc, argv);
    tcp = asocket_tcp(selector);
    tcp.receive_buffer = 8192;
    tcp.timeout = 3000;
    server = asocket_bind(tcp, "127.0.0.1", 0);
    asocket_local_address(server, &address);
    port = address.port;
    a_talk();
    an_abort_while_somebody_reads();
    a_close_while_the_kernel_sends();
    an_abort_while_the_kernel_sends();
    asocket_abort(connection("0.0.0.0"));
    asocket_abort(accepted);
    udp = asocket_bind(asocket_udp(selector), "127.0.0.1", 0);
    asocket_local_address(udp, &address);
    peer = asocket_connect_address(asocket_udp(selector), &address);
    asocket_send_to(peer, "x", 1, NULL);
    is_int(asocket_receive_from(udp, &byte, 1, NULL), 1, "a datagram arrives");
    return test_end(selector);
}
