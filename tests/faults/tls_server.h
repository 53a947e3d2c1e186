/* tls_server.h - the other end of the scenarios with TLS: BearSSL's server engine on plain sockets,
   past the seam. It has no thread: while the library waits, seam_peer lets it do as much as it can
   without waiting itself. So it needs no time of its own, the calls of a run are the same each
   time, and a client may vanish when it likes.

   It answers lines: "both" with so many bytes while it takes as many, "bye" with the end of TLS,
   "cut" with some bytes and an end of the stream that is not that of TLS, others with
   themselves. */
#ifndef TLS_SERVER_H
#define TLS_SERVER_H

#include "../tls/credentials.h"
#include "scene.h"

#include <errno.h>
#include <netinet/tcp.h>

enum { TLS_BULK = 40000, TLS_CUT = 3000 };

static struct tls_server {
    int listener, handle; /* -1: none */
    int port;
    bool asks, open; /* for certificates; since tls_server_open */
    credentials own;
    anyone client;
    br_ssl_session_cache_lru cache;
    uint8_t cache_memory[2000];
    /* the connection */
    br_ssl_server_context context;
    uint8_t buffer[BR_SSL_BUFSIZE_BIDI];
    bool clean;       /* the client has ended TLS; the engine ended without an error */
    bool cut, bye;    /* what it does when all is said */
    bool ending;      /* it has ended its side of the stream, and waits for the client's */
    char line[100];   /* so far */
    char answer[100]; /* to be said */
    size_t line_size, answer_size;
    int64_t said, to_say; /* of the bulk */
    int64_t heard, to_hear;
    bool told; /* anything at all */
} tls_server;

/* --- the connection --------------------------------------------------------------------------- */

static void tls_server_begin(void)
{
    br_ssl_engine_context *engine = &tls_server.context.eng;
    static unsigned char nobody[] = {0x30, 0};
    static const br_x500_name issuers[] = {{nobody, sizeof nobody}};
    static const char *const names[] = {"lines"};
    static const uint16_t suite = BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;

    br_ssl_server_init_full_ec(&tls_server.context, tls_server.own.chain, tls_server.own.count,
                               BR_KEYTYPE_EC, br_skey_decoder_get_ec(&tls_server.own.key));
    br_ssl_engine_set_suites(engine, &suite, 1);
    br_ssl_engine_set_protocol_names(engine, (const char **)(uintptr_t)names, 1);
    br_ssl_server_set_cache(&tls_server.context, &tls_server.cache.vtable);
    if (tls_server.asks) {
        tls_server.client.vtable = &anyone_class;
        br_ssl_server_set_trust_anchor_names(&tls_server.context, issuers, 1);
        br_ssl_engine_set_x509(engine, &tls_server.client.vtable);
        br_ssl_engine_set_default_ecdsa(engine);
    }
    br_ssl_engine_set_buffer(engine, tls_server.buffer, sizeof tls_server.buffer, 1);
    br_ssl_server_reset(&tls_server.context);
    tls_server.clean = tls_server.cut = tls_server.bye = tls_server.ending = false;
    tls_server.line_size = tls_server.answer_size = 0;
    tls_server.said = tls_server.to_say = tls_server.heard = tls_server.to_hear = 0;
}

static void tls_server_hang_up(void)
{
    if (tls_server.handle >= 0)
        (void)close(tls_server.handle);
    tls_server.handle = -1;
}

static void tls_server_line(void)
{
    if (!strcmp(tls_server.line, "both\n")) {
        tls_server.to_hear = tls_server.to_say = TLS_BULK;
    } else if (!strcmp(tls_server.line, "cut\n")) {
        tls_server.to_say = TLS_CUT;
        tls_server.cut = true;
    } else if (!strcmp(tls_server.line, "bye\n")) {
        tls_server.bye = true;
    } else {
        memcpy(tls_server.answer, tls_server.line, tls_server.line_size);
        tls_server.answer_size = tls_server.line_size;
    }
}

static void tls_server_hear(const uint8_t *bytes, size_t size)
{
    size_t i;

    tls_server.told = true;
    for (i = 0; i < size; i++) {
        if (tls_server.heard < tls_server.to_hear) {
            if ((char)bytes[i] != bulk_byte(tls_server.heard++))
                seam_complain("P15: the server's byte %ld arrived wrong", (long)tls_server.heard);
            continue;
        }
        if (tls_server.line_size + 1 < sizeof tls_server.line)
            tls_server.line[tls_server.line_size++] = (char)bytes[i];
        if (bytes[i] != '\n')
            continue;
        tls_server.line[tls_server.line_size] = 0;
        tls_server_line();
        tls_server.line_size = 0;
    }
}

