"""The keys that requests may show, found by their hashes; the file is read again when it changes.

A key is 32 random bytes in text, so that one SHA-256 is enough to keep it by: nobody can try
2^256 keys, however fast the hash (OWASP ASVS 5.0, 6.5.2: a standard hash will do from 112 bits of
entropy on). A slow hash is for passwords, which people choose; here it would only let strangers
keep the server busy.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import logging
import secrets
import stat
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from twofold.errors import ConfigError, problem
from twofold.serving.key_entries import KEY_START, Entry, read_entries
from twofold.serving.priority import Priority
from twofold.serving.quotas import Quota, slots_of

KEY_BYTES = 32
MAX_PRESENTED_BYTES = 256
"""Longer texts are no keys, and aren't worth hashing."""
MAX_FILE_BYTES = 1_048_576

log = logging.getLogger("twofold.serving")


def new_key() -> tuple[str, str]:
    """Make a key.

    Returns:
        The key, and its SHA-256 in hexadecimal.
    """
    key = KEY_START + secrets.token_urlsafe(KEY_BYTES)
    return key, hashlib.sha256(key.encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Key:
    """What a key allows.

    Attributes:
        index: Its slot among the quotas; the same for the same name, see `slots_of`.
        name: Whose key it is.
        priority: The highest it may ask for.
        quota: How much it may ask for; None for any amount.
        models: Which models it may ask; None for all.
        expires_at: From when on it is unknown, UTC; None for never.
    """

    index: int
    name: str
    priority: Priority = Priority.NORMAL
    quota: Quota | None = None
    models: frozenset[str] | None = None
    expires_at: datetime | None = None


class Keys:
    """All keys of a file, by their hashes."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        """Take the entries of a file."""
        slots = slots_of(entry.name for entry in entries)
        self._secret = secrets.token_bytes(KEY_BYTES)
        self._keys: dict[bytes, tuple[bytes, Key]] = {}
        for entry in entries:
            key = Key(
                slots[entry.name],
                entry.name,
                entry.priority,
                entry.quota,
                None if entry.models is None else frozenset(entry.models),
                entry.expires_at,
            )
            for digest in entry.sha256:
                known = bytes.fromhex(digest)
                self._keys[self._place(known)] = known, key

    def find(self, presented: bytes, *, now: datetime) -> Key | None:
        """The key that was presented, if it is one and hasn't expired.

        How long it takes says nothing about how near a guess came: it is looked up by a hash
        under a secret of this process, and what is found there is compared in whole.

        Args:
            presented: What the request showed.
            now: The current instant, UTC.
        """
        if len(presented) > MAX_PRESENTED_BYTES:
            return None
        digest = hashlib.sha256(presented).digest()
        found = self._keys.get(self._place(digest))
        if found is None or not hmac.compare_digest(found[0], digest):
            return None
        key = found[1]
        if key.expires_at is not None and now >= key.expires_at:
            return None
        return key

    def _place(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, digest_size=16, key=self._secret).digest()


class KeysFile:
    """The keys as their file last said them, while it was in order.

    Attributes:
        path: The file.
        keys: Its keys; replaced as a whole.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ConfigError: With every problem of the file.
        """
        self.path = path
        self._seen = self._state()
        self.keys = self._read()

    def reload_if_changed(self) -> bool:
        """Take over a changed file; to be called about once a second.

        A file that is gone or broken changes nothing but the log, which gets one error.

        Returns:
            Whether the keys are others now.
        """
        # Looked at before the file is read: of a change in between the next call learns.
        state = self._state()
        if state == self._seen:
            return False
        self._seen = state
        try:
            self.keys = self._read()
        except ConfigError as error:
            log.error("the keys stay as they were: %s", error)  # noqa: TRY400 - it names the place
            return False
        log.info("%s has changed: its keys are in force", self.path)
        return True

    def _state(self) -> tuple[int, ...] | None:
        """What differs after a change; None without a file."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        # The change time tells of rights that were mended, too.
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino

    def _read(self) -> Keys:
        file = str(self.path)
        try:
            mode = self.path.stat().st_mode
            if not stat.S_ISREG(mode):
                fix = "Name a file made with `twofold keys new`."
                raise ConfigError(problem(file, "a file of keys", "something else", fix))
            with self.path.open("rb") as opened:
                data = opened.read(MAX_FILE_BYTES + 1)
            text = data.decode()
        except OSError as error:
            fix = "Make one with `twofold keys new NAME --file FILE`, and let the server read it."
            got = error.strerror or str(error)
            raise ConfigError(problem(file, "a file of keys", got, fix)) from error
        except UnicodeDecodeError as error:
            raise ConfigError(problem(file, "UTF-8", str(error), "Mend that byte.")) from error
        if len(data) > MAX_FILE_BYTES:
            fix = "Remove keys that nobody uses."
            raise ConfigError(problem(file, f"at most {MAX_FILE_BYTES} bytes", "more", fix))
        entries = read_entries(text, file=file)
        if not entries:
            # An editor that writes in place empties the file first: that must not lock all out.
            fix = "Make one with `twofold keys new NAME --file FILE`."
            raise ConfigError(problem(file, "at least one key", "none", fix))
        if mode & stat.S_IROTH:
            log.warning("%s can be read by everybody here. Run: chmod o-r %s", file, file)
        return Keys(entries)
