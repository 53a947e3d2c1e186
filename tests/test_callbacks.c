/* Programs without coroutines: calls from the loop by asocket_on_ready and asocket_post, waits that
   run the loop, also inside of such calls, and ASOCKET_NO_WAIT. With coroutines it is the same. */
#include "test.h"

static asocket_selector *selector;

/* --- a trace of who was called ---------------------------------------------------------------- */

static char trace[256];

static void forget(void)
{
    trace[0] = 0;
}

static void mark(asocket_selector *owner, void *argument)
{
    (void)owner;
    strncat(trace, (const char *)argument, sizeof trace - strlen(trace) - 1);
}

static void settle(void)
{
    int i;

    for (i = 0; i < 8; i++)
        asocket_poll(selector, 0);
}

/* Polls until so many marks are there; some seconds are enough. */
static void poll_until(size_t marks)
{
    int64_t end = test_clock() + (int64_t)5000000000 * test_slowness();

    while (strlen(trace) < marks && test_clock() < end)
        asocket_poll(selector, 10);
}

/* --- on_ready --------------------------------------------------------------------------------- */

static void called_when_bytes_come(void)
{
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    forget();
    is_status(asocket_on_ready(pair.socket, ASOCKET_READ, mark, "r"), ASOCKET_OK, "on_ready");
    settle();
    is_str(trace, "", "nothing is called while nothing has come");
    test_peer_send(pair.peer, "x", 1);
    poll_until(1);
    is_str(trace, "r", "it is called when bytes come");
    test_peer_send(pair.peer, "y", 1);
    settle();
    is_str(trace, "r", "once");
    asocket_on_ready(pair.socket, ASOCKET_READ, mark, "s");
    is_str(trace, "r", "not from inside of on_ready");
    asocket_poll(selector, 0);
    is_str(trace, "rs", "at the next turn when bytes are there already");
    test_pair_close(&pair);
}

static void called_for_what_is_buffered(void)
{
    asocket_read_channel *in;
    test_pair pair;
    char line[16];

    if (!test_pair_open(selector, &pair))
        return;
    forget();
    in = asocket_open_read_channel(pair.socket);
    test_peer_send(pair.peer, "one\ntwo\n", 8);
    asocket_read_line(in, line, sizeof line);
    is_int(asocket_available(in), 4, "a second line is buffered");
    asocket_on_ready(pair.socket, ASOCKET_READ, mark, "r");
    settle();
    is_str(trace, "r", "bytes in the buffer are a reason to call, too");
    asocket_on_ready(pair.socket, ASOCKET_WRITE, mark, "w");
    settle();
    is_str(trace, "rw", "they do not keep a call for writing away");
    test_pair_close(&pair);
}

static void called_in_order(void)
{
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    forget();
    asocket_on_ready(pair.socket, ASOCKET_READ, mark, "1");
    asocket_on_ready(pair.socket, ASOCKET_WRITE, mark, "2");
    asocket_on_ready(pair.socket, ASOCKET_READ, mark, "3");
    asocket_on_ready(pair.socket, ASOCKET_READ | ASOCKET_WRITE, mark, "4");
    settle();
    is_str(trace, "24", "those whose direction is ready are called");
    test_peer_send(pair.peer, "x", 1);
    poll_until(4);
    is_str(trace, "2413", "P13: and all in the order in which they asked");
    test_pair_close(&pair);
}

static void forgotten_when_closed(void)
{
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    forget();
    asocket_on_ready(pair.socket, ASOCKET_READ, mark, "r");
    asocket_on_ready(pair.socket, ASOCKET_WRITE, mark, "w");
    asocket_close(pair.socket);
    settle();
    is_str(trace, "", "a socket that was closed calls nobody");
    is_status(asocket_on_ready(pair.socket, ASOCKET_READ, mark, "r"), ASOCKET_ECLOSED,
              "P8: nor can it be asked to");
    test_pair_close(&pair);
}

static void close_it(asocket_selector *owner, void *argument)
{
    mark(owner, "c");
    asocket_close((asocket *)argument);
}

