"""The shipped functions as values, and the KQL that calls one by name."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from opencost_kusto.database import script
from opencost_kusto.errors import UsageError
from opencost_kusto.schema.kql import literal
from opencost_kusto.schema.tables import DATASETS
from opencost_kusto.times import FORMS, MINUTE, duration, is_duration, moment

PREFIX = "OpenCost"
_PARAMETER = re.compile(r"(\w+): (\w+)(?: = (.+))?")
# Commas in a default's string do not separate parameters.
_COMMA = re.compile(r',\s*(?=(?:[^"]*"[^"]*")*[^"]*$)')
_BOOLS = {"true": "true", "false": "false"}
_PERIODS = (("startTime", "endTime"), ("previousStartTime", "previousEndTime"))


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter; `default` is KQL, None if a value is required."""

    name: str
    type: str
    default: str | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.type}" + ("" if self.default is None else f" = {self.default}")


@dataclass(frozen=True, slots=True)
class Function:
    """One shipped function: its docstring, its parameters in order, and its file."""

    name: str
    parameters: tuple[Parameter, ...]
    doc: str
    body: str
    path: Path

    @property
    def signature(self) -> str:
        """`OpenCostOfRun(runId: string, cluster: string = "")`."""
        return f"{self.name}({', '.join(map(str, self.parameters))})"


def functions() -> list[Function]:
    """Every shipped function, by name."""
    return sorted((read(command) for command in script.commands("functions")), key=lambda function: function.name)


def call(name: str, parameters: dict[str, str]) -> str:
    """The KQL that calls a function with a user's values; the prefix `OpenCost` of its name is optional.

    A datetime is RFC 3339, a date, `now`, or a duration before now such as 7d. Raises UsageError for a function or
    parameter that does not exist, a missing value, a value of another type, a dataset without windows, and an end that
    is not after the start.
    """
    function = named(name)
    accepted = {parameter.name: parameter for parameter in function.parameters}
    for given in parameters:
        if given not in accepted:
            raise UsageError(
                f"{function.name} has no parameter {given!r}.{_hint(given, list(accepted))} {_takes(function)}"
            )
    missing = [each.name for each in function.parameters if each.default is None and each.name not in parameters]
    if missing:
        raise UsageError(f"{function.name} needs a value for {', '.join(missing)}. {_takes(function)}")
    _check_values(parameters)
    given_up_to = max((at for at, each in enumerate(function.parameters, 1) if each.name in parameters), default=0)
    values = [
        as_literal(each, parameters[each.name]) if each.name in parameters else str(each.default)
        for each in function.parameters[:given_up_to]
    ]
    return f"{function.name}({', '.join(values)})"


def _check_values(parameters: dict[str, str]) -> None:
    """Refuse values that would return no rows, as if nothing had a cost."""
    windowed = [name for name, table in DATASETS.items() if table.cadence == "step"]
    if (dataset := parameters.get("dataset")) is not None and dataset not in windowed:
        raise UsageError(f"There is no dataset {dataset!r} with windows; there are {', '.join(windowed)}.")
    now = datetime.now(UTC)
    for first, last in _PERIODS:
        start, end = (parameters.get(name, "").strip() for name in (first, last))
        try:
            backwards = bool(start and end) and moment(end, now=now) <= moment(start, now=now)
        except (ValueError, OverflowError, UsageError):
            # A value that is not a time is reported with the other values.
            continue
        if backwards:
            raise UsageError(f"{last}, {end}, is not after {first}, {start}: no window lies between them.")


def as_literal(parameter: Parameter, text: str) -> str:
    """A value as a KQL literal of the parameter's type; raises UsageError if it is not of the type."""
    try:
        match parameter.type:
            case "string":
                return literal(text)
            case "datetime":
                return _datetime(text.strip())
            case "long" | "int":
                return str(int(text))
            case "real":
                return f"real({float(text)})"
            case "timespan":
                return f"{duration(text).total_seconds() / 60:.0f}m"
            case "bool":
                return _BOOLS[text.strip().lower()]
    except (ValueError, KeyError, UsageError):
        raise UsageError(
            f"{text!r} is not a {parameter.type}, which {parameter.name} must be.{_forms(parameter)}"
        ) from None
    raise UsageError(f"{parameter.name} is of type {parameter.type}, for which there is no literal here.")


def _datetime(text: str) -> str:
    if text.lower() == "now":
        return "now()"
    if is_duration(text):
        return f"ago({duration(text) / MINUTE:.0f}m)"
    return f"datetime({moment(text, now=datetime.now(UTC)).replace(tzinfo=None).isoformat()}Z)"


def _forms(parameter: Parameter) -> str:
    if parameter.type != "datetime":
        return ""
    return f" Write {FORMS}."


def read(command: script.Command) -> Function:
    """The function that a bundled command defines; raises UsageError for a command that defines none."""
    found = script.defined(command.text)
    if found is None:
        raise UsageError(f"{command.place} is not a function as this program writes them.")
    parameters = tuple(map(_parameter, _COMMA.split(found.parameters))) if found.parameters else ()
    return Function(found.name, parameters, found.doc, found.body, command.path)


def _parameter(text: str) -> Parameter:
    found = _PARAMETER.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not a parameter.")
    return Parameter(found[1], found[2], found[3])


def named(name: str) -> Function:
    """The function of a name, whose prefix is optional: `OpenCostByNamespace`, `ByNamespace`, `namespace`.

    Raises UsageError with similar names.
    """
    by_name = {function.name.lower(): function for function in functions()}
    short_name = name.strip().lower()
    for prefix in ("", PREFIX.lower(), f"{PREFIX.lower()}by"):
        if found := by_name.get(prefix + short_name):
            return found
    names = [function.name for function in by_name.values()]
    raise UsageError(f"There is no function {name!r}.{_hint(name, names)} opencost-kusto query --list has all.")


def _hint(text: str, names: list[str]) -> str:
    by_short = {short(each): each for each in names}
    near = difflib.get_close_matches(short(text), by_short, 3, 0.55)
    return f" Did you mean {' or '.join(by_short[each] for each in near)}?" if near else ""


def short(name: str) -> str:
    """A name without the common prefix, in lower case."""
    return name.lower().removeprefix(PREFIX.lower())


def _takes(function: Function) -> str:
    if not function.parameters:
        return "It takes none."
    return f"It takes {', '.join(map(str, function.parameters))}."
