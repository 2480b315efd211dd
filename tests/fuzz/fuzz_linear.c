/* A bounded fuzz of the kernel's linear models under sanitizers; `make fuzz` builds and runs it.
 *
 *     fuzz_linear [seconds] [seed]
 *
 * Each case makes a valid linear model, as the bytes a model file would hold, and rows for it.
 * What linear_predict and, row by row, linear_predict_one give under every set of instructions
 * that the processor has must be the same bits, and those of a naive sum written here. Only the
 * link's probability isn't: the kernel has an exponential of its own, which has to come near the
 * C library's. Then bytes, words, items and sizes of the model are changed at random. linear_check
 * may refuse what comes out; what it accepts must predict without a report of the sanitizers, and
 * alike on every path.
 *
 * Bytes become a model as in src/kernel/module.c, with the same checks before linear_check, except
 * that every array is exactly as large as its contents, so that the first byte beyond it is
 * reported.
 *
 * Case k of a run is the first case of the seed `seed + k`. A failure names its seed: repeat it
 * alone with `fuzz_linear 0 SEED`.
 */
#include "fuzz.h"

#include "forest.h" /* MAX_OUTPUTS */
#include "linear.h"

#define MAX_INPUTS 8
#define MAX_COLUMNS 40 /* inputs of a model that is mostly bare columns */
#define MAX_TERMS 12
#define MAX_COLUMN_TERMS 60
#define MAX_STEPS 4 /* of a term, and those that make them fit */

enum part_name { KINDS, TERMS, CHAINS, EDGES, WEIGHTS, BASES, PARTS };

static const size_t ITEMS[PARTS] = {
    [KINDS] = 1,
    [TERMS] = sizeof(struct term),
    [CHAINS] = sizeof(struct step),
    [EDGES] = sizeof(double),
    [WEIGHTS] = sizeof(double),
    [BASES] = sizeof(double),
};

/* ---- bytes become a model, as in src/kernel/module.c ------------------------------------- */

static const char *take_linear(const struct model *model, struct linear *linear) {
    linear->link = model->link;
    linear->input_kinds = copied(model, KINDS, &linear->n_inputs);
    linear->terms = copied(model, TERMS, &linear->n_terms);
    linear->steps = copied(model, CHAINS, &linear->n_steps);
    linear->edges = copied(model, EDGES, &linear->n_edges);
    linear->weights = copied(model, WEIGHTS, &linear->n_weights);
    linear->bases = copied(model, BASES, &linear->n_outputs);
    if (!linear->input_kinds || !linear->terms || !linear->steps || !linear->edges ||
        !linear->weights || !linear->bases)
        return "a part has a wrong size";
    if (!linear->n_inputs) return "the number of inputs is wrong";
    if (!linear->n_outputs || linear->n_outputs > MAX_OUTPUTS)
        return "the number of outputs is wrong";
    return linear_check(linear);
}

static const char *take(const struct model *model, struct taken *taken) {
    struct linear *linear = checked(calloc(1, sizeof *linear));
    const char *wrong = take_linear(model, linear);
    *taken = (struct taken){
        .kernel = linear,
        .kinds = linear->input_kinds,
        .n_inputs = linear->n_inputs,
        .n_outputs = linear->n_outputs,
        .edges = linear->edges,
        .n_edges = linear->n_edges,
    };
    return wrong;
}

static void drop(struct taken *taken) {
    linear_free(taken->kernel);
    free(taken->kernel);
}

/* ---- valid models ------------------------------------------------------------------------ */

static void add_step(struct model *model, struct term *term, enum step_name name, double value,
                     double upper) {
    const struct step step = {name, 0, value, upper};
    add(model, CHAINS, &step, 1);
    term->count++;
}

/* A step of any name; mostly after one that brings numbers to where it gives numbers, as neither
 * NaN nor what is huge tells whether the other terms were added, and in which order. */
static void add_any_step(struct model *model, struct term *term) {
    const enum step_name name = (enum step_name)below(STEPS);
    const int is_positive = name == STEP_LOG || name == STEP_LOG2 || name == STEP_LOG10 ||
                            name == STEP_LOG1P || name == STEP_SQRT;
    const int is_small = name == STEP_EXP || name == STEP_EXPM1;
    if (is_positive && !one_in(4)) add_step(model, term, STEP_CLIP, 0.125, 1000.0);
    if (is_small && !one_in(4)) add_step(model, term, STEP_CLIP, -3.0, 3.0);
    add_step(model, term, name, any_number(32), any_number(32));
}

static void add_steps(struct model *model, struct term *term) {
    term->first = count_of(model, CHAINS);
    if (one_in(2)) return;
    if (term->first && one_in(8)) { /* some steps of other terms */
        term->first = below(term->first);
        term->count = between(0, count_of(model, CHAINS) - term->first);
        return;
    }
    if (!one_in(3)) add_step(model, term, STEP_FILL, plain_number(), 0.0);
    for (uint32_t k = below(MAX_STEPS + 1); k-- > 0;) add_any_step(model, term);
}

