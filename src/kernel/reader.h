/* Reading rows as Python has them: the quick way through the checks of a signature. */
#ifndef TWOFOLD_READER_H
#define TWOFOLD_READER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyTypeObject ReaderType;

/* How many values a reader gives; -1 if it was refused when it was made. */
Py_ssize_t reader_width(PyObject *reader);

#endif
