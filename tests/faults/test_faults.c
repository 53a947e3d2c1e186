/* test_faults.c - each scenario again with each call to the system and each allocation failing,
   with every error that tests/faults.tsv has for it.

       TEST_FAULTS=all build/faults/test_faults epoll|poll|kqueue
                       [--scenario NAME] [--only KEY] [--seeds FROM:COUNT] [--sites]

   A scenario runs once without a fault and its calls are counted. Then for each call k of each
   function, and each row of the table for it, it runs with this call failing once; with all calls
   of the function failing from there on; with the next call, whatever it is, failing too, and, for
   a third of them, the second or the third one after it. Of a scenario that takes long all calls
   fail once, a third of them from there on, a ninth with another one. Then everything must be back
   - descriptors, memory, coroutines, sockets, timers - every call must have answered what asocket.h
   says, and the same scenario, without faults, on the same selector, must go well. Those with TLS
   are there where BearSSL is.

   Then swarms: many faults at random in one run, by so many seeds (swarm.h), under the same
   conditions; --seeds has others, and of a single one it shows what failed where.

   A failure is reported with its key, scenario:function:k:row:mode; --only runs just that, in this
   process; or, of a swarm, with the command that repeats it. What failed beside others runs once
   more, and that counts: some runs wait for peers. Without TEST_FAULTS=all it is a sample of the
   runs, others for each scenario. --sites shows how often each call site failed. Scenarios run in
   processes of their own, so that a crash or a hang is one failure. */
#define TAP_SECONDS 580
#include "swarm.h"
#include "../tap.h"

#include <dirent.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { MODE_CLEAN, MODE_ONCE, MODE_ON, MODE_THEN, MODES = MODE_THEN + 3, MODE_SWARM = MODES };
static const char *const mode_names[MODES] = {"clean", "once", "on", "then1", "then2", "then3"};

typedef struct run {
    const seam_row *row;
    int index, mode;
    uint64_t seed; /* of a swarm */
} run;

enum { WORKERS = 6, RUNS = 200000, FAILURES = 20, QUICK = 37, RUN_SECONDS = 20 };
enum { SEEDS = 400, SEEDS_QUICK = 40 };

static struct shared { /* between the processes; first what seam.h wants */
    seam_record record;
    int current[WORKERS]; /* the run that each is at */
    int runs, missed, failures;
    run failed[FAILURES];
    char text[FAILURES][500];
    long totals[SCENARIO_COUNT]; /* calls without a fault */
    struct witness {             /* the first run that reached a place */
        int scenario;
        run by;
    } witness[SEAM_SITES];
} * shared;

static int backend;
static const char *backend_name, *program;
static bool quick;
static run runs[RUNS];
static int run_count;
static const struct scenario *scenario;
static int worker;                        /* which one this process is */
static const seam_site *also;             /* what fails besides, wherever it is reached; or NULL */
static swarm drawn;                       /* what the run is, if it is a swarm */
static const struct scenario *drawn_only; /* what all of them are of, or NULL */

/* --- one run ---------------------------------------------------------------------------------- */

static int open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    if (!directory)
        return 0;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

/* Waits until what was launched has ended, however long that takes. */
static void scene_join(scene *s)
{
    asocket_restore_deadline(s->selector, ASOCKET_NEVER);
    (void)asocket_join_all(s->selector);
}

/* Closes what a scenario kept, and waits until its coroutines have ended. */
static void scene_end(scene *s)
{
    scene_close(s);
    while (s->handle_count)
        (void)close(s->handles[--s->handle_count]);
    if (!s->selector)
        return;
    (void)asocket_cancel_all(s->selector);
    scene_join(s);
}

static bool settled(asocket_selector *selector, asocket_statistics *statistics)
{
    (void)asocket_stats(selector, statistics);
    return !statistics->coroutines && !statistics->sockets && !statistics->buffers &&
           asocket_next_timeout(selector) == ASOCKET_FOREVER;
}

/* Without faults: what still goes on in the background must come to an end. */
static void scene_settle(scene *s)
{
    asocket_statistics statistics;
    int turns;

    if (!s->selector)
        return;
    if (scenario->after)
        scenario->after(s);
    for (turns = 0; turns < 100; turns++) {
        if (settled(s->selector, &statistics))
            return;
        (void)asocket_poll(s->selector, 10);
    }
    seam_complain("left behind: %d coroutines, %d sockets, %d buffers, a timer in %d ms",
                  (int)statistics.coroutines, (int)statistics.sockets, (int)statistics.buffers,
                  (int)asocket_next_timeout(s->selector));
}

