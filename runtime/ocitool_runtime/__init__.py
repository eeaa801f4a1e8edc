"""The namespace sandbox: a program, its file tree and its limits in; an exit code out."""
