/* The index of a snapshot: from the bytes of a key to the number of its row.
 *
 * A key's hash says in its top bits which bucket it belongs to; a bucket is a few entries, each of
 * a tag (the hash's low half) and a row. So a look-up is one read of `starts`, one of the entries
 * and, since equal tags almost never belong to other keys, one of the key's own bytes: a handful of
 * cache misses, whatever the number of keys. `twofold/stores/index.py` does the same in Python.
 *
 *     header | starts: uint32[2^bits + 1] | entries: {uint32 tag, uint32 row}[rows]
 *
 * All numbers are little-endian. Nothing in the files is trusted: whatever they hold, nothing is
 * read outside of them. */
#ifndef TWOFOLD_STORE_INDEX_H
#define TWOFOLD_STORE_INDEX_H

#include <stddef.h>
#include <stdint.h>

#define INDEX_MAGIC "twofold\1"
#define INDEX_MAX_BITS 30

struct index_header {
    char magic[8];
    uint32_t layout, bits;
    uint64_t rows, seed;
};

struct index_entry {
    uint32_t tag, row;
};

/* The keys of all rows, one behind the other: those of row i from offsets[i] to offsets[i + 1]. */
struct keys {
    const uint64_t *offsets;
    const uint8_t *data;
    uint64_t rows, data_bytes;
};

struct index {
    const uint32_t *starts;
    const struct index_entry *entries;
    uint64_t seed;
    uint32_t bits;
    struct keys keys;
};

/* FastHash (Zilong Tan): 64 bits of a key, other ones for each seed. */
uint64_t index_hash(const uint8_t *key, size_t length, uint64_t seed);

/* The length of the index of so many rows. */
size_t index_bytes(uint64_t rows, uint32_t bits);

/* Whether offsets rise, and end where the data does. */
int keys_are_whole(const struct keys *keys);

/* Write an index of keys that are whole; `header` has its bits, rows and seed. Returns 0; or 1 with
 * the rows of two equal keys, the later ones of which come first among all such, in `twins`. */
int index_build(const struct index_header *header, const struct keys *keys, uint8_t *out,
                uint64_t twins[2]);

/* Open an index; 0, or -1 if it isn't one of so many bytes and rows. */
int index_open(struct index *index, const uint8_t *bytes, size_t length, const struct keys *keys);

/* The row of a key; -1 if there is none. */
int64_t index_find(const struct index *index, const uint8_t *key, size_t length);

#endif
