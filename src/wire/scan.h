/* Plain requests as Python has them. */
#ifndef TWOFOLD_SCAN_H
#define TWOFOLD_SCAN_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "plain.h"

extern PyTypeObject ScannerType;

/* Whether `data`, which must be bytes, is a plain request; only then `plain` is filled. */
int scan_plain(PyObject *scanner, PyObject *data, struct plain *plain);
/* The plain request that was found in `data`. */
PyObject *scan_request(PyObject *scanner, PyObject *data, PyObject *now_s,
                       const struct plain *plain);
/* The header line about the connection that the response to a plain request carries; borrowed. */
PyObject *scan_connection(PyObject *scanner, const struct plain *plain);

#endif
