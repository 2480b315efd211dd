/* The Python module twofold._kernel: forests and linear models, many rows or one at a time. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forest.h"
#include "instructions.h"
#include "linear.h"
#include "reader.h"
#include "sketch.h"

#define MAX_INPUTS 65536
#define WHOLE UINT32_MAX

/* What the two kinds of models have in common: how rows come in. */
typedef struct {
    PyObject_HEAD
    int is_begun; /* a model is made once, whatever its arguments do meanwhile */
    int is_linear;
    struct forest forest;
    struct linear linear;
    uint32_t n_inputs, n_outputs;
    const uint8_t *input_kinds;
    uint32_t *fields;     /* input to the field of a row that holds it */
    uint32_t *positions;  /* its place in that field's list, or WHOLE */
    PyObject *categories; /* input to its dict of text to category, or None */
    double *numbers;
    int32_t *indices;
    uint16_t *codes;
    double *out; /* set last: the model is whole */
    Py_ssize_t n_fields;
} Model;

/* ---- making one -------------------------------------------------------------------------- */

/* Copy a buffer's bytes, which must be whole items. */
static void *copied(const Py_buffer *buffer, size_t item, uint32_t *count) {
    if ((size_t)buffer->len % item || (size_t)buffer->len / item >= UINT32_MAX) return NULL;
    *count = (uint32_t)((size_t)buffer->len / item);
    void *copy = malloc((size_t)buffer->len + 64);
    if (copy) {
        memcpy(copy, buffer->buf, (size_t)buffer->len);
        memset((char *)copy + buffer->len, 0, 64);
    }
    return copy;
}

static const char *take_trees(struct forest *forest, const Py_buffer *roots,
                              const Py_buffer *outputs) {
    uint32_t n_roots = 0, n_outputs = 0;
    uint32_t *starts = copied(roots, sizeof *starts, &n_roots);
    uint32_t *targets = copied(outputs, sizeof *targets, &n_outputs);
    const char *wrong = NULL;
    if (!starts || !targets || n_roots != n_outputs + 1 || starts[0] != 0 ||
        starts[n_roots - 1] != forest->n_nodes)
        wrong = "roots don't fit the nodes";
    if (!wrong) {
        forest->n_trees = n_outputs;
        forest->trees = calloc((size_t)n_outputs + 1, sizeof *forest->trees);
        if (!forest->trees) wrong = "out of memory";
    }
    for (uint32_t t = 0; !wrong && t < n_outputs; t++) {
        if (starts[t + 1] <= starts[t]) wrong = "roots don't ascend";
        forest->trees[t].root = starts[t];
        forest->trees[t].n_nodes = starts[t + 1] - starts[t];
        forest->trees[t].output = targets[t];
    }
    free(starts);
    free(targets);
    return wrong;
}

static const char *take_row_places(Model *self, const Py_buffer *fields,
                                   const Py_buffer *positions) {
    uint32_t n_fields = 0, n_positions = 0;
    self->fields = copied(fields, sizeof *self->fields, &n_fields);
    self->positions = copied(positions, sizeof *self->positions, &n_positions);
    if (!self->fields || !self->positions || n_fields != self->n_inputs ||
        n_positions != n_fields)
        return "fields don't fit the inputs";
    for (uint32_t i = 0; i < n_fields; i++)
        if ((Py_ssize_t)self->fields[i] >= self->n_fields) return "an input's field is out of range";
    if (!PyTuple_Check(self->categories) || PyTuple_GET_SIZE(self->categories) != n_fields)
        return "categories don't fit the inputs";
    for (uint32_t i = 0; i < n_fields; i++) {
        const int text = self->input_kinds[i] == INPUT_TEXT;
        if (text != PyDict_CheckExact(PyTuple_GET_ITEM(self->categories, i)))
            return "categories don't fit the inputs";
    }
    return NULL;
}

