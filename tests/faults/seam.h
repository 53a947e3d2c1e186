/* seam.h - stands between the library and the system: counts the calls, makes chosen ones fail, and
   shortens waits.

   tests/faults/implementation.c is the library with each ASOCKET_SYS(name) turned into fault_name.
   A test says what shall fail (seam_start) out of the rows of tests/faults.tsv, runs something, and
   looks at what was noticed (seam_problem, seam_blocks...). Sockets, descriptors and memory are
   those of the system. Only time is not: a wait during which nothing happens for a moment
   is cut short and the clock of the library put forward, so that a time-out of a second costs a few
   milliseconds, and what would hang is told from what waits. */
#ifndef SEAM_H
#define SEAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every name that asocket.h and asocket_tls.h take from the system on Linux. A new one needs a line
   here, a wrapper in implementation.c, and rows in the table. */
/* clang-format off */
#define SEAM_FUNCTIONS(X) \
    X(accept4) X(access) X(bind) X(clock_gettime) X(close) X(closedir) X(connect) \
    X(epoll_create1) X(epoll_ctl) X(epoll_wait) X(eventfd) X(fclose) X(fcntl) X(ferror) \
    X(fopen) X(fread) X(free) X(freeaddrinfo) X(fstat) X(getaddrinfo) X(getentropy) \
    X(getpeername) X(getsockname) X(getsockopt) X(if_nametoindex) X(kevent) X(kqueue) \
    X(listen) X(lstat) X(madvise) X(malloc) X(mmap) X(mprotect) X(munmap) X(nanosleep) \
    X(opendir) X(pipe2) X(ppoll) X(pread) X(pthread_create) X(read) \
    X(readdir) X(realloc) X(recv) X(recvmmsg) X(recvmsg) X(secure_getenv) X(send) \
    X(sendfile) X(sendmmsg) X(sendmsg) X(sendto) X(setsockopt) X(shutdown) X(socket) \
    X(syscall) X(sysconf) X(time) X(unlink) X(write)
/* clang-format on */

enum {
#define SEAM__NUMBER(name) SEAM_##name,
    SEAM_FUNCTIONS(SEAM__NUMBER)
#undef SEAM__NUMBER
        SEAM_COUNT
};

extern const char *const seam_names[SEAM_COUNT];

/* A place in a header where one of them is called. */
typedef struct seam_site {
    const char *name, *file;
    int line, function, index;
} seam_site;

enum { SEAM_SITES = 200, SEAM_ROWS = 400, SEAM_CALLS = 4096 };

/* All that were compiled, in the order of the linker. */
seam_site *const *seam_sites(int *count);

/* A row of tests/faults.tsv. */
enum { SEAM_SEEN, SEAM_SEEN_ONCE_NOT, SEAM_UNSEEN };
typedef struct seam_row {
    int function;
    int fault;      /* an errno, or one of the values below */
    int most, seen; /* calls in a row, 0: no limit; who may notice */
    char when[12], result[24], source[24];
} seam_row;
enum {
    SEAM_SHORT = -1,
    SEAM_END = -2,
    SEAM_ZERO = -3,
    SEAM_NAME = -500,   /* plus an error of getaddrinfo, which are negative */
    SEAM_STORED = -1000 /* minus an errno */
};

extern seam_row seam_rows[SEAM_ROWS];
extern int seam_row_count;

/* Reads the table: what is wrong with it, or NULL. */
const char *seam_read(const char *path);

/* What processes that try faults one after the other have in common. */
typedef struct seam_record {
    uint64_t reached[SEAM_SITES];           /* calls */
    uint64_t clean[SEAM_SITES];             /* of these, in runs without a fault */
    uint32_t failed[SEAM_SITES][SEAM_ROWS]; /* of these, with which row */
    uint64_t fits[SEAM_COUNT][SEAM_CALLS];  /* of the last clean run, by call: which rows apply */
    long calls[SEAM_COUNT];                 /* of the last clean run */
    long total;
} seam_record;

extern seam_record *seam_shared;

/* From here on calls count, and the `index`th call of the row's function, from 0, fails, or all
   from there on. NULL: none fails, and which rows would fit each call is recorded. `then`, if not
   0: so many calls after the first that failed, one more fails, whatever it is. */
void seam_start(const seam_row *row, long index, bool on, int then);
/* One call more: the next one of this place that a row fits fails. Then it is NULL again. */
extern const seam_site *seam_also;
/* Told a place's index when it is reached for the first time, by whatever process. */
extern void (*seam_first)(int site);

/* A swarm of faults: each call may fail, with any row that fits it. Whether it does follows from the
   seed, the function, and which call of it it is. */
typedef struct seam_swarm {
    uint64_t seed;            /* a quarter of the rows is left out, by the seed */
    long from;                /* so many calls are left alone first */
    int rates[SEAM_COUNT][2]; /* of a thousand calls: rows that nobody may notice, and the others */
} seam_swarm;
void seam_start_swarm(const seam_swarm *swarm);
/* Whether it is at work: then more may happen at once than one fault explains. */
bool seam_swarming(void);
/* A number that looks like chance and follows from another one. */
uint64_t seam_mix(uint64_t number);

/* From here on all calls reach the system. */
void seam_stop(void);
/* Whether the fault came to happen, and where first; NULL: nowhere. */
long seam_injected(const seam_site **site);
/* Whether one of a swarm ended a stream early: its last line may be the beginning of one. */
bool seam_ended(void);
/* The first faults that happened: 0 with what and where, or -1 if there were not so many. */
typedef struct seam_event {
    const seam_row *row;
    const seam_site *site;
    long index; /* of the call */
} seam_event;
int seam_event_at(long number, seam_event *event);

/* The first thing that was wrong since seam_begin, or NULL. */
void seam_begin(void);
const char *seam_problem(void);
__attribute__((format(printf, 1, 2))) void seam_complain(const char *format, ...);

/* What a complaint begins with. */
extern const char *seam_stage;
/* Called when it cannot go on: it hangs, or goes round for ever. Must not return. */
extern void (*seam_stuck)(void);
/* More calls than this in one run: it goes round for ever. */
extern long seam_limit;
/* Waits last as long as they should: for what other threads have a part in. */
extern bool seam_real_time;

/* Lets a peer that has no thread of its own do what it can without waiting, before the library
   waits: whether it did anything. NULL: there is none. */
extern bool (*seam_peer)(void);

/* The address of every name that ends in ".test". */
extern const char *seam_host;

/* What is in use; seam_tidy gives back what a failing munmap left behind. */
long seam_blocks(void);
long seam_mapped(void);
void seam_tidy(void);

#endif
