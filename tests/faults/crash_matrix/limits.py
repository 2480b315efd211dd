"""Runs that come to the end of something real: of a small disk, of its files, of a file's length.

Writes are then cut short by the kernel itself, as far as there is room. strace could only say that
they were, which would be a lie about what is in the file.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

from crash_matrix.points import Fault, Point
from crash_matrix.scene import RUN_ID, Attempt, Scene, Undisturbed
from crash_matrix.trial import DIFFERS, Outcome, reading, remove, wrong_end, wrong_resumed

SIZE, FILES, LENGTH = "tmpfs, size", "tmpfs, nr_inodes", "RLIMIT_FSIZE"
ROOMY = "size=16m,nr_inodes=1000"
PAGE_BYTES = 4096
MAX_POINTS = 100


def why_not() -> str | None:
    """Say why no small disk can be had here; None if it can."""
    if shutil.which("mount") is None:
        return "there is no mount command"
    with tempfile.TemporaryDirectory() as folder:
        tried = _mount(Path(folder), ROOMY)
        if tried.returncode == 0:
            _unmount(Path(folder))
    return tried.stderr.strip() or None


def fill_disks(scene: Scene, undisturbed: Undisturbed, folder: Path) -> Iterator[Outcome]:
    """Try disks of one page, then of one more, until a run has room; and so with its files."""
    for operation in (SIZE, FILES):
        for number in range(1, MAX_POINTS):
            point = Point(Fault.FULL_DISK, operation, "", number)
            outcome = fill_disk(scene, undisturbed, point, folder / "small")
            if outcome.code == 0:
                break
            yield outcome


def fill_disk(scene: Scene, undisturbed: Undisturbed, point: Point, folder: Path) -> Outcome:
    """Run on a disk that is too small, enlarge it, and run again."""
    size = point.number * PAGE_BYTES if point.operation == SIZE else 1 << 24
    files = point.number if point.operation == FILES else 1000
    with _disk(folder, f"size={size},nr_inodes={files}"):
        output = folder / "out"
        command = [*scene.command(), str(output)]
        return _try(scene, undisturbed, point, output, command)


def limit_lengths(undisturbed: Undisturbed, output: Path) -> list[Point]:
    """Give the lengths that are too short for some file of a run, and one byte too short for each.

    Args:
        undisturbed: The run.
        output: Its output folder.
    """
    lengths = {path.stat().st_size for path in output.rglob("*") if path.is_file()} - {0}
    tried = {0, 1, *(length - 1 for length in lengths), *(length // 2 for length in lengths)}
    assert undisturbed.result.digests, "lengths are those of a run's files"
    return [Point(Fault.FILE_TOO_LONG, LENGTH, "", length) for length in sorted(tried)]


def limit_length(scene: Scene, undisturbed: Undisturbed, point: Point, output: Path) -> Outcome:
    """Run with files that may not grow beyond a length, and then without this limit."""
    command = ["prlimit", f"--fsize={point.number}", *scene.command(), str(output)]
    outcome = _try(scene, undisturbed, point, output, command)
    if not outcome.wrong:
        remove(output)
    return outcome


def _try(
    scene: Scene, undisturbed: Undisturbed, point: Point, output: Path, command: list[str]
) -> Outcome:
    with reading(output / RUN_ID) as seen:
        # Steps aren't noted: the limit would be the notes' as well.
        disturbed = scene.go(command, Attempt(), Path("/dev/null"))
        committed = (output / RUN_ID).exists()
        wrong = wrong_end(point, disturbed, output) if disturbed.code else []
        if point.fault is Fault.FULL_DISK:
            _mount(output.parent, f"remount,{ROOMY}").check_returncode()
        resumed = scene.go([*scene.command(), str(output)], Attempt(), Path("/dev/null"))
    wrong += wrong_resumed(resumed, seen)
    result = scene.result(output) if (output / RUN_ID / "manifest.json").exists() else None
    whole = result is not None and result.equals(undisturbed.result)
    if not whole:
        wrong.append(DIFFERS)
    return Outcome(
        point=point,
        reached=disturbed.code != 0,
        code=disturbed.code,
        committed=committed,
        resumed=whole and resumed.code == 0,
        wrong=tuple(wrong),
        left_over=tuple(sorted(result.staging - undisturbed.result.staging)) if result else (),
        looks=seen["looks"],
    )


@contextlib.contextmanager
def _disk(folder: Path, options: str) -> Generator[None]:
    folder.mkdir(exist_ok=True)
    _mount(folder, options).check_returncode()
    try:
        yield
    finally:
        _unmount(folder)


def _mount(folder: Path, options: str) -> subprocess.CompletedProcess[str]:
    command = ["mount", "-t", "tmpfs", "-o", options, "twofold-crash-matrix", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], check=True)
