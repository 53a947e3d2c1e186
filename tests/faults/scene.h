/* scene.h - what scenarios have in common: they say what they called and what came back (went, got,
   failed, right), make connections over loopback, and have their parts run as coroutines. */
#ifndef SCENE_H
#define SCENE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "../../asocket.h"
#include "seam.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SCENE_KEPT = 16, SCENE_PARTS = 100, SCENE_CAPACITY = 4096, SCENE_TIME = 600 };

typedef struct scene scene;
typedef void scene_part(scene *s);

struct scene {
    asocket_selector *selector;
    int backend;
    bool strict;   /* nothing fails here: whoever is told that something did, complains */
    bool prompt;   /* whatever fails is told at once: nobody waits until the deadline */
    unsigned also; /* what calls may answer besides, as there is a layer */
    asocket *server, *client, *peer;
    asocket_read_channel *client_in, *peer_in;
    asocket_write_channel *client_out, *peer_out;
    int port;
    asocket *kept[SCENE_KEPT]; /* closed at the end, if they are not yet */
    int kept_count;
    struct scene_role {
        scene *scene;
        scene_part *part;
        asocket_job job;
    } roles[SCENE_PARTS];
    int role_count;
    int handles[4]; /* descriptors of the test's own */
    int handle_count;
    int done; /* what a scenario counts */
    int64_t sent, received;
};

/* --- what a call may answer, as asocket.h says ------------------------------------------------ */

#define MAY(status) (1u << (-1001 - ASOCKET_##status))
enum {
    MAY_ANY = MAY(ENOMEM) | MAY(EMFILE) | MAY(EACCES) | MAY(EIO), /* calls that ask the system */
    MAY_OPEN = MAY_ANY | MAY(EMFILE) | MAY(ENOTSUP),
    MAY_BIND = MAY_ANY | MAY(EADDRINUSE) | MAY(EADDRNOTAVAIL) | MAY(EACCES) | MAY(EINVAL) |
               MAY(EMFILE) | MAY(ENOMEM) | MAY(ENOTSUP),
    MAY_CONNECT = MAY_ANY | MAY(EADDRINUSE) | MAY(ECONNREFUSED) | MAY(ETIMEDOUT) |
                  MAY(EUNREACHABLE) | MAY(ECANCELED) | MAY(ECONNRESET) | MAY(EADDRNOTAVAIL) |
                  MAY(EINVAL) | MAY(EMFILE) | MAY(ENOMEM) | MAY(ENOTSUP) | MAY(EAGAIN),
    MAY_ACCEPT = MAY(ECLOSED) | MAY(ECANCELED) | MAY(ETIMEDOUT),
    MAY_WAIT = MAY(ETIMEDOUT) | MAY(ECANCELED),
    MAY_WRITE = MAY_ANY | MAY(ECONNREFUSED) | MAY(ETIMEDOUT) | MAY(ECANCELED) | MAY(ECLOSED) |
                MAY(EAGAIN) | MAY(ECONNRESET) | MAY(EUNREACHABLE) | MAY(ENOMEM) | MAY(EINVAL),
    MAY_READ = MAY_WRITE | MAY(EOF),
    MAY_MESSAGE = MAY_WRITE | MAY(ECONNREFUSED) | MAY(EMSGSIZE) | MAY(ENOTFOUND),
    MAY_RESOLVE = MAY_ANY | MAY_WAIT | MAY(ENOTFOUND) | MAY(EUNREACHABLE) | MAY(EINVAL),
    MAY_LAUNCH = MAY(ENOMEM),
    MAY_HANDLE = MAY_ANY | MAY_WAIT | MAY(EINVAL) | MAY(EBUSY) | MAY(ENOMEM),
    MAY_OPTION = MAY_ANY | MAY(EINVAL) | MAY(ENOTSUP) | MAY(ENOMEM) | MAY(EACCES) | MAY(ECLOSED),
    MAY_ADDRESS = MAY_ANY | MAY(EINVAL) | MAY(ENOMEM),
    MAY_ADOPT = MAY_OPTION | MAY(ECONNRESET) | MAY(EMFILE)
};

