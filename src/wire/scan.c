/* The Python module twofold._wire; here, plain requests as Python has them. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "desk.h"
#include "gate.h"
#include "plain.h"
#include "scan.h"
#include "tally.h"

/* Made once, and given to every request that has them. */
static PyObject *methods[PLAIN_METHODS];
static PyObject *names[PLAIN_NAMES];
static PyObject *any_type, *json, *keep_alive; /* common values */

typedef struct {
    PyObject_HEAD
    PyObject *request_type;
    PyObject *default_connection, *keep_alive_connection;
    struct plain_limits limits;
} Scanner;

static PyObject *scanner_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *keywords[] = {"request_type",     "default_connection", "keep_alive_connection",
                               "max_header_bytes", "max_url_bytes",      "max_body_bytes",
                               NULL};
    PyObject *request_type, *default_connection, *keep_alive_connection;
    Py_ssize_t header_bytes, url_bytes, body_bytes;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OSSnnn", keywords, &request_type,
                                     &default_connection, &keep_alive_connection, &header_bytes,
                                     &url_bytes, &body_bytes))
        return NULL;
    if (header_bytes < 0 || url_bytes < 0 || body_bytes < 0) {
        PyErr_SetString(PyExc_ValueError, "a limit is negative");
        return NULL;
    }
    Scanner *self = (Scanner *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->request_type = Py_NewRef(request_type);
    self->default_connection = Py_NewRef(default_connection);
    self->keep_alive_connection = Py_NewRef(keep_alive_connection);
    self->limits =
        (struct plain_limits){(size_t)header_bytes, (size_t)url_bytes, (size_t)body_bytes};
    return (PyObject *)self;
}

static void scanner_dealloc(Scanner *self) {
    Py_XDECREF(self->request_type);
    Py_XDECREF(self->default_connection);
    Py_XDECREF(self->keep_alive_connection);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *bytes_of(const uint8_t *bytes, const struct span *span) {
    return PyBytes_FromStringAndSize((const char *)bytes + span->first, (Py_ssize_t)span->size);
}

static PyObject *name_of(const uint8_t *bytes, const struct plain_header *header) {
    if (header->known != NAME_OTHER) return Py_NewRef(names[header->known]);
    const uint8_t *from = bytes + header->name.first;
    PyObject *name = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)header->name.size);
    if (!name) return NULL;
    char *to = PyBytes_AS_STRING(name);
    for (uint32_t i = 0; i < header->name.size; i++) to[i] = (char)plain_lower[from[i]];
    return name;
}

static PyObject *value_of(const uint8_t *bytes, const struct plain_header *header) {
    PyObject *common = NULL;
    switch (header->value.size) {
    case 3: common = any_type; break;
    case 10: common = keep_alive; break;
    case 16: common = json; break;
    }
    if (common && !memcmp(PyBytes_AS_STRING(common), bytes + header->value.first,
                          header->value.size))
        return Py_NewRef(common);
    return bytes_of(bytes, &header->value);
}

static PyObject *headers_of(const uint8_t *bytes, const struct plain *plain) {
    PyObject *headers = PyDict_New();
    for (uint32_t i = 0; headers && i < plain->n_headers; i++) {
        PyObject *name = name_of(bytes, &plain->headers[i]);
        PyObject *value = name ? value_of(bytes, &plain->headers[i]) : NULL;
        if (!value || PyDict_SetItem(headers, name, value)) Py_CLEAR(headers);
        Py_XDECREF(name);
        Py_XDECREF(value);
    }
    return headers;
}

PyDoc_STRVAR(scan_doc,
"scan(data, now_s)\n--\n\n"
"The request that came at `now_s`, if the bytes are one whole plain request and nothing more;\n"
"else None. It never says what is wrong.");

int scan_plain(PyObject *scanner, PyObject *data, struct plain *plain) {
    return plain_scan((const uint8_t *)PyBytes_AS_STRING(data), (size_t)PyBytes_GET_SIZE(data),
                      &((Scanner *)scanner)->limits, plain);
}

PyObject *scan_request(PyObject *scanner, PyObject *data, PyObject *now_s,
                       const struct plain *plain) {
    const Scanner *self = (Scanner *)scanner;
    const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(data);
    PyObject *target = bytes_of(bytes, &plain->target), *headers = headers_of(bytes, plain),
             *body = bytes_of(bytes, &plain->body), *request = NULL;
    if (target && headers && body) {
        PyObject *connection = scan_connection(scanner, plain);
        PyObject *fields[] = {methods[plain->method], target, headers, body, connection, now_s};
        request = PyObject_Vectorcall(self->request_type, fields, 6, NULL);
    }
    Py_XDECREF(target);
    Py_XDECREF(headers);
    Py_XDECREF(body);
    return request;
}

PyObject *scan_connection(PyObject *scanner, const struct plain *plain) {
    const Scanner *self = (Scanner *)scanner;
    return plain->asks_to_keep_alive ? self->keep_alive_connection : self->default_connection;
}

static PyObject *scanner_scan(Scanner *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "scan takes bytes, and when they came");
        return NULL;
    }
    struct plain plain;
    if (!scan_plain((PyObject *)self, args[0], &plain)) Py_RETURN_NONE;
    return scan_request((PyObject *)self, args[0], args[1], &plain);
}

static PyMethodDef scanner_methods[] = {
    {"scan", (PyCFunction)(void (*)(void))scanner_scan, METH_FASTCALL, scan_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(scanner_doc,
"Scanner(request_type, default_connection, keep_alive_connection,\n"
"        max_header_bytes, max_url_bytes, max_body_bytes)\n--\n\n"
"The quick way through plain requests.");

PyTypeObject ScannerType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "twofold._wire.Scanner",
    .tp_doc = scanner_doc,
    .tp_basicsize = sizeof(Scanner),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = scanner_new,
    .tp_dealloc = (destructor)scanner_dealloc,
    .tp_methods = scanner_methods,
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "twofold._wire",
    .m_doc = "What every request costs: recognising it, counting it; see src/wire.",
    .m_size = -1,
};

/* Make what every request shares; hashes are kept in the names, so that each is found at once. */
static int make_shared(void) {
    const char *const texts[PLAIN_METHODS] = {"GET", "HEAD", "POST"};
    for (int i = 0; i < PLAIN_METHODS; i++)
        if (!(methods[i] = PyBytes_FromString(texts[i]))) return -1;
    for (int i = NAME_OTHER + 1; i < PLAIN_NAMES; i++)
        if (!(names[i] = PyBytes_FromString(plain_names[i])) || PyObject_Hash(names[i]) == -1)
            return -1;
    any_type = PyBytes_FromString("*/*");
    json = PyBytes_FromString("application/json");
    keep_alive = PyBytes_FromString("keep-alive");
    return any_type && json && keep_alive ? 0 : -1;
}

PyMODINIT_FUNC PyInit__wire(void) {
    if (PyType_Ready(&ScannerType) || PyType_Ready(&TallyType) || PyType_Ready(&DeskType) ||
        PyType_Ready(&GateType) || make_shared())
        return NULL;
    PyObject *made = PyModule_Create(&module);
    if (made && (PyModule_AddObjectRef(made, "Scanner", (PyObject *)&ScannerType) ||
                 PyModule_AddObjectRef(made, "Tally", (PyObject *)&TallyType) ||
                 PyModule_AddObjectRef(made, "Desk", (PyObject *)&DeskType) ||
                 PyModule_AddObjectRef(made, "Gate", (PyObject *)&GateType)))
        Py_CLEAR(made);
    return made;
}