static void add_edges(struct model *model, struct term *term) {
    const uint32_t n_terms = count_of(model, TERMS);
    struct term other = {.kind = TERM_TEXT};
    if (n_terms && one_in(4)) get(model, TERMS, below(n_terms), &other);
    if (other.kind == TERM_LEVELS) { /* the edges of another term, or some of them */
        term->first = other.first + below(other.count + 1);
        term->count = between(0, other.first + other.count - term->first);
        return;
    }
    double *edges = any_edges(one_in(20) ? between(1, 800) : below(20), &term->count);
    term->first = count_of(model, EDGES);
    add(model, EDGES, edges, term->count);
    free(edges);
}

/* Weights of an order of magnitude of their own, or, now and then, those of other terms. */
static void add_weights(struct model *model, struct term *term, uint32_t count, double size) {
    term->weights = count_of(model, WEIGHTS);
    if (term->weights >= count && one_in(8)) {
        term->weights = below(term->weights - count + 1);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const double weight = size * any_number(2000);
        add(model, WEIGHTS, &weight, 1);
    }
}

static void add_term(struct model *model, int is_bare, double size) {
    struct term term = {.input = below(count_of(model, KINDS))};
    const uint32_t n_outputs = count_of(model, BASES);
    const int is_text = model->parts[KINDS].bytes[term.input] == INPUT_TEXT;
    term.kind = is_text ? TERM_TEXT : is_bare || one_in(2) ? TERM_NUMBER : TERM_LEVELS;
    if (is_text) {
        term.first = one_in(2) ? 0 : (uint32_t)word(); /* has no meaning */
        term.count = below(48);
    } else if (term.kind == TERM_LEVELS) add_edges(model, &term);
    else if (is_bare) term.first = below(count_of(model, CHAINS) + 1);
    else add_steps(model, &term);
    const uint32_t choices = term.kind == TERM_NUMBER ? 1 : term.count + 2;
    add_weights(model, &term, choices * n_outputs, size);
    add(model, TERMS, &term, 1);
}

static void add_inputs(struct model *model, int are_bare) {
    for (uint32_t k = between(1, are_bare ? MAX_COLUMNS : MAX_INPUTS); k-- > 0;) {
        const uint8_t any = (uint8_t)below(INPUT_KINDS);
        const uint8_t kind = !are_bare || one_in(20) ? any : one_in(2) ? INPUT_F32 : INPUT_F64;
        add(model, KINDS, &kind, 1);
    }
}

/* Either a bit of everything, or mostly columns times weights for one output. */
static void make(struct model *model) {
    const double sizes[] = {1.0, 1e-2, 1e-4};
    const double size = sizes[below(3)]; /* the link tells more where sums aren't far from 0 */
    const int are_bare = one_in(2);
    const uint32_t n_outputs = are_bare || one_in(3) ? 1 : between(2, 20);
    begin_model(model, ITEMS, PARTS);
    add_inputs(model, are_bare);
    for (uint32_t d = 0; d < n_outputs; d++) {
        const double base = one_in(3) ? 0.0 : size * any_number(200);
        add(model, BASES, &base, 1);
    }
    for (uint32_t k = below((are_bare ? MAX_COLUMN_TERMS : MAX_TERMS) + 1); k-- > 0;)
        add_term(model, are_bare && !one_in(20), size);
    model->link = one_in(2) ? LINEAR_NONE : LINEAR_SIGMOID;
}

/* ---- predicting -------------------------------------------------------------------------- */

static double stepped(const struct step *step, double x) {
    switch (step->name) {
    case STEP_FILL: return isnan(x) ? step->value : x;
    case STEP_SUBTRACT: return x - step->value;
    case STEP_DIVIDE: return x / step->value;
    case STEP_MULTIPLY: return x * step->value;
    case STEP_ADD: return x + step->value;
    case STEP_FLOAT32: return (double)(float)x;
    case STEP_CLIP:
        if (x < step->value) return step->value;
        return x > step->upper ? step->upper : x;
    case STEP_LOG: return log(x);
    case STEP_LOG1P: return log1p(x);
    case STEP_LOG2: return log2(x);
    case STEP_LOG10: return log10(x);
    case STEP_EXP: return exp(x);
    case STEP_EXPM1: return expm1(x);
    case STEP_SQRT: return sqrt(x);
    case STEP_CBRT: return cbrt(x);
    default: fail("a step that is unknown was accepted");
    }
}

static uint32_t naive_choice(const struct linear *linear, const struct term *term, double number,
                             int32_t category) {
    const uint32_t missing = term->count + 1;
    if (term->kind == TERM_TEXT) {
        if (category == CATEGORY_NULL) return missing;
        return category >= 0 && (uint32_t)category < term->count ? (uint32_t)category : term->count;
    }
    if (isnan(number)) return missing;
    uint32_t range = 0;
    while (range < term->count && linear->edges[term->first + range] < number) range++;
    return range;
}

