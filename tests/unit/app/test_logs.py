"""Lines of the log: one form for all processes, for people or for machines."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.app import logs
from twofold.app.logs import FORMATS, JsonLines, TextLines, set_up
from twofold.serving.settings import ServeSettings
from twofold.settings import declared_in
from twofold.wire import request_log

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TEXT = st.text(st.characters(exclude_categories=()), max_size=40)


def record(message: str = "it is so", *what: Any, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("twofold.serving", logging.ERROR, "x.py", 1, message, what, None)
    made.created = 1_769_860_800.1239
    made.__dict__.update(more)
    return made


def failed(error: Exception) -> Any:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught._excinfo


@contextlib.contextmanager
def fresh_root() -> Iterator[logging.Logger]:
    """The root logger as in a process that has just begun; pytest has its own handlers there."""
    root, requests = logging.getLogger(), logging.getLogger(logs.REQUESTS)
    before, level = root.handlers, requests.level
    root.handlers = []
    try:
        with warnings.catch_warnings():
            yield root
            logging.captureWarnings(capture=False)
    finally:
        root.handlers = before
        requests.setLevel(level)


def test_line_for_people_says_when_who_and_what() -> None:
    line = TextLines("worker 0").format(record("%s at %d", "here", 5))
    assert line == "2026-01-31T12:00:00.123Z worker 0 ERROR twofold.serving: here at 5"


def test_fields_follow_with_quotes_where_they_need_them() -> None:
    fields = {"path": "/a", "rows": 3, "odd": 'a "b"', "two": "x\ny", "no": "", "is": "a=b"}
    line = TextLines("worker 0").format(record(fields=fields))
    assert line.partition(": it is so ")[2] == (
        r'path=/a rows=3 odd="a \"b\"" two="x\ny" no="" is="a=b"'
    )


def test_traceback_follows_the_line_for_people() -> None:
    lines = TextLines("worker 0").format(record(exc_info=failed(ValueError("bad")))).splitlines()
    assert lines[0].endswith("twofold.serving: it is so")
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: bad"


def test_object_has_the_same_facts() -> None:
    fields = {"request_id": "a1", "rows": 3}
    line = JsonLines("model churn").format(record("%s", "here", fields=fields))
    assert json.loads(line) == {
        "time": "2026-01-31T12:00:00.123Z",
        "level": "ERROR",
        "logger": "twofold.serving",
        "process": "model churn",
        "message": "here",
        "request_id": "a1",
        "rows": 3,
    }


def test_object_has_the_exception_with_its_traceback() -> None:
    error = ValueError("two\nlines")
    line = JsonLines("worker 0").format(record(exc_info=failed(error)))
    assert "\n" not in line
    told = json.loads(line)["exception"]
    assert told["type"] == "ValueError"
    assert told["traceback"].startswith("Traceback (most recent call last):\n")
    assert told["traceback"].endswith("ValueError: two\nlines\n")


def test_field_cannot_hide_what_every_line_has() -> None:
    line = json.loads(JsonLines("worker 0").format(record(fields={"time": "never", "x": 1})))
    assert TIME.fullmatch(line["time"])
    assert line["x"] == 1


@given(message=TEXT, value=st.one_of(TEXT, st.integers(), st.booleans(), st.binary()))
def test_no_text_breaks_a_line_or_its_json(message: str, value: Any) -> None:
    line = JsonLines("worker 0").format(record("%s", message, fields={"value": value}))
    assert line.isascii()
    assert len(line.splitlines()) == 1
    told = json.loads(line)
    assert told["message"] == message
    if isinstance(value, str):
        assert told["value"] == value


@given(value=TEXT)
def test_no_field_breaks_a_line_for_people(value: str) -> None:
    line = TextLines("worker 0").format(record(fields={"value": value}))
    assert len(line.splitlines()) == 1
    assert line.isascii()


def test_every_choice_of_the_setting_has_its_form() -> None:
    [item] = [item for item in declared_in(ServeSettings) if item.name == "log_format"]
    assert set(item.choices) == set(FORMATS)


@pytest.mark.parametrize(("chosen", "form"), [("text", TextLines), ("json", JsonLines)])
def test_a_process_writes_in_the_form_that_was_chosen(chosen: str, form: type) -> None:
    with fresh_root() as root:
        set_up("supervisor", ServeSettings(log_format=chosen))
        set_up("supervisor", ServeSettings(log_format=chosen))
        [handler] = root.handlers
    assert isinstance(handler.formatter, form)
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stderr


def test_a_log_that_was_set_up_before_is_left_alone() -> None:
    theirs = logging.NullHandler()
    with fresh_root() as root:
        root.addHandler(theirs)
        set_up("supervisor", ServeSettings(log_format="json"))
        assert root.handlers == [theirs]


@pytest.mark.parametrize("wanted", [False, True])
def test_lines_of_requests_are_written_where_they_are_wanted(wanted: bool) -> None:
    assert request_log.log.name == logs.REQUESTS
    with fresh_root():
        set_up("worker 0", ServeSettings(log_requests=wanted))
        assert request_log.log.isEnabledFor(logging.INFO) is wanted


def test_warnings_of_libraries_are_lines_as_well() -> None:
    code = (
        "import warnings; from twofold.app.logs import set_up; "
        "from twofold.serving.settings import ServeSettings; "
        "set_up('model churn', ServeSettings(log_format='json')); warnings.warn('old\\nmodel')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    [line] = done.stderr.splitlines()
    told = json.loads(line)
    assert (told["logger"], told["process"]) == ("py.warnings", "model churn")
    assert "old\nmodel" in told["message"]
