#include "linear.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forest.h"
#include "link.h"

static const char *check_term(const struct linear *linear, const struct term *term) {
    if (term->input >= linear->n_inputs) return "a term's input is out of range";
    if (term->kind >= TERM_KINDS) return "a term's kind is unknown";
    if ((linear->input_kinds[term->input] == INPUT_TEXT) != (term->kind == TERM_TEXT))
        return "a term's kind doesn't fit its input";
    uint64_t weights = 1;
    const uint64_t end = (uint64_t)term->first + term->count;
    if (term->kind == TERM_NUMBER) {
        if (end > linear->n_steps) return "a term's steps are out of range";
        for (uint64_t i = term->first; i < end; i++)
            if (linear->steps[i].name >= STEPS) return "a step is unknown";
    } else {
        weights = (uint64_t)term->count + 2;
        if (term->kind == TERM_LEVELS) {
            if (end > linear->n_edges) return "a term's edges are out of range";
            for (uint64_t i = (uint64_t)term->first + 1; i < end; i++)
                if (!(linear->edges[i - 1] < linear->edges[i])) return "a term's edges don't ascend";
        }
    }
    if (term->weights + weights * linear->n_outputs > linear->n_weights)
        return "a term's weights are out of range";
    return NULL;
}

const char *linear_check(const struct linear *linear) {
    if (linear->link < 0 || linear->link >= LINKS) return "the link is unknown";
    for (uint32_t i = 0; i < linear->n_inputs; i++)
        if (linear->input_kinds[i] >= INPUT_KINDS) return "an input's kind is unknown";
    const char *wrong = NULL;
    for (uint32_t i = 0; !wrong && i < linear->n_terms; i++)
        wrong = check_term(linear, &linear->terms[i]);
    return wrong;
}

void linear_free(struct linear *linear) {
    free(linear->input_kinds);
    free(linear->terms);
    free(linear->steps);
    free(linear->edges);
    free(linear->weights);
    free(linear->bases);
    memset(linear, 0, sizeof *linear);
}

#define EACH(expression) \
    for (int row = 0; row < count; row++) x[row] = (expression)

static void take_step(const struct step *step, int count, double *x) {
    const double value = step->value, upper = step->upper;
    switch ((enum step_name)step->name) {
    case STEP_FILL: EACH(x[row] != x[row] ? value : x[row]); break;
    case STEP_SUBTRACT: EACH(x[row] - value); break;
    case STEP_DIVIDE: EACH(x[row] / value); break;
    case STEP_MULTIPLY: EACH(x[row] * value); break;
    case STEP_ADD: EACH(x[row] + value); break;
    case STEP_FLOAT32: EACH((double)(float)x[row]); break;
    case STEP_CLIP: EACH(x[row] < value ? value : x[row] > upper ? upper : x[row]); break;
    case STEP_LOG: EACH(log(x[row])); break;
    case STEP_LOG1P: EACH(log1p(x[row])); break;
    case STEP_LOG2: EACH(log2(x[row])); break;
    case STEP_LOG10: EACH(log10(x[row])); break;
    case STEP_EXP: EACH(exp(x[row])); break;
    case STEP_EXPM1: EACH(expm1(x[row])); break;
    case STEP_SQRT: EACH(sqrt(x[row])); break;
    case STEP_CBRT: EACH(cbrt(x[row])); break;
    case STEPS: break;
    }
}

static uint32_t range_of(const double *edges, uint32_t count, double value) {
    uint32_t low = 0, high = count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (edges[middle] < value) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* Add a term's contributions for some rows to the sums, [output][row]. */
static void add_term(const struct linear *linear, const struct term *term, int count,
                     const double *numbers, const int32_t *categories, double *sums,
                     int64_t stride) {
    const uint32_t outputs = linear->n_outputs;
    const double *weights = linear->weights + term->weights;
    if (term->kind == TERM_NUMBER) {
        double x[BLOCK_ROWS];
        memcpy(x, numbers, (size_t)count * sizeof *x);
        for (uint32_t i = 0; i < term->count; i++)
            take_step(&linear->steps[term->first + i], count, x);
        for (uint32_t d = 0; d < outputs; d++)
            for (int row = 0; row < count; row++) sums[d * stride + row] += weights[d] * x[row];
        return;
    }
    for (int row = 0; row < count; row++) {
        uint32_t at;
        if (term->kind == TERM_LEVELS)
            at = isnan(numbers[row])
                     ? term->count + 1
                     : range_of(linear->edges + term->first, term->count, numbers[row]);
        else if (categories[row] >= 0 && (uint32_t)categories[row] < term->count)
            at = (uint32_t)categories[row];
        else at = categories[row] == CATEGORY_NULL ? term->count + 1 : term->count;
        for (uint32_t d = 0; d < outputs; d++)
            sums[d * stride + row] += weights[(size_t)at * outputs + d];
    }
}

static void finish(const struct linear *linear, int count, double *sums, int64_t stride) {
    for (uint32_t d = 0; d < linear->n_outputs; d++)
        for (int row = 0; row < count; row++) sums[d * stride + row] += linear->bases[d];
    apply_link(linear->link, linear->scale, 1.0, linear->n_outputs, count, sums, stride);
}

void linear_predict_one(const struct linear *linear, const double *numbers,
                        const int32_t *categories, double *out) {
    for (uint32_t d = 0; d < linear->n_outputs; d++) out[d] = 0.0;
    for (uint32_t i = 0; i < linear->n_terms; i++) {
        const struct term *term = &linear->terms[i];
        add_term(linear, term, 1, numbers + term->input, categories + term->input, out, 1);
    }
    finish(linear, 1, out, 1);
}

void linear_predict(const struct linear *linear, const struct input_rows *inputs, int64_t rows,
                    double *out, int64_t out_stride) {
    double numbers[BLOCK_ROWS];
    int32_t categories[BLOCK_ROWS];
    for (int64_t first = 0; first < rows; first += BLOCK_ROWS) {
        const int count = rows - first < BLOCK_ROWS ? (int)(rows - first) : BLOCK_ROWS;
        uint32_t read = UINT32_MAX;
        for (uint32_t d = 0; d < linear->n_outputs; d++)
            for (int row = 0; row < count; row++) out[d * out_stride + first + row] = 0.0;
        for (uint32_t i = 0; i < linear->n_terms; i++) {
            const struct term *term = &linear->terms[i];
            const enum input_kind kind = linear->input_kinds[term->input];
            if (read != term->input) {
                read = term->input;
                if (kind == INPUT_TEXT) read_categories(&inputs[read], first, count, categories);
                else read_numbers(kind, &inputs[read], first, count, numbers);
            }
            add_term(linear, term, count, numbers, categories, out + first, out_stride);
        }
        finish(linear, count, out + first, out_stride);
    }
}
