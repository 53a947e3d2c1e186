/* C++ exceptions and destructors in coroutines: each stack has its own, across waits. The
   implementation must be compiled as C++ for that. C++11. */
#include "test.h"

#include <exception>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <unwind.h>

static asocket_selector *selector;

/* What a coroutine is given, and what it saw. */
struct account {
    explicit account(const char *given) : name(given), destroyed(0), right(false)
    {
    }
    std::string name, seen;
    int destroyed;
    bool right;
};

/* Counts its end; waits while it is destroyed. */
struct guard {
    guard(account *told, asocket_selector *waits) : owner(told), selector(waits)
    {
    }
    ~guard()
    {
        bool unwinding = std::uncaught_exception();

        asocket_yield(selector);
        owner->right = owner->right && unwinding == std::uncaught_exception();
        owner->destroyed++;
    }
    account *owner;
    asocket_selector *selector;

  private:
    guard(const guard &);
    guard &operator=(const guard &);
};

__attribute__((noinline)) static void throw_deep(asocket_selector *owner, account *own, int depth)
{
    guard here(own, owner);

    if (depth == 0)
        throw std::runtime_error(own->name);
    throw_deep(owner, own, depth - 1);
}

static void throw_and_catch(asocket_selector *owner, void *argument)
{
    account *own = static_cast<account *>(argument);

    own->right = true;
    try {
        throw_deep(owner, own, 10);
    } catch (const std::runtime_error &error) {
        asocket_yield(owner);
        own->seen = error.what();
    }
}

static void exceptions_inside()
{
    account one("one"), other("other");

    asocket_launch(selector, throw_and_catch, &one);
    asocket_launch(selector, throw_and_catch, &other);
    asocket_run(selector);
    ok(one.seen == "one" && other.seen == "other", "an exception is caught where it was thrown");
    ok(one.destroyed == 11 && other.destroyed == 11, "all destructors run, although they wait");
    ok(one.right && other.right, "each knows whether its own stack is being unwound");
}

/* Waits in a handler, and only then throws on what it caught. */
static void throw_again(asocket_selector *owner, void *argument)
{
    account *own = static_cast<account *>(argument);

    try {
        try {
            throw std::runtime_error(own->name);
        } catch (const std::exception &) {
            for (int i = 0; i < 3; i++)
                asocket_yield(owner);
            own->right = std::current_exception() != nullptr && !std::uncaught_exception();
            throw;
        }
    } catch (const std::runtime_error &error) {
        own->seen = error.what();
    }
    own->right = own->right && std::current_exception() == nullptr;
}

static void handlers_that_wait()
{
    account one("one"), other("other"), third("third");

    asocket_launch(selector, throw_again, &one);
    asocket_launch(selector, throw_again, &other);
    try {
        throw std::runtime_error("outside");
    } catch (const std::runtime_error &error) {
        asocket_launch(selector, throw_again, &third);
        asocket_sleep(selector, 1);
        asocket_run(selector);
        third.right = third.right && std::string(error.what()) == "outside" &&
                      std::current_exception() != nullptr;
    }
    ok(one.seen == "one" && other.seen == "other",
       "an exception that is being handled waits along");
    ok(one.right && other.right, "and no one else has it");
    ok(third.seen == "third" && third.right, "also when code outside waits in a handler");
    ok(std::current_exception() == nullptr, "none is left behind");
}

/* Two that end in another order than they began. */
static void handle_for(asocket_selector *owner, void *argument)
{
    account *own = static_cast<account *>(argument);

    try {
        throw own->name;
    } catch (const std::string &caught) {
        asocket_sleep(owner, own->name == "long" ? 10 : 2);
        own->seen = caught;
    }
}

static void handlers_that_cross()
{
    account first("long"), second("short");

    asocket_launch(selector, handle_for, &first);
    asocket_launch(selector, handle_for, &second);
    asocket_run(selector);
    ok(first.seen == "long" && second.seen == "short", "handlers may end in any order");
}

static void hold_guards(asocket_selector *owner, void *argument)
{
    account *own = static_cast<account *>(argument);
    guard first(own, owner), second(own, owner);

    own->right = true;
    if (asocket_sleep(owner, ASOCKET_FOREVER) < 0)
        return;
    own->right = false;
}

static void destructors_of_the_cancelled(int backend)
{
    asocket_selector_options options = asocket_selector_options();
    asocket_selector *ended;
    account own("cancelled"), last("destroyed");
    asocket_job job = asocket_launch(selector, hold_guards, &own);

    asocket_poll(selector, 0);
    asocket_cancel(selector, job);
    asocket_run(selector);
    ok(own.destroyed == 2 && own.right, "P7: a cancelled coroutine destroys what it holds");
    options.backend = backend;
    ended = test_selector_with(options);
    asocket_launch(ended, hold_guards, &last);
    asocket_poll(ended, 0);
    asocket_selector_destroy(ended);
    ok(last.destroyed == 2 && last.right, "P7: so does one that ends with its selector");
}

static _Unwind_Reason_Code count_frame(struct _Unwind_Context *, void *count)
{
    ++*static_cast<int *>(count);
    return *static_cast<int *>(count) > 1000 ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static void walk_the_stack(asocket_selector *, void *argument)
{
    _Unwind_Backtrace(count_frame, argument);
}

static void stack_has_an_end()
{
    int frames = 0;

    asocket_launch(selector, walk_the_stack, &frames);
    asocket_run(selector);
    ok(frames > 0 && frames < 100, "walking a coroutine's stack ends at its first frame");
}

static void throw_to_nobody(asocket_selector *, void *)
{
    throw 1;
}

/* In a process of its own, which must end as any other with an exception that nobody catches. */
static void nobody_catches()
{
    asocket_selector *own;
    int status = 0;
    pid_t child;

    if (test_skips(TEST_WINDOWS, 1, "there is no fork"))
        return;
    fflush(stdout);
    child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(3);
        signal(SIGABRT, SIG_DFL);
        own = asocket_selector_create(nullptr); // a process does not inherit one
        asocket_launch(own, throw_to_nobody, nullptr);
        asocket_run(own);
        _exit(0);
    }
    waitpid(child, &status, 0);
    ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
       "an exception that leaves a coroutine ends the program in order");
}

int main(int argc, char **argv)
{
    selector = test_selector(argc, argv);
    exceptions_inside();
    handlers_that_wait();
    handlers_that_cross();
    destructors_of_the_cancelled(test_backend(argc, argv));
    stack_has_an_end();
    nobody_catches();
    return test_end(selector);
}
