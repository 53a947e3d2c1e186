/* test_files.c - files to sockets: parts of them, odd ones, slow readers, every way it may end. */
#include "test.h"

static asocket_selector *selector;

/* --- the system, watched: this is found before the C library's --------------------------------- */

#ifdef __linux__
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

static int broken_pipes; /* sends to come in whose middle the connection breaks */

/* The kernel does as this does when a connection breaks whose peer has ended its side: what was
   sent before is counted, and the signal comes all the same. */
ssize_t sendfile(int to, int from, off_t *offset, size_t size)
{
    if (broken_pipes && size > 1000) {
        broken_pipes--;
        size = 1000;
        raise(SIGPIPE);
    }
    return (ssize_t)syscall(SYS_sendfile, to, from, offset, size);
}

#endif

/* --- files ------------------------------------------------------------------------------------- */

static void fill(char *bytes, size_t size, size_t from)
{
    size_t i;

    for (i = 0; i < size; i++)
        bytes[i] = (char)((from + i) % 251);
}

/* A new file without a name, of the pattern. */
static int file_make(size_t size)
{
    char name[] = "/tmp/asocket-test-XXXXXX", bytes[10000];
    int fd = mkstemp(name);
    size_t at, count;

    unlink(name);
    for (at = 0; at < size; at += count) {
        count = size - at < sizeof bytes ? size - at : sizeof bytes;
        fill(bytes, count, at);
        if (write(fd, bytes, count) != (ssize_t)count)
            diag("the disk is full");
    }
    lseek(fd, 7, SEEK_SET); /* its position: nobody's business */
    return fd;
}

static bool position_unchanged(int fd)
{
    return lseek(fd, 0, SEEK_CUR) == 7;
}

/* --- a connection, and what arrives at its other end ------------------------------------------- */

typedef struct link_up {
    test_pair pair;
    asocket_write_channel *out;
} link_up;

static bool link_open_with(link_up *l, int flags, int send_buffer)
{
    asocket_builder builder = asocket_tcp(selector);

    builder.send_buffer = send_buffer;
    builder.timeout = 5000;
    if (!test_pair_open_with(builder, &l->pair))
        return false;
    l->out = asocket_open_write_channel(l->pair.socket, flags);
    return true;
}

static bool link_open(link_up *l, int flags)
{
    return link_open_with(l, flags, 8192);
}

/* Whether exactly `size` bytes of the pattern come next. */
static bool comes(const link_up *l, size_t size, size_t from)
{
    static char bytes[100000], expected[100000];
    ptrdiff_t count = test_peer_receive(selector, l->pair.peer, bytes, size);

    fill(expected, size, from);
    if (count == (ptrdiff_t)size && !memcmp(bytes, expected, size))
        return true;
    diag("%d bytes instead of %zu, or others", (int)count, size);
    return false;
}

static void parts_are_sent(int flags)
{
    int fd = file_make(50000);
    link_up l;

    if (!link_open(&l, flags))
        return;
    is_int(asocket_write_file(l.out, fd, 0, ASOCKET_FOREVER), 50000, "a whole file");
    is_int(asocket_written(l.out), 50000, "... is counted");
    ok(comes(&l, 50000, 0), "... arrives");
    ok(position_unchanged(fd), "the file's own position stays");
    is_int(asocket_write_file(l.out, fd, 100, 200), 200, "a part of it");
    ok(comes(&l, 200, 100), "... arrives");
    is_int(asocket_write_file(l.out, fd, 49000, 5000), 1000, "a file that ends before");
    ok(comes(&l, 1000, 49000), "... arrives as far as it goes");
    is_int(asocket_write_file(l.out, fd, 50000, ASOCKET_FOREVER), 0, "an offset at the end");
    is_int(asocket_write_file(l.out, fd, 60000, 10), 0, "an offset beyond it");
    is_int(asocket_write_file(l.out, fd, 0, 0), 0, "no bytes at all");
    asocket_write_string(l.out, "end");
    asocket_flush(l.out);
    ok(test_peer_expect(selector, l.pair.peer, "end"), "... and nothing was sent for them");
    ok(position_unchanged(fd), "the file's own position stays");
    close(fd);
    test_pair_close(&l.pair);
}

