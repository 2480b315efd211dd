#include "plain.h"

#include <string.h>

#define MAX_LENGTH_DIGITS 9 /* fits 32 bits whatever the digits */

const char *const plain_names[PLAIN_NAMES] = {
    [NAME_TE] = "te",
    [NAME_HOST] = "host",
    [NAME_ACCEPT] = "accept",
    [NAME_COOKIE] = "cookie",
    [NAME_EXPECT] = "expect",
    [NAME_ORIGIN] = "origin",
    [NAME_REFERER] = "referer",
    [NAME_TRAILER] = "trailer",
    [NAME_UPGRADE] = "upgrade",
    [NAME_CONNECTION] = "connection",
    [NAME_KEEP_ALIVE] = "keep-alive",
    [NAME_TRACESTATE] = "tracestate",
    [NAME_USER_AGENT] = "user-agent",
    [NAME_TRACEPARENT] = "traceparent",
    [NAME_CONTENT_TYPE] = "content-type",
    [NAME_X_REQUEST_ID] = "x-request-id",
    [NAME_AUTHORIZATION] = "authorization",
    [NAME_CACHE_CONTROL] = "cache-control",
    [NAME_CONTENT_LENGTH] = "content-length",
    [NAME_ACCEPT_ENCODING] = "accept-encoding",
    [NAME_ACCEPT_LANGUAGE] = "accept-language",
    [NAME_X_FORWARDED_FOR] = "x-forwarded-for",
    [NAME_CONTENT_ENCODING] = "content-encoding",
    [NAME_PROXY_CONNECTION] = "proxy-connection",
    [NAME_TRANSFER_ENCODING] = "transfer-encoding",
    [NAME_X_FORWARDED_PROTO] = "x-forwarded-proto",
    [NAME_DEADLINE_MS] = "x-twofold-deadline-ms",
    [NAME_INFERENCE_LENGTH] = "inference-header-content-length",
};

_Static_assert(PLAIN_NAMES <= 64, "the names seen are bits of a word");

const uint8_t plain_lower[256] = {
    ['!'] = '!', ['#'] = '#', ['$'] = '$', ['%'] = '%', ['&'] = '&', ['\''] = '\'', ['*'] = '*',
    ['+'] = '+', ['-'] = '-', ['.'] = '.', ['^'] = '^', ['_'] = '_', ['`'] = '`',   ['|'] = '|',
    ['~'] = '~', ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4',   ['5'] = '5',
    ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9', ['a'] = 'a', ['b'] = 'b',   ['c'] = 'c',
    ['d'] = 'd', ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i',   ['j'] = 'j',
    ['k'] = 'k', ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p',   ['q'] = 'q',
    ['r'] = 'r', ['s'] = 's', ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w',   ['x'] = 'x',
    ['y'] = 'y', ['z'] = 'z', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd',   ['E'] = 'e',
    ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k',   ['L'] = 'l',
    ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r',   ['S'] = 's',
    ['T'] = 't', ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y',   ['Z'] = 'z',
};

/* The request's bytes, of which those before `at` are read. */
struct reading {
    const uint8_t *bytes, *at, *end;
};

/* Read these bytes, if they come next. */
static int take(struct reading *reading, const char *text, size_t size) {
    if ((size_t)(reading->end - reading->at) < size || memcmp(reading->at, text, size)) return 0;
    reading->at += size;
    return 1;
}

static struct span span_from(const struct reading *reading, const uint8_t *first) {
    return (struct span){(uint32_t)(first - reading->bytes), (uint32_t)(reading->at - first)};
}

static int are_alike(const uint8_t *a, const uint8_t *b, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (plain_lower[a[i]] != plain_lower[b[i]]) return 0;
    return 1;
}

/* ---- the request line -------------------------------------------------------------------- */

static int read_method(struct reading *reading, struct plain *plain) {
    if (take(reading, "POST ", 5)) plain->method = PLAIN_POST;
    else if (take(reading, "GET ", 4)) plain->method = PLAIN_GET;
    else if (take(reading, "HEAD ", 5)) plain->method = PLAIN_HEAD;
    else return 0;
    return 1;
}

static int read_request_line(struct reading *reading, struct plain *plain) {
    if (!read_method(reading, plain)) return 0;
    const uint8_t *first = reading->at;
    if (first == reading->end || *first != '/') return 0;
    while (reading->at < reading->end && *reading->at > ' ' && *reading->at <= '~') reading->at++;
    plain->target = span_from(reading, first);
    return take(reading, " HTTP/1.1\r\n", 11);
}

/* ---- headers ----------------------------------------------------------------------------- */

/* Which of the names from `first` to `last` it is; they have its size. */
static enum plain_name find(const uint8_t *name, size_t size, enum plain_name first,
                            enum plain_name last) {
    for (int known = first; known <= (int)last; known++)
        if (are_alike(name, (const uint8_t *)plain_names[known], size))
            return (enum plain_name)known;
    return NAME_OTHER;
}

