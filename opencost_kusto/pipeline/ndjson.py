"""Rows as lines in files or on stdout, for a dry run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from opencost_kusto.errors import UsageError
from opencost_kusto.schema.columns import Table


def files_in(folder: Path, tables: Iterable[Table]) -> dict[str, Path]:
    """A file in a folder for each table, by the table's name."""
    return {table.name: folder / f"{table.name}.ndjson" for table in tables}


class LineWriter:
    """A context that provides a function to write lines: to the file of each table, or to stdout without `files`.

    A file ends in .part until the context ends without an error; one of an interrupted run is overwritten.
    Raises UsageError if a folder or a file in it cannot be written, and for a file that exists: rows of two runs in
    one file would be counted twice.
    """

    def __init__(self, files: Mapping[str, Path] | None) -> None:
        self._paths = files
        self._files: dict[str, IO[bytes]] = {}
        self._open = ExitStack()

    def __enter__(self) -> Callable[[Table, bytes], object]:
        if self._paths is None:
            if sys.stdout is None:
                raise UsageError("Rows cannot be written to stdout: it is closed.")
            stdout = sys.stdout.buffer
            return lambda _, line: stdout.write(line)
        for path in self._paths.values():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"The output folder {path.parent} cannot be created: {error.strerror}.") from error
            self._check(path)
        return self._write

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._open.close()
            if kind is None:
                for path in map((self._paths or {}).__getitem__, self._files):
                    self._check(path)
                    _part(path).rename(path)
        except OSError as error:
            names = ", ".join(str((self._paths or {})[name]) for name in self._files)
            raise UsageError(f"{names} cannot be written: {error.strerror}.") from error

    @staticmethod
    def _check(path: Path) -> None:
        """Raise UsageError for a file of another run."""
        if path.exists():
            raise UsageError(f"{path} already exists. Choose another folder, or move the file.")

    def _write(self, table: Table, line: bytes) -> None:
        path = _part((self._paths or {})[table.name])
        try:
            if table.name not in self._files:
                self._files[table.name] = self._open.enter_context(path.open("wb"))
            self._files[table.name].write(line)
        except OSError as error:
            raise UsageError(f"The file {path} cannot be written: {error.strerror}.") from error


def _part(path: Path) -> Path:
    """Where the rows of a file are until it is complete."""
    return path.with_name(f"{path.name}.part")
