"""`twofold top`."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
import select
import signal
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from twofold.app.endpoint import Endpoint
from twofold.app.top import Activity, ModelActivity, ServerActivity, watch
from twofold.cli.common import command, data, json_option, print_json, talk
from twofold.errors import ConfigError
from twofold.serving.metrics import BOUNDS_S

MAX_HISTORY = 60
"""Intervals that a sparkline goes back."""
BARS = "▁▂▃▄▅▆▇█"
FAST_S, SLOW_S = 0.01, 0.1
"""Times up to the first are green, beyond the second red; yellow between them."""
RATE_WIDTH, TIME_WIDTH = 8, 7
"""Columns keep their places while their numbers grow, to 999,999 and 9.99 ms."""
LOADS_WIDTH = 69
"""Of the widest table, but for the names of the models."""
MIN_NAME_WIDTH = len("requests/s")
FIXED_LINES = 15
"""Of the display: all but its rows of models."""
TABLES = 3
TERMINATED = 128 + signal.SIGTERM

Key = tuple[str, str]
"""Model and version."""
Look = Activity | ConfigError


@click.command()
@click.argument("url")
@click.option(
    "--interval-s",
    type=click.FloatRange(0.1, 3600.0),
    metavar="S",
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option(
    "--count",
    type=click.IntRange(min=0),
    metavar="N",
    help="End after N intervals; 0 goes on until Ctrl-C.  [default: 0 on a terminal, else 1]",
)
@click.option("--insecure", is_flag=True, help="Take any certificate of an https:// server.")
@json_option
@command
def top(url: str, interval_s: float, count: int | None, insecure: bool, as_json: bool) -> None:  # noqa: FBT001
    """Show live what a server does: requests, times, load, by model.

    URL is what `twofold serve` prints: http://HOST:PORT, https://HOST:PORT or
    http+unix:///PATH. All is told from its `GET /metrics`, which needs no key. Times begin when
    the server reads a request's first byte; percentiles are estimated from the buckets of
    histograms, as Prometheus' histogram_quantile does.
    """
    if math.isnan(interval_s):
        raise click.UsageError("--interval-s: expected a number, got nan.")
    try:
        endpoint = Endpoint(url, insecure=insecure)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    if count is None:
        count = 0 if data.file.isatty() else 1
    # Ctrl-C is how one stops watching, not a failure.
    with contextlib.suppress(KeyboardInterrupt):
        if not as_json and is_live():
            with _keys() as wait, _terminable():
                looks = watch(endpoint, interval_s=interval_s, count=count or None, wait=wait)
                _show_live(looks, Screen(url, interval_s))
        else:
            looks = watch(endpoint, interval_s=interval_s, count=count or None, wait=time.sleep)
            for activity in _told(looks, url):
                if as_json:
                    print_json({"at": datetime.now(UTC), **dataclasses.asdict(activity)})
                else:
                    data.print(block(activity, url, datetime.now(UTC)))


def is_live() -> bool:
    """Whether results go to a terminal that can be drawn on."""
    return data.file.isatty() and not Console(file=data.file).is_dumb_terminal


def _told(looks: Iterable[Look], url: str) -> Iterator[Activity]:
    """Give what is known, and say once that the server went away, and that it is back."""
    is_away = False
    for look in looks:
        if isinstance(look, ConfigError):
            if not is_away:
                talk().print(f"{look} Trying again until it is back.", soft_wrap=True)
            is_away = True
            continue
        if is_away:
            talk().print(f"{url} is back", soft_wrap=True)
        is_away = False
        yield look


def _show_live(looks: Iterator[Look], screen: Screen) -> None:
    # Results go to stdout, so does this: stderr may be a file with what went wrong.
    console = Console(file=data.file, highlight=False, markup=False, emoji=False)
    with Live(
        console=console,
        screen=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as live:
        live.update(screen.view(*console.size), refresh=True)
        for look in looks:
            screen.see(look, datetime.now(UTC))
            live.update(screen.view(*console.size), refresh=True)


@contextlib.contextmanager
def _terminable() -> Generator[None]:
    """Let SIGTERM end the display in order, so that the terminal is as it was before."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _keys() -> Generator[Callable[[float], None]]:
    """Give a way to wait in which `q` is as Ctrl-C, and no key leaves its mark on the display."""
    if not sys.stdin.isatty():
        yield time.sleep
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard)

    def wait(seconds: float) -> None:
        due_s = time.monotonic() + seconds
        while select.select([keyboard], [], [], max(0.0, due_s - time.monotonic()))[0]:
            typed = os.read(keyboard, 64)
            if not typed or b"q" in typed:
                raise KeyboardInterrupt

    try:
        yield wait
    finally:
        # What was typed meanwhile is not for the shell.
        termios.tcsetattr(keyboard, termios.TCSAFLUSH, before)


