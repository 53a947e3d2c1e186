/* Coroutines: launching, joining and cancelling them, who is whose child, fairness, what survives a
   switch, deadlines and sleeping, and how they end with their selector. */
#include "test.h"
#ifdef __linux__
#include <sys/epoll.h>
#include <sys/syscall.h>
#endif

static asocket_selector *selector;

/* Whether the checkers run, under which crowds are smaller and nothing is said about CPU time. */
static bool slow(void)
{
    return test_slowness() > 1;
}

/* --- a trace of who ran ----------------------------------------------------------------------- */

static char trace[512];
static size_t traced;

static void forget(void)
{
    traced = 0;
    trace[0] = 0;
}

static void mark(char c)
{
    if (traced + 1 < sizeof trace)
        trace[traced++] = c;
    trace[traced] = 0;
}

/* What most coroutines of this file are given: a name, and room for what they saw. */
typedef struct body {
    char name;
    int64_t ms;
    int status, later;
    int rounds;
    asocket_job job, other;
    asocket *socket;
    bool ended;
} body;

static void mark_name(asocket_selector *owner, void *argument)
{
    (void)owner;
    mark(((body *)argument)->name);
}

/* Waits for ever, and then once more: a cancel must end both. */
static void wait_twice(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    own->status = asocket_sleep(owner, ASOCKET_FOREVER);
    own->later = asocket_sleep(owner, 1);
    own->ended = true;
}

static void sleep_for(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    own->status = asocket_sleep(owner, own->ms);
    own->ended = true;
    mark(own->name);
}

static body body_named(char name, int64_t ms)
{
    body made;

    memset(&made, 0, sizeof made);
    made.name = name;
    made.ms = ms;
    made.status = made.later = 1;
    return made;
}

static uint64_t living(void)
{
    asocket_statistics statistics;

    asocket_stats(selector, &statistics);
    return statistics.coroutines;
}

/* Lets all that is ready go on until it waits. */
static void settle(void)
{
    int i;

    for (i = 0; i < 8; i++)
        asocket_poll(selector, 0);
}

/* --- launching -------------------------------------------------------------------------------- */

static void launch_order(void)
{
    body bodies[3];
    int i;

    forget();
    for (i = 0; i < 3; i++) {
        bodies[i] = body_named((char)('a' + i), 0);
        bodies[i].job = asocket_launch(selector, mark_name, &bodies[i]);
    }
    is_str(trace, "", "a launched coroutine does not run before the caller waits");
    is_int(living(), 3, "it counts as alive");
    ok(bodies[0].job && bodies[1].job && bodies[0].job != bodies[1].job, "each has a job");
    is_status(asocket_run(selector), ASOCKET_OK, "run ends when no coroutine is left");
    is_str(trace, "abc", "P13: coroutines run in the order of their launch, with their argument");
    is_int(living(), 0, "none is alive then");
    is_status(asocket_run(selector), ASOCKET_OK, "run without coroutines ends at once");
}

static void launch_two_more(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    mark('(');
    own->job = asocket_launch(owner, mark_name, own + 1);
    own->other = asocket_launch(owner, mark_name, own + 2);
    mark(')');
}

static void launch_inside(void)
{
    body bodies[4];

    bodies[0] = body_named('-', 0);
    bodies[1] = body_named('b', 0);
    bodies[2] = body_named('c', 0);
    bodies[3] = body_named('a', 0);
    forget();
    asocket_launch(selector, launch_two_more, bodies);
    asocket_launch(selector, mark_name, &bodies[3]);
    asocket_run(selector);
    is_str(trace, "()abc", "P13: children run when their parent waits, after those already ready");
}

static void note_current(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    own->other = asocket_current(owner);
    asocket_yield(owner);
    own->ended = own->other == asocket_current(owner);
}

static void current_job(void)
{
    body bodies[2];

    bodies[0] = body_named('a', 0);
    bodies[1] = body_named('b', 0);
    is_int((int64_t)asocket_current(selector), 0, "outside of coroutines there is no current job");
    bodies[0].job = asocket_launch(selector, note_current, &bodies[0]);
    bodies[1].job = asocket_launch(selector, note_current, &bodies[1]);
    asocket_run(selector);
    ok(bodies[0].job == bodies[0].other && bodies[1].job == bodies[1].other,
       "a coroutine is told its own job");
    ok(bodies[0].ended && bodies[1].ended, "also after it waited");
}

typedef struct tree {
    int depth, ran;
    int unfinished; /* children that lived when join_all came back */
} tree;

static void grow_tree(asocket_selector *owner, void *argument)
{
    tree *own = (tree *)argument;
    tree children[3];
    int i;

    own->ran = 1;
    memset(children, 0, sizeof children);
    for (i = 0; own->depth > 0 && i < 3; i++) {
        children[i].depth = own->depth - 1;
        asocket_launch(owner, grow_tree, &children[i]);
    }
    asocket_join_all(owner);
    for (i = 0; own->depth > 0 && i < 3; i++) {
        own->unfinished += children[i].unfinished + (children[i].ran == 0);
        own->ran += children[i].ran;
    }
}

static void child_tree(void)
{
    tree root;

    memset(&root, 0, sizeof root);
    root.depth = 4;
    asocket_launch(selector, grow_tree, &root);
    asocket_run(selector);
    is_int(root.ran, 1 + 3 + 9 + 27 + 81, "a tree of coroutines runs, each joining its children");
    is_int(root.unfinished, 0, "join_all waits for every child");
}

/* --- joining ---------------------------------------------------------------------------------- */

static void join_other(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    own->status = asocket_join(owner, own->other);
    own->ended = true;
    mark(own->name);
}

static void join_waits(void)
{
    body sleeper = body_named('s', 20);
    int64_t start = test_clock();

    forget();
    sleeper.job = asocket_launch(selector, sleep_for, &sleeper);
    is_status(asocket_join(selector, sleeper.job), ASOCKET_OK, "join answers 0");
    ok(sleeper.ended && test_took(start, 20, 20), "when the coroutine has ended");
    is_status(asocket_join(selector, sleeper.job), ASOCKET_OK, "of one that has ended: at once");
    is_status(asocket_join(selector, 0), ASOCKET_OK, "of no job: at once");
}

static void join_made_up_jobs(void)
{
    static const asocket_job jobs[] = {
        1, 64, 65, UINT32_MAX, INT64_MAX, UINT64_MAX, UINT64_C(1) << 32, UINT64_C(7) << 32 | 1};
    bool harmless = true;
    size_t i;

    for (i = 0; i < sizeof jobs / sizeof *jobs; i++)
        harmless = harmless && asocket_join(selector, jobs[i]) == ASOCKET_OK &&
                   asocket_cancel(selector, jobs[i]) == ASOCKET_OK;
    ok(harmless, "jobs that never were are harmless");
}

static void join_itself(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    own->status = asocket_join(owner, asocket_current(owner));
    own->later = asocket_error(owner);
}

static void self_join(void)
{
    body own = body_named('x', 0);

    asocket_launch(selector, join_itself, &own);
    asocket_run(selector);
    is_status(own.status, ASOCKET_EINVAL, "a coroutine that joins itself is told EINVAL");
    is_status(own.later, ASOCKET_EINVAL, "and the failure is noted");
}

static void several_joiners(void)
{
    body sleeper = body_named('s', 10), joiners[3];
    int i;

    forget();
    sleeper.job = asocket_launch(selector, sleep_for, &sleeper);
    for (i = 0; i < 3; i++) {
        joiners[i] = body_named((char)('1' + i), 0);
        joiners[i].other = sleeper.job;
        asocket_launch(selector, join_other, &joiners[i]);
    }
    is_status(asocket_join(selector, sleeper.job), ASOCKET_OK, "code outside joins too");
    asocket_run(selector);
    is_str(trace, "s123", "several joiners all go on, in their order");
}

static void stale_job_of_reused_stack(void)
{
    body first = body_named('1', 0), second = body_named('2', 0);

    first.job = asocket_launch(selector, mark_name, &first);
    asocket_run(selector);
    second.job = asocket_launch(selector, wait_twice, &second);
    settle();
    ok(first.job != second.job, "a reused stack is another job");
    is_status(asocket_join(selector, first.job), ASOCKET_OK,
              "joining the old one waits for nobody");
    is_status(asocket_cancel(selector, first.job), ASOCKET_OK,
              "cancelling the old one is harmless");
    settle();
    ok(!second.ended, "the new one did not notice");
    asocket_cancel(selector, second.job);
    asocket_run(selector);
    ok(second.ended, "its own job does reach it");
}

static void join_can_end_early(void)
{
    body sleeper = body_named('s', 40), joiner = body_named('j', 0);
    int64_t former;

    forget();
    sleeper.job = asocket_launch(selector, sleep_for, &sleeper);
    joiner.other = sleeper.job;
    joiner.job = asocket_launch(selector, join_other, &joiner);
    settle();
    asocket_cancel(selector, joiner.job);
    former = asocket_set_deadline(selector, 5);
    is_status(asocket_join(selector, sleeper.job), ASOCKET_ETIMEDOUT, "P7: a deadline ends a join");
    asocket_restore_deadline(selector, former);
    is_status(joiner.status, ASOCKET_ECANCELED, "P7: a cancel ends a join");
    ok(!sleeper.ended, "P7: the joined coroutine goes on");
    asocket_run(selector);
    is_str(trace, "js", "P7: and ends in its own time");
    is_status(sleeper.status, ASOCKET_OK, "P7: undisturbed");
}

static void join_cancelled(void)
{
    body own = body_named('c', 0);

    own.job = asocket_launch(selector, wait_twice, &own);
    settle();
    asocket_cancel(selector, own.job);
    is_status(asocket_join(selector, own.job), ASOCKET_OK, "joining a cancelled coroutine is 0");
    ok(own.ended, "and waits for its end");
}

