/* Products of the kernel for a processor that tests run in emulation. For each request on stdin, GGML's type, outputs, inputs,
 * rows and bytes as int32, the weight's bytes and float32 activations, it writes float32 products to stdout. */
#include "decode.c"
#include <stdio.h>

int main(void) {
    int32_t head[5];
    while (fread(head, sizeof *head, 5, stdin) == 5) {
        const int outputs = head[1], inputs = head[2], count = head[3];
        uint8_t *data = malloc(head[4]);
        float *x = malloc(sizeof(float) * count * inputs), *out = malloc(sizeof(float) * count * outputs);
        if (fread(data, 1, head[4], stdin) != (size_t)head[4] || fread(x, sizeof(float) * inputs, count, stdin) != (size_t)count)
            return 1;
        RawPart part = { .data = data, .type = head[0], .rows = outputs, .factor = 1 };
        Recipe recipe = { &part, 1, inputs, outputs, 0, FORMATS };
        TileRow *rows = calloc(outputs / WIDTH, sizeof *rows);
        const size_t size = packed_bytes(&recipe, rows);
        uint8_t *tiles = aligned_alloc(64, (size + 63) / 64 * 64);
        memset(tiles, 0, size);
        if (pack(&recipe, rows, tiles) != PACKED)
            return 2;
        Matrix matrix = { .outputs = outputs, .inputs = inputs, .rows = rows };
        if (multiply(&matrix, x, count, out))
            return 3;
        fwrite(out, sizeof(float) * outputs, count, stdout);
    }
    return 0;
}
