/* asocket_udp.c - the same datagram servers on asocket.h, through its public face only, in two
   ways: many datagrams with each call, or one.

   usage: asocket_udp echo|in|out [one] */
#define ASOCKET_IMPLEMENTATION
#include "../../asocket.h"

#include "udp.h"

static char slots[BATCH][SLOT];
static asocket_datagram datagrams[BATCH], flow[BATCH];
static uint64_t counted;
static char flow_bytes[BATCH * SLOT];

static void check(asocket *socket, long long status)
{
    asocket_selector *selector = asocket_selector_of(socket);

    if (status >= 0)
        return;
    fprintf(stderr, "asocket_udp: %s\n", asocket_error_message(selector));
    exit(1);
}

static size_t receive_batch(asocket *socket)
{
    int count = asocket_receive_many(socket, datagrams, BATCH);

    check(socket, count);
    return (size_t)count;
}

static void echo_many(asocket_selector *selector, void *argument)
{
    (void)selector;
    for (;;) {
        size_t count = receive_batch(argument);

        check(argument, asocket_send_many(argument, datagrams, count));
    }
}

static void echo_one(asocket_selector *selector, void *argument)
{
    asocket_address from;

    (void)selector;
    for (;;) {
        ptrdiff_t size = asocket_receive_from(argument, slots[0], SLOT, &from);

        check(argument, size);
        check(argument, asocket_send_to(argument, slots[0], (size_t)size, &from));
    }
}

static void count_one(asocket *socket, char first, const asocket_address *from)
{
    counted++;
    if (first == '?')
        check(socket, asocket_send_to(socket, &counted, sizeof counted, from));
}

static void take_many(asocket_selector *selector, void *argument)
{
    (void)selector;
    for (;;) {
        size_t i, count = receive_batch(argument);

        for (i = 0; i < count; i++)
            count_one(argument, slots[i][0], &datagrams[i].address);
    }
}

static void take_one(asocket_selector *selector, void *argument)
{
    asocket_address from;

    (void)selector;
    for (;;) {
        check(argument, asocket_receive_from(argument, slots[0], SLOT, &from));
        count_one(argument, slots[0][0], &from);
    }
}

static void send_flow_many(asocket *socket, const asocket_address *to,
                           const struct request *request)
{
    size_t i, left = request->count;

    while (left > 0) {
        size_t count = left < BATCH ? left : BATCH;

        for (i = 0; i < count; i++) {
            flow[i].data = flow_bytes + i * request->size;
            flow[i].size = request->size;
            flow[i].address = *to;
        }
        check(socket, asocket_send_many(socket, flow, count));
        left -= count;
    }
}

static void send_flow_one(asocket *socket, const asocket_address *to, const struct request *request)
{
    size_t left = request->count;

    while (left-- > 0)
        check(socket, asocket_send_to(socket, flow_bytes, request->size, to));
}

static void give(asocket *socket, bool one)
{
    struct request request;
    asocket_address to;

    for (;;) {
        ptrdiff_t size = asocket_receive_from(socket, slots[0], SLOT, &to);

        check(socket, size);
        if (!take_request(&request, slots[0], (size_t)size))
            continue;
        if (one)
            send_flow_one(socket, &to, &request);
        else
            send_flow_many(socket, &to, &request);
    }
}

static void give_many(asocket_selector *selector, void *argument)
{
    (void)selector;
    give(argument, false);
}

static void give_one(asocket_selector *selector, void *argument)
{
    (void)selector;
    give(argument, true);
}

static asocket_function *function_for(enum work work, bool one)
{
    static asocket_function *const functions[][2] = {
        {echo_many, echo_one}, {take_many, take_one}, {give_many, give_one}};

    return functions[work][one];
}

static void prepare_datagrams(void)
{
    size_t i;

    for (i = 0; i < BATCH; i++) {
        datagrams[i].data = slots[i];
        datagrams[i].capacity = SLOT;
    }
}

int main(int argc, char **argv)
{
    enum work work = parse_work(argc > 1 ? argv[1] : "echo");
    bool one = argc > 2 && strcmp(argv[2], "one") == 0;
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket_builder udp = asocket_udp(selector);
    asocket *socket;
    asocket_address address;

    udp.receive_buffer = RECEIVE_BUFFER;
    prepare_datagrams();
    socket = asocket_bind(udp, "127.0.0.1", 0);
    if (socket && asocket_local_address(socket, &address) >= 0) {
        announce(address.port);
        asocket_launch_socket(selector, function_for(work, one), socket);
        asocket_run(selector);
    }
    fprintf(stderr, "%s\n", asocket_error_message(selector));
    asocket_selector_destroy(selector);
    return 1;
}