static void leave_child_behind(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    own->job = asocket_launch(owner, sleep_for, own + 1);
    own->ended = true;
}

static void join_all_with_grandchild(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    asocket_launch(owner, leave_child_behind, own + 1);
    own->status = asocket_join_all(owner);
    own->ended = own[2].ended;
}

static void join_all_of_what_is_left(void)
{
    body bodies[3];

    forget();
    bodies[0] = body_named('p', 0);
    bodies[1] = body_named('c', 0);
    bodies[2] = body_named('g', 15);
    asocket_launch(selector, join_all_with_grandchild, bodies);
    asocket_run(selector);
    is_status(bodies[0].status, ASOCKET_OK, "join_all answers 0");
    ok(bodies[0].ended, "join_all waits also for the child that a child left behind");
    is_status(asocket_join_all(selector), ASOCKET_OK, "join_all without children ends at once");
}

static void join_all_at_once(asocket_selector *owner, void *argument)
{
    ((body *)argument)->status = asocket_join_all(owner);
    ((body *)argument)->ended = true;
}

static void join_all_knows_its_own(void)
{
    body sleeper = body_named('s', 0), own = body_named('j', 0);

    sleeper.job = asocket_launch(selector, wait_twice, &sleeper);
    asocket_launch(selector, join_all_at_once, &own);
    settle();
    ok(own.ended && !sleeper.ended, "join_all does not wait for siblings");
    asocket_cancel_all(selector);
    is_status(asocket_join_all(selector), ASOCKET_OK, "outside it waits for all coroutines");
    ok(sleeper.ended, "that were launched there");
}

/* --- cancelling ------------------------------------------------------------------------------- */

static void cancel_is_sticky(void)
{
    body own = body_named('c', 0);
    int64_t start = test_clock();

    own.job = asocket_launch(selector, wait_twice, &own);
    settle();
    is_status(asocket_cancel(selector, own.job), ASOCKET_OK, "cancel answers 0 and does not wait");
    ok(!own.ended, "P7: it ends the wait when the caller next waits");
    is_status(asocket_cancel(selector, own.job), ASOCKET_OK, "cancelling twice is harmless");
    asocket_run(selector);
    is_status(own.status, ASOCKET_ECANCELED, "P7: a cancel ends the wait");
    is_status(own.later, ASOCKET_ECANCELED, "P7: and the next one: it stays");
    ok(test_took(start, 0, 20), "P7: at once");
    is_status(asocket_cancel(selector, own.job), ASOCKET_OK, "cancelling one that ended too");
}

static void cancel_before_start(void)
{
    body own = body_named('c', 0);

    own.job = asocket_launch(selector, wait_twice, &own);
    asocket_cancel(selector, own.job);
    asocket_run(selector);
    ok(own.ended, "P7: a coroutine that is cancelled before its start runs nevertheless");
    is_status(own.status, ASOCKET_ECANCELED, "P7: its first wait is cancelled");
}

static void cancel_itself(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    own->later = asocket_cancel(owner, asocket_current(owner));
    own->status = asocket_sleep(owner, ASOCKET_FOREVER);
    own->ended = true;
}

static void cancel_oneself(void)
{
    body own = body_named('c', 0);

    asocket_launch(selector, cancel_itself, &own);
    asocket_run(selector);
    is_status(own.later, ASOCKET_OK, "a coroutine may cancel itself");
    is_status(own.status, ASOCKET_ECANCELED, "P7: its next wait is cancelled");
}

typedef struct family { /* a parent, two children, one grandchild each */
    body parent, children[2], grandchildren[2];
} family;

static void be_child(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    asocket_launch(owner, wait_twice, own + 2);
    wait_twice(owner, own);
}

static void be_parent(asocket_selector *owner, void *argument)
{
    family *all = (family *)argument;

    all->children[0].job = asocket_launch(owner, be_child, &all->children[0]);
    all->children[1].job = asocket_launch(owner, be_child, &all->children[1]);
    wait_twice(owner, &all->parent);
}

static family family_of_five(void)
{
    family all;

    memset(&all, 0, sizeof all);
    return all;
}

static int family_ended(const family *all)
{
    return all->parent.ended + all->children[0].ended + all->children[1].ended +
           all->grandchildren[0].ended + all->grandchildren[1].ended;
}

static void cancel_reaches_down(void)
{
    family all = family_of_five();
    body sibling = body_named('s', 0);

    sibling.job = asocket_launch(selector, wait_twice, &sibling);
    all.parent.job = asocket_launch(selector, be_parent, &all);
    settle();
    asocket_cancel(selector, all.children[0].job);
    settle();
    ok(all.children[0].ended && all.grandchildren[0].ended,
       "P7: a cancel reaches the children of the cancelled");
    is_int(family_ended(&all), 2, "P7: neither parent nor sibling");
    asocket_cancel(selector, all.parent.job);
    settle();
    is_int(family_ended(&all), 5, "P7: it reaches grandchildren");
    is_status(all.grandchildren[1].later, ASOCKET_ECANCELED, "P7: to stay");
    ok(!sibling.ended, "P7: no one else");
    asocket_cancel(selector, sibling.job);
    asocket_run(selector);
}

static void launch_when_cancelled(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    own->status = asocket_sleep(owner, ASOCKET_FOREVER);
    own->job = asocket_launch(owner, wait_twice, own + 1);
    own->later = asocket_join_all(owner);
    own->ended = own[1].ended;
}

static void children_of_the_cancelled(void)
{
    body bodies[2];

    bodies[0] = body_named('p', 0);
    bodies[1] = body_named('c', 0);
    bodies[0].job = asocket_launch(selector, launch_when_cancelled, bodies);
    settle();
    asocket_cancel(selector, bodies[0].job);
    asocket_run(selector);
    ok(bodies[0].job != 0, "a cancelled coroutine can launch");
    ok(bodies[1].ended, "P7: its child runs");
    is_status(bodies[1].status, ASOCKET_ECANCELED, "P7: and is cancelled from its beginning");
    is_status(bodies[0].later, ASOCKET_ECANCELED, "P7: join_all of a cancelled one says so");
    ok(bodies[0].ended, "P7: when no child can use its stack any more");
}

/* A parent whose children use what lies on its stack, and who is cancelled. */
typedef struct household {
    bool all; /* join_all, or join of each */
    bool gone, used_after;
    int status;
} household;

static void use_the_household(asocket_selector *owner, void *argument)
{
    household *home = *(household **)argument;
    int i;

    asocket_sleep(owner, ASOCKET_FOREVER);
    for (i = 0; i < 3; i++) { /* a goodbye that takes its time */
        asocket_yield(owner);
        home->used_after |= home->gone;
    }
}

static void keep_house(asocket_selector *owner, void *argument)
{
    household *home = (household *)argument, *on_stack = home;
    asocket_job jobs[3];
    int i;

    for (i = 0; i < 2; i++)
        jobs[i] = asocket_launch(owner, use_the_household, &on_stack);
    home->status = home->all ? asocket_join_all(owner) : asocket_join(owner, jobs[0]);
    jobs[2] = asocket_launch(owner, use_the_household, &on_stack);
    for (i = 1; i < 3 && !home->all; i++)
        home->status = asocket_join(owner, jobs[i]);
    if (home->all)
        home->status = asocket_join_all(owner);
    home->gone = true;
}

static void give_them_time(asocket_selector *owner, void *argument)
{
    household *home = (household *)argument, *on_stack = home;
    int64_t start = test_clock(), former = asocket_set_deadline(owner, 20);

    asocket_launch(owner, use_the_household, &on_stack);
    is_status(asocket_join_all(owner), ASOCKET_ETIMEDOUT, "P7: a deadline ends join_all");
    ok(test_took(start, 20, 50), "P7: in time");
    asocket_restore_deadline(owner, former);
    asocket_cancel_all(owner);
    home->status = asocket_join_all(owner);
    home->gone = true;
}

static void a_cancelled_parent_waits_for_its_children(bool all)
{
    household home = {all, false, false, 0};
    asocket_job job = asocket_launch(selector, keep_house, &home);

    settle();
    asocket_cancel(selector, job);
    asocket_cancel(selector, job);
    asocket_run(selector);
    is_status(home.status, ASOCKET_ECANCELED, "P7: %s of a cancelled parent says so",
              all ? "join_all" : "join");
    ok(home.gone && !home.used_after, "P7: when its children have ended");
}

static void only_a_deadline_ends_that(void)
{
    household home = {true, false, false, 0};

    asocket_launch(selector, give_them_time, &home);
    asocket_run(selector);
    is_status(home.status, ASOCKET_OK, "P7: then whoever waits cancels them, and waits again");
    ok(home.gone && !home.used_after, "P7: until they have ended");
}

static void cancel_children(asocket_selector *owner, void *argument)
{
    family *all = (family *)argument;

    all->children[0].job = asocket_launch(owner, be_child, &all->children[0]);
    all->children[1].job = asocket_launch(owner, be_child, &all->children[1]);
    asocket_sleep(owner, 1);
    asocket_cancel_all(owner);
    all->parent.status = asocket_join_all(owner);
    all->parent.later = asocket_sleep(owner, 1);
    all->parent.ended = true;
}

