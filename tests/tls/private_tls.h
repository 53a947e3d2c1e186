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

#define CERTIFICATES "build/tls/" /* made by make_certificates.pl */

/* A block of exactly that size, so that a checker sees what goes past it. */
static inline uint8_t *exactly(const void *bytes, size_t size)
{
    uint8_t *copy = (uint8_t *)malloc(size ? size : 1);

    if (!copy)
        abort();
    memcpy(copy, bytes, size);
    return copy;
}

/* A whole file, with a NUL behind it; NULL: it is not there. */
static inline uint8_t *read_whole(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = NULL;
    size_t have = 0, count = 1;

    *size = 0;
    if (!file)
        return NULL;
    while (count) {
        bytes = (uint8_t *)realloc(bytes, have + 65537);
        if (!bytes)
            abort();
        count = fread(bytes + have, 1, 65536, file);
        have += count;
    }
    fclose(file);
    bytes[have] = 0;
    *size = have;
    return bytes;
}

#endif
