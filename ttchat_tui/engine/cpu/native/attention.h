/* Attention of some rows over a float16 KV cache, in blocks of positions that are merged afterwards. Blocks can be computed
 * in parallel. Their bounds depend only on the position, so that the result has the same bits for any layout of the cache.
 * Source of the merge: Milakov and Gimelshein 2018, arXiv:1805.02867. */
#ifndef ATTENTION_H
#define ATTENTION_H

#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <string.h>
#include "kv_codes.h"
#include "lanes.h"

#define BLOCK 256     /* positions */
#define MAX_HEAD 256  /* elements of a head */
#if REGISTERS == 32
#define MOST_QUERIES 6 /* at once: four sums of each stay in registers */
#else
#define MOST_QUERIES 4 /* of one row: those of several do not fit */
#endif

typedef struct {
    float largest, total; /* of exp(score - largest) */
    float padding[14];
    float sum[]; /* [head_size] of values, weighted by it */
} Partial;

static size_t partial_bytes(int head_size) { return sizeof(Partial) + head_size * sizeof(float); }

/* Number `at` of the partials from `first` on. */
static Partial *partial_at(Partial *first, size_t at, int head_size) {
    return (Partial *)((char *)first + at * partial_bytes(head_size));
}

/* The cache of one key-value head: positions before `shared` are in `keys` and `values`, later ones in the row's own. */
typedef struct {
    const void *keys, *values, *own_keys, *own_values; /* [positions][head_size], float16; or the tiles of attention_q8.h */
    int shared;
} Places;

static int at_most(int most, int count) { return count < most ? count : most; }

/* e^x for x <= 0, to 2 units in the last place: 2^n through the exponent bits, the rest by a polynomial (Cephes, expf). Plain
 * C that the compiler vectorises. */
INLINE float exp_negative(float x) {
    x = x < -87.0f ? -87.0f : x;
    float n = x * 1.44269504f + 12582912.0f;
    n -= 12582912.0f;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union { int32_t bits; float value; } power = { ((int32_t)n + 127) << 23 };
    return p * power.value;
}

/* cap * tanh(x / cap). */
INLINE float capped(float x, float cap) {
    float small = exp_negative(-2.0f * fabsf(x) / cap);
    float size = cap * (1.0f - small) / (1.0f + small);
    return x < 0 ? -size : size;
}

/* scores[0 .. count - 1] become exp(score - largest). */
static void weigh(float *scores, int count, float cap, Partial *partial) {
    for (int i = 0; cap != 0 && i < count; i++)
        scores[i] = capped(scores[i], cap);
    float largest = scores[0];
    for (int i = 1; i < count; i++)
        largest = scores[i] > largest ? scores[i] : largest;
    float totals[LANES] = { 0 };
    for (int i = 0; i < count; i++)
        scores[i] = exp_negative(scores[i] - largest);
    int i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            totals[lane] += scores[i + lane];
    for (int lane = 0; i + lane < count; lane++)
        totals[lane] += scores[i + lane];
    float total = 0;
    for (int lane = 0; lane < LANES; lane++)
        total += totals[lane];
    partial->largest = largest;
    partial->total = total;
}

INLINE const uint16_t *row_of(const uint16_t *shared, const uint16_t *own, int split, int position, int head_size) {
    return position < split ? shared + (ptrdiff_t)position * head_size : own + (ptrdiff_t)(position - split) * head_size;
}

/* Attend with `heads` queries of one key-value head of one row to the positions from .. to - 1 of one block. `vectors` is
 * head_size / 16. Both are compile-time constants, so that queries and sums stay in registers. */
INLINE void attend_alone(const float *q, const int heads, const int vectors, float cap, Places places, int from, int to,
                         const uint16_t *next_keys, Partial *partials, int stride) {
    const int head_size = vectors * LANES;
    float scores[4][BLOCK];
    F16 held[4][MAX_HEAD / LANES];
    for (int h = 0; h < heads; h++)
        for (int v = 0; v < vectors; v++)
            held[h][v] = f_load(q + h * head_size + v * LANES);
    for (int position = from; position < to; position += 4) {
        F16 sums[4][4];
        for (int p = 0; p < 4; p++) {
            /* Repeat the last position to fill up to four; the surplus scores are not used. */
            const int there = position + p < to ? position + p : to - 1;
            const uint16_t *key = row_of(places.keys, places.own_keys, places.shared, there, head_size);
            for (int h = 0; h < heads; h++)
                sums[h][p] = f_zero();
            const uint16_t *value = row_of(places.values, places.own_values, places.shared, there, head_size);
            for (int v = 0; v < vectors; v++) {
                if (v % 2 == 0)
                    prefetch(value + v * LANES);
                F16 part = f_load_half(key + v * LANES);
                for (int h = 0; h < heads; h++)
                    sums[h][p] = f_fma(held[h][v], part, sums[h][p]);
            }
        }
        for (int h = 0; h < heads; h++)
            f_sums(sums[h], scores[h] + position - from);
    }
    for (int h = 0; h < heads; h++) {
        weigh(scores[h], to - from, cap, partial_at(partials, (size_t)h * stride, head_size));
        for (int v = 0; v < vectors; v++)
            held[h][v] = f_zero();
    }
    for (int position = from; position < to; position++) {
        const uint16_t *value = row_of(places.values, places.own_values, places.shared, position, head_size);
        for (int v = 0; v < vectors; v++) {
            if (v % 2 == 0)
                prefetch(next_keys + (position - from) * head_size + v * LANES);
            F16 part = f_load_half(value + v * LANES);
            for (int h = 0; h < heads; h++)
                held[h][v] = f_fma(f_set(scores[h][position - from]), part, held[h][v]);
        }
    }
    for (int h = 0; h < heads; h++)
        for (int v = 0; v < vectors; v++)
            f_store(partial_at(partials, (size_t)h * stride, head_size)->sum + v * LANES, held[h][v]);
}

