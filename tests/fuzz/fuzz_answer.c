/* Fuzzes the reading of answers, src/load/answer.c.
 *
 * Each case makes an answer whose status, body and end are known, and a text to look for; it must be
 * read so, whole and in pieces of any size. Then it damages copies, which must be read in pieces as
 * they are whole. Every piece lies in memory of its own without a byte to spare.
 */
#define _GNU_SOURCE /* memmem */

#include "cases.h"

#include <string.h>

#include "answer.h"

#define ANSWERS "answers"
#define MAX_BYTES 65536
#define MAX_BODY 3000
#define MUTANTS 32

struct text {
    char bytes[MAX_BYTES];
    size_t size;
};

struct read {
    enum progress progress;
    int status, found, close, ends;
    size_t used;
};

enum { LENGTH, CHUNKED, UNTIL_END, NO_BODY, INTERIM, FOUND, SPLIT, WAYS };

static struct way ways[WAYS] = {
    [LENGTH] = {"with a length", 0},      [CHUNKED] = {"in chunks", 0},
    [UNTIL_END] = {"until the end", 0},   [NO_BODY] = {"without a body", 0},
    [INTERIM] = {"after an interim one", 0}, [FOUND] = {"with the text", 0},
    [SPLIT] = {"with the text over two chunks", 0},
};

static void put_bytes(struct text *text, const char *bytes, size_t size) {
    if (text->size + size > MAX_BYTES) fail("the fuzz itself made too much");
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
}

static void put(struct text *text, const char *words) { put_bytes(text, words, strlen(words)); }

static void put_number(struct text *text, const char *format, size_t number) {
    char digits[32];
    snprintf(digits, sizeof digits, format, number);
    put(text, digits);
}

static void put_headers(struct text *text) {
    for (uint32_t count = below(4); count-- > 0;) {
        put(text, one_in(2) ? "X-Name: " : "content-lengthy:");
        for (uint32_t size = below(one_in(20) ? 4000 : 20); size-- > 0;) put(text, "v");
        put(text, "\r\n");
    }
}

/* Few letters, so that the text is nearly there again and again. */
static void make_letters(char *letters, size_t size) {
    for (size_t at = 0; at < size; at++) letters[at] = (char)between('a', 'b');
}

static void put_chunks(struct text *text, const char *body, size_t size, size_t needle_at) {
    while (size > 0) {
        const size_t piece = needle_at && one_in(2) && needle_at < size
                                 ? needle_at
                                 : between(1, (uint32_t)size);
        put_number(text, one_in(2) ? "%zx" : "%04zX", piece);
        if (one_in(3)) put(text, ";name=value");
        put(text, "\r\n");
        put_bytes(text, body, piece);
        put(text, "\r\n");
        body += piece;
        size -= piece;
        needle_at = 0;
    }
    put(text, one_in(2) ? "0\r\n\r\n" : "0\r\nTrailer: x\r\n\r\n");
}

static struct read truth(struct text *text, const struct needle *needle) {
    static char body[MAX_BODY];
    static const int statuses[] = {200, 201, 404, 503};
    size_t size = one_in(4) ? 0 : between(1, one_in(2) ? 12 : MAX_BODY);
    struct read read = {.progress = COMPLETE, .status = statuses[below(4)]};
    make_letters(body, size);
    text->size = 0;
    if (one_in(8)) {
        put(text, "HTTP/1.1 100 Continue\r\n\r\n");
        ways[INTERIM].count++;
    }
    const char *at = memmem(body, size, needle->text, needle->length);
    read.found = at != NULL;
    ways[FOUND].count += (uint64_t)read.found;
    const int way = one_in(10) ? NO_BODY : (int)below(3);
    ways[way].count++;
    if (way == NO_BODY) {
        read.status = one_in(2) ? 204 : 304;
        read.found = needle->length == 0;
    }
    put_number(text, "HTTP/1.1 %zu ", (size_t)read.status);
    put(text, one_in(2) ? "Reason\r\n" : "\r\n");
    put_headers(text);
    if (one_in(4)) {
        put(text, "connection: Close\r\n");
        read.close = 1;
    }
    if (way == LENGTH) put_number(text, "Content-Length: %zu\r\n", size);
    if (way == CHUNKED) put(text, "Transfer-Encoding: chunked\r\n");
    put_headers(text);
    put(text, "\r\n");
    if (way == CHUNKED) {
        const size_t inside = at && needle->length > 1 ? (size_t)(at - body) + 1 : 0;
        ways[SPLIT].count += inside > 0;
        put_chunks(text, body, size, inside);
    } else if (way != NO_BODY) {
        put_bytes(text, body, size);
    }
    if (way == UNTIL_END) {
        read.progress = MORE;
        read.close = read.ends = 1;
    }
    read.used = text->size;
    if (way != UNTIL_END && one_in(4)) put(text, "more");
    return read;
}

