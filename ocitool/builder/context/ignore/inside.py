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
    """Return the path of the file that is called as *file* with *suffix*.

    Its links stay in the context *top*, or in its own directory where that is not of the context.
    """
    folder, name = os.path.split(os.path.abspath(file))
    folder, top = os.path.realpath(folder), os.path.realpath(top)
    if os.path.commonpath((folder, top)) != top:
        return inside(folder, name + suffix)
    return inside(top, os.path.relpath(f"{folder}/{name}{suffix}", top))
