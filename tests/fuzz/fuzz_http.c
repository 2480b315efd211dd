/* Fuzzes the recognising of plain requests, src/wire/plain.c.
 *
 * Each case makes a plain request, which must be recognised; then it damages copies. Of every one
 * it must be said what a naive reading of RFC 9112 says, line by line: whether it is plain, and
 * where its parts are. Each is scanned in memory of its own without a byte to spare.
 */
#include "cases.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "plain.h"

#define REQUESTS "plain requests"
#define MAX_BYTES 32768
#define MUTANTS 48
#define KEEP_ALIVE "keep-alive"

struct text {
    uint8_t bytes[MAX_BYTES];
    size_t size;
};

/* ---- a plain request --------------------------------------------------------------------- */

static void put_bytes(struct text *text, const void *bytes, size_t size) {
    if (text->size + size > MAX_BYTES) fail("the fuzz itself made too much");
    if (size) memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
}

static void put(struct text *text, const char *words) { put_bytes(text, words, strlen(words)); }

static void put_byte(struct text *text, uint32_t byte) {
    const uint8_t one = (uint8_t)byte;
    put_bytes(text, &one, 1);
}

/* In any case. */
static void put_cased(struct text *text, const char *words) {
    const int is_lower = one_in(2);
    for (; *words; words++)
        put_byte(text, (uint32_t)(is_lower || one_in(2) ? *words : toupper(*words)));
}

static void put_any(struct text *text, uint32_t count, uint32_t least) {
    while (count-- > 0) put_byte(text, between(least, '~'));
}

static void put_number(struct text *text, uint32_t number) {
    char digits[16];
    snprintf(digits, sizeof digits, one_in(4) ? "%09u" : "%u", number);
    put(text, digits);
}

static int is_refused(enum plain_name name) {
    return name == NAME_TE || name == NAME_EXPECT || name == NAME_TRAILER ||
           name == NAME_UPGRADE || name == NAME_PROXY_CONNECTION ||
           name == NAME_TRANSFER_ENCODING;
}

static void put_value(struct text *text, enum plain_name name, uint32_t body_bytes) {
    if (name == NAME_CONTENT_LENGTH) put_number(text, body_bytes);
    else if (name == NAME_CONNECTION) put_cased(text, KEEP_ALIVE);
    else if (name == NAME_HOST) put(text, one_in(4) ? "" : "example.org:8080");
    else if (!one_in(8)) {
        put_any(text, one_in(2) ? 0 : below(40), '!');
        if (one_in(2)) put_any(text, below(9), ' ');
        put_any(text, 1, '!');
    }
}

static void put_header(struct text *text, enum plain_name name, uint32_t number,
                       uint32_t body_bytes) {
    static const char rare[] = "!#$%&'*+-.^_`|~09";
    if (name == NAME_OTHER) {
        put_cased(text, one_in(2) ? "x-" : "content-lengt");
        put_byte(text, (uint32_t)rare[below(sizeof rare - 1)]);
        put_number(text, number + 100000); /* no name twice */
    } else put_cased(text, plain_names[name]);
    put(text, ":");
    while (!one_in(2)) put(text, one_in(4) ? "\t" : " ");
    put_value(text, name, body_bytes);
    put(text, "\r\n");
}

/* The names of a request's headers, in any order. */
static uint32_t any_names(enum plain_name *names, int has_length) {
    const uint32_t count = one_in(16) ? MAX_PLAIN_HEADERS : between(2, 12);
    uint64_t taken = 0;
    names[0] = NAME_HOST;
    names[1] = has_length ? NAME_CONTENT_LENGTH : NAME_OTHER;
    for (uint32_t i = 2; i < count; i++) {
        const enum plain_name name = (enum plain_name)below(PLAIN_NAMES);
        const int is_new = name != NAME_HOST && name != NAME_CONTENT_LENGTH && !(taken >> name & 1);
        names[i] = is_new && !is_refused(name) ? name : NAME_OTHER;
        taken |= (uint64_t)1 << name;
    }
    for (uint32_t i = count; i-- > 1;) {
        const uint32_t other = below(i + 1);
        const enum plain_name name = names[i];
        names[i] = names[other];
        names[other] = name;
    }
    return count;
}

static const char *const methods[PLAIN_METHODS] = {"GET ", "HEAD ", "POST "};

