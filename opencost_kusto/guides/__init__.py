"""The guides that ship with the program, as Markdown pages."""

from __future__ import annotations

from importlib.resources import files


def names() -> list[str]:
    """The names of the guides."""
    return sorted(path.name.removesuffix(".md") for path in files(__package__).iterdir() if path.name.endswith(".md"))


def read(name: str) -> str:
    """The text of a guide; KeyError when there is none of that name."""
    if name not in names():
        raise KeyError(name)
    return (files(__package__) / f"{name}.md").read_text("utf-8")