static void closed_by_the_first(void)
{
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    forget();
    asocket_on_ready(pair.socket, ASOCKET_WRITE, close_it, pair.socket);
    asocket_on_ready(pair.socket, ASOCKET_WRITE, mark, "w");
    settle();
    is_str(trace, "c", "one that closes the socket is the last that is called");
    test_pair_close(&pair);
}

/* Asks again while it is called; writing is always possible. */
static void ask_again(asocket_selector *owner, void *argument)
{
    mark(owner, "a");
    if (strlen(trace) < 100)
        asocket_on_ready((asocket *)argument, ASOCKET_WRITE, ask_again, argument);
}

static void asked_again(void)
{
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    forget();
    asocket_on_ready(pair.socket, ASOCKET_WRITE, ask_again, pair.socket);
    asocket_poll(selector, 0);
    is_str(trace, "a", "P11: one that asks again is called in the next turn, not in the same");
    asocket_poll(selector, 0);
    is_str(trace, "aa", "P11: and there it is");
    poll_until(100);
    is_int(strlen(trace), 100, "as often as it likes");
    test_pair_close(&pair);
}

static void asked_before_a_vain_try(void)
{
    asocket_read_channel *in;
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    forget();
    in = asocket_open_read_channel(pair.socket);
    asocket_set_timeout(pair.socket, ASOCKET_NO_WAIT);
    asocket_on_ready(pair.socket, ASOCKET_READ, mark, "r");
    is_status(asocket_read_byte(in), ASOCKET_EAGAIN, "a vain try after on_ready");
    settle();
    test_peer_send(pair.peer, "x", 1);
    poll_until(1);
    is_str(trace, "r", "does not make it forget");
    is_int(asocket_read_byte(in), 'x', "the byte is there");
    test_pair_close(&pair);
}

typedef struct echo { /* an echo by callbacks alone */
    asocket *socket;
    asocket_read_channel *in;
    asocket_write_channel *out;
    int calls, vain;
    int ended; /* how */
} echo;

static void echo_on(asocket_selector *owner, void *argument)
{
    echo *own = (echo *)argument;
    char bytes[64];
    ptrdiff_t count;

    (void)owner;
    own->calls++;
    while ((count = asocket_read(own->in, bytes, sizeof bytes)) > 0)
        asocket_write(own->out, bytes, (size_t)count);
    if (count == ASOCKET_EAGAIN)
        asocket_on_ready(own->socket, ASOCKET_READ, echo_on, own);
    else
        own->ended = (int)count;
}

static void echo_by_callbacks(void)
{
    test_pair pair;
    echo own;
    int i;

    if (!test_pair_open(selector, &pair))
        return;
    memset(&own, 0, sizeof own);
    own.socket = pair.socket;
    own.in = asocket_open_read_channel(pair.socket);
    own.out = asocket_open_write_channel(pair.socket, ASOCKET_AUTO_FLUSH);
    asocket_set_timeout(pair.socket, ASOCKET_NO_WAIT);
    asocket_on_ready(pair.socket, ASOCKET_READ, echo_on, &own);
    for (i = 0; i < 20; i++) {
        test_peer_send(pair.peer, "hello", 5);
        if (!test_peer_expect(selector, pair.peer, "hello"))
            break;
    }
    is_int(i, 20, "an echo by on_ready and ASOCKET_NO_WAIT");
    ok(own.calls <= 21, "P11: one call for each message");
    close(pair.peer);
    pair.peer = -1;
    for (i = 0; i < 100 && !own.ended; i++)
        asocket_poll(selector, 10);
    is_status(own.ended, ASOCKET_EOF, "P1: the end of the stream is a reason to call");
    test_pair_close(&pair);
}

static void accept_it(asocket_selector *owner, void *argument)
{
    asocket *server = (asocket *)argument, *client;

    while ((client = asocket_accept(server)) != NULL) {
        mark(owner, "c");
        asocket_close(client);
    }
    if (asocket_error(owner) == ASOCKET_EAGAIN)
        asocket_on_ready(server, ASOCKET_READ, accept_it, server);
}

