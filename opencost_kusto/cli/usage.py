"""Errors of the command line, in one sentence that names the option and its variable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from opencost_kusto.errors import UsageError
from opencost_kusto.names import variable

T = TypeVar("T")


def read_option(name: str, read: Callable[[str], T], text: str) -> T:
    """The value of an option's text; a UsageError names the option and its variable."""
    try:
        return read(text)
    except UsageError as error:
        raise UsageError(f"{variable(name)}: {error}") from None


@contextmanager
def at(place: str | None) -> Iterator[None]:
    """Prefix a UsageError with the place of the entry."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{place}: {error}") if place else error from error


def refusal(error: Any) -> str | None:
    """Typer's refusal of an option or a command; None for a call without a command, for which Typer prints help."""
    text = error.format_message()
    if "\n" in text:
        return None
    flags = getattr(getattr(error, "param", None), "opts", ())
    long = next((flag for flag in flags if flag.startswith("--")), None)
    if long and error.message:
        # Pydantic's messages: "Value error, …", "Input should be a valid number, unable to …".
        what = error.message.removeprefix("Value error, ").partition(", unable to")[0]
        text = f"{_place(error) or variable(long)}: {what[:1].lower() + what[1:]}"
    path = getattr(getattr(error, "ctx", None), "command_path", "opencost-kusto")
    end = "" if text.endswith("?") else "."
    return f"{text.rstrip('.')}{end} {path} -h lists the options."


def _place(error: Any) -> str | None:
    """The place of a refused value in the configuration file, if it is from there."""
    context, option = error.ctx, error.param
    source = context.get_parameter_source(option.name) if context is not None else None
    if source is None or source.name != "DEFAULT_MAP" or context.obj is None:
        return None
    key = str(option.envvar).removeprefix("OPENCOST_KUSTO_").lower()
    setting = context.obj.config.settings.get(key)
    return f"{setting.place}, {key}" if setting else None
