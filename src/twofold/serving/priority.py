"""How important a request is: what is shed first when there is too much of everything."""

from __future__ import annotations

import enum


class Priority(enum.IntEnum):
    """The class of a request; the lower its number, the later it is shed."""

    INTERACTIVE = 0
    NORMAL = 1
    BACKGROUND = 2

    @property
    def word(self) -> str:
        """As headers and files write it."""
        return self.name.lower()

    @classmethod
    def parse(cls, word: bytes | str) -> Priority | None:
        """Read a word of a header or a file; None if it is none of `WORDS`."""
        return _BY_WORD.get(word if isinstance(word, str) else word.decode("latin-1"))


WORDS = ", ".join(priority.word for priority in Priority)
"""All of them, as messages list them."""

_BY_WORD = {priority.word: priority for priority in Priority}
