/* tcc.h - what the tests use and tcc lacks: tcc -include tests/systems/tcc.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

/* As asocket.h includes it, for the tests that include it before. */
#include <signal.h>
#include <stdint.h>
#include <sys/types.h>
#ifdef __x86_64__
#pragma pack(push, 4)
#include <sys/epoll.h>
#pragma pack(pop)
#endif

#define __ATOMIC_RELAXED                      0
#define __ATOMIC_ACQUIRE                      0
#define __ATOMIC_RELEASE                      0
#define __ATOMIC_ACQ_REL                      0
#define __ATOMIC_SEQ_CST                      0
#define __atomic_load_n(place, order)         (*(volatile __typeof__(*(place)) *)(place))
#define __atomic_store_n(place, value, order) ((void)__atomic_exchange_n(place, value, order))
#define __atomic_exchange_n(place, value, order)                                            \
    ({                                                                                      \
        __typeof__(*(place)) tcc_value = (value);                                           \
        __asm__ __volatile__("xchg %0, %1" : "+r"(tcc_value), "+m"(*(place)) : : "memory"); \
        tcc_value;                                                                          \
    })
#define __atomic_add_fetch(place, value, order)                                                   \
    ({                                                                                            \
        __typeof__(*(place)) tcc_added = (value), tcc_sum = tcc_added;                            \
        __asm__ __volatile__("lock; xadd %0, %1" : "+r"(tcc_added), "+m"(*(place)) : : "memory"); \
        tcc_added + tcc_sum;                                                                      \
    })
#define __atomic_sub_fetch(place, value, order) __atomic_add_fetch(place, -(value), order)
