/* fuzz.h - what the fuzz targets share. A target looks at one input and ends the program when
   something is wrong:

       int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)

   `make fuzz` links it with libFuzzer (clang), which makes inputs up and keeps in corpus/ those that
   reach something new. Without, this file has a main that runs the inputs of a directory again, as
   `make test` does. */
#ifndef FUZZ_H
#define FUZZ_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#ifndef FUZZ_PROMISES
#define FUZZ_PROMISES "P15: " /* that it keeps */
#endif
#ifndef FUZZ_WITHOUT_TLS
#define ASOCKET_TLS_IMPLEMENTATION
#include "../../asocket_tls.h"
#endif
#include "must.h"
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* A block of exactly that size, so that a checker sees what goes past it. */
static inline uint8_t *exactly(const void *bytes, size_t size)
{
    uint8_t *copy = (uint8_t *)malloc(size ? size : 1);

    if (!copy)
        abort();
    if (size)
        memcpy(copy, bytes, size);
    return copy;
}

#ifndef FUZZ
#include "../tap.h"
#include <dirent.h>

int main(int argc, char **argv)
{
    const char *target = strrchr(argv[0], '/');
    char path[512];
    const struct dirent *entry;
    DIR *directory;
    int inputs = 0;

    (void)argc;
    target = target ? target + 1 : argv[0];
    snprintf(path, sizeof path, "tests/fuzz/corpus/%s", target);
    directory = opendir(path);
    while (directory && (entry = readdir(directory)) != NULL) {
        static uint8_t bytes[65536];
        char name[1024];
        uint8_t *copy;
        size_t size;
        FILE *file;

        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        file = entry->d_name[0] == '.' ? NULL : fopen(name, "rb");
        if (!file)
            continue;
        size = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        copy = exactly(bytes, size);
        LLVMFuzzerTestOneInput(copy, size);
        free(copy);
        inputs++;
    }
    if (directory)
        closedir(directory);
    ok(inputs > 0, FUZZ_PROMISES "%d inputs of %s, as found by the fuzzer", inputs, target);
    return done_testing();
}
#endif
#endif
