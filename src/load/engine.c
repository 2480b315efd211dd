#define _GNU_SOURCE

#include "engine.h"

#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NONE UINT32_MAX
#define TIMER NONE            /* the epoll data of the timer */
#define EVENTS 256
#define READ_BYTES 65536u
#define CHECK_S 0.1           /* between questions whether to end */
#define CLOSED_TURN_S 0.01    /* of a closed loop: how late its end or a timeout is noticed */
#define REOPEN_S 0.01         /* of a closed loop: after a connection that couldn't be opened */
#define MAX_RACE_S 0.005      /* a connection the server closes this soon was closing already */

enum state { CLOSED, CONNECTING, BUSY, IDLE };

struct connection {
    int fd;
    enum state state;
    uint32_t request;      /* NONE: it has none */
    bool used;             /* it has answered before */
    bool writes;           /* epoll is asked to tell when it can be written to */
    size_t written;        /* bytes of the request */
    double opened_s;
    uint32_t older, newer; /* in the list of idle connections, or the next closed one */
    struct answer answer;
};

enum phase { AHEAD, WAITING, ASKED, ENDED };

struct request {
    uint32_t connection; /* that it is asked on; NONE: it waits for one */
    uint32_t next;       /* of those that are to be sent once more */
    uint8_t phase;
    bool resent;
};

struct run {
    struct load *load;
    int poll_fd, timer_fd;
    struct connection *connections;
    struct request *requests;
    uint32_t first_closed, oldest_idle, newest_idle, open;
    uint32_t waiting;    /* none before this one waits, but those in `again` */
    uint32_t expiring;   /* none before this one can time out */
    uint32_t pass_first; /* the first request that was begun in this turn */
    uint32_t again;      /* the first that is to be sent once more */
    uint32_t ended;
    double turn_s;       /* when this turn began */
    double armed_s, reopen_s, check_s;
    char *buffer;
};

static double now_s(const struct run *run) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec - run->load->start_s + (double)now.tv_nsec * 1e-9;
}

static bool is_closed_loop(const struct run *run) { return run->load->end_s > 0; }

static const struct blob *blob_of(const struct run *run, uint32_t request) {
    const struct load *load = run->load;
    return &load->blobs[load->which ? load->which[request] : request % load->n_blobs];
}

/* ---- requests ------------------------------------------------------------------------------- */

static void end_request(struct run *run, uint32_t index, int result, double at_s) {
    run->load->result[index] = (int16_t)result;
    run->load->done_s[index] = at_s;
    run->requests[index].phase = ENDED;
    run->requests[index].connection = NONE;
    run->ended++;
}

/* ---- connections ---------------------------------------------------------------------------- */

/* Idle connections are used in turn, the longest idle first: many clients, not one busy one. */
static void rest(struct run *run, uint32_t index) {
    struct connection *connection = &run->connections[index];
    connection->state = IDLE;
    connection->request = NONE;
    connection->older = run->newest_idle;
    connection->newer = NONE;
    if (run->newest_idle != NONE)
        run->connections[run->newest_idle].newer = index;
    else
        run->oldest_idle = index;
    run->newest_idle = index;
}

static void wake(struct run *run, uint32_t index) {
    const struct connection *connection = &run->connections[index];
    if (connection->older != NONE)
        run->connections[connection->older].newer = connection->newer;
    else
        run->oldest_idle = connection->newer;
    if (connection->newer != NONE)
        run->connections[connection->newer].older = connection->older;
    else
        run->newest_idle = connection->older;
}

static void close_connection(struct run *run, uint32_t index) {
    struct connection *connection = &run->connections[index];
    if (connection->state == IDLE) wake(run, index);
    close(connection->fd);
    connection->fd = -1;
    connection->state = CLOSED;
    connection->request = NONE;
    connection->newer = run->first_closed;
    run->first_closed = index;
    run->open--;
}

static int result_of(int error) {
    switch (error) {
    case 0: return CUT;
    case ECONNREFUSED:
    case ENOENT: return REFUSED; /* ENOENT: a Unix socket that isn't there */
    case ECONNRESET:
    case EPIPE: return RESET;
    case EAGAIN: return UNSENT; /* a Unix socket whose queue of clients is full */
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EADDRNOTAVAIL: return OWN_LIMIT;
    default: return NOT_HTTP;
    }
}

/* In a closed loop a connection is opened before anything is asked on it: that it couldn't be is
 * what came of a request all the same. */
static void note_unopened(struct run *run, double since_s, int result) {
    struct load *load = run->load;
    const double at_s = now_s(run);
    run->reopen_s = at_s + REOPEN_S;
    if (load->begun == load->count || at_s >= load->end_s) return;
    const uint32_t index = load->begun++;
    load->due_s[index] = since_s;
    load->sent_s[index] = -1;
    load->late_s[index] = 0;
    end_request(run, index, result, at_s);
}

