/* scenarios_tls.h - scenarios with asocket_tls.h. Whatever fails, P15 holds: only who was verified
   is connected, and only the end of TLS is an end. */
#ifndef SCENARIOS_TLS_H
#define SCENARIOS_TLS_H

#include "../../asocket_tls.h"
#include "tls_server.h"

#include <sys/stat.h>

enum {
    MAY_TLS = MAY_WRITE | MAY(ETLS),
    MAY_TRUST = MAY(ENOTFOUND) | MAY(ENOMEM) | MAY(EACCES) | MAY(EINVAL) | MAY(EMFILE) | MAY(EIO)
};

/* --- trust ------------------------------------------------------------------------------------ */

#define TLS_FOLDER "build/faults/roots"

/* What SSL_CERT_FILE and SSL_CERT_DIR name: the root of the server, and a folder of others. */
static void tls_name_roots(void)
{
    static const char *const links[][2] = {{"../../tls/maze_root.trust.pem", "nine.pem"},
                                           {"../../tls/old_root_expired.trust.pem", "two.pem"},
                                           {"../../tls/root_only.key", "none.pem"},
                                           {"..", "folder"}};
    char path[100];
    size_t i;

    (void)mkdir(TLS_FOLDER, 0777);
    for (i = 0; i < sizeof links / sizeof *links; i++) {
        snprintf(path, sizeof path, TLS_FOLDER "/%s", links[i][1]);
        if (symlink(links[i][0], path) && errno != EEXIST)
            seam_complain("%s: %s", path, strerror(errno));
    }
    (void)setenv("SSL_CERT_FILE", CERTIFICATES "root_only.trust.pem", 1);
    (void)setenv("SSL_CERT_DIR", TLS_FOLDER, 1);
}

/* Whether an add answered `most`. What it answers is there, or nothing. */
static bool tls_added(scene *s, const char *call, int status, int most, asocket_tls_trust *trust,
                      size_t before)
{
    size_t added = asocket_tls_trust_count(trust) - before;

    if (status > most || status == 0 || status < ASOCKET_ETLS ||
        (status < 0 && !(MAY_TRUST >> (-1001 - status) & 1)))
        seam_complain("%s answered %d", call, status);
    if (added > (status > 0 ? (size_t)status : 0) || (status > 0 && !added)) /* some are there */
        seam_complain("%s answered %d, and added %d", call, status, (int)added);
    if ((status < 0) != (*asocket_tls_trust_message(trust) != 0))
        seam_complain("%s answered %d: \"%s\"", call, status, asocket_tls_trust_message(trust));
    if (s->strict && status != most)
        seam_complain("%s answered %d instead of %d: %s", call, status, most,
                      asocket_tls_trust_message(trust));
    return status == most;
}

static asocket_tls_trust *tls_trust(scene *s)
{
    asocket_tls_trust *trust = asocket_tls_trust_create();

    right(trust || !s->strict, "there is no trust");
    return trust;
}

/* Roots of one's own, from memory. */
static asocket_tls_trust *tls_trust_of(scene *s, const char *name)
{
    asocket_tls_trust *trust = tls_trust(s);
    char path[100];
    size_t size;
    uint8_t *pem;

    snprintf(path, sizeof path, CERTIFICATES "%s.trust.pem", name);
    pem = read_whole(path, &size);
    if (trust)
        (void)tls_added(s, "add_pem", asocket_tls_trust_add_pem(trust, pem, size), 1, trust, 0);
    free(pem);
    return trust;
}

/* Roots from everywhere, more of them than there is room for at first. */
static void play_tls_trust(scene *s)
{
    asocket_tls_trust *trust = tls_trust_of(s, "root_only");
    size_t before = asocket_tls_trust_count(trust);
    int status;

    tls_name_roots();
    credentials_load(&tls_server.own, "root_only");
    if (trust && before) {
        status = asocket_tls_trust_add_der(trust, tls_server.own.chain[0].data,
                                           tls_server.own.chain[0].data_len);
        (void)tls_added(s, "add_der", status, 1, trust, before);
    }
    credentials_free(&tls_server.own);
    asocket_tls_trust_release(trust);
    trust = tls_trust(s);
    if (!trust)
        return;
    status = asocket_tls_trust_add_file(trust, CERTIFICATES "many_roots.trust.pem");
    (void)tls_added(s, "add_file", status, 6, trust, 0);
    before = asocket_tls_trust_count(trust);
    (void)tls_added(s, "add_system", asocket_tls_trust_add_system(trust), 12, trust, before);
    asocket_tls_trust_release(trust);
}

/* --- connections ------------------------------------------------------------------------------ */

