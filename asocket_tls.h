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

#if defined(_WIN32)
#define ASOCKET__TLS_WINDOWS 1
#else
#define ASOCKET__TLS_WINDOWS 0
#endif

#if defined(__APPLE__)
#include <TargetConditionals.h>
#define ASOCKET__TLS_APPLE TARGET_OS_OSX // others of Apple's show no roots
#else
#define ASOCKET__TLS_APPLE 0
#endif

// How a program that runs with more rights than its user is told: secure_getenv, issetugid, not.
#if defined(__linux__) && !defined(__ANDROID__)
#define ASOCKET__TLS_SETUID 1
#elif defined(__APPLE__) || defined(__FreeBSD__) || defined(__OpenBSD__) || defined(__NetBSD__) || \
    defined(__DragonFly__)
#define ASOCKET__TLS_SETUID 2
#else
#define ASOCKET__TLS_SETUID 0
#endif

#if ASOCKET__TLS_WINDOWS
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>
#include <wincrypt.h>
#else
#include <dirent.h>
#include <unistd.h>
#endif
#if ASOCKET__TLS_APPLE
#include <Security/Security.h>
#endif
#include <bearssl.h>
#include <errno.h>
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
    ASOCKET__TLS_EXTENSIONS = 40, // of one certificate
    ASOCKET__TLS_PATH = 16,       // certificates from the leaf up to a root
    ASOCKET__TLS_TRIES = 16,      // ways of which the signatures are verified
    ASOCKET__TLS_STEPS = 100,     // certificates looked at to find one
    ASOCKET__TLS_TIMEOUT = 10000  // ms
};

#define ASOCKET__TLS_EARLIEST INT64_C(1704067200) // 2024: a clock that says less is not set

typedef struct asocket__tls_span { // bytes, or what is left of them
    const uint8_t *at, *end;
} asocket__tls_span;

// A certificate taken apart; everything points into its bytes.
typedef struct asocket__tls_x509 {
    asocket__tls_span der, issuer, subject, spki; // whole elements
    asocket__tls_span names;                      // content of subjectAltName; at NULL: none
    asocket__tls_span unknown, twice;             // OIDs of extensions: critical, repeated; or NULL
    int64_t from, to;                             // seconds since 1970
    br_x509_pkey key;                             // key_type 0: of a kind that is not supported
    unsigned bits;                                // of an RSA modulus
    int path_limit;                               // pathLenConstraint; -1: none
    uint8_t version;                              // 1 to 3
    uint8_t hash;                                 // br_..._ID of its signature; 0: not supported
    uint8_t usage;                                // keyUsage's first byte; all ones without one
    bool ca, server;                              // may issue; may be used by servers (EKU)
    bool purposes_critical, constrained;          // a critical EKU; nameConstraints
} asocket__tls_x509;

typedef struct asocket__tls_anchor { // a trusted certificate
    const uint8_t *der;
    uint32_t size, hash; // hash: of the subject
} asocket__tls_anchor;

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
    bool verified;   // or not to be: pin_only, insecure
    br_x509_trust_anchor anchor;
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
// Walking a certificate. Pure. Only DER: whoever encodes the same in two ways has something to hide.

#define ASOCKET__TLS_IS(span, text) asocket__tls_span_is(span, text, sizeof(text) - 1)

static size_t asocket__tls_span_size(asocket__tls_span span)
{
    return (size_t)(span.end - span.at);
}

static bool asocket__tls_span_equal(asocket__tls_span a, asocket__tls_span b)
{
    size_t size = asocket__tls_span_size(a);

    return size == asocket__tls_span_size(b) && !memcmp(a.at, b.at, size);
}

static bool asocket__tls_span_is(asocket__tls_span span, const char *text, size_t size)
{
    return asocket__tls_span_size(span) == size && !memcmp(span.at, text, size);
}

// Takes the next element: its tag and its content. False: none is left, or it is malformed.
static bool asocket__tls_der_next(asocket__tls_span *from, uint8_t *tag, asocket__tls_span *content)
{
    size_t left = asocket__tls_span_size(*from), length, bytes = 0;

    if (left < 2 || (from->at[0] & 0x1F) == 0x1F)
        return false;
    *tag = from->at[0];
    length = from->at[1];
    content->at = from->at + 2;
    if (length > 0x7F) { // the length's own length, 1 to 4 bytes; it must be needed
        bytes = length & 0x7F;
        if (bytes < 1 || bytes > 4 || left < 2 + bytes || !content->at[0])
            return false;
        for (length = 0; content->at < from->at + 2 + bytes; content->at++)
            length = length << 8 | *content->at;
        if (length < 0x80)
            return false;
    }
    if (length > left - 2 - bytes)
        return false;
    content->end = from->at = content->at + length;
    return true;
}

// The same, which must have this tag; a mismatch takes nothing.
static bool asocket__tls_der_take(asocket__tls_span *from, uint8_t tag, asocket__tls_span *content)
{
    asocket__tls_span rest = *from;
    uint8_t found;

    if (!asocket__tls_der_next(&rest, &found, content) || found != tag)
        return false;
    *from = rest;
    return true;
}

// The same with its header.
static bool asocket__tls_der_whole(asocket__tls_span *from, uint8_t tag, asocket__tls_span *whole)
{
    asocket__tls_span content;
    const uint8_t *at = from->at;

    if (!asocket__tls_der_take(from, tag, &content))
        return false;
    whole->at = at;
    whole->end = content.end;
    return true;
}

// Whether there is nothing but whole elements.
static bool asocket__tls_der_list(asocket__tls_span list)
{
    asocket__tls_span content;
    uint8_t tag;

    while (list.at < list.end)
        if (!asocket__tls_der_next(&list, &tag, &content))
            return false;
    return true;
}

// Days since 1970-01-01 of a date of the Gregorian calendar.
static int64_t asocket__tls_days(int64_t year, int64_t month, int64_t day)
{
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1; // from March on

    year -= month <= 2;
    return year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719468;
}

static int asocket__tls_two_digits(const uint8_t *at)
{
    return at[0] >= '0' && at[0] <= '9' && at[1] >= '0' && at[1] <= '9'
               ? (at[0] - '0') * 10 + at[1] - '0'
               : -1;
}

// UTCTime or GeneralizedTime, as RFC 5280, 4.1.2.5, wants them: seconds, "Z", no fraction.
static bool asocket__tls_der_date(asocket__tls_span *from, int64_t *seconds)
{
    static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    asocket__tls_span text;
    int part[7], i, year; // century, year, month, day, hour, minute, second
    uint8_t tag;
    bool leap;

    if (!asocket__tls_der_next(from, &tag, &text) ||
        asocket__tls_span_size(text) != (tag == 0x17 ? 13 : 15) || (tag != 0x17 && tag != 0x18))
        return false;
    part[0] = tag == 0x18 ? asocket__tls_two_digits(text.at) : text.at[0] < '5' ? 20 : 19;
    for (i = 1; i < 7; i++)
        part[i] = asocket__tls_two_digits(text.end - 15 + 2 * i);
    for (i = 0; i < 7; i++)
        if (part[i] < 0)
            return false;
    year = part[0] * 100 + part[1];
    leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (text.end[-1] != 'Z' || part[2] < 1 || part[2] > 12 || part[3] < 1 ||
        part[3] > lengths[part[2] - 1] + (part[2] == 2 && leap) || part[4] > 23 || part[5] > 59 ||
        part[6] > 59)
        return false;
    *seconds = ((asocket__tls_days(year, part[2], part[3]) * 24 + part[4]) * 60 + part[5]) * 60;
    *seconds += part[6];
    return true;
}

// A positive INTEGER without its leading zero. Zero is not positive.
static bool asocket__tls_der_positive(asocket__tls_span *from, asocket__tls_span *value)
{
    if (!asocket__tls_der_take(from, 0x02, value) || value->at == value->end || *value->at & 0x80)
        return false;
    if (!*value->at)
        value->at++;
    return value->at < value->end && (*value->at & 0x80 || *value->at);
}

static bool asocket__tls_read_rsa(asocket__tls_x509 *x509, asocket__tls_span bits)
{
    asocket__tls_span pair, n, e;
    br_rsa_public_key *rsa = &x509->key.key.rsa;
    uint8_t top;

    if (!asocket__tls_der_take(&bits, 0x30, &pair) || bits.at != bits.end ||
        !asocket__tls_der_positive(&pair, &n) || !asocket__tls_der_positive(&pair, &e) ||
        pair.at != pair.end || !(n.end[-1] & 1) || !(e.end[-1] & 1) || ASOCKET__TLS_IS(e, "\1"))
        return false;
    for (top = *n.at; !(top & 0x80); top = (uint8_t)(top << 1))
        x509->bits--;
    x509->bits += (unsigned)asocket__tls_span_size(n) * 8;
    x509->key.key_type = BR_KEYTYPE_RSA;
    rsa->n = (unsigned char *)(uintptr_t)n.at; // BearSSL only reads there
    rsa->nlen = asocket__tls_span_size(n);
    rsa->e = (unsigned char *)(uintptr_t)e.at;
    rsa->elen = asocket__tls_span_size(e);
    return true;
}

static void asocket__tls_read_ec(asocket__tls_x509 *x509, asocket__tls_span algorithm,
                                 asocket__tls_span point)
{
    asocket__tls_span curve;
    br_ec_public_key *ec = &x509->key.key.ec;
    size_t size = 0;

    if (!asocket__tls_der_take(&algorithm, 0x06, &curve))
        return; // written out instead of named
    if (ASOCKET__TLS_IS(curve, "\x2A\x86\x48\xCE\x3D\x03\x01\x07"))
        size = 65, ec->curve = BR_EC_secp256r1;
    else if (ASOCKET__TLS_IS(curve, "\x2B\x81\x04\x00\x22"))
        size = 97, ec->curve = BR_EC_secp384r1;
    else if (ASOCKET__TLS_IS(curve, "\x2B\x81\x04\x00\x23"))
        size = 133, ec->curve = BR_EC_secp521r1;
    if (!size || asocket__tls_span_size(point) != size || *point.at != 4)
        return;
    x509->key.key_type = BR_KEYTYPE_EC;
    ec->q = (unsigned char *)(uintptr_t)point.at;
    ec->qlen = size;
}

