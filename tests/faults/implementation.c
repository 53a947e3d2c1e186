/* implementation.c - the library with its seam to the system redefined; see seam.h. */
#define _GNU_SOURCE
#include "seam.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/event.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

const char *const seam_names[SEAM_COUNT] = {
#define SEAM__NAME(name) #name,
    SEAM_FUNCTIONS(SEAM__NAME)
#undef SEAM__NAME
};

/* --- the plan --------------------------------------------------------------------------------- */

seam_row seam_rows[SEAM_ROWS];
int seam_row_count;
seam_record *seam_shared;
const seam_site *seam_also;
void (*seam_first)(int site);
void (*seam_stuck)(void);
long seam_limit = 1000000;
bool seam_real_time;
bool (*seam_peer)(void);
const char *seam_host = "127.0.0.1";
const char *seam_stage = "";

struct seam_state {
    bool counting;
    const seam_row *row;     /* what fails */
    const seam_swarm *swarm; /* or this does */
    long index, injected;
    bool on;
    int then, wait;        /* the call after it, 0: none; how many calls until then */
    const seam_site *site; /* where it failed first */
    long calls[SEAM_COUNT], total;
    int first[SEAM_COUNT], rows[SEAM_COUNT]; /* of each function, in seam_rows */
    uint64_t may[SEAM_COUNT][2];             /* its rows of the swarm, as seam_swarm's rates */
    struct seam_streak {                     /* with what its last calls failed, and how many */
        const seam_row *row;
        int length;
    } streak[SEAM_COUNT];
    seam_event events[100]; /* the first that failed */
    int64_t now;            /* the library's clock, ns */
    bool clock_used, ended;
    long blocks, mapped;
    char problem[300];
};

static struct seam_state seam;
static __thread seam_site *seam_here; /* who calls */

void seam_begin(void)
{
    seam.problem[0] = 0;
    seam.clock_used = false;
    seam.now = INT64_C(1000000000000); /* the same again, whatever ran before */
}

const char *seam_problem(void)
{
    return seam.problem[0] ? seam.problem : NULL;
}

void seam_complain(const char *format, ...)
{
    size_t stage = strlen(seam_stage);
    va_list arguments;

    if (seam.problem[0])
        return;
    memcpy(seam.problem, seam_stage, stage);
    va_start(arguments, format);
    vsnprintf(seam.problem + stage, sizeof seam.problem - stage, format, arguments);
    va_end(arguments);
}

void seam_start(const seam_row *row, long index, bool on, int then)
{
    seam.row = row;
    seam.swarm = NULL;
    seam.index = index;
    seam.on = on;
    seam.then = seam.wait = then;
    seam.injected = 0;
    seam.site = NULL;
    seam.total = 0;
    memset(seam.calls, 0, sizeof seam.calls);
    seam.counting = true;
}

