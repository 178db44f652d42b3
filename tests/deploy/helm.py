"""What `helm template` makes of the chart: recorded in tests/data/chart, and anew where this machine has helm.

python -m tests.deploy.helm            record anew, after a change of the chart; needs helm
python -m tests.deploy.helm --install  also build helm first, with Go, into the cache (three minutes of processor)
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support.documents import ROOT

CHART = ROOT / "opencost_kusto" / "deploy" / "chart"
RECORDED = ROOT / "tests" / "data" / "chart"
CASES = sorted(path.parent.name for path in RECORDED.glob("*/values.yaml"))
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "opencost-kusto" / "kube"
_PACKAGE = "helm.sh/helm/v3/cmd/helm@v3.22.0"


def helm() -> str | None:
    """The path of helm, on the PATH or in the cache; None where there is none."""
    return shutil.which("helm") or shutil.which("helm", path=str(_CACHE / "bin"))


def install() -> None:
    """Build helm into the cache."""
    variables = {"GOBIN": "bin", "GOMODCACHE": "gomod", "GOCACHE": "gobuild"}
    paths = {name: str(_CACHE / folder) for name, folder in variables.items()}
    subprocess.run(["go", "install", "-trimpath", _PACKAGE], env=os.environ | paths | {"CGO_ENABLED": "0"}, check=True)


def template(case: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Render the chart with the values of a case."""
    program = helm()
    assert program is not None
    values = str(RECORDED / case / "values.yaml")
    place = ["opencost-kusto", str(CHART), "--namespace", "opencost", "--kube-version", "1.36.3"]
    command = [program, "template", *place, "--values", values, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def digest() -> str:
    """A digest of the chart and of the values that it is rendered with."""
    found = hashlib.sha256()
    paths = [path for path in CHART.rglob("*") if path.is_file()] + [RECORDED / case / "values.yaml" for case in CASES]
    for path in sorted(paths):
        found.update(f"{path.relative_to(ROOT).as_posix()}\n".encode() + path.read_bytes())
    return found.hexdigest()


def recorded(case: str) -> list[dict[str, Any]]:
    """The objects that helm rendered with the values of a case."""
    return [each for each in yaml.safe_load_all((RECORDED / case / "rendered.yaml").read_text("utf-8")) if each]


def record() -> None:
    """Write what helm renders, and the digest of what it rendered it from."""
    for case in CASES:
        done = template(case)
        assert done.returncode == 0, done.stderr
        (RECORDED / case / "rendered.yaml").write_text(done.stdout, "utf-8")
    (RECORDED / "digest").write_text(digest() + "\n", "utf-8")


if __name__ == "__main__":
    if "--install" in sys.argv:
        install()
    record()
