/* test.h - what the tests share: a selector that notices leaks, a peer that is not the library,
   clocks and bounds.

   A test is a program that is given a backend's name and prints TAP:

       #include "test.h"

       int main(int argc, char **argv)
       {
           asocket_selector *selector = test_selector(argc, argv);

           ok(asocket_sleep(selector, 1) == ASOCKET_OK, "a sleep ends");
           return test_end(selector);
       }

   It includes this file before all others. Every descriptor and every byte must be back at
   test_end, and no assert of the library may have failed but those that the test took note of with
   test_take_asserts. */
#ifndef TEST_H
#define TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "../asocket.h"
#include "tap.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#ifdef _WIN32
#include <posix_names.h>
#endif

/* --- asserts of the library (tests/implementation.c) ------------------------------------------ */

extern int test_asserts;
extern const char *test_assert_text;

/* How many asserts failed since the last call; none of them is an error any more. */
static inline int test_take_asserts(void)
{
    return __atomic_exchange_n(&test_asserts, 0, __ATOMIC_RELAXED);
}

/* --- memory: an allocator that counts --------------------------------------------------------- */

typedef struct test_memory {
    size_t blocks, bytes; /* in use now */
    size_t calls;         /* that asked for memory, since the start */
    size_t wrong_sizes;   /* blocks given back with another size than they were asked for with */
} test_memory;

typedef union test_block { /* stands before each block; keeps malloc's alignment */
    size_t size;
    long long integer;
    long double number;
    void *pointer;
} test_block;

static inline void *test_resize(void *user, void *old, size_t old_size, size_t new_size)
{
    test_memory *memory = (test_memory *)user;
    test_block *block = old ? (test_block *)old - 1 : NULL;

    if (old) {
        if (block->size != old_size)
            __atomic_add_fetch(&memory->wrong_sizes, 1, __ATOMIC_RELAXED);
        __atomic_sub_fetch(&memory->blocks, 1, __ATOMIC_RELAXED);
        __atomic_sub_fetch(&memory->bytes, block->size, __ATOMIC_RELAXED);
    }
#ifdef _WIN32
    if (block)
        strict_freed(block, sizeof *block + old_size);
#endif
    if (!new_size) {
        free(block);
        return NULL;
    }
    block = (test_block *)realloc(block, sizeof *block + new_size);
    if (!block)
        abort();
    if (new_size > old_size) /* whoever reads what was never written shall notice */
        memset((char *)(block + 1) + old_size, 0xA5, new_size - old_size);
    block->size = new_size;
    __atomic_add_fetch(&memory->calls, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&memory->blocks, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&memory->bytes, new_size, __ATOMIC_RELAXED);
    return block + 1;
}

static inline asocket_allocator test_allocator(test_memory *memory)
{
    asocket_allocator allocator;

    allocator.resize = test_resize;
    allocator.user = memory;
    return allocator;
}

/* --- descriptors ------------------------------------------------------------------------------ */

#define TEST_NO_HANDLE ((asocket_handle)-1)
#ifdef _WIN32
enum { TEST_WINDOWS = 1 }; /* for what that system does not have: tests skip it */
#else
enum { TEST_WINDOWS = 0 };
#endif

/* What was to be tested is not there: skips so many tests. */
static inline bool test_skips(bool missing, int count, const char *why)
{
    if (missing)
        skip(count, why);
    return missing;
}

#ifdef _WIN32
/* Sockets, that is: the library's and the test's own. */
static inline int test_open_descriptors(void)
{
    return (int)strict_sockets + 3; /* as elsewhere: 0 means that nobody has looked */
}
#else
/* How many are open. */
static inline int test_open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = -3; /* ".", ".." and the directory itself */

    if (!directory)
        directory = opendir("/dev/fd");
    if (!directory)
        return -1;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}
#endif

/* --- the selector of a test ------------------------------------------------------------------- */

static test_memory test_selector_memory;
static int test_descriptors_before;

/* The backend named by the program's first argument; epoll without one. */
static inline int test_backend(int argc, char **argv)
{
    static const struct {
        const char *name;
        int backend;
    } backends[] = {{"epoll", ASOCKET_BACKEND_EPOLL},     {"poll", ASOCKET_BACKEND_POLL},
                    {"kqueue", ASOCKET_BACKEND_KQUEUE},   {"iocp", ASOCKET_BACKEND_IOCP},
                    {"default", ASOCKET_BACKEND_DEFAULT}, {"uring", ASOCKET_BACKEND_URING}};
    size_t i;

    for (i = 0; argc > 1 && i < sizeof backends / sizeof *backends; i++)
        if (strcmp(argv[1], backends[i].name) == 0)
            return backends[i].backend;
    return ASOCKET_BACKEND_DEFAULT;
}

/* A selector with these options, of which the allocator becomes the one that counts. Skips the
   whole program when the backend is not compiled in. */
