/* The refusal that was given last, for all that have no better chance. */
#ifndef TWOFOLD_GATE_H
#define TWOFOLD_GATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyTypeObject GateType;

/* Whether a request whose body has so many bytes, and that may take so long, is refused now. */
int gate_refuses(PyObject *gate, Py_ssize_t body_bytes, double allowed_s, double now_s);
/* The bytes of the refusal before and behind the lines about date and connection; borrowed. */
PyObject *gate_before(PyObject *gate);
PyObject *gate_after(PyObject *gate);

#endif
