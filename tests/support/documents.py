"""The README and the guides, for tests that hold them to the program."""

from __future__ import annotations

from pathlib import Path

from opencost_kusto import guides

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
GUIDES = {name: guides.read(name) for name in guides.names()}
ALL = "\n".join([README, *GUIDES.values()])
