"""The OpenCosts that a command requests: one by its address, those of --source, or those of the configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Protocol, TypeVar

from opencost_kusto.batch import SourceSettings
from opencost_kusto.cli.configuration import Configured
from opencost_kusto.cli.usage import at, read_option
from opencost_kusto.config import ClusterConfig, Setting
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.capabilities import retention
from opencost_kusto.names import place_of, shown, unknown
from opencost_kusto.pipeline.request import marks
from opencost_kusto.schema.columns import Json
from opencost_kusto.schema.options import OptionValue
from opencost_kusto.schema.tables import OPTIONS
from opencost_kusto.shard import Shard
from opencost_kusto.window import resolution

T = TypeVar("T")


class SourceSelection(Protocol):
    """The options by which a command selects OpenCosts."""

    @property
    def cluster(self) -> list[str] | None:
        """The names of --cluster."""

    @property
    def currency(self) -> str | None:
        """The currency of every source."""

    @property
    def opencost_retention(self) -> str | None:
        """The retention of every built-in store."""

    @property
    def configured(self) -> Configured:
        """The file, and the options that override it."""

    @property
    def part(self) -> Shard | None:
        """The shard whose clusters are requested."""

    @property
    def address(self) -> str:
        """The address of the one OpenCost."""

    @property
    def address_given(self) -> bool:
        """Whether that address was given."""

    def sources(self) -> dict[str, str]:
        """The addresses of --source by name."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """One OpenCost to request: its name, if it has one, its address, and its entry in the configuration."""

    name: str | None
    endpoint: str
    entry: ClusterConfig | None = None


def chosen(options: SourceSelection) -> list[Chosen]:
    """The OpenCosts of a command; raises UsageError for a name that none has."""
    names = options.cluster or []
    sources = options.sources()
    given = options.address_given
    if sources and given:
        raise UsageError("Name OpenCost with --endpoint and --cluster, or with --source for each; not with both.")
    found = [Chosen(name, url) for name, url in sources.items()]
    if not found and not given:
        found = [Chosen(one.name, one.endpoint, one) for one in options.configured.file.clusters]
    if not found:
        if options.part is not None:
            raise UsageError("--shard divides the clusters of --source or --config, and there is one OpenCost only.")
        if len(names) > 1:
            raise UsageError(f"{options.address} is one OpenCost, and --cluster can give it one name only.")
        return [Chosen(names[0] if names else None, options.address)]
    return [one for one in _selected(found, names) if options.part is None or options.part.has(one.name or "")]


def _selected(found: list[Chosen], names: list[str]) -> Iterator[Chosen]:
    """Those with these names, in the order of the configuration; without names, all that are not retired."""
    existing = {one.name for one in found}
    for name in names:
        if name not in existing:
            raise UsageError(unknown(name, filter(None, existing)))
    for one in found:
        retired = one.entry is not None and one.entry.retired
        if one.name in names and retired and one.entry is not None:
            raise UsageError(f"{one.entry.place}: the cluster {one.name} is retired, and is not requested any more.")
        if not retired and (not names or one.name in names):
            yield one


def own(options: SourceSelection, entry: ClusterConfig | None) -> dict[str, Setting]:
    """The settings of a cluster, without those that the command line or the environment overrides for all."""
    settings = {} if entry is None else entry.settings
    return {name: one for name, one in settings.items() if name not in options.configured.stronger}


def settings(options: SourceSelection, entry: ClusterConfig | None) -> SourceSettings:
    """Currency, marks, options and metadata of a cluster; a UsageError has the line of the file."""
    found = own(options, entry)
    _check_needs(options, found)
    return SourceSettings(
        _placed(found.get("currency"), lambda value: currency(str(value))) or _currency(options),
        {name: value for name in OPTIONS if (value := _placed(found.get(name), partial(_parsed, name))) is not None},
        _placed(found.get("metadata"), marks) or {},
        _placed(found.get("opencost_resolution"), lambda value: resolution(str(value))),
        _placed(found.get("opencost_retention"), lambda value: retention(str(value))) or _retention(options),
    )


def _check_needs(options: SourceSelection, found: Mapping[str, Setting]) -> None:
    """Raise UsageError for a setting of a cluster that has no effect without another, which is not set."""
    set_somewhere = {**options.configured.file.settings, **found}
    for name, declared in OPTIONS.items():
        needed = next((one.field for one in OPTIONS.values() if one.name == declared.needs), None)
        if needed is None or name not in found or not found[name].value or needed in options.configured.stronger:
            continue
        other = set_somewhere.get(needed)
        if other is None or not other.value:
            raise UsageError(f"{found[name].place}: {name} has no effect alone: add {needed} = true.")


def _currency(options: SourceSelection) -> str | None:
    with at(place_of("--currency")):
        return currency(options.currency)


def _retention(options: SourceSelection) -> dict[timedelta, int] | None:
    text = options.opencost_retention
    return None if text is None else read_option("--opencost-retention", retention, text)


def currency(text: str | None) -> str | None:
    """A code of ISO 4217, in upper case; raises UsageError."""
    if text is not None and not re.fullmatch(r"[A-Za-z]{3}", text):
        raise UsageError(f"The currency {shown(text)} is no code of ISO 4217, such as EUR.")
    return text and text.upper()


def _parsed(name: str, value: Json) -> OptionValue:
    """An option of a dataset, as the file has it."""
    if isinstance(value, bool):
        return value
    return OPTIONS[name].parse(value if isinstance(value, str) else ",".join(value))


def _placed(setting: Setting | None, read: Callable[[Json], T]) -> T | None:
    """The value of a setting; a UsageError has its line of the file."""
    if setting is None:
        return None
    with at(setting.place):
        return read(setting.value)
