/* Sockets on the move: to other selectors and their threads, to other processes; and what a forked
   child may do with the sockets of its parent. */
#include "line.h"
#include "latch.h"

#include <pthread.h>

static asocket_selector *selector;
static int backend;

/* --- workers ---------------------------------------------------------------------------------- */

typedef struct worker { /* a selector in a thread of its own */
    asocket_selector *selector;
    pthread_t thread;
    latch ready;
    test_memory memory;
} worker;

static asocket_selector *selector_with(asocket_allocator allocator)
{
    asocket_selector_options options;

    memset(&options, 0, sizeof options);
    options.backend = backend;
    options.allocator = allocator;
    return asocket_selector_create(&options);
}

static void *work(void *argument)
{
    worker *own = (worker *)argument;

    own->selector = selector_with(test_allocator(&own->memory));
    latch_post(&own->ready);
    asocket_sleep(own->selector, ASOCKET_FOREVER);
    return NULL;
}

static void worker_start(worker *own)
{
    memset(own, 0, sizeof *own);
    latch_init(&own->ready);
    pthread_create(&own->thread, NULL, work, own);
    latch_wait(&own->ready);
}

static void worker_stop(worker *own)
{
    asocket_stop(own->selector);
    pthread_join(own->thread, NULL);
    asocket_selector_destroy(own->selector); /* not by its thread: the stop may not be over */
    latch_destroy(&own->ready);
    is_int(own->memory.bytes, 0, "nothing leaked in the other thread: memory");
    is_int(own->memory.wrong_sizes, 0, "its allocator is told the right sizes");
}

/* --- what runs on the other side -------------------------------------------------------------- */

static void echo(asocket_selector *owner, void *argument)
{
    asocket *socket = (asocket *)argument;
    asocket_read_channel *in = asocket_open_read_channel(socket);
    asocket_write_channel *out = asocket_open_write_channel(socket, ASOCKET_AUTO_FLUSH);

    (void)owner;
    asocket_copy(in, out, ASOCKET_FOREVER);
}

static void never(asocket_selector *owner, void *argument)
{
    (void)owner;
    (void)argument;
    __atomic_add_fetch(&test_asserts, 1, __ATOMIC_RELAXED);
}

/* What a function on the other side found out; it posts when it is done. */
static struct {
    latch done;
    int read, write, error;
    char text[64], local[128], remote[128];
    asocket_selector *owner, *back;
    asocket *socket;
} found;

static void find_out(asocket_selector *owner, void *argument)
{
    asocket *socket = (asocket *)argument;
    asocket_read_channel *in = asocket_open_read_channel(socket);
    asocket_write_channel *out = asocket_open_write_channel(socket, ASOCKET_AUTO_FLUSH);
    asocket_address address;

    found.owner = owner;
    found.local[0] = found.remote[0] = found.text[0] = 0;
    if (asocket_local_address(socket, &address) == ASOCKET_OK)
        asocket_address_format(&address, found.local, sizeof found.local);
    if (asocket_remote_address(socket, &address) == ASOCKET_OK)
        asocket_address_format(&address, found.remote, sizeof found.remote);
    found.write = (int)asocket_write_string(out, "there\n");
    found.read = (int)asocket_read_line(in, found.text, sizeof found.text);
    latch_post(&found.done);
}

static void wait_for_find_out(void)
{
    latch_wait(&found.done);
}

/* --- unread bytes ----------------------------------------------------------------------------- */

static bool sends(int peer, size_t from, size_t size)
{
    char bytes[8192];

    fill_pattern(bytes, size, from);
    return test_peer_send(peer, bytes, size);
}

/* Whether all of the pattern comes back from `from` on, and then the end. */
static bool comes_back(int peer, size_t from, size_t to)
{
    arrival a = {from, true, -ETIMEDOUT};
    char bytes[16384];
    int64_t end = test_clock() + (int64_t)10000000000 * test_slowness();

    shutdown(peer, SHUT_WR);
    while (test_clock() < end) {
        ssize_t count = recv(peer, bytes, sizeof bytes, MSG_DONTWAIT);

        if (count < 0 && errno == EAGAIN)
            asocket_sleep(selector, 1);
        else if (!arrived(&a, bytes, count))
            break;
    }
    if (a.intact && a.total == to)
        return true;
    diag("%d bytes came back, intact: %d", (int)a.total, a.intact);
    return false;
}

