"""A keys file is read with all its problems at once, shows no hash, and keeps its comments."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import ConfigError, InvalidInput, problem
from twofold.serving.key_entries import (
    HEADER,
    MAX_HASHES,
    Entry,
    entry_of,
    read_entries,
    render,
    with_hashes,
    with_new,
)
from twofold.serving.priority import Priority
from twofold.serving.quotas import MAX_BURST_REQUESTS, MAX_KEYS, MAX_PER_S, MIN_PER_S, Quota

FILE = "keys.toml"


def sha(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


A, B, C = sha(1), sha(2), sha(3)
GOOD = f"""
[[key]]
name = "support-desk"
sha256 = "{A}"
priority = "interactive"            # the highest it may ask for
max_requests_per_s = 50.0
burst_requests = 120
models = ["churn", "fraud", "churn"]
expires_at = 2027-01-31T02:00:00+02:00

[[key]]
name = "nightly"
sha256 = ["{B.upper()}", "{C}"]
"""
SUPPORT = Entry(
    "support-desk",
    (A,),
    Priority.INTERACTIVE,
    50.0,
    120,
    ("churn", "fraud"),
    datetime(2027, 1, 31, tzinfo=UTC),
)
NIGHTLY = Entry("nightly", (B, C))


def read(text: str) -> tuple[Entry, ...]:
    return read_entries(text, file=FILE)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [found.removeprefix(f"{FILE}: ") for found in caught.value.problems]


def entry(**members: str) -> str:
    """An entry's text; what is given replaces a good name or hash, or is added."""
    lines = {"name": '"n"', "sha256": f'"{A}"', **members}
    return "[[key]]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())


def test_every_member_is_read_and_what_is_absent_allows_all() -> None:
    assert read(GOOD) == (SUPPORT, NIGHTLY)
    assert NIGHTLY.priority is Priority.NORMAL
    assert NIGHTLY.quota is None
    assert SUPPORT.quota == Quota(50.0, 120)
    assert read("") == read("# nothing yet\n") == ()


def test_burst_is_two_seconds_of_requests_unless_it_is_given() -> None:
    [found] = read(entry(max_requests_per_s="7"))
    assert found.quota == Quota(7.0, 14)
    assert isinstance(found.max_requests_per_s, float)


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("name", "7", "key 1.name: expected 1 to 64 letters, digits, '.', '_' or '-'"),
        ("name", '""', "got string ''. Choose such a name."),
        ("name", '"a b"', "got string 'a b'."),
        ("sha256", '""', "n.sha256: expected 64 hex digits, got 0 characters. Make a key"),
        ("sha256", "1", "n.sha256: expected 64 hex digits, got no text."),
        ("sha256", f'"{A}0"', "expected 64 hex digits, got 65 characters."),
        ("sha256", f'"{A[:-1]}g"', "expected 64 hex digits, got 64 characters."),
        ("sha256", "[]", f"n.sha256: expected 1 to {MAX_HASHES} hashes, got 0."),
        ("sha256", str([sha(n) for n in range(5)]), f"1 to {MAX_HASHES} hashes, got 5."),
        ("priority", '"urgent"', "expected one of interactive, normal, background, got string"),
        ("priority", "0", "n.priority: expected one of interactive, normal, background, got int"),
        ("max_requests_per_s", "0", "expected a number from 0.000010 to 1,000,000, got integer 0."),
        ("max_requests_per_s", "-1.5", "got number -1.5. Leave it out for no quota."),
        ("max_requests_per_s", "1e7", "got number 10000000.0."),
        ("max_requests_per_s", "nan", "got nan."),
        ("max_requests_per_s", "inf", "got inf."),
        ("max_requests_per_s", "true", "got boolean true."),
        ("max_requests_per_s", '"50"', "got string '50'."),
        ("models", "[]", "n.models: expected a list of models' names, got a list of 0. Leave it"),
        ("models", '"churn"', "got string 'churn'."),
        ("models", '["churn", 7]', "got integer 7."),
        ("models", '["churn@3"]', "got string 'churn@3'."),
        ("expires_at", "2027-01-31", "n.expires_at: expected an instant, got a date. Write it"),
        ("expires_at", '"2027-01-31T00:00:00Z"', "got string '2027-01-31T00:00:00Z'."),
        ("expires_at", "2027-01-31T00:00:00", "got 2027-01-31 00:00:00 without. Add Z for UTC."),
        ("expires_at", "9999-12-31T23:59:59-12:00", "Leave it out for never."),
        ("expire_at", "1", "n.expire_at: expected one of name, sha256, priority, max_requests"),
    ],
)
def test_wrong_member_is_named_with_its_fix(member: str, value: str, words: str) -> None:
    [found] = problems(entry(**{member: value}))
    assert words in found


