/* Inputs: the canonical columns of many rows, or the values of one, as numbers and categories. */
#ifndef TWOFOLD_INPUTS_H
#define TWOFOLD_INPUTS_H

#include <stddef.h>
#include <stdint.h>

/* Rows that are worked on together: a vector of bytes on the widest processors. */
#define BLOCK_ROWS 64

/* What stands in an input's Arrow column; the numbers are shared with twofold.predictor. */
enum input_kind {
    INPUT_F64 = 0,
    INPUT_F32 = 1,
    INPUT_I64 = 2,
    INPUT_BOOL = 3, /* bits */
    INPUT_TEXT = 4, /* int32 indices into a dictionary */
    INPUT_KINDS
};

/* Categories that have no entry in a table. */
enum { CATEGORY_UNKNOWN = -1, CATEGORY_NULL = -2 };

/* One input's values for many rows. Bounds are checked before any of it is read. */
struct input_rows {
    const void *values;
    const uint8_t *validity; /* bit 1 = not null; NULL = no nulls */
    int64_t offset;          /* of the first row, in values of this column */
    int64_t stride;          /* values from one row to the next: 1, or a tensor's length */
    const int32_t *mapping;  /* INPUT_TEXT: dictionary index to category, or CATEGORY_UNKNOWN */
    int64_t n_mapping;
};

/* Read `count` <= BLOCK_ROWS rows of a number input; null becomes NaN. */
void read_numbers(enum input_kind kind, const struct input_rows *rows, int64_t first, int count,
                  double *out);

/* Read rows of a text input as categories. */
void read_categories(const struct input_rows *rows, int64_t first, int count, int32_t *out);

#endif
