/* Linear models: what each input contributes to each output, summed in the order of the terms.
 *
 * One-hot columns are never made: a category's contribution is looked up. Sums are double, one
 * multiplication and one addition at a time, so that one row and many give the same bits.
 */
#ifndef TWOFOLD_LINEAR_H
#define TWOFOLD_LINEAR_H

#include "inputs.h"

enum step_name {
    STEP_FILL = 0, /* NaN becomes value */
    STEP_SUBTRACT,
    STEP_DIVIDE,
    STEP_MULTIPLY,
    STEP_ADD,
    STEP_FLOAT32,
    STEP_CLIP, /* to value and upper */
    STEP_LOG,
    STEP_LOG1P,
    STEP_LOG2,
    STEP_LOG10,
    STEP_EXP,
    STEP_EXPM1,
    STEP_SQRT,
    STEP_CBRT,
    STEPS
};

/* The layouts are shared with twofold.predictor. */
struct step {
    uint32_t name;
    uint32_t reserved;
    double value;
    double upper;
};

enum term_kind {
    TERM_NUMBER = 0, /* weights: one per output */
    TERM_LEVELS = 1, /* weights: [range][output] for count + 1 ranges, then missing */
    TERM_TEXT = 2,   /* weights: [category][output], then unknown, then missing */
    TERM_KINDS
};

struct term {
    uint32_t input;
    uint32_t kind;
    uint32_t first; /* of its steps or edges */
    uint32_t count; /* of steps, edges or categories */
    uint32_t weights;
    uint32_t reserved;
};

/* The numbers are those of enum link. */
enum linear_link { LINEAR_NONE = 0, LINEAR_SIGMOID = 1 /* 1 / (1 + exp(-x)) */ };

struct linear {
    uint32_t n_inputs, n_terms, n_steps, n_edges, n_weights, n_outputs;
    int link;
    uint8_t *input_kinds;
    struct term *terms;
    struct step *steps;
    double *edges;
    double *weights;
    double *bases; /* added last */
};

/* Check a model's parts; NULL, or what is wrong with it. */
const char *linear_check(const struct linear *linear);
void linear_free(struct linear *linear);

/* Predict rows into out[output][row]. */
void linear_predict(const struct linear *linear, const struct input_rows *inputs, int64_t rows,
                    double *out, int64_t out_stride);

/* Predict one row; `numbers` and `categories` by input. */
void linear_predict_one(const struct linear *linear, const double *numbers,
                        const int32_t *categories, double *out);

#endif