/* SplitMix64, by Sebastiano Vigna. */
uint64_t seam_mix(uint64_t number)
{
    number += UINT64_C(0x9E3779B97F4A7C15);
    number = (number ^ number >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    number = (number ^ number >> 27) * UINT64_C(0x94D049BB133111EB);
    return number ^ number >> 31;
}

void seam_start_swarm(const seam_swarm *swarm)
{
    int i;

    memset(seam.may, 0, sizeof seam.may);
    memset(seam.streak, 0, sizeof seam.streak);
    for (i = 0; i < seam_row_count; i++) {
        const seam_row *row = &seam_rows[i];
        int function = row->function, seen = row->seen != SEAM_UNSEEN;

        if (seam_mix(swarm->seed ^ (uint64_t)(i + 1) << 32) & 3)
            seam.may[function][seen] |= (uint64_t)1 << (i - seam.first[function]);
    }
    seam_start(NULL, 0, false, 0);
    seam.swarm = swarm;
}

/* Nothing shall fail. */
static bool seam_clean(void)
{
    return !seam.row && !seam.swarm;
}

void seam_stop(void)
{
    seam.counting = seam.ended = false;
    if (!seam_clean())
        return;
    memcpy(seam_shared->calls, seam.calls, sizeof seam.calls);
    seam_shared->total = seam.total;
}

long seam_injected(const seam_site **site)
{
    *site = seam.site;
    return seam.injected;
}

bool seam_swarming(void)
{
    return seam.counting && seam.swarm;
}

bool seam_ended(void)
{
    return seam.ended && seam_swarming();
}

int seam_event_at(long number, seam_event *event)
{
    if (number >= seam.injected || number >= (long)(sizeof seam.events / sizeof *seam.events))
        return -1;
    *event = seam.events[number];
    return 0;
}

/* Every call site leaves a pointer in a section of its own (made by ASOCKET_SYS below). */
extern seam_site *const __start_seam_places[];
extern seam_site *const __stop_seam_places[];

seam_site *const *seam_sites(int *count)
{
    *count = (int)(__stop_seam_places - __start_seam_places);
    return __start_seam_places;
}

static void seam_number_sites(void)
{
    int count, i;
    seam_site *const *sites = seam_sites(&count);

    for (i = 0; i < count; i++)
        sites[i]->index = i;
}

/* --- the table -------------------------------------------------------------------------------- */

static int seam_errno_of(const char *name)
{
    static const struct {
        const char *name;
        int value;
    } errors[] = {
#define E(name) {#name, name}
        E(EACCES),     E(EADDRINUSE),      E(EADDRNOTAVAIL), E(EAFNOSUPPORT),    E(EAGAIN),
        E(EAI_AGAIN),  E(EAI_FAIL),        E(EAI_MEMORY),    E(EAI_NODATA),      E(EAI_NONAME),
        E(EAI_SYSTEM), E(EBADF),           E(EBUSY),         E(ECONNABORTED),    E(ECONNREFUSED),
        E(ECONNRESET), E(EEXIST),          E(EHOSTDOWN),     E(EHOSTUNREACH),    E(EINPROGRESS),
        E(EINTR),      E(EINVAL),          E(EIO),           E(EISDIR),          E(ELOOP),
        E(EMFILE),     E(EMSGSIZE),        E(ENAMETOOLONG),  E(ENETDOWN),        E(ENETUNREACH),
        E(ENFILE),     E(ENOBUFS),         E(ENODEV),        E(ENOENT),          E(ENOMEM),
        E(ENONET),     E(ENOPROTOOPT),     E(ENOSPC),        E(ENOSR),           E(ENOSYS),
        E(ENOTCONN),   E(ENOTDIR),         E(ENOTSOCK),      E(EOPNOTSUPP),      E(EOVERFLOW),
        E(EPERM),      E(EPIPE),           E(EPROTO),        E(EPROTONOSUPPORT), E(EPROTOTYPE),
        E(EROFS),      E(ESOCKTNOSUPPORT), E(ESPIPE),        E(ETIMEDOUT),       E(ETOOMANYREFS),
#undef E
    };
    size_t i;

    for (i = 0; i < sizeof errors / sizeof *errors; i++)
        if (!strcmp(errors[i].name, name))
            return errors[i].value;
    return 0;
}

static bool seam_read_result(seam_row *row)
{
    const char *name = row->result + (row->result[0] == '=');
    int error = seam_errno_of(name);

    if (!strcmp(name, "short"))
        row->fault = SEAM_SHORT;
    else if (!strcmp(name, "end"))
        row->fault = SEAM_END;
    else if (!strcmp(name, "0"))
        row->fault = SEAM_ZERO;
    else
        row->fault = row->result[0] == '=' ? SEAM_STORED - error : error;
    if (error < 0) /* of getaddrinfo */
        row->fault = SEAM_NAME + error;
    return row->fault < 0 || error;
}

static bool seam_read_row(const char *line, seam_row *row)
{
    char function[24], most[12], seen[12];

    if (sscanf(line, "%23[^\t]\t%11[^\t]\t%23[^\t]\t%11[^\t]\t%11[^\t]\t%23s", function, row->when,
               row->result, most, seen, row->source) != 6)
        return false;
    for (row->function = 0; row->function < SEAM_COUNT; row->function++)
        if (!strcmp(seam_names[row->function], function))
            break;
    row->most = most[0] == '-' ? 0 : atoi(most);
    row->seen = seen[0] == 'y' ? SEAM_SEEN : seen[0] == 'o' ? SEAM_SEEN_ONCE_NOT : SEAM_UNSEEN;
    return row->function < SEAM_COUNT && seam_read_result(row);
}

static bool seam_add_row(const char *line)
{
    seam_row *row = &seam_rows[seam_row_count];

    if (seam_row_count == SEAM_ROWS || !seam_read_row(line, row))
        return false;
    if (!seam.rows[row->function])
        seam.first[row->function] = seam_row_count;
    else if (row[-1].function != row->function)
        return false; /* the rows of a function must stand together */
    seam.rows[row->function]++;
    seam_row_count++;
    return true;
}

const char *seam_read(const char *path)
{
    FILE *file = fopen(path, "r");
    static char line[200];
    bool good = true;

    seam_number_sites();
    if (!file)
        return "it cannot be opened";
    while (good && fgets(line, sizeof line, file))
        if (line[0] != '#')
            good = seam_add_row(line);
    fclose(file);
    return good ? NULL : line;
}

/* --- the decision ----------------------------------------------------------------------------- */

/* Of the rows of a function, those that fit a call, as bits. */
static uint64_t seam_fitting(int function, const char *when, size_t size)
{
    uint64_t bits = 0;
    int i;

    for (i = 0; i < seam.rows[function]; i++) {
        const seam_row *row = &seam_rows[seam.first[function] + i];

        if (row->when[0] != '-' && strcmp(row->when, when))
            continue;
        if (row->fault == SEAM_SHORT && size < 2)
            continue;
        bits |= (uint64_t)1 << i;
    }
    return bits;
}

static void seam_watch(void)
{
    if (__atomic_add_fetch(&seam.total, 1, __ATOMIC_RELAXED) < seam_limit)
        return;
    seam_complain("goes round for ever: %ld calls", seam.total);
    seam_stuck();
}

static bool seam_chosen(int function, long index, uint64_t bits)
{
    const seam_row *row = seam.row;

    if (!row || row->function != function)
        return false;
    if (index != seam.index && (!seam.on || index < seam.index))
        return false;
    if (row->most && seam.injected >= row->most)
        return false;
    return bits >> (row - seam_rows - seam.first[function]) & 1;
}

/* The second fault: any row that fits, a different one for each first call. */
static const seam_row *seam_second(int function, uint64_t bits)
{
    int i, skip;

    if (!seam.then || !seam.injected || !bits || seam.wait < 0 || --seam.wait)
        return NULL;
    seam.wait = -1;
    for (skip = (int)(seam.index % 7);; skip--)
        for (i = 0; i < seam.rows[function]; i++)
            if (bits >> i & 1 && --skip < 0)
                return &seam_rows[seam.first[function] + i];
}

static const seam_row *seam_third(const seam_site *site, uint64_t bits)
{
    int i;

    if (site != seam_also || !bits)
        return NULL;
    seam_also = NULL;
    for (i = 0; !(bits >> i & 1); i++) {
    }
    return &seam_rows[seam.first[site->function] + i];
}

/* The `number`th of those whose bits are set. */
static const seam_row *seam_pick(int function, uint64_t bits, int number)
{
    int i;

    for (i = 0; !(bits >> i & 1) || number--; i++) {
    }
    return &seam_rows[seam.first[function] + i];
}

static const seam_row *seam_swarmed(int function, long index, uint64_t bits)
{
    const seam_swarm *swarm = seam.swarm;
    struct seam_streak *streak = &seam.streak[function];
    const int *rates = swarm->rates[function];
    uint64_t chance = seam_mix(seam_mix(swarm->seed + (uint64_t)function) + (uint64_t)index);
    int share = (int)(chance % 1000);
    const seam_row *row = NULL;

    bits &= seam.may[function][share < rates[1]];
    if (streak->row && streak->row->most && streak->length >= streak->row->most)
        bits &= ~((uint64_t)1 << (streak->row - seam_rows - seam.first[function]));
    if (bits && share < rates[0] + rates[1] && seam.total > swarm->from)
        row =
            seam_pick(function, bits, (int)((chance >> 32) % (unsigned)__builtin_popcountll(bits)));
    streak->length = row && row == streak->row ? streak->length + 1 : 1;
    streak->row = row;
    return row;
}

/* Which row this call fails with, or NULL. */
static const seam_row *seam_decide(const seam_site *site, int function, long index, uint64_t bits)
{
    const seam_row *row;

    if (seam.swarm)
        return seam_swarmed(function, index, bits);
    row = seam_second(function, bits);
    if (!row)
        row = seam_third(site, bits);
    return row ? row : seam_chosen(function, index, bits) ? seam.row : NULL;
}

static void seam_note(const seam_site *site, const seam_row *row, long index)
{
    seam_event event = {row, site, index};
    long number = __atomic_fetch_add(&seam.injected, 1, __ATOMIC_RELAXED);

    if (!number)
        seam.site = site;
    if (number < (long)(sizeof seam.events / sizeof *seam.events))
        seam.events[number] = event;
    seam_shared->failed[site->index][row - seam_rows]++;
}

/* What this call shall do instead of its work, see seam_row; 0: its work. */
static int seam_fault(int function, const char *when, size_t size)
{
    const seam_site *site = seam_here;
    const seam_row *row;
    uint64_t bits;
    long index;

    if (!seam.counting)
        return 0;
    seam_watch();
    if (!__atomic_fetch_add(&seam_shared->reached[site->index], 1, __ATOMIC_RELAXED) && seam_first)
        seam_first(site->index);
    index = __atomic_fetch_add(&seam.calls[function], 1, __ATOMIC_RELAXED);
    bits = seam_fitting(function, when, size);
    if (seam_clean())
        __atomic_add_fetch(&seam_shared->clean[site->index], 1, __ATOMIC_RELAXED);
    if (seam_clean() && index < SEAM_CALLS)
        seam_shared->fits[function][index] = bits;
    row = seam_decide(site, function, index, bits);
    if (!row)
        return 0;
    seam_note(site, row, index);
    return row->fault;
}

/* The same for a function of which only errors are in the table: true with errno set. */
static bool seam_fails(int function, const char *when)
{
    int fault = seam_fault(function, when, 0);

    if (fault > 0)
        errno = fault;
    return fault > 0;
}

/* --- descriptors ------------------------------------------------------------------------------ */

int fault_socket(int domain, int type, int protocol);
int fault_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int fault_bind(int fd, const struct sockaddr *address, socklen_t size);
int fault_listen(int fd, int backlog);
int fault_connect(int fd, const struct sockaddr *address, socklen_t size);
int fault_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int fault_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int fault_getsockname(int fd, struct sockaddr *address, socklen_t *size);
int fault_getpeername(int fd, struct sockaddr *address, socklen_t *size);
int fault_shutdown(int fd, int how);
int fault_close(int fd);
ssize_t fault_recv(int fd, void *buffer, size_t size, int flags);
ssize_t fault_send(int fd, const void *bytes, size_t size, int flags);
int fault_pipe2(int ends[2], int flags);
int fault_fcntl(int fd, int command, ...);
ssize_t fault_read(int fd, void *buffer, size_t size);
ssize_t fault_write(int fd, const void *bytes, size_t size);
int fault_eventfd(unsigned count, int flags);

/* What epoll or kqueue was last told about each descriptor, to make it report once more. */
static struct {
    int epoll, kqueue;
    bool known, ours; /* ours: made by the library */
    struct epoll_event event;
    bool added[2]; /* to read, to write */
    struct kevent filter[2];
} seam_registered[1024];

static int seam_made(int fd)
{
    if (fd >= 0 && fd < 1024)
        seam_registered[fd].ours = true;
    return fd;
}

static void seam_remember(int epoll, int operation, int fd, const struct epoll_event *event)
{
    if (fd < 0 || fd >= 1024)
        return;
    seam_registered[fd].known = operation != EPOLL_CTL_DEL;
    seam_registered[fd].epoll = epoll;
    if (event)
        seam_registered[fd].event = *event;
}

static void seam_remember_filter(int queue, const struct kevent *change)
{
    int fd = (int)change->ident, i = change->filter == EVFILT_WRITE;

    if (change->filter == EVFILT_USER || fd < 0 || fd >= 1024)
        return;
    seam_registered[fd].kqueue = queue;
    seam_registered[fd].added[i] = (change->flags & EV_ADD) != 0;
    seam_registered[fd].filter[i] = *change;
}

/* After a call that did less than it could have: readiness is reported anew. */
static void seam_nudge(int fd)
{
    int i;

    if (fd < 0 || fd >= 1024)
        return;
    for (i = 0; i < 2; i++)
        if (seam_registered[fd].added[i])
            (void)kevent(seam_registered[fd].kqueue, &seam_registered[fd].filter[i], 1, NULL, 0,
                         NULL);
    if (!seam_registered[fd].known)
        return;
    (void)epoll_ctl(seam_registered[fd].epoll, EPOLL_CTL_MOD, fd, &seam_registered[fd].event);
}

/* -1 with errno, after whatever else was done. */
static int seam_answer(int error)
{
    errno = error;
    return -1;
}

int fault_socket(int domain, int type, int protocol)
{
    return seam_fails(SEAM_socket, "") ? -1 : seam_made(socket(domain, type, protocol));
}

int fault_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    if (!seam_fails(SEAM_accept4, ""))
        return seam_made(accept4(fd, address, size, flags));
    if (errno != EAGAIN)
        return -1;
    seam_nudge(fd);
    return seam_answer(EAGAIN);
}

