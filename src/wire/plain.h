/* The one plain kind of HTTP/1.1 request: recognised when it is here as a whole, and well known.
 *
 * What isn't plain isn't wrong: twofold.wire.http reads it, and says what is wrong if anything is.
 * So whatever is odd, doubtful or rare isn't plain; and what is plain, both must read alike.
 */
#ifndef TWOFOLD_PLAIN_H
#define TWOFOLD_PLAIN_H

#include <stddef.h>
#include <stdint.h>

#define MAX_PLAIN_HEADERS 64

enum plain_method { PLAIN_GET = 0, PLAIN_HEAD, PLAIN_POST, PLAIN_METHODS };

/* Names that requests often have, or that change how a request is to be read; by their size. */
enum plain_name {
    NAME_OTHER = 0,
    NAME_TE,
    NAME_HOST,
    NAME_ACCEPT,
    NAME_COOKIE,
    NAME_EXPECT,
    NAME_ORIGIN,
    NAME_REFERER,
    NAME_TRAILER,
    NAME_UPGRADE,
    NAME_CONNECTION,
    NAME_KEEP_ALIVE,
    NAME_TRACESTATE,
    NAME_USER_AGENT,
    NAME_TRACEPARENT,
    NAME_CONTENT_TYPE,
    NAME_X_REQUEST_ID,
    NAME_AUTHORIZATION,
    NAME_CACHE_CONTROL,
    NAME_CONTENT_LENGTH,
    NAME_ACCEPT_ENCODING,
    NAME_ACCEPT_LANGUAGE,
    NAME_X_FORWARDED_FOR,
    NAME_CONTENT_ENCODING,
    NAME_PROXY_CONNECTION,
    NAME_TRANSFER_ENCODING,
    NAME_X_FORWARDED_PROTO,
    NAME_DEADLINE_MS,
    NAME_INFERENCE_LENGTH,
    PLAIN_NAMES
};

/* In lower case; NULL for NAME_OTHER. */
extern const char *const plain_names[PLAIN_NAMES];

/* A part of the request's bytes. */
struct span {
    uint32_t first, size;
};

struct plain_header {
    struct span name, value; /* neither has spaces or tabs at an end; only values may be empty */
    enum plain_name known;
};

struct plain_limits {
    size_t max_header_bytes; /* of names and values, and 4 a header */
    size_t max_url_bytes;
    size_t max_body_bytes;
};

struct plain {
    enum plain_method method;
    struct span target, body;
    int asks_to_keep_alive;
    uint32_t n_headers;
    struct plain_header headers[MAX_PLAIN_HEADERS]; /* no name twice */
};

/* Whether the bytes are one whole plain request, and nothing more; only then `plain` is filled. */
int plain_scan(const uint8_t *bytes, size_t size, const struct plain_limits *limits,
               struct plain *plain);

/* A byte of a name in lower case; 0 if names don't have it (RFC 9110, 5.6.2). */
extern const uint8_t plain_lower[256];

#endif
