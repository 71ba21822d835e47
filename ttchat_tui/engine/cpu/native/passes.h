/* Passes over scores, with the bits of engine/decoding/passes.py, which says what they are. */
#ifndef PASSES_H
#define PASSES_H

#include <stdint.h>
#include <string.h>
#include "pool.h"

#define SCORE_GROUP 32
#define SUM_BLOCK 256
#define SURVEY_PARTS 4
#define NO_SIGN 0x7fffffff
#define INFINITE 0x7f800000
#define LEAST_POWER -126.0f
#define WHOLE 12582912.0f
#define ROUNDER 384.0
#define ROUNDER_BITS 0x4078000000000000

static inline void keep_highest(const float *score, float *highest, uint32_t *largest) {
    uint32_t bits;
    memcpy(&bits, score, sizeof bits);
    bits &= NO_SIGN;
    *largest = bits > *largest ? bits : *largest;
    *highest = *score > *highest ? *score : *highest;
}

/* The k-th highest of `count` values, whose order changes (Hoare's selection). */
static float kth_highest(float *values, int count, int k) {
    for (int low = 0, high = count - 1; low < high;) {
        const float pivot = values[(low + high) / 2];
        int i = low, j = high;
        while (i <= j) {
            while (values[i] > pivot)
                i++;
            while (values[j] < pivot)
                j--;
            if (i <= j) {
                const float value = values[i];
                values[i++] = values[j];
                values[j--] = value;
            }
        }
        if (k <= j + 1)
            high = j;
        else if (k > i)
            low = i;
        else
            break;
    }
    return values[k - 1];
}

/* ids [k] = the positions of the k highest scores, ascending. k groups have a score of at least the k-th highest of the groups'
 * maxima, so that no lower one is among the k, and most groups need no second look. count: a multiple of SCORE_GROUP, of at least k
 * groups. space [count / SCORE_GROUP + count]. */
void find_top_k(const float *scores, int32_t count, int32_t k, float *space, int64_t *ids) {
    const int groups = count / SCORE_GROUP;
    float *maxima = space, *near = space + groups;
    for (int group = 0; group < groups; group++) {
        const float *x = scores + group * SCORE_GROUP;
        float most = x[0];
        for (int i = 1; i < SCORE_GROUP; i++)
            most = x[i] > most ? x[i] : most;
        near[group] = maxima[group] = most;
    }
    const float bound = kth_highest(near, groups, k);
    int found = 0, above = 0;
    for (int group = 0; group < groups; group++)
        for (int i = 0; maxima[group] >= bound && i < SCORE_GROUP; i++)
            if (scores[group * SCORE_GROUP + i] >= bound)
                near[found++] = scores[group * SCORE_GROUP + i];
    const float edge = kth_highest(near, found, k);
    for (int i = 0; i < found; i++)
        above += near[i] > edge;
    int ties = k - above, taken = 0;
    for (int group = 0; group < groups; group++)
        for (int i = 0; maxima[group] >= edge && i < SCORE_GROUP; i++) {
            const float score = scores[group * SCORE_GROUP + i];
            if (score > edge || (score == edge && ties-- > 0))
                ids[taken++] = group * SCORE_GROUP + i;
        }
}

/* Products and sums must not be rounded together, as compilers do by default. */
#ifdef __clang__
#define SEPARATE_ROUNDING _Pragma("clang fp contract(off)")
#else
#define SEPARATE_ROUNDING
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif

static inline float weight_of(float score, float top, float factor) {
    SEPARATE_ROUNDING
    float power = (score - top) * factor;
    power = power > LEAST_POWER ? power : LEAST_POWER;
    const float rounded = power + WHOLE, x = power - (rounded - WHOLE);
    float weight = x * 0.0013264727f;
    weight = (weight + 0.009671513f) * x;
    weight = (weight + 0.055507336f) * x;
    weight = (weight + 0.24022242f) * x;
    weight = (weight + 0.693147f) * x;
    weight = weight + 1.0f;
    uint32_t bits, whole;
    memcpy(&bits, &weight, sizeof bits);
    memcpy(&whole, &rounded, sizeof whole);
    bits += whole << 23;
    memcpy(&weight, &bits, sizeof bits);
    return weight;
}