/* A connection broke (`error` 0: it was closed), and with it the request it had.
 *
 * If the server closed an idle connection while the request was on its way to it, nobody has seen
 * the request: it is sent once more, on a new connection. */
static void broken(struct run *run, uint32_t index, int error) {
    struct connection *connection = &run->connections[index];
    const uint32_t at = connection->request;
    const bool is_unread = connection->used && connection->answer.stage == HEAD &&
                           connection->answer.head_bytes == 0;
    const bool was_opening = connection->state == CONNECTING;
    const double since_s = connection->opened_s, at_s = now_s(run);
    close_connection(run, index);
    if (at == NONE) {
        if (was_opening) note_unopened(run, since_s, result_of(error));
        return;
    }
    struct request *request = &run->requests[at];
    if (is_unread && !request->resent && at_s - run->load->sent_s[at] < MAX_RACE_S) {
        request->resent = true;
        request->phase = WAITING;
        request->connection = NONE;
        request->next = run->again;
        run->again = at;
        run->load->resent++;
        return;
    }
    end_request(run, at, result_of(error), at_s);
}

static void watch(struct run *run, uint32_t index, int operation, bool writes) {
    struct connection *connection = &run->connections[index];
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (writes ? EPOLLOUT : 0),
                                .data.u32 = index};
    connection->writes = writes;
    epoll_ctl(run->poll_fd, operation, connection->fd, &event);
}

/* Write the request, or what is left of it. False: the connection is gone. */
static bool write_on(struct run *run, uint32_t index) {
    struct connection *connection = &run->connections[index];
    const struct blob *blob = blob_of(run, connection->request);
    while (connection->written < blob->length) {
        const ssize_t sent = send(connection->fd, blob->bytes + connection->written,
                                  blob->length - connection->written, MSG_NOSIGNAL);
        if (sent >= 0) {
            connection->written += (size_t)sent;
        } else if (errno == EAGAIN) {
            break; /* the rest goes when the socket has room */
        } else if (errno != EINTR) {
            /* The server may have answered before it closed; then that is still to be read. */
            if (connection->written > 0) break;
            broken(run, index, errno);
            return false;
        }
    }
    const bool writes = connection->written < blob->length;
    if (writes != connection->writes) watch(run, index, EPOLL_CTL_MOD, writes);
    return true;
}

/* `base_s`: since when this side could have sent it. */
static void send_on(struct run *run, uint32_t index, double base_s) {
    struct connection *connection = &run->connections[index];
    const double at_s = now_s(run);
    connection->state = BUSY;
    connection->written = 0;
    answer_begin(&connection->answer, run->load->needle);
    run->requests[connection->request].phase = ASKED;
    run->load->sent_s[connection->request] = at_s;
    run->load->late_s[connection->request] += at_s - base_s;
    write_on(run, index);
}

/* Open a connection for a request, or for whichever comes first (NONE). */
static void open_for(struct run *run, uint32_t request) {
    struct load *load = run->load;
    const uint32_t index = run->first_closed;
    struct connection *connection = &run->connections[index];
    const int family = load->address.any.sa_family, on = 1;
    run->first_closed = connection->newer;
    run->open++;
    load->opened++;
    connection->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    connection->state = CONNECTING;
    connection->request = request;
    connection->used = false;
    connection->opened_s = now_s(run);
    answer_begin(&connection->answer, load->needle);
    if (request != NONE) run->requests[request].connection = index;
    if (connection->fd < 0) {
        broken(run, index, errno);
        return;
    }
    if (family != AF_UNIX)
        setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(connection->fd, &load->address.any, load->address_bytes) && errno != EINPROGRESS) {
        broken(run, index, errno);
        return;
    }
    watch(run, index, EPOLL_CTL_ADD, true); /* it can be written to once it is open */
}

/* ---- answers -------------------------------------------------------------------------------- */

static void ask_next(struct run *run, uint32_t index);

static void answered(struct run *run, uint32_t index, bool is_spoilt) {
    struct connection *connection = &run->connections[index];
    const struct answer *answer = &connection->answer;
    const bool is_good = answer->status >= 200 && answer->status < 300;
    const bool is_half_sent = connection->written < blob_of(run, connection->request)->length;
    const int result = is_good && !answer->found ? OTHER_BODY : answer->status;
    end_request(run, connection->request, result, now_s(run));
    connection->request = NONE;
    connection->used = true;
    /* An answer to a request that isn't sent completely leaves the connection in no known state. */
    if (answer->close || is_spoilt || is_half_sent)
        close_connection(run, index);
    else if (is_closed_loop(run) && run->again == NONE)
        ask_next(run, index);
    else
        rest(run, index);
}