/* Attend with queries of one row and one key-value head, as many at once as fit into registers. Partials of a head are
 * `stride` apart. */
static void attend_one_row(const float *q, int heads, int head_size, float cap, Places places, int from, int to,
                           const uint16_t *next_keys, Partial *partials, int stride) {
    while (heads > 0) {
        int count = 1;
        switch (head_size * 10 + at_most(head_size == 64 ? 4 : head_size == 128 || head_size == 96 ? 2 : 1, heads)) {
#define CASE(size, number) case size * 10 + number: \
            attend_alone(q, count = number, size / LANES, cap, places, from, to, next_keys, partials, stride); break;
            CASE(64, 4) CASE(64, 3) CASE(64, 2) CASE(64, 1) CASE(96, 2) CASE(96, 1) CASE(128, 2) CASE(128, 1) CASE(256, 1)
#undef CASE
        default:
            attend_alone(q, 1, head_size / LANES, cap, places, from, to, next_keys, partials, stride);
        }
        q += count * head_size;
        partials = partial_at(partials, (size_t)count * stride, head_size);
        heads -= count;
    }
}

/* One query of one row, with the positions from .. to - 1 of a block that the row sees. */
typedef struct {
    const float *q;     /* [head_size] */
    const Codes16 *codes; /* the same, for 8-bit keys */
    Places places;
    int row, from, to;
    Partial *partial;
    const uint16_t *next_keys; /* own keys of the row that this thread is likely to attend with afterwards */
} Query;

/* The scores of `count` keys for some queries, whose number is a compile-time constant: sums stay in registers. Up to three
 * more scores are written. As much is read ahead from `ahead`. */
INLINE void score(const float *const *q, const int queries, int vectors, const uint16_t *keys, int count, float *const *scores,
                  const uint16_t *ahead) {
    for (int first = 0; first < count; first += 4) {
        F16 sums[MOST_QUERIES][4];
        const uint16_t *key[4];
        for (int p = 0; p < 4; p++) /* Repeat the last key to fill up to four; the surplus scores are not used. */
            key[p] = keys + (ptrdiff_t)(first + p < count ? first + p : count - 1) * vectors * LANES;
        for (int h = 0; h < queries; h++)
            for (int p = 0; p < 4; p++)
                sums[h][p] = f_zero();
        for (int v = 0; v < vectors; v++) {
            F16 part[4];
            for (int p = 0; p < 4; p++) {
                if (v % 2 == 0)
                    prefetch(ahead + (key[p] - keys) + v * LANES);
                part[p] = f_load_half(key[p] + v * LANES);
            }
            for (int h = 0; h < queries; h++) {
                const F16 held = f_hold(q[h] + v * LANES);
                for (int p = 0; p < 4; p++)
                    sums[h][p] = f_fma(held, part[p], sums[h][p]);
            }
        }
        for (int h = 0; h < queries; h++)
            f_sums(sums[h], scores[h] + first);
    }
}

/* Add `count` values, weighted by `weights[h]`, to `some` vectors of the sum of each query. As much is read ahead from
 * `ahead`. */
INLINE void add_vectors(float *const *sums, const int queries, const int some, int vectors, const uint16_t *values, int count,
                        float *const *weights, const uint16_t *ahead) {
    F16 held[MOST_QUERIES][4];
    for (int h = 0; h < queries; h++)
        for (int v = 0; v < some; v++)
            held[h][v] = f_load(sums[h] + v * LANES);
    for (int position = 0; position < count; position++, values += vectors * LANES, ahead += vectors * LANES) {
        F16 part[4];
        for (int v = 0; v < some; v++) {
            if (v % 2 == 0)
                prefetch(ahead + v * LANES);
            part[v] = f_load_half(values + v * LANES);
        }
        for (int h = 0; h < queries; h++) {
            const F16 weight = f_set(weights[h][position]);
            for (int v = 0; v < some; v++)
                held[h][v] = f_fma(weight, part[v], held[h][v]);
        }
    }
    for (int h = 0; h < queries; h++)
        for (int v = 0; v < some; v++)
            f_store(sums[h] + v * LANES, held[h][v]);
}

