#include "forest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forest_parts.h"
#include "instructions.h"
#include "link.h"

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
    tree->n_leaves = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (nodes[i].column >= forest->n_columns) return "a node's column is out of range";
        if (depths[i] == UINT32_MAX) return "a node has no parent";
        if (nodes[i].left == i) {
            if (nodes[i].code != MAX_CODE) return "a leaf has a test";
            if (depths[i] > tree->depth) tree->depth = depths[i];
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

/* Open the node with the longest walk below until there are MAX_BIT_LEAVES ends: what rows walk
 * side by side takes as long as the longest. */
static void cut(const struct node *nodes, const uint32_t *far, struct top *top) {
    top->count = 1;
    top->nodes[0] = top->left[0] = 0;
    for (uint32_t ends = 1; ends < MAX_BIT_LEAVES; ends++) {
        uint32_t opened = 0, steps = 0;
        for (uint32_t k = 0; k < top->count; k++)
            if (is_end(top, k) && far[top->nodes[k]] > steps) opened = k, steps = far[top->nodes[k]];
        top->left[opened] = top->count;
        for (uint32_t side = 0; side < 2; side++, top->count++) {
            top->nodes[top->count] = nodes[top->nodes[opened]].left + side;
            top->left[top->count] = top->count;
        }
    }
}

/* Number the ends from left to right: sizes from the last node up, since children follow their
 * parents; then starts down. */
static void number_ends(struct top *top) {
    uint32_t *first = top->first, *end = top->end;
    const uint32_t *left = top->left;
    for (uint32_t k = top->count; k-- > 0;)
        end[k] = is_end(top, k) ? 1 : end[left[k]] + end[left[k] + 1];
    first[0] = 0;
    for (uint32_t k = 0; k < top->count; k++) {
        if (is_end(top, k)) continue;
        first[left[k]] = first[k];
        first[left[k] + 1] = first[k] + end[left[k]];
    }
    for (uint32_t k = 0; k < top->count; k++) end[k] += first[k];
}

/* Steps of the longest walk from each node of a tree; from each child, before its parent. */
static void measure_walks(const struct node *nodes, uint32_t count, uint32_t *far) {
    for (uint32_t i = count; i-- > 0;) {
        const uint32_t left = nodes[i].left;
        far[i] = left == i ? 0 : 1 + (far[left] > far[left + 1] ? far[left] : far[left + 1]);
    }
}

void take_top(const struct forest *forest, const struct tree *tree, uint32_t *far,
              struct top *top) {
    const struct node *nodes = forest->nodes + tree->root;
    if (tree->n_leaves <= MAX_BIT_LEAVES) {
        top->count = tree->n_nodes;
        for (uint32_t k = 0; k < tree->n_nodes; k++) {
            top->nodes[k] = k;
            top->left[k] = nodes[k].left;
        }
    } else {
        measure_walks(nodes, tree->n_nodes, far);
        cut(nodes, far, top);
    }
    number_ends(top);
}

static int compare_tests(const void *a, const void *b) {
    const uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;
    return (one > other) - (one < other);
}

#define MAX_RANK_ENTRIES (1u << 26) /* in all: 128 MiB */

/* Rank codes among those of the tests in all tops, given as sorted column << 16 | code. */
static const char *rank_codes(struct forest *forest, const uint32_t *tests, size_t n_tests) {
    forest->ranks = calloc((size_t)forest->n_columns + 1, sizeof *forest->ranks);
    if (!forest->ranks) return "out of memory";
    uint64_t entries = 0;
    for (size_t i = 0; i < n_tests; i++) /* the last test of a column has its greatest code */
        forest->ranks[tests[i] >> 16].last = (tests[i] & 0xffff) + 1;
    for (uint32_t i = 0; i < forest->n_columns; i++) {
        forest->ranks[i].first = (uint32_t)entries;
        entries += forest->ranks[i].last + 1;
        if (entries > MAX_RANK_ENTRIES) return "the forest is too large";
    }
    forest->by_code = malloc((size_t)entries * sizeof *forest->by_code + 1);
    if (!forest->by_code) return "out of memory";
    size_t test = 0;
    for (uint32_t i = 0; i < forest->n_columns; i++) {
        uint16_t *by_code = forest->by_code + forest->ranks[i].first, rank = 0;
        for (uint32_t code = 0; code <= forest->ranks[i].last; code++) {
            by_code[code] = rank;
            const size_t before = test;
            while (test < n_tests && tests[test] == (i << 16 | code)) test++;
            rank = (uint16_t)(rank + (test > before));
        }
    }
    return NULL;
}

static uint32_t rank_of_code(const struct forest *forest, uint32_t column, uint32_t code) {
    if (!forest->ranks) return code;
    const struct rank *rank = &forest->ranks[column];
    return forest->by_code[rank->first + (code < rank->last ? code : rank->last)];
}

int narrow_of(struct forest *forest, uint32_t *made, uint32_t column, uint32_t rank) {
    const uint32_t low = rank / MAX_NARROW_CODE * MAX_NARROW_CODE;
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

static const char *derive_tree(struct forest *forest, struct tree *tree, const struct top *top,
                               uint32_t *n_strikes, uint32_t *made) {
    const struct node *nodes = forest->nodes + tree->root;
    tree->n_words = (top->end[0] + WORD_LEAVES - 1) / WORD_LEAVES;
    tree->strikes = *n_strikes;
    for (uint32_t word = 0; word < tree->n_words; word++) {
        const uint32_t low = word * WORD_LEAVES, high = low + WORD_LEAVES;
        for (uint32_t k = 0; k < top->count; k++) {
            if (!may_fail(nodes, top, k)) continue;
            const uint32_t from = top->first[top->left[k]], to = top->end[top->left[k]];
            if (to <= low || from >= high) continue;
            uint32_t struck = 0; /* leaf 0 is the highest bit: the first leaf left counts zeros */
            for (uint32_t leaf = from < low ? low : from; leaf < to && leaf < high; leaf++)
                struck |= 0x80u >> (leaf - low);
            const struct node *node = &nodes[top->nodes[k]];
            const uint32_t rank = rank_of_code(forest, node->column, node->code);
            const int column = narrow_of(forest, made, node->column, rank);
            if (column < 0) return "out of memory";
            forest->strikes[(*n_strikes)++] = (struct strike){
                (uint32_t)column, times_four(rank % MAX_NARROW_CODE), times_four(~struck & 0xffu)};
        }
        tree->ends[word] = *n_strikes - tree->strikes;
    }
    return NULL;
}

static void place_leaves(struct forest *forest, const struct tree *tree, const struct top *top) {
    const uint32_t dimensions = forest->dimensions;
    for (uint32_t k = 0; k < top->count; k++) {
        if (!is_end(top, k)) continue;
        for (uint32_t d = 0; d < dimensions; d++) {
            const size_t at = tree->leaves + (size_t)d * PADDED_LEAVES + top->first[k];
            const double value =
                forest->values[(size_t)(tree->root + top->nodes[k]) * dimensions + d];
            forest->leaves[at] = value;
            forest->leaves_f32[at] = (float)value;
        }
    }
}

/* Where walks begin, and how long the longest is; `far` as measured. */
static void place_cuts(struct forest *forest, struct tree *tree, const struct top *top,
                       const uint32_t *far) {
    tree->far = 0;
    for (uint32_t k = 0; k < top->count; k++) {
        if (!is_end(top, k)) continue;
        forest->cuts[tree->leaves + top->first[k]] = top->nodes[k];
        if (far[top->nodes[k]] > tree->far) tree->far = far[top->nodes[k]];
    }
}

/* The tests of all tops, sorted; NULL without memory. */
static uint32_t *sorted_tests(const struct forest *forest, uint32_t *room, size_t *n_tests) {
    uint32_t *tests = malloc(((size_t)forest->n_trees * MAX_BIT_LEAVES + 1) * sizeof *tests);
    *n_tests = 0;
    for (uint32_t t = 0; tests && t < forest->n_trees; t++) {
        struct top top;
        take_top(forest, &forest->trees[t], room, &top);
        const struct node *nodes = forest->nodes + forest->trees[t].root;
        for (uint32_t k = 0; k < top.count; k++)
            if (may_fail(nodes, &top, k))
                tests[(*n_tests)++] =
                    (uint32_t)nodes[top.nodes[k]].column << 16 | nodes[top.nodes[k]].code;
    }
    if (tests) qsort(tests, *n_tests, sizeof *tests, compare_tests);
    return tests;
}

/* `room` has a number per node of the largest tree. */
static const char *derive_all(struct forest *forest, uint32_t *made, uint32_t *room) {
    const char *wrong = NULL;
    if (forest->n_cut) {
        size_t n_tests;
        uint32_t *tests = sorted_tests(forest, room, &n_tests);
        wrong = tests ? rank_codes(forest, tests, n_tests) : "out of memory";
        free(tests);
    }
    uint32_t n_strikes = 0;
    for (uint32_t t = 0; !wrong && t < forest->n_trees; t++) {
        struct tree *tree = &forest->trees[t];
        struct top top;
        take_top(forest, tree, room, &top);
        wrong = derive_tree(forest, tree, &top, &n_strikes, made);
        if (tree->n_leaves > MAX_BIT_LEAVES) place_cuts(forest, tree, &top, room);
        else place_leaves(forest, tree, &top);
    }
    return wrong ? wrong : derive_row(forest, made);
}

static const char *derive(struct forest *forest) {
    uint64_t strikes = 0, leaves = 0;
    uint32_t largest = 0;
    for (uint32_t t = 0; t < forest->n_trees; t++) {
        struct tree *tree = &forest->trees[t];
        const int is_cut = tree->n_leaves > MAX_BIT_LEAVES;
        strikes += (is_cut ? MAX_BIT_LEAVES : tree->n_leaves) * MAX_WORDS;
        if (tree->n_nodes > largest) largest = tree->n_nodes;
        if (is_cut) tree->leaves = PADDED_LEAVES * forest->n_cut++;
        else {
            tree->leaves = (uint32_t)leaves;
            leaves += (uint64_t)PADDED_LEAVES * forest->dimensions;
        }
    }
    if (strikes > UINT32_MAX || leaves > UINT32_MAX) return "the forest is too large";
    uint32_t *made = malloc(((size_t)forest->n_columns + 1) * sizeof *made);
    uint32_t *room = malloc(((size_t)largest + 1) * sizeof *room);
    forest->strikes = malloc((size_t)(strikes + 1) * sizeof *forest->strikes);
    forest->cuts = calloc((size_t)forest->n_cut * PADDED_LEAVES + 1, sizeof *forest->cuts);
    forest->leaves = calloc((size_t)leaves + 1, sizeof *forest->leaves);
    forest->leaves_f32 = calloc((size_t)leaves + 1, sizeof *forest->leaves_f32);
    const char *wrong = "out of memory";
    if (made && room && forest->strikes && forest->cuts && forest->leaves && forest->leaves_f32) {
        for (uint32_t i = 0; i < forest->n_columns; i++) made[i] = UINT32_MAX;
        wrong = derive_all(forest, made, room);
    }
    free(made);
    free(room);
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
    free(forest->ranks);
    free(forest->by_code);
    free(forest->cuts);
    free(forest->narrows);
    free(forest->leaves);
    free(forest->leaves_f32);
    free(forest->row_firsts);
    free(forest->row_counts);
    free(forest->ladders);
    free(forest->rungs);
    free(forest->groups);
    free(forest->heaps);
    free(forest->heap_leaves);
    free(forest->group_tests);
    free(forest->group_keeps);
    free(forest->piece_tests);
    free(forest->strikers);
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
    if (look_up_row(forest, numbers, categories, codes, out)) return;
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
    uint16_t *ranked;     /* [column][row], where trees are cut */
    uint16_t *by_row;     /* [position of the row in the sums][column], for walks */
    uint8_t *narrow;      /* [narrow column][row] */
    double *sums;         /* [output][position of the row] */
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
    PLACE(ranked, forest->ranks ? (size_t)forest->n_columns * BLOCK_ROWS : 0);
    PLACE(by_row, (size_t)forest->n_columns * BLOCK_ROWS);
    PLACE(narrow, (size_t)forest->n_narrow * BLOCK_ROWS);
    PLACE(sums, (size_t)forest->n_outputs * BLOCK_ROWS);
    PLACE(sums_f32, (size_t)forest->n_outputs * BLOCK_ROWS);
#undef PLACE
    return at;
}

#define BLOCKS 8 /* that pass a tree one after the other */

size_t forest_scratch_bytes(const struct forest *forest) {
    return BLOCKS * lay_out(forest, NULL, NULL) + 64;
}

typedef void predict_blocks(const struct forest *, const struct input_rows *, int64_t, int,
                            const struct scratch *);

#define ROWS_IN_FLIGHT 16
#define SURE_STEPS 6 /* before it is asked whether all have ended */

#define TARGET
#define VECTOR_BYTES 16 /* SSE2 or NEON; elsewhere the compiler makes do */
#define NAME(name) name##_plain
#include "forest_block.h"
#undef TARGET
#undef VECTOR_BYTES
#undef NAME

#ifdef WITH_X86
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

static predict_blocks *const PREDICT[INSTRUCTION_SETS] = {
    [PLAIN] = predict_plain,
#ifdef WITH_X86
    [AVX2] = predict_avx2,
    [AVX512] = predict_avx512,
#endif
};

/* Write a block's predictions, from its sums. */
static void write_block(const struct forest *forest, const struct scratch *scratch, int count,
                        double *out, int64_t out_stride) {
    for (uint32_t d = 0; d < forest->n_outputs; d++) {
        double *to = out + (int64_t)d * out_stride;
        if (forest->single)
            for (int row = 0; row < count; row++)
                to[row] = (double)scratch->sums_f32[(size_t)d * BLOCK_ROWS + (size_t)row];
        else memcpy(to, scratch->sums + (size_t)d * BLOCK_ROWS, (size_t)count * sizeof *to);
    }
    apply_link(forest->link, forest->scale, forest->divisor, forest->n_outputs, count, out,
               out_stride);
}

void forest_predict(const struct forest *forest, const struct input_rows *inputs, int64_t rows,
                    double *out, int64_t out_stride, void *memory) {
    struct scratch scratches[BLOCKS];
    char *const start = (char *)aligned((size_t)memory);
    const size_t size = lay_out(forest, NULL, NULL);
    for (int b = 0; b < BLOCKS; b++) lay_out(forest, start + (size_t)b * size, &scratches[b]);
    predict_blocks *const predict = PREDICT[instructions()];
    for (int64_t first = 0; first < rows; first += BLOCKS * BLOCK_ROWS) {
        const int64_t left = rows - first;
        const int several = left < BLOCKS * BLOCK_ROWS ? (int)left : BLOCKS * BLOCK_ROWS;
        predict(forest, inputs, first, several, scratches);
        for (int b = 0; b * BLOCK_ROWS < several; b++) {
            const int rest = several - b * BLOCK_ROWS;
            write_block(forest, &scratches[b], rest < BLOCK_ROWS ? rest : BLOCK_ROWS,
                        out + first + b * BLOCK_ROWS, out_stride);
        }
    }
}
