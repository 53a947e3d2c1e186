/* kqueue.c - kqueue(2) on Linux, for tests only: what asocket.h asks of the BSDs, over epoll.

   A kqueue is an epoll set of three descriptors: a set of those whose reading is watched, one of
   those whose writing is watched, and an eventfd for EVFILT_USER. Two sets keep the edges of the two
   filters apart, as they are on BSD; the outer one is a descriptor that others can poll.

   As on BSD, closing a descriptor takes its filters out, also when a duplicate of it lives on, and a
   child process has no kqueue of its parent's. For that, programs are linked with -Wl,--wrap=close.

   What it does not do: filters and flags that asocket.h does not use are EINVAL; `fflags` of EV_EOF
   is 0 (to look at SO_ERROR is to take it away); our own shutdown is no EV_EOF for EVFILT_WRITE. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <sys/event.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READING, WRITING, DIRECTIONS };

typedef struct knote { /* of one descriptor */
    void *udata[DIRECTIONS];
    bool added[DIRECTIONS];
} knote;

typedef struct queue {
    struct queue *next;
    int handle, set[DIRECTIONS], event;
    knote *notes; /* by descriptor */
    int note_count;
    bool user;
    void *user_udata;
} queue;

/* Changes and reports are made under the lock; to trigger EVFILT_USER, which a signal handler may
   do, needs only the table. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static queue *queues;
static queue *by_handle[65536];

int __real_close(int handle);
int __wrap_close(int handle);

static queue *queue_of(int handle)
{
    if (handle < 0 || handle >= (int)(sizeof by_handle / sizeof *by_handle))
        return NULL;
    return __atomic_load_n(&by_handle[handle], __ATOMIC_ACQUIRE);
}

/* --- the life of a kqueue ------------------------------------------------------------------------ */

/* Its descriptors but the outer one, which who closes it closes; and its memory. */
static void queue_free(queue *q)
{
    int i;

    for (i = 0; i < DIRECTIONS; i++)
        if (q->set[i] >= 0)
            __real_close(q->set[i]);
    if (q->event >= 0)
        __real_close(q->event);
    free(q->notes);
    free(q);
}

static bool queue_watch(queue *q, int handle)
{
    struct epoll_event event;

    memset(&event, 0, sizeof event);
    event.events = EPOLLIN;
    return handle >= 0 && !epoll_ctl(q->handle, EPOLL_CTL_ADD, handle, &event);
}

/* A child has none of them, and whoever held the lock is not there. */
static void forget_all(void)
{
    pthread_mutex_init(&lock, NULL);
    while (queues) {
        queue *q = queues;

        queues = q->next;
        by_handle[q->handle] = NULL;
        __real_close(q->handle);
        queue_free(q);
    }
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, forget_all);
}

int kqueue(void)
{
    queue *q = (queue *)calloc(1, sizeof *q);
    int error;

    if (!q)
        return -1;
    q->handle = epoll_create1(0);
    q->set[READING] = q->handle < 0 ? -1 : epoll_create1(EPOLL_CLOEXEC);
    q->set[WRITING] = q->handle < 0 ? -1 : epoll_create1(EPOLL_CLOEXEC);
    q->event = q->handle < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->handle < 0 || !queue_watch(q, q->set[READING]) || !queue_watch(q, q->set[WRITING]) ||
        !queue_watch(q, q->event)) {
        error = errno;
        if (q->handle >= 0)
            __real_close(q->handle);
        queue_free(q);
        errno = error;
        return -1;
    }
    pthread_mutex_lock(&lock);
    q->next = queues;
    queues = q;
    __atomic_store_n(&by_handle[q->handle], q, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
    return q->handle;
}

static void queue_close(int handle)
{
    queue *q = by_handle[handle], **place = &queues;

    while (*place != q)
        place = &(*place)->next;
    *place = q->next;
    __atomic_store_n(&by_handle[handle], NULL, __ATOMIC_RELEASE);
    queue_free(q);
}

/* --- changes ------------------------------------------------------------------------------------- */

static int note_remove(queue *q, int handle, int direction)
{
    if (handle < 0 || handle >= q->note_count || !q->notes[handle].added[direction])
        return ENOENT;
    q->notes[handle].added[direction] = false;
    return epoll_ctl(q->set[direction], EPOLL_CTL_DEL, handle, NULL) ? errno : 0;
}

static bool is_file(int handle)
{
    struct stat status;

    return !fstat(handle, &status) && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
}

/* To add once more looks once more, and reports what is there. */
static int note_add(queue *q, int handle, int direction, void *udata)
{
    struct epoll_event event;

    if (handle >= q->note_count) {
        int count = handle + 64;
        knote *notes = (knote *)realloc(q->notes, (size_t)count * sizeof *notes);

        if (!notes)
            return ENOMEM;
        memset(notes + q->note_count, 0, (size_t)(count - q->note_count) * sizeof *notes);
        q->notes = notes;
        q->note_count = count;
    }
    memset(&event, 0, sizeof event);
    event.events = (direction == READING ? EPOLLIN | EPOLLRDHUP : EPOLLOUT) | EPOLLET;
    event.data.fd = handle;
    if (epoll_ctl(q->set[direction], EPOLL_CTL_MOD, handle, &event) &&
        (errno != ENOENT || epoll_ctl(q->set[direction], EPOLL_CTL_ADD, handle, &event)) &&
        (errno != EPERM || !is_file(handle))) /* which is at its end: no report */
        return errno;
    q->notes[handle].added[direction] = true;
    q->notes[handle].udata[direction] = udata;
    return 0;
}

