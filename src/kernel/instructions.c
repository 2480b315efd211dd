#include "instructions.h"

#include <string.h>

static const char *const NAMES[INSTRUCTION_SETS] = {"plain", "avx2", "avx512"};

/* Another choice may come while others predict. */
static _Atomic enum instructions chosen;
static _Atomic int is_chosen, has_lookup;

#ifdef WITH_X86
#include <cpuid.h>

/* Not every compiler knows this feature by name. */
static int has_lzcnt(void) {
    unsigned int a, b, c = 0, d;
    return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c >> 5 & 1);
}

static int is_supported(enum instructions which) {
    __builtin_cpu_init();
    if (which == PLAIN) return 1;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") ||
        !__builtin_cpu_supports("popcnt") || !has_lzcnt())
        return 0;
    return which == AVX2 ||
           (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"));
}

static int supports_lookup(void) { return __builtin_cpu_supports("avx512vbmi") != 0; }
#else
static int is_supported(enum instructions which) { return which == PLAIN; }

static int supports_lookup(void) { return 0; }
#endif

static int choose(enum instructions which) {
    if (!is_supported(which)) return 0;
    chosen = which;
    has_lookup = which == AVX512 && supports_lookup();
    is_chosen = 1;
    return 1;
}

enum instructions instructions(void) {
    for (int which = INSTRUCTION_SETS; !is_chosen && which-- > 0;) choose((enum instructions)which);
    return chosen;
}

int can_look_up(void) { return instructions() == AVX512 && has_lookup; }

const char *instructions_name(void) { return NAMES[instructions()]; }

int use_instructions(const char *name) {
    for (int which = 0; which < INSTRUCTION_SETS; which++)
        if (!strcmp(NAMES[which], name)) return choose((enum instructions)which);
    return 0;
}
