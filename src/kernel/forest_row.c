/* What one row needs of a forest for its look-ups: laid out when the forest is prepared. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forest_parts.h"

#define LINE_BYTES 64 /* of a cache */

/* Zeros that begin with a cache line, which vectors then don't cross. */
static void *whole_lines(size_t bytes) {
    const size_t size = (bytes / LINE_BYTES + 1) * LINE_BYTES;
    void *made = aligned_alloc(LINE_BYTES, size);
    if (made) memset(made, 0, size);
    return made;
}

/* ---- a row's numbers --------------------------------------------------------------------- */

static const char *begin_columns(struct forest *forest) {
    forest->row_firsts = malloc(((size_t)forest->n_columns + 1) * sizeof(uint32_t));
    forest->row_counts = malloc(((size_t)forest->n_columns + 1) * sizeof(uint32_t));
    forest->ladders = calloc((size_t)forest->n_columns + 1, sizeof *forest->ladders);
    if (!forest->row_firsts || !forest->row_counts || !forest->ladders) return "out of memory";
    for (uint32_t i = 0; i < forest->n_columns; i++) {
        const struct column *column = &forest->columns[i];
        forest->row_firsts[i] = column->kind == COLUMN_EDGES ? column->first : 0;
        forest->row_counts[i] = column->kind == COLUMN_EDGES ? column->count : 0;
    }
    return NULL;
}

#define MAX_RUNGS (1u << 20) /* in all: 8 MiB; columns may share their edges, but not these */

/* The edges in blocks; above them the last edge of each block, in blocks in their turn, until there
 * is one. The last block of a level has no edge above it, nor has each sixteenth: a number beyond
 * all that a block holds goes down to the last one beneath it. */
static const char *derive_ladders(struct forest *forest) {
    uint32_t n_rungs = 0;
    for (uint32_t i = 0; i < forest->n_columns; i++) {
        struct ladder *ladder = &forest->ladders[i];
        uint32_t count = forest->row_counts[i];
        do {
            count = count ? (count + BLOCK_RUNGS - 1) / BLOCK_RUNGS : 1;
            ladder->levels[ladder->n_levels++] = n_rungs;
            n_rungs += count * BLOCK_RUNGS;
        } while (count > 1);
        if (n_rungs > MAX_RUNGS) return NULL;
    }
    double *rungs = whole_lines((size_t)n_rungs * sizeof *rungs);
    if (!rungs) return "out of memory";
    for (uint32_t i = 0; i < n_rungs; i++) rungs[i] = (double)INFINITY;
    for (uint32_t i = 0; i < forest->n_columns; i++) {
        const struct ladder *ladder = &forest->ladders[i];
        const double *edges = forest->edges + forest->row_firsts[i];
        const uint32_t count = forest->row_counts[i];
        uint32_t span = 1; /* edges to a place of the level */
        for (uint32_t level = 0; level < ladder->n_levels; level++, span *= BLOCK_RUNGS)
            for (uint32_t k = 0; (k + 1) * span < count + !level; k++)
                if (!level || k % BLOCK_RUNGS != BLOCK_RUNGS - 1)
                    rungs[ladder->levels[level] + k] = edges[(k + 1) * span - 1];
    }
    forest->rungs = rungs;
    return NULL;
}

/* ---- groups of trees --------------------------------------------------------------------- */

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

#define NEVER (MAX_NARROW_CODE << 8) /* no byte is larger */

/* Which trees pass side by side, and in how many slots. */
static const char *begin_groups(struct forest *forest, uint32_t *made, uint64_t *slots) {
    const uint32_t n_groups = (forest->n_trees + GROUP_TREES - 1) / GROUP_TREES;
    forest->groups = calloc((size_t)n_groups + 1, sizeof *forest->groups);
    if (!forest->groups) return "out of memory";
    *slots = 0;
    for (uint32_t g = 0; g < n_groups; g++) {
        struct group *group = &forest->groups[g];
        group->first = g * GROUP_TREES;
        group->n_trees = forest->n_trees - group->first;
        if (group->n_trees > GROUP_TREES) group->n_trees = GROUP_TREES;
        group->start = (uint32_t)*slots;
        for (uint32_t k = 0; k < group->n_trees; k++)
            for (uint32_t half = 0; half < 2; half++) {
                const struct tree *tree = &forest->trees[group->first + k];
                const uint32_t count = fill_slots(forest, tree, made, half, NULL, NULL);
                if (count > group->slots[half]) group->slots[half] = count;
            }
        *slots += group->slots[0] + group->slots[1];
        if (*slots > UINT32_MAX / GROUP_TREES) return "the forest is too large";
    }
    return NULL;
}

