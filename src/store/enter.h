#ifndef TWOFOLD_ENTER_H
#define TWOFOLD_ENTER_H

/* Pages of a mapped file enter the process's page table when they are first read. After a switch
 * none of the new snapshot's are there, so that look-ups wait for the kernel, one by one, until
 * most are: 1 of 100 of them takes half as long again, says `bench_snapshots.py switch`. */

#include <stddef.h>
#include <stdint.h>

/* Enter the pages of a mapped file, piece by piece, as long as time is left and they are in memory:
 * nothing is waited for that would have to come from a disk. Returns the nanoseconds left; 0 where
 * the system can't do it. `memory` begins with a page. */
int64_t enter_pages(const void *memory, size_t bytes, int64_t left_ns);

#endif