/* Whether a call went well. If not, it must have said so as documented. */
static bool went(scene *s, const char *call, int64_t result, unsigned may)
{
    const char *message = s->selector ? asocket_error_message(s->selector) : "";

    if (result >= 0)
        return true;
    may |= s->also;
    if (result < ASOCKET_ETLS || result > ASOCKET_EOF || !(may >> (-1001 - result) & 1))
        seam_complain("%s answered %d, \"%s\", which is not documented", call, (int)result,
                      asocket_strerror((int)result));
    if (s->selector && asocket_error(s->selector) != result)
        seam_complain("%s answered %d, asocket_error %d", call, (int)result,
                      asocket_error(s->selector));
    if (result == ASOCKET_ETIMEDOUT && s->prompt)
        seam_complain("%s waited until the deadline for what had failed", call);
    if (result == ASOCKET_EIO && !strstr(message, "errno") &&
        (!strcmp(call, "bind") || !strncmp(call, "connect", 7)))
        seam_complain("%s failed, but the message does not say with which errno: %s", call,
                      message);
    if (s->strict)
        seam_complain("%s answered \"%s\" (%s)", call, asocket_strerror((int)result), message);
    return false;
}

/* The same for calls that answer a pointer or a job. */
static bool got(scene *s, const char *call, bool made, unsigned may)
{
    int status = made ? 0 : asocket_error(s->selector);

    if (!made && status >= 0)
        seam_complain("%s failed without an error", call);
    return went(s, call, status, may);
}

/* A call that cannot go well: it answers `status`, or what else a fault makes of it. */
static void failed(scene *s, const char *call, int64_t result, int status, unsigned may)
{
    if (result == status)
        return;
    if (s->strict || result >= 0)
        seam_complain("%s answered %ld instead of \"%s\"", call, (long)result,
                      asocket_strerror(status));
    else
        (void)went(s, call, result, may);
}

static void right(bool condition, const char *what)
{
    if (!condition)
        seam_complain("%s", what);
}

/* --- parts ------------------------------------------------------------------------------------ */

static asocket *keep(scene *s, asocket *socket)
{
    if (socket && s->kept_count < SCENE_KEPT)
        s->kept[s->kept_count++] = socket;
    return socket;
}

static int keep_handle(scene *s, int handle)
{
    s->handles[s->handle_count++] = handle;
    return handle;
}

static void role_main(asocket_selector *selector, void *argument)
{
    struct scene_role *role = (struct scene_role *)argument;

    (void)asocket_set_deadline(selector, SCENE_TIME / 2);
    role->part(role->scene);
}

/* Launches a part of the scenario as a coroutine with a deadline. */
static asocket_job go(scene *s, scene_part *part)
{
    struct scene_role *role = &s->roles[s->role_count++];

    role->scene = s;
    role->part = part;
    role->job = asocket_launch(s->selector, role_main, role);
    (void)got(s, "launch", role->job != 0, MAY_LAUNCH);
    return role->job;
}

static bool join_all(scene *s)
{
    return went(s, "join_all", asocket_join_all(s->selector), MAY_WAIT);
}

static bool nap(scene *s, int64_t milliseconds)
{
    return went(s, "sleep", asocket_sleep(s->selector, milliseconds), MAY_WAIT);
}

/* An address of loopback that no other process uses: ports come back quickly, and a stranger's
   client could meet our server. */
static asocket_ip here_ip(void)
{
    return asocket_ipv4(127, (uint8_t)(getpid() >> 8), (uint8_t)getpid(), 1);
}

static const char *here(void)
{
    static char text[64];
    asocket_ip ip = here_ip();

    (void)asocket_ip_format(&ip, text, sizeof text);
    return text;
}

static in_addr_t here_native(void)
{
    asocket_ip ip = here_ip();
    in_addr_t address;

    memcpy(&address, ip.bytes, sizeof address);
    return address;
}

static bool listening(scene *s, asocket_builder builder)
{
    asocket_address address;

    s->server = keep(s, asocket_bind(builder, here(), 0));
    if (!got(s, "bind", s->server != NULL, MAY_BIND))
        return false;
    if (!went(s, "local_address", asocket_local_address(s->server, &address), MAY_ADDRESS))
        return false;
    s->port = address.port;
    return true;
}

static bool connected(scene *s, asocket_builder builder)
{
    s->client = keep(s, asocket_connect(builder, here(), s->port));
    if (!got(s, "connect", s->client != NULL, MAY_CONNECT))
        return false;
    s->client_in = asocket_open_read_channel(s->client);
    s->client_out = asocket_open_write_channel(s->client, ASOCKET_AUTO_FLUSH);
    return got(s, "open_write_channel", s->client_in && s->client_out, 0);
}

