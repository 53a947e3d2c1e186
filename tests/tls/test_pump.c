/* test_pump.c - TLS over sockets: bytes both ways, at once, of every size; how streams end; what a
   server says out of turn; the upgrade. The server is BearSSL's, in a coroutine. */
#include "private_tls.h"
#include "server.h"

static asocket_selector *selector;

static char pattern(size_t at)
{
    return (char)(at * 7 + at / 255 + at / 65521);
}

static uint32_t checksum(uint32_t sum, const char *bytes, size_t size)
{
    size_t i;

    for (i = 0; i < size; i++)
        sum = (sum ^ (uint8_t)bytes[i]) * 16777619u;
    return sum;
}

static void say(asocket_write_channel *out, const char *text)
{
    asocket_write_string(out, text);
    asocket_flush(out);
}

static bool hear(asocket_read_channel *in, const char *text)
{
    char line[1000];
    ptrdiff_t length = asocket_read_line(in, line, sizeof line);

    if (length >= 0 && strcmp(line, text) == 0)
        return true;
    diag("got %d \"%s\", expected \"%s\": %s", (int)length, length >= 0 ? line : "", text,
         asocket_error_message(selector));
    return false;
}

/* --- lines, and what was agreed ---------------------------------------------------------------- */

static void lines_go_both_ways(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *secure = server_connect(s, &options);
    asocket_read_channel *in = asocket_open_read_channel(secure);
    asocket_write_channel *out = asocket_open_write_channel(secure, ASOCKET_AUTO_FLUSH);
    asocket_tls_details details;
    asocket_tls_failure failure;

    ok(secure != NULL, "P15: a server with a good certificate is accepted: %s",
       asocket_error_message(selector));
    say(out, "one\n");
    ok(hear(in, "one"), "a line comes back");
    asocket_printf(out, "two %d\nthree\n", 2);
    ok(hear(in, "two 2") && hear(in, "three"), "more lines do");
    is_int(asocket_tls_info(secure, &details), 0, "what was agreed is known");
    is_str(details.version, "TLS 1.2", "... the version");
    ok(details.suite_name && strstr(details.suite_name, "ECDHE") != NULL, "... the suite: %s",
       details.suite_name);
    ok(*details.group != 0, "... the group: %s", details.group);
    is_str(details.alpn, "", "... no protocol");
    is_str(details.server_name, SERVER_NAME, "... the name");
    ok(details.verified && !details.resumed, "... verified, not resumed");
    ok(details.certificate.size == s->own.chain[0].data_len &&
           !memcmp(details.certificate.der, s->own.chain[0].data, s->own.chain[0].data_len),
       "... the certificate");
    is_int(asocket_tls_socket_error(secure, &failure), 0, "its failure can be asked for");
    is_int(failure.reason, ASOCKET_TLS_OK, "... there is none");
    is_int(asocket_close(secure), 0, "closed");
    asocket_join_all(selector);
    ok(s->clean && !s->error, "the server got close_notify");
    is_int(asocket_tls_info(secure, &details), ASOCKET_EINVAL, "a closed socket has no details");
    is_int(asocket_tls_info(NULL, &details), ASOCKET_EINVAL, "none neither");
    server_close(s);
}

/* --- bytes ------------------------------------------------------------------------------------- */

typedef struct flow {
    asocket *socket;
    asocket_write_channel *out;
    asocket_read_channel *in;
    size_t size, piece;
    uint32_t sum;
    size_t moved;
    int status;
} flow;

static void flow_out(asocket_selector *s, void *argument)
{
    flow *f = (flow *)argument;
    char *bytes = (char *)malloc(f->piece);
    size_t i;

    (void)s;
    f->sum = 2166136261u;
    for (f->moved = 0; f->moved < f->size;) {
        size_t count = f->size - f->moved < f->piece ? f->size - f->moved : f->piece;
        ptrdiff_t status;

        for (i = 0; i < count; i++)
            bytes[i] = pattern(f->moved + i);
        status = asocket_write(f->out, bytes, count);
        if (status < 0) {
            f->status = (int)status;
            break;
        }
        f->sum = checksum(f->sum, bytes, count);
        f->moved += count;
    }
    if (!f->status)
        f->status = asocket_flush(f->out);
    free(bytes);
}

static void flow_in(asocket_selector *s, void *argument)
{
    flow *f = (flow *)argument;
    char *bytes = (char *)malloc(f->piece);

    (void)s;
    f->sum = 2166136261u;
    for (f->moved = 0; f->moved < f->size;) {
        size_t count = f->size - f->moved < f->piece ? f->size - f->moved : f->piece;
        ptrdiff_t status = asocket_read(f->in, bytes, count);

        if (status <= 0) {
            f->status = (int)status;
            break;
        }
        f->sum = checksum(f->sum, bytes, (size_t)status);
        f->moved += (size_t)status;
    }
    free(bytes);
}

/* An echo of `size` bytes, with one coroutine that writes and one that reads. */
static void bytes_are_echoed(size_t size, size_t out_piece, size_t in_piece, size_t record_size,
                             size_t server_records_of)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *secure;
    flow out, in;

    s->record_size = server_records_of;
    options.record_size = record_size;
    secure = server_connect(s, &options);
    memset(&out, 0, sizeof out);
    memset(&in, 0, sizeof in);
    out.out = asocket_open_write_channel(secure, 0);
    in.in = asocket_open_read_channel(secure);
    out.size = in.size = size;
    out.piece = out_piece;
    in.piece = in_piece;
    asocket_launch(selector, flow_out, &out);
    asocket_launch(selector, flow_in, &in);
    while (in.moved < size && !in.status && !out.status)
        asocket_sleep(selector, 1);
    is_int(in.moved, size,
           "P12: %d bytes come back, written by %d, read by %d, in records of %d/%d", (int)size,
           (int)out_piece, (int)in_piece, (int)record_size, (int)server_records_of);
    ok(in.sum == out.sum && !in.status && !out.status, "... the same ones (%d, %d)", in.status,
       out.status);
    asocket_close(secure);
    asocket_join_all(selector);
    ok(s->clean, "... to a clean end");
    server_close(s);
}