/* What a row is read into; last of all, so that a refused model stays unusable. */
static const char *take_rest(Model *self, const Py_buffer *fields, const Py_buffer *positions) {
    const char *wrong = take_row_places(self, fields, positions);
    if (wrong) return wrong;
    self->numbers = calloc((size_t)self->n_inputs + 1, sizeof *self->numbers);
    self->indices = calloc((size_t)self->n_inputs + 1, sizeof *self->indices);
    double *out = calloc(self->n_outputs, sizeof *out);
    if (!self->numbers || !self->indices || !out) {
        free(out);
        return "out of memory";
    }
    self->out = out;
    return NULL;
}

static const char *take_all(Model *self, Py_buffer *parts) {
    struct forest *forest = &self->forest;
    uint32_t n_values = 0;
    forest->input_kinds = copied(&parts[0], 1, &forest->n_inputs);
    forest->columns = copied(&parts[1], sizeof *forest->columns, &forest->n_columns);
    forest->edges = copied(&parts[2], sizeof *forest->edges, &forest->n_edges);
    forest->codes = copied(&parts[3], sizeof *forest->codes, &forest->n_codes);
    forest->nodes = copied(&parts[4], sizeof *forest->nodes, &forest->n_nodes);
    forest->values = copied(&parts[5], sizeof *forest->values, &n_values);
    forest->bases = copied(&parts[8], sizeof *forest->bases, &forest->n_outputs);
    if (!forest->input_kinds || !forest->columns || !forest->edges || !forest->codes ||
        !forest->nodes || !forest->values || !forest->bases)
        return "a part has a wrong size";
    if (!forest->n_inputs || forest->n_inputs > MAX_INPUTS) return "the number of inputs is wrong";
    if (forest->n_columns > MAX_CODE) return "there are too many columns";
    if (!forest->n_outputs || forest->n_outputs > MAX_OUTPUTS)
        return "the number of outputs is wrong";
    if ((uint64_t)forest->n_nodes * forest->dimensions != n_values)
        return "values don't fit the nodes";
    const char *wrong = take_trees(forest, &parts[6], &parts[7]);
    if (!wrong) wrong = forest_prepare(forest);
    self->codes = malloc(((size_t)forest->n_columns + 1) * sizeof *self->codes);
    if (!wrong && !self->codes) wrong = "out of memory";
    self->n_inputs = forest->n_inputs;
    self->n_outputs = forest->n_outputs;
    self->input_kinds = forest->input_kinds;
    return wrong ? wrong : take_rest(self, &parts[9], &parts[10]);
}

static int begin(Model *self) {
    if (self->is_begun) PyErr_SetString(PyExc_TypeError, "a model is made once");
    return self->is_begun++ == 0;
}

static int forest_init(Model *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"input_kinds", "columns", "edges",     "codes",      "nodes",
                            "values",      "roots",   "outputs",   "bases",      "fields",
                            "positions",   "categories", "n_fields", "dimensions", "single",
                            "link",        "scale",   "divisor",   NULL};
    if (!begin(self)) return -1;
    Py_buffer parts[11];
    memset(parts, 0, sizeof parts);
    PyObject *categories;
    unsigned int dimensions;
    struct forest *forest = &self->forest;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "y*y*y*y*y*y*y*y*y*y*y*O!nIpidd", names, &parts[0], &parts[1], &parts[2],
            &parts[3], &parts[4], &parts[5], &parts[6], &parts[7], &parts[8], &parts[9],
            &parts[10], &PyTuple_Type, &categories, &self->n_fields, &dimensions, &forest->single,
            &forest->link, &forest->scale, &forest->divisor))
        return -1;
    Py_XSETREF(self->categories, Py_NewRef(categories));
    forest->dimensions = dimensions;
    const char *wrong = dimensions ? take_all(self, parts) : "values have no dimensions";
    for (int i = 0; i < 11; i++) PyBuffer_Release(&parts[i]);
    if (wrong) {
        PyErr_SetString(PyExc_ValueError, wrong);
        return -1;
    }
    return 0;
}

