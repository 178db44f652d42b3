"""Rows as lines in files or on stdout, for a dry run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from opencost_kusto.errors import UsageError
from opencost_kusto.schema.columns import Table


class LineWriter:
    """A context that provides a function to write lines: to stdout for `-`, otherwise to a file for each of `tables`.

    A file ends in .part until the context ends without an error; what an interrupted run has left is overwritten.
    Raises UsageError if the folder or a file in it cannot be written, and for a file that exists: rows of two runs in
    one file would be counted twice.
    """

    def __init__(self, output: str, tables: Iterable[Table]) -> None:
        self._folder = None if output == "-" else Path(output)
        self._tables = tuple(tables)
        self._files: dict[str, IO[bytes]] = {}
        self._written: list[Table] = []
        self._open = ExitStack()

    def __enter__(self) -> Callable[[Table, bytes], None]:
        if self._folder is None:
            if sys.stdout is None:
                raise UsageError("Rows cannot be written to stdout: it is closed.")
            return self._write
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"The output folder {self._folder} cannot be created: {error.strerror}.") from error
        for table in self._tables:
            self._check(self._path(table))
        return self._write

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._open.close()
            if kind is None:
                for path in map(self._path, self._written):
                    self._check(path)
                    _part(path).rename(path)
        except OSError as error:
            raise UsageError(f"The files in {self._folder} cannot be written: {error.strerror}.") from error

    @staticmethod
    def _check(path: Path) -> None:
        """Raise UsageError for a file of another run."""
        if path.exists():
            raise UsageError(f"{path} already exists. Choose another folder, or move the file.")

    def _path(self, table: Table) -> Path:
        return (self._folder or Path()) / f"{table.name}.ndjson"

    def _write(self, table: Table, line: bytes) -> None:
        if self._folder is None:
            sys.stdout.buffer.write(line)
            return
        path = _part(self._path(table))
        try:
            if table.name not in self._files:
                self._files[table.name] = self._open.enter_context(path.open("wb"))
                self._written.append(table)
            self._files[table.name].write(line)
        except OSError as error:
            raise UsageError(f"The file {path} cannot be written: {error.strerror}.") from error


def _part(path: Path) -> Path:
    """Where the rows of a file are until it is whole."""
    return path.with_name(f"{path.name}.part")
