#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "enter.h"
#include "index.h"

/* An index over the memory of mapped files, which it keeps mapped. */
typedef struct {
    PyObject_HEAD
    struct index index;
    Py_buffer bytes, offsets, data;
} Index;

static int take_keys(struct keys *keys, const Py_buffer *offsets, const Py_buffer *data) {
    if (offsets->len < 8 || offsets->len % 8 || (uintptr_t)offsets->buf % 8) {
        PyErr_SetString(PyExc_ValueError, "offsets are aligned numbers of 8 bytes, at least one");
        return -1;
    }
    *keys = (struct keys){offsets->buf, data->buf, (uint64_t)offsets->len / 8 - 1,
                          (uint64_t)data->len};
    if (keys->rows < UINT32_MAX) return 0;
    PyErr_SetString(PyExc_ValueError, "too many rows");
    return -1;
}

PyDoc_STRVAR(index_doc,
"Index(index, offsets, data)\n--\n\n"
"Find the rows of keys: `index` is what `build` wrote, over the same offsets and data.");

static void index_dealloc(Index *self) {
    if (self->bytes.obj) PyBuffer_Release(&self->bytes);
    if (self->offsets.obj) PyBuffer_Release(&self->offsets);
    if (self->data.obj) PyBuffer_Release(&self->data);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *index_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *keywords[] = {"index", "offsets", "data", NULL};
    Index *self = (Index *)type->tp_alloc(type, 0);
    struct keys keys;
    if (!self) return NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*y*y*", keywords, &self->bytes,
                                     &self->offsets, &self->data) ||
        take_keys(&keys, &self->offsets, &self->data)) {
        Py_DECREF(self);
        return NULL;
    }
    if ((uintptr_t)self->bytes.buf % 8 ||
        index_open(&self->index, self->bytes.buf, (size_t)self->bytes.len, &keys)) {
        PyErr_SetString(PyExc_ValueError, "not an index of these keys");
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

PyDoc_STRVAR(find_doc, "find(key)\n--\n\nThe row of a key of bytes; -1 if there is none.");

static PyObject *index_find_one(Index *self, PyObject *key) {
    char *bytes;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(key, &bytes, &length)) return NULL;
    return PyLong_FromLongLong(index_find(&self->index, (const uint8_t *)bytes, (size_t)length));
}

static PyMethodDef index_methods[] = {
    {"find", (PyCFunction)index_find_one, METH_O, find_doc},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject IndexType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "twofold._store.Index",
    .tp_basicsize = sizeof(Index),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = index_doc,
    .tp_new = index_new,
    .tp_dealloc = (destructor)index_dealloc,
    .tp_methods = index_methods,
};

PyDoc_STRVAR(build_doc,
"build(offsets, data, bits, seed, out)\n--\n\n"
"Write the index of keys, of 2^bits buckets, to memory of the right length; see index.h. Returns\n"
"the rows of two equal keys, or None.");

static PyObject *build(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer offsets = {0}, data = {0}, out = {0};
    unsigned int bits;
    unsigned long long seed;
    struct keys keys;
    uint64_t twins[2];
    int failed, found = 0;
    if (!PyArg_ParseTuple(args, "y*y*IKw*", &offsets, &data, &bits, &seed, &out)) return NULL;
    failed = take_keys(&keys, &offsets, &data);
    if (!failed && (bits > INDEX_MAX_BITS || (uintptr_t)out.buf % 8 ||
                    (size_t)out.len != index_bytes(keys.rows, bits) || !keys_are_whole(&keys))) {
        PyErr_SetString(PyExc_ValueError, "the memory has another length, or the keys aren't whole");
        failed = -1;
    }
    if (!failed) {
        const struct index_header header = {.bits = bits, .rows = keys.rows, .seed = seed};
        Py_BEGIN_ALLOW_THREADS
        found = index_build(&header, &keys, out.buf, twins);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&data);
    PyBuffer_Release(&out);
    if (failed) return NULL;
    if (!found) Py_RETURN_NONE;
    return Py_BuildValue("KK", (unsigned long long)twins[0], (unsigned long long)twins[1]);
}

PyDoc_STRVAR(enter_doc,
"enter_pages(memory, max_ns)\n--\n\n"
"Enter what is in memory of a mapped file into the process's page table, for at most so many\n"
"nanoseconds. Returns how many of them are left.");

static PyObject *enter_pages_of(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer memory;
    long long left_ns;
    if (!PyArg_ParseTuple(args, "y*L", &memory, &left_ns)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    left_ns = enter_pages(memory.buf, (size_t)memory.len, left_ns);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&memory);
    return PyLong_FromLongLong(left_ns);
}

static PyMethodDef methods[] = {
    {"enter_pages", enter_pages_of, METH_VARARGS, enter_doc},
    {"build", build, METH_VARARGS, build_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "twofold._store", "The index of a snapshot.", -1, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__store(void) {
    if (PyType_Ready(&IndexType)) return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (!module) return NULL;
    if (PyModule_AddObjectRef(module, "Index", (PyObject *)&IndexType)) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
