"""`twofold doctor`."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC

import click

from twofold.app.doctor import Diagnosis, look_after
from twofold.app.endpoint import Endpoint
from twofold.cli.common import command, data, json_option, print_json, talk
from twofold.errors import ConfigError
from twofold.lab.fault import Finding

WRONG = 1
WIDTH = 100


@click.command()
@click.argument("url")
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 3600.0),
    metavar="S",
    default=5.0,
    show_default=True,
    help="How long to look.",
)
@click.option(
    "--interval-s",
    type=click.FloatRange(0.1, 3600.0),
    metavar="S",
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--insecure", is_flag=True, help="Take any certificate of an https:// server.")
@json_option
@command
def doctor(url: str, seconds: float, interval_s: float, insecure: bool, as_json: bool) -> None:  # noqa: FBT001
    """Say in words what is wrong with a running server, and what to do about it.

    URL is what `twofold serve` prints: http://HOST:PORT, https://HOST:PORT or
    http+unix:///PATH. All is told from its `GET /metrics`, which needs no key, whether it is ready,
    and its clock. What is wrong comes with its evidence; causes come before their effects. Exit
    code 0 if nothing is wrong, 1 if something is.
    """
    if not (seconds == seconds and interval_s == interval_s):  # noqa: PLR0124 - nan
        raise click.UsageError("--seconds, --interval-s: expected numbers, got nan.")
    try:
        endpoint = Endpoint(url, insecure=insecure)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    if not as_json:
        talk().print(f"looking at {url} for {seconds:g} s", soft_wrap=True)
    found = look_after(endpoint, seconds=seconds, interval_s=interval_s)
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        for line in lines(found):
            data.print(line)
    if found.findings:
        sys.exit(WRONG)


def lines(found: Diagnosis) -> Iterator[str]:
    """A diagnosis as text, line by line.

    Args:
        found: What was found.
    """
    if not found.findings:
        yield "nothing wrong"
    for number, finding in enumerate(found.findings, start=1):
        yield from _finding(number, finding)
        yield ""
    models = ", ".join(_printable(name) for name in found.models) or "no model"
    yield (
        f"looked at {models}: {found.looks} looks in {found.seconds:.1f} s, "
        f"requests: {found.requests:,.0f}, workers: {found.workers:,.0f}"
    )


def _finding(number: int, finding: Finding) -> Iterator[str]:
    since = "" if finding.since is None else f", since {finding.since.astimezone(UTC):%H:%M:%S} UTC"
    kind = finding.fault.replace("_", " ")
    yield f"{number}. {finding.severity}: {kind}{since}"
    yield from _wrapped(finding.what, "   ")
    for item in finding.evidence:
        yield from _wrapped(item, "   - ")
    yield from _wrapped(finding.fix, "   Fix: ")


def _wrapped(text: str, before: str) -> list[str]:
    return textwrap.wrap(
        _printable(text),
        WIDTH,
        initial_indent=before,
        subsequent_indent=" " * len(before),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _printable(text: str) -> str:
    """What whoever answers at the URL can't take for commands of the terminal."""
    return text if text.isprintable() else ascii(text)