static asocket_tls_options tls_options(asocket_tls_trust *trust)
{
    asocket_tls_options options;

    memset(&options, 0, sizeof options);
    options.server_name = SERVER_NAME;
    options.trust = trust;
    return options;
}

/* Without a connection there is a reason; it is left out when there is no memory for it. */
static void tls_refused(scene *s, asocket_tls_failure *failure)
{
    memset(failure, 0, sizeof *failure);
    if (asocket_error(s->selector) != ASOCKET_ETLS)
        return;
    (void)asocket_tls_error(s->selector, failure);
    right(failure->reason ? failure->status == ASOCKET_ETLS && failure->step && *failure->sentence
                          : !s->strict,
          "P15: a failure does not say in which step and why");
    right(strlen(asocket_error_message(s->selector)) > 5, "P15: a failure has no words");
}

/* s->peer is the socket below. */
static bool tls_connected(scene *s, const asocket_tls_options *options)
{
    const br_x509_certificate *leaf = &tls_server.own.chain[0];
    asocket_tls_details details;
    asocket_tls_failure failure;

    s->peer = keep(s, asocket_connect(narrow(s), here(), tls_server.port));
    if (!got(s, "connect", s->peer != NULL, MAY_CONNECT))
        return false;
    s->client = keep(s, asocket_tls(s->peer, options));
    if (!s->client)
        tls_refused(s, &failure);
    if (!got(s, "tls", s->client != NULL, MAY_TLS))
        return false;
    s->also = MAY(ETLS);
    right(!asocket_tls_info(s->client, &details) && details.verified, "P15: it is not verified");
    right(details.resumed || (details.certificate.size == leaf->data_len &&
                              !memcmp(details.certificate.der, leaf->data, leaf->data_len)),
          "P15: it is not the server's certificate");
    s->client_in = asocket_open_read_channel(s->client);
    s->client_out = asocket_open_write_channel(s->client, ASOCKET_AUTO_FLUSH);
    return got(s, "open_write_channel", s->client_in && s->client_out, 0);
}

/* So many bytes of the server's, none of them wrong: 0, or a status. */
static int tls_take(scene *s, int64_t size)
{
    char bytes[5000];
    ptrdiff_t count, i;

    for (s->received = 0; s->received < size; s->received += count) {
        count = asocket_read(s->client_in, bytes, sizeof bytes);
        if (count <= 0)
            return count ? (int)count : -1;
        for (i = 0; i < count; i++)
            if (bytes[i] != bulk_byte(s->received + i))
                seam_complain("P15: byte %ld arrived wrong", (long)(s->received + i));
    }
    return s->received == size ? 0 : -1;
}

static void part_tls_write(scene *s)
{
    if (bulk_write(s, s->client_out, TLS_BULK, 10000))
        (void)went(s, "flush", asocket_flush(s->client_out), MAY_WRITE);
}

/* MAY_WRITE: no end of the stream. */
static void part_tls_read(scene *s)
{
    (void)went(s, "read", tls_take(s, TLS_BULK), MAY_WRITE);
}

static void tls_talk(scene *s)
{
    if (!wrote(s, s->client_out, "hello\n") || !reads(s, s->client_in, "hello") ||
        !wrote(s, s->client_out, "both\n"))
        return;
    (void)go(s, part_tls_write);
    (void)go(s, part_tls_read);
    (void)join_all(s);
    if (s->received < TLS_BULK || !went(s, "finish", asocket_finish(s->client_out), MAY_WRITE))
        return;
    ends(s, s->client_in);
}

/* After a close: what was written is there, or the server knows that it was cut off. */
static void tls_closed(scene *s)
{
    (void)asocket_close(s->client);
    (void)went(s, "await_closed", asocket_await_closed(s->client), MAY_WAIT);
    (void)went(s, "await_closed", asocket_await_closed(s->peer), MAY_WAIT);
    right(!tls_server.clean || tls_server.heard >= s->sent,
          "P15: the server was told the end of TLS, but not all before it");
    right(tls_server.clean || !s->strict, "P2: the server was not told the end of TLS");
}

/* Lines, more both ways at a time, half-close and close. */
static void play_tls(scene *s)
{
    asocket_tls_trust *trust = tls_trust_of(s, "root_only");
    asocket_tls_options options = tls_options(trust);

    tls_server_open("root_only");
    if (asocket_tls_trust_count(trust) && tls_connected(s, &options)) {
        tls_talk(s);
        tls_closed(s);
        right(!s->strict || (s->sent == TLS_BULK && tls_server.heard == TLS_BULK),
              "P2: not all arrived");
    }
    asocket_tls_trust_release(trust);
    tls_server_close();
}

