/* apple.c - the Darwin personality, for tests only: a program that was compiled against Apple's own
   headers runs on Linux. Each function that takes or answers something that differs is here, under
   its name with darwin_ before it (tests/darwin/cc renames the calls); what is the same goes straight
   to Linux' C library. This file, too, is compiled with Apple's headers: it reads their structures
   and constants, and calls linux_... , names for Linux' functions and numbers.

   It plays an old macOS: MSG_NOSIGNAL is ignored, SO_NOSIGPIPE is not; accepted sockets never block
   if their listener does not; options of IPv4 are refused by sockets of IPv6; addresses without
   their length are refused where macOS does. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/event.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "numbers.h"

#pragma clang diagnostic ignored "-Wmissing-prototypes"

/* --- numbers ---------------------------------------------------------------------------------- */

#define TABLE(name, LIST)                             \
    extern const int linux_##name[];                  \
    static const int apple_##name[] = {LIST(NUMBER)}; \
    enum { count_of_##name = sizeof apple_##name / sizeof(int) };
TABLES(TABLE)

#define TO_LINUX(table, number, otherwise) \
    translate(apple_##table, linux_##table, count_of_##table, number, otherwise)
#define TO_APPLE(table, number, otherwise) \
    translate(linux_##table, apple_##table, count_of_##table, number, otherwise)
#define BITS_TO_LINUX(table, bits) \
    translate_bits(apple_##table, linux_##table, count_of_##table, bits)
#define BITS_TO_APPLE(table, bits) \
    translate_bits(linux_##table, apple_##table, count_of_##table, bits)

static int translate(const int *from, const int *to, int count, int number, int otherwise)
{
    int i;

    for (i = 0; i < count; i++)
        if (from[i] == number)
            return to[i];
    return otherwise;
}

static int translate_bits(const int *from, const int *to, int count, int bits)
{
    int i, result = 0;

    for (i = 0; i < count; i++)
        if (from[i] && (bits & from[i]) == from[i])
            result |= to[i];
    return result;
}

/* --- errno ------------------------------------------------------------------------------------ */

static __thread int apple_errno;
extern int *linux_errno(void) __asm__("__errno_location");

int *darwin___error(void)
{
    return &apple_errno;
}

/* Notes the error of a call that answered so. */
static long done(long result)
{
    if (result == -1)
        apple_errno = TO_APPLE(errors, *linux_errno(), *linux_errno());
    return result;
}

static int refuse(int error)
{
    apple_errno = error;
    return -1;
}

extern char *linux_strerror(int error) __asm__("strerror");
char *darwin_strerror(int error)
{
    return linux_strerror(TO_LINUX(errors, error, error));
}

/* --- calls of which only the error differs ---------------------------------------------------- */

#define SAME(type, name, parameters, arguments)          \
    extern type linux_##name parameters __asm__(#name);  \
    type darwin_##name parameters                        \
    {                                                    \
        return (type)done((long)linux_##name arguments); \
    }
SAME(ssize_t, read, (int fd, void *bytes, size_t size), (fd, bytes, size))
SAME(ssize_t, write, (int fd, const void *bytes, size_t size), (fd, bytes, size))
SAME(ssize_t, pread, (int fd, void *bytes, size_t size, off_t at), (fd, bytes, size, at))
SAME(ssize_t, pwrite, (int fd, const void *bytes, size_t size, off_t at), (fd, bytes, size, at))
SAME(off_t, lseek, (int fd, off_t at, int from), (fd, at, from))
SAME(int, ftruncate, (int fd, off_t size), (fd, size))
SAME(int, pipe, (int *ends), (ends))
SAME(int, listen, (int fd, int backlog), (fd, backlog))
SAME(int, shutdown, (int fd, int how), (fd, how))
SAME(int, unlink, (const char *path), (path))
SAME(int, rmdir, (const char *path), (path))
SAME(int, chmod, (const char *path, mode_t mode), (path, mode))
SAME(int, mkdir, (const char *path, mode_t mode), (path, mode))
SAME(int, symlink, (const char *to, const char *path), (to, path))
SAME(int, access, (const char *path, int mode), (path, mode))
SAME(int, mkstemp, (char *path), (path))
SAME(int, nanosleep, (const struct timespec *time, struct timespec *left), (time, left))
SAME(int, usleep, (useconds_t time), (time))
SAME(int, poll, (struct pollfd * entries, nfds_t count, int timeout), (entries, count, timeout))
SAME(int, munmap, (void *at, size_t size), (at, size))
SAME(int, mprotect, (void *at, size_t size, int protection), (at, size, protection))
SAME(pid_t, fork, (void), ())
SAME(pid_t, waitpid, (pid_t process, int *status, int options), (process, status, options))
SAME(int, setuid, (uid_t user), (user))
SAME(int, setgid, (gid_t group), (group))
SAME(int, kqueue, (void), ())
SAME(int, kevent,
     (int kq, const struct kevent *changes, int change_count, struct kevent *events,
      int event_count, const struct timespec *timeout),
     (kq, changes, change_count, events, event_count, timeout))

/* --- descriptors ------------------------------------------------------------------------------ */

/* SO_NOSIGPIPE is set. */
static unsigned char quiet[65536];

static int is_quiet(int fd)
{
    return fd >= 0 && fd < (int)sizeof quiet && quiet[fd];
}

static int keep_quiet(int fd, int on)
{
    if (fd >= 0 && fd < (int)sizeof quiet)
        quiet[fd] = (unsigned char)on;
    return fd;
}

extern int linux_close(int fd) __asm__("close");
int darwin_close(int fd)
{
    keep_quiet(fd, 0);
    return (int)done(linux_close(fd));
}

extern int linux_dup(int fd) __asm__("dup");
int darwin_dup(int fd)
{
    return keep_quiet((int)done(linux_dup(fd)), is_quiet(fd));
}

extern int linux_open(const char *path, int flags, ...) __asm__("open");
int darwin_open(const char *path, int flags, ...)
{
    va_list arguments;
    int mode;

    va_start(arguments, flags);
    mode = flags & O_CREAT ? va_arg(arguments, int) : 0;
    va_end(arguments);
    return (int)done(linux_open(path, BITS_TO_LINUX(open_flags, flags), mode));
}

extern int linux_fcntl(int fd, int command, ...) __asm__("fcntl");
int darwin_fcntl(int fd, int command, ...)
{
    va_list arguments;
    long value;
    int result, number = TO_LINUX(fcntl_commands, command, -1);

    va_start(arguments, command);
    value = va_arg(arguments, long);
    va_end(arguments);
    if (number < 0)
        return refuse(EINVAL);
    if (command == F_SETFL)
        value = BITS_TO_LINUX(open_flags, (int)value);
    result = (int)done(linux_fcntl(fd, number, value));
    if (command == F_GETFL && result >= 0)
        result = BITS_TO_APPLE(open_flags, result);
    return command == F_DUPFD_CLOEXEC ? keep_quiet(result, is_quiet(fd)) : result;
}

static int stat_of(const char *path, int fd, int follow, struct stat *facts)
{
    linux_file file;

    if (done(linux_stat(path, fd, follow, &file)))
        return -1;
    memset(facts, 0, sizeof *facts);
    facts->st_dev = (dev_t)file.device;
    facts->st_ino = file.inode;
    facts->st_mode = (mode_t)file.mode;
    facts->st_size = (off_t)file.size;
    return 0;
}

int darwin_stat(const char *path, struct stat *facts)
{
    return stat_of(path, -1, 1, facts);
}

int darwin_lstat(const char *path, struct stat *facts)
{
    return stat_of(path, -1, 0, facts);
}

int darwin_fstat(int fd, struct stat *facts)
{
    return stat_of(NULL, fd, 1, facts);
}

/* Linux' struct dirent is another: only whether there is one more is told. */
extern void *linux_opendir(const char *path) __asm__("opendir");
extern void *linux_readdir(void *directory) __asm__("readdir");
extern int linux_closedir(void *directory) __asm__("closedir");

DIR *darwin_opendir(const char *path)
{
    return (DIR *)linux_opendir(path);
}

struct dirent *darwin_readdir(DIR *directory)
{
    static __thread struct dirent entry;

    return linux_readdir(directory) ? &entry : NULL;
}

int darwin_closedir(DIR *directory)
{
    return (int)done(linux_closedir(directory));
}

/* --- addresses -------------------------------------------------------------------------------- */

typedef union any_address {
    struct sockaddr any;
    struct sockaddr_storage storage;
    uint16_t linux_family;
    char bytes[160];
} any_address;

static socklen_t address_in(const void *from, socklen_t size, any_address *to)
{
    memset(to, 0, sizeof *to);
    if (!from)
        return 0;
    memcpy(to, from, size < sizeof *to ? size : sizeof *to);
    to->linux_family = (uint16_t)TO_LINUX(families, to->any.sa_family, to->any.sa_family);
    return size;
}

/* A Unix socket without a name has an empty one here. */
static void address_out(any_address *from, socklen_t length, void *to, socklen_t *size)
{
    if (!to || !size)
        return;
    if (length)
        from->any.sa_family = (sa_family_t)TO_APPLE(families, from->linux_family, 0);
    if (length == 2 && from->any.sa_family == AF_UNIX) {
        memset(from->bytes + 2, 0, 14);
        length = 16;
    }
    from->any.sa_len = (unsigned char)length;
    memcpy(to, from, length < *size ? length : *size);
    *size = length;
}

#define LINUX_ADDRESS const any_address *, socklen_t
extern int linux_socket(int domain, int type, int protocol) __asm__("socket");
extern int linux_socketpair(int domain, int type, int protocol, int *ends) __asm__("socketpair");
extern int linux_bind(int fd, LINUX_ADDRESS) __asm__("bind");
extern int linux_connect(int fd, LINUX_ADDRESS) __asm__("connect");
extern int linux_accept(int fd, any_address *, socklen_t *) __asm__("accept");
extern int linux_getsockname(int fd, any_address *, socklen_t *) __asm__("getsockname");
extern int linux_getpeername(int fd, any_address *, socklen_t *) __asm__("getpeername");

int darwin_socket(int domain, int type, int protocol)
{
    return keep_quiet((int)done(linux_socket(TO_LINUX(families, domain, domain), type, protocol)),
                      0);
}

int darwin_socketpair(int domain, int type, int protocol, int *ends)
{
    int result = (int)done(linux_socketpair(domain, type, protocol, ends));

    if (!result) {
        keep_quiet(ends[0], 0);
        keep_quiet(ends[1], 0);
    }
    return result;
}

int darwin_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    any_address to;
    socklen_t length = address_in(address, size, &to);

    return (int)done(linux_bind(fd, &to, length));
}

int darwin_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    any_address to;
    socklen_t length = address_in(address, size, &to);

    return (int)done(linux_connect(fd, &to, length));
}

int darwin_accept(int fd, struct sockaddr *address, socklen_t *size)
{
    any_address from;
    socklen_t length = sizeof from;
    int result = (int)done(linux_accept(fd, &from, &length));

    if (result < 0)
        return -1;
    if (linux_dup_flags(fd))
        linux_nonblock(result);
    address_out(&from, length, address, size);
    return keep_quiet(result, 0);
}

int darwin_getsockname(int fd, struct sockaddr *address, socklen_t *size)
{
    any_address from;
    socklen_t length = sizeof from;
    int result = (int)done(linux_getsockname(fd, &from, &length));

    if (!result)
        address_out(&from, length, address, size);
    return result;
}

int darwin_getpeername(int fd, struct sockaddr *address, socklen_t *size)
{
    any_address from;
    socklen_t length = sizeof from;
    int result = (int)done(linux_getpeername(fd, &from, &length));

    if (!result)
        address_out(&from, length, address, size);
    return result;
}

extern int linux_inet_pton(int family, const char *text, void *address) __asm__("inet_pton");
int darwin_inet_pton(int family, const char *text, void *address)
{
    return (int)done(linux_inet_pton(TO_LINUX(families, family, family), text, address));
}

extern const char *linux_inet_ntop(int, const void *, char *, socklen_t) __asm__("inet_ntop");
const char *darwin_inet_ntop(int family, const void *address, char *text, socklen_t size)
{
    return linux_inet_ntop(TO_LINUX(families, family, family), address, text, size);
}

/* --- sending and receiving -------------------------------------------------------------------- */

enum { LINUX_MSG_NOSIGNAL = 0x4000 };

static int flags_in(int fd, int flags)
{
    return BITS_TO_LINUX(message_flags, flags) | (is_quiet(fd) ? LINUX_MSG_NOSIGNAL : 0);
}

extern ssize_t linux_send(int fd, const void *, size_t, int) __asm__("send");
extern ssize_t linux_recv(int fd, void *, size_t, int) __asm__("recv");
extern ssize_t linux_sendto(int fd, const void *, size_t, int, LINUX_ADDRESS) __asm__("sendto");
extern ssize_t linux_recvfrom(int fd, void *, size_t, int, any_address *,
                              socklen_t *) __asm__("recvfrom");

ssize_t darwin_send(int fd, const void *bytes, size_t size, int flags)
{
    return done(linux_send(fd, bytes, size, flags_in(fd, flags)));
}

ssize_t darwin_recv(int fd, void *bytes, size_t size, int flags)
{
    return done(linux_recv(fd, bytes, size, flags_in(fd, flags)));
}

ssize_t darwin_sendto(int fd, const void *bytes, size_t size, int flags,
                      const struct sockaddr *address, socklen_t address_size)
{
    any_address to;
    socklen_t length = address_in(address, address_size, &to);

    return done(linux_sendto(fd, bytes, size, flags_in(fd, flags), length ? &to : NULL, length));
}

ssize_t darwin_recvfrom(int fd, void *bytes, size_t size, int flags, struct sockaddr *address,
                        socklen_t *address_size)
{
    any_address from;
    socklen_t length = sizeof from;
    ssize_t result = done(linux_recvfrom(fd, bytes, size, flags_in(fd, flags), &from, &length));

    if (result >= 0)
        address_out(&from, length, address, address_size);
    return result;
}

typedef struct linux_msghdr {
    void *name;
    socklen_t name_size;
    struct iovec *pieces;
    size_t piece_count;
    void *control;
    size_t control_size;
    int flags;
} linux_msghdr;

typedef struct linux_cmsghdr { /* with the descriptors behind it; SCM_RIGHTS is 1 on both */
    size_t size;
    int level, type, handles[256];
} linux_cmsghdr;

enum { LINUX_SOL_SOCKET = 1, LINUX_CMSG_HEAD = 16 };

extern ssize_t linux_sendmsg(int fd, const linux_msghdr *, int) __asm__("sendmsg");
extern ssize_t linux_recvmsg(int fd, linux_msghdr *, int) __asm__("recvmsg");

static void message_in(const struct msghdr *from, linux_msghdr *to, any_address *name,
                       linux_cmsghdr *control)
{
    memset(to, 0, sizeof *to);
    to->pieces = from->msg_iov;
    to->piece_count = (size_t)from->msg_iovlen;
    to->name = from->msg_name ? name : NULL;
    to->control = from->msg_control && from->msg_controllen ? control : NULL;
}

/* One header with descriptors is all that the tests send. */
ssize_t darwin_sendmsg(int fd, const struct msghdr *message, int flags)
{
    const struct cmsghdr *header = CMSG_FIRSTHDR(message);
    linux_cmsghdr control;
    linux_msghdr to;
    any_address name;

    message_in(message, &to, &name, &control);
    to.name_size = address_in(message->msg_name, message->msg_namelen, &name);
    if (header) {
        size_t size = header->cmsg_len - CMSG_LEN(0);

        memcpy(control.handles, CMSG_DATA(header), size);
        control.size = LINUX_CMSG_HEAD + size;
        control.level = header->cmsg_level == SOL_SOCKET ? LINUX_SOL_SOCKET : header->cmsg_level;
        control.type = header->cmsg_type;
        to.control_size = (control.size + 7) / 8 * 8;
    } else {
        to.control = NULL;
    }
    return done(linux_sendmsg(fd, &to, flags_in(fd, flags)));
}

ssize_t darwin_recvmsg(int fd, struct msghdr *message, int flags)
{
    struct cmsghdr *header = (struct cmsghdr *)message->msg_control;
    linux_cmsghdr control;
    linux_msghdr to;
    any_address name;
    ssize_t result;

    message_in(message, &to, &name, &control);
    to.name_size = sizeof name;
    to.control_size = !to.control ? 0 : message->msg_controllen - CMSG_LEN(0) + LINUX_CMSG_HEAD;
    result = done(linux_recvmsg(fd, &to, flags_in(fd, flags)));
    if (result < 0)
        return -1;
    message->msg_flags = BITS_TO_APPLE(message_flags, to.flags);
    address_out(&name, to.name_size, message->msg_name, &message->msg_namelen);
    if (!to.control || to.control_size <= LINUX_CMSG_HEAD) {
        message->msg_controllen = 0;
        return result;
    }
    header->cmsg_len = (socklen_t)(CMSG_LEN(0) + control.size - LINUX_CMSG_HEAD);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = control.type;
    memcpy(CMSG_DATA(header), control.handles, control.size - LINUX_CMSG_HEAD);
    message->msg_controllen = (socklen_t)CMSG_SPACE(control.size - LINUX_CMSG_HEAD);
    return result;
}

/* --- options ---------------------------------------------------------------------------------- */

typedef struct linux_timeval {
    long seconds, microseconds;
} linux_timeval;

extern int linux_setsockopt(int fd, int, int, const void *, socklen_t) __asm__("setsockopt");
extern int linux_getsockopt(int fd, int, int, void *, socklen_t *) __asm__("getsockopt");

/* Level and name on Linux, as one number; -1: there is none. */
static int option_in(int fd, int level, int name)
{
    if (level == IPPROTO_IP && linux_is_ipv6(fd))
        return -1;
    return TO_LINUX(options, OPTION(level, name), -1);
}

/* As macOS does, with a look at the length inside of the address. */
static int change_group(int fd, int option, const struct group_req *request)
{
    any_address group;
    socklen_t size = request->gr_group.ss_family == AF_INET ? sizeof(struct sockaddr_in)
                                                            : sizeof(struct sockaddr_in6);

    if (request->gr_group.ss_len != size)
        return refuse(EINVAL);
    address_in(&request->gr_group, size, &group);
    return (int)done(
        linux_join(fd, option / OPTION_STEP, option % OPTION_STEP, request->gr_interface, &group));
}

int darwin_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    int option = option_in(fd, level, name);
    linux_timeval time;

    if (level == SOL_SOCKET && name == SO_NOSIGPIPE) {
        keep_quiet(fd, *(const int *)value != 0);
        return 0;
    }
    if (option < 0)
        return refuse(EINVAL);
    if (name == MCAST_JOIN_GROUP || name == MCAST_LEAVE_GROUP)
        return change_group(fd, option, (const struct group_req *)value);
    if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO)) {
        time.seconds = ((const struct timeval *)value)->tv_sec;
        time.microseconds = ((const struct timeval *)value)->tv_usec;
        value = &time;
        size = sizeof time;
    }
    return (int)done(linux_setsockopt(fd, option / OPTION_STEP, option % OPTION_STEP, value, size));
}

int darwin_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    int option = option_in(fd, level, name), result;
    unsigned user, group;

    if (level == 0 && name == LOCAL_PEERPID && !linux_is_ipv6(fd) && *size == sizeof(pid_t) &&
        !linux_peer(fd, (int *)value, &user, &group))
        return 0;
    if (level == SOL_SOCKET && name == SO_NWRITE)
        return (int)done(linux_unsent(fd, (int *)value));
    if (option < 0)
        return refuse(EINVAL);
    result =
        (int)done(linux_getsockopt(fd, option / OPTION_STEP, option % OPTION_STEP, value, size));
    if (!result && level == SOL_SOCKET && name == SO_ERROR)
        *(int *)value = TO_APPLE(errors, *(int *)value, *(int *)value);
    return result;
}

