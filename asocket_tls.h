/* asocket_tls.h - client TLS for asocket.h, with BearSSL. Public domain or MIT, see the end.

   A connected socket becomes a verified one, which is used like any other:

        asocket *socket = asocket_connect(asocket_tcp(selector), "example.org", 443);
        asocket *secure = asocket_tls(socket, NULL);

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
     >>tls_records     records encrypted and decrypted once the keys are agreed
     >>tls_pump        records to and from the socket below, and what they mean
     >>tls_public      argument checks, defaults, one call down
   licence

A FIRST PROGRAM
   It fetches a page over HTTPS. The system's roots and the name given to asocket_connect are what
   the server is verified against.

       #define ASOCKET_IMPLEMENTATION
       #define ASOCKET_TLS_IMPLEMENTATION
       #include "asocket_tls.h"
       #include <stdio.h>

       int main(void)
       {
           asocket_selector *selector = asocket_selector_create(NULL);
           asocket *socket = asocket_connect(asocket_tcp(selector), "example.org", 443);
           asocket *secure = asocket_tls(socket, NULL);
           asocket_read_channel *in = asocket_open_read_channel(secure);
           asocket_write_channel *out = asocket_open_write_channel(secure, ASOCKET_AUTO_FLUSH);
           char line[1000];

           asocket_write_string(out, "GET / HTTP/1.0\r\nHost: example.org\r\n\r\n");
           while (asocket_read_line(in, line, sizeof line) >= 0)
               puts(line);
           if (asocket_error(selector) != ASOCKET_EOF)
               fprintf(stderr, "%s\n", asocket_error_message(selector));
           asocket_selector_destroy(selector);
           return 0;
       }

   Options are fields of a structure that is all zero without them:

       asocket_tls_options options = {0};                   // {} in C++
       options.server_name = "example.org";                 // when connected to an address
       options.trust = asocket_tls_trust_create();          // roots of one's own
       asocket_tls_trust_add_file(options.trust, "ca.pem"); // how many, or why not

   A socket that has talked in plain text becomes secure (STARTTLS) by the same call; its channels
   are opened again on the new socket. asocket_detach takes TLS off again.

PROMISES
   What TLS adds to those of asocket.h, all of which hold here too.

 *  P15 A name and a chain are verified unless the caller says insecure. The end of the stream
        without close_notify is ASOCKET_ETLS, truncation, not the end. Every failure says which step
        failed and, for alerts, which alert. No byte reaches the caller before the peer is verified.

   Of the others, said for TLS:
   P2  close sends close_notify behind what was written, and does not wait for the server's.
   P3  finish sends close_notify; what the server still sends can be read. Many servers end their
       side at once (RFC 5246, 7.2.1). A write that fails takes away nothing of what has come.
   P5  An idle connection owns no buffer: it has its keys, 0.8 KiB, and the server's certificate.
       Records are decrypted in the ring where they were received and encrypted in the one from
       which they leave: a busy direction has 16,413 bytes, whatever the channel's capacity is.
       With reads of 16 KiB, sockets and a certificate of 1.5 KB included, that is under 20 KiB.
   P7  The handshake has a time limit of 10 s, beside the caller's own deadline.
   P12 One coroutine may read while another one writes.

WHAT IS VERIFIED
   Before BearSSL verifies the signatures, and beside what it looks at itself:
   - The chain is put in order. Certificates that do not belong to it are passed over, and when
     several ways lead up, one that ends at a trusted root is found (40 signatures at most).
   - Each certificate on the way: dates, form (DER, no extension twice), key, signature, no critical
     extension that is not known. Each authority: that it is one, for certificates, for servers,
     with no more authorities below it than it allows. The root, too. The server's: that it is no
     authority, may sign, is for servers (extended key usage), and has the name.
   - A certificate that is among the trusted itself needs no issuer, but name and dates count:
     that of a device that signs its own, for example.
   - Pins: one must be that of the server's key, or of an authority on the way. With pin_only
     nothing but the server's key counts, neither name nor dates.
   - Without a clock nothing is trusted, unless clock says to take the time from the chain.
   The system's roots are the file or directory of the usual places, what Windows' ROOT store has
   for servers and does not disallow, the macOS keychain; what SSL_CERT_FILE and SSL_CERT_DIR name
   counts instead of it.

LIMITS
   - Client only. TLS 1.2 only, which is where BearSSL ends: a server that insists on 1.3 is
     ASOCKET_TLS_NEEDS_TLS13. ECDHE with AES-GCM or ChaCha20-Poly1305; P-256, P-384, P-521, X25519;
     PKCS#1 and ECDSA signatures with SHA-256, SHA-384, SHA-512. RSA keys of 2048 to 4096 bits. No
     RSA-PSS and no Ed25519.
   - Names: the certificate's subjectAltName only (RFC 9525), DNS names as DNS names and addresses
     as addresses. A wildcard is a whole leftmost label.
   - Revocation is not checked (neither CRLs nor OCSP). Chains with name constraints are refused.
   - Sessions are resumed by their ID; there are no tickets. No extended master secret (RFC 7627),
     on which a few servers insist.
   - A handshake needs 32 KiB of stack, and about 12 KiB of memory beside the chain.
   - TLS sockets stay with their selector (asocket_hand_over, asocket_send_socket: before
     asocket_tls).

SWITCHES
   ASOCKET_STATIC, ASOCKET_ASSERT, ASOCKET_MALLOC with its two companions and ASOCKET_SYS, as in
   asocket.h; and ASOCKET_TLS_ENABLE_INSECURE, see asocket_tls_insecure. Link with -lbearssl; on
   Windows also -lbcrypt -lcrypt32, on macOS -framework Security -framework CoreFoundation.
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

// The failure that ended a TLS socket; ASOCKET_EINVAL: it is not one. A write that fails because
// the connection broke has not ended it yet: what has come can still be read.
ASOCKET_API int asocket_tls_socket_error(const asocket *secure, asocket_tls_failure *failure);

// --- trust ---------------------------------------------------------------------------------------

// Certificates that are trusted to issue others (or, not being a CA, trusted themselves). Filled by
// one thread, then shared by any number of connections, selectors and threads; none may add to it
// any more. Connections hold on to it by themselves while they need it.
typedef struct asocket_tls_trust asocket_tls_trust;

// An empty one; NULL: out of memory. Ends with asocket_tls_trust_release.
ASOCKET_API asocket_tls_trust *asocket_tls_trust_create(void);

// These add certificates: how many; or none, ASOCKET_ENOTFOUND, ENOMEM, EACCES, EMFILE, EIO,
// EMSGSIZE (over 16 MiB) or EINVAL (nothing usable, or one block is bad), and
// asocket_tls_trust_message says why.
// PEM: any number of CERTIFICATE blocks (RFC 7468), text in between, CRLF or LF. DER: one.
ASOCKET_API int asocket_tls_trust_add_pem(asocket_tls_trust *trust, const void *pem, size_t size);
ASOCKET_API int asocket_tls_trust_add_der(asocket_tls_trust *trust, const void *der, size_t size);
ASOCKET_API int asocket_tls_trust_add_file(asocket_tls_trust *trust, const char *path);

// The system's roots, or, if one of them is set, what SSL_CERT_FILE and SSL_CERT_DIR name (a file,
// and a list of directories, as for OpenSSL). Bad certificates among them are skipped. None at all:
// ASOCKET_ENOTFOUND; ASOCKET_EMFILE, ENOMEM or EIO at any of them: none is added. Reads files: it
// blocks the thread for less than 1 ms.
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

// From PEM text: the leaf first, then its issuers; `key` may be the same text. NULL: `failure`,
// which may be NULL, says why (BAD_FILE, NO_MEMORY).
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
// ten to thirty times cheaper. One is used again only for the same name, port, trust, pins, clock,
// callback and identity that it was verified with, which are not asked again, for a day at most and
// until one of its connections ends by a fatal alert (RFC 5246, 7.2.2). One selector's, or one
// thread's.
typedef struct asocket_tls_sessions asocket_tls_sessions;

// Room for `capacity` of them (0: 64); the oldest go first. NULL: out of memory.
ASOCKET_API asocket_tls_sessions *asocket_tls_sessions_create(size_t capacity);
// Wipes them all. No connection that was made with it may be in its handshake; its memory goes with
// the last one that is open.
ASOCKET_API void asocket_tls_sessions_destroy(asocket_tls_sessions *sessions);

// --- options -------------------------------------------------------------------------------------

typedef struct asocket_tls_certificate {
    const uint8_t *der;
    size_t size;
} asocket_tls_certificate;

// What a verify callback sees. All of it is valid during the call only.
typedef struct asocket_tls_peer {
    const char *server_name; // to be verified, but not with pin_only; NULL: none was given
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
    size_t record_size;        // most bytes of a record that is sent, 512 to 16,384 (0). A peer can
                               //   use a record only when it has all of it
    size_t chain_certificates; // most, up to 1,000; 0: 10
    size_t chain_bytes;        // most; 0: 65,536
    void *user;                // for the callbacks
} asocket_tls_options;

// --- the call ------------------------------------------------------------------------------------

// Makes a connected stream secure: the handshake, with everything verified (waits), and a new
// socket, which is used like any other: channels, time-outs, finish, close. `socket` belongs to it
// from here on, also when it fails: then NULL, and `socket` is closed. So
// asocket_tls(asocket_connect(...), NULL) is checked once.
// ASOCKET_ETLS with asocket_tls_error; what a read or a write of the socket answers, as
// ASOCKET_ETIMEDOUT, ECANCELED, ECONNRESET; ASOCKET_EINVAL, ENOMEM. Unread bytes in the socket's
// read channel are an error (STARTTLS injection, CVE-2011-0411).
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
#include <bcrypt.h>
#else
#include <dirent.h>
#include <sys/random.h>
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
    ASOCKET__TLS_CHAIN_MOST = 1000, // that an option may ask for
    ASOCKET__TLS_CHAIN_BYTES = 65536,
    ASOCKET__TLS_EXTENSIONS = 40, // of one certificate
    ASOCKET__TLS_PATH = 16,       // certificates from the leaf up to a root
    ASOCKET__TLS_SIGNATURES = 40, // verified for one chain, of P-521 in 0.4 s
    ASOCKET__TLS_STEPS = 100,     // certificates looked at to find one
    ASOCKET__TLS_TIMEOUT = 10000, // ms
    ASOCKET__TLS_RECORD = 16384,  // most plaintext in a record (RFC 5246, 6.2.1)
    ASOCKET__TLS_OVERHEAD = 29,   // header, explicit nonce and tag (RFC 5288)
    ASOCKET__TLS_FLIGHT =
        4096 + 85,                // room for what the handshake sends; BearSSL needs 85 around it
    ASOCKET__TLS_SMALL = 64,      // room for an alert
    ASOCKET__TLS_TYPE_ALERT = 21, // of a record (RFC 5246, 6.2.1)
    ASOCKET__TLS_TYPE_HANDSHAKE = 22,
    ASOCKET__TLS_TYPE_DATA = 23,
    ASOCKET__TLS_IDLE_RECORDS = 32, // in a row that bring no data
    ASOCKET__TLS_SENTENCES = 16,    // kept for asocket_error_message
    ASOCKET__TLS_SESSIONS = 64,
    ASOCKET__TLS_SESSION_LIFE = 86400 // s (RFC 5246, F.1.4)
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

typedef struct asocket__tls_auth { // what answers a server that asks for a certificate
    const br_ssl_client_certificate_class *vtable; // first: BearSSL knows it by this
    const br_ssl_client_certificate_class **inner; // NULL: no identity
    int type;                                      // of its key
    bool asked, unusable;
} asocket__tls_auth;

typedef struct asocket__tls_handshake { // what only the handshake needs
    br_ssl_client_context client;
    asocket__tls_check check;
    asocket__tls_validator validator;
    asocket__tls_auth auth;
    uint8_t offered[48]; // the master secret of the session that was offered
    bool offering;
    uint8_t header[ASOCKET__TLS_SMALL]; // the engine's input buffer while it has no record
    uint8_t flight[ASOCKET__TLS_FLIGHT];
} asocket__tls_handshake;

// One direction's keys, with the number of its next record; BearSSL knows by the first pointer what
// it is. As in br_ssl_engine_context, but for suites that are not offered here.
typedef union asocket__tls_cipher {
    const br_sslrec_in_class *in;
    const br_sslrec_out_class *out;
    br_sslrec_gcm_context gcm;
    br_sslrec_chapol_context chapol;
} asocket__tls_cipher;

// A connection: the state of the layer. Its records lie in the rings of the socket below.
typedef struct asocket__tls {
    asocket_selector *selector;
    asocket_read_channel *in; // of the socket below
    asocket_write_channel *out;
    asocket__tls_handshake *handshake; // NULL: it is over
    union {
        asocket_tls_failure failure; // in the handshake, and later once there is one
        asocket__tls_cipher opening; // in between: what has failed opens no more records
    } u;
    asocket__tls_cipher sealing;
    const uint8_t *record;  // the one in work; in the ring below, decrypted there
    size_t size;            // of it; 0: there is none
    size_t begin, end;      // what of its text has not been read yet, from `record` on
    uint32_t records, idle; // received; those in a row that brought nothing
    uint16_t fragment;      // most text in a record that is sent
    uint16_t suite;
    uint8_t curve;
    uint8_t level;       // of an alert whose other byte has not come yet; 0: there is none
    uint8_t request;     // how many bytes of a HelloRequest have come
    uint8_t answering;   // the reader is in `out`, for a moment
    bool listening;      // the writer is in `in`, for a moment
    bool reading;        // the reader is in here
    bool busy, orphan;   // shaking hands; closed meanwhile
    bool refusing;       // a renegotiation: the server is to be told
    bool ended, goodbye; // the server's close_notify has come; our last record was sent
    bool opens;          // the keys are there, and no failure
    bool told;           // the failure was
    bool allow_truncation, identified, insecure, verified, named, resumed;
    char *server_name, *alpn;
    uint8_t *leaf;
    size_t leaf_size;
    const char *sentence;           // the failure's, where asocket_error_message finds it
    asocket_tls_sessions *sessions; // NULL: none is kept
    uint8_t session_key[32];        // of ours among them
    uint8_t pin[32];
} asocket__tls;

typedef struct asocket__tls_shared { // all of a selector's connections have
    asocket_tls_trust *system;       // NULL: not loaded yet
    asocket_tls_failure last;
    unsigned next;
    char sentences[ASOCKET__TLS_SENTENCES][sizeof(((asocket_tls_failure *)0)->sentence)];
} asocket__tls_shared;

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

// No failure yet.
static asocket_tls_failure *asocket__tls_fresh(asocket_tls_failure *failure)
{
    memset(failure, 0, sizeof *failure);
    failure->alert = failure->alert_sent = -1;
    return failure;
}

// Memory that held a secret, in a way that the compiler does not leave out.
static void asocket__tls_wipe(void *memory, size_t size)
{
    volatile uint8_t *at = (volatile uint8_t *)memory;

    while (size--)
        *at++ = 0;
}

// The status of the failure that ended it; 0: none has.
static int asocket__tls_failed(const asocket__tls *tls)
{
    return tls->opens ? 0 : tls->u.failure.status;
}

// Where a failure goes: after the handshake in place of the keys that open records.
static asocket_tls_failure *asocket__tls_failing(asocket__tls *tls)
{
    if (tls->opens) {
        tls->opens = false;
        asocket__tls_wipe(&tls->u, sizeof tls->u);
        (void)asocket__tls_fresh(&tls->u.failure);
    }
    return &tls->u.failure;
}

static const char asocket__tls_key = 0; // its address finds what a selector has of ours

static void asocket__tls_shared_free(void *value)
{
    asocket_tls_trust_release(((asocket__tls_shared *)value)->system);
    ASOCKET_FREE(value);
}

// Made when first needed; NULL: no memory.
static asocket__tls_shared *asocket__tls_shared_of(asocket_selector *selector)
{
    asocket__tls_shared *shared =
        (asocket__tls_shared *)asocket_attached(selector, &asocket__tls_key);

    if (shared)
        return shared;
    shared = (asocket__tls_shared *)ASOCKET_MALLOC(sizeof *shared);
    if (!shared)
        return NULL;
    memset(shared, 0, sizeof *shared);
    if (!asocket_attach(selector, &asocket__tls_key, shared, asocket__tls_shared_free))
        return shared;
    ASOCKET_FREE(shared);
    return NULL;
}

// Notes a failure for asocket_tls_error, asocket_error and asocket_error_message. Its sentence is
// kept by the selector, at `sentence` if it was noted before. Where it is now.
static const char *asocket__tls_note(asocket_selector *selector, const asocket_tls_failure *failure,
                                     const char *sentence, const char *name)
{
    asocket__tls_shared *shared = asocket__tls_shared_of(selector);

    if (shared && (!sentence || strcmp(sentence, failure->sentence) != 0)) {
        char *place = shared->sentences[shared->next++ % ASOCKET__TLS_SENTENCES];

        memcpy(place, failure->sentence, sizeof failure->sentence);
        sentence = place;
    } else if (!shared) {
        sentence = asocket__tls_reasons[failure->reason].text;
    }
    if (shared)
        shared->last = *failure;
    (void)asocket_fail(selector, failure->status, "tls", name, sentence);
    return sentence;
}

// ------------------------------------------------------------------------------------------------
// >>tls_der
// Walking a certificate. Pure. Only DER: whoever encodes the same in two ways has something to
// hide.

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

// Takes the next element: its tag and its content. False: none is left, or it is malformed; then
// nothing is changed.
static bool asocket__tls_der_next(asocket__tls_span *from, uint8_t *tag, asocket__tls_span *content)
{
    const uint8_t *at, *end;
    size_t left = asocket__tls_span_size(*from), length, bytes = 0;

    if (left < 2 || (from->at[0] & 0x1F) == 0x1F)
        return false;
    at = from->at + 2;
    length = at[-1];
    if (length > 0x7F) { // the length's own length, 1 to 4 bytes; it must be needed
        bytes = length & 0x7F;
        if (bytes < 1 || bytes > 4 || left < 2 + bytes || !*at)
            return false;
        for (length = 0, end = at + bytes; at < end; at++)
            length = length << 8 | *at;
        if (length < 0x80)
            return false;
    }
    if (length > left - 2 - bytes)
        return false;
    *tag = from->at[0];
    content->at = at;
    content->end = from->at = at + length;
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
    return value->at < value->end && *value->at;
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
    if (asocket__tls_span_size(e) > 8) // nobody has one, and it costs as much as it is long
        return true;
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

// Those that may be critical though nobody here looks at them: identifiers of keys, places of CRLs,
// policies.
static bool asocket__tls_extension_known(asocket__tls_span oid)
{
    return ASOCKET__TLS_IS(oid, "\x55\x1D\x0E") || ASOCKET__TLS_IS(oid, "\x55\x1D\x23") ||
           ASOCKET__TLS_IS(oid, "\x55\x1D\x1F") || ASOCKET__TLS_IS(oid, "\x55\x1D\x20");
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

// Keeps the block for those that were added from it since there were `before`; none: frees it.
static void asocket__tls_trust_block(asocket_tls_trust *trust, asocket__tls_block *block,
                                     size_t before)
{
    if (trust->count == before) {
        ASOCKET_FREE(block);
        return;
    }
    block->next = trust->blocks;
    trust->blocks = block;
}

// Adds a certificate: 1, or a status.
static int asocket__tls_trust_der(asocket_tls_trust *trust, const void *der, size_t size)
{
    asocket__tls_block *block = (asocket__tls_block *)ASOCKET_MALLOC(sizeof *block + size);
    size_t before = trust->count;
    const char *wrong;

    if (!block || !asocket__tls_trust_room(trust)) {
        ASOCKET_FREE(block);
        return asocket__tls_trust_say(trust, ASOCKET_ENOMEM, "out of memory");
    }
    memcpy(block + 1, der, size);
    wrong = asocket__tls_trust_keep(trust, (const uint8_t *)(block + 1), size);
    asocket__tls_trust_block(trust, block, before);
    return wrong ? asocket__tls_trust_say(trust, ASOCKET_EINVAL, "%s", wrong) : 1;
}

// Adds the certificates of a text; bad ones are passed over if `lenient`, else nothing is added.
// How many there were, or a status.
static int asocket__tls_trust_take(asocket_tls_trust *trust, const uint8_t *pem, size_t size,
                                   bool lenient)
{
    size_t at = 0, length, before = trust->count, room = sizeof(asocket__tls_block) + size / 4 * 3;
    asocket__tls_block *block = (asocket__tls_block *)ASOCKET_MALLOC(room + 3);
    int number = 0, taken = 0, status = 0, found;
    uint8_t *out;
    char label[32];

    if (!block)
        return asocket__tls_trust_say(trust, ASOCKET_ENOMEM, "out of memory");
    out = (uint8_t *)(block + 1);
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
    asocket__tls_trust_block(trust, block, before);
    return status  ? status
           : taken ? taken
                   : asocket__tls_trust_say(trust, ASOCKET_EINVAL, "there is no certificate in it");
}

#define ASOCKET__TLS_FILE_SIZE (16 * 1024 * 1024) // more is no certificate file, but /dev/zero

static int asocket__tls_file_status(int error)
{
    switch (error) {
    case EACCES:
    case EPERM: return ASOCKET_EACCES;
    case EMFILE:
    case ENFILE: return ASOCKET_EMFILE;
    case ENOMEM: return ASOCKET_ENOMEM;
    default: return ASOCKET_ENOTFOUND;
    }
}

// Says nothing about the file: the next time it may be read.
static bool asocket__tls_passing(int status)
{
    return status == ASOCKET_EMFILE || status == ASOCKET_ENOMEM || status == ASOCKET_EIO;
}

// A whole file, with a NUL behind it: 0 and *bytes is the caller's to free, or a status.
static int asocket__tls_read_file(const char *path, uint8_t **bytes, size_t *size)
{
    FILE *file = ASOCKET_SYS(fopen)(path, ASOCKET__TLS_WINDOWS ? "rb" : "rbe"); // not inherited
    size_t capacity = 0, have = 0, count = 1;
    int status = 0;

    *bytes = NULL;
    *size = 0;
    if (!file)
        return asocket__tls_file_status(errno);
    for (; !status && count; have += count) {
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
        status = errno == EISDIR ? ASOCKET_EINVAL : ASOCKET_EIO;
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

// Whether Windows has a root for servers: what the store says of it counts, too. Some are there for
// time stamps or code alone.
static bool asocket__tls_for_servers(PCCERT_CONTEXT certificate)
{
    union {
        CERT_ENHKEY_USAGE usage;
        char room[4096];
    } list;
    DWORD size = sizeof list, i;

    ASOCKET_SYS(SetLastError)(0);
    if (!ASOCKET_SYS(CertGetEnhancedKeyUsage)(certificate, 0, &list.usage, &size))
        return false;
    if (!list.usage.cUsageIdentifier) // for all, or for none
        return (HRESULT)ASOCKET_SYS(GetLastError)() == CRYPT_E_NOT_FOUND;
    for (i = 0; i < list.usage.cUsageIdentifier; i++)
        if (!strcmp(list.usage.rgpszUsageIdentifier[i], szOID_PKIX_KP_SERVER_AUTH))
            return true;
    return false;
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
        else if (asocket__tls_for_servers(certificate) &&
                 asocket__tls_trust_der(trust, certificate->pbCertEncoded,
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

// Every file of a directory that has certificates in it: how many, or a status.
static int asocket__tls_trust_directory(asocket_tls_trust *trust, const char *path)
{
    DIR *directory = ASOCKET_SYS(opendir)(path);
    const struct dirent *entry;
    char file[1024];
    int taken = 0, count = 0;

    if (!directory)
        return asocket__tls_trust_say(trust, asocket__tls_file_status(errno), "%s: %s", path,
                                      asocket_strerror(asocket__tls_file_status(errno)));
    while (errno = 0, (entry = ASOCKET_SYS(readdir)(directory)) != NULL) {
        int length = snprintf(file, sizeof file, "%s/%s", path, entry->d_name);

        if (entry->d_name[0] == '.' || length < 0 || (size_t)length >= sizeof file)
            continue;
        count = asocket__tls_trust_file(trust, file, true);
        taken += count > 0 ? count : 0;
        if (asocket__tls_passing(count))
            break;
    }
    if (!entry && errno)
        count = asocket__tls_trust_say(trust, ASOCKET_EIO, "%s: %s", path,
                                       asocket_strerror(ASOCKET_EIO));
    (void)ASOCKET_SYS(closedir)(directory);
    return asocket__tls_passing(count) ? count : taken;
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

    for (i = 0; taken <= 0 && !asocket__tls_passing(taken) && i < sizeof files / sizeof *files; i++)
        taken = asocket__tls_trust_file(trust, files[i], true);
    for (i = 0;
         taken <= 0 && !asocket__tls_passing(taken) && i < sizeof directories / sizeof *directories;
         i++)
        taken = asocket__tls_trust_directory(trust, directories[i]);
    return taken > 0 || asocket__tls_passing(taken)
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
            taken += asocket__tls_trust_der(trust, CFDataGetBytePtr(data),
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
    int taken = file ? asocket__tls_trust_file(trust, file, true) : 0, more = 0;
    const char *at = directories;

    if (asocket__tls_passing(taken))
        return taken;
    taken = taken > 0 ? taken : 0;
    while (at && *at) {
        const char *end = strchr(at, ASOCKET__TLS_LIST);
        size_t length = end ? (size_t)(end - at) : strlen(at);
        char path[512];

        if (length && length < sizeof path) {
            memcpy(path, at, length);
            path[length] = 0;
            more = asocket__tls_trust_directory(trust, path);
            if (asocket__tls_passing(more))
                return more;
            taken += more > 0 ? more : 0;
        }
        at = end ? end + 1 : NULL;
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
    return asocket__tls_trust_open(trust, der) ? asocket__tls_trust_der(trust, der, size)
                                               : ASOCKET_EINVAL;
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
    size_t before = asocket_tls_trust_count(trust);
    int taken;

    if (!asocket__tls_trust_open(trust, trust))
        return ASOCKET_EINVAL;
    file = file && *file ? file : NULL;
    directories = directories && *directories ? directories : NULL;
    taken = file || directories ? asocket__tls_named_roots(trust, file, directories)
                                : asocket__tls_system_roots(trust);
    if (taken > 0)
        trust->message[0] = 0; // of files that are not there
    else
        trust->count = before; // all of them or, for what has failed for now, none
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

// The roots of the system, loaded once for each selector. NULL: there are none, or no memory.
static asocket_tls_trust *asocket__tls_system_trust(asocket_selector *selector,
                                                    asocket_tls_failure *failure)
{
    asocket__tls_shared *shared = asocket__tls_shared_of(selector);
    asocket_tls_trust *trust = shared && !shared->system ? asocket_tls_trust_create() : NULL;
    int status;

    if (shared && shared->system)
        return shared->system;
    if (!trust) {
        (void)asocket__tls_fail(failure, ASOCKET_TLS_NO_MEMORY, NULL);
        return NULL;
    }
    status = asocket_tls_trust_add_system(trust);
    if (status > 0)
        return shared->system = trust;
    (void)asocket__tls_fail(failure,
                            status == ASOCKET_ENOMEM ? ASOCKET_TLS_NO_MEMORY : ASOCKET_TLS_NO_ROOTS,
                            "%s", asocket_tls_trust_message(trust));
    asocket_tls_trust_release(trust);
    return NULL;
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
// no order but the right one (BearSSL's manual, "The X.509 Minimal Engine"). The chain is
// collected, taken apart and judged here; a way from the leaf to a trusted root is searched (RFC
// 4158), and BearSSL verifies it: signatures, dates and authorities again.

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
    int64_t year = 1968 + days * 400 / 146097, month = 1; // this one, or a little before

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
        char buffer[68] = "DNS:", *name = buffer + 4;
        asocket_ip ip;

        if (tag == 0x87 && !asocket_ip_from_bytes(&ip, content.at, asocket__tls_span_size(content)))
            (void)asocket_ip_format(&ip, name, 64);
        else if (tag == 0x82)
            asocket__tls_printable(name, 64, content);
        else
            continue;
        if (tag == 0x82 && asocket__tls_name_is_address(name))
            name = buffer; // an address in the wrong place
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

// --- judging one certificate: false, and why is noted --------------------------------------------

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
    bool authority = x509->ca || (x509->usage != 0xFF && x509->usage & ASOCKET__TLS_CERTIFY);
    char name[48];

    asocket__tls_common_name(name, x509->subject);
    if (!asocket__tls_judge_sent(x509, now, name, failure))
        return false;
    if (authority && !trusted)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_USAGE,
                                "the server's own certificate, of \"%s\", is that of an authority "
                                "(CA): if it is self-signed and the right one, add it to trust",
                                name);
    else if (!(x509->usage & ASOCKET__TLS_SIGN))
        (void)asocket__tls_fail(failure, ASOCKET_TLS_USAGE,
                                "the key of \"%s\" may not sign (key usage), which all our cipher "
                                "suites need",
                                name);
    else if (asocket__tls_judge_name(x509, server_name, failure) && !trusted)
        (void)asocket__tls_judge_signature(x509, name, failure);
    return !failure->reason;
}

// --- searching a way -----------------------------------------------------------------------------

typedef struct asocket__tls_search {
    asocket__tls_validator *validator;
    const asocket__tls_x509 *sent; // the chain
    size_t path[ASOCKET__TLS_PATH], length;
    size_t next[ASOCKET__TLS_PATH]; // of the chain, to be tried behind each part of the path
    size_t signatures, steps;       // that may still be verified, made
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
                            "no pin of %u matches: that of the server is %s",
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
    search->failure = *search->validator->failure; // it says more than why others failed
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
        (void)asocket__tls_fail(
            failure, ASOCKET_TLS_BAD_CERTIFICATE,
            "a signature in the chain is wrong: a certificate was changed, or issued "
            "by somebody else");
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

// The time for BearSSL: ours, or the latest begin on the way, at which all else must still be
// valid.
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

    asocket__tls_common_name(name, root->subject);
    if (search->length > search->signatures ||
        !asocket__tls_judge_dates(root, time, name, &search->failure))
        return false;
    search->signatures -= search->length;
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

        if ((*engine)->get_pkey(engine, NULL)) // at this root already, which was tried before:
            return false;                      // the rest would be neither verified nor a pin
        (*engine)->start_cert(engine, (uint32_t)asocket__tls_span_size(der));
        (*engine)->append(engine, der.at, asocket__tls_span_size(der));
        (*engine)->end_cert(engine);
    }
    error = (*engine)->end_chain(engine);
    if (!error)
        return asocket__tls_search_pins(search, root);
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
        asocket_tls_failure failure = *search->validator->failure; // none yet
        char name[48];

        root.ca |= v1; // only a root may be as old as that
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
    asocket_tls_failure failure = *search->validator->failure; // none yet
    char name[48];
    size_t i;

    if (search->length == ASOCKET__TLS_PATH || !search->steps ||
        !asocket__tls_span_equal(next->subject, last->issuer))
        return false;
    for (i = 0; i < search->length; i++) { // nobody twice (RFC 4158, 2.4.2)
        const asocket__tls_x509 *one = &search->sent[search->path[i]];

        if (asocket__tls_span_equal(one->subject, next->subject) &&
            asocket__tls_span_equal(one->spki, next->spki))
            return false;
    }
    search->steps--;
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
    (void)asocket__tls_fail(
        failure, ASOCKET_TLS_UNTRUSTED,
        top == leaf ? "\"%s\", which issued the server's certificate, is not among the "
                      "%u trusted roots, nor was it sent: add it to trust if it is yours; "
                      "or perhaps the server lacks an intermediate certificate"
                    : "\"%s\", where the server's chain ends, is not among the %u "
                      "trusted roots: add it to trust if it is yours",
        name, (unsigned)search->validator->check->trust->count);
}

// --- the whole chain -----------------------------------------------------------------------------

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
    search.failure = *failure; // none yet
    search.length = 1;         // path[0] is the leaf
    search.signatures = ASOCKET__TLS_SIGNATURES;
    search.steps = ASOCKET__TLS_STEPS;
    if (!check->server_name || !check->trust) {
        (void)asocket__tls_fail(failure, ASOCKET_TLS_NO_NAME, NULL);
        return;
    }
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

// --- the br_x509_class ---------------------------------------------------------------------------

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
    if (!validator->failure->reason && needed >= validator->capacity) {
        size_t capacity = needed >= validator->capacity * 2 ? needed + 1 : validator->capacity * 2;
        uint8_t *chain = (uint8_t *)ASOCKET_REALLOC(validator->chain, capacity);

        if (chain) {
            validator->chain = chain;
            validator->capacity = capacity;
        }
    }
    if (!validator->ends || (!validator->failure->reason && needed >= validator->capacity))
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
    if (shrunk)
        leaf = shrunk;
    return leaf;
}

static void asocket__tls_validator_free(asocket__tls_validator *validator)
{
    ASOCKET_FREE(validator->chain);
    ASOCKET_FREE(validator->ends);
    memset(validator, 0, sizeof *validator);
}

// ------------------------------------------------------------------------------------------------
// >>tls_suites
// What is offered, in which order: AES-GCM first where the processor has instructions for it,
// ChaCha20 first elsewhere. BearSSL's own order costs a factor of six on x86.

static const struct {
    uint16_t number;
    const char *name;
} asocket__tls_suites[] = {
    {BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
    {BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
    {BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
     "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
    {BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"},
    {BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
    {BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
};
enum { ASOCKET__TLS_SUITES = sizeof asocket__tls_suites / sizeof *asocket__tls_suites };

static const char *asocket__tls_suite_name(uint16_t number)
{
    size_t i;

    for (i = 0; i < ASOCKET__TLS_SUITES; i++)
        if (asocket__tls_suites[i].number == number)
            return asocket__tls_suites[i].name;
    return NULL;
}

static const char *asocket__tls_group_name(int curve)
{
    switch (curve) {
    case BR_EC_secp256r1: return "secp256r1";
    case BR_EC_secp384r1: return "secp384r1";
    case BR_EC_secp521r1: return "secp521r1";
    case BR_EC_curve25519: return "x25519";
    default: return "";
    }
}

static bool asocket__tls_aes_is_fast(void)
{
    return (br_aes_x86ni_ctr_get_vtable() && br_ghash_pclmul_get()) ||
           (br_aes_pwr8_ctr_get_vtable() && br_ghash_pwr8_get());
}

// The caller's suites, or all of ours: how many; 0: one of them is not among ours.
static size_t asocket__tls_suites_of(const asocket_tls_options *options,
                                     uint16_t suites[ASOCKET__TLS_SUITES])
{
    size_t first = asocket__tls_aes_is_fast() ? 0 : 2, i;

    if (options->cipher_suite_count > ASOCKET__TLS_SUITES)
        return 0;
    for (i = 0; options->cipher_suites && i < options->cipher_suite_count; i++) {
        suites[i] = options->cipher_suites[i];
        if (!asocket__tls_suite_name(suites[i]))
            return 0;
    }
    if (options->cipher_suites)
        return i;
    for (i = 0; i < ASOCKET__TLS_SUITES; i++) // without AES instructions: the second pair first
        suites[i] = asocket__tls_suites[i < 4 ? i ^ first : i].number;
    return ASOCKET__TLS_SUITES;
}

// ------------------------------------------------------------------------------------------------
// >>tls_entropy
// Randomness from the system, in every handshake: BearSSL alone would take RDRAND's word for it, or
// that of whoever injects nothing.

#if ASOCKET__TLS_WINDOWS
static bool asocket__tls_system_random(void *buffer, size_t size)
{
    return ASOCKET_SYS(BCryptGenRandom)(NULL, (unsigned char *)buffer, (unsigned long)size,
                                        BCRYPT_USE_SYSTEM_PREFERRED_RNG) == 0;
}
#else
static bool asocket__tls_system_random(void *buffer, size_t size)
{
    return ASOCKET_SYS(getentropy)(buffer, size) == 0;
}
#endif

// A source that fails must not be injected: anything injected counts as a seed for BearSSL.
static int asocket__tls_seed(br_ssl_engine_context *engine, const asocket_tls_options *options,
                             asocket_tls_failure *failure)
{
    uint8_t bytes[48];
    bool seeded = asocket__tls_system_random(bytes, sizeof bytes);

    if (seeded)
        br_ssl_engine_inject_entropy(engine, bytes, sizeof bytes);
    if (options->random) {
        int status = options->random(options->user, bytes, sizeof bytes);

        if (status)
            (void)asocket__tls_fail(failure, ASOCKET_TLS_NO_RANDOM,
                                    "the random callback failed (%d)", status);
        else
            br_ssl_engine_inject_entropy(engine, bytes, sizeof bytes);
        seeded = true;
    }
    asocket__tls_wipe(bytes, sizeof bytes);
    return seeded ? failure->status : asocket__tls_fail(failure, ASOCKET_TLS_NO_RANDOM, NULL);
}

// ------------------------------------------------------------------------------------------------
// >>tls_identity
// Client certificates and keys; and what answers a server that asks for them.

struct asocket_tls_identity {
    int references;     // atomic
    uint8_t *bytes;     // the certificates, one after another
    uint8_t *key_bytes; // what rsa or ec points into
    size_t key_size;
    size_t count;
    br_x509_certificate *chain;
    int type; // BR_KEYTYPE_RSA or BR_KEYTYPE_EC
    br_rsa_private_key rsa;
    br_ec_private_key ec;
};

asocket_tls_identity *asocket_tls_identity_retain(asocket_tls_identity *identity)
{
    if (identity)
        (void)__atomic_add_fetch(&identity->references, 1, __ATOMIC_RELAXED);
    return identity;
}

void asocket_tls_identity_release(asocket_tls_identity *identity)
{
    if (!identity || __atomic_sub_fetch(&identity->references, 1, __ATOMIC_ACQ_REL))
        return;
    if (identity->key_bytes)
        asocket__tls_wipe(identity->key_bytes, identity->key_size);
    ASOCKET_FREE(identity->key_bytes);
    ASOCKET_FREE(identity->bytes);
    ASOCKET_FREE(identity->chain);
    asocket__tls_wipe(identity, sizeof *identity);
    ASOCKET_FREE(identity);
}

// The certificates of a text: how many; they are stored where there is something to store them in.
static ptrdiff_t asocket__tls_identity_chain(asocket_tls_identity *identity, const uint8_t *text,
                                             size_t size)
{
    size_t at = 0, used = 0, length;
    ptrdiff_t count = 0;
    char label[32];
    int found;

    while ((found = asocket__tls_pem_next(text, size, &at, label, identity->bytes + used,
                                          &length)) != 0) {
        if (strcmp(label, "CERTIFICATE") != 0)
            continue;
        if (found < 0)
            return -1;
        if (identity->chain) {
            identity->chain[count].data = identity->bytes + used;
            identity->chain[count].data_len = length;
        }
        used += length;
        count++;
    }
    return count;
}

// An RSAPrivateKey (RFC 8017, A.1.2). BearSSL 0.6 overflows when it decodes a too large one itself.
static bool asocket__tls_identity_rsa(br_rsa_private_key *key, asocket__tls_span list)
{
    asocket__tls_span part[8]; // n, e, d, p, q, dp, dq, iq
    size_t i;

    for (i = 0; i < 8; i++)
        if (!asocket__tls_der_positive(&list, &part[i]) ||
            asocket__tls_span_size(part[i]) > (i < 3 ? 512 : 256))
            return false;
    key->n_bitlen = (uint32_t)asocket__tls_span_size(part[0]) * 8;
    for (i = *part[0].at; !(i & 0x80); i <<= 1)
        key->n_bitlen--;
    key->p = (unsigned char *)(uintptr_t)part[3].at;
    key->plen = asocket__tls_span_size(part[3]);
    key->q = (unsigned char *)(uintptr_t)part[4].at;
    key->qlen = asocket__tls_span_size(part[4]);
    key->dp = (unsigned char *)(uintptr_t)part[5].at;
    key->dplen = asocket__tls_span_size(part[5]);
    key->dq = (unsigned char *)(uintptr_t)part[6].at;
    key->dqlen = asocket__tls_span_size(part[6]);
    key->iq = (unsigned char *)(uintptr_t)part[7].at;
    key->iqlen = asocket__tls_span_size(part[7]);
    return true;
}

// PKCS#1, SEC 1 (RFC 5915), or one of them in PKCS#8 (RFC 5208). The curve is the certificate's.
static bool asocket__tls_identity_key(asocket_tls_identity *identity, asocket__tls_span der)
{
    asocket__tls_span list, version, skipped, inner;

    if (!asocket__tls_der_take(&der, 0x30, &list) || !asocket__tls_der_take(&list, 0x02, &version))
        return false;
    if (asocket__tls_der_take(&list, 0x30, &skipped)) { // PKCS#8
        if (!asocket__tls_der_take(&list, 0x04, &inner) ||
            !asocket__tls_der_take(&inner, 0x30, &list) ||
            !asocket__tls_der_take(&list, 0x02, &version))
            return false;
    }
    if (asocket__tls_der_take(&list, 0x04, &inner)) {
        identity->type = BR_KEYTYPE_EC;
        identity->ec.x = (unsigned char *)(uintptr_t)inner.at;
        identity->ec.xlen = asocket__tls_span_size(inner);
        return identity->ec.xlen > 0 && identity->ec.xlen <= 66;
    }
    identity->type = BR_KEYTYPE_RSA;
    return asocket__tls_identity_rsa(&identity->rsa, list);
}

// Whether the key is that of the first certificate: what it signs must be good.
static bool asocket__tls_identity_fits(asocket_tls_identity *identity)
{
    const br_ec_impl *impl = br_ec_get_default();
    uint8_t signature[512], hash[32], found[32];
    asocket__tls_x509 x509;
    size_t size;

    if (asocket__tls_x509_read(&x509, identity->chain[0].data, identity->chain[0].data_len) ||
        x509.key.key_type != identity->type)
        return false;
    memset(hash, 'a', sizeof hash);
    if (identity->type == BR_KEYTYPE_EC) {
        identity->ec.curve = x509.key.key.ec.curve;
        size = br_ecdsa_sign_asn1_get_default()(impl, &br_sha256_vtable, hash, &identity->ec,
                                                signature);
        return size && br_ecdsa_vrfy_asn1_get_default()(impl, hash, sizeof hash, &x509.key.key.ec,
                                                        signature, size);
    }
    size = x509.key.key.rsa.nlen;
    return x509.bits == identity->rsa.n_bitlen && size <= sizeof signature &&
           br_rsa_pkcs1_sign_get_default()(BR_HASH_OID_SHA256, hash, sizeof hash, &identity->rsa,
                                           signature) &&
           br_rsa_pkcs1_vrfy_get_default()(signature, size, BR_HASH_OID_SHA256, sizeof hash,
                                           &x509.key.key.rsa, found) &&
           memcmp(hash, found, sizeof hash) == 0;
}

// The first private key of a text: NULL, or what is wrong with it.
static const char *asocket__tls_identity_find_key(asocket_tls_identity *identity,
                                                  const uint8_t *text)
{
    asocket__tls_span der;
    size_t at = 0, length;
    char label[32];
    int found;

    while ((found = asocket__tls_pem_next(text, identity->key_size, &at, label, identity->key_bytes,
                                          &length)) != 0) {
        if (strcmp(label, "ENCRYPTED PRIVATE KEY") == 0)
            return "the private key is encrypted: `openssl pkey` can take that off";
        if (strcmp(label, "PRIVATE KEY") != 0 && strcmp(label, "RSA PRIVATE KEY") != 0 &&
            strcmp(label, "EC PRIVATE KEY") != 0)
            continue;
        der.at = identity->key_bytes;
        der.end = der.at + length;
        if (found < 0 || !asocket__tls_identity_key(identity, der))
            return "the private key is neither RSA up to 4096 bits nor EC, or damaged, or "
                   "encrypted";
        return asocket__tls_identity_fits(identity)
                   ? NULL
                   : "the private key is not that of the first certificate";
    }
    return "there is no private key";
}

// Reads both texts into an identity that has the memory for it: NULL, or what is wrong.
static const char *asocket__tls_identity_read(asocket_tls_identity *identity, const uint8_t *chain,
                                              size_t chain_size, const uint8_t *key)
{
    ptrdiff_t count = asocket__tls_identity_chain(identity, chain, chain_size);

    if (count <= 0)
        return count ? "a certificate is damaged" : "there is no certificate";
    identity->count = (size_t)count;
    identity->chain =
        (br_x509_certificate *)ASOCKET_MALLOC((size_t)count * sizeof *identity->chain);
    if (!identity->chain)
        return ""; // of memory
    (void)asocket__tls_identity_chain(identity, chain, chain_size);
    return asocket__tls_identity_find_key(identity, key);
}

asocket_tls_identity *asocket_tls_identity_create(const void *chain, size_t chain_size,
                                                  const void *key, size_t key_size,
                                                  asocket_tls_failure *failure)
{
    asocket_tls_identity *identity = (asocket_tls_identity *)ASOCKET_MALLOC(sizeof *identity);
    const char *wrong = chain && key ? "" : "nothing is given";
    asocket_tls_failure unheard;

    failure = asocket__tls_fresh(failure ? failure : &unheard);
    if (identity) {
        memset(identity, 0, sizeof *identity);
        identity->references = 1;
        identity->key_size = key_size;
        identity->bytes = (uint8_t *)ASOCKET_MALLOC(chain_size + 1);
        identity->key_bytes = (uint8_t *)ASOCKET_MALLOC(key_size + 1);
    }
    if (!*wrong && identity && identity->bytes && identity->key_bytes)
        wrong = asocket__tls_identity_read(identity, (const uint8_t *)chain, chain_size,
                                           (const uint8_t *)key);
    if (!wrong)
        return identity;
    if (*wrong)
        (void)asocket__tls_fail(failure, ASOCKET_TLS_BAD_FILE, "identity: %s", wrong);
    else
        (void)asocket__tls_fail(failure, ASOCKET_TLS_NO_MEMORY, NULL);
    asocket_tls_identity_release(identity);
    return NULL;
}

asocket_tls_identity *asocket_tls_identity_load(const char *chain_path, const char *key_path,
                                                asocket_tls_failure *failure)
{
    uint8_t *chain = NULL, *key = NULL;
    size_t chain_size = 0, key_size = 0;
    asocket_tls_identity *identity = NULL;
    asocket_tls_failure unheard;
    int status, key_status;

    failure = asocket__tls_fresh(failure ? failure : &unheard);
    status = chain_path ? asocket__tls_read_file(chain_path, &chain, &chain_size) : ASOCKET_EINVAL;
    key_status = key_path ? asocket__tls_read_file(key_path, &key, &key_size) : ASOCKET_EINVAL;
    if (!status && !key_status) {
        identity = asocket_tls_identity_create(chain, chain_size, key, key_size, failure);
    } else {
        (void)asocket__tls_fail(failure, ASOCKET_TLS_FILE, "identity: %s: %s",
                                status     ? chain_path ? chain_path : ""
                                : key_path ? key_path
                                           : "",
                                asocket_strerror(status ? status : key_status));
        failure->status = status ? status : key_status;
    }
    if (key)
        asocket__tls_wipe(key, key_size);
    ASOCKET_FREE(chain);
    ASOCKET_FREE(key);
    return identity;
}

static asocket__tls_auth *asocket__tls_auth_of(const br_ssl_client_certificate_class **context)
{
    return (asocket__tls_auth *)(void *)context;
}

static void asocket__tls_auth_start(const br_ssl_client_certificate_class **context)
{
    asocket__tls_auth_of(context)->asked = true;
}

static void asocket__tls_auth_name(const br_ssl_client_certificate_class **context, size_t length)
{
    (void)context, (void)length;
}

static void asocket__tls_auth_append(const br_ssl_client_certificate_class **context,
                                     const unsigned char *data, size_t length)
{
    (void)context, (void)data, (void)length;
}

static void asocket__tls_auth_end(const br_ssl_client_certificate_class **context)
{
    (void)context;
}

// SHA-256, SHA-384 and SHA-512 only; BearSSL would sign with what the server does not accept.
static void asocket__tls_auth_choose(const br_ssl_client_certificate_class **context,
                                     const br_ssl_client_context *client, uint32_t types,
                                     br_ssl_client_certificate *choice)
{
    asocket__tls_auth *auth = asocket__tls_auth_of(context);
    uint32_t usable = types & (auth->type == BR_KEYTYPE_RSA ? 0x70U : 0x7000U);

    memset(choice, 0, sizeof *choice);
    auth->unusable = auth->inner && !usable;
    if (auth->inner && usable)
        (*auth->inner)->choose(auth->inner, client, usable, choice);
}

static size_t asocket__tls_auth_sign(const br_ssl_client_certificate_class **context, int hash,
                                     size_t hash_length, unsigned char *data, size_t length)
{
    asocket__tls_auth *auth = asocket__tls_auth_of(context);

    return (*auth->inner)->do_sign(auth->inner, hash, hash_length, data, length);
}

static const br_ssl_client_certificate_class asocket__tls_auth_class = {
    sizeof(asocket__tls_auth), asocket__tls_auth_start,
    asocket__tls_auth_name,    asocket__tls_auth_append,
    asocket__tls_auth_end,     asocket__tls_auth_end,
    asocket__tls_auth_choose,  NULL,
    asocket__tls_auth_sign,
};

// Installed with and without an identity, so that it is known whether the server asked.
static void asocket__tls_auth_init(asocket__tls_auth *auth, br_ssl_client_context *client,
                                   const asocket_tls_identity *identity)
{
    memset(auth, 0, sizeof *auth);
    auth->vtable = &asocket__tls_auth_class;
    if (identity && identity->type == BR_KEYTYPE_RSA)
        br_ssl_client_set_single_rsa(client, identity->chain, identity->count, &identity->rsa,
                                     br_rsa_pkcs1_sign_get_default());
    else if (identity)
        br_ssl_client_set_single_ec(client, identity->chain, identity->count, &identity->ec,
                                    BR_KEYTYPE_SIGN, 0, br_ec_get_default(),
                                    br_ecdsa_sign_asn1_get_default());
    auth->inner = identity ? client->client_auth_vtable : NULL;
    auth->type = identity ? identity->type : 0;
    br_ssl_client_set_client_certificate(client, &auth->vtable);
}

// ------------------------------------------------------------------------------------------------
// >>tls_sessions
// Resumption. What a session was verified with is part of its key, so that it serves nobody who
// asks for more than that.

typedef struct asocket__tls_session {
    uint8_t key[32], pin[32];
    br_ssl_session_parameters parameters;
    asocket_tls_trust *trust; // held, so that no other one gets its address
    asocket_tls_identity *identity;
    uint64_t used;   // sessions' clock at the last use; 0: empty
    int64_t created; // s since 1970
} asocket__tls_session;

struct asocket_tls_sessions {
    size_t capacity;
    size_t references; // the program's, and of each connection one
    uint64_t clock;
    asocket__tls_session entries[1];
};

asocket_tls_sessions *asocket_tls_sessions_create(size_t capacity)
{
    size_t count = capacity ? capacity : (size_t)ASOCKET__TLS_SESSIONS, size;
    asocket_tls_sessions *sessions;

    if (count > SIZE_MAX / sizeof *sessions->entries - 1)
        return NULL;
    size = sizeof *sessions + (count - 1) * sizeof *sessions->entries;
    sessions = (asocket_tls_sessions *)ASOCKET_MALLOC(size);
    if (!sessions)
        return NULL;
    memset(sessions, 0, size);
    sessions->capacity = count;
    sessions->references = 1;
    return sessions;
}

static void asocket__tls_session_drop(asocket__tls_session *session)
{
    asocket_tls_trust_release(session->trust);
    asocket_tls_identity_release(session->identity);
    asocket__tls_wipe(session, sizeof *session);
}

static void asocket__tls_sessions_release(asocket_tls_sessions *sessions)
{
    if (sessions && !--sessions->references)
        ASOCKET_FREE(sessions);
}

void asocket_tls_sessions_destroy(asocket_tls_sessions *sessions)
{
    size_t i;

    for (i = 0; sessions && i < sessions->capacity; i++)
        asocket__tls_session_drop(&sessions->entries[i]);
    asocket__tls_sessions_release(sessions);
}

static void asocket__tls_hash_text(br_sha256_context *hash, const char *text)
{
    br_sha256_update(hash, text ? text : "\1", (text ? strlen(text) : 1) + 1);
}

static void asocket__tls_session_key(const asocket__tls_check *check,
                                     const asocket_tls_options *options, uint16_t port,
                                     uint8_t key[32])
{
    br_sha256_context hash;
    size_t i;
    struct {
        const void *trust, *identity;
        int (*verify)(void *user, const asocket_tls_peer *peer);
        int64_t (*now)(void *user);
        const void *user;
        size_t pin_count, suite_count;
        uint32_t flags;
        uint16_t port;
    } fixed;

    memset(&fixed, 0, sizeof fixed);
    fixed.trust = check->trust;
    fixed.identity = options->identity;
    fixed.verify = check->verify;
    fixed.now = check->now;
    fixed.user = check->verify || check->now ? check->user : NULL;
    fixed.pin_count = check->pin_count;
    if (options->cipher_suites && options->cipher_suite_count <= ASOCKET__TLS_SUITES)
        fixed.suite_count = options->cipher_suite_count;
    fixed.flags = check->pin_only + 2U * check->insecure + 4U * (unsigned)check->clock;
    fixed.port = port;
    br_sha256_init(&hash);
    br_sha256_update(&hash, &fixed, sizeof fixed);
    br_sha256_update(&hash, check->pins, check->pin_count * sizeof *check->pins);
    br_sha256_update(&hash, options->cipher_suites, fixed.suite_count * sizeof(uint16_t));
    asocket__tls_hash_text(&hash, check->server_name);
    asocket__tls_hash_text(&hash, options->sni);
    for (i = 0; i < options->alpn_count; i++)
        asocket__tls_hash_text(&hash, options->alpn[i]);
    br_sha256_out(&hash, key);
}

static asocket__tls_session *asocket__tls_session_find(asocket_tls_sessions *sessions,
                                                       const uint8_t key[32])
{
    size_t i;

    for (i = 0; sessions && i < sessions->capacity; i++) {
        asocket__tls_session *session = &sessions->entries[i];
        int64_t age = (int64_t)ASOCKET_SYS(time)(NULL) - session->created;

        if (!session->used || memcmp(session->key, key, 32) != 0)
            continue;
        if (age >= 0 && age < ASOCKET__TLS_SESSION_LIFE)
            return session;
        asocket__tls_session_drop(session);
    }
    return NULL;
}

// In place of the one with the same key, else of an empty one, else of the one unused for longest.
static void asocket__tls_session_keep(asocket_tls_sessions *sessions, const uint8_t key[32],
                                      const asocket__tls_session *session)
{
    asocket__tls_session *place = asocket__tls_session_find(sessions, key);
    size_t i;

    for (i = 0; !place && i < sessions->capacity; i++)
        if (!sessions->entries[i].used)
            place = &sessions->entries[i];
    for (i = 0, place = place ? place : sessions->entries; place->used && i < sessions->capacity;
         i++)
        if (memcmp(place->key, key, 32) != 0 && sessions->entries[i].used < place->used)
            place = &sessions->entries[i];
    asocket__tls_session_drop(place);
    *place = *session;
    memcpy(place->key, key, 32);
    asocket_tls_trust_retain(place->trust);
    asocket_tls_identity_retain(place->identity);
    place->used = ++sessions->clock;
    place->created = (int64_t)ASOCKET_SYS(time)(NULL);
}

static void asocket__tls_session_forget(asocket_tls_sessions *sessions, const uint8_t key[32])
{
    asocket__tls_session *session = asocket__tls_session_find(sessions, key);

    if (session)
        asocket__tls_session_drop(session);
}

// ------------------------------------------------------------------------------------------------
// >>tls_engine
// A BearSSL client, made ready for the handshake, which is all that it is used for. What it
// receives it finds in the ring of the socket below: its field ibuf is pointed there, record by
// record.

static void asocket__tls_engine_init(br_ssl_client_context *client)
{
    br_ssl_engine_context *engine = &client->eng;

    br_ssl_client_zero(client);
    br_ssl_engine_set_versions(engine, BR_TLS12, BR_TLS12);
    br_ssl_engine_set_hash(engine, br_sha256_ID, &br_sha256_vtable);
    br_ssl_engine_set_hash(engine, br_sha384_ID, &br_sha384_vtable);
    br_ssl_engine_set_hash(engine, br_sha512_ID, &br_sha512_vtable);
    br_ssl_engine_set_prf_sha256(engine, &br_tls12_sha256_prf);
    br_ssl_engine_set_prf_sha384(engine, &br_tls12_sha384_prf);
    br_ssl_engine_set_default_rsavrfy(engine);
    br_ssl_engine_set_default_ec(engine);
    br_ssl_engine_set_default_ecdsa(engine);
    br_ssl_engine_set_default_aes_gcm(engine);
    br_ssl_engine_set_default_chapol(engine);
    br_ssl_engine_add_flags(engine, BR_OPT_NO_RENEGOTIATION | BR_OPT_FAIL_ON_ALPN_MISMATCH);
}

// The small output buffer of the handshake must not make the engine ask for small records.
static void asocket__tls_engine_buffers(asocket__tls *tls, size_t record_size)
{
    br_ssl_engine_context *engine = &tls->handshake->client.eng;

    br_ssl_engine_set_buffers_bidi(engine, tls->handshake->flight,
                                   ASOCKET__TLS_RECORD + 325, // pointed to each record later
                                   tls->handshake->flight, ASOCKET__TLS_FLIGHT);
    engine->ibuf = tls->handshake->header; // not the same memory: that would mean half duplex
    engine->log_max_frag_len = 14;
    engine->max_frag_len = (uint16_t)(record_size ? record_size : (size_t)ASOCKET__TLS_RECORD);
}

static int asocket__tls_engine_start(asocket__tls *tls, const asocket_tls_options *options)
{
    asocket__tls_handshake *handshake = tls->handshake;
    br_ssl_engine_context *engine = &handshake->client.eng;
    asocket_tls_failure *failure = asocket__tls_failing(tls);
    uint16_t suites[ASOCKET__TLS_SUITES];
    size_t count = asocket__tls_suites_of(options, suites);
    const char *sni = options->sni ? options->sni : tls->server_name;
    asocket__tls_session *session;

    if (!count)
        return asocket__tls_fail(failure, ASOCKET_TLS_ARGUMENT,
                                 "cipher_suites: none, or one that is not offered here");
    asocket__tls_engine_init(&handshake->client);
    br_ssl_engine_set_suites(engine, suites, count);
    asocket__tls_validator_init(&handshake->validator, &handshake->check, failure);
    br_ssl_engine_set_x509(engine, &handshake->validator.vtable);
    asocket__tls_auth_init(&handshake->auth, &handshake->client, options->identity);
    if (options->alpn_count)
        br_ssl_engine_set_protocol_names(engine, (const char **)(uintptr_t)options->alpn,
                                         options->alpn_count);
    asocket__tls_engine_buffers(tls, options->record_size);
    if (asocket__tls_seed(engine, options, failure))
        return failure->status;
    session = asocket__tls_session_find(tls->sessions, tls->session_key);
    if (session) {
        br_ssl_engine_set_session_parameters(engine, &session->parameters);
        memcpy(tls->pin, session->pin, sizeof tls->pin);
        memcpy(handshake->offered, session->parameters.master_secret, sizeof handshake->offered);
        handshake->offering = true;
        session->used = ++tls->sessions->clock;
    }
    if (!options->sni && (!sni || asocket__tls_name_is_address(sni)))
        sni = NULL;
    if (br_ssl_client_reset(&handshake->client, sni && *sni ? sni : NULL, session != NULL))
        return 0;
    failure->bearssl = br_ssl_engine_last_error(engine);
    return asocket__tls_fail(
        failure,
        failure->bearssl == BR_ERR_NO_RANDOM ? ASOCKET_TLS_NO_RANDOM : ASOCKET_TLS_ARGUMENT, NULL);
}

// ------------------------------------------------------------------------------------------------
// >>tls_records
// Records encrypted and decrypted in place, with BearSSL's record layer alone: of the engine, which
// is gone after the handshake, only the two contexts are left, copies of its own. They number the
// records by themselves (RFC 5246, 6.1), with 64 bits: nobody gets to the end of that.

// The keys that the engine has agreed on. Nothing of a record may be in it.
static void asocket__tls_keep_ciphers(asocket__tls *tls)
{
    const br_ssl_engine_context *engine = &tls->handshake->client.eng;

    ASOCKET_ASSERT(engine->in.vtable->context_size <= sizeof tls->u.opening &&
                   engine->out.vtable->context_size <= sizeof tls->sealing);
    memcpy(&tls->u.opening, &engine->in, sizeof tls->u.opening);
    memcpy(&tls->sealing, &engine->out, sizeof tls->sealing);
    tls->opens = true;
}

// What is wrong with the header of a record, by BearSSL's number; 0: nothing.
static int asocket__tls_check_header(const asocket__tls *tls, const uint8_t *header, size_t length)
{
    if (header[1] != BR_TLS12 >> 8 || header[2] != (BR_TLS12 & 0xFF))
        return BR_ERR_BAD_VERSION;
    if (tls->u.opening.in->check_length(&tls->u.opening.in, length))
        return 0;
    return length > ASOCKET__TLS_RECORD ? BR_ERR_TOO_LARGE : BR_ERR_BAD_LENGTH;
}

// Decrypts a record whose header is good, and finds its text. False: it is not the server's.
static bool asocket__tls_open(asocket__tls *tls, uint8_t *record, size_t size)
{
    size_t length = size - 5;
    const uint8_t *text =
        tls->u.opening.in->decrypt(&tls->u.opening.in, record[0], BR_TLS12, record + 5, &length);

    tls->record = record;
    tls->size = size;
    tls->begin = text ? (size_t)(text - record) : 0;
    tls->end = text ? tls->begin + length : 0;
    return text != NULL;
}

// Makes a record in a window, of as many of the bytes as fit: its size. The window has room for a
// byte at least. In the handshake with the keys of the engine, which are none at first.
static size_t asocket__tls_seal(asocket__tls *tls, int type, char *window, size_t room,
                                const void *bytes, size_t *size)
{
    const br_sslrec_out_class **out =
        tls->handshake ? &tls->handshake->client.eng.out.vtable : &tls->sealing.out;
    size_t begin = 5, end = room, sealed;
    void *record;

    (*out)->max_plaintext(out, &begin, &end);
    if (*size > end - begin)
        *size = end - begin;
    memcpy(window + begin, bytes, *size);
    sealed = *size;
    record = (*out)->encrypt(out, type, BR_TLS12, window + begin, &sealed);
    ASOCKET_ASSERT(record == window); // nothing is before the header, without CBC
    (void)record;
    return sealed;
}

// ------------------------------------------------------------------------------------------------
// >>tls_pump
// Records to and from the socket below, through its channels: no system call. In the handshake the
// engine has the say; afterwards this room knows what the server may still say besides data: an
// alert, and HelloRequest, a wish to renegotiate, which is refused (RFC 5246, 7.4.1.1). One
// coroutine may be in asocket__tls_read and another one in asocket__tls_write. Two rules keep them
// apart: what was encrypted is in the channel below before anything waits, and only the writer
// waits for room there.

static const char *asocket__tls_alert_name(int alert)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {
        {0, "close_notify"},
        {10, "unexpected_message"},
        {20, "bad_record_mac"},
        {21, "decryption_failed"},
        {22, "record_overflow"},
        {30, "decompression_failure"},
        {40, "handshake_failure"},
        {42, "bad_certificate"},
        {43, "unsupported_certificate"},
        {44, "certificate_revoked"},
        {45, "certificate_expired"},
        {46, "certificate_unknown"},
        {47, "illegal_parameter"},
        {48, "unknown_ca"},
        {49, "access_denied"},
        {50, "decode_error"},
        {51, "decrypt_error"},
        {70, "protocol_version"},
        {71, "insufficient_security"},
        {80, "internal_error"},
        {86, "inappropriate_fallback"},
        {90, "user_canceled"},
        {100, "no_renegotiation"},
        {109, "missing_extension"},
        {110, "unsupported_extension"},
        {112, "unrecognized_name"},
        {113, "bad_certificate_status_response"},
        {115, "unknown_psk_identity"},
        {116, "certificate_required"},
        {120, "no_application_protocol"},
    };
    size_t i;

    for (i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].number == alert)
            return names[i].name;
    return "unknown";
}

// A fatal alert of the server's: what it means to a person.
static int asocket__tls_explain_alert(asocket__tls *tls, int alert)
{
    asocket_tls_failure *failure = asocket__tls_failing(tls);
    bool shaking = tls->handshake != NULL, asked = shaking && tls->handshake->auth.asked;
    const char *name = asocket__tls_alert_name(alert);

    failure->alert = alert;
    if (shaking && alert == 70)
        return asocket__tls_fail(failure, ASOCKET_TLS_NEEDS_TLS13, NULL);
    if (shaking && tls->handshake->auth.unusable)
        return asocket__tls_fail(failure, ASOCKET_TLS_CLIENT_CERTIFICATE,
                                 "the server accepts no signature that the client certificate's "
                                 "key can make with BearSSL (alert %d, %s)",
                                 alert, name);
    if (asked && alert == 40)
        return asocket__tls_fail(failure, ASOCKET_TLS_CLIENT_CERTIFICATE,
                                 tls->identified ? "the server did not accept the client "
                                                   "certificate (alert %d, %s)"
                                                 : "the server requires a client certificate: set "
                                                   "identity in the options (alert %d, %s)",
                                 alert, name);
    if ((alert >= 42 && alert <= 49 && alert != 47) || alert == 116)
        return asocket__tls_fail(failure, ASOCKET_TLS_CLIENT_CERTIFICATE,
                                 tls->identified
                                     ? "the server refused the client certificate: alert %d, %s"
                                     : "the server wants a client certificate: alert %d, %s",
                                 alert, name);
    if (shaking && (alert == 40 || alert == 71))
        return asocket__tls_fail(failure, ASOCKET_TLS_REFUSED,
                                 "the server accepts none of our cipher suites, curves and "
                                 "signatures, or wants TLS 1.3, or has no such name (alert %d, %s)",
                                 alert, name);
    if (shaking && alert == 120)
        return asocket__tls_fail(failure, ASOCKET_TLS_NO_PROTOCOL, NULL);
    if (shaking && alert == 112)
        return asocket__tls_fail(failure, ASOCKET_TLS_ALERT, "the server does not know the name %s",
                                 tls->server_name ? tls->server_name : "");
    return asocket__tls_fail(failure, ASOCKET_TLS_ALERT, "the server sent alert %d, %s", alert,
                             name);
}

// BearSSL's own findings, but for those of the validator, which has said more already.
static int asocket__tls_explain_error(asocket__tls *tls, int error)
{
    asocket_tls_failure *failure = asocket__tls_failing(tls);
    asocket_tls_reason reason = ASOCKET_TLS_PROTOCOL;

    switch (error) {
    case BR_ERR_BAD_PARAM:
    case BR_ERR_BAD_LENGTH:
    case BR_ERR_UNKNOWN_TYPE:
    case BR_ERR_UNEXPECTED: break;
    case BR_ERR_UNSUPPORTED_VERSION: reason = ASOCKET_TLS_OLD_VERSION; break;
    case BR_ERR_BAD_VERSION:
        return asocket__tls_fail(failure, reason,
                                 "the server broke the TLS protocol: a record has another version "
                                 "than was agreed on");
    case BR_ERR_TOO_LARGE: reason = ASOCKET_TLS_RECORD_SIZE; break;
    case BR_ERR_BAD_MAC: reason = ASOCKET_TLS_INTEGRITY; break;
    case BR_ERR_NO_RANDOM: reason = ASOCKET_TLS_NO_RANDOM; break;
    case BR_ERR_BAD_FINISHED:
    case BR_ERR_BAD_SIGNATURE:
        return asocket__tls_fail(failure, ASOCKET_TLS_INTEGRITY,
                                 "the handshake was changed on its way, or the server has not the "
                                 "key of its certificate");
    case BR_ERR_WRONG_KEY_USAGE: reason = ASOCKET_TLS_USAGE; break;
    case BR_ERR_LIMIT_EXCEEDED: reason = ASOCKET_TLS_UNSUPPORTED; break;
    default: break;
    }
    if (error > BR_ERR_X509_OK && error < BR_ERR_RECV_FATAL_ALERT)
        reason = ASOCKET_TLS_BAD_CERTIFICATE;
    if (reason != ASOCKET_TLS_PROTOCOL)
        return asocket__tls_fail(failure, reason, NULL);
    return asocket__tls_fail(failure, reason, "the server broke the TLS protocol (BearSSL %d)",
                             error);
}

// The alert that tells the server why (RFC 5246, 7.2.2); -1: none is due.
static int asocket__tls_alert_of(asocket_tls_reason reason, int error)
{
    switch (reason) {
    case ASOCKET_TLS_OLD_VERSION: return 70;
    case ASOCKET_TLS_INTEGRITY: return error == BR_ERR_BAD_MAC ? 20 : 51;
    case ASOCKET_TLS_RECORD_SIZE: return 22;
    case ASOCKET_TLS_NO_PROTOCOL: return 120;
    case ASOCKET_TLS_UNTRUSTED: return 48;
    case ASOCKET_TLS_EXPIRED:
    case ASOCKET_TLS_NOT_YET: return 45;
    case ASOCKET_TLS_UNSUPPORTED: return 43;
    case ASOCKET_TLS_NAME:
    case ASOCKET_TLS_USAGE:
    case ASOCKET_TLS_WEAK:
    case ASOCKET_TLS_BAD_CERTIFICATE: return 42;
    case ASOCKET_TLS_NO_CLOCK:
    case ASOCKET_TLS_CHAIN_LIMIT:
    case ASOCKET_TLS_PIN:
    case ASOCKET_TLS_VERIFY: return 46;
    case ASOCKET_TLS_FLOOD: return 10;
    case ASOCKET_TLS_NO_MEMORY: return 80;
    case ASOCKET_TLS_PROTOCOL: break;
    default: return -1;
    }
    if (error == BR_ERR_UNEXPECTED || error == BR_ERR_BAD_CCS)
        return 10;
    if (error == BR_ERR_BAD_VERSION)
        return 70;
    return error >= BR_ERR_BAD_CIPHER_SUITE && error <= BR_ERR_INVALID_ALGORITHM ? 47 : 50;
}

// Room below for at least so many bytes. A reader that answers is in there for a moment only.
static ptrdiff_t asocket__tls_reserve(asocket__tls *tls, char **window, size_t size)
{
    for (;;) {
        ptrdiff_t room = asocket_reserve(tls->out, window, size);
        int status;

        if (room != ASOCKET_EBUSY || !tls->answering)
            return room;
        status = asocket_yield(tls->selector);
        if (status)
            return status;
    }
}

// One alert into the channel below. The engine sends none for what it finds itself, and when it has
// failed it takes no more bytes: this goes past it, to its record layer. Nothing follows a last
// one.
static int asocket__tls_alert(asocket__tls *tls, uint8_t level, int description)
{
    uint8_t bytes[2];
    char *window;
    size_t size = sizeof bytes;
    ptrdiff_t room = asocket__tls_reserve(tls, &window, ASOCKET__TLS_SMALL);
    int64_t former;
    int status;

    if (room < 0)
        return (int)room;
    if (tls->goodbye) // the other one's, meanwhile
        return 0;
    tls->goodbye = level == 2 || !description;
    bytes[0] = level;
    bytes[1] = (uint8_t)description;
    former = asocket_set_deadline(tls->selector, 0); // a reader outside of coroutines goes on
    status = asocket_commit(tls->out, asocket__tls_seal(tls, ASOCKET__TLS_TYPE_ALERT, window,
                                                        (size_t)room, bytes, &size));
    asocket_restore_deadline(tls->selector, former);
    return status;
}

// Tells a failure: the server, if there is room for it without a wait, and the program. No record
// is looked at any more.
static int asocket__tls_told(asocket__tls *tls)
{
    asocket_tls_failure *failure = asocket__tls_failing(tls);
    int alert = asocket__tls_alert_of(failure->reason, failure->bearssl);

    if (!tls->handshake && failure->step == ASOCKET_TLS_STEP_HANDSHAKE)
        failure->step = ASOCKET_TLS_STEP_DATA;
    if (tls->handshake && failure->step == ASOCKET_TLS_STEP_DATA)
        failure->step = ASOCKET_TLS_STEP_HANDSHAKE;
    if (!tls->told && alert >= 0 && tls->out && !tls->goodbye &&
        asocket_room(tls->out) >= ASOCKET__TLS_SMALL) {
        (void)asocket__tls_alert(tls, 2, alert);
        failure->alert_sent = tls->goodbye ? alert : -1;
    }
    if (tls->sessions && !tls->told && (alert >= 0 || failure->alert >= 0))
        asocket__tls_session_forget(tls->sessions, tls->session_key); // RFC 5246, 7.2.2
    tls->sentence = asocket__tls_note(tls->selector, failure, tls->told ? tls->sentence : NULL,
                                      tls->server_name);
    tls->told = true;
    return failure->status;
}

// A failure that BearSSL has a number for.
static int asocket__tls_wrong(asocket__tls *tls, int error)
{
    if (!asocket__tls_failed(tls))
        asocket__tls_failing(tls)->bearssl = error;
    (void)asocket__tls_explain_error(tls, error);
    return asocket__tls_told(tls);
}

// What ended the engine.
static int asocket__tls_ended(asocket__tls *tls)
{
    asocket_tls_failure *failure = asocket__tls_failing(tls);
    int error = br_ssl_engine_last_error(&tls->handshake->client.eng);

    if (!failure->reason)
        failure->bearssl = error;
    if (failure->reason)
        ; // the validator's
    else if (error >= BR_ERR_SEND_FATAL_ALERT)
        (void)asocket__tls_explain_error(tls, error);
    else if (error >= BR_ERR_RECV_FATAL_ALERT)
        (void)asocket__tls_explain_alert(tls, error - BR_ERR_RECV_FATAL_ALERT);
    else if (error)
        (void)asocket__tls_explain_error(tls, error);
    else
        (void)asocket__tls_fail(failure, ASOCKET_TLS_EOF_IN_HANDSHAKE,
                                "the server ended TLS before the handshake was over");
    failure->bearssl = error;
    return asocket__tls_told(tls);
}

// A wait below that ended without bytes: what it means for TLS. After the handshake, those ends
// from which the program can go on are no failures.
static int asocket__tls_cut(asocket__tls *tls, int status)
{
    bool shaking = tls->handshake != NULL;
    asocket_tls_reason reason = ASOCKET_TLS_IO;

    if (tls->listening)
        return status; // the failure is another one
    switch (status) {
    case ASOCKET_EOF:
        reason = shaking ? ASOCKET_TLS_EOF_IN_HANDSHAKE : ASOCKET_TLS_TRUNCATED;
        if (!shaking && tls->allow_truncation)
            return ASOCKET_EOF;
        break;
    case ASOCKET_EAGAIN:
    case ASOCKET_ETIMEDOUT: reason = ASOCKET_TLS_TIMEOUT; break;
    case ASOCKET_ECANCELED:
    case ASOCKET_ECLOSED: reason = ASOCKET_TLS_CANCELED; break;
    case ASOCKET_ENOMEM: reason = ASOCKET_TLS_NO_MEMORY; break;
    default: break;
    }
    if (!shaking && reason != ASOCKET_TLS_IO && reason != ASOCKET_TLS_TRUNCATED)
        return status;
    if (reason == ASOCKET_TLS_EOF_IN_HANDSHAKE && !tls->records && asocket_available(tls->in) <= 0)
        (void)asocket__tls_fail(asocket__tls_failing(tls), reason,
                                "the peer closed without a word of TLS: is this a TLS port?");
    else if (status == ASOCKET_ETLS)
        (void)asocket__tls_fail(asocket__tls_failing(tls), reason, "the TLS below failed: %s",
                                asocket_error_message(tls->selector));
    else if (reason == ASOCKET_TLS_IO && !shaking)
        (void)asocket__tls_fail(asocket__tls_failing(tls), reason, "the connection broke");
    else
        (void)asocket__tls_fail(asocket__tls_failing(tls), reason, NULL);
    if (status != ASOCKET_EOF)
        asocket__tls_failing(tls)->status = status;
    return asocket__tls_told(tls);
}

// The first bytes are not TLS: says what they are.
static int asocket__tls_no_tls(asocket__tls *tls, const char *bytes, size_t size)
{
    char text[33];
    size_t i;

    for (i = 0; i < size && i < sizeof text - 1 && bytes[i] >= ' ' && bytes[i] <= '~'; i++)
        text[i] = bytes[i];
    text[i] = 0;
    if (i >= 4)
        (void)asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_NOT_TLS,
                                "the peer answered in plain text: \"%s\"", text);
    else
        (void)asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_NOT_TLS, NULL);
    return asocket__tls_told(tls);
}

// Frees the record in the ring.
static void asocket__tls_release(asocket__tls *tls)
{
    (void)asocket_consume(tls->in, tls->size);
    tls->size = 0;
}

// What the server has been waiting for goes if there is room for it at once: our close_notify after
// its own, which is the last record then, or the refusal to renegotiate. If there is none, the next
// call that writes sees to it.
static int asocket__tls_answer(asocket__tls *tls)
{
    bool last = tls->ended;
    int status;

    if (tls->goodbye || asocket__tls_failed(tls) || !(last || tls->refusing) ||
        asocket_room(tls->out) < ASOCKET__TLS_SMALL)
        return 0;
    tls->refusing = false;
    tls->answering++;
    status = asocket__tls_alert(tls, 1, last ? 0 : 100);
    tls->answering--;
    return status;
}

// Of records that bring nothing, only a few may come in a row.
static int asocket__tls_idle(asocket__tls *tls)
{
    if (++tls->idle <= ASOCKET__TLS_IDLE_RECORDS)
        return 0;
    (void)asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_FLOOD, NULL);
    return asocket__tls_told(tls);
}

// Gives the engine a record that is in the ring as a whole, to be decrypted there.
static int asocket__tls_feed(asocket__tls *tls, uint8_t *record, size_t size)
{
    br_ssl_engine_context *engine = &tls->handshake->client.eng;
    size_t done = 0, room;
    bool useful = record[0] != ASOCKET__TLS_TYPE_ALERT && size > 5;

    tls->record = record;
    tls->size = size;
    engine->ibuf = record;
    while (done < size && br_ssl_engine_recvrec_buf(engine, &room) != NULL) {
        room = room < size - done ? room : size - done;
        br_ssl_engine_recvrec_ack(engine, room);
        done += room;
    }
    if (br_ssl_engine_recvrec_buf(engine, &room) || engine->shutdown_recv) {
        asocket__tls_release(tls);
        engine->ibuf = tls->handshake->header;
    }
    if (br_ssl_engine_current_state(engine) & BR_SSL_CLOSED && !engine->shutdown_recv)
        return asocket__tls_ended(tls);
    return useful ? 0 : asocket__tls_idle(tls);
}

// Alerts after the handshake, which records may cut in two. Of warnings only close_notify means
// something, and no_renegotiation what it says: that nobody goes on, though nobody has asked.
static int asocket__tls_take_alerts(asocket__tls *tls, const uint8_t *bytes, const uint8_t *end)
{
    for (; bytes < end && !tls->ended; bytes++) {
        uint8_t level = tls->level;

        tls->level = level ? 0 : *bytes == 1 ? 1 : 2;
        if (level == 2 || (level && *bytes == 100)) {
            asocket__tls_failing(tls)->bearssl = BR_ERR_RECV_FATAL_ALERT + *bytes;
            (void)asocket__tls_explain_alert(tls, *bytes);
            return asocket__tls_told(tls);
        }
        tls->ended = level && *bytes == 0;
    }
    return tls->ended ? 0 : asocket__tls_idle(tls);
}

// Handshake messages after the handshake: HelloRequest, which is four bytes of 0, and no other.
static int asocket__tls_take_messages(asocket__tls *tls, const uint8_t *bytes, const uint8_t *end)
{
    int status = 0;

    for (; bytes < end && !status; bytes++) {
        if (*bytes)
            return asocket__tls_wrong(tls, tls->request ? BR_ERR_BAD_HANDSHAKE : BR_ERR_UNEXPECTED);
        tls->request = (uint8_t)((tls->request + 1) % 4);
        if (!tls->request) {
            tls->refusing = true;
            status = asocket__tls_idle(tls);
        }
    }
    return status;
}

// A record after the handshake, which is in the ring as a whole. Data stays there until it is read.
static int asocket__tls_take(asocket__tls *tls, uint8_t *record, size_t size)
{
    bool good = asocket__tls_open(tls, record, size);
    const uint8_t *text = record + tls->begin, *end = record + tls->end;
    int status;

    if (good && record[0] == ASOCKET__TLS_TYPE_DATA && text < end)
        return 0;
    if (!good)
        status = asocket__tls_wrong(tls, BR_ERR_BAD_MAC);
    else if (record[0] == ASOCKET__TLS_TYPE_DATA)
        status = asocket__tls_idle(tls);
    else if (record[0] == ASOCKET__TLS_TYPE_ALERT && text < end)
        status = asocket__tls_take_alerts(tls, text, end);
    else if (record[0] == ASOCKET__TLS_TYPE_HANDSHAKE && text < end)
        status = asocket__tls_take_messages(tls, text, end);
    else // ChangeCipherSpec, what is unknown, and what must not be empty (RFC 5246, 6.2.1)
        status = asocket__tls_wrong(tls, BR_ERR_UNEXPECTED);
    asocket__tls_release(tls);
    return status;
}

// A window of at least so many bytes. A writer that listens is in there for a moment only.
static ptrdiff_t asocket__tls_window(asocket__tls *tls, const char **bytes, size_t size)
{
    for (;;) {
        ptrdiff_t count = asocket_peek(tls->in, bytes, size);
        int status;

        if (count != ASOCKET_EBUSY || !tls->listening)
            return count;
        status = asocket_yield(tls->selector);
        if (status)
            return status;
    }
}

// What the header of a record says: its size, or why there is no such record.
static ptrdiff_t asocket__tls_size(asocket__tls *tls, const char *bytes, size_t available)
{
    const uint8_t *header = (const uint8_t *)bytes;
    size_t length = (size_t)header[3] << 8 | header[4];
    int error = 0;

    if (!tls->records && (header[0] < 20 || header[0] > 23 || header[1] != 3))
        return asocket__tls_no_tls(tls, bytes, available);
    if (length > ASOCKET__TLS_RECORD + ASOCKET__TLS_OVERHEAD - 5)
        error = BR_ERR_TOO_LARGE;
    else if (!tls->handshake)
        error = asocket__tls_check_header(tls, header, length);
    return error ? asocket__tls_wrong(tls, error) : (ptrdiff_t)(5 + length);
}

// The next record from below: 0, or why there is none. Waits; while it does the writer may work.
static int asocket__tls_receive(asocket__tls *tls)
{
    const char *bytes;
    uint8_t *record;
    ptrdiff_t size, count = asocket__tls_window(tls, &bytes, 5);

    if (tls->size || tls->ended) // the writer has listened meanwhile
        return 0;
    if (asocket__tls_failed(tls)) // the writer, meanwhile, or the validator
        return asocket__tls_told(tls);
    if (count < 0)
        return asocket__tls_cut(tls, (int)count);
    size = asocket__tls_size(tls, bytes, (size_t)count);
    if (size < 0)
        return (int)size;
    count = asocket__tls_window(tls, &bytes, (size_t)size);
    if (count < 0)
        return asocket__tls_cut(tls, (int)count);
    if (!tls->records && bytes[0] == ASOCKET__TLS_TYPE_HANDSHAKE && size > 5 && bytes[5] == 1) {
        (void)asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_PROTOCOL,
                                "the peer is a TLS client as well: it sent a ClientHello");
        return asocket__tls_told(tls);
    }
    if (asocket__tls_failed(tls))
        return asocket__tls_told(tls);
    tls->records++;
    record = (uint8_t *)(uintptr_t)bytes; // asocket_peek allows to write there
    return tls->handshake ? asocket__tls_feed(tls, record, (size_t)size)
                          : asocket__tls_take(tls, record, (size_t)size);
}

// The handshake's own records, as far as they fit the ring.
static int asocket__tls_send_flight(asocket__tls *tls)
{
    br_ssl_engine_context *engine = &tls->handshake->client.eng;
    uint8_t *bytes;
    char *window;
    size_t size;
    ptrdiff_t room;

    (void)br_ssl_engine_sendrec_buf(engine, &size);
    room = asocket_reserve(tls->out, &window, size);
    if (room < 0)
        return (int)room;
    bytes = br_ssl_engine_sendrec_buf(engine, &size);
    memcpy(window, bytes, size);
    br_ssl_engine_sendrec_ack(engine, size);
    return asocket_commit(tls->out, size);
}

// A send that failed because the server has hung up: its reason may have come before that. So may
// data: after the handshake it is the write that has failed, and no more.
static int asocket__tls_last_words(asocket__tls *tls, int status)
{
    int64_t former;

    if (status == ASOCKET_ECONNRESET && !tls->reading && !tls->size) {
        former = asocket_set_deadline(tls->selector, 1); // it is there, or does not come
        tls->listening = true;
        while (!asocket__tls_failed(tls) && !tls->size && !tls->ended && !asocket__tls_receive(tls))
            continue;
        tls->listening = false;
        asocket_restore_deadline(tls->selector, former);
    }
    if (asocket__tls_failed(tls))
        return asocket__tls_failed(tls);
    return tls->handshake ? asocket__tls_cut(tls, status) : status;
}

// A server that goes on and on is never waited for, and only waits look at the time.
static int asocket__tls_look_up(asocket__tls *tls)
{
    int status = tls->records % ASOCKET__TLS_IDLE_RECORDS ? 0 : asocket_sleep(tls->selector, 0);

    if (tls->orphan)
        status = ASOCKET_ECLOSED;
    return status ? asocket__tls_cut(tls, status) : 0;
}

// Until keys are agreed and the peer is verified: 0, or the failure's status.
static int asocket__tls_shake(asocket__tls *tls)
{
    br_ssl_engine_context *engine = &tls->handshake->client.eng;

    for (;;) {
        unsigned state = br_ssl_engine_current_state(engine);
        int status;

        if (state & BR_SSL_CLOSED || engine->shutdown_recv)
            return asocket__tls_ended(tls);
        if (state & BR_SSL_SENDREC) {
            status = asocket__tls_send_flight(tls);
            if (status)
                return asocket__tls_last_words(tls, status);
        } else if (tls->size) { // something is behind the message that ended the server's turn
            return asocket__tls_wrong(tls, BR_ERR_UNEXPECTED);
        } else if (state & BR_SSL_SENDAPP) {
            return 0;
        } else {
            status = asocket__tls_receive(tls);
            if (!status)
                status = asocket__tls_look_up(tls);
            if (status)
                return status;
        }
    }
}

// The record is still where it was. It is not if somebody went on with the socket below.
static bool asocket__tls_intact(const asocket__tls *tls)
{
    const char *bytes;

    return !tls->size || (asocket_peek(tls->in, &bytes, 0) >= (ptrdiff_t)tls->size &&
                          (const uint8_t *)bytes == tls->record);
}

static ptrdiff_t asocket__tls_some(asocket__tls *tls, void *buffer, size_t size)
{
    if (!asocket__tls_intact(tls)) {
        (void)asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_IO,
                                "somebody else has read from the socket below TLS");
        return asocket__tls_told(tls);
    }
    while (!tls->size) {
        int status;

        (void)asocket__tls_answer(tls); // whatever becomes of it, what the server says goes on
        if (tls->ended)
            return ASOCKET_EOF;
        if (asocket__tls_failed(tls))
            return asocket__tls_told(tls);
        status = asocket__tls_receive(tls);
        if (status)
            return status;
    }
    size = size < tls->end - tls->begin ? size : tls->end - tls->begin;
    memcpy(buffer, tls->record + tls->begin, size);
    tls->begin += size;
    tls->idle = 0;
    if (tls->begin == tls->end)
        asocket__tls_release(tls);
    return (ptrdiff_t)size;
}

static ptrdiff_t asocket__tls_read(void *state, asocket *lower, void *buffer, size_t size)
{
    asocket__tls *tls = (asocket__tls *)state;
    ptrdiff_t count;

    (void)lower;
    tls->reading = true;
    count = asocket__tls_some(tls, buffer, size);
    tls->reading = false;
    return count;
}

// Our side is over: close_notify, once. Without room for it a later call tries again.
static int asocket__tls_goodbye(asocket__tls *tls)
{
    if (tls->goodbye || asocket__tls_failed(tls) || tls->handshake)
        return 0;
    return asocket__tls_alert(tls, 1, 0);
}

static ptrdiff_t asocket__tls_write(void *state, asocket *lower, const void *bytes, size_t size)
{
    asocket__tls *tls = (asocket__tls *)state;
    size_t most;

    (void)lower;
    if (!size)
        return asocket__tls_goodbye(tls);
    size = size < tls->fragment ? size : tls->fragment;
    most = size + ASOCKET__TLS_OVERHEAD;
    most = most > ASOCKET__TLS_SMALL ? most : (size_t)ASOCKET__TLS_SMALL; // an answer, too
    for (;;) {
        ptrdiff_t room;
        char *window;
        int status;

        if (asocket__tls_failed(tls))
            return asocket__tls_told(tls);
        status = asocket__tls_answer(tls);
        if (status)
            return asocket__tls_last_words(tls, status);
        if (tls->goodbye) {
            (void)asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_CLOSED, NULL);
            return asocket__tls_told(tls);
        }
        room = asocket__tls_reserve(tls, &window, most);
        if (room < 0)
            return asocket__tls_last_words(tls, (int)room);
        if (asocket__tls_failed(tls) || tls->refusing || tls->ended) // the reader's, meanwhile
            continue;
        // also when the commit cannot send it: it is in the ring
        (void)asocket_commit(tls->out, asocket__tls_seal(tls, ASOCKET__TLS_TYPE_DATA, window,
                                                         (size_t)room, bytes, &size));
        return (ptrdiff_t)size;
    }
}

static void asocket__tls_handshake_free(asocket__tls *tls)
{
    if (!tls->handshake)
        return;
    asocket__tls_validator_free(&tls->handshake->validator);
    asocket_tls_trust_release(tls->handshake->check.trust);
    asocket__tls_wipe(tls->handshake, sizeof *tls->handshake);
    ASOCKET_FREE(tls->handshake);
    tls->handshake = NULL;
}

static void asocket__tls_free(asocket__tls *tls)
{
    if (tls->busy) { // closed while it shakes hands, which frees it
        tls->orphan = true;
        return;
    }
    asocket__tls_handshake_free(tls);
    ASOCKET_FREE(tls->server_name);
    ASOCKET_FREE(tls->alpn);
    ASOCKET_FREE(tls->leaf);
    asocket__tls_sessions_release(tls->sessions);
    asocket__tls_wipe(tls, sizeof *tls);
    ASOCKET_FREE(tls);
}

static int asocket__tls_close(void *state, asocket *lower)
{
    asocket__tls *tls = (asocket__tls *)state;
    int status = asocket__tls_goodbye(tls);

    (void)lower;
    if (tls->size && !tls->busy) // plain text, in the ring of who takes TLS off
        asocket__tls_release(tls);
    asocket__tls_free(tls);
    return status;
}

static void asocket__tls_cancel(void *state, asocket *lower)
{
    (void)lower;
    asocket__tls_free((asocket__tls *)state);
}

static const asocket_transport asocket__tls_transport = {asocket__tls_read, asocket__tls_write,
                                                         asocket__tls_close, asocket__tls_cancel};

// ------------------------------------------------------------------------------------------------
// >>tls_public
// Argument checks, defaults, one call down.

int asocket_tls_error(const asocket_selector *selector, asocket_tls_failure *failure)
{
    const asocket__tls_shared *shared =
        (const asocket__tls_shared *)asocket_attached(selector, &asocket__tls_key);

    if (!selector || !failure)
        return ASOCKET_EINVAL;
    if (shared)
        *failure = shared->last;
    else
        (void)asocket__tls_fresh(failure);
    return 0;
}

static const asocket__tls *asocket__tls_of(const asocket *secure)
{
    return (const asocket__tls *)asocket_layer_state(secure, &asocket__tls_transport);
}

int asocket_tls_socket_error(const asocket *secure, asocket_tls_failure *failure)
{
    const asocket__tls *tls = asocket__tls_of(secure);

    if (!tls || !failure)
        return ASOCKET_EINVAL;
    if (tls->opens)
        (void)asocket__tls_fresh(failure);
    else
        *failure = tls->u.failure;
    return 0;
}

int asocket_tls_info(const asocket *secure, asocket_tls_details *details)
{
    const asocket__tls *tls = asocket__tls_of(secure);

    if (!tls || !details)
        return ASOCKET_EINVAL;
    memset(details, 0, sizeof *details);
    details->version = "TLS 1.2";
    details->cipher_suite = tls->suite;
    details->suite_name = asocket__tls_suite_name(details->cipher_suite);
    details->group = tls->resumed ? "" : asocket__tls_group_name(tls->curve);
    details->alpn = tls->alpn ? tls->alpn : "";
    details->server_name = tls->named ? tls->server_name : "";
    details->certificate.der = tls->leaf;
    details->certificate.size = tls->leaf_size;
    memcpy(details->pin, tls->pin, sizeof details->pin);
    details->verified = tls->verified;
    details->resumed = tls->resumed;
    return 0;
}

static char *asocket__tls_copy(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = (char *)ASOCKET_MALLOC(size);

    if (copy)
        memcpy(copy, text, size);
    return copy;
}

// The name to verify: the option, or what asocket_connect was given. Without the dot of the root.
static int asocket__tls_find_name(asocket__tls *tls, asocket *socket,
                                  const asocket_tls_options *options)
{
    const char *name = options->server_name ? options->server_name : asocket_remote_host(socket);
    asocket_address address;
    char text[64];
    size_t length;

    if (!name && !asocket_remote_address(socket, &address) && address.ip.family) {
        address.ip.zone[0] = 0;
        if (asocket_ip_format(&address.ip, text, sizeof text) > 0)
            name = text;
    }
    if (!name || !*name)
        return options->pin_only > 0 || tls->insecure
                   ? 0
                   : asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_NO_NAME, NULL);
    length = strlen(name);
    if (length > 254)
        return asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_ARGUMENT,
                                 "server_name: longer than a name can be (RFC 1035)");
    tls->server_name = asocket__tls_copy(name);
    if (!tls->server_name)
        return asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_NO_MEMORY, NULL);
    if (length > 1 && name[length - 1] == '.')
        tls->server_name[length - 1] = 0;
    return 0;
}

static int asocket__tls_check_options(asocket__tls *tls, const asocket_tls_options *options)
{
    const char *wrong = NULL;
    size_t i;

    for (i = 0; i < options->alpn_count && options->alpn_count <= 32; i++)
        if (!options->alpn || !options->alpn[i] || !*options->alpn[i] ||
            strlen(options->alpn[i]) > 255)
            wrong = "alpn: a protocol's name has 1 to 255 bytes (RFC 7301, 3.1)";
    if (options->alpn_count > 32)
        wrong = "alpn: more than 32 protocols";
    if (options->alpn_required > 0 && !options->alpn_count)
        wrong = "alpn_required, but no alpn";
    if (options->pin_count && !options->pins)
        wrong = "pin_count, but no pins";
    if (options->pin_only > 0 && !options->pin_count)
        wrong = "pin_only, but no pins";
    if (options->record_size && (options->record_size < 512 || options->record_size > 16384))
        wrong = "record_size: from 512 to 16,384";
    if (options->handshake_timeout < ASOCKET_FOREVER)
        wrong = "handshake_timeout is negative";
    if (options->chain_certificates > ASOCKET__TLS_CHAIN_MOST)
        wrong = "chain_certificates: more than 1,000";
    if (options->sni && strlen(options->sni) > 255)
        wrong = "sni: longer than 255 bytes";
    if (options->clock != ASOCKET_TLS_CLOCK_REQUIRED &&
        options->clock != ASOCKET_TLS_CLOCK_FROM_CHAIN)
        wrong = "clock: no such value";
    return wrong ? asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_ARGUMENT, "%s", wrong)
                 : 0;
}

// The options with their defaults become what the validator checks.
static int asocket__tls_find_trust(asocket__tls *tls, const asocket_tls_options *options)
{
    asocket__tls_check *check = &tls->handshake->check;
    bool needed = options->pin_only <= 0 && !tls->insecure;

    tls->named = needed;
    check->server_name = tls->server_name;
    check->pins = options->pins;
    check->pin_count = options->pin_count;
    check->chain_certificates = options->chain_certificates
                                    ? options->chain_certificates
                                    : (size_t)ASOCKET__TLS_CHAIN_CERTIFICATES;
    check->chain_bytes =
        options->chain_bytes ? options->chain_bytes : (size_t)ASOCKET__TLS_CHAIN_BYTES;
    check->verify = options->verify;
    check->now = options->now;
    check->user = options->user;
    check->clock = options->clock;
    check->pin_only = options->pin_only > 0;
    check->insecure = tls->insecure;
    if (needed && !options->trust)
        check->trust = asocket__tls_system_trust(tls->selector, asocket__tls_failing(tls));
    else if (needed)
        check->trust = options->trust;
    asocket_tls_trust_retain(check->trust); // until the handshake is over
    if (needed && !check->trust)
        return asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_NO_ROOTS, NULL);
    if (needed && !asocket_tls_trust_count(check->trust))
        return asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_NO_ROOTS,
                                 "trust: there are no certificates in it");
    return 0;
}

// Everything that can be wrong before a byte is sent.
static int asocket__tls_prepare(asocket__tls *tls, asocket *socket,
                                const asocket_tls_options *options)
{
    asocket_address address;
    int status = asocket__tls_check_options(tls, options);

    if (status)
        return status;
    tls->handshake = (asocket__tls_handshake *)ASOCKET_MALLOC(sizeof *tls->handshake);
    if (!tls->handshake)
        return asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_NO_MEMORY, NULL);
    memset(tls->handshake, 0, sizeof *tls->handshake);
    tls->allow_truncation = options->allow_truncation > 0;
    tls->identified = options->identity != NULL;
    tls->verified = !tls->insecure;
    status = asocket__tls_find_name(tls, socket, options);
    if (!status)
        status = asocket__tls_find_trust(tls, options);
    if (status)
        return status;
    if (options->sessions) {
        if (asocket_remote_address(socket, &address))
            address.port = 0;
        asocket__tls_session_key(&tls->handshake->check, options, address.port, tls->session_key);
        tls->sessions = options->sessions;
        tls->sessions->references++;
    }
    return asocket__tls_engine_start(tls, options);
}

// The channels below become ours. What was read from them in plain text may not have come from
// the server (RFC 3207, 6; CVE-2011-0411).
static int asocket__tls_take_over(asocket__tls *tls, asocket *lower)
{
    int status = 0;

    tls->in = asocket_open_read_channel(lower);
    tls->out = asocket_open_write_channel(lower, ASOCKET_AUTO_FLUSH);
    if (!tls->in || !tls->out)
        status = asocket_error(tls->selector);
    else if (asocket_available(tls->in) > 0)
        status = asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_PLAINTEXT, NULL);
    if (!status)
        status = asocket_flush(tls->out);
    if (!status)
        status = asocket_set_capacity(lower, ASOCKET__TLS_RECORD + ASOCKET__TLS_OVERHEAD);
    if (!status)
        return 0;
    if (!asocket__tls_failed(tls) && status == ASOCKET_EBUSY)
        (void)asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_ARGUMENT,
                                "the socket's channels are in use");
    return asocket__tls_failed(tls) ? asocket__tls_failed(tls) : asocket__tls_cut(tls, status);
}

// What was agreed stays; what only the handshake needed goes.
static int asocket__tls_complete(asocket__tls *tls, const asocket_tls_options *options)
{
    asocket__tls_handshake *handshake = tls->handshake;
    br_ssl_engine_context *engine = &handshake->client.eng;
    const char *alpn = br_ssl_engine_get_selected_protocol(engine);
    asocket__tls_session session;

    if (options->alpn_required > 0 && !alpn)
        return asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_NO_PROTOCOL,
                                 "the server selected no application protocol (ALPN)");
    if (alpn) {
        tls->alpn = asocket__tls_copy(alpn);
        if (!tls->alpn)
            return asocket__tls_fail(asocket__tls_failing(tls), ASOCKET_TLS_NO_MEMORY, NULL);
    }
    tls->resumed = handshake->offering && memcmp(handshake->offered, engine->session.master_secret,
                                                 sizeof handshake->offered) == 0;
    if (!tls->resumed) {
        memcpy(tls->pin, handshake->validator.pin, sizeof tls->pin);
        tls->leaf = asocket__tls_validator_leaf(&handshake->validator, &tls->leaf_size);
    }
    if (tls->sessions && !tls->resumed && engine->session.session_id_len) {
        memset(&session, 0, sizeof session);
        session.parameters = engine->session;
        memcpy(session.pin, tls->pin, sizeof session.pin);
        session.trust = handshake->check.trust;
        session.identity = options->identity;
        asocket__tls_session_keep(tls->sessions, tls->session_key, &session);
        asocket__tls_wipe(&session, sizeof session);
    }
    tls->suite = engine->session.cipher_suite;
    tls->curve = engine->ecdhe_curve;
    tls->fragment = engine->max_frag_len;
    tls->level = engine->alert;
    asocket__tls_keep_ciphers(tls);
    asocket__tls_handshake_free(tls);
    return 0;
}

static int asocket__tls_agree(asocket__tls *tls, asocket *lower, const asocket_tls_options *options)
{
    int64_t limit =
        options->handshake_timeout ? options->handshake_timeout : (int64_t)ASOCKET__TLS_TIMEOUT;
    int64_t former = 0;
    int status;

    if (limit != ASOCKET_FOREVER)
        former = asocket_set_deadline(tls->selector, limit);
    status = asocket__tls_take_over(tls, lower);
    if (!status)
        status = asocket__tls_shake(tls);
    if (!status)
        status = asocket__tls_complete(tls, options);
    if (limit != ASOCKET_FOREVER)
        asocket_restore_deadline(tls->selector, former);
    if (status && tls->sessions)
        asocket__tls_session_forget(tls->sessions, tls->session_key);
    return status;
}

static asocket *asocket__tls_upgrade(asocket *socket, const asocket_tls_options *options,
                                     bool insecure)
{
    asocket_selector *selector = asocket_selector_of(socket);
    asocket__tls *tls = selector ? (asocket__tls *)ASOCKET_MALLOC(sizeof *tls) : NULL;
    asocket_tls_options defaults;
    asocket *secure;
    int status;

    if (!tls) {
        if (selector)
            (void)asocket_fail(selector, ASOCKET_ENOMEM, "tls", NULL, NULL);
        (void)asocket_close(socket);
        return NULL;
    }
    memset(tls, 0, sizeof *tls);
    memset(&defaults, 0, sizeof defaults);
    tls->selector = selector;
    tls->insecure = insecure;
    (void)asocket__tls_fresh(&tls->u.failure);
    options = options ? options : &defaults;
    status = asocket__tls_prepare(tls, socket, options);
    if (status)
        (void)asocket__tls_told(tls);
    secure = status ? NULL : asocket_layer(socket, &asocket__tls_transport, tls);
    if (!secure) {
        asocket__tls_free(tls);
        (void)asocket_close(socket);
        return NULL;
    }
    tls->busy = true;
    status = asocket__tls_agree(tls, socket, options);
    tls->busy = false;
    if (status)
        (void)asocket__tls_told(tls);
    if (tls->orphan) { // somebody closed the socket meanwhile
        asocket__tls_free(tls);
        return NULL;
    }
    if (!status)
        return secure;
    (void)asocket_close(secure);
    return NULL;
}

asocket *asocket_tls(asocket *socket, const asocket_tls_options *options)
{
    return asocket__tls_upgrade(socket, options, false);
}

#ifdef ASOCKET_TLS_ENABLE_INSECURE
asocket *asocket_tls_insecure(asocket *socket, const asocket_tls_options *options)
{
    return asocket__tls_upgrade(socket, options, true);
}
#endif

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
   DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
   OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

   ALTERNATIVE B - Public Domain (www.unlicense.org)
   This is free and unencumbered software released into the public domain.
   Anyone is free to copy, modify, publish, use, compile, sell, or distribute this software, either
   in source code form or as a compiled binary, for any purpose, commercial or non-commercial, and
   by any means.
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
