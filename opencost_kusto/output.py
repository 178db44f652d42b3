"""Rows as lines in files or on stdout, for a dry run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from opencost_kusto.errors import UsageError
from opencost_kusto.schema import Table


class LineWriter:
    """A context that gives a function to write lines with: to stdout for `-`, else to a file for each table.

    Raises UsageError when the folder or a file in it cannot be written.
    """

    def __init__(self, output: str) -> None:
        self._folder = None if output == "-" else Path(output)
        self._files: dict[str, IO[bytes]] = {}
        self._open = ExitStack()

    def __enter__(self) -> Callable[[Table, bytes], None]:
        if self._folder is not None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"The output folder {self._folder} cannot be made: {error.strerror}.") from error
        return self._write

    def __exit__(self, *_: object) -> None:
        self._open.close()
        if self._folder is None:
            sys.stdout.flush()

    def _write(self, table: Table, line: bytes) -> None:
        if self._folder is None:
            sys.stdout.buffer.write(line)
            return
        path = self._folder / f"{table.name}.ndjson"
        try:
            if table.name not in self._files:
                self._files[table.name] = self._open.enter_context(path.open("wb"))
            self._files[table.name].write(line)
        except OSError as error:
            raise UsageError(f"The file {path} cannot be written: {error.strerror}.") from error
