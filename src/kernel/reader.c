#include "reader.h"

#include <math.h>
#include <string.h>

/* A field's type, in the order that twofold.model gives them. */
enum field_kind {
    FIELD_BOOL = 0,
    FIELD_INT64,
    FIELD_FLOAT32,
    FIELD_FLOAT64,
    FIELD_STRING,
    FIELD_KINDS
};

#define NULLABLE 0x80
#define KIND 0x7f
#define MAX_EXACT_INT 9007199254740992LL /* 2^53: beyond it, doubles skip integers */

typedef struct {
    PyObject_HEAD
    int is_begun;     /* a reader is made once, whatever its arguments do meanwhile */
    PyObject *names;  /* tuple of str */
    PyObject *fields; /* bytes: kind, and NULLABLE */
    PyObject *known;  /* tuple: a frozenset of the texts admitted, or None for any */
} Reader;

static int reader_init(Reader *self, PyObject *args, PyObject *kwargs) {
    static char *keywords[] = {"names", "fields", "known", NULL};
    PyObject *names, *fields, *known;
    if (self->is_begun++) {
        PyErr_SetString(PyExc_TypeError, "a reader is made once");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!O!", keywords, &PyTuple_Type, &names,
                                     &PyBytes_Type, &fields, &PyTuple_Type, &known))
        return -1;
    const Py_ssize_t count = PyTuple_GET_SIZE(names);
    int fits = PyBytes_GET_SIZE(fields) == count && PyTuple_GET_SIZE(known) == count;
    for (Py_ssize_t i = 0; fits && i < count; i++) {
        PyObject *texts = PyTuple_GET_ITEM(known, i);
        fits = PyUnicode_CheckExact(PyTuple_GET_ITEM(names, i)) &&
               (texts == Py_None || PyFrozenSet_CheckExact(texts)) &&
               (PyBytes_AS_STRING(fields)[i] & KIND) < FIELD_KINDS;
    }
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "names, fields and known don't fit each other");
        return -1;
    }
    Py_XSETREF(self->names, Py_NewRef(names));
    Py_XSETREF(self->fields, Py_NewRef(fields));
    Py_XSETREF(self->known, Py_NewRef(known));
    return 0;
}

Py_ssize_t reader_width(PyObject *reader) {
    PyObject *names = ((Reader *)reader)->names;
    return names ? PyTuple_GET_SIZE(names) : -1;
}

static void reader_dealloc(Reader *self) {
    Py_XDECREF(self->names);
    Py_XDECREF(self->fields);
    Py_XDECREF(self->known);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* A number as a float of the field's width; NULL without an error if it isn't plainly one. */
static PyObject *float_of(PyObject *value, int single) {
    double number;
    if (PyFloat_CheckExact(value)) number = PyFloat_AS_DOUBLE(value);
    else if (PyLong_CheckExact(value)) {
        int overflow;
        const long long whole = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow || whole > MAX_EXACT_INT || whole < -MAX_EXACT_INT) return NULL;
        number = (double)whole;
    } else return NULL;
    if (!single) {
        if (!isfinite(number)) return NULL;
        return PyFloat_CheckExact(value) ? Py_NewRef(value) : PyFloat_FromDouble(number);
    }
    const float narrow = (float)number;
    if (!isfinite(narrow)) return NULL;
    return (double)narrow == number && PyFloat_CheckExact(value)
               ? Py_NewRef(value)
               : PyFloat_FromDouble((double)narrow);
}

/* The canonical value; NULL without an error if the slow way has to look at it. */
static PyObject *canonical(PyObject *value, int field, PyObject *known) {
    if (value == Py_None) return field & NULLABLE ? Py_NewRef(value) : NULL;
    switch (field & KIND) {
    case FIELD_BOOL: return PyBool_Check(value) ? Py_NewRef(value) : NULL;
    case FIELD_INT64: {
        int overflow = 1;
        if (PyLong_CheckExact(value)) (void)PyLong_AsLongLongAndOverflow(value, &overflow);
        return overflow ? NULL : Py_NewRef(value);
    }
    case FIELD_FLOAT32: return float_of(value, 1);
    case FIELD_FLOAT64: return float_of(value, 0);
    default:
        if (!PyUnicode_CheckExact(value)) return NULL;
        if (known != Py_None) {
            const int found = PySet_Contains(known, value);
            if (found != 1) return NULL;
        }
        return Py_NewRef(value);
    }
}

PyDoc_STRVAR(read_doc,
"read(row)\n--\n\n"
"The row's canonical values as a list, if it is a dict with exactly the fields, or a list or tuple\n"
"in their order, of plain values that all fit; else None. It never says what is wrong.");

static PyObject *reader_read(Reader *self, PyObject *row) {
    if (!self->known) Py_RETURN_NONE;
    const Py_ssize_t count = PyTuple_GET_SIZE(self->names);
    const int is_dict = PyDict_CheckExact(row), is_list = PyList_CheckExact(row);
    Py_ssize_t size;
    if (is_dict) size = PyDict_GET_SIZE(row);
    else if (is_list) size = PyList_GET_SIZE(row);
    else if (PyTuple_CheckExact(row)) size = PyTuple_GET_SIZE(row);
    else Py_RETURN_NONE;
    if (size != count) Py_RETURN_NONE;
    PyObject *values = PyList_New(count);
    if (!values) return NULL;
    const char *fields = PyBytes_AS_STRING(self->fields);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *value;
        if (is_dict) value = PyDict_GetItemWithError(row, PyTuple_GET_ITEM(self->names, i));
        else value = is_list ? PyList_GET_ITEM(row, i) : PyTuple_GET_ITEM(row, i);
        PyObject *found =
            value ? canonical(value, (unsigned char)fields[i], PyTuple_GET_ITEM(self->known, i))
                  : NULL;
        if (!found) {
            Py_DECREF(values);
            if (PyErr_Occurred()) return NULL;
            Py_RETURN_NONE;
        }
        PyList_SET_ITEM(values, i, found);
    }
    return values;
}

static PyMethodDef reader_methods[] = {
    {"read", (PyCFunction)reader_read, METH_O, read_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(reader_doc, "The quick way through the checks of a signature.");

PyTypeObject ReaderType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "twofold._kernel.Reader",
    .tp_doc = reader_doc,
    .tp_basicsize = sizeof(Reader),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)reader_init,
    .tp_dealloc = (destructor)reader_dealloc,
    .tp_methods = reader_methods,
};
