/* Fuzzes the index of a snapshot, src/store/index.c.
 *
 * Each case makes keys, builds their index and looks up each of them and some others: what is found
 * must be what going through all keys finds, and so must twins. Then it damages copies of the index,
 * of the offsets and of the keys. Whatever they hold, what is found must be there. All of them lie
 * in memory of their own without a byte to spare.
 */
#include "cases.h"

#include <string.h>

#include "index.h"

#define INDEXES "indexes"
#define MAX_ROWS 300
#define MAX_KEY 40
#define MUTANTS 24

/* What lies in a file. */
struct file {
    uint8_t *bytes;
    size_t size;
};

enum { KEYS, OFFSETS, INDEX, FILES };

enum { EMPTY, LONG, TWINS, ONE_BUCKET, MANY_BUCKETS, NO_ROWS, WAYS };
static struct way ways[WAYS] = {
    {"with an empty key", 0},  {"with a long key", 0},      {"with twins", 0},
    {"with one bucket", 0},    {"with many buckets", 0},    {"without rows", 0},
};

static struct file file_of(const void *bytes, size_t size) {
    struct file file = {checked(malloc(size ? size : 1)), size};
    if (size) memcpy(file.bytes, bytes, size);
    return file;
}

static void free_files(struct file files[FILES]) {
    for (int i = 0; i < FILES; i++) free(files[i].bytes);
}

/* ---- keys -------------------------------------------------------------------------------- */

/* Few letters or few lengths make equal keys, and those that begin as others do. */
static size_t any_key(uint8_t *key, int style) {
    const size_t size = style == 0 ? below(4) : style == 1 ? 8 : below(MAX_KEY + 1);
    for (size_t i = 0; i < size; i++)
        key[i] = style == 0 ? (uint8_t)('a' + below(2)) : style == 2 ? 'x' : (uint8_t)word();
    return size;
}

static void make_keys(struct file files[FILES]) {
    static uint8_t data[MAX_ROWS * MAX_KEY];
    static uint64_t offsets[MAX_ROWS + 1];
    const uint32_t rows = one_in(16) ? 0 : below(one_in(4) ? MAX_ROWS + 1 : 12);
    const int style = (int)below(4);
    size_t size = 0;
    for (uint32_t row = 0; row < rows; row++) {
        const int chosen = style < 3 ? style : (int)below(4);
        const size_t made = any_key(data + size, chosen);
        ways[EMPTY].count += !made;
        ways[LONG].count += made > 32;
        size += made;
        offsets[row + 1] = size;
    }
    ways[NO_ROWS].count += !rows;
    files[KEYS] = file_of(data, size);
    files[OFFSETS] = file_of(offsets, (rows + 1) * sizeof *offsets);
}

static struct keys keys_of(const struct file files[FILES]) {
    return (struct keys){(const uint64_t *)files[OFFSETS].bytes, files[KEYS].bytes,
                         files[OFFSETS].size / 8 - 1, files[KEYS].size};
}

/* ---- the plainest way -------------------------------------------------------------------- */

static int is_key(const struct keys *keys, uint64_t row, const uint8_t *key, size_t size) {
    const uint64_t first = keys->offsets[row], last = keys->offsets[row + 1];
    return first <= last && last <= keys->data_bytes && last - first == size &&
           !memcmp(keys->data + first, key, size);
}

static int64_t naive_find(const struct keys *keys, const uint8_t *key, size_t size) {
    for (uint64_t row = 0; row < keys->rows; row++)
        if (is_key(keys, row, key, size)) return (int64_t)row;
    return -1;
}

static int naive_twins(const struct keys *keys, uint64_t twins[2]) {
    for (uint64_t row = 0; row < keys->rows; row++) {
        const uint64_t first = keys->offsets[row];
        const int64_t found =
            naive_find(keys, keys->data + first, (size_t)(keys->offsets[row + 1] - first));
        if (found == (int64_t)row) continue;
        twins[0] = (uint64_t)found;
        twins[1] = row;
        return 1;
    }
    return 0;
}

/* ---- comparing --------------------------------------------------------------------------- */

/* What is found in an index that may be damaged: nothing, or a row that has the key. */
static void find_somewhere(const struct index *index, const uint8_t *key, size_t size) {
    uint8_t *exact = checked(malloc(size ? size : 1));
    if (size) memcpy(exact, key, size);
    const int64_t found = index_find(index, exact, size);
    if (found < -1 || found >= (int64_t)index->keys.rows) fail("a row that isn't there was found");
    if (found >= 0 && !is_key(&index->keys, (uint64_t)found, key, size))
        fail("a row with another key was found");
    free(exact);
}

static void find_all(const struct index *index, const struct keys *whole, int is_valid) {
    for (uint64_t row = 0; row < whole->rows; row++) {
        const uint8_t *key = whole->data + whole->offsets[row];
        const size_t size = (size_t)(whole->offsets[row + 1] - whole->offsets[row]);
        if (is_valid && index_find(index, key, size) != naive_find(whole, key, size))
            fail("a key wasn't found in its row");
        find_somewhere(index, key, size);
    }
    for (int i = 0; i < 8; i++) {
        uint8_t key[MAX_KEY];
        const size_t size = any_key(key, (int)below(4));
        find_somewhere(index, key, size);
        if (is_valid && index_find(index, key, size) != naive_find(whole, key, size))
            fail("another key was found, or one wasn't");
    }
}