static void scene_play(scene *s, bool strict, bool prompt)
{
    asocket_selector *selector = s->selector;

    memset(s, 0, sizeof *s);
    s->selector = selector;
    s->backend = backend;
    s->strict = strict;
    s->prompt = prompt && scenario->traits & PROMPT;
    if (selector)
        (void)asocket_set_deadline(selector, SCENE_TIME);
    scenario->play(s);
    scene_end(s);
}

/* Whether the deadline may be the first to notice: the fault says so itself, or keeps the loop from
   being told anything, or is one that is waited for to end; or there is another one. */
static bool may_time_out(const run *r)
{
    const seam_row *row = r->row;

    if (!row || also || r->mode >= MODE_THEN)
        return row || also;
    if (row->fault == ETIMEDOUT || row->fault == SEAM_STORED - ETIMEDOUT)
        return true;
    return r->mode == MODE_ON &&
           (row->function == SEAM_epoll_wait || row->function == SEAM_syscall ||
            row->function == SEAM_ppoll || row->function == SEAM_kevent ||
            row->seen == SEAM_SEEN_ONCE_NOT || row->fault == EAGAIN || row->fault == ENOTCONN);
}

static void scene_faulty(scene *s, const run *r)
{
    int seen = r->row ? r->row->seen : SEAM_UNSEEN;

    seam_start(r->row, r->index, r->mode == MODE_ON,
               r->mode < MODE_THEN ? 0 : r->mode - MODE_THEN + 1);
    scene_play(s,
               !also && ((seen == SEAM_UNSEEN && r->mode < MODE_THEN) ||
                         (seen == SEAM_SEEN_ONCE_NOT && r->mode == MODE_ONCE)),
               !may_time_out(r));
}

static struct member { /* one of those that are played side by side */
    const struct scenario *scenario;
    scene scene;
} crowd[SWARM_CROWD];

static void member_main(asocket_selector *selector, void *argument)
{
    struct member *member = (struct member *)argument;

    (void)asocket_set_deadline(selector, SCENE_TIME);
    member->scenario->play(&member->scene);
    scene_end(&member->scene);
}

static void crowd_play(scene *s, bool strict)
{
    asocket_selector *selector = s->selector;
    int i;

    memset(s, 0, sizeof *s);
    memset(crowd, 0, sizeof crowd);
    s->selector = selector;
    s->strict = strict;
    for (i = 0; i < drawn.count; i++) {
        crowd[i].scenario = drawn.scenarios[i];
        crowd[i].scene.selector = selector;
        crowd[i].scene.backend = backend;
        crowd[i].scene.strict = strict;
        (void)got(s, "launch", asocket_launch(selector, member_main, &crowd[i]) != 0, MAY_LAUNCH);
    }
    scene_join(s);
}

static void swarm_play(scene *s, bool strict)
{
    if (drawn.count > 1)
        crowd_play(s, strict);
    else
        scene_play(s, strict, false);
}

static void scene_swarm(scene *s)
{
    int i;

    seam_start_swarm(&drawn.plan);
    for (i = 0; i < drawn.plays; i++)
        swarm_play(s, drawn.strict);
}

/* The scenario with faults, and once more without. */
static void scene_twice(scene *s, const run *r)
{
    if (!scenario->own)
        s->selector = scene_selector(s);
    seam_also = also;
    if (r->mode == MODE_SWARM)
        scene_swarm(s);
    else
        scene_faulty(s, r);
    seam_stop();
    seam_stage = "afterwards: ";
    scene_settle(s);
    if (r->mode == MODE_SWARM)
        swarm_play(s, true);
    else
        scene_play(s, true, true);
    scene_settle(s);
    asocket_selector_destroy(s->selector);
}

/* What the run is of; more calls than the limit are too many. */
static void run_prepare(const run *r)
{
    int i;

    if (r->mode != MODE_SWARM)
        return;
    swarm_of(r->seed, drawn_only, &drawn);
    scenario = drawn.scenarios[0];
    for (seam_limit = i = 0; i < drawn.count; i++)
        seam_limit += shared->totals[drawn.scenarios[i] - scenarios];
    seam_limit = seam_limit * 30 * drawn.plays + 20000;
}

