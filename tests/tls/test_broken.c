/* test_broken.c - a TLS conversation again and again, in which the n-th receive or send of either
   side is short, interrupted, or fails: short and interrupted ones change nothing, of the others
   nobody takes what came for the whole. The library is private to this file. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { SHORT, INTERRUPTED, BROKEN, KINDS };
static int mishap;
static long transfers, bad; /* the call that goes wrong, from 1 */

static ssize_t broken(ssize_t (*call)(int, void *, size_t, int), int fd, void *bytes, size_t size,
                      int flags)
{
    if (++transfers != bad)
        return call(fd, bytes, size, flags);
    if (mishap == SHORT)
        return call(fd, bytes, 1, flags);
    errno = mishap == INTERRUPTED ? EINTR : ECONNRESET;
    return -1;
}

static ssize_t true_send(int fd, void *bytes, size_t size, int flags)
{
    return send(fd, bytes, size, flags);
}

static ssize_t true_recv(int fd, void *bytes, size_t size, int flags)
{
    return recv(fd, bytes, size, flags);
}

#define ASOCKET_STATIC
#define ASOCKET_IMPLEMENTATION
#define ASOCKET_TLS_ENABLE_INSECURE
#define ASOCKET_TLS_IMPLEMENTATION
#define recv(fd, bytes, size, flags) broken(true_recv, fd, bytes, size, flags)
#define send(fd, bytes, size, flags) broken(true_send, fd, (void *)(uintptr_t)(bytes), size, flags)
#include "../../asocket_tls.h"
#undef recv
#undef send
#include "private_tls.h"
#include "server.h"

static asocket_selector *selector;

static char block[40000];

static void talk_block(server *s)
{
    char word[5];
    size_t have = 0, count;

    while (have < 5 && (count = server_hear(s, word + have, sizeof word - have)) > 0)
        have += count;
    if (have == 5)
        (void)server_say(s, block, sizeof block);
}

enum { ENDED, FAILED, WRONG };

static int converse(server *s, const asocket_tls_options *options, int *status)
{
    static char got[sizeof block];
    asocket *secure = server_connect(s, options);
    asocket_read_channel *in = asocket_open_read_channel(secure);
    asocket_write_channel *out = asocket_open_write_channel(secure, 0);
    int result = FAILED;

    if (secure) {
        if (mishap == BROKEN) /* which is not the connection: nobody else hears of it */
            asocket_set_timeout(secure, 50 * test_slowness());
        asocket_write(out, "hello", 5);
        (void)asocket_flush(out);
        if (asocket_read_full(in, got, sizeof got) == (ptrdiff_t)sizeof got)
            result = memcmp(got, block, sizeof block)          ? WRONG
                     : asocket_read(in, got, 1) == ASOCKET_EOF ? ENDED
                                                               : FAILED;
    }
    *status = asocket_error(selector);
    asocket_abort(secure);
    asocket_join_all(selector);
    return result;
}

int main(int argc, char **argv)
{
    static const char *const names[KINDS] = {"short", "interrupted", "broken"};
    asocket_tls_options options;
    server *s;
    size_t i;
    int status;
    long all;

    for (i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 13 + i / 1009);
    selector = test_selector(argc, argv);
    s = server_open(selector, "plain");
    s->talk = talk_block;
    options = server_options(s);
    options.handshake_timeout = 2000 * test_slowness();
    ok(converse(s, &options, &status) == ENDED, "a conversation: %s",
       asocket_error_message(selector));
    transfers = 0;
    (void)converse(s, &options, &status);
    all = transfers;
    for (mishap = 0; mishap < KINDS; mishap++) {
        int ended = 0, failed = 0, wrong = 0, silent = 0;

        if (mishap == SHORT && test_backend(argc, argv) != ASOCKET_BACKEND_POLL)
            continue; /* elsewhere a short one says that there is no more, which must be true */
        for (bad = 1; bad <= all + 2; bad += 1 + (test_slowness() > 5) * 3) {
            int result;

            transfers = 0;
            if (getenv("SHOW"))
                diag("%s call %ld", names[mishap], bad);
            result = converse(s, &options, &status);
            ended += result == ENDED;
            failed += result == FAILED;
            wrong += result == WRONG;
            silent += result == FAILED && status == ASOCKET_EOF;
            if (result == FAILED && mishap != BROKEN)
                diag("%s call %ld: %s", names[mishap], bad, asocket_error_message(selector));
        }
        bad = 0;
        is_int(wrong, 0, "P15: of %ld calls, each %s once, nothing wrong comes out", all,
               names[mishap]);
        is_int(silent, 0, "P15: ... nor an end that is none");
        if (mishap != BROKEN)
            is_int(failed, 0, "... and nothing fails (%d)", ended);
        else
            ok(failed > ended, "... but most of them fail (%d, %d)", failed, ended);
    }
    server_close(s);
    return test_end(selector);
}
