/* An open-loop HTTP/1.1 load generator: one thread, epoll, keep-alive connections; Linux only.
 *
 * Requests are due at fixed instants, at a constant rate, whatever the server does; the latency of
 * each counts from the instant it was due, not from when it could be sent. So a slow server can
 * neither slow the load down nor hide the time its clients waited (no coordinated omission).
 *
 * The load comes in segments, one after another. Each has connections of its own, opened when they
 * are needed: probes after an overload are other clients than those who made it, and never wait
 * behind them inside this program.
 *
 * An attempt that isn't answered `--timeout-s` after it was due is given up, and its connection
 * closed, as a client would. With `--retries`, what was answered 503 or 504, or not in time, is
 * asked again after a short pause; its latency still counts from the first instant it was due.
 *
 * How a request ends: with a status, or as
 *   timeout   sent, and not answered in time
 *   unsent    no connection in time: all were busy, or the server didn't accept
 *   refused   the connection was refused
 *   reset     the connection was reset
 *   eof       the connection was closed before the answer was complete
 *   badbody   200 without the text of `--expect`
 *   other     not HTTP, or an error of the system
 *
 * With --summary, one JSON object a segment goes to stdout; with --csv, one line a request to a
 * file. Percentiles are of nearest rank, null where there is nothing to count.
 */
#define _GNU_SOURCE /* memmem, strcasestr, epoll_pwait2 */

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_SEGMENTS 16
#define MAX_CONNECTIONS 20000 /* of a segment */
#define MAX_REQUESTS 20000000
#define MAX_TOTAL_S 3600.0
#define MAX_RETRIES 10
#define MAX_RETRY_AFTER_S 10.0
#define BACKOFF_S 0.020    /* before a retry, unless Retry-After is honoured */
#define LEAD_S 0.050       /* from the start of the program's clock to the first request */
#define MAX_RACE_S 0.005   /* a connection the server closes this soon was closing already */
#define MAX_TURN_S 0.5     /* longest sleep of the loop */
#define MAX_ANSWER_BYTES (64u << 20)
#define FIRST_BUFFER_BYTES 4096u
#define EVENTS 512
#define STATUSES 600
#define SPARE_FILES 32

/* ---- failing and memory ------------------------------------------------------------------- */

static _Noreturn void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("openloop: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

static void *grown(void *memory, size_t count, size_t size) {
    void *larger = reallocarray(memory, count, size);
    if (!larger) fail("out of memory");
    return larger;
}

static void *zeros(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) fail("out of memory");
    return memory;
}

/* ---- values ------------------------------------------------------------------------------- */

enum result { PENDING = 0, TIMEOUT = -1, UNSENT = -2, REFUSED = -3, RESET = -4, END = -5,
              BAD_BODY = -6, OTHER = -7 }; /* positive: an HTTP status */
#define ERRORS 8
static const char *const error_names[ERRORS] = {"", "timeout", "unsent", "refused", "reset", "eof",
                                                "badbody", "other"};

struct request {
    double due_s;         /* when it was first due */
    double attempt_due_s; /* when its present attempt was due */
    double sent_s;        /* the last attempt; -1: never */
    double done_s;
    int32_t connection; /* that has its present attempt; -1: none */
    int16_t result;
    uint8_t segment;
    uint8_t attempts;
    bool active; /* an attempt is waiting or on its way */
    bool resent; /* this attempt met a connection that was closing */
};

/* One attempt of a request. It is out of date as soon as the attempt has ended. */
struct attempt {
    uint32_t request;
    uint32_t number;
};

/* A queue, open at both ends, in a ring that grows. */
struct queue {
    struct attempt *items;
    size_t capacity, head, length;
};

/* Seconds, to be sorted at the end. */
struct samples {
    double *values;
    size_t capacity, length;
};

enum state { CLOSED, CONNECTING, BUSY, IDLE };

struct connection {
    int fd;
    enum state state;
    int segment;
    int64_t request; /* -1: none */
    size_t written;  /* bytes of the request */
    char *buffer;    /* of the answer */
    size_t capacity, length;
    bool used; /* it has answered before */
    int32_t older, newer; /* in the list of idle connections */
};

struct segment {
    double rate, seconds, start_s;
    uint32_t first, count; /* its requests */
    struct queue waiting;  /* attempts without a connection */
    int32_t oldest_idle, newest_idle;
    int open;
    struct samples good, good_attempts; /* since first due; since the good attempt was due */
    struct samples refusals, lag;
    uint64_t attempts, resent;
    uint64_t statuses[STATUSES], errors[ERRORS]; /* of requests */
    double cpu_start_s;
};