static void run_here(const run *r)
{
    int descriptors = open_descriptors(), left, turns;
    long blocks = seam_blocks(), mapped = seam_mapped();
    scene s;

    run_prepare(r);
    memset(&s, 0, sizeof s);
    s.backend = backend;
    seam_begin();
    seam_stage = "";
    seam_real_time = scenario->real_time;
    scene_twice(&s, r);
    seam_tidy();
    seam_stage = "";
    for (turns = 0; seam_blocks() > blocks && turns < 500; turns++)
        usleep(2000); /* threads that look up names give their memory back by themselves */
    left = open_descriptors() - descriptors;
    if (left)
        seam_complain("%d descriptors leaked", left);
    if (seam_blocks() != blocks)
        seam_complain("%ld blocks of memory leaked", seam_blocks() - blocks);
    if (seam_mapped() != mapped)
        seam_complain("%ld mappings leaked", seam_mapped() - mapped);
}

/* --- what went wrong -------------------------------------------------------------------------- */

static void run_key(const run *r, char *key, size_t size)
{
    if (r->mode == MODE_SWARM)
        snprintf(key, size, "--seeds %llu:1%s%s: %.*s", (unsigned long long)r->seed,
                 drawn_only ? " --scenario " : "", drawn_only ? scenario->name : "", drawn.names,
                 drawn.text);
    else if (r->row)
        snprintf(key, size, "%s:%s:%d:%s:%s", scenario->name, seam_names[r->row->function],
                 r->index, r->row->result, mode_names[r->mode]);
    else
        snprintf(key, size, "%s:clean", scenario->name);
}

/* asocket.h:123, where the fault came to happen first. */
static const char *site_text(const seam_site *site)
{
    static char text[60];
    const char *slash = site ? strrchr(site->file, '/') : NULL;

    snprintf(text, sizeof text, "%s:%d", slash ? slash + 1 : "nowhere", site ? site->line : 0);
    return text;
}

static void report(const run *r, const char *problem)
{
    const seam_site *site;
    int at = __atomic_fetch_add(&shared->failures, 1, __ATOMIC_RELAXED);
    char key[200];

    (void)seam_injected(&site);
    run_prepare(r);
    run_key(r, key, sizeof key);
    if (at >= FAILURES)
        return;
    shared->failed[at] = *r;
    snprintf(shared->text[at], sizeof shared->text[at], "%s%s%s %s (%s): %s",
             r->mode == MODE_SWARM ? program : "", r->mode == MODE_SWARM ? " " : "", backend_name,
             key, site_text(site), problem);
}

static void report_stuck(void)
{
    report(&runs[shared->current[worker]], seam_problem());
    _exit(9);
}

static void run_and_report(const run *r)
{
    const seam_site *site;

    (void)alarm(RUN_SECONDS);
    run_here(r);
    (void)alarm(0);
    (void)__atomic_fetch_add(&shared->runs, 1, __ATOMIC_RELAXED);
    if ((r->row || r->seed) && !seam_injected(&site))
        (void)__atomic_fetch_add(&shared->missed, 1, __ATOMIC_RELAXED);
    if (seam_problem())
        report(r, seam_problem());
}

/* --- all runs of a scenario ------------------------------------------------------------------- */

/* A process for every so manieth run; it goes on from where the one before it ended. */
static pid_t work(int number)
{
    int *at = &shared->current[number];
    pid_t child = *at < run_count ? fork() : 0;

    if (*at >= run_count || child > 0)
        return child;
    if (child < 0)
        exit(3);
    worker = number;
    (void)signal(SIGALRM, SIG_DFL);
    for (; *at < run_count; *at += WORKERS)
        run_and_report(&runs[*at]);
    _exit(0);
}

/* A process that died costs the run that it was at. */
static void work_ended(int number, int status)
{
    const run *r = &runs[shared->current[number]];

    if (WIFSIGNALED(status))
        report(r, strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) && WEXITSTATUS(status) != 9)
        report(r, "the process ended, see above");
    shared->current[number] += WORKERS;
}

static void run_all(void)
{
    pid_t children[WORKERS], child;
    int i, status;

    for (i = 0; i < WORKERS; i++) {
        shared->current[i] = i;
        children[i] = work(i);
    }
    while ((child = waitpid(-1, &status, 0)) > 0) {
        for (i = 0; i < WORKERS && children[i] != child; i++) {
        }
        if (i == WORKERS)
            continue;
        work_ended(i, status);
        children[i] = work(i);
    }
}

