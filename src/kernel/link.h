/* From sums to predictions, in the formulas of the libraries. */
#ifndef TWOFOLD_LINK_H
#define TWOFOLD_LINK_H

#include <stdint.h>

/* Transform values[output * stride + row] in place, for `rows` rows. */
void apply_link(int link, double scale, double divisor, uint32_t outputs, int rows, double *values,
                int64_t stride);

#endif
