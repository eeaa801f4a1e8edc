"""Commands and options by the names that docker has for them, and those that there are not."""

from __future__ import annotations

import json

import pytest

from ocitool.cli.unsupported import BUILDER, CONTAINER, OPTIONS, SYSTEM, UNSUPPORTED
from tests.fixtures.commands import failed
from tests.fixtures.servers import served


def names(done):
    return [line.split()[0] for line in done.ok().stdout.splitlines() if line]


@pytest.fixture
def dated(cli, tmp_path):
    """Beside ``app:1`` of the epoch there are images of the years 1971, 2001 and 1986."""
    for name, epoch in (("b/old:1", 40_000_000), ("new:1", 1_000_000_000), ("mid:1", 500_000_000)):
        environment = {"SOURCE_DATE_EPOCH": str(epoch)}
        label = tmp_path / "context" / "Dockerfile"
        label.write_text(f"FROM scratch\nCOPY file /file\nLABEL epoch={epoch}\n")
        cli("build", "-q", "-t", name, tmp_path / "context", env=environment).ok()
    return cli


# -- other names of commands ---------------------------------------------------------------


def test_groups_have_other_names_of_commands(cli):
    listed = cli("images").ok().stdout
    assert cli("image", "ls").ok().stdout == cli("image", "list").ok().stdout == listed
    document = cli("inspect", "app:1").ok().stdout
    assert cli("image", "inspect", "app:1").ok().stdout == document
    assert cli("image", "tag", "app:1", "app:2").ok().stdout == ""
    assert cli("image", "rm", "app:2").ok().stdout == "Untagged: app:2\n"
    assert cli("system", "info", "-f", "{{.Os}}{{.Root}}").code == cli("info", "-f", "x").code
    assert "Total reclaimed space: 0B" in cli("image", "prune", "-f").ok().stdout


def test_builds_and_images_are_pruned_apart(cli, tmp_path):
    (tmp_path / "context" / "file").write_text("other\n")
    cli("builder", "build", "-q", "-t", "app:1", tmp_path / "context").ok()
    assert "1970" in cli("images", "--format", "{{.CreatedAt}}").ok().stdout
    question = cli("image", "prune", stdin="n\n")
    assert (question.code, "all dangling images. Continue?" in question.stderr) == (1, True)
    done = cli("image", "prune", "-f").ok().stdout
    assert "Deleted: sha256:" in done
    assert " 0 cache records" in done
    assert names(cli("images", "--format", "{{.Repository}}")) == ["app"]
    assert " 0 cache records" not in cli("builder", "prune", "-af").ok().stdout
    assert "will remove the build cache. " in cli("builder", "prune").stderr
    failed(cli("builder", "prune", "--filter", "label=a"), 2, "have no labels")
    assert cli("images", "-q").ok().stdout != ""


def test_help_is_a_command(run_cli):
    assert run_cli("help").ok().stdout == run_cli("--help").ok().stdout
    assert run_cli("help", "image", "ls").ok().stdout == run_cli("image", "ls", "-h").ok().stdout
    failed(run_cli("help", "image", "none"), 1, "no help for 'image none'")


# -- names that there are not --------------------------------------------------------------


def test_what_docker_has_and_ocitool_has_not_is_named(run_cli):
    for group, table in (
        ((), UNSUPPORTED),
        (("container",), CONTAINER),
        (("builder",), BUILDER),
        (("system",), SYSTEM),
    ):
        name = sorted(table)[0]
        path = " ".join([*group, name])
        done = run_cli(*group, name, "--rm", "-f", "x")
        failed(done, 1, f"'{path}' is not supported: {table[name]}")
    done = run_cli("ps", "-a")
    failed(done, 1, "Error: 'ps' is not supported: containers run in the foreground\n")


@pytest.mark.parametrize("command", OPTIONS)
def test_options_that_docker_has_and_ocitool_has_not_are_named(run_cli, command):
    """With the reason, and never with a similar name, as --push for --squash."""
    words = {"everything": ("system", "prune"), "ocitool": ()}.get(command, (command,))
    for option, why in OPTIONS[command].items():
        done = run_cli(*words, option, "x", "x")
        code = {"run": 125, "kaniko-executor": 1}.get(command, 2)  # as docker's, and kaniko's
        failed(done, code, f"{option} is not supported: {why}\n")
        assert "Did you mean" not in done.stderr


def test_empty_values_are_as_none(cli, run_cli, tmp_path):
    """As pflag's options without a default have them: scripts give "$UNSET"."""
    everything = cli("images", "-q").ok().stdout
    assert cli("images", "-q", "-f", "", "--filter", "label!=x").ok().stdout == everything
    assert cli("inspect", "--type", "", "-f", "{{.Os}}", "app:1").ok().stdout == "linux\n"
    assert cli("save", "-o", "", "app:1").ok().stdout.startswith("blobs/")
    assert cli("logout", "").ok().stdout == cli("logout").ok().stdout
    # The policy counts; what is not there cannot be pulled.
    done = cli("run", "--rm", "--pull", "", "127.0.0.1:1/none:1")
    failed(done, 125, "Unable to find image '127.0.0.1:1/none:1' locally")


@pytest.mark.parametrize("word", ["", "=x"])
def test_a_build_argument_needs_a_name(cli, tmp_path, word):
    done = cli("build", "--build-arg", word, tmp_path / "context")
    failed(done, 2, f"invalid environment variable: {word!r}")