static void order_is_kept(int flags)
{
    int fd = file_make(1000);
    link_up l;

    if (!link_open(&l, flags))
        return;
    asocket_write_string(l.out, "before|");
    is_int(asocket_write_file(l.out, fd, 0, 1000), 1000, "a file after pending bytes");
    asocket_write_string(l.out, "|after");
    is_status(asocket_flush(l.out), ASOCKET_OK, "... and bytes after it");
    ok(test_peer_expect(selector, l.pair.peer, "before|"),
       "P4: what was written first comes first");
    ok(comes(&l, 1000, 0), "... then the file");
    ok(test_peer_expect(selector, l.pair.peer, "|after"), "... then what was written after it");
    close(fd);
    test_pair_close(&l.pair);
}

/* What MSG_MORE holds back, the kernel keeps for 200 ms: then none of several is faster, however
   busy the machine. */
static void an_empty_file_holds_nothing_back(void)
{
    int fd = file_make(0), i, whole = 0;
    int64_t best = INT64_MAX;
    link_up l;

    if (!link_open(&l, 0))
        return;
    for (i = 0; i < 5; i++) {
        int64_t start = test_clock(), took;

        asocket_write_string(l.out, "header");
        whole += asocket_write_file(l.out, fd, 0, ASOCKET_FOREVER) == 0 &&
                 test_peer_expect(selector, l.pair.peer, "header");
        took = test_clock() - start;
        best = took < best ? took : best;
    }
    is_int(whole, 5, "P4: before an empty file: what was written before arrives");
    ok(best < INT64_C(150000000), "... at once");
    close(fd);
    test_pair_close(&l.pair);
}

/* --- what is no file --------------------------------------------------------------------------- */

static void wrong_arguments_are_refused(void)
{
    int fd = file_make(10);
    link_up l;

    if (!link_open(&l, 0))
        return;
    is_status(asocket_write_file(NULL, fd, 0, 1), ASOCKET_EINVAL, "no channel");
    is_status(asocket_write_file(l.out, -1, 0, 1), ASOCKET_EINVAL, "no file");
    is_status(asocket_write_file(l.out, fd, -1, 1), ASOCKET_EINVAL, "a negative offset");
    is_status(asocket_write_file(l.out, fd, 0, -2), ASOCKET_EINVAL, "a negative length");
    close(fd);
    is_status(asocket_write_file(l.out, fd, 0, 1), ASOCKET_EINVAL, "a closed file");
    asocket_finish(l.out);
    is_status(asocket_write_file(l.out, 0, 0, 1), ASOCKET_ECLOSED, "a finished channel");
    asocket_close(l.pair.socket);
    is_status(asocket_write_file(l.out, 0, 0, 1), ASOCKET_ECLOSED, "P8: a closed one");
    test_pair_close(&l.pair);
}

static void odd_files_have_a_status(void)
{
    asocket_statistics before, after;
    int ends[2], directory = open("/tmp", O_RDONLY), null = open("/dev/null", O_WRONLY);
    link_up l;

    if (!link_open(&l, 0) || pipe(ends) < 0)
        return;
    asocket_stats(selector, &before);
    ok(asocket_write_file(l.out, ends[0], 0, 10) < ASOCKET_OK, "a pipe is no file");
    ok(asocket_write_file(l.out, directory, 0, 10) < ASOCKET_OK, "nor is a directory");
    ok(asocket_write_file(l.out, null, 0, 10) < ASOCKET_OK, "a file that may not be read");
    asocket_stats(selector, &after);
    is_int(after.buffers, before.buffers, "P5: no buffer stays behind");
    asocket_write_file(l.out, directory, 0, ASOCKET_FOREVER);
    asocket_stats(selector, &after);
    is_int(after.buffers, before.buffers, "P5: nor after a directory");
    asocket_write_string(l.out, "works");
    is_status(asocket_flush(l.out), ASOCKET_OK, "P7: the channel goes on");
    ok(test_peer_expect(selector, l.pair.peer, "works"), "... without a byte of all that");
    close(ends[0]);
    close(ends[1]);
    close(directory);
    close(null);
    test_pair_close(&l.pair);
}

