"""What packages must not do: the vocabulary no I/O, the library no printing and no exiting."""

from __future__ import annotations

import ast
import importlib

import pytest

#: Modules that reach outside the process, or wait for something that does.
OUTSIDE = frozenset(
    (
        "asyncio",
        "fcntl",
        "ftplib",
        "glob",
        "http",
        "mmap",
        "multiprocessing",
        "os",
        "pathlib",
        "requests",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "socketserver",
        "sqlite3",
        "ssl",
        "subprocess",
        "tempfile",
        "urllib3",
    )
)
#: Module of the vocabulary -> the only attributes of an outside module that it may use.
VOCABULARY_MAY = {"ocitool.oci.platform": {"os": {"uname"}}}

#: Programs of their own: they run in a process that was started for them, so they may end it.
PROGRAMS = (
    "ocitool.__main__",
    "ocitool_runtime.sandbox.shim",  # the shim: it is spawned for one sandbox
    "ocitool_runtime.sandbox.supervisor",  # the part of it that forks the container init
    "ocitool_runtime.sandbox.protocol.spawned",  # the beginning and the end of both of these
    "ocitool_runtime.sandbox.userns",  # the shim of a user namespace alone
    "ocitool_runtime.sandbox.rootfs.fuse",  # the part of it that becomes fuse-overlayfs
    "ocitool_runtime.sandbox.network",  # the part of it that becomes slirp4netns or pasta
    "ocitool_runtime.sandbox.init",  # the part of it that stays as process 1, and reaps
    "ocitool.drivers.rootless.worker",  # works in a user namespace for a driver
)


def calls(source):
    """Yield every call of a plain or dotted name."""
    for node in source.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield ast.unparse(node.func), node.lineno


def test_the_vocabulary_does_no_io(sources):
    wrong = []
    for source in sources.beneath("ocitool.oci"):
        may = VOCABULARY_MAY.get(source.module, {})
        for found in source.imports:
            top = found.module.partition(".")[0]
            if top in OUTSIDE and not (top in may and set(found.names) <= may[top]):
                wrong.append(f"{source.at(found.line)}: imports {found.module}")
        for name, line in calls(source):
            if name in ("open", "io.open", "input", "print"):
                wrong.append(f"{source.at(line)}: calls {name}")
        for node in source.nodes:
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = node.value.id
                real = module in may and hasattr(importlib.import_module(module), node.attr)
                if real and node.attr not in may[module]:
                    wrong.append(f"{source.at(node.lineno)}: uses {module}.{node.attr}")
    assert wrong == []


def test_programs_are_found_in_absolute_directories_alone(sources):
    """`ocitool.programs` leaves out the entries of PATH that mean the working directory."""
    wrong = [
        f"{source.at(line)}: calls {name}"
        for source in sources.values()
        for name, line in calls(source)
        if name in ("shutil.which", "which")
    ]
    assert wrong == []


def below_the_command_line(sources):
    return [
        source
        for source in sources.values()
        if not source.module.startswith("ocitool.cli") and source.module not in PROGRAMS
    ]


@pytest.mark.parametrize("package", ["click", "rich"])
def test_only_the_command_line_knows_the_terminal(sources, package):
    wrong = [
        source.at(found.line)
        for source in below_the_command_line(sources)
        for found in source.imports
        if found.module.partition(".")[0] == package
    ]
    assert wrong == []


def test_the_library_neither_prints_nor_exits(sources):
    forbidden = {"print", "input", "exit", "quit", "sys.exit", "os._exit", "os.abort", "breakpoint"}
    wrong = []
    for source in below_the_command_line(sources):
        wrong += [f"{source.at(line)}: {name}" for name, line in calls(source) if name in forbidden]
        for node in source.nodes:
            if isinstance(node, ast.Raise) and node.exc and "SystemExit" in ast.unparse(node.exc):
                wrong.append(f"{source.at(node.lineno)}: raises SystemExit")
    assert wrong == []


def test_what_commands_print_goes_one_way(sources):
    """By which it is escaped; archives are no text, and rich moves the cursor."""
    forbidden = {"print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write"}
    raw = {"ocitool.cli.output.output", "ocitool.cli.errors", "ocitool.cli.progress.tty"}
    wrong = [
        f"{source.at(line)}: {name}"
        for source in sources.beneath("ocitool.cli")
        for name, line in calls(source)
        if name in forbidden or (name == "write_raw" and source.module not in raw)
    ]
    assert wrong == []


def test_nothing_forks_out_of_the_library(sources):
    wrong = [
        f"{source.at(line)}: {name}"
        for source in below_the_command_line(sources)
        for name, line in calls(source)
        if name in ("os.fork", "os.forkpty", "pty.fork")
    ]
    assert wrong == []


def test_the_standard_library_unpacks_nothing(sources):
    """Its filters were got round again and again (CVE-2024-12718, CVE-2025-4517 and others)."""
    wrong = [
        source.at(found.line)
        for source in sources.values()
        for found in source.imports
        if found.module.partition(".")[0] in ("tarfile", "zipfile")
    ]
    assert wrong == []
