/* Sketches: how often the values of a column fall into each bucket, and their exact sum there.
 *
 * The bucket of a value is the sign, the exponent and the first bits of the mantissa of its float32
 * distance from the column's origin, so buckets are narrow near the origin and 3 % of the distance
 * wide far from it. These are the buckets of HDR Histogram (Tene) and of DDSketch (Masson, Rim, Lee,
 * VLDB 2019), without a search or a logarithm. The rest of the mantissa is summed as an integer: so
 * whatever comes together in whatever order, counts and sums are the same.
 */
#ifndef TWOFOLD_SKETCH_H
#define TWOFOLD_SKETCH_H

#include "inputs.h"

#define SKETCH_REST_BITS 18 /* of 32: 1 sign, 8 exponent, 5 mantissa */
#define SKETCH_BUCKETS (1 << (32 - SKETCH_REST_BITS))
#define SKETCH_COUNT_SHIFT 40 /* a bucket's word: a count above the sum of the rests */
#define SKETCH_MAX_ROWS (1 << (SKETCH_COUNT_SHIFT - SKETCH_REST_BITS - 1))

/* One bucket that isn't empty; as twofold.batch.sketch reads it. */
struct sketch_entry {
    uint32_t bucket; /* column * SKETCH_BUCKETS + bucket */
    uint32_t count;
    uint64_t rests;
};

/* Add a column's values that are not null to `table`, at most SKETCH_MAX_ROWS of them, and give the
 * least and the greatest that is a number; infinities the other way round if there is none. */
void sketch_add(enum input_kind kind, const struct input_rows *rows, int64_t count, double origin,
                uint64_t *table, double limits[2]);

/* Empty `table` into `out`, which has room for as many entries as values were added. */
size_t sketch_drain(uint64_t *table, uint32_t column, struct sketch_entry *out);

/* Entries in ascending order, of which some are still to be taken. */
struct sketch_list {
    const struct sketch_entry *next, *end;
};

struct sketch_sum {
    uint64_t count, rests;
};

/* Take a column's entries, which come next, from all lists, and write their sums to `out`, in
 * order; it has room for all of them. `table` is SKETCH_BUCKETS of zeros, and is so again. */
size_t sketch_merge(struct sketch_list *lists, size_t count, uint32_t column,
                    struct sketch_sum *table, struct sketch_entry *out);

#endif
