/* implementation_tls.c - asocket_tls.h as the tests link it, apart from asocket.h: it uses nothing
   of that but what is public. Asserts are counted, as in implementation.c. */
extern int test_asserts;
void test_assert_failed(const char *text);

#ifndef NDEBUG
#define ASOCKET_ASSERT(condition) ((condition) ? (void)0 : test_assert_failed(#condition))
#endif

#define ASOCKET_TLS_IMPLEMENTATION
#define ASOCKET_TLS_ENABLE_INSECURE
#include "../asocket_tls.h"
