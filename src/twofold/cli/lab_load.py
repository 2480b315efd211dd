"""`twofold lab load`."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import RenderableType
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from twofold.cli.common import F, command, data, json_option, print_json, talk
from twofold.errors import ConfigError

if TYPE_CHECKING:
    from twofold.app.lab_load import Limits, Told
    from twofold.lab.arrivals import Profile
    from twofold.lab.endpoint import Endpoint
    from twofold.lab.findings import Latency, Level
    from twofold.lab.goodput_page import Curve
    from twofold.lab.loaded import Loaded

SECONDS = {"rate": 10.0, "closed": 10.0, "ramp": 30.0, "steps": 5.0, "": 3.0}
"""How long, if it isn't said: of a load; of each step; of each level of a search or a curve."""
MODES = ("rate", "closed", "ramp", "steps")
SHARES = ("50", "90", "99", "99.9", "99.99")
BAR_WIDTH = 30
INVALID = 1

FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
ABOVE_0 = click.FloatRange(min=0, min_open=True)
OPTIONS = (
    click.option("--rate", type=ABOVE_0, metavar="R", help="Offer R requests a second."),
    click.option("--closed", type=click.IntRange(1, 20_000), metavar="N", help="Instead ask from "
                 "N connections, each again as soon as it is answered."),
    click.option("--ramp", metavar="FROM:TO", help="Offer a rate that changes evenly."),
    click.option("--steps", metavar="R,R,...", help="Offer rates one after another."),
    click.option("--find-capacity", is_flag=True, help="Only find the capacity: the highest rate "
                 "whose p99 keeps --slo-ms, at 99 % answered in time."),
    click.option("--slo-ms", type=ABOVE_0, default=100.0, show_default=True, metavar="MS",
                 help="What p99 is held to."),
    click.option("--deadline-ms", type=ABOVE_0, metavar="MS", help="For how long an answer is in "
                 "time, from when its request was due; a twofold server is told.  "
                 "[default: as --slo-ms]"),
    click.option("--timeout-s", type=ABOVE_0, default=5.0, show_default=True, metavar="S",
                 help="When a request is given up, and its connection closed."),
    click.option("--arrivals", type=click.Choice(["poisson", "constant"]), default="poisson",
                 show_default=True, help="Independent requests, or equal gaps."),
    click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, metavar="N",
                 help="Of Poisson arrivals."),
    click.option("--seconds", type=ABOVE_0, metavar="S", help="Of a load, of each step, of each "
                 "level of a search.  [default: 10; 30 of a ramp, 5 of a step, 3 of a level]"),
    click.option("--warm-up-s", type=click.FloatRange(min=0), default=1.0, show_default=True,
                 metavar="S", help="Before each load, at its first rate; not counted."),
    click.option("--connections", type=click.IntRange(1, 20_000), metavar="N", help="Most "
                 "connections at a time.  [default: as many as requests come within the deadline, "
                 "256 to 4,000]"),
    click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True,
                 metavar="N", help="Of the generator."),
    click.option("--rows", type=FILE, metavar="FILE", help="Rows to ask for, in turn (Parquet, "
                 "CSV, Arrow or JSON lines; the first 10,000).  [default: the example row that a "
                 "twofold server shows]"),
    click.option("--keys", metavar="FILE:COLUMN", help="Ask for the stored answers of these keys."),
    click.option("--body", type=FILE, metavar="FILE", help="Send this; {{row}} in it stands for a "
                 "row as a JSON object, {{values}} for its values as an array."),
    click.option("--protocol", type=click.Choice(["auto", "twofold", "answers", "v2", "mlflow",
                                                  "json"]), default="auto", show_default=True,
                 help="What the server speaks."),
    click.option("--model", metavar="NAME", help="The model.  [default: the only one]"),
    click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'",
                 help="Sent with each request; may be repeated."),
    click.option("--api-key", metavar="KEY", help="Sent as X-Api-Key."),
    click.option("--expect", default="", metavar="TEXT", help="What the body of each good answer "
                 "has in it."),
    click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
                 help="Write the goodput curve there, one page of HTML."),
)  # fmt: skip


