/* Blocks of rows through a forest; included once for each set of instructions.
 *
 * TARGET is the function attribute that allows the instructions, NAME(x) makes names distinct,
 * VECTOR_BYTES is the width of a vector; WITH_AVX512 is defined where its intrinsics may be used.
 * What is computed is the same each time.
 */

#ifdef WITH_AVX512
#include <immintrin.h>
#endif

/* Ranks of a block's numbers among a column's edges: all rows take the same steps. */
TARGET static void NAME(rank_block)(const double *edges, uint32_t count, const double *numbers,
                                    uint32_t *ranks) {
    for (int row = 0; row < BLOCK_ROWS; row++) ranks[row] = 0;
    if (count <= 12) {
        for (uint32_t k = 0; k < count; k++) {
            const double edge = edges[k];
            for (int row = 0; row < BLOCK_ROWS; row++) ranks[row] += numbers[row] > edge;
        }
        return;
    }
#ifdef WITH_AVX512
    for (int row = 0; row < BLOCK_ROWS; row += 8) {
        const __m512d x = _mm512_loadu_pd(numbers + row);
        __m256i at = _mm256_setzero_si256();
        uint32_t left = count;
        while (left > 1) {
            const uint32_t half = left / 2;
            const __m512d edge = _mm512_i32gather_pd(at, edges + half - 1, 8);
            const __mmask8 beyond = _mm512_cmp_pd_mask(edge, x, _CMP_LT_OQ);
            at = _mm256_mask_add_epi32(at, beyond, at, _mm256_set1_epi32((int)half));
            left -= half;
        }
        const __m512d edge = _mm512_i32gather_pd(at, edges, 8);
        const __mmask8 beyond = _mm512_cmp_pd_mask(edge, x, _CMP_LT_OQ);
        at = _mm256_mask_add_epi32(at, beyond, at, _mm256_set1_epi32(1));
        _mm256_storeu_si256((__m256i *)(ranks + row), at);
    }
#else
    uint32_t left = count;
    while (left > 1) {
        const uint32_t half = left / 2;
        const double *middle = edges + half - 1;
        for (int row = 0; row < BLOCK_ROWS; row++)
            ranks[row] += middle[ranks[row]] < numbers[row] ? half : 0;
        left -= half;
    }
    for (int row = 0; row < BLOCK_ROWS; row++) ranks[row] += edges[ranks[row]] < numbers[row];
#endif
}

TARGET static void NAME(code_numbers)(const struct forest *forest, const struct column *column,
                                      const double *numbers, uint32_t *ranks, uint16_t *out) {
    NAME(rank_block)(forest->edges + column->first, column->count, numbers, ranks);
    if (column->codes == NO_CODES)
        for (int row = 0; row < BLOCK_ROWS; row++) out[row] = (uint16_t)ranks[row];
    else
        for (int row = 0; row < BLOCK_ROWS; row++) out[row] = forest->codes[column->codes + ranks[row]];
    const uint16_t missing = (uint16_t)column->missing;
    for (int row = 0; row < BLOCK_ROWS; row++)
        out[row] = numbers[row] != numbers[row] ? missing : out[row];
}

TARGET static void NAME(code_block)(const struct forest *forest, const struct input_rows *inputs,
                                    int64_t first, int count, const struct scratch *scratch) {
    uint32_t read = UINT32_MAX; /* columns come sorted by input: each input is read once */
    for (uint32_t i = 0; i < forest->n_columns; i++) {
        const struct column *column = &forest->columns[i];
        const enum input_kind kind = forest->input_kinds[column->input];
        if (read != column->input) {
            read = column->input;
            if (kind == INPUT_TEXT) {
                for (int row = count; row < BLOCK_ROWS; row++) scratch->categories[row] = 0;
                read_categories(&inputs[read], first, count, scratch->categories);
            } else {
                for (int row = count; row < BLOCK_ROWS; row++) scratch->numbers[row] = 0.0;
                read_numbers(kind, &inputs[read], first, count, scratch->numbers);
            }
        }
        uint16_t *out = scratch->wide + (size_t)i * BLOCK_ROWS;
        if (kind == INPUT_TEXT)
            for (int row = 0; row < BLOCK_ROWS; row++)
                out[row] = code_of_category(forest, column, scratch->categories[row]);
        else NAME(code_numbers)(forest, column, scratch->numbers, scratch->ranks, out);
    }
    for (uint32_t i = 0; forest->ranks && i < forest->n_columns; i++) {
        const struct rank *rank = &forest->ranks[i];
        const uint16_t *wide = scratch->wide + (size_t)i * BLOCK_ROWS;
        uint16_t *out = scratch->ranked + (size_t)i * BLOCK_ROWS;
        for (int row = 0; row < BLOCK_ROWS; row++)
            out[row] =
                forest->by_code[rank->first + (wide[row] < rank->last ? wide[row] : rank->last)];
    }
    for (uint32_t i = 0; i < forest->n_narrow; i++) {
        const uint16_t *wide = (forest->ranks ? scratch->ranked : scratch->wide) +
                               (size_t)forest->narrows[i].column * BLOCK_ROWS;
        const uint16_t low = (uint16_t)forest->narrows[i].low;
        uint8_t *out = scratch->narrow + (size_t)i * BLOCK_ROWS;
        for (int row = 0; row < BLOCK_ROWS; row++) {
            const uint16_t above = wide[row] > low ? (uint16_t)(wide[row] - low) : 0;
            out[row] = above > MAX_NARROW_CODE ? MAX_NARROW_CODE : (uint8_t)above;
        }
    }
}