// SubjectPublicKeyInfo (RFC 3279). A kind that BearSSL does not know is no error here.
static bool asocket__tls_read_key(asocket__tls_x509 *x509)
{
    asocket__tls_span at = x509->spki, info, algorithm, kind, bits;

    if (!asocket__tls_der_take(&at, 0x30, &info) ||
        !asocket__tls_der_take(&info, 0x30, &algorithm) ||
        !asocket__tls_der_take(&algorithm, 0x06, &kind) ||
        !asocket__tls_der_take(&info, 0x03, &bits) || info.at != info.end || bits.at == bits.end ||
        *bits.at++)
        return false;
    if (ASOCKET__TLS_IS(kind, "\x2A\x86\x48\x86\xF7\x0D\x01\x01\x01"))
        return asocket__tls_read_rsa(x509, bits);
    if (ASOCKET__TLS_IS(kind, "\x2A\x86\x48\xCE\x3D\x02\x01"))
        asocket__tls_read_ec(x509, algorithm, bits);
    return true;
}

// The hash that an AlgorithmIdentifier of a signature names; 0: not supported (PSS, Ed25519, ...).
static uint8_t asocket__tls_read_hash(asocket__tls_span algorithm)
{
    asocket__tls_span content, oid;
    uint8_t last;

    if (!asocket__tls_der_take(&algorithm, 0x30, &content) ||
        !asocket__tls_der_take(&content, 0x06, &oid) || asocket__tls_span_size(oid) < 7)
        return 0;
    last = *--oid.end;
    if (ASOCKET__TLS_IS(oid, "\x2A\x86\x48\x86\xF7\x0D\x01\x01")) // PKCS#1
        return last == 5                  ? br_sha1_ID
               : last >= 2 && last <= 4   ? br_md5_ID // or older still
               : last >= 11 && last <= 13 ? (uint8_t)(last - 11 + br_sha256_ID)
                                          : 0;
    if (ASOCKET__TLS_IS(oid, "\x2A\x86\x48\xCE\x3D\x04")) // ECDSA
        return last == 1 ? br_sha1_ID : 0;
    if (ASOCKET__TLS_IS(oid, "\x2A\x86\x48\xCE\x3D\x04\x03"))
        return last >= 2 && last <= 4 ? (uint8_t)(last - 2 + br_sha256_ID) : 0;
    return 0;
}

// An optional BOOLEAN; "false" need not be written, but often is.
static bool asocket__tls_read_flag(asocket__tls_span *from, bool *value)
{
    asocket__tls_span flag;

    *value = false;
    if (!asocket__tls_der_take(from, 0x01, &flag))
        return true;
    *value = flag.at < flag.end && *flag.at;
    return ASOCKET__TLS_IS(flag, "\0") || ASOCKET__TLS_IS(flag, "\xFF");
}

static bool asocket__tls_read_basic(asocket__tls_x509 *x509, asocket__tls_span value)
{
    asocket__tls_span content, part;

    if (!asocket__tls_der_take(&value, 0x30, &content) ||
        !asocket__tls_read_flag(&content, &x509->ca))
        return false;
    if (asocket__tls_der_take(&content, 0x02, &part)) {
        if (part.at == part.end || *part.at & 0x80)
            return false;
        x509->path_limit = part.end - part.at > 1 ? 0x7F : *part.at;
    }
    return content.at == content.end;
}

static bool asocket__tls_read_usage(asocket__tls_x509 *x509, asocket__tls_span value)
{
    asocket__tls_span bits;

    if (!asocket__tls_der_take(&value, 0x03, &bits) || bits.end - bits.at < 2 || *bits.at > 7)
        return false;
    x509->usage = bits.at[1];
    return true;
}

static bool asocket__tls_read_purposes(asocket__tls_x509 *x509, asocket__tls_span value)
{
    asocket__tls_span list, purpose;

    if (!asocket__tls_der_take(&value, 0x30, &list))
        return false;
    x509->server = false;
    while (asocket__tls_der_take(&list, 0x06, &purpose))
        x509->server |= ASOCKET__TLS_IS(purpose, "\x2B\x06\x01\x05\x05\x07\x03\x01") ||
                        ASOCKET__TLS_IS(purpose, "\x55\x1D\x25\x00"); // any
    return list.at == list.end;
}

// Those that BearSSL passes over or understands, whether critical or not.
static bool asocket__tls_extension_known(asocket__tls_span oid)
{
    static const char numbers[] = {35, 14, 18, 9, 31, 46, 32}; // of 2.5.29
    return (asocket__tls_span_size(oid) == 3 && oid.at[0] == 0x55 && oid.at[1] == 0x1D &&
            memchr(numbers, oid.at[2], sizeof numbers)) ||
           ASOCKET__TLS_IS(oid, "\x2B\x06\x01\x05\x05\x07\x01\x01") ||
           ASOCKET__TLS_IS(oid, "\x2B\x06\x01\x05\x05\x07\x01\x0B");
}

static bool asocket__tls_read_extension(asocket__tls_x509 *x509, asocket__tls_span oid,
                                        asocket__tls_span value, bool critical)
{
    if (ASOCKET__TLS_IS(oid, "\x55\x1D\x13"))
        return asocket__tls_read_basic(x509, value);
    if (ASOCKET__TLS_IS(oid, "\x55\x1D\x0F"))
        return asocket__tls_read_usage(x509, value);
    if (ASOCKET__TLS_IS(oid, "\x55\x1D\x11"))
        return asocket__tls_der_take(&value, 0x30, &x509->names) && value.at == value.end &&
               asocket__tls_der_list(x509->names);
    if (ASOCKET__TLS_IS(oid, "\x55\x1D\x25")) {
        x509->purposes_critical = critical;
        return asocket__tls_read_purposes(x509, value);
    }
    if (ASOCKET__TLS_IS(oid, "\x55\x1D\x1E"))
        x509->constrained = true;
    else if (critical && !asocket__tls_extension_known(oid))
        x509->unknown = oid;
    return true;
}

static bool asocket__tls_read_extensions(asocket__tls_x509 *x509, asocket__tls_span list)
{
    asocket__tls_span oids[ASOCKET__TLS_EXTENSIONS], extension, value;
    size_t count = 0, i;

    if (list.at == list.end)
        return false;
    while (asocket__tls_der_take(&list, 0x30, &extension)) {
        bool critical;

        if (count == ASOCKET__TLS_EXTENSIONS ||
            !asocket__tls_der_take(&extension, 0x06, &oids[count]) ||
            !asocket__tls_read_flag(&extension, &critical) ||
            !asocket__tls_der_take(&extension, 0x04, &value) || extension.at != extension.end)
            return false;
        for (i = 0; i < count; i++)
            if (asocket__tls_span_equal(oids[i], oids[count]))
                x509->twice = oids[count];
        if (!asocket__tls_read_extension(x509, oids[count++], value, critical))
            return false;
    }
    return list.at == list.end;
}

// Everything behind the signed part's beginning up to the key.
static bool asocket__tls_read_head(asocket__tls_x509 *x509, asocket__tls_span *body, int *version,
                                   asocket__tls_span *algorithm)
{
    asocket__tls_span part, number;

    *version = 1;
    if (asocket__tls_der_take(body, 0xA0, &part)) {
        if (!asocket__tls_der_take(&part, 0x02, &number) || part.at != part.end ||
            number.end - number.at != 1 || *number.at > 2)
            return false;
        *version = *number.at + 1;
    }
    return asocket__tls_der_take(body, 0x02, &number) &&
           asocket__tls_der_whole(body, 0x30, algorithm) &&
           asocket__tls_der_whole(body, 0x30, &x509->issuer) &&
           asocket__tls_der_take(body, 0x30, &part) && asocket__tls_der_date(&part, &x509->from) &&
           asocket__tls_der_date(&part, &x509->to) && part.at == part.end &&
           asocket__tls_der_whole(body, 0x30, &x509->subject) &&
           asocket__tls_der_whole(body, 0x30, &x509->spki) && asocket__tls_read_key(x509);
}

// Takes a certificate apart (RFC 5280, 4.1). NULL, or what is malformed.
static const char *asocket__tls_x509_read(asocket__tls_x509 *x509, const uint8_t *der, size_t size)
{
    asocket__tls_span rest, all, body, inner, outer, part, list;
    int version;

    memset(x509, 0, sizeof *x509);
    x509->path_limit = -1;
    x509->usage = 0xFF;
    x509->server = true;
    x509->der.at = rest.at = der;
    x509->der.end = rest.end = der + size;
    if (!asocket__tls_der_take(&rest, 0x30, &all) || rest.at != rest.end ||
        !asocket__tls_der_take(&all, 0x30, &body) || !asocket__tls_der_whole(&all, 0x30, &outer) ||
        !asocket__tls_der_take(&all, 0x03, &part) || all.at != all.end)
        return "no certificate in DER";
    if (!asocket__tls_read_head(x509, &body, &version, &inner))
        return "its version, names, dates or key are malformed";
    if (!asocket__tls_span_equal(inner, outer))
        return "it names two signature algorithms";
    x509->hash = asocket__tls_read_hash(outer);
    (void)asocket__tls_der_take(&body, 0x81, &part); // issuerUniqueID, subjectUniqueID
    (void)asocket__tls_der_take(&body, 0x82, &part);
    if (asocket__tls_der_take(&body, 0xA3, &part) &&
        (version != 3 || !asocket__tls_der_take(&part, 0x30, &list) || part.at != part.end ||
         !asocket__tls_read_extensions(x509, list)))
        return "its extensions are malformed";
    if (body.at != body.end)
        return "bytes behind its last field";
    x509->version = (uint8_t)version;
    return NULL;
}

// ------------------------------------------------------------------------------------------------
// >>tls_pem
// Blocks of base64 (RFC 7468). Pure. Their speed is that of loading the system's roots.