static void unread_bytes_go_along(worker *other, size_t read, size_t more, const char *how)
{
    asocket_builder tcp = asocket_tcp(selector);
    asocket_read_channel *in;
    char bytes[8192];
    test_pair pair;

    tcp.channel_capacity = 4096;
    if (!test_pair_open_with(tcp, &pair))
        return;
    in = asocket_open_read_channel(pair.socket);
    sends(pair.peer, 0, 4000);
    asocket_read_full(in, bytes, read);
    sends(pair.peer, 4000, more);
    if (more) { /* a wait for more than there is fills the ring further */
        const char *window;

        asocket_peek(in, &window, 4000 - read + 1);
    }
    ok(asocket_available(in) > 0, "bytes are unread, %s", how);
    is_status(asocket_hand_over(pair.socket, other->selector, echo), ASOCKET_OK,
              "a socket is handed over, %s", how);
    ok(comes_back(pair.peer, read, 4000 + more), "P7: none of them is lost, %s", how);
    test_pair_close(&pair);
}

typedef struct feed {
    asocket *from;
    size_t size;
} feed;

static void feed_pattern(asocket_selector *owner, void *argument)
{
    feed *own = (feed *)argument;
    asocket_write_channel *out = asocket_open_write_channel(own->from, 0);
    char bytes[8192];
    size_t at;

    (void)owner;
    for (at = 0; at < own->size; at += sizeof bytes) {
        fill_pattern(bytes, sizeof bytes, at);
        asocket_write(out, bytes, sizeof bytes);
    }
    asocket_flush(out);
}

/* Whether the pattern comes from `from` on until all that was sent before has come. */
static bool comes_on(int peer, size_t from, size_t to)
{
    arrival a = {from, true, -ETIMEDOUT};
    char bytes[4096];

    while (a.total < to) {
        size_t size = to - a.total < sizeof bytes ? to - a.total : sizeof bytes;

        if (!arrived(&a, bytes, test_peer_receive(selector, peer, bytes, size)))
            break;
    }
    if (a.intact && a.total == to)
        return true;
    diag("%d of %d bytes came, intact: %d", (int)(a.total - from), (int)(to - from), a.intact);
    return false;
}

/* A copy that is stuck leaves up to 256 KiB behind, in a block of its own. */
static void more_than_a_ring_goes_along(worker *other)
{
    asocket_builder tcp = asocket_tcp(selector);
    feed own = {NULL, 4194304};
    asocket_read_channel *in;
    asocket_job feeder;
    test_pair from, to;
    int64_t former, copied;
    ptrdiff_t unread;

    tcp.send_buffer = 4096;
    if (!test_pair_open(selector, &from) || !test_pair_open_with(tcp, &to))
        return;
    own.from = asocket_adopt(asocket_tcp(selector), dup(from.peer));
    feeder = asocket_launch(selector, feed_pattern, &own);
    in = asocket_open_read_channel(from.socket);
    former = asocket_set_deadline(selector, 100 * test_slowness());
    copied = asocket_copy(in, asocket_open_write_channel(to.socket, 0), ASOCKET_FOREVER);
    asocket_restore_deadline(selector, former);
    is_status(copied, ASOCKET_ETIMEDOUT, "a copy is stuck");
    copied = asocket_transferred(in);
    unread = asocket_available(in);
    ok(unread > 16384, "with more in hand than a ring takes (%d bytes)", (int)unread);
    is_status(asocket_hand_over(from.socket, other->selector, echo), ASOCKET_OK,
              "its socket is handed over");
    ok(comes_on(from.peer, (size_t)copied, own.size), "P7: not a byte is lost");
    asocket_join(selector, feeder);
    asocket_abort(own.from);
    test_pair_close(&from);
    test_pair_close(&to);
}

static void test_unread(worker *other)
{
    unread_bytes_go_along(other, 1, 0, "in one piece");
    unread_bytes_go_along(other, 3500, 3000, "around the end of the ring");
    unread_bytes_go_along(other, 1, 4000, "a full ring and more behind it");
    more_than_a_ring_goes_along(other);
}

/* --- what goes along -------------------------------------------------------------------------- */

static void pending_output_comes_first(worker *other)
{
    asocket_write_channel *out;
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    out = asocket_open_write_channel(pair.socket, 0);
    asocket_write_string(out, "here\n");
    asocket_hand_over(pair.socket, other->selector, find_out);
    test_peer_send(pair.peer, "x\n", 2);
    wait_for_find_out();
    ok(test_peer_expect(selector, pair.peer, "here\nthere\n"), "P2: what was written leaves first");
    is_int(test_peer_end(selector, pair.peer), 0, "the function's end closes the new socket");
    ok(found.owner == other->selector, "it ran in the other selector");
    ok(found.read == 1 && strcmp(found.text, "x") == 0, "and read on");
    test_pair_close(&pair);
}

