"""The programs of the lane: kube-apiserver, etcd, and KWOK as the kubelet. Built once, outside the repository.

kube-apiserver is built from a module without Go code, whose `tool` line names it. etcd is Debian's package, unpacked
and not installed: it would start a service.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MODULE = Path(__file__).parent / "apiserver"
_KWOK = "v0.8.0"
# KWOK does not start without stages; these two make nodes and pods ready.
_STAGES = ("node/fast/node-initialize.yaml", "pod/fast/pod-ready.yaml")


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where each program is, and the stages of KWOK."""

    apiserver: Path
    etcd: Path
    kwok: Path
    stages: tuple[Path, ...]

    @property
    def there(self) -> bool:
        """Whether nothing has to be built."""
        return all(path.exists() for path in (self.apiserver, self.etcd, self.kwok, *self.stages))


def cache(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder they are in: OPENCOST_KUSTO_KUBE_CACHE, or one of the user's cache."""
    home = Path(environment.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    return Path(environment.get("OPENCOST_KUSTO_KUBE_CACHE") or home / "opencost-kusto" / "kube")


def binaries(folder: Path) -> Binaries:
    """The programs of a cache, whether they are there or not."""
    found = re.search(r"^require k8s.io/kubernetes (\S+)$", (MODULE / "go.mod").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    installed = shutil.which("etcd")
    etcd = Path(installed) if installed else folder / "etcd" / "usr" / "bin" / "etcd"
    stages = tuple(folder / "stages" / Path(name).name for name in _STAGES)
    return Binaries(folder / "bin" / f"kube-apiserver-{found[1]}", etcd, folder / "bin" / "kwok", stages)


def build(folder: Path) -> Binaries:
    """Build or fetch what is missing: about 16 minutes of processor time the first time, 2.6 GB of caches, Go 1.26.

    go.sum has the checksums of every module that kube-apiserver is built from, and Go's checksum database those of
    KWOK; apt verifies etcd.
    """
    found = binaries(folder)
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "CGO_ENABLED": "0",
        "GOFLAGS": "",
        "GOMODCACHE": str(folder / "gomod"),
        "GOCACHE": str(folder / "gobuild"),
        "GOBIN": str(folder / "bin"),
    }

    def run(*command: str, at: Path = folder) -> None:
        subprocess.run(command, cwd=at, env=environment, check=True)

    if not found.apiserver.exists():
        version = found.apiserver.name.removeprefix("kube-apiserver-")
        flags = f"-s -w -X k8s.io/component-base/version.gitVersion={version}"
        new = found.apiserver.with_suffix(".new")
        run(
            *("go", "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", flags),
            *("-o", str(new), "k8s.io/kubernetes/cmd/kube-apiserver"),
            at=MODULE,
        )
        new.rename(found.apiserver)
    if not found.etcd.exists():
        run("apt-get", "download", "-q", "etcd-server")
        (package,) = folder.glob("etcd-server_*.deb")
        run("dpkg", "-x", str(package), "etcd")
        package.unlink()
    if not found.kwok.exists():
        run("go", "install", "-ldflags", "-s -w", f"sigs.k8s.io/kwok/cmd/kwok@{_KWOK}")
    for stage, name in zip(found.stages, _STAGES, strict=True):
        if not stage.exists():
            stage.parent.mkdir(exist_ok=True)
            source = folder / "gomod" / "sigs.k8s.io" / f"kwok@{_KWOK}" / "kustomize" / "stage" / name
            shutil.copyfile(source, stage)
    return found
