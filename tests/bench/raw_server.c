/* raw_server.c - the practical limit: what a patient person writes by hand on epoll.

   One edge-triggered registration per connection, for everything, never changed. A read shorter
   than asked means the socket is drained, so there is no second read that is known to fail. All
   connections share one buffer, which stays in the cache; the little state there is sits in tables
   indexed by descriptor and is written only when a send was cut short or a line came in pieces.
   TCP_NODELAY is set once, on the listener, and inherited.

   usage: raw_server echo|line|longline|sink */
#include "bench.h"

#include <sys/epoll.h>

enum { BATCH = 512, TABLE_SIZE = 65536 };

/* What the kernel did not take yet. While there is some, nothing more is read: back-pressure. */
struct output {
    char *bytes;
    uint32_t start, end;
};

/* The beginning of a line whose end has not come. */
struct carry {
    char *bytes;
    size_t size;
};

static enum mode mode;
static int listener, queue;
static bool starved; /* accept met the descriptor limit: try again when a descriptor is closed */
static char *input, *answers;
static struct output outputs[TABLE_SIZE];
static struct carry carries[TABLE_SIZE];

/* Buffers of BUFFER_SIZE not in use, linked through their first bytes. */
static char *spare;

static char *take_buffer(void)
{
    char *buffer = spare;

    if (!buffer)
        return allocate(BUFFER_SIZE);
    memcpy(&spare, buffer, sizeof spare);
    return buffer;
}

static void give_buffer(char *buffer)
{
    memcpy(buffer, &spare, sizeof spare);
    spare = buffer;
}

static void register_descriptor(int descriptor, uint32_t events)
{
    struct epoll_event event;

    memset(&event, 0, sizeof event);
    event.events = events;
    event.data.fd = descriptor;
    if (epoll_ctl(queue, EPOLL_CTL_ADD, descriptor, &event) < 0)
        fail("epoll_ctl");
}

static void accept_all(void)
{
    int client;

    for (;;) {
        client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client >= TABLE_SIZE)
            close(client);
        else if (client >= 0)
            register_descriptor(client, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
        else if (errno == EMFILE || errno == ENFILE)
            break;
        else if (errno == EAGAIN)
            return;
    }
    starved = true;
}

static void close_connection(int client)
{
    if (outputs[client].bytes)
        give_buffer(outputs[client].bytes);
    free(carries[client].bytes);
    memset(&outputs[client], 0, sizeof outputs[client]);
    memset(&carries[client], 0, sizeof carries[client]);
    close(client);
    if (starved) {
        starved = false;
        accept_all();
    }
}

/* Sends from *buffer. What does not go stays there and the buffer is kept for it; the shared one is
   replaced instead of copied. True: all is gone and the caller may read on. */
static bool send_from(int client, char **buffer, size_t size)
{
    ssize_t sent = send(client, *buffer, size, MSG_NOSIGNAL);

    if (sent == (ssize_t)size)
        return true;
    if (sent < 0 && errno != EAGAIN) {
        close_connection(client);
        return false;
    }
    outputs[client].bytes = *buffer;
    outputs[client].start = sent > 0 ? (uint32_t)sent : 0;
    outputs[client].end = (uint32_t)size;
    *buffer = take_buffer();
    return false;
}

/* True: nothing is left to send. */
static bool send_rest(int client)
{
    struct output *output = &outputs[client];
    ssize_t sent =
        send(client, output->bytes + output->start, output->end - output->start, MSG_NOSIGNAL);

    if (sent < 0 && errno == EAGAIN)
        return false;
    if (sent < 0) {
        close_connection(client);
        return false;
    }
    output->start += (uint32_t)sent;
    if (output->start < output->end)
        return false; /* a short send: the kernel will say when there is room */
    give_buffer(output->bytes);
    output->bytes = NULL;
    return true;
}

static void keep_carry(int client, const char *bytes, size_t size)
{
    struct carry *carry = &carries[client];

    carry->size = size;
    if (size == 0)
        return;
    carry->bytes = allocate(size);
    memcpy(carry->bytes, bytes, size);
}

/* Puts the beginning of an unfinished line back in front of what will be read. */
static size_t restore_carry(int client)
{
    struct carry *carry = &carries[client];
    size_t size = carry->size;

    if (size == 0)
        return 0;
    memcpy(input, carry->bytes, size);
    free(carry->bytes);
    memset(carry, 0, sizeof *carry);
    return size;
}

static bool answer_input(int client, size_t size)
{
    size_t consumed, answered = answer_lines(answers, input, size, &consumed);

    if (size - consumed == BUFFER_SIZE) { /* no line is that long */
        close_connection(client);
        return false;
    }
    keep_carry(client, input + consumed, size - consumed);
    return answered == 0 || send_from(client, &answers, answered);
}

/* True: the connection may be read again. */
static bool handle_input(int client, size_t size)
{
    if (mode == MODE_SINK)
        return true;
    if (mode == MODE_ECHO)
        return send_from(client, &input, size);
    return answer_input(client, size);
}

/* Reads until the socket is drained. When the peer has finished, a short read is not the end: the
   edge that announced the EOF has been spent, so read on to it. */
static void read_all(int client, bool finished)
{
    for (;;) {
        size_t carried = mode == MODE_LINE ? restore_carry(client) : 0;
        size_t room = BUFFER_SIZE - carried;
        ssize_t received = recv(client, input + carried, room, 0);

        if (received < 0 && errno == EAGAIN) {
            keep_carry(client, input, carried);
            return;
        }
        if (received <= 0) {
            close_connection(client);
            return;
        }
        if (!handle_input(client, carried + (size_t)received))
            return;
        if ((size_t)received < room && !finished)
            return;
    }
}

static void handle_event(int client, uint32_t events)
{
    const uint32_t over = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

    if (outputs[client].bytes) {
        if (!(events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) || !send_rest(client))
            return;
        events |= EPOLLIN; /* edges that came meanwhile were not followed */
    }
    if (events & (EPOLLIN | over))
        read_all(client, (events & over) != 0);
}

static int open_listener(void)
{
    struct sockaddr_in address = loopback(0);
    int one = 1;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0)
        fail("bind");
    if (setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
        fail("setsockopt");
    if (listen(descriptor, BACKLOG) < 0)
        fail("listen");
    return descriptor;
}

static void serve(void)
{
    static struct epoll_event events[BATCH];

    for (;;) {
        int i, count = epoll_wait(queue, events, BATCH, -1);

        if (count < 0 && errno != EINTR)
            fail("epoll_wait");
        for (i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all();
            else
                handle_event(events[i].data.fd, events[i].events);
        }
    }
}

int main(int argc, char **argv)
{
    mode = parse_mode(argc > 1 ? argv[1] : "echo");
    raise_descriptor_limit();
    input = allocate(BUFFER_SIZE);
    answers = allocate(BUFFER_SIZE);
    queue = epoll_create1(EPOLL_CLOEXEC);
    if (queue < 0)
        fail("epoll_create1");
    listener = open_listener();
    register_descriptor(listener, EPOLLIN | EPOLLET);
    announce(port_of(listener));
    serve();
    return 0;
}