class Screen:
    """What the live display shows: the last interval, and how it came to it."""

    def __init__(self, url: str, interval_s: float) -> None:
        """Begin with nothing known."""
        self._url = url
        self._interval_s = interval_s
        self._last: Activity | None = None
        self._at: datetime | None = None
        self._history: dict[Key, deque[float | None]] = {}
        self._away: tuple[ConfigError, datetime] | None = None
        self._restarted_at: datetime | None = None

    def see(self, look: Look, at: datetime) -> None:
        """Take in one interval.

        Args:
            look: What the server did, or why that isn't known.
            at: When, UTC.
        """
        if isinstance(look, ConfigError):
            self._away = (look, self._away[1] if self._away else at)
            rates: dict[Key, float] = {}
        else:
            self._last, self._at, self._away = look, at, None
            rates = {_key(item): item.answered_per_s for item in look.models}
            # A server's versions come and go; those that it forgot are forgotten here.
            self._history = {key: self._history.get(key, _nothing()) for key in rates}
            if look.is_restarted:
                self._restarted_at = at
        for key, history in self._history.items():
            history.append(rates.get(key))

    def view(self, width: int, height: int) -> RenderableType:
        """Draw it, for a terminal of so many characters and lines."""
        title = Text.assemble(
            ("twofold top", "bold"), f"  {self._url}  every {self._interval_s:g} s"
        )
        if self._at is not None:
            title.append(f"  {self._at:%H:%M:%S} UTC")
        title.append("  q leaves", "dim")
        parts: list[RenderableType] = [title]
        if self._restarted_at is not None:
            parts.append(Text(f"restarted about {self._restarted_at:%H:%M:%S} UTC", "yellow"))
        if self._away is not None:
            error, since = self._away
            parts.append(Text(f"away since {since:%H:%M:%S} UTC, trying again: {error}", "red"))
        if self._last is None:
            parts.append(Text(f"the first figures come in {self._interval_s:g} s", "dim"))
            return Group(*parts)
        models = self._shown(self._last.models, max(1, (height - FIXED_LINES) // TABLES))
        names = _names(models, max(MIN_NAME_WIDTH, width - LOADS_WIDTH))
        parts += _tables(self._last.server, models, names)
        parts += [Text(), self._sparklines(names, width)]
        hidden = len(self._last.models) - len(models)
        if hidden:
            parts.append(Text(f"and {hidden} less busy; a higher terminal shows more", "dim"))
        return Group(*parts)

    def _shown(self, models: Sequence[ModelActivity], most: int) -> Sequence[ModelActivity]:
        """Those that were busiest of late, in the server's order."""

        def busy(item: ModelActivity) -> float:
            return sum(filter(None, self._history[_key(item)]))

        chosen = {_key(item) for item in sorted(models, key=busy, reverse=True)[:most]}
        return [item for item in models if _key(item) in chosen]

    def _sparklines(self, names: Mapping[Key, str], width: int) -> Table:
        table = _table("answered/s", names)
        room = width - max(MIN_NAME_WIDTH, *map(len, names.values())) - RATE_WIDTH - 4
        count = max(1, min(MAX_HISTORY, room))
        table.add_column(f"last {count} intervals", no_wrap=True, min_width=count)
        table.add_column("highest", justify="right", min_width=RATE_WIDTH)
        for key, name in names.items():
            rates = list(self._history[key])[-count:]
            most = max(filter(None, rates), default=0.0)
            table.add_row(name, Text(sparkline(rates).rjust(count), "cyan"), rate(most))
        return table


def _nothing() -> deque[float | None]:
    return deque(maxlen=MAX_HISTORY)


def block(activity: Activity, url: str, at: datetime) -> RenderableType:
    """One interval as plain text.

    Args:
        activity: What happened in it.
        url: Of the server.
        at: Its end, UTC.
    """
    head = f"{at:%Y-%m-%d %H:%M:%S} UTC  {url}  over {activity.interval_s:.2f} s"
    if activity.is_restarted:
        head += "  restarted meanwhile"
    names = _names(activity.models)
    return Group(Text(head), *_tables(activity.server, activity.models, names), Text())


def _tables(
    server: ServerActivity, models: Sequence[ModelActivity], names: Mapping[Key, str]
) -> list[RenderableType]:
    return [_overview(server), Text(), _loads(models, names), Text(), _times(models, names)]


def _overview(server: ServerActivity) -> Table:
    styles = {"4": "yellow", "5": "red"}
    groups = [
        [
            ("connections", _rate(server.connections, "")),
            ("event loop lag", duration(server.event_loop_lag_s)),
        ],
        [
            (f"{kind}/s", _rate(per_s, styles.get(kind[0], "")))
            for kind, per_s in server.responses_per_s.items()
        ],
        [
            ("worker restarts", _rate(server.worker_restarts, "yellow")),
            ("model restarts", _rate(server.model_process_restarts, "yellow")),
        ],
        [
            ("reloads", _rate(server.reloads_switched, "")),
            ("refused", _rate(server.reloads_refused, "yellow")),
        ],
    ]
    table = Table.grid(padding=(0, 2))
    for width in (TIME_WIDTH, RATE_WIDTH, 1, 1):
        table.add_column(style="dim", no_wrap=True)
        table.add_column(justify="right", no_wrap=True, min_width=width)
    for line in itertools.zip_longest(*groups, fillvalue=("", "")):
        table.add_row(*itertools.chain(*line))
    return table


def _loads(models: Sequence[ModelActivity], names: Mapping[Key, str]) -> Table:
    table = _table("requests/s", names)
    for title in ("answered", "shed", "late", "failed", "invalid", "rows/s", "waiting", "in hand"):
        width = RATE_WIDTH if title in {"answered", "rows/s"} else len("9,999")
        table.add_column(title, justify="right", no_wrap=True, min_width=width)
    for item in models:
        table.add_row(
            names[_key(item)],
            _rate(item.answered_per_s, "green"),
            _rate(item.shed_per_s, "yellow"),
            _rate(item.late_per_s, "yellow"),
            _rate(item.failed_per_s, "red"),
            _rate(item.invalid_per_s, "yellow"),
            _rate(item.rows_per_s, ""),
            _rate(item.waiting_requests, ""),
            _rate(item.in_hand_requests, ""),
        )
    return table


def _times(models: Sequence[ModelActivity], names: Mapping[Key, str]) -> Table:
    table = _table("times", names)
    for title in ("p50", "p90", "p99", "queue p99", "predict p50", "predict p99"):
        table.add_column(title, justify="right", no_wrap=True, min_width=TIME_WIDTH)
    for item in models:
        table.add_row(
            names[_key(item)],
            duration(item.p50_s),
            duration(item.p90_s),
            duration(item.p99_s),
            duration(item.queue_p99_s),
            duration(item.predict_p50_s),
            duration(item.predict_p99_s),
        )
    return table


def _table(title: str, names: Mapping[Key, str]) -> Table:
    """A table whose first column is as wide as that of the others."""
    width = max(MIN_NAME_WIDTH, *map(len, names.values()))
    table = Table(box=None, pad_edge=False)
    table.add_column(title, no_wrap=True, min_width=width)
    return table


def _names(models: Sequence[ModelActivity], max_width: int | None = None) -> dict[Key, str]:
    """How models are called in the tables; too long a name keeps its end, where the version is."""
    names = {_key(item): f"{item.model}@{item.version}" for item in models}
    # Whoever answers at the URL may not write to the terminal what it takes for commands.
    names = {key: name if name.isprintable() else ascii(name) for key, name in names.items()}
    if max_width is None:
        return names
    return {
        key: name if len(name) <= max_width else f"…{name[1 - max_width :]}"
        for key, name in names.items()
    }


def _key(item: ModelActivity) -> Key:
    return item.model, item.version


def _rate(per_s: float, style: str) -> Text:
    return Text(rate(per_s), style if per_s else "dim")


def rate(per_s: float) -> str:
    """A rate or a count with as many digits as one reads."""
    if per_s == 0.0 or per_s >= 10.0:  # noqa: PLR2004 - from two digits on, fractions are noise
        return f"{per_s:,.0f}"
    return f"{per_s:.2g}"


def duration(seconds: float | None) -> Text:
    """A time in its unit, in the colour of its size."""
    if seconds is None:
        return Text("-", "dim")
    style = "green" if seconds <= FAST_S else "yellow" if seconds <= SLOW_S else "red"
    if seconds >= BOUNDS_S[-1]:
        return Text(f">{BOUNDS_S[-1]:g} s", style)
    for unit, per_s in (("µs", 1e6), ("ms", 1e3)):
        if seconds * per_s < 1e3:  # noqa: PLR2004 - the next unit is a thousand times as long
            return Text(f"{seconds * per_s:.3g} {unit}", style)
    return Text(f"{seconds:.3g} s", style)


def sparkline(rates: Sequence[float | None]) -> str:
    """Rates as bars, the highest as a whole one; a blank where it isn't known."""
    most = max(filter(None, rates), default=0.0) or 1.0
    return "".join(
        " " if per_s is None else BARS[round(per_s / most * (len(BARS) - 1))] for per_s in rates
    )
