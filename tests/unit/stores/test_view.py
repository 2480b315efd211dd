"""When a pointer is read again, and which one is believed."""

from __future__ import annotations

import sys
from pathlib import Path

from twofold.stores.snapshot import Pointer
from twofold.stores.view import LOST_S, REFRESH_S, View

sys.path.insert(0, str(Path(__file__).parent))
from made import snapshot_of


def pointer(switches: int, number: int | None = None) -> Pointer:
    return Pointer(switches=switches, current=snapshot_of(number or switches, 1))


def test_a_pointer_is_due_at_first_and_again_after_the_refresh_time() -> None:
    view = View()
    assert view.is_due(100.0)
    view.learn(pointer(1), asked_s=100.0)
    assert not view.is_due(100.0 + REFRESH_S - 0.01)
    assert view.is_due(100.0 + REFRESH_S)
    view.confirm(has_live=False, asked_s=100.2)
    assert not view.is_due(100.0 + REFRESH_S)


def test_an_answer_that_was_overtaken_does_not_put_off_the_next_one() -> None:
    view = View()
    view.learn(pointer(1), asked_s=100.0)
    view.confirm(has_live=False, asked_s=99.0)
    assert not view.is_due(100.1)


def test_live_predictions_are_looked_for_until_it_is_known_that_there_are_none() -> None:
    view = View()
    assert not view.has_live
    view.learn(pointer(1), asked_s=0.0)
    assert view.has_live
    view.confirm(has_live=False, asked_s=1.0)
    assert not view.has_live
    view.learn(pointer(1), asked_s=2.0)
    assert not view.has_live
    view.learn(pointer(2), asked_s=3.0)
    assert view.has_live


def test_an_older_pointer_is_not_gone_back_to() -> None:
    view = View()
    view.learn(pointer(5), asked_s=0.0)
    view.learn(pointer(4), asked_s=1.0)
    assert view.pointer == pointer(5)
    assert not view.is_due(1.1)
    view.learn(pointer(6), asked_s=2.0)
    assert view.pointer == pointer(6)


def test_an_older_pointer_is_believed_once_nothing_else_is_told_for_long() -> None:
    view = View()
    view.learn(pointer(5), asked_s=0.0)
    view.learn(Pointer(), asked_s=10.0)
    view.confirm(has_live=False, asked_s=11.0)
    view.learn(Pointer(), asked_s=12.0)
    view.learn(Pointer(), asked_s=12.0 + LOST_S - 0.1)
    assert view.pointer == pointer(5)
    view.learn(Pointer(), asked_s=12.0 + LOST_S)
    assert view.pointer == Pointer()


def test_another_pointer_of_the_same_count_is_taken() -> None:
    view = View()
    view.learn(pointer(5, 5), asked_s=0.0)
    view.learn(pointer(5, 7), asked_s=1.0)
    assert view.pointer == pointer(5, 7)