/* The leaves of a word that no failed test has struck, for each row. */
#ifdef WITH_AVX512
TARGET static inline __m512i NAME(strike_word)(const struct strike *strikes, uint32_t from,
                                               uint32_t to, const uint8_t *narrow) {
    __m512i left = _mm512_set1_epi8((char)0xff);
    const __m512i all = left;
    for (uint32_t i = from; i < to; i++) {
        const __m512i codes = _mm512_load_si512(narrow + (size_t)strikes[i].column * BLOCK_ROWS);
        const __mmask64 failed =
            _mm512_cmpgt_epu8_mask(codes, _mm512_set1_epi32((int)strikes[i].code));
        left = _mm512_and_si512(
            left, _mm512_mask_mov_epi8(all, failed, _mm512_set1_epi32((int)strikes[i].keep)));
    }
    return left;
}

/* Leaf numbers of four words per row, as 16 32-bit lanes each for rows 16k..16k+15.
 * Words are transposed within 128-bit lanes; the rows come out in the order of ROW_ORDER. */
TARGET static inline void NAME(first_leaves)(const __m512i *words, __m512i *found) {
    const __m512i low01 = _mm512_unpacklo_epi8(words[1], words[0]);
    const __m512i high01 = _mm512_unpackhi_epi8(words[1], words[0]);
    const __m512i low23 = _mm512_unpacklo_epi8(words[3], words[2]);
    const __m512i high23 = _mm512_unpackhi_epi8(words[3], words[2]);
    found[0] = _mm512_lzcnt_epi32(_mm512_unpacklo_epi16(low23, low01));
    found[1] = _mm512_lzcnt_epi32(_mm512_unpackhi_epi16(low23, low01));
    found[2] = _mm512_lzcnt_epi32(_mm512_unpacklo_epi16(high23, high01));
    found[3] = _mm512_lzcnt_epi32(_mm512_unpackhi_epi16(high23, high01));
}

/* Add the values of leaves 0..31 (or 0..63) to the sums of 64 rows; sums are in ROW_ORDER. */
TARGET static inline void NAME(add_f64)(const double *leaves, uint32_t n_leaves,
                                        const __m512i *exits, double *sums) {
    __m512d table[8];
    const int tables = (int)(n_leaves + 7) / 8;
    for (int i = 0; i < tables; i++) table[i] = _mm512_loadu_pd(leaves + 8 * i);
    for (int quarter = 0; quarter < 4; quarter++)
        for (int half = 0; half < 2; half++) {
            const __m256i part = half ? _mm512_extracti64x4_epi64(exits[quarter], 1)
                                      : _mm512_castsi512_si256(exits[quarter]);
            const __m512i index = _mm512_cvtepu32_epi64(part);
            __m512d value;
            if (tables <= 1) value = _mm512_permutexvar_pd(index, table[0]);
            else {
                value = _mm512_permutex2var_pd(table[0], index, table[1]);
                if (tables > 2) {
                    const __m512d more = tables > 3
                                             ? _mm512_permutex2var_pd(table[2], index, table[3])
                                             : _mm512_permutexvar_pd(index, table[2]);
                    value = _mm512_mask_mov_pd(
                        value, _mm512_test_epi64_mask(index, _mm512_set1_epi64(16)), more);
                }
                if (tables > 4) {
                    __m512d beyond = tables > 5
                                         ? _mm512_permutex2var_pd(table[4], index, table[5])
                                         : _mm512_permutexvar_pd(index, table[4]);
                    if (tables > 6) {
                        const __m512d more = tables > 7
                                                 ? _mm512_permutex2var_pd(table[6], index, table[7])
                                                 : _mm512_permutexvar_pd(index, table[6]);
                        beyond = _mm512_mask_mov_pd(
                            beyond, _mm512_test_epi64_mask(index, _mm512_set1_epi64(16)), more);
                    }
                    value = _mm512_mask_mov_pd(
                        value, _mm512_test_epi64_mask(index, _mm512_set1_epi64(32)), beyond);
                }
            }
            double *to = sums + 16 * quarter + 8 * half;
            _mm512_store_pd(to, _mm512_add_pd(_mm512_load_pd(to), value));
        }
}

