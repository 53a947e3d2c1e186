/* Wrong arguments to every public call: each answers a documented status and a message that names
   the call, and harms nothing. A misuse is also an assert of the library; tests/implementation.c
   counts those instead of ending the program. */
#include "test.h"

#include <pthread.h>

static asocket_selector *selector;
static char buffer[64];
static const char *bytes;
static char *room;
static const char *promise = ""; /* that the next calls are about: "P8: " */

/* --- asking ----------------------------------------------------------------------------------- */

static const char *name_of(int status)
{
    switch (status) {
    case ASOCKET_OK: return "0";
    case ASOCKET_ECLOSED: return "ASOCKET_ECLOSED";
    case ASOCKET_EINVAL: return "ASOCKET_EINVAL";
    case ASOCKET_EMSGSIZE: return "ASOCKET_EMSGSIZE";
    case ASOCKET_EBUSY: return "ASOCKET_EBUSY";
    case ASOCKET_ENOTSUP: return "ASOCKET_ENOTSUP";
    default: return asocket_strerror(status);
    }
}

/* Whether the message begins with the call: "open_read_channel: ..."; those that only differ in what
   they take ("bind_address", "connect_any") are called by what they do ("bind", "connect"). */
static bool names_the_call(const char *message, const char *call)
{
    const char *name = call + strlen("asocket_");
    size_t length = strcspn(message, ": ");

    if (strncmp(name, "serve", 5) == 0 && strncmp(message, "accept: ", 8) == 0)
        return true;
    return length > 0 && strncmp(message, name, length) == 0 && strchr("(_", name[length]);
}

static int64_t deadline;

/* Makes another call's failure the last one, so that its message cannot pass for the next one's, and
   sees to it that a call which waits instead of failing fails all the same. */
static void begin(const char *call)
{
    if (strncmp(call, "asocket_sleep", 13) == 0)
        asocket_wait_handle(selector, -1, ASOCKET_READ);
    else
        asocket_sleep(selector, -77);
    deadline = asocket_set_deadline(selector, 2000);
}

static void check_refused(int64_t got, int status, const char *call, int line)
{
    const char *message = asocket_error_message(selector);
    bool said = asocket_error(selector) == status && names_the_call(message, call);

    asocket_restore_deadline(selector, deadline);
    if (!ok(got == status && said, "%s%s is %s, and says so", promise, call, name_of(status)))
        diag("line %d: got %lld (%s), asocket_error %d, message \"%s\"", line, (long long)got,
             got < 0 ? asocket_strerror((int)got) : "no failure", asocket_error(selector), message);
    test_take_asserts();
}

static void check_answer(int64_t got, int status, const char *call, int line)
{
    asocket_restore_deadline(selector, deadline);
    if (!ok(got == status, "%s%s is %s", promise, call, name_of(status)))
        diag("line %d: got %lld", line, (long long)got);
    test_take_asserts();
}

