"""`demo` and `emulator`: everything on this machine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from opencost_kusto.cli.options import option
from opencost_kusto.cli.termination import Process


class Store(StrEnum):
    """Where OpenCost stores its measurements."""

    PROMETHEUS = "prometheus"
    BUILT_IN = "built-in"


def demo_command(
    process: Process,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the servers up until Ctrl-C.")] = False,
    pictures: Annotated[Path | None, option("--pictures", "Draw the pages of the dashboard into this folder.")] = None,
) -> None:
    """Run the whole path on this machine, against a local emulator of OpenCost and of Kusto."""
    from opencost_kusto.cli.demo import demo

    demo(process, keep=keep, folder=pictures)


def emulator_command(
    process: Process,
    opencost_port: Annotated[
        int, option("--opencost-port", "Port of the first cluster's OpenCost; 0 chooses.", min=0, max=65535)
    ] = 0,
    second_opencost_port: Annotated[
        int, option("--second-opencost-port", "Port of the second cluster's OpenCost; 0 chooses.", min=0, max=65535)
    ] = 0,
    kusto_port: Annotated[int, option("--kusto-port", "Port of Kusto; 0 chooses.", min=0, max=65535)] = 0,
    opencost_version: Annotated[
        str, option("--opencost-version", "Version of OpenCost to emulate: 1.111, 1.112 or 1.119.")
    ] = "1.112",
    opencost_store: Annotated[
        Store,
        option(
            "--opencost-store",
            "prometheus keeps everything; built-in keeps 36 windows of 10m, 49 of 1h and 15 of 1d, and no others.",
        ),
    ] = Store.PROMETHEUS,
) -> None:
    """Start the local emulator of OpenCost and Kusto alone, until Ctrl-C, to test a pipeline against.

    Two clusters with fourteen days behind them; any window up to now is computed.
    """
    from opencost_kusto.cli.demo import emulator
    from opencost_kusto.emulator import BUILT_IN_STORE

    keeps = BUILT_IN_STORE if opencost_store is Store.BUILT_IN else None
    emulator(process, opencost_port, second_opencost_port, kusto_port, version=opencost_version, keeps=keeps)
