/* Stacks: an overflow stops in a guard page, also among 100,000; they are reused, given back, and
   aligned as the processor's conventions ask for. */
#include "test.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

static asocket_selector *selector;
static int backend;

static const char *crowded = "so many stacks are too much for a checker";

static bool slow(void)
{
    return test_slowness() > 1;
}

static asocket_statistics statistics(void)
{
    asocket_statistics now;

    memset(&now, 0, sizeof now);
    asocket_stats(selector, &now);
    return now;
}

/* Bytes of memory that the process really has. */
static int64_t resident(void)
{
    long long total = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (!file || fscanf(file, "%lld %lld", &total, &pages) != 2)
        pages = 0;
    if (file)
        fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Whether the system has guard pages that cost no mapping (Linux 6.13). */
static bool has_light_guards(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool has = page != MAP_FAILED && madvise(page, size, 102) == 0;

    if (page != MAP_FAILED)
        munmap(page, size);
    return has;
}

/* --- overflow --------------------------------------------------------------------------------- */

/* Touches every page on its way down. */
__attribute__((noinline)) static int recurse(int depth)
{
    volatile char local[512];
    int sum = depth;

    local[0] = local[511] = (char)depth;
    if (depth > 0)
        sum += recurse(depth - 1);
    return sum + local[0] + local[511];
}

static void overflow(asocket_selector *owner, void *argument)
{
    (void)owner;
    *(int *)argument = recurse(1000000);
}

/* Calls it in a process of its own: the signal that ended it, 0 if it survived. */
static int signal_that_ends(void (*function)(void *argument), void *argument)
{
    static const struct rlimit no_core = {0, 0};
    int status = 0;
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        function(argument);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* In the selector of a child: a process does not inherit one. */
static asocket_selector *selector_of_child(size_t stack_size)
{
    asocket_selector_options options;

    memset(&options, 0, sizeof options);
    options.backend = backend;
    options.stack_size = stack_size;
    return asocket_selector_create(&options);
}

static void overflow_beside(void *argument)
{
    asocket_selector *own = selector_of_child(*(size_t *)argument);
    int result[3];

    asocket_launch(own, overflow, &result[0]);
    asocket_launch(own, overflow, &result[1]);
    asocket_launch(own, overflow, &result[2]);
    asocket_run(own);
}

static void overflow_stops(void)
{
    static const size_t sizes[] = {0, 1, 16384, 20000, 262144, 1 << 20};
    size_t i;

    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i];

        is_int(signal_that_ends(overflow_beside, &size), SIGSEGV,
               "P14: a stack overflow ends in a guard page, size %d", (int)size);
    }
}

/* --- how deep a stack is ---------------------------------------------------------------------- */

typedef struct dive {
    int bytes; /* to use */
    int result;
} dive;

static void use_bytes(asocket_selector *owner, void *argument)
{
    dive *own = (dive *)argument;

    own->result = recurse(own->bytes / 1024);
    asocket_yield(owner);
}

static void check_depth(size_t stack_size, int bytes)
{
    asocket_selector_options options;
    asocket_selector *own;
    dive one, other;

    memset(&options, 0, sizeof options);
    options.backend = backend;
    options.stack_size = stack_size;
    own = test_selector_with(options);
    one.bytes = other.bytes = bytes;
    one.result = other.result = 0;
    asocket_launch(own, use_bytes, &one);
    asocket_launch(own, use_bytes, &other);
    asocket_run(own);
    ok(one.result != 0 && one.result == other.result, "of a stack of %d bytes %d can be used",
       (int)stack_size, bytes);
    asocket_selector_destroy(own);
}

/* --- alignment -------------------------------------------------------------------------------- */

typedef struct alignment {
    uintptr_t sixteen, real;
    char text[64];
} alignment;

__attribute__((noinline)) static void escape(void *pointer, uintptr_t *place)
{
    *place = (uintptr_t)pointer;
}

