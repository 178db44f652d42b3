"""From container rows to the rows of a request: grouping, idle cost and accumulated sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from opencost_kusto.emulator.opencost.allocation import UNALLOCATED, UNMOUNTED, Allocation, Peaks, Properties
from opencost_kusto.emulator.opencost.sampling import Span

Rows = dict[str, Allocation]
Key = Callable[[Properties], str]

DEFAULT: Final = ("cluster", "node", "namespace", "pod", "container")
_RAW: Final = {name.lower(): name for name in DEFAULT}
_KINDS: Final = ("deployment", "daemonset", "statefulset", "job")
_ALIASES: Final = {"department": "department", "environment": "env", "owner": "owner", "product": "app", "team": "team"}


class IdleCost(NamedTuple):
    """What a node costs beyond what its containers are charged for."""

    node: str
    start: float
    end: float
    cpu: float
    gpu: float
    ram: float


def keys(aggregate: str) -> list[Key]:
    """The parts of a row's name for the `aggregate` parameter; unknown words are dropped, as the server does."""
    words = [word.strip() for word in aggregate.split(",")] if aggregate else list(DEFAULT)
    found = (_key(word) for word in words)
    return [key for key in found if key is not None]


def _key(word: str) -> Key | None:
    lower = word.lower()
    kind, _, label = word.partition(":")
    if lower in _RAW:
        name = _RAW[lower]
        return lambda properties: str(properties.get(name, ""))
    if lower == "controller":
        return lambda properties: (
            f"{properties['controllerKind']}:{properties['controller']}" if "controller" in properties else UNALLOCATED
        )
    if lower == "controllerkind":
        return lambda properties: str(properties.get("controllerKind", UNALLOCATED))
    if lower in _KINDS:
        return lambda properties: (
            str(properties["controller"]) if properties.get("controllerKind") == lower else UNALLOCATED
        )
    if lower == "service":
        return _service
    if lower in _ALIASES or (label and kind.lower() in {"label", "annotation"}):
        held = "annotations" if kind.lower() == "annotation" else "labels"
        name = sanitized(label) if label else _ALIASES[lower]
        return lambda properties: str(properties.get(held, {}).get(name, UNALLOCATED))
    return None


def _service(properties: Properties) -> str:
    if properties.get("namespace") == UNMOUNTED or properties.get("container") == UNMOUNTED:
        return UNMOUNTED
    services = properties.get("services")
    return str(services[0]) if services else UNALLOCATED


def sanitized(label: str) -> str:
    """A label's name as Prometheus writes it: every character but letters, digits and _ becomes _."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter == "_") else "_" for letter in label)


def aggregated(rows: Iterable[Allocation], by: Sequence[Key], *, metadata: bool = False) -> Rows:
    """Rows by name, merged where they share one."""
    found: Rows = {}
    for row in rows:
        name = "/".join(key(row.properties) for key in by)
        if name in found:
            found[name].add(row, metadata=metadata)
        else:
            found[name] = row.copy()
    return found


def idle_row(idle: Sequence[IdleCost], cluster: str, window: Span, providers: Mapping[str, str]) -> Allocation:
    """The one `__idle__` row of a set; it names its node when there is only one."""
    properties: Properties = {"cluster": cluster}
    if len({one.node for one in idle}) == 1:
        properties |= {"node": idle[0].node, "providerID": providers[idle[0].node]}
    start, end = min(one.start for one in idle), max(one.end for one in idle)
    row = Allocation(properties, window, start, end, is_container=False, is_accumulated=True)
    row.cpu_cost = sum(one.cpu for one in idle)
    row.gpu_cost = sum(one.gpu for one in idle)
    row.ram_cost = sum(one.ram for one in idle)
    return row


def share_idle(rows: Iterable[Allocation], idle: Sequence[IdleCost], *, by_node: bool) -> list[Allocation]:
    """Rows with the idle cost of their node, or of the cluster, added by their share in its allocated cost."""
    shared = [row.copy() for row in rows]
    groups: dict[str, list[Allocation]] = {}
    for row in shared:
        groups.setdefault(str(row.properties.get("node", "")) if by_node else "", []).append(row)
    for group, members in groups.items():
        parts = [one for one in idle if not by_node or one.node == group]
        for resource in ("cpu", "gpu", "ram"):
            name = f"{resource}_cost"
            allocated = sum(getattr(row, name) for row in members)
            left = sum(getattr(one, resource) for one in parts)
            for row in members if allocated else ():
                setattr(row, name, getattr(row, name) * (1 + left / allocated))
    return shared


def accumulated(sets: Sequence[Rows]) -> Rows:
    """Sets of one range as one set, which loses what belongs to one container alone."""
    total: Rows = {}
    for one in sets:
        for name, row in one.items():
            if name in total:
                total[name].add(row)
            else:
                total[name] = replace(row.copy(), is_accumulated=True)
    if not total:
        return total
    window = Span(min(row.window.start for row in total.values()), max(row.window.end for row in total.values()))
    return {name: replace(row, window=window) for name, row in total.items()}


def joined(parts: Sequence[Sequence[Allocation]], window: Span) -> list[Allocation]:
    """Container rows of a window longer than a day, which the server computes day by day.

    Unlike accumulated sets they keep labels, services and peaks.
    """
    total: Rows = {}
    for row in (row for part in parts for row in part):
        name = "/".join(str(row.properties.get(part, "")) for part in DEFAULT)
        merged = total.get(name)
        if merged is None:
            total[name] = replace(row.copy(), is_accumulated=True, peaks=row.peaks or Peaks())
            continue
        properties, peaks = merged.properties, merged.peaks or Peaks()
        merged.add(row)
        other = row.peaks or Peaks()
        gpu = max(peaks.gpu or 0.0, other.gpu or 0.0) if peaks.gpu is not None or other.gpu is not None else None
        merged.peaks = Peaks(max(peaks.cpu, other.cpu), max(peaks.ram, other.ram), gpu)
        merged.properties = properties
    return [replace(row, window=window) for row in total.values()]
