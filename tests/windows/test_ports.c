/* test_ports.c - what is Windows' own: sockets belong to a completion port for ever, stacks grow as
   those of threads do, exceptions and LoadLibrary work on them, a refusal comes at once, ports are
   exclusive; and 300 small servers in a row. */
#include "test.h"

static asocket_selector *selector;
static int backend;

/* --- a socket and its port -------------------------------------------------------------------- */

static asocket_selector *another(void)
{
    asocket_selector_options options;

    memset(&options, 0, sizeof options);
    options.backend = backend;
    return test_selector_with(options);
}

static void answer(asocket_selector *owner, void *argument)
{
    asocket_read_channel *in = asocket_open_read_channel((asocket *)argument);
    asocket_write_channel *out =
        asocket_open_write_channel((asocket *)argument, ASOCKET_AUTO_FLUSH);
    char text[32];

    (void)owner;
    while (asocket_read_line(in, text, sizeof text) >= 0)
        asocket_printf(out, "%s!\n", text);
}

/* Both selectors are this thread's: turn by turn. */
static bool answers(asocket_selector *other, int peer)
{
    int64_t end = test_clock() + 5000000000;
    char text[8];
    ssize_t count = -1;

    test_peer_send(peer, "hello\n", 6);
    while (count < 0 && test_clock() < end) {
        asocket_poll(other, 1);
        asocket_sleep(selector, 1);
        count = recv(peer, text, sizeof text, MSG_DONTWAIT);
    }
    return count == 7 && !memcmp(text, "hello!\n", 7);
}

static void one_that_never_waited_moves(void)
{
    asocket_selector *other = another();
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    is_status(asocket_hand_over(pair.socket, other, answer), ASOCKET_OK,
              "P13: an accepted connection that has not waited is handed over");
    ok(answers(other, pair.peer), "P13: and served there");
    test_pair_close(&pair);
    asocket_selector_destroy(other);
}

static void one_that_waited_stays(void)
{
    asocket_selector *other = another();
    asocket_read_channel *in;
    test_pair pair;
    char text[8];

    if (!test_pair_open(selector, &pair))
        return;
    in = asocket_open_read_channel(pair.socket);
    asocket_set_timeout(pair.socket, 10);
    is_status(asocket_read_line(in, text, sizeof text), ASOCKET_ETIMEDOUT, "a socket waits");
    if (backend == ASOCKET_BACKEND_IOCP)
        is_status(asocket_hand_over(pair.socket, other, answer), ASOCKET_ENOTSUP,
                  "P13: then it cannot leave its port");
    test_peer_send(pair.peer, "here\n", 5);
    is_int(asocket_read_line(in, text, sizeof text), 4, "P7: it works on where it is");
    test_pair_close(&pair);
    asocket_selector_destroy(other);
}

static void serve(asocket_selector *owner, void *argument)
{
    (void)owner;
    (void)asocket_serve((asocket *)argument, answer);
}

/* The duplicate belongs to the first one's port: the second looks now and then. */
static void a_listener_is_shared(void)
{
    asocket_selector *other = another();
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    asocket_address address;
    int peer;

    asocket_local_address(server, &address);
    asocket_set_timeout(server, 5);
    ok(!asocket_accept(server), "a listener waits");
    is_status(asocket_share(server, other, serve), ASOCKET_OK, "P13: and is shared");
    asocket_close(server);
    asocket_poll(other, 1);
    peer = test_peer_connect(address.port);
    ok(peer >= 0 && answers(other, peer), "P13: the other one accepts and serves");
    close(peer);
    asocket_selector_destroy(other);
}

static void a_refusal_comes_at_once(void)
{
    asocket_address address;
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    int64_t start = test_clock();

    asocket_local_address(server, &address);
    ok(!asocket_bind(asocket_tcp(selector), "127.0.0.1", address.port) &&
           asocket_error(selector) == ASOCKET_EADDRINUSE,
       "a port is one listener's");
    asocket_close(server);
    ok(!asocket_connect(asocket_tcp(selector), "127.0.0.1", address.port), "nobody listens");
    is_status(asocket_error(selector), ASOCKET_ECONNREFUSED, "which is a refusal");
    ok(test_took(start, 0, 500), "at once");
}

/* --- stacks ----------------------------------------------------------------------------------- */

static size_t committed(const void *place)
{
    MEMORY_BASIC_INFORMATION facts;

    return VirtualQuery(place, &facts, sizeof facts) ? facts.RegionSize : 0;
}

typedef struct depth {
    size_t before, after; /* bytes of memory behind the stack */
    unsigned sum;
} depth;