static bool accepted(scene *s)
{
    s->peer = keep(s, asocket_accept(s->server));
    if (!got(s, "accept", s->peer != NULL, MAY_ACCEPT))
        return false;
    s->peer_in = asocket_open_read_channel(s->peer);
    s->peer_out = asocket_open_write_channel(s->peer, ASOCKET_AUTO_FLUSH);
    return got(s, "open_write_channel", s->peer_in && s->peer_out, 0);
}

/* A server, a client, and the server's end of the connection. */
static bool paired(scene *s, asocket_builder builder)
{
    return listening(s, builder) && connected(s, builder) && accepted(s);
}

static asocket_builder tcp(scene *s)
{
    return asocket_tcp(s->selector);
}

/* With buffers in the kernel that are soon full. */
static asocket_builder narrow(scene *s)
{
    asocket_builder builder = asocket_tcp(s->selector);

    builder.send_buffer = builder.receive_buffer = 16384;
    return builder;
}

static bool wrote(scene *s, asocket_write_channel *out, const char *text)
{
    return went(s, "write", asocket_write_string(out, text), MAY_WRITE);
}

/* The whole line, or what there is of it when the stream was ended (P1); never so with TLS (P15). */
static bool is_line(const scene *s, const char *got, const char *line)
{
    bool cut = seam_ended() && !(s->also & MAY(ETLS));

    return cut ? !strncmp(got, line, strlen(got)) : !strcmp(got, line);
}

static bool reads(scene *s, asocket_read_channel *in, const char *line)
{
    char buffer[100];

    if (!went(s, "read_line", asocket_read_line(in, buffer, sizeof buffer), MAY_READ))
        return false;
    right(is_line(s, buffer, line), "a line arrived as another one");
    return true;
}

/* Nothing comes any more. */
static void ends(scene *s, asocket_read_channel *in)
{
    char byte;

    failed(s, "read", asocket_read(in, &byte, 1), ASOCKET_EOF, MAY_READ);
}

/* --- bulk: bytes that say where they stand ---------------------------------------------------- */

static char bulk_byte(int64_t at)
{
    return (char)(at * 31 + at / 251);
}

/* Writes as much; how far it came is s->sent. */
static bool bulk_write(scene *s, asocket_write_channel *out, int64_t size, size_t piece)
{
    char bytes[16384];
    size_t i;

    for (s->sent = 0; s->sent < size;) {
        int64_t written;

        for (i = 0; i < piece; i++)
            bytes[i] = bulk_byte(s->sent + (int64_t)i);
        written = asocket_write(out, bytes, piece);
        if (!went(s, "write", written, MAY_WRITE))
            return false;
        right(written == (int64_t)piece, "a write was not whole");
        s->sent += written;
    }
    return true;
}

/* Reads until the end; how far it came is s->received. */
static bool bulk_read(scene *s, asocket_read_channel *in, size_t piece, int64_t pause)
{
    char bytes[16384];
    ptrdiff_t count, i;

    s->received = 0;
    if (pause && !nap(s, pause))
        return false;
    for (;; s->received += count) {
        count = asocket_read(in, bytes, piece);
        if (count == ASOCKET_EOF)
            return true;
        if (!went(s, "read", count, MAY_READ))
            return false;
        for (i = 0; i < count; i++)
            if (bytes[i] != bulk_byte(s->received + i))
                seam_complain("byte %ld arrived wrong", (long)(s->received + i));
        if (pause)
            (void)asocket_yield(s->selector);
    }
}

/* --- beginning and end ------------------------------------------------------------------------ */

static asocket_selector *scene_selector(scene *s)
{
    asocket_selector_options options;
    asocket_selector *selector = NULL;
    int status;

    memset(&options, 0, sizeof options);
    options.backend = s->backend;
    options.channel_capacity = SCENE_CAPACITY;
    options.close_timeout = 400;
    status = asocket_selector_open(&options, &selector);
    right((status == 0) == (selector != NULL), "selector_open failed, and gave a selector");
    right(!status || !s->strict, "selector_open failed");
    right(!status || (MAY_OPEN >> (-1001 - status) & 1), "selector_open answers another status");
    return selector;
}

static void scene_close(scene *s)
{
    while (s->kept_count)
        (void)asocket_close(s->kept[--s->kept_count]);
}

#endif
