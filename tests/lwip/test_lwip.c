/* Over lwIP, with ASOCKET_EMBEDDED: sockets and poll are all there is. What a program needs after
   its start, what the library answers for what is left out, and what lwIP does in its own way. */
#include "../test.h"

#include <pthread.h>

static asocket_selector *selector;

/* Two connected sockets of the library, without coroutines: one thread has both. */
typedef struct both {
    asocket *server, *near, *far;
    asocket_read_channel *near_in, *far_in;
    asocket_write_channel *near_out, *far_out;
} both;

static bool connect_both(both *b)
{
    asocket_address address;

    memset(b, 0, sizeof *b);
    b->server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    if (!b->server || asocket_local_address(b->server, &address) < 0)
        return ok(false, "a server: %s", asocket_error_message(selector));
    b->near = asocket_connect(asocket_tcp(selector), "127.0.0.1", address.port);
    b->far = b->near ? asocket_accept(b->server) : NULL;
    if (!b->far)
        return ok(false, "a connection: %s", asocket_error_message(selector));
    b->near_in = asocket_open_read_channel(b->near);
    b->far_in = asocket_open_read_channel(b->far);
    b->near_out = asocket_open_write_channel(b->near, 0);
    b->far_out = asocket_open_write_channel(b->far, 0);
    return true;
}

static void close_both(both *b)
{
    asocket_close(b->near);
    asocket_close(b->far);
    asocket_close(b->server);
}

/* --- memory ----------------------------------------------------------------------------------- */

typedef struct echo {
    both b;
    int rounds;
} echo;

/* The far side: gives back what comes, and asks for notice of the next. */
static void give_back(asocket_selector *owner, void *argument)
{
    echo *e = (echo *)argument;
    char bytes[300];
    ptrdiff_t count;

    (void)owner;
    asocket_set_timeout(e->b.far, ASOCKET_NO_WAIT);
    while ((count = asocket_read(e->b.far_in, bytes, sizeof bytes)) > 0) {
        asocket_write(e->b.far_out, bytes, (size_t)count);
        e->rounds++;
    }
    asocket_flush(e->b.far_out);
    if (count == ASOCKET_EAGAIN)
        asocket_on_ready(e->b.far, ASOCKET_READ, give_back, e);
}

static bool one_round(echo *e, char mark)
{
    char line[200], answer[200];

    memset(line, mark, sizeof line);
    line[sizeof line - 1] = '\n';
    return asocket_write(e->b.near_out, line, sizeof line) >= 0 &&
           asocket_flush(e->b.near_out) == ASOCKET_OK &&
           asocket_read_line(e->b.near_in, answer, sizeof answer) == (ptrdiff_t)sizeof line - 1 &&
           answer[0] == mark;
}

static void nothing_is_allocated_after_the_start(void)
{
    echo e;
    size_t calls;
    int i, good = 0;

    memset(&e, 0, sizeof e);
    if (!connect_both(&e.b))
        return;
    asocket_on_ready(e.b.far, ASOCKET_READ, give_back, &e);
    for (i = 0; i < 3; i++)
        good += one_round(&e, 'a');
    is_int(good, 3, "lines come back, by callbacks and by calls that wait");
    calls = test_selector_memory.calls;
    for (i = 0, good = 0; i < 200; i++)
        good += one_round(&e, (char)('a' + i % 26));
    is_int(good, 200, "and so on");
    is_int((int64_t)(test_selector_memory.calls - calls), 0,
           "nothing is allocated after the start while no socket is made");
    close_both(&e.b);
    asocket_poll(selector, 0);
}

/* Closed sockets' memory is used again. */
static void sockets_come_and_go(void)
{
    size_t bytes = 0;
    int i, good = 0;

    for (i = 0; i < 40; i++) {
        both b;

        good += connect_both(&b) && asocket_write_string(b.near_out, "x") >= 0 &&
                asocket_flush(b.near_out) == ASOCKET_OK && asocket_read_byte(b.far_in) == 'x';
        close_both(&b);
        asocket_sleep(selector, 5);
        if (i == 20)
            bytes = test_selector_memory.bytes;
    }
    is_int(good, 40, "connections come and go");
    ok(test_selector_memory.bytes <= bytes, "P5: in the same memory");
}

/* --- bytes ------------------------------------------------------------------------------------ */

