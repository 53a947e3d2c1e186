/* server.h - a TLS server on BearSSL's server engine, in a coroutine: it can be told to misbehave at
   any byte of what it sends. After private_tls.h. */
#ifndef TEST_TLS_SERVER_H
#define TEST_TLS_SERVER_H

#include "credentials.h"

enum mischief {
    HONEST,
    CUT,    /* ends the stream at byte `at` */
    FLIP,   /* a bit of it */
    REPEAT, /* sends it twice */
    DROP,   /* leaves it out */
    STALL,  /* sends nothing from it on, and keeps the connection */
    RESET,  /* a reset at it */
    DRIBBLE /* every byte in a packet of its own */
};

typedef struct server {
    /* what it is */
    asocket *listener;
    int port;
    credentials own;
    asocket_tls_trust *trust; /* for its clients */
    br_ssl_session_cache_lru cache;
    uint8_t cache_memory[10000];
    /* what it shall do with the next connection */
    enum mischief mischief;
    size_t at;
    bool one_byte_records; /* in its handshake */
    bool silent;           /* does not even begin */
    const char *plain;     /* says this instead of TLS */
    const void *raw;       /* sends these bytes after the client's first record, then waits */
    size_t raw_size;
    const char *alpn;       /* the one protocol it knows */
    unsigned version;       /* 0: TLS 1.2 */
    const uint16_t *suites; /* or NULL: all */
    size_t suite_count;
    bool no_close_notify;                 /* just ends the stream */
    bool asks;                            /* for a client certificate; takes any, or none */
    bool sessions;                        /* offers resumption */
    void (*setup)(struct server *server); /* before the handshake */
    void (*talk)(struct server *server);  /* after the handshake; NULL: echoes until the end */
    size_t record_size;                   /* of what it sends; 0: as large as they come */
    /* what it has seen */
    size_t sent;        /* bytes on the wire */
    int error;          /* of its engine: the client's alert is 256 + n */
    bool agreed, clean; /* the handshake ended; the client sent close_notify */
    int connections;
    /* the connection */
    br_ssl_server_context context;
    asocket *socket;
    asocket_read_channel *in;
    asocket_write_channel *out;
    bool over; /* the stream was cut */
    uint8_t buffer[BR_SSL_BUFSIZE_BIDI];
} server;

/* --- on the wire ------------------------------------------------------------------------------- */

static inline void server_stall(server *s)
{
    char bytes[256];

    while (asocket_read(s->in, bytes, sizeof bytes) > 0)
        continue;
    s->over = true;
}

static inline void server_byte(server *s, const uint8_t *byte)
{
    uint8_t flipped = *byte ^ 1;
    bool here = s->sent++ == s->at;

    if (s->over)
        return;
    if (here && (s->mischief == CUT || s->mischief == RESET)) {
        asocket_flush(s->out);
        s->over = true;
        if (s->mischief == RESET)
            asocket_abort(s->socket);
    } else if (here && s->mischief == STALL) {
        asocket_flush(s->out);
        server_stall(s);
    } else if (!here || s->mischief != DROP) {
        asocket_write(s->out, here && s->mischief == FLIP ? &flipped : byte, 1);
        if (here && s->mischief == REPEAT)
            asocket_write(s->out, byte, 1);
    }
    if (s->mischief == DRIBBLE) {
        asocket_flush(s->out);
        asocket_yield(asocket_selector_of(s->socket));
    }
}

static inline void server_wire(server *s, const void *bytes, size_t size)
{
    const uint8_t *at = (const uint8_t *)bytes;
    size_t i;

    if (s->mischief == HONEST) {
        if (asocket_write(s->out, bytes, size) < 0)
            s->over = true;
        s->sent += size;
        return;
    }
    for (i = 0; i < size; i++)
        server_byte(s, at + i);
}

/* Whole records, as they come from the engine; those in plain text may be split. */
static inline void server_records(server *s, const uint8_t *bytes, size_t size)
{
    while (size && !s->over) {
        size_t length = 5 + (((size_t)bytes[3] << 8) | bytes[4]), i;

        if (!s->one_byte_records || bytes[0] != 22 ||
            s->context.eng.out.vtable != &br_sslrec_out_clear_vtable) {
            server_wire(s, bytes, length);
        } else {
            for (i = 5; i < length; i++) {
                uint8_t record[6] = {bytes[0], bytes[1], bytes[2], 0, 1, 0};

                record[5] = bytes[i];
                server_wire(s, record, 6);
            }
        }
        bytes += length;
        size -= length;
    }
}

