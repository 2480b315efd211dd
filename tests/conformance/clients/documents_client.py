"""The parser of the Prometheus client library."""

from __future__ import annotations

import sys
import urllib.request
from typing import Any

from exchange import answer
from prometheus_client.parser import text_string_to_metric_families


def metrics() -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{sys.argv[1]}/metrics") as response:  # noqa: S310 - a test's
        text = response.read().decode()
    return [
        {
            "name": family.name,
            "type": family.type,
            "help": family.documentation,
            "samples": [[item.name, item.labels, item.value] for item in family.samples],
        }
        for family in text_string_to_metric_families(text)
    ]


answer({"metrics": metrics})
