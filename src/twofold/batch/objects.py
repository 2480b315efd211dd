"""Objects of S3, Google Cloud Storage and Azure, and of what speaks like them.

Where they are and who asks is said by the stores' own environment variables and nothing else:
no URL, ledger, manifest or message has a secret in it.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from twofold.batch.object_reader import ObjectReader, Span
from twofold.errors import ConfigError, InvalidInput, missing_extra, problem

SCHEMES = ("s3", "gs", "az")
CONNECT_TIMEOUT_S = 5
REQUEST_TIMEOUT_S = 60
MAX_RETRIES = 4
RETRY_TIMEOUT_S = 60
"""A request is not tried again when this long has passed since it was first tried."""
LIMITS = {"connect_timeout": f"{CONNECT_TIMEOUT_S} s", "timeout": f"{REQUEST_TIMEOUT_S} s"}
"""As settings of a store, in which they don't disturb those that the environment adds."""
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
ENDPOINT = re.compile(r"(https?)://[^\s/@?#]+(/[^\s?#]*)?")
TRUE = ("1", "true", "on", "yes", "y")
ROLES = re.compile(r"/latest/(api/token|meta-data)|/computeMetadata/|/metadata/identity/")
"""Asked for credentials where the environment has none."""
PUT_BYTES = 8 << 20
"""An object up to this length is written in one request, a longer one in parts of it."""
PUT_CONCURRENCY = 4
MAX_PUT_PARTS = 10_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAGIC = re.compile(r"[*?\[]")
USERINFO = re.compile(r"^\w+://[^/]*@")
SIGNATURE = re.compile(r"\?[^/?]*=")
"""A `?` in a glob is not followed by a parameter."""


class ObjectError(OSError):
    """The store didn't give what it was asked for."""


@dataclasses.dataclass(frozen=True)
class ObjectFile:
    """One object, as it was when it was found.

    Attributes:
        root: The store and the bucket: `s3://bucket`.
        key: Its name in the bucket.
        bytes: Its length.
        etag: What the store calls its content; reads are held to it.
        version: Its version, where the bucket keeps them.
        modified_ns: When it was last written, nanoseconds since 1970.
    """

    root: str
    key: str
    bytes: int
    etag: str | None
    version: str | None
    modified_ns: int

    def __str__(self) -> str:
        """Its URL."""
        return f"{self.root}/{self.key}"

    @property
    def suffix(self) -> str:
        """How its name ends."""
        return PurePosixPath(self.key).suffix

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders it lies in."""
        return PurePosixPath(self.key).parent.parts

    def read(self) -> ObjectReader:
        """Read it here and there. What it raises is an OSError."""
        return ObjectReader(self.bytes, self._fetch)

    def open(self, mode: str = "rb") -> io.BufferedReader:
        """Read it from its beginning, as `Path.open` does."""
        if mode != "rb":
            raise ValueError(f"objects are read as bytes, not {mode!r}")
        return io.BufferedReader(self.read(), 1 << 20)

    def _fetch(self, span: Span) -> bytes:
        import obstore  # noqa: PLC0415 - an extra

        options: dict[str, Any] = {"range": span}
        if self.etag is not None:
            options["if_match"] = self.etag
        if self.version is not None:
            options["version"] = self.version
        try:
            found = obstore.get(_store(self.root), self.key, options=options)  # type: ignore[arg-type]
            return found.bytes().to_bytes()
        except (obstore.exceptions.BaseError, OSError) as error:
            raise _failed(error) from error


Place = Path | ObjectFile
"""Where a file lies."""


def is_object_url(text: str) -> bool:
    """Whether a text names objects of a store."""
    return text.partition("://")[0] in SCHEMES and "://" in text


def find_objects(url: str, *, suffixes: Iterable[str], marker: str) -> Iterator[ObjectFile]:
    """Find an object, all objects below a folder whose names end so, or those a glob matches.

    Names are taken as they are: no percent sign has a meaning. Where objects have to be listed,
    those in folders called like the marker are given, too, whatever they are called.

    Raises:
        InvalidInput: The URL has a secret in it, or names no bucket.
        ConfigError: The extra isn't installed.
        OSError: The store can't be asked.
    """
    root, key = split_url(url)
    known = set(suffixes)
    if MAGIC.search(key):
        wanted = key.split("/")
        for file in list_objects(root, fixed_part(key)):
            if marker in file.folders or matches(file.key.split("/"), wanted):
                yield file
        return
    if key and not key.endswith("/"):
        found = find_object(root, key)
        if found is not None:
            yield found
            return
    folder = key.strip("/") + "/" if key.strip("/") else ""
    for file in list_objects(root, folder):
        is_wanted = file.suffix.lower() in known and not _is_hidden(file.key.removeprefix(folder))
        if is_wanted or marker in file.folders:
            yield file


def find_object(root: str, key: str) -> ObjectFile | None:
    """Ask for what a store knows of an object; None if there is none.

    Raises:
        OSError: The store can't be asked.
    """
    store, obstore = _store(root), _obstore()
    try:
        return _file(root, obstore.head(store, key))
    except FileNotFoundError:
        return None
    except (obstore.exceptions.BaseError, OSError) as error:
        raise _failed(error) from error


def split_url(url: str, where: str = "INPUT") -> tuple[str, str]:
    """Take a URL apart, into store with bucket, and key.

    Args:
        url: The URL.
        where: What the reader gave it as.

    Raises:
        InvalidInput: It has a secret in it, no bucket, or a key that can't be asked for.
    """
    if USERINFO.match(url) or SIGNATURE.search(url):
        scheme = url.partition("://")[0]
        raise InvalidInput(
            problem(
                where,
                f"a URL {scheme}://BUCKET/KEY without a user, a password or a signature",
                "one that has some",
                "Say who asks by the store's environment variables, such as AWS_ACCESS_KEY_ID.",
            )
        )
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if not bucket or MAGIC.search(bucket):
        fix = "Name the bucket."
        raise InvalidInput(problem(url, f"{scheme}://BUCKET/KEY", "no bucket", fix))
    if {".", ".."} & set(key.split("/")) or "//" in f"/{key}":
        fix = "Mend it, or copy the object to a name that is a path."
        raise InvalidInput(problem(url, "a key without empty parts, . and ..", repr(key), fix))
    return f"{scheme}://{bucket}", key


def matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether a glob matches a key, both cut at the slashes: as the shell's do, `**` as Python's.

    What begins with a dot is matched only by what does, too.
    """
    if not patterns or not parts:
        return not parts and all(pattern == "**" for pattern in patterns)
    pattern, rest = patterns[0], patterns[1:]
    is_hidden = parts[0].startswith(".")
    if pattern == "**":
        return matches(parts, rest) or (not is_hidden and matches(parts[1:], patterns))
    if is_hidden and not pattern.startswith("."):
        return False
    return fnmatch.fnmatchcase(parts[0], pattern) and matches(parts[1:], rest)


