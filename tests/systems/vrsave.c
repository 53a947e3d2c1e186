/* vrsave.c - Linux starts programs with all ones in VRSAVE, qemu's user mode with 0: then glibc's
   swapcontext leaves the vector registers of the other context as they are. */
__attribute__((constructor)) static void set_vrsave(void)
{
    __asm__ __volatile__("mtspr 256, %0" : : "r"(-1L));
}