static void bytes_of_all_sizes(void)
{
    size_t many = (size_t)(4 << 20) / (size_t)test_slowness();

    bytes_are_echoed(1, 1, 1, 0, 0);
    bytes_are_echoed(3000, 1, 1, 0, 0);
    bytes_are_echoed(16384, 16384, 16384, 0, 0);
    bytes_are_echoed(16385, 16385, 70000, 0, 0);
    bytes_are_echoed(100000, 16384, 100, 0, 0);
    bytes_are_echoed(many, 65536, 65536, 0, 0);
    bytes_are_echoed(many / 4, 1000, 777, 0, 0);
    bytes_are_echoed(many / 4, 65536, 20000, 512, 0);
    bytes_are_echoed(many / 4, 30000, 20000, 4096, 1400);
    bytes_are_echoed(many / 4, 30000, 20000, 0, 4096);
    bytes_are_echoed(many / (TEST_WINDOWS ? 128 : 16), 10000, 20000, 0, 1); /* Wine: 80 us a send */
}

/* --- ends -------------------------------------------------------------------------------------- */

static void talk_greeting(server *s)
{
    (void)server_say(s, "hello\nlast", 10);
}

static void a_clean_end_is_an_end(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_failure failure;
    asocket_tls_options options = server_options(s);
    asocket *secure;
    asocket_read_channel *in;
    asocket_write_channel *out;
    char line[20];

    s->talk = talk_greeting;
    secure = server_connect(s, &options);
    in = asocket_open_read_channel(secure);
    out = asocket_open_write_channel(secure, 0);
    ok(hear(in, "hello"), "a line");
    is_int(asocket_read_line(in, line, sizeof line), 4, "P1: a last line without terminator");
    is_status(asocket_read_line(in, line, sizeof line), ASOCKET_EOF,
              "P1: close_notify is the end of the stream");
    is_status(asocket_read_line(in, line, sizeof line), ASOCKET_EOF, "... for good");
    asocket_write_string(out, "too late\n");
    is_status(asocket_flush(out), ASOCKET_ECONNRESET, "then nothing can be written");
    ok(strstr(asocket_error_message(selector), "ended TLS") != NULL, "... it says why: %s",
       asocket_error_message(selector));
    asocket_tls_socket_error(secure, &failure);
    is_int(failure.reason, ASOCKET_TLS_CLOSED, "... in the failure, too");
    is_status(asocket_read(in, line, 1), ASOCKET_EOF, "P1: ... and the end stays the end");
    asocket_close(secure);
    asocket_join_all(selector);
    server_close(s);
}

static void an_end_without_close_notify_is_none(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket_tls_failure failure;
    asocket *secure;
    asocket_read_channel *in;
    char line[20];

    s->talk = talk_greeting;
    s->no_close_notify = true;
    secure = server_connect(s, &options);
    in = asocket_open_read_channel(secure);
    ok(hear(in, "hello"), "a line");
    is_status(asocket_read_line(in, line, sizeof line), ASOCKET_ETLS,
              "P15: an end without close_notify is truncation");
    ok(strstr(asocket_error_message(selector), "close_notify") != NULL, "... it says so: %s",
       asocket_error_message(selector));
    is_int(asocket_available(in), 4, "... what came before stays readable");
    is_status(asocket_read(in, line, sizeof line), 4, "... and is read");
    is_status(asocket_read(in, line, sizeof line), ASOCKET_ETLS, "P15: ... then truncation again");
    asocket_tls_socket_error(secure, &failure);
    is_int(failure.reason, ASOCKET_TLS_TRUNCATED, "the socket's failure says it");
    is_int(failure.step, ASOCKET_TLS_STEP_CLOSE, "... and the step");
    asocket_tls_error(selector, &failure);
    is_int(failure.reason, ASOCKET_TLS_TRUNCATED, "so does the selector's");
    asocket_close(secure);
    asocket_join_all(selector);

    options.allow_truncation = true;
    secure = server_connect(s, &options);
    in = asocket_open_read_channel(secure);
    ok(hear(in, "hello"), "a line");
    is_int(asocket_read_line(in, line, sizeof line), 4, "allow_truncation: the last line");
    is_status(asocket_read_line(in, line, sizeof line), ASOCKET_EOF, "... then the end");
    asocket_close(secure);
    asocket_join_all(selector);
    server_close(s);
}

static void talk_and_reset(server *s)
{
    server_record(s, 23, "hello\n", 6);
    server_record(s, 21, "\1\0", 2);
    (void)asocket_flush(s->out);
    (void)asocket_abort(s->socket);
    s->over = true;
}

/* Our close_notify finds nobody. Windows throws away what came before the reset. */
static void an_end_needs_no_answer(void)
{
    asocket_tls_options options;
    asocket_read_channel *in;
    asocket *secure;
    server *s;
    char byte;

    if (test_skips(TEST_WINDOWS, 2, "a reset takes back what was sent before"))
        return;
    s = server_open(selector, "plain");
    options = server_options(s);
    s->talk = talk_and_reset;
    secure = server_connect(s, &options);
    in = asocket_open_read_channel(secure);
    ok(hear(in, "hello"), "a line, close_notify, and a reset");
    is_status(asocket_read(in, &byte, 1), ASOCKET_EOF, "P1: ... are the end of the stream");
    asocket_close(secure);
    asocket_join_all(selector);
    server_close(s);
}

static size_t heard_by_server;

