/* Passes over scores, with the bits of engine/decoding/passes.py, which says what they are. */
#ifndef PASSES_H
#define PASSES_H

#include <stdint.h>
#include <string.h>
#include "pool.h"

#define SCORE_GROUP 32
#define SUM_BLOCK 256
#define SURVEY_PARTS 4
#define INFINITE 0x7f800000
#define LEAST_POWER -126.0f
#define NOTHING -200.0f
#define WHOLE 12582912.0f
#define ROUNDER 384.0
#define ROUNDER_BITS 0x4078000000000000

static int size_of_block(int count, int first) { return count - first < SUM_BLOCK ? count - first : SUM_BLOCK; }

static int groups_of(int count) { return (count + SCORE_GROUP - 1) / SCORE_GROUP; }

static int size_of_group(int count, int group) {
    const int left = count - group * SCORE_GROUP;
    return left < SCORE_GROUP ? left : SCORE_GROUP;
}

/* maxima [groups] = the highest score of each group. */
static void find_maxima(const float *scores, int count, float *maxima) {
    for (int group = 0; group < count / SCORE_GROUP; group++) {
        const float *x = scores + group * SCORE_GROUP;
        float most = x[0];
        for (int i = 1; i < SCORE_GROUP; i++)
            most = x[i] > most ? x[i] : most;
        maxima[group] = most;
    }
    for (int i = count / SCORE_GROUP * SCORE_GROUP; i < count; i++)
        if (i % SCORE_GROUP == 0 || scores[i] > maxima[i / SCORE_GROUP])
            maxima[i / SCORE_GROUP] = scores[i];
}

