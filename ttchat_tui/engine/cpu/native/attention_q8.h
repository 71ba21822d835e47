/* Attention over a KV cache of 8-bit codes. Sums of products are exact integers within a block of positions, so that a row gives
 * the same bits alone and among others.
 *
 * The keys of a head, and its values, are in tiles of 32 positions: 32 * head_size codes, stored as code + 128, then 32
 * scales, float16. Keys: [2][head_size / 4][16 positions][4 elements]. Values: [8][head_size][4 positions]. Queries and
 * weights have 16 bits.
 *
 * Queries and keys go through a Hadamard transform, which keeps their products and spreads out elements that are much larger
 * than the others (Ashkboos et al. 2024, arXiv:2404.00456). */
#ifndef ATTENTION_Q8_H
#define ATTENTION_Q8_H

#include "attention.h"

#define KV_TILE 32 /* positions */
#ifdef __AVX512F__
/* What stays in registers: halves of a tile of keys, and vectors of values. */
#define HALVES_AT_ONCE(queries) ((queries) > 3 ? 1 : 2)
#define VALUES_AT_ONCE(queries) ((queries) > 3 ? 2 : 4)
#else
#define HALVES_AT_ONCE(queries) 1
#define VALUES_AT_ONCE(queries) 1
#endif

INLINE size_t kv_tile_bytes(int head_size) { return (size_t)KV_TILE * (head_size + 2); }

static void store_q8(uint8_t *tile, int place, int is_value, const float *x, int size) {
    uint8_t codes[MAX_HEAD];
    encode_place(x, size, codes, tile + KV_TILE * size + 2 * place);
    if (is_value)
        for (int i = 0; i < size; i++)
            tile[place / 4 * 4 * size + 4 * i + place % 4] = codes[i];
    else
        for (int i = 0; i < size; i += 4)
            memcpy(tile + place / LANES * LANES * size + LANES * i + 4 * (place % LANES), codes + i, 4);
}

/* Some queries of one block. Their number is a compile-time constant in the functions that have it as an argument, so that sums
 * stay in registers. */
typedef struct {
    const Query *query;
    const uint8_t *next_keys;             /* that this thread is likely to read after this block, or none */
    int head_size, base;                  /* the block's first position */
    float scores[MOST_QUERIES][BLOCK];
    Codes16 weights[MOST_QUERIES];          /* exp(score - largest) * scale of the value */
    int32_t sums[MOST_QUERIES][MAX_HEAD]; /* of values in codes, weighted by them */
} AttendingQ8;

/* The scores of `halves` * 16 positions. */
INLINE void score_halves(const Codes16 *const *q, const int queries, const int halves, const uint8_t *keys, int quads,
                         const uint8_t *scales, ptrdiff_t ahead, float *const *scores) {
    Wide sums[MOST_QUERIES][2];
    for (int h = 0; h < queries; h++)
        for (int half = 0; half < halves; half++)
            sums[h][half] = w_zero();
    for (int i = 0; i < quads; i++) {
        I16 codes[2];
        for (int half = 0; half < halves; half++) {
            prefetch(keys + 4 * LANES * (quads * half + i) + ahead);
            codes[half] = i_load(keys + 4 * LANES * (quads * half + i));
        }
        for (int h = 0; h < queries; h++)
            for (int half = 0; half < halves; half++)
                sums[h][half] = w_dot(sums[h][half], codes[half], q[h]->first[i], q[h]->second[i]);
    }
    for (int half = 0; half < halves; half++) {
        const F16 scale = f_load_half(scales + 2 * LANES * half);
        for (int h = 0; h < queries; h++) {
            const I16 sum = i_sub(w_joined(sums[h][half]), i_set(CODE_OFFSET * q[h]->total));
            f_store(scores[h] + half * LANES, f_mul(f_from_int(sum), f_mul(scale, f_set(q[h]->scale))));
        }
    }
}

/* The scores of `count` tiles, the first of which is at position `begin` of the block, for the queries from `first` on. */
INLINE void score_tiles(AttendingQ8 *t, int first, const int queries, const uint8_t *tile, ptrdiff_t ahead, int begin, int count) {
    const int quads = t->head_size / 4, halves = HALVES_AT_ONCE(queries);
    const Codes16 *q[MOST_QUERIES];
    float *scores[MOST_QUERIES];
    for (int h = 0; h < queries; h++)
        q[h] = t->query[first + h].codes;
    for (int done = 0; done < count; done++, tile += kv_tile_bytes(t->head_size)) {
        prefetch(tile + KV_TILE * t->head_size + ahead);
        for (int half = 0; half < 2; half += halves) {
            for (int h = 0; h < queries; h++)
                scores[h] = t->scores[first + h] + begin + done * KV_TILE + half * LANES;
            score_halves(q, queries, halves, tile + 4 * LANES * quads * half, quads,
                         tile + KV_TILE * t->head_size + 2 * LANES * half, ahead, scores);
        }
    }
}

