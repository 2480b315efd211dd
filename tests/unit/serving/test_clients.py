"""Clients that are refused most are known, over all workers; the others cost nothing."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.serving.clients import ENTRY_BYTES, FADE_S, MAX_CLIENTS, NAME_BYTES, Clients, Ended


def workers(count: int) -> list[Clients]:
    shared = memoryview(bytearray(Clients.size_bytes(count)))
    return [Clients(shared, regions=count, region=region, now_s=100.0) for region in range(count)]


def shed(clients: Clients) -> dict[str, float]:
    return {client: rates[Ended.SHED] * FADE_S for client, rates in clients.rates().items()}


def test_requests_of_a_client_are_summed_over_the_workers_by_how_they_ended() -> None:
    first, second = workers(2)
    for clients, times in ((first, 3), (second, 2)):
        for _ in range(times):
            clients.note("desk", Ended.SHED)
    second.note("desk", Ended.ADMITTED)
    for clients in (first, second):
        rates = clients.rates()["desk"]
        assert rates[Ended.SHED] == pytest.approx(5 / FADE_S)
        assert rates[Ended.ADMITTED] == pytest.approx(1 / FADE_S)
        assert sum(rates.values()) == pytest.approx(6 / FADE_S)


def test_client_that_is_refused_most_comes_first_however_much_of_others_is_admitted() -> None:
    [clients] = workers(1)
    for client, ended, times in (
        ("calm", Ended.ADMITTED, 9),
        ("some", Ended.LATE, 2),
        ("most", Ended.INVALID, 3),
    ):
        for _ in range(times):
            clients.note(client, ended)
    assert list(clients.rates()) == ["most", "some", "calm"]


def test_what_is_past_fades_and_who_is_quiet_is_forgotten() -> None:
    [clients] = workers(1)
    for _ in range(100):
        clients.note("desk", Ended.SHED)
    clients.fade(100.0 + FADE_S)
    assert shed(clients) == {"desk": pytest.approx(36.79, abs=0.01)}
    clients.fade(100.0 + 8 * FADE_S)
    assert clients.rates() == {}
    clients.note("desk", Ended.SHED)
    assert shed(clients) == {"desk": pytest.approx(1.0)}


def test_steady_rate_is_shown_as_it_is_after_a_while() -> None:
    [clients] = workers(1)
    for second in range(60):
        for _ in range(20):
            clients.note("desk", Ended.SHED)
        clients.fade(101.0 + second)
    assert clients.rates()["desk"][Ended.SHED] == pytest.approx(20.0, rel=0.06)


def test_heavy_client_is_known_among_any_number_of_others() -> None:
    [clients] = workers(1)
    for turn in range(1_000):
        clients.note("heavy", Ended.SHED)
        clients.note(f"light-{turn}", Ended.SHED)
    found = shed(clients)
    assert len(found) == MAX_CLIENTS
    assert next(iter(found)) == "heavy"
    assert found["heavy"] > 900


def test_who_is_served_well_takes_nobody_s_place_and_who_is_refused_takes_the_lightest_one() -> (
    None
):
    [clients] = workers(1)
    for number in range(MAX_CLIENTS):
        clients.note(f"first-{number}", Ended.ADMITTED)
    clients.note("later", Ended.ADMITTED)
    assert "later" not in clients.rates()
    clients.note("later", Ended.SHED)
    clients.note("later", Ended.ADMITTED)
    assert next(iter(clients.rates())) == "later"
    assert clients.rates()["later"][Ended.ADMITTED] == pytest.approx(1 / FADE_S)
    assert len(clients.rates()) == MAX_CLIENTS


@given(st.lists(st.sampled_from("abcdefghijklmnop"), max_size=200))
def test_no_client_is_shown_with_more_than_it_did_and_few_are_shown_exactly(
    asked: list[str],
) -> None:
    [clients] = workers(1)
    for client in asked:
        clients.note(client, Ended.SHED)
    true, found = Counter(asked), shed(clients)
    assert len(found) == min(len(true), MAX_CLIENTS)
    for client, count in found.items():
        assert count <= true[client] + 1e-9
    if len(true) <= MAX_CLIENTS:
        assert found == pytest.approx(dict(true))
    assert all(before >= after for before, after in pairwise(found.values()))


def test_worker_that_begins_or_ends_has_no_clients_and_the_others_keep_theirs() -> None:
    shared = memoryview(bytearray(Clients.size_bytes(2)))
    first, second = (Clients(shared, regions=2, region=at, now_s=0.0) for at in range(2))
    first.note("one", Ended.SHED)
    second.note("two", Ended.SHED)
    assert list(Clients(shared, regions=2, region=0, now_s=0.0).rates()) == ["two"]
    second.clear()
    assert first.rates() == {}


def test_long_name_is_cut_and_still_one_client() -> None:
    [clients] = workers(1)
    for _ in range(3):
        clients.note("n" * (2 * NAME_BYTES), Ended.SHED)
    assert shed(clients) == {"n" * NAME_BYTES: pytest.approx(3.0)}


def test_memory_is_bounded_and_known_before() -> None:
    assert Clients.size_bytes(3) == 3 * MAX_CLIENTS * ENTRY_BYTES
    clients = Clients.of_one_process()
    for number in range(100):
        clients.note(f"client-{number}", Ended.SHED)
    assert len(clients.rates()) == MAX_CLIENTS