int darwin_getpeereid(int fd, uid_t *user, gid_t *group)
{
    int process;

    return (int)done(linux_peer(fd, &process, user, group));
}

/* --- names ------------------------------------------------------------------------------------ */

typedef struct linux_addrinfo {
    int flags, family, type, protocol;
    socklen_t size;
    any_address *address;
    char *name;
    struct linux_addrinfo *next;
} linux_addrinfo;

extern int linux_getaddrinfo(const char *, const char *, const linux_addrinfo *,
                             linux_addrinfo **) __asm__("getaddrinfo");
extern void linux_freeaddrinfo(linux_addrinfo *) __asm__("freeaddrinfo");

void darwin_freeaddrinfo(struct addrinfo *list)
{
    while (list) {
        struct addrinfo *next = list->ai_next;

        free(list);
        list = next;
    }
}

int darwin_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list)
{
    linux_addrinfo wanted, *found = NULL, *at;
    struct addrinfo **end = list;
    int result;

    memset(&wanted, 0, sizeof wanted);
    if (hints) {
        wanted.flags = BITS_TO_LINUX(lookup_flags, hints->ai_flags);
        wanted.family = TO_LINUX(families, hints->ai_family, 0);
        wanted.type = hints->ai_socktype;
        wanted.protocol = hints->ai_protocol;
    }
    *list = NULL;
    result = linux_getaddrinfo(host, service, &wanted, &found);
    if (result) {
        done(-1);
        return TO_APPLE(lookup_errors, result, EAI_FAIL);
    }
    for (at = found; at; at = at->next) {
        struct addrinfo *made = (struct addrinfo *)calloc(1, sizeof *made + sizeof(any_address));
        any_address address;
        socklen_t size = sizeof address;

        memcpy(&address, at->address, at->size);
        made->ai_addr = (struct sockaddr *)(void *)(made + 1);
        made->ai_addrlen = at->size;
        address_out(&address, at->size, made->ai_addr, &size);
        made->ai_family = made->ai_addr->sa_family;
        made->ai_socktype = at->type;
        made->ai_protocol = at->protocol;
        *end = made;
        end = &made->ai_next;
    }
    linux_freeaddrinfo(found);
    return 0;
}

