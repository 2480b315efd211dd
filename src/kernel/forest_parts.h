/* What the files of the forest kernel share with each other alone. */
#ifndef TWOFOLD_FOREST_PARTS_H
#define TWOFOLD_FOREST_PARTS_H

#include "forest.h"

#define PADDED_LEAVES 64

/* The part of a tree that has bit sets: all of it, or its top. Node k's children are left[k] and
 * left[k] + 1; where it ends, left[k] is k. */
struct top {
    uint32_t count;
    uint32_t nodes[2 * MAX_BIT_LEAVES]; /* of the tree */
    uint32_t left[2 * MAX_BIT_LEAVES];
    uint32_t first[2 * MAX_BIT_LEAVES]; /* leaf of its subtree, from left to right */
    uint32_t end[2 * MAX_BIT_LEAVES];
};

static inline int is_end(const struct top *top, uint32_t k) { return top->left[k] == k; }

/* Whether a node of a top has a test that may fail. */
static inline int may_fail(const struct node *nodes, const struct top *top, uint32_t k) {
    return !is_end(top, k) && nodes[top->nodes[k]].code != MAX_CODE;
}

/* A tree's top; `far` has room for a number per node of a tree that is cut. */
void take_top(const struct forest *forest, const struct tree *tree, uint32_t *far,
              struct top *top);

/* The narrow column that holds a rank, made if there is none yet; -1 without memory. */
int narrow_of(struct forest *forest, uint32_t *made, uint32_t column, uint32_t rank);

/* Lay the trees out for the look-ups of one row, if none is cut and the row fits the table. */
const char *derive_row(struct forest *forest, uint32_t *made);

/* Predict one row by look-ups; 0, and nothing done, if it has to be walked. */
int look_up_row(const struct forest *forest, const double *numbers, const int32_t *categories,
                uint16_t *codes, double *out);

static inline uint16_t code_of_category(const struct forest *forest, const struct column *column,
                                        int32_t category) {
    if (category >= 0 && (uint32_t)category < column->count)
        return forest->codes[column->first + (uint32_t)category];
    return (uint16_t)(category == CATEGORY_NULL ? column->missing : column->unknown);
}

#endif
