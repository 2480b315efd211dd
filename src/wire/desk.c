#include "desk.h"

#include <string.h>

#include "form.h"
#include "gate.h"
#include "plain.h"
#include "scan.h"
#include "tally.h"
#include "timing.h"

/* A plain request, by a caller who asks for nothing special: for one row of a model that is
 * predicted as soon as the row is read, or to be refused like the one before it. Python has the
 * rest: whatever is not of this kind, and whatever goes wrong here, begins again there, with the
 * request that was read. Nothing was done by then that others could see. */

typedef struct {
    PyObject_HEAD
    PyObject *scanner, *tally, *clock;
    PyObject *routes; /* dict: target to Route */
    PyObject *keyed;  /* dict: what comes before the key of a target, to Keyed */
    PyObject *date;   /* the header line */
    PyObject *json, *nothing;
} Desk;

#define MAX_FORMS 16
#define MAX_CREDIT 1024
#define FORM_PRICE 32

/* What a target has: what `Desk.add` was given, and the forms of its requests, those that came last
 * first. To learn a form takes far longer than to use it: it costs credit, which every request of a
 * known form adds to. So where no two requests are alike, they are soon left to others at once. */
struct route {
    PyObject *learn, *quick; /* NULL: it is not answered here */
    PyObject *gate;          /* NULL: it is not refused here */
    PyObject *lag;           /* how late the loop is at an instant */
    double allowed_s;        /* that a request may take which doesn't say so itself */
    double share, guard_s;   /* how much of that a late loop may use up: see is_late */
    uint64_t chance;         /* the state of a generator of random numbers, never 0 */
    struct answered_slots answered;
    struct refused_slots refused;
    Py_ssize_t max_body_bytes;
    int credit;
    struct form *forms[MAX_FORMS];
};

static const char *const ROUTE = "twofold._wire.route";

/* What answers GET for the key that ends a target: see `add_keyed`. */
struct keyed {
    PyObject *find;
    Py_ssize_t response; /* slot */
};

static const char *const KEYED = "twofold._wire.keyed";
#define SLASHES_BEFORE_KEY 5 /* /v1/models/NAME/answers/KEY */

static void keyed_free(PyObject *capsule) {
    struct keyed *keyed = PyCapsule_GetPointer(capsule, KEYED);
    Py_XDECREF(keyed->find);
    PyMem_Free(keyed);
}

