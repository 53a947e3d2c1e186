/* Closing when the system fails: a peer that did not get everything sees a reset, never an end of
   the stream; what it did get is not lost for want of memory. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <sys/socket.h>

#define SEAM_send , failing_send
static ssize_t failing_send(int socket, const void *bytes, size_t size, int flags);

#include "private.h"

#include "line.h"

static asocket_selector *selector;
static int backend;

/* --- the seam --------------------------------------------------------------------------------- */

static int fail_send; /* errno; 0: it works */
static int fail_arm;  /* a status */

static ssize_t failing_send(int socket, const void *bytes, size_t size, int flags)
{
    if (!fail_send)
        return send(socket, bytes, size, flags);
    errno = fail_send;
    return -1;
}

static const asocket__backend *real; /* the selector's own, behind one whose arm may fail */

static int failing_arm(asocket_selector *s, asocket *socket, int directions)
{
    return fail_arm ? fail_arm : real->arm(s, socket, directions);
}

static void works_again(void)
{
    fail_send = fail_arm = 0;
}

/* --- a stream that is cut short --------------------------------------------------------------- */

static const struct {
    int error, status;
    const char *name;
} errors[] = {{ENOBUFS, ASOCKET_ENOMEM, "ENOBUFS"},
              {ENOMEM, ASOCKET_ENOMEM, "ENOMEM"},
              {EIO, ASOCKET_EIO, "EIO"}};
enum { ERRORS = sizeof errors / sizeof *errors };

static void check_cut_short(line *l, size_t size, const char *when)
{
    arrival a = receive_all(selector, l->pair.peer, 0);

    ok(a.total < size && a.intact, "not everything came");
    is_int(a.end, -ECONNRESET, "P2: %s: the peer sees a reset, not an end", when);
    works_again();
    is_status(asocket_await_closed(l->pair.socket), ASOCKET_OK, "P2: and the close has an end");
    line_close(l);
}

/* What the channel held when it was closed cannot be sent. */
static void test_send_fails_after_close(size_t row)
{
    size_t total;
    line l;

    if (!line_open_on(selector, &l, 0))
        return;
    total = line_stuff(&l);
    is_status(asocket_close(l.pair.socket), ASOCKET_OK, "a full socket is closed");
    fail_send = errors[row].error;
    check_cut_short(&l, total, errors[row].name);
}

/* The loop that sends in the background fails, and then the socket is closed. */
static void test_send_fails_before_close(size_t row)
{
    char bytes[50000];
    size_t total;
    line l;
    int i;

    if (!line_open_on(selector, &l, 0))
        return;
    total = line_stuff(&l);
    fail_send = errors[row].error;
    ok(recv(l.pair.peer, bytes, sizeof bytes, 0) > 0, "the peer makes room");
    for (i = 0; i < 10; i++) {
        acknowledge(l.pair.peer);
        asocket_sleep(selector, 1 + LINE_LATER / 4);
        (void)!recv(l.pair.peer, bytes, sizeof bytes, MSG_DONTWAIT);
    }
    is_status(asocket_flush(l.out), errors[row].status, "the writer is told of %s",
              errors[row].name);
    ok(asocket_write(l.out, "x", 1) < 0, "and the stream is over");
    asocket_close(l.pair.socket);
    is_int(receive_all(selector, l.pair.peer, 0).end, -ECONNRESET,
           "P2: the peer sees a reset, not an end");
    ok(total > 0, "after what had been sent");
    works_again();
    line_close(&l);
}

/* The loop cannot be asked to go on sending. */
static void test_arming_fails(bool closed)
{
    char bytes[5000];
    asocket__backend failing = *selector->backend;
    size_t total = 0;
    line l;

    if (!line_open_on(selector, &l, 0))
        return;
    real = selector->backend;
    failing.arm = failing_arm;
    selector->backend = &failing;
    fail_arm = closed ? 0 : ASOCKET_ENOMEM;
    do {
        fill_pattern(bytes, sizeof bytes, total);
        total += sizeof bytes;
        fail_arm = closed && total > 40000 ? ASOCKET_ENOMEM : fail_arm;
    } while (total < 10000000 && asocket_write(l.out, bytes, sizeof bytes) > 0);
    ok(total < 10000000, "at last a write does not go through");
    asocket_close(l.pair.socket);
    check_cut_short(&l, total, "arming fails");
    selector->backend = real;
}

/* --- no memory -------------------------------------------------------------------------------- */

static bool out_of_memory;

static void *scarce(void *user, void *block, size_t old_size, size_t new_size)
{
    if (out_of_memory && new_size > old_size)
        return NULL;
    return test_resize(user, block, old_size, new_size);
}

/* Unread input must be read to the end, or the kernel makes a reset of it that eats the answer. */
static void test_no_memory_to_drain(void)
{
    static char junk[100000], answer[60000];
    asocket_selector_options options;
    asocket_selector *poor = NULL;
    const char *bytes;
    line l, hog;

    memset(&options, 0, sizeof options);
    options.backend = backend;
    options.allocator.resize = scarce;
    options.allocator.user = &test_selector_memory;
    if (asocket_selector_open(&options, &poor) < 0 || !line_open_on(poor, &l, 0) ||
        !line_open_on(poor, &hog, 0))
        return;
    send_what_fits(l.pair.peer, junk, sizeof junk);
    fill_pattern(answer, sizeof answer, 0);
    ok(asocket_write(l.out, answer, sizeof answer) > 0 && asocket_flush(l.out) == 0,
       "the kernel has an answer, and has not sent it all");
    test_peer_send(hog.pair.peer, "x", 1);
    is_int(asocket_peek(hog.in, &bytes, 1), 1, "another channel has the last block of memory");
    out_of_memory = true;
    asocket_close(l.pair.socket);
    ok(all_arrived(poor, l.pair.peer, sizeof answer), "P2: without memory it arrives, too");
    out_of_memory = false;
    line_close(&hog);
    line_close(&l);
    asocket_selector_destroy(poor);
}

int main(int argc, char **argv)
{
    size_t row;

    selector = test_selector(argc, argv);
    backend = test_backend(argc, argv);
    if (!selector)
        return 1;
    for (row = 0; row < ERRORS; row++) {
        test_send_fails_after_close(row);
        test_send_fails_before_close(row);
    }
    test_arming_fails(false);
    test_arming_fails(true);
    test_no_memory_to_drain();
    return test_end(selector);
}