static void talk_after_the_end(server *s)
{
    static char bytes[16384];
    size_t count;

    heard_by_server = 0;
    while ((count = server_hear(s, bytes, sizeof bytes)) > 0)
        heard_by_server += count;
    /* BearSSL's server has answered with its own close_notify: there is nothing to come */
}

static void finish_says_goodbye(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *secure;
    asocket_write_channel *out;
    asocket_read_channel *in;
    char byte;

    s->talk = talk_after_the_end;
    secure = server_connect(s, &options);
    out = asocket_open_write_channel(secure, 0);
    in = asocket_open_read_channel(secure);
    asocket_write_string(out, "all there is");
    is_status(asocket_finish(out), 0, "P3: our side can be finished");
    is_status(asocket_read(in, &byte, 1), ASOCKET_EOF, "... the server answers with its end");
    asocket_join_all(selector);
    ok(s->clean && heard_by_server == 12, "... after it got it all, and close_notify");
    is_status(asocket_write(out, "x", 1), ASOCKET_ECLOSED, "... nothing more can be written");
    asocket_close(secure);
    server_close(s);
}

/* The server goes on talking after our close_notify, as OpenSSL's can. */
static void talk_on_after_finish(server *s)
{
    char bytes[100];
    size_t i;
    ptrdiff_t got = 0;

    while (got >= 0 && s->context.eng.shutdown_recv == 0) { /* as far as the record */
        size_t size;
        uint8_t *to = br_ssl_engine_recvrec_buf(&s->context.eng, &size);

        got = asocket_read(s->in, bytes, 5);
        if (got == 5 && bytes[0] == 21)
            break;
        (void)to;
        got = asocket_discard(s->in, (size_t)(uint8_t)bytes[4]);
    }
    for (i = 0; i < 1000; i++)
        server_record(s, 23, "0123456789\n", 11);
    server_record(s, 21, "\1\0", 2);
    (void)asocket_flush(s->out);
    s->over = true;
}

static void a_half_closed_stream_can_be_read(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *secure;
    asocket_write_channel *out;
    asocket_read_channel *in;
    int lines = 0;
    char line[20];

    s->talk = talk_on_after_finish;
    secure = server_connect(s, &options);
    out = asocket_open_write_channel(secure, 0);
    in = asocket_open_read_channel(secure);
    asocket_finish(out);
    while (asocket_read_line(in, line, sizeof line) == 10)
        lines++;
    is_int(lines, 1000, "P3: after finish the other direction goes on");
    is_status(asocket_error(selector), ASOCKET_EOF, "... to its end");
    asocket_close(secure);
    asocket_join_all(selector);
    server_close(s);
}

static void close_does_not_wait_for_the_server(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    int64_t start = test_clock();
    asocket *secure;

    s->talk = server_stall; /* never answers close_notify */
    secure = server_connect(s, &options);
    asocket_close(secure);
    is_status(asocket_await_closed(secure), 0, "close does not wait for the server's close_notify");
    ok(test_took(start, 0, 3000), "... not even in the background");
    asocket_join_all(selector);
    server_close(s);
}

static void talk_much(server *s)
{
    static char bytes[300000];

    (void)server_say(s, bytes, sizeof bytes);
}

static void unread_bytes_do_not_keep_a_socket_open(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    int64_t start = test_clock();
    asocket *secure;
    char byte;

    s->talk = talk_much;
    secure = server_connect(s, &options);
    is_int(asocket_read(asocket_open_read_channel(secure), &byte, 1), 1, "a byte of many is read");
    asocket_close(secure);
    is_status(asocket_await_closed(secure), 0, "a socket with unread bytes closes");
    ok(test_took(start, 0, 4000), "... soon");
    asocket_join_all(selector);
    server_close(s);
}

/* --- records that bring nothing ---------------------------------------------------------------- */

static int flood_type;

static void talk_flood(server *s)
{
    static const uint8_t hello_request[4] = {0, 0, 0, 0};
    int i;

    for (i = 0; i < 1000 && !s->over; i++) {
        if (flood_type == 23)
            server_record(s, 23, "", 0);
        else if (flood_type == 21)
            server_record(s, 21, "\1\x5a", 2); /* warning: user_canceled */
        else
            server_record(s, 22, hello_request, 4);
    }
    server_record(s, 23, "late\n", 5);
    (void)asocket_flush(s->out);
    server_stall(s);
}

static void floods_are_bounded(int type, const char *what)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket_tls_failure failure;
    asocket *secure;
    char byte;

    flood_type = type;
    s->talk = talk_flood;
    secure = server_connect(s, &options);
    is_status(asocket_read(asocket_open_read_channel(secure), &byte, 1), ASOCKET_ETLS,
              "a flood of %s is refused", what);
    asocket_tls_error(selector, &failure);
    is_int(failure.reason, ASOCKET_TLS_FLOOD, "... as such: %s", failure.sentence);
    is_int(failure.step, ASOCKET_TLS_STEP_DATA, "... in its step");
    asocket_close(secure);
    asocket_join_all(selector);
    server_close(s);
}

static int few;

static void talk_few(server *s)
{
    static const uint8_t hello_request[4] = {0, 0, 0, 0};
    char bytes[10];
    int i;

    for (i = 0; i < 100; i++) {
        server_record(s, 23, "", 0);
        server_record(s, 21, "\1\x5a", 2);
        if (i % 10 == 0)
            server_record(s, 22, hello_request, 4);
        server_record(s, 23, "line\n", 5);
    }
    (void)asocket_flush(s->out);
    few = (int)server_hear(s, bytes, sizeof bytes); /* warnings 100 come before */
}