/* What was read of an answer's head. */
struct answer {
    int status;
    bool close;
    bool chunked;
    int64_t length; /* -1: not said */
    double retry_after_s; /* -1: not said */
    size_t head_bytes;
};

/* ---- the run ------------------------------------------------------------------------------ */

static struct {
    const char *host, *path, *body, *type, *expect, *csv;
    char *headers, *segments;
    int port, connections, retries;
    double timeout_s, slo_s;
    bool honour_retry_after, summary;
} options = {.host = "127.0.0.1", .path = "/", .type = "application/json", .connections = 256,
             .timeout_s = 2.0, .slo_s = 0.1};

static struct timespec began;
static struct segment segments[MAX_SEGMENTS];
static int n_segments;
static struct request *requests;
static uint32_t n_requests, next_fresh, outstanding;
static struct connection *connections;
static int32_t *closed; /* indices of connections that are free to be opened */
static int n_closed;
static struct queue expiring; /* every attempt, in the order in which they time out */
static struct { double due_s; uint32_t request; } *retries; /* a heap, the earliest first */
static size_t n_retries, retries_capacity;
static char *message; /* the bytes of every request */
static size_t message_bytes;
static struct sockaddr_in address;
static int poll_fd;

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began.tv_sec) + (double)(now.tv_nsec - began.tv_nsec) * 1e-9;
}

static double cpu_s(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec * 1e-9;
}

/* ---- queues, samples, the heap of retries ---------------------------------------------------- */

static void make_room(struct queue *queue) {
    if (queue->length < queue->capacity) return;
    const size_t capacity = queue->capacity ? 2 * queue->capacity : 1024;
    struct attempt *items = grown(NULL, capacity, sizeof *items);
    for (size_t at = 0; at < queue->length; at++)
        items[at] = queue->items[(queue->head + at) % queue->capacity];
    free(queue->items);
    *queue = (struct queue){items, capacity, 0, queue->length};
}

static void push_last(struct queue *queue, struct attempt item) {
    make_room(queue);
    queue->items[(queue->head + queue->length++) % queue->capacity] = item;
}

static void push_first(struct queue *queue, struct attempt item) {
    make_room(queue);
    queue->head = (queue->head + queue->capacity - 1) % queue->capacity;
    queue->items[queue->head] = item;
    queue->length++;
}

static void drop_first(struct queue *queue) {
    queue->head = (queue->head + 1) % queue->capacity;
    queue->length--;
}

static void note(struct samples *samples, double value) {
    if (samples->length == samples->capacity) {
        samples->capacity = samples->capacity ? 2 * samples->capacity : 1024;
        samples->values = grown(samples->values, samples->capacity, sizeof *samples->values);
    }
    samples->values[samples->length++] = value;
}

static void retry_at(double due_s, uint32_t request) {
    if (n_retries == retries_capacity) {
        retries_capacity = retries_capacity ? 2 * retries_capacity : 1024;
        retries = grown(retries, retries_capacity, sizeof *retries);
    }
    size_t at = n_retries++;
    for (; at > 0 && retries[(at - 1) / 2].due_s > due_s; at = (at - 1) / 2)
        retries[at] = retries[(at - 1) / 2];
    retries[at].due_s = due_s;
    retries[at].request = request;
}

static uint32_t take_retry(void) {
    const uint32_t first = retries[0].request;
    const double due_s = retries[--n_retries].due_s;
    const uint32_t last = retries[n_retries].request;
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n_retries) break;
        if (child + 1 < n_retries && retries[child + 1].due_s < retries[child].due_s) child++;
        if (retries[child].due_s >= due_s) break;
        retries[at] = retries[child];
        at = child;
    }
    retries[at].due_s = due_s;
    retries[at].request = last;
    return first;
}

/* ---- attempts ------------------------------------------------------------------------------- */

static bool is_current(struct attempt item) {
    const struct request *request = &requests[item.request];
    return request->active && request->attempts == item.number;
}

static void begin_attempt(uint32_t index, double due_s) {
    struct request *request = &requests[index];
    struct segment *segment = &segments[request->segment];
    request->attempt_due_s = due_s;
    request->attempts++;
    request->active = true;
    request->resent = false;
    segment->attempts++;
    const struct attempt item = {index, request->attempts};
    push_last(&segment->waiting, item);
    push_last(&expiring, item);
}

