/* What the parts of a layer share: its weights, the state of a step, norms and products. */
#ifndef LAYER_H
#define LAYER_H

#include <stdlib.h>
#include <string.h>

#include "attention.h"
#include "attention_q8.h"
#include "matrix.h"
#include "pool.h"

typedef struct {
    const float *attn_norm, *ffn_norm;           /* [hidden], of the input; or none */
    const float *attn_post_norm, *ffn_post_norm; /* [hidden], of what is added to x; or none */
    const float *qk_norm;                        /* [heads + kv_heads][head_size], or none */
    Matrix qkv, o;
    Matrix gate_up, down;  /* if there are no experts */
    const float *router;   /* [experts][hidden], or none */
    const Matrix *experts; /* gate_up and down of each expert */
    int32_t window;        /* positions a row sees; 0 is all */
    int32_t rope;          /* which of the rotations */
} Layer;

typedef struct {
    int32_t hidden, ffn, heads, kv_heads, head_size, layers;
    float eps;
    float residual_scale;     /* of what is added to x */
    float score_cap;          /* scores s become cap * tanh(s / cap); 0 is no cap */
    int32_t is_gelu;          /* the gate's activation; else it is silu */
    int32_t is_whole_qk_norm; /* over all heads of q, and of k; else over each head */
    int32_t experts, used;    /* experts of a layer that has some, and those that a row uses */
    int32_t expert_ffn;
    int32_t is_routing_normed; /* the weights of a row's experts add up to 1 */
    const Layer *layer;
} LayerStack;

#define ROWS_TO_SHARE 4 /* work on fewer takes less time than to share it among threads */

/* The position of a row, and where its keys and values are. */
typedef struct {
    int32_t position;
    int32_t shared; /* earlier positions are in the shared cache, later ones in the row's own slot */
    int32_t slot;   /* in the rows' own cache */
    float q_scale;  /* of its queries */
} RowPlace;

/* For each layer, keys first. Shared: [2 * kv_heads][capacity][head_size]. Own: [2][slots][kv_heads][capacity][head_size].
 * Float16; or tiles of attention_q8.h, whole numbers of which capacities and `shared` of rows are. */
typedef struct {
    void *const *shared;
    void *const *own;
    int32_t shared_capacity, own_capacity, own_slots;
    int32_t is_q8;
} Caches;

/* Which experts each row uses. A use is one row and one of its experts; uses are in the order of their experts, so that the
 * rows of an expert are neighbours. */
typedef struct {
    float *logits;      /* [rows][experts], then their probabilities */
    int32_t *chosen;    /* [rows][used], experts of a row, the greatest weight first */
    float *weights;     /* [rows][used] */
    int32_t *place;     /* [rows][used], number of the use */
    int32_t *first;     /* [experts + 1], the first use of each expert */
    int32_t *active;    /* [experts], those that some row uses */
    int active_count;
    Group *input;       /* [uses][hidden], those of an expert as `row_groups` places them */
    Group *gated;       /* [uses][expert_ffn], also */
    float *out;         /* [uses][hidden] */
} Routing;

typedef struct {
    const LayerStack *model;
    const Layer *layer;
    const Caches *caches;
    const RowPlace *places;
    const float *rotations, *norm, *post_norm;
    int rows, outputs, index, rotation_stride, kind_stride;
    int first, count, blocks; /* of attention: the current rows, and the blocks of positions they see */
    float *x;                 /* [rows][hidden] */
    float *added;             /* [rows][hidden], what is added to x if it needs more than a product */
    float *qkv;               /* [rows][(heads + 2 * kv_heads) * head_size] */
    Group *input;             /* [rows][hidden or heads * head_size], as `row_groups` places them */
    Group *gated;             /* [rows][ffn], also */
    Codes16 *codes;           /* [rows][heads], queries for 8-bit keys */
    Partial *partials;        /* [count][heads][blocks] */
    Routing routing;
} Step;

/* Four pieces per thread: few enough to read weights in long runs, enough to keep the wait for the last one short. */
static int size_of_piece(int units) {
    const int pieces = 4 * pool.threads;
    return (units + pieces - 1) / pieces;
}

static int pieces_of(int units) {
    const int size = size_of_piece(units);
    return (units + size - 1) / size;
}

static int end_of(int piece, int units) {
    const int end = (piece + 1) * size_of_piece(units);
    return end < units ? end : units;
}

