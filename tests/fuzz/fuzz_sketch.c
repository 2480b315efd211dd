/* Fuzzes the sketching of columns, src/kernel/sketch.c.
 *
 * Each case makes a column of numbers and sketches it, whole and in pieces. Every bucket must have
 * the count and the rests that a naive reading of sketch.h gives, value by value; the least and the
 * greatest number must be right, and the table empty again. Values, validity and entries lie in
 * memory of their own without a byte to spare. There are no wrong columns, so there are no mutants.
 */
#include "cases.h"

#include <math.h>
#include <string.h>

#include "sketch.h"

#define COLUMNS "columns"
#define MAX_SMALL_ROWS 40
#define MAX_SOME_ROWS 2100 /* some blocks of 512 */
#define MAX_OFFSET 70

enum { SINGLE, DOUBLE, WHOLE, NULLS, OFFSET, BLOCKS, NANS, EMPTY, PIECES, FULL, WAYS };
static struct way ways[WAYS] = {
    {"of singles", 0},     {"of doubles", 0}, {"of whole numbers", 0},
    {"with nulls", 0},     {"at an offset", 0}, {"of several blocks", 0},
    {"without numbers", 0}, {"without rows", 0}, {"in pieces", 0},
    {"as long as may be", 0},
};

struct column {
    enum input_kind kind;
    struct input_rows rows;
    int64_t count;
    double origin;
    void *values;
    uint8_t *validity;
};

struct naive {
    uint64_t counts[SKETCH_BUCKETS], rests[SKETCH_BUCKETS];
    double least, most;
};

static uint64_t table[SKETCH_BUCKETS];
static struct naive wanted;

/* ---- a column ---------------------------------------------------------------------------- */

static double any_double(int style) {
    double found;
    const uint64_t bits = word();
    switch (style) {
    case 0: return (double)(int32_t)below(9) - 4;
    case 1: memcpy(&found, &bits, sizeof found); return found; /* of any size, NaN, infinite */
    case 2: return one_in(2) ? NAN : (one_in(2) ? INFINITY : -INFINITY);
    case 3: return NAN;
    case 4: return ldexp((double)bits, -64 - (int)below(200)) * (one_in(2) ? -1.0 : 1.0);
    default: return 1.9999998807907104; /* all the rests that fit a float */
    }
}

static void fill(struct column *made, int64_t total, int style) {
    const size_t width = made->kind == INPUT_F32 ? sizeof(float) : sizeof(double);
    made->values = checked(malloc(total ? (size_t)total * width : 1));
    for (int64_t i = 0; i < total; i++) {
        const int own = style == 6 ? (int)below(5) : style;
        if (made->kind == INPUT_F32) {
            float one = own == 1 ? 0.0f : (float)any_double(own);
            const uint32_t bits = (uint32_t)word();
            if (own == 1) memcpy(&one, &bits, sizeof one);
            ((float *)made->values)[i] = one;
        } else if (made->kind == INPUT_F64) {
            ((double *)made->values)[i] = any_double(own);
        } else {
            ((int64_t *)made->values)[i] = own ? (int64_t)word() >> below(64) : (int64_t)below(9);
        }
    }
}

static struct column any_column(void) {
    static const enum input_kind kinds[] = {INPUT_F32, INPUT_F64, INPUT_I64};
    struct column made = {.kind = kinds[below(3)]};
    const int is_full = one_in(250);
    int style = (int)below(7);
    made.count = is_full     ? SKETCH_MAX_ROWS
                 : one_in(3) ? below(MAX_SOME_ROWS + 1)
                             : below(MAX_SMALL_ROWS + 1);
    if (is_full) style = 5;
    made.rows.offset = one_in(2) ? 0 : below(MAX_OFFSET);
    made.rows.stride = 1;
    const int64_t total = made.rows.offset + made.count;
    fill(&made, total, style);
    made.rows.values = made.values;
    if (one_in(2)) {
        const size_t size = (size_t)(total + 7) / 8;
        const int how = (int)below(3); /* some, mostly or hardly any nulls */
        made.validity = checked(malloc(size ? size : 1));
        for (size_t i = 0; i < size; i++)
            made.validity[i] = (uint8_t)(how == 0   ? word()
                                         : how == 1 ? (one_in(9) ? word() : 0xff)
                                                    : (one_in(9) ? word() : 0));
        made.rows.validity = made.validity;
    }
    made.origin = one_in(3) ? 0.0 : any_double(one_in(2) ? 0 : 4);
    return made;
}

/* ---- what is right ----------------------------------------------------------------------- */

static int is_null(const struct column *column, int64_t row) {
    const int64_t at = column->rows.offset + row;
    return column->validity && !(column->validity[at / 8] >> (at % 8) & 1);
}

static void count_naively(const struct column *column) {
    memset(&wanted, 0, sizeof wanted);
    wanted.least = INFINITY;
    wanted.most = -INFINITY;
    for (int64_t row = 0; row < column->count; row++) {
        const int64_t at = column->rows.offset + row;
        if (is_null(column, row)) continue;
        double value;
        float distance;
        if (column->kind == INPUT_F32) {
            const float single = ((const float *)column->values)[at];
            distance = single - (float)column->origin;
            value = single;
        } else {
            value = column->kind == INPUT_F64 ? ((const double *)column->values)[at]
                                              : (double)((const int64_t *)column->values)[at];
            distance = (float)(value - column->origin);
        }
        uint32_t bits;
        memcpy(&bits, &distance, sizeof bits);
        wanted.counts[bits / (1u << SKETCH_REST_BITS)]++;
        wanted.rests[bits / (1u << SKETCH_REST_BITS)] += bits % (1u << SKETCH_REST_BITS);
        if (value < wanted.least) wanted.least = value;
        if (value > wanted.most) wanted.most = value;
    }
}

