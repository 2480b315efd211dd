/* What the requests of one client have in common: twofold.wire.call.Form, as C has it. */
#ifndef TWOFOLD_FORM_H
#define TWOFOLD_FORM_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "plain.h"

/* A request's body, in the bytes that came. */
struct body {
    PyObject *data; /* bytes */
    struct span span;
    Py_ssize_t json_bytes; /* how long a header says its JSON is, or NO_LENGTH */
};
#define NO_LENGTH (-1)

struct form {
    Py_ssize_t references;
    PyObject *parts; /* tuple of bytes, around the pieces of the row */
    uint32_t n_pieces;
    struct span *pieces; /* where they are in the body that last fitted */
    PyObject *read;      /* the row, of its JSON, or of bytes and where in them it begins */
    Py_ssize_t raw_bytes;
    PyObject *write;          /* a prediction */
    PyObject *response_before, *response_after, *content_type, *headers; /* bytes */
};

/* A form that has one reference; NULL with an error if `told` isn't a Form. */
struct form *form_made(PyObject *told);
void form_release(struct form *form);

/* Whether a body is of a form, as far as that shows before its row is read. */
int form_fits(struct form *form, const struct body *body);
/* The row of the body that fitted last; NULL, maybe with an error, if it has to be read another
 * way. */
PyObject *form_row(const struct form *form, const struct body *body);

#endif