static void the_old_handle_is_closed(worker *other)
{
    asocket_read_channel *in;
    asocket_address local, remote;
    char text[128];
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    in = asocket_open_read_channel(pair.socket);
    is_status(asocket_hand_over(pair.socket, other->selector, find_out), ASOCKET_OK, "a move");
    ok(asocket_is_closed(pair.socket), "P8: the old handle is closed");
    is_status(asocket_read(in, text, 1), ASOCKET_ECLOSED, "P8: its channel says so");
    ok(!asocket_open_write_channel(pair.socket, 0), "P8: no other one is opened");
    is_status(asocket_await_closed(pair.socket), ASOCKET_OK, "P8: its end need not be awaited");
    is_status(asocket_hand_over(pair.socket, other->selector, never), ASOCKET_ECLOSED,
              "P8: it cannot go twice");
    is_status(asocket_close(pair.socket), ASOCKET_OK, "P8: closing it is harmless");
    test_peer_send(pair.peer, "still\n", 6);
    wait_for_find_out();
    is_str(found.text, "still", "P8: nothing of that reaches the new one");
    is_status(asocket_local_address(pair.socket, &local), ASOCKET_OK, "P8: it knows where it was");
    asocket_address_format(&local, text, sizeof text);
    is_str(text, found.local, "P8: as the new one does");
    is_status(asocket_remote_address(pair.socket, &remote), ASOCKET_OK, "P8: and its peer");
    asocket_address_format(&remote, text, sizeof text);
    is_str(text, found.remote, "P8: as the new one does");
    test_pair_close(&pair);
}

static void half_closed_sockets(worker *other)
{
    test_pair pair;
    char text[16];

    if (!test_pair_open(selector, &pair))
        return;
    asocket_finish(asocket_open_write_channel(pair.socket, 0));
    asocket_hand_over(pair.socket, other->selector, find_out);
    test_peer_send(pair.peer, "more\n", 5);
    wait_for_find_out();
    is_status(found.write, ASOCKET_ECLOSED, "P3: writing had ended before the move");
    is_str(found.text, "more", "P3: reading goes on");
    test_pair_close(&pair);

    test_pair_open(selector, &pair);
    test_peer_send(pair.peer, "a\nlast", 6);
    shutdown(pair.peer, SHUT_WR);
    asocket_read_line(asocket_open_read_channel(pair.socket), text, sizeof text);
    asocket_hand_over(pair.socket, other->selector, find_out);
    wait_for_find_out();
    is_str(found.text, "last", "P1: the peer had ended its side: the last line is delivered");
    ok(test_peer_expect(selector, pair.peer, "there\n"), "P3: the other direction goes on");
    test_pair_close(&pair);

    test_pair_open(selector, &pair);
    shutdown(pair.peer, SHUT_WR);
    asocket_read_line(asocket_open_read_channel(pair.socket), text, sizeof text);
    asocket_hand_over(pair.socket, other->selector, find_out);
    wait_for_find_out();
    is_status(found.read, ASOCKET_EOF, "P1: the end was read already: it is the end there, too");
    ok(test_peer_expect(selector, pair.peer, "there\n"), "P3: writing goes on");
    test_pair_close(&pair);
}

static void reading_was_given_up(worker *other)
{
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    asocket_cancel_read(asocket_open_read_channel(pair.socket));
    test_peer_send(pair.peer, "x\n", 2);
    asocket_hand_over(pair.socket, other->selector, find_out);
    wait_for_find_out();
    is_status(found.read, ASOCKET_ECANCELED, "reading was given up: there, too");
    test_pair_close(&pair);

    test_pair_open(selector, &pair);
    asocket_shutdown(pair.socket, ASOCKET_READ);
    asocket_hand_over(pair.socket, other->selector, find_out);
    wait_for_find_out();
    is_status(found.read, ASOCKET_EOF, "reading was shut down: there, too");
    test_pair_close(&pair);
}

static void reply_and_hand_back(asocket_selector *owner, void *argument);

static void answer_datagram(asocket_selector *owner, void *argument)
{
    asocket *socket = (asocket *)argument;
    asocket_address from;
    char text[16];
    ptrdiff_t size;

    (void)owner;
    size = asocket_receive_from(socket, text, sizeof text, &from);
    asocket_send_to(socket, text, size > 0 ? (size_t)size : 0, &from);
}

