#define _GNU_SOURCE /* memmem */

#include "answer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void needle_set(struct needle *needle, const char *text, size_t length) {
    needle->length = (uint16_t)length;
    memcpy(needle->text, text, length);
    for (uint16_t at = 1, matched = 0; at < length; at++) {
        while (matched && text[at] != text[matched]) matched = needle->back[matched - 1];
        if (text[at] == text[matched]) matched++;
        needle->back[at] = matched;
    }
    needle->back[0] = 0;
}

static void look_for(struct answer *answer, const struct needle *needle, const char *bytes,
                     size_t length) {
    uint16_t matched = answer->matched;
    for (size_t at = 0; at < length && !answer->found; at++) {
        while (matched && bytes[at] != needle->text[matched]) matched = needle->back[matched - 1];
        if (bytes[at] == needle->text[matched]) matched++;
        answer->found = matched == needle->length;
    }
    answer->matched = matched;
}

void answer_begin(struct answer *answer, const struct needle *needle) {
    *answer = (struct answer){.head = answer->head, .found = needle->length == 0};
}

bool answer_ends(const struct answer *answer) { return answer->stage == UNTIL_CLOSED; }

/* ---- the head ------------------------------------------------------------------------------- */

struct said {
    bool chunked, close, keep_alive, has_length;
    uint64_t length;
};

static bool named(const char *line, size_t length, const char *name) {
    const size_t name_length = strlen(name);
    return length > name_length && !strncasecmp(line, name, name_length) &&
           line[name_length] == ':';
}

static bool mentions(const char *line, size_t length, const char *word) {
    const size_t word_length = strlen(word);
    for (size_t at = 0; at + word_length <= length; at++)
        if (!strncasecmp(line + at, word, word_length)) return true;
    return false;
}

/* A length in decimal digits, with spaces around it. */
static bool read_length(const char *text, size_t length, uint64_t *value) {
    size_t digits = 0;
    *value = 0;
    while (length && (*text == ' ' || *text == '\t')) text++, length--;
    for (; length && *text >= '0' && *text <= '9'; text++, length--, digits++)
        *value = *value * 10 + (uint64_t)(*text - '0');
    while (length && (*text == ' ' || *text == '\t')) text++, length--;
    return digits > 0 && digits < 19 && length == 0;
}

static bool read_line(const char *line, size_t length, struct said *said) {
    if (named(line, length, "content-length")) {
        said->has_length = true;
        return read_length(line + 15, length - 15, &said->length);
    }
    if (named(line, length, "transfer-encoding"))
        said->chunked = mentions(line + 18, length - 18, "chunked");
    else if (named(line, length, "connection")) {
        said->close |= mentions(line + 11, length - 11, "close");
        said->keep_alive |= mentions(line + 11, length - 11, "keep-alive");
    }
    return true;
}

/* A complete head, with the empty line at its end. */
static enum progress read_head(struct answer *answer, const char *head, size_t length) {
    struct said said = {0};
    if (length < 16 || memcmp(head, "HTTP/1.", 7) || head[8] != ' ') return NO_HTTP;
    int status = 0;
    for (int at = 9; at < 12; at++) {
        if (head[at] < '0' || head[at] > '9') return NO_HTTP;
        status = status * 10 + head[at] - '0';
    }
    if (status < 100 || status > 599) return NO_HTTP;
    const char *end = head + length - 2; /* where the empty line begins */
    const char *line = memmem(head, length, "\r\n", 2);
    for (line += 2; line < end;) {
        const char *next = memmem(line, (size_t)(head + length - line), "\r\n", 2);
        if (!read_line(line, (size_t)(next - line), &said)) return NO_HTTP;
        line = next + 2;
    }
    answer->head_bytes = 0;
    if (status < 200) return status == 101 ? NO_HTTP : MORE; /* such as 100 Continue */
    answer->status = status;
    answer->close = said.close || (head[7] == '0' && !said.keep_alive);
    answer->left = said.length;
    if (status == 204 || status == 304) return COMPLETE;
    if (said.chunked)
        answer->stage = CHUNK_SIZE;
    else if (said.has_length) {
        if (said.length == 0) return COMPLETE;
        answer->stage = BODY;
    } else {
        answer->stage = UNTIL_CLOSED;
        answer->close = true;
    }
    return MORE;
}