static enum plain_name known_name(const uint8_t *name, size_t size) {
    switch (size) {
    case 2: return find(name, size, NAME_TE, NAME_TE);
    case 4: return find(name, size, NAME_HOST, NAME_HOST);
    case 6: return find(name, size, NAME_ACCEPT, NAME_ORIGIN);
    case 7: return find(name, size, NAME_REFERER, NAME_UPGRADE);
    case 10: return find(name, size, NAME_CONNECTION, NAME_USER_AGENT);
    case 11: return find(name, size, NAME_TRACEPARENT, NAME_TRACEPARENT);
    case 12: return find(name, size, NAME_CONTENT_TYPE, NAME_X_REQUEST_ID);
    case 13: return find(name, size, NAME_AUTHORIZATION, NAME_CACHE_CONTROL);
    case 14: return find(name, size, NAME_CONTENT_LENGTH, NAME_CONTENT_LENGTH);
    case 15: return find(name, size, NAME_ACCEPT_ENCODING, NAME_X_FORWARDED_FOR);
    case 16: return find(name, size, NAME_CONTENT_ENCODING, NAME_PROXY_CONNECTION);
    case 17: return find(name, size, NAME_TRANSFER_ENCODING, NAME_X_FORWARDED_PROTO);
    case 21: return find(name, size, NAME_DEADLINE_MS, NAME_DEADLINE_MS);
    case 31: return find(name, size, NAME_INFERENCE_LENGTH, NAME_INFERENCE_LENGTH);
    default: return NAME_OTHER;
    }
}

static int read_name(struct reading *reading, struct plain_header *header) {
    const uint8_t *first = reading->at;
    while (reading->at < reading->end && plain_lower[*reading->at]) reading->at++;
    header->name = span_from(reading, first);
    header->known = known_name(first, header->name.size);
    return header->name.size && take(reading, ":", 1);
}

/* Parsers differ in whether they keep spaces after a value: one with such isn't plain. */
static int read_value(struct reading *reading, struct plain_header *header) {
    while (reading->at < reading->end && (*reading->at == ' ' || *reading->at == '\t'))
        reading->at++;
    const uint8_t *first = reading->at;
    while (reading->at < reading->end && *reading->at >= ' ' && *reading->at <= '~') reading->at++;
    header->value = span_from(reading, first);
    if (header->value.size && reading->at[-1] == ' ') return 0;
    return take(reading, "\r\n", 2);
}

static int is_repeated(const uint8_t *bytes, const struct plain *plain,
                       const struct plain_header *header) {
    for (uint32_t i = 0; i < plain->n_headers; i++) {
        const struct span *other = &plain->headers[i].name;
        if (other->size == header->name.size &&
            are_alike(bytes + other->first, bytes + header->name.first, other->size))
            return 1;
    }
    return 0;
}

/* What the names say that change how a request is to be read. */
struct told {
    int has_host;
    uint32_t body_bytes;
};

static int read_length(const uint8_t *digits, uint32_t count, uint32_t *number) {
    if (!count || count > MAX_LENGTH_DIGITS) return 0;
    *number = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (digits[i] < '0' || digits[i] > '9') return 0;
        *number = *number * 10 + (digits[i] - '0');
    }
    return 1;
}

/* Heed a header; 0 if no plain request has it. */
static int heed(const uint8_t *value, const struct plain_header *header, struct plain *plain,
                struct told *told) {
    const uint32_t size = header->value.size;
    switch (header->known) {
    case NAME_HOST: told->has_host = 1; return !memchr(value, ',', size);
    case NAME_CONTENT_LENGTH: return read_length(value, size, &told->body_bytes);
    case NAME_CONNECTION:
        plain->asks_to_keep_alive = 1;
        return size == 10 && are_alike(value, (const uint8_t *)"keep-alive", size);
    case NAME_TE:
    case NAME_EXPECT:
    case NAME_TRAILER:
    case NAME_UPGRADE:
    case NAME_PROXY_CONNECTION:
    case NAME_TRANSFER_ENCODING: return 0;
    default: return 1;
    }
}

/* Read all headers and the empty line after them. */
static int read_headers(struct reading *reading, const struct plain_limits *limits,
                        struct plain *plain, struct told *told) {
    uint64_t seen = 0; /* the known names, as bits */
    size_t header_bytes = 0;
    while (!take(reading, "\r\n", 2)) {
        if (plain->n_headers == MAX_PLAIN_HEADERS) return 0;
        struct plain_header *header = &plain->headers[plain->n_headers];
        if (!read_name(reading, header) || !read_value(reading, header)) return 0;
        header_bytes += (size_t)header->name.size + header->value.size + 4;
        if (header_bytes > limits->max_header_bytes) return 0;
        const uint64_t bit = (uint64_t)1 << header->known;
        if (header->known == NAME_OTHER ? is_repeated(reading->bytes, plain, header)
                                        : (seen & bit) != 0)
            return 0;
        seen |= bit;
        if (!heed(reading->bytes + header->value.first, header, plain, told)) return 0;
        plain->n_headers++;
    }
    return 1;
}

/* ---- all of it --------------------------------------------------------------------------- */

int plain_scan(const uint8_t *bytes, size_t size, const struct plain_limits *limits,
               struct plain *plain) {
    if (!size || size > UINT32_MAX) return 0;
    struct reading reading = {bytes, bytes, bytes + size};
    struct told told = {0, 0};
    plain->n_headers = 0;
    plain->asks_to_keep_alive = 0;
    if (!read_request_line(&reading, plain) || plain->target.size > limits->max_url_bytes ||
        !read_headers(&reading, limits, plain, &told) || !told.has_host)
        return 0;
    plain->body = (struct span){(uint32_t)(reading.at - bytes), told.body_bytes};
    return told.body_bytes == (size_t)(reading.end - reading.at) &&
           told.body_bytes <= limits->max_body_bytes &&
           (!told.body_bytes || plain->method == PLAIN_POST);
}
