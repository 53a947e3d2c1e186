/* posix.h - what the tests use of POSIX, on Windows: the headers beside this one all include it, so
   that the same test files compile with mingw-w64 and run under Wine. Descriptors of sockets are
   ints here, as they are elsewhere; Windows hands out no larger ones. Not for programs: the library
   itself needs none of it. */
#ifndef TESTS_WINDOWS_POSIX_H
#define TESTS_WINDOWS_POSIX_H

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <winsock2.h>
#include <ws2tcpip.h>
#include <mswsock.h>
#include <windows.h>
#undef interface
#undef near
#undef far
#include <stdbool.h>
#include "strict.h"

#include <direct.h>
#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MSG_NOSIGNAL 0
#define MSG_DONTWAIT 0x40000000
#define SHUT_RD      SD_RECEIVE
#define SHUT_WR      SD_SEND
#define SHUT_RDWR    SD_BOTH
#define O_NONBLOCK   0x10000
#define O_CLOEXEC    0
#define F_GETFD      1
#define F_SETFD      2
#define F_GETFL      3
#define F_SETFL      4
#define FD_CLOEXEC   1
#define AF_LOCAL     AF_UNIX
#define SIGALRM      14
#define IF_NAMESIZE  64
#ifndef SO_REUSEPORT
#define SO_REUSEPORT 0
#endif

typedef uint32_t in_addr_t;
typedef uint16_t in_port_t;
struct sockaddr_un {
    unsigned short sun_family;
    char sun_path[108];
};
typedef ULONG nfds_t;

/* What Windows has not: calls that fail, so that tests skip. */
struct rlimit {
    unsigned long rlim_cur, rlim_max;
};
typedef unsigned long rlim_t;
typedef int cpu_set_t;
#define RLIMIT_NOFILE                0
#define RLIM_INFINITY                (~0ul)
#define getrlimit(what, limit)       (memset(limit, 0, sizeof *(limit)), errno = ENOSYS, -1)
#define setrlimit(what, limit)       ((void)(limit), errno = ENOSYS, -1)
#define sched_getaffinity(p, s, set) ((void)(set), errno = ENOSYS, -1)
#define sched_setaffinity(p, s, set) ((void)(set), errno = ENOSYS, -1)
#define CPU_ZERO(set)                (*(set) = 0)
#define CPU_SET(i, set)              (*(set) |= 1 << (i))
typedef unsigned short sa_family_t;
typedef unsigned posix_sigset;
struct sigaction {
    void (*sa_handler)(int);
    int sa_flags;
    posix_sigset sa_mask;
};
#define sigset_t                    posix_sigset
#define SIGPIPE                     13
#define SIGUSR1                     10
#define SIGKILL                     9
#define SA_RESTART                  0
#define sigaction(number, new, old) ((void)(new), (void)(old), 0)
#define sigismember(set, number)    ((void)(set), 1)
#define sigemptyset(set)            (*(set) = 0)
#define sigfillset(set)             (*(set) = ~0u)
#undef pthread_sigmask
#define pthread_sigmask(how, new, old) ((void)0)
#define SIG_SETMASK                    0
#define SOCK_NONBLOCK                  0x800
#define SOCK_CLOEXEC                   0x80000
#define TCP_MAXSEG                     4
#ifndef TCP_KEEPIDLE
#define TCP_KEEPIDLE  3
#define TCP_KEEPINTVL 17
#define TCP_KEEPCNT   16
#endif
#define WIFEXITED(status)             0
#define WEXITSTATUS(status)           0
#define WIFSIGNALED(status)           0
#define WTERMSIG(status)              0
#define fork()                        (errno = ENOSYS, -1)
#define waitpid(child, status, flags) posix_waitpid(child, status)
#define lstat(path, facts)            stat(path, facts)
#define S_ISSOCK(mode)                ((void)(mode), false)
#define symlink(target, path)         ((void)(target), (void)(path), errno = ENOSYS, -1)
#define mkdtemp(path)                 posix_mkdtemp(path)
#define getuid()                      0
#define getgid()                      0
#define setuid(user)                  (errno = ENOSYS, -1)
#define setgid(group)                 (errno = ENOSYS, -1)
#define CPU_ISSET(i, set)             ((*(set) >> (i)) & 1)

