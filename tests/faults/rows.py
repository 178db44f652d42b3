"""The faults of the suite as the README lists them: `python -m tests.faults.rows` prints the table."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from typing import Any

from tests import faults
from tests.faults.ending import Fault

ALONG_THE_PATH = (
    *("opencost", "storage", "queue", "engine", "refused", "twice", "late", "documented", "damage"),
    *("replace", "replace_steps", "spool", "crash", "terminated"),
)


def declared() -> Iterator[Fault]:
    """What each test declares, along the path of the rows, test by test as they are written."""
    modules = {module.name for module in pkgutil.iter_modules(faults.__path__) if module.name.startswith("test_")}
    assert modules - {"test_rows"} == {f"test_{name}" for name in ALONG_THE_PATH}
    for name in ALONG_THE_PATH:
        module = importlib.import_module(f"{faults.__name__}.test_{name}")
        for test in vars(module).values():
            if getattr(test, "__module__", "") == module.__name__:
                yield from _of(getattr(test, "pytestmark", []))


def _of(marks: Iterable[Any]) -> Iterator[Fault]:
    """The faults among marks, and among the marks of parameters."""
    for mark in marks:
        if mark.name == "fault":
            yield from mark.args
        elif mark.name == "parametrize":
            for parameter in mark.args[1]:
                yield from _of(getattr(parameter, "marks", ()))


def table() -> str:
    """The table, each fault once."""
    head = "| what goes wrong | outcome | exit code | message |\n|---|---|---|---|\n"
    return head + "\n".join(dict.fromkeys(fault.row for fault in declared())) + "\n"


if __name__ == "__main__":
    print(table(), end="")
