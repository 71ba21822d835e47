/* Products of packed weights and rows of activations.
 *
 * Weights: tiles.h.
 * Activations: groups of 32 with one scale, 16 bits each, as two 8-bit digits: x = scale * (256 * high + low). Sums within a
 * group are exact integers. A row gives the same bits alone and among others. */
#ifndef MATRIX_H
#define MATRIX_H

#include <math.h>
#include <stddef.h>
#include "lanes.h"
#include "tiles.h"

#define LARGEST 32512 /* 127 * 256: the high digit stays within a signed byte */
#define MAX_ROWS 8    /* in one pass over the weights */
#define AHEAD 16      /* tiles that are fetched ahead of their use */

typedef struct {
    int8_t high[GROUP], low[GROUP];
    float scale;
    float total;   /* of the 32 activations */
    int32_t codes; /* their sum in units of `scale` */
    int32_t first; /* of them, the sum of the first 16 */
} Group;

typedef struct {
    int32_t outputs, inputs;
    const TileRow *rows; /* [outputs / 32] */
    const float *bias;   /* [outputs], or none */
    int32_t is_paired;   /* each tile has 16 outputs of gate and the same 16 of up */
    int32_t padding;
} Matrix;

static void quantize_group(const float *x, Group *group) {
    float largest = 0;
    for (int i = 0; i < GROUP; i++) {
        float size = fabsf(x[i]);
        largest = size > largest ? size : largest;
    }
    float inverse = largest > 0 ? LARGEST / largest : 0;
    int32_t codes[GROUP], first = 0, rest = 0;
    for (int i = 0; i < GROUP; i++) /* Each loop does one thing, so that compilers vectorise it. */
        codes[i] = (int32_t)rintf(x[i] * inverse);
    for (int i = 0; i < GROUP; i++) /* Infinities and NaN give other ones, whose sums would overflow. */
        codes[i] = codes[i] > LARGEST ? LARGEST : codes[i] < -LARGEST ? -LARGEST : codes[i];
#pragma GCC unroll 1
    for (int i = 0; i < GROUP / 2; i++)
        first += codes[i];
#pragma GCC unroll 1
    for (int i = GROUP / 2; i < GROUP; i++)
        rest += codes[i];
    for (int i = 0; i < GROUP; i++)
        group->high[i] = (int8_t)((codes[i] + 128) >> 8);
    for (int i = 0; i < GROUP; i++)
        group->low[i] = (int8_t)codes[i]; /* the rest: code - 256 * high */
    group->scale = largest / LARGEST;
    group->first = first;
    group->codes = first + rest;
    group->total = group->scale * (float)group->codes;
}

/* A row's groups among those of some rows: the first one, and how many groups lie between two of them. MAX_ROWS rows are side by
 * side, so that a product reads them in the order of memory; each row by itself, 3,840 bytes after the one before, was read
 * at 60 % of the rate. */
typedef struct {
    Group *first;
    int stride;
} RowGroups;

static RowGroups row_groups(Group *groups, int per_row, int rows, int row) {
    const int before = row / MAX_ROWS * MAX_ROWS, beside = rows - before < MAX_ROWS ? rows - before : MAX_ROWS;
    return (RowGroups){ groups + (size_t)before * per_row + (row - before), beside };
}

static void quantize(const float *x, RowGroups out, int size) {
    for (int i = 0; i < size / GROUP; i++)
        quantize_group(x + i * GROUP, out.first + (size_t)i * out.stride);
}

/* With several rows, a tile takes so long that the processor stops prefetching on its own. */
INLINE void read_ahead(const uint8_t *at, const int rows) {
    if (rows > 2)
        prefetch(at);
}

/* One row reads weights faster than processors prefetch on their own: lines are asked for this many bytes before their use. A row
 * of tiles is followed by the one that is used next, so what lies beyond its end is not wasted. 8-bit tiles need no help. */
#define ROW_AHEAD 8192

