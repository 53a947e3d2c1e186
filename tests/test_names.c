/* Names: what is an address or this machine without a lookup, what is no name, and lookups that are
   slow, joined, abandoned or many. The resolver is ours (names.h). */
#include "names.h"
#include "hole.h"

#include <sys/wait.h>

#define FOUR(n) "10.0.0." #n
#define TEN(n)                                                                           \
    FOUR(n##0)                                                                           \
    " " FOUR(n##1) " " FOUR(n##2) " " FOUR(n##3) " " FOUR(n##4) " " FOUR(n##5) " " FOUR( \
        n##6) " " FOUR(n##7) " " FOUR(n##8) " " FOUR(n##9) " "

static const names_entry known[] = {
    {"one.example", 0, 0, "192.0.2.1"},
    {"two.example", 0, 0, "2001:db8::1 192.0.2.2"},
    {"six.example", 0, 0, "2001:db8::1 2001:db8::2 2001:db8::3 192.0.2.1 192.0.2.2"},
    {"four.example", 0, 0, "192.0.2.1 192.0.2.2 192.0.2.3 2001:db8::1"},
    {"odd.example", 0, 0, "? 192.0.2.1 ? 2001:db8::1 ?"},
    {"strange.example", 0, 0, "? ?"},
    {"empty.example", 0, 0, ""},
    {"forty.example", 0, 0, TEN(1) TEN(2) TEN(3) TEN(4)},
    {"2b.example", 0, 0, "192.0.2.1"},
    {"3f2a", 0, 0, "192.0.2.1"},
    {"x", 0, 0, "192.0.2.1"},
    {"under_score.example.", 0, 0, "192.0.2.1"},
    {"here.example", 0, 0, "127.0.0.1"},
    {"both.example", 0, 0, "127.0.0.2 127.0.0.1"},
    {"slow", 0, 0, "192.0.2.1"},
    {"slow-here", 0, 0, "127.0.0.1"},
    {"slow-error", EAI_AGAIN, 0, NULL},
    {"again.example", EAI_AGAIN, 0, NULL},
    {"badflags.example", EAI_BADFLAGS, 0, NULL},
    {"fail.example", EAI_FAIL, 0, NULL},
    {"family.example", EAI_FAMILY, 0, NULL},
    {"memory.example", EAI_MEMORY, 0, NULL},
    {"noname.example", EAI_NONAME, 0, NULL},
    {"service.example", EAI_SERVICE, 0, NULL},
    {"socktype.example", EAI_SOCKTYPE, 0, NULL},
    {"emfile.example", EAI_SYSTEM, EMFILE, NULL},
    {"eintr.example", EAI_SYSTEM, EINTR, NULL},
    {"nothing.example", EAI_SYSTEM, 0, NULL},
    {NULL, 0, 0, NULL}};

static asocket_selector *selector;
static int backend;

/* --- asking ----------------------------------------------------------------------------------- */

typedef struct question {
    const char *host;
    int64_t limit; /* ms, of the coroutine; 0: none */
    int status;
    bool answered;
    asocket_address addresses[40];
} question;

static question question_of(const char *host, int64_t limit)
{
    question asked;

    memset(&asked, 0, sizeof asked);
    asked.host = host;
    asked.limit = limit;
    return asked;
}

static void ask(asocket_selector *owner, void *argument)
{
    question *own = (question *)argument;

    if (own->limit)
        asocket_set_deadline(owner, own->limit);
    own->status = asocket_resolve(owner, own->host, 80, own->addresses, 40);
    own->answered = true;
}

/* The addresses that a host has, as one text; a status instead when there are none. */
static const char *addresses_of(const char *host)
{
    static char text[2000];
    asocket_address found[40];
    int count = asocket_resolve(selector, host, 80, found, 40), i;
    size_t length = 0;

    text[0] = 0;
    if (count < 0)
        return asocket_strerror(count);
    for (i = 0; i < count; i++) {
        int more = asocket_address_format(&found[i], text + length, sizeof text - length);

        length += more > 0 ? (size_t)more : 0;
        if (i + 1 < count)
            text[length++] = ' ';
        text[length] = 0;
    }
    return text;
}

static bool message_names(const char *part)
{
    const char *message = asocket_error_message(selector);

    if (strstr(message, part))
        return true;
    diag("the message: %s", message);
    return false;
}

/* Lets the loop run until so many lookups are under way, or some seconds are over. */
static bool until_running(long count)
{
    int64_t end = test_clock() + (int64_t)5000000000 * test_slowness();

    while (names_running() != count && test_clock() < end)
        asocket_sleep(selector, 1);
    return names_running() == count;
}

/* The library's threads have gone, or wait with nothing of ours: no more blocks are left. */
static bool until_blocks(long count)
{
    int64_t end = test_clock() + (int64_t)5000000000 * test_slowness();

    while (names_blocks() > count && test_clock() < end)
        usleep(1000);
    return names_blocks() <= count;
}

static asocket_selector *another_selector(test_memory *memory)
{
    asocket_selector_options options;

    memset(&options, 0, sizeof options);
    memset(memory, 0, sizeof *memory);
    options.backend = backend;
    options.allocator = test_allocator(memory);
    return asocket_selector_create(&options);
}

/* --- without a lookup ------------------------------------------------------------------------- */

static void addresses_are_themselves(void)
{
    is_str(addresses_of("192.0.2.7"), "192.0.2.7:80", "an IPv4 address is its own");
    is_str(addresses_of("2001:db8::7"), "[2001:db8::7]:80", "an IPv6 address is its own");
    is_str(addresses_of("::"), "[::]:80", "also the one of no machine");
    is_str(addresses_of("::ffff:192.0.2.1"), "[::ffff:192.0.2.1]:80", "a mapped one stays mapped");
}

static void localhost_is_here(void)
{
    static const char *const hosts[] = {"localhost",     "LOCALHOST.",     "LocalHost",
                                        "foo.localhost", "a.b.localhost.", "x.LOCALHOST"};
    size_t i;

    for (i = 0; i < sizeof hosts / sizeof *hosts; i++)
        is_str(addresses_of(hosts[i]), "127.0.0.1:80 [::1]:80", "\"%s\" is this machine", hosts[i]);
}

static void what_is_no_name(void)
{
    static const char *const hosts[] = {"127.1",
                                        "0x7f.1",
                                        "0x7f000001",
                                        "1.2.3.256",
                                        "1.2.3",
                                        "1.2.3.4.",
                                        "2130706433",
                                        "a..b",
                                        ".a",
                                        ".",
                                        "..",
                                        "a b",
                                        " ",
                                        "a ",
                                        "a\tb",
                                        "a:80",
                                        "[::1]",
                                        "a/b",
                                        "\xc3\xa4.example",
                                        "a\x80",
                                        "fe80::",
                                        "a.0x1F",
                                        "http://a",
                                        "*",
                                        ":",
                                        "1.2.3.4x:",
                                        "a..localhost"};
    size_t i;

    for (i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        asocket_address found;
        int status = asocket_resolve(selector, hosts[i], 80, &found, 1);

        if (strcmp(hosts[i], "fe80::") == 0)
            is_int(status, 1, "\"fe80::\" is an address");
        else
            ok(status == ASOCKET_EINVAL && message_names("resolve "), "\"%s\" is no name (%s)",
               hosts[i], status < 0 ? asocket_strerror(status) : "an answer");
    }
}

static void names_have_253_bytes(void)
{
    char host[300];
    asocket_address found;
    int i;

    for (i = 0; i < 299; i++)
        host[i] = i % 50 == 49 ? '.' : 'a';
    host[254] = 0;
    is_status(asocket_resolve(selector, host, 80, &found, 1), ASOCKET_EINVAL,
              "254 bytes are no name");
    host[253] = 0;
    is_status(asocket_resolve(selector, host, 80, &found, 1), ASOCKET_ENOTFOUND, "253 bytes are");
}

static void arguments_are_checked(void)
{
    asocket_address found[2];

    is_status(asocket_resolve(selector, NULL, 80, found, 2), ASOCKET_EINVAL, "no host");
    is_status(asocket_resolve(selector, "", 80, found, 2), ASOCKET_EINVAL, "an empty host");
    is_status(asocket_resolve(selector, "::1", -1, found, 2), ASOCKET_EINVAL, "port -1");
    is_status(asocket_resolve(selector, "::1", 65536, found, 2), ASOCKET_EINVAL, "port 65,536");
    is_status(asocket_resolve(selector, "x", 65536, found, 2), ASOCKET_EINVAL,
              "port 65,536 of a name");
    is_int(asocket_resolve(selector, "::1", 65535, found, 2), 1, "port 65,535 is one");
    is_int(found[0].port, 65535, "and comes back");
    is_int(asocket_resolve(selector, "::1", 0, found, 2), 1, "port 0 is one");
    is_status(asocket_resolve(selector, "::1", 80, NULL, 2), ASOCKET_EINVAL, "no place");
    is_status(asocket_resolve(selector, "::1", 80, found, 0), ASOCKET_EINVAL, "place for none");
    is_status(asocket_resolve(NULL, "::1", 80, found, 2), ASOCKET_EINVAL, "no selector");
}

static void capacity_is_kept(void)
{
    asocket_address found[2];

    memset(found, 0, sizeof found);
    is_int(asocket_resolve(selector, "localhost", 80, found, 1), 1, "capacity 1: one address");
    ok(found[1].ip.family == 0, "and no more is stored");
    is_int(asocket_resolve(selector, "six.example", 80, found, 2), 2, "2 of a name's five");
}

static void test_without_a_lookup(void)
{
    addresses_are_themselves();
    localhost_is_here();
    is_int(names_calls(), 0, "none of them was looked up");
    is_int(resolver.threads, 0, "and no thread was made");
    is_int(names_blocks(), 0, "nor memory taken");
    what_is_no_name();
    is_int(names_calls(), 0, "what is no name is not looked up");
    arguments_are_checked();
}

/* --- answers ---------------------------------------------------------------------------------- */

static void answers_have_an_order(void)
{
    is_str(addresses_of("one.example"), "192.0.2.1:80", "a name has an address");
    is_str(addresses_of("two.example"), "[2001:db8::1]:80 192.0.2.2:80", "or several");
    is_str(addresses_of("six.example"),
           "[2001:db8::1]:80 192.0.2.1:80 [2001:db8::2]:80 192.0.2.2:80 [2001:db8::3]:80",
           "families take turns, beginning with the system's first (RFC 8305, 4)");
    is_str(addresses_of("four.example"), "192.0.2.1:80 [2001:db8::1]:80 192.0.2.2:80 192.0.2.3:80",
           "also when that is IPv4");
    is_str(addresses_of("odd.example"), "[2001:db8::1]:80 192.0.2.1:80",
           "other families are left out");
}

static void names_of_all_kinds(void)
{
    static const char *const hosts[] = {"2b.example", "3f2a", "x", "under_score.example."};
    size_t i;

    for (i = 0; i < sizeof hosts / sizeof *hosts; i++)
        is_str(addresses_of(hosts[i]), "192.0.2.1:80", "\"%s\" is a name", hosts[i]);
}

static void forty_are_cut(void)
{
    question asked = question_of("forty.example", 0);

    ask(selector, &asked);
    is_int(asked.status, 32, "of 40 addresses the first 32 are given");
    is_int(asked.addresses[31].ip.bytes[3], 41, "in their order");
    is_int(names_lists(), 0, "the system's lists are freed");
}

static void errors_are_told(void)
{
    static const struct {
        const char *host;
        int status;
    } rows[] = {{"again.example", ASOCKET_EUNREACHABLE}, {"badflags.example", ASOCKET_ENOTFOUND},
                {"fail.example", ASOCKET_ENOTFOUND},     {"family.example", ASOCKET_ENOTFOUND},
                {"memory.example", ASOCKET_ENOMEM},      {"noname.example", ASOCKET_ENOTFOUND},
                {"service.example", ASOCKET_ENOTFOUND},  {"socktype.example", ASOCKET_ENOTFOUND},
                {"emfile.example", ASOCKET_EMFILE},      {"nothing.example", ASOCKET_EIO},
                {"empty.example", ASOCKET_ENOTFOUND},    {"strange.example", ASOCKET_ENOTFOUND},
                {"unknown.example", ASOCKET_ENOTFOUND}};
    asocket_address found;
    size_t i;

    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        is_status(asocket_resolve(selector, rows[i].host, 80, &found, 1), rows[i].status, "%s: %s",
                  rows[i].host, asocket_strerror(rows[i].status));
        ok(message_names(rows[i].host), "and the message names it");
    }
    ok(asocket_resolve(selector, "eintr.example", 80, &found, 1) < 0, "EINTR is no answer either");
}

static void test_answers(void)
{
    answers_have_an_order();
    names_of_all_kinds();
    names_have_253_bytes();
    forty_are_cut();
    capacity_is_kept();
    errors_are_told();
    ok(!resolver.signals_taken, "P6: the threads of the library take no signals");
    ok(resolver.threads == 1, "one lookup at a time needs one thread");
}

/* --- several at a time ------------------------------------------------------------------------ */

static void tick(asocket_selector *owner, void *argument)
{
    while (asocket_sleep(owner, 1) == ASOCKET_OK)
        ++*(int *)argument;
}

static void the_loop_goes_on(void)
{
    question asked = question_of("slow", 0);
    asocket_job job, ticker;
    test_pair pair;
    int ticks = 0, i;

    names_hold(true);
    job = asocket_launch(selector, ask, &asked);
    ticker = asocket_launch(selector, tick, &ticks);
    ok(test_pair_open(selector, &pair), "others connect while a lookup is slow");
    for (i = 0; i < 20 && ticks < 5; i++) { /* on a busy machine nobody runs for a while */
        ticks = 0;
        asocket_sleep(selector, 20);
    }
    ok(ticks >= 5 && !asked.answered, "P11: and sleep no longer than they want (%d)", ticks);
    names_hold(false);
    is_status(asocket_join(selector, job), ASOCKET_OK, "until its answer comes");
    is_int(asked.status, 1, "with one address");
    asocket_cancel(selector, ticker);
    asocket_join(selector, ticker);
    test_pair_close(&pair);
}

static void the_same_are_asked_once(void)
{
    question asked[10];
    long calls = names_calls();
    int good = 0, i;

    names_hold(true);
    for (i = 0; i < 10; i++) {
        asked[i] = question_of("slow", 0);
        asocket_launch(selector, ask, &asked[i]);
    }
    ok(until_running(1), "a lookup begins");
    names_hold(false);
    asocket_join_all(selector);
    for (i = 0; i < 10; i++)
        good += asked[i].status == 1 && asked[i].addresses[0].ip.bytes[0] == 192;
    is_int(good, 10, "ten coroutines ask for one name, all have the answer");
    is_int(names_calls() - calls, 1, "of one lookup");
    is_str(addresses_of("slow"), "192.0.2.1:80", "nothing is kept:");
    is_int(names_calls() - calls, 2, "who asks later makes another one");
}

static void idle_threads_are_not_counted_twice(void)
{
    question asked[2] = {question_of("slow", 0), question_of("slow-here", 0)};

    names_hold(true);
    asocket_launch(selector, ask, &asked[0]);
    asocket_launch(selector, ask, &asked[1]);
    ok(until_running(2), "two names at once: neither waits for the other");
    names_hold(false);
    asocket_join_all(selector);
    ok(asked[0].status == 1 && asked[1].status == 1, "both are answered");
}

static void more_than_threads(void)
{
    static char hosts[12][32];
    question asked[12];
    long calls = names_calls();
    int ended = 0, i;

    names_hold(true);
    for (i = 0; i < 12; i++) {
        snprintf(hosts[i], sizeof hosts[i], "slow%d.example", i);
        asked[i] = question_of(hosts[i], 0);
        asocket_launch(selector, ask, &asked[i]);
    }
    ok(until_running(4), "12 names at once: four are looked up at a time");
    names_hold(false);
    asocket_join_all(selector);
    for (i = 0; i < 12; i++)
        ended += asked[i].answered && asked[i].status == ASOCKET_ENOTFOUND;
    is_int(ended, 12, "all are answered");
    is_int(names_calls() - calls, 12, "each by one lookup");
    ok(resolver.most == 4 && resolver.threads == 4, "P5: by four threads, no more");
}

static void test_several(void)
{
    the_loop_goes_on();
    the_same_are_asked_once();
    idle_threads_are_not_counted_twice();
    more_than_threads();
}

/* --- abandoned -------------------------------------------------------------------------------- */

static void deadline_ends_a_lookup(void)
{
    question first = question_of("slow", 30), second = question_of("slow", 0);
    long blocks = names_blocks();
    long calls = names_calls();
    int64_t start = test_clock();

    names_hold(true);
    asocket_join(selector, asocket_launch(selector, ask, &first));
    is_status(first.status, ASOCKET_ETIMEDOUT, "P7: a lookup ends at the deadline");
    ok(test_took(start, 30, 100), "P7: in time");
    asocket_launch(selector, ask, &second);
    asocket_sleep(selector, 10);
    names_hold(false);
    asocket_join_all(selector);
    is_int(second.status, 1, "P7: who asks again has the answer of the lookup under way");
    is_int(names_calls() - calls, 1, "which was the only one");
    ok(until_blocks(blocks), "nothing of it is left");
}

/* Names that nobody answers hold the threads of the system's resolver for long. */
static void given_up_ones_are_in_nobodys_way(void)
{
    static char hosts[20][32];
    question asked[20], fast = question_of("one.example", 5000), late = fast;
    long blocks = names_blocks();
    int i, timed_out = 0;

    names_hold(true);
    for (i = 0; i < 4; i++) {
        snprintf(hosts[i], sizeof hosts[i], "slow%d.example", i);
        asked[i] = question_of(hosts[i], 40);
        asocket_launch(selector, ask, &asked[i]);
    }
    asocket_launch(selector, ask, &late); /* in the queue when they are given up */
    asocket_join_all(selector);
    for (i = 0; i < 4; i++)
        timed_out += asked[i].status == ASOCKET_ETIMEDOUT;
    is_int(timed_out, 4, "P7: four slow lookups are given up");
    is_int(late.status, 1, "who came behind them is answered while they still hold their threads");
    asocket_join(selector, asocket_launch(selector, ask, &fast));
    is_int(fast.status, 1, "so is who comes then");
    for (i = 4; i < 20; i++) {
        snprintf(hosts[i], sizeof hosts[i], "slow%d.example", i);
        asked[i] = question_of(hosts[i], 20);
        asocket_join(selector, asocket_launch(selector, ask, &asked[i]));
    }
    ok(names_running() <= 16, "P5: in 16 threads at most (%ld)", names_running());
    names_hold(false);
    for (i = 0; i < 5000 && names_blocks() > blocks; i++)
        asocket_sleep(selector, 1);
    is_int(names_blocks(), blocks, "nothing of them is left");
    fast.status = 0;
    asocket_join(selector, asocket_launch(selector, ask, &fast));
    is_int(fast.status, 1, "and all goes on");
}

static void one_of_two_gives_up(void)
{
    question first = question_of("slow", 20), second = question_of("slow", 0);

    names_hold(true);
    asocket_launch(selector, ask, &first);
    asocket_launch(selector, ask, &second);
    asocket_sleep(selector, 40);
    ok(first.answered && !second.answered, "P7: one of two ends at its deadline");
    names_hold(false);
    asocket_join_all(selector);
    is_int(second.status, 1, "the other one is answered");
}

static void cancel_ends_a_lookup(void)
{
    question asked = question_of("slow-error", 0);
    long blocks = names_blocks();
    asocket_job job;

    names_hold(true);
    job = asocket_launch(selector, ask, &asked);
    ok(until_running(1), "a lookup runs");
    asocket_cancel(selector, job);
    asocket_join(selector, job);
    is_status(asked.status, ASOCKET_ECANCELED, "P7: a cancel ends a lookup");
    names_hold(false);
    asocket_sleep(selector, 5);
    is_str(addresses_of("one.example"), "192.0.2.1:80", "P7: the next one is undisturbed");
    asocket_sleep(selector, 5);
    ok(until_blocks(blocks), "nothing of it is left");
}

/* In the same turn: the answer, and the deadline of who waits for it. */
static void answers_meet_deadlines(void)
{
    question asked[3];
    int i, sane = 0;

    for (i = 0; i < 30; i++) {
        names_hold(true);
        asked[0] = question_of("slow", 1 + i % 3);
        asked[1] = question_of("slow", 0);
        asked[2] = question_of("slow-here", 1 + i % 2);
        asocket_launch(selector, ask, &asked[0]);
        asocket_launch(selector, ask, &asked[1]);
        asocket_launch(selector, ask, &asked[2]);
        asocket_sleep(selector, 1 + i % 2);
        names_hold(false);
        asocket_join_all(selector);
        sane += (asked[0].status == 1 || asked[0].status == ASOCKET_ETIMEDOUT) &&
                asked[1].status == 1 &&
                (asked[2].status == 1 || asked[2].status == ASOCKET_ETIMEDOUT);
    }
    is_int(sane, 30, "P7: answers and deadlines that come together");
}

static void outside_of_coroutines(void)
{
    asocket_address found;
    int64_t former;

    names_hold(true);
    former = asocket_set_deadline(selector, 20);
    is_status(asocket_resolve(selector, "slow", 80, &found, 1), ASOCKET_ETIMEDOUT,
              "P7: a deadline outside of coroutines");
    is_status(asocket_resolve(selector, "one.example", 80, &found, 1), ASOCKET_ETIMEDOUT,
              "P7: no wait is begun after it,");
    is_int(asocket_resolve(selector, "192.0.2.1", 80, &found, 1), 1, "P7: but none is needed here");
    asocket_restore_deadline(selector, former);
    asocket_stop(selector);
    is_status(asocket_resolve(selector, "slow", 80, &found, 1), ASOCKET_ECANCELED,
              "P7: a stop ends it");
    names_hold(false);
    is_int(asocket_resolve(selector, "slow", 80, &found, 1), 1, "P7: and not the next one");
}

static void test_abandoned(void)
{
    deadline_ends_a_lookup();
    given_up_ones_are_in_nobodys_way();
    one_of_two_gives_up();
    cancel_ends_a_lookup();
    answers_meet_deadlines();
    outside_of_coroutines();
}

/* --- threads ---------------------------------------------------------------------------------- */

static void no_thread_is_to_be_had(void)
{
    test_memory memory;
    asocket_selector *made = another_selector(&memory);
    asocket_address found;
    long blocks = names_blocks();

    resolver.no_threads = true;
    is_status(asocket_resolve(made, "one.example", 80, &found, 1), ASOCKET_ENOMEM,
              "no thread: no memory, says the call");
    is_int(asocket_resolve(made, "localhost", 80, &found, 1), 1, "which localhost needs not");
    resolver.no_threads = false;
    is_int(asocket_resolve(made, "one.example", 80, &found, 1), 1, "with a thread it works again");
    asocket_selector_destroy(made);
    ok(until_blocks(blocks), "nothing is left");
    is_int(memory.bytes, 0, "nor of the selector's own");
}

static void one_thread_does_it_all(void)
{
    test_memory memory;
    asocket_selector *made = another_selector(&memory);
    question asked[3] = {question_of("one.example", 0), question_of("six.example", 0),
                         question_of("slow", 0)};
    int i;

    ask(made, &asked[0]);
    resolver.no_threads = true;
    for (i = 0; i < 3; i++)
        asocket_launch(made, ask, &asked[i]);
    asocket_run(made);
    resolver.no_threads = false;
    ok(asked[0].status == 1 && asked[1].status == 5 && asked[2].status == 1,
       "one thread does the work of those that cannot be made");
    asocket_selector_destroy(made);
}

static void destroyed_while_a_lookup_runs(void)
{
    test_memory memory;
    asocket_selector *made = another_selector(&memory);
    long blocks = names_blocks();
    question asked[6] = {question_of("slow", 0),  question_of("slow1", 0), question_of("slow2", 0),
                         question_of("slow3", 0), question_of("slow4", 0), question_of("slow5", 0)};
    int64_t start;
    int i, cancelled = 0;

    names_hold(true);
    for (i = 0; i < 6; i++)
        asocket_launch(made, ask, &asked[i]);
    asocket_poll(made, 0);
    ok(until_running(4), "four of six lookups run");
    start = test_clock();
    asocket_selector_destroy(made);
    ok(test_took(start, 0, 200), "P7: a selector is destroyed at once nevertheless");
    for (i = 0; i < 6; i++)
        cancelled += asked[i].status == ASOCKET_ECANCELED;
    is_int(cancelled, 6, "P7: who asked was cancelled");
    is_int(memory.bytes, 0, "its memory is free");
    ok(names_blocks() > blocks, "but for what the threads are at");
    names_hold(false);
    ok(until_blocks(blocks), "which they free when they come back");
    is_int(names_lists(), 0, "with the system's lists");
}

static void destroyed_with_idle_threads(void)
{
    test_memory memory;
    long blocks = names_blocks();
    int i;

    for (i = 0; i < 20; i++) {
        asocket_selector *made = another_selector(&memory);
        question asked = question_of(i % 2 ? "one.example" : "slow", i % 4 ? 0 : 1);

        names_hold(i % 4 == 0);
        asocket_launch(made, ask, &asked);
        asocket_run(made);
        asocket_selector_destroy(made);
    }
    names_hold(false);
    ok(until_blocks(blocks), "threads end with their selectors, idle or not");
}

static int child_after_fork(void)
{
    asocket_address found;
    int status = asocket_resolve(selector, "one.example", 80, &found, 1);

    asocket_selector_destroy(selector);
    return status == ASOCKET_EINVAL ? 0 : 1;
}

static void forked_while_a_lookup_runs(void)
{
    question asked = question_of("slow", 0);
    int status = -1;
    pid_t child;

    names_hold(true);
    asocket_launch(selector, ask, &asked);
    ok(until_running(1), "a lookup runs");
    child = fork();
    if (!child)
        _exit(child_after_fork());
    waitpid(child, &status, 0);
    is_int(status, 0, "a child of fork leaves it alone, and destroys its copy");
    names_hold(false);
    asocket_join_all(selector);
    is_int(asked.status, 1, "the parent has its answer");
}

static void test_threads(void)
{
    no_thread_is_to_be_had();
    one_thread_does_it_all();
    destroyed_while_a_lookup_runs();
    destroyed_with_idle_threads();
    if (test_emulated())
        skip(3, "an emulator cannot fork beside a thread");
    else
        forked_while_a_lookup_runs();
}

/* --- connecting ------------------------------------------------------------------------------- */

static void connect_by_name(void)
{
    asocket_builder tcp = asocket_tcp(selector);
    asocket *socket;
    int port = 0, listener = test_peer_listen(&port), peer;
    char text[8] = "";

    socket = asocket_connect(tcp, "here.example", port);
    peer = accept(listener, NULL, NULL);
    ok(socket && peer >= 0, "a name is connected to");
    asocket_write_string(asocket_open_write_channel(socket, ASOCKET_AUTO_FLUSH), "hello");
    is_int(recv(peer, text, 5, MSG_WAITALL), 5, "and hears");
    asocket_close(socket);
    close(peer);
    socket = asocket_connect(tcp, "localhost", port);
    ok(socket != NULL, "localhost too");
    asocket_close(socket);
    close(listener);
    ok(!asocket_connect(tcp, "here.example", port), "nobody listens there");
    is_status(asocket_error(selector), ASOCKET_ECONNREFUSED, "and the status says so");
    ok(message_names("127.0.0.1"), "and the message where");
}

static void connect_to_nobody(void)
{
    asocket_builder tcp = asocket_tcp(selector);

    ok(!asocket_connect(tcp, "unknown.example", 80), "a name that is not known");
    is_status(asocket_error(selector), ASOCKET_ENOTFOUND, "is not found,");
    is_str(asocket_error_message(selector), "connect unknown.example: not found", "by name");
    ok(!asocket_connect(tcp, "a..b", 80), "what is no name");
    is_status(asocket_error(selector), ASOCKET_EINVAL, "is not asked for");
    ok(!asocket_bind(tcp, "here.example", 0), "a listener's name is not looked up");
    is_status(asocket_error(selector), ASOCKET_ENOTFOUND, "and the status says so");
}

static void the_second_address_answers(void)
{
    int port = 0, listener = test_peer_listen(&port);
    int64_t start;
    asocket *socket;
    hole h;

    if (!hole_dig_at(&h, "127.0.0.2", port)) {
        skip(2, "127.0.0.2 cannot be bound here");
        return;
    }
    start = test_clock();
    socket = asocket_connect(asocket_tcp(selector), "both.example", port);
    ok(socket != NULL, "the first address of a name hangs: the second one answers");
    ok(test_took(start, 250, 300), "after 250 ms (RFC 8305, 8)");
    asocket_close(socket);
    hole_fill(&h);
    close(listener);
}

static void timeout_covers_the_lookup(void)
{
    asocket_builder tcp = asocket_tcp(selector);
    int64_t start = test_clock();

    names_hold(true);
    tcp.connect_timeout = 30;
    ok(!asocket_connect(tcp, "slow-here", 80), "P7: a lookup that takes too long");
    is_status(asocket_error(selector), ASOCKET_ETIMEDOUT, "P7: ends at the connect_timeout");
    ok(test_took(start, 30, 100), "P7: in time");
    tcp.connect_timeout = ASOCKET_NO_WAIT;
    ok(!asocket_connect(tcp, "slow-here", 80), "P7: without waiting there is no name");
    is_status(asocket_error(selector), ASOCKET_EAGAIN, "P7: and the status says so");
    names_hold(false);
}

static void let_go_later(asocket_selector *owner, void *argument)
{
    (void)argument;
    asocket_sleep(owner, 60);
    names_hold(false);
}

static void timeout_covers_both(void)
{
    asocket_builder tcp = asocket_tcp(selector);
    int64_t start;
    hole h;

    if (!hole_dig(&h))
        return;
    asocket_sleep(selector, 5); /* lookups of others are over */
    names_hold(true);
    asocket_launch(selector, let_go_later, NULL);
    tcp.connect_timeout = 100;
    start = test_clock();
    ok(!asocket_connect(tcp, "slow-here", h.port), "P7: a slow lookup, and nobody answers");
    is_status(asocket_error(selector), ASOCKET_ETIMEDOUT, "P7: ends");
    ok(test_took(start, 100, 130), "P7: at one connect_timeout for both");
    asocket_join_all(selector);
    is_status(asocket_sleep(selector, 1), ASOCKET_OK, "P7: no deadline is left behind");
    hole_fill(&h);
}

static void test_connecting(void)
{
    connect_by_name();
    connect_to_nobody();
    the_second_address_answers();
    timeout_covers_the_lookup();
    timeout_covers_both();
}

/* ---------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    int result;

    resolver.entries = known;
    backend = test_backend(argc, argv);
    selector = test_selector(argc, argv);
    test_without_a_lookup();
    test_answers();
    test_several();
    test_abandoned();
    test_threads();
    test_connecting();
    result = test_end(selector);
    if (!until_blocks(0))
        return 1;
    names_over();
    return result;
}