static const char *seam_family(const struct sockaddr *address)
{
    return address && address->sa_family == AF_UNIX ? "UNIX" : "";
}

int fault_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    return seam_fails(SEAM_bind, seam_family(address)) ? -1 : bind(fd, address, size);
}

int fault_listen(int fd, int backlog)
{
    return seam_fails(SEAM_listen, "") ? -1 : listen(fd, backlog);
}

int fault_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    if (!seam_fails(SEAM_connect, seam_family(address)))
        return connect(fd, address, size);
    if (errno == EINTR || errno == EINPROGRESS) { /* it goes on by itself */
        int error = errno, result = connect(fd, address, size);

        return result && errno != EINPROGRESS ? result : seam_answer(error);
    }
    return -1;
}

int fault_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    bool is_error = level == SOL_SOCKET && name == SO_ERROR;
    int fault = seam_fault(SEAM_getsockopt, is_error ? "SO_ERROR" : "", 0);
    int result;

    if (fault > 0)
        return seam_answer(fault);
    result = getsockopt(fd, level, name, value, size);
    if (fault <= SEAM_STORED) {
        fault = SEAM_STORED - fault;
        memcpy(value, &fault, sizeof fault);
    }
    return result;
}

int fault_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    return seam_fails(SEAM_setsockopt, "") ? -1 : setsockopt(fd, level, name, value, size);
}

