"""Makes `recorded/` from a folder of true OpenCost answers and its INDEX.md.

python -m tests.support.record SOURCE_DIR
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

_RECORDED: Final = Path(__file__).parents[2] / "opencost_kusto" / "emulator" / "opencost" / "recorded"
_DAY: Final = "2026-11-23"
_ROW: Final = re.compile(r"\| (\S+) \| `(/[^`]*)` \| (\d+) \| ([^|]+?) \|")
# Each is a day of hourly sets: every set is kept once and serves its hour and the whole day.
_STEPPED: Final = (
    "allocation_day_step1h.json",
    "allocation_day_step1h_namespace.json",
    "allocation_day_step1h_idle_namespace.json",
)
_WHOLE: Final = re.compile(
    r"allocation_hour(|_idle(?!_full).*|_agg_(?!full|.*again).*|_parc_noidle|_metadata_namespace)\.json"
    r"|allocation_(day|day_namespace|summary)\.json"
    r"|assets_(day|filter_.*)\.(json|txt)"
    r"|(metrics|healthz|customcost_status)\.txt|(clusterinfo|clusterinfomap|installinfo)\.json"
)


class _Envelope(msgspec.Struct):
    data: list[msgspec.Raw]


def _hour(hour: int) -> str:
    last = f"{_DAY}T{hour + 1:02}:00:00Z" if hour < 23 else "2026-11-24T00:00:00Z"
    return f"{_DAY}T{hour:02}:00:00Z,{last}"


def _write(name: str, body: bytes) -> str:
    target = _RECORDED / f"{name}.gz"
    target.parent.mkdir(parents=True, exist_ok=True)
    # No time in the header, so that the same recording gives the same file.
    target.write_bytes(gzip.compress(body, 9, mtime=0))
    return name


def _entry(request: str, status: int, content_type: str, **bodies: object) -> dict[str, object]:
    url = urlsplit(request)
    query = parse_qsl(url.query, keep_blank_values=True)
    return {"path": url.path, "query": query, "status": status, "type": content_type, **bodies}


def make(source: Path) -> None:
    """Write every body the stand-in serves, and the index that says which request each answers."""
    entries: list[dict[str, object]] = []
    for name, request, status, content_type in _ROW.findall((source / "INDEX.md").read_text("utf-8")):
        if name in _STEPPED:
            sets = msgspec.json.decode((source / name).read_bytes(), type=_Envelope).data
            stem = name.removesuffix(".json").removeprefix("allocation_day_")
            names = [_write(f"sets/{stem}/{hour:02}.json", bytes(one)) for hour, one in enumerate(sets)]
            entries.append(_entry(request, int(status), content_type, sets=names))
            options = request.split("&step=1h")[1]
            entries += [
                _entry(f"/allocation?window={_hour(hour)}{options}", 200, content_type, sets=[one])
                for hour, one in enumerate(names)
            ]
        elif _WHOLE.fullmatch(name):
            body = (source / name).read_bytes()
            entries.append(_entry(request, int(status), content_type, file=_write(name, body)))
    for hour in range(24):
        name = f"assets_hours/{hour:02}.json"
        body = (source / name).read_bytes()
        entries.append(_entry(f"/assets?window={_hour(hour)}", 200, "application/json", file=_write(name, body)))
    # A recording of the exact request comes last, and the last one wins.
    entries.sort(key=lambda entry: "file" in entry)
    lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries)
    (_RECORDED / "index.json").write_text(f"[\n{lines}\n]\n", "utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
