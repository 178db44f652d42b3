"""Prometheus' text format as Go's client writes it, and the telemetry that has no cost in it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

TELEMETRY: Final = """\
# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 211
# HELP go_info Information about the Go environment.
# TYPE go_info gauge
go_info{version="go1.22.5"} 1
# HELP go_memstats_alloc_bytes Number of bytes allocated and still in use.
# TYPE go_memstats_alloc_bytes gauge
go_memstats_alloc_bytes 4.5119608e+07
# HELP go_threads Number of OS threads created.
# TYPE go_threads gauge
go_threads 14
# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 96.41
# HELP process_resident_memory_bytes Resident memory size in bytes.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1.32120576e+08
# HELP promhttp_metric_handler_requests_in_flight Current number of scrapes being served.
# TYPE promhttp_metric_handler_requests_in_flight gauge
promhttp_metric_handler_requests_in_flight 1
# HELP promhttp_metric_handler_requests_total Total number of scrapes by HTTP status code.
# TYPE promhttp_metric_handler_requests_total counter
promhttp_metric_handler_requests_total{code="200"} 3
promhttp_metric_handler_requests_total{code="500"} 0
promhttp_metric_handler_requests_total{code="503"} 0
"""


class Sample(NamedTuple):
    """One sample of a gauge."""

    family: str
    labels: Mapping[str, str]
    value: float


def line(sample: Sample) -> str:
    """One line of the exposition, labels sorted."""
    labels = ",".join(f'{name}="{_escaped(sample.labels[name])}"' for name in sorted(sample.labels))
    return f"{sample.family}{f'{{{labels}}}' if labels else ''} {_number(sample.value)}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    """A number as Go's client writes it: the shortest form, with an exponent from a million on."""
    sign, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    scale = len(digits) + int(exponent) - 1
    text = "".join(map(str, digits))
    if value == 0 or -5 < scale < 6:
        return f"{Decimal(repr(float(value))).normalize():f}"
    return f"{'-' * sign}{text[0]}{'.' + text[1:] if text[1:] else ''}e{scale:+03d}"
