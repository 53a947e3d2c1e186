/* linux.c - Linux' side of the Darwin personality (see apple.c): its numbers, and what cannot be
   done with the declarations of both systems in one file. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TCP_KEEPALIVE TCP_KEEPIDLE
#define MAP_ANON      MAP_ANONYMOUS
#include "numbers.h"

#define TABLE(name, LIST)            \
    extern const int linux_##name[]; \
    const int linux_##name[] = {LIST(NUMBER)};
TABLES(TABLE)

/* macOS' names of stdin and its kin. */
extern FILE *__stdinp, *__stdoutp, *__stderrp;
FILE *__stdinp, *__stdoutp, *__stderrp;

__attribute__((constructor(101))) static void open_streams(void)
{
    __stdinp = stdin;
    __stdoutp = stdout;
    __stderrp = stderr;
}

int linux_stat(const char *path, int handle, int follow, linux_file *file)
{
    struct stat facts;
    int result = !path ? fstat(handle, &facts) : follow ? stat(path, &facts) : lstat(path, &facts);

    if (result)
        return result;
    file->device = (unsigned long long)facts.st_dev;
    file->inode = (unsigned long long)facts.st_ino;
    file->size = (unsigned long long)facts.st_size;
    file->mode = (unsigned)facts.st_mode;
    return 0;
}

int linux_peer(int handle, int *process, unsigned *user, unsigned *group)
{
    struct ucred peer;
    socklen_t size = sizeof peer;

    if (getsockopt(handle, SOL_SOCKET, SO_PEERCRED, &peer, &size))
        return -1;
    *process = peer.pid;
    *user = peer.uid;
    *group = peer.gid;
    return 0;
}

int linux_sigaction(int number, void (*handler)(int), void (**former)(int))
{
    struct sigaction action, before;

    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    if (sigaction(number, handler == SIG_ERR ? NULL : &action, &before))
        return -1;
    *former = before.sa_handler;
    return 0;
}

/* Bit n - 1 stands for signal n; only those are passed on whose number is the same on both. */
int linux_sigmask(int how, const unsigned *set, unsigned *former)
{
    sigset_t mask, before;
    int i, result;

    sigemptyset(&mask);
    for (i = 1; set && i < 32; i++)
        if (*set >> (i - 1) & 1)
            sigaddset(&mask, i);
    result = pthread_sigmask(how, set ? &mask : NULL, &before);
    for (i = 1, *former = 0; i < 32; i++)
        if (sigismember(&before, i) == 1)
            *former |= 1u << (i - 1);
    return result;
}

int linux_is_ipv6(int handle)
{
    int domain = 0;
    socklen_t size = sizeof domain;

    return !getsockopt(handle, SOL_SOCKET, SO_DOMAIN, &domain, &size) && domain == AF_INET6;
}

int linux_unsent(int handle, int *bytes)
{
    return ioctl(handle, SIOCOUTQ, bytes);
}

int linux_join(int handle, int level, int name, unsigned interface, const void *group)
{
    struct group_req request;

    memset(&request, 0, sizeof request);
    request.gr_interface = interface;
    memcpy(&request.gr_group, group, sizeof(struct sockaddr_in6));
    return setsockopt(handle, level, name, &request, sizeof request);
}

int linux_dup_flags(int handle)
{
    return fcntl(handle, F_GETFL) & O_NONBLOCK;
}

void linux_nonblock(int handle)
{
    (void)fcntl(handle, F_SETFL, fcntl(handle, F_GETFL) | O_NONBLOCK);
}
