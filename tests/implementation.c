/* implementation.c - the library as the tests link it: a failed assert is counted instead of ending
   the program, so that a test can provoke a misuse and look at the status that it answers. */
extern int test_asserts;             /* how many failed since test_take_asserts */
extern const char *test_assert_text; /* the last of them */
void test_assert_failed(const char *text);

#ifndef NDEBUG /* with it the library's own default must compile to nothing */
#define ASOCKET_ASSERT(condition) ((condition) ? (void)0 : test_assert_failed(#condition))
#endif

#if defined(_WIN32) && !defined(TEST_NOT_STRICT)
#include <stdbool.h>

#include "windows/strict.h"
#define ASOCKET_WINDOWS(name) STRICTLY(name)
#endif

#define ASOCKET_IMPLEMENTATION
#include "../asocket.h"

int test_asserts;
const char *test_assert_text = "";

void test_assert_failed(const char *text)
{
    __atomic_add_fetch(&test_asserts, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&test_assert_text, text, __ATOMIC_RELAXED);
}
