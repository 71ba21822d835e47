/* All layers of a Llama-like model in one call: one row for a decode step, a few for drafts and candidates, many for a
 * prompt. The computation is that of forward/model.py; weights/weights.py lists what is folded into which weight. A row gives
 * the same bits alone and among others. */
#include <stdlib.h>
#include <string.h>

#include "attention.h"
#include "matrix.h"
#include "packing.h"
#include "pool.h"

typedef struct {
    const float *attn_norm, *ffn_norm; /* [hidden] */
    const float *qk_norm;              /* [heads + kv_heads][head_size], or none */
    Matrix qkv, o, gate_up, down;
    int32_t window; /* positions a row sees; 0 is all */
} Layer;

typedef struct {
    int32_t hidden, ffn, heads, kv_heads, head_size, layers;
    float eps;
    const Layer *layer;
} LayerStack;

/* The position of a row, and where its keys and values are. */
typedef struct {
    int32_t position;
    int32_t shared; /* earlier positions are in the shared cache, later ones in the row's own slot */
    int32_t slot;   /* in the rows' own cache */
} RowPlace;

/* Float16, for each layer, keys first. Shared: [2 * kv_heads][capacity][head_size]. Own:
 * [2][slots][kv_heads][capacity][head_size]. */
typedef struct {
    uint16_t *const *shared;
    uint16_t *const *own;
    int32_t shared_capacity, own_capacity, own_slots;
} Caches;

typedef struct {
    const LayerStack *model;
    const Layer *layer;
    const Caches *caches;
    const RowPlace *places;
    const float *rotations, *norm;
    int rows, index, rotation_stride;
    int first, count, blocks; /* of attention: the current rows, and the blocks of positions they see */
    float *x;                 /* [rows][hidden] */
    float *qkv;               /* [rows][(heads + 2 * kv_heads) * head_size] */
    Group *input;             /* [rows][hidden or heads * head_size] */
    Group *gated;             /* [rows][ffn] */
    Partial *partials;        /* [count][heads][blocks] */
} Step;

/* Four pieces per thread: few enough to read weights in long runs, enough to keep the wait for the last one short. */
static int size_of_piece(int units) {
    const int size = units / (4 * pool.threads);
    return size < 1 ? 1 : size;
}

static int pieces_of(int units) {
    const int size = size_of_piece(units);
    return (units + size - 1) / size;
}

static int end_of(int piece, int units) {
    const int end = (piece + 1) * size_of_piece(units);
    return end < units ? end : units;
}

