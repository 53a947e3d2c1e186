/* Any bytes as a program of calls: on connections, pipes, datagrams, layers and listeners of two
   selectors, by main, coroutines and callbacks, with arguments that may be wrong and memory that may
   run out. Beside it runs a model, which knows every byte that was written and which answers a call
   may give: what is read is what was written, in order, the end comes after all of it, no call
   ends early, late or with a status that nothing explains, and nothing is left behind.

   The first byte chooses the backend. The clock is not the real one: who waits for nothing but the
   time is told that it has passed. So a program takes no longer than its system calls, and one that
   would wait for ever ends the fuzzer. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "must.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef ASOCKET_KQUEUE
#include <sys/event.h>
#endif

/* --- the time, which passes when nothing else happens ------------------------------------------ */

static int64_t time_now; /* ns */
static long waits;

static int virtual_clock_gettime(clockid_t id, struct timespec *time)
{
    (void)id;
    time_now += 10;
    time->tv_sec = (time_t)(time_now / 1000000000);
    time->tv_nsec = (long)(time_now % 1000000000);
    return 0;
}

static void time_passes(int64_t time)
{
    must(time >= 0 && "it waits for ever");
    if (!time)
        time = 20000; /* who goes round in circles takes time, too */
    must(++waits < 400000 && "it waits again and again");
    time_now += time;
}

static int64_t time_of(const struct timespec *time)
{
    return time ? (int64_t)time->tv_sec * 1000000000 + time->tv_nsec : -1;
}

static int wait_epoll(int epoll, struct epoll_event *events, int most, int64_t time)
{
    int count = epoll_wait(epoll, events, most, time < 0 ? 1000 : 0);

    if (!count)
        time_passes(time);
    return count;
}

static int virtual_epoll_wait(int epoll, struct epoll_event *events, int most, int milliseconds)
{
    return wait_epoll(epoll, events, most, milliseconds * INT64_C(1000000));
}

/* epoll_pwait2. */
static long virtual_syscall(long number, long epoll, struct epoll_event *events, long most,
                            void *time, void *mask, size_t size)
{
    must(number == 441 && !mask && !size);
    return wait_epoll((int)epoll, events, (int)most,
                      ((int64_t *)time)[0] * 1000000000 + ((int64_t *)time)[1]);
}

static int virtual_ppoll(struct pollfd *handles, nfds_t count, const struct timespec *time,
                         const sigset_t *mask)
{
    int found = poll(handles, count, time ? 0 : 1000);

    (void)mask;
    if (!found)
        time_passes(time_of(time));
    return found;
}

static int virtual_nanosleep(const struct timespec *time, struct timespec *rest)
{
    (void)rest;
    time_passes(time_of(time));
    return 0;
}

#ifdef ASOCKET_KQUEUE
static int virtual_kevent(int queue, const struct kevent *changes, int change_count,
                          struct kevent *events, int most, const struct timespec *time)
{
    struct timespec none = {0, 0}, second = {1, 0};
    int count = kevent(queue, changes, change_count, events, most, time || !most ? &none : &second);

    if (!count && most)
        time_passes(time_of(time));
    return count;
}
#define kevent(...) virtual_kevent(__VA_ARGS__)
#endif

#define clock_gettime virtual_clock_gettime
#define epoll_wait    virtual_epoll_wait
#define syscall       virtual_syscall
#define ppoll         virtual_ppoll
#define nanosleep     virtual_nanosleep

#define ASOCKET_ASSERT(condition) must(condition)
#define ASOCKET_STATIC
#define ASOCKET_IMPLEMENTATION
#include "../../asocket.h"
#define FUZZ_PROMISES "P6, P7, P8: "
#define FUZZ_WITHOUT_TLS
#include "fuzz.h"

/* --- memory, which may run out ---------------------------------------------------------------- */

static long blocks, bytes_used;
static int fails_in; /* allocations; 0: none does */
static bool starved; /* one has failed */

static void *resize(void *user, void *block, size_t old_size, size_t new_size)
{
    (void)user;
    must(!block == !old_size);
    if (new_size > old_size && fails_in && !--fails_in) {
        starved = true;
        return NULL;
    }
    blocks += !!new_size - !!old_size;
    bytes_used += (long)new_size - (long)old_size;
    if (!new_size) {
        free(block);
        return NULL;
    }
    block = realloc(block, new_size);
    must(block);
    return block;
}