static void check(const struct sketch_entry *entries, size_t count, uint32_t column,
                  const double limits[2]) {
    size_t used = 0;
    for (uint32_t bucket = 0; bucket < SKETCH_BUCKETS; bucket++) {
        if (table[bucket]) fail("the table isn't empty again");
        if (!wanted.counts[bucket]) continue;
        if (used == count) fail("a bucket is missing");
        const struct sketch_entry *entry = &entries[used++];
        if (entry->bucket != column * SKETCH_BUCKETS + bucket) fail("another bucket, or order");
        if (entry->count != wanted.counts[bucket]) fail("another count");
        if (entry->rests != wanted.rests[bucket]) fail("other rests");
    }
    if (used != count) fail("a bucket that nothing fell into");
    if (limits[0] != wanted.least || limits[1] != wanted.most) fail("other limits");
}

/* ---- a case ------------------------------------------------------------------------------ */

static size_t drained(const struct column *column, uint32_t number, struct sketch_entry **out) {
    const size_t room = column->count < SKETCH_BUCKETS ? (size_t)column->count : SKETCH_BUCKETS;
    *out = checked(malloc(room ? room * sizeof **out : 1));
    return sketch_drain(table, number, *out);
}

static void sketch_whole(const struct column *column, uint32_t number) {
    struct sketch_entry *entries;
    double limits[2];
    sketch_add(column->kind, &column->rows, column->count, column->origin, table, limits);
    const size_t count = drained(column, number, &entries);
    check(entries, count, number, limits);
    free(entries);
}

static void sketch_in_pieces(const struct column *column, uint32_t number) {
    struct sketch_entry *entries;
    double limits[2] = {INFINITY, -INFINITY};
    for (int64_t first = 0; first < column->count;) {
        struct input_rows rows = column->rows;
        const int64_t left = column->count - first;
        const int64_t size = between(1, left < 700 ? (uint32_t)left : 700);
        double own[2];
        rows.offset += first;
        sketch_add(column->kind, &rows, size, column->origin, table, own);
        limits[0] = own[0] < limits[0] ? own[0] : limits[0];
        limits[1] = own[1] > limits[1] ? own[1] : limits[1];
        first += size;
    }
    const size_t count = drained(column, number, &entries);
    check(entries, count, number, limits);
    free(entries);
}

/* As in pieces, but each is drained, and what came out of them is merged. */
static void sketch_and_merge(const struct column *column, uint32_t number) {
    static struct sketch_sum sums[SKETCH_BUCKETS];
    double limits[2] = {INFINITY, -INFINITY};
    struct sketch_list *lists = checked(malloc(((size_t)column->count + 1) * sizeof *lists));
    struct sketch_entry *entries =
        checked(malloc(((size_t)column->count + 1) * sizeof *entries));
    struct sketch_entry *merged = checked(malloc(((size_t)column->count + 1) * sizeof *merged));
    size_t used = 0, count = 0;
    for (int64_t first = 0; first < column->count; count++) {
        struct input_rows rows = column->rows;
        const int64_t left = column->count - first;
        const int64_t size = between(1, left < 700 ? (uint32_t)left : 700);
        double own[2];
        rows.offset += first;
        sketch_add(column->kind, &rows, size, column->origin, table, own);
        limits[0] = own[0] < limits[0] ? own[0] : limits[0];
        limits[1] = own[1] > limits[1] ? own[1] : limits[1];
        lists[count].next = entries + used;
        used += sketch_drain(table, number, entries + used);
        lists[count].end = entries + used;
        first += size;
    }
    for (uint32_t other = 0; other < number; other++)
        if (sketch_merge(lists, count, other, sums, merged)) fail("entries of another column");
    const size_t found = sketch_merge(lists, count, number, sums, merged);
    check(merged, found, number, limits);
    for (size_t i = 0; i < count; i++)
        if (lists[i].next != lists[i].end) fail("entries are left");
    for (uint32_t bucket = 0; bucket < SKETCH_BUCKETS; bucket++)
        if (sums[bucket].count || sums[bucket].rests) fail("the sums aren't empty again");
    free(merged);
    free(entries);
    free(lists);
}

static void count_ways(const struct column *column, int is_cut) {
    ways[SINGLE].count += column->kind == INPUT_F32;
    ways[DOUBLE].count += column->kind == INPUT_F64;
    ways[WHOLE].count += column->kind == INPUT_I64;
    ways[NULLS].count += column->validity != NULL;
    ways[OFFSET].count += column->rows.offset != 0;
    ways[BLOCKS].count += column->count > 512;
    ways[NANS].count += column->count && isinf(wanted.least) && isinf(wanted.most);
    ways[EMPTY].count += column->count == 0;
    ways[PIECES].count += is_cut;
    ways[FULL].count += column->count == SKETCH_MAX_ROWS;
}

static void run_case(void) {
    struct column column = any_column();
    const uint32_t number = below(3);
    const int is_cut = one_in(3);
    count_naively(&column);
    sketch_whole(&column, number);
    if (is_cut) {
        sketch_in_pieces(&column, number);
        sketch_and_merge(&column, number);
    }
    count_ways(&column, is_cut);
    tally.compared++;
    free(column.values);
    free(column.validity);
}

int main(int argc, char **argv) {
    run_cases(COLUMNS, run_case, argc, argv);
    return report(COLUMNS, ways, WAYS);
}