static void datagram_sockets(worker *other)
{
    asocket *server = asocket_bind(asocket_udp(selector), "127.0.0.1", 0), *client;
    asocket_address address;
    char text[16];

    asocket_local_address(server, &address);
    client = asocket_connect_address(asocket_udp(selector), &address);
    asocket_set_timeout(client, 5000);
    asocket_send_to(client, "early", 5, NULL);
    is_status(asocket_hand_over(server, other->selector, answer_datagram), ASOCKET_OK,
              "a datagram socket moves");
    is_int(asocket_receive_from(client, text, sizeof text, NULL), 5, "and answers there");
    asocket_close(client);
}

static void accept_one(asocket_selector *owner, void *argument)
{
    asocket *client = asocket_accept((asocket *)argument);

    find_out(owner, client);
    asocket_close(client);
}

static void listeners(worker *other)
{
    test_pair pair;
    int before, port;

    if (!test_pair_open(selector, &pair))
        return;
    before = test_peer_connect(pair.port);
    port = pair.port;
    is_status(asocket_hand_over(pair.server, other->selector, accept_one), ASOCKET_OK,
              "a listener moves");
    test_peer_send(before, "early\n", 6);
    wait_for_find_out();
    is_str(found.text, "early", "with the connections that wait");
    close(before);
    asocket_sleep(selector, 20);
    before = test_peer_connect(port);
    ok(before < 0, "and closes there");
    if (before >= 0)
        close(before);
    test_pair_close(&pair);
}

static void unix_sockets(worker *other)
{
    asocket_builder local = asocket_unix(selector);
    char path[64];
    asocket *server, *client;

    snprintf(path, sizeof path, "/tmp/moving-%d", (int)getpid());
    local.unlink = true;
    server = asocket_bind(local, path, 0);
    client = asocket_connect(asocket_unix(selector), path, 0);
    ok(server && client, "a Unix listener with a file");
    is_status(asocket_hand_over(server, other->selector, accept_one), ASOCKET_OK, "moves");
    asocket_sleep(selector, 5);
    ok(access(path, F_OK) == 0, "its file stays");
    asocket_write_string(asocket_open_write_channel(client, ASOCKET_AUTO_FLUSH), "by path\n");
    wait_for_find_out();
    is_str(found.text, "by path", "it accepts");
    ok(strstr(found.local, path) != NULL, "its sockets know its name (%s)", found.local);
    asocket_sleep(selector, 20);
    ok(access(path, F_OK) != 0, "and its file goes when it is closed there");
    asocket_close(client);
}

static void unix_streams_keep_names(worker *other)
{
    asocket_builder builder = asocket_unix(selector);
    asocket *server, *client, *socket;
    char name[64];

    snprintf(name, sizeof name, "/tmp/asocket-moving-%d", (int)getpid());
    builder.unlink = true;
    server = asocket_bind(builder, name, 0);
    client = asocket_connect(asocket_unix(selector), name, 0);
    socket = asocket_accept(server);
    is_status(asocket_hand_over(client, other->selector, find_out), ASOCKET_OK,
              "a Unix connection moves");
    asocket_write_string(asocket_open_write_channel(socket, ASOCKET_AUTO_FLUSH), "hello\n");
    wait_for_find_out();
    is_str(found.text, "hello", "and goes on");
    ok(strstr(found.remote, name) != NULL, "it knows its peer's name (%s)", found.remote);
    asocket_close(socket);
    asocket_close(server);
}

static void to_itself(void)
{
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    test_peer_send(pair.peer, "again\n", 6);
    is_status(asocket_hand_over(pair.socket, selector, find_out), ASOCKET_OK,
              "a socket moves to its own selector");
    ok(test_peer_expect(selector, pair.peer, "there\n"), "and goes on");
    wait_for_find_out();
    is_str(found.text, "again", "with its bytes");
    test_pair_close(&pair);
}

static void move_on(asocket_selector *owner, void *argument)
{
    (void)owner;
    found.error = asocket_hand_over((asocket *)argument, found.back, find_out);
}

static void from_inside_a_coroutine(worker *other)
{
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    found.back = other->selector;
    asocket_join(selector, asocket_launch_socket(selector, move_on, pair.socket));
    is_status(found.error, ASOCKET_OK, "the coroutine that a socket was launched with moves it");
    test_peer_send(pair.peer, "on\n", 3);
    wait_for_find_out();
    is_str(found.text, "on", "and its end does not close it");
    test_pair_close(&pair);
}

