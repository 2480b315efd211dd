/* A bounded fuzz of the forest kernel under sanitizers; `make fuzz` builds and runs it.
 *
 *     fuzz_forest [seconds] [seed]
 *
 * Each case makes a valid forest, as the bytes a model file would hold, and rows for it. What
 * forest_predict and, row by row, forest_predict_one give under every set of instructions that the
 * processor has must be, bit for bit, what a naive walk written here gives. Then bytes, words,
 * items and sizes of the forest are changed at random. forest_prepare may refuse what comes out;
 * what it accepts must predict without a report of the sanitizers, and alike on every path.
 *
 * Bytes become a forest as in src/kernel/module.c, with the same checks before forest_prepare,
 * except that every array is exactly as large as its contents, so that the first byte beyond it is
 * reported. AddressSanitizer doesn't see inside gathers (AVX-512, columns of more than 12 edges);
 * they take the steps that plain code takes under its eyes.
 *
 * Case k of a run is the first case of the seed `seed + k`. A failure names its seed: repeat it
 * alone with `fuzz_forest 0 SEED`.
 */
#include "fuzz.h"

#include "forest.h"
#include "link.h"

#define MAX_INPUTS 6
#define MAX_TREES 40
#define MAX_MANY_TREES 150 /* more than two times those whose heaps are in flight */
#define MAX_TAME_CODE 600u /* a few narrow columns for each column */

enum part_name { KINDS, COLUMNS, EDGES, CODES, NODES, VALUES, ROOTS, OUTPUTS, BASES, PARTS };

static const size_t ITEMS[PARTS] = {
    [KINDS] = 1,
    [COLUMNS] = sizeof(struct column),
    [EDGES] = sizeof(double),
    [CODES] = sizeof(uint16_t),
    [NODES] = sizeof(struct node),
    [VALUES] = sizeof(double),
    [ROOTS] = sizeof(uint32_t),
    [OUTPUTS] = sizeof(uint32_t),
    [BASES] = sizeof(double),
};

/* ---- bytes become a forest, as in src/kernel/module.c ------------------------------------ */

static const char *take_trees(struct forest *forest, const uint32_t *starts, uint32_t n_starts,
                              const uint32_t *targets, uint32_t n_targets) {
    if (!starts || !targets || n_starts != n_targets + 1 || starts[0] != 0 ||
        starts[n_starts - 1] != forest->n_nodes)
        return "roots don't fit the nodes";
    forest->n_trees = n_targets;
    forest->trees = checked(calloc(n_targets, sizeof *forest->trees));
    for (uint32_t t = 0; t < n_targets; t++) {
        if (starts[t + 1] <= starts[t]) return "roots don't ascend";
        forest->trees[t].root = starts[t];
        forest->trees[t].n_nodes = starts[t + 1] - starts[t];
        forest->trees[t].output = targets[t];
    }
    return NULL;
}

static const char *take_forest(const struct model *model, struct forest *forest) {
    uint32_t n_values = 0, n_starts = 0, n_targets = 0;
    forest->dimensions = model->dimensions;
    forest->single = model->single;
    forest->link = model->link;
    forest->scale = model->scale;
    forest->divisor = model->divisor;
    forest->input_kinds = copied(model, KINDS, &forest->n_inputs);
    forest->columns = copied(model, COLUMNS, &forest->n_columns);
    forest->edges = copied(model, EDGES, &forest->n_edges);
    forest->codes = copied(model, CODES, &forest->n_codes);
    forest->nodes = copied(model, NODES, &forest->n_nodes);
    forest->values = copied(model, VALUES, &n_values);
    forest->bases = copied(model, BASES, &forest->n_outputs);
    if (!forest->input_kinds || !forest->columns || !forest->edges || !forest->codes ||
        !forest->nodes || !forest->values || !forest->bases)
        return "a part has a wrong size";
    if (!forest->dimensions) return "values have no dimensions";
    if (!forest->n_inputs) return "the number of inputs is wrong";
    if (forest->n_columns > MAX_CODE) return "there are too many columns";
    if (!forest->n_outputs || forest->n_outputs > MAX_OUTPUTS)
        return "the number of outputs is wrong";
    if ((uint64_t)forest->n_nodes * forest->dimensions != n_values)
        return "values don't fit the nodes";
    uint32_t *starts = copied(model, ROOTS, &n_starts);
    uint32_t *targets = copied(model, OUTPUTS, &n_targets);
    const char *wrong = take_trees(forest, starts, n_starts, targets, n_targets);
    free(starts);
    free(targets);
    return wrong ? wrong : forest_prepare(forest);
}

