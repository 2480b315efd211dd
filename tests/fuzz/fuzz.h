/* What the kernel's fuzzers share: models as bytes and damage to them, rows, comparing.
 *
 * A fuzzer says what it knows of its models in a `struct fuzzed`, and fuzz() does the rest. Each
 * case makes a valid model and compares it; then it damages copies, and compares those that are
 * accepted. A case makes the same models and rows whatever instructions there are.
 *
 * For every set of instructions that the processor has, one row and many must give the same bits,
 * and what the fuzzer's naive way of predicting gives. Only one NaN may stand for another: its
 * sign and payload are the compiler's choice; whether there is one is not.
 */
#ifndef TWOFOLD_FUZZ_H
#define TWOFOLD_FUZZ_H

#include "cases.h"

#include <math.h>
#include <string.h>

#include "inputs.h"
#include "instructions.h"

#define MAX_ROWS 200
#define MAX_MANY_ROWS 1200 /* now and then: more than forest_predict takes at once */
#define MUTANTS 24
#define MAX_PARTS 9
#define MAX_ITEM 32 /* bytes */

/* ---- numbers ----------------------------------------------------------------------------- */

static double from_bits(uint64_t bits) {
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* A number as data have them: neither hides what others of its kind add to a sum. */
static double plain_number(void) {
    switch (below(3)) {
    case 0: return (double)below(41) - 20.0;
    case 1: return ((double)below(2001) - 1000.0) / 7.0;
    default: return (double)(float)(((double)below(2001) - 1000.0) / 7.0);
    }
}

static double finite_number(void) {
    switch (below(7)) {
    case 0: return (one_in(2) ? -1.0 : 1.0) * (9007199254740992.0 + 2.0 * below(8)); /* 2^53 */
    case 1: return from_bits((word() & 0x800000000000000fu) | 1); /* the least there are */
    case 2: return one_in(2) ? 0.0 : -0.0;
    case 3: {
        const double number = from_bits(word());
        return isfinite(number) ? number : 0.5;
    }
    default: return plain_number();
    }
}

/* One in so many is odd. */
static double any_number(uint32_t rarity) {
    if (!one_in(rarity)) return plain_number();
    switch (below(4)) {
    case 0: return INFINITY;
    case 1: return -INFINITY;
    case 2: return (double)NAN;
    default: return finite_number();
    }
}

static int by_number(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Ascending numbers without equals, at most as many as wanted; the caller frees them. */
static double *any_edges(uint32_t wanted, uint32_t *count) {
    double *made = checked(malloc((wanted + 1) * sizeof *made));
    for (uint32_t i = 0; i < wanted; i++)
        made[i] = wanted > 700 ? (double)i + below(2) / 2.0 : finite_number();
    if (wanted > 2 && one_in(4)) made[0] = -INFINITY;
    if (wanted > 2 && one_in(4)) made[1] = INFINITY;
    qsort(made, wanted, sizeof *made, by_number);
    *count = 0;
    for (uint32_t i = 0; i < wanted; i++)
        if (!*count || made[*count - 1] < made[i]) made[(*count)++] = made[i];
    return made;
}

/* ---- a model, as bytes ------------------------------------------------------------------- */

struct part {
    uint8_t *bytes;
    size_t size, room, item; /* in bytes */
};

/* The parts of a model file, and what stands beside them; a linear model has only a link. */
struct model {
    struct part parts[MAX_PARTS];
    int n_parts;
    uint32_t dimensions;
    int single, link;
    double scale, divisor;
};

static void begin_model(struct model *model, const size_t *items, int n_parts) {
    memset(model, 0, sizeof *model);
    model->n_parts = n_parts;
    for (int i = 0; i < n_parts; i++) model->parts[i].item = items[i];
}

static void free_model(struct model *model) {
    for (int i = 0; i < model->n_parts; i++) free(model->parts[i].bytes);
}

static void add_bytes(struct part *part, const void *bytes, size_t size) {
    if (part->size + size > part->room) {
        part->room = 2 * (part->size + size);
        part->bytes = checked(realloc(part->bytes, part->room));
    }
    if (size) memcpy(part->bytes + part->size, bytes, size);
    part->size += size;
}

static void copy_model(const struct model *from, struct model *to) {
    *to = *from;
    for (int i = 0; i < to->n_parts; i++) {
        struct part *part = &to->parts[i];
        part->bytes = NULL;
        part->size = part->room = 0;
        add_bytes(part, from->parts[i].bytes, from->parts[i].size);
    }
}

static void add(struct model *model, int name, const void *items, size_t count) {
    add_bytes(&model->parts[name], items, count * model->parts[name].item);
}

static uint32_t count_of(const struct model *model, int name) {
    return (uint32_t)(model->parts[name].size / model->parts[name].item);
}

static void get(const struct model *model, int name, uint32_t index, void *item) {
    const struct part *part = &model->parts[name];
    memcpy(item, part->bytes + index * part->item, part->item);
}

static void set(struct model *model, int name, uint32_t index, const void *item) {
    const struct part *part = &model->parts[name];
    memcpy(part->bytes + index * part->item, item, part->item);
}

/* A copy of a part without a byte to spare; NULL if it isn't whole items. */
static void *copied(const struct model *model, int name, uint32_t *count) {
    const struct part *part = &model->parts[name];
    if (part->size % part->item) return NULL;
    *count = count_of(model, name);
    void *copy = checked(malloc(part->size));
    if (part->size) memcpy(copy, part->bytes, part->size);
    return copy;
}

/* ---- damage ------------------------------------------------------------------------------ */

static uint64_t telling_word(const struct model *model) {
    const uint64_t words[] = {0,     1,     2,        7,          8,          63,   64,
                              254,   255,   256,      4095,       4096,       4097, 65534,
                              65535, 65536, ~0u,      0xfffffffe, 0x80000000, 1ull << 63, ~0ull};
    const uint32_t n_words = sizeof words / sizeof *words;
    if (one_in(2)) return words[below(n_words)];
    if (one_in(4)) return word();
    return count_of(model, (int)below((uint32_t)model->n_parts)) + between(0, 2) - 1ull;
}

static void mutate_word(struct model *model, int name) {
    struct part *part = &model->parts[name];
    const size_t width = (size_t)1 << below(4); /* 1, 2, 4 or 8 bytes */
    if (part->size < width) return;
    uint8_t *at = part->bytes + width * below((uint32_t)(part->size / width));
    uint64_t value = 0;
    memcpy(&value, at, width); /* little-endian, as model files are */
    switch (below(3)) {
    case 0: value ^= 1ull << below(64); break;
    case 1: value += one_in(2) ? 1 : ~0ull; break;
    default: value = telling_word(model); break;
    }
    memcpy(at, &value, width);
}

static void mutate_items(struct model *model, int name) {
    const uint32_t count = count_of(model, name);
    uint8_t a[MAX_ITEM], b[MAX_ITEM];
    if (!count) return;
    const uint32_t from = below(count), to = below(count);
    get(model, name, from, a);
    get(model, name, to, b);
    set(model, name, to, a);
    if (one_in(2)) set(model, name, from, b);
}

static void mutate_size(struct model *model, int name) {
    struct part *part = &model->parts[name];
    const uint32_t count = count_of(model, name);
    const size_t item = one_in(16) ? 1 : part->item;
    if (one_in(2)) part->size -= part->size / item ? item * between(1, one_in(4) ? count : 1) : 0;
    else
        for (uint32_t k = between(1, 3); k-- > 0;) {
            uint8_t bytes[MAX_ITEM];
            for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = one_in(2) ? 0 : (uint8_t)word();
            if (count && one_in(2)) get(model, name, below(count), bytes);
            add_bytes(part, bytes, item);
        }
}

/* Damage of any kind to a part. */
static void mutate_part(struct model *model, int name) {
    switch (below(9)) {
    case 0: mutate_size(model, name); break;
    case 1: mutate_items(model, name); break;
    default: mutate_word(model, name); break;
    }
}

/* ---- what is fuzzed ---------------------------------------------------------------------- */

/* A model as the kernel has it. */
struct taken {
    void *kernel;
    const uint8_t *kinds; /* of its inputs */
    uint32_t n_inputs, n_outputs;
    const double *edges; /* that the rows should come near */
    uint32_t n_edges;
};

struct rows {
    int64_t n;
    uint32_t n_inputs;
    uint32_t rarity;     /* one in so many numbers is odd; one in so many bytes has nulls */
    int are_columns;     /* of their own, without nulls */
    struct input_rows *inputs;
    double *numbers;     /* [row][input]: what predicting one row is given */
    int32_t *categories; /* [row][input] */
};

typedef void predict_row(const void *kernel, const double *numbers, const int32_t *categories,
                         double *out);

struct fuzzed {
    const char *models; /* what they are called */
    void (*make)(struct model *);
    void (*mutate)(struct model *);

    /* With the checks of src/kernel/module.c; NULL, or what is wrong with it. */
    const char *(*take)(const struct model *, struct taken *);
    void (*drop)(struct taken *);
    void (*count_ways)(const struct taken *, const struct rows *);
    struct way *ways;
    int n_ways;

    /* By the kernel: one row, and many into [output][row]. */
    predict_row *predict_one;
    void (*predict)(const void *kernel, const struct input_rows *inputs, int64_t rows, double *out,
                    int64_t stride);

    /* One row in the plainest way, and whether the kernel's number is what it gave. */
    predict_row *naive;
    int (*fits)(const void *kernel, double found, double naive);
};

static const struct fuzzed *fuzzed;

/* ---- rows -------------------------------------------------------------------------------- */

/* A number on, just beside or away from the edges. */
static double number_near(const struct taken *taken, uint32_t rarity) {
    if (!taken->n_edges || one_in(4)) return any_number(rarity);
    const double edge = taken->edges[below(taken->n_edges)];
    return one_in(2) ? edge : nextafter(edge, one_in(2) ? INFINITY : -INFINITY);
}

static int64_t integer_near(const struct taken *taken, uint32_t rarity) {
    const double number = number_near(taken, rarity);
    if (fabs(number) < 9e18) return (int64_t)number;
    return one_in(2) ? (int64_t)word() : one_in(2) ? INT64_MIN : INT64_MAX;
}

/* Bits of which one byte in so many isn't all ones. */
static uint8_t *any_bits(int64_t bits, uint32_t rarity) {
    const size_t size = (size_t)(bits + 7) / 8;
    uint8_t *made = checked(malloc(size));
    for (size_t i = 0; i < size; i++) made[i] = one_in(rarity) ? (uint8_t)word() : 0xff;
    return made;
}

static int bit(const uint8_t *bits, int64_t at) { return bits[at / 8] >> (at % 8) & 1; }

static int32_t any_index(void) { return one_in(8) ? (int32_t)word() : (int32_t)below(50); }

static void *any_values(const struct taken *taken, enum input_kind kind, int64_t count,
                        uint32_t rarity) {
    if (kind == INPUT_BOOL) return any_bits(count, 1);
    const size_t item = kind == INPUT_F32 || kind == INPUT_TEXT ? 4 : 8;
    void *made = checked(malloc((size_t)count * item));
    for (int64_t i = 0; i < count; i++) switch (kind) {
        case INPUT_F32: ((float *)made)[i] = (float)number_near(taken, rarity); break;
        case INPUT_I64: ((int64_t *)made)[i] = integer_near(taken, rarity); break;
        case INPUT_TEXT: ((int32_t *)made)[i] = any_index(); break;
        default: ((double *)made)[i] = number_near(taken, rarity); break;
        }
    return made;
}

static int32_t *any_mapping(int64_t count) {
    int32_t *made = checked(malloc((size_t)count * sizeof *made));
    for (int64_t i = 0; i < count; i++)
        made[i] = one_in(16) ? (int32_t)word() : (int32_t)below(one_in(4) ? 8000 : 48) - 5;
    return made;
}

static void read_row(enum input_kind kind, const struct input_rows *input, int64_t row,
                     double *number, int32_t *category) {
    const int64_t at = input->offset + row * input->stride;
    const int null = input->validity && !bit(input->validity, input->offset / input->stride + row);
    switch (kind) {
    case INPUT_F64: *number = ((const double *)input->values)[at]; break;
    case INPUT_F32: *number = (double)((const float *)input->values)[at]; break;
    case INPUT_I64: *number = (double)((const int64_t *)input->values)[at]; break;
    case INPUT_BOOL: *number = bit(input->values, at); break;
    default: {
        const int32_t index = ((const int32_t *)input->values)[at];
        const int known = index >= 0 && index < input->n_mapping;
        *category = null ? CATEGORY_NULL : known ? input->mapping[index] : CATEGORY_UNKNOWN;
        return;
    }
    }
    if (null) *number = (double)NAN;
}

static void make_input(const struct taken *taken, const struct rows *rows, enum input_kind kind,
                       struct input_rows *input) {
    const int64_t n = rows->n;
    const int is_column = rows->are_columns || one_in(2), has_nulls = !rows->are_columns;
    input->stride = kind == INPUT_TEXT || is_column ? 1 : between(1, 5);
    input->offset = one_in(2) ? 0 : below(70) * input->stride + below((uint32_t)input->stride);
    input->values = any_values(taken, kind, n ? input->offset + (n - 1) * input->stride + 1 : 0,
                               rows->rarity);
    if (has_nulls && one_in(2))
        input->validity = any_bits(n ? input->offset / input->stride + n : 0, rows->rarity);
    if (kind == INPUT_TEXT) {
        input->n_mapping = below(50);
        input->mapping = any_mapping(input->n_mapping);
    }
}

static void make_rows(const struct taken *taken, int64_t n, struct rows *rows) {
    const size_t cells = (size_t)n * taken->n_inputs;
    const uint32_t rarities[] = {2, 8, 64, 4096};
    rows->n = n;
    rows->n_inputs = taken->n_inputs;
    rows->rarity = rarities[below(4)];
    rows->are_columns = one_in(3);
    rows->inputs = checked(calloc(taken->n_inputs, sizeof *rows->inputs));
    rows->numbers = checked(malloc(cells * sizeof *rows->numbers));
    rows->categories = checked(malloc(cells * sizeof *rows->categories));
    for (uint32_t i = 0; i < taken->n_inputs; i++) {
        const enum input_kind kind = taken->kinds[i];
        make_input(taken, rows, kind, &rows->inputs[i]);
        for (int64_t row = 0; row < n; row++) {
            const size_t at = (size_t)row * taken->n_inputs + i;
            rows->numbers[at] = 1e9; /* what a kind doesn't have stays wrong */
            rows->categories[at] = 7;
            read_row(kind, &rows->inputs[i], row, &rows->numbers[at], &rows->categories[at]);
        }
    }
}

static void free_rows(struct rows *rows) {
    for (uint32_t i = 0; i < rows->n_inputs; i++) {
        free((void *)rows->inputs[i].values);
        free((void *)rows->inputs[i].validity);
        free((void *)rows->inputs[i].mapping);
    }
    free(rows->inputs);
    free(rows->numbers);
    free(rows->categories);
}

/* ---- comparing --------------------------------------------------------------------------- */

static const char *sets[INSTRUCTION_SETS];
static int n_sets;

static int are_same(double a, double b) {
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static _Noreturn void fail_at(const char *what, const char *set_name, int64_t row, uint32_t output,
                              double expected, double found) {
    fprintf(stderr, "%s, row %" PRId64 ", output %u: expected %a, got %a\n", set_name, row, output,
            expected, found);
    fail(what);
}

/* Each row alone, into [row][output]. */
static double *predict_singly(predict_row *predict, const struct taken *taken,
                              const struct rows *rows) {
    double *found = checked(malloc((size_t)rows->n * taken->n_outputs * sizeof *found));
    for (int64_t row = 0; row < rows->n; row++)
        predict(taken->kernel, rows->numbers + row * rows->n_inputs,
                rows->categories + row * rows->n_inputs, found + row * taken->n_outputs);
    return found;
}

/* Each row alone must be what the naive way gives, and what the first set gave. */
static void compare_singly(const char *set_name, const struct taken *taken, int64_t n,
                           const double *found, const double *naive, const double *first) {
    for (int64_t row = 0; row < n; row++)
        for (uint32_t d = 0; d < taken->n_outputs; d++) {
            const int64_t at = row * taken->n_outputs + d;
            if (!fuzzed->fits(taken->kernel, found[at], naive[at]))
                fail_at("one row differs from the naive way", set_name, row, d, naive[at],
                        found[at]);
            if (!are_same(found[at], first[at]))
                fail_at("one row differs from set to set", set_name, row, d, first[at], found[at]);
        }
}

/* Many rows must be what each is alone, and nothing beside them may be written. */
static void compare_many(const char *set_name, const struct taken *taken, const struct rows *rows,
                         const double *singly) {
    const int64_t stride = rows->n + (one_in(2) ? 0 : below(4));
    const size_t cells = (size_t)((taken->n_outputs - 1) * stride + rows->n);
    double *out = checked(malloc(cells * sizeof *out)), unwritten;
    memset(out, 0x5a, cells * sizeof *out);
    memset(&unwritten, 0x5a, sizeof unwritten);
    fuzzed->predict(taken->kernel, rows->inputs, rows->n, out, stride);
    for (uint32_t d = 0; d < taken->n_outputs; d++)
        for (int64_t row = 0; row < stride && d * stride + row < (int64_t)cells; row++) {
            const double found = out[d * stride + row];
            const double expected = row < rows->n ? singly[row * taken->n_outputs + d] : unwritten;
            if (!are_same(found, expected))
                fail_at("many rows differ from one", set_name, row, d, expected, found);
        }
    free(out);
}

static void compare_sets(const struct taken *taken, const struct rows *rows) {
    double *naive = predict_singly(fuzzed->naive, taken, rows), *found[INSTRUCTION_SETS];
    for (int i = 0; i < n_sets; i++) {
        if (!use_instructions(sets[i])) fail("instructions were there, and are no more");
        found[i] = predict_singly(fuzzed->predict_one, taken, rows);
        compare_singly(sets[i], taken, rows->n, found[i], naive, found[0]);
        compare_many(sets[i], taken, rows, found[i]);
    }
    for (int i = 0; i < n_sets; i++) free(found[i]);
    free(naive);
}

/* ---- running ----------------------------------------------------------------------------- */

static void compare(const struct taken *taken, int64_t n, int is_valid) {
    struct rows rows;
    make_rows(taken, n, &rows);
    const uint64_t after = word(); /* what comes next doesn't depend on how many sets there are */
    compare_sets(taken, &rows);
    chance = after;
    if (is_valid) fuzzed->count_ways(taken, &rows);
    free_rows(&rows);
}

static void try_mutant(const struct model *model) {
    struct model mutant;
    struct taken taken;
    copy_model(model, &mutant);
    for (uint32_t k = between(1, 3); k-- > 0;) fuzzed->mutate(&mutant);
    if (fuzzed->take(&mutant, &taken)) tally.refused++;
    else {
        tally.accepted++;
        compare(&taken, between(1, 70), 0);
    }
    fuzzed->drop(&taken);
    free_model(&mutant);
}

static void run_case(void) {
    struct model model;
    struct taken taken;
    fuzzed->make(&model);
    const char *wrong = fuzzed->take(&model, &taken);
    if (wrong) {
        fprintf(stderr, "refused: %s\n", wrong);
        fail("a valid model was refused");
    }
    compare(&taken, below((one_in(16) ? MAX_MANY_ROWS : MAX_ROWS) + 1), 1);
    tally.compared++;
    fuzzed->drop(&taken);
    for (int i = 0; i < MUTANTS; i++) try_mutant(&model);
    free_model(&model);
}

static void find_sets(void) {
    const char *known[INSTRUCTION_SETS] = {"avx512", "avx2", "plain"};
    printf("instructions:");
    for (int i = 0; i < INSTRUCTION_SETS; i++)
        if (use_instructions(known[i])) {
            sets[n_sets++] = known[i];
            printf(" %s%s", known[i], can_look_up() ? " with look-ups" : "");
        }
    printf("\n");
}

static int fuzz(const struct fuzzed *which, int argc, char **argv) {
    fuzzed = which;
    find_sets();
    run_cases(fuzzed->models, run_case, argc, argv);
    return report(fuzzed->models, fuzzed->ways, fuzzed->n_ways);
}

#endif
