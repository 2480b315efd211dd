/* Tree ensembles over coded columns.
 *
 * Every test of a tree is `code of a column > code of the node`. A column's code is the rank of
 * its value among all the split points that the ensemble has for it, so one comparison of small
 * integers stands for any comparison of the original: double or float, a missing value sent
 * either way, a category in a set. Ranks are found once per row and column; the trees, which are
 * most of the work, then compare bytes. Since integers compare alike everywhere and leaves are
 * added in the original's order and precision, every path below gives the same bits.
 *
 * Ways through a tree:
 * - Many rows: QuickScorer's bit sets (Lucchese et al., SIGIR 2015) in bytes, as in RapidScorer (Ye
 *   et al., KDD 2018), for 64 rows at a time and without branches on data: each test that fails
 *   strikes the leaves of its left subtree; the first leaf left is the exit. A tree of more than 64
 *   leaves is cut: its top has bit sets, and rows walk on from the 64 nodes where it was cut.
 * - One row, if all trees have at most 64 leaves and the row fits a table of 128 bytes, where the
 *   processor looks up many bytes at once in such a table:
 *   - if no tree has more than six levels of tests and that is less work, all tests of a tree at
 *     once as the bits of a word, in which eight trees at a time are then walked;
 *   - else, with AVX-512 VBMI, bit sets for 16 trees at a time;
 *   - else, with AVX2, all tests of a tree as bits, and each leaf's set of the tests that strike
 *     it: the first leaf whose set has none of those that failed is the exit.
 * - One row otherwise: walking, several trees in flight so that their loads overlap.
 * A leaf's child is the leaf itself, so that walks may go on longer than they need to.
 */
#ifndef TWOFOLD_FOREST_H
#define TWOFOLD_FOREST_H

#include "inputs.h"

#define MAX_BIT_LEAVES 64
#define WORD_LEAVES 8
#define MAX_WORDS (MAX_BIT_LEAVES / WORD_LEAVES)
#define MAX_CODE 65535u
#define MAX_NARROW_CODE 255u
#define MAX_OUTPUTS 4096u
#define MAX_DEPTH 4096u

enum column_kind { COLUMN_EDGES = 0, COLUMN_TABLE = 1, COLUMN_KINDS };

/* How values become a code; the layout is shared with twofold.predictor. */
struct column {
    uint32_t input;
    uint32_t kind;
    uint32_t first;    /* of its edges, or of its table in `codes` */
    uint32_t count;    /* of edges, or of categories */
    uint32_t codes;    /* COLUMN_EDGES: first of count + 1 codes, or NO_CODES: the rank itself */
    uint32_t missing;  /* code of null and NaN */
    uint32_t unknown;  /* COLUMN_TABLE: code of a category without an entry */
    uint32_t reserved; /* 0 */
};
#define NO_CODES 0xffffffffu

/* A node: right, which is left + 1, if the column's code > code. Shared with twofold.predictor. */
struct node {
    uint16_t code;
    uint16_t column;
    uint32_t left; /* counted from the tree's root; a leaf's is itself */
};

/* A leaf set struck from one word of a tree when a test fails; made for vectors of bytes. */
struct strike {
    uint32_t column; /* narrow column */
    uint32_t code;   /* four times the byte, for a broadcast from memory */
    uint32_t keep;   /* four times the byte of the leaves that stay */
};

struct tree {
    uint32_t root;
    uint32_t n_nodes;
    uint32_t depth;     /* steps of its longest walk */
    uint32_t output;    /* the one it adds to; all of them if the forest's values are vectors */
    uint32_t n_leaves;
    uint32_t n_words;   /* of its bit sets, or of its top's if it is cut */
    uint32_t strikes;   /* first of its strikes */
    uint32_t leaves;    /* first of its leaf values, or, if it is cut, of `cuts` */
    uint32_t far;       /* steps of the longest walk from where it is cut */
    uint32_t ends[MAX_WORDS]; /* strikes of word w end at strikes + ends[w] */
};

/* What bit sets compare of a column: how many of their tests' codes its code is above. */
struct rank {
    uint32_t first; /* of its entries, one for each code up to `last` */
    uint32_t last;  /* greater codes rank like this one */
};

/* A part of a column's ranks that fits bytes: min(max(rank - low, 0), 255). */
struct narrow {
    uint32_t column;
    uint32_t low;
    uint32_t next; /* another part of the same column, or UINT32_MAX */
};

#define GROUP_TREES 16
#define MAX_TABLE 128 /* narrow columns that fit two registers */

