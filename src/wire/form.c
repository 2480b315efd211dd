#include "form.h"

#include <string.h>

#define MAX_PIECES 1024

static int are_bytes(PyObject *parts) {
    const Py_ssize_t count = PyTuple_GET_SIZE(parts);
    for (Py_ssize_t i = 0; i < count; i++)
        if (!PyBytes_Check(PyTuple_GET_ITEM(parts, i))) return 0;
    return count && count <= MAX_PIECES;
}

struct form *form_made(PyObject *told) {
    struct form form = {.references = 1};
    PyObject *respond;
    if (!PyTuple_Check(told)) {
        PyErr_SetString(PyExc_TypeError, "a form is a tuple");
        return NULL;
    }
    if (!PyArg_ParseTuple(told, "O!OnO!", &PyTuple_Type, &form.parts, &form.read, &form.raw_bytes,
                          &PyTuple_Type, &respond) ||
        !PyArg_ParseTuple(respond, "SOSSS", &form.response_before, &form.write,
                          &form.response_after, &form.content_type, &form.headers))
        return NULL;
    form.n_pieces = (uint32_t)PyTuple_GET_SIZE(form.parts) - !form.raw_bytes;
    if (!are_bytes(form.parts) || form.raw_bytes < 0 || !form.n_pieces ||
        (form.raw_bytes && form.n_pieces > 1)) {
        PyErr_SetString(PyExc_ValueError, "a form has no such parts");
        return NULL;
    }
    struct form *made = PyMem_Malloc(sizeof *made);
    form.pieces = PyMem_Calloc(form.n_pieces, sizeof *form.pieces);
    if (!made || !form.pieces) {
        PyMem_Free(made);
        PyMem_Free(form.pieces);
        PyErr_NoMemory();
        return NULL;
    }
    PyObject *const held[] = {form.parts, form.read, form.response_before, form.write,
                              form.response_after, form.content_type, form.headers};
    for (size_t i = 0; i < sizeof held / sizeof *held; i++) Py_INCREF(held[i]);
    *made = form;
    return made;
}

void form_release(struct form *form) {
    if (--form->references) return;
    PyObject *const held[] = {form->parts, form->read, form->response_before, form->write,
                              form->response_after, form->content_type, form->headers};
    PyMem_Free(form->pieces);
    PyMem_Free(form);
    for (size_t i = 0; i < sizeof held / sizeof *held; i++) Py_DECREF(held[i]);
}

static const char *text_of(const struct body *body) {
    return PyBytes_AS_STRING(body->data) + body->span.first;
}

/* The size of a flat JSON list at the start of a text; 0 if there is none. */
static uint32_t list_size(const char *text, uint32_t size) {
    int is_text = 0;
    if (!size || text[0] != '[') return 0;
    for (uint32_t i = 1; i < size; i++) {
        const char byte = text[i];
        if (is_text) {
            if (byte == '\\') i++;
            else is_text = byte != '"';
        } else if (byte == '"') is_text = 1;
        else if (byte == ']') return i + 1;
        else if (byte == '[' || byte == '{' || byte == '}') return 0;
    }
    return 0;
}

/* Whether a part stands at a place; then the place is moved behind it. */
static int passes(PyObject *part, const char *text, uint32_t size, uint32_t *at) {
    const Py_ssize_t length = PyBytes_GET_SIZE(part);
    if (length > (Py_ssize_t)(size - *at) ||
        memcmp(text + *at, PyBytes_AS_STRING(part), (size_t)length))
        return 0;
    *at += (uint32_t)length;
    return 1;
}

int form_fits(struct form *form, const struct body *body) {
    const char *text = text_of(body);
    const uint32_t size = body->span.size;
    uint32_t at = 0;
    PyObject *first = PyTuple_GET_ITEM(form->parts, 0);
    if (body->json_bytes != (form->raw_bytes ? PyBytes_GET_SIZE(first) : NO_LENGTH) ||
        !passes(first, text, size, &at))
        return 0;
    if (form->raw_bytes) {
        form->pieces[0] = (struct span){at, size - at};
        return (Py_ssize_t)(size - at) == form->raw_bytes;
    }
    for (uint32_t i = 0; i < form->n_pieces; i++) {
        PyObject *part = PyTuple_GET_ITEM(form->parts, i + 1);
        const Py_ssize_t rest = (Py_ssize_t)(size - at) - PyBytes_GET_SIZE(part);
        uint32_t length;
        if (form->n_pieces > 1) length = list_size(text + at, size - at);
        else length = rest > 0 ? (uint32_t)rest : 0;
        if (!length) return 0;
        form->pieces[i] = (struct span){at, length};
        at += length;
        if (!passes(part, text, size, &at)) return 0;
    }
    return at == size;
}

/* The pieces of a row as one: a JSON list of what is in each of their lists. */
static PyObject *joined(const struct form *form, const char *text) {
    Py_ssize_t size = 0;
    for (uint32_t i = 0; i < form->n_pieces; i++) size += form->pieces[i].size;
    /* Each list's closing bracket becomes the comma before the next, its opening one is left out. */
    PyObject *made = PyBytes_FromStringAndSize(NULL, size - form->n_pieces + 1);
    if (!made) return NULL;
    char *to = PyBytes_AS_STRING(made);
    *to++ = '[';
    for (uint32_t i = 0; i < form->n_pieces; i++) {
        const struct span *piece = &form->pieces[i];
        memcpy(to, text + piece->first + 1, piece->size - 1);
        to += piece->size - 1;
        to[-1] = i + 1 < form->n_pieces ? ',' : ']';
    }
    return made;
}

static Py_ssize_t count_of(char wanted, PyObject *bytes) {
    const char *text = PyBytes_AS_STRING(bytes);
    Py_ssize_t count = 0;
    for (Py_ssize_t i = 0; i < PyBytes_GET_SIZE(bytes); i++) count += text[i] == wanted;
    return count;
}

PyObject *form_row(const struct form *form, const struct body *body) {
    const char *text = text_of(body);
    const struct span *piece = form->pieces;
    if (form->raw_bytes) {
        PyObject *at = PyLong_FromUnsignedLong(body->span.first + piece->first), *row = NULL;
        PyObject *const parts[] = {body->data, at};
        if (at) row = PyObject_Vectorcall(form->read, parts, 2, NULL);
        Py_XDECREF(at);
        return row;
    }
    PyObject *json = form->n_pieces > 1
                         ? joined(form, text)
                         : PyBytes_FromStringAndSize(text + piece->first, piece->size);
    PyObject *row = json ? PyObject_CallOneArg(form->read, json) : NULL;
    /* Outside of texts a colon stands after every name and nowhere else: if there are more, then a
     * name stands twice, or a text has to be looked at. */
    if (row && PyDict_CheckExact(row) && count_of(':', json) != PyDict_GET_SIZE(row))
        Py_CLEAR(row);
    Py_XDECREF(json);
    return row;
}