static int tls_looks(void *user, const asocket_tls_peer *peer)
{
    scene *s = (scene *)user;

    right(peer->count == 1 || !s->strict, "a callback sees another chain");
    s->done++;
    return 0;
}

/* The server ends TLS. */
static void tls_until_bye(scene *s)
{
    if (wrote(s, s->client_out, "hello\n") && reads(s, s->client_in, "hello") &&
        wrote(s, s->client_out, "bye\n"))
        ends(s, s->client_in);
    tls_closed(s);
}

/* The stream ends, but TLS does not. */
static void tls_until_cut(scene *s)
{
    asocket_tls_details details;
    asocket_tls_failure failure;
    char byte;

    right((!asocket_tls_info(s->client, &details) && details.resumed) || !s->strict,
          "a session was not resumed");
    if (!wrote(s, s->client_out, "cut\n") || !went(s, "read", tls_take(s, TLS_CUT), MAY_WRITE))
        return;
    failed(s, "read", asocket_read(s->client_in, &byte, 1), ASOCKET_ETLS, MAY_WRITE);
    (void)asocket_tls_socket_error(s->client, &failure);
    right(failure.reason == ASOCKET_TLS_TRUNCATED || !s->strict, "P15: that is no truncation");
    (void)asocket_close(s->client);
}

static void tls_both(scene *s, asocket_tls_options *options)
{
    tls_server_open("root_only");
    tls_server.asks = true;
    if (tls_connected(s, options))
        tls_until_bye(s);
    if (tls_connected(s, options))
        tls_until_cut(s);
    right(s->done == 1 || !s->strict, "the callback was not asked once");
    tls_server_close();
}

/* Everything that can be asked for: the system's roots, a client certificate, a protocol, a
   callback, a session that is resumed. */
static void play_tls_options(scene *s)
{
    static const char *const protocols[] = {"lines"};
    asocket_tls_options options = tls_options(NULL);
    asocket_tls_failure failure;

    tls_name_roots();
    options.alpn = protocols;
    options.alpn_count = 1;
    options.alpn_required = 1;
    options.verify = tls_looks;
    options.user = s;
    options.identity = asocket_tls_identity_load(CERTIFICATES "root_only.pem",
                                                 CERTIFICATES "root_only.key", &failure);
    options.sessions = asocket_tls_sessions_create(2);
    right(options.sessions || !s->strict, "there are no sessions");
    right(options.identity || (!s->strict && *failure.sentence), "there is no identity");
    right(options.identity || failure.reason == ASOCKET_TLS_FILE ||
              failure.reason == ASOCKET_TLS_NO_MEMORY,
          "a failure to load an identity says something else");
    if (options.identity && options.sessions)
        tls_both(s, &options);
    asocket_tls_sessions_destroy(options.sessions);
    asocket_tls_identity_release(options.identity);
}

/* Nobody is connected, and the server is told nothing. */
static void tls_turned_away(scene *s, const asocket_tls_options *options, asocket_tls_reason reason)
{
    asocket_tls_failure failure;
    asocket *secure;

    s->client = keep(s, asocket_connect(narrow(s), here(), tls_server.port));
    if (!got(s, "connect", s->client != NULL, MAY_CONNECT))
        return;
    secure = keep(s, asocket_tls(s->client, options));
    right(!secure, "P15: a stranger was verified");
    tls_refused(s, &failure);
    failed(s, "tls", secure ? 0 : asocket_error(s->selector), ASOCKET_ETLS, MAY_TLS);
    right(!s->strict || failure.reason == reason, "P15: for another reason");
    right(!tls_server.told, "P15: a stranger was told something");
}

static int tls_refuses(void *user, const asocket_tls_peer *peer)
{
    (void)user;
    (void)peer;
    return 1;
}

/* A server that is not to be trusted, and one that a callback refuses: whatever fails, nobody takes
   it for one that is. */
static void play_tls_stranger(scene *s)
{
    asocket_tls_trust *trust = tls_trust_of(s, "root_only");
    asocket_tls_options options = tls_options(trust);

    tls_server_open("unknown_issuer");
    if (asocket_tls_trust_count(trust))
        tls_turned_away(s, &options, ASOCKET_TLS_UNTRUSTED);
    tls_server_close();
    tls_server_open("root_only");
    options.verify = tls_refuses;
    if (asocket_tls_trust_count(trust))
        tls_turned_away(s, &options, ASOCKET_TLS_VERIFY);
    tls_server_close();
    asocket_tls_trust_release(trust);
}

#endif
