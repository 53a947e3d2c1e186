/* Four threads post, selectors come and go: each function runs exactly once, in the order of its
   thread, whoever runs it. TEST_POSTS: how many in all. */
#include "test.h"

#include <pthread.h>
#include <sched.h>

enum { PRODUCERS = 4, ROUNDS = 10 };

static int backend;

/* --- a round ---------------------------------------------------------------------------------- */

typedef struct producer {
    pthread_t thread;
    struct post_office *office;
    uintptr_t next; /* the number that must come next */
} producer;

typedef struct post_office {
    asocket_selector *selector;
    producer producers[PRODUCERS];
    uintptr_t each;
    long ran, wrong;
    int failed;
} post_office;

static post_office office; /* what runs knows its number only */

static void take(asocket_selector *owner, void *argument)
{
    uintptr_t number = (uintptr_t)argument;
    producer *from = &office.producers[number % PRODUCERS];

    if (number / PRODUCERS != from->next || owner != office.selector)
        office.wrong++;
    from->next = number / PRODUCERS + 1;
    if (++office.ran == (long)office.each * PRODUCERS)
        asocket_stop(owner);
}

static void *produce(void *argument)
{
    uintptr_t mine = (uintptr_t)((producer *)argument - office.producers), i;

    for (i = 0; i < office.each; i++)
        if (asocket_post(office.selector, take, (void *)(i * PRODUCERS + mine)) != ASOCKET_OK)
            __atomic_add_fetch(&office.failed, 1, __ATOMIC_RELAXED);
    return NULL;
}

static int64_t close_timeout; /* of the next selectors */

static void open_office(test_memory *memory, long count)
{
    asocket_selector_options options;

    memset(&office, 0, sizeof office);
    memset(memory, 0, sizeof *memory);
    memset(&options, 0, sizeof options);
    options.backend = backend;
    options.close_timeout = close_timeout;
    options.allocator = test_allocator(memory);
    office.selector = asocket_selector_create(&options);
    office.each = (uintptr_t)(count / PRODUCERS);
}

static void start_producers(void)
{
    int i;

    for (i = 0; i < PRODUCERS; i++)
        pthread_create(&office.producers[i].thread, NULL, produce, &office.producers[i]);
}

static void join_producers(void)
{
    int i;

    for (i = 0; i < PRODUCERS; i++)
        pthread_join(office.producers[i].thread, NULL);
}

/* The selector waits without a time-out: a wake-up that is lost hangs it. */
static void run_meanwhile(void)
{
    start_producers();
    asocket_sleep(office.selector, ASOCKET_FOREVER);
    join_producers();
}

/* The selector looks in from time to time, and is destroyed with most of it undone. */
static void run_at_the_end(void)
{
    start_producers();
    asocket_poll(office.selector, 1);
    asocket_poll(office.selector, 0);
    join_producers();
}

/* Woken by the end of the selector, and keeps it from ending before the threads have. */
static void outlive_producers(asocket_selector *owner, void *argument)
{
    (void)argument;
    if (asocket_sleep(owner, ASOCKET_FOREVER) != ASOCKET_ECANCELED)
        office.wrong++;
    join_producers();
}

/* Threads go on posting while the selector is destroyed. */
static void run_into_the_end(void)
{
    asocket_launch(office.selector, outlive_producers, NULL);
    asocket_poll(office.selector, 0);
    start_producers();
    asocket_poll(office.selector, 0);
    asocket_poll(office.selector, 0);
    asocket_selector_destroy(office.selector);
    office.selector = NULL;
}

static bool round_is_right(const test_memory *memory)
{
    return office.ran == (long)office.each * PRODUCERS && !office.wrong && !office.failed &&
           !memory->bytes && !memory->wrong_sizes;
}

static void rounds(long count, void (*run)(void), const char *how)
{
    long ran = 0;
    int right = 0, i;

    for (i = 0; i < ROUNDS; i++) {
        test_memory memory;

        open_office(&memory, count / ROUNDS);
        run();
        asocket_selector_destroy(office.selector);
        right += round_is_right(&memory);
        ran += office.ran;
    }
    ok(ran >= count / 2, "%ld functions ran, %s", ran, how);
    is_int(right, ROUNDS, "each once, in the order of its thread; %d selectors, %s", ROUNDS, how);
}

/* --- on one processor ------------------------------------------------------------------------- */

#ifdef __linux__

static bool only_one_processor(cpu_set_t *former)
{
    cpu_set_t one;
    size_t i = 0;

    if (sched_getaffinity(0, sizeof *former, former) < 0)
        return false;
    while (!CPU_ISSET(i, former))
        i++;
    CPU_ZERO(&one);
    CPU_SET(i, &one);
    return sched_setaffinity(0, sizeof one, &one) == 0;
}

static void on_one_processor(long count)
{
    cpu_set_t former;

    if (!only_one_processor(&former)) {
        skip(2, "threads cannot be kept on one processor here");
        return;
    }
    rounds(count, run_meanwhile, "all threads on one processor");
    sched_setaffinity(0, sizeof former, &former);
}

#else

static void on_one_processor(long count)
{
    (void)count;
    skip(2, "threads cannot be kept on one processor here");
}

#endif

/* ---------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    const char *text = getenv("TEST_POSTS");
    int slowness = test_slowness();
    long count = text ? atol(text) : 400000 / (slowness * slowness);
    asocket_selector *selector = test_selector(argc, argv);

    backend = test_backend(argc, argv);
    rounds(count / 8 * 3, run_meanwhile, "while the selector waits for them");
    rounds(count / 8, run_at_the_end, "most of them while it is destroyed");
    rounds(count / 8, run_into_the_end, "and threads go on while it is");
    close_timeout = 1;
    rounds(count / 8, run_into_the_end, "also when there is no time for that");
    close_timeout = 0;
    on_one_processor(count / 4);
    return test_end(selector);
}
