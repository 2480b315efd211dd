/* One row through a forest by look-ups, with AVX-512 VBMI or AVX2; see forest.h. */
#include <math.h>
#include <string.h>

#include "forest_parts.h"
#include "instructions.h"
#include "link.h"

#ifndef WITH_X86

int look_up_row(const struct forest *forest, const double *numbers, const int32_t *categories,
                uint16_t *codes, double *out) {
    (void)forest, (void)numbers, (void)categories, (void)codes, (void)out;
    return 0;
}

#else

#include <immintrin.h>

#define HEAPS 64 /* trees that are in flight */

/* ---- with AVX-512 VBMI ------------------------------------------------------------------- */

#define LOOKUP __attribute__((target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi")))

/* The ranks of a row's numbers among the edges of eight columns at a time; `values` by column. */
LOOKUP static void
rank_by_gather(const struct forest *forest, const double *values, uint32_t *ranks) {
    const __m256i one = _mm256_set1_epi32(1);
    for (uint32_t i = 0; i < forest->n_columns; i += 8) {
        const uint32_t rest = forest->n_columns - i;
        const __mmask8 lanes = rest < 8 ? (__mmask8)((1u << rest) - 1) : 0xff;
        const __m512d x = _mm512_maskz_loadu_pd(lanes, values + i);
        const __m256i first = _mm256_maskz_loadu_epi32(lanes, forest->row_firsts + i);
        __m256i left = _mm256_maskz_loadu_epi32(lanes, forest->row_counts + i), at = first;
        for (;;) {
            const __mmask8 wide = _mm256_cmpgt_epi32_mask(left, one);
            if (!wide) break;
            const __m256i half = _mm256_srli_epi32(left, 1);
            const __m256i middle = _mm256_sub_epi32(_mm256_add_epi32(at, half), one);
            const __m512d edge =
                _mm512_mask_i32gather_pd(_mm512_setzero_pd(), wide, middle, forest->edges, 8);
            const __mmask8 above = _mm512_mask_cmp_pd_mask(wide, edge, x, _CMP_LT_OQ);
            at = _mm256_mask_add_epi32(at, above, at, half);
            left = _mm256_mask_sub_epi32(left, wide, left, half);
        }
        const __mmask8 some = _mm256_cmpeq_epi32_mask(left, one);
        const __m512d edge = _mm512_mask_i32gather_pd(_mm512_setzero_pd(), some, at, forest->edges, 8);
        const __mmask8 above = _mm512_mask_cmp_pd_mask(some, edge, x, _CMP_LT_OQ);
        at = _mm256_sub_epi32(_mm256_mask_add_epi32(at, above, at, one), first);
        _mm256_mask_storeu_epi32(ranks + i, lanes, at);
    }
}

/* The leaves where a row, as its narrow codes, leaves the trees of a group. */
LOOKUP static void
pass_group_512(const struct forest *forest, const struct group *group, const uint8_t *row,
               uint32_t *exits) {
    const __m512i low = _mm512_loadu_si512(row), high = _mm512_loadu_si512(row + 64);
    const __m512i byte = _mm512_set1_epi32(0xff);
    const uint16_t *tests = forest->group_tests + (size_t)group->start * GROUP_TREES;
    const uint32_t *keeps = forest->group_keeps + (size_t)group->start * GROUP_TREES;
    __m512i left[2] = {_mm512_set1_epi32(-1), _mm512_set1_epi32(-1)};
    for (int half = 0; half < 2; half++) {
        __m512i set = left[half];
        for (uint32_t slot = 0; slot < group->slots[half]; slot++) {
            const __m512i test = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)tests));
            const __m512i found = _mm512_permutex2var_epi8(low, test, high);
            const __mmask16 failed = _mm512_cmpgt_epu32_mask(_mm512_and_si512(found, byte),
                                                             _mm512_srli_epi32(test, 8));
            set = _mm512_mask_and_epi32(set, failed, set, _mm512_loadu_si512(keeps));
            tests += GROUP_TREES;
            keeps += GROUP_TREES;
        }
        left[half] = set;
    }
    const __m512i first = _mm512_lzcnt_epi32(left[0]), second = _mm512_lzcnt_epi32(left[1]);
    const __mmask16 later = _mm512_cmpeq_epi32_mask(first, _mm512_set1_epi32(32));
    _mm512_storeu_si512(exits, _mm512_mask_add_epi32(first, later, first, second));
}

