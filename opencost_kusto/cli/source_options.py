"""Options that name the OpenCost servers, and what is requested from them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, TypeVar

from opencost_kusto.batch import RequestOptions
from opencost_kusto.cli.clusters import Chosen, chosen, own, settings
from opencost_kusto.cli.configuration import OWN, Configured, as_option
from opencost_kusto.cli.door_options import DoorOptions
from opencost_kusto.cli.options import OPENCOST, Shards, key_values, listed, option, seconds, shard_of
from opencost_kusto.cli.usage import at
from opencost_kusto.errors import UsageError
from opencost_kusto.extract.client import OpenCost
from opencost_kusto.extract.kubernetes.address import is_kubernetes
from opencost_kusto.names import place_of, placed, variable
from opencost_kusto.schema.columns import Json
from opencost_kusto.schema.options import Option
from opencost_kusto.schema.tables import DATASETS, DEFAULT_DATASETS, OPTIONS
from opencost_kusto.shard import Shard

_ENDPOINT = "http://localhost:9003"
# The doors that an endpoint in Kubernetes has no use for, those of which one is enough, and those of https alone.
_DOORS = frozenset(one.name for one in fields(DoorOptions) if one.default is None)
_SIGN_INS = frozenset({"opencost_token_file", "opencost_scope"})
_CERTIFICATES = frozenset({"opencost_ca", "opencost_cert", "opencost_key"})
# Stands for every dataset that is declared.
EVERY = "all"


@dataclass(frozen=True, slots=True)
class SourceOptions(DoorOptions):
    """Which OpenCost is requested, and how to reach it."""

    PANEL = OPENCOST
    EXCLUSIVE = (("endpoint", "cluster"), ("host", "port", "cluster"), ("source",))
    endpoint: Annotated[
        str, option("--endpoint", "Address of OpenCost: http(s)://, kube://CONTEXT or in-cluster://.")
    ] = _ENDPOINT
    host: Annotated[str | None, option("--host", "Its host, instead of --endpoint.")] = None
    port: Annotated[int | None, option("--port", "Its port: 9003 if left out.", min=1, max=65535)] = None
    cluster: Annotated[
        list[str] | None,
        option("--cluster", "Name of the one OpenCost; selects among those of --source or --config; repeatable."),
    ] = None
    source: Annotated[
        list[str] | None, option("--source", "name=URL, instead of --endpoint and --cluster; repeatable.")
    ] = None
    shard: Shards = None
    request_timeout: Annotated[float, option("--request-timeout", "Seconds to wait for one response of OpenCost.")] = (
        600.0
    )
    currency: Annotated[str | None, option("--currency", "Currency of the costs, such as EUR.")] = None
    opencost_retention: Annotated[
        str | None,
        option("--opencost-retention", "Windows that its built-in store keeps: 1h=168,1d=30; OpenCost's by default."),
    ] = None
    configured: Configured = field(default_factory=Configured)

    def __post_init__(self) -> None:
        seconds("--request-timeout", self.request_timeout)

    @property
    def part(self) -> Shard | None:
        """The clusters of this replica; None without --shard. Raises UsageError."""
        return shard_of(self.shard)

    @property
    def address(self) -> str:
        """The address of the one OpenCost; raises UsageError where it is given in two ways."""
        if self.host is None and self.port is None:
            return self.endpoint
        if self.endpoint != _ENDPOINT:
            raise UsageError("Use either --endpoint or --host and --port, not both.")
        host = self.host or "localhost"
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port or 9003}"

    @property
    def address_given(self) -> bool:
        """Whether one OpenCost is named by its address."""
        return self.address != _ENDPOINT or "endpoint" in self.configured.stronger

    def sources(self) -> dict[str, str]:
        """The addresses of --source by name."""
        found = key_values(self.source or [], "--source", "name=URL")
        if len({name.lower() for name in found}) < len(found):
            raise UsageError(f"{variable('--source')} has two names that differ only in case.")
        return found

    @contextmanager
    def opencosts(self) -> Iterator[list[OpenCost]]:
        """The servers, closed at the end; raises UsageError for an address, a name or a door that is invalid."""
        with ExitStack() as stack:
            yield [stack.enter_context(self._opencost(one)) for one in chosen(self)]

    def _opencost(self, one: Chosen) -> OpenCost:
        """One server, with the settings of its cluster."""
        given = own(self, one.entry)
        names = [each.name for each in fields(self) if each.name in given and each.name not in OWN]
        with placed({f"--{name.replace('_', '-')}": f"{given[name].place}, {name}" for name in names}):
            values: dict[str, Any] = dict.fromkeys(self._unfit(one.endpoint, names))
            configured = replace(self, **values | {name: as_option(name, given[name].value) for name in names})
            doors, found = configured.doors(), settings(self, one.entry)
            with at(one.entry.place if one.entry else None):
                return OpenCost(
                    one.endpoint,
                    cluster=one.name,
                    timeout=configured.request_timeout,
                    doors=doors,
                    entra=configured.entra,
                    settings=found,
                )

    def _unfit(self, endpoint: str, of_own: Collection[str]) -> frozenset[str]:
        """The doors of [defaults] that one cluster has no use for: they are for the others."""
        found = _DOORS & self.configured.file.defaults.keys() - self.configured.stronger - set(of_own)
        if is_kubernetes(endpoint):
            return found
        no_use = _SIGN_INS if _SIGN_INS & set(of_own) else frozenset[str]()
        if endpoint.lower().startswith("http://") and not (self.opencost_proxy or "opencost_proxy" in of_own):
            no_use = no_use | _CERTIFICATES
        return found & no_use


T = TypeVar("T")


def _with_declared(group: type[T]) -> type[T]:
    """Give a group one more option for each that the datasets declare."""
    for declared in reversed(OPTIONS.values()):
        is_list = not isinstance(declared.default, str | bool)
        default = None if is_list else declared.default
        kind: Any = list[str] | None if is_list else type(default)
        annotations = {declared.field: Annotated[kind, option(declared.flag, declared.doc)]}
        group.__annotations__ = annotations | group.__annotations__
        setattr(group, declared.field, default)
    return group


@dataclass(frozen=True)
@_with_declared
class DataOptions:
    """What is requested from OpenCost for a window: datasets, and an attribute for each of their options."""

    PANEL = OPENCOST
    dataset: Annotated[
        list[str] | None,
        option(
            "--dataset",
            f"{', '.join(DATASETS)}, or all; repeatable or with commas. By default {', '.join(DEFAULT_DATASETS)}.",
            "--data-type",
        ),
    ] = None

    def check(self, written: Collection[str], datasets: Collection[str] | None = None) -> None:
        """Raise UsageError for an option on the command line that no requested dataset has."""
        requested = set(self.datasets() if datasets is None else datasets)
        for name, declared in OPTIONS.items():
            of = [dataset for dataset, table in DATASETS.items() if declared in table.options]
            if name in written and not set(of) & requested:
                raise UsageError(f"{declared.flag} is of {', '.join(of)}: leave it out, or add it to --dataset.")

    def datasets(self) -> tuple[str, ...]:
        """The datasets in the order given, each once; the default ones when none was named."""
        named = dict.fromkeys(listed(self.dataset) or DEFAULT_DATASETS)
        return tuple(dict.fromkeys((*(name for name in named if name != EVERY), *(DATASETS if EVERY in named else ()))))

    def optional(self) -> frozenset[str]:
        """The datasets that are neither requested by default nor by name, and that an OpenCost may not serve."""
        return frozenset(self.datasets()) - set(listed(self.dataset)) - set(DEFAULT_DATASETS)

    def options(self) -> RequestOptions:
        """The options, checked; raises UsageError for a value that OpenCost would ignore."""
        values = {name: getattr(self, name) for name in OPTIONS}
        for name, declared in OPTIONS.items():
            needed = next((one for one in OPTIONS.values() if one.name == declared.needs), None)
            if needed and values[name] and not values[needed.field]:
                raise UsageError(f"{declared.flag} has no effect alone: add {needed.flag}.")
        return RequestOptions(**{name: _parsed(OPTIONS[name], value) for name, value in values.items()})


def _parsed(declared: Option, value: Json) -> Json:
    """The value of a declared option, parsed; an error in the configuration file has its place."""
    if isinstance(value, bool):
        return value
    with at(place_of(declared.flag)):
        return declared.parse(value if isinstance(value, str) else ",".join(listed(value)))