/* x / root mean square * weight, as 16-bit codes (RMSNorm). */
static void norm(const float *x, const float *weight, float eps, int size, Group *out) {
    float squares[LANES] = { 0 };
    for (int i = 0; i < size; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            squares[lane] += x[i + lane] * x[i + lane];
    float total = 0;
    for (int lane = 0; lane < LANES; lane++)
        total += squares[lane];
    float scale = 1.0f / sqrtf(total / (float)size + eps);
    float normed[GROUP];
    for (int g = 0; g < size / GROUP; g++) {
        for (int i = 0; i < GROUP; i++)
            normed[i] = x[g * GROUP + i] * scale * weight[g * GROUP + i];
        quantize_group(normed, out + g);
    }
}

/* Normed rows of x as 16-bit codes. */
static void norm_row(void *context, int row) {
    const Step *s = context;
    const int hidden = s->model->hidden;
    norm(s->x + (size_t)row * hidden, s->norm, s->model->eps, hidden, s->input + (size_t)row * (hidden / GROUP));
}

/* One row is too little work to share among threads, unless there are many. */
static void each_row(Work work, Step *s) {
    if (s->rows > MAX_ROWS)
        share_out(work, s, s->rows);
    else
        for (int row = 0; row < s->rows; row++)
            work(s, row);
}

static int at_most(int most, int count) { return count < most ? count : most; }

static void qkv_piece(void *context, int piece) {
    const Step *s = context;
    const Matrix *m = &s->layer->qkv;
    F16 totals[2][MAX_ROWS];
    for (int tile = piece * size_of_piece(tiles_of(m)); tile < end_of(piece, tiles_of(m)); tile++)
        for (int first = 0; first < s->rows; first += MAX_ROWS) {
            const int rows = at_most(MAX_ROWS, s->rows - first);
            multiply_tile(m, tile, s->input + (size_t)first * (m->inputs / GROUP), rows, totals);
            for (int t = 0; t < 2; t++)
                for (int row = 0; row < rows; row++)
                    f_store(s->qkv + (size_t)(first + row) * m->outputs + tile * WIDTH + t * LANES, totals[t][row]);
        }
}

/* x += matrix * groups. */
static void add_product(const Step *s, const Matrix *m, const Group *groups, int piece) {
    F16 totals[2][MAX_ROWS];
    for (int tile = piece * size_of_piece(tiles_of(m)); tile < end_of(piece, tiles_of(m)); tile++)
        for (int first = 0; first < s->rows; first += MAX_ROWS) {
            const int rows = at_most(MAX_ROWS, s->rows - first);
            multiply_tile(m, tile, groups + (size_t)first * (m->inputs / GROUP), rows, totals);
            for (int t = 0; t < 2; t++)
                for (int row = 0; row < rows; row++) {
                    float *to = s->x + (size_t)(first + row) * m->outputs + tile * WIDTH + t * LANES;
                    f_store(to, f_add(f_load(to), totals[t][row]));
                }
        }
}

static void o_piece(void *context, int piece) {
    const Step *s = context;
    add_product(s, &s->layer->o, s->input, piece);
}

static void down_piece(void *context, int piece) {
    const Step *s = context;
    add_product(s, &s->layer->down, s->gated, piece);
}

/* silu(gate) * up. */
static void gate(float *gates, const float *ups) {
    for (int i = 0; i < GROUP; i++) {
        float small = exp_negative(-fabsf(gates[i]));
        gates[i] *= ups[i] * (gates[i] < 0 ? small : 1.0f) / (1.0f + small);
    }
}

/* Compute one group of 32 outputs, from two tiles, and quantise it. */
static void gate_up_group(const Step *s, int group) {
    const Matrix *m = &s->layer->gate_up;
    F16 totals[2][2][MAX_ROWS];
    for (int first = 0; first < s->rows; first += MAX_ROWS) {
        const int rows = at_most(MAX_ROWS, s->rows - first);
        for (int i = 0; i < 2; i++)
            multiply_tile(m, group * 2 + i, s->input + (size_t)first * (m->inputs / GROUP), rows, totals[i]);
        for (int row = 0; row < rows; row++) {
            float gates[GROUP], ups[GROUP];
            for (int i = 0; i < 2; i++) {
                f_store(gates + i * LANES, totals[i][0][row]);
                f_store(ups + i * LANES, totals[i][1][row]);
            }
            gate(gates, ups);
            quantize_group(gates, s->gated + (size_t)(first + row) * (s->model->ffn / GROUP) + group);
        }
    }
}

static void gate_up_piece(void *context, int piece) {
    const Step *s = context;
    const int groups = s->model->ffn / GROUP;
    for (int group = piece * size_of_piece(groups); group < end_of(piece, groups); group++)
        gate_up_group(s, group);
}

/* The first position a row sees. */
static int first_seen(const Step *s, int row) {
    const int position = s->places[row].position, window = s->layer->window;
    return window && position >= window ? position - window + 1 : 0;
}

/* One key-value head of one row, one block of positions. */
static void attention_piece(void *context, int piece) {
    const Step *s = context;
    const LayerStack *m = s->model;
    const int group = m->heads / m->kv_heads, block = piece % s->blocks;
    const int head = piece / s->blocks % m->kv_heads, under_way = piece / s->blocks / m->kv_heads;
    const int row = s->first + under_way, first = first_seen(s, row);
    const RowPlace *place = s->places + row;
    const int from = block * BLOCK > first ? block * BLOCK : first;
    const int to = at_most(place->position + 1, (block + 1) * BLOCK);
    if (from >= to)
        return;
    const Caches *caches = s->caches;
    const size_t shared = (size_t)caches->shared_capacity * m->head_size, own = (size_t)caches->own_capacity * m->head_size;
    const uint16_t *cache = caches->shared[s->index] + head * shared;
    Places places = { cache, cache + m->kv_heads * shared, 0, 0, place->shared };
    if (caches->own) {
        places.own_keys = caches->own[s->index] + ((size_t)place->slot * m->kv_heads + head) * own;
        places.own_values = places.own_keys + (size_t)caches->own_slots * m->kv_heads * own;
    }
    const int q = head * group;
    attend_heads(s->qkv + (size_t)row * (m->heads + 2 * m->kv_heads) * m->head_size + q * m->head_size, group, m->head_size,
                 places, from, to, s->partials + ((size_t)under_way * m->heads + q) * s->blocks + block, s->blocks);
}

/* RMSNorm over one head, in place. */
static void norm_head(float *head, const float *weight, float eps, int size) {
    float squares[LANES] = { 0 }, total = 0;
    for (int i = 0; i < size; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            squares[lane] += head[i + lane] * head[i + lane];
    for (int lane = 0; lane < LANES; lane++)
        total += squares[lane];
    float scale = 1.0f / sqrtf(total / (float)size + eps);
    for (int i = 0; i < size; i++)
        head[i] *= scale * weight[i];
}

/* Rotate q and k by [head_size / 2] pairs of cosine and sine, and store k and v in the cache. */
static void place_row(void *context, int row) {
    const Step *s = context;
    const LayerStack *m = s->model;
    const float *rotations = s->rotations + (size_t)row * s->rotation_stride;
    const int size = m->head_size, rotated = m->heads + m->kv_heads;
    float *qkv = s->qkv + (size_t)row * (rotated + m->kv_heads) * size;
    for (int head = 0; head < rotated; head++) {
        float *pairs = qkv + head * size;
        if (s->layer->qk_norm)
            norm_head(pairs, s->layer->qk_norm + head * size, m->eps, size);
        for (int i = 0; i < size; i += 2) {
            float even = pairs[i], odd = pairs[i + 1];
            pairs[i] = even * rotations[i] - odd * rotations[i + 1];
            pairs[i + 1] = even * rotations[i + 1] + odd * rotations[i];
        }
    }
    const RowPlace *place = s->places + row;
    const Caches *c = s->caches;
    const int is_own = place->position >= place->shared;
    for (int head = 0; head < 2 * m->kv_heads; head++) {
        size_t part = head / m->kv_heads, number = head % m->kv_heads;
        size_t of = is_own ? ((part * c->own_slots + place->slot) * m->kv_heads + number) * c->own_capacity
                               + place->position - place->shared
                           : (size_t)head * c->shared_capacity + place->position;
        uint16_t *to = (is_own ? c->own : c->shared)[s->index] + of * size;
        for (int i = 0; i < size; i += LANES)
            f_store_half(to + i, f_load(qkv + (m->heads + head) * size + i));
    }
}

/* Merge the heads' outputs and quantise them to 16-bit codes. */
static void gather_row(const Step *s, int row) {
    const LayerStack *m = s->model;
    const int from = first_seen(s, row) / BLOCK, to = s->places[row].position / BLOCK + 1;
    const int width = m->heads * m->head_size;
    float *attended = s->qkv + (size_t)row * (m->heads + 2 * m->kv_heads) * m->head_size; /* in place of q */
    for (int head = 0; head < m->heads; head++)
        merge(s->partials + ((size_t)(row - s->first) * m->heads + head) * s->blocks + from, to - from, m->head_size,
              attended + head * m->head_size);
    quantize(attended, s->input + (size_t)row * (width / GROUP), width);
}

/* A few rows at a time, because partials take space. */
static void attend_rows(Step *s) {
    for (s->first = 0; s->first < s->rows; s->first += MAX_ROWS) {
        s->count = at_most(MAX_ROWS, s->rows - s->first);
        int last = 0;
        for (int row = s->first; row < s->first + s->count; row++)
            last = s->places[row].position > last ? s->places[row].position : last;
        s->blocks = last / BLOCK + 1;
        share_out(attention_piece, s, s->count * s->model->kv_heads * s->blocks);
        for (int row = s->first; row < s->first + s->count; row++)
            gather_row(s, row);
    }
}

static void run_layer(Step *s) {
    const Layer *layer = s->layer;
    s->norm = layer->attn_norm;
    each_row(norm_row, s);
    share_out(qkv_piece, s, pieces_of(tiles_of(&layer->qkv)));
    each_row(place_row, s);
    attend_rows(s);
    share_out(o_piece, s, pieces_of(tiles_of(&layer->o)));
    s->norm = layer->ffn_norm;
    each_row(norm_row, s);
    share_out(gate_up_piece, s, pieces_of(s->model->ffn / GROUP));
    share_out(down_piece, s, pieces_of(tiles_of(&layer->down)));
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static int reserve(void **space, size_t *has, size_t bytes) {
    if (bytes <= *has)
        return 1;
    free(*space);
    *space = aligned_alloc(64, (bytes + 63) / 64 * 64);
    *has = *space ? bytes : 0;
    return *space != 0;
}

/* Run rows of hidden states through all layers, in place, and store their keys and values. Rows of one reply come in order
 * of position: each sees those before it.
 *
 * x: [rows][hidden]. rotations: for each row [head_size / 2] pairs of cosine and sine, `rotation_stride` floats apart.
 * Returns 0, or 1 if memory ran out. */
int32_t run_layers(const LayerStack *model, int32_t rows, float *x, const float *rotations,
                   int32_t rotation_stride, const RowPlace *places, const Caches *caches) {
    static void *space;
    static size_t has;
    int last = 0;
    for (int row = 0; row < rows; row++)
        last = places[row].position > last ? places[row].position : last;
    const int width = model->heads * model->head_size;
    const size_t qkv = (size_t)rows * (model->heads + 2 * model->kv_heads) * model->head_size * sizeof(float);
    const size_t input = rows * larger(model->hidden, width) / GROUP * sizeof(Group);
    const size_t gated = (size_t)rows * model->ffn / GROUP * sizeof(Group);
    const size_t partials = (size_t)at_most(MAX_ROWS, rows) * model->heads * (last / BLOCK + 1) * sizeof(Partial);
    if (!reserve(&space, &has, qkv + input + gated + partials))
        return 1;
    char *at = space;
    Step step = { .model = model, .caches = caches, .places = places, .rotations = rotations,
                  .rotation_stride = rotation_stride, .rows = rows, .x = x };
    step.qkv = (float *)at;
    step.input = (Group *)(at += qkv);
    step.gated = (Group *)(at += input);
    step.partials = (Partial *)(at += gated);
    wake();
    for (step.index = 0; step.index < model->layers; step.index++) {
        step.layer = model->layer + step.index;
        run_layer(&step);
    }
    let_sleep();
    return 0;
}

typedef struct {
    const Matrix *matrix;
    const Group *input;
    float *out;
    int rows;
} Multiplication;

static void product_piece(void *context, int piece) {
    const Multiplication *p = context;
    const Matrix *m = p->matrix;
    F16 totals[2][MAX_ROWS];
    for (int tile = piece * size_of_piece(tiles_of(m)); tile < end_of(piece, tiles_of(m)); tile++)
        for (int first = 0; first < p->rows; first += MAX_ROWS) {
            const int rows = at_most(MAX_ROWS, p->rows - first);
            multiply_tile(m, tile, p->input + (size_t)first * (m->inputs / GROUP), rows, totals);
            for (int t = 0; t < 2; t++)
                for (int row = 0; row < rows; row++)
                    f_store(p->out + (size_t)(first + row) * m->outputs + first_output(m, tile, t), totals[t][row]);
        }
}

typedef struct {
    const float *x;
    Group *out;
    int size;
} Quantization;

static void quantize_piece(void *context, int row) {
    const Quantization *q = context;
    quantize(q->x + (size_t)row * q->size, q->out + (size_t)row * (q->size / GROUP), q->size);
}

/* out [rows][outputs] = x [rows][inputs] * matrix + bias, for any number of rows. Returns 0, or 1 if memory ran out. */
int32_t multiply(const Matrix *matrix, const float *x, int32_t rows, float *out) {
    static void *space;
    static size_t has;
    if (!reserve(&space, &has, (size_t)rows * (matrix->inputs / GROUP) * sizeof(Group)))
        return 1;
    Quantization quantization = { x, space, matrix->inputs };
    Multiplication product = { matrix, space, out, rows };
    wake();
    share_out(quantize_piece, &quantization, rows);
    share_out(product_piece, &product, pieces_of(tiles_of(matrix)));
    let_sleep();
    return 0;
}