int fault_getsockname(int fd, struct sockaddr *address, socklen_t *size)
{
    return seam_fails(SEAM_getsockname, "") ? -1 : getsockname(fd, address, size);
}

int fault_getpeername(int fd, struct sockaddr *address, socklen_t *size)
{
    return seam_fails(SEAM_getpeername, "") ? -1 : getpeername(fd, address, size);
}

int fault_shutdown(int fd, int how)
{
    return seam_fails(SEAM_shutdown, "") ? -1 : shutdown(fd, how);
}

/* Whatever it answers, the descriptor is gone (close(2)). */
int fault_close(int fd)
{
    bool fails = seam_fails(SEAM_close, "");
    int error = errno, result = close(fd);

    seam_remember(0, EPOLL_CTL_DEL, fd, NULL);
    if (fd >= 0 && fd < 1024)
        seam_registered[fd].ours = seam_registered[fd].added[0] = seam_registered[fd].added[1] =
            false;
    return fails && !result ? seam_answer(error) : result;
}

static size_t seam_less(size_t size)
{
    return size <= 64 ? 1 : size / 2;
}

/* The peer has ended its side: what it sent before is gone, the end comes now and ever after. */
static ssize_t seam_end(int fd)
{
    char rest[4096];

    seam.ended = true;
    (void)shutdown(fd, SHUT_RD);
    while (recv(fd, rest, sizeof rest, MSG_DONTWAIT) > 0) {
    }
    return 0;
}

ssize_t fault_recv(int fd, void *buffer, size_t size, int flags)
{
    int fault = seam_fault(SEAM_recv, "", size);
    ssize_t result = -1;

    if (!fault)
        return recv(fd, buffer, size, flags);
    if (fault == SEAM_END)
        return seam_end(fd);
    if (fault == SEAM_SHORT)
        result = recv(fd, buffer, seam_less(size), flags);
    if (fault == EAGAIN || result > 0)
        seam_nudge(fd);
    if (fault > 0)
        errno = fault;
    return result;
}

