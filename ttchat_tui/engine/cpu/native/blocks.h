/* Weights of a model file, 32 at a time: a group of a row as codes with scales and minima, or as float32.
 * Layouts: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h; values as in dequantize_row_* of ggml-quants.c. */
#ifndef BLOCKS_H
#define BLOCKS_H

#include <math.h>
#include <string.h>
#include "lanes.h"
#include "tiles.h"

/* GGML's numbers. */
enum { F32 = 0, F16_ = 1, Q4_0 = 2, Q4_1 = 3, Q5_0 = 6, Q5_1 = 7, Q8_0 = 8, Q2_K = 10, Q3_K = 11, Q4_K = 12, Q5_K = 13, Q6_K = 14,
       IQ4_NL = 20, IQ4_XS = 23, BF16 = 30, MXFP4 = 39 };

typedef struct {
    int type, weights, bytes; /* of a block */
    Format format;
} BlockType;

static const BlockType BLOCK_TYPES[] = {
    { F32, 1, 4, TILE_F16 },       { F16_, 1, 2, TILE_F16 },       { BF16, 1, 2, TILE_BF16 },
    { Q4_0, 32, 18, TILE_4 },      { Q4_1, 32, 20, TILE_4 },       { Q5_0, 32, 22, TILE_5 },
    { Q5_1, 32, 24, TILE_5 },      { Q8_0, 32, 34, TILE_8 },       { Q2_K, 256, 84, TILE_2 },
    { Q3_K, 256, 110, TILE_3 },    { Q4_K, 256, 144, TILE_4 },     { Q5_K, 256, 176, TILE_5 },
    { Q6_K, 256, 210, TILE_6 },    { IQ4_NL, 32, 18, TILE_IQ4 },   { IQ4_XS, 256, 136, TILE_IQ4 },
    { MXFP4, 32, 17, TILE_MX4 },
};

/* Null for types that are not supported. */
static const BlockType *block_type(int type) {
    for (unsigned i = 0; i < sizeof BLOCK_TYPES / sizeof *BLOCK_TYPES; i++)
        if (BLOCK_TYPES[i].type == type)
            return BLOCK_TYPES + i;
    return 0;
}

/* A group of 32 weights in the terms of its tile format. Of two parts, each has 16. */
typedef struct {
    uint8_t codes[GROUP];
    float scale[2], minimum[2];
} Codes;

static inline float half_at(const uint8_t *at) {
    uint16_t bits;
    memcpy(&bits, at, 2);
    return float_of_half(bits);
}

static inline float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline void nibbles_of(const uint8_t *packed, uint8_t *codes) {
    for (int i = 0; i < 16; i++) {
        codes[i] = packed[i] & 15;
        codes[i + 16] = packed[i] >> 4;
    }
}

/* The fifth bits of Q5_0 and Q5_1: one for each weight, in order. */
static inline void add_fifth_bits(const uint8_t *at, uint8_t *codes) {
    for (int i = 0; i < GROUP; i++)
        codes[i] |= (at[i / 8] >> (i % 8) & 1) << 4;
}

/* The 6-bit scale and minimum of group g of a Q4_K or Q5_K block. */
static inline void six_bit_pair(const uint8_t *at, int g, int *scale, int *minimum) {
    if (g < 4) {
        *scale = at[g] & 63;
        *minimum = at[g + 4] & 63;
    } else {
        *scale = (at[g + 4] & 15) | at[g - 4] >> 6 << 4;
        *minimum = at[g + 4] >> 4 | at[g] >> 6 << 4;
    }
}

static inline void affine_k(const uint8_t *block, int g, Codes *out) {
    int scale, minimum;
    six_bit_pair(block + 4, g, &scale, &minimum);
    out->scale[0] = half_at(block) * (float)scale;
    out->minimum[0] = -half_at(block + 2) * (float)minimum;
}

static inline void half_of_64(const uint8_t *packed, int is_high, uint8_t *codes) {
    const int shift = is_high ? 4 : 0;
    for (int i = 0; i < GROUP; i++)
        codes[i] = packed[i] >> shift & 15;
}

static inline void read_q2_k(const uint8_t *block, int g, Codes *out) {
    const uint8_t *quarters = block + 16 + g / 4 * 32;
    const int shift = g % 4 * 2;
    for (int i = 0; i < GROUP; i++)
        out->codes[i] = quarters[i] >> shift & 3;
    for (int p = 0; p < 2; p++) {
        const uint8_t pair = block[2 * g + p];
        out->scale[p] = half_at(block + 80) * (float)(pair & 15);
        out->minimum[p] = -half_at(block + 82) * (float)(pair >> 4);
    }
}

