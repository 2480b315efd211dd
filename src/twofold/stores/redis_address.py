"""Where a Redis server is, and what of that may be shown."""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import parse_qsl, unquote

from twofold.errors import ConfigError, StoreUnavailable, problem

URL = re.compile(
    r"(?P<scheme>rediss?)(?P<cluster>\+cluster)?://"
    r"(?:(?P<user>[^:@/?#\s]*)(?::(?P<password>[^:@/?#\s]*))?@)?"
    r"(?P<host>[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?(?:/(?P<db>\d{0,4}))?"
    r"(?:\?(?P<more>[^#\s]*))?",
    re.ASCII,
)
PORT = 6379
PARAMETERS = {
    "ssl_ca_certs",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
}
MAX_WORDS = 300
REACH = "Look whether it runs, can be reached from here, and lets this user do so."
ANNOTATED = " of pipeline caused error: "


@dataclasses.dataclass(frozen=True)
class RedisAddress:
    """A Redis server, or any node of a cluster.

    Attributes:
        shown: What may be shown: without user, password and parameters.
        is_cluster: Whether it is a cluster.
        url: What the client is given, without user and password.
        user: As it is, not percent-encoded.
        password: As above.
        secrets: What is never shown.
    """

    shown: str
    is_cluster: bool
    url: str = dataclasses.field(repr=False)
    user: str | None = dataclasses.field(repr=False)
    password: str | None = dataclasses.field(repr=False)
    secrets: tuple[str, ...] = dataclasses.field(repr=False)

    def failed(self, words: str) -> StoreUnavailable:
        """Say what went wrong, without a password and without what was to be written.

        Args:
            words: What the client or the server said.
        """
        said = " ".join(words.rpartition(ANNOTATED)[2].split())
        for secret in self.secrets:
            said = said.replace(secret, "...")
        said = said[:MAX_WORDS].rstrip(".")
        return StoreUnavailable(problem(self.shown, "an answer of the store", said, REACH))


def parse_address(url: str) -> RedisAddress:
    """Read `redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]`.

    Args:
        url: `rediss` is with TLS, `redis+cluster` and `rediss+cluster` are clusters, of which any
            node is named. Those with TLS may have `PARAMETERS` of redis-py, as
            `?ssl_ca_certs=FILE`. User and password are percent-encoded.

    Raises:
        ConfigError: It is no such URL. The message doesn't repeat it: where it is broken, the
            password can't be told from the rest.
    """
    found = URL.fullmatch(url)
    more = parse_qsl(found["more"] or "", keep_blank_values=True) if found else []
    known = PARAMETERS if found and found["scheme"] == "rediss" else set[str]()
    if found is None or not known.issuperset(name for name, _ in more):
        form = "a URL redis://[USER[:PASSWORD]@]HOST[:PORT][/DB], rediss:// or redis+cluster://"
        fix = "Write %40 for @ in a password, %23 for #, %2F for / and %3A for :."
        raise ConfigError(problem("--store", form, "another one", fix))
    is_cluster, db = found["cluster"] is not None, int(found["db"] or 0)
    if is_cluster and db:
        fix = "Leave it out: a cluster has but one."
        raise ConfigError(problem("--store", "a cluster without /DB", f"/{db}", fix))
    place = f"{found['host']}:{found['port'] or PORT}"
    parameters = f"?{found['more']}" if found["more"] else ""
    secrets = (found["password"] or "", unquote(found["password"] or ""))
    return RedisAddress(
        shown=f"{found['scheme']}+cluster://{place}"
        if is_cluster
        else f"{found['scheme']}://{place}/{db}",
        is_cluster=is_cluster,
        url=f"{found['scheme']}://{place}/{db}{parameters}",
        user=unquote(found["user"] or "") or None,
        password=unquote(found["password"] or "") or None,
        secrets=tuple(secret for secret in secrets if secret),
    )
