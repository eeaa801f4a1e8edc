"""Shell completion for bash, zsh and fish: the scripts, and how candidates are printed for them.

The scripts give the line up to the cursor in COMP_WORDS: bash splits words at ``:`` and ``=``,
which names of images have.  They get a line for each candidate: its type (``plain``, ``file``,
``dir``), its value and its help, with tabs between them.
"""

from __future__ import annotations

import os
from typing import Any, Final

from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    split_arg_string,
)

from ocitool.cli.options.goflags import TypedWord

VARIABLE: Final = "_OCITOOL_COMPLETE"  # of the environment: click's "SHELL_complete"

_BASH: Final = """\
_ocitool_completion() {
    local type value help
    COMPREPLY=()
    while IFS=$'\\t' read -r type value help; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_WORDS="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        _OCITOOL_COMPLETE=bash_complete "$1" 2>/dev/null)
}

complete -o nosort -F _ocitool_completion ocitool
"""

_ZSH: Final = """\
#compdef ocitool

_ocitool() {
    local line files directories
    local -a fields values described
    for line in "${(@f)$(COMP_WORDS="${words[1,CURRENT-1]} $PREFIX" \\
            _OCITOOL_COMPLETE=zsh_complete $words[1] 2>/dev/null)}"; do
        fields=("${(@s:\t:)line}")
        case $fields[1] in
            dir) directories=yes ;;
            file) files=yes ;;
            plain)
                if [[ -n $fields[3] ]]; then
                    described+=("${fields[2]//:/\\\\:}:$fields[3]")
                else
                    values+=("$fields[2]")
                fi ;;
        esac
    done
    [[ $PREFIX == --*=* ]] && compset -P 1 '*='
    (( $#described )) && _describe -V ocitool described
    (( $#values )) && compadd -V values -a values
    [[ -n $directories ]] && _files -/
    [[ -n $files ]] && _files
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _ocitool "$@"
else
    compdef _ocitool ocitool
fi
"""

_FISH: Final = """\
function __ocitool_complete
    set -l option (string match -r -- '^--[^=]+=' (commandline -ct))
    set -lx COMP_WORDS (commandline -cp)
    set -lx _OCITOOL_COMPLETE fish_complete
    for line in (ocitool 2>/dev/null)
        set -l fields (string split -m 2 \\t -- $line)
        switch $fields[1]
            case dir
                string replace -r '^' -- "$option" (__fish_complete_directories $fields[2] '')
            case file
                string replace -r '^' -- "$option" (__fish_complete_path $fields[2])
            case plain
                printf '%s%s\\t%s\\n' "$option" $fields[2] $fields[3]
        end
    end
end

complete --no-files --command ocitool --arguments '(__ocitool_complete)'
"""


class _Completer(ShellComplete):
    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("COMP_WORDS", "")
        words = split_arg_string(line)
        if not words or (line[-1].isspace() and not words[-1].endswith(line[-1])):
            words.append("")
        self.ctx_args["obj"] = TypedWord(words[-1])
        return words[1:-1], words[-1]

    def format_completion(self, item: CompletionItem[Any]) -> str:
        return f"{item.type}\t{item.value}\t{' '.join((item.help or '').split())}"


class _Bash(_Completer):
    name = "bash"
    source_template = _BASH

    def format_completion(self, item: CompletionItem[Any]) -> str:
        # bash replaces what follows the last of these marks in a word, and nothing before it.
        marks = [mark for mark in ":=" if mark in os.environ.get("COMP_WORDBREAKS", "")]
        word = self.ctx_args["obj"].text
        before = word[: max((word.rfind(mark) + 1 for mark in marks), default=0)]
        return f"{item.type}\t{item.value.removeprefix(before)}"


class _Zsh(_Completer):
    name = "zsh"
    source_template = _ZSH


class _Fish(_Completer):
    name = "fish"
    source_template = _FISH


SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def register() -> None:
    """Let click complete for the scripts of this module instead of its own."""
    for shell in (_Bash, _Zsh, _Fish):
        add_completion_class(shell)