// The value of a character; -1: it is none of base64's.
static int asocket__tls_base64(uint8_t c)
{
    static const int8_t values[80] = {
        62, -1, -1, -1, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, -1, -1, -1, -1, -1,
        -1, -1, 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17,
        18, 19, 20, 21, 22, 23, 24, 25, -1, -1, -1, -1, -1, -1, 26, 27, 28, 29, 30, 31,
        32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51};

    return c >= '+' && c <= 'z' ? values[c - '+'] : -1;
}

// Decodes all of it, white space in between; `out` may be where it is. False: it is no base64.
static bool asocket__tls_base64_read(asocket__tls_span text, uint8_t *out, size_t *size)
{
    uint8_t *first = out;
    uint32_t word = 0;
    int count = 0, pads = 0;

    while (text.at < text.end) {
        int a, b, c, d;

        while (!count && text.end - text.at >= 4) { // four at a time, up to the end of the line
            a = asocket__tls_base64(text.at[0]);
            b = asocket__tls_base64(text.at[1]);
            c = asocket__tls_base64(text.at[2]);
            d = asocket__tls_base64(text.at[3]);
            if ((a | b | c | d) < 0)
                break;
            *out++ = (uint8_t)(a << 2 | b >> 4);
            *out++ = (uint8_t)(b << 4 | c >> 2);
            *out++ = (uint8_t)(c << 6 | d);
            text.at += 4;
        }
        if (text.at == text.end)
            break;
        a = asocket__tls_base64(*text.at);
        if (a >= 0 && !pads) {
            word = word << 6 | (uint32_t)a;
            count++;
        } else if (*text.at == '=') {
            pads++;
        } else if (!memchr(" \t\r\n\f\v", *text.at, 6)) {
            return false;
        }
        text.at++;
        if (count == 4) {
            *out++ = (uint8_t)(word >> 16);
            *out++ = (uint8_t)(word >> 8);
            *out++ = (uint8_t)word;
            count = 0;
        }
    }
    if (count + pads != (count ? 4 : 0) || count == 1)
        return false;
    if (count)
        *out++ = (uint8_t)(word >> (count == 3 ? 10 : 4));
    if (count == 3)
        *out++ = (uint8_t)(word >> 2);
    *size = (size_t)(out - first);
    return true;
}

// The next line that is "-----<word> <label>-----": where it begins, and the label. `rest` goes on
// behind it. False: there is none.
static bool asocket__tls_pem_line(asocket__tls_span *rest, const char *word,
                                  asocket__tls_span *line, asocket__tls_span *label)
{
    size_t length = strlen(word);

    while (rest->at < rest->end) {
        const void *newline = memchr(rest->at, '\n', asocket__tls_span_size(*rest));

        line->at = rest->at;
        line->end = newline ? (const uint8_t *)newline : rest->end;
        rest->at = newline ? line->end + 1 : line->end;
        if (*line->at != '-' || asocket__tls_span_size(*line) < length + 5 ||
            memcmp(line->at, word, length))
            continue;
        *label = *line;
        label->at += length;
        while (label->end > label->at && memchr(" \t\r", label->end[-1], 3))
            label->end--;
        if (asocket__tls_span_size(*label) < 5 || memcmp(label->end - 5, "-----", 5))
            continue;
        label->end -= 5;
        return true;
    }
    return false;
}

// The next block of a PEM text from *at on: its label (cut if longer) and its bytes, decoded into
// `der`, which has room for size - *at bytes (may be the text itself). 1; 0: no more; -1: a bad
// block, whose label is there and which is passed.
static int asocket__tls_pem_next(const uint8_t *text, size_t size, size_t *at, char label[32],
                                 uint8_t *der, size_t *der_size)
{
    asocket__tls_span rest, line, name, end_name, content;
    size_t length;
    bool good;

    rest.at = line.at = text + *at;
    rest.end = text + size;
    *der_size = 0;
    if (!asocket__tls_pem_line(&rest, "-----BEGIN ", &line, &name)) {
        *at = size;
        return 0;
    }
    length = asocket__tls_span_size(name) < 31 ? asocket__tls_span_size(name) : 31;
    memcpy(label, name.at, length);
    label[length] = 0;
    content.at = rest.at;
    good = asocket__tls_pem_line(&rest, "-----END ", &line, &end_name) &&
           asocket__tls_span_equal(name, end_name);
    content.end = line.at;
    *at = (size_t)(rest.at - text);
    return good && asocket__tls_base64_read(content, der, der_size) ? 1 : -1;
}

// ------------------------------------------------------------------------------------------------
// >>tls_trust
// Roots. Only their place and a hash of their subject are kept ready: a certificate is taken apart
// when a chain ends at its name. So the whole store of a system is loaded in less than 1 ms, and as
// nothing changes later, threads share it without locks.

typedef struct asocket__tls_block { // certificates, one after another
    struct asocket__tls_block *next;
} asocket__tls_block;

struct asocket_tls_trust {
    int references; // atomic
    size_t count, capacity;
    asocket__tls_anchor *anchors;
    asocket__tls_block *blocks;
    char message[160];
};

static int asocket__tls_trust_say(asocket_tls_trust *trust, int status, const char *format, ...)
    ASOCKET_PRINTF(3, 4);

static int asocket__tls_trust_say(asocket_tls_trust *trust, int status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(trust->message, sizeof trust->message, format, arguments);
    va_end(arguments);
    return status;
}

static uint32_t asocket__tls_hash(asocket__tls_span span) // FNV-1a
{
    uint32_t hash = 2166136261u;

    while (span.at < span.end)
        hash = (hash ^ *span.at++) * 16777619u;
    return hash;
}

// The next trusted certificate with this subject, from *at on. False: there is none.
static bool asocket__tls_trust_find(const asocket_tls_trust *trust, asocket__tls_span subject,
                                    size_t *at, asocket__tls_x509 *x509)
{
    uint32_t hash = asocket__tls_hash(subject);

    while (*at < trust->count) {
        const asocket__tls_anchor *anchor = &trust->anchors[(*at)++];

        if (anchor->hash == hash && !asocket__tls_x509_read(x509, anchor->der, anchor->size) &&
            asocket__tls_span_equal(x509->subject, subject))
            return true;
    }
    return false;
}

// Whether this very certificate is trusted.
static bool asocket__tls_trust_has(const asocket_tls_trust *trust, const asocket__tls_x509 *x509)
{
    asocket__tls_x509 anchor;
    size_t at = 0;

    while (trust && asocket__tls_trust_find(trust, x509->subject, &at, &anchor))
        if (asocket__tls_span_equal(anchor.der, x509->der))
            return true;
    return false;
}

// Room for one more.
static bool asocket__tls_trust_room(asocket_tls_trust *trust)
{
    size_t capacity = trust->capacity ? trust->capacity * 2 : 16;
    void *anchors;

    if (trust->count < trust->capacity)
        return true;
    anchors = ASOCKET_REALLOC(trust->anchors, capacity * sizeof *trust->anchors);
    if (!anchors)
        return false;
    trust->anchors = (asocket__tls_anchor *)anchors;
    trust->capacity = capacity;
    return true;
}

// Adds one, for which there is room and whose bytes stay, unless it is there already. NULL, or what
// is wrong with it.
static const char *asocket__tls_trust_keep(asocket_tls_trust *trust, const uint8_t *der,
                                           size_t size)
{
    asocket__tls_x509 x509;
    const char *wrong = asocket__tls_x509_read(&x509, der, size);

    if (!wrong && !asocket__tls_trust_has(trust, &x509)) {
        asocket__tls_anchor *anchor = &trust->anchors[trust->count++];

        anchor->der = der;
        anchor->size = (uint32_t)size;
        anchor->hash = asocket__tls_hash(x509.subject);
    }
    return wrong;
}

// Adds the certificates of a text; bad ones are passed over if `lenient`, else nothing is added. How
// many there were, or a status.
static int asocket__tls_trust_take(asocket_tls_trust *trust, const uint8_t *pem, size_t size,
                                   bool lenient)
{
    size_t at = 0, length, before = trust->count, room = sizeof(asocket__tls_block) + size / 4 * 3;
    asocket__tls_block *block = (asocket__tls_block *)ASOCKET_MALLOC(room + 3);
    uint8_t *out = (uint8_t *)(block + 1);
    int number = 0, taken = 0, status = 0, found;
    char label[32];

    if (!block)
        return asocket__tls_trust_say(trust, ASOCKET_ENOMEM, "out of memory");
    while (!status && (found = asocket__tls_pem_next(pem, size, &at, label, out, &length))) {
        const char *wrong;

        if (strcmp(label, "CERTIFICATE") != 0 && strcmp(label, "X509 CERTIFICATE") != 0)
            continue;
        number++;
        if (!asocket__tls_trust_room(trust)) {
            status = asocket__tls_trust_say(trust, ASOCKET_ENOMEM, "out of memory");
            break;
        }
        wrong = found < 0 ? "its base64 is damaged" : asocket__tls_trust_keep(trust, out, length);
        if (wrong && !lenient)
            status =
                asocket__tls_trust_say(trust, ASOCKET_EINVAL, "certificate %d: %s", number, wrong);
        taken += !wrong;
        out += length;
    }
    if (status)
        trust->count = before;
    if (trust->count == before) {
        ASOCKET_FREE(block);
    } else {
        block->next = trust->blocks;
        trust->blocks = block;
    }
    return status  ? status
           : taken ? taken
                   : asocket__tls_trust_say(trust, ASOCKET_EINVAL, "there is no certificate in it");
}

#define ASOCKET__TLS_FILE_SIZE (16 * 1024 * 1024) // more is no certificate file, but /dev/zero

