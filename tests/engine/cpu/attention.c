/* Attention over 8-bit keys and values for a processor that tests run in emulation. Reads the numbers of queries, elements of a
 * head and positions from stdin as int32, and float32 queries, keys and values; writes the output of each query to stdout. */
#include "decode.c"
#include <stdio.h>

static float *numbers(size_t count) {
    float *read = malloc(count * sizeof(float));
    if (fread(read, sizeof(float), count, stdin) != count)
        exit(1);
    return read;
}

int main(void) {
    int32_t head[3];
    if (fread(head, sizeof *head, 3, stdin) != 3)
        return 1;
    const int heads = head[0], size = head[1], positions = head[2], blocks = (positions + BLOCK - 1) / BLOCK;
    float *q = numbers((size_t)heads * size), *keys = numbers((size_t)positions * size), *values = numbers((size_t)positions * size);
    const size_t bytes = (size_t)blocks * BLOCK / KV_TILE * kv_tile_bytes(size);
    uint8_t *cache = malloc(2 * bytes); /* not set: what lies beyond the last position has no influence */
    for (int i = 0; i < positions; i++) {
        mix(keys + (size_t)i * size, size);
        store_q8(cache + i / KV_TILE * kv_tile_bytes(size), i % KV_TILE, 0, keys + (size_t)i * size, size);
        store_q8(cache + bytes + i / KV_TILE * kv_tile_bytes(size), i % KV_TILE, 1, values + (size_t)i * size, size);
    }
    Partial *partials = malloc((size_t)heads * blocks * partial_bytes(size));
    Codes16 codes[MOST_QUERIES];
    Query queries[MOST_QUERIES];
    for (int h = 0; h < heads; h++) {
        const float factor = mix(q + h * size, size);
        encode(q + h * size, size, codes + h, 0);
        codes[h].scale *= factor;
    }
    for (int block = 0; block < blocks; block++) {
        for (int h = 0; h < heads; h++)
            queries[h] = (Query){ .codes = codes + h, .places = { cache, cache + bytes, 0, 0, INT_MAX }, .from = block * BLOCK,
                                  .to = at_most(positions, (block + 1) * BLOCK), .partial = partial_at(partials, h * blocks + block, size) };
        attend_q8(queries, heads, size, 0, cache);
    }
    for (int h = 0; h < heads; h++) {
        float out[MAX_HEAD];
        merge(partial_at(partials, h * blocks, size), blocks, size, out);
        fwrite(out, sizeof(float), size, stdout);
    }
    return 0;
}
