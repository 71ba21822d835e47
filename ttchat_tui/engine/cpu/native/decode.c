/* All layers of a model in one call: one row for a decode step, a few for drafts and candidates, many for a
 * prompt. The computation is that of forward/model.py; weights/weights.py lists what is folded into which weight. A row gives
 * the same bits alone and among others. */
#include "feed_forward.h"
#include "final_norm.h"
#include "layer.h"
#include "packing.h"
#include "passes.h"

static void qkv_piece(void *context, int piece) {
    const Step *s = context;
    const Matrix *m = &s->layer->qkv;
    product(m, s->input, s->rows, s->qkv, piece * size_of_piece(tiles_of(m)), end_of(piece, tiles_of(m)));
}

static void o_piece(void *context, int piece) {
    const Step *s = context;
    add_product(s, &s->layer->o, s->input, piece);
}

/* The first position a row sees. */
static int first_seen(const Step *s, int row) {
    const int position = s->places[row].position, window = s->layer->window;
    return window && position >= window ? position - window + 1 : 0;
}

/* Queries of one key-value head that attend together: those of as many rows as fit, or a part of one row's. */
static int queries_at_once(const Step *s) {
    const int group = s->model->heads / s->model->kv_heads;
#if REGISTERS == 32
    if (s->count > 1 && group <= MOST_QUERIES)
        return MOST_QUERIES / group * group;
#endif
    const int parts = (group + MOST_QUERIES - 1) / MOST_QUERIES;
    return (group + parts - 1) / parts;
}

/* How many times that many there are for the current rows. */
static int runs_of_queries(const Step *s) {
    const int at_once = queries_at_once(s);
    return (s->count * (s->model->heads / s->model->kv_heads) + at_once - 1) / at_once;
}

/* The bytes of the keys, or values, of one head. */
static size_t head_bytes(const Step *s, int capacity) {
    const int size = s->model->head_size;
    return s->caches->is_q8 ? capacity / KV_TILE * kv_tile_bytes(size) : (size_t)capacity * size * sizeof(uint16_t);
}

/* Where the keys, or values, of one head of a row are in its own cache, or in the shared one. */
static char *head_at(const Step *s, const RowPlace *place, int head, int is_value, int is_own) {
    const Caches *c = s->caches;
    const size_t number = (is_own ? is_value * c->own_slots + place->slot : is_value) * (size_t)s->model->kv_heads + head;
    return (char *)(is_own ? c->own : c->shared)[s->index] + number * head_bytes(s, is_own ? c->own_capacity : c->shared_capacity);
}

/* Where the keys and values of one head of a row are. */
static Places places_of(const Step *s, const RowPlace *place, int head) {
    Places places = { head_at(s, place, head, 0, 0), head_at(s, place, head, 1, 0), 0, 0, place->shared };
    if (s->caches->own) {
        places.own_keys = head_at(s, place, head, 0, 1);
        places.own_values = head_at(s, place, head, 1, 1);
    }
    return places;
}

/* The keys of the piece that this thread is likely to run after this one; those of this piece if there is none. */
static const void *keys_after(const Step *s, int piece, const Query *query) {
    const int next = piece + 1, runs = runs_of_queries(s);
    const int number = (next < runs * s->blocks * s->model->kv_heads ? next : piece) / runs;
    const int first = number % s->blocks * BLOCK, head = number / s->blocks, is_own = first >= query->places.shared;
    const char *keys = head_at(s, s->places + query->row, head, 0, is_own);
    return keys + head_bytes(s, is_own ? first - query->places.shared : first);
}

/* Own keys of the row of the query that comes after the current ones: of the same head, or of the next one. */
static const void *own_keys_after(const Step *s, int head, int query) {
    const int group = s->model->heads / s->model->kv_heads, all = s->count * group, next = query + queries_at_once(s);
    const int next_head = next < all ? head : at_most(s->model->kv_heads - 1, head + 1);
    return head_at(s, s->places + s->first + next % all / group, next_head, 0, s->caches->own != 0);
}

