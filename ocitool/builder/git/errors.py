"""What git says when it fails, as an error with what to do."""

from __future__ import annotations

from typing import Final

from ocitool.builder.git.access import Access
from ocitool.builder.git.program import GitFailed
from ocitool.errors import BuildError

_ASKED: Final = "could not read username"  # git would ask for it now
#: Words of git, ssh and curl, in lower case, and what to do where they occur.
_HINTS: Final = (
    (
        (_ASKED, "authentication failed", "error: 401", "error: 403"),
        "if the repository is private, pass a token: --secret id=GIT_AUTH_TOKEN,env=NAME",
    ),
    (
        ("error: 301", "error: 302", "error: 307", "error: 308"),
        "the server redirects, and credentials go to no other URL: write the one it leads to",
    ),
    (
        ("permission denied (",),
        "pass the key of an SSH agent: --ssh default",
    ),
    (
        ("host key verification failed",),
        "add the key of the host to ~/.ssh/known_hosts: ssh to the host once",
    ),
    (
        ("cannot run ssh",),
        "install the package openssh-client",
    ),
    (
        ("not found", "does not appear to be a git repo", "not valid: is this a git repo"),
        "check the URL; a private repository may need --secret id=GIT_AUTH_TOKEN,env=NAME",
    ),
    (
        (
            "could not resolve host",
            "failed to connect",
            "couldn't connect",
            "unable to connect",
            "could not resolve hostname",
            "connection refused",
            "timed out",
            "no route to host",
        ),
        "check the URL and the network",
    ),
    (
        ("no space left on device", "disk quota exceeded"),
        "free some space: `ocitool system prune -a`",
    ),
    (
        ("certificate",),
        "set SSL_CERT_FILE to the CA certificates",
    ),
    (
        ("transport 'file' not allowed", "transport 'ext' not allowed", "not allowed"),
        "repositories are fetched with http, https, ssh and git",
    ),
)


def fetch_error(failure: GitFailed, doing: str, access: Access) -> BuildError:
    """Return the error for a command that failed *doing* something with a repository."""
    said = failure.messages.lower()
    hints = (hint for words, hint in _HINTS if any(word in said for word in words))
    cause = _cause(failure)
    if _ASKED in said:
        cause = "the server asks for credentials"
        if access.config:
            cause = "the server refuses the credentials"
    return BuildError(f"failed to {doing} {access.shown}: {cause}", hint=next(hints, ""))


def _cause(failure: GitFailed) -> str:
    """Return the line that says why: the first fatal one or error, or else the last."""
    lines = [line.strip() for line in failure.messages.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal: ", "error: ", "ssh: "))]
    cause = (fatal or lines[-1:] or ["git failed"])[0]
    if cause.startswith("fatal: Could not read from remote") and lines.index(cause):
        cause = lines[lines.index(cause) - 1]  # what ssh says
    return cause.removeprefix("fatal: ").removeprefix("error: ")