/* --- slow readers, and ends in the middle ------------------------------------------------------ */

typedef struct sending {
    asocket_write_channel *out;
    int fd;
    int64_t length, result, written;
    bool done;
} sending;

static void send_file(asocket_selector *s, void *argument)
{
    sending *f = (sending *)argument;

    (void)s;
    f->result = asocket_write_file(f->out, f->fd, 0, f->length);
    f->written = asocket_written(f->out);
    f->done = true;
}

static asocket_job send_in_background(sending *f, asocket_write_channel *out, int fd)
{
    memset(f, 0, sizeof *f);
    f->out = out;
    f->fd = fd;
    f->length = ASOCKET_FOREVER;
    return asocket_launch(selector, send_file, f);
}

/* A file with holes: zeros, and a mark at its end. */
static int sparse_make(int64_t size)
{
    int fd = file_make(0);

    if (ftruncate(fd, (off_t)size) < 0 || pwrite(fd, "the end", 7, (off_t)size - 7) != 7)
        diag("no sparse file");
    return fd;
}

/* Reads zeros until there is something else: how many bytes came, *last what they ended with. */
static int64_t zeros_come(int peer, char *last, int64_t total)
{
    static char bytes[262144];
    int64_t have = 0, wrong = 0;

    while (have < total) {
        ssize_t count = recv(peer, bytes, sizeof bytes, MSG_DONTWAIT), i;

        if (count == 0 || (count < 0 && errno != EAGAIN))
            break;
        if (count < 0)
            asocket_sleep(selector, 1);
        for (i = 0; i < count; i++)
            wrong += bytes[i] != 0 && have + i < total - 7;
        have += count > 0 ? count : 0;
        if (count >= 7)
            memcpy(last, bytes + count - 7, 7);
    }
    return wrong ? -wrong : have;
}

static void a_large_file_needs_no_memory(void)
{
    int64_t size = ((int64_t)64 << 20) / test_slowness();
    int fd = sparse_make(size);
    char last[8] = "";
    size_t before;
    sending f;
    link_up l;

    if (!link_open_with(&l, 0, 1 << 20))
        return;
    asocket_sleep(selector, 1);
    before = test_selector_memory.bytes;
    send_in_background(&f, l.out, fd);
    asocket_sleep(selector, 20);
    ok(!f.done, "a large file waits for a slow reader");
    ok(test_selector_memory.bytes < before + 200000, "P5: ... in %d bytes of memory",
       (int)(test_selector_memory.bytes - before));
    is_int(zeros_come(l.pair.peer, last, size), size, "... and arrives");
    ok(!strcmp(last, "the end"), "... to the end");
    asocket_join_all(selector);
    is_int(f.result, size, "... and is counted");
    close(fd);
    test_pair_close(&l.pair);
}

#ifdef __linux__
enum { THROUGH_CHANNEL = 0 };
#else
enum { THROUGH_CHANNEL = 1 };
#endif