static void build(struct file files[FILES]) {
    const struct keys keys = keys_of(files);
    const uint32_t bits = below(one_in(4) ? 12 : 6);
    const struct index_header header = {.bits = bits, .rows = keys.rows, .seed = word()};
    uint64_t twins[2] = {0}, naive[2] = {0};
    ways[bits ? MANY_BUCKETS : ONE_BUCKET].count++;
    files[INDEX].size = index_bytes(keys.rows, bits);
    files[INDEX].bytes = checked(malloc(files[INDEX].size));
    memset(files[INDEX].bytes, 0xa5, files[INDEX].size);
    if (!keys_are_whole(&keys)) fail("whole keys weren't taken for whole");
    const int has_twins = index_build(&header, &keys, files[INDEX].bytes, twins);
    if (has_twins != naive_twins(&keys, naive)) fail("twins were found, or they weren't");
    if (has_twins && memcmp(twins, naive, sizeof twins)) fail("other twins were found");
    ways[TWINS].count += (uint64_t)has_twins;
}

/* ---- damage ------------------------------------------------------------------------------ */

static uint64_t telling_word(const struct keys *whole) {
    const uint64_t words[] = {0, 1, whole->rows, whole->rows + 1, whole->data_bytes,
                              whole->data_bytes + 1, UINT32_MAX, UINT64_MAX, 1ull << 63};
    return one_in(4) ? word() : words[below(sizeof words / sizeof *words)];
}

/* Move a key as a whole to where there is none of it, perhaps before the first. */
static void move_key(struct file *offsets) {
    uint64_t *ends = (uint64_t *)offsets->bytes;
    const uint32_t rows = (uint32_t)(offsets->size / 8 - 1);
    if (!rows) return;
    const uint32_t row = below(rows);
    const uint64_t by = one_in(4) ? word() : between(1, 2 * MAX_KEY);
    const uint64_t shift = one_in(2) ? by : 0 - by;
    ends[row] += shift;
    ends[row + 1] += shift;
}

static void mutate(struct file files[FILES], const struct keys *whole) {
    if (one_in(12)) {
        move_key(&files[OFFSETS]);
        return;
    }
    struct file *file = &files[one_in(8) ? KEYS : one_in(3) ? OFFSETS : INDEX];
    const size_t width = one_in(2) ? 4 : 8;
    if (one_in(12)) { /* longer or shorter; offsets stay numbers, as the module sees to */
        const size_t step = file == &files[OFFSETS] ? 8 : 1;
        const size_t size = one_in(2) ? file->size + step : file->size - (file->size > step) * step;
        uint8_t *made = checked(calloc(size ? size : 1, 1));
        memcpy(made, file->bytes, size < file->size ? size : file->size);
        free(file->bytes);
        *file = (struct file){made, size};
    } else if (file->size >= width) {
        uint8_t *at = file->bytes + width * below((uint32_t)(file->size / width));
        uint64_t value = 0;
        memcpy(&value, at, width);
        value = one_in(3) ? value ^ 1ull << below(64) : one_in(2) ? value + 1 : telling_word(whole);
        memcpy(at, &value, width);
    }
}

static void try_mutant(const struct file files[FILES]) {
    struct file mutant[FILES];
    struct index index;
    const struct keys whole = keys_of(files);
    for (int i = 0; i < FILES; i++) mutant[i] = file_of(files[i].bytes, files[i].size);
    for (uint32_t k = between(1, 3); k-- > 0;) mutate(mutant, &whole);
    const struct keys keys = keys_of(mutant);
    if (index_open(&index, mutant[INDEX].bytes, mutant[INDEX].size, &keys)) tally.refused++;
    else {
        tally.accepted++;
        find_all(&index, &whole, 0);
    }
    /* Keys that aren't whole are none to build of; all others are. */
    if (keys_are_whole(&keys)) {
        const struct index_header header = {.bits = below(5), .rows = keys.rows, .seed = word()};
        uint8_t *out = checked(malloc(index_bytes(keys.rows, header.bits)));
        uint64_t twins[2];
        index_build(&header, &keys, out, twins);
        free(out);
    }
    free_files(mutant);
}

/* ---- running ----------------------------------------------------------------------------- */

static void run_case(void) {
    struct file files[FILES];
    struct index index;
    make_keys(files);
    build(files);
    const struct keys keys = keys_of(files);
    if (index_open(&index, files[INDEX].bytes, files[INDEX].size, &keys))
        fail("a valid index was refused");
    find_all(&index, &keys, 1);
    tally.compared++;
    for (int i = 0; i < MUTANTS; i++) try_mutant(files);
    free_files(files);
}

int main(int argc, char **argv) {
    run_cases(INDEXES, run_case, argc, argv);
    return report(INDEXES, ways, WAYS);
}
