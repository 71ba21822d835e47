/* The feed-forward part of a layer: one gated network, or experts of which each row uses a few. The computation is that of
 * forward/feed_forward.py. */
#ifndef FEED_FORWARD_H
#define FEED_FORWARD_H

#include "layer.h"

/* activation(gate) * up. Both activations are x * sigmoid(u): u is x of silu; of gelu, in its approximation with tanh, it is
 * 2 * sqrt(2 / pi) * (x + 0.044715 * x^3). */
INLINE void gate(float *gates, const float *ups, const int is_gelu) {
    for (int i = 0; i < GROUP; i++) {
        float u = is_gelu ? 1.595769122f * gates[i] * (1.0f + 0.044715f * gates[i] * gates[i]) : gates[i];
        float small = exp_negative(-fabsf(u));
        gates[i] *= ups[i] * (u < 0 ? small : 1.0f) / (1.0f + small);
    }
}

/* Compute one group of 32 outputs, from two tiles, and quantise it. */
static void gate_up_group(const Step *s, const Matrix *m, const Group *input, int rows, Group *gated, int group) {
    F16 totals[2][2][MAX_ROWS];
    const int groups = m->outputs / 2 / GROUP;
    for (int first = 0; first < rows; first += MAX_ROWS) {
        const int count = at_most(MAX_ROWS, rows - first);
        for (int i = 0; i < 2; i++)
            multiply_tile(m, group * 2 + i, input + (size_t)first * (m->inputs / GROUP), count, totals[i]);
        for (int row = 0; row < count; row++) {
            float gates[GROUP], ups[GROUP];
            for (int i = 0; i < 2; i++) {
                f_store(gates + i * LANES, totals[i][0][row]);
                f_store(ups + i * LANES, totals[i][1][row]);
            }
            if (s->model->is_gelu)
                gate(gates, ups, 1);
            else
                gate(gates, ups, 0);
            quantize_group(gates, gated + (size_t)first * groups + group * count + row);
        }
    }
}

static void gate_up_piece(void *context, int piece) {
    const Step *s = context;
    const int groups = s->model->ffn / GROUP;
    for (int group = piece * size_of_piece(groups); group < end_of(piece, groups); group++)
        gate_up_group(s, &s->layer->gate_up, s->input, s->rows, s->gated, group);
}

static void down_piece(void *context, int piece) {
    const Step *s = context;
    add_product(s, &s->layer->down, s->gated, piece);
}

/* The router's outputs of one row. Not rounded: a small error may choose another expert. */
static void route_row(void *context, int row) {
    const Step *s = context;
    const int hidden = s->model->hidden;
    const float *x = s->x + (size_t)row * hidden, *weight = s->norm;
    const float scale = weight ? rms_scale(x, s->model->eps, hidden) : 1.0f;
    float *logits = s->routing.logits + (size_t)row * s->model->experts;
    for (int expert = 0; expert < s->model->experts; expert++) {
        const float *router = s->layer->router + (size_t)expert * hidden;
        float sums[LANES] = { 0 }, total = 0;
        for (int i = 0; i < hidden; i += LANES)
            for (int lane = 0; lane < LANES; lane++)
                sums[lane] += x[i + lane] * scale * (weight ? weight[i + lane] : 1.0f) * router[i + lane];
        for (int lane = 0; lane < LANES; lane++)
            total += sums[lane];
        logits[expert] = total;
    }
}

/* The greatest of the softmax over the router's outputs, of one row. */
static void choose(const Step *s, int row) {
    const int experts = s->model->experts, used = s->model->used;
    float *logits = s->routing.logits + (size_t)row * experts, total = 0, sum = 0;
    int32_t *chosen = s->routing.chosen + (size_t)row * used;
    float *weights = s->routing.weights + (size_t)row * used;
    float largest = logits[0];
    for (int i = 1; i < experts; i++)
        largest = logits[i] > largest ? logits[i] : largest;
    for (int i = 0; i < experts; i++)
        total += logits[i] = exp_negative(logits[i] - largest);
    for (int k = 0; k < used; k++) {
        int best = 0;
        for (int i = 1; i < experts; i++)
            best = logits[i] > logits[best] ? i : best;
        chosen[k] = best;
        sum += weights[k] = logits[best] / total;
        logits[best] = -1;
    }
    if (s->model->is_routing_normed)
        for (int k = 0; k < used; k++)
            weights[k] /= sum;
}

