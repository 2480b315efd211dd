#include "forest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "link.h"

#define PADDED_LEAVES 64

/* ---- checking ---------------------------------------------------------------------------- */

static const char *check_columns(const struct forest *forest) {
    for (uint32_t i = 0; i < forest->n_columns; i++) {
        const struct column *column = &forest->columns[i];
        if (column->input >= forest->n_inputs) return "a column's input is out of range";
        if (column->kind >= COLUMN_KINDS) return "a column's kind is unknown";
        if (column->missing > MAX_CODE || column->unknown > MAX_CODE)
            return "a column's code is out of range";
        if ((forest->input_kinds[column->input] == INPUT_TEXT) != (column->kind == COLUMN_TABLE))
            return "a column's kind doesn't fit its input";
        const uint64_t end = (uint64_t)column->first + column->count;
        if (column->kind == COLUMN_TABLE) {
            if (end > forest->n_codes) return "a column's table is out of range";
            continue;
        }
        if (end > forest->n_edges) return "a column's edges are out of range";
        if (column->count > MAX_CODE) return "a column has too many edges";
        for (uint32_t k = 1; k < column->count; k++)
            if (!(forest->edges[column->first + k - 1] < forest->edges[column->first + k]))
                return "a column's edges don't ascend";
        if (column->count && isnan(forest->edges[column->first])) return "an edge is NaN";
        if (column->codes != NO_CODES &&
            (uint64_t)column->codes + column->count + 1 > forest->n_codes)
            return "a column's codes are out of range";
    }
    return NULL;
}

/* Children follow their parents and each node has one parent: every walk ends within `depth`. */
static const char *check_tree(const struct forest *forest, struct tree *tree, uint32_t *depths) {
    const struct node *nodes = forest->nodes + tree->root;
    const uint32_t count = tree->n_nodes;
    if (!count || (uint64_t)tree->root + count > forest->n_nodes) return "a tree has no nodes";
    for (uint32_t i = 0; i < count; i++) depths[i] = UINT32_MAX;
    depths[0] = 0;
    tree->depth = 0;
    tree->shallow = UINT32_MAX;
    tree->n_leaves = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (nodes[i].column >= forest->n_columns) return "a node's column is out of range";
        if (depths[i] == UINT32_MAX) return "a node has no parent";
        if (nodes[i].left == i) {
            if (nodes[i].code != MAX_CODE) return "a leaf has a test";
            if (depths[i] > tree->depth) tree->depth = depths[i];
            if (depths[i] < tree->shallow) tree->shallow = depths[i];
            tree->n_leaves++;
            continue;
        }
        const uint64_t left = nodes[i].left;
        if (left <= i || left + 1 >= count) return "a node's child is out of range";
        for (uint64_t child = left; child <= left + 1; child++) {
            if (depths[child] != UINT32_MAX) return "a node has two parents";
            depths[child] = depths[i] + 1;
        }
        if (depths[i] >= MAX_DEPTH) return "a tree is too deep";
    }
    return NULL;
}

/* ---- deriving the bit sets --------------------------------------------------------------- */

static uint32_t times_four(uint32_t byte) { return byte * 0x01010101u; }

/* Number the leaves from left to right: first and end of each subtree. */
static void number_leaves(const struct node *nodes, uint32_t count, uint32_t *first,
                          uint32_t *end) {
    /* Sizes from the last node up, since children follow their parents; then starts down. */
    for (uint32_t i = count; i-- > 0;)
        end[i] = nodes[i].left == i ? 1 : end[nodes[i].left] + end[nodes[i].left + 1];
    first[0] = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (nodes[i].left == i) continue;
        first[nodes[i].left] = first[i];
        first[nodes[i].left + 1] = first[i] + end[nodes[i].left];
    }
    for (uint32_t i = 0; i < count; i++) end[i] += first[i];
}

