"""What is special to Redis: its memory, its slots, its users, its network."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from twofold.errors import (
    CommitUnknown,
    ConfigError,
    LeaseHeld,
    StoreUnavailable,
    TwofoldError,
)
from twofold.stores import publish_redis
from twofold.stores.redis import RedisStore
from twofold.stores.snapshot import rolled_back, switched

sys.path.insert(0, str(Path(__file__).parent))
from foreign import skip
from servers import RedisServers, running_redis
from stores import KEYS, ROWS, TIMEOUT_S, Reading, numbered, publish, snapshot_of

redis = pytest.importorskip("redis")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServers]:
    with running_redis(tmp_path_factory.mktemp("redis") / "server") as servers:
        yield servers


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServers]:
    with running_redis(tmp_path_factory.mktemp("redis") / "cluster", nodes=3) as servers:
        yield servers


@pytest.fixture
def client(server: RedisServers) -> Iterator[Any]:
    with redis.Redis(port=server.nodes[0].port) as client:
        client.flushall()
        yield client


@pytest.fixture
def model() -> str:
    return f"m-{uuid.uuid4().hex}"


def store_at(servers: RedisServers, **more: Any) -> RedisStore:
    return RedisStore(servers.url, **{"timeout_s": TIMEOUT_S, "lease_s": 1.0} | more)


def kinds(client: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for key in client.scan_iter(count=1_000):
        kind = key.decode().rpartition("}")[2].split(":")[1]
        found[kind] = found.get(kind, 0) + 1
    return found


def test_nothing_is_left_behind_and_nothing_ends_by_itself(
    server: RedisServers, client: Any, model: str
) -> None:
    store = store_at(server)
    buckets = -(-ROWS // 64)
    for number in range(1, 5):
        snapshot = publish(store, model)
        reading = Reading(store, model)
        (found,) = reading.find(KEYS[:1]).stored
        assert reading.keep(b"new", found, snapshot)
        reading.close()
        kept = min(number, 2)
        wanted = {"pointer": 1, "written": 1, "live": 1, "rows": kept * buckets}
        assert kinds(client) == wanted
        assert client.hlen(f"twofold:{{{model}}}:written") == kept
    with store.publishing(model) as publication:
        publication.point(rolled_back(publication.pointer, model))
        assert kinds(client) == {"pointer": 1, "written": 1, "lock": 1, "rows": 2 * buckets}
        assert 0 < client.pttl(f"twofold:{{{model}}}:lock") <= 1_000
        endless = [key for key in client.scan_iter() if client.pttl(key) == -1]
        assert len(endless) == 2 * buckets + 2


@pytest.mark.parametrize("what", ["lock", "pointer"])
def test_a_switch_needs_both_the_right_to_publish_and_the_pointer_as_it_was(
    server: RedisServers, client: Any, model: str, what: str
) -> None:
    store = store_at(server)
    publish(store, model)
    key = f"twofold:{{{model}}}:pointer"
    with store.publishing(model) as publication:
        mine = snapshot_of(model, 2, 100)
        publication.write(mine, numbered(mine, KEYS[:100]))
        if what == "lock":
            client.set(f"twofold:{{{model}}}:lock", "somebody else")
        else:
            client.hset(key, "pointer", client.hget(key, "pointer") + b" ")
        before = client.hgetall(key)
        with pytest.raises(LeaseHeld):
            publication.point(switched(publication.pointer, mine))
    assert client.hgetall(key) == before
    if what == "lock":
        assert client.get(f"twofold:{{{model}}}:lock") == b"somebody else"


def test_rows_are_packed(client: Any, server: RedisServers, model: str) -> None:
    keys = [b"customer-%06d" % n for n in range(20_000)]
    before = client.info("memory")["used_memory"]
    snapshot = publish(store_at(server), model, keys)
    used = client.info("memory")["used_memory"] - before
    name = f"twofold:{{{model}:{snapshot.name}:0}}:rows"
    assert client.object("ENCODING", name) in {b"listpack", b"ziplist"}
    # A key of its own for each row would take some 150.
    assert used / len(keys) < 60


def test_a_row_that_was_changed_is_not_verified(
    client: Any, server: RedisServers, model: str
) -> None:
    snapshot = snapshot_of(model, 1, len(KEYS))
    with store_at(server).publishing(model) as publication:
        publication.write(snapshot, numbered(snapshot))
        name = f"twofold:{{{model}:{snapshot.name}:0}}:rows"
        key, value = next(iter(client.hgetall(name).items()))
        client.hset(name, key, bytes([*value[:-1], value[-1] ^ 1]))
        with pytest.raises(TwofoldError, match=r"got checksum [0-9a-f]+\. Publish the run again"):
            publication.verify(snapshot)
        client.hset(name, key, value)
        assert publication.verify(snapshot) == len(KEYS)


def test_a_server_that_throws_keys_away_is_refused(
    client: Any, server: RedisServers, model: str
) -> None:
    store = store_at(server)
    client.config_set("maxmemory", "1gb")
    try:
        client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(ConfigError, match=r"noeviction.*got allkeys-lru"):
            publish(store, model)
        client.config_set("maxmemory-policy", "volatile-lru")
        publish(store, model)
    finally:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 0)


def test_a_server_without_room_is_said_and_what_there_was_is_read_on(
    client: Any, server: RedisServers, model: str
) -> None:
    store = store_at(server)
    first = publish(store, model)
    client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(
            StoreUnavailable, match="command not allowed when used memory"
        ) as caught:
            publish(store, model)
        assert "customer-" not in str(caught.value)
        reading = Reading(store, model)
        assert reading.find(KEYS).snapshot == first
        with pytest.raises(StoreUnavailable, match="not allowed"):
            reading.keep(b"new", reading.find(KEYS[:1]).stored[0], first)
        reading.close()
    finally:
        client.config_set("maxmemory", 0)
    assert publish(store, model).number == 2


def test_a_user_needs_few_rights_and_a_wrong_password_is_not_repeated(
    client: Any, server: RedisServers, model: str
) -> None:
    rights = "+@read +@write +@connection +@scripting ~twofold:*"
    client.execute_command("ACL", "SETUSER", "al@ice", "on", ">hush/1%", *rights.split())
    url = server.url.replace("://", "://{}:{}@")
    store = RedisStore(url.format("al%40ice", "hush%2F1%25"), timeout_s=TIMEOUT_S)
    publish(store, model)
    reading = Reading(store, model)
    assert None not in reading.find(KEYS).stored
    reading.close()
    for user, password in (("al%40ice", "hush%2F2"), ("bob", "hush")):
        wrong = RedisStore(url.format(user, password), timeout_s=TIMEOUT_S)
        reading = Reading(wrong, model)
        for call in (
            lambda: reading.find(KEYS[:1]),  # noqa: B023 - called in this turn
            lambda: wrong.pointer(model),  # noqa: B023 - as above
            lambda: publish(wrong, model),  # noqa: B023 - as above
        ):
            with pytest.raises(StoreUnavailable, match=r"WRONGPASS|invalid username") as caught:
                call()
            assert "hush" not in str(caught.value)
        reading.close()
        assert "hush" not in repr(wrong)


def test_a_server_that_lost_everything_is_believed_and_published_to_anew(
    tmp_path: Path, model: str
) -> None:
    with running_redis(tmp_path / "server") as servers:
        store = store_at(servers)
        first = publish(store, model)
        reading = Reading(store, model)
        assert reading.find(KEYS[:1]).snapshot == first
        servers.nodes[0].kill()
        servers.start()
        until_s = time.monotonic() + 15
        while reading.find(KEYS[:1]).snapshot is not None:
            assert time.monotonic() < until_s
            time.sleep(0.1)
        again = publish(store, model)
        while reading.find(KEYS[:1]).snapshot != again:
            assert time.monotonic() < until_s
            time.sleep(0.1)
        reading.close()


def test_rows_are_spread_over_a_cluster(cluster: RedisServers, model: str) -> None:
    publish(store_at(cluster), model)
    held = [int(node.ask("DBSIZE")[1:-2]) for node in cluster.nodes]
    assert min(held) > 0


def test_readers_and_publishers_go_on_while_slots_move(cluster: RedisServers, model: str) -> None:
    if shutil.which("redis-cli") is None:
        skip("needs redis-cli")
    store = store_at(cluster)
    publish(store, model)
    reading = Reading(store, model)
    first = f"127.0.0.1:{cluster.nodes[0].port}"
    ids = [node.ask("CLUSTER", "MYID").split(b"\r\n")[1].decode() for node in cluster.nodes]
    failed: list[str] = []
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            try:
                found = reading.find(KEYS[:200])
                assert None not in found.stored
                assert found.snapshot is not None
                number = float(found.snapshot.number)
                assert {item and item.predictions for item in found.stored} == {(number,)}
            except Exception as error:  # noqa: BLE001 - told below
                failed.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for source, target in ((0, 1), (1, 0)):
            move = ["--cluster-from", ids[source], "--cluster-to", ids[target]]
            move += ["--cluster-slots", "2000", "--cluster-yes", "--cluster-pipeline", "100"]
            subprocess.run(
                ["redis-cli", "--cluster", "reshard", first, *move],
                check=True,
                stdout=subprocess.DEVNULL,
                timeout=60,
            )
            publish(store, model)
    finally:
        is_over.set()
        thread.join()
        reading.close()
    assert failed == []


class Link:
    """A way to a server that loses what it is told to lose."""

    def __init__(self, port: int) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._to = port
        self.loses_request: bytes | None = None
        self.loses_answer: bytes | None = None
        self.is_cut = False
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        # Wakes the thread that listens, which closing alone doesn't.
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                if self.is_cut:
                    near.close()
                    continue
                threading.Thread(target=self._carry, args=[near], daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        far = socket.create_connection(("127.0.0.1", self._to))
        is_mute = threading.Event()

        def answers() -> None:
            with contextlib.suppress(OSError):
                while told := far.recv(1 << 16):
                    if is_mute.is_set():
                        break
                    near.sendall(told)
            hang_up()

        def hang_up() -> None:
            for end in (near, far):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

        back = threading.Thread(target=answers, daemon=True)
        back.start()
        with contextlib.suppress(OSError):
            while told := near.recv(1 << 16):
                if self.loses_request is not None and self.loses_request in told:
                    self.loses_request = None
                    break
                if self.loses_answer is not None and self.loses_answer in told:
                    self.loses_answer = None
                    is_mute.set()
                far.sendall(told)
        if not is_mute.is_set():
            hang_up()
        back.join()
        near.close()
        far.close()


@pytest.fixture
def link(server: RedisServers) -> Iterator[Link]:
    link = Link(server.nodes[0].port)
    yield link
    link.close()


@contextlib.contextmanager
def about_to_point(link: Link, model: str) -> Iterator[tuple[Any, Any]]:
    store = RedisStore(f"redis://127.0.0.1:{link.port}", timeout_s=TIMEOUT_S, lease_s=5.0)
    publish(store, model)
    with store.publishing(model) as publication:
        snapshot = snapshot_of(model, 2, 100)
        publication.write(snapshot, numbered(snapshot, KEYS[:100]))
        yield publication, switched(publication.pointer, snapshot)


MOVE = b"'mark', ARGV[4]"


def test_a_connection_lost_after_the_switch_was_made_is_no_failure(
    server: RedisServers, link: Link, model: str
) -> None:
    with about_to_point(link, model) as (publication, moved):
        link.loses_answer = MOVE
        publication.point(moved)
        assert link.loses_answer is None
    assert store_at(server).pointer(model) == moved


def test_a_connection_lost_before_the_switch_was_made_says_so(
    server: RedisServers, link: Link, model: str
) -> None:
    with about_to_point(link, model) as (publication, moved):
        link.loses_request = MOVE
        with pytest.raises(StoreUnavailable):
            publication.point(moved)
        assert link.loses_request is None
        assert store_at(server).pointer(model).switches == 1
        publication.point(moved)
    assert store_at(server).pointer(model) == moved


@pytest.mark.parametrize("is_made", [True, False])
def test_a_connection_lost_for_good_at_the_switch_is_unknown(
    server: RedisServers, link: Link, model: str, monkeypatch: pytest.MonkeyPatch, *, is_made: bool
) -> None:
    monkeypatch.setattr(publish_redis, "SETTLE_WAIT_S", 0.01)
    with about_to_point(link, model) as (publication, moved):
        # The connections that there are go on: it is lost at the very command.
        link.loses_answer, link.loses_request = (MOVE, None) if is_made else (None, MOVE)
        link.is_cut = True
        with pytest.raises(CommitUnknown, match="expected an answer to the switch"):
            publication.point(moved)
    assert store_at(server).pointer(model).switches == (2 if is_made else 1)


def test_a_connection_with_tls_is_checked(tmp_path: Path, model: str) -> None:
    if shutil.which("openssl") is None:
        skip("needs openssl")
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subject = ["-subj", "/CN=127.0.0.1", "-days", "2", *names]
    files = ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    keys = ["--tls-cert-file", tmp_path / "cert.pem", "--tls-key-file", tmp_path / "key.pem"]
    keys += ["--tls-ca-cert-file", tmp_path / "cert.pem", "--tls-auth-clients", "no"]
    options = [str(word) for word in ("--tls-port", port, *keys)]
    with running_redis(tmp_path / "server", options=options):
        url = f"rediss://127.0.0.1:{port}"
        unknown = RedisStore(url, timeout_s=TIMEOUT_S)
        with pytest.raises(StoreUnavailable, match=r"certificate verify failed"):
            unknown.pointer(model)
        store = RedisStore(f"{url}?ssl_ca_certs={tmp_path}/cert.pem", timeout_s=TIMEOUT_S)
        snapshot = publish(store, model)
        reading = Reading(store, model)
        assert reading.find(KEYS).snapshot == snapshot
        reading.close()