/* The compiler relies on the alignment at the entry, for these and for what it spills. */
static void look_at_alignment(asocket_selector *owner, void *argument)
{
    alignment *own = (alignment *)argument;
    __attribute__((aligned(16))) char sixteen[16];
    long double real = 1.25L;

    (void)owner;
    escape(sixteen, &own->sixteen);
    escape(&real, &own->real);
    snprintf(own->text, sizeof own->text, "%.2f %.2Lf %d", 0.5, real, 7);
}

static void stacks_are_aligned(void)
{
    alignment all[3];
    bool aligned = true, printed = true;
    int i;

    memset(all, 0, sizeof all);
    for (i = 0; i < 3; i++)
        asocket_launch(selector, look_at_alignment, &all[i]);
    asocket_run(selector);
    for (i = 0; i < 3; i++) {
        aligned = aligned && all[i].sixteen && all[i].sixteen % 16 == 0 &&
                  all[i].real % __alignof__(long double) == 0;
        printed = printed && strcmp(all[i].text, "0.50 1.25 7") == 0;
    }
#ifdef __TINYC__ /* which aligns no variable to more than its type asks for */
    aligned = all[0].real % __alignof__(long double) == 0;
#endif
    ok(aligned, "a coroutine's stack is aligned to 16 bytes");
    ok(printed, "so that printf with floating point works");
}

/* --- reuse ------------------------------------------------------------------------------------ */

static void nothing(asocket_selector *owner, void *argument)
{
    (void)owner;
    ++*(int *)argument;
}

static void sleep_for_ever(asocket_selector *owner, void *argument)
{
    asocket_sleep(owner, ASOCKET_FOREVER);
    ++*(int *)argument;
}

static void stacks_are_reused(void)
{
    uint64_t before = statistics().stacks;
    int ran = 0, i;

    for (i = 0; i < 1000; i++) {
        asocket_launch(selector, nothing, &ran);
        asocket_run(selector);
    }
    is_int(ran, 1000, "1,000 coroutines run one after another");
    ok(statistics().stacks <= before + 1, "P5: in one stack");
    for (i = 0; i < 1000; i++)
        asocket_launch(selector, nothing, &ran);
    ok(statistics().stacks <= before + 1000, "P5: 1,000 at once have 1,000");
    asocket_run(selector);
    before = statistics().stacks;
    for (i = 0; i < 50; i++)
        asocket_launch(selector, nothing, &ran);
    ok(statistics().stacks <= before + 50, "P5: of which some are kept");
    asocket_run(selector);
    before = statistics().stacks;
    for (i = 0; i < 50; i++)
        asocket_launch(selector, nothing, &ran);
    is_int((int64_t)statistics().stacks, (int64_t)before, "P5: as many as before need no new ones");
    asocket_run(selector);
}

/* --- the crowd -------------------------------------------------------------------------------- */

typedef struct crowd {
    int count, ended;
    asocket_job chosen; /* the 70,000th of 100,000 */
} crowd;

static bool crowd_overflows;

static void sleep_or_overflow(asocket_selector *owner, void *argument)
{
    int result = 0;

    asocket_sleep(owner, ASOCKET_FOREVER);
    if (crowd_overflows)
        overflow(owner, &result);
    ++*(int *)argument;
}

static void launch_crowd(crowd *all)
{
    int i;

    for (i = 0; i < all->count; i++) {
        asocket_job job = asocket_launch(selector, sleep_or_overflow, &all->ended);

        if (i == all->count / 10 * 7)
            all->chosen = job;
    }
    while (asocket_next_timeout(selector) == 0)
        asocket_poll(selector, 0);
}

static void overflow_in_the_crowd(void *argument)
{
    crowd *all = (crowd *)argument;

    selector = selector_of_child(0);
    launch_crowd(all);
    crowd_overflows = true;
    asocket_cancel(selector, all->chosen);
    asocket_run(selector);
}

