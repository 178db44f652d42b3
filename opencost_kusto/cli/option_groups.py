"""Groups of options spread for Typer and gathered again, and which options stand on the command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints

import typer

from opencost_kusto.cli.options import AskOptions
from opencost_kusto.cli.termination import Process
from opencost_kusto.errors import UsageError
from opencost_kusto.names import shown, variable


class ExplicitOptions(frozenset[str]):
    """The options that stand on the command line; what the environment says is for other commands too."""

    @classmethod
    def of(cls, context: typer.Context) -> ExplicitOptions:
        """Those of a command that is about to run, by the names of its parameters."""
        sources = {name: context.get_parameter_source(name) for name in context.params}
        return cls(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")


def grouped(command: Callable[..., None], *, loading: bool = False) -> Callable[..., None]:
    """Spread each parameter that is a group into the group's own options, as Typer knows only these.

    A parameter of type ExplicitOptions or Process is given what it asks for. `loading` says that rows may be under way.
    """
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    groups: dict[str, Any] = {one.name: one.annotation for one in parameters if is_dataclass(one.annotation)}
    injected = {one.name: one.annotation for one in parameters if one.annotation in (ExplicitOptions, Process)}
    spread = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for one in parameters:
        if one.name not in injected:
            spread += _fields(groups[one.name]) if one.name in groups else [one.replace(kind=one.KEYWORD_ONLY)]

    def run(context: typer.Context, **given: Any) -> None:
        process = context.obj or Process()
        process.loading = loading
        process.document = process.document or bool(given.get("as_json"))
        _check_encoding(given)
        explicit = ExplicitOptions.of(context)
        taken = {name: group(**{f.name: given.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
        for one in taken.values():
            if isinstance(one, AskOptions):
                one.check(explicit)
        values = {ExplicitOptions: explicit, Process: process}
        command(**taken, **given, **{name: values[kind] for name, kind in injected.items()})

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(spread)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in spread}
    return run


def _check_encoding(given: Mapping[str, Any]) -> None:
    """Raise UsageError for a text that was not UTF-8: Python keeps its bytes as half characters, which no table can."""
    for option, value in given.items():
        for text in map(str, value if isinstance(value, list | tuple) else [value]):
            if any("\ud800" <= one <= "\udfff" for one in text):
                flag = "--" + option.rstrip("_").replace("_", "-")
                raise UsageError(f"{variable(flag)} is not UTF-8: {shown(text)}.")


def _fields(group: Any) -> list[inspect.Parameter]:
    """The options of a group as parameters."""
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if one.default is MISSING else one.default,
            annotation=hints[one.name],
        )
        for one in fields(group)
    ]
