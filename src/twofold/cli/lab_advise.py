"""`twofold lab advise`: what is asked on a terminal, and how the advice is shown."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twofold.cli.common import command, data, json_option, print_json, print_result, talk
from twofold.errors import InvalidInput, problem
from twofold.lab.advice import Advice
from twofold.lab.advice import advise as advice_for
from twofold.lab.costs import DayCost
from twofold.lab.decision import Option
from twofold.lab.findings import read_findings
from twofold.lab.needs import Features, Needs, age_s_of, shown_age, shown_number
from twofold.lab.settings_file import settings_text
from twofold.lab.typical import typical
from twofold.model.names import is_name

if TYPE_CHECKING:
    from rich.table import Table

NOBODY = "none"
FEATURES = tuple(kind.value for kind in Features)
MS_PER_S = 1_000.0
GIGABYTE = 1e9

FEATURES_MEAN = (
    "known: before a row is asked for. partly: some change with the request, as an offer that\n"
    "is tried. with-request: they arrive with it, as those of a transaction."
)

# What is asked on a terminal: the parameter, the question, an example that is the default, and what
# it means.
QUESTIONS: tuple[tuple[str, str, str, str], ...] = (
    (
        "rows_per_day",
        "Rows a day",
        "1000000",
        "How many rows could be predicted in a day: your customers, or a day's transactions.",
    ),
    (
        "wants_all",
        "Is the whole table wanted (y, n)",
        "n",
        "Whether all predictions are used, as in a campaign's list, a report or another table.",
    ),
    (
        "asked_ratio",
        "Share that is asked for",
        "0.02",
        "Of these rows, the share that anybody asks for in a day, 0 to 1: 0.02 for 2 in 100.",
    ),
    (
        "max_age",
        "Tolerated age",
        "24h",
        "How old what a prediction was made from may be: 90s, 15m, 24h, 7d; 0 for the instant.",
    ),
    (
        "slo_ms",
        "Latency in ms",
        "50",
        "What 99 of 100 answers may take, in milliseconds; none if nobody waits for an answer.",
    ),
    (
        "peak_per_s",
        "Requests a second at the peak",
        "20",
        "How many ask in the busiest second.",
    ),
    (
        "features",
        "Are the features known beforehand (known, partly, with-request)",
        "known",
        FEATURES_MEAN,
    ),
)


def _age(text: str) -> float:
    """Seconds of an age, as in `24h`."""
    try:
        return age_s_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _latency(text: str) -> float:
    """Seconds of milliseconds; 0 for nobody, which only `_needs` sees."""
    if text.strip().lower() == NOBODY:
        return 0.0
    with contextlib.suppress(ValueError):
        if (found := float(text)) > 0.0:
            return found / MS_PER_S
    raise click.BadParameter(
        f"expected milliseconds, or {NOBODY} if nobody waits, got {text[:40]!r}. Write it as 50."
    )


TYPES: dict[str, Any] = {
    "rows_per_day": click.INT,
    "wants_all": click.BOOL,
    "asked_ratio": click.FLOAT,
    "max_age": _age,
    "slo_ms": _latency,
    "peak_per_s": click.FLOAT,
    "features": click.Choice(FEATURES),
}
OPTIONAL = {"wants_all": False}
"""What has a default where nobody can be asked."""


@click.command()
@click.argument(
    "findings",
    metavar="[FINDINGS.json]",
    required=False,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
@click.option(
    "--rows-per-day",
    type=TYPES["rows_per_day"],
    metavar="N",
    help="Rows that could be predicted in a day: customers, or a day's transactions.",
)
@click.option(
    "--asked-ratio",
    type=TYPES["asked_ratio"],
    metavar="R",
    help="Share of them that is ever asked for in a day, 0 to 1.",
)
@click.option(
    "--max-age",
    type=TYPES["max_age"],
    metavar="AGE",
    help="How old what a prediction was made from may be: 90s, 15m, 24h, 7d; 0 for the instant.",
)
@click.option(
    "--slo-ms",
    type=TYPES["slo_ms"],
    metavar="MS",
    help=f"What 99 of 100 answers may take; {NOBODY} if nobody waits for one.",
)
@click.option(
    "--peak-per-s",
    type=TYPES["peak_per_s"],
    metavar="N",
    help=f"Requests in the busiest second; not asked with --slo-ms {NOBODY}.",
)
@click.option(
    "--features",
    type=TYPES["features"],
    help="Whether features are known before a row is asked for; partly: some change with the "
    "request.",
)
@click.option(
    "--wants-all/--no-wants-all",
    default=None,
    help="Whether all predictions are used, as in a list or a report.  [default: no]",
)
@click.option(
    "--cost-per-core-hour",
    type=float,
    default=0.04,
    show_default=True,
    metavar="C",
    help="What a core costs in an hour, in any currency.",
)
@click.option(
    "--machines-at-least",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Machines that serve; 2 if one may fail.",
)
@click.option("--model", metavar="NAME", help="The model's name.  [default: that of FINDINGS]")
@click.option(
    "--toml",
    "settings_path",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the settings there; a file that exists is left alone.",
)
@json_option
@command
def advise(
    findings: Path | None,
    settings_path: Path | None,
    as_json: bool,  # noqa: FBT001
    **options: Any,
) -> None:
    """Say which mode to use: batch, real-time or hybrid; why, with what, and what would change it.

    FINDINGS is what `twofold lab compare --json` wrote; without it, the figures
    are those of another model. On a terminal, what isn't given is asked for.
    """
    found = typical() if findings is None else read_findings(findings)
    needs = _needs(_asked(options))
    advice = advice_for(needs, found, is_measured=findings is not None)
    text = settings_text(advice, needs, _model_name(options["model"] or found.model))
    if settings_path is not None:
        _write(settings_path, text)
    if as_json:
        where = None if settings_path is None else str(settings_path)
        print_json(_document(advice, needs, text, where))
        return
    _show(advice, needs, text, settings_path)


def _asked(options: dict[str, Any]) -> dict[str, Any]:
    """Complete the needs: by asking where somebody is there to answer."""
    given = dict(options)
    can_ask = sys.stdin.isatty() and sys.stderr.isatty()
    missing: list[str] = []
    for name, question, example, meaning in QUESTIONS:
        if given[name] is not None:
            continue
        if name == "peak_per_s" and given["slo_ms"] == 0.0:
            given[name] = 0.0
        elif can_ask:
            given[name] = _ask(question, example, meaning, TYPES[name])
        elif name in OPTIONAL:
            given[name] = OPTIONAL[name]
        else:
            missing.append(name)
    if missing:
        flags = ", ".join("--" + name.replace("_", "-") for name in missing)
        fix = "Give what is missing, or run it on a terminal, where it is asked for."
        raise click.UsageError(problem("lab advise", flags, "none", fix))
    return given


def _ask(question: str, example: str, meaning: str, kind: Any) -> Any:
    talk().print()
    talk().print(meaning)
    if isinstance(kind, click.ParamType):
        return click.prompt(question, default=example, type=kind, err=True)
    return click.prompt(question, default=example, value_proc=kind, err=True)


def _needs(given: dict[str, Any]) -> Needs:

    try:
        return Needs(
            rows_per_day=given["rows_per_day"],
            asked_ratio=given["asked_ratio"],
            max_age_s=given["max_age"],
            slo_s=given["slo_ms"] or None,
            peak_per_s=given["peak_per_s"],
            features=Features(given["features"]),
            wants_all=given["wants_all"],
            cost_per_core_hour=given["cost_per_core_hour"],
            machines_at_least=given["machines_at_least"],
        )
    except InvalidInput as error:
        raise click.UsageError(str(error)) from error


def _model_name(name: str) -> str:

    if not is_name(name):
        fix = "Give the name it was packed under."
        raise click.UsageError(problem("--model", "the name of a model", repr(name[:80]), fix))
    return name


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        fix = "Move it away, or give another name."
        raise InvalidInput(problem(str(path), "no such file yet", "one", fix)) from error


def _document(advice: Advice, needs: Needs, text: str, where: str | None) -> dict[str, Any]:
    """What `--json` prints: the advice, as it is named in the code."""
    return {
        "mode": advice.mode,
        "reasons": advice.reasons,
        "rejected": advice.rejected,
        "workers": advice.cost.servers.workers if advice.cost.servers else 0,
        "machines": machines_of(advice.cost),
        "schedule": advice.cost.timetable.cron if advice.cost.timetable else None,
        "max_age_s": advice.max_age_s,
        "answers_max_age_s": advice.answers_max_age_s,
        "options": advice.options,
        "changes": advice.changes,
        "warnings": advice.warnings,
        "assumed": advice.assumed,
        "needs": needs,
        "model": advice.model,
        "is_measured": advice.is_measured,
        "toml": text,
        "toml_path": where,
    }


def machines_of(cost: DayCost) -> int:
    """The most machines that are at work at once, of those that serve and those of a run."""
    serve = cost.servers.machines if cost.servers else 0
    return max(serve, cost.timetable.machines if cost.timetable else 0)


def _show(advice: Advice, needs: Needs, text: str, where: Path | None) -> None:
    from rich.text import Text  # noqa: PLC0415 - slow to import

    data.print(Text(f"\n  {advice.mode.upper()}\n", "bold green"))
    for line in advice.reasons:
        data.print(f"- {line}")
    for mode, why in advice.rejected.items():
        data.print(f"- Not {mode}: {why}")
    data.print(Text("\nSide by side", "bold"))
    data.print(_side_by_side(advice, needs))
    _list("What it takes", _sizing(advice))
    changes = [
        f"{change.words[0].upper()}{change.words[1:]}: {change.mode}." for change in advice.changes
    ]
    _list("What would change this", changes or ["Nothing that was tried, alone or in pairs."])
    _list("To see to", advice.warnings)
    _list("Assumed", advice.assumed)
    if where is not None:
        talk().print(f"\nsettings written to {where}", soft_wrap=True)
        return
    data.print(Text("\ntwofold.toml (--toml FILE writes it)", "bold"))
    print_result(text.rstrip())


def _list(title: str, lines: Any) -> None:
    from rich.text import Text  # noqa: PLC0415 - as above

    if lines:
        data.print(Text(f"\n{title}", "bold"))
        for line in lines:
            data.print(f"- {line}")


def _side_by_side(advice: Advice, needs: Needs) -> Table:
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for mode in advice.options:
        chosen = mode == advice.mode
        table.add_column(mode, style="bold" if chosen else None)
    for title, shown in _lines(needs).items():
        table.add_row(title, *(shown(option) for option in advice.options.values()))
    return table


def _lines(needs: Needs) -> dict[str, Callable[[Option], str]]:
    """The lines of the table, and what stands in them for a mode."""

    def latency(option: Option) -> str:
        if option.p50_s is None or option.p99_s is None:
            return "read from files"
        return f"{shown_age(option.p50_s)}, {shown_age(option.p99_s)}"

    def age(option: Option) -> str:
        return "not possible" if option.max_age_s is None else shown_age(option.max_age_s)

    def of_cost(shown: Callable[[DayCost], str]) -> Callable[[Option], str]:
        return lambda option: "-" if option.cost is None else shown(option.cost)

    def million(cost: DayCost) -> str:
        return "-" if cost.cost_per_million is None else shown_number(cost.cost_per_million)

    return {
        "latency, p50 and p99": latency,
        "age at most": age,
        "work a day, core-seconds": of_cost(lambda cost: shown_number(cost.work_core_s)),
        "kept a day, core-hours": of_cost(lambda cost: shown_number(cost.kept_core_s / 3600)),
        f"cost a day, at {needs.cost_per_core_hour:g} a core-hour": of_cost(
            lambda cost: shown_number(cost.cost)
        ),
        "cost a million that are used": of_cost(million),
        "cores that serve": of_cost(lambda cost: str(cost.servers.workers if cost.servers else 0)),
    }


def _sizing(advice: Advice) -> list[str]:

    cost, lines = advice.cost, list[str]()
    if cost.servers is not None:
        one = cost.servers
        lines.append(
            f"{_counted(one.workers, 'worker')} on {_counted(one.machines, 'machine')}, a core "
            f"each, {one.memory_bytes / GIGABYTE:.2g} GB on each machine."
        )
    if cost.timetable is not None:
        when = cost.timetable
        lines.append(
            f"A run {when.words} ({when.cron}), {shown_age(when.run_s)} long on "
            f"{_counted(when.machines, 'machine')}."
        )
    if advice.answers_max_age_s is not None:
        lines.append(
            f"Stored answers count as fresh for {shown_age(advice.answers_max_age_s)} "
            f"(max_age_s = {advice.answers_max_age_s:.0f})."
        )
    return lines


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