/* Of so many runs of a mode one is made. */
static int one_in(int mode)
{
    bool dear = (scenario->traits & DEAR) != 0;

    if (mode < MODE_THEN)
        return dear && mode == MODE_ON ? 3 : 1;
    return dear ? 9 : mode == MODE_THEN ? 1 : 3;
}

static void add_runs(int function, int index, int mode)
{
    uint64_t fits = shared->record.fits[function][index];
    int every = one_in(mode);
    int first, i;

    for (first = 0; seam_rows[first].function != function; first++) {
    }
    for (i = 0; fits >> i; i++) {
        run r = {&seam_rows[first + i], index, mode, 0};

        if (!(fits >> i & 1) || run_count == RUNS || (mode == MODE_ON && r.row->most == 1))
            continue;
        if ((index + i) % every == 0)
            runs[run_count++] = r;
    }
}

static void thin_out(void)
{
    int i, kept = 0, phase = (int)(scenario - scenarios);
    int every = scenario->traits & DEAR ? 3 * QUICK : QUICK;

    for (i = 0; i < run_count; i++)
        if ((i + phase) % every == 0)
            runs[kept++] = runs[i];
    run_count = kept;
}

static void list_runs(int mode)
{
    int function, i;

    run_count = 0;
    if (mode == MODE_CLEAN) {
        run clean = {NULL, 0, MODE_CLEAN, 0};

        runs[run_count++] = clean;
        return;
    }
    for (function = 0; function < SEAM_COUNT; function++)
        for (i = 0; i < shared->record.calls[function] && i < SEAM_CALLS; i++)
            if (shared->record.fits[function][i])
                add_runs(function, i, mode);
    if (quick)
        thin_out();
}

static void show_failures(void)
{
    int i;

    for (i = 0; i < shared->failures && i < FAILURES; i++)
        diag("%s", shared->text[i]);
    if (shared->failures > FAILURES)
        diag("and %d more", shared->failures - FAILURES);
}

/* A few that failed, once more: those that fail again did. */
static void run_again(void)
{
    int count = shared->failures;

    if (!count || count > FAILURES)
        return;
    diag("once more, after:");
    show_failures();
    memcpy(runs, shared->failed, (size_t)count * sizeof *runs);
    run_count = count;
    shared->failures = 0;
    run_all();
    diag("%d of %d failed again", shared->failures, count);
}

static void try_mode(int mode)
{
    static const char *const texts[MODES] = {"without a fault",
                                             "each call failing once",
                                             "each call failing from then on",
                                             "each call failing, and the next one",
                                             "each call failing, and the next but one",
                                             "each call failing, and the third after it"};

    shared->failures = shared->runs = shared->missed = 0;
    list_runs(mode);
    run_all();
    run_again();
    ok(!shared->failures, "%s over %s, %s: %s; %d runs, %d of them failed", scenario->name,
       backend_name, texts[mode], scenario->text, shared->runs, shared->failures);
    if (shared->missed)
        printf("# %d times the call was not reached\n", shared->missed);
    show_failures();
}

static void try_scenario(void)
{
    int function, mode;

    seam_limit = 1000000;
    try_mode(MODE_CLEAN);
    shared->totals[scenario - scenarios] = shared->record.total;
    for (function = 0; function < SEAM_COUNT; function++)
        if (shared->record.calls[function] > SEAM_CALLS)
            diag("%s: only %d of %ld calls of %s are tried", scenario->name, SEAM_CALLS,
                 shared->record.calls[function], seam_names[function]);
    seam_limit = shared->record.total * 30 + 20000;
    for (mode = MODE_ONCE; mode < (quick ? MODE_THEN : MODES); mode++)
        try_mode(mode);
}

/* --- one run of one's choice ------------------------------------------------------------------ */

static const seam_row *row_named(const char *function, const char *result)
{
    int i;

    for (i = 0; i < seam_row_count; i++)
        if (!strcmp(seam_names[seam_rows[i].function], function) &&
            !strcmp(seam_rows[i].result, result))
            return &seam_rows[i];
    return NULL;
}

