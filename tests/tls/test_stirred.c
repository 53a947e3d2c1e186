/* test_stirred.c - P12, P7, P8 for TLS: one coroutine reads, one writes, pieces of any size, while the
   server asks for renegotiation, warns and leaves; and at some moment somebody closes, aborts, cancels,
   finishes or takes TLS off. Whatever was read is what was sent. TEST_SEED=n: another day. */
#define TAP_SECONDS 300
#include "private_tls.h"
#include "server.h"

static asocket_selector *selector;
static uint32_t seed = 1;
static uint8_t sent_at, got_at; /* the bytes count */
static int wrong, reads, writes;

static uint32_t below(uint32_t limit)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % limit;
}

static size_t piece(void)
{
    return 1 + below(below(3) ? 500 : 40000);
}

static void reader(asocket_selector *unused, void *argument)
{
    asocket_read_channel *in = (asocket_read_channel *)argument;
    static uint8_t bytes[40000];
    int i, n;

    (void)unused;
    for (n = 0; n < 300; n++) {
        ptrdiff_t count = asocket_read(in, bytes, piece());

        if (count < 0 && count != ASOCKET_EAGAIN && count != ASOCKET_ETIMEDOUT)
            break;
        for (i = 0; i < count; i++)
            wrong += bytes[i] != got_at++;
        reads += count > 0;
        if (!below(4))
            asocket_yield(selector);
    }
}

static void writer(asocket_selector *unused, void *argument)
{
    asocket_write_channel *out = (asocket_write_channel *)argument;
    static uint8_t bytes[40000];
    int n;

    (void)unused;
    for (n = 0; n < 100; n++) {
        size_t size = piece(), i;

        for (i = 0; i < size; i++)
            bytes[i] = (uint8_t)(sent_at + i);
        if (asocket_write(out, bytes, size) < 0 || (!below(3) && asocket_flush(out) < 0))
            break;
        sent_at = (uint8_t)(sent_at + size);
        writes++;
        if (!below(4))
            asocket_yield(selector);
    }
}

/* An echo with a mind of its own. */
static void stir(server *s)
{
    uint8_t bytes[5000];
    size_t size;

    while ((size = server_hear(s, bytes, 1 + below(sizeof bytes))) != 0) {
        if (!below(5))
            server_record(s, 22, "\0\0\0\0", 4); /* HelloRequest */
        if (!below(9))
            server_record(s, 21, "\1\132", 2); /* a warning: user_canceled */
        if (!server_say(s, bytes, size))
            break;
        if (below(200))
            continue;
        if (below(2))
            server_bye(s);
        break;
    }
}

static void end_somehow(asocket *secure, asocket_job reading, asocket_job writing)
{
    switch (below(9)) {
    case 0: asocket_close(secure); break;
    case 1: asocket_abort(secure); break;
    case 2: asocket_cancel(selector, reading); break;
    case 3: asocket_cancel(selector, writing); break;
    case 4: asocket_shutdown(secure, ASOCKET_READ); break;
    case 5: asocket_shutdown(secure, ASOCKET_WRITE); break;
    case 6: asocket_close(asocket_detach(secure)); break;
    case 7:
        asocket_close(secure);
        asocket_abort(secure);
        break;
    default: break;
    }
}

static bool connection(server *s)
{
    asocket_tls_options options = server_options(s);
    asocket_job reading, writing;
    asocket *secure;
    uint32_t turns;

    options.record_size = below(2) ? 512 + below(15000) : 0;
    s->record_size = below(2) ? 1 + below(3000) : 0;
    sent_at = got_at = 0;
    secure = server_connect(s, &options);
    if (!secure)
        return false;
    asocket_set_timeout(secure, below(2) ? 50 : 3);
    if (below(2))
        asocket_set_capacity(secure, 100 + below(20000));
    reading = asocket_launch(selector, reader, asocket_open_read_channel(secure));
    writing = asocket_launch(selector, writer,
                             asocket_open_write_channel(secure, below(2) ? ASOCKET_AUTO_FLUSH : 0));
    for (turns = below(60); turns; turns--)
        asocket_yield(selector);
    if (below(2))
        asocket_sleep(selector, below(8));
    end_somehow(secure, reading, writing);
    asocket_join(selector, reading);
    asocket_join(selector, writing);
    (void)(below(2) ? asocket_close(secure) : asocket_abort(secure));
    asocket_join_all(selector);
    return true;
}

int main(int argc, char **argv)
{
    int rounds = getenv("TEST_THOROUGH") ? 2000 : 150 / test_slowness() + 1, i, made = 0;
    server *s;

    selector = test_selector(argc, argv);
    if (getenv("TEST_SEED"))
        seed = (uint32_t)atoi(getenv("TEST_SEED"));
    s = server_open(selector, "plain");
    s->talk = stir;
    for (i = 0; i < rounds; i++)
        made += connection(s);
    is_int(made, rounds, "P12: connections in which two coroutines work, until it ends somehow");
    is_int(wrong, 0, "P12: all %d reads and %d writes are of what was sent", reads, writes);
    ok(reads > rounds && writes > rounds, "... and there were some");
    server_close(s);
    return test_end(selector);
}
