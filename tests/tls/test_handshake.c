/* test_handshake.c - how a handshake succeeds, every way it fails, and that each failure says which
   step it was and what a person can do. The server is BearSSL's, or a script of bytes. */
#include "private_tls.h"
#include "server.h"

static asocket_selector *selector;

/* What became of a handshake that must fail; P15. */
static void fails_as(server *s, const asocket_tls_options *options, asocket_tls_reason reason,
                     asocket_tls_step step, int status, const char *words, const char *what)
{
    asocket_tls_failure failure;
    asocket *secure = server_connect(s, options);

    ok(secure == NULL, "P15: refused: %s", what);
    is_status(asocket_error(selector), status, "... with its status");
    asocket_tls_error(selector, &failure);
    is_int(failure.reason, reason, "... for its reason: %s", failure.sentence);
    is_int(failure.step, step, "... in its step");
    is_int(failure.status, status, "... the same status");
    ok(strstr(asocket_error_message(selector), words) != NULL, "... in its words: %s",
       asocket_error_message(selector));
    asocket_close(secure);
    asocket_join_all(selector);
}

static void succeeds(server *s, const asocket_tls_options *options, const char *what)
{
    asocket *secure = server_connect(s, options);
    asocket_read_channel *in = asocket_open_read_channel(secure);
    asocket_write_channel *out = asocket_open_write_channel(secure, ASOCKET_AUTO_FLUSH);
    char line[16];

    asocket_write_string(out, "still there\n");
    is_int(asocket_read_line(in, line, sizeof line), 11, "%s: %s", what,
           secure ? "" : asocket_error_message(selector));
    asocket_close(secure);
    asocket_join_all(selector);
}

/* --- names -------------------------------------------------------------------------------------- */

#ifdef _WIN32
static void no_roots_on_the_system(server *s, asocket_tls_options options)
{
    (void)s, (void)options; /* its store is another one */
}
#else
static void no_roots_on_the_system(server *s, asocket_tls_options options)
{
    options.trust = NULL;
    setenv("SSL_CERT_FILE", "/nonexistent", 1);
    setenv("SSL_CERT_DIR", "/nonexistent", 1);
    fails_as(s, &options, ASOCKET_TLS_NO_ROOTS, ASOCKET_TLS_STEP_START, ASOCKET_ETLS,
             "/nonexistent", "P15: no roots on the system");
    unsetenv("SSL_CERT_FILE");
    unsetenv("SSL_CERT_DIR");
    fails_as(s, &options, ASOCKET_TLS_UNTRUSTED, ASOCKET_TLS_STEP_CERTIFICATE, ASOCKET_ETLS, "root",
             "P15: one that the system does not know");
}
#endif

static void names(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *secure;

    options.server_name = SERVER_NAME ".";
    succeeds(s, &options, "the dot of the root makes no difference");
    options.server_name = "other.example.test";
    fails_as(s, &options, ASOCKET_TLS_NAME, ASOCKET_TLS_STEP_CERTIFICATE, ASOCKET_ETLS, SERVER_NAME,
             "a certificate for another name");
    is_int(s->error, 256 + 42, "... and the server is told why");
    options.server_name = NULL;
    fails_as(s, &options, ASOCKET_TLS_NAME, ASOCKET_TLS_STEP_CERTIFICATE, ASOCKET_ETLS, "127.0.0.1",
             "without a name, the address is verified");
    options.server_name = "";
    fails_as(s, &options, ASOCKET_TLS_NO_NAME, ASOCKET_TLS_STEP_START, ASOCKET_EINVAL,
             "server_name", "an empty name");
    options.server_name = SERVER_NAME;
    options.trust = asocket_tls_trust_create();
    fails_as(s, &options, ASOCKET_TLS_NO_ROOTS, ASOCKET_TLS_STEP_START, ASOCKET_ETLS, "trust",
             "P15: no roots in it");
    asocket_tls_trust_release(options.trust);
    no_roots_on_the_system(s, options);
    server_certificate(s, "ipv4");
    options.trust = s->trust;
    options.server_name = NULL;
    succeeds(s, &options, "P15: an address that the certificate names");
    is_str(br_ssl_engine_get_server_name(&s->context.eng), "", "... is not sent as a name");
    server_certificate(s, "host_single");
    options.trust = s->trust;
    asocket_launch(selector, server_serve, s);
    secure = asocket_tls(asocket_connect(asocket_tcp(selector), "localhost", s->port), &options);
    ok(secure != NULL, "P15: the host given to connect is verified: %s",
       secure ? "" : asocket_error_message(selector));
    is_str(br_ssl_engine_get_server_name(&s->context.eng), "localhost", "... and sent as the name");
    asocket_close(secure);
    asocket_join_all(selector);
    options.sni = "front.test";
    options.server_name = "localhost";
    succeeds(s, &options, "another name can be sent than is verified");
    is_str(br_ssl_engine_get_server_name(&s->context.eng), "front.test", "... it was");
    options.sni = "";
    succeeds(s, &options, "or none");
    is_str(br_ssl_engine_get_server_name(&s->context.eng), "", "... it was not");
    server_close(s);
}

