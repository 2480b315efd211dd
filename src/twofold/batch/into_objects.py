"""A folder of an object store as a target: the files of a run, then the manifest that lists them.

```
FOLDER/RUN_ID/_delivery.json   which run has the name, written before all else and only once
              part-*           the files of the run
              quarantine.parquet, or quarantine-repair-1.parquet: a new name as the parts have
              manifest.json    created only if there is none, or replaced if it is as it was read
```
Whoever reads the manifest first finds all it lists, in the bytes it says: no file is written anew
under a name that a manifest has.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
from collections.abc import Generator, Iterator
from pathlib import Path

import msgspec
import pyarrow as pa

from twofold.batch.committed import Committed, damaged
from twofold.batch.manifest import MANIFEST_FILE, FileEntry, Manifest, render_manifest
from twofold.batch.objects import (
    PUT_BYTES,
    ObjectFile,
    delete_objects,
    find_object,
    list_objects,
    put_if,
    put_object,
    split_url,
)
from twofold.batch.plan import repaired_quarantine
from twofold.batch.target import DeliveryState, Look, NotDelivered, another_run
from twofold.batch.watch import Step

CLAIM_FILE = "_delivery.json"
OURS = re.compile(r"(?:part-\d{6}|quarantine)(?:-repair-(\d+))?\.(?:parquet|csv|arrow)")
"""The names of a run's files, with the repair that wrote them."""
ATTEMPTS = 3
REACH = "Mend the URL, the store's environment variables, or the rights they give."
NAMES = "Choose another --run-id or folder, or delete all objects under that name."


