"""Recorded responses of three OpenCost servers; `INDEX.md` in each folder lists each request and what to expect."""

from __future__ import annotations

import gzip
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

DATA = Path(__file__).parents[1] / "data"
VERSIONS = ("1.112", "1.119")
ALL_VERSIONS = ("1.111", *VERSIONS)
"""All of which there are recordings; of 1.111 only a part of those of the others."""


def recording(version: str, name: str) -> bytes:
    """The body of one response as sent, e.g. `recording("1.112", "allocation_hour.json")`."""
    path = DATA / f"opencost-{version}" / name
    packed = path.with_name(path.name + ".gz")
    return gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()


def names(version: str, prefix: str = "") -> list[str]:
    """The names of a version's recordings, sorted, e.g. `assets_hours/00.json`; large files lose their `.gz`."""
    folder = DATA / f"opencost-{version}"
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    found = {path.removesuffix(".gz") for path in paths}
    return sorted(name for name in found if name.startswith(prefix) and name != "INDEX.md")


class Recorded(NamedTuple):
    """One response as the index of its folder lists it: its request and its status."""

    version: str
    name: str
    request: str
    status: int

    @property
    def path(self) -> str:
        """The path of the request."""
        return urlsplit(self.request).path

    @property
    def query(self) -> dict[str, str]:
        """The query of the request."""
        return dict(parse_qsl(urlsplit(self.request).query, keep_blank_values=True))

    @property
    def body(self) -> bytes:
        """The body as sent."""
        return recording(self.version, self.name)


@cache
def recorded(version: str) -> tuple[Recorded, ...]:
    """The responses that the index of a version's recordings lists."""
    rows = re.findall(
        r"\| (\S+) \| `(/[^`]*)` \| (\d+) \|", (DATA / f"opencost-{version}" / "INDEX.md").read_text("utf-8")
    )
    return tuple(Recorded(version, name, request, int(status)) for name, request, status in rows)
