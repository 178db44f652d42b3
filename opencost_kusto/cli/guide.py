"""`guide`: the pages that ship with the program."""

from __future__ import annotations

from typing import Annotated

import typer

from opencost_kusto import guides
from opencost_kusto.errors import UsageError


def guide_command(
    name: Annotated[str | None, typer.Argument(help="The guide to print; without it, their names.")] = None,
) -> None:
    """Print a guide, or the names of all."""
    if name is None:
        print("\n".join(guides.names()))
        return
    try:
        print(guides.read(name), end="")
    except KeyError:
        raise UsageError(f"There is no guide {name!r}; there are {', '.join(guides.names())}.") from None
