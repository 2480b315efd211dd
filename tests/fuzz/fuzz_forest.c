/* A bounded fuzz of the forest kernel under sanitizers; `make fuzz` builds and runs it.
 *
 *     fuzz_forest [seconds] [seed]
 *
 * Each case makes a valid forest, as the bytes a model file would hold, and rows for it. What
 * forest_predict gives under every set of instructions that the processor has must be, bit for
 * bit, what forest_predict_one gives row by row, and what a naive walk written here gives. Only
 * where the forest itself holds NaN may one NaN stand for another: which of two a sum keeps is the
 * compiler's choice. Then bytes, words, items and sizes of the forest are changed at random.
 * forest_prepare may refuse what comes out; what it accepts must predict without a report of the
 * sanitizers, and alike on every path.
 *
 * Bytes become a forest as in src/kernel/module.c, with the same checks before forest_prepare,
 * except that every array is exactly as large as its contents, so that the first byte beyond it is
 * reported. AddressSanitizer doesn't see inside gathers (AVX-512, columns of more than 12 edges);
 * they take the steps that plain code takes under its eyes.
 *
 * Case k of a run is the first case of the seed `seed + k`. A failure names its seed: repeat it
 * alone with `fuzz_forest 0 SEED`.
 */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "forest.h"
#include "instructions.h"
#include "link.h"

#define DEFAULT_S 30
#define MAX_ROWS 200
#define MAX_INPUTS 6
#define MAX_TREES 40
#define MUTANTS 24
#define MAX_CASE_S 120 /* a case takes milliseconds, or doesn't end */

static uint64_t case_seed;
static int is_over; /* what a sanitizer still finds are leaks, of any case */

/* The sanitizers' reports end in abort, so that each failure names its case. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "abort_on_error=1"; }
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) { return "abort_on_error=1:print_stacktrace=1"; }

static _Noreturn void end_failed(int signal_number) {
    if (signal_number == SIGALRM) fprintf(stderr, "a case takes more than %d s\n", MAX_CASE_S);
    if (!is_over)
        fprintf(stderr, "failed: seed %" PRIu64 "; repeat it: fuzz_forest 0 %" PRIu64 "\n",
                case_seed, case_seed);
    _Exit(1); /* not exit: what is still allocated is no leak */
}

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    end_failed(0);
}

static void *checked(void *memory) {
    if (!memory) fail("the fuzz itself is out of memory");
    return memory;
}

/* ---- chance ------------------------------------------------------------------------------ */

static uint64_t chance;

