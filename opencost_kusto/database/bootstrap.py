"""Create or update what is declared in a database: a command runs only if something differs.

A column's type is never changed, and nothing is dropped. A refused policy or docstring does not stop it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opencost_kusto.database.compare import Difference, differences
from opencost_kusto.errors import KustoError, ReasonCode
from opencost_kusto.kusto.client import Kusto

__all__ = ["Bootstrapped", "Difference", "Refused", "bootstrap", "differences"]


@dataclass(frozen=True, slots=True)
class Refused:
    """An optional command that Kusto refused, and the reason; an administrator can run it later."""

    difference: Difference
    error: KustoError

    def __str__(self) -> str:
        command = " ".join(self.difference.command.split())
        return f"{self.difference.what}, and is left so: {self.error} To change it later, run: {command}"


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """The number of commands that were run, and the optional ones that Kusto refused."""

    changed: int
    refused: tuple[Refused, ...] = ()


def bootstrap(kusto: Kusto, on_result: Callable[[Difference], None] = lambda _: None) -> Bootstrapped:
    """Apply every difference, command by command; `on_result` is called with each.

    Raises KustoError naming file and line for the first required command that fails, and, before anything is changed,
    when a column has another type than declared.
    """
    found = list(differences(kusto))
    conflicts = [difference.what for difference in found if difference.conflict]
    if conflicts:
        raise KustoError(
            f"{'; '.join(conflicts)}. A column's type is never altered, since that would lose its data. Run bootstrap "
            "--migrate, which renames the old table and copies its rows, or use another database.",
            code=ReasonCode.SCHEMA_DRIFT,
        )
    refused: list[Refused] = []
    for difference in found:
        try:
            kusto.command(difference.command, creates=difference.creates)
        except KustoError as error:
            if difference.required or error.transient:
                text = f"{difference.place}: {error}"
                raise KustoError(text, code=error.code, transient=error.transient, cure=error.cure) from error
            refused.append(Refused(difference, error))
        else:
            on_result(difference)
    return Bootstrapped(len(found) - len(refused), tuple(refused))