/* What failed in this process, in order. */
static void show_events(void)
{
    seam_event event;
    int i;

    if (drawn.plays)
        printf("# %s\n", drawn.text);
    for (i = 0; drawn.plays && !seam_event_at(i, &event); i++)
        printf("# %s:%ld:%s at %s\n", seam_names[event.row->function], event.index,
               event.row->result, site_text(event.site));
}

static void stuck_here(void)
{
    show_events();
    printf("not ok - %s\n", seam_problem());
    exit(9);
}

static int run_only(char *key)
{
    char *part[5] = {NULL, NULL, NULL, NULL, NULL}, *save = NULL, *at;
    run r = {NULL, 0, MODE_CLEAN, 0};
    const seam_site *site;
    int count = 0, i;

    for (at = strtok_r(key, ":", &save); at && count < 5; at = strtok_r(NULL, ":", &save))
        part[count++] = at;
    for (i = 0; part[0] && i < SCENARIO_COUNT; i++)
        if (!strcmp(scenarios[i].name, part[0]))
            scenario = &scenarios[i];
    if (part[4]) {
        r.row = row_named(part[1], part[3]);
        r.index = atoi(part[2]);
        for (r.mode = MODE_ONCE; r.mode < MODES - 1 && strcmp(part[4], mode_names[r.mode]);)
            r.mode++;
    }
    if (!scenario || (part[4] && !r.row)) {
        fprintf(stderr, "no such run\n");
        return 2;
    }
    seam_stuck = stuck_here;
    seam_limit = 1000000;
    run_here(&r);
    printf("# failed %ld times,", seam_injected(&site));
    printf(" first at %s\n", site_text(site));
    ok(!seam_problem(), "%s", seam_problem() ? seam_problem() : "it went well");
    return done_testing();
}

/* --- swarms ----------------------------------------------------------------------------------- */

/* How many calls a scenario makes by itself, if that is not known. */
static void seeds_measure(const struct scenario *of)
{
    if (shared->totals[of - scenarios])
        return;
    scenario = of;
    seam_limit = 1000000;
    list_runs(MODE_CLEAN);
    run_all();
    shared->totals[of - scenarios] = shared->record.total;
}

static void seeds_list(uint64_t from, int count)
{
    int i, k;

    for (i = 0; i < count; i++) {
        swarm_of(from + (uint64_t)i, drawn_only, &drawn);
        for (k = 0; k < drawn.count; k++)
            seeds_measure(drawn.scenarios[k]);
    }
    for (run_count = 0; run_count < count; run_count++) {
        run r = {NULL, 0, MODE_SWARM, from + (uint64_t)run_count};

        runs[run_count] = r;
    }
}

static void try_seeds(uint64_t from, int count)
{
    shared->failures = 0;
    seeds_list(from, count);
    shared->runs = shared->missed = 0;
    run_all();
    run_again();
    ok(!shared->failures, "swarms over %s, seeds %llu to %llu: %d runs, %d of them failed",
       backend_name, (unsigned long long)from, (unsigned long long)from + (unsigned)count - 1,
       shared->runs, shared->failures);
    printf("# nothing failed in %d of them\n", shared->missed);
    show_failures();
}

/* One in this process, with all that happens. */
static int try_seed(uint64_t seed)
{
    run r = {NULL, 0, MODE_SWARM, seed};

    seeds_list(seed, 1);
    seam_stuck = stuck_here;
    run_here(&r);
    show_events();
    ok(!seam_problem(), "%s", seam_problem() ? seam_problem() : "it went well");
    return done_testing();
}

static int run_seeds(const char *range)
{
    unsigned long long from = 0;
    int count = 0;

    if (sscanf(range, "%llu:%d", &from, &count) != 2 || !from || count < 1 || count > RUNS) {
        fprintf(stderr, "--seeds FROM:COUNT, from 1 on, at most %d\n", RUNS);
        return 2;
    }
    if (count == 1)
        return try_seed(from);
    try_seeds(from, count);
    return done_testing();
}

/* --- coverage --------------------------------------------------------------------------------- */

/* How many of the rows a site failed with. */
static int site_rows(const seam_site *site, int *of)
{
    int i, count = 0;

    for (i = *of = 0; i < seam_row_count; i++) {
        *of += seam_rows[i].function == site->function;
        count += shared->record.failed[site->index][i] > 0;
    }
    return count;
}

static void note_witness(int site)
{
    shared->witness[site].scenario = (int)(scenario - scenarios);
    shared->witness[site].by = runs[shared->current[worker]];
}

