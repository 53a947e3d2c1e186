/* What a program that is started meanwhile would inherit: a descriptor must be closed on exec from
   the moment it exists, for another thread may fork before the next system call. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif
#ifdef __linux__
#include <fcntl.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEAM_socket        , new_socket
#define SEAM_accept4       , new_connection
#define SEAM_epoll_create1 , new_epoll
#define SEAM_eventfd       , new_event
#define SEAM_pipe2         , new_pipe
#define SEAM_recvmsg       , new_message
#define SEAM_fcntl         , new_duplicate
static int new_socket(int domain, int type, int protocol);
static int new_connection(int server, struct sockaddr *address, socklen_t *size, int flags);
static int new_epoll(int flags);
static int new_event(unsigned value, int flags);
static int new_pipe(int ends[2], int flags);
static ssize_t new_message(int channel, struct msghdr *message, int flags);
static int new_duplicate(int handle, int command, ...);
#include "private.h"

#include <sys/un.h>

/* --- the seam --------------------------------------------------------------------------------- */

static int born, open_to_exec; /* descriptors that came, and those that a program would inherit */

static int look_at(int handle)
{
    int error = errno;

    if (handle >= 0) {
        born++;
        open_to_exec += !(fcntl(handle, F_GETFD) & FD_CLOEXEC);
    }
    errno = error;
    return handle;
}

static int new_socket(int domain, int type, int protocol)
{
    return look_at(socket(domain, type, protocol));
}

static int new_connection(int server, struct sockaddr *address, socklen_t *size, int flags)
{
    return look_at(accept4(server, address, size, flags));
}

static int new_epoll(int flags)
{
    return look_at(epoll_create1(flags));
}

static int new_event(unsigned value, int flags)
{
    return look_at(eventfd(value, flags));
}

static int new_pipe(int ends[2], int flags)
{
    int result = pipe2(ends, flags);

    if (!result) {
        look_at(ends[0]);
        look_at(ends[1]);
    }
    return result;
}

static ssize_t new_message(int channel, struct msghdr *message, int flags)
{
    ssize_t count = recvmsg(channel, message, flags);
    struct cmsghdr *header = count > 0 ? CMSG_FIRSTHDR(message) : NULL;
    int handle;

    if (header && header->cmsg_type == SCM_RIGHTS) {
        memcpy(&handle, CMSG_DATA(header), sizeof handle);
        look_at(handle);
    }
    return count;
}

static int new_duplicate(int handle, int command, ...)
{
    int argument, result;
    va_list arguments;

    va_start(arguments, command);
    argument = command == F_GETFD || command == F_GETFL ? 0 : va_arg(arguments, int);
    va_end(arguments);
    result = fcntl(handle, command, argument);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? look_at(result) : result;
}

/* --- all that makes descriptors --------------------------------------------------------------- */

static asocket_selector *selector;

/* So many came since the last call, none of them to be inherited. */
static void came(int least, const char *what)
{
    ok(born >= least, "%s: %d came", what, born);
    is_int(open_to_exec, 0, "P6: %s: closed on exec from the beginning", what);
    born = open_to_exec = 0;
}

static void check_sockets(void)
{
    asocket *datagrams = asocket_bind(asocket_udp(selector), "127.0.0.1", 0);
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    asocket *client, *accepted;
    asocket_address address;

    asocket_local_address(server, &address);
    came(2, "listeners and datagram sockets");
    client = asocket_connect(asocket_tcp(selector), "127.0.0.1", address.port);
    came(1, "connecting");
    accepted = asocket_accept(server);
    came(1, "accepting");
    asocket_close(accepted);
    asocket_close(client);
    asocket_close(server);
    asocket_close(datagrams);
}

/* A file that nobody listens on: whether that is so has to be tried. */
static void check_paths(void)
{
    asocket_builder local = asocket_unix(selector);
    asocket *first, *second;
    char path[64];

    snprintf(path, sizeof path, "/tmp/asocket_inherited_%d", (int)getpid());
    first = asocket_bind(local, path, 0);
    asocket_close(first);
    local.unlink = 1;
    second = asocket_bind(local, path, 0);
    ok(second != NULL, "a path is taken over");
    came(3, "Unix sockets");
    asocket_close(second);
}

static void close_it(asocket_selector *owner, void *argument)
{
    (void)owner;
    asocket_close((asocket *)argument);
}

static void check_copies(void)
{
    int ends[2] = {-1, -1};
    asocket *from, *to, *received;
    test_pair pair;

    if (!test_pair_open(selector, &pair) || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return;
    from = asocket_adopt(asocket_unix(selector), ends[0]);
    to = asocket_adopt(asocket_unix(selector), ends[1]);
    came(2, "a connection");
    is_status(asocket_share(pair.server, selector, close_it), ASOCKET_OK, "a listener is shared");
    came(1, "sharing");
    is_status(asocket_send_socket(from, pair.socket), ASOCKET_OK, "a connection is sent");
    received = asocket_receive_socket(to);
    ok(received != NULL, "and received");
    came(1, "receiving");
    asocket_sleep(selector, 1);
    asocket_close(received);
    asocket_close(from);
    asocket_close(to);
    test_pair_close(&pair);
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    came(test_backend(argc, argv) == ASOCKET_BACKEND_KQUEUE ? 0 : 2, "a selector");
    check_sockets();
    check_paths();
    check_copies();
    return test_end(selector);
}

#else
#include "test.h"

int main(void)
{
    skip_all("it stands in for calls of Linux");
    return 0;
}
#endif
