/* bench.h - what the servers under test share: they must differ in nothing but how they do their
   input and output, so the way they start and answer lines is written once, here. */
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* accept4 and friends; include this file first */
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BUFFER_SIZE = 256 * 1024, /* reads beyond this gain nothing: the copy leaves the cache */
    BACKLOG = 4096            /* many connect at once: they must not wait for SYN retries */
};

enum mode { MODE_ECHO, MODE_LINE, MODE_SINK };

static inline void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static inline void *allocate(size_t size)
{
    void *memory = malloc(size);

    if (!memory)
        fail("malloc");
    return memory;
}

/* "line" and "longline" differ only where a buffer has to be as long as the longest line. */
static inline enum mode parse_mode(const char *name)
{
    if (strcmp(name, "echo") == 0)
        return MODE_ECHO;
    if (strcmp(name, "line") == 0 || strcmp(name, "longline") == 0)
        return MODE_LINE;
    if (strcmp(name, "sink") == 0)
        return MODE_SINK;
    fprintf(stderr, "unknown mode: %s\n", name);
    exit(2);
}

/* The soft limit is often 1,024; who holds 19,000 connections asks for what he may have. */
static inline void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail("setrlimit");
}

/* The driver reads the port from the first line, so every server takes any free one. */
static inline void announce(int port)
{
    printf("%d\n", port);
    fflush(stdout);
}

static inline int port_of(int descriptor)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;

    if (getsockname(descriptor, (struct sockaddr *)&address, &length) < 0)
        fail("getsockname");
    return ntohs(address.sin_port);
}

static inline struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address;

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* The "application" of the line servers: takes every whole line, without LF or CRLF, and answers it
   by itself. Returns the bytes of answers; *consumed says how much of the input they used up. */
static inline size_t answer_lines(char *answers, const char *input, size_t size, size_t *consumed)
{
    const char *line = input;
    const char *end = input + size;
    const char *newline;
    char *answer = answers;

    while ((newline = memchr(line, '\n', (size_t)(end - line))) != NULL) {
        size_t length = (size_t)(newline - line);

        if (length > 0 && line[length - 1] == '\r')
            length--;
        memcpy(answer, line, length);
        answer[length] = '\n';
        answer += length + 1;
        line = newline + 1;
    }
    *consumed = (size_t)(line - input);
    return (size_t)(answer - answers);
}

#endif