static void check_guards(int count)
{
    asocket_statistics now = statistics();

    ok(now.stacks >= (uint64_t)count, "P14: each has a stack");
    ok(now.unguarded_stacks <= now.stacks, "P14: those without a guard are counted");
    if (has_light_guards())
        is_int((int64_t)now.unguarded_stacks, 0, "P14: all have a guard page");
    else
        skip(1, "this kernel has no guard pages without mappings");
}

static void overflow_in_a_crowd_stops(int count)
{
    crowd all;

    if (!has_light_guards()) {
        skip(1, "this kernel has no guard pages without mappings");
        return;
    }
    memset(&all, 0, sizeof all);
    all.count = count;
    is_int(signal_that_ends(overflow_in_the_crowd, &all), SIGSEGV,
           "P14: one of %d overflows: that ends in its guard page", count);
}

static void crowd_of(int count)
{
    int64_t before = resident(), grown;
    crowd all;

    memset(&all, 0, sizeof all);
    all.count = count;
    launch_crowd(&all);
    grown = resident() - before;
    is_int((int64_t)statistics().coroutines, count, "%d coroutines sleep at once", count);
    check_guards(count);
    if (!ok(grown < (int64_t)count * 9000, "P5: each has less than 9,000 bytes of memory"))
        diag("%lld bytes each", (long long)(grown / count));
    asocket_cancel_all(selector);
    asocket_run(selector);
    is_int(all.ended, count, "all of them end");
    ok(statistics().stacks <= (uint64_t)count / 100, "P5: most stacks are given back");
    if (!ok(resident() - before < (int64_t)count * 300, "P5: and their memory"))
        diag("%lld bytes of %lld are left", (long long)(resident() - before), (long long)grown);
}

/* A burst while others live: what it took is given back all the same. */
static void burst_beside(void)
{
    asocket_job jobs[200];
    int ended = 0, burst = 0, i;
    uint64_t before;

    for (i = 0; i < 200; i++)
        jobs[i] = asocket_launch(selector, sleep_for_ever, &ended);
    asocket_poll(selector, 0);
    before = statistics().stacks;
    for (i = 0; i < 5000; i++)
        asocket_launch(selector, nothing, &burst);
    asocket_poll(selector, 0);
    while (burst < 5000)
        asocket_poll(selector, 0);
    is_int(burst, 5000, "a burst of 5,000 coroutines beside 200 others");
    ok(statistics().stacks <= before + 1000, "P5: the stacks of the burst are given back");
    for (i = 0; i < 200; i++)
        asocket_cancel(selector, jobs[i]);
    asocket_run(selector);
    is_int(ended, 200, "the others are unharmed");
}

/* --- no memory for a stack -------------------------------------------------------------------- */

static void launch_without_memory(void *argument)
{
    struct rlimit limit = {0, 0};
    int ran = 0, launched = 0, status;

    (void)argument;
    selector = selector_of_child(0);
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = (rlim_t)256 << 20;
    setrlimit(RLIMIT_AS, &limit);
    while (launched < 100000 && asocket_launch(selector, nothing, &ran))
        launched++;
    status = asocket_error(selector);
    asocket_run(selector);
    if (status != ASOCKET_ENOMEM || launched < 100 || ran != launched ||
        !asocket_launch(selector, nothing, &ran))
        kill(getpid(), SIGUSR1);
}

static void no_memory_for_stacks(void)
{
    is_int(signal_that_ends(launch_without_memory, NULL), 0,
           "without memory for a stack a launch is refused, the others run, and later ones too");
}

int main(int argc, char **argv)
{
    backend = test_backend(argc, argv);
    selector = test_selector(argc, argv);
    overflow_stops();
    check_depth(65536, 40000);
    check_depth(1 << 20, 900000);
    check_depth(1, 7000);
    stacks_are_aligned();
    stacks_are_reused();
    burst_beside();
    if (slow()) {
        skip(10, crowded);
    } else {
        int count = sizeof(void *) < 8 ? 10000 : 100000; /* 128 KiB of address space each */

        overflow_in_a_crowd_stops(count);
        crowd_of(count);
        no_memory_for_stacks();
    }
    return test_end(selector);
}
