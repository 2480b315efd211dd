"""The metrics of a real server, for tests of what is told from them."""

from __future__ import annotations

from twofold.lab.scrape import Scrape, parsed
from twofold.serving.metrics import REQUESTS, Metrics, layout_for
from twofold.wire.exposition import exposition

CHURN = ("churn", "1")
BARE = f'{REQUESTS}{{model="churn",version="1",outcome="ok"}}'


class Server:
    """The metrics of a real server, without the server."""

    def __init__(self, *models: tuple[str, str]) -> None:
        layout = layout_for(models or (CHURN,), (200, 422, 500, 503))
        self.metrics = Metrics(layout, memoryview(bytearray(layout.size_bytes(1))), 0)

    def add(self, family: str, *labels: str, amount: float = 1.0) -> None:
        self.metrics.add(self.metrics.layout.slot(family, *labels), amount)

    def observe(self, family: str, *labels: str, value_s: float) -> None:
        self.metrics.observe(self.metrics.layout.slot(family, *labels), value_s)

    def look(self, at_s: float) -> Scrape:
        return parsed(exposition(self.metrics).decode(), at_s=at_s)