TARGET static inline void NAME(add_f32)(const float *leaves, uint32_t n_leaves,
                                        const __m512i *exits, float *sums) {
    __m512 table[4];
    const int tables = (int)(n_leaves + 15) / 16;
    for (int i = 0; i < tables; i++) table[i] = _mm512_loadu_ps(leaves + 16 * i);
    for (int quarter = 0; quarter < 4; quarter++) {
        const __m512i index = exits[quarter];
        __m512 value = tables > 1 ? _mm512_permutex2var_ps(table[0], index, table[1])
                                  : _mm512_permutexvar_ps(index, table[0]);
        if (tables > 2) {
            const __m512 more = tables > 3 ? _mm512_permutex2var_ps(table[2], index, table[3])
                                           : _mm512_permutexvar_ps(index, table[2]);
            value = _mm512_mask_mov_ps(
                value, _mm512_test_epi32_mask(index, _mm512_set1_epi32(32)), more);
        }
        float *to = sums + 16 * quarter;
        _mm512_store_ps(to, _mm512_add_ps(_mm512_load_ps(to), value));
    }
}

/* The row that stands at position 16 * quarter + i after the words were transposed. */
static inline int NAME(row_at)(int position) {
    const int quarter = position / 16, lane = position % 16 / 4, within = position % 4;
    return lane * 16 + quarter * 4 + within;
}

/* The leaves that rows reach of a tree's bit sets: 16 positions in each of four vectors. */
TARGET static inline void NAME(find_leaves)(const struct forest *forest, const struct tree *tree,
                                            const uint8_t *narrow, __m512i *found) {
    const struct strike *strikes = forest->strikes + tree->strikes;
    __m512i words[MAX_WORDS];
    uint32_t from = 0;
    for (uint32_t word = 0; word < MAX_WORDS; word++) {
        if (word < tree->n_words) {
            words[word] = NAME(strike_word)(strikes, from, tree->ends[word], narrow);
            from = tree->ends[word];
        } else words[word] = _mm512_setzero_si512();
    }
    NAME(first_leaves)(words, found);
    if (tree->n_words > 4) {
        __m512i later[4];
        NAME(first_leaves)(words + 4, later);
        for (int i = 0; i < 4; i++) /* lzcnt of nothing is 32: the leaf is in the later words */
            found[i] = _mm512_mask_add_epi32(
                found[i], _mm512_cmpeq_epi32_mask(found[i], _mm512_set1_epi32(32)), found[i],
                later[i]);
    }
}

TARGET static void NAME(bit_tree)(const struct forest *forest, const struct tree *tree,
                                  const struct scratch *scratch) {
    __m512i found[4];
    NAME(find_leaves)(forest, tree, scratch->narrow, found);
    for (uint32_t d = 0; d < forest->dimensions; d++) {
        const uint32_t output = forest->dimensions > 1 ? d : tree->output;
        const size_t leaves = tree->leaves + (size_t)d * PADDED_LEAVES;
        if (forest->single)
            NAME(add_f32)(forest->leaves_f32 + leaves, tree->n_leaves, found,
                          scratch->sums_f32 + (size_t)output * BLOCK_ROWS);
        else
            NAME(add_f64)(forest->leaves + leaves, tree->n_leaves, found,
                          scratch->sums + (size_t)output * BLOCK_ROWS);
    }
}

TARGET static inline void NAME(find_cuts)(const struct forest *forest, const struct tree *tree,
                                          const struct scratch *scratch, uint32_t *at) {
    const uint32_t *cuts = forest->cuts + tree->leaves;
    __m512i found[4];
    NAME(find_leaves)(forest, tree, scratch->narrow, found);
    for (int i = 0; i < 4; i++) _mm512_storeu_si512(at + 16 * i, found[i]);
    for (int position = 0; position < BLOCK_ROWS; position++) at[position] = cuts[at[position]];
}