/* A record of any kind, past the engine's notion of what is due. */
static inline void server_record(server *s, int type, const void *bytes, size_t size)
{
    const br_sslrec_out_class **out = &s->context.eng.out.vtable;
    static uint8_t room[20000];
    size_t begin = 5, end = sizeof room, length = size;
    uint8_t *record;

    (*out)->max_plaintext(out, &begin, &end);
    memcpy(room + begin, bytes, size);
    record = (*out)->encrypt(out, type, BR_TLS12, room + begin, &length);
    server_wire(s, record, length);
}

/* --- the engine -------------------------------------------------------------------------------- */

/* Moves records until one of the states in `target` is there: false when it is over. */
static inline bool server_until(server *s, unsigned target)
{
    br_ssl_engine_context *engine = &s->context.eng;

    for (;;) {
        unsigned state = br_ssl_engine_current_state(engine);
        size_t size;
        uint8_t *bytes;

        if (state & BR_SSL_CLOSED || s->over) {
            s->error = br_ssl_engine_last_error(engine);
            s->clean = engine->shutdown_recv;
            (void)asocket_flush(s->out);
            return false;
        }
        if (state & BR_SSL_SENDREC) {
            bytes = br_ssl_engine_sendrec_buf(engine, &size);
            server_records(s, bytes, size);
            br_ssl_engine_sendrec_ack(engine, size);
            continue;
        }
        if (asocket_flush(s->out) < 0)
            s->over = true;
        if (state & target)
            return true;
        bytes = br_ssl_engine_recvrec_buf(engine, &size);
        if (bytes) {
            ptrdiff_t count = asocket_read(s->in, bytes, size);

            if (count > 0)
                br_ssl_engine_recvrec_ack(engine, (size_t)count);
            else
                s->over = true;
        } else {
            br_ssl_engine_flush(engine, 0);
        }
    }
}

static inline bool server_say(server *s, const void *bytes, size_t size)
{
    const uint8_t *at = (const uint8_t *)bytes;

    while (size) {
        size_t room;
        uint8_t *to;

        if (!server_until(s, BR_SSL_SENDAPP))
            return false;
        to = br_ssl_engine_sendapp_buf(&s->context.eng, &room);
        if (s->record_size && room > s->record_size)
            room = s->record_size;
        room = room < size ? room : size;
        memcpy(to, at, room);
        br_ssl_engine_sendapp_ack(&s->context.eng, room);
        br_ssl_engine_flush(&s->context.eng, 0);
        at += room;
        size -= room;
    }
    return server_until(s, BR_SSL_SENDAPP);
}

/* Up to `size` bytes; 0: it is over. */
static inline size_t server_hear(server *s, void *buffer, size_t size)
{
    size_t count;
    uint8_t *bytes;

    if (!server_until(s, BR_SSL_RECVAPP))
        return 0;
    bytes = br_ssl_engine_recvapp_buf(&s->context.eng, &count);
    count = count < size ? count : size;
    memcpy(buffer, bytes, count);
    br_ssl_engine_recvapp_ack(&s->context.eng, count);
    return count;
}

static inline void server_bye(server *s)
{
    size_t size;

    if (s->no_close_notify || s->over)
        return;
    while (br_ssl_engine_recvapp_buf(&s->context.eng, &size))
        br_ssl_engine_recvapp_ack(&s->context.eng, size);
    server_record(s, 21, "\1\0", 2);
    (void)asocket_flush(s->out);
}

/* --- the connection ---------------------------------------------------------------------------- */

static anyone server_anyone; /* who the client said it is */

static inline void server_start(server *s)
{
    br_ssl_engine_context *engine = &s->context.eng;
    static const char *names[1];

    if (br_skey_decoder_key_type(&s->own.key) == BR_KEYTYPE_EC)
        br_ssl_server_init_full_ec(&s->context, s->own.chain, s->own.count, BR_KEYTYPE_EC,
                                   br_skey_decoder_get_ec(&s->own.key));
    else
        br_ssl_server_init_full_rsa(&s->context, s->own.chain, s->own.count,
                                    br_skey_decoder_get_rsa(&s->own.key));
    if (s->version)
        br_ssl_engine_set_versions(engine, s->version, s->version);
    if (s->suites)
        br_ssl_engine_set_suites(engine, s->suites, s->suite_count);
    if (s->alpn) {
        names[0] = s->alpn;
        br_ssl_engine_set_protocol_names(engine, names, 1);
        br_ssl_engine_add_flags(engine, BR_OPT_FAIL_ON_ALPN_MISMATCH);
    }
    if (s->sessions)
        br_ssl_server_set_cache(&s->context, &s->cache.vtable);
    if (s->asks) {
        static unsigned char nobody[] = {0x30, 0};
        static const br_x500_name issuers[] = {{nobody, sizeof nobody}};

        server_anyone.vtable = &anyone_class;
        br_ssl_server_set_trust_anchor_names(&s->context, issuers, 1);
        br_ssl_engine_set_x509(engine, &server_anyone.vtable);
        br_ssl_engine_set_default_rsavrfy(engine);
        br_ssl_engine_set_default_ecdsa(engine);
        br_ssl_engine_add_flags(engine, BR_OPT_TOLERATE_NO_CLIENT_AUTH);
    }
    br_ssl_engine_set_buffer(engine, s->buffer, sizeof s->buffer, 1);
    if (s->setup)
        s->setup(s);
    br_ssl_server_reset(&s->context);
}