/* The attempt of a request has ended; the request has, too, unless it is tried again. */
static void end_attempt(uint32_t index, int result, double retry_after_s, double at_s) {
    struct request *request = &requests[index];
    struct segment *segment = &segments[request->segment];
    request->active = false;
    request->connection = -1;
    if (result == 503 || result == 429) note(&segment->refusals, at_s - request->attempt_due_s);
    const bool again = result == 503 || result == 504 || result == TIMEOUT || result == UNSENT;
    if (again && request->attempts <= options.retries) {
        double pause_s = BACKOFF_S;
        if (options.honour_retry_after && retry_after_s >= 0) pause_s = retry_after_s;
        retry_at(at_s + fmin(pause_s, MAX_RETRY_AFTER_S), index);
        return;
    }
    request->result = (int16_t)result;
    request->done_s = at_s;
    outstanding--;
    if (result == 200) {
        note(&segment->good, at_s - request->due_s);
        note(&segment->good_attempts, at_s - request->attempt_due_s);
    }
    if (result > 0)
        segment->statuses[result]++;
    else
        segment->errors[-result]++;
}

/* ---- connections ---------------------------------------------------------------------------- */

/* Idle connections are used in turn, the longest idle first: many clients, not one busy one. */
static void rest(int32_t index) {
    struct connection *connection = &connections[index];
    struct segment *segment = &segments[connection->segment];
    connection->state = IDLE;
    connection->request = -1;
    connection->length = 0;
    connection->older = segment->newest_idle;
    connection->newer = -1;
    if (segment->newest_idle >= 0)
        connections[segment->newest_idle].newer = index;
    else
        segment->oldest_idle = index;
    segment->newest_idle = index;
}

static void wake(int32_t index) {
    struct connection *connection = &connections[index];
    struct segment *segment = &segments[connection->segment];
    if (connection->older >= 0)
        connections[connection->older].newer = connection->newer;
    else
        segment->oldest_idle = connection->newer;
    if (connection->newer >= 0)
        connections[connection->newer].older = connection->older;
    else
        segment->newest_idle = connection->older;
}

static void close_connection(int32_t index) {
    struct connection *connection = &connections[index];
    if (connection->state == IDLE) wake(index);
    close(connection->fd);
    connection->fd = -1;
    connection->state = CLOSED;
    connection->request = -1;
    segments[connection->segment].open--;
    closed[n_closed++] = index;
}

static int result_of(int error) {
    if (error == 0) return END;
    if (error == ECONNREFUSED) return REFUSED;
    return error == ECONNRESET || error == EPIPE ? RESET : OTHER;
}

/* A connection broke (`error` 0: it was closed), and with it the attempt it had.
 *
 * If the server closed an idle connection while the request was on its way to it, nobody has seen
 * the request: it is sent once more, on a new connection, and counted as `resent`. */
static void broken(int32_t index, int error) {
    struct connection *connection = &connections[index];
    const int64_t at = connection->request;
    const bool was_used = connection->used && connection->length == 0;
    close_connection(index);
    if (at < 0) return;
    struct request *request = &requests[at];
    const double time_s = now_s();
    if (was_used && !request->resent && time_s - request->sent_s < MAX_RACE_S) {
        struct segment *segment = &segments[request->segment];
        request->resent = true;
        request->connection = -1;
        segment->resent++;
        push_first(&segment->waiting, (struct attempt){(uint32_t)at, request->attempts});
        return;
    }
    end_attempt((uint32_t)at, result_of(error), -1, time_s);
}

/* Write the request, or what is left of it. False: the connection is gone. */
static bool write_on(int32_t index) {
    struct connection *connection = &connections[index];
    while (connection->written < message_bytes) {
        const ssize_t sent = send(connection->fd, message + connection->written,
                                  message_bytes - connection->written, MSG_NOSIGNAL);
        if (sent >= 0) {
            connection->written += (size_t)sent;
        } else if (errno == EAGAIN) {
            return true; /* the rest goes when the socket has room */
        } else if (errno != EINTR) {
            /* The server may have answered before it closed; then that is still to be read. */
            if (connection->written > 0) return true;
            broken(index, errno);
            return false;
        }
    }
    return true;
}

static void send_on(int32_t index, double time_s) {
    struct connection *connection = &connections[index];
    connection->state = BUSY;
    connection->written = 0;
    connection->length = 0;
    requests[connection->request].sent_s = time_s;
    write_on(index);
}

