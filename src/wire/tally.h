/* Counters and histograms in shared memory, as twofold.serving.metrics has them. */
#ifndef TWOFOLD_TALLY_H
#define TWOFOLD_TALLY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyTypeObject TallyType;

/* Where an answered request is counted; see tally_answered_doc. */
struct answered_slots {
    Py_ssize_t response, ok, rows, duration, queue, predict;
};

/* Where a refused request is counted. */
struct refused_slots {
    Py_ssize_t response, outcome, duration;
};

/* Whether a tally has all of these slots. */
int tally_has(PyObject *tally, const struct answered_slots *answered,
              const struct refused_slots *refused);
/* Count an answered request of one row, and its response. */
void tally_one(PyObject *tally, const struct answered_slots *slots, double duration_s,
               double queue_s, double predict_s);
/* Count a refused request, and its response. */
void tally_refused(PyObject *tally, const struct refused_slots *slots, double duration_s);
/* Whether a tally has a counter. */
int tally_has_slot(PyObject *tally, Py_ssize_t slot);
/* Count a response. */
void tally_response(PyObject *tally, Py_ssize_t slot);

#endif
