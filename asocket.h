/* asocket.h - sockets for C the way one thinks about them. Public domain or MIT, see the end.

   Linear network code: one line after another, one coroutine per connection; no callbacks, no
   threads needed, tens of thousands of connections per core. One file, C99 or C++11, no
   dependency. Linux (epoll or poll), macOS and BSD (kqueue), Windows (completion ports; see
   LIMITS); TCP and UDP over IPv4 and IPv6, Unix sockets, host names.

   Write   #define ASOCKET_IMPLEMENTATION
           #include "asocket.h"
   in one C or C++ file of the program, and #include "asocket.h" in the others. asocket_tls.h beside
   it makes a connected socket secure.

CONTENTS
   this manual      a first program, concepts, promises, limits, switches
   declarations     results, addresses, selector, coroutines, building sockets, sockets, channels,
                    datagrams, names, moving sockets, layers
   implementation   in rooms, listed where it begins
   licence

A FIRST PROGRAM
   It asks for names and greets; each client has a coroutine of its own. Talk to it with telnet or
   nc, as many at a time as you like.

       #define ASOCKET_IMPLEMENTATION
       #include "asocket.h"
       #include <stdio.h>

       static void greet(asocket_selector *selector, void *argument)
       {
           asocket *client = (asocket *)argument;
           asocket_read_channel *in = asocket_open_read_channel(client);
           asocket_write_channel *out = asocket_open_write_channel(client, ASOCKET_AUTO_FLUSH);
           char name[256];

           (void)selector;
           asocket_write_string(out, "Please enter your name\n");
           while (asocket_read_line(in, name, sizeof name) >= 0)
               asocket_printf(out, "Hello, %s!\n", name);
       }

       int main(void)
       {
           asocket_selector *selector = asocket_selector_create(NULL);
           asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 9002);

           if (server)
               asocket_serve(server, greet);
           fprintf(stderr, "%s\n", asocket_error_message(selector));
           asocket_selector_destroy(selector);
           return 1;
       }

   A client needs no coroutine at all:

       asocket *socket = asocket_connect(asocket_tcp(selector), "127.0.0.1", 9002);
       asocket_write_channel *out = asocket_open_write_channel(socket, ASOCKET_AUTO_FLUSH);
       asocket_read_channel *in = asocket_open_read_channel(socket);

   And options are fields of the builder:

       asocket_builder tcp = asocket_tcp(selector);
       tcp.reuse_port = true;
       tcp.connect_timeout = 3000;

   UDP and Unix sockets are built the same way:

       asocket_bind(asocket_udp(selector), NULL, 5353);
       asocket_connect(asocket_unix(selector), "/run/service.sock", 0);

CONCEPTS
   Selector    Waits for everything and owns everything; one thread's. A program has one, or one
               for each thread. From other threads only asocket_post and asocket_stop are allowed,
               and it may be the target of asocket_hand_over and asocket_share; a thread may take a
               selector over while nobody runs its loop. A group of workers is a selector for each
               thread, with one listener shared, one each with reuse_port, or one thread that
               accepts and hands over. Who serves what others send waits in
               asocket_sleep(selector, ASOCKET_FOREVER): asocket_run ends without coroutines.
   Coroutine   A function with a stack of its own (64 KiB of address space, one page of memory
               until it needs more; large arrays belong on the heap, or see stack_size in the
               selector's options) that runs until it waits. Only one runs at a time and none is
               interrupted: but for calls that may wait, which may also give way (P11), nothing
               changes behind your back, no locks. It is a child of the coroutine that launched it;
               a cancel reaches children. Who lets them use its own variables returns after
               asocket_join_all, which waits for them also when all are cancelled.
   Waiting     Calls that may wait park the coroutine and let others run. Outside of coroutines
               they run the selector's loop on the caller's own stack until the wait is over: a
               main function needs no loop of its own.
   Results     Calls that create return a pointer or NULL; calls that act return 0 or more, or a
               status below -1000. asocket_error_message says what was tried, on what address, and
               why it failed. errno is not used: it does not survive a switch of coroutines. NULL
               for a socket or channel is allowed: the call answers ASOCKET_EINVAL, and the message
               stays that of the call that gave NULL. So a program may check at the end.
   Channel     The bytes of a socket, one for reading, one for writing, each opened once. A channel
               buffers only while there is something to keep. Large reads and writes bypass it.
   Flush       What is written waits in the channel until asocket_flush, or, with
               ASOCKET_AUTO_FLUSH, until the coroutine next waits or ends: ten small writes are one
               packet. Outside of coroutines an auto-flush channel sends with each write: for
               several in a row, open without it and call asocket_flush.
   Time        Time-outs are milliseconds: of the socket for each wait on it, or as a deadline of
               the coroutine over all its waits. A peer that sends a byte now and then never meets
               the former: give a request a deadline, from when asocket_peek(in, &bytes, 1) has
               seen its first byte. It ends waits only: calls that need not wait go on. A coroutine
               begins without one, whatever its launcher's is.
   Stopping    asocket_stop(selector), from anywhere, ends what main waits in: serve, run, accept,
               with ASOCKET_ECANCELED. asocket_selector_destroy then cancels all coroutines, which
               may still say goodbye, and lets closed sockets flush, which may take close_timeout.
               Of several workers each thread best destroys its own selector, so that these times
               do not add up, behind a mutex held until asocket_stop has returned for all. Where
               they post or hand over to one another, whoever stopped them joins the threads and
               destroys one after another: asocket_hand_over and asocket_share are refused then.
   Ownership   What you bind, accept, connect or adopt you close, asocket_serve and
               asocket_launch_socket excepted: they close the socket when its function returns. A
               handle may still be asked and closed after that, see P8. The selector closes what was
               forgotten when it is destroyed.

PROMISES
   What the library stands for; the tests cite these numbers.

 *  P1  End of stream is a result of its own, never an error and never an empty line. A last line
        without a terminator is delivered, then the end.
 *  P2  What was written before asocket_close arrives. Close returns at once; the selector goes on
        flushing, ends our side, reads what the peer still sends until it ends its own, and closes
        the descriptor, within close_timeout (selector options). asocket_abort is the opposite.
 *  P3  Half-close works: after asocket_finish the other direction goes on. Closing one side never
        loses the bytes of the other.
 *  P4  Auto-flush costs no extra packets in a coroutine. Without it, bytes leave on asocket_flush,
        which returns when the kernel has them all, or says why not.
 *  P5  Memory is bounded: one ring per direction, attached while there are bytes to keep. A writer
        waits when its ring is full. An idle connection owns no buffer.
 *  P6  No call can hurt the process: no SIGPIPE, no signal handlers, no exit, no changed global, no
        thread but those that look names up, every descriptor close-on-exec.
 *  P7  Every wait can end: by a time-out of the socket, a deadline of the coroutine, a cancel, a
        close by another coroutine. After any of them all state is intact: bytes half read stay
        readable, the next call works. A cancel stays until the coroutine ends, but calls that need
        not park still succeed, so that clean-up can say goodbye.
 *  P8  A closed handle answers ASOCKET_ECLOSED, also one that another coroutine closed while this
        one was waiting in it; closing twice is harmless. A socket's memory is not used again while
        a coroutine is inside a call on it, nor while the coroutine launched with it lives, nor
        before 1,024 later closes.
 *  P9  asocket_accept fails only when the server is closed, the caller cancelled, stopped or timed
        out. Broken connections are skipped; at the descriptor limit it waits without spinning and
        without disturbing anyone else.
 *  P10 One bad descriptor hurts one socket. Nothing a peer sends can stop the loop.
 *  P11 Fairness: a coroutine whose calls always succeed at once yields after 64 system calls,
        each 16 KiB or 8 datagrams moved counting as one more. No wake-ups when idle. Timers never
        fire early, are not rounded to milliseconds where the system can do better, and run on the
        monotonic clock.
 *  P12 Two coroutines may use one socket, one reading, one writing. A second reader or writer gets
        ASOCKET_EBUSY.
 *  P13 The same on every backend: same results, same statuses, same order of events. Where a system
        cannot, the call says ASOCKET_ENOTSUP.
 *  P14 A stack overflow stops in a guard of 64 KiB, also with 100,000 coroutines; only a function
        whose own variables are larger can leap over it (gcc -fstack-clash-protection). Stacks for
        which the system has no guard left are counted (asocket_stats).

LIMITS
   - A coroutine must not be left by longjmp, nor by a C++ exception; exceptions thrown and caught
     inside of one are fine, also across waits, if the implementation is compiled as C++.
   - The switch keeps no floating-point control words: who changes the rounding mode restores it
     before the next wait.
   - A coroutine that computes for long keeps all others waiting: asocket_yield, or a thread and
     asocket_post.
   - Guard pages: with Linux 6.13 and later as many as there are stacks. Before, each costs two
     memory mappings of the 65,530 that a process may have: the first 16,000 stacks get one.
   - Time-outs are exact to the system's timers (50 us on Linux); before Linux 5.11 they are rounded
     up to milliseconds.
   - With epoll, a descriptor that is duplicated or inherited by a fork stays registered after the
     library closed it; such late events are ignored.
   - On macOS and the BSDs, where it has been compiled and run over a shim only, there are no
     abstract names (ASOCKET_ENOTSUP), ttl and type_of_service of a dual-stack socket are for its
     IPv6 peers, each datagram is a system call, and files go through the channel. reuse_port
     spreads connections on FreeBSD and DragonFly only. OpenBSD has no dual-stack sockets: without a
     host a listener takes IPv4.
   - On Windows, where it has been run under Wine only, and with Microsoft's compiler not at all, a
     socket belongs to a completion port from its first wait or connect on: asocket_hand_over then
     answers ASOCKET_ENOTSUP (a connection just accepted moves). What no port reports is looked at
     1 to 16 ms apart while somebody waits for it: a shared listener at its second selector, Unix
     sockets, handles of others, which must be sockets. A write that the system has no room for
     takes one more block of the channel's capacity. Time-outs are rounded up to milliseconds. A
     listener's port is exclusive (SO_EXCLUSIVEADDRUSE) unless reuse_address is set; reuse_port
     and credentials are ASOCKET_ENOTSUP, refusals of datagrams are not reported, each datagram is
     a system call, and files go through the channel. A thread that runs coroutines on fibers
     (ASOCKET_FIBERS) becomes one.
   - A socket goes through a Unix socket of Windows as a block of bytes that names a duplicate in
     the peer's process (WSADuplicateSocketW): only to be received from whom is trusted. One that
     the peer does not receive stays open there until that process ends, one that has waited at a
     completion port is ASOCKET_ENOTSUP, and a send that ends with a part of the block gone ends
     the stream. Unix sockets of Windows were tried over a stand-in only, as Wine has none.
   - With kqueue, what comes behind urgent data (MSG_OOB) may wait until more comes.
   - Names are looked up by getaddrinfo on up to four threads, begun with the first name; addresses
     and "localhost" need none. A lookup cannot be interrupted: one that was given up ends by
     itself, also after the selector; up to twelve more threads then do the work of those that it
     holds.
   - After a fork, calls of the child that would wait answer ASOCKET_EINVAL;
     asocket_selector_destroy there closes descriptors and frees memory, and disturbs nothing of the
     parent's (Linux 4.14). Where the loop lies beneath its caller, as in a coroutine, it closes
     descriptors only.
   - A byte channel on a datagram socket cuts datagrams at its capacity; asocket_read answers 0 for
     an empty one.

SWITCHES
   To be defined before the implementation is included; all are off.
     ASOCKET_STATIC           all functions static: for a program in one file
     ASOCKET_NO_COROUTINES    no launch, no serve; everything else works from the loop:
                              asocket_on_ready, ASOCKET_NO_WAIT, or waits that run the loop
     ASOCKET_NO_THREADS       no <pthread.h>: names are looked up in place, which blocks the loop;
                              the selector does not check which thread calls
     ASOCKET_EMBEDDED         for small devices, over lwIP for example: sockets, poll, a clock and
                              memory are all that is needed; no coroutines, threads, names, files,
                              Unix sockets or interfaces by name (ASOCKET_ENOTSUP), small buffers
     ASOCKET_EMBEDDED_HEADER  the header that brings sockets and poll there: "lwip/sockets.h"
     ASOCKET_NO_EPOLL         poll(2) only, on Linux
     ASOCKET_KQUEUE           kqueue(2) too where a library brings it, as libkqueue does on Linux
     ASOCKET_UCONTEXT         switch stacks by ucontext(3), 50 times slower, as where there is no
                              assembly for the processor: x86-64, AArch64, i386, RISC-V 64, s390x
                              and ARM (not Thumb-1) have it
     ASOCKET_FIBERS           Windows: coroutines are fibers, as they always are with Microsoft's
                              compiler and on ARM; mingw-w64 has assembly for x86 and x64
     ASOCKET_VALGRIND         tell Valgrind about stacks (needs <valgrind/valgrind.h>)
     ASOCKET_ASSERT(x)        instead of assert(x). Misuse that no status can answer, a handle that
                              was closed long ago for example, is asserted; with this, DEBUG or
                              _DEBUG defined, so is a call from another thread, which otherwise
                              answers ASOCKET_EINVAL and says why
     ASOCKET_MALLOC(size), ASOCKET_REALLOC(block, size), ASOCKET_FREE(block)
                              instead of malloc's family; or at run time, selector options
     ASOCKET_SYS(name)        put before every function of the system that the library calls
     ASOCKET_WINDOWS(name)    the same for those of Windows, below ASOCKET_SYS
   AddressSanitizer, ThreadSanitizer (clang) and C++ exceptions are told about coroutines by
   themselves. Link with -pthread where the C library asks for it (glibc before 2.34), on Windows
   with -lws2_32 (Microsoft's compiler does so by itself).
*/
#ifndef ASOCKET_H
#define ASOCKET_H

#if defined(ASOCKET_EMBEDDED) && !defined(ASOCKET_NO_COROUTINES)
#define ASOCKET_NO_COROUTINES
#endif

#if defined(ASOCKET_IMPLEMENTATION) && defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE // accept4, ppoll
#endif

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef ASOCKET_STATIC
#if defined(__GNUC__)
#define ASOCKET_API static __attribute__((unused))
#else
#define ASOCKET_API static
#endif
#else
#define ASOCKET_API extern
#endif

#if defined(__MINGW32__) && defined(__GNUC__) && defined(__USE_MINGW_ANSI_STDIO) && \
    __USE_MINGW_ANSI_STDIO + 0
#define ASOCKET_PRINTF(text, first) __attribute__((format(gnu_printf, text, first)))
#elif defined(__GNUC__)
#define ASOCKET_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define ASOCKET_PRINTF(text, first)
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define ASOCKET_VERSION 100 // 10,000 x major + 100 x minor + patch

typedef struct asocket_selector asocket_selector;           // owned by one thread
typedef struct asocket asocket;                             // any socket
typedef struct asocket_read_channel asocket_read_channel;   // as long as its socket or pipe
typedef struct asocket_write_channel asocket_write_channel; // likewise
typedef void asocket_function(asocket_selector *selector, void *argument);
typedef uint64_t asocket_job; // a coroutine; 0: none; stale values are harmless
#ifdef _WIN32
typedef uintptr_t asocket_handle; // SOCKET
#else
typedef int asocket_handle; // file descriptor
#endif

// --- results -------------------------------------------------------------------------------------

// Every failure is one of these values, all below -1000. The sentence is asocket_strerror's.
// From errno: EPIPE and ECONNABORTED are ECONNRESET; ENETDOWN, EHOSTUNREACH and ENETUNREACH are
// EUNREACHABLE; ENOBUFS is ENOMEM; ENFILE is EMFILE; a missing Unix path is ENOTFOUND. Beside what
// its comment lists, a call that asks the system for something may answer ENOMEM, EMFILE, EACCES
// (a policy or a firewall forbids it) and EIO (an error without a name here).
#define ASOCKET_STATUSES(X)                                              \
    X(ASOCKET_EOF, -1001, "end of stream")                               \
    X(ASOCKET_EAGAIN, -1002, "it would have to wait")                    \
    X(ASOCKET_ETIMEDOUT, -1003, "timed out")                             \
    X(ASOCKET_ECANCELED, -1004, "cancelled")                             \
    X(ASOCKET_ECLOSED, -1005, "closed")                                  \
    X(ASOCKET_ECONNREFUSED, -1006, "connection refused")                 \
    X(ASOCKET_ECONNRESET, -1007, "connection reset by the peer")         \
    X(ASOCKET_EADDRINUSE, -1008, "address already in use")               \
    X(ASOCKET_EADDRNOTAVAIL, -1009, "address not available")             \
    X(ASOCKET_EUNREACHABLE, -1010, "network or host unreachable")        \
    X(ASOCKET_ENOTFOUND, -1011, "not found")                             \
    X(ASOCKET_EACCES, -1012, "permission denied")                        \
    X(ASOCKET_EINVAL, -1013, "invalid argument or wrong kind of socket") \
    X(ASOCKET_EMSGSIZE, -1014, "too long")                               \
    X(ASOCKET_EBUSY, -1015, "in use already")                            \
    X(ASOCKET_ENOTSUP, -1016, "not supported here")                      \
    X(ASOCKET_EMFILE, -1017, "too many open descriptors")                \
    X(ASOCKET_ENOMEM, -1018, "out of memory")                            \
    X(ASOCKET_EIO, -1019, "system error")                                \
    X(ASOCKET_ETLS, -1020, "TLS failed")

enum {
    ASOCKET_OK = 0,
#define ASOCKET__VALUE(name, value, text) name = value,
    ASOCKET_STATUSES(ASOCKET__VALUE)
#undef ASOCKET__VALUE
};

#define ASOCKET_FOREVER (-1)      // a time-out that never ends, a limit that means "all"
#define ASOCKET_NO_WAIT (-2)      // a time-out: never wait, answer ASOCKET_EAGAIN
#define ASOCKET_NEVER   INT64_MAX // a deadline that never comes

// The sentence for a status; "no error" from 0 up. Static text, any thread.
ASOCKET_API const char *asocket_strerror(int status);

// The calling coroutine's last failure (outside of coroutines: that of the code outside). Like
// errno, a success leaves it as it is, but for a datagram that was cut; 0 before the first one.
// ASOCKET_EINVAL in a thread that is not the selector's, while that one runs the loop, as every
// call there but asocket_post and _stop.
ASOCKET_API int asocket_error(const asocket_selector *selector);

// What was tried, on what address (of several, the last), and why it failed: "bind 127.0.0.1:80:
// permission denied", "connect [::1]:80 of localhost: connection refused".
// NULL is allowed after asocket_selector_create failed. Valid until the next call of this function
// on the selector.
ASOCKET_API const char *asocket_error_message(const asocket_selector *selector);

// --- addresses: pure functions, any thread -------------------------------------------------------

typedef struct asocket_ip {
    uint8_t family;    // 4, 6; 0: none
    uint8_t bytes[16]; // network order; IPv4 uses the first four
    char zone[16];     // IPv6: interface name or index, or empty (RFC 4007)
} asocket_ip;

typedef struct asocket_address {
    asocket_ip ip;
    uint16_t port;        // host order
    uint16_t path_length; // Unix sockets: bytes of path; 0: an IP address
    char path[108];       // begins with a NUL byte: abstract (unix(7))
} asocket_address;

// From four octets; from eight groups.
ASOCKET_API asocket_ip asocket_ipv4(uint8_t a, uint8_t b, uint8_t c, uint8_t d);
ASOCKET_API asocket_ip asocket_ipv6(uint16_t a, uint16_t b, uint16_t c, uint16_t d, uint16_t e,
                                    uint16_t f, uint16_t g, uint16_t h);

// From 4 or 16 bytes in network order; ASOCKET_EINVAL for any other size.
ASOCKET_API int asocket_ip_from_bytes(asocket_ip *ip, const void *bytes, size_t size);

// Reads dotted decimal without leading zeros, or RFC 4291 text with an optional "%zone".
// ASOCKET_EINVAL for anything else, *ip is then empty. No name is looked up.
ASOCKET_API int asocket_ip_parse(asocket_ip *ip, const char *text);

// Writes RFC 5952 text: its length, or ASOCKET_EMSGSIZE when it does not fit (46 + 16 bytes always
// do). What is written parses back to the same address.
ASOCKET_API int asocket_ip_format(const asocket_ip *ip, char *buffer, size_t size);

// The same family, bytes and zone.
ASOCKET_API bool asocket_ip_equal(const asocket_ip *a, const asocket_ip *b);

// What an address is, by its bits alone. NULL and empty ones are nothing.
ASOCKET_API bool asocket_ip_is_ipv4(const asocket_ip *ip);
ASOCKET_API bool asocket_ip_is_loopback(const asocket_ip *ip);        // 127/8, ::1
ASOCKET_API bool asocket_ip_is_multicast(const asocket_ip *ip);       // 224/4, ff00::/8
ASOCKET_API bool asocket_ip_is_private(const asocket_ip *ip);         // RFC 1918, fc00::/7
ASOCKET_API bool asocket_ip_is_link_local(const asocket_ip *ip);      // 169.254/16, fe80::/10
ASOCKET_API bool asocket_ip_is_unspecified(const asocket_ip *ip);     // 0.0.0.0, ::
ASOCKET_API bool asocket_ip_is_documentation(const asocket_ip *ip);   // RFC 5737, 3849, 9637
ASOCKET_API bool asocket_ip_is_broadcast(const asocket_ip *ip);       // 255.255.255.255
ASOCKET_API bool asocket_ip_is_ipv4_mapped(const asocket_ip *ip);     // ::ffff:0:0/96
ASOCKET_API bool asocket_ip_is_ipv4_compatible(const asocket_ip *ip); // ::/96, not :: nor ::1

// An IPv4 address inside IPv6: ::ffff:a.b.c.d, ::a.b.c.d. IPv6 addresses come back unchanged.
ASOCKET_API asocket_ip asocket_ip_to_mapped(const asocket_ip *ip);
ASOCKET_API asocket_ip asocket_ip_to_compatible(const asocket_ip *ip);

ASOCKET_API asocket_address asocket_address_of(asocket_ip ip, uint16_t port);

// Reads "1.2.3.4:80", "[::1]:80", "unix:/path", "unix:@abstract"; ASOCKET_EINVAL otherwise.
ASOCKET_API int asocket_address_parse(asocket_address *address, const char *text);

// Writes the same: the length, or ASOCKET_EMSGSIZE (128 bytes always do).
ASOCKET_API int asocket_address_format(const asocket_address *address, char *buffer, size_t size);

ASOCKET_API bool asocket_address_equal(const asocket_address *a, const asocket_address *b);

// To and from a struct sockaddr_in, _in6 or _un. To: the length, ASOCKET_EMSGSIZE if it exceeds
// `capacity`, ASOCKET_EADDRNOTAVAIL for a zone that is no interface here. From: ASOCKET_EINVAL for
// other families.
ASOCKET_API int asocket_address_to_native(const asocket_address *address, void *native,
                                          size_t capacity);
ASOCKET_API int asocket_address_from_native(asocket_address *address, const void *native,
                                            size_t size);

// --- selector ------------------------------------------------------------------------------------

enum {                       // all exist everywhere; one that is not compiled in: ASOCKET_ENOTSUP
    ASOCKET_BACKEND_DEFAULT, // the best one here
    ASOCKET_BACKEND_EPOLL,
    ASOCKET_BACKEND_KQUEUE,
    ASOCKET_BACKEND_POLL,
    ASOCKET_BACKEND_IOCP,
    ASOCKET_BACKEND_URING
};

typedef struct asocket_allocator {
    // realloc with sizes: block NULL allocates, new_size 0 frees. Called by the selector's thread,
    // and by threads that call asocket_post. NULL: malloc's family.
    void *(*resize)(void *user, void *block, size_t old_size, size_t new_size);
    void *user;
} asocket_allocator;

typedef struct asocket_selector_options { // all zero: the defaults
    int backend;
    size_t stack_size;       // bytes per coroutine, of address space until used; 0: 64 KiB; at
                             // least 16 KiB, whatever it says. A guard of 64 KiB lies before it
    size_t channel_capacity; // bytes per direction; 0: 16 KiB; most 1 GiB
    int64_t close_timeout;   // ms a closed socket may linger; 0: 10,000; most a day
    asocket_allocator allocator;
} asocket_selector_options;

typedef struct asocket_statistics {
    uint64_t turns;            // of the loop
    uint64_t system_calls;     // made on sockets and to wait
    uint64_t wakeups;          // waits that something ended
    uint64_t coroutines;       // alive
    uint64_t sockets;          // with an open descriptor, those that linger included
    uint64_t buffers;          // attached to channels
    uint64_t stacks;           // in use or pooled
    uint64_t unguarded_stacks; // of these, without a guard page
    uint64_t accept_pauses;    // times that accept had to wait for a descriptor or memory
} asocket_statistics;

// Makes a selector; it belongs to the calling thread, or to the one that then waits in it. NULL
// options: the defaults. NULL, or why not:
// ASOCKET_ENOTSUP the backend, or no monotonic clock; ASOCKET_EINVAL an option, ASOCKET_ENOMEM,
// ASOCKET_EMFILE.
ASOCKET_API asocket_selector *asocket_selector_create(const asocket_selector_options *options);
ASOCKET_API int asocket_selector_open(const asocket_selector_options *options,
                                      asocket_selector **selector);

// Cancels all coroutines and runs them to their end, lets closed sockets flush, closes the rest;
// all of it within close_timeout. A peer that has everything but does not end its side is awaited
// for a second of that. Waits.
// Not inside a coroutine. NULL is harmless. Handles of the selector are invalid afterwards.
ASOCKET_API void asocket_selector_destroy(asocket_selector *selector);

// Runs the loop until no coroutine is left: 0, at once if there is none (posts that may come and
// asocket_on_ready do not keep it: asocket_sleep(selector, ASOCKET_FOREVER) waits for those until
// asocket_stop). ASOCKET_ECANCELED after asocket_stop, also when none is left. Waits. Not inside a
// coroutine.
ASOCKET_API int asocket_run(asocket_selector *selector);

// One turn of the loop: waits up to `timeout` ms for something to do and does it: how many
// coroutines were resumed and functions called. 0: does not wait; ASOCKET_FOREVER.
// ASOCKET_ECANCELED after asocket_stop.
ASOCKET_API int asocket_poll(asocket_selector *selector, int64_t timeout);

// How long a poll may be put off, in ms rounded up: 0 something is ready, ASOCKET_FOREVER only
// descriptors count. For loops of others, together with the handle.
ASOCKET_API int64_t asocket_next_timeout(const asocket_selector *selector);

// Becomes readable when a poll would find something; for loops of others: wait for it, no longer
// than asocket_next_timeout, then asocket_poll(selector, 0). -1 where the backend has none (poll,
// IOCP): call asocket_poll every few ms there, or wait for the others by asocket_wait_handle.
ASOCKET_API asocket_handle asocket_selector_handle(const asocket_selector *selector);

// Ends the current or the next run, poll or wait outside a coroutine with ASOCKET_ECANCELED; stays
// until one of them notices. Coroutines are untouched. Any thread, signal handlers; must have
// returned before the selector is destroyed: a thread that another one stops waits for that first,
// or leaves the selector to the other one.
ASOCKET_API void asocket_stop(asocket_selector *selector);

// Launches a coroutine there; without coroutines, calls the function from the loop. Any thread, no
// signal handler; in the order of each caller; each exactly once, also while the selector is
// destroyed (cancelled then). Must not race with the end of asocket_selector_destroy.
// ASOCKET_ENOMEM.
ASOCKET_API int asocket_post(asocket_selector *selector, asocket_function *function,
                             void *argument);

// Copies the counters.
ASOCKET_API int asocket_stats(const asocket_selector *selector, asocket_statistics *statistics);

// --- coroutines ----------------------------------------------------------------------------------

#ifndef ASOCKET_NO_COROUTINES

// Starts a coroutine; it runs when the caller next waits. It is a child of the caller (of main,
// too), may outlive it, and has no deadline yet. 0: failed, ASOCKET_ENOMEM. The argument stays the
// caller's.
ASOCKET_API asocket_job asocket_launch(asocket_selector *selector, asocket_function *function,
                                       void *argument);

// The same with a socket as the argument, which is closed when the function returns, and when the
// launch fails. One such coroutine per socket: ASOCKET_EINVAL, and it stays the first one's.
ASOCKET_API asocket_job asocket_launch_socket(asocket_selector *selector,
                                              asocket_function *function, asocket *socket);

// The running coroutine; 0 outside.
ASOCKET_API asocket_job asocket_current(const asocket_selector *selector);

// Waits until a coroutine has ended, cancelled or not: 0, at once if it has; oneself:
// ASOCKET_EINVAL. In a cancelled caller ASOCKET_ECANCELED: at once, or, of a child, which is
// cancelled, too, when it has ended.
ASOCKET_API int asocket_join(asocket_selector *selector, asocket_job job);

// Waits until all that the caller launched has ended, and what those left behind: children may use
// what lies on its stack until then. In a cancelled caller, too, whose children are cancelled with
// it; it is told ASOCKET_ECANCELED if it had any. Only a deadline, outside also a stop, ends it
// before.
ASOCKET_API int asocket_join_all(asocket_selector *selector);

// Cancels a coroutine and its children: every call of theirs that would park answers
// ASOCKET_ECANCELED from now on, until they end; calls that need not park still succeed. Does not
// wait. A stale job is harmless.
ASOCKET_API int asocket_cancel(asocket_selector *selector, asocket_job job);

// Cancels all that the caller launched.
ASOCKET_API int asocket_cancel_all(asocket_selector *selector);

#endif

// Waits `ms` milliseconds, never less. ASOCKET_FOREVER: until cancelled. ASOCKET_ETIMEDOUT when the
// caller's deadline comes first.
ASOCKET_API int asocket_sleep(asocket_selector *selector, int64_t ms);

// The same in nanoseconds, as fine as the system's timers.
ASOCKET_API int asocket_sleep_ns(asocket_selector *selector, int64_t nanoseconds);

// Lets all others that are ready run once. ASOCKET_ECANCELED, after that, in a cancelled caller.
ASOCKET_API int asocket_yield(asocket_selector *selector);

// All waits of the caller, together, end in `ms` milliseconds from now with ASOCKET_ETIMEDOUT;
// never later than the deadline in force. 0: every wait from now on. Calls that need not wait go on
// as before, and may give way as before (P11): a loop that sends again after ASOCKET_ETIMEDOUT
// counts its tries, or asks asocket_sleep(selector, 0), which then answers that too. Returns the
// former deadline, absolute and opaque: hand it to restore. ASOCKET_FOREVER changes nothing. To
// give several coroutines a time together: set it, launch them, asocket_join_all; if that timed
// out, asocket_cancel_all, restore it, and asocket_join_all once more.
ASOCKET_API int64_t asocket_set_deadline(asocket_selector *selector, int64_t ms);
ASOCKET_API void asocket_restore_deadline(asocket_selector *selector, int64_t former);

enum { ASOCKET_READ = 1, ASOCKET_WRITE = 2 }; // directions and events

// Waits for a descriptor that is not the library's: the events that are ready. It must stay open
// while the call waits. ASOCKET_EBUSY: one waiter per descriptor and event; or it is the library's.
ASOCKET_API int asocket_wait_handle(asocket_selector *selector, asocket_handle handle, int events);

// --- building sockets ----------------------------------------------------------------------------

// What a socket shall be, passed by value. Zero is always the default; switches are 0 default,
// 1 (true) on, -1 off. An option that the system cannot honour fails the call. Accepted sockets
// have their listener's options.
typedef struct asocket_builder {
    asocket_selector *selector;
    int protocol;                 // set by asocket_tcp and its kin
    int backlog;                  // connections not yet accepted; 0: 511
    int reuse_address;            // default on for listeners (SO_REUSEADDR); Windows: off
    int reuse_port;               // several listeners share a port (SO_REUSEPORT); default off
    int only_ipv6;                // default off: "::" takes IPv4 too
    int no_delay;                 // default on (TCP_NODELAY)
    int keep_alive;               // default off (SO_KEEPALIVE)
    int keep_alive_idle;          // seconds before the first probe; 0: the system's
    int keep_alive_interval;      // seconds between probes
    int keep_alive_count;         // probes that may go unanswered
    int broadcast;                // datagrams
    int multicast_loop;           // datagrams
    int multicast_ttl;            // datagrams
    unsigned multicast_interface; // datagrams
    int type_of_service;          // IP_TOS, IPV6_TCLASS; 0: the system's
    int ttl;                      // IP_TTL, IPV6_UNICAST_HOPS; 0: the system's
    int send_buffer;              // bytes in the kernel; 0: the system's
    int receive_buffer;           // bytes in the kernel; 0: the system's
    int unlink;                   // Unix: remove a dead socket's file before, ours at close
    int64_t connect_timeout;      // ms for the whole of asocket_connect; 0: none; ASOCKET_NO_WAIT
    int64_t timeout;              // ms for each wait on the socket, of a listener also for accept,
                                  // which ends asocket_serve (for those that it accepts alone:
                                  // asocket_set_timeout); 0: none; ASOCKET_NO_WAIT
    size_t channel_capacity;      // bytes per direction; 0: the selector's
    asocket_address local;        // connect from here; zero: anywhere
} asocket_builder;

// TCP over IPv4 and IPv6.
ASOCKET_API asocket_builder asocket_tcp(asocket_selector *selector);

// UDP over IPv4 and IPv6; Unix stream and datagram sockets (unix(7)): their host is the path,
// "@name" an abstract name, at most 107 bytes, their port 0.
ASOCKET_API asocket_builder asocket_udp(asocket_selector *selector);
ASOCKET_API asocket_builder asocket_unix(asocket_selector *selector);
ASOCKET_API asocket_builder asocket_unix_datagram(asocket_selector *selector);

// A listener, or a datagram socket that receives. Host: an IP address, "localhost" (127.0.0.1),
// NULL for every interface (dual stack); port 0: any. NULL: ASOCKET_EADDRINUSE, EADDRNOTAVAIL,
// EACCES, EINVAL, EMFILE, ENOMEM, ENOTSUP.
ASOCKET_API asocket *asocket_bind(asocket_builder builder, const char *host, int port);

// A connected socket. Host: an IP address, "localhost" (127.0.0.1, then ::1), or a name that is
// looked up, see asocket_resolve. Waits. NULL: ASOCKET_ENOTFOUND, ECONNREFUSED (also
// when it met itself), ETIMEDOUT, EUNREACHABLE, ECANCELED, ECONNRESET, EADDRNOTAVAIL (no local port
// left), EADDRINUSE (the builder's local address), EACCES (a firewall), EINVAL, EMFILE, ENOMEM,
// ENOTSUP, EAGAIN.
ASOCKET_API asocket *asocket_connect(asocket_builder builder, const char *host, int port);

// The same with addresses.
ASOCKET_API asocket *asocket_bind_address(asocket_builder builder, const asocket_address *address);
ASOCKET_API asocket *asocket_connect_address(asocket_builder builder,
                                             const asocket_address *address);

// The first of several addresses that answers, tried in their order, the next one after 250 ms or a
// failure, the losers given up (RFC 8305). Up to 1,024.
ASOCKET_API asocket *asocket_connect_any(asocket_builder builder, const asocket_address *addresses,
                                         size_t count);

// Takes over a descriptor of the builder's kind, which becomes non-blocking and close-on-exec.
// On failure the caller keeps it. ASOCKET_EBUSY: it is the selector's already, or waited for.
ASOCKET_API asocket *asocket_adopt(asocket_builder builder, asocket_handle handle);

// --- sockets -------------------------------------------------------------------------------------

// The next connection. Waits. NULL only when the server is closed, the caller cancelled (that wins
// over a pending connection), stopped or timed out, or another coroutine is accepting from it
// (ASOCKET_EBUSY): asocket_error says which. Connections that broke while they were waiting are
// skipped; at the descriptor limit it pauses until one is free.
ASOCKET_API asocket *asocket_accept(asocket *server);

#ifndef ASOCKET_NO_COROUTINES
// Accepts, and launches a coroutine with each connection, until accepting ends: why it did.
ASOCKET_API int asocket_serve(asocket *server, asocket_function *function);
#endif

// Closes; returns at once. What was written is sent, in the background what cannot leave now, and
// the peer's end of stream is awaited, within the selector's close_timeout. Calls that wait on the
// socket answer ASOCKET_ECLOSED. Twice is harmless.
ASOCKET_API int asocket_close(asocket *socket);

// Closes with a reset: nothing more is sent, what was not read is lost. Also ends the lingering of
// a socket that asocket_close has closed.
ASOCKET_API int asocket_abort(asocket *socket);

// ASOCKET_WRITE: as asocket_finish on its write channel, opened or not; waits. ASOCKET_READ: reads
// say ASOCKET_EOF from now on, buffered bytes are gone.
ASOCKET_API int asocket_shutdown(asocket *socket, int directions);

// These, asocket_close and the two addresses work on a closed handle too; every other call answers
// ASOCKET_ECLOSED there. Closed: since asocket_close; await: until the descriptor is closed.
ASOCKET_API bool asocket_is_closed(const asocket *socket);
ASOCKET_API int asocket_await_closed(asocket *socket);

// The two ends. ASOCKET_EINVAL: a listener has no remote one.
ASOCKET_API int asocket_local_address(const asocket *socket, asocket_address *address);
ASOCKET_API int asocket_remote_address(const asocket *socket, asocket_address *address);

typedef enum asocket_option {
    ASOCKET_OPTION_NO_DELAY = 1,
    ASOCKET_OPTION_KEEP_ALIVE,
    ASOCKET_OPTION_KEEP_ALIVE_IDLE,
    ASOCKET_OPTION_KEEP_ALIVE_INTERVAL,
    ASOCKET_OPTION_KEEP_ALIVE_COUNT,
    ASOCKET_OPTION_REUSE_ADDRESS,
    ASOCKET_OPTION_REUSE_PORT,
    ASOCKET_OPTION_ONLY_IPV6,
    ASOCKET_OPTION_BROADCAST,
    ASOCKET_OPTION_TYPE_OF_SERVICE,
    ASOCKET_OPTION_TTL,
    ASOCKET_OPTION_SEND_BUFFER,
    ASOCKET_OPTION_RECEIVE_BUFFER,
    ASOCKET_OPTION_MULTICAST_LOOP,
    ASOCKET_OPTION_MULTICAST_TTL,
    ASOCKET_OPTION_MULTICAST_INTERFACE
} asocket_option;

// Sets and asks the system's value; switches are 0 and 1. Linux answers buffer sizes doubled
// (socket(7)). ASOCKET_ENOTSUP: the family has no such option.
ASOCKET_API int asocket_set_option(asocket *socket, asocket_option option, int value);
ASOCKET_API int asocket_get_option(const asocket *socket, asocket_option option, int *value);

// The descriptor, for setsockopt and the like; still the library's. -1 when closed.
ASOCKET_API asocket_handle asocket_native_handle(const asocket *socket);

ASOCKET_API asocket_selector *asocket_selector_of(const asocket *socket);

// For each wait on the socket, in ms: 0 and ASOCKET_FOREVER none, ASOCKET_NO_WAIT. A peer that
// sends a byte now and then never meets it: see asocket_set_deadline.
ASOCKET_API int asocket_set_timeout(asocket *socket, int64_t ms);

// Calls function(selector, argument) from the loop, once, when a call in one of the directions may
// succeed; at the next turn if it may now. For programs without coroutines. Forgotten when the
// socket is closed.
ASOCKET_API int asocket_on_ready(asocket *socket, int events, asocket_function *function,
                                 void *argument);

// --- byte channels -------------------------------------------------------------------------------

// One reader and one writer at a time; another one is told ASOCKET_EBUSY. Reading and writing calls
// may wait, unless said otherwise, and answer ASOCKET_ETIMEDOUT, ECANCELED, ECLOSED, EAGAIN when a
// wait ends so, ECONNRESET, ECONNREFUSED, EUNREACHABLE, ETIMEDOUT (the kernel's own), ENOMEM,
// EINVAL.
// Requests up to the channel's capacity are all or nothing: after such an end nothing was consumed
// or written. A larger one that fails has moved some bytes: asocket_transferred says how many were
// read (into the caller's buffer, where a line goes on), asocket_written how many were written. So
// do asocket_discard, _copy and _write_file of any size.

enum { ASOCKET_AUTO_FLUSH = 1 };

// Once per socket; again: NULL, ASOCKET_EBUSY, the first one is unaffected. With
// ASOCKET_AUTO_FLUSH, what is written leaves when the writing coroutine next waits or ends, outside
// of coroutines before the write returns.
ASOCKET_API asocket_read_channel *asocket_open_read_channel(asocket *socket);
ASOCKET_API asocket_write_channel *asocket_open_write_channel(asocket *socket, int flags);

// A pipe in memory between coroutines; capacity in bytes, 0: the selector's. A read and a write
// that would wait for each other get twice that, until it runs empty. It is freed when both ends
// are done (finish or cancel_write; EOF read or cancel_read), or with the selector.
ASOCKET_API int asocket_pipe(asocket_selector *selector, size_t capacity, asocket_read_channel **in,
                             asocket_write_channel **out);

// At least 1 byte, at most `size`; ASOCKET_EOF at the end. Size 0: 0 without a wait.
ASOCKET_API ptrdiff_t asocket_read(asocket_read_channel *in, void *buffer, size_t size);

// Exactly `size` bytes. The end before that: ASOCKET_EOF, nothing consumed.
ASOCKET_API ptrdiff_t asocket_read_full(asocket_read_channel *in, void *buffer, size_t size);

// A line without its LF or CRLF, NUL-terminated: its length. A last line without terminator is
// delivered, then ASOCKET_EOF. Longer than size - 1: ASOCKET_EMSGSIZE, nothing consumed while it
// fits the channel; asocket_discard_until(in, "\n", 1) skips it. Whether the last line had its
// terminator: asocket_transferred(in) is then more than the length.
ASOCKET_API ptrdiff_t asocket_read_line(asocket_read_channel *in, char *line, size_t size);

// The bytes before the delimiter, which is consumed; NUL-terminated. The end without it:
// ASOCKET_EOF, the bytes stay. Too long: ASOCKET_EMSGSIZE as above. The delimiter has 1 byte up to
// the capacity.
ASOCKET_API ptrdiff_t asocket_read_until(asocket_read_channel *in, const void *delimiter,
                                         size_t length, void *buffer, size_t size);

// One byte, 0 to 255.
ASOCKET_API int asocket_read_byte(asocket_read_channel *in);

// Unsigned integers, big or little endian: 0, or a status and nothing consumed.
ASOCKET_API int asocket_read_u16be(asocket_read_channel *in, uint16_t *value);
ASOCKET_API int asocket_read_u16le(asocket_read_channel *in, uint16_t *value);
ASOCKET_API int asocket_read_u32be(asocket_read_channel *in, uint32_t *value);
ASOCKET_API int asocket_read_u32le(asocket_read_channel *in, uint32_t *value);
ASOCKET_API int asocket_read_u64be(asocket_read_channel *in, uint64_t *value);
ASOCKET_API int asocket_read_u64le(asocket_read_channel *in, uint64_t *value);

// The whole window of buffered bytes in one piece, at least `minimum` of them: its size. Valid
// until the next call on the channel, and may be changed in place by whoever casts the const away.
// Minimum 0: does not wait; above the capacity: ASOCKET_EMSGSIZE. The end before that: ASOCKET_EOF,
// the bytes stay.
ASOCKET_API ptrdiff_t asocket_peek(asocket_read_channel *in, const char **bytes, size_t minimum);

// Drops bytes that are buffered; more than there are: ASOCKET_EINVAL. Does not wait.
ASOCKET_API int asocket_consume(asocket_read_channel *in, size_t count);

// Drops `count` bytes; fewer only at the end of the stream; ASOCKET_EOF if there was none at all.
ASOCKET_API ptrdiff_t asocket_discard(asocket_read_channel *in, size_t count);

// Drops everything through the delimiter: how many bytes, the delimiter included. The end without
// it: ASOCKET_EOF; the bytes are gone but for the last length - 1.
ASOCKET_API ptrdiff_t asocket_discard_until(asocket_read_channel *in, const void *delimiter,
                                            size_t length);

// How many bytes are buffered, of a pipe: flushed. No system call, does not wait.
ASOCKET_API ptrdiff_t asocket_available(const asocket_read_channel *in);

// Moves bytes until the end of the stream or `limit` bytes (ASOCKET_FOREVER: no limit), and
// flushes: how many. On failure asocket_transferred says how many went over; none is lost in
// between.
ASOCKET_API int64_t asocket_copy(asocket_read_channel *in, asocket_write_channel *out,
                                 int64_t limit);

// Bytes that the last call took from, or put into, the channel.
ASOCKET_API int64_t asocket_transferred(const asocket_read_channel *in);
ASOCKET_API int64_t asocket_written(const asocket_write_channel *out);

// Gives up reading: buffered bytes are gone, reads say ASOCKET_ECANCELED, a pipe's writer too.
ASOCKET_API int asocket_cancel_read(asocket_read_channel *in);

// All of the bytes: `size`. Waits only when they do not fit the channel.
ASOCKET_API ptrdiff_t asocket_write(asocket_write_channel *out, const void *bytes, size_t size);
ASOCKET_API ptrdiff_t asocket_write_string(asocket_write_channel *out, const char *text);

// printf(3) into the channel: the length written.
ASOCKET_API ptrdiff_t asocket_printf(asocket_write_channel *out, const char *format, ...)
    ASOCKET_PRINTF(2, 3);
ASOCKET_API ptrdiff_t asocket_vprintf(asocket_write_channel *out, const char *format,
                                      va_list arguments) ASOCKET_PRINTF(2, 0);

// One byte; unsigned integers, big or little endian.
ASOCKET_API int asocket_write_byte(asocket_write_channel *out, uint8_t value);
ASOCKET_API int asocket_write_u16be(asocket_write_channel *out, uint16_t value);
ASOCKET_API int asocket_write_u16le(asocket_write_channel *out, uint16_t value);
ASOCKET_API int asocket_write_u32be(asocket_write_channel *out, uint32_t value);
ASOCKET_API int asocket_write_u32le(asocket_write_channel *out, uint32_t value);
ASOCKET_API int asocket_write_u64be(asocket_write_channel *out, uint64_t value);
ASOCKET_API int asocket_write_u64le(asocket_write_channel *out, uint64_t value);

// Free space in one piece to write into, at least `minimum` bytes: its size. Valid until the next
// call on the channel; commit says how many were filled. Above the capacity: ASOCKET_EMSGSIZE.
ASOCKET_API ptrdiff_t asocket_reserve(asocket_write_channel *out, char **bytes, size_t minimum);
ASOCKET_API int asocket_commit(asocket_write_channel *out, size_t count);

// Waits until the kernel has all that was written, or says why not; on a pipe: the reader sees it.
ASOCKET_API int asocket_flush(asocket_write_channel *out);

// Flushes, then ends our side of the stream; reading goes on. Later writes: ASOCKET_ECLOSED. Twice
// is harmless.
ASOCKET_API int asocket_finish(asocket_write_channel *out);

// Gives up writing: unsent bytes are gone, and if there were any the close resets the connection;
// writes say ASOCKET_ECANCELED. `status`, a negative one, is what a pipe's reader gets after the
// bytes that were flushed.
ASOCKET_API int asocket_cancel_write(asocket_write_channel *out, int status);

// How many bytes a write would take without a wait; 0 while another coroutine writes. No system
// call.
ASOCKET_API ptrdiff_t asocket_room(const asocket_write_channel *out);

// Sends a part of a file, from `offset` on, `length` bytes or ASOCKET_FOREVER to its end: how many,
// fewer when the file ends before. The file's own position stays. Flushes. Reading a file may block
// the thread as reading from disks does.
ASOCKET_API int64_t asocket_write_file(asocket_write_channel *out, int fd, int64_t offset,
                                       int64_t length);

// --- datagrams -----------------------------------------------------------------------------------

// An empty datagram is one. Calls may wait, as those on channels. A datagram too large for the
// buffer is cut, and says so. An error that came back from an earlier one (ICMP) is the status of
// the next call, and of that one only. Longest: 65,507 bytes over IPv4 (RFC 768); longer:
// ASOCKET_EMSGSIZE. To a broadcast address without the builder's broadcast: ASOCKET_EACCES. A
// connected socket also opens channels: each send of one is a datagram.
typedef struct asocket_datagram {
    void *data;              // the caller's
    size_t size;             // bytes to send; bytes received
    size_t capacity;         // bytes that data can take
    asocket_address address; // to whom; from whom; empty: the connected peer
    bool truncated;          // received: the rest is lost
} asocket_datagram;

// Sends one; NULL or an empty address: to the connected peer. The size.
ASOCKET_API ptrdiff_t asocket_send_to(asocket *socket, const void *data, size_t size,
                                      const asocket_address *to);
ASOCKET_API ptrdiff_t asocket_send(asocket *socket, const asocket_datagram *datagram);

// Receives one: the size that was stored. One that was cut notes ASOCKET_EMSGSIZE for
// asocket_error; `truncated` says it of each. `from` may be NULL.
ASOCKET_API ptrdiff_t asocket_receive_from(asocket *socket, void *data, size_t size,
                                           asocket_address *from);
ASOCKET_API ptrdiff_t asocket_receive(asocket *socket, asocket_datagram *datagram);

// Many at a time, with few system calls: how many went, which is fewer than `count` only when one
// failed (asocket_error says how); how many came, at least one. Linux: sendmmsg, recvmmsg, and UDP
// segmentation for runs of equal size to one target. A long flow that comes through receive_many is
// joined by the kernel (UDP_GRO) as long as that pays; all calls here take it apart again, out of
// 64 KiB that the socket then has; who receives by its native handle has to do the same. A
// socket that has received many opens no read channel: ASOCKET_EBUSY.
ASOCKET_API int asocket_send_many(asocket *socket, const asocket_datagram *datagrams, size_t count);
ASOCKET_API int asocket_receive_many(asocket *socket, asocket_datagram *datagrams, size_t count);

// Membership in a multicast group, on an interface (0: the system's choice).
ASOCKET_API int asocket_join_group(asocket *socket, const asocket_ip *group,
                                   unsigned interface_index);
ASOCKET_API int asocket_leave_group(asocket *socket, const asocket_ip *group,
                                    unsigned interface_index);

// --- names, moving sockets, layers ---------------------------------------------------------------

// The addresses of a host, with the port, in the order to try them: how many, at most `capacity`.
// Addresses and "localhost" are known at once (RFC 6761); names are looked up by the system on up
// to four threads of the selector, identical ones together. Waits. ASOCKET_ENOTFOUND, EUNREACHABLE
// (no name server answered), EINVAL, ENOMEM, and as any wait ends. With ASOCKET_NO_THREADS the
// lookup blocks the whole thread.
ASOCKET_API int asocket_resolve(asocket_selector *selector, const char *host, int port,
                                asocket_address *addresses, size_t capacity);

// Moves a socket to another selector, which may be another thread's: flushes it (waits), then it
// goes, with the bytes already read; function(other, socket) runs there in a coroutine with a new
// handle, which is closed when it returns; the old handle is closed. On failure all is unchanged.
// The other selector must not be destroyed meanwhile; without memory there, it arrives when there
// is some. ASOCKET_EBUSY: somebody is inside a call. ASOCKET_ECANCELED: this selector is being
// destroyed; the other one may be gone.
ASOCKET_API int asocket_hand_over(asocket *socket, asocket_selector *other,
                                  asocket_function *function);

// The same with a duplicate of the descriptor: both go on, a listener is accepted from by both.
ASOCKET_API int asocket_share(asocket *server, asocket_selector *other, asocket_function *function);

// Sends a socket through a Unix socket to another process (SCM_RIGHTS, with one byte; Windows: see
// LIMITS); the sender keeps its own, and closes it. What its channels hold stays here. May wait.
// Best on a Unix socket that has no channels, whose reader would take the byte and lose the socket.
ASOCKET_API int asocket_send_socket(asocket *unix_socket, asocket *socket);

// The next socket that comes through a Unix socket; NULL: ASOCKET_EOF, or as any wait ends. A
// message without a descriptor is skipped, so is a connection that broke on its way; of several in
// one, all but the first are closed. May wait.
ASOCKET_API asocket *asocket_receive_socket(asocket *unix_socket);

// What stands between a socket and the layer above it. Its functions are called in the coroutine
// that reads, writes or closes the layer, and may wait on the lower socket's channels.
typedef struct asocket_transport {
    // Bytes into buffer: how many, at least 1; ASOCKET_EOF or 0: the end; or a status. A count that
    // cannot be, here and below, is ASOCKET_EIO.
    ptrdiff_t (*read)(void *state, asocket *lower, void *buffer, size_t size);
    // How many of the bytes were taken, at least 1, or a status. All must be on their way when it
    // returns. Size 0: the end of the stream. What it answers ASOCKET_EAGAIN to (ASOCKET_NO_WAIT)
    // the layer keeps, with auto-flush too, until it is next written to, flushed or closed.
    ptrdiff_t (*write)(void *state, asocket *lower, const void *bytes, size_t size);
    // Says goodbye and frees the state; must not close the lower socket.
    int (*close)(void *state, asocket *lower);
    // Frees the state without a goodbye, and must not wait. One of the two is called, once.
    void (*cancel)(void *state, asocket *lower);
} asocket_transport;

// A socket on a socket, which it owns from now on: only the transport uses that one, closing the
// layer closes both. The lower one's channels may be opened once more, by the transport. The
// layer's channels, time-outs, addresses and the coroutine launched with it are as those of any
// socket. NULL: ASOCKET_EINVAL, ENOMEM, EBUSY while somebody is inside a call on the lower one,
// which is unchanged then.
ASOCKET_API asocket *asocket_layer(asocket *lower, const asocket_transport *transport, void *state);

// Takes a layer off again: flushes it (waits), ends it by close of its transport, and gives the
// lower socket back, with what the transport did not consume; its channels may be opened again.
// ASOCKET_EBUSY while bytes of the layer are unread.
ASOCKET_API asocket *asocket_detach(asocket *layered);

// The state of a layer that was made with this transport; NULL: it was not, or it is closed.
ASOCKET_API void *asocket_layer_state(const asocket *layered, const asocket_transport *transport);

// The host that a TCP socket was connected to by name, as asocket_connect was given it, also of the
// socket below a layer; NULL: it was connected to an address, or is closed. Valid while it is open.
ASOCKET_API const char *asocket_remote_host(const asocket *socket);

// Bytes per direction of a socket's channels from now on; 0: the selector's. For a transport whose
// units are larger. ASOCKET_EBUSY: a channel holds bytes or somebody waits in it.
ASOCKET_API int asocket_set_capacity(asocket *socket, size_t capacity);

// Notes a failure of one's own for asocket_error and asocket_error_message, and answers its status:
// "operation text: detail". A transport's detail is told by the calls on its layer. The beginning
// of text is kept (47 bytes), operation and detail must stay as long as the selector; NULL: none.
ASOCKET_API int asocket_fail(asocket_selector *selector, int status, const char *operation,
                             const char *text, const char *detail);

// Keeps something as long as the selector, to be found by its key, any address. release(value) is
// called when the selector is destroyed, after all coroutines and sockets. ASOCKET_ENOMEM, EINVAL
// (no key, value or release), EBUSY: the key is taken.
ASOCKET_API int asocket_attach(asocket_selector *selector, const void *key, void *value,
                               void (*release)(void *value));
ASOCKET_API void *asocket_attached(const asocket_selector *selector, const void *key); // or NULL

typedef struct asocket_credentials {
    int64_t process, user, group;
} asocket_credentials;

// Who is at the other end of a Unix stream, as of when it connected (SO_PEERCRED, getpeereid; the
// BSDs do not tell the process: -1). ASOCKET_ENOTSUP where the system does not tell at all.
ASOCKET_API int asocket_peer_credentials(const asocket *socket, asocket_credentials *credentials);

#ifdef __cplusplus
}
#endif
#endif // ASOCKET_H

#ifdef ASOCKET_IMPLEMENTATION
#ifndef ASOCKET_IMPLEMENTED
#define ASOCKET_IMPLEMENTED

/* The implementation is divided into rooms, each found by its tag; calls only go down the file:

     >>config       compiler and system macros become our flags
     >>system       includes, and the seam to the system
     >>windows      Winsock under POSIX's names
     >>types        every structure
     >>memory       the allocator
     >>list         rings of links
     >>heap         timers
     >>error        from errno to a status; what failed, where, why
     >>address      reading and printing addresses
     >>ring         byte rings
     >>clock        monotonic time
     >>switch       from one stack to another
     >>ready        who may go on
     >>epoll >>poll >>kqueue >>iocp   the backends, one contract
     >>buffer       the memory behind the rings
     >>socket       calls on descriptors that never wait
     >>output       sending what a channel holds
     >>closing      a close that loses nothing
     >>stack        stacks with guard pages
     >>coroutine    start, resume, end
     >>thread       what other threads may touch
     >>resolver     names to addresses, on threads of its own
     >>loop         one turn
     >>wait         parking
     >>option       socket options
     >>handle       descriptors that never block
     >>listening    bind and accept
     >>connecting   connect to one of several addresses
     >>host         what a host may be written as
     >>input        reading
     >>writing      writing
     >>copying      from a read channel to a write channel
     >>layer        sockets on sockets
     >>file         files to sockets
     >>moving       to other selectors and processes
     >>datagram     messages with addresses
     >>foreign      descriptors that are not ours
     >>public       argument checks, defaults, one call down
*/

// ------------------------------------------------------------------------------------------------
// >>config
// Compiler and system macros become our own 0/1 flags here, and nowhere else: below this room only
// whole rooms are switched on and off.

#if defined(__GLIBC__) && !defined(__USE_MISC)
#error "asocket.h: with -std=c99, define _GNU_SOURCE or include the implementation before others"
#endif

#ifdef ASOCKET_EMBEDDED
#define ASOCKET__EMBEDDED 1
#else
#define ASOCKET__EMBEDDED 0
#endif

#if defined(__linux__) && !ASOCKET__EMBEDDED
#define ASOCKET__LINUX 1
#else
#define ASOCKET__LINUX 0
#endif

#if ASOCKET__LINUX && !defined(ASOCKET_NO_EPOLL)
#define ASOCKET__EPOLL 1
#else
#define ASOCKET__EPOLL 0
#endif

#if defined(__APPLE__) && !ASOCKET__EMBEDDED
#define ASOCKET__APPLE 1
#else
#define ASOCKET__APPLE 0
#endif

#if defined(__FreeBSD__) || defined(__OpenBSD__) || defined(__NetBSD__) || defined(__DragonFly__)
#define ASOCKET__BSD 1
#else
#define ASOCKET__BSD 0
#endif

// Elsewhere a library may bring it: link with -lkqueue, for example.
#if !ASOCKET__EMBEDDED && (ASOCKET__APPLE || ASOCKET__BSD || defined(ASOCKET_KQUEUE))
#define ASOCKET__KQUEUE 1
#else
#define ASOCKET__KQUEUE 0
#endif

#if defined(_WIN32)
#define ASOCKET__WINDOWS 1
#else
#define ASOCKET__WINDOWS 0
#endif

#if defined(ASOCKET_NO_COROUTINES) || ASOCKET__EMBEDDED
#define ASOCKET__COROUTINES 0
#else
#define ASOCKET__COROUTINES 1
#endif

#if defined(ASOCKET_NO_THREADS) || ASOCKET__EMBEDDED
#define ASOCKET__THREADS 0
#else
#define ASOCKET__THREADS 1
#endif

#define ASOCKET__SWITCH_NONE     0
#define ASOCKET__SWITCH_X64      1
#define ASOCKET__SWITCH_ARM64    2
#define ASOCKET__SWITCH_ARM      3
#define ASOCKET__SWITCH_I386     4
#define ASOCKET__SWITCH_RISCV64  5
#define ASOCKET__SWITCH_S390X    6
#define ASOCKET__SWITCH_UCONTEXT 9
#define ASOCKET__SWITCH_WIN64    10
#define ASOCKET__SWITCH_WIN32    11
#define ASOCKET__SWITCH_FIBERS   12
#if !ASOCKET__COROUTINES
#define ASOCKET__SWITCH ASOCKET__SWITCH_NONE
#elif ASOCKET__WINDOWS && defined(__GNUC__) && defined(__x86_64__) && !defined(ASOCKET_FIBERS)
#define ASOCKET__SWITCH ASOCKET__SWITCH_WIN64
#elif ASOCKET__WINDOWS && defined(__GNUC__) && defined(__i386__) && !defined(ASOCKET_FIBERS)
#define ASOCKET__SWITCH ASOCKET__SWITCH_WIN32
#elif ASOCKET__WINDOWS
#define ASOCKET__SWITCH ASOCKET__SWITCH_FIBERS
#elif defined(ASOCKET_UCONTEXT) || !defined(__GNUC__)
#define ASOCKET__SWITCH ASOCKET__SWITCH_UCONTEXT
#elif defined(__x86_64__) && !defined(__ILP32__) && !defined(_WIN32)
#define ASOCKET__SWITCH ASOCKET__SWITCH_X64
#elif defined(__aarch64__) && !defined(__ILP32__) && !defined(_WIN32)
#define ASOCKET__SWITCH ASOCKET__SWITCH_ARM64
#elif defined(__arm__) && (defined(__thumb2__) || !defined(__thumb__)) && !defined(_WIN32)
#define ASOCKET__SWITCH ASOCKET__SWITCH_ARM
#elif defined(__i386__) && !defined(_WIN32)
#define ASOCKET__SWITCH ASOCKET__SWITCH_I386
#elif defined(__riscv) && __riscv_xlen == 64 && !defined(__riscv_float_abi_single)
#define ASOCKET__SWITCH ASOCKET__SWITCH_RISCV64
#elif defined(__s390x__)
#define ASOCKET__SWITCH ASOCKET__SWITCH_S390X
#elif defined(__linux__) && !defined(__GLIBC__)
#error "asocket.h: no switch of stacks for this processor: define ASOCKET_NO_COROUTINES"
#else
#define ASOCKET__SWITCH ASOCKET__SWITCH_UCONTEXT
#endif

// A program compiled like this may find itself with a shadow stack: see >>switch.
#if ASOCKET__SWITCH == ASOCKET__SWITCH_X64 && defined(__CET__) && defined(__GLIBC__)
#define ASOCKET__SHADOW ((__CET__ & 2) != 0)
#elif ASOCKET__SWITCH == ASOCKET__SWITCH_ARM64 && defined(__ARM_FEATURE_GCS_DEFAULT) && \
    defined(__GLIBC__)
#define ASOCKET__SHADOW 1
#else
#define ASOCKET__SHADOW 0
#endif
#define ASOCKET__CONTEXTS (ASOCKET__SHADOW || ASOCKET__SWITCH == ASOCKET__SWITCH_UCONTEXT)

#if defined(__SANITIZE_ADDRESS__)
#define ASOCKET__ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define ASOCKET__TSAN 1
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(ASOCKET__ASAN)
#define ASOCKET__ASAN 1
#endif
#if __has_feature(thread_sanitizer) && !defined(ASOCKET__TSAN)
#define ASOCKET__TSAN 1
#endif
#endif
#ifndef ASOCKET__ASAN
#define ASOCKET__ASAN 0
#endif
#ifndef ASOCKET__TSAN
#define ASOCKET__TSAN 0
#endif

// The C++ run-time keeps the exceptions being handled per thread; coroutines need them per stack.
#if defined(__cplusplus) && defined(__cpp_exceptions) && defined(__GNUC__) && ASOCKET__COROUTINES
#define ASOCKET__EXCEPTIONS 1
#else
#define ASOCKET__EXCEPTIONS 0
#endif

#if defined(ASOCKET_ASSERT) || !defined(NDEBUG)
#define ASOCKET__CHECKS 1
#else
#define ASOCKET__CHECKS 0
#endif

#if defined(__GNUC__)
#define ASOCKET__NOINLINE    __attribute__((noinline))
#define ASOCKET__LIKELY(x)   __builtin_expect(!!(x), 1)
#define ASOCKET__UNLIKELY(x) __builtin_expect(!!(x), 0)
#define ASOCKET__FETCH(p)    __builtin_prefetch(p)
#else
#define ASOCKET__NOINLINE
#define ASOCKET__LIKELY(x)   (x)
#define ASOCKET__UNLIKELY(x) (x)
#define ASOCKET__FETCH(p)    ((void)(p))
#endif

// A register that tells threads apart, where its use is known to compile.
#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__)) && \
    ((defined(__clang__) && __clang_major__ >= 14) ||                      \
     (defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11))
#define ASOCKET__THREAD_POINTER
#endif

// With -Os: no fetch ahead of the line of memory that will be needed next, no second way for what
// is common, and calls where compilers expect an inlined copy to be smaller, and it is not.
#if defined(__OPTIMIZE_SIZE__)
#define ASOCKET__PREFETCH(p) ((void)(p))
#define ASOCKET__QUICK       0
#define ASOCKET__SMALL       ASOCKET__NOINLINE
#else
#define ASOCKET__PREFETCH(p) ASOCKET__FETCH(p)
#define ASOCKET__QUICK       1
#define ASOCKET__SMALL
#endif

// What is called in a hundred places with what every caller has in a register: gcc would rather
// pass what the callee reads of it, and load that in a hundred places.
#if defined(__GNUC__) && __GNUC__ >= 8 && !defined(__clang__)
#define ASOCKET__PLAIN __attribute__((noipa))
#else
#define ASOCKET__PLAIN ASOCKET__NOINLINE
#endif

// ------------------------------------------------------------------------------------------------
// >>system
// Includes, and the seam: every name taken from the system that can fail, block or tell the time is
// written ASOCKET_SYS(name), so that a test build can put itself in between. Nothing bypasses it.

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if ASOCKET__WINDOWS
#ifndef NOMINMAX
#define NOMINMAX
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <winsock2.h> // before windows.h
#include <ws2tcpip.h>
#include <mswsock.h>
#include <windows.h>
#include <io.h>
#include <process.h>
#if defined(_MSC_VER)
#pragma comment(lib, "ws2_32")
#endif
#elif ASOCKET__EMBEDDED && defined(ASOCKET_EMBEDDED_HEADER)
#include ASOCKET_EMBEDDED_HEADER
#elif ASOCKET__EMBEDDED
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>
#else
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>
#if ASOCKET__THREADS
#include <pthread.h>
#endif
#endif
#if ASOCKET__LINUX
#include <sys/sendfile.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#endif
#if ASOCKET__EPOLL && defined(__TINYC__) && defined(__x86_64__)
#pragma pack(push, 4) // by an attribute for the compilers that the C library knows; not this one
#include <sys/epoll.h>
#pragma pack(pop)
typedef char asocket__epoll_is_packed[sizeof(struct epoll_event) == 12 ? 1 : -1];
#elif ASOCKET__EPOLL
#include <sys/epoll.h>
#endif
#if ASOCKET__KQUEUE
#include <sys/event.h>
#endif
#if ASOCKET__CONTEXTS
#include <ucontext.h>
#endif
#if ASOCKET__EXCEPTIONS
#include <cxxabi.h>
#endif
#ifdef ASOCKET_VALGRIND
#include <valgrind/valgrind.h>
#endif

#if ASOCKET__WINDOWS
#define ASOCKET__SYSTEM(name) asocket__windows_##name // see >>windows
#else
#define ASOCKET__SYSTEM(name) name
#endif
#ifndef ASOCKET_SYS
#define ASOCKET_SYS(name) ASOCKET__SYSTEM(name)
#endif
#ifndef ASOCKET_WINDOWS
#define ASOCKET_WINDOWS(name) name // Winsock's and the kernel's own
#endif

// Whoever debugs stops where another thread comes in; its status is enough for all others.
#if defined(ASOCKET_ASSERT) || defined(DEBUG) || defined(_DEBUG)
#define ASOCKET__ASSERT_THREAD(condition) ASOCKET_ASSERT(condition)
#else
#define ASOCKET__ASSERT_THREAD(condition) ((void)0)
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

// glibc hides these unless _GNU_SOURCE came before the program's first include.
#if ASOCKET__LINUX && defined(__GLIBC__) && !defined(__USE_GNU)
extern int accept4(int, struct sockaddr *__restrict, socklen_t *__restrict, int);
extern int pipe2(int *, int);
extern int ppoll(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
struct mmsghdr {
    struct msghdr msg_hdr;
    unsigned int msg_len;
};
extern int sendmmsg(int, struct mmsghdr *, unsigned int, int);
extern int recvmmsg(int, struct mmsghdr *, unsigned int, int, struct timespec *);
#endif

#if ASOCKET__WINDOWS || ASOCKET__EMBEDDED
typedef struct asocket__sockaddr_un { // afunix.h came with Windows 10
    unsigned short sun_family;
    char sun_path[108];
} asocket__sockaddr_un;
typedef int64_t asocket__offset; // in a file
#endif
#if ASOCKET__WINDOWS
typedef SRWLOCK asocket__mutex;
typedef CONDITION_VARIABLE asocket__condition;
typedef DWORD asocket__thread;
#elif !ASOCKET__EMBEDDED
typedef off_t asocket__offset;
#if ASOCKET__THREADS
typedef pthread_mutex_t asocket__mutex;
typedef pthread_cond_t asocket__condition;
#if defined(ASOCKET__THREAD_POINTER)
typedef uintptr_t asocket__thread;
#else
typedef pthread_t asocket__thread;
#endif
#endif
typedef struct sockaddr_un asocket__sockaddr_un;
#endif

#if ASOCKET__THREADS
#define ASOCKET__SIGMASK pthread_sigmask
#else
#define ASOCKET__SIGMASK sigprocmask
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif
#ifndef MSG_MORE
#define MSG_MORE 0
#endif
#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif
#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif
#if defined(MAP_STACK) && (ASOCKET__LINUX || defined(__OpenBSD__))
#define ASOCKET__MAP_STACK MAP_STACK // OpenBSD runs on nothing else
#else
#define ASOCKET__MAP_STACK 0 // on FreeBSD such a mapping begins empty and grows
#endif
#if defined(INHERIT_ZERO)
#define ASOCKET__INHERIT_ZERO INHERIT_ZERO // FreeBSD
#elif defined(MAP_INHERIT_ZERO)
#define ASOCKET__INHERIT_ZERO MAP_INHERIT_ZERO // OpenBSD, NetBSD
#endif
#ifndef AF_UNIX
#define AF_UNIX 1
#endif
#define ASOCKET__NO_HANDLE ((asocket_handle)-1)
#define ASOCKET__PATHS     (!ASOCKET__EMBEDDED) // addresses may be paths

// Sizes and limits, in one place.
#define ASOCKET__SIZED(small, usual) (ASOCKET__EMBEDDED ? (small) : (usual))
enum {
    ASOCKET__LOOKUP_THREADS = 4, // most, for names that somebody waits for,
    ASOCKET__LOOKUP_MOST = 16,   // and with those that hold lookups which were given up
    ASOCKET__LOOKUP_RESULTS = ASOCKET__SIZED(4, 32),
    ASOCKET__BUDGET = 64,   // system calls that succeed at once before a coroutine yields
    ASOCKET__RESUMES = 256, // coroutines resumed between two looks at the descriptors
    ASOCKET__EVENTS = 256,  // readiness reports taken from the system at a time
    ASOCKET__QUARANTINE = ASOCKET__SIZED(8, 1024), // closes before a socket's memory is used again
    ASOCKET__FREE_SOCKETS = ASOCKET__SIZED(0, ASOCKET__CHECKS ? 16384 : 0), // more, for asserts
    ASOCKET__CHUNK = ASOCKET__SIZED(4, 64), // sockets allocated together
    ASOCKET__LAYER_TURNS = 16,              // of the loop until a layer's end looks less often
    ASOCKET__SLAB = 64,                     // stacks mapped together
    ASOCKET__SPARE_SLABS = 2,               // empty slabs kept besides a quarter of all
    // Two mappings each; Linux' vm.max_map_count is 65,530.
    ASOCKET__MPROTECT_GUARDS = ASOCKET__LINUX ? 16000 : INT_MAX,
    ASOCKET__SPARE_BUFFERS = 256,                  // free ring buffers kept
    ASOCKET__LARGE_BUFFERS = ASOCKET__SIZED(0, 4), // that asocket_copy may use at a time,
    ASOCKET__LARGE_SIZE = 256 * 1024,              // and the size of each
    ASOCKET__STACK_SIZE = 64 * 1024,
    ASOCKET__STACK_MINIMUM = 16 * 1024,
    ASOCKET__GUARD_SIZE = 64 * 1024, // a page would do, but for functions with large arrays
    ASOCKET__CAPACITY = ASOCKET__SIZED(2, 16) * 1024,
    ASOCKET__SIZE_MOST = 1 << 30, // bytes of a channel, of a stack
    ASOCKET__BACKLOG = 511,
    ASOCKET__CLOSE_TIMEOUT = 10000, // ms
    ASOCKET__CLOSE_MOST = 86400000, // ms, a day
    ASOCKET__REST = 10,             // ms, instead of a wait that the system refuses
    ASOCKET__DESTROY_DRAIN = 1000,  // ms that destroy waits for the peer's end of stream
    ASOCKET__PAUSE_FIRST = 5,       // ms, accept's back-off at the descriptor limit
    ASOCKET__PAUSE_LAST = 90,       // who frees one need not be us: found in less than 100 ms
    ASOCKET__PAUSE_UNIX = 64,       // ms, connect's longest at a full backlog; the first is a 16th
    ASOCKET__RETRY_LAST = 64,       // ms, the longest pause of who sends to a full Unix receiver
    ASOCKET__ATTEMPT_DELAY = 250,   // ms between two attempts to connect (RFC 8305, 8)
    ASOCKET__ATTEMPTS = 1024        // addresses to try
};

// ------------------------------------------------------------------------------------------------
// >>windows
// Winsock under the names, and with the errno, that the rooms below know from POSIX: what they
// call ASOCKET_SYS(recv) is asocket__windows_recv here. Winsock's own names are written
// ASOCKET_WINDOWS(name), so that a test can be as strict as Windows where an emulation is not.

#if ASOCKET__WINDOWS

#if defined(_MSC_VER)
typedef ptrdiff_t ssize_t;
#endif
#ifndef ESHUTDOWN
#define ESHUTDOWN WSAESHUTDOWN
#endif
#ifndef EHOSTDOWN
#define EHOSTDOWN WSAEHOSTDOWN
#endif
#ifndef ESOCKTNOSUPPORT
#define ESOCKTNOSUPPORT WSAESOCKTNOSUPPORT
#endif
#ifndef EPFNOSUPPORT
#define EPFNOSUPPORT WSAEPFNOSUPPORT
#endif
#ifndef SHUT_WR
#define SHUT_WR SD_SEND
#endif
#ifndef SIO_UDP_CONNRESET
#define SIO_UDP_CONNRESET _WSAIOW(IOC_VENDOR, 12)
#endif
#ifndef SIO_UDP_NETRESET
#define SIO_UDP_NETRESET _WSAIOW(IOC_VENDOR, 15)
#endif
#define ASOCKET__INITIAL_RTO _WSAIOW(IOC_VENDOR, 17) // SIO_TCP_INITIAL_RTO, Windows 10
#define EAI_SYSTEM           (-1)                    // getaddrinfo answers no such thing

#define asocket__windows_malloc       malloc
#define asocket__windows_realloc      realloc
#define asocket__windows_free         free
#define asocket__windows_freeaddrinfo ASOCKET_WINDOWS(freeaddrinfo)

static int asocket__windows_errno(int error)
{
    static const short known[][2] = {
        {WSAEINTR, EINTR},
        {WSAEBADF, EBADF},
        {WSAEACCES, EACCES},
        {WSAEFAULT, EFAULT},
        {WSAEINVAL, EINVAL},
        {WSAEMFILE, EMFILE},
        {WSAEWOULDBLOCK, EAGAIN},
        {WSAEINPROGRESS, EINPROGRESS},
        {WSAEALREADY, EALREADY},
        {WSAENOTSOCK, EBADF},
        {WSAEDESTADDRREQ, EDESTADDRREQ},
        {WSAEMSGSIZE, EMSGSIZE},
        {WSAEPROTOTYPE, EINVAL},
        {WSAENOPROTOOPT, ENOPROTOOPT},
        {WSAEPROTONOSUPPORT, EPROTONOSUPPORT},
        {WSAESOCKTNOSUPPORT, ESOCKTNOSUPPORT},
        {WSAEOPNOTSUPP, EOPNOTSUPP},
        {WSAEPFNOSUPPORT, EPFNOSUPPORT},
        {WSAEAFNOSUPPORT, EAFNOSUPPORT},
        {WSAEADDRINUSE, EADDRINUSE},
        {WSAEADDRNOTAVAIL, EADDRNOTAVAIL},
        {WSAENETDOWN, ENETDOWN},
        {WSAENETUNREACH, ENETUNREACH},
        {WSAENETRESET, ECONNRESET},
        {WSAECONNABORTED, ECONNABORTED},
        {WSAECONNRESET, ECONNRESET},
        {WSAENOBUFS, ENOBUFS},
        {WSAEISCONN, EISCONN},
        {WSAENOTCONN, ENOTCONN},
        {WSAESHUTDOWN, ESHUTDOWN},
        {WSAETIMEDOUT, ETIMEDOUT},
        {WSAECONNREFUSED, ECONNREFUSED},
        {WSAEHOSTDOWN, EHOSTDOWN},
        {WSAEHOSTUNREACH, EHOSTUNREACH},
        {WSA_OPERATION_ABORTED, ECANCELED},
        {ERROR_NETNAME_DELETED, ECONNRESET},
        {ERROR_CONNECTION_ABORTED, ECONNABORTED},
        {ERROR_CONNECTION_REFUSED, ECONNREFUSED},
        {ERROR_SEM_TIMEOUT, ETIMEDOUT},
        {ERROR_NETWORK_UNREACHABLE, ENETUNREACH},
        {ERROR_HOST_UNREACHABLE, EHOSTUNREACH},
        {ERROR_PORT_UNREACHABLE, ECONNREFUSED},
        {ERROR_INVALID_HANDLE, EBADF},
        {ERROR_ACCESS_DENIED, EACCES},
        {ERROR_NOT_ENOUGH_MEMORY, ENOMEM},
        {ERROR_NO_SYSTEM_RESOURCES, ENOMEM},
        {ERROR_INVALID_PARAMETER, EINVAL},
    };
    size_t i;

    for (i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i][0] == error)
            return known[i][1];
    return EIO;
}

// What a call of Winsock answered, with errno.
static int asocket__windows_result(int result)
{
    if (result == SOCKET_ERROR)
        errno = asocket__windows_errno(ASOCKET_WINDOWS(WSAGetLastError)());
    return result;
}

static int asocket__windows_length(size_t size)
{
    return size > INT_MAX ? INT_MAX : (int)size;
}

// A datagram too long for the buffer is an error to Winsock, although it fills the buffer.
static ssize_t asocket__windows_recv(SOCKET socket, void *buffer, size_t size, int flags)
{
    int count = ASOCKET_WINDOWS(recv)(socket, (char *)buffer, asocket__windows_length(size), flags);

    if (count == SOCKET_ERROR && ASOCKET_WINDOWS(WSAGetLastError)() == WSAEMSGSIZE)
        return (ssize_t)size;
    return asocket__windows_result(count);
}

static ssize_t asocket__windows_recvfrom(SOCKET socket, void *buffer, size_t size, bool *truncated,
                                         struct sockaddr *from, socklen_t *length)
{
    int count = ASOCKET_WINDOWS(recvfrom)(socket, (char *)buffer, asocket__windows_length(size), 0,
                                          from, length);

    *truncated = count == SOCKET_ERROR && ASOCKET_WINDOWS(WSAGetLastError)() == WSAEMSGSIZE;
    return *truncated ? (ssize_t)size : asocket__windows_result(count);
}

static ssize_t asocket__windows_send(SOCKET socket, const void *bytes, size_t size, int flags)
{
    return asocket__windows_result(
        ASOCKET_WINDOWS(send)(socket, (const char *)bytes, asocket__windows_length(size), flags));
}

static ssize_t asocket__windows_sendto(SOCKET socket, const void *bytes, size_t size, int flags,
                                       const struct sockaddr *to, socklen_t length)
{
    return asocket__windows_result(ASOCKET_WINDOWS(sendto)(
        socket, (const char *)bytes, asocket__windows_length(size), flags, to, length));
}

static int asocket__windows_getsockopt(SOCKET socket, int level, int name, void *value,
                                       socklen_t *size)
{
    return asocket__windows_result(
        ASOCKET_WINDOWS(getsockopt)(socket, level, name, (char *)value, size));
}

static int asocket__windows_setsockopt(SOCKET socket, int level, int name, const void *value,
                                       size_t size)
{
    return asocket__windows_result(
        ASOCKET_WINDOWS(setsockopt)(socket, level, name, (const char *)value, (int)size));
}

static int asocket__windows_getsockname(SOCKET socket, struct sockaddr *name, socklen_t *size)
{
    return asocket__windows_result(ASOCKET_WINDOWS(getsockname)(socket, name, size));
}

static int asocket__windows_getpeername(SOCKET socket, struct sockaddr *name, socklen_t *size)
{
    return asocket__windows_result(ASOCKET_WINDOWS(getpeername)(socket, name, size));
}

static int asocket__windows_bind(SOCKET socket, const struct sockaddr *name, socklen_t size)
{
    return asocket__windows_result(ASOCKET_WINDOWS(bind)(socket, name, size));
}

static int asocket__windows_listen(SOCKET socket, int backlog)
{
    return asocket__windows_result(ASOCKET_WINDOWS(listen)(socket, backlog));
}

// A connection under way is EINPROGRESS everywhere else.
static int asocket__windows_connect(SOCKET socket, const struct sockaddr *name, socklen_t size)
{
    int result = asocket__windows_result(ASOCKET_WINDOWS(connect)(socket, name, size));

    if (result && errno == EAGAIN)
        errno = EINPROGRESS;
    return result;
}

static int asocket__windows_shutdown(SOCKET socket, int how)
{
    return asocket__windows_result(ASOCKET_WINDOWS(shutdown)(socket, how));
}

static int asocket__windows_close(SOCKET socket)
{
    return asocket__windows_result(ASOCKET_WINDOWS(closesocket)(socket));
}

// One that was closed behind our back must not keep the others from being looked at.
static int asocket__windows_poll(struct pollfd *handles, uint32_t count, int timeout)
{
    int found = asocket__windows_result(ASOCKET_WINDOWS(WSAPoll)(handles, count, timeout));
    uint32_t i;

    if (found >= 0 || errno != EBADF)
        return found;
    for (i = 0, found = 0; i < count; i++) {
        if (ASOCKET_WINDOWS(WSAPoll)(&handles[i], 1, 0) < 0)
            handles[i].revents = POLLNVAL;
        found += handles[i].revents != 0;
    }
    return found;
}

// In the room >>handle a new socket is made non-blocking and the like.
static SOCKET asocket__windows_socket(int domain, int type, int protocol)
{
    SOCKET socket = ASOCKET_WINDOWS(WSASocketW)(domain, type, protocol, NULL, 0,
                                                WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);

    if (socket == INVALID_SOCKET)
        (void)asocket__windows_result(SOCKET_ERROR);
    return socket;
}

static SOCKET asocket__windows_accept(SOCKET listener, struct sockaddr *name, socklen_t *size)
{
    SOCKET socket = ASOCKET_WINDOWS(accept)(listener, name, size);

    if (socket == INVALID_SOCKET)
        (void)asocket__windows_result(SOCKET_ERROR);
    return socket;
}

// Another handle of the same socket, for a process.
static int asocket__windows_duplicate(SOCKET socket, DWORD process, WSAPROTOCOL_INFOW *info)
{
    return asocket__windows_result(ASOCKET_WINDOWS(WSADuplicateSocketW)(socket, process, info));
}

static SOCKET asocket__windows_duplicated(WSAPROTOCOL_INFOW *info)
{
    SOCKET copy =
        ASOCKET_WINDOWS(WSASocketW)(FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO,
                                    info, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);

    if (copy == INVALID_SOCKET)
        (void)asocket__windows_result(SOCKET_ERROR);
    return copy;
}

static SOCKET asocket__windows_dup(SOCKET socket)
{
    WSAPROTOCOL_INFOW info;

    return asocket__windows_duplicate(socket, GetCurrentProcessId(), &info)
               ? INVALID_SOCKET
               : asocket__windows_duplicated(&info);
}

// A thread that looks a name up may outlive the selector, and with it Winsock.
static int asocket__windows_getaddrinfo(const char *host, const char *service,
                                        const struct addrinfo *hints, struct addrinfo **list)
{
    WSADATA data;
    int error = ASOCKET_WINDOWS(WSAStartup)(MAKEWORD(2, 2), &data);

    if (error)
        return EAI_AGAIN;
    error = ASOCKET_WINDOWS(getaddrinfo)(host, service, hints, list);
    (void)ASOCKET_WINDOWS(WSACleanup)();
    return error;
}

// It is in a library that programs would have to be linked with.
static unsigned asocket__windows_if_nametoindex(const char *name)
{
    typedef unsigned long(WINAPI * function)(const char *);
    HMODULE library = LoadLibraryA("iphlpapi.dll");
    union {
        FARPROC plain;
        function typed;
    } find;
    unsigned long index = 0;

    find.plain = library ? GetProcAddress(library, "if_nametoindex") : NULL;
    if (find.plain)
        index = find.typed(name);
    if (library)
        (void)FreeLibrary(library);
    return (unsigned)index;
}

// The position of the file stays where it was.
static ssize_t asocket__windows_pread(int file, void *buffer, size_t size, int64_t offset)
{
    HANDLE handle = (HANDLE)_get_osfhandle(file);
    LARGE_INTEGER zero, position;
    OVERLAPPED from;
    DWORD count = 0;
    BOOL known, done;

    memset(&from, 0, sizeof from);
    from.Offset = (DWORD)offset;
    from.OffsetHigh = (DWORD)(offset >> 32);
    zero.QuadPart = 0;
    known = SetFilePointerEx(handle, zero, &position, FILE_CURRENT);
    done = ReadFile(handle, buffer, (DWORD)asocket__windows_length(size), &count, &from);
    if (!done)
        errno = asocket__windows_errno((int)GetLastError());
    if (!done && GetLastError() == ERROR_HANDLE_EOF)
        done = TRUE;
    if (known)
        (void)SetFilePointerEx(handle, position, NULL, FILE_BEGIN);
    return done ? (ssize_t)count : -1;
}

#endif

// ------------------------------------------------------------------------------------------------
// >>types
// Every structure of the library. Ownership runs downwards: the selector owns all the rest.

enum { ASOCKET__READER = 0, ASOCKET__WRITER = 1 }; // index of a socket's two sides
#define ASOCKET__BOTH        (ASOCKET_READ | ASOCKET_WRITE)
#define ASOCKET__MILLISECOND INT64_C(1000000)
#define ASOCKET__SECOND      INT64_C(1000000000)

typedef struct asocket__link { // a ring of links; a list is a link that is nobody's
    struct asocket__link *next, *previous;
} asocket__link;

enum { ASOCKET__TIMER_TASK = 1, ASOCKET__TIMER_SOCKET = 2 };
typedef struct asocket__timer {
    int64_t due;       // ns; ASOCKET_NEVER: not running
    uint32_t position; // in the heap, from 1; 0: not there
    uint32_t kind;     // what it is part of
} asocket__timer;

typedef struct asocket__heap_entry {
    int64_t key; // the timer's due time when it was filed, never later than the true one
    asocket__timer *timer;
} asocket__heap_entry;

typedef struct asocket__heap {
    asocket__heap_entry *entries; // from 1
    uint32_t count, capacity;
} asocket__heap;

enum { ASOCKET__PATH = 1 };
typedef struct asocket__endpoint { // where a socket is, in 24 bytes
    uint8_t family;                // 4, 6; ASOCKET__PATH; 0: none
    uint8_t unused;
    uint16_t port;
    uint32_t scope;    // interface index; length of the path
    uint8_t bytes[16]; // the address; a pointer to the path, which somebody else owns
} asocket__endpoint;

typedef struct asocket__failure { // a coroutine's last failure; the sentence is made when asked for
    int status, system;           // system: errno, 0 if the library itself refused
    const char *operation, *detail;
    asocket__endpoint endpoint; // family 0: none, and scope is a number that is no port, or 0
    char text[48];              // what was tried when it is no IP address
} asocket__failure;

typedef struct asocket__ring {
    char *data; // NULL: nothing is kept
    uint32_t capacity, head, size;
    uint32_t visible; // what the reader of a pipe may see: up to the last flush
} asocket__ring;

#if ASOCKET__EXCEPTIONS
// __cxa_eh_globals, the same in libstdc++ and libc++abi (Itanium C++ ABI, and ARM's).
typedef struct asocket__caught {
    void *caught;
    unsigned uncaught;
#if defined(__ARM_EABI__) && !defined(__ARM_DWARF_EH__)
    void *propagating;
#endif
} asocket__caught;
#endif

enum { ASOCKET__IDLE, ASOCKET__READY, ASOCKET__RUNNING, ASOCKET__PARKED, ASOCKET__DONE };
typedef struct asocket__task { // a coroutine, at the top of its stack; or the code outside of any
    asocket__link link;        // in the queue of the ready or in one list of waiters
    void *stack_pointer;
#if ASOCKET__WINDOWS
    void *stack_limit; // how far down the stack has memory; a fiber's handle
#endif
    asocket_selector *selector;
    uint8_t state, cancelled, outside, joining;
    int32_t result; // what park answers
    int32_t budget;
    uint32_t index;               // of its stack
    asocket_write_channel *dirty; // auto-flush channels written to since the last wait
    int64_t deadline;             // ns, ASOCKET_NEVER
    asocket__timer timer;
    struct asocket__task *parent;
    asocket__link children, sibling, joiners;
    asocket_function *function;
    void *argument;
    asocket *socket; // closed when function returns
    asocket__failure failure;
#if ASOCKET__SWITCH == ASOCKET__SWITCH_FIBERS
    void (*entry)(struct asocket__task *task);
#endif
#if ASOCKET__ASAN
    void *fake_stack;
    const void *stack_bottom;
    size_t stack_size;
#endif
#if ASOCKET__TSAN
    void *fiber;
#endif
#if ASOCKET__EXCEPTIONS
    asocket__caught caught;
#endif
} asocket__task;
#define ASOCKET__TASK_SIZE ((sizeof(asocket__task) + 63) & ~(size_t)63) // whole cache lines

typedef struct asocket__pipe asocket__pipe;

enum { ASOCKET__BY_CHANNEL = 1, ASOCKET__BY_MANY }; // who opened the reading side
struct asocket_read_channel {
    asocket_selector *selector;
    asocket *socket;     // or
    asocket__pipe *pipe; // where the bytes come from
    asocket__task *task; // who is inside a call
    asocket__ring *ring; // own, or the pipe's
    asocket__ring own;
    int64_t transferred;
    int32_t status; // refuses every call: closed, cancelled
    int32_t ended;  // follows the buffered bytes: end of stream, an error
    uint32_t capacity;
    uint8_t opened;
};

struct asocket_write_channel {
    asocket_selector *selector;
    asocket *socket;
    asocket__pipe *pipe;
    asocket__task *task;
    asocket__ring *ring;
    asocket__ring own;
    int64_t written;
    asocket_write_channel *dirty_next;
    int32_t status; // refuses every call: closed, cancelled, finished, the connection's error
    uint32_t capacity;
    uint32_t reserved, reserved_at; // the window that asocket_reserve gave, in the block
    uint32_t wanted;                // room that a pipe's writer waits for
    uint8_t opened, auto_flush, dirty, finished;
    uint8_t pending; // the loop goes on sending
};

enum {
    ASOCKET__STREAM = 1,
    ASOCKET__LISTENER = 2,
    ASOCKET__DATAGRAM = 4,
    ASOCKET__FOREIGN = 8,
    ASOCKET__LAYER = 16
};
enum { ASOCKET__OPEN = 1, ASOCKET__FLUSHING, ASOCKET__DRAINING, ASOCKET__CLOSED, ASOCKET__FREE };

typedef struct asocket__notice { // asocket_on_ready
    struct asocket__notice *next;
    asocket_function *function;
    void *argument;
    int events;
} asocket__notice;

#if ASOCKET__WINDOWS
typedef struct asocket__parcel { // a socket on its way through a Unix socket, see >>moving
    struct {
        char mark[16];
        WSAPROTOCOL_INFOW info;
    } block;
    uint32_t moved; // bytes of the block
} asocket__parcel;
#else
typedef struct asocket__parcel { // the kernel carries it
    char nothing;
} asocket__parcel;
#endif

typedef struct asocket__names { // of a Unix socket
    char local[108], remote[108];
    uint64_t device, inode; // of the file that goes when the socket is closed
    bool unlink;
    asocket__parcel parcel; // that comes
} asocket__names;

typedef struct asocket__joined asocket__joined; // datagrams that the kernel gave as one
struct asocket {
    asocket_selector *selector; // first what an event and the calls after it touch, close together
    asocket__task *waiter[2];
    uint32_t index, generation;
    asocket_handle handle;
    uint8_t kind, state;
    uint8_t ready;      // directions in which a call may succeed
    uint8_t registered; // directions in which the backend reports a change by itself
    uint8_t hangup;     // read on until there is nothing: the peer has ended its side, for example
    uint8_t reset;      // the connection broke: what follows the bytes is no end of stream
    uint8_t deaf;       // reading was shut down before the peer ended its side
    uint8_t served;     // in the selector's list of sockets to serve
    uint8_t shared;     // its descriptor lives on elsewhere, too
    uint8_t lent;       // and is used there: closing leaves the connection alone
    uint8_t hard;       // ends without a goodbye, by a reset: some of what was written is lost
    uint8_t vain;       // a layer: directions in which the last try would have had to wait
    uint8_t domain;     // AF_INET, AF_INET6, AF_UNIX
    uint8_t received;   // something was received on it before
    uint16_t uncut;     // datagrams: of this size and longer the kernel cuts none
    uint32_t pins;      // coroutines inside a call on it; any number may await its closing
    asocket *lower;     // what a layer stands on
    int64_t timeout;    // ms, as given to asocket_set_timeout
    asocket__notice *notices;
    asocket_read_channel in;
    asocket_write_channel out;
    asocket *serve_next;
    asocket__link link;    // lingering, or free
    asocket__link closers; // who awaits its closing
    asocket__timer timer;  // of the lingering close
    asocket__endpoint local, remote;
    asocket__names *names;   // Unix sockets
    asocket__task *launcher; // the coroutine that was launched with it and lives
    asocket *upper;          // the layer that owns this one
    const asocket_transport *transport;
    void *layer_state;
    union {
        char *host;      // that it was connected to, by name
        const char *why; // a layer: what its transport said of why_status
    } told;
    uint32_t capacity;
    int32_t why_status;
    uint32_t position;       // poll: in the array, from 1
    int16_t alike;           // received ones that it could have joined, to the next try
    asocket__joined *joined; // while it joins them
#if ASOCKET__WINDOWS
    struct asocket__operation *operation[2]; // what the kernel does for it: see >>iocp
    uint8_t attached;                        // to the selector's port, or never
#endif
};

struct asocket__pipe {
    asocket__link link;
    asocket_selector *selector;
    asocket__ring ring;
    uint8_t done; // directions that have ended for good
    asocket_read_channel in;
    asocket_write_channel out;
};

typedef struct asocket__post {
    struct asocket__post *next;
    asocket_function *function;
    asocket_function *drop; // instead of it, when the selector goes; NULL: nothing needs to be done
    void *argument;
} asocket__post;

typedef struct asocket__batch asocket__batch; // of datagrams

typedef struct asocket__attachment { // asocket_attach
    struct asocket__attachment *next;
    const void *key;
    void *value;
    void (*release)(void *value);
} asocket__attachment;

struct asocket__joined {   // of one sender and, but for the last, of one size
    uint32_t at;           // bytes given out
    uint32_t piece, count; // bytes of each; how many are left
    int32_t receives, all; // of this round; datagrams that they brought
    int32_t status;        // what the next receive answers
    bool off;              // it does not pay: to be ended when nothing is left in the kernel
    asocket_datagram whole;
    char bytes[65536];
};

typedef struct asocket__slab { // ASOCKET__SLAB stacks in one mapping
    asocket__link link;        // among those with a free stack
    char *base;
    uint32_t index, used, fresh; // fresh: stacks from here on were never used
    uint32_t free_first;         // index + 1; 0: none
    uint32_t generation[ASOCKET__SLAB];
    uint8_t free_next[ASOCKET__SLAB];
    uint8_t unguarded[ASOCKET__SLAB];
#if ASOCKET__WINDOWS
    void *limits[ASOCKET__SLAB]; // task's stack_limit, while nobody uses the stack
#endif
} asocket__slab;

typedef struct asocket__found { // what a name means
    uint32_t count;
    asocket__endpoint endpoints[ASOCKET__LOOKUP_RESULTS];
} asocket__found;

#if ASOCKET__THREADS
typedef struct asocket__lookup {  // one name, for all who ask for it at the time
    asocket__link link;           // among those of the selector
    struct asocket__lookup *next; // in the pool's queue, then among the answers
    asocket__link waiters;
    uint32_t users; // who will look at the answer
    int status;
    bool done;
    asocket__found found;
    char host[256];
} asocket__lookup;

typedef struct asocket__pool { // outlives the selector when a lookup does
    asocket__mutex lock;
    asocket__condition work;
    asocket_selector *selector; // NULL: it is gone
    asocket__lookup *first, *last, *answers;
    int threads, idle;
} asocket__pool;
#else
typedef void asocket__pool;
#endif

typedef struct asocket__backend { // the contract of every backend; see >>epoll
    int id;
    uint8_t reports; // directions of a new socket that need no arming before a short read counts
    int (*open)(asocket_selector *selector);
    void (*shut)(asocket_selector *selector);
    int (*arm)(asocket_selector *selector, asocket *socket, int directions);
    void (*remove)(asocket_selector *selector, asocket *socket);
    int (*wait)(asocket_selector *selector, int64_t timeout);
    void (*wake)(asocket_selector *selector);
    asocket_handle (*handle)(const asocket_selector *selector);
} asocket__backend;

struct asocket_selector {
    const asocket__backend *backend;
    asocket__task *self;    // who runs: a coroutine, or
    asocket__task *outside; // what stands for the code outside of coroutines
    asocket__link ready;    // coroutines to resume
    asocket__heap heap;
    asocket__post *late; // taken, not yet run
    asocket__slab **slabs;
    asocket__pool *pool;                      // threads that look names up
    asocket **chunks;                         // all sockets, ASOCKET__CHUNK each
    size_t stack_size, guard_size, page_size; // stack_size: the guard included
    uint32_t turning, socket_count, slab_count, channel_capacity;
    asocket_statistics statistics;
    asocket *serve;    // sockets whose background work can go on
    asocket *serving;  // the rest of those that this turn serves
    asocket *occupied; // layers that cannot end yet: tried again every few ms
    uint32_t guests;   // callbacks that run, one inside of the other
    uint32_t chunk_count, chunk_capacity, quarantined;
    asocket__link closed_sockets; // the last ASOCKET__QUARANTINE
    asocket__link free_sockets;   // those before
    asocket *spare;               // made, but its descriptor never came
    uint32_t free_count;
    asocket_allocator allocator;
    int64_t close_timeout;
    uint32_t slab_capacity, mapped_slabs, empty_slabs, guards;
    int guard_kind;
    asocket_function *layer_end; // see >>layer
    const uint8_t *alive;        // 0 in a process forked from ours; see asocket__alive
    int process;                 // or ours
    asocket__batch *batch;
    asocket__attachment *attachments;
    asocket__link open_slabs, idle_slabs; // with free stacks: some; all
    char *buffers, *large_buffers;        // free ones, linked through their first bytes
    char *spare_notices;                  // likewise
    uint32_t buffer_count, large_used;
    asocket__link lingering; // closed sockets that still flush or drain
    asocket__link starved;   // coroutines whose accept waits for a descriptor
    uint32_t starved_credit; // descriptors freed since, one accept each
    int64_t starved_pause;   // ms, the next one
    uint8_t starving, destroying, marked;
    uint8_t refused;       // there was no memory for the first of the late posts
    asocket__link lookups; // names that are being looked up
    asocket__link foreign; // descriptors of others that are waited for
    asocket__link pipes, dead_pipes;
    uint32_t dead_pipe_count;
    asocket__post *posts;  // written by any thread, newest first
    int notified, stopped; // atomic
    int answered;          // atomic: a lookup has ended
    int8_t expected[2];    // what receives on sockets not yet registered brought lately
    uint8_t explored;
    uint32_t since_wait, resumed;
#if ASOCKET__THREADS
    asocket__thread owner;
#endif
    asocket__task root, ends; // ends: stands for whoever launched the ends of layers
    char message[320];
#if ASOCKET__EPOLL
    struct {
        int handle, event;
        bool no_pwait2;
    } epoll;
#endif
#if ASOCKET__KQUEUE
    asocket_handle kqueue;
#endif
#if ASOCKET__WINDOWS
    struct {
        HANDLE port;
        LPFN_ACCEPTEX accept;
        LPFN_CONNECTEX connect;
        uint32_t pending; // operations that the kernel has not yet given back
        int slice;        // ms between two looks at what no port reports
        size_t fiber_size;
    } windows;
#endif
    struct {
        struct pollfd *handles;
        uint32_t *sockets; // index + 1 of the socket at the same place
        uint32_t count, capacity, socket_capacity;
        asocket_handle wake_in, wake_out;
    } poll;
};

// ------------------------------------------------------------------------------------------------
// >>memory
// The allocator, run-time or compile-time. Every block is zeroed; sizes are told when freeing.

static void *asocket__obtain(const asocket_allocator *a, size_t size)
{
    void *block = a->resize ? a->resize(a->user, NULL, 0, size) : ASOCKET_MALLOC(size);

    if (block)
        memset(block, 0, size);
    return block;
}

static ASOCKET__NOINLINE void asocket__dispose(const asocket_allocator *a, void *block, size_t size)
{
    if (!block)
        return;
    if (a->resize)
        (void)a->resize(a->user, block, size, 0);
    else
        ASOCKET_FREE(block);
}

static ASOCKET__SMALL void *asocket__allocate(asocket_selector *selector, size_t size)
{
    return asocket__obtain(&selector->allocator, size);
}

static ASOCKET__SMALL void asocket__release(asocket_selector *selector, void *block, size_t size)
{
    asocket__dispose(&selector->allocator, block, size);
}

// A copy of a block, if there is one; `*missing` is set when there is no memory for it.
static ASOCKET__NOINLINE void *asocket__copy_of(asocket_selector *selector, const void *block,
                                                size_t size, bool *missing)
{
    void *copy = block ? asocket__allocate(selector, size) : NULL;

    if (copy)
        memcpy(copy, block, size);
    else if (block)
        *missing = true;
    return copy;
}

// An array with room for `needed` items: the same one, a larger one, or NULL with all as it was.
static void *asocket__grow(asocket_selector *selector, void *array, uint32_t *capacity,
                           uint32_t needed, size_t item)
{
    const asocket_allocator *a = &selector->allocator;
    uint32_t wanted = *capacity ? *capacity * 2 : 16;
    void *block;

    if (needed <= *capacity)
        return array;
    if (wanted < needed)
        wanted = needed;
    block = a->resize ? a->resize(a->user, array, *capacity * item, wanted * item)
                      : ASOCKET_REALLOC(array, wanted * item);
    if (block)
        *capacity = wanted;
    return block;
}

#if ASOCKET__LINUX
static int asocket__wipe_on_fork(void *page, size_t size)
{
    return ASOCKET_SYS(madvise)(page, size, 18); // MADV_WIPEONFORK, Linux 4.14
}
#elif defined(ASOCKET__INHERIT_ZERO)
static int asocket__wipe_on_fork(void *page, size_t size)
{
    return ASOCKET_SYS(minherit)(page, size, ASOCKET__INHERIT_ZERO);
}
#endif

#if ASOCKET__LINUX || defined(ASOCKET__INHERIT_ZERO)

#define asocket__alive(selector) (*(selector)->alive != 0)

// A mark that reads 0 in a child. Without one, the child is not told from its parent.
static void asocket__birth_mark(asocket_selector *selector)
{
    static const uint8_t always = 1;
    void *page = ASOCKET_SYS(mmap)(NULL, selector->page_size, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    selector->alive = &always;
    if (page == MAP_FAILED)
        return;
    if (asocket__wipe_on_fork(page, selector->page_size)) {
        (void)ASOCKET_SYS(munmap)(page, selector->page_size);
        return;
    }
    *(uint8_t *)page = 1;
    selector->alive = (const uint8_t *)page;
    selector->marked = 1;
}

static void asocket__birth_unmark(asocket_selector *selector)
{
    if (selector->marked)
        (void)ASOCKET_SYS(munmap)((void *)(uintptr_t)selector->alive, selector->page_size);
}

#elif ASOCKET__WINDOWS || ASOCKET__EMBEDDED

#define asocket__alive(selector)        ((void)(selector), true)
#define asocket__birth_mark(selector)   ((void)(selector))
#define asocket__birth_unmark(selector) ((void)(selector))

#else

#define asocket__birth_mark(selector)   ((void)((selector)->process = (int)ASOCKET_SYS(getpid)()))
#define asocket__birth_unmark(selector) ((void)(selector))

// On macOS getpid is no system call.
static bool asocket__alive(const asocket_selector *selector)
{
    return selector->process == (int)ASOCKET_SYS(getpid)();
}

#endif

// ------------------------------------------------------------------------------------------------
// >>list
// Rings of links: what is in one list at most is taken out without knowing which.

static ASOCKET__SMALL void asocket__list_init(asocket__link *list)
{
    list->next = list->previous = list;
}

static bool asocket__list_empty(const asocket__link *list)
{
    return list->next == list;
}

static ASOCKET__SMALL void asocket__list_append(asocket__link *list, asocket__link *link)
{
    link->next = list;
    link->previous = list->previous;
    list->previous->next = link;
    list->previous = link;
}

// Harmless on a link that is in no list.
static void asocket__list_remove(asocket__link *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link->next = link->previous = link;
}

static ASOCKET__SMALL void asocket__list_move(asocket__link *list, asocket__link *link)
{
    asocket__list_remove(link);
    asocket__list_append(list, link);
}

#define ASOCKET__OF(type, member, link) ((type *)(void *)((char *)(link)-offsetof(type, member)))

// ------------------------------------------------------------------------------------------------
// >>heap
// Timers in a 4-ary heap. A timer that is stopped or moved to a later time stays where it is, under
// its old key, and is put right only when it comes to the top: a time-out that never fires costs
// two stores.

static void asocket__heap_place(asocket__heap *heap, uint32_t position, asocket__heap_entry entry)
{
    heap->entries[position] = entry;
    entry.timer->position = position;
}

static void asocket__heap_up(asocket__heap *heap, uint32_t position, asocket__heap_entry entry)
{
    while (position > 1) {
        uint32_t parent = (position + 2) / 4;

        if (heap->entries[parent].key <= entry.key)
            break;
        asocket__heap_place(heap, position, heap->entries[parent]);
        position = parent;
    }
    asocket__heap_place(heap, position, entry);
}

static uint32_t asocket__heap_least_child(const asocket__heap *heap, uint32_t position)
{
    uint32_t first = position * 4 - 2, least = first, i;

    for (i = first + 1; i < first + 4 && i <= heap->count; i++)
        if (heap->entries[i].key < heap->entries[least].key)
            least = i;
    return least;
}

static void asocket__heap_down(asocket__heap *heap, uint32_t position, asocket__heap_entry entry)
{
    while (position * 4 - 2 <= heap->count) {
        uint32_t child = asocket__heap_least_child(heap, position);

        if (heap->entries[child].key >= entry.key)
            break;
        asocket__heap_place(heap, position, heap->entries[child]);
        position = child;
    }
    asocket__heap_place(heap, position, entry);
}

static void asocket__heap_remove(asocket__heap *heap, asocket__timer *timer)
{
    uint32_t position = timer->position;
    asocket__heap_entry last;

    if (!position)
        return;
    timer->position = 0;
    last = heap->entries[heap->count--];
    if (last.timer == timer)
        return;
    if (position > 1 && last.key < heap->entries[(position + 2) / 4].key)
        asocket__heap_up(heap, position, last);
    else
        asocket__heap_down(heap, position, last);
}

// Room for one more timer must have been made with asocket__grow.
static void asocket__heap_start(asocket__heap *heap, asocket__timer *timer, int64_t due)
{
    asocket__heap_entry entry;

    timer->due = due;
    if (timer->position && heap->entries[timer->position].key <= due)
        return;
    entry.key = due;
    entry.timer = timer;
    asocket__heap_up(heap, timer->position ? timer->position : ++heap->count, entry);
}

// When the next timer is due, after putting right what has come to the top; ASOCKET_NEVER: none.
static int64_t asocket__heap_next(asocket__heap *heap)
{
    while (heap->count) {
        asocket__heap_entry top = heap->entries[1];

        if (top.timer->due == top.key)
            return top.key;
        if (top.timer->due == ASOCKET_NEVER) {
            asocket__heap_remove(heap, top.timer);
        } else {
            top.key = top.timer->due;
            asocket__heap_down(heap, 1, top);
        }
    }
    return ASOCKET_NEVER;
}

// ------------------------------------------------------------------------------------------------
// >>error
// System errors become statuses in one place; failures are noted in 100 bytes and told on request.

// Two names of what is one error on most systems: one of them.
static ASOCKET__SMALL int asocket__errno_of(int error)
{
    if (error == EWOULDBLOCK)
        return EAGAIN;
    return error == EOPNOTSUPP ? ENOTSUP : error;
}

static ASOCKET__NOINLINE int asocket__status_of(int error)
{
    switch (asocket__errno_of(error)) {
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN:
    case ESHUTDOWN: return ASOCKET_ECONNRESET;
    case EPROTOTYPE: // a path of the other kind; macOS answers a send that races with a reset so
        return ASOCKET__APPLE ? ASOCKET_ECONNRESET : ASOCKET_EINVAL;
    case ECONNREFUSED: return ASOCKET_ECONNREFUSED;
    case ETIMEDOUT: return ASOCKET_ETIMEDOUT;
    case EADDRINUSE: return ASOCKET_EADDRINUSE;
    case EADDRNOTAVAIL:
    case ENODEV:
    case ENXIO: return ASOCKET_EADDRNOTAVAIL;
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EHOSTDOWN: return ASOCKET_EUNREACHABLE;
    case ENOENT: return ASOCKET_ENOTFOUND;
    case EACCES:
    case EPERM:
    case EROFS: return ASOCKET_EACCES;
    case EINVAL:
    case EBADF:
    case ENOTSOCK:
    case EISCONN:
    case EDESTADDRREQ:
    case ENOTDIR:
    case EFAULT:
    case EDOM: return ASOCKET_EINVAL;
    case EMSGSIZE: return ASOCKET_EMSGSIZE;
    case EBUSY:
    case EALREADY:
    case EEXIST: return ASOCKET_EBUSY;
    case ENOTSUP:
    case EPROTONOSUPPORT:
    case ESOCKTNOSUPPORT:
    case EPFNOSUPPORT:
    case EAFNOSUPPORT:
    case ENOPROTOOPT:
    case ENOSYS: return ASOCKET_ENOTSUP;
    case EMFILE:
    case ENFILE: return ASOCKET_EMFILE;
    case ENOMEM:
    case ENOBUFS:
    case ENOSPC: return ASOCKET_ENOMEM;
    case EAGAIN:
    case EINPROGRESS:
    case EINTR: return ASOCKET_EAGAIN;
    default: return ASOCKET_EIO;
    }
}

static ASOCKET__SMALL int asocket__last_status(void)
{
    return asocket__status_of(errno);
}

// Who calls: the running coroutine, or what stands for the code outside.
static asocket__task *asocket__self(const asocket_selector *selector)
{
    return selector->self;
}

static ASOCKET__PLAIN int asocket__fail(asocket_selector *selector, int status,
                                        const char *operation, const char *detail)
{
    asocket__failure *failure = &asocket__self(selector)->failure;

    failure->status = status;
    failure->system = 0;
    failure->operation = operation;
    failure->detail = detail;
    failure->endpoint.family = 0;
    failure->endpoint.scope = 0;
    failure->text[0] = 0;
    return status;
}

// Nearly every argument that cannot be is answered so.
static ASOCKET__PLAIN int asocket__refuse(asocket_selector *selector, const char *operation,
                                          const char *detail)
{
    return asocket__fail(selector, ASOCKET_EINVAL, operation, detail);
}

static const char *asocket__endpoint_path(const asocket__endpoint *endpoint)
{
    const char *path;

    memcpy(&path, endpoint->bytes, sizeof path);
    return path;
}

// What was tried may be gone when the sentence is made: its beginning is kept.
static ASOCKET__NOINLINE void asocket__note_text(asocket__failure *failure, const char *text,
                                                 size_t length)
{
    size_t i;

    for (i = 0; i < length && i < sizeof failure->text - 1; i++)
        failure->text[i] = text[i] ? text[i] : '@'; // an abstract name
    failure->text[i] = 0;
}

static ASOCKET__PLAIN int asocket__fail_at(asocket_selector *selector, int status, int system,
                                           const char *operation, const asocket__endpoint *endpoint)
{
    asocket__failure *failure = &asocket__self(selector)->failure;

    (void)asocket__fail(selector, status, operation, NULL);
    failure->system = system;
    if (endpoint && endpoint->family == ASOCKET__PATH)
        asocket__note_text(failure, asocket__endpoint_path(endpoint), endpoint->scope);
    else if (endpoint)
        failure->endpoint = *endpoint;
    return status;
}

static ASOCKET__PLAIN int asocket__fail_text(asocket_selector *selector, int status,
                                             const char *operation, const char *text,
                                             const char *detail)
{
    (void)asocket__fail(selector, status, operation, detail);
    asocket__note_text(&asocket__self(selector)->failure, text, strlen(text));
    return status;
}

// ------------------------------------------------------------------------------------------------
// >>address
// Reading and printing addresses: pure, no system call, no locale.

static int asocket__hex_digit(char c)
{
    unsigned digit = (unsigned)(c - '0'), letter = (unsigned)((c | 0x20) - 'a');

    return digit < 10 ? (int)digit : letter < 6 ? (int)letter + 10 : -1;
}

// The readers take text that ends with a NUL byte, and answer where they stopped; NULL: it is
// wrong.

// A number up to `most`: decimal without leading zeros, or 1 to 4 hex digits.
static const char *asocket__number_read(const char *text, int base, uint32_t most, uint32_t *number)
{
    const char *first = text;
    uint64_t value = 0;
    int digit;

    while ((digit = asocket__hex_digit(*text)) >= 0 && digit < base) {
        value = value * (unsigned)base + (unsigned)digit;
        if (value > most)
            return NULL;
        text++;
    }
    *number = (uint32_t)value;
    return text > first && text - first <= (base == 16 ? 4 : *first == '0' ? 1 : 10) ? text : NULL;
}

static const char *asocket__ipv4_read(const char *text, uint8_t bytes[4])
{
    uint32_t part;
    int i;

    for (i = 0; i < 4; i++) {
        if (i && *text++ != '.')
            return NULL;
        text = asocket__number_read(text, 10, 255, &part);
        if (!text)
            return NULL;
        bytes[i] = (uint8_t)part;
    }
    return text;
}

// Groups, perhaps with a dotted tail in place of the last two, into 16 bytes that are zero.
static const char *asocket__ipv6_read(const char *text, uint8_t bytes[16])
{
    uint8_t *at = bytes, *end = bytes + 16, *gap = NULL; // where "::" stood
    const char *after;
    uint32_t group;

    while (at < end) {
        if (text[0] == ':' && text[1] == ':' && !gap) {
            gap = at;
            text += 2;
            if (asocket__hex_digit(*text) < 0)
                break;
        } else if (at > bytes) {
            if (*text != ':')
                break;
            text++;
        }
        after = asocket__number_read(text, 16, 0xffff, &group);
        if (!after || (*after == '.' && end - at < 4))
            return NULL;
        if (*after == '.') {
            text = asocket__ipv4_read(text, at);
            at += 4;
            break;
        }
        *at++ = (uint8_t)(group >> 8);
        *at++ = (uint8_t)group;
        text = after;
    }
    if ((at == end) == (gap != NULL)) // a gap is of one group at least
        return NULL;
    if (gap) {
        memmove(end - (at - gap), gap, (size_t)(at - gap));
        memset(gap, 0, (size_t)(end - at));
    }
    return text;
}

// Of names of hosts and of interfaces.
static ASOCKET__NOINLINE bool asocket__name_character(char c)
{
    return (unsigned)(c - '0') < 10 || (unsigned)((c | 0x20) - 'a') < 26 || c == '_' || c == '-';
}

static const char *asocket__zone_read(const char *text, char zone[16])
{
    int length = 0;

    if (*text != '%')
        return text;
    while (asocket__name_character(*++text) || *text == '.' || *text == '~') {
        if (length == 15)
            return NULL;
        zone[length++] = *text;
    }
    return length ? text : NULL;
}

static const char *asocket__ip_read(const char *text, asocket_ip *ip)
{
    memset(ip, 0, sizeof *ip);
    ip->family = text[strcspn(text, ".:")] == '.' ? 4 : 6;
    if (ip->family == 4)
        return asocket__ipv4_read(text, ip->bytes);
    text = asocket__ipv6_read(text, ip->bytes);
    return text ? asocket__zone_read(text, ip->zone) : NULL;
}

// All of the text is an address.
static bool asocket__ip_is_all(const char *text, asocket_ip *ip)
{
    text = asocket__ip_read(text, ip);
    return text && !*text;
}

// Whoever copies a longer name into a zone may leave out its end.
static bool asocket__ip_is_valid(const asocket_ip *ip)
{
    return (ip->family == 4 || ip->family == 6) && memchr(ip->zone, 0, sizeof ip->zone);
}

static bool asocket__ip_same(const asocket_ip *a, const asocket_ip *b)
{
    if (a->family != b->family)
        return false;
    if (a->family == 4)
        return !memcmp(a->bytes, b->bytes, 4); // of a constant size: no call
    return a->family != 6 ||
           (!memcmp(a->bytes, b->bytes, 16) && !strncmp(a->zone, b->zone, sizeof a->zone));
}

static bool asocket__address_same(const asocket_address *a, const asocket_address *b)
{
    return a->port == b->port && a->path_length == b->path_length &&
           a->path_length <= sizeof a->path &&
           (!a->path_length || !memcmp(a->path, b->path, a->path_length)) &&
           asocket__ip_same(&a->ip, &b->ip);
}

// Characters appended to a buffer that may be too small; the length goes on being counted.
typedef struct asocket__writer {
    char *buffer;
    size_t size, length;
} asocket__writer;

static ASOCKET__NOINLINE void asocket__put(asocket__writer *writer, char c)
{
    if (writer->length + 1 < writer->size)
        writer->buffer[writer->length] = c;
    writer->length++;
}

static void asocket__put_text(asocket__writer *writer, const char *text)
{
    while (*text)
        asocket__put(writer, *text++);
}

static ASOCKET__NOINLINE void asocket__put_number(asocket__writer *writer, unsigned value,
                                                  unsigned base)
{
    if (value >= base)
        asocket__put_number(writer, value / base, base);
    asocket__put(writer, "0123456789abcdef"[value % base]);
}

// Ends the text: its length, or ASOCKET_EMSGSIZE with an empty text, or why there is none.
static ASOCKET__NOINLINE int asocket__put_end(asocket__writer *writer, bool valid)
{
    if (valid && writer->length < writer->size) {
        writer->buffer[writer->length] = 0;
        return (int)writer->length;
    }
    if (writer->buffer && writer->size)
        writer->buffer[0] = 0;
    return valid ? ASOCKET_EMSGSIZE : ASOCKET_EINVAL;
}

static void asocket__put_ipv4(asocket__writer *writer, const uint8_t bytes[4])
{
    int i;

    for (i = 0; i < 4; i++) {
        if (i)
            asocket__put(writer, '.');
        asocket__put_number(writer, bytes[i], 10);
    }
}

static ASOCKET__NOINLINE bool asocket__bytes_are_mapped(const uint8_t bytes[16])
{
    static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    return !memcmp(bytes, prefix, sizeof prefix);
}

// RFC 5952: "::" stands for the first of the longest runs of at least two zero groups.
static void asocket__put_ipv6(asocket__writer *writer, const uint8_t bytes[16])
{
    bool mapped = asocket__bytes_are_mapped(bytes);
    const uint8_t *end = bytes + (mapped ? 12 : 16), *from = bytes, *gap = NULL, *at;
    ptrdiff_t longest = 2;

    for (at = bytes; at < end; at += 2) {
        if (at[0] || at[1])
            from = at + 2;
        if (at + 2 - from > longest) {
            longest = at + 2 - from;
            gap = from;
        }
    }
    for (at = bytes; at < end; at += 2) {
        if (at > bytes || at == gap)
            asocket__put(writer, ':');
        if (at == gap)
            at += longest - 2;
        else
            asocket__put_number(writer, (unsigned)(at[0] << 8 | at[1]), 16);
    }
    if (mapped || (gap && gap + longest == end))
        asocket__put(writer, ':');
    if (mapped)
        asocket__put_ipv4(writer, bytes + 12);
}

static void asocket__put_ip(asocket__writer *writer, const asocket_ip *ip)
{
    if (ip->family == 4) {
        asocket__put_ipv4(writer, ip->bytes);
        return;
    }
    asocket__put_ipv6(writer, ip->bytes);
    if (ip->zone[0])
        asocket__put(writer, '%');
    asocket__put_text(writer, ip->zone);
}

static void asocket__put_address(asocket__writer *writer, const asocket_address *address)
{
    size_t i;

    if (address->path_length) {
        asocket__put_text(writer, "unix:");
        for (i = 0; i < address->path_length; i++)
            asocket__put(writer, address->path[i] ? address->path[i] : '@');
        return;
    }
    if (address->ip.family == 6)
        asocket__put(writer, '[');
    asocket__put_ip(writer, &address->ip);
    asocket__put_text(writer, address->ip.family == 6 ? "]:" : ":");
    asocket__put_number(writer, address->port, 10);
}

static void asocket__endpoint_address(const asocket__endpoint *endpoint, asocket_address *address)
{
    asocket__writer zone = {address->ip.zone, sizeof address->ip.zone, 0};

    memset(address, 0, sizeof *address);
    if (endpoint->family == ASOCKET__PATH) {
        address->path_length = (uint16_t)endpoint->scope;
        memcpy(address->path, asocket__endpoint_path(endpoint), endpoint->scope);
        return;
    }
    address->ip.family = endpoint->family;
    memcpy(address->ip.bytes, endpoint->bytes, 16);
    address->port = endpoint->port;
    if (endpoint->scope)
        asocket__put_number(&zone, endpoint->scope, 10);
}

#if ASOCKET__EMBEDDED
#define asocket__zone_named(zone) (0)
#else
#define asocket__zone_named(zone) ASOCKET_SYS(if_nametoindex)(zone)
#endif

// The interface index of a zone: a number as it is, else a name; 0: no such interface.
static unsigned asocket__zone_index(const char *zone)
{
    uint32_t number;
    const char *end = asocket__number_read(zone, 10, INT_MAX, &number);

    return end && !*end && number ? number : asocket__zone_named(zone);
}

static void asocket__endpoint_at(asocket__endpoint *endpoint, const char *path, size_t length)
{
    memset(endpoint, 0, sizeof *endpoint);
    endpoint->family = ASOCKET__PATH;
    endpoint->scope = (uint32_t)length;
    memcpy(endpoint->bytes, &path, sizeof path);
}

// A path with a NUL byte at its end must fit too, an abstract name needs none.
static bool asocket__path_fits(const char *path, size_t length)
{
    return length <= sizeof((asocket__sockaddr_un *)0)->sun_path - (path[0] != 0);
}

// A path stays where it is: the endpoint points to it.
static int asocket__endpoint_of(const asocket_address *address, asocket__endpoint *endpoint)
{
    if (address->path_length) {
        if (!ASOCKET__PATHS || (!address->path[0] && !ASOCKET__LINUX))
            return ASOCKET_ENOTSUP; // abstract names are Linux' own
        asocket__endpoint_at(endpoint, address->path, address->path_length);
        return asocket__path_fits(address->path, address->path_length) ? 0 : ASOCKET_EINVAL;
    }
    memset(endpoint, 0, sizeof *endpoint);
    if (!asocket__ip_is_valid(&address->ip))
        return ASOCKET_EINVAL;
    endpoint->family = address->ip.family;
    endpoint->port = address->port;
    memcpy(endpoint->bytes, address->ip.bytes, address->ip.family == 4 ? 4 : 16);
    if (address->ip.family == 4 || !address->ip.zone[0])
        return 0;
    endpoint->scope = asocket__zone_index(address->ip.zone);
    return endpoint->scope ? 0 : ASOCKET_EADDRNOTAVAIL;
}

typedef union asocket__native {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
    asocket__sockaddr_un local;
} asocket__native;

// macOS and the BSDs keep the length in the address, too, and some of their calls look there.
#if ASOCKET__APPLE || ASOCKET__BSD
static socklen_t asocket__native_size(asocket__native *native, size_t size)
{
    native->any.sa_len = (uint8_t)size;
    return (socklen_t)size;
}
#else
#define asocket__native_size(native, size) ((socklen_t)(size))
#endif

static socklen_t asocket__native_path(const asocket__endpoint *endpoint, asocket__native *native)
{
    const char *path = asocket__endpoint_path(endpoint);

    native->local.sun_family = AF_UNIX;
    memcpy(native->local.sun_path, path, endpoint->scope);
    return asocket__native_size(native, offsetof(asocket__sockaddr_un, sun_path) + endpoint->scope +
                                            (endpoint->scope && path[0] != 0));
}

static socklen_t asocket__native_of(const asocket__endpoint *endpoint, asocket__native *native)
{
    memset(native, 0, sizeof *native);
    if (ASOCKET__PATHS && endpoint->family == ASOCKET__PATH)
        return asocket__native_path(endpoint, native);
    if (endpoint->family == 4) {
        native->ipv4.sin_family = AF_INET;
        native->ipv4.sin_port = htons(endpoint->port);
        memcpy(&native->ipv4.sin_addr, endpoint->bytes, 4);
        return asocket__native_size(native, sizeof native->ipv4);
    }
    native->ipv6.sin6_family = AF_INET6;
    native->ipv6.sin6_port = htons(endpoint->port);
    native->ipv6.sin6_scope_id = endpoint->scope;
    memcpy(&native->ipv6.sin6_addr, endpoint->bytes, 16);
    return asocket__native_size(native, sizeof native->ipv6);
}

static void asocket__endpoint_native(asocket__endpoint *endpoint, const asocket__native *native)
{
    memset(endpoint, 0, sizeof *endpoint);
    if (native->any.sa_family == AF_INET) {
        endpoint->family = 4;
        endpoint->port = ntohs(native->ipv4.sin_port);
        memcpy(endpoint->bytes, &native->ipv4.sin_addr, 4);
    } else if (native->any.sa_family == AF_INET6) {
        endpoint->family = 6;
        endpoint->port = ntohs(native->ipv6.sin6_port);
        endpoint->scope = native->ipv6.sin6_scope_id;
        memcpy(endpoint->bytes, &native->ipv6.sin6_addr, 16);
    }
}

// There is no padding, and what a family does not use is zero.
static bool asocket__endpoint_equal(const asocket__endpoint *a, const asocket__endpoint *b)
{
    return !memcmp(a, b, sizeof *a);
}

static bool asocket__endpoint_is_any(const asocket__endpoint *endpoint)
{
    uint64_t halves[2];

    memcpy(halves, endpoint->bytes, sizeof halves);
    return !(halves[0] | halves[1]);
}

static int asocket__path_parse(asocket_address *address, const char *path)
{
    size_t length = strlen(path), end = path[0] != '@'; // a NUL byte behind all but abstract names

    if (length + end < 2 || length + end > sizeof address->path)
        return ASOCKET_EINVAL;
    memcpy(address->path, path, length);
    address->path_length = (uint16_t)length;
    if (!end)
        address->path[0] = 0;
    return ASOCKET_OK;
}

// The bytes of a Unix socket's name; trailing NUL bytes of a path are none of it (unix(7)). Only
// Linux has names that begin with one; elsewhere a socket without a name may have nothing else.
static size_t asocket__path_length(const asocket__native *native, size_t size)
{
    size_t before = offsetof(asocket__sockaddr_un, sun_path);
    size_t length = size > before ? size - before : 0;

    if (length > sizeof native->local.sun_path) // Linux counts a NUL byte after the longest one
        length = sizeof native->local.sun_path;
    while (length && (native->local.sun_path[0] || !ASOCKET__LINUX) &&
           !native->local.sun_path[length - 1])
        length--;
    return length;
}

// An address of any family; an unnamed Unix socket has an empty one.
static int asocket__address_native(asocket_address *address, const asocket__native *native,
                                   size_t size)
{
    asocket__endpoint endpoint;

    if (size < offsetof(asocket__sockaddr_un, sun_path))
        return ASOCKET_EINVAL;
    if (native->any.sa_family == AF_UNIX) {
        memset(address, 0, sizeof *address);
        address->path_length = (uint16_t)asocket__path_length(native, (size_t)size);
        memcpy(address->path, native->local.sun_path, address->path_length);
        return ASOCKET_OK;
    }
    asocket__endpoint_native(&endpoint, native);
    if (!endpoint.family ||
        size < (endpoint.family == 4 ? sizeof native->ipv4 : sizeof native->ipv6))
        return ASOCKET_EINVAL;
    asocket__endpoint_address(&endpoint, address);
    return ASOCKET_OK;
}

// ------------------------------------------------------------------------------------------------
// >>ring
// A byte ring over a block lent to it; pure. When it runs empty it starts again at offset 0, so
// that what it holds is nearly always in one piece.

static uint32_t asocket__ring_free(const asocket__ring *ring)
{
    return ring->capacity - ring->size;
}

// Of `length` bytes, `offset` bytes behind the head, those that lie in one piece.
static ASOCKET__SMALL uint32_t asocket__ring_span(const asocket__ring *ring, uint32_t offset,
                                                  uint32_t length, char **bytes)
{
    uint32_t at = ring->head + offset;

    if (at >= ring->capacity)
        at -= ring->capacity;
    *bytes = ring->data + at;
    return length < ring->capacity - at ? length : ring->capacity - at;
}

// The bytes from `offset` on that lie in one piece.
static uint32_t asocket__ring_piece(const asocket__ring *ring, uint32_t offset, char **bytes)
{
    return asocket__ring_span(ring, offset, ring->size - offset, bytes);
}

// The free space after the last byte that lies in one piece.
static uint32_t asocket__ring_space(const asocket__ring *ring, char **bytes)
{
    return asocket__ring_span(ring, ring->size, asocket__ring_free(ring), bytes);
}

// Takes over `count` bytes that were put into the space.
static void asocket__ring_extend(asocket__ring *ring, uint32_t count)
{
    ring->size += count;
}

static inline void asocket__ring_append(asocket__ring *ring, const char *bytes, uint32_t count)
{
    char *space;
    uint32_t length = asocket__ring_space(ring, &space);

    asocket__ring_extend(ring, count);
    if (ASOCKET__UNLIKELY(length < count)) { // the rest goes to the beginning of the block
        memcpy(space, bytes, length);
        space = ring->data;
        bytes += length;
        count -= length;
    }
    memcpy(space, bytes, count);
}

static void asocket__ring_drop(asocket__ring *ring, uint32_t count)
{
    ring->size -= count;
    ring->visible = ring->visible > count ? ring->visible - count : 0;
    ring->head += count;
    if (ring->head >= ring->capacity)
        ring->head -= ring->capacity;
    if (!ring->size)
        ring->head = 0;
}

static void asocket__ring_take(asocket__ring *ring, char *buffer, uint32_t count)
{
    char *bytes;
    uint32_t length;

    if (!count) // perhaps there is no block
        return;
    length = asocket__ring_piece(ring, 0, &bytes);
    if (length > count)
        length = count;
    memcpy(buffer, bytes, length);
    if (ASOCKET__UNLIKELY(length < count))
        memcpy(buffer + length, ring->data, count - length);
    asocket__ring_drop(ring, count);
}

static void asocket__reverse(char *bytes, uint32_t count)
{
    uint32_t i;

    for (i = 0; i < count / 2; i++) {
        char c = bytes[i];

        bytes[i] = bytes[count - 1 - i];
        bytes[count - 1 - i] = c;
    }
}

// Brings the content to offset 0, in place.
static void asocket__ring_straighten(asocket__ring *ring)
{
    if (ring->head + ring->size <= ring->capacity) {
        memmove(ring->data, ring->data + ring->head, ring->size);
    } else {
        asocket__reverse(ring->data, ring->head);
        asocket__reverse(ring->data + ring->head, ring->capacity - ring->head);
        asocket__reverse(ring->data, ring->capacity);
    }
    ring->head = 0;
}

static char asocket__ring_byte(const asocket__ring *ring, uint32_t offset)
{
    char *byte;

    (void)asocket__ring_piece(ring, offset, &byte);
    return *byte;
}

static bool asocket__ring_matches(const asocket__ring *ring, uint32_t offset, const char *delimiter,
                                  uint32_t length)
{
    uint32_t i;

    for (i = 0; i < length; i++) {
        uint32_t at = ring->head + offset + i;

        if (ring->data[at >= ring->capacity ? at - ring->capacity : at] != delimiter[i])
            return false;
    }
    return true;
}

// Offset of the first delimiter that begins at or after `from` within the visible bytes. None does
// if its end were beyond them: then that is where the search must go on when more bytes have come.
static uint32_t asocket__ring_find(const asocket__ring *ring, uint32_t from, const char *delimiter,
                                   uint32_t length)
{
    for (; from + length <= ring->visible; from++) {
        char *bytes;
        uint32_t piece = asocket__ring_span(ring, from, ring->visible - length - from + 1, &bytes);
        const char *hit = (const char *)memchr(bytes, delimiter[0], piece);

        from += hit ? (uint32_t)(hit - bytes) : piece - 1;
        if (hit && asocket__ring_matches(ring, from, delimiter, length))
            break;
    }
    return from;
}

// ------------------------------------------------------------------------------------------------
// >>clock
// Monotonic nanoseconds. Sums saturate; a time-out is counted from a fresh reading, so that it
// never ends early.

#if ASOCKET__WINDOWS

static ASOCKET__NOINLINE int64_t asocket__now(void)
{
    LARGE_INTEGER now, second;

    if (!ASOCKET_WINDOWS(QueryPerformanceCounter)(&now) || !QueryPerformanceFrequency(&second))
        return 0;
    return now.QuadPart / second.QuadPart * ASOCKET__SECOND +
           now.QuadPart % second.QuadPart * ASOCKET__SECOND / second.QuadPart;
}

#else

static ASOCKET__NOINLINE int64_t asocket__now(void)
{
    struct timespec now;

    if (ASOCKET_SYS(clock_gettime)(CLOCK_MONOTONIC, &now))
        return 0;
    return (int64_t)now.tv_sec * ASOCKET__SECOND + now.tv_nsec;
}

#endif

static ASOCKET__NOINLINE int64_t asocket__later(int64_t now, int64_t milliseconds)
{
    if (milliseconds > (ASOCKET_NEVER - now) / ASOCKET__MILLISECOND)
        return ASOCKET_NEVER;
    return now + milliseconds * ASOCKET__MILLISECOND;
}

// Nanoseconds as the milliseconds that a system call takes: never shorter, -1 for ever.
static ASOCKET__SMALL int asocket__round_up(int64_t timeout)
{
    if (timeout <= 0)
        return timeout < 0 ? -1 : 0;
    timeout = (timeout - 1) / ASOCKET__MILLISECOND + 1;
    return timeout > INT_MAX ? INT_MAX : (int)timeout;
}

// Instead of a wait of `timeout` ns that the system refuses, out of memory as it may be: trying
// again at once, and again, would take the whole processor.
#if ASOCKET__WINDOWS
static void asocket__rest(int64_t timeout)
{
    if (timeout)
        ASOCKET_WINDOWS(Sleep)(ASOCKET__REST);
}
#elif ASOCKET__EMBEDDED
static void asocket__rest(int64_t timeout)
{
    if (timeout)
        (void)ASOCKET_SYS(poll)(NULL, 0, ASOCKET__REST);
}
#else
static void asocket__rest(int64_t timeout)
{
    const int64_t most = ASOCKET__REST * ASOCKET__MILLISECOND;
    struct timespec time;

    time.tv_sec = 0;
    time.tv_nsec = (long)(timeout < 0 || timeout > most ? most : timeout);
    if (timeout)
        (void)ASOCKET_SYS(nanosleep)(&time, NULL);
}
#endif

// ------------------------------------------------------------------------------------------------
// >>switch
// From one stack to another. The sanitizers, Valgrind and the C++ run-time are told here and only
// here. asocket__swap_into stores the stack pointer of one task, loads another's and goes on there;
// neither MXCSR nor the x87 control word are kept (four times the cost; a coroutine that changes
// the rounding mode must restore it before it waits).

// What begins and ends a function in assembly: one copy in the program, seen by nobody outside;
// with -flto the assembly of several files may be one text, hence the .ifndef.
#if defined(__APPLE__) && !defined(__ELF__) // Mach-O
#define ASOCKET__BEGIN(name)                                                                       \
    ".ifndef _" name "\n.p2align 4\n.private_extern _" name "\n.weak_definition _" name "\n_" name \
    ":\n"
#define ASOCKET__END(name) ".endif\n"
#else
#define ASOCKET__BEGIN(name)                                                      \
    ".ifndef " name "\n.p2align 4\n.weak " name "\n.hidden " name "\n.type " name \
    ",%function\n" name ":\n"
#define ASOCKET__END(name) ".size " name ",.-" name "\n.endif\n"
#endif

#ifdef __cplusplus
extern "C" {
#endif
void asocket__entry(void); // where a new stack begins: calls main(task); the unwinder stops here
void asocket__swap(void **save, void *load);
#ifdef __cplusplus
}
#endif

#if ASOCKET__SWITCH == ASOCKET__SWITCH_X64

#if defined(__CET__) && (__CET__ & 1)
#define ASOCKET__PAD "endbr64\n\t" // where an indirect branch may land
#else
#define ASOCKET__PAD ""
#endif

// The stack holds the task and the function to call with it.
// clang-format off
__asm__(".text\n"
        ASOCKET__BEGIN("asocket__entry")
        ".cfi_startproc\n"
        ".cfi_undefined rip\n"
        ASOCKET__PAD
        "popq %rdi\n"
        "popq %rax\n"
        "pushq $0\n"
        "jmp *%rax\n"
        ".cfi_endproc\n"
        ASOCKET__END("asocket__entry"));
// clang-format on

// Makes `stack_pointer` such that the first swap to it calls main(task) on the empty stack, whose
// upper end is the task: a multiple of 64.
static void asocket__swap_prepare(asocket__task *task, char *stack, size_t size,
                                  void (*main)(asocket__task *))
{
    uintptr_t *frame = (uintptr_t *)(void *)(stack + size);

    *--frame = (uintptr_t)main;
    *--frame = (uintptr_t)task;
    *--frame = (uintptr_t)asocket__entry;
    *--frame = 0; // rbp: the end of the chain of frames
    *--frame = 0; // rbx
    task->stack_pointer = frame;
}

#ifdef __AVX512F__
#define ASOCKET__MORE_REGISTERS                                                                   \
    , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",   \
        "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6", \
        "k7"
#else
#define ASOCKET__MORE_REGISTERS
#endif

// In line, and left by a jump: after a ret, or a call that never returns, the return predictor
// would be wrong for every function that returns later, 10 ns. The compiler saves what it needs of
// the registers named at the end.
static inline __attribute__((always_inline)) void asocket__swap_into(asocket__task *task,
                                                                     asocket__task *from)
{
    void *load = task->stack_pointer, **save = &from->stack_pointer;

    __asm__ __volatile__("leaq -128(%%rsp), %%rsp\n\t" // past the red zone
                         "leaq 1f(%%rip), %%rax\n\t"
                         "pushq %%rax\n\t"
                         "pushq %%rbp\n\t"
                         "pushq %%rbx\n\t"
                         "movq %%rsp, (%%rdi)\n\t"
                         "movq %%rsi, %%rsp\n\t"
                         "popq %%rbx\n\t"
                         "popq %%rbp\n\t"
                         "popq %%rax\n\t"
                         "jmp *%%rax\n"
                         "1:\n\t" ASOCKET__PAD "leaq 128(%%rsp), %%rsp"
                         : "+D"(save), "+S"(load)
                         :
                         : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                           "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                           "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
                           "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)",
                           "memory", "cc" ASOCKET__MORE_REGISTERS);
}

#elif ASOCKET__SWITCH == ASOCKET__SWITCH_ARM64

enum { ASOCKET__FRAME = 20, ASOCKET__AT_TASK = 0, ASOCKET__AT_MAIN = 1, ASOCKET__AT_ENTRY = 11 };

// clang-format off
__asm__(".text\n"
        ASOCKET__BEGIN("asocket__swap")
        ".cfi_startproc\n"
        "hint #34\n" // bti c
        "sub sp, sp, #160\n"
        "stp x19, x20, [sp]\n"
        "stp x21, x22, [sp, #16]\n"
        "stp x23, x24, [sp, #32]\n"
        "stp x25, x26, [sp, #48]\n"
        "stp x27, x28, [sp, #64]\n"
        "stp x29, x30, [sp, #80]\n"
        "stp d8, d9, [sp, #96]\n"
        "stp d10, d11, [sp, #112]\n"
        "stp d12, d13, [sp, #128]\n"
        "stp d14, d15, [sp, #144]\n"
        "mov x9, sp\n"
        "str x9, [x0]\n"
        "mov sp, x1\n"
        "ldp x19, x20, [sp]\n"
        "ldp x21, x22, [sp, #16]\n"
        "ldp x23, x24, [sp, #32]\n"
        "ldp x25, x26, [sp, #48]\n"
        "ldp x27, x28, [sp, #64]\n"
        "ldp x29, x30, [sp, #80]\n"
        "ldp d8, d9, [sp, #96]\n"
        "ldp d10, d11, [sp, #112]\n"
        "ldp d12, d13, [sp, #128]\n"
        "ldp d14, d15, [sp, #144]\n"
        "add sp, sp, #160\n"
        "ret\n"
        ".cfi_endproc\n"
        ASOCKET__END("asocket__swap")
        ASOCKET__BEGIN("asocket__entry")
        ".cfi_startproc\n"
        ".cfi_undefined x30\n"
        "mov x0, x19\n"
        "mov x16, x20\n" // x16: what a branch to a function under BTI must use
        "mov x29, #0\n"
        "mov x30, #0\n"
        "br x16\n"
        ".cfi_endproc\n"
        ASOCKET__END("asocket__entry"));
// clang-format on

#elif ASOCKET__SWITCH == ASOCKET__SWITCH_ARM

#ifdef __thumb__
#define ASOCKET__THUMB ".thumb\n.thumb_func\n"
#else
#define ASOCKET__THUMB ".arm\n"
#endif
#if defined(__ARM_FP) && !defined(__SOFTFP__)
#define ASOCKET__VPUSH "vpush {d8-d15}\n"
#define ASOCKET__VPOP  "vpop {d8-d15}\n"
enum { ASOCKET__FRAME = 26, ASOCKET__AT_TASK = 17, ASOCKET__AT_MAIN = 18, ASOCKET__AT_ENTRY = 25 };
#else
#define ASOCKET__VPUSH ""
#define ASOCKET__VPOP  ""
enum { ASOCKET__FRAME = 10, ASOCKET__AT_TASK = 1, ASOCKET__AT_MAIN = 2, ASOCKET__AT_ENTRY = 9 };
#endif

// clang-format off
__asm__(".text\n"
        ".syntax unified\n"
        ASOCKET__THUMB
        ASOCKET__BEGIN("asocket__swap")
        "push {r3-r11, lr}\n" // r3: for the stack's alignment
        ASOCKET__VPUSH
        "mov r12, sp\n"
        "str r12, [r0]\n"
        "mov sp, r1\n"
        ASOCKET__VPOP
        "pop {r3-r11, pc}\n"
        ASOCKET__END("asocket__swap")
        ASOCKET__THUMB
        ASOCKET__BEGIN("asocket__entry")
        ".fnstart\n"
        ".cantunwind\n"
        "mov r0, r4\n"
        "mov lr, #0\n"
        "bx r5\n"
        ".fnend\n"
        ASOCKET__END("asocket__entry"));
// clang-format on

#elif ASOCKET__SWITCH == ASOCKET__SWITCH_I386

enum { ASOCKET__FRAME = 10, ASOCKET__AT_ENTRY = 4, ASOCKET__AT_MAIN = 5, ASOCKET__AT_TASK = 6 };

// Left by a jump: after a ret the return predictor would be wrong. The stack holds the function to
// call, and the task in the place of its argument.
// clang-format off
__asm__(".text\n"
        ASOCKET__BEGIN("asocket__swap")
        ".cfi_startproc\n"
        "movl 4(%esp), %eax\n"
        "movl 8(%esp), %edx\n"
        "pushl %ebp\n"
        "pushl %ebx\n"
        "pushl %esi\n"
        "pushl %edi\n"
        "movl %esp, (%eax)\n"
        "movl %edx, %esp\n"
        "popl %edi\n"
        "popl %esi\n"
        "popl %ebx\n"
        "popl %ebp\n"
        "popl %ecx\n"
        ".byte 0x3e\n" // notrack: there is no landing pad behind a call
        "jmp *%ecx\n"
        ".cfi_endproc\n"
        ASOCKET__END("asocket__swap")
        ASOCKET__BEGIN("asocket__entry")
        ".cfi_startproc\n"
        ".cfi_undefined eip\n"
        "popl %eax\n"
        "pushl $0\n"
        "jmp *%eax\n"
        ".cfi_endproc\n"
        ASOCKET__END("asocket__entry"));
// clang-format on

#elif ASOCKET__SWITCH == ASOCKET__SWITCH_RISCV64

enum { ASOCKET__FRAME = 26, ASOCKET__AT_ENTRY = 0, ASOCKET__AT_TASK = 2, ASOCKET__AT_MAIN = 3 };

// clang-format off
#define ASOCKET__MOVE(operation)                                                                 \
    operation " ra, 0(sp)\n"                                                                     \
    operation " s0, 8(sp)\n" operation " s1, 16(sp)\n" operation " s2, 24(sp)\n"                 \
    operation " s3, 32(sp)\n" operation " s4, 40(sp)\n" operation " s5, 48(sp)\n"                \
    operation " s6, 56(sp)\n" operation " s7, 64(sp)\n" operation " s8, 72(sp)\n"                \
    operation " s9, 80(sp)\n" operation " s10, 88(sp)\n" operation " s11, 96(sp)\n"
#ifdef __riscv_float_abi_double
#define ASOCKET__MOVE_FLOATS(operation)                                                          \
    operation " fs0, 104(sp)\n" operation " fs1, 112(sp)\n" operation " fs2, 120(sp)\n"          \
    operation " fs3, 128(sp)\n" operation " fs4, 136(sp)\n" operation " fs5, 144(sp)\n"          \
    operation " fs6, 152(sp)\n" operation " fs7, 160(sp)\n" operation " fs8, 168(sp)\n"          \
    operation " fs9, 176(sp)\n" operation " fs10, 184(sp)\n" operation " fs11, 192(sp)\n"
#else
#define ASOCKET__MOVE_FLOATS(operation)
#endif

__asm__(".text\n"
        ASOCKET__BEGIN("asocket__swap")
        ".cfi_startproc\n"
        "addi sp, sp, -208\n"
        ASOCKET__MOVE("sd")
        ASOCKET__MOVE_FLOATS("fsd")
        "sd sp, 0(a0)\n"
        "mv sp, a1\n"
        ASOCKET__MOVE("ld")
        ASOCKET__MOVE_FLOATS("fld")
        "addi sp, sp, 208\n"
        "ret\n"
        ".cfi_endproc\n"
        ASOCKET__END("asocket__swap")
        ASOCKET__BEGIN("asocket__entry")
        ".cfi_startproc\n"
        ".cfi_undefined ra\n"
        "mv a0, s1\n"
        "li ra, 0\n"
        "jr s2\n"
        ".cfi_endproc\n"
        ASOCKET__END("asocket__entry"));
// clang-format on

#elif ASOCKET__SWITCH == ASOCKET__SWITCH_S390X

enum { ASOCKET__FRAME = 28, ASOCKET__AT_TASK = 14, ASOCKET__AT_MAIN = 15, ASOCKET__AT_ENTRY = 22 };

// A function may save registers in the first 160 bytes of its caller's frame.
// clang-format off
__asm__(".text\n"
        ASOCKET__BEGIN("asocket__swap")
        ".cfi_startproc\n"
        "stmg %r6, %r14, 48(%r15)\n"
        "aghi %r15, -64\n"
        "std %f8, 0(%r15)\n"
        "std %f9, 8(%r15)\n"
        "std %f10, 16(%r15)\n"
        "std %f11, 24(%r15)\n"
        "std %f12, 32(%r15)\n"
        "std %f13, 40(%r15)\n"
        "std %f14, 48(%r15)\n"
        "std %f15, 56(%r15)\n"
        "stg %r15, 0(%r2)\n"
        "lgr %r15, %r3\n"
        "ld %f8, 0(%r15)\n"
        "ld %f9, 8(%r15)\n"
        "ld %f10, 16(%r15)\n"
        "ld %f11, 24(%r15)\n"
        "ld %f12, 32(%r15)\n"
        "ld %f13, 40(%r15)\n"
        "ld %f14, 48(%r15)\n"
        "ld %f15, 56(%r15)\n"
        "aghi %r15, 64\n"
        "lmg %r6, %r14, 48(%r15)\n"
        "br %r14\n"
        ".cfi_endproc\n"
        ASOCKET__END("asocket__swap")
        ASOCKET__BEGIN("asocket__entry")
        ".cfi_startproc\n"
        ".cfi_undefined r14\n"
        "lgr %r2, %r6\n"
        "lghi %r14, 0\n"
        "br %r7\n"
        ".cfi_endproc\n"
        ASOCKET__END("asocket__entry"));
// clang-format on

#endif

#if ASOCKET__SWITCH > ASOCKET__SWITCH_X64 && ASOCKET__SWITCH < ASOCKET__SWITCH_UCONTEXT

// A frame as asocket__swap leaves one, which returns to asocket__entry with main and the task.
static void asocket__swap_prepare(asocket__task *task, char *stack, size_t size,
                                  void (*main)(asocket__task *))
{
    uintptr_t *frame = (uintptr_t *)(void *)(stack + size) - ASOCKET__FRAME;

    memset(frame, 0, ASOCKET__FRAME * sizeof *frame);
    frame[ASOCKET__AT_TASK] = (uintptr_t)task;
    frame[ASOCKET__AT_MAIN] = (uintptr_t)main;
    frame[ASOCKET__AT_ENTRY] = (uintptr_t)asocket__entry;
    task->stack_pointer = frame;
}

static void asocket__swap_into(asocket__task *task, asocket__task *from)
{
    asocket__swap(&from->stack_pointer, task->stack_pointer);
}

#elif ASOCKET__SWITCH == ASOCKET__SWITCH_WIN64

// Windows looks at the bounds of the stack, and at the chain of exception handlers, in the thread's
// block of information (TEB): they belong to a stack, and change with it. StackLimit moves when the
// stack grows: what is current of it is kept on the stack.

// Where a new stack begins: it holds the task and the function to call with it.
static __attribute__((naked, used)) void asocket__begin(void)
{
    __asm__("popq %rcx\n\t"
            "popq %rax\n\t"
            "pushq $0\n\t"
            "jmp *%rax");
}

enum { ASOCKET__SWAP_LIMIT = 1 }; // where on a stack that is left its limit lies
enum { ASOCKET__FIRST_PAGES = 2 };

static void asocket__swap_prepare(asocket__task *task, char *stack, size_t size,
                                  void (*main)(asocket__task *))
{
    uintptr_t *frame = (uintptr_t *)(void *)(stack + size) - 6;

    memset(frame, 0, 6 * sizeof *frame); // room that every function has above its return address
    *--frame = (uintptr_t)main;
    *--frame = (uintptr_t)task;
    *--frame = (uintptr_t)asocket__begin;
    *--frame = 0;                            // rbp
    *--frame = 0;                            // rbx
    *--frame = UINTPTR_MAX;                  // ExceptionList: none
    *--frame = (uintptr_t)(stack + size);    // StackBase
    *--frame = (uintptr_t)task->stack_limit; // StackLimit
    *--frame = (uintptr_t)stack;             // DeallocationStack
    task->stack_pointer = frame;
}

static inline __attribute__((always_inline)) void asocket__swap_into(asocket__task *task,
                                                                     asocket__task *from)
{
    void *load = task->stack_pointer, **save = &from->stack_pointer;

    __asm__ __volatile__("leaq 1f(%%rip), %%rax\n\t"
                         "pushq %%rax\n\t"
                         "pushq %%rbp\n\t"
                         "pushq %%rbx\n\t"
                         "pushq %%gs:0x00\n\t"
                         "pushq %%gs:0x08\n\t"
                         "pushq %%gs:0x10\n\t"
                         "pushq %%gs:0x1478\n\t"
                         "movq %%rsp, (%%rdi)\n\t"
                         "movq %%rsi, %%rsp\n\t"
                         "popq %%gs:0x1478\n\t"
                         "popq %%gs:0x10\n\t"
                         "popq %%gs:0x08\n\t"
                         "popq %%gs:0x00\n\t"
                         "popq %%rbx\n\t"
                         "popq %%rbp\n\t"
                         "popq %%rax\n\t"
                         "jmp *%%rax\n"
                         "1:"
                         : "+D"(save), "+S"(load)
                         :
                         : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                           "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                           "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
                           "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)",
                           "memory", "cc");
}

#elif ASOCKET__SWITCH == ASOCKET__SWITCH_WIN32

// As on 64 bits: see there.
static __attribute__((naked, used)) void asocket__begin(void)
{
    __asm__("popl %eax\n\t"
            "jmp *%eax"); // the return address, 0, and the argument lie there
}

enum { ASOCKET__SWAP_LIMIT = 1 };
enum { ASOCKET__FIRST_PAGES = 2 };

static void asocket__swap_prepare(asocket__task *task, char *stack, size_t size,
                                  void (*main)(asocket__task *))
{
    uintptr_t *frame = (uintptr_t *)(void *)(stack + size) - 4;

    frame[0] = (uintptr_t)task; // the argument lies at a multiple of 16
    *--frame = 0;
    *--frame = (uintptr_t)main;
    *--frame = (uintptr_t)asocket__begin;
    *--frame = 0;                            // ebp
    *--frame = 0;                            // ebx
    *--frame = UINTPTR_MAX;                  // ExceptionList: none
    *--frame = (uintptr_t)(stack + size);    // StackBase
    *--frame = (uintptr_t)task->stack_limit; // StackLimit
    *--frame = (uintptr_t)stack;             // DeallocationStack
    task->stack_pointer = frame;
}

static inline __attribute__((always_inline)) void asocket__swap_into(asocket__task *task,
                                                                     asocket__task *from)
{
    void *load = task->stack_pointer, **save = &from->stack_pointer;

    __asm__ __volatile__("pushl $1f\n\t"
                         "pushl %%ebp\n\t"
                         "pushl %%ebx\n\t"
                         "pushl %%fs:0x00\n\t"
                         "pushl %%fs:0x04\n\t"
                         "pushl %%fs:0x08\n\t"
                         "pushl %%fs:0xe0c\n\t"
                         "movl %%esp, (%%edi)\n\t"
                         "movl %%esi, %%esp\n\t"
                         "popl %%fs:0xe0c\n\t"
                         "popl %%fs:0x08\n\t"
                         "popl %%fs:0x04\n\t"
                         "popl %%fs:0x00\n\t"
                         "popl %%ebx\n\t"
                         "popl %%ebp\n\t"
                         "popl %%eax\n\t"
                         "jmp *%%eax\n"
                         "1:"
                         : "+D"(save), "+S"(load)
                         :
                         : "eax", "ecx", "edx", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)",
                           "st(6)", "st(7)", "memory", "cc");
}

#elif ASOCKET__SWITCH == ASOCKET__SWITCH_FIBERS

// Fibers of the system, which know about shadow stacks and unwinding. A fiber is made with the
// first coroutine on its place and serves those after it; a stack of ours holds nothing but the
// task.

enum { ASOCKET__FIRST_PAGES = 1 };

static void CALLBACK asocket__fiber_main(void *argument)
{
    asocket__task *task = (asocket__task *)argument;

    for (;;) // the function returns when its end is resumed, by a new coroutine in the same place
        task->entry(task);
}

static void asocket__swap_prepare(asocket__task *task, char *stack, size_t size,
                                  void (*main)(asocket__task *))
{
    (void)stack;
    (void)size;
    task->entry = main;
    task->stack_pointer = task->stack_limit;
}

static void asocket__swap_into(asocket__task *task, asocket__task *from)
{
    if (!from->stack_pointer)
        from->stack_pointer = IsThreadAFiber() ? GetCurrentFiber() : ConvertThreadToFiber(NULL);
    SwitchToFiber(task->stack_pointer);
}

#endif

#if ASOCKET__CONTEXTS

// A context lies on its own stack: at the high end until it first runs, then where it was left.
static void asocket__context_entry(unsigned task_high, unsigned task_low, unsigned main_high,
                                   unsigned main_low)
{
    uintptr_t task = (uintptr_t)task_low, main = (uintptr_t)main_low; // makecontext passes ints

    if (sizeof task > sizeof task_low) {
        task |= (uintptr_t)((uint64_t)task_high << 32);
        main |= (uintptr_t)((uint64_t)main_high << 32);
    }
    ((void (*)(asocket__task *))main)((asocket__task *)task);
}

static void asocket__context_prepare(asocket__task *task, char *stack, size_t size,
                                     void (*main)(asocket__task *))
{
    size_t below = (size - sizeof(ucontext_t)) & ~(size_t)63;
    ucontext_t *context = (ucontext_t *)(void *)(stack + below);
    uint64_t address = (uint64_t)(uintptr_t)task, function = (uint64_t)(uintptr_t)main;

    (void)getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = below;
    context->uc_link = NULL;
    makecontext(context, (void (*)(void))asocket__context_entry, 4, (unsigned)(address >> 32),
                (unsigned)address, (unsigned)(function >> 32), (unsigned)function);
    task->stack_pointer = context;
}

static void asocket__context_into(asocket__task *task, asocket__task *from)
{
    ucontext_t here;

    from->stack_pointer = &here;
    (void)swapcontext(&here, (ucontext_t *)task->stack_pointer);
}

#endif

// A shadow stack keeps return addresses apart from the stack. Where one is on, which no program is
// told before it runs, only the C library can switch it along: each switch asks.
#if ASOCKET__SHADOW

#if ASOCKET__SWITCH == ASOCKET__SWITCH_X64
static inline bool asocket__shadow_stack(void)
{
    uintptr_t pointer = 0;

    __asm__ __volatile__("rdsspq %0" : "+r"(pointer)); // does nothing without one
    return pointer != 0;
}
#else
static inline bool asocket__shadow_stack(void)
{
    register uintptr_t off __asm__("x16") = 1;

    __asm__ __volatile__("hint #40" : "+r"(off)); // chkfeat x16
    return !off;
}
#endif

static void asocket__switch_prepare(asocket__task *task, char *stack, size_t size,
                                    void (*main)(asocket__task *))
{
    if (asocket__shadow_stack())
        asocket__context_prepare(task, stack, size, main);
    else
        asocket__swap_prepare(task, stack, size, main);
}

static inline void asocket__switch_into(asocket__task *task, asocket__task *from)
{
    if (ASOCKET__UNLIKELY(asocket__shadow_stack()))
        asocket__context_into(task, from);
    else
        asocket__swap_into(task, from);
}

#elif ASOCKET__SWITCH == ASOCKET__SWITCH_UCONTEXT
#define asocket__switch_prepare asocket__context_prepare
#define asocket__switch_into    asocket__context_into
#else
#define asocket__switch_prepare asocket__swap_prepare
#define asocket__switch_into    asocket__swap_into
#endif

#if ASOCKET__SWITCH == ASOCKET__SWITCH_WIN64 || ASOCKET__SWITCH == ASOCKET__SWITCH_WIN32
#define asocket__swap_limit_first(selector, limit) ((void)(selector), (void *)(limit))
#define asocket__swap_limit_end(limit)             ((void)(limit))

// How far down the stack has memory by now, when its coroutine has ended.
static void *asocket__swap_limit(const asocket__task *task)
{
    return ((void **)task->stack_pointer)[ASOCKET__SWAP_LIMIT];
}
#elif ASOCKET__SWITCH == ASOCKET__SWITCH_FIBERS
#define asocket__swap_limit(task) ((task)->stack_limit)

static void *asocket__swap_limit_first(const asocket_selector *selector, char *page)
{
    return ASOCKET_WINDOWS(CreateFiberEx)(0, selector->windows.fiber_size, FIBER_FLAG_FLOAT_SWITCH,
                                          asocket__fiber_main,
                                          page + selector->page_size - ASOCKET__TASK_SIZE);
}

static void asocket__swap_limit_end(void *fiber)
{
    DeleteFiber(fiber);
}
#endif

#if ASOCKET__COROUTINES

#if ASOCKET__ASAN
#ifdef __cplusplus
extern "C" {
#endif
void __sanitizer_start_switch_fiber(void **save, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *save, const void **bottom, size_t *size);
void __asan_unpoison_memory_region(void const volatile *address, size_t size);
void __lsan_register_root_region(const void *address, size_t size);
void __lsan_unregister_root_region(const void *address, size_t size);
#ifdef __cplusplus
}
#endif

static void asocket__asan_leave(asocket__task *task, asocket__task *from, bool dying)
{
    __sanitizer_start_switch_fiber(dying ? NULL : &from->fake_stack, task->stack_bottom,
                                   task->stack_size);
}

// What was left tells its bounds: so the loop's own stack becomes known.
static void asocket__asan_enter(asocket__task *task)
{
    asocket__task *loop = task->selector->outside;

    if (task->outside)
        __sanitizer_finish_switch_fiber(task->fake_stack, NULL, NULL);
    else
        __sanitizer_finish_switch_fiber(task->fake_stack, &loop->stack_bottom, &loop->stack_size);
}

static void asocket__asan_stack(asocket__task *task, char *stack, size_t size)
{
    __asan_unpoison_memory_region(stack, size);
    task->fake_stack = NULL;
    task->stack_bottom = stack;
    task->stack_size = size;
}

#define asocket__asan_slab(base, size)     __lsan_register_root_region(base, size)
#define asocket__asan_slab_end(base, size) __lsan_unregister_root_region(base, size)
#else
#define asocket__asan_leave(task, from, dying) ((void)(dying))
#define asocket__asan_enter(task)              ((void)0)
#define asocket__asan_stack(task, stack, size) ((void)0)
#define asocket__asan_slab(base, size)         ((void)0)
#define asocket__asan_slab_end(base, size)     ((void)0)
#endif

#if ASOCKET__TSAN
#ifdef __cplusplus
extern "C" {
#endif
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
#ifdef __cplusplus
}
#endif
#define asocket__tsan_start(task) ((task)->fiber = __tsan_create_fiber(0))
#define asocket__tsan_here(task)  ((task)->fiber = __tsan_get_current_fiber())
#define asocket__tsan_leave(task) __tsan_switch_to_fiber((task)->fiber, 0)
#define asocket__tsan_end(task)   __tsan_destroy_fiber((task)->fiber)
#else
#define asocket__tsan_start(task) ((void)0)
#define asocket__tsan_here(task)  ((void)0)
#define asocket__tsan_leave(task) ((void)0)
#define asocket__tsan_end(task)   ((void)0)
#endif

#ifdef ASOCKET_VALGRIND
#define asocket__valgrind_stack(low, high) ((void)VALGRIND_STACK_REGISTER(low, high))
#else
#define asocket__valgrind_stack(low, high) ((void)0)
#endif

#if ASOCKET__EXCEPTIONS
#ifdef _LIBCPPABI_VERSION // has it, but not in its header
namespace __cxxabiv1
{
extern "C" void *__cxa_get_globals(void);
}
#endif
static void asocket__exceptions_swap(asocket__task *task, asocket__task *from)
{
    asocket__caught *globals = (asocket__caught *)(void *)abi::__cxa_get_globals();

    from->caught = *globals;
    *globals = task->caught;
}
#else
#define asocket__exceptions_swap(task, from) ((void)0)
#endif

// Leaves `from` for `task`; returns when somebody comes back to `from`. The loop is a task too.
static void asocket__switch_to(asocket__task *task, asocket__task *from, bool dying)
{
    asocket__exceptions_swap(task, from);
    asocket__asan_leave(task, from, dying);
    asocket__tsan_leave(task);
    asocket__switch_into(task, from);
    asocket__asan_enter(from);
}

#endif

// ------------------------------------------------------------------------------------------------
// >>ready
// Who may go on: waking a task, telling a socket's waiters that its descriptor changed. The
// backends report here; what follows from it is done later, by >>loop.

static void asocket__task_init(asocket_selector *selector, asocket__task *task)
{
    memset(task, 0, sizeof *task);
    asocket__list_init(&task->link);
    asocket__list_init(&task->children);
    asocket__list_init(&task->sibling);
    asocket__list_init(&task->joiners);
    task->selector = selector;
    task->deadline = ASOCKET_NEVER;
    task->timer.due = ASOCKET_NEVER;
    task->timer.kind = ASOCKET__TIMER_TASK;
    task->budget = ASOCKET__BUDGET;
}

// Children outlive their parent as children of its parent.
static ASOCKET__NOINLINE void asocket__children_pass_on(asocket__task *task, asocket__task *parent)
{
    while (!asocket__list_empty(&task->children)) {
        asocket__task *child = ASOCKET__OF(asocket__task, sibling, task->children.next);

        child->parent = parent;
        asocket__list_remove(&child->sibling);
        asocket__list_append(&parent->children, &child->sibling);
    }
}

// Ends a task's wait with a result; the first one to come counts.
static ASOCKET__NOINLINE void asocket__wake(asocket__task *task, int result)
{
    if (task->state != ASOCKET__PARKED)
        return;
    task->state = ASOCKET__READY;
    task->result = result;
    task->timer.due = ASOCKET_NEVER;
    asocket__list_remove(&task->link);
    if (task->outside)
        return; // its own loop looks at its state
    asocket__list_append(&task->selector->ready, &task->link);
    ASOCKET__PREFETCH(task->stack_pointer);
    ASOCKET__PREFETCH((char *)task->stack_pointer + 64);
    ASOCKET__PREFETCH((char *)task->stack_pointer + 128);
    ASOCKET__PREFETCH((char *)task->stack_pointer + 192);
    ASOCKET__PREFETCH((char *)task->stack_pointer + 256);
}

// Whoever it is, if anybody.
static ASOCKET__NOINLINE void asocket__wake_any(asocket__task *task, int result)
{
    if (task)
        asocket__wake(task, result);
}

static void asocket__wake_all(asocket__link *waiters, int result)
{
    while (!asocket__list_empty(waiters))
        asocket__wake(ASOCKET__OF(asocket__task, link, waiters->next), result);
}

// Puts the socket on the list of those whose background work can go on.
static void asocket__socket_serve(asocket *socket)
{
    if (socket->served)
        return;
    socket->served = 1;
    socket->serve_next = socket->selector->serve;
    socket->selector->serve = socket;
}

static bool asocket__socket_has_work(const asocket *socket, int directions)
{
    return socket->notices || socket->state != ASOCKET__OPEN ||
           ((directions & ASOCKET_WRITE) && socket->out.pending);
}

// A backend saw that calls in these directions may succeed now, or fail with an error.
static void asocket__socket_signal(asocket *socket, int directions)
{
    socket->ready = (uint8_t)(socket->ready | directions);
    ASOCKET__PREFETCH(&socket->in.ring);
    ASOCKET__PREFETCH(&socket->out);
    ASOCKET__PREFETCH(&socket->out.own);
    if ((directions & ASOCKET_READ) && socket->waiter[ASOCKET__READER])
        asocket__wake(socket->waiter[ASOCKET__READER], 0);
    if ((directions & ASOCKET_WRITE) && socket->waiter[ASOCKET__WRITER])
        asocket__wake(socket->waiter[ASOCKET__WRITER], 0);
    if (asocket__socket_has_work(socket, directions))
        asocket__socket_serve(socket);
}

static asocket *asocket__socket_at(const asocket_selector *selector, uint32_t index)
{
    return &selector->chunks[index / ASOCKET__CHUNK][index % ASOCKET__CHUNK];
}

// ------------------------------------------------------------------------------------------------
// >>epoll
// A backend is one table of functions over the selector and its sockets:
//   open, shut  make and free what the selector needs, the wake-up included
//   arm         report from now on when a call in these directions may succeed
//   remove      forget the socket before its descriptor is closed or given away
//   wait        sleep up to `timeout` ns (below 0: for ever) and signal what is ready: how
//               many, 0 after a signal, too; -1 when the system refuses
//   wake        end a wait; any thread, signal handlers
//   handle      a descriptor that is readable when wait would find something, or none
// epoll registers a socket once per direction, edge-triggered; after that arming is free. Reading
// is registered at the first read that finds nothing, so that a short connection is never
// registered; writing when a send finds no room.

#if ASOCKET__EPOLL

static const uint64_t asocket__epoll_wake_key = UINT64_MAX; // its lower half is no socket's index

static void asocket__epoll_shut(asocket_selector *selector)
{
    if (selector->epoll.event >= 0)
        (void)ASOCKET_SYS(close)(selector->epoll.event);
    (void)ASOCKET_SYS(close)(selector->epoll.handle);
}

static int asocket__epoll_open(asocket_selector *selector)
{
    struct epoll_event event;
    int status;

    selector->epoll.handle = ASOCKET_SYS(epoll_create1)(EPOLL_CLOEXEC);
    if (selector->epoll.handle < 0)
        return asocket__last_status();
    selector->epoll.event = ASOCKET_SYS(eventfd)(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (selector->epoll.event >= 0) {
        event.events = EPOLLIN | EPOLLET; // each write is an edge: the counter is never read
        event.data.u64 = asocket__epoll_wake_key;
        if (!ASOCKET_SYS(epoll_ctl)(selector->epoll.handle, EPOLL_CTL_ADD, selector->epoll.event,
                                    &event))
            return 0;
    }
    status = asocket__last_status();
    asocket__epoll_shut(selector);
    return status;
}

static int asocket__epoll_control(asocket_selector *selector, asocket *socket, int operation,
                                  int directions)
{
    struct epoll_event event;

    event.events = EPOLLET;
    if (directions & ASOCKET_READ)
        event.events |=
            EPOLLIN | EPOLLRDHUP | (socket->kind == ASOCKET__FOREIGN ? 0U : (uint32_t)EPOLLPRI);
    if (directions & ASOCKET_WRITE)
        event.events |= EPOLLOUT;
    event.data.u64 = (uint64_t)socket->generation << 32 | socket->index;
    selector->statistics.system_calls++;
    if (!ASOCKET_SYS(epoll_ctl)(selector->epoll.handle, operation, socket->handle, &event))
        return 0;
    return errno;
}

static int asocket__epoll_arm(asocket_selector *selector, asocket *socket, int directions)
{
    int wanted = socket->registered | directions, error, tries;
    int operation = socket->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

    if (ASOCKET__LIKELY(wanted == socket->registered && socket->kind != ASOCKET__FOREIGN))
        return 0;
    for (tries = 0; tries < 3; tries++) {
        error = asocket__epoll_control(selector, socket, operation, wanted);
        if (error == EEXIST) // closed under this number, kept by a duplicate, and now it is back
            operation = EPOLL_CTL_MOD;
        else if (error == ENOENT && !socket->registered) // and that one has gone in between
            operation = EPOLL_CTL_ADD;
        else
            break;
    }
    if (error == EPERM && socket->kind == ASOCKET__FOREIGN) { // a plain file is always ready
        asocket__socket_signal(socket, directions);
        return 0;
    }
    if (error)
        return asocket__status_of(error);
    socket->registered = (uint8_t)wanted;
    return 0;
}

// Closing removes a descriptor from the set, unless it was duplicated: then late events meet a
// generation that has moved on. Only what lives on elsewhere is removed by a call.
static void asocket__epoll_remove(asocket_selector *selector, asocket *socket)
{
    if (socket->registered && (socket->kind == ASOCKET__FOREIGN || socket->shared))
        (void)asocket__epoll_control(selector, socket, EPOLL_CTL_DEL, 0);
    socket->registered = 0;
}

// Whose event it is, or was; NULL: the wake-up's.
static ASOCKET__SMALL asocket *asocket__epoll_socket(const asocket_selector *selector,
                                                     const struct epoll_event *event)
{
    uint32_t index = (uint32_t)event->data.u64;

    return index < selector->socket_count ? asocket__socket_at(selector, index) : NULL;
}

static void asocket__epoll_report(asocket_selector *selector, const struct epoll_event *event)
{
    asocket *socket = asocket__epoll_socket(selector, event);
    int directions = 0;

    if (!socket || socket->generation != (uint32_t)(event->data.u64 >> 32))
        return;
    // An error or hang-up ends both directions; the calls themselves will say which error.
    if (event->events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLERR | EPOLLHUP))
        directions |= ASOCKET_READ;
    if (event->events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
        directions |= ASOCKET_WRITE;
    // A receive ends before urgent data (tcp(7)), although there is more.
    if (event->events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP | EPOLLPRI))
        socket->hangup = 1;
    asocket__socket_signal(socket, directions);
}

enum { ASOCKET__EPOLL_PWAIT2 = 441 }; // its number, with which C libraries may not yet come

// epoll_pwait2 (Linux 5.11) sleeps to the nanosecond; without it the time is rounded up.
static int asocket__epoll_sleep(asocket_selector *selector, struct epoll_event *events,
                                int64_t timeout)
{
    struct {
        int64_t seconds, nanoseconds; // the kernel's, also where the C library's are shorter
    } time;

    if (timeout > 0 && !selector->epoll.no_pwait2) {
        int count;

        time.seconds = timeout / ASOCKET__SECOND;
        time.nanoseconds = timeout % ASOCKET__SECOND;
        count = (int)ASOCKET_SYS(syscall)((long)ASOCKET__EPOLL_PWAIT2, (long)selector->epoll.handle,
                                          events, (long)ASOCKET__EVENTS, (void *)&time, NULL,
                                          (size_t)0);
        if (count >= 0 || errno == EINTR)
            return count;
        selector->epoll.no_pwait2 = true; // ENOSYS; EPERM and others where a filter forbids it
    }
    return ASOCKET_SYS(epoll_wait)(selector->epoll.handle, events, ASOCKET__EVENTS,
                                   asocket__round_up(timeout));
}

static int asocket__epoll_wait(asocket_selector *selector, int64_t timeout)
{
    struct epoll_event events[ASOCKET__EVENTS];
    int count = asocket__epoll_sleep(selector, events, timeout), i;

    for (i = 0; i < count; i++) {
        if (i + 2 < count)
            ASOCKET__PREFETCH(asocket__epoll_socket(selector, &events[i + 2]));
        asocket__epoll_report(selector, &events[i]);
    }
    return count < 0 && errno == EINTR ? 0 : count;
}

static void asocket__epoll_wake(asocket_selector *selector)
{
    uint64_t one = 1;
    ssize_t written;

    do {
        written = ASOCKET_SYS(write)(selector->epoll.event, &one, sizeof one);
    } while (written < 0 && errno == EINTR); // EAGAIN: it is full, and an edge is on its way
}

static asocket_handle asocket__epoll_handle(const asocket_selector *selector)
{
    return selector->epoll.handle;
}

static const asocket__backend asocket__epoll_backend = {
    ASOCKET_BACKEND_EPOLL, 0,
    asocket__epoll_open,   asocket__epoll_shut,
    asocket__epoll_arm,    asocket__epoll_remove,
    asocket__epoll_wait,   asocket__epoll_wake,
    asocket__epoll_handle,
};

#endif

// ------------------------------------------------------------------------------------------------
// >>poll
// POSIX poll(2): the array holds only what is waited for; a report takes it out again, so that a
// descriptor that nobody waits for cannot make it spin.

static int asocket__poll_room(asocket_selector *selector, uint32_t needed)
{
    void *handles = asocket__grow(selector, selector->poll.handles, &selector->poll.capacity,
                                  needed, sizeof *selector->poll.handles);
    void *sockets;

    if (!handles)
        return ASOCKET_ENOMEM;
    selector->poll.handles = (struct pollfd *)handles;
    sockets = asocket__grow(selector, selector->poll.sockets, &selector->poll.socket_capacity,
                            needed, sizeof *selector->poll.sockets);
    if (!sockets)
        return ASOCKET_ENOMEM;
    selector->poll.sockets = (uint32_t *)sockets;
    return 0;
}

#if ASOCKET__WINDOWS || ASOCKET__EMBEDDED

#if ASOCKET__WINDOWS
static int asocket__poll_nonblocking(asocket_handle handle)
{
    unsigned long on = 1;

    return asocket__windows_result(ASOCKET_WINDOWS(ioctlsocket)(handle, (long)FIONBIO, &on));
}
#else
static int asocket__poll_nonblocking(asocket_handle handle)
{
    int flags = ASOCKET_SYS(fcntl)(handle, F_GETFL, 0);

    return flags < 0 ? flags : ASOCKET_SYS(fcntl)(handle, F_SETFL, flags | O_NONBLOCK);
}
#endif

// A datagram socket that is its own peer.
static int asocket__poll_open_socket(asocket_selector *selector)
{
    struct sockaddr_in self;
    socklen_t size = sizeof self;
    asocket_handle handle = ASOCKET_SYS(socket)(AF_INET, SOCK_DGRAM, 0);

    selector->poll.wake_in = handle;
    if (handle == ASOCKET__NO_HANDLE)
        return asocket__last_status();
    memset(&self, 0, sizeof self);
    self.sin_family = AF_INET;
    self.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (ASOCKET_SYS(bind)(handle, (struct sockaddr *)(void *)&self, sizeof self) ||
        ASOCKET_SYS(getsockname)(handle, (struct sockaddr *)(void *)&self, &size) ||
        ASOCKET_SYS(connect)(handle, (struct sockaddr *)(void *)&self, sizeof self) ||
        asocket__poll_nonblocking(handle))
        return asocket__last_status();
    return 0;
}

#if ASOCKET__WINDOWS
static void asocket__poll_close_pipe(asocket_selector *selector)
{
    if (selector->poll.wake_in != ASOCKET__NO_HANDLE)
        (void)ASOCKET_SYS(close)(selector->poll.wake_in);
    (void)ASOCKET_WINDOWS(WSACleanup)();
}

static int asocket__poll_open_pipe(asocket_selector *selector)
{
    WSADATA data;
    int status;

    if (ASOCKET_WINDOWS(WSAStartup)(MAKEWORD(2, 2), &data))
        return ASOCKET_ENOTSUP;
    status = asocket__poll_open_socket(selector);
    if (status)
        asocket__poll_close_pipe(selector);
    return status;
}
#else
static void asocket__poll_close_pipe(asocket_selector *selector)
{
    if (selector->poll.wake_in != ASOCKET__NO_HANDLE)
        (void)ASOCKET_SYS(close)(selector->poll.wake_in);
}

static int asocket__poll_open_pipe(asocket_selector *selector)
{
    int status = asocket__poll_open_socket(selector);

    if (status)
        asocket__poll_close_pipe(selector);
    return status;
}
#endif

static ssize_t asocket__wake_read(const asocket_selector *selector, char *bytes, size_t size)
{
    return ASOCKET_SYS(recv)(selector->poll.wake_in, bytes, size, 0);
}

static ssize_t asocket__wake_write(const asocket_selector *selector)
{
    return ASOCKET_SYS(send)(selector->poll.wake_in, "", 1, 0);
}

#else

// A pipe that ends a wait when it is written to.
static void asocket__poll_close_pipe(asocket_selector *selector)
{
    if (selector->poll.wake_in < 0) // kqueue did without
        return;
    (void)ASOCKET_SYS(close)(selector->poll.wake_in);
    (void)ASOCKET_SYS(close)(selector->poll.wake_out);
}

#if ASOCKET__LINUX || ASOCKET__BSD

static int asocket__poll_pipe(int ends[2])
{
    return ASOCKET_SYS(pipe2)(ends, O_NONBLOCK | O_CLOEXEC) ? asocket__last_status() : 0;
}

#define asocket__poll_prepare(handle) ((void)(handle), 0) // it is from its birth

#else

static int asocket__poll_pipe(int ends[2])
{
    return ASOCKET_SYS(pipe)(ends) ? asocket__last_status() : 0;
}

static int asocket__poll_prepare(int handle)
{
    int flags = ASOCKET_SYS(fcntl)(handle, F_GETFL);

    if (flags < 0 || ASOCKET_SYS(fcntl)(handle, F_SETFL, flags | O_NONBLOCK) < 0 ||
        ASOCKET_SYS(fcntl)(handle, F_SETFD, FD_CLOEXEC) < 0)
        return asocket__last_status();
    return 0;
}

#endif

static int asocket__poll_open_pipe(asocket_selector *selector)
{
    int ends[2], status = asocket__poll_pipe(ends);

    if (status)
        return status;
    selector->poll.wake_in = ends[0];
    selector->poll.wake_out = ends[1];
    status = asocket__poll_prepare(ends[0]);
    if (!status)
        status = asocket__poll_prepare(ends[1]);
    if (status)
        asocket__poll_close_pipe(selector);
    return status;
}

static ssize_t asocket__wake_read(const asocket_selector *selector, char *bytes, size_t size)
{
    return ASOCKET_SYS(read)(selector->poll.wake_in, bytes, size);
}

static ssize_t asocket__wake_write(const asocket_selector *selector)
{
    return ASOCKET_SYS(write)(selector->poll.wake_out, "", 1);
}

#endif

static void asocket__poll_free(asocket_selector *selector)
{
    asocket__release(selector, selector->poll.handles,
                     selector->poll.capacity * sizeof *selector->poll.handles);
    asocket__release(selector, selector->poll.sockets,
                     selector->poll.socket_capacity * sizeof *selector->poll.sockets);
}

static void asocket__poll_shut(asocket_selector *selector)
{
    asocket__poll_close_pipe(selector);
    asocket__poll_free(selector);
}

static int asocket__poll_open(asocket_selector *selector)
{
    int status = asocket__poll_open_pipe(selector);

    if (status)
        return status;
    if (asocket__poll_room(selector, 1)) {
        asocket__poll_shut(selector);
        return ASOCKET_ENOMEM;
    }
    selector->poll.handles[0].fd = selector->poll.wake_in;
    selector->poll.handles[0].events = POLLIN;
    selector->poll.sockets[0] = 0;
    selector->poll.count = 1;
    return 0;
}

static short asocket__poll_events(int directions)
{
    return (short)((directions & ASOCKET_READ ? POLLIN : 0) |
                   (directions & ASOCKET_WRITE ? POLLOUT : 0));
}

static int asocket__poll_arm(asocket_selector *selector, asocket *socket, int directions)
{
    uint32_t position = socket->position;

    if (!position) {
        position = selector->poll.count;
        if (asocket__poll_room(selector, position + 1))
            return ASOCKET_ENOMEM;
        selector->poll.count = position + 1;
        selector->poll.sockets[position] = socket->index + 1;
        selector->poll.handles[position].fd = socket->handle;
        selector->poll.handles[position].events = 0;
        socket->position = position;
    }
    selector->poll.handles[position].events |= asocket__poll_events(directions);
    return 0;
}

static void asocket__poll_remove(asocket_selector *selector, asocket *socket)
{
    uint32_t last, position = socket->position;

    if (!position)
        return;
    last = --selector->poll.count;
    selector->poll.handles[position] = selector->poll.handles[last];
    selector->poll.sockets[position] = selector->poll.sockets[last];
    asocket__socket_at(selector, selector->poll.sockets[position] - 1)->position = position;
    socket->position = 0;
}

static void asocket__poll_report(asocket_selector *selector, uint32_t position)
{
    struct pollfd *entry = &selector->poll.handles[position];
    asocket *socket = asocket__socket_at(selector, selector->poll.sockets[position] - 1);
    int came = entry->events, directions;

    if (entry->revents & (POLLERR | POLLHUP | POLLNVAL))
        socket->hangup = 1; // all that is waited for ends
    else
        came &= entry->revents;
    directions = (came & POLLIN ? ASOCKET_READ : 0) | (came & POLLOUT ? ASOCKET_WRITE : 0);
    entry->events = (short)(entry->events & ~asocket__poll_events(directions));
    if (!entry->events)
        asocket__poll_remove(selector, socket);
    asocket__socket_signal(socket, directions);
}

#if ASOCKET__LINUX
static ASOCKET__NOINLINE int asocket__poll_sleep(struct pollfd *handles, uint32_t count,
                                                 int64_t timeout)
{
    struct timespec time;

    time.tv_sec = (time_t)(timeout / ASOCKET__SECOND);
    time.tv_nsec = (long)(timeout % ASOCKET__SECOND);
    return ASOCKET_SYS(ppoll)(handles, count, timeout < 0 ? NULL : &time, NULL);
}
#else
static ASOCKET__NOINLINE int asocket__poll_sleep(struct pollfd *handles, uint32_t count,
                                                 int64_t timeout)
{
    return ASOCKET_SYS(poll)(handles, count, asocket__round_up(timeout));
}
#endif

// Whether a call in these directions would succeed or fail at once; for every backend.
static bool asocket__poll_look(asocket_handle handle, int directions)
{
    struct pollfd entry;

    entry.fd = handle;
    entry.events = asocket__poll_events(directions);
    entry.revents = 0;
    return asocket__poll_sleep(&entry, 1, 0) > 0;
}

static void asocket__poll_drain_wake(asocket_selector *selector)
{
    char bytes[64];

    while (asocket__wake_read(selector, bytes, sizeof bytes) == (ssize_t)sizeof bytes) {
    }
}

// The array from `first` on.
static int asocket__poll_collect(asocket_selector *selector, uint32_t first, int64_t timeout)
{
    int count =
        asocket__poll_sleep(selector->poll.handles + first, selector->poll.count - first, timeout);
    int left = count;
    uint32_t position;

    // Backwards, for a report may move the last entry into its place.
    for (position = selector->poll.count; left > 0 && position-- > first;) {
        if (!selector->poll.handles[position].revents)
            continue;
        left--;
        if (position)
            asocket__poll_report(selector, position);
        else
            asocket__poll_drain_wake(selector);
    }
    return count < 0 && errno == EINTR ? 0 : count;
}

static int asocket__poll_wait(asocket_selector *selector, int64_t timeout)
{
    return asocket__poll_collect(selector, 0, timeout);
}

static void asocket__poll_wake(asocket_selector *selector)
{
    ssize_t written;

    do {
        written = asocket__wake_write(selector);
    } while (written < 0 && errno == EINTR); // EAGAIN: the pipe is full, and so readable
}

static asocket_handle asocket__poll_handle(const asocket_selector *selector)
{
    (void)selector;
    return ASOCKET__NO_HANDLE;
}

static const asocket__backend asocket__poll_backend = {
    ASOCKET_BACKEND_POLL, ASOCKET__BOTH,      asocket__poll_open,
    asocket__poll_shut,   asocket__poll_arm,  asocket__poll_remove,
    asocket__poll_wait,   asocket__poll_wake, asocket__poll_handle,
};

// ------------------------------------------------------------------------------------------------
// >>kqueue
// kqueue(2) of macOS and the BSDs. Each direction is a filter of its own, registered once and
// edge-triggered (EV_CLEAR), as late as with epoll. Closing a descriptor takes its filters out; no
// child process inherits a kqueue. The types in struct kevent differ between the systems: EV_SET
// fills it from constants, and filters are only compared with ==, for EVFILT_READ may be -1 or 0U.

#if ASOCKET__KQUEUE

#if defined(__NetBSD__) && __NetBSD_Version__ < 1000000000
typedef intptr_t asocket__kqueue_key;
#else
typedef void *asocket__kqueue_key;
#endif

#define ASOCKET__KQUEUE_KEY(index) ((asocket__kqueue_key)(uintptr_t)(index))
#define ASOCKET__KQUEUE_WAKE       UINT32_MAX // no socket's index

// One change or two; EINTR tells that a signal came, not that they were not made. The count is a
// constant, for its type differs, too.
static int asocket__kqueue_apply(asocket_selector *selector, const struct kevent *changes,
                                 int count)
{
    if (!ASOCKET_SYS(kevent)(selector->kqueue, changes, count > 1 ? 2 : 1, NULL, 0, NULL) ||
        errno == EINTR)
        return 0;
    return errno;
}

#ifdef EVFILT_USER

static int asocket__kqueue_open_event(asocket_selector *selector)
{
    struct kevent change;

    EV_SET(&change, 0, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0,
           ASOCKET__KQUEUE_KEY(ASOCKET__KQUEUE_WAKE));
    return asocket__kqueue_apply(selector, &change, 1);
}

static void asocket__kqueue_trigger(asocket_selector *selector)
{
    struct kevent change;

    EV_SET(&change, 0, EVFILT_USER, 0, NOTE_TRIGGER, 0, ASOCKET__KQUEUE_KEY(ASOCKET__KQUEUE_WAKE));
    (void)asocket__kqueue_apply(selector, &change, 1);
}

#else

static int asocket__kqueue_open_event(asocket_selector *selector)
{
    (void)selector;
    return EINVAL;
}

#define asocket__kqueue_trigger(selector) ((void)(selector))

#endif

// The kernel may be older than the headers (NetBSD before 10, OpenBSD): then a pipe wakes.
static int asocket__kqueue_open_wake(asocket_selector *selector)
{
    struct kevent change;
    int status;

    selector->poll.wake_in = -1;
    if (!asocket__kqueue_open_event(selector))
        return 0;
    status = asocket__poll_open_pipe(selector);
    if (status)
        return status;
    EV_SET(&change, (uintptr_t)selector->poll.wake_in, EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0,
           ASOCKET__KQUEUE_KEY(ASOCKET__KQUEUE_WAKE));
    status = asocket__kqueue_apply(selector, &change, 1);
    if (status)
        asocket__poll_close_pipe(selector);
    return status ? asocket__status_of(status) : 0;
}

static int asocket__kqueue_open(asocket_selector *selector)
{
    int status = 0;

    selector->kqueue = ASOCKET_SYS(kqueue)();
    if (selector->kqueue < 0)
        return asocket__last_status();
    if (ASOCKET_SYS(fcntl)(selector->kqueue, F_SETFD, FD_CLOEXEC) < 0)
        status = asocket__last_status();
    if (!status)
        status = asocket__kqueue_open_wake(selector);
    if (status)
        (void)ASOCKET_SYS(close)(selector->kqueue);
    return status;
}

// In a child its number is free, or somebody else's.
static void asocket__kqueue_shut(asocket_selector *selector)
{
    if (asocket__alive(selector))
        (void)ASOCKET_SYS(close)(selector->kqueue);
    asocket__poll_close_pipe(selector);
}

static int asocket__kqueue_set(struct kevent *changes, const asocket *socket, int directions,
                               bool add)
{
    int count = 0;

    if (directions & ASOCKET_READ) {
        EV_SET(&changes[count], (uintptr_t)socket->handle, EVFILT_READ,
               add ? EV_ADD | EV_CLEAR : EV_DELETE, 0, 0, ASOCKET__KQUEUE_KEY(socket->index));
        count++;
    }
    if (directions & ASOCKET_WRITE) {
        EV_SET(&changes[count], (uintptr_t)socket->handle, EVFILT_WRITE,
               add ? EV_ADD | EV_CLEAR : EV_DELETE, 0, 0, ASOCKET__KQUEUE_KEY(socket->index));
        count++;
    }
    return count;
}

// A plain file is always ready; kqueue would say so only before its end.
static bool asocket__kqueue_is_file(const asocket *socket)
{
    struct stat status;

    return !ASOCKET_SYS(fstat)(socket->handle, &status) && S_ISREG(status.st_mode);
}

static int asocket__kqueue_arm(asocket_selector *selector, asocket *socket, int directions)
{
    bool foreign = socket->kind == ASOCKET__FOREIGN;
    int wanted = foreign ? directions : directions & ~socket->registered, error;
    struct kevent changes[2];

    if (ASOCKET__LIKELY(!wanted))
        return 0;
    if (foreign && asocket__kqueue_is_file(socket)) {
        asocket__socket_signal(socket, wanted);
        return 0;
    }
    selector->statistics.system_calls++;
    error = asocket__kqueue_apply(selector, changes,
                                  asocket__kqueue_set(changes, socket, wanted, true));
    if (!error || foreign) // of a foreign one's two filters one may be there: both will go
        socket->registered = (uint8_t)(socket->registered | wanted);
    // Some devices have no filter, and macOS refuses a pipe that lost its other end: a call tells.
    if (foreign && (error == EINVAL || error == ENODEV || error == EPERM || error == EPIPE)) {
        asocket__socket_signal(socket, wanted);
        return 0;
    }
    return error ? asocket__status_of(error) : 0;
}

// The system forgets what is closed. What lives on elsewhere is removed here, one by one, for the
// first change that fails ends the call.
static void asocket__kqueue_remove(asocket_selector *selector, asocket *socket)
{
    bool lives_on = socket->kind == ASOCKET__FOREIGN || socket->shared;
    int directions = lives_on ? socket->registered : 0;
    struct kevent change;

    if (asocket__kqueue_set(&change, socket, directions & ASOCKET_READ, false))
        (void)asocket__kqueue_apply(selector, &change, 1);
    if (asocket__kqueue_set(&change, socket, directions & ASOCKET_WRITE, false))
        (void)asocket__kqueue_apply(selector, &change, 1);
    socket->registered = 0;
}

static void asocket__kqueue_report(asocket_selector *selector, const struct kevent *event)
{
    uint32_t index = (uint32_t)(uintptr_t)event->udata;
    int directions = event->filter == EVFILT_READ ? ASOCKET_READ : ASOCKET_WRITE;
    asocket *socket;

    if (index == ASOCKET__KQUEUE_WAKE && selector->poll.wake_in >= 0)
        asocket__poll_drain_wake(selector);
    if (index >= selector->socket_count)
        return;
    socket = asocket__socket_at(selector, index);
    if (event->ident != (uintptr_t)socket->handle)
        return;
    // Bytes may still stand before the end of what is read. Of what is written it may be our own
    // end; a connection that broke, or was refused, says so to both.
    if ((event->flags & EV_EOF) && event->filter == EVFILT_READ)
        socket->hangup = 1;
    if ((event->flags & EV_EOF) && event->fflags) {
        directions = ASOCKET__BOTH;
        if (asocket__status_of((int)event->fflags) == ASOCKET_ECONNRESET)
            socket->reset = 1; // also when another call takes the error away
    }
    if (event->flags & EV_ERROR)
        directions = ASOCKET__BOTH;
    asocket__socket_signal(socket, directions);
}

static int asocket__kqueue_wait(asocket_selector *selector, int64_t timeout)
{
    const int64_t day = 86400;
    struct kevent events[ASOCKET__EVENTS];
    struct timespec time;
    int count, i;

    time.tv_sec = (time_t)(timeout / ASOCKET__SECOND > day ? day : timeout / ASOCKET__SECOND);
    time.tv_nsec = (long)(timeout % ASOCKET__SECOND);
    count = ASOCKET_SYS(kevent)(selector->kqueue, NULL, 0, events, ASOCKET__EVENTS,
                                timeout < 0 ? NULL : &time);
    for (i = 0; i < count; i++)
        asocket__kqueue_report(selector, &events[i]);
    return count < 0 && errno == EINTR ? 0 : count;
}

static void asocket__kqueue_wake(asocket_selector *selector)
{
    if (selector->poll.wake_in >= 0)
        asocket__poll_wake(selector);
    else
        asocket__kqueue_trigger(selector);
}

static asocket_handle asocket__kqueue_handle(const asocket_selector *selector)
{
    return selector->kqueue;
}

static const asocket__backend asocket__kqueue_backend = {
    ASOCKET_BACKEND_KQUEUE, 0,
    asocket__kqueue_open,   asocket__kqueue_shut,
    asocket__kqueue_arm,    asocket__kqueue_remove,
    asocket__kqueue_wait,   asocket__kqueue_wake,
    asocket__kqueue_handle,
};

#endif

// ------------------------------------------------------------------------------------------------
// >>iocp
// Completion ports of Windows, documented calls only. What the kernel does for a socket is an
// operation: its memory, and the bytes in it, are the kernel's until the port has handed it back,
// also after a cancel and after the socket was closed.
//   reading     a receive of no bytes: it ends when there is something, and cancelling it loses
//               none
//   accepting   AcceptEx; the connection it brings is the first one that accept takes
//   connecting  ConnectEx
//   sending     what a full socket does not take is copied to an operation, up to a block at a
//               time: a flush, and with it a close, is over when the kernel has given that one back
// A socket belongs to one port for ever. What belongs to none, or to another's, is looked at by
// poll, 1 to 16 ms apart while somebody waits for it.

#if ASOCKET__WINDOWS

enum { ASOCKET__ATTACHED = 1, ASOCKET__APART = 2 };
enum { ASOCKET__PEEK, ASOCKET__ACCEPT, ASOCKET__CONNECT, ASOCKET__SEND };
enum { ASOCKET__NAME_ROOM = sizeof(asocket__native) + 16 }; // AcceptEx wants 16 bytes more

typedef struct asocket__operation {
    OVERLAPPED overlapped;   // first
    asocket *socket;         // NULL: it is closed
    asocket_handle accepted; // by AcceptEx
    uint32_t size;           // of all this
    uint32_t left;           // bytes to send
    int error;               // errno of the last one
    uint8_t kind, pending;
    uint8_t done; // a connection was accepted and not yet taken
    char bytes[1];
} asocket__operation;

static void asocket__operation_free(asocket_selector *selector, asocket__operation *operation)
{
    if (operation->accepted != ASOCKET__NO_HANDLE)
        (void)ASOCKET_SYS(close)(operation->accepted);
    asocket__release(selector, operation, operation->size);
}

// The operation of one side, for `room` bytes; NULL without memory. None must be pending.
static asocket__operation *asocket__operation_of(asocket *socket, int side, int kind, size_t room)
{
    size_t size = offsetof(asocket__operation, bytes) + room;
    asocket__operation *operation = socket->operation[side];

    if (operation && operation->size < size) {
        asocket__operation_free(socket->selector, operation);
        operation = socket->operation[side] = NULL;
    }
    if (!operation) {
        operation = (asocket__operation *)asocket__allocate(socket->selector, size);
        if (!operation)
            return NULL;
        operation->size = (uint32_t)size;
        operation->accepted = ASOCKET__NO_HANDLE;
        operation->socket = socket;
        socket->operation[side] = operation;
    }
    memset(&operation->overlapped, 0, sizeof operation->overlapped);
    operation->kind = (uint8_t)kind;
    operation->error = 0;
    return operation;
}

// What starting one answered: 0 it is the kernel's now, or an errno. It comes back through the port
// also when it succeeds at once.
static int asocket__operation_begun(asocket__operation *operation, bool success)
{
    int error = success ? 0 : ASOCKET_WINDOWS(WSAGetLastError)();

    if (error && error != WSA_IO_PENDING)
        return asocket__windows_errno(error);
    operation->pending = 1;
    operation->socket->selector->windows.pending++;
    return 0;
}

static bool asocket__operation_pends(const asocket *socket, int side)
{
    return socket->operation[side] && socket->operation[side]->pending;
}

// Whether the socket's operations come back through our port.
static bool asocket__iocp_attach(asocket *socket)
{
    HANDLE port = socket->selector->windows.port;

    if (socket->attached)
        return socket->attached == ASOCKET__ATTACHED;
    socket->attached = ASOCKET__APART;
    if (port && socket->kind != ASOCKET__FOREIGN && socket->domain != AF_UNIX &&
        ASOCKET_WINDOWS(CreateIoCompletionPort)((HANDLE)socket->handle, port, 0, 0))
        socket->attached = ASOCKET__ATTACHED;
    return socket->attached == ASOCKET__ATTACHED;
}

static int asocket__iocp_peek(asocket *socket)
{
    asocket__operation *operation =
        asocket__operation_of(socket, ASOCKET__READER, ASOCKET__PEEK, 0);
    DWORD flags = socket->kind == ASOCKET__DATAGRAM ? MSG_PEEK : 0;
    WSABUF nothing;

    if (!operation)
        return ENOMEM;
    nothing.len = 0;
    nothing.buf = operation->bytes;
    return asocket__operation_begun(
        operation, !ASOCKET_WINDOWS(WSARecv)(socket->handle, &nothing, 1, NULL, &flags,
                                             &operation->overlapped, NULL));
}

static int asocket__iocp_send(asocket *socket, asocket__operation *operation)
{
    WSABUF piece;

    piece.len = operation->left;
    piece.buf = operation->bytes;
    return asocket__operation_begun(operation,
                                    !ASOCKET_WINDOWS(WSASend)(socket->handle, &piece, 1, NULL, 0,
                                                              &operation->overlapped, NULL));
}

static int asocket__iocp_accept(asocket *server)
{
    asocket__operation *operation =
        asocket__operation_of(server, ASOCKET__READER, ASOCKET__ACCEPT, 2 * ASOCKET__NAME_ROOM);
    DWORD count;

    if (!operation)
        return ENOMEM;
    if (operation->accepted == ASOCKET__NO_HANDLE)
        operation->accepted = ASOCKET_SYS(socket)(server->domain, SOCK_STREAM, 0);
    if (operation->accepted == ASOCKET__NO_HANDLE)
        return errno;
    return asocket__operation_begun(
        operation, server->selector->windows.accept(
                       server->handle, operation->accepted, operation->bytes, 0, ASOCKET__NAME_ROOM,
                       ASOCKET__NAME_ROOM, &count, &operation->overlapped));
}

static int asocket__iocp_arm_read(asocket *socket)
{
    asocket__operation *operation = socket->operation[ASOCKET__READER];
    int error = 0;

    if (asocket__operation_pends(socket, ASOCKET__READER))
        return 0;
    if (asocket__operation_pends(socket, ASOCKET__WRITER) &&
        socket->operation[ASOCKET__WRITER]->kind == ASOCKET__CONNECT)
        return 0; // not connected yet
    if (!operation || !operation->done)
        error = socket->kind == ASOCKET__LISTENER ? asocket__iocp_accept(socket)
                                                  : asocket__iocp_peek(socket);
    if (error == ENOMEM || error == ENOBUFS || error == EMFILE)
        return asocket__status_of(error);
    if (error || (operation && operation->done))
        asocket__socket_signal(socket, ASOCKET_READ); // the call itself will say what it is
    return 0;
}

static int asocket__iocp_arm(asocket_selector *selector, asocket *socket, int directions)
{
    bool attached = asocket__iocp_attach(socket);
    int status = 0;

    if (attached && (directions & ASOCKET_READ)) {
        status = asocket__iocp_arm_read(socket);
        directions &= ~ASOCKET_READ;
    }
    if (asocket__operation_pends(socket, ASOCKET__WRITER))
        directions &= ~ASOCKET_WRITE;
    return status || !directions ? status : asocket__poll_arm(selector, socket, directions);
}

// Before the descriptor is closed: a read that pends would make of the close a reset.
static void asocket__iocp_remove(asocket_selector *selector, asocket *socket)
{
    int side;

    for (side = 0; side < 2; side++) {
        asocket__operation *operation = socket->operation[side];

        socket->operation[side] = NULL;
        if (!operation)
            continue;
        operation->socket = NULL;
        if (operation->pending)
            (void)ASOCKET_WINDOWS(CancelIoEx)((HANDLE)socket->handle, &operation->overlapped);
        else
            asocket__operation_free(selector, operation);
    }
    asocket__poll_remove(selector, socket);
}

static void asocket__iocp_connected(asocket *socket, asocket__operation *operation)
{
    if (!operation->error &&
        ASOCKET_SYS(setsockopt)(socket->handle, SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, NULL, 0))
        operation->error = errno;
    asocket__socket_signal(socket, ASOCKET__BOTH);
}

// The kernel may have taken a part only: true when the rest is on its way, too.
static bool asocket__iocp_sent(asocket *socket, asocket__operation *operation, uint32_t count)
{
    if (operation->error || count >= operation->left)
        return false;
    operation->left -= count;
    memmove(operation->bytes, operation->bytes + count, operation->left);
    memset(&operation->overlapped, 0, sizeof operation->overlapped);
    operation->error = asocket__iocp_send(socket, operation);
    return !operation->error;
}

// Whether it is of interest to anybody.
static bool asocket__iocp_report(asocket_selector *selector, asocket__operation *operation)
{
    asocket *socket = operation->socket;
    DWORD count, flags;

    operation->pending = 0;
    selector->windows.pending--;
    if (!socket) {
        asocket__operation_free(selector, operation);
        return false;
    }
    if (!ASOCKET_WINDOWS(WSAGetOverlappedResult)(socket->handle, &operation->overlapped, &count,
                                                 FALSE, &flags))
        operation->error = asocket__windows_errno(ASOCKET_WINDOWS(WSAGetLastError)());
    if (operation->kind == ASOCKET__CONNECT) {
        asocket__iocp_connected(socket, operation);
        return true;
    }
    if (operation->kind == ASOCKET__SEND && asocket__iocp_sent(socket, operation, count))
        return false;
    operation->done = operation->kind == ASOCKET__ACCEPT;
    if (socket->kind == ASOCKET__STREAM && operation->error)
        socket->reset = 1; // the call that follows may be told of an end of stream only
    asocket__socket_signal(socket, operation->kind == ASOCKET__SEND ? ASOCKET_WRITE : ASOCKET_READ);
    return true;
}

// What no port reports is looked at before the wait, which it cuts into slices.
static int asocket__iocp_look(asocket_selector *selector, int64_t *timeout)
{
    int count;

    if (selector->poll.count == 1) {
        selector->windows.slice = 1;
        return 0;
    }
    count = asocket__poll_collect(selector, 1, 0);
    if (count > 0)
        selector->windows.slice = 1;
    else if (selector->windows.slice < 16)
        selector->windows.slice *= 2;
    if (count > 0 || *timeout < 0 || *timeout > selector->windows.slice * ASOCKET__MILLISECOND)
        *timeout = count > 0 ? 0 : selector->windows.slice * ASOCKET__MILLISECOND;
    return count > 0 ? count : 0;
}

static int asocket__iocp_wait(asocket_selector *selector, int64_t timeout)
{
    OVERLAPPED_ENTRY entries[ASOCKET__EVENTS];
    int looked = asocket__iocp_look(selector, &timeout);
    ULONG count = 0, i;

    if (!ASOCKET_WINDOWS(GetQueuedCompletionStatusEx)(
            selector->windows.port, entries, ASOCKET__EVENTS, &count,
            timeout < 0 ? INFINITE : (DWORD)asocket__round_up(timeout), FALSE)) {
        if (GetLastError() != WAIT_TIMEOUT)
            return -1;
        count = 0;
    }
    for (i = 0; i < count; i++)
        looked +=
            !entries[i].lpOverlapped || // a wake-up
            asocket__iocp_report(selector, (asocket__operation *)(void *)entries[i].lpOverlapped);
    return looked;
}

static void asocket__iocp_wake(asocket_selector *selector)
{
    (void)ASOCKET_WINDOWS(PostQueuedCompletionStatus)(selector->windows.port, 0, 0, NULL);
}

// Everything was cancelled: the rest comes back at once. What should not, is not freed.
static void asocket__iocp_shut(asocket_selector *selector)
{
    int i;

    selector->poll.count = 1;
    for (i = 0; i < 100 && selector->windows.pending; i++)
        (void)asocket__iocp_wait(selector, 20 * ASOCKET__MILLISECOND);
    if (selector->windows.port)
        (void)CloseHandle(selector->windows.port);
    asocket__poll_free(selector);
    (void)ASOCKET_WINDOWS(WSACleanup)();
}

static bool asocket__iocp_function(SOCKET socket, GUID name, void *function, DWORD size)
{
    DWORD count;

    return !ASOCKET_WINDOWS(WSAIoctl)(socket, SIO_GET_EXTENSION_FUNCTION_POINTER, &name,
                                      sizeof name, function, size, &count, NULL, NULL);
}

static bool asocket__iocp_functions(asocket_selector *selector)
{
    static const GUID accept = WSAID_ACCEPTEX, connect = WSAID_CONNECTEX;
    SOCKET socket = ASOCKET_SYS(socket)(AF_INET, SOCK_STREAM, 0);
    bool found;

    if (socket == INVALID_SOCKET)
        return false;
    found = asocket__iocp_function(socket, accept, &selector->windows.accept,
                                   sizeof selector->windows.accept) &&
            asocket__iocp_function(socket, connect, &selector->windows.connect,
                                   sizeof selector->windows.connect);
    (void)ASOCKET_SYS(close)(socket);
    return found;
}

static int asocket__iocp_open(asocket_selector *selector)
{
    WSADATA data;
    int status;

    if (ASOCKET_WINDOWS(WSAStartup)(MAKEWORD(2, 2), &data))
        return ASOCKET_ENOTSUP;
    selector->windows.port =
        ASOCKET_WINDOWS(CreateIoCompletionPort)(INVALID_HANDLE_VALUE, NULL, 0, 1);
    selector->poll.count = 1; // the place of a wake-up, which the port has
    status = selector->windows.port ? asocket__poll_room(selector, 1) : ASOCKET_ENOMEM;
    if (!status && !asocket__iocp_functions(selector))
        status = ASOCKET_ENOTSUP;
    if (status)
        asocket__iocp_shut(selector);
    return status;
}

static const asocket__backend asocket__iocp_backend = {
    ASOCKET_BACKEND_IOCP, ASOCKET_READ,       asocket__iocp_open,
    asocket__iocp_shut,   asocket__iocp_arm,  asocket__iocp_remove,
    asocket__iocp_wait,   asocket__iocp_wake, asocket__poll_handle,
};

// The socket's buffer is full: the kernel takes these bytes with it, until there is room. How many,
// ASOCKET_EAGAIN: none, or a status.
static ptrdiff_t asocket__send_later(asocket *socket, const void *bytes, size_t size)
{
    size_t room = socket->selector->channel_capacity;
    asocket__operation *operation;
    int error;

    if (socket->kind != ASOCKET__STREAM || asocket__operation_pends(socket, ASOCKET__WRITER) ||
        !asocket__iocp_attach(socket))
        return ASOCKET_EAGAIN;
    room = room > 65536 ? 65536 : room < 512 ? 512 : room;
    operation = asocket__operation_of(socket, ASOCKET__WRITER, ASOCKET__SEND, room);
    if (!operation)
        return ASOCKET_EAGAIN;
    operation->left = (uint32_t)(size < room ? size : room);
    memcpy(operation->bytes, bytes, operation->left);
    error = asocket__iocp_send(socket, operation);
    return error ? asocket__status_of(error) : (ptrdiff_t)operation->left;
}

// Whether all that was sent is out of our hands: 0, ASOCKET_EAGAIN not yet, or why it will not be.
static int asocket__send_settled(const asocket *socket)
{
    const asocket__operation *operation = socket->operation[ASOCKET__WRITER];

    if (!operation || operation->kind != ASOCKET__SEND)
        return 0;
    if (operation->pending)
        return ASOCKET_EAGAIN;
    return operation->error ? asocket__status_of(operation->error) : 0;
}

// The connection that AcceptEx brought, if there is one: it becomes a socket like others here.
static bool asocket__iocp_accepted(asocket *server, asocket_handle *handle,
                                   struct sockaddr *address, socklen_t *size)
{
    asocket__operation *operation = server->operation[ASOCKET__READER];

    *handle = ASOCKET__NO_HANDLE;
    if (!operation || (!operation->done && !operation->pending))
        return false;
    errno = EAGAIN;
    if (operation->pending)
        return true;
    operation->done = 0;
    errno = operation->error;
    if (!operation->error &&
        !ASOCKET_SYS(setsockopt)(operation->accepted, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT,
                                 &server->handle, sizeof server->handle) &&
        !ASOCKET_SYS(getpeername)(operation->accepted, address, size)) {
        *handle = operation->accepted;
    } else {
        int error = errno;

        (void)ASOCKET_SYS(close)(operation->accepted);
        errno = error == ENOTCONN || error == EINVAL ? ECONNABORTED : error;
    }
    operation->accepted = ASOCKET__NO_HANDLE;
    return true;
}

// ConnectEx wants a bound socket. A refusal on this machine must not take the seconds that trying
// again takes.
static int asocket__iocp_connect(asocket *socket, const asocket__native *to, socklen_t size)
{
    asocket__operation *operation =
        asocket__operation_of(socket, ASOCKET__WRITER, ASOCKET__CONNECT, 0);
    asocket__native any;
    DWORD count;
    int error;

    errno = ENOMEM;
    if (!operation)
        return -1;
    memset(&any, 0, sizeof any);
    any.any.sa_family = to->any.sa_family;
    if (ASOCKET_SYS(bind)(socket->handle, &any.any, size) && errno != EINVAL)
        return -1; // EINVAL: the builder has a local address
    error = asocket__operation_begun(
        operation, socket->selector->windows.connect(socket->handle, &to->any, size, NULL, 0,
                                                     &count, &operation->overlapped));
    errno = error ? error : EINPROGRESS;
    return -1;
}

static bool asocket__connects_by_port(asocket *socket)
{
    return socket->kind == ASOCKET__STREAM && asocket__iocp_attach(socket);
}

// As far as the port and poll can tell; `directions` may be a guess so far.
static bool asocket__socket_look(asocket *socket, int directions)
{
    asocket_selector *selector = socket->selector;
    uint8_t before = socket->ready;
    bool pends = false, ready;
    int side;

    socket->ready = (uint8_t)(before & ~directions);
    if (selector->windows.port)
        (void)asocket__iocp_wait(selector, 0);
    for (side = 0; side < 2; side++)
        if (directions & 1 << side)
            pends = pends || asocket__operation_pends(socket, side);
    ready = (socket->ready & directions) != 0;
    socket->ready |= before;
    return ready || (!pends && asocket__poll_look(socket->handle, directions));
}

static bool asocket__moves(const asocket *socket)
{
    return socket->attached != ASOCKET__ATTACHED;
}

#else

#define asocket__send_later(socket, bytes, size) ((ptrdiff_t)ASOCKET_EAGAIN)
#define asocket__send_settled(socket)            (0)
#define asocket__moves(socket)                   (true)

// Datagrams that came with others wait here, not in the kernel.
static bool asocket__socket_look(const asocket *socket, int directions)
{
    const asocket__joined *joined = directions & ASOCKET_READ ? socket->joined : NULL;

    return (joined && (joined->count || joined->status)) ||
           asocket__poll_look(socket->handle, directions);
}

#endif

// Those that are compiled in, the best one first.
static const asocket__backend *const asocket__backends[] = {
#if ASOCKET__EPOLL
    &asocket__epoll_backend,
#endif
#if ASOCKET__KQUEUE
    &asocket__kqueue_backend,
#endif
#if ASOCKET__WINDOWS
    &asocket__iocp_backend,
#endif
    &asocket__poll_backend,
};

static const asocket__backend *asocket__backend_of(int id)
{
    size_t i;

    for (i = 0; i < sizeof asocket__backends / sizeof *asocket__backends; i++)
        if (id == ASOCKET_BACKEND_DEFAULT || id == asocket__backends[i]->id)
            return asocket__backends[i];
    return NULL;
}

// ------------------------------------------------------------------------------------------------
// >>buffer
// The blocks behind the rings: lent when there are bytes to keep, given back when there are none,
// last in first out, so that the few in use stay in the cache.

static char *asocket__buffer_pop(char **list)
{
    char *buffer = *list;

    memcpy(list, buffer, sizeof *list);
    return buffer;
}

static void asocket__buffer_push(char **list, char *buffer)
{
    memcpy(buffer, list, sizeof *list);
    *list = buffer;
}

static char *asocket__block(asocket_selector *selector, size_t size)
{
    const asocket_allocator *a = &selector->allocator;
    void *block = a->resize ? a->resize(a->user, NULL, 0, size) : ASOCKET_MALLOC(size);

    return (char *)block;
}

// A block has room for a little more than the capacity: when as much as that comes at once, the
// receive that asks for more is answered short, and so knows that there is nothing left to ask for.
static ASOCKET__SMALL uint32_t asocket__buffer_size(uint32_t capacity)
{
    return capacity >= 4096 && capacity < ASOCKET__LARGE_SIZE / 2 ? capacity + 64 : capacity;
}

static char *asocket__buffer_take(asocket_selector *selector, uint32_t capacity)
{
    if (capacity == selector->channel_capacity && selector->buffers) {
        selector->buffer_count--;
        return asocket__buffer_pop(&selector->buffers);
    }
    return asocket__block(selector, asocket__buffer_size(capacity));
}

static void asocket__buffer_give(asocket_selector *selector, char *buffer, uint32_t capacity)
{
    bool pooled = capacity == selector->channel_capacity && capacity >= sizeof(char *);

    if (!pooled || selector->buffer_count >= ASOCKET__SPARE_BUFFERS) {
        asocket__release(selector, buffer, asocket__buffer_size(capacity));
        return;
    }
    selector->buffer_count++;
    asocket__buffer_push(&selector->buffers, buffer);
}

static char *asocket__large_take(asocket_selector *selector)
{
    char *buffer;

    if (selector->large_used + 1 > ASOCKET__LARGE_BUFFERS) // those that came along count, too
        return NULL;
    if (selector->large_buffers)
        buffer = asocket__buffer_pop(&selector->large_buffers);
    else
        buffer = asocket__block(selector, ASOCKET__LARGE_SIZE);
    if (buffer)
        selector->large_used++;
    return buffer;
}

static void asocket__large_give(asocket_selector *selector, char *buffer)
{
    selector->large_used--;
    asocket__buffer_push(&selector->large_buffers, buffer);
}

// Lends a ring without one, which is empty, its block: 0, or ASOCKET_ENOMEM.
static ASOCKET__SMALL int asocket__ring_lend(asocket_selector *selector, asocket__ring *ring,
                                             char *block, uint32_t capacity)
{
    if (ASOCKET__UNLIKELY(!block))
        return ASOCKET_ENOMEM;
    ring->data = block;
    ring->capacity = capacity;
    selector->statistics.buffers++;
    return 0;
}

static ASOCKET__SMALL int asocket__ring_attach(asocket_selector *selector, asocket__ring *ring,
                                               uint32_t capacity)
{
    if (ring->data)
        return 0;
    return asocket__ring_lend(selector, ring, asocket__buffer_take(selector, capacity), capacity);
}

// Takes over a ring that another selector had, in a block of this one's memory.
static void asocket__ring_adopt(asocket_selector *selector, asocket__ring *ring,
                                const asocket__ring *from, uint32_t capacity)
{
    *ring = *from;
    if (!ring->data)
        return;
    selector->statistics.buffers++;
    if (ring->capacity == ASOCKET__LARGE_SIZE && capacity < ASOCKET__LARGE_SIZE)
        selector->large_used++;
}

// Drops what is kept and gives the block back; `capacity` is the channel's own.
static ASOCKET__NOINLINE void asocket__ring_detach(asocket_selector *selector, asocket__ring *ring,
                                                   uint32_t capacity)
{
    if (!ring->data)
        return;
    if (ring->capacity == capacity || ring->capacity == asocket__buffer_size(capacity))
        asocket__buffer_give(selector, ring->data, capacity);
    else if (ring->capacity == ASOCKET__LARGE_SIZE)
        asocket__large_give(selector, ring->data);
    else // a pipe's that was widened, one that came with a socket
        asocket__release(selector, ring->data, ring->capacity);
    selector->statistics.buffers--;
    memset(ring, 0, sizeof *ring);
}

// What a channel holds is dropped; its own, for the writer of a pipe.
static ASOCKET__SMALL void asocket__in_detach(asocket_read_channel *in)
{
    asocket__ring_detach(in->selector, in->ring, in->capacity);
}

static ASOCKET__SMALL void asocket__out_detach(asocket_write_channel *out)
{
    asocket__ring_detach(out->selector, &out->own, out->capacity);
}

// A program that always asks for notice needs no memory each time.
static char *asocket__notice_take(asocket_selector *selector)
{
    if (selector->spare_notices)
        return asocket__buffer_pop(&selector->spare_notices);
    return asocket__block(selector, sizeof(asocket__notice));
}

static void asocket__buffers_free(asocket_selector *selector)
{
    while (selector->spare_notices)
        asocket__release(selector, asocket__buffer_pop(&selector->spare_notices),
                         sizeof(asocket__notice));
    while (selector->buffers)
        asocket__release(selector, asocket__buffer_pop(&selector->buffers),
                         asocket__buffer_size(selector->channel_capacity));
    while (selector->large_buffers)
        asocket__release(selector, asocket__buffer_pop(&selector->large_buffers),
                         ASOCKET__LARGE_SIZE);
}

// ------------------------------------------------------------------------------------------------
// >>socket
// The memory of sockets and the calls on their descriptors that never wait.

// Every timer that may run has its place before it is needed.
static int asocket__timer_room(asocket_selector *selector)
{
    uint32_t tasks = (uint32_t)selector->statistics.coroutines + selector->guests;
    uint32_t needed = tasks + selector->socket_count + 8; // one more task or guest among the 8
    void *entries = asocket__grow(selector, selector->heap.entries, &selector->heap.capacity,
                                  needed, sizeof *selector->heap.entries);

    if (!entries)
        return ASOCKET_ENOMEM;
    selector->heap.entries = (asocket__heap_entry *)entries;
    return 0;
}

static int asocket__socket_chunk(asocket_selector *selector)
{
    void *chunks = asocket__grow(selector, selector->chunks, &selector->chunk_capacity,
                                 selector->chunk_count + 1, sizeof *selector->chunks);
    asocket *chunk;

    if (!chunks)
        return ASOCKET_ENOMEM;
    selector->chunks = (asocket **)chunks;
    chunk = (asocket *)asocket__allocate(selector, ASOCKET__CHUNK * sizeof *chunk);
    if (!chunk)
        return ASOCKET_ENOMEM;
    selector->chunks[selector->chunk_count++] = chunk;
    return 0;
}

// Memory that may serve again, oldest first.
static asocket *asocket__socket_reuse(asocket_selector *selector)
{
    asocket *socket = selector->spare;

    if (socket) {
        selector->spare = NULL;
        return socket;
    }
    if (selector->free_count <= ASOCKET__FREE_SOCKETS)
        return NULL;
    socket = ASOCKET__OF(asocket, link, selector->free_sockets.next);
    selector->free_count--;
    asocket__list_remove(&socket->link);
    return socket;
}

static asocket *asocket__socket_fresh(asocket_selector *selector)
{
    asocket *socket;

    if (selector->socket_count == selector->chunk_count * ASOCKET__CHUNK &&
        asocket__socket_chunk(selector))
        return NULL;
    selector->socket_count++;
    if (asocket__timer_room(selector)) {
        selector->socket_count--;
        return NULL;
    }
    socket = asocket__socket_at(selector, selector->socket_count - 1);
    socket->index = selector->socket_count - 1;
    return socket;
}

// Memory for a socket whose descriptor is yet to come, or NULL. It must become a socket by
// asocket__socket_open or go back by asocket__socket_unused.
static asocket *asocket__socket_new(asocket_selector *selector)
{
    asocket *socket = asocket__socket_reuse(selector);
    uint32_t index, generation;

    if (!socket)
        socket = asocket__socket_fresh(selector);
    if (!socket)
        return NULL;
    index = socket->index;
    generation = socket->generation;
    asocket__release(selector, socket->names, sizeof *socket->names);
    memset(socket, 0, sizeof *socket);
    socket->index = index;
    socket->generation = generation;
    socket->selector = selector;
    socket->handle = ASOCKET__NO_HANDLE;
    socket->state = ASOCKET__CLOSED;
    asocket__list_init(&socket->link);
    asocket__list_init(&socket->closers);
    socket->timer.kind = ASOCKET__TIMER_SOCKET;
    socket->timer.due = ASOCKET_NEVER;
    return socket;
}

// The oldest of the closed sockets becomes free: not one that somebody is still inside of.
static void asocket__socket_retire(asocket_selector *selector)
{
    asocket *socket = ASOCKET__OF(asocket, link, selector->closed_sockets.next);

    asocket__list_remove(&socket->link);
    if (socket->pins || socket->launcher || socket->served) {
        asocket__list_append(&selector->closed_sockets, &socket->link);
        return;
    }
    socket->state = ASOCKET__FREE;
    selector->quarantined--;
    selector->free_count++;
    asocket__list_append(&selector->free_sockets, &socket->link);
}

static void asocket__socket_closed(asocket *socket)
{
    asocket_selector *selector = socket->selector;

    socket->in.status = socket->out.status = ASOCKET_ECLOSED;
    selector->quarantined++;
    asocket__list_append(&selector->closed_sockets, &socket->link);
    if (selector->quarantined > ASOCKET__QUARANTINE)
        asocket__socket_retire(selector);
}

// The descriptor did not come: nobody has seen the handle.
static ASOCKET__NOINLINE void asocket__socket_unused(asocket *socket)
{
    asocket_selector *selector = socket->selector;

    if (!selector->spare) {
        selector->spare = socket;
        return;
    }
    socket->state = ASOCKET__FREE;
    selector->free_count++;
    asocket__list_append(&selector->free_sockets, &socket->link);
}

static ASOCKET__NOINLINE void asocket__socket_open(asocket *socket, asocket_handle handle, int kind)
{
    asocket_selector *selector = socket->selector;

    socket->handle = handle;
    socket->kind = (uint8_t)kind;
    socket->state = ASOCKET__OPEN;
    socket->ready = ASOCKET__BOTH; // unknown: a first try tells
    socket->registered = selector->backend->reports;
    socket->in.selector = socket->out.selector = selector;
    socket->in.socket = socket->out.socket = socket;
    socket->in.ring = &socket->in.own;
    socket->out.ring = &socket->out.own;
    selector->statistics.sockets++;
}

// A socket that the backend does not watch yet can be tried without a registration, which a short
// connection never needs, or be registered at once, which saves a vain try on a long one. What the
// last ones brought decides; `stage` 0 is the first receive of a socket, 1 a later one.
static bool asocket__expect_bytes(asocket_selector *selector, int stage)
{
    return selector->expected[stage] >= 0 || !(++selector->explored % 16);
}

static ASOCKET__SMALL void asocket__expect_learn(asocket_selector *selector, int stage, bool came)
{
    int expected = selector->expected[stage] + (came ? 1 : -1);

    if (expected >= -4 && expected <= 3)
        selector->expected[stage] = (int8_t)expected;
}

// Registered, the socket is told of what is there already, and of all that comes.
static void asocket__socket_settle(asocket *socket, int stage)
{
    if (asocket__expect_bytes(socket->selector, stage))
        return;
    if (!socket->selector->backend->arm(socket->selector, socket, ASOCKET_READ))
        socket->ready &= (uint8_t)~ASOCKET_READ;
}

// What a receive says about the next one: fewer bytes than asked for mean that there are no more,
// if the backend will tell of new ones (epoll(7), question 9).
static ASOCKET__SMALL void asocket__socket_received(asocket *socket, size_t count, size_t size)
{
    bool all = count == size || socket->kind == ASOCKET__DATAGRAM;

    if (ASOCKET__UNLIKELY(!(socket->registered & ASOCKET_READ))) {
        asocket__expect_learn(socket->selector, socket->received, true);
        socket->received = 1;
        if (!all)
            asocket__socket_settle(socket, 1);
    } else if (!all && !socket->hangup) {
        socket->ready &= (uint8_t)~ASOCKET_READ;
    }
}

// What a layer's transport answered.
static ASOCKET__NOINLINE void asocket__layer_tried(asocket *socket, int direction, ptrdiff_t result)
{
    const asocket__failure *failure = &asocket__self(socket->selector)->failure;

    if (result < 0 && failure->status == result && failure->detail) {
        socket->told.why = failure->detail;
        socket->why_status = failure->status;
    }
    socket->vain = (uint8_t)(socket->vain & ~direction);
    if (result == ASOCKET_EAGAIN)
        socket->vain = (uint8_t)(socket->vain | direction);
}

// A layer's bytes come and go through its transport, which may wait; nobody else gets in meanwhile.
static ASOCKET__NOINLINE ptrdiff_t asocket__layer_try(asocket *socket, int direction, void *bytes,
                                                      size_t size)
{
    bool reads = direction == ASOCKET_READ;
    asocket__task **place = reads ? &socket->in.task : &socket->out.task, *inside = *place;
    ptrdiff_t count;

    *place = asocket__self(socket->selector);
    socket->pins++;
    // In parentheses, as others below: to lwIP read, write and close may be macros.
    if (reads)
        count = (socket->transport->read)(socket->layer_state, socket->lower, bytes, size);
    else
        count = (socket->transport->write)(socket->layer_state, socket->lower, bytes, size);
    if (count >= 0 && size && ((size_t)count > size || !(count || reads)))
        count = ASOCKET_EIO; // what it claims cannot be
    asocket__layer_tried(socket, direction, count);
    socket->pins--;
    *place = inside;
    return count;
}

// The sentence for a status that a layer's transport had one for.
static int asocket__layer_why(const asocket *socket, int status)
{
    if (socket && socket->lower && socket->told.why && socket->why_status == status)
        asocket__self(socket->selector)->failure.detail = socket->told.why;
    return status;
}

static ptrdiff_t asocket__layer_recv(asocket *socket, void *buffer, size_t size)
{
    ptrdiff_t count = asocket__layer_try(socket, ASOCKET_READ, buffer, size);

    if (socket->in.status)
        return socket->in.status;
    return count == ASOCKET_EOF || socket->in.ended ? 0 : count; // ended: by asocket_shutdown
}

static ASOCKET__NOINLINE ptrdiff_t asocket__layer_send(asocket *socket, const void *bytes,
                                                       size_t size)
{
    ptrdiff_t count = asocket__layer_try(socket, ASOCKET_WRITE, (void *)(uintptr_t)bytes, size);

    if (socket->out.status != ASOCKET_ECANCELED)
        return count;
    asocket__out_detach(&socket->out);
    return ASOCKET_ECANCELED; // by asocket_cancel_write, meanwhile
}

// A wait that ended inside of a transport is no end of the layer: the next call asks it again.
static ASOCKET__PLAIN bool asocket__layer_goes_on(const asocket *socket, ptrdiff_t status)
{
    return socket && socket->lower &&
           (status == ASOCKET_EAGAIN || status == ASOCKET_ETIMEDOUT ||
            status == ASOCKET_ECANCELED || status == ASOCKET_ECLOSED || status == ASOCKET_EBUSY ||
            status == ASOCKET_ENOMEM);
}

// A transport may be filling the ring of its layer: then it goes when that one returns.
static void asocket__in_forget(asocket_read_channel *in)
{
    if (!in->task || !in->socket || !in->socket->lower)
        asocket__in_detach(in);
}

#if ASOCKET__LINUX

// A receive ends behind a descriptor that nobody asked for (unix(7)), although there may be more.
static ssize_t asocket__handle_read(asocket *socket, void *buffer, size_t size)
{
    struct msghdr message;
    struct iovec piece;
    ssize_t count;

    if (ASOCKET__LIKELY(socket->domain != AF_UNIX))
        return ASOCKET_SYS(recv)(socket->handle, buffer, size, 0);
    memset(&message, 0, sizeof message);
    piece.iov_base = buffer;
    piece.iov_len = size;
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    count = ASOCKET_SYS(recvmsg)(socket->handle, &message, 0);
    if (count > 0 && (message.msg_flags & MSG_CTRUNC))
        socket->hangup = 1;
    return count;
}

#else

static ssize_t asocket__handle_read(asocket *socket, void *buffer, size_t size)
{
    socket->hangup = (uint8_t)(socket->hangup | (socket->domain == AF_UNIX));
    return ASOCKET_SYS(recv)(socket->handle, buffer, size, 0);
}

#endif

// A system call costs one of a coroutine's budget, and one more for each 16 KiB that it moved: much
// takes as long as many.
static void asocket__spend(asocket_selector *selector, ptrdiff_t moved)
{
    asocket__self(selector)->budget -= 1 + (int32_t)(moved >> 14);
}

// Why the system did not send or receive.
static ASOCKET__SMALL int asocket__socket_refused(asocket *socket, int direction)
{
    int error = errno, status = asocket__status_of(error);

    if (status == ASOCKET_EAGAIN)
        socket->ready = (uint8_t)(socket->ready & ~direction);
    return error == EBADF ? ASOCKET_ECLOSED : status;
}

// recv: bytes, 0 at the end of the stream, or a status.
static ptrdiff_t asocket__socket_recv(asocket *socket, void *buffer, size_t size)
{
    asocket_selector *selector = socket->selector;
    ssize_t count;

    if (ASOCKET__UNLIKELY(socket->lower != NULL))
        return asocket__layer_recv(socket, buffer, size);
    if (!(socket->ready & ASOCKET_READ))
        return ASOCKET_EAGAIN;
    do {
        selector->statistics.system_calls++;
        count = asocket__handle_read(socket, buffer, size);
    } while (count < 0 && errno == EINTR);
    if (ASOCKET__LIKELY(count >= 0))
        asocket__spend(selector, count); // an empty datagram counts, too
    if (ASOCKET__LIKELY(count > 0)) {
        asocket__socket_received(socket, (size_t)count, size);
        return count;
    }
    if (!(socket->registered & ASOCKET_READ))
        asocket__expect_learn(selector, socket->received, !count);
    if (!count)
        return socket->reset ? ASOCKET_ECONNRESET : 0;
    return asocket__socket_refused(socket, ASOCKET_READ);
}

// send: bytes that the kernel took, or a status.
static ptrdiff_t asocket__socket_send(asocket *socket, const void *bytes, size_t size, int flags)
{
    asocket_selector *selector = socket->selector;
    ssize_t count;
    int status;

    if (ASOCKET__UNLIKELY(socket->lower != NULL))
        return asocket__layer_send(socket, bytes, size);
    if (!(socket->ready & ASOCKET_WRITE))
        return ASOCKET_EAGAIN;
    do {
        selector->statistics.system_calls++;
        count = ASOCKET_SYS(send)(socket->handle, bytes, size, MSG_NOSIGNAL | flags);
    } while (count < 0 && errno == EINTR);
    if (ASOCKET__LIKELY(count >= 0)) {
        if ((size_t)count < size && (socket->registered & ASOCKET_WRITE))
            socket->ready &= (uint8_t)~ASOCKET_WRITE;
        asocket__spend(selector, count);
        return count;
    }
    status = asocket__socket_refused(socket, ASOCKET_WRITE);
    if (status == ASOCKET_EAGAIN)
        return asocket__send_later(socket, bytes, size);
    if (status == ASOCKET_ECONNRESET)
        socket->reset = 1; // the reader must not take what follows for an end of stream
    return status;
}

// IPv4 peers of a dual-stack socket are shown as what they are.
static void asocket__unmap(uint8_t *family, uint8_t bytes[16])
{
    if (*family != 6 || !asocket__bytes_are_mapped(bytes))
        return;
    *family = 4;
    memmove(bytes, bytes + 12, 4);
    memset(bytes + 4, 0, 12);
}

static void asocket__endpoint_unmap(asocket__endpoint *endpoint)
{
    asocket__unmap(&endpoint->family, endpoint->bytes);
}

static ASOCKET__NOINLINE int asocket__names_make(asocket *socket)
{
    if (!socket->names)
        socket->names =
            (asocket__names *)asocket__allocate(socket->selector, sizeof *socket->names);
    return socket->names ? 0 : ASOCKET_ENOMEM;
}

// Keeps the address of the socket's own end, or of the other one: 0, or ASOCKET_ENOMEM.
static int asocket__socket_keep(asocket *socket, bool other, const asocket__native *native,
                                size_t size)
{
    asocket__endpoint *endpoint = other ? &socket->remote : &socket->local;
    char *name;

    if (!ASOCKET__PATHS || native->any.sa_family != AF_UNIX) {
        asocket__endpoint_native(endpoint, native);
        asocket__endpoint_unmap(endpoint);
        return 0;
    }
    if (asocket__names_make(socket))
        return ASOCKET_ENOMEM;
    name = other ? socket->names->remote : socket->names->local;
    size = asocket__path_length(native, size);
    memcpy(name, native->local.sun_path, size);
    asocket__endpoint_at(endpoint, name, size);
    return 0;
}

// The address of a descriptor's own end, or of the other one: its size, or -1.
static ASOCKET__NOINLINE int asocket__handle_name(asocket_handle handle, bool other,
                                                  asocket__native *name)
{
    socklen_t size = sizeof *name;
    int result;

    memset(name, 0, sizeof *name);
    result = other ? ASOCKET_SYS(getpeername)(handle, &name->any, &size)
                   : ASOCKET_SYS(getsockname)(handle, &name->any, &size);
    return result ? -1 : (int)size;
}

// Asks for the local address once, when it is first needed: 0, or a status.
static int asocket__local_learn(asocket *socket)
{
    asocket__native native;
    int size;

    if (socket->local.family || (socket->kind & (ASOCKET__FOREIGN | ASOCKET__LAYER)))
        return 0;
    socket->selector->statistics.system_calls++;
    size = asocket__handle_name(socket->handle, false, &native);
    if (size < 0)
        return asocket__last_status();
    return asocket__socket_keep(socket, false, &native, (size_t)size);
}

typedef struct asocket__file { // what tells the file of a Unix socket from others
    uint64_t device, inode;
    bool is_socket;
} asocket__file;

#if ASOCKET__WINDOWS
static bool asocket__file_look(const char *path, asocket__file *file)
{
    BY_HANDLE_FILE_INFORMATION facts;
    DWORD flags = FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_BACKUP_SEMANTICS;
    HANDLE handle = CreateFileA(path, 0, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                                NULL, OPEN_EXISTING, flags, NULL);
    BOOL known;

    if (handle == INVALID_HANDLE_VALUE)
        return false;
    known = GetFileInformationByHandle(handle, &facts);
    (void)CloseHandle(handle);
    if (!known)
        return false;
    file->device = facts.dwVolumeSerialNumber;
    file->inode = (uint64_t)facts.nFileIndexHigh << 32 | facts.nFileIndexLow;
    file->is_socket = (facts.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) != 0;
    return true;
}

static void asocket__file_remove(const char *path)
{
    (void)DeleteFileA(path);
}
#elif ASOCKET__EMBEDDED
#define asocket__file_look(path, file) ((void)(file), false)
#define asocket__file_remove(path)     ((void)0)
#else
static bool asocket__file_look(const char *path, asocket__file *file)
{
    struct stat facts;

    if (ASOCKET_SYS(lstat)(path, &facts))
        return false;
    file->device = (uint64_t)facts.st_dev;
    file->inode = (uint64_t)facts.st_ino;
    file->is_socket = S_ISSOCK(facts.st_mode);
    return true;
}

static void asocket__file_remove(const char *path)
{
    (void)ASOCKET_SYS(unlink)(path);
}
#endif

// The file of a Unix socket that asked for it, if it is still ours.
static void asocket__names_unlink(asocket *socket)
{
    asocket__file file;
    asocket__names *names = socket->names;

    if (!names || !names->unlink)
        return;
    names->unlink = false;
    if (asocket__file_look(names->local, &file) && file.device == names->device &&
        file.inode == names->inode)
        asocket__file_remove(names->local);
}

// ------------------------------------------------------------------------------------------------
// >>output
// Sending what a write channel holds, as far as it goes without waiting.

// A ring that holds nothing keeps no block.
static void asocket__out_tidy(asocket_write_channel *out)
{
    if (!out->ring->size && !out->reserved)
        asocket__ring_detach(out->selector, out->ring, out->capacity);
}

// A block with a window that somebody may still fill stays until the close.
// An error ends a stream; of datagrams it costs one, and the next may go.
static int asocket__out_break(asocket_write_channel *out, int status)
{
    if (asocket__layer_goes_on(out->socket, status))
        return status;
    if (out->socket->kind != ASOCKET__DATAGRAM)
        out->status = status;
    if (out->socket->kind == ASOCKET__STREAM)
        out->socket->hard = 1; // the peer must not take what it got for everything
    out->pending = 0;
    if (!out->reserved)
        asocket__out_detach(out);
    return status;
}

// What was not taken is sent by the loop as soon as there is room: ASOCKET_EAGAIN.
static int asocket__out_pend(asocket_write_channel *out)
{
    int status;

    if (out->socket->lower)
        return ASOCKET_EAGAIN; // its transport would not wait; the caller decides
    status = out->selector->backend->arm(out->selector, out->socket, ASOCKET_WRITE);
    if (status)
        return asocket__out_break(out, status);
    out->pending = 1;
    return ASOCKET_EAGAIN;
}

// The reader of a pipe sees what was written so far.
static int asocket__pipe_publish(asocket__pipe *pipe)
{
    pipe->ring.visible = pipe->ring.size;
    asocket__out_tidy(&pipe->out);
    asocket__wake_any(pipe->in.task, 0);
    return pipe->ring.size ? ASOCKET_EAGAIN : 0;
}

// The ring is empty; `status` says whether the kernel has it all.
static int asocket__out_settle(asocket_write_channel *out, int status)
{
    if (status == ASOCKET_EAGAIN)
        return asocket__out_pend(out);
    if (status)
        (void)asocket__out_break(out, status);
    out->pending = 0;
    asocket__out_tidy(out);
    return status;
}

// 0: the kernel has it all; ASOCKET_EAGAIN: some is left and goes on its own; or the error.
static int asocket__out_push(asocket_write_channel *out, int flags)
{
    if (out->pipe)
        return asocket__pipe_publish(out->pipe);
    while (out->own.size) {
        char *bytes;
        uint32_t length = asocket__ring_piece(&out->own, 0, &bytes);
        ptrdiff_t count = asocket__socket_send(out->socket, bytes, length, flags);

        if (count == ASOCKET_EAGAIN)
            return asocket__out_pend(out);
        if (count < 0)
            return asocket__out_break(out, (int)count);
        asocket__ring_drop(&out->own, (uint32_t)count);
    }
    return asocket__out_settle(out, asocket__send_settled(out->socket));
}

// A transport that waits while it sends must not be asked to send the same again.
static bool asocket__out_sending(const asocket_write_channel *out)
{
    return out->task && out->socket && out->socket->lower;
}

// Sends what a task wrote to auto-flush channels since it last waited.
static void asocket__push_dirty(asocket__task *task)
{
    while (task->dirty) {
        asocket_write_channel *out = task->dirty;

        task->dirty = out->dirty_next;
        out->dirty = 0;
        if (!out->status && !asocket__out_sending(out))
            (void)asocket__out_push(out, 0);
    }
}

// A channel about to go away must not stay in the list; it is in nobody's but the caller's.
static void asocket__dirty_remove(asocket__task *task, asocket_write_channel *out)
{
    asocket_write_channel **place = &task->dirty;

    if (!out->dirty)
        return;
    while (*place && *place != out)
        place = &(*place)->dirty_next;
    if (*place)
        *place = out->dirty_next;
    out->dirty = 0;
}

// ------------------------------------------------------------------------------------------------
// >>closing
// A close that loses nothing: flush, end our side, read on until the peer ends its own, then give
// the descriptor back; bounded in time. None of it waits: the loop calls asocket__close_step again.

// A descriptor of ours was closed: whoever waits for one may try again.
static void asocket__handle_freed(asocket_selector *selector)
{
    if (selector->starving)
        selector->starved_credit++;
    if (!asocket__list_empty(&selector->starved))
        asocket__wake(ASOCKET__OF(asocket__task, link, selector->starved.next), 0);
}

static ASOCKET__NOINLINE void asocket__notices_free(asocket *socket)
{
    while (socket->notices) {
        asocket__notice *notice = socket->notices;

        socket->notices = notice->next;
        asocket__buffer_push(&socket->selector->spare_notices, (char *)notice);
    }
}

static void asocket__handle_close(asocket_selector *selector, asocket_handle handle)
{
    selector->statistics.system_calls++;
    (void)ASOCKET_SYS(close)(handle); // also after EINTR it is gone (close(2))
    asocket__handle_freed(selector);
}

// The name of the host that a TCP socket was connected to.
static int asocket__host_keep(asocket *socket, const char *host)
{
    bool missing = false;

    if (socket->kind == ASOCKET__STREAM && socket->domain != AF_UNIX)
        socket->told.host =
            (char *)asocket__copy_of(socket->selector, host, strlen(host) + 1, &missing);
    return missing ? ASOCKET_ENOMEM : 0;
}

static ASOCKET__NOINLINE void asocket__host_forget(asocket_selector *selector, asocket *socket)
{
    if (!socket->lower && socket->told.host) {
        asocket__release(selector, socket->told.host, strlen(socket->told.host) + 1);
        socket->told.host = NULL;
    }
}

// The memory that it keeps.
static ASOCKET__NOINLINE void asocket__socket_empty(asocket *socket)
{
    asocket_selector *selector = socket->selector;

    asocket__ring_detach(selector, &socket->in.own, socket->in.capacity);
    asocket__ring_detach(selector, &socket->out.own, socket->out.capacity);
    asocket__host_forget(selector, socket);
    asocket__release(selector, socket->joined, sizeof *socket->joined);
    socket->joined = NULL;
}

static void asocket__close_release(asocket *socket)
{
    asocket_selector *selector = socket->selector;

    asocket__socket_empty(socket);
    asocket__heap_remove(&selector->heap, &socket->timer);
    asocket__list_remove(&socket->link);
    (void)asocket__local_learn(socket); // the addresses go on working
    asocket__names_unlink(socket);
    selector->backend->remove(selector, socket);
    if (socket->kind != ASOCKET__FOREIGN && socket->handle != ASOCKET__NO_HANDLE)
        asocket__handle_close(selector, socket->handle);
    socket->handle = ASOCKET__NO_HANDLE;
    socket->out.pending = 0;
    socket->generation++;
    socket->state = ASOCKET__CLOSED;
    selector->statistics.sockets--;
    asocket__wake_all(&socket->closers, 0);
}

// The last step. The socket keeps its addresses and waits until its memory may serve again.
static ASOCKET__NOINLINE void asocket__close_finish(asocket *socket)
{
    asocket__close_release(socket);
    asocket__socket_closed(socket);
}

// The same for a socket whose handle nobody has seen: its memory may serve again at once.
static void asocket__close_unseen(asocket *socket)
{
    asocket__close_release(socket);
    asocket__socket_unused(socket);
}

// Reads and drops what the peer still sends: 0 when its side has ended, EAGAIN, or an error.
static ASOCKET__SMALL int asocket__close_drain(asocket *socket)
{
    asocket_selector *selector = socket->selector;
    uint32_t size = selector->channel_capacity;
    char *block = asocket__buffer_take(selector, size), few[256]; // without memory it takes longer
    ptrdiff_t count = 1;
    int i;

    for (i = 0; i < 16 && count > 0; i++)
        count = asocket__socket_recv(socket, block ? block : few, block ? size : sizeof few);
    if (block)
        asocket__buffer_give(selector, block, size);
    if (count <= 0)
        return (int)count;
    asocket__socket_serve(socket); // there is more: go on in the next turn
    return ASOCKET_EAGAIN;
}

static int asocket__close_flush(asocket *socket)
{
    int status = asocket__out_push(&socket->out, 0);

    if (status)
        return status;
    if (socket->lent)
        return ASOCKET_EOF; // whoever else uses it will end it
    if ((socket->in.ended && !socket->deaf) || socket->reset || socket->hard)
        return ASOCKET_EOF; // the peer has ended its side already, or what it got is not all
    socket->selector->statistics.system_calls++;
    if (ASOCKET_SYS(shutdown)(socket->handle, SHUT_WR))
        return ASOCKET_EOF; // the peer is gone
    socket->state = ASOCKET__DRAINING;
    return 0;
}

static void asocket__close_linger(asocket *socket)
{
    asocket_selector *selector = socket->selector;

    if (!asocket__list_empty(&socket->link))
        return;
    asocket__list_append(&selector->lingering, &socket->link);
    asocket__heap_start(&selector->heap, &socket->timer,
                        asocket__later(asocket__now(), selector->close_timeout));
}

// Makes the coming close a reset.
static void asocket__close_hard(const asocket *socket)
{
    struct linger hard;

    hard.l_onoff = 1;
    hard.l_linger = 0;
    if (socket->kind == ASOCKET__STREAM && !socket->lent)
        (void)ASOCKET_SYS(setsockopt)(socket->handle, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

static void asocket__close_step(asocket *socket)
{
    asocket_selector *selector = socket->selector;
    int status = socket->state == ASOCKET__FLUSHING ? asocket__close_flush(socket) : 0;

    if (!status) {
        status = asocket__close_drain(socket);
        if (status == ASOCKET_EAGAIN && !socket->served)
            status = selector->backend->arm(selector, socket, ASOCKET_READ) ? 0 : status;
    }
    if (status == ASOCKET_EAGAIN) {
        asocket__close_linger(socket);
        return;
    }
    if (socket->hard)
        asocket__close_hard(socket);
    asocket__close_finish(socket);
}

// From now on every call on the socket and its channels answers ASOCKET_ECLOSED.
static void asocket__close_begin(asocket *socket)
{
    asocket *below;

    socket->in.status = socket->out.status = ASOCKET_ECLOSED;
    asocket__in_forget(&socket->in);
    socket->out.reserved = 0;
    asocket__dirty_remove(asocket__self(socket->selector), &socket->out);
    for (below = socket; below; below = below->lower)
        asocket__notices_free(below);
    asocket__wake_any(socket->in.task, ASOCKET_ECLOSED);
    asocket__wake_any(socket->out.task, ASOCKET_ECLOSED);
}

static void asocket__socket_close(asocket *socket)
{
    while (socket->upper) // closing what a layer stands on closes the layer, and that the rest
        socket = socket->upper;
    if (socket->state != ASOCKET__OPEN)
        return;
    socket->state = ASOCKET__FLUSHING;
    asocket__close_begin(socket);
    if (socket->kind == ASOCKET__STREAM) {
        asocket__close_step(socket);
        return;
    }
    if (socket->lower) { // its transport may wait: see >>layer
        asocket__close_linger(socket);
        asocket__socket_serve(socket);
        return;
    }
    if (socket->kind == ASOCKET__DATAGRAM)
        (void)asocket__out_push(&socket->out, 0);
    asocket__close_finish(socket);
}

// Ends the connection with a reset; what was written or received and not yet read is lost.
static void asocket__abort_now(asocket *socket)
{
    if (socket->state >= ASOCKET__CLOSED)
        return;
    asocket__close_hard(socket);
    socket->state = ASOCKET__FLUSHING;
    asocket__close_begin(socket);
    asocket__close_finish(socket);
}

// Ends what the transports of a layer and of those below it wait for.
static void asocket__bottom_abort(asocket *layer)
{
    while (layer->lower)
        layer = layer->lower;
    asocket__abort_now(layer);
}

// With a layer on it or below it: the layer ends first, without a goodbye.
static void asocket__socket_abort(asocket *socket)
{
    while (socket->upper)
        socket = socket->upper;
    if (!socket->lower) {
        asocket__abort_now(socket);
        return;
    }
    socket->hard = 1;
    if (socket->state == ASOCKET__OPEN)
        asocket__socket_close(socket);
    else
        asocket__bottom_abort(socket);
}

// The socket that a coroutine was launched with.
static ASOCKET__SMALL void asocket__launched_close(asocket__task *task)
{
    asocket *socket = task->socket;

    if (!socket)
        return;
    task->socket = NULL;
    socket->launcher = NULL;
    asocket__socket_close(socket);
}

// The time to linger is over. A peer that has not got everything must not take it for the end.
static void asocket__close_expire(asocket *socket)
{
    if (socket->lower) {
        socket->hard = 1;
        asocket__bottom_abort(socket);
        return;
    }
    if (socket->state == ASOCKET__FLUSHING)
        asocket__close_hard(socket);
    asocket__close_finish(socket);
}

// Gives up the oldest lingering socket that has sent all it had; true: a descriptor is free.
static bool asocket__close_oldest(asocket_selector *selector)
{
    asocket__link *link;

    for (link = selector->lingering.next; link != &selector->lingering; link = link->next) {
        asocket *socket = ASOCKET__OF(asocket, link, link);

        if (socket->state == ASOCKET__DRAINING) {
            asocket__close_finish(socket);
            return true;
        }
    }
    return false;
}

// ------------------------------------------------------------------------------------------------
// >>stack
// Stacks in slabs of one mapping, a guard at the low end of each. MADV_GUARD_INSTALL costs no
// mapping, so that a million guarded stacks need no sysctl; mprotect costs two each. The task
// itself lies at the top of its stack: what a parked coroutine keeps hot is one page.

#if ASOCKET__COROUTINES

enum { ASOCKET__GUARD_UNKNOWN, ASOCKET__GUARD_MADVISE, ASOCKET__GUARD_MPROTECT };

static size_t asocket__slab_size(const asocket_selector *selector)
{
    return selector->stack_size * ASOCKET__SLAB;
}

#if ASOCKET__WINDOWS

static void *asocket__slab_reserve(size_t size)
{
    return ASOCKET_WINDOWS(VirtualAlloc)(NULL, size, MEM_RESERVE, PAGE_READWRITE);
}

static void asocket__slab_return(void *base, size_t size)
{
    (void)size;
    (void)ASOCKET_WINDOWS(VirtualFree)(base, 0, MEM_RELEASE);
}

// Memory for the upper end of a stack, and a page below it that tells the system when more is
// needed: it grows as a thread's does. What is never committed is the guard.
static void *asocket__stack_commit(const asocket_selector *selector, char *low)
{
    size_t page = selector->page_size, first = page * ASOCKET__FIRST_PAGES;
    char *limit = low + selector->stack_size - first;

    if (!ASOCKET_WINDOWS(VirtualAlloc)(limit, first, MEM_COMMIT, PAGE_READWRITE))
        return NULL;
    if (ASOCKET__FIRST_PAGES > 1 &&
        !ASOCKET_WINDOWS(VirtualAlloc)(limit - page, page, MEM_COMMIT, PAGE_READWRITE | PAGE_GUARD))
        return NULL;
    return asocket__swap_limit_first(selector, limit);
}

static void asocket__stack_return(asocket__slab *slab, uint32_t i)
{
    asocket__swap_limit_end(slab->limits[i]);
}

static bool asocket__stack_ready(asocket_selector *selector, asocket__slab *slab, uint32_t i)
{
    slab->limits[i] = asocket__stack_commit(selector, slab->base + i * selector->stack_size);
    return slab->limits[i] != NULL;
}

static void asocket__stack_load(asocket__task *task, const asocket__slab *slab, uint32_t i)
{
    task->stack_limit = slab->limits[i];
}

static void asocket__stack_save(const asocket__task *task, asocket__slab *slab, uint32_t i)
{
    slab->limits[i] = asocket__swap_limit(task);
}

#else

#define asocket__stack_return(slab, i)     ((void)0)
#define asocket__stack_load(task, slab, i) ((void)0)
#define asocket__stack_save(task, slab, i) ((void)0)

#if ASOCKET__LINUX

#define ASOCKET__GUARD_INSTALL 102 // MADV_GUARD_INSTALL, Linux 6.13
#define asocket__small_pages(base, size) \
    ((void)ASOCKET_SYS(madvise)(base, size, 15)) // MADV_NOHUGEPAGE

static int asocket__guard_install(char *page, size_t size)
{
    return ASOCKET_SYS(madvise)(page, size, ASOCKET__GUARD_INSTALL);
}

// Emulators answer 0 to an madvise they do not know: a real guard makes the kernel refuse to read.
// Valgrind would read the page itself, before the kernel, and crash.
#ifdef ASOCKET_VALGRIND
static bool asocket__guard_is_real(const char *page)
{
    (void)page;
    return true;
}
#else
static bool asocket__guard_is_real(const char *page)
{
    return ASOCKET_SYS(access)(page, F_OK) < 0 && errno == EFAULT;
}
#endif

#else

#define asocket__small_pages(base, size)   ((void)0)
#define asocket__guard_install(page, size) ((void)(page), (void)(size), -1)
#define asocket__guard_is_real(page)       (false)

#endif

static void *asocket__slab_reserve(size_t size)
{
    void *base =
        ASOCKET_SYS(mmap)(NULL, size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | ASOCKET__MAP_STACK, -1, 0);

    if (base == MAP_FAILED)
        return NULL;
    asocket__small_pages(base, size);
    return base;
}

static void asocket__slab_return(void *base, size_t size)
{
    (void)ASOCKET_SYS(munmap)(base, size);
}

// False when there is no guard to be had: the stack is used all the same, and counted. The first
// one shows which kind there is.
static bool asocket__guard(asocket_selector *selector, char *page)
{
    int kind = selector->guard_kind;

    if (kind != ASOCKET__GUARD_MPROTECT && !asocket__guard_install(page, selector->guard_size) &&
        (kind == ASOCKET__GUARD_MADVISE || asocket__guard_is_real(page))) {
        selector->guard_kind = ASOCKET__GUARD_MADVISE;
        return true;
    }
    if (kind == ASOCKET__GUARD_UNKNOWN)
        selector->guard_kind = ASOCKET__GUARD_MPROTECT;
    if (selector->guards >= ASOCKET__MPROTECT_GUARDS ||
        ASOCKET_SYS(mprotect)(page, selector->guard_size, PROT_NONE))
        return false;
    selector->guards++;
    return true;
}

static bool asocket__stack_ready(asocket_selector *selector, asocket__slab *slab, uint32_t i)
{
    slab->unguarded[i] = !asocket__guard(selector, slab->base + i * selector->stack_size);
    return true;
}

#endif

static int asocket__slab_map(asocket_selector *selector, asocket__slab *slab)
{
    size_t size = asocket__slab_size(selector);
    void *base = asocket__slab_reserve(size);

    if (!base)
        return ASOCKET_ENOMEM;
    asocket__asan_slab(base, size);
    slab->base = (char *)base;
    slab->fresh = slab->free_first = 0;
    asocket__list_append(&selector->idle_slabs, &slab->link);
    selector->mapped_slabs++;
    selector->empty_slabs++;
    return 0;
}

static void asocket__slab_unmap(asocket_selector *selector, asocket__slab *slab)
{
    uint32_t i;

    for (i = 0; i < slab->fresh; i++) {
        asocket__stack_return(slab, i);
        selector->statistics.stacks--;
        if (slab->unguarded[i])
            selector->statistics.unguarded_stacks--;
        else if (selector->guard_kind == ASOCKET__GUARD_MPROTECT)
            selector->guards--;
    }
    asocket__asan_slab_end(slab->base, asocket__slab_size(selector));
    asocket__slab_return(slab->base, asocket__slab_size(selector));
    asocket__list_remove(&slab->link);
    slab->base = NULL;
    selector->mapped_slabs--;
    selector->empty_slabs--;
}

// A slab without a mapping, an old one or a new one at the end of the table.
static asocket__slab *asocket__slab_new(asocket_selector *selector)
{
    void *slabs;
    asocket__slab *slab;
    uint32_t i;

    for (i = selector->slab_count; i-- > 0;)
        if (!selector->slabs[i]->base)
            return selector->slabs[i];
    slabs = asocket__grow(selector, selector->slabs, &selector->slab_capacity,
                          selector->slab_count + 1, sizeof *selector->slabs);
    if (!slabs)
        return NULL;
    selector->slabs = (asocket__slab **)slabs;
    slab = (asocket__slab *)asocket__allocate(selector, sizeof *slab);
    if (!slab)
        return NULL;
    slab->index = selector->slab_count;
    selector->slabs[selector->slab_count++] = slab;
    return slab;
}

// A slab with a free stack, or NULL. The last one that got a stack back is the first to lend.
static asocket__slab *asocket__slab_open(asocket_selector *selector)
{
    asocket__link *list = &selector->open_slabs;
    asocket__slab *slab;

    if (asocket__list_empty(list))
        list = &selector->idle_slabs;
    if (!asocket__list_empty(list))
        return ASOCKET__OF(asocket__slab, link, list->previous);
    slab = asocket__slab_new(selector);
    if (!slab || asocket__slab_map(selector, slab))
        return NULL;
    return slab;
}

static bool asocket__slab_first_use(asocket_selector *selector, asocket__slab *slab)
{
    uint32_t i = slab->fresh;

    if (!asocket__stack_ready(selector, slab, i))
        return false;
    slab->fresh++;
    selector->statistics.unguarded_stacks += slab->unguarded[i];
    selector->statistics.stacks++;
    asocket__valgrind_stack(slab->base + i * selector->stack_size,
                            slab->base + (i + 1) * selector->stack_size);
    return true;
}

static asocket__task *asocket__stack_task(const asocket_selector *selector,
                                          const asocket__slab *slab, uint32_t i)
{
    char *high = slab->base + (i + 1) * selector->stack_size;

    return (asocket__task *)(void *)(high - ASOCKET__TASK_SIZE);
}

// A stack with room for a task at its top, or NULL.
static asocket__task *asocket__stack_take(asocket_selector *selector)
{
    asocket__slab *slab = asocket__slab_open(selector);
    asocket__task *task;
    uint32_t i;

    if (!slab)
        return NULL;
    if (slab->free_first) {
        i = slab->free_first - 1;
        slab->free_first = slab->free_next[i];
    } else {
        i = slab->fresh;
        if (!asocket__slab_first_use(selector, slab))
            return NULL;
    }
    if (!slab->used++) {
        selector->empty_slabs--;
        asocket__list_remove(&slab->link);
        asocket__list_append(&selector->open_slabs, &slab->link);
    }
    if (slab->used == ASOCKET__SLAB)
        asocket__list_remove(&slab->link);
    task = asocket__stack_task(selector, slab, i);
    asocket__task_init(selector, task);
    task->index = slab->index * ASOCKET__SLAB + i;
    asocket__stack_load(task, slab, i);
    return task;
}

static void asocket__stack_give(asocket_selector *selector, asocket__task *task)
{
    asocket__slab *slab = selector->slabs[task->index / ASOCKET__SLAB];
    uint32_t i = task->index % ASOCKET__SLAB;

    asocket__stack_save(task, slab, i);
    slab->generation[i]++;
    slab->free_next[i] = (uint8_t)slab->free_first;
    slab->free_first = i + 1;
    if (slab->used-- == ASOCKET__SLAB)
        asocket__list_append(&selector->open_slabs, &slab->link);
    if (slab->used)
        return;
    selector->empty_slabs++;
    asocket__list_remove(&slab->link);
    asocket__list_append(&selector->idle_slabs, &slab->link);
    while (selector->empty_slabs > ASOCKET__SPARE_SLABS + selector->mapped_slabs / 4)
        asocket__slab_unmap(selector, ASOCKET__OF(asocket__slab, link, selector->idle_slabs.next));
}

static void asocket__stacks_free(asocket_selector *selector)
{
    uint32_t i;

    for (i = 0; i < selector->slab_count; i++) {
        asocket__slab *slab = selector->slabs[i];

        if (slab->base)
            asocket__slab_unmap(selector, slab);
        asocket__release(selector, slab, sizeof *slab);
    }
    asocket__release(selector, selector->slabs, selector->slab_capacity * sizeof *selector->slabs);
}

// ------------------------------------------------------------------------------------------------
// >>coroutine
// Starting, resuming and ending. A job is the stack's index and generation: stale ones find nobody.

static asocket_job asocket__job_of(const asocket_selector *selector, const asocket__task *task)
{
    uint32_t generation =
        selector->slabs[task->index / ASOCKET__SLAB]->generation[task->index % ASOCKET__SLAB];

    return (uint64_t)generation << 32 | (task->index + 1);
}

static asocket__task *asocket__task_of(const asocket_selector *selector, asocket_job job)
{
    uint32_t index = (uint32_t)job - 1;
    asocket__slab *slab;
    asocket__task *task;

    if (index / ASOCKET__SLAB >= selector->slab_count) // 0 is beyond, too
        return NULL;
    slab = selector->slabs[index / ASOCKET__SLAB];
    if (!slab->base || index % ASOCKET__SLAB >= slab->fresh ||
        slab->generation[index % ASOCKET__SLAB] != (uint32_t)(job >> 32))
        return NULL;
    task = asocket__stack_task(selector, slab, index % ASOCKET__SLAB);
    return task->state == ASOCKET__IDLE || task->state == ASOCKET__DONE ? NULL : task;
}

// What ends with the coroutine; runs on its own stack.
static void asocket__coroutine_end(asocket__task *task)
{
    asocket__task *parent = task->parent;

    asocket__push_dirty(task);
    asocket__launched_close(task);
    asocket__heap_remove(&task->selector->heap, &task->timer);
    asocket__wake_all(&task->joiners, 0);
    asocket__children_pass_on(task, parent);
    asocket__list_remove(&task->sibling);
    if (parent->joining && asocket__list_empty(&parent->children))
        asocket__wake(parent, 0);
}

static void asocket__coroutine_main(asocket__task *task)
{
    asocket_selector *selector = task->selector;

    asocket__asan_enter(task);
    task->function(selector, task->argument);
    asocket__coroutine_end(task);
    task->state = ASOCKET__DONE;
    asocket__switch_to(selector->outside, task, true);
}

static asocket__task *asocket__launch(asocket_selector *selector, asocket__task *parent,
                                      asocket_function *function, void *argument)
{
    asocket__task *task;
    char *low;

    task = asocket__timer_room(selector) ? NULL : asocket__stack_take(selector);
    if (!task)
        return NULL;
    selector->statistics.coroutines++;
    task->function = function;
    task->argument = argument;
    task->parent = parent;
    task->cancelled = parent->cancelled | selector->destroying;
    asocket__list_append(&parent->children, &task->sibling);
    low = (char *)task - (selector->stack_size - ASOCKET__TASK_SIZE) + selector->guard_size;
    asocket__asan_stack(task, low, (size_t)((char *)task - low));
    asocket__tsan_start(task);
    asocket__switch_prepare(task, low, (size_t)((char *)task - low), asocket__coroutine_main);
    task->state = ASOCKET__READY;
    asocket__list_append(&selector->ready, &task->link);
    return task;
}

static void asocket__resume(asocket_selector *selector, asocket__task *task)
{
    task->state = ASOCKET__RUNNING;
    selector->self = task;
    selector->resumed++;
    asocket__tsan_here(selector->outside);
    asocket__switch_to(task, selector->outside, false);
    selector->self = selector->outside;
    if (task->state != ASOCKET__DONE)
        return;
    asocket__tsan_end(task);
    selector->statistics.coroutines--;
    asocket__stack_give(selector, task);
}

static void asocket__resume_ready(asocket_selector *selector, uint32_t limit)
{
    const asocket__link *last = selector->ready.previous, *link = &selector->ready;

    // Those made ready from here on come behind it: they wait for the next turn.
    while (link != last && limit-- > 0) {
        asocket__task *task = ASOCKET__OF(asocket__task, link, selector->ready.next);

        link = &task->link;
        ASOCKET__PREFETCH(link->next);
        asocket__list_remove(&task->link);
        selector->since_wait++;
        if (ASOCKET__LIKELY(!task->outside))
            asocket__resume(selector, task);
        else
            task->state = ASOCKET__RUNNING; // it yields: see >>wait
    }
}

// The next of a task and all below it, parents first; NULL: that was the last.
static asocket__task *asocket__task_below(asocket__task *task, const asocket__task *top)
{
    if (!asocket__list_empty(&task->children))
        return ASOCKET__OF(asocket__task, sibling, task->children.next);
    while (task != top && task->sibling.next == &task->parent->children)
        task = task->parent;
    return task == top ? NULL : ASOCKET__OF(asocket__task, sibling, task->sibling.next);
}

// Marks the coroutine and all that it launched; those that wait wake. No recursion: the chain of
// children may be longer than a coroutine's stack is deep.
static void asocket__cancel(asocket__task *top)
{
    asocket__task *task = top;

    do {
        task->cancelled = 1;
        asocket__wake(task, ASOCKET_ECANCELED);
        task = asocket__task_below(task, top);
    } while (task);
}

#else

#define asocket__stacks_free(selector) ((void)(selector))
#define asocket__cancel(task)          ((void)(task))

#endif

// ------------------------------------------------------------------------------------------------
// >>thread
// What other threads may touch: the list of posts and two flags.

#if defined(__GNUC__)
#define ASOCKET__LOAD(place)            __atomic_load_n(place, __ATOMIC_SEQ_CST)
#define ASOCKET__STORE(place, value)    __atomic_store_n(place, value, __ATOMIC_SEQ_CST)
#define ASOCKET__EXCHANGE(place, value) __atomic_exchange_n(place, value, __ATOMIC_SEQ_CST)
#define ASOCKET__REPLACE(place, old, value) \
    __atomic_compare_exchange_n(place, old, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#elif defined(__TINYC__) && (defined(__x86_64__) || defined(__i386__)) // no __atomic built-ins
#define ASOCKET__LOAD(place)         (*(volatile __typeof__(*(place)) *)(place)) // in order on x86
#define ASOCKET__STORE(place, value) ((void)ASOCKET__EXCHANGE(place, value))
#define ASOCKET__EXCHANGE(place, value)                                                          \
    ({                                                                                           \
        __typeof__(*(place)) asocket__value = (value);                                           \
        __asm__ __volatile__("xchg %0, %1" : "+r"(asocket__value), "+m"(*(place)) : : "memory"); \
        asocket__value;                                                                          \
    })
#define ASOCKET__REPLACE(place, old, value)                                                     \
    ({                                                                                          \
        __typeof__(*(place)) asocket__expected = *(old), asocket__found = asocket__expected;    \
        __asm__ __volatile__("lock; cmpxchg %2, %1"                                             \
                             : "+a"(asocket__found), "+m"(*(place))                             \
                             : "r"(value)                                                       \
                             : "memory");                                                       \
        if (asocket__found != asocket__expected) /* else *old may be another thread's by now */ \
            *(old) = asocket__found;                                                            \
        asocket__found == asocket__expected;                                                    \
    })
#elif ASOCKET__WINDOWS
#define ASOCKET__LOAD(place)            (MemoryBarrier(), *(place))
#define ASOCKET__STORE(place, value)    (*(place) = (value), MemoryBarrier())
#define ASOCKET__EXCHANGE(place, value) InterlockedExchange((volatile LONG *)(place), value)
#define ASOCKET__REPLACE(place, old, value) \
    asocket__replace((void *volatile *)(place), (void **)(old), value)
#define ASOCKET__TAKE(place) InterlockedExchangePointer((void *volatile *)(place), NULL)

static bool asocket__replace(void *volatile *place, void **old, void *value)
{
    void *expected = *old, *found = InterlockedCompareExchangePointer(place, value, expected);

    if (found != expected) // else *old may be another thread's by now
        *old = found;
    return found == expected;
}
#else
#error "asocket.h: this compiler has no __atomic built-ins"
#endif
#ifndef ASOCKET__TAKE
#define ASOCKET__TAKE(place) ASOCKET__EXCHANGE(place, (asocket__post *)NULL)
#endif

#if ASOCKET__THREADS && ASOCKET__WINDOWS
static void asocket__own(asocket_selector *selector)
{
    selector->owner = GetCurrentThreadId();
}

static bool asocket__owned(const asocket_selector *selector)
{
    return selector->owner == GetCurrentThreadId();
}
#elif ASOCKET__THREADS && defined(ASOCKET__THREAD_POINTER)
static void asocket__own(asocket_selector *selector)
{
    selector->owner = (uintptr_t)__builtin_thread_pointer();
}

static bool asocket__owned(const asocket_selector *selector)
{
    return selector->owner == (uintptr_t)__builtin_thread_pointer();
}
#elif ASOCKET__THREADS
static void asocket__own(asocket_selector *selector)
{
    selector->owner = pthread_self();
}

static bool asocket__owned(const asocket_selector *selector)
{
    return pthread_equal(selector->owner, pthread_self()) != 0;
}
#else
#define asocket__own(selector)   ((void)(selector))
#define asocket__owned(selector) ((void)(selector), true)
#endif

// True in another thread than the one that runs the loop. Nothing is noted of it: the note is the
// owner's.
static bool asocket__intruding(const asocket_selector *selector)
{
    return selector->turning && !asocket__owned(selector);
}

// 0 in the thread that the selector belongs to: the first one in; while nobody runs the loop,
// another may take it over. Else, and where there is no selector, ASOCKET_EINVAL.
static ASOCKET__NOINLINE int asocket__enter(const asocket_selector *selector)
{
    if (!selector)
        return ASOCKET_EINVAL;
    if (ASOCKET__LIKELY(asocket__owned(selector) && asocket__alive(selector)))
        return 0;
    if (!asocket__alive(selector))
        return asocket__refuse((asocket_selector *)(uintptr_t)selector, "fork",
                               "the selector belongs to the parent process");
    ASOCKET__ASSERT_THREAD(!asocket__intruding(selector) && "a selector belongs to one thread");
    if (selector->turning)
        return ASOCKET_EINVAL;
    asocket__own((asocket_selector *)(uintptr_t)selector);
    return 0;
}

static inline bool asocket__here(const asocket_selector *selector)
{
    return !asocket__enter(selector);
}

// The same, in place where it is asked for every few bytes.
#if ASOCKET__CHECKS && defined(__OPTIMIZE_SIZE__)
#define ASOCKET__HERE(selector) asocket__here(selector)
#elif ASOCKET__CHECKS
#define ASOCKET__HERE(selector)                                               \
    (ASOCKET__LIKELY(asocket__owned(selector) && asocket__alive(selector)) || \
     asocket__here(selector))
#else
#define ASOCKET__HERE(selector) (true)
#endif

// Also called in signal handlers: errno stays as the interrupted code left it.
static void asocket__notify(asocket_selector *selector)
{
    int error = errno;

    if (!ASOCKET__EXCHANGE(&selector->notified, 1))
        selector->backend->wake(selector);
    errno = error;
}

static int asocket__post_push(asocket_selector *selector, asocket_function *function,
                              asocket_function *drop, void *argument)
{
    asocket__post *post = (asocket__post *)asocket__allocate(selector, sizeof *post);

    if (!post)
        return ASOCKET_ENOMEM;
    post->function = function;
    post->drop = drop;
    post->argument = argument;
    post->next = ASOCKET__LOAD(&selector->posts);
    while (!ASOCKET__REPLACE(&selector->posts, &post->next, post)) {
    }
    asocket__notify(selector);
    return 0;
}

// All posts since the last call, oldest first, behind those that are late.
static void asocket__posts_take(asocket_selector *selector)
{
    asocket__post *newest = (asocket__post *)ASOCKET__TAKE(&selector->posts);
    asocket__post *oldest = NULL, **place = &selector->late;

    while (newest) {
        asocket__post *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (*place)
        place = &(*place)->next;
    *place = oldest;
}

// ------------------------------------------------------------------------------------------------
// >>resolver
// Names by getaddrinfo on a few threads of the selector's own; identical lookups are one. A lookup
// that nobody waits for any more is freed when its thread comes back, also after the selector went:
// the pool belongs to whoever is last. Its memory comes from malloc for that reason.

#if ASOCKET__EMBEDDED

static int asocket__lookup_now(const char *host, asocket__found *found)
{
    (void)host, (void)found;
    return ASOCKET_ENOTSUP;
}

#else

// The next one of a family, from a position on; NULL: none.
static ASOCKET__NOINLINE struct addrinfo *asocket__lookup_next(struct addrinfo *list, int family)
{
    while (list && list->ai_family != family)
        list = list->ai_next;
    return list;
}

// Families interleaved, beginning with the first one (RFC 8305, 4).
static void asocket__lookup_sort(struct addrinfo *list, asocket__found *found)
{
    struct addrinfo *next[2], *item;
    uint32_t count = 0;
    int turn;

    next[0] = asocket__lookup_next(list, AF_INET);
    next[1] = asocket__lookup_next(list, AF_INET6);
    for (turn = next[0] != list; (next[0] || next[1]) && count < ASOCKET__LOOKUP_RESULTS;
         turn = !turn) {
        asocket__native native;

        item = next[turn];
        if (!item)
            continue;
        next[turn] = asocket__lookup_next(item->ai_next, item->ai_family);
        memcpy(&native, item->ai_addr, item->ai_addrlen);
        asocket__endpoint_native(&found->endpoints[count++], &native);
    }
    found->count = count;
}

static int asocket__lookup_now(const char *host, asocket__found *found)
{
    struct addrinfo hints, *list = NULL;

    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    switch (ASOCKET_SYS(getaddrinfo)(host, NULL, &hints, &list)) {
    case 0:
        if (!list)
            return ASOCKET_ENOTFOUND;
        asocket__lookup_sort(list, found);
        ASOCKET_SYS(freeaddrinfo)(list);
        return found->count ? 0 : ASOCKET_ENOTFOUND;
    case EAI_MEMORY: return ASOCKET_ENOMEM;
    case EAI_SYSTEM: return asocket__last_status();
    case EAI_AGAIN: return ASOCKET_EUNREACHABLE; // no name server answered
    default: return ASOCKET_ENOTFOUND;
    }
}

#endif

#if ASOCKET__THREADS && ASOCKET__WINDOWS

#define asocket__lock(mutex)          AcquireSRWLockExclusive(mutex)
#define asocket__unlock(mutex)        ReleaseSRWLockExclusive(mutex)
#define asocket__pool_locks_end(pool) ((void)(pool))
#define asocket__pool_wake(pool)      WakeConditionVariable(&(pool)->work)
#define asocket__pool_wake_all(pool)  WakeAllConditionVariable(&(pool)->work)

static void asocket__pool_locks(asocket__pool *pool)
{
    InitializeSRWLock(&pool->lock);
    InitializeConditionVariable(&pool->work);
}

static void asocket__pool_sleep(asocket__pool *pool)
{
    (void)SleepConditionVariableSRW(&pool->work, &pool->lock, INFINITE, 0);
}

#elif ASOCKET__THREADS

#define asocket__lock(mutex)         ((void)pthread_mutex_lock(mutex))
#define asocket__unlock(mutex)       ((void)pthread_mutex_unlock(mutex))
#define asocket__pool_wake(pool)     ((void)pthread_cond_signal(&(pool)->work))
#define asocket__pool_wake_all(pool) ((void)pthread_cond_broadcast(&(pool)->work))

static void asocket__pool_locks(asocket__pool *pool)
{
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->work, NULL);
}

static void asocket__pool_locks_end(asocket__pool *pool)
{
    (void)pthread_mutex_destroy(&pool->lock);
    (void)pthread_cond_destroy(&pool->work);
}

static void asocket__pool_sleep(asocket__pool *pool)
{
    (void)pthread_cond_wait(&pool->work, &pool->lock);
}

#endif

#if ASOCKET__THREADS

// Gives back the lock; the last one, of threads and selector, frees the pool.
static ASOCKET__NOINLINE void asocket__pool_leave(asocket__pool *pool)
{
    bool last = !pool->threads && !pool->selector;

    asocket__unlock(&pool->lock);
    if (!last)
        return;
    asocket__pool_locks_end(pool);
    ASOCKET_FREE(pool);
}

// Answers one lookup without the lock.
static void asocket__pool_answer(asocket__pool *pool)
{
    asocket__lookup *lookup = pool->first;

    pool->first = lookup->next;
    asocket__unlock(&pool->lock);
    lookup->status = asocket__lookup_now(lookup->host, &lookup->found);
    asocket__lock(&pool->lock);
    if (!pool->selector) {
        ASOCKET_FREE(lookup);
        return;
    }
    lookup->next = pool->answers;
    pool->answers = lookup;
    ASOCKET__STORE(&pool->selector->answered, 1);
    asocket__notify(pool->selector);
}

static void *asocket__pool_thread(void *argument)
{
    asocket__pool *pool = (asocket__pool *)argument;

    asocket__lock(&pool->lock);
    while (pool->selector && (pool->first || pool->idle < ASOCKET__LOOKUP_THREADS)) {
        if (pool->first) {
            asocket__pool_answer(pool);
            continue;
        }
        pool->idle++;
        asocket__pool_sleep(pool);
        pool->idle--;
    }
    pool->threads--;
    asocket__pool_leave(pool);
    return NULL;
}

#if ASOCKET__WINDOWS

static unsigned __stdcall asocket__pool_start(void *pool)
{
    (void)asocket__pool_thread(pool);
    return 0;
}

static void asocket__pool_grow(asocket__pool *pool)
{
    uintptr_t thread = ASOCKET_WINDOWS(_beginthreadex)(NULL, 0, asocket__pool_start, pool, 0, NULL);

    if (!thread)
        return;
    (void)CloseHandle((HANDLE)thread);
    pool->threads++;
}

#else

// Signals are the program's: the threads of the pool take none.
static void asocket__pool_grow(asocket__pool *pool)
{
    sigset_t all, former;
    pthread_t thread;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &former);
    if (!ASOCKET_SYS(pthread_create)(&thread, NULL, asocket__pool_thread, pool)) {
        (void)pthread_detach(thread);
        pool->threads++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &former, NULL);
}

#endif

static asocket__pool *asocket__pool_of(asocket_selector *selector)
{
    asocket__pool *pool = selector->pool;

    if (pool)
        return pool;
    pool = (asocket__pool *)ASOCKET_MALLOC(sizeof *pool);
    if (!pool)
        return NULL;
    memset(pool, 0, sizeof *pool);
    asocket__pool_locks(pool);
    pool->selector = selector;
    selector->pool = pool;
    return pool;
}

// A lookup that was given up holds its thread until the system is done with it; others shall not
// have to wait for that.
static bool asocket__pool_may_grow(const asocket__pool *pool)
{
    const asocket__link *all = &pool->selector->lookups, *link;
    int most = ASOCKET__LOOKUP_THREADS;

    for (link = all->next; link != all && most < ASOCKET__LOOKUP_MOST; link = link->next)
        most += !ASOCKET__OF(asocket__lookup, link, link)->users;
    return pool->threads < most;
}

// One more thread if those in the queue need it.
static ASOCKET__NOINLINE void asocket__pool_tend(asocket__pool *pool)
{
    const asocket__lookup *lookup;
    int queued = 0;

    for (lookup = pool->first; lookup; lookup = lookup->next)
        queued++; // an idle thread may have been told of it, but does not run yet
    if (pool->idle < queued && asocket__pool_may_grow(pool))
        asocket__pool_grow(pool);
}

// Nobody waits for one of the lookups any more: those in the queue may have another thread.
static void asocket__pool_relieve(asocket__pool *pool)
{
    asocket__lock(&pool->lock);
    asocket__pool_tend(pool);
    asocket__unlock(&pool->lock);
}

// Puts a lookup at the end of the queue; false: there is no thread to come for it.
static bool asocket__pool_ask(asocket__pool *pool, asocket__lookup *lookup)
{
    asocket__lookup **end = &pool->first;
    bool served;

    asocket__lock(&pool->lock);
    while (*end)
        end = &(*end)->next;
    *end = lookup;
    asocket__pool_tend(pool);
    served = pool->threads > 0;
    if (served)
        asocket__pool_wake(pool);
    else
        *end = NULL;
    asocket__unlock(&pool->lock);
    return served;
}

static asocket__lookup *asocket__lookup_find(asocket_selector *selector, const char *host)
{
    asocket__link *link;

    for (link = selector->lookups.next; link != &selector->lookups; link = link->next)
        if (!strcmp(ASOCKET__OF(asocket__lookup, link, link)->host, host))
            return ASOCKET__OF(asocket__lookup, link, link);
    return NULL;
}

// The lookup of a host under way, begun if need be; NULL: no memory or thread for it.
static asocket__lookup *asocket__lookup_begin(asocket_selector *selector, const char *host)
{
    asocket__lookup *lookup = asocket__lookup_find(selector, host);
    asocket__pool *pool;

    if (lookup)
        return lookup;
    pool = asocket__pool_of(selector);
    lookup = pool ? (asocket__lookup *)ASOCKET_MALLOC(sizeof *lookup) : NULL;
    if (!lookup)
        return NULL;
    memset(lookup, 0, sizeof *lookup);
    memcpy(lookup->host, host, strlen(host) + 1);
    asocket__list_init(&lookup->waiters);
    if (!asocket__pool_ask(pool, lookup)) {
        ASOCKET_FREE(lookup);
        return NULL;
    }
    asocket__list_append(&selector->lookups, &lookup->link);
    return lookup;
}

// Wakes those who wait for what has been answered; the last of them frees it.
static void asocket__lookups_take(asocket_selector *selector)
{
    asocket__lookup *lookup, *next;

    ASOCKET__STORE(&selector->answered, 0);
    asocket__lock(&selector->pool->lock);
    lookup = selector->pool->answers;
    selector->pool->answers = NULL;
    asocket__unlock(&selector->pool->lock);
    for (; lookup; lookup = next) {
        next = lookup->next;
        asocket__list_remove(&lookup->link);
        lookup->done = true;
        if (lookup->users)
            asocket__wake_all(&lookup->waiters, 0);
        else
            ASOCKET_FREE(lookup);
    }
}

// The selector goes: what is queued or answered goes with it, what a thread is at goes by itself.
static void asocket__lookups_abandon(asocket_selector *selector)
{
    asocket__pool *pool = selector->pool;
    asocket__lookup *lookup;

    if (!pool)
        return;
    asocket__lookups_take(selector);
    asocket__lock(&pool->lock);
    while ((lookup = pool->first) != NULL) {
        pool->first = lookup->next;
        ASOCKET_FREE(lookup);
    }
    pool->selector = NULL;
    selector->pool = NULL;
    asocket__pool_wake_all(pool);
    asocket__pool_leave(pool);
}

// In a forked child there are no threads, and the lock may be held for ever.
static void asocket__lookups_forget(asocket_selector *selector)
{
    while (!asocket__list_empty(&selector->lookups)) {
        asocket__lookup *lookup = ASOCKET__OF(asocket__lookup, link, selector->lookups.next);

        asocket__list_remove(&lookup->link);
        ASOCKET_FREE(lookup);
    }
    ASOCKET_FREE(selector->pool);
    selector->pool = NULL;
}

#else

#define asocket__lookups_take(selector)    ((void)(selector))
#define asocket__lookups_abandon(selector) ((void)(selector))
#define asocket__lookups_forget(selector)  ((void)(selector))

#endif

// ------------------------------------------------------------------------------------------------
// >>loop
// One turn: look at the descriptors, fire timers, do background work, resume coroutines. The loop
// runs on the stack of whoever called asocket_run, asocket_poll, or waits outside a coroutine.

// Runs a callback on the loop's stack. What it waits for, it waits for as code of its own. Room for
// its timer must have been made.
static void asocket__call(asocket_selector *selector, asocket_function *function, void *argument)
{
    asocket__task guest, *outside = selector->outside;

    asocket__task_init(selector, &guest);
    guest.outside = 1;
    guest.cancelled = selector->destroying;
    selector->self = selector->outside = &guest;
    selector->guests++;
    selector->resumed++;
    function(selector, argument);
    selector->guests--;
    selector->self = selector->outside = outside;
    asocket__heap_remove(&selector->heap, &guest.timer);
    asocket__children_pass_on(&guest, &selector->root);
}

static void asocket__post_call(asocket_selector *selector, const asocket__post *post)
{
    asocket__call(selector, post->function, post->argument);
}

// The end of the first of those that are late: by a call of `end`, or it was launched (NULL). It
// leaves them before, for a callback may run the loop.
static ASOCKET__NOINLINE void asocket__post_end(asocket_selector *selector,
                                                void (*end)(asocket_selector *selector,
                                                            const asocket__post *post))
{
    asocket__post *post = selector->late;

    selector->late = post->next;
    if (end)
        end(selector, post);
    asocket__release(selector, post, sizeof *post);
}

#if ASOCKET__COROUTINES
static bool asocket__post_launch(asocket_selector *selector, const asocket__post *post)
{
    return asocket__launch(selector, &selector->root, post->function, post->argument) != NULL;
}

// Now or never, cancelled.
#define asocket__post_must_run(selector) ((selector)->destroying)
#else
#define asocket__post_launch(selector, post)   (false)
#define asocket__post_must_run(selector)       (!asocket__timer_room(selector))
#define asocket__resume_ready(selector, limit) ((void)(selector))
#endif

// Without memory for a coroutine a post stays and is tried again: each runs exactly once.
// So many in one turn, that a flood of them needs no more stacks than that.
static void asocket__posts_run(asocket_selector *selector)
{
    uint32_t limit = ASOCKET__RESUMES;

    selector->refused = 0;
    if (!selector->late && ASOCKET__LOAD(&selector->posts))
        asocket__posts_take(selector);
    while (selector->late && limit-- > 0) {
        bool launched = asocket__post_launch(selector, selector->late);

        if (!launched && !asocket__post_must_run(selector)) {
            selector->refused = 1;
            return;
        }
        asocket__post_end(selector, launched ? NULL : asocket__post_call);
    }
}

static void asocket__timer_fire(asocket_selector *selector, asocket__timer *timer)
{
    asocket__heap_remove(&selector->heap, timer);
    timer->due = ASOCKET_NEVER;
    if (timer->kind == ASOCKET__TIMER_TASK)
        asocket__wake(ASOCKET__OF(asocket__task, timer, timer), ASOCKET_ETIMEDOUT);
    else
        asocket__close_expire(ASOCKET__OF(asocket, timer, timer));
}

static void asocket__timers_run(asocket_selector *selector)
{
    int64_t due, now = 0;

    while ((due = asocket__heap_next(&selector->heap)) != ASOCKET_NEVER) {
        if (!now)
            now = asocket__now();
        if (due > now)
            return;
        asocket__timer_fire(selector, selector->heap.entries[1].timer);
    }
}

// Those to call now leave the socket's list first, for a callback may add to it. For the others the
// backend is asked; if it refuses they are called too: their next try says why.
static asocket__notice *asocket__notices_take(asocket *socket)
{
    int ready = socket->ready | (socket->in.own.visible ? ASOCKET_READ : 0);
    asocket__notice **place = &socket->notices, *taken = NULL, **end = &taken;
    asocket_selector *selector = socket->selector;

    while (*place) {
        asocket__notice *notice = *place;

        if (!(notice->events & ready) &&
            !selector->backend->arm(selector, socket, notice->events)) {
            place = &notice->next;
            continue;
        }
        *place = notice->next;
        notice->next = NULL;
        *end = notice;
        end = &notice->next;
    }
    return taken;
}

// A callback may close the socket: then the rest is forgotten.
static void asocket__notices_run(asocket *socket)
{
    asocket_selector *selector = socket->selector;
    asocket__notice *taken = asocket__notices_take(socket);
    uint32_t generation = socket->generation;

    while (taken) {
        asocket__notice *notice = taken;

        taken = notice->next;
        if (socket->state == ASOCKET__OPEN && socket->generation == generation)
            asocket__call(selector, notice->function, notice->argument);
        asocket__buffer_push(&selector->spare_notices, (char *)notice);
    }
}

// Who is in its transport may be further down this stack, and leaves it when this turn is over.
static void asocket__layer_call_end(asocket *layer)
{
    asocket_selector *selector = layer->selector;

    if (!layer->in.task && !layer->out.task) {
        asocket__call(selector, selector->layer_end, layer);
        return;
    }
    layer->served = 1;
    layer->serve_next = selector->occupied;
    selector->occupied = layer;
}

#if ASOCKET__COROUTINES
static void asocket__layer_start_end(asocket *layer)
{
    if (!asocket__launch(layer->selector, &layer->selector->ends, layer->selector->layer_end,
                         layer))
        asocket__layer_call_end(layer);
}

// By code outside of coroutines, which does not wait for it. False: no memory.
static bool asocket__layer_end_now(asocket_selector *selector, asocket *layer)
{
    asocket__task *task = asocket__launch(selector, &selector->ends, selector->layer_end, layer);

    if (!task)
        return false;
    asocket__list_remove(&task->link);
    asocket__resume(selector, task);
    return true;
}
#else
#define asocket__layer_start_end(layer) asocket__layer_call_end(layer)

// Without coroutines a goodbye may keep the caller waiting: the loop says it.
static bool asocket__layer_end_now(asocket_selector *selector, asocket *layer)
{
    if (!layer->hard || asocket__timer_room(selector))
        return false;
    asocket__call(selector, selector->layer_end, layer);
    return true;
}
#endif

// Code outside of coroutines may not run the loop again for long: what the ends of layers can send
// at once leaves now, as that of a socket. Who waits in a transport has to leave it first.
static void asocket__layers_end_now(asocket *socket)
{
    asocket_selector *selector = socket->selector;
    asocket *lower;

    while (socket->upper)
        socket = socket->upper;
    for (; (lower = socket->lower) != NULL; socket = lower) {
        if (selector->serve != socket || socket->state != ASOCKET__FLUSHING ||
            selector->self != selector->outside || socket->in.task || socket->out.task ||
            !asocket__alive(selector))
            return;
        selector->serve = socket->serve_next;
        socket->served = 0;
        if (!asocket__layer_end_now(selector, socket))
            asocket__socket_serve(socket);
    }
}

// A turn inside of a callback goes on with the list of the turn outside, where it stands. Without
// memory for a callback's timer the rest waits for the next turn.
static void asocket__serve_sockets(asocket_selector *selector)
{
    while (selector->occupied) {
        asocket *layer = selector->occupied;

        selector->occupied = layer->serve_next;
        layer->serve_next = selector->serve;
        selector->serve = layer;
    }
    if (!selector->serving) {
        selector->serving = selector->serve;
        selector->serve = NULL;
    }
    while (selector->serving && !asocket__timer_room(selector)) {
        asocket *socket = selector->serving;

        selector->serving = socket->serve_next;
        socket->served = 0;
        if (socket->state == ASOCKET__OPEN) {
            if (socket->out.pending)
                (void)asocket__out_push(&socket->out, 0);
            if (socket->notices)
                asocket__notices_run(socket);
        } else if (socket->state == ASOCKET__FLUSHING && socket->lower) {
            asocket__layer_start_end(socket);
        } else if (!socket->lower &&
                   (socket->state == ASOCKET__FLUSHING || socket->state == ASOCKET__DRAINING)) {
            asocket__close_step(socket);
        }
    }
}

// ns until something is to be done; 0: now; -1: nothing but what the descriptors bring.
static int64_t asocket__idle_time(asocket_selector *selector, int64_t limit)
{
    int64_t due, left;
    bool posted = selector->late ? !selector->refused : ASOCKET__LOAD(&selector->posts) != NULL;

    if (!limit || posted || !asocket__list_empty(&selector->ready) || selector->serve ||
        selector->serving ||
        (ASOCKET__LOAD(&selector->stopped) | ASOCKET__LOAD(&selector->answered)))
        return 0;
    if ((selector->late || selector->occupied) && (limit < 0 || limit > 5 * ASOCKET__MILLISECOND))
        limit = 5 * ASOCKET__MILLISECOND;
    due = asocket__heap_next(&selector->heap);
    if (due == ASOCKET_NEVER)
        return limit;
    left = due - asocket__now();
    if (left < 0)
        left = 0;
    return limit < 0 || left < limit ? left : limit;
}

static void asocket__look(asocket_selector *selector, int64_t limit)
{
    int64_t timeout;
    int count;

    selector->since_wait = 0;
    // Whoever posts after this store finds that a wake-up is needed; whoever did before is seen.
    ASOCKET__STORE(&selector->notified, 0);
    timeout = asocket__idle_time(selector, limit);
    selector->statistics.system_calls++;
    count = selector->backend->wait(selector, timeout);
    if (timeout && count > 0)
        selector->statistics.wakeups++;
    if (ASOCKET__UNLIKELY(count < 0))
        asocket__rest(timeout);
}

// Waits at most `limit` ns (-1: for ever) if there is nothing to do.
static void asocket__turn(asocket_selector *selector, int64_t limit)
{
    selector->statistics.turns++;
    if (limit && !asocket__list_empty(&selector->ready) &&
        selector->since_wait < ASOCKET__RESUMES && !selector->serve && !selector->serving &&
        !ASOCKET__LOAD(&selector->posts)) {
        asocket__resume_ready(selector, ASOCKET__RESUMES); // all else can wait that long
        return;
    }
    asocket__look(selector, limit);
    asocket__timers_run(selector);
    if (ASOCKET__LOAD(&selector->answered))
        asocket__lookups_take(selector);
    asocket__posts_run(selector);
    asocket__serve_sockets(selector);
    asocket__resume_ready(selector, ASOCKET__RESUMES);
}

// True once for every stop.
static bool asocket__stop_taken(asocket_selector *selector)
{
    return ASOCKET__LOAD(&selector->stopped) && ASOCKET__EXCHANGE(&selector->stopped, 0);
}

// ------------------------------------------------------------------------------------------------
// >>wait
// Parking, for coroutines and for code outside of them. Whoever waits cleans up after itself when
// it goes on: nothing that wakes a task touches what the task was waiting for.

static void asocket__park_outside(asocket_selector *selector, asocket__task *task)
{
    selector->turning++;
    while (task->state == ASOCKET__PARKED) {
        if (asocket__stop_taken(selector))
            asocket__wake(task, ASOCKET_ECANCELED);
        else
            asocket__turn(selector, -1);
    }
    selector->turning--;
    task->state = ASOCKET__RUNNING;
}

#if ASOCKET__COROUTINES
static inline void asocket__park_task(asocket_selector *selector, asocket__task *task)
{
    if (ASOCKET__UNLIKELY(task->outside))
        asocket__park_outside(selector, task);
    else
        asocket__switch_to(selector->outside, task, false);
}
#else
#define asocket__park_task(selector, task) asocket__park_outside(selector, task)
#endif

// Parks the caller until somebody wakes it or `until`: what the waker said, or ASOCKET_ETIMEDOUT.
static inline int asocket__park_here(asocket_selector *selector, asocket__task *task, int64_t until)
{
    if (ASOCKET__UNLIKELY(task->cancelled))
        return ASOCKET_ECANCELED;
    if (until != ASOCKET_NEVER)
        asocket__heap_start(&selector->heap, &task->timer, until);
    task->state = ASOCKET__PARKED;
    task->budget = ASOCKET__BUDGET;
    asocket__park_task(selector, task);
    return task->result;
}

static ASOCKET__NOINLINE int asocket__park(asocket_selector *selector, asocket__task *task,
                                           int64_t until)
{
    return asocket__park_here(selector, task, until);
}

#if ASOCKET__COROUTINES
// Goes to the end of the queue of the ready, the code outside too: its turns end when it is the
// first.
static void asocket__queue(asocket_selector *selector, asocket__task *task)
{
    task->state = ASOCKET__READY;
    asocket__list_append(&selector->ready, &task->link);
    if (ASOCKET__LIKELY(!task->outside)) {
        asocket__switch_to(selector->outside, task, false);
        return;
    }
    selector->turning++;
    while (task->state == ASOCKET__READY)
        asocket__turn(selector, 0);
    selector->turning--;
}
#else
static void asocket__queue(asocket_selector *selector, asocket__task *task)
{
    (void)task;
    selector->turning++;
    asocket__turn(selector, 0);
    selector->turning--;
}
#endif

// Lets the others run once. Not a wait: neither cancel nor deadline end it.
static void asocket__step_aside(asocket_selector *selector, asocket__task *task)
{
    asocket__push_dirty(task);
    task->budget = ASOCKET__BUDGET;
    asocket__queue(selector, task);
}

// A coroutine whose calls always succeed at once must not keep the others from running.
static void asocket__breathe(asocket_selector *selector)
{
    asocket__task *task = asocket__self(selector);

    if (ASOCKET__LIKELY(task->budget > 0))
        return;
    selector->since_wait = ASOCKET__RESUMES; // that took long enough: look at the descriptors next
    asocket__step_aside(selector, task);
}

// The same inside a call on a socket: its memory is not used again meanwhile.
static void asocket__breathe_in(asocket *socket)
{
    socket->pins++;
    asocket__breathe(socket->selector);
    socket->pins--;
}

// Until when a task that has to wait may do so.
static int asocket__wait_time(const asocket__task *task, int64_t timeout, int64_t *until)
{
    *until = task->deadline;
    if (timeout > 0) {
        int64_t end = asocket__later(asocket__now(), timeout);

        if (end < *until)
            *until = end;
    }
    if (task->deadline != ASOCKET_NEVER && task->deadline <= asocket__now())
        return ASOCKET_ETIMEDOUT;
    return 0;
}

// What every wait begins with: what was written leaves; is the caller allowed to park, and until
// when? `timeout` in ms: ASOCKET_FOREVER or 0 none, ASOCKET_NO_WAIT.
static int asocket__wait_begin(asocket_selector *selector, int64_t timeout, int64_t *until)
{
    asocket__task *task = asocket__self(selector);
    int status = asocket__enter(selector);

    if (status)
        return status;
    if (task->dirty)
        asocket__push_dirty(task);
    if (ASOCKET__UNLIKELY(task->cancelled))
        status = ASOCKET_ECANCELED;
    else if (timeout == ASOCKET_NO_WAIT)
        status = ASOCKET_EAGAIN;
    else
        status = asocket__wait_time(task, timeout, until);
    if (status) { // a loop that does not care shall not stop the others
        task->budget--;
        asocket__breathe(selector);
    }
    return status;
}

// Waits in a list of waiters (NULL: in none) for a wake.
static ASOCKET__NOINLINE int asocket__wait_in(asocket_selector *selector, asocket__link *list,
                                              int64_t timeout)
{
    asocket__task *task = asocket__self(selector);
    int64_t until;
    int status = asocket__wait_begin(selector, timeout, &until);

    if (status)
        return status;
    if (list)
        asocket__list_append(list, &task->link);
    return asocket__park(selector, task, until);
}

// Who must not park may have what has come by now, although the loop has not told of it: 0 for one
// more try, or the status with which the wait was refused.
static int asocket__wait_not(asocket *socket, int direction, int status)
{
    if (socket->state != ASOCKET__OPEN)
        return ASOCKET_ECLOSED;
    socket->selector->statistics.system_calls++;
    if (!asocket__socket_look(socket, direction))
        return status;
    socket->ready = (uint8_t)(socket->ready | direction);
    return 0;
}

// What nearly every wait begins with, in short: no time limit of any kind and nothing wrong.
static inline bool asocket__wait_plain(const asocket_selector *selector, const asocket__task *task,
                                       int64_t timeout)
{
    return !task->cancelled && task->deadline == ASOCKET_NEVER && timeout <= 0 &&
           timeout != ASOCKET_NO_WAIT && asocket__owned(selector) && asocket__alive(selector);
}

// Why a layer's transport need not begin to wait for what is below: its reader was left by a close,
// or the direction given up, by somebody who found it at work.
static int asocket__layer_left(const asocket *layer, const asocket__task *task)
{
    for (; layer; layer = layer->upper) {
        if (layer->in.task == task && (layer->in.status || layer->in.ended))
            return layer->in.status ? layer->in.status : ASOCKET_ECANCELED;
        if (layer->out.task == task && layer->out.status == ASOCKET_ECANCELED)
            return ASOCKET_ECANCELED; // after a close it goes on: what was written arrives
    }
    return 0;
}

// Waits, within the socket's time-out, until a call in one direction may succeed. Few functions lie
// between a call that waits and the switch in here: a thousand coroutines that wait are a thousand
// stacks whose ends must come into the cache again.
static ASOCKET__NOINLINE int asocket__wait_socket(asocket *socket, int side)
{
    asocket_selector *selector = socket->selector;
    asocket__task *task = asocket__self(selector);
    asocket__task **place = side ? &socket->out.task : &socket->in.task, *inside = *place;
    int64_t until = ASOCKET_NEVER;
    const int direction = 1 << side;
    int status = 0;

    if (socket->lower)
        return ASOCKET_EAGAIN; // its transport has waited, or would not
    *place = task;
    socket->pins++;
    if (ASOCKET__UNLIKELY(!asocket__wait_plain(selector, task, socket->timeout)))
        status = asocket__wait_begin(selector, socket->timeout, &until);
    else if (task->dirty)
        asocket__push_dirty(task);
    if (ASOCKET__UNLIKELY(socket->upper != NULL) && !status)
        status = asocket__layer_left(socket->upper, task);
    if (ASOCKET__UNLIKELY(status)) {
        if (status != ASOCKET_EINVAL)
            status = asocket__wait_not(socket, direction, status);
    } else if (!(socket->ready & direction)) { // or sending what was written turned it
        if (!(socket->registered & direction) || selector->backend->reports)
            status = selector->backend->arm(selector, socket, direction);
        if (!status && !(socket->ready & direction)) {
            socket->waiter[side] = task;
            status = asocket__park_here(selector, task, until);
            socket->waiter[side] = NULL;
            if (socket->state != ASOCKET__OPEN)
                status = ASOCKET_ECLOSED;
        }
    }
    socket->pins--;
    *place = inside;
    if (ASOCKET__UNLIKELY(side ? socket->out.status : socket->in.status))
        return side ? socket->out.status : socket->in.status;
    return status;
}

// ------------------------------------------------------------------------------------------------
// >>option
// Socket options in one table: of the builder and of a living socket, for both families.

enum { ASOCKET__SWITCHES = 1, ASOCKET__AMOUNT, ASOCKET__INTERFACE }; // on and off, a number
// asocket_builder.protocol, and what an option is for; datagrams: twice what a stream is
enum { ASOCKET__TCP = 1, ASOCKET__UDP = 2, ASOCKET__UNIX = 4, ASOCKET__UNIX_DATAGRAM = 8 };
#define ASOCKET__INTERNET (ASOCKET__TCP | ASOCKET__UDP)
#define ASOCKET__ANY      (ASOCKET__INTERNET | ASOCKET__UNIX | ASOCKET__UNIX_DATAGRAM)
typedef struct asocket__option_row {
    uint8_t option, protocols, form;
    int most;
    int level, name;           // for IPv4 and both
    int ipv6_level, ipv6_name; // where IPv6 has its own
    uint16_t field;            // in the builder
    const char *text;
} asocket__option_row;

#if ASOCKET__WINDOWS // not all headers have them
#ifndef TCP_KEEPIDLE
#define TCP_KEEPIDLE 3
#endif
#ifndef TCP_KEEPINTVL
#define TCP_KEEPINTVL 17
#endif
#ifndef TCP_KEEPCNT
#define TCP_KEEPCNT 16
#endif
#ifndef IPV6_TCLASS
#define IPV6_TCLASS 39
#endif
#define ASOCKET__REUSE_PORT 0 // no such thing
#define ASOCKET__REUSE      (-1)
#else
#ifdef SO_REUSEPORT_LB // FreeBSD: among the listeners, as on Linux
#define ASOCKET__REUSE_PORT SO_REUSEPORT_LB
#else
#define ASOCKET__REUSE_PORT SO_REUSEPORT
#endif
#define ASOCKET__REUSE 1
#endif
#ifndef TCP_KEEPIDLE
#define TCP_KEEPIDLE TCP_KEEPALIVE
#endif

#ifdef __OpenBSD__ // keeps the families apart
#define ASOCKET__DUAL_STACK 0
#define ASOCKET__EVERYWHERE "0.0.0.0"
#else
#define ASOCKET__DUAL_STACK 1
#define ASOCKET__EVERYWHERE "::"
#endif

#define ASOCKET__FIELD(name) offsetof(asocket_builder, name), #name
static const asocket__option_row asocket__option_rows[] = {
    {ASOCKET_OPTION_NO_DELAY, ASOCKET__TCP, ASOCKET__SWITCHES, 1, IPPROTO_TCP, TCP_NODELAY, 0, 0,
     ASOCKET__FIELD(no_delay)},
    {ASOCKET_OPTION_KEEP_ALIVE, ASOCKET__TCP, ASOCKET__SWITCHES, 1, SOL_SOCKET, SO_KEEPALIVE, 0, 0,
     ASOCKET__FIELD(keep_alive)},
    {ASOCKET_OPTION_KEEP_ALIVE_IDLE, ASOCKET__TCP, ASOCKET__AMOUNT, 32767, IPPROTO_TCP,
     TCP_KEEPIDLE, 0, 0, ASOCKET__FIELD(keep_alive_idle)},
    {ASOCKET_OPTION_KEEP_ALIVE_INTERVAL, ASOCKET__TCP, ASOCKET__AMOUNT, 32767, IPPROTO_TCP,
     TCP_KEEPINTVL, 0, 0, ASOCKET__FIELD(keep_alive_interval)},
    {ASOCKET_OPTION_KEEP_ALIVE_COUNT, ASOCKET__TCP, ASOCKET__AMOUNT, 127, IPPROTO_TCP, TCP_KEEPCNT,
     0, 0, ASOCKET__FIELD(keep_alive_count)},
    {ASOCKET_OPTION_REUSE_ADDRESS, ASOCKET__INTERNET, ASOCKET__SWITCHES, 1, SOL_SOCKET,
     SO_REUSEADDR, 0, 0, ASOCKET__FIELD(reuse_address)},
    {ASOCKET_OPTION_REUSE_PORT, ASOCKET__INTERNET, ASOCKET__SWITCHES, 1, SOL_SOCKET,
     ASOCKET__REUSE_PORT, 0, 0, ASOCKET__FIELD(reuse_port)},
    {ASOCKET_OPTION_ONLY_IPV6, ASOCKET__INTERNET, ASOCKET__SWITCHES, 1, 0, 0, IPPROTO_IPV6,
     IPV6_V6ONLY, ASOCKET__FIELD(only_ipv6)},
    {ASOCKET_OPTION_TYPE_OF_SERVICE, ASOCKET__INTERNET, ASOCKET__AMOUNT, 255, IPPROTO_IP, IP_TOS,
     IPPROTO_IPV6, IPV6_TCLASS, ASOCKET__FIELD(type_of_service)},
    {ASOCKET_OPTION_TTL, ASOCKET__INTERNET, ASOCKET__AMOUNT, 255, IPPROTO_IP, IP_TTL, IPPROTO_IPV6,
     IPV6_UNICAST_HOPS, ASOCKET__FIELD(ttl)},
    {ASOCKET_OPTION_SEND_BUFFER, ASOCKET__ANY, ASOCKET__AMOUNT, INT_MAX / 2, SOL_SOCKET, SO_SNDBUF,
     0, 0, ASOCKET__FIELD(send_buffer)},
    {ASOCKET_OPTION_RECEIVE_BUFFER, ASOCKET__ANY, ASOCKET__AMOUNT, INT_MAX / 2, SOL_SOCKET,
     SO_RCVBUF, 0, 0, ASOCKET__FIELD(receive_buffer)},
    {ASOCKET_OPTION_BROADCAST, ASOCKET__UDP, ASOCKET__SWITCHES, 1, SOL_SOCKET, SO_BROADCAST, 0, 0,
     ASOCKET__FIELD(broadcast)},
    {ASOCKET_OPTION_MULTICAST_LOOP, ASOCKET__UDP, ASOCKET__SWITCHES, 1, IPPROTO_IP,
     IP_MULTICAST_LOOP, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, ASOCKET__FIELD(multicast_loop)},
    {ASOCKET_OPTION_MULTICAST_TTL, ASOCKET__UDP, ASOCKET__AMOUNT, 255, IPPROTO_IP, IP_MULTICAST_TTL,
     IPPROTO_IPV6, IPV6_MULTICAST_HOPS, ASOCKET__FIELD(multicast_ttl)},
    {ASOCKET_OPTION_MULTICAST_INTERFACE, ASOCKET__UDP, ASOCKET__INTERFACE, INT_MAX, IPPROTO_IP,
     IP_MULTICAST_IF, IPPROTO_IPV6, IPV6_MULTICAST_IF, ASOCKET__FIELD(multicast_interface)},
};
static const asocket__option_row *const asocket__option_end =
    asocket__option_rows + sizeof asocket__option_rows / sizeof *asocket__option_rows;

static const asocket__option_row *asocket__option_row_of(int option)
{
    const asocket__option_row *row;

    for (row = asocket__option_rows; row < asocket__option_end; row++)
        if (row->option == option)
            return row;
    return NULL;
}

// Level and name for the socket's family; false: it has no such option.
static bool asocket__option_place(const asocket__option_row *row, int domain, int *level, int *name)
{
    bool ipv6 = domain == AF_INET6 && row->ipv6_level;

    *level = ipv6 ? row->ipv6_level : row->level;
    *name = ipv6 ? row->ipv6_name : row->name;
    return *level || *name;
}

#if ASOCKET__WINDOWS || defined(__NetBSD__)
static int asocket__interface_set(asocket_handle handle, int index)
{
    uint32_t request = htonl((uint32_t)index); // 0.x.x.x is no address, but an index

    if (ASOCKET_SYS(setsockopt)(handle, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request))
        return asocket__last_status();
    return 0;
}
#else
// IPv4 wants more than the index.
static int asocket__interface_set(asocket_handle handle, int index)
{
    struct ip_mreqn request;

    memset(&request, 0, sizeof request);
    request.imr_ifindex = index;
    if (ASOCKET_SYS(setsockopt)(handle, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request))
        return asocket__last_status();
    return 0;
}
#endif

#if ASOCKET__WINDOWS

// For streams SO_REUSEADDR would let others take the port: what there is to say is whether they may
// (SO_EXCLUSIVEADDRUSE), and a port that waits for the end of old connections is free anyway.
static int asocket__reuse_name(asocket_handle handle)
{
    int type = SOCK_STREAM;
    socklen_t size = sizeof type;

    (void)ASOCKET_SYS(getsockopt)(handle, SOL_SOCKET, SO_TYPE, &type, &size);
    return type == SOCK_STREAM ? SO_EXCLUSIVEADDRUSE : SO_REUSEADDR;
}

static void asocket__option_translate(asocket_handle handle, const asocket__option_row *row,
                                      int *name, int *value)
{
    if (row->option != ASOCKET_OPTION_REUSE_ADDRESS)
        return;
    *name = asocket__reuse_name(handle);
    if (*name == SO_EXCLUSIVEADDRUSE)
        *value = !*value;
}

#else
#define asocket__option_translate(handle, row, name, value) ((void)0)
#endif

#if ASOCKET__APPLE || ASOCKET__BSD

// Some of them insist on a byte for these two (ip(4)).
static bool asocket__option_is_byte(int level, int name)
{
    return level == IPPROTO_IP && (name == IP_MULTICAST_TTL || name == IP_MULTICAST_LOOP);
}

static int asocket__option_write(asocket_handle handle, int level, int name, int value)
{
    unsigned char byte = (unsigned char)value;

    if (asocket__option_is_byte(level, name))
        return ASOCKET_SYS(setsockopt)(handle, level, name, &byte, sizeof byte);
    return ASOCKET_SYS(setsockopt)(handle, level, name, &value, sizeof value);
}

static int asocket__option_read(asocket_handle handle, int level, int name, int *value)
{
    unsigned char byte = 0;
    socklen_t size = asocket__option_is_byte(level, name) ? sizeof byte : sizeof *value;
    void *place = asocket__option_is_byte(level, name) ? (void *)&byte : (void *)value;
    int result;

    *value = 0;
    result = ASOCKET_SYS(getsockopt)(handle, level, name, place, &size);
    if (place == &byte)
        *value = byte;
    return result;
}

// IPv4 peers of a dual-stack socket have the system's defaults: it takes IPv6 options only.
#define ASOCKET__IPV4_OF_BOTH 0

#else

static int asocket__option_write(asocket_handle handle, int level, int name, int value)
{
    return ASOCKET_SYS(setsockopt)(handle, level, name, &value, sizeof value);
}

static ASOCKET__NOINLINE int asocket__option_read(asocket_handle handle, int level, int name,
                                                  int *value)
{
    socklen_t size = sizeof *value;

    *value = 0;
    return ASOCKET_SYS(getsockopt)(handle, level, name, value, &size);
}

#define ASOCKET__IPV4_OF_BOTH 1

#endif

static int asocket__option_set(asocket_selector *selector, asocket_handle handle, int domain,
                               const asocket__option_row *row, int value)
{
    int level, name;

    if (!asocket__option_place(row, domain, &level, &name))
        return ASOCKET_ENOTSUP;
    if (row->form == ASOCKET__INTERFACE && domain == AF_INET)
        return asocket__interface_set(handle, value);
    asocket__option_translate(handle, row, &name, &value);
    selector->statistics.system_calls++;
    if (asocket__option_write(handle, level, name, value))
        return asocket__last_status();
    // For IPv4 peers of a dual-stack socket.
    if (ASOCKET__IPV4_OF_BOTH && domain == AF_INET6 && row->ipv6_name && row->name)
        return asocket__option_set(selector, handle, AF_INET, row, value);
    return 0;
}

static int asocket__builder_field(const asocket_builder *builder, const asocket__option_row *row)
{
    int value;

    memcpy(&value, (const char *)builder + row->field, sizeof value);
    return value;
}

static const char *asocket__builder_wrong(const asocket_builder *b)
{
    const asocket__option_row *row;

    for (row = asocket__option_rows; row < asocket__option_end; row++) {
        int value = asocket__builder_field(b, row);
        int least = row->form == ASOCKET__SWITCHES ? -1 : 0;

        if (value < least || value > row->most || (value && !(row->protocols & b->protocol)))
            return row->text;
    }
    if (b->backlog < 0)
        return "backlog";
    if (b->connect_timeout < ASOCKET_NO_WAIT)
        return "connect_timeout";
    if (b->timeout < ASOCKET_NO_WAIT)
        return "timeout";
    if (b->channel_capacity > ASOCKET__SIZE_MOST)
        return "channel_capacity";
    if (b->unlink < -1 || b->unlink > 1 || (b->unlink && (b->protocol & ASOCKET__INTERNET)))
        return "unlink";
    return NULL;
}

// The checks that every call with a builder begins with.
static int asocket__builder_check(const asocket_builder *builder, const char *operation)
{
    const char *wrong;

    if (!asocket__here(builder->selector))
        return ASOCKET_EINVAL;
    if (builder->protocol <= 0 || (builder->protocol & (builder->protocol - 1)) ||
        builder->protocol > ASOCKET__ANY)
        return asocket__refuse(builder->selector, operation,
                               "the builder does not come from asocket_tcp or one of its kin");
    wrong = asocket__builder_wrong(builder);
    if (wrong)
        return asocket__fail_text(builder->selector, ASOCKET_EINVAL, operation, wrong,
                                  "the option is out of range or not for this kind of socket");
    return 0;
}

// What the builder asks for, or our default. `kind` is that of a new socket; 0: of one that
// somebody else has bound.
static int asocket__builder_value(const asocket_builder *builder, const asocket__option_row *row,
                                  int domain, int kind)
{
    int value = asocket__builder_field(builder, row);
    bool listener = kind == ASOCKET__LISTENER, datagrams = builder->protocol == ASOCKET__UDP;

    if (value)
        return value;
    switch (row->option) {
    case ASOCKET_OPTION_NO_DELAY: return 1;
    case ASOCKET_OPTION_REUSE_ADDRESS: return listener && !datagrams ? ASOCKET__REUSE : 0;
    case ASOCKET_OPTION_ONLY_IPV6: // systems differ in their default
        if (domain != AF_INET6 || !ASOCKET__DUAL_STACK)
            return 0;
        return listener || (kind && (datagrams || ASOCKET__WINDOWS)) ? -1 : 0;
    default: return 0;
    }
}

// 0, or a status that is noted.
static int asocket__builder_apply(const asocket_builder *builder, asocket_handle handle, int domain,
                                  int kind, const char *operation)
{
    const asocket__option_row *row;

    for (row = asocket__option_rows; row < asocket__option_end; row++) {
        int value = asocket__builder_value(builder, row, domain, kind);
        int status;

        if (!value || !(row->protocols & builder->protocol))
            continue;
        status = asocket__option_set(builder->selector, handle, domain, row, value < 0 ? 0 : value);
        if (status)
            return asocket__fail_text(builder->selector, status, operation, row->text,
                                      "the system does not honour this option");
    }
    return 0;
}

// ------------------------------------------------------------------------------------------------
// >>handle
// Descriptors that never block and are never inherited.

#if ASOCKET__APPLE
// Not before macOS 11 has send a flag for it. A connection that broke already refuses the option.
static void asocket__handle_quiet(asocket_handle handle)
{
    int on = 1;

    (void)ASOCKET_SYS(setsockopt)(handle, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
}
#else
#define asocket__handle_quiet(handle) ((void)(handle))
#endif

#if ASOCKET__LINUX || ASOCKET__BSD

static asocket_handle asocket__handle_new(int domain, int type)
{
    return ASOCKET_SYS(socket)(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static asocket_handle asocket__handle_accept(asocket *server, struct sockaddr *address,
                                             socklen_t *size)
{
    return ASOCKET_SYS(accept4)(server->handle, address, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

#elif ASOCKET__WINDOWS

// Overlapped and never inherited; never blocking. An error that a datagram brings back from a
// closed port would be taken for that of another one, and end loops that receive: off.
static ASOCKET__SMALL int asocket__handle_prepare(asocket_handle handle)
{
    unsigned long on = 1, off = 0, count;

    if (asocket__windows_result(ASOCKET_WINDOWS(ioctlsocket)(handle, (long)FIONBIO, &on)))
        return asocket__last_status();
    (void)SetHandleInformation((HANDLE)handle, HANDLE_FLAG_INHERIT, 0);
    (void)ASOCKET_WINDOWS(WSAIoctl)(handle, SIO_UDP_CONNRESET, &off, sizeof off, NULL, 0, &count,
                                    NULL, NULL);
    (void)ASOCKET_WINDOWS(WSAIoctl)(handle, SIO_UDP_NETRESET, &off, sizeof off, NULL, 0, &count,
                                    NULL, NULL);
    return 0;
}

static asocket_handle asocket__handle_made(asocket_handle handle)
{
    int error;

    if (handle == ASOCKET__NO_HANDLE || !asocket__handle_prepare(handle))
        return handle;
    error = errno;
    (void)ASOCKET_SYS(close)(handle);
    errno = error;
    return ASOCKET__NO_HANDLE;
}

static asocket_handle asocket__handle_new(int domain, int type)
{
    return asocket__handle_made(ASOCKET_SYS(socket)(domain, type, 0));
}

#elif ASOCKET__EMBEDDED

#define asocket__handle_prepare asocket__poll_nonblocking

static asocket_handle asocket__handle_made(asocket_handle handle)
{
    if (handle == ASOCKET__NO_HANDLE || !asocket__handle_prepare(handle))
        return handle;
    (void)ASOCKET_SYS(close)(handle);
    errno = EINVAL;
    return ASOCKET__NO_HANDLE;
}

static asocket_handle asocket__handle_new(int domain, int type)
{
    return asocket__handle_made(ASOCKET_SYS(socket)(domain, type, 0));
}

static asocket_handle asocket__handle_accept(asocket *server, struct sockaddr *address,
                                             socklen_t *size)
{
    return asocket__handle_made(ASOCKET_SYS(accept)(server->handle, address, size));
}

#else

static asocket_handle asocket__handle_made(asocket_handle handle)
{
    int flags, error;

    if (handle < 0)
        return handle;
    asocket__handle_quiet(handle);
    flags = ASOCKET_SYS(fcntl)(handle, F_GETFL);
    if (flags >= 0 && ASOCKET_SYS(fcntl)(handle, F_SETFL, flags | O_NONBLOCK) >= 0 &&
        ASOCKET_SYS(fcntl)(handle, F_SETFD, FD_CLOEXEC) >= 0)
        return handle;
    error = errno;
    (void)ASOCKET_SYS(close)(handle);
    errno = error;
    return -1;
}

static asocket_handle asocket__handle_new(int domain, int type)
{
    return asocket__handle_made(ASOCKET_SYS(socket)(domain, type, 0));
}

static asocket_handle asocket__handle_accept(asocket *server, struct sockaddr *address,
                                             socklen_t *size)
{
    return asocket__handle_made(ASOCKET_SYS(accept)(server->handle, address, size));
}

#endif

#if ASOCKET__WINDOWS

static asocket_handle asocket__handle_accept(asocket *server, struct sockaddr *address,
                                             socklen_t *size)
{
    asocket_handle handle;

    if (asocket__iocp_accepted(server, &handle, address, size))
        return asocket__handle_made(handle);
    return asocket__handle_made(ASOCKET_SYS(accept)(server->handle, address, size));
}

// The unspecified address means this machine, as elsewhere. A refusal there shall not take the time
// of trying again.
static int asocket__handle_connect(asocket *socket, asocket__native *to, socklen_t size)
{
    static const uint8_t once[4] = {0xff, 0xff, 0xfe, 0}; // TCP_INITIAL_RTO_PARAMETERS
    asocket__endpoint endpoint;
    DWORD count;

    asocket__endpoint_native(&endpoint, to);
    if (endpoint.family == 4 && asocket__endpoint_is_any(&endpoint))
        to->ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (endpoint.family == 6 && asocket__endpoint_is_any(&endpoint))
        to->ipv6.sin6_addr.s6_addr[15] = 1;
    if (socket->kind == ASOCKET__STREAM && socket->domain != AF_UNIX &&
        (to->any.sa_family == AF_INET6 ? endpoint.bytes[0] == 0
                                       : (ntohl(to->ipv4.sin_addr.s_addr) >> 24) == 127))
        (void)ASOCKET_WINDOWS(WSAIoctl)(socket->handle, ASOCKET__INITIAL_RTO,
                                        (void *)(uintptr_t)once, sizeof once, NULL, 0, &count, NULL,
                                        NULL);
    return asocket__connects_by_port(socket) ? asocket__iocp_connect(socket, to, size)
                                             : ASOCKET_SYS(connect)(socket->handle, &to->any, size);
}

// What became of a connect.
static int asocket__handle_error(asocket *socket, int *error)
{
    asocket__operation *operation = socket->operation[ASOCKET__WRITER];
    int result = 0;

    if (operation && operation->kind == ASOCKET__CONNECT)
        *error = operation->error;
    else
        result = asocket__option_read(socket->handle, SOL_SOCKET, SO_ERROR, error);
    if (*error > WSABASEERR)
        *error = asocket__windows_errno(*error);
    return result;
}

static asocket_handle asocket__handle_duplicate(asocket_handle handle)
{
    return asocket__handle_made(ASOCKET_SYS(dup)(handle));
}

static bool asocket__handle_is_open(asocket_handle handle)
{
    int type;

    return !asocket__option_read(handle, SOL_SOCKET, SO_TYPE, &type);
}

#else

#define asocket__handle_connect(socket, to, size) \
    ASOCKET_SYS(connect)((socket)->handle, &(to)->any, size)

static int asocket__handle_error(const asocket *socket, int *error)
{
    return asocket__option_read(socket->handle, SOL_SOCKET, SO_ERROR, error);
}

#if ASOCKET__EMBEDDED
static asocket_handle asocket__handle_duplicate(asocket_handle handle)
{
    (void)handle;
    errno = EOPNOTSUPP;
    return ASOCKET__NO_HANDLE;
}

static bool asocket__handle_is_open(asocket_handle handle)
{
    int type;

    return !asocket__option_read(handle, SOL_SOCKET, SO_TYPE, &type);
}
#else
static ASOCKET__SMALL int asocket__handle_prepare(asocket_handle handle)
{
    int flags = ASOCKET_SYS(fcntl)(handle, F_GETFL);

    asocket__handle_quiet(handle);
    if (flags < 0 || ASOCKET_SYS(fcntl)(handle, F_SETFD, FD_CLOEXEC) < 0 ||
        (!(flags & O_NONBLOCK) && ASOCKET_SYS(fcntl)(handle, F_SETFL, flags | O_NONBLOCK) < 0))
        return asocket__last_status();
    return 0;
}

static asocket_handle asocket__handle_duplicate(asocket_handle handle)
{
    return ASOCKET_SYS(fcntl)(handle, F_DUPFD_CLOEXEC, 0);
}

static bool asocket__handle_is_open(asocket_handle handle)
{
    return ASOCKET_SYS(fcntl)(handle, F_GETFD) >= 0;
}
#endif

#endif

static ASOCKET__SMALL void asocket__socket_inherit(asocket *socket, int64_t timeout,
                                                   uint32_t capacity)
{
    socket->timeout = timeout;
    socket->capacity = socket->in.capacity = socket->out.capacity = capacity;
}

// The same socket in another place.
static ASOCKET__NOINLINE void asocket__socket_like(asocket *socket, const asocket *other)
{
    asocket__socket_inherit(socket, other->timeout, other->capacity);
    socket->domain = other->domain;
    socket->local = other->local;
    socket->remote = other->remote;
}

static int asocket__domain_of(const asocket__endpoint *endpoint)
{
    return endpoint->family == 4 ? AF_INET : endpoint->family == 6 ? AF_INET6 : AF_UNIX;
}

static bool asocket__builder_datagrams(const asocket_builder *builder)
{
    return (builder->protocol & (ASOCKET__UDP | ASOCKET__UNIX_DATAGRAM)) != 0;
}

static ASOCKET__NOINLINE void asocket__builder_open(const asocket_builder *builder, asocket *socket,
                                                    asocket_handle handle, int kind, int domain)
{
    asocket__socket_open(socket, handle, kind);
    socket->domain = (uint8_t)domain;
    asocket__socket_inherit(socket, builder->timeout,
                            builder->channel_capacity ? (uint32_t)builder->channel_capacity
                                                      : builder->selector->channel_capacity);
}

// A socket object with a new descriptor and the builder's options, or NULL and a failure noted.
static asocket *asocket__socket_build(const asocket_builder *builder, int kind,
                                      const asocket__endpoint *endpoint, const char *operation)
{
    asocket_selector *selector = builder->selector;
    asocket *socket = asocket__socket_new(selector);
    asocket_handle handle;
    int domain = asocket__domain_of(endpoint);
    bool datagrams = asocket__builder_datagrams(builder);

    if (!socket) {
        (void)asocket__fail_at(selector, ASOCKET_ENOMEM, 0, operation, endpoint);
        return NULL;
    }
    selector->statistics.system_calls++;
    handle = asocket__handle_new(domain, datagrams ? SOCK_DGRAM : SOCK_STREAM);
    if (handle == ASOCKET__NO_HANDLE) {
        (void)asocket__fail_at(selector, asocket__last_status(), errno, operation, endpoint);
    } else if (!asocket__builder_apply(builder, handle, domain, kind, operation)) {
        asocket__builder_open(builder, socket, handle, datagrams ? ASOCKET__DATAGRAM : kind,
                              domain);
        return socket;
    } else {
        asocket__handle_close(selector, handle);
    }
    asocket__socket_unused(socket);
    return NULL;
}

// ------------------------------------------------------------------------------------------------
// >>listening
// Binding, and accept with its errors: those of one connection are skipped, those of a full
// descriptor table pause it (accept(2)).

// A socket file that nobody listens on any more may go; what is alive, or no socket, stays.
static void asocket__path_clear(const asocket__native *native, socklen_t size, int kind)
{
    const char *path = native->local.sun_path;
    asocket__file file;
    asocket_handle probe;
    bool dead;

    if (!path[0] || !asocket__file_look(path, &file) || !file.is_socket)
        return;
    probe = asocket__handle_new(AF_UNIX, kind == ASOCKET__DATAGRAM ? SOCK_DGRAM : SOCK_STREAM);
    if (probe == ASOCKET__NO_HANDLE)
        return;
    dead = ASOCKET_SYS(connect)(probe, &native->any, size) && errno == ECONNREFUSED;
    (void)ASOCKET_SYS(close)(probe);
    if (dead)
        asocket__file_remove(path);
}

// Remembers the file, so that no other one is removed at the end.
static void asocket__path_own(asocket__names *names)
{
    asocket__file file;

    if (!names || !names->local[0] || !asocket__file_look(names->local, &file))
        return;
    names->device = file.device;
    names->inode = file.inode;
    names->unlink = true;
}

// Binds, to a path as the builder's unlink says, and listens if the socket is for that: 0, or a
// status.
static int asocket__bind_begin(const asocket_builder *builder, asocket *socket,
                               const asocket__endpoint *endpoint)
{
    bool path = ASOCKET__PATHS && builder->unlink > 0;
    asocket__native native;
    socklen_t size = asocket__native_of(endpoint, &native);
    int status;

    if (path)
        asocket__path_clear(&native, size, socket->kind);
    socket->selector->statistics.system_calls++;
    if (ASOCKET_SYS(bind)(socket->handle, &native.any, size))
        return asocket__last_status();
    status = 0;
    if (!socket->remote.family || path) // else connect(2) may change the address
        status = asocket__local_learn(socket);
    if (path && !status)
        asocket__path_own(socket->names);
    if (status || socket->kind != ASOCKET__LISTENER)
        return status;
    socket->selector->statistics.system_calls++;
    return ASOCKET_SYS(listen)(socket->handle,
                               builder->backlog ? builder->backlog : ASOCKET__BACKLOG)
               ? asocket__last_status()
               : 0;
}

static int asocket__bind_to(const asocket_builder *builder, asocket *socket,
                            const asocket__endpoint *endpoint)
{
    int status = asocket__bind_begin(builder, socket, endpoint);

    return status ? asocket__fail_at(socket->selector, status, errno, "bind", endpoint) : 0;
}

// A socket that is bound, and listens unless it is for datagrams, or NULL and a failure noted.
static asocket *asocket__listen(const asocket_builder *builder, const asocket__endpoint *endpoint)
{
    asocket *socket = asocket__socket_build(builder, ASOCKET__LISTENER, endpoint, "bind");

    if (!socket || !asocket__bind_to(builder, socket, endpoint))
        return socket;
    asocket__close_unseen(socket);
    return NULL;
}

// Of errors of accept(2): 0 try again at once, ASOCKET_EAGAIN nothing there, ASOCKET_EMFILE out of
// something, anything else ends the listener.
static int asocket__accept_error(int error)
{
    if (error == EWOULDBLOCK)
        return ASOCKET_EAGAIN;
    switch (error) {
    case EAGAIN: return ASOCKET_EAGAIN;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case ENOSPC: return ASOCKET_EMFILE;
    case EBADF:
    case ENOTSOCK:
    case EINVAL:
    case EFAULT: return ASOCKET_ECLOSED;
    default: // the connection's own: gone before it was taken, or refused by a firewall
        return 0;
    }
}

// Waits for a descriptor: until one of ours is closed, or for a time that grows with each failure
// until all that was pending is accepted. Either way one more may be tried. `until`: the end of all
// pauses of one accept.
static int asocket__accept_pause(asocket_selector *selector, asocket *server, int64_t *until)
{
    asocket__task *task = asocket__self(selector);
    int64_t pause = selector->starved_pause, limit, retry;
    int status = asocket__wait_begin(selector, server->timeout, &limit);

    if (status)
        return status;
    if (limit < *until)
        *until = limit;
    selector->statistics.accept_pauses++;
    selector->starving = 1;
    selector->starved_credit = 0;
    retry = asocket__later(asocket__now(), pause);
    selector->starved_pause = pause * 2;
    if (selector->starved_pause > ASOCKET__PAUSE_LAST)
        selector->starved_pause = ASOCKET__PAUSE_LAST;
    asocket__list_append(&selector->starved, &task->link);
    status = asocket__park(selector, task, retry < *until ? retry : *until);
    if (status != ASOCKET_ETIMEDOUT || retry >= *until)
        return status;
    selector->starving = 0; // somebody else may have given one back: see
    return 0;
}

// While descriptors are short, one is taken for each that was closed, so that the limit is not
// run into again and again.
static bool asocket__accept_may_try(asocket_selector *selector)
{
    if (!selector->starving)
        return true;
    if (!selector->starved_credit)
        return false;
    selector->starved_credit--;
    return true;
}

static asocket *asocket__accept_done(asocket *server, asocket *socket, asocket_handle handle,
                                     const asocket__native *peer, socklen_t size)
{
    asocket__socket_open(socket, handle, ASOCKET__STREAM);
    asocket__socket_inherit(socket, server->timeout, server->capacity);
    socket->domain = server->domain;
    (void)asocket__socket_keep(socket, true, peer, (size_t)size);
    if (socket->domain != AF_UNIX && !asocket__endpoint_is_any(&server->local))
        socket->local = server->local; // else it is asked for when somebody wants to know
    asocket__socket_settle(socket, 0);
    return socket;
}

// One attempt: a socket, or NULL with the status of asocket__accept_error.
static asocket *asocket__accept_try(asocket_selector *selector, asocket *server, int *status)
{
    asocket *socket = asocket__socket_new(selector);
    asocket__native peer;
    socklen_t size = sizeof peer;
    asocket_handle handle;

    *status = ASOCKET_EMFILE;
    if (!socket)
        return NULL;
    peer.any.sa_family = AF_UNSPEC; // some systems tell nothing of a peer that has gone
    selector->statistics.system_calls++;
    handle = asocket__handle_accept(server, &peer.any, &size);
    asocket__self(selector)->budget--;
    if (handle != ASOCKET__NO_HANDLE)
        return asocket__accept_done(server, socket, handle, &peer, size);
    asocket__socket_unused(socket);
    *status = asocket__accept_error(errno);
    return NULL;
}

// What follows from an attempt with this status: 0 for one more, or why accepting is over.
static int asocket__accept_next(asocket_selector *selector, asocket *server, int status,
                                unsigned *skipped, int64_t *until)
{
    if (status == ASOCKET_EAGAIN) { // all that was pending is accepted: wait for more
        selector->starving = 0;
        selector->starved_pause = ASOCKET__PAUSE_FIRST;
        server->ready &= (uint8_t)~ASOCKET_READ;
        status = selector->backend->arm(selector, server, ASOCKET_READ);
        if (!status)
            return asocket__wait_socket(server, ASOCKET__READER);
        if (status == ASOCKET_EINVAL)
            return ASOCKET_ECLOSED;
    } else if (status == ASOCKET_EMFILE) {
        if (asocket__close_oldest(selector))
            return 0;
    } else if (!status && ++*skipped % ASOCKET__BUDGET == 0) {
        // So many errors in a row may have another cause than connections that broke: look at the
        // deadline and leave the processor to others.
        selector->starved_pause = ASOCKET__PAUSE_FIRST;
    } else {
        return status;
    }
    return asocket__accept_pause(selector, server, until);
}

// One connection, or NULL and why accepting is over for the caller.
static asocket *asocket__accept_wait(asocket *server, int *status)
{
    asocket_selector *selector = server->selector;
    int64_t until = ASOCKET_NEVER;
    unsigned skipped = 0;

    do {
        asocket *socket = NULL;

        asocket__breathe(selector);
        *status = asocket__self(selector)->cancelled ? ASOCKET_ECANCELED : server->in.status;
        if (*status)
            break;
        *status = server->ready & ASOCKET_READ ? ASOCKET_EMFILE : ASOCKET_EAGAIN;
        if (*status == ASOCKET_EMFILE && asocket__accept_may_try(selector))
            socket = asocket__accept_try(selector, server, status);
        if (socket)
            return socket;
        *status = asocket__accept_next(selector, server, *status, &skipped, &until);
    } while (!*status);
    return NULL;
}

// ------------------------------------------------------------------------------------------------
// >>connecting
// Non-blocking connect, several addresses raced as RFC 8305 says.

typedef struct asocket__race {
    const asocket_builder *builder;
    const asocket__endpoint *next, *end; // those to be tried
    const asocket__endpoint *last;       // tried
    asocket__link attempts;              // sockets under way
    int64_t next_at;                     // ns, when the next attempt starts although others run
    int64_t pause; // ms, before the next one when a listener's backlog is full
} asocket__race;

static int asocket__connect_local(const asocket_builder *builder, asocket *socket,
                                  const asocket__endpoint *remote)
{
    asocket__endpoint local;
    int status;

    if (!builder->local.ip.family && !builder->local.path_length)
        return 0;
    status = asocket__endpoint_of(&builder->local, &local);
    if (status || local.family != remote->family)
        return asocket__fail(builder->selector, status ? status : ASOCKET_EINVAL, "connect",
                             "the local address is of another kind");
    return asocket__bind_to(builder, socket, &local);
}

// Begins to connect: 0 under way or done, else its failure, noted.
static int asocket__connect_begin(const asocket_builder *builder, asocket *socket,
                                  const asocket__endpoint *endpoint)
{
    asocket_selector *selector = socket->selector;
    asocket__native native;
    socklen_t size = asocket__native_of(endpoint, &native);
    int status = asocket__socket_keep(socket, true, &native, (size_t)size), error = 0;

    if (!status) {
        status = asocket__connect_local(builder, socket, endpoint);
        if (status)
            return status;
        selector->statistics.system_calls++;
        socket->ready = 0;
        if (!asocket__handle_connect(socket, &native, size)) {
            socket->ready = ASOCKET__BOTH;
            return 0;
        }
        status = asocket__last_status();
        if (status == ASOCKET_EAGAIN && errno != EAGAIN) // it is under way
            status = selector->backend->arm(selector, socket, ASOCKET__BOTH);
        else if (status == ASOCKET_EAGAIN && socket->domain != AF_UNIX) // else the backlog is full
            status = ASOCKET_EADDRNOTAVAIL; // no local port is left (connect(2))
        error = errno;
    }
    return status ? asocket__fail_at(selector, status, error, "connect", endpoint) : 0;
}

// What became of an attempt that is writable: 0, or its failure, noted. On loopback a socket can
// meet itself when the port it was given is the one it asks for: that is nobody's server.
static int asocket__connect_result(asocket *socket)
{
    int status = 0, error = 0;

    socket->selector->statistics.system_calls++;
    if (asocket__handle_error(socket, &error))
        error = errno;
    if (error) {
        status = asocket__status_of(error);
    } else if (socket->kind == ASOCKET__STREAM && socket->domain != AF_UNIX) {
        if (asocket__local_learn(socket)) {
            error = errno;
            status = ASOCKET_ECONNRESET;
        } else if (asocket__endpoint_equal(&socket->local, &socket->remote) ||
                   (socket->local.port == socket->remote.port &&
                    asocket__endpoint_is_any(&socket->remote))) {
            status = ASOCKET_ECONNREFUSED;
        }
    }
    return status ? asocket__fail_at(socket->selector, status, error, "connect", &socket->remote)
                  : 0;
}

static ASOCKET__NOINLINE void asocket__race_leave(asocket *socket)
{
    socket->waiter[ASOCKET__WRITER] = NULL;
    asocket__list_remove(&socket->link);
}

// The first attempt of which something became, or NULL.
static asocket *asocket__race_ready(asocket__race *race)
{
    asocket__link *link;

    for (link = race->attempts.next; link != &race->attempts; link = link->next)
        if (ASOCKET__OF(asocket, link, link)->ready & ASOCKET_WRITE)
            return ASOCKET__OF(asocket, link, link);
    return NULL;
}

// The first attempt that is through, or NULL.
static asocket *asocket__race_look(asocket__race *race)
{
    asocket *socket;

    while ((socket = asocket__race_ready(race)) != NULL) {
        asocket__race_leave(socket);
        if (!asocket__connect_result(socket))
            break;
        asocket__close_unseen(socket);
        race->next_at = 0; // a failure lets the next one start at once
    }
    return socket;
}

static ASOCKET__NOINLINE void asocket__race_start(asocket__race *race, int64_t now)
{
    const asocket__endpoint *endpoint = race->last = race->next++;
    asocket *socket = asocket__socket_build(race->builder, ASOCKET__STREAM, endpoint, "connect");
    int64_t delay = ASOCKET__ATTEMPT_DELAY;
    int status;

    race->next_at = 0;
    if (!socket)
        return;
    status = asocket__connect_begin(race->builder, socket, endpoint);
    if (!status) {
        socket->waiter[ASOCKET__WRITER] = asocket__self(socket->selector);
        asocket__list_append(&race->attempts, &socket->link);
    } else {
        asocket__close_unseen(socket);
        if (status != ASOCKET_EAGAIN)
            return;
        race->next = endpoint; // the listener's backlog is full: in a moment again
        delay = race->pause;
        if (race->pause < ASOCKET__PAUSE_UNIX)
            race->pause *= 2;
    }
    race->next_at = asocket__later(now, delay);
}

// The time is over at `limit`, in ns.
static int asocket__connect_limit(const asocket_builder *builder, int64_t *limit)
{
    int64_t timeout = builder->connect_timeout;
    int status = asocket__wait_begin(builder->selector, timeout > 0 ? timeout : 0, limit);

    if (timeout == ASOCKET_NO_WAIT)
        *limit = asocket__now(); // one look, without waiting
    return status;
}

// Runs the race: the winner, or NULL and a failure noted.
static asocket *asocket__race_run(asocket__race *race)
{
    asocket_selector *selector = race->builder->selector;
    int64_t limit = 0;
    int status = asocket__connect_limit(race->builder, &limit);

    while (status != ASOCKET_ECANCELED) {
        asocket *winner = asocket__race_look(race);
        int64_t now = asocket__now(), until = limit;
        bool more = race->next < race->end;

        if (winner)
            return winner;
        if (status)
            break; // that was a last look: time-outs and readiness come in one turn
        if (more && race->next_at <= now) {
            asocket__race_start(race, now);
            continue; // it may be through already
        }
        if (!more && asocket__list_empty(&race->attempts))
            return NULL;
        if (more && race->next_at < until)
            until = race->next_at;
        status = asocket__park(selector, asocket__self(selector), until);
        if (status == ASOCKET_ETIMEDOUT && until < limit)
            status = 0;
        else if (status == ASOCKET_ETIMEDOUT && race->builder->connect_timeout == ASOCKET_NO_WAIT)
            status = ASOCKET_EAGAIN;
    }
    (void)asocket__fail_at(selector, status, 0, "connect", race->last);
    return NULL;
}

static asocket *asocket__connect_endpoints(const asocket_builder *builder,
                                           const asocket__endpoint *endpoints, uint32_t count)
{
    asocket_selector *selector = builder->selector;
    asocket__race race;
    asocket *winner;

    race.builder = builder;
    race.next = race.last = endpoints;
    race.end = endpoints + count;
    asocket__list_init(&race.attempts);
    race.next_at = 0;
    race.pause = ASOCKET__PAUSE_UNIX / 16;
    asocket__self(selector)->budget--; // what connects at once must not keep the others waiting
    asocket__breathe(selector);
    winner = asocket__race_run(&race);
    while (!asocket__list_empty(&race.attempts)) {
        asocket *socket = ASOCKET__OF(asocket, link, race.attempts.next);

        asocket__race_leave(socket);
        asocket__close_unseen(socket);
    }
    return winner;
}

// ------------------------------------------------------------------------------------------------
// >>host
// What a host may be written as: an address, or a name for this machine (RFC 6761, 6.3).

// Whether a last label is a number, decimal or with 0x: "127.1" and "0x7f.1" are addresses to some
// systems, and nothing to us (RFC 1123, 2.1). "3f2a" is a name.
static bool asocket__label_is_number(const char *label, const char *end)
{
    unsigned base = 10;

    if (label[0] == '0' && (label[1] | 0x20) == 'x') {
        label += 2;
        base = 16;
    }
    while ((unsigned)asocket__hex_digit(*label) < base)
        label++;
    return label == end;
}

static bool asocket__label_is_local(const char *label, const char *end)
{
    const char *local = "localhost";

    while ((*label | 0x20) == *local) {
        label++;
        local++;
    }
    return label == end && !*local;
}

enum { ASOCKET__NAME = 1, ASOCKET__NAME_LOCAL }; // what a host is when it is a name

// A host name: letters, digits, hyphens and dots, up to 253 bytes, whose last label is no number. A
// dot may follow it. 0: none.
static int asocket__host_is_name(const char *host)
{
    const char *label = host, *end = host, *c;

    for (c = host; *c; c++)
        if (*c == '.' && c != host && c[1] != '.') {
            label = c[1] ? c + 1 : label;
        } else if (asocket__name_character(*c)) {
            end = c + 1;
        } else {
            return 0;
        }
    if (c - host > 253 || asocket__label_is_number(label, end))
        return 0;
    return asocket__label_is_local(label, end) ? ASOCKET__NAME_LOCAL : ASOCKET__NAME;
}

typedef struct asocket__place { // what a host and port became
    asocket__found found;
    asocket_address address; // where a path is kept
} asocket__place;

// A name for this machine, 0; ASOCKET_ENOTFOUND, another one; or no name at all.
static int asocket__place_name(asocket__place *place, const char *host, uint16_t port)
{
    asocket__endpoint *endpoints = place->found.endpoints;
    int kind = asocket__host_is_name(host);

    if (kind != ASOCKET__NAME_LOCAL)
        return kind ? ASOCKET_ENOTFOUND : ASOCKET_EINVAL;
    place->found.count = 2;
    endpoints[0].family = 4;
    endpoints[0].bytes[0] = 127;
    endpoints[0].bytes[3] = 1;
    endpoints[1].family = 6;
    endpoints[1].bytes[15] = 1;
    endpoints[0].port = endpoints[1].port = port;
    return 0;
}

// ASOCKET_ENOTFOUND: a name that must be looked up.
static int asocket__place_of(asocket__place *place, const asocket_builder *builder,
                             const char *host, uint16_t port)
{
    memset(place, 0, sizeof *place);
    place->found.count = 1;
    if (!(builder->protocol & ASOCKET__INTERNET)) {
        if (!ASOCKET__PATHS)
            return ASOCKET_ENOTSUP;
        (void)asocket__path_parse(&place->address, host); // an empty one is no endpoint's
    } else if (asocket__ip_is_all(host, &place->address.ip)) {
        place->address.port = port;
    } else {
        return asocket__place_name(place, host, port);
    }
    return asocket__endpoint_of(&place->address, place->found.endpoints);
}

#if ASOCKET__THREADS

// What a name means: 0, or a status.
static ASOCKET__NOINLINE int asocket__host_lookup(asocket_selector *selector, const char *host,
                                                  asocket__found *found)
{
    asocket__lookup *lookup = asocket__lookup_begin(selector, host);
    int status;

    if (!lookup)
        return ASOCKET_ENOMEM;
    lookup->users++;
    do
        status = asocket__wait_in(selector, &lookup->waiters, ASOCKET_FOREVER);
    while (!status && !lookup->done);
    lookup->users--;
    if (!status) {
        status = lookup->status;
        *found = lookup->found;
    }
    if (!lookup->users) {
        if (lookup->done)
            ASOCKET_FREE(lookup);
        else
            asocket__pool_relieve(selector->pool); // it is its thread's
    }
    return status;
}

#else

static ASOCKET__NOINLINE int asocket__host_lookup(asocket_selector *selector, const char *host,
                                                  asocket__found *found)
{
    (void)selector;
    return asocket__lookup_now(host, found);
}

#endif

// ------------------------------------------------------------------------------------------------
// >>input
// Reading: the ring is filled by need, every call takes from it whole or not at all. A call that
// may wait marks the channel as its own while it does, so that a second reader is told EBUSY.

static ASOCKET__PLAIN int asocket__channel_fail(asocket_selector *selector, const asocket *socket,
                                                int status, const char *operation)
{
    (void)asocket__fail_at(selector, status, 0, operation, socket ? &socket->remote : NULL);
    return asocket__layer_why(socket, status);
}

static ASOCKET__PLAIN int asocket__in_fail(const asocket_read_channel *in, int status,
                                           const char *operation)
{
    return asocket__channel_fail(in->selector, in->socket, status, operation);
}

// What every reading call ends with: its status, or how much it was.
static ASOCKET__SMALL int asocket__in_done(const asocket_read_channel *in, int status,
                                           const char *operation)
{
    return ASOCKET__LIKELY(status >= 0) ? status : asocket__in_fail(in, status, operation);
}

// What every reading call begins with.
static int asocket__in_enter(asocket_read_channel *in, const char *operation)
{
    if (!in || !ASOCKET__HERE(in->selector))
        return ASOCKET_EINVAL;
    ASOCKET_ASSERT(!in->socket || in->socket->state != ASOCKET__FREE);
    if (ASOCKET__LIKELY(!in->task))
        in->transferred = 0;
    if (ASOCKET__UNLIKELY(in->status))
        return asocket__in_fail(in, in->status, operation);
    if (ASOCKET__UNLIKELY(in->task != NULL))
        return asocket__fail(in->selector, ASOCKET_EBUSY, operation,
                             "another coroutine is reading");
    return 0;
}

// Bytes left the ring: an empty one gives its block back, a pipe's writer may go on.
static void asocket__in_after(asocket_read_channel *in)
{
    if (!in->ring->size)
        asocket__in_detach(in);
    if (in->pipe)
        asocket__wake_any(in->pipe->out.task, 0);
}

static void asocket__in_take(asocket_read_channel *in, char *buffer, uint32_t count)
{
    asocket__ring_take(in->ring, buffer, count);
    in->transferred += count;
    asocket__in_after(in);
}

static inline void asocket__in_drop(asocket_read_channel *in, uint32_t count)
{
    asocket__ring_drop(in->ring, count);
    in->transferred += count;
    if (ASOCKET__UNLIKELY(!in->ring->size || in->pipe))
        asocket__in_after(in);
}

// Notes how the stream ended; what was received before stays readable. EAGAIN and ENOMEM are no
// end, nor is anything that befalls a datagram; an empty one has no bytes.
static int asocket__in_end(asocket_read_channel *in, ptrdiff_t count)
{
    if (count == ASOCKET_EAGAIN || count == ASOCKET_ENOMEM ||
        in->socket->kind == ASOCKET__DATAGRAM || asocket__layer_goes_on(in->socket, count))
        return (int)count;
    in->ended = count ? (int32_t)count : ASOCKET_EOF;
    return in->ended;
}

// Waits for the other end of a pipe; `task` and `status` are this end's.
static ASOCKET__PLAIN int asocket__pipe_wait(asocket_selector *selector, asocket__task **task,
                                             const int32_t *status)
{
    int ended;

    *task = asocket__self(selector);
    ended = asocket__wait_in(selector, NULL, ASOCKET_FOREVER);
    *task = NULL;
    return *status ? *status : ended;
}

static ASOCKET__SMALL int asocket__in_wait(asocket_read_channel *in)
{
    if (ASOCKET__LIKELY(in->socket != NULL))
        return asocket__wait_socket(in->socket, ASOCKET__READER);
    return asocket__pipe_wait(in->selector, &in->task, &in->status);
}

static void asocket__in_breathe(asocket_read_channel *in)
{
    asocket__task *task = asocket__self(in->selector);

    if (ASOCKET__LIKELY(task->budget > 0))
        return;
    in->task = task;
    asocket__breathe_in(in->socket);
    in->task = NULL;
}

// Where the next bytes go. A short rest at the end of the block moves to its beginning first.
static uint32_t asocket__in_space(asocket__ring *ring, char **space)
{
    uint32_t length;

    *space = ring->data;
    if (ASOCKET__LIKELY(!ring->size))
        return ring->capacity;
    length = asocket__ring_space(ring, space);
    if (length >= asocket__ring_free(ring) / 2 || ring->size > 1024)
        return length;
    asocket__ring_straighten(ring);
    return asocket__ring_space(ring, space);
}

// Why nothing more comes: 0, closed, cancelled, or how the stream ended.
static int asocket__in_over(const asocket_read_channel *in)
{
    return in->status ? in->status : in->ended;
}

// Lends the ring its block: for much one of the few large ones, if one is free.
static int asocket__in_attach(asocket_read_channel *in, uint32_t expected)
{
    uint32_t capacity = ASOCKET__LARGE_SIZE;
    char *block = NULL;

    if (in->ring->data)
        return 0;
    if (ASOCKET__UNLIKELY(expected >= capacity && in->capacity < capacity))
        block = asocket__large_take(in->selector);
    if (!block) {
        capacity = asocket__buffer_size(in->capacity);
        block = asocket__buffer_take(in->selector, in->capacity);
    }
    return asocket__ring_lend(in->selector, in->ring, block, capacity);
}

// One receive into the caller's memory: bytes; or, without such, into the ring: 0. Or
// ASOCKET_EAGAIN, or how the stream ended.
static int asocket__in_receive(asocket_read_channel *in, char *buffer, uint32_t size)
{
    asocket__ring *ring = in->ring;
    char *space = buffer;
    ptrdiff_t count;
    int over;

    if (!(in->socket->ready & ASOCKET_READ))
        return ASOCKET_EAGAIN;
    if (!buffer) {
        if (asocket__in_attach(in, size))
            return ASOCKET_ENOMEM;
        size = asocket__in_space(ring, &space);
    }
    count = asocket__socket_recv(in->socket, space, size);
    if (ASOCKET__LIKELY(count > 0)) {
        if (buffer) {
            in->transferred += count;
            return (int)count;
        }
        asocket__ring_extend(ring, (uint32_t)count);
        ring->visible = ring->size;
        return 0;
    }
    over = asocket__in_over(in); // closed while its transport waited
    if (over || !ring->size)
        asocket__in_detach(in);
    return over ? over : asocket__in_end(in, count);
}

// One of its ends will not be used again; after the other one, too, its memory may serve again.
static void asocket__pipe_done(asocket__pipe *pipe, uint8_t side)
{
    asocket_selector *selector = pipe->selector;

    if (pipe->done == ASOCKET__BOTH || (pipe->done |= side) != ASOCKET__BOTH)
        return;
    asocket__list_move(&selector->dead_pipes, &pipe->link);
    if (++selector->dead_pipe_count <= ASOCKET__QUARANTINE)
        return;
    pipe = ASOCKET__OF(asocket__pipe, link, selector->dead_pipes.next);
    if (pipe->in.task || pipe->out.task) { // woken, but not yet out of its call
        asocket__list_move(&selector->dead_pipes, &pipe->link);
        return;
    }
    selector->dead_pipe_count--;
    asocket__list_remove(&pipe->link);
    asocket__release(selector, pipe, sizeof *pipe);
}

// The writer waits for room, the reader for more than there is: neither could go on. Less than the
// capacity is there and no more than it is wanted: both fit a ring of twice the size, less one. It
// lasts until it runs empty.
static int asocket__pipe_widen(asocket__pipe *pipe)
{
    asocket__ring *ring = &pipe->ring;
    uint32_t capacity = pipe->in.capacity * 2 - 1, size = ring->size;
    char *block = asocket__block(pipe->selector, capacity);

    if (!block)
        return ASOCKET_ENOMEM;
    asocket__ring_take(ring, block, size);
    asocket__ring_detach(pipe->selector, ring, pipe->in.capacity);
    ring->size = ring->visible = size;
    asocket__wake(pipe->out.task, 0);
    return asocket__ring_lend(pipe->selector, ring, block, capacity);
}

static int asocket__pipe_fill(asocket_read_channel *in)
{
    uint32_t before = in->ring->visible;

    while (in->ring->visible == before) {
        int status = 0;

        if (in->ended) {
            if (!before)
                asocket__pipe_done(in->pipe, ASOCKET_READ);
            return in->ended;
        }
        if (before && in->pipe->out.wanted > asocket__ring_free(in->ring))
            status = asocket__pipe_widen(in->pipe);
        if (!status)
            status = asocket__in_wait(in);
        if (status && (in->status || in->ring->visible == before))
            return status;
    }
    return 0;
}

// At least one byte into the caller's memory, past the empty ring of a socket: bytes; or, without
// such memory, one more in a ring that has room for it: 0. Or why there is none.
static int asocket__in_fill(asocket_read_channel *in, char *buffer, uint32_t size)
{
    if (in->pipe)
        return asocket__pipe_fill(in);
    asocket__in_breathe(in);
    for (;;) {
        int status = asocket__in_over(in);

        if (!status)
            status = asocket__in_receive(in, buffer, size);
        if (status != ASOCKET_EAGAIN)
            return status;
        status = asocket__in_wait(in);
        if (status)
            return status;
    }
}

static int asocket__in_more(asocket_read_channel *in)
{
    return asocket__in_fill(in, NULL, 0);
}

// Until `count` bytes can be taken; the channel must be able to hold them.
static ASOCKET__SMALL int asocket__in_need(asocket_read_channel *in, uint32_t count)
{
    while (in->ring->visible < count) {
        int status = asocket__in_more(in);

        if (status)
            return status;
    }
    return 0;
}

static int asocket__in_some(asocket_read_channel *in, char *buffer, size_t size)
{
    uint32_t most = size < INT32_MAX ? (uint32_t)size : INT32_MAX;

    if (!in->ring->visible) {
        int count = asocket__in_fill(in, most >= in->capacity ? buffer : NULL, most);

        if (count)
            return count;
    }
    if (most > in->ring->visible)
        most = in->ring->visible;
    asocket__in_take(in, buffer, most);
    return (int)most;
}

// Exactly `size` bytes; whole or not at all if the channel can hold them.
static int asocket__in_full(asocket_read_channel *in, char *buffer, size_t size)
{
    int status;

    while (size > in->capacity) {
        int count = asocket__in_some(in, buffer, size);

        if (count < 0)
            return count;
        buffer += count;
        size -= (size_t)count;
    }
    status = asocket__in_need(in, (uint32_t)size);
    if (!status)
        asocket__in_take(in, buffer, (uint32_t)size);
    return status;
}

// A search for a delimiter that moves what is certain into the caller's buffer when the ring is
// full and the buffer is larger than the ring.
typedef struct asocket__search {
    const char *delimiter;
    size_t length;
    bool line; // a CR before the delimiter belongs to it
    char *buffer;
    size_t limit;  // the most that fits; what was moved already is in->transferred
    uint32_t from; // in the ring, where no delimiter begins before
} asocket__search;

// How much would be handed out that ends at `end` in the ring, in front of a delimiter.
static size_t asocket__search_length(const asocket_read_channel *in, const asocket__search *search,
                                     uint32_t end)
{
    size_t length = (size_t)in->transferred + end;
    char last = 0;

    if (end)
        last = asocket__ring_byte(in->ring, end - 1);
    else if (length)
        last = search->buffer[length - 1];
    return search->line && last == '\r' ? length - 1 : length;
}

// Hands out what ends at a delimiter, or, the last line, at the end of the stream: how many bytes.
static ptrdiff_t asocket__in_search(asocket_read_channel *in, asocket__search *search)
{
    uint32_t skip = (uint32_t)search->length, end;
    size_t length;

    for (;;) {
        int status;

        end = asocket__ring_find(in->ring, search->from, search->delimiter, skip);
        length = asocket__search_length(in, search, end);
        if (end + skip <= in->ring->visible || length > search->limit)
            break;
        search->from = end;
        if (in->ring->visible >= in->capacity) {
            asocket__in_take(in, search->buffer + in->transferred, end);
            search->from = 0;
        }
        status = asocket__in_more(in);
        if (status) {
            end = in->ring->visible;
            skip = 0;
            length = (size_t)in->transferred + end;
            if (status == ASOCKET_EOF && search->line && length)
                break;
            return status;
        }
    }
    if (length > search->limit)
        return ASOCKET_EMSGSIZE;
    asocket__in_take(in, search->buffer + in->transferred, end);
    asocket__in_drop(in, skip);
    search->buffer[length] = 0;
    return (ptrdiff_t)length;
}

// Drops everything through the delimiter: how many bytes that were.
static ptrdiff_t asocket__in_skip(asocket_read_channel *in, const char *delimiter, uint32_t length)
{
    for (;;) {
        uint32_t from = asocket__ring_find(in->ring, 0, delimiter, length);
        bool found = from + length <= in->ring->visible;
        int status;

        asocket__in_drop(in, found ? from + length : from);
        if (found)
            return (ptrdiff_t)in->transferred;
        status = asocket__in_more(in);
        if (status)
            return status;
    }
}

// ------------------------------------------------------------------------------------------------
// >>writing
// Appending to the ring, making room in it, sending past it.

static ASOCKET__PLAIN int asocket__out_fail(const asocket_write_channel *out, int status,
                                            const char *operation)
{
    return asocket__channel_fail(out->selector, out->socket, status, operation);
}

// What every writing call ends with.
static ASOCKET__SMALL int asocket__out_done(const asocket_write_channel *out, int status,
                                            const char *operation)
{
    return ASOCKET__LIKELY(status >= 0) ? status : asocket__out_fail(out, status, operation);
}

// What every writing call begins with.
static int asocket__out_enter(asocket_write_channel *out, const char *operation)
{
    if (!out || !ASOCKET__HERE(out->selector))
        return ASOCKET_EINVAL;
    if (ASOCKET__LIKELY(!out->task))
        out->written = 0;
    if (ASOCKET__UNLIKELY(out->status))
        return asocket__out_fail(out, out->status, operation);
    if (ASOCKET__UNLIKELY(out->task != NULL))
        return asocket__fail(out->selector, ASOCKET_EBUSY, operation,
                             "another coroutine is writing");
    out->reserved = 0;
    return 0;
}

static ASOCKET__NOINLINE int asocket__out_wait(asocket_write_channel *out)
{
    if (ASOCKET__LIKELY(out->socket != NULL))
        return asocket__wait_socket(out->socket, ASOCKET__WRITER);
    return asocket__pipe_wait(out->selector, &out->task, &out->status);
}

static int asocket__out_breathe(asocket_write_channel *out)
{
    asocket__task *task = asocket__self(out->selector);

    if (ASOCKET__LIKELY(task->budget > 0))
        return 0;
    out->task = task;
    if (out->socket)
        asocket__breathe_in(out->socket);
    else
        asocket__breathe(out->selector);
    out->task = NULL;
    return out->status;
}

static int asocket__out_drain(asocket_write_channel *out, int flags)
{
    for (;;) {
        int status = asocket__out_breathe(out);

        if (!status)
            status = asocket__out_push(out, flags);
        if (status != ASOCKET_EAGAIN || out->pipe)
            return status == ASOCKET_EAGAIN ? 0 : status;
        status = asocket__out_wait(out);
        if (status && !out->status && !out->own.size && !asocket__send_settled(out->socket))
            return 0; // it left while others ran
        if (status)
            return status;
    }
}

// What a layer's transport wrote leaves the channels below. Nobody else gets into the layer
// meanwhile.
static int asocket__layer_flush(asocket *layer, int flags)
{
    asocket__task *inside = layer->out.task;
    asocket *below;
    int status = 0;

    layer->out.task = asocket__self(layer->selector);
    layer->pins++;
    for (below = layer->lower; below && !status && !below->out.task; below = below->lower) {
        if (below->out.status && !below->out.finished)
            status = below->out.status;
        else
            status = asocket__out_drain(&below->out, flags);
        if (below->out.status && !below->out.finished && !layer->out.status)
            layer->out.status = below->out.status; // no interruption: it broke with what was taken
    }
    layer->pins--;
    layer->out.task = inside;
    return layer->out.status && !layer->out.finished ? layer->out.status : status;
}

// Until the kernel has all that the ring held; a pipe's reader sees it at once.
static ASOCKET__NOINLINE int asocket__out_flush(asocket_write_channel *out, int flags)
{
    int status = asocket__out_drain(out, flags);

    return !status && out->socket && out->socket->lower ? asocket__layer_flush(out->socket, flags)
                                                        : status;
}

static ASOCKET__SMALL int asocket__out_attach(asocket_write_channel *out)
{
    return asocket__ring_attach(out->selector, out->ring, out->capacity);
}

// Until `count` bytes fit: at least one, not more than the capacity.
static int asocket__out_room(asocket_write_channel *out, uint32_t count)
{
    for (;;) {
        int status = asocket__out_breathe(out);

        if (status)
            return status;
        if (asocket__out_attach(out))
            return ASOCKET_ENOMEM;
        if (asocket__ring_free(out->ring) >= count)
            return 0;
        status = asocket__out_push(out, 0);
        if (status == ASOCKET_EAGAIN) {
            if (asocket__ring_free(out->ring) >= count)
                return 0;
            out->wanted = count;
            status = asocket__out_wait(out);
            out->wanted = 0;
        }
        if (status)
            return status;
    }
}

// After `count` bytes were written: an auto-flush channel sends when its coroutine next waits, and
// at once where there is none. What cannot be sent yet is safe in the ring. For what a layer has no
// memory nobody would come back: it was not written.
static int asocket__out_touch(asocket_write_channel *out, uint32_t count)
{
    asocket__task *task = asocket__self(out->selector);
    int status;

    if (!out->auto_flush || out->dirty)
        return 0;
    if (!task->outside) {
        out->dirty = 1;
        out->dirty_next = task->dirty;
        task->dirty = out;
        return 0;
    }
    status = asocket__out_flush(out, 0);
    if (asocket__layer_goes_on(out->socket, status)) {
        if (status != ASOCKET_ENOMEM || out->status || out->own.size < count)
            return out->status;
        out->own.size -= count;
        out->written -= count;
        asocket__out_tidy(out);
        return status;
    }
    return out->status || (!out->own.size && !out->pending) ? status : 0;
}

static inline int asocket__out_append(asocket_write_channel *out, const void *bytes, uint32_t count)
{
    int status = 0;

    if (!out->ring->data && asocket__out_attach(out))
        return ASOCKET_ENOMEM;
    if (asocket__ring_free(out->ring) < count)
        status = asocket__out_room(out, count);
    if (status)
        return status;
    asocket__ring_append(out->ring, (const char *)bytes, count);
    out->written += count;
    return asocket__out_touch(out, count);
}

// Straight from the caller's memory, after what the ring holds.
static int asocket__out_direct(asocket_write_channel *out, const char *bytes, size_t size)
{
    int status = asocket__out_flush(out, MSG_MORE);

    while (!status && size) {
        ptrdiff_t count = asocket__socket_send(out->socket, bytes, size, 0);

        if (count == ASOCKET_EAGAIN) {
            status = asocket__out_wait(out);
        } else if (count < 0) {
            status = asocket__out_break(out, (int)count);
        } else {
            bytes += count;
            size -= (size_t)count;
            out->written += count;
            status = asocket__out_breathe(out);
        }
    }
    return status;
}

// A pipe takes a large write in pieces.
static int asocket__out_pieces(asocket_write_channel *out, const char *bytes, size_t size)
{
    int status = 0;

    while (!status && size) {
        status = asocket__out_room(out, 1);
        if (!status) {
            uint32_t most = asocket__ring_free(out->ring),
                     count = size < most ? (uint32_t)size : most;

            status = asocket__out_append(out, bytes, count);
            bytes += count;
            size -= count;
        }
    }
    return status;
}

// As much as fills a ring: what the kernel does not take at once fits the empty ring, so that the
// write is whole without a wait.
static int asocket__out_whole(asocket_write_channel *out, const char *bytes, uint32_t size)
{
    ptrdiff_t count;

    if (asocket__out_attach(out))
        return ASOCKET_ENOMEM;
    count = asocket__socket_send(out->socket, bytes, size, 0);
    if (count == ASOCKET_EAGAIN)
        count = 0;
    if (count < 0)
        return asocket__out_break(out, (int)count);
    asocket__ring_append(out->ring, bytes + count, size - (uint32_t)count);
    out->written += size;
    (void)asocket__out_push(out, 0);
    return out->status ? out->status : asocket__out_touch(out, size);
}

static int asocket__out_write(asocket_write_channel *out, const void *bytes, size_t size)
{
    if (size > out->capacity)
        return out->pipe ? asocket__out_pieces(out, (const char *)bytes, size)
                         : asocket__out_direct(out, (const char *)bytes, size);
    if (size == out->capacity && !out->pipe && !out->own.size && asocket__out_breathe(out) == 0)
        return asocket__out_whole(out, (const char *)bytes, (uint32_t)size);
    return asocket__out_append(out, bytes, (uint32_t)size);
}

// ------------------------------------------------------------------------------------------------
// >>copying
// From a read channel to a write channel, without a copy in between: what was received in one
// block is sent from it.

// Through the write channel's ring, when it is a pipe's or older bytes are still in it.
static int asocket__copy_ring(asocket_read_channel *in, asocket_write_channel *out, uint32_t most,
                              uint32_t *count)
{
    char *bytes;
    uint32_t length;
    int status = asocket__out_room(out, 1);

    if (status || in->status)
        return status;
    length = asocket__ring_piece(in->ring, 0, &bytes);
    if (length > most)
        length = most;
    if (length > asocket__ring_free(out->ring))
        length = asocket__ring_free(out->ring);
    asocket__ring_append(out->ring, bytes, length);
    out->written += length;
    status = asocket__out_touch(out, length); // which may take it back
    *count = (uint32_t)(out->written - in->transferred);
    return status;
}

// Straight from the block that was received into.
static int asocket__copy_direct(asocket_read_channel *in, asocket_write_channel *out, uint32_t most,
                                uint32_t *count)
{
    char *bytes;
    uint32_t length = asocket__ring_piece(in->ring, 0, &bytes);
    ptrdiff_t sent = asocket__socket_send(out->socket, bytes, length < most ? length : most, 0);

    if (sent == ASOCKET_EAGAIN)
        return asocket__out_wait(out);
    if (sent < 0)
        return asocket__out_break(out, (int)sent);
    *count = (uint32_t)sent;
    return 0;
}

// One step: some bytes over, or a wait for room. What could not be sent stays readable; meanwhile
// nobody else reads it.
static int asocket__copy_step(asocket_read_channel *in, asocket_write_channel *out, int64_t limit)
{
    uint32_t most = in->ring->visible, count = 0;
    int status;

    if (limit >= 0 && most > limit)
        most = (uint32_t)limit;
    in->task = asocket__self(in->selector);
    status = out->pipe || out->own.size ? asocket__copy_ring(in, out, most, &count)
                                        : asocket__copy_direct(in, out, most, &count);
    in->task = NULL;
    if (!in->status) {
        asocket__in_drop(in, count);
    } else { // given up meanwhile, with its bytes; some had gone
        in->transferred += count;
        status = in->status;
    }
    out->written = in->transferred;
    return status;
}

// Waits for input. The write channel is in use too: whoever closes it ends the wait.
static int asocket__copy_fill(asocket_read_channel *in, asocket_write_channel *out)
{
    int status;

    if (out->ring->size)
        (void)asocket__out_push(out, 0);
    if (out->status)
        return out->status;
    out->task = asocket__self(in->selector);
    status = asocket__in_fill(in, NULL, out->socket ? ASOCKET__LARGE_SIZE : 0);
    out->task = NULL;
    return out->status ? out->status : status;
}

static int asocket__copy_all(asocket_read_channel *in, asocket_write_channel *out, int64_t limit)
{
    int status = 0;

    while (!status && (limit < 0 || in->transferred < limit)) {
        if (in->ring->visible)
            status = asocket__copy_step(in, out, limit < 0 ? limit : limit - in->transferred);
        else
            status = asocket__copy_fill(in, out);
    }
    if (status && status != ASOCKET_EOF)
        return status;
    in->task = asocket__self(in->selector);
    status = asocket__out_flush(out, 0);
    in->task = NULL;
    return status;
}

static void asocket__copy_pin(asocket *socket, int by)
{
    if (socket)
        socket->pins += (uint32_t)by;
}

// The memory of neither end is used again meanwhile.
static int asocket__copy(asocket_read_channel *in, asocket_write_channel *out, int64_t limit)
{
    asocket *from = in->socket, *to = out->socket;
    int status;

    asocket__copy_pin(from, 1);
    asocket__copy_pin(to, 1);
    status = asocket__copy_all(in, out, limit);
    asocket__copy_pin(from, -1);
    asocket__copy_pin(to, -1);
    return status;
}

// ------------------------------------------------------------------------------------------------
// >>layer
// Sockets on sockets: the same channels above, a transport of four functions in between.

static void asocket__pipe_finish(asocket__pipe *pipe, int status)
{
    if (!pipe->in.ended)
        pipe->in.ended = status;
    asocket__out_detach(&pipe->out);
    asocket__wake_any(pipe->in.task, 0);
    asocket__pipe_done(pipe, ASOCKET_WRITE);
}

// Ends the stream of each socket from a layer down: the transports first, then the descriptor's.
static ASOCKET__NOINLINE int asocket__socket_finish(asocket *socket)
{
    asocket *layer;

    for (layer = socket; layer->lower; layer = layer->lower) {
        ptrdiff_t status = asocket__layer_send(layer, NULL, 0);

        if (status >= 0)
            status = asocket__layer_flush(layer, 0);
        if (status < 0)
            return (int)status;
    }
    for (; socket->lower; socket = socket->lower) {
        socket->lower->out.finished = 1;
        socket->lower->out.status = ASOCKET_ECLOSED;
    }
    socket->selector->statistics.system_calls++;
    if (!ASOCKET_SYS(shutdown)(socket->handle, SHUT_WR) || errno == ENOTCONN)
        return 0; // ENOTCONN: the peer is gone already, its own way
    return asocket__last_status();
}

static int asocket__out_finish(asocket_write_channel *out)
{
    int status = asocket__out_flush(out, 0);

    if (status)
        return status;
    if (out->pipe) {
        asocket__pipe_finish(out->pipe, ASOCKET_EOF);
    } else {
        status = asocket__socket_finish(out->socket);
        if (asocket__layer_goes_on(out->socket, status))
            return status; // it may be tried again
    }
    out->finished = 1;
    out->status = ASOCKET_ECLOSED;
    return status;
}

static ASOCKET__PLAIN void asocket__layer_release(asocket *layer)
{
    layer->lower->upper = NULL;
    layer->lower->pins--;
}

// Whoever was woken comes out of the transport at once, unless that waits for something else.
static void asocket__layer_clear(asocket_selector *selector, const asocket *layer)
{
    int turns;

    for (turns = 0; layer->in.task || layer->out.task; turns++) {
        asocket__step_aside(selector, asocket__self(selector));
        if (turns > ASOCKET__LAYER_TURNS)
            (void)asocket__wait_in(selector, NULL, 1);
    }
}

// The end of a layer, where it may wait: what was written leaves, the transport says goodbye, the
// socket below closes.
static void asocket__layer_end(asocket_selector *selector, void *argument)
{
    asocket *layer = (asocket *)argument, *below;

    asocket__layer_clear(selector, layer);
    for (below = layer->lower; below; below = below->lower)
        below->timeout = ASOCKET_FOREVER; // close_timeout bounds it all
    if (!layer->hard)
        (void)asocket__out_push(&layer->out, 0);
    if (!layer->hard)
        (void)(layer->transport->close)(layer->layer_state, layer->lower);
    else
        layer->transport->cancel(layer->layer_state, layer->lower);
    asocket__layer_release(layer);
    if (layer->hard)
        asocket__socket_abort(layer->lower);
    else
        asocket__socket_close(layer->lower);
    asocket__close_finish(layer);
}

// The socket at the bottom, whose descriptor it all goes through.
static ASOCKET__SMALL const asocket *asocket__bottom(const asocket *socket)
{
    while (socket->lower)
        socket = socket->lower;
    return socket;
}

// ------------------------------------------------------------------------------------------------
// >>file
// Files to sockets, by the kernel where it can.

#if ASOCKET__EMBEDDED
#define asocket__file_write(out, file, offset, length) ((void)(file), ASOCKET_ENOTSUP)
#else

#if ASOCKET__LINUX

// sendfile has no MSG_NOSIGNAL: the thread holds SIGPIPE back meanwhile and takes its own one away,
// which may also come with a count of what was sent before.
static ssize_t asocket__file_quietly(asocket_handle handle, int file, off_t *from, size_t size)
{
    sigset_t broken, former, pending;
    struct timespec none;
    ssize_t count;
    int error;

    (void)sigemptyset(&broken);
    (void)sigaddset(&broken, SIGPIPE);
    (void)sigpending(&pending);
    (void)ASOCKET__SIGMASK(SIG_BLOCK, &broken, &former);
    count = ASOCKET_SYS(sendfile)(handle, file, from, size);
    error = errno;
    memset(&none, 0, sizeof none);
    if ((count < 0 ? error == EPIPE : (size_t)count < size) && !sigismember(&pending, SIGPIPE))
        (void)sigtimedwait(&broken, NULL, &none);
    (void)ASOCKET__SIGMASK(SIG_SETMASK, &former, NULL);
    errno = error;
    return count;
}

static ptrdiff_t asocket__file_send(asocket *socket, int file, int64_t offset, size_t size)
{
    asocket__offset from = (asocket__offset)offset;
    ssize_t count;

    if (from != offset)
        return ASOCKET_ENOTSUP;
    if (!(socket->ready & ASOCKET_WRITE))
        return ASOCKET_EAGAIN;
    do {
        socket->selector->statistics.system_calls++;
        count = asocket__file_quietly(socket->handle, file, &from, size);
    } while (count < 0 && errno == EINTR);
    asocket__spend(socket->selector, count > 0 ? count : 0);
    if (count >= 0)
        return count;
    if (errno == EINVAL || errno == ENOSYS || errno == ESPIPE)
        return ASOCKET_ENOTSUP; // a file that cannot be mapped
    if (asocket__last_status() == ASOCKET_EAGAIN)
        socket->ready &= (uint8_t)~ASOCKET_WRITE;
    if (asocket__last_status() == ASOCKET_ECONNRESET)
        socket->reset = 1;
    return asocket__last_status();
}
#else
static ptrdiff_t asocket__file_send(asocket *socket, int file, int64_t offset, size_t size)
{
    (void)socket, (void)file, (void)offset, (void)size;
    return ASOCKET_ENOTSUP;
}
#endif

// One piece through the ring: bytes, 0 at the end of the file, or a status.
static ptrdiff_t asocket__file_copy(asocket_write_channel *out, int file, int64_t offset,
                                    size_t size)
{
    asocket__offset from = (asocket__offset)offset;
    int status = asocket__out_room(out, 1);
    char *space;
    uint32_t room;
    ssize_t count;

    if (status)
        return status;
    if (from != offset)
        return ASOCKET_ENOTSUP; // behind what this program's C library can number
    room = asocket__ring_space(out->ring, &space);
    do
        count = ASOCKET_SYS(pread)(file, space, room < size ? room : size, from);
    while (count < 0 && errno == EINTR);
    if (count < 0) {
        status = asocket__last_status();
        asocket__out_tidy(out);
        return status;
    }
    asocket__ring_extend(out->ring, (uint32_t)count);
    status = asocket__out_touch(out, (uint32_t)count);
    return status ? status : count;
}

#if ASOCKET__WINDOWS
#define asocket__file_more(file, offset) (0)
#else
// MSG_MORE when bytes of the file follow for sure: without them the kernel would sit on the others.
static int asocket__file_more(int file, int64_t offset)
{
    struct stat facts;

    if (ASOCKET_SYS(fstat)(file, &facts) || !S_ISREG(facts.st_mode) || facts.st_size <= offset)
        return 0;
    return MSG_MORE;
}
#endif

// The kernel sends what it can, the rest goes through the ring.
static int asocket__file_write(asocket_write_channel *out, int file, int64_t offset, int64_t length)
{
    bool direct = out->socket && !out->socket->lower;
    ptrdiff_t count = 1;

    while (count > 0 && (length < 0 || out->written < length)) {
        int64_t left = length < 0 ? INT64_C(1) << 30 : length - out->written;
        size_t size = left < INT64_C(1) << 30 ? (size_t)left : (size_t)1 << 30;

        if (direct) {
            count = asocket__out_flush(out, out->own.size ? asocket__file_more(file, offset) : 0);
            if (!count)
                count = asocket__file_send(out->socket, file, offset + out->written, size);
            direct = count != ASOCKET_ENOTSUP;
        }
        if (!direct)
            count = asocket__file_copy(out, file, offset + out->written, size);
        if (count > 0)
            out->written += count;
        if (count == ASOCKET_EAGAIN) {
            int status = asocket__out_wait(out);

            count = status ? status : 1;
        }
    }
    return count < 0 ? (int)count : asocket__out_flush(out, 0);
}

#endif

// ------------------------------------------------------------------------------------------------
// >>moving
// Sockets on their way to another selector, or another process.

typedef struct asocket__move { // what arrives
    asocket_function *function;
    asocket socket; // as it was, with copies of what hangs on it
    bool shared;    // its descriptor only: nothing has ended, nothing is there to read
} asocket__move;

static ASOCKET__NOINLINE void asocket__move_free(asocket_selector *other, asocket__move *move)
{
    asocket *moved = &move->socket;

    asocket__release(other, moved->in.own.data, moved->in.own.capacity);
    asocket__release(other, moved->names, sizeof *moved->names);
    asocket__release(other, moved->joined, sizeof *moved->joined);
    asocket__host_forget(other, moved);
    asocket__release(other, move, sizeof *move);
}

static ASOCKET__NOINLINE void asocket__move_drop(asocket_selector *other, void *argument)
{
    asocket__move *move = (asocket__move *)argument;

    if (move->socket.handle != ASOCKET__NO_HANDLE)
        (void)ASOCKET_SYS(close)(move->socket.handle);
    asocket__move_free(other, move);
}

static void asocket__move_path(asocket__endpoint *endpoint, const char *path)
{
    if (endpoint->family == ASOCKET__PATH)
        memcpy(endpoint->bytes, &path, sizeof path);
}

static asocket__move *asocket__move_make(asocket *socket, asocket_selector *other,
                                         asocket_function *function, bool shared)
{
    asocket__move *move = (asocket__move *)asocket__allocate(other, sizeof *move);
    const char *host = socket->told.host;
    bool missing = false;
    asocket__ring *ring;
    asocket *moved;

    if (!move)
        return NULL;
    move->function = function;
    move->shared = shared;
    moved = &move->socket;
    ring = &moved->in.own;
    *moved = *socket;
    if (shared)
        memset(ring, 0, sizeof *ring);
    ring->data = (char *)asocket__copy_of(other, ring->data, ring->capacity, &missing);
    moved->names =
        (asocket__names *)asocket__copy_of(other, socket->names, sizeof *moved->names, &missing);
    moved->joined =
        (asocket__joined *)asocket__copy_of(other, socket->joined, sizeof *moved->joined, &missing);
    moved->told.host = (char *)asocket__copy_of(other, host, host ? strlen(host) + 1 : 0, &missing);
    if (missing) {
        asocket__move_free(other, move);
        return NULL;
    }
    if (moved->names) {
        if (shared)
            moved->names->unlink = false;
        asocket__move_path(&moved->local, moved->names->local);
        asocket__move_path(&moved->remote, moved->names->remote);
    }
    return move;
}

// Both directions may have ended.
static void asocket__arrive_state(asocket *socket, const asocket *moved)
{
    socket->in.ended = moved->in.ended;
    socket->in.status = moved->in.status;
    socket->out.status = moved->out.status;
    socket->hangup = moved->hangup;
    socket->reset = moved->reset;
    socket->deaf = moved->deaf;
    socket->out.finished = moved->out.finished;
    socket->lent = moved->lent;
}

// The handle is left, the descriptor is not closed: it lives elsewhere now.
static void asocket__socket_leave(asocket *socket)
{
    socket->state = ASOCKET__FLUSHING;
    if (socket->names)
        socket->names->unlink = false;
    socket->handle = ASOCKET__NO_HANDLE;
    asocket__close_begin(socket);
    asocket__close_finish(socket);
}

// Somebody else may open its channels. What the kernel joined still has no bytes of a stream.
static ASOCKET__NOINLINE void asocket__channels_renew(asocket *socket)
{
    socket->in.opened = socket->joined ? ASOCKET__BY_MANY : 0;
    socket->out.opened = 0;
}

static asocket *asocket__arrive(asocket_selector *selector, const asocket__move *move)
{
    const asocket *moved = &move->socket;
    asocket *socket = asocket__socket_new(selector);

    if (!socket)
        return NULL;
    asocket__socket_open(socket, moved->handle, moved->kind);
    asocket__socket_like(socket, moved);
    socket->shared = socket->lent = 1;
    if (!move->shared)
        asocket__arrive_state(socket, moved);
    asocket__ring_adopt(selector, &socket->in.own, &moved->in.own, moved->capacity);
    socket->names = moved->names;
    socket->told = moved->told;
    socket->alike = moved->alike;
    socket->joined = moved->joined;
    asocket__channels_renew(socket);
    return socket;
}

// Runs in the other selector, as a coroutine or a callback; the socket closes when it ends.
static void asocket__move_run(asocket_selector *selector, void *argument)
{
    asocket__move *move = (asocket__move *)argument;
    asocket_function *function = move->function;
    asocket *socket = asocket__arrive(selector, move);
    asocket__task *task = asocket__self(selector);

    // Without memory it waits: whoever sent it was told that it arrives.
    while (!socket && asocket__wait_in(selector, NULL, ASOCKET__PAUSE_FIRST) == ASOCKET_ETIMEDOUT)
        socket = asocket__arrive(selector, move);
    if (!socket) {
        asocket__move_drop(selector, move);
        return;
    }
    asocket__release(selector, move, sizeof *move);
    task->socket = socket;
    socket->launcher = task;
    function(selector, socket);
    asocket__launched_close(task);
}

#if ASOCKET__EMBEDDED

#define asocket__handle_send(channel, handle, parcel) (errno = ENOSYS, -1)
#define asocket__handle_receive(channel, handle)      (*(handle) = -1, errno = ENOSYS, -1)
#define asocket__parcel_begun(parcel)                 false

#elif ASOCKET__WINDOWS

// Unix sockets carry bytes only there. What goes is a mark and how WSADuplicateSocketW describes a
// duplicate for the peer's process, which has it from then on, whether it looks or not.
#define ASOCKET__PARCEL_MARK  "asocket: socket\n"
#define ASOCKET__PEER_PROCESS _WSAIOR(IOC_VENDOR, 256) // SIO_AF_UNIX_GETPEERPID

static bool asocket__parcel_begun(const asocket__parcel *parcel)
{
    return parcel->moved != 0;
}

static int asocket__parcel_pack(asocket *channel, asocket_handle handle, asocket__parcel *parcel)
{
    DWORD process = 0, size = 0;

    if (asocket__windows_result(ASOCKET_WINDOWS(WSAIoctl)(channel->handle, ASOCKET__PEER_PROCESS,
                                                          NULL, 0, &process, sizeof process, &size,
                                                          NULL, NULL)) ||
        asocket__windows_duplicate(handle, process, &parcel->block.info))
        return -1;
    memcpy(parcel->block.mark, ASOCKET__PARCEL_MARK, sizeof parcel->block.mark);
    return 0;
}

static ssize_t asocket__handle_send(asocket *channel, asocket_handle handle,
                                    asocket__parcel *parcel)
{
    ssize_t count;

    channel->selector->statistics.system_calls++;
    asocket__self(channel->selector)->budget--;
    if (!parcel->block.mark[0] && !asocket__poll_look(channel->handle, ASOCKET_WRITE)) {
        errno = EAGAIN; // before there is a duplicate that nobody gets
        return -1;
    }
    if (!parcel->block.mark[0] && asocket__parcel_pack(channel, handle, parcel))
        return -1;
    count = ASOCKET_SYS(send)(channel->handle, (char *)&parcel->block + parcel->moved,
                              sizeof parcel->block - parcel->moved, 0);
    if (count < 0)
        return -1;
    parcel->moved += (uint32_t)count;
    if (parcel->moved == sizeof parcel->block)
        return count;
    errno = EAGAIN;
    return -1;
}

// What does not begin with the mark is none: it is skipped, to where one may begin.
static void asocket__parcel_align(asocket__parcel *parcel)
{
    char *bytes = (char *)&parcel->block;
    uint32_t at = 0, left = parcel->moved;

    while (left && memcmp(bytes + at, ASOCKET__PARCEL_MARK,
                          left < sizeof parcel->block.mark ? left : sizeof parcel->block.mark))
        at++, left--;
    memmove(bytes, bytes + at, left);
    parcel->moved = left;
}

// As much of a parcel as there is; what lies behind it stays in the stream.
static ssize_t asocket__handle_receive(asocket *channel, asocket_handle *handle)
{
    asocket__parcel *parcel;
    ssize_t count;

    *handle = ASOCKET__NO_HANDLE;
    if (asocket__names_make(channel)) {
        errno = ENOMEM;
        return -1;
    }
    parcel = &channel->names->parcel;
    channel->selector->statistics.system_calls++;
    asocket__self(channel->selector)->budget--;
    count = ASOCKET_SYS(recv)(channel->handle, (char *)&parcel->block + parcel->moved,
                              sizeof parcel->block - parcel->moved, 0);
    if (count > 0) {
        parcel->moved += (uint32_t)count;
        asocket__parcel_align(parcel);
        if (parcel->moved < sizeof parcel->block)
            return count;
        *handle = asocket__windows_duplicated(&parcel->block.info);
        parcel->moved = 0;
        return *handle == ASOCKET__NO_HANDLE ? -1 : count;
    }
    if (count || parcel->moved < sizeof parcel->block.mark)
        return count;
    parcel->moved = 0;
    errno = EIO; // the stream ends within one
    return -1;
}

#else

#define asocket__parcel_begun(parcel) false

// CMSG_SPACE calls a function on NetBSD: the most that it can be.
#define ASOCKET__CONTROL_SIZE(size)   (sizeof(struct cmsghdr) + (size) + 32)
enum { ASOCKET__HANDLES = 64 };  // descriptors that one message may bring (SCM_MAX_FD is 253)
typedef struct asocket__packet { // one byte, for descriptors alone may be lost (unix(7)), and them
    struct msghdr message;
    struct iovec piece;
    union {
        uint64_t alignment;
        char bytes[ASOCKET__CONTROL_SIZE(ASOCKET__HANDLES * sizeof(int))];
    } control;
    char byte;
} asocket__packet;

#ifndef MSG_CMSG_CLOEXEC
#define MSG_CMSG_CLOEXEC 0
#endif

static ASOCKET__SMALL void asocket__packet_begin(asocket *channel, asocket__packet *packet,
                                                 size_t control)
{
    memset(packet, 0, sizeof *packet);
    packet->byte = 'S';
    packet->piece.iov_base = &packet->byte;
    packet->piece.iov_len = 1;
    packet->message.msg_iov = &packet->piece;
    packet->message.msg_iovlen = 1;
    packet->message.msg_control = packet->control.bytes;
    packet->message.msg_controllen = (socklen_t)control;
    channel->selector->statistics.system_calls++;
    asocket__self(channel->selector)->budget--;
}

static ssize_t asocket__handle_send(asocket *channel, asocket_handle handle,
                                    asocket__parcel *parcel)
{
    asocket__packet packet;
    struct cmsghdr *header;

    (void)parcel;
    asocket__packet_begin(channel, &packet, CMSG_SPACE(sizeof handle));
    header = CMSG_FIRSTHDR(&packet.message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = (socklen_t)CMSG_LEN(sizeof handle);
    memcpy(CMSG_DATA(header), &handle, sizeof handle);
    return ASOCKET_SYS(sendmsg)(channel->handle, &packet.message, MSG_NOSIGNAL);
}

// The first descriptor of a message; all others are closed, so that nobody can fill our table.
static asocket_handle asocket__handle_first(struct msghdr *message)
{
    asocket_handle first = ASOCKET__NO_HANDLE;
    struct cmsghdr *header;

    for (header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof first, i;

        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        for (i = 0; i < count; i++) {
            asocket_handle handle;

            memcpy(&handle, CMSG_DATA(header) + i * sizeof handle, sizeof handle);
            if (first == ASOCKET__NO_HANDLE)
                first = handle;
            else
                (void)ASOCKET_SYS(close)(handle);
        }
    }
    return first;
}

// One message: a descriptor in *handle (none: the message had none), 0 at the end of the stream.
static ssize_t asocket__handle_receive(asocket *channel, asocket_handle *handle)
{
    asocket__packet packet;
    ssize_t count;

    asocket__packet_begin(channel, &packet, CMSG_SPACE(ASOCKET__HANDLES * sizeof(int)));
    count = ASOCKET_SYS(recvmsg)(channel->handle, &packet.message, MSG_CMSG_CLOEXEC);
    *handle = ASOCKET__NO_HANDLE;
    if (count <= 0)
        return count;
    *handle = asocket__handle_first(&packet.message);
    if (*handle != ASOCKET__NO_HANDLE || !(packet.message.msg_flags & MSG_CTRUNC))
        return count;
    errno = EMFILE; // it brought one, for which there was no room: the kernel has closed it
    return -1;
}

#endif

// ------------------------------------------------------------------------------------------------
// >>datagram
// Messages with addresses: each call moves one, or as many as there are in one system call. An
// error that a peer's machine reports (ICMP) belongs to one call and ends nothing.

enum { ASOCKET__BATCH = 64 }; // as many as the kernel cuts out of one send (udp(7))

struct asocket__batch { // what sendmmsg and recvmmsg want, for ASOCKET__BATCH messages
    asocket__native names[ASOCKET__BATCH];
#if ASOCKET__LINUX
    struct iovec pieces[ASOCKET__BATCH];
    struct mmsghdr messages[ASOCKET__BATCH + 1]; // the last one's pieces only end those before
    union {
        uint64_t alignment;
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
    } segment[ASOCKET__BATCH];
#endif
};

static int asocket__batch_make(asocket_selector *selector, const char *operation)
{
    if (!selector->batch)
        selector->batch = (asocket__batch *)asocket__allocate(selector, sizeof *selector->batch);
    return selector->batch ? 0 : asocket__fail(selector, ASOCKET_ENOMEM, operation, NULL);
}

static void asocket__map(asocket__endpoint *endpoint)
{
    memmove(endpoint->bytes + 12, endpoint->bytes, 4);
    memset(endpoint->bytes, 0, 10);
    endpoint->bytes[10] = endpoint->bytes[11] = 0xff;
    endpoint->family = 6;
}

static bool asocket__is_targeted(const asocket_address *to)
{
    return to && (to->path_length || to->ip.family);
}

// Where to: the length of the native address, 0 for the connected peer, or a status. A dual-stack
// socket reaches IPv4 by mapped addresses.
static int asocket__target_of(const asocket *socket, const asocket_address *to,
                              asocket__native *native)
{
    asocket__endpoint endpoint;
    int status;

    if (!asocket__is_targeted(to))
        return socket->remote.family ? 0 : ASOCKET_EINVAL;
    status = asocket__endpoint_of(to, &endpoint);
    if (status)
        return status;
    if (socket->domain == AF_INET6 && endpoint.family == 4)
        asocket__map(&endpoint);
    else if (socket->domain == AF_INET)
        asocket__endpoint_unmap(&endpoint);
    status = (int)asocket__native_of(&endpoint, native);
    return native->any.sa_family == socket->domain ? status : ASOCKET_EINVAL;
}

// Who it came from; nobody, for a Unix socket without a name.
static void asocket__sender(asocket_address *address, const asocket__native *native, socklen_t size)
{
    if (asocket__address_native(address, native, (size_t)size))
        memset(address, 0, sizeof *address);
    asocket__unmap(&address->ip.family, address->ip.bytes);
}

// What a call on a datagram socket failed with, having seen to the ready bits: 0 for "again", which
// may be after a wait, or a status.
static int asocket__datagram_error(asocket *socket, int direction)
{
    int error = errno, status = asocket__status_of(error);

    if (error == EINTR)
        return 0;
    if (status != ASOCKET_EAGAIN)
        return error == EBADF ? ASOCKET_ECLOSED : status;
    socket->ready &= (uint8_t)~direction;
    return socket->timeout == ASOCKET_NO_WAIT ? ASOCKET_EAGAIN : 0;
}

#if !ASOCKET__WINDOWS

typedef struct asocket__message { // the header may have room for control messages, or is zero
    struct msghdr header;
    struct iovec piece;
    asocket__native name;
} asocket__message;

// One message as the kernel has it: its size + 1, 0 for "again", or a status.
static ptrdiff_t asocket__message_receive(asocket *socket, asocket__message *message,
                                          asocket_datagram *datagram)
{
    ssize_t count;

    message->piece.iov_base = datagram->data;
    message->piece.iov_len = datagram->capacity;
    message->header.msg_iov = &message->piece;
    message->header.msg_iovlen = 1;
    message->header.msg_name = &message->name;
    message->header.msg_namelen = sizeof message->name;
    socket->selector->statistics.system_calls++;
    count = ASOCKET_SYS(recvmsg)(socket->handle, &message->header, 0);
    if (count < 0)
        return asocket__datagram_error(socket, ASOCKET_READ);
    asocket__spend(socket->selector, count);
    asocket__sender(&datagram->address, &message->name, message->header.msg_namelen);
    datagram->size = (size_t)count;
    datagram->truncated = (message->header.msg_flags & MSG_TRUNC) != 0;
    return count + 1;
}

#endif

#if ASOCKET__LINUX

// UDP_GRO: datagrams of one sender and size that come together are received as one and handed out
// one by one, by whatever call; three to four times cheaper for a long flow. But each receive
// brings those of one sender only. So it is tried when what recvmmsg brings looks like a flow, and
// given up when too little was joined. It belongs to the descriptor: it is left as it is while
// others have that, too.

#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif
enum {
    ASOCKET__JOIN_ROUND = 32,  // receives after which it is judged
    ASOCKET__JOIN_FIRST = 256, // datagrams alike before the first try
    ASOCKET__JOIN_QUEUE = 512, // that may be queued by then, and will not be joined any more
    ASOCKET__JOIN_AGAIN = -4096 + ASOCKET__JOIN_FIRST,
    ASOCKET__JOIN_NEVER = INT16_MIN
};

static int asocket__join_set(asocket *socket, int on)
{
    socket->selector->statistics.system_calls++;
    return ASOCKET_SYS(setsockopt)(socket->handle, SOL_UDP, UDP_GRO, &on, sizeof on);
}

static ASOCKET__NOINLINE int asocket__joined_make(asocket *socket)
{
    socket->joined = (asocket__joined *)asocket__allocate(socket->selector, sizeof *socket->joined);
    return socket->joined ? 0 : ASOCKET_ENOMEM;
}

static ASOCKET__NOINLINE void asocket__joined_free(asocket *socket)
{
    asocket__release(socket->selector, socket->joined, sizeof *socket->joined);
    socket->joined = NULL;
}

// Has the kernel join what comes from now on, when enough were alike; a byte channel reads the
// descriptor by itself.
static void asocket__join(asocket *socket, int alike)
{
    if (socket->alike == ASOCKET__JOIN_NEVER)
        return;
    socket->alike = (int16_t)(socket->alike + alike);
    if (socket->alike < ASOCKET__JOIN_FIRST)
        return;
    socket->alike = ASOCKET__JOIN_NEVER;
    if (socket->lent || socket->in.opened == ASOCKET__BY_CHANNEL || asocket__joined_make(socket))
        return;
    if (asocket__join_set(socket, 1)) {
        asocket__joined_free(socket);
        return;
    }
    socket->joined->receives = -ASOCKET__JOIN_QUEUE;
    socket->alike = ASOCKET__JOIN_AGAIN;
}

// Of an adopted socket it is not ours to say.
static void asocket__joined_judge(asocket *socket)
{
    asocket__joined *joined = socket->joined;

    if (joined->receives < 0 && joined->count > 1)
        joined->receives = 0;
    if (socket->alike == ASOCKET__JOIN_NEVER || joined->receives++ < 0)
        return;
    joined->all += (int32_t)joined->count;
    if (joined->receives < ASOCKET__JOIN_ROUND)
        return;
    joined->off = joined->all < 2 * ASOCKET__JOIN_ROUND;
    joined->receives = joined->all = 0;
}

// Nothing is left in the kernel. It tells where the parts of a joined one end only while it joins:
// now it may stop, and what came in between tells that it was too early.
static void asocket__joined_empty(asocket *socket)
{
    if (socket->joined->receives < 0)
        socket->joined->receives = 0; // what was queued before is out
    if (!socket->joined->off || socket->lent || asocket__join_set(socket, 0))
        return;
    if (asocket__poll_look(socket->handle, ASOCKET_READ))
        (void)asocket__join_set(socket, 1);
    else
        asocket__joined_free(socket);
}

// The bytes of each part; what was not joined is one.
static uint32_t asocket__joined_piece(struct msghdr *message)
{
    struct cmsghdr *header;
    int piece = 0;

    for (header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header))
        if (header->cmsg_level == SOL_UDP && header->cmsg_type == UDP_GRO)
            memcpy(&piece, CMSG_DATA(header), sizeof piece);
    return piece > 0 ? (uint32_t)piece : (uint32_t)sizeof((asocket__joined *)0)->bytes;
}

// The next message of the kernel's: 1, 0 for "again", or a status.
static int asocket__joined_fill(asocket *socket)
{
    asocket__joined *joined = socket->joined;
    int status = joined->status;
    asocket__message message;
    uint32_t size;
    union {
        uint64_t alignment;
        char bytes[256]; // the user may have asked for more by the descriptor
    } control;

    joined->status = 0;
    if (status)
        return status;
    joined->whole.data = joined->bytes; // it may have moved
    joined->whole.capacity = sizeof joined->bytes;
    memset(&message.header, 0, sizeof message.header);
    message.header.msg_control = control.bytes;
    message.header.msg_controllen = sizeof control.bytes;
    status = (int)asocket__message_receive(socket, &message, &joined->whole);
    if (status <= 0) {
        if (!(socket->ready & ASOCKET_READ))
            asocket__joined_empty(socket);
        return status;
    }
    size = (uint32_t)status - 1;
    joined->at = 0;
    joined->piece = asocket__joined_piece(&message.header);
    joined->count = size ? (size + joined->piece - 1) / joined->piece : 1;
    asocket__joined_judge(socket);
    return 1;
}

// As asocket__datagram_receive.
static ptrdiff_t asocket__joined_receive(asocket *socket, asocket_datagram *datagram)
{
    asocket__joined *joined = socket->joined;
    int status = joined->count ? 1 : asocket__joined_fill(socket);
    size_t size;

    if (status <= 0)
        return status;
    size = joined->whole.size - joined->at;
    if (size > joined->piece)
        size = joined->piece;
    datagram->truncated = size > datagram->capacity;
    datagram->size = datagram->truncated ? datagram->capacity : size;
    datagram->address = joined->whole.address;
    if (datagram->size)
        memcpy(datagram->data, joined->bytes + joined->at, datagram->size);
    joined->at += (uint32_t)size;
    joined->count--;
    return (ptrdiff_t)datagram->size + 1;
}

// As many as are there and `wanted`. What fails after the first is told by the next call.
static int asocket__joined_many(asocket *socket, asocket_datagram *datagrams, int wanted)
{
    ptrdiff_t status = 1;
    int received = 0;

    while (received < wanted && status > 0) {
        status = asocket__joined_receive(socket, &datagrams[received]);
        received += status > 0;
    }
    if (received && status < 0 && status != ASOCKET_EAGAIN)
        socket->joined->status = (int32_t)status;
    return received ? received : (int)status;
}

// A descriptor from elsewhere: whether it joins is up to who made it.
static int asocket__joined_adopt(asocket *socket)
{
    int on;

    socket->alike = ASOCKET__JOIN_NEVER;
    if (socket->kind != ASOCKET__DATAGRAM || socket->domain == AF_UNIX ||
        asocket__option_read(socket->handle, SOL_UDP, UDP_GRO, &on) || !on)
        return 0;
    return asocket__joined_make(socket);
}

#else

#if !ASOCKET__WINDOWS
static ptrdiff_t asocket__joined_receive(asocket *socket, asocket_datagram *datagram)
{
    (void)socket;
    (void)datagram;
    return ASOCKET_ENOTSUP;
}
#endif

static int asocket__joined_adopt(asocket *socket)
{
    (void)socket;
    return 0;
}

#endif

#if ASOCKET__WINDOWS
static ptrdiff_t asocket__datagram_receive(asocket *socket, asocket_datagram *datagram)
{
    asocket__native name;
    socklen_t length = sizeof name;
    ssize_t count;

    socket->selector->statistics.system_calls++;
    count = ASOCKET_SYS(recvfrom)(socket->handle, datagram->data, datagram->capacity,
                                  &datagram->truncated, &name.any, &length);
    if (count < 0)
        return asocket__datagram_error(socket, ASOCKET_READ);
    asocket__self(socket->selector)->budget--;
    asocket__sender(&datagram->address, &name, length);
    datagram->size = (size_t)count;
    return count + 1;
}
#else
static ptrdiff_t asocket__datagram_receive(asocket *socket, asocket_datagram *datagram)
{
    asocket__message message;

    if (socket->joined)
        return asocket__joined_receive(socket, datagram);
    memset(&message.header, 0, sizeof message.header);
    return asocket__message_receive(socket, &message, datagram);
}
#endif

static ptrdiff_t asocket__datagram_send(asocket *socket, const void *data, size_t size,
                                        const asocket__native *to, socklen_t length)
{
    ssize_t count;

    do {
        socket->selector->statistics.system_calls++;
        count = ASOCKET_SYS(sendto)(socket->handle, data, size, MSG_NOSIGNAL,
                                    length ? &to->any : NULL, length);
    } while (count < 0 && errno == EINTR);
    if (count < 0)
        return asocket__datagram_error(socket, ASOCKET_WRITE);
    asocket__self(socket->selector)->budget--;
    return count + 1;
}

// Before each attempt: does the socket still live, may it succeed? Waits if not. The side's channel
// is busy meanwhile: 0, or why the call ends; a channel that was given up ends it too.
static int asocket__datagram_may_receive(asocket *socket)
{
    asocket__in_breathe(&socket->in);
    if (socket->in.status || (socket->ready & ASOCKET_READ))
        return socket->in.status;
    return asocket__wait_socket(socket, ASOCKET__READER);
}

// The system tells of room in the queue of the connected peer only; of others it says that there is
// room all the time. To them a Unix socket sends by trying, again in growing intervals.
typedef struct asocket__retry {
    int64_t until; // ns
    int64_t pause; // ms; 0: the system tells
} asocket__retry;

static int asocket__datagram_pause(asocket *socket, asocket__retry *retry)
{
    asocket_selector *selector = socket->selector;
    asocket__task *task = asocket__self(selector);
    int64_t limit, next;
    int status;

    socket->out.task = task;
    socket->pins++;
    status = asocket__wait_begin(selector, socket->timeout, &limit);
    if (!status) {
        if (limit < retry->until)
            retry->until = limit;
        next = asocket__later(asocket__now(), retry->pause);
        if (retry->pause < ASOCKET__RETRY_LAST)
            retry->pause *= 2;
        status = asocket__park(selector, task, next < retry->until ? next : retry->until);
        if (status == ASOCKET_ETIMEDOUT && next < retry->until)
            status = 0;
    }
    socket->pins--;
    socket->out.task = NULL;
    socket->ready |= ASOCKET_WRITE;
    return socket->out.status ? socket->out.status : status;
}

// Before each attempt to send, as asocket__datagram_may_receive.
static int asocket__datagram_may_send(asocket *socket, const asocket_address *to,
                                      asocket__retry *retry)
{
    if (socket->domain == AF_UNIX && !retry->pause && asocket__is_targeted(to)) {
        retry->pause = 1;
        retry->until = ASOCKET_NEVER;
        socket->ready |= ASOCKET_WRITE; // what one target has no room for says nothing about others
    }
    (void)asocket__out_breathe(&socket->out);
    if (socket->out.status || (socket->ready & ASOCKET_WRITE))
        return socket->out.status;
    return retry->pause ? asocket__datagram_pause(socket, retry)
                        : asocket__wait_socket(socket, ASOCKET__WRITER);
}

#if ASOCKET__LINUX

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#define ASOCKET__SEGMENTED 65000 // bytes in one such send

// Whether a datagram can go in one send with those before it, of `total` bytes, for the kernel to
// cut at each `cut` bytes: not longer than they are, and to the same target.
static bool asocket__segment_fits(const asocket_datagram *datagram, size_t cut, size_t total)
{
    return datagram->size && datagram->size <= cut &&
           total + datagram->size <= ASOCKET__SEGMENTED &&
           asocket__address_same(&datagram->address, &datagram[-1].address);
}

// Whether an error means that the kernel or the device cuts none, or, EINVAL and EMSGSIZE, the path
// is too narrow for this size; others, an ICMP error for example, belong to the call.
static bool asocket__segments_refused(asocket *socket, int error, size_t size)
{
    switch (error) {
    case EINVAL:
    case EMSGSIZE: socket->uncut = (uint16_t)size; return true;
    case EIO:
    case EOPNOTSUPP:
    case ENOPROTOOPT: socket->uncut = 1; return true;
    default: return false;
    }
}

static void asocket__batch_segment(asocket__batch *batch, struct mmsghdr *last, size_t cut)
{
    struct msghdr *message = &last->msg_hdr;
    uint16_t size = (uint16_t)cut;
    struct cmsghdr *header;

    message->msg_control = batch->segment[last - batch->messages].bytes;
    message->msg_controllen = sizeof batch->segment[0].bytes;
    header = CMSG_FIRSTHDR(message);
    header->cmsg_level = SOL_UDP;
    header->cmsg_type = UDP_SEGMENT;
    header->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(header), &size, sizeof size);
}

// Neighbours make one piece: the system goes through the pieces of each send.
static void asocket__batch_piece(struct msghdr *message, const asocket_datagram *datagram)
{
    struct iovec *piece = message->msg_iov + message->msg_iovlen;

    if (message->msg_iovlen &&
        (char *)piece[-1].iov_base + piece[-1].iov_len == (char *)datagram->data) {
        piece[-1].iov_len += datagram->size;
        return;
    }
    piece->iov_base = datagram->data;
    piece->iov_len = datagram->size;
    message->msg_iovlen++;
}

// Datagrams become messages, whose pieces begin at the place of their first: how many, or the first
// one's status.
static ASOCKET__SMALL int asocket__batch_fill(const asocket *socket, asocket__batch *batch,
                                              const asocket_datagram *datagrams, uint32_t count)
{
    struct iovec *piece = batch->pieces;
    struct mmsghdr *next = batch->messages;
    asocket__native *name = batch->names;
    size_t cut = 0, total = 0;
    int length = 0;

    for (; count; count--, datagrams++, piece++) {
        if (asocket__segment_fits(datagrams, cut, total)) {
            if (total == cut) // the second one
                asocket__batch_segment(batch, next - 1, cut);
        } else {
            length = asocket__target_of(socket, &datagrams->address, name);
            if (length < 0)
                break;
            memset(&next->msg_hdr, 0, sizeof next->msg_hdr);
            next->msg_hdr.msg_name = length ? name : NULL;
            next->msg_hdr.msg_namelen = (socklen_t)length;
            next->msg_hdr.msg_iov = piece;
            next++;
            name++;
            total = 0;
            cut = datagrams->size;
            if ((socket->uncut && cut >= socket->uncut) || socket->domain == AF_UNIX)
                cut = 0;
        }
        asocket__batch_piece(&next[-1].msg_hdr, datagrams);
        total += datagrams->size;
        if (datagrams->size < cut)
            cut = 0; // only the last one may be shorter
    }
    next->msg_hdr.msg_iov = piece;
    return next > batch->messages ? (int)(next - batch->messages) : length;
}

// As many as one system call takes: datagrams, 0 for "again", or a status.
static ASOCKET__SMALL int asocket__batch_send(asocket *socket, const asocket_datagram *datagrams,
                                              size_t count)
{
    asocket__batch *batch = socket->selector->batch;
    uint32_t most = count < ASOCKET__BATCH ? (uint32_t)count : (uint32_t)ASOCKET__BATCH;
    int result = asocket__batch_fill(socket, batch, datagrams, most);

    if (result < 0)
        return result;
    socket->selector->statistics.system_calls++;
    result = ASOCKET_SYS(sendmmsg)(socket->handle, batch->messages, (unsigned)result, MSG_NOSIGNAL);
    if (result < 0 && batch->messages[0].msg_hdr.msg_controllen &&
        asocket__segments_refused(socket, errno, datagrams[0].size))
        return 0; // one by one
    if (result < 0)
        return asocket__datagram_error(socket, ASOCKET_WRITE);
    result = (int)(batch->messages[result].msg_hdr.msg_iov - batch->pieces);
    asocket__spend(socket->selector, (ptrdiff_t)result << 11); // eight cost as much as 16 KiB
    return result;
}

static void asocket__batch_room(asocket__batch *batch, const asocket_datagram *datagrams,
                                uint32_t count)
{
    uint32_t i;

    for (i = 0; i < count; i++) {
        struct msghdr *message = &batch->messages[i].msg_hdr;

        batch->pieces[i].iov_base = datagrams[i].data;
        batch->pieces[i].iov_len = datagrams[i].capacity;
        memset(message, 0, sizeof *message);
        message->msg_name = &batch->names[i];
        message->msg_namelen = sizeof batch->names[i];
        message->msg_iov = &batch->pieces[i];
        message->msg_iovlen = 1;
    }
}

// Whether a datagram seems to belong to the same flow as the one before.
static bool asocket__batch_alike(const asocket_datagram *datagram)
{
    return datagram->size == datagram[-1].size && datagram->address.ip.family &&
           datagram->address.port == datagram[-1].address.port;
}

static ASOCKET__SMALL int asocket__batch_receive(asocket *socket, asocket_datagram *datagrams,
                                                 size_t count)
{
    asocket__batch *batch = socket->selector->batch;
    uint32_t wanted = count < ASOCKET__BATCH ? (uint32_t)count : (uint32_t)ASOCKET__BATCH;
    int received, i, alike = 0;

    if (socket->joined)
        return asocket__joined_many(socket, datagrams, (int)wanted);
    asocket__batch_room(batch, datagrams, wanted);
    socket->selector->statistics.system_calls++;
    received = ASOCKET_SYS(recvmmsg)(socket->handle, batch->messages, wanted, MSG_DONTWAIT, NULL);
    if (received < 0)
        return asocket__datagram_error(socket, ASOCKET_READ);
    asocket__spend(socket->selector, (ptrdiff_t)received << 11);
    if ((uint32_t)received < wanted && (socket->registered & ASOCKET_READ))
        socket->ready &= (uint8_t)~ASOCKET_READ;
    for (i = 0; i < received; i++) {
        const struct mmsghdr *message = &batch->messages[i];

        datagrams[i].size = message->msg_len;
        datagrams[i].truncated = (message->msg_hdr.msg_flags & MSG_TRUNC) != 0;
        asocket__sender(&datagrams[i].address, &batch->names[i], message->msg_hdr.msg_namelen);
        alike += i > 0 && asocket__batch_alike(&datagrams[i]);
    }
    asocket__join(socket, alike);
    return received;
}

#else

static ptrdiff_t asocket__batch_send_one(asocket *socket, const asocket_datagram *datagram)
{
    asocket__native *name = &socket->selector->batch->names[0];
    int length = asocket__target_of(socket, &datagram->address, name);

    if (length < 0)
        return length;
    return asocket__datagram_send(socket, datagram->data, datagram->size, name, (socklen_t)length);
}

static int asocket__batch_send(asocket *socket, const asocket_datagram *datagrams, size_t count)
{
    ptrdiff_t status = 1;
    size_t sent = 0;

    while (sent < count && sent < ASOCKET__BATCH && status > 0) {
        status = asocket__batch_send_one(socket, &datagrams[sent]);
        sent += status > 0;
    }
    return sent ? (int)sent : (int)status;
}

static ASOCKET__SMALL int asocket__batch_receive(asocket *socket, asocket_datagram *datagrams,
                                                 size_t count)
{
    int received = 0, most = count < ASOCKET__BATCH ? (int)count : (int)ASOCKET__BATCH;
    ptrdiff_t status = 1;

    while (received < most && status > 0) {
        status = asocket__datagram_receive(socket, &datagrams[received]);
        received += status > 0;
    }
    return received ? received : (int)status;
}

#endif

// ------------------------------------------------------------------------------------------------
// >>foreign
// Waiting for descriptors that are not ours. Each wait registers anew and forgets at its end: the
// owner may close the descriptor in between, and the number may come back as another one.

static asocket *asocket__foreign_find(asocket_selector *selector, asocket_handle handle)
{
    asocket__link *link;

    for (link = selector->foreign.next; link != &selector->foreign; link = link->next)
        if (ASOCKET__OF(asocket, link, link)->handle == handle)
            return ASOCKET__OF(asocket, link, link);
    return NULL;
}

// Registered twice, one of the two would take the other's events, or end them.
static bool asocket__handle_is_known(const asocket_selector *selector, asocket_handle handle,
                                     int kinds)
{
    uint32_t i;

    for (i = 0; i < selector->socket_count; i++) {
        const asocket *socket = asocket__socket_at(selector, i);

        if (socket->handle == handle && (socket->kind & kinds))
            return true;
    }
    return false;
}

static asocket *asocket__foreign_open(asocket_selector *selector, asocket_handle handle)
{
    asocket *foreign = asocket__foreign_find(selector, handle);

    if (foreign)
        return foreign;
    foreign = asocket__socket_new(selector);
    if (!foreign)
        return NULL;
    asocket__socket_open(foreign, handle, ASOCKET__FOREIGN);
    selector->statistics.sockets--; // it is not one of ours
    foreign->registered = 0;
    asocket__list_append(&selector->foreign, &foreign->link);
    return foreign;
}

static void asocket__foreign_close(asocket *foreign)
{
    if (foreign->waiter[ASOCKET__READER] || foreign->waiter[ASOCKET__WRITER])
        return;
    foreign->selector->statistics.sockets++;
    asocket__close_unseen(foreign);
}

static ASOCKET__NOINLINE void asocket__foreign_claim(asocket *foreign, int events,
                                                     asocket__task *task)
{
    if (events & ASOCKET_READ)
        foreign->waiter[ASOCKET__READER] = task;
    if (events & ASOCKET_WRITE)
        foreign->waiter[ASOCKET__WRITER] = task;
}

// The ready ones of `events`, or a status. The last one to wait forgets the descriptor.
static ASOCKET__NOINLINE int asocket__foreign_wait(asocket *foreign, int events, int64_t until)
{
    asocket_selector *selector = foreign->selector;
    asocket__task *task = asocket__self(selector);
    int status;

    foreign->ready &= (uint8_t)~events;
    status = selector->backend->arm(selector, foreign, events);
    if (!status && !(foreign->ready & events)) {
        asocket__foreign_claim(foreign, events, task);
        status = asocket__park(selector, task, until);
        asocket__foreign_claim(foreign, events, NULL);
    }
    if (!status)
        status = foreign->ready & events;
    asocket__foreign_close(foreign);
    return status;
}

// ------------------------------------------------------------------------------------------------
// >>public
// Argument checks, defaults, one call down. The contracts stand with the declarations.

const char *asocket_strerror(int status)
{
#define ASOCKET__SENTENCE(name, value, text) text "\0"
    const char *sentence = ASOCKET_STATUSES(ASOCKET__SENTENCE) "unknown status";
#undef ASOCKET__SENTENCE
    int i;

    if (status >= 0)
        return "no error";
    for (i = ASOCKET_EOF; i != status && i >= ASOCKET_ETLS; i--) // the order of their values
        sentence += strlen(sentence) + 1;
    return sentence;
}

int asocket_error(const asocket_selector *selector)
{
    if (!selector || asocket__intruding(selector))
        return ASOCKET_EINVAL;
    return asocket__self(selector)->failure.status;
}

// The number that is no port.
static void asocket__put_no_port(asocket__writer *writer, uint32_t number)
{
    asocket__put_text(writer, number > INT32_MAX ? ":-" : ":");
    asocket__put_number(writer, number > INT32_MAX ? 0U - number : number, 10);
}

static ASOCKET__NOINLINE void asocket__put_failure(asocket__writer *writer,
                                                   const asocket__failure *failure)
{
    const char *before = " ";
    asocket_address address;

    asocket__put_text(writer, failure->operation);
    if (failure->endpoint.family) {
        asocket__put(writer, ' ');
        asocket__endpoint_address(&failure->endpoint, &address);
        asocket__put_address(writer, &address);
        before = " of ";
    }
    if (failure->text[0])
        asocket__put_text(writer, before);
    asocket__put_text(writer, failure->text);
    if (!failure->endpoint.family && failure->endpoint.scope)
        asocket__put_no_port(writer, failure->endpoint.scope);
    asocket__put_text(writer, ": ");
    asocket__put_text(writer,
                      failure->detail ? failure->detail : asocket_strerror(failure->status));
    if (failure->status == ASOCKET_EIO && failure->system) {
        asocket__put_text(writer, ", errno ");
        asocket__put_number(writer, (unsigned)failure->system, 10);
    }
}

const char *asocket_error_message(const asocket_selector *selector)
{
    asocket__writer writer = {NULL, sizeof selector->message, 0};

    if (!selector)
        return "no selector: out of memory or descriptors, a backend that is not compiled in, or "
               "an option out of range (asocket_selector_open tells)";
    if (asocket__intruding(selector))
        return "a selector belongs to one thread, and another one runs its loop";
    if (!asocket__self(selector)->failure.status)
        return "no error";
    writer.buffer = (char *)(uintptr_t)selector->message;
    asocket__put_failure(&writer, &asocket__self(selector)->failure);
    if (writer.length >= writer.size) // its beginning
        writer.length = writer.size - 1;
    writer.buffer[writer.length] = 0;
    return selector->message;
}

// Addresses

int asocket_ip_from_bytes(asocket_ip *ip, const void *bytes, size_t size)
{
    if (!ip || !bytes || (size != 4 && size != 16))
        return ASOCKET_EINVAL;
    memset(ip, 0, sizeof *ip);
    ip->family = size == 4 ? 4 : 6;
    memcpy(ip->bytes, bytes, size);
    return ASOCKET_OK;
}

asocket_ip asocket_ipv4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    const uint8_t bytes[4] = {a, b, c, d};
    asocket_ip ip;

    (void)asocket_ip_from_bytes(&ip, bytes, sizeof bytes);
    return ip;
}

asocket_ip asocket_ipv6(uint16_t a, uint16_t b, uint16_t c, uint16_t d, uint16_t e, uint16_t f,
                        uint16_t g, uint16_t h)
{
    uint16_t groups[8] = {a, b, c, d, e, f, g, h};
    asocket_ip ip;
    int i;

    for (i = 0; i < 8; i++)
        groups[i] = htons(groups[i]);
    (void)asocket_ip_from_bytes(&ip, groups, sizeof groups);
    return ip;
}

int asocket_ip_parse(asocket_ip *ip, const char *text)
{
    if (!ip)
        return ASOCKET_EINVAL;
    if (text && asocket__ip_is_all(text, ip))
        return ASOCKET_OK;
    memset(ip, 0, sizeof *ip);
    return ASOCKET_EINVAL;
}

int asocket_ip_format(const asocket_ip *ip, char *buffer, size_t size)
{
    asocket__writer writer = {buffer, size, 0};
    bool valid = ip && buffer && asocket__ip_is_valid(ip);

    if (valid)
        asocket__put_ip(&writer, ip);
    return asocket__put_end(&writer, valid);
}

bool asocket_ip_equal(const asocket_ip *a, const asocket_ip *b)
{
    return a && b && asocket__ip_same(a, b);
}

bool asocket_ip_is_ipv4(const asocket_ip *ip)
{
    return ip && ip->family == 4;
}

enum {
    ASOCKET__IP_LOOPBACK,
    ASOCKET__IP_MULTICAST,
    ASOCKET__IP_PRIVATE,
    ASOCKET__IP_LINK_LOCAL,
    ASOCKET__IP_DOCUMENTATION,
    ASOCKET__IP_BROADCAST
};

// The blocks that RFC 6890 and RFC 9637 set aside. An address is of the kind when its first bits
// are the prefix's.
static const struct asocket__ip_block {
    uint8_t kind, family, bits, prefix[4];
} asocket__ip_blocks[] = {
    {ASOCKET__IP_LOOPBACK, 4, 8, {127, 0, 0, 0}},
    {ASOCKET__IP_MULTICAST, 4, 4, {224, 0, 0, 0}},
    {ASOCKET__IP_MULTICAST, 6, 8, {0xff, 0, 0, 0}},
    {ASOCKET__IP_PRIVATE, 4, 8, {10, 0, 0, 0}},
    {ASOCKET__IP_PRIVATE, 4, 12, {172, 16, 0, 0}},
    {ASOCKET__IP_PRIVATE, 4, 16, {192, 168, 0, 0}},
    {ASOCKET__IP_PRIVATE, 6, 7, {0xfc, 0, 0, 0}},
    {ASOCKET__IP_LINK_LOCAL, 4, 16, {169, 254, 0, 0}},
    {ASOCKET__IP_LINK_LOCAL, 6, 10, {0xfe, 0x80, 0, 0}},
    {ASOCKET__IP_DOCUMENTATION, 4, 24, {192, 0, 2, 0}},
    {ASOCKET__IP_DOCUMENTATION, 4, 24, {198, 51, 100, 0}},
    {ASOCKET__IP_DOCUMENTATION, 4, 24, {203, 0, 113, 0}},
    {ASOCKET__IP_DOCUMENTATION, 6, 32, {0x20, 0x01, 0x0d, 0xb8}},
    {ASOCKET__IP_DOCUMENTATION, 6, 20, {0x3f, 0xff, 0, 0}},
    {ASOCKET__IP_BROADCAST, 4, 32, {255, 255, 255, 255}},
};

static uint32_t asocket__ip_first(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool asocket__ip_is(const asocket_ip *ip, int kind)
{
    size_t i;

    for (i = 0; ip && i < sizeof asocket__ip_blocks / sizeof *asocket__ip_blocks; i++) {
        const struct asocket__ip_block *block = &asocket__ip_blocks[i];

        if (block->kind == kind && block->family == ip->family &&
            !((asocket__ip_first(ip->bytes) ^ asocket__ip_first(block->prefix)) >>
              (32 - block->bits)))
            return true;
    }
    return false;
}

// How many of the address's bytes, from the first, are 0; -1 when it is not of that family.
static int asocket__ip_zeros(const asocket_ip *ip, int family)
{
    int i, size = family == 4 ? 4 : 16;

    if (!ip || ip->family != family)
        return -1;
    for (i = 0; i < size && !ip->bytes[i]; i++) {
    }
    return i;
}

bool asocket_ip_is_loopback(const asocket_ip *ip)
{
    return asocket__ip_is(ip, ASOCKET__IP_LOOPBACK) ||
           (asocket__ip_zeros(ip, 6) == 15 && ip->bytes[15] == 1);
}

bool asocket_ip_is_multicast(const asocket_ip *ip)
{
    return asocket__ip_is(ip, ASOCKET__IP_MULTICAST);
}

bool asocket_ip_is_private(const asocket_ip *ip)
{
    return asocket__ip_is(ip, ASOCKET__IP_PRIVATE);
}

bool asocket_ip_is_link_local(const asocket_ip *ip)
{
    return asocket__ip_is(ip, ASOCKET__IP_LINK_LOCAL);
}

bool asocket_ip_is_unspecified(const asocket_ip *ip)
{
    return asocket__ip_zeros(ip, 4) == 4 || asocket__ip_zeros(ip, 6) == 16;
}

bool asocket_ip_is_documentation(const asocket_ip *ip)
{
    return asocket__ip_is(ip, ASOCKET__IP_DOCUMENTATION);
}

bool asocket_ip_is_broadcast(const asocket_ip *ip)
{
    return asocket__ip_is(ip, ASOCKET__IP_BROADCAST);
}

bool asocket_ip_is_ipv4_mapped(const asocket_ip *ip)
{
    return ip && ip->family == 6 && asocket__bytes_are_mapped(ip->bytes);
}

bool asocket_ip_is_ipv4_compatible(const asocket_ip *ip)
{
    return asocket__ip_zeros(ip, 6) >= 12 && !asocket_ip_is_unspecified(ip) &&
           !asocket_ip_is_loopback(ip);
}

static asocket_ip asocket__ip_widen(const asocket_ip *ip, uint8_t fill)
{
    asocket_ip wide;

    memset(&wide, 0, sizeof wide);
    if (!ip || ip->family != 4)
        return ip ? *ip : wide;
    wide.family = 6;
    wide.bytes[10] = wide.bytes[11] = fill;
    memcpy(wide.bytes + 12, ip->bytes, 4);
    return wide;
}

asocket_ip asocket_ip_to_mapped(const asocket_ip *ip)
{
    return asocket__ip_widen(ip, 0xff);
}

asocket_ip asocket_ip_to_compatible(const asocket_ip *ip)
{
    return asocket__ip_widen(ip, 0);
}

asocket_address asocket_address_of(asocket_ip ip, uint16_t port)
{
    asocket_address address = {ip, port, 0, {0}};

    return address;
}

static bool asocket__address_read(asocket_address *address, const char *text)
{
    bool bracket = *text == '[';
    uint32_t port = 0;

    text = asocket__ip_read(text + bracket, &address->ip);
    if (!text || bracket != (address->ip.family == 6) || (bracket && *text++ != ']') ||
        *text++ != ':')
        return false;
    text = asocket__number_read(text, 10, 65535, &port);
    address->port = (uint16_t)port;
    return text && !*text;
}

int asocket_address_parse(asocket_address *address, const char *text)
{
    if (!address)
        return ASOCKET_EINVAL;
    memset(address, 0, sizeof *address);
    if (text && (strncmp(text, "unix:", 5) ? asocket__address_read(address, text)
                                           : !asocket__path_parse(address, text + 5)))
        return ASOCKET_OK;
    memset(address, 0, sizeof *address);
    return ASOCKET_EINVAL;
}

int asocket_address_format(const asocket_address *address, char *buffer, size_t size)
{
    asocket__writer writer = {buffer, size, 0};
    bool valid = address && buffer &&
                 (address->path_length ? address->path_length <= sizeof address->path
                                       : asocket__ip_is_valid(&address->ip));

    if (valid)
        asocket__put_address(&writer, address);
    return asocket__put_end(&writer, valid);
}

bool asocket_address_equal(const asocket_address *a, const asocket_address *b)
{
    return a && b && asocket__address_same(a, b);
}

int asocket_address_to_native(const asocket_address *address, void *native, size_t capacity)
{
    asocket__endpoint endpoint;
    asocket__native made;
    int size;

    if (!address || !native)
        return ASOCKET_EINVAL;
    size = asocket__endpoint_of(address, &endpoint);
    if (!size)
        size = (int)asocket__native_of(&endpoint, &made);
    if (size < 0)
        return size;
    if ((size_t)size > capacity)
        return ASOCKET_EMSGSIZE;
    memcpy(native, &made, (size_t)size);
    return size;
}

int asocket_address_from_native(asocket_address *address, const void *native, size_t size)
{
    asocket__native copy;

    if (!address)
        return ASOCKET_EINVAL;
    memset(address, 0, sizeof *address);
    memset(&copy, 0, sizeof copy);
    if (!native || size > sizeof copy)
        return ASOCKET_EINVAL;
    memcpy(&copy, native, size);
    return asocket__address_native(address, &copy, size);
}

// Selector

static int asocket__selector_check(const asocket_selector_options *options)
{
    if (options->backend < ASOCKET_BACKEND_DEFAULT || options->backend > ASOCKET_BACKEND_URING)
        return ASOCKET_EINVAL;
    if (!asocket__backend_of(options->backend))
        return ASOCKET_ENOTSUP;
    if (options->channel_capacity > ASOCKET__SIZE_MOST ||
        options->stack_size > ASOCKET__SIZE_MOST || options->close_timeout < 0 ||
        options->close_timeout > ASOCKET__CLOSE_MOST)
        return ASOCKET_EINVAL;
    return 0;
}

static size_t asocket__round_to(size_t size, size_t page)
{
    return (size + page - 1) & ~(page - 1);
}

static size_t asocket__stack_bytes(size_t wanted, size_t page)
{
    size_t size = wanted ? wanted : (size_t)ASOCKET__STACK_SIZE;

    if (size < ASOCKET__STACK_MINIMUM)
        size = ASOCKET__STACK_MINIMUM;
    if (ASOCKET__ASAN || ASOCKET__TSAN)
        size *= 4; // instrumented frames are that much larger
    return asocket__round_to(size, page);
}

#if ASOCKET__EMBEDDED
#define asocket__page_size() (4096L)
#elif ASOCKET__WINDOWS
static long asocket__page_size(void)
{
    SYSTEM_INFO info;

    GetSystemInfo(&info);
    return (long)info.dwPageSize;
}
#else
static long asocket__page_size(void)
{
    return ASOCKET_SYS(sysconf)(_SC_PAGESIZE);
}
#endif

#if ASOCKET__SWITCH == ASOCKET__SWITCH_FIBERS
// The stack is the fiber's, with its own guard; ours is one page, for the task.
static void asocket__stack_layout(asocket_selector *selector, size_t size)
{
    selector->windows.fiber_size = size;
    selector->guard_size = 0;
    selector->stack_size = selector->page_size;
}
#else
static void asocket__stack_layout(asocket_selector *selector, size_t size)
{
    selector->guard_size = asocket__round_to(ASOCKET__GUARD_SIZE, selector->page_size);
    selector->stack_size = size + selector->guard_size;
}
#endif

// Where in a selector.
static const uint16_t asocket__lists[] = {
    offsetof(asocket_selector, ready),        offsetof(asocket_selector, closed_sockets),
    offsetof(asocket_selector, free_sockets), offsetof(asocket_selector, open_slabs),
    offsetof(asocket_selector, idle_slabs),   offsetof(asocket_selector, lingering),
    offsetof(asocket_selector, starved),      offsetof(asocket_selector, foreign),
    offsetof(asocket_selector, lookups),      offsetof(asocket_selector, pipes),
    offsetof(asocket_selector, dead_pipes),
};

static void asocket__selector_init(asocket_selector *selector,
                                   const asocket_selector_options *options)
{
    long page = asocket__page_size();
    size_t i;

    selector->allocator = options->allocator;
    selector->backend = asocket__backend_of(options->backend);
    selector->page_size = page > 0 ? (size_t)page : 4096;
    asocket__stack_layout(selector, asocket__stack_bytes(options->stack_size, selector->page_size));
    selector->channel_capacity = options->channel_capacity ? (uint32_t)options->channel_capacity
                                                           : (uint32_t)ASOCKET__CAPACITY;
    selector->starved_pause = ASOCKET__PAUSE_FIRST;
    selector->close_timeout =
        options->close_timeout ? options->close_timeout : (int64_t)ASOCKET__CLOSE_TIMEOUT;
    for (i = 0; i < sizeof asocket__lists / sizeof *asocket__lists; i++)
        asocket__list_init((asocket__link *)(void *)((char *)selector + asocket__lists[i]));
    asocket__birth_mark(selector);
    selector->self = selector->outside = &selector->root;
    asocket__task_init(selector, &selector->root);
    selector->root.outside = 1;
    asocket__task_init(selector, &selector->ends);
    asocket__own(selector);
}

static int asocket__selector_start(asocket_selector *selector)
{
    int status;

    if (!asocket__now())
        return ASOCKET_ENOTSUP; // no clock
    if (asocket__timer_room(selector))
        return ASOCKET_ENOMEM;
    status = selector->backend->open(selector);
    if (status == ASOCKET_EINVAL || status == ASOCKET_EADDRNOTAVAIL)
        status = ASOCKET_EIO; // of eventfd and the like: not the caller's fault
    return status;
}

// What the first steps of opening made.
static void asocket__selector_release(asocket_selector *selector)
{
    asocket__birth_unmark(selector);
    asocket__release(selector, selector->heap.entries,
                     selector->heap.capacity * sizeof *selector->heap.entries);
    asocket__release(selector, selector, sizeof *selector);
}

int asocket_selector_open(const asocket_selector_options *options, asocket_selector **made)
{
    asocket_selector_options defaults;
    asocket_selector *selector;
    int status;

    if (!made)
        return ASOCKET_EINVAL;
    *made = NULL;
    memset(&defaults, 0, sizeof defaults);
    if (!options)
        options = &defaults;
    status = asocket__selector_check(options);
    if (status)
        return status;
    selector = (asocket_selector *)asocket__obtain(&options->allocator, sizeof *selector);
    if (!selector)
        return ASOCKET_ENOMEM;
    asocket__selector_init(selector, options);
    status = asocket__selector_start(selector);
    if (status)
        asocket__selector_release(selector);
    else
        *made = selector;
    return status;
}

asocket_selector *asocket_selector_create(const asocket_selector_options *options)
{
    asocket_selector *selector;

    return asocket_selector_open(options, &selector) ? NULL : selector;
}

// Runs the loop until `until` or until `done` says so.
static void asocket__run_until(asocket_selector *selector, int64_t until,
                               bool (*done)(const asocket_selector *selector))
{
    while (!done(selector)) {
        int64_t left = until - asocket__now();

        if (left <= 0)
            return;
        (void)asocket__stop_taken(selector);
        asocket__turn(selector, left);
    }
}

static bool asocket__coroutines_ended(const asocket_selector *selector)
{
    return !selector->statistics.coroutines && !selector->late && !ASOCKET__LOAD(&selector->posts);
}

static bool asocket__lingering_ended(const asocket_selector *selector)
{
    return asocket__list_empty(&selector->lingering);
}

static bool asocket__flushing_ended(const asocket_selector *selector)
{
    const asocket__link *link;

    for (link = selector->lingering.next; link != &selector->lingering; link = link->next)
        if (ASOCKET__OF(asocket, link, link)->state == ASOCKET__FLUSHING)
            return false;
    return true;
}

static void asocket__sockets_close(asocket_selector *selector)
{
    uint32_t i;

    for (i = 0; i < selector->socket_count; i++) {
        asocket *socket = asocket__socket_at(selector, i);

        if (socket->state == ASOCKET__OPEN && socket->kind != ASOCKET__FOREIGN && !socket->upper)
            asocket__socket_close(socket);
    }
}

static void asocket__pipes_free(asocket_selector *selector, asocket__link *list)
{
    while (!asocket__list_empty(list)) {
        asocket__pipe *pipe = ASOCKET__OF(asocket__pipe, link, list->next);

        asocket__ring_detach(selector, &pipe->ring, pipe->in.capacity);
        asocket__ring_detach(selector, &pipe->out.own, pipe->in.capacity);
        asocket__list_remove(&pipe->link);
        asocket__release(selector, pipe, sizeof *pipe);
    }
}

// All that was posted by now, and no more after, comes to its end by a call of `end`.
static void asocket__posts_end(asocket_selector *selector,
                               void (*end)(asocket_selector *selector, const asocket__post *post))
{
    asocket__posts_take(selector);
    while (selector->late)
        asocket__post_end(selector, end);
}

static void asocket__post_drop(asocket_selector *selector, const asocket__post *post)
{
    if (post->drop)
        post->drop(selector, post->argument);
}

static void asocket__selector_free(asocket_selector *selector)
{
    uint32_t i;

    asocket__pipes_free(selector, &selector->pipes);
    asocket__pipes_free(selector, &selector->dead_pipes);
    asocket__posts_end(selector, asocket__post_drop);
    asocket__stacks_free(selector);
    asocket__buffers_free(selector);
    asocket__release(selector, selector->batch, sizeof *selector->batch);
    while (selector->attachments) {
        asocket__attachment *attachment = selector->attachments;

        selector->attachments = attachment->next;
        attachment->release(attachment->value);
        asocket__release(selector, attachment, sizeof *attachment);
    }
    for (i = 0; i < selector->socket_count; i++)
        asocket__release(selector, asocket__socket_at(selector, i)->names, sizeof(asocket__names));
    for (i = 0; i < selector->chunk_count; i++)
        asocket__release(selector, selector->chunks[i], ASOCKET__CHUNK * sizeof **selector->chunks);
    asocket__release(selector, selector->chunks,
                     selector->chunk_capacity * sizeof *selector->chunks);
    selector->backend->shut(selector);
    asocket__selector_release(selector);
}

// The caller may run the loop: nobody else does, and it is no coroutine.
static int asocket__loop_enter(asocket_selector *selector, const char *operation)
{
    int status = asocket__enter(selector);

    if (status)
        return status;
    if (selector->self != selector->outside)
        return asocket__refuse(selector, operation, "called inside a coroutine");
    selector->turning++;
    return 0;
}

// What did not end in time. A layer's transport gets rid of its state.
static void asocket__close_at_last(asocket *socket)
{
    if (!socket->lower) {
        asocket__close_expire(socket);
        return;
    }
    socket->transport->cancel(socket->layer_state, socket->lower);
    asocket__layer_release(socket);
    asocket__socket_abort(socket->lower);
    asocket__close_finish(socket);
}

// In a forked child: descriptors are closed, nothing else is touched that the parent still uses.
// Memory stays where the caller stands on it: on a coroutine's stack, or on a loop that goes on.
static void asocket__selector_orphan(asocket_selector *selector)
{
    uint32_t i;

    for (i = 0; i < selector->socket_count; i++) {
        asocket *socket = asocket__socket_at(selector, i);

        asocket__socket_empty(socket);
        asocket__notices_free(socket);
        if (socket->kind != ASOCKET__FOREIGN && socket->handle != ASOCKET__NO_HANDLE)
            (void)ASOCKET_SYS(close)(socket->handle);
        socket->handle = ASOCKET__NO_HANDLE;
    }
    if (selector->turning || selector->self != selector->outside)
        return;
    asocket__lookups_forget(selector);
    asocket__selector_free(selector);
}

void asocket_selector_destroy(asocket_selector *selector)
{
    int64_t start, until;

    if (selector && !asocket__alive(selector)) {
        asocket__selector_orphan(selector);
        return;
    }
    if (!selector || asocket__loop_enter(selector, "selector_destroy"))
        return;
    if (selector->turning > 1) {
        selector->turning--;
        (void)asocket__refuse(selector, "selector_destroy", "called by its own loop");
        return;
    }
    start = asocket__now();
    until = asocket__later(start, selector->close_timeout);
    selector->destroying = 1;
    asocket__cancel(&selector->root);
    asocket__cancel(&selector->ends);
    asocket__run_until(selector, until, asocket__coroutines_ended);
    // When the time is over, those that are coroutines already come before the last posts.
    asocket__resume_ready(selector, UINT32_MAX);
    asocket__posts_end(selector, asocket__post_call);
    asocket__sockets_close(selector);
    asocket__run_until(selector, until, asocket__flushing_ended);
    start = asocket__later(start, ASOCKET__DESTROY_DRAIN);
    asocket__run_until(selector, start < until ? start : until, asocket__lingering_ended);
    while (!asocket__list_empty(&selector->lingering))
        asocket__close_at_last(ASOCKET__OF(asocket, link, selector->lingering.next));
    asocket__lookups_abandon(selector);
    asocket__selector_free(selector);
}

int asocket_run(asocket_selector *selector)
{
    int status = asocket__loop_enter(selector, "run");
    bool stopped;

    if (status)
        return status;
    // A stop by the last coroutine ends this run, not what is waited for next.
    while (!(stopped = asocket__stop_taken(selector)) && !asocket__coroutines_ended(selector))
        asocket__turn(selector, -1);
    selector->turning--;
    if (stopped)
        status = asocket__fail(selector, ASOCKET_ECANCELED, "run", "asocket_stop was called");
    return status;
}

int asocket_poll(asocket_selector *selector, int64_t timeout)
{
    uint32_t before;
    int status;

    status = asocket__loop_enter(selector, "poll");
    if (status)
        return status;
    before = selector->resumed;
    if (timeout < ASOCKET_NO_WAIT)
        status = asocket__refuse(selector, "poll", "the time-out is negative");
    else if (asocket__stop_taken(selector))
        status = asocket__fail(selector, ASOCKET_ECANCELED, "poll", "asocket_stop was called");
    else // ASOCKET_FOREVER remains below 0
        asocket__turn(selector, timeout == ASOCKET_NO_WAIT ? 0 : asocket__later(0, timeout));
    selector->turning--;
    return status ? status : (int)(selector->resumed - before);
}

int64_t asocket_next_timeout(const asocket_selector *selector)
{
    if (!selector)
        return ASOCKET_EINVAL;
    return asocket__round_up(asocket__idle_time((asocket_selector *)(uintptr_t)selector, -1));
}

asocket_handle asocket_selector_handle(const asocket_selector *selector)
{
    return selector ? selector->backend->handle(selector) : ASOCKET__NO_HANDLE;
}

void asocket_stop(asocket_selector *selector)
{
    if (!selector || !asocket__alive(selector)) // the wake-up would be the parent's
        return;
    ASOCKET__STORE(&selector->stopped, 1);
    asocket__notify(selector);
}

int asocket_post(asocket_selector *selector, asocket_function *function, void *argument)
{
    if (!selector || !function)
        return ASOCKET_EINVAL;
    if (!asocket__alive(selector))
        return asocket__enter(selector); // says why not
    return asocket__post_push(selector, function, NULL, argument);
}

int asocket_stats(const asocket_selector *selector, asocket_statistics *statistics)
{
    if (!selector)
        return ASOCKET_EINVAL;
    if (!statistics)
        return asocket__refuse((asocket_selector *)(uintptr_t)selector, "stats",
                               "no place to store");
    *statistics = selector->statistics;
    return ASOCKET_OK;
}

// Coroutines

#if ASOCKET__COROUTINES

asocket_job asocket_launch(asocket_selector *selector, asocket_function *function, void *argument)
{
    asocket__task *task;

    if (!asocket__here(selector))
        return 0;
    task = function ? asocket__launch(selector, asocket__self(selector), function, argument) : NULL;
    if (task)
        return asocket__job_of(selector, task);
    (void)asocket__fail(selector, function ? ASOCKET_ENOMEM : ASOCKET_EINVAL, "launch",
                        function ? NULL : "no function");
    return 0;
}

asocket_job asocket_launch_socket(asocket_selector *selector, asocket_function *function,
                                  asocket *socket)
{
    asocket__task *task = NULL;
    int status = ASOCKET_ENOMEM;
    bool ours;

    if (!asocket__here(selector))
        return 0;
    ours = socket && socket->selector == selector && !socket->launcher && !socket->upper;
    if (!ours || !function)
        status = ASOCKET_EINVAL;
    else if (socket->state != ASOCKET__OPEN)
        status = ASOCKET_ECLOSED;
    else
        task = asocket__launch(selector, asocket__self(selector), function, socket);
    if (task) {
        task->socket = socket;
        socket->launcher = task;
        return asocket__job_of(selector, task);
    }
    if (ours)
        asocket__socket_close(socket);
    (void)asocket__fail(selector, status, "launch_socket",
                        status == ASOCKET_EINVAL ? "no function, or no socket of this selector"
                                                 : NULL);
    return 0;
}

asocket_job asocket_current(const asocket_selector *selector)
{
    return selector && selector->self != selector->outside
               ? asocket__job_of(selector, selector->self)
               : 0;
}

// Waits for children, a wake-up at a time: for one (its joiners), or for all (NULL). A cancel of
// the caller has reached them, too: they end soon, and until then may use what lies on its stack.
// The deadline still counts.
static int asocket__join_wait(asocket_selector *selector, asocket__link *joiners)
{
    asocket__task *self = asocket__self(selector);
    uint8_t cancelled = self->cancelled;
    int status;

    self->cancelled = 0;
    status = asocket__wait_in(selector, joiners, ASOCKET_FOREVER);
    if (self->cancelled) // meanwhile
        status = 0;
    self->cancelled |= cancelled;
    return status;
}

static ASOCKET__NOINLINE int asocket__join_end(asocket_selector *selector, const char *operation,
                                               int status)
{
    if (!status && asocket__self(selector)->cancelled)
        status = ASOCKET_ECANCELED;
    return status ? asocket__fail(selector, status, operation, NULL) : ASOCKET_OK;
}

int asocket_join(asocket_selector *selector, asocket_job job)
{
    asocket__task *task;
    int status = asocket__enter(selector);

    if (status)
        return status;
    task = asocket__task_of(selector, job);
    if (!task)
        return ASOCKET_OK;
    if (task == selector->self)
        return asocket__refuse(selector, "join", "a coroutine cannot join itself");
    if (task->parent != asocket__self(selector))
        status = asocket__wait_in(selector, &task->joiners, ASOCKET_FOREVER);
    else
        while (!status && asocket__task_of(selector, job))
            status = asocket__join_wait(selector, &task->joiners);
    return asocket__join_end(selector, "join", status);
}

int asocket_join_all(asocket_selector *selector)
{
    asocket__task *self;
    int status = asocket__enter(selector);

    if (status)
        return status;
    self = asocket__self(selector);
    if (asocket__list_empty(&self->children))
        return ASOCKET_OK;
    self->joining = 1;
    while (!status && !asocket__list_empty(&self->children))
        status = asocket__join_wait(selector, NULL);
    self->joining = 0;
    return asocket__join_end(selector, "join_all", status);
}

int asocket_cancel(asocket_selector *selector, asocket_job job)
{
    int status = asocket__enter(selector);
    asocket__task *task = status ? NULL : asocket__task_of(selector, job);

    if (task)
        asocket__cancel(task);
    return status;
}

int asocket_cancel_all(asocket_selector *selector)
{
    asocket__task *self;
    asocket__link *link;
    int status = asocket__enter(selector);

    if (status)
        return status;
    self = asocket__self(selector);
    for (link = self->children.next; link != &self->children; link = link->next)
        asocket__cancel(ASOCKET__OF(asocket__task, sibling, link));
    return ASOCKET_OK;
}

#endif

int asocket_sleep_ns(asocket_selector *selector, int64_t nanoseconds)
{
    int64_t until;
    int status = asocket__enter(selector);

    if (status)
        return status;
    if (nanoseconds < ASOCKET_FOREVER)
        return asocket__refuse(selector, "sleep", "the time is negative");
    status = asocket__wait_begin(selector, ASOCKET_FOREVER, &until);
    if (!status) {
        int64_t now = asocket__now();
        bool forever = (uint64_t)nanoseconds > (uint64_t)(ASOCKET_NEVER - now); // -1, too
        int64_t end = forever ? ASOCKET_NEVER : now + nanoseconds;

        status = asocket__park(selector, asocket__self(selector), end < until ? end : until);
        if (status == ASOCKET_ETIMEDOUT && end < until)
            return ASOCKET_OK;
    }
    return asocket__fail(selector, status, "sleep", NULL);
}

int asocket_sleep(asocket_selector *selector, int64_t ms)
{
    return asocket_sleep_ns(selector, ms < 0 ? ms : asocket__later(0, ms));
}

int asocket_yield(asocket_selector *selector)
{
    asocket__task *self;

    if (!selector || !ASOCKET__HERE(selector))
        return ASOCKET_EINVAL;
    self = asocket__self(selector);
    asocket__step_aside(selector, self);
    return self->cancelled ? asocket__fail(selector, ASOCKET_ECANCELED, "yield", NULL) : ASOCKET_OK;
}

int64_t asocket_set_deadline(asocket_selector *selector, int64_t ms)
{
    asocket__task *self;
    int64_t former, deadline;

    if (!asocket__here(selector))
        return ASOCKET_NEVER;
    self = asocket__self(selector);
    former = self->deadline;
    if (ms == ASOCKET_FOREVER)
        return former;
    deadline = asocket__later(asocket__now(), ms < 0 ? 0 : ms);
    if (deadline < former)
        self->deadline = deadline;
    return former;
}

void asocket_restore_deadline(asocket_selector *selector, int64_t former)
{
    if (asocket__here(selector))
        asocket__self(selector)->deadline = former;
}

static int asocket__wait_foreign(asocket_selector *selector, asocket_handle handle, int events,
                                 const char **detail)
{
    asocket *foreign;
    int64_t until;
    int status;

    // First of all, for both let others run, who may wait for the same descriptor. A plain file is
    // always ready.
    asocket__self(selector)->budget--;
    asocket__breathe(selector);
    status = asocket__wait_begin(selector, ASOCKET_FOREVER, &until);
    if (status)
        return status;
    foreign = asocket__foreign_open(selector, handle);
    if (!foreign)
        return ASOCKET_ENOMEM;
    if (((events & ASOCKET_READ) && foreign->waiter[ASOCKET__READER]) ||
        ((events & ASOCKET_WRITE) && foreign->waiter[ASOCKET__WRITER])) {
        *detail = "another coroutine waits for it";
        return ASOCKET_EBUSY;
    }
    return asocket__foreign_wait(foreign, events, until);
}

int asocket_wait_handle(asocket_selector *selector, asocket_handle handle, int events)
{
    int status = asocket__enter(selector);
    const char *detail = NULL;

    if (status)
        return status;
    status = ASOCKET_EINVAL;
    // epoll refuses what is no descriptor, poll calls it ready: ask, so that both answer the same.
    if (handle == ASOCKET__NO_HANDLE || !events || (events & ~ASOCKET__BOTH)) {
        detail = "no descriptor, or events other than ASOCKET_READ, ASOCKET_WRITE";
    } else if (!asocket__handle_is_open(handle)) {
        detail = "no open descriptor";
    } else if (asocket__handle_is_known(selector, handle, 255 & ~ASOCKET__FOREIGN)) {
        status = ASOCKET_EBUSY;
        detail = "a socket of the library";
    } else {
        status = asocket__wait_foreign(selector, handle, events, &detail);
    }
    return status < 0 ? asocket__fail(selector, status, "wait_handle", detail) : status;
}

// Building

asocket_builder asocket_tcp(asocket_selector *selector)
{
    asocket_builder builder;

    memset(&builder, 0, sizeof builder);
    builder.selector = selector;
    builder.protocol = ASOCKET__TCP;
    return builder;
}

asocket_builder asocket_udp(asocket_selector *selector)
{
    asocket_builder builder = asocket_tcp(selector);

    builder.protocol = ASOCKET__UDP;
    return builder;
}

asocket_builder asocket_unix(asocket_selector *selector)
{
    asocket_builder builder = asocket_tcp(selector);

    builder.protocol = ASOCKET__UNIX;
    return builder;
}

asocket_builder asocket_unix_datagram(asocket_selector *selector)
{
    asocket_builder builder = asocket_tcp(selector);

    builder.protocol = ASOCKET__UNIX_DATAGRAM;
    return builder;
}

// The host and port that a caller gave: 0, ASOCKET_ENOTFOUND if it is a name that must be looked
// up, or a status that is noted.
static ASOCKET__NOINLINE int asocket__host_check(const asocket_builder *builder,
                                                 const char *operation, const char *host, int port,
                                                 asocket__place *place)
{
    const char *wrong = NULL;
    uint32_t number = 0; // that is no port
    int status = asocket__builder_check(builder, operation);

    if (status)
        return status;
    status = ASOCKET_EINVAL;
    if (!host)
        host = "";
    if (port < 0 || port > (builder->protocol & ASOCKET__INTERNET ? 65535 : 0)) {
        wrong = "the port is not within 0 to 65535 (Unix sockets: 0)";
        number = (uint32_t)port;
    } else if (!*host) {
        wrong = "no host";
    } else {
        status = asocket__place_of(place, builder, host, (uint16_t)port);
        if (!status || status == ASOCKET_ENOTFOUND)
            return status;
        if (status == ASOCKET_EINVAL)
            wrong = "no address (without brackets, the port apart), no name, or a path that is "
                    "empty or too long";
        else if (status == ASOCKET_EADDRNOTAVAIL)
            wrong = "no such interface";
    }
    (void)asocket__fail_text(builder->selector, status, operation, host, wrong);
    asocket__self(builder->selector)->failure.endpoint.scope = number;
    return status;
}

asocket *asocket_bind(asocket_builder builder, const char *host, int port)
{
    asocket__place place;
    asocket *server;
    bool everywhere = !host && (builder.protocol & ASOCKET__INTERNET);
    int status;

    if (everywhere)
        host = ASOCKET__EVERYWHERE;
    status = asocket__host_check(&builder, "bind", host, port, &place);
    if (status == ASOCKET_ENOTFOUND)
        (void)asocket__fail_text(builder.selector, status, "bind", host,
                                 "neither an IP address nor localhost");
    if (status)
        return NULL;
    server = asocket__listen(&builder, place.found.endpoints);
    if (server || !everywhere)
        return server;
    status = asocket_error(builder.selector);
    if (status != ASOCKET_ENOTSUP && status != ASOCKET_EADDRNOTAVAIL)
        return NULL;
    place.found.endpoints[0].family = 4; // every interface, on a system without IPv6
    return asocket__listen(&builder, place.found.endpoints);
}

// Looks up a name that asocket__host_check found, within connect_timeout: from here on it is part
// of the caller's deadline. 0, or a status that is noted.
static int asocket__place_find(asocket_builder *builder, const char *operation, const char *host,
                               int port, asocket__place *place)
{
    asocket_selector *selector = builder->selector;
    int status = ASOCKET_EAGAIN;
    uint32_t i;

    if (builder->connect_timeout > 0)
        (void)asocket_set_deadline(selector, builder->connect_timeout);
    if (builder->connect_timeout != ASOCKET_NO_WAIT)
        status = asocket__host_lookup(selector, host, &place->found);
    if (status)
        return asocket__fail_text(selector, status, operation, host, NULL);
    builder->connect_timeout = 0;
    for (i = 0; i < place->found.count; i++)
        place->found.endpoints[i].port = (uint16_t)port;
    return 0;
}

asocket *asocket_connect(asocket_builder builder, const char *host, int port)
{
    asocket__place place;
    asocket *socket = NULL;
    asocket__task *self;
    int64_t former;
    int status = asocket__host_check(&builder, "connect", host, port, &place);

    if (status && status != ASOCKET_ENOTFOUND)
        return NULL;
    self = asocket__self(builder.selector);
    former = self->deadline;
    if (status)
        status = asocket__place_find(&builder, "connect", host, port, &place);
    if (!status)
        socket = asocket__connect_endpoints(&builder, place.found.endpoints, place.found.count);
    self->deadline = former;
    if (!socket) {
        if (self->failure.endpoint.family && asocket__host_is_name(host))
            asocket__note_text(&self->failure, host, strlen(host)); // whose it was
    } else if (asocket__host_is_name(host) && asocket__host_keep(socket, host)) {
        asocket__close_unseen(socket);
        (void)asocket__fail_text(builder.selector, ASOCKET_ENOMEM, "connect", host, NULL);
        socket = NULL;
    }
    return socket;
}

int asocket_resolve(asocket_selector *selector, const char *host, int port,
                    asocket_address *addresses, size_t capacity)
{
    asocket_builder builder = asocket_tcp(selector);
    asocket__place place;
    uint32_t i;
    int status;

    status = asocket__host_check(&builder, "resolve", host, port, &place);
    if (status && status != ASOCKET_ENOTFOUND)
        return status;
    if (!addresses || !capacity)
        return asocket__refuse(selector, "resolve", "no place to store");
    if (status)
        status = asocket__place_find(&builder, "resolve", host, port, &place);
    if (status)
        return status;
    for (i = 0; i < place.found.count && i < capacity; i++)
        asocket__endpoint_address(&place.found.endpoints[i], &addresses[i]);
    return (int)i;
}

static int asocket__address_check(const asocket_builder *builder, const char *operation,
                                  const asocket_address *address, asocket__endpoint *endpoint)
{
    const char *text = "", *wrong = "no address, or not of the builder's family";
    int status = asocket__builder_check(builder, operation);

    if (status)
        return status;
    status = address ? asocket__endpoint_of(address, endpoint) : ASOCKET_EINVAL;
    if (!status &&
        (endpoint->family == ASOCKET__PATH) == ((builder->protocol & ASOCKET__INTERNET) != 0))
        status = ASOCKET_EINVAL;
    if (status == ASOCKET_EADDRNOTAVAIL) {
        text = address->ip.zone;
        wrong = "no such interface";
    }
    return status ? asocket__fail_text(builder->selector, status, operation, text, wrong) : 0;
}

asocket *asocket_bind_address(asocket_builder builder, const asocket_address *address)
{
    asocket__endpoint endpoint;

    if (asocket__address_check(&builder, "bind", address, &endpoint))
        return NULL;
    return asocket__listen(&builder, &endpoint);
}

asocket *asocket_connect_address(asocket_builder builder, const asocket_address *address)
{
    asocket__endpoint endpoint;

    if (asocket__address_check(&builder, "connect", address, &endpoint))
        return NULL;
    return asocket__connect_endpoints(&builder, &endpoint, 1);
}

asocket *asocket_connect_any(asocket_builder builder, const asocket_address *addresses,
                             size_t count)
{
    asocket__endpoint *endpoints;
    asocket *socket = NULL;
    size_t i;

    if (asocket__builder_check(&builder, "connect"))
        return NULL;
    if (!addresses || !count || count > ASOCKET__ATTEMPTS) {
        (void)asocket__refuse(builder.selector, "connect", "no addresses, or more than 1,024");
        return NULL;
    }
    endpoints = (asocket__endpoint *)asocket__allocate(builder.selector, count * sizeof *endpoints);
    if (!endpoints) {
        (void)asocket__fail(builder.selector, ASOCKET_ENOMEM, "connect", NULL);
        return NULL;
    }
    for (i = 0; i < count; i++)
        if (asocket__address_check(&builder, "connect", &addresses[i], &endpoints[i]))
            break;
    if (i == count)
        socket = asocket__connect_endpoints(&builder, endpoints, (uint32_t)count);
    asocket__release(builder.selector, endpoints, count * sizeof *endpoints);
    return socket;
}

// What a foreign descriptor is, if it is what the builder is for: a kind of ours, or a status.
static int asocket__adopt_kind(const asocket_builder *builder, asocket_handle handle, int *domain)
{
    bool datagrams = asocket__builder_datagrams(builder);
    bool internet = (builder->protocol & ASOCKET__INTERNET) != 0;
    asocket__native name;
    int type, listening;

    if (asocket__option_read(handle, SOL_SOCKET, SO_TYPE, &type) ||
        asocket__handle_name(handle, false, &name) < 0)
        return asocket__last_status();
    *domain = name.any.sa_family;
    if (type != (datagrams ? SOCK_DGRAM : SOCK_STREAM) ||
        (internet ? *domain != AF_INET && *domain != AF_INET6 : *domain != AF_UNIX))
        return ASOCKET_EINVAL;
    if (datagrams)
        return ASOCKET__DATAGRAM;
    if (asocket__option_read(handle, SOL_SOCKET, SO_ACCEPTCONN, &listening))
        return asocket__last_status();
    if (listening)
        return ASOCKET__LISTENER;
    if (asocket__handle_name(handle, true, &name) < 0)
        return ASOCKET_EINVAL;
    return ASOCKET__STREAM;
}

static int asocket__adopt_options(const asocket_builder *builder, asocket_handle handle, int domain)
{
    int status = asocket__builder_apply(builder, handle, domain, 0, "adopt");

    if (status)
        return status;
    status = asocket__handle_prepare(handle);
    return status ? asocket__fail(builder->selector, status, "adopt", NULL) : 0;
}

static ASOCKET__NOINLINE asocket *asocket__adopt(const asocket_builder *builder,
                                                 asocket_handle handle)
{
    asocket_selector *selector = builder->selector;
    asocket__native peer;
    asocket *socket;
    int domain = AF_UNSPEC, kind = asocket__adopt_kind(builder, handle, &domain), size;

    if (kind < 0) {
        (void)asocket__fail(selector, kind, "adopt",
                            "the descriptor is no socket of the builder's kind");
        return NULL;
    }
    if (asocket__handle_is_known(selector, handle, 255)) {
        (void)asocket__fail(selector, ASOCKET_EBUSY, "adopt",
                            "a socket of the library, or waited for");
        return NULL;
    }
    socket = asocket__socket_new(selector);
    if (!socket) {
        (void)asocket__fail(selector, ASOCKET_ENOMEM, "adopt", NULL);
        return NULL;
    }
    if (asocket__adopt_options(builder, handle, domain)) {
        asocket__socket_unused(socket);
        return NULL;
    }
    asocket__builder_open(builder, socket, handle, kind, domain);
    (void)asocket__local_learn(socket);
    size = kind == ASOCKET__LISTENER ? -1 : asocket__handle_name(handle, true, &peer);
    if ((size < 0 || !asocket__socket_keep(socket, true, &peer, (size_t)size)) &&
        !asocket__joined_adopt(socket))
        return socket;
    asocket__socket_leave(socket);
    (void)asocket__fail(selector, ASOCKET_ENOMEM, "adopt", NULL);
    return NULL;
}

asocket *asocket_adopt(asocket_builder builder, asocket_handle handle)
{
    return asocket__builder_check(&builder, "adopt") ? NULL : asocket__adopt(&builder, handle);
}

// Sockets

static const char *asocket__kind_name(const asocket *socket)
{
    return socket->kind == ASOCKET__LISTENER   ? "not for a listener"
           : socket->kind == ASOCKET__DATAGRAM ? "not for a datagram socket"
                                               : "not for a connection";
}

static ASOCKET__NOINLINE int asocket__socket_fail(const asocket *socket, int status,
                                                  const char *operation)
{
    return asocket__fail_at(socket->selector, status, 0, operation, &socket->remote);
}

// What every call on an open socket begins with; `kinds` are those it is for.
static int asocket__socket_check(const asocket *socket, int kinds, const char *operation)
{
    if (!socket || !asocket__here(socket->selector))
        return ASOCKET_EINVAL;
    ASOCKET_ASSERT(socket->state != ASOCKET__FREE && "a handle that was closed long ago");
    if (socket->state != ASOCKET__OPEN)
        return asocket__socket_fail(socket, ASOCKET_ECLOSED, operation);
    if (!(socket->kind & kinds))
        return asocket__refuse(socket->selector, operation, asocket__kind_name(socket));
    return 0;
}

asocket *asocket_accept(asocket *server)
{
    asocket *socket;
    int status = asocket__socket_check(server, ASOCKET__LISTENER, "accept");

    if (status)
        return NULL;
    if (server->in.task) {
        (void)asocket__fail(server->selector, ASOCKET_EBUSY, "accept",
                            "another coroutine is accepting");
        return NULL;
    }
    server->in.task = asocket__self(server->selector);
    server->pins++; // its memory is not used again meanwhile
    socket = asocket__accept_wait(server, &status);
    server->pins--;
    server->in.task = NULL;
    if (!socket)
        (void)asocket__fail_at(server->selector, status, 0, "accept", &server->local);
    return socket;
}

#if ASOCKET__COROUTINES

int asocket_serve(asocket *server, asocket_function *function)
{
    if (!server)
        return ASOCKET_EINVAL;
    if (!function)
        return asocket__refuse(server->selector, "serve", "no function");
    for (;;) {
        asocket *client = asocket_accept(server);

        if (!client)
            return asocket_error(server->selector);
        (void)asocket_launch_socket(server->selector, function, client);
    }
}

#endif

int asocket_close(asocket *socket)
{
    if (!socket || !asocket__here(socket->selector))
        return ASOCKET_EINVAL;
    asocket__socket_close(socket);
    asocket__layers_end_now(socket);
    return ASOCKET_OK;
}

int asocket_abort(asocket *socket)
{
    if (!socket || !asocket__here(socket->selector))
        return ASOCKET_EINVAL;
    if (socket->state >= ASOCKET__CLOSED)
        return asocket__socket_fail(socket, ASOCKET_ECLOSED, "abort");
    asocket__socket_abort(socket);
    asocket__layers_end_now(socket);
    return ASOCKET_OK;
}

bool asocket_is_closed(const asocket *socket)
{
    return !socket || socket->state != ASOCKET__OPEN;
}

int asocket_await_closed(asocket *socket)
{
    int status = 0;

    if (!socket || !asocket__here(socket->selector))
        return ASOCKET_EINVAL;
    socket->pins++;
    while (!status && socket->state < ASOCKET__CLOSED)
        status = asocket__wait_in(socket->selector, &socket->closers, ASOCKET_FOREVER);
    socket->pins--;
    return status ? asocket__fail(socket->selector, status, "await_closed", NULL) : ASOCKET_OK;
}

int asocket_local_address(const asocket *socket, asocket_address *address)
{
    int status = 0;

    if (address)
        memset(address, 0, sizeof *address);
    if (!socket)
        return ASOCKET_EINVAL;
    if (!address)
        return asocket__refuse(socket->selector, "local_address", "no place to store");
    if (socket->state < ASOCKET__CLOSED)
        status = asocket__local_learn((asocket *)(uintptr_t)socket);
    if (!status && !socket->local.family)
        status = ASOCKET_EINVAL;
    if (status)
        return asocket__fail(socket->selector, status, "local_address", NULL);
    asocket__endpoint_address(&socket->local, address);
    return ASOCKET_OK;
}

int asocket_remote_address(const asocket *socket, asocket_address *address)
{
    if (address)
        memset(address, 0, sizeof *address);
    if (!socket)
        return ASOCKET_EINVAL;
    if (!address)
        return asocket__refuse(socket->selector, "remote_address", "no place to store");
    if (!socket->remote.family && socket->kind != ASOCKET__STREAM)
        return asocket__refuse(socket->selector, "remote_address",
                               socket->kind == ASOCKET__LISTENER ? asocket__kind_name(socket)
                                                                 : "the socket is not connected");
    asocket__endpoint_address(&socket->remote, address);
    return ASOCKET_OK;
}

static int asocket__protocol_of(int domain, bool datagrams)
{
    return (domain == AF_UNIX ? ASOCKET__UNIX : ASOCKET__TCP) << datagrams;
}

static ASOCKET__NOINLINE int asocket__option_check(const asocket *socket, asocket_option option,
                                                   const char *operation,
                                                   const asocket__option_row **row)
{
    int status = asocket__socket_check(socket, 255, operation);

    if (status)
        return status;
    *row = asocket__option_row_of((int)option);
    socket = asocket__bottom(socket);
    if (!*row || !((*row)->protocols &
                   asocket__protocol_of(socket->domain, socket->kind == ASOCKET__DATAGRAM)))
        return asocket__refuse(socket->selector, operation,
                               "no such option, or not for this kind of socket");
    return 0;
}

int asocket_set_option(asocket *socket, asocket_option option, int value)
{
    const asocket__option_row *row;
    const char *detail = NULL;
    int status = asocket__option_check(socket, option, "set_option", &row);

    if (status)
        return status;
    if (value < 0 || value > row->most) {
        status = ASOCKET_EINVAL;
        detail = "the value is out of range";
    } else {
        status = asocket__option_set(socket->selector, asocket__bottom(socket)->handle,
                                     socket->domain, row, value);
    }
    return status ? asocket__fail_text(socket->selector, status, "set_option", row->text, detail)
                  : ASOCKET_OK;
}

int asocket_get_option(const asocket *socket, asocket_option option, int *value)
{
    const asocket__option_row *row;
    int status = asocket__option_check(socket, option, "get_option", &row), level, name;
    asocket_handle handle;

    if (status)
        return status;
    if (!value)
        return asocket__refuse(socket->selector, "get_option", "no place to store");
    *value = 0;
    handle = asocket__bottom(socket)->handle;
    if (!asocket__option_place(row, socket->domain, &level, &name) ||
        (row->form == ASOCKET__INTERFACE && socket->domain == AF_INET)) {
        status = ASOCKET_ENOTSUP;
    } else {
        asocket__option_translate(handle, row, &name, value);
        if (asocket__option_read(handle, level, name, value))
            status = asocket__last_status();
    }
    if (status)
        return asocket__fail_text(socket->selector, status, "get_option", row->text, NULL);
    asocket__option_translate(handle, row, &name, value);
    if (row->form == ASOCKET__SWITCHES)
        *value = *value != 0; // some systems answer with the flag's bit
    return ASOCKET_OK;
}

asocket_handle asocket_native_handle(const asocket *socket)
{
    return socket && socket->state == ASOCKET__OPEN ? asocket__bottom(socket)->handle
                                                    : ASOCKET__NO_HANDLE;
}

asocket_selector *asocket_selector_of(const asocket *socket)
{
    return socket ? socket->selector : NULL;
}

int asocket_set_timeout(asocket *socket, int64_t ms)
{
    int status = asocket__socket_check(socket, 255, "set_timeout");

    if (status)
        return status;
    if (ms < ASOCKET_NO_WAIT)
        return asocket__refuse(socket->selector, "set_timeout", "the time-out is negative");
    for (; socket; socket = socket->lower)
        socket->timeout = ms;
    return ASOCKET_OK;
}

// That a call may succeed is a guess before the first one. Who asks to be called shall not be
// called for nothing.
static void asocket__ready_learn(asocket *socket, int events)
{
    int guess = socket->ready & events;

    if (!guess || socket->handle == ASOCKET__NO_HANDLE)
        return;
    socket->selector->statistics.system_calls++;
    if (!asocket__socket_look(socket, guess))
        socket->ready = (uint8_t)(socket->ready & ~guess);
}

// A layer whose last try was in vain waits for what it stands on.
static asocket *asocket__ready_place(asocket *socket, int events)
{
    while (socket->lower && (socket->vain & events) == events &&
           !((events & ASOCKET_READ) && socket->in.own.visible))
        socket = socket->lower;
    return socket;
}

int asocket_on_ready(asocket *socket, int events, asocket_function *function, void *argument)
{
    asocket__notice *notice, **place;
    int status = asocket__socket_check(socket, 255, "on_ready");

    if (status)
        return status;
    if (!function || !events || (events & ~ASOCKET__BOTH))
        return asocket__refuse(socket->selector, "on_ready",
                               "no function, or events other than ASOCKET_READ, ASOCKET_WRITE");
    socket = asocket__ready_place(socket, events);
    asocket__ready_learn(socket, events);
    notice = (asocket__notice *)(void *)asocket__notice_take(socket->selector);
    if (!notice)
        return asocket__fail(socket->selector, ASOCKET_ENOMEM, "on_ready", NULL);
    notice->next = NULL;
    notice->function = function;
    notice->argument = argument;
    notice->events = events;
    for (place = &socket->notices; *place; place = &(*place)->next) {
    }
    *place = notice;
    asocket__socket_serve(socket); // the next turn calls it, or sees to it that it will be
    return ASOCKET_OK;
}

// Channels

static int asocket__channel_check(asocket *socket, int side, const char *operation)
{
    int status = asocket__socket_check(socket, ASOCKET__STREAM | ASOCKET__DATAGRAM | ASOCKET__LAYER,
                                       operation);

    if (status)
        return status;
    if (socket->kind == ASOCKET__DATAGRAM && !socket->remote.family)
        return asocket__refuse(socket->selector, operation, "the datagram socket is not connected");
    if (side == ASOCKET__READER ? socket->in.opened : socket->out.opened)
        return asocket__fail(socket->selector, ASOCKET_EBUSY, operation,
                             "the channel was opened, or receive_many called, before");
    return 0;
}

asocket_read_channel *asocket_open_read_channel(asocket *socket)
{
    if (asocket__channel_check(socket, ASOCKET__READER, "open_read_channel"))
        return NULL;
    socket->in.opened = ASOCKET__BY_CHANNEL;
    return &socket->in;
}

asocket_write_channel *asocket_open_write_channel(asocket *socket, int flags)
{
    if (asocket__channel_check(socket, ASOCKET__WRITER, "open_write_channel"))
        return NULL;
    if (flags & ~ASOCKET_AUTO_FLUSH) {
        (void)asocket__refuse(socket->selector, "open_write_channel",
                              "flags other than ASOCKET_AUTO_FLUSH");
        return NULL;
    }
    socket->out.opened = 1;
    socket->out.auto_flush = flags & ASOCKET_AUTO_FLUSH;
    return &socket->out;
}

int asocket_pipe(asocket_selector *selector, size_t capacity, asocket_read_channel **in,
                 asocket_write_channel **out)
{
    asocket__pipe *pipe;

    if (in)
        *in = NULL;
    if (out)
        *out = NULL;
    if (!asocket__here(selector))
        return ASOCKET_EINVAL;
    if (!in || !out || capacity > ASOCKET__SIZE_MOST)
        return asocket__refuse(selector, "pipe", "no place for an end, or too large");
    pipe = (asocket__pipe *)asocket__allocate(selector, sizeof *pipe);
    if (!pipe)
        return asocket__fail(selector, ASOCKET_ENOMEM, "pipe", NULL);
    pipe->selector = pipe->in.selector = pipe->out.selector = selector;
    pipe->in.pipe = pipe->out.pipe = pipe;
    pipe->in.ring = pipe->out.ring = &pipe->ring;
    pipe->in.capacity = pipe->out.capacity =
        capacity ? (uint32_t)capacity : selector->channel_capacity;
    asocket__list_append(&selector->pipes, &pipe->link);
    *in = &pipe->in;
    *out = &pipe->out;
    return ASOCKET_OK;
}

// Reading

static int asocket__buffer_check(asocket_read_channel *in, const void *buffer, size_t size,
                                 const char *operation)
{
    int status = asocket__in_enter(in, operation);

    if (!status && size && (!buffer || size > PTRDIFF_MAX))
        status = asocket__refuse(in->selector, operation, "no buffer, or no such size");
    return status;
}

ptrdiff_t asocket_read(asocket_read_channel *in, void *buffer, size_t size)
{
    int status = asocket__buffer_check(in, buffer, size, "read");

    if (status || !size)
        return status;
    return asocket__in_done(in, asocket__in_some(in, (char *)buffer, size), "read");
}

static int asocket__read_exactly(asocket_read_channel *in, void *buffer, size_t size,
                                 const char *operation)
{
    int status = asocket__buffer_check(in, buffer, size, operation);

    if (status)
        return status;
    return asocket__in_done(in, asocket__in_full(in, (char *)buffer, size), operation);
}

ptrdiff_t asocket_read_full(asocket_read_channel *in, void *buffer, size_t size)
{
    int status = asocket__read_exactly(in, buffer, size, "read_full");

    return status ? status : (ptrdiff_t)size;
}

static ASOCKET__NOINLINE int asocket__delimiter_check(asocket_read_channel *in,
                                                      const void *delimiter, size_t length,
                                                      const char *operation)
{
    int status = asocket__in_enter(in, operation);

    if (status)
        return status;
    if (!delimiter || !length || length > in->capacity)
        return asocket__refuse(in->selector, operation,
                               "the delimiter is empty or longer than the channel's capacity");
    return 0;
}

static ASOCKET__NOINLINE ptrdiff_t asocket__read_search(asocket_read_channel *in,
                                                        asocket__search *search, void *buffer,
                                                        size_t size, const char *operation)
{
    ptrdiff_t length = asocket__delimiter_check(in, search->delimiter, search->length, operation);

    if (length)
        return length;
    if (!buffer || !size)
        return asocket__refuse(in->selector, operation, "no buffer");
    search->buffer = (char *)buffer;
    search->buffer[0] = 0;
    search->limit = size - 1;
    search->from = 0;
    length = asocket__in_search(in, search);
    return length < 0 ? asocket__in_fail(in, (int)length, operation) : length;
}

static ASOCKET__NOINLINE ptrdiff_t asocket__line_search(asocket_read_channel *in, char *line,
                                                        size_t size)
{
    asocket__search search;

    search.delimiter = "\n";
    search.length = 1;
    search.line = true;
    return asocket__read_search(in, &search, line, size, "read_line");
}

// The first bytes of a line: 0, or why there are none.
static ASOCKET__NOINLINE int asocket__line_await(asocket_read_channel *in, char *line)
{
    int status;

    do // an empty datagram brings nothing
        status = asocket__in_more(in);
    while (!status && !in->ring->visible);
    line[0] = 0;
    in->transferred = 0;
    return asocket__in_done(in, status, "read_line");
}

// The common case comes first: the whole line lies in one piece, and fits.
ptrdiff_t asocket_read_line(asocket_read_channel *in, char *line, size_t size)
{
    const char *bytes, *end;
    asocket__ring *ring;
    size_t length, count;
    uint32_t piece;

    if (!ASOCKET__QUICK ||
        ASOCKET__UNLIKELY(!in || !line || in->status || in->task || !ASOCKET__HERE(in->selector)))
        return asocket__line_search(in, line, size);
    ring = in->ring;
    if (ASOCKET__UNLIKELY(!ring->visible)) {
        ptrdiff_t status = size ? asocket__line_await(in, line) : asocket__line_search(in, line, 0);

        if (status)
            return status;
    }
    piece = ring->capacity - ring->head;
    bytes = ring->data + ring->head;
    end = (const char *)memchr(bytes, '\n', piece < ring->visible ? piece : ring->visible);
    if (!end)
        return asocket__line_search(in, line, size);
    length = (size_t)(end - bytes);
    count = length + 1;
    if (length && end[-1] == '\r')
        length--;
    if (length >= size)
        return asocket__line_search(in, line, size);
    in->transferred = (int64_t)count;
    ring->visible -= (uint32_t)count;
    ring->size -= (uint32_t)count;
    ring->head += (uint32_t)count;
    line[length] = 0;
    memcpy(line, bytes, length);
    if (ASOCKET__UNLIKELY(!ring->visible || in->pipe))
        asocket__in_after(in);
    return (ptrdiff_t)length;
}

ptrdiff_t asocket_read_until(asocket_read_channel *in, const void *delimiter, size_t length,
                             void *buffer, size_t size)
{
    asocket__search search;

    search.delimiter = (const char *)delimiter;
    search.length = length;
    search.line = false;
    return asocket__read_search(in, &search, buffer, size, "read_until");
}

int asocket_read_byte(asocket_read_channel *in)
{
    uint8_t byte;
    int status = asocket__read_exactly(in, &byte, 1, "read_byte");

    return status ? status : byte;
}

// Numbers of `size` bytes; of -size, when the first byte counts least.
static ASOCKET__NOINLINE int asocket__read_number(asocket_read_channel *in, void *value, int size,
                                                  const char *operation)
{
    uint8_t bytes[8];
    int i, count = size < 0 ? -size : size;
    int status = asocket__read_exactly(in, value ? bytes : NULL, (size_t)count, operation);
    uint64_t number = 0;

    if (status)
        return status;
    for (i = 0; i < count; i++)
        number = number << 8 | bytes[size < 0 ? count - 1 - i : i];
    if (count == 2)
        *(uint16_t *)value = (uint16_t)number;
    else if (count == 4)
        *(uint32_t *)value = (uint32_t)number;
    else
        *(uint64_t *)value = number;
    return 0;
}

#define ASOCKET__READ_NUMBER(name, type, size)                       \
    int asocket_read_##name(asocket_read_channel *in, type *value)   \
    {                                                                \
        return asocket__read_number(in, value, size, "read_" #name); \
    }
ASOCKET__READ_NUMBER(u16be, uint16_t, 2)
ASOCKET__READ_NUMBER(u16le, uint16_t, -2)
ASOCKET__READ_NUMBER(u32be, uint32_t, 4)
ASOCKET__READ_NUMBER(u32le, uint32_t, -4)
ASOCKET__READ_NUMBER(u64be, uint64_t, 8)
ASOCKET__READ_NUMBER(u64le, uint64_t, -8)
#undef ASOCKET__READ_NUMBER

ptrdiff_t asocket_peek(asocket_read_channel *in, const char **bytes, size_t minimum)
{
    int status = asocket__in_enter(in, "peek");
    uint32_t length;
    char *at;

    if (bytes)
        *bytes = NULL;
    if (status)
        return status;
    if (!bytes)
        return asocket__refuse(in->selector, "peek", "no place to store");
    if (minimum > in->capacity)
        return asocket__fail(in->selector, ASOCKET_EMSGSIZE, "peek",
                             "more than the channel's capacity");
    if (in->ring->visible < minimum && in->ring->head + minimum > in->ring->capacity &&
        in->ring->data)
        asocket__ring_straighten(in->ring); // cheaper now than when the rest has come
    status = asocket__in_need(in, (uint32_t)minimum);
    if (status)
        return asocket__in_fail(in, status, "peek");
    if (!in->ring->visible)
        return 0;
    length = asocket__ring_piece(in->ring, 0, &at);
    if (length < minimum) {
        asocket__ring_straighten(in->ring);
        length = asocket__ring_piece(in->ring, 0, &at);
    }
    *bytes = at;
    return (ptrdiff_t)(length < in->ring->visible ? length : in->ring->visible);
}

int asocket_consume(asocket_read_channel *in, size_t count)
{
    int status = asocket__in_enter(in, "consume");

    if (status)
        return status;
    if (count > in->ring->visible)
        return asocket__refuse(in->selector, "consume", "more than there is");
    if (count)
        asocket__in_drop(in, (uint32_t)count);
    return ASOCKET_OK;
}

ptrdiff_t asocket_discard(asocket_read_channel *in, size_t count)
{
    int status = asocket__in_enter(in, "discard");
    size_t left = count;

    if (status)
        return status;
    while (left) {
        uint32_t length = left < in->ring->visible ? (uint32_t)left : in->ring->visible;

        asocket__in_drop(in, length);
        left -= length;
        status = left ? asocket__in_more(in) : 0;
        if (status == ASOCKET_EOF && left < count)
            break;
        if (status)
            return asocket__in_fail(in, status, "discard");
    }
    return (ptrdiff_t)(count - left);
}

ptrdiff_t asocket_discard_until(asocket_read_channel *in, const void *delimiter, size_t length)
{
    ptrdiff_t count = asocket__delimiter_check(in, delimiter, length, "discard_until");

    if (count)
        return count;
    count = asocket__in_skip(in, (const char *)delimiter, (uint32_t)length);
    return count < 0 ? asocket__in_fail(in, (int)count, "discard_until") : count;
}

ptrdiff_t asocket_available(const asocket_read_channel *in)
{
    if (!in || !ASOCKET__HERE(in->selector))
        return ASOCKET_EINVAL;
    if (in->status)
        return asocket__in_fail(in, in->status, "available");
    return (ptrdiff_t)in->ring->visible;
}

int64_t asocket_copy(asocket_read_channel *in, asocket_write_channel *out, int64_t limit)
{
    int status = asocket__in_enter(in, "copy");

    if (status)
        return status;
    if (!out)
        return asocket__refuse(in->selector, "copy", "no channel to write to");
    status = asocket__out_enter(out, "copy");
    if (status)
        return status;
    if (limit < ASOCKET_FOREVER || in->selector != out->selector)
        return asocket__refuse(in->selector, "copy",
                               "the limit is negative, or the channels are of two selectors");
    status = asocket__copy(in, out, limit);
    return status ? asocket__in_fail(in, status, "copy") : in->transferred;
}

int64_t asocket_transferred(const asocket_read_channel *in)
{
    return in ? in->transferred : (int64_t)ASOCKET_EINVAL;
}

int64_t asocket_written(const asocket_write_channel *out)
{
    return out ? out->written : (int64_t)ASOCKET_EINVAL;
}

int asocket_cancel_read(asocket_read_channel *in)
{
    if (!in || !ASOCKET__HERE(in->selector))
        return ASOCKET_EINVAL;
    if (in->status)
        return in->status == ASOCKET_ECANCELED ? ASOCKET_OK
                                               : asocket__in_fail(in, in->status, "cancel_read");
    in->status = ASOCKET_ECANCELED;
    asocket__in_forget(in);
    asocket__wake_any(in->task, ASOCKET_ECANCELED);
    if (!in->pipe)
        return ASOCKET_OK;
    if (!in->pipe->out.status)
        in->pipe->out.status = ASOCKET_ECANCELED;
    asocket__wake_any(in->pipe->out.task, ASOCKET_ECANCELED);
    asocket__pipe_done(in->pipe, ASOCKET_READ);
    return ASOCKET_OK;
}

// Writing

static ASOCKET__NOINLINE ptrdiff_t asocket__write_all(asocket_write_channel *out, const void *bytes,
                                                      size_t size)
{
    int status = asocket__out_enter(out, "write");

    if (status || !size)
        return status;
    if (!bytes || size > PTRDIFF_MAX)
        return asocket__refuse(out->selector, "write", "no bytes");
    status = asocket__out_write(out, bytes, size);
    return status ? asocket__out_fail(out, status, "write") : (ptrdiff_t)size;
}

// The common case first: there is room behind what is there, and that will leave anyway.
ptrdiff_t asocket_write(asocket_write_channel *out, const void *bytes, size_t size)
{
    if (ASOCKET__QUICK && ASOCKET__LIKELY(out && bytes && ASOCKET__HERE(out->selector))) {
        asocket__ring *ring = out->ring;
        uint32_t at = ring->head + ring->size;

        if (ASOCKET__LIKELY(at < ring->capacity && size <= ring->capacity - at && !out->status &&
                            !out->task && out->auto_flush == out->dirty)) {
            char *space = ring->data + at;

            ring->size += (uint32_t)size;
            out->written = (int64_t)size;
            out->reserved = 0;
            memcpy(space, bytes, size);
            return (ptrdiff_t)size;
        }
    }
    return asocket__write_all(out, bytes, size);
}

ptrdiff_t asocket_write_string(asocket_write_channel *out, const char *text)
{
    return asocket_write(out, text, text ? strlen(text) : 1);
}

// Text longer than what is free in one piece: formatted once more, into memory of its own.
static int asocket__print_long(asocket_write_channel *out, const char *format, va_list arguments,
                               size_t length)
{
    char *text = asocket__block(out->selector, length + 1);
    int status;

    if (!text)
        return ASOCKET_ENOMEM;
    (void)vsnprintf(text, length + 1, format, arguments);
    status = asocket__out_write(out, text, length);
    asocket__release(out->selector, text, length + 1);
    return status;
}

ptrdiff_t asocket_vprintf(asocket_write_channel *out, const char *format, va_list arguments)
{
    int status = asocket__out_enter(out, "printf"), length;
    va_list again;
    char *space;
    uint32_t room;

    if (status)
        return status;
    if (!format)
        return asocket__refuse(out->selector, "printf", "no format");
    if (asocket__out_attach(out))
        return asocket__out_fail(out, ASOCKET_ENOMEM, "printf");
    room = asocket__ring_space(out->ring, &space);
    va_copy(again, arguments);
    length = vsnprintf(space, room, format, arguments);
    if (length >= (int)room) {
        status = asocket__print_long(out, format, again, (size_t)length);
    } else if (length > 0) {
        asocket__ring_extend(out->ring, (uint32_t)length);
        out->written = length;
        status = asocket__out_touch(out, (uint32_t)length);
    }
    va_end(again);
    asocket__out_tidy(out);
    if (length < 0)
        return asocket__refuse(out->selector, "printf", "the format failed");
    return status ? asocket__out_fail(out, status, "printf") : length;
}

ptrdiff_t asocket_printf(asocket_write_channel *out, const char *format, ...)
{
    va_list arguments;
    ptrdiff_t length;

    va_start(arguments, format);
    length = asocket_vprintf(out, format, arguments);
    va_end(arguments);
    return length;
}

static int asocket__write_exactly(asocket_write_channel *out, const void *bytes, size_t size,
                                  const char *operation)
{
    int status = asocket__out_enter(out, operation);

    if (status)
        return status;
    return asocket__out_done(out, asocket__out_write(out, bytes, size), operation);
}

int asocket_write_byte(asocket_write_channel *out, uint8_t value)
{
    return asocket__write_exactly(out, &value, 1, "write_byte");
}

static ASOCKET__NOINLINE int asocket__write_number(asocket_write_channel *out, uint64_t value,
                                                   int size, const char *operation)
{
    uint8_t bytes[8];
    int i, count = size < 0 ? -size : size;

    for (i = 0; i < count; i++, value >>= 8)
        bytes[size < 0 ? i : count - 1 - i] = (uint8_t)value;
    return asocket__write_exactly(out, bytes, (size_t)count, operation);
}

#define ASOCKET__WRITE_NUMBER(name, type, size)                         \
    int asocket_write_##name(asocket_write_channel *out, type value)    \
    {                                                                   \
        return asocket__write_number(out, value, size, "write_" #name); \
    }
ASOCKET__WRITE_NUMBER(u16be, uint16_t, 2)
ASOCKET__WRITE_NUMBER(u16le, uint16_t, -2)
ASOCKET__WRITE_NUMBER(u32be, uint32_t, 4)
ASOCKET__WRITE_NUMBER(u32le, uint32_t, -4)
ASOCKET__WRITE_NUMBER(u64be, uint64_t, 8)
ASOCKET__WRITE_NUMBER(u64le, uint64_t, -8)
#undef ASOCKET__WRITE_NUMBER

// A pipe's window is a block of its own: the reader may move what is in the ring.
static int asocket__reserve_window(asocket_write_channel *out, uint32_t minimum, char **bytes)
{
    asocket__ring *ring = &out->own;
    uint32_t most = asocket__ring_free(out->ring), room;

    if (asocket__ring_attach(out->selector, ring, out->capacity))
        return ASOCKET_ENOMEM;
    room = asocket__ring_space(ring, bytes);
    if (room < minimum) {
        asocket__ring_straighten(ring);
        room = asocket__ring_space(ring, bytes);
    }
    out->reserved = room < most ? room : most;
    out->reserved_at = (uint32_t)(*bytes - ring->data);
    return 0;
}

ptrdiff_t asocket_room(const asocket_write_channel *out)
{
    if (!out || !ASOCKET__HERE(out->selector))
        return ASOCKET_EINVAL;
    if (out->status)
        return asocket__out_fail(out, out->status, "room");
    if (out->task)
        return 0;
    return (ptrdiff_t)(out->ring->data ? asocket__ring_free(out->ring) : out->capacity);
}

ptrdiff_t asocket_reserve(asocket_write_channel *out, char **bytes, size_t minimum)
{
    int status = asocket__out_enter(out, "reserve");

    if (bytes)
        *bytes = NULL;
    if (status)
        return status;
    if (!bytes)
        return asocket__refuse(out->selector, "reserve", "no place to store");
    if (minimum > out->capacity)
        return asocket__fail(out->selector, ASOCKET_EMSGSIZE, "reserve",
                             "more than the channel's capacity");
    status = asocket__out_room(out, minimum ? (uint32_t)minimum : 1);
    if (!status)
        status = asocket__reserve_window(out, (uint32_t)minimum, bytes);
    return status ? asocket__out_fail(out, status, "reserve") : (ptrdiff_t)out->reserved;
}

int asocket_commit(asocket_write_channel *out, size_t count)
{
    uint32_t reserved = out ? out->reserved : 0;
    int status = asocket__out_enter(out, "commit");

    if (status)
        return status;
    out->reserved = reserved;
    if (count > reserved)
        return asocket__refuse(out->selector, "commit", "more than was reserved");
    if (out->pipe && asocket__out_attach(out)) // it ran empty
        return asocket__out_fail(out, ASOCKET_ENOMEM, "commit");
    out->reserved = 0;
    out->written = (int64_t)count;
    if (out->pipe) {
        if (count)
            asocket__ring_append(out->ring, out->own.data, (uint32_t)count);
        asocket__out_detach(out);
    } else if (count) { // what was before it may have left in the meantime
        char *space;

        (void)asocket__ring_space(out->ring, &space);
        memmove(space, out->own.data + out->reserved_at, count);
        asocket__ring_extend(out->ring, (uint32_t)count);
    }
    asocket__out_tidy(out);
    if (count)
        status = asocket__out_touch(out, (uint32_t)count);
    return status ? asocket__out_fail(out, status, "commit") : ASOCKET_OK;
}

int asocket_flush(asocket_write_channel *out)
{
    int status = asocket__out_enter(out, "flush");

    if (status)
        return status;
    return asocket__out_done(out, asocket__out_flush(out, 0), "flush");
}

// The reader has given up: there is nothing to tell it, but the pipe can be freed.
static void asocket__pipe_leave(asocket_write_channel *out, int status)
{
    if (out && out->pipe && out->status == status && !(out->pipe->done & ASOCKET_WRITE))
        asocket__pipe_finish(out->pipe, status);
}

int asocket_finish(asocket_write_channel *out)
{
    int status;

    if (out && out->finished && (out->pipe || out->socket->state == ASOCKET__OPEN))
        return ASOCKET_OK;
    status = asocket__out_enter(out, "finish");
    if (status) {
        asocket__pipe_leave(out, status);
        return status;
    }
    return asocket__out_done(out, asocket__out_finish(out), "finish");
}

static int asocket__shutdown_read(asocket *socket)
{
    asocket__in_forget(&socket->in);
    // Not shutdown(2): the system would answer what still comes with a reset, or hide the peer's
    // end.
    if (!socket->in.ended) {
        socket->in.ended = ASOCKET_EOF;
        socket->deaf = 1;
    }
    if (socket->lower)
        asocket__wake_any(socket->in.task, ASOCKET_ECANCELED); // out of its transport
    asocket__wake_any(socket->waiter[ASOCKET__READER], 0);
    return ASOCKET_OK;
}

int asocket_shutdown(asocket *socket, int directions)
{
    int status = asocket__socket_check(socket, ASOCKET__STREAM | ASOCKET__LAYER, "shutdown");

    if (status)
        return status;
    if (!directions || (directions & ~ASOCKET__BOTH))
        return asocket__refuse(socket->selector, "shutdown",
                               "directions are ASOCKET_READ, ASOCKET_WRITE or both");
    if (directions & ASOCKET_READ)
        status = asocket__shutdown_read(socket);
    if (directions & ASOCKET_WRITE)
        status = asocket_finish(&socket->out);
    return status;
}

int asocket_cancel_write(asocket_write_channel *out, int status)
{
    if (!out || !ASOCKET__HERE(out->selector))
        return ASOCKET_EINVAL;
    if (status >= 0)
        return asocket__refuse(out->selector, "cancel_write", "the status is no failure");
    if (out->status) {
        asocket__pipe_leave(out, out->status);
        return asocket__out_fail(out, out->status, "cancel_write");
    }
    out->status = ASOCKET_ECANCELED;
    if (out->socket && out->socket->kind != ASOCKET__DATAGRAM && (out->own.size || out->task))
        out->socket->hard = 1; // the peer must not take what it got for everything
    out->pending = 0;
    out->reserved = 0;
    asocket__wake_any(out->task, ASOCKET_ECANCELED);
    if (asocket__out_sending(out))
        return ASOCKET_OK; // its transport gives the block back
    asocket__out_detach(out);
    if (out->pipe) {
        out->ring->size = out->ring->visible;
        asocket__out_tidy(out);
        asocket__pipe_finish(out->pipe, status);
    }
    return ASOCKET_OK;
}

// Datagrams

static ASOCKET__NOINLINE int asocket__datagram_check(asocket *socket, int side,
                                                     const char *operation)
{
    int status = asocket__socket_check(socket, ASOCKET__DATAGRAM, operation);

    if (status)
        return status;
    if (side == ASOCKET__READER ? socket->in.task != NULL : socket->out.task != NULL)
        return asocket__fail(socket->selector, ASOCKET_EBUSY, operation,
                             "another coroutine is at it");
    return 0;
}

// Whether one has no bytes to send, or no place to receive: the system would notice too late, and
// drop what came.
static bool asocket__data_missing(const asocket_datagram *datagrams, size_t count, int side)
{
    size_t i;

    if (!datagrams)
        return count || side == ASOCKET__WRITER;
    for (i = 0; i < count; i++)
        if (!datagrams[i].data &&
            (side == ASOCKET__READER ? datagrams[i].capacity : datagrams[i].size))
            return true;
    return count > INT_MAX;
}

static ASOCKET__NOINLINE int asocket__datagram_enter(asocket *socket,
                                                     const asocket_datagram *datagrams,
                                                     size_t count, int side, const char *operation)
{
    int status = asocket__datagram_check(socket, side, operation);

    if (!status && asocket__data_missing(datagrams, count, side))
        return asocket__refuse(socket->selector, operation, "no datagrams, or no data");
    return status;
}

static ASOCKET__NOINLINE ptrdiff_t asocket__send_one(asocket *socket, const void *data, size_t size,
                                                     const asocket_address *to,
                                                     const char *operation)
{
    asocket__native native;
    asocket__retry retry;
    ptrdiff_t count = asocket__datagram_check(socket, ASOCKET__WRITER, operation);
    int length;

    if (count)
        return count;
    length = (!data && size) || size > PTRDIFF_MAX ? ASOCKET_EINVAL
                                                   : asocket__target_of(socket, to, &native);
    if (length < 0)
        return asocket__fail(socket->selector, length, operation,
                             "no data, no address, or not of the socket's family");
    retry.pause = 0;
    while (!count) {
        count = asocket__datagram_may_send(socket, to, &retry);
        if (!count)
            count = asocket__datagram_send(socket, data, size, &native, (socklen_t)length);
    }
    return count > 0 ? count - 1 : asocket__socket_fail(socket, (int)count, operation);
}

ptrdiff_t asocket_send_to(asocket *socket, const void *data, size_t size, const asocket_address *to)
{
    return asocket__send_one(socket, data, size, to, "send_to");
}

ptrdiff_t asocket_send(asocket *socket, const asocket_datagram *datagram)
{
    if (!datagram) // no data either
        return asocket__send_one(socket, NULL, 1, NULL, "send");
    return asocket__send_one(socket, datagram->data, datagram->size, &datagram->address, "send");
}

static ptrdiff_t asocket__receive_one(asocket *socket, asocket_datagram *datagram,
                                      const char *operation)
{
    bool endless = datagram && datagram->capacity > PTRDIFF_MAX;
    ptrdiff_t count =
        asocket__datagram_enter(socket, endless ? NULL : datagram, 1, ASOCKET__READER, operation);

    if (count)
        return count;
    while (!count) {
        count = asocket__datagram_may_receive(socket);
        if (!count)
            count = asocket__datagram_receive(socket, datagram);
    }
    return count > 0 ? count - 1 : asocket__socket_fail(socket, (int)count, operation);
}

ptrdiff_t asocket_receive_from(asocket *socket, void *data, size_t size, asocket_address *from)
{
    asocket_datagram datagram;
    ptrdiff_t count;

    memset(&datagram, 0, sizeof datagram);
    datagram.data = data;
    datagram.capacity = size;
    count = asocket__receive_one(socket, &datagram, "receive_from");
    if (from)
        *from = datagram.address;
    if (datagram.truncated)
        (void)asocket__socket_fail(socket, ASOCKET_EMSGSIZE, "receive_from");
    return count;
}

ptrdiff_t asocket_receive(asocket *socket, asocket_datagram *datagram)
{
    return asocket__receive_one(socket, datagram, "receive");
}

int asocket_send_many(asocket *socket, const asocket_datagram *datagrams, size_t count)
{
    int status = asocket__datagram_enter(socket, datagrams, count, ASOCKET__WRITER, "send_many");
    asocket__retry retry;
    size_t sent = 0;

    if (!status)
        status = asocket__batch_make(socket->selector, "send_many");
    if (status)
        return status;
    retry.pause = 0;
    while (sent < count && !status) {
        status = asocket__datagram_may_send(socket, &datagrams[sent].address, &retry);
        if (!status)
            status = asocket__batch_send(socket, datagrams + sent, count - sent);
        if (status > 0) {
            sent += (size_t)status;
            status = 0;
            retry.pause = 0;
        }
    }
    if (status)
        (void)asocket__socket_fail(socket, status, "send_many");
    return sent ? (int)sent : status;
}

int asocket_receive_many(asocket *socket, asocket_datagram *datagrams, size_t count)
{
    int received =
        asocket__datagram_enter(socket, datagrams, count, ASOCKET__READER, "receive_many");

    if (received || !count)
        return received;
    if (!socket->in.opened)
        socket->in.opened = ASOCKET__BY_MANY;
    received = asocket__batch_make(socket->selector, "receive_many");
    if (received)
        return received;
    while (!received) {
        received = asocket__datagram_may_receive(socket);
        if (!received)
            received = asocket__batch_receive(socket, datagrams, count);
    }
    return received > 0 ? received : asocket__socket_fail(socket, received, "receive_many");
}

#ifdef MCAST_JOIN_GROUP

// A membership request is the same for both families (RFC 3678).
static int asocket__group_change(asocket *socket, const asocket__endpoint *group,
                                 unsigned interface_index, bool join)
{
    struct group_req request;
    asocket__native native;

    memset(&request, 0, sizeof request);
    (void)asocket__native_of(group, &native);
    memcpy(&request.gr_group, &native,
           sizeof native < sizeof request.gr_group ? sizeof native : sizeof request.gr_group);
    request.gr_interface = interface_index;
    return ASOCKET_SYS(setsockopt)(socket->handle, group->family == 4 ? IPPROTO_IP : IPPROTO_IPV6,
                                   join ? MCAST_JOIN_GROUP : MCAST_LEAVE_GROUP, &request,
                                   sizeof request);
}

#else

#ifdef __OpenBSD__
typedef struct ip_mreqn asocket__group_request;
#define ASOCKET__GROUP_INTERFACE(request, index) ((void)((request).imr_ifindex = (int)(index)))
#else // NetBSD: 0.x.x.x is no address, but an index
typedef struct ip_mreq asocket__group_request;
#define ASOCKET__GROUP_INTERFACE(request, index) \
    ((void)((request).imr_interface.s_addr = htonl(index)))
#endif

static int asocket__group_change(asocket *socket, const asocket__endpoint *group,
                                 unsigned interface_index, bool join)
{
    asocket__group_request ipv4;
    struct ipv6_mreq ipv6;

    memset(&ipv4, 0, sizeof ipv4);
    memset(&ipv6, 0, sizeof ipv6);
    memcpy(&ipv4.imr_multiaddr, group->bytes, sizeof ipv4.imr_multiaddr);
    ASOCKET__GROUP_INTERFACE(ipv4, interface_index);
    memcpy(&ipv6.ipv6mr_multiaddr, group->bytes, sizeof ipv6.ipv6mr_multiaddr);
    ipv6.ipv6mr_interface = interface_index;
    if (group->family == 4)
        return ASOCKET_SYS(setsockopt)(socket->handle, IPPROTO_IP,
                                       join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &ipv4,
                                       sizeof ipv4);
    return ASOCKET_SYS(setsockopt)(socket->handle, IPPROTO_IPV6,
                                   join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP, &ipv6, sizeof ipv6);
}

#endif

static ASOCKET__PLAIN int asocket__group(asocket *socket, const asocket_ip *group,
                                         unsigned interface_index, bool join, const char *operation)
{
    asocket__endpoint endpoint;
    asocket_address address;
    int status = asocket__socket_check(socket, ASOCKET__DATAGRAM, operation);

    if (status)
        return status;
    if (!asocket_ip_is_multicast(group) || socket->domain == AF_UNIX ||
        (group->family == 6 && socket->domain == AF_INET)) // dual stack: groups of both
        return asocket__refuse(socket->selector, operation,
                               "no multicast address, or not of the socket's family");
    memset(&address, 0, sizeof address);
    address.ip = *group;
    status = asocket__endpoint_of(&address, &endpoint);
    if (status)
        return asocket__fail(socket->selector, status, operation, NULL);
    if (asocket__group_change(socket, &endpoint, interface_index ? interface_index : endpoint.scope,
                              join))
        return asocket__fail_at(socket->selector, asocket__last_status(), errno, operation,
                                &endpoint);
    return ASOCKET_OK;
}

int asocket_join_group(asocket *socket, const asocket_ip *group, unsigned interface_index)
{
    return asocket__group(socket, group, interface_index, true, "join_group");
}

int asocket_leave_group(asocket *socket, const asocket_ip *group, unsigned interface_index)
{
    return asocket__group(socket, group, interface_index, false, "leave_group");
}

#if ASOCKET__LINUX
static int asocket__handle_peer(asocket_handle handle, asocket_credentials *credentials)
{
    struct asocket__ucred {
        pid_t process;
        uid_t user;
        gid_t group;
    } peer;
    socklen_t size = sizeof peer;

    if (ASOCKET_SYS(getsockopt)(handle, SOL_SOCKET, SO_PEERCRED, &peer, &size))
        return -1;
    credentials->process = peer.process;
    credentials->user = peer.user;
    credentials->group = peer.group;
    return 0;
}
#elif ASOCKET__APPLE || ASOCKET__BSD

#if defined(LOCAL_PEERPID) // macOS
static int asocket__handle_process(asocket_handle handle, pid_t *process)
{
    socklen_t size = sizeof *process;

    return ASOCKET_SYS(getsockopt)(handle, 0, LOCAL_PEERPID, process, &size); // SOL_LOCAL
}
#else
#define asocket__handle_process(handle, process) (-1)
#endif

static int asocket__handle_peer(asocket_handle handle, asocket_credentials *credentials)
{
    pid_t process = -1;
    uid_t user;
    gid_t group;

    if (ASOCKET_SYS(getpeereid)(handle, &user, &group))
        return -1;
    credentials->process = asocket__handle_process(handle, &process) ? -1 : process;
    credentials->user = user;
    credentials->group = group;
    return 0;
}
#else
static int asocket__handle_peer(asocket_handle handle, asocket_credentials *credentials)
{
    (void)handle, (void)credentials;
    errno = ENOTSUP;
    return -1;
}
#endif

int asocket_peer_credentials(const asocket *socket, asocket_credentials *credentials)
{
    int status = asocket__socket_check(socket, ASOCKET__STREAM, "peer_credentials");

    if (status)
        return status;
    if (!credentials || socket->domain != AF_UNIX)
        return asocket__refuse(socket->selector, "peer_credentials",
                               "no place to store, or no Unix socket");
    if (asocket__handle_peer(socket->handle, credentials))
        return asocket__fail(socket->selector, asocket__last_status(), "peer_credentials", NULL);
    return ASOCKET_OK;
}

// Moving sockets

static int asocket__move_check(asocket *socket, asocket_selector *other, asocket_function *function,
                               bool shared, const char *operation)
{
    int kinds = ASOCKET__STREAM | ASOCKET__DATAGRAM | ASOCKET__LISTENER;
    int status = asocket__socket_check(socket, kinds, operation);

    if (status)
        return status;
    if (!other || !function)
        return asocket__refuse(socket->selector, operation, "no selector, or no function");
    if (socket->selector->destroying) // the other one may be gone
        return asocket__fail(socket->selector, ASOCKET_ECANCELED, operation,
                             "the selector is being destroyed");
    if (socket->upper || (!shared && (socket->in.task || socket->out.task)))
        return asocket__fail(socket->selector, ASOCKET_EBUSY, operation,
                             "another coroutine is inside a call on it, or a layer stands on it");
    return 0;
}

int asocket_hand_over(asocket *socket, asocket_selector *other, asocket_function *function)
{
    int status = asocket__move_check(socket, other, function, false, "hand_over");
    asocket__move *move;

    if (status)
        return status;
    if (!socket->out.status)
        status = asocket__out_flush(&socket->out, 0);
    if (status)
        return asocket__socket_fail(socket, status, "hand_over");
    status = asocket__move_check(socket, other, function, false, "hand_over");
    if (status)
        return status; // somebody has begun a call meanwhile
    if (!asocket__moves(socket))
        return asocket__fail(socket->selector, ASOCKET_ENOTSUP, "hand_over",
                             "the system ties a socket that has waited to its selector");
    (void)asocket__local_learn(socket); // the old handle can be asked, too
    move = asocket__move_make(socket, other, function, false);
    if (!move)
        return asocket__fail(socket->selector, ASOCKET_ENOMEM, "hand_over", NULL);
    socket->shared = 1; // it must leave the set: closing will not take it out
    socket->selector->backend->remove(socket->selector, socket);
    socket->registered = socket->selector->backend->reports;
    socket->ready = ASOCKET__BOTH;
    if (!asocket__post_push(other, asocket__move_run, asocket__move_drop, move)) {
        asocket__socket_leave(socket);
        return ASOCKET_OK;
    }
    asocket__move_free(other, move);
    return asocket__fail(socket->selector, ASOCKET_ENOMEM, "hand_over", NULL);
}

int asocket_share(asocket *server, asocket_selector *other, asocket_function *function)
{
    int status = asocket__move_check(server, other, function, true, "share");
    asocket__move *move;

    if (status)
        return status;
    move = asocket__move_make(server, other, function, true);
    if (!move)
        return asocket__fail(server->selector, ASOCKET_ENOMEM, "share", NULL);
    if (move->socket.joined)
        move->socket.joined->count = 0; // what came already stays here
    move->socket.handle = asocket__handle_duplicate(server->handle);
    status = move->socket.handle == ASOCKET__NO_HANDLE
                 ? asocket__last_status()
                 : asocket__post_push(other, asocket__move_run, asocket__move_drop, move);
    if (!status) {
        server->shared = server->lent = 1;
        return ASOCKET_OK;
    }
    asocket__move_drop(other, move);
    return asocket__fail(server->selector, status, "share", NULL);
}

static int asocket__pass_check(asocket *channel, int side, const char *operation)
{
    int status = asocket__socket_check(channel, ASOCKET__STREAM | ASOCKET__DATAGRAM, operation);

    if (status)
        return status;
    if (channel->domain != AF_UNIX)
        return asocket__refuse(channel->selector, operation,
                               "descriptors go through Unix sockets only");
    if (side == ASOCKET__READER ? channel->in.task || channel->in.own.visible
                                : channel->out.task || channel->out.own.size)
        return asocket__fail(channel->selector, ASOCKET_EBUSY, operation,
                             "its channel is in use, or holds bytes");
    return 0;
}

int asocket_send_socket(asocket *unix_socket, asocket *socket)
{
    int status = asocket__pass_check(unix_socket, ASOCKET__WRITER, "send_socket");
    asocket__parcel parcel;
    asocket__retry retry;
    ssize_t count = -1;

    if (status)
        return status;
    if (!socket)
        return asocket__refuse(unix_socket->selector, "send_socket", "no socket");
    status = asocket__socket_check(socket, 255 & ~ASOCKET__LAYER, "send_socket");
    if (status)
        return status;
    if (!asocket__moves(socket))
        return asocket__fail(unix_socket->selector, ASOCKET_ENOTSUP, "send_socket",
                             "the system ties a socket that has waited to its selector");
    memset(&parcel, 0, sizeof parcel);
    retry.pause = 0;
    socket->pins++; // its memory is not used again meanwhile
    while (!status && count < 0) {
        status = asocket__datagram_may_send(unix_socket, NULL, &retry);
        if (!status && socket->state != ASOCKET__OPEN)
            status = ASOCKET_ECLOSED; // meanwhile
        if (status)
            break;
        count = asocket__handle_send(unix_socket, socket->handle, &parcel);
        if (count < 0)
            status = asocket__datagram_error(unix_socket, ASOCKET_WRITE);
    }
    socket->pins--;
    if (!status) {
        socket->shared = socket->lent = 1;
        return ASOCKET_OK;
    }
    if (asocket__parcel_begun(&parcel))
        unix_socket->out.status = status; // nothing can follow a part of one
    return asocket__socket_fail(unix_socket, status, "send_socket");
}

// What a builder for a descriptor of any kind is for.
static int asocket__handle_protocol(asocket_handle handle)
{
    asocket__native local;
    int type;

    (void)asocket__handle_name(handle, false, &local);
    (void)asocket__option_read(handle, SOL_SOCKET, SO_TYPE, &type);
    return asocket__protocol_of(local.any.sa_family, type == SOCK_DGRAM);
}

// A connection that broke while it was on its way; nobody misses it, as with accept.
static bool asocket__handle_broken(asocket_handle handle)
{
    int type, listening;
    asocket__native peer;

    return !asocket__option_read(handle, SOL_SOCKET, SO_TYPE, &type) && type == SOCK_STREAM &&
           !asocket__option_read(handle, SOL_SOCKET, SO_ACCEPTCONN, &listening) && !listening &&
           asocket__handle_name(handle, true, &peer) < 0 && errno == ENOTCONN;
}

// The next descriptor that comes: 0, or why none does.
static int asocket__handle_wait(asocket *channel, asocket_handle *handle)
{
    int status = 0;

    *handle = ASOCKET__NO_HANDLE;
    while (!status && *handle == ASOCKET__NO_HANDLE) {
        ssize_t count;

        status = asocket__datagram_may_receive(channel);
        if (status)
            break;
        count = asocket__handle_receive(channel, handle);
        if (count < 0)
            status = asocket__datagram_error(channel, ASOCKET_READ);
        else if (!count && channel->kind == ASOCKET__STREAM)
            status = ASOCKET_EOF;
    }
    return status;
}

asocket *asocket_receive_socket(asocket *unix_socket)
{
    int status = asocket__pass_check(unix_socket, ASOCKET__READER, "receive_socket");
    asocket_builder builder;
    bool broken = true;

    if (status)
        return NULL;
    builder = asocket_tcp(unix_socket->selector);
    while (broken) {
        asocket_handle handle;
        asocket *socket;

        status = asocket__handle_wait(unix_socket, &handle);
        if (status) {
            (void)asocket__fail(unix_socket->selector, status, "receive_socket", NULL);
            return NULL;
        }
        builder.protocol = asocket__handle_protocol(handle);
        socket = asocket__adopt(&builder, handle);
        if (socket) {
            socket->shared = 1;
            return socket;
        }
        broken = asocket__handle_broken(handle);
        (void)ASOCKET_SYS(close)(handle);
    }
    return NULL;
}

// Layers

// The coroutine that closes a socket at its end closes the other one instead.
static ASOCKET__NOINLINE void asocket__launcher_pass(asocket *from, asocket *to)
{
    if (!from->launcher)
        return;
    to->launcher = from->launcher;
    from->launcher = NULL;
    if (to->launcher->socket == from)
        to->launcher->socket = to;
}

asocket *asocket_layer(asocket *lower, const asocket_transport *transport, void *state)
{
    int kinds = ASOCKET__STREAM | ASOCKET__DATAGRAM | ASOCKET__LAYER;
    asocket *layer;

    if (asocket__socket_check(lower, kinds, "layer"))
        return NULL;
    if (!transport || !transport->read || !transport->write || !transport->close ||
        !transport->cancel || lower->upper) {
        (void)asocket__refuse(lower->selector, "layer",
                              "a transport has four functions, a socket one layer above it");
        return NULL;
    }
    if (lower->in.task || lower->out.task) {
        (void)asocket__fail(lower->selector, ASOCKET_EBUSY, "layer",
                            "another coroutine is inside a call on the socket");
        return NULL;
    }
    layer = asocket__socket_new(lower->selector);
    if (!layer) {
        (void)asocket__fail(lower->selector, ASOCKET_ENOMEM, "layer", NULL);
        return NULL;
    }
    asocket__socket_open(layer, ASOCKET__NO_HANDLE, ASOCKET__LAYER);
    layer->selector->layer_end =
        asocket__layer_end; // here, for programs without layers are smaller
    layer->lower = lower;
    layer->transport = transport;
    layer->layer_state = state;
    layer->registered = ASOCKET__BOTH;
    (void)asocket__local_learn(lower);
    asocket__socket_like(layer, lower);
    lower->upper = layer;
    asocket__channels_renew(lower); // they are the transport's now
    lower->pins++;                  // its memory stays as long as the layer
    asocket__launcher_pass(lower, layer);
    return layer;
}

asocket *asocket_detach(asocket *layered)
{
    int status = asocket__socket_check(layered, ASOCKET__LAYER, "detach");
    asocket *lower;

    if (status)
        return NULL;
    if (layered->out.task || layered->upper)
        status = ASOCKET_EBUSY;
    else if (!layered->out.status)
        status = asocket__out_flush(&layered->out, 0);
    if (!status && (layered->in.task || layered->out.task || layered->in.own.visible))
        status = ASOCKET_EBUSY;
    if (!status && layered->state != ASOCKET__OPEN)
        status = ASOCKET_ECLOSED;
    if (status) {
        (void)asocket__fail(layered->selector, status, "detach",
                            status == ASOCKET_EBUSY ? "in use, or bytes were not read" : NULL);
        return NULL;
    }
    lower = layered->lower;
    asocket__channels_renew(lower);
    layered->state = ASOCKET__DRAINING; // whoever closes it now finds that it is closed
    asocket__close_begin(layered);
    (void)(layered->transport->close)(layered->layer_state, lower);
    asocket__layer_release(layered);
    asocket__launcher_pass(layered, lower);
    asocket__close_finish(layered);
    return lower;
}

// Files

int64_t asocket_write_file(asocket_write_channel *out, int fd, int64_t offset, int64_t length)
{
    int status = asocket__out_enter(out, "write_file");

    if (status)
        return status;
    if (fd < 0 || offset < 0 || length < ASOCKET_FOREVER)
        return asocket__refuse(out->selector, "write_file",
                               "no file, or a negative offset or length");
    status = asocket__file_write(out, fd, offset, length);
    return status ? asocket__out_fail(out, status, "write_file") : out->written;
}

void *asocket_layer_state(const asocket *layered, const asocket_transport *transport)
{
    bool open = layered && ASOCKET__HERE(layered->selector) && layered->state == ASOCKET__OPEN;

    return open && transport && layered->transport == transport ? layered->layer_state : NULL;
}

const char *asocket_remote_host(const asocket *socket)
{
    if (!socket || !ASOCKET__HERE(socket->selector) || socket->state != ASOCKET__OPEN)
        return NULL;
    return asocket__bottom(socket)->told.host;
}

int asocket_set_capacity(asocket *socket, size_t capacity)
{
    int status = asocket__socket_check(socket, ASOCKET__STREAM | ASOCKET__DATAGRAM | ASOCKET__LAYER,
                                       "set_capacity");

    if (status)
        return status;
    if (capacity > ASOCKET__SIZE_MOST)
        return asocket__refuse(socket->selector, "set_capacity", "too large");
    if (socket->in.task || socket->out.task || socket->in.own.data || socket->out.own.data)
        return asocket__fail(socket->selector, ASOCKET_EBUSY, "set_capacity",
                             "the channels are in use");
    socket->capacity = capacity ? (uint32_t)capacity : socket->selector->channel_capacity;
    socket->in.capacity = socket->out.capacity = socket->capacity;
    return ASOCKET_OK;
}

int asocket_fail(asocket_selector *selector, int status, const char *operation, const char *text,
                 const char *detail)
{
    if (!selector || !ASOCKET__HERE(selector) || status >= 0)
        return ASOCKET_EINVAL;
    return asocket__fail_text(selector, status, operation ? operation : "", text ? text : "",
                              detail);
}

void *asocket_attached(const asocket_selector *selector, const void *key)
{
    const asocket__attachment *attachment = NULL;

    if (selector && ASOCKET__HERE(selector))
        attachment = selector->attachments;
    while (attachment && attachment->key != key)
        attachment = attachment->next;
    return attachment ? attachment->value : NULL;
}

int asocket_attach(asocket_selector *selector, const void *key, void *value,
                   void (*release)(void *value))
{
    asocket__attachment *attachment;

    if (!selector || !ASOCKET__HERE(selector))
        return ASOCKET_EINVAL;
    if (!key || !value || !release)
        return asocket__refuse(selector, "attach", "no key, value or release");
    if (asocket_attached(selector, key))
        return asocket__fail(selector, ASOCKET_EBUSY, "attach", "the key is taken");
    attachment = (asocket__attachment *)asocket__allocate(selector, sizeof *attachment);
    if (!attachment)
        return asocket__fail(selector, ASOCKET_ENOMEM, "attach", NULL);
    attachment->key = key;
    attachment->value = value;
    attachment->release = release;
    attachment->next = selector->attachments;
    selector->attachments = attachment;
    return ASOCKET_OK;
}

#endif // ASOCKET_IMPLEMENTED
#endif // ASOCKET_IMPLEMENTATION

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