/* If not, the next report of readiness waits for the peer's acknowledgement, which takes its time. */
static bool seam_writable(int fd)
{
    struct pollfd handle = {fd, POLLOUT, 0};

    return poll(&handle, 1, 0) > 0;
}

ssize_t fault_send(int fd, const void *bytes, size_t size, int flags)
{
    int fault = seam_fault(SEAM_send, "", size);
    ssize_t result = -1;

    if (!fault || (seam.swarm && (fault == EAGAIN || fault == SEAM_SHORT) && !seam_writable(fd)))
        return send(fd, bytes, size, flags);
    if (fault == SEAM_SHORT)
        result = send(fd, bytes, seam_less(size), flags);
    if (seam.swarm && result > 0 && !seam_writable(fd)) {
        ssize_t rest = send(fd, (const char *)bytes + result, size - (size_t)result, flags);

        return rest > 0 ? result + rest : result;
    }
    if (fault == EAGAIN || result > 0)
        seam_nudge(fd);
    if (fault > 0)
        errno = fault;
    return result;
}

/* --- messages --------------------------------------------------------------------------------- */

ssize_t fault_recvmsg(int fd, struct msghdr *message, int flags);
int fault_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                   struct timespec *timeout);
ssize_t fault_sendto(int fd, const void *bytes, size_t size, int flags,
                     const struct sockaddr *address, socklen_t address_size);
ssize_t fault_sendmsg(int fd, const struct msghdr *message, int flags);
int fault_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags);

/* A message stays with the kernel, and is told of once more. */
static int seam_later(int fd, int error)
{
    if (error == EAGAIN)
        seam_nudge(fd);
    return seam_answer(error);
}

ssize_t fault_recvmsg(int fd, struct msghdr *message, int flags)
{
    return seam_fails(SEAM_recvmsg, "") ? seam_later(fd, errno) : recvmsg(fd, message, flags);
}

int fault_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                   struct timespec *timeout)
{
    int fault = seam_fault(SEAM_recvmmsg, "", count), result;

    if (fault > 0)
        return seam_later(fd, fault);
    result = recvmmsg(fd, messages, fault == SEAM_SHORT ? 1 : count, flags, timeout);
    if (fault == SEAM_SHORT && result > 0)
        seam_nudge(fd);
    return result;
}

ssize_t fault_sendto(int fd, const void *bytes, size_t size, int flags,
                     const struct sockaddr *address, socklen_t address_size)
{
    if (seam_fails(SEAM_sendto, seam_family(address)))
        return seam_later(fd, errno);
    return sendto(fd, bytes, size, flags, address, address_size);
}

ssize_t fault_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return seam_fails(SEAM_sendmsg, "") ? seam_later(fd, errno) : sendmsg(fd, message, flags);
}

int fault_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    bool cut = messages[0].msg_hdr.msg_control != NULL;
    int fault = seam_fault(SEAM_sendmmsg, cut ? "SEGMENT" : "", count), result;

    if (fault > 0)
        return seam_later(fd, fault);
    result = sendmmsg(fd, messages, fault == SEAM_SHORT ? 1 : count, flags);
    if (fault == SEAM_SHORT && result > 0)
        seam_nudge(fd);
    return result;
}

/* --- files ------------------------------------------------------------------------------------ */

ssize_t fault_sendfile(int fd, int file, off_t *from, size_t size);
ssize_t fault_pread(int file, void *buffer, size_t size, off_t from);
int fault_lstat(const char *path, struct stat *status);
int fault_unlink(const char *path);
int fault_fstat(int file, struct stat *status);

ssize_t fault_sendfile(int fd, int file, off_t *from, size_t size)
{
    int fault = seam_fault(SEAM_sendfile, "", size);
    ssize_t result;

    if (seam.swarm && (fault == EAGAIN || fault == SEAM_SHORT) && !seam_writable(fd))
        return sendfile(fd, file, from, size);
    if (fault > 0)
        return seam_later(fd, fault);
    result = sendfile(fd, file, from, fault == SEAM_SHORT && size > 5000 ? 5000 : size);
    if (fault == SEAM_SHORT && result > 0)
        seam_nudge(fd);
    return result;
}

ssize_t fault_pread(int file, void *buffer, size_t size, off_t from)
{
    int fault = seam_fault(SEAM_pread, "", size);

    if (fault > 0)
        return seam_answer(fault);
    return pread(file, buffer, fault == SEAM_SHORT ? seam_less(size) : size, from);
}

int fault_lstat(const char *path, struct stat *status)
{
    return seam_fails(SEAM_lstat, "") ? -1 : lstat(path, status);
}

int fault_fstat(int file, struct stat *status)
{
    return seam_fails(SEAM_fstat, "") ? -1 : fstat(file, status);
}

int fault_unlink(const char *path)
{
    return seam_fails(SEAM_unlink, "") ? -1 : unlink(path);
}

int fault_pipe2(int ends[2], int flags)
{
    return seam_fails(SEAM_pipe2, "") ? -1 : pipe2(ends, flags);
}