/* --- the rest: memory, time, limits, signals, threads ------------------------------------------ */

extern void *linux_mmap(void *at, size_t, int, int, int, off_t) __asm__("mmap");
void *darwin_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return (void *)done((long)linux_mmap(at, size, protection, BITS_TO_LINUX(map_flags, flags),
                                         flags & MAP_ANON ? -1 : fd, offset));
}

extern long linux_sysconf(int name) __asm__("sysconf");
long darwin_sysconf(int name)
{
    return linux_sysconf(TO_LINUX(system_numbers, name, -1));
}

extern int linux_clock_gettime(int clock, struct timespec *time) __asm__("clock_gettime");
int darwin_clock_gettime(clockid_t clock, struct timespec *time)
{
    return (int)done(linux_clock_gettime(TO_LINUX(clocks, (int)clock, -1), time));
}

extern int linux_getrlimit(int limit, struct rlimit *value) __asm__("getrlimit");
extern int linux_setrlimit(int limit, const struct rlimit *value) __asm__("setrlimit");

int darwin_getrlimit(int limit, struct rlimit *value)
{
    return (int)done(linux_getrlimit(TO_LINUX(limits, limit, -1), value));
}

int darwin_setrlimit(int limit, const struct rlimit *value)
{
    return (int)done(linux_setrlimit(TO_LINUX(limits, limit, -1), value));
}