static const char *take_linear(Model *self, Py_buffer *parts) {
    struct linear *linear = &self->linear;
    linear->input_kinds = copied(&parts[0], 1, &linear->n_inputs);
    linear->terms = copied(&parts[1], sizeof *linear->terms, &linear->n_terms);
    linear->steps = copied(&parts[2], sizeof *linear->steps, &linear->n_steps);
    linear->edges = copied(&parts[3], sizeof *linear->edges, &linear->n_edges);
    linear->weights = copied(&parts[4], sizeof *linear->weights, &linear->n_weights);
    linear->bases = copied(&parts[5], sizeof *linear->bases, &linear->n_outputs);
    if (!linear->input_kinds || !linear->terms || !linear->steps || !linear->edges ||
        !linear->weights || !linear->bases)
        return "a part has a wrong size";
    if (!linear->n_inputs || linear->n_inputs > MAX_INPUTS) return "the number of inputs is wrong";
    if (!linear->n_outputs || linear->n_outputs > MAX_OUTPUTS)
        return "the number of outputs is wrong";
    const char *wrong = linear_check(linear);
    self->n_inputs = linear->n_inputs;
    self->n_outputs = linear->n_outputs;
    self->input_kinds = linear->input_kinds;
    return wrong ? wrong : take_rest(self, &parts[6], &parts[7]);
}

static int linear_init(Model *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"input_kinds", "terms",  "steps",     "edges",      "weights",
                            "bases",       "fields", "positions", "categories", "n_fields",
                            "link",        NULL};
    if (!begin(self)) return -1;
    Py_buffer parts[8];
    memset(parts, 0, sizeof parts);
    PyObject *categories;
    struct linear *linear = &self->linear;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*y*y*y*y*y*y*y*O!ni", names, &parts[0],
                                     &parts[1], &parts[2], &parts[3], &parts[4], &parts[5],
                                     &parts[6], &parts[7], &PyTuple_Type, &categories,
                                     &self->n_fields, &linear->link))
        return -1;
    Py_XSETREF(self->categories, Py_NewRef(categories));
    self->is_linear = 1;
    const char *wrong = take_linear(self, parts);
    for (int i = 0; i < 8; i++) PyBuffer_Release(&parts[i]);
    if (wrong) {
        PyErr_SetString(PyExc_ValueError, wrong);
        return -1;
    }
    return 0;
}

static void model_dealloc(Model *self) {
    forest_free(&self->forest);
    linear_free(&self->linear);
    free(self->fields);
    free(self->positions);
    free(self->numbers);
    free(self->indices);
    free(self->codes);
    free(self->out);
    Py_XDECREF(self->categories);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static int is_made(const Model *self) {
    if (self->out) return 1;
    PyErr_SetString(PyExc_ValueError, "the model was refused when it was made");
    return 0;
}

/* ---- many rows --------------------------------------------------------------------------- */

/* Whether a buffer has so many values, and stands where the processor may read them. */
static int has_values(enum input_kind kind, const Py_buffer *buffer, uint64_t values) {
    const uint64_t bytes = (uint64_t)buffer->len;
    if (!values) return 1;
    if (kind == INPUT_BOOL) return bytes >= (values - 1) / 8 + 1;
    const uint64_t item = kind == INPUT_F32 || kind == INPUT_TEXT ? 4 : 8;
    return bytes / item >= values && (uintptr_t)buffer->buf % item == 0;
}

/* Take one input's buffers and check that all its rows lie within them. */
static int take_rows(enum input_kind kind, PyObject *item, int64_t rows, struct input_rows *input,
                     Py_buffer *held) {
    PyObject *values, *validity, *mapping;
    long long offset, stride;
    if (!PyArg_ParseTuple(item, "OLLOO", &values, &offset, &stride, &validity, &mapping)) return -1;
    if (offset < 0 || stride < 1 || offset > INT64_MAX / 16 || stride > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "an input's offset or stride is out of range");
        return -1;
    }
    if (PyObject_GetBuffer(values, &held[0], PyBUF_SIMPLE)) return -1;
    if (validity != Py_None && PyObject_GetBuffer(validity, &held[1], PyBUF_SIMPLE)) return -1;
    if (mapping != Py_None && PyObject_GetBuffer(mapping, &held[2], PyBUF_SIMPLE)) return -1;
    /* rows < 2^31 and stride < 2^31: neither the product nor the sum overflows. */
    const uint64_t last = rows ? (uint64_t)offset + (uint64_t)(rows - 1) * (uint64_t)stride + 1 : 0;
    const uint64_t bits = rows ? (uint64_t)offset / (uint64_t)stride + (uint64_t)rows : 0;
    if (!has_values(kind, &held[0], last) ||
        (held[1].obj && !has_values(INPUT_BOOL, &held[1], bits))) {
        PyErr_SetString(PyExc_ValueError, "an input has fewer values than rows, or unaligned ones");
        return -1;
    }
    if (kind == INPUT_TEXT && (!held[2].obj || stride != 1 || (uintptr_t)held[2].buf % 4)) {
        PyErr_SetString(PyExc_ValueError, "a text input needs a mapping");
        return -1;
    }
    input->values = held[0].buf;
    input->validity = held[1].obj ? held[1].buf : NULL;
    input->offset = offset;
    input->stride = stride;
    input->mapping = held[2].obj ? held[2].buf : NULL;
    input->n_mapping = held[2].obj ? held[2].len / 4 : 0;
    return 0;
}