/* --- options ------------------------------------------------------------------------------------ */

static void wrong(server *s, const asocket_tls_options *options, const char *words)
{
    fails_as(s, options, ASOCKET_TLS_ARGUMENT, ASOCKET_TLS_STEP_START, ASOCKET_EINVAL, words,
             words);
}

static void wrong_options(void)
{
    server *s = server_open(selector, "plain");
    const asocket_tls_options good = server_options(s);
    static const char *const no_protocol[] = {""}, *const http[] = {"http/1.1"};
    static const uint16_t cbc[] = {0xC013};
    static char longest[300];
    asocket_tls_options options;

    options = good, options.alpn_count = 1;
    wrong(s, &options, "alpn");
    options.alpn = no_protocol;
    wrong(s, &options, "alpn");
    options.alpn = http, options.alpn_count = 33;
    wrong(s, &options, "alpn");
    options = good, options.alpn_required = true;
    wrong(s, &options, "alpn_required");
    options = good, options.pin_count = 1;
    wrong(s, &options, "pin_count");
    options = good, options.pin_only = true;
    wrong(s, &options, "pin_only");
    options = good, options.record_size = 511;
    wrong(s, &options, "record_size");
    options.record_size = 16385;
    wrong(s, &options, "record_size");
    options = good, options.handshake_timeout = -2;
    wrong(s, &options, "handshake_timeout");
    options = good, options.clock = 2;
    wrong(s, &options, "clock");
    options = good, options.chain_certificates = SIZE_MAX / sizeof(size_t) + 2;
    wrong(s, &options, "chain_certificates");
    options = good, options.cipher_suites = cbc, options.cipher_suite_count = 1;
    wrong(s, &options, "cipher_suites");
    options.cipher_suite_count = 0;
    wrong(s, &options, "cipher_suites");
    options.cipher_suite_count = 1000;
    wrong(s, &options, "cipher_suites");
    memset(longest, 'a', sizeof longest - 1);
    options = good, options.server_name = longest;
    wrong(s, &options, "server_name");
    options = good, options.sni = longest;
    wrong(s, &options, "sni");
    ok(asocket_tls(NULL, &good) == NULL, "no socket, no TLS");
    server_close(s);
}

/* --- agreeing ----------------------------------------------------------------------------------- */

static void suites(void)
{
    static const struct {
        uint16_t number;
        const char *certificate;
    } all[] = {{0xC02B, "plain"},   {0xC02F, "key_rsa"}, {0xCCA9, "plain"},
               {0xCCA8, "key_rsa"}, {0xC02C, "plain"},   {0xC030, "key_rsa"}};
    static const uint16_t old[] = {0xC013, 0x002F, 0xC009};
    asocket_tls_details details;
    size_t i;

    for (i = 0; i < 6; i++) {
        server *s = server_open(selector, all[i].certificate);
        asocket_tls_options options = server_options(s);
        asocket *secure;

        options.cipher_suites = &all[i].number;
        options.cipher_suite_count = 1;
        secure = server_connect(s, &options);
        is_int(asocket_tls_info(secure, &details), 0, "a suite alone: %04x", all[i].number);
        ok(secure && details.cipher_suite == all[i].number, "... is agreed: %s",
           secure ? details.suite_name : asocket_error_message(selector));
        asocket_close(secure);
        asocket_join_all(selector);
        options.cipher_suites = NULL;
        s->suites = &all[i].number;
        s->suite_count = 1;
        succeeds(s, &options, "a server that knows only it");
        s->suites = old;
        s->suite_count = 3;
        fails_as(s, &options, ASOCKET_TLS_REFUSED, ASOCKET_TLS_STEP_HANDSHAKE, ASOCKET_ETLS,
                 "none of our cipher suites", "a server with old suites only");
        server_close(s);
    }
}