def fixed_part(key: str) -> str:
    """The part of a key before the first folder or name that is a glob."""
    return "/".join(itertools.takewhile(lambda part: not MAGIC.search(part), key.split("/")))


def _is_hidden(below: str) -> bool:
    return any(part.startswith((".", "_")) for part in below.split("/"))


def list_objects(root: str, folder: str) -> Iterator[ObjectFile]:
    """Give all objects below a folder.

    Raises:
        OSError: The store can't be asked.
    """
    store, obstore = _store(root), _obstore()
    try:
        for found in obstore.list(store, folder or None, chunk_size=1000):
            yield from (_file(root, meta) for meta in found)
    except (obstore.exceptions.BaseError, OSError) as error:
        raise _failed(error) from error


def has_objects(root: str, folder: str) -> bool:
    """Whether there is something in a folder.

    Raises:
        OSError: The store can't be asked.
    """
    return next(list_objects(root, folder), None) is not None


def put_if(root: str, key: str, data: bytes, after: ObjectFile | None) -> bool:
    """Write a small object in the place of another one, or, of None, where there is none.

    Returns:
        Whether it is written: not, if somebody else was first.

    Raises:
        OSError: The store can't be asked, or can't do that.
    """
    store, obstore = _store(root), _obstore()
    mode: Any = "create"
    if after is not None:
        held = {"e_tag": after.etag, "version": after.version}
        mode = {name: value for name, value in held.items() if value is not None}
    try:
        obstore.put(store, key, data, mode=mode)
    except (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError):
        return False
    except FileExistsError:
        return False
    except (obstore.exceptions.BaseError, OSError, NotImplementedError) as error:
        raise _failed(error) from error
    return True