/* Read what there is, as much as fits the buffer: a server that never ends takes its turns. */
static void read_on(struct run *run, uint32_t index) {
    struct connection *connection = &run->connections[index];
    const ssize_t got = recv(connection->fd, run->buffer, READ_BYTES, 0);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (got <= 0) {
        if (got == 0 && answer_ends(&connection->answer))
            answered(run, index, true);
        else
            broken(run, index, got < 0 ? errno : 0);
        return;
    }
    size_t used;
    switch (answer_read(&connection->answer, run->load->needle, run->buffer, (size_t)got, &used)) {
    case COMPLETE: answered(run, index, used < (size_t)got); break;
    case MORE: break;
    case NO_HTTP: {
        const uint32_t request = connection->request;
        close_connection(run, index);
        end_request(run, request, NOT_HTTP, now_s(run));
    }
    }
}

static void connected(struct run *run, uint32_t index, uint32_t events) {
    struct connection *connection = &run->connections[index];
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        broken(run, index, error);
    } else if (events & EPOLLOUT) {
        if (connection->request != NONE) {
            send_on(run, index, run->turn_s);
        } else {
            watch(run, index, EPOLL_CTL_MOD, false);
            if (run->again == NONE)
                ask_next(run, index);
            else
                rest(run, index);
        }
    } else if (events & (EPOLLHUP | EPOLLERR)) {
        broken(run, index, 0);
    }
}

static void handle(struct run *run, uint32_t index, uint32_t events) {
    struct connection *connection = &run->connections[index];
    if (connection->state == CONNECTING) {
        connected(run, index, events);
        return;
    }
    if (connection->state == BUSY && (events & EPOLLOUT) && !write_on(run, index)) return;
    if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))) return;
    if (connection->state == IDLE)
        close_connection(run, index); /* closed by the server, or it says what nobody asked */
    else if (connection->state == BUSY)
        read_on(run, index);
}

/* ---- the loop ------------------------------------------------------------------------------- */

static void expire(struct run *run, double at_s) {
    const struct load *load = run->load;
    for (; run->expiring < load->begun; run->expiring++) {
        const uint32_t at = run->expiring;
        const struct request *request = &run->requests[at];
        if (request->phase == ENDED) continue;
        if (load->due_s[at] + load->timeout_s > at_s) return;
        const int result = request->phase == ASKED ? TIMED_OUT : UNSENT;
        const uint32_t connection = request->connection;
        end_request(run, at, result, at_s);
        if (connection != NONE) close_connection(run, connection);
    }
}

/* The requests that met a closing connection, each on a new one. */
static void send_again(struct run *run) {
    while (run->again != NONE) {
        const uint32_t at = run->again;
        struct request *request = &run->requests[at];
        if (request->phase == WAITING) {
            /* One as old as the one that was closing may be closing, too. */
            if (run->open == run->load->max_connections && run->oldest_idle != NONE)
                close_connection(run, run->oldest_idle);
            if (run->open == run->load->max_connections) return;
            run->again = request->next;
            open_for(run, at);
        } else {
            run->again = request->next; /* it has timed out */
        }
    }
}

/* Open loop: begin what is due, and give what waits a connection, as long as there is one. */
static void send_due(struct run *run) {
    struct load *load = run->load;
    const double at_s = now_s(run);
    run->pass_first = load->begun;
    while (load->begun < load->count && load->due_s[load->begun] <= at_s) {
        const uint32_t index = load->begun++;
        run->requests[index].phase = WAITING;
        load->late_s[index] = at_s - load->due_s[index];
    }
    for (; run->waiting < load->begun; run->waiting++) {
        const uint32_t index = run->waiting;
        struct request *request = &run->requests[index];
        if (request->phase != WAITING || request->resent) continue;
        const double base_s = index >= run->pass_first ? at_s : run->turn_s;
        const uint32_t idle = run->oldest_idle;
        if (idle != NONE) {
            wake(run, idle);
            run->connections[idle].request = index;
            request->connection = idle;
            send_on(run, idle, base_s);
        } else if (run->open < load->max_connections) {
            load->late_s[index] += now_s(run) - base_s;
            open_for(run, index);
        } else {
            return;
        }
    }
}

/* Closed loop: send the next request on a connection that is free. */
static void ask_next(struct run *run, uint32_t index) {
    struct load *load = run->load;
    const double at_s = now_s(run);
    if (at_s < 0 || load->begun == load->count || at_s >= load->end_s) {
        rest(run, index);
        return;
    }
    const uint32_t at = load->begun++;
    load->due_s[at] = at_s;
    load->late_s[at] = 0;
    run->connections[index].request = at;
    run->requests[at].connection = index;
    send_on(run, index, run->turn_s);
}

