/* test_extending.c - what the library offers to those who build on top of it: a transport's own
   sentences, its state, the channels below it, their capacity, the host's name, and what stays as
   long as the selector. */
#include "test.h"

static asocket_selector *selector;

typedef struct both {
    asocket *near, *far;
} both;

static both connected(const char *host)
{
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    asocket_address address;
    both b;

    asocket_local_address(server, &address);
    b.near = asocket_connect(asocket_tcp(selector), host, address.port);
    b.far = asocket_accept(server);
    asocket_close(server);
    return b;
}

/* --- a transport that fails in its own words --------------------------------------------------- */

static ptrdiff_t failing_read(void *state, asocket *lower, void *buffer, size_t size)
{
    (void)state, (void)buffer, (void)size;
    return asocket_fail(asocket_selector_of(lower), ASOCKET_ETLS, "shake", "hands",
                        "the glove does not fit");
}

static ptrdiff_t failing_write(void *state, asocket *lower, const void *bytes, size_t size)
{
    (void)state, (void)bytes, (void)size;
    return asocket_fail(asocket_selector_of(lower), ASOCKET_EIO, "shake", "hands", NULL);
}

static int ignoring_close(void *state, asocket *lower)
{
    (void)state, (void)lower;
    return 0;
}

static void ignoring_cancel(void *state, asocket *lower)
{
    (void)state, (void)lower;
}

static const asocket_transport failing = {failing_read, failing_write, ignoring_close,
                                          ignoring_cancel};
static const asocket_transport other = {failing_read, failing_write, ignoring_close,
                                        ignoring_cancel};

static void a_transport_speaks_for_itself(void)
{
    both b = connected("127.0.0.1");
    asocket_read_channel *below = asocket_open_read_channel(b.near), *in;
    int state = 1;
    asocket *layer = asocket_layer(b.near, &failing, &state);
    char byte;

    in = asocket_open_read_channel(layer);
    is_status(asocket_read(in, &byte, 1), ASOCKET_ETLS, "a transport's status is the call's");
    ok(strstr(asocket_error_message(selector), "the glove does not fit") != NULL,
       "its sentence is told by the call: %s", asocket_error_message(selector));
    asocket_yield(selector);
    is_status(asocket_read(in, &byte, 1), ASOCKET_ETLS, "... and by the next one");
    ok(strstr(asocket_error_message(selector), "the glove does not fit") != NULL, "... too");
    is_status(asocket_flush(asocket_open_write_channel(layer, 0)), 0,
              "nothing to write is no error");
    ok(asocket_layer_state(layer, &failing) == &state, "a layer's state is found");
    ok(asocket_layer_state(layer, &other) == NULL, "... not with another transport");
    ok(asocket_layer_state(b.near, &failing) == NULL, "... not of a plain socket");
    ok(asocket_layer_state(NULL, &failing) == NULL, "... not of none");
    ok(asocket_open_read_channel(b.near) == below, "the channel below may be opened once more");
    ok(asocket_open_read_channel(b.near) == NULL && asocket_error(selector) == ASOCKET_EBUSY,
       "... once");
    ok(asocket_detach(layer) == b.near, "the layer is taken off");
    ok(asocket_layer_state(layer, &failing) == NULL, "a closed layer has no state");
    ok(asocket_open_read_channel(b.near) == below, "... and opened again when it is off");
    asocket_close(b.near);
    asocket_close(b.far);
}

/* --- a transport that claims what cannot be ---------------------------------------------------- */

static ptrdiff_t too_many_read(void *state, asocket *lower, void *buffer, size_t size)
{
    (void)state, (void)lower, (void)buffer;
    return (ptrdiff_t)size + 1000;
}

static ptrdiff_t odd_write(void *state, asocket *lower, const void *bytes, size_t size)
{
    (void)lower, (void)bytes;
    return *(int *)state ? (ptrdiff_t)size + *(int *)state : 0;
}

static const asocket_transport lying = {too_many_read, odd_write, ignoring_close, ignoring_cancel};

