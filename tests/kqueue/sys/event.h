/* sys/event.h - the part of the BSDs' kqueue(2) that asocket.h uses, on Linux, for tests only:
   tests/kqueue/kqueue.c makes it from epoll. With KQUEUE_NETBSD the types and numbers are NetBSD's,
   of which EVFILT_READ is an unsigned 0, and the kernel that is played is older than EVFILT_USER. */
#ifndef KQUEUE_EVENT_H
#define KQUEUE_EVENT_H

#include <stdint.h>
#include <time.h>

#ifdef KQUEUE_NETBSD

struct kevent {
    uintptr_t ident;
    uint32_t filter, flags, fflags;
    int64_t data;
    void *udata;
};
#define EVFILT_READ  0U
#define EVFILT_WRITE 1U
#define EVFILT_USER  8U
#define EV_EOF       0x8000U
#define EV_ERROR     0x4000U

#else

struct kevent {
    uintptr_t ident;
    int16_t filter;
    uint16_t flags;
    uint32_t fflags;
    intptr_t data;
    void *udata;
};
#define EVFILT_READ  (-1)
#define EVFILT_WRITE (-2)
#define EVFILT_USER  (-10)
#define EV_EOF       0x8000
#define EV_ERROR     0x4000

#endif

#define EV_ADD       0x0001
#define EV_DELETE    0x0002
#define EV_CLEAR     0x0020
#define NOTE_TRIGGER 0x01000000

#define EV_SET(event, a, b, c, d, e, f)  \
    do {                                 \
        struct kevent *event_ = (event); \
                                         \
        event_->ident = (a);             \
        event_->filter = (b);            \
        event_->flags = (c);             \
        event_->fflags = (d);            \
        event_->data = (e);              \
        event_->udata = (f);             \
    } while (0)

#ifdef __cplusplus
extern "C" {
#endif

int kqueue(void);
int kevent(int kq, const struct kevent *changes, int change_count, struct kevent *events,
           int event_count, const struct timespec *timeout);

#ifdef __cplusplus
}
#endif

#endif