/* The narrow column that holds a code, made if there is none yet. */
static int narrow_of(struct forest *forest, uint32_t *made, uint32_t column, uint32_t code) {
    const uint32_t low = code / MAX_NARROW_CODE * MAX_NARROW_CODE;
    for (uint32_t i = made[column]; i != UINT32_MAX; i = forest->narrows[i].next)
        if (forest->narrows[i].low == low) return (int)i;
    if (forest->n_narrow % 64 == 0) {
        const size_t size = ((size_t)forest->n_narrow + 64) * sizeof(struct narrow);
        struct narrow *more = realloc(forest->narrows, size);
        if (!more) return -1;
        forest->narrows = more;
    }
    const uint32_t index = forest->n_narrow++;
    forest->narrows[index] = (struct narrow){column, low, made[column]};
    made[column] = index;
    return (int)index;
}

static const char *derive_tree(struct forest *forest, struct tree *tree, uint32_t *n_strikes,
                               uint32_t *made) {
    uint32_t first[2 * MAX_BIT_LEAVES], end[2 * MAX_BIT_LEAVES];
    const struct node *nodes = forest->nodes + tree->root;
    number_leaves(nodes, tree->n_nodes, first, end);
    tree->n_words = (tree->n_leaves + WORD_LEAVES - 1) / WORD_LEAVES;
    tree->strikes = *n_strikes;
    for (uint32_t word = 0; word < tree->n_words; word++) {
        const uint32_t low = word * WORD_LEAVES, high = low + WORD_LEAVES;
        for (uint32_t i = 0; i < tree->n_nodes; i++) {
            if (nodes[i].left == i || nodes[i].code == MAX_CODE) continue; /* never fails */
            const uint32_t from = first[nodes[i].left], to = end[nodes[i].left];
            if (to <= low || from >= high) continue;
            uint32_t struck = 0; /* leaf 0 is the highest bit: the first leaf left counts zeros */
            for (uint32_t leaf = from < low ? low : from; leaf < to && leaf < high; leaf++)
                struck |= 0x80u >> (leaf - low);
            const int column = narrow_of(forest, made, nodes[i].column, nodes[i].code);
            if (column < 0) return "out of memory";
            forest->strikes[(*n_strikes)++] = (struct strike){
                (uint32_t)column, times_four(nodes[i].code % MAX_NARROW_CODE),
                times_four(~struck & 0xffu)};
        }
        tree->ends[word] = *n_strikes - tree->strikes;
    }
    const uint32_t dimensions = forest->dimensions;
    for (uint32_t i = 0; i < tree->n_nodes; i++) {
        if (nodes[i].left != i) continue;
        for (uint32_t d = 0; d < dimensions; d++) {
            const size_t at = tree->leaves + (size_t)d * PADDED_LEAVES + first[i];
            const double value = forest->values[(size_t)(tree->root + i) * dimensions + d];
            forest->leaves[at] = value;
            forest->leaves_f32[at] = (float)value;
        }
    }
    return NULL;
}

static const char *derive(struct forest *forest) {
    uint64_t bit_nodes = 0, leaves = 0;
    for (uint32_t t = 0; t < forest->n_trees; t++) {
        struct tree *tree = &forest->trees[t];
        if (tree->n_leaves > MAX_BIT_LEAVES) continue;
        tree->leaves = (uint32_t)leaves;
        bit_nodes += (uint64_t)tree->n_nodes * MAX_WORDS;
        leaves += (uint64_t)PADDED_LEAVES * forest->dimensions;
        forest->n_bit_trees++;
    }
    if (bit_nodes > UINT32_MAX || leaves > UINT32_MAX) return "the forest is too large";
    uint32_t *made = malloc((forest->n_columns + 1) * sizeof *made);
    forest->strikes = malloc((size_t)(bit_nodes + 1) * sizeof *forest->strikes);
    forest->leaves = calloc((size_t)leaves + 1, sizeof *forest->leaves);
    forest->leaves_f32 = calloc((size_t)leaves + 1, sizeof *forest->leaves_f32);
    const char *wrong = NULL;
    if (!made || !forest->strikes || !forest->leaves || !forest->leaves_f32) wrong = "out of memory";
    for (uint32_t i = 0; !wrong && i < forest->n_columns; i++) made[i] = UINT32_MAX;
    uint32_t n_strikes = 0;
    for (uint32_t t = 0; !wrong && t < forest->n_trees; t++)
        if (forest->trees[t].n_leaves <= MAX_BIT_LEAVES)
            wrong = derive_tree(forest, &forest->trees[t], &n_strikes, made);
    free(made);
    return wrong;
}