def _with_options(function: F) -> F:
    for option in reversed(OPTIONS):
        function = option(function)
    return function


@click.command()
@click.argument("url")
@_with_options
@json_option
@command
def load(url: str, as_json: bool, **given: Any) -> None:  # noqa: FBT001 - click gives it by name
    """Load a server, and tell what it answered, in time or not.

    URL is a server (http://HOST:PORT, http+unix:///PATH), asked what it speaks, or all of what is
    to be asked, as http://HOST:PORT/v2/models/NAME/infer. The load is open: requests are due at
    instants that don't depend on the server, and latency counts from these. Without --rate,
    --closed, --ramp, --steps or --find-capacity the capacity is found, and then a goodput curve is
    measured from half of it to three times as much.

    Exit code 1: the generator itself didn't keep up, so that the figures aren't the server's.
    """
    from twofold.app.lab_load import endpoint_of  # noqa: PLC0415 - heavy
    from twofold.lab.ask import check_url  # noqa: PLC0415 - as above
    from twofold.lab.goodput_page import notes_on  # noqa: PLC0415

    try:
        check_url(url)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    mode = _mode(given)
    limits = _limits(given)
    seconds = given["seconds"] or SECONDS[mode]
    _check_html(given["html"])
    profile = _profile(mode, given, seconds, limits)
    endpoint = endpoint_of(_wanted(url, given, limits))
    if talk().is_terminal:
        count = f"{endpoint.rows:,} request{'s' if endpoint.rows > 1 else ''} in turn"
        talk().print(f"{endpoint.protocol.value}: {endpoint.path}, {count}", soft_wrap=True)
    about = {"url": url, "protocol": endpoint.protocol.value, "path": endpoint.path,
             "requests": endpoint.rows}  # fmt: skip
    if mode:
        loaded = _one_load(endpoint, profile or given["closed"], seconds, limits)
        _write(given["html"], _curve_of(loaded, limits), url, endpoint, limits)
        if as_json:
            print_json({**about, "loaded": loaded})
        else:
            _print_loaded(loaded, limits)
        _end(loaded.reasons, was_stopped=loaded.was_stopped)
        return
    curve = _curve(endpoint, given, seconds, limits)
    _write(given["html"], curve, url, endpoint, limits)
    if as_json:
        print_json({**about, "curve": curve})
    else:
        _print_curve(curve)
    for note in notes_on(curve):
        talk().print(Text("note: ", style="yellow") + Text(note), soft_wrap=True)
    if not all(level.is_valid for level in curve.levels):
        sys.exit(INVALID)


def _mode(given: dict[str, Any]) -> str:
    modes = [name for name in MODES if given[name] is not None]
    if len(modes) + given["find_capacity"] > 1:
        names = ", ".join(f"--{name}" for name in (*MODES, "find-capacity"))
        raise click.UsageError(f"expected at most one of {names}. Choose one.")
    return modes[0] if modes else ""


def _limits(given: dict[str, Any]) -> Limits:
    from twofold.app.lab_load import Limits  # noqa: PLC0415 - as above
    from twofold.lab.arrivals import Arrivals  # noqa: PLC0415 - as above

    slo_s = given["slo_ms"] / 1e3
    deadline_s = given["deadline_ms"] / 1e3 if given["deadline_ms"] else slo_s
    if given["timeout_s"] < deadline_s:
        raise click.UsageError(
            f"--timeout-s: expected at least the deadline, {deadline_s:g}, got "
            f"{given['timeout_s']:g}. Give a longer one."
        )
    return Limits(
        deadline_s=deadline_s,
        slo_s=slo_s,
        timeout_s=given["timeout_s"],
        warm_up_s=given["warm_up_s"],
        connections=given["closed"] or given["connections"],
        processes=given["processes"],
        arrivals=Arrivals(given["arrivals"]),
        seed=given["seed"],
    )