static const char *take(const struct model *model, struct taken *taken) {
    struct forest *forest = checked(calloc(1, sizeof *forest));
    const char *wrong = take_forest(model, forest);
    *taken = (struct taken){
        .kernel = forest,
        .kinds = forest->input_kinds,
        .n_inputs = forest->n_inputs,
        .n_outputs = forest->n_outputs,
        .edges = forest->edges,
        .n_edges = forest->n_edges,
    };
    return wrong;
}

static void drop(struct taken *taken) {
    forest_free(taken->kernel);
    free(taken->kernel);
}

/* ---- valid models ------------------------------------------------------------------------ */

/* What a model is to reach, which chance alone seldom does; its codes, unless they are wild, are
 * few enough for one row to be looked up. */
enum aim {
    WILD,
    GROUPED, /* one row in groups of trees */
    BUSHY,   /* one row in heaps */
    LARGE,   /* trees that are cut, of columns of many codes */
};

static enum aim aim; /* of the model that is being made */
static uint32_t code_limit, depth_limit, leaf_limit;

static int is_tame(void) { return aim == GROUPED || aim == BUSHY; }

static uint16_t any_code(void) {
    if (is_tame() && !one_in(100)) return (uint16_t)(one_in(2) ? below(code_limit) : below(8));
    switch (below(4)) {
    case 0: return (uint16_t)(is_tame() ? MAX_CODE : word());
    case 1: return (uint16_t)(255 * below(is_tame() ? 3 : 258)); /* where narrow columns begin */
    case 2: return (uint16_t)below(MAX_TAME_CODE);
    default: return (uint16_t)below(8);
    }
}

static uint32_t any_count(void) {
    if (one_in(400)) return MAX_CODE;
    if (aim == LARGE && !one_in(4)) return one_in(3) ? between(256, 2000) : between(3000, 9000);
    switch (below(5)) {
    case 0: return below(3);
    case 1: return between(11, 15); /* where the search for a rank changes */
    case 2: return between(2, is_tame() ? code_limit : 700);
    default: return between(1, 12);
    }
}

static void add_codes(struct model *model, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const uint16_t code = any_code();
        add(model, CODES, &code, 1);
    }
}

static void add_edges(struct model *model, struct column *column) {
    double *edges = any_edges(any_count(), &column->count);
    column->first = count_of(model, EDGES);
    add(model, EDGES, edges, column->count);
    free(edges);
    if (column->first && one_in(8)) { /* the edges of another column, or some of them */
        struct column other;
        get(model, COLUMNS, below(count_of(model, COLUMNS)), &other);
        if (other.kind == COLUMN_EDGES && other.count) {
            column->first = other.first + below(other.count);
            column->count = between(0, other.first + other.count - column->first);
        }
    }
    column->codes = NO_CODES;
    if (one_in(2)) {
        column->codes = count_of(model, CODES);
        add_codes(model, column->count + 1);
    }
}

