/* Codes16 of keys, values, queries and weights, for attention over 8-bit keys and values. */
#ifndef KV_CODES_H
#define KV_CODES_H

#include <float.h>
#include <math.h>
#include <string.h>
#include "lanes.h"
#include "matrix.h"

#define MOST_CODES 256
#define SMALLEST_SCALE 6e-8f /* above 0 in float16 */
#define LARGEST_SCALE 65504.0f

/* 16-bit codes of a query or of weights, by four: x = scale * code. */
typedef struct {
    int32_t first[MOST_CODES / 4], second[MOST_CODES / 4]; /* as `w_dot` takes them */
    int32_t total;                                         /* the sum of the codes */
    float scale;
} Codes16;

/* Sylvester's Hadamard matrix: 1, or -1 where row and column have an odd number of bits in common. */
#define SIGN(row, column) (__builtin_parity((row) & (column)) ? -1.0f : 1.0f)
#define FOUR_SIGNS(row, column) SIGN(row, column), SIGN(row, column + 1), SIGN(row, column + 2), SIGN(row, column + 3)
#define SIGNS(row) { FOUR_SIGNS(row, 0), FOUR_SIGNS(row, 4), FOUR_SIGNS(row, 8), FOUR_SIGNS(row, 12) }
static const float HADAMARD[LANES][LANES] = {
    SIGNS(0), SIGNS(1), SIGNS(2), SIGNS(3), SIGNS(4), SIGNS(5), SIGNS(6), SIGNS(7),
    SIGNS(8), SIGNS(9), SIGNS(10), SIGNS(11), SIGNS(12), SIGNS(13), SIGNS(14), SIGNS(15),
};

/* The Hadamard transform, without its factor, of each run of the greatest power of two that divides `size`. Returns the
 * factor's square. */
static float mix(float *x, int size) {
    const int run = size & -size;
    for (int at = 0; at < size; at += LANES) {
        F16 mixed = f_zero();
        for (int i = 0; i < LANES; i++)
            mixed = f_fma(f_set(x[at + i]), f_load(HADAMARD[i]), mixed);
        f_store(x + at, mixed);
    }
    for (int half = LANES; half < run; half *= 2)
        for (int first = 0; first < size; first += 2 * half)
            for (int i = first; i < first + half; i++) {
                const float a = x[i], b = x[i + half];
                x[i] = a + b;
                x[i + half] = a - b;
            }
    return 1.0f / (float)run;
}

/* The largest size; infinite if there is an infinity or NaN. Compared as bits: comparisons of floats pass over NaN. */
static float largest_of(const float *x, int count) {
    uint32_t largest = 0;
    for (int i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, 4);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    const uint32_t infinity = 0x7f800000;
    float size;
    memcpy(&size, largest < infinity ? &largest : &infinity, 4);
    return size;
}

/* Codes16 of `count` numbers, a multiple of 4; the first is number `at`. */
static void encode(const float *x, int count, Codes16 *out, int at) {
    const float largest = largest_of(x, count), inverse = largest > 0 ? LARGEST / (largest < FLT_MAX ? largest : FLT_MAX) : 0;
    int32_t codes[MOST_CODES], total = 0;
    for (int i = 0; i < count; i++)
        codes[i] = (int32_t)rintf(x[i] * inverse);
    for (int i = 0; i < count; i++) /* Infinities and NaN give other ones; the scale keeps what they are. */
        codes[i] = codes[i] > LARGEST ? LARGEST : codes[i] < -LARGEST ? -LARGEST : codes[i];
    for (int i = 0; i < count; i++)
        total += codes[i];
    w_split(codes, count, out->first + at / 4, out->second + at / 4);
    out->total = total;
    out->scale = largest / LARGEST;
}

/* 8-bit codes, plus 128, of one head's key or value at one position. A scale beyond float16 is infinite. */
static void encode_place(const float *x, int size, uint8_t *codes, uint8_t *scale) {
    const float wanted = largest_of(x, size) / 127.0f;
    const uint16_t half = half_of_float(wanted);
    memcpy(scale, &half, 2);
    /* Codes that are not 0 beside an infinite scale make infinite sums. */
    const float inverse = wanted < SMALLEST_SCALE ? 0 : 1.0f / (wanted < LARGEST_SCALE ? float_of_half(half) : LARGEST_SCALE);
    for (int i = 0; i < size; i++) {
        const float code = rintf(x[i] * inverse);
        codes[i] = (uint8_t)((int32_t)(code < -127.0f ? -127.0f : code > 127.0f ? 127.0f : code) + 128);
    }
}

#endif