static void a_wait_that_ends_says_how_far_it_got(void)
{
    int fd = file_make(3000000);
    int64_t sent;
    link_up l;

    if (!link_open(&l, 0))
        return;
    asocket_set_timeout(l.pair.socket, 20);
    is_status(asocket_write_file(l.out, fd, 0, ASOCKET_FOREVER), ASOCKET_ETIMEDOUT,
              "P7: a file that nobody reads times out");
    sent = asocket_written(l.out);
    ok(sent > 0 && sent < 3000000, "P7: asocket_written says how many went (%d)", (int)sent);
    asocket_set_timeout(l.pair.socket, ASOCKET_NO_WAIT);
    if (!test_skips(THROUGH_CHANNEL, 1, "files go through the channel, which is not empty"))
        is_status(asocket_write_file(l.out, fd, sent, 0), 0, "nothing needs no wait");
    while (asocket_write_file(l.out, fd, sent, 90000) >= 0 || asocket_written(l.out))
        sent += asocket_written(l.out);
    is_status(asocket_error(selector), ASOCKET_EAGAIN, "P7: NO_WAIT is told EAGAIN");
    asocket_set_timeout(l.pair.socket, 5000);
    {
        int64_t at = 0;
        bool right = true;

        while (right && at < sent) {
            size_t count = sent - at < 90000 ? (size_t)(sent - at) : 90000;

            right = comes(&l, count, (size_t)at);
            at += (int64_t)count;
        }
        ok(right, "... the bytes that went are the file's, %d of them", (int)sent);
    }
    is_int(asocket_write_file(l.out, fd, sent, 1000), 1000, "P7: the next call goes on from there");
    ok(comes(&l, 1000, (size_t)sent), "... without a gap");
    ok(position_unchanged(fd), "the file's own position stays");
    close(fd);
    test_pair_close(&l.pair);
}

static void a_cancel_ends_it(void)
{
    int fd = file_make(3000000);
    asocket_job job;
    sending f;
    link_up l;

    if (!link_open(&l, 0))
        return;
    job = send_in_background(&f, l.out, fd);
    asocket_sleep(selector, 10);
    is_status(asocket_write_file(l.out, fd, 0, 1), ASOCKET_EBUSY, "P12: a second writer");
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(f.result, ASOCKET_ECANCELED, "P7: a cancel ends it");
    ok(f.written > 0 && f.written < 3000000, "P7: ... in the middle (%d)", (int)f.written);
    send_in_background(&f, l.out, fd);
    asocket_sleep(selector, 10);
    asocket_close(l.pair.socket);
    asocket_join_all(selector);
    is_status(f.result, ASOCKET_ECLOSED, "P8: a close ends it");
    close(fd);
    asocket_abort(l.pair.socket);
    test_pair_close(&l.pair);
}

/* SIGPIPE has its default action here: it would end the program. */
static void a_reset_is_a_status(void)
{
    int fd = file_make(3000000);
    sending f;
    link_up l;

    if (!link_open(&l, 0))
        return;
    send_in_background(&f, l.out, fd);
    asocket_sleep(selector, 10);
    test_peer_reset(l.pair.peer);
    l.pair.peer = -1;
    asocket_join_all(selector);
    is_status(f.result, ASOCKET_ECONNRESET, "P6: the peer resets in the middle");
    is_status(asocket_write_file(l.out, fd, 0, 100), ASOCKET_ECONNRESET, "P6: ... and again");
    is_status(asocket_write_file(l.out, fd, 0, 100), ASOCKET_ECONNRESET, "P6: ... and again");
    close(fd);
    test_pair_close(&l.pair);
}

#ifdef __linux__
static void a_part_and_a_signal(void)
{
    sigset_t pending;
    int fd = file_make(3000);
    link_up l;

    if (!link_open(&l, 0))
        return;
    broken_pipes = 1;
    is_int(asocket_write_file(l.out, fd, 0, ASOCKET_FOREVER), 3000,
           "P6: SIGPIPE that comes with a part of a file does not end the program");
    sigpending(&pending);
    ok(!broken_pipes && !sigismember(&pending, SIGPIPE), "... nor does it wait for later");
    close(fd);
    test_pair_close(&l.pair);
}

/* One that the program has held back for itself stays. */
static void a_signal_of_the_program(void)
{
    struct timespec none = {0, 0};
    sigset_t broken, former;
    int fd = file_make(3000);
    link_up l;

    if (!link_open(&l, 0))
        return;
    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken, &former);
    raise(SIGPIPE);
    broken_pipes = 1;
    is_int(asocket_write_file(l.out, fd, 0, ASOCKET_FOREVER), 3000, "a file is sent");
    is_int(sigtimedwait(&broken, NULL, &none), SIGPIPE, "P6: the program's own SIGPIPE is kept");
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    close(fd);
    test_pair_close(&l.pair);
}
#else
static void a_signal_of_the_program(void)
{
}

