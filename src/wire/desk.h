/* The common infer request, from its bytes to those of its answer. */
#ifndef TWOFOLD_DESK_H
#define TWOFOLD_DESK_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyTypeObject DeskType;

#endif
