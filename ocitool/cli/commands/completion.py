"""``ocitool completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ocitool.cli.output import write


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a shell completion script

    \b
    bash:  ocitool completion bash > ~/.local/share/bash-completion/completions/ocitool
    zsh:   ocitool completion zsh > "${fpath[1]}/_ocitool"
    fish:  ocitool completion fish > ~/.config/fish/completions/ocitool.fish
    """
    from ocitool.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None  # the choice above allows none other
    write(kind(cli, {}, "ocitool", "_OCITOOL_COMPLETE").source() + "\n")
