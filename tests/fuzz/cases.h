/* What all fuzzers share: failing, chance, and running case after case.
 *
 * Case k of a run is the first case of the seed `seed + k`. A failure says how to repeat its case
 * alone.
 */
#ifndef TWOFOLD_CASES_H
#define TWOFOLD_CASES_H

#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_S 30
#define MAX_CASE_S 120 /* a case takes milliseconds, or doesn't end */
#define ENOUGH 2000    /* valid cases, for each way to have come up */

/* ---- failing ----------------------------------------------------------------------------- */

static const char *program;
static uint64_t case_seed;
static int is_over; /* what a sanitizer still finds are leaks, of any case */

/* The sanitizers' reports end in abort, so that each failure names its case. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "abort_on_error=1"; }
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) { return "abort_on_error=1:print_stacktrace=1"; }

static _Noreturn void end_failed(int signal_number) {
    if (signal_number == SIGALRM) fprintf(stderr, "a case takes more than %d s\n", MAX_CASE_S);
    if (!is_over)
        fprintf(stderr, "failed: seed %" PRIu64 "; repeat it: %s 0 %" PRIu64 "\n", case_seed,
                program, case_seed);
    _Exit(1); /* not exit: what is still allocated is no leak */
}

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    end_failed(0);
}

static void *checked(void *memory) {
    if (!memory) fail("the fuzz itself is out of memory");
    return memory;
}

/* ---- chance ------------------------------------------------------------------------------ */

static uint64_t chance;

/* SplitMix64. */
static uint64_t word(void) {
    uint64_t z = (chance += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t below(uint32_t limit) { return (uint32_t)((word() >> 32) * limit >> 32); }

static uint32_t between(uint32_t low, uint32_t high) { return low + below(high - low + 1); }

static int one_in(uint32_t n) { return below(n) == 0; }

/* ---- running ----------------------------------------------------------------------------- */

/* What a valid case may be, so that the code goes another way; each must come up. */
struct way {
    const char *name;
    uint64_t count;
};

static struct {
    uint64_t compared, refused, accepted;
} tally;

/* What came up, in one line; 0 if all did that should have. */
static int report(const char *cases, const struct way *ways, int n_ways) {
    int missed = 0;
    printf("compared %" PRIu64 " valid %s (", tally.compared, cases);
    for (int i = 0; i < n_ways; i++)
        printf("%s%s %" PRIu64, i ? ", " : "", ways[i].name, ways[i].count);
    printf("); of their mutants %" PRIu64 " were refused, and %" PRIu64
           " were accepted and compared\n",
           tally.refused, tally.accepted);
    fflush(stdout);
    for (int i = 0; i < n_ways; i++) {
        if (ways[i].count || tally.compared < ENOUGH) continue;
        fprintf(stderr, "failed: of %" PRIu64 " valid %s none was one %s\n", tally.compared, cases,
                ways[i].name);
        missed = 1;
    }
    return missed;
}

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Run cases; the arguments are for how many seconds, and from which seed on. */
static void run_cases(const char *cases, void (*run_case)(void), int argc, char **argv) {
    const double seconds = argc > 1 ? strtod(argv[1], NULL) : DEFAULT_S;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) << 20;
    program = argv[0];
    signal(SIGABRT, end_failed);
    signal(SIGALRM, end_failed);
    printf("%s: seed %" PRIu64 ", %g s\n", cases, seed, seconds);
    fflush(stdout);
    const double start = now_s();
    for (uint64_t k = 0; k == 0 || now_s() - start < seconds; k++) {
        case_seed = chance = seed + k;
        alarm(MAX_CASE_S);
        run_case();
    }
    is_over = 1;
    alarm(0);
}

#endif