def test_what_is_always_done_may_be_asked_for(cli, tmp_path):
    cli("build", "-q", "--rm", "-t", "app:1", tmp_path / "context").ok()
    cli("tag", "app:1", "app:2").ok()
    assert cli("rmi", "--no-prune", "app:2").ok().stdout == "Untagged: app:2\n"


def test_nothing_is_proposed_that_there_is_not(run_cli):
    for word in ("ps", "pss", "logss", "exce", "pus"):
        assert ("push" in run_cli(word).stderr) == (word == "pus")


def test_no_name_is_both_there_and_not(run_cli):
    for group, table in (((), UNSUPPORTED), (("container",), CONTAINER), (("builder",), BUILDER)):
        listed = run_cli(*group, "--help").ok().stdout.partition("Commands:\n")[2]
        assert {line.split()[0] for line in listed.splitlines()} & set(table) == set()


def test_flags_take_values_as_those_of_docker(cli):
    expected = cli("images", "-q").ok().stdout
    for words in ("--debug=true images -q", "--debug=false image ls -q=true", "images -aq=1"):
        assert cli(*words.split()).ok().stdout == expected
    assert "REPOSITORY" in cli("images", "-qa=true", "--quiet=false").ok().stdout
    assert cli("images", "-qf", "dangling=true").ok().stdout == ""
    failed(cli("--debug=x", "images"), 2, "invalid argument 'x' for --debug")
    failed(cli("images", "-q=x"), 2, "invalid argument 'x' for -q")


# -- options -------------------------------------------------------------------------------


def test_images_are_listed_by_creation(dated):
    listed = names(dated("images", "--format", "{{.Repository}}"))
    assert listed == ["new", "mid", "b/old", "app"]
    dated("tag", "app:1", "app:2").ok()  # a name that was given last
    assert names(dated("images", "-a", "--format", "{{.Repository}}"))[-2:] == ["app", "app"]
    assert names(dated("system", "df", "-v"))[2:7] == ["new", "mid", "b/old", "app", "app"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (("before=mid:1",), ["b/old", "app"]),
        (("since=mid:1",), ["new"]),
        (("since=app:1", "before=new:1"), ["mid", "b/old"]),
        (("until=1980-01-01T00:00:00Z",), ["b/old", "app"]),
        (("label=epoch",), ["new", "mid", "b/old"]),
        (("label=epoch=500000000",), ["mid"]),
        (("label!=epoch",), ["app"]),
        (("reference=*",), ["new", "mid", "app"]),
        (("reference=*/o[lx]d", "reference=new:?"), ["new", "b/old"]),
        (("dangling=true",), []),
        (("dangling=false",), ["new", "mid", "b/old", "app"]),
    ],
)
def test_filters_of_images(dated, filters, expected):
    words = [word for text in filters for word in ("-f", text)]
    assert names(dated("images", *words, "--format", "{{.Repository}}")) == expected


def test_images_that_match_a_pattern(dated):
    assert names(dated("images", "m*", "--format", "{{.Repository}}")) == ["mid"]
    assert names(dated("images", "*/old:1", "--format", "{{.Repository}}")) == ["b/old"]
    assert names(dated("images", "UPPER", "--format", "{{.Repository}}")) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("foo=bar", "unknown filter 'foo'"),
        ("dangling", "invalid filter 'dangling': expected KEY=VALUE"),
        ("dangling=maybe", "invalid argument 'maybe' for filter 'dangling'"),
    ],
)
def test_a_wrong_filter(run_cli, text, said):
    failed(run_cli("images", "--filter", text), 2, said)


def test_a_filter_by_an_image_that_there_is_not(cli):
    failed(cli("images", "--filter", "before=none:1"), 1, "no such image: none:1")


def test_history_for_programs(cli):
    assert cli("history", "-H", "app:1").ok().stdout == cli("history", "app:1").ok().stdout
    header, *rows = cli("history", "--human=false", "app:1").ok().stdout.splitlines()
    assert header.split()[:3] == ["IMAGE", "CREATED", "AT"]
    assert all(row.split()[1] == "1970-01-01T00:00:00Z" for row in rows)
    assert {row.split()[-2] for row in rows} >= {"0"}
    failed(cli("history", "--human=maybe", "app:1"), 2, "'maybe' is not a valid boolean")


def test_inspect_knows_images_alone(cli):
    assert cli("inspect", "--type=image", "-f", "{{.Os}}", "app:1").ok().stdout == "linux\n"
    failed(cli("inspect", "--type", "volume", "x"), 2, "--type volume is not supported")


def test_all_tags_are_pushed_and_pulled(cli, tmp_path):
    with served(tmp_path / "served") as (_, address):
        repository = f"{address}/some/app"
        for tag in ("1", "2"):
            cli("tag", "app:1", f"{repository}:{tag}").ok()
        pushed = cli("push", "-a", repository).ok().stdout.splitlines()
        assert [line.split(":")[0] for line in pushed] == ["1", "2"]
        cli("rmi", f"{repository}:1", f"{repository}:2").ok()
        assert names(cli("pull", "-qa", repository)) == [repository]
        assert len(json.loads(cli("inspect", "app:1").ok().stdout)[0]["RepoTags"]) == 3
        failed(cli("pull", "-a", f"{address}/none"), 1, "not found")
    for command in ("pull", "push"):
        failed(cli(command, "-a", "app:1"), 2, "a tag or a digest cannot be used with --all-tags")
    failed(cli("push", "-a", "none"), 1, "no image in the store has a tag of 'none'")