class _Claim(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str
    run: str


@dataclasses.dataclass(frozen=True)
class IntoObjects:
    """A folder of a store.

    Attributes:
        root: The store and the bucket.
        folder: The folder in it; empty for the bucket itself.
    """

    root: str
    folder: str
    has_types = False

    @property
    def name(self) -> str:
        """Its URL."""
        return f"{self.root}/{self.folder}".rstrip("/")

    def check(self, run_id: str, schema: pa.Schema | None) -> None:  # noqa: ARG002 - files are files
        """See `Target.check`."""
        for name in (MANIFEST_FILE, CLAIM_FILE):
            if self._find(self._key(run_id, name)) is not None:
                raise another_run(run_id, NAMES)

    def deliver(self, run: Committed, look: Look) -> DeliveryState:
        """See `Target.deliver`."""
        look.step(Step.DELIVER)
        uploaded = False
        for _ in range(ATTEMPTS):
            before, there = self._manifest(run.run_id)
            if there is not None and self._has(there, run):
                self._clean_up(run.run_id, there)
                return DeliveryState.ALREADY_DELIVERED
            if not uploaded:
                self._claim(run)
                self._upload(run, look)
                uploaded = True
            look.step(Step.DELIVER_COMMIT)
            manifest, key = _as_delivered(run), self._key(run.run_id, MANIFEST_FILE)
            if self._put_if(key, render_manifest(manifest), before):
                self._clean_up(run.run_id, manifest)
                return DeliveryState.DELIVERED
        got = "one that others change all the time"
        raise NotDelivered(f"a {MANIFEST_FILE} to replace", got, "Deliver it again.")

    def _key(self, run_id: str, name: str) -> str:
        return "/".join(part for part in (self.folder, run_id, name) if part)

    def _manifest(self, run_id: str) -> tuple[ObjectFile | None, Manifest | None]:
        file = self._find(self._key(run_id, MANIFEST_FILE))
        if file is None:
            return None, None
        try:
            return file, msgspec.json.decode(self._read(file), type=Manifest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            got = f"another file: {error}"
            raise NotDelivered(f"a manifest or nothing as {file}", got, NAMES) from error

    def _has(self, there: Manifest, run: Committed) -> bool:
        """Whether the run is there as it is now, or repaired further; not, if as it was before."""
        theirs, ours = there.repairs, run.manifest.repairs
        both = min(len(theirs), len(ours))
        if Committed(run.folder, there).identity != run.identity or theirs[:both] != ours[:both]:
            raise another_run(run.run_id, NAMES)
        return len(theirs) >= len(ours)

    def _claim(self, run: Committed) -> None:
        """Keep the name for this run: of two runs, the second finds the first one's claim."""
        key = self._key(run.run_id, CLAIM_FILE)
        claim = _Claim(run_id=run.run_id, run=run.identity)
        if self._put_if(key, msgspec.json.encode(claim), None):
            return
        file = self._find(key)
        try:
            found = file and msgspec.json.decode(self._read(file), type=_Claim)
        except (msgspec.DecodeError, UnicodeDecodeError):
            found = None
        if found != claim:
            raise another_run(run.run_id, NAMES)

    def _upload(self, run: Committed, look: Look) -> None:
        manifest = run.manifest
        rows = 0
        for entry in manifest.files:
            self._put(run, entry, entry.name)
            rows += entry.rows
            look.rows(rows)
        if manifest.quarantine is not None:
            name = repaired_quarantine(len(manifest.repairs))
            self._put(run, manifest.quarantine, name)

    def _put(self, run: Committed, entry: FileEntry, name: str) -> None:
        pieces = _checked(run.folder / entry.name, entry)
        with _reached():
            put_object(self.root, self._key(run.run_id, name), pieces, entry.bytes)

    def _clean_up(self, run_id: str, manifest: Manifest) -> None:
        """Delete what earlier generations had and this one hasn't.

        Nobody who asks for the manifest finds it; who lists the folder would find rows twice.
        """
        if not manifest.repairs:
            return
        names = {file.name for file in manifest.files}
        if manifest.quarantine is not None:
            names.add(manifest.quarantine.name)
        folder = self._key(run_id, "") + "/"
        gone: list[str] = []
        with _reached():
            for file in list_objects(self.root, folder):
                name = file.key.removeprefix(folder)
                found = OURS.fullmatch(name)
                # Of a later repair they may be on their way.
                is_old = found is not None and int(found[1] or 0) <= len(manifest.repairs)
                if is_old and name not in names:
                    gone.append(file.key)
            delete_objects(self.root, gone)

    def _find(self, key: str) -> ObjectFile | None:
        with _reached():
            return find_object(self.root, key)

    def _read(self, file: ObjectFile) -> bytes:
        with _reached(), file.open() as opened:
            return opened.read()

    def _put_if(self, key: str, data: bytes, after: ObjectFile | None) -> bool:
        with _reached():
            return put_if(self.root, key, data, after)


def into_objects(text: str) -> IntoObjects:
    """Read the URL of a folder.

    Raises:
        InvalidInput: It has a secret in it, or no bucket.
    """
    root, folder = split_url(text, "--into")
    return IntoObjects(root, folder.strip("/"))


@contextlib.contextmanager
def _reached() -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise NotDelivered("a store that takes the run", str(error), REACH) from error


def _as_delivered(run: Committed) -> Manifest:
    manifest = run.manifest
    if manifest.quarantine is None:
        return manifest
    name = repaired_quarantine(len(manifest.repairs))
    entry = msgspec.structs.replace(manifest.quarantine, name=name)
    return msgspec.structs.replace(manifest, quarantine=entry)


def _checked(path: Path, entry: FileEntry) -> Iterator[bytes]:
    """Give the bytes of a file, the last ones only if all are those that the manifest lists."""
    digest = hashlib.sha256()
    last = b""
    try:
        with path.open("rb") as file:
            while piece := file.read(PUT_BYTES):
                if last:
                    yield last
                digest.update(piece)
                last = piece
    except FileNotFoundError as error:
        raise damaged(path) from error
    if digest.hexdigest() != entry.sha256:
        raise damaged(path)
    yield last