static void protocols(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    static const char *const both[] = {"h2", "http/1.1"};
    asocket_tls_details details;
    asocket *secure;

    s->alpn = "http/1.1";
    options.alpn = both;
    options.alpn_count = 2;
    options.alpn_required = true;
    secure = server_connect(s, &options);
    is_int(asocket_tls_info(secure, &details), 0, "ALPN");
    is_str(details.alpn, "http/1.1", "... the one that the server knows");
    asocket_close(secure);
    asocket_join_all(selector);
    options.alpn_count = 1;
    fails_as(s, &options, ASOCKET_TLS_NO_PROTOCOL, ASOCKET_TLS_STEP_HANDSHAKE, ASOCKET_ETLS, "ALPN",
             "no protocol in common");
    s->alpn = NULL;
    fails_as(s, &options, ASOCKET_TLS_NO_PROTOCOL, ASOCKET_TLS_STEP_HANDSHAKE, ASOCKET_ETLS,
             "selected no", "a server that knows no ALPN, where it is required");
    is_int(s->error, 256 + 120, "... and the server is told why");
    options.alpn_required = false;
    succeeds(s, &options, "... where it is not");
    server_close(s);
}

static const asocket_tls_peer *seen;
static int refusal, calls;

static int look(void *user, const asocket_tls_peer *peer)
{
    seen = peer;
    calls++;
    is_str(peer->server_name, SERVER_NAME, "a callback sees the name");
    ok(peer->count >= 1 && peer->chain[0].size == ((server *)user)->own.chain[0].data_len,
       "... the chain");
    return refusal;
}

static void a_callback_may_refuse(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);

    options.verify = look;
    options.user = s;
    refusal = 0;
    succeeds(s, &options, "... and accepts");
    is_int(calls, 1, "... once");
    refusal = 1;
    fails_as(s, &options, ASOCKET_TLS_VERIFY, ASOCKET_TLS_STEP_CERTIFICATE, ASOCKET_ETLS,
             "callback", "by a callback");
    server_close(s);
}

static void insecure(void)
{
    server *s = server_open(selector, "self_signed");
    asocket_tls_options options = server_options(s);
    asocket_tls_details details;
    asocket *secure;

    fails_as(s, &options, ASOCKET_TLS_UNTRUSTED, ASOCKET_TLS_STEP_CERTIFICATE, ASOCKET_ETLS,
             "trust", "a self-signed certificate");
    asocket_launch(selector, server_serve, s);
    secure =
        asocket_tls_insecure(asocket_connect(asocket_tcp(selector), "127.0.0.1", s->port), NULL);
    is_int(asocket_tls_info(secure, &details), 0, "P15: insecure accepts it");
    ok(!details.verified && !*details.server_name, "... and says that it is not verified");
    asocket_close(secure);
    asocket_join_all(selector);
    server_close(s);
}

static void a_pin_verifies_no_name(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    uint8_t pins[1][32];
    asocket_tls_details details;
    asocket *secure = server_connect(s, &options);

    asocket_tls_info(secure, &details);
    memcpy(pins[0], details.pin, 32);
    asocket_close(secure);
    asocket_join_all(selector);
    options.server_name = "other.example.test";
    options.pins = (const uint8_t(*)[32])pins;
    options.pin_count = 1;
    options.pin_only = true;
    secure = server_connect(s, &options);
    is_int(asocket_tls_info(secure, &details), 0, "a pin alone is enough");
    ok(details.verified && !*details.server_name, "P15: ... but verifies no name");
    asocket_close(secure);
    asocket_join_all(selector);
    server_close(s);
}

/* --- what is no TLS 1.2 server ------------------------------------------------------------------ */

static void plain_text(const char *text, const char *words)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);

    s->plain = text;
    fails_as(s, &options, ASOCKET_TLS_NOT_TLS, ASOCKET_TLS_STEP_HANDSHAKE, ASOCKET_ETLS, words,
             "a server that speaks plain text");
    server_close(s);
}

