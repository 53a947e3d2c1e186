/* names.h - the library with a resolver of ours behind it, for tests of names: what getaddrinfo
   answers, when, and how often it was asked. Included first of all; the library is private to the
   file that includes it. */
#ifndef NAMES_H
#define NAMES_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* --- what the resolver knows ------------------------------------------------------------------ */

typedef struct names_entry {
    const char *host;
    int error, system; /* of getaddrinfo; errno */
    const char *texts; /* addresses, with blanks between them; "?": one of an unknown family */
} names_entry;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t change;
    const names_entry *entries; /* up to one without a host */
    bool held;                  /* names that begin with "slow" are not answered yet */
    bool no_threads;            /* pthread_create fails */
    bool signals_taken;         /* a thread of the library would have run a handler */
    int calls, running, most;   /* of getaddrinfo: in all, now, at a time */
    int threads, lists;         /* made; of results, not yet freed */
    int blocks;                 /* of memory that the library has not freed */
} resolver = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0};

/* Holds back the answers for names that begin with "slow", or lets them go. */
static inline void names_hold(bool held)
{
    pthread_mutex_lock(&resolver.lock);
    resolver.held = held;
    pthread_cond_broadcast(&resolver.change);
    pthread_mutex_unlock(&resolver.lock);
}

/* One of the resolver's numbers. */
static inline long names_look(const int *number)
{
    long value;

    pthread_mutex_lock(&resolver.lock);
    value = *number;
    pthread_mutex_unlock(&resolver.lock);
    return value;
}

static inline void names_add(int *number, int more)
{
    pthread_mutex_lock(&resolver.lock);
    *number += more;
    pthread_mutex_unlock(&resolver.lock);
}

static inline long names_running(void)
{
    return names_look(&resolver.running);
}

static inline long names_calls(void)
{
    return names_look(&resolver.calls);
}

static inline long names_blocks(void)
{
    return names_look(&resolver.blocks);
}

static inline long names_lists(void)
{
    return names_look(&resolver.lists);
}

/* --- getaddrinfo ------------------------------------------------------------------------------ */

static inline struct addrinfo *names_result(const char *text)
{
    struct addrinfo *item = (struct addrinfo *)calloc(1, sizeof *item);
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)calloc(1, sizeof *six);
    struct sockaddr_in *four = (struct sockaddr_in *)(void *)six;

    if (!item || !six)
        abort();
    item->ai_family = text[0] == '?' ? AF_UNIX : strchr(text, ':') ? AF_INET6 : AF_INET;
    item->ai_addrlen = item->ai_family == AF_INET6 ? sizeof *six : sizeof *four;
    item->ai_addr = (struct sockaddr *)(void *)six;
    item->ai_addr->sa_family = (sa_family_t)item->ai_family;
    if (item->ai_family == AF_INET6)
        inet_pton(AF_INET6, text, &six->sin6_addr);
    else
        inet_pton(AF_INET, text, &four->sin_addr);
    return item;
}

static inline struct addrinfo *names_results(const char *texts)
{
    struct addrinfo *list = NULL, **end = &list;
    char copy[1000], *rest, *text;

    strncpy(copy, texts, sizeof copy - 1);
    copy[sizeof copy - 1] = 0;
    for (text = strtok_r(copy, " ", &rest); text; text = strtok_r(NULL, " ", &rest)) {
        *end = names_result(text);
        end = &(*end)->ai_next;
    }
    if (list)
        names_add(&resolver.lists, 1);
    return list;
}

static inline void names_wait(const char *host)
{
    pthread_mutex_lock(&resolver.lock);
    resolver.calls++;
    if (++resolver.running > resolver.most)
        resolver.most = resolver.running;
    while (resolver.held && strncmp(host, "slow", 4) == 0)
        pthread_cond_wait(&resolver.change, &resolver.lock);
    resolver.running--;
    pthread_mutex_unlock(&resolver.lock);
}

static inline int names_getaddrinfo(const char *host, const char *service,
                                    const struct addrinfo *hints, struct addrinfo **list)
{
    const names_entry *entry = resolver.entries;
    sigset_t blocked;

    (void)service;
    (void)hints;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    if (!sigismember(&blocked, SIGUSR1))
        resolver.signals_taken = true;
    names_wait(host);
    while (entry->host && strcmp(entry->host, host) != 0)
        entry++;
    if (!entry->host)
        return EAI_NONAME;
    errno = entry->system;
    if (!entry->error)
        *list = names_results(entry->texts);
    return entry->error;
}

static inline void names_freeaddrinfo(struct addrinfo *list)
{
    names_add(&resolver.lists, -1);
    while (list) {
        struct addrinfo *next = list->ai_next;

        free(list->ai_addr);
        free(list);
        list = next;
    }
}

static inline int names_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                                       void *(*function)(void *), void *argument)
{
    if (resolver.no_threads)
        return EAGAIN;
    resolver.threads++;
    return pthread_create(thread, attributes, function, argument);
}

#ifdef _WIN32
static inline uintptr_t names_begin(void *security, unsigned stack,
                                    unsigned(__stdcall *function)(void *), void *argument,
                                    unsigned flags, unsigned *id)
{
    if (resolver.no_threads)
        return 0;
    resolver.threads++;
    return _beginthreadex(security, stack, function, argument, flags, id);
}
#endif

static inline void *names_malloc(size_t size)
{
    names_add(&resolver.blocks, 1);
    return malloc(size ? size : 1);
}

static inline void names_free(void *block)
{
    if (block)
        names_add(&resolver.blocks, -1);
    free(block);
}

/* When no thread is left. */
static inline void names_over(void)
{
    pthread_cond_destroy(&resolver.change);
    pthread_mutex_destroy(&resolver.lock);
}

/* --- the library ------------------------------------------------------------------------------ */

#define ASOCKET_MALLOC(size)        names_malloc(size)
#define ASOCKET_REALLOC             realloc
#define ASOCKET_FREE(block)         names_free(block)
#define SEAM_getaddrinfo            , names_getaddrinfo
#define SEAM_freeaddrinfo           , names_freeaddrinfo
#define SEAM_pthread_create         , names_pthread_create
#define SEAM_WINDOWS__beginthreadex , names_begin
#include "private.h"

#endif
