/* suite.c - the test programs in one process, one after another under one plan: each meets what
   those before it left behind. Each is linked in once for each backend (windows.mk), so that it
   begins with fresh variables of its own; the library, strict.c, Winsock, the heap, handles and
   threads are the same for all.

       wine build/wine/suite [all|iocp|poll] [test_reading ...]

   "# --- test_reading/iocp" stands before what a program prints, and is how tests/run.pl names the
   one in which something failed, or the process ended. */
#define TAP_SUITE
#include "../tap.h"
#include "strict.h"
#include <malloc.h>
#include <setjmp.h>
#include <stdint.h>
#include <tlhelp32.h>

int tap_tests, tap_failures;
extern int test_asserts; /* implementation.c */

/* --- the programs --------------------------------------------------------------------------- */

typedef struct program {
    const char *name, *backend;
    int (*main)(int argc, char **argv);
} program;

#define PROGRAM(backend, name) int backend##_##name(int argc, char **argv);
#include "programs.h"
#undef PROGRAM
#define PROGRAM(backend, name) {#name, #backend, backend##_##name},
static const program programs[] = {
#include "programs.h"
};
#undef PROGRAM

enum { PROGRAMS = sizeof programs / sizeof *programs };
static bool ran[PROGRAMS];

/* --- what a program leaves behind ----------------------------------------------------------- */

/* When a program runs for the first time in the process, Winsock and other DLLs keep some handles
   and memory for good. Later a handle may come late, of a thread of Wine's own that is about to end,
   and winpthreads keeps something of threads. What is lost with each socket, selector or thread is
   far more: a program has dozens of them. */
enum { FIRST_HANDLES = 8, LATE_HANDLES = 2, FIRST_BYTES = 16384, LATE_BYTES = 4096 };

typedef struct facts { /* of the process */
    int handles, threads;
    long bytes; /* of the C library's heap, in use */
} facts;

/* Wine's GetProcessHandleCount answers 0: from the table of all handles of the system. */
static int handles(void)
{
    typedef LONG(NTAPI * query)(int, void *, ULONG, ULONG *);
    typedef struct handle_entry {
        ULONG process;
        UCHAR type, flags;
        USHORT handle;
        void *object;
        ULONG access;
    } handle_entry;
    static union {
        ULONG count;
        char bytes[1 << 20];
    } table;
    const handle_entry *entry = (const handle_entry *)(const void *)(table.bytes + 8);
    query ask =
        (query)(void *)GetProcAddress(GetModuleHandleA("ntdll"), "NtQuerySystemInformation");
    ULONG i, size;
    int count = 0;

    if (!ask || ask(16 /* SystemHandleInformation */, &table, sizeof table, &size))
        return -1;
    for (i = 0; i < table.count; i++)
        count += entry[i].process == GetCurrentProcessId();
    return count;
}

static int threads(void)
{
    HANDLE all = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    THREADENTRY32 entry;
    int count = 0;
    BOOL more;

    entry.dwSize = sizeof entry;
    for (more = Thread32First(all, &entry); more; more = Thread32Next(all, &entry))
        count += entry.th32OwnerProcessID == GetCurrentProcessId();
    CloseHandle(all);
    return count;
}

static long bytes(void)
{
    _HEAPINFO entry;
    long sum = 0;

    entry._pentry = NULL;
    while (_heapwalk(&entry) == _HEAPOK)
        if (entry._useflag == _USEDENTRY)
            sum += (long)entry._size;
    return sum;
}

static facts look(void)
{
    facts now;

    now.bytes = bytes();

    now.handles = handles();
    now.threads = threads();
    return now;
}

/* Threads may need a moment to end, and their handles with them. */
static facts settled(facts before)
{
    facts now = look();
    int i;

    for (i = 0; i < 50 && (now.handles > before.handles || now.threads > before.threads); i++) {
        Sleep(10);
        now = look();
    }
    return now;
}

/* --- one program ---------------------------------------------------------------------------- */

static struct {
    const program *program;
    HANDLE thread; /* the one in which they run */
    const void *stack;
    volatile ULONGLONG begun; /* milliseconds */
    jmp_buf out;
    int status;
} now;

/* It hung (TAP_SECONDS are each program's), or a stack overflowed: Wine ends only the thread. Who
   hangs may hold locks of the C library's or the loader's: neither is asked. */