INLINE void read_tile_ahead(const uint8_t *tile, const int bytes) {
#pragma GCC unroll 16
    for (int at = 0; at < bytes; at += 64)
        prefetch(tile + ROW_AHEAD + at);
}

INLINE int32_t four(const int8_t *bytes) {
    int32_t value;
    __builtin_memcpy(&value, bytes, 4);
    return value;
}

/* totals[half][row] = the outputs of one tile of 8-bit weights for one of the rows, whose groups are side by side. Code 128
 * is 0. */
INLINE void multiply_row_8(const uint8_t *tile, int groups, const Group *x, int row, int rows, F16 totals[2][MAX_ROWS]) {
    F16 sums[2] = { f_zero(), f_zero() };
    for (int g = 0; g < groups; g++, tile += BYTES_8) {
        const Group *group = x + g * rows + row;
        I16 high[2] = { i_zero(), i_zero() }, low[2] = { i_zero(), i_zero() };
        for (int i = 0; i < QUADS; i++) {
            const int32_t coarse = four(group->high + 4 * i), fine = four(group->low + 4 * i);
            for (int t = 0; t < 2; t++) {
                I16 codes = i_load(tile + 64 * (2 * i + t));
                high[t] = i_dot_any(high[t], codes, coarse);
                low[t] = i_dot_any(low[t], codes, fine);
            }
        }
        for (int t = 0; t < 2; t++) {
            F16 scale = f_mul(f_load_half(tile + 1024 + 32 * t), f_set(group->scale));
            I16 sum = i_sub(i_add(i_times_256(high[t]), low[t]), i_set(128 * group->codes));
            sums[t] = f_fma(f_from_int(sum), scale, sums[t]);
        }
    }
    totals[0][row] = sums[0];
    totals[1][row] = sums[1];
}

/* The eight quads of half a tile in bit planes, as unsigned bytes. */
INLINE void load_planes(const uint8_t *at, const Planes p, const int rows, const int ahead, I16 codes[QUADS]) {
    for (int i = 0; i < p.low; i++) {
        read_ahead(at + 64 * i + ahead, rows);
        const I16 plane = i_load(at + 64 * i);
        const int per_byte = 8 / p.low;
        for (int k = 0; k < per_byte; k++)
            codes[i * per_byte + k] = i_bits(plane, k * p.low, p.low, 0);
    }
    for (int i = 0; i < p.high; i++) {
        read_ahead(at + 64 * (p.low + i) + ahead, rows);
        const I16 plane = i_load(at + 64 * (p.low + i));
        const int per_byte = 8 / p.high;
        for (int k = 0; k < per_byte; k++)
            codes[i * per_byte + k] = i_or(codes[i * per_byte + k], i_bits(plane, k * p.high, p.high, p.low));
    }
    if (p.table)
        for (int i = 0; i < QUADS; i++)
            codes[i] = i_look_up(codes[i], p.table);
}

/* Scales and minima of half a tile in bit planes, by part. */
INLINE void load_scales(const uint8_t *tile, const Planes p, int half, const int rows, F16 scale[2], F16 minimum[2]) {
    for (int part = 0; part < p.parts; part++) {
        const uint8_t *at = tile + 64 * (p.low + p.high + part) + 32 * half;
        read_ahead(at + AHEAD * plane_tile_bytes(p), rows);
        scale[part] = f_load_half(at);
        if (p.is_affine)
            minimum[part] = f_load_half(at + 64 * p.parts);
    }
}

/* sum + the weights of one part of a group times its activations. */
INLINE F16 add_part(const Planes p, F16 sum, I16 high, I16 low, const Group *group, const int part, F16 scale, F16 minimum) {
    const int32_t all = p.parts == 1 ? group->codes : part ? group->codes - group->first : group->first;
    I16 product = i_add(i_times_256(high), low);
    if (p.centre)
        product = i_sub(product, i_set(p.centre * all));
    sum = f_fma(f_from_int(product), f_mul(scale, f_set(group->scale)), sum);
    return p.is_affine ? f_fma(minimum, f_set(p.parts == 1 ? group->total : group->scale * (float)all), sum) : sum;
}