static inline asocket_selector *test_selector_with(asocket_selector_options options)
{
    asocket_selector *selector = NULL;
    int status;

    if (!test_descriptors_before)
        test_descriptors_before = test_open_descriptors();
    options.allocator = test_allocator(&test_selector_memory);
    status = asocket_selector_open(&options, &selector);
    if (status == ASOCKET_ENOTSUP)
        skip_all("this backend is not compiled in");
    if (status < 0) {
        ok(false, "a selector can be created: %s", asocket_strerror(status));
        exit(done_testing());
    }
    return selector;
}

/* All other options are the defaults; 0 is that of close_timeout, too. */
static inline asocket_selector *test_selector_closing(int backend, int64_t close_timeout)
{
    asocket_selector_options options;

    memset(&options, 0, sizeof options);
    options.backend = backend;
    options.close_timeout = close_timeout;
    return test_selector_with(options);
}

static inline asocket_selector *test_selector(int argc, char **argv)
{
    return test_selector_closing(test_backend(argc, argv), 0);
}

/* Destroys it, looks for what it left behind, and ends the plan: the exit status for main. */
static inline int test_end(asocket_selector *selector)
{
    asocket_selector_destroy(selector);
    is_int(test_open_descriptors(), test_descriptors_before, "nothing leaked: descriptors");
    is_int(test_selector_memory.bytes, 0, "nothing leaked: memory, in %d blocks",
           (int)test_selector_memory.blocks);
    is_int(test_selector_memory.wrong_sizes, 0, "the allocator is told the right sizes");
    if (!is_int(test_take_asserts(), 0, "no assert failed"))
        diag("the last one: %s", test_assert_text);
#ifdef _WIN32
    is_int(strict_faults, 0, "Windows takes it all");
#endif
    return done_testing();
}

/* Asks for a status, and prints its sentence when it is another. */
#define is_status(got, expected, ...) \
    test_is_status((int64_t)(got), (expected), __FILE__, __LINE__, #got, __VA_ARGS__)

__attribute__((format(printf, 6, 7))) static inline bool test_is_status(int64_t got, int expected,
                                                                        const char *file, int line,
                                                                        const char *expression,
                                                                        const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (!tap_result(got == expected, file, line, expression, format, arguments))
        diag("got %lld (%s), expected %d (%s)", (long long)got,
             got < 0 ? asocket_strerror((int)got) : "a result", expected,
             asocket_strerror(expected));
    va_end(arguments);
    return got == expected;
}

/* --- time ------------------------------------------------------------------------------------- */

/* Nanoseconds, monotonic. */
static inline int64_t test_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* How many times slower than usual this run is (Valgrind, a sanitizer): TEST_SLOWNESS. */
static inline int test_slowness(void)
{
    const char *text = getenv("TEST_SLOWNESS");
    int value = text ? atoi(text) : 1;

    return value > 0 ? value : 1;
}

/* Whether an emulator of processes runs it, which stands between it and the system: TEST_EMULATED. */
static inline bool test_emulated(void)
{
    return getenv("TEST_EMULATED") != NULL;
}

/* Whether what began at `start` (test_clock) took at least so many milliseconds, to the
   nanosecond, and at most so many; the latter with allowance for a busy machine. */
static inline bool test_took(int64_t start, int64_t at_least, int64_t at_most)
{
    int64_t took = test_clock() - start;
    int64_t bound = (at_most * test_slowness() + 1000) * 1000000;

    if (took >= at_least * 1000000 && took <= bound)
        return true;
    diag("took %.3f ms, expected %lld to %lld", (double)took / 1e6, (long long)at_least,
         (long long)at_most);
    return false;
}

/* As sendmmsg's are declared, for tests that stand in its place. */
#if defined(__GLIBC__)
typedef int test_message_flags;
#else
typedef unsigned test_message_flags;
#endif

/* --- the peer: a plain socket of the system --------------------------------------------------- */

/* An address of loopback that only this process uses. What a test expects to be refused goes there:
   the port may just have become that of another test's listener at 127.0.0.1, which would take it
   for a client of its own. */
static inline const char *test_own_host(void)
{
    static char text[16];
    unsigned number = (unsigned)getpid();

    snprintf(text, sizeof text, "127.%u.%u.%u", number >> 14 & 255, number >> 7 & 127,
             (number & 127) + 3);
    return text;
}

/* No SIGPIPE where send has no MSG_NOSIGNAL, or an old system ignores it. */
static inline void test_peer_quiet(int fd)
{
#ifdef SO_NOSIGPIPE
    int on = 1;

    setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#else
    (void)fd;
#endif
}

/* An IPv4 address as the system takes it. */
static inline struct sockaddr_in test_peer_address(const char *host, int port)
{
    struct sockaddr_in address;

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        abort();
    return address;
}

/* Connects a socket that was made before. */
static inline bool test_peer_dial(int fd, const char *host, int port)
{
    struct sockaddr_in to = test_peer_address(host, port);

    return connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
}

/* Connects to an IPv4 address; it blocks, for 10 seconds at most. -1, and errno: it did not work. */
static inline int test_peer_connect_to(const char *host, int port)
{
    struct timeval limit = {10, 0};
    int fd = socket(AF_INET, SOCK_STREAM, 0), error;

    if (fd < 0)
        return -1;
    test_peer_quiet(fd);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (test_peer_dial(fd, host, port))
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

static inline int test_peer_connect(int port)
{
    return test_peer_connect_to("127.0.0.1", port);
}

/* Binds without listening: the port refuses connections as long as it is open. 0: it chooses. */
static inline int test_peer_bind(const char *host, int *port)
{
    struct sockaddr_in at = test_peer_address(host, *port);
    socklen_t length = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &length) < 0) {
        close(fd);
        return -1;
    }
    *port = ntohs(at.sin_port);
    return fd;
}

