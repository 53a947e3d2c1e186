/* micro.c - what coroutines cost. A bare switch from one stack to another, by the library's own
   function: what the figures of context-switch libraries mean by a switch. And on the public face
   of asocket.h: a yield between two, which is two switches and the scheduler between them, a launch
   with its finish, and a hundred thousand asleep. Times are CPU time of this thread, the best of
   several runs, because everything that disturbs only adds.

   usage: micro [SLEEPERS]
   Prints one "name=value" per line. */
#include "meter.h"

#define ASOCKET_IMPLEMENTATION
#include "../../asocket.h"

enum {
    RUNS = 7,
    SWITCHES = 4000000,
    YIELDS = 2000000,
    LAUNCHES = 1000000,
    FAMILY = 16,
    MANY = 100
};

static long sleepers = 100000;
static long woken;

static void check(long long status, const char *what)
{
    if (status >= 0)
        return;
    fprintf(stderr, "micro: %s: %s\n", what, asocket_strerror((int)status));
    exit(1);
}

static uint64_t cpu_time(void)
{
    return nanoseconds(CLOCK_THREAD_CPUTIME_ID);
}

static bool switched_enough;

/* Goes back to the loop's stack whenever it is switched to. */
static void switch_back(asocket_selector *selector, void *argument)
{
    asocket__task *task = *(asocket__task **)argument;

    while (!switched_enough)
        asocket__switch_to(selector->outside, task, false);
}

/* Nanoseconds from one stack to another. The coroutine stays in the queue of the ready while it is
   switched to past the scheduler, which then finds it there and lets it end. */
static double time_switches(asocket_selector *selector)
{
    asocket__task *task;
    uint64_t time;
    long i;

    check(asocket_launch(selector, switch_back, &task) ? 0 : asocket_error(selector), "launch");
    task = ASOCKET__OF(asocket__task, link, selector->ready.next);
    switched_enough = false;
    time = cpu_time();
    for (i = 0; i < SWITCHES; i++)
        asocket__switch_to(task, selector->outside, false);
    time = cpu_time() - time;
    switched_enough = true;
    check(asocket_run(selector), "run");
    return (double)time / (2.0 * SWITCHES);
}

static void yield_many(asocket_selector *selector, void *argument)
{
    long count = *(const long *)argument;

    while (count-- > 0)
        asocket_yield(selector);
}

/* Nanoseconds per yield when so many coroutines do nothing else, in turn. */
static double time_yields(asocket_selector *selector, int coroutines)
{
    long each = YIELDS / coroutines;
    uint64_t time = cpu_time();
    int i;

    for (i = 0; i < coroutines; i++)
        check(asocket_launch(selector, yield_many, &each) ? 0 : asocket_error(selector), "launch");
    check(asocket_run(selector), "run");
    time = cpu_time() - time;
    return (double)time / (double)(each * coroutines);
}

static void do_nothing(asocket_selector *selector, void *argument)
{
    (void)selector;
    (void)argument;
}

/* Sixteen at a time, so that launching is measured and not the parent's waiting; the stacks come
   from the pool after the first round. */
static void launch_many(asocket_selector *selector, void *argument)
{
    long i, rounds = LAUNCHES / FAMILY;
    int j;

    (void)argument;
    while (rounds-- > 0) {
        for (j = 0; j < FAMILY; j++)
            asocket_launch(selector, do_nothing, NULL);
        i = asocket_join_all(selector);
        check(i, "join_all");
    }
}

static double time_launches(asocket_selector *selector)
{
    uint64_t time = cpu_time();

    check(asocket_launch(selector, launch_many, NULL) ? 0 : asocket_error(selector), "launch");
    check(asocket_run(selector), "run");
    return (double)(cpu_time() - time) / (double)(LAUNCHES / FAMILY * FAMILY);
}

static void best_of(const char *name, double (*measure)(asocket_selector *))
{
    double best = 1e9;
    int i;

    for (i = 0; i < RUNS; i++) {
        asocket_selector *selector = asocket_selector_create(NULL);
        double time = measure(selector);

        if (time < best)
            best = time;
        asocket_selector_destroy(selector);
    }
    printf("%s=%.2f\n", name, best);
    fflush(stdout);
}

static double two_yield(asocket_selector *selector)
{
    return time_yields(selector, 2);
}

static double many_yield(asocket_selector *selector)
{
    return time_yields(selector, MANY);
}

static void sleep_long(asocket_selector *selector, void *argument)
{
    (void)argument;
    if (asocket_sleep(selector, 600000) == ASOCKET_ECANCELED)
        woken++;
}

static void report_sleepers(asocket_selector *selector, uint64_t launched, long resident)
{
    asocket_statistics statistics;

    check(asocket_stats(selector, &statistics), "stats");
    printf("sleepers=%llu\n", (unsigned long long)statistics.coroutines - 1);
    printf("sleepers_launch_ns=%.0f\n", (double)launched / (double)sleepers);
    printf("sleepers_rss_bytes=%.0f\n", (double)resident * 1024.0 / (double)sleepers);
    printf("stacks=%llu\n", (unsigned long long)statistics.stacks);
    printf("unguarded_stacks=%llu\n", (unsigned long long)statistics.unguarded_stacks);
}

/* Runs as a coroutine, the parent of all, so that one cancel wakes them. */
static void hold_sleepers(asocket_selector *selector, void *argument)
{
    long i, resident = resident_kib(getpid());
    uint64_t time = cpu_time();

    (void)argument;
    for (i = 0; i < sleepers; i++) {
        if (!asocket_launch(selector, sleep_long, NULL))
            break;
    }
    check(asocket_sleep(selector, 1), "sleep"); /* until all of them sleep */
    time = cpu_time() - time;
    report_sleepers(selector, time, resident_kib(getpid()) - resident);
    time = cpu_time();
    check(asocket_cancel_all(selector), "cancel_all");
    check(asocket_join_all(selector), "join_all");
    printf("sleepers_cancel_ns=%.0f\n", (double)(cpu_time() - time) / (double)sleepers);
}

static void measure_sleepers(void)
{
    asocket_selector *selector = asocket_selector_create(NULL);

    check(asocket_launch(selector, hold_sleepers, NULL) ? 0 : asocket_error(selector), "launch");
    check(asocket_run(selector), "run");
    printf("sleepers_woken=%ld\n", woken);
    asocket_selector_destroy(selector);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        sleepers = strtol(argv[1], NULL, 10);
    best_of("switch_ns", time_switches);
    best_of("yield_ns", two_yield);
    best_of("yield_of_100_ns", many_yield);
    best_of("launch_finish_ns", time_launches);
    measure_sleepers();
    return 0;
}