static int run(Model *self, PyObject *inputs, long long rows, const Py_buffer *out,
               Py_buffer *held) {
    struct input_rows *taken = calloc(self->n_inputs, sizeof *taken);
    void *scratch = self->is_linear ? NULL : malloc(forest_scratch_bytes(&self->forest));
    int failed = 0;
    if (!taken || (!scratch && !self->is_linear)) {
        PyErr_NoMemory();
        failed = 1;
    }
    for (uint32_t i = 0; !failed && i < self->n_inputs; i++)
        failed = take_rows(self->input_kinds[i], PyTuple_GET_ITEM(inputs, i), rows, &taken[i],
                           held + 3 * (size_t)i);
    if (!failed) {
        Py_BEGIN_ALLOW_THREADS
        if (self->is_linear) linear_predict(&self->linear, taken, rows, out->buf, rows);
        else forest_predict(&self->forest, taken, rows, out->buf, rows, scratch);
        Py_END_ALLOW_THREADS
    }
    free(taken);
    free(scratch);
    return failed ? -1 : 0;
}

PyDoc_STRVAR(predict_doc,
"predict(inputs, rows, out)\n--\n\n"
"Predict many rows into `out`, a writable buffer of float64 [output][row].\n\n"
"Each of `inputs` is (values, offset, stride, validity, mapping): the buffers of an Arrow column,\n"
"the index of its first row's value, the values from one row to the next, its validity bits or\n"
"None, and for text the int32 category of each entry of its dictionary. The GIL is released.");

static PyObject *predict(Model *self, PyObject *args) {
    PyObject *inputs;
    long long rows;
    Py_buffer out;
    if (!is_made(self)) return NULL;
    if (!PyArg_ParseTuple(args, "O!Lw*", &PyTuple_Type, &inputs, &rows, &out)) return NULL;
    PyObject *result = NULL;
    const size_t n_held = (size_t)self->n_inputs * 3;
    Py_buffer *held = calloc(n_held, sizeof *held);
    if (!held) PyErr_NoMemory();
    else if (rows < 0 || rows > INT32_MAX || PyTuple_GET_SIZE(inputs) != self->n_inputs)
        PyErr_SetString(PyExc_ValueError, "expected one entry per input, and a number of rows");
    else if ((size_t)out.len < (size_t)rows * self->n_outputs * sizeof(double) ||
             (uintptr_t)out.buf % sizeof(double))
        PyErr_SetString(PyExc_ValueError, "the output has fewer values than rows");
    else if (!run(self, inputs, rows, &out, held)) result = Py_NewRef(Py_None);
    for (size_t i = 0; held && i < n_held; i++)
        if (held[i].obj) PyBuffer_Release(&held[i]);
    free(held);
    PyBuffer_Release(&out);
    return result;
}

