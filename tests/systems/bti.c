/* bti.c - from before main on, indirect branches into the section text_bti must meet a landing pad. */
#include <stdint.h>
#include <sys/mman.h>

enum { GUARDED = 0x10 }; /* PROT_BTI */

extern char __start_text_bti[], __stop_text_bti[];

__attribute__((constructor)) static void guard(void)
{
    uintptr_t start = (uintptr_t)__start_text_bti & ~(uintptr_t)4095;
    uintptr_t end = ((uintptr_t)__stop_text_bti + 4095) & ~(uintptr_t)4095;

    if (mprotect((void *)start, end - start, PROT_READ | PROT_EXEC | GUARDED))
        __builtin_trap();
}
