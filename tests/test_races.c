/* What another thread does in the one moment that matters: between the loop's last look for work and
   its wait. The loop reads the clock there, when a timer runs: the test stands in for the clock, and
   is the other thread. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif
#include <time.h>

#define SEAM_clock_gettime , my_clock_gettime
static int my_clock_gettime(clockid_t clock, struct timespec *now);
#include "private.h"

#include <pthread.h>

static asocket_selector *selector;

/* --- the seam --------------------------------------------------------------------------------- */

static void (*meanwhile)(void); /* to be done when the clock is read next, once */

static int my_clock_gettime(clockid_t clock, struct timespec *now)
{
    void (*function)(void) = meanwhile;

    meanwhile = NULL;
    if (function)
        function();
    return clock_gettime(clock, now);
}

/* --- what must not be slept over -------------------------------------------------------------- */

enum { LONG = 5000 }; /* ms, of the timer that runs */

static int64_t posted_at, noticed_at;

static void note(asocket_selector *owner, void *argument)
{
    (void)argument;
    noticed_at = test_clock();
    asocket_stop(owner); /* what was waited for has come */
}

static void post_now(void)
{
    posted_at = test_clock();
    asocket_post(selector, note, NULL);
}

static void stop_now(void)
{
    posted_at = noticed_at = test_clock();
    asocket_stop(selector);
}

static void do_it_next(asocket_selector *owner, void *argument)
{
    (void)owner;
    meanwhile = argument ? stop_now : post_now;
}

/* The wake-up before this one came while the loop waited: it has been seen, and its mark is left. */
static void *wake_the_loop(void *argument)
{
    const struct timespec moment = {0, 20000000};

    nanosleep(&moment, NULL);
    asocket_post(selector, do_it_next, argument);
    return NULL;
}

static void check(bool stops, const char *what)
{
    static char yes[] = "yes";
    pthread_t thread;

    posted_at = noticed_at = 0;
    if (pthread_create(&thread, NULL, wake_the_loop, stops ? yes : NULL)) {
        ok(false, "a thread");
        return;
    }
    is_status(asocket_sleep(selector, LONG), ASOCKET_ECANCELED, "P11: %s before the wait ends it",
              what);
    ok(posted_at && noticed_at && test_took(posted_at, 0, LONG / 5), "P11: at once");
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    check(false, "a post");
    check(true, "a stop");
    return test_end(selector);
}
