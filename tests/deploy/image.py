"""Build the image without a container engine, and run the demo from its root file system.

    python -m tests.deploy.image FOLDER     needs root, and Debian's mmdebstrap and umoci

Debian's Python takes the place of the Dockerfile's base image, which no package registry has. The rest is what the
Dockerfile does: the requirements of the wheel by hash, the wheel, a user that is not root, the entry point, the labels.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from opencost_kusto.version import __version__
from tests.support.documents import ROOT

# DuckDB, which only the demo needs, links to the C++ library; the base image of the Dockerfile has it.
_PYTHON = ("python3.11-minimal", "libpython3.11-stdlib", "tzdata", "libstdc++6")
_PLATFORM = ("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64", "--python-version", "3.11")
_USER = "10001:10001"
_COMMAND = ("/usr/bin/python3.11", "-m", "opencost_kusto")


def run(*arguments: str | Path) -> None:
    """Run a command; raises CalledProcessError when it fails."""
    print("+", *arguments, flush=True)
    subprocess.run(arguments, check=True)


def wheel(folder: Path) -> Path:
    """The wheel of this checkout."""
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT)
    [found] = folder.glob("*.whl")
    return found


def root(folder: Path, built: Path) -> None:
    """A root file system with Python, what the wheel needs, and the wheel."""
    suite = subprocess.run(
        [". /etc/os-release && echo $VERSION_CODENAME"], shell=True, check=True, capture_output=True, text=True
    ).stdout.strip()
    run("mmdebstrap", "--variant=extract", f"--include={','.join(_PYTHON)}", suite, folder)
    pip = (sys.executable, "-m", "pip", "install", "-q", "--target", folder / "app")
    binary = ("--only-binary=:all:", "--no-deps", *_PLATFORM)
    requirements = ROOT / "opencost_kusto" / "deploy" / "requirements.txt"
    run(*pip, *binary, "--require-hashes", "-r", requirements)
    run(*pip, "--no-deps", built)
    shutil.rmtree(folder / "app" / "bin", ignore_errors=True)


def image(layout: Path, folder: Path) -> None:
    """An image of one layer in the OCI's layout, tagged with the version."""
    name = f"{layout}:{__version__}"
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", name)
    run("umoci", "insert", "--image", name, folder, "/")
    settings = {
        "--config.user": [_USER],
        "--config.workingdir": ["/tmp"],
        "--config.entrypoint": [*_COMMAND],
        "--config.env": [
            "PYTHONPATH=/app",
            "PYTHONDONTWRITEBYTECODE=1",
            "PYTHONUNBUFFERED=1",
            "OPENCOST_KUSTO_LOG_FORMAT=json",
            "MALLOC_ARENA_MAX=2",
        ],
        "--config.label": [f"org.opencontainers.image.version={__version__}"],
    }
    run(
        "umoci",
        "config",
        "--image",
        name,
        *(word for key, all_ in settings.items() for one in all_ for word in (key, one)),
    )


def inside(bundle: Path, *arguments: str, path: str = "/app") -> None:
    """Run the program in the image's root file system, as its user and with nothing else in the environment."""
    environment = ("/usr/bin/env", "-i", f"PYTHONPATH={path}", "HOME=/tmp", "PYTHONDONTWRITEBYTECODE=1")
    run(*environment, "/usr/sbin/chroot", f"--userspec={_USER}", bundle / "rootfs", *_COMMAND, *arguments)


def main(folder: Path) -> None:
    """Build the image in a new folder, unpack it, and run the program and the demo from it."""
    folder.mkdir(parents=True)
    root(folder / "root", wheel(folder / "dist"))
    image(folder / "layout", folder / "root")
    bundle = folder / "bundle"
    run("umoci", "unpack", "--image", f"{folder / 'layout'}:{__version__}", bundle)
    inside(bundle, "--version")
    # The demo's DuckDB is not in the image; it comes beside it.
    demo = bundle / "rootfs" / "demo"
    extra = ("duckdb==2.0.0", "duckdb-kql==1.1.2")
    run(sys.executable, "-m", "pip", "install", "-q", "--target", demo, "--only-binary=:all:", *_PLATFORM, *extra)
    inside(bundle, "demo", path="/app:/demo")
    size = sum(path.stat().st_size for path in (folder / "layout").rglob("*") if path.is_file())
    print(f"{folder / 'layout'}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