INLINE I16 dot_planes(const Planes p, I16 sum, I16 codes, int32_t x) {
    return p.centre > 64 ? i_dot_any(sum, codes, x) : i_dot(sum, codes, x);
}

/* One row, one half after the other, each in four sums that do not wait for each other. Quads from the two ends
 * of a group in turns: in order, memory is read at less than half the rate. */
INLINE void multiply_row_in_planes(const Planes p, const uint8_t *tile, int groups, const Group *x, F16 totals[2][MAX_ROWS]) {
    F16 sums[2] = { f_zero(), f_zero() };
    for (int g = 0; g < groups; g++, tile += plane_tile_bytes(p)) {
        read_tile_ahead(tile, plane_tile_bytes(p));
        for (int t = 0; t < 2; t++) {
            const Group *group = x + g;
            I16 codes[QUADS];
            F16 scale[2], minimum[2];
            load_planes(tile + half_in_planes(p, t), p, 1, 0, codes);
            load_scales(tile, p, t, 1, scale, minimum);
            I16 high[2] = { i_zero(), i_zero() }, low[2] = { i_zero(), i_zero() };
            for (int i = 0; i < QUADS / 2; i++)
                for (int part = 0; part < 2; part++) {
                    const int quad = part * QUADS / 2 + i;
                    high[part] = dot_planes(p, high[part], codes[quad], four(group->high + 4 * quad));
                    low[part] = dot_planes(p, low[part], codes[quad], four(group->low + 4 * quad));
                }
            if (p.parts == 1) {
                high[0] = i_add(high[0], high[1]);
                low[0] = i_add(low[0], low[1]);
            }
            for (int part = 0; part < p.parts; part++)
                sums[t] = add_part(p, sums[t], high[part], low[part], group, part, scale[part], minimum[part]);
        }
    }
    totals[0][0] = sums[0];
    totals[1][0] = sums[1];
}

/* Both halves of an 8-bit tile, as those of tiles in bit planes. */
INLINE void load_8(const uint8_t *tile, I16 codes[2][QUADS], F16 scale[2][2]) {
    for (int i = 0; i < 2 * QUADS; i++) {
        read_ahead(tile + 64 * i + AHEAD * BYTES_8, MAX_ROWS);
        codes[i % 2][i / 2] = i_load(tile + 64 * i);
    }
    read_ahead(tile + 1024 + AHEAD * BYTES_8, MAX_ROWS);
    for (int t = 0; t < 2; t++)
        scale[t][0] = f_load_half(tile + 1024 + 32 * t);
}

/* Several rows, of any number: a tile is unpacked once, and each row multiplies it while its codes are in registers. Sums of rows
 * are in memory, where they cost less than a second pass over the tile. Even and odd quads have sums of their own where there
 * are registers for them: eight products that wait for each other take longer than the processor sees ahead. */
