#include "timing.h"

#include <stdio.h>

int timing_asked(const uint8_t *bytes, const struct plain_header *header) {
    static const char name[] = "x-twofold-timing";
    if (header->name.size != sizeof name - 1) return 0;
    for (uint32_t i = 0; i < sizeof name - 1; i++)
        if (plain_lower[bytes[header->name.first + i]] != name[i]) return 0;
    return 1;
}

PyObject *timing_line(const double instants[INSTANTS]) {
    static const char *const names[] = {"parse", "queue", "predict", "encode", "total"};
    char line[256];
    size_t size = (size_t)snprintf(line, sizeof line, "Server-Timing: ");
    for (int i = 0; i < INSTANTS; i++) {
        const int is_total = i == INSTANTS - 1;
        const double seconds = instants[is_total ? ANSWERED : i + 1] - instants[is_total ? RECEIVED : i];
        size += (size_t)snprintf(line + size, sizeof line - size, "%s;dur=%.4f%s", names[i],
                                 seconds * 1000, is_total ? "\r\n" : ", ");
        if (size >= sizeof line) {
            PyErr_SetString(PyExc_OverflowError, "a stage that takes years");
            return NULL;
        }
    }
    return PyBytes_FromStringAndSize(line, (Py_ssize_t)size);
}
