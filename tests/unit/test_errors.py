"""Errors are grouped by who can fix them, and say the fix in one form."""

from __future__ import annotations

import copy
import inspect

import pytest

from twofold import errors
from twofold.errors import ConfigError, InvalidInput, TwofoldError, UnknownModel


def drawn_tree() -> dict[str, str]:
    """The tree of the module's docstring: each error's name, and its parent's."""
    parents: dict[str, str] = {}
    above = ["TwofoldError"]
    for line in (errors.__doc__ or "").splitlines():
        branch, _, rest = line.partition("── ")
        if not rest:
            continue
        depth = len(branch) // 4 + 1
        name = rest.split()[0]
        above = [*above[:depth], name]
        parents[name] = above[depth - 1]
    return parents


def test_the_drawn_tree_is_the_tree_of_the_classes() -> None:
    classes = {
        name: kind.__bases__[0].__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, TwofoldError) and kind is not TwofoldError
    }
    assert drawn_tree() == classes


def test_a_callers_mistake_is_no_refusal_that_may_be_retried() -> None:
    assert not issubclass(InvalidInput, errors.Refused)
    assert not issubclass(errors.DeadlineExceeded, errors.Refused)
    assert not issubclass(errors.CommitUnknown, errors.Refused)
    assert issubclass(errors.Draining, errors.Refused)
    assert issubclass(errors.QuotaExceeded, errors.Refused)


def test_our_own_errors_are_never_caught_with_those_of_python() -> None:
    builtin = (ValueError, TypeError, LookupError, OSError, RuntimeError)
    assert not issubclass(TwofoldError, builtin)
    assert TwofoldError.__bases__ == (Exception,)


def test_a_problem_reads_where_expected_got_fix() -> None:
    message = errors.problem("inputs.income", "3 rows", "2", "Send one value per row.")
    assert message == "inputs.income: expected 3 rows, got 2. Send one value per row."


def test_a_lone_config_error_is_its_own_only_problem() -> None:
    error = ConfigError("port: expected 1 to 65535, got 0.")
    assert error.problems == ("port: expected 1 to 65535, got 0.",)


def test_a_config_error_lists_every_problem_and_says_its_summary() -> None:
    found = ["port: out of range", "host: empty"]
    error = ConfigError("2 settings are wrong", found)
    found.clear()
    assert error.problems == ("port: out of range", "host: empty")
    assert str(error) == "2 settings are wrong"


def test_invalid_input_names_the_field_at_fault_if_one_is() -> None:
    assert InvalidInput("row: expected one row", field="row").field == "row"
    assert InvalidInput("row: expected one row").field is None


def test_an_unknown_model_is_invalid_input_without_a_field() -> None:
    with pytest.raises(InvalidInput, match=r"^no model churn$") as caught:
        raise UnknownModel("no model churn")
    assert caught.value.field is None


@pytest.mark.parametrize(
    ("error", "attribute", "value"),
    [
        (InvalidInput("row.x: wrong", field="x"), "field", "x"),
        (ConfigError("two", ["a", "b"]), "problems", ("a", "b")),
        (UnknownModel("none", field="x"), "field", "x"),
        (errors.QuotaExceeded("over", retry_after_s=2.5), "retry_after_s", 2.5),
    ],
)
def test_an_error_keeps_what_it_knows_when_it_is_copied(
    error: TwofoldError, attribute: str, value: object
) -> None:
    # Pickling, the way between processes, rebuilds an exception by the same protocol.
    copied = copy.deepcopy(error)
    assert type(copied) is type(error)
    assert (str(copied), getattr(copied, attribute)) == (str(error), value)


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    error = errors.missing_extra("skops", "sklearn", "packing a scikit-learn model")
    assert str(error) == (
        "packing a scikit-learn model needs skops, which is not installed. "
        "Install twofold[sklearn]: pip install 'twofold[sklearn]'."
    )
    assert error.problems == (str(error),)
