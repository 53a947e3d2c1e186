/* latch.h - a counter that one thread raises and another waits for: a semaphore, which macOS has only
   in name. */
#ifndef LATCH_H
#define LATCH_H

#include <pthread.h>

typedef struct latch {
    pthread_mutex_t lock;
    pthread_cond_t raised;
    int count;
} latch;

static inline void latch_init(latch *l)
{
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->raised, NULL);
    l->count = 0;
}

static inline void latch_post(latch *l)
{
    pthread_mutex_lock(&l->lock);
    l->count++;
    pthread_cond_signal(&l->raised);
    pthread_mutex_unlock(&l->lock);
}

static inline void latch_wait(latch *l)
{
    pthread_mutex_lock(&l->lock);
    while (!l->count)
        pthread_cond_wait(&l->raised, &l->lock);
    l->count--;
    pthread_mutex_unlock(&l->lock);
}

static inline void latch_destroy(latch *l)
{
    pthread_cond_destroy(&l->raised);
    pthread_mutex_destroy(&l->lock);
}

#endif
