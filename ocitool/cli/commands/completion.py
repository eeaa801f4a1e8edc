"""``ocitool completion``."""

from __future__ import annotations

import click

from ocitool.cli.output.output import write


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a shell completion script

    Commands, options, files, and the names of images are completed.

    \b
    bash, in ~/.bashrc:  source <(ocitool completion bash)
    zsh, in ~/.zshrc:    autoload -U compinit && compinit; source <(ocitool completion zsh)
    fish, in ~/.config/fish/config.fish:  ocitool completion fish | source
    """
    from ocitool.cli.completion.scripts import SCRIPTS

    write(SCRIPTS[shell])
