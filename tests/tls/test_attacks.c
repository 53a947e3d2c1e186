/* test_attacks.c - what a server with good keys could gain by bad timing: around the end of the
   handshake, where the keys pass from BearSSL's engine to the connection, and while our side is
   stuck. */
#include "private_tls.h"
#include "server.h"

static asocket_selector *selector;

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

/* --- around Finished ------------------------------------------------------------------------------ */

typedef struct part {
    int type;
    const char *bytes;
    size_t size;
} part;

typedef struct script { /* what is on the wire, in one piece */
    const char *what;
    part before[3];             /* records under the new keys, before Finished */
    size_t split;               /* Finished in records of so many bytes; 0: in one */
    uint8_t flip;               /* of its last byte */
    part after[4];              /* behind it */
    asocket_tls_reason refused; /* the handshake fails by that */
    const char *text;           /* a line that is heard after it */
    int end;                    /* what reading ends with */
    asocket_tls_reason reason;
} script;

static const script scripts[] = {
    {"data",
     {{0}},
     0,
     0,
     {{23, "hello\n", 6}},
     ASOCKET_TLS_OK,
     "hello",
     ASOCKET_ETIMEDOUT,
     ASOCKET_TLS_OK},
    {"data and the end",
     {{0}},
     0,
     0,
     {{23, "hello\n", 6}, {21, "\1\0", 2}, {23, "late\n", 5}},
     ASOCKET_TLS_OK,
     "hello",
     ASOCKET_EOF,
     ASOCKET_TLS_OK},
    {"the end", {{0}}, 0, 0, {{21, "\1\0", 2}}, ASOCKET_TLS_OK, NULL, ASOCKET_EOF, ASOCKET_TLS_OK},
    {"data and an alert",
     {{0}},
     0,
     0,
     {{23, "hello\n", 6}, {21, "\2\120", 2}},
     ASOCKET_TLS_OK,
     "hello",
     ASOCKET_ETLS,
     ASOCKET_TLS_ALERT},
    {"an alert",
     {{0}},
     0,
     0,
     {{21, "\2\120", 2}, {23, "hello\n", 6}},
     ASOCKET_TLS_OK,
     NULL,
     ASOCKET_ETLS,
     ASOCKET_TLS_ALERT},
    {"HelloRequest and data",
     {{0}},
     0,
     0,
     {{22, "\0\0\0\0", 4}, {23, "hello\n", 6}},
     ASOCKET_TLS_OK,
     "hello",
     ASOCKET_ETIMEDOUT,
     ASOCKET_TLS_OK},
    {"data in the middle of HelloRequest",
     {{0}},
     0,
     0,
     {{22, "\0\0", 2}, {23, "hello\n", 6}, {22, "\0\0", 2}},
     ASOCKET_TLS_OK,
     "hello",
     ASOCKET_ETIMEDOUT,
     ASOCKET_TLS_OK},
    {"Finished again",
     {{0}},
     0,
     0,
     {{22, "\24\0\0\14............", 16}, {23, "hello\n", 6}},
     ASOCKET_TLS_OK,
     NULL,
     ASOCKET_ETLS,
     ASOCKET_TLS_PROTOCOL},
    {"ChangeCipherSpec again",
     {{0}},
     0,
     0,
     {{20, "\1", 1}, {23, "hello\n", 6}},
     ASOCKET_TLS_OK,
     NULL,
     ASOCKET_ETLS,
     ASOCKET_TLS_PROTOCOL},
    {"Finished in pieces of a byte, and data",
     {{0}},
     1,
     0,
     {{23, "hello\n", 6}},
     ASOCKET_TLS_OK,
     "hello",
     ASOCKET_ETIMEDOUT,
     ASOCKET_TLS_OK},
    {"Finished in two pieces, and the end",
     {{0}},
     9,
     0,
     {{21, "\1\0", 2}},
     ASOCKET_TLS_OK,
     NULL,
     ASOCKET_EOF,
     ASOCKET_TLS_OK},
    {"a warning in two, Finished between",
     {{21, "\1", 1}},
     0,
     0,
     {{21, "\132", 1}, {23, "hello\n", 6}},
     ASOCKET_TLS_OK,
     "hello",
     ASOCKET_ETIMEDOUT,
     ASOCKET_TLS_OK},
    {"an alert in two, Finished between",
     {{21, "\2", 1}},
     0,
     0,
     {{21, "\120", 1}, {23, "hello\n", 6}},
     ASOCKET_TLS_OK,
     NULL,
     ASOCKET_ETLS,
     ASOCKET_TLS_ALERT},
    {"data before Finished",
     {{23, "hello\n", 6}},
     0,
     0,
     {{23, "hello\n", 6}},
     ASOCKET_TLS_PROTOCOL,
     NULL,
     0,
     ASOCKET_TLS_OK},
    {"the end before Finished",
     {{21, "\1\0", 2}},
     0,
     0,
     {{23, "hello\n", 6}},
     ASOCKET_TLS_EOF_IN_HANDSHAKE,
     NULL,
     0,
     ASOCKET_TLS_OK},
    {"an alert before Finished",
     {{21, "\2\120", 2}},
     0,
     0,
     {{23, "hello\n", 6}},
     ASOCKET_TLS_ALERT,
     NULL,
     0,
     ASOCKET_TLS_OK},
    {"ChangeCipherSpec twice",
     {{20, "\1", 1}},
     0,
     0,
     {{23, "hello\n", 6}},
     ASOCKET_TLS_PROTOCOL,
     NULL,
     0,
     ASOCKET_TLS_OK},
    {"a Finished that is wrong",
     {{0}},
     0,
     1,
     {{23, "hello\n", 6}},
     ASOCKET_TLS_INTEGRITY,
     NULL,
     0,
     ASOCKET_TLS_OK},
    {"a Finished that is wrong, in pieces",
     {{0}},
     5,
     1,
     {{23, "hello\n", 6}},
     ASOCKET_TLS_INTEGRITY,
     NULL,
     0,
     ASOCKET_TLS_OK},
};

