#include "sketch.h"

#include <math.h>
#include <string.h>

#define BLOCK 512 /* values whose bits lie in the nearest cache */
#define LANES 8
#define ONE ((uint64_t)1 << SKETCH_COUNT_SHIFT)
#define REST_MASK (((uint32_t)1 << SKETCH_REST_BITS) - 1)

static int is_set(const uint8_t *bits, int64_t position) {
    return (bits[position >> 3] >> (position & 7)) & 1;
}

static void count_bits(const uint32_t *bits, int count, uint64_t *table) {
    for (int i = 0; i < count; i++) table[bits[i] >> SKETCH_REST_BITS] += ONE + (bits[i] & REST_MASK);
}

/* The comparisons leave out NaN, and lanes let them be made side by side. */
#define DEFINE_ADD_BLOCK(name, number)                                                        \
    static void name(const number *values, int count, number origin, uint64_t *table,         \
                     double limits[2]) {                                                      \
        uint32_t bits[BLOCK];                                                                 \
        float distances[BLOCK];                                                               \
        number least[LANES], most[LANES];                                                     \
        for (int j = 0; j < LANES; j++) {                                                     \
            least[j] = (number)INFINITY;                                                      \
            most[j] = (number)-INFINITY;                                                      \
        }                                                                                     \
        for (int i = 0; i < count; i++) distances[i] = (float)(values[i] - origin);           \
        memcpy(bits, distances, (size_t)count * sizeof *bits);                                \
        int i = 0;                                                                            \
        for (; i + LANES <= count; i += LANES)                                                \
            for (int j = 0; j < LANES; j++) {                                                 \
                const number value = values[i + j];                                           \
                least[j] = value < least[j] ? value : least[j];                               \
                most[j] = value > most[j] ? value : most[j];                                  \
            }                                                                                 \
        for (; i < count; i++) {                                                              \
            least[0] = values[i] < least[0] ? values[i] : least[0];                           \
            most[0] = values[i] > most[0] ? values[i] : most[0];                              \
        }                                                                                     \
        for (int j = 0; j < LANES; j++) {                                                     \
            limits[0] = least[j] < limits[0] ? least[j] : limits[0];                          \
            limits[1] = most[j] > limits[1] ? most[j] : limits[1];                            \
        }                                                                                     \
        count_bits(bits, count, table);                                                       \
    }

DEFINE_ADD_BLOCK(add_floats, float)
DEFINE_ADD_BLOCK(add_doubles, double)

static void add_single(const struct input_rows *rows, int64_t count, float origin,
                       uint64_t *table, double limits[2]) {
    const float *values = (const float *)rows->values + rows->offset;
    float held[BLOCK];
    for (int64_t first = 0; first < count; first += BLOCK) {
        const int size = count - first < BLOCK ? (int)(count - first) : BLOCK;
        if (!rows->validity) {
            add_floats(values + first, size, origin, table, limits);
            continue;
        }
        int kept = 0;
        for (int i = 0; i < size; i++) {
            held[kept] = values[first + i];
            kept += is_set(rows->validity, rows->offset + first + i);
        }
        add_floats(held, kept, origin, table, limits);
    }
}

static void add_double(enum input_kind kind, const struct input_rows *rows, int64_t count,
                       double origin, uint64_t *table, double limits[2]) {
    double held[BLOCK];
    for (int64_t first = 0; first < count; first += BLOCK) {
        const int size = count - first < BLOCK ? (int)(count - first) : BLOCK;
        const int64_t start = rows->offset + first;
        int kept = 0;
        for (int i = 0; i < size; i++) {
            held[kept] = kind == INPUT_I64 ? (double)((const int64_t *)rows->values)[start + i]
                                           : ((const double *)rows->values)[start + i];
            kept += !rows->validity || is_set(rows->validity, start + i);
        }
        add_doubles(held, kept, origin, table, limits);
    }
}

void sketch_add(enum input_kind kind, const struct input_rows *rows, int64_t count, double origin,
                uint64_t *table, double limits[2]) {
    limits[0] = INFINITY;
    limits[1] = -INFINITY;
    if (kind == INPUT_F32) add_single(rows, count, (float)origin, table, limits);
    else add_double(kind, rows, count, origin, table, limits);
}

size_t sketch_drain(uint64_t *table, uint32_t column, struct sketch_entry *out) {
    size_t found = 0;
    for (uint32_t bucket = 0; bucket < SKETCH_BUCKETS; bucket += 4) {
        if (!(table[bucket] | table[bucket + 1] | table[bucket + 2] | table[bucket + 3])) continue;
        for (uint32_t at = bucket; at < bucket + 4; at++) {
            if (!table[at]) continue;
            out[found].bucket = column * SKETCH_BUCKETS + at;
            out[found].count = (uint32_t)(table[at] >> SKETCH_COUNT_SHIFT);
            out[found++].rests = table[at] & (ONE - 1);
            table[at] = 0;
        }
    }
    return found;
}

size_t sketch_merge(struct sketch_list *lists, size_t count, uint32_t column,
                    struct sketch_sum *table, struct sketch_entry *out) {
    uint32_t least = SKETCH_BUCKETS, most = 0;
    for (size_t i = 0; i < count; i++) {
        const struct sketch_entry *next = lists[i].next;
        for (; next < lists[i].end && next->bucket / SKETCH_BUCKETS == column; next++) {
            const uint32_t bucket = next->bucket % SKETCH_BUCKETS;
            table[bucket].count += next->count;
            table[bucket].rests += next->rests;
            least = bucket < least ? bucket : least;
            most = bucket > most ? bucket : most;
        }
        lists[i].next = next;
    }
    size_t found = 0;
    for (uint32_t bucket = least; bucket <= most; bucket++) {
        if (!table[bucket].count) continue;
        out[found].bucket = column * SKETCH_BUCKETS + bucket;
        out[found].count = (uint32_t)table[bucket].count;
        out[found++].rests = table[bucket].rests;
        table[bucket] = (struct sketch_sum){0, 0};
    }
    return found;
}