static void accept_by_callbacks(void)
{
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    asocket_address address;
    int peers[3], i;

    forget();
    asocket_local_address(server, &address);
    asocket_set_timeout(server, ASOCKET_NO_WAIT);
    accept_it(selector, server);
    settle();
    is_str(trace, "", "a server without connections calls nobody");
    peers[0] = test_peer_connect(address.port);
    poll_until(1);
    is_str(trace, "c", "a connection is a reason to call");
    peers[1] = test_peer_connect(address.port);
    peers[2] = test_peer_connect(address.port);
    poll_until(3);
    is_str(trace, "ccc", "so are others");
    for (i = 0; i < 3; i++)
        close(peers[i]);
    asocket_close(server);
}

typedef struct plain { /* a layer that changes nothing */
    asocket_read_channel *in;
    asocket_write_channel *out;
    int ended;
} plain;

static ptrdiff_t plain_read(void *state, asocket *lower, void *buffer, size_t size)
{
    (void)lower;
    return asocket_read(((plain *)state)->in, buffer, size);
}

static ptrdiff_t plain_write(void *state, asocket *lower, const void *bytes, size_t size)
{
    (void)lower;
    return asocket_write(((plain *)state)->out, bytes, size);
}

static int plain_close(void *state, asocket *lower)
{
    (void)lower;
    ((plain *)state)->ended++;
    return ASOCKET_OK;
}

static void plain_cancel(void *state, asocket *lower)
{
    (void)lower;
    ((plain *)state)->ended++;
}

static const asocket_transport plain_transport = {plain_read, plain_write, plain_close,
                                                  plain_cancel};

static asocket *plain_layer(plain *state, asocket *lower)
{
    memset(state, 0, sizeof *state);
    state->in = asocket_open_read_channel(lower);
    state->out = asocket_open_write_channel(lower, ASOCKET_AUTO_FLUSH);
    asocket_set_timeout(lower, ASOCKET_NO_WAIT);
    return asocket_layer(lower, &plain_transport, state);
}

static void layers_call(void)
{
    asocket_read_channel *in;
    plain state, other_state;
    asocket *layer, *other;
    test_pair pair;
    int i;

    if (!test_pair_open(selector, &pair))
        return;
    forget();
    layer = plain_layer(&state, pair.socket);
    other = plain_layer(&other_state, layer);
    asocket_set_timeout(other, ASOCKET_NO_WAIT);
    in = asocket_open_read_channel(other);
    is_status(asocket_read_byte(in), ASOCKET_EAGAIN, "a layer on a layer, with nothing to read");
    asocket_on_ready(other, ASOCKET_READ, mark, "r");
    settle();
    is_str(trace, "", "P11: calls nobody");
    test_peer_send(pair.peer, "x", 1);
    poll_until(1);
    is_str(trace, "r", "until bytes come to the socket below");
    is_int(asocket_read_byte(in), 'x', "which it hands up");
    is_status(asocket_read_byte(in), ASOCKET_EAGAIN, "one by one");
    asocket_on_ready(other, ASOCKET_READ, mark, "s");
    test_peer_send(pair.peer, "y", 1);
    asocket_close(other);
    settle();
    is_str(trace, "r", "a layer that is closed calls nobody");
    close(pair.peer);
    pair.peer = -1;
    for (i = 0; i < 100 && state.ended + other_state.ended < 2; i++)
        asocket_poll(selector, 10);
    is_int(state.ended + other_state.ended, 2, "and its transports end");
    test_pair_close(&pair);
}

/* --- waiting inside of a call ----------------------------------------------------------------- */

static void sleep_a_little(asocket_selector *owner, void *argument)
{
    mark(owner, "(");
    if (asocket_sleep(owner, 5) == ASOCKET_OK)
        mark(owner, (char *)argument);
}