static void test_what_goes_along(worker *other)
{
    pending_output_comes_first(other);
    the_old_handle_is_closed(other);
    half_closed_sockets(other);
    reading_was_given_up(other);
    datagram_sockets(other);
    listeners(other);
    unix_sockets(other);
    unix_streams_keep_names(other);
    to_itself();
    from_inside_a_coroutine(other);
}

/* --- failures --------------------------------------------------------------------------------- */

static int memory_left; /* allocations until one fails */

static void *resize_or_not(void *user, void *block, size_t old_size, size_t new_size)
{
    (void)user;
    (void)old_size;
    if (!new_size) {
        free(block);
        return NULL;
    }
    return memory_left-- > 0 ? realloc(block, new_size) : NULL;
}

static void without_memory_there(void)
{
    asocket_allocator allocator = {resize_or_not, NULL};
    asocket_selector *other;
    asocket_read_channel *in;
    char text[16];
    test_pair pair;
    int i;

    memory_left = 1000;
    other = selector_with(allocator);
    if (!test_pair_open(selector, &pair))
        return;
    in = asocket_open_read_channel(pair.socket);
    test_peer_send(pair.peer, "a\nb\nc\n", 6);
    asocket_read_line(in, text, sizeof text);
    for (i = 0; i < 2; i++) {
        memory_left = i;
        is_status(asocket_hand_over(pair.socket, other, never), ASOCKET_ENOMEM,
                  "no memory for a move, try %d", i);
        ok(asocket_read_line(in, text, sizeof text) == 1 && text[0] == 'b' + i,
           "P7: nothing has changed");
        memory_left = i;
        is_status(asocket_share(pair.server, other, never), ASOCKET_ENOMEM, "nor to share");
    }
    test_peer_send(pair.peer, "d\n", 2);
    ok(asocket_read_line(in, text, sizeof text) == 1 && text[0] == 'd', "P7: it goes on to wait");
    memory_left = 1000;
    asocket_selector_destroy(other);
    test_pair_close(&pair);
}

static char came[16];

static void read_came(asocket_selector *owner, void *argument)
{
    (void)owner;
    asocket_read_line(asocket_open_read_channel((asocket *)argument), came, sizeof came);
}

static void nothing(asocket_selector *owner, void *argument)
{
    (void)owner;
    (void)argument;
}

static void poll_some(asocket_selector *other, int turns)
{
    while (turns-- > 0 && !came[0])
        asocket_poll(other, 20);
}

/* What was sent to another selector waits until there is memory for it. */
static void without_memory_on_arrival(void)
{
    asocket_allocator allocator = {resize_or_not, NULL};
    asocket_selector *other;
    asocket_read_channel *in;
    test_pair pair;
    char text[16];

    memory_left = 1000;
    other = selector_with(allocator);
    asocket_launch(other, nothing, NULL); /* a stack for the function is there already */
    asocket_run(other);
    if (!test_pair_open(selector, &pair))
        return;
    in = asocket_open_read_channel(pair.socket);
    test_peer_send(pair.peer, "a\nb\n", 4);
    asocket_read_line(in, text, sizeof text);
    is_status(asocket_hand_over(pair.socket, other, read_came), ASOCKET_OK, "a socket goes");
    memory_left = 0;
    poll_some(other, 5);
    is_int(recv(pair.peer, text, 1, MSG_DONTWAIT), -1, "without memory there it is not closed");
    is_str(came, "", "it waits");
    memory_left = 1000;
    poll_some(other, 50);
    is_str(came, "b", "and arrives, with what was read, when there is memory again");
    asocket_run(other);
    is_int(test_peer_end(selector, pair.peer), 0, "then it is closed as it should");
    asocket_selector_destroy(other);
    test_pair_close(&pair);
}

/* Uses up its selector's time to end, and only then asks for more. */
static struct late {
    asocket *socket;
    int posted, shared, ran, moved;
} late;

static void count_late(asocket_selector *owner, void *argument)
{
    (void)owner;
    ++*(int *)argument;
}

static void share_late(asocket_selector *owner, void *argument)
{
    (void)owner;
    (void)argument;
    late.moved++;
}

static void post_late(asocket_selector *owner, void *argument)
{
    (void)argument;
    asocket_sleep(owner, ASOCKET_FOREVER);
    usleep(30000);
    late.posted = asocket_post(owner, count_late, &late.ran);
    late.shared = asocket_share(late.socket, owner, share_late);
}

