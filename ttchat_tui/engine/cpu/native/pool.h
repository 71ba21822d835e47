/* A thread pool that distributes the work of a step in small pieces.
 *
 * A free thread claims the next piece, and no thread waits for one that has not started a piece. A preempted thread delays
 * the others by one piece at most. With equal shares and a barrier (OpenMP), all would wait for it in each of the 150 phases
 * of a step. */
#ifndef POOL_H
#define POOL_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include "lanes.h"

#define MOST_THREADS 64

typedef void (*Work)(void *context, int piece);

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t woken;
    int threads;           /* in use, the caller's included */
    int started;           /* workers created so far */
    _Atomic int awake;     /* whether a step is running */
    _Atomic uint64_t next; /* number of the phase << 32 | pieces left: the first of them is claimed */
    _Atomic int done;      /* finished pieces of the phase */
    uint64_t phase;
    Work work;
    void *context;
    int pieces;
} pool = { .mutex = PTHREAD_MUTEX_INITIALIZER, .woken = PTHREAD_COND_INITIALIZER, .threads = 1 };

/* Claim and run one piece; 0 if none is left. The compared word contains the number of the phase, so that a piece of a later
 * phase cannot be mistaken for one of this. */
static int run_piece(void) {
    uint64_t seen = atomic_load_explicit(&pool.next, memory_order_acquire);
    while ((uint32_t)seen != 0) {
        if (atomic_compare_exchange_weak_explicit(&pool.next, &seen, seen - 1, memory_order_acq_rel, memory_order_acquire)) {
            pool.work(pool.context, pool.pieces - (int)(uint32_t)seen);
            atomic_fetch_add_explicit(&pool.done, 1, memory_order_release);
            return 1;
        }
    }
    return 0;
}

/* Serial work between two phases takes microseconds: spin that long, then yield the core. */
static void back_off(int *rounds) {
    if (++*rounds < 4096)
        relax();
    else
        sched_yield();
}

static void *worker(void *number) {
    for (;;) {
        pthread_mutex_lock(&pool.mutex);
        while (!atomic_load_explicit(&pool.awake, memory_order_relaxed) || (intptr_t)number >= pool.threads)
            pthread_cond_wait(&pool.woken, &pool.mutex);
        pthread_mutex_unlock(&pool.mutex);
        int rounds = 0;
        while (atomic_load_explicit(&pool.awake, memory_order_acquire)) {
            if (run_piece())
                rounds = 0;
            else
                back_off(&rounds);
        }
    }
    return 0;
}

/* A worker that is no longer in use may run pieces until the step ends: the result is the same. */
int32_t set_threads(int32_t count) {
    pthread_mutex_lock(&pool.mutex);
    pool.threads = count < 1 ? 1 : count > MOST_THREADS ? MOST_THREADS : count;
    while (pool.started < pool.threads - 1) {
        pthread_t thread;
        if (pthread_create(&thread, 0, worker, (void *)(intptr_t)(pool.started + 1)) != 0) {
            pool.threads = pool.started + 1;
            break;
        }
        pthread_detach(thread);
        pool.started++;
    }
    pthread_mutex_unlock(&pool.mutex);
    return pool.threads;
}

/* Between `wake` and `let_sleep`, idle workers spin. */
static void wake(void) {
    if (pool.threads == 1)
        return;
    pthread_mutex_lock(&pool.mutex);
    atomic_store_explicit(&pool.awake, 1, memory_order_release);
    pthread_cond_broadcast(&pool.woken);
    pthread_mutex_unlock(&pool.mutex);
}

static void let_sleep(void) { atomic_store_explicit(&pool.awake, 0, memory_order_release); }

/* Call work(context, 0 .. pieces - 1) on all threads; returns when all pieces are done. They begin in this order, which is that of
 * the weights in memory: what is read ahead of one piece is used by the next. */
static void share_out(Work work, void *context, int pieces) {
    if (pool.threads == 1 || pieces == 1) {
        for (int piece = 0; piece < pieces; piece++)
            work(context, piece);
        return;
    }
    pool.work = work;
    pool.context = context;
    pool.pieces = pieces;
    atomic_store_explicit(&pool.done, 0, memory_order_relaxed);
    atomic_store_explicit(&pool.next, ++pool.phase << 32 | (uint32_t)pieces, memory_order_release);
    while (run_piece())
        ;
    int rounds = 0;
    while (atomic_load_explicit(&pool.done, memory_order_acquire) != pieces)
        back_off(&rounds);
}

#endif
