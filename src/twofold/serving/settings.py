"""The settings of a server."""

from __future__ import annotations

import dataclasses

from twofold.settings import setting


@dataclasses.dataclass(frozen=True)
class ServeSettings:
    """Where a server listens, and the limits it keeps.

    Every limit on connections holds for each worker process.
    """

    host: str = setting("127.0.0.1", "Address to listen on; by default this machine only.")
    port: int = setting(8080, "Port to listen on; 0 takes a free one.", minimum=0, maximum=65_535)
    uds: str = setting("", "Path of a Unix socket to listen on, instead of address and port.")
    tls_cert: str = setting("", "File of the TLS certificate chain, PEM; with it, HTTPS only.")
    tls_key: str = setting("", "File of the certificate's private key, PEM.")
    tls_client_ca: str = setting(
        "", "File of the authorities, PEM, one of which must have signed a client's certificate."
    )
    api_keys: str = setting(
        "", "File of API keys, made with `twofold keys new`; without it everybody may predict."
    )
    allow_public: bool = setting(
        False, "Listen on a public address though there are neither API keys nor TLS."
    )
    workers: int = setting(
        0, "Processes that predict; 0 means one per core.", minimum=0, maximum=256
    )
    deadline_s: float = setting(
        1.0,
        "Seconds a request may take from its first byte on, unless its header "
        "X-Twofold-Deadline-Ms says otherwise; what can't be in time is answered 503 or 504.",
        minimum=0.001,
        maximum=3_600.0,
    )
    drain_s: float = setting(
        10.0,
        "Seconds that requests in flight are given to finish when the server is stopped.",
        minimum=0.0,
        maximum=3_600.0,
    )
    watch_registry_s: float = setting(
        1.0,
        "How often to look, in seconds, whether the models' references mean other versions by "
        "now; 0 for never.",
        minimum=0.0,
        maximum=86_400.0,
    )
    max_batch_rows: int = setting(
        1_024,
        "Rows of waiting requests that are predicted together.",
        minimum=1,
        maximum=1_000_000,
    )
    max_queued_requests: int = setting(
        1_024,
        "Requests that may wait for one model in each worker; further ones are answered 503.",
        minimum=1,
        maximum=1_000_000,
    )
    max_predict_s: float = setting(
        60.0,
        "Seconds after which a model's own process is taken for hung, and replaced.",
        minimum=0.1,
        maximum=86_400.0,
    )
    max_rows: int = setting(10_000, "Rows one request may ask for.", minimum=1, maximum=1_000_000)
    max_body_bytes: int = setting(
        16_777_216, "Bytes of one request's body.", minimum=1, maximum=1_073_741_824
    )
    max_header_bytes: int = setting(
        16_384, "Bytes of one request's headers.", minimum=256, maximum=1_048_576
    )
    max_url_bytes: int = setting(4_096, "Bytes of one request's URL.", minimum=64, maximum=65_536)
    max_connections: int = setting(
        4_096,
        "Connections a worker keeps open; further ones are answered 503.",
        minimum=1,
        maximum=1_000_000,
    )
    idle_timeout_s: float = setting(
        75.0,
        "Seconds a connection may be open without a request.",
        minimum=0.1,
        maximum=86_400.0,
    )
    header_timeout_s: float = setting(
        10.0,
        "Seconds for a request's headers to arrive; slower ones are answered 408.",
        minimum=0.1,
        maximum=3_600.0,
    )
    body_timeout_s: float = setting(
        30.0,
        "Seconds for a request's body to arrive, and for a client to take an answer; slower "
        "ones are answered 408.",
        minimum=0.1,
        maximum=3_600.0,
    )
    max_restarts_per_min: int = setting(
        60,
        "Workers that died and are started again, in a minute; further ones wait.",
        minimum=1,
        maximum=6_000,
    )
    show_clients: bool = setting(
        True,
        "Show in GET /metrics whose requests are refused most: by the names of the API keys, or "
        "without keys by address.",
    )
    log_format: str = setting(
        "text",
        "How the log is written to stderr: text for people, json for one object a line.",
        choices=("text", "json"),
    )
    log_requests: bool = setting(
        False, "Log one line for every request: how it was answered, never what it said."
    )