/* Take bytes of a head until it is complete. */
static enum progress take_head(struct answer *answer, const char *bytes, size_t length,
                               size_t *used) {
    if (answer->head_bytes == 0) { /* most often it comes in one piece */
        const char *end = memmem(bytes, length, "\r\n\r\n", 4);
        if (end) {
            *used = (size_t)(end + 4 - bytes);
            return *used > MAX_HEAD_BYTES ? NO_HTTP : read_head(answer, bytes, *used);
        }
    }
    if (!answer->head && !(answer->head = malloc(MAX_HEAD_BYTES))) return NO_HTTP;
    const size_t before = answer->head_bytes, room = MAX_HEAD_BYTES - before;
    const size_t taken = length < room ? length : room;
    memcpy(answer->head + before, bytes, taken);
    /* The empty line may have begun in what came before. */
    const size_t from = before < 3 ? 0 : before - 3;
    const char *end = memmem(answer->head + from, before + taken - from, "\r\n\r\n", 4);
    if (end) {
        const size_t head_bytes = (size_t)(end + 4 - answer->head);
        *used = head_bytes - before;
        return read_head(answer, answer->head, head_bytes);
    }
    answer->head_bytes += taken;
    *used = taken;
    return taken == room ? NO_HTTP : MORE;
}

/* ---- the body ------------------------------------------------------------------------------- */

static int hex(char sign) {
    if (sign >= '0' && sign <= '9') return sign - '0';
    if (sign >= 'a' && sign <= 'f') return sign - 'a' + 10;
    if (sign >= 'A' && sign <= 'F') return sign - 'A' + 10;
    return -1;
}

/* The line with a chunk's size, as far as it is there. `line_bytes` counts its digits, and beyond
 * them whatever stands behind. */
static enum progress take_chunk_size(struct answer *answer, const char *bytes, size_t length,
                                     size_t *used) {
    for (size_t at = 0; at < length; at++) {
        if (bytes[at] == '\n') {
            *used = at + 1;
            if (answer->line_bytes == 0) return NO_HTTP;
            answer->line_bytes = 0;
            answer->stage = answer->left ? CHUNK : TRAILERS;
            return MORE;
        }
        const int digit = hex(bytes[at]);
        if (digit >= 0 && answer->line_bytes < 15)
            answer->left = (answer->line_bytes ? answer->left << 4 : 0) | (uint64_t)digit;
        else if (answer->line_bytes == 0 || (digit >= 0 && answer->line_bytes < MAX_LINE_BYTES / 2))
            return NO_HTTP; /* no size at all, or one that no server means */
        else
            answer->line_bytes |= MAX_LINE_BYTES / 2; /* an extension, or the end of the line */
        if (++answer->line_bytes >= MAX_LINE_BYTES) return NO_HTTP;
    }
    *used = length;
    return MORE;
}

/* Lines until an empty one. `line_bytes` counts what the present line has. */
static enum progress take_trailers(struct answer *answer, const char *bytes, size_t length,
                                   size_t *used) {
    for (size_t at = 0; at < length; at++) {
        if (bytes[at] == '\r') continue;
        if (bytes[at] != '\n') {
            if (++answer->line_bytes > MAX_HEAD_BYTES) return NO_HTTP;
            continue;
        }
        if (answer->line_bytes == 0) {
            *used = at + 1;
            return COMPLETE;
        }
        answer->line_bytes = 0;
    }
    *used = length;
    return MORE;
}

static enum progress take_piece(struct answer *answer, const struct needle *needle,
                                const char *bytes, size_t length, size_t *used) {
    switch (answer->stage) {
    case HEAD: return take_head(answer, bytes, length, used);
    case CHUNK_SIZE: return take_chunk_size(answer, bytes, length, used);
    case TRAILERS: return take_trailers(answer, bytes, length, used);
    case CHUNK_END: /* the end of the line after a chunk */
        *used = 1;
        if (bytes[0] == '\n') {
            answer->stage = CHUNK_SIZE;
            return MORE;
        }
        return bytes[0] == '\r' ? MORE : NO_HTTP;
    case UNTIL_CLOSED:
        *used = length;
        if (!answer->found) look_for(answer, needle, bytes, length);
        return MORE;
    case BODY:
    case CHUNK: break;
    }
    *used = length < answer->left ? length : (size_t)answer->left;
    if (!answer->found) look_for(answer, needle, bytes, *used);
    answer->left -= *used;
    if (answer->left) return MORE;
    if (answer->stage == BODY) return COMPLETE;
    answer->stage = CHUNK_END;
    return MORE;
}

enum progress answer_read(struct answer *answer, const struct needle *needle, const char *bytes,
                          size_t length, size_t *used) {
    enum progress progress = MORE;
    *used = 0;
    while (progress == MORE && *used < length) {
        size_t taken = 0;
        progress = take_piece(answer, needle, bytes + *used, length - *used, &taken);
        *used += taken;
    }
    return progress;
}
