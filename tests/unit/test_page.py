"""Pages of HTML."""

from __future__ import annotations

from twofold.page import page, page_text


def test_signs_that_a_page_can_not_have_or_that_turn_it_are_replaced() -> None:
    assert page_text("a\x00b\u202ec\ud800<\n") == "a\ufffdb\ufffdc\ufffd&lt;\n"


def test_a_page_asks_for_nothing_from_elsewhere() -> None:
    found = page("a <title>", "<main>body</main>")
    assert "<title>a &lt;title&gt;</title>" in found
    assert "<main>body</main></body></html>" in found
    assert not any(word in found for word in ("src=", "href=", "url(", "@import", "<script"))
