/* Where a request's time went, told to callers who ask for it: twofold.wire.stages, as C has it. */
#ifndef TWOFOLD_TIMING_H
#define TWOFOLD_TIMING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "plain.h"

/* The instants between a request's stages: monotonic seconds. */
enum instant { RECEIVED = 0, READ, STARTED, PREDICTED, ANSWERED, INSTANTS };

/* Whether a header asks for it. */
int timing_asked(const uint8_t *bytes, const struct plain_header *header);
/* The header line Server-Timing; NULL with an error. */
PyObject *timing_line(const double instants[INSTANTS]);

#endif