static inline char *posix_mkdtemp(char *path)
{
    return _mktemp(path) && !_mkdir(path) ? path : NULL;
}

static inline int posix_waitpid(pid_t child, int *status)
{
    (void)child;
    if (status)
        *status = 0;
    errno = ENOSYS;
    return -1;
}

static inline int posix_errno(int error)
{
    switch (error) {
    case WSAEWOULDBLOCK: return EAGAIN;
    case WSAECONNRESET:
    case WSAENETRESET: return ECONNRESET;
    case WSAECONNABORTED: return ECONNABORTED;
    case WSAECONNREFUSED: return ECONNREFUSED;
    case WSAENOTCONN: return ENOTCONN;
    case WSAENOTSOCK: return EBADF;
    case WSAEADDRINUSE: return EADDRINUSE;
    case WSAETIMEDOUT: return ETIMEDOUT;
    case WSAESHUTDOWN: return EPIPE;
    case WSAEMSGSIZE: return EMSGSIZE;
    case WSAEINVAL: return EINVAL;
    case WSAEAFNOSUPPORT: return EAFNOSUPPORT;
    default: return EIO;
    }
}

static inline int posix_result(int result)
{
    if (result == SOCKET_ERROR)
        errno = posix_errno(WSAGetLastError());
    return result;
}

static inline void posix_start(void)
{
    static WSADATA data;

    if (!data.wVersion)
        WSAStartup(MAKEWORD(2, 2), &data);
}

static inline int posix_socket(int domain, int type, int protocol)
{
    int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC), fd;
    unsigned long on = 1;

    posix_start();
    fd = posix_result((int)strict_socket(domain, kind, protocol, NULL, 0, WSA_FLAG_OVERLAPPED));
    if (fd >= 0 && (type & SOCK_NONBLOCK))
        strict_ioctlsocket((SOCKET)fd, (long)FIONBIO, &on);
    return fd;
}

static inline int posix_accept(int fd, struct sockaddr *address, socklen_t *size)
{
    return posix_result((int)strict_accept((SOCKET)fd, address, size));
}

static inline int posix_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    bool local = address->sa_family == AF_UNIX;
    int result = posix_result(local ? strict_connect((SOCKET)fd, address, size)
                                    : connect((SOCKET)fd, address, size));

    if (result && errno == EAGAIN)
        errno = EINPROGRESS;
    return result;
}

static inline int posix_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    return posix_result(strict_bind((SOCKET)fd, address, size));
}

static inline int posix_listen(int fd, int backlog)
{
    return posix_result(listen((SOCKET)fd, backlog));
}

static inline int posix_getsockname(int fd, struct sockaddr *address, socklen_t *size)
{
    return posix_result(strict_getsockname((SOCKET)fd, address, size));
}

static inline int posix_getpeername(int fd, struct sockaddr *address, socklen_t *size)
{
    return posix_result(strict_getpeername((SOCKET)fd, address, size));
}

static inline int posix_shutdown(int fd, int how)
{
    return posix_result(shutdown((SOCKET)fd, how));
}

/* Time-outs are milliseconds to Windows. */
static inline int posix_setsockopt(int fd, int level, int name, const void *value, size_t size)
{
    const struct timeval *time = (const struct timeval *)value;
    DWORD milliseconds;

    if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO)) {
        milliseconds = (DWORD)(time->tv_sec * 1000 + time->tv_usec / 1000);
        value = &milliseconds;
        size = sizeof milliseconds;
    }
    return posix_result(setsockopt((SOCKET)fd, level, name, (const char *)value, (int)size));
}

