#include "link.h"

#include <math.h>

#include "forest.h"

static double linked(int link, double scale, double x) {
    switch (link) {
    case LINK_SIGMOID: return 1.0 / (1.0 + exp(-scale * x));
    case LINK_EXP: return exp(x);
    case LINK_SQUARE: return x < 0 ? -(x * x) : x * x;
    case LINK_LOG1P_EXP: return log1p(exp(x));
    case LINK_SIGMOID_F32: {
        /* XGBoost bounds the exponent and adds an epsilon so that no division yields infinity. */
        float z = -(float)x;
        if (z > 88.7f) z = 88.7f;
        const float denominator = expf(z) + 1.0f + 1e-16f;
        return (double)(1.0f / denominator);
    }
    case LINK_EXP_F32: return (double)expf((float)x);
    default: return x;
    }
}

static void softmax(uint32_t outputs, double *values, int64_t stride) {
    double largest = values[0], sum = 0.0;
    for (uint32_t k = 1; k < outputs; k++)
        if (values[k * stride] > largest) largest = values[k * stride];
    for (uint32_t k = 0; k < outputs; k++) {
        values[k * stride] = exp(values[k * stride] - largest);
        sum += values[k * stride];
    }
    for (uint32_t k = 0; k < outputs; k++) values[k * stride] /= sum;
}

static void softmax_f32(uint32_t outputs, double *values, int64_t stride) {
    float largest = (float)values[0];
    for (uint32_t k = 1; k < outputs; k++)
        if ((float)values[k * stride] > largest) largest = (float)values[k * stride];
    double sum = 0.0;
    for (uint32_t k = 0; k < outputs; k++) {
        const float power = expf((float)values[k * stride] - largest);
        values[k * stride] = (double)power;
        sum += (double)power;
    }
    for (uint32_t k = 0; k < outputs; k++)
        values[k * stride] = (double)((float)values[k * stride] / (float)sum);
}

void apply_link(int link, double scale, double divisor, uint32_t outputs, int rows, double *values,
                int64_t stride) {
    for (uint32_t d = 0; d < outputs; d++) {
        double *output = values + d * stride;
        if (divisor != 1.0)
            for (int row = 0; row < rows; row++) output[row] /= divisor;
        if (link != LINK_NONE && link != LINK_SOFTMAX && link != LINK_SOFTMAX_F32)
            for (int row = 0; row < rows; row++) output[row] = linked(link, scale, output[row]);
    }
    if (link == LINK_SOFTMAX)
        for (int row = 0; row < rows; row++) softmax(outputs, values + row, stride);
    if (link == LINK_SOFTMAX_F32)
        for (int row = 0; row < rows; row++) softmax_f32(outputs, values + row, stride);
}