static void make(struct text *text) {
    const enum plain_method method = (enum plain_method)below(PLAIN_METHODS);
    const uint32_t body_bytes = method == PLAIN_POST && !one_in(4) ? between(1, 300) : 0;
    enum plain_name names[MAX_PLAIN_HEADERS];
    text->size = 0;
    put(text, methods[method]);
    put(text, "/");
    put_any(text, below(one_in(8) ? 400 : 30), '!');
    put(text, " HTTP/1.1\r\n");
    const uint32_t count = any_names(names, body_bytes || one_in(3));
    for (uint32_t i = 0; i < count; i++) put_header(text, names[i], i, body_bytes);
    put(text, "\r\n");
    for (uint32_t i = 0; i < body_bytes; i++) put_byte(text, below(256));
}

/* ---- the naive reading ------------------------------------------------------------------- */

/* Where the line ends that begins at `first`; 0 if it doesn't. */
static size_t end_of_line(const uint8_t *bytes, size_t size, size_t first) {
    for (size_t at = first; at + 1 < size; at++)
        if (bytes[at] == '\r' && bytes[at + 1] == '\n') return at;
    return 0;
}

static int are_between(const uint8_t *bytes, struct span span, uint8_t least) {
    for (uint32_t i = 0; i < span.size; i++)
        if (bytes[span.first + i] < least || bytes[span.first + i] > '~') return 0;
    return 1;
}

static int is_text(const uint8_t *bytes, struct span span, const char *text) {
    return span.size == strlen(text) &&
           !strncasecmp((const char *)bytes + span.first, text, span.size);
}

static int naive_request_line(const uint8_t *bytes, size_t end, struct plain *plain) {
    static const char version[] = " HTTP/1.1";
    const size_t tail = sizeof version - 1;
    for (int method = 0; method < PLAIN_METHODS; method++) {
        const size_t head = strlen(methods[method]);
        if (end < head + 1 + tail || memcmp(bytes, methods[method], head)) continue;
        plain->method = (enum plain_method)method;
        plain->target = (struct span){(uint32_t)head, (uint32_t)(end - head - tail)};
        return bytes[head] == '/' && are_between(bytes, plain->target, '!') &&
               !memcmp(bytes + end - tail, version, tail);
    }
    return 0;
}

static int naive_header(const uint8_t *bytes, size_t first, size_t end,
                        struct plain_header *header) {
    const uint8_t *colon = memchr(bytes + first, ':', end - first);
    if (!colon || colon == bytes + first) return 0;
    for (const uint8_t *at = bytes + first; at < colon; at++)
        if (!*at || *at > '~' || (!isalnum(*at) && !strchr("!#$%&'*+-.^_`|~", *at))) return 0;
    size_t value = (size_t)(colon - bytes) + 1;
    while (value < end && (bytes[value] == ' ' || bytes[value] == '\t')) value++;
    header->name = (struct span){(uint32_t)first, (uint32_t)((size_t)(colon - bytes) - first)};
    header->value = (struct span){(uint32_t)value, (uint32_t)(end - value)};
    header->known = NAME_OTHER;
    for (int name = NAME_OTHER + 1; name < PLAIN_NAMES; name++)
        if (is_text(bytes, header->name, plain_names[name])) header->known = (enum plain_name)name;
    return are_between(bytes, header->value, ' ') && (value == end || bytes[end - 1] != ' ');
}

static const struct plain_header *with_name(const struct plain *plain, enum plain_name name) {
    for (uint32_t i = 0; i < plain->n_headers; i++)
        if (plain->headers[i].known == name) return &plain->headers[i];
    return NULL;
}

/* What the headers say together. */
static int naive_sense(const uint8_t *bytes, const struct plain_limits *limits,
                       struct plain *plain) {
    size_t header_bytes = 0, body_bytes = 0;
    for (uint32_t i = 0; i < plain->n_headers; i++) {
        const struct plain_header *header = &plain->headers[i];
        header_bytes += header->name.size + header->value.size + 4;
        if (is_refused(header->known)) return 0;
        for (uint32_t k = 0; k < i; k++)
            if (header->name.size == plain->headers[k].name.size &&
                !strncasecmp((const char *)bytes + header->name.first,
                             (const char *)bytes + plain->headers[k].name.first,
                             header->name.size))
                return 0;
    }
    const struct plain_header *host = with_name(plain, NAME_HOST);
    const struct plain_header *length = with_name(plain, NAME_CONTENT_LENGTH);
    const struct plain_header *connection = with_name(plain, NAME_CONNECTION);
    if (!host || memchr(bytes + host->value.first, ',', host->value.size)) return 0;
    if (length && (!length->value.size || length->value.size > 9)) return 0;
    for (uint32_t i = 0; length && i < length->value.size; i++) {
        const uint8_t digit = bytes[length->value.first + i];
        if (!isdigit(digit)) return 0;
        body_bytes = 10 * body_bytes + (digit - '0');
    }
    if (connection && !is_text(bytes, connection->value, KEEP_ALIVE)) return 0;
    plain->asks_to_keep_alive = connection != NULL;
    return plain->body.size == body_bytes && (!body_bytes || plain->method == PLAIN_POST) &&
           body_bytes <= limits->max_body_bytes && header_bytes <= limits->max_header_bytes &&
           plain->target.size <= limits->max_url_bytes;
}