static inline void server_echo(server *s)
{
    static char bytes[16384];
    size_t count;

    while ((count = server_hear(s, bytes, sizeof bytes)) > 0)
        if (!server_say(s, bytes, count))
            break;
}

/* One connection; coroutine. */
static inline void server_serve(asocket_selector *selector, void *argument)
{
    server *s = (server *)argument;

    (void)selector;
    s->sent = 0;
    s->error = 0;
    s->over = s->agreed = s->clean = false;
    s->socket = asocket_accept(s->listener);
    if (!s->socket)
        return;
    s->connections++;
    s->in = asocket_open_read_channel(s->socket);
    s->out = asocket_open_write_channel(s->socket, 0);
    if (s->plain) {
        asocket_write_string(s->out, s->plain);
        asocket_flush(s->out);
        asocket_finish(s->out);
        server_stall(s);
    } else if (s->silent) {
        server_stall(s);
    } else if (s->raw) {
        char byte;

        asocket_read(s->in, &byte, 1);
        asocket_write(s->out, s->raw, s->raw_size);
        asocket_flush(s->out);
        server_stall(s);
    } else {
        server_start(s);
        s->agreed = server_until(s, BR_SSL_SENDAPP);
        if (s->agreed && s->talk)
            s->talk(s);
        else if (s->agreed)
            server_echo(s);
        if (s->agreed)
            server_bye(s);
    }
    asocket_close(s->socket);
}

/* --- its records ------------------------------------------------------------------------------- */

/* Seals a record whose bytes stand in `bytes`, as br_sslrec_out_class.encrypt does. */
typedef unsigned char *server_sealer(const br_sslrec_out_class **context, int type,
                                     unsigned version, void *bytes, size_t *size);

static br_sslrec_out_gcm_class server_gcm;

static inline void server_gcm_init(const br_sslrec_out_gcm_class **context,
                                   const br_block_ctr_class *cipher, const void *key, size_t size,
                                   br_ghash hash, const void *iv)
{
    br_sslrec_out_gcm_vtable.init(context, cipher, key, size, hash, iv);
    *context = &server_gcm;
}

/* In `setup`: what the server sends under AES-GCM goes through `seal`. */
static inline void server_seal(server *s, server_sealer *seal)
{
    server_gcm = br_sslrec_out_gcm_vtable;
    server_gcm.inner.encrypt = seal;
    server_gcm.init = server_gcm_init;
    s->context.eng.igcm_out = &server_gcm;
}

/* --- its certificate --------------------------------------------------------------------------- */

/* One of the chains that make_certificates.pl made, by its name. */
static inline void server_certificate(server *s, const char *name)
{
    char path[200];

    credentials_free(&s->own);
    credentials_load(&s->own, name);
    asocket_tls_trust_release(s->trust);
    s->trust = asocket_tls_trust_create();
    snprintf(path, sizeof path, CERTIFICATES "%s.trust.pem", name);
    if (asocket_tls_trust_add_file(s->trust, path) <= 0 || !s->own.count)
        diag("%s: %s", name, asocket_tls_trust_message(s->trust));
}

static inline server *server_open(asocket_selector *selector, const char *certificate)
{
    server *s = (server *)calloc(1, sizeof *s);
    asocket_address address;

    if (!s)
        abort();
    s->listener = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    asocket_local_address(s->listener, &address);
    s->port = address.port;
    br_ssl_session_cache_lru_init(&s->cache, s->cache_memory, sizeof s->cache_memory);
    server_certificate(s, certificate);
    return s;
}

static inline void server_close(server *s)
{
    asocket_close(s->listener);
    asocket_tls_trust_release(s->trust);
    credentials_free(&s->own);
    free(s);
}

/* --- its clients ------------------------------------------------------------------------------- */

static inline asocket_tls_options server_options(const server *s)
{
    asocket_tls_options options;

    memset(&options, 0, sizeof options);
    options.server_name = SERVER_NAME;
    options.trust = s->trust;
    return options;
}

/* Connects, to a server that serves one connection. */
static inline asocket *server_connect(server *s, const asocket_tls_options *options)
{
    asocket_selector *selector = asocket_selector_of(s->listener);

    asocket_launch(selector, server_serve, s);
    return asocket_tls(asocket_connect(asocket_tcp(selector), "127.0.0.1", s->port), options);
}

#endif