static void calls_that_wait(void)
{
    test_pair one, other;

    if (!test_pair_open(selector, &one) || !test_pair_open(selector, &other))
        return;
    forget();
    asocket_on_ready(one.socket, ASOCKET_WRITE, sleep_a_little, ")");
    asocket_on_ready(other.socket, ASOCKET_WRITE, mark, "o");
    asocket_sleep(selector, 1);
    poll_until(3);
    ok(strlen(trace) == 3 && strchr(trace, ')'), "one that waits comes back: %s", trace);
    ok(strchr(trace, 'o') < strchr(trace, ')'), "P11: and does not keep others waiting");
    test_pair_close(&one);
    test_pair_close(&other);
}

typedef struct guillotine {
    asocket *layer;
    int (*finish)(asocket *);
    uint64_t turns;
} guillotine;

static void finish_and_sleep(asocket_selector *owner, void *argument)
{
    guillotine *own = (guillotine *)argument;
    asocket_statistics before, after;

    own->finish(own->layer);
    asocket_stats(owner, &before);
    asocket_sleep(owner, 100);
    asocket_stats(owner, &after);
    own->turns = after.turns - before.turns;
}

/* Who closes it runs on the stack of who waits in it. */
static void a_layer_ends_below_its_reader(int (*finish)(asocket *))
{
    asocket_read_channel *in;
    guillotine own;
    plain state;
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    memset(&own, 0, sizeof own);
    own.layer = plain_layer(&state, pair.socket);
    own.finish = finish;
    asocket_set_timeout(pair.socket, 5000);
    in = asocket_open_read_channel(own.layer);
    asocket_post(selector, finish_and_sleep, &own);
    is_status(asocket_read_byte(in), ASOCKET_ECLOSED, "P8: a read learns that its layer is closed");
    close(pair.peer);
    pair.peer = -1;
    is_status(asocket_await_closed(own.layer), ASOCKET_OK, "P7: which comes to its end");
    is_int(state.ended, 1, "with its transport, once");
    asocket_poll(selector, 200);
    ok(own.turns < 60, "P11: nobody has tried all the time: %d turns", (int)own.turns);
    test_pair_close(&pair);
}

/* Each asks for the next before it waits: they wait inside of each other. */
typedef struct nest {
    asocket *socket;
    int left, ended;
} nest;

static void wait_inside(asocket_selector *owner, void *argument)
{
    nest *own = (nest *)argument;

    if (--own->left > 0)
        asocket_on_ready(own->socket, ASOCKET_WRITE, wait_inside, own);
    if (asocket_sleep(owner, 20) == ASOCKET_OK)
        own->ended++;
}

static void calls_nest(void)
{
    test_pair pair;
    nest own;

    if (!test_pair_open(selector, &pair))
        return;
    own.socket = pair.socket;
    own.left = 200;
    own.ended = 0;
    asocket_on_ready(pair.socket, ASOCKET_WRITE, wait_inside, &own);
    asocket_poll(selector, 0);
    is_int(own.ended, 200, "200 calls that wait, each inside of the one before");
    test_pair_close(&pair);
}

typedef struct meeting { /* two sockets are ready in the same turn, one waits for the other */
    asocket_read_channel *in;
    int got;
} meeting;

static void read_here(asocket_selector *owner, void *argument)
{
    meeting *own = (meeting *)argument;

    (void)owner;
    own->got = asocket_read_byte(own->in);
}

static void write_there(asocket_selector *owner, void *argument)
{
    (void)owner;
    test_peer_send(*(int *)argument, "x", 1);
}

static void calls_that_wait_for_each_other(void)
{
    test_pair one, other, third;
    meeting own;

    if (!test_pair_open(selector, &one) || !test_pair_open(selector, &other) ||
        !test_pair_open(selector, &third))
        return;
    own.in = asocket_open_read_channel(one.socket);
    own.got = 0;
    asocket_set_timeout(one.socket, 5000);
    /* The order in which sockets are looked at is not promised: one on either side. */
    asocket_on_ready(other.socket, ASOCKET_WRITE, write_there, &one.peer);
    asocket_on_ready(one.socket, ASOCKET_WRITE, read_here, &own);
    asocket_on_ready(third.socket, ASOCKET_WRITE, write_there, &one.peer);
    settle();
    is_int(own.got, 'x', "a call may wait for what another one of the same turn does");
    test_pair_close(&one);
    test_pair_close(&other);
    test_pair_close(&third);
}

