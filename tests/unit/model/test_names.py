"""Names and references: what they may be, and what is said of those that aren't."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import InvalidInput
from twofold.model.names import (
    CHAMPION,
    Reference,
    check_name,
    check_version,
    parse_reference,
)

FORM = "1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit"
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True).filter(
    lambda name: ".." not in name
)
VERSIONS = st.integers(1, 999_999_999).map(str)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("churn", Reference("churn")),
        ("churn@3", Reference("churn", version="3")),
        ("churn:canary", Reference("churn", alias="canary")),
        ("7", Reference("7")),
        ("churn.v2-a_b", Reference("churn.v2-a_b")),
        ("churn:3", Reference("churn", alias="3")),
        ("churn@999999999", Reference("churn", version="999999999")),
    ],
)
def test_a_reference_is_a_name_and_maybe_a_version_or_an_alias(
    text: str, reference: Reference
) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", f"model name: expected {FORM}, got ''. Choose such a name."),
        ("@3", f"model name: expected {FORM}, got ''. Choose such a name."),
        ("a b", f"model name: expected {FORM}, got 'a b'. Choose such a name."),
        ("a:b@3", f"model name: expected {FORM}, got 'a:b'. Choose such a name."),
        ("churn:", f"alias: expected {FORM}, got ''. Choose such a name."),
        ("churn:a:b", f"alias: expected {FORM}, got 'a:b'. Choose such a name."),
        ("churn@", "version: expected a number such as 3, got ''. See `twofold models`."),
        ("churn@3@4", "version: expected a number such as 3, got '3@4'. See `twofold models`."),
        ("churn@v3", "version: expected a number such as 3, got 'v3'. See `twofold models`."),
        ("churn@3:a", "version: expected a number such as 3, got '3:a'. See `twofold models`."),
    ],
)
def test_what_is_no_reference_is_refused_by_its_part_at_fault(text: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_reference(text)
    assert str(caught.value) == words


@pytest.mark.parametrize("name", ["a", "A9", "0", "a.b", "a_", "a-", "a.", "x" * 64, CHAMPION])
def test_a_name_is_given_back_as_it_is(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "x" * 65,
        ".",
        "..",
        "a..b",
        "a...b",
        "_a",
        "-a",
        "a/b",
        "a\\b",
        "a\n",
        "\na",
        "a\x00",
        "é",
        "\u0661",  # a digit to Unicode
        "churn\u200b",  # ends in a space of no width
    ],
)
def test_a_name_that_a_folder_or_a_reader_may_take_for_another_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_name(name, what="alias")
    assert str(caught.value) == f"alias: expected {FORM}, got {name!r}. Choose such a name."


@pytest.mark.parametrize("version", ["1", "10", "999999999"])
def test_a_version_is_given_back_as_it_is(version: str) -> None:
    assert check_version(version) == version


@pytest.mark.parametrize(
    "version", ["0", "01", "-1", "+1", "1.0", "1e3", " 1", "1\n", "1000000000", "\u0661", "\u00b2"]
)
def test_a_version_has_one_spelling(version: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_version(version)
    assert f"expected a number such as 3, got {version!r}." in str(caught.value)


@pytest.mark.parametrize("check", [check_name, check_version, parse_reference])
def test_only_the_beginning_of_a_long_text_is_repeated(check: Callable[[str], object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        check("?" * 81)
    assert f"got '{'?' * 80}'." in str(caught.value)


@given(text=st.text(max_size=70) | st.text("ab.-_/\\@:", max_size=12))
def test_no_name_that_is_admitted_leaves_the_registrys_folder(text: str) -> None:
    try:
        name = check_name(text)
    except InvalidInput:
        return
    assert PurePosixPath("registry", name).parts == ("registry", name)
    assert (Path("/registry") / name).resolve().parent == Path("/registry").resolve()


@given(name=NAMES, version=VERSIONS, alias=NAMES)
def test_a_reference_reads_back_what_was_written(name: str, version: str, alias: str) -> None:
    assert parse_reference(name) == Reference(name)
    assert parse_reference(f"{name}@{version}") == Reference(name, version=version)
    assert parse_reference(f"{name}:{alias}") == Reference(name, alias=alias)


@given(text=st.text(max_size=20) | st.text("a1.@:", max_size=6))
def test_a_text_that_is_read_is_read_whole(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidInput:
        return
    version = f"@{reference.version}" if reference.version else ""
    alias = f":{reference.alias}" if reference.alias else ""
    assert text == reference.name + version + alias