/* The next that there is to say, as much as goes into a record. */
static bool tls_server_say(br_ssl_engine_context *engine)
{
    size_t room, size = 0;
    uint8_t *to = br_ssl_engine_sendapp_buf(engine, &room);

    if (tls_server.answer_size) {
        size = tls_server.answer_size;
        memcpy(to, tls_server.answer, size);
        tls_server.answer_size = 0;
    }
    for (; size < room && tls_server.said < tls_server.to_say; size++)
        to[size] = (uint8_t)bulk_byte(tls_server.said++);
    if (!size)
        return false;
    br_ssl_engine_sendapp_ack(engine, size);
    br_ssl_engine_flush(engine, 0);
    return true;
}

/* Nothing is left to say. */
static bool tls_server_end(br_ssl_engine_context *engine, unsigned state)
{
    if (state & BR_SSL_CLOSED) {
        tls_server.clean = engine->shutdown_recv && !br_ssl_engine_last_error(engine);
    } else if (tls_server.bye) {
        tls_server.bye = false;
        br_ssl_engine_close(engine);
        return true;
    } else if (!tls_server.cut) {
        return false;
    }
    tls_server.ending = true;
    return !shutdown(tls_server.handle, SHUT_WR);
}

/* Bytes from the client. */
static bool tls_server_receive(br_ssl_engine_context *engine)
{
    static uint8_t rest[4096];
    size_t size = sizeof rest;
    uint8_t *to = tls_server.ending ? rest : br_ssl_engine_recvrec_buf(engine, &size);
    ssize_t count = recv(tls_server.handle, to, size, MSG_DONTWAIT);

    if (count > 0 && !tls_server.ending)
        br_ssl_engine_recvrec_ack(engine, (size_t)count);
    if (count < 0 && errno == EAGAIN)
        return false;
    if (count <= 0)
        tls_server_hang_up();
    return count > 0;
}

/* One step; false: there is nothing to do until the client does something. */
static bool tls_server_step(void)
{
    br_ssl_engine_context *engine = &tls_server.context.eng;
    unsigned state = br_ssl_engine_current_state(engine);
    uint8_t *bytes;
    size_t size;
    ssize_t sent;

    if (tls_server.handle < 0)
        return false;
    if (tls_server.ending)
        return tls_server_receive(engine);
    if (state & BR_SSL_SENDREC) {
        bytes = br_ssl_engine_sendrec_buf(engine, &size);
        sent = send(tls_server.handle, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0)
            br_ssl_engine_sendrec_ack(engine, (size_t)sent);
        if (sent > 0)
            return true;
    }
    if (state & BR_SSL_RECVAPP) {
        bytes = br_ssl_engine_recvapp_buf(engine, &size);
        tls_server_hear(bytes, size);
        br_ssl_engine_recvapp_ack(engine, size);
        return true;
    }
    if (state & BR_SSL_SENDAPP && tls_server_say(engine))
        return true;
    if (!(state & BR_SSL_SENDREC) && (state & (BR_SSL_SENDAPP | BR_SSL_CLOSED)) &&
        tls_server_end(engine, state))
        return true;
    return state & BR_SSL_RECVREC && !tls_server.ending && tls_server_receive(engine);
}

/* What seam_peer is. Who comes anew takes the place of who was there. */
static bool tls_server_turn(void)
{
    int handle = accept4(tls_server.listener, NULL, NULL, SOCK_CLOEXEC);
    bool moved = handle >= 0;
    int on = 1;

    if (moved) {
        (void)setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        tls_server_hang_up();
        tls_server.handle = handle;
        tls_server_begin();
    }
    while (tls_server_step())
        moved = true;
    return moved;
}

/* --- beginning and end ------------------------------------------------------------------------ */

/* A server with one of the chains of make_certificates.pl. */
static void tls_server_open(const char *name)
{
    struct sockaddr_in at;
    socklen_t size = sizeof at;

    memset(&tls_server, 0, sizeof tls_server);
    memset(&at, 0, sizeof at);
    credentials_load(&tls_server.own, name);
    br_ssl_session_cache_lru_init(&tls_server.cache, tls_server.cache_memory,
                                  sizeof tls_server.cache_memory);
    tls_server.handle = -1;
    tls_server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = here_native();
    if (!tls_server.own.count || bind(tls_server.listener, (struct sockaddr *)&at, sizeof at) ||
        listen(tls_server.listener, 8) ||
        getsockname(tls_server.listener, (struct sockaddr *)&at, &size))
        seam_complain("no server for TLS: %s", strerror(errno));
    tls_server.port = ntohs(at.sin_port);
    seam_peer = tls_server_turn;
}

static void tls_server_close(void)
{
    seam_peer = NULL;
    tls_server_hang_up();
    (void)close(tls_server.listener);
    credentials_free(&tls_server.own);
}

#endif
