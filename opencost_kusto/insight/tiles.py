"""The shipped dashboard, `kql/dashboard.json`: its tiles, and their queries as the web UI sends them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from opencost_kusto.database import script
from opencost_kusto.errors import UsageError
from opencost_kusto.kusto.address import engine_address, is_fabric
from opencost_kusto.schema.kql import literal
from opencost_kusto.window import Window, stamp


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: its title, page, visual, place, size and query.

    `x` and `width` are in columns, of which a page has 24, `y` and `height` in rows, which are about as high as a
    column is wide.
    """

    title: str
    page: str
    visual: str
    x: int
    y: int
    width: int
    height: int
    query: DashboardQuery


@dataclass(frozen=True, slots=True)
class DashboardQuery:
    """A query of the dashboard, and its parameters."""

    text: str
    variables: tuple[str, ...]

    def text_for(self, window: Window, cluster: str = "") -> str:
        """The query with the parameters set before it; no cluster means all, as in the web UI."""
        lets = (f"let {name} = {value};" for name, value in values(window, cluster).items() if name in self.variables)
        return "\n".join((*lets, self.text))


def slug(title: str) -> str:
    """A title as the name of a file, without an extension."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def values(window: Window, cluster: str = "") -> dict[str, str]:
    """The dashboard's parameters as KQL literals: the time range, and one cluster or all."""
    return {
        "_startTime": f"datetime({stamp(window.start)})",
        "_endTime": f"datetime({stamp(window.end)})",
        "_cluster": literal(cluster),
    }


def document() -> dict[str, Any]:
    """The dashboard as it is imported."""
    read: dict[str, Any] = json.loads((script.root() / "dashboard.json").read_text(encoding="utf-8"))
    return read


def document_of(uri: str, database: str) -> dict[str, Any]:
    """The dashboard of a database; raises UsageError for an address that is no cluster's, or is a Fabric Eventhouse's.

    A Real-Time dashboard of Fabric names its source by item ids, which an address does not contain.
    """
    address = engine_address(uri)
    if is_fabric(address):
        raise UsageError(
            "A Fabric Real-Time dashboard names its source by workspace and item. Import the dashboard with any "
            "address, and choose the Eventhouse under Data sources."
        )
    read = document()
    for source in read["dataSources"]:
        source |= {"clusterUri": f"{address}/", "database": database}
    return read


def queries() -> dict[str, DashboardQuery]:
    """Every query by its id, including that of the parameter that lists clusters."""
    return {each["id"]: DashboardQuery(each["text"], tuple(each["usedVariables"])) for each in document()["queries"]}


def tiles() -> list[Tile]:
    """The tiles in their order: page by page, from top to bottom and left to right."""
    read, found = document(), queries()
    pages = {page["id"]: (order, page["name"]) for order, page in enumerate(read["pages"])}

    def place(tile: dict[str, Any]) -> tuple[int, int, int]:
        return pages[tile["pageId"]][0], tile["layout"]["y"], tile["layout"]["x"]

    return [
        Tile(
            tile["title"],
            pages[tile["pageId"]][1],
            tile["visualType"],
            tile["layout"]["x"],
            tile["layout"]["y"],
            tile["layout"]["width"],
            tile["layout"]["height"],
            found[tile["queryRef"]["queryId"]],
        )
        for tile in sorted(read["tiles"], key=place)
    ]