static void a_part_and_a_signal(void)
{
    skip(1, "the kernel sends no files here");
}
#endif

/* --- through a pipe and a layer ---------------------------------------------------------------- */

static void through_a_pipe(void)
{
    int fd = file_make(90000);
    static char bytes[90001], expected[90000];
    asocket_read_channel *in;
    asocket_write_channel *out;
    sending f;

    asocket_pipe(selector, 5000, &in, &out);
    send_in_background(&f, out, fd);
    is_int(asocket_read_full(in, bytes, 90000), 90000, "through a pipe of the library");
    asocket_join_all(selector);
    fill(expected, 90000, 0);
    ok(!memcmp(bytes, expected, 90000), "... intact");
    is_int(f.result, 90000, "... and counted");
    asocket_finish(out);
    is_status(asocket_read(in, bytes, 1), ASOCKET_EOF, "... and no more");
    close(fd);
}

typedef struct flip { /* a layer that turns every bit */
    asocket_write_channel *out;
} flip;

static ptrdiff_t flip_read(void *state, asocket *lower, void *buffer, size_t size)
{
    (void)state, (void)lower, (void)buffer, (void)size;
    return ASOCKET_EOF;
}

static ptrdiff_t flip_write(void *state, asocket *lower, const void *bytes, size_t size)
{
    flip *f = (flip *)state;
    char turned[1000];
    ptrdiff_t status;
    size_t i;

    if (!f->out)
        f->out = asocket_open_write_channel(lower, 0);
    status = asocket_flush(f->out);
    if (status < 0)
        return status;
    size = size < sizeof turned ? size : sizeof turned;
    for (i = 0; i < size; i++)
        turned[i] = (char)~((const char *)bytes)[i];
    asocket_write(f->out, turned, size);
    (void)asocket_flush(f->out);
    return (ptrdiff_t)size;
}

static int flip_close(void *state, asocket *lower)
{
    (void)state, (void)lower;
    return 0;
}

static void flip_cancel(void *state, asocket *lower)
{
    (void)state, (void)lower;
}

static void through_a_layer(int flags)
{
    static const asocket_transport flipping = {flip_read, flip_write, flip_close, flip_cancel};
    int fd = file_make(60000);
    static char bytes[60000], expected[60000];
    flip state = {NULL};
    asocket *layer;
    sending f;
    link_up l;
    size_t i;

    if (!test_pair_open(selector, &l.pair))
        return;
    layer = asocket_layer(l.pair.socket, &flipping, &state);
    l.out = asocket_open_write_channel(layer, flags);
    asocket_write_string(l.out, "x");
    send_in_background(&f, l.out, fd);
    is_int(test_peer_receive(selector, l.pair.peer, bytes, 1), 1, "through a layer");
    is_int(test_peer_receive(selector, l.pair.peer, bytes, 60000), 60000, "... as a copy");
    asocket_join_all(selector);
    is_int(f.result, 60000, "... counted");
    fill(expected, 60000, 0);
    for (i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)~bytes[i];
    ok(!memcmp(bytes, expected, 60000), "... and intact");
    ok(position_unchanged(fd), "the file's own position stays");
    asocket_close(layer);
    test_pair_close(&l.pair);
    asocket_await_closed(layer);
    close(fd);
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    signal(SIGPIPE, SIG_DFL); /* as the system starts programs */
    parts_are_sent(0);
    parts_are_sent(ASOCKET_AUTO_FLUSH);
    order_is_kept(0);
    order_is_kept(ASOCKET_AUTO_FLUSH);
    an_empty_file_holds_nothing_back();
    wrong_arguments_are_refused();
    odd_files_have_a_status();
    a_large_file_needs_no_memory();
    a_wait_that_ends_says_how_far_it_got();
    a_cancel_ends_it();
    a_reset_is_a_status();
    a_part_and_a_signal();
    a_signal_of_the_program();
    through_a_pipe();
    through_a_layer(0);
    through_a_layer(ASOCKET_AUTO_FLUSH);
    return test_end(selector);
}
