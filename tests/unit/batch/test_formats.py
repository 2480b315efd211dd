"""The table of formats."""

from __future__ import annotations

from twofold.batch.formats import DELTA, FORMATS, SQL, SUFFIXES


def test_every_suffix_belongs_to_one_format() -> None:
    assert sum(len(known.suffixes) for known in FORMATS) == len(SUFFIXES)


def test_names_tell_formats_apart() -> None:
    names = [known.name for known in (*FORMATS, DELTA, SQL)]
    assert len(set(names)) == len(names)