static void a_few_empty_records_are_no_flood(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *secure;
    asocket_read_channel *in;
    asocket_write_channel *out;
    int i, good = 0;

    s->talk = talk_few;
    secure = server_connect(s, &options);
    in = asocket_open_read_channel(secure);
    out = asocket_open_write_channel(secure, 0);
    for (i = 0; i < 100; i++)
        good += hear(in, "line");
    is_int(good, 100, "empty records, warnings and renegotiations between data do no harm");
    say(out, "end");
    asocket_join_all(selector);
    is_int(s->error, 256 + 100, "a renegotiation is refused by a warning, which BearSSL takes ill");
    asocket_close(secure);
    server_close(s);
}

/* --- records that are not as they were sent ------------------------------------------------------ */

static void talk_corrupted(server *s)
{
    (void)server_say(s, "good\n", 5);
    s->mischief = FLIP;
    s->at = s->sent + 20;
    (void)server_say(s, "changed on its way\n", 19);
    server_until(s, 0); /* hears the client's alert */
}

static void talk_oversized(server *s)
{
    (void)server_say(s, "good\n", 5);
    server_wire(s, "\27\3\3\377\377more", 9);
    (void)asocket_flush(s->out);
    server_until(s, 0); /* hears the client's alert */
}

static void talk_alert(server *s)
{
    (void)server_say(s, "good\n", 5);
    server_record(s, 21, "\2\120", 2);
    (void)asocket_flush(s->out);
    server_stall(s);
}

static void after_a_line(void (*talk)(server *s), asocket_tls_reason reason, const char *what)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket_tls_failure failure;
    asocket *secure;
    asocket_read_channel *in;
    char byte;

    s->talk = talk;
    secure = server_connect(s, &options);
    in = asocket_open_read_channel(secure);
    ok(hear(in, "good"), "a line, then %s", what);
    is_status(asocket_read(in, &byte, 1), ASOCKET_ETLS, "P15: ... which is no end");
    asocket_tls_socket_error(secure, &failure);
    is_int(failure.reason, reason, "... but %s", failure.sentence);
    is_int(failure.step, ASOCKET_TLS_STEP_DATA, "... among the data");
    if (reason == ASOCKET_TLS_ALERT)
        is_int(failure.alert, 80, "... which alert");
    is_status(asocket_write(asocket_open_write_channel(secure, 0), "x", 1), 1, "a byte is kept");
    asocket_close(secure);
    asocket_join_all(selector);
    if (reason != ASOCKET_TLS_ALERT)
        is_int(s->error, 256 + (reason == ASOCKET_TLS_RECORD_SIZE ? 22 : 20), "the server is told");
    server_close(s);
}

/* --- records other than data, after the handshake ------------------------------------------------ */

enum { GOES_ON = -2, ENDS = -1 }; /* or what the client is to say to it: an alert */

typedef struct turn {
    const char *what;
    struct {
        int type;
        const char *bytes;
        size_t size;
    } records[4];
    int outcome;
    asocket_tls_reason reason;
    int alert; /* the server's */
} turn;

static const turn turns[] = {
    {"a fatal alert, cut in two", {{21, "\2", 1}, {21, "\120", 1}}, 0, ASOCKET_TLS_ALERT, 80},
    {"a fatal alert with data inside",
     {{21, "\2", 1}, {23, "more\n", 5}, {21, "\120", 1}},
     0,
     ASOCKET_TLS_ALERT,
     80},
    {"a fatal alert behind a warning", {{21, "\1\132\2\120", 4}}, 0, ASOCKET_TLS_ALERT, 80},
    {"an alert of a level that does not exist", {{21, "\7\132", 2}}, 0, ASOCKET_TLS_ALERT, 90},
    {"an alert of level 0", {{21, "\0\132", 2}}, 0, ASOCKET_TLS_ALERT, 90},
    {"a fatal close_notify", {{21, "\2\0", 2}}, 0, ASOCKET_TLS_ALERT, 0},
    {"no_renegotiation, though nobody asked", {{21, "\1\144", 2}}, 0, ASOCKET_TLS_ALERT, 100},
    {"a warning, cut in two", {{21, "\1", 1}, {21, "\132", 1}}, GOES_ON, ASOCKET_TLS_OK, -1},
    {"an unknown warning", {{21, "\1\377", 2}}, GOES_ON, ASOCKET_TLS_OK, -1},
    {"close_notify", {{21, "\1\0", 2}}, ENDS, ASOCKET_TLS_OK, -1},
    {"close_notify, cut in two", {{21, "\1", 1}, {21, "\0", 1}}, ENDS, ASOCKET_TLS_OK, -1},
    {"close_notify behind a warning", {{21, "\1\132\1\0", 4}}, ENDS, ASOCKET_TLS_OK, -1},
    {"an alert behind close_notify", {{21, "\1\0\2\120", 4}}, ENDS, ASOCKET_TLS_OK, -1},
    {"records behind close_notify",
     {{21, "\1\0", 2}, {20, "\1", 1}, {23, "late\n", 5}},
     ENDS,
     ASOCKET_TLS_OK,
     -1},
    {"HelloRequest", {{22, "\0\0\0\0", 4}}, 100, ASOCKET_TLS_OK, -1},
    {"HelloRequest in pieces, with data and a warning inside",
     {{22, "\0", 1}, {21, "\1\132", 2}, {22, "\0\0", 2}, {22, "\0", 1}},
     100,
     ASOCKET_TLS_OK,
     -1},
    {"half a HelloRequest", {{22, "\0\0", 2}}, GOES_ON, ASOCKET_TLS_OK, -1},
    {"HelloRequest of one byte", {{22, "\0\0\0\1x", 5}}, 50, ASOCKET_TLS_PROTOCOL, -1},
    {"HelloRequest of one byte, cut in two",
     {{22, "\0\0", 2}, {22, "\0\1x", 3}},
     50,
     ASOCKET_TLS_PROTOCOL,
     -1},
    {"Finished", {{22, "\24\0\0\14............", 16}}, 10, ASOCKET_TLS_PROTOCOL, -1},
    {"ServerHello behind HelloRequest", {{22, "\0\0\0\0\2", 5}}, 10, ASOCKET_TLS_PROTOCOL, -1},
    {"NewSessionTicket", {{22, "\4\0\0\0", 4}}, 10, ASOCKET_TLS_PROTOCOL, -1},
    {"ChangeCipherSpec", {{20, "\1", 1}}, 10, ASOCKET_TLS_PROTOCOL, -1},
    {"a heartbeat", {{24, "\1\0\0", 3}}, 10, ASOCKET_TLS_PROTOCOL, -1},
    {"a record of type 0", {{0, "x", 1}}, 10, ASOCKET_TLS_PROTOCOL, -1},
    {"empty data", {{23, "", 0}}, GOES_ON, ASOCKET_TLS_OK, -1},
    {"an empty alert", {{21, "", 0}}, 10, ASOCKET_TLS_PROTOCOL, -1},
    {"an empty handshake record", {{22, "", 0}}, 10, ASOCKET_TLS_PROTOCOL, -1},
    {"an empty ChangeCipherSpec", {{20, "", 0}}, 10, ASOCKET_TLS_PROTOCOL, -1},
};