@pytest.mark.parametrize("burst", ["0", "-1", "1.5", "true", '"9"', str(MAX_BURST_REQUESTS + 1)])
def test_burst_that_is_no_number_of_requests_is_refused(burst: str) -> None:
    [found] = problems(entry(max_requests_per_s="1", burst_requests=burst))
    assert found.startswith("n.burst_requests: expected a whole number from 1 to 10,000,000, got")


def test_burst_of_no_quota_is_a_contradiction() -> None:
    assert problems(entry(burst_requests="9")) == [
        problem(
            "n.burst_requests",
            "max_requests_per_s beside it",
            "none",
            "Add it, or remove burst_requests.",
        )
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[key]\n", "expected TOML, got "),
        ("key = " + "[" * 5_000, "expected TOML, got "),
        ("x = 1" + "0" * 5_000, "expected TOML, got "),
        ("key = 3", "key: expected [[key]], got integer 3. Double the brackets."),
        ("[key]\nname = 'n'", "key: expected [[key]], got an object. Double the brackets."),
        ("key = ['n']", "key 1: expected a table, got string 'n'. Write [[key]] above it."),
        ("keys = []", "keys: expected only [[key]], got another member. Remove it."),
    ],
)
def test_file_that_is_no_keys_file_is_refused(text: str, words: str) -> None:
    [found] = problems(text)
    assert words in found


def test_all_problems_of_all_entries_are_told_at_once() -> None:
    text = "version = 1\n" + entry(sha256="1", priority="2") + "[[key]]\n" + entry(models="3")
    places = [found.partition(": expected")[0] for found in problems(text)]
    assert places == ["version", "n.sha256", "n.priority", "key 2.name", "key 2.sha256", "n.models"]


def test_names_and_hashes_are_given_once() -> None:
    assert problems(entry() + entry(sha256=f'"{B}"')) == [
        problem(
            "n.name",
            "it once",
            "it twice",
            "Choose another name; for a second key of one name, give a list of sha256.",
        )
    ]
    assert problems(entry() + entry(name='"m"', sha256=f'["{B}", "{A.upper()}"]')) == [
        "m.sha256: expected hashes that no other has, got one of n. Remove one of them."
    ]
    assert problems(entry(sha256=f'["{A}", "{A}"]')) == [
        "n.sha256: expected hashes that no other has, got one of n. Remove one of them."
    ]


def test_more_keys_than_there_is_room_for_are_refused() -> None:
    many = [entry(name=f'"n{number}"', sha256=f'"{sha(number)}"') for number in range(MAX_KEYS + 1)]
    assert len(read("".join(many[:-1]))) == MAX_KEYS
    assert problems("".join(many)) == [
        f"key: expected at most {MAX_KEYS}, got {MAX_KEYS + 1}. Remove the others."
    ]


def test_no_message_repeats_what_may_be_a_key() -> None:
    [found] = problems(entry(sha256='"tf_the-key-itself"'))
    assert found == (
        "n.sha256: expected 64 hex digits, got what looks like the key itself. "
        "Whoever read this file knows it: make another with `twofold keys new`."
    )
    for value in ('"secret"', '["secret"]', f'["{A}", "secret"]'):
        assert "secret" not in problems(entry(sha256=value))[0]


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
RATES = st.floats(MIN_PER_S, MAX_PER_S)


@st.composite
def entry_lists(draw: st.DrawFn) -> tuple[Entry, ...]:
    names = draw(st.lists(NAMES, unique=True, max_size=5))
    entries: list[Entry] = []
    for number, name in enumerate(names):
        rate = draw(st.none() | RATES)
        models = draw(st.none() | st.lists(NAMES, min_size=1, max_size=3, unique=True))
        at = draw(st.none() | st.datetimes(timezones=st.just(UTC)))
        entries.append(
            Entry(
                name,
                tuple(sha(number * 10 + n) for n in range(draw(st.integers(1, MAX_HASHES)))),
                draw(st.sampled_from(Priority)),
                rate,
                None if rate is None else draw(st.none() | st.integers(1, MAX_BURST_REQUESTS)),
                None if models is None else tuple(models),
                at,
            )
        )
    return tuple(entries)


@given(entry_lists())
def test_what_is_written_is_read_back(entries: tuple[Entry, ...]) -> None:
    assert read("".join(map(render, entries))) == entries