static const script *the_script; /* NULL: it was played */

static uint8_t *put(const br_sslrec_out_class **context, uint8_t *to, int type, const void *bytes,
                    size_t size)
{
    memcpy(to + 13, bytes, size);
    to = br_sslrec_out_gcm_vtable.inner.encrypt(context, type, BR_TLS12, to + 13, &size);
    return to + size;
}

static unsigned char *seal_script(const br_sslrec_out_class **context, int type, unsigned version,
                                  void *bytes, size_t *size)
{
    const script *now = the_script;
    uint8_t *begin = (uint8_t *)bytes - 13, *to = begin, finished[16];
    size_t i, count;

    if (type != 22 || !now)
        return br_sslrec_out_gcm_vtable.inner.encrypt(context, type, version, bytes, size);
    the_script = NULL;
    memcpy(finished, bytes, sizeof finished);
    finished[15] ^= now->flip;
    for (i = 0; i < 3 && now->before[i].type; i++)
        to = put(context, to, now->before[i].type, now->before[i].bytes, now->before[i].size);
    for (i = 0; i < sizeof finished; i += count) {
        count = now->split && now->split < sizeof finished - i ? now->split : sizeof finished - i;
        to = put(context, to, 22, finished + i, count);
    }
    for (i = 0; i < 4 && now->after[i].type; i++)
        to = put(context, to, now->after[i].type, now->after[i].bytes, now->after[i].size);
    *size = (size_t)(to - begin);
    return begin;
}

static void setup_script(server *s)
{
    server_seal(s, seal_script);
}