def put_object(root: str, key: str, pieces: Iterable[bytes], size: int) -> None:
    """Write an object in the place of any other: nobody sees it before it is whole.

    Args:
        root: The store and the bucket.
        key: Its name.
        pieces: Its bytes; what they raise leaves the object as it was.
        size: How many bytes that are, at most.

    Raises:
        OSError: The store can't be written to.
    """
    store, obstore = _store(root), _obstore()
    part_bytes = max(PUT_BYTES, -(-size // MAX_PUT_PARTS))
    try:
        if size <= PUT_BYTES:
            obstore.put(store, key, b"".join(pieces), use_multipart=False)
            return
        obstore.put(store, key, pieces, chunk_size=part_bytes, max_concurrency=PUT_CONCURRENCY)
    except (obstore.exceptions.BaseError, OSError) as error:
        raise _failed(error) from error


def delete_objects(root: str, keys: Sequence[str]) -> None:
    """Delete objects; those that aren't there are none.

    Raises:
        OSError: The store refuses.
    """
    store, obstore = _store(root), _obstore()
    for key in keys:
        try:
            obstore.delete(store, key)
        except FileNotFoundError:
            continue
        except (obstore.exceptions.BaseError, OSError) as error:
            raise _failed(error) from error


def _file(root: str, meta: Any) -> ObjectFile:
    return ObjectFile(
        root=root,
        key=meta["path"],
        bytes=meta["size"],
        etag=meta["e_tag"],
        version=meta["version"],
        modified_ns=(meta["last_modified"] - EPOCH) // timedelta(microseconds=1) * 1000,
    )


def _obstore() -> Any:
    try:
        import obstore  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("obstore", "objects", "using an object store") from error
    return obstore


def check_endpoint(root: str) -> None:
    """Check the address of a server that speaks like S3; with a wrong one, the libraries panic.

    Raises:
        ConfigError: It is no URL, has a secret in it, or isn't encrypted without leave.
    """
    if not root.startswith("s3://"):
        return
    for name in ENDPOINTS:
        value = os.environ.get(name)
        if value is None:
            continue
        found = ENDPOINT.fullmatch(value)
        if found is None:
            fix = "Set it to the address of the server; keys have variables of their own."
            wanted = "a URL such as https://HOST:PORT, without a user or a parameter"
            raise ConfigError(problem(name, wanted, "another text", fix))
        if found[1] == "http" and os.environ.get("AWS_ALLOW_HTTP", "").lower() not in TRUE:
            fix = "Use https://, or set AWS_ALLOW_HTTP=true where nobody listens in."
            raise ConfigError(problem(name, "an encrypted connection", "http://", fix))


@functools.cache
def _store(root: str) -> Any:
    obstore = _obstore()
    check_endpoint(root)
    stores = obstore.store
    scheme, _, bucket = root.partition("://")
    make = {"s3": stores.S3Store, "gs": stores.GCSStore, "az": stores.AzureStore}[scheme]
    try:
        return make(
            bucket,
            config=LIMITS,  # `client_options` would replace what the environment says of the client
            retry_config={
                "max_retries": MAX_RETRIES,
                "retry_timeout": timedelta(seconds=RETRY_TIMEOUT_S),
            },
        )
    except (obstore.exceptions.BaseError, ValueError) as error:
        fix = "Set the store's environment variables."
        raise ConfigError(
            problem(root, "a store that can be asked", words_of(error), fix)
        ) from error


def words_of(error: BaseException) -> str:
    """What a store says, in a line: without what of a URL may be a secret."""
    text, _, details = str(error).partition("\nDebug source")
    said = re.search(r"<Code>([^<]+)</Code>\s*(?:<Message>([^<]*)</Message>)?", text)
    if said:  # what lies around them may tell the key
        text = ": ".join(part for part in said.groups() if part)
    text = re.sub(r"\x1b\[\d*m", "", text)
    text = re.sub(r"://[^\s/@]*@", "://...@", text)
    text = re.sub(r"(?<=[^\s<])\?[^\s\"')]*", "?...", text)
    text = " ".join(text.split()).rstrip(" :.")
    if "error sending request" in text:
        cause = re.search(r'(?:message|error): "([^"]+)"|TimedOut', details)
        text += f": {cause[1] or 'timed out'}" if cause else ""
    if ROLES.search(text):
        text = f"no credentials in the environment, nor by a role of this machine ({text[:300]})"
    return text[:400] or type(error).__name__


def _failed(error: Exception) -> OSError:
    if type(error).__name__ == "PreconditionError":
        return ObjectError("one that was written to meanwhile")
    if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
        return ObjectError("no such object")
    if type(error).__name__ == "PermissionDeniedError":
        return PermissionError(words_of(error))
    return ObjectError(words_of(error))