/* Some queries of one key-value head, of one row or several, and one block of positions. */
static void attention_piece(void *context, int piece) {
    const Step *s = context;
    const LayerStack *m = s->model;
    const int group = m->heads / m->kv_heads, at_once = queries_at_once(s), runs = runs_of_queries(s);
    const int run = piece % runs, block = piece / runs % s->blocks, head = piece / runs / s->blocks;
    const int end = at_most(s->count * group, (run + 1) * at_once);
    Query queries[MOST_QUERIES];
    int count = 0;
    for (int number = run * at_once; number < end; number++) {
        const int under_way = number / group, row = s->first + under_way, first = first_seen(s, row);
        const RowPlace *place = s->places + row;
        const int from = block * BLOCK > first ? block * BLOCK : first;
        const int to = at_most(place->position + 1, (block + 1) * BLOCK);
        if (from >= to)
            continue;
        const int q = head * group + number % group;
        queries[count++] = (Query){
            s->qkv + ((size_t)row * (m->heads + 2 * m->kv_heads) + q) * m->head_size, s->codes + (size_t)row * m->heads + q,
            places_of(s, place, head), row, from, to,
            partial_at(s->partials, ((size_t)under_way * m->heads + q) * s->blocks + block, m->head_size),
            own_keys_after(s, head, number),
        };
    }
    if (!count)
        return;
    const void *next_keys = keys_after(s, piece, queries);
    if (s->caches->is_q8)
        attend_q8(queries, count, m->head_size, m->score_cap, next_keys);
    else if (queries->row != queries[count - 1].row)
        attend(queries, count, m->head_size, m->score_cap);
    else
        attend_one_row(queries->q, count, m->head_size, m->score_cap, queries->places, queries->from, queries->to,
                       next_keys, queries->partial, s->blocks);
}

/* RMSNorm of heads, in place. */
static void norm_heads(float *heads, const float *weight, float eps, int size) {
    const float scale = rms_scale(heads, eps, size);
    for (int i = 0; i < size; i++)
        heads[i] *= scale * weight[i];
}

/* The norm of q and k of one row: over each head, or over all of q and all of k. */
static void norm_qk(const LayerStack *m, float *qkv, const float *weight) {
    if (m->is_whole_qk_norm) {
        const int q = m->heads * m->head_size;
        norm_heads(qkv, weight, m->eps, q);
        norm_heads(qkv + q, weight + q, m->eps, m->kv_heads * m->head_size);
    } else
        for (int at = 0; at < (m->heads + m->kv_heads) * m->head_size; at += m->head_size)
            norm_heads(qkv + at, weight + at, m->eps, m->head_size);
}

/* Store k and v of one row in the cache, and encode q for 8-bit keys. */
static void store_row(const Step *s, int row, float *qkv) {
    const LayerStack *m = s->model;
    const RowPlace *place = s->places + row;
    const int size = m->head_size, is_own = place->position >= place->shared;
    const int at = is_own ? place->position - place->shared : place->position;
    float factor = 1;
    for (int head = 0; s->caches->is_q8 && head < m->heads + m->kv_heads; head++)
        factor = mix(qkv + head * size, size);
    for (int head = 0; s->caches->is_q8 && head < m->heads; head++) {
        Codes16 *q = s->codes + (size_t)row * m->heads + head;
        encode(qkv + head * size, size, q, 0);
        q->scale *= factor;
    }
    for (int head = 0; head < 2 * m->kv_heads; head++) {
        const int is_value = head >= m->kv_heads;
        const float *x = qkv + (m->heads + head) * size;
        char *to = head_at(s, place, head - is_value * m->kv_heads, is_value, is_own);
        if (s->caches->is_q8)
            store_q8((uint8_t *)to + at / KV_TILE * kv_tile_bytes(size), at % KV_TILE, is_value, x, size);
        else
            for (int i = 0; i < size; i += LANES)
                f_store_half((uint16_t *)to + (ptrdiff_t)at * size + i, f_load(x + i));
    }
}

/* Rotate q and k by [head_size / 2] pairs of cosine and sine, and store k and v in the cache. */
static void place_row(void *context, int row) {
    const Step *s = context;
    const LayerStack *m = s->model;
    const float *rotations = s->rotations + s->layer->rope * (size_t)s->kind_stride + (size_t)row * s->rotation_stride;
    const RowPlace *place = s->places + row;
    const int size = m->head_size, rotated = m->heads + m->kv_heads;
    float *qkv = s->qkv + (size_t)row * (rotated + m->kv_heads) * size;
    if (s->layer->qk_norm)
        norm_qk(m, qkv, s->layer->qk_norm);
    for (int head = 0; head < rotated; head++) {
        float *pairs = qkv + head * size;
        for (int i = 0; i < size; i += 2) {
            float even = pairs[i], odd = pairs[i + 1];
            pairs[i] = even * rotations[i] - odd * rotations[i + 1];
            pairs[i + 1] = even * rotations[i + 1] + odd * rotations[i];
        }
    }
    for (int i = 0; i < m->heads * size; i++)
        qkv[i] *= place->q_scale;
    store_row(s, row, qkv);
}

