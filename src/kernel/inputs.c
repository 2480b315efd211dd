#include "inputs.h"

#include <math.h>

static int bit_at(const uint8_t *bits, int64_t position) {
    return (bits[position >> 3] >> (position & 7)) & 1;
}

void read_numbers(enum input_kind kind, const struct input_rows *rows, int64_t first, int count,
                  double *out) {
    const int64_t start = rows->offset + first * rows->stride, stride = rows->stride;
    switch (kind) {
    case INPUT_F64: {
        const double *values = (const double *)rows->values + start;
        for (int row = 0; row < count; row++) out[row] = values[row * stride];
        break;
    }
    case INPUT_F32: {
        const float *values = (const float *)rows->values + start;
        for (int row = 0; row < count; row++) out[row] = (double)values[row * stride];
        break;
    }
    case INPUT_I64: {
        const int64_t *values = (const int64_t *)rows->values + start;
        for (int row = 0; row < count; row++) out[row] = (double)values[row * stride];
        break;
    }
    default: {
        const uint8_t *bits = (const uint8_t *)rows->values;
        for (int row = 0; row < count; row++) out[row] = bit_at(bits, start + row * stride);
        break;
    }
    }
    if (rows->validity) {
        /* Nulls are counted by row, whatever the stride is. */
        const int64_t from = rows->offset / stride + first;
        for (int row = 0; row < count; row++)
            if (!bit_at(rows->validity, from + row)) out[row] = NAN;
    }
}

void read_categories(const struct input_rows *rows, int64_t first, int count, int32_t *out) {
    const int64_t start = rows->offset + first;
    const int32_t *indices = (const int32_t *)rows->values + start;
    for (int row = 0; row < count; row++) {
        const uint32_t index = (uint32_t)indices[row];
        out[row] = index < (uint64_t)rows->n_mapping ? rows->mapping[index] : CATEGORY_UNKNOWN;
    }
    if (rows->validity)
        for (int row = 0; row < count; row++)
            if (!bit_at(rows->validity, start + row)) out[row] = CATEGORY_NULL;
}