static void claims_are_checked(int more)
{
    static char large[40000];
    both b = connected("127.0.0.1");
    asocket *layer = asocket_layer(b.near, &lying, &more);
    asocket_read_channel *in = asocket_open_read_channel(layer);
    asocket_write_channel *out = asocket_open_write_channel(layer, 0);

    is_status(asocket_read(in, large, 1), ASOCKET_EIO, "more bytes than there was room for");
    asocket_write_string(out, "some");
    is_status(asocket_flush(out), ASOCKET_EIO, "%s bytes taken", more ? "more" : "no");
    asocket_close(layer);
    asocket_close(b.far);
    b = connected("127.0.0.1");
    layer = asocket_layer(b.near, &lying, &more);
    is_status(asocket_write(asocket_open_write_channel(layer, 0), large, sizeof large), ASOCKET_EIO,
              "... of many");
    is_status(asocket_read(asocket_open_read_channel(layer), large, sizeof large), ASOCKET_EIO,
              "... nor read");
    asocket_close(layer);
    asocket_close(b.far);
}

#ifndef ASOCKET_NO_COROUTINES
static void read_one(asocket_selector *owner, void *argument)
{
    char byte;

    (void)owner;
    asocket_read((asocket_read_channel *)argument, &byte, 1);
}

static void no_layer_under_a_reader(void)
{
    both b = connected("127.0.0.1");
    int more = 0;

    asocket_launch(selector, read_one, asocket_open_read_channel(b.near));
    asocket_sleep(selector, 1);
    ok(!asocket_layer(b.near, &lying, &more) && asocket_error(selector) == ASOCKET_EBUSY,
       "P12: no layer comes between a socket and who reads from it");
    asocket_close(b.near);
    asocket_join_all(selector);
    asocket_close(b.far);
}
#else
#define no_layer_under_a_reader() ((void)0)
#endif

static void failures_can_be_noted(void)
{
    static char sentence[1000];

    is_status(asocket_fail(selector, ASOCKET_ENOTSUP, "dance", "tango", "it takes two"),
              ASOCKET_ENOTSUP, "a failure of one's own");
    is_int(asocket_error(selector), ASOCKET_ENOTSUP, "... is the last one");
    is_str(asocket_error_message(selector), "dance tango: it takes two", "... in its words");
    (void)asocket_fail(selector, ASOCKET_EIO, NULL, NULL, NULL);
    is_str(asocket_error_message(selector), ": system error", "... or without any");
    memset(sentence, 'x', sizeof sentence - 1);
    (void)asocket_fail(selector, ASOCKET_EIO, "dance", "tango", sentence);
    ok(!strncmp(asocket_error_message(selector), "dance tango: xxx", 16) &&
           strlen(asocket_error_message(selector)) > 255,
       "of a long sentence the beginning is told");
    is_status(asocket_fail(selector, 0, "a", "b", "c"), ASOCKET_EINVAL, "success is no failure");
    is_status(asocket_fail(NULL, ASOCKET_EIO, "a", "b", "c"), ASOCKET_EINVAL, "no selector");
}

/* --- capacity and names ------------------------------------------------------------------------ */

static void capacity_can_change_while_nothing_is_kept(void)
{
    both b = connected("127.0.0.1");
    asocket_write_channel *out = asocket_open_write_channel(b.near, 0);
    asocket_read_channel *in = asocket_open_read_channel(b.far);
    const char *bytes;
    static char large[40000];

#ifdef ASOCKET_EMBEDDED
    is_int(asocket_room(out), 2048, "there is room for the capacity");
#else
    is_int(asocket_room(out), 16384, "there is room for the capacity");
#endif
    is_status(asocket_set_capacity(b.near, 40000), 0, "a larger capacity");
    is_status(asocket_set_capacity(b.far, 40000), 0, "... on both sides");
    is_int(asocket_write(out, large, sizeof large - 1), sizeof large - 1, "as much fits");
    is_int(asocket_room(out), 1, "... and there is room for the rest");
    is_status(asocket_set_capacity(b.near, 10), ASOCKET_EBUSY, "not while bytes are kept");
    is_status(asocket_flush(out), 0, "they leave");
    is_int(asocket_peek(in, &bytes, sizeof large - 1), sizeof large - 1,
           "... and are seen in one piece");
    is_int(asocket_consume(in, sizeof large - 1), 0, "... and gone");
    is_status(asocket_set_capacity(b.far, 0), 0, "back to the selector's");
    is_int(asocket_peek(in, &bytes, 16385), ASOCKET_EMSGSIZE, "... 16 KiB");
    is_status(asocket_set_capacity(b.far, (size_t)1 << 30), 0, "1 GiB, as a builder allows");
    is_status(asocket_set_capacity(b.far, ((size_t)1 << 30) + 1), ASOCKET_EINVAL, "too large");
    is_status(asocket_set_capacity(b.far, SIZE_MAX), ASOCKET_EINVAL, "much too large");
    is_status(asocket_set_capacity(NULL, 1), ASOCKET_EINVAL, "no socket");
    asocket_close(b.near);
    is_status(asocket_set_capacity(b.near, 1), ASOCKET_ECLOSED, "a closed one");
    is_status(asocket_room(out), ASOCKET_ECLOSED, "... has no room");
    is_status(asocket_room(NULL), ASOCKET_EINVAL, "nor has none");
    asocket_close(b.far);
}