/* Merge the heads' outputs of one of the current rows and quantise them to 16-bit codes. */
static void gather_row(void *context, int number) {
    const Step *s = context;
    const LayerStack *m = s->model;
    const int row = s->first + number, from = first_seen(s, row) / BLOCK, to = s->places[row].position / BLOCK + 1;
    const int width = m->heads * m->head_size;
    float *attended = s->qkv + (size_t)row * (m->heads + 2 * m->kv_heads) * m->head_size; /* in place of q */
    for (int head = 0; head < m->heads; head++) {
        const size_t first = ((size_t)number * m->heads + head) * s->blocks + from;
        merge(partial_at(s->partials, first, m->head_size), to - from, m->head_size, attended + head * m->head_size);
    }
    quantize(attended, row_groups(s->input, width / GROUP, s->rows, row), width);
}

/* How many rows attend at once, up to `last`: their partials stay in the second cache, unless eight rows have more. */
static int rows_at_once(const LayerStack *m, int rows, int last) {
    const size_t bytes = (size_t)m->heads * (last / BLOCK + 1) * partial_bytes(m->head_size);
    const int fit = (int)((512 << 10) / bytes) / MAX_ROWS * MAX_ROWS;
    return at_most(fit > MAX_ROWS ? fit : MAX_ROWS, rows);
}

static int last_position(const RowPlace *places, int rows) {
    int last = 0;
    for (int row = 0; row < rows; row++)
        last = places[row].position > last ? places[row].position : last;
    return last;
}

static void attend_rows(Step *s) {
    const int at_once = rows_at_once(s->model, s->rows, last_position(s->places, s->rows));
    for (s->first = 0; s->first < s->rows; s->first += at_once) {
        s->count = at_most(at_once, s->rows - s->first);
        s->blocks = last_position(s->places + s->first, s->count) / BLOCK + 1;
        share_out(attention_piece, s, runs_of_queries(s) * s->model->kv_heads * s->blocks);
        each_of(gather_row, s, s->count);
    }
}

/* Continue with the last `outputs` rows: in the last layer the others are needed for their keys and values only. */
static void keep_last(Step *s) {
    const LayerStack *m = s->model;
    const size_t skipped = s->rows - s->outputs;
    s->x += skipped * m->hidden;
    s->qkv += skipped * (m->heads + 2 * m->kv_heads) * m->head_size;
    s->codes += s->caches->is_q8 ? skipped * m->heads : 0;
    s->places += skipped;
    s->rows = s->outputs;
}