// A whole file, with a NUL behind it: 0 and *bytes is the caller's to free, or a status.
static int asocket__tls_read_file(const char *path, uint8_t **bytes, size_t *size)
{
    FILE *file = ASOCKET_SYS(fopen)(path, "rb");
    size_t capacity = 0, have = 0, count = 1;
    int status = errno == EACCES || errno == EPERM ? ASOCKET_EACCES : ASOCKET_ENOTFOUND;

    *bytes = NULL;
    if (!file)
        return status;
    for (status = 0; !status && count; have += count) {
        if (capacity - have < 2) {
            uint8_t *grown;

            capacity = capacity ? capacity * 4 : 65536;
            grown = (uint8_t *)ASOCKET_REALLOC(*bytes, capacity);
            status = !grown                              ? ASOCKET_ENOMEM
                     : capacity > ASOCKET__TLS_FILE_SIZE ? ASOCKET_EMSGSIZE
                                                         : 0;
            *bytes = grown ? grown : *bytes;
        }
        count = status ? 0 : ASOCKET_SYS(fread)(*bytes + have, 1, capacity - have - 1, file);
    }
    if (!status && ASOCKET_SYS(ferror)(file))
        status = ASOCKET_EIO; // a directory, for example
    (void)ASOCKET_SYS(fclose)(file);
    if (status) {
        ASOCKET_FREE(*bytes);
        *bytes = NULL;
        return status;
    }
    (*bytes)[have] = 0;
    *size = have;
    return 0;
}

static int asocket__tls_trust_file(asocket_tls_trust *trust, const char *path, bool lenient)
{
    char before[sizeof trust->message];
    uint8_t *bytes;
    size_t size;
    int status = asocket__tls_read_file(path, &bytes, &size);

    if (status)
        return asocket__tls_trust_say(trust, status, "%s: %s", path, asocket_strerror(status));
    status = asocket__tls_trust_take(trust, bytes, size, lenient);
    ASOCKET_FREE(bytes);
    if (status < 0) {
        memcpy(before, trust->message, sizeof before);
        (void)asocket__tls_trust_say(trust, status, "%.90s: %.60s", path, before);
    }
    return status;
}

#if ASOCKET__TLS_WINDOWS

#define ASOCKET__TLS_LIST              ';'
#define asocket__tls_environment(name) ASOCKET_SYS(getenv)(name)

static int asocket__tls_trust_directory(asocket_tls_trust *trust, const char *path)
{
    (void)trust, (void)path;
    return 0;
}

// Those of the user and the machine that are not disallowed. Windows fetches roots when it first
// needs them: on a fresh machine some may not be there yet.
static int asocket__tls_system_roots(asocket_tls_trust *trust)
{
    HCERTSTORE store = ASOCKET_SYS(CertOpenSystemStoreW)(0, L"ROOT");
    HCERTSTORE wrong = ASOCKET_SYS(CertOpenSystemStoreW)(0, L"Disallowed");
    PCCERT_CONTEXT certificate = NULL, found;
    int taken = 0;

    while (store &&
           (certificate = ASOCKET_SYS(CertEnumCertificatesInStore)(store, certificate)) != NULL) {
        found = wrong ? ASOCKET_SYS(CertFindCertificateInStore)(
                            wrong, X509_ASN_ENCODING, 0, CERT_FIND_EXISTING, certificate, NULL)
                      : NULL;
        if (found)
            (void)ASOCKET_SYS(CertFreeCertificateContext)(found);
        else if (asocket_tls_trust_add_der(trust, certificate->pbCertEncoded,
                                           certificate->cbCertEncoded) > 0)
            taken++;
    }
    if (store)
        (void)ASOCKET_SYS(CertCloseStore)(store, 0);
    if (wrong)
        (void)ASOCKET_SYS(CertCloseStore)(wrong, 0);
    return taken ? taken
                 : asocket__tls_trust_say(trust, ASOCKET_ENOTFOUND,
                                          "no trusted roots in Windows' ROOT store");
}

#else

#define ASOCKET__TLS_LIST ':'

#if ASOCKET__TLS_SETUID == 1

static const char *asocket__tls_environment(const char *name)
{
    return ASOCKET_SYS(secure_getenv)(name);
}

#elif ASOCKET__TLS_SETUID == 2

static const char *asocket__tls_environment(const char *name)
{
    return ASOCKET_SYS(issetugid)() ? NULL : ASOCKET_SYS(getenv)(name);
}

#else

static const char *asocket__tls_environment(const char *name)
{
    return ASOCKET_SYS(getenv)(name);
}

#endif

// Every file of a directory that has certificates in it.
static int asocket__tls_trust_directory(asocket_tls_trust *trust, const char *path)
{
    DIR *directory = ASOCKET_SYS(opendir)(path);
    const struct dirent *entry;
    char file[1024];
    int taken = 0, count;

    while (directory && (entry = ASOCKET_SYS(readdir)(directory)) != NULL) {
        int length = snprintf(file, sizeof file, "%s/%s", path, entry->d_name);

        if (entry->d_name[0] == '.' || length < 0 || (size_t)length >= sizeof file)
            continue;
        count = asocket__tls_trust_file(trust, file, true);
        taken += count > 0 ? count : 0;
    }
    if (directory)
        (void)ASOCKET_SYS(closedir)(directory);
    return taken;
}

// The first of the usual files that has any, or else of the usual directories.
static int asocket__tls_root_files(asocket_tls_trust *trust)
{
    static const char *const files[] = {
        "/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Arch, Gentoo, Alpine
        "/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora, RHEL
        "/etc/ssl/ca-bundle.pem",                            // SUSE
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // CentOS
        "/etc/pki/tls/cacert.pem",                           // OpenELEC
        "/usr/local/etc/ssl/cert.pem",                       // FreeBSD, DragonFly
        "/etc/ssl/cert.pem",                                 // Alpine, OpenBSD, FreeBSD, macOS
        "/usr/local/share/certs/ca-root-nss.crt",            // FreeBSD's ca_root_nss
        "/etc/openssl/certs/ca-certificates.crt"             // NetBSD
    };
    static const char *const directories[] = {
        "/apex/com.android.conscrypt/cacerts", // Android 14
        "/system/etc/security/cacerts",        // Android
        "/etc/ssl/certs",                      // FreeBSD 12.2
        "/etc/pki/tls/certs",                  // Fedora
        "/etc/openssl/certs",                  // NetBSD
    };
    size_t i;
    int taken = 0;

    for (i = 0; taken <= 0 && i < sizeof files / sizeof *files; i++)
        taken = asocket__tls_trust_file(trust, files[i], true);
    for (i = 0; taken <= 0 && i < sizeof directories / sizeof *directories; i++)
        taken = asocket__tls_trust_directory(trust, directories[i]);
    return taken > 0
               ? taken
               : asocket__tls_trust_say(trust, ASOCKET_ENOTFOUND,
                                        "no trusted roots in /etc/ssl/certs and the like: install "
                                        "ca-certificates, or set SSL_CERT_FILE");
}

#if ASOCKET__TLS_APPLE

// What the user or the administrator decided about a certificate: 1 trusted, -1 denied, 0 nothing.
static int asocket__tls_apple_verdict(SecCertificateRef certificate, SecTrustSettingsDomain domain)
{
    CFArrayRef settings = NULL;
    CFIndex i;
    int verdict = 0;

    if (ASOCKET_SYS(SecTrustSettingsCopyTrustSettings)(certificate, domain, &settings) || !settings)
        return 0;
    if (!CFArrayGetCount(settings))
        verdict = 1; // no conditions
    for (i = 0; i < CFArrayGetCount(settings); i++) {
        CFDictionaryRef one = (CFDictionaryRef)CFArrayGetValueAtIndex(settings, i);
        CFNumberRef number = (CFNumberRef)CFDictionaryGetValue(one, kSecTrustSettingsResult);
        int32_t result = kSecTrustSettingsResultTrustRoot; // when it says nothing

        if (number)
            (void)CFNumberGetValue(number, kCFNumberSInt32Type, &result);
        if (result == kSecTrustSettingsResultDeny)
            verdict = -1;
        else if (!verdict && !CFDictionaryGetValue(one, kSecTrustSettingsPolicy) &&
                 (result == kSecTrustSettingsResultTrustRoot ||
                  result == kSecTrustSettingsResultTrustAsRoot))
            verdict = 1;
    }
    CFRelease(settings);
    return verdict;
}

// Adds those of a list that nobody denied and, if `decided`, somebody trusted.
static int asocket__tls_apple_take(asocket_tls_trust *trust, CFArrayRef list, bool decided)
{
    CFIndex i;
    int taken = 0;

    for (i = 0; list && i < CFArrayGetCount(list); i++) {
        SecCertificateRef one = (SecCertificateRef)(uintptr_t)CFArrayGetValueAtIndex(list, i);
        int user = asocket__tls_apple_verdict(one, kSecTrustSettingsDomainUser);
        int admin = asocket__tls_apple_verdict(one, kSecTrustSettingsDomainAdmin);
        CFDataRef data = user < 0 || admin < 0 || (decided && user < 1 && admin < 1)
                             ? NULL
                             : ASOCKET_SYS(SecCertificateCopyData)(one);

        if (data) {
            taken += asocket_tls_trust_add_der(trust, CFDataGetBytePtr(data),
                                               (size_t)CFDataGetLength(data)) > 0;
            CFRelease(data);
        }
    }
    if (list)
        CFRelease(list);
    return taken;
}

// The system's, and what the user and the administrator added in the keychain.
static int asocket__tls_system_roots(asocket_tls_trust *trust)
{
    CFArrayRef list = NULL;
    int taken;

    if (ASOCKET_SYS(SecTrustCopyAnchorCertificates)(&list))
        list = NULL;
    taken = asocket__tls_apple_take(trust, list, false);
    list = NULL;
    if (ASOCKET_SYS(SecTrustSettingsCopyCertificates)(kSecTrustSettingsDomainUser, &list))
        list = NULL;
    taken += asocket__tls_apple_take(trust, list, true);
    list = NULL;
    if (ASOCKET_SYS(SecTrustSettingsCopyCertificates)(kSecTrustSettingsDomainAdmin, &list))
        list = NULL;
    taken += asocket__tls_apple_take(trust, list, true);
    return taken ? taken : asocket__tls_root_files(trust);
}

#else

#define asocket__tls_system_roots(trust) asocket__tls_root_files(trust)

#endif
#endif