/* The same for all vectors. */
INLINE void add_values(float *const *sums, const int queries, int vectors, const uint16_t *values, int count,
                       float *const *weights, const uint16_t *ahead) {
    for (int done = 0; done < vectors;) {
        float *at[MOST_QUERIES];
        for (int h = 0; h < queries; h++)
            at[h] = sums[h] + done * LANES;
        const uint16_t *part = values + done * LANES;
        if (vectors - done >= 4) {
            add_vectors(at, queries, 4, vectors, part, count, weights, ahead + done * LANES);
            done += 4;
        } else {
            add_vectors(at, queries, 1, vectors, part, count, weights, ahead + done * LANES);
            done++;
        }
    }
}

/* Where a position's scores, and the sums of the values, of some queries are. */
typedef struct {
    const Query *query;
    float *scores[MOST_QUERIES]; /* from the query's first position on */
    int vectors;
} Attending;

/* Scores, or sums of values, of some queries that have the positions begin .. end - 1 in the same place. */
static void attend_span(const Attending *a, int first, int count, int begin, int end, int is_values) {
    const Query *query = a->query + first;
    const Places *places = &query->places;
    const float *q[MOST_QUERIES];
    float *scores[MOST_QUERIES], *sums[MOST_QUERIES];
    while (begin < end) {
        const int until = begin < places->shared ? at_most(places->shared, end) : end;
        for (int h = 0; h < count; h++) {
            q[h] = query[h].q;
            sums[h] = query[h].partial->sum;
            scores[h] = a->scores[first + h] + (begin - query[h].from);
        }
        const int head_size = a->vectors * LANES;
        const uint16_t *keys = row_of(places->keys, places->own_keys, places->shared, begin, head_size);
        const uint16_t *values = row_of(places->values, places->own_values, places->shared, begin, head_size);
        const uint16_t *at = is_values ? values : keys;
        /* Keys are followed by the values of the same positions, and own values by the own keys of the next row. */
        const uint16_t *ahead = !is_values || begin < places->shared ? values
            : query->next_keys + (ptrdiff_t)(begin - places->shared) * head_size;
        const int vectors = a->vectors, positions = until - begin; /* The usual four vectors are a constant: less to count. */
        switch (count * 4 + (vectors == 4) * 2 + is_values) {
#define CASE(n) case n * 4: score(q, n, vectors, at, positions, scores, ahead); break; \
                case n * 4 + 1: add_values(sums, n, vectors, at, positions, scores, ahead); break; \
                case n * 4 + 2: score(q, n, 4, at, positions, scores, ahead); break; \
                case n * 4 + 3: add_values(sums, n, 4, at, positions, scores, ahead); break;
            CASE(1) CASE(2) CASE(3) CASE(4)
#if MOST_QUERIES > 4
            CASE(5) CASE(6)
#endif
#undef CASE
        }
        begin = until;
    }
}

/* For the queries of each row in turn: those of its positions between `begin` and `end`. */
static void attend_rows_alone(const Attending *a, int count, int begin, int end, int is_values) {
    for (int first = 0, next; first < count; first = next) {
        const Query *query = a->query + first;
        for (next = first + 1; next < count && a->query[next].row == query->row;)
            next++;
        attend_span(a, first, next - first, query->from > begin ? query->from : begin, at_most(query->to, end), is_values);
    }
}

/* Attend with up to MOST_QUERIES queries of one key-value head of several rows, a row's ones side by side. The shared
 * positions that all rows see are read once for all of them, the others once for each row. Each query gets the same bits as
 * alone. */
static void attend(const Query *query, int count, int head_size, float cap) {
    float space[MOST_QUERIES][BLOCK + 4];
    Attending a = { .query = query, .vectors = head_size / LANES };
    int from = 0, to = query->places.shared;
    for (int h = 0; h < count; h++) {
        a.scores[h] = space[h];
        from = query[h].from > from ? query[h].from : from;
        to = at_most(to, at_most(query[h].to, query[h].places.shared));
        memset(query[h].partial->sum, 0, head_size * sizeof(float));
    }
    if (from >= to)
        from = to = INT_MAX; /* nothing in common */
    for (int is_values = 0; is_values < 2; is_values++) {
        attend_rows_alone(&a, count, 0, from, is_values);
        if (from < to)
            attend_span(&a, 0, count, from, to, is_values);
        attend_rows_alone(&a, count, to, INT_MAX, is_values);
        for (int h = 0; h < count && !is_values; h++)
            weigh(space[h], query[h].to - query[h].from, cap, query[h].partial);
    }
}

/* Merge one head's partials, in order of position, into its output. */
static void merge(Partial *partials, int count, int head_size, float *out) {
    float largest = partials->largest, total = 0;
    for (int i = 1; i < count; i++) {
        const Partial *partial = partial_at(partials, i, head_size);
        largest = partial->largest > largest ? partial->largest : largest;
    }
    for (int d = 0; d < head_size; d++)
        out[d] = 0;
    for (int i = 0; i < count; i++) {
        const Partial *partial = partial_at(partials, i, head_size);
        float weight = exp_negative(partial->largest - largest);
        total += weight * partial->total;
        for (int d = 0; d < head_size; d++)
            out[d] += weight * partial->sum[d];
    }
    for (int d = 0; d < head_size; d++)
        out[d] /= total;
}

#endif