static DWORD WINAPI watch(LPVOID nothing)
{
    char text[160];
    DWORD ended;
    int length;

    (void)nothing;
    do
        ended = WaitForSingleObject(now.thread, 500);
    while (ended == WAIT_TIMEOUT && GetTickCount64() - now.begun < TAP_SECONDS * 1000);
    length = snprintf(
        text, sizeof text, "\nnot ok - %s over %s %s\n", now.program->name, now.program->backend,
        ended == WAIT_TIMEOUT ? "hung: ended when its time was over" : "lost its thread");
    WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), text, (DWORD)length, &ended, NULL);
    TerminateProcess(GetCurrentProcess(), 2);
    return 0;
}

/* Says where it is; what comes of the exception is not decided here. */
static LONG CALLBACK note(EXCEPTION_POINTERS *exception)
{
    DWORD code = exception->ExceptionRecord->ExceptionCode;

    if (code >> 28 == 0xC)
        fprintf(stderr, "# exception %08lx in %s over %s\n", (unsigned long)code, now.program->name,
                now.program->backend);
    return EXCEPTION_CONTINUE_SEARCH;
}

/* Not from a coroutine: its stack is not the thread's. */
void tap_exit(int status)
{
    now.status = status;
    if (((const NT_TIB *)NtCurrentTeb())->StackBase == now.stack)
        longjmp(now.out, 1);
    printf("not ok - %s over %s ended the process\n", now.program->name, now.program->backend);
    ExitProcess(3);
}

static void nothing_is_left(facts before, facts after, bool again)
{
    int handles_more = after.handles - before.handles;
    long bytes_more = after.bytes - before.bytes;

    ok(handles_more <= (again ? LATE_HANDLES : FIRST_HANDLES),
       "it left %d handles more than before", handles_more);
    is_int(after.threads - before.threads, 0, "it left no thread");
    ok(bytes_more <= (again ? LATE_BYTES : FIRST_BYTES), "it left %ld bytes", bytes_more);
}

static void run(const program *which)
{
    char *arguments[] = {(char *)which->name, (char *)which->backend, NULL};
    int failures = tap_failures, tests = tap_tests;
    facts before = look();
    bool again = false;
    int i;

    for (i = 0; &programs[i] < which; i++)
        again = again || (ran[i] && !strcmp(programs[i].name, which->name));
    printf("# --- %s/%s\n", which->name, which->backend);
    now.program = which;
    now.begun = GetTickCount64();
    if (!setjmp(now.out))
        now.status = which->main(2, arguments);
    ran[i] = tap_tests - tests > 1; /* it was more than skipped */
    ok(!now.status || tap_failures > failures, "%s ends well", which->name);
    nothing_is_left(before, settled(before), again);
    printf("# %d ms\n", (int)(GetTickCount64() - now.begun));
    strict_faults = 0; /* the next one begins without them */
    test_asserts = 0;
}

static bool wanted(const program *which, int argc, char **argv)
{
    int i;

    if (argc > 1 && strcmp(argv[1], "all") != 0 && strcmp(argv[1], which->backend) != 0)
        return false;
    for (i = 2; i < argc && strcmp(argv[i], which->name) != 0; i++) {
    }
    return argc <= 2 || i < argc;
}

int main(int argc, char **argv)
{
    int i;

    _setmode(1, _O_BINARY);
    _setmode(2, _O_BINARY);
    setvbuf(stdout, NULL, _IONBF, 0);
    now.program = programs;
    now.stack = ((const NT_TIB *)NtCurrentTeb())->StackBase;
    now.begun = GetTickCount64();
    DuplicateHandle(GetCurrentProcess(), GetCurrentThread(), GetCurrentProcess(), &now.thread, 0,
                    FALSE, DUPLICATE_SAME_ACCESS);
    AddVectoredExceptionHandler(1, note);
    CloseHandle(CreateThread(NULL, 0, watch, NULL, 0, NULL));
    for (i = 0; i < PROGRAMS; i++)
        if (wanted(&programs[i], argc, argv))
            run(&programs[i]);
    printf("1..%d\n", tap_tests);
    if (tap_failures)
        diag("%d of %d tests failed", tap_failures, tap_tests);
    return tap_failures ? 1 : 0;
}