/* What was reached by chance only, or behind another fault, and did not happen to fail: the run that
   reached it, with that call failing, too. */
static void try_witness(const seam_site *site)
{
    enum { TIMES = 2 * WORKERS };
    const struct witness *w = &shared->witness[site->index];
    char key[200];

    scenario = &scenarios[w->scenario];
    run_key(&w->by, key, sizeof key);
    also = site;
    for (run_count = 0; run_count < TIMES; run_count++)
        runs[run_count] = w->by;
    shared->failures = 0;
    run_all();
    also = NULL;
    ok(!shared->failures, "%s over %s, and %s fails, too: %d runs, %d of them failed", key,
       backend_name, site->name, run_count, shared->failures);
    show_failures();
}

static void try_witnesses(void)
{
    int count, i, of;
    seam_site *const *sites = seam_sites(&count);

    for (i = 0; i < count; i++)
        if (shared->record.reached[i] && !site_rows(sites[i], &of) && of)
            try_witness(sites[i]);
}

static void show_coverage(bool all)
{
    int count, i, reached = 0, failed_sites = 0, pairs = 0, of, never = 0;
    seam_site *const *sites = seam_sites(&count);

    for (i = 0; i < count; i++) {
        uint64_t calls = shared->record.reached[i];
        int rows = site_rows(sites[i], &of);

        reached += calls > 0;
        failed_sites += rows > 0;
        pairs += rows;
        if ((!calls && of) || all)
            printf("# %s %s: %s, failed with %d of %d rows\n", site_text(sites[i]), sites[i]->name,
                   calls ? "reached" : "never reached", rows, of);
        if (!calls || rows || !of || quick)
            continue;
        never++;
        diag("%s: %s was reached %lu times and never failed", site_text(sites[i]), sites[i]->name,
             (unsigned long)calls);
    }
    printf("# %d call sites, %d reached, %d failed; %d pairs of site and error\n", count, reached,
           failed_sites, pairs);
    if (!quick)
        ok(!never, "every call site that was reached over %s failed there too", backend_name);
}

/* --- main ------------------------------------------------------------------------------------- */

static void set_up(void)
{
    const char *wrong = seam_read("tests/faults.tsv");

    if (!wrong)
        wrong = swarm_wrong();
    shared = (struct shared *)mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || wrong) {
        fprintf(stderr, "tests/faults.tsv: %s\n", wrong ? wrong : "no memory");
        exit(2);
    }
    seam_shared = &shared->record;
    seam_stuck = report_stuck;
    seam_first = note_witness;
}

static const char *option(int argc, char **argv, const char *name)
{
    int i;

    for (i = 1; i < argc; i++)
        if (!strcmp(argv[i], name))
            return i + 1 < argc ? argv[i + 1] : "";
    return NULL;
}

static void choose_backend(const char *name)
{
    backend_name = !strcmp(name, "poll") ? "poll" : !strcmp(name, "kqueue") ? "kqueue" : "epoll";
    backend = backend_name[0] == 'p'   ? ASOCKET_BACKEND_POLL
              : backend_name[0] == 'k' ? ASOCKET_BACKEND_KQUEUE
                                       : ASOCKET_BACKEND_EPOLL;
}

int main(int argc, char **argv)
{
    const char *name = option(argc, argv, "--scenario"), *all = getenv("TEST_FAULTS");
    const char *seeds = option(argc, argv, "--seeds");
    char *only = (char *)(uintptr_t)option(argc, argv, "--only");
    int i;

    program = argv[0];
    choose_backend(argc > 1 ? argv[1] : "epoll");
    quick = !all || strcmp(all, "all") != 0;
    set_up();
    if (only)
        return run_only(only);
    for (i = 0; seeds && name && i < SCENARIO_COUNT; i++)
        if (!strcmp(name, scenarios[i].name))
            drawn_only = &scenarios[i];
    if (seeds)
        return run_seeds(seeds);
    for (i = 0; i < SCENARIO_COUNT; i++) {
        scenario = &scenarios[i];
        if (!name || !strcmp(name, scenario->name))
            try_scenario();
    }
    if (!name && !quick)
        try_witnesses();
    if (!name)
        show_coverage(option(argc, argv, "--sites") != NULL);
    if (!name)
        try_seeds(1, quick ? SEEDS_QUICK : SEEDS);
    return done_testing();
}