static void run_layer(Step *s) {
    const Layer *layer = s->layer;
    s->norm = layer->attn_norm;
    s->post_norm = layer->attn_post_norm;
    each_row(norm_row, s);
    share_out(qkv_piece, s, pieces_of(tiles_of(&layer->qkv)));
    each_row(place_row, s);
    if (s->index == s->model->layers - 1)
        keep_last(s);
    if (!s->rows)
        return;
    attend_rows(s);
    share_out(o_piece, s, pieces_of(tiles_of(&layer->o)));
    if (s->post_norm)
        each_row(add_row, s);
    run_feed_forward(s);
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

/* The next `bytes` of the workspace; only counts them while it has no place. */
static void *take(char *space, size_t *at, size_t bytes) {
    void *taken = space ? space + *at : 0;
    *at += (bytes + 63) / 64 * 64;
    return taken;
}

/* Lay out what a step needs; returns its size. */
static size_t lay_out(Step *s, char *space, int last) {
    const LayerStack *m = s->model;
    const int width = m->heads * m->head_size;
    const size_t rows = s->rows, uses = rows * m->used;
    size_t at = 0;
    s->qkv = take(space, &at, rows * (m->heads + 2 * m->kv_heads) * m->head_size * sizeof(float));
    s->added = take(space, &at, rows * m->hidden * sizeof(float));
    s->input = take(space, &at, rows * larger(m->hidden, width) / GROUP * sizeof(Group));
    s->gated = take(space, &at, rows * m->ffn / GROUP * sizeof(Group));
    s->codes = take(space, &at, s->caches->is_q8 ? rows * m->heads * sizeof(Codes16) : 0);
    const size_t queries = (size_t)rows_at_once(m, s->rows, last) * m->heads;
    s->partials = take(space, &at, queries * (last / BLOCK + 1) * partial_bytes(m->head_size));
    s->routing.logits = take(space, &at, rows * m->experts * sizeof(float));
    s->routing.chosen = take(space, &at, uses * sizeof(int32_t));
    s->routing.weights = take(space, &at, uses * sizeof(float));
    s->routing.place = take(space, &at, uses * sizeof(int32_t));
    s->routing.first = take(space, &at, (m->experts + 1) * sizeof(int32_t));
    s->routing.active = take(space, &at, m->experts * sizeof(int32_t));
    s->routing.input = take(space, &at, uses * m->hidden / GROUP * sizeof(Group));
    s->routing.gated = take(space, &at, uses * m->expert_ffn / GROUP * sizeof(Group));
    s->routing.out = take(space, &at, uses * m->hidden * sizeof(float));
    return at;
}

/* Run rows of hidden states through all layers, in place, and store their keys and values. Rows of one reply come in order
 * of position: each sees those before it.
 *
 * x: [rows][hidden], of which the last `outputs` rows are hidden states afterwards. rotations: for each kind of layer,
 * `kind_stride` floats apart, and each row, `rotation_stride` floats apart, [head_size / 2] pairs of cosine and sine. Returns 0,
 * or 1 if memory ran out. */
int32_t run_layers(const LayerStack *model, int32_t rows, int32_t outputs, float *x, const float *rotations, int32_t kind_stride,
                   int32_t rotation_stride, const RowPlace *places, const Caches *caches) {
    static void *space;
    static size_t has;
    const int last = last_position(places, rows);
    Step step = { .model = model, .caches = caches, .places = places, .rotations = rotations, .kind_stride = kind_stride,
                  .rotation_stride = rotation_stride, .rows = rows, .outputs = outputs, .x = x };
    if (!reserve(&space, &has, lay_out(&step, 0, last)))
        return 1;
    lay_out(&step, space, last);
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
    product(m, p->input, p->rows, p->out, piece * size_of_piece(tiles_of(m)), end_of(piece, tiles_of(m)));
}

typedef struct {
    const float *x;
    Group *out;
    int size, rows;
} Quantization;

static void quantize_piece(void *context, int row) {
    const Quantization *q = context;
    quantize(q->x + (size_t)row * q->size, row_groups(q->out, q->size / GROUP, q->rows, row), q->size);
}

static int32_t multiply_awake(const Matrix *matrix, const float *x, int32_t rows, float *out) {
    static void *space;
    static size_t has;
    if (!reserve(&space, &has, (size_t)rows * (matrix->inputs / GROUP) * sizeof(Group)))
        return 1;
    Quantization quantization = { x, space, matrix->inputs, rows };
    Multiplication whole = { matrix, space, out, rows };
    share_out(quantize_piece, &quantization, rows);
    share_out(product_piece, &whole, pieces_of(tiles_of(matrix)));
    return 0;
}

/* out [rows][outputs] = x [rows][inputs] * matrix + bias, for any number of rows. Returns 0, or 1 if memory ran out. */
int32_t multiply(const Matrix *matrix, const float *x, int32_t rows, float *out) {
    wake();
    const int32_t answer = multiply_awake(matrix, x, rows, out);
    let_sleep();
    return answer;
}

/* out [rows][outputs] = logits of hidden states x [rows][inputs]. Those of a row that is infinite or not a number are NaN, of which
 * products would make numbers. tops [rows * SURVEY_PARTS], maxima [rows][groups], sums [rows][blocks]: a `Survey` of the first `count` logits of each row,
 * with the factor of temperature 1. Returns 0, or 1 if memory ran out. */
int32_t run_head(const Matrix *matrix, const float *norm, float eps, const float *x, int32_t rows, float *out, int32_t count,
                 float factor, int32_t *tops, float *maxima, int64_t *sums) {
    static void *space;
    static size_t has;
    const int size = matrix->inputs;
    if (!reserve(&space, &has, (size_t)rows * size * sizeof(float)))
        return 1;
    const float *normed = space;
    final_norm(x, norm, rows, size, eps, space);
    wake();
    const int32_t answer = multiply_awake(matrix, normed, rows, out);
    for (int row = 0; answer == 0 && row < rows; row++)
        if (!all_finite(normed + (size_t)row * size, size))
            memset(out + (size_t)row * matrix->outputs, 0xff, (size_t)matrix->outputs * sizeof(float));
    const int part = (count / SURVEY_PARTS + SUM_BLOCK) / SUM_BLOCK * SUM_BLOCK;
    Survey survey = { out, matrix->outputs, count, part, factor, tops, maxima, sums };
    if (answer == 0)
        survey_rows(&survey, rows);
    let_sleep();
    return answer;
}
