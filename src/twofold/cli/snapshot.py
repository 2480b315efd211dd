"""`twofold snapshot publish`, `list`, `rollback`, `get`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from twofold.cli.common import (
    command,
    data,
    flags_of,
    json_option,
    print_json,
    print_result,
    registry_option,
    settings_flags,
    settings_from,
    store_option,
    talk,
)
from twofold.errors import InvalidInput, problem
from twofold.hybrid.settings import AnswerSettings, SnapshotSettings

if TYPE_CHECKING:
    from twofold.app.answers import Answer
    from twofold.app.snapshot import Pointer, PublishResult, Snapshot

MINUTE_S, HOUR_S, DAY_S = 60.0, 3_600.0, 86_400.0

model_option = click.option("--model", required=True, metavar="NAME", help="The model's name.")


@click.group()
def snapshot() -> None:
    """Read the predictions of a batch run by key: one run whole, then the next."""


@snapshot.command()
@click.argument("run", metavar="DIR/RUN_ID", type=click.Path(path_type=Path))
@click.option("--model", metavar="NAME", help="The model the run must be of.")
@click.option(
    "--with-features",
    is_flag=True,
    help="Publish the input's fields, too, for live predictions of rows that changed a little; "
    "the run must have kept them.",
)
@click.option("--force", is_flag=True, help="Switch although a gate is shut; that is recorded.")
@settings_flags("snapshot", SnapshotSettings)
@registry_option
@store_option
@json_option
@command
def publish(run: Path, as_json: bool, **options: Any) -> None:  # noqa: FBT001
    """Publish a committed run: from then on its predictions are read by key.

    It is written beside the snapshot that is read now, read back, looked at by the
    gates, and switched to in one step. The same run again changes nothing.
    """
    from twofold.app.snapshot import PublishWatch, publish_run  # noqa: PLC0415 - heavy

    flags = flags_of("snapshot", SnapshotSettings, options)
    named = {"registry": options["registry"], "store": options["store"]}
    settings = settings_from({**named, **flags})
    with _progress(f"publishing {run.name}") as show:
        result = publish_run(
            run,
            settings,
            model=options["model"],
            with_features=options["with_features"],
            force=options["force"],
            watch=PublishWatch(progress=show),
        )
    show_published(result, as_json=as_json)


@contextlib.contextmanager
def _progress(title: str) -> Generator[Callable[[int], None]]:
    """Show the rows written on a terminal; elsewhere nothing is drawn."""
    with talk().status(title) as status:

        def show(rows: int) -> None:
            status.update(f"{title}: {rows:,} keys")

        yield show


def show_published(result: PublishResult, *, as_json: bool) -> None:
    """Say what was published."""
    found = result.snapshot
    if as_json:
        print_json({"state": str(result.state), "elapsed_s": result.elapsed_s, "snapshot": found})
        return
    forced = ", forced" if found.is_forced else ""
    talk().print(
        f"{result.state}: {found.rows:,} keys of run {found.run_id}, {found.model}@{found.version}"
        f"{forced}, in {result.elapsed_s:.1f} s",
        soft_wrap=True,
    )
    for gate in found.gates:
        if not gate.passed:
            line = f"gate {gate.gate} was shut: expected {gate.limit}, got {gate.got}"
            talk().print(line, soft_wrap=True)
    print_result(found.name)


@snapshot.command("list")
@model_option
@store_option
@json_option
@command
def list_(model: str, store: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Show the snapshots that are kept: the one that is read, and the one before."""
    from twofold.app.snapshot import look_at_snapshots  # noqa: PLC0415 - heavy

    _show_pointer(look_at_snapshots(settings_from({"store": store}), model), model, as_json=as_json)