static void a_script(const script *t, bool resumed)
{
    static const uint16_t gcm[] = {BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256};
    server *s = server_open(selector, "key_rsa");
    asocket_tls_options options = server_options(s);
    asocket_tls_failure failure;
    asocket_tls_details details;
    asocket *secure;
    asocket_read_channel *in;
    char line[20];

    s->suites = gcm;
    s->suite_count = 1;
    s->setup = setup_script;
    s->talk = server_stall;
    options.sessions = asocket_tls_sessions_create(1);
    s->sessions = true;
    the_script = NULL;
    if (resumed) {
        asocket_close(server_connect(s, &options));
        asocket_join_all(selector);
    }
    the_script = t;
    secure = server_connect(s, &options);
    ok(!the_script, "%s, %s handshake", t->what, resumed ? "a short" : "a full");
    if (t->refused) {
        ok(!secure, "P15: ... is refused before a byte is read");
        asocket_tls_error(selector, &failure);
        is_int(failure.reason, t->refused, "... as %s", failure.sentence);
        is_int(failure.step, ASOCKET_TLS_STEP_HANDSHAKE, "... of the handshake");
    } else {
        ok(!asocket_tls_info(secure, &details) && details.resumed == resumed, "... is agreed: %s",
           secure ? "" : asocket_error_message(selector));
        in = asocket_open_read_channel(secure);
        asocket_set_timeout(secure, 5000);
        if (t->text)
            ok(hear(in, t->text), "P15: ... then \"%s\"", t->text);
        asocket_set_timeout(secure, 10);
        is_status(asocket_read_line(in, line, sizeof line), t->end, "... and no more");
        asocket_tls_socket_error(secure, &failure);
        is_int(failure.reason, t->reason, "... %s", failure.sentence);
    }
    asocket_close(secure);
    asocket_join_all(selector);
    asocket_tls_sessions_destroy(options.sessions);
    server_close(s);
}

static void around_finished(void)
{
    size_t i;

    for (i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        a_script(&scripts[i], false);
        a_script(&scripts[i], true);
    }
}

/* --- a handshake that never gets anywhere ----------------------------------------------------------- */

/* HelloRequest, which is ignored in a handshake (RFC 5246, 7.4.1.1), as fast as the client takes it. */
static bool flooding;

static void flood_with_requests(server *s)
{
    static uint8_t record[5 + 16384] = {22, 3, 3, 64, 0};
    int64_t start = test_clock();

    while (!s->over && flooding && test_clock() - start < INT64_C(10000000000))
        server_wire(s, record, sizeof record);
}

static void a_handshake_ends_in_time(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket_tls_failure failure;
    int64_t start = test_clock();

    s->setup = flood_with_requests;
    flooding = true;
    options.handshake_timeout = 100;
    ok(!server_connect(s, &options), "a handshake of HelloRequests only");
    asocket_tls_error(selector, &failure);
    is_int(failure.reason, ASOCKET_TLS_TIMEOUT, "P7: ... ends in time: %s", failure.sentence);
    ok(test_took(start, 0, 3000), "... soon after it");
    flooding = false;
    asocket_join_all(selector);
    server_close(s);
}

/* --- a server that does not read ---------------------------------------------------------------------- */

static const char *deaf_says;
static bool deaf, stuck;

static void talk_deaf(server *s)
{
    while (deaf)
        asocket_sleep(selector, 1);
    server_stall(s);
}

/* The ring below has something that the kernel does not take, and room; nobody waits for it. */
static void fill_below(asocket_selector *its, void *argument)
{
    asocket *secure = (asocket *)argument;
    asocket__tls *tls = (asocket__tls *)asocket_layer_state(secure, &asocket__tls_transport);
    asocket_write_channel *out = asocket_open_write_channel(secure, 0);
    static char bytes[5000];
    int i;

    (void)its;
    asocket_set_timeout(secure, 500);
    for (i = 0; i < 10000 && asocket_write(out, bytes, sizeof bytes) > 0; i++)
        continue;
    ok(i < 10000 && asocket_room(tls->out) >= ASOCKET__TLS_SMALL &&
           asocket_room(tls->out) < ASOCKET__TLS_RECORD,
       "the ring below has something, and room for %d bytes", (int)asocket_room(tls->out));
    asocket_set_timeout(secure, ASOCKET_FOREVER);
    stuck = true;
}

static void talk_to_who_is_stuck(server *s)
{
    while (!stuck)
        asocket_sleep(selector, 1);
    if (*deaf_says == 'r')
        server_record(s, 22, "\0\0\0\0", 4);
    server_record(s, 23, "now\n", 4);
    if (*deaf_says == 'e')
        server_record(s, 21, "\1\0", 2);
    if (*deaf_says == 'b')
        server_wire(s, "\27\3\3\0\30........................", 29);
    (void)asocket_flush(s->out);
    talk_deaf(s);
}