static void open_for(uint32_t request) {
    const int32_t index = closed[--n_closed];
    struct connection *connection = &connections[index];
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket: %s", strerror(errno));
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection->fd = fd;
    connection->state = CONNECTING;
    connection->segment = requests[request].segment;
    connection->request = request;
    connection->used = false;
    connection->length = 0;
    requests[request].connection = index;
    segments[connection->segment].open++;
    const bool done = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    if (!done && errno != EINPROGRESS) {
        broken(index, errno);
        return;
    }
    /* Edges, so that interest never has to be changed. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.u32 = (uint32_t)index};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl: %s", strerror(errno));
    if (done) send_on(index, now_s());
}

/* Give the attempts that wait a connection, as long as there is one. */
static void dispatch(struct segment *segment) {
    while (segment->waiting.length > 0) {
        const struct attempt item = segment->waiting.items[segment->waiting.head];
        if (!is_current(item)) {
            drop_first(&segment->waiting);
            continue;
        }
        int32_t idle = segment->oldest_idle;
        if (idle >= 0 && requests[item.request].resent) {
            close_connection(idle); /* as old as the one that was closing: it may be, too */
            idle = -1;
        }
        if (idle >= 0) {
            drop_first(&segment->waiting);
            wake(idle);
            connections[idle].request = item.request;
            requests[item.request].connection = idle;
            send_on(idle, now_s());
        } else if (segment->open < options.connections) {
            drop_first(&segment->waiting);
            open_for(item.request);
        } else {
            break;
        }
    }
}

/* ---- answers -------------------------------------------------------------------------------- */

static bool starts_with(const char *line, const char *end, const char *name) {
    const size_t length = strlen(name);
    return (size_t)(end - line) >= length && !strncasecmp(line, name, length);
}

static bool mentions(const char *line, const char *end, const char *word) {
    const size_t length = strlen(word);
    for (; (size_t)(end - line) >= length; line++)
        if (!strncasecmp(line, word, length)) return true;
    return false;
}

/* Read an answer's head. 1: read, 0: more is to come, -1: it is no HTTP. The bytes end in a 0. */
static int read_head(const char *bytes, size_t length, struct answer *answer) {
    const char *end = memmem(bytes, length, "\r\n\r\n", 4);
    if (!end) return length > MAX_ANSWER_BYTES ? -1 : 0;
    if (length < 12 || strncmp(bytes, "HTTP/1.", 7)) return -1;
    *answer = (struct answer){.status = atoi(bytes + 9), .close = bytes[7] == '0', .length = -1,
                              .retry_after_s = -1, .head_bytes = (size_t)(end + 4 - bytes)};
    if (answer->status < 100 || answer->status >= STATUSES) return -1;
    const char *line = memmem(bytes, length, "\r\n", 2);
    while (line < end) {
        line += 2;
        const char *next = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        if (starts_with(line, next, "content-length:"))
            answer->length = strtoll(line + 15, NULL, 10);
        else if (starts_with(line, next, "transfer-encoding:"))
            answer->chunked = mentions(line, next, "chunked");
        else if (starts_with(line, next, "connection:"))
            answer->close |= mentions(line, next, "close");
        else if (starts_with(line, next, "retry-after:"))
            answer->retry_after_s = fmax(0, strtod(line + 12, NULL)); /* a date is taken for 0 */
        line = next;
    }
    return 1;
}

/* Whether a chunked body is complete; its trailers are taken to be empty. */
static bool chunks_end(const char *at, const char *end) {
    for (;;) {
        const char *line_end = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (!line_end) return false;
        const unsigned long long size = strtoull(at, NULL, 16);
        at = line_end + 2;
        const unsigned long long left = (unsigned long long)(end - at);
        if (left < 2 || left - 2 < size) return false;
        if (size == 0) return true;
        at += size + 2;
    }
}

/* Look for a complete answer in what was read. 1: there, 0: not yet, -1: it is no HTTP.
 *
 * Args: at_end: nothing more will come. */
static int read_answer(struct connection *connection, bool at_end, struct answer *answer) {
    for (;;) {
        const int found = read_head(connection->buffer, connection->length, answer);
        if (found <= 0) return found;
        if (answer->status >= 200) break;
        connection->length -= answer->head_bytes; /* such as 100 Continue */
        memmove(connection->buffer, connection->buffer + answer->head_bytes, connection->length);
        connection->buffer[connection->length] = 0;
    }
    const char *body = connection->buffer + answer->head_bytes;
    const char *end = connection->buffer + connection->length;
    if (answer->status == 204 || answer->status == 304) return 1;
    if (answer->chunked) return chunks_end(body, end);
    if (answer->length >= 0) return end - body >= answer->length;
    answer->close = true;
    return at_end;
}

static void answered(int32_t index, const struct answer *answer, bool closing) {
    struct connection *connection = &connections[index];
    int result = answer->status;
    if (result == 200 && options.expect &&
        !memmem(connection->buffer + answer->head_bytes, connection->length - answer->head_bytes,
                options.expect, strlen(options.expect)))
        result = BAD_BODY;
    end_attempt((uint32_t)connection->request, result, answer->retry_after_s, now_s());
    connection->request = -1;
    connection->used = true;
    /* An answer to a request that isn't sent completely leaves the connection in no known state. */
    if (answer->close || closing || connection->written < message_bytes)
        close_connection(index);
    else
        rest(index);
}

static void make_space(struct connection *connection) {
    if (connection->length + 1 < connection->capacity) return;
    if (connection->capacity > MAX_ANSWER_BYTES) fail("an answer is too long");
    connection->capacity = connection->capacity ? 2 * connection->capacity : FIRST_BUFFER_BYTES;
    connection->buffer = grown(connection->buffer, connection->capacity, 1);
}

/* Read what there is. `closing`: the server has closed its side. */
static void read_on(int32_t index, bool closing) {
    struct connection *connection = &connections[index];
    struct answer answer;
    for (;;) {
        make_space(connection);
        const size_t space = connection->capacity - connection->length - 1;
        const ssize_t got = recv(connection->fd, connection->buffer + connection->length, space, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return;
        const int error = got < 0 ? errno : 0;
        if (got > 0) connection->length += (size_t)got;
        connection->buffer[connection->length] = 0;
        const int found = read_answer(connection, got <= 0, &answer);
        if (found > 0) {
            answered(index, &answer, closing || got <= 0);
            return;
        }
        if (found < 0) {
            const uint32_t request = (uint32_t)connection->request;
            close_connection(index);
            end_attempt(request, OTHER, -1, now_s());
            return;
        }
        if (got <= 0) {
            broken(index, error);
            return;
        }
        if ((size_t)got < space && !closing) return; /* all of it; more comes with another event */
    }
}

static void handle(int32_t index, uint32_t events) {
    struct connection *connection = &connections[index];
    const bool closing = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (connection->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            broken(index, error);
            return;
        }
        if (!(events & EPOLLOUT)) return;
        send_on(index, now_s());
        if (connection->state != BUSY) return;
    } else if (connection->state == BUSY && (events & EPOLLOUT)) {
        if (!write_on(index)) return;
    }
    if (!(events & EPOLLIN) && !closing) return;
    if (connection->state == IDLE)
        close_connection(index); /* closed by the server, or it says what nobody asked */
    else if (connection->state == BUSY)
        read_on(index, closing);
}

/* ---- the loop ------------------------------------------------------------------------------- */

/* Begin all attempts that are due, in the order in which they are: `expiring` relies on it. */
static void begin_due(double time_s) {
    for (;;) {
        const double fresh_s = next_fresh < n_requests ? requests[next_fresh].due_s : INFINITY;
        const double retry_s = n_retries ? retries[0].due_s : INFINITY;
        if (fmin(fresh_s, retry_s) > time_s) return;
        if (fresh_s <= retry_s) {
            note(&segments[requests[next_fresh].segment].lag, time_s - fresh_s);
            begin_attempt(next_fresh++, fresh_s);
        } else {
            begin_attempt(take_retry(), retry_s);
        }
    }
}

static void expire(double time_s) {
    while (expiring.length > 0) {
        const struct attempt item = expiring.items[expiring.head];
        const struct request *request = &requests[item.request];
        if (is_current(item)) {
            if (request->attempt_due_s + options.timeout_s > time_s) return;
            const int32_t index = request->connection;
            const bool was_sent = index >= 0 && connections[index].state == BUSY;
            if (index >= 0) close_connection(index);
            end_attempt(item.request, was_sent ? TIMEOUT : UNSENT, -1, time_s);
        }
        drop_first(&expiring);
    }
}

static double next_turn_s(void) {
    double at_s = next_fresh < n_requests ? requests[next_fresh].due_s : INFINITY;
    if (n_retries) at_s = fmin(at_s, retries[0].due_s);
    if (expiring.length > 0) {
        /* One that is out of date costs a turn too many, no more. */
        const struct attempt item = expiring.items[expiring.head];
        at_s = fmin(at_s, requests[item.request].attempt_due_s + options.timeout_s);
    }
    return at_s;
}

static void run(void) {
    struct epoll_event events[EVENTS];
    int measured = 0; /* segments that have begun */
    while (outstanding > 0) {
        const double time_s = now_s();
        while (measured < n_segments && segments[measured].start_s <= time_s)
            segments[measured++].cpu_start_s = cpu_s();
        begin_due(time_s);
        expire(time_s);
        for (int at = 0; at < n_segments; at++) dispatch(&segments[at]);
        double pause_s = fmin(fmax(next_turn_s() - now_s(), 0), MAX_TURN_S);
        const struct timespec pause = {0, (long)(pause_s * 1e9)};
        const int count = epoll_pwait2(poll_fd, events, EVENTS, &pause, NULL);
        if (count < 0 && errno != EINTR) fail("epoll_pwait2: %s", strerror(errno));
        /* Connections are opened by dispatch() only, so none of these is another's by now. */
        for (int at = 0; at < count; at++)
            if (connections[events[at].data.u32].fd >= 0)
                handle((int32_t)events[at].data.u32, events[at].events);
    }
    const double used_s = cpu_s();
    while (measured < n_segments) segments[measured++].cpu_start_s = used_s;
}

/* ---- reports -------------------------------------------------------------------------------- */

static int compare(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void sort(struct samples *samples) {
    if (samples->length) qsort(samples->values, samples->length, sizeof(double), compare);
}

static void print_ms(const char *name, const struct samples *sorted, double share) {
    if (sorted->length == 0) {
        printf(", \"%s\": null", name);
        return;
    }
    size_t rank = (size_t)ceil(share * (double)sorted->length);
    printf(", \"%s\": %.3f", name, sorted->values[rank ? rank - 1 : 0] * 1e3);
}

static void print_counts(const char *name, const uint64_t *counts, int from, int to,
                         const char *const *names) {
    const char *comma = "";
    printf(", \"%s\": {", name);
    for (int at = from; at < to; at++) {
        if (counts[at] == 0) continue;
        if (names)
            printf("%s\"%s\": %" PRIu64, comma, names[at], counts[at]);
        else
            printf("%s\"%d\": %" PRIu64, comma, at, counts[at]);
        comma = ", ";
    }
    printf("}");
}

static uint64_t count_within(const struct samples *samples) {
    uint64_t count = 0;
    for (size_t at = 0; at < samples->length; at++) count += samples->values[at] <= options.slo_s;
    return count;
}

static void print_summary(int at, double cpu_end_s) {
    struct segment *segment = &segments[at];
    const uint64_t within = count_within(&segment->good);
    uint64_t sent = 0;
    for (uint32_t index = segment->first; index < segment->first + segment->count; index++)
        sent += requests[index].sent_s >= 0;
    sort(&segment->good);
    sort(&segment->good_attempts);
    sort(&segment->refusals);
    sort(&segment->lag);
    printf("{\"segment\": %d, \"rate\": %.10g, \"seconds\": %.10g, \"offered\": %" PRIu32, at,
           segment->rate, segment->seconds, segment->count);
    print_counts("statuses", segment->statuses, 0, STATUSES, NULL);
    print_counts("errors", segment->errors, 1, ERRORS, error_names);
    print_ms("p50_ms", &segment->good, 0.5);
    print_ms("p90_ms", &segment->good, 0.9);
    print_ms("p99_ms", &segment->good, 0.99);
    print_ms("p999_ms", &segment->good, 0.999);
    print_ms("max_ms", &segment->good, 1.0);
    printf(", \"slo_ms\": %.10g, \"within_slo\": %" PRIu64, options.slo_s * 1e3, within);
    if (segment->count)
        printf(", \"within_slo_ratio\": %.6f", (double)within / segment->count);
    else
        printf(", \"within_slo_ratio\": null");
    printf(", \"refusals\": %zu", segment->refusals.length);
    print_ms("refusal_p50_ms", &segment->refusals, 0.5);
    print_ms("refusal_p99_ms", &segment->refusals, 0.99);
    printf(", \"attempts\": %" PRIu64 ", \"attempts_within_slo\": %" PRIu64, segment->attempts,
           count_within(&segment->good_attempts));
    print_ms("attempt_p99_ms", &segment->good_attempts, 0.99);
    printf(", \"resent\": %" PRIu64 ", \"sent_per_s\": %.3f", segment->resent,
           (double)sent / segment->seconds);
    print_ms("lag_p99_ms", &segment->lag, 0.99);
    printf(", \"generator_cpu_s\": %.4f}\n", cpu_end_s - segment->cpu_start_s);
}

static void write_csv(void) {
    FILE *file = fopen(options.csv, "w");
    if (!file) fail("%s: %s", options.csv, strerror(errno));
    fputs("segment,due_s,sent_s,done_s,result,attempts\n", file);
    for (uint32_t index = 0; index < n_requests; index++) {
        const struct request *request = &requests[index];
        fprintf(file, "%d,%.6f,%.6f,%.6f,", request->segment, request->due_s, request->sent_s,
                request->done_s);
        if (request->result > 0)
            fprintf(file, "%d,%d\n", request->result, request->attempts);
        else
            fprintf(file, "%s,%d\n", error_names[-request->result], request->attempts);
    }
    if (fclose(file)) fail("%s: %s", options.csv, strerror(errno));
}

/* ---- the start ------------------------------------------------------------------------------ */

static const char usage[] =
    "usage: openloop --port N --segments RATE:SECONDS[,RATE:SECONDS...] (--summary | --csv FILE)\n"
    "  --host ADDRESS          IPv4, default 127.0.0.1\n"
    "  --path PATH             default /\n"
    "  --body FILE             POST it; without, GET\n"
    "  --type TYPE             of the body, default application/json\n"
    "  --header 'NAME: VALUE'  may be repeated\n"
    "  --segments ...          requests a second and how long; a rate of 0 is a pause\n"
    "  --connections N         most that a segment opens, default 256\n"
    "  --timeout-s S           of an attempt, from when it was due, default 2\n"
    "  --expect TEXT           what the body of a good 200 has in it (in one chunk)\n"
    "  --retries N             times that 503, 504 and timeouts are asked again, default 0\n"
    "  --honour-retry-after    wait as long as the answer says; else always 20 ms\n"
    "  --slo-ms MS             what counts as answered in time, default 100\n"
    "  --summary               one JSON object a segment to stdout\n"
    "  --csv FILE              one line a request\n";

static double number(const char *text, double low, double high, const char *name) {
    char *end;
    const double value = strtod(text, &end);
    if (end == text || *end || !(value >= low && value <= high))
        fail("--%s: expected a number from %g to %g, got %s", name, low, high, text);
    return value;
}

static void add_header(const char *line) {
    const size_t had = options.headers ? strlen(options.headers) : 0, more = strlen(line);
    options.headers = grown(options.headers, had + more + 3, 1);
    memcpy(options.headers + had, line, more);
    memcpy(options.headers + had + more, "\r\n", 3);
}

static void read_options(int count, char **words) {
    enum { HOST = 1, PORT, PATH, BODY, TYPE, HEADER, SEGMENTS, CONNECTIONS, WAIT, EXPECT, AGAIN,
           HONOUR, SLO, SUMMARY, CSV };
    static const struct option known[] = {
        {"host", required_argument, NULL, HOST},
        {"port", required_argument, NULL, PORT},
        {"path", required_argument, NULL, PATH},
        {"body", required_argument, NULL, BODY},
        {"type", required_argument, NULL, TYPE},
        {"header", required_argument, NULL, HEADER},
        {"segments", required_argument, NULL, SEGMENTS},
        {"connections", required_argument, NULL, CONNECTIONS},
        {"timeout-s", required_argument, NULL, WAIT},
        {"expect", required_argument, NULL, EXPECT},
        {"retries", required_argument, NULL, AGAIN},
        {"honour-retry-after", no_argument, NULL, HONOUR},
        {"slo-ms", required_argument, NULL, SLO},
        {"summary", no_argument, NULL, SUMMARY},
        {"csv", required_argument, NULL, CSV},
        {NULL, 0, NULL, 0},
    };
    for (int option, at; (option = getopt_long(count, words, "", known, &at)) != -1;) {
        switch (option) {
        case HOST: options.host = optarg; break;
        case PORT: options.port = (int)number(optarg, 1, 65535, "port"); break;
        case PATH: options.path = optarg; break;
        case BODY: options.body = optarg; break;
        case TYPE: options.type = optarg; break;
        case HEADER: add_header(optarg); break;
        case SEGMENTS: options.segments = optarg; break;
        case CONNECTIONS:
            options.connections = (int)number(optarg, 1, MAX_CONNECTIONS, "connections");
            break;
        case WAIT: options.timeout_s = number(optarg, 0.001, 600, "timeout-s"); break;
        case EXPECT: options.expect = optarg; break;
        case AGAIN: options.retries = (int)number(optarg, 0, MAX_RETRIES, "retries"); break;
        case HONOUR: options.honour_retry_after = true; break;
        case SLO: options.slo_s = number(optarg, 0.001, 600e3, "slo-ms") * 1e-3; break;
        case SUMMARY: options.summary = true; break;
        case CSV: options.csv = optarg; break;
        default: fputs(usage, stderr); exit(2);
        }
    }
    if (!options.port || !options.segments || optind < count || !(options.summary || options.csv)) {
        fputs(usage, stderr);
        exit(2);
    }
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)options.port);
    if (inet_pton(AF_INET, options.host, &address.sin_addr) != 1)
        fail("--host: expected an IPv4 address, got %s", options.host);
}

