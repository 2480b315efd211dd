"""`twofold pack`, `models`, `alias`, `predict`, `verify`: results, errors, and what is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from twofold.cli.models import runtimes_table, show_version
from twofold.cli.root import main
from twofold.model.record import Artifact, Candidate, ModelVersion, Modes, Parity
from twofold.model.registry import Registry
from twofold.model.signature import Field, Output, Signature

PACK = ("pack", "cli_rules:label", "--name", "new", "--sample", "rows.parquet")
FILE = Artifact(file="model.py", format="python-source", sha256="0", size_bytes=1)
RECORD = ModelVersion(
    name="churn",
    version="3",
    digest="0123456789abcdef",
    framework="lightgbm",
    libraries={"lightgbm": "4.6.0", "numpy": "2.4.0"},
    signature=Signature(
        fields=(
            Field(name="tenure", type="int64"),
            Field(name="plan", type="string", nullable=True, categories=tuple("abcdef")),
            Field(name="city", type="string", categories=("x",), unknown_categories="allow"),
            Field(name="note", type="string"),
        ),
        ignored=("id", "target"),
    ),
    output=Output(kind="probability", type="float64", names=("low", "high")),
    runtimes=Modes(batch="compiled", real_time="onnx"),
    artifacts={"original": FILE},
    sample=FILE,
    parity=Parity(
        sample_rows=100,
        edge_rows=7,
        tolerance=1e-5,
        same_bits=True,
        candidates=(
            Candidate(
                runtime="compiled",
                passed=True,
                reason="bit-equal on 107 rows",
                one_row_s=2.44e-6,
                batch_rows_per_s=1_234_567.8,
            ),
            Candidate(
                runtime="onnx",
                passed=True,
                reason="within 1e-05",
                one_row_s=12.34e-6,
                batch_rows_per_s=10.0,
            ),
            Candidate(runtime="original", passed=False, reason="too slow", one_row_s=0.01234),
        ),
    ),
    created_at="2026-01-31T12:00:00+00:00",
)


def shown(record: ModelVersion, capsys: pytest.CaptureFixture[str]) -> list[str]:
    show_version(record)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


# Packing.


def test_packing_shows_the_version_and_says_where_it_lies(cli: Any) -> None:
    result = cli(*PACK, "--drop", "id", "--registry", "fresh")
    assert result.stderr.endswith("packed new@1 in fresh\n")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0].startswith("new@1 python packed 20")
    assert "ignored when sent: id" in lines
    assert "output: value (string): prediction" in lines
    assert Registry("fresh").versions("new") == ["1"]


def test_packing_with_json_prints_the_record_and_every_flag_reaches_it(cli: Any) -> None:
    flags = ["--drop", "id", "--drop", "s", "--output", "label", "--type", "x=float32"]
    flags += ["--nullable", "x", "--unknown-categories", "allow", "--extra-fields", "ignore"]
    flags += ["--tolerance", "0.5", "--trust-pickle"]
    printed = cli.json(*PACK, *flags)
    record = msgspec.convert(printed, ModelVersion)
    assert record == Registry("registry").read("new", "1")
    assert (record.output.kind, record.output.type) == ("label", "string")
    assert record.signature == Signature(
        fields=(Field(name="x", type="float32", nullable=True),),
        ignored=("id", "s"),
        extra_fields="ignore",
    )
    assert (record.parity.tolerance, record.trust_pickle) == (0.5, True)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--type", "x"], "--type x: expected COL=TYPE with a type of bool, int64, float32, "),
        (["--type", "x="], "--type x=: expected COL=TYPE with a type of bool"),
        (["--type", "x=number"], "--type x=number: expected COL=TYPE with a type of bool"),
        (["--type", "x=a=int64"], "--type x=a=int64: expected COL=TYPE with a type of bool"),
        (["--output", "score"], "'score' is not one of 'probability', 'label', 'value'."),
        (["--unknown-categories", "drop"], "'drop' is not one of 'refuse', 'allow'."),
        (["--extra-fields", "allow"], "'allow' is not one of 'refuse', 'ignore'."),
        (["--runtime", "fast"], "'fast' is not one of 'original', 'onnx', 'compiled'."),
        (["--tolerance", "-1"], "-1.0 is not in the range x>=0."),
        (["--tolerance", "small"], "'small' is not a valid float"),
        (["--drop"], "Option '--drop' requires an argument."),
        (["--pickle"], "No such option '--pickle'."),
        (["more"], "Got unexpected extra argument (more)"),
    ],
)
def test_wrong_flags_of_pack_are_wrong_usage_and_pack_nothing(
    cli: Any, flags: list[str], words: str
) -> None:
    assert words in cli.said(*PACK, *flags, code=2)
    assert Registry("registry").names() == ["price"]


@pytest.mark.parametrize("missing", ["--name", "--sample"])
def test_a_missing_option_is_named(cli: Any, missing: str) -> None:
    at = PACK.index(missing)
    assert f"Missing option '{missing}'." in cli.said(*PACK[:at], *PACK[at + 2 :], code=2)


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["--drop", "nope"], "DeclarationError", "--drop nope: expected one of id, x, s"),
        (["--type", "nope=bool"], "DeclarationError", "--type nope: expected one of id, x, s"),
        (["--output", "probability"], "DeclarationError", "expected one of value, label"),
        (["--name", "../m"], "InvalidInput", "model name: expected 1 to 64 letters"),
        (["--sample", "no.csv"], "DeclarationError", "no.csv: expected a file, got nothing there"),
        (["--batch-wise"], "DeclarationError", "the model fails on the first rows of its sample"),
        (["--runtime", "onnx"], "DeclarationError", "--runtime onnx: expected a runtime that pas"),
    ],
)
def test_what_cannot_be_packed_fails_with_its_reason(
    cli: Any, arguments: list[str], kind: str, words: str
) -> None:
    error = cli.json(*PACK, *arguments, code=1)
    assert (error["code"], error["exit_code"]) == (kind, 1)
    assert words in error["error"]
    assert Registry("registry").names() == ["price"]


# Listing and showing.


def test_models_are_listed_with_their_aliases(cli: Any) -> None:
    registry = Registry("registry")
    for alias in ("night", "champion"):
        registry.set_alias("price", alias, "1")
    created = registry.read("price", "1").created_at
    rows = [line.split() for line in cli("models").stdout.splitlines()]
    assert rows[1] == [
        *("price", "1", "champion,", "night", "python", "original", "original"),
        created.removesuffix("+00:00"),
    ]
    assert cli.json("models") == [
        {
            "name": "price",
            "version": "1",
            "aliases": ["champion", "night"],
            "digest": registry.read("price", "1").digest,
            "framework": "python",
            "runtimes": {"batch": "original", "real_time": "original"},
            "created_at": created,
        }
    ]


def test_an_empty_registry_has_no_models_and_says_how_to_get_one(cli: Any) -> None:
    result = cli("models", "--registry", "none")
    assert result.stdout == ""
    assert result.stderr.endswith("no models in none; pack one with `twofold pack`\n")
    assert cli.json("models", "--registry", "none") == []


@pytest.mark.parametrize("reference", ["price", "price@1", "price:night"])
def test_one_model_is_shown_or_printed_whole(cli: Any, reference: str) -> None:
    Registry("registry").set_alias("price", "night", "1")
    assert cli("models", reference).stdout.startswith("price@1  python  packed 20")
    record = Registry("registry").read("price", "1")
    assert msgspec.convert(cli.json("models", reference), ModelVersion) == record


@pytest.mark.parametrize(
    ("reference", "kind", "words"),
    [
        ("nope", "UnknownModel", "registry registry: expected a model among: price, got 'nope'"),
        ("price@2", "UnknownModel", "price: expected a version among: 1, got '2'"),
        ("price:day", "UnknownModel", "price: expected an alias among: none, got 'day'"),
        ("price@x", "InvalidInput", "version: expected a number such as 3, got 'x'"),
        ("../price", "InvalidInput", "model name: expected 1 to 64 letters"),
    ],
)
def test_a_model_that_is_not_there_is_an_error(
    cli: Any, reference: str, kind: str, words: str
) -> None:
    error = cli.json("models", reference, code=1)
    assert (error["code"], error["exit_code"]) == (kind, 1)
    assert words in error["error"]
    result = cli("models", reference, code=1)
    assert (result.stdout, result.stderr.endswith(f"error: {error['error']}\n")) == ("", True)


def test_a_version_is_shown_with_all_that_a_caller_must_know(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(RECORD, capsys)
    assert lines[:2] == [
        "churn@3 lightgbm packed 2026-01-31T12:00:00 UTC digest 0123456789ab",
        "made with lightgbm 4.6.0, numpy 2.4.0",
    ]
    assert lines[3:9] == [
        "inputs",
        "field type null values",
        "tenure int64 no",
        "plan string yes a, b, c, d, 2 more",
        "city string no x (others allowed)",
        "note string no",
    ]
    assert "ignored when sent: id, target" in lines
    assert "output: probability (float64): low, high" in lines
    assert lines[-1] == (
        "parity checked on 100 sample rows and 7 edge rows; batch and real time give equal bits"
    )


def test_a_model_of_no_library_is_of_python_alone(capsys: pytest.CaptureFixture[str]) -> None:
    signature = msgspec.structs.replace(RECORD.signature, ignored=())
    lines = shown(msgspec.structs.replace(RECORD, libraries={}, signature=signature), capsys)
    assert lines[1] == "made with Python alone"
    assert not any(line.startswith("ignored") for line in lines)


def test_each_runtime_is_shown_with_its_use_its_speed_and_its_proof() -> None:
    columns = [list(column.cells) for column in runtimes_table(RECORD).columns]
    assert list(zip(*columns, strict=True)) == [
        ("compiled", "batch", "2.4 µs", "1,234,568", "bit-equal on 107 rows"),
        ("onnx", "real time", "12 µs", "10", "within 1e-05"),
        ("original", "", "12.3 ms", "", "not used: too slow"),
    ]


def test_a_runtime_of_both_modes_is_named_for_both_and_an_untimed_one_has_no_time() -> None:
    parity = msgspec.structs.replace(
        RECORD.parity, candidates=(Candidate(runtime="onnx", passed=True, reason="equal"),)
    )
    both = Modes(batch="onnx", real_time="onnx")
    table = runtimes_table(msgspec.structs.replace(RECORD, runtimes=both, parity=parity))
    cells = [next(iter(column.cells)) for column in table.columns]
    assert cells == ["onnx", "batch, real time", "", "", "equal"]


# Aliases.


def test_an_alias_is_set_and_said(cli: Any) -> None:
    result = cli("alias", "price", "night", "1")
    assert (result.stdout, result.stderr) == ("", "price:night is now version 1\n")
    printed = cli.json("alias", "price", "champion", "1")
    assert printed == {"name": "price", "aliases": {"champion": "1", "night": "1"}}


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["price", "night", "2"], "UnknownModel", "price: expected a version among: 1, got '2'"),
        (["price", "night", "one"], "InvalidInput", "version: expected a number such as 3"),
        (["price", "a b", "1"], "InvalidInput", "alias: expected 1 to 64 letters"),
        (["price", "../x", "1"], "InvalidInput", "alias: expected 1 to 64 letters"),
        (["price@1", "night", "1"], "InvalidInput", "model name: expected 1 to 64 letters"),
        (["nope", "night", "1"], "UnknownModel", "expected a model among: price, got 'nope'"),
    ],
)
def test_an_alias_that_cannot_be_set_changes_nothing(
    cli: Any, arguments: list[str], kind: str, words: str
) -> None:
    Registry("registry").set_alias("price", "night", "1")
    error = cli.json("alias", *arguments, code=1)
    assert error["code"] == kind
    assert words in error["error"]
    assert Registry("registry").aliases("price") == {"night": "1"}


@pytest.mark.parametrize(
    ("arguments", "missing"), [([], "NAME"), (["a"], "ALIAS"), (["a", "b"], "VERSION")]
)
def test_a_missing_argument_of_alias_is_named(cli: Any, arguments: list[str], missing: str) -> None:
    assert f"Missing argument '{missing}'." in cli.said("alias", *arguments, code=2)


# Predicting one row.


@pytest.mark.parametrize("row", ['{"s": "a", "x": 1.5}', '[1.5, "a"]', ' [1.5,"new"]\n'])
def test_one_row_is_predicted_from_an_object_or_a_list(cli: Any, row: str) -> None:
    result = cli("predict", "price", "--row", row)
    assert (result.stdout, result.stderr) == ("3.0\n", "")
    assert cli.json("predict", "price@1", "--row", row) == {
        "prediction": 3.0,
        "model": "price",
        "version": "1",
        "source": "live",
    }


@pytest.mark.parametrize(
    "row", ["", " ", "{", "nope", "{'x': 1}", "[1, 'a']", '{"x": NaN}', "[1] [2]", "@row.json"]
)
def test_a_row_that_is_no_json_is_wrong_usage(cli: Any, row: str) -> None:
    result = cli("predict", "price", "--row", row, code=2)
    assert result.stdout == ""
    assert "Error: --row: expected JSON, got " in result.stderr


def test_json_nested_too_deep_is_wrong_usage(cli: Any) -> None:
    said = cli.said("predict", "price", "--row", "[" * 100_000, code=2)
    assert "Error: --row: expected JSON, got " in said


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("5", "--row: expected an object or a list, got 5."),
        ("null", "--row: expected an object or a list, got null."),
        ('"x"', '--row: expected an object or a list, got "x".'),
        ("[]", "row: expected 2 values, got 0."),
        ("{}", "row.x: expected float64, got nothing."),
        ('{"x": 1}', "row.s: expected string, got nothing."),
        ('{"x": "1", "s": "a"}', "row.x: expected float64, got string '1'."),
        ('{"x": 1, "s": null}', "row.s: expected string, got null."),
        ('{"x": 1, "s": "a", "y": 1}', "row.y: expected only the model's fields (x, s), got"),
        ('[[1, "a"]]', "row: expected 2 values, got 1."),
    ],
)
def test_a_row_that_does_not_fit_is_an_error_with_the_fix(cli: Any, row: str, words: str) -> None:
    error = cli.json("predict", "price", "--row", row, code=1)
    assert (error["code"], error["exit_code"]) == ("InvalidInput", 1)
    assert words in error["error"]


def test_a_scalar_is_cut_short_in_its_message(cli: Any) -> None:
    said = cli.said("predict", "price", "--row", '"' + "x" * 500 + '"', code=1)
    assert "x" * 59 in said
    assert "x" * 60 not in said


def test_a_failure_of_the_model_is_told_as_it_is(cli: Any) -> None:
    error = cli.json("predict", "price", "--row", '[13, "a"]', code=1)
    assert error == {
        "error": "the model raised ValueError: no [luck] today",
        "code": "PredictionFailed",
        "exit_code": 1,
    }


def test_an_interrupt_while_the_model_works_ends_quietly(cli: Any) -> None:
    result = cli("predict", "price", "--row", '[1, "a"]', "--json", code=130, STOP="1")
    assert (result.stdout, result.stderr) == ("", "interrupted; nothing is broken\n")


def test_a_row_must_be_given(cli: Any) -> None:
    assert "Missing option '--row'." in cli.said("predict", "price", code=2)
    assert "Missing argument 'MODEL'." in cli.said("predict", "--row", "{}", code=2)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xsy"), inner),
    max_leaves=4,
)


@given(text=st.text() | VALUES.map(json.dumps))
def test_whatever_the_row_the_answer_is_a_prediction_or_an_error_never_a_trace(
    packed: Path, text: str
) -> None:
    registry = str(packed / "registry")
    arguments = ["predict", "price", f"--row={text}", "--registry", registry, "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code in (0, 1, 2)
    assert isinstance(result.exception, SystemExit | None)
    if result.exit_code == 2:
        assert "Error: --row: expected JSON, got " in result.stderr
    else:
        wanted = ["prediction", "model"] if result.exit_code == 0 else ["error", "code"]
        assert list(json.loads(result.stdout))[:2] == wanted


# Verifying.


def test_a_sound_version_is_verified(cli: Any) -> None:
    result = cli("verify", "price", "rows.parquet", "--in-process")
    assert result.stdout.splitlines() == [
        "price@1: 20 rows compared, 0 do not fit",
        "batch and real time: equal bit for bit",
        "original: bit-equal on 20 rows",
    ]
    assert result.stderr == ""
    assert cli.json("verify", "price", "rows.parquet", "--in-process", "--rows", "7") == {
        "model": "price@1",
        "rows": 7,
        "refused": 0,
        "passed": True,
        "speeds": 0,
        "original": "bit-equal on 7 rows",
        "examples": [],
        "ways": [],
    }


def test_a_difference_is_a_failure_whose_report_is_the_result(cli: Any) -> None:
    report = cli.json("verify", "price", "rows.parquet", "--in-process", code=1, DRIFT="1")
    assert (report["passed"], report["speeds"], len(report["examples"])) == (False, 20, 3)
    result = cli("verify", "price", "rows.parquet", "--in-process", code=1, DRIFT="1")
    assert "batch and real time: 20 rows differ\n" in result.stdout
    assert result.stderr == ""


def test_rows_that_do_not_fit_are_counted(cli: Any, table: Callable[[int], pa.Table]) -> None:
    spoilt = table(3).set_column(1, "x", pa.array([1.0, None, 2.0]))
    pq.write_table(spoilt, "spoilt.parquet")
    report = cli.json("verify", "price", "spoilt.parquet", "--in-process")
    assert (report["rows"], report["refused"], report["passed"]) == (2, 1, True)


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["nope", "rows.parquet"], "UnknownModel", "expected a model among: price, got 'nope'"),
        (["price", "no.csv"], "DeclarationError", "no.csv: expected a file, got nothing there"),
        (["price", "cli_rules.py"], "DeclarationError", "expected a .parquet, .csv or .arrow file"),
    ],
)
def test_what_cannot_be_verified_is_an_error(
    cli: Any, arguments: list[str], kind: str, words: str
) -> None:
    error = cli.json("verify", *arguments, code=1)
    assert error["code"] == kind
    assert words in error["error"]


@pytest.mark.parametrize("rows", ["0", "-1", "x", "1.5"])
def test_a_number_of_rows_that_is_none_is_wrong_usage(cli: Any, rows: str) -> None:
    said = cli.said("verify", "price", "rows.parquet", "--in-process", "--rows", rows, code=2)
    assert "Error: Invalid value for '--rows': " in said


# What they share.


@pytest.mark.parametrize(
    "arguments",
    [
        ["models"],
        ["models", "price"],
        ["alias", "price", "night", "1"],
        ["predict", "price", "--row", '[1, "a"]'],
        ["verify", "price", "rows.parquet", "--in-process"],
        ["pack", "cli_rules:no", "--name", "m", "--sample", "rows.parquet"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_every_command_refuses_wrong_settings_before_it_does_anything(
    cli: Any, arguments: list[str]
) -> None:
    Path("twofold.toml").write_text("[serve]\nport = -1\n", encoding="utf-8")
    result = cli(*arguments, code=2, TWOFOLD_NOPE="1")
    assert result.stdout == ""
    assert "twofold.toml: serve.port: expected 0 to 65535, got -1." in result.stderr
    assert "TWOFOLD_NOPE: expected a known setting, got an unknown one." in result.stderr


def test_the_registry_is_the_flag_s_else_the_variable_s_else_the_file_s(cli: Any) -> None:
    ending = "; pack one with `twofold pack`\n"
    Path("twofold.toml").write_text('registry = "of-file"', encoding="utf-8")
    assert cli("models").stderr.endswith(f"no models in of-file{ending}")
    found = cli("models", TWOFOLD_REGISTRY="of-variable")
    assert found.stderr.endswith(f"no models in of-variable{ending}")
    found = cli("models", "--registry", "of-flag", TWOFOLD_REGISTRY="of-variable")
    assert found.stderr.endswith(f"no models in of-flag{ending}")


def test_a_damaged_record_is_an_error_that_names_it(cli: Any) -> None:
    path = Path("registry/price/1/model.json")
    path.write_text(path.read_text(encoding="utf-8").replace("price", "prize", 1), "utf-8")
    for arguments in (["models"], ["models", "price"], ["predict", "price", "--row", "[]"]):
        error = cli.json(*arguments, code=1)
        assert (error["code"], error["exit_code"]) == ("ConfigError", 1)
        assert error["error"].startswith(f"{path}: expected the bytes it was packed with")