static void cancel_all_inside(void)
{
    family all = family_of_five();
    body sibling = body_named('s', 0);

    sibling.job = asocket_launch(selector, wait_twice, &sibling);
    all.parent.job = asocket_launch(selector, cancel_children, &all);
    is_status(asocket_join(selector, all.parent.job), ASOCKET_OK, "the parent ends");
    is_int(family_ended(&all), 5, "P7: cancel_all reaches all that the caller launched");
    is_status(all.parent.status, ASOCKET_OK, "P7: not the caller, who can wait for them");
    is_status(all.parent.later, ASOCKET_OK, "P7: and go on");
    ok(!sibling.ended, "P7: not others");
    asocket_cancel(selector, sibling.job);
    asocket_run(selector);
}

static void cancel_all_outside(void)
{
    family all = family_of_five();
    body sibling = body_named('s', 0);

    asocket_launch(selector, wait_twice, &sibling);
    asocket_launch(selector, be_parent, &all);
    settle();
    is_status(asocket_cancel_all(selector), ASOCKET_OK, "cancel_all outside of coroutines");
    asocket_run(selector);
    ok(family_ended(&all) == 5 && sibling.ended, "P7: reaches every coroutine");
    is_status(asocket_sleep(selector, 1), ASOCKET_OK, "P7: not the code outside");
}

static void leave_and_return(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    own->job = asocket_launch(owner, wait_twice, own + 1);
}

static void be_grandparent(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    asocket_launch(owner, leave_and_return, own + 1);
    wait_twice(owner, own);
}

static void orphans_go_to_the_grandparent(void)
{
    body bodies[3];

    memset(bodies, 0, sizeof bodies);
    bodies[0].job = asocket_launch(selector, be_grandparent, bodies);
    settle();
    ok(!bodies[2].ended, "a child outlives its parent");
    asocket_cancel(selector, bodies[0].job);
    asocket_run(selector);
    ok(bodies[2].ended, "P7: and is reached by a cancel of its grandparent");
}

static void orphans_go_to_the_code_outside(void)
{
    body bodies[2];

    memset(bodies, 0, sizeof bodies);
    asocket_launch(selector, leave_and_return, bodies);
    settle();
    ok(!bodies[1].ended, "a child outlives a parent that had none");
    asocket_cancel_all(selector);
    is_status(asocket_join_all(selector), ASOCKET_OK, "join_all outside waits for it");
    ok(bodies[1].ended, "P7: cancel_all outside reaches it");
}

/* A chain, each the child of the one before. */
typedef struct chain {
    int left, ended;
} chain;

static void be_link(asocket_selector *owner, void *argument)
{
    chain *all = (chain *)argument;

    if (--all->left > 0)
        asocket_launch(owner, be_link, all);
    asocket_sleep(owner, ASOCKET_FOREVER);
    all->ended++;
}

static void cancel_that_job(asocket_selector *owner, void *argument)
{
    asocket_cancel(owner, *(asocket_job *)argument);
}

static void cancel_a_long_chain(void)
{
    const int length = slow() ? 2000 : 10000;
    chain all;
    asocket_job first;

    all.left = length;
    all.ended = 0;
    first = asocket_launch(selector, be_link, &all);
    while (all.left > 0)
        asocket_poll(selector, 0);
    asocket_launch(selector, cancel_that_job, &first);
    asocket_run(selector);
    is_int(all.ended, length, "P7: a cancel inside a coroutine goes down a chain of any length");
}

/* --- what a cancelled coroutine can do -------------------------------------------------------- */

typedef struct last_will {
    test_pair pair;
    asocket_read_channel *in;
    asocket_write_channel *out;
    int ends[2]; /* a pipe of the system: nobody writes to it */
    asocket_job sleeper;
    body child;
    char bytes[8];
    ptrdiff_t buffered, fresh, nothing;
    int written, flushed, sleep, sleep_ns, yield, join, join_all, handle;
    int accept, connect, read_pipe, write_pipe;
    bool ended;
} last_will;

static void try_to_park(asocket_selector *owner, last_will *will)
{
    will->sleep = asocket_sleep(owner, 1000);
    will->sleep_ns = asocket_sleep_ns(owner, 1000);
    will->yield = asocket_yield(owner);
    will->join = asocket_join(owner, will->sleeper);
    asocket_launch(owner, wait_twice, &will->child);
    will->join_all = asocket_join_all(owner);
    will->handle = asocket_wait_handle(owner, will->ends[0], ASOCKET_READ);
    will->nothing = asocket_read(will->in, will->bytes, 1);
}

static void try_to_meet(asocket_selector *owner, last_will *will)
{
    if (!asocket_accept(will->pair.server))
        will->accept = asocket_error(owner);
    if (!asocket_connect(asocket_tcp(owner), "127.0.0.1", will->pair.port))
        will->connect = asocket_error(owner);
}

static void try_a_pipe(asocket_selector *owner, last_will *will)
{
    asocket_read_channel *in;
    asocket_write_channel *out;

    if (asocket_pipe(owner, 4, &in, &out) < 0)
        return;
    will->read_pipe = (int)asocket_read(in, will->bytes, 1);
    will->write_pipe = (int)asocket_write(out, "12345678", 8);
    asocket_cancel_read(in);
    asocket_cancel_write(out, ASOCKET_ECANCELED);
}

static void make_last_will(asocket_selector *owner, void *argument)
{
    last_will *will = (last_will *)argument;

    will->buffered = asocket_read(will->in, will->bytes, 1);
    asocket_sleep(owner, ASOCKET_FOREVER);
    will->buffered += asocket_read(will->in, will->bytes, 2);
    will->fresh = asocket_read(will->in, will->bytes, sizeof will->bytes);
    try_to_park(owner, will);
    try_to_meet(owner, will);
    try_a_pipe(owner, will);
    will->written = (int)asocket_write_string(will->out, "goodbye\n");
    will->flushed = asocket_flush(will->out);
    will->ended = true;
}

static bool last_will_prepare(last_will *will, body *sleeper)
{
    memset(will, 0, sizeof *will);
    if (!test_pair_open(selector, &will->pair) || pipe(will->ends) < 0)
        return false;
    will->in = asocket_open_read_channel(will->pair.socket);
    will->out = asocket_open_write_channel(will->pair.socket, 0);
    will->sleeper = asocket_launch(selector, wait_twice, sleeper);
    return true;
}

static void check_what_parks(const last_will *will)
{
    is_status(will->sleep, ASOCKET_ECANCELED, "P7: cancelled: sleep");
    is_status(will->sleep_ns, ASOCKET_ECANCELED, "P7: cancelled: sleep_ns");
    is_status(will->yield, ASOCKET_ECANCELED, "P7: cancelled: yield says so too");
    is_status(will->join, ASOCKET_ECANCELED, "P7: cancelled: join of a living coroutine");
    is_status(will->join_all, ASOCKET_ECANCELED, "P7: cancelled: join_all with a living child");
    is_status(will->handle, ASOCKET_ECANCELED, "P7: cancelled: wait_handle");
    is_status(will->nothing, ASOCKET_ECANCELED, "P7: cancelled: read without bytes");
    is_status(will->accept, ASOCKET_ECANCELED,
              "P9: cancelled: accept, also with a connection there");
    is_status(will->connect, ASOCKET_ECANCELED, "P7: cancelled: connect");
    is_status(will->read_pipe, ASOCKET_ECANCELED, "P7: cancelled: read from an empty pipe");
    is_status(will->write_pipe, ASOCKET_ECANCELED, "P7: cancelled: write to a full pipe");
}

static void cancelled_can_say_goodbye(void)
{
    body sleeper = body_named('s', 0);
    last_will will;
    asocket_job job;
    int client = -1;

    if (!last_will_prepare(&will, &sleeper))
        return;
    test_peer_send(will.pair.peer, "abc", 3);
    job = asocket_launch(selector, make_last_will, &will);
    settle();
    test_peer_send(will.pair.peer, "defg", 4);
    client = test_peer_connect(will.pair.port);
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    ok(will.ended, "P7: a cancelled coroutine cleans up and ends");
    is_int(will.buffered, 3, "P7: it reads what was buffered");
    is_int(will.fresh, 4, "P7: and what has arrived");
    check_what_parks(&will);
    is_int(will.written, 8, "P7: it writes what needs no wait");
    is_status(will.flushed, ASOCKET_OK, "P7: flushes it");
    ok(test_peer_expect(selector, will.pair.peer, "goodbye\n"), "P7: and the peer gets it");
    ok(!sleeper.ended, "P7: whom it tried to join is undisturbed");
    asocket_cancel_all(selector);
    asocket_run(selector);
    close(client);
    close(will.ends[0]);
    close(will.ends[1]);
    test_pair_close(&will.pair);
}

static void write_until_parked(asocket_selector *owner, void *argument)
{
    last_will *will = (last_will *)argument;
    static const char block[65536];

    while ((will->written = (int)asocket_write(will->out, block, sizeof block)) > 0)
        will->buffered += will->written;
    will->flushed = asocket_flush(will->out);
    will->sleep = asocket_sleep(owner, 1);
    will->ended = true;
}

static void cancel_ends_a_full_write(void)
{
    body sleeper = body_named('s', 0);
    last_will will;
    asocket_job job;

    if (!last_will_prepare(&will, &sleeper))
        return;
    job = asocket_launch(selector, write_until_parked, &will);
    asocket_sleep(selector, 20);
    ok(!will.ended && will.buffered > 0, "P5: a writer waits when the peer does not read");
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(will.written, ASOCKET_ECANCELED, "P7: a cancel ends the write");
    is_status(will.sleep, ASOCKET_ECANCELED, "P7: and what comes after it");
    asocket_abort(will.pair.socket);
    asocket_cancel_all(selector);
    asocket_run(selector);
    close(will.ends[0]);
    close(will.ends[1]);
    test_pair_close(&will.pair);
}

/* --- every wait can end: by a close ----------------------------------------------------------- */

