"""What a run set aside is handed out, mended, and put back, whatever the input was."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from twofold.batch.export import ExportRequest, export
from twofold.batch.inputs import open_input, read_chunks
from twofold.batch.plan import Plan
from twofold.errors import ConfigError, InvalidInput
from twofold.model.signature import Field, Signature

# Of 28 rows in partitions of 8 and batches of 3; two files of JSON Lines or CSV have 14 each.
BAD = [0, 7, 8, 20, 27]
ROWS = 28


@pytest.fixture(autouse=True)
def lenient(bench: Any) -> None:
    bench.settings = dataclasses.replace(bench.settings, max_quarantined_ratio=1.0)


def out(bench: Any, name: str = "aside.parquet", **changed: Any) -> Path:
    request = ExportRequest(bench.output, changed.pop("run_id", "night"), bench.folder / name)
    assert export(request, bench.predictor.signature, batch_rows=5) > 0
    return request.file


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_bytes().splitlines()]
    if path.suffix == ".csv":
        with path.open() as file:
            first = file.readline().strip().replace('"', "").split(",")
        kinds = dict.fromkeys(first, pa.string())
        options = pc.ConvertOptions(column_types=kinds, strings_can_be_null=True)
        return pc.read_csv(path, convert_options=options).to_pylist()
    if path.suffix == ".arrow":
        return pa.ipc.open_file(path).read_all().to_pylist()
    return pq.ParquetFile(path).read().to_pylist()


def write_lines(bench: Any, rows: list[dict[str, Any]], name: str) -> Path:
    return bench.text("".join(json.dumps(row) + "\n" for row in rows), name)


def an_input(bench: Any, kind: str, name: str, *, is_right: bool) -> Path:
    """Two files of one kind, of which some rows are bad, or none."""
    folder = bench.folder / name
    amounts = [float(row) if is_right or row not in BAD else None for row in range(ROWS)]
    table = bench.table(amounts, note=pa.array([f'n"{row},\n' for row in range(ROWS)]))
    for number, half in enumerate((table.slice(0, 14), table.slice(14))):
        folder.mkdir(exist_ok=True)
        file = f"{name}/{number}.{kind}"
        if kind == "jsonl":
            write_lines(bench, half.to_pylist(), file)
        elif kind == "csv":
            bench.csv(half, file)
        elif kind == "arrow":
            bench.arrow(half, file)
        else:
            bench.parquet(half, file, row_group_size=4)
    return folder


def mend(bench: Any, path: Path) -> Path:
    """Write what was handed out with right amounts, in its own format, notes and all."""
    is_csv = path.suffix == ".csv"
    rows = [row | {"amount": row["row"] if is_csv else float(row["row"])} for row in read(path)]
    name = f"mended{path.suffix}"
    if path.suffix == ".jsonl":
        return write_lines(bench, rows, name)
    table = pa.Table.from_pylist(rows)
    if is_csv:
        return bench.csv(table, name)
    return bench.arrow(table, name) if path.suffix == ".arrow" else bench.parquet(table, name)


def predictions(folder: Path) -> list[dict[str, Any]]:
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    tables = [pq.ParquetFile(folder / file["name"]).read() for file in files]
    return pa.concat_tables(tables).drop_columns(["run_id", "predicted_at"]).to_pylist()


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        *(("parquet", suffix) for suffix in ("parquet", "csv", "jsonl", "arrow")),
        *(("arrow", suffix) for suffix in ("parquet", "jsonl")),
        ("csv", "csv"),
        *(("jsonl", suffix) for suffix in ("jsonl", "csv")),
    ],
)
def test_mended_run_equals_one_over_the_right_input(bench: Any, kind: str, suffix: str) -> None:
    keep = ("note",)
    bench.run(an_input(bench, kind, "in", is_right=False), keep=keep)
    path = out(bench, f"aside.{suffix}")
    rows = read(path)
    assert [int(row["row"]) for row in rows] == BAD
    assert [row["id"] for row in rows] == [f"c{row}" for row in BAD]
    assert [row["note"] for row in rows] == [f'n"{row},\n' for row in BAD]
    assert list(rows[0])[:3] == ["row", "field", "reason"]
    assert {row["field"] for row in rows} == {"amount"}
    assert all(row["reason"].startswith("expected ") for row in rows)
    result = bench.repair(mend(bench, path), keep=keep)
    assert result.manifest.rows_quarantined == 0
    bench.run(an_input(bench, kind, "right", is_right=True), run_id="right", keep=keep)
    assert predictions(bench.committed) == predictions(bench.output / "right")


def test_only_rows_that_are_still_set_aside_are_handed_out(bench: Any) -> None:
    bench.run(an_input(bench, "parquet", "in", is_right=False))
    path = out(bench)
    some = pq.ParquetFile(path).read().slice(1, 2)
    fixed = some.set_column(4, "amount", pa.array([7.0, 8.0]))
    bench.repair(bench.parquet(fixed, "mended.parquet"))
    assert [row["row"] for row in read(out(bench, "again.parquet"))] == [0, 20, 27]


def test_text_of_csv_stays_as_it_was(bench: Any) -> None:
    cells = ['c0,"1,5",basic', "c1,007,basic", "c2,N/A,basic", 'c3,,""', "c4,1", 'c5,1e400,"a""b"']
    bench.run(bench.text("id,amount,plan\n" + "\n".join(cells) + "\n"))
    found = {row["row"]: row for row in read(out(bench))}
    assert found[0]["amount"] == "1,5"
    assert found[2] | {"reason": ""} == {
        "row": 2,
        "field": "amount",
        "reason": "",
        "id": "c2",
        "amount": "N/A",
        "plan": "basic",
    }
    assert (found[3]["amount"], found[3]["plan"]) == (None, "")
    assert (found[4]["id"], found[4]["field"]) == (None, "")  # its cells have no columns
    assert found[5]["plan"] == 'a"b'
    assert 1 not in found
    text = out(bench, "aside.csv").read_text()
    assert '"1,5"' in text
    assert '"a""b"' in text


def test_lines_keep_their_members_as_they_were_written(bench: Any) -> None:
    lines = [
        '{"id":"c0","amount":1.50,"plan":"gold"}',
        '  { "id" : "c1", "amount": "x", "plan": "basic", "note": {"deep": [1.10]} }\r',
        '{"id":"c2","amount":2,"plan":"basic"}',
        '{"id":"c3","amount":1,"amount":2,"plan":"basic"}',
        "[1]",
        "{broken",
        "{}",
        '{"id":"c7","reason":"mine","amount":"x","plan":"basic"}',
    ]
    bench.run(bench.text("\n".join(lines) + "\n", "in.jsonl"))
    found = out(bench, "aside.jsonl").read_text().splitlines()
    assert len(found) == 7
    assert found[0].endswith(',"id":"c0","amount":1.50,"plan":"gold"}')
    assert '"note": {"deep": [1.10]}}' in found[1]
    assert found[2].endswith('"id":"c3","amount":1,"amount":2,"plan":"basic"}')
    rows = [json.loads(line) for line in found]
    assert [row["row"] for row in rows] == [0, 1, 3, 4, 5, 6, 7]
    assert (rows[3]["line"], rows[4]["line"]) == ("[1]", "{broken")
    assert list(rows[5]) == ["row", "field", "reason"]
    assert rows[6]["reason"] == "mine"
    texts = {row["row"]: row for row in read(out(bench))}
    assert texts[1]["note"] == '{"deep": [1.10]}'
    assert texts[0]["amount"] == "1.50"
    assert texts[5]["amount"] is None


def test_columns_of_folders_come_in_the_types_of_their_fields(bench: Any) -> None:
    bench.predictor.signature = Signature(
        fields=(
            Field(name="amount", type="float64"),
            Field(name="plan", type="string", categories=("basic",)),
            Field(name="day", type="int64"),
        )
    )
    for kind in ("parquet", "jsonl"):
        for day in (1, 2):
            table = bench.table([None, 2.0])
            name = f"{kind}/day={day}/in.{kind}"
            (bench.folder / name).parent.mkdir(parents=True)
            if kind == "jsonl":
                write_lines(bench, table.to_pylist(), name)
            else:
                bench.parquet(table, name)
        bench.run(bench.folder / kind, run_id=kind)
        path = out(bench, f"aside-{kind}.{kind}", run_id=kind)
        assert [(row["row"], row["day"]) for row in read(path)] == [(0, 1), (2, 2)]
        mended = mend(bench, path)
        assert bench.repair(mended, run_id=kind).manifest.rows_quarantined == 0


def test_a_delta_table_is_read_at_the_version_of_the_run(bench: Any) -> None:
    path = bench.folder / "table"
    write_deltalake(path, bench.table([1.0, None]))
    bench.run(path)
    write_deltalake(path, bench.table([5.0]), mode="overwrite")
    assert [row["id"] for row in read(out(bench))] == ["c1"]


def test_files_may_have_other_columns_but_in_a_typed_file_no_other_types(bench: Any) -> None:
    first = bench.table([None, 2.0], note=pa.array([1, 2]))
    second = bench.table([None], more=pa.array(["x"]))
    bench.predictor.signature = Signature(
        fields=bench.predictor.signature.fields, extra_fields="ignore"
    )
    bench.parquet(first, "in/0.parquet")
    bench.parquet(second, "in/1.parquet")
    bench.run(bench.folder / "in")
    rows = read(out(bench))
    assert [(row["note"], row["more"]) for row in rows] == [(1, None), (None, "x")]
    bench.parquet(second.append_column("note", pa.array(["y"])), "in/1.parquet")
    bench.run(bench.folder / "in", run_id="other")
    with pytest.raises(InvalidInput, match=r"note: expected one type in all files, got int64 and"):
        out(bench, "other.parquet", run_id="other")
    notes = [row["note"] for row in read(out(bench, "other.jsonl", run_id="other"))]
    assert notes == [1, "y"]
    assert [row["note"] for row in read(out(bench, "o.csv", run_id="other"))] == ["1", "y"]


def test_an_input_that_was_changed_is_refused(bench: Any) -> None:
    path = bench.parquet(bench.table([1.0, None]))
    bench.run(path)
    bench.parquet(bench.table([None, 1.0]))
    with pytest.raises(InvalidInput, match="expected the input of the run, got another content"):
        out(bench)
    path.unlink()
    with pytest.raises(InvalidInput, match="nothing there"):
        out(bench)
    assert not (bench.folder / "aside.parquet").exists()


def test_what_can_not_be_handed_out_is_said(bench: Any) -> None:
    bench.run(bench.parquet(bench.table([1.0])))
    with pytest.raises(InvalidInput, match="expected rows set aside, got none"):
        out(bench)
    with pytest.raises(InvalidInput, match="expected a committed run, got none"):
        out(bench, run_id="absent")
    with pytest.raises(InvalidInput, match=r"expected a file name that ends in"):
        out(bench, "aside.xlsx")
    with pytest.raises(InvalidInput, match="expected a new file, got one that is there"):
        out(bench, "in.parquet")
    lists = bench.table([None, 1.0], note=pa.array([[1], [2]]))
    bench.run(bench.parquet(lists, "lists.parquet"), run_id="lists")
    with pytest.raises(InvalidInput, match="note: expected a type that CSV has, got list"):
        out(bench, "aside.csv", run_id="lists")
    with pytest.raises(ConfigError, match="expected a file to write"):
        out(bench, "absent/aside.parquet", run_id="lists")
    assert read(out(bench, "aside.jsonl", run_id="lists"))[0]["note"] == [1]


def test_a_column_called_like_the_number_is_refused(bench: Any) -> None:
    bench.predictor.signature = Signature(
        fields=bench.predictor.signature.fields, extra_fields="ignore"
    )
    bench.run(bench.parquet(bench.table([None, 1.0], row=pa.array([1, 2]))))
    bench.run(
        bench.text('{"id":"a","row":1}\n{"id":"b","amount":1,"plan":"pro"}\n', "in.jsonl"),
        run_id="lines",
    )
    for run_id, name in (("night", "a.csv"), ("lines", "b.jsonl"), ("lines", "c.csv")):
        with pytest.raises(InvalidInput, match="row: expected a name that only numbers rows"):
            out(bench, name, run_id=run_id)


def test_the_answer_of_a_query_is_gone(bench: Any) -> None:
    path = bench.folder / "in.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t AS SELECT 'a' AS id, NULL AS amount, 'pro' AS plan")
        connection.execute("INSERT INTO t VALUES ('b', 1.0, 'pro')")
    bench.run(f"sqlite:{path}", query="SELECT id, CAST(amount AS REAL) amount, plan FROM t")
    with pytest.raises(InvalidInput, match="expected an input that is kept, got the answer"):
        out(bench)


def test_rows_that_need_not_be_read_are_not(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    amounts = [None if row in (50, 51) else 1.0 for row in range(80)]
    bench.parquet(bench.table(amounts[:40]), "in/0.parquet", row_group_size=10)
    bench.parquet(bench.table(amounts[40:]), "in/1.parquet", row_group_size=10)
    bench.run(bench.folder / "in")
    read_rows: list[tuple[int, int]] = []

    def noted(source: Any, *args: Any, **how: Any) -> Any:
        for chunk in read_chunks(source, *args, **how):
            read_rows.append((chunk.first_row, chunk.rows.columns.num_rows))
            yield chunk

    monkeypatch.setattr("twofold.batch.export.read_chunks", noted)
    assert [row["row"] for row in read(out(bench))] == [50, 51]
    assert read_rows == [(10, 5)]


def test_mended_rows_are_read_with_the_plan_of_any_run(bench: Any) -> None:
    """A file of many rows set aside has them in order, in row groups that can be read."""
    bench.run(bench.parquet(bench.table([None] * 40 + [1.0] * 41)), run_id="night")
    path = out(bench)
    assert pq.ParquetFile(path).metadata.num_row_groups == 8
    chunks = read_chunks(open_input(str(path)), ["row"], Plan(100, 100), first_row=0)
    assert next(chunks).rows.columns.column("row").to_pylist() == list(range(40))