/* The position of the first highest score; -1 if one is not a number, or the highest is infinite. */
static int32_t top_of(const float *scores, int count) {
    float highest[SCORE_GROUP];
    uint32_t largest[SCORE_GROUP] = { 0 }; /* bits without the sign: beyond infinity are numbers that are none */
    int at = 0;
    for (int lane = 0; lane < SCORE_GROUP; lane++)
        highest[lane] = scores[0];
    for (; at + SCORE_GROUP <= count; at += SCORE_GROUP)
        for (int lane = 0; lane < SCORE_GROUP; lane++)
            keep_highest(scores + at + lane, highest + lane, largest + lane);
    for (; at < count; at++)
        keep_highest(scores + at, highest, largest);
    for (int lane = 1; lane < SCORE_GROUP; lane++) {
        highest[0] = highest[lane] > highest[0] ? highest[lane] : highest[0];
        largest[0] = largest[lane] > largest[0] ? largest[lane] : largest[0];
    }
    uint32_t top;
    memcpy(&top, highest, sizeof top);
    if (largest[0] > INFINITE || (top & NO_SIGN) == INFINITE)
        return -1;
    for (at = 0; at + SCORE_GROUP <= count; at += SCORE_GROUP) {
        int is_here = 0;
        for (int lane = 0; lane < SCORE_GROUP; lane++)
            is_here |= scores[at + lane] == highest[0];
        if (is_here)
            break;
    }
    while (scores[at] != highest[0])
        at++;
    return at;
}

/* out [count] = the weights. factor: log2(e) / temperature. */
void weigh_scores(const float *scores, int32_t count, float top, float factor, float *out) {
    for (int i = 0; i < count; i++)
        out[i] = weight_of(scores[i], top, factor);
}

/* sums [count / SUM_BLOCK, rounded up] = the sums of weights, in units, up to the end of each block. */
void sum_weights(const float *scores, int32_t count, float top, float factor, int64_t *sums) {
    uint64_t sum = 0; /* wraps around until the rounders are taken off */
    for (int first = 0; first < count; first += SUM_BLOCK) {
        const int size = count - first < SUM_BLOCK ? count - first : SUM_BLOCK;
        float weights[SUM_BLOCK];
        weigh_scores(scores + first, size, top, factor, weights);
        for (int i = 0; i < size; i++) {
            const double rounded = (double)weights[i] + ROUNDER;
            uint64_t bits;
            memcpy(&bits, &rounded, sizeof bits);
            sum += bits;
        }
        sum -= size * (uint64_t)ROUNDER_BITS;
        sums[first / SUM_BLOCK] = (int64_t)sum;
    }
}

/* What the sampler asks of the scores of each row, made where they still are in the caches of the threads that made them: the
 * position of the first highest one, -1 where `top_of` has none, and then no sums; and sums of weights at temperature 1. */
typedef struct {
    const float *scores;
    size_t stride; /* from row to row */
    int32_t count, part; /* of scores; in one piece of work, a multiple of SUM_BLOCK */
    float factor;
    int32_t *tops; /* [rows][SURVEY_PARTS], then [rows] */
    int64_t *sums; /* [rows][blocks] */
} Survey;

static int size_of_part(const Survey *s, int part) {
    const int left = s->count - part * s->part;
    return left < 0 ? 0 : left < s->part ? left : s->part;
}

static void top_piece(void *context, int piece) {
    const Survey *s = context;
    const int row = piece / SURVEY_PARTS, part = piece % SURVEY_PARTS, size = size_of_part(s, part);
    const int32_t top = size ? top_of(s->scores + row * s->stride + part * s->part, size) : -2;
    s->tops[piece] = top < 0 ? top : part * s->part + top;
}

/* The first highest of the parts' first highest; -1 if one has none. Parts without scores have -2. */
static int32_t top_of_row(const Survey *s, int row) {
    const float *scores = s->scores + row * s->stride;
    int32_t best = -2;
    for (int part = 0; part < SURVEY_PARTS; part++) {
        const int32_t top = s->tops[row * SURVEY_PARTS + part];
        if (top == -1)
            return -1;
        if (top >= 0 && (best < 0 || scores[top] > scores[best]))
            best = top;
    }
    return best;
}

static void sum_piece(void *context, int piece) {
    const Survey *s = context;
    const int row = piece / SURVEY_PARTS, part = piece % SURVEY_PARTS, size = size_of_part(s, part);
    const int32_t top = top_of_row(s, row);
    const float *scores = s->scores + row * s->stride;
    const int blocks = (s->count + SUM_BLOCK - 1) / SUM_BLOCK;
    if (top >= 0 && size)
        sum_weights(scores + part * s->part, size, scores[top], s->factor,
                    s->sums + (size_t)row * blocks + part * s->part / SUM_BLOCK);
}

static void survey_rows(Survey *s, int rows) {
    const int blocks = (s->count + SUM_BLOCK - 1) / SUM_BLOCK, blocks_of_part = s->part / SUM_BLOCK;
    share_out(top_piece, s, rows * SURVEY_PARTS);
    share_out(sum_piece, s, rows * SURVEY_PARTS);
    for (int row = 0; row < rows; row++) {
        s->tops[row] = top_of_row(s, row); /* its parts, and those of rows before it, are not needed again */
        int64_t *sums = s->sums + (size_t)row * blocks, before = 0;
        for (int block = 0; s->tops[row] >= 0 && block < blocks; block++) {
            if (block && block % blocks_of_part == 0)
                before = sums[block - 1];
            sums[block] += before;
        }
    }
}

#ifndef __clang__
#pragma GCC pop_options
#endif

#endif