/* Add the weighted values of `count` tiles to `some` vectors of the sums, from element `from` on. */
INLINE void add_some(AttendingQ8 *t, int first, const int queries, const int some, int from, const uint8_t *tile, ptrdiff_t ahead,
                     int begin, int count) {
    Wide sums[MOST_QUERIES][4];
    const int32_t *one[MOST_QUERIES], *two[MOST_QUERIES];
    for (int h = 0; h < queries; h++) {
        one[h] = t->weights[first + h].first + begin / 4;
        two[h] = t->weights[first + h].second + begin / 4;
        for (int v = 0; v < some; v++)
            sums[h][v] = w_zero();
    }
    tile += 4 * from;
    for (int quad = 0; quad < count * (KV_TILE / 4); quad++) {
        I16 values[4];
        for (int v = 0; v < some; v++) {
            prefetch(tile + 4 * LANES * v + ahead);
            values[v] = i_load(tile + 4 * LANES * v);
        }
        for (int h = 0; h < queries; h++)
            for (int v = 0; v < some; v++)
                sums[h][v] = w_dot(sums[h][v], values[v], one[h][quad], two[h][quad]);
        tile += 4 * t->head_size + (quad % (KV_TILE / 4) == KV_TILE / 4 - 1 ? 2 * KV_TILE : 0);
    }
    for (int h = 0; h < queries; h++)
        for (int v = 0; v < some; v++) {
            int32_t *to = t->sums[first + h] + from + v * LANES;
            i_store(to, i_add(i_load(to), w_joined(sums[h][v])));
        }
}

INLINE void add_tiles(AttendingQ8 *t, int first, const int queries, const uint8_t *tile, ptrdiff_t ahead, int begin, int count) {
    const int some = VALUES_AT_ONCE(queries);
    int from = 0;
    for (; from + some * LANES <= t->head_size; from += some * LANES)
        add_some(t, first, queries, some, from, tile, ahead, begin, count);
    for (; from < t->head_size; from += LANES)
        add_some(t, first, queries, 1, from, tile, ahead, begin, count);
}

/* Where the values, or keys, of the tile with a position are. */
static const uint8_t *tile_at(const Places *p, int position, int head_size, int is_values) {
    const int is_own = position >= p->shared;
    const uint8_t *head = is_own ? (is_values ? p->own_values : p->own_keys) : is_values ? p->values : p->keys;
    return head + (is_own ? position - p->shared : position) / KV_TILE * kv_tile_bytes(head_size);
}

/* Scores, or sums of values, of `count` queries that have the tiles from begin to end, positions of the block, in the same
 * place. */
static void attend_tiles(AttendingQ8 *t, int first, int count, int begin, int end, int is_values) {
    if (begin >= end)
        return;
    const uint8_t *tile = tile_at(&t->query[first].places, t->base + begin, t->head_size, is_values);
    const int tiles = (end - begin) / KV_TILE;
    /* Read ahead what comes next: the values of the same positions; after them the keys of the next block. */
    const uint8_t *next = is_values ? t->next_keys + begin / KV_TILE * kv_tile_bytes(t->head_size)
                                    : tile_at(&t->query[first].places, t->base + begin, t->head_size, 1);
    const ptrdiff_t ahead = next - tile;
    switch (count * 2 + is_values) {
#define CASE(n) case n * 2: score_tiles(t, first, n, tile, ahead, begin, tiles); break; \
                case n * 2 + 1: add_tiles(t, first, n, tile, ahead, begin, tiles); break;
        CASE(1) CASE(2) CASE(3) CASE(4)
#if MOST_QUERIES > 4
        CASE(5) CASE(6)
#endif
#undef CASE
    }
}

/* The weights of positions begin .. end - 1 of the block: those that the query does not see get 0. */
static void weigh_tiles(AttendingQ8 *t, int number, int begin, int end, float cap) {
    const Query *query = t->query + number;
    const int from = query->from - t->base, to = query->to - t->base;
    float *scores = t->scores[number];
    weigh(scores + from, to - from, cap, query->partial);
    for (int at = begin; at < end; at += LANES) {
        const uint8_t *tile = tile_at(&query->places, t->base + at, t->head_size, 1);
        const F16 scale = f_load_half(tile + KV_TILE * t->head_size + 2 * (at % KV_TILE));
        f_store(scores + at, f_mul(f_load(scores + at), scale));
    }
    for (int i = begin; i < from; i++)
        scores[i] = 0;
    for (int i = to; i < end; i++)
        scores[i] = 0;
    encode(scores + begin, end - begin, t->weights + number, begin);
}

/* Attend with up to MOST_QUERIES queries of one key-value head, a row's ones side by side. The shared positions are read once
 * for all of them, the others once for each row. `shared` is a whole number of tiles. */
static void attend_q8(const Query *query, int count, int head_size, float cap, const void *next_keys) {
    AttendingQ8 t; /* not set to 0, for that takes as long as the products of 20 positions */
    t.query = query, t.next_keys = next_keys, t.head_size = head_size, t.base = query->from / BLOCK * BLOCK;
    int begin = BLOCK, end = 0;
    for (int h = 0; h < count; h++) {
        begin = at_most(begin, (query[h].from - t.base) / KV_TILE * KV_TILE);
        const int until = (query[h].to - t.base + KV_TILE - 1) / KV_TILE * KV_TILE;
        end = until > end ? until : end;
        memset(t.sums[h], 0, head_size * sizeof(int32_t));
    }
    const int shared = query->places.shared, split = shared <= t.base ? begin : at_most(end, shared - t.base);
    const int own = split > begin ? split : begin;
    for (int is_values = 0; is_values < 2; is_values++) {
        attend_tiles(&t, 0, count, begin, split, is_values);
        for (int first = 0, next; first < count && own < end; first = next) {
            for (next = first + 1; next < count && query[next].row == query[first].row;)
                next++;
            attend_tiles(&t, first, next - first, own, end, is_values);
        }
        for (int h = 0; h < count && !is_values; h++)
            weigh_tiles(&t, h, begin, end, cap);
    }
    for (int h = 0; h < count; h++) {
        const F16 scale = f_set(t.weights[h].scale);
        for (int i = 0; i < head_size; i += LANES) {
            const I16 sum = i_sub(i_load(t.sums[h] + i), i_set(CODE_OFFSET * t.weights[h].total));
            f_store(query[h].partial->sum + i, f_mul(f_from_int(sum), scale));
        }
    }
}

#endif