static int naive_scan(const uint8_t *bytes, size_t size, const struct plain_limits *limits,
                      struct plain *plain) {
    size_t end = end_of_line(bytes, size, 0);
    plain->n_headers = 0;
    if (!end || !naive_request_line(bytes, end, plain)) return 0;
    for (;;) {
        const size_t first = end + 2;
        end = end_of_line(bytes, size, first);
        if (!end) return 0;
        if (end == first) break;
        if (plain->n_headers == MAX_PLAIN_HEADERS ||
            !naive_header(bytes, first, end, &plain->headers[plain->n_headers++]))
            return 0;
    }
    plain->body = (struct span){(uint32_t)(end + 2), (uint32_t)(size - end - 2)};
    return naive_sense(bytes, limits, plain);
}

/* ---- comparing --------------------------------------------------------------------------- */

static int are_same_spans(struct span a, struct span b) {
    return a.first == b.first && a.size == b.size;
}

static int are_same(const struct plain *a, const struct plain *b) {
    int same = a->method == b->method && a->asks_to_keep_alive == b->asks_to_keep_alive &&
               a->n_headers == b->n_headers && are_same_spans(a->target, b->target) &&
               are_same_spans(a->body, b->body);
    for (uint32_t i = 0; same && i < a->n_headers; i++)
        same = a->headers[i].known == b->headers[i].known &&
               are_same_spans(a->headers[i].name, b->headers[i].name) &&
               are_same_spans(a->headers[i].value, b->headers[i].value);
    return same;
}

/* Whether it is plain; what stood where it is told must not matter. */
static int compare(const struct text *text, const struct plain_limits *limits) {
    struct plain first, second, naive;
    uint8_t *bytes = checked(malloc(text->size));
    if (text->size) memcpy(bytes, text->bytes, text->size);
    memset(&first, 0xa5, sizeof first);
    memset(&second, 0x5a, sizeof second);
    const int is_plain = plain_scan(bytes, text->size, limits, &first);
    if (plain_scan(bytes, text->size, limits, &second) != is_plain)
        fail("scanned again, it isn't what it was");
    if (memcmp(bytes, text->bytes, text->size)) fail("scanning changed the bytes");
    if (naive_scan(bytes, text->size, limits, &naive) != is_plain)
        fail(is_plain ? "it isn't plain, but recognised" : "it is plain, but not recognised");
    if (is_plain && !are_same(&first, &second)) fail("scanned again, its parts are elsewhere");
    if (is_plain && !are_same(&first, &naive)) fail("its parts are elsewhere");
    free(bytes);
    return is_plain;
}

/* ---- damage ------------------------------------------------------------------------------ */

static void insert(struct text *text, size_t at, const void *bytes, size_t size) {
    const size_t rest = text->size - at;
    put_bytes(text, bytes, size); /* for the room; the rest is moved there */
    memmove(text->bytes + at + size, text->bytes + at, rest);
    memcpy(text->bytes + at, bytes, size);
}

static void cut(struct text *text, size_t at, size_t size) {
    memmove(text->bytes + at, text->bytes + at + size, text->size - at - size);
    text->size -= size;
}

/* Any place; half the time one where a line begins. */
static size_t any_place(const struct text *text) {
    const size_t from = below((uint32_t)text->size + 1);
    const size_t end = one_in(2) ? end_of_line(text->bytes, text->size, from) : 0;
    return end ? end + 2 : from;
}

static void insert_words(struct text *text) {
    static const char *const words[] = {
        "\r\n", "\n", "\r", " ", "\t", ":", ",", "/", "\x7f", "\x80", "Host: a\r\n", "Host:a,b\r\n",
        "Content-Length: 3\r\n", "Content-Length:+3\r\n", "Content-Length: 1234567890\r\n",
        "Connection: close\r\n", "Connection: keep-alive\r\n", ": x\r\n", "A : x\r\n", "A: x \r\n",
        "POST / HTTP/1.1\r\n", "GET ", " HTTP/1.1\r\n", " HTTP/1.0\r\n", "\r\n\r\n",
    };
    const char *chosen = words[below(sizeof words / sizeof *words)];
    insert(text, any_place(text), chosen, strlen(chosen));
}