def _wanted(url: str, given: dict[str, Any], limits: Limits) -> Any:
    from twofold.lab.endpoint import Wanted  # noqa: PLC0415 - as above
    from twofold.lab.requests import Protocol  # noqa: PLC0415 - as above

    headers = [_header(text) for text in given["headers"]]
    if given["api_key"]:
        headers.append(("X-Api-Key", given["api_key"]))
    keys = None
    if given["keys"]:
        file, _, column = given["keys"].rpartition(":")
        if not file or not column:
            raise click.UsageError(f"--keys: expected FILE:COLUMN, got {given['keys']!r}.")
        keys = (Path(file), column)
    return Wanted(
        url=url,
        protocol=None if given["protocol"] == "auto" else Protocol(given["protocol"]),
        model=given["model"],
        rows=given["rows"],
        keys=keys,
        body=given["body"],
        headers=headers,
        deadline_s=limits.deadline_s,
        expect=given["expect"],
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not text.isprintable():
        raise click.UsageError(f"--header: expected 'NAME: VALUE', got {text!r}.")
    return name.strip(), value.strip()


def _profile(mode: str, given: dict[str, Any], seconds: float, limits: Limits) -> Profile | None:
    from twofold.lab.arrivals import level, ramp, steps  # noqa: PLC0415 - as above

    arrivals, seed = limits.arrivals, limits.seed
    if mode == "rate":
        return level(given["rate"], seconds, arrivals=arrivals, seed=seed)
    if mode == "steps":
        rates = _numbers("--steps", given["steps"], ",")
        return steps(rates, seconds, arrivals=arrivals, seed=seed)
    if mode == "ramp":
        ends = _numbers("--ramp", given["ramp"], ":")
        if len(ends) != 2:  # noqa: PLR2004 - from and to
            raise click.UsageError(f"--ramp: expected FROM:TO, got {given['ramp']!r}.")
        return ramp(ends[0], ends[1], seconds, arrivals=arrivals, seed=seed)
    return None


def _numbers(flag: str, text: str, between: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(between)]
    except ValueError:
        numbers = []
    if not numbers or not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise click.UsageError(f"{flag}: expected rates with {between!r} between, got {text!r}.")
    return numbers


def _check_html(path: Path | None) -> None:
    if path is not None and not path.absolute().parent.is_dir():
        raise click.UsageError(f"--html: {path.parent} is no folder. Make it first.")


def _one_load(endpoint: Endpoint, load: Profile | int, seconds: float, limits: Limits) -> Loaded:
    """Offer a profile of rates, or ask from so many connections."""
    from twofold.app.lab_load import load_closed, load_open  # noqa: PLC0415 - as above

    with _progress() as told:
        if isinstance(load, int):
            told(f"{load} connections", limits.warm_up_s + seconds)
            return load_closed(endpoint, load, seconds, limits)
        told("loading", limits.warm_up_s + load.seconds)
        return load_open(endpoint, load, limits)


def _curve(endpoint: Endpoint, given: dict[str, Any], seconds: float, limits: Limits) -> Curve:
    from twofold.app.lab_load import (  # noqa: PLC0415 - as above
        Search,
        goodput_curve,
        search_capacity,
        without_curve,
    )

    with _progress() as told:
        search: Search = search_capacity(endpoint, limits, seconds, told, start_per_s=None)
        if given["find_capacity"]:
            return without_curve(search, limits)
        return goodput_curve(endpoint, search, limits, seconds, told)


def _curve_of(loaded: Loaded, limits: Limits) -> Curve:
    from twofold.app.lab_load import curve_of  # noqa: PLC0415 - as above

    return curve_of(loaded.stretches, limits, was_stopped=loaded.was_stopped)


def _write(path: Path | None, curve: Curve, url: str, endpoint: Endpoint, limits: Limits) -> None:
    from twofold.app.lab_load import write_goodput  # noqa: PLC0415 - as above

    if path is not None:
        write_goodput(path, curve, url, endpoint, limits)
        talk().print(f"page: {path}", soft_wrap=True)


def _end(reasons: Sequence[str], *, was_stopped: bool) -> None:
    """Say what is wrong with what was measured, and end so if anything is."""
    if was_stopped:
        talk().print("interrupted: this is what was measured until then")
    for reason in reasons:
        talk().print(Text("invalid: ", style="red") + Text(reason), soft_wrap=True)
    if reasons:
        sys.exit(INVALID)


def _print_loaded(loaded: Loaded, limits: Limits) -> None:
    level = loaded.level
    if len(loaded.stretches) > 1:
        data.print(_levels_table(loaded.stretches))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    for _ in range(3):
        table.add_column(justify="right")
    table.add_column()
    asked = f"over {loaded.elapsed_s:,.1f} s, the warm-up left out"
    table.add_row("requests", f"{loaded.count:,}", f"{level.offered_per_s:,.1f}/s", "", asked)
    for name, count in sorted(loaded.outcomes.items(), key=lambda item: -item[1]):
        note = f"within {limits.deadline_s * 1e3:g} ms" if name == "in_time" else ""
        rate = f"{count / loaded.elapsed_s:,.1f}/s" if loaded.elapsed_s else ""
        ratio = f"{count / loaded.count:.2%}" if loaded.count else ""
        table.add_row(f"  {name.replace('_', ' ')}", f"{count:,}", rate, ratio, note)
    data.print(table)
    data.print(f"latency    {_latency(loaded.latency)}")
    late_ms = level.lateness_p99_s * 1e3
    data.print(
        f"generator  late by {late_ms:.3g} ms at p99, {loaded.busy_ratio:.0%} of a core: "
        f"{'valid' if loaded.is_valid else 'INVALID'}"
    )


def _latency(latency: Latency) -> str:
    from twofold.lab.goodput_page import milliseconds  # noqa: PLC0415 - as above

    known = latency.percentiles_s.items()
    shown = [f"p{share} {milliseconds(value)} ms" for share, value in known]
    shown.append(f"max {milliseconds(latency.max_s)} ms")
    return f"{', '.join(shown)}; of {latency.count:,} answers"


def _print_curve(curve: Curve) -> None:
    data.print(_levels_table(curve.levels or curve.search))
    what = f"p99 within {curve.slo_s * 1e3:g} ms"
    found = f"{curve.capacity_per_s:,.0f} requests/s" if curve.capacity_per_s else "none found"
    data.print(f"capacity: {found} ({what}, at least 99 % answered in time)")


def _levels_table(levels: Sequence[Level]) -> Table:
    from twofold.lab.goodput_page import milliseconds  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False)
    heads = ("offered/s", "in time/s", "late/s", "shed/s", "failed/s", "answers")
    for head in (*heads, *(f"p{share} ms" for share in SHARES), "gen. late ms", ""):
        table.add_column(head, justify="right")
    for level in levels:
        late = level.answered_per_s - level.in_time_per_s
        rates = (level.offered_per_s, level.in_time_per_s, late, level.shed_per_s)
        found = level.latency.percentiles_s
        table.add_row(
            *(f"{rate:,.1f}" for rate in (*rates, level.failed_per_s)),
            f"{level.latency.count:,}",
            *(milliseconds(found[share]) if share in found else "-" for share in SHARES),
            milliseconds(level.lateness_p99_s),
            "" if level.is_valid else "invalid",
        )
    return table


class _TimeBar(ProgressColumn):
    """How much of its time has passed: nothing else is known until the end."""

    def render(self, task: Task) -> RenderableType:
        total = task.total or 1.0
        return ProgressBar(total=total, completed=min(task.elapsed or 0, total), width=BAR_WIDTH)


@contextlib.contextmanager
def _progress() -> Generator[Told]:
    """A bar on a terminal; quiet where nobody looks."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), _TimeBar())
    # Seldom, as the processor is needed elsewhere.
    with Progress(*columns, console=talk(), transient=True, refresh_per_second=4,
                  disable=not talk().is_terminal) as bar:  # fmt: skip
        present = None

        def told(what: str, seconds: float) -> None:
            nonlocal present
            if present is not None:
                bar.remove_task(present)
            present = bar.add_task(what, total=seconds)

        yield told