/* The leaves, from HEAP_LEAVES on, where a row leaves some trees; `count` <= HEAPS. */
LOOKUP static void
pass_heaps_512(const struct forest *forest, uint32_t tree, uint32_t count, const uint8_t *row,
               uint64_t *exits) {
    const __m512i low = _mm512_loadu_si512(row), high = _mm512_loadu_si512(row + 64);
    const __m512i one = _mm512_set1_epi64(1);
    uint64_t failed[HEAPS] = {0};
    for (uint32_t k = 0; k < count; k++) {
        const uint8_t *tests = forest->heaps + (size_t)(tree + k) * HEAP_BYTES;
        const __m512i found = _mm512_permutex2var_epi8(low, _mm512_loadu_si512(tests), high);
        failed[k] = _mm512_cmpgt_epu8_mask(found, _mm512_loadu_si512(tests + HEAP_LEAVES));
    }
    for (uint32_t k = 0; k < count; k += 8) {
        const __m512i bits = _mm512_loadu_si512(failed + k);
        __m512i at = one;
        for (int level = 0; level < HEAP_DEPTH; level++) {
            const __m512i bit = _mm512_and_si512(_mm512_srlv_epi64(bits, at), one);
            at = _mm512_add_epi64(_mm512_add_epi64(at, at), bit);
        }
        _mm512_storeu_si512(exits + k, at);
    }
}

/* ---- with AVX2 --------------------------------------------------------------------------- */

#define SHUFFLE __attribute__((target("avx2,bmi,lzcnt,popcnt")))
#define INLINE_SHUFFLE SHUFFLE static inline __attribute__((always_inline))

/* How many of a block of ascending rungs are below a value. */
INLINE_SHUFFLE uint32_t count_below(const double *rungs, __m256d value) {
    __m256i below[4];
    for (int i = 0; i < 4; i++)
        below[i] = _mm256_castpd_si256(
            _mm256_cmp_pd(_mm256_loadu_pd(rungs + 4 * i), value, _CMP_LT_OQ));
    const __m256i found = _mm256_packs_epi16(_mm256_packs_epi32(below[0], below[1]),
                                             _mm256_packs_epi32(below[2], below[3]));
    return (uint32_t)__builtin_popcount((uint32_t)_mm256_movemask_epi8(found)) / 2;
}

/* The ranks of a row's numbers: most columns have one level or two. */
SHUFFLE static void
rank_by_ladder(const struct forest *forest, const double *values, uint32_t *ranks) {
    for (uint32_t i = 0; i < forest->n_columns; i++) {
        const struct ladder *ladder = &forest->ladders[i];
        const double *rungs = forest->rungs;
        const __m256d value = _mm256_set1_pd(values[i]);
        uint32_t at = 0;
        for (uint32_t level = ladder->n_levels - 1; level > 1; level--)
            at = BLOCK_RUNGS * (at + count_below(rungs + ladder->levels[level] + at, value));
        if (ladder->n_levels > 1)
            at = BLOCK_RUNGS * (at + count_below(rungs + ladder->levels[1] + at, value));
        ranks[i] = at + count_below(rungs + ladder->levels[0] + at, value);
    }
}

/* Tables of sixteen bytes, in both halves of a vector each; as many as n_narrow needs. */
INLINE_SHUFFLE void load_tables(const uint8_t *row, int n_tables, __m256i *tables) {
    const __m256i sign = _mm256_set1_epi8((char)SIGN);
    for (int i = 0; i < n_tables; i++) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(row + 16 * i));
        tables[i] = _mm256_xor_si256(_mm256_broadcastsi128_si256(bytes), sign);
    }
}

/* Look 32 bytes up: in all tables at their low four bits; the higher ones choose, as signs. */
INLINE_SHUFFLE __m256i look_up(const __m256i *tables, int n_tables, __m256i places) {
    __m256i found[MAX_TABLE / 16];
    for (int i = 0; i < n_tables; i++) found[i] = _mm256_shuffle_epi8(tables[i], places);
    for (int shift = 3; n_tables > 1; n_tables /= 2, shift--) {
        const __m256i odd = _mm256_slli_epi16(places, shift);
        for (int i = 0; i < n_tables / 2; i++)
            found[i] = _mm256_blendv_epi8(found[2 * i], found[2 * i + 1], odd);
    }
    return found[0];
}

