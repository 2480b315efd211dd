#include "desk.h"

#include <string.h>

#include "plain.h"
#include "scan.h"
#include "tally.h"

/* A plain request, for one row of a model that is predicted as soon as the row is read, by a caller
 * who asks for nothing special. Python has the rest: whatever is not of this kind, and whatever
 * goes wrong here, begins again there, with the request that was read. Nothing was done by then
 * that others could see. */

typedef struct {
    PyObject_HEAD
    PyObject *scanner, *tally, *clock;
    PyObject *routes; /* dict: target to Route */
    PyObject *date;   /* the header line */
} Desk;

/* What a target has, as `Desk.add` was given it. */
struct route {
    PyObject *plain, *quick;
    struct answered_slots slots;
    Py_ssize_t max_body_bytes;
};

static const char *const ROUTE = "twofold._wire.route";

/* Names of a response's attributes, as Python keeps them. */
enum { STATUS, BODY, CONTENT_TYPE, HEADERS, NAMES };
static PyObject *names[NAMES];

int desk_make_shared(void) {
    const char *const texts[NAMES] = {"status", "body", "content_type", "headers"};
    for (int i = 0; i < NAMES; i++)
        if (!(names[i] = PyUnicode_InternFromString(texts[i]))) return -1;
    return 0;
}

static void route_free(PyObject *capsule) {
    struct route *route = PyCapsule_GetPointer(capsule, ROUTE);
    Py_XDECREF(route->plain);
    Py_XDECREF(route->quick);
    PyMem_Free(route);
}

static PyObject *desk_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *keywords[] = {"scanner", "tally", "clock", NULL};
    PyObject *scanner, *tally, *clock;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!O", keywords, &ScannerType, &scanner,
                                     &TallyType, &tally, &clock))
        return NULL;
    Desk *self = (Desk *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->scanner = Py_NewRef(scanner);
    self->tally = Py_NewRef(tally);
    self->clock = Py_NewRef(clock);
    self->routes = PyDict_New();
    self->date = PyBytes_FromString("");
    if (!self->routes || !self->date) Py_CLEAR(self);
    return (PyObject *)self;
}

