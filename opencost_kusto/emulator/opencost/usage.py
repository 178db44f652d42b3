"""How the use of a container moves: by hour of the week, with a noise that is the same each time it is computed.

Use is constant within a clock hour, so averages times minutes add up over any windows.
"""

from __future__ import annotations

import math
import zlib
from typing import Final, NamedTuple

from opencost_kusto.emulator.opencost.model import MIB, Container

_HOUR: Final = 3600
# The epoch began on a Thursday, so Monday's first hour is the 96th of its week.
_MONDAY: Final = 96
_WORKDAY: Final = (*[0.45] * 6, 0.6, 0.85, *[1.25] * 3, 1.35, 1.4, *[1.3] * 4, 1.1, 0.95, 0.9, 0.8, 0.65, 0.55, 0.5)
_WEEKEND: Final = (*[0.35] * 8, *[0.5] * 12, *[0.4] * 4)
_RHYTHMS: Final = {
    "steady": (1.0,) * 168,
    "office": _WORKDAY * 5 + _WEEKEND * 2,
    "shop": tuple(0.6 + 0.5 * hour for hour in _WORKDAY) * 5 + tuple(0.45 + 0.5 * hour for hour in _WEEKEND) * 2,
}


class Usage(NamedTuple):
    """Averages over an interval: use, what is charged (the greater of request and use), and the peaks."""

    cpu: float
    cpu_charged: float
    cpu_peak: float
    ram: float
    ram_charged: float
    ram_peak: float
    gpu: float


def usage(container: Container, rhythm: str, seed: str, start: float, end: float) -> Usage:
    """The use of a container from `start` to `end`; at `start` when they are equal."""
    factors = _RHYTHMS[rhythm]
    requested, base = container.ram * MIB, container.ram_used * MIB
    cpu = cpu_charged = cpu_peak = ram = ram_charged = ram_peak = gpu = 0.0
    length = end - start
    for hour in range(int(start // _HOUR), max(math.ceil(end / _HOUR), int(start // _HOUR) + 1)):
        noise = zlib.crc32(b"%d" % hour, zlib.crc32(seed.encode()))
        level = container.cpu_used * factors[(hour - _MONDAY) % 168] * (0.85 + (noise & 0xFFFF) / 0xFFFF * 0.3)
        held = base * (0.96 + (noise >> 16) / 0xFFFF * 0.08)
        share = (min(end, (hour + 1) * _HOUR) - max(start, hour * _HOUR)) / length if length > 0 else 1.0
        cpu += level * share
        cpu_charged += max(level, container.cpu) * share
        ram += held * share
        ram_charged += max(held, requested) * share
        gpu += container.gpu_used * (0.8 + (noise & 0xFF) / 0xFF * 0.4) * share
        cpu_peak, ram_peak = max(cpu_peak, level), max(ram_peak, held)
    return Usage(cpu, cpu_charged, cpu_peak * 1.18, ram, ram_charged, float(int(ram_peak * 1.03)), gpu)


def busyness(rhythm: str, start: float, end: float) -> float:
    """The average of a rhythm from `start` to `end`: 1 is the typical hour of a week."""
    factors = _RHYTHMS[rhythm]
    hours = range(int(start // _HOUR), math.ceil(end / _HOUR))
    parts = ((min(end, (hour + 1) * _HOUR) - max(start, hour * _HOUR), (hour - _MONDAY) % 168) for hour in hours)
    return sum(length * factors[place] for length, place in parts) / (end - start) if end > start else 0.0
