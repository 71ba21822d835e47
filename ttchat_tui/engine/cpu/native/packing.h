/* Bytes of a model file to tiles, on all threads. Several weights are joined one below the other; rows may be permuted and
 * multiplied by a factor. */
#ifndef PACKING_H
#define PACKING_H

#include "blocks.h"
#include "pool.h"

/* Rows of a matrix, as a file has them: [rows][inputs / weights of a block] blocks. */
typedef struct {
    const uint8_t *data;
    const int32_t *order; /* row i is the file's row order[i]; none keeps their order */
    int32_t type;         /* GGML's number */
    int32_t rows;
    float factor;
    int32_t padding;
} RawPart;

typedef struct {
    const RawPart *parts;
    int32_t count, inputs, outputs; /* outputs: a multiple of 32; rows that are missing are 0 */
    int32_t is_paired;              /* each tile has 16 outputs of the first half and the same 16 of the second one */
    int32_t rounded;                /* TILE_4 or TILE_8: round all weights to it; FORMATS: keep them */
} Recipe;

#define FEW 16 /* rows that take less time than it takes to wake a thread */

enum { PACKED = 0, NOT_SUPPORTED = 1, NOT_FINITE = 2, NO_MEMORY = 3 };

typedef struct {
    const RawPart *part; /* none: a row of zeros */
    const BlockType *type;
    const uint8_t *data;
} Row;

static Row row_of_output(const Recipe *recipe, int output) {
    for (int i = 0; i < recipe->count; i++) {
        const RawPart *part = recipe->parts + i;
        if (output < part->rows) {
            const BlockType *type = block_type(part->type);
            const int row = part->order ? part->order[output] : output;
            return (Row){ part, type, part->data + (size_t)row * (recipe->inputs / type->weights) * type->bytes };
        }
        output -= part->rows;
    }
    return (Row){ 0 };
}

static Row row_of_lane(const Recipe *recipe, int tile, int half, int lane) {
    const int first = recipe->is_paired ? tile * LANES + half * (recipe->outputs / 2) : tile * WIDTH + half * LANES;
    return row_of_output(recipe, first + lane);
}

/* bfloat16 has few bits to lose: a product with other than a power of two is kept in float16. */
static Format format_of_row(Row row) {
    uint32_t factor;
    memcpy(&factor, &row.part->factor, 4);
    return row.type->format == TILE_BF16 && factor & 0x7fffff ? TILE_F16 : row.type->format;
}

/* The format of a row of tiles: that of its rows, or floats where they differ. */
static Format format_of_tile(const Recipe *recipe, int tile) {
    if (recipe->rounded != FORMATS)
        return (Format)recipe->rounded;
    Format found = FORMATS;
    for (int lane = 0; lane < WIDTH; lane++) {
        const Row row = row_of_lane(recipe, tile, lane / LANES, lane % LANES);
        if (!row.part || format_of_row(row) == found)
            continue;
        if (found == FORMATS)
            found = format_of_row(row);
        else
            return TILE_F16;
    }
    return found == FORMATS ? TILE_8 : found;
}

/* Writes a scale or a minimum; 1 if float16 does not hold it. */
static int put_half(uint8_t *at, float value) {
    const uint16_t bits = half_of_float(value);
    memcpy(at, &bits, 2);
    return (bits & 0x7c00) == 0x7c00;
}

static void put_word(uint8_t *at, uint32_t word) { memcpy(at, &word, 4); }

INLINE void put_planes(const Planes p, uint8_t *at, const uint32_t *quads) {
    const int per_byte = 8 / p.low; /* quads */
    const uint32_t low = 0x01010101u * ((1u << p.low) - 1), high = 0x01010101u * ((1u << p.high) - 1);
    for (int i = 0; i < p.low; i++) {
        uint32_t word = 0;
        for (int k = 0; k < per_byte; k++)
            word |= (quads[i * per_byte + k] & low) << k * p.low;
        put_word(at + 64 * i, word);
    }
    for (int i = 0; i < p.high; i++) {
        uint32_t word = 0;
        for (int k = 0; k < 8 / (p.high ? p.high : 1); k++)
            word |= (quads[i * (8 / (p.high ? p.high : 1)) + k] >> p.low & high) << k * p.high;
        put_word(at + 64 * (p.low + i), word);
    }
}

/* `p` is a compile-time constant. */
INLINE int put_in_planes(const Planes p, uint8_t *tile, int half, int lane, const Codes *codes, const uint32_t *quads) {
    const int planes = 64 * (p.low + p.high);
    int fault = 0;
    put_planes(p, tile + half_in_planes(p, half) + 4 * lane, quads);
    uint8_t *at = tile + planes + 32 * half + 2 * lane;
    for (int part = 0; part < p.parts; part++) {
        fault |= put_half(at + 64 * part, codes->scale[part]);
        if (p.is_affine)
            fault |= put_half(at + 64 * (p.parts + part), codes->minimum[part]);
    }
    return fault;
}