int fault_fcntl(int fd, int command, ...)
{
    va_list arguments;
    int value = 0;

    va_start(arguments, command);
    if (command == F_SETFL || command == F_SETFD || command == F_DUPFD_CLOEXEC)
        value = va_arg(arguments, int);
    va_end(arguments);
    return seam_fails(SEAM_fcntl, "") ? -1 : fcntl(fd, command, value);
}

ssize_t fault_read(int fd, void *buffer, size_t size)
{
    int fault = seam_fault(SEAM_read, "", size);

    if (fault > 0)
        return seam_answer(fault);
    return read(fd, buffer, fault == SEAM_SHORT ? seam_less(size) : size);
}

/* EAGAIN means that there is a wake-up already: it is there. */
ssize_t fault_write(int fd, const void *bytes, size_t size)
{
    bool fails = seam_fails(SEAM_write, "");
    int error = errno;

    if (fails && error != EAGAIN)
        return -1;
    if (write(fd, bytes, size) < 0)
        return -1;
    return fails ? seam_answer(error) : (ssize_t)size;
}

int fault_eventfd(unsigned count, int flags)
{
    return seam_fails(SEAM_eventfd, "") ? -1 : seam_made(eventfd(count, flags));
}

FILE *fault_fopen(const char *path, const char *mode);
size_t fault_fread(void *buffer, size_t unit, size_t size, FILE *file);
int fault_ferror(FILE *file);
int fault_fclose(FILE *file);
DIR *fault_opendir(const char *path);
struct dirent *fault_readdir(DIR *directory);
int fault_closedir(DIR *directory);

static FILE *seam_bad_file; /* of which a read failed */

FILE *fault_fopen(const char *path, const char *mode)
{
    return seam_fails(SEAM_fopen, "") ? NULL : fopen(path, mode);
}

/* An error comes behind a part of what was asked for. */
size_t fault_fread(void *buffer, size_t unit, size_t size, FILE *file)
{
    int fault = seam_fault(SEAM_fread, "", 0);
    size_t count = fread(buffer, unit, fault > 0 ? seam_less(size) : size, file);

    if (fault > 0) {
        seam_bad_file = file;
        errno = fault;
    }
    return count;
}

int fault_ferror(FILE *file)
{
    (void)seam_fault(SEAM_ferror, "", 0);
    return file == seam_bad_file || ferror(file);
}

int fault_fclose(FILE *file)
{
    bool fails = seam_fails(SEAM_fclose, "");
    int error = errno, result = fclose(file);

    if (file == seam_bad_file)
        seam_bad_file = NULL;
    return fails ? seam_answer(error) : result;
}

DIR *fault_opendir(const char *path)
{
    return seam_fails(SEAM_opendir, "") ? NULL : opendir(path);
}

struct dirent *fault_readdir(DIR *directory)
{
    return seam_fails(SEAM_readdir, "") ? NULL : readdir(directory);
}

int fault_closedir(DIR *directory)
{
    (void)seam_fault(SEAM_closedir, "", 0);
    return closedir(directory);
}

/* --- time ------------------------------------------------------------------------------------- */

int fault_clock_gettime(clockid_t clock, struct timespec *now);
int fault_access(const char *path, int mode);
int fault_nanosleep(const struct timespec *time, struct timespec *left);
int fault_epoll_create1(int flags);
int fault_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int fault_epoll_wait(int epoll, struct epoll_event *events, int most, int timeout);
int fault_syscall(long number, long epoll, struct epoll_event *events, long most,
                  const struct timespec *timeout, const void *mask, size_t mask_size);
int fault_ppoll(struct pollfd *handles, nfds_t count, const struct timespec *timeout,
                const sigset_t *mask);

enum {
    SEAM_GRACE = 2,         /* ms in which what is on its way arrives; then the clock jumps */
    SEAM_PATIENCE = 2000,   /* ms after which a wait without end is a hang */
    SEAM_LONGEST = 20000000 /* us; nothing in these tests waits longer */
};

int fault_clock_gettime(clockid_t clock, struct timespec *now)
{
    /* A system has the clock or has it not: it fails from the first call on, or never. */
    if (seam_fails(SEAM_clock_gettime, seam.clock_used ? "" : "FIRST"))
        return -1;
    seam.clock_used = true;
    if (seam_real_time)
        return clock_gettime(clock, now);
    seam.now += 1000; /* looking at it takes a moment */
    now->tv_sec = (time_t)(seam.now / 1000000000);
    now->tv_nsec = (long)(seam.now % 1000000000);
    return 0;
}

time_t fault_time(time_t *now);

time_t fault_time(time_t *now)
{
    return seam_fails(SEAM_time, "") ? -1 : time(now);
}

static int64_t seam_nanoseconds(const struct timespec *time)
{
    return time ? (int64_t)time->tv_sec * 1000000000 + time->tv_nsec : -1;
}

int fault_access(const char *path, int mode)
{
    int fault = seam_fault(SEAM_access, "", 0);

    return fault > 0 ? seam_answer(fault) : fault == SEAM_ZERO ? 0 : access(path, mode);
}

int fault_nanosleep(const struct timespec *time, struct timespec *left)
{
    int fault = seam_fault(SEAM_nanosleep, "", 0);

    if (fault > 0)
        return seam_answer(fault);
    if (fault == SEAM_ZERO)
        return 0;
    if (seam_real_time)
        return nanosleep(time, left);
    seam.now += seam_nanoseconds(time);
    return 0;
}

