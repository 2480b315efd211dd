#include "linear.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "instructions.h"

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
    if (linear->link != LINEAR_NONE && linear->link != LINEAR_SIGMOID) return "the link is unknown";
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

/* Compiled once for each set of instructions: what is called here becomes part of its caller. */
#ifdef __GNUC__
#define PART static inline __attribute__((always_inline))
#else
#define PART static inline
#endif

#define EACH(expression) \
    for (int row = 0; row < count; row++) x[row] = (expression)

PART void take_step(const struct step *step, int count, double *x) {
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

/* Add what a term contributes for some rows to the sums, [output][row]. `numbers` are its own. */
PART void add_number(const struct linear *linear, const struct term *term, int count,
                     double *numbers, double *sums, int64_t stride) {
    const double *weights = linear->weights + term->weights;
    for (uint32_t i = 0; i < term->count; i++)
        take_step(&linear->steps[term->first + i], count, numbers);
    for (uint32_t d = 0; d < linear->n_outputs; d++) {
        const double weight = weights[d];
        double *to = sums + d * stride;
        for (int row = 0; row < count; row++) to[row] += weight * numbers[row];
    }
}

PART void add_choice(const struct linear *linear, const struct term *term, int count,
                     const double *numbers, const int32_t *categories, double *sums,
                     int64_t stride) {
    const uint32_t outputs = linear->n_outputs;
    const double *weights = linear->weights + term->weights;
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

#define LOG2_E 1.4426950408889634
#define LN_2_HIGH 6.93147180369123816490e-01 /* its last bits are 0: whole multiples are exact */
#define LN_2_LOW 1.90821492927058770002e-10
#define ROUNDER 6755399441055744.0 /* 1.5 * 2^52: adding it leaves an integer in the last bits */

/* e to the power of x, for |x| <= 708 or NaN, within 2 ulp. The C library's cannot be vectorised.
 * Reduced to |r| <= ln(2) / 2 (Cody and Waite), where 13 terms of Taylor's series are enough. */
PART double power_of_e(double x) {
    const double rounded = x * LOG2_E + ROUNDER, whole = rounded - ROUNDER;
    const double r = (x - whole * LN_2_HIGH) - whole * LN_2_LOW;
    const double square = r * r; /* two sums, of odd and of even powers, wait half as long */
    double odd = 1.0 / 6227020800.0, even = 1.0 / 479001600.0;
    odd = odd * square + 1.0 / 39916800.0;
    even = even * square + 1.0 / 3628800.0;
    odd = odd * square + 1.0 / 362880.0;
    even = even * square + 1.0 / 40320.0;
    odd = odd * square + 1.0 / 5040.0;
    even = even * square + 1.0 / 720.0;
    odd = odd * square + 1.0 / 120.0;
    even = even * square + 1.0 / 24.0;
    odd = odd * square + 1.0 / 6.0;
    even = even * square + 0.5;
    odd = odd * square + 1.0;
    even = even * square + 1.0;
    const double sum = even + odd * r;
    uint64_t bits;
    memcpy(&bits, &rounded, sizeof bits);
    bits = (bits << 52) + 0x3ff0000000000000u;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return sum * scale;
}

#define FARTHEST 708.0 /* beyond it a probability differs from 0 or 1 by less than 1e-307 */

/* 1 / (1 + exp(-x)) */
PART void take_sigmoid(int count, double *x) {
    /* In loops of their own, or the compiler makes branches for the bounds, and no vectors. */
    EACH(-x[row] > FARTHEST ? FARTHEST : -x[row]);
    EACH(x[row] < -FARTHEST ? -FARTHEST : x[row]);
    EACH(1.0 / (1.0 + power_of_e(x[row])));
}

PART void finish(const struct linear *linear, int count, double *sums, int64_t stride) {
    for (uint32_t d = 0; d < linear->n_outputs; d++) {
        const double base = linear->bases[d];
        double *to = sums + d * stride;
        for (int row = 0; row < count; row++) to[row] += base;
        if (linear->link == LINEAR_SIGMOID) take_sigmoid(count, to);
    }
}

void linear_predict_one(const struct linear *linear, const double *numbers,
                        const int32_t *categories, double *out) {
    for (uint32_t d = 0; d < linear->n_outputs; d++) out[d] = 0.0;
    for (uint32_t i = 0; i < linear->n_terms; i++) {
        const struct term *term = &linear->terms[i];
        double number = numbers[term->input];
        if (term->kind == TERM_NUMBER) add_number(linear, term, 1, &number, out, 1);
        else add_choice(linear, term, 1, &number, categories + term->input, out, 1);
    }
    finish(linear, 1, out, 1);
}

#ifdef WITH_X86
#include <immintrin.h>

/* Whether a term is a weight times what stands in a column. */
PART int is_bare(const struct linear *linear, const struct term *term,
                 const struct input_rows *inputs) {
    const struct input_rows *input = &inputs[term->input];
    const enum input_kind kind = linear->input_kinds[term->input];
    return term->kind == TERM_NUMBER && term->count == 0 && input->stride == 1 &&
           !input->validity && (kind == INPUT_F32 || kind == INPUT_F64);
}

#define SUMS 8 /* vectors of four: as many as fit the registers */
#define COLUMNS_ROWS (4 * SUMS)
/* Many columns are read at once, more than the processor sees coming. They are fetched into the
 * second cache: in the first, those that begin at like places of a page drive each other out. */
#define AHEAD_BYTES 1024
#define FETCH(address) _mm_prefetch((const char *)(address) + AHEAD_BYTES, _MM_HINT_T1)

/* Add what columns contribute to the only output of some rows, whose sums stay in registers. */
__attribute__((target("avx2"))) static void
add_columns(const struct linear *linear, uint32_t from, uint32_t to,
            const struct input_rows *inputs, int64_t first, double *sums) {
    __m256d sum[SUMS];
    for (int k = 0; k < SUMS; k++) sum[k] = _mm256_loadu_pd(sums + 4 * k);
    for (uint32_t i = from; i < to; i++) {
        const struct term *term = &linear->terms[i];
        const struct input_rows *input = &inputs[term->input];
        const __m256d weight = _mm256_broadcast_sd(&linear->weights[term->weights]);
        if (linear->input_kinds[term->input] == INPUT_F32) {
            const float *x = (const float *)input->values + input->offset + first;
            for (int k = 0; k < SUMS; k += 4) FETCH(x + 4 * k);
            for (int k = 0; k < SUMS; k++) {
                const __m256d numbers = _mm256_cvtps_pd(_mm_loadu_ps(x + 4 * k));
                sum[k] = _mm256_add_pd(sum[k], _mm256_mul_pd(weight, numbers));
            }
        } else {
            const double *x = (const double *)input->values + input->offset + first;
            for (int k = 0; k < SUMS; k += 2) FETCH(x + 4 * k);
            for (int k = 0; k < SUMS; k++) {
                const __m256d numbers = _mm256_loadu_pd(x + 4 * k);
                sum[k] = _mm256_add_pd(sum[k], _mm256_mul_pd(weight, numbers));
            }
        }
    }
    for (int k = 0; k < SUMS; k++) _mm256_storeu_pd(sums + 4 * k, sum[k]);
}

/* Add the bare terms from one on, for a whole block, to the sums of the only output; gives the
 * first term that isn't one. */
PART uint32_t add_bare(const struct linear *linear, uint32_t from, const struct input_rows *inputs,
                       int64_t first, double *sums) {
    uint32_t to = from;
    while (to < linear->n_terms && is_bare(linear, &linear->terms[to], inputs)) to++;
    if (from < to)
        for (int start = 0; start < BLOCK_ROWS; start += COLUMNS_ROWS)
            add_columns(linear, from, to, inputs, first + start, sums + start);
    return to;
}
#endif

/* `wide` is known when this is compiled: whether there are the instructions for `add_bare`. */
PART void predict_blocks(const struct linear *linear, const struct input_rows *inputs,
                         int64_t rows, double *out, int64_t out_stride, int wide) {
    (void)wide; /* only x86 asks */
    double numbers[BLOCK_ROWS];
    int32_t categories[BLOCK_ROWS];
    for (int64_t first = 0; first < rows; first += BLOCK_ROWS) {
        const int count = rows - first < BLOCK_ROWS ? (int)(rows - first) : BLOCK_ROWS;
        double *sums = out + first;
        for (uint32_t d = 0; d < linear->n_outputs; d++)
            for (int row = 0; row < count; row++) sums[d * out_stride + row] = 0.0;
        for (uint32_t i = 0; i < linear->n_terms; i++) {
#ifdef WITH_X86
            if (wide && linear->n_outputs == 1 && count == BLOCK_ROWS) {
                i = add_bare(linear, i, inputs, first, sums);
                if (i == linear->n_terms) break;
            }
#endif
            const struct term *term = &linear->terms[i];
            const struct input_rows *input = &inputs[term->input];
            if (term->kind == TERM_TEXT) read_categories(input, first, count, categories);
            else read_numbers(linear->input_kinds[term->input], input, first, count, numbers);
            if (term->kind == TERM_NUMBER)
                add_number(linear, term, count, numbers, sums, out_stride);
            else add_choice(linear, term, count, numbers, categories, sums, out_stride);
        }
        finish(linear, count, sums, out_stride);
    }
}

static void predict_plain(const struct linear *linear, const struct input_rows *inputs,
                          int64_t rows, double *out, int64_t out_stride) {
    predict_blocks(linear, inputs, rows, out, out_stride, 0);
}

#ifdef WITH_X86
__attribute__((target("avx2"))) static void
predict_avx2(const struct linear *linear, const struct input_rows *inputs, int64_t rows,
             double *out, int64_t out_stride) {
    predict_blocks(linear, inputs, rows, out, out_stride, 1);
}
#endif

void linear_predict(const struct linear *linear, const struct input_rows *inputs, int64_t rows,
                    double *out, int64_t out_stride) {
#ifdef WITH_X86
    if (instructions() >= AVX2) {
        predict_avx2(linear, inputs, rows, out, out_stride);
        return;
    }
#endif
    predict_plain(linear, inputs, rows, out, out_stride);
}