static inline void read_q3_k(const uint8_t *block, int g, Codes *out) {
    const uint8_t *quarters = block + 32 + g / 4 * 32, *scales = block + 96;
    const int shift = g % 4 * 2;
    for (int i = 0; i < GROUP; i++)
        out->codes[i] = (quarters[i] >> shift & 3) | (block[i] >> g & 1) << 2;
    for (int p = 0; p < 2; p++) {
        const int n = 2 * g + p;
        const int low = n < 8 ? scales[n] & 15 : scales[n - 8] >> 4, high = scales[8 + n % 4] >> n / 4 * 2 & 3;
        out->scale[p] = half_at(block + 108) * (float)((low | high << 4) - 32);
    }
}

static inline void read_q6_k(const uint8_t *block, int g, Codes *out) {
    const int half = g / 4, quarter = g % 4, low_shift = quarter / 2 * 4, high_shift = quarter * 2;
    const uint8_t *low = block + 64 * half + quarter % 2 * 32, *high = block + 128 + 32 * half;
    for (int i = 0; i < GROUP; i++)
        out->codes[i] = (low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4;
    for (int p = 0; p < 2; p++)
        out->scale[p] = half_at(block + 208) * (float)(int8_t)block[192 + 2 * g + p];
}

static inline void read_iq4_xs(const uint8_t *block, int g, Codes *out) {
    const int low = block[4 + g / 2] >> g % 2 * 4 & 15, high = (block[2] | block[3] << 8) >> 2 * g & 3;
    nibbles_of(block + 8 + 16 * g, out->codes);
    out->scale[0] = half_at(block) * (float)((low | high << 4) - 32);
}

/* 2^(exponent - 128): half of what the byte says, because the table's values are doubled. */
static inline float e8m0_half(uint8_t exponent) {
    return float_of(exponent < 2 ? 0x00200000u << exponent : (uint32_t)(exponent - 1) << 23);
}

/* Group g of a block of a quantised type. */
static inline void read_codes(int type, const uint8_t *block, int g, Codes *out) {
    switch (type) {
    case Q4_0:
        nibbles_of(block + 2, out->codes);
        out->scale[0] = half_at(block);
        out->minimum[0] = -8.0f * out->scale[0];
        break;
    case Q4_1:
        nibbles_of(block + 4, out->codes);
        out->scale[0] = half_at(block);
        out->minimum[0] = half_at(block + 2);
        break;
    case Q5_0:
        nibbles_of(block + 6, out->codes);
        add_fifth_bits(block + 2, out->codes);
        out->scale[0] = half_at(block);
        out->minimum[0] = -16.0f * out->scale[0];
        break;
    case Q5_1:
        nibbles_of(block + 8, out->codes);
        add_fifth_bits(block + 4, out->codes);
        out->scale[0] = half_at(block);
        out->minimum[0] = half_at(block + 2);
        break;
    case Q8_0:
        for (int i = 0; i < GROUP; i++)
            out->codes[i] = block[2 + i] ^ 128;
        out->scale[0] = half_at(block);
        break;
    case Q2_K: read_q2_k(block, g, out); break;
    case Q3_K: read_q3_k(block, g, out); break;
    case Q4_K:
        affine_k(block, g, out);
        half_of_64(block + 16 + g / 2 * 32, g % 2, out->codes);
        break;
    case Q5_K:
        affine_k(block, g, out);
        half_of_64(block + 48 + g / 2 * 32, g % 2, out->codes);
        for (int i = 0; i < GROUP; i++)
            out->codes[i] |= (block[16 + i] >> g & 1) << 4;
        break;
    case Q6_K: read_q6_k(block, g, out); break;
    case IQ4_NL:
        nibbles_of(block + 2, out->codes);
        out->scale[0] = half_at(block);
        break;
    case IQ4_XS: read_iq4_xs(block, g, out); break;
    case MXFP4:
        nibbles_of(block + 1, out->codes);
        out->scale[0] = e8m0_half(block[0]);
        break;
    }
}

/* Group g of a row as float32. */
static inline void read_floats(const BlockType *type, const uint8_t *row, int g, float *out) {
    const uint8_t *at = row + (size_t)g * GROUP / type->weights * type->bytes;
    if (type->type == F32) {
        memcpy(out, at, GROUP * sizeof(float));
        return;
    }
    if (type->type == F16_) {
        for (int i = 0; i < GROUP; i++)
            out[i] = half_at(at + 2 * i);
        return;
    }
    if (type->type == BF16) {
        for (int i = 0; i < GROUP; i++)
            out[i] = float_of((uint32_t)(at[2 * i] | at[2 * i + 1] << 8) << 16);
        return;
    }
    Codes codes = { 0 };
    read_codes(type->type, at, g % (type->weights / GROUP), &codes);
    const Planes planes = type->format == TILE_8 ? PLANES_8 : planes_of(type->format);
    for (int i = 0; i < GROUP; i++) {
        const int part = planes.parts == 2 && i >= GROUP / 2;
        const int code = planes.table ? planes.table[codes.codes[i]] : codes.codes[i];
        const float weight = codes.scale[part] * (float)(code - planes.centre);
        out[i] = planes.is_affine ? weight + codes.minimum[part] : weight;
    }
}

#endif
