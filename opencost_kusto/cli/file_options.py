"""Options of a dry run, which writes rows into files instead of Kusto."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from opencost_kusto.cli.console import Console
from opencost_kusto.cli.kusto_options import KustoOptions
from opencost_kusto.cli.options import OUTPUT, LoadOptions, option
from opencost_kusto.errors import UsageError
from opencost_kusto.pipeline.ndjson import LineWriter, files_in
from opencost_kusto.schema.tables import DATASETS

DRY_RUN = ", or use --output for a dry run"
# An --output with such a suffix is meant as a file.
_FILES = {".json", ".ndjson", ".jsonl", ".csv"}


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Where a dry run writes rows."""

    PANEL = OUTPUT
    EXCLUSIVE = (("output",), ("allocation_output", "assets_output"))
    output: Annotated[
        str | None, option("--output", "Folder, or - for stdout: a dry run that writes rows as lines.")
    ] = None
    allocation_output: Annotated[
        Path | None, option("--allocation-output", "File for the rows of allocation alone: a dry run.")
    ] = None
    assets_output: Annotated[
        Path | None, option("--assets-output", "File for the rows of assets alone: a dry run.")
    ] = None

    @property
    def given(self) -> bool:
        """Whether this is a dry run."""
        return self.output is not None or bool(self._named)

    @property
    def stdout(self) -> bool:
        """Whether stdout has the rows."""
        return self.output == "-"

    @property
    def _named(self) -> dict[str, Path]:
        """The files that are named one by one, by dataset."""
        files = {"allocation": self.allocation_output, "assets": self.assets_output}
        return {dataset: path for dataset, path in files.items() if path is not None}

    def datasets(self, requested: tuple[str, ...], *, chosen: bool) -> tuple[str, ...]:
        """The datasets to request: those that files are named for, or else `requested`.

        `chosen` is whether the user named `requested`; raises UsageError where the two differ.
        """
        if not self._named:
            return requested
        if self.output is not None:
            raise UsageError("Use either --output or --allocation-output and --assets-output, not both.")
        if chosen and set(requested) != set(self._named):
            raise UsageError(f"Files are named for {' and '.join(self._named)}: leave out --dataset, or name the same.")
        return tuple(self._named)

    def check(self, datasets: tuple[str, ...], explicit: Collection[str], console: Console) -> None:
        """Raise UsageError for options that a dry run would ignore, and for two outputs on stdout."""
        names = [field.name for group in (KustoOptions, LoadOptions) for field in fields(group)]
        if ignored := [f"--{name.replace('_', '-')}" for name in names if name in explicit]:
            flags = ", ".join(ignored).replace("--wait", "--wait/--no-wait").replace("--tags", "--no-tags")
            flag = "--output" if self.output is not None else f"--{next(iter(self._named))}-output"
            raise UsageError(f"{flag} is a dry run without Kusto; leave out {flags}.")
        if self.stdout and console.format_ is not None:
            console.document_due = False
            raise UsageError("--format and --output - both write to stdout; name a folder with --output.")
        if self.stdout and len(datasets) > 1:
            raise UsageError(
                "Rows of one dataset go to stdout: add --dataset allocation, or name a folder with --output."
            )
        if self.output is not None and Path(self.output).suffix.lower() in _FILES:
            raise UsageError(
                f"--output names a folder, and {self.output} is the name of a file. Write --output "
                f"{Path(self.output).with_suffix('')}, or --allocation-output {self.output} for the rows of allocation."
            )

    def writer(self, datasets: tuple[str, ...]) -> LineWriter:
        """What writes the rows of these datasets."""
        if self.stdout:
            return LineWriter(None)
        if self.output is not None:
            return LineWriter(files_in(Path(self.output), (DATASETS[name] for name in datasets)))
        return LineWriter({DATASETS[name].name: path for name, path in self._named.items()})