static void a_reader_is_not_stuck_with_the_writer(const char *what, int status)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket_builder tcp = asocket_tcp(selector);
    asocket *secure;
    asocket_read_channel *in;
    int64_t former, start;
    char byte;

    deaf_says = what;
    deaf = true;
    stuck = false;
    s->talk = talk_to_who_is_stuck;
    asocket_launch(selector, server_serve, s);
    tcp.send_buffer = 4096;
    secure = asocket_tls(asocket_connect(tcp, "127.0.0.1", s->port), &options);
    in = asocket_open_read_channel(secure);
    asocket_join(selector, asocket_launch(selector, fill_below, secure));
    former = asocket_set_deadline(selector, 8000);
    start = test_clock();
    ok(hear(in, "now"), "P12: data of a server that does not read");
    ok(test_took(start, 0, 4000), "... at once");
    if (status == ASOCKET_ETIMEDOUT)
        asocket_set_timeout(secure, 100);
    start = test_clock();
    is_status(asocket_read(in, &byte, 1), status, "... and %s", what);
    ok(test_took(start, 0, 4000), "... at once");
    asocket_restore_deadline(selector, former);
    deaf = false;
    asocket_abort(secure);
    asocket_join_all(selector);
    server_close(s);
}

/* --- an end that finds no memory ------------------------------------------------------------------ */

static bool starved;

static void *resize_or_starve(void *user, void *old, size_t old_size, size_t new_size)
{
    return starved && new_size > old_size ? NULL : test_resize(user, old, old_size, new_size);
}

static size_t heard_to_the_end;

static void talk_to_the_end(server *s)
{
    char bytes[100];
    size_t count;

    while ((count = server_hear(s, bytes, sizeof bytes)) > 0)
        heard_to_the_end += count;
}

/* Blocks that are kept for later are taken by pipes. */
static void an_end_is_told_when_there_is_memory_again(asocket_selector *outer)
{
    asocket_selector_options selector_options;
    asocket_tls_options options;
    asocket_read_channel *ins[20];
    asocket_write_channel *outs[20], *out;
    asocket *secure;
    server *s;
    int i;

    memset(&selector_options, 0, sizeof selector_options);
    selector_options.allocator = test_allocator(&test_selector_memory);
    selector_options.allocator.resize = resize_or_starve;
    selector = asocket_selector_create(&selector_options);
    s = server_open(selector, "plain");
    s->talk = talk_to_the_end;
    options = server_options(s);
    secure = server_connect(s, &options);
    out = asocket_open_write_channel(secure, 0);
    asocket_write_string(out, "all there is");
    asocket_flush(out);
    for (i = 0; i < 20; i++)
        asocket_pipe(selector, ASOCKET__TLS_RECORD + ASOCKET__TLS_OVERHEAD, &ins[i], &outs[i]);
    starved = true;
    for (i = 0; i < 20; i++)
        asocket_write(outs[i], "x", 1);
    is_status(asocket_finish(out), ASOCKET_ENOMEM, "without memory there is no goodbye");
    starved = false;
    is_status(asocket_finish(out), 0, "P3: ... which is said when there is some");
    for (i = 0; i < 20; i++) {
        asocket_cancel_read(ins[i]);
        asocket_finish(outs[i]);
    }
    asocket_join_all(selector);
    ok(s->clean && heard_to_the_end == 12, "P3: ... to the server, too");
    asocket_close(secure);
    server_close(s);
    asocket_selector_destroy(selector);
    selector = outer;
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    around_finished();
    a_handshake_ends_in_time();
    a_reader_is_not_stuck_with_the_writer("request", ASOCKET_ETIMEDOUT);
    a_reader_is_not_stuck_with_the_writer("end", ASOCKET_EOF);
    a_reader_is_not_stuck_with_the_writer("bad record", ASOCKET_ETLS);
    an_end_is_told_when_there_is_memory_again(selector);
    return test_end(selector);
}
