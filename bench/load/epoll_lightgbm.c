/* The yardstick: a model server with no Python at all; Linux only, one thread, for benchmarks.
 *
 * It answers `POST {"row": [numbers]}` with `{"prediction": 0.83...}` by LightGBM's quickest call
 * for one row, and any GET with a constant. It keeps connections open, takes pipelined requests,
 * and has nothing else of a server: no timeouts, no limits but a request's size, no metrics.
 *
 * usage: epoll_lightgbm PORT MODEL.txt FEATURES
 */
#define _GNU_SOURCE /* accept4, memmem */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* From LightGBM's c_api.h, which its Python package doesn't bring. */
int LGBM_BoosterCreateFromModelfile(const char *file, int *n_iterations, void **booster);
int LGBM_BoosterPredictForMatSingleRowFastInit(void *booster, int predict_type, int start,
                                               int count, int data_type, int32_t n_columns,
                                               const char *parameters, void **fast);
int LGBM_BoosterPredictForMatSingleRowFast(void *fast, const void *row, int64_t *n_out,
                                           double *out);
const char *LGBM_GetLastError(void);
enum { FLOAT32 = 0, PREDICT_NORMAL = 0, ALL_ITERATIONS = -1 };

#define MAX_FILES 65536
#define MAX_REQUEST_BYTES 65536
#define MAX_FEATURES 1024
#define EVENTS 256
#define BACKLOG 2048
#define ANSWER_BYTES 256

/* Bytes of one connection that aren't answered yet; 0 behind the last. */
struct pending {
    size_t length;
    char bytes[MAX_REQUEST_BYTES + 1];
};

static struct pending *pending[MAX_FILES];
static void *fast;
static int n_features;

/* Write an answer. Returns its length. */
static size_t respond(char *out, const char *status, const char *body) {
    return (size_t)snprintf(out, ANSWER_BYTES,
                            "HTTP/1.1 %s\r\nContent-Type: application/json\r\n"
                            "Content-Length: %zu\r\n\r\n%s",
                            status, strlen(body), body);
}

/* Read `{"row": [numbers]}`; false if it is anything else. */
static bool read_row(const char *body, float *row) {
    const char *at = strstr(body, "\"row\"");
    if (!at || !(at = strchr(at + 5, '['))) return false;
    for (int feature = 0; feature < n_features; feature++) {
        char *end;
        row[feature] = (float)strtod(at + 1, &end);
        if (end == at + 1) return false;
        for (at = end; *at == ' ';) at++;
        if (*at != (feature + 1 < n_features ? ',' : ']')) return false;
    }
    return true;
}

static size_t predict(const char *body, char *out) {
    float row[MAX_FEATURES];
    int64_t n_out;
    double prediction;
    char text[64];
    if (!read_row(body, row))
        return respond(out, "422 Unprocessable Content", "{\"error\": \"no such row\"}");
    if (LGBM_BoosterPredictForMatSingleRowFast(fast, row, &n_out, &prediction))
        return respond(out, "500 Internal Server Error", "{\"error\": \"LightGBM failed\"}");
    snprintf(text, sizeof text, "{\"prediction\": %.17g}", prediction);
    return respond(out, "200 OK", text);
}

/* What a head says of the length of its body, which begins at `body`. */
static long body_length(const char *head, const char *body) {
    while ((head = memmem(head, (size_t)(body - head), "\r\n", 2)))
        if (!strncasecmp(head += 2, "content-length:", 15)) return strtol(head + 15, NULL, 10);
    return 0;
}

/* Answer the complete requests of a connection. False: it has to be closed. */
static bool answer(int fd, struct pending *from) {
    char *at = from->bytes, *const end = from->bytes + from->length;
    for (;;) {
        char out[ANSWER_BYTES], *body = memmem(at, (size_t)(end - at), "\r\n\r\n", 4);
        if (!body) break;
        body += 4;
        const long length = body_length(at, body);
        if (length < 0 || length > end - body) break;
        const char behind = body[length]; /* a number must not run on into the next request */
        body[length] = 0;
        const size_t bytes = strncmp(at, "GET ", 4) ? predict(body, out)
                                                    : respond(out, "200 OK", "{\"live\": true}");
        body[length] = behind;
        /* An answer fits into the empty buffer of a socket; a client that reads none is let go. */
        if (send(fd, out, bytes, MSG_NOSIGNAL) != (ssize_t)bytes) return false;
        at = body + length;
    }
    from->length = (size_t)(end - at);
    if (from->length == MAX_REQUEST_BYTES) return false;
    memmove(from->bytes, at, from->length + 1);
    return true;
}

static void accept_all(int listener, int poll_fd) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        if (fd >= MAX_FILES || !(pending[fd] || (pending[fd] = malloc(sizeof *pending[fd])))) {
            close(fd);
            continue;
        }
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        pending[fd]->length = 0;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static void read_and_answer(int fd) {
    struct pending *from = pending[fd];
    const ssize_t got = recv(fd, from->bytes + from->length, MAX_REQUEST_BYTES - from->length, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        close(fd);
        return;
    }
    from->length += (size_t)got;
    from->bytes[from->length] = 0;
    if (!answer(fd, from)) close(fd);
}

static int listen_on(int port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) || listen(fd, BACKLOG)) {
        perror("epoll_lightgbm: listen");
        exit(1);
    }
    return fd;
}

int main(int count, char **words) {
    if (count != 4 || (n_features = atoi(words[3])) < 1 || n_features > MAX_FEATURES) {
        fputs("usage: epoll_lightgbm PORT MODEL.txt FEATURES\n", stderr);
        return 2;
    }
    void *booster;
    int n_iterations;
    if (LGBM_BoosterCreateFromModelfile(words[2], &n_iterations, &booster) ||
        LGBM_BoosterPredictForMatSingleRowFastInit(booster, PREDICT_NORMAL, 0, ALL_ITERATIONS,
                                                   FLOAT32, n_features, "num_threads=1", &fast)) {
        fprintf(stderr, "epoll_lightgbm: %s\n", LGBM_GetLastError());
        return 1;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    const int listener = listen_on(atoi(words[1])), poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        const int ready = epoll_wait(poll_fd, events, EVENTS, -1);
        for (int at = 0; at < ready; at++) {
            if (events[at].data.fd == listener)
                accept_all(listener, poll_fd);
            else
                read_and_answer(events[at].data.fd);
        }
    }
}
