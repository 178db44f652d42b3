"""What users of the library import: names, types, and dictionaries."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import pytest

import opencost_kusto
from opencost_kusto import Kusto, OpenCost, OpenCostError, SyncRequest, UsageError, Window
from opencost_kusto.emulator import Reply
from opencost_kusto.pipeline.request import plan_of
from tests.support.world import HOUR, World

EXPORTED = {name: getattr(opencost_kusto, name) for name in opencost_kusto.__all__}


def parts(hint: Any) -> Iterator[type]:
    """The classes in a type."""
    for argument in get_args(hint):
        yield from (part for one in argument for part in parts(one)) if isinstance(argument, list) else parts(argument)
    found = get_origin(hint) or hint
    if isinstance(found, type):
        yield found


def functions() -> dict[str, Callable[..., Any]]:
    """Every exported function, what the two ends can do, and how what functions return is made."""
    found: dict[str, Callable[..., Any]] = {name: one for name, one in EXPORTED.items() if inspect.isfunction(one)}
    for end in (OpenCost, Kusto):
        members = inspect.getmembers(end, inspect.isfunction)
        found |= {f"{end.__name__}.{name}": one for name, one in members if name == "__init__" or name[0] != "_"}
    returned = [part for one in tuple(found.values()) for part in parts(get_type_hints(one).get("return"))]
    return found | {f"{one.__name__}.__init__": one.__init__ for one in returned if is_dataclass(one)}


@pytest.mark.parametrize("name", functions())
def test_every_type_of_a_function_is_exported(name: str) -> None:
    """The types of parameters and results are exported with their function, and base classes with their subclasses."""
    known = {base for one in EXPORTED.values() if inspect.isclass(one) for base in one.__mro__}
    hints = get_type_hints(functions()[name]).values()
    ours = {part for hint in hints for part in parts(hint) if part.__module__.startswith("opencost_kusto")}
    assert ours <= known


def test_exported_names_are_sorted() -> None:
    """The list of names is sorted, and has each once."""
    assert opencost_kusto.__all__ == sorted(set(opencost_kusto.__all__))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A recorded OpenCost, and a Kusto with tables."""
    with World() as world:
        yield world


def test_opencost_gives_dictionaries(world: World) -> None:
    """`allocation` and `assets` return OpenCost's records, by any aggregate and of some types."""
    with world.source() as opencost:
        names = {one["name"]: one["totalCost"] for one in opencost.allocation(HOUR, aggregate="namespace")}
        assert (len(names), round(sum(names.values()), 4)) == (8, 1.0721)
        assert len(opencost.allocation("2026-11-23T10:00Z,2026-11-23T11:00Z")) == 61
        assets = opencost.assets(HOUR, types=["Disk"])
        assert {one["type"] for one in assets} == {"Disk"}


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda one: one.allocation("soon"), "'soon' is not a window"),
        (lambda one: one.allocation(HOUR, aggregate="pods"), "'pods'"),
        (lambda one: one.allocation(HOUR, share_idle=True), "add include_idle=True"),
        (lambda one: one.assets(HOUR, types=["Dysk"]), "'dysk'"),
    ],
)
def test_what_opencost_would_ignore_is_refused(world: World, ask: Callable[[Any], Any], message: str) -> None:
    """A window, aggregate or type that does not exist is refused, and not sent."""
    with world.source() as opencost, pytest.raises(UsageError, match=message):
        ask(opencost)


def test_what_opencost_refuses_is_an_error() -> None:
    """What OpenCost refuses is an error, and the next call is a new one."""
    replies = iter([Reply(400, {}, b"no")])
    with (
        World(responder=lambda path, _: next(replies, None) if path == "/allocation" else None, tables=False) as world,
        world.source() as opencost,
    ):
        with pytest.raises(OpenCostError, match="400"):
            opencost.allocation(HOUR)
        assert opencost.allocation(HOUR)


def test_a_window_alone_is_a_request() -> None:
    """`sync(opencost, kusto, "1h")` loads the default datasets of that window."""
    plan = plan_of("2026-11-23T10:00Z,2026-11-23T11:00Z")
    assert plan == SyncRequest(HOUR) == plan_of(HOUR) == plan_of(SyncRequest(HOUR))
    assert isinstance(HOUR, Window)
    with pytest.raises(UsageError, match="'soon' is not a window"):
        plan_of("soon")