/* Read it in pieces of at most so many bytes. */
static struct read read_pieces(const struct text *text, const struct needle *needle,
                               uint32_t most) {
    struct answer answer = {0};
    struct read read = {.progress = MORE};
    answer_begin(&answer, needle);
    while (read.progress == MORE && read.used < text->size) {
        const size_t left = text->size - read.used;
        const size_t size = most == MAX_BYTES ? most : between(1, most);
        const size_t piece = size < left ? size : left;
        char *copy = checked(malloc(piece));
        size_t used;
        memcpy(copy, text->bytes + read.used, piece);
        read.progress = answer_read(&answer, needle, copy, piece, &used);
        if (used > piece || (read.progress == MORE && used != piece))
            fail("it used another number of bytes than it had");
        read.used += used;
        free(copy);
    }
    read.status = answer.status;
    read.found = answer.found;
    read.close = answer.close;
    read.ends = answer_ends(&answer);
    free(answer.head);
    return read;
}

static int are_equal(const struct read *one, const struct read *other) {
    if (one->progress != other->progress) return 0;
    if (one->progress == NO_HTTP) return 1;
    return one->status == other->status && one->found == other->found &&
           one->close == other->close && one->ends == other->ends && one->used == other->used;
}

static void mutate(struct text *text) {
    const size_t at = below((uint32_t)text->size);
    switch (below(4)) {
    case 0: text->bytes[at] = (char)word(); break;
    case 1: text->bytes[at] = "\r\n 0:9f"[below(7)]; break;
    case 2: /* one less */
        memmove(text->bytes + at, text->bytes + at + 1, text->size - at - 1);
        text->size--;
        break;
    default: text->size = at + 1; break;
    }
    if (text->size == 0) put(text, "H");
}

static void run_case(void) {
    static struct text text, mutant;
    static struct needle needle;
    char words[16];
    const size_t length = below(9);
    make_letters(words, length);
    needle_set(&needle, words, length);
    const struct read wanted = truth(&text, &needle);
    const struct read whole = read_pieces(&text, &needle, MAX_BYTES);
    if (!are_equal(&whole, &wanted)) fail("an answer was read as another one");
    const struct read pieces = read_pieces(&text, &needle, one_in(2) ? 3 : 500);
    if (!are_equal(&pieces, &wanted)) fail("in pieces an answer was read as another one");
    tally.compared++;
    for (int at = 0; at < MUTANTS; at++) {
        mutant = text;
        for (uint32_t count = between(1, 3); count-- > 0;) mutate(&mutant);
        const struct read once = read_pieces(&mutant, &needle, MAX_BYTES);
        const struct read again = read_pieces(&mutant, &needle, one_in(2) ? 3 : 500);
        if (!are_equal(&once, &again)) fail("a damaged answer was read otherwise in pieces");
        if (once.progress == NO_HTTP) tally.refused++;
        else tally.accepted++;
    }
}

int main(int argc, char **argv) {
    run_cases(ANSWERS, run_case, argc, argv);
    return report(ANSWERS, ways, WAYS);
}