/* SplitMix64. */
static uint64_t word(void) {
    uint64_t z = (chance += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t below(uint32_t limit) { return (uint32_t)((word() >> 32) * limit >> 32); }

static uint32_t between(uint32_t low, uint32_t high) { return low + below(high - low + 1); }

static int one_in(uint32_t n) { return below(n) == 0; }

static double from_bits(uint64_t bits) {
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static double finite_number(void) {
    switch (below(7)) {
    case 0: return (double)below(41) - 20.0;
    case 1: return ((double)below(2001) - 1000.0) / 7.0;
    case 2: return (double)(float)(((double)below(2001) - 1000.0) / 7.0);
    case 3: return (one_in(2) ? -1.0 : 1.0) * (9007199254740992.0 + 2.0 * below(8)); /* 2^53 */
    case 4: return from_bits((word() & 0x800000000000000fu) | 1); /* the least there are */
    case 5: return one_in(2) ? 0.0 : -0.0;
    default: {
        const double number = from_bits(word());
        return isfinite(number) ? number : 0.5;
    }
    }
}

static double any_number(void) {
    if (one_in(16)) return one_in(2) ? INFINITY : -INFINITY;
    return one_in(16) ? (double)NAN : finite_number();
}

/* ---- a model, as bytes ------------------------------------------------------------------- */

enum part_name { KINDS, COLUMNS, EDGES, CODES, NODES, VALUES, ROOTS, OUTPUTS, BASES, PARTS };

static const size_t ITEMS[PARTS] = {
    [KINDS] = 1,
    [COLUMNS] = sizeof(struct column),
    [EDGES] = sizeof(double),
    [CODES] = sizeof(uint16_t),
    [NODES] = sizeof(struct node),
    [VALUES] = sizeof(double),
    [ROOTS] = sizeof(uint32_t),
    [OUTPUTS] = sizeof(uint32_t),
    [BASES] = sizeof(double),
};

struct part {
    uint8_t *bytes;
    size_t size, room;
};

struct model {
    struct part parts[PARTS];
    uint32_t dimensions;
    int single, link;
    double scale, divisor;
};

static void add(struct part *part, const void *bytes, size_t size) {
    if (part->size + size > part->room) {
        part->room = 2 * (part->size + size);
        part->bytes = checked(realloc(part->bytes, part->room));
    }
    if (size) memcpy(part->bytes + part->size, bytes, size);
    part->size += size;
}

static uint32_t count_of(const struct model *model, enum part_name name) {
    return (uint32_t)(model->parts[name].size / ITEMS[name]);
}

static void get(const struct model *model, enum part_name name, uint32_t index, void *item) {
    memcpy(item, model->parts[name].bytes + index * ITEMS[name], ITEMS[name]);
}

static void set(struct model *model, enum part_name name, uint32_t index, const void *item) {
    memcpy(model->parts[name].bytes + index * ITEMS[name], item, ITEMS[name]);
}

static void copy_model(const struct model *from, struct model *to) {
    *to = *from;
    memset(to->parts, 0, sizeof to->parts);
    for (int i = 0; i < PARTS; i++) add(&to->parts[i], from->parts[i].bytes, from->parts[i].size);
}

static void free_model(struct model *model) {
    for (int i = 0; i < PARTS; i++) free(model->parts[i].bytes);
}

/* ---- bytes become a forest, as in src/kernel/module.c ------------------------------------ */

/* A copy without a byte to spare. */
static void *copied(const struct model *model, enum part_name name, uint32_t *count) {
    const struct part *part = &model->parts[name];
    if (part->size % ITEMS[name]) return NULL;
    *count = count_of(model, name);
    void *copy = checked(malloc(part->size));
    if (part->size) memcpy(copy, part->bytes, part->size);
    return copy;
}

static const char *take_trees(struct forest *forest, const uint32_t *starts, uint32_t n_starts,
                              const uint32_t *targets, uint32_t n_targets) {
    if (!starts || !targets || n_starts != n_targets + 1 || starts[0] != 0 ||
        starts[n_starts - 1] != forest->n_nodes)
        return "roots don't fit the nodes";
    forest->n_trees = n_targets;
    forest->trees = checked(calloc(n_targets, sizeof *forest->trees));
    for (uint32_t t = 0; t < n_targets; t++) {
        if (starts[t + 1] <= starts[t]) return "roots don't ascend";
        forest->trees[t].root = starts[t];
        forest->trees[t].n_nodes = starts[t + 1] - starts[t];
        forest->trees[t].output = targets[t];
    }
    return NULL;
}

static const char *take(const struct model *model, struct forest *forest) {
    uint32_t n_values = 0, n_starts = 0, n_targets = 0;
    memset(forest, 0, sizeof *forest);
    forest->dimensions = model->dimensions;
    forest->single = model->single;
    forest->link = model->link;
    forest->scale = model->scale;
    forest->divisor = model->divisor;
    forest->input_kinds = copied(model, KINDS, &forest->n_inputs);
    forest->columns = copied(model, COLUMNS, &forest->n_columns);
    forest->edges = copied(model, EDGES, &forest->n_edges);
    forest->codes = copied(model, CODES, &forest->n_codes);
    forest->nodes = copied(model, NODES, &forest->n_nodes);
    forest->values = copied(model, VALUES, &n_values);
    forest->bases = copied(model, BASES, &forest->n_outputs);
    if (!forest->input_kinds || !forest->columns || !forest->edges || !forest->codes ||
        !forest->nodes || !forest->values || !forest->bases)
        return "a part has a wrong size";
    if (!forest->dimensions) return "values have no dimensions";
    if (!forest->n_inputs) return "the number of inputs is wrong";
    if (forest->n_columns > MAX_CODE) return "there are too many columns";
    if (!forest->n_outputs || forest->n_outputs > MAX_OUTPUTS)
        return "the number of outputs is wrong";
    if ((uint64_t)forest->n_nodes * forest->dimensions != n_values)
        return "values don't fit the nodes";
    uint32_t *starts = copied(model, ROOTS, &n_starts);
    uint32_t *targets = copied(model, OUTPUTS, &n_targets);
    const char *wrong = take_trees(forest, starts, n_starts, targets, n_targets);
    free(starts);
    free(targets);
    return wrong ? wrong : forest_prepare(forest);
}

/* ---- valid models ------------------------------------------------------------------------ */

static int by_number(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static uint16_t any_code(void) {
    switch (below(4)) {
    case 0: return (uint16_t)word();
    case 1: return (uint16_t)(255 * below(258)); /* where narrow columns begin; 65,535 too */
    case 2: return (uint16_t)below(600);
    default: return (uint16_t)below(8);
    }
}

static uint32_t any_count(void) {
    if (one_in(400)) return MAX_CODE;
    switch (below(5)) {
    case 0: return below(3);
    case 1: return between(11, 15); /* where the search for a rank changes */
    case 2: return between(2, 700);
    default: return between(1, 12);
    }
}

static void add_codes(struct model *model, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const uint16_t code = any_code();
        add(&model->parts[CODES], &code, sizeof code);
    }
}

static void add_edges(struct model *model, struct column *column) {
    const uint32_t wanted = any_count(), before = count_of(model, EDGES);
    double *made = checked(malloc((wanted + 1) * sizeof *made));
    for (uint32_t i = 0; i < wanted; i++)
        made[i] = wanted > 700 ? (double)i + below(2) / 2.0 : finite_number();
    if (wanted > 2 && one_in(4)) made[0] = -INFINITY;
    if (wanted > 2 && one_in(4)) made[1] = INFINITY;
    qsort(made, wanted, sizeof *made, by_number);
    column->first = before;
    column->count = 0;
    for (uint32_t i = 0; i < wanted; i++)
        if (!i || made[i - 1] < made[i]) {
            add(&model->parts[EDGES], &made[i], sizeof *made);
            column->count++;
        }
    free(made);
    if (before && one_in(8)) { /* the edges of another column, or some of them */
        struct column other;
        get(model, COLUMNS, below(count_of(model, COLUMNS)), &other);
        if (other.kind == COLUMN_EDGES && other.count) {
            column->first = other.first + below(other.count);
            column->count = between(0, other.first + other.count - column->first);
        }
    }
    column->codes = NO_CODES;
    if (one_in(2)) {
        column->codes = count_of(model, CODES);
        add_codes(model, column->count + 1);
    }
}

static void add_column(struct model *model, uint32_t input, uint8_t kind) {
    struct column column = {.input = input, .missing = any_code(), .unknown = any_code()};
    if (kind == INPUT_TEXT) {
        column.kind = COLUMN_TABLE;
        column.first = count_of(model, CODES);
        column.count = below(40);
        column.codes = one_in(2) ? NO_CODES : 0;
        add_codes(model, column.count);
    } else add_edges(model, &column);
    add(&model->parts[COLUMNS], &column, sizeof column);
}

static void add_inputs(struct model *model) {
    const uint32_t n_inputs = between(1, MAX_INPUTS);
    for (uint32_t i = 0; i < n_inputs; i++) {
        const uint8_t kind = (uint8_t)below(INPUT_KINDS);
        add(&model->parts[KINDS], &kind, sizeof kind);
    }
    for (uint32_t i = 0; i < n_inputs; i++)
        for (uint32_t k = below(4); k-- > 0;) add_column(model, i, model->parts[KINDS].bytes[i]);
    for (uint32_t k = one_in(8) ? between(1, 3) : 0; k-- > 0;) { /* not sorted by input */
        const uint32_t input = below(n_inputs);
        add_column(model, input, model->parts[KINDS].bytes[input]);
    }
}

/* A test that some rows pass and some fail, mostly. */
static struct node any_test(const struct model *model) {
    const uint32_t at = below(count_of(model, COLUMNS));
    struct node node = {any_code(), (uint16_t)at, 0};
    struct column column;
    get(model, COLUMNS, at, &column);
    const int ranked = column.kind == COLUMN_EDGES && column.codes == NO_CODES;
    const uint32_t codes = column.count + (column.kind == COLUMN_EDGES);
    if (one_in(12)) return node;
    if (ranked) node.code = (uint16_t)below(column.count + 1);
    else if (codes) {
        const uint32_t first = column.kind == COLUMN_TABLE ? column.first : column.codes;
        get(model, CODES, first + below(codes), &node.code);
        if (node.code && one_in(2)) node.code--;
    }
    return node;
}

static double any_value(void) {
    if (one_in(200)) return one_in(2) ? INFINITY : -INFINITY;
    return one_in(20) ? finite_number() : ((double)below(2001) - 1000.0) / 7.0;
}

static uint32_t any_leaves(void) {
    if (one_in(2000)) return MAX_DEPTH + 1; /* in a row they are as deep as a tree may be */
    switch (below(6)) {
    case 0: return between(1, 2);
    case 1: return between(62, 67);
    case 2: return between(65, 300);
    case 3: return 8 * between(1, 8) + below(2);
    default: return between(2, 64);
    }
}

static void add_tree(struct model *model) {
    const uint32_t root = count_of(model, NODES), leaves = any_leaves(), shape = below(3);
    struct node *nodes = checked(calloc(2 * leaves, sizeof *nodes));
    uint32_t *open = checked(calloc(leaves, sizeof *open));
    uint32_t n_nodes = 1, n_open = 1;
    while (n_open < leaves) { /* open leaf `at` becomes a test with two leaves */
        const uint32_t at = shape == 0 ? below(n_open) : shape == 1 ? n_open - 1 : n_open / 2;
        nodes[open[at]] = any_test(model);
        nodes[open[at]].left = n_nodes;
        const int right = one_in(2);
        open[at] = n_nodes + (uint32_t)right;
        open[n_open++] = n_nodes + (uint32_t)!right;
        n_nodes += 2;
    }
    for (uint32_t i = 0; i < n_open; i++) {
        const uint16_t column = (uint16_t)below(count_of(model, COLUMNS));
        nodes[open[i]] = (struct node){MAX_CODE, column, open[i]};
    }
    add(&model->parts[NODES], nodes, n_nodes * sizeof *nodes);
    free(nodes);
    free(open);
    for (uint32_t i = 0; i < n_nodes * model->dimensions; i++) {
        const double value = any_value();
        add(&model->parts[VALUES], &value, sizeof value);
    }
    const uint32_t end = root + n_nodes, output = below(count_of(model, BASES));
    add(&model->parts[ROOTS], &end, sizeof end);
    add(&model->parts[OUTPUTS], &output, sizeof output);
}

static void make_model(struct model *model) {
    memset(model, 0, sizeof *model);
    add_inputs(model);
    const uint32_t many[] = {2, 3, 5, 16, 17, 20};
    const uint32_t n_outputs = one_in(2) ? 1 : many[below(6)];
    for (uint32_t i = 0; i < n_outputs; i++) {
        const double base = one_in(3) ? 0.0 : any_value();
        add(&model->parts[BASES], &base, sizeof base);
    }
    model->dimensions = one_in(2) ? 1 : n_outputs;
    model->single = one_in(2);
    model->link = one_in(2) ? LINK_NONE : (int)below(LINKS);
    model->scale = one_in(2) ? 1.0 : any_value();
    model->divisor = one_in(2) ? 1.0 : (double)between(1, 100);
    const uint32_t start = 0;
    add(&model->parts[ROOTS], &start, sizeof start);
    const uint32_t n_trees = one_in(3) ? between(7, 9) : below(MAX_TREES + 1);
    if (count_of(model, COLUMNS)) /* even a leaf has to name a column */
        for (uint32_t t = 0; t < n_trees; t++) add_tree(model);
}

/* ---- rows -------------------------------------------------------------------------------- */

struct rows {
    int64_t n;
    uint32_t n_inputs;
    struct input_rows *inputs;
    double *numbers;     /* [row][input]: what forest_predict_one is given */
    int32_t *categories; /* [row][input] */
};

/* A number on, just beside or away from the edges. */
static double number_near(const struct forest *forest) {
    if (!forest->n_edges || one_in(4)) return any_number();
    const double edge = forest->edges[below(forest->n_edges)];
    return one_in(2) ? edge : nextafter(edge, one_in(2) ? INFINITY : -INFINITY);
}

static int64_t integer_near(const struct forest *forest) {
    const double number = number_near(forest);
    if (fabs(number) < 9e18) return (int64_t)number;
    return one_in(2) ? (int64_t)word() : one_in(2) ? INT64_MIN : INT64_MAX;
}

static uint8_t *any_bits(int64_t bits) {
    const size_t size = (size_t)(bits + 7) / 8;
    uint8_t *made = checked(malloc(size));
    for (size_t i = 0; i < size; i++) made[i] = one_in(3) ? 0xff : (uint8_t)word();
    return made;
}

static int bit(const uint8_t *bits, int64_t at) { return bits[at / 8] >> (at % 8) & 1; }

static int32_t any_index(void) { return one_in(8) ? (int32_t)word() : (int32_t)below(50); }

static void *any_values(const struct forest *forest, enum input_kind kind, int64_t count) {
    if (kind == INPUT_BOOL) return any_bits(count);
    const size_t item = kind == INPUT_F32 || kind == INPUT_TEXT ? 4 : 8;
    void *made = checked(malloc((size_t)count * item));
    for (int64_t i = 0; i < count; i++) switch (kind) {
        case INPUT_F32: ((float *)made)[i] = (float)number_near(forest); break;
        case INPUT_I64: ((int64_t *)made)[i] = integer_near(forest); break;
        case INPUT_TEXT: ((int32_t *)made)[i] = any_index(); break;
        default: ((double *)made)[i] = number_near(forest); break;
        }
    return made;
}

static int32_t *any_mapping(int64_t count) {
    int32_t *made = checked(malloc((size_t)count * sizeof *made));
    for (int64_t i = 0; i < count; i++)
        made[i] = one_in(16) ? (int32_t)word() : (int32_t)below(48) - 5;
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

static void make_input(const struct forest *forest, enum input_kind kind, int64_t rows,
                       struct input_rows *input) {
    input->stride = kind == INPUT_TEXT || one_in(2) ? 1 : between(1, 5);
    input->offset = one_in(2) ? 0 : below(70) * input->stride + below((uint32_t)input->stride);
    input->values = any_values(forest, kind,
                               rows ? input->offset + (rows - 1) * input->stride + 1 : 0);
    if (one_in(2)) input->validity = any_bits(rows ? input->offset / input->stride + rows : 0);
    if (kind == INPUT_TEXT) {
        input->n_mapping = below(50);
        input->mapping = any_mapping(input->n_mapping);
    }
}

static void make_rows(const struct forest *forest, int64_t n, struct rows *rows) {
    const size_t cells = (size_t)n * forest->n_inputs;
    rows->n = n;
    rows->n_inputs = forest->n_inputs;
    rows->inputs = checked(calloc(forest->n_inputs, sizeof *rows->inputs));
    rows->numbers = checked(malloc(cells * sizeof *rows->numbers));
    rows->categories = checked(malloc(cells * sizeof *rows->categories));
    for (uint32_t i = 0; i < forest->n_inputs; i++) {
        const enum input_kind kind = forest->input_kinds[i];
        make_input(forest, kind, n, &rows->inputs[i]);
        for (int64_t row = 0; row < n; row++) {
            const size_t at = (size_t)row * forest->n_inputs + i;
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

static const char *sets[3];
static int n_sets;
static int any_nan; /* one NaN may stand for another */

static int differ(double a, double b) {
    if (any_nan && isnan(a) && isnan(b)) return 0;
    return memcmp(&a, &b, sizeof a) != 0;
}

static int holds_nan(const double *numbers, size_t count) {
    int found = 0;
    for (size_t i = 0; i < count; i++) found |= isnan(numbers[i]);
    return found;
}

static uint32_t naive_code(const struct forest *forest, const struct column *column, double number,
                           int32_t category) {
    if (column->kind == COLUMN_TABLE) {
        if (category == CATEGORY_NULL) return column->missing;
        const int known = category >= 0 && (uint32_t)category < column->count;
        return known ? forest->codes[column->first + (uint32_t)category] : column->unknown;
    }
    if (isnan(number)) return column->missing;
    uint32_t rank = 0;
    for (uint32_t k = 0; k < column->count; k++) rank += forest->edges[column->first + k] < number;
    return column->codes == NO_CODES ? rank : forest->codes[column->codes + rank];
}

/* What the header of the kernel promises, in the plainest way. */
static void naive(const struct forest *forest, const double *numbers, const int32_t *categories,
                  double *out) {
    uint32_t *codes = checked(malloc((forest->n_columns + 1) * sizeof *codes));
    for (uint32_t i = 0; i < forest->n_columns; i++) {
        const struct column *column = &forest->columns[i];
        codes[i] = naive_code(forest, column, numbers[column->input], categories[column->input]);
    }
    for (uint32_t d = 0; d < forest->n_outputs; d++)
        out[d] = forest->single ? (double)(float)forest->bases[d] : forest->bases[d];
    for (uint32_t t = 0; t < forest->n_trees; t++) {
        const struct tree *tree = &forest->trees[t];
        const struct node *nodes = forest->nodes + tree->root;
        uint32_t at = 0;
        while (nodes[at].left != at)
            at = nodes[at].left + (codes[nodes[at].column] > nodes[at].code);
        for (uint32_t d = 0; d < forest->dimensions; d++) {
            const double value = forest->values[(size_t)(tree->root + at) * forest->dimensions + d];
            double *sum = &out[forest->dimensions > 1 ? d : tree->output];
            *sum = forest->single ? (double)((float)*sum + (float)value) : *sum + value;
        }
    }
    free(codes);
    apply_link(forest->link, forest->scale, forest->divisor, forest->n_outputs, 1, out, 1);
}

/* Each row alone, in [row][output]. */
static double *predict_singly(const struct forest *forest, const struct rows *rows) {
    const uint32_t n_outputs = forest->n_outputs;
    double *found = checked(malloc((size_t)rows->n * n_outputs * sizeof *found));
    double *expected = checked(malloc(n_outputs * sizeof *expected));
    uint16_t *codes = checked(malloc(forest->n_columns * sizeof *codes));
    for (int64_t row = 0; row < rows->n; row++) {
        const double *numbers = rows->numbers + row * rows->n_inputs;
        const int32_t *categories = rows->categories + row * rows->n_inputs;
        double *one = found + row * n_outputs;
        memset(codes, (int)below(256), forest->n_columns * sizeof *codes);
        forest_predict_one(forest, numbers, categories, codes, one);
        naive(forest, numbers, categories, expected);
        for (uint32_t d = 0; d < n_outputs; d++)
            if (differ(one[d], expected[d])) {
                fprintf(stderr, "row %" PRId64 ", output %u: expected %a, got %a\n", row, d,
                        expected[d], one[d]);
                fail("forest_predict_one differs from a naive walk");
            }
    }
    free(expected);
    free(codes);
    return found;
}

static void compare_set(const char *set_name, const struct forest *forest, const struct rows *rows,
                        const double *singly) {
    const int64_t stride = rows->n + (one_in(2) ? 0 : below(4));
    const size_t cells = (size_t)((forest->n_outputs - 1) * stride + rows->n);
    const size_t slack = 8 * (size_t)below(8), needed = forest_scratch_bytes(forest);
    double *out = checked(malloc(cells * sizeof *out));
    uint8_t *scratch = checked(malloc(slack + needed));
    memset(out, 0x5a, cells * sizeof *out);
    memset(scratch, (int)below(256), slack + needed); /* what was never written must not matter */
    if (!use_instructions(set_name)) fail("instructions were there, and are no more");
    forest_predict(forest, rows->inputs, rows->n, out, stride, scratch + slack);
    for (uint32_t d = 0; d < forest->n_outputs; d++)
        for (int64_t row = 0; row < stride && d * stride + row < (int64_t)cells; row++) {
            const double found = out[d * stride + row];
            double expected;
            memset(&expected, 0x5a, sizeof expected);
            if (row < rows->n) expected = singly[row * forest->n_outputs + d];
            if (!differ(found, expected)) continue;
            fprintf(stderr, "%s, row %" PRId64 " of %" PRId64 ", output %u: expected %a, got %a\n",
                    set_name, row, rows->n, d, expected, found);
            fail("forest_predict differs from forest_predict_one");
        }
    free(out);
    free(scratch);
}

static void compare(const struct forest *forest, int64_t n) {
    struct rows rows;
    make_rows(forest, n, &rows);
    any_nan = holds_nan(forest->values, (size_t)forest->n_nodes * forest->dimensions) ||
              holds_nan(forest->bases, forest->n_outputs) || holds_nan(&forest->scale, 1) ||
              holds_nan(&forest->divisor, 1);
    double *singly = predict_singly(forest, &rows);
    for (int i = 0; i < n_sets; i++) compare_set(sets[i], forest, &rows, singly);
    free(singly);
    free_rows(&rows);
}

/* ---- mutants ----------------------------------------------------------------------------- */

static uint64_t telling_word(const struct model *model) {
    const uint64_t words[] = {0,     1,     2,        7,          8,          63,   64,
                              254,   255,   256,      4095,       4096,       4097, 65534,
                              65535, 65536, NO_CODES, 0xfffffffe, 0x80000000, 1ull << 63, ~0ull};
    const uint32_t n_words = sizeof words / sizeof *words;
    if (one_in(2)) return words[below(n_words)];
    if (one_in(4)) return word();
    return count_of(model, (enum part_name)below(PARTS)) + between(0, 2) - 1ull;
}

static void mutate_word(struct model *model, struct part *part) {
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

static void mutate_items(struct model *model, enum part_name name) {
    const uint32_t count = count_of(model, name);
    uint8_t a[sizeof(struct column)], b[sizeof(struct column)];
    if (!count) return;
    const uint32_t from = below(count), to = below(count);
    get(model, name, from, a);
    get(model, name, to, b);
    set(model, name, to, a);
    if (one_in(2)) set(model, name, from, b);
}

static void mutate_size(struct model *model, enum part_name name) {
    struct part *part = &model->parts[name];
    const uint32_t count = count_of(model, name);
    const size_t item = one_in(16) ? 1 : ITEMS[name];
    if (one_in(2)) part->size -= part->size / item ? item * between(1, one_in(4) ? count : 1) : 0;
    else
        for (uint32_t k = between(1, 3); k-- > 0;) {
            uint8_t bytes[sizeof(struct column)];
            for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = one_in(2) ? 0 : (uint8_t)word();
            if (count && one_in(2)) get(model, name, below(count), bytes);
            add(part, bytes, item);
        }
}

/* A test becomes a leaf without losing its subtree, or gets other children. */
static void mutate_node(struct model *model) {
    const uint32_t n_nodes = count_of(model, NODES), n_roots = count_of(model, ROOTS);
    if (!n_nodes || !n_roots) return;
    uint32_t root = 0, end = 0;
    const uint32_t at = below(n_nodes);
    for (uint32_t i = 0; i < n_roots && end <= at; i++) {
        root = end;
        get(model, ROOTS, i, &end);
    }
    struct node node;
    get(model, NODES, at, &node);
    if (one_in(2)) node = (struct node){MAX_CODE, node.column, at - root};
    else node.left = one_in(2) ? node.left + between(0, 4) - 2 : end - root - between(0, 3);
    set(model, NODES, at, &node);
}

/* The last nodes go, with their values, and the roots say so: only the trees are wrong. */
static void mutate_end(struct model *model) {
    const uint32_t n_nodes = count_of(model, NODES), n_roots = count_of(model, ROOTS);
    if (!n_nodes || !n_roots) return;
    const uint32_t left = n_nodes - between(1, n_nodes < 3 ? n_nodes : 3);
    const size_t values = (size_t)left * model->dimensions * ITEMS[VALUES];
    model->parts[NODES].size = left * ITEMS[NODES];
    if (values < model->parts[VALUES].size) model->parts[VALUES].size = values;
    set(model, ROOTS, n_roots - 1, &left);
}

static void mutate_header(struct model *model) {
    switch (below(5)) {
    case 0: model->dimensions = (uint32_t)telling_word(model); break;
    case 1: model->single = !model->single; break;
    case 2: model->link = one_in(4) ? (int)(uint32_t)word() : (int)below(LINKS + 2) - 1; break;
    case 3: model->scale = any_number(); break;
    default: model->divisor = any_number(); break;
    }
}

static void mutate(struct model *model) {
    const enum part_name any = (enum part_name)below(PARTS);
    const enum part_name name = one_in(3) ? NODES : one_in(3) ? COLUMNS : any;
    switch (below(12)) {
    case 0: mutate_header(model); break;
    case 1: mutate_end(model); break;
    case 2: mutate_node(model); break;
    case 3: mutate_size(model, name); break;
    case 4: mutate_items(model, name); break;
    default: mutate_word(model, &model->parts[name]); break;
    }
}

/* ---- running ----------------------------------------------------------------------------- */

struct tally {
    uint64_t compared, refused, accepted;
};

static void try_mutant(const struct model *model, struct tally *tally) {
    struct model mutant;
    struct forest forest;
    copy_model(model, &mutant);
    for (uint32_t k = between(1, 3); k-- > 0;) mutate(&mutant);
    if (take(&mutant, &forest)) tally->refused++;
    else {
        tally->accepted++;
        compare(&forest, between(1, 70));
    }
    forest_free(&forest);
    free_model(&mutant);
}

static void run_case(uint64_t seed, struct tally *tally) {
    struct model model;
    struct forest forest;
    case_seed = chance = seed;
    alarm(MAX_CASE_S);
    make_model(&model);
    const char *wrong = take(&model, &forest);
    if (wrong) {
        fprintf(stderr, "refused: %s\n", wrong);
        fail("a valid forest was refused");
    }
    compare(&forest, below(MAX_ROWS + 1));
    tally->compared++;
    forest_free(&forest);
    for (int i = 0; i < MUTANTS; i++) try_mutant(&model, tally);
    free_model(&model);
}

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    const double seconds = argc > 1 ? strtod(argv[1], NULL) : DEFAULT_S;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) << 20;
    const char *known[] = {"avx512", "avx2", "plain"};
    for (int i = 0; i < 3; i++)
        if (use_instructions(known[i])) sets[n_sets++] = known[i];
    signal(SIGABRT, end_failed);
    signal(SIGALRM, end_failed);
    printf("seed %" PRIu64 ", %g s, instructions:", seed, seconds);
    for (int i = 0; i < n_sets; i++) printf(" %s", sets[i]);
    printf("\n");
    fflush(stdout);
    struct tally tally = {0, 0, 0};
    const double start = now_s();
    for (uint64_t k = 0; k == 0 || now_s() - start < seconds; k++) run_case(seed + k, &tally);
    printf("compared %" PRIu64 " valid forests; of their mutants %" PRIu64
           " were refused, and %" PRIu64 " were accepted and compared\n",
           tally.compared, tally.refused, tally.accepted);
    is_over = 1;
    return 0;
}
