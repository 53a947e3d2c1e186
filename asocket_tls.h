/* asocket_tls.h - client TLS for asocket.h, with BearSSL. Public domain or MIT, see the end.

   A connected socket becomes a verified one, which is used like any other:

       asocket *secure = asocket_tls(asocket_connect(asocket_tcp(selector), "example.org", 443), NULL);

   Write   #define ASOCKET_IMPLEMENTATION
           #define ASOCKET_TLS_IMPLEMENTATION
           #include "asocket_tls.h"
   in one C or C++ file of the program, #include "asocket_tls.h" in the others, and link with
   -lbearssl (Debian: libbearssl-dev). BearSSL 0.6 and later; C99 or C++11.

CONTENTS
   this manual      a first program, promises, limits, switches
   declarations     failures, trust, identity, sessions, options, the call, what was agreed
   implementation   in rooms, each found by its tag; calls only go down the file
     >>tls_config      compiler and system macros become our flags
     >>tls_types       every structure, and the limits
     >>tls_error       what failed, in which step, in words
     >>tls_der         walking a certificate
     >>tls_pem         certificates and keys in text files
     >>tls_trust       roots: files, the system's store
     >>tls_name        host names and addresses against those of a certificate
     >>tls_validator   what stands before br_x509_minimal
     >>tls_suites      what is offered, in which order
     >>tls_entropy     randomness from the system
     >>tls_identity    client certificates and keys
     >>tls_sessions    resumption
     >>tls_engine      a BearSSL client, made ready
     >>tls_pump        records between the engine and the socket below
     >>tls_public      argument checks, defaults, one call down
   licence
*/
#ifndef ASOCKET_TLS_H
#define ASOCKET_TLS_H

#ifdef ASOCKET_TLS_IMPLEMENTATION
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE // secure_getenv
#endif
#endif
#include "asocket.h"