static const char *derive_groups(struct forest *forest, uint32_t *made, uint64_t slots) {
    const uint32_t n_groups = (forest->n_trees + GROUP_TREES - 1) / GROUP_TREES;
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

/* ---- the same trees in pieces ------------------------------------------------------------ */

/* Count the pieces: trees of a group have as many as its largest. */
static void begin_pieces(struct forest *forest, uint32_t *n_pieces, uint32_t *n_sets) {
    *n_pieces = *n_sets = 0;
    for (uint32_t g = 0; g < forest->n_groups; g++) {
        struct group *group = &forest->groups[g];
        uint32_t most = 1;
        for (uint32_t k = 0; k < group->n_trees; k++) {
            const uint32_t n_leaves = forest->trees[group->first + k].n_leaves;
            if (n_leaves > most * PIECE_LEAVES) most = (n_leaves + PIECE_LEAVES - 1) / PIECE_LEAVES;
        }
        group->pieces = most;
        group->first_piece = *n_pieces;
        group->first_set = *n_sets;
        *n_pieces += GROUP_TREES * most;
        *n_sets += GROUP_TREES * sets_of(most);
    }
}

/* Write a tree's tests, each at the place of the last leaf it strikes, and the sets of its leaves.
 * Tests of a piece strike leaves of this piece and of earlier ones, which have a set for it each:
 * piece p has its sets for pieces p, p + 1 and so on. */
static void fill_pieces(struct forest *forest, const struct group *group, uint32_t k,
                        uint32_t *made) {
    const struct tree *tree = &forest->trees[group->first + k];
    const struct node *nodes = forest->nodes + tree->root;
    const size_t first_piece = group->first_piece + (size_t)k * group->pieces;
    uint16_t *const sets =
        forest->strikers +
        (group->first_set + (size_t)k * sets_of(group->pieces)) * PIECE_LEAVES;
    struct top top;
    take_top(forest, tree, NULL, &top);
    for (uint32_t node = 0; node < top.count; node++) {
        if (!may_fail(nodes, &top, node)) continue;
        const uint32_t last = top.end[top.left[node]] - 1, piece = last / PIECE_LEAVES;
        const size_t at = first_piece * PIECE_LEAVES + last;
        uint8_t *test = forest->piece_tests + at / PAIR_TESTS * PAIR_BYTES + at % PAIR_TESTS;
        test[0] = (uint8_t)narrow_of(forest, made, nodes[node].column, nodes[node].code);
        test[PAIR_TESTS] = (uint8_t)(nodes[node].code % MAX_NARROW_CODE) ^ SIGN;
        for (uint32_t leaf = top.first[top.left[node]]; leaf <= last; leaf++) {
            const uint32_t own = leaf / PIECE_LEAVES;
            /* The pieces from `own` on have as many sets as a tree of so many pieces. */
            const uint32_t before = sets_of(group->pieces) - sets_of(group->pieces - own);
            sets[(before + piece - own) * PIECE_LEAVES + leaf % PIECE_LEAVES] |=
                (uint16_t)(1u << last % PIECE_LEAVES);
        }
    }
}

static const char *derive_pieces(struct forest *forest, uint32_t *made) {
    uint32_t n_pieces, n_sets;
    begin_pieces(forest, &n_pieces, &n_sets);
    const size_t n_pairs = n_pieces / 2; /* a group's pieces are even */
    forest->piece_tests = whole_lines(n_pairs * PAIR_BYTES);
    forest->strikers = whole_lines((size_t)n_sets * PIECE_LEAVES * sizeof *forest->strikers);
    if (!forest->piece_tests || !forest->strikers) return "out of memory";
    for (size_t i = 0; i < n_pairs; i++) /* no byte is larger */
        memset(forest->piece_tests + i * PAIR_BYTES + PAIR_TESTS, MAX_NARROW_CODE ^ SIGN, PAIR_TESTS);
    for (uint32_t g = 0; g < forest->n_groups; g++)
        for (uint32_t k = 0; k < forest->groups[g].n_trees; k++)
            fill_pieces(forest, &forest->groups[g], k, made);
    return NULL;
}

/* ---- heaps ------------------------------------------------------------------------------- */

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

/* ---- all of it --------------------------------------------------------------------------- */

const char *derive_row(struct forest *forest, uint32_t *made) {
    if (forest->n_cut || forest->n_narrow > MAX_TABLE || forest->n_columns > MAX_TABLE ||
        forest->n_edges > INT32_MAX)
        return NULL;
    uint64_t slots = 0;
    const char *wrong = begin_columns(forest);
    if (!wrong) wrong = derive_ladders(forest);
    if (!wrong) wrong = begin_groups(forest, made, &slots);
    if (wrong) return wrong;
    if (is_for_heaps(forest, slots)) return derive_heaps(forest, made);
    wrong = derive_groups(forest, made, slots);
    return wrong ? wrong : derive_pieces(forest, made);
}