#else /* without AVX-512 */

#define VECTORS (BLOCK_ROWS / VECTOR_BYTES)
typedef uint8_t NAME(bytes) __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef uint32_t NAME(quads) __attribute__((vector_size(VECTOR_BYTES), may_alias));

TARGET static inline void NAME(strike_word)(const struct strike *strikes, uint32_t from,
                                            uint32_t to, const uint8_t *narrow, uint8_t *word) {
    NAME(bytes) left[VECTORS];
    for (int j = 0; j < VECTORS; j++) left[j] = (NAME(bytes)){0} - 1;
    for (uint32_t i = from; i < to; i++) {
        const NAME(bytes) *codes =
            (const NAME(bytes) *)(narrow + (size_t)strikes[i].column * BLOCK_ROWS);
        const NAME(bytes) code = (NAME(bytes))((NAME(quads)){0} + strikes[i].code);
        const NAME(bytes) keep = (NAME(bytes))((NAME(quads)){0} + strikes[i].keep);
        for (int j = 0; j < VECTORS; j++) left[j] &= keep | (NAME(bytes))(codes[j] <= code);
    }
    for (int j = 0; j < VECTORS; j++) ((NAME(bytes) *)word)[j] = left[j];
}

static inline int NAME(row_at)(int position) { return position; }

/* The leaves that rows reach of a tree's bit sets. */
TARGET static inline void NAME(find_leaves)(const struct forest *forest, const struct tree *tree,
                                            const uint8_t *narrow, uint8_t *found) {
    const struct strike *strikes = forest->strikes + tree->strikes;
    uint8_t words[MAX_WORDS][BLOCK_ROWS] __attribute__((aligned(64)));
    uint32_t from = 0;
    for (uint32_t word = 0; word < tree->n_words; word++) {
        NAME(strike_word)(strikes, from, tree->ends[word], narrow, words[word]);
        from = tree->ends[word];
    }
    for (uint32_t word = tree->n_words; word < (tree->n_words > 4 ? 8u : 4u); word++)
        memset(words[word], 0, BLOCK_ROWS);
    if (tree->n_words <= 4)
        for (int row = 0; row < BLOCK_ROWS; row++) {
            const uint32_t set = (uint32_t)words[0][row] << 24 | (uint32_t)words[1][row] << 16 |
                                 (uint32_t)words[2][row] << 8 | words[3][row];
            found[row] = (uint8_t)__builtin_clz(set | 1);
        }
    else
        for (int row = 0; row < BLOCK_ROWS; row++) {
            uint64_t set = 0;
            for (int word = 0; word < MAX_WORDS; word++) set = set << 8 | words[word][row];
            found[row] = (uint8_t)__builtin_clzll(set | 1);
        }
}

TARGET static void NAME(bit_tree)(const struct forest *forest, const struct tree *tree,
                                  const struct scratch *scratch) {
    uint8_t found[BLOCK_ROWS];
    NAME(find_leaves)(forest, tree, scratch->narrow, found);
    for (uint32_t d = 0; d < forest->dimensions; d++) {
        const uint32_t output = forest->dimensions > 1 ? d : tree->output;
        const size_t leaves = tree->leaves + (size_t)d * PADDED_LEAVES;
        if (forest->single) {
            float *sums = scratch->sums_f32 + (size_t)output * BLOCK_ROWS;
            for (int row = 0; row < BLOCK_ROWS; row++)
                sums[row] += forest->leaves_f32[leaves + found[row]];
        } else {
            double *sums = scratch->sums + (size_t)output * BLOCK_ROWS;
            for (int row = 0; row < BLOCK_ROWS; row++)
                sums[row] += forest->leaves[leaves + found[row]];
        }
    }
}

TARGET static inline void NAME(find_cuts)(const struct forest *forest, const struct tree *tree,
                                          const struct scratch *scratch, uint32_t *at) {
    const uint32_t *cuts = forest->cuts + tree->leaves;
    uint8_t found[BLOCK_ROWS];
    NAME(find_leaves)(forest, tree, scratch->narrow, found);
    for (int row = 0; row < BLOCK_ROWS; row++) at[row] = cuts[found[row]];
}
#undef VECTORS
#endif

