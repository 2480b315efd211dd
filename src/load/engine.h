#ifndef TWOFOLD_ENGINE_H
#define TWOFOLD_ENGINE_H

/* A load generator: one thread, epoll, keep-alive connections of HTTP/1.1.
 *
 * Open loop: requests are due at fixed instants, whatever the server does, and what each took
 * counts from the instant it was due, not from when it could be sent. So a slow server can neither
 * slow the load down nor hide how long its clients waited (no coordinated omission; Gil Tene, How
 * NOT to Measure Latency, 2013). Closed loop: each connection sends its next request when it has the
 * answer; a request is due when it is sent.
 *
 * What isn't answered within `timeout_s` after it was due is given up, and its connection closed, as
 * a client would. An answer to nobody's question, or the end of a connection that nothing is asked
 * on, closes that connection. */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "answer.h"

/* How a request ended, beside the HTTP status of its answer. */
enum result {
    PENDING = 0,
    TIMED_OUT = -1,     /* sent, and not answered in time */
    UNSENT = -2,        /* no connection in time: all were busy, or the server didn't accept */
    REFUSED = -3,       /* the connection was refused */
    RESET = -4,         /* the connection was reset */
    CUT = -5,           /* the connection was closed before the answer was complete */
    OTHER_BODY = -6,    /* 2xx without the text that was expected */
    NOT_HTTP = -7,      /* the answer isn't HTTP, or an error of the network */
    OWN_LIMIT = -8      /* this side had no file or port left for a connection */
};

struct blob {
    const char *bytes;
    size_t length;
};

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

/* What is to be done, and where its course is written: an element a request. */
struct load {
    union address address;
    socklen_t address_bytes;
    const struct blob *blobs;
    const uint32_t *which; /* the blob of each request; NULL: all of them in turn */
    uint32_t n_blobs, count;
    const struct needle *needle;
    double start_s;   /* instant of CLOCK_MONOTONIC that all times count from */
    double timeout_s;
    double end_s;     /* of a closed loop: nothing is sent from then on; 0: an open loop */
    uint32_t max_connections;
    double *due_s;    /* read in an open loop, written in a closed one */
    double *sent_s;   /* -1: never */
    double *done_s;
    double *late_s;   /* what this side was late by */
    int16_t *result;
    bool (*is_to_end)(void *); /* asked now and then */
    void *asked_with;
    /* How it went. */
    uint32_t begun;   /* requests that have a result, or were on their way when it was ended */
    uint64_t opened, resent, turns;
};

/* Returns 0, or an errno: what it needs to begin can't be had. */
int load_run(struct load *load);

#endif
