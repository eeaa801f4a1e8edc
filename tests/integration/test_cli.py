"""Every other command, as it is typed: what it prints, where, and how it says no."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile

import pytest

from tests.fixtures.commands import failed
from tests.fixtures.programs import python_environment

# -- images --------------------------------------------------------------------------------


def test_images_and_their_formats(cli):
    header, row = cli("images").ok().stdout.splitlines()
    assert header.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert row.split()[:2] == ["app", "1"]
    short = cli("images", "-q").ok().stdout.strip()
    assert short == row.split()[2]
    assert cli("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").ok().stdout == (
        f"app:1 {short}\n"
    )
    assert cli("images", "--format", "ID").ok().stdout == f"{short}\n"
    assert json.loads(cli("images", "--format", "json").ok().stdout)["Tag"] == "1"
    assert cli("images", "-q", "--no-trunc").ok().stdout.startswith(f"sha256:{short}")
    assert "sha256:" in cli("images", "--digests").ok().stdout
    assert len(cli("images", "other").ok().stdout.splitlines()) == 1
    failed(cli("images", "--format", "{{.Tag"), 1, "--format, column 1: unclosed action")


def test_inspect_and_history(cli):
    (document,) = json.loads(cli("inspect", "app:1").ok().stdout)
    assert document["RepoTags"] == ["app:1"]
    assert document["Config"]["Cmd"] == ["/file"]
    assert cli("inspect", "--format", "{{json .Config.Cmd}}", "app:1").ok().stdout == '["/file"]\n'
    assert cli("inspect", "--format", "Config.Cmd", "app:1").ok().stdout == "[/file]\n"
    lines = cli("history", "app:1").ok().stdout.splitlines()
    assert lines[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert 'CMD ["/file"]' in lines[1]
    assert "COPY file /file" in lines[3]
    nothing = cli("inspect", "none:1")
    assert (nothing.code, nothing.stdout) == (1, "[]\n")  # as docker: it is still JSON
    assert "hint: try `ocitool pull none:1`" in nothing.stderr


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("{{.Config.Entrypoint}}{{.Config.OnBuild}}{{.Config.Shell}}", "[][][]"),
        ("{{.Config.Labels}} {{.Config.Volumes}} {{.Config.ExposedPorts}}", "map[] map[] map[]"),
        ("{{json .Config.Entrypoint}} {{json .Config.Labels}}", "null null"),
        ("{{len .Config.Entrypoint}}{{len .Config.Volumes}}", "00"),
        ('<{{index .Config.Labels "x"}}> {{.Config.Labels.x}}', "<> <no value>"),
        ("{{if .Config.Labels}}a{{else}}b{{end}}{{range .Config.Volumes}}c{{else}}d{{end}}", "bd"),
        ("{{.Config.Healthcheck}} {{json .Config.Healthcheck}}", "<nil> null"),
        ("<{{.Config.StopSignal}}> {{.Config.ArgsEscaped}} <{{.Parent}}>", "<> false <>"),
        ("{{.Comment}}", "ocitool.dockerfile.v0"),
        ("table {{.Os}}", "table linux"),
    ],
)
def test_inspect_shows_what_there_is_not_as_docker_does(cli, template, shown):
    assert cli("inspect", "-f", template, "app:1").ok().stdout == f"{shown}\n"
    (document,) = json.loads(cli("inspect", "app:1").ok().stdout)
    nothing = {name for name, value in document["Config"].items() if value is None}
    assert {"Entrypoint", "Labels", "Volumes", "Healthcheck"} <= nothing


def test_names_come_and_go(cli):
    cli("tag", "app:1", "other:2").ok()
    assert cli("images", "-q", "other").ok().stdout == cli("images", "-q", "app").ok().stdout
    assert cli("rmi", "app:1").ok().stdout == "Untagged: app:1\n"
    untagged, deleted = cli("rmi", "other:2").ok().stdout.splitlines()
    assert untagged == "Untagged: other:2"
    assert deleted.startswith("Deleted: sha256:")
    failed(cli("rmi", "other:2"), 1, "no such image: other:2")
    failed(cli("tag", "none", "x"), 1, "no such image: none")


def test_an_invalid_name(cli):
    failed(cli("tag", "app:1", "UPPER:1"), 1, "invalid repository name 'UPPER'")


# -- archives ------------------------------------------------------------------------------


def test_save_and_load(cli, tmp_path):
    image = cli("images", "-q", "--no-trunc").ok().stdout
    cli("save", "-o", tmp_path / "app.tar", "app:1").ok()
    cli("rmi", "app:1").ok()
    done = cli("load", "-i", tmp_path / "app.tar").ok()
    assert done.stdout == "Loaded image: app:1\n"
    assert cli("images", "-q", "--no-trunc").ok().stdout == image
    failed(cli("load", "-i", "/no/where"), 1, "/no/where: cannot read the archive")
    failed(cli("save", "-o", "/no/where/file", "app:1"), 1, "/no/where/file")
    failed(cli("load", stdin="no archive"), 1, "archive")


def test_import(cli, tmp_path):
    with tarfile.open(tmp_path / "tree.tar", "w") as tree:
        member = tarfile.TarInfo("etc/motd")
        member.size = 6
        tree.addfile(member, io.BytesIO(b"hello\n"))
    words = ("-c", 'CMD ["cat", "/etc/motd"]', "-m", "by hand")
    done = cli("import", *words, tmp_path / "tree.tar", "made:1").ok()
    assert done.stdout.startswith("sha256:")
    (document,) = json.loads(cli("inspect", "made:1").ok().stdout)
    assert document["Config"]["Cmd"] == ["cat", "/etc/motd"]
    assert document["History"][0]["comment"] == "by hand"
    failed(cli("import", "/no/where", "x"), 1, "/no/where: cannot read the archive")


# -- the store -----------------------------------------------------------------------------


def test_the_store(cli, store_root):
    kinds = cli("system", "df", "--format", "{{.Type}}={{.TotalCount}}").ok().stdout.splitlines()
    assert "Images=1" in kinds
    assert cli("system", "check").ok().stdout == "No problems found\n"
    blob = max(
        (store_root / "oci" / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size
    )
    blob.chmod(0o600)
    blob.write_bytes(b"other content")
    done = cli("system", "check")
    assert done.code == 1
    assert blob.name[:12] in done.stdout


def test_prune_asks(cli):
    refused = cli("system", "prune", "-a", stdin="n\n")
    assert refused.code == 1
    assert "This will remove ALL images" in refused.stderr
    assert "Nothing was removed" in refused.stderr
    assert cli("system", "prune", "-a").code == 1  # nobody there to answer
    assert cli("images", "-q").ok().stdout != ""
    done = cli("system", "prune", "-a", stdin="y\n").ok()
    assert "Total reclaimed space: " in done.stdout
    untagged, deleted, *_ = done.stdout.splitlines()
    assert (untagged, deleted[:16]) == ("Untagged: app:1", "Deleted: sha256:")
    assert cli("images", "-q").ok().stdout == ""


def test_info_and_version(cli, store_root):
    document = json.loads(cli("info", "--format", "json").ok().stdout)
    assert (document["Root"], document["RootFrom"]) == (str(store_root), "--root")
    assert document["DriverWhy"]
    assert cli("version", "--format", "{{.Os}}").ok().stdout == "linux\n"
    assert cli("--version").ok().stdout.startswith("ocitool version ")


# -- builds as they are typed --------------------------------------------------------------


def test_build_prints_ids_and_writes_them(cli, tmp_path):
    image = cli("images", "-q", "--no-trunc").ok().stdout.strip()
    epoch = {"SOURCE_DATE_EPOCH": "0"}
    done = cli("build", "-q", "--iidfile", tmp_path / "id", tmp_path / "context", env=epoch)
    assert (done.ok().stdout, done.stderr) == (f"{image}\n", "")
    assert (tmp_path / "id").read_text() == image
    lines = cli("build", "--progress", "json", tmp_path / "context", env=epoch).ok().stderr
    assert all(isinstance(json.loads(line), dict) for line in lines.splitlines())
    failed(cli("build", "/no/where"), 1, 'path "/no/where" not found')
    failed(cli("build", "-f", "/no/file", tmp_path / "context"), 1, "/no/file")
    failed(cli("build", tmp_path / "context", env={"SOURCE_DATE_EPOCH": "now"}), 1, "'now'")


# -- usage, streams, completion ------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("imags",), "Error: unknown command: ocitool imags; did you mean 'images'?\n"),
        (("build", "--wrong", "."), "Error: unknown flag: --wrong\n"),
        (("build", "-X", "."), "Error: unknown shorthand flag: 'X' in -X\n"),
        (
            ("build", "--tagg=x", "."),
            "Error: unknown flag: --tagg; did you mean --tag or --target?\n",
        ),
        (("build", "--bogus", "."), "Error: unknown flag: --bogus\n"),  # not --os, not --cpus
        (("tag", "x"), "Error: missing argument 'NAME[:TAG]'\n"),
        (("--root", "r", "system", "df", "--root=r"), "ocitool --root DIR system df"),
        (("build", "--progress", "loud", "."), "'loud' is not one of"),
        (("system", "wrong"), "Error: unknown command: ocitool system wrong\n"),
    ],
)
def test_wrong_usage(run_cli, words, said):
    done = run_cli(*words)
    failed(done, 2, said)
    assert "hint: try 'ocitool" in done.stderr


def test_no_words_at_all_show_the_help(run_cli):
    done = run_cli()
    assert done.code == 2
    assert done.stderr.startswith("Usage: ocitool")


def shell(line, root, program="bash"):
    """Run *line* where ``ocitool`` is a function; returns what it printed and its exit code."""
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    begin = f'ocitool() {{ "{sys.executable}" -m ocitool --root "{root}" "$@"; }}\n'
    return subprocess.run(
        [program, "-c", begin + line],
        env=python_environment(),
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("words", ["--help", "images", "save app:1", "inspect app:1"])
def test_a_reader_that_goes_away(cli, store_root, words):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "ocitool", "--root", str(store_root), *words.split()]
    done = subprocess.run(
        command, env=python_environment(), stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_closed_streams(cli, store_root):
    for closed in (">&-", "<&-", ">&- 2>&- <&-"):
        done = shell(f"ocitool images {closed}; echo $? > {store_root}/code", store_root)
        assert (store_root / "code").read_text() == "0\n", done.stderr
        assert done.stderr == ""


def test_a_repair_on_the_command_line(cli, store_root, tmp_path):
    cli("export", "-o", tmp_path / "x.tar", "app:1").ok()  # makes an index
    (index,) = (store_root / "indexes").iterdir()
    index.chmod(0o600)
    index.write_text("garbage")
    found = cli("system", "check")
    assert (found.code, f"layer index {index} is corrupt\n  run " in found.stdout) == (1, True)
    repaired = cli("system", "check", "--repair").ok().stdout
    assert repaired.startswith(f"layer index {index} is corrupt\n  removed")
    assert repaired.endswith("\nAll problems were repaired\n")
    assert cli("system", "check").ok().stdout == "No problems found\n"


def test_a_full_disk_is_reported(cli, store_root):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    done = shell("ocitool version > /dev/full", store_root)
    assert done.returncode == 1
    assert "no space left" in done.stderr


def test_colours_only_where_they_are_wanted(store_root, screen):
    def error_on_the_screen(**extra):
        environment = {**python_environment({"TERM": "xterm"}), **extra}
        environment = {name: value for name, value in environment.items() if value}
        words = [sys.executable, "-m", "ocitool", "--root", str(store_root), "inspect", "none:1"]
        subprocess.run(words, env=environment, stdout=subprocess.PIPE, stderr=screen.inner)
        before = len(screen.text)
        screen.until("ocitool pull none:1")
        return screen.text[before:]

    assert "\x1b[" in error_on_the_screen(NO_COLOR="")
    assert "\x1b[" not in error_on_the_screen(NO_COLOR="1")


def test_of_several_names_each_is_looked_at(cli):
    done = cli("inspect", "nope", "app:1")
    assert (done.code, "no such image: nope" in done.stderr) == (1, True)
    assert json.loads(done.stdout)[0]["RepoTags"] == ["app:1"]
    done = cli("rmi", "nope", "app:1", "gone")
    assert done.code == 1
    assert done.stderr.splitlines() == [
        "Error: no such image: nope", "Error: no such image: gone",
    ]  # fmt: skip
    assert "Untagged: app:1" in done.stdout
    warning = cli("rmi", "-f", "nope").ok().stderr  # as docker's
    assert warning == "Error: no such image: nope\n"


def test_a_name_without_a_tag_saves_all_tags_of_the_repository(cli, tmp_path):
    """As docker does, also if none of them is called latest; with a tag it is that image alone."""
    cli("tag", "app:1", "app:2").ok()
    cli("tag", "app:1", "apple:3").ok()
    for words, names in ((("app",), ["app:1", "app:2"]), (("app:2",), ["app:2"]),
                         (("app", "app:1", "apple"), ["app:1", "app:2", "apple:3"])):  # fmt: skip
        cli("save", "-o", tmp_path / "saved.tar", *words).ok()
        with tarfile.open(tmp_path / "saved.tar") as tar:
            (image,) = json.load(tar.extractfile("manifest.json"))
        assert sorted(image["RepoTags"]) == names
    failed(cli("save", "-o", tmp_path / "none.tar", "ap"), 1, "no such image: ap")


@pytest.mark.parametrize("change", ["FROM b", "RUN x", "ARG X=1", "MAINTAINER me", "COPY a b"])
def test_what_is_no_change(cli, tmp_path, change):
    (tmp_path / "fs.tar").write_bytes(bytes(1024))
    done = cli("import", "-c", "CMD a", "-c", change, tmp_path / "fs.tar", "x:1")
    word = change.split()[0].lower()  # as docker's daemon has it
    failed(done, 1, f"{word} is not a valid change command")


def test_changes_warn_as_a_dockerfile_does(cli, tmp_path):
    (tmp_path / "fs.tar").write_bytes(bytes(1024))
    changes = ("WORKDIR /a", "ENV A=$NONE", "EXPOSE 80\\\n\n 81", "WORKDIR b")
    words = [word for change in changes for word in ("-c", change)]
    done = cli("import", *words, tmp_path / "fs.tar", "x:1").ok()
    warnings = done.stderr.splitlines()
    assert [line.startswith("warning: --change:") for line in warnings] == [True, True]
    assert "NoEmptyContinuation: Empty continuation line" in warnings[0]
    assert "UndefinedVar: Usage of undefined variable '$NONE'" in warnings[1]
    (document,) = json.loads(cli("inspect", "x:1").ok().stdout)
    assert document["Config"]["WorkingDir"] == "/a/b"
    assert sorted(document["Config"]["ExposedPorts"]) == ["80/tcp", "81/tcp"]


@pytest.mark.parametrize("option", ["--authfile=/dev/null", "--tls-verify=false"])
def test_a_check_that_asks_no_registry_takes_no_options_for_one(cli, option):
    failed(cli("system", "check", option), 2, f"{option.partition('=')[0]} requires --repair")