static const turn *the_turn;

static void talk_out_of_turn(server *s)
{
    int i;

    for (i = 0; i < 4 && the_turn->records[i].bytes; i++)
        server_record(s, the_turn->records[i].type, the_turn->records[i].bytes,
                      the_turn->records[i].size);
    server_record(s, 23, "more\n", 5);
    (void)asocket_flush(s->out);
    server_until(s, 0); /* hears what the client says to that */
    s->over = true;
}

static void a_turn(const turn *t, const uint16_t *suites)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket_tls_failure failure;
    asocket *secure;
    asocket_read_channel *in;
    char line[20];

    the_turn = t;
    s->talk = talk_out_of_turn;
    s->suites = suites;
    s->suite_count = suites ? 2 : 0;
    secure = server_connect(s, &options);
    in = asocket_open_read_channel(secure);
    if (t->records[1].type == 23 && t->outcome != ENDS)
        ok(hear(in, "more"), "data before the end of an alert");
    if (t->reason)
        is_status(asocket_read_line(in, line, sizeof line), ASOCKET_ETLS, "%s is refused", t->what);
    else if (t->outcome == ENDS)
        is_status(asocket_read_line(in, line, sizeof line), ASOCKET_EOF, "%s is the end", t->what);
    else
        ok(hear(in, "more"), "after %s data goes on", t->what);
    asocket_tls_socket_error(secure, &failure);
    is_int(failure.reason, t->reason, "... %s", failure.reason ? failure.sentence : "no failure");
    is_int(failure.alert, t->alert, "... with the server's alert, if that is it");
    asocket_close(secure);
    asocket_join_all(selector);
    if (t->outcome > 0)
        is_int(s->error, 256 + t->outcome, "... and the server is told, by alert %d", t->outcome);
    else if (t->outcome < 0)
        ok(s->clean && !s->error, "... and the server gets close_notify (%d)", s->error);
    server_close(s);
}

static void records_out_of_turn(void)
{
    static const uint16_t chacha[] = {BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                                      BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256};
    size_t i;

    for (i = 0; i < sizeof turns / sizeof *turns; i++)
        a_turn(&turns[i], i % 3 ? NULL : chacha);
}

/* Headers that are refused as they stand: nothing else comes. */
static const char *bad_header;

static void talk_bad_header(server *s)
{
    server_wire(s, bad_header, 5);
    (void)asocket_flush(s->out);
    server_until(s, 0);
}

static void a_header_is_refused(const char *header, asocket_tls_reason reason, int alert,
                                const uint16_t suite)
{
    server *s = server_open(selector, "key_rsa");
    asocket_tls_options options = server_options(s);
    asocket_tls_failure failure;
    asocket *secure;
    char byte;

    bad_header = header;
    s->talk = talk_bad_header;
    s->suites = &suite;
    s->suite_count = 1;
    secure = server_connect(s, &options);
    asocket_set_timeout(secure, 5000);
    is_status(asocket_read(asocket_open_read_channel(secure), &byte, 1), ASOCKET_ETLS,
              "a header %d.%d.%d with length %d is refused at once", header[0], header[1],
              header[2], (uint8_t)header[3] << 8 | (uint8_t)header[4]);
    asocket_tls_socket_error(secure, &failure);
    is_int(failure.reason, reason, "... %s", failure.sentence);
    is_int(failure.step, ASOCKET_TLS_STEP_DATA, "... among the data");
    ok((alert == 70) == (strstr(failure.sentence, "version") != NULL),
       "... which says what it is about");
    is_int(failure.alert_sent, alert, "... by an alert");
    asocket_close(secure);
    asocket_join_all(selector);
    is_int(s->error, 256 + alert, "... that the server gets");
    server_close(s);
}

static void headers_are_looked_at(void)
{
    static const uint16_t gcm = BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
    static const uint16_t chacha = BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256;

    a_header_is_refused("\27\3\2\0\100", ASOCKET_TLS_PROTOCOL, 70, gcm);
    a_header_is_refused("\27\3\4\0\100", ASOCKET_TLS_PROTOCOL, 70, gcm);
    a_header_is_refused("\27\2\3\0\100", ASOCKET_TLS_PROTOCOL, 70, chacha);
    a_header_is_refused("\27\3\3\0\0", ASOCKET_TLS_PROTOCOL, 50, gcm); /* no room for the tag */
    a_header_is_refused("\27\3\3\0\27", ASOCKET_TLS_PROTOCOL, 50, gcm);
    a_header_is_refused("\25\3\3\0\17", ASOCKET_TLS_PROTOCOL, 50, chacha);
    a_header_is_refused("\27\3\3\100\31", ASOCKET_TLS_RECORD_SIZE, 22, gcm); /* 16,385 bytes */
    a_header_is_refused("\27\3\3\100\21", ASOCKET_TLS_RECORD_SIZE, 22, chacha);
}

