/* Which of the processor's instructions are used; chosen when the module is loaded. */
#ifndef TWOFOLD_INSTRUCTIONS_H
#define TWOFOLD_INSTRUCTIONS_H

#if defined(__x86_64__) && defined(__GNUC__)
#define WITH_X86
#endif

enum instructions { PLAIN, AVX2, AVX512, INSTRUCTION_SETS };

/* Those in use. */
enum instructions instructions(void);

/* Whether bytes may be looked up in a table of 128 at once (AVX-512 VBMI). */
int can_look_up(void);

/* Their name, and a way to ask for others (for tests): 0 if the processor lacks them. */
const char *instructions_name(void);
int use_instructions(const char *name);

#endif