// What SSL_CERT_FILE and SSL_CERT_DIR name, instead of the system's.
static int asocket__tls_named_roots(asocket_tls_trust *trust, const char *file,
                                    const char *directories)
{
    int taken = file ? asocket__tls_trust_file(trust, file, true) : 0;

    taken = taken > 0 ? taken : 0;
    while (directories && *directories) {
        const char *end = strchr(directories, ASOCKET__TLS_LIST);
        size_t length = end ? (size_t)(end - directories) : strlen(directories);
        char path[512];

        if (length && length < sizeof path) {
            memcpy(path, directories, length);
            path[length] = 0;
            taken += asocket__tls_trust_directory(trust, path);
        }
        directories = end ? end + 1 : NULL;
    }
    return taken ? taken
                 : asocket__tls_trust_say(trust, ASOCKET_ENOTFOUND,
                                          "no trusted roots where SSL_CERT_FILE (%.40s) and "
                                          "SSL_CERT_DIR (%.40s) say",
                                          file ? file : "", directories ? directories : "");
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

// Whether something can be added; the last message is over.
static bool asocket__tls_trust_open(asocket_tls_trust *trust, const void *what)
{
    if (!trust)
        return false;
    trust->message[0] = 0;
    if (!what)
        (void)asocket__tls_trust_say(trust, ASOCKET_EINVAL, "nothing is given");
    return what != NULL;
}

int asocket_tls_trust_add_pem(asocket_tls_trust *trust, const void *pem, size_t size)
{
    return asocket__tls_trust_open(trust, pem)
               ? asocket__tls_trust_take(trust, (const uint8_t *)pem, size, false)
               : ASOCKET_EINVAL;
}

int asocket_tls_trust_add_der(asocket_tls_trust *trust, const void *der, size_t size)
{
    size_t before = trust ? trust->count : 0;
    asocket__tls_block *block;
    const char *wrong;

    if (!asocket__tls_trust_open(trust, der))
        return ASOCKET_EINVAL;
    block = (asocket__tls_block *)ASOCKET_MALLOC(sizeof *block + size);
    if (!block || !asocket__tls_trust_room(trust)) {
        ASOCKET_FREE(block);
        return asocket__tls_trust_say(trust, ASOCKET_ENOMEM, "out of memory");
    }
    memcpy(block + 1, der, size);
    wrong = asocket__tls_trust_keep(trust, (const uint8_t *)(block + 1), size);
    if (trust->count == before) {
        ASOCKET_FREE(block);
    } else {
        block->next = trust->blocks;
        trust->blocks = block;
    }
    return wrong ? asocket__tls_trust_say(trust, ASOCKET_EINVAL, "%s", wrong) : 1;
}

int asocket_tls_trust_add_file(asocket_tls_trust *trust, const char *path)
{
    return asocket__tls_trust_open(trust, path) ? asocket__tls_trust_file(trust, path, false)
                                                : ASOCKET_EINVAL;
}

int asocket_tls_trust_add_system(asocket_tls_trust *trust)
{
    const char *file = asocket__tls_environment("SSL_CERT_FILE");
    const char *directories = asocket__tls_environment("SSL_CERT_DIR");
    int taken;

    if (!asocket__tls_trust_open(trust, trust))
        return ASOCKET_EINVAL;
    file = file && *file ? file : NULL;
    directories = directories && *directories ? directories : NULL;
    taken = file || directories ? asocket__tls_named_roots(trust, file, directories)
                                : asocket__tls_system_roots(trust);
    if (taken > 0)
        trust->message[0] = 0; // of files that are not there
    return taken;
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
        (void)__atomic_add_fetch(&trust->references, 1, __ATOMIC_RELAXED);
    return trust;
}

void asocket_tls_trust_release(asocket_tls_trust *trust)
{
    if (!trust || __atomic_sub_fetch(&trust->references, 1, __ATOMIC_ACQ_REL))
        return;
    while (trust->blocks) {
        asocket__tls_block *block = trust->blocks;

        trust->blocks = block->next;
        ASOCKET_FREE(block);
    }
    ASOCKET_FREE(trust->anchors);
    ASOCKET_FREE(trust);
}

// ------------------------------------------------------------------------------------------------
// >>tls_name
// Host names and addresses against those of a certificate (RFC 6125, RFC 9525). Pure.

// An IP address rather than a DNS name: no SNI is sent for it (RFC 6066, 3).
static bool asocket__tls_name_is_address(const char *name)
{
    asocket_ip ip;

    return asocket_ip_parse(&ip, name) == 0;
}

static bool asocket__tls_name_character(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_';
}

// A DNS name in ASCII, without the dot at its end: labels of 1 to 63 letters, digits, hyphens and
// underscores, the last of which is no number ("127.1" is an address to some, and nothing to us).
static bool asocket__tls_name_is_host(asocket__tls_span name)
{
    const uint8_t *at, *label = name.at;
    bool letters = false;

    if (asocket__tls_span_size(name) > 253)
        return false;
    for (at = name.at; at < name.end; at++) {
        if (*at == '.') {
            if (at == label || at - label > 63)
                return false;
            label = at + 1;
            letters = false;
        } else if (!asocket__tls_name_character(*at)) {
            return false;
        } else if (*at < '0' || *at > '9') {
            letters = true;
        }
    }
    return at > label && at - label <= 63 && letters;
}

// The same, whatever the case; both are ASCII.
static bool asocket__tls_name_equal(asocket__tls_span a, asocket__tls_span b)
{
    if (asocket__tls_span_size(a) != asocket__tls_span_size(b))
        return false;
    for (; a.at < a.end; a.at++, b.at++) {
        uint8_t low = *a.at >= 'A' && *a.at <= 'Z' ? *a.at | 0x20 : *a.at;

        if (low != (*b.at >= 'A' && *b.at <= 'Z' ? *b.at | 0x20 : *b.at))
            return false;
    }
    return true;
}

// What is behind the first label, if that has more than one label itself; else nothing.
static asocket__tls_span asocket__tls_name_parent(asocket__tls_span name)
{
    asocket__tls_span none = {name.end, name.end};

    while (name.at < name.end && *name.at != '.')
        name.at++;
    if (name.at == name.end)
        return none;
    name.at++;
    return memchr(name.at, '.', asocket__tls_span_size(name)) ? name : none;
}

// Whether a dNSName is this host, or "*." and the parent of this host. A star stands for one whole
// label, the first, and never below a top-level domain.
static bool asocket__tls_name_covers(asocket__tls_span pattern, asocket__tls_span host)
{
    if (asocket__tls_span_size(pattern) > 2 && pattern.at[0] == '*' && pattern.at[1] == '.') {
        pattern.at += 2;
        host = asocket__tls_name_parent(host);
    }
    return host.at < host.end && asocket__tls_name_equal(pattern, host);
}

static asocket__tls_span asocket__tls_span_of(const char *text)
{
    asocket__tls_span span;

    span.at = (const uint8_t *)text;
    span.end = span.at + strlen(text);
    return span;
}

// Whether a name to verify is one: a host's or an address.
static bool asocket__tls_name_is_valid(const char *name)
{
    return asocket__tls_name_is_address(name) ||
           asocket__tls_name_is_host(asocket__tls_span_of(name));
}

// Whether a list of GeneralNames has this host among its dNSNames, or this address among its
// iPAddresses: never one for the other.
static bool asocket__tls_name_matches(asocket__tls_span names, const char *name)
{
    asocket__tls_span host = asocket__tls_span_of(name), content;
    asocket_ip ip;
    bool address = asocket_ip_parse(&ip, name) == 0;
    uint8_t tag;

    if (!address && !asocket__tls_name_is_host(host))
        return false;
    while (asocket__tls_der_next(&names, &tag, &content)) {
        if (address && tag == 0x87 &&
            asocket__tls_span_is(content, (const char *)ip.bytes, ip.family == 4 ? 4 : 16))
            return true;
        if (!address && tag == 0x82 && asocket__tls_name_covers(content, host))
            return true;
    }
    return false;
}

// ------------------------------------------------------------------------------------------------
// >>tls_validator
// What stands before br_x509_minimal, which alone would be deceived: it knows no EKU, no addresses,
// no order but the right one (BearSSL's manual, "The X.509 Minimal Engine"). The chain is collected,
// taken apart and judged here; a way from the leaf to a trusted root is searched (RFC 4158), and
// BearSSL verifies it: signatures, dates and authorities again.

// A text for people, of bytes that a stranger chose.
static void asocket__tls_printable(char *text, size_t size, asocket__tls_span bytes)
{
    size_t length = 0;

    for (; bytes.at < bytes.end && length + 1 < size; bytes.at++)
        text[length++] =
            *bytes.at < 0x20 || *bytes.at > 0x7E || *bytes.at == '"' ? '?' : (char)*bytes.at;
    text[length] = 0;
}

// The common name of a Name, or else its last part.
static void asocket__tls_common_name(char text[48], asocket__tls_span name)
{
    asocket__tls_span list, set, pair, oid, value;
    uint8_t tag;

    memcpy(text, "(no name)", 10);
    if (!asocket__tls_der_take(&name, 0x30, &list))
        return;
    while (asocket__tls_der_take(&list, 0x31, &set) && asocket__tls_der_take(&set, 0x30, &pair) &&
           asocket__tls_der_take(&pair, 0x06, &oid) && asocket__tls_der_next(&pair, &tag, &value)) {
        asocket__tls_printable(text, 48, value);
        if (ASOCKET__TLS_IS(oid, "\x55\x04\x03"))
            return;
    }
}

static void asocket__tls_print_oid(char *text, size_t size, asocket__tls_span oid)
{
    unsigned arc = 0, first;
    size_t length = 0;

    for (text[0] = 0; oid.at < oid.end && length < size; oid.at++) {
        arc = arc << 7 | (*oid.at & 0x7Fu);
        if (*oid.at & 0x80)
            continue;
        first = arc < 80 ? arc / 40 : 2; // the first two arcs are one number
        if (!length)
            length = (size_t)snprintf(text, size, "%u.%u", first, arc - first * 40);
        else
            length += (size_t)snprintf(text + length, size - length, ".%u", arc);
        arc = 0;
    }
}

// "2026-01-02 03:04:05 UTC"
static void asocket__tls_print_date(char text[40], int64_t seconds)
{
    int64_t days = seconds / 86400 - (seconds % 86400 < 0), rest = seconds - days * 86400;
    int64_t year = 1970 + (days < 0 ? days / 365 - 1 : days / 366), month = 1;

    while (asocket__tls_days(year + 1, 1, 1) <= days)
        year++;
    while (month < 12 && asocket__tls_days(year, month + 1, 1) <= days)
        month++;
    (void)snprintf(text, 40, "%d-%02d-%02d %02d:%02d:%02d UTC", (int)year, (int)month,
                   (int)(days - asocket__tls_days(year, month, 1) + 1), (int)(rest / 3600),
                   (int)(rest / 60 % 60), (int)(rest % 60));
}

// The names that a certificate is for, as many as fit.
static void asocket__tls_print_names(char *text, size_t size, asocket__tls_span names)
{
    size_t length = 0, more = 0;
    asocket__tls_span content;
    uint8_t tag;

    for (text[0] = 0; asocket__tls_der_next(&names, &tag, &content);) {
        char name[64];
        asocket_ip ip;

        if (tag == 0x87 && !asocket_ip_from_bytes(&ip, content.at, asocket__tls_span_size(content)))
            (void)asocket_ip_format(&ip, name, sizeof name);
        else if (tag == 0x82)
            asocket__tls_printable(name, sizeof name, content);
        else
            continue;
        if (length + strlen(name) + 24 < size && !more)
            length +=
                (size_t)snprintf(text + length, size - length, "%s%s", length ? ", " : "", name);
        else
            more++;
    }
    if (more)
        (void)snprintf(text + length, size - length, " and %u more", (unsigned)more);
}

// BearSSL's number for a reason of ours: what the engine ends with, and which alert it means.
static int asocket__tls_x509_error(asocket_tls_reason reason)
{
    switch (reason) {
    case ASOCKET_TLS_OK: return 0;
    case ASOCKET_TLS_NAME: return BR_ERR_X509_BAD_SERVER_NAME;
    case ASOCKET_TLS_EXPIRED:
    case ASOCKET_TLS_NOT_YET: return BR_ERR_X509_EXPIRED;
    case ASOCKET_TLS_NO_CLOCK: return BR_ERR_X509_TIME_UNKNOWN;
    case ASOCKET_TLS_USAGE: return BR_ERR_X509_FORBIDDEN_KEY_USAGE;
    case ASOCKET_TLS_WEAK: return BR_ERR_X509_WEAK_PUBLIC_KEY;
    case ASOCKET_TLS_UNSUPPORTED: return BR_ERR_X509_UNSUPPORTED;
    case ASOCKET_TLS_BAD_CERTIFICATE: return BR_ERR_X509_INVALID_VALUE;
    case ASOCKET_TLS_CHAIN_LIMIT:
    case ASOCKET_TLS_NO_MEMORY: return BR_ERR_X509_LIMIT_EXCEEDED;
    default: return BR_ERR_X509_NOT_TRUSTED;
    }
}

// --- judging one certificate: false, and why is noted ---------------------------------------------

enum { ASOCKET__TLS_NO_TIME = 0, ASOCKET__TLS_SIGN = 0x80, ASOCKET__TLS_CERTIFY = 0x04 };

static bool asocket__tls_judge_dates(const asocket__tls_x509 *x509, int64_t now, const char *name,
                                     asocket_tls_failure *failure)
{
    char date[40], clock[40];

    if (now == ASOCKET__TLS_NO_TIME || (x509->from <= now && now <= x509->to))
        return true;
    asocket__tls_print_date(date, now > x509->to ? x509->to : x509->from);
    asocket__tls_print_date(clock, now);
    if (now > x509->to)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_EXPIRED,
                                "the certificate of \"%s\" expired %s (the clock says %s)", name,
                                date, clock);
    else if (now < ASOCKET__TLS_EARLIEST)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_NO_CLOCK,
                                "the clock says %s: set it (the certificate of \"%s\" is valid "
                                "from %s on)",
                                clock, name, date);
    else
        (void)asocket__tls_fail(failure, ASOCKET_TLS_NOT_YET,
                                "the certificate of \"%s\" is not valid before %s (the clock says "
                                "%s)",
                                name, date, clock);
    return false;
}