#ifdef __cplusplus
extern "C" {
#endif

// --- failures ------------------------------------------------------------------------------------

// Where it failed.
typedef enum asocket_tls_step {
    ASOCKET_TLS_STEP_NONE,
    ASOCKET_TLS_STEP_START,       // options, roots, randomness: nothing was sent
    ASOCKET_TLS_STEP_HANDSHAKE,   // agreeing on parameters and keys
    ASOCKET_TLS_STEP_CERTIFICATE, // the peer's chain, name, dates, pins
    ASOCKET_TLS_STEP_DATA,        // after the handshake
    ASOCKET_TLS_STEP_CLOSE        // the end of the stream
} asocket_tls_step;

// Why, with the step that it belongs to, the status that the call answers, and the sentence when
// nothing more is known. X(name, step, status, text)
#define ASOCKET_TLS_REASONS(X)                                                            \
    X(ARGUMENT, START, EINVAL, "an option is wrong")                                      \
    X(NO_NAME, START, EINVAL, "no server name to verify: set server_name in the options") \
    X(PLAINTEXT, START, ETLS, "unread plain bytes before TLS: an injection, or a bug")    \
    X(NO_ROOTS, START, ETLS, "no trusted roots found")                                    \
    X(NO_RANDOM, START, ETLS, "the system gave no randomness")                            \
    X(NO_MEMORY, START, ENOMEM, "out of memory")                                          \
    X(TIMEOUT, HANDSHAKE, ETIMEDOUT, "the handshake took too long")                       \
    X(CANCELED, HANDSHAKE, ECANCELED, "cancelled during the handshake")                   \
    X(IO, HANDSHAKE, ECONNRESET, "the connection broke during the handshake")             \
    X(EOF_IN_HANDSHAKE, HANDSHAKE, ETLS, "the peer closed during the handshake")          \
    X(NOT_TLS, HANDSHAKE, ETLS, "the peer does not speak TLS")                            \
    X(NEEDS_TLS13, HANDSHAKE, ETLS, "the server requires TLS 1.3; BearSSL ends at 1.2")   \
    X(OLD_VERSION, HANDSHAKE, ETLS, "the server speaks nothing newer than TLS 1.1")       \
    X(REFUSED, HANDSHAKE, ETLS,                                                           \
      "the server accepts none of our cipher suites, curves and signatures")              \
    X(CLIENT_CERTIFICATE, HANDSHAKE, ETLS, "the server wants another client certificate") \
    X(NO_PROTOCOL, HANDSHAKE, ETLS, "no application protocol (ALPN) in common")           \
    X(ALERT, HANDSHAKE, ETLS, "the server sent an alert")                                 \
    X(PROTOCOL, HANDSHAKE, ETLS, "the server broke the TLS protocol")                     \
    X(INTEGRITY, DATA, ETLS, "a record was changed on its way")                           \
    X(RECORD_SIZE, DATA, ETLS, "a record is larger than TLS allows")                      \
    X(FLOOD, DATA, ETLS, "too many records without data")                                 \
    X(NAME, CERTIFICATE, ETLS, "the certificate is for another name")                     \
    X(UNTRUSTED, CERTIFICATE, ETLS, "no trusted issuer")                                  \
    X(EXPIRED, CERTIFICATE, ETLS, "the certificate has expired")                          \
    X(NOT_YET, CERTIFICATE, ETLS, "the certificate is not valid yet")                     \
    X(NO_CLOCK, CERTIFICATE, ETLS, "the clock is not set")                                \
    X(USAGE, CERTIFICATE, ETLS, "the certificate is not one for servers")                 \
    X(WEAK, CERTIFICATE, ETLS, "a weak key or signature")                                 \
    X(UNSUPPORTED, CERTIFICATE, ETLS, "a certificate of a kind that is not supported")    \
    X(BAD_CERTIFICATE, CERTIFICATE, ETLS, "a malformed certificate or a wrong signature") \
    X(CHAIN_LIMIT, CERTIFICATE, ETLS, "the chain is longer than allowed")                 \
    X(PIN, CERTIFICATE, ETLS, "no pin matches")                                           \
    X(VERIFY, CERTIFICATE, ETLS, "the verify callback refused")                           \
    X(TRUNCATED, CLOSE, ETLS, "cut off: the stream ended without TLS's close_notify")     \
    X(CLOSED, DATA, ECONNRESET, "the peer has ended TLS: nothing can be written")         \
    X(FILE, START, ENOTFOUND, "a file cannot be read")                                    \
    X(BAD_FILE, START, EINVAL, "no usable certificate or key in a file")

typedef enum asocket_tls_reason {
    ASOCKET_TLS_OK = 0,
#define ASOCKET__TLS_NAME(name, step, status, text) ASOCKET_TLS_##name,
    ASOCKET_TLS_REASONS(ASOCKET__TLS_NAME)
#undef ASOCKET__TLS_NAME
        ASOCKET__TLS_REASON_COUNT
} asocket_tls_reason;

typedef struct asocket_tls_failure {
    asocket_tls_reason reason; // ASOCKET_TLS_OK: none
    asocket_tls_step step;
    int status;         // what the call answered
    int bearssl;        // BearSSL's error number (bearssl_ssl.h, bearssl_x509.h), or 0
    int alert;          // the alert received (RFC 5246, 7.2), or -1
    int alert_sent;     // the alert sent, or -1
    char sentence[256]; // what a person can act on
} asocket_tls_failure;

// The last TLS failure on this selector, of whatever coroutine: read it before the next wait. 0, or
// ASOCKET_EINVAL; failure->reason is ASOCKET_TLS_OK when there was none. asocket_error_message
// has the same sentence, with the host, for each coroutine.
ASOCKET_API int asocket_tls_error(const asocket_selector *selector, asocket_tls_failure *failure);

// The failure that ended a TLS socket; ASOCKET_EINVAL: it is not one.
ASOCKET_API int asocket_tls_socket_error(const asocket *secure, asocket_tls_failure *failure);

// --- trust ---------------------------------------------------------------------------------------

// Certificates that are trusted to issue others (or, not being a CA, trusted themselves). Filled by
// one thread, then shared by any number of connections, selectors and threads; none may add to it
// any more. Connections hold on to it by themselves while they need it.
typedef struct asocket_tls_trust asocket_tls_trust;

// An empty one; NULL: out of memory. Ends with asocket_tls_trust_release.
ASOCKET_API asocket_tls_trust *asocket_tls_trust_create(void);

// These add certificates: how many, or ASOCKET_ENOTFOUND, ENOMEM, EACCES, EINVAL (nothing usable, or
// one block of it is bad: then none is added), and asocket_tls_trust_message says why.
// PEM: any number of CERTIFICATE blocks (RFC 7468), text in between, CRLF or LF. DER: one.
ASOCKET_API int asocket_tls_trust_add_pem(asocket_tls_trust *trust, const void *pem, size_t size);
ASOCKET_API int asocket_tls_trust_add_der(asocket_tls_trust *trust, const void *der, size_t size);
ASOCKET_API int asocket_tls_trust_add_file(asocket_tls_trust *trust, const char *path);

// The system's roots. SSL_CERT_FILE and SSL_CERT_DIR come first (OpenSSL's); bad certificates among
// them are skipped. None at all: ASOCKET_ENOTFOUND. Reads files: it may block the thread, 1 ms.
ASOCKET_API int asocket_tls_trust_add_system(asocket_tls_trust *trust);

ASOCKET_API size_t asocket_tls_trust_count(const asocket_tls_trust *trust);

// Why the last add failed; until the next one. Empty: it did not.
ASOCKET_API const char *asocket_tls_trust_message(const asocket_tls_trust *trust);

// One more owner; one owner less, any thread. The last one frees it. NULL is allowed.
ASOCKET_API asocket_tls_trust *asocket_tls_trust_retain(asocket_tls_trust *trust);
ASOCKET_API void asocket_tls_trust_release(asocket_tls_trust *trust);

// --- identity ------------------------------------------------------------------------------------

// A client certificate chain with its private key: RSA up to 4096 bits, or EC on P-256, P-384,
// P-521; the key as PKCS#1, SEC 1 or PKCS#8, not encrypted. Shared like trust.
typedef struct asocket_tls_identity asocket_tls_identity;

// From PEM text: the leaf first, then its issuers; `key` may be the same text. NULL: `failure`, which
// may be NULL, says why (BAD_FILE, NO_MEMORY).
ASOCKET_API asocket_tls_identity *asocket_tls_identity_create(const void *chain, size_t chain_size,
                                                              const void *key, size_t key_size,
                                                              asocket_tls_failure *failure);
// The same from files (FILE, BAD_FILE, NO_MEMORY).
ASOCKET_API asocket_tls_identity *asocket_tls_identity_load(const char *chain_path,
                                                            const char *key_path,
                                                            asocket_tls_failure *failure);
ASOCKET_API asocket_tls_identity *asocket_tls_identity_retain(asocket_tls_identity *identity);
ASOCKET_API void asocket_tls_identity_release(asocket_tls_identity *identity); // wipes the key

// --- sessions ------------------------------------------------------------------------------------

// Past sessions, to be resumed by their ID (RFC 5246, 7.4.1.2): a handshake without certificates,
// ten to thirty times cheaper. One is used again only for the same name, port, trust, pins and
// identity that it was verified with. One selector's, or one thread's.
typedef struct asocket_tls_sessions asocket_tls_sessions;

// Room for `capacity` of them (0: 64); the oldest go first. NULL: out of memory.
ASOCKET_API asocket_tls_sessions *asocket_tls_sessions_create(size_t capacity);
// Wipes and frees; no connection that was made with it may be in its handshake.
ASOCKET_API void asocket_tls_sessions_destroy(asocket_tls_sessions *sessions);

// --- options -------------------------------------------------------------------------------------

typedef struct asocket_tls_certificate {
    const uint8_t *der;
    size_t size;
} asocket_tls_certificate;

// What a verify callback sees. All of it is valid during the call only.
typedef struct asocket_tls_peer {
    const char *server_name; // what was verified; NULL with pin_only and no name
    size_t count;            // of the chain as it was sent, the leaf first
    const asocket_tls_certificate *chain;
    uint8_t pin[32];    // SHA-256 of the leaf's SubjectPublicKeyInfo
    int verdict;        // 0, or ASOCKET_ETLS: it will be refused, whatever the callback says
    const char *reason; // why, in words; empty when the verdict is 0
} asocket_tls_peer;

// What to do when the clock is unknown (now answers 0 or less).
enum {
    ASOCKET_TLS_CLOCK_REQUIRED = 0, // refuse
    ASOCKET_TLS_CLOCK_FROM_CHAIN =
        1 // take the latest begin of validity in the chain: expiry is not
          // checked, names and signatures are
};

// All zero is valid and secure. The options are read by asocket_tls, what they point to must stay
// until it returns; trust, identity and sessions are held on to as said there.
typedef struct asocket_tls_options {
    const char *server_name;   // a DNS name or an IP address: verified, and a name is sent as SNI;
                               // NULL: the host given to asocket_connect. None: an error
    const char *sni;           // sent instead of it (not verified); "": none is sent
    asocket_tls_trust *trust;  // NULL: the system's roots, loaded once per selector
    const uint8_t (*pins)[32]; // SHA-256 of a SubjectPublicKeyInfo (RFC 7469, 2.4) of the leaf or
    size_t pin_count;          //   of a CA in the chain: one must match, too
    int pin_only;              // switch: a pin of the leaf is all that is checked
    int (*verify)(void *user, const asocket_tls_peer *peer); // not 0: refuse. Must not wait
    asocket_tls_identity *identity; // sent when the server asks; NULL: an empty answer
    const char *const *alpn;        // application protocols, the preferred first (RFC 7301)
    size_t alpn_count;
    int alpn_required;             // switch: a server that selects none is refused
    const uint16_t *cipher_suites; // IANA numbers, the preferred first; NULL: six AEAD suites with
    size_t cipher_suite_count;     //   ECDHE, ordered for this processor. Others are EINVAL
    int (*random)(void *user, void *buffer,
                  size_t size);     // more entropy; where the system has none,
                                    // the only one. 0, or a failure
    int64_t (*now)(void *user);     // seconds since 1970; 0: unknown. NULL: the system's clock
    int clock;                      // ASOCKET_TLS_CLOCK_...
    asocket_tls_sessions *sessions; // NULL: none is resumed
    int64_t handshake_timeout;      // ms for all of it; 0: 10,000; ASOCKET_FOREVER
    int allow_truncation;           // switch: an end without close_notify is ASOCKET_EOF
    size_t output_buffer;           // bytes; 0: 16,469, a full record; at least 597: records become
                                    //   smaller, sending slower, receiving is unaffected
    size_t chain_certificates;      // most; 0: 10
    size_t chain_bytes;             // most; 0: 65,536
    void *user;                     // for the callbacks
} asocket_tls_options;

// --- the call ------------------------------------------------------------------------------------

// Makes a connected stream secure: the handshake, with everything verified (waits), and the new
// socket, whose channels, time-outs and half of all calls are those of any socket. `socket` belongs
// to it from here on, also when it fails: then NULL, and `socket` is closed. So
// asocket_tls(asocket_connect(...), NULL) is checked once.
// ASOCKET_ETLS with asocket_tls_error; ASOCKET_ETIMEDOUT, ECANCELED, ECONNRESET as of any wait;
// ASOCKET_EINVAL, ENOMEM. Unread bytes in the socket's read channel are an error (STARTTLS
// injection, CVE-2011-0411).
ASOCKET_API asocket *asocket_tls(asocket *socket, const asocket_tls_options *options);

#ifdef ASOCKET_TLS_ENABLE_INSECURE
// The same, but accepts any certificate of anybody: for tests.
ASOCKET_API asocket *asocket_tls_insecure(asocket *socket, const asocket_tls_options *options);
#endif

typedef struct asocket_tls_details {
    const char *version;                 // "TLS 1.2"
    uint16_t cipher_suite;               // IANA number
    const char *suite_name;              // "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    const char *group;                   // "x25519", "secp256r1", ...; "" when resumed
    const char *alpn;                    // what the server selected, or ""
    const char *server_name;             // what was verified, or ""
    asocket_tls_certificate certificate; // the peer's leaf; 0 bytes when resumed
    uint8_t pin[32];                     // of the leaf, also when resumed
    bool verified;                       // false: insecure
    bool resumed;
} asocket_tls_details;

// What was agreed; pointers are valid as long as the socket is open. ASOCKET_EINVAL: no TLS socket.
ASOCKET_API int asocket_tls_info(const asocket *secure, asocket_tls_details *details);

#ifdef __cplusplus
}
#endif
#endif // ASOCKET_TLS_H