static void out_of_time(void)
{
    int before = test_open_descriptors();
    asocket_selector *other;
    test_pair pair;

    other = test_selector_closing(backend, 1);
    if (!test_pair_open(selector, &pair))
        return;
    late.socket = pair.socket;
    asocket_launch(other, post_late, NULL);
    asocket_poll(other, 0);
    asocket_selector_destroy(other);
    ok(late.posted == ASOCKET_OK && late.shared == ASOCKET_OK,
       "posts are taken even when the time for destroying is over");
    is_int(late.ran, 1, "what was posted then runs once");
    is_int(late.moved, 1, "so does what a socket was sent with");
    test_pair_close(&pair);
    asocket_await_closed(pair.socket);
    asocket_await_closed(pair.server);
    is_int(test_open_descriptors(), before, "and no descriptor is left");
}

/* Workers that hand over to one another end one after another: what the last one still has does not
   go to those that are gone. */
typedef struct relay {
    asocket_selector *first;
    int served, moved, shared;
} relay;

static relay relayed;

static void hand_on(asocket_selector *owner, void *argument)
{
    (void)owner;
    relayed.served++;
    asocket_sleep(owner, ASOCKET_FOREVER);
    relayed.shared = asocket_share((asocket *)argument, relayed.first, hand_on);
    relayed.moved = asocket_hand_over((asocket *)argument, relayed.first, hand_on);
}

static void one_after_another(void)
{
    asocket_allocator own;
    asocket_selector *second;
    test_pair pair;

    memset(&own, 0, sizeof own);
    memset(&relayed, 0, sizeof relayed);
    relayed.first = selector_with(own);
    second = selector_with(own);
    if (!test_pair_open(relayed.first, &pair))
        return;
    is_status(asocket_hand_over(pair.socket, second, hand_on), ASOCKET_OK, "one goes to a second");
    asocket_selector_destroy(relayed.first);
    asocket_poll(second, 0);
    asocket_selector_destroy(second);
    is_int(relayed.served, 1, "which serves it");
    is_status(relayed.moved, ASOCKET_ECANCELED, "P6: it cannot go back when that one ends, too");
    is_status(relayed.shared, ASOCKET_ECANCELED, "P6: nor be shared then");
    is_int(test_peer_end(selector, pair.peer), 0, "but is closed");
    close(pair.peer);
}

static void read_one(asocket_selector *owner, void *argument)
{
    char text[16];

    (void)owner;
    asocket_read_line(asocket_open_read_channel((asocket *)argument), text, sizeof text);
}

static void accept_for_ever(asocket_selector *owner, void *argument)
{
    (void)owner;
    asocket_close(asocket_accept((asocket *)argument));
}

static void somebody_is_inside(void)
{
    asocket_job jobs[2];
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    jobs[0] = asocket_launch(selector, read_one, pair.socket);
    jobs[1] = asocket_launch(selector, accept_for_ever, pair.server);
    asocket_sleep(selector, 5);
    is_status(asocket_hand_over(pair.socket, selector, never), ASOCKET_EBUSY,
              "P12: another coroutine reads: the socket stays");
    is_status(asocket_hand_over(pair.server, selector, never), ASOCKET_EBUSY,
              "P12: another coroutine accepts: the listener stays");
    test_peer_send(pair.peer, "x\n", 2);
    asocket_join(selector, jobs[0]);
    asocket_cancel(selector, jobs[1]);
    asocket_join(selector, jobs[1]);
    is_status(asocket_hand_over(pair.socket, selector, read_one), ASOCKET_OK,
              "P12: when it is done the socket goes");
    test_peer_send(pair.peer, "x\n", 2);
    is_int(test_peer_end(selector, pair.peer), 0, "and is closed");
    test_pair_close(&pair);
}

