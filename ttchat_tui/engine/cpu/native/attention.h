/* Attention of one position over a float16 KV cache, in blocks of positions that are merged afterwards. Blocks can be computed
 * in parallel. Their bounds depend only on the position, so that the result has the same bits for any layout of the cache.
 * Source of the merge: Milakov and Gimelshein 2018, arXiv:1805.02867. */
#ifndef ATTENTION_H
#define ATTENTION_H

#include <math.h>
#include <stddef.h>
#include "lanes.h"

#define BLOCK 256     /* positions */
#define MAX_HEAD 256  /* elements of a head */

typedef struct {
    float largest, total;   /* of exp(score - largest) */
    float sum[MAX_HEAD];   /* of values, weighted by it */
} Partial;

/* The cache of one key-value head: positions before `shared` are in `keys` and `values`, later ones in the row's own. */
typedef struct {
    const uint16_t *keys, *values, *own_keys, *own_values; /* [positions][head_size], float16 */
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

INLINE const uint16_t *row_of(const uint16_t *shared, const uint16_t *own, int split, int position, int head_size) {
    return position < split ? shared + (ptrdiff_t)position * head_size : own + (ptrdiff_t)(position - split) * head_size;
}

/* Attend with `heads` queries of one key-value head to the positions from .. to - 1 of one block. `vectors` is head_size / 16.
 * Both are compile-time constants, so that queries and sums stay in registers. */
INLINE void attend(const float *q, const int heads, const int vectors, float cap, Places places, int from, int to,
                   Partial *partials, int stride) {
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
            for (int v = 0; v < vectors; v++) {
                F16 part = f_load_half(key + v * LANES);
                for (int h = 0; h < heads; h++)
                    sums[h][p] = f_fma(held[h][v], part, sums[h][p]);
            }
        }
        for (int h = 0; h < heads; h++)
            f_sums(sums[h], scores[h] + position - from);
    }
    const int count = to - from;
    for (int h = 0; cap != 0 && h < heads; h++)
        for (int i = 0; i < count; i++)
            scores[h][i] = capped(scores[h][i], cap);
    for (int h = 0; h < heads; h++) {
        float largest = scores[h][0];
        for (int i = 1; i < count; i++)
            largest = scores[h][i] > largest ? scores[h][i] : largest;
        float totals[LANES] = { 0 };
        for (int i = 0; i < count; i++)
            scores[h][i] = exp_negative(scores[h][i] - largest);
        for (int i = 0; i < count; i++)
            totals[i % LANES] += scores[h][i];
        float total = 0;
        for (int i = 0; i < LANES; i++)
            total += totals[i];
        partials[(size_t)h * stride].largest = largest;
        partials[(size_t)h * stride].total = total;
        for (int v = 0; v < vectors; v++)
            held[h][v] = f_zero();
    }
    for (int position = from; position < to; position++) {
        const uint16_t *value = row_of(places.values, places.own_values, places.shared, position, head_size);
        for (int v = 0; v < vectors; v++) {
            F16 part = f_load_half(value + v * LANES);
            for (int h = 0; h < heads; h++)
                held[h][v] = f_fma(f_set(scores[h][position - from]), part, held[h][v]);
        }
    }
    for (int h = 0; h < heads; h++)
        for (int v = 0; v < vectors; v++)
            f_store(partials[(size_t)h * stride].sum + v * LANES, held[h][v]);
}

/* Attend with all queries of a key-value head, as many at once as fit into registers. Partials of a head are `stride` apart. */
static void attend_heads(const float *q, int heads, int head_size, float cap, Places places, int from, int to,
                         Partial *partials, int stride) {
    while (heads > 0) {
        int count = 1;
        switch (head_size * 10 + at_most(head_size == 64 ? 4 : head_size == 128 || head_size == 96 ? 2 : 1, heads)) {
#define CASE(size, number) case size * 10 + number: \
            attend(q, count = number, size / LANES, cap, places, from, to, partials, stride); break;
            CASE(64, 4) CASE(64, 3) CASE(64, 2) CASE(64, 1) CASE(96, 2) CASE(96, 1) CASE(128, 2) CASE(128, 1) CASE(256, 1)
#undef CASE
        default:
            attend(q, 1, head_size / LANES, cap, places, from, to, partials, stride);
        }
        q += count * head_size;
        partials += (size_t)count * stride;
        heads -= count;
    }
}

/* Merge one head's partials, in order of position, into its output. */
static void merge(const Partial *partials, int count, int head_size, float *out) {
    float largest = partials[0].largest, total = 0;
    for (int i = 1; i < count; i++)
        largest = partials[i].largest > largest ? partials[i].largest : largest;
    for (int d = 0; d < head_size; d++)
        out[d] = 0;
    for (int i = 0; i < count; i++) {
        float weight = exp_negative(partials[i].largest - largest);
        total += weight * partials[i].total;
        for (int d = 0; d < head_size; d++)
            out[d] += weight * partials[i].sum[d];
    }
    for (int d = 0; d < head_size; d++)
        out[d] /= total;
}

#endif
