/* Reading rows as Python has them: the quick way through the checks of a signature. */
#ifndef TWOFOLD_READER_H
#define TWOFOLD_READER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyTypeObject ReaderType;

#endif
