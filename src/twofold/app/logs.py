"""The log of a server: how the lines of all its processes look on stderr.

A line has what the code says of itself: never a payload, a key, or a header but the request's id.
Who logs may add facts of the event with `extra={"fields": {...}}`.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from twofold.serving.settings import ServeSettings

REQUESTS = "twofold.requests"
"""The logger of `twofold.wire.request_log`, which not every process imports."""
PLAIN = re.compile(r"[!#-<>-~]+")
"""Text that needs no quotes: visible ASCII without `"` and `=`."""

_encoded = json.JSONEncoder(default=str).encode


def set_up(process: str, settings: ServeSettings) -> None:
    """Set up the log of this process, unless whoever started it has set one up already.

    Args:
        process: What the process is: `supervisor`, `worker 0` or `model churn`.
        settings: How the lines look, and whether there is one for every request.
    """
    level = logging.INFO if settings.log_requests else logging.WARNING
    logging.getLogger(REQUESTS).setLevel(level)
    if logging.getLogger().handlers:
        return
    handler = logging.StreamHandler()  # stderr
    handler.setFormatter(FORMATS[settings.log_format](process))
    logging.getLogger().addHandler(handler)
    # What a library warns of is an event like any other, and a line of the same form.
    logging.captureWarnings(capture=True)


class TextLines(logging.Formatter):
    """Lines for people: `2026-01-31T12:00:00.123Z worker 0 ERROR twofold.serving: ...`.

    The fields follow as `name=value`; a traceback follows on lines of its own.
    """

    def __init__(self, process: str) -> None:
        """Name the process in every line."""
        super().__init__()
        self._process = process

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - as logging has it
        """The line itself."""
        said = [f"{_time(record)} {self._process} {record.levelname} {record.name}:"]
        said.append(record.message.rstrip())
        said += [f"{name}={_shown(value)}" for name, value in _fields(record).items()]
        return " ".join(said)


class JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII: no text can break a line, or the terminal it is read on."""

    def __init__(self, process: str) -> None:
        """Name the process in every line."""
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "process": self._process,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            kind, error, trace = record.exc_info
            text = "".join(traceback.format_exception(kind, error, trace))
            line["exception"] = {"type": kind.__name__, "traceback": text}
        if record.stack_info:
            line["stack"] = record.stack_info
        # What every line has can't be hidden by a field of the same name.
        line |= {name: value for name, value in _fields(record).items() if name not in line}
        return _encoded(line)


FORMATS: dict[str, Callable[[str], logging.Formatter]] = {"text": TextLines, "json": JsonLines}
"""The choices of the setting `log_format`."""


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    return getattr(record, "fields", {})


def _time(record: logging.LogRecord) -> str:
    """When it happened (RFC 3339)."""
    at_utc = datetime.fromtimestamp(record.created, UTC)
    return at_utc.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _shown(value: Any) -> str:
    """A value as text that ends where the next field begins."""
    text = str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text)