/* Listens on 127.0.0.1, on a port that it chooses. */
static inline int test_peer_listen(int *port)
{
    int fd;

    *port = 0;
    fd = test_peer_bind("127.0.0.1", port);
    if (fd >= 0 && listen(fd, 100) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Sends it all; only for what fits the system's buffers, as nobody reads meanwhile. */
static inline bool test_peer_send(int fd, const void *bytes, size_t size)
{
    const char *at = (const char *)bytes;

    while (size > 0) {
        ssize_t count = send(fd, at, size, MSG_NOSIGNAL);

        if (count <= 0)
            return false;
        at += count;
        size -= (size_t)count;
    }
    return true;
}

/* Receives until there are `size` bytes, the stream ends, or 10 seconds are over; the selector
   runs meanwhile. How many bytes came; when none did: 0 at the end, else a negative errno. */
static inline ptrdiff_t test_peer_receive(asocket_selector *selector, int fd, void *buffer,
                                          size_t size)
{
    int64_t end = test_clock() + (int64_t)10000000000 * test_slowness();
    size_t have = 0;

    while (have < size) {
        ssize_t count = recv(fd, (char *)buffer + have, size - have, MSG_DONTWAIT);

        if (count > 0)
            have += (size_t)count;
        else if (count == 0)
            break;
        else if (errno != EAGAIN && errno != EINTR)
            return have ? (ptrdiff_t)have : -errno;
        else if (test_clock() > end)
            return have ? (ptrdiff_t)have : -ETIMEDOUT;
        else
            asocket_sleep(selector, 1);
    }
    return (ptrdiff_t)have;
}

/* Whether exactly this text comes next. */
static inline bool test_peer_expect(asocket_selector *selector, int fd, const char *text)
{
    char buffer[4096];
    size_t size = strlen(text);
    ptrdiff_t count = test_peer_receive(selector, fd, buffer, size);

    if (count == (ptrdiff_t)size && memcmp(buffer, text, size) == 0)
        return true;
    diag("the peer got %d bytes: \"%.*s\"", (int)count, count > 0 ? (int)count : 0, buffer);
    return false;
}

/* Waits for the end of the stream, dropping what comes before it: 0 when it ended in order,
   -ECONNRESET after an RST, -ETIMEDOUT. */
static inline int test_peer_end(asocket_selector *selector, int fd)
{
    int64_t end = test_clock() + (int64_t)10000000000 * test_slowness();
    char buffer[4096];

    for (;;) { /* not by test_peer_receive: behind bytes it would not tell of the reset */
        ssize_t count = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);

        if (count == 0)
            return 0;
        if (count < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (test_clock() > end)
            return -ETIMEDOUT;
        if (count < 0)
            asocket_sleep(selector, 1);
    }
}

/* Closes it with an RST. */
static inline void test_peer_reset(int fd)
{
    struct linger hard = {1, 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}

/* What the system says of a socket of the library; -1: nothing. */
static inline int test_option(const asocket *socket, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof value;

    getsockopt(asocket_native_handle(socket), level, name, &value, &length);
    return value;
}

/* --- a connected pair ------------------------------------------------------------------------- */

typedef struct test_pair {
    asocket *server; /* listens on 127.0.0.1 */
    asocket *socket; /* accepted by it */
    int peer;        /* the other end: a plain socket of the system */
    int port;        /* the server's */
} test_pair;

/* A server made from `builder` on 127.0.0.1, and one connection to it. */
static inline bool test_pair_open_with(asocket_builder builder, test_pair *pair)
{
    asocket_address address;

    memset(pair, 0, sizeof *pair);
    pair->peer = -1;
    pair->server = asocket_bind(builder, "127.0.0.1", 0);
    if (!pair->server || asocket_local_address(pair->server, &address) < 0)
        return ok(false, "a server can be bound: %s", asocket_error_message(builder.selector));
    pair->port = address.port;
    pair->peer = test_peer_connect(pair->port);
    pair->socket = asocket_accept(pair->server);
    if (pair->peer < 0 || !pair->socket)
        return ok(false, "a pair can be connected: %s", asocket_error_message(builder.selector));
    return true;
}

static inline bool test_pair_open(asocket_selector *selector, test_pair *pair)
{
    return test_pair_open_with(asocket_tcp(selector), pair);
}

/* Closes what of it is still open. */
static inline void test_pair_close(test_pair *pair)
{
    if (pair->peer >= 0)
        close(pair->peer);
    pair->peer = -1;
    asocket_close(pair->socket);
    asocket_close(pair->server);
}

#endif
