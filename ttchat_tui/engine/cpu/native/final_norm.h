/* The norm before the output head. The order of its sum is that of torch's kernels, so that both forwards give the head the
 * same bits. */
#ifndef FINAL_NORM_H
#define FINAL_NORM_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define RUN 32      /* numbers that are summed side by side: 4 vectors of 8 */
#define VECTOR 8
#define LEVELS 3
#define LEVEL 16    /* runs after which sums go up one level */

/* For a multiple of 32, as torch's `cascade_sum` (aten/src/ATen/native/cpu/SumKernel.cpp). */
static float cascade_sum(const float *x, int size) {
    float sums[LEVELS][RUN] = { 0 }, total = 0;
    for (int run = 1; run <= size / RUN; run++, x += RUN) {
        for (int i = 0; i < RUN; i++)
            sums[0][i] += x[i];
        for (int level = 1, runs = LEVEL; level < LEVELS && run % runs == 0; level++, runs *= LEVEL)
            for (int i = 0; i < RUN; i++) {
                sums[level][i] += sums[level - 1][i];
                sums[level - 1][i] = 0;
            }
    }
    for (int level = 1; level < LEVELS; level++)
        for (int i = 0; i < RUN; i++)
            sums[0][i] += sums[level][i];
    for (int i = VECTOR; i < RUN; i++)
        sums[0][i % VECTOR] += sums[0][i];
    for (int i = 0; i < VECTOR; i++)
        total += sums[0][i];
    return total;
}

/* By their bits: the compiler takes all numbers to be finite. */
static int all_finite(const float *x, int size) {
    uint32_t largest = 0;
    for (int i = 0; i < size; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    return largest < 0x7f800000;
}

/* out [rows][size] = x / root mean square * weight, row by row (RMSNorm). */
static void final_norm(const float *x, const float *weight, int32_t rows, int32_t size, float eps, float *out) {
    for (int row = 0; row < rows; row++, x += size, out += size) {
        /* Squares are stored before they are summed: the compiler would round a product and its sum together. */
        for (int i = 0; i < size; i++)
            out[i] = x[i] * x[i];
        const float scale = 1.0f / sqrtf(cascade_sum(out, size) / (float)size + eps);
        for (int i = 0; i < size; i++)
            out[i] = x[i] * scale * weight[i];
    }
}

#endif