static void receive_for_a_while(int peer)
{
    char bytes[4096];

    while (recv(peer, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
}

/* Until neither the kernel nor the ring takes any more, five times in a row. */
static void fill_up(asocket_write_channel *out)
{
    char bytes[4096];
    int refused = 0;

    memset(bytes, 'x', sizeof bytes);
    while (refused < 5)
        refused = asocket_write(out, bytes, sizeof bytes) > 0 ? 0 : refused + 1;
}

/* The flush of a hand-over waits, and a reader comes meanwhile. */
static void somebody_comes_inside(void)
{
    asocket_builder tcp = asocket_tcp(selector);
    asocket_job job;
    test_pair pair;

    tcp.send_buffer = 4096;
    tcp.timeout = 20;
    if (!test_pair_open_with(tcp, &pair))
        return;
    fill_up(asocket_open_write_channel(pair.socket, 0));
    is_status(asocket_hand_over(pair.socket, selector, never), ASOCKET_ETIMEDOUT,
              "P7: the flush of a move ends at a time-out");
    ok(!asocket_is_closed(pair.socket), "P7: and the socket stays");
    asocket_set_timeout(pair.socket, 5000);
    job = asocket_launch(selector, read_one, pair.socket);
    receive_for_a_while(pair.peer);
    is_status(asocket_hand_over(pair.socket, selector, never), ASOCKET_EBUSY,
              "P12: who came to read while it flushed keeps the socket");
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    asocket_abort(pair.socket);
    test_pair_close(&pair);
}

static ptrdiff_t pass_read(void *state, asocket *lower, void *buffer, size_t size)
{
    (void)state;
    (void)lower;
    (void)buffer;
    (void)size;
    return ASOCKET_EOF;
}

static ptrdiff_t pass_write(void *state, asocket *lower, const void *bytes, size_t size)
{
    (void)state;
    (void)lower;
    (void)bytes;
    return (ptrdiff_t)size;
}

static int pass_close(void *state, asocket *lower)
{
    (void)state;
    (void)lower;
    return 0;
}

static void pass_cancel(void *state, asocket *lower)
{
    (void)state;
    (void)lower;
}

static void wrong_arguments(void)
{
    static const asocket_transport transport = {pass_read, pass_write, pass_close, pass_cancel};
    asocket *layer;
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    is_status(asocket_hand_over(NULL, selector, never), ASOCKET_EINVAL, "no socket");
    is_status(asocket_hand_over(pair.socket, NULL, never), ASOCKET_EINVAL, "no selector");
    ok(strstr(asocket_error_message(selector), "no selector") != NULL, "and the message says so");
    is_status(asocket_hand_over(pair.socket, selector, NULL), ASOCKET_EINVAL, "no function");
    is_status(asocket_share(NULL, selector, never), ASOCKET_EINVAL, "no socket to share");
    is_status(asocket_share(pair.server, NULL, never), ASOCKET_EINVAL, "no selector to share with");
    is_status(asocket_share(pair.server, selector, NULL), ASOCKET_EINVAL, "no function to share");
    layer = asocket_layer(pair.socket, &transport, NULL);
    is_status(asocket_hand_over(layer, selector, never), ASOCKET_EINVAL, "a layer does not move");
    ok(asocket_hand_over(pair.socket, selector, never) < 0, "nor the socket below it");
    ok(asocket_share(pair.socket, selector, never) < 0, "which is not shared either");
    asocket_close(layer);
    test_pair_close(&pair);
}

static void test_failures(void)
{
    without_memory_there();
    without_memory_on_arrival();
    out_of_time();
    one_after_another();
    somebody_is_inside();
    somebody_comes_inside();
    wrong_arguments();
}

/* --- many ------------------------------------------------------------------------------------- */

static void reply_and_hand_back(asocket_selector *owner, void *argument)
{
    asocket *socket = (asocket *)argument;
    asocket_read_channel *in = asocket_open_read_channel(socket);
    char text[16];

    (void)owner;
    if (asocket_read_line(in, text, sizeof text) == 1)
        asocket_hand_over(socket, found.back, echo);
}

static void many_go_over_and_back(worker *other, int count)
{
    enum { BATCH = 50 };
    int ends[BATCH][2], good = 0, done, i;

    found.back = selector;
    for (done = 0; done < count; done += BATCH) {
        for (i = 0; i < BATCH; i++) {
            asocket *socket;

            if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends[i]) < 0)
                return;
            socket = asocket_adopt(TEST_WINDOWS ? asocket_tcp(selector) : asocket_unix(selector),
                                   ends[i][0]);
            asocket_hand_over(socket, other->selector, reply_and_hand_back);
            test_peer_send(ends[i][1], "1\nback", 6);
            shutdown(ends[i][1], SHUT_WR);
        }
        for (i = 0; i < BATCH; i++) {
            char text[16];

            good += test_peer_receive(selector, ends[i][1], text, sizeof text) == 4;
            close(ends[i][1]);
        }
    }
    is_int(good, count, "%d connections move over and back, each with the bytes read", count);
}

static int answers[4], served; /* by worker; in all */
static asocket_selector *sharers[4];