/* Trees that one row passes side by side: a test of each in every slot. */
struct group {
    uint32_t first;    /* of its trees */
    uint32_t n_trees;
    uint32_t slots[2]; /* tests that strike leaves 0..31, and 32..63 */
    uint32_t start;    /* first slot, in slots of GROUP_TREES */
    uint32_t pieces;   /* of each tree */
    uint32_t first_piece;
    uint32_t first_set; /* of its strikers */
};

/* Sixteen leaves of a tree, and the tests after each of them: from left to right, tests and leaves
 * take turns, and a test that fails strikes leaves up to the one before it. */
#define PIECE_LEAVES 16
#define MAX_PIECES (MAX_BIT_LEAVES / PIECE_LEAVES)
#define PAIR_TESTS (2 * PIECE_LEAVES)
#define PAIR_BYTES (2 * PAIR_TESTS) /* two pieces' narrow columns, then codes, with SIGN flipped */
#define SIGN 0x80u /* AVX2 compares signed bytes only */

/* Sets that the leaves of a tree have: those of a piece, one for each piece from their own on. */
static inline uint32_t sets_of(uint32_t pieces) { return pieces * (pieces + 1) / 2; }

/* A column's edges as a search tree: blocks of sixteen, found by going down the levels. */
#define BLOCK_RUNGS 16
#define MAX_LEVELS 4 /* 16^4 > MAX_CODE */

struct ladder {
    uint32_t n_levels;
    uint32_t levels[MAX_LEVELS]; /* first of each one's rungs; 0 is the edges themselves */
};

#define HEAP_DEPTH 6
#define HEAP_LEAVES 64
#define HEAP_BYTES 128 /* a tree's narrow columns, then codes, of tests 1..63: 2k, 2k + 1 follow k */

enum link {
    LINK_NONE = 0,
    LINK_SIGMOID = 1,     /* 1 / (1 + exp(-scale * x)), double */
    LINK_EXP = 2,
    LINK_SOFTMAX = 3,     /* over the outputs, double, as LightGBM writes it */
    LINK_SQUARE = 4,      /* sign(x) * x * x */
    LINK_LOG1P_EXP = 5,
    LINK_SIGMOID_F32 = 6, /* as XGBoost writes them */
    LINK_EXP_F32 = 7,
    LINK_SOFTMAX_F32 = 8,
    LINKS
};

struct forest {
    uint32_t n_inputs, n_columns, n_trees, n_nodes, n_outputs, n_narrow, n_edges, n_codes;
    uint32_t dimensions; /* values per leaf: 1, or n_outputs */
    int single;          /* sums are float, not double */
    int link;
    double scale;
    double divisor;      /* sums are divided by it, if it isn't 1 */
    uint32_t n_cut;      /* trees that are */
    uint8_t *input_kinds;
    struct column *columns;
    double *edges;
    uint16_t *codes;
    struct node *nodes;
    double *values;      /* [node][dimension] */
    double *bases;       /* [output] */
    struct tree *trees;
    struct strike *strikes;
    struct rank *ranks;  /* [column], where trees are cut; else codes are few: they are the ranks */
    uint16_t *by_code;   /* the ranks' entries */
    uint32_t *cuts;      /* [tree][leaf of its top]: the node where the walk begins */
    struct narrow *narrows;
    double *leaves;      /* [tree][dimension][leaf], padded to whole vectors */
    float *leaves_f32;
    uint8_t *heaps;        /* [tree][HEAP_BYTES], or NULL */
    double *heap_leaves;   /* [tree][leaf] */
    uint32_t n_groups;     /* 0 if one row is walked, or goes through heaps */
    uint32_t *row_firsts;  /* [column]: its edges, if it has some */
    uint32_t *row_counts;
    struct ladder *ladders; /* [column] */
    double *rungs;          /* NULL if they are too many */
    struct group *groups;
    uint16_t *group_tests; /* [slot][tree]: narrow column, and code << 8 */
    uint32_t *group_keeps; /* [slot][tree]: the leaves that stay if the test fails */
    uint8_t *piece_tests;  /* [pair of pieces][PAIR_BYTES] */
    uint16_t *strikers;    /* [set][leaf of a piece]: bits of the tests of a piece that strike it */
};

/* Check a forest's parts and derive the rest; NULL, or what is wrong with it. */
const char *forest_prepare(struct forest *forest);
void forest_free(struct forest *forest);

/* Bytes that forest_predict needs for its own use. */
size_t forest_scratch_bytes(const struct forest *forest);

/* Predict rows into out[output][row], `out_stride` doubles from one output to the next. */
void forest_predict(const struct forest *forest, const struct input_rows *inputs, int64_t rows,
                    double *out, int64_t out_stride, void *scratch);

/* Predict one row; `numbers` and `categories` by input, `codes` for n_columns. */
void forest_predict_one(const struct forest *forest, const double *numbers,
                        const int32_t *categories, uint16_t *codes, double *out);

#endif
