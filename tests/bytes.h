/* bytes.h - what the tests of rings and channels share: bytes that show where they came from, many
   small checks that count as one, a peer that is fed and emptied while the selector runs. */
#ifndef BYTES_H
#define BYTES_H

#include "test.h"

/* --- bytes ------------------------------------------------------------------------------------ */

/* The same sequence for the same seed, everywhere; a seed is never 0. */
static inline uint32_t random_next(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* 0 to limit - 1. */
static inline uint32_t random_below(uint32_t *seed, uint32_t limit)
{
    return random_next(seed) % limit;
}

/* The byte at a place of an endless stream: a shift, a gap or a repetition does not go unseen. */
static inline char pattern_at(uint64_t place)
{
    return (char)((place * 31 + (place >> 8) * 17 + (place >> 16) * 7) & 0xff);
}

static inline void pattern_fill(char *bytes, size_t size, uint64_t place)
{
    size_t i;

    for (i = 0; i < size; i++)
        bytes[i] = pattern_at(place + i);
}

static inline bool pattern_is(const char *bytes, size_t size, uint64_t place)
{
    size_t i;

    for (i = 0; i < size; i++)
        if (bytes[i] != pattern_at(place + i))
            return false;
    return true;
}

/* --- many checks that count as one ------------------------------------------------------------ */

static int check_count, check_failures;

/* One of many; only the first that fails is described. Answers whether it passed. */
__attribute__((format(printf, 2, 3))) static inline bool check(bool passed, const char *format, ...)
{
    check_count++;
    if (passed)
        return true;
    if (!check_failures++) {
        va_list arguments;
        char text[512];

        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        diag("%s", text);
    }
    return false;
}

/* The result of all checks since the last call. */
__attribute__((format(printf, 1, 2))) static inline bool checked(const char *format, ...)
{
    va_list arguments;
    char text[512];
    bool passed = check_count > 0 && check_failures == 0;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (check_failures)
        diag("%d of %d checks failed", check_failures, check_count);
    check_count = check_failures = 0;
    return ok(passed, "%s", text);
}

/* --- turns of the loop ------------------------------------------------------------------------ */

/* Lets the coroutines run until they wait for what is not there yet. */
static inline void settle(asocket_selector *selector)
{
    int i;

    for (i = 0; i < 4; i++)
        asocket_poll(selector, 0);
}

/* Runs the loop until `*flag`, for 10 seconds at most. */
static inline bool run_until(asocket_selector *selector, const bool *flag)
{
    int64_t end = test_clock() + (int64_t)10000000000 * test_slowness();

    while (!*flag && test_clock() < end)
        asocket_poll(selector, 5);
    return *flag;
}

/* --- the peer --------------------------------------------------------------------------------- */

/* Sends it all, with the loop running while the system's buffers are full. */
static inline bool peer_feed(asocket_selector *selector, int fd, const char *bytes, size_t size)
{
    int64_t end = test_clock() + (int64_t)10000000000 * test_slowness();

    while (size > 0) {
        ssize_t count = send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (count > 0) {
            bytes += count;
            size -= (size_t)count;
        } else if ((errno != EAGAIN && errno != EINTR) || test_clock() > end) {
            return false;
        } else {
            asocket_poll(selector, 1);
        }
    }
    return true;
}

/* How many bytes the peer could receive at this moment. */
static inline size_t peer_waiting(int fd)
{
    static char buffer[65536]; /* coroutines have small stacks */
    ssize_t count = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT | MSG_PEEK);

    return count > 0 ? (size_t)count : 0;
}

/* Sets TCP_NODELAY, so that what is sent in two calls is two segments. */
static inline void peer_no_delay(int fd)
{
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

#endif