static void insert_header(struct text *text) {
    static struct text header;
    header.size = 0;
    put_header(&header, (enum plain_name)below(PLAIN_NAMES), below(3), below(300));
    insert(text, any_place(text), header.bytes, header.size);
}

/* Another method, or more zeros before a digit: what is known of a body may change. */
static void mutate_sense(struct text *text) {
    if (one_in(2)) {
        const uint8_t *space = memchr(text->bytes, ' ', text->size);
        const char *method = methods[below(PLAIN_METHODS)];
        cut(text, 0, space ? (size_t)(space - text->bytes) + 1 : 0);
        insert(text, 0, method, strlen(method));
        return;
    }
    size_t at = any_place(text);
    while (at < text->size && !isdigit(text->bytes[at])) at++;
    insert(text, at, "00000000", between(1, 8));
}

static void mutate(struct text *text) {
    static const uint8_t telling[] = "\r\n\t :,/AaZz09-~\x7f\x80\xff";
    const size_t at = any_place(text), rest = text->size - at;
    const size_t few = below(1 + (uint32_t)(rest < 9 ? rest : 9));
    uint8_t bytes[9] = {(uint8_t)word()};
    switch (below(9)) {
    case 0: insert_words(text); break;
    case 1: insert_header(text); break;
    case 2: mutate_sense(text); break;
    case 3: insert(text, at, bytes, 1); break;
    case 4: cut(text, at, few); break;
    case 5:
        memcpy(bytes, text->bytes + at, few);
        insert(text, any_place(text), bytes, few);
        break;
    case 6: text->size = one_in(4) ? at : text->size - (text->size > 0); break;
    case 7:
        if (rest) text->bytes[at] ^= (uint8_t)(1u << below(8));
        break;
    default:
        if (rest) text->bytes[at] = telling[below(sizeof telling)];
    }
}

/* ---- running ----------------------------------------------------------------------------- */

enum { BODY, EMPTY, OTHER, KEPT, MOST, WAYS };

static struct way ways[WAYS] = {
    [BODY] = {"with a body", 0},
    [EMPTY] = {"with an empty value", 0},
    [OTHER] = {"with a name of its own", 0},
    [KEPT] = {"that asks to keep the connection", 0},
    [MOST] = {"with the most headers", 0},
};

static void count_ways(const struct plain *plain) {
    int has[WAYS] = {0};
    has[BODY] = plain->body.size > 0;
    has[KEPT] = plain->asks_to_keep_alive;
    has[MOST] = plain->n_headers == MAX_PLAIN_HEADERS;
    for (uint32_t i = 0; i < plain->n_headers; i++) {
        has[EMPTY] |= !plain->headers[i].value.size;
        has[OTHER] |= plain->headers[i].known == NAME_OTHER;
    }
    for (int i = 0; i < WAYS; i++) ways[i].count += (uint64_t)has[i];
}

/* Limits that the request just keeps to, or wide ones. */
static struct plain_limits any_limits(const struct plain *plain) {
    struct plain_limits limits = {SIZE_MAX, SIZE_MAX, SIZE_MAX};
    if (one_in(2)) return limits;
    limits = (struct plain_limits){0, plain->target.size, plain->body.size};
    for (uint32_t i = 0; i < plain->n_headers; i++)
        limits.max_header_bytes += plain->headers[i].name.size + plain->headers[i].value.size + 4;
    return limits;
}

static void run_case(void) {
    static struct text text, mutant;
    struct plain plain;
    const struct plain_limits wide = {SIZE_MAX, SIZE_MAX, SIZE_MAX};
    make(&text);
    if (!naive_scan(text.bytes, text.size, &wide, &plain)) fail("what was made isn't plain");
    const struct plain_limits limits = any_limits(&plain);
    if (!compare(&text, &limits)) fail("a plain request wasn't recognised");
    count_ways(&plain);
    tally.compared++;
    for (int i = 0; i < MUTANTS; i++) {
        mutant.size = 0;
        put_bytes(&mutant, text.bytes, text.size);
        struct plain_limits changed = limits;
        for (uint32_t k = between(1, 3); k-- > 0;) mutate(&mutant);
        if (one_in(8)) changed.max_header_bytes -= below(2);
        if (one_in(8) && changed.max_url_bytes) changed.max_url_bytes -= below(2);
        if (one_in(8) && changed.max_body_bytes) changed.max_body_bytes -= below(2);
        if (compare(&mutant, &changed)) tally.accepted++;
        else tally.refused++;
    }
}

int main(int argc, char **argv) {
    run_cases(REQUESTS, run_case, argc, argv);
    return report(REQUESTS, ways, WAYS);
}