static void desk_dealloc(Desk *self) {
    Py_XDECREF(self->scanner);
    Py_XDECREF(self->tally);
    Py_XDECREF(self->clock);
    Py_XDECREF(self->routes);
    Py_XDECREF(self->date);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

PyDoc_STRVAR(add_doc,
"add(target, plain, quick, slots, max_body_bytes)\n--\n\n"
"Answer POST requests for a target: `plain` gives the row in a body, whose JSON is as long as a\n"
"header says or None, and what makes the response, or None; `quick` gives the row's prediction, or\n"
"None. `slots` are those of the tally: responses, requests, rows, duration, queue, predict. Larger\n"
"bodies are left to others.");

static PyObject *desk_add(Desk *self, PyObject *args) {
    PyObject *target, *plain, *quick;
    struct answered_slots slots;
    Py_ssize_t max_body_bytes;
    if (!PyArg_ParseTuple(args, "SOO(nnnnnn)n", &target, &plain, &quick, &slots.response, &slots.ok,
                          &slots.rows, &slots.duration, &slots.queue, &slots.predict,
                          &max_body_bytes))
        return NULL;
    if (!tally_has(self->tally, &slots)) {
        PyErr_SetString(PyExc_IndexError, "there is no such slot");
        return NULL;
    }
    struct route *route = PyMem_Malloc(sizeof *route);
    if (!route) return PyErr_NoMemory();
    *route = (struct route){Py_NewRef(plain), Py_NewRef(quick), slots, max_body_bytes};
    PyObject *capsule = PyCapsule_New(route, ROUTE, route_free);
    if (!capsule) {
        Py_DECREF(plain);
        Py_DECREF(quick);
        PyMem_Free(route);
        return NULL;
    }
    const int failed = PyDict_SetItem(self->routes, target, capsule);
    Py_DECREF(capsule);
    if (failed) return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(set_date_doc, "set_date(line)\n--\n\nSend this Date header line, ended by CRLF.");

static PyObject *desk_set_date(Desk *self, PyObject *line) {
    if (!PyBytes_Check(line)) {
        PyErr_SetString(PyExc_TypeError, "a header line is bytes");
        return NULL;
    }
    Py_SETREF(self->date, Py_NewRef(line));
    Py_RETURN_NONE;
}

/* Whether no header asks for anything but the usual answer to JSON, or to JSON of a length that is
 * then found. */
static int asks_nothing(const uint8_t *bytes, const struct plain *plain, struct span *length) {
    static const char own[] = "x-twofold-", json[] = "application/json",
                      octets[] = "application/octet-stream";
    int is_json = 1;
    length->size = 0;
    for (uint32_t i = 0; i < plain->n_headers; i++) {
        const struct plain_header *header = &plain->headers[i];
        const uint8_t *value = bytes + header->value.first;
        switch (header->known) {
        case NAME_INFERENCE_LENGTH:
            if (!header->value.size) return 0;
            *length = header->value;
            break;
        case NAME_CONTENT_TYPE:
            is_json = header->value.size == sizeof json - 1 && !memcmp(value, json, sizeof json - 1);
            if (!is_json && (header->value.size != sizeof octets - 1 ||
                             memcmp(value, octets, sizeof octets - 1)))
                return 0;
            break;
        case NAME_AUTHORIZATION:
        case NAME_CONTENT_ENCODING:
        case NAME_DEADLINE_MS:
        case NAME_X_REQUEST_ID: return 0;
        case NAME_OTHER: {
            uint32_t same = 0;
            const uint32_t size = header->name.size < sizeof own - 1 ? header->name.size
                                                                     : (uint32_t)sizeof own - 1;
            while (same < size && plain_lower[bytes[header->name.first + same]] == own[same]) same++;
            if (same == sizeof own - 1) return 0;
        } break;
        default: break;
        }
    }
    return is_json || length->size;
}

static char *append(char *to, const char *from, size_t size) {
    memcpy(to, from, size);
    return to + size;
}

/* The bytes of a response: what twofold.wire.http.render makes of one with status 200. */
static PyObject *render(const Desk *self, PyObject *response, PyObject *connection) {
    static const char start[] = "HTTP/1.1 200 OK\r\nContent-Type: ",
                      length[] = "\r\nContent-Length: ";
    PyObject *parts[4] = {NULL}, *made = NULL;
    int fits = 1;
    for (int i = 0; fits && i < 4; i++) {
        parts[i] = PyObject_GetAttr(response, names[STATUS + i]);
        fits = parts[i] && (i ? PyBytes_Check(parts[i]) : PyLong_CheckExact(parts[i]));
    }
    if (fits && PyLong_AsLong(parts[0]) == 200 && PyBytes_Check(connection)) {
        char digits[24];
        const Py_ssize_t n_body = PyBytes_GET_SIZE(parts[1]), n_kind = PyBytes_GET_SIZE(parts[2]),
                         n_lines = PyBytes_GET_SIZE(parts[3]), n_date = PyBytes_GET_SIZE(self->date),
                         n_connection = PyBytes_GET_SIZE(connection);
        size_t at = sizeof digits;
        Py_ssize_t rest = n_body;
        do digits[--at] = (char)('0' + rest % 10);
        while (rest /= 10);
        const size_t n_digits = sizeof digits - at;
        const Py_ssize_t n_fixed = sizeof start - 1 + sizeof length - 1 + n_digits + 2 + 2;
        made = PyBytes_FromStringAndSize(NULL, n_fixed + n_kind + n_date + n_connection + n_lines +
                                                   n_body);
        if (made) {
            char *to = PyBytes_AS_STRING(made);
            to = append(to, start, sizeof start - 1);
            to = append(to, PyBytes_AS_STRING(parts[2]), (size_t)n_kind);
            to = append(to, length, sizeof length - 1);
            to = append(to, digits + at, n_digits);
            to = append(to, "\r\n", 2);
            to = append(to, PyBytes_AS_STRING(self->date), (size_t)n_date);
            to = append(to, PyBytes_AS_STRING(connection), (size_t)n_connection);
            to = append(to, PyBytes_AS_STRING(parts[3]), (size_t)n_lines);
            to = append(to, "\r\n", 2);
            append(to, PyBytes_AS_STRING(parts[1]), (size_t)n_body);
        }
    }
    for (int i = 0; i < 4; i++) Py_XDECREF(parts[i]);
    return made;
}

static double now_of(const Desk *self) {
    PyObject *now = PyObject_CallNoArgs(self->clock);
    const double seconds = now ? PyFloat_AsDouble(now) : -1.0;
    Py_XDECREF(now);
    return seconds;
}

/* Predict the row of a request, and make its response; NULL if it is none of the common kind. */
static PyObject *predicted(PyObject *plain_row, PyObject *quick) {
    if (!PyTuple_CheckExact(plain_row) || PyTuple_GET_SIZE(plain_row) != 2) return NULL;
    PyObject *prediction = PyObject_CallOneArg(quick, PyTuple_GET_ITEM(plain_row, 0));
    if (!prediction || prediction == Py_None) {
        Py_XDECREF(prediction);
        return NULL;
    }
    PyObject *column = PyTuple_Pack(1, prediction), *columns = column ? PyTuple_Pack(1, column) : NULL,
             *response =
                 columns ? PyObject_CallOneArg(PyTuple_GET_ITEM(plain_row, 1), columns) : NULL;
    Py_DECREF(prediction);
    Py_XDECREF(column);
    Py_XDECREF(columns);
    return response;
}

static PyObject *bytes_at(const uint8_t *bytes, const struct span *span) {
    return PyBytes_FromStringAndSize((const char *)bytes + span->first, (Py_ssize_t)span->size);
}

static PyObject *answered(const Desk *self, const struct route *route, const uint8_t *bytes,
                          const struct plain *plain, const struct span *length,
                          double received_s) {
    PyObject *body = bytes_at(bytes, &plain->body), *plain_row = NULL, *reply = NULL;
    PyObject *json_length = length->size ? bytes_at(bytes, length) : Py_NewRef(Py_None);
    if (body && json_length) {
        PyObject *const parts[] = {body, json_length};
        plain_row = PyObject_Vectorcall(route->plain, parts, 2, NULL);
    }
    PyObject *response = plain_row ? predicted(plain_row, route->quick) : NULL;
    if (response) reply = render(self, response, scan_connection(self->scanner, plain));
    Py_XDECREF(body);
    Py_XDECREF(json_length);
    Py_XDECREF(response);
    Py_XDECREF(plain_row);
    const double now_s = reply ? now_of(self) : 0.0;
    if (PyErr_Occurred()) {
        /* It is met again, and told, where it can be. */
        PyErr_Clear();
        Py_CLEAR(reply);
    }
    if (reply) tally_one(self->tally, &route->slots, now_s - received_s, 0.0, now_s - received_s);
    return reply;
}

PyDoc_STRVAR(take_doc,
"take(data, now_s)\n--\n\n"
"The bytes of the answer, if `data`, which came at `now_s`, is one whole request of the common\n"
"kind; else the request, if it is plain; else None.");

static PyObject *desk_take(Desk *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2 || !PyBytes_Check(args[0]) || !PyFloat_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "take takes bytes, and when they came");
        return NULL;
    }
    struct plain plain;
    struct span length;
    if (!scan_plain(self->scanner, args[0], &plain)) Py_RETURN_NONE;
    const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(args[0]);
    PyObject *capsule = NULL, *reply = NULL;
    if (plain.method == PLAIN_POST && asks_nothing(bytes, &plain, &length)) {
        PyObject *target = bytes_at(bytes, &plain.target);
        /* Held: what is called below might change the routes. */
        capsule = target ? Py_XNewRef(PyDict_GetItemWithError(self->routes, target)) : NULL;
        Py_XDECREF(target);
        PyErr_Clear();
    }
    const struct route *route = capsule ? PyCapsule_GetPointer(capsule, ROUTE) : NULL;
    if (route && (Py_ssize_t)plain.body.size <= route->max_body_bytes)
        reply = answered(self, route, bytes, &plain, &length, PyFloat_AS_DOUBLE(args[1]));
    Py_XDECREF(capsule);
    return reply ? reply : scan_request(self->scanner, args[0], args[1], &plain);
}

static PyMethodDef desk_methods[] = {
    {"add", (PyCFunction)desk_add, METH_VARARGS, add_doc},
    {"set_date", (PyCFunction)desk_set_date, METH_O, set_date_doc},
    {"take", (PyCFunction)(void (*)(void))desk_take, METH_FASTCALL, take_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(desk_doc,
"Desk(scanner, tally, clock)\n--\n\n"
"Answers the common infer request, from its bytes to those of its answer.");

PyTypeObject DeskType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "twofold._wire.Desk",
    .tp_doc = desk_doc,
    .tp_basicsize = sizeof(Desk),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = desk_new,
    .tp_dealloc = (destructor)desk_dealloc,
    .tp_methods = desk_methods,
};