/* Write a group of one output into its tile. Returns whether float16 does not hold a scale. */
static int put_codes(Format format, uint8_t *tile, int half, int lane, const Codes *codes) {
    uint32_t quads[QUADS];
    memcpy(quads, codes->codes, sizeof quads);
    switch (format) {
    case TILE_8:
        for (int i = 0; i < QUADS; i++)
            put_word(tile + 64 * (2 * i + half) + 4 * lane, quads[i]);
        return put_half(tile + 1024 + 32 * half + 2 * lane, codes->scale[0]);
    case TILE_4: return put_in_planes(PLANES_4, tile, half, lane, codes, quads);
    case TILE_5: return put_in_planes(PLANES_5, tile, half, lane, codes, quads);
    case TILE_6: return put_in_planes(PLANES_6, tile, half, lane, codes, quads);
    case TILE_3: return put_in_planes(PLANES_3, tile, half, lane, codes, quads);
    case TILE_2: return put_in_planes(PLANES_2, tile, half, lane, codes, quads);
    default: return put_in_planes(PLANES_IQ4, tile, half, lane, codes, quads);
    }
}

/* Round to 255 levels. The scale is rounded first, to its stored type, so that the codes compensate for it; one that is too small for
 * the largest weight (float16 has few numbers below 6e-5) would cut it off. */
static void round_to_8(const float *weights, Codes *out) {
    float largest = 0;
    for (int i = 0; i < GROUP; i++)
        largest = fabsf(weights[i]) > largest ? fabsf(weights[i]) : largest;
    const uint16_t nearest = half_of_float(largest / 127.0f);
    const int is_short = largest > 127.5f * float_of_half(nearest);
    const float scale = float_of_half((uint16_t)(nearest + is_short)), step = scale > 0 ? scale : 1.0f;
    for (int i = 0; i < GROUP; i++) {
        const float code = rintf(weights[i] / step);
        out->codes[i] = (uint8_t)((code > 127 ? 127 : code < -127 ? -127 : code) + 128);
    }
    out->scale[0] = scale;
}