/* Some switches are answered with one byte. */
static inline int posix_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    int result;

    memset(value, 0, (size_t)*size);
    result = posix_result(getsockopt((SOCKET)fd, level, name, (char *)value, size));

    if (!result && level == SOL_SOCKET && name == SO_ERROR && *(int *)value)
        *(int *)value = posix_errno(*(int *)value);
    return result;
}

static inline int posix_poll(struct pollfd *entries, nfds_t count, int timeout)
{
    return posix_result(WSAPoll(entries, count, timeout));
}

/* Without waiting: looks first. */
static inline bool posix_ready(int fd, int flags, short events)
{
    struct pollfd entry;

    if (!(flags & MSG_DONTWAIT))
        return true;
    entry.fd = (SOCKET)fd;
    entry.events = events;
    entry.revents = 0;
    if (WSAPoll(&entry, 1, 0) != 0)
        return true;
    errno = EAGAIN;
    return false;
}

static inline ssize_t posix_recvfrom(int fd, void *buffer, size_t size, int flags,
                                     struct sockaddr *from, socklen_t *length)
{
    int count;

    if (!posix_ready(fd, flags, POLLIN))
        return -1;
    flags &= ~MSG_DONTWAIT;
    count = from ? recvfrom((SOCKET)fd, (char *)buffer, (int)size, flags, from, length)
                 : strict_recv((SOCKET)fd, (char *)buffer, (int)size, flags);
    if (count < 0 && WSAGetLastError() == WSAEMSGSIZE)
        return (ssize_t)size;
    return posix_result(count);
}

static inline ssize_t posix_recv(int fd, void *buffer, size_t size, int flags)
{
    return posix_recvfrom(fd, buffer, size, flags, NULL, NULL);
}

static inline ssize_t posix_sendto(int fd, const void *bytes, size_t size, int flags,
                                   const struct sockaddr *to, socklen_t length)
{
    if (!posix_ready(fd, flags, POLLOUT))
        return -1;
    return posix_result(sendto((SOCKET)fd, (const char *)bytes, (int)size, flags & ~MSG_DONTWAIT,
                               to, to ? length : 0));
}

static inline ssize_t posix_send(int fd, const void *bytes, size_t size, int flags)
{
    bool blocks = (flags & MSG_DONTWAIT) && strict_blocks((SOCKET)fd);
    unsigned long on = 1, off = 0;
    int count;

    if (blocks)
        ioctlsocket((SOCKET)fd, (long)FIONBIO, &on);
    count = posix_result(send((SOCKET)fd, (const char *)bytes, (int)size, flags & ~MSG_DONTWAIT));
    if (blocks)
        ioctlsocket((SOCKET)fd, (long)FIONBIO, &off);
    return count;
}

/* A file's or a socket's; the numbers are the same, their kinds are not. */
static inline bool posix_is_socket(int fd)
{
    int type;
    int size = sizeof type;

    return !getsockopt((SOCKET)fd, SOL_SOCKET, SO_TYPE, (char *)&type, &size);
}

static inline int posix_close(int fd)
{
    if (!posix_is_socket(fd))
        return _close(fd);
    InterlockedDecrement(&strict_sockets);
    return posix_result(closesocket((SOCKET)fd));
}

static inline ssize_t posix_read(int fd, void *buffer, size_t size)
{
    return posix_is_socket(fd) ? posix_recv(fd, buffer, size, 0)
                               : _read(fd, buffer, (unsigned)size);
}

static inline ssize_t posix_write(int fd, const void *bytes, size_t size)
{
    return posix_is_socket(fd) ? posix_send(fd, bytes, size, 0) : _write(fd, bytes, (unsigned)size);
}

static inline int posix_dup(int fd)
{
    WSAPROTOCOL_INFOW info;

    if (!posix_is_socket(fd))
        return _dup(fd);
    if (strict_WSADuplicateSocketW((SOCKET)fd, GetCurrentProcessId(), &info))
        return -1;
    return (int)strict_socket(FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, FROM_PROTOCOL_INFO, &info, 0,
                              WSA_FLAG_OVERLAPPED);
}

