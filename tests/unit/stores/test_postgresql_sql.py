from __future__ import annotations

from twofold.stores.postgresql_sql import lock_of, prefix_of, table_of


def test_every_snapshot_of_every_model_has_a_table_of_its_own_name() -> None:
    pairs = [(model, name) for model in ("a", "b", "A") for name in ("1-x", "2-x", "1-y")]
    names = {table_of(*pair) for pair in pairs}
    assert len(names) == len(pairs)
    assert all(len(name) <= 63 - len("_key_idx") for name in names)


def test_the_tables_of_a_model_are_known_by_their_beginning() -> None:
    assert table_of("churn", "1-x").startswith(prefix_of("churn"))
    assert not table_of("churn", "1-x").startswith(prefix_of("churn2"))


def test_locks_are_numbers_of_64_bits_that_tell_schemas_and_models_apart() -> None:
    names = [("s",), ("t",), ("s", "a"), ("s", "b"), ("t", "a"), ("sa",)]
    locks = {lock_of(*name) for name in names}
    assert len(locks) == len(names)
    assert all(-(2**63) <= lock < 2**63 for lock in locks)