static int user_change(queue *q, const struct kevent *change)
{
    const uint64_t one = 1;

#ifdef KQUEUE_NETBSD
    return EINVAL;
#endif
    if (change->flags & EV_ADD) {
        q->user = true;
        q->user_udata = change->udata;
    }
    if (!q->user)
        return ENOENT;
    if ((change->fflags & NOTE_TRIGGER) && write(q->event, &one, sizeof one) < 0 && errno != EAGAIN)
        return errno;
    return 0;
}

static int socket_change(queue *q, const struct kevent *change)
{
    int direction = change->filter == EVFILT_READ ? READING : WRITING, handle = (int)change->ident;

    if (change->filter != EVFILT_READ && change->filter != EVFILT_WRITE)
        return EINVAL;
    if (change->flags == EV_DELETE)
        return note_remove(q, handle, direction);
    if (change->flags != (EV_ADD | EV_CLEAR))
        return EINVAL;
    return handle < 0 ? EBADF : note_add(q, handle, direction, change->udata);
}

static int changes_make(queue *q, const struct kevent *changes, int count)
{
    int i, error = 0;

    for (i = 0; i < count && !error; i++) {
        if (changes[i].filter == EVFILT_USER) {
            error = user_change(q, &changes[i]);
        } else {
            pthread_mutex_lock(&lock);
            error = socket_change(q, &changes[i]);
            pthread_mutex_unlock(&lock);
        }
    }
    return error;
}

/* As on BSD, before the descriptor is gone. */
int __wrap_close(int handle)
{
    queue *q;
    int i;

    pthread_mutex_lock(&lock);
    for (q = queues; q; q = q->next)
        for (i = 0; i < DIRECTIONS; i++)
            (void)note_remove(q, handle, i);
    if (queue_of(handle))
        queue_close(handle);
    pthread_mutex_unlock(&lock);
    return __real_close(handle);
}

/* --- reports ------------------------------------------------------------------------------------- */

static bool is_datagram(int handle)
{
    int type = 0;
    socklen_t size = sizeof type;

    return !getsockopt(handle, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_DGRAM;
}

static void report(struct kevent *event, const knote *note, int handle, int direction,
                   uint32_t seen)
{
    bool end = (seen & (EPOLLRDHUP | EPOLLHUP)) || ((seen & EPOLLERR) && !is_datagram(handle));
    int bytes = 0;

    if (direction == READING)
        (void)ioctl(handle, FIONREAD, &bytes);
    memset(event, 0, sizeof *event);
    event->ident = (uintptr_t)handle;
    if (direction == READING)
        event->filter = EVFILT_READ;
    else
        event->filter = EVFILT_WRITE;
    event->flags = EV_CLEAR;
    if (end)
        event->flags |= EV_EOF;
    event->data = bytes;
    event->udata = note->udata[direction];
}

static int collect_sockets(queue *q, int direction, struct kevent *events, int room)
{
    struct epoll_event seen[64];
    int count = epoll_wait(q->set[direction], seen, room < 64 ? room : 64, 0), i, reported = 0;

    for (i = 0; i < count; i++) {
        int handle = seen[i].data.fd;

        if (handle < q->note_count && q->notes[handle].added[direction])
            report(&events[reported++], &q->notes[handle], handle, direction, seen[i].events);
    }
    return reported;
}

static int collect_user(queue *q, struct kevent *events, int room)
{
    uint64_t times;

    if (!room || !q->user || read(q->event, &times, sizeof times) < 0)
        return 0;
    memset(events, 0, sizeof *events);
    events->filter = EVFILT_USER;
    events->flags = EV_CLEAR;
    events->udata = q->user_udata;
    return 1;
}

static int collect(queue *q, struct kevent *events, int room)
{
    int count;

    pthread_mutex_lock(&lock);
    count = collect_user(q, events, room);
    if (count < room)
        count += collect_sockets(q, READING, events + count, room - count);
    if (count < room)
        count += collect_sockets(q, WRITING, events + count, room - count);
    pthread_mutex_unlock(&lock);
    return count;
}

static int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Sleeps until something may be there: 0 when the time is over, -1 after a signal. */
static int doze(const queue *q, bool for_ever, int64_t until)
{
    struct pollfd outer = {q->handle, POLLIN, 0};
    int64_t left = until - now();
    struct timespec time;

    if (!for_ever && left <= 0)
        return 0;
    time.tv_sec = (time_t)(left / 1000000000);
    time.tv_nsec = (long)(left % 1000000000);
    return ppoll(&outer, 1, for_ever ? NULL : &time, NULL);
}

int kevent(int kq, const struct kevent *changes, int change_count, struct kevent *events,
           int event_count, const struct timespec *timeout)
{
    queue *q = queue_of(kq);
    int64_t until = 0;
    int count, state, error;

    if (!q) {
        errno = EBADF;
        return -1;
    }
    error = changes_make(q, changes, change_count);
    if (error) {
        errno = error;
        return -1;
    }
    if (!event_count)
        return 0;
    if (timeout)
        until = now() + (int64_t)timeout->tv_sec * 1000000000 + timeout->tv_nsec;
    do {
        count = collect(q, events, event_count);
        state = count ? 0 : doze(q, !timeout, until);
    } while (state > 0);
    return count ? count : state;
}