/* The sums, without the link. */
static void naive(const void *kernel, const double *numbers, const int32_t *categories,
                  double *out) {
    const struct linear *linear = kernel;
    const uint32_t n_outputs = linear->n_outputs;
    for (uint32_t d = 0; d < n_outputs; d++) out[d] = 0.0;
    for (uint32_t i = 0; i < linear->n_terms; i++) {
        const struct term *term = &linear->terms[i];
        const double *weights = linear->weights + term->weights;
        double x = numbers[term->input];
        if (term->kind == TERM_NUMBER) {
            for (uint32_t k = 0; k < term->count; k++)
                x = stepped(&linear->steps[term->first + k], x);
            for (uint32_t d = 0; d < n_outputs; d++) out[d] += weights[d] * x;
        } else {
            const uint32_t choice = naive_choice(linear, term, x, categories[term->input]);
            for (uint32_t d = 0; d < n_outputs; d++)
                out[d] += weights[(size_t)choice * n_outputs + d];
        }
    }
    for (uint32_t d = 0; d < n_outputs; d++) out[d] += linear->bases[d];
}

#define FAR 700.0 /* the kernel's exponential ends a bit beyond */

static int fits(const void *kernel, double found, double sum) {
    const struct linear *linear = kernel;
    if (linear->link == LINEAR_NONE) return are_same(found, sum);
    const double expected = 1.0 / (1.0 + exp(-sum));
    if (isnan(expected)) return isnan(found);
    const double off = fabs(found - expected);
    return off <= 1e-14 && (fabs(sum) >= FAR || off <= 4e-15 * expected);
}

static void predict_one(const void *kernel, const double *numbers, const int32_t *categories,
                        double *out) {
    linear_predict_one(kernel, numbers, categories, out);
}

static void predict(const void *kernel, const struct input_rows *inputs, int64_t rows, double *out,
                    int64_t stride) {
    linear_predict(kernel, inputs, rows, out, stride);
}

/* ---- ways through the kernel ------------------------------------------------------------- */

enum { BARE, STEPPED, LEVELS, TEXT, SEVERAL, LINKED, WAYS };

static struct way ways[WAYS] = {
    [BARE] = {"with columns in a row for one output of whole blocks", 0},
    [STEPPED] = {"with steps", 0},
    [LEVELS] = {"with levels", 0},
    [TEXT] = {"with text", 0},
    [SEVERAL] = {"of several outputs", 0},
    [LINKED] = {"with a link", 0},
};

static int is_bare(const struct linear *linear, const struct term *term, const struct rows *rows) {
    const uint8_t kind = linear->input_kinds[term->input];
    const struct input_rows *input = &rows->inputs[term->input];
    return term->kind == TERM_NUMBER && !term->count && input->stride == 1 && !input->validity &&
           (kind == INPUT_F32 || kind == INPUT_F64);
}

static void count_ways(const struct taken *taken, const struct rows *rows) {
    const struct linear *linear = taken->kernel;
    uint32_t run = 0, longest = 0;
    int has[WAYS] = {0};
    if (!rows->n) return;
    for (uint32_t i = 0; i < linear->n_terms; i++) {
        const struct term *term = &linear->terms[i];
        has[STEPPED] |= term->kind == TERM_NUMBER && term->count;
        has[LEVELS] |= term->kind == TERM_LEVELS;
        has[TEXT] |= term->kind == TERM_TEXT;
        run = is_bare(linear, term, rows) ? run + 1 : 0;
        if (run > longest) longest = run;
    }
    has[BARE] = longest > 1 && linear->n_outputs == 1 && rows->n >= BLOCK_ROWS;
    has[SEVERAL] = linear->n_outputs > 1;
    has[LINKED] = linear->link != LINEAR_NONE;
    for (int i = 0; i < WAYS; i++) ways[i].count += (uint64_t)has[i];
}

/* ---- damage ------------------------------------------------------------------------------ */

static void mutate(struct model *model) {
    const int any = (int)below(PARTS);
    if (one_in(20)) model->link = one_in(4) ? (int)(uint32_t)word() : (int)below(4) - 1;
    else mutate_part(model, one_in(2) ? TERMS : any);
}

int main(int argc, char **argv) {
    const struct fuzzed linear_models = {
        .models = "linear models",
        .make = make,
        .mutate = mutate,
        .take = take,
        .drop = drop,
        .count_ways = count_ways,
        .ways = ways,
        .n_ways = WAYS,
        .predict_one = predict_one,
        .predict = predict,
        .naive = naive,
        .fits = fits,
    };
    return fuzz(&linear_models, argc, argv);
}
