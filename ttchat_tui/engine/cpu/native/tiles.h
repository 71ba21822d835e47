/* Layout of packed weights: tiles of 32 outputs by 32 inputs, in two halves of 16 outputs, one lane each. The four bytes of a
 * lane are four inputs of one output, a quad, so that one instruction multiplies and adds 64 weights. Any other order than
 * that of use halves the rate at which memory is read. */
#ifndef TILES_H
#define TILES_H

#include <stdint.h>

#define GROUP 32 /* inputs of a tile */
#define WIDTH 32 /* outputs of a tile */
#define QUADS 8  /* of a group */

/* w = scale * (code - centre), or scale * code + minimum. Scales and minima are float16, for each 32 or 16 inputs. */
typedef enum {
    TILE_4 = 0,    /* like all up to TILE_MX4 but TILE_8, in bit planes: see `Planes` */
    TILE_8 = 1,    /* 16 runs of 64 bytes of codes, from the two halves alternately, then 32 scales */
    TILE_5 = 2,
    TILE_6 = 3,
    TILE_3 = 4,
    TILE_2 = 5,
    TILE_IQ4 = 6,  /* codes are indices into a table of 16 */
    TILE_MX4 = 7,
    TILE_F16 = 8,  /* for each input, its 32 outputs */
    TILE_BF16 = 9,
    TILE_F32 = 10,
    FORMATS = 11
} Format;

#define BYTES_8 1088

/* A format in bit planes: each half has `low` + `high` vectors of 64 bytes, one for each bit of a code. The lower 2 or 4 bits of
 * the codes are in the first ones, two or four quads to a byte; the higher 0, 1 or 2 bits in the others. Between the
 * halves, for each part of a group (16 or 32 inputs), there are 32 scales; then the same of minima, if it is affine. */
typedef struct {
    int low, high, parts, is_affine, centre;
    const uint8_t *table; /* the weights of codes, plus `centre` */
} Planes;

/* kvalues_iq4nl and kvalues_mxfp4 of ggml-common.h, plus 128 and 12. */
static const uint8_t IQ4_TABLE[16] = { 1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241 };
static const uint8_t MX4_TABLE[16] = { 12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0 };

#define PLANES_4 ((Planes){ 4, 0, 1, 1, 0, 0 })
#define PLANES_8 ((Planes){ 8, 0, 1, 0, 128, 0 }) /* for products: TILE_8 has another layout */
#define PLANES_5 ((Planes){ 4, 1, 1, 1, 0, 0 })
#define PLANES_6 ((Planes){ 4, 2, 2, 0, 32, 0 })
#define PLANES_3 ((Planes){ 2, 1, 2, 0, 4, 0 })
#define PLANES_2 ((Planes){ 2, 0, 2, 1, 0, 0 })
#define PLANES_IQ4 ((Planes){ 4, 0, 1, 0, 128, IQ4_TABLE })
#define PLANES_MX4 ((Planes){ 4, 0, 1, 0, 12, MX4_TABLE })

static inline int plane_tile_bytes(Planes p) { return 128 * (p.low + p.high) + 64 * p.parts * (1 + p.is_affine); }

/* Where a half begins. */
static inline int half_in_planes(Planes p, int half) {
    return half * (64 * (p.low + p.high) + 64 * p.parts * (1 + p.is_affine));
}

static inline Planes planes_of(Format format) {
    switch (format) {
    case TILE_4: return PLANES_4;
    case TILE_5: return PLANES_5;
    case TILE_6: return PLANES_6;
    case TILE_3: return PLANES_3;
    case TILE_2: return PLANES_2;
    case TILE_IQ4: return PLANES_IQ4;
    default: return PLANES_MX4;
    }
}

static inline int tile_bytes(Format format) {
    switch (format) {
    case TILE_8: return BYTES_8;
    case TILE_F16: case TILE_BF16: return 2 * WIDTH * GROUP;
    case TILE_F32: return 4 * WIDTH * GROUP;
    default: return plane_tile_bytes(planes_of(format));
    }
}

/* 32 outputs of a matrix: [inputs / 32] tiles of one format. */
typedef struct {
    const uint8_t *tiles;
    int32_t format, padding;
} TileRow;

#endif