/* An alert whose level is a record of the handshake: what follows is no other level. */
static void begin_alert(server *s)
{
    server_wire(s, "\25\3\3\0\1\1", 6);
}

static void end_alert(server *s)
{
    server_record(s, 21, "", 1);
    s->over = true;
    (void)asocket_flush(s->out);
}

static void an_alert_outlasts_the_handshake(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *secure;
    char byte;

    s->setup = begin_alert;
    s->talk = end_alert;
    secure = server_connect(s, &options);
    is_status(asocket_read(asocket_open_read_channel(secure), &byte, 1), ASOCKET_EOF,
              "close_notify, cut in two by the end of the handshake");
    asocket_close(secure);
    asocket_join_all(selector);
    server_close(s);
}

/* HelloRequest in the same record as Finished: a record has no place between two states. */
static bool talked;

static unsigned char *seal_more(const br_sslrec_out_class **context, int type, unsigned version,
                                void *bytes, size_t *size)
{
    if (type == 22 && !talked) {
        talked = true;
        memset((char *)bytes + *size, 0, 4);
        *size += 4;
    }
    return br_sslrec_out_gcm_vtable.inner.encrypt(context, type, version, bytes, size);
}

static void setup_talkative(server *s)
{
    talked = false;
    server_seal(s, seal_more);
}

static void nothing_is_behind_finished(void)
{
    static const uint16_t gcm[] = {BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256};
    server *s = server_open(selector, "key_rsa");
    asocket_tls_options options = server_options(s);
    asocket_tls_failure failure;

    s->suites = gcm;
    s->suite_count = 1;
    s->setup = setup_talkative;
    is_int(server_connect(s, &options) == NULL, true, "Finished with a message behind it");
    ok(talked, "... which there was");
    asocket_tls_error(selector, &failure);
    is_int(failure.reason, ASOCKET_TLS_PROTOCOL, "... breaks the protocol: %s", failure.sentence);
    is_int(failure.step, ASOCKET_TLS_STEP_HANDSHAKE, "... of the handshake");
    asocket_join_all(selector);
    is_int(s->error, 256 + 10, "... as the server is told");
    server_close(s);
}

/* --- what the server asks for while our writer is stuck ------------------------------------------ */

static int requests_together;
static size_t heard_in_all;

/* Does not read for a while, but asks for renegotiations; then reads everything. */
static void talk_deaf(server *s)
{
    uint8_t requests[4 * 40];
    char bytes[4096];
    size_t count;

    memset(requests, 0, sizeof requests);
    asocket_sleep(selector, 50);
    server_record(s, 22, requests, 4 * (size_t)requests_together);
    server_record(s, 23, "now\n", 4);
    (void)asocket_flush(s->out);
    asocket_sleep(selector, 50);
    heard_in_all = 0;
    while ((count = server_hear(s, bytes, sizeof bytes)) > 0)
        heard_in_all += count;
}

static void requests_while_the_writer_is_stuck(int together)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *secure;
    asocket_read_channel *in;
    flow out;
    int buffer = 4096;
    char line[10];

    requests_together = together;
    s->talk = talk_deaf;
    asocket_launch(selector, server_serve, s);
    {
        asocket_builder tcp = asocket_tcp(selector);

        tcp.send_buffer = buffer;
        secure = asocket_tls(asocket_connect(tcp, "127.0.0.1", s->port), &options);
    }
    memset(&out, 0, sizeof out);
    out.out = asocket_open_write_channel(secure, 0);
    out.size = 8 << 20;
    out.piece = 100000;
    in = asocket_open_read_channel(secure);
    asocket_launch(selector, flow_out, &out);
    if (together == 1)
        ok(hear(in, "now"), "P12: a request to renegotiate beside a writer that is stuck");
    else
        is_status(asocket_read_line(in, line, sizeof line), ASOCKET_ETLS,
                  "many such requests beside it are a flood");
    while (together > 1 && !out.status)
        asocket_sleep(selector, 1);
    if (together > 1)
        asocket_close(secure);
    asocket_join_all(selector);
    if (together == 1) /* BearSSL's server takes the refusal for fatal, wherever it comes */
        is_int(s->error, 256 + 100, "... is refused in its turn, after whole records (%d bytes)",
               (int)heard_in_all);
    else
        ok(out.status < 0, "... and the writer is told: %s", asocket_strerror(out.status));
    asocket_close(secure);
    asocket_join_all(selector);
    server_close(s);
}

/* A request to renegotiate whose rest never comes. */
static void talk_half_a_request(server *s)
{
    server_record(s, 22, "\0\0", 2);
    (void)asocket_flush(s->out);
    server_stall(s);
}

static void half_a_request_blocks_nobody(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *secure;
    asocket_read_channel *in;
    asocket_write_channel *out;
    char byte;

    s->talk = talk_half_a_request;
    secure = server_connect(s, &options);
    in = asocket_open_read_channel(secure);
    out = asocket_open_write_channel(secure, 0);
    asocket_set_timeout(secure, 50);
    (void)asocket_read(in, &byte, 1);
    asocket_write(out, "x", 1);
    is_status(asocket_flush(out), 0, "half a request to renegotiate keeps nobody from writing");
    asocket_close(secure);
    asocket_join_all(selector);
    server_close(s);
}

/* --- waits that end in between -------------------------------------------------------------------- */

