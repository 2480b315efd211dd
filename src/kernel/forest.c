#include "forest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "instructions.h"
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

/* The part of a tree that has bit sets: all of it, or its top. Node k's children are left[k] and
 * left[k] + 1; where it ends, left[k] is k. */
struct top {
    uint32_t count;
    uint32_t nodes[2 * MAX_BIT_LEAVES]; /* of the tree */
    uint32_t left[2 * MAX_BIT_LEAVES];
    uint32_t first[2 * MAX_BIT_LEAVES]; /* leaf of its subtree, from left to right */
    uint32_t end[2 * MAX_BIT_LEAVES];
};

static int is_end(const struct top *top, uint32_t k) { return top->left[k] == k; }

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

/* A tree's top; `far` has room for a number per node of a tree that is cut. */
static void take_top(const struct forest *forest, const struct tree *tree, uint32_t *far,
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

/* Whether a node of a top has a test that may fail. */
static int may_fail(const struct node *nodes, const struct top *top, uint32_t k) {
    return !is_end(top, k) && nodes[top->nodes[k]].code != MAX_CODE;
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

/* The narrow column that holds a rank, made if there is none yet. */
static int narrow_of(struct forest *forest, uint32_t *made, uint32_t column, uint32_t rank) {
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

/* A tree's tests that strike leaves of one half, into every 16th place; gives how many. */
static uint32_t fill_slots(struct forest *forest, const struct tree *tree, uint32_t *made,
                           uint32_t half, uint16_t *tests, uint32_t *keeps) {
    struct top top;
    take_top(forest, tree, NULL, &top);
    const struct node *nodes = forest->nodes + tree->root;
    const uint32_t low = half * 32, high = low + 32;
    uint32_t count = 0;
    for (uint32_t k = 0; k < top.count; k++) {
        if (!may_fail(nodes, &top, k)) continue;
        const uint32_t from = top.first[top.left[k]], to = top.end[top.left[k]];
        if (to <= low || from >= high) continue;
        uint32_t struck = 0;
        for (uint32_t leaf = from < low ? low : from; leaf < to && leaf < high; leaf++)
            struck |= 0x80000000u >> (leaf - low);
        if (tests) {
            const int column = narrow_of(forest, made, nodes[k].column, nodes[k].code);
            const uint32_t code = nodes[k].code % MAX_NARROW_CODE;
            tests[count * GROUP_TREES] = (uint16_t)((uint32_t)column | code << 8);
            keeps[count * GROUP_TREES] = ~struck;
        }
        count++;
    }
    return count;
}

/* Lay a tree out as a heap: below a leaf all tests are such that never fail, and all ends are it. */
static int fill_heap(struct forest *forest, const struct tree *tree, uint32_t *made,
                     uint8_t *tests, double *leaves) {
    const struct node *nodes = forest->nodes + tree->root;
    uint32_t at[2 * HEAP_LEAVES] = {0};
    for (uint32_t k = 1; k < HEAP_LEAVES; k++) {
        const struct node *node = &nodes[at[k]];
        const int is_leaf = node->left == at[k];
        int column = 0;
        if (node->code != MAX_CODE) {
            column = narrow_of(forest, made, node->column, node->code);
            if (column < 0) return -1;
        }
        tests[k] = (uint8_t)column;
        tests[HEAP_LEAVES + k] =
            node->code == MAX_CODE ? MAX_NARROW_CODE : node->code % MAX_NARROW_CODE;
        at[2 * k] = node->left;
        at[2 * k + 1] = is_leaf ? at[k] : node->left + 1;
    }
    for (uint32_t k = 0; k < HEAP_LEAVES; k++)
        leaves[k] = forest->values[tree->root + at[HEAP_LEAVES + k]];
    return 0;
}

/* Lay the trees out as heaps; the caller has made sure that they can be. */
static const char *derive_heaps(struct forest *forest, uint32_t *made) {
    forest->heap_leaves =
        malloc((size_t)forest->n_trees * HEAP_LEAVES * sizeof *forest->heap_leaves + 1);
    uint8_t *heaps = calloc((size_t)forest->n_trees * HEAP_BYTES + 1, 1);
    forest->heaps = heaps;
    if (!forest->heap_leaves || !heaps) return "out of memory";
    for (uint32_t t = 0; t < forest->n_trees; t++)
        if (fill_heap(forest, &forest->trees[t], made, heaps + (size_t)t * HEAP_BYTES,
                      forest->heap_leaves + (size_t)t * HEAP_LEAVES))
            return "out of memory";
    return NULL;
}

/* Whether heaps are less work than `slots`: a slot takes about half as long as a tree's heap. */
static int is_for_heaps(const struct forest *forest, uint64_t slots) {
    for (uint32_t t = 0; t < forest->n_trees; t++)
        if (forest->trees[t].depth > HEAP_DEPTH) return 0;
    return forest->dimensions == 1 && slots > 2 * (uint64_t)forest->n_trees;
}

#define NEVER (MAX_NARROW_CODE << 8) /* no byte is larger */

/* Lay the trees out for one row, if none is cut and the row fits the table. */
static const char *derive_groups(struct forest *forest, uint32_t *made) {
    if (forest->n_cut || forest->n_narrow > MAX_TABLE || forest->n_columns > MAX_TABLE ||
        forest->n_edges > INT32_MAX)
        return NULL;
    forest->row_firsts = malloc(((size_t)forest->n_columns + 1) * sizeof(uint32_t));
    forest->row_counts = malloc(((size_t)forest->n_columns + 1) * sizeof(uint32_t));
    if (!forest->row_firsts || !forest->row_counts) return "out of memory";
    for (uint32_t i = 0; i < forest->n_columns; i++) {
        const struct column *column = &forest->columns[i];
        forest->row_firsts[i] = column->kind == COLUMN_EDGES ? column->first : 0;
        forest->row_counts[i] = column->kind == COLUMN_EDGES ? column->count : 0;
    }
    const uint32_t n_groups = (forest->n_trees + GROUP_TREES - 1) / GROUP_TREES;
    forest->groups = calloc((size_t)n_groups + 1, sizeof *forest->groups);
    if (!forest->groups) return "out of memory";
    uint64_t slots = 0;
    for (uint32_t g = 0; g < n_groups; g++) {
        struct group *group = &forest->groups[g];
        group->first = g * GROUP_TREES;
        group->n_trees = forest->n_trees - group->first;
        if (group->n_trees > GROUP_TREES) group->n_trees = GROUP_TREES;
        group->start = (uint32_t)slots;
        for (uint32_t k = 0; k < group->n_trees; k++)
            for (uint32_t half = 0; half < 2; half++) {
                const struct tree *tree = &forest->trees[group->first + k];
                const uint32_t count = fill_slots(forest, tree, made, half, NULL, NULL);
                if (count > group->slots[half]) group->slots[half] = count;
            }
        slots += group->slots[0] + group->slots[1];
        if (slots > UINT32_MAX / GROUP_TREES) return "the forest is too large";
    }
    if (is_for_heaps(forest, slots)) return derive_heaps(forest, made);
    const size_t count = (size_t)slots * GROUP_TREES + 1;
    forest->group_tests = malloc(count * sizeof *forest->group_tests);
    forest->group_keeps = malloc(count * sizeof *forest->group_keeps);
    if (!forest->group_tests || !forest->group_keeps) return "out of memory";
    for (size_t i = 0; i < (size_t)slots * GROUP_TREES; i++) {
        forest->group_tests[i] = NEVER;
        forest->group_keeps[i] = UINT32_MAX;
    }
    for (uint32_t g = 0; g < n_groups; g++) {
        const struct group *group = &forest->groups[g];
        for (uint32_t k = 0; k < group->n_trees; k++)
            for (uint32_t half = 0; half < 2; half++) {
                const size_t at =
                    ((size_t)group->start + (half ? group->slots[0] : 0)) * GROUP_TREES + k;
                fill_slots(forest, &forest->trees[group->first + k], made, half,
                           forest->group_tests + at, forest->group_keeps + at);
            }
    }
    forest->n_groups = n_groups;
    return NULL;
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
    return wrong ? wrong : derive_groups(forest, made);
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
    free(forest->groups);
    free(forest->heaps);
    free(forest->heap_leaves);
    free(forest->group_tests);
    free(forest->group_keeps);
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

#define HEAPS 64 /* trees that are in flight */

#ifdef WITH_X86
#include <immintrin.h>

#define LOOKUP __attribute__((target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi")))

/* The ranks of a row's numbers among the edges of eight columns at a time; `values` by column. */
LOOKUP static void rank_row(const struct forest *forest, const double *values, uint32_t *ranks) {
    const __m256i one = _mm256_set1_epi32(1);
    for (uint32_t i = 0; i < forest->n_columns; i += 8) {
        const uint32_t rest = forest->n_columns - i;
        const __mmask8 lanes = rest < 8 ? (__mmask8)((1u << rest) - 1) : 0xff;
        const __m512d x = _mm512_maskz_loadu_pd(lanes, values + i);
        const __m256i first = _mm256_maskz_loadu_epi32(lanes, forest->row_firsts + i);
        __m256i left = _mm256_maskz_loadu_epi32(lanes, forest->row_counts + i), at = first;
        for (;;) {
            const __mmask8 wide = _mm256_cmpgt_epi32_mask(left, one);
            if (!wide) break;
            const __m256i half = _mm256_srli_epi32(left, 1);
            const __m256i middle = _mm256_sub_epi32(_mm256_add_epi32(at, half), one);
            const __m512d edge =
                _mm512_mask_i32gather_pd(_mm512_setzero_pd(), wide, middle, forest->edges, 8);
            const __mmask8 above = _mm512_mask_cmp_pd_mask(wide, edge, x, _CMP_LT_OQ);
            at = _mm256_mask_add_epi32(at, above, at, half);
            left = _mm256_mask_sub_epi32(left, wide, left, half);
        }
        const __mmask8 some = _mm256_cmpeq_epi32_mask(left, one);
        const __m512d edge = _mm512_mask_i32gather_pd(_mm512_setzero_pd(), some, at, forest->edges, 8);
        const __mmask8 above = _mm512_mask_cmp_pd_mask(some, edge, x, _CMP_LT_OQ);
        at = _mm256_sub_epi32(_mm256_mask_add_epi32(at, above, at, one), first);
        _mm256_mask_storeu_epi32(ranks + i, lanes, at);
    }
}

/* The leaves where a row, as its narrow codes, leaves the trees of a group. */
LOOKUP static void
pass_group(const struct forest *forest, const struct group *group, const uint8_t *row,
           uint32_t *exits) {
    const __m512i low = _mm512_loadu_si512(row), high = _mm512_loadu_si512(row + 64);
    const __m512i byte = _mm512_set1_epi32(0xff);
    const uint16_t *tests = forest->group_tests + (size_t)group->start * GROUP_TREES;
    const uint32_t *keeps = forest->group_keeps + (size_t)group->start * GROUP_TREES;
    __m512i left[2] = {_mm512_set1_epi32(-1), _mm512_set1_epi32(-1)};
    for (int half = 0; half < 2; half++) {
        __m512i set = left[half];
        for (uint32_t slot = 0; slot < group->slots[half]; slot++) {
            const __m512i test = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)tests));
            const __m512i found = _mm512_permutex2var_epi8(low, test, high);
            const __mmask16 failed = _mm512_cmpgt_epu32_mask(_mm512_and_si512(found, byte),
                                                             _mm512_srli_epi32(test, 8));
            set = _mm512_mask_and_epi32(set, failed, set, _mm512_loadu_si512(keeps));
            tests += GROUP_TREES;
            keeps += GROUP_TREES;
        }
        left[half] = set;
    }
    const __m512i first = _mm512_lzcnt_epi32(left[0]), second = _mm512_lzcnt_epi32(left[1]);
    const __mmask16 later = _mm512_cmpeq_epi32_mask(first, _mm512_set1_epi32(32));
    _mm512_storeu_si512(exits, _mm512_mask_add_epi32(first, later, first, second));
}

/* The leaves, from HEAP_LEAVES on, where a row leaves some trees; `count` <= HEAPS. */
LOOKUP static void
pass_heaps(const struct forest *forest, uint32_t tree, uint32_t count, const uint8_t *row,
           uint64_t *exits) {
    const __m512i low = _mm512_loadu_si512(row), high = _mm512_loadu_si512(row + 64);
    const __m512i one = _mm512_set1_epi64(1);
    uint64_t failed[HEAPS] = {0};
    for (uint32_t k = 0; k < count; k++) {
        const uint8_t *tests = forest->heaps + (size_t)(tree + k) * HEAP_BYTES;
        const __m512i found = _mm512_permutex2var_epi8(low, _mm512_loadu_si512(tests), high);
        failed[k] = _mm512_cmpgt_epu8_mask(found, _mm512_loadu_si512(tests + HEAP_LEAVES));
    }
    for (uint32_t k = 0; k < count; k += 8) {
        const __m512i bits = _mm512_loadu_si512(failed + k);
        __m512i at = one;
        for (int level = 0; level < HEAP_DEPTH; level++) {
            const __m512i bit = _mm512_and_si512(_mm512_srlv_epi64(bits, at), one);
            at = _mm512_add_epi64(_mm512_add_epi64(at, at), bit);
        }
        _mm512_storeu_si512(exits + k, at);
    }
}

/* The codes of a row, its numbers ranked side by side. */
static void code_row(const struct forest *forest, const double *numbers,
                     const int32_t *categories, uint16_t *codes) {
    double values[MAX_TABLE];
    uint32_t ranks[MAX_TABLE];
    const struct column *columns = forest->columns;
    for (uint32_t i = 0; i < forest->n_columns; i++)
        values[i] = columns[i].kind == COLUMN_EDGES ? numbers[columns[i].input] : 0.0;
    rank_row(forest, values, ranks);
    for (uint32_t i = 0; i < forest->n_columns; i++) {
        if (columns[i].kind == COLUMN_TABLE)
            codes[i] = code_of_category(forest, &columns[i], categories[columns[i].input]);
        else if (isnan(values[i])) codes[i] = (uint16_t)columns[i].missing;
        else codes[i] = columns[i].codes == NO_CODES ? (uint16_t)ranks[i]
                                                     : forest->codes[columns[i].codes + ranks[i]];
    }
}

/* A row's codes as bytes, the table of the look-ups. */
static void narrow_row(const struct forest *forest, const uint16_t *codes, uint8_t *row) {
    for (uint32_t i = 0; i < forest->n_narrow; i++) {
        const uint32_t code = codes[forest->narrows[i].column], low = forest->narrows[i].low;
        const uint32_t above = code > low ? code - low : 0;
        row[i] = above > MAX_NARROW_CODE ? MAX_NARROW_CODE : (uint8_t)above;
    }
}

static void add_groups(const struct forest *forest, const uint8_t *row, double *out) {
    const uint32_t dimensions = forest->dimensions;
    double sum = out[0];
    float single = (float)out[0];
    const int one = forest->n_outputs == 1;
    for (uint32_t g = 0; g < forest->n_groups; g++) {
        const struct group *group = &forest->groups[g];
        uint32_t exits[GROUP_TREES];
        pass_group(forest, group, row, exits);
        for (uint32_t k = 0; k < group->n_trees; k++) {
            const struct tree *tree = &forest->trees[group->first + k];
            const size_t leaf = tree->leaves + exits[k];
            if (one) {
                if (forest->single) single += forest->leaves_f32[leaf];
                else sum += forest->leaves[leaf];
                continue;
            }
            for (uint32_t d = 0; d < dimensions; d++) {
                const size_t at = leaf + (size_t)d * PADDED_LEAVES;
                double *to = out + (dimensions > 1 ? d : tree->output);
                if (forest->single) *to = (double)((float)*to + forest->leaves_f32[at]);
                else *to += forest->leaves[at];
            }
        }
    }
    if (one) out[0] = forest->single ? (double)single : sum;
}

static void add_heaps(const struct forest *forest, const uint8_t *row, double *out) {
    double sum = out[0];
    float single = (float)out[0];
    for (uint32_t first = 0; first < forest->n_trees; first += HEAPS) {
        const uint32_t left = forest->n_trees - first, count = left < HEAPS ? left : HEAPS;
        uint64_t exits[HEAPS];
        pass_heaps(forest, first, count, row, exits);
        for (uint32_t k = 0; k < count; k++) {
            const size_t leaf = (size_t)(first + k) * HEAP_LEAVES + exits[k] - HEAP_LEAVES;
            const double value = forest->heap_leaves[leaf];
            if (forest->n_outputs > 1) {
                double *to = out + forest->trees[first + k].output;
                *to = forest->single ? (double)((float)*to + (float)value) : *to + value;
            } else if (forest->single) single += (float)value;
            else sum += value;
        }
    }
    if (forest->n_outputs == 1) out[0] = forest->single ? (double)single : sum;
}

static void predict_by_lookup(const struct forest *forest, const double *numbers,
                              const int32_t *categories, uint16_t *codes, double *out) {
    uint8_t row[MAX_TABLE] = {0};
    code_row(forest, numbers, categories, codes);
    narrow_row(forest, codes, row);
    for (uint32_t d = 0; d < forest->n_outputs; d++)
        out[d] = forest->single ? (double)(float)forest->bases[d] : forest->bases[d];
    if (forest->heaps) add_heaps(forest, row, out);
    else add_groups(forest, row, out);
    apply_link(forest->link, forest->scale, forest->divisor, forest->n_outputs, 1, out, 1);
}

#endif

void forest_predict_one(const struct forest *forest, const double *numbers,
                        const int32_t *categories, uint16_t *codes, double *out) {
#ifdef WITH_X86
    if ((forest->n_groups || forest->heaps) && can_look_up()) {
        predict_by_lookup(forest, numbers, categories, codes, out);
        return;
    }
#endif
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
