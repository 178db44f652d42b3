"""Files to build an image and to install it: a Dockerfile with pinned requirements, and a Helm chart."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path


def copy(folder: Path) -> None:
    """Copy the files to a new folder; raises OSError when it exists or cannot be written."""
    with as_file(files(__package__)) as source:
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__init__.py", "__pycache__"))