/* Which of 32 tests fail. */
INLINE_SHUFFLE uint32_t fail_tests(const __m256i *tables, int n_tables, const uint8_t *columns,
                                   __m256i codes) {
    const __m256i places = _mm256_loadu_si256((const __m256i *)columns);
    const __m256i found = look_up(tables, n_tables, places);
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpgt_epi8(found, codes));
}

INLINE_SHUFFLE void fail_pairs(const uint8_t *tests, uint32_t n_pairs, const uint8_t *row,
                               int n_tables, uint16_t *failed) {
    __m256i tables[MAX_TABLE / 16];
    load_tables(row, n_tables, tables);
    for (uint32_t i = 0; i < n_pairs; i++, tests += PAIR_BYTES) {
        const __m256i codes = _mm256_loadu_si256((const __m256i *)(tests + PAIR_TESTS));
        const uint32_t both = fail_tests(tables, n_tables, tests, codes);
        memcpy(failed + 2 * i, &both, sizeof both);
    }
}

/* The leaves of a piece that stay, given the tests that failed of it and of `count` - 1 more. */
INLINE_SHUFFLE __m256i leaves_left(const uint16_t *sets, const uint16_t *failed, uint32_t count) {
    __m256i struck = _mm256_setzero_si256();
    for (uint32_t i = 0; i < count; i++) {
        const __m256i set = _mm256_loadu_si256((const __m256i *)(sets + i * PIECE_LEAVES));
        const __m256i strikes = _mm256_and_si256(set, _mm256_set1_epi16((short)failed[i]));
        struck = _mm256_or_si256(struck, strikes);
    }
    return _mm256_cmpeq_epi16(struck, _mm256_setzero_si256());
}

/* Two bits for each leaf of two pieces. */
INLINE_SHUFFLE uint64_t bits_of(__m256i low, __m256i high) {
    const uint64_t later = (uint32_t)_mm256_movemask_epi8(high);
    return (uint32_t)_mm256_movemask_epi8(low) | later << 32;
}

/* The first leaf that stays; the last one of a tree always does. */
INLINE_SHUFFLE uint32_t first_leaf(const uint16_t *sets, const uint16_t *failed, uint32_t pieces) {
    __m256i left[MAX_PIECES];
    for (uint32_t i = 0; i < MAX_PIECES; i++) left[i] = _mm256_setzero_si256();
    for (uint32_t i = 0; i < pieces; i++) {
        left[i] = leaves_left(sets, failed + i, pieces - i);
        sets += (pieces - i) * PIECE_LEAVES;
    }
    const uint64_t early = bits_of(left[0], left[1]), late = bits_of(left[2], left[3]);
    if (pieces <= 2) return (uint32_t)__builtin_ctzll(early) / 2;
    return (uint32_t)(early ? __builtin_ctzll(early) : 64 + __builtin_ctzll(late)) / 2;
}

INLINE_SHUFFLE void first_leaves(const struct forest *forest, const struct group *group,
                                 const uint16_t *failed, uint32_t pieces, uint32_t *exits) {
    const uint16_t *sets = forest->strikers + (size_t)group->first_set * PIECE_LEAVES;
    for (uint32_t k = 0; k < group->n_trees; k++) {
        exits[k] = first_leaf(sets, failed, pieces);
        sets += sets_of(pieces) * PIECE_LEAVES;
        failed += pieces;
    }
}

SHUFFLE static void
pass_group_256(const struct forest *forest, const struct group *group, const uint8_t *row,
               uint32_t *exits) {
    uint16_t failed[GROUP_TREES * MAX_PIECES];
    const uint8_t *tests = forest->piece_tests + (size_t)group->first_piece / 2 * PAIR_BYTES;
    const uint32_t n_pairs = (group->n_trees * group->pieces + 1) / 2;
    if (forest->n_narrow <= 16) fail_pairs(tests, n_pairs, row, 1, failed);
    else if (forest->n_narrow <= 32) fail_pairs(tests, n_pairs, row, 2, failed);
    else if (forest->n_narrow <= 64) fail_pairs(tests, n_pairs, row, 4, failed);
    else fail_pairs(tests, n_pairs, row, 8, failed);
    switch (group->pieces) {
    case 1: first_leaves(forest, group, failed, 1, exits); break;
    case 2: first_leaves(forest, group, failed, 2, exits); break;
    case 3: first_leaves(forest, group, failed, 3, exits); break;
    default: first_leaves(forest, group, failed, 4, exits); break;
    }
}