DATES = ["1979-05-27", "07:32:00", "1979-05-27T07:32:00", "0001-01-01T00:00:00+23:00"]
OTHERS = ["1", "-0.0", "nan", "[]", "[[]]", "{}", "true", '"x"', "''", "9" * 400, '"é\\u0000"']
VALUES = st.sampled_from([*DATES, *OTHERS, f'["{A}", {{}}]', f'"{A}"'])
MEMBERS = ["name", "sha256", "priority", "max_requests_per_s", "burst_requests", "models"]


@given(st.lists(st.dictionaries(st.sampled_from([*MEMBERS, "expires_at", "x"]), VALUES)))
def test_whatever_stands_in_a_file_it_is_read_or_refused(tables: list[dict[str, str]]) -> None:
    text = "".join(
        "[[key]]\n" + "".join(f"{name} = {value}\n" for name, value in table.items())
        for table in tables
    )
    found = ()
    try:
        read(text)
    except ConfigError as error:
        found = error.problems
    assert all(": expected " in each for each in found)


# Changing a file.


def test_new_entry_is_added_below_and_the_rest_stays_byte_for_byte() -> None:
    text = with_new(GOOD, Entry("new", (sha(9),)), file=FILE)
    assert text == GOOD + f'\n[[key]]\nname = "new"\nsha256 = "{sha(9)}"\npriority = "normal"\n'


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_first_entry_begins_a_file_that_says_what_it_is(text: str) -> None:
    assert with_new(text, NIGHTLY, file=FILE) == f"{HEADER}\n{render(NIGHTLY)}"


def test_name_that_a_file_has_is_not_added_again() -> None:
    with pytest.raises(InvalidInput, match=r"^nightly: expected a name that is not in keys\.toml"):
        with_new(GOOD, Entry("nightly", (sha(9),)), file=FILE)


@pytest.mark.parametrize("hashes", [(A, sha(9)), (sha(9),)])
def test_only_the_hashes_of_one_name_are_changed(hashes: tuple[str, ...]) -> None:
    text = with_hashes(GOOD, "support-desk", hashes, file=FILE)
    kept = [line for line in GOOD.splitlines() if A not in line]
    assert [
        line for line in text.splitlines() if not line.startswith("sha256 = ") or B.upper() in line
    ] == kept
    assert read(text)[0].sha256 == hashes
    assert read(text)[1] == NIGHTLY


def test_hashes_of_a_list_over_several_lines_are_changed_in_place() -> None:
    text = f'# mine\n[[key]]\nname = "n"\nsha256 = [\n  "{A}", # old\n  "{B}",\n]\n# end\n'
    assert with_hashes(text, "n", (B,), file=FILE) == (
        f'# mine\n[[key]]\nname = "n"\nsha256 = "{B}"\n# end\n'
    )


def test_file_that_is_written_in_another_way_is_written_anew() -> None:
    inline = f'key = [{{name = "n", sha256 = "{A}"}}] # mine\n'
    added = with_new(inline, NIGHTLY, file=FILE)
    assert added == f"{HEADER}\n{render(Entry('n', (A,)))}\n{render(NIGHTLY)}"
    quoted = f'[[key]]\nname = "n"\n"sha256" = "{A}"\n'
    assert with_hashes(quoted, "n", (A, B), file=FILE) == f"{HEADER}\n{render(Entry('n', (A, B)))}"


@given(entry_lists(), st.data())
def test_change_of_hashes_says_just_that(entries: tuple[Entry, ...], data: st.DataObject) -> None:
    if not entries:
        return
    text = "".join(map(render, entries))
    place = data.draw(st.integers(0, len(entries) - 1))
    changed = read(with_hashes(text, entries[place].name, (sha(99),), file=FILE))
    assert changed[place].sha256 == (sha(99),)
    assert changed[:place] + changed[place + 1 :] == entries[:place] + entries[place + 1 :]


def test_too_many_hashes_are_refused_with_the_way_to_have_fewer() -> None:
    several = tuple(sha(number) for number in range(MAX_HASHES + 1))
    with pytest.raises(ConfigError, match=r"got 5\. Put old ones out of force with `twofold keys"):
        with_hashes(GOOD, "nightly", several, file=FILE)


def test_unknown_name_is_refused_and_the_known_are_named() -> None:
    with pytest.raises(InvalidInput, match="expected a key among: support-desk, nightly, got 'x'"):
        with_hashes(GOOD, "x", (A,), file=FILE)
    with pytest.raises(InvalidInput, match="expected a key among: none"):
        entry_of((), "x", file=FILE)


def test_broken_file_is_not_changed() -> None:
    with pytest.raises(ConfigError, match=r"keys\.toml: expected TOML"):
        with_new("[[key", NIGHTLY, file=FILE)
    with pytest.raises(ConfigError, match=r"keys\.toml: expected TOML"):
        with_hashes("[[key", "nightly", (A,), file=FILE)