static void talk_haltingly(server *s)
{
    static const char *const parts[] = {"first half, ", "second half\n"};
    uint8_t record[200];
    size_t begin = 5, end = sizeof record, size = 24, i;
    const br_sslrec_out_class **out = &s->context.eng.out.vtable;
    uint8_t *bytes;

    (*out)->max_plaintext(out, &begin, &end);
    memcpy(record + begin, parts[0], 12);
    memcpy(record + begin + 12, parts[1], 12);
    bytes = (*out)->encrypt(out, 23, BR_TLS12, record + begin, &size);
    for (i = 0; i < size; i += 7) { /* a record in pieces, with pauses */
        server_wire(s, bytes + i, size - i < 7 ? size - i : 7);
        (void)asocket_flush(s->out);
        asocket_sleep(selector, 15);
    }
    server_echo(s);
}

static void ended_waits_lose_nothing(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *secure;
    asocket_read_channel *in;
    asocket_write_channel *out;
    char line[100];
    int tries = 0, timeouts = 0;
    ptrdiff_t count = -1;

    s->talk = talk_haltingly;
    secure = server_connect(s, &options);
    in = asocket_open_read_channel(secure);
    out = asocket_open_write_channel(secure, 0);
    asocket_set_timeout(secure, 5);
    while (count < 0 && tries++ < 1000) {
        count = asocket_read_line(in, line, sizeof line);
        timeouts += count == ASOCKET_ETIMEDOUT;
    }
    is_int(count, 23, "P7: a record is read in spite of %d waits that ended", timeouts);
    ok(timeouts > 0 && timeouts == tries - 1, "... all by their time-out");
    is_str(line, "first half, second half", "... as it was sent");
    asocket_set_timeout(secure, ASOCKET_NO_WAIT);
    is_status(asocket_read(in, line, 1), ASOCKET_EAGAIN, "no wait, no bytes");
    asocket_set_timeout(secure, 5000);
    say(out, "and on\n");
    ok(hear(in, "and on"), "P7: ... and the next calls work");
    asocket_close(secure);
    asocket_join_all(selector);
    server_close(s);
}

typedef struct call {
    asocket_read_channel *in;
    int status;
} call;

static void read_one(asocket_selector *its, void *argument)
{
    call *c = (call *)argument;
    char byte;

    (void)its;
    c->status = (int)asocket_read(c->in, &byte, 1);
}

static void one_reader_at_a_time(int (*finish)(asocket *))
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *secure = server_connect(s, &options);
    call c;
    char byte;

    c.in = asocket_open_read_channel(secure);
    c.status = 0;
    asocket_launch(selector, read_one, &c);
    asocket_sleep(selector, 5);
    is_status(asocket_read(c.in, &byte, 1), ASOCKET_EBUSY, "P12: a second reader is told EBUSY");
    finish(secure);
    asocket_join_all(selector);
    is_status(c.status, ASOCKET_ECLOSED, "P7: the first one's wait ends when the socket does");
    server_close(s);
}

/* A writer that listens for what the server had to say before it hung up, while a reader comes. */
static const char *last_word;

static void talk_late(server *s)
{
    asocket_sleep(selector, 20);
    if (*last_word)
        server_record(s, 23, last_word, strlen(last_word));
    server_record(s, 21, "\1\0", 2);
    (void)asocket_flush(s->out);
    s->over = true;
}

static void listen_once(asocket_selector *its, void *argument)
{
    asocket__tls *tls = (asocket__tls *)argument;

    (void)its;
    tls->listening = true;
    (void)asocket__tls_receive(tls);
    tls->listening = false;
}

static void a_record_is_taken_once(const char *word)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *secure;
    asocket_read_channel *in;
    asocket_job job;
    char byte;

    last_word = word;
    s->talk = talk_late;
    secure = server_connect(s, &options);
    in = asocket_open_read_channel(secure);
    job =
        asocket_launch(selector, listen_once, asocket_layer_state(secure, &asocket__tls_transport));
    asocket_sleep(selector, 5);
    if (*word)
        ok(hear(in, "last"), "P12: a record that the writer has taken is the reader's");
    is_status(asocket_read(in, &byte, 1), ASOCKET_EOF, "P12: ... and so is the end");
    asocket_join(selector, job);
    asocket_close(secure);
    asocket_join_all(selector);
    server_close(s);
}

/* --- a server that hangs up behind what it says --------------------------------------------------- */

static const char *parting; /* the bytes of an alert, or nothing */

static void talk_and_hang_up(server *s)
{
    (void)server_say(s, "first\n", 6);
    (void)server_say(s, "second\n", 7);
    (void)server_say(s, "third\n", 6);
    if (parting)
        server_record(s, 21, parting, 2);
    (void)asocket_flush(s->out);
    s->over = true;
    asocket_abort(s->socket);
}

static void what_was_said_outlasts_a_failed_write(size_t size, const char *alert, int status)
{
    static char bytes[100000]; /* more than a record: the second finds that the first did not go */
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *secure;
    asocket_read_channel *in;
    asocket_write_channel *out;
    int i;

    parting = alert;
    s->talk = talk_and_hang_up;
    secure = server_connect(s, &options);
    in = asocket_open_read_channel(secure);
    out = asocket_open_write_channel(secure, 0);
    asocket_join_all(selector);
    for (i = 0; i < 1000 && asocket_write(out, bytes, size) > 0 && !asocket_flush(out); i++)
        asocket_sleep(selector, 1);
    is_status(asocket_write(out, bytes, size), ASOCKET_ECONNRESET, "P7: who writes is told");
    ok(hear(in, "first") && hear(in, "second") && hear(in, "third"),
       "P3: ... and reads all that the server said before it hung up");
    i = (int)asocket_read(in, bytes, 1);
    if (alert)
        is_status(i, status, "... and how it ended");
    else
        ok(i == ASOCKET_ETLS || i == ASOCKET_ECONNRESET, "P15: ... which is no end (%d)", i);
    asocket_close(secure);
    asocket_join_all(selector);
    server_close(s);
}

