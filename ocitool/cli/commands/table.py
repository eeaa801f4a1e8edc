"""Commands by name: where each is, and its help in a list."""

from __future__ import annotations

from typing import Final

from ocitool.cli.lazy import Entry

_PACKAGE: Final = "ocitool.cli.commands"
#: Commands that stand by themselves; groups have them, too.
COMMANDS: Final = {
    "build": Entry(f"{_PACKAGE}.build:command", "Build an image from a Dockerfile"),
    "completion": Entry(f"{_PACKAGE}.completion:command", "Print a shell completion script"),
    "export": Entry(
        f"{_PACKAGE}.archives:export", "Export the root file system of an image as a tar archive"
    ),
    "help": Entry(f"{_PACKAGE}.help:command", "Show the help of a command"),
    "history": Entry(f"{_PACKAGE}.images:history", "Show the history of an image"),
    "images": Entry(f"{_PACKAGE}.images:images", "List images"),
    "import": Entry(f"{_PACKAGE}.archives:import_", "Import a tar archive to create an image"),
    "info": Entry(f"{_PACKAGE}.system:info", "Display system-wide information"),
    "inspect": Entry(f"{_PACKAGE}.images:inspect", "Display detailed information on images"),
    "kaniko-executor": Entry(
        f"{_PACKAGE}.kaniko:command", "Build and push an image as kaniko's executor"
    ),
    "load": Entry(f"{_PACKAGE}.archives:load", "Load images from a tar archive or stdin"),
    "login": Entry(f"{_PACKAGE}.registry:login", "Log in to a registry"),
    "logout": Entry(f"{_PACKAGE}.registry:logout", "Log out of a registry"),
    "pull": Entry(f"{_PACKAGE}.registry:pull", "Pull an image from a registry"),
    "push": Entry(f"{_PACKAGE}.registry:push", "Push an image to a registry"),
    "rmi": Entry(f"{_PACKAGE}.images:rmi", "Remove images"),
    "run": Entry(f"{_PACKAGE}.run:command", "Run a command in a new container"),
    "save": Entry(f"{_PACKAGE}.archives:save", "Save images to a tar archive"),
    "tag": Entry(f"{_PACKAGE}.images:tag", "Add a name to an image"),
    "version": Entry(f"{_PACKAGE}.system:version", "Show version information"),
}
GROUPS: Final = {
    "builder": Entry(f"{_PACKAGE}.groups:builder", "Manage builds"),
    "buildx": Entry(f"{_PACKAGE}.groups:buildx", "Build images", hidden=True),
    "container": Entry(f"{_PACKAGE}.groups:container", "Run containers"),
    "image": Entry(f"{_PACKAGE}.groups:image", "Manage images"),
    "registry": Entry(f"{_PACKAGE}.groups:registry", "Run a registry server"),
    "system": Entry(f"{_PACKAGE}.groups:system", "Manage storage"),
}


def hidden(name: str) -> Entry:
    """Return a command for another name, which no list shows."""
    return COMMANDS[name]._replace(hidden=True)


def named(*names: str) -> dict[str, Entry]:
    """Return commands by their own names."""
    return {name: COMMANDS[name] for name in names}