INLINE void multiply_rows(const Planes p, const uint8_t *tile, int groups, const Group *x, int rows, F16 totals[2][MAX_ROWS]) {
    const int is_8 = p.low == 8, bytes = is_8 ? BYTES_8 : plane_tile_bytes(p), quads = QUADS / p.parts;
    const int chains = p.parts == 1 && REGISTERS == 32 ? 2 : 1;
    for (int t = 0; t < 2; t++)
        for (int row = 0; row < rows; row++)
            totals[t][row] = f_zero();
    for (int g = 0; g < groups; g++, tile += bytes) {
        I16 codes[2][QUADS];
        F16 scale[2][2], minimum[2][2];
        if (is_8)
            load_8(tile, codes, scale);
        for (int t = 0; t < 2 && !is_8; t++) {
            load_planes(tile + half_in_planes(p, t), p, MAX_ROWS, AHEAD * bytes, codes[t]);
            load_scales(tile, p, t, MAX_ROWS, scale[t], minimum[t]);
        }
        const Group *group = x + g * rows;
#pragma GCC unroll 1
        for (int row = 0; row < rows; row++, group++) {
            F16 sums[2] = { totals[0][row], totals[1][row] };
#pragma GCC unroll 2
            for (int part = 0; part < p.parts; part++) {
                I16 high[2][2], low[2][2];
                for (int t = 0; t < 2; t++)
                    high[t][0] = high[t][1] = low[t][0] = low[t][1] = i_zero();
#pragma GCC unroll 8
                for (int quad = part * quads; quad < (part + 1) * quads; quad++) {
                    const int32_t coarse = four(group->high + 4 * quad), fine = four(group->low + 4 * quad);
                    const int chain = quad % chains;
                    for (int t = 0; t < 2; t++) {
                        high[t][chain] = dot_planes(p, high[t][chain], codes[t][quad], coarse);
                        low[t][chain] = dot_planes(p, low[t][chain], codes[t][quad], fine);
                    }
                }
                for (int t = 0; t < 2; t++) {
                    if (chains == 2) {
                        high[t][0] = i_add(high[t][0], high[t][1]);
                        low[t][0] = i_add(low[t][0], low[t][1]);
                    }
                    sums[t] = add_part(p, sums[t], high[t][0], low[t][0], group, part, scale[t][part], minimum[t][part]);
                }
            }
            for (int t = 0; t < 2; t++)
                totals[t][row] = sums[t];
        }
    }
}

/* The same for up to four rows and weights in 16 or 32 bits, in two sums of each output, one of even inputs and one of odd ones. */
INLINE void multiply_floats(const Format format, const uint8_t *tile, int groups, RowGroups x, const int rows,
                            F16 totals[2][MAX_ROWS]) {
    const int size = format == TILE_F32 ? 4 : 2;
    F16 sums[2][2][4];
    for (int odd = 0; odd < 2; odd++)
        for (int t = 0; t < 2; t++)
            for (int row = 0; row < rows; row++)
                sums[odd][t][row] = f_zero();
    for (int g = 0; g < groups; g++, tile += size * WIDTH * GROUP) {
        float values[4][GROUP];
        for (int row = 0; row < rows; row++)
            for (int i = 0; i < GROUP; i += LANES) {
                const Group *group = x.first + g * x.stride + row;
                const F16 code = f_from_int(i_from_digits(group->high + i, group->low + i));
                f_store(values[row] + i, f_mul(code, f_set(group->scale)));
            }
        for (int i = 0; i < GROUP; i += 2) {
            if (rows == 1)
                read_tile_ahead(tile + size * i * WIDTH, 2 * size * WIDTH);
            for (int odd = 0; odd < 2; odd++)
                for (int t = 0; t < 2; t++) {
                    const uint8_t *at = tile + size * ((i + odd) * WIDTH + t * LANES);
                    read_ahead(at + size * WIDTH * GROUP, rows);
                    const F16 weights = format == TILE_F16    ? f_load_half(at)
                                        : format == TILE_BF16 ? f_load_bf16(at)
                                                              : f_load((const float *)at);
                    for (int row = 0; row < rows; row++)
                        sums[odd][t][row] = f_fma(weights, f_set(values[row][i + odd]), sums[odd][t][row]);
                }
        }
    }
    for (int t = 0; t < 2; t++)
        for (int row = 0; row < rows; row++)
            totals[t][row] = f_add(sums[0][t][row], sums[1][t][row]);
}