@snapshot.command()
@model_option
@store_option
@json_option
@command
def rollback(model: str, store: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Read the snapshot before the current one again, in one step; once more undoes it."""
    from twofold.app.snapshot import roll_back_snapshot  # noqa: PLC0415 - heavy

    pointer = roll_back_snapshot(settings_from({"store": store}), model)
    _show_pointer(pointer, model, as_json=as_json)


def _show_pointer(pointer: Pointer, model: str, *, as_json: bool) -> None:
    from rich.table import Table  # noqa: PLC0415 - slow to import

    now = datetime.now(UTC)
    if as_json:
        states = (("current", pointer.current), ("previous", pointer.previous))
        every = [
            {"state": state, "age_s": _age_s(item, now), **msgspec.to_builtins(item)}
            for state, item in states
            if item is not None
        ]
        print_json({"model": model, "switches": pointer.switches, "snapshots": every})
        return
    if not pointer.kept:
        fix = "twofold snapshot publish DIR/RUN_ID"
        talk().print(f"no snapshot of {model} yet; publish a committed run: {fix}", soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False)
    for title in ("snapshot", "state", "run", "version", "keys", "as of", "age", "gates"):
        table.add_column(title)
    for item in pointer.kept:
        state = "current" if item is pointer.current else "previous"
        table.add_row(
            item.name,
            "rolled back" if item.is_rolled_back else state,
            item.run_id,
            item.version,
            f"{item.rows:,}",
            f"{item.as_of.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            shown_age(_age_s(item, now)),
            _gates(item),
        )
    data.print(table)


def _age_s(item: Snapshot, now: datetime) -> float:
    return (now - item.as_of).total_seconds()


def shown_age(age_s: float) -> str:
    """An age, in the largest unit of which it has several."""
    for unit_s, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if abs(age_s) >= 2 * unit_s:
            return f"{age_s / unit_s:.0f} {unit}"
    return f"{age_s:.0f} s"


def _gates(item: Snapshot) -> str:
    shut = [gate.gate for gate in item.gates if not gate.passed]
    if not shut:
        return f"{len(item.gates)} passed"
    return "forced: " + ", ".join(shut)


def _object(_: click.Context, option: click.Parameter, text: str | None) -> dict[str, Any] | None:
    """Read a flag that is an object of JSON."""
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"expected JSON, got {error}.") from error
    if not isinstance(found, dict):
        raise click.BadParameter(f"expected an object by field name for {option.name}.")
    return found


@snapshot.command()
@click.argument("key")
@click.option("--model", required=True, metavar="MODEL", help="NAME, NAME@VERSION or NAME:ALIAS.")
@click.option("--row", metavar="JSON", callback=_object, help="The row as it is now.")
@click.option(
    "--changes",
    metavar="JSON",
    callback=_object,
    help="Fields with other values now than in the batch, whose features were published.",
)
@click.option("--features", is_flag=True, help="Show the features that the batch had, too.")
@settings_flags("answers", AnswerSettings)
@registry_option
@store_option
@json_option
@command
def get(key: str, model: str, as_json: bool, **options: Any) -> None:  # noqa: FBT001
    """Answer for KEY as the server does: stored while it is fresh, else live."""
    from twofold.app.answers import answers  # noqa: PLC0415 - heavy

    row, changes, features = (options.pop(name) for name in ("row", "changes", "features"))
    flags = flags_of("answers", AnswerSettings, options)
    settings = settings_from({"registry": options["registry"], "store": options["store"], **flags})
    if row is None and changes is None and not key:
        raise InvalidInput(problem("KEY", "a key", "nothing", "Name one."))
    opened = answers(
        model, registry=settings.registry, store=settings.general.store, policy=settings.answers
    )
    with opened:
        answer = opened.get(key, row=row, changes=changes, features=features)
    _show_answer(answer, as_json=as_json)


def _show_answer(answer: Answer, *, as_json: bool) -> None:
    shown = {
        "key": answer.key,
        "prediction": answer.prediction,
        "model": answer.model,
        "version": answer.version,
        "source": answer.source,
        "as_of": answer.as_of,
        "age_s": answer.age_s,
        "fresh": answer.is_fresh,
        "why": answer.why,
        "run_id": answer.run_id,
        "features": answer.features,
    }
    if as_json:
        print_json(shown)
        return
    age = shown_age(answer.age_s)
    fresh = "fresh" if answer.is_fresh else "not fresh"
    because = f" ({answer.why})" if answer.why else ""
    line = f"{answer.source}, {answer.model}@{answer.version}, {age} old, {fresh}{because}"
    talk().print(line, soft_wrap=True)
    if answer.features is not None:
        talk().print(msgspec.json.encode(answer.features).decode(), soft_wrap=True)
    print_result(msgspec.json.encode(answer.prediction).decode())