static bool asocket__tls_judge_key(const asocket__tls_x509 *x509, const char *name,
                                   asocket_tls_failure *failure)
{
    bool rsa = x509->key.key_type == BR_KEYTYPE_RSA;

    if (!x509->key.key_type)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_UNSUPPORTED,
                                "the key of \"%s\" is neither RSA nor EC on P-256, P-384 or P-521",
                                name);
    else if (rsa && x509->bits < 2048)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_WEAK,
                                "the RSA key of \"%s\" has only %u bits: 2048 are needed", name,
                                x509->bits);
    else if (rsa && x509->bits > 4096)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_UNSUPPORTED,
                                "the RSA key of \"%s\" has %u bits: BearSSL verifies up to 4096",
                                name, x509->bits);
    return !failure->reason;
}

static bool asocket__tls_judge_signature(const asocket__tls_x509 *x509, const char *name,
                                         asocket_tls_failure *failure)
{
    if (!x509->hash)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_UNSUPPORTED,
                                "the certificate of \"%s\" is signed neither by RSA (PKCS#1) nor "
                                "ECDSA with SHA-256, SHA-384 or SHA-512",
                                name);
    else if (x509->hash < br_sha256_ID)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_WEAK,
                                "the certificate of \"%s\" is signed with %s, which can be forged",
                                name, x509->hash == br_sha1_ID ? "SHA-1" : "MD5");
    return !failure->reason;
}

static bool asocket__tls_judge_extensions(const asocket__tls_x509 *x509, const char *name,
                                          asocket_tls_failure *failure)
{
    char oid[48];

    if (x509->twice.at || x509->unknown.at)
        asocket__tls_print_oid(oid, sizeof oid, x509->twice.at ? x509->twice : x509->unknown);
    if (x509->twice.at)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_BAD_CERTIFICATE,
                                "the certificate of \"%s\" has the extension %s twice", name, oid);
    else if (x509->constrained)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_UNSUPPORTED,
                                "\"%s\" has name constraints, which are not supported: trust an "
                                "authority below it, or use a pin",
                                name);
    else if (x509->unknown.at)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_UNSUPPORTED,
                                "the certificate of \"%s\" has a critical extension that is not "
                                "known: %s",
                                name, oid);
    else if (!x509->server)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_USAGE,
                                "the certificate of \"%s\" is not for servers (its extended key "
                                "usage says for what)",
                                name);
    return !failure->reason;
}

// Whatever it is used for, if BearSSL is going to see it.
static bool asocket__tls_judge_sent(const asocket__tls_x509 *x509, int64_t now, const char *name,
                                    asocket_tls_failure *failure)
{
    if (!asocket__tls_judge_dates(x509, now, name, failure) ||
        !asocket__tls_judge_extensions(x509, name, failure) ||
        !asocket__tls_judge_key(x509, name, failure))
        return false;
    if (x509->purposes_critical)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_UNSUPPORTED,
                                "the extended key usage of \"%s\" is critical, which BearSSL does "
                                "not support",
                                name);
    return !failure->reason;
}

// Whether an authority may have issued what is `below` authorities above the leaf.
static bool asocket__tls_judge_authority(const asocket__tls_x509 *x509, size_t below,
                                         const char *name, asocket_tls_failure *failure)
{
    if (!x509->ca)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_USAGE,
                                "\"%s\" is no authority: it may not issue certificates", name);
    else if (!(x509->usage & ASOCKET__TLS_CERTIFY))
        (void)asocket__tls_fail(failure, ASOCKET_TLS_USAGE,
                                "the key of \"%s\" is not for certificates", name);
    else if (x509->path_limit >= 0 && below > (size_t)x509->path_limit)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_USAGE,
                                "\"%s\" allows %d authorities below it, there are %u", name,
                                x509->path_limit, (unsigned)below);
    return !failure->reason;
}

static bool asocket__tls_judge_name(const asocket__tls_x509 *x509, const char *name,
                                    asocket_tls_failure *failure)
{
    char names[120];

    if (x509->names.at && asocket__tls_name_matches(x509->names, name))
        return true;
    if (!asocket__tls_name_is_valid(name)) {
        (void)asocket__tls_fail(failure, ASOCKET_TLS_NAME,
                                "\"%.100s\" is neither a host name in ASCII nor an address", name);
        return false;
    }
    if (x509->names.at)
        asocket__tls_print_names(names, sizeof names, x509->names);
    if (!x509->names.at || !names[0])
        (void)asocket__tls_fail(failure, ASOCKET_TLS_NAME,
                                "the certificate names no host, thus not %.80s (subjectAltName is "
                                "needed, a common name does not count)",
                                name);
    else
        (void)asocket__tls_fail(failure, ASOCKET_TLS_NAME,
                                "the certificate is not for %.80s but %s", name, names);
    return false;
}

// A server's own certificate; `trusted`: it is among the roots itself.
static bool asocket__tls_judge_leaf(const asocket__tls_x509 *x509, int64_t now,
                                    const char *server_name, bool trusted,
                                    asocket_tls_failure *failure)
{
    char name[48];

    asocket__tls_common_name(name, x509->subject);
    if (!asocket__tls_judge_sent(x509, now, name, failure) ||
        !asocket__tls_judge_name(x509, server_name, failure) ||
        (!trusted && !asocket__tls_judge_signature(x509, name, failure)))
        return false;
    if (!trusted && (x509->ca || (x509->usage != 0xFF && x509->usage & ASOCKET__TLS_CERTIFY)))
        (void)asocket__tls_fail(failure, ASOCKET_TLS_USAGE,
                                "the server sent the certificate of an authority, \"%s\", as its "
                                "own",
                                name);
    else if (!(x509->usage & ASOCKET__TLS_SIGN))
        (void)asocket__tls_fail(failure, ASOCKET_TLS_USAGE,
                                "the key of \"%s\" may not sign (key usage), which all our cipher "
                                "suites need",
                                name);
    return !failure->reason;
}

// --- searching a way ------------------------------------------------------------------------------

typedef struct asocket__tls_search {
    asocket__tls_validator *validator;
    const asocket__tls_x509 *sent; // the chain
    size_t path[ASOCKET__TLS_PATH], length;
    size_t next[ASOCKET__TLS_PATH]; // of the chain, to be tried behind each part of the path
    size_t tries, steps;            // that may still be made
    int64_t now;                    // ASOCKET__TLS_NO_TIME: unknown
    asocket_tls_failure failure;    // of the first way that failed
} asocket__tls_search;

