/* Plain requests as Python has them. */
#ifndef TWOFOLD_SCAN_H
#define TWOFOLD_SCAN_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "plain.h"

extern PyTypeObject ScannerType;

/* The request in `data`, which must be bytes, and what was found of it; None if it isn't plain. */
PyObject *scan_request(PyObject *scanner, PyObject *data, PyObject *now_s, struct plain *plain);

#endif