/* SIG_ERR: only asks. */
static void (*change_handler(int number, void (*handler)(int)))(int)
{
    void (*former)(int) = SIG_ERR;

    return done(linux_sigaction(TO_LINUX(signals, number, -1), handler, &former)) ? SIG_ERR
                                                                                  : former;
}

void (*darwin_signal(int number, void (*handler)(int)))(int)
{
    return change_handler(number, handler);
}

int darwin_sigaction(int number, const struct sigaction *action, struct sigaction *former)
{
    void (*before)(int) = change_handler(number, action ? action->sa_handler : SIG_ERR);

    if (former)
        memset(former, 0, sizeof *former);
    if (former)
        former->sa_handler = before;
    return before == SIG_ERR ? -1 : 0;
}

int darwin_pthread_sigmask(int how, const sigset_t *set, sigset_t *former)
{
    sigset_t unused;

    return linux_sigmask(TO_LINUX(mask_changes, how, -1), set, former ? former : &unused);
}

extern int linux_kill(pid_t process, int number) __asm__("kill");
int darwin_kill(pid_t process, int number)
{
    return (int)done(linux_kill(process, TO_LINUX(signals, number, number)));
}

extern int linux_raise(int number) __asm__("raise");
int darwin_raise(int number)
{
    return (int)done(linux_raise(TO_LINUX(signals, number, number)));
}

