/* Products of packed weights and rows of activations.
 *
 * Weights: tiles of 32 outputs by 32 inputs, in two halves of 16 outputs, one lane each. The four bytes of a lane are four
 * inputs of one output, so that one instruction multiplies and adds 64 weights. Scales and minima are float16.
 * Activations: groups of 32 with one scale, 16 bits each, as two 8-bit digits: x = scale * (256 * high + low). Sums within a
 * group are exact integers. A row gives the same bits alone and among others. */
#ifndef MATRIX_H
#define MATRIX_H

#include <math.h>
#include <stddef.h>
#include "lanes.h"

#define GROUP 32
#define LARGEST 32512 /* 127 * 256: the high digit stays within a signed byte */
#define WIDTH 32      /* outputs of a tile */
/* Bytes of a tile, in the order of use: any other order halves the rate at which memory is read. 4 bits: two halves, each 256
 * bytes of codes, 16 scales, 16 minima. 8 bits: 16 runs of 64 bytes of codes, from the two halves alternately, then 32
 * scales. */
#define HALF_4 320
#define TILE_4 (2 * HALF_4)
#define TILE_8 1088
#define MAX_ROWS 8    /* in one pass over the weights */

typedef struct {
    int8_t high[GROUP], low[GROUP];
    float scale;
    float total;   /* of the 32 activations */
    int32_t codes; /* their sum in units of `scale` */
    int32_t padding;
} Group;

typedef struct {
    int32_t outputs, inputs;
    const uint8_t *tiles; /* [outputs / 32][inputs / 32] */
    const float *bias;    /* [outputs], or none */
    int32_t bits;         /* of a weight: 4 or 8 */
    int32_t is_paired;    /* each tile has 16 outputs of gate and the same 16 of up */
} Matrix;

static void quantize_group(const float *x, Group *group) {
    float largest = 0;
    for (int i = 0; i < GROUP; i++) {
        float size = fabsf(x[i]);
        largest = size > largest ? size : largest;
    }
    float inverse = largest > 0 ? LARGEST / largest : 0;
    int32_t codes = 0;
    for (int i = 0; i < GROUP; i++) {
        int32_t code = (int32_t)rintf(x[i] * inverse);
        int32_t high = (code + 128) >> 8;
        group->high[i] = (int8_t)high;
        group->low[i] = (int8_t)(code - high * 256);
        codes += code;
    }
    group->scale = largest / LARGEST;
    group->codes = codes;
    group->total = group->scale * (float)codes;
}

static void quantize(const float *x, Group *groups, int size) {
    for (int i = 0; i < size / GROUP; i++)
        quantize_group(x + i * GROUP, groups + i);
}

/* With several rows, a tile takes so long that the processor stops prefetching on its own. */
INLINE void read_ahead(const uint8_t *at, const int rows) {
    if (rows > 2)
        _mm_prefetch((const char *)at, _MM_HINT_T0);
}

INLINE int32_t four(const int8_t *bytes) {
    int32_t value;
    __builtin_memcpy(&value, bytes, 4);
    return value;
}

/* totals[half][row] = the outputs of one tile of 4-bit weights. `rows` is a compile-time constant. Both halves at once, so that
 * a loaded activation serves 32 outputs; two rows at once, so that sums do not wait for each other. */
INLINE void multiply_4(const uint8_t *tile, int groups, const Group *x, const int rows, F16 totals[2][MAX_ROWS]) {
    F16 sums[2][4]; /* local, so that it stays in registers */
    for (int t = 0; t < 2; t++)
        for (int row = 0; row < rows; row++)
            sums[t][row] = f_zero();
    for (int g = 0; g < groups; g++, tile += TILE_4) {
        I16 codes[2][8];
        F16 scale[2], minimum[2];
        for (int t = 0; t < 2; t++) {
            const uint8_t *half = tile + t * HALF_4;
            for (int i = 0; i < 4; i++) {
                read_ahead(half + 64 * i + 4 * TILE_4, rows);
                I16 both = i_load(half + 64 * i);
                codes[t][2 * i] = i_low(both);
                codes[t][2 * i + 1] = i_high(both);
            }
            read_ahead(half + 256 + 4 * TILE_4, rows);
            scale[t] = f_load_half(half + 256);
            minimum[t] = f_load_half(half + 288);
        }
        for (int row = 0; row < rows; row += 2) {
            const int pair = rows - row < 2 ? 1 : 2;
            const Group *group[2] = { x + row * groups + g, x + (row + pair - 1) * groups + g };
            I16 high[2][2], low[2][2];
            for (int p = 0; p < pair; p++)
                for (int t = 0; t < 2; t++)
                    high[p][t] = low[p][t] = i_zero();
            for (int i = 0; i < 8; i++)
                for (int p = 0; p < pair; p++) {
                    const int32_t coarse = four(group[p]->high + 4 * i), fine = four(group[p]->low + 4 * i);
                    for (int t = 0; t < 2; t++) {
                        high[p][t] = i_dot(high[p][t], codes[t][i], coarse);
                        low[p][t] = i_dot(low[p][t], codes[t][i], fine);
                    }
                }
            for (int p = 0; p < pair; p++)
                for (int t = 0; t < 2; t++) {
                    F16 sum = f_from_int(i_add(i_times_256(high[p][t]), low[p][t]));
                    sums[t][row + p] = f_fma(sum, f_mul(scale[t], f_set(group[p]->scale)), sums[t][row + p]);
                    sums[t][row + p] = f_fma(minimum[t], f_set(group[p]->total), sums[t][row + p]);
                }
        }
    }
    for (int t = 0; t < 2; t++)
        for (int row = 0; row < rows; row++)
            totals[t][row] = sums[t][row];
}