/* Sums of different NaN would differ from path to path. */
static int holds_nan(const double *numbers, size_t count) {
    int found = 0;
    for (size_t i = 0; i < count; i++) found |= isnan(numbers[i]);
    return found;
}

const char *forest_prepare(struct forest *forest) {
    if (forest->link < 0 || forest->link >= LINKS) return "the link is unknown";
    if (!forest->dimensions ||
        (forest->dimensions != 1 && forest->dimensions != forest->n_outputs))
        return "values have a wrong number of dimensions";
    if (holds_nan(forest->values, (size_t)forest->n_nodes * forest->dimensions) ||
        holds_nan(forest->bases, forest->n_outputs) || isnan(forest->scale) ||
        isnan(forest->divisor))
        return "a value is NaN";
    for (uint32_t i = 0; i < forest->n_inputs; i++)
        if (forest->input_kinds[i] >= INPUT_KINDS) return "an input's kind is unknown";
    const char *wrong = check_columns(forest);
    uint32_t *depths = malloc((forest->n_nodes + 1) * sizeof *depths);
    if (!depths) return "out of memory";
    for (uint32_t t = 0; !wrong && t < forest->n_trees; t++) {
        if (forest->trees[t].output >= forest->n_outputs) wrong = "a tree's output is out of range";
        else wrong = check_tree(forest, &forest->trees[t], depths);
    }
    free(depths);
    return wrong ? wrong : derive(forest);
}

void forest_free(struct forest *forest) {
    free(forest->input_kinds);
    free(forest->columns);
    free(forest->edges);
    free(forest->codes);
    free(forest->nodes);
    free(forest->values);
    free(forest->bases);
    free(forest->trees);
    free(forest->strikes);
    free(forest->narrows);
    free(forest->leaves);
    free(forest->leaves_f32);
    memset(forest, 0, sizeof *forest);
}

/* ---- one row ----------------------------------------------------------------------------- */

static uint32_t rank_of(const double *edges, uint32_t count, double value) {
    const double *base = edges;
    if (!count) return 0;
    while (count > 1) {
        const uint32_t half = count / 2;
        base += base[half - 1] < value ? half : 0;
        count -= half;
    }
    return (uint32_t)(base - edges) + (*base < value);
}

static uint16_t code_of_number(const struct forest *forest, const struct column *column,
                               double value) {
    if (isnan(value)) return (uint16_t)column->missing;
    const uint32_t rank = rank_of(forest->edges + column->first, column->count, value);
    return column->codes == NO_CODES ? (uint16_t)rank : forest->codes[column->codes + rank];
}

static uint16_t code_of_category(const struct forest *forest, const struct column *column,
                                 int32_t category) {
    if (category >= 0 && (uint32_t)category < column->count)
        return forest->codes[column->first + (uint32_t)category];
    return (uint16_t)(category == CATEGORY_NULL ? column->missing : column->unknown);
}

static inline uint32_t step(const struct node *nodes, uint32_t at, const uint16_t *codes) {
    const struct node node = nodes[at];
    return node.left + (codes[node.column] > node.code);
}

#define IN_FLIGHT 8