static void raw(const void *bytes, size_t size, asocket_tls_reason reason, const char *words,
                const char *what)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket_tls_failure failure;

    s->raw = bytes;
    s->raw_size = size;
    fails_as(s, &options, reason, ASOCKET_TLS_STEP_HANDSHAKE, ASOCKET_ETLS, words, what);
    asocket_tls_error(selector, &failure);
    if (size == 7 && ((const uint8_t *)bytes)[5] == 2)
        is_int(failure.alert, ((const uint8_t *)bytes)[6], "... and which alert it was");
    server_close(s);
}

static void alert(int number, asocket_tls_reason reason, const char *words)
{
    uint8_t bytes[7] = {21, 3, 3, 0, 2, 2, 0};

    bytes[6] = (uint8_t)number;
    raw(bytes, 7, reason, words, words);
}

static void odd_servers(void)
{
    static const uint8_t client_hello[] = {22, 3, 1, 0, 5, 1, 0, 0, 1, 0};
    static const uint8_t too_large[] = {22, 3, 3, 0xFF, 0xFF, 0, 0};
    static const uint8_t data[] = {23, 3, 3, 0, 1, 0};
    static const uint8_t ccs[] = {20, 3, 3, 0, 1, 1};
    static const uint8_t type[] = {24, 3, 3, 0, 1, 1};
    static const uint8_t close_notify[] = {21, 3, 3, 0, 2, 1, 0};
    static const uint8_t tls11[] = {22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2};
    static uint8_t empty[40 * 5], warnings[40 * 7];
    uint8_t hello[5 + 42];
    size_t i;

    for (i = 0; i < 40; i++) {
        memcpy(empty + i * 5, "\26\3\3\0\0", 5);
        memcpy(warnings + i * 7, "\25\3\3\0\2\1\132", 7);
    }
    memset(hello, 0, sizeof hello);
    memcpy(hello, tls11, sizeof tls11);
    plain_text("HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1.1 400 Bad Request");
    plain_text("SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0-OpenSSH_9.2");
    plain_text("220 mail.example.test ESMTP\r\n", "220 mail.example.test");
    plain_text("\1\2\3\4\5\6", "does not speak TLS");
    raw(type, sizeof type, ASOCKET_TLS_NOT_TLS, "does not speak TLS", "an unknown record");
    raw(client_hello, sizeof client_hello, ASOCKET_TLS_PROTOCOL, "client", "a client");
    raw(too_large, sizeof too_large, ASOCKET_TLS_RECORD_SIZE, "larger than", "a record of 64 KiB");
    raw(data, sizeof data, ASOCKET_TLS_PROTOCOL, "protocol", "data before anything is agreed");
    raw(ccs, sizeof ccs, ASOCKET_TLS_PROTOCOL, "protocol", "ChangeCipherSpec before it");
    raw(close_notify, sizeof close_notify, ASOCKET_TLS_EOF_IN_HANDSHAKE, "before the handshake",
        "P15: close_notify in the handshake is no success");
    raw(hello, sizeof hello, ASOCKET_TLS_OLD_VERSION, "TLS 1.1", "a server with TLS 1.1");
    hello[10] = 3;
    raw(hello, sizeof hello, ASOCKET_TLS_PROTOCOL, "another version", "1.2 in a record of 1.1");
    raw(empty, sizeof empty, ASOCKET_TLS_FLOOD, "without data", "empty records");
    raw(warnings, sizeof warnings, ASOCKET_TLS_FLOOD, "without data", "warnings");
    alert(70, ASOCKET_TLS_NEEDS_TLS13, "requires TLS 1.3; BearSSL ends at 1.2");
    alert(40, ASOCKET_TLS_REFUSED, "handshake_failure");
    alert(71, ASOCKET_TLS_REFUSED, "insufficient_security");
    alert(116, ASOCKET_TLS_CLIENT_CERTIFICATE, "certificate_required");
    alert(42, ASOCKET_TLS_CLIENT_CERTIFICATE, "bad_certificate");
    alert(120, ASOCKET_TLS_NO_PROTOCOL, "ALPN");
    alert(112, ASOCKET_TLS_ALERT, "does not know the name " SERVER_NAME);
    alert(80, ASOCKET_TLS_ALERT, "internal_error");
    alert(99, ASOCKET_TLS_ALERT, "alert 99");
}

/* --- ends of waits ------------------------------------------------------------------------------ */

