/* swarm.h - many faults at random in one run, all of which follow from a number, its seed.

   Of a seed are drawn: a scenario, and others beside it, each in a coroutine; how often they are
   played; how many calls are left alone first; and for each group of functions two rates, most of them zero: how many of a thousand calls fail
   with what nobody may notice (interrupted, short, not yet), and with what a caller may be told. A
   third of the seeds have only the former: there everything must succeed all the same. That some
   groups are left out is what lets a run come far enough to meet the others. */
#ifndef SWARM_H
#define SWARM_H

#include "scenarios.h"

enum { SWARM_CROWD = 4 };

typedef struct swarm {
    seam_swarm plan;
    const struct scenario *scenarios[SWARM_CROWD];
    int count, plays;
    bool strict; /* there is nothing that anybody may notice */
    char text[400];
    int names; /* how much of it are the names of the scenarios */
} swarm;

static const char *const swarm_groups[] = {
    "memory: malloc realloc mmap munmap mprotect madvise ",
    "opening: socket accept4 epoll_create1 eventfd kqueue pipe2 fcntl ",
    "connecting: bind listen connect if_nametoindex ",
    "options: getsockopt setsockopt getsockname getpeername sysconf ",
    "receiving: recv recvmsg recvmmsg read ",
    "sending: send sendto sendmsg sendmmsg sendfile write ",
    "closing: close shutdown lstat unlink ",
    "registering: epoll_ctl kevent ",
    "waiting: epoll_wait syscall ppoll nanosleep access ",
    "names: getaddrinfo pthread_create ",
    "files: fstat pread fopen fread fclose opendir readdir ",
    "chance: getentropy clock_gettime time ",
};
enum { SWARM_GROUPS = sizeof swarm_groups / sizeof *swarm_groups };

static int swarm_group_of(int function)
{
    char name[30];
    int i;

    snprintf(name, sizeof name, " %s ", seam_names[function]);
    for (i = 0; i < SWARM_GROUPS && !strstr(swarm_groups[i], name); i++) {
    }
    return i;
}

/* What is wrong with the groups, or NULL. */
static const char *swarm_wrong(void)
{
    int i;

    for (i = 0; i < seam_row_count; i++)
        if (swarm_group_of(seam_rows[i].function) == SWARM_GROUPS)
            return seam_names[seam_rows[i].function];
    return NULL;
}

/* A number below `below`. */
static int swarm_draw(uint64_t *state, int below)
{
    return (int)(seam_mix(++*state) % (uint64_t)below);
}

/* Of a thousand calls; small rates are drawn more often than large ones. */
static int swarm_draw_rate(uint64_t *state, int share)
{
    return swarm_draw(state, share) ? 0 : 20 + swarm_draw(state, 1 + swarm_draw(state, 280));
}

static void swarm_draw_rates(swarm *w, uint64_t *state)
{
    int share = 1 + swarm_draw(state, 3);      /* one of so many groups fails */
    int rarer = 1 << swarm_draw(state, 3) * 2; /* what ends a scenario: it shall come far, too */
    size_t length = strlen(w->text);
    int rates[SWARM_GROUPS + 1][2] = {{0, 0}}, i;

    for (i = 0; i < SWARM_GROUPS; i++) {
        rates[i][0] = swarm_draw_rate(state, share);
        rates[i][1] = w->strict ? 0 : swarm_draw_rate(state, share) / rarer;
        if (rates[i][0] + rates[i][1] && length < sizeof w->text)
            length += (size_t)snprintf(w->text + length, sizeof w->text - length, ", %.*s %d+%d",
                                       (int)strcspn(swarm_groups[i], ":"), swarm_groups[i],
                                       rates[i][0], rates[i][1]);
    }
    for (i = 0; i < SEAM_COUNT; i++)
        memcpy(w->plan.rates[i], rates[swarm_group_of(i)], sizeof rates[0]);
}

static const struct scenario *swarm_draw_scenario(uint64_t *state)
{
    const struct scenario *drawn;

    do
        drawn = &scenarios[swarm_draw(state, SCENARIO_COUNT)];
    while (drawn->traits & DEAR && swarm_draw(state, 3));
    return drawn;
}

/* Others that can be played at the same time. */
static void swarm_draw_company(swarm *w, uint64_t *state)
{
    int taken = w->scenarios[0]->traits, tries, i;

    for (tries = swarm_draw(state, 6); tries > 0 && w->count < SWARM_CROWD; tries--) {
        const struct scenario *other = swarm_draw_scenario(state);

        for (i = 0; i < w->count && w->scenarios[i] != other; i++) {
        }
        if (i < w->count || !(taken & other->traits & SOCIAL) || taken & other->traits & ALONE)
            continue;
        w->scenarios[w->count++] = other;
        taken |= other->traits;
    }
}

/* What a seed stands for; `only`, if not NULL, is the scenario. */
static void swarm_of(uint64_t seed, const struct scenario *only, swarm *w)
{
    uint64_t state = seam_mix(seed);
    size_t length = 0;
    int i;

    memset(w, 0, sizeof *w);
    w->plan.seed = seed;
    w->scenarios[0] = swarm_draw_scenario(&state);
    if (only)
        w->scenarios[0] = only;
    w->count = 1;
    if (swarm_draw(&state, 2))
        swarm_draw_company(w, &state);
    w->plays = 1 + swarm_draw(&state, 1 + swarm_draw(&state, 6));
    w->strict = !swarm_draw(&state, 3);
    if (swarm_draw(&state, 2))
        w->plan.from = swarm_draw(&state, 1 << swarm_draw(&state, 9));
    for (i = 0; i < w->count; i++)
        length += (size_t)snprintf(w->text + length, sizeof w->text - length, "%s%s", i ? "+" : "",
                                   w->scenarios[i]->name);
    w->names = (int)length;
    (void)snprintf(w->text + length, sizeof w->text - length, ", %d times, from call %ld on",
                   w->plays, w->plan.from);
    swarm_draw_rates(w, &state);
}

#endif