/* 1 / root mean square. */
static float rms_scale(const float *x, float eps, int size) {
    float squares[LANES] = { 0 };
    for (int i = 0; i < size; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            squares[lane] += x[i + lane] * x[i + lane];
    float total = 0;
    for (int lane = 0; lane < LANES; lane++)
        total += squares[lane];
    return 1.0f / sqrtf(total / (float)size + eps);
}

/* x / root mean square * weight, as 16-bit codes (RMSNorm); x itself without a weight. */
static void norm(const float *x, const float *weight, float eps, int size, RowGroups out) {
    if (!weight) {
        quantize(x, out, size);
        return;
    }
    float scale = rms_scale(x, eps, size);
    float normed[GROUP];
    for (int g = 0; g < size / GROUP; g++) {
        for (int i = 0; i < GROUP; i++)
            normed[i] = x[g * GROUP + i] * scale * weight[g * GROUP + i];
        quantize_group(normed, out.first + (size_t)g * out.stride);
    }
}

/* Normed rows of x as 16-bit codes. */
static void norm_row(void *context, int row) {
    const Step *s = context;
    const int hidden = s->model->hidden;
    norm(s->x + (size_t)row * hidden, s->norm, s->model->eps, hidden, row_groups(s->input, hidden / GROUP, s->rows, row));
}

/* Work on each row, of which there is little. */
static void each_of(Work work, Step *s, int rows) {
    if (rows >= ROWS_TO_SHARE)
        share_out(work, s, rows);
    else
        for (int row = 0; row < rows; row++)
            work(s, row);
}

static void each_row(Work work, Step *s) { each_of(work, s, s->rows); }

/* As many tiles as stay in the second cache while all rows multiply them: many rows do not. */
static int tiles_at_once(const Matrix *m) {
    const int count = (128 << 10) / (tile_bytes(m->rows->format) * (m->inputs / GROUP));
    return count < 1 ? 1 : count;
}

/* out [rows][outputs] = some tiles of matrix * groups. */
static void product(const Matrix *m, const Group *groups, int rows, float *out, int tile, int end) {
    F16 totals[2][MAX_ROWS];
    for (int from = tile, until; from < end; from = until) {
        until = at_most(end, from + tiles_at_once(m));
        for (int first = 0; first < rows; first += MAX_ROWS)
            for (tile = from; tile < until; tile++) {
                const int count = at_most(MAX_ROWS, rows - first);
                multiply_tile(m, tile, groups + (size_t)first * (m->inputs / GROUP), count, totals);
                for (int t = 0; t < 2; t++)
                    for (int row = 0; row < count; row++)
                        f_store(out + (size_t)(first + row) * m->outputs + first_output(m, tile, t), totals[t][row]);
            }
    }
}

/* x += scale * matrix * groups; `added` = matrix * groups if it has a norm. */
static void add_product(const Step *s, const Matrix *m, const Group *groups, int piece) {
    const int first_tile = piece * size_of_piece(tiles_of(m)), end = end_of(piece, tiles_of(m));
    if (s->post_norm) {
        product(m, groups, s->rows, s->added, first_tile, end);
        return;
    }
    const F16 scale = f_set(s->model->residual_scale);
    F16 totals[2][MAX_ROWS];
    for (int from = first_tile, until; from < end; from = until) {
        until = at_most(end, from + tiles_at_once(m));
        for (int first = 0; first < s->rows; first += MAX_ROWS)
            for (int tile = from; tile < until; tile++) {
                const int rows = at_most(MAX_ROWS, s->rows - first);
                multiply_tile(m, tile, groups + (size_t)first * (m->inputs / GROUP), rows, totals);
                for (int t = 0; t < 2; t++)
                    for (int row = 0; row < rows; row++) {
                        float *to = s->x + (size_t)(first + row) * m->outputs + tile * WIDTH + t * LANES;
                        f_store(to, f_fma(scale, totals[t][row], f_load(to)));
                    }
            }
    }
}

/* x += scale * norm(added). */
static void add_row(void *context, int row) {
    const Step *s = context;
    const int hidden = s->model->hidden;
    const float *added = s->added + (size_t)row * hidden;
    float *x = s->x + (size_t)row * hidden;
    if (!s->post_norm) {
        for (int i = 0; i < hidden; i++)
            x[i] += s->model->residual_scale * added[i];
        return;
    }
    const float scale = s->model->residual_scale * rms_scale(added, s->model->eps, hidden);
    for (int i = 0; i < hidden; i++)
        x[i] += added[i] * scale * s->post_norm[i];
}

#endif
