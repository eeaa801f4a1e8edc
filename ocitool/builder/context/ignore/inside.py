"""Files of a context that a build reads itself: no link leads out of it.

Source: BuildKit and buildah resolve links of the Dockerfile and of ignore files inside the context.
"""

from __future__ import annotations

import os

from ocitool.layer.symlinks import resolve


def inside(top: str, name: str) -> str:
    """Return the path of *name* in the directory *top*; links are followed as in a chroot(2).

    Raises:
        LayerError: there are too many links.
    """

    def readlink(path: str) -> str:
        host_path = f"{top}/{path}"
        return os.readlink(host_path) if os.path.islink(host_path) else ""

    return f"{top}/{resolve(name, readlink)}"


def beside(file: str, suffix: str, top: str) -> str:
    """Return the path of the file whose name is that of *file* with *suffix* appended.

    Links are followed inside the context *top*, or, if the file is not in it, inside its directory.
    """
    folder, name = os.path.split(os.path.abspath(file))
    folder, top = os.path.realpath(folder), os.path.realpath(top)
    if os.path.commonpath((folder, top)) != top:
        return inside(folder, name + suffix)
    return inside(top, os.path.relpath(f"{folder}/{name}{suffix}", top))