static void add_column(struct model *model, uint32_t input) {
    struct column column = {.input = input, .missing = any_code(), .unknown = any_code()};
    if (model->parts[KINDS].bytes[input] == INPUT_TEXT) {
        column.kind = COLUMN_TABLE;
        column.first = count_of(model, CODES);
        column.count = aim == LARGE ? any_count() : below(40);
        column.codes = one_in(2) ? NO_CODES : 0;
        add_codes(model, column.count);
    } else add_edges(model, &column);
    add(model, COLUMNS, &column, 1);
}

/* Few columns where they are to have many codes; many where they are to fill the table. */
static void add_inputs(struct model *model) {
    const uint32_t n_inputs = between(1, aim == LARGE ? 2 : MAX_INPUTS);
    const uint32_t most = is_tame() && one_in(4) ? between(4, MAX_TABLE / 2) : aim == LARGE ? 2 : 4;
    for (uint32_t i = 0; i < n_inputs; i++) {
        const uint8_t kind = (uint8_t)below(INPUT_KINDS);
        add(model, KINDS, &kind, 1);
    }
    for (uint32_t i = 0; i < n_inputs; i++)
        for (uint32_t k = below(most); k-- > 0;) add_column(model, i);
    for (uint32_t k = one_in(8) ? between(1, 3) : 0; k-- > 0;) /* not sorted by input */
        add_column(model, below(n_inputs));
    if (aim != WILD && !count_of(model, COLUMNS)) add_column(model, 0);
}

/* A test that some rows pass and some fail, mostly. */
static struct node any_test(const struct model *model) {
    const uint32_t at = below(count_of(model, COLUMNS));
    struct node node = {any_code(), (uint16_t)at, 0};
    struct column column;
    get(model, COLUMNS, at, &column);
    const int ranked = column.kind == COLUMN_EDGES && column.codes == NO_CODES;
    const uint32_t codes = column.count + (column.kind == COLUMN_EDGES);
    if (one_in(12)) return node;
    if (ranked) node.code = (uint16_t)below(column.count + 1);
    else if (codes) {
        const uint32_t first = column.kind == COLUMN_TABLE ? column.first : column.codes;
        get(model, CODES, first + below(codes), &node.code);
        if (node.code && one_in(2)) node.code--;
    }
    return node;
}

static double any_value(void) {
    if (one_in(200)) return one_in(2) ? INFINITY : -INFINITY;
    return one_in(20) ? finite_number() : ((double)below(2001) - 1000.0) / 7.0;
}

enum shape { ANYHOW, CHAIN, LEFT_CHAIN, RIGHT_CHAIN, BROAD, SHAPES };

static uint32_t any_leaves(enum shape shape) {
    const int is_chain = shape == CHAIN || shape == LEFT_CHAIN || shape == RIGHT_CHAIN;
    if (aim == BUSHY) return one_in(3) ? HEAP_LEAVES : between(20, HEAP_LEAVES);
    if (aim == GROUPED) return one_in(4) ? leaf_limit : between(1, leaf_limit);
    if (aim == LARGE && is_chain && one_in(20)) return between(300, MAX_DEPTH + 1);
    if (aim == LARGE && !one_in(4)) return one_in(4) ? between(65, 300) : between(65, 80);
    if (one_in(2000)) return MAX_DEPTH + 1; /* in a row as deep as may be */
    switch (below(6)) {
    case 0: return between(1, 2);
    case 1: return 8 * between(1, 8);
    case 4: return between(62, 67);
    case 5: return between(65, 300);
    default: return between(2, 64);
    }
}

/* A leaf that becomes a test. */
struct open {
    uint32_t node, depth;
};

/* Which of the open leaves; where trees are bushy, one that isn't as deep as they may be. */
static uint32_t choose(enum shape shape, const struct open *open, uint32_t n_open) {
    if (aim == BUSHY)
        for (uint32_t at = below(n_open);; at = (at + 1) % n_open)
            if (open[at].depth < depth_limit) return at;
    return shape == ANYHOW ? below(n_open) : shape == BROAD ? n_open / 2 : n_open - 1;
}