typedef struct seam_wait { /* epoll's, poll's or kqueue's */
    int queue, most;
    struct epoll_event *events;
    struct pollfd *handles;
    nfds_t count;
    struct kevent *reports;
} seam_wait;

static int seam_wait_once(const seam_wait *wait, int milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};

    if (wait->handles)
        return poll(wait->handles, wait->count, milliseconds);
    if (wait->reports)
        return kevent(wait->queue, NULL, 0, wait->reports, wait->most, &time);
    return epoll_wait(wait->queue, wait->events, wait->most, milliseconds);
}

/* The same beside a peer that acts when the library waits. */
static int seam_wait_for(const seam_wait *wait, int milliseconds)
{
    int count;

    if (seam_peer)
        (void)seam_peer();
    do {
        count = seam_wait_once(wait, milliseconds);
    } while (!count && seam_peer && seam_peer());
    return count;
}

/* A wait of so many ns, -1: for ever. */
static int seam_sleep(const seam_wait *wait, int64_t timeout)
{
    int64_t longest = (int64_t)(seam_real_time ? SEAM_PATIENCE : SEAM_GRACE) * 1000000;
    int count;

    if (timeout / 1000 > SEAM_LONGEST)
        seam_complain("waits for %ld s, which nobody asked for", (long)(timeout / 1000000000));
    if (timeout >= 0 && timeout < longest)
        longest = timeout;
    count = seam_wait_for(wait, (int)((longest + 999999) / 1000000));
    if (timeout < 0 && !count)
        count = seam_wait_for(wait, SEAM_PATIENCE);
    if (count || timeout >= 0) {
        seam.now += count ? 0 : timeout + 500000; /* what is due soon is due at once */
        return count;
    }
    seam_complain("hangs: waits for ever, and nothing comes");
    seam_stuck();
    return 0;
}

int fault_epoll_create1(int flags)
{
    return seam_fails(SEAM_epoll_create1, "") ? -1 : epoll_create1(flags);
}

int fault_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    bool ours = fd >= 0 && fd < 1024 && seam_registered[fd].ours;
    const char *when = operation == EPOLL_CTL_MOD   ? "MOD"
                       : operation == EPOLL_CTL_DEL ? "DEL"
                       : ours                       ? "ADD"
                                                    : "ADOPT";
    bool fails = seam_fails(SEAM_epoll_ctl, when);
    int error = errno;

    if (fails && operation != EPOLL_CTL_DEL && error != EEXIST)
        return -1;
    if (epoll_ctl(epoll, operation, fd, event)) /* what exists is there */
        return -1;
    seam_remember(epoll, operation, fd, event);
    return fails ? seam_answer(error) : 0; /* nothing stays behind by our doing */
}

int fault_epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
    seam_wait wait = {epoll, most, events, NULL, 0, NULL};

    if (seam_fails(SEAM_epoll_wait, ""))
        return -1;
    return seam_sleep(&wait, timeout < 0 ? -1 : (int64_t)timeout * 1000000);
}

int fault_syscall(long number, long epoll, struct epoll_event *events, long most,
                  const struct timespec *timeout, const void *mask, size_t mask_size)
{
    seam_wait wait = {(int)epoll, (int)most, events, NULL, 0, NULL};

    if (number != 441 || mask || mask_size)
        seam_complain("system call %ld is not epoll_pwait2", number);
    if (seam_fails(SEAM_syscall, ""))
        return -1;
    return seam_sleep(&wait, seam_nanoseconds(timeout));
}

int fault_ppoll(struct pollfd *handles, nfds_t count, const struct timespec *timeout,
                const sigset_t *mask)
{
    seam_wait wait = {-1, 0, NULL, handles, count, NULL};

    if (mask)
        seam_complain("ppoll with a mask");
    if (seam_fails(SEAM_ppoll, ""))
        return -1;
    return seam_sleep(&wait, seam_nanoseconds(timeout));
}

int fault_kqueue(void);
int fault_kevent(int queue, const struct kevent *changes, int count, struct kevent *events,
                 int most, const struct timespec *timeout);

int fault_kqueue(void)
{
    return seam_fails(SEAM_kqueue, "") ? -1 : kqueue();
}

/* After EINTR the changes are made all the same (FreeBSD's kqueue(2)). */
static int seam_change(int queue, const struct kevent *changes, int count)
{
    const char *when = changes->filter == EVFILT_USER && !(changes->flags & EV_ADD) ? "TRIGGER"
                       : changes->flags & EV_DELETE                                 ? "DELETE"
                                                                                    : "ADD";
    bool fails = seam_fails(SEAM_kevent, when);
    int error = errno, i;

    if (fails && error != EINTR && !(changes->flags & EV_DELETE))
        return -1;
    if (kevent(queue, changes, count, NULL, 0, NULL))
        return -1;
    for (i = 0; i < count; i++)
        seam_remember_filter(queue, &changes[i]);
    return fails ? seam_answer(error) : 0;
}

int fault_kevent(int queue, const struct kevent *changes, int count, struct kevent *events,
                 int most, const struct timespec *timeout)
{
    seam_wait wait = {queue, most, NULL, NULL, 0, events};

    if (count)
        return seam_change(queue, changes, count);
    if (seam_fails(SEAM_kevent, "WAIT"))
        return -1;
    return seam_sleep(&wait, seam_nanoseconds(timeout));
}