/* When every request is due. */
static double plan(void) {
    double start_s = LEAD_S;
    for (char *at = options.segments; at;) {
        char *next = strchr(at, ','), *colon = strchr(at, ':');
        if (next) *next++ = 0;
        if (!colon || n_segments == MAX_SEGMENTS)
            fail("--segments: expected up to %d RATE:SECONDS, got %s", MAX_SEGMENTS, at);
        *colon = 0;
        struct segment *segment = &segments[n_segments++];
        segment->rate = number(at, 0, 1e6, "segments");
        segment->seconds = number(colon + 1, 0.001, MAX_TOTAL_S, "segments");
        segment->start_s = start_s;
        segment->first = n_requests;
        segment->oldest_idle = segment->newest_idle = -1;
        start_s += segment->seconds;
        const double count = floor(segment->rate * segment->seconds + 1e-9);
        if (n_requests + count > MAX_REQUESTS || start_s > MAX_TOTAL_S)
            fail("--segments: expected at most %d requests in %g s", MAX_REQUESTS, MAX_TOTAL_S);
        segment->count = (uint32_t)count;
        n_requests += segment->count;
        at = next;
    }
    requests = zeros(n_requests, sizeof *requests);
    for (int at = 0; at < n_segments; at++)
        for (uint32_t index = 0; index < segments[at].count; index++)
            requests[segments[at].first + index] = (struct request){
                .due_s = segments[at].start_s + index / segments[at].rate,
                .sent_s = -1, .connection = -1, .segment = (uint8_t)at};
    outstanding = n_requests;
    return start_s;
}