/* Flags can be set, but Windows tells none but whether a handle is inherited. */
static inline int posix_fcntl(int fd, int command, int flags)
{
    unsigned long on = (flags & O_NONBLOCK) != 0;
    DWORD facts;

    switch (command) {
    case F_SETFL: return posix_result(strict_ioctlsocket((SOCKET)fd, (long)FIONBIO, &on));
    case F_GETFL:
        if (!posix_is_socket(fd))
            return -1;
        return strict_blocks((SOCKET)fd) ? O_RDWR : O_RDWR | O_NONBLOCK;
    case F_SETFD: return 0;
    default:
        if (!GetHandleInformation((HANDLE)(uintptr_t)fd, &facts))
            return -1;
        return facts & HANDLE_FLAG_INHERIT ? 0 : FD_CLOEXEC;
    }
}

/* Two connected sockets, by way of the loopback interface. */
static inline int posix_socketpair(int domain, int type, int protocol, int ends[2])
{
    struct sockaddr_in at;
    socklen_t size = sizeof at;
    int listener = posix_socket(AF_INET, SOCK_STREAM, 0);

    unsigned long on = 1;

    (void)domain, (void)protocol;
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ends[1] = -1;
    ends[0] = posix_socket(AF_INET, SOCK_STREAM, 0);
    if (!posix_bind(listener, (struct sockaddr *)&at, sizeof at) && !posix_listen(listener, 1) &&
        !posix_getsockname(listener, (struct sockaddr *)&at, &size) &&
        !posix_connect(ends[0], (struct sockaddr *)&at, sizeof at))
        ends[1] = posix_accept(listener, NULL, NULL);
    closesocket((SOCKET)listener);
    InterlockedDecrement(&strict_sockets);
    if (ends[1] >= 0 && (type & SOCK_NONBLOCK)) {
        strict_ioctlsocket((SOCKET)ends[0], (long)FIONBIO, &on);
        strict_ioctlsocket((SOCKET)ends[1], (long)FIONBIO, &on);
    }
    return ends[1] < 0 ? -1 : 0;
}

static inline int posix_pipe(int ends[2])
{
    return posix_socketpair(0, 0, 0, ends);
}

/* From a place in a file, which is where the next call goes on, here. */
static inline ssize_t posix_pwrite(int file, const void *bytes, size_t size, long long offset)
{
    return _lseeki64(file, offset, SEEK_SET) < 0 ? -1 : _write(file, bytes, (unsigned)size);
}

/* Processor time: clock() is the time of the wall there. */
static inline clock_t posix_clock(void)
{
    FILETIME made, ended, kernel, user;

    GetProcessTimes(GetCurrentProcess(), &made, &ended, &kernel, &user);
    return (clock_t)((((uint64_t)kernel.dwHighDateTime + user.dwHighDateTime) << 32) / 10000 +
                     ((uint64_t)kernel.dwLowDateTime + user.dwLowDateTime) / 10000);
}

enum { RUSAGE_SELF };
struct rusage {
    struct timeval ru_utime, ru_stime;
    long ru_maxrss;
};

static inline int posix_getrusage(struct rusage *usage)
{
    clock_t time = posix_clock();

    memset(usage, 0, sizeof *usage);
    usage->ru_utime.tv_sec = time / 1000;
    usage->ru_utime.tv_usec = time % 1000 * 1000;
    return 0;
}

struct if_nameindex {
    unsigned if_index;
    char *if_name;
};
#define if_nameindex()        ((struct if_nameindex *)NULL)
#define if_freenameindex(all) ((void)(all))
#define if_indextoname(i, s)  ((void)(i), (void)(s), (char *)NULL)

static inline unsigned posix_if_nametoindex(const char *name)
{
    (void)name;
    return 0;
}

#endif
