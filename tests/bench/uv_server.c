/* uv_server.c - the same servers on libuv, written as well as its interface allows: the answer is
   tried at once with uv_try_write, all connections read into one shared buffer, TCP_NODELAY is set
   on the listener and inherited, and a queued write stops the reading until it is done.

   usage: uv_server echo|line|longline|sink */
#include "bench.h"

#include <uv.h>

struct connection {
    uv_tcp_t tcp; /* first: a handle is its connection */
    uv_write_t write;
    char *unsent; /* what uv_try_write did not take, until it is written */
    char *carry;  /* the beginning of a line whose end has not come */
    size_t carry_size;
};

static enum mode mode;
static char *input, *answers;

static struct connection *connection_of(uv_stream_t *stream)
{
    return (struct connection *)stream->data;
}

static void on_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;

    free(connection->unsent);
    free(connection->carry);
    free(connection);
}

static void close_connection(struct connection *connection)
{
    if (!uv_is_closing((uv_handle_t *)&connection->tcp))
        uv_close((uv_handle_t *)&connection->tcp, on_closed);
}

/* Reads come in behind the carried beginning of a line; the callback moves it there. */
static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    const struct connection *connection = handle->data;

    (void)suggested;
    buffer->base = input + connection->carry_size;
    buffer->len = BUFFER_SIZE - connection->carry_size;
}

static void on_read(uv_stream_t *stream, ssize_t received, const uv_buf_t *buffer);

static void on_written(uv_write_t *request, int status)
{
    struct connection *connection = connection_of(request->handle);

    free(connection->unsent);
    connection->unsent = NULL;
    if (status < 0)
        close_connection(connection);
    else
        uv_read_start(request->handle, on_allocate, on_read);
}

static void queue_write(struct connection *connection, const char *bytes, size_t size)
{
    uv_stream_t *stream = (uv_stream_t *)&connection->tcp;
    uv_buf_t buffer;

    connection->unsent = allocate(size);
    memcpy(connection->unsent, bytes, size);
    buffer = uv_buf_init(connection->unsent, (unsigned)size);
    uv_read_stop(stream);
    if (uv_write(&connection->write, stream, &buffer, 1, on_written) < 0)
        close_connection(connection);
}

static void send_bytes(struct connection *connection, char *bytes, size_t size)
{
    uv_buf_t buffer = uv_buf_init(bytes, (unsigned)size);
    int sent = uv_try_write((uv_stream_t *)&connection->tcp, &buffer, 1);

    if (sent < 0 && sent != UV_EAGAIN)
        close_connection(connection);
    else if (sent < 0)
        queue_write(connection, bytes, size);
    else if ((size_t)sent < size)
        queue_write(connection, bytes + sent, size - (size_t)sent);
}

static size_t restore_carry(struct connection *connection)
{
    size_t size = connection->carry_size;

    if (size == 0)
        return 0;
    memcpy(input, connection->carry, size);
    free(connection->carry);
    connection->carry = NULL;
    connection->carry_size = 0;
    return size;
}

static void keep_carry(struct connection *connection, const char *bytes, size_t size)
{
    if (size == 0)
        return;
    connection->carry = allocate(size);
    connection->carry_size = size;
    memcpy(connection->carry, bytes, size);
}

static void answer_input(struct connection *connection, size_t received)
{
    size_t size = restore_carry(connection) + received;
    size_t consumed, answered = answer_lines(answers, input, size, &consumed);

    if (size - consumed == BUFFER_SIZE) { /* no line is that long */
        close_connection(connection);
        return;
    }
    keep_carry(connection, input + consumed, size - consumed);
    if (answered > 0)
        send_bytes(connection, answers, answered);
}

static void on_read(uv_stream_t *stream, ssize_t received, const uv_buf_t *buffer)
{
    (void)buffer;
    if (received < 0)
        close_connection(connection_of(stream));
    else if (received > 0 && mode == MODE_ECHO)
        send_bytes(connection_of(stream), input, (size_t)received);
    else if (received > 0 && mode == MODE_LINE)
        answer_input(connection_of(stream), (size_t)received);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct connection *connection;

    if (status < 0)
        return;
    connection = allocate(sizeof *connection);
    memset(connection, 0, sizeof *connection);
    uv_tcp_init(server->loop, &connection->tcp);
    connection->tcp.data = connection;
    if (uv_accept(server, (uv_stream_t *)&connection->tcp) < 0)
        close_connection(connection);
    else
        uv_read_start((uv_stream_t *)&connection->tcp, on_allocate, on_read);
}

static void check(int status, const char *what)
{
    if (status >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, uv_strerror(status));
    exit(1);
}

static int port_of_handle(const uv_tcp_t *tcp)
{
    struct sockaddr_in address;
    int length = (int)sizeof address;

    check(uv_tcp_getsockname(tcp, (struct sockaddr *)&address, &length), "uv_tcp_getsockname");
    return ntohs(address.sin_port);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = loopback(0);
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t server;

    mode = parse_mode(argc > 1 ? argv[1] : "echo");
    raise_descriptor_limit();
    input = allocate(BUFFER_SIZE);
    answers = allocate(BUFFER_SIZE);
    check(uv_tcp_init(loop, &server), "uv_tcp_init");
    check(uv_tcp_bind(&server, (const struct sockaddr *)&address, 0), "uv_tcp_bind");
    check(uv_tcp_nodelay(&server, 1), "uv_tcp_nodelay");
    check(uv_listen((uv_stream_t *)&server, BACKLOG, on_connection), "uv_listen");
    announce(port_of_handle(&server));
    return uv_run(loop, UV_RUN_DEFAULT);
}
