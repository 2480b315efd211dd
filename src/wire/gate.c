#include "gate.h"

typedef struct {
    PyObject_HEAD
    double until_s; /* 0: it is open */
    Py_ssize_t least_bytes;
    double allowed_s;
    PyObject *before, *after;
} Gate;

static PyObject *gate_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *keywords[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "", keywords)) return NULL;
    return type->tp_alloc(type, 0);
}

static void gate_dealloc(Gate *self) {
    Py_XDECREF(self->before);
    Py_XDECREF(self->after);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

PyDoc_STRVAR(close_doc,
"close(until_s, least_bytes, allowed_s, before, after)\n--\n\n"
"Refuse requests of `least_bytes` of body or more that may take `allowed_s` at most, until then,\n"
"or until it is opened. `before` and `after` are the bytes of the refusal around its header lines\n"
"about date and connection.");

static PyObject *gate_close(Gate *self, PyObject *args) {
    double until_s, allowed_s;
    Py_ssize_t least_bytes;
    PyObject *before, *after;
    if (!PyArg_ParseTuple(args, "dndSS", &until_s, &least_bytes, &allowed_s, &before, &after))
        return NULL;
    Py_XSETREF(self->before, Py_NewRef(before));
    Py_XSETREF(self->after, Py_NewRef(after));
    self->least_bytes = least_bytes;
    self->allowed_s = allowed_s;
    self->until_s = until_s;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(open_doc, "open()\n--\n\nRefuse nobody: it depends.");

static PyObject *gate_open(Gate *self, PyObject *Py_UNUSED(none)) {
    self->until_s = 0.0;
    Py_RETURN_NONE;
}

int gate_refuses(PyObject *gate, Py_ssize_t body_bytes, double allowed_s, double now_s) {
    const Gate *self = (Gate *)gate;
    return now_s < self->until_s && body_bytes >= self->least_bytes && allowed_s <= self->allowed_s;
}

PyObject *gate_before(PyObject *gate) { return ((Gate *)gate)->before; }
PyObject *gate_after(PyObject *gate) { return ((Gate *)gate)->after; }

static PyMethodDef gate_methods[] = {
    {"close", (PyCFunction)gate_close, METH_VARARGS, close_doc},
    {"open", (PyCFunction)gate_open, METH_NOARGS, open_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(gate_doc,
"Gate()\n--\n\nThe refusal that was given last, for all requests that have no better chance.");

PyTypeObject GateType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "twofold._wire.Gate",
    .tp_doc = gate_doc,
    .tp_basicsize = sizeof(Gate),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = gate_new,
    .tp_dealloc = (destructor)gate_dealloc,
    .tp_methods = gate_methods,
};
