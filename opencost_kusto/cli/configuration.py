"""`--config`: the file's settings as defaults of a command's options, and its clusters.

The command line takes precedence over the environment, the environment over the file, the file over the default.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from typer.models import OptionInfo

from opencost_kusto.cli.options import option
from opencost_kusto.config import CLUSTERS, DEFAULTS, KUSTO, Config, Keys, read
from opencost_kusto.schema.columns import Json
from opencost_kusto.schema.tables import OPTIONS

# Options that a file cannot set: the file itself, what names a source in another way, and what differs by replica.
_NEVER = frozenset({"config", "endpoint", "host", "port", "cluster", "source", "shard"})
# By the name of its parameter, the type of each option.
_TYPES: dict[str, Any] = {}
# Settings that can be set per cluster, in addition to its name, its address, its doors and its request timeout.
OWN = frozenset({"currency", "metadata", "opencost_resolution", "opencost_retention", *OPTIONS})


@dataclass(frozen=True, slots=True)
class Configured:
    """The file of a command, and the names of the options that the command line or the environment sets."""

    file: Config = field(default_factory=Config)
    stronger: frozenset[str] = frozenset()


def key(parameter: Any) -> str | None:
    """The key of an option in the file; None for what a file cannot set: arguments, and actions of a command."""
    if parameter.param_type_name != "option" or not parameter.envvar:
        return None
    name = str(parameter.envvar).removeprefix("OPENCOST_KUSTO_").lower()
    return None if name in _NEVER else name


def keys(program: Any) -> Keys:
    """The keys of each section, by the options of all commands."""
    from opencost_kusto.cli.door_options import DoorOptions
    from opencost_kusto.cli.kusto_options import KustoOptions

    kinds = {
        name: _kind(one.name) for command in program.commands.values() for one in command.params if (name := key(one))
    }
    own = {one.name for one in fields(KustoOptions)}
    of_cluster = {*OWN, "request_timeout", *(one.name for one in fields(DoorOptions))}
    cluster = {name: kind for name, kind in kinds.items() if name in of_cluster}
    return {
        KUSTO: {name: kind for name, kind in kinds.items() if name in own},
        DEFAULTS: {name: kind for name, kind in kinds.items() if name not in own},
        CLUSTERS: {"name": str, "endpoint": str, "retired": bool, **cluster},
    }


def declare(parameters: Iterable[inspect.Parameter]) -> None:
    """Store the types of a command's options: the form in which Typer keeps them differs between its releases."""
    for one in parameters:
        _TYPES[one.name] = one.annotation


def _kind(name: str) -> type:
    """The type of an option's value in the file, by the name of its parameter."""
    if name == "metadata":
        return dict
    found = _TYPES.get(name, str)
    plain = get_args(found)[0] if get_origin(found) is Annotated else found
    plain = next((one for one in get_args(plain) if one is not NoneType), plain) if _optional(plain) else plain
    kind: type = get_origin(plain) or plain
    return {bool: bool, int: int, float: float, list: list}.get(kind, str)


def _optional(found: Any) -> bool:
    return get_origin(found) in (Union, UnionType)


def as_option(name: str, value: Json) -> Json:
    """A value of the file as the option has it, by the name of its parameter."""
    if isinstance(value, dict):
        return [f"{key}={text}" for key, text in value.items()]
    return [value] if isinstance(value, str) and _kind(name) is list else value


def _use(context: typer.Context, value: str | None) -> str | None:
    """Use the file's settings as the defaults of the command."""
    if value and not context.resilient_parsing:
        file = read(value, keys(context.find_root().command))
        named = {name: one for one in context.command.params if (name := key(one))}
        context.default_map = {
            one.name: as_option(one.name, file.settings[name].value)
            for name, one in named.items()
            if one.name and name in file.settings
        }
        if context.obj is not None:
            context.obj.config = file
    return value


@dataclass(frozen=True, slots=True)
class ConfigOptions:
    """Which file has the settings."""

    config: Annotated[
        str | None,
        option("--config", "File with settings and clusters, in TOML.", is_eager=True, callback=_use),
    ] = None


def places(context: typer.Context, file: Config) -> dict[str, str]:
    """Line and key of the options that a command has from the file, by their names on the command line."""
    found: dict[str, str] = {}
    for one in context.command.params:
        source, name = context.get_parameter_source(str(one.name)), key(one)
        if source is not None and source.name == "DEFAULT_MAP" and name in file.settings:
            flags = [flag for flag in one.opts if flag.startswith("--")]
            found |= dict.fromkeys(flags, f"{file.settings[name].place}, {name}")
    return found


def stronger(context: typer.Context) -> frozenset[str]:
    """The options that the command line or the environment sets."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = ("COMMANDLINE", "ENVIRONMENT")
    return frozenset(name for name, source in sources.items() if source is not None and source.name in given)


def options_of(group: Any) -> Iterable[Any]:
    """The fields of a group that are options."""
    hints = get_type_hints(group, include_extras=True)
    return [
        one
        for one in fields(group)
        if any(isinstance(each, OptionInfo) for each in getattr(hints[one.name], "__metadata__", ()))
    ]
