/* test_hostile.c - a server, or somebody on the way to it, that cuts, flips, repeats, leaves out,
   stalls and resets at every byte of what it sends; and the client's own waits, ended at each of
   them. Whatever happens, what is taken for good is what was sent, to its end.

   Every byte is tried with TEST_THOROUGH=1, every so many without. */
#define TAP_SECONDS 900
#include "private_tls.h"
#include "server.h"

static asocket_selector *selector;

static const char message[] = "one line and no more\n";

static void talk_once(server *s)
{
    (void)server_say(s, message, sizeof message - 1);
}

enum { NOTHING, LINE, END }; /* how far a client came */

/* One connection: how far it came, and the status that ended it. */
static int attempt(server *s, const asocket_tls_options *options, int *status)
{
    asocket *secure = server_connect(s, options);
    asocket_read_channel *in = asocket_open_read_channel(secure);
    char line[100];
    int far = NOTHING;
    ptrdiff_t count;

    if (secure) {
        asocket_set_timeout(secure, s->mischief == HONEST || s->mischief == DRIBBLE ? 5000 : 20);
        count = asocket_read_line(in, line, sizeof line);
        if (count >= 0 && strcmp(line, "one line and no more") == 0) {
            far = LINE;
            count = asocket_read(in, line, 1);
        }
        if (count >= 0)
            far = 99; /* something was received that was never sent */
        else if (count == ASOCKET_EOF && far == LINE)
            far = END;
    }
    *status = asocket_error(selector);
    asocket_abort(secure);
    asocket_join_all(selector);
    return far;
}

static size_t stride(size_t usual)
{
    return getenv("TEST_THOROUGH") ? 1 : usual * (size_t)test_slowness();
}

/* How many bytes an honest server sends in all, up to its close_notify. */
static size_t whole(server *s, const asocket_tls_options *options)
{
    int status, far = attempt(s, options, &status);

    ok(far == END, "without mischief there is an end: %s", asocket_error_message(selector));
    is_status(status, ASOCKET_EOF, "... of the stream");
    return s->sent;
}

static void at_every_byte(enum mischief mischief, const char *what, size_t usual)
{
    server *s = server_open(selector, "key_rsa"); /* whose signatures are all of one length */
    asocket_tls_options options = server_options(s);
    size_t total, at, tried = 0, accepted = 0, wrong = 0;
    int status;

    s->talk = talk_once;
    total = whole(s, &options) - (mischief == REPEAT); /* what follows the end does no harm */
    options.handshake_timeout = 50 * test_slowness();  /* what waits for a byte that is lost */
    s->mischief = mischief;
    for (at = (size_t)mischief % stride(usual); at < total; at += stride(usual)) {
        int far;

        s->at = at;
        far = attempt(s, &options, &status);
        tried++;
        accepted += far == END;
        wrong += far == 99;
        if (far == END || far == 99)
            diag("%s at byte %d of %d: %s", what, (int)at, (int)total,
                 far == END ? "accepted" : "bytes that were never sent");
    }
    is_int(accepted, 0, "P15: %s at %d of %d bytes is never taken for the whole", what, (int)tried,
           (int)total);
    is_int(wrong, 0, "... nor for anything that was not sent");
    server_close(s);
}

static void however_it_is_split(void)
{
    server *s = server_open(selector, "three");
    asocket_tls_options options = server_options(s);
    int status;

    s->talk = talk_once;
    s->one_byte_records = true;
    ok(attempt(s, &options, &status) == END, "a handshake in records of one byte: %s",
       asocket_error_message(selector));
    s->mischief = DRIBBLE;
    ok(attempt(s, &options, &status) == END, "... each of its bytes in a packet of its own");
    s->one_byte_records = false;
    ok(attempt(s, &options, &status) == END, "whole records, byte by byte");
    server_close(s);
}

/* --- waits of the client, ended -------------------------------------------------------------- */

typedef struct client {
    server *s;
    asocket_tls_options options;
    asocket *socket, *secure;
    int status, read_status;
    bool over;
} client;

static void client_run(asocket_selector *unused, void *argument)
{
    client *c = (client *)argument;
    char byte;

    (void)unused;
    c->secure = asocket_tls(c->socket, &c->options);
    c->status = c->secure ? 0 : asocket_error(selector);
    if (c->secure)
        c->read_status = (int)asocket_read_full(asocket_open_read_channel(c->secure), &byte, 1);
    asocket_close(c->secure);
    c->over = true;
}

enum { CANCEL, CLOSE_BELOW, ABORT_BELOW, DEADLINE, WAYS };

static int end_one(server *s, int way)
{
    asocket_tls_failure failure;
    client c;
    asocket_job job;
    int i;

    memset(&c, 0, sizeof c);
    c.s = s;
    c.options = server_options(s);
    if (way == DEADLINE)
        c.options.handshake_timeout = 1;
    asocket_launch(selector, server_serve, s);
    c.socket = asocket_connect(asocket_tcp(selector), "127.0.0.1", s->port);
    job = asocket_launch(selector, client_run, &c);
    for (i = 0; i < 2000 && s->sent <= s->at && !c.over; i++)
        asocket_sleep(selector, 0);
    for (i = 0; i < 3; i++) /* it takes what it got */
        asocket_sleep(selector, 0);
    if (way == CANCEL)
        asocket_cancel(selector, job);
    else if (way == CLOSE_BELOW)
        asocket_close(c.socket);
    else if (way == ABORT_BELOW)
        asocket_abort(c.socket);
    asocket_join(selector, job);
    asocket_join_all(selector);
    asocket_tls_error(selector, &failure);
    if (c.status &&
        failure.reason != (way == DEADLINE ? ASOCKET_TLS_TIMEOUT : ASOCKET_TLS_CANCELED))
        return (int)failure.reason;
    return c.status ? c.status : c.read_status;
}

static void every_wait_can_end(void)
{
    static const int expected[WAYS] = {ASOCKET_ECANCELED, ASOCKET_ECLOSED, ASOCKET_ECLOSED,
                                       ASOCKET_ETIMEDOUT};
    static const char *const names[WAYS] = {"a cancel", "a close of the socket below",
                                            "an abort of it", "the handshake's deadline"};
    server *s = server_open(selector, "three");
    asocket_tls_options options = server_options(s);
    size_t total, at, tried;
    int way, status, wrong;

    s->talk = talk_once;
    total = whole(s, &options) - 60; /* without the line and close_notify */
    s->mischief = STALL;
    for (way = 0; way < WAYS; way++) {
        wrong = 0;
        tried = 0;
        for (at = (size_t)way; at < total - 120; at += stride(97), tried++) {
            s->at = at;
            status = end_one(s, way);
            wrong += status != expected[way];
            if (status != expected[way])
                diag("%s at byte %d: %s", names[way], (int)at, asocket_strerror(status));
        }
        is_int(wrong, 0, "P7: %s ends the handshake at each of %d bytes", names[way], (int)tried);
    }
    server_close(s);
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    however_it_is_split();
    at_every_byte(CUT, "an end", 5);
    at_every_byte(FLIP, "a flipped bit", 17);
    at_every_byte(REPEAT, "a repeated byte", 29);
    at_every_byte(DROP, "a missing byte", 31);
    at_every_byte(RESET, "a reset", 11);
    at_every_byte(STALL, "a stall", 131);
    every_wait_can_end();
    return test_end(selector);
}