/* The largest bits without the sign: beyond those of infinity are numbers that are none. */
static uint32_t largest_bits(const float *scores, int count) {
    uint32_t largest = 0;
    for (int i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, scores + i, sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    return largest;
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

/* A bound that at least k scores reach: the k-th highest of the maxima of runs of groups, of which there are 2 * k or more if there
 * are as many groups. Few other scores reach it. Changes `space` [groups]. */
static float bound_of_top_k(const float *maxima, int groups, int k, float *space) {
    const int run = groups / (2 * k) > 1 ? groups / (2 * k) : 1;
    int runs = 0;
    for (int first = 0; first < groups; first += run, runs++) {
        space[runs] = maxima[first];
        for (int group = first + 1; group < groups && group < first + run; group++)
            space[runs] = maxima[group] > space[runs] ? maxima[group] : space[runs];
    }
    return kth_highest(space, runs, k);
}

/* ids [k] = the positions of the k highest scores, ascending. There are k groups or more. maxima [groups]: as of `find_maxima`; none
 * finds them. values [groups + count], places [count]: space. */
void find_top_k(const float *scores, int32_t count, int32_t k, const float *maxima, float *values, int32_t *places, int64_t *ids) {
    const int groups = groups_of(count);
    float *near = values + groups;
    if (!maxima) {
        find_maxima(scores, count, values);
        maxima = values;
    }
    const float bound = bound_of_top_k(maxima, groups, k, near);
    int found = 0, ties = k, taken = 0;
    for (int group = 0; group < groups; group++)
        for (int i = 0; maxima[group] >= bound && i < size_of_group(count, group); i++)
            if (scores[group * SCORE_GROUP + i] >= bound) {
                places[found] = group * SCORE_GROUP + i;
                near[found++] = scores[group * SCORE_GROUP + i];
            }
    const float edge = kth_highest(near, found, k);
    for (int i = 0; i < found; i++)
        ties -= near[i] > edge;
    for (int i = 0; i < found; i++)
        if (scores[places[i]] > edge || (scores[places[i]] == edge && ties-- > 0))
            ids[taken++] = places[i];
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

/* The position of the first highest score; -1 if one is not a number, or the highest is infinite. Fills `maxima`. */
static int32_t top_of(const float *scores, int count, float *maxima) {
    const int groups = groups_of(count);
    uint32_t largest = 0;
    for (int first = 0; first < count; first += SUM_BLOCK) {
        const int size = size_of_block(count, first);
        find_maxima(scores + first, size, maxima + first / SCORE_GROUP);
        const uint32_t bits = largest_bits(scores + first, size);
        largest = bits > largest ? bits : largest;
    }
    float most = maxima[0];
    for (int group = 1; group < groups; group++)
        most = maxima[group] > most ? maxima[group] : most;
    if (largest > INFINITE || largest_bits(&most, 1) == INFINITE)
        return -1;
    int at = 0;
    while (maxima[at / SCORE_GROUP] != most)
        at += SCORE_GROUP;
    while (scores[at] != most)
        at++;
    return at;
}

/* out [count] = the weights. factor: log2(e) / temperature. */
void weigh_scores(const float *scores, int32_t count, float top, float factor, float *out) {
    for (int i = 0; i < count; i++)
        out[i] = weight_of(scores[i], top, factor);
}

/* The sum of some numbers in units. */
static uint64_t units_of(const float *numbers, int count) {
    uint64_t sum = 0; /* wraps around until the rounders are taken off */
    for (int i = 0; i < count; i++) {
        const double rounded = (double)numbers[i] + ROUNDER;
        uint64_t bits;
        memcpy(&bits, &rounded, sizeof bits);
        sum += bits;
    }
    return sum - count * (uint64_t)ROUNDER_BITS;
}

/* sums [count / SUM_BLOCK, rounded up] = the sums of weights, in units, up to the end of each block. */
void sum_weights(const float *scores, int32_t count, float top, float factor, int64_t *sums) {
    uint64_t sum = 0;
    for (int first = 0; first < count; first += SUM_BLOCK) {
        const int size = size_of_block(count, first);
        float weights[SUM_BLOCK];
        weigh_scores(scores + first, size, top, factor, weights);
        sum += units_of(weights, size);
        sums[first / SUM_BLOCK] = (int64_t)sum;
    }
}

/* The sum of weight * (score - top), in units. */
int64_t sum_weighted(const float *scores, int32_t count, float top, float factor) {
    uint64_t sum = 0;
    for (int first = 0; first < count; first += SUM_BLOCK) {
        const int size = size_of_block(count, first);
        float products[SUM_BLOCK];
        for (int i = 0; i < size; i++) {
            const float below = scores[first + i] - top;
            products[i] = (below > NOTHING ? below : NOTHING) * weight_of(scores[first + i], top, factor);
        }
        sum += units_of(products, size);
    }
    return (int64_t)sum;
}

/* What the sampler asks of the scores of each row, made where they still are in the caches of the threads that made them: the
 * position of the first highest one, -1 where `top_of` has none, and then no sums; the highest of each group; and sums of weights
 * at temperature 1. */
typedef struct {
    const float *scores;
    size_t stride; /* from row to row */
    int32_t count, part; /* of scores; in one piece of work, a multiple of SUM_BLOCK */
    float factor;
    int32_t *tops; /* [rows][SURVEY_PARTS], then [rows] */
    float *maxima; /* [rows][groups], of `find_maxima` */
    int64_t *sums; /* [rows][blocks] */
} Survey;

static int size_of_part(const Survey *s, int part) {
    const int left = s->count - part * s->part;
    return left < 0 ? 0 : left < s->part ? left : s->part;
}

static void top_piece(void *context, int piece) {
    const Survey *s = context;
    const int row = piece / SURVEY_PARTS, part = piece % SURVEY_PARTS, size = size_of_part(s, part);
    float *maxima = s->maxima + (size_t)row * groups_of(s->count) + part * s->part / SCORE_GROUP;
    const int32_t top = size ? top_of(s->scores + row * s->stride + part * s->part, size, maxima) : -2;
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

static void row_piece(void *context, int row) {
    for (int part = 0; part < SURVEY_PARTS; part++)
        top_piece(context, row * SURVEY_PARTS + part);
    for (int part = 0; part < SURVEY_PARTS; part++)
        sum_piece(context, row * SURVEY_PARTS + part);
}

static void survey_rows(Survey *s, int rows) {
    const int blocks = (s->count + SUM_BLOCK - 1) / SUM_BLOCK, blocks_of_part = s->part / SUM_BLOCK;
    if (rows >= pool.threads) /* a row stays in the second cache from one pass to the next */
        share_out(row_piece, s, rows);
    else {
        share_out(top_piece, s, rows * SURVEY_PARTS);
        share_out(sum_piece, s, rows * SURVEY_PARTS);
    }
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