static void ends(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    int64_t start;

    s->silent = true;
    options.handshake_timeout = 30;
    start = test_clock();
    fails_as(s, &options, ASOCKET_TLS_TIMEOUT, ASOCKET_TLS_STEP_HANDSHAKE, ASOCKET_ETIMEDOUT,
             "too long", "P7: a server that says nothing");
    ok(test_took(start, 30, 200), "... after handshake_timeout");
    s->silent = false;
    s->mischief = CUT;
    fails_as(s, &options, ASOCKET_TLS_EOF_IN_HANDSHAKE, ASOCKET_TLS_STEP_HANDSHAKE, ASOCKET_ETLS,
             "is this a TLS port?", "a server that hangs up");
    s->at = 100;
    fails_as(s, &options, ASOCKET_TLS_EOF_IN_HANDSHAKE, ASOCKET_TLS_STEP_HANDSHAKE, ASOCKET_ETLS,
             "closed during the handshake", "... later");
    s->mischief = RESET;
    fails_as(s, &options, ASOCKET_TLS_IO, ASOCKET_TLS_STEP_HANDSHAKE, ASOCKET_ECONNRESET, "broke",
             "a reset");
    server_close(s);
}

/* --- the upgrade -------------------------------------------------------------------------------- */

typedef struct starttls {
    asocket *listener;
    const char *answer;
} starttls;

static server *behind;

static void serve_starttls(asocket_selector *s, void *argument)
{
    starttls *t = (starttls *)argument;
    asocket *socket = asocket_accept(behind->listener);
    asocket_read_channel *in = asocket_open_read_channel(socket);
    asocket_write_channel *out = asocket_open_write_channel(socket, 0);
    char line[100];

    (void)s;
    asocket_read_line(in, line, sizeof line);
    asocket_write_string(out, t->answer);
    asocket_flush(out);
    behind->socket = socket;
    behind->in = in;
    behind->out = out;
    behind->over = false;
    server_start(behind);
    if (server_until(behind, BR_SSL_SENDAPP))
        server_echo(behind);
    asocket_close(socket);
}

static asocket *upgrade(const char *answer)
{
    static starttls t;
    asocket_tls_options options = server_options(behind);
    asocket *socket;
    asocket_read_channel *in;
    asocket_write_channel *out;
    char line[100];

    t.answer = answer;
    asocket_launch(selector, serve_starttls, &t);
    socket = asocket_connect(asocket_tcp(selector), "127.0.0.1", behind->port);
    in = asocket_open_read_channel(socket);
    out = asocket_open_write_channel(socket, 0);
    asocket_write_string(out, "STARTTLS\n");
    asocket_flush(out);
    asocket_read_line(in, line, sizeof line);
    is_str(line, "go ahead", "in plain text");
    return asocket_tls(socket, &options);
}

static void an_upgrade(void)
{
    asocket *secure;
    asocket_tls_failure failure;
    asocket_write_channel *out;
    char line[20];

    behind = server_open(selector, "plain");
    secure = upgrade("go ahead\n");
    out = asocket_open_write_channel(secure, ASOCKET_AUTO_FLUSH);
    asocket_write_string(out, "now secret\n");
    is_int(asocket_read_line(asocket_open_read_channel(secure), line, sizeof line), 10,
           "a socket becomes secure in the middle of a conversation");
    asocket_close(secure);
    asocket_join_all(selector);
    ok(upgrade("go ahead\ninjected\n") == NULL, "P15: bytes that came before TLS are refused");
    asocket_tls_error(selector, &failure);
    is_int(failure.reason, ASOCKET_TLS_PLAINTEXT, "... as what they are: %s", failure.sentence);
    asocket_join_all(selector);
    server_close(behind);
}

/* --- sessions ----------------------------------------------------------------------------------- */

static bool resumes(server *s, const asocket_tls_options *options)
{
    asocket *secure = server_connect(s, options);
    asocket_tls_details details;
    bool resumed;

    if (asocket_tls_info(secure, &details) < 0) {
        diag("%s", asocket_error_message(selector));
        return false;
    }
    resumed = details.resumed;
    if (resumed)
        ok(details.verified && !details.certificate.size && !*details.group,
           "... a resumed one has no certificate");
    asocket_close(secure);
    asocket_join_all(selector);
    return resumed;
}