/* Put the uses in the order of their experts. */
static void sort_uses(Step *s) {
    Routing *r = &s->routing;
    const int experts = s->model->experts, uses = s->rows * s->model->used;
    memset(r->first, 0, (experts + 1) * sizeof(int32_t));
    for (int use = 0; use < uses; use++)
        r->first[r->chosen[use] + 1]++;
    r->active_count = 0;
    for (int expert = 0; expert < experts; expert++) {
        if (r->first[expert + 1])
            r->active[r->active_count++] = expert;
        r->first[expert + 1] += r->first[expert];
    }
    for (int use = uses - 1; use >= 0; use--) /* From the back: `first` of the next expert counts down to that of this one. */
        r->place[use] = --r->first[r->chosen[use] + 1];
    for (int expert = 0; expert < experts; expert++)
        r->first[expert] = r->first[expert + 1];
    r->first[experts] = uses;
}

static void gather_use(void *context, int row) {
    const Step *s = context;
    const Routing *r = &s->routing;
    const int groups = s->model->hidden / GROUP;
    const RowGroups from = row_groups(s->input, groups, s->rows, row);
    for (int use = row * s->model->used; use < (row + 1) * s->model->used; use++) {
        const int expert = r->chosen[use], first = r->first[expert], rows = r->first[expert + 1] - first;
        const RowGroups to = row_groups(r->input + (size_t)first * groups, groups, rows, r->place[use] - first);
        for (int g = 0; g < groups; g++)
            to.first[g * to.stride] = from.first[g * from.stride];
    }
}

/* Uses of the expert that a unit of work belongs to; there are `units` for each. */
static int uses_of(const Step *s, int unit, int units, int *first, const Matrix **expert) {
    const Routing *r = &s->routing;
    const int number = r->active[unit / units];
    *first = r->first[number];
    *expert = s->layer->experts + 2 * number;
    return r->first[number + 1] - *first;
}

static void expert_gate_up_piece(void *context, int piece) {
    const Step *s = context;
    const Routing *r = &s->routing;
    const int groups = s->model->expert_ffn / GROUP, units = r->active_count * groups;
    for (int unit = piece * size_of_piece(units); unit < end_of(piece, units); unit++) {
        const Matrix *expert;
        int first, count = uses_of(s, unit, groups, &first, &expert);
        gate_up_group(s, expert, r->input + (size_t)first * (s->model->hidden / GROUP), count,
                      r->gated + (size_t)first * groups, unit % groups);
    }
}

static void expert_down_piece(void *context, int piece) {
    const Step *s = context;
    const Routing *r = &s->routing;
    const int tiles = s->model->hidden / WIDTH, units = r->active_count * tiles;
    for (int unit = piece * size_of_piece(units); unit < end_of(piece, units); unit++) {
        const Matrix *expert;
        int first, count = uses_of(s, unit, tiles, &first, &expert);
        product(expert + 1, r->gated + (size_t)first * (s->model->expert_ffn / GROUP), count,
                r->out + (size_t)first * s->model->hidden, unit % tiles, unit % tiles + 1);
    }
}

/* The weighted sum of a row's experts, in the order of their weights. */
static void sum_row(void *context, int row) {
    const Step *s = context;
    const Routing *r = &s->routing;
    const int hidden = s->model->hidden;
    float *added = s->added + (size_t)row * hidden;
    for (int k = 0; k < s->model->used; k++) {
        const int use = row * s->model->used + k;
        const float *out = r->out + (size_t)r->place[use] * hidden;
        for (int i = 0; i < hidden; i++)
            added[i] = (k ? added[i] : 0) + r->weights[use] * out[i];
    }
    add_row(context, row);
}

static void run_experts(Step *s) {
    share_out(route_row, s, s->rows);
    for (int row = 0; row < s->rows; row++)
        choose(s, row);
    sort_uses(s);
    each_row(gather_use, s);
    share_out(expert_gate_up_piece, s, pieces_of(s->routing.active_count * (s->model->expert_ffn / GROUP)));
    share_out(expert_down_piece, s, pieces_of(s->routing.active_count * (s->model->hidden / WIDTH)));
    each_row(sum_row, s);
}

static void run_feed_forward(Step *s) {
    s->norm = s->layer->ffn_norm;
    s->post_norm = s->layer->ffn_post_norm;
    each_row(norm_row, s);
    if (s->layer->router) {
        run_experts(s);
        return;
    }
    share_out(gate_up_piece, s, pieces_of(s->model->ffn / GROUP));
    share_out(down_piece, s, pieces_of(tiles_of(&s->layer->down)));
    if (s->post_norm)
        each_row(add_row, s);
}

#endif
