"""What is counted and timed, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The counters of one service. All may be told from any thread."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry(auto_describe=True)
        named = ("headstart_requests", "Requests answered.", ["path", "status"])
        self._requests = Counter(*named, registry=registry)
        self._seconds = Histogram(
            "headstart_request_seconds",
            "From a request's headers to its answer.",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._pictures = Counter(
            "headstart_pictures", "Pictures in requests, by what came of them.", ["result"], registry=registry
        )
        self._batches = Histogram(
            "headstart_batch_pictures", "Pictures computed together.", buckets=_SIZES, registry=registry
        )
        self._computed = Histogram(
            "headstart_batch_seconds", "A batch through its backbone and heads.", buckets=_SECONDS, registry=registry
        )
        ProcessCollector(registry=registry)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Have a value read whenever the metrics are asked for."""
        Gauge(name, text, registry=self._registry).set_function(value)

    def request(self, path: str, status: int, seconds: float) -> None:
        """A request to one of the service's paths, or to `other`, was answered."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def pictures(self, result: str, count: int = 1) -> None:
        """So many pictures were `labelled` or `refused`."""
        self._pictures.labels(result).inc(count)

    def batch(self, pictures: int, seconds: float) -> None:
        """So many pictures were computed together in so many seconds."""
        self._batches.observe(pictures)
        self._computed.observe(seconds)

    def text(self) -> bytes:
        """All of them."""
        found: bytes = generate_latest(self._registry)
        return found