static void sessions(void)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s), other;
    uint8_t pins[1][32];
    asocket_tls_details details;
    asocket *secure;

    options.sessions = asocket_tls_sessions_create(2);
    ok(options.sessions != NULL, "sessions can be kept");
    ok(!resumes(s, &options) && !resumes(s, &options), "a server without sessions resumes none");
    s->sessions = true;
    secure = server_connect(s, &options);
    asocket_tls_info(secure, &details);
    memcpy(pins[0], details.pin, 32);
    asocket_close(secure);
    asocket_join_all(selector);
    ok(resumes(s, &options), "a session is resumed");
    ok(resumes(s, &options), "... again");
    secure = server_connect(s, &options);
    asocket_tls_info(secure, &details);
    ok(!memcmp(pins[0], details.pin, 32), "... and knows the pin of the certificate");
    asocket_close(secure);
    asocket_join_all(selector);
    other = options;
    other.pins = (const uint8_t(*)[32])pins;
    other.pin_count = 1;
    ok(!resumes(s, &other), "P15: not by who asks for a pin");
    ok(resumes(s, &other), "... but the next time");
    ok(resumes(s, &options), "... nor is the first one lost");
    other = options;
    other.server_name = SERVER_NAME ".";
    ok(resumes(s, &other), "the same name");
    other.server_name = "other.example.test";
    ok(server_connect(s, &other) == NULL, "P15: another name resumes nothing");
    asocket_join_all(selector);
    server_certificate(s, "self_signed");
    ok(resumes(s, &options), "a session needs no certificate");
    br_ssl_session_cache_lru_init(&s->cache, s->cache_memory, sizeof s->cache_memory);
    ok(server_connect(s, &options) == NULL, "P15: a session that the server forgot is none");
    asocket_join_all(selector);
    asocket_tls_sessions_destroy(options.sessions);
    asocket_tls_sessions_destroy(NULL);
    server_close(s);
}

static int64_t no_clock(void *user)
{
    (void)user;
    return 0;
}

static void sessions_serve_nobody_who_asks_for_more(void)
{
    static const uint16_t one[] = {BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256};
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket__tls_check check;
    uint8_t keys[2][32];
    asocket *secure;

    options.sessions = asocket_tls_sessions_create(0);
    s->sessions = true;
    options.now = no_clock;
    options.clock = ASOCKET_TLS_CLOCK_FROM_CHAIN;
    ok(!resumes(s, &options) && resumes(s, &options), "a session of who has no clock");
    options.clock = ASOCKET_TLS_CLOCK_REQUIRED;
    secure = server_connect(s, &options);
    ok(secure == NULL, "P15: ... is not resumed by who needs one");
    asocket_close(secure);
    asocket_join_all(selector);
    options.now = server_options(s).now;
    ok(!resumes(s, &options) && resumes(s, &options), "P15: ... nor by who has one");
    memset(&check, 0, sizeof check);
    asocket__tls_session_key(&check, &options, 443, keys[0]);
    options.cipher_suites = one;
    options.cipher_suite_count = 1;
    asocket__tls_session_key(&check, &options, 443, keys[1]);
    ok(memcmp(keys[0], keys[1], 32) != 0, "nor offered with other suites (RFC 5246, 7.4.1.2)");
    asocket_tls_sessions_destroy(options.sessions);
    server_close(s);
}

/* A connection that fails takes its session with it (RFC 5246, 7.2.2), one that is cut does not. */
static void talk_fatal(server *s)
{
    server_record(s, 21, "\2\120", 2);
    (void)asocket_flush(s->out);
    server_stall(s);
}

static void talk_forged(server *s)
{
    server_wire(s, "\27\3\3\0\30........................", 29);
    (void)asocket_flush(s->out);
    server_stall(s);
}

static void talk_cut(server *s)
{
    s->over = true;
}

