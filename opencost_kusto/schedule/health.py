"""Health and metrics of a scheduled sync over HTTP: /healthz, /readyz, /metrics. A door to prometheus_client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from opencost_kusto.errors import PartialError, UsageError
from opencost_kusto.result import BatchResult, Outcome
from opencost_kusto.retry import retries
from opencost_kusto.schedule.left import Left
from opencost_kusto.schedule.loop import TickResult
from opencost_kusto.schema.tables import SYNC_RUNS
from opencost_kusto.version import __version__

# Leave out the second series of each counter, which has the time it began.
disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800)
# Seconds for a whole request, however slowly it arrives.
_DEADLINE = 10.0
_TEXT = "text/plain; charset=utf-8"


class Health:
    """The metrics of the scheduler's runs; `deadline` is how old the last one may be that has loaded something.

    That is one with exit code 0 or 7, or after which a dataset of a cluster is complete: a cluster that is away does
    not make the scheduler of a fleet unready; metrics and alerts name it. The process ends when its loop does, so one
    that responds is alive.
    """

    def __init__(self, deadline: timedelta, *, clock: Callable[[], datetime]) -> None:
        self._deadline = deadline
        self._clock = clock
        self._worked: datetime | None = None
        self._complete = False
        self._until: dict[tuple[str, str], datetime] = {}
        self.registry = registry = CollectorRegistry()
        of = ["source", "dataset"]
        self._batches = Counter("opencost_kusto_batches", "Batches, by outcome.", [*of, "outcome"], registry=registry)
        self._rows = Counter("opencost_kusto_rows", "Rows that landed or were queued.", of, registry=registry)
        self._bytes = Counter("opencost_kusto_bytes", "Bytes of these rows before compression.", of, registry=registry)
        # Not a counter: a cost may be below zero.
        self._cost = Gauge(
            "opencost_kusto_landed_cost", "Cost of these rows since the process began.", of, registry=registry
        )
        self._lag = Gauge(
            "opencost_kusto_lag_seconds",
            "Seconds since the newest landed or empty window ended.",
            of,
            registry=registry,
        )
        self._missing = Gauge(
            "opencost_kusto_missing_windows", "Windows of the catch-up that the last run left.", of, registry=registry
        )
        self._lost = Gauge(
            "opencost_kusto_lost_windows", "Windows of the catch-up that OpenCost has lost.", of, registry=registry
        )
        self._runs = Counter("opencost_kusto_runs", "Runs, by exit code.", ["exit_code"], registry=registry)
        self._seconds = Histogram(
            "opencost_kusto_run_seconds", "Length of the runs in seconds.", buckets=_SECONDS, registry=registry
        )
        self._last = Gauge(
            "opencost_kusto_last_success_timestamp_seconds",
            "Start of the last run with exit code 0, in Unix seconds.",
            registry=registry,
        )
        Gauge("opencost_kusto_build_info", "The version, always 1.", ["version"], registry=registry).labels(
            __version__
        ).set(1)
        registry.register(_Retries())

    def count(self, one: BatchResult) -> None:
        """Count a result, from any thread; those of the run log itself are not counted."""
        if one.dataset == SYNC_RUNS.dataset:
            return
        of = (one.source, one.dataset)
        self._begin(*of)
        self._batches.labels(*of, one.outcome).inc()
        if one.outcome in (Outcome.LANDED, Outcome.QUEUED):
            self._rows.labels(*of).inc(one.rows or 0)
            self._bytes.labels(*of).inc(one.bytes or 0)
            self._cost.labels(*of).inc(one.cost or 0)
        if one.outcome in (Outcome.LANDED, Outcome.ALREADY_LANDED, Outcome.EMPTY):
            self.covered_until(*of, one.window_end)

    def _begin(self, source: str, dataset: str) -> None:
        """Begin every counter of batches at zero: Prometheus computes no increase of a series that did not exist."""
        for outcome in Outcome:
            self._batches.labels(source, dataset, outcome)

    def covered_until(self, source: str, dataset: str, until: datetime) -> None:
        """Set the end of a window that is in Kusto, or empty; the lag counts from the latest."""
        of = (source, dataset)
        if of not in self._until:
            self._begin(*of)
            self._lag.labels(*of).set_function(lambda: max((self._clock() - self._until[of]).total_seconds(), 0.0))
        self._until[of] = max(until, self._until.get(of, until))

    def left(self, one: Left) -> None:
        """Set the windows that a run has left of a dataset."""
        self._missing.labels(one.source, one.dataset).set(one.missing)
        self._lost.labels(one.source, one.dataset).set(one.lost)
        self._complete = self._complete or not (one.missing or one.lost)

    def ticked(self, one: TickResult) -> None:
        """Count the end of a tick."""
        self._runs.labels(str(one.exit_code)).inc()
        self._seconds.observe(one.seconds)
        if one.exit_code in (0, PartialError.exit_code) or self._complete:
            self._worked = one.began
        self._complete = False
        if one.exit_code == 0:
            self._last.set(one.began.timestamp())

    def unready(self) -> str | None:
        """The reason why this is not ready, in a sentence; None when it is."""
        if self._worked is None:
            return "No run has succeeded yet."
        age = self._clock() - self._worked
        if age > self._deadline:
            return f"The last successful run began {age} ago; the limit is {self._deadline}."
        return None

    def response(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        """Status, content type and body for a path."""
        if path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(self.registry)
        if path == "/healthz":
            return HTTPStatus.OK, _TEXT, b"ok\n"
        if path == "/readyz":
            why = self.unready()
            text = f"{why or 'ok'}\n".encode()
            return HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK, _TEXT, text
        return HTTPStatus.NOT_FOUND, _TEXT, b"/healthz, /readyz or /metrics\n"


class _Retries(Collector):
    """The retries of the process, read at each scrape."""

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily("opencost_kusto_retries", "Repeated requests to OpenCost and Kusto.", value=retries())


@contextmanager
def served(health: Health, listen: str, deadline: float = _DEADLINE) -> Iterator[str]:
    """Serve on `host:port`, or on every address with `:port`; yields the URL.

    Raises UsageError if it cannot listen there. `deadline` is seconds for a whole request.
    """
    host, colon, port = listen.rpartition(":")
    try:
        if not colon or not port.isdecimal():
            raise ValueError("it does not end in a colon and a port")
        server = ThreadingHTTPServer((host, int(port)), _handler(health, deadline))
    except (OSError, OverflowError, ValueError) as error:
        raise UsageError(f"Cannot listen on --listen {listen}: {error}. Write :8080 or 127.0.0.1:8080.") from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    try:
        yield f"http://{host or '0.0.0.0'}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _handler(health: Health, seconds: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = f"opencost-kusto/{__version__}"
        sys_version = ""

        def handle(self) -> None:
            """Respond within the deadline of the whole request; a probe that disconnects early is not an error."""
            deadline = threading.Timer(seconds, self._hang_up)
            deadline.daemon = True
            deadline.start()
            try:
                with suppress(ConnectionError):
                    super().handle()
            finally:
                deadline.cancel()

        def _hang_up(self) -> None:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def do_GET(self) -> None:
            self.wfile.write(self._headed())

        def do_HEAD(self) -> None:
            self._headed()

        def _headed(self) -> bytes:
            """Send everything but the body, which is returned."""
            status, kind, body = health.response(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return body

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing: probes are sent every few seconds."""

    return Handler