/* The same, four rows at a time: more do not fit into the registers. */
INLINE void multiply_rows_of_floats(const Format format, const uint8_t *tile, int groups, const Group *x, int rows,
                                    F16 totals[2][MAX_ROWS]) {
    for (int done = 0, count; done < rows; done += count) {
        const RowGroups part = { (Group *)x + done, rows };
        F16 found[2][MAX_ROWS];
        if (rows - done >= 4)
            multiply_floats(format, tile, groups, part, count = 4, found);
        else if (rows - done >= 2)
            multiply_floats(format, tile, groups, part, count = 2, found);
        else
            multiply_floats(format, tile, groups, part, count = 1, found);
        for (int t = 0; t < 2; t++)
            for (int row = 0; row < count; row++)
                totals[t][done + row] = found[t][row];
    }
}

/* totals[half][row] = the outputs of one tile for up to MAX_ROWS rows, whose [groups][rows] are `x`. */
typedef void (*Product)(const uint8_t *tile, int groups, const Group *x, int rows, F16 totals[2][MAX_ROWS]);

/* Two functions for each format: for one row, and for several. */
#define PRODUCT(name, call) \
    static void name(const uint8_t *tile, int groups, const Group *x, int rows, F16 totals[2][MAX_ROWS]) { \
        call; \
    }
#define IN_PLANES(name, planes) \
    PRODUCT(name##_row, multiply_row_in_planes(planes, tile, groups, x, totals)) \
    PRODUCT(name##_rows, multiply_rows(planes, tile, groups, x, rows, totals))
#define IN_FLOATS(name, format) \
    PRODUCT(name##_row, multiply_rows_of_floats(format, tile, groups, x, 1, totals)) \
    PRODUCT(name##_rows, multiply_rows_of_floats(format, tile, groups, x, rows, totals))
IN_PLANES(in_4, PLANES_4)
PRODUCT(in_8_row, multiply_row_8(tile, groups, x, 0, 1, totals))
#ifdef SPLITS_BYTES /* anew for each row: sixteen registers do not hold what is split */
PRODUCT(in_8_rows, for (int row = 0; row < rows; row++) multiply_row_8(tile, groups, x, row, rows, totals))
#else
PRODUCT(in_8_rows, multiply_rows(PLANES_8, tile, groups, x, rows, totals))
#endif
IN_PLANES(in_5, PLANES_5)
IN_PLANES(in_6, PLANES_6)
IN_PLANES(in_3, PLANES_3)
IN_PLANES(in_2, PLANES_2)
IN_PLANES(in_iq4, PLANES_IQ4)
IN_PLANES(in_mx4, PLANES_MX4)
IN_FLOATS(in_f16, TILE_F16)
IN_FLOATS(in_bf16, TILE_BF16)
IN_FLOATS(in_f32, TILE_F32)

#define OF(name) { name##_row, name##_rows }
/* By `Format`, for one row and for several. */
static const Product products[FORMATS][2] = { OF(in_4), OF(in_8), OF(in_5), OF(in_6), OF(in_3), OF(in_2),
                                              OF(in_iq4), OF(in_mx4), OF(in_f16), OF(in_bf16), OF(in_f32) };

static int tiles_of(const Matrix *matrix) { return matrix->outputs / WIDTH; }

/* The first of the 16 outputs of half a tile. */
static int first_output(const Matrix *matrix, int tile, int half) {
    return matrix->is_paired ? tile * LANES + half * (matrix->outputs / 2) : tile * WIDTH + half * LANES;
}

/* totals[half][row] = the outputs of one tile, bias included, for up to MAX_ROWS rows of [inputs / 32] groups,
 * which are side by side. */
static void multiply_tile(const Matrix *matrix, int tile, const Group *x, int rows, F16 totals[2][MAX_ROWS]) {
    const TileRow *row_of_tiles = matrix->rows + tile;
    products[row_of_tiles->format][rows > 1](row_of_tiles->tiles, matrix->inputs / GROUP, x, rows, totals);
    if (matrix->bias)
        for (int t = 0; t < 2; t++)
            for (int row = 0; row < rows; row++)
                totals[t][row] = f_add(totals[t][row], f_load(matrix->bias + first_output(matrix, tile, t)));
}

#endif