/* A tree that is cut: bit sets for its top, then walks, several rows in flight. */
TARGET static void NAME(cut_tree)(const struct forest *forest, const struct tree *tree,
                                  const struct scratch *scratch) {
    const struct node *nodes = forest->nodes + tree->root;
    const uint32_t n_columns = forest->n_columns, dimensions = forest->dimensions;
    uint32_t all[BLOCK_ROWS];
    NAME(find_cuts)(forest, tree, scratch, all);
    for (int start = 0; start < BLOCK_ROWS; start += ROWS_IN_FLIGHT) {
        const uint16_t *codes = scratch->by_row + (size_t)start * n_columns;
        uint32_t *at = all + start, level = 0;
        for (; level < tree->far && level < SURE_STEPS; level++)
            for (int k = 0; k < ROWS_IN_FLIGHT; k++)
                at[k] = step(nodes, at[k], codes + (size_t)k * n_columns);
        for (; level < tree->far; level++) {
            uint32_t moved = 0;
            for (int k = 0; k < ROWS_IN_FLIGHT; k++) {
                const uint32_t next = step(nodes, at[k], codes + (size_t)k * n_columns);
                moved |= next ^ at[k];
                at[k] = next;
            }
            if (!moved) break;
        }
    }
    for (uint32_t d = 0; d < dimensions; d++) {
        const uint32_t output = dimensions > 1 ? d : tree->output;
        const double *values = forest->values + (size_t)tree->root * dimensions + d;
        double *sums = scratch->sums + (size_t)output * BLOCK_ROWS;
        float *sums_f32 = scratch->sums_f32 + (size_t)output * BLOCK_ROWS;
        for (int position = 0; position < BLOCK_ROWS; position++) {
            const double value = values[(size_t)all[position] * dimensions];
            if (forest->single) sums_f32[position] += (float)value;
            else sums[position] += value;
        }
    }
}

TARGET static void NAME(begin_block)(const struct forest *forest, const struct input_rows *inputs,
                                     int64_t first, int count, const struct scratch *scratch) {
    NAME(code_block)(forest, inputs, first, count, scratch);
    if (forest->n_cut)
        for (uint32_t i = 0; i < forest->n_columns; i++)
            for (int position = 0; position < BLOCK_ROWS; position++)
                scratch->by_row[(size_t)position * forest->n_columns + i] =
                    scratch->wide[(size_t)i * BLOCK_ROWS + (size_t)NAME(row_at)(position)];
    const size_t sums = (size_t)forest->n_outputs * BLOCK_ROWS;
    for (size_t i = 0; i < sums; i++) {
        scratch->sums[i] = forest->bases[i / BLOCK_ROWS];
        scratch->sums_f32[i] = (float)forest->bases[i / BLOCK_ROWS];
    }
}

/* Put the sums of a block into the order of its rows. */
TARGET static void NAME(end_block)(const struct forest *forest, const struct scratch *scratch) {
#ifdef WITH_AVX512
    double in_order[BLOCK_ROWS];
    for (uint32_t d = 0; d < forest->n_outputs; d++) {
        double *found = scratch->sums + (size_t)d * BLOCK_ROWS;
        float *found_f32 = scratch->sums_f32 + (size_t)d * BLOCK_ROWS;
        for (int i = 0; i < BLOCK_ROWS; i++)
            in_order[NAME(row_at)(i)] = forest->single ? (double)found_f32[i] : found[i];
        for (int i = 0; i < BLOCK_ROWS; i++) {
            found[i] = in_order[i];
            found_f32[i] = (float)in_order[i];
        }
    }
#else
    (void)forest, (void)scratch;
#endif
}

TARGET static void NAME(predict)(const struct forest *forest, const struct input_rows *inputs,
                                 int64_t first, int rows, const struct scratch *scratches) {
    const int blocks = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
    for (int b = 0; b < blocks; b++) {
        const int done = b * BLOCK_ROWS, left = rows - done;
        NAME(begin_block)(forest, inputs, first + done, left < BLOCK_ROWS ? left : BLOCK_ROWS,
                          &scratches[b]);
    }
    /* Tree by tree: what a tree has is in the nearest cache for all blocks but the first. */
    for (uint32_t t = 0; t < forest->n_trees; t++) {
        const struct tree *tree = &forest->trees[t];
        for (int b = 0; b < blocks; b++) {
            if (tree->n_leaves > MAX_BIT_LEAVES) NAME(cut_tree)(forest, tree, &scratches[b]);
            else NAME(bit_tree)(forest, tree, &scratches[b]);
        }
    }
    for (int b = 0; b < blocks; b++) NAME(end_block)(forest, &scratches[b]);
}
