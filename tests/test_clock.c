/* The clock: which one it is, and what happens when it jumps, as it may while a machine sleeps, or
   when it goes in steps. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif
#include <time.h>

#define SEAM_clock_gettime , my_clock_gettime
static int my_clock_gettime(clockid_t clock, struct timespec *now);
#include "private.h"

static asocket_selector *selector;

/* --- the seam --------------------------------------------------------------------------------- */

static int64_t ahead;     /* seconds that it has jumped */
static long step = 1;     /* ns in which it goes */
static int asked, others; /* how often, and for another clock than the monotonic one */

static int my_clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = clock_gettime(clock, now);

    asked++;
    others += clock != CLOCK_MONOTONIC;
    now->tv_sec += (time_t)ahead;
    now->tv_nsec -= now->tv_nsec % step;
    return result;
}

/* --- what wakes ------------------------------------------------------------------------------- */

static char order[8];
static int woken;

typedef struct sleeper {
    int64_t ms;
    char name;
    int status;
} sleeper;

static void sleep_long(asocket_selector *owner, void *argument)
{
    sleeper *own = (sleeper *)argument;

    own->status = asocket_sleep(owner, own->ms);
    order[woken++] = own->name;
}

static void wait_for_bytes(asocket_selector *owner, void *argument)
{
    sleeper *own = (sleeper *)argument;
    char byte;
    test_pair pair;

    if (!test_pair_open(owner, &pair))
        return;
    asocket_set_timeout(pair.socket, own->ms);
    own->status = (int)asocket_read(asocket_open_read_channel(pair.socket), &byte, 1);
    order[woken++] = own->name;
    test_pair_close(&pair);
}

enum { HOUR = 3600 };

/* Timers that were due long ago are late, but none is forgotten, and none else fires. */
static void a_machine_slept(void)
{
    sleeper sleepers[] = {{2 * HOUR * 1000, 'b', 1},
                          {1 * HOUR * 1000, 'a', 1},
                          {3 * HOUR * 1000, 'd', 1},
                          {2 * HOUR * 1000 + 60000, 'c', 1}};
    int64_t start = test_clock();
    asocket_job last;

    asocket_launch(selector, sleep_long, &sleepers[0]);
    asocket_launch(selector, sleep_long, &sleepers[1]);
    last = asocket_launch(selector, sleep_long, &sleepers[2]);
    asocket_launch(selector, wait_for_bytes, &sleepers[3]);
    asocket_sleep(selector, 5);
    is_int(woken, 0, "nobody wakes early");
    ahead += 2 * HOUR + 1800;
    asocket_sleep(selector, 5);
    is_str(order, "abc", "P11: after a jump of the clock who is due wakes, in order, nobody else");
    ok(sleepers[0].status == ASOCKET_OK && sleepers[3].status == ASOCKET_ETIMEDOUT,
       "P7: a sleep is over, a wait has timed out");
    ahead += HOUR;
    asocket_join(selector, last);
    is_str(order, "abcd", "P11: the last one after the next");
    ok(test_took(start, 0, 500), "and at once");
}

/* A close that lingers, and a peer that does not end its side. */
static void a_close_is_over(void)
{
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    asocket_close(pair.socket);
    asocket_sleep(selector, 5);
    ahead += HOUR;
    is_status(asocket_await_closed(pair.socket), ASOCKET_OK,
              "P2: a close that lingered is over after a jump");
    test_pair_close(&pair);
}

/* As clocks of some systems and virtual machines do. */
static void in_steps(void)
{
    int64_t start = test_clock();
    asocket_statistics facts = {0};
    uint64_t before;

    asocket_stats(selector, &facts);
    before = facts.turns;
    step = 16 * 1000 * 1000;
    is_status(asocket_sleep(selector, 100), ASOCKET_OK, "a sleep by a clock that goes in steps");
    step = 1;
    asocket_stats(selector, &facts);
    ok(test_took(start, 80, 200), "takes its time");
    ok(facts.turns - before < 40, "P11: without spinning (%d turns)", (int)(facts.turns - before));
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    a_machine_slept();
    a_close_is_over();
    in_steps();
    asocket_set_deadline(selector, 10);
    is_status(asocket_sleep(selector, 60000), ASOCKET_ETIMEDOUT, "a deadline");
    asocket_set_deadline(selector, ASOCKET_FOREVER);
    ok(asked > 20, "it was asked for the time, %d times", asked);
    is_int(others, 0, "P11: timers run on the monotonic clock");
    return test_end(selector);
}
