/* Counters and histograms in shared memory, as twofold.serving.metrics has them. */
#ifndef TWOFOLD_TALLY_H
#define TWOFOLD_TALLY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyTypeObject TallyType;

#endif