#ifdef ASOCKET_TLS_IMPLEMENTATION
#ifndef ASOCKET_TLS_IMPLEMENTED
#define ASOCKET_TLS_IMPLEMENTED

// ------------------------------------------------------------------------------------------------
// >>tls_config
// Compiler and system macros become our own 0/1 flags here. The implementation of asocket.h may be
// in another file: of it, only what is public is used.

#include <bearssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef ASOCKET_SYS
#define ASOCKET_SYS(name) name
#endif
#ifndef ASOCKET_ASSERT
#include <assert.h>
#define ASOCKET_ASSERT(condition) assert(condition)
#endif
#ifndef ASOCKET_MALLOC
#define ASOCKET_MALLOC(size)         ASOCKET_SYS(malloc)(size)
#define ASOCKET_REALLOC(block, size) ASOCKET_SYS(realloc)(block, size)
#define ASOCKET_FREE(block)          ASOCKET_SYS(free)(block)
#endif

// ------------------------------------------------------------------------------------------------
// >>tls_types
// Every structure, and the limits.

enum {
    ASOCKET__TLS_CHAIN_CERTIFICATES = 10,
    ASOCKET__TLS_CHAIN_BYTES = 65536,
    ASOCKET__TLS_TIMEOUT = 10000 // ms
};

