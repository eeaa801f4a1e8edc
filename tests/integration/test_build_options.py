"""Options of `ocitool build` that docker and buildah have: each with its effect."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.fixtures.servers import PASSWORD, USER, protected_registry


@pytest.fixture
def context(tmp_path):
    directory = tmp_path / "context"
    directory.mkdir()
    (directory / "Dockerfile").write_text("FROM scratch\nARG A\nLABEL a=$A\nCOPY f /\n")
    (directory / "f").write_text("1")
    return directory


@pytest.fixture
def build(run_cli, store_root, context):
    def run(*words, command=("build",), code=0, **options):
        done = run_cli("--root", store_root, *command, *words, context, **options)
        assert done.code == code, done.stderr
        return done

    return run


def config(run_cli, store_root, name):
    done = run_cli("--root", store_root, "inspect", "-f", "{{json .}}", name)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "command",
    [
        ("build",), ("buildx", "build"), ("buildx", "b"), ("buildx", "--debug", "build"), ("bud",),
        ("build-using-dockerfile",), ("builder", "build"), ("image", "build"),
    ],
)  # fmt: skip
def test_other_names_of_the_command(build, command):
    assert "Tagged app:1" in build("-t", "app:1", command=command).stdout


def test_commands_of_buildx_that_there_are_not(run_cli, store_root):
    done = run_cli("--root", store_root, "buildx", "bake")
    assert (done.code, done.stderr) == (
        1,
        "Error: 'buildx bake' is not supported: use `ocitool build` for each image\n",
    )


@pytest.mark.parametrize(
    "words",
    [
        ("--layers",), ("--layers=true", "--jobs", "4"), ("--compress",),
        ("--identity-label=false",),
        ("--disable-content-trust",), ("--disable-content-trust=true",), ("--skip-unused-stages",),
        ("--inherit-annotations=false",), ("--compat-volumes=false",), ("--stdin=false",),
        ("--logsplit=false",), ("--rm", "--force-rm"), ("--force-rm=false",),
        ("--isolation", "default"), ("-D",),
        ("--progress=none",), ("--os", "linux"), ("--disable-compression=false",),
        ("--provenance=false", "--sbom=false", "--attest=type=sbom,disabled=true"),
        ("--builder=default", "--cache-from=", "--userns=host", "--ipc=private"),
        ("--storage-driver=vfs", "--log-level=warn"),
    ],
)  # fmt: skip
def test_what_changes_nothing_is_accepted(build, words):
    digest = build("--source-date-epoch=0").stdout.splitlines()[-1]
    again = build("--source-date-epoch=0", *words)
    assert digest.startswith("Digest sha256:")
    assert digest in again.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--layers=no way",), "'no way' is not a valid boolean"),
        (("--provenance=mode=max",), "--provenance mode=max is not supported: builds do not"),
        (("--builder", "mine"), "--builder mine is not supported: there is only the builder of"),
        (("--identity-label",), "--identity-label=true is not supported: an image has no label"),
        (("--disable-content-trust=false",), "signatures of images are not verified"),
        (("--stdin",), "--stdin=true is not supported: the standard input of RUN is empty"),
        (("--jobs=-1",), "-1 is not in the range x>=0"),
        (("--userns", "auto"), "--userns auto is not supported: the user namespace maps the"),
        (("--sign-by", "me"), "--sign-by is not supported: use cosign"),
        (("--cw", "x"), "--cw is not supported: images are not encrypted"),
        (("--decryption-key", "x"), "--decryption-key is not supported: images are not encrypted"),
        (("--platform", "linux/amd64", "--arch", "arm64"), "--platform cannot be combined"),
        (("--env", "=1"), "invalid environment variable: '=1'"),
        (("--pull=sometimes",), "'sometimes' is not one of 'always', 'missing', 'newer', 'never'"),
    ],
)
def test_what_would_change_something_is_refused(build, words, said):
    assert said in build(*words, code=2).stderr


def test_no_layers_are_one_layer_without_the_cache(build, run_cli, store_root, context):
    (context / "Dockerfile").write_text("FROM scratch\nCOPY f /\nCOPY f /g\n")

    def layers(*words, **env):
        done = build("-t", "app:1", *words, env=env)
        return len(config(run_cli, store_root, "app:1")["RootFS"]["Layers"]), done.stderr

    assert layers()[0] == layers("--layers", BUILDAH_LAYERS="0")[0] == 2
    for words, env in (
        (("--layers=false",), {}),
        ((), {"BUILDAH_LAYERS": "false"}),
        (("--layers=false", "--squash-all"), {"BUILDAH_LAYERS": "true"}),
    ):
        number, shown = layers(*words, **env)
        assert (number, "CACHED" in shown) == (1, False)


def test_the_format_of_the_environment(build, run_cli, store_root):
    for words, expected in (((), "docker.distribution"), (("--format=oci",), "oci.image")):
        build("-t", "app:1", *words, env={"BUILDAH_FORMAT": "docker"})
        assert expected in config(run_cli, store_root, "app:1")["MediaType"]
    refused = build(env={"BUILDAH_FORMAT": "v2"}, code=2).stderr
    said = "'v2' is not one of 'oci', 'docker' (the value of BUILDAH_FORMAT in the environment)"
    assert said in refused
    assert "environment" not in build("--format=v2", env={"BUILDAH_FORMAT": "oci"}, code=2).stderr


def test_the_platform_of_the_environment(build, run_cli, store_root):
    for words, expected in (
        ((), "s390x"),
        (("--platform", "linux/arm64"), "arm64"),
        (("--arch=ppc64le",), "ppc64le"),
    ):
        build("-t", "app:1", *words, env={"DOCKER_DEFAULT_PLATFORM": "linux/s390x"})
        assert config(run_cli, store_root, "app:1")["Architecture"] == expected


def test_a_policy_of_the_environment_is_not_ignored(build):
    name = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"
    assert f"{name} is not supported: unset it" in build(env={name: "policy.json"}, code=2).stderr
    build(env={name: ""})


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (("-H", "tcp://docker:2375"), "-H is not supported: there is no daemon to connect to"),
        (("--config", "d"), "--config is not supported: set DOCKER_CONFIG to the directory"),
        (("--storage-opt=a=b",), "--storage-opt is not supported: storage drivers have no options"),
        (("buildx", "--builder=b"), "--builder is not supported: there is only the builder of"),
        (("--cert-dir=d",), "--cert-dir is not supported: it is an option of commands"),
        (("--nonsense",), "unknown flag: --nonsense"),
    ],
)
def test_options_before_the_command_that_there_are_not(run_cli, before, said):
    done = run_cli(*before, "build", ".")
    assert (done.code, said in done.stderr) == (2, True), done.stderr


def test_parts_of_the_platform(build, run_cli, store_root):
    build("--arch", "arm", "--variant", "v6", "-t", "app:1")
    shown = config(run_cli, store_root, "app:1")
    assert (shown["Os"], shown["Architecture"], shown["Variant"]) == ("linux", "arm", "v6")


def test_variables_and_labels_of_the_image(build, run_cli, store_root):
    words = ("--env", "A=1", "--env", "FROM_HERE", "--env", "NOT_HERE", "--inherit-labels=false")
    build(*words, "-t", "app:1", env={"FROM_HERE": "x"})
    shown = config(run_cli, store_root, "app:1")["Config"]
    assert shown["Env"][1:] == ["A=1", "FROM_HERE=x"]
    assert shown["Labels"] == {"a": ""}


def test_the_progress_is_appended_to_a_log(build, tmp_path):
    log = tmp_path / "log"
    for _ in range(2):
        assert build("--logfile", log).stderr == ""
    assert log.read_text().count("COPY f /") == 2
    done = build("--logfile", tmp_path, code=1)
    assert f"failed to open the log file {tmp_path}: Is a directory" in done.stderr


def test_the_progress_of_the_environment(build, context):
    (context / "Dockerfile").write_text("FROM scratch\nLABEL a=$A\nCOPY f /\n")
    done = build(env={"BUILDKIT_PROGRESS": "rawjson"})
    kinds = {kind for line in done.stderr.splitlines() for kind in json.loads(line)}
    assert kinds == {"vertexes", "warnings"}  # of $A, which is not declared
    assert build("--progress=none", env={"BUILDKIT_PROGRESS": "rawjson"}).stderr == ""
    wrong = build(env={"BUILDKIT_PROGRESS": "fancy"}, code=2)
    assert "'fancy' is not one of 'auto', 'plain'" in wrong.stderr


# -- proxies -------------------------------------------------------------------------------


def proxies(tmp_path, value):
    (tmp_path / "config.json").write_text(json.dumps({"proxies": value}))
    return {"DOCKER_CONFIG": str(tmp_path)}


def labels(run_cli, store_root, build, context, *words, **options):
    lines = ["FROM scratch", "ARG HTTP_PROXY", "ARG no_proxy", "LABEL a=$HTTP_PROXY b=$no_proxy"]
    (context / "Dockerfile").write_text("\n".join(lines))
    build(*words, "-t", "app:1", **options)
    return list(config(run_cli, store_root, "app:1")["Config"]["Labels"].values())


def test_proxies_of_dockers_configuration(run_cli, store_root, build, context, tmp_path):
    env = proxies(tmp_path, {"default": {"httpProxy": "http://p", "noProxy": "a,b"}})
    assert labels(run_cli, store_root, build, context, env=env) == ["http://p", "a,b"]
    words = ("--build-arg", "HTTP_PROXY=given")
    assert labels(run_cli, store_root, build, context, *words, env=env) == ["given", "a,b"]


def test_proxies_of_the_environment_are_asked_for(run_cli, store_root, build, context):
    env = {"HTTP_PROXY": "http://e", "no_proxy": "c"}
    assert labels(run_cli, store_root, build, context, env=env) == ["", ""]
    found = labels(run_cli, store_root, build, context, "--http-proxy", env=env)
    assert found == ["http://e", "c"]


@pytest.mark.parametrize("value", [None, {"default": None}, {"default": {"httpProxy": None}}])
def test_proxies_that_are_null(build, tmp_path, value):
    build(env=proxies(tmp_path, value))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"default": {"httpProxy": 1}}, "a proxy is not a string"),
        ({"default": []}, "expected an object of JSON"),
        ("http://p", "expected an object of JSON"),
    ],
)
def test_invalid_proxies_are_an_error(build, tmp_path, value, said):
    done = build(env=proxies(tmp_path, value), code=1)
    assert f"Error: {tmp_path}/config.json: invalid 'proxies': {said}" in done.stderr


# -- access to registries ------------------------------------------------------------------


def test_credentials_of_the_command(run_cli, store_root, build, context, tmp_path, free_port):
    with protected_registry(tmp_path / "protected", free_port) as address:
        name = f"{address}/app:1"
        refused = build("--push", "-t", name, "--creds", f"{USER}:wrong", code=1)
        assert f"pushing {name}: " in refused.stderr
        assert "wrong" not in refused.stderr
        build("--push", "-t", name, "--creds", f"{USER}:{PASSWORD}")
        (context / "Dockerfile").write_text(f"FROM {name}\nCOPY f /again\n")
        run_cli("--root", store_root, "rmi", name).ok()
        assert "401" in build(code=1).stderr
        build("--creds", f"{USER}:{PASSWORD}")


def test_credentials_without_a_password_are_asked_for_on_a_terminal(build):
    done = build("--creds", "me", code=2)
    assert "the password is missing, expected USER:PASSWORD" in done.stderr
    assert "the user is empty" in build("--creds", ":secret", code=2).stderr


def test_how_often_a_registry_is_asked(build, context, free_port):
    (context / "Dockerfile").write_text(f"FROM 127.0.0.1:{free_port}/base:1\n")
    with flaky_server(free_port) as asked:
        build("--retry", "2", "--retry-delay", "1ms", code=1)
        assert set(Counter(asked).values()) == {3}
        asked.clear()
        build("--retry=0", code=1)
        assert set(Counter(asked).values()) == {1}
    assert "invalid duration 'soon'" in build("--retry-delay", "soon", code=2).stderr


@contextmanager
def flaky_server(port: int) -> Iterator[list[str]]:
    """A registry that is always busy; gives the paths that it was asked for."""
    asked: list[str] = []

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", port), Busy)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_directory_of_certificates_that_is_missing(build, context):
    (context / "Dockerfile").write_text("FROM 127.0.0.1:1/base:1\n")
    done = build("--cert-dir", "/no/such", code=1)
    assert "/no/such: cannot read certificates: No such file or directory" in done.stderr