static void asocket__tls_pin_of(const asocket__tls_x509 *x509, uint8_t pin[32])
{
    br_sha256_context sha256;

    br_sha256_init(&sha256);
    br_sha256_update(&sha256, x509->spki.at, asocket__tls_span_size(x509->spki));
    br_sha256_out(&sha256, pin);
}

static bool asocket__tls_pinned(const asocket__tls_check *check, const asocket__tls_x509 *x509)
{
    uint8_t pin[32];
    size_t i;

    asocket__tls_pin_of(x509, pin);
    for (i = 0; i < check->pin_count; i++)
        if (!memcmp(check->pins[i], pin, sizeof pin))
            return true;
    return false;
}

static void asocket__tls_pin_fail(const asocket__tls_validator *validator,
                                  asocket_tls_failure *failure)
{
    char hex[65];
    size_t i;

    for (i = 0; i < 32; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", validator->pin[i]);
    (void)asocket__tls_fail(failure, ASOCKET_TLS_PIN,
                            "none of the %u pins matches; that of the server is %s",
                            (unsigned)validator->check->pin_count, hex);
}

// The way is verified: does it lead past a pin?
static bool asocket__tls_search_pins(asocket__tls_search *search, const asocket__tls_x509 *root)
{
    const asocket__tls_check *check = search->validator->check;
    size_t i;

    if (!check->pin_count || asocket__tls_pinned(check, root))
        return true;
    for (i = 0; i < search->length; i++)
        if (asocket__tls_pinned(check, &search->sent[search->path[i]]))
            return true;
    memset(&search->failure, 0, sizeof search->failure); // it says more than why others failed
    asocket__tls_pin_fail(search->validator, &search->failure);
    return false;
}

// What BearSSL has against the way, in words.
static void asocket__tls_search_note(asocket__tls_search *search, unsigned error, const char *root)
{
    asocket_tls_failure *failure = &search->failure;

    if (failure->reason)
        return;
    failure->bearssl = (int)error;
    switch (error) {
    case BR_ERR_X509_NOT_TRUSTED:
        (void)asocket__tls_fail(failure, ASOCKET_TLS_UNTRUSTED,
                                "signed in the name of \"%s\", which is trusted, but not with its "
                                "key",
                                root);
        break;
    case BR_ERR_X509_BAD_SIGNATURE:
    case BR_ERR_X509_WRONG_KEY_TYPE:
        (void)asocket__tls_fail(failure, ASOCKET_TLS_BAD_CERTIFICATE,
                                "a signature in the chain is wrong");
        break;
    case BR_ERR_X509_EXPIRED: (void)asocket__tls_fail(failure, ASOCKET_TLS_EXPIRED, NULL); break;
    case BR_ERR_X509_CRITICAL_EXTENSION:
    case BR_ERR_X509_UNSUPPORTED:
    case BR_ERR_X509_LIMIT_EXCEEDED:
        (void)asocket__tls_fail(failure, ASOCKET_TLS_UNSUPPORTED,
                                "the chain needs something that BearSSL does not support (its "
                                "error %u)",
                                error);
        break;
    default:
        (void)asocket__tls_fail(failure, ASOCKET_TLS_BAD_CERTIFICATE,
                                "the chain is malformed (BearSSL's error %u)", error);
    }
}

// The time for BearSSL: ours, or the latest begin on the way, at which all else must still be valid.
static int64_t asocket__tls_search_time(const asocket__tls_search *search,
                                        const asocket__tls_x509 *root)
{
    int64_t latest = root->from > 0 ? root->from : 0;
    size_t i;

    if (search->now != ASOCKET__TLS_NO_TIME)
        return search->now;
    for (i = 0; i < search->length; i++)
        if (search->sent[search->path[i]].from > latest)
            latest = search->sent[search->path[i]].from;
    return latest;
}

// Lets BearSSL verify the way, up to a root or, without flags, the leaf's being trusted itself.
static bool asocket__tls_search_verify(asocket__tls_search *search, const asocket__tls_x509 *root,
                                       unsigned flags)
{
    br_x509_minimal_context *minimal = &search->validator->minimal;
    const br_x509_class **engine = &minimal->vtable;
    br_x509_trust_anchor *anchor = &search->validator->anchor;
    int64_t time = asocket__tls_search_time(search, root);
    char name[48];
    unsigned error;
    size_t i;

    if (!search->tries)
        return false;
    search->tries--;
    anchor->dn.data = (unsigned char *)(uintptr_t)root->subject.at; // BearSSL only reads there
    anchor->dn.len = asocket__tls_span_size(root->subject);
    anchor->flags = flags;
    anchor->pkey = root->key;
    br_x509_minimal_init(minimal, &br_sha256_vtable, anchor, 1);
    br_x509_minimal_set_hash(minimal, br_sha256_ID, &br_sha256_vtable);
    br_x509_minimal_set_hash(minimal, br_sha384_ID, &br_sha384_vtable);
    br_x509_minimal_set_hash(minimal, br_sha512_ID, &br_sha512_vtable);
    br_x509_minimal_set_rsa(minimal, br_rsa_pkcs1_vrfy_get_default());
    br_x509_minimal_set_ecdsa(minimal, br_ec_get_default(), br_ecdsa_vrfy_asn1_get_default());
    br_x509_minimal_set_minrsa(minimal, 256);
    br_x509_minimal_set_time(minimal, (uint32_t)(time / 86400 + 719528), (uint32_t)(time % 86400));
    (*engine)->start_chain(engine, NULL); // the name is verified already
    for (i = 0; i < search->length; i++) {
        asocket__tls_span der = search->sent[search->path[i]].der;

        (*engine)->start_cert(engine, (uint32_t)asocket__tls_span_size(der));
        (*engine)->append(engine, der.at, asocket__tls_span_size(der));
        (*engine)->end_cert(engine);
    }
    error = (*engine)->end_chain(engine);
    if (!error)
        return asocket__tls_search_pins(search, root);
    asocket__tls_common_name(name, root->subject);
    asocket__tls_search_note(search, error, name);
    return false;
}

// Ends the way at each trusted root that may have issued its last certificate.
static bool asocket__tls_search_roots(asocket__tls_search *search)
{
    const asocket__tls_x509 *last = &search->sent[search->path[search->length - 1]];
    asocket__tls_x509 root;
    size_t at = 0;

    while (asocket__tls_trust_find(search->validator->check->trust, last->issuer, &at, &root)) {
        bool v1 = root.version == 1 && asocket__tls_span_equal(root.issuer, root.subject);
        asocket_tls_failure failure;
        char name[48];

        root.ca |= v1; // only a root may be as old as that
        memset(&failure, 0, sizeof failure);
        asocket__tls_common_name(name, root.subject);
        if (asocket__tls_judge_dates(&root, search->now, name, &failure) &&
            asocket__tls_judge_extensions(&root, name, &failure) &&
            asocket__tls_judge_key(&root, name, &failure) &&
            asocket__tls_judge_authority(&root, search->length - 1, name, &failure) &&
            asocket__tls_search_verify(search, &root, BR_X509_TA_CA))
            return true;
        if (failure.reason && !search->failure.reason)
            search->failure = failure;
    }
    return false;
}

// Whether one of the chain may come next.
static bool asocket__tls_search_fits(asocket__tls_search *search, const asocket__tls_x509 *next)
{
    const asocket__tls_x509 *last = &search->sent[search->path[search->length - 1]];
    asocket_tls_failure failure;
    char name[48];
    size_t i;

    if (search->length == ASOCKET__TLS_PATH || !search->steps ||
        !asocket__tls_span_equal(next->subject, last->issuer))
        return false;
    for (i = 0; i < search->length; i++)
        if (asocket__tls_span_equal(search->sent[search->path[i]].der, next->der))
            return false;
    search->steps--;
    memset(&failure, 0, sizeof failure);
    asocket__tls_common_name(name, next->subject);
    if (asocket__tls_judge_sent(next, search->now, name, &failure) &&
        asocket__tls_judge_signature(next, name, &failure) &&
        asocket__tls_judge_authority(next, search->length - 1, name, &failure))
        return true;
    if (!search->failure.reason)
        search->failure = failure;
    return false;
}

// Prolongs the way by one certificate and another, depth first, until one is verified.
static bool asocket__tls_search_on(asocket__tls_search *search)
{
    if (asocket__tls_search_roots(search))
        return true;
    search->next[0] = 1;
    while (search->length) {
        size_t *next = &search->next[search->length - 1];

        while (*next < search->validator->count &&
               !asocket__tls_search_fits(search, &search->sent[*next]))
            ++*next;
        if (*next == search->validator->count) { // back
            search->length--;
            continue;
        }
        search->path[search->length] = (*next)++;
        search->next[search->length++] = 1;
        if (asocket__tls_search_roots(search))
            return true;
    }
    return false;
}

// No way ended at a name that is trusted: which one is missing?
static void asocket__tls_search_lost(const asocket__tls_search *search,
                                     asocket_tls_failure *failure)
{
    const asocket__tls_x509 *leaf = &search->sent[0], *top = leaf;
    size_t i, steps = search->validator->count;
    char name[48];

    asocket__tls_common_name(name, leaf->subject);
    if (asocket__tls_span_equal(leaf->issuer, leaf->subject)) {
        (void)asocket__tls_fail(failure, ASOCKET_TLS_UNTRUSTED,
                                "the certificate of \"%s\" is self-signed: add it to trust, or pin "
                                "it, if it is the right one",
                                name);
        return;
    }
    for (i = 1; i < search->validator->count && steps; i++)
        if (asocket__tls_span_equal(search->sent[i].subject, top->issuer) &&
            !asocket__tls_span_equal(top->subject, top->issuer)) {
            top = &search->sent[i];
            i = 0;
            steps--;
        }
    asocket__tls_common_name(name, top->issuer);
    (void)asocket__tls_fail(failure, ASOCKET_TLS_UNTRUSTED,
                            "\"%s\", which issued the %s certificate, is not among the %u trusted "
                            "roots%s",
                            name, top == leaf ? "server's" : "last",
                            (unsigned)search->validator->check->trust->count,
                            search->validator->count == 1
                                ? "; the server sent only one: an intermediate one may be missing"
                                : "");
}

// --- the whole chain ------------------------------------------------------------------------------

// Seconds since 1970; ASOCKET__TLS_NO_TIME: unknown, and that is allowed. False: it is not.
static bool asocket__tls_validator_clock(const asocket__tls_check *check, int64_t *now,
                                         asocket_tls_failure *failure)
{
    *now = check->now ? check->now(check->user) : (int64_t)ASOCKET_SYS(time)(NULL);
    if (*now > 0)
        return true;
    *now = ASOCKET__TLS_NO_TIME;
    if (check->clock == ASOCKET_TLS_CLOCK_FROM_CHAIN)
        return true;
    (void)asocket__tls_fail(failure, ASOCKET_TLS_NO_CLOCK,
                            "the clock is not set, and certificates cannot be verified without the "
                            "time");
    return false;
}

static void asocket__tls_validator_verify(asocket__tls_validator *validator,
                                          const asocket__tls_x509 *sent)
{
    const asocket__tls_check *check = validator->check;
    asocket_tls_failure *failure = validator->failure;
    asocket__tls_search search;
    bool trusted = asocket__tls_trust_has(check->trust, &sent[0]), found;

    memset(&search, 0, sizeof search);
    search.validator = validator;
    search.sent = sent;
    search.length = 1; // path[0] is the leaf
    search.tries = ASOCKET__TLS_TRIES;
    search.steps = ASOCKET__TLS_STEPS;
    if (!asocket__tls_validator_clock(check, &search.now, failure) ||
        !asocket__tls_judge_leaf(&sent[0], search.now, check->server_name, trusted, failure))
        return;
    found = trusted ? asocket__tls_search_verify(&search, &sent[0], 0)
                    : asocket__tls_search_on(&search);
    if (found) {
        const br_x509_class **engine = &validator->minimal.vtable;

        validator->key = *(*engine)->get_pkey(engine, &validator->usages);
    } else if (search.failure.reason) {
        *failure = search.failure;
    } else {
        asocket__tls_search_lost(&search, failure);
    }
}

// Trust in a key instead of a chain.
static void asocket__tls_validator_pin(asocket__tls_validator *validator,
                                       const asocket__tls_x509 *leaf)
{
    asocket_tls_failure *failure = validator->failure;

    if (!validator->check->insecure && !asocket__tls_pinned(validator->check, leaf))
        asocket__tls_pin_fail(validator, failure);
    else if (!leaf->key.key_type || leaf->bits > 4096)
        (void)asocket__tls_judge_key(leaf, "the server", failure);
    validator->key = leaf->key;
    validator->usages = BR_KEYTYPE_SIGN | BR_KEYTYPE_KEYX;
}

// Asks the user's callback, which may refuse, but not more.
static void asocket__tls_validator_ask(asocket__tls_validator *validator,
                                       const asocket__tls_x509 *sent)
{
    const asocket__tls_check *check = validator->check;
    asocket_tls_failure *failure = validator->failure;
    asocket_tls_certificate *chain;
    asocket_tls_peer peer;
    size_t i;
    int answer;

    if (!check->verify)
        return;
    chain = (asocket_tls_certificate *)ASOCKET_MALLOC(validator->count * sizeof *chain + 1);
    if (!chain) {
        (void)asocket__tls_fail(failure, ASOCKET_TLS_NO_MEMORY, NULL);
        return;
    }
    for (i = 0; i < validator->count; i++) {
        chain[i].der = sent[i].der.at;
        chain[i].size = asocket__tls_span_size(sent[i].der);
    }
    memset(&peer, 0, sizeof peer);
    peer.server_name = check->server_name;
    peer.count = validator->count;
    peer.chain = chain;
    memcpy(peer.pin, validator->pin, sizeof peer.pin);
    peer.verdict = failure->status;
    peer.reason = failure->sentence;
    answer = check->verify(check->user, &peer);
    ASOCKET_FREE(chain);
    if (answer)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_VERIFY, NULL);
}