/* ---- one row ----------------------------------------------------------------------------- */

static int number_of(PyObject *value, double *number) {
    if (PyFloat_CheckExact(value)) *number = PyFloat_AS_DOUBLE(value);
    else if (value == Py_None) *number = NAN;
    else if (PyLong_CheckExact(value) || PyBool_Check(value)) {
        *number = PyLong_AsDouble(value);
        if (*number == -1.0 && PyErr_Occurred()) return -1;
    } else {
        PyErr_Format(PyExc_TypeError, "expected a number, got %s", Py_TYPE(value)->tp_name);
        return -1;
    }
    return 0;
}

static int category_of(PyObject *value, PyObject *categories, int32_t *category) {
    *category = CATEGORY_NULL;
    if (value == Py_None) return 0;
    if (!PyUnicode_CheckExact(value)) {
        PyErr_Format(PyExc_TypeError, "expected text, got %s", Py_TYPE(value)->tp_name);
        return -1;
    }
    PyObject *found = PyDict_GetItemWithError(categories, value);
    if (!found && PyErr_Occurred()) return -1;
    *category = CATEGORY_UNKNOWN;
    if (!found) return 0;
    const long number = PyLong_CheckExact(found) ? PyLong_AsLong(found) : -1;
    if (number < 0 || number > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "a category isn't a number");
        return -1;
    }
    *category = (int32_t)number;
    return 0;
}

static int take_row(Model *self, PyObject *values) {
    for (uint32_t i = 0; i < self->n_inputs; i++) {
        PyObject *value = PyList_GET_ITEM(values, self->fields[i]);
        if (self->positions[i] != WHOLE && value != Py_None) {
            if (!PyList_CheckExact(value) || PyList_GET_SIZE(value) <= self->positions[i]) {
                PyErr_SetString(PyExc_TypeError, "expected a list of a tensor's length");
                return -1;
            }
            value = PyList_GET_ITEM(value, self->positions[i]);
        }
        if (self->input_kinds[i] == INPUT_TEXT) {
            PyObject *categories = PyTuple_GET_ITEM(self->categories, i);
            if (category_of(value, categories, &self->indices[i])) return -1;
        } else if (number_of(value, &self->numbers[i])) return -1;
    }
    return 0;
}

PyDoc_STRVAR(predict_one_doc,
"predict_one(values)\n--\n\n"
"Predict one row, a list of canonical values in the order of the fields: a float, or a tuple of\n"
"floats if there are several outputs. The same bits as `predict` gives the row.");

static PyObject *predict_one(Model *self, PyObject *values) {
    if (!is_made(self)) return NULL;
    if (!PyList_CheckExact(values) || PyList_GET_SIZE(values) != self->n_fields) {
        PyErr_SetString(PyExc_TypeError, "expected a list of one value per field");
        return NULL;
    }
    /* Before the row is read: making a tuple may collect garbage, and so let others predict. */
    PyObject *found = self->n_outputs == 1 ? NULL : PyTuple_New(self->n_outputs);
    if (self->n_outputs != 1 && !found) return NULL;
    if (take_row(self, values)) {
        Py_XDECREF(found);
        return NULL;
    }
    if (self->is_linear)
        linear_predict_one(&self->linear, self->numbers, self->indices, self->out);
    else forest_predict_one(&self->forest, self->numbers, self->indices, self->codes, self->out);
    if (self->n_outputs == 1) return PyFloat_FromDouble(self->out[0]);
    for (uint32_t i = 0; found && i < self->n_outputs; i++) {
        PyObject *number = PyFloat_FromDouble(self->out[i]);
        if (!number) Py_CLEAR(found);
        else PyTuple_SET_ITEM(found, i, number);
    }
    return found;
}

PyDoc_STRVAR(quick_doc,
"quick(reader, single)\n--\n\n"
"A function of one row as Python has it: the finite prediction of a model of one output, rounded\n"
"to float32 if `single`, if the row plainly fits the reader's signature; else None.");