static float rounded_to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return float_of((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
}

/* Round to 16 levels between the least and the largest, as `int4_blocks.quantized` does. */
static void round_to_4(const float *weights, Codes *out) {
    float low = weights[0], high = weights[0];
    for (int i = 1; i < GROUP; i++) {
        low = weights[i] < low ? weights[i] : low;
        high = weights[i] > high ? weights[i] : high;
    }
    const float scale = rounded_to_bf16((high - low) / 15.0f), zero = rounded_to_bf16(low + 8 * scale);
    const float step = scale > 0 ? scale : 1.0f;
    for (int i = 0; i < GROUP; i++) {
        const float code = rintf((weights[i] - zero) / step) + 8;
        out->codes[i] = (uint8_t)(code > 15 ? 15 : code < 0 ? 0 : code);
    }
    out->scale[0] = scale;
    out->minimum[0] = zero - 8 * scale;
}

/* An infinity or NaN, by its bits: the compiler assumes that there are none. */
static int is_finite(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return (bits & 0x7f800000) != 0x7f800000;
}

static int put_floats(Format format, uint8_t *tile, int output, const float *weights) {
    int fault = 0;
    for (int i = 0; i < GROUP; i++) {
        const size_t at = (size_t)i * WIDTH + output;
        if (format == TILE_F16)
            fault |= put_half(tile + 2 * at, weights[i]);
        else if (format == TILE_BF16) {
            const float rounded = rounded_to_bf16(weights[i]);
            memcpy(tile + 2 * at, (const uint8_t *)&rounded + 2, 2);
            fault |= !is_finite(rounded);
        } else {
            memcpy(tile + 4 * at, weights + i, 4);
            fault |= !is_finite(weights[i]);
        }
    }
    return fault;
}

/* Write 32 weights of 16 bits as they are. */
static int put_16_bits(Format format, uint8_t *tile, int output, const uint8_t *weights) {
    const uint16_t endless = format == TILE_F16 ? 0x7c00 : 0x7f80;
    int fault = 0;
    for (int i = 0; i < GROUP; i++) {
        uint16_t bits;
        memcpy(&bits, weights + 2 * i, 2);
        memcpy(tile + 2 * (i * WIDTH + output), &bits, 2);
        fault |= (bits & endless) == endless;
    }
    return fault;
}

/* Write one output into its row of tiles. */
static int put_row(const Recipe *recipe, Row row, Format format, uint8_t *tiles, int half, int lane) {
    const int bytes = tile_bytes(format), is_kept = row.type->format == format;
    const int is_same = row.type->bytes == 2 && is_kept && row.part->factor == 1.0f;
    int fault = 0;
    for (int g = 0; g < recipe->inputs / GROUP; g++, tiles += bytes) {
        Codes codes = { 0 };
        if (is_same) {
            fault |= put_16_bits(format, tiles, half * LANES + lane, row.data + 2 * GROUP * g);
            continue;
        }
        if (format < TILE_F16 && is_kept) {
            const uint8_t *block = row.data + (size_t)g * GROUP / row.type->weights * row.type->bytes;
            read_codes(row.type->type, block, g % (row.type->weights / GROUP), &codes);
            for (int part = 0; part < 2; part++) {
                codes.scale[part] *= row.part->factor;
                codes.minimum[part] *= row.part->factor;
            }
        } else {
            float weights[GROUP];
            read_floats(row.type, row.data, g, weights);
            for (int i = 0; i < GROUP; i++)
                weights[i] *= row.part->factor;
            if (format >= TILE_F16) {
                fault |= put_floats(format, tiles, half * LANES + lane, weights);
                continue;
            }
            format == TILE_8 ? round_to_8(weights, &codes) : round_to_4(weights, &codes);
        }
        fault |= put_codes(format, tiles, half, lane, &codes);
    }
    return fault;
}

typedef struct {
    const Recipe *recipe;
    const TileRow *rows;
    _Atomic int fault;
} Packing;

static void pack_piece(void *context, int tile) {
    Packing *p = context;
    const Format format = (Format)p->rows[tile].format;
    uint8_t *tiles = (uint8_t *)p->rows[tile].tiles;
    for (int lane = 0; lane < WIDTH; lane++) {
        const Row row = row_of_lane(p->recipe, tile, lane / LANES, lane % LANES);
        if (!row.part)
            continue; /* The memory is zero: so are the scales. */
        if (put_row(p->recipe, row, format, tiles, lane / LANES, lane % LANES))
            atomic_store_explicit(&p->fault, 1, memory_order_relaxed);
    }
}

/* Bytes that `pack` needs, and the format of each row of tiles; 0 if a type is not supported or does not fit. */
int64_t packed_bytes(const Recipe *recipe, TileRow *rows) {
    for (int i = 0; i < recipe->count; i++) {
        const BlockType *type = block_type(recipe->parts[i].type);
        if (!type || recipe->inputs % type->weights != 0 || recipe->inputs % GROUP != 0)
            return 0;
    }
    int64_t total = 0;
    for (int tile = 0; tile < recipe->outputs / WIDTH; tile++) {
        rows[tile].format = format_of_tile(recipe, tile);
        total += (int64_t)(recipe->inputs / GROUP) * tile_bytes((Format)rows[tile].format);
    }
    return total;
}

/* Write the tiles of a recipe into zeroed memory, with the formats that `packed_bytes` chose, or others that hold the weights
 * too. Returns PACKED, or NOT_FINITE if a scale or weight is beyond its format. */
int32_t pack(const Recipe *recipe, TileRow *rows, uint8_t *memory) {
    const int tiles = recipe->outputs / WIDTH;
    for (int tile = 0; tile < tiles; tile++) {
        rows[tile].tiles = memory;
        memory += (size_t)(recipe->inputs / GROUP) * tile_bytes((Format)rows[tile].format);
    }
    Packing packing = { .recipe = recipe, .rows = rows };
    wake();
    share_out(pack_piece, &packing, tiles);
    let_sleep();
    return atomic_load(&packing.fault) ? NOT_FINITE : PACKED;
}

typedef struct {
    const RawPart *part;
    const BlockType *type;
    const int32_t *rows;
    float *out;
    int inputs;
} Unpacking;

static void unpack_piece(void *context, int i) {
    const Unpacking *u = context;
    const size_t row_bytes = (size_t)(u->inputs / u->type->weights) * u->type->bytes;
    const int row = u->rows ? u->rows[i] : i;
    for (int g = 0; g < u->inputs / GROUP; g++)
        read_floats(u->type, u->part->data + (u->part->order ? u->part->order[row] : row) * row_bytes, g,
                    u->out + (size_t)i * u->inputs + g * GROUP);
}

/* out [count][inputs] = these rows of a weight as float32, without its factor. `rows`: none takes them in order. Returns PACKED or NOT_SUPPORTED. */
int32_t unpack(const RawPart *part, int32_t inputs, const int32_t *rows, int32_t count, float *out) {
    const BlockType *type = block_type(part->type);
    if (!type || inputs % type->weights != 0 || inputs % GROUP != 0)
        return NOT_SUPPORTED;
    Unpacking unpacking = { part, type, rows, out, inputs };
    const int is_shared = count > FEW;
    if (is_shared)
        wake();
    share_out(unpack_piece, &unpacking, count);
    if (is_shared)
        let_sleep();
    return PACKED;
}

/* The same, each number rounded to float16. Returns NOT_FINITE too, if that does not hold one. */
int32_t unpack_halves(const RawPart *part, int32_t inputs, const int32_t *rows, int32_t count, float *out) {
    const int32_t answer = unpack(part, inputs, rows, count, out);
    int is_beyond = 0;
    for (size_t i = 0; answer == PACKED && i < (size_t)count * inputs; i += LANES) {
        uint16_t halves[LANES];
        f_store_half(halves, f_load(out + i));
        for (int lane = 0; lane < LANES; lane++)
            is_beyond |= (halves[lane] & 0x7c00) == 0x7c00;
        f_store(out + i, f_load_half(halves));
    }
    return is_beyond ? NOT_FINITE : answer;
}

#endif
