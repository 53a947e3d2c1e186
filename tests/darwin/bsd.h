/* bsd.h - macOS' headers made to look like those of a BSD, of which none can be had here: what the
   branches of asocket.h for it name is declared, what it lacks is gone. For compiling only:

       tests/darwin/cc -include tests/darwin/bsd.h -DAS_OPENBSD -c -o file.o tests/implementation.c */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/event.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#undef __APPLE__
#undef LOCAL_PEERPID
#undef TCP_KEEPALIVE
#undef SO_NOSIGPIPE

#define TCP_KEEPIDLE  256
#define SOCK_CLOEXEC  0x10000000
#define SOCK_NONBLOCK 0x20000000
int accept4(int listener, struct sockaddr *address, socklen_t *size, int flags);
int pipe2(int ends[2], int flags);

#ifdef AS_FREEBSD
#define __FreeBSD__      14
#define INHERIT_ZERO     3
#define SO_REUSEPORT_LB  0x10000
#define MAP_STACK        0x400
#define MSG_CMSG_CLOEXEC 0x40000
#undef MAP_NORESERVE
#endif

#ifdef AS_DRAGONFLY
#define __DragonFly__ 6
#define MAP_STACK     0x400
#undef MAP_NORESERVE
#endif

#ifdef AS_OPENBSD
#define __OpenBSD__      1
#define MAP_INHERIT_ZERO 3
#define MAP_STACK        0x4000
#undef EVFILT_USER
#undef MCAST_JOIN_GROUP
#endif

/* CMSG_SPACE calls a function, the filters are numbers without a sign, and udata is a number. */
#ifdef AS_NETBSD
#define __NetBSD__         1
#define __NetBSD_Version__ 903000000
#define MAP_INHERIT_ZERO   4
#define MAP_STACK          0x2000
#undef EVFILT_USER
#undef MCAST_JOIN_GROUP
#undef CMSG_SPACE
int __cmsg_alignbytes(void);
#undef CMSG_LEN
#define CMSG_LEN(size)   (sizeof(struct cmsghdr) + (size) + 0 * (size_t)__cmsg_alignbytes())
#define CMSG_SPACE(size) (sizeof(struct cmsghdr) + (size) + (size_t)__cmsg_alignbytes())
#undef EVFILT_READ
#undef EVFILT_WRITE
#undef EV_SET
#define EVFILT_READ  0U
#define EVFILT_WRITE 1U
#define kevent       netbsd_kevent
struct kevent {
    uintptr_t ident;
    uint32_t filter, flags, fflags;
    int64_t data;
    intptr_t udata;
};
int kevent(int kq, const struct kevent *changes, size_t change_count, struct kevent *events,
           size_t event_count, const struct timespec *timeout);
#define EV_SET(event, a, b, c, d, e, f)                                                        \
    ((event)->ident = (a), (event)->filter = (b), (event)->flags = (c), (event)->fflags = (d), \
     (event)->data = (e), (event)->udata = (f))
#endif
