"""`python -m crash_matrix`: try every point and state, print the table."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from crash_matrix.limits import LENGTH, fill_disks, limit_length, limit_lengths, why_not
from crash_matrix.page import render_page
from crash_matrix.points import Fault, Point
from crash_matrix.scene import Scene, Undisturbed, make_scene, run_undisturbed, strace_works
from crash_matrix.survey import Survey, lose_power
from crash_matrix.table import Tried, as_json, as_markdown, controls_as_markdown, rows_of
from crash_matrix.trial import Outcome, try_point

T = TypeVar("T")
KILLS, LIMITS, POWER_LOSS = "kills", "limits", "power-loss"
MIN_POINTS, MIN_STATES = 300, 2000
"""What a whole matrix has at least: fewer, and something was not looked at."""

talk = Console(stderr=True, highlight=False, markup=False)


def shown(done: Iterable[T], title: str, total: int | None) -> Iterable[T]:
    """Show how far something is, on a terminal."""
    hidden = not talk.is_terminal
    return track(done, title, total=total, console=talk, disable=hidden)


def try_points(
    scene: Scene, undisturbed: Undisturbed, points: Sequence[Point], *, at_once: int
) -> list[Outcome]:
    """Try points, several at once."""
    outputs = [scene.folder / f"point-{number:04}" for number in range(len(points))]

    def trial(point: Point, output: Path) -> Outcome:
        tried = limit_length if point.operation == LENGTH else try_point
        found = tried(scene, undisturbed, point, output)
        if found.reached:
            return found
        # A fault that strikes another call than its point's tells nothing of it.
        return tried(scene, undisturbed, point, output.with_name(f"{output.name}-again"))

    with ThreadPoolExecutor(at_once) as pool:
        done = pool.map(trial, points, outputs)
        return list(shown(done, "trying points", len(points)))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="crash_matrix", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the outcomes as JSON")
    parser.add_argument("--page", type=Path, help="write the page of the documentation, too")
    parser.add_argument("--folder", type=Path, help="work here, and keep what went wrong")
    parser.add_argument("--part", choices=[KILLS, LIMITS, POWER_LOSS], help="only this one")
    parser.add_argument("--fault", choices=[fault.name for fault in Fault], help="only this kill")
    parser.add_argument("--operation", help="only kills at this step or call")
    parser.add_argument(
        "--at-once", type=int, default=os.cpu_count() or 1, help="tried at the same time"
    )
    given = parser.parse_args()
    if given.fault or given.operation:
        given.part = given.part or KILLS
    if given.page and given.part:
        parser.error("--page shows the whole matrix: leave --part, --fault and --operation out")
    return given


@contextlib.contextmanager
def workplace(given: Path | None) -> Generator[Path]:
    """Give a folder to work in."""
    with contextlib.ExitStack() as stack:
        folder = given or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="crash-matrix-"))
        )
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()


def try_all(given: argparse.Namespace, folder: Path, *, trace: bool) -> tuple[list[Tried], Survey]:
    """Try all that was asked for."""
    scene = make_scene(folder)
    undisturbed = run_undisturbed(scene, trace=trace and given.part in (None, KILLS))
    tried: list[Tried] = []
    points: list[Point] = []
    if given.part in (None, KILLS):
        points += [
            point
            for point in undisturbed.points
            if given.fault in (None, point.fault.name)
            and given.operation in (None, point.operation)
        ]
    if given.part in (None, LIMITS):
        points += limit_lengths(undisturbed, folder / "undisturbed")
    tried += try_points(scene, undisturbed, points, at_once=given.at_once)
    if given.part in (None, LIMITS):
        reason = why_not()
        if reason:
            talk.print(f"no small disk can be filled here: {reason}")
        else:
            tried += shown(fill_disks(scene, undisturbed, folder), "filling disks", None)
    survey = Survey()
    if trace and given.part in (None, POWER_LOSS):
        survey = lose_power(scene, folder, at_once=given.at_once, shown=partial(shown, total=None))
    for call in undisturbed.hidden:
        talk.print(f"not tried, as another thread does the same first: {call.name} on {call.path}")
    return [*tried, *survey.recoveries], survey


def main() -> int:
    """Try the points and states, print the table; 1 if any outcome is wrong or missed."""
    given = arguments()
    trace = strace_works()
    if not trace:
        talk.print("strace doesn't work here: runs are only disturbed at their steps")
    with workplace(given.folder) as folder:
        tried, survey = try_all(given, folder, trace=trace)
    rows = rows_of(tried)
    if given.json:
        print(json.dumps(as_json(tried, survey.controls)))  # noqa: T201 - a command
    else:
        print(as_markdown(rows))  # noqa: T201 - a command
        print("\n" + controls_as_markdown(survey.controls))  # noqa: T201 - a command
    for outcome in tried:
        if outcome.wrong or not outcome.reached:
            talk.print(str(outcome))
    blind = [name for name, _, wrong in survey.controls if not wrong]
    for name in blind:
        talk.print(f"the states don't tell whether {name} is synced")
    states = len(survey.recoveries)
    if given.part is None and (len(tried) - states < MIN_POINTS or states < MIN_STATES):
        talk.print(f"fewer than {MIN_POINTS} points or {MIN_STATES} states: not a whole matrix")
        return 1
    if given.page:
        given.page.write_text(render_page(rows, survey), encoding="utf-8")
    return int(bool(rows[-1].wrong or rows[-1].missed or blind))


if __name__ == "__main__":
    sys.exit(main())