/* Windows of a size that does not divide the capacity, taken one after another: in order and in one
   piece wherever they lie in the ring. */
static void windows_are_whole_wherever_they_begin(void)
{
    both b = connected("127.0.0.1");
    asocket_write_channel *out = asocket_open_write_channel(b.near, 0);
    asocket_read_channel *in = asocket_open_read_channel(b.far);
    static char block[70000];
    size_t i, at = 0;
    bool same = true;

    for (i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 7 + i / 251);
    asocket_set_capacity(b.far, 5000);
    asocket_set_timeout(b.near, ASOCKET_NO_WAIT);
    for (i = 0; i < sizeof block; i += 1000) {
        const char *bytes;

        asocket_write(out, block + i, 1000);
        asocket_flush(out);
        while (asocket_available(in) >= 0 && at + 4125 <= i + 1000) {
            if (asocket_peek(in, &bytes, 5) < 5 || asocket_peek(in, &bytes, 4125) < 4125)
                break;
            same = same && !memcmp(bytes, block + at, 4125);
            asocket_consume(in, 4125);
            at += 4125;
        }
    }
    ok(same && at == 66000, "all windows are whole and in order (%d bytes)", (int)at);
    asocket_close(b.near);
    asocket_close(b.far);
}

static void took_over(asocket_selector *s, void *argument)
{
    (void)s;
    is_str(asocket_remote_host((asocket *)argument), "localhost", "it goes along when moved");
}

static void the_host_is_remembered(void)
{
    both b = connected("localhost");
    asocket *layer;

    is_str(asocket_remote_host(b.near), "localhost", "a host that was a name is remembered");
    ok(asocket_remote_host(b.far) == NULL, "an accepted socket has none");
    layer = asocket_layer(b.near, &failing, NULL);
    is_str(asocket_remote_host(layer), "localhost", "a layer has that of the socket below");
    b.near = asocket_detach(layer);
    if (asocket_hand_over(b.near, selector, took_over) == ASOCKET_ENOTSUP)
        asocket_close(b.near); /* a completion port keeps its sockets */
    asocket_close(b.far);
    ok(asocket_remote_host(b.near) == NULL, "a closed socket has none");
    asocket_sleep(selector, 20);
    b = connected("127.0.0.1");
    ok(asocket_remote_host(b.near) == NULL, "an address is no name");
    ok(asocket_remote_host(NULL) == NULL, "no socket, no name");
    asocket_close(b.near);
    asocket_close(b.far);
}

/* --- attachments ------------------------------------------------------------------------------- */

static int released[3], releases;

static void note_release(void *value)
{
    released[releases++ % 3] = *(int *)value;
}

static void attachments_live_as_long_as_their_selector(void)
{
    asocket_selector *own = asocket_selector_create(NULL);
    static int one = 1, two = 2;
    static const char key1 = 0, key2 = 0;

    ok(asocket_attached(own, &key1) == NULL, "nothing is attached");
    is_status(asocket_attach(own, &key1, &one, note_release), 0, "one is");
    is_status(asocket_attach(own, &key2, &two, note_release), 0, "... and another");
    is_status(asocket_attach(own, &key2, &one, note_release), ASOCKET_EBUSY, "a key is taken once");
    ok(asocket_attached(own, &key1) == &one && asocket_attached(own, &key2) == &two, "found");
    is_status(asocket_attach(own, NULL, &one, note_release), ASOCKET_EINVAL, "no key");
    is_status(asocket_attach(NULL, &key1, &one, note_release), ASOCKET_EINVAL, "no selector");
    ok(asocket_attached(NULL, &key1) == NULL, "... nothing");
    is_int(releases, 0, "none is released yet");
    asocket_selector_destroy(own);
    ok(releases == 2 && released[0] + released[1] == 3, "each is released once, with the selector");
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    a_transport_speaks_for_itself();
    claims_are_checked(0);
    claims_are_checked(1);
    no_layer_under_a_reader();
    failures_can_be_noted();
    capacity_can_change_while_nothing_is_kept();
    windows_are_whole_wherever_they_begin();
    the_host_is_remembered();
    attachments_live_as_long_as_their_selector();
    return test_end(selector);
}