INLINE_SHUFFLE void fail_heaps(const uint8_t *tests, uint32_t count, const uint8_t *row,
                               int n_tables, uint64_t *failed) {
    const __m256i sign = _mm256_set1_epi8((char)SIGN);
    __m256i tables[MAX_TABLE / 16];
    load_tables(row, n_tables, tables);
    for (uint32_t k = 0; k < count; k++, tests += HEAP_BYTES) {
        const __m256i *codes = (const __m256i *)(tests + HEAP_LEAVES);
        const __m256i low = _mm256_xor_si256(_mm256_loadu_si256(codes), sign);
        const __m256i high = _mm256_xor_si256(_mm256_loadu_si256(codes + 1), sign);
        const uint64_t later = fail_tests(tables, n_tables, tests + 32, high);
        failed[k] = fail_tests(tables, n_tables, tests, low) | later << 32;
    }
}

SHUFFLE static void
pass_heaps_256(const struct forest *forest, uint32_t tree, uint32_t count, const uint8_t *row,
               uint64_t *exits) {
    const uint8_t *tests = forest->heaps + (size_t)tree * HEAP_BYTES;
    uint64_t failed[HEAPS];
    for (uint32_t k = count; k % 8; k++) failed[k] = 0;
    if (forest->n_narrow <= 16) fail_heaps(tests, count, row, 1, failed);
    else if (forest->n_narrow <= 32) fail_heaps(tests, count, row, 2, failed);
    else if (forest->n_narrow <= 64) fail_heaps(tests, count, row, 4, failed);
    else fail_heaps(tests, count, row, 8, failed);
    const __m256i one = _mm256_set1_epi64x(1);
    for (uint32_t k = 0; k < count; k += 8) {
        __m256i at[2] = {one, one};
        for (int level = 0; level < HEAP_DEPTH; level++)
            for (int half = 0; half < 2; half++) {
                const __m256i *bits = (const __m256i *)(failed + k + 4 * half);
                const __m256i moved = _mm256_srlv_epi64(_mm256_loadu_si256(bits), at[half]);
                at[half] = _mm256_add_epi64(_mm256_add_epi64(at[half], at[half]),
                                            _mm256_and_si256(moved, one));
            }
        for (int half = 0; half < 2; half++)
            _mm256_storeu_si256((__m256i *)(exits + k + 4 * half), at[half]);
    }
}

/* ---- with either ------------------------------------------------------------------------- */

struct ways {
    void (*rank)(const struct forest *, const double *values, uint32_t *ranks);
    /* The leaves where a row, as its narrow codes, leaves the trees of a group. */
    void (*pass_group)(const struct forest *, const struct group *, const uint8_t *row,
                       uint32_t *exits);
    /* The leaves, from HEAP_LEAVES on, where a row leaves some trees; `count` <= HEAPS. */
    void (*pass_heaps)(const struct forest *, uint32_t tree, uint32_t count, const uint8_t *row,
                       uint64_t *exits);
};

static const struct ways WITH_VBMI = {rank_by_gather, pass_group_512, pass_heaps_512};
static const struct ways WITH_AVX2 = {rank_by_ladder, pass_group_256, pass_heaps_256};

/* The codes of a row, its numbers ranked side by side. */
static void code_row(const struct ways *ways, const struct forest *forest, const double *numbers,
                     const int32_t *categories, uint16_t *codes) {
    double values[MAX_TABLE];
    uint32_t ranks[MAX_TABLE];
    const struct column *columns = forest->columns;
    for (uint32_t i = 0; i < forest->n_columns; i++)
        values[i] = columns[i].kind == COLUMN_EDGES ? numbers[columns[i].input] : 0.0;
    ways->rank(forest, values, ranks);
    for (uint32_t i = 0; i < forest->n_columns; i++) {
        if (columns[i].kind == COLUMN_TABLE)
            codes[i] = code_of_category(forest, &columns[i], categories[columns[i].input]);
        else if (isnan(values[i])) codes[i] = (uint16_t)columns[i].missing;
        else codes[i] = columns[i].codes == NO_CODES ? (uint16_t)ranks[i]
                                                     : forest->codes[columns[i].codes + ranks[i]];
    }
}