/* Fill `nodes` with a tree of so many leaves; gives how many nodes it has. */
static uint32_t grow(const struct model *model, enum shape shape, uint32_t leaves,
                     struct node *nodes) {
    struct open *open = checked(calloc(leaves, sizeof *open));
    uint32_t n_nodes = 1, n_open = 1;
    while (n_open < leaves) { /* open leaf `at` becomes a test with two leaves */
        const uint32_t at = choose(shape, open, n_open), depth = open[at].depth + 1;
        const uint32_t right = shape == LEFT_CHAIN ? 1 : shape == RIGHT_CHAIN ? 0 : below(2);
        nodes[open[at].node] = any_test(model);
        nodes[open[at].node].left = n_nodes;
        open[at] = (struct open){n_nodes + right, depth};
        open[n_open++] = (struct open){n_nodes + !right, depth};
        n_nodes += 2;
    }
    for (uint32_t i = 0; i < n_open; i++) {
        const uint16_t column = (uint16_t)below(count_of(model, COLUMNS));
        nodes[open[i].node] = (struct node){MAX_CODE, column, open[i].node};
    }
    free(open);
    return n_nodes;
}

static void add_tree(struct model *model) {
    const enum shape shape = (enum shape)below(SHAPES);
    const uint32_t leaves = any_leaves(shape), root = count_of(model, NODES);
    struct node *nodes = checked(calloc(2 * leaves, sizeof *nodes));
    const uint32_t n_nodes = grow(model, shape, leaves, nodes);
    add(model, NODES, nodes, n_nodes);
    free(nodes);
    for (uint32_t i = 0; i < n_nodes * model->dimensions; i++) {
        const double value = any_value();
        add(model, VALUES, &value, 1);
    }
    const uint32_t end = root + n_nodes, output = below(count_of(model, BASES));
    add(model, ROOTS, &end, 1);
    add(model, OUTPUTS, &output, 1);
}

static void set_aim(void) {
    const enum aim aims[] = {WILD, WILD, WILD, GROUPED, GROUPED, BUSHY, BUSHY, LARGE};
    const uint32_t limits[] = {8, 250, MAX_TAME_CODE};
    aim = aims[below(8)];
    code_limit = limits[below(3)];
    leaf_limit = PIECE_LEAVES * between(1, MAX_PIECES);
    depth_limit = HEAP_DEPTH + (uint32_t)one_in(8); /* a level too deep */
}

static uint32_t any_trees(void) {
    if (aim == LARGE) return one_in(4) ? between(60, 120) : between(1, 6);
    if (is_tame() && one_in(8)) return between(1, MAX_MANY_TREES);
    if (one_in(3)) return between(7, 9);
    return is_tame() ? between(1, MAX_TREES) : below(MAX_TREES + 1);
}

static void add_outputs(struct model *model) {
    const uint32_t many[] = {2, 3, 5, 16, 17, 20};
    const uint32_t n_outputs = one_in(2) ? 1 : many[below(6)];
    for (uint32_t i = 0; i < n_outputs; i++) {
        const double base = one_in(3) ? 0.0 : any_value();
        add(model, BASES, &base, 1);
    }
    model->dimensions = aim == BUSHY || one_in(2) ? 1 : n_outputs;
}

static void make(struct model *model) {
    begin_model(model, ITEMS, PARTS);
    set_aim();
    add_inputs(model);
    add_outputs(model);
    model->single = one_in(2);
    model->link = one_in(2) ? LINK_NONE : (int)below(LINKS);
    model->scale = one_in(2) ? 1.0 : any_value();
    model->divisor = one_in(2) ? 1.0 : (double)between(1, 100);
    const uint32_t start = 0, n_trees = any_trees();
    add(model, ROOTS, &start, 1);
    if (count_of(model, COLUMNS)) /* even a leaf has to name a column */
        for (uint32_t t = 0; t < n_trees; t++) add_tree(model);
}

