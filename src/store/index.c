#include "index.h"

#include <string.h>

#define LAYOUT 1
#define PRIME 0x880355f21e6d1965u
#define HEADER_BYTES sizeof(struct index_header)

static uint64_t mixed(uint64_t word) {
    word ^= word >> 23;
    word *= 0x2127599bf4325c37u;
    return word ^ (word >> 47);
}

uint64_t index_hash(const uint8_t *key, size_t length, uint64_t seed) {
    uint64_t hash = seed ^ (length * PRIME);
    uint64_t word;
    for (; length >= 8; key += 8, length -= 8) {
        memcpy(&word, key, 8);
        hash = (hash ^ mixed(word)) * PRIME;
    }
    if (length) {
        word = 0;
        memcpy(&word, key, length);
        hash = (hash ^ mixed(word)) * PRIME;
    }
    return mixed(hash);
}

size_t index_bytes(uint64_t rows, uint32_t bits) {
    return HEADER_BYTES + (((size_t)1 << bits) + 1) * sizeof(uint32_t) + sizeof(uint32_t) +
           (size_t)rows * sizeof(struct index_entry);
}

/* Behind the header, and behind the starts and one unused number, entries are aligned. */
static uint32_t *starts_of(uint8_t *bytes) { return (uint32_t *)(bytes + HEADER_BYTES); }

static struct index_entry *entries_of(uint8_t *bytes, uint32_t bits) {
    return (struct index_entry *)(starts_of(bytes) + ((size_t)1 << bits) + 2);
}

static uint32_t bucket_of(uint64_t hash, uint32_t bits) {
    return bits ? (uint32_t)(hash >> (64 - bits)) : 0;
}

int keys_are_whole(const struct keys *keys) {
    int whole = keys->offsets[0] == 0 && keys->offsets[keys->rows] == keys->data_bytes;
    for (uint64_t i = 0; i < keys->rows; i++) whole &= keys->offsets[i] <= keys->offsets[i + 1];
    return whole;
}

static uint64_t hash_of(const struct keys *keys, uint64_t row, uint64_t seed) {
    const uint64_t start = keys->offsets[row];
    return index_hash(keys->data + start, (size_t)(keys->offsets[row + 1] - start), seed);
}

static int are_equal(const struct keys *keys, uint64_t one, uint64_t other) {
    const uint64_t length = keys->offsets[one + 1] - keys->offsets[one];
    return length == keys->offsets[other + 1] - keys->offsets[other] &&
           !memcmp(keys->data + keys->offsets[one], keys->data + keys->offsets[other],
                   (size_t)length);
}

/* Find the rows of equal keys in one bucket: of all, the second of which comes first. Rows rise in a
 * bucket, so it ends at the first twin: however often a key stands there, no pair is seen twice. */
static void find_twins(const struct keys *keys, const struct index_entry *entries, uint32_t count,
                       uint64_t twins[2]) {
    for (uint32_t i = 1; i < count && entries[i].row < twins[1]; i++)
        for (uint32_t j = 0; j < i; j++)
            if (entries[i].tag == entries[j].tag &&
                are_equal(keys, entries[i].row, entries[j].row)) {
                twins[0] = entries[j].row;
                twins[1] = entries[i].row;
            }
}

int index_build(const struct index_header *header, const struct keys *keys, uint8_t *out,
                uint64_t twins[2]) {
    const uint32_t bits = header->bits, buckets = (uint32_t)1 << bits;
    struct index_header written = *header;
    memcpy(written.magic, INDEX_MAGIC, sizeof written.magic);
    written.layout = LAYOUT;
    memcpy(out, &written, HEADER_BYTES);
    uint32_t *starts = starts_of(out);
    struct index_entry *entries = entries_of(out, bits);
    /* Count each bucket's rows two places on, so that filling the buckets leaves the starts. */
    memset(starts, 0, ((size_t)buckets + 2) * sizeof *starts);
    for (uint64_t row = 0; row < keys->rows; row++)
        starts[bucket_of(hash_of(keys, row, header->seed), bits) + 2]++;
    for (uint32_t i = 2; i < buckets + 2; i++) starts[i] += starts[i - 1];
    for (uint64_t row = 0; row < keys->rows; row++) {
        const uint64_t hash = hash_of(keys, row, header->seed);
        const uint32_t place = starts[bucket_of(hash, bits) + 1]++;
        entries[place].tag = (uint32_t)hash;
        entries[place].row = (uint32_t)row;
    }
    starts[buckets + 1] = 0;
    twins[0] = twins[1] = UINT64_MAX;
    for (uint32_t i = 0; i < buckets; i++)
        find_twins(keys, entries + starts[i], starts[i + 1] - starts[i], twins);
    return twins[1] != UINT64_MAX;
}

int index_open(struct index *index, const uint8_t *bytes, size_t length, const struct keys *keys) {
    struct index_header header;
    if (length < HEADER_BYTES) return -1;
    memcpy(&header, bytes, HEADER_BYTES);
    if (memcmp(header.magic, INDEX_MAGIC, sizeof header.magic) || header.layout != LAYOUT ||
        header.bits > INDEX_MAX_BITS || header.rows != keys->rows ||
        length != index_bytes(header.rows, header.bits))
        return -1;
    index->starts = starts_of((uint8_t *)bytes);
    index->entries = entries_of((uint8_t *)bytes, header.bits);
    index->seed = header.seed;
    index->bits = header.bits;
    index->keys = *keys;
    return 0;
}

int64_t index_find(const struct index *index, const uint8_t *key, size_t length) {
    const struct keys *keys = &index->keys;
    const uint64_t hash = index_hash(key, length, index->seed);
    const uint32_t bucket = bucket_of(hash, index->bits), tag = (uint32_t)hash;
    uint32_t at = index->starts[bucket], stop = index->starts[bucket + 1];
    if (stop > keys->rows) return -1;
    for (; at < stop; at++) {
        const uint32_t row = index->entries[at].row;
        if (index->entries[at].tag != tag || row >= keys->rows) continue;
        const uint64_t start = keys->offsets[row], end = keys->offsets[row + 1];
        if (end < start || end > keys->data_bytes || end - start != length) continue;
        if (!memcmp(keys->data + start, key, length)) return row;
    }
    return -1;
}
