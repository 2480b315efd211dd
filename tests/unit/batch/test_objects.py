"""Objects of a store, here one in memory."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import obstore
import pyarrow as pa
import pytest
from obstore.store import MemoryStore

from twofold.batch import find, objects
from twofold.batch.find import find_files
from twofold.batch.inputs import check_unchanged, open_input, read_chunks
from twofold.batch.objects import (
    ENDPOINTS,
    check_endpoint,
    find_objects,
    matches,
    split_url,
    words_of,
)
from twofold.batch.plan import Plan
from twofold.errors import ConfigError, InvalidInput

NOBODY = "no credentials in the environment, nor by a role of this machine"

Put = Callable[[str, bytes], None]


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Put:
    store = MemoryStore()
    monkeypatch.setattr(objects, "_store", lambda root: store)
    return lambda key, data: obstore.put(store, key, data) and None


def found(url: str) -> list[str]:
    return sorted(
        file.key for file in find_objects(url, suffixes=[".csv", ".parquet"], marker="_log")
    )


def read(url: str, columns: list[str], first_row: int = 0) -> dict[str, list[Any]]:
    chunks = read_chunks(open_input(url), columns, Plan(8, 3), first_row=first_row)
    return pa.Table.from_batches([chunk.rows.columns for chunk in chunks]).to_pydict()


def test_objects_folders_and_globs(put: Put) -> None:
    for key in (
        "a/x.csv",
        "a/b/y.csv",
        "a/_z.csv",
        "a/.h/x.csv",
        "a/n.txt",
        "ab.csv",
        "a/q%20 #.csv",
    ):
        put(key, b"1")
    assert found("s3://bucket/a") == ["a/b/y.csv", "a/q%20 #.csv", "a/x.csv"]
    assert found("s3://bucket/a/") == found("s3://bucket/a")
    assert found("s3://bucket/a/x.csv") == ["a/x.csv"]
    assert found("s3://bucket/a/*.csv") == ["a/_z.csv", "a/q%20 #.csv", "a/x.csv"]
    assert found("s3://bucket/**/?.csv") == ["a/b/y.csv", "a/x.csv"]
    assert found("s3://bucket/none") == []
    with pytest.raises(InvalidInput, match="nothing there"):
        open_input("s3://bucket/none")


def test_objects_of_a_delta_table_are_not_read_without_its_log(put: Put) -> None:
    for key in ("a/t/_delta_log/0.json", "a/t/day=1/x.csv", "a/t/y.csv", "a/tx/z.csv", "b/x.csv"):
        put(key, b"id\n1\n")
    for below in ("a", "a/t/y.csv", "a/t/day=1", "a/t/*.csv", "a/t/day=1/x.csv", "**/y.csv", ""):
        with pytest.raises(InvalidInput, match=r"Read it as delta:s3://bucket/a/t,"):
            find_files(f"s3://bucket/{below}")
    for below in ("a/tx", "a/tx/z.csv", "b", "b/*.csv", "a/*/z.csv"):
        assert len(find_files(f"s3://bucket/{below}")) == 1
    put("_delta_log/0.json", b"")
    with pytest.raises(InvalidInput, match=r"Read it as delta:s3://bucket,"):
        find_files("s3://bucket/b/x.csv")


def test_who_may_not_look_beside_an_object_may_read_it(
    put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a/x.csv", b"id\n1\n")

    def forbidden(root: str, folder: str) -> bool:
        raise PermissionError("AccessDenied")

    monkeypatch.setattr(find, "has_objects", forbidden)
    assert len(find_files("s3://bucket/a/x.csv")) == 1


@pytest.mark.parametrize("kind", ["parquet", "csv", "arrow", "arrows", "jsonl"])
def test_every_format_reads_as_from_disk(bench: Any, put: Put, kind: str) -> None:
    table = bench.table([float(n) for n in range(20)])
    for day in ("1", "2"):
        (bench.folder / f"in/day={day}").mkdir(parents=True)
        name = f"in/day={day}/in.{kind}"
        if kind == "jsonl":
            path = bench.text("".join(f'{{"id":"c{n}"}}\n' for n in range(20)), name)
        elif kind == "csv":
            path = bench.csv(table, name)
        elif kind == "parquet":
            path = bench.parquet(table, name, row_group_size=4)
        else:
            path = bench.arrow(table, name, stream=kind == "arrows")
        put(name, path.read_bytes())
    columns = ["", "day"] if kind == "jsonl" else ["amount", "day", "id"]
    for first_row in (0, 7, 20, 33):
        local = read(str(bench.folder / "in"), columns, first_row)
        assert read("s3://bucket/in", columns, first_row) == local
        assert len(local["day"]) == 40 - first_row


def test_an_object_that_is_written_to_meanwhile_ends_the_run(bench: Any, put: Put) -> None:
    data = bench.parquet(bench.table([1.0])).read_bytes()
    put("in.parquet", data)
    source = open_input("s3://bucket/in.parquet")
    check_unchanged(source)
    put("in.parquet", data)
    with pytest.raises(InvalidInput, match=r"s3://bucket/in\.parquet: expected a file that stays"):
        check_unchanged(source)
    with pytest.raises(InvalidInput, match="written to meanwhile"):
        list(read_chunks(source, ["id"], Plan(8, 3), first_row=0))


def test_a_run_and_its_manifest(bench: Any, put: Put) -> None:
    put("in.parquet", bench.parquet(bench.table([1.0, 2.0])).read_bytes())
    result = bench.run("s3://bucket/in.parquet")
    (file,) = result.manifest.input.files
    assert (result.manifest.input.given, file.path) == ("s3://bucket/in.parquet",) * 2
    assert file.etag
    assert bench.run("s3://bucket/in.parquet").state == "already committed"
    put("in.parquet", bench.parquet(bench.table([1.0, 3.0])).read_bytes())
    with pytest.raises(InvalidInput, match="another content of the input"):
        bench.run("s3://bucket/in.parquet")


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:hush@bucket/x.csv",
        "s3://bucket/x.csv?X-Amz-Signature=hush",
        "az://box/x.csv?sv=1&sig=hush/hush",
    ],
)
def test_a_url_with_a_secret_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidInput, match="without a user, a password or a signature") as caught:
        split_url(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://b//x", "s3://b/a//x.csv", "gs://b/a/../x", "s3://b/./"])
def test_a_key_that_is_no_path_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="expected a key without empty parts"):
        split_url(url)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("GET https://x/y?sig=hush failed", "GET https://x/y?... failed"),
        ("GET https://me:hush@x/y failed:", "GET https://...@x/y failed"),
        (
            "HEAD: 403: <Error><Code>AccessDenied</Code>\n<Message>No.</Message><Key>hush</Key>",
            "AccessDenied: No",
        ),
        (
            'HEAD http://x: error sending request\n\nDebug source:\nOs { message: "refused" }',
            "HEAD http://x: error sending request: refused",
        ),
        (
            "PUT http://x/latest/api/token: \x1b[31m404\x1b[0m",
            f"{NOBODY} (PUT http://x/latest/api/token: 404)",
        ),
        ("", "OSError"),
    ],
)
def test_what_a_store_says_is_told_in_a_line_without_secrets(said: str, told: str) -> None:
    assert words_of(OSError(said)) == told


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, None),
        ({"AWS_ENDPOINT_URL": "https://minio:9000"}, None),
        ({"AWS_ENDPOINT": "http://localhost:9000/path", "AWS_ALLOW_HTTP": "True"}, None),
        ({"AWS_ENDPOINT_URL": "http://localhost:9000"}, "set AWS_ALLOW_HTTP=true"),
        ({"AWS_ENDPOINT_URL": "localhost:9000"}, "AWS_ENDPOINT_URL: expected a URL such as"),
        ({"AWS_ENDPOINT_URL_S3": "https://me:hush@localhost"}, "without a user or a parameter"),
        ({"AWS_ENDPOINT_URL_S3": "https://localhost?key=hush"}, "without a user or a parameter"),
        ({"AWS_ENDPOINT_URL": ""}, "AWS_ENDPOINT_URL: expected a URL such as"),
    ],
)
def test_an_endpoint_that_no_library_could_ask_is_refused(
    environment: dict[str, str], says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*ENDPOINTS, "AWS_ALLOW_HTTP"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    check_endpoint("gs://bucket")
    if says is None:
        check_endpoint("s3://bucket")
        return
    with pytest.raises(ConfigError, match=says) as caught:
        check_endpoint("s3://bucket")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "glob", "does"),
    [
        ("a/b.csv", "a/*", True),
        ("a/b/c.csv", "a/*", False),
        ("a/b/c.csv", "a/**", True),
        ("a/c.csv", "a/**/c.csv", True),
        ("a/.b/c.csv", "a/**/c.csv", False),
        ("a/.b/c.csv", "a/.b/c.csv", True),
        ("day=1/x", "day=[12]/?", True),
        ("day=3/x", "day=[12]/?", False),
    ],
)
def test_globs_match_as_on_disk(key: str, glob: str, does: bool) -> None:
    assert matches(key.split("/"), glob.split("/")) is does


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_only_needed_columns_are_fetched_and_in_few_requests(
    bench: Any, put: Put, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 200_000
    wide = {f"x{n}": pa.array(range(n, rows + n), pa.int64()) for n in range(10)}
    table = pa.table(wide)
    if kind == "parquet":
        data = bench.parquet(table, row_group_size=100_000, use_dictionary=False).read_bytes()
    else:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=100_000)
        data = sink.getvalue().to_pybytes()
    put(f"in.{kind}", data)
    asked: list[int] = []
    fetch = objects.ObjectFile._fetch

    def counted(self: objects.ObjectFile, span: tuple[int, int]) -> bytes:
        asked.append(span[1] - span[0])
        return fetch(self, span)

    monkeypatch.setattr(objects.ObjectFile, "_fetch", counted)
    source = open_input(f"s3://bucket/in.{kind}")
    chunks = list(read_chunks(source, ["x2", "x7"], Plan(1 << 20, 1 << 16), first_row=0))
    assert sum(chunk.rows.columns.num_rows for chunk in chunks) == rows
    assert sum(asked) < len(data) * 0.5
    assert len(asked) <= 16


class _Empty(http.server.BaseHTTPRequestHandler):
    """A store without objects."""

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.end_headers()

    def log_message(self, *given: Any) -> None:
        """Say nothing."""


@pytest.fixture
def plain_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Empty) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
        objects._store.cache_clear()
        yield
        objects._store.cache_clear()
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("plain_server")
def test_a_server_without_tls_is_asked_if_the_environment_allows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError, match="expected an encrypted connection"):
        objects.find_object("s3://bucket", "a")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    objects._store.cache_clear()
    assert objects.find_object("s3://bucket", "a") is None