/* The call fails with this status and leaves a message. */
#define REFUSED(call, status) \
    (begin(#call), check_refused((int64_t)(call), (status), #call, __LINE__))
/* The same for a call that answers NULL, or no job. */
#define REFUSED_NULL(call, status) \
    (begin(#call), check_refused((call) ? 0 : asocket_error(selector), (status), #call, __LINE__))
/* There is no selector that could keep a message, or there is no failure. */
#define ANSWERS(call, status) \
    (begin(#call), check_answer((int64_t)(call), (status), #call, __LINE__))
#define ANSWERS_NULL(call) (begin(#call), check_answer((call) != 0, 0, #call, __LINE__))

/* --- selector --------------------------------------------------------------------------------- */

static void nothing(asocket_selector *owner, void *argument)
{
    (void)owner;
    (void)argument;
}

static void test_errors(void)
{
    static const int statuses[] = {
        ASOCKET_EOF,           ASOCKET_EAGAIN,       ASOCKET_ETIMEDOUT,  ASOCKET_ECANCELED,
        ASOCKET_ECLOSED,       ASOCKET_ECONNREFUSED, ASOCKET_ECONNRESET, ASOCKET_EADDRINUSE,
        ASOCKET_EADDRNOTAVAIL, ASOCKET_EUNREACHABLE, ASOCKET_ENOTFOUND,  ASOCKET_EACCES,
        ASOCKET_EINVAL,        ASOCKET_EMSGSIZE,     ASOCKET_EBUSY,      ASOCKET_ENOTSUP,
        ASOCKET_EMFILE,        ASOCKET_ENOMEM,       ASOCKET_EIO,        ASOCKET_ETLS};
    const size_t count = sizeof statuses / sizeof *statuses;
    bool distinct = true;
    size_t i, n;

    for (i = 0; i < count; i++) {
        const char *text = asocket_strerror(statuses[i]);

        ok(text && *text && statuses[i] < -1000, "status %d has a sentence: %s", statuses[i],
           text ? text : "");
        for (n = 0; text && n < i; n++)
            distinct = distinct && strcmp(text, asocket_strerror(statuses[n])) != 0;
    }
    ok(distinct, "no two statuses have the same sentence");
    ok(asocket_strerror(ASOCKET_OK) != NULL, "success has a sentence");
    ok(asocket_strerror(-1) != NULL && asocket_strerror(12345) != NULL &&
           asocket_strerror(-1021) != NULL,
       "numbers that are no status have one too");
    is_int(asocket_error(selector), ASOCKET_OK, "before any failure the last error is none");
    ok(asocket_error_message(selector) != NULL, "and the message is there");
    ok(asocket_error_message(NULL) != NULL, "a message of no selector is there");
    asocket_error(NULL);
}

static void test_selector_options(void)
{
    asocket_selector *other = selector;
    asocket_selector_options options;

    memset(&options, 0, sizeof options);
    ANSWERS(asocket_selector_open(&options, NULL), ASOCKET_EINVAL);
    options.backend = 99;
    ANSWERS(asocket_selector_open(&options, &other), ASOCKET_EINVAL);
    ok(other == NULL, "and there is no selector");
    ANSWERS_NULL(asocket_selector_create(&options));
    options.backend = -1;
    ANSWERS(asocket_selector_open(&options, &other), ASOCKET_EINVAL);
    options.backend = ASOCKET_BACKEND_URING;
    ANSWERS(asocket_selector_open(&options, &other), ASOCKET_ENOTSUP);
    options.backend = ASOCKET_BACKEND_DEFAULT;
    options.close_timeout = -77;
    ANSWERS(asocket_selector_open(&options, &other), ASOCKET_EINVAL);
    options.close_timeout = 0;
    options.channel_capacity = SIZE_MAX;
    ANSWERS(asocket_selector_open(&options, &other), ASOCKET_EINVAL);
    options.channel_capacity = 0;
    options.stack_size = SIZE_MAX;
    ANSWERS(asocket_selector_open(&options, &other), ASOCKET_EINVAL);
    asocket_selector_destroy(NULL);
    is_status(asocket_poll(selector, 0), ASOCKET_OK, "destroying no selector destroys none");
}

static void test_selector_calls(void)
{
    asocket_statistics statistics;

    ANSWERS(asocket_run(NULL), ASOCKET_EINVAL);
    ANSWERS(asocket_poll(NULL, 0), ASOCKET_EINVAL);
    REFUSED(asocket_poll(selector, -77), ASOCKET_EINVAL);
    ANSWERS(asocket_next_timeout(NULL), ASOCKET_EINVAL);
    ok(asocket_selector_handle(NULL) == TEST_NO_HANDLE, "no selector has no handle");
    asocket_stop(NULL);
    is_status(asocket_poll(selector, 0), ASOCKET_OK, "stopping no selector stops none");
    ANSWERS(asocket_post(NULL, nothing, NULL), ASOCKET_EINVAL);
    ANSWERS(asocket_post(selector, NULL, NULL), ASOCKET_EINVAL);
    ANSWERS(asocket_stats(NULL, &statistics), ASOCKET_EINVAL);
    REFUSED(asocket_stats(selector, NULL), ASOCKET_EINVAL);
    ANSWERS(asocket_sleep(NULL, 0), ASOCKET_EINVAL);
    REFUSED(asocket_sleep(selector, -77), ASOCKET_EINVAL);
    ANSWERS(asocket_sleep_ns(NULL, 0), ASOCKET_EINVAL);
    REFUSED(asocket_sleep_ns(selector, -77), ASOCKET_EINVAL);
    ANSWERS(asocket_yield(NULL), ASOCKET_EINVAL);
    is_int(asocket_set_deadline(NULL, 0), ASOCKET_NEVER, "no selector has no deadline");
    asocket_restore_deadline(NULL, 0);
    is_status(asocket_sleep(selector, 0), ASOCKET_OK, "and gives none to another one");
}

static void test_wait_handle(void)
{
    int ends[2];

    if (pipe(ends) < 0)
        return;
    ANSWERS(asocket_wait_handle(NULL, ends[0], ASOCKET_READ), ASOCKET_EINVAL);
    REFUSED(asocket_wait_handle(selector, -1, ASOCKET_READ), ASOCKET_EINVAL);
    REFUSED(asocket_wait_handle(selector, ends[0], 0), ASOCKET_EINVAL);
    REFUSED(asocket_wait_handle(selector, ends[0], 4), ASOCKET_EINVAL);
    REFUSED(asocket_wait_handle(selector, ends[0], -1), ASOCKET_EINVAL);
    close(ends[0]);
    REFUSED(asocket_wait_handle(selector, ends[0], ASOCKET_READ), ASOCKET_EINVAL);
    close(ends[1]);
}

/* --- coroutines ------------------------------------------------------------------------------- */

#ifndef ASOCKET_NO_COROUTINES

static int finished;

static void inside(asocket_selector *owner, void *argument)
{
    (void)argument;
    ok(asocket_current(owner) != 0, "a coroutine has a number");
    REFUSED(asocket_join(selector, asocket_current(selector)), ASOCKET_EINVAL);
    REFUSED(asocket_run(selector), ASOCKET_EINVAL);
    REFUSED(asocket_poll(selector, 0), ASOCKET_EINVAL);
    asocket_selector_destroy(owner);
    test_take_asserts();
    is_status(asocket_sleep(owner, 1), ASOCKET_OK,
              "destroying the selector is refused inside of one; all goes on as before");
    finished++;
}

static void test_coroutines(void)
{
    asocket_job job;

    ANSWERS_NULL(asocket_launch(NULL, nothing, NULL));
    REFUSED_NULL(asocket_launch(selector, NULL, NULL), ASOCKET_EINVAL);
    ANSWERS_NULL(asocket_launch_socket(NULL, nothing, NULL));
    REFUSED_NULL(asocket_launch_socket(selector, nothing, NULL), ASOCKET_EINVAL);
    ANSWERS_NULL(asocket_current(NULL));
    is_int(asocket_current(selector), 0, "outside a coroutine there is no current one");
    ANSWERS(asocket_join(NULL, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_join_all(NULL), ASOCKET_EINVAL);
    ANSWERS(asocket_cancel(NULL, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_cancel_all(NULL), ASOCKET_EINVAL);
    ANSWERS(asocket_join(selector, 0), ASOCKET_OK);
    ANSWERS(asocket_cancel(selector, 0), ASOCKET_OK);
    ANSWERS(asocket_join(selector, UINT64_MAX), ASOCKET_OK);
    ANSWERS(asocket_cancel(selector, UINT64_MAX), ASOCKET_OK);

    job = asocket_launch(selector, inside, NULL);
    ok(job != 0, "a coroutine can be launched");
    is_status(asocket_join(selector, job), ASOCKET_OK, "and joined");
    is_int(finished, 1, "it ran to its end");
    is_status(asocket_join(selector, job), ASOCKET_OK, "a job that has ended can be joined again");
    is_status(asocket_cancel(selector, job), ASOCKET_OK, "and cancelled");
}

static void test_launch_socket_closes(void)
{
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    REFUSED_NULL(asocket_launch_socket(selector, NULL, pair.socket), ASOCKET_EINVAL);
    ok(asocket_is_closed(pair.socket), "a launch that fails closes the socket");
    REFUSED_NULL(asocket_launch_socket(selector, nothing, pair.socket), ASOCKET_ECLOSED);
    test_pair_close(&pair);
}

/* A second coroutine for the same socket is refused, and the first one keeps it. */
static void test_launch_socket_twice(void)
{
    test_pair pair;
    asocket_job job;

    if (!test_pair_open(selector, &pair))
        return;
    job = asocket_launch_socket(selector, nothing, pair.socket);
    ok(job != 0, "a coroutine can be launched with a socket");
    REFUSED_NULL(asocket_launch_socket(selector, nothing, pair.socket), ASOCKET_EINVAL);
    ok(!asocket_is_closed(pair.socket), "the first one's socket stays open");
    asocket_join(selector, job);
    ok(asocket_is_closed(pair.socket), "until its function has returned");
    test_pair_close(&pair);
}

static void test_serve(void)
{
    test_pair pair;

    ANSWERS(asocket_serve(NULL, nothing), ASOCKET_EINVAL);
    if (!test_pair_open(selector, &pair))
        return;
    REFUSED(asocket_serve(pair.server, NULL), ASOCKET_EINVAL);
    REFUSED(asocket_serve(pair.socket, nothing), ASOCKET_EINVAL);
    asocket_close(pair.server);
    REFUSED(asocket_serve(pair.server, nothing), ASOCKET_ECLOSED);
    test_pair_close(&pair);
}

#endif

/* --- building sockets ------------------------------------------------------------------------- */

#define TCP asocket_tcp(selector)

static void test_hosts_and_ports(void)
{
    asocket_builder homeless = asocket_tcp(NULL);
    asocket_address address = asocket_address_of(asocket_ipv4(127, 0, 0, 1), 1), none;

    memset(&none, 0, sizeof none);
    ANSWERS_NULL(asocket_bind(homeless, "127.0.0.1", 0));
    ANSWERS_NULL(asocket_connect(homeless, "127.0.0.1", 1));
    ANSWERS_NULL(asocket_bind_address(homeless, &address));
    ANSWERS_NULL(asocket_connect_address(homeless, &address));
    ANSWERS_NULL(asocket_connect_any(homeless, &address, 1));
    ANSWERS_NULL(asocket_adopt(homeless, 0));

    REFUSED_NULL(asocket_bind(TCP, "127.0.0.1", -1), ASOCKET_EINVAL);
    REFUSED_NULL(asocket_bind(TCP, "127.0.0.1", 65536), ASOCKET_EINVAL);
    REFUSED_NULL(asocket_bind(TCP, NULL, 65536), ASOCKET_EINVAL);
    REFUSED_NULL(asocket_connect(TCP, "127.0.0.1", -1), ASOCKET_EINVAL);
    REFUSED_NULL(asocket_connect(TCP, "127.0.0.1", 65536), ASOCKET_EINVAL);
    REFUSED_NULL(asocket_connect(TCP, NULL, 80), ASOCKET_EINVAL);
    REFUSED_NULL(asocket_connect(TCP, "", 80), ASOCKET_EINVAL);
    REFUSED_NULL(asocket_bind(TCP, "", 0), ASOCKET_EINVAL);

    REFUSED_NULL(asocket_bind_address(TCP, NULL), ASOCKET_EINVAL);
    REFUSED_NULL(asocket_bind_address(TCP, &none), ASOCKET_EINVAL);
    REFUSED_NULL(asocket_connect_address(TCP, NULL), ASOCKET_EINVAL);
    REFUSED_NULL(asocket_connect_address(TCP, &none), ASOCKET_EINVAL);
    REFUSED_NULL(asocket_connect_any(TCP, NULL, 1), ASOCKET_EINVAL);
    REFUSED_NULL(asocket_connect_any(TCP, &address, 0), ASOCKET_EINVAL);
    REFUSED_NULL(asocket_connect_any(TCP, &none, 1), ASOCKET_EINVAL);
}

/* A text that is nearly an address is not taken for one; as a name it is not found. */
static void test_malformed_hosts(void)
{
    static const char *const hosts[] = {"1.2.3",  "256.1.1.1", "1.2.3.4.5",  "127.0.0.01",
                                        "0x7f.1", "[::1]",     ":::",        "1::2::3",
                                        "::1%",   "a b",       "127.0.0.1 ", "1.2.3.4:80"};
    size_t i;

    for (i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        asocket *bound = asocket_bind(TCP, hosts[i], 0), *connected;
        int status = asocket_error(selector);

        ok(!bound && (status == ASOCKET_EINVAL || status == ASOCKET_ENOTFOUND ||
                      status == ASOCKET_ENOTSUP),
           "binding to \"%s\" fails: %s", hosts[i], asocket_error_message(selector));
        connected = asocket_connect(TCP, hosts[i], 80);
        status = asocket_error(selector);
        ok(!connected && (status == ASOCKET_EINVAL || status == ASOCKET_ENOTFOUND ||
                          status == ASOCKET_ENOTSUP),
           "connecting to \"%s\" fails: %s", hosts[i], asocket_error_message(selector));
        asocket_close(bound);
        asocket_close(connected);
        test_take_asserts();
    }
}

/* A builder with one field set to this value is refused by both ways to use it. */
#define OUT_OF_RANGE(field, value)                   \
    do {                                             \
        asocket_builder builder = TCP;               \
        builder.field = value;                       \
        check_builder(builder, #field " = " #value); \
    } while (0)

static void check_builder(asocket_builder builder, const char *what)
{
    asocket_address address = asocket_address_of(asocket_ipv4(127, 0, 0, 1), 1);
    char call[100];

    snprintf(call, sizeof call, "asocket_bind(a builder with %s)", what);
    begin(call);
    check_refused(asocket_bind(builder, "127.0.0.1", 0) ? 0 : asocket_error(selector),
                  ASOCKET_EINVAL, call, __LINE__);
    snprintf(call, sizeof call, "asocket_connect_address(a builder with %s)", what);
    begin(call);
    check_refused(asocket_connect_address(builder, &address) ? 0 : asocket_error(selector),
                  ASOCKET_EINVAL, call, __LINE__);
}

static void test_builder_ranges(void)
{
    OUT_OF_RANGE(backlog, -1);
    OUT_OF_RANGE(reuse_address, 2);
    OUT_OF_RANGE(reuse_port, -2);
    OUT_OF_RANGE(only_ipv6, 7);
    OUT_OF_RANGE(no_delay, 2);
    OUT_OF_RANGE(keep_alive, -2);
    OUT_OF_RANGE(keep_alive_idle, -1);
    OUT_OF_RANGE(keep_alive_interval, -1);
    OUT_OF_RANGE(keep_alive_count, -1);
    OUT_OF_RANGE(keep_alive_idle, 1000000);
    OUT_OF_RANGE(keep_alive_count, 1000000);
    OUT_OF_RANGE(type_of_service, -1);
    OUT_OF_RANGE(type_of_service, 256);
    OUT_OF_RANGE(ttl, -1);
    OUT_OF_RANGE(ttl, 256);
    OUT_OF_RANGE(send_buffer, -1);
    OUT_OF_RANGE(receive_buffer, -1);
    OUT_OF_RANGE(connect_timeout, -77);
    OUT_OF_RANGE(timeout, -77);
    OUT_OF_RANGE(protocol, 99);
    OUT_OF_RANGE(protocol, -1);
    OUT_OF_RANGE(channel_capacity, SIZE_MAX);
}

static void test_adopt(void)
{
    int ends[2], datagram = socket(AF_INET, SOCK_DGRAM, 0), closed = dup(datagram);

    close(closed);
    if (pipe(ends) < 0)
        return;
    REFUSED_NULL(asocket_adopt(TCP, -1), ASOCKET_EINVAL);
    if (!test_skips(TEST_WINDOWS, 2,
                    "a pipe is a connection here, of the number that was closed")) {
        REFUSED_NULL(asocket_adopt(TCP, closed), ASOCKET_EINVAL);
        REFUSED_NULL(asocket_adopt(TCP, ends[0]), ASOCKET_EINVAL);
    }
    REFUSED_NULL(asocket_adopt(TCP, datagram), ASOCKET_EINVAL);
    ok(fcntl(ends[0], F_GETFD) >= 0 && fcntl(datagram, F_GETFD) >= 0,
       "what could not be adopted stays open and the caller's");
    close(ends[0]);
    close(ends[1]);
    close(datagram);
}

/* --- sockets ---------------------------------------------------------------------------------- */

static void test_no_socket(void)
{
    asocket_address address;
    int value;

    ANSWERS_NULL(asocket_accept(NULL));
    ANSWERS(asocket_close(NULL), ASOCKET_EINVAL);
    ANSWERS(asocket_abort(NULL), ASOCKET_EINVAL);
    ANSWERS(asocket_shutdown(NULL, ASOCKET_WRITE), ASOCKET_EINVAL);
    ok(asocket_is_closed(NULL), "no socket counts as closed");
    ANSWERS(asocket_await_closed(NULL), ASOCKET_EINVAL);
    ANSWERS(asocket_local_address(NULL, &address), ASOCKET_EINVAL);
    ANSWERS(asocket_remote_address(NULL, &address), ASOCKET_EINVAL);
    ANSWERS(asocket_set_option(NULL, ASOCKET_OPTION_NO_DELAY, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_get_option(NULL, ASOCKET_OPTION_NO_DELAY, &value), ASOCKET_EINVAL);
    ok(asocket_native_handle(NULL) == TEST_NO_HANDLE, "no socket has no descriptor");
    ANSWERS_NULL(asocket_selector_of(NULL));
    ANSWERS(asocket_set_timeout(NULL, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_on_ready(NULL, ASOCKET_READ, nothing, NULL), ASOCKET_EINVAL);
    ANSWERS_NULL(asocket_open_read_channel(NULL));
    ANSWERS_NULL(asocket_open_write_channel(NULL, 0));
}

static void test_wrong_kind(asocket *server, asocket *stream)
{
    asocket_address address;

    REFUSED_NULL(asocket_accept(stream), ASOCKET_EINVAL);
    REFUSED_NULL(asocket_open_read_channel(server), ASOCKET_EINVAL);
    REFUSED_NULL(asocket_open_write_channel(server, 0), ASOCKET_EINVAL);
    REFUSED(asocket_shutdown(server, ASOCKET_WRITE), ASOCKET_EINVAL);
    REFUSED(asocket_remote_address(server, &address), ASOCKET_EINVAL);
    ok(strstr(asocket_error_message(selector), "listener") != NULL, "the kind is named: %s",
       asocket_error_message(selector));
}

static void test_socket_arguments(asocket *stream)
{
    int value;

    REFUSED(asocket_shutdown(stream, 0), ASOCKET_EINVAL);
    REFUSED(asocket_shutdown(stream, 4), ASOCKET_EINVAL);
    REFUSED(asocket_shutdown(stream, -1), ASOCKET_EINVAL);
    REFUSED(asocket_local_address(stream, NULL), ASOCKET_EINVAL);
    REFUSED(asocket_remote_address(stream, NULL), ASOCKET_EINVAL);
    REFUSED(asocket_set_timeout(stream, -77), ASOCKET_EINVAL);
    REFUSED(asocket_on_ready(stream, ASOCKET_READ, NULL, NULL), ASOCKET_EINVAL);
    REFUSED(asocket_on_ready(stream, 0, nothing, NULL), ASOCKET_EINVAL);
    REFUSED(asocket_on_ready(stream, 4, nothing, NULL), ASOCKET_EINVAL);
    REFUSED(asocket_get_option(stream, ASOCKET_OPTION_TTL, NULL), ASOCKET_EINVAL);
    REFUSED(asocket_get_option(stream, (asocket_option)0, &value), ASOCKET_EINVAL);
    REFUSED(asocket_get_option(stream, (asocket_option)31, &value), ASOCKET_EINVAL);
    REFUSED(asocket_set_option(stream, (asocket_option)0, 1), ASOCKET_EINVAL);
    REFUSED(asocket_set_option(stream, (asocket_option)31, 1), ASOCKET_EINVAL);
    REFUSED(asocket_set_option(stream, ASOCKET_OPTION_NO_DELAY, 2), ASOCKET_EINVAL);
    REFUSED(asocket_set_option(stream, ASOCKET_OPTION_KEEP_ALIVE, 2), ASOCKET_EINVAL);
    if (!test_skips(TEST_WINDOWS, 2, "Wine has no such option")) {
        REFUSED(asocket_set_option(stream, ASOCKET_OPTION_KEEP_ALIVE_IDLE, 0), ASOCKET_EINVAL);
        REFUSED(asocket_set_option(stream, ASOCKET_OPTION_KEEP_ALIVE_COUNT, 0), ASOCKET_EINVAL);
    }
    REFUSED(asocket_set_option(stream, ASOCKET_OPTION_KEEP_ALIVE_INTERVAL, -1), ASOCKET_EINVAL);
    REFUSED(asocket_set_option(stream, ASOCKET_OPTION_TTL, 0), ASOCKET_EINVAL);
    REFUSED(asocket_set_option(stream, ASOCKET_OPTION_TTL, 256), ASOCKET_EINVAL);
    REFUSED(asocket_set_option(stream, ASOCKET_OPTION_TYPE_OF_SERVICE, 256), ASOCKET_EINVAL);
    REFUSED(asocket_set_option(stream, ASOCKET_OPTION_SEND_BUFFER, -1), ASOCKET_EINVAL);
    REFUSED(asocket_set_option(stream, ASOCKET_OPTION_RECEIVE_BUFFER, -1), ASOCKET_EINVAL);
}

/* --- channels --------------------------------------------------------------------------------- */

static void test_no_channel(void)
{
    uint16_t two;
    uint32_t four;
    uint64_t eight;

    ANSWERS(asocket_read(NULL, buffer, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_read_full(NULL, buffer, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_read_line(NULL, buffer, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_read_until(NULL, "x", 1, buffer, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_read_byte(NULL), ASOCKET_EINVAL);
    ANSWERS(asocket_read_u16be(NULL, &two), ASOCKET_EINVAL);
    ANSWERS(asocket_read_u16le(NULL, &two), ASOCKET_EINVAL);
    ANSWERS(asocket_read_u32be(NULL, &four), ASOCKET_EINVAL);
    ANSWERS(asocket_read_u32le(NULL, &four), ASOCKET_EINVAL);
    ANSWERS(asocket_read_u64be(NULL, &eight), ASOCKET_EINVAL);
    ANSWERS(asocket_read_u64le(NULL, &eight), ASOCKET_EINVAL);
    ANSWERS(asocket_peek(NULL, &bytes, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_consume(NULL, 0), ASOCKET_EINVAL);
    ANSWERS(asocket_discard(NULL, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_discard_until(NULL, "x", 1), ASOCKET_EINVAL);
    ANSWERS(asocket_available(NULL), ASOCKET_EINVAL);
    ANSWERS(asocket_copy(NULL, NULL, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_transferred(NULL), ASOCKET_EINVAL);
    ANSWERS(asocket_cancel_read(NULL), ASOCKET_EINVAL);
    ANSWERS(asocket_write(NULL, "x", 1), ASOCKET_EINVAL);
    ANSWERS(asocket_write_string(NULL, "x"), ASOCKET_EINVAL);
    ANSWERS(asocket_printf(NULL, "x"), ASOCKET_EINVAL);
    ANSWERS(asocket_write_byte(NULL, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_write_u16be(NULL, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_write_u16le(NULL, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_write_u32be(NULL, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_write_u32le(NULL, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_write_u64be(NULL, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_write_u64le(NULL, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_reserve(NULL, &room, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_commit(NULL, 0), ASOCKET_EINVAL);
    ANSWERS(asocket_flush(NULL), ASOCKET_EINVAL);
    ANSWERS(asocket_finish(NULL), ASOCKET_EINVAL);
    ANSWERS(asocket_cancel_write(NULL, ASOCKET_ECANCELED), ASOCKET_EINVAL);
    ANSWERS(asocket_written(NULL), ASOCKET_EINVAL);
}

static void test_read_arguments(asocket_read_channel *in, asocket_write_channel *out)
{
    REFUSED(asocket_read(in, NULL, 1), ASOCKET_EINVAL);
    REFUSED(asocket_read(in, buffer, SIZE_MAX), ASOCKET_EINVAL);
    ANSWERS(asocket_read(in, NULL, 0), 0);
    ANSWERS(asocket_read(in, buffer, 0), 0);
    REFUSED(asocket_read_full(in, NULL, 1), ASOCKET_EINVAL);
    REFUSED(asocket_read_full(in, buffer, SIZE_MAX), ASOCKET_EINVAL);
    ANSWERS(asocket_read_full(in, NULL, 0), 0);
    REFUSED(asocket_read_line(in, NULL, 1), ASOCKET_EINVAL);
    REFUSED(asocket_read_line(in, buffer, 0), ASOCKET_EINVAL);
    REFUSED(asocket_read_until(in, NULL, 1, buffer, 1), ASOCKET_EINVAL);
    REFUSED(asocket_read_until(in, "x", 0, buffer, 1), ASOCKET_EINVAL);
    REFUSED(asocket_read_until(in, "x", SIZE_MAX, buffer, 1), ASOCKET_EINVAL);
    REFUSED(asocket_read_until(in, "x", 1, NULL, 1), ASOCKET_EINVAL);
    REFUSED(asocket_read_until(in, "x", 1, buffer, 0), ASOCKET_EINVAL);
    REFUSED(asocket_read_u16be(in, NULL), ASOCKET_EINVAL);
    REFUSED(asocket_read_u16le(in, NULL), ASOCKET_EINVAL);
    REFUSED(asocket_read_u32be(in, NULL), ASOCKET_EINVAL);
    REFUSED(asocket_read_u32le(in, NULL), ASOCKET_EINVAL);
    REFUSED(asocket_read_u64be(in, NULL), ASOCKET_EINVAL);
    REFUSED(asocket_read_u64le(in, NULL), ASOCKET_EINVAL);
    REFUSED(asocket_peek(in, NULL, 1), ASOCKET_EINVAL);
    REFUSED(asocket_peek(in, &bytes, 1048576), ASOCKET_EMSGSIZE);
    REFUSED(asocket_peek(in, &bytes, SIZE_MAX), ASOCKET_EMSGSIZE);
    ANSWERS(asocket_peek(in, &bytes, 0), 0);
    REFUSED(asocket_consume(in, 1), ASOCKET_EINVAL);
    REFUSED(asocket_consume(in, SIZE_MAX), ASOCKET_EINVAL);
    ANSWERS(asocket_consume(in, 0), 0);
    ANSWERS(asocket_discard(in, 0), 0);
    REFUSED(asocket_discard_until(in, NULL, 1), ASOCKET_EINVAL);
    REFUSED(asocket_discard_until(in, "x", 0), ASOCKET_EINVAL);
    ANSWERS(asocket_available(in), 0);
    REFUSED(asocket_copy(in, NULL, 1), ASOCKET_EINVAL);
    ANSWERS(asocket_copy(NULL, out, 1), ASOCKET_EINVAL);
    REFUSED(asocket_copy(in, out, -77), ASOCKET_EINVAL);
    ANSWERS(asocket_copy(in, out, 0), 0);
}

static void test_write_arguments(asocket_write_channel *out)
{
    const char *volatile no_format = NULL;

    REFUSED(asocket_write(out, NULL, 1), ASOCKET_EINVAL);
    REFUSED(asocket_write(out, "x", SIZE_MAX), ASOCKET_EINVAL);
    ANSWERS(asocket_write(out, NULL, 0), 0);
    REFUSED(asocket_write_string(out, NULL), ASOCKET_EINVAL);
    ANSWERS(asocket_write_string(out, ""), 0);
    REFUSED(asocket_printf(out, no_format, 1), ASOCKET_EINVAL);
    REFUSED(asocket_reserve(out, NULL, 1), ASOCKET_EINVAL);
    REFUSED(asocket_reserve(out, &room, 1048576), ASOCKET_EMSGSIZE);
    REFUSED(asocket_reserve(out, &room, SIZE_MAX), ASOCKET_EMSGSIZE);
    REFUSED(asocket_commit(out, 1), ASOCKET_EINVAL);
    ok(asocket_reserve(out, &room, 4) >= 4, "four bytes can be reserved");
    REFUSED(asocket_commit(out, 1048576), ASOCKET_EINVAL);
    ANSWERS(asocket_commit(out, 0), 0);
    REFUSED(asocket_cancel_write(out, 1), ASOCKET_EINVAL);
    REFUSED(asocket_cancel_write(out, ASOCKET_OK), ASOCKET_EINVAL);
}

static void test_pipe(void)
{
    asocket_read_channel *in = NULL;
    asocket_write_channel *out = NULL;

    ANSWERS(asocket_pipe(NULL, 16, &in, &out), ASOCKET_EINVAL);
    REFUSED(asocket_pipe(selector, 16, NULL, &out), ASOCKET_EINVAL);
    REFUSED(asocket_pipe(selector, 16, &in, NULL), ASOCKET_EINVAL);
    REFUSED(asocket_pipe(selector, SIZE_MAX, &in, &out), ASOCKET_EINVAL);
    ok(!in && !out, "and there are no channels");
    if (!is_status(asocket_pipe(selector, 16, &in, &out), ASOCKET_OK, "a pipe can be made"))
        return;
    test_read_arguments(in, out);
    test_write_arguments(out);
    asocket_write_string(out, "through\n");
    asocket_finish(out);
    ok(asocket_read_line(in, buffer, sizeof buffer) == 7 && strcmp(buffer, "through") == 0,
       "after all that the pipe works");
    is_status(asocket_read_line(in, buffer, sizeof buffer), ASOCKET_EOF, "to its end");
}

static void test_channels(void)
{
    asocket_read_channel *in;
    asocket_write_channel *out;
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    test_wrong_kind(pair.server, pair.socket);
    test_socket_arguments(pair.socket);
    REFUSED_NULL(asocket_open_write_channel(pair.socket, 64), ASOCKET_EINVAL);
    REFUSED_NULL(asocket_open_write_channel(pair.socket, -1), ASOCKET_EINVAL);
    in = asocket_open_read_channel(pair.socket);
    out = asocket_open_write_channel(pair.socket, 0);
    if (!ok(in && out, "both channels can be opened"))
        return;
    REFUSED_NULL(asocket_open_read_channel(pair.socket), ASOCKET_EBUSY);
    REFUSED_NULL(asocket_open_write_channel(pair.socket, 0), ASOCKET_EBUSY);
    test_read_arguments(in, out);
    test_write_arguments(out);

    ok(test_peer_send(pair.peer, "still here\n", 11) &&
           asocket_read_line(in, buffer, sizeof buffer) == 10 && strcmp(buffer, "still here") == 0,
       "after all that the socket reads");
    asocket_write_string(out, "and there\n");
    is_status(asocket_flush(out), ASOCKET_OK, "and writes");
    ok(test_peer_expect(selector, pair.peer, "and there\n"), "and what it wrote arrives");

    is_status(asocket_finish(out), ASOCKET_OK, "its writing side can be finished");
    REFUSED(asocket_write(out, "x", 1), ASOCKET_ECLOSED);
    REFUSED(asocket_flush(out), ASOCKET_ECLOSED);
    test_pair_close(&pair);
}

/* --- closed ----------------------------------------------------------------------------------- */

static void test_closed_socket(asocket *closed, asocket *server)
{
    asocket_address address;
    int value;

    ok(asocket_is_closed(closed), "P8: a closed handle says that it is closed");
    ANSWERS(asocket_close(closed), ASOCKET_OK);
    is_status(asocket_await_closed(closed), ASOCKET_OK, "P8: waiting for its end is possible");
    ANSWERS(asocket_close(closed), ASOCKET_OK);
    ok(asocket_local_address(closed, &address) == ASOCKET_OK && address.port != 0,
       "P8: a closed handle knows its address");
    ok(asocket_remote_address(closed, &address) == ASOCKET_OK && address.port != 0,
       "P8: and its peer's");
    REFUSED_NULL(asocket_accept(server), ASOCKET_ECLOSED);
    REFUSED(asocket_abort(closed), ASOCKET_ECLOSED);
    REFUSED(asocket_shutdown(closed, ASOCKET_WRITE), ASOCKET_ECLOSED);
    REFUSED(asocket_set_option(closed, ASOCKET_OPTION_NO_DELAY, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_get_option(closed, ASOCKET_OPTION_NO_DELAY, &value), ASOCKET_ECLOSED);
    REFUSED(asocket_set_timeout(closed, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_on_ready(closed, ASOCKET_READ, nothing, NULL), ASOCKET_ECLOSED);
    REFUSED_NULL(asocket_open_read_channel(closed), ASOCKET_ECLOSED);
    REFUSED_NULL(asocket_open_write_channel(closed, 0), ASOCKET_ECLOSED);
    ok(asocket_native_handle(closed) == TEST_NO_HANDLE, "P8: a closed handle has no descriptor");
}

static void test_closed_channels(asocket_read_channel *in, asocket_write_channel *out)
{
    uint16_t two;
    uint32_t four;
    uint64_t eight;

    REFUSED(asocket_read(in, buffer, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_read_full(in, buffer, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_read_line(in, buffer, 2), ASOCKET_ECLOSED);
    REFUSED(asocket_read_until(in, "x", 1, buffer, 2), ASOCKET_ECLOSED);
    REFUSED(asocket_read_byte(in), ASOCKET_ECLOSED);
    REFUSED(asocket_read_u16be(in, &two), ASOCKET_ECLOSED);
    REFUSED(asocket_read_u16le(in, &two), ASOCKET_ECLOSED);
    REFUSED(asocket_read_u32be(in, &four), ASOCKET_ECLOSED);
    REFUSED(asocket_read_u32le(in, &four), ASOCKET_ECLOSED);
    REFUSED(asocket_read_u64be(in, &eight), ASOCKET_ECLOSED);
    REFUSED(asocket_read_u64le(in, &eight), ASOCKET_ECLOSED);
    REFUSED(asocket_peek(in, &bytes, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_consume(in, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_discard(in, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_discard_until(in, "x", 1), ASOCKET_ECLOSED);
    REFUSED(asocket_available(in), ASOCKET_ECLOSED);
    REFUSED(asocket_copy(in, out, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_cancel_read(in), ASOCKET_ECLOSED);
    REFUSED(asocket_write(out, "x", 1), ASOCKET_ECLOSED);
    REFUSED(asocket_write_string(out, "x"), ASOCKET_ECLOSED);
    REFUSED(asocket_printf(out, "%d", 1), ASOCKET_ECLOSED);
    REFUSED(asocket_write_byte(out, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_write_u16be(out, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_write_u16le(out, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_write_u32be(out, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_write_u32le(out, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_write_u64be(out, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_write_u64le(out, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_reserve(out, &room, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_commit(out, 1), ASOCKET_ECLOSED);
    REFUSED(asocket_flush(out), ASOCKET_ECLOSED);
    REFUSED(asocket_finish(out), ASOCKET_ECLOSED);
    REFUSED(asocket_cancel_write(out, ASOCKET_ECANCELED), ASOCKET_ECLOSED);
}

static void test_closed(void)
{
    asocket_read_channel *in;
    asocket_write_channel *out;
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    in = asocket_open_read_channel(pair.socket);
    out = asocket_open_write_channel(pair.socket, ASOCKET_AUTO_FLUSH);
    asocket_close(pair.server);
    asocket_close(pair.socket);
    close(pair.peer);
    pair.peer = -1;
    promise = "P8: ";
    test_closed_socket(pair.socket, pair.server);
    test_closed_channels(in, out);
    promise = "";
    test_pair_close(&pair);
}

/* --- two selectors ---------------------------------------------------------------------------- */

/* What belongs to one selector is not taken by another. */
static void test_two_selectors(int backend)
{
    asocket_selector_options options;
    asocket_selector *other = NULL;
    asocket_read_channel *in = NULL, *unused_in = NULL;
    asocket_write_channel *out = NULL, *unused_out = NULL;
    test_pair pair;

    memset(&options, 0, sizeof options);
    options.backend = backend;
    options.allocator = test_allocator(&test_selector_memory);
    is_status(asocket_selector_open(&options, &other), ASOCKET_OK, "a second selector is possible");
    if (!other || !test_pair_open(selector, &pair))
        return;
    asocket_pipe(selector, 16, &in, &unused_out);
    asocket_pipe(other, 16, &unused_in, &out);
    REFUSED(asocket_copy(in, out, 1), ASOCKET_EINVAL);
#ifndef ASOCKET_NO_COROUTINES
    ANSWERS_NULL(asocket_launch_socket(other, nothing, pair.socket));
    is_int(asocket_error(other), ASOCKET_EINVAL, "the other selector says that it is not its own");
    ok(!asocket_is_closed(pair.socket), "and leaves the socket as it is");
#endif
    test_pair_close(&pair);
    asocket_selector_destroy(other);
}

/* --- another thread --------------------------------------------------------------------------- */

typedef struct foreign {
    asocket *socket;
    asocket_read_channel *in;
    asocket_write_channel *out;
    int64_t answers[7];
    bool done;
} foreign;

static void *from_another_thread(void *argument)
{
    foreign *f = (foreign *)argument;

    f->answers[0] = asocket_sleep(selector, 0);
    f->answers[1] = asocket_poll(selector, 0);
    f->answers[2] = asocket_set_timeout(f->socket, 1);
    f->answers[3] = asocket_close(f->socket);
#ifndef NDEBUG
    f->answers[4] = asocket_read(f->in, buffer, 1);
    f->answers[5] = asocket_write(f->out, "x", 1);
    f->answers[6] = asocket_available(f->in);
#endif
    return NULL;
}

/* Called from the loop: the selector is at work, and with this thread. */
static void while_the_loop_runs(asocket_selector *owner, void *argument)
{
    pthread_t thread;

    (void)owner;
    if (pthread_create(&thread, NULL, from_another_thread, argument) == 0)
        pthread_join(thread, NULL);
    ((foreign *)argument)->done = true;
}

static void test_another_thread(void)
{
    static const char *const calls[] = {"sleep", "poll",  "set_timeout", "close",
                                        "read",  "write", "available"};
#ifdef NDEBUG
    const int checked = 4; /* reading and writing do without the check then */
#else
    const int checked = 7;
#endif
    test_pair pair;
    foreign f;
    int i;

    if (!test_pair_open(selector, &pair))
        return;
    memset(&f, 0, sizeof f);
    f.socket = pair.socket;
    f.in = asocket_open_read_channel(pair.socket);
    f.out = asocket_open_write_channel(pair.socket, 0);
    asocket_post(selector, while_the_loop_runs, &f);
    while (!f.done && asocket_poll(selector, 1000) >= 0)
        continue;
    for (i = 0; i < checked; i++)
        is_status(f.answers[i], ASOCKET_EINVAL,
                  "asocket_%s from another thread, while the loop runs, is refused", calls[i]);
#ifndef NDEBUG
    ok(test_take_asserts() >= checked, "and is an assert in debug builds");
#endif
    ok(test_peer_send(pair.peer, "fine\n", 5) &&
           asocket_read_line(f.in, buffer, sizeof buffer) == 4 && strcmp(buffer, "fine") == 0,
       "the socket works as before");
    test_pair_close(&pair);
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    test_errors();
    test_selector_options();
    test_selector_calls();
    test_wait_handle();
#ifndef ASOCKET_NO_COROUTINES
    test_coroutines();
    test_launch_socket_closes();
    test_launch_socket_twice();
    test_serve();
#endif
    test_hosts_and_ports();
    test_malformed_hosts();
    test_builder_ranges();
    test_adopt();
    test_no_socket();
    test_no_channel();
    test_pipe();
    test_channels();
    test_closed();
    test_two_selectors(test_backend(argc, argv));
    test_another_thread();
    return test_end(selector);
}
