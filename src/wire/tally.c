#include "tally.h"

#include <stdint.h>
#include <string.h>

#define MAX_BOUNDS 64

/* One process's region of the shared numbers. Nobody else writes to it, so that a plain addition
 * does; readers see each number as it was before or after. */
typedef struct {
    PyObject_HEAD
    Py_buffer held;
    double *numbers;
    Py_ssize_t size;
    double bounds[MAX_BOUNDS]; /* upper bounds of a histogram's buckets, ascending */
    int n_bounds;
} Tally;

static int take_bounds(Tally *self, PyObject *bounds) {
    const Py_ssize_t count = PyTuple_GET_SIZE(bounds);
    if (count > MAX_BOUNDS) {
        PyErr_SetString(PyExc_ValueError, "too many bounds");
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        self->bounds[i] = PyFloat_AsDouble(PyTuple_GET_ITEM(bounds, i));
        if (self->bounds[i] == -1.0 && PyErr_Occurred()) return -1;
    }
    self->n_bounds = (int)count;
    return 0;
}

static PyObject *tally_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *keywords[] = {"region", "bounds", NULL};
    PyObject *region, *bounds;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!", keywords, &region, &PyTuple_Type,
                                     &bounds))
        return NULL;
    Tally *self = (Tally *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    if (take_bounds(self, bounds) ||
        PyObject_GetBuffer(region, &self->held, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS)) {
        Py_DECREF(self);
        return NULL;
    }
    self->numbers = self->held.buf;
    self->size = self->held.len / (Py_ssize_t)sizeof(double);
    if ((uintptr_t)self->held.buf % sizeof(double)) {
        PyErr_SetString(PyExc_ValueError, "the region isn't aligned");
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void tally_dealloc(Tally *self) {
    if (self->held.obj) PyBuffer_Release(&self->held);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* The number of a slot that `width` slots begin with; NULL with an error if they aren't all here. */
static double *slot_of(const Tally *self, PyObject *slot, Py_ssize_t width) {
    const Py_ssize_t index = PyLong_AsSsize_t(slot);
    if (index == -1 && PyErr_Occurred()) return NULL;
    if (index < 0 || width > self->size || index > self->size - width) {
        PyErr_SetString(PyExc_IndexError, "there is no such slot");
        return NULL;
    }
    return self->numbers + index;
}

static int read_number(PyObject *number, double *value) {
    *value = PyFloat_AsDouble(number);
    return *value == -1.0 && PyErr_Occurred() ? -1 : 0;
}

static int add_to(const Tally *self, PyObject *slot, double amount) {
    double *number = slot_of(self, slot, 1);
    if (!number) return -1;
    *number += amount;
    return 0;
}

static void put(const Tally *self, double *series, double value) {
    int bucket = 0;
    while (bucket < self->n_bounds && self->bounds[bucket] < value) bucket++;
    series[bucket] += 1.0;
    series[self->n_bounds + 1] += value;
}

static int observe_in(const Tally *self, PyObject *slot, PyObject *number) {
    double *series = slot_of(self, slot, self->n_bounds + 2), value;
    if (!series || read_number(number, &value)) return -1;
    put(self, series, value);
    return 0;
}

int tally_has(PyObject *tally, const struct answered_slots *answered,
              const struct refused_slots *refused) {
    const Tally *self = (Tally *)tally;
    const Py_ssize_t counters[] = {answered->response, answered->ok, answered->rows,
                                   refused->response, refused->outcome};
    const Py_ssize_t histograms[] = {answered->duration, answered->queue, answered->predict,
                                     refused->duration};
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        if (counters[i] < 0 || counters[i] >= self->size) return 0;
    for (size_t i = 0; i < sizeof histograms / sizeof *histograms; i++)
        if (histograms[i] < 0 || histograms[i] > self->size - (self->n_bounds + 2)) return 0;
    return 1;
}

int tally_has_slot(PyObject *tally, Py_ssize_t slot) {
    return slot >= 0 && slot < ((Tally *)tally)->size;
}

void tally_response(PyObject *tally, Py_ssize_t slot) { ((Tally *)tally)->numbers[slot] += 1.0; }

void tally_refused(PyObject *tally, const struct refused_slots *slots, double duration_s) {
    const Tally *self = (Tally *)tally;
    self->numbers[slots->response] += 1.0;
    self->numbers[slots->outcome] += 1.0;
    put(self, self->numbers + slots->duration, duration_s);
}

void tally_one(PyObject *tally, const struct answered_slots *slots, double duration_s,
               double queue_s, double predict_s) {
    const Tally *self = (Tally *)tally;
    self->numbers[slots->response] += 1.0;
    self->numbers[slots->ok] += 1.0;
    self->numbers[slots->rows] += 1.0;
    put(self, self->numbers + slots->duration, duration_s);
    put(self, self->numbers + slots->queue, queue_s);
    put(self, self->numbers + slots->predict, predict_s);
}

static int expect(Py_ssize_t count, Py_ssize_t least, Py_ssize_t most) {
    if (count >= least && count <= most) return 0;
    PyErr_SetString(PyExc_TypeError, "wrong number of arguments");
    return -1;
}

PyDoc_STRVAR(add_doc, "add(slot, amount=1.0)\n--\n\nAdd to a counter, or move a gauge.");

static PyObject *tally_add(Tally *self, PyObject *const *args, Py_ssize_t count) {
    double amount = 1.0;
    if (expect(count, 1, 2) || (count == 2 && read_number(args[1], &amount)) ||
        add_to(self, args[0], amount))
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(observe_doc,
"observe(slot, value)\n--\n\nPut one value into the histogram that starts at `slot`.");

static PyObject *tally_observe(Tally *self, PyObject *const *args, Py_ssize_t count) {
    if (expect(count, 2, 2) || observe_in(self, args[0], args[1])) return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(answered_doc,
"answered(ok_slot, rows_slot, rows, duration_slot, duration_s, queue_slot, queue_s,\n"
"         predict_slot, predict_s)\n--\n\n"
"Count an answered request: one `add` for itself, one for its rows, three times `observe`.");

static PyObject *tally_answered(Tally *self, PyObject *const *args, Py_ssize_t count) {
    double rows;
    if (expect(count, 9, 9) || read_number(args[2], &rows) || add_to(self, args[0], 1.0) ||
        add_to(self, args[1], rows) || observe_in(self, args[3], args[4]) ||
        observe_in(self, args[5], args[6]) || observe_in(self, args[7], args[8]))
        return NULL;
    Py_RETURN_NONE;
}

#define FAST(function) (PyCFunction)(void (*)(void))function, METH_FASTCALL

static PyMethodDef tally_methods[] = {
    {"add", FAST(tally_add), add_doc},
    {"observe", FAST(tally_observe), observe_doc},
    {"answered", FAST(tally_answered), answered_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(tally_doc,
"Tally(region, bounds)\n--\n\n"
"Counts in a writable buffer of doubles; `bounds` are those of every histogram.");

PyTypeObject TallyType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "twofold._wire.Tally",
    .tp_doc = tally_doc,
    .tp_basicsize = sizeof(Tally),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = tally_new,
    .tp_dealloc = (destructor)tally_dealloc,
    .tp_methods = tally_methods,
};