/* Walk up to IN_FLIGHT trees side by side, so that their loads overlap. */
static void walk_trees(const struct forest *forest, uint32_t first, int count,
                       const uint16_t *codes, uint32_t *exits) {
    const struct node *nodes[IN_FLIGHT];
    uint32_t depth = 0;
    for (int k = 0; k < count; k++) {
        const struct tree *tree = &forest->trees[first + (uint32_t)k];
        nodes[k] = forest->nodes + tree->root;
        exits[k] = 0;
        if (tree->depth > depth) depth = tree->depth;
    }
    if (count == IN_FLIGHT) {
        uint32_t a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
        for (uint32_t level = 0; level < depth; level++) {
            const uint32_t before = a + b + c + d + e + f + g + h;
            a = step(nodes[0], a, codes);
            b = step(nodes[1], b, codes);
            c = step(nodes[2], c, codes);
            d = step(nodes[3], d, codes);
            e = step(nodes[4], e, codes);
            f = step(nodes[5], f, codes);
            g = step(nodes[6], g, codes);
            h = step(nodes[7], h, codes);
            /* Children follow their parents: the sum stays only where all stand on leaves. */
            if (a + b + c + d + e + f + g + h == before) break;
        }
        const uint32_t found[IN_FLIGHT] = {a, b, c, d, e, f, g, h};
        memcpy(exits, found, sizeof found);
        return;
    }
    for (int k = 0; k < count; k++)
        for (uint32_t level = 0; level < forest->trees[first + (uint32_t)k].depth; level++)
            exits[k] = step(nodes[k], exits[k], codes);
}

void forest_predict_one(const struct forest *forest, const double *numbers,
                        const int32_t *categories, uint16_t *codes, double *out) {
    for (uint32_t i = 0; i < forest->n_columns; i++) {
        const struct column *column = &forest->columns[i];
        codes[i] = column->kind == COLUMN_TABLE
                       ? code_of_category(forest, column, categories[column->input])
                       : code_of_number(forest, column, numbers[column->input]);
    }
    const uint32_t dimensions = forest->dimensions;
    float singles[16];
    const int narrow_sums = forest->single && forest->n_outputs <= 16;
    for (uint32_t d = 0; d < forest->n_outputs; d++) {
        out[d] = forest->single ? (double)(float)forest->bases[d] : forest->bases[d];
        if (narrow_sums) singles[d] = (float)forest->bases[d];
    }
    for (uint32_t t = 0; t < forest->n_trees; t += IN_FLIGHT) {
        const uint32_t left = forest->n_trees - t;
        const int count = left < IN_FLIGHT ? (int)left : IN_FLIGHT;
        uint32_t exits[IN_FLIGHT];
        walk_trees(forest, t, count, codes, exits);
        for (int k = 0; k < count; k++) {
            const struct tree *tree = &forest->trees[t + (uint32_t)k];
            const double *value = forest->values + (size_t)(tree->root + exits[k]) * dimensions;
            if (dimensions > 1)
                for (uint32_t d = 0; d < dimensions; d++) {
                    if (forest->single) out[d] = (double)((float)out[d] + (float)value[d]);
                    else out[d] += value[d];
                }
            else if (narrow_sums) singles[tree->output] += (float)*value;
            else if (forest->single)
                out[tree->output] = (double)((float)out[tree->output] + (float)*value);
            else out[tree->output] += *value;
        }
    }
    if (narrow_sums && dimensions == 1)
        for (uint32_t d = 0; d < forest->n_outputs; d++) out[d] = (double)singles[d];
    apply_link(forest->link, forest->scale, forest->divisor, forest->n_outputs, 1, out, 1);
}

/* ---- many rows --------------------------------------------------------------------------- */

struct scratch {
    double *numbers;      /* [row] */
    int32_t *categories;  /* [row] */
    uint32_t *ranks;      /* [row] */
    uint16_t *wide;       /* [column][row] */
    uint16_t *by_row;     /* [row][column], for walks */
    uint8_t *narrow;      /* [narrow column][row] */
    double *sums;         /* [output][row] */
    float *sums_f32;
};

