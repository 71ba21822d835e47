/* Threads that share out a step's work while it runs.
 *
 * Whoever is free takes the next piece; nobody waits for a thread that has not begun one. A thread that the system has taken
 * off its core in between delays the others by one piece at most, where a barrier of equal shares (OpenMP) would wait for
 * it in every one of a step's 150 phases. */
#ifndef POOL_H
#define POOL_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <immintrin.h>

#define MOST_THREADS 64

typedef void (*Work)(void *context, int piece);

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t woken;
    int threads;           /* that take part, the caller's included */
    int started;           /* workers that exist */
    _Atomic int awake;     /* whether a step is under way */
    _Atomic uint64_t next; /* number of the phase << 32 | pieces left: claimed by counting down */
    _Atomic int done;      /* pieces of the phase that are finished */
    uint64_t phase;
    Work work;
    void *context;
} pool = { .mutex = PTHREAD_MUTEX_INITIALIZER, .woken = PTHREAD_COND_INITIALIZER, .threads = 1 };

/* The phase's number is in the word that is compared, so that no piece of a later phase is taken for one of this. */
static int take_piece(void) {
    uint64_t seen = atomic_load_explicit(&pool.next, memory_order_acquire);
    while ((uint32_t)seen != 0) {
        if (atomic_compare_exchange_weak_explicit(&pool.next, &seen, seen - 1, memory_order_acq_rel, memory_order_acquire)) {
            pool.work(pool.context, (int)(uint32_t)seen - 1);
            atomic_fetch_add_explicit(&pool.done, 1, memory_order_release);
            return 1;
        }
    }
    return 0;
}

/* Serial work between two phases takes microseconds; beyond that the core is of more use to somebody else. */
static void rest(int *rounds) {
    if (++*rounds < 4096)
        _mm_pause();
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
            if (take_piece())
                rounds = 0;
            else
                rest(&rounds);
        }
    }
    return 0;
}

/* Whether a worker that is not needed any more still takes pieces until the step ends makes no difference to what it computes. */
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

/* Between these two, workers wait by spinning. */
static void wake(void) {
    if (pool.threads == 1)
        return;
    pthread_mutex_lock(&pool.mutex);
    atomic_store_explicit(&pool.awake, 1, memory_order_release);
    pthread_cond_broadcast(&pool.woken);
    pthread_mutex_unlock(&pool.mutex);
}

static void let_sleep(void) { atomic_store_explicit(&pool.awake, 0, memory_order_release); }

/* work(context, 0 .. pieces - 1), in any order, by all threads; returns when all are done. */
static void share_out(Work work, void *context, int pieces) {
    if (pool.threads == 1 || pieces == 1) {
        for (int piece = 0; piece < pieces; piece++)
            work(context, piece);
        return;
    }
    pool.work = work;
    pool.context = context;
    atomic_store_explicit(&pool.done, 0, memory_order_relaxed);
    atomic_store_explicit(&pool.next, ++pool.phase << 32 | (uint32_t)pieces, memory_order_release);
    while (take_piece())
        ;
    int rounds = 0;
    while (atomic_load_explicit(&pool.done, memory_order_acquire) != pieces)
        rest(&rounds);
}

#endif