/* --- memory ----------------------------------------------------------------------------------- */

void *fault_malloc(size_t size);
void *fault_realloc(void *block, size_t size);
void fault_free(void *block);
void *fault_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int fault_munmap(void *address, size_t size);
int fault_mprotect(void *address, size_t size, int protection);
int fault_madvise(void *address, size_t size, int advice);

static struct {
    void *address;
    size_t size;
} seam_left[64]; /* what a failing munmap left behind */
static int seam_left_count;

long seam_blocks(void)
{
    return __atomic_load_n(&seam.blocks, __ATOMIC_RELAXED);
}

long seam_mapped(void)
{
    return seam.mapped;
}

void seam_tidy(void)
{
    while (seam_left_count) {
        seam_left_count--;
        (void)munmap(seam_left[seam_left_count].address, seam_left[seam_left_count].size);
        seam.mapped--;
    }
}

void *fault_malloc(size_t size)
{
    void *block = seam_fails(SEAM_malloc, "") ? NULL : malloc(size);

    if (!block)
        return NULL;
    __atomic_add_fetch(&seam.blocks, 1, __ATOMIC_RELAXED);
    return memset(block, 0xA5, size);
}

void *fault_realloc(void *old, size_t size)
{
    void *block = seam_fails(SEAM_realloc, "") ? NULL : realloc(old, size);

    if (block && !old)
        __atomic_add_fetch(&seam.blocks, 1, __ATOMIC_RELAXED);
    return block;
}

void fault_free(void *block)
{
    if (block)
        __atomic_sub_fetch(&seam.blocks, 1, __ATOMIC_RELAXED);
    free(block);
}

void *fault_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    void *base =
        seam_fails(SEAM_mmap, "") ? MAP_FAILED : mmap(address, size, protection, flags, fd, offset);

    if (base != MAP_FAILED)
        seam.mapped++;
    return base;
}

int fault_munmap(void *address, size_t size)
{
    if (!seam_fails(SEAM_munmap, "")) {
        seam.mapped--;
        return munmap(address, size);
    }
    if (seam_left_count < 64) {
        seam_left[seam_left_count].address = address;
        seam_left[seam_left_count++].size = size;
    }
    return -1;
}

int fault_mprotect(void *address, size_t size, int protection)
{
    return seam_fails(SEAM_mprotect, "") ? -1 : mprotect(address, size, protection);
}

int fault_madvise(void *address, size_t size, int advice)
{
    return seam_fails(SEAM_madvise, "") ? -1 : madvise(address, size, advice);
}

/* --- the rest --------------------------------------------------------------------------------- */

int fault_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                      struct addrinfo **list);
void fault_freeaddrinfo(struct addrinfo *list);
int fault_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                         void *(*function)(void *), void *argument);
unsigned fault_if_nametoindex(const char *name);
long fault_sysconf(int name);

/* No name server has a part in it. */
int fault_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                      struct addrinfo **list)
{
    int fault = seam_fault(SEAM_getaddrinfo, "", 0);

    errno = ENFILE; /* what EAI_SYSTEM refers to */
    if (fault)
        return fault - SEAM_NAME;
    return getaddrinfo(strstr(host, ".test") ? seam_host : host, service, hints, list);
}

void fault_freeaddrinfo(struct addrinfo *list)
{
    freeaddrinfo(list);
}

int fault_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                         void *(*function)(void *), void *argument)
{
    int fault = seam_fault(SEAM_pthread_create, "", 0);

    return fault ? fault : pthread_create(thread, attributes, function, argument);
}

unsigned fault_if_nametoindex(const char *name)
{
    return seam_fails(SEAM_if_nametoindex, "") ? 0 : if_nametoindex(name);
}

long fault_sysconf(int name)
{
    return seam_fails(SEAM_sysconf, "") ? -1 : sysconf(name);
}

int fault_getentropy(void *buffer, size_t size);
char *fault_secure_getenv(const char *name);

int fault_getentropy(void *buffer, size_t size)
{
    return seam_fails(SEAM_getentropy, "") ? -1 : getentropy(buffer, size);
}

/* A name that is not set is no failure. */
char *fault_secure_getenv(const char *name)
{
    (void)seam_fault(SEAM_secure_getenv, "", 0);
    return secure_getenv(name);
}

/* --- the library ------------------------------------------------------------------------------ */

#define ASOCKET_SYS(function_name)                                                         \
    (__extension__({                                                                       \
        static seam_site seam_site_here = {#function_name, __FILE__, __LINE__,             \
                                           SEAM_##function_name, 0};                       \
        static seam_site *const seam_place __attribute__((section("seam_places"), used)) = \
            &seam_site_here;                                                               \
                                                                                           \
        seam_here = &seam_site_here;                                                       \
        fault_##function_name;                                                             \
    }))

#define ASOCKET_ASSERT(condition) \
    ((condition) ? (void)0 : seam_complain("assert at line %d: %s", __LINE__, #condition))

#define ASOCKET_IMPLEMENTATION
#include "../../asocket.h"

#ifdef TEST_TLS
#define ASOCKET_TLS_IMPLEMENTATION
#include "../../asocket_tls.h"
#endif
