/* P14 where the kernel has no guards without mappings, or no mappings left: what is not guarded is
   counted, and used all the same. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#define SEAM_madvise  , my_madvise
#define SEAM_mprotect , my_mprotect
static int my_madvise(void *page, size_t size, int advice);
static int my_mprotect(void *page, size_t size, int protection);
#include "private.h"

static asocket_selector *selector;

/* --- the seam --------------------------------------------------------------------------------- */

enum { GUARD_INSTALL = 102, MANY = 1000000 };
static int left = MANY, asked; /* mappings that are to be had, and that were asked for */

static int my_madvise(void *page, size_t size, int advice)
{
    if (advice != GUARD_INSTALL)
        return madvise(page, size, advice);
    errno = EINVAL; /* Linux before 6.13 */
    return -1;
}

static int my_mprotect(void *page, size_t size, int protection)
{
    asked++;
    if (left-- > 0)
        return mprotect(page, size, protection);
    errno = ENOMEM;
    return -1;
}

/* --- a crowd ---------------------------------------------------------------------------------- */

enum { CROWD = 30 };
static int ran;

static void run(asocket_selector *owner, void *argument)
{
    volatile char room[8192]; /* it has its whole stack */

    (void)argument;
    room[0] = room[sizeof room - 1] = 1;
    ran += asocket_sleep(owner, 1) == ASOCKET_OK && room[0] == room[sizeof room - 1];
}

static uint64_t unguarded(void)
{
    asocket_statistics statistics = {0};

    asocket_stats(selector, &statistics);
    return statistics.unguarded_stacks;
}

/* Launches a crowd on new stacks, of which so many have a guard. */
static void check(int guarded, const char *why)
{
    int launched = 0, i;

    ran = asked = 0;
    for (i = 0; i < CROWD; i++)
        launched += asocket_launch(selector, run, NULL) != 0;
    is_int(launched, CROWD, "P14: %s: all are launched", why);
    is_int((int64_t)unguarded(), CROWD - guarded, "P14: %s: those without a guard are counted",
           why);
    asocket_join_all(selector);
    is_int(ran, CROWD, "P14: %s: and all run", why);
}

/* vm.max_map_count is 65,530, and a guard costs two. */
static bool mappings_are_limited(void)
{
#ifdef __linux__
    return true;
#else
    return false;
#endif
}

static asocket_selector *a_new_one(int backend)
{
    return test_selector_closing(backend, 0);
}

int main(int argc, char **argv)
{
    int backend = test_backend(argc, argv);

    (void)my_madvise; /* which nobody calls but on Linux */
    selector = a_new_one(backend);
    check(CROWD, "guards by mprotect");
    is_int(asked, CROWD, "each is a call");
    asocket_selector_destroy(selector);

    selector = a_new_one(backend);
    left = 10;
    check(10, "no mappings left");
    asocket_selector_destroy(selector);

    selector = a_new_one(backend);
    left = MANY;
    if (!mappings_are_limited()) {
        skip(5, "only Linux limits mappings");
        return test_end(selector);
    }
    ok(2 * (int64_t)ASOCKET__MPROTECT_GUARDS < 65530 / 2, "P14: half of all mappings are left");
    selector->guards = ASOCKET__MPROTECT_GUARDS - 5;
    check(5, "a program's mappings are not all ours");
    is_int(asked, 5, "no more are asked for");
    selector->guards = 5;
    return test_end(selector);
}