/* ---- predicting -------------------------------------------------------------------------- */

static uint32_t naive_code(const struct forest *forest, const struct column *column, double number,
                           int32_t category) {
    if (column->kind == COLUMN_TABLE) {
        if (category == CATEGORY_NULL) return column->missing;
        const int known = category >= 0 && (uint32_t)category < column->count;
        return known ? forest->codes[column->first + (uint32_t)category] : column->unknown;
    }
    if (isnan(number)) return column->missing;
    uint32_t rank = 0;
    while (rank < column->count && forest->edges[column->first + rank] < number) rank++;
    return column->codes == NO_CODES ? rank : forest->codes[column->codes + rank];
}

/* What the header of the kernel promises, in the plainest way. */
static void naive(const void *kernel, const double *numbers, const int32_t *categories,
                  double *out) {
    const struct forest *forest = kernel;
    uint32_t *codes = checked(malloc((forest->n_columns + 1) * sizeof *codes));
    for (uint32_t i = 0; i < forest->n_columns; i++) {
        const struct column *column = &forest->columns[i];
        codes[i] = naive_code(forest, column, numbers[column->input], categories[column->input]);
    }
    for (uint32_t d = 0; d < forest->n_outputs; d++)
        out[d] = forest->single ? (double)(float)forest->bases[d] : forest->bases[d];
    for (uint32_t t = 0; t < forest->n_trees; t++) {
        const struct tree *tree = &forest->trees[t];
        const struct node *nodes = forest->nodes + tree->root;
        uint32_t at = 0;
        while (nodes[at].left != at)
            at = nodes[at].left + (codes[nodes[at].column] > nodes[at].code);
        for (uint32_t d = 0; d < forest->dimensions; d++) {
            const double value = forest->values[(size_t)(tree->root + at) * forest->dimensions + d];
            double *sum = &out[forest->dimensions > 1 ? d : tree->output];
            *sum = forest->single ? (double)((float)*sum + (float)value) : *sum + value;
        }
    }
    free(codes);
    apply_link(forest->link, forest->scale, forest->divisor, forest->n_outputs, 1, out, 1);
}

static int fits(const void *kernel, double found, double expected) {
    (void)kernel;
    return are_same(found, expected);
}

/* What was never written must not matter: codes and scratch begin as anything. */
static void predict_one(const void *kernel, const double *numbers, const int32_t *categories,
                        double *out) {
    const struct forest *forest = kernel;
    uint16_t *codes = checked(malloc(forest->n_columns * sizeof *codes));
    memset(codes, (int)below(256), forest->n_columns * sizeof *codes);
    forest_predict_one(forest, numbers, categories, codes, out);
    free(codes);
}

static void predict(const void *kernel, const struct input_rows *inputs, int64_t rows, double *out,
                    int64_t stride) {
    const struct forest *forest = kernel;
    const size_t slack = 8 * (size_t)below(8), needed = forest_scratch_bytes(forest);
    uint8_t *scratch = checked(malloc(slack + needed));
    memset(scratch, (int)below(256), slack + needed);
    forest_predict(forest, inputs, rows, out, stride, scratch + slack);
    free(scratch);
}

/* ---- ways through the kernel ------------------------------------------------------------- */

enum { HEAPED, GROUPS, LARGE_GROUPS, WIDE_ROWS, HIGH_LADDERS, CUT, MANY_RANKS, WAYS };

static struct way ways[WAYS] = {
    [HEAPED] = {"with heaps", 0},
    [GROUPS] = {"with groups", 0},
    [LARGE_GROUPS] = {"with groups of trees in more than two pieces", 0},
    [WIDE_ROWS] = {"with rows that fill more than half a table", 0},
    [HIGH_LADDERS] = {"with more than two levels of rungs", 0},
    [CUT] = {"with cut trees", 0},
    [MANY_RANKS] = {"with cut trees and thousands of ranks in a column", 0},
};

