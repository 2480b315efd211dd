#ifndef TWOFOLD_ANSWER_H
#define TWOFOLD_ANSWER_H

/* Reading answers of HTTP/1.1 as they come, in pieces of any size. Nothing of a body is kept. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_HEAD_BYTES 16384u
#define MAX_LINE_BYTES 256u /* of the size of a chunk, with its extensions */
#define MAX_NEEDLE_BYTES 1024u

enum stage { HEAD, BODY, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILERS, UNTIL_CLOSED };
enum progress { MORE, COMPLETE, NO_HTTP };

/* A text that is looked for in bodies; `back` is the table of Knuth, Morris and Pratt. */
struct needle {
    uint16_t length;
    uint16_t back[MAX_NEEDLE_BYTES];
    char text[MAX_NEEDLE_BYTES];
};

struct answer {
    enum stage stage;
    int status;
    bool close;          /* the connection can't be used again */
    bool found;          /* the needle was in the body */
    uint16_t matched;    /* of the needle, at the end of what was read */
    uint32_t line_bytes; /* of a line that isn't complete: of a chunk's size, of the trailers */
    uint64_t left;       /* of the body, or of the chunk */
    char *head;          /* what is there of a head that isn't complete */
    size_t head_bytes;
};

void needle_set(struct needle *needle, const char *text, size_t length);

/* Begin an answer; what it had for a head stays allocated. */
void answer_begin(struct answer *answer, const struct needle *needle);

/* Read more of it. `used` says how much of the bytes belonged to this answer. */
enum progress answer_read(struct answer *answer, const struct needle *needle, const char *bytes,
                          size_t length, size_t *used);

/* Whether an answer is complete, now that nothing more comes. */
bool answer_ends(const struct answer *answer);

#endif