static PyObject *read_and_predict(PyObject *parts, PyObject *row) {
    Model *self = (Model *)PyTuple_GET_ITEM(parts, 0);
    PyObject *values = PyObject_CallOneArg(PyTuple_GET_ITEM(parts, 1), row);
    if (!values || values == Py_None) return values;
    const int failed = take_row(self, values);
    Py_DECREF(values);
    if (failed) return NULL;
    if (self->is_linear)
        linear_predict_one(&self->linear, self->numbers, self->indices, self->out);
    else forest_predict_one(&self->forest, self->numbers, self->indices, self->codes, self->out);
    double found = self->out[0];
    if (PyTuple_GET_ITEM(parts, 2) == Py_True) found = (double)(float)found;
    if (isfinite(found)) return PyFloat_FromDouble(found);
    Py_RETURN_NONE;
}

static PyMethodDef quick_function = {"quick", read_and_predict, METH_O, NULL};

static PyObject *quick(Model *self, PyObject *args) {
    PyObject *reader, *single;
    if (!is_made(self)) return NULL;
    if (!PyArg_ParseTuple(args, "O!O!", &ReaderType, &reader, &PyBool_Type, &single)) return NULL;
    if (self->n_outputs != 1 || self->n_fields != reader_width(reader)) {
        PyErr_SetString(PyExc_ValueError, "expected the model's reader, and one output");
        return NULL;
    }
    PyObject *read = PyObject_GetAttrString(reader, "read");
    PyObject *parts = read ? PyTuple_Pack(3, self, read, single) : NULL;
    PyObject *made = parts ? PyCFunction_New(&quick_function, parts) : NULL;
    Py_XDECREF(read);
    Py_XDECREF(parts);
    return made;
}

/* ---- the module -------------------------------------------------------------------------- */

