"""Groups of options, spread for Typer and gathered again, and the options that the command line has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any, TypeVar, get_type_hints

import typer
from typer.models import OptionInfo

from opencost_kusto.cli.configuration import ConfigOptions, Configured, declare, options_of, places, stronger
from opencost_kusto.cli.console import Console, Format
from opencost_kusto.cli.options import LogOptions, ReportOptions
from opencost_kusto.cli.source_options import DataOptions, SourceOptions
from opencost_kusto.cli.termination import Process
from opencost_kusto.errors import UsageError
from opencost_kusto.names import placed, shown, variable

T = TypeVar("T")


class ExplicitOptions(frozenset[str]):
    """The options on the command line, in contrast to the environment, which is for other commands too."""

    @classmethod
    def of(cls, context: typer.Context) -> ExplicitOptions:
        """Those of a command, by the names of its parameters."""
        sources = {name: context.get_parameter_source(name) for name in context.params}
        return cls(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")


# What a command may have as a parameter that is no option.
_INJECTED = (ExplicitOptions, Process, Console, typer.Context)


def grouped(command: Callable[..., None], *, loading: bool = False, reports: bool = False) -> Callable[..., None]:
    """Spread each parameter that is a group into the group's own options, as Typer supports only these.

    Every command also takes LogOptions. Parameters of the types in _INJECTED are passed by type. `loading` is whether
    rows may be under way, `reports` whether it prints rows or a report, in a chosen format.
    """
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    groups: dict[str, Any] = {one.name: one.annotation for one in parameters if is_dataclass(one.annotation)}
    groups = {name: group for name, group in groups.items() if group is not Console}
    injected = {one.name: one.annotation for one in parameters if one.annotation in _INJECTED}
    spread = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for one in parameters:
        if one.name not in injected:
            spread += _fields(groups[one.name]) if one.name in groups else [one.replace(kind=one.KEYWORD_ONLY)]
    spread += [*(_fields(ReportOptions) if reports else ()), *_fields(LogOptions), *_fields(ConfigOptions)]

    declare(spread)

    def run(context: typer.Context, **given: Any) -> None:
        process = context.obj or Process()
        process.loading = loading
        console: Console = process.console
        _set_up(console, given)
        given.pop("config", None)
        _check_encoding(given)
        explicit = ExplicitOptions.of(context)
        with placed(places(context, process.config)):
            taken = {name: gathered(group, given, explicit) for name, group in groups.items()}
            for name, one in taken.items():
                if isinstance(one, DataOptions):
                    one.check(explicit)
                if isinstance(one, SourceOptions):
                    taken[name] = replace(one, configured=Configured(process.config, stronger(context)))
            values = {ExplicitOptions: explicit, Process: process, Console: console, typer.Context: context}
            command(**taken, **given, **{name: values[kind] for name, kind in injected.items()})

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(spread)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in spread}
    return run


def _set_up(console: Console, given: dict[str, Any]) -> None:
    """Give the console its options, and leave the others."""
    for name in (one.name for one in fields(LogOptions)):
        setattr(console, name, given.pop(name))
    console.format_ = given.pop("format_", None)
    console.document_due = console.format_ is Format.JSON


def _check_encoding(given: Mapping[str, Any]) -> None:
    """Raise UsageError for a text that was not UTF-8: Python keeps its bytes as half characters, which Kusto cannot."""
    for option, value in given.items():
        for text in map(str, value if isinstance(value, list | tuple) else [value]):
            if any("\ud800" <= one <= "\udfff" for one in text):
                flag = "--" + option.rstrip("_").replace("_", "-")
                raise UsageError(f"{variable(flag)} is not UTF-8: {shown(text)}.")


def gathered(group: type[T], given: dict[str, Any], explicit: ExplicitOptions) -> T:
    """The group, with its options taken out of `given`.

    Of options that exclude each other, one on the command line overrides one in the environment.
    """
    values = {one.name: given.pop(one.name) for one in options_of(group)}
    sides = getattr(group, "EXCLUSIVE", ())
    written = {name for side in sides if explicit.intersection(side) for name in side}
    if written:
        for name in {name for side in sides for name in side} - written:
            del values[name]
    return group(**values)


def _fields(group: Any) -> list[inspect.Parameter]:
    """The options of a group as parameters, in the group's section of the help."""
    hints = get_type_hints(group, include_extras=True)
    for one in options_of(group):
        (info,) = (each for each in hints[one.name].__metadata__ if isinstance(each, OptionInfo))
        info.rich_help_panel = info.rich_help_panel or getattr(group, "PANEL", None)
    return [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if one.default is MISSING else one.default,
            annotation=hints[one.name],
        )
        for one in options_of(group)
    ]
