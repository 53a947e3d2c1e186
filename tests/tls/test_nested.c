/* test_nested.c - TLS inside of TLS, as through an HTTPS proxy: the inner handshake, lines, more than
   a record, and the end. Both servers are BearSSL's, in coroutines. */
#include "private_tls.h"
#include "server.h"

static asocket_selector *selector;
static server *behind;
static char sent[60000];

/* Whether a byte comes within a millisecond; *over: none comes any more. */
static bool comes(asocket_read_channel *in, asocket *socket, bool *over)
{
    const char *bytes;
    ptrdiff_t count;

    asocket_set_timeout(socket, 1);
    count = asocket_peek(in, &bytes, 1);
    asocket_set_timeout(socket, 10000);
    *over = *over || (count < 0 && count != ASOCKET_ETIMEDOUT);
    return count > 0;
}

/* What the proxy does once its own handshake is over: it passes on what it hears and does not
   understand. */
static void talk_relay(server *s)
{
    static char bytes[16384];
    asocket *there = asocket_connect(asocket_tcp(selector), "127.0.0.1", behind->port);
    asocket_read_channel *in = asocket_open_read_channel(there);
    asocket_write_channel *out = asocket_open_write_channel(there, 0);
    bool finished = false, over = false;

    while (!over && !finished) {
        if (comes(s->in, s->socket, &finished)) {
            size_t count = server_hear(s, bytes, sizeof bytes);

            asocket_write(out, bytes, count);
            finished = !count || asocket_flush(out) < 0;
        }
        if (comes(in, there, &over)) {
            ptrdiff_t count = asocket_read(in, bytes, sizeof bytes);

            server_record(s, 23, bytes, (size_t)count);
            (void)asocket_flush(s->out);
        }
    }
    asocket_close(there);
}

/* What the server behind does: it echoes all that the client is going to say, then ends. */
static void talk_to_the_end(server *s)
{
    static char bytes[16384];
    size_t left = 7 + sizeof sent, count;

    while (left && (count = server_hear(s, bytes, sizeof bytes)) > 0) {
        (void)server_say(s, bytes, count);
        left -= count;
    }
    server_bye(s);
    is_int(server_hear(s, bytes, sizeof bytes), 0, "the server behind hears no more");
    s->over = true;
}

static void client(asocket_selector *its, void *argument)
{
    static char received[sizeof sent];
    server *s = (server *)argument;
    asocket_tls_options options = server_options(s), inner = server_options(behind);
    asocket *secure;
    asocket_read_channel *in;
    asocket_write_channel *out;
    asocket_tls_details details;
    size_t i;

    (void)its;
    for (i = 0; i < sizeof sent; i++)
        sent[i] = (char)(i * 7 + i / 255);
    secure = asocket_tls(asocket_connect(asocket_tcp(selector), "127.0.0.1", s->port), &options);
    secure = asocket_tls(secure, &inner);
    ok(secure != NULL, "TLS inside of TLS: %s", asocket_error_message(selector));
    asocket_set_timeout(secure, 20000);
    in = asocket_open_read_channel(secure);
    out = asocket_open_write_channel(secure, ASOCKET_AUTO_FLUSH);
    ok(asocket_tls_info(secure, &details) == 0 &&
           details.certificate.size == behind->own.chain[0].data_len,
       "... is that of the server behind");
    asocket_write_string(out, "a line\n");
    is_int(asocket_read_line(in, received, sizeof received), 6, "a line there and back");
    is_int(asocket_write(out, sent, sizeof sent), sizeof sent, "more than a record there");
    is_int(asocket_read_full(in, received, sizeof received), sizeof sent, "... and back");
    ok(!memcmp(sent, received, sizeof sent), "... as it was");
    is_status(asocket_read(in, received, 1), ASOCKET_EOF, "P1: the end is the inner one's");
    asocket_close(secure);
}

static void through_a_proxy(bool inside)
{
    server *s = server_open(selector, "plain");

    behind = server_open(selector, "key_rsa");
    s->talk = talk_relay;
    behind->talk = talk_to_the_end;
    asocket_launch(selector, server_serve, s);
    asocket_launch(selector, server_serve, behind);
    if (inside)
        asocket_launch(selector, client, s);
    else
        client(selector, s);
    asocket_join_all(selector);
    ok(behind->clean && !behind->error, "... and gets close_notify");
    server_close(s);
    server_close(behind);
}

/* The outer TLS fails: its reason is that of the inner one. */
static void talk_failing(server *s)
{
    char byte;

    if (behind) /* ... which is over its handshake */
        talk_relay(s);
    else
        (void)server_hear(s, &byte, 1);
    server_record(s, 21, "\2\120", 2);
    (void)asocket_flush(s->out);
    server_stall(s);
}

static void talk_a_line(server *s)
{
    (void)server_say(s, "a line\n", 7);
    s->over = true;
}

static void the_proxy_fails(bool later)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket_tls_failure failure;
    asocket *secure;
    asocket_read_channel *in;
    char line[10];

    behind = later ? server_open(selector, "plain") : NULL;
    s->talk = talk_failing;
    asocket_launch(selector, server_serve, s);
    secure = asocket_tls(asocket_connect(asocket_tcp(selector), "127.0.0.1", s->port), &options);
    ok(secure != NULL, "the outer one: %s", asocket_error_message(selector));
    if (later) {
        behind->talk = talk_a_line;
        options.trust = behind->trust;
        asocket_launch(selector, server_serve, behind);
    }
    secure = asocket_tls(secure, &options);
    ok((secure != NULL) == later, "the inner one: %s", asocket_error_message(selector));
    if (later) {
        in = asocket_open_read_channel(secure);
        is_int(asocket_read_line(in, line, sizeof line), 6, "a line");
        is_status(asocket_read(in, line, 1), ASOCKET_ETLS, "P15: an alert of the proxy's");
    }
    asocket_tls_error(selector, &failure);
    is_int(failure.reason, ASOCKET_TLS_IO, "... is no end");
    ok(strstr(failure.sentence, "internal_error") != NULL, "... but: %s", failure.sentence);
    asocket_close(secure);
    asocket_join_all(selector);
    server_close(s);
    if (later)
        server_close(behind);
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    through_a_proxy(false);
    through_a_proxy(true);
    the_proxy_fails(false);
    the_proxy_fails(true);
    return test_end(selector);
}