static PyMethodDef model_methods[] = {
    {"predict", (PyCFunction)predict, METH_VARARGS, predict_doc},
    {"predict_one", (PyCFunction)predict_one, METH_O, predict_one_doc},
    {"quick", (PyCFunction)quick, METH_VARARGS, quick_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(forest_doc,
"A tree ensemble over coded columns; every size, index and offset is checked when it is made.");
PyDoc_STRVAR(linear_doc,
"A linear model; every size, index and offset is checked when it is made.");

#define MODEL_TYPE(type_name, doc, init)                                                      \
    {                                                                                         \
        PyVarObject_HEAD_INIT(NULL, 0).tp_name = type_name, .tp_doc = doc,                    \
        .tp_basicsize = sizeof(Model), .tp_flags = Py_TPFLAGS_DEFAULT,                        \
        .tp_new = PyType_GenericNew, .tp_init = (initproc)init,                               \
        .tp_dealloc = (destructor)model_dealloc, .tp_methods = model_methods,                 \
    }

static PyTypeObject ForestType = MODEL_TYPE("twofold._kernel.Forest", forest_doc, forest_init);
static PyTypeObject LinearType = MODEL_TYPE("twofold._kernel.Linear", linear_doc, linear_init);

/* ---- sketches ---------------------------------------------------------------------------- */

struct sketched {
    const uint8_t *kinds;
    const double *origins;
    PyObject *inputs;
    int64_t rows;
    uint64_t *table;
    double *limits;
    struct sketch_entry *entries;
    size_t n_entries, room;
};

/* Sketch columns, one behind the other, without the GIL; -1 if memory is short. */
static int sketch_columns(struct sketched *all, const struct input_rows *taken, Py_ssize_t count) {
    const size_t most = all->rows < SKETCH_BUCKETS ? (size_t)all->rows : SKETCH_BUCKETS;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (all->room - all->n_entries < most) {
            const size_t room = 2 * all->room + most;
            void *grown = realloc(all->entries, room * sizeof *all->entries);
            if (!grown) return -1;
            all->entries = grown;
            all->room = room;
        }
        sketch_add(all->kinds[i], taken + i, all->rows, all->origins[i], all->table,
                   all->limits + 2 * i);
        all->n_entries += sketch_drain(all->table, (uint32_t)i, all->entries + all->n_entries);
    }
    return 0;
}

/* Take all columns, and sketch them; -1 with an error set if that can't be. */
static int sketch_taken(struct sketched *all, Py_ssize_t count) {
    struct input_rows *taken = PyMem_Calloc((size_t)count + 1, sizeof *taken);
    Py_buffer *held = PyMem_Calloc(3 * (size_t)count + 1, sizeof *held);
    int failed = !taken || !held;
    if (failed) PyErr_NoMemory();
    for (Py_ssize_t i = 0; !failed && i < count; i++) {
        PyObject *input = PyTuple_GET_ITEM(all->inputs, i);
        failed = take_rows(all->kinds[i], input, all->rows, taken + i, held + 3 * (size_t)i);
        if (!failed && taken[i].stride != 1) {
            PyErr_SetString(PyExc_ValueError, "a sketch takes every value");
            failed = -1;
        }
    }
    if (!failed) {
        Py_BEGIN_ALLOW_THREADS
        failed = sketch_columns(all, taken, count);
        Py_END_ALLOW_THREADS
        if (failed) PyErr_NoMemory();
    }
    for (size_t i = 0; held && i < 3 * (size_t)count; i++)
        if (held[i].obj) PyBuffer_Release(&held[i]);
    PyMem_Free(held);
    PyMem_Free(taken);
    return failed;
}

static const char *refuse_sketch(const struct sketched *all, const Py_buffer *kinds,
                                 const Py_buffer *origins, const Py_buffer *table,
                                 const Py_buffer *limits) {
    const size_t count = (size_t)kinds->len;
    if ((size_t)PyTuple_GET_SIZE(all->inputs) != count || count > MAX_INPUTS ||
        (size_t)origins->len != count * sizeof(double) ||
        (size_t)limits->len != 2 * count * sizeof(double))
        return "kinds, origins, inputs and limits don't fit each other";
    for (size_t i = 0; i < count; i++)
        if (all->kinds[i] > INPUT_I64) return "only numbers are sketched";
    if (all->rows < 0 || all->rows > SKETCH_MAX_ROWS) return "too many rows for one sketch";
    if ((size_t)table->len != SKETCH_BUCKETS * sizeof(uint64_t)) return "the table has a wrong size";
    if ((uintptr_t)table->buf % 8 || (uintptr_t)origins->buf % 8 || (uintptr_t)limits->buf % 8)
        return "a buffer is unaligned";
    return NULL;
}

PyDoc_STRVAR(sketch_doc,
"sketch(kinds, origins, inputs, rows, table, limits)\n--\n\n"
"Count the values of columns of numbers by bucket; see sketch.h. Returns the entries as bytes.\n\n"
"`inputs` is as for a model's `predict`; `table` is zeroed memory of a thread's own, and is so\n"
"again; `limits` gets the least and the greatest value of each column. The GIL is released.");

static PyObject *sketch(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer kinds, origins, table, limits;
    long long rows;
    struct sketched all;
    memset(&all, 0, sizeof all);
    if (!PyArg_ParseTuple(args, "y*y*O!Lw*w*", &kinds, &origins, &PyTuple_Type, &all.inputs, &rows,
                          &table, &limits))
        return NULL;
    all.kinds = kinds.buf;
    all.origins = origins.buf;
    all.rows = rows;
    all.table = table.buf;
    all.limits = limits.buf;
    PyObject *result = NULL;
    const char *wrong = refuse_sketch(&all, &kinds, &origins, &table, &limits);
    if (wrong) PyErr_SetString(PyExc_ValueError, wrong);
    else if (!sketch_taken(&all, kinds.len))
        result = PyBytes_FromStringAndSize((const char *)all.entries,
                                           (Py_ssize_t)(all.n_entries * sizeof *all.entries));
    free(all.entries);
    PyBuffer_Release(&kinds);
    PyBuffer_Release(&origins);
    PyBuffer_Release(&table);
    PyBuffer_Release(&limits);
    return result;
}

PyDoc_STRVAR(merge_doc,
"merge(sketches, columns)\n--\n\n"
"Put sketches of the same columns together: a tuple of what `sketch` returned. Returns the same\n"
"of all their values. The GIL is released.");

static PyObject *merge(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *given, *result = NULL;
    unsigned int columns;
    if (!PyArg_ParseTuple(args, "O!I", &PyTuple_Type, &given, &columns)) return NULL;
    const Py_ssize_t count = PyTuple_GET_SIZE(given);
    struct sketch_list *lists = PyMem_Calloc((size_t)count + 1, sizeof *lists);
    struct sketch_sum *table = PyMem_Calloc(SKETCH_BUCKETS, sizeof *table);
    size_t total = 0;
    int failed = !lists || !table;
    if (failed) PyErr_NoMemory();
    for (Py_ssize_t i = 0; !failed && i < count; i++) {
        char *bytes;
        Py_ssize_t length;
        failed = PyBytes_AsStringAndSize(PyTuple_GET_ITEM(given, i), &bytes, &length);
        if (failed) break;
        lists[i].next = (const struct sketch_entry *)bytes;
        lists[i].end = lists[i].next + (size_t)length / sizeof *lists[i].next;
        total += (size_t)length / sizeof *lists[i].next;
    }
    struct sketch_entry *merged = failed ? NULL : PyMem_Malloc((total + 1) * sizeof *merged);
    if (!failed && !merged) PyErr_NoMemory();
    if (merged) {
        size_t found = 0;
        int is_whole = 1;
        Py_BEGIN_ALLOW_THREADS
        for (uint32_t i = 0; i < columns; i++)
            found += sketch_merge(lists, (size_t)count, i, table, merged + found);
        for (Py_ssize_t i = 0; i < count; i++) is_whole &= lists[i].next == lists[i].end;
        Py_END_ALLOW_THREADS
        if (is_whole)
            result = PyBytes_FromStringAndSize((const char *)merged,
                                               (Py_ssize_t)(found * sizeof *merged));
        else PyErr_SetString(PyExc_ValueError, "a sketch isn't sorted, or has more columns");
    }
    PyMem_Free(merged);
    PyMem_Free(table);
    PyMem_Free(lists);
    return result;
}

PyDoc_STRVAR(instructions_doc,
"instructions()\n--\n\nThe instructions used for many rows: 'avx512', 'avx2' or 'plain'.");

static PyObject *show_instructions(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    return PyUnicode_FromString(instructions_name());
}

PyDoc_STRVAR(use_doc,
"use(instructions)\n--\n\nUse these instructions from now on; False if the processor lacks them.");

static PyObject *use(PyObject *module, PyObject *name) {
    (void)module;
    const char *text = PyUnicode_AsUTF8(name);
    return text ? PyBool_FromLong(use_instructions(text)) : NULL;
}

static PyMethodDef module_methods[] = {
    {"instructions", show_instructions, METH_NOARGS, instructions_doc},
    {"merge", merge, METH_VARARGS, merge_doc},
    {"sketch", sketch, METH_VARARGS, sketch_doc},
    {"use", use, METH_O, use_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "twofold._kernel",
    .m_doc = "Predicting with trees and linear models at the hardware's speed; see src/kernel.",
    .m_size = -1,
    .m_methods = module_methods,
};

PyMODINIT_FUNC PyInit__kernel(void) {
    if (PyType_Ready(&ForestType) || PyType_Ready(&LinearType) || PyType_Ready(&ReaderType)) return NULL;
    PyObject *made = PyModule_Create(&module);
    if (!made) return NULL;
    instructions_name(); /* chosen once, before any thread asks */
    if (PyModule_AddObjectRef(made, "Forest", (PyObject *)&ForestType) ||
        PyModule_AddObjectRef(made, "Linear", (PyObject *)&LinearType) ||
        PyModule_AddObjectRef(made, "Reader", (PyObject *)&ReaderType))
        Py_CLEAR(made);
    return made;
}