static void read_one(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;
    asocket_read_channel *in = asocket_open_read_channel(own->socket);
    char byte;

    own->status = (int)asocket_read(in, &byte, 1);
    own->later = asocket_sleep(owner, 0);
    own->ended = true;
}

static void accept_one(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    own->status = asocket_accept(own->socket) ? ASOCKET_OK : asocket_error(owner);
    own->ended = true;
}

static void close_ends_waits(void)
{
    body reader = body_named('r', 0), accepter = body_named('a', 0);
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    reader.socket = pair.socket;
    accepter.socket = pair.server;
    asocket_launch(selector, read_one, &reader);
    asocket_launch(selector, accept_one, &accepter);
    settle();
    test_pair_close(&pair);
    asocket_run(selector);
    is_status(reader.status, ASOCKET_ECLOSED, "P7, P8: a close by another ends a read");
    is_status(accepter.status, ASOCKET_ECLOSED, "P7, P8: a close by another ends an accept");
    is_status(reader.later, ASOCKET_OK, "P7: the coroutine goes on and waits for other things");
}

static void read_on(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;
    asocket_read_channel *in = asocket_open_read_channel(own->socket);
    char bytes[16];

    (void)owner;
    while ((own->status = (int)asocket_read(in, bytes, sizeof bytes)) > 0)
        own->rounds++;
    own->ended = true;
}

/* Runs when the reader, who never has to wait, lets others run: closes its socket and makes so many
   others that its memory would be used again. */
static void close_and_make_others(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;
    asocket *other;
    int i;

    while (own->rounds == 0)
        asocket_yield(owner);
    asocket_close(own->socket);
    for (i = 0; i < 1100; i++) {
        other = asocket_bind(asocket_tcp(owner), "127.0.0.1", 0);
        own->later += other == own->socket;
        asocket_close(other);
    }
}

static void memory_of_a_call_is_not_reused(void)
{
    asocket_builder small = asocket_tcp(selector);
    static const char bytes[16 * 1000];
    body own = body_named('r', 0);
    test_pair pair;

    small.channel_capacity = 16;
    if (!test_pair_open_with(small, &pair))
        return;
    test_peer_send(pair.peer, bytes, sizeof bytes);
    own.socket = pair.socket;
    own.later = 0;
    asocket_launch(selector, close_and_make_others, &own);
    asocket_launch(selector, read_on, &own);
    asocket_run(selector);
    ok(own.rounds < 1000, "a socket is closed while a reader that never waits lets others run");
    is_status(own.status, ASOCKET_ECLOSED, "P8: the reader is told");
    is_int(own.later, 0, "P8: the socket's memory was not used again meanwhile");
    test_pair_close(&pair);
}

static void wait_for_handle_in_vain(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    for (own->rounds = 0; own->rounds < 200; own->rounds++)
        own->status = asocket_wait_handle(owner, (int)own->ms, ASOCKET_READ);
}

static void refused_waits_for_a_handle(void)
{
    body bodies[2];
    int ends[2], i;

    if (pipe(ends) < 0)
        return;
    for (i = 0; i < 2; i++) {
        bodies[i] = body_named('c', ends[0]);
        bodies[i].job = asocket_launch(selector, wait_for_handle_in_vain, &bodies[i]);
        asocket_cancel(selector, bodies[i].job);
    }
    asocket_run(selector);
    is_status(bodies[0].status, ASOCKET_ECANCELED, "P7: every wait_handle of a cancelled one is");
    is_status(bodies[1].status, ASOCKET_ECANCELED, "P7: also of two for the same descriptor");
    if (write(ends[1], "x", 1) == 1)
        is_int(asocket_wait_handle(selector, ends[0], ASOCKET_READ), ASOCKET_READ,
               "P7: for which others can wait then");
    close(ends[0]);
    close(ends[1]);
}

/* --- launch_socket ---------------------------------------------------------------------------- */

static void say_hello(asocket_selector *owner, void *argument)
{
    asocket_write_channel *out =
        asocket_open_write_channel((asocket *)argument, ASOCKET_AUTO_FLUSH);

    (void)owner;
    asocket_write_string(out, "hello");
}

static void say_hello_and_close(asocket_selector *owner, void *argument)
{
    say_hello(owner, argument);
    asocket_close((asocket *)argument);
    asocket_sleep(owner, 1);
}

static void launch_socket_closes(asocket_function *function, const char *how)
{
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    ok(asocket_launch_socket(selector, function, pair.socket) != 0, "a socket is launched, %s",
       how);
    ok(test_peer_expect(selector, pair.peer, "hello"), "P2: what it wrote arrives, %s", how);
    is_int(test_peer_end(selector, pair.peer), 0, "the socket is closed when it returns, %s", how);
    ok(asocket_is_closed(pair.socket), "P8: the handle says so, %s", how);
    test_pair_close(&pair);
    asocket_run(selector);
}

static void wait_in_socket(asocket_selector *owner, void *argument)
{
    (void)argument;
    asocket_sleep(owner, ASOCKET_FOREVER);
}

static void launch_socket_that_fails(void)
{
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    is_int((int64_t)asocket_launch_socket(selector, NULL, pair.socket), 0, "no function: no job");
    is_status(asocket_error(selector), ASOCKET_EINVAL, "EINVAL");
    ok(asocket_is_closed(pair.socket), "a launch that fails closes the socket");
    is_int(test_peer_end(selector, pair.peer), 0, "the peer sees the end of the stream");
    is_int((int64_t)asocket_launch_socket(selector, say_hello, pair.socket), 0,
           "P8: a closed socket cannot be launched");
    is_status(asocket_error(selector), ASOCKET_ECLOSED, "P8: ECLOSED");
    is_int((int64_t)asocket_launch_socket(selector, say_hello, NULL), 0, "no socket: no job");
    test_pair_close(&pair);
}

static void launch_socket_twice(void)
{
    test_pair pair;
    asocket_job job;

    if (!test_pair_open(selector, &pair))
        return;
    job = asocket_launch_socket(selector, wait_in_socket, pair.socket);
    is_int((int64_t)asocket_launch_socket(selector, say_hello, pair.socket), 0,
           "a socket has one coroutine: a second launch fails");
    is_status(asocket_error(selector), ASOCKET_EINVAL, "EINVAL");
    ok(!asocket_is_closed(pair.socket), "and the first one keeps its socket");
    asocket_cancel(selector, job);
    asocket_run(selector);
    ok(asocket_is_closed(pair.socket), "until it ends");
    test_pair_close(&pair);
}

/* --- yielding and fairness -------------------------------------------------------------------- */

static void yield_three_times(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    for (own->rounds = 0; own->rounds < 3; own->rounds++) {
        mark(own->name);
        own->status = asocket_yield(owner);
    }
}

static void yield_order(void)
{
    body bodies[3];
    int i;

    forget();
    for (i = 0; i < 3; i++) {
        bodies[i] = body_named((char)('a' + i), 0);
        asocket_launch(selector, yield_three_times, &bodies[i]);
    }
    asocket_run(selector);
    is_str(trace, "abcabcabc", "P11: those that yield take turns");
    is_status(bodies[0].status, ASOCKET_OK, "yield answers 0");
    forget();
    asocket_launch(selector, yield_three_times, &bodies[0]);
    asocket_run(selector);
    is_str(trace, "aaa", "one that yields to nobody goes on");
}

static void yield_outside(void)
{
    body bodies[400];
    int i, ran = 0;

    forget();
    for (i = 0; i < 400; i++) {
        bodies[i] = body_named('x', 0);
        asocket_launch(selector, mark_name, &bodies[i]);
    }
    is_status(asocket_yield(selector), ASOCKET_OK, "code outside of coroutines yields too");
    ran = (int)traced;
    is_int(ran, 400, "P11: and all that are ready run once");
    asocket_run(selector);
}

enum { TURNS = 600 }; /* more than the loop resumes at a time */
static int turns_taken[TURNS], turns_ahead;

static void take_turns(asocket_selector *owner, void *argument)
{
    int *own = (int *)argument, *next = own + 1 < turns_taken + TURNS ? own + 1 : turns_taken;
    int i;

    for (i = 0; i < 5; i++) {
        ++*own;
        if (*own > *next + 1)
            turns_ahead++;
        asocket_yield(owner);
    }
}

static void many_take_turns(void)
{
    int i;

    for (i = 0; i < TURNS; i++)
        asocket_launch(selector, take_turns, &turns_taken[i]);
    asocket_run(selector);
    is_int(turns_taken[TURNS - 1], 5, "P11: %d coroutines yield to each other", TURNS);
    is_int(turns_ahead, 0, "P11: none of them has two turns while another has none");
}

typedef struct crowd { /* one that works, one that counts how often it was its turn */
    asocket *socket;
    int peer;
    int operations;  /* done so far */
    int since_tick;  /* since the other one last ran */
    int most;        /* of these */
    int ticks, goal; /* goal: operations after which both stop */
    bool done;
} crowd;

static void tick(asocket_selector *owner, void *argument)
{
    crowd *all = (crowd *)argument;

    while (!all->done) {
        all->ticks++;
        all->since_tick = 0;
        asocket_yield(owner);
    }
}

static void did_one(crowd *all)
{
    all->operations++;
    if (++all->since_tick > all->most)
        all->most = all->since_tick;
}

static void read_flood(asocket_selector *owner, void *argument)
{
    crowd *all = (crowd *)argument;
    asocket_read_channel *in = asocket_open_read_channel(all->socket);
    char bytes[64];

    (void)owner;
    while (all->operations < all->goal && asocket_read(in, bytes, 16) > 0)
        did_one(all);
    all->done = true;
}