__attribute__((noinline)) static unsigned go_down(asocket_selector *owner, int levels, depth *d)
{
    volatile unsigned char local[900];
    unsigned sum = 0;
    int i;

    for (i = 0; i < 900; i++)
        local[i] = (unsigned char)(levels + i);
    if (levels)
        sum = go_down(owner, levels - 1, d);
    else
        d->after = committed((const void *)&local);
    if (levels == 30)
        asocket_yield(owner);
    for (i = 0; i < 900; i++)
        sum += local[i] == (unsigned char)(levels + i);
    return sum;
}

static void descend(asocket_selector *owner, void *argument)
{
    depth *d = (depth *)argument;
    volatile char here = 0;

    d->before = committed((const void *)&here);
    d->sum = go_down(owner, 40, d);
}

static void stacks_grow(void)
{
    depth bodies[4];
    int i, good = 0, grown = 0, small = 0;

    memset(bodies, 0, sizeof bodies);
    for (i = 0; i < 4; i++)
        asocket_launch(selector, descend, &bodies[i]);
    asocket_join_all(selector);
    for (i = 0; i < 4; i++) {
        good += bodies[i].sum == 41 * 900;
        small += bodies[i].before > 0 && bodies[i].before <= 8192;
        grown += bodies[i].after >= 36000;
    }
    is_int(good, 4, "P14: deep calls keep their variables across a switch");
#ifndef ASOCKET_FIBERS
    is_int(small, 4, "a new stack has two pages of memory");
    is_int(grown, 4, "P14: it grows when it is needed (%d bytes)", (int)bodies[0].after);
#endif
    descend(selector, &bodies[0]);
    is_int(bodies[0].sum, 41 * 900, "the thread's own stack is as before");
}

typedef struct bounds {
    bool inside, loads;
} bounds;

static void look_around(asocket_selector *owner, void *argument)
{
    bounds *b = (bounds *)argument;
    const NT_TIB *information = (const NT_TIB *)NtCurrentTeb();
    volatile char here = 0;
    const char *at = (const char *)&here;
    HMODULE library;

    b->inside =
        at < (const char *)information->StackBase && at >= (const char *)information->StackLimit;
    asocket_yield(owner);
    b->inside = b->inside && at < (const char *)information->StackBase &&
                at >= (const char *)information->StackLimit;
    library = LoadLibraryA("version.dll"); /* wants an aligned stack, and finds its bounds right */
    b->loads = library && GetProcAddress(library, "VerQueryValueA");
    if (library)
        FreeLibrary(library);
}

static void the_system_knows_the_stack(void)
{
    bounds all[3];
    int i;

    memset(all, 0, sizeof all);
    for (i = 0; i < 3; i++)
        asocket_launch(selector, look_around, &all[i]);
    asocket_join_all(selector);
    ok(all[0].inside && all[1].inside && all[2].inside, "the bounds of the stack are its own");
    ok(all[0].loads && all[1].loads && all[2].loads, "a library is loaded inside a coroutine");
}

/* --- many small ones --------------------------------------------------------------------------- */

static bool small_server(void)
{
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    asocket_job job = asocket_launch(selector, serve, server);
    asocket_address address;
    int i, good = 0;

    asocket_local_address(server, &address);
    for (i = 0; i < 3; i++) {
        asocket *socket = asocket_connect_address(asocket_tcp(selector), &address);
        asocket_write_channel *out = asocket_open_write_channel(socket, 0);
        char text[32];

        asocket_write_string(out, "hello\n");
        asocket_flush(out);
        good += asocket_read_line(asocket_open_read_channel(socket), text, sizeof text) == 6 &&
                !strcmp(text, "hello!");
        asocket_close(socket);
    }
    asocket_close(server);
    asocket_join(selector, job);
    return good == 3;
}

static void three_hundred(void)
{
    int64_t start = test_clock(), took;
    int good = 0, i;

    for (i = 0; i < 300; i++)
        good += small_server();
    took = test_clock() - start;
    is_int(good, 300, "300 servers with 3 connections each");
    ok(test_took(start, 0, 10000), "in under 10 seconds");
    diag("300 of them took %d ms; in 10 s: %d", (int)(took / 1000000),
         (int)(300 * 10000000000 / took));
}

int main(int argc, char **argv)
{
    backend = test_backend(argc, argv);
    selector = test_selector(argc, argv);
    one_that_never_waited_moves();
    one_that_waited_stays();
    a_listener_is_shared();
    a_refusal_comes_at_once();
    stacks_grow();
    the_system_knows_the_stack();
    three_hundred();
    return test_end(selector);
}