static void a_session_ends_with(void (*talk)(server *s), bool over, const char *what)
{
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket *secure;
    char byte;

    options.sessions = asocket_tls_sessions_create(0);
    s->sessions = true;
    ok(!resumes(s, &options) && resumes(s, &options), "a session is resumed");
    s->talk = talk;
    secure = server_connect(s, &options);
    is_status(asocket_read(asocket_open_read_channel(secure), &byte, 1), ASOCKET_ETLS,
              "... then comes %s", what);
    asocket_close(secure);
    asocket_join_all(selector);
    s->talk = NULL;
    ok(resumes(s, &options) == !over, "... which ends %s", over ? "it, too" : "the stream alone");
    ok(resumes(s, &options), "... the one after that is resumed");
    s->talk = talk;
    secure = server_connect(s, &options);
    asocket_tls_sessions_destroy(options.sessions);
    is_status(asocket_read(asocket_open_read_channel(secure), &byte, 1), ASOCKET_ETLS,
              "... and there may be no sessions any more then");
    asocket_close(secure);
    asocket_join_all(selector);
    server_close(s);
}

/* --- client certificates ------------------------------------------------------------------------ */

static asocket_tls_identity *identity_of(const char *name, asocket_tls_failure *failure)
{
    char chain[200], key[200];

    snprintf(chain, sizeof chain, CERTIFICATES "%s.pem", name);
    snprintf(key, sizeof key, CERTIFICATES "%s.key", name);
    return asocket_tls_identity_load(chain, key, failure);
}

static void identities(void)
{
    static const char *const names[] = {"plain", "key_p384", "key_p521", "key_rsa", "key_rsa4096"};
    server *s = server_open(selector, "plain");
    asocket_tls_options options = server_options(s);
    asocket_tls_failure failure;
    size_t i;

    s->asks = true;
    succeeds(s, &options, "a server that asks gets none");
    is_int(server_anyone.count, 0, "... none at all");
    for (i = 0; i < 5; i++) {
        options.identity = identity_of(names[i], &failure);
        ok(options.identity != NULL, "an identity: %s %s", names[i], failure.sentence);
        succeeds(s, &options, "... is taken by a server that asks");
        is_int(server_anyone.count > 0, 1, "... which saw it");
        asocket_tls_identity_release(options.identity);
    }
    options.identity = NULL;
    ok(!asocket_tls_identity_load(CERTIFICATES "plain.pem", CERTIFICATES "key_rsa.key", &failure),
       "a key of another certificate");
    is_int(failure.reason, ASOCKET_TLS_BAD_FILE, "... is no good: %s", failure.sentence);
    ok(!asocket_tls_identity_load(CERTIFICATES "plain.pem", CERTIFICATES "plain.pem", &failure),
       "no key");
    ok(strstr(failure.sentence, "no private key") != NULL, "... is told: %s", failure.sentence);
    ok(!asocket_tls_identity_load(CERTIFICATES "plain.key", CERTIFICATES "plain.key", &failure),
       "no certificate");
    ok(strstr(failure.sentence, "no certificate") != NULL, "... is told: %s", failure.sentence);
    ok(!asocket_tls_identity_load(CERTIFICATES "nothing", CERTIFICATES "plain.key", &failure),
       "no file");
    is_int(failure.reason, ASOCKET_TLS_FILE, "... is told: %s", failure.sentence);
    ok(!asocket_tls_identity_create("", 0, "", 0, NULL), "nothing at all");
    ok(!asocket_tls_identity_create(NULL, 1, "", 0, &failure) &&
           !asocket_tls_identity_create("", 0, NULL, 1, &failure),
       "... not even a text");
    is_int(failure.reason, ASOCKET_TLS_BAD_FILE, "... %s", failure.sentence);
    server_close(s);
}

/* Before anything has failed. */
static void no_failure_yet(void)
{
    asocket_tls_failure failure;

    memset(&failure, 1, sizeof failure);
    is_status(asocket_tls_error(selector, &failure), ASOCKET_OK, "asked before any failure");
    is_int(failure.reason, ASOCKET_TLS_OK, "... there is none");
    is_status(failure.status, ASOCKET_OK, "... nor a status");
    ok(failure.alert == -1 && failure.alert_sent == -1, "... nor an alert");
    is_str(failure.sentence, "", "... nor a sentence");
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    no_failure_yet();
    names();
    wrong_options();
    suites();
    protocols();
    a_callback_may_refuse();
    insecure();
    a_pin_verifies_no_name();
    odd_servers();
    ends();
    an_upgrade();
    sessions();
    sessions_serve_nobody_who_asks_for_more();
    a_session_ends_with(talk_fatal, true, "a fatal alert");
    a_session_ends_with(talk_forged, true, "a forged record");
    a_session_ends_with(talk_cut, false, "an end without close_notify");
    identities();
    return test_end(selector);
}