static void answer_with_number(asocket_selector *owner, void *argument)
{
    asocket_write_channel *out = asocket_open_write_channel((asocket *)argument, 0);
    int i = 0;

    while (sharers[i] != owner)
        i++;
    __atomic_add_fetch(&answers[i], 1, __ATOMIC_RELAXED);
    asocket_sleep(owner, 1);
    asocket_printf(out, "%d", i);
}

static void serve(asocket_selector *owner, void *argument)
{
    (void)owner;
    __atomic_add_fetch(&served, 1, __ATOMIC_RELAXED);
    asocket_serve((asocket *)argument, answer_with_number);
}

static void ask_the_workers(int port, int count)
{
    int told[4] = {0, 0, 0, 0}, all = 0, i, n;

    for (n = 0; n < count; n += 20) {
        int peers[20];
        char byte;

        for (i = 0; i < 20; i++)
            peers[i] = test_peer_connect(port);
        for (i = 0; i < 20; i++) {
            if (test_peer_receive(selector, peers[i], &byte, 1) == 1 && byte >= '0' && byte < '4')
                told[byte - '0']++;
            close(peers[i]);
        }
    }
    for (i = 0; i < 4; i++)
        all += __atomic_load_n(&answers[i], __ATOMIC_RELAXED);
    is_int(told[0] + told[1] + told[2] + told[3], count, "four share a listener: all are answered");
    is_int(all, count, "each was accepted once (%d %d %d %d)", answers[0], answers[1], answers[2],
           answers[3]);
}

static void four_share_a_listener(void)
{
    asocket_builder tcp = asocket_tcp(selector);
    asocket *server = asocket_bind(tcp, "0.0.0.0", 0);
    asocket_address address;
    worker workers[3];
    asocket_job job;
    int64_t end;
    int i;

    asocket_local_address(server, &address);
    sharers[0] = selector;
    job = asocket_launch(selector, serve, server);
    for (i = 0; i < 3; i++) {
        worker_start(&workers[i]);
        sharers[i + 1] = workers[i].selector;
    }
    for (i = 0; i < 3; i++)
        is_status(asocket_share(server, workers[i].selector, serve), ASOCKET_OK,
                  "a listener that accepts is shared");
    end = test_clock() + (int64_t)5000000000 * test_slowness();
    while (__atomic_load_n(&served, __ATOMIC_RELAXED) < 4 && test_clock() < end)
        asocket_sleep(selector, 1);
    ask_the_workers(address.port, 200);
    asocket_close(server);
    asocket_join(selector, job);
    i = test_peer_connect(address.port);
    ok(i >= 0, "the first one closes its listener: the others go on");
    close(i);
    for (i = 0; i < 3; i++)
        worker_stop(&workers[i]);
    ok(test_peer_connect_to(test_own_host(), address.port) < 0,
       "and when all have closed theirs, nobody listens");
}

static void greet_once(asocket_selector *owner, void *argument)
{
    asocket_write_channel *out = asocket_open_write_channel((asocket *)argument, 0);

    (void)owner;
    asocket_write_string(out, "there\n");
    asocket_flush(out);
    latch_post(&found.done);
}

static void shared_connections(worker *other)
{
    asocket_write_channel *out;
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    is_status(asocket_share(pair.socket, other->selector, greet_once), ASOCKET_OK,
              "a connection is shared");
    wait_for_find_out();
    ok(test_peer_expect(selector, pair.peer, "there\n"),
       "the other one writes, and closes its own");
    asocket_sleep(selector, 10);
    out = asocket_open_write_channel(pair.socket, ASOCKET_AUTO_FLUSH);
    is_int(asocket_write_string(out, "here\n"), 5, "which does not end it for the first one");
    ok(test_peer_expect(selector, pair.peer, "here\n"), "who goes on");
    asocket_close(pair.socket);
    is_int(test_peer_end(selector, pair.peer), 0, "when both have closed it, it ends");
    test_pair_close(&pair);
}

static void test_many(worker *other)
{
    many_go_over_and_back(other, test_slowness() > 3 ? 200 : 1000);
    four_share_a_listener();
    shared_connections(other);
}

/* ---------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    worker other;

    backend = test_backend(argc, argv);
    if (TEST_WINDOWS && backend != ASOCKET_BACKEND_POLL)
        skip_all("a completion port keeps the sockets that have waited: see test_ports");
    selector = test_selector(argc, argv);
    latch_init(&found.done);
    worker_start(&other);
    test_unread(&other);
    test_what_goes_along(&other);
    test_failures();
    test_many(&other);
    worker_stop(&other);
    latch_destroy(&found.done);
    return test_end(selector);
}
