"""What the benchmarks of batch runs share: the inputs, the runs, and what came out of them."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from contestants import FEATURES, Standard, bytecode_in, field_names
from processes import Measured, measured

KEY, PREDICTION = "id", "prediction"
RUN_ID = "night"
GROUP_ROWS = 100_000
ROW_BYTES = 130
"""Of the input and what comes of it, on disk, generously."""
PIPELINE = Path(__file__).with_name("pipeline.py")

Values = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
"""Keys in ascending order, and the prediction of each."""


class NoRoom(Exception):
    """The disk is too full; the text says how much is needed."""


@dataclass(frozen=True)
class BatchLab:
    """One run of the benchmarks.

    Attributes:
        folder: Where everything is.
        quick: Whether a tenth of the rows and fewer rounds will do.
        flags: Further flags of every `twofold batch run`.
    """

    folder: Path
    quick: bool = False
    flags: Sequence[str] = ()

    @property
    def registry(self) -> Path:
        """Where the models are packed."""
        return self.folder / "registry"

    @property
    def environment(self) -> Mapping[str, str]:
        """Of every process: its bytecode is kept. Not even Ray and Spark listen to the network."""
        return {
            **bytecode_in(self.folder),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(self.folder / "spark"),
            "RAY_TMPDIR": str(self.folder),
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    @cached_property
    def standard(self) -> Standard:
        """LightGBM 200 x 31 over 20 float32 features, packed as `churn`."""
        return Standard.made(self.folder, self.registry)

    def prepare(self) -> None:
        """Pack the standard model, and run it once, for the bytecode."""
        self.standard  # noqa: B018 - packed when it is first asked for
        self.run(self.input(1))

    def rows(self, count: int) -> int:
        """How many rows to take where `count` are standard."""
        return max(1, count // 10) if self.quick else count

    def rounds(self, count: int) -> int:
        """How many rounds to take where `count` are standard."""
        return min(count, 2) if self.quick else count

    def input(self, rows: int) -> Path:
        """A Parquet file of a key and the standard model's features: noise, which is hard to pack.

        Made once, in bounded memory.
        """
        return self.made(f"rows-{rows}.parquet", rows, lambda path: write_rows(path, rows))

    def made(self, name: str, rows: int, make: Callable[[Path], None]) -> Path:
        """A file or folder of the scratch folder, made the first time.

        Raises:
            NoRoom: There is no room for it, and for what comes of it.
        """
        path = self.folder / name
        if not path.exists():
            self.check_room(rows)
            make(path)
        return path

    def check_room(self, rows: int) -> None:
        """Check that there is room for so many more rows.

        Raises:
            NoRoom: There is not.
        """
        free, needed = shutil.disk_usage(self.folder).free, rows * ROW_BYTES
        if free < needed:
            raise NoRoom(
                f"{self.folder}: expected {needed / 1e9:.1f} GB of room, got {free / 1e9:.1f}. "
                "Set TMPDIR to a folder with more."
            )

    def run(
        self,
        source: Path,
        *flags: str,
        model: str = "churn",
        key: str = KEY,
        tree: bool = False,
        look: Callable[[Path], object] = lambda _: None,
    ) -> Measured:
        """One `twofold batch run`, from a cold interpreter to the committed run.

        Args:
            source: Its input.
            flags: Its further flags.
            model: Its model.
            key: The column that identifies a row.
            tree: Whether it works in several processes.
            look: Told where the committed run lies, before it is deleted.
        """
        with tempfile.TemporaryDirectory(prefix="out-", dir=self.folder) as out:
            command = [sys.executable, "-m", "twofold", "batch", "run", model, str(source)]
            command += ["--output", out, "--key", key, "--run-id", RUN_ID, "--json"]
            command += ["--registry", str(self.registry), *flags, *self.flags]
            found = measured(command, self.folder / "twofold.log", self.environment, tree=tree)
            look(Path(out) / RUN_ID)
            return found

    def pipeline(self, mode: str, source: Path, out: Path, **settings: Any) -> list[str]:
        """The command of `pipeline.py`, with settings of the run."""
        command = [sys.executable, str(PIPELINE), mode, str(self.registry), str(source), str(out)]
        return [*command, *(f"{name}={value}" for name, value in settings.items())]


def write_rows(path: Path, rows: int) -> None:
    """Write random rows as Parquet, as pyarrow does by itself."""
    random = np.random.default_rng(11)
    types = [pa.field(KEY, pa.int64()), *(pa.field(name, pa.float32()) for name in field_names())]
    draft = path.with_suffix(".writing")
    with pq.ParquetWriter(draft, pa.schema(types)) as writer:
        for start in range(0, rows, GROUP_ROWS):
            count = min(GROUP_ROWS, rows - start)
            values = random.standard_normal((FEATURES, count), np.float32)
            columns = [pa.array(np.arange(start, start + count)), *map(pa.array, values)]
            writer.write_table(pa.table(columns, schema=pa.schema(types)))
    draft.replace(path)


def link_times(source: Path, times: int, folder: Path) -> None:
    """Make a folder in which a file stands several times, as hard links: it is read each time."""
    folder.mkdir()
    for number in range(times):
        os.link(source, folder / f"{number:03}{source.suffix}")


def predicted(path: Path) -> Values:
    """The predictions in a file, or in all Parquet files of a folder, by key."""
    found = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    files = [file for file in found if file.is_file() and not file.name.startswith("quarantine")]
    table = pa.concat_tables(
        pq.ParquetFile(file).read(columns=[KEY, PREDICTION]).replace_schema_metadata()
        for file in files
    )
    keys = table[KEY].cast(pa.int64()).to_numpy()  # from CSV and JSON Lines it comes as text
    order = np.argsort(keys, kind="stable")
    return keys[order], table[PREDICTION].to_numpy()[order]


def differences(ours: Values, theirs: Values) -> str:
    """How the predictions of others differ from ours; empty if they are the same bits."""
    if not np.array_equal(ours[0], theirs[0]):
        return f"expected {len(ours[0])} keys like twofold's, got {len(theirs[0])}, or others"
    if ours[1].dtype != theirs[1].dtype:
        return f"expected {ours[1].dtype} like twofold's, got {theirs[1].dtype}"
    wrong = ours[1].view(np.int64) != theirs[1].view(np.int64)
    if not wrong.any():
        return ""
    largest = np.abs(ours[1] - theirs[1]).max()
    return f"{wrong.sum()} predictions differ from twofold's, by {largest:g} at most"
