/* tap.h - what a test saw, one line for each thing it looked at, in the Test Anything Protocol.

   A test program prints "ok 1 - P1: EOF is its own result" or "not ok 1 - ..." and ends with the
   plan, "1..1". `prove` and tests/run.pl read it. A description names a behaviour, and the promise
   that it keeps ("P7: ..."), as numbered in asocket.h: `make promises` looks for these.

       int main(void)
       {
           ok(1 + 1 == 2, "addition works");
           is_int(strlen("four"), 4, "strlen counts");
           return done_testing();
       }

   A program that is still running after TAP_SECONDS is ended. Nothing here is made for threads:
   only the main thread may speak. With TAP_SUITE it is one of many programs, which run one after
   another in one process, under one plan: tests/windows/suite.c. */
#ifndef TAP_H
#define TAP_H

#ifdef _WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <winsock2.h>
#include <windows.h>
#include <fcntl.h>
#include <io.h>
#endif
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef TAP_SECONDS
#define TAP_SECONDS 150 /* how long a whole test program may take, also emulated beside others */
#endif

#ifdef TAP_SUITE
extern int tap_tests, tap_failures;
__attribute__((noreturn)) void tap_exit(int status); /* ends the program, not the process */
#define exit(status) tap_exit(status)
#else
static int tap_tests, tap_failures;
#endif

/* Prints a text on one line; in a description a '#' would start a TAP directive. */
static inline void tap_print(FILE *file, const char *format, va_list arguments)
{
    char text[1024], *at;

    vsnprintf(text, sizeof text, format, arguments);
    for (at = text; *at; at++)
        if (*at == '\n' || *at == '\r')
            *at = ' ';
        else if (*at == '#' && file == stdout)
            *at = '/';
    fputs(text, file);
}

#if defined(TAP_SUITE)
/* which looks at the time itself */
#elif defined(_WIN32)

static DWORD WINAPI tap_watch(LPVOID nothing)
{
    static const char message[] = "\nnot ok - hung: ended when its time was over\n";

    (void)nothing;
    Sleep(TAP_SECONDS * 1000);
    if (_write(1, message, sizeof message - 1) < 0)
        ExitProcess(3);
    ExitProcess(2);
}

__attribute__((constructor)) static void tap_start(void)
{
    _setmode(1, _O_BINARY);
    _setmode(2, _O_BINARY);
    setvbuf(stdout, NULL, _IONBF, 0); /* there is no line buffering */
    CloseHandle(CreateThread(NULL, 0, tap_watch, NULL, 0, NULL));
}

#else

static inline void tap_hung(int signal_number)
{
    static const char message[] = "\nnot ok - hung: ended when its time was over\n";

    (void)signal_number;
    if (write(1, message, sizeof message - 1) < 0)
        _exit(3);
    _exit(2);
}

__attribute__((constructor)) static void tap_start(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0); /* lines whole and in order, also when a test crashes */
    signal(SIGALRM, tap_hung);
    alarm(TAP_SECONDS);
}

#endif

/* Says more about what just failed. */
__attribute__((format(printf, 1, 2))) static inline void diag(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputs("# ", stderr);
    tap_print(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

static inline bool tap_result(bool passed, const char *file, int line, const char *expression,
                              const char *format, va_list arguments)
{
    printf("%sok %d - ", passed ? "" : "not ", ++tap_tests);
    tap_print(stdout, format, arguments);
    putchar('\n');
    if (!passed) {
        tap_failures++;
        diag("failed at %s:%d: %s", file, line, expression);
    }
    return passed;
}

__attribute__((format(printf, 5, 6))) static inline bool
tap_ok(bool passed, const char *file, int line, const char *expression, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    tap_result(passed, file, line, expression, format, arguments);
    va_end(arguments);
    return passed;
}

__attribute__((format(printf, 6, 7))) static inline bool
tap_is_int(long long got, long long expected, const char *file, int line, const char *expression,
           const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (!tap_result(got == expected, file, line, expression, format, arguments))
        diag("got %lld, expected %lld", got, expected);
    va_end(arguments);
    return got == expected;
}

__attribute__((format(printf, 6, 7))) static inline bool
tap_is_str(const char *got, const char *expected, const char *file, int line,
           const char *expression, const char *format, ...)
{
    bool passed = got && expected ? strcmp(got, expected) == 0 : got == expected;
    va_list arguments;

    va_start(arguments, format);
    if (!tap_result(passed, file, line, expression, format, arguments))
        diag("got \"%s\", expected \"%s\"", got ? got : "(null)", expected ? expected : "(null)");
    va_end(arguments);
    return passed;
}

/* Each answers whether it passed; the last arguments are the description, as for printf. */
#define ok(condition, ...) tap_ok((condition), __FILE__, __LINE__, #condition, __VA_ARGS__)
#define is_int(got, expected, ...) \
    tap_is_int((long long)(got), (long long)(expected), __FILE__, __LINE__, #got, __VA_ARGS__)
#define is_str(got, expected, ...) \
    tap_is_str((got), (expected), __FILE__, __LINE__, #got, __VA_ARGS__)

/* This many tests cannot run here, and why. */
static inline void skip(int count, const char *why)
{
    while (count-- > 0)
        printf("ok %d # SKIP %s\n", ++tap_tests, why);
}

#ifdef TAP_SUITE

static inline void skip_all(const char *why)
{
    skip(1, why);
    exit(0);
}

static inline int done_testing(void)
{
    return 0; /* the plan is the suite's, and so are the failures */
}

#else

/* None of this program's tests can run here. */
static inline void skip_all(const char *why)
{
    printf("1..0 # SKIP %s\n", why);
    exit(0);
}

/* The plan, and the exit status for main. */
static inline int done_testing(void)
{
    printf("1..%d\n", tap_tests);
    if (tap_failures)
        diag("%d of %d tests failed", tap_failures, tap_tests);
    return tap_failures ? 1 : 0;
}

#endif

#endif
