"""How an input is sliced: into partitions, and these into batches, the same way every time."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Plan:
    """The slices of an input, by row number (0-based, over all of its files).

    Partition `i` holds the rows from `i * partition_rows`, whatever files they lie in; batches
    are cut within a partition. So the slices need no count of the rows, which a CSV file can't
    give before it was read.

    Attributes:
        partition_rows: Rows of a partition; the last one may have fewer.
        batch_rows: Rows of a batch; the last one of a partition may have fewer.
    """

    partition_rows: int
    batch_rows: int

    def partition_of(self, row: int) -> int:
        """The partition a row falls into."""
        return row // self.partition_rows

    def cut_after(self, row: int) -> int:
        """The row at which the batch that holds `row` ends (exclusive)."""
        start = row - row % self.partition_rows
        batches = (row - start) // self.batch_rows + 1
        return start + min(batches * self.batch_rows, self.partition_rows)


def part_name(partition: int, suffix: str) -> str:
    """The file of a partition's predictions; names sort in the order of the rows."""
    return f"part-{partition:06d}{suffix}"


def repaired_name(partition: int, repair: int, suffix: str) -> str:
    """The file that stands for a partition after its run was repaired for the `repair`-th time.

    Another name than before, so that a reader with the manifest of before finds no other rows
    under the names it knows.
    """
    return f"part-{partition:06d}-repair-{repair}{suffix}"


def repaired_quarantine(repairs: int) -> str:
    """The quarantine of a run beside which files of before its repairs may lie."""
    return f"quarantine-repair-{repairs}.parquet" if repairs else "quarantine.parquet"