static void route_free(PyObject *capsule) {
    struct route *route = PyCapsule_GetPointer(capsule, ROUTE);
    for (int i = 0; i < MAX_FORMS && route->forms[i]; i++) form_release(route->forms[i]);
    Py_XDECREF(route->learn);
    Py_XDECREF(route->quick);
    Py_XDECREF(route->gate);
    Py_XDECREF(route->lag);
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
    self->keyed = PyDict_New();
    self->date = PyBytes_FromString("");
    self->json = PyBytes_FromString("application/json");
    self->nothing = PyBytes_FromString("");
    if (!self->routes || !self->keyed || !self->date || !self->json || !self->nothing)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static void desk_dealloc(Desk *self) {
    Py_XDECREF(self->scanner);
    Py_XDECREF(self->tally);
    Py_XDECREF(self->clock);
    Py_XDECREF(self->routes);
    Py_XDECREF(self->keyed);
    Py_XDECREF(self->date);
    Py_XDECREF(self->json);
    Py_XDECREF(self->nothing);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

PyDoc_STRVAR(add_doc,
"add(target, learn, quick, gate, deadline, answered, refused, max_body_bytes)\n--\n\n"
"Answer POST requests for a target: `learn` gives the form of a body, whose JSON is as long as a\n"
"header says or None, or None; `quick` gives the prediction of a row, or None. A `gate` refuses\n"
"them while it is closed; if there is `quick`, only those for which the loop is too late. Both\n"
"`learn` and `quick`, or `gate`, may be None. `deadline` is: how late the loop is at an instant;\n"
"the seconds a request may take that doesn't say so; and the share and the guard of\n"
"`twofold.serving.admission.refused_ratio`. The slots of the tally are `answered`: responses,\n"
"requests, rows, duration, queue, predict; and `refused`: responses, requests, duration. Larger\n"
"bodies are left to others.");

static PyObject *given(PyObject *item) { return item == Py_None ? NULL : Py_NewRef(item); }

static PyObject *desk_add(Desk *self, PyObject *args) {
    PyObject *target, *learn, *quick, *gate, *lag;
    double allowed_s, share, guard_s;
    struct answered_slots answered;
    struct refused_slots refused;
    Py_ssize_t max_body_bytes;
    if (!PyArg_ParseTuple(args, "SOOO(Oddd)(nnnnnn)(nnn)n", &target, &learn, &quick, &gate, &lag,
                          &allowed_s, &share, &guard_s, &answered.response, &answered.ok,
                          &answered.rows, &answered.duration, &answered.queue, &answered.predict,
                          &refused.response, &refused.outcome, &refused.duration,
                          &max_body_bytes))
        return NULL;
    if (!tally_has(self->tally, &answered, &refused)) {
        PyErr_SetString(PyExc_IndexError, "there is no such slot");
        return NULL;
    }
    if ((learn == Py_None) != (quick == Py_None) ||
        (gate != Py_None && !Py_IS_TYPE(gate, &GateType))) {
        PyErr_SetString(PyExc_TypeError, "expected learn and quick, a gate, or None for them");
        return NULL;
    }
    struct route *route = PyMem_Calloc(1, sizeof *route);
    if (!route) return PyErr_NoMemory();
    PyObject *capsule = PyCapsule_New(route, ROUTE, route_free);
    if (!capsule) {
        PyMem_Free(route);
        return NULL;
    }
    route->learn = given(learn);
    route->quick = given(quick);
    route->gate = given(gate);
    route->lag = Py_NewRef(lag);
    route->allowed_s = allowed_s;
    route->share = share;
    route->guard_s = guard_s;
    route->chance = 0x9e3779b97f4a7c15u;
    route->answered = answered;
    route->refused = refused;
    route->max_body_bytes = max_body_bytes;
    route->credit = MAX_CREDIT;
    const int failed = PyDict_SetItem(self->routes, target, capsule);
    Py_DECREF(capsule);
    if (failed) return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(add_keyed_doc,
"add_keyed(before, find, response)\n--\n\n"
"Answer GET requests whose target is `before`, up to its fifth slash, and a key without escapes\n"
"or query: `find` gives the body for the bytes of a key, or None. Such responses are counted at a\n"
"slot of the tally; what else is counted, `find` counts.");

static PyObject *desk_add_keyed(Desk *self, PyObject *args) {
    PyObject *before, *find;
    Py_ssize_t response;
    if (!PyArg_ParseTuple(args, "SOn", &before, &find, &response)) return NULL;
    if (!tally_has_slot(self->tally, response)) {
        PyErr_SetString(PyExc_IndexError, "there is no such slot");
        return NULL;
    }
    struct keyed *keyed = PyMem_Calloc(1, sizeof *keyed);
    if (!keyed) return PyErr_NoMemory();
    PyObject *capsule = PyCapsule_New(keyed, KEYED, keyed_free);
    if (!capsule) {
        PyMem_Free(keyed);
        return NULL;
    }
    keyed->find = Py_NewRef(find);
    keyed->response = response;
    const int failed = PyDict_SetItem(self->keyed, before, capsule);
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

/* What a header says in digits: how long the JSON of a body is, or the milliseconds that a request
 * may take; more than any is, if it isn't plainly a number. */
static Py_ssize_t number_of(const uint8_t *digits, uint32_t count) {
    Py_ssize_t number = 0;
    if (!count || count > 9) return PY_SSIZE_T_MAX;
    for (uint32_t i = 0; i < count; i++) {
        if (digits[i] < '0' || digits[i] > '9') return PY_SSIZE_T_MAX;
        number = number * 10 + (digits[i] - '0');
    }
    return number;
}

#define MAX_DEADLINE_MS 3600000 /* as of twofold.wire.infer */

/* What the headers of a common request say: how long its JSON is, the seconds it may take or 0, and
 * whether it asks for times. */
struct asked {
    Py_ssize_t json_bytes;
    double allowed_s;
    int timing;
};

/* Whether no header asks for anything but the usual answer to JSON, or to JSON of a length that is
 * then found, in time, or how long the answer took. */
static int asks_nothing(const uint8_t *bytes, const struct plain *plain, struct asked *asked) {
    static const char own[] = "x-twofold-", json[] = "application/json",
                      octets[] = "application/octet-stream";
    int is_json = 1;
    *asked = (struct asked){NO_LENGTH, 0.0, 0};
    for (uint32_t i = 0; i < plain->n_headers; i++) {
        const struct plain_header *header = &plain->headers[i];
        const uint8_t *value = bytes + header->value.first;
        switch (header->known) {
        case NAME_INFERENCE_LENGTH:
            asked->json_bytes = number_of(value, header->value.size);
            break;
        case NAME_CONTENT_TYPE:
            is_json = header->value.size == sizeof json - 1 && !memcmp(value, json, sizeof json - 1);
            if (!is_json && (header->value.size != sizeof octets - 1 ||
                             memcmp(value, octets, sizeof octets - 1)))
                return 0;
            break;
        case NAME_AUTHORIZATION:
        case NAME_CONTENT_ENCODING:
        case NAME_X_REQUEST_ID: return 0;
        case NAME_DEADLINE_MS: {
            const Py_ssize_t allowed_ms = number_of(value, header->value.size);
            if (!allowed_ms || allowed_ms > MAX_DEADLINE_MS) return 0;
            asked->allowed_s = (double)allowed_ms / 1000;
        } break;
        case NAME_OTHER: {
            if (timing_asked(bytes, header)) {
                asked->timing = 1;
                break;
            }
            uint32_t same = 0;
            const uint32_t size = header->name.size < sizeof own - 1 ? header->name.size
                                                                     : (uint32_t)sizeof own - 1;
            while (same < size && plain_lower[bytes[header->name.first + same]] == own[same]) same++;
            if (same == sizeof own - 1) return 0;
        } break;
        default: break;
        }
    }
    return is_json || asked->json_bytes != NO_LENGTH;
}

static char *append(char *to, PyObject *from) {
    const size_t size = (size_t)PyBytes_GET_SIZE(from);
    memcpy(to, PyBytes_AS_STRING(from), size);
    return to + size;
}

/* A response: its further header lines, and its body in pieces. */
struct reply {
    PyObject *content_type, *headers, *timing;
    PyObject *body[3];
    int n_body;
};

/* The bytes of a response: what twofold.wire.http.render makes of one with status 200. */
static PyObject *render(const Desk *self, const struct reply *reply, PyObject *connection) {
    static const char start[] = "HTTP/1.1 200 OK\r\nContent-Type: ",
                      length[] = "\r\nContent-Length: ", end[] = "\r\n";
    PyObject *const lines[] = {self->date, connection, reply->headers, reply->timing};
    Py_ssize_t n_lines = 0, n_body = 0;
    for (int i = 0; i < 4; i++) n_lines += PyBytes_GET_SIZE(lines[i]);
    for (int i = 0; i < reply->n_body; i++) {
        if (!PyBytes_Check(reply->body[i])) return NULL; /* what others gave */
        n_body += PyBytes_GET_SIZE(reply->body[i]);
    }
    char digits[24];
    size_t at = sizeof digits;
    Py_ssize_t rest = n_body;
    do digits[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    const size_t n_digits = sizeof digits - at, n_end = sizeof end - 1,
                 n_fixed = sizeof start - 1 + sizeof length - 1 + n_digits + 2 * n_end;
    PyObject *made = PyBytes_FromStringAndSize(
        NULL, (Py_ssize_t)n_fixed + PyBytes_GET_SIZE(reply->content_type) + n_lines + n_body);
    if (!made) return NULL;
    char *to = PyBytes_AS_STRING(made);
    memcpy(to, start, sizeof start - 1);
    to = append(to + sizeof start - 1, reply->content_type);
    memcpy(to, length, sizeof length - 1);
    memcpy(to += sizeof length - 1, digits + at, n_digits);
    memcpy(to += n_digits, end, n_end);
    to += n_end;
    for (int i = 0; i < 4; i++) to = append(to, lines[i]);
    memcpy(to, end, n_end);
    to += n_end;
    for (int i = 0; i < reply->n_body; i++) to = append(to, reply->body[i]);
    return made;
}

static double now_of(const Desk *self) {
    PyObject *now = PyObject_CallNoArgs(self->clock);
    const double seconds = now ? PyFloat_AsDouble(now) : -1.0;
    Py_XDECREF(now);
    return seconds;
}

static PyObject *bytes_at(const uint8_t *bytes, const struct span *span) {
    return PyBytes_FromStringAndSize((const char *)bytes + span->first, (Py_ssize_t)span->size);
}

/* Put a form first; `at` is where it was, or where there is room. */
static void put_first(struct route *route, struct form *form, int at) {
    memmove(route->forms + 1, route->forms, (size_t)at * sizeof *route->forms);
    route->forms[0] = form;
}

/* The form of a body, if it is known. */
static struct form *known_form(struct route *route, const struct body *body) {
    for (int i = 0; i < MAX_FORMS && route->forms[i]; i++) {
        struct form *form = route->forms[i];
        if (!form_fits(form, body)) continue;
        if (i) put_first(route, form, i);
        if (route->credit < MAX_CREDIT) route->credit++;
        return form;
    }
    return NULL;
}

/* The form of a body that none of the known ones fits. */
static struct form *learnt_form(struct route *route, const struct body *body) {
    if (route->credit < FORM_PRICE) return NULL;
    route->credit -= FORM_PRICE;
    PyObject *bytes = bytes_at((const uint8_t *)PyBytes_AS_STRING(body->data), &body->span);
    PyObject *length = body->json_bytes == NO_LENGTH
                           ? Py_NewRef(Py_None)
                           : PyBytes_FromFormat("%zd", body->json_bytes);
    PyObject *told = NULL;
    if (bytes && length) {
        PyObject *const parts[] = {bytes, length};
        told = PyObject_Vectorcall(route->learn, parts, 2, NULL);
    }
    struct form *form = told && told != Py_None ? form_made(told) : NULL;
    Py_XDECREF(bytes);
    Py_XDECREF(length);
    Py_XDECREF(told);
    if (!form || !form_fits(form, body)) {
        if (form) form_release(form);
        return NULL;
    }
    int at = 0;
    while (at < MAX_FORMS - 1 && route->forms[at]) at++;
    if (route->forms[at]) form_release(route->forms[at]);
    put_first(route, form, at);
    return form;
}

/* What a row's prediction is written as; NULL, maybe with an error, if it isn't quickly made. */
static PyObject *written_prediction(const Desk *self, const struct form *form, PyObject *quick,
                                    const struct body *body, double *instants) {
    PyObject *row = form_row(form, body);
    if (row && instants) instants[READ] = instants[STARTED] = now_of(self);
    PyObject *prediction = row ? PyObject_CallOneArg(quick, row) : NULL;
    if (prediction && instants) instants[PREDICTED] = now_of(self);
    PyObject *written = prediction && prediction != Py_None
                            ? PyObject_CallOneArg(form->write, prediction)
                            : NULL;
    Py_XDECREF(row);
    Py_XDECREF(prediction);
    return written;
}

static PyObject *answered(const Desk *self, struct route *route, const struct plain *plain,
                          const struct body *body, double received_s, int timing) {
    double instants[INSTANTS] = {received_s};
    struct form *form = known_form(route, body);
    if (!form) form = learnt_form(route, body);
    PyObject *written = NULL, *reply = NULL;
    if (form) {
        form->references++; /* what is called might make the route forget it */
        written = written_prediction(self, form, route->quick, body, timing ? instants : NULL);
        PyObject *line = NULL;
        if (written && timing) instants[ANSWERED] = now_of(self);
        if (written && !PyErr_Occurred())
            line = timing ? timing_line(instants) : Py_NewRef(self->nothing);
        if (line) {
            const struct reply made = {form->content_type,
                                       form->headers,
                                       line,
                                       {form->response_before, written, form->response_after},
                                       3};
            reply = render(self, &made, scan_connection(self->scanner, plain));
            Py_DECREF(line);
        }
        form_release(form);
    }
    Py_XDECREF(written);
    const double now_s = reply ? now_of(self) : 0.0;
    if (PyErr_Occurred()) {
        /* It is met again, and told, where it can be. */
        PyErr_Clear();
        Py_CLEAR(reply);
    }
    if (reply)
        tally_one(self->tally, &route->answered, now_s - received_s, 0.0, now_s - received_s);
    return reply;
}

/* From 0 to 1, at random: xorshift (G. Marsaglia, 2003). */
static double chance_of(struct route *route) {
    route->chance ^= route->chance << 13;
    route->chance ^= route->chance >> 7;
    route->chance ^= route->chance << 17;
    return (double)(route->chance >> 11) / 9007199254740992.0; /* 2**53 */
}

/* Whether a request that may take so long is one of those to be refused while the loop is so late,
 * as twofold.serving.admission.refused_ratio has it; also if nobody can tell. */
static int is_late(struct route *route, double allowed_s, PyObject *now) {
    PyObject *told = PyObject_CallOneArg(route->lag, now);
    const double lag_s = told ? PyFloat_AsDouble(told) : 0.0;
    Py_XDECREF(told);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return 1;
    }
    const double half_s = (route->share * allowed_s - route->guard_s) / 2;
    if (lag_s <= route->guard_s || lag_s <= half_s) return 0;
    return half_s <= 0.0 || lag_s >= 2 * half_s || chance_of(route) < lag_s / half_s - 1.0;
}

/* The refusal of a request; NULL, without an error, if it isn't to be refused here. */
static PyObject *refused(const Desk *self, const struct route *route, const struct plain *plain,
                         double allowed_s, double received_s) {
    const double now_s = now_of(self);
    PyObject *reply = NULL;
    if (!PyErr_Occurred() && gate_refuses(route->gate, plain->body.size, allowed_s, now_s)) {
        PyObject *const parts[] = {gate_before(route->gate), self->date,
                                   scan_connection(self->scanner, plain), gate_after(route->gate)};
        Py_ssize_t size = 0;
        for (int i = 0; i < 4; i++) size += PyBytes_GET_SIZE(parts[i]);
        reply = PyBytes_FromStringAndSize(NULL, size);
        char *to = reply ? PyBytes_AS_STRING(reply) : NULL;
        for (int i = 0; reply && i < 4; i++) to = append(to, parts[i]);
        if (reply) tally_refused(self->tally, &route->refused, now_s - received_s);
    }
    PyErr_Clear();
    return reply;
}

/* Where the key of a target begins, if it is plainly there: without escapes, query or fragment. */
static uint32_t key_at(const uint8_t *target, uint32_t size) {
    int slashes = 0;
    if (memchr(target, '%', size) || memchr(target, '?', size) || memchr(target, '#', size)) return 0;
    for (uint32_t i = 0; i + 1 < size; i++)
        if (target[i] == '/' && ++slashes == SLASHES_BEFORE_KEY) return i + 1;
    return 0;
}

/* The answer to GET for a key; NULL, without an error, if it isn't given here. */
static PyObject *found(const Desk *self, const struct plain *plain, const uint8_t *bytes) {
    struct asked ignored;
    const uint32_t at = key_at(bytes + plain->target.first, plain->target.size);
    if (!at || plain->body.size || !asks_nothing(bytes, plain, &ignored)) return NULL;
    const struct span first = {plain->target.first, at},
                      rest = {plain->target.first + at, plain->target.size - at};
    PyObject *before = bytes_at(bytes, &first);
    /* Held: what is called below might change the routes. */
    PyObject *capsule = before ? Py_XNewRef(PyDict_GetItemWithError(self->keyed, before)) : NULL,
             *key = capsule ? bytes_at(bytes, &rest) : NULL, *body = NULL, *reply = NULL;
    if (key) {
        const struct keyed *keyed = PyCapsule_GetPointer(capsule, KEYED);
        body = PyObject_CallOneArg(keyed->find, key);
        if (body && body != Py_None) {
            const struct reply made = {self->json, self->nothing, self->nothing, {body}, 1};
            reply = render(self, &made, scan_connection(self->scanner, plain));
        }
        if (reply) tally_response(self->tally, keyed->response);
    }
    PyErr_Clear(); /* it is met again, and told, where it can be */
    Py_XDECREF(before);
    Py_XDECREF(capsule);
    Py_XDECREF(key);
    Py_XDECREF(body);
    return reply;
}

PyDoc_STRVAR(take_doc,
"take(data, now_s)\n--\n\n"
"The bytes of the answer, or refusal, if `data`, which came at `now_s`, is one whole request of\n"
"the common kind; else the request, if it is plain; else None.");

static PyObject *desk_take(Desk *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2 || !PyBytes_Check(args[0]) || !PyFloat_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "take takes bytes, and when they came");
        return NULL;
    }
    struct plain plain;
    struct body body = {.data = args[0]};
    struct asked asked;
    if (!scan_plain(self->scanner, args[0], &plain)) Py_RETURN_NONE;
    const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(args[0]);
    PyObject *capsule = NULL, *reply = NULL;
    if (plain.method == PLAIN_GET && PyDict_GET_SIZE(self->keyed)) reply = found(self, &plain, bytes);
    if (plain.method == PLAIN_POST && asks_nothing(bytes, &plain, &asked)) {
        PyObject *target = bytes_at(bytes, &plain.target);
        /* Held: what is called below might change the routes. */
        capsule = target ? Py_XNewRef(PyDict_GetItemWithError(self->routes, target)) : NULL;
        Py_XDECREF(target);
        PyErr_Clear();
    }
    struct route *route = capsule ? PyCapsule_GetPointer(capsule, ROUTE) : NULL;
    if (route && (Py_ssize_t)plain.body.size <= route->max_body_bytes) {
        const double received_s = PyFloat_AS_DOUBLE(args[1]);
        body.span = plain.body;
        body.json_bytes = asked.json_bytes;
        const double allowed_s = asked.allowed_s ? asked.allowed_s : route->allowed_s;
        const int late = route->quick && is_late(route, allowed_s, args[1]);
        if (route->gate && (late || !route->quick))
            reply = refused(self, route, &plain, allowed_s, received_s);
        if (!reply && route->quick && !late)
            reply = answered(self, route, &plain, &body, received_s, asked.timing);
    }
    Py_XDECREF(capsule);
    return reply ? reply : scan_request(self->scanner, args[0], args[1], &plain);
}

static PyMethodDef desk_methods[] = {
    {"add", (PyCFunction)desk_add, METH_VARARGS, add_doc},
    {"add_keyed", (PyCFunction)desk_add_keyed, METH_VARARGS, add_keyed_doc},
    {"set_date", (PyCFunction)desk_set_date, METH_O, set_date_doc},
    {"take", (PyCFunction)(void (*)(void))desk_take, METH_FASTCALL, take_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(desk_doc,
"Desk(scanner, tally, clock)\n--\n\n"
"Answers the common infer request, and that for a key, from its bytes to those of its answer.");

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
