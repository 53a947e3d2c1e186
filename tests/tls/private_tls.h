/* private_tls.h - asocket_tls.h private to one test file, so that its inside can be reached; the
   library below it is linked. Instead of test.h. */
#ifndef PRIVATE_TLS_H
#define PRIVATE_TLS_H

#include "../test.h"

#if !defined(NDEBUG) && !defined(ASOCKET_ASSERT)
void test_assert_failed(const char *text); /* tests/implementation.c */
#define ASOCKET_ASSERT(condition) ((condition) ? (void)0 : test_assert_failed(#condition))
#endif

#define ASOCKET_TLS_ENABLE_INSECURE
#define ASOCKET_TLS_IMPLEMENTATION
#include "../../asocket_tls.h"

#include "credentials.h"

/* A block of exactly that size, so that a checker sees what goes past it. */
static inline uint8_t *exactly(const void *bytes, size_t size)
{
    uint8_t *copy = (uint8_t *)malloc(size ? size : 1);

    if (!copy)
        abort();
    memcpy(copy, bytes, size);
    return copy;
}

#endif