static char *read_file(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail("%s: %s", path, strerror(errno));
    *length = (size_t)ftell(file);
    rewind(file);
    char *bytes = grown(NULL, *length + 1, 1);
    if (fread(bytes, 1, *length, file) != *length) fail("%s: can't be read", path);
    fclose(file);
    return bytes;
}

static void write_message(void) {
    size_t body_bytes = 0;
    char *body = options.body ? read_file(options.body, &body_bytes) : NULL;
    char *head, *about = NULL;
    if (body && asprintf(&about, "Content-Type: %s\r\nContent-Length: %zu\r\n", options.type,
                         body_bytes) < 0)
        fail("out of memory");
    const int head_bytes =
        asprintf(&head, "%s %s HTTP/1.1\r\nHost: %s:%d\r\n%s%s\r\n", body ? "POST" : "GET",
                 options.path, options.host, options.port, about ? about : "",
                 options.headers ? options.headers : "");
    if (head_bytes < 0) fail("out of memory");
    message_bytes = (size_t)head_bytes + body_bytes;
    message = grown(head, message_bytes + 1, 1);
    if (body) memcpy(message + head_bytes, body, body_bytes);
    free(about);
    free(body);
}

static void make_connections(void) {
    const size_t count = (size_t)options.connections * (size_t)n_segments;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < count + SPARE_FILES) {
        limit.rlim_cur = count + SPARE_FILES;
        if (limit.rlim_max < limit.rlim_cur || setrlimit(RLIMIT_NOFILE, &limit))
            fail("--connections: expected room for %zu open files, got %ju. Raise `ulimit -n`.",
                 count + SPARE_FILES, (uintmax_t)limit.rlim_max);
    }
    connections = zeros(count, sizeof *connections);
    closed = zeros(count, sizeof *closed);
    for (size_t at = 0; at < count; at++) {
        connections[at].fd = -1;
        connections[at].request = -1;
        closed[n_closed++] = (int32_t)(count - 1 - at);
    }
}

int main(int count, char **words) {
    read_options(count, words);
    const double end_s = plan();
    write_message();
    make_connections();
    prctl(PR_SET_TIMERSLACK, 1000ul); /* ns; 50,000 would be late by a fifth of a quick answer */
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poll_fd < 0) fail("epoll: %s", strerror(errno));
    /* Each attempt ends by its timeout; should that fail, the system ends the program. */
    const double pause_s = options.honour_retry_after ? MAX_RETRY_AFTER_S : BACKOFF_S;
    alarm((unsigned)(end_s + (options.retries + 1) * (options.timeout_s + pause_s)) + 30);
    clock_gettime(CLOCK_MONOTONIC, &began);
    run();
    const double used_s = cpu_s();
    if (options.csv) write_csv();
    if (options.summary)
        for (int at = 0; at < n_segments; at++)
            print_summary(at, at + 1 < n_segments ? segments[at + 1].cpu_start_s : used_s);
    return 0;
}
