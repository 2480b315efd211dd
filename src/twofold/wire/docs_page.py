"""`GET /docs`: one page that says what is served and lets a reader try it, without the network."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from html import escape
from typing import Any

import msgspec

from twofold.serving.service import Served, Service
from twofold.wire.describe import describe_model, example_row
from twofold.wire.openapi import infer_example, invocations_examples

CONTENT_TYPE = b"text/html; charset=utf-8"
HEADERS = (
    b"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
    b"script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
)
"""The page loads nothing and talks to this server only."""

STYLE = """
:root { color-scheme: light dark; --line: #8884; --accent: #0b6e4f; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
h1 { font-size: 1.6rem; margin: .5rem 0; }
h2 { border-top: 1px solid var(--line); font-size: 1.3rem; margin: 2rem 0 .5rem;
  padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem .3rem 0; text-align: left;
  vertical-align: top; }
code, pre, textarea { font: 14px/1.45 ui-monospace, monospace; }
pre, textarea { background: #8881; border: 1px solid var(--line); border-radius: 6px;
  padding: .6rem; width: 100%; }
pre { min-height: 3rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
textarea { min-height: 14rem; resize: vertical; }
input { background: #8881; border: 1px solid var(--line); border-radius: 6px; color: inherit;
  font: 14px/1.45 ui-monospace, monospace; max-width: 100%; padding: .4rem .6rem; width: 24rem; }
button { background: var(--accent); border: 0; border-radius: 6px; color: #fff; cursor: pointer;
  font: inherit; margin: .5rem 0; padding: .5rem 1.2rem; }
"""

SCRIPT = """
const key = document.querySelector("[type=password]");
for (const origin of document.querySelectorAll("span")) origin.textContent = location.origin;
for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const out = form.querySelector("pre");
    out.textContent = "...";
    try {
      const headers = {"Content-Type": "application/json"};
      if (key?.value.trim()) headers.Authorization = `Bearer ${key.value.trim()}`;
      const begun = performance.now();
      const answer = await fetch(form.dataset.path, {
        method: "POST",
        headers,
        body: form.querySelector("textarea").value,
      });
      const text = await answer.text();
      const took = (performance.now() - begun).toFixed(1);
      out.textContent = `${answer.status} in ${took} ms\\n${text}`;
    } catch (error) {
      out.textContent = `no answer: ${error}`;
    }
  });
}
"""

# In no form and without a name: nothing but the script reads it, and it never gets into an address.
KEY = (
    "<p><label>API key <input type=password autocomplete=off spellcheck=false></label><br>"
    "Sent with every try as <code>Authorization: Bearer KEY</code>, and kept nowhere but in this "
    "field.</p>"
)

ROUTES = (
    ("POST", "/invocations", "predict with the first model (MLflow, SageMaker)"),
    ("GET", "/v1/models", "the served models"),
    ("GET", "/v2", "the server, for clients of the Open Inference Protocol"),
    ("POST", "/v2/repository/index", "every version and its state"),
    ("GET", "/v2/health/live", "whether the process is up"),
    ("GET", "/v2/health/ready", "whether models are loaded and requests are taken"),
    ("GET", "/ping", "the same, for clients of MLflow"),
    ("GET", "/version", "the version of twofold"),
    ("GET", "/metrics", "Prometheus metrics of all workers"),
    ("GET", "/openapi.json", "this page for programs (OpenAPI 3.1)"),
)


def docs_page(service: Service, *, is_open: bool = True, answering: Collection[str] = ()) -> bytes:
    """Render the page: routes, then each served version with its fields and a form to try it.

    Args:
        service: The models.
        is_open: Whether everybody may predict, without an API key.
        answering: Names of the models that answer by key.
    """
    models = [item for versions in service.versions.values() for item in versions.values()]
    routes = [
        (method, path, what)
        for item in models
        for method, path, what in (
            ("POST", _path(service, item, "/predict"), f"predict with {_title(item)}"),
            ("GET", _path(service, item), f"signature, output and runtimes of {_title(item)}"),
            (
                "POST",
                _path(service, item, "/infer", api="v2"),
                "the same in the Open Inference Protocol V2",
            ),
            ("GET", _path(service, item, api="v2"), "its inputs and outputs in that protocol"),
            *(_answers(item) if item is _answering(service, item, answering) else ()),
        )
    ]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        f"<title>twofold: {escape(', '.join(service.versions))}</title><style>{STYLE}</style>",
        "<h1>twofold</h1><p>One row in, one prediction out; many in, a list out.</p>",
        _table(
            ("", "path", ""),
            [(m, f"<code>{escape(p)}</code>", escape(w)) for m, p, w in (*routes, *ROUTES)],
        ),
        (
            "<p>A caller in a hurry sends <code>X-Twofold-Deadline-Ms</code>: what can't be "
            "answered in time is answered 504.</p>"
        ),
        *([] if is_open else [KEY]),
        *(_model(service, item) for item in models),
        _commands(service, models[0], is_open=is_open),
        f"<script>{SCRIPT}</script></html>",
    ]
    return "\n".join(parts).encode()


def _answering(service: Service, item: Served, answering: Collection[str]) -> Served | None:
    return service.default(item.name) if item.name in answering else None


def _answers(item: Served) -> tuple[tuple[str, str, str], ...]:
    path = f"/v1/models/{item.name}/answers"
    return (
        ("GET", f"{path}/{{key}}", "by key: what a batch predicted, while it is fresh; else live"),
        ("POST", path, "the same for a key with its row, or for many keys"),
    )


def _title(item: Served) -> str:
    return f"{item.name} version {item.version}"


def _path(service: Service, item: Served, tail: str = "", *, api: str = "v1") -> str:
    pinned = "" if item is service.default(item.name) else f"/versions/{item.version}"
    return f"/{api}/models/{item.name}{pinned}{tail}"


def _model(service: Service, item: Served) -> str:
    facts = describe_model(item)
    output = facts["output"]
    names = ", ".join(output["names"])
    example = msgspec.json.format(msgspec.json.encode({"row": example_row(item)}), indent=2)
    runtimes = facts["runtimes"]
    lines = [
        f"<h2>{escape(_title(item))}</h2>",
        (
            f"<p>Predicts a {escape(output['kind'])} ({escape(output['type'])}): "
            f"<code>{escape(names)}</code>. Runtime: {escape(runtimes['real_time'])} in real time, "
            f"{escape(runtimes['batch'])} in batch. "
            f"Packed {escape(facts['created_at'])} from {escape(facts['framework'])}.</p>"
        ),
        _table(("field", "type", "null", "values"), [_field(field) for field in facts["inputs"]]),
    ]
    if facts["ignored"]:
        ignored = ", ".join(f"<code>{escape(name)}</code>" for name in facts["ignored"])
        lines.append(f"<p>May be sent, isn't used: {ignored}.</p>")
    path = escape(_path(service, item, "/predict"), quote=True)
    lines += [
        f'<h3>Try it</h3><form data-path="{path}">',
        (
            f'<textarea aria-label="request body" spellcheck=false>{escape(example.decode())}'
            "</textarea><button>Predict</button><pre aria-live=polite></pre></form>"
        ),
    ]
    return "\n".join(lines)


def _commands(service: Service, item: Served, *, is_open: bool) -> str:
    """One row in the words of other servers' clients, to be pasted into a shell."""
    split, _, _ = invocations_examples(item)
    key = "" if is_open else "-H 'Authorization: Bearer KEY' "
    lines = ["<h2>With clients of other servers</h2>"]
    for what, path, body in (
        (
            "Open Inference Protocol V2",
            _path(service, item, "/infer", api="v2"),
            infer_example(item),
        ),
        ("MLflow", "/invocations", split),
    ):
        text = shlex.quote(msgspec.json.encode(body).decode())
        lines.append(
            f"<h3>{what}</h3><pre>curl <span>http://HOST:PORT</span>{escape(path)} "
            f"{key}-H 'Content-Type: application/json' -d {escape(text)}</pre>"
        )
    return "\n".join(lines)


def _field(field: dict[str, Any]) -> tuple[str, ...]:
    values = ""
    if "categories" in field:
        values = ", ".join(f"<code>{escape(item)}</code>" for item in field["categories"])
        values += "" if field["unknown_categories"] == "refuse" else ", or another"
    elif "length" in field:
        values = f"{field['length']} numbers"
    elif "zoned" in field:
        values = "ISO 8601 " + ("with" if field["zoned"] else "without") + " time zone"
    null = "yes" if field["nullable"] else "no"
    return f"<code>{escape(field['name'])}</code>", escape(field["type"]), null, values


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    cells = "".join(f"<th>{escape(title)}</th>" for title in head)
    lines = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<div class=scroll><table><tr>{cells}</tr>{''.join(lines)}</table></div>"