extern int linux_pthread_kill(pthread_t thread, int number) __asm__("pthread_kill");
int darwin_pthread_kill(pthread_t thread, int number)
{
    return linux_pthread_kill(thread, TO_LINUX(signals, number, number));
}

/* Apple's structures are larger than Linux'; made by an initialiser they begin with a signature. */
extern int linux_mutex_lock(pthread_mutex_t *) __asm__("pthread_mutex_lock");
extern int linux_cond_wait(pthread_cond_t *, pthread_mutex_t *) __asm__("pthread_cond_wait");
extern int linux_cond_signal(pthread_cond_t *) __asm__("pthread_cond_signal");
extern int linux_cond_broadcast(pthread_cond_t *) __asm__("pthread_cond_broadcast");

static pthread_cond_t *condition_of(pthread_cond_t *condition)
{
    if (condition->__sig == _PTHREAD_COND_SIG_init)
        memset(condition, 0, sizeof *condition);
    return condition;
}

int darwin_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (mutex->__sig == _PTHREAD_MUTEX_SIG_init)
        memset(mutex, 0, sizeof *mutex);
    return linux_mutex_lock(mutex);
}

int darwin_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    return linux_cond_wait(condition_of(condition), mutex);
}

int darwin_pthread_cond_signal(pthread_cond_t *condition)
{
    return linux_cond_signal(condition_of(condition));
}

int darwin_pthread_cond_broadcast(pthread_cond_t *condition)
{
    return linux_cond_broadcast(condition_of(condition));
}

void darwin___assert_rtn(const char *function, const char *file, int line, const char *text)
{
    fprintf(stderr, "%s:%d: %s: assertion failed: %s\n", file, line, function, text);
    abort();
}