static void count_ways(const struct taken *taken, const struct rows *rows) {
    const struct forest *forest = taken->kernel;
    const int is_looked_up = (forest->n_groups || forest->heaps) && forest->rungs;
    int is_many = 0, is_large = 0, is_high = 0;
    for (uint32_t i = 0; i < forest->n_narrow; i++) is_many |= forest->narrows[i].low > 2000;
    for (uint32_t g = 0; g < forest->n_groups; g++) is_large |= forest->groups[g].pieces > 2;
    for (uint32_t i = 0; is_looked_up && i < forest->n_columns; i++)
        is_high |= forest->ladders[i].n_levels > 2;
    if (!rows->n) return;
    ways[HEAPED].count += forest->heaps != NULL;
    ways[GROUPS].count += forest->n_groups > 0;
    ways[LARGE_GROUPS].count += is_large;
    ways[WIDE_ROWS].count += is_looked_up && forest->n_narrow > MAX_TABLE / 2;
    ways[HIGH_LADDERS].count += is_high;
    ways[CUT].count += forest->n_cut > 0;
    ways[MANY_RANKS].count += forest->ranks && is_many;
}

/* ---- damage ------------------------------------------------------------------------------ */

/* A test becomes a leaf without losing its subtree, or gets other children. */
static void mutate_node(struct model *model) {
    const uint32_t n_nodes = count_of(model, NODES), n_roots = count_of(model, ROOTS);
    if (!n_nodes || !n_roots) return;
    uint32_t root = 0, end = 0;
    const uint32_t at = below(n_nodes);
    for (uint32_t i = 0; i < n_roots && end <= at; i++) {
        root = end;
        get(model, ROOTS, i, &end);
    }
    struct node node;
    get(model, NODES, at, &node);
    if (one_in(2)) node = (struct node){MAX_CODE, node.column, at - root};
    else node.left = one_in(2) ? node.left + between(0, 4) - 2 : end - root - between(0, 3);
    set(model, NODES, at, &node);
}

/* The last nodes go, with their values, and the roots say so: only the trees are wrong. */
static void mutate_end(struct model *model) {
    const uint32_t n_nodes = count_of(model, NODES), n_roots = count_of(model, ROOTS);
    if (!n_nodes || !n_roots) return;
    const uint32_t left = n_nodes - between(1, n_nodes < 3 ? n_nodes : 3);
    const size_t values = (size_t)left * model->dimensions * ITEMS[VALUES];
    model->parts[NODES].size = left * ITEMS[NODES];
    if (values < model->parts[VALUES].size) model->parts[VALUES].size = values;
    set(model, ROOTS, n_roots - 1, &left);
}

static void mutate_header(struct model *model) {
    switch (below(5)) {
    case 0: model->dimensions = (uint32_t)telling_word(model); break;
    case 1: model->single = !model->single; break;
    case 2: model->link = one_in(4) ? (int)(uint32_t)word() : (int)below(LINKS + 2) - 1; break;
    case 3: model->scale = any_number(2); break;
    default: model->divisor = any_number(2); break;
    }
}

static void mutate(struct model *model) {
    const int any = (int)below(PARTS);
    switch (below(12)) {
    case 0: mutate_header(model); break;
    case 1: mutate_end(model); break;
    case 2: mutate_node(model); break;
    default: mutate_part(model, one_in(3) ? NODES : one_in(3) ? COLUMNS : any); break;
    }
}

int main(int argc, char **argv) {
    const struct fuzzed forests = {
        .models = "forests",
        .make = make,
        .mutate = mutate,
        .take = take,
        .drop = drop,
        .count_ways = count_ways,
        .ways = ways,
        .n_ways = WAYS,
        .predict_one = predict_one,
        .predict = predict,
        .naive = naive,
        .fits = fits,
    };
    return fuzz(&forests, argc, argv);
}