// What a chain is checked against: the options with their defaults filled in. Lives as long as the
// handshake.
typedef struct asocket__tls_check {
    const char *server_name;  // without a trailing dot; NULL only with pin_only or insecure
    asocket_tls_trust *trust; // held by the connection; NULL only with pin_only or insecure
    const uint8_t (*pins)[32];
    size_t pin_count;
    size_t chain_certificates, chain_bytes;
    int (*verify)(void *user, const asocket_tls_peer *peer);
    int64_t (*now)(void *user);
    void *user;
    int clock;
    bool pin_only, insecure;
} asocket__tls_check;

// The br_x509_class that the engine talks to. Lives as long as the handshake.
typedef struct asocket__tls_validator {
    const br_x509_class *vtable; // first: BearSSL knows it by this
    const asocket__tls_check *check;
    asocket_tls_failure *failure; // where the first failure goes
    uint8_t *chain; // the certificates, one after another; the connection takes the leaf
    size_t size, capacity;
    size_t count;     // of certificates
    size_t *ends;     // where each ends in `chain`
    br_x509_pkey key; // of the leaf, once verified
    unsigned usages;
    uint8_t pin[32]; // of the leaf
    br_x509_minimal_context minimal;
} asocket__tls_validator;

// ------------------------------------------------------------------------------------------------
// >>tls_error
// The first failure counts: what follows from it is not noted.

