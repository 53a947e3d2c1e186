/* private.h - the library once more, private to one test file, for tests that stand between it and
   the system. Instead of test.h:

       #define SEAM_send , my_send          a comma, and what the library shall call instead
       static ssize_t my_send(int socket, const void *bytes, size_t size, int flags);
       #include "private.h"

   What has no SEAM_... stays the system's own. SEAM_WINDOWS_... is for what is called by
   ASOCKET_WINDOWS. */
#ifndef PRIVATE_H
#define PRIVATE_H

#define SEAM_SECOND_OF(a, b, ...)     b
#define SEAM_SECOND(...)              SEAM_SECOND_OF(__VA_ARGS__)
#define SEAM_CHOOSE(replacement, own) SEAM_SECOND(replacement, own, own)
#define ASOCKET_SYS(name)             SEAM_CHOOSE(SEAM_##name, ASOCKET__SYSTEM(name))

#ifdef _WIN32
#include <stdbool.h>

#include "windows/strict.h"
#define ASOCKET_WINDOWS(name) SEAM_CHOOSE(SEAM_WINDOWS_##name, STRICTLY(name))
#endif

#ifndef NDEBUG
void test_assert_failed(const char *text); /* tests/implementation.c */
#define ASOCKET_ASSERT(condition) ((condition) ? (void)0 : test_assert_failed(#condition))
#endif

#ifndef __clang_analyzer__ /* which looks at the implementation elsewhere */
#define ASOCKET_STATIC
#define ASOCKET_IMPLEMENTATION
#endif
#include "test.h"

#endif
