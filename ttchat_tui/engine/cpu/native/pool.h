/* A thread pool that distributes the work of a step in small pieces.
 *
 * Each thread has a run of neighbouring pieces, so that it reads weights in the order of memory and what it reads ahead of one
 * piece is used by its next one. A thread without pieces takes those of others, from the end: no thread waits for one that has
 * not started a piece, and a preempted thread delays the others by one piece at most. With equal shares and a barrier
 * (OpenMP), all would wait for it in each of the 150 phases of a step. */
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
    _Atomic int threads; /* in use, the caller's included */
    int started;         /* workers created so far */
    _Atomic int awake;   /* whether a step is running */
    _Atomic int done;    /* finished pieces of the phase */
    Work work;
    void *context;
    struct {
        _Alignas(64) _Atomic uint64_t left; /* first piece << 32 | end: what nobody has claimed */
    } runs[MOST_THREADS];
} pool = { .mutex = PTHREAD_MUTEX_INITIALIZER, .woken = PTHREAD_COND_INITIALIZER, .threads = 1 };

static uint64_t run_of(int first, int end) { return (uint64_t)first << 32 | (uint32_t)end; }

/* Claim the first piece of a run, or the last one of another thread's; -1 if none is left. A value that is out of date but
 * equal does no harm: the piece is in the value, and what to do with it is read after the claim. */
static int claim(int run, int is_own) {
    _Atomic uint64_t *left = &pool.runs[run].left;
    uint64_t seen = atomic_load_explicit(left, memory_order_acquire);
    for (;;) {
        const int first = (int)(seen >> 32), end = (int)(uint32_t)seen;
        if (first >= end)
            return -1;
        const uint64_t rest = is_own ? run_of(first + 1, end) : run_of(first, end - 1);
        if (atomic_compare_exchange_weak_explicit(left, &seen, rest, memory_order_acq_rel, memory_order_acquire))
            return is_own ? first : end - 1;
    }
}

/* Run the pieces that are left, those of the thread's own run first; returns how many. */
static int run_pieces(int thread) {
    const int threads = pool.threads;
    int count = 0;
    for (int i = 0; i < threads; i++)
        for (int piece; (piece = claim((thread + i) % threads, i == 0)) >= 0; count++)
            pool.work(pool.context, piece);
    if (count)
        atomic_fetch_add_explicit(&pool.done, count, memory_order_release);
    return count;
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
            if (run_pieces((int)(intptr_t)number))
                rounds = 0;
            else
                back_off(&rounds);
        }
    }
    return 0;
}

/* Between steps: the size of pieces depends on it, and whose runs there are. A worker that is no longer in use may run pieces
 * until it next sleeps: the result is the same. */
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

/* Call work(context, 0 .. pieces - 1) on all threads; returns when all pieces are done. */
static void share_out(Work work, void *context, int pieces) {
    const int threads = pool.threads;
    if (threads == 1 || pieces == 1) {
        for (int piece = 0; piece < pieces; piece++)
            work(context, piece);
        return;
    }
    pool.work = work;
    pool.context = context;
    atomic_store_explicit(&pool.done, 0, memory_order_relaxed);
    for (int run = 0; run < threads; run++) {
        const int64_t first = (int64_t)run * pieces / threads, end = (int64_t)(run + 1) * pieces / threads;
        atomic_store_explicit(&pool.runs[run].left, run_of((int)first, (int)end), memory_order_release);
    }
    run_pieces(0);
    int rounds = 0;
    while (atomic_load_explicit(&pool.done, memory_order_acquire) != pieces)
        back_off(&rounds);
}

#endif
