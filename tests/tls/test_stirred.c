/* test_stirred.c - P12, P7, P8 for TLS: one coroutine reads, one writes, pieces of any size, while the
   server asks for renegotiation, warns and leaves; and at some moment somebody closes, aborts, cancels,
   finishes or takes TLS off. Whatever was read is what was sent. And a server that sends records of
   any kind, with anything in them: what that means is worked out here once more. TEST_SEED=n: another
   day. */
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

/* --- records of any kind ------------------------------------------------------------------------ */

enum { RUDE = 8 }; /* records, too few for a flood */

static struct {
    int type;
    size_t size;
    uint8_t bytes[8];
} rude[RUDE + 1];

static const uint8_t close_notify[] = {1, 0};

static void plan_rudeness(void)
{
    static const uint8_t types[] = {23, 23, 23, 21, 21, 22, 22, 22, 20, 24};
    static const uint8_t likely[] = {0, 0, 0, 0, 1, 1, 2, 90, 100};
    size_t i, j;

    for (i = 0; i < RUDE; i++) {
        rude[i].type = types[below(below(3) ? 8 : sizeof types)];
        rude[i].size = below(6) || rude[i].type == 23 ? 1 + below(below(2) ? 2 : 8) : 0;
        for (j = 0; j < rude[i].size; j++)
            rude[i].bytes[j] =
                rude[i].type == 22 && below(20) ? 0 : likely[below(below(8) ? 6 : sizeof likely)];
    }
    rude[RUDE].type = 21;
    rude[RUDE].size = sizeof close_notify;
    memcpy(rude[RUDE].bytes, close_notify, sizeof close_notify);
}

static void talk_rudely(server *s)
{
    size_t i;

    for (i = 0; i <= RUDE; i++)
        server_record(s, rude[i].type, rude[i].bytes, rude[i].size);
    (void)asocket_flush(s->out);
    s->over = true;
}

/* How it must end, and the data before that. */
typedef struct outcome {
    asocket_tls_reason reason; /* ASOCKET_TLS_OK: close_notify */
    int alert;
    size_t size;
    uint8_t data[RUDE * 8];
} outcome;

static bool ends_by_alert(outcome *o, int level, int description)
{
    if (level == 1 && description == 0)
        return true;
    if (level == 1 && description != 100)
        return false;
    o->alert = description;
    o->reason =
        description >= 42 && description <= 49 ? ASOCKET_TLS_CLIENT_CERTIFICATE : ASOCKET_TLS_ALERT;
    return true;
}

static outcome expected(void)
{
    outcome o;
    int level = -1;
    size_t i, j;

    memset(&o, 0, sizeof o);
    o.alert = -1;
    for (i = 0; i <= RUDE; i++) {
        if (rude[i].type != 23 && (!rude[i].size || rude[i].type == 20 || rude[i].type == 24)) {
            o.reason = ASOCKET_TLS_PROTOCOL;
            return o;
        }
        for (j = 0; j < rude[i].size; j++) {
            int byte = rude[i].bytes[j];

            if (rude[i].type == 23) {
                o.data[o.size++] = (uint8_t)byte;
            } else if (rude[i].type == 22 && byte) {
                o.reason = ASOCKET_TLS_PROTOCOL;
                return o;
            } else if (rude[i].type == 21 && level < 0) {
                level = byte;
            } else if (rude[i].type == 21) {
                if (ends_by_alert(&o, level, byte))
                    return o;
                level = -1;
            }
        }
    }
    o.reason = ASOCKET_TLS_TRUNCATED;
    return o;
}

static bool rudeness_is_understood(server *s)
{
    asocket_tls_options options = server_options(s);
    asocket_tls_failure failure;
    outcome o;
    uint8_t bytes[sizeof o.data + 1];
    asocket_read_channel *in;
    asocket *secure;
    size_t have = 0;
    ptrdiff_t count;
    bool good;

    plan_rudeness();
    o = expected();
    secure = server_connect(s, &options);
    in = asocket_open_read_channel(secure);
    while ((count = asocket_read(in, bytes + have, sizeof bytes - have)) > 0)
        have += (size_t)count;
    memset(&failure, 0, sizeof failure);
    (void)asocket_tls_socket_error(secure, &failure);
    good = count == (o.reason ? ASOCKET_ETLS : ASOCKET_EOF) && failure.reason == o.reason &&
           failure.alert == o.alert && have == o.size && !memcmp(bytes, o.data, have);
    if (!good)
        diag("status %d, expected reason %d, alert %d, %d bytes; got %d (%s), %d, %d", (int)count,
             (int)o.reason, o.alert, (int)o.size, (int)failure.reason, failure.sentence,
             failure.alert, (int)have);
    asocket_close(secure);
    asocket_join_all(selector);
    return good;
}

static void records_of_any_kind(int rounds)
{
    server *s = server_open(selector, "plain");
    int i, good = 0;

    s->talk = talk_rudely;
    for (i = 0; i < rounds; i++)
        good += rudeness_is_understood(s);
    is_int(good, rounds, "P15: whatever records come, data is data and an end is an end");
    server_close(s);
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
    records_of_any_kind(rounds * 2);
    return test_end(selector);
}