static void keep_asking(struct run *run) {
    struct load *load = run->load;
    const double at_s = now_s(run);
    if (at_s >= load->end_s || load->begun == load->count) return;
    for (uint32_t index = run->oldest_idle; index != NONE; index = run->oldest_idle) {
        wake(run, index);
        ask_next(run, index);
        if (run->connections[index].state == IDLE) break; /* it is too soon, or too late */
    }
    for (uint32_t index = 0; index < load->max_connections; index++) {
        const struct connection *connection = &run->connections[index];
        if (connection->state == CONNECTING && connection->request == NONE &&
            at_s - connection->opened_s > load->timeout_s) {
            const double since_s = connection->opened_s;
            close_connection(run, index);
            note_unopened(run, since_s, UNSENT);
        }
    }
    while (run->open < load->max_connections && at_s >= run->reopen_s) open_for(run, NONE);
}

static bool is_over(const struct run *run, double at_s) {
    const struct load *load = run->load;
    if (run->ended < load->begun) return false;
    if (load->begun == load->count) return true;
    return is_closed_loop(run) && at_s >= load->end_s;
}

static void arm(struct run *run, double at_s) {
    const struct load *load = run->load;
    double next_s = fmin(run->check_s, is_closed_loop(run) ? at_s + CLOSED_TURN_S : INFINITY);
    if (!is_closed_loop(run) && load->begun < load->count)
        next_s = fmin(next_s, load->due_s[load->begun]);
    if (run->expiring < load->begun)
        next_s = fmin(next_s, load->due_s[run->expiring] + load->timeout_s);
    if (next_s == run->armed_s) return;
    run->armed_s = next_s;
    const double instant_s = fmax(next_s + load->start_s, 1e-9), whole_s = floor(instant_s);
    const struct itimerspec when = {
        .it_value = {(time_t)whole_s, (long)((instant_s - whole_s) * 1e9)}};
    timerfd_settime(run->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void loop(struct run *run) {
    struct epoll_event events[EVENTS];
    struct load *load = run->load;
    double at_s = now_s(run);
    run->turn_s = at_s;
    run->check_s = at_s;
    while (!is_over(run, at_s)) {
        if (at_s >= run->check_s) {
            if (load->is_to_end(load->asked_with)) return;
            at_s = now_s(run);
            run->check_s = at_s + CHECK_S;
        }
        expire(run, at_s);
        send_again(run);
        if (is_closed_loop(run))
            keep_asking(run);
        else
            send_due(run);
        arm(run, at_s);
        const int count = epoll_wait(run->poll_fd, events, EVENTS, -1);
        run->turn_s = at_s = now_s(run);
        load->turns++;
        /* Within this loop connections are closed, but never opened: none of these is another's. */
        for (int at = 0; at < count; at++) {
            if (events[at].data.u32 == TIMER)
                run->armed_s = -INFINITY;
            else if (run->connections[events[at].data.u32].fd >= 0)
                handle(run, events[at].data.u32, events[at].events);
        }
        at_s = now_s(run);
    }
}

/* ---- the start and the end ------------------------------------------------------------------ */

static int prepare(struct run *run) {
    const struct load *load = run->load;
    run->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    /* A timer of its own, as it is more exact than the timeout of epoll. */
    run->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (run->poll_fd < 0 || run->timer_fd < 0) return errno;
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = TIMER};
    if (epoll_ctl(run->poll_fd, EPOLL_CTL_ADD, run->timer_fd, &event)) return errno;
    run->connections = calloc(load->max_connections, sizeof *run->connections);
    run->requests = calloc(load->count ? load->count : 1, sizeof *run->requests);
    run->buffer = malloc(READ_BYTES);
    if (!run->connections || !run->requests || !run->buffer) return ENOMEM;
    for (uint32_t at = 0; at < load->max_connections; at++) {
        run->connections[at].fd = -1;
        run->connections[at].request = NONE;
        run->connections[at].newer = at + 1 < load->max_connections ? at + 1 : NONE;
    }
    for (uint32_t at = 0; at < load->count && !is_closed_loop(run); at++) {
        run->requests[at].connection = NONE;
        load->sent_s[at] = -1;
    }
    return 0;
}

int load_run(struct load *load) {
    struct run run = {.load = load, .first_closed = 0, .oldest_idle = NONE, .newest_idle = NONE,
                      .again = NONE, .armed_s = -INFINITY, .reopen_s = -INFINITY};
    const int error = prepare(&run);
    if (!error) loop(&run);
    for (uint32_t at = 0; run.connections && at < load->max_connections; at++) {
        if (run.connections[at].fd >= 0) close(run.connections[at].fd);
        free(run.connections[at].answer.head);
    }
    if (run.poll_fd >= 0) close(run.poll_fd);
    if (run.timer_fd >= 0) close(run.timer_fd);
    free(run.connections);
    free(run.requests);
    free(run.buffer);
    return error;
}