/* The same for 8-bit weights. Code 128 is 0. */
INLINE void multiply_8(const uint8_t *tile, int groups, const Group *x, const int rows, F16 totals[2][MAX_ROWS]) {
    F16 sums[2][4];
    for (int t = 0; t < 2; t++)
        for (int row = 0; row < rows; row++)
            sums[t][row] = f_zero();
    for (int g = 0; g < groups; g++, tile += TILE_8)
        for (int row = 0; row < rows; row++) {
            const Group *group = x + row * groups + g;
            I16 high[2] = { i_zero(), i_zero() }, low[2] = { i_zero(), i_zero() };
            for (int i = 0; i < 8; i++) {
                const int32_t coarse = four(group->high + 4 * i), fine = four(group->low + 4 * i);
                for (int t = 0; t < 2; t++) {
                    const uint8_t *part = tile + 64 * (2 * i + t);
                    read_ahead(part + 4 * TILE_8, rows);
                    I16 codes = i_load(part);
                    high[t] = i_dot_any(high[t], codes, coarse);
                    low[t] = i_dot_any(low[t], codes, fine);
                }
            }
            for (int t = 0; t < 2; t++) {
                F16 scale = f_mul(f_load_half(tile + 1024 + 32 * t), f_set(group->scale));
                I16 sum = i_sub(i_add(i_times_256(high[t]), low[t]), i_set(128 * group->codes));
                sums[t][row] = f_fma(f_from_int(sum), scale, sums[t][row]);
            }
        }
    for (int t = 0; t < 2; t++)
        for (int row = 0; row < rows; row++)
            totals[t][row] = sums[t][row];
}

static int tiles_of(const Matrix *matrix) { return matrix->outputs / WIDTH; }

/* The first of the 16 outputs of half a tile. */
static int first_output(const Matrix *matrix, int tile, int half) {
    return matrix->is_paired ? tile * LANES + half * (matrix->outputs / 2) : tile * WIDTH + half * LANES;
}

/* totals[half][row] = the outputs of one tile, bias included, for up to MAX_ROWS rows of [inputs / 32] groups. Rows go four
 * at a time: more do not fit into the registers. */
static void multiply_tile(const Matrix *matrix, int tile, const Group *x, int rows, F16 totals[2][MAX_ROWS]) {
    const int groups = matrix->inputs / GROUP;
    const uint8_t *at = matrix->tiles + (size_t)tile * groups * (matrix->bits == 4 ? TILE_4 : TILE_8);
    for (int done = 0; done < rows;) {
        const int count = rows - done >= 4 ? 4 : rows - done >= 2 ? 2 : 1;
        const Group *part = x + (size_t)done * groups;
        F16 found[2][MAX_ROWS];
        switch (matrix->bits * 10 + count) {
#define CASE(bits, count) case bits * 10 + count: multiply_##bits(at, groups, part, count, found); break;
            CASE(4, 1) CASE(4, 2) CASE(4, 4) CASE(8, 1) CASE(8, 2) CASE(8, 4)
#undef CASE
        }
        for (int t = 0; t < 2; t++)
            for (int row = 0; row < count; row++)
                totals[t][done + row] = found[t][row];
        done += count;
    }
    if (matrix->bias)
        for (int t = 0; t < 2; t++)
            for (int row = 0; row < rows; row++)
                totals[t][row] = f_add(totals[t][row], f_load(matrix->bias + first_output(matrix, tile, t)));
}

#endif
