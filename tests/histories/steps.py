"""What a history is made of: steps in their order, and what the Kusto emulator does meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["first", "shorter", "longer", "dearer", "other", "empty", "down", "wrong window"]
"""How OpenCost responds: with one of five responses, with none, with an error, or to another request."""
RESPONSES: tuple[Mode, ...] = ("first", "shorter", "longer", "dearer", "other")
Damage = Literal["missing", "gone", "doubled", "one doubled", "mixed", "untagged"]


@dataclass(frozen=True, slots=True)
class Sync:
    """`sync` of some hours of the day; `skew` is by how many hours the machine's clock is wrong.

    `cancel` is at which check of its token the run is cancelled.
    """

    hours: tuple[int, int]
    replace: bool = False
    wait: bool = True
    spool: bool = False
    skew: int = 0
    cancel: int | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """One run of the scheduler that reads the last three hours."""

    skew: int = 0
    cancel: int | None = None


@dataclass(frozen=True, slots=True)
class Backfill:
    """`backfill` of some hours of the day."""

    hours: tuple[int, int]
    skew: int = 0
    cancel: int | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """`replay` of the history's spool."""

    cancel: int | None = None


@dataclass(frozen=True, slots=True)
class CommandRun:
    """`run` of a command that takes an hour of the day."""

    hour: int
    spool: bool = False
    cancel: int | None = None


@dataclass(frozen=True, slots=True)
class Kill:
    """`sync` in a process of its own, which gets a signal at the request to Kusto of that number."""

    hours: tuple[int, int]
    number: int
    at: int
    replace: bool = False
    spool: bool = False


Command = Sync | Tick | Backfill | Replay | CommandRun


@dataclass(frozen=True, slots=True)
class Both:
    """Two clients at the same time."""

    one: Command
    other: Command


@dataclass(frozen=True, slots=True)
class Respond:
    """From now on OpenCost responds in another way."""

    mode: Mode


@dataclass(frozen=True, slots=True)
class Harm:
    """Somebody damages what the table holds of an hour. Deleted rows leave their tags."""

    kind: Damage
    hour: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Messages stay in the queue from now on."""


@dataclass(frozen=True, slots=True)
class Release:
    """Messages are taken from the queue again; `drain` waits until there is none left."""

    drain: bool = False


Step = Command | Kill | Both | Respond | Harm | Hold | Release


@dataclass(frozen=True, slots=True)
class History:
    """Steps, and `switches` of the emulator's `Behaviour`; `seed` chooses what those draw. Its repr is Python.

    `tags` says whether blobs have ingest-by tags.
    """

    seed: int
    steps: tuple[Step, ...]
    switches: dict[str, float] = field(default_factory=dict)
    tags: bool = True