static int descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    must(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

/* --- the model -------------------------------------------------------------------------------- */

enum { SELECTORS = 2, ENDS = 16, LAYERS = 3, STARTS = 48, STALE = 8, MOST = 300000 };
enum { CLOSE_TIMEOUT = 5000 /* ms */ };

/* One direction of a stream, from a writer to a reader. */
typedef struct lane {
    uint8_t *log; /* what was written, from its begin */
    size_t written, room, received;
    const uint8_t *pending; /* what a call that has not returned writes, */
    size_t pending_size;
    struct lane *source; /* or copies, from here on */
    size_t source_at;
    int writers, readers; /* inside of calls */
    bool ended;           /* by finish or close: the end comes after all that was written */
    bool lost;            /* bytes were given up: it ends anywhere */
    bool given_up;        /* by its reader */
    bool wild;            /* nothing is known of it */
    bool unix_socket;
    int end_status; /* what a pipe's writer ended it with */
    uint32_t reserved;
} lane;

typedef struct pair { /* what breaks one direction breaks the other */
    lane lanes[2];
    bool reset;           /* somebody aborted it */
    int64_t closed_at[2]; /* when this side was closed; 0: not */
} pair;

enum { STREAM, PIPE_READER, PIPE_WRITER, DATAGRAM, LISTENER };
typedef struct end {
    int kind, owner, side; /* owner: of the selectors, or -1 on the way to another one */
    pair *pair;
    size_t capacities[LAYERS + 1]; /* of the sockets below */
    lane *from, *to;
    asocket *socket; /* the uppermost, of layers */
    asocket_read_channel *in;
    asocket_write_channel *out;
    size_t capacity;
    int layers, inside, handle;
    bool closed, out_finished, in_canceled, out_canceled, no_wait, auto_flush;
    int64_t timeout;  /* the shortest that it had, ns; 0: none */
    uint32_t program; /* closes when this one ends */
} end;

/* Who runs a program. */
typedef struct context {
    const uint8_t *at, *end;
    int owner;
    int64_t deadline;
    uint32_t number; /* 0: main, which may use both selectors */
} context;

static asocket_selector *selectors[SELECTORS];
static end ends[ENDS];
static int end_count;
static pair pairs[ENDS];
static int pair_count;
static asocket *stale[STALE];
static int stale_count;
static uint32_t program_number;
static bool canceled, stopped, destroying;
static int layers_made, layers_ended;
static int file = -1;
static uint8_t noise[65536];

/* FUZZ_TRACE in the environment: what happens. */
static bool tracing;
#define trace(...) (tracing ? (void)(fprintf(stderr, __VA_ARGS__), fputc('\n', stderr)) : (void)0)

static uint8_t next(context *c)
{
    return c->at < c->end ? *c->at++ : 0;
}

/* Sizes: small ones are as likely as those around powers of two and large ones. */
static size_t next_size(context *c)
{
    uint8_t byte = next(c);

    if (byte < 128)
        return byte;
    if (byte < 192)
        return ((size_t)1 << (byte - 128) / 4) + (byte & 3u) - 1;
    return (size_t)(byte - 191) * 613;
}

/* The byte at a place of a lane; what is on its way counts. */
static bool lane_has(const lane *l, size_t at, uint8_t *byte)
{
    int depth;

    for (depth = 0; depth < 20; depth++) {
        if (at < l->written)
            *byte = l->log[at];
        else if (l->pending && at - l->written < l->pending_size)
            *byte = l->pending[at - l->written];
        else if (!l->source)
            return false;
        if (at < l->written || l->pending)
            return true;
        at = at - l->written + l->source_at;
        l = l->source;
    }
    return false;
}

static void lane_append(lane *l, const uint8_t *bytes, size_t size)
{
    if (l->written + size > l->room) {
        l->room = (l->written + size) * 2;
        l->log = (uint8_t *)realloc(l->log, l->room);
        must(l->log);
    }
    if (size)
        memcpy(l->log + l->written, bytes, size);
    l->written += size;
}

/* What a reader got comes next. */
static void lane_gives(lane *l, const void *bytes, size_t size, size_t skipped)
{
    size_t i;

    for (i = 0; i < size && !l->wild; i++) {
        uint8_t byte = 0;

        must(lane_has(l, l->received + i, &byte) && byte == ((const uint8_t *)bytes)[i]);
    }
    for (i = 0; i < skipped && !l->wild; i++) {
        uint8_t byte;

        must(lane_has(l, l->received + size + i, &byte));
    }
    l->received += size + skipped;
}

/* How many bytes are left to read, all that is on its way included. */
static size_t lane_left(const lane *l)
{
    size_t left = l->written - l->received;

    return l->written < l->received ? 0 : left;
}

/* --- calls and their answers ------------------------------------------------------------------ */

typedef struct call {
    context *c;
    end *e;
    lane *l;
    int64_t start;
    bool busy, valid, writing;
} call;

static call call_begin(context *c, end *e, bool writing, bool valid)
{
    call k;

    k.c = c;
    k.e = e;
    k.l = writing ? e->to : e->from;
    k.start = time_now;
    k.writing = writing;
    k.valid = valid;
    k.busy = (writing ? k.l->writers++ : k.l->readers++) > 0;
    e->inside++;
    return k;
}

static void call_end(const call *k)
{
    k->writing ? k->l->writers-- : k->l->readers--;
    k->e->inside--;
}

static bool peer_reset(const end *e)
{
    int64_t closed = e->pair->closed_at[!e->side];

    return e->pair->reset || destroying ||
           (closed && time_now - closed >= CLOSE_TIMEOUT * INT64_C(1000000));
}

/* Whether a status says what has happened. */
static bool explained(const call *k, int64_t status)
{
    const end *e = k->e;

    if (k->l->wild && status < -1000 && status > ASOCKET_ETLS)
        return true;
    switch (status) {
    case ASOCKET_EAGAIN: return e->no_wait;
    case ASOCKET_ETIMEDOUT:
        return time_now >= k->c->deadline || (e->timeout && time_now >= k->start + e->timeout);
    case ASOCKET_ECANCELED:
        return canceled || stopped || destroying ||
               (k->writing ? e->out_canceled || (e->kind == PIPE_WRITER && k->l->given_up)
                           : e->in_canceled);
    case ASOCKET_ECLOSED: return e->closed || (k->writing && e->out_finished);
    case ASOCKET_ECONNREFUSED: return e->kind == DATAGRAM && e->pair->closed_at[!e->side];
    case ASOCKET_ECONNRESET:
        return peer_reset(e) ||
               (e->kind == DATAGRAM || k->writing ? e->pair->closed_at[!e->side] != 0 : false);
    case ASOCKET_EINVAL: return !k->valid;
    case ASOCKET_EBUSY: return k->busy || e->layers; /* auto-flush, in a transport that waits */
    case ASOCKET_ENOMEM: return starved;
    default: return false;
    }
}

static bool must_explain(const call *k, int64_t status)
{
    if (!explained(k, status) && (!k->l->end_status || status != k->l->end_status))
        fprintf(stderr, "status: %s (%s, kind %d, layers %d)\n", asocket_strerror((int)status),
                k->writing ? "writing" : "reading", k->e->kind, k->e->layers);
    return explained(k, status) || (k->l->end_status && status == k->l->end_status);
}

/* The end of the stream, when so many bytes were asked for. */
static bool end_explained(const call *k, size_t needed)
{
    const lane *l = k->l;

    if (l->wild || l->given_up || l->end_status == ASOCKET_EOF)
        return true;
    if (!l->ended && !l->lost)
        return false;
    return (l->unix_socket && (l->lost || peer_reset(k->e))) || lane_left(l) < needed;
}

/* --- reading ---------------------------------------------------------------------------------- */

static const char *const delimiters[] = {"\n", "\r\n", "ab", "\n\n", "aba"};

static bool lane_finds(const lane *l, const char *delimiter, size_t from, size_t to)
{
    size_t length = strlen(delimiter), i, same;

    for (i = from; i + length <= to; i++) {
        for (same = 0; same < length; same++) {
            uint8_t byte = 0;

            if (!lane_has(l, i + same, &byte) || byte != (uint8_t)delimiter[same])
                break;
        }
        if (same == length)
            return true;
    }
    return false;
}

/* A line or what ends with another delimiter: `taken` bytes, of which the first `length` were
   delivered. */
static void look_at_text(const call *k, const char *delimiter, bool line, const uint8_t *text,
                         size_t length, size_t taken)
{
    size_t from = k->l->received, rest = taken - length;

    must(text[length] == 0 && taken >= length);
    if (k->l->wild)
        return;
    lane_gives(k->l, text, length, rest);
    if (line && !rest) { /* the last one */
        must(length && end_explained(k, 1) && !memchr(text, '\n', length));
        return;
    }
    must(rest == strlen(delimiter) || (line && rest == 2));
    must(lane_finds(k->l, line && rest == 2 ? "\r\n" : delimiter, from + length, from + taken));
    must(!lane_finds(k->l, delimiter, from, from + taken - 1));
    must(!line || rest == 2 || !length || text[length - 1] != '\r');
}

static void read_text(context *c, end *e)
{
    uint8_t how = next(c);
    bool line = how % 3 == 0, skip = how % 3 == 2, wrong = how >= 250;
    const char *delimiter = line ? "\n" : delimiters[how / 3 % 5];
    size_t size = next_size(c) + 1, length = strlen(delimiter), taken;
    uint8_t *text = exactly(noise, size);
    call k;
    ptrdiff_t count;

    k = call_begin(c, e, false, !wrong && length <= e->capacity);
    if (line)
        count = asocket_read_line(e->in, wrong ? NULL : (char *)text, size);
    else if (skip)
        count = asocket_discard_until(e->in, wrong ? NULL : delimiter, length);
    else
        count = asocket_read_until(e->in, delimiter, length, text, wrong ? 0 : size);
    taken = k.busy ? 0 : (size_t)asocket_transferred(e->in);
    if (count >= 0 && !skip) {
        must((size_t)count < size);
        look_at_text(&k, delimiter, line, text, (size_t)count, taken);
    } else if (skip) {
        size_t from = k.l->received;

        lane_gives(k.l, NULL, 0, taken);
        must(k.l->wild || !taken || !lane_finds(k.l, delimiter, from, from + taken - (count > 0)));
        must(k.l->wild || count < 0 ||
             lane_finds(k.l, delimiter, from + taken - length, from + taken));
    } else {
        must(!taken || size + length > e->capacity);
        lane_gives(k.l, text, taken, 0);
    }
    if (count == ASOCKET_EMSGSIZE && !k.l->wild && count != k.l->end_status)
        must(!skip && taken <= size &&
             !lane_finds(k.l, delimiter, k.l->received - taken, k.l->received - taken + size - 1));
    else if (count == ASOCKET_EOF)
        must(end_explained(&k, line ? 1 : SIZE_MAX) &&
             (k.l->writers || k.l->wild || k.l->given_up || k.l->end_status || k.l->lost ||
              !lane_finds(k.l, delimiter, k.l->received, k.l->written)));
    else
        must(count >= 0 || must_explain(&k, count));
    call_end(&k);
    free(text);
}

static int read_number(asocket_read_channel *in, size_t size, uint8_t *bytes)
{
    uint16_t two = 0;
    uint32_t four = 0;
    uint64_t eight = 0;
    int status, i;

    if (size == 2) {
        status = asocket_read_u16le(in, &two);
        eight = (uint64_t)(two & 0xff) << 8 | two >> 8;
    } else if (size == 4) {
        status = asocket_read_u32be(in, &four);
        eight = four;
    } else {
        status = asocket_read_u64be(in, &eight);
    }
    for (i = (int)size - 1; i >= 0; i--, eight >>= 8)
        bytes[i] = (uint8_t)eight;
    return status < 0 ? status : (int)size;
}

static void read_bytes(context *c, end *e)
{
    uint8_t how = next(c);
    bool wrong = how >= 252;
    size_t size = next_size(c), taken;
    uint8_t *bytes = exactly(noise, size < 8 ? 8 : size);
    call k = call_begin(c, e, false, !wrong);
    ptrdiff_t count = 0;

    how %= 6;
    if (how == 3)
        size = 1;
    if (how == 4)
        size = (size_t)2 << size % 3;
    if (how == 0)
        count = asocket_read(e->in, wrong ? NULL : bytes, size);
    else if (how == 1)
        count = asocket_read_full(e->in, bytes, wrong ? SIZE_MAX : size);
    else if (how == 2)
        count = asocket_discard(e->in, size);
    else if (how == 3 && (count = asocket_read_byte(e->in)) >= 0)
        *bytes = (uint8_t)count, count = 1;
    else if (how == 4)
        count = read_number(e->in, size, bytes);
    else if (how == 5) {
        count = asocket_available(e->in);
        must(count <= 0 || k.l->wild || k.l->writers || k.busy || (size_t)count <= lane_left(k.l));
        count = count > 0 ? 0 : count;
    }
    taken = k.busy || how == 5 ? 0 : (size_t)asocket_transferred(e->in);
    trace("  [%d] read %d, %zu: %td, %zu taken", (int)(e - ends), how, size, count, taken);
    must(count < 0 || (size_t)count == taken || (wrong && !size));
    must(taken <= size && (!taken || how != 1 || count < 0 || taken == size));
    must(count >= 0 || !taken || how == 2 || size > e->capacity);
    if (how == 2 || (how == 4 && count < 0)) /* a number larger than the channel */
        lane_gives(k.l, NULL, 0, taken);
    else
        lane_gives(k.l, bytes, taken, 0);
    if (count == ASOCKET_EOF)
        must(size && end_explained(&k, how == 1 || how == 4 ? size - taken : 1));
    else
        must(count >= 0 || must_explain(&k, count));
    if (how == 2 && count >= 0 && (size_t)count < size)
        must(end_explained(&k, 1));
    must(how || count || !size || k.e->kind == DATAGRAM || k.l->wild);
    call_end(&k);
    free(bytes);
}

static void look_ahead(context *c, end *e)
{
    size_t minimum = next_size(c), drop = next_size(c);
    uint8_t pause = next(c);
    const char *bytes = NULL;
    call k = call_begin(c, e, false, true);
    ptrdiff_t count = asocket_peek(e->in, &bytes, minimum);
    size_t before = k.l->received;
    int status;

    must(k.busy || asocket_transferred(e->in) == 0);
    if (count > 0 || !minimum) {
        must(count < 0 || (size_t)count >= minimum);
        lane_gives(k.l, bytes, count > 0 ? (size_t)count : 0, 0);
        k.l->received = before;
    }
    if (count == ASOCKET_EOF)
        must(minimum && end_explained(&k, minimum));
    else if (count == ASOCKET_EMSGSIZE)
        must(minimum > e->capacity);
    else
        must(count >= 0 || must_explain(&k, count));
    call_end(&k);
    if (count <= 0 || k.busy)
        return;
    if (pause & 1 && !e->layers && c->owner >= 0) { /* what comes in meanwhile leaves it alone */
        k.l->readers++;
        (void)asocket_yield(selectors[c->owner]);
        k.l->readers--;
        if (k.l->received != before || e->closed || e->in_canceled || k.l->given_up)
            return;
    }
    status = asocket_consume(e->in, drop);
    if (!status)
        lane_gives(k.l, NULL, 0, drop);
    else
        must((size_t)count < drop ? status == ASOCKET_EINVAL || must_explain(&k, status)
                                  : must_explain(&k, status));
}

/* --- writing ---------------------------------------------------------------------------------- */

/* `whole`: a call that puts in all or nothing, if the channel can hold it. */
static void write_end(const call *k, ptrdiff_t count, size_t size, bool whole)
{
    size_t moved = k->busy ? 0 : (size_t)asocket_written(k->e->out);
    lane *l = k->l;

    if (count < 0 && k->e->layers && k->e->closed) { /* its end may be writing what is left */
        l->wild = true;
        moved = 0;
    }
    if (count == ASOCKET_EBUSY)
        moved = 0;
    trace("  [%d] write %zu: %td, %zu moved", (int)(k->e - ends), size, count, moved);
    must(moved <= size && (count < 0 || moved == size));
    must(count >= 0 || !moved || !whole || l->wild || size > k->e->capacity ||
         count == ASOCKET_ECONNRESET);
    must(count >= 0 || must_explain(k, count));
    if (!k->busy) {
        lane_append(l, l->pending, moved);
        l->pending = NULL;
        must(l->wild || l->received <= l->written);
    }
    call_end(k);
}

static call write_begin(context *c, end *e, const void *bytes, size_t size, bool valid)
{
    call k = call_begin(c, e, true, valid);

    k.l->reserved = 0;
    if (!k.busy) {
        k.l->pending = (const uint8_t *)bytes;
        k.l->pending_size = size;
    }
    return k;
}

static ptrdiff_t write_number(asocket_write_channel *out, size_t size, const uint8_t *bytes)
{
    uint64_t value = 0;
    size_t i;
    int status;

    for (i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    if (size == 1)
        status = asocket_write_byte(out, (uint8_t)value);
    else if (size == 2)
        status = asocket_write_u16be(out, (uint16_t)value);
    else if (size == 4)
        status = asocket_write_u32be(out, (uint32_t)value);
    else
        status = asocket_write_u64be(out, value);
    return status < 0 ? status : (ptrdiff_t)size;
}

static void write_bytes(context *c, end *e)
{
    uint8_t how = next(c);
    bool wrong = how >= 252;
    size_t size = next_size(c), i;
    char *bytes = (char *)exactly(noise + e->to->written % 8192, size + 9);
    call k;
    ptrdiff_t count;

    how %= 5;
    if (how == 3)
        size = (size_t)1 << size % 4;
    for (i = 0; (how == 1 || how == 2) && i < size; i++)
        bytes[i] = bytes[i] ? bytes[i] : 'z';
    if (how == 1 || how == 2)
        bytes[size] = 0;
    if (how == 4)
        memcpy(bytes, noise + 77, size);
    k = write_begin(c, e, bytes, size, !wrong);
    if (how == 1)
        count = asocket_write_string(e->out, wrong ? NULL : bytes);
    else if (how == 2)
        count = asocket_printf(e->out, "%s", bytes);
    else if (how == 3)
        count = write_number(e->out, size, (uint8_t *)bytes);
    else if (how == 4)
        count = (ptrdiff_t)asocket_write_file(e->out, wrong ? -1 : file, 77, (int64_t)size);
    else
        count = asocket_write(e->out, wrong ? NULL : bytes, size);
    write_end(&k, count, size, how != 4);
    free(bytes);
}

static void write_window(context *c, end *e)
{
    size_t minimum = next_size(c), size = next_size(c);
    char *bytes = NULL;
    call k = write_begin(c, e, NULL, 0, true);
    ptrdiff_t count = asocket_reserve(e->out, &bytes, minimum);
    uint32_t mine = ++program_number;
    uint8_t *copy;

    if (count == ASOCKET_EMSGSIZE)
        must(minimum > e->capacity);
    else
        must(count > 0 || must_explain(&k, count));
    must(count < 0 || (size_t)count >= minimum);
    call_end(&k);
    if (count <= 0)
        return;
    if (size % 5 == 0) {
        k.l->reserved = mine;
        (void)asocket_yield(selectors[c->owner]);
        if (k.l->reserved != mine || e->out_canceled || e->closed || e->layers < 0)
            return;
    }
    copy = exactly(noise + k.l->written % 8192, size);
    if (size <= (size_t)count)
        memcpy(bytes, copy, size);
    k = write_begin(c, e, copy, size, size <= (size_t)count);
    count = asocket_commit(e->out, size);
    write_end(&k, count < 0 ? count : (ptrdiff_t)size, size, true);
    free(copy);
}

static void write_other(context *c, end *e)
{
    uint8_t how = next(c) % 4;
    call k = write_begin(c, e, NULL, 0, true);
    ptrdiff_t status = how == 0   ? asocket_finish(e->out)
                       : how == 1 ? asocket_room(e->out)
                                  : asocket_flush(e->out);

    if (how == 0 && status == ASOCKET_OK) {
        e->out_finished = true;
        if (!e->to->lost)
            e->to->ended = true;
    }
    must(status >= 0 || must_explain(&k, status));
    must(how == 1 || !k.busy || status < 0 || (how == 0 && e->out_finished));
    if (!k.busy)
        k.l->pending = NULL;
    call_end(&k);
}

static void copy(context *c, end *from, end *to)
{
    /* Without a limit only what ends: bytes may go in circles. */
    int64_t limit = from->from->ended ? ASOCKET_FOREVER : (int64_t)next_size(c), count;
    call in = call_begin(c, from, false, true);
    call out = call_begin(c, to, true, true);
    bool mine = !in.busy && !out.busy;
    size_t moved, i;

    out.l->reserved = 0;
    if (mine) {
        out.l->pending = NULL;
        out.l->source = in.l;
        out.l->source_at = in.l->received;
        out.l->wild |= in.l->wild;
    }
    count = asocket_copy(from->in, to->out, limit);
    moved = mine ? (size_t)asocket_transferred(from->in) : 0;
    must(count < 0 || (size_t)count == moved);
    must(limit < 0 || moved <= (size_t)limit);
    must(count >= 0 || explained(&in, count) || explained(&out, count) || must_explain(&in, count));
    for (i = 0; i < moved && !in.l->wild; i++) {
        uint8_t byte = 0;

        must(lane_has(in.l, in.l->received + i, &byte));
        lane_append(out.l, &byte, 1);
    }
    in.l->received += moved;
    trace("  copied %zu: %lld", moved, (long long)count);
    if (mine && (in.l->wild || (count < 0 && (from->closed || from->in_canceled))))
        out.l->wild = true; /* what a transport has when its copy ends so goes uncounted */
    if (mine)
        out.l->source = NULL;
    if (count >= 0 && (limit < 0 || count < limit))
        must(end_explained(&in, 1));
    must(!mine || out.l->wild || out.l->received <= out.l->written);
    call_end(&out);
    call_end(&in);
}

/* --- datagrams: each begins with its number ---------------------------------------------------- */

static void send_datagram(context *c, end *e)
{
    size_t size = next_size(c), many = size % 7 == 6 ? 3 : 1, i, first;
    uint8_t bytes[40000];
    asocket_datagram datagrams[3];
    call k = call_begin(c, e, true, true);
    lane *l = k.l;
    int64_t count;

    memcpy(bytes, noise, size);
    first = l->written / sizeof size;
    memcpy(bytes, &first, size < sizeof first ? size : sizeof first);
    memset(datagrams, 0, sizeof datagrams);
    for (i = 0; i < many; i++) {
        datagrams[i].data = bytes;
        datagrams[i].size = size;
        lane_append(l, (const uint8_t *)&size, sizeof size);
    }
    if (many > 1)
        count = asocket_send_many(e->socket, datagrams, many);
    else if (size & 1)
        count = asocket_send(e->socket, datagrams);
    else
        count = asocket_send_to(e->socket, bytes, size, NULL);
    must(count < 0 || (size_t)count == (many > 1 ? many : size) || many > 1);
    must(count >= 0 || must_explain(&k, count));
    call_end(&k);
}

/* It is a later one than the last: its number, if it is long enough to have one. */
static void look_at_datagram(lane *l, const uint8_t *bytes, const asocket_datagram *got)
{
    size_t number, size = 0, count = l->written / sizeof number;

    if (l->wild)
        return;
    for (number = l->received / 3; number < count; number++) {
        memcpy(&size, l->log + number * sizeof size, sizeof size);
        if (got->size == (size < got->capacity ? size : got->capacity) &&
            got->truncated == (size > got->capacity))
            break;
    }
    must(number < count);
    if (got->size >= sizeof number) {
        size_t told;

        memcpy(&told, bytes, sizeof told);
        must(told < count && told * 3 + 2 >= l->received);
        must(!memcmp(bytes + sizeof told, noise + sizeof told, got->size - sizeof told));
        number = told;
    }
    l->received = number * 3 > l->received ? number * 3 : l->received;
}

static void receive_datagram(context *c, end *e)
{
    size_t size = next_size(c), i;
    int many = size % 5 == 4 ? 2 : 1, count;
    asocket_datagram datagrams[2];
    call k = call_begin(c, e, false, true);

    memset(datagrams, 0, sizeof datagrams);
    for (i = 0; i < 2; i++) {
        datagrams[i].data = exactly(noise, size);
        datagrams[i].capacity = size;
    }
    if (many > 1) {
        count = asocket_receive_many(e->socket, datagrams, 2);
    } else if (size & 1) {
        count = (int)asocket_receive(e->socket, datagrams);
        must(count < 0 || (size_t)count == datagrams->size);
        count = count < 0 ? count : 1;
    } else {
        count = (int)asocket_receive_from(e->socket, datagrams->data, size, NULL);
        datagrams->size = count < 0 ? 0 : (size_t)count;
        datagrams->truncated = count >= 0 && asocket_error(selectors[e->owner]) == ASOCKET_EMSGSIZE;
        count = count < 0 ? count : 0;
    }
    for (i = 0; (int)i < count; i++)
        look_at_datagram(k.l, (const uint8_t *)datagrams[i].data, &datagrams[i]);
    must(count >= 0 || must_explain(&k, count));
    call_end(&k);
    free(datagrams[0].data);
    free(datagrams[1].data);
}

/* --- what there is ----------------------------------------------------------------------------- */

static end *end_new(int kind, int side, int owner, pair *both, asocket *socket)
{
    end *e = &ends[end_count++];

    memset(e, 0, sizeof *e);
    e->kind = kind;
    e->side = side;
    e->owner = owner;
    e->pair = both;
    e->from = &both->lanes[!side];
    e->to = &both->lanes[side];
    e->socket = socket;
    return e;
}

static int listener = -1;

static void connect_pair(int fds[2], size_t buffer)
{
    static uint32_t place;
    struct sockaddr_in at;
    socklen_t length = sizeof at;
    int size = (int)buffer;

    must(!getsockname(listener, (struct sockaddr *)&at, &length));
    at.sin_addr.s_addr = htonl(0x7f000001u + place++ % 60000); /* else ports would run out */
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (size) {
        setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        setsockopt(fds[0], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    must(!connect(fds[0], (struct sockaddr *)&at, sizeof at));
    fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    must(fds[1] >= 0);
    if (size)
        setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static void udp_pair(int fds[2])
{
    struct sockaddr_in at[2];
    socklen_t length = sizeof *at;
    int i;

    memset(at, 0, sizeof at);
    for (i = 0; i < 2; i++) {
        at[i].sin_family = AF_INET;
        at[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        must(!bind(fds[i], (struct sockaddr *)&at[i], sizeof *at));
        must(!getsockname(fds[i], (struct sockaddr *)&at[i], &length));
    }
    for (i = 0; i < 2; i++)
        must(!connect(fds[i], (struct sockaddr *)&at[!i], sizeof *at));
}

static asocket_builder builder_of(context *c, int kind, int owner, bool internet)
{
    asocket_selector *selector = selectors[owner];
    uint8_t how = next(c);
    asocket_builder builder =
        kind == DATAGRAM ? (internet ? asocket_udp(selector) : asocket_unix_datagram(selector))
        : internet       ? asocket_tcp(selector)
                         : asocket_unix(selector);

    builder.channel_capacity = how & 3 ? (size_t)1 << (how >> 2 & 15) : 0;
    builder.timeout = how & 64 ? how >> 2 & 3 : how & 128 ? ASOCKET_NO_WAIT : 0;
    return builder;
}

static void open_pair(context *c, int kind)
{
    uint8_t how = next(c);
    bool internet = how & 1;
    pair *both = &pairs[pair_count];
    int fds[2], i;

    if (end_count + 2 > ENDS)
        return;
    if (!internet)
        must(!socketpair(AF_UNIX, (kind == DATAGRAM ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0,
                         fds));
    else if (kind == DATAGRAM)
        udp_pair(fds);
    else
        connect_pair(fds, how & 2 ? 4096 : 0);
    memset(both, 0, sizeof *both);
    pair_count++;
    for (i = 0; i < 2; i++) {
        int owner = c->number ? c->owner : (how >> (4 + i) & 1);
        asocket_builder builder = builder_of(c, kind, owner, internet);
        asocket *socket = asocket_adopt(builder, fds[i]);
        end *e = end_new(kind, i, owner, both, socket);

        e->capacity = builder.channel_capacity ? builder.channel_capacity : 16384;
        e->no_wait = builder.timeout == ASOCKET_NO_WAIT;
        e->timeout = builder.timeout > 0 ? builder.timeout * 1000000 : 0;
        e->auto_flush = how >> (2 + i) & 1;
        e->to->unix_socket = !internet;
        if (socket)
            continue;
        must(starved && asocket_error(selectors[owner]) == ASOCKET_ENOMEM);
        close(fds[i]);
        e->closed = true;
        e->to->wild = e->from->wild = both->reset = true;
        both->closed_at[i] = time_now;
    }
}

static void open_pipe(context *c)
{
    pair *both = &pairs[pair_count];
    size_t capacity = next_size(c);
    asocket_read_channel *in;
    asocket_write_channel *out;
    int owner = c->owner, status;

    if (end_count + 2 > ENDS)
        return;
    status = asocket_pipe(selectors[owner], capacity, &in, &out);
    must(!status || (status == ASOCKET_ENOMEM && starved));
    if (status)
        return;
    memset(both, 0, sizeof *both);
    pair_count++;
    end_new(PIPE_WRITER, 0, owner, both, NULL)->out = out;
    end_new(PIPE_READER, 1, owner, both, NULL)->in = in;
    ends[end_count - 1].capacity = ends[end_count - 2].capacity = capacity ? capacity : 16384;
}

static end *pick(context *c, int kinds)
{
    int i, at = next(c);

    for (i = 0; i < end_count; i++) {
        end *e = &ends[(at + i) % end_count];

        if (kinds & 1 << e->kind && e->owner >= 0 && e->owner < SELECTORS &&
            (!c->number || e->owner == c->owner))
            return e;
    }
    return NULL;
}

/* One whose channel is open: NULL when there is none, or it cannot be. */
static end *pick_channel(context *c, bool writing)
{
    end *e = pick(c, 1 << STREAM | 1 << DATAGRAM | 1 << (writing ? PIPE_WRITER : PIPE_READER));
    call k;
    int error;

    if (!e || (writing ? e->to->written > MOST : false))
        return NULL;
    if (writing ? e->out != NULL : e->in != NULL)
        return e;
    if (!e->socket)
        return NULL;
    k = call_begin(c, e, writing, true);
    call_end(&k);
    if (e->kind == DATAGRAM)
        (writing ? e->to : e->from)->wild = true;
    if (writing)
        e->out = asocket_open_write_channel(e->socket, e->auto_flush);
    else
        e->in = asocket_open_read_channel(e->socket);
    if (writing ? e->out != NULL : e->in != NULL)
        return e;
    error = asocket_error(selectors[e->owner]);
    must(must_explain(&k, error));
    return NULL;
}

/* --- the ends of things ------------------------------------------------------------------------ */

static void keep_stale(asocket *socket)
{
    if (stale_count < STALE)
        stale[stale_count++] = socket;
}

static void has_closed(end *e)
{
    if (e->closed)
        return;
    e->closed = true;
    e->pair->closed_at[e->side] = time_now;
    if (!e->to->lost && !e->out_canceled)
        e->to->ended = true;
    else if (!e->to->lost)
        e->to->lost = true;
    if (e->layers) /* its transport may have been in the middle of something */
        e->pair->reset = e->to->lost = true;
    keep_stale(e->socket);
}

static void close_end(context *c, end *e)
{
    bool hard = next(c) % 3 == 0, closed = e->closed;
    int status = hard ? asocket_abort(e->socket) : asocket_close(e->socket);

    must(!status || (hard && closed && status == ASOCKET_ECLOSED));
    if (hard && status == 0) {
        e->pair->reset = true;
        e->to->lost = e->from->lost = true;
    }
    has_closed(e);
    must(asocket_is_closed(e->socket));
}

static void shut_end(context *c, end *e)
{
    int directions = next(c) % 5, status;
    bool valid = directions > 0 && directions < 4;
    call in = call_begin(c, e, false, valid);
    call k = call_begin(c, e, true, valid);

    in.l->readers--;
    if (valid && (directions & ASOCKET_READ) && !e->closed) {
        in.l->given_up = true;
        if (e->layers)
            in.l->wild = true;
    }
    k.l->reserved = 0;
    status = asocket_shutdown(e->socket, directions);
    if (!status && (directions & ASOCKET_WRITE)) {
        e->out_finished = true;
        if (!e->to->lost)
            e->to->ended = true;
    }
    must(status >= 0 || must_explain(&k, status));
    in.l->readers++;
    call_end(&k);
    call_end(&in);
}

static void cancel_end(context *c, end *e)
{
    bool writing = e->kind == PIPE_WRITER || (e->kind != PIPE_READER && next(c) & 1);
    bool closed = e->closed || (writing && e->out_finished);
    int status, why = -1000 - next(c) % 22;

    if (e->layers)
        e->to->wild = e->from->wild = true;
    if (writing) {
        bool before = e->out_canceled || e->to->given_up;

        status = asocket_cancel_write(e->out, why);
        must(!status || closed || before || e->pair->reset || e->pair->closed_at[!e->side]);
        if (status)
            return;
        e->out_canceled = true;
        e->pair->reset = true;
        e->to->lost |= e->to->unix_socket;
        if (e->kind == PIPE_WRITER)
            e->to->end_status = why;
        return;
    }
    status = asocket_cancel_read(e->in);
    must(!status || (e->closed && status == ASOCKET_ECLOSED));
    if (status)
        return;
    e->in_canceled = true;
    e->from->given_up |= e->kind == PIPE_READER;
}

/* --- layers: what goes in comes out ------------------------------------------------------------ */

typedef struct state {
    asocket_read_channel *in;
    asocket_write_channel *out;
    int owner;
    uint8_t how;
} state;

static size_t layer_piece(const state *s, size_t size)
{
    size_t most = (size_t)1 << (s->how & 7);

    if (s->how & 64)
        (void)asocket_yield(selectors[s->owner]);
    if (s->how & 128)
        (void)asocket_sleep_ns(selectors[s->owner], 1000);
    return size < most ? size : most;
}

static ptrdiff_t layer_read(void *of, asocket *lower, void *buffer, size_t size)
{
    state *s = (state *)of;

    must(size);
    size = layer_piece(s, size);
    if (!s->in)
        s->in = asocket_open_read_channel(lower);
    return s->in ? asocket_read(s->in, buffer, size) : asocket_error(selectors[s->owner]);
}

static ptrdiff_t layer_write(void *of, asocket *lower, const void *bytes, size_t size)
{
    state *s = (state *)of;
    uint8_t *copy = exactly(bytes, size);
    ptrdiff_t count;

    if (size)
        size = layer_piece(s, size);
    if (!s->out)
        s->out = asocket_open_write_channel(lower, s->how >> 4 & 1);
    if (!s->out)
        count = asocket_error(selectors[s->owner]);
    else if (!size)
        count = asocket_finish(s->out);
    else
        count = asocket_write(s->out, copy, size);
    if (s->out && size && count < 0 && asocket_written(s->out) > 0)
        count = (ptrdiff_t)asocket_written(s->out);
    free(copy);
    return count;
}

static int layer_close(void *of, asocket *lower)
{
    state *s = (state *)of;
    int status = s->out && s->how & 8 ? asocket_flush(s->out) : 0;

    (void)lower;
    layers_ended++;
    free(s);
    return status;
}

static void layer_cancel(void *of, asocket *lower)
{
    (void)lower;
    layers_ended++;
    free(of);
}

static const asocket_transport transport = {layer_read, layer_write, layer_close, layer_cancel};

static void layer_end(context *c, end *e)
{
    call k = call_begin(c, e, true, true);
    state *s = (state *)calloc(1, sizeof *s);
    asocket *layer;

    must(s);
    s->owner = e->owner;
    s->how = next(c);
    k.busy = e->inside > 1;
    layer = e->layers < LAYERS ? asocket_layer(e->socket, &transport, s) : NULL;
    if (layer) {
        keep_stale(NULL);
        e->capacities[e->layers++] = e->capacity;
        e->to->wild |= e->out_finished || e->out_canceled; /* until a flush it does not know */
        e->socket = layer;
        e->in = NULL;
        e->out = NULL;
        layers_made++;
    } else {
        must(e->layers == LAYERS || must_explain(&k, asocket_error(selectors[e->owner])));
        free(s);
    }
    call_end(&k);
}

static void detach_end(context *c, end *e)
{
    call k = call_begin(c, e, true, e->layers > 0);
    asocket *before = e->socket, *lower;

    k.l->reserved = 0;
    lower = asocket_detach(e->socket);
    if (lower) {
        must(e->socket == before && e->layers);
        e->socket = lower;
        e->capacity = e->capacities[--e->layers];
        e->in = NULL;
        e->out = NULL;
        keep_stale(before);
    } else {
        int error = asocket_error(selectors[e->owner]);

        must(error == ASOCKET_EBUSY || must_explain(&k, error));
    }
    call_end(&k);
}

/* --- programs ---------------------------------------------------------------------------------- */

typedef struct start { /* of a program: what it runs, and where */
    const uint8_t *at, *end;
    int owner;
    end *socket; /* that the coroutine was launched with */
    int runs;
    bool once;  /* and not less often */
    bool moved; /* nor here, unless there is no memory when the selector is destroyed */
    asocket_job job;
} start;

static start starts[STARTS];
static int start_count;

static void run(context *c);

static void run_start(const uint8_t *at, const uint8_t *stop, int owner, end *socket)
{
    asocket_selector *selector = selectors[owner];
    context c;
    int64_t former;
    uint8_t ms;

    memset(&c, 0, sizeof c);
    c.at = at;
    c.end = stop;
    c.owner = owner;
    c.number = ++program_number;
    if (socket)
        socket->program = c.number;
    ms = next(&c);
    c.deadline = time_now + ms % 32 * INT64_C(1000000);
    former = asocket_set_deadline(selector, ms % 32);
    run(&c);
    asocket_restore_deadline(selector, former);
    if (socket && socket->program == c.number && socket->owner == owner)
        has_closed(socket);
}

static void program(asocket_selector *selector, void *argument)
{
    start *s = (start *)argument;

    must(selector == selectors[s->owner]);
    must(++s->runs == 1);
    run_start(s->at, s->end, s->owner, NULL);
}

static start *find_start(end *e)
{
    int i;

    for (i = 0; i < start_count; i++)
        if (starts[i].socket == e && !starts[i].runs)
            return &starts[i];
    return NULL;
}

/* Launched with a socket. What it was launched with may have got a layer meanwhile. */
static void socket_program(asocket_selector *selector, void *argument)
{
    int owner = selector == selectors[1], i;
    start *s = NULL;

    for (i = 0; i < start_count; i++)
        if (starts[i].owner == owner && starts[i].job && starts[i].job == asocket_current(selector))
            s = &starts[i];
    must(s && s->owner == owner && argument);
    must(++s->runs == 1);
    run_start(s->at, s->end, owner, s->socket);
}

/* Handed over. */
static void arrived(asocket_selector *selector, void *argument)
{
    asocket *socket = (asocket *)argument;
    int owner = selector == selectors[1], i;
    start *s;
    end *e = NULL;

    for (i = 0; i < end_count; i++)
        if (ends[i].owner == -1 && ends[i].handle == asocket_native_handle(socket))
            e = &ends[i];
    must(e && asocket_selector_of(socket) == selector);
    e->owner = owner;
    e->socket = socket;
    s = find_start(e);
    must(s);
    s->runs++;
    run_start(s->at, s->end, owner, e);
}

static start *next_start(context *c, int owner, end *socket)
{
    size_t size = next(c);
    start *s = &starts[start_count];

    if (start_count == STARTS)
        return NULL;
    start_count++;
    memset(s, 0, sizeof *s);
    if (size > (size_t)(c->end - c->at))
        size = (size_t)(c->end - c->at);
    s->at = c->at;
    s->end = c->at += size;
    s->owner = owner;
    s->socket = socket;
    return s;
}

static void start_one(context *c, int how)
{
    int owner = c->number ? c->owner : next(c) & 1;
    start *s = next_start(c, owner, NULL);

    if (!s)
        return;
    if (how == 0)
        s->once = (s->job = asocket_launch(selectors[owner], program, s)) != 0;
    else
        s->once = asocket_post(selectors[owner], program, s) == 0;
    must(s->once || starved);
}

static void start_socket(context *c, end *e)
{
    bool closed = e->closed;
    start *s = next_start(c, e->owner, e);

    if (!s)
        return;
    s->job = asocket_launch_socket(selectors[e->owner], socket_program, e->socket);
    s->once = s->job != 0;
    if (s->job)
        e->program = UINT32_MAX;
    must(s->once || starved || closed || e->program);
    if (!s->job && !e->program)
        has_closed(e);
}

static void start_ready(context *c, end *e)
{
    start *s = next_start(c, e->owner, NULL);
    int events = next(c) % 5, status;

    if (!s)
        return;
    status = asocket_on_ready(e->socket, events, program, s);
    must(!status || (status == ASOCKET_ECLOSED && e->closed) ||
         (status == ASOCKET_ENOMEM && starved) ||
         (status == ASOCKET_EINVAL && (!events || events == 4)));
}

static void hand_over(context *c, end *e)
{
    asocket *socket = e->socket;
    start *s;
    call k;
    int status, handle;

    if (e->owner != 0 || !(s = next_start(c, 1, e)))
        return;
    k = call_begin(c, e, true, !e->layers);
    k.l->reserved = 0;
    handle = asocket_native_handle(socket);
    s->runs = 1; /* not yet on its way */
    status = asocket_hand_over(socket, selectors[1], arrived);
    if (status == ASOCKET_OK) {
        must(e->socket == socket && !e->closed);
        e->owner = -1;
        e->handle = handle;
        e->in = NULL;
        e->out = NULL;
        e->program = 0;
        s->runs = 0;
        s->moved = true;
        keep_stale(socket);
    } else {
        must((status == ASOCKET_EBUSY && e->inside > 1) ||
             (status == ASOCKET_EINVAL && e->layers) || must_explain(&k, status));
    }
    call_end(&k);
}

static void control_jobs(context *c)
{
    uint8_t how = next(c) % 8;
    asocket_selector *selector = selectors[c->owner];
    asocket_job job = start_count ? starts[next(c) % start_count].job : 0;
    int status = 0;

    if (how == 0)
        canceled = true, (void)asocket_cancel(selector, job);
    else if (how == 1)
        canceled = true, (void)asocket_cancel_all(selector);
    else if (how == 2)
        status = asocket_join_all(selector);
    else
        status = asocket_join(selector, job);
    must(!status || (status == ASOCKET_ETIMEDOUT && time_now >= c->deadline) ||
         (status == ASOCKET_ECANCELED && (canceled || stopped || destroying)) ||
         (status == ASOCKET_EINVAL && how > 2 && job == asocket_current(selector)));
}

static void pass_time(context *c)
{
    asocket_selector *selector = selectors[c->owner];
    uint8_t how = next(c);
    int64_t begin = time_now, time = how >> 2 & 15;
    int status;

    if (!(how & 3))
        status = asocket_yield(selector);
    else
        status = asocket_sleep_ns(selector, time * 300000);
    must(!status || (status == ASOCKET_ETIMEDOUT && time_now >= c->deadline) ||
         (status == ASOCKET_ECANCELED && (canceled || stopped || destroying)));
    must(status || !(how & 3) || time_now - begin >= time * 300000);
}

/* What only code outside of coroutines may do; others are told so. */
static void turn(context *c)
{
    uint8_t how = next(c);
    asocket_selector *selector = selectors[c->number ? c->owner : how & 1];
    int status = asocket_poll(selector, how >> 1 & 3);

    must(status >= 0 || (status == ASOCKET_ECANCELED && stopped) ||
         (status == ASOCKET_EINVAL && asocket_current(selector)));
}

static void set_up(context *c, end *e)
{
    uint8_t how = next(c);
    int64_t timeout = (how & 15) - 3;
    size_t capacity = next_size(c);
    asocket_address address;
    int status;

    if (how & 128) {
        status = asocket_set_capacity(e->socket, capacity);
        if (!status)
            e->capacity = capacity ? capacity : 16384;
        must(!status || status == ASOCKET_EBUSY || (status == ASOCKET_ECLOSED && e->closed));
        return;
    }
    status = asocket_set_timeout(e->socket, timeout);
    must(!status || (status == ASOCKET_ECLOSED && e->closed) ||
         (status == ASOCKET_EINVAL && timeout < ASOCKET_NO_WAIT));
    if (!status && timeout == ASOCKET_NO_WAIT)
        e->no_wait = true;
    if (!status && timeout > 0 && (!e->timeout || timeout * 1000000 < e->timeout))
        e->timeout = timeout * 1000000;
    (void)asocket_local_address(e->socket, &address);
    (void)asocket_remote_address(e->socket, &address);
}

/* Handles that were closed, or given to somebody else. */
static void look_at_stale(context *c)
{
    asocket *socket = stale_count && !destroying ? stale[next(c) % stale_count] : NULL;
    asocket_address address;
    int owner = socket && asocket_selector_of(socket) == selectors[1];

    if (!socket || (c->number && owner != c->owner))
        return;
    must(asocket_is_closed(socket));
    must(asocket_set_timeout(socket, 1) == ASOCKET_ECLOSED);
    must(!asocket_open_read_channel(socket));
    must(asocket_close(socket) == ASOCKET_OK);
    (void)asocket_remote_address(socket, &address);
    must(asocket_native_handle(socket) == -1);
    if (next(c) & 1 && owner == c->owner)
        (void)asocket_await_closed(socket);
}

static void step(context *c)
{
    enum { SOCKETS = 1 << STREAM | 1 << DATAGRAM };
    uint8_t what = next(c) % 32;
    end *e, *other;

    trace("program %u, at %.6f ms: %d", c->number, (double)(time_now % 1000000000000) / 1e6, what);
    switch (what) {
    case 0: open_pair(c, STREAM); break;
    case 1: open_pair(c, next(c) & 1 ? STREAM : DATAGRAM); break;
    case 2: open_pipe(c); break;
    case 3: c->owner == 0 && next(c) & 1 ? asocket_stop(selectors[0]), stopped = true : 0; break;
    case 4:
    case 5:
    case 6: (e = pick_channel(c, false)) ? read_bytes(c, e) : (void)0; break;
    case 7: (e = pick_channel(c, false)) ? read_text(c, e) : (void)0; break;
    case 8: (e = pick_channel(c, false)) ? look_ahead(c, e) : (void)0; break;
    case 9:
    case 10:
    case 11: (e = pick_channel(c, true)) ? write_bytes(c, e) : (void)0; break;
    case 12: (e = pick_channel(c, true)) ? write_window(c, e) : (void)0; break;
    case 13: (e = pick_channel(c, true)) ? write_other(c, e) : (void)0; break;
    case 14:
    case 15:
        e = pick_channel(c, false);
        other = pick_channel(c, true);
        if (e && other && e->owner == other->owner)
            copy(c, e, other);
        break;
    case 16: (e = pick(c, SOCKETS)) && e->socket ? close_end(c, e) : (void)0; break;
    case 17: (e = pick(c, 1 << STREAM)) && e->socket ? shut_end(c, e) : (void)0; break;
    case 18:
        e = pick_channel(c, next(c) & 1);
        if (e && (e->kind == PIPE_WRITER || e->in) && (e->kind == PIPE_READER || e->out))
            cancel_end(c, e);
        break;
    case 19: (e = pick(c, SOCKETS)) && e->socket ? set_up(c, e) : (void)0; break;
    case 20: pass_time(c); break;
    case 21: start_one(c, 0); break;
    case 22: (e = pick(c, SOCKETS)) && e->socket ? start_socket(c, e) : (void)0; break;
    case 23: start_one(c, 1); break;
    case 24: (e = pick(c, SOCKETS)) && e->socket ? start_ready(c, e) : (void)0; break;
    case 25: control_jobs(c); break;
    case 26: (e = pick(c, 1 << STREAM)) && e->socket ? layer_end(c, e) : (void)0; break;
    case 27: (e = pick(c, 1 << STREAM)) && e->socket ? detach_end(c, e) : (void)0; break;
    case 28: (e = pick(c, SOCKETS)) && e->socket ? hand_over(c, e) : (void)0; break;
    case 29: (e = pick(c, 1 << DATAGRAM)) && e->socket ? send_datagram(c, e) : (void)0; break;
    case 30: (e = pick(c, 1 << DATAGRAM)) && e->socket ? receive_datagram(c, e) : (void)0; break;
    default:
        if (next(c) & 1)
            fails_in = next(c);
        else if (next(c) & 1)
            look_at_stale(c);
        else
            turn(c);
    }
}

static void run(context *c)
{
    while (c->at < c->end)
        step(c);
}

/* --- one input --------------------------------------------------------------------------------- */

/* Once. */
static void prepare(void)
{
    struct sockaddr_in at;
    uint32_t seed = 2463534242u;
    size_t i;

    for (i = 0; i < sizeof noise; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        noise[i] = (uint8_t)(seed & 1 ? "\r\n\nabaab"[seed >> 8 & 7] : (char)(seed >> 16));
    }
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(!bind(listener, (struct sockaddr *)&at, sizeof at) && !listen(listener, 16));
    file = memfd_create("fuzz", MFD_CLOEXEC);
    tracing = getenv("FUZZ_TRACE") != NULL;
    must(file >= 0 && write(file, noise, sizeof noise) == sizeof noise);
}

static void begin(uint8_t how)
{
    static const int backends[] = {
        ASOCKET_BACKEND_EPOLL,
        ASOCKET_BACKEND_POLL,
        ASOCKET_BACKEND_KQUEUE,
        ASOCKET_BACKEND_DEFAULT,
    };
    asocket_selector_options options;
    int i;

    memset(&options, 0, sizeof options);
    options.backend = backends[how & 3];
    options.close_timeout = CLOSE_TIMEOUT;
    options.allocator.resize = resize;
    time_now = INT64_C(1000000000000);
    waits = blocks = bytes_used = 0;
    fails_in = end_count = pair_count = stale_count = start_count = 0;
    layers_made = layers_ended = 0;
    starved = canceled = stopped = destroying = false;
    program_number = 0;
    for (i = 0; i < SELECTORS; i++)
        if (asocket_selector_open(&options, &selectors[i])) { /* it is not compiled in */
            options.backend = ASOCKET_BACKEND_DEFAULT;
            must(!asocket_selector_open(&options, &selectors[i]));
        }
}

static void end_of_all(void)
{
    int i, j;

    destroying = true;
    for (i = 0; i < SELECTORS; i++) {
        int64_t start_time = time_now;

        asocket_selector_destroy(selectors[i]);
        must(time_now - start_time <= (CLOSE_TIMEOUT + 100) * INT64_C(1000000));
        for (j = 0; j < end_count; j++)
            if (ends[j].owner == i) {
                has_closed(&ends[j]);
                ends[j].owner = SELECTORS;
            }
    }
    for (i = 0; i < start_count; i++)
        must(starts[i].runs == 1 || (starts[i].moved ? starved : !starts[i].once));
    for (i = 0; i < pair_count; i++)
        for (j = 0; j < 2; j++)
            free(pairs[i].lanes[j].log);
    must(layers_made == layers_ended);
    must(!blocks && !bytes_used);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    context c;
    int before, i;

    if (size < 3)
        return 0;
    memset(&c, 0, sizeof c);
    if (file < 0)
        prepare();
    before = descriptors();
    begin(bytes[0]);
    c.at = bytes + 1;
    c.end = bytes + size;
    c.deadline = time_now + 50 * INT64_C(1000000);
    for (i = 0; i < SELECTORS; i++)
        (void)asocket_set_deadline(selectors[i], 50);
    run(&c);
    end_of_all();
    must(descriptors() == before);
    return 0;
}