static void write_flood(asocket_selector *owner, void *argument)
{
    crowd *all = (crowd *)argument;
    asocket_write_channel *out = asocket_open_write_channel(all->socket, 0);
    char bytes[17] = {0};

    (void)owner;
    while (all->operations < all->goal && asocket_write(out, bytes, sizeof bytes) > 0)
        did_one(all);
    all->done = true;
}

static void accept_flood(asocket_selector *owner, void *argument)
{
    crowd *all = (crowd *)argument;
    asocket *client;

    (void)owner;
    while (all->operations < all->goal && (client = asocket_accept(all->socket)) != NULL) {
        did_one(all);
        asocket_close(client);
    }
    all->done = true;
}

/* Runs the work beside a ticking coroutine; each operation is at least one system call. */
static void check_fairness(crowd *all, asocket_function *work, const char *what)
{
    asocket_launch(selector, work, all);
    asocket_launch(selector, tick, all);
    asocket_run(selector);
    is_int(all->operations, all->goal, "P11: %s: all operations were done", what);
    if (!ok(all->most <= 64, "P11: %s: others run after at most 64 operations", what))
        diag("%d operations in between", all->most);
    ok(all->ticks >= all->goal / 64, "P11: %s: again and again", what);
}

static crowd crowd_on(asocket *socket, int goal)
{
    crowd all;

    memset(&all, 0, sizeof all);
    all.socket = socket;
    all.goal = goal;
    return all;
}

static void floods_are_fair(void)
{
    asocket_builder small = asocket_tcp(selector);
    static const char bytes[16 * 1000];
    test_pair pair;
    crowd all;

    small.channel_capacity = 16; /* so that each read and write is a system call of its own */
    if (!test_pair_open_with(small, &pair))
        return;
    test_peer_send(pair.peer, bytes, sizeof bytes);
    all = crowd_on(pair.socket, 1000);
    check_fairness(&all, read_flood, "reading what is there");
    all = crowd_on(pair.socket, 1000);
    check_fairness(&all, write_flood, "writing what fits");
    test_pair_close(&pair);
}

/* Many sockets, with more bytes in them than anybody should move in one go. */
enum { FULL_SOCKETS = 16, FULL_BYTES = 192 * 1024, FULL_READ = 64 * 1024 };

typedef struct glut {
    test_pair pairs[FULL_SOCKETS];
    size_t since_tick, most, total;
    bool done;
} glut;

static void tick_beside(asocket_selector *owner, void *argument)
{
    glut *all = (glut *)argument;

    while (!all->done) {
        all->since_tick = 0;
        asocket_yield(owner);
    }
}

static void read_glut(asocket_selector *owner, void *argument)
{
    static char bytes[FULL_READ];
    glut *all = (glut *)argument;
    ptrdiff_t count;
    int i;

    (void)owner;
    for (i = 0; i < FULL_SOCKETS; i++) {
        asocket_read_channel *in = asocket_open_read_channel(all->pairs[i].socket);

        asocket_set_timeout(all->pairs[i].socket, ASOCKET_NO_WAIT);
        while ((count = asocket_read(in, bytes, sizeof bytes)) > 0) {
            all->total += (size_t)count;
            all->since_tick += (size_t)count;
            if (all->since_tick > all->most)
                all->most = all->since_tick;
        }
    }
    all->done = true;
}