// Takes all that was sent apart, then judges it.
static void asocket__tls_validator_judge(asocket__tls_validator *validator, asocket__tls_x509 *sent)
{
    const asocket__tls_check *check = validator->check;
    asocket_tls_failure *failure = validator->failure;
    const char *wrong = NULL;
    size_t i, at = 0;

    for (i = 0; i < validator->count; at = validator->ends[i++]) {
        const char *why =
            asocket__tls_x509_read(&sent[i], validator->chain + at, validator->ends[i] - at);

        if (why && !wrong) {
            wrong = why;
            (void)asocket__tls_fail(failure, ASOCKET_TLS_BAD_CERTIFICATE,
                                    "certificate %u of the %u that the server sent is malformed: "
                                    "%s",
                                    (unsigned)i + 1, (unsigned)validator->count, why);
        }
    }
    if (!validator->count)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_BAD_CERTIFICATE,
                                "the server sent no certificate");
    else if (sent[0].spki.at)
        asocket__tls_pin_of(&sent[0], validator->pin);
    if (!failure->reason && (check->pin_only || check->insecure))
        asocket__tls_validator_pin(validator, &sent[0]);
    else if (!failure->reason)
        asocket__tls_validator_verify(validator, sent);
    asocket__tls_validator_ask(validator, sent);
}

// --- the br_x509_class ----------------------------------------------------------------------------

static asocket__tls_validator *asocket__tls_validator_of(const br_x509_class **engine)
{
    return (asocket__tls_validator *)(void *)engine;
}

static void asocket__tls_validator_start(const br_x509_class **engine, const char *server_name)
{
    asocket__tls_validator *validator = asocket__tls_validator_of(engine);

    (void)server_name; // the one to verify is the options'; this is for SNI
    validator->size = validator->count = 0;
    memset(&validator->key, 0, sizeof validator->key);
    validator->verified = false;
}

// Makes room for a certificate; what is behind the limits is not kept, and end_chain refuses.
static void asocket__tls_validator_begin(const br_x509_class **engine, uint32_t length)
{
    asocket__tls_validator *validator = asocket__tls_validator_of(engine);
    const asocket__tls_check *check = validator->check;
    size_t needed = validator->size + length;

    if (validator->count == check->chain_certificates || needed > check->chain_bytes)
        (void)asocket__tls_fail(validator->failure, ASOCKET_TLS_CHAIN_LIMIT,
                                "the server sent more than %u certificates or %u bytes of them",
                                (unsigned)check->chain_certificates, (unsigned)check->chain_bytes);
    if (!validator->ends)
        validator->ends =
            (size_t *)ASOCKET_MALLOC(check->chain_certificates * sizeof *validator->ends);
    if (!validator->failure->reason && needed > validator->capacity) {
        size_t capacity = needed > validator->capacity * 2 ? needed : validator->capacity * 2;
        uint8_t *chain = (uint8_t *)ASOCKET_REALLOC(validator->chain, capacity);

        if (chain) {
            validator->chain = chain;
            validator->capacity = capacity;
        }
    }
    if (!validator->ends || (!validator->failure->reason && needed > validator->capacity))
        (void)asocket__tls_fail(validator->failure, ASOCKET_TLS_NO_MEMORY, NULL);
}

static void asocket__tls_validator_append(const br_x509_class **engine, const unsigned char *bytes,
                                          size_t size)
{
    asocket__tls_validator *validator = asocket__tls_validator_of(engine);

    if (validator->failure->reason || size > validator->capacity - validator->size)
        return;
    memcpy(validator->chain + validator->size, bytes, size);
    validator->size += size;
}

static void asocket__tls_validator_end(const br_x509_class **engine)
{
    asocket__tls_validator *validator = asocket__tls_validator_of(engine);

    if (!validator->failure->reason)
        validator->ends[validator->count++] = validator->size;
}

static unsigned asocket__tls_validator_finish(const br_x509_class **engine)
{
    asocket__tls_validator *validator = asocket__tls_validator_of(engine);
    asocket_tls_failure *failure = validator->failure;
    asocket__tls_x509 *sent =
        (asocket__tls_x509 *)ASOCKET_MALLOC((validator->count + 1) * sizeof *sent);

    if (sent)
        asocket__tls_validator_judge(validator, sent);
    else
        (void)asocket__tls_fail(failure, ASOCKET_TLS_NO_MEMORY, NULL);
    ASOCKET_FREE(sent);
    validator->verified = !failure->reason;
    if (failure->reason && !failure->bearssl)
        failure->bearssl = asocket__tls_x509_error(failure->reason);
    return (unsigned)failure->bearssl;
}

static const br_x509_pkey *asocket__tls_validator_key(const br_x509_class *const *engine,
                                                      unsigned *usages)
{
    const asocket__tls_validator *validator = (const asocket__tls_validator *)(const void *)engine;

    if (usages)
        *usages = validator->usages;
    return validator->verified ? &validator->key : NULL;
}

static const br_x509_class asocket__tls_validator_class = {
    sizeof(asocket__tls_validator), asocket__tls_validator_start, asocket__tls_validator_begin,
    asocket__tls_validator_append,  asocket__tls_validator_end,   asocket__tls_validator_finish,
    asocket__tls_validator_key};

static void asocket__tls_validator_init(asocket__tls_validator *validator,
                                        const asocket__tls_check *check,
                                        asocket_tls_failure *failure)
{
    memset(validator, 0, sizeof *validator);
    validator->vtable = &asocket__tls_validator_class;
    validator->check = check;
    validator->failure = failure;
}

// The leaf's DER, once: the caller frees it. NULL: there is none.
static uint8_t *asocket__tls_validator_leaf(asocket__tls_validator *validator, size_t *size)
{
    uint8_t *leaf = validator->verified ? validator->chain : NULL, *shrunk;

    *size = leaf ? validator->ends[0] : 0;
    if (!leaf)
        return NULL;
    shrunk = (uint8_t *)ASOCKET_REALLOC(leaf, *size);
    validator->chain = NULL;
    validator->size = validator->capacity = 0;
    validator->verified = false; // the key may have been in there
    return shrunk ? shrunk : leaf;
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