/* A row's codes as bytes, the table of the look-ups. */
static void narrow_row(const struct forest *forest, const uint16_t *codes, uint8_t *row) {
    for (uint32_t i = 0; i < forest->n_narrow; i++) {
        const uint32_t code = codes[forest->narrows[i].column], low = forest->narrows[i].low;
        const uint32_t above = code > low ? code - low : 0;
        row[i] = above > MAX_NARROW_CODE ? MAX_NARROW_CODE : (uint8_t)above;
    }
}

/* Add the leaves that a row reached of the trees from `first` on, in their order, to the one sum. */
static double add_leaves(const struct forest *forest, uint32_t first, uint32_t count,
                         const uint32_t *exits, double sum) {
    const size_t start = (size_t)first * PADDED_LEAVES;
    if (forest->single) {
        const float *leaves = forest->leaves_f32 + start;
        float single = (float)sum;
        for (uint32_t k = 0; k < count; k++) single += leaves[k * PADDED_LEAVES + exits[k]];
        return (double)single;
    }
    const double *leaves = forest->leaves + start;
    for (uint32_t k = 0; k < count; k++) sum += leaves[k * PADDED_LEAVES + exits[k]];
    return sum;
}

static void add_groups(const struct ways *ways, const struct forest *forest, const uint8_t *row,
                       double *out) {
    const uint32_t dimensions = forest->dimensions;
    for (uint32_t g = 0; g < forest->n_groups; g++) {
        const struct group *group = &forest->groups[g];
        uint32_t exits[GROUP_TREES];
        ways->pass_group(forest, group, row, exits);
        if (forest->n_outputs == 1) {
            *out = add_leaves(forest, group->first, group->n_trees, exits, *out);
            continue;
        }
        for (uint32_t k = 0; k < group->n_trees; k++) {
            const struct tree *tree = &forest->trees[group->first + k];
            const size_t leaf = tree->leaves + exits[k];
            for (uint32_t d = 0; d < dimensions; d++) {
                const size_t at = leaf + (size_t)d * PADDED_LEAVES;
                double *to = out + (dimensions > 1 ? d : tree->output);
                if (forest->single) *to = (double)((float)*to + forest->leaves_f32[at]);
                else *to += forest->leaves[at];
            }
        }
    }
}

static void add_heaps(const struct ways *ways, const struct forest *forest, const uint8_t *row,
                      double *out) {
    for (uint32_t first = 0; first < forest->n_trees; first += HEAPS) {
        const uint32_t left = forest->n_trees - first, count = left < HEAPS ? left : HEAPS;
        const double *leaves = forest->heap_leaves + (size_t)first * HEAP_LEAVES;
        uint64_t exits[HEAPS];
        ways->pass_heaps(forest, first, count, row, exits);
        double sum = *out;
        float single = (float)sum;
        for (uint32_t k = 0; k < count; k++) {
            const double value = leaves[k * HEAP_LEAVES + exits[k] - HEAP_LEAVES];
            if (forest->n_outputs > 1) {
                double *to = out + forest->trees[first + k].output;
                *to = forest->single ? (double)((float)*to + (float)value) : *to + value;
            } else if (forest->single) single += (float)value;
            else sum += value;
        }
        if (forest->n_outputs == 1) *out = forest->single ? (double)single : sum;
    }
}

/* NULL if a row has to be walked. */
static const struct ways *ways_of(const struct forest *forest) {
    if (!forest->n_groups && !forest->heaps) return NULL;
    if (can_look_up()) return &WITH_VBMI;
    return instructions() != PLAIN && forest->rungs ? &WITH_AVX2 : NULL;
}

int look_up_row(const struct forest *forest, const double *numbers, const int32_t *categories,
                uint16_t *codes, double *out) {
    const struct ways *ways = ways_of(forest);
    if (!ways) return 0;
    uint8_t row[MAX_TABLE] = {0};
    code_row(ways, forest, numbers, categories, codes);
    narrow_row(forest, codes, row);
    for (uint32_t d = 0; d < forest->n_outputs; d++)
        out[d] = forest->single ? (double)(float)forest->bases[d] : forest->bases[d];
    if (forest->heaps) add_heaps(ways, forest, row, out);
    else add_groups(ways, forest, row, out);
    apply_link(forest->link, forest->scale, forest->divisor, forest->n_outputs, 1, out, 1);
    return 1;
}

#endif
