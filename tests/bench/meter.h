/* meter.h - what the measuring programs share: clocks, the server's CPU time, its memory, its
   system calls, and a histogram of latencies. Independent of the library under test. */
#ifndef METER_H
#define METER_H

#include "bench.h"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>

static inline uint64_t nanoseconds(clockid_t clock)
{
    struct timespec time;

    if (clock_gettime(clock, &time) < 0)
        fail("clock_gettime: is the server still running?");
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static inline uint64_t now(void)
{
    return nanoseconds(CLOCK_MONOTONIC);
}

static inline void pause_ms(long ms)
{
    struct timespec time;

    time.tv_sec = ms / 1000;
    time.tv_nsec = ms % 1000 * 1000000;
    while (nanosleep(&time, &time) < 0 && errno == EINTR)
        continue;
}

/* Connects from one of 64 loopback addresses: with one alone, connections by the ten thousand and
   the ports a storm leaves in TIME_WAIT make the kernel search for a free one, or find none. */
static inline void bind_source(int descriptor, unsigned number)
{
    struct sockaddr_in source = loopback(0);
    int one = 1;

    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 256 + number % 64);
    setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(descriptor, (struct sockaddr *)&source, sizeof source) < 0)
        fail("bind");
}

/* User and system time of another process, to the nanosecond; /proc/PID/stat counts in ticks. */
static inline clockid_t cpu_clock_of(pid_t pid)
{
    clockid_t clock;

    errno = clock_getcpuclockid(pid, &clock);
    if (errno != 0)
        fail("clock_getcpuclockid");
    return clock;
}

/* A field of /proc/PID/FILE in KiB, -1 when there is none. smaps_rollup counts pages; the RSS in
   statm is off by what each processor has not added up yet. */
static inline long proc_kib(pid_t pid, const char *file, const char *field)
{
    char path[64], line[256];
    long kib = -1;
    FILE *stream;

    snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, file);
    stream = fopen(path, "r");
    if (!stream)
        return -1;
    while (kib < 0 && fgets(line, sizeof line, stream)) {
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtol(line + strlen(field), NULL, 10);
    }
    fclose(stream);
    return kib;
}

static inline long resident_kib(pid_t pid)
{
    long kib = proc_kib(pid, "smaps_rollup", "Rss:");

    return kib >= 0 ? kib : proc_kib(pid, "status", "VmRSS:");
}

/* --- system calls ------------------------------------------------------------------------------
   Counted by the kernel's tracepoints, live: a tracer that stops the server at each call would slow
   it so much that every wait finds more connections ready, and the count would flatter. */

#define ALL_CALLS  ""
#define SEND_CALLS "id == %d || id == %d || id == %d || id == %d || id == %d"

static inline long tracepoint_id(const char *name)
{
    const char *const roots[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};
    char path[128];
    long id = -1;
    size_t i;

    for (i = 0; i < sizeof roots / sizeof *roots && id < 0; i++) {
        FILE *stream;

        snprintf(path, sizeof path, "%s/events/raw_syscalls/%s/id", roots[i], name);
        stream = fopen(path, "r");
        if (!stream)
            continue;
        if (fscanf(stream, "%ld", &id) != 1)
            id = -1;
        fclose(stream);
    }
    return id;
}

/* A descriptor that counts the tracepoint's hits in the process, or -1 and errno. */
static inline int count_tracepoint(pid_t pid, const char *name, const char *filter)
{
    struct perf_event_attr attributes;
    long id = tracepoint_id(name);
    int counter;

    memset(&attributes, 0, sizeof attributes);
    attributes.type = PERF_TYPE_TRACEPOINT;
    attributes.size = sizeof attributes;
    attributes.config = (uint64_t)id;
    if (id < 0) {
        errno = ENOENT;
        return -1;
    }
    counter = (int)syscall(SYS_perf_event_open, &attributes, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (counter < 0 || *filter == '\0')
        return counter;
    if (ioctl(counter, PERF_EVENT_IOC_SET_FILTER, filter) == 0)
        return counter;
    close(counter);
    return -1;
}

static inline int count_calls(pid_t pid)
{
    return count_tracepoint(pid, "sys_enter", ALL_CALLS);
}

static inline int count_sends(pid_t pid)
{
    char filter[128];

    snprintf(filter, sizeof filter, SEND_CALLS, SYS_sendto, SYS_sendmsg, SYS_sendmmsg, SYS_write,
             SYS_writev);
    return count_tracepoint(pid, "sys_enter", filter);
}

static inline int count_failed_accepts(pid_t pid)
{
    char filter[128];

    snprintf(filter, sizeof filter, "id == %d && ret == %d", SYS_accept4, -EMFILE);
    return count_tracepoint(pid, "sys_exit", filter);
}

static inline uint64_t counter_value(int counter)
{
    uint64_t value = 0;

    if (counter >= 0 && read(counter, &value, sizeof value) != (ssize_t)sizeof value)
        fail("perf counter");
    return value;
}

/* --- slices: what a load notes at the beginning and at the end of each --- */

struct snapshot {
    uint64_t time, cpu, requests, calls, sends;
};

static inline struct snapshot take_snapshot(clockid_t clock, uint64_t requests, int calls,
                                            int sends)
{
    struct snapshot snapshot;

    snapshot.time = now();
    snapshot.cpu = nanoseconds(clock);
    snapshot.requests = requests;
    snapshot.calls = counter_value(calls);
    snapshot.sends = counter_value(sends);
    return snapshot;
}

/* --- latencies: buckets 1/64 of a power of two wide, so percentiles are within 1.6 % --- */

enum { FINE_BITS = 6, FINE = 1 << FINE_BITS, BUCKETS = FINE * 48 };

struct histogram {
    uint64_t total;
    uint32_t counts[BUCKETS];
};

static inline size_t bucket_of(uint64_t value)
{
    unsigned shift = 0;

    while ((value >> shift) >= 2 * FINE)
        shift++;
    return shift * (size_t)FINE + (size_t)(value >> shift);
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
    size_t bucket = bucket_of(value);

    histogram->counts[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    histogram->total++;
}

static inline uint64_t value_of(size_t bucket)
{
    size_t shift = bucket < 2 * FINE ? 0 : bucket / FINE - 1;

    return (uint64_t)(bucket - shift * FINE) << shift;
}

static inline uint64_t percentile(const struct histogram *histogram, unsigned percent)
{
    uint64_t wanted = (histogram->total * percent + 99) / 100, seen = 0;
    size_t i;

    if (histogram->total == 0)
        return 0;
    for (i = 0; i < BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen >= wanted)
            break;
    }
    return value_of(i);
}

/* The line that a load prints of a slice. */
static inline void print_slice(long server, unsigned round, pid_t pid,
                               const struct histogram *latencies, const struct snapshot *a,
                               const struct snapshot *b, bool counted)
{
    printf("server=%ld round=%u requests=%llu wall_ns=%llu cpu_ns=%llu", server, round,
           (unsigned long long)(b->requests - a->requests), (unsigned long long)(b->time - a->time),
           (unsigned long long)(b->cpu - a->cpu));
    printf(" calls=%lld sends=%lld", counted ? (long long)(b->calls - a->calls) : -1,
           counted ? (long long)(b->sends - a->sends) : -1);
    printf(" p50_ns=%llu p99_ns=%llu rss_kib=%ld\n", (unsigned long long)percentile(latencies, 50),
           (unsigned long long)percentile(latencies, 99), resident_kib(pid));
}

#endif