/* --- TLS taken off again -------------------------------------------------------------------------- */

static void talk_then_plain(server *s)
{
    char bytes[100];

    (void)server_say(s, "secret\n", 7);
    server_record(s, 21, "\1\0", 2);
    (void)asocket_flush(s->out);
    if (asocket_read_full(s->in, bytes, 5) == 5 && bytes[0] == 21) /* the client's close_notify */
        (void)asocket_discard(s->in, (size_t)bytes[4]);
    (void)asocket_write_string(s->out, "plain again\n");
    (void)asocket_flush(s->out);
    is_int(asocket_read_line(s->in, bytes, sizeof bytes), 9, "the server hears plain text again");
    s->over = true;
}

static void tls_can_be_taken_off(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *secure, *plain;
    asocket_read_channel *in;
    asocket_write_channel *out;
    char byte;

    s->talk = talk_then_plain;
    secure = server_connect(s, &options);
    in = asocket_open_read_channel(secure);
    out = asocket_open_write_channel(secure, 0);
    ok(hear(in, "secret"), "a line in private");
    (void)out;
    is_status(asocket_read(in, &byte, 1), ASOCKET_EOF, "... which ends by close_notify");
    plain = asocket_detach(secure);
    ok(plain != NULL, "TLS is taken off: %s", asocket_error_message(selector));
    in = asocket_open_read_channel(plain);
    out = asocket_open_write_channel(plain, 0);
    ok(hear(in, "plain again"), "... and what follows is plain text");
    asocket_write_string(out, "both ways\n");
    asocket_flush(out);
    asocket_join_all(selector);
    asocket_close(plain);
    server_close(s);
}

static void talk_much_then_plain(server *s)
{
    static char bytes[3000];

    (void)server_say(s, bytes, sizeof bytes);
    (void)asocket_write_string(s->out, "plain again\n");
    (void)asocket_flush(s->out);
    s->over = true;
}

static void a_record_that_was_not_read_goes_with_it(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *secure, *plain;
    char bytes[1000];

    s->talk = talk_much_then_plain;
    secure = server_connect(s, &options);
    asocket_set_capacity(secure, 1000);
    is_int(asocket_read(asocket_open_read_channel(secure), bytes, sizeof bytes), 1000,
           "a part of a record is read");
    plain = asocket_detach(secure);
    ok(plain != NULL, "TLS is taken off: %s", asocket_error_message(selector));
    ok(hear(asocket_open_read_channel(plain), "plain again"),
       "P15: ... and the rest of the record is not taken for plain text");
    asocket_close(plain);
    asocket_join_all(selector);
    server_close(s);
}

/* Who goes on with the channel of the socket below takes a record away from under the engine. */
static void a_record_that_somebody_took_is_not_read(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *below, *secure;
    asocket_read_channel *in, *old;
    char bytes[1000];

    s->talk = talk_much_then_plain;
    asocket_launch(selector, server_serve, s);
    below = asocket_connect(asocket_tcp(selector), "127.0.0.1", s->port);
    old = asocket_open_read_channel(below);
    secure = asocket_tls(below, &options);
    asocket_set_capacity(secure, 1000);
    in = asocket_open_read_channel(secure);
    is_int(asocket_read(in, bytes, sizeof bytes), 1000, "a part of a record is read");
    ok(asocket_read(old, bytes, sizeof bytes) > 0, "another part goes elsewhere");
    is_status(asocket_read(in, bytes, sizeof bytes), ASOCKET_ECONNRESET,
              "P15: ... and nothing is taken for the rest");
    ok(strstr(asocket_error_message(selector), "below TLS") != NULL, "... which is told: %s",
       asocket_error_message(selector));
    asocket_close(secure);
    asocket_join_all(selector);
    server_close(s);
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    lines_go_both_ways();
    bytes_of_all_sizes();
    a_clean_end_is_an_end();
    an_end_without_close_notify_is_none();
    an_end_needs_no_answer();
    finish_says_goodbye();
    a_half_closed_stream_can_be_read();
    close_does_not_wait_for_the_server();
    unread_bytes_do_not_keep_a_socket_open();
    floods_are_bounded(23, "empty records");
    floods_are_bounded(21, "warnings");
    floods_are_bounded(22, "renegotiations");
    a_few_empty_records_are_no_flood();
    after_a_line(talk_corrupted, ASOCKET_TLS_INTEGRITY, "one that was changed");
    after_a_line(talk_oversized, ASOCKET_TLS_RECORD_SIZE, "one that is too large");
    after_a_line(talk_alert, ASOCKET_TLS_ALERT, "an alert");
    records_out_of_turn();
    headers_are_looked_at();
    an_alert_outlasts_the_handshake();
    nothing_is_behind_finished();
    requests_while_the_writer_is_stuck(1);
    requests_while_the_writer_is_stuck(40);
    half_a_request_blocks_nobody();
    ended_waits_lose_nothing();
    one_reader_at_a_time(asocket_close);
    one_reader_at_a_time(asocket_abort);
    a_record_is_taken_once("last\n");
    a_record_is_taken_once("");
    what_was_said_outlasts_a_failed_write(1, NULL, 0);
    what_was_said_outlasts_a_failed_write(100000, NULL, 0);
    what_was_said_outlasts_a_failed_write(100000, "\1\0", ASOCKET_EOF);
    what_was_said_outlasts_a_failed_write(100000, "\2\120", ASOCKET_ETLS);
    tls_can_be_taken_off();
    a_record_that_was_not_read_goes_with_it();
    a_record_that_somebody_took_is_not_read();
    return test_end(selector);
}