static size_t aligned(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

static size_t lay_out(const struct forest *forest, char *memory, struct scratch *scratch) {
    size_t at = 0;
#define PLACE(field, count)                                     \
    do {                                                        \
        if (memory) scratch->field = (void *)(memory + at);     \
        at += aligned((size_t)(count) * sizeof *scratch->field); \
    } while (0)
    struct scratch unused;
    if (!scratch) scratch = &unused;
    PLACE(numbers, BLOCK_ROWS);
    PLACE(categories, BLOCK_ROWS);
    PLACE(ranks, BLOCK_ROWS);
    PLACE(wide, (size_t)forest->n_columns * BLOCK_ROWS);
    PLACE(by_row, (size_t)forest->n_columns * BLOCK_ROWS);
    PLACE(narrow, (size_t)forest->n_narrow * BLOCK_ROWS);
    PLACE(sums, (size_t)forest->n_outputs * BLOCK_ROWS);
    PLACE(sums_f32, (size_t)forest->n_outputs * BLOCK_ROWS);
#undef PLACE
    return at;
}

size_t forest_scratch_bytes(const struct forest *forest) { return lay_out(forest, NULL, NULL) + 64; }

typedef void predict_block(const struct forest *, const struct input_rows *, int64_t, int,
                           const struct scratch *);

#define ROWS_IN_FLIGHT 16

#define TARGET
#define VECTOR_BYTES 16 /* SSE2 or NEON; elsewhere the compiler makes do */
#define NAME(name) name##_plain
#include "forest_block.h"
#undef TARGET
#undef VECTOR_BYTES
#undef NAME

#if defined(__x86_64__) && defined(__GNUC__)
#define TARGET __attribute__((target("avx2,bmi,lzcnt")))
#define VECTOR_BYTES 32
#define NAME(name) name##_avx2
#include "forest_block.h"
#undef TARGET
#undef VECTOR_BYTES
#undef NAME

#define WITH_AVX512
#define TARGET                                                                    \
    __attribute__((target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,bmi,lzcnt")))
#define NAME(name) name##_avx512
#include "forest_block.h"
#undef TARGET
#undef NAME
#undef WITH_AVX512
#endif

struct variant {
    const char *name;
    predict_block *predict;
};

static const struct variant VARIANTS[] = {
#if defined(__x86_64__) && defined(__GNUC__)
    {"avx512", predict_avx512},
    {"avx2", predict_avx2},
#endif
    {"plain", predict_plain},
};
#define N_VARIANTS (sizeof VARIANTS / sizeof *VARIANTS)

static int is_supported(const char *name) {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    if (!strcmp(name, "avx512"))
        return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("bmi") && __builtin_cpu_supports("lzcnt");
    if (!strcmp(name, "avx2"))
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
               __builtin_cpu_supports("lzcnt");
#endif
    return !strcmp(name, "plain");
}

static const struct variant *_Atomic chosen; /* forest_use may come while others predict */

int forest_use(const char *instructions) {
    for (size_t i = 0; i < N_VARIANTS; i++)
        if (!strcmp(VARIANTS[i].name, instructions) && is_supported(instructions)) {
            chosen = &VARIANTS[i];
            return 1;
        }
    return 0;
}

const char *forest_instructions(void) {
    for (size_t i = 0; !chosen && i < N_VARIANTS; i++)
        if (is_supported(VARIANTS[i].name)) chosen = &VARIANTS[i];
    return ((const struct variant *)chosen)->name;
}

void forest_predict(const struct forest *forest, const struct input_rows *inputs, int64_t rows,
                    double *out, int64_t out_stride, void *memory) {
    struct scratch scratch;
    lay_out(forest, (char *)aligned((size_t)memory), &scratch);
    predict_block *const predict = ((const struct variant *)chosen)->predict;
    for (int64_t first = 0; first < rows; first += BLOCK_ROWS) {
        const int count = rows - first < BLOCK_ROWS ? (int)(rows - first) : BLOCK_ROWS;
        predict(forest, inputs, first, count, &scratch);
        for (uint32_t d = 0; d < forest->n_outputs; d++) {
            double *to = out + (int64_t)d * out_stride + first;
            if (forest->single)
                for (int row = 0; row < count; row++)
                    to[row] = (double)scratch.sums_f32[(size_t)d * BLOCK_ROWS + (size_t)row];
            else memcpy(to, scratch.sums + (size_t)d * BLOCK_ROWS, (size_t)count * sizeof *to);
        }
        apply_link(forest->link, forest->scale, forest->divisor, forest->n_outputs, count,
                   out + first, out_stride);
    }
}