static void much_is_written(void)
{
    enum { SIZE = 300000 };
    char *bytes = (char *)malloc(SIZE), piece[5000];
    int64_t sent = 0, received = 0;
    bool right = true;
    ptrdiff_t count = 0;
    both b;
    int i;

    if (!connect_both(&b))
        return;
    for (i = 0; i < SIZE; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    asocket_set_timeout(b.near, ASOCKET_NO_WAIT);
    asocket_set_timeout(b.far, ASOCKET_NO_WAIT);
    for (i = 0; i < 100000 && received < SIZE; i++) {
        if (sent < SIZE) {
            size_t part = SIZE - sent < 1000 ? (size_t)(SIZE - sent) : 1000;

            if (asocket_write(b.near_out, bytes + sent, part) >= 0)
                sent += (int64_t)part;
        }
        asocket_flush(b.near_out);
        while ((count = asocket_read(b.far_in, piece, sizeof piece)) > 0) {
            right = right && memcmp(piece, bytes + received, (size_t)count) == 0;
            received += count;
        }
        asocket_sleep(selector, i % 8 ? 0 : 1);
    }
    is_int(received, SIZE, "P5: all that was written arrives, though neither side waits");
    ok(right, "and in order");
    asocket_set_timeout(b.far, 5000);
    asocket_finish(b.near_out);
    is_status(asocket_read(b.far_in, piece, sizeof piece), ASOCKET_EOF,
              "P1: then the end of the stream");
    asocket_write_string(b.far_out, "still here\n");
    asocket_flush(b.far_out);
    asocket_set_timeout(b.near, 5000);
    is_int(asocket_read_line(b.near_in, piece, sizeof piece), 10,
           "P3: the other direction goes on");
    asocket_set_timeout(b.near, 20);
    is_status(asocket_read_byte(b.near_in), ASOCKET_ETIMEDOUT, "P7: a time-out ends a wait");
    close_both(&b);
    free(bytes);
}

static void nobody_listens(void)
{
    asocket_builder tcp = asocket_tcp(selector);
    asocket *server = asocket_bind(tcp, "127.0.0.1", 0);
    asocket_address address;

    asocket_local_address(server, &address);
    asocket_close(server);
    tcp.connect_timeout = 5000;
    ok(!asocket_connect(tcp, "127.0.0.1", address.port) &&
           (asocket_error(selector) == ASOCKET_ECONNREFUSED ||
            asocket_error(selector) == ASOCKET_ECONNRESET),
       "a connection that nobody accepts is refused; lwIP says reset");
}

static void datagrams(void)
{
    asocket *one = asocket_bind(asocket_udp(selector), "127.0.0.1", 0);
    asocket *other = asocket_bind(asocket_udp(selector), "127.0.0.1", 0);
    asocket_address to, from;
    char bytes[100];

    asocket_local_address(other, &to);
    asocket_set_timeout(other, 5000);
    is_int(asocket_send_to(one, "ping", 4, &to), 4, "a datagram is sent");
    is_int(asocket_receive_from(other, bytes, sizeof bytes, &from), 4, "and received");
    is_int(asocket_send_to(other, "pong!", 5, &from), 5, "and answered");
    asocket_set_timeout(one, 5000);
    is_int(asocket_receive_from(one, bytes, sizeof bytes, &from), 5, "to who sent it");
    asocket_set_timeout(one, 10);
    is_status(asocket_receive_from(one, bytes, sizeof bytes, &from), ASOCKET_ETIMEDOUT,
              "P7: waiting for a datagram ends, too");
    asocket_close(one);
    asocket_close(other);
}

/* --- what is left out ------------------------------------------------------------------------- */

static void what_is_left_out_says_so(void)
{
    asocket_address address;
    both b;

    ok(!asocket_bind(asocket_unix(selector), "/tmp/lwip.sock", 0) &&
           asocket_error(selector) == ASOCKET_ENOTSUP,
       "Unix sockets");
    ok(!asocket_connect(asocket_tcp(selector), "example.org", 80) &&
           asocket_error(selector) == ASOCKET_ENOTSUP,
       "host names");
    is_status(asocket_resolve(selector, "example.org", 80, &address, 1), ASOCKET_ENOTSUP,
              "looking them up");
    is_int(asocket_resolve(selector, "localhost", 80, &address, 1), 1, "but for this machine's");
    if (!connect_both(&b))
        return;
    is_status(asocket_write_file(b.near_out, 0, 0, 10), ASOCKET_ENOTSUP, "files");
    ok(asocket_send_socket(b.near, b.far) < 0, "passing sockets to other processes");
    close_both(&b);
}

static void *stop_soon(void *argument)
{
    usleep(20000);
    asocket_stop((asocket_selector *)argument);
    return NULL;
}

static void stopped_from_outside(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, stop_soon, selector);
    is_status(asocket_sleep(selector, 10000), ASOCKET_ECANCELED,
              "a stop ends a wait: the wake-up is a datagram to itself");
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    nothing_is_allocated_after_the_start();
    sockets_come_and_go();
    much_is_written();
    nobody_listens();
    datagrams();
    what_is_left_out_says_so();
    stopped_from_outside();
    return test_end(selector);
}
