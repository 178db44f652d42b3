"""The file opencost-kusto.toml: settings of Kusto, defaults, and clusters. Read strictly; each mistake has its place.

    [kusto]       which database, and how to sign in
    [defaults]    any other option
    [[clusters]]  name, endpoint, and what is different for this cluster

A key is the name of an option, with underscores: `kusto_uri` for --kusto-uri. Which keys exist is the caller's to say.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from opencost_kusto.errors import UsageError
from opencost_kusto.names import identity, shown
from opencost_kusto.schema.columns import Json

KUSTO, DEFAULTS, CLUSTERS = "kusto", "defaults", "clusters"
_SECTIONS = {KUSTO: "[kusto]", DEFAULTS: "[defaults]", CLUSTERS: "[[clusters]]"}
_HEADER = re.compile(r"\s*\[\[?\s*([\w.-]+)\s*\]")
_KEY = re.compile(r"\s*([\w-]+)\s*[=.]")
_KINDS = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a text or a list of texts",
    dict: "a table of texts",
}
# By section, the kind of each key.
Keys: TypeAlias = Mapping[str, Mapping[str, type]]


@dataclass(frozen=True, slots=True)
class Setting:
    """A value of the file, and where it stands."""

    value: Json
    place: str


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """One cluster; `settings` are the others of its keys. A retired one is not loaded, and its status is never red."""

    name: str
    endpoint: str
    place: str
    retired: bool = False
    settings: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration file; without one, nothing is set."""

    path: str | None = None
    kusto: Mapping[str, Setting] = field(default_factory=dict)
    defaults: Mapping[str, Setting] = field(default_factory=dict)
    clusters: tuple[ClusterConfig, ...] = ()

    @property
    def settings(self) -> dict[str, Setting]:
        """What stands for options, by their names with underscores."""
        return {**self.defaults, **self.kusto}


def read(path: str, keys: Keys) -> Config:
    """Read a file; raises UsageError for the first mistake, with its line and key."""
    try:
        # Editors on Windows begin a file with a byte order mark.
        text = Path(path).read_text("utf-8-sig")
        document = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        # Of text that is not UTF-8, or not TOML; the message has line and column.
        raise UsageError(f"{path} is not TOML: {error}.") from error
    except RecursionError:
        raise UsageError(f"{path} is not TOML that can be read: its values are nested too deeply.") from None
    lines = _Lines(path, text)
    for section in document:
        if section not in keys:
            raise UsageError(f"{lines.at(section)}: there is no section {section!r}.{_elsewhere(section, keys)}")
    kusto, defaults = (_section(document.get(name, {}), name, keys, lines) for name in (KUSTO, DEFAULTS))
    entries = document.get(CLUSTERS, [])
    if not isinstance(entries, list):
        raise UsageError(f"{lines.at(CLUSTERS)}: write [[clusters]], with two brackets, once for each cluster.")
    clusters = tuple(_cluster(one, at, keys, lines) for at, one in enumerate(entries))
    for at, one in enumerate(clusters):
        if one.name.lower() in (other.name.lower() for other in clusters[:at]):
            raise UsageError(f"{one.place}: there is a cluster {one.name!r} already.")
    return Config(path, kusto, defaults, clusters)


def _cluster(entry: Json, at: int, keys: Keys, lines: _Lines) -> ClusterConfig:
    """One entry of [[clusters]]."""
    found = _section(entry, CLUSTERS, keys, lines, at)
    place = lines.at(CLUSTERS, at)
    for needed in ("name", "endpoint"):
        if needed not in found:
            raise UsageError(f"{place}: a cluster needs {needed!r}.")
    name, endpoint, retired = (found.pop(key, None) for key in ("name", "endpoint", "retired"))
    named = identity(name and name.value, f"{name and name.place}: name")
    return ClusterConfig(named, str(endpoint and endpoint.value), place, bool(retired and retired.value), found)


def _section(section: Json, name: str, keys: Keys, lines: _Lines, at: int | None = None) -> dict[str, Setting]:
    """The settings of one table, each known and of its kind."""
    if not isinstance(section, dict):
        raise UsageError(f"{lines.at(name)}: {name} is a section: write {_SECTIONS[name]}.")
    found = {}
    for key, value in section.items():
        place = lines.at(name, at, key)
        if (kind := keys[name].get(key)) is None:
            raise UsageError(f"{place}: {_SECTIONS[name]} has no key {key!r}.{_elsewhere(key, keys, name)}")
        if not _fits(value, kind):
            raise UsageError(f"{place}: {key} is {shown(value)}, and must be {_KINDS[kind]}.")
        found[key] = Setting(value, place)
    return found


def _fits(value: Json, kind: type) -> bool:
    if kind is list:
        return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))
    if kind is dict:
        return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _elsewhere(key: str, keys: Keys, section: str | None = None) -> str:
    """In a sentence, the sections that have a key; else the key of this one that was probably meant."""
    others = [_SECTIONS[name] for name, known in keys.items() if key in known]
    if others:
        return f" It is a key of {' and '.join(others)}."
    return _like(key, _SECTIONS if section is None else keys[section])


def _like(word: str, accepted: Mapping[str, object]) -> str:
    """The key that was probably meant, in a sentence."""
    near = difflib.get_close_matches(word, accepted, 1)
    return f" Did you mean {near[0]!r}?" if near else f" There are {', '.join(sorted(accepted))}."


class _Lines:
    """Where keys stand: TOML's parser does not say. Of what is written in an unusual way, the table's place."""

    def __init__(self, path: str, text: str) -> None:
        self._path = path
        self._found = dict(_scanned(text))

    def at(self, section: str, number: int | None = None, key: str | None = None) -> str:
        """The place of a key, else of its table, else the file."""
        number = number or 0
        places = ((section, number, key), (section, number, None), (section, 0, None))
        line = next(filter(None, map(self._found.get, places)), None)
        return self._path if line is None else f"{self._path}, line {line}"


def _scanned(text: str) -> Iterator[tuple[tuple[str, int, str | None], int]]:
    """Table, number of the table and key, with the number of the line."""
    section, seen = "", dict[str, int]()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            section, _, inner = header[1].partition(".")
            if inner and section not in seen:
                yield (section, 0, None), number
            seen[section] = max(seen.get(section, -1) + (0 if inner else 1), 0)
            yield (section, seen[section], inner or None), number
        elif key := _KEY.match(line):
            yield (section or key[1], seen.get(section, 0), key[1] if section else None), number