static const struct {
    asocket_tls_step step;
    int status;
    const char *text;
} asocket__tls_reasons[] = {{ASOCKET_TLS_STEP_NONE, 0, ""},
#define ASOCKET__TLS_ROW(name, step, status, text) \
    {ASOCKET_TLS_STEP_##step, ASOCKET_##status, text},
                            ASOCKET_TLS_REASONS(ASOCKET__TLS_ROW)
#undef ASOCKET__TLS_ROW
};

// Notes a reason with a sentence of its own (NULL: that of the table). Answers its status.
static int asocket__tls_fail(asocket_tls_failure *failure, asocket_tls_reason reason,
                             const char *format, ...) ASOCKET_PRINTF(3, 4);

static int asocket__tls_fail(asocket_tls_failure *failure, asocket_tls_reason reason,
                             const char *format, ...)
{
    va_list arguments;

    if (failure->reason)
        return failure->status;
    failure->reason = reason;
    failure->step = asocket__tls_reasons[reason].step;
    failure->status = asocket__tls_reasons[reason].status;
    va_start(arguments, format);
    (void)vsnprintf(failure->sentence, sizeof failure->sentence,
                    format ? format : asocket__tls_reasons[reason].text, arguments);
    va_end(arguments);
    return failure->status;
}

// ------------------------------------------------------------------------------------------------
// >>tls_der
// Walking a certificate. Pure.

// ------------------------------------------------------------------------------------------------
// >>tls_pem
// Blocks of base64 (RFC 7468). Pure.

// The next block of a PEM text from *at on: its label (cut if longer) and its bytes, decoded into
// `der`, which has room for size - *at bytes (may be the text itself). 1; 0: no more; -1: a bad block.
static int asocket__tls_pem_next(const uint8_t *text, size_t size, size_t *at, char label[32],
                                 uint8_t *der, size_t *der_size)
{
    (void)text, (void)size, (void)at, (void)label, (void)der, (void)der_size;
    return 0;
}

// ------------------------------------------------------------------------------------------------
// >>tls_trust
// Roots: their subjects' hashes and keys, expanded when one is needed.

struct asocket_tls_trust {
    int references; // atomic
    size_t count;
    char message[160];
};

// A whole file, with a NUL behind it: 0 and *bytes is the caller's to free, or a status.
static int asocket__tls_read_file(const char *path, uint8_t **bytes, size_t *size)
{
    (void)path, (void)bytes, (void)size;
    return ASOCKET_ENOTFOUND;
}

asocket_tls_trust *asocket_tls_trust_create(void)
{
    asocket_tls_trust *trust = (asocket_tls_trust *)ASOCKET_MALLOC(sizeof *trust);

    if (trust) {
        memset(trust, 0, sizeof *trust);
        trust->references = 1;
    }
    return trust;
}

int asocket_tls_trust_add_pem(asocket_tls_trust *trust, const void *pem, size_t size)
{
    (void)trust, (void)pem, (void)size;
    return ASOCKET_EINVAL;
}

int asocket_tls_trust_add_der(asocket_tls_trust *trust, const void *der, size_t size)
{
    (void)trust, (void)der, (void)size;
    return ASOCKET_EINVAL;
}

int asocket_tls_trust_add_file(asocket_tls_trust *trust, const char *path)
{
    (void)trust, (void)path;
    return ASOCKET_ENOTFOUND;
}

int asocket_tls_trust_add_system(asocket_tls_trust *trust)
{
    (void)trust;
    return ASOCKET_ENOTFOUND;
}

size_t asocket_tls_trust_count(const asocket_tls_trust *trust)
{
    return trust ? trust->count : 0;
}

const char *asocket_tls_trust_message(const asocket_tls_trust *trust)
{
    return trust ? trust->message : "";
}

asocket_tls_trust *asocket_tls_trust_retain(asocket_tls_trust *trust)
{
    if (trust)
        trust->references++;
    return trust;
}

void asocket_tls_trust_release(asocket_tls_trust *trust)
{
    if (trust && !--trust->references)
        ASOCKET_FREE(trust);
}

// ------------------------------------------------------------------------------------------------
// >>tls_name
// Names (RFC 6125, RFC 9525). Pure.

// An IP address rather than a DNS name: no SNI is sent for it (RFC 6066, 3).
static bool asocket__tls_name_is_address(const char *name)
{
    asocket_ip ip;

    return asocket_ip_parse(&ip, name) == 0;
}

// ------------------------------------------------------------------------------------------------
// >>tls_validator
// What stands before br_x509_minimal.

static void asocket__tls_validator_init(asocket__tls_validator *validator,
                                        const asocket__tls_check *check,
                                        asocket_tls_failure *failure)
{
    memset(validator, 0, sizeof *validator);
    validator->check = check;
    validator->failure = failure;
}

// The leaf's DER, once: the caller frees it. NULL: there is none.
static uint8_t *asocket__tls_validator_leaf(asocket__tls_validator *validator, size_t *size)
{
    (void)validator;
    *size = 0;
    return NULL;
}

static void asocket__tls_validator_free(asocket__tls_validator *validator)
{
    ASOCKET_FREE(validator->chain);
    ASOCKET_FREE(validator->ends);
    memset(validator, 0, sizeof *validator);
}

// ------------------------------------------------------------------------------------------------
// >>tls_suites
// What is offered, in which order.

// ------------------------------------------------------------------------------------------------
// >>tls_entropy
// Randomness from the system.

// ------------------------------------------------------------------------------------------------
// >>tls_identity
// Client certificates and keys.

// ------------------------------------------------------------------------------------------------
// >>tls_sessions
// Resumption.

// ------------------------------------------------------------------------------------------------
// >>tls_engine
// A BearSSL client, made ready.

// ------------------------------------------------------------------------------------------------
// >>tls_pump
// Records between the engine and the socket below.

// ------------------------------------------------------------------------------------------------
// >>tls_public
// Argument checks, defaults, one call down.

#endif // ASOCKET_TLS_IMPLEMENTED
#endif // ASOCKET_TLS_IMPLEMENTATION

/* ------------------------------------------------------------------------------------------------
   This software is available under two licences: choose whichever you prefer.

   ALTERNATIVE A - MIT License
   Copyright (c) 2026 the asocket authors
   Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
   associated documentation files (the "Software"), to deal in the Software without restriction,
   including without limitation the rights to use, copy, modify, merge, publish, distribute,
   sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
   furnished to do so, subject to the following conditions:
   The above copyright notice and this permission notice shall be included in all copies or
   substantial portions of the Software.
   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
   NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
   NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
   DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT
   OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

   ALTERNATIVE B - Public Domain (www.unlicense.org)
   This is free and unencumbered software released into the public domain.
   Anyone is free to copy, modify, publish, use, compile, sell, or distribute this software, either
   in source code form or as a compiled binary, for any purpose, commercial or non-commercial, and by
   any means.
   In jurisdictions that recognize copyright laws, the author or authors of this software dedicate
   any and all copyright interest in the software to the public domain. We make this dedication for
   the benefit of the public at large and to the detriment of our heirs and successors. We intend
   this dedication to be an overt act of relinquishment in perpetuity of all present and future
   rights to this software under copyright law.
   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
   NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
   NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
   LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
   CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
   ------------------------------------------------------------------------------------------------
*/
