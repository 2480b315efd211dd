#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

#include "engine.h"

#define MAX_CONNECTIONS 20000
#define MAX_COUNT 20000000u

/* Everything that a call holds until its end. */
struct held {
    PyObject *requests, *is_to_end;
    Py_buffer which, due, sent, done, late, result;
    struct blob *blobs;
    struct needle *needle;
    PyThreadState *thread;
    pid_t parent;
    bool failed;
};

static void release(struct held *held) {
    Py_buffer *buffers[] = {&held->which, &held->due,  &held->sent,
                            &held->done,  &held->late, &held->result};
    for (size_t at = 0; at < sizeof buffers / sizeof *buffers; at++)
        if (buffers[at]->obj) PyBuffer_Release(buffers[at]);
    Py_XDECREF(held->requests);
    PyMem_Free(held->blobs);
    PyMem_Free(held->needle);
}

/* Whoever is asked runs signal handlers first. A process without its parent ends, too. */
static bool is_to_end(void *with) {
    struct held *held = with;
    bool ends = true;
    PyEval_RestoreThread(held->thread);
    if (PyErr_CheckSignals()) {
        held->failed = true;
    } else {
        PyObject *said = PyObject_CallNoArgs(held->is_to_end);
        const int truth = said ? PyObject_IsTrue(said) : -1;
        Py_XDECREF(said);
        held->failed = truth < 0;
        ends = truth != 0 || getppid() != held->parent;
    }
    held->thread = PyEval_SaveThread();
    return ends;
}

static int take_address(struct load *load, const char *host, int port) {
    union address *address = &load->address;
    if (host[0] == '/' || host[0] == '.') {
        address->local.sun_family = AF_UNIX;
        if (strlen(host) >= sizeof address->local.sun_path) {
            PyErr_SetString(PyExc_ValueError, "the path of the socket is too long");
            return -1;
        }
        strcpy(address->local.sun_path, host);
        load->address_bytes = sizeof address->local;
        return 0;
    }
    if (port < 1 || port > 65535) {
        PyErr_SetString(PyExc_ValueError, "a port is a number from 1 to 65535");
        return -1;
    }
    if (inet_pton(AF_INET, host, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons((uint16_t)port);
        load->address_bytes = sizeof address->v4;
        return 0;
    }
    if (inet_pton(AF_INET6, host, &address->v6.sin6_addr) == 1) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons((uint16_t)port);
        load->address_bytes = sizeof address->v6;
        return 0;
    }
    PyErr_SetString(PyExc_ValueError, "neither an IP address nor the path of a socket");
    return -1;
}

static int take_requests(struct load *load, struct held *held, PyObject *requests) {
    held->requests = PySequence_Tuple(requests);
    if (!held->requests) return -1;
    const Py_ssize_t count = PyTuple_GET_SIZE(held->requests);
    if (count < 1 || count > (Py_ssize_t)MAX_COUNT) {
        PyErr_SetString(PyExc_ValueError, "no requests, or too many of them");
        return -1;
    }
    held->blobs = PyMem_Calloc((size_t)count, sizeof *held->blobs);
    if (!held->blobs) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t at = 0; at < count; at++) {
        char *bytes;
        Py_ssize_t length;
        if (PyBytes_AsStringAndSize(PyTuple_GET_ITEM(held->requests, at), &bytes, &length))
            return -1;
        held->blobs[at] = (struct blob){bytes, (size_t)length};
    }
    load->blobs = held->blobs;
    load->n_blobs = (uint32_t)count;
    return 0;
}

static int take_memory(struct load *load, struct held *held) {
    const Py_ssize_t count = held->result.len / 2;
    const Py_buffer *numbers[] = {&held->due, &held->sent, &held->done, &held->late};
    bool fits = held->result.len % 2 == 0 && count <= (Py_ssize_t)MAX_COUNT;
    for (size_t at = 0; at < sizeof numbers / sizeof *numbers; at++)
        fits = fits && numbers[at]->len == count * 8 && (uintptr_t)numbers[at]->buf % 8 == 0;
    if (held->which.obj) fits = fits && held->which.len == count * 4;
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "the memory of the results has another length");
        return -1;
    }
    load->count = (uint32_t)count;
    load->due_s = held->due.buf;
    load->sent_s = held->sent.buf;
    load->done_s = held->done.buf;
    load->late_s = held->late.buf;
    load->result = held->result.buf;
    load->which = held->which.obj ? held->which.buf : NULL;
    for (uint32_t at = 0; load->which && at < load->count; at++) {
        if (load->which[at] < load->n_blobs) continue;
        PyErr_SetString(PyExc_ValueError, "a request that isn't there is asked for");
        return -1;
    }
    return 0;
}