/* Fills what the peer can send without anybody reading. */
static void fill_pair(const test_pair *pair)
{
    static const char bytes[FULL_BYTES];
    size_t sent = 0;
    ssize_t count;

    while (sent < sizeof bytes &&
           (count = send(pair->peer, bytes, sizeof bytes - sent, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
        sent += (size_t)count;
}

static void much_is_many(void)
{
    static glut all;
    int i;

    memset(&all, 0, sizeof all);
    for (i = 0; i < FULL_SOCKETS; i++) {
        if (!test_pair_open(selector, &all.pairs[i]))
            return;
        fill_pair(&all.pairs[i]);
    }
    asocket_sleep(selector, 20);
    asocket_launch(selector, read_glut, &all);
    asocket_launch(selector, tick_beside, &all);
    asocket_run(selector);
    if (all.total < 2 * 1024 * 1024)
        skip(1, "the system's buffers are too small for this");
    else if (!ok(all.most <= (64 + FULL_READ / 16384) * 16384,
                 "P11: who reads much at a time lets others run after 1 MiB"))
        diag("%d bytes in between, of %d", (int)all.most, (int)all.total);
    for (i = 0; i < FULL_SOCKETS; i++)
        test_pair_close(&all.pairs[i]);
}

typedef struct
    interruption { /* a reader who never waits rings; how much it reads until that is heard */
    asocket *socket;
    int ends[2];
    int operations, heard;
} interruption;

static void read_and_ring(asocket_selector *owner, void *argument)
{
    interruption *own = (interruption *)argument;
    asocket_read_channel *in = asocket_open_read_channel(own->socket);
    char bytes[16];

    (void)owner;
    while (asocket_read(in, bytes, sizeof bytes) > 0)
        if (++own->operations == 500 && write(own->ends[1], "x", 1) != 1)
            break;
}

static void hear_the_ring(asocket_selector *owner, void *argument)
{
    interruption *own = (interruption *)argument;

    if (asocket_wait_handle(owner, own->ends[0], ASOCKET_READ) == ASOCKET_READ)
        own->heard = own->operations;
    asocket_close(own->socket);
}

static void descriptors_are_heard(void)
{
    asocket_builder small = asocket_tcp(selector);
    static const char bytes[16 * 4000];
    interruption own;
    test_pair pair;

    memset(&own, 0, sizeof own);
    small.channel_capacity = 16;
    if (!test_pair_open_with(small, &pair) || pipe(own.ends) < 0)
        return;
    test_peer_send(pair.peer, bytes, sizeof bytes);
    own.socket = pair.socket;
    asocket_launch(selector, read_and_ring, &own);
    asocket_launch(selector, hear_the_ring, &own);
    asocket_run(selector);
    if (!ok(own.heard >= 500 && own.heard <= 500 + 4 * 64,
            "P11: a descriptor that becomes ready is heard although another never waits"))
        diag("heard after %d operations", own.heard - 500);
    close(own.ends[0]);
    close(own.ends[1]);
    test_pair_close(&pair);
}

static void accepting_is_fair(void)
{
    int peers[200], i;
    asocket_address address;
    crowd all;

    all = crowd_on(asocket_bind(asocket_tcp(selector), "127.0.0.1", 0), 200);
    asocket_local_address(all.socket, &address);
    for (i = 0; i < 200; i++)
        peers[i] = test_peer_connect(address.port);
    check_fairness(&all, accept_flood, "accepting who waits");
    for (i = 0; i < 200; i++)
        close(peers[i]);
    asocket_close(all.socket);
}

typedef struct stubborn {
    int calls;
    bool enough;
    asocket_read_channel *in;
    int64_t deadline;
} stubborn;

static void ignore_the_end(asocket_selector *owner, void *argument)
{
    stubborn *own = (stubborn *)argument;
    char byte;

    if (own->deadline >= 0)
        asocket_set_deadline(owner, own->deadline);
    while (!own->enough) {
        own->calls++;
        if (own->in)
            asocket_read(own->in, &byte, 1);
        else
            asocket_sleep(owner, ASOCKET_FOREVER);
    }
}

static void say_enough(asocket_selector *owner, void *argument)
{
    asocket_sleep(owner, 5);
    ((stubborn *)argument)->enough = true;
}

static void check_stubborn(asocket_read_channel *in, int64_t deadline, const char *what)
{
    stubborn own;
    asocket_job job;

    memset(&own, 0, sizeof own);
    own.in = in;
    own.deadline = deadline;
    job = asocket_launch(selector, ignore_the_end, &own);
    if (deadline < 0)
        asocket_cancel(selector, job);
    asocket_launch(selector, say_enough, &own);
    asocket_run(selector);
    ok(own.enough && own.calls > 1, "P11: %s does not stop the others", what);
}

static void stubborn_loops(void)
{
    asocket_read_channel *in;
    test_pair pair;

    check_stubborn(NULL, -1, "a loop that ignores its cancel");
    check_stubborn(NULL, 0, "a loop that ignores its deadline");
    if (!test_pair_open(selector, &pair))
        return;
    in = asocket_open_read_channel(pair.socket);
    check_stubborn(in, -1, "reading on in spite of a cancel");
    check_stubborn(in, 0, "reading on in spite of a deadline");
    asocket_set_timeout(pair.socket, ASOCKET_NO_WAIT);
    check_stubborn(in, 10000, "reading on without waiting");
    test_pair_close(&pair);
}

static void yield_until_done(asocket_selector *owner, void *argument)
{
    while (!((crowd *)argument)->done)
        asocket_yield(owner);
}

static void read_then_done(asocket_selector *owner, void *argument)
{
    crowd *all = (crowd *)argument;
    asocket_read_channel *in = asocket_open_read_channel(all->socket);
    char bytes[8];

    (void)owner;
    all->operations = (int)asocket_read(in, bytes, sizeof bytes);
    all->done = true;
}

static void sleep_then_done(asocket_selector *owner, void *argument)
{
    asocket_sleep(owner, 5);
    ((crowd *)argument)->done = true;
}

static void send_later(asocket_selector *owner, void *argument)
{
    asocket_sleep(owner, 2);
    test_peer_send(((crowd *)argument)->peer, "x", 1);
}

static void connect_often(asocket_selector *owner, void *argument)
{
    asocket_builder udp = asocket_udp(owner);
    int i;

    for (i = 0; i < 64 * 20; i++)
        asocket_close(asocket_connect(udp, "127.0.0.1", 9));
    ((crowd *)argument)->done = true;
}

static void wait_for_a_file(asocket_selector *owner, void *argument)
{
    int fd = open("/proc/self/exe", O_RDONLY), i;

    for (i = 0; i < 64 * 20; i++)
        asocket_wait_handle(owner, fd, ASOCKET_READ);
    close(fd);
    ((crowd *)argument)->done = true;
}

static void count_yields(asocket_selector *owner, void *argument)
{
    for (; !((crowd *)argument)->done; ((crowd *)argument)->operations++)
        asocket_yield(owner);
}

/* A datagram socket connects at once, a file is always ready. */
static void what_is_done_at_once_is_fair(void)
{
    static asocket_function *const busy[] = {connect_often, wait_for_a_file};
    size_t i;

    for (i = 0; i < 2; i++) {
        crowd all;

        memset(&all, 0, sizeof all);
        asocket_launch(selector, busy[i], &all);
        asocket_launch(selector, count_yields, &all);
        asocket_join_all(selector);
        if (test_skips(TEST_WINDOWS && busy[i] == wait_for_a_file, 1, "a handle is a socket there"))
            continue;
        ok(all.operations >= 15, "P11: %s lets others run: %d times",
           i ? "waiting for a file" : "connecting", all.operations);
    }
}

static void busy_loops_are_interrupted(void)
{
    test_pair pair;
    crowd all = crowd_on(NULL, 0);

    asocket_launch(selector, yield_until_done, &all);
    asocket_launch(selector, sleep_then_done, &all);
    asocket_run(selector);
    ok(all.done, "P11: timers fire although somebody yields all the time");
    if (!test_pair_open(selector, &pair))
        return;
    all = crowd_on(pair.socket, 0);
    all.peer = pair.peer;
    asocket_launch(selector, yield_until_done, &all);
    asocket_launch(selector, read_then_done, &all);
    asocket_launch(selector, send_later, &all);
    asocket_run(selector);
    is_int(all.operations, 1,
           "P11: descriptors are looked at although somebody yields all the time");
    test_pair_close(&pair);
}

/* --- what survives a switch ------------------------------------------------------------------- */

__attribute__((noinline)) static unsigned recurse(asocket_selector *owner, int depth)
{
    volatile unsigned char local[256];
    unsigned sum;
    int i;

    for (i = 0; i < 256; i++)
        local[i] = (unsigned char)(depth + i);
    if (depth == 0)
        asocket_yield(owner);
    sum = depth > 0 ? recurse(owner, depth - 1) : 0;
    for (i = 0; i < 256; i++)
        sum += (unsigned)(local[i] == (unsigned char)(depth + i));
    return sum;
}

static void go_deep(asocket_selector *owner, void *argument)
{
    ((body *)argument)->status = (int)recurse(owner, 99);
}

static void deep_recursion(void)
{
    body bodies[3];
    int i;

    for (i = 0; i < 3; i++) {
        bodies[i] = body_named('d', 0);
        asocket_launch(selector, go_deep, &bodies[i]);
    }
    asocket_run(selector);
    for (i = 0; i < 3; i++)
        is_int(bodies[i].status, 100 * 256, "100 deep frames keep their variables across a switch");
}

typedef struct numbers {
    long seed;
    long whole;
    double real;
} numbers;

/* More values alive across each switch than there are registers that a call keeps. */
__attribute__((noinline)) static void compute(asocket_selector *owner, numbers *out, int rounds)
{
    long a = out->seed, b = a + 1, c = a + 2, d = a + 3, e = a + 4, f = a + 5, g = a + 6, h = a + 7;
    double p = (double)a, q = p + 0.5, r = p + 0.25, s = p + 0.125, t = p * 3, u = p * 5;
    double v = p * 7, w = p * 9, x = p * 11, y = p * 13;
    int i;

    for (i = 0; i < rounds; i++) {
        if (owner)
            asocket_yield(owner);
        a += b ^ i, b += c, c ^= d, d += e, e ^= f + i, f += g, g ^= h, h += a & 0xffff;
        p += q / 2, q -= r / 4, r += s / 8, s -= t / 16, t += u / 32, u -= v / 64;
        v += w / 3, w -= x / 5, x += y / 7, y -= p / 9;
    }
    out->whole = a ^ b ^ c ^ d ^ e ^ f ^ g ^ h;
    out->real = p + q + r + s + t + u + v + w + x + y;
}

static void compute_inside(asocket_selector *owner, void *argument)
{
    compute(owner, (numbers *)argument, 20);
}

static uint64_t bits_of(double real)
{
    uint64_t bits;

    memcpy(&bits, &real, sizeof bits);
    return bits;
}

static void registers_survive(void)
{
    numbers inside[4], outside;
    bool same = true;
    int i;

    memset(inside, 0, sizeof inside);
    memset(&outside, 0, sizeof outside);
    for (i = 0; i < 4; i++) {
        inside[i].seed = 1000 * (i + 1);
        asocket_launch(selector, compute_inside, &inside[i]);
    }
    asocket_run(selector);
    for (i = 0; i < 4; i++) {
        outside.seed = 1000 * (i + 1);
        compute(NULL, &outside, 20);
        same = same && inside[i].whole == outside.whole &&
               bits_of(inside[i].real) == bits_of(outside.real);
    }
    ok(same, "integers and floating point survive switches, bit by bit");
}

static void fail_system_calls(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    while (!own->ended) {
        if (close(-1) < 0)
            errno = EDOM;
        asocket_yield(owner);
    }
}

static void wait_with_errno(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;
    asocket_read_channel *in = asocket_open_read_channel(own->socket);
    char bytes[4];

    errno = EBADF;
    own->status = (int)asocket_read(in, bytes, sizeof bytes);
    errno = EINTR;
    own->later = asocket_sleep(owner, 1);
    errno = EAGAIN;
    own->rounds = (int)asocket_read(in, bytes, sizeof bytes);
    own[1].ended = true;
}

static void errno_does_not_matter(void)
{
    body bodies[2];
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    memset(bodies, 0, sizeof bodies);
    bodies[0].socket = pair.socket;
    asocket_launch(selector, wait_with_errno, &bodies[0]);
    asocket_launch(selector, fail_system_calls, &bodies[1]);
    settle();
    test_peer_send(pair.peer, "abcd", 4);
    asocket_sleep(selector, 10);
    close(pair.peer);
    pair.peer = -1;
    asocket_run(selector);
    is_int(bodies[0].status, 4, "results do not depend on errno: read");
    is_status(bodies[0].later, ASOCKET_OK, "results do not depend on errno: sleep");
    is_status(bodies[0].rounds, ASOCKET_EOF, "P1: results do not depend on errno: the end");
    test_pair_close(&pair);
}

/* --- outside of coroutines -------------------------------------------------------------------- */

static void count_rounds(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    while (asocket_sleep(owner, 1) == ASOCKET_OK)
        own->rounds++;
}

static void waits_outside(void)
{
    body own = body_named('c', 0);
    test_pair pair;
    char bytes[8];
    int before;

    own.job = asocket_launch(selector, count_rounds, &own);
    asocket_sleep(selector, 30);
    ok(own.rounds >= 1, "coroutines run while the code outside sleeps");
    if (test_pair_open(selector, &pair)) {
        asocket_read_channel *in = asocket_open_read_channel(pair.socket);

        before = own.rounds;
        asocket_set_timeout(pair.socket, 30);
        is_status(asocket_read(in, bytes, 1), ASOCKET_ETIMEDOUT, "P7: a time-out outside");
        ok(own.rounds > before, "coroutines run while the code outside reads");
        test_pair_close(&pair);
    }
    asocket_cancel(selector, own.job);
    is_status(asocket_join_all(selector), ASOCKET_OK, "and while it joins them");
}

static void say_hello_to(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;
    asocket *socket = asocket_connect(asocket_tcp(owner), "127.0.0.1", own->rounds);

    own->status = socket ? ASOCKET_OK : asocket_error(owner);
    if (socket)
        asocket_launch_socket(owner, say_hello, socket);
}

static void accept_outside(void)
{
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0), *client;
    body own = body_named('c', 0);
    asocket_address address;
    char bytes[8] = {0};

    asocket_local_address(server, &address);
    own.rounds = address.port;
    asocket_launch(selector, say_hello_to, &own);
    client = asocket_accept(server);
    ok(client != NULL, "code outside accepts whom a coroutine of the same thread connects");
    asocket_read_full(asocket_open_read_channel(client), bytes, 5);
    is_str(bytes, "hello", "and reads what it wrote");
    is_status(own.status, ASOCKET_OK, "the coroutine was connected");
    asocket_close(client);
    asocket_close(server);
    asocket_run(selector);
}

/* --- failures are each coroutine's own -------------------------------------------------------- */

static void fail_one_way(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    own->later = asocket_error(owner);
    asocket_join(owner, asocket_current(owner));
    asocket_yield(owner);
    asocket_sleep(owner, 1);
    own->status = asocket_error(owner);
    own->ended = strstr(asocket_error_message(owner), "join") != NULL;
}

static void fail_another_way(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    own->later = asocket_error(owner);
    asocket_set_deadline(owner, 0);
    asocket_sleep(owner, 1);
    asocket_yield(owner);
    own->status = asocket_error(owner);
    own->ended = strstr(asocket_error_message(owner), "sleep") != NULL;
}

static void failures_are_ones_own(void)
{
    body one = body_named('1', 0), other = body_named('2', 0);

    asocket_wait_handle(selector, -1, ASOCKET_READ);
    asocket_launch(selector, fail_one_way, &one);
    asocket_launch(selector, fail_another_way, &other);
    asocket_run(selector);
    is_status(one.status, ASOCKET_EINVAL, "a coroutine finds its own last failure");
    ok(one.ended, "and its message, a success notwithstanding");
    is_status(other.status, ASOCKET_ETIMEDOUT, "another one finds another");
    ok(other.ended, "with another message");
    ok(one.later == 0 && other.later == 0, "a new coroutine has none yet");
    is_status(asocket_error(selector), ASOCKET_EINVAL, "nor is that of the code outside changed");
    ok(strstr(asocket_error_message(selector), "wait_handle") != NULL, "its message is its own");
}

/* --- deadlines -------------------------------------------------------------------------------- */

static void deadline_ends_waits(void)
{
    int64_t start = test_clock(), former = asocket_set_deadline(selector, 20);

    ok(former == ASOCKET_NEVER, "P7: before the first deadline there is none");
    is_status(asocket_sleep(selector, 10000), ASOCKET_ETIMEDOUT, "P7: a deadline ends a wait");
    ok(test_took(start, 20, 20), "P11: never early, and in time");
    is_status(asocket_sleep(selector, 1), ASOCKET_ETIMEDOUT, "P7: and every later one");
    asocket_restore_deadline(selector, former);
    is_status(asocket_sleep(selector, 1), ASOCKET_OK, "P7: until the former is restored");
}

static void deadline_covers_a_sum(void)
{
    int64_t start = test_clock(), former = asocket_set_deadline(selector, 30);
    int rounds = 0;

    while (asocket_sleep(selector, 4) == ASOCKET_OK)
        rounds++;
    ok(rounds <= 7, "P7: a deadline covers all waits together");
    is_status(asocket_error(selector), ASOCKET_ETIMEDOUT, "P7: and ends the one that is too many");
    ok(test_took(start, 30, 30), "P11: when it is due, not before");
    asocket_restore_deadline(selector, former);
}

static void deadlines_nest(void)
{
    int64_t start = test_clock();
    int64_t none = asocket_set_deadline(selector, 40);
    int64_t outer = asocket_set_deadline(selector, 10);
    int64_t inner = asocket_set_deadline(selector, 10000);

    is_status(asocket_sleep(selector, 10000), ASOCKET_ETIMEDOUT,
              "P7: an inner deadline cannot be later than the one in force");
    ok(test_took(start, 10, 10), "P7: the earliest counts");
    ok(inner < outer && outer < none, "P7: the former ones are returned");
    asocket_restore_deadline(selector, inner);
    is_status(asocket_sleep(selector, 1), ASOCKET_ETIMEDOUT, "P7: restored: the middle one");
    asocket_restore_deadline(selector, outer);
    is_status(asocket_sleep(selector, 10000), ASOCKET_ETIMEDOUT, "P7: restored: the outer one");
    ok(test_took(start, 40, 40), "P7: which was due later");
    asocket_restore_deadline(selector, none);
    is_status(asocket_sleep(selector, 1), ASOCKET_OK, "P7: restored: none");
}

static void deadline_of_zero(void)
{
    int64_t former = asocket_set_deadline(selector, 0);
    test_pair pair;
    char bytes[4];

    is_status(asocket_sleep(selector, 0), ASOCKET_ETIMEDOUT,
              "P7: deadline 0: every wait times out");
    is_status(asocket_yield(selector), ASOCKET_OK, "P7: yielding is no wait");
    asocket_restore_deadline(selector, former);
    if (!test_pair_open(selector, &pair))
        return;
    test_peer_send(pair.peer, "abcd", 4);
    former = asocket_set_deadline(selector, 0);
    is_int(asocket_read(asocket_open_read_channel(pair.socket), bytes, 4), 4,
           "P7: deadline 0: what has arrived is read");
    is_int(asocket_write_string(asocket_open_write_channel(pair.socket, ASOCKET_AUTO_FLUSH), "ok"),
           2, "P7: deadline 0: what fits is written");
    asocket_restore_deadline(selector, former);
    ok(test_peer_expect(selector, pair.peer, "ok"), "P7: and arrives");
    test_pair_close(&pair);
}

static void deadline_odds(void)
{
    int64_t former = asocket_set_deadline(selector, ASOCKET_FOREVER);

    ok(former == ASOCKET_NEVER, "P7: FOREVER changes nothing and returns the former");
    is_status(asocket_sleep(selector, 1), ASOCKET_OK, "P7: no deadline then");
    former = asocket_set_deadline(selector, INT64_MAX);
    is_status(asocket_sleep(selector, 1), ASOCKET_OK, "P7: the longest deadline does not overflow");
    asocket_restore_deadline(selector, former);
    asocket_set_deadline(selector, 0);
    asocket_restore_deadline(selector, ASOCKET_NEVER);
    is_status(asocket_sleep(selector, 1), ASOCKET_OK, "P7: NEVER takes every deadline away");
}

static void read_with_deadline(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;
    asocket_read_channel *in = asocket_open_read_channel(own->socket);
    int64_t former = asocket_set_deadline(owner, 15);
    char line[16];

    own->status = (int)asocket_read_line(in, line, sizeof line);
    own->rounds = (int)asocket_available(in);
    asocket_restore_deadline(owner, former);
    own->later = (int)asocket_read_line(in, line, sizeof line);
    own->ended = strcmp(line, "half and half") == 0;
}

static void deadline_keeps_bytes(void)
{
    body own = body_named('r', 0), child = body_named('c', 0);
    test_pair pair;

    if (!test_pair_open(selector, &pair))
        return;
    own.socket = pair.socket;
    own.job = asocket_launch(selector, read_with_deadline, &own);
    child.ms = 30;
    asocket_launch(selector, sleep_for, &child);
    test_peer_send(pair.peer, "half and", 8);
    asocket_sleep(selector, 40);
    test_peer_send(pair.peer, " half\n", 6);
    asocket_run(selector);
    is_status(own.status, ASOCKET_ETIMEDOUT, "P7: a deadline ends a read in the middle of a line");
    is_int(own.rounds, 8, "P7: the first half stays");
    ok(own.later == 13 && own.ended, "P7: and the next call reads the whole line");
    is_status(child.status, ASOCKET_OK, "P7: a deadline is its coroutine's own");
    test_pair_close(&pair);
}

static void set_deadline_and_launch(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    asocket_set_deadline(owner, 5);
    asocket_launch(owner, sleep_for, own + 1);
    own->status = asocket_join_all(owner);
}

static void deadline_is_not_inherited(void)
{
    body bodies[2];

    bodies[0] = body_named('p', 0);
    bodies[1] = body_named('c', 20);
    asocket_launch(selector, set_deadline_and_launch, bodies);
    asocket_run(selector);
    is_status(bodies[0].status, ASOCKET_ETIMEDOUT, "P7: a deadline ends join_all");
    is_status(bodies[1].status, ASOCKET_OK, "P7: the child has none");
}

static void deadline_against_handle(void)
{
    int64_t former;
    int ends[2];

    if (pipe(ends) < 0)
        return;
    former = asocket_set_deadline(selector, 5);
    is_status(asocket_wait_handle(selector, ends[0], ASOCKET_READ), ASOCKET_ETIMEDOUT,
              "P7: a deadline ends wait_handle");
    asocket_restore_deadline(selector, former);
    if (write(ends[1], "x", 1) == 1)
        is_int(asocket_wait_handle(selector, ends[0], ASOCKET_READ), ASOCKET_READ,
               "P7: which works again after that");
    close(ends[0]);
    close(ends[1]);
}

/* --- sleeping --------------------------------------------------------------------------------- */

static void sleeps_are_never_early(void)
{
    static const int64_t lengths[] = {0, 1, 2, 3, 7, 20};
    size_t i;

    for (i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int64_t start = test_clock();
        int status = asocket_sleep(selector, lengths[i]);

        ok(status == ASOCKET_OK && test_took(start, lengths[i], lengths[i]),
           "P11: a sleep of %d ms is not shorter", (int)lengths[i]);
    }
}

/* Linux before 5.11 has no epoll_pwait2 (system call 441), and a filter may forbid it. */
static bool waits_are_milliseconds(int backend)
{
#ifdef __linux__
    struct epoll_event event;

    return backend == ASOCKET_BACKEND_EPOLL && syscall(441L, -1L, &event, 1L, NULL, NULL, 0L) < 0 &&
           errno != EBADF;
#else
    (void)backend;
    return TEST_WINDOWS;
#endif
}

static void short_sleeps(int backend)
{
    const int rounds = slow() ? 20 : 200;
    int64_t start = test_clock();
    clock_t cpu = clock();
    int i, early = 0, fine = 0;

    for (i = 0; i < rounds; i++) {
        int64_t before = test_clock(), took;

        asocket_sleep_ns(selector, 250000);
        took = test_clock() - before;
        early += took < 250000;
        fine += took < 1000000;
    }
    cpu = clock() - cpu;
    start = test_clock() - start;
    is_int(early, 0, "P11: %d sleeps of 250 us are not shorter", rounds);
    if (slow() || waits_are_milliseconds(backend)) {
        skip(2, slow() ? "a checker takes the CPU" : "the system's waits are milliseconds");
        return;
    }
    /* On a busy machine most may take longer. */
    ok(fine >= rounds / 20, "P11: nor are they rounded up to milliseconds (%d are not)", fine);
    ok((double)cpu / CLOCKS_PER_SEC < (double)start / 1e9 / 2, "P11: and they do not spin");
}

typedef struct sleeper {
    int64_t target; /* on test_clock; first: since the start. Not due before */
    int64_t latest; /* nor due after */
    int early;
} sleeper;

static struct { /* what all sleepers share */
    asocket_job gate;
    int count, waiting, woken, out_of_order;
    int64_t start, woken_target; /* the highest target of those that woke */
    sleeper *before;             /* the one that called last */
} sleepers;

/* Ends when all are there, so that none is due before all sleep. */
static void open_gate(asocket_selector *owner, void *argument)
{
    (void)argument;
    while (sleepers.waiting < sleepers.count)
        asocket_yield(owner);
    sleepers.start = test_clock() + (int64_t)100000000 * test_slowness();
}

/* The call reads the clock once more: after `now`, and before the next sleeper does. */
static void sleep_until(asocket_selector *owner, void *argument)
{
    sleeper *own = (sleeper *)argument;
    int64_t now;

    sleepers.waiting++;
    asocket_join(owner, sleepers.gate);
    own->target += sleepers.start;
    now = test_clock();
    if (sleepers.before)
        sleepers.before->latest += now;
    if (now > own->target) /* too slow to be in the order */
        own->target = now;
    own->latest = own->target - now;
    sleepers.before = own;
    asocket_sleep_ns(owner, own->target - now);
    if (sleepers.before) /* nobody came after it */
        sleepers.before->latest += test_clock();
    sleepers.before = NULL;
    own->early = test_clock() < own->target;
    if (own->latest < sleepers.woken_target)
        sleepers.out_of_order++;
    else if (own->target > sleepers.woken_target && own->target > now)
        sleepers.woken_target = own->target;
    sleepers.woken++;
}

static void many_sleepers(void)
{
    const int count = slow() ? 2000 : 10000;
    sleeper *all = (sleeper *)calloc((size_t)count, sizeof *all);
    int i, early = 0;

    memset(&sleepers, 0, sizeof sleepers);
    sleepers.count = count;
    sleepers.gate = asocket_launch(selector, open_gate, NULL);
    for (i = 0; i < count; i++) {
        all[i].target = (int64_t)(i * 7919LL % count) * 5000;
        asocket_launch(selector, sleep_until, &all[i]);
    }
    asocket_run(selector);
    for (i = 0; i < count; i++)
        early += all[i].early;
    is_int(sleepers.woken, count, "P11: %d sleepers wake", count);
    is_int(early, 0, "P11: none of them early");
    is_int(sleepers.out_of_order, 0, "P11: in the order in which they are due");
    free(all);
}

typedef struct gamble {
    int64_t deadline, sleep; /* ms */
    bool right;
} gamble;

static void sleep_against_deadline(asocket_selector *owner, void *argument)
{
    gamble *own = (gamble *)argument;
    int64_t least = (own->sleep < own->deadline ? own->sleep : own->deadline) * 1000000;
    int i;

    own->right = true;
    for (i = 0; i < 3 && own->right; i++) {
        int64_t start = test_clock(), former = asocket_set_deadline(owner, own->deadline);
        int status = asocket_sleep(owner, own->sleep);

        own->right =
            test_clock() - start >= least &&
            (status == ASOCKET_ETIMEDOUT || (status == ASOCKET_OK && own->sleep < own->deadline));
        asocket_restore_deadline(owner, former);
    }
}

static void timers_come_and_go(void)
{
    gamble all[500];
    bool right = true;
    int i;

    for (i = 0; i < 500; i++) {
        all[i].deadline = i * 31 % 17;
        all[i].sleep = i * 17 % 13;
        all[i].right = false;
        asocket_launch(selector, sleep_against_deadline, &all[i]);
    }
    asocket_run(selector);
    for (i = 0; i < 500; i++)
        right = right && all[i].right;
    ok(right, "P7: 500 coroutines whose deadlines and sleeps race, three times each");
}

static void sleep_for_ever(void)
{
    body own = body_named('f', INT64_MAX);

    own.job = asocket_launch(selector, sleep_for, &own);
    settle();
    ok(!own.ended, "the longest sleep does not overflow");
    asocket_cancel(selector, own.job);
    asocket_run(selector);
    is_status(own.status, ASOCKET_ECANCELED, "P7: and can be cancelled");
}

/* --- the end of the selector ------------------------------------------------------------------ */

typedef struct last_ones {
    body sleeper, reader, accepter, joiner, unstarted, late;
} last_ones;

static void launch_at_the_end(asocket_selector *owner, void *argument)
{
    body *own = (body *)argument;

    own->status = asocket_sleep(owner, ASOCKET_FOREVER);
    asocket_launch(owner, wait_twice, own + 1);
    own->ended = true;
}

static void destroy_ends_coroutines(int backend)
{
    asocket_selector *own;
    last_ones all;
    test_pair pair;
    int64_t start;

    memset(&all, 0, sizeof all);
    own = test_selector_closing(backend, 0);
    if (!test_pair_open(own, &pair))
        return;
    all.reader.socket = pair.socket;
    all.accepter.socket = pair.server;
    all.sleeper.job = asocket_launch(own, wait_twice, &all.sleeper);
    all.joiner.other = all.sleeper.job;
    asocket_launch(own, read_one, &all.reader);
    asocket_launch(own, accept_one, &all.accepter);
    asocket_launch(own, join_other, &all.joiner);
    asocket_launch(own, launch_at_the_end, &all.unstarted);
    asocket_poll(own, 0);
    asocket_launch(own, wait_twice, &all.unstarted);
    start = test_clock();
    close(pair.peer);
    asocket_selector_destroy(own);
    ok(test_took(start, 0, 100), "P7: destroying a selector with parked coroutines does not wait");
    is_status(all.sleeper.status, ASOCKET_ECANCELED, "P7: destroy cancels those that sleep");
    is_status(all.joiner.status, ASOCKET_ECANCELED, "P7: those that join");
    is_status(all.accepter.status, ASOCKET_ECANCELED, "P7: those that accept");
    ok(all.reader.ended && all.sleeper.ended && all.unstarted.ended && all.late.ended,
       "P7: and runs all to their end, also what is launched meanwhile");
}

static void never_end(asocket_selector *owner, void *argument)
{
    int *calls = (int *)argument;

    for (;;) {
        asocket_sleep(owner, ASOCKET_FOREVER);
        ++*calls;
    }
}

static void launch_another(asocket_selector *owner, void *argument)
{
    ++*(int *)argument;
    asocket_yield(owner);
    asocket_launch(owner, launch_another, argument);
}

/* `function` counts how often it got to go on. */
static void destroy_is_bounded(int backend, asocket_function *function, const char *whom)
{
    asocket_selector *own = test_selector_closing(backend, 30);
    int64_t start = test_clock();
    int count = 0;

    asocket_launch(own, function, &count);
    asocket_selector_destroy(own);
    ok(count > 1, "destroy cancels %s again and again", whom);
    ok(test_took(start, 0, 60), "P7: and gives it up after close_timeout");
}

static void destroy_inside(asocket_selector *owner, void *argument)
{
    asocket_selector_destroy(owner);
    ((body *)argument)->status = asocket_error(owner);
}

static void destroy_is_refused_inside(void)
{
    body own = body_named('d', 0);

    asocket_launch(selector, destroy_inside, &own);
    asocket_run(selector);
    is_status(own.status, ASOCKET_EINVAL, "P6: destroy inside a coroutine is refused");
}

/* ---------------------------------------------------------------------------------------------- */

static void test_launching(void)
{
    launch_order();
    launch_inside();
    current_job();
    child_tree();
}

static void test_joining(void)
{
    join_waits();
    join_made_up_jobs();
    self_join();
    several_joiners();
    stale_job_of_reused_stack();
    join_can_end_early();
    join_cancelled();
    join_all_of_what_is_left();
    join_all_knows_its_own();
}

static void test_cancelling(void)
{
    cancel_is_sticky();
    cancel_before_start();
    cancel_oneself();
    cancel_reaches_down();
    children_of_the_cancelled();
    a_cancelled_parent_waits_for_its_children(true);
    a_cancelled_parent_waits_for_its_children(false);
    only_a_deadline_ends_that();
    cancel_all_inside();
    cancel_all_outside();
    orphans_go_to_the_grandparent();
    orphans_go_to_the_code_outside();
    cancel_a_long_chain();
    cancelled_can_say_goodbye();
    cancel_ends_a_full_write();
    close_ends_waits();
    memory_of_a_call_is_not_reused();
    refused_waits_for_a_handle();
}

static void test_launch_socket(void)
{
    launch_socket_closes(say_hello, "when it leaves that to us");
    launch_socket_closes(say_hello_and_close, "also when it did so itself");
    launch_socket_that_fails();
    launch_socket_twice();
}

static void test_fairness(void)
{
    yield_order();
    yield_outside();
    many_take_turns();
    floods_are_fair();
    much_is_many();
    accepting_is_fair();
    descriptors_are_heard();
    stubborn_loops();
    busy_loops_are_interrupted();
    what_is_done_at_once_is_fair();
}

static void test_switching(void)
{
    deep_recursion();
    registers_survive();
    errno_does_not_matter();
    waits_outside();
    accept_outside();
    failures_are_ones_own();
}

static void test_time(int backend)
{
    deadline_ends_waits();
    deadline_covers_a_sum();
    deadlines_nest();
    deadline_of_zero();
    deadline_odds();
    deadline_keeps_bytes();
    deadline_is_not_inherited();
    deadline_against_handle();
    sleeps_are_never_early();
    short_sleeps(backend);
    many_sleepers();
    timers_come_and_go();
    sleep_for_ever();
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    test_launching();
    test_joining();
    test_cancelling();
    test_launch_socket();
    test_fairness();
    test_switching();
    test_time(test_backend(argc, argv));
    destroy_ends_coroutines(test_backend(argc, argv));
    destroy_is_bounded(test_backend(argc, argv), never_end, "a coroutine that ignores it");
    destroy_is_bounded(test_backend(argc, argv), launch_another,
                       "one that launches another one at its end");
    destroy_is_refused_inside();
    return test_end(selector);
}