static void destroy_it(asocket_selector *owner, void *argument)
{
    asocket_selector_destroy(owner);
    *(int *)argument = asocket_error(owner);
}

static void destroyed_by_a_call(void)
{
    int status = 0;
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    asocket_on_ready(pair.socket, ASOCKET_WRITE, destroy_it, &status);
    settle();
    is_status(status, ASOCKET_EINVAL, "P6: a selector cannot be destroyed inside of its own loop");
    test_pair_close(&pair);
}

/* --- post ------------------------------------------------------------------------------------- */

static void posts_are_called(void)
{
    forget();
    asocket_post(selector, mark, "a");
    asocket_post(selector, mark, "b");
    asocket_post(selector, mark, "c");
    is_str(trace, "", "a post is not called at once");
    asocket_poll(selector, 0);
    poll_until(3);
    is_str(trace, "abc", "P13: posts are called in their order");
    settle();
    is_str(trace, "abc", "each once");
}

static void post_another(asocket_selector *owner, void *argument)
{
    mark(owner, "1");
    asocket_post(owner, mark, argument);
    asocket_sleep(owner, 50); /* longer than a turn takes, also under Wine on a busy machine */
    mark(owner, "3");
}

static void posts_that_wait(void)
{
    int i;

    forget();
    asocket_post(selector, post_another, "2");
    poll_until(3);
    is_str(trace, "123", "a post that waits runs once, and what it posted meanwhile");
    forget();
    for (i = 0; i < 50; i++)
        asocket_post(selector, sleep_a_little, ")");
    poll_until(100);
    is_int(strlen(trace), 100, "50 posts that wait, each exactly once");
}

static void posts_at_the_end(int backend)
{
    asocket_selector *own = test_selector_closing(backend, 0);

    forget();
    asocket_post(own, mark, "a");
    asocket_post(own, sleep_a_little, "-");
    asocket_post(own, mark, "b");
    asocket_selector_destroy(own);
    is_int(strlen(trace), 3, "posts that wait for it run when the selector is destroyed: %s",
           trace);
    ok(!strchr(trace, '-'), "P7: cancelled");
}

/* --- without waiting -------------------------------------------------------------------------- */

static void waiting_is_refused(void)
{
    asocket_read_channel *in;
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    in = asocket_open_read_channel(pair.socket);
    asocket_set_timeout(pair.socket, ASOCKET_NO_WAIT);
    is_status(asocket_read_byte(in), ASOCKET_EAGAIN, "NO_WAIT: a read without bytes");
    test_peer_send(pair.peer, "ab", 2);
#ifdef ASOCKET_EMBEDDED /* lwIP takes its time, on a thread of its own */
    usleep(100000);
#endif
    is_int(asocket_read_byte(in), 'a', "NO_WAIT: bytes that came since, although no loop ran");
    is_int(asocket_read_byte(in), 'b', "NO_WAIT: and those behind them");
    is_status(asocket_read_byte(in), ASOCKET_EAGAIN, "NO_WAIT: until there are none");
    asocket_set_timeout(pair.socket, ASOCKET_FOREVER);
    test_peer_send(pair.peer, "c", 1);
    is_int(asocket_read_byte(in), 'c', "a call that may wait does so again");
    test_pair_close(&pair);
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    called_when_bytes_come();
    called_for_what_is_buffered();
    called_in_order();
    forgotten_when_closed();
    closed_by_the_first();
    asked_again();
    asked_before_a_vain_try();
    echo_by_callbacks();
    accept_by_callbacks();
    layers_call();
    calls_that_wait();
    a_layer_ends_below_its_reader(asocket_close);
    a_layer_ends_below_its_reader(asocket_abort);
    calls_nest();
    calls_that_wait_for_each_other();
    destroyed_by_a_call();
    posts_are_called();
    posts_that_wait();
    posts_at_the_end(test_backend(argc, argv));
    waiting_is_refused();
    return test_end(selector);
}