static int take_needle(struct load *load, struct held *held, const char *text, Py_ssize_t length) {
    if (length > (Py_ssize_t)MAX_NEEDLE_BYTES) {
        PyErr_SetString(PyExc_ValueError, "the expected text is too long");
        return -1;
    }
    held->needle = PyMem_Calloc(1, sizeof *held->needle);
    if (!held->needle) {
        PyErr_NoMemory();
        return -1;
    }
    needle_set(held->needle, text, (size_t)length);
    load->needle = held->needle;
    return 0;
}

PyDoc_STRVAR(run_doc,
"run(address, requests, which, due, sent, done, late, result, *, start_s, end_s, timeout_s,\n"
"    connections, expect, is_to_end)\n--\n\n"
"Send requests when they are due, and write into memory what came of each; see engine.h.\n\n"
"Args:\n"
"    address: A numeric IP address and a port, or the path of a Unix socket and 0.\n"
"    requests: Bytes.\n"
"    which: Of them for each, as uint32; or None, for all of them in turn.\n"
"    due, sent, done, late: Of each, as float64: seconds from start_s. The first is read, and must\n"
"        ascend, unless end_s says that the loop is closed.\n"
"    result: Of each, as int16, and 0: a status; or what happened, below 0; 0 if it has no end.\n"
"    start_s: The instant of time.monotonic() that all is counted from.\n"
"    end_s: When a closed loop ends; 0 for an open one.\n"
"    is_to_end: Asked ten times a second whether to end before the time.\n\n"
"Returns how many were begun, how many connections opened, requests sent again and turns made.");

static PyObject *run(PyObject *module, PyObject *args, PyObject *kwargs) {
    (void)module;
    static char *keywords[] = {"address", "requests", "which", "due", "sent", "done", "late",
                               "result", "start_s", "end_s", "timeout_s", "connections", "expect",
                               "is_to_end", NULL};
    struct load load = {0};
    struct held held = {.parent = getppid()};
    const char *host, *expect;
    int port, connections, error;
    Py_ssize_t expect_bytes;
    PyObject *requests, *which, *found = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "(si)OOw*w*w*w*w*$dddiy#O", keywords, &host,
                                     &port, &requests, &which, &held.due, &held.sent, &held.done,
                                     &held.late, &held.result, &load.start_s, &load.end_s,
                                     &load.timeout_s, &connections, &expect, &expect_bytes,
                                     &held.is_to_end))
        goto end;
    if (connections < 1 || connections > MAX_CONNECTIONS || !(load.timeout_s > 0)) {
        PyErr_SetString(PyExc_ValueError, "no connection, too many of them, or no timeout");
        goto end;
    }
    load.max_connections = (uint32_t)connections;
    if (which != Py_None && PyObject_GetBuffer(which, &held.which, PyBUF_SIMPLE)) goto end;
    if (take_address(&load, host, port) || take_requests(&load, &held, requests) ||
        take_needle(&load, &held, expect, expect_bytes) || take_memory(&load, &held))
        goto end;
    load.is_to_end = is_to_end;
    load.asked_with = &held;
    held.thread = PyEval_SaveThread();
    error = load_run(&load);
    PyEval_RestoreThread(held.thread);
    if (error) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
    } else if (!held.failed) {
        found = Py_BuildValue("IKKK", load.begun, (unsigned long long)load.opened,
                              (unsigned long long)load.resent, (unsigned long long)load.turns);
    }
end:
    release(&held);
    return found;
}

static PyMethodDef methods[] = {
    {"run", (PyCFunction)(void (*)(void))run, METH_VARARGS | METH_KEYWORDS, run_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "twofold._load", "A load generator.", -1, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__load(void) { return PyModule_Create(&definition); }
