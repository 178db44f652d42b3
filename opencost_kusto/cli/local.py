"""`demo` and `emulator`: all of it on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opencost_kusto.cli.options import option


def demo_command(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the servers up until Ctrl-C.")] = False,
    pictures: Annotated[Path | None, option("--pictures", "Draw each tile of the dashboard into this folder.")] = None,
) -> None:
    """Run the whole path on this machine, against a local stand-in for OpenCost and for Kusto."""
    from opencost_kusto.cli.demo import demo

    demo(keep=keep, folder=pictures)


def emulator_command(
    opencost_port: Annotated[
        int, option("--opencost-port", "Port of the stand-in for OpenCost; 0 chooses.", min=0, max=65535)
    ] = 0,
    kusto_port: Annotated[
        int, option("--kusto-port", "Port of the stand-in for Kusto; 0 chooses.", min=0, max=65535)
    ] = 0,
) -> None:
    """Start the local stand-ins alone, until Ctrl-C, to test a pipeline against."""
    from opencost_kusto.cli.demo import emulator

    emulator(opencost_port, kusto_port)
