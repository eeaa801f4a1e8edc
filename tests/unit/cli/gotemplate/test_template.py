"""Templates behind ``--format``, case by case as docker has them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from ocitool.cli.gotemplate.template import Template
from ocitool.errors import FormatError

CONTAINER = {
    "Id": "69a93810dbcf",
    "Name": "/probe",
    "Args": ["1000"],
    "Mounts": [],
    "Ratio": 1.5,
    "Memory": 67108864,
    "State": {"Running": False, "Health": None},
    "Config": {
        "Cmd": ["sleep", "1000"],
        "Env": [],
        "Hostname": "h1",
        "Labels": {"x": "y", "a.b": "c"},
        "Tty": False,
    },
    "Label": lambda key: {"x": "y"}.get(key, ""),
}

# What docker's client 28.2 prints for the same container, template by template.
RENDERED = [
    ("{{.Id}}", "69a93810dbcf"),
    ("Id", "69a93810dbcf"),
    (".Config.Hostname", "h1"),
    ("Config.Cmd", "[sleep 1000]"),
    ("some text", "some text"),
    ("{{.Config.Labels}}", "map[a.b:c x:y]"),
    ("{{.Config.Labels.foo}}", "<no value>"),
    ("{{.Config.Labels.x}}", "y"),
    ("{{.Config.Env}}", "[]"),
    ("{{.State.Running}} {{.Memory}} {{.Ratio}}", "false 67108864 1.5"),
    (
        "{{1e6}} {{1.5}} {{1234567.0}} {{12}} {{1e21}} {{0.00001}}",
        "1e+06 1.5 1.234567e+06 12 1e+21 1e-05",
    ),
    ("{{json .Config.Cmd}}", '["sleep","1000"]'),
    ("{{json .Config.Labels}}", '{"x":"y","a.b":"c"}'),
    ('{{index .Config.Labels "a.b"}}', "c"),
    ('{{index .Config.Labels "nope"}}|', "|"),
    ("{{index .Config.Cmd 1}}", "1000"),
    ("{{range .Config.Cmd}}{{println .}}{{end}}", "sleep\n1000\n"),
    ("{{range .Config.Cmd}}{{.}}…{{end}}", "sleep…1000…"),
    ("{{range $i, $v := .Config.Cmd}}{{$i}}={{$v}};{{end}}", "0=sleep;1=1000;"),
    ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a.b=c;x=y;"),
    ("{{range $v := .Config.Cmd}}{{$v}},{{end}}", "sleep,1000,"),
    ("{{range .Mounts}}a{{else}}none{{end}}", "none"),
    ("{{.Config.Cmd | json | len}}", "16"),
    ('{{join .Config.Cmd ","}}', "sleep,1000"),
    ('{{upper .Name}} {{lower "ABC"}} {{title "foo bar"}}', "/PROBE abc Foo Bar"),
    ('{{pad "x" 2 3}}| {{truncate "abcdef" 3}} {{split "a,b" ","}}', "  x   | abc [a b]"),
    ("{{  range .Config.Cmd -}}   {{ . }}  {{- end }}|", "sleep1000|"),
    ("a  {{- /* c */ -}}  x", "ax"),
    ("{{/* c */}}x", "x"),
    ("{{with .Config.Hostname}}{{.}}{{else}}no{{end}}", "h1"),
    ('{{printf "%s %d %q %v %5d|%-5s|" "a" 3 "x" true 42 "ab"}}', 'a 3 "x" true    42|ab   |'),
    ('{{print 1 2 "a" "b" 3}}', "1 2ab3"),
    ('{{eq 1 1}} {{ne "a" "b"}} {{and 1 0}} {{or "" "x"}} {{not true}}', "true true 0 x false"),
    ("{{lt 1 2}} {{ge 1 2}} {{gt 2 1}} {{le 1 1}}", "true false true true"),
    ('{{slice "abcdef" 1 3}}', "bc"),
    ("{{if .Config.Tty}}y{{else if .Config.Hostname}}h{{else}}n{{end}}", "h"),
    ("{{if and .Config.Tty .Config.Tty.Deeper}}y{{else}}n{{end}}", "n"),
    ('{{"a\\tb"}}', "a\tb"),
    ("{{`a\\tb`}}", "a\\tb"),
    ('{{"}}"}}', "}}"),
    ('{{len "héé"}}', "5"),
    ("{{$x := 3}}{{$x}}", "3"),
    ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
    ("{{$x := 1}}{{if true}}{{$x := 2}}{{end}}{{$x}}", "1"),
    ("{{range .Config.Cmd}}{{$.Id}} {{end}}", "69a93810dbcf 69a93810dbcf "),
    ("{{(index .Config.Cmd 0) | upper}}", "SLEEP"),
    ("{{(.Config).Hostname}}", "h1"),
    ('{{"<&>é" | json}}', '"<&>é"'),
    ("{{index .Config.Labels}}", "map[a.b:c x:y]"),
    ('{{.Label "x"}}', "y"),
    ("{{.State.Health}}", "<no value>"),
]


@pytest.mark.parametrize(("template", "text"), RENDERED)
def test_render(template: str, text: str) -> None:
    assert Template.parse(template).render(CONTAINER) == text


REFUSED = [
    ("{{.Nope}}", "unknown field 'Nope'"),
    ("Nope", "unknown field 'Nope'"),
    ("{{.Config.Nope}}", "unknown field 'Nope'"),
    ("{{index .Config.Cmd 5}}", "index out of range"),
    ("{{.Config.Cmd.X}}", "has no field 'X'"),
    ("{{.State.Health.Status}}", "has no field 'Status'"),
    ("{{foo .X}}", "function 'foo' is not supported"),
    ("{{html .Id}}", "function 'html' is not supported"),
    ("{{.Id", "unclosed action"),
    ('{{"a}}', "unclosed action"),
    ("{{end}}", "unexpected {{end}}"),
    ("{{if .Id}}", "has no {{end}}"),
    ("{{if .Id}}{{else}}{{else}}{{end}}", "has no {{end}}"),
    ("{{}}", "missing value"),
    ("{{.Id |}}", "missing value"),
    ("{{len 3}}", "invalid argument for len: a number"),
    ("{{len}}", "wrong number of arguments for len: 0"),
    ('{{eq .Config.Tty "x"}}', "cannot compare true or false with a string"),
    ("{{break}}", "break is not supported"),
    ('{{template "x"}}', "template is not supported"),
    ("{{.Config.Labels.my-key}}", "unexpected '-'"),
    ("{{$nope}}", "variable $nope is not defined"),
    ("{{.Id 3}}", "cannot take arguments"),
    ("{{range .Memory}}{{end}}", "range needs a list or a map"),
    ("{{upper .Memory}}", "expected a string"),
    ('{{printf "%y" 3}}', "printf: %y is not supported"),
    ("{{.Id.}}", "unexpected '.'"),
    ('{{.Id"x"}}', "unexpected"),
    ("{{(.Id}}", "unclosed parenthesis"),
    ('{{.Label "x" "y"}}', "invalid arguments"),
    ("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}", "nested more than 32 deep"),
]


@pytest.mark.parametrize(("template", "message"), REFUSED)
def test_refused(template: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        Template.parse(template).render(CONTAINER)
    assert message in caught.value.message
    assert caught.value.where.startswith("--format")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ('{{slice .Id 1 "b"}}', "invalid arguments for slice: a string, a number, a string"),
        ('{{truncate .Id "x"}}', "invalid arguments for truncate: a string, a string"),
        ('{{.Label "x" 3}}', "invalid arguments for a method: a string, a number"),
        ("{{.Label}}", "invalid arguments for a method: none"),
    ],
)
def test_invalid_arguments_are_named_without_words_of_python(template: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        Template.parse(template).render(CONTAINER)
    assert caught.value.message == message


def test_an_unknown_field_names_the_known_ones() -> None:
    with pytest.raises(FormatError) as caught:
        Template.parse("{{.Config.Nope}}").render(CONTAINER)
    assert caught.value.hint == "known fields: Cmd, Env, Hostname, Labels, Tty"


def test_an_unknown_function_is_refused_before_anything_is_rendered() -> None:
    with pytest.raises(FormatError) as caught:
        Template.parse("{{if false}}{{foo}}{{end}}")
    assert "json" in caught.value.hint


def test_json_leaves_methods_out() -> None:
    assert "Label" not in json.loads(Template.parse("json").render(CONTAINER))


def test_escapes_stand_outside_actions() -> None:
    assert Template.parse(r"a\tb\n").render({}) == "a\tb\n"
    assert Template.parse(r"a\tb\n", escapes=False).render({}) == r"a\tb\n"
    assert Template.parse(r'{{join .L "\n"}}').render({"L": ["a", "b"]}) == "a\nb"


HEADERS = {"Repository": "REPOSITORY", "Tag": "TAG", "Labels": "LABELS", "Ports": "PORTS"}


@pytest.mark.parametrize(
    ("template", "line"),
    [
        (r"table {{.Repository}}\t{{.Tag}}", "REPOSITORY\tTAG"),
        (r"table {{json .Repository}}\t{{.Tag | upper}}\t{{len .Tag}}", "REPOSITORY\tTAG\tTAG"),
        ('table {{index .Labels "x"}}', "LABELS"),
        ("table {{.Tag}}{{if .Ports}}{{.Ports}}{{else}}-{{end}}", "TAGPORTS"),
        ('table {{range .Ports}}{{.}}{{end}}{{"x"}}', "PORTS"),
        ("table {{.Labels.x}}", "LABELS"),
    ],
)
def test_headings(template: str, line: str) -> None:
    parsed = Template.parse(template)
    assert parsed.table
    assert parsed.headings(HEADERS) == line


def test_a_table_of_an_unknown_field_is_refused_without_rows() -> None:
    with pytest.raises(FormatError, match="unknown field 'Nope'"):
        Template.parse("table {{.Nope}}").headings(HEADERS)


def test_the_same_as_docker(docker: Callable[..., str]) -> None:
    """Ask the real client, where an engine answers, about an image it has."""
    image = docker("images", "-q").split()[0]
    document = json.loads(docker("image", "inspect", image))[0]
    for template in (
        "{{.Id}} {{.Architecture}} {{.Size}}",
        "{{json .Config.Cmd}} {{json .RootFS}} {{.RepoTags}} {{len .RepoTags}}",
        "{{range $i, $t := .RepoTags}}{{$i}}:{{$t}}\\n{{end}}",
        '{{join .RepoTags ","}} {{upper .Os}} {{printf "%q %5d" .Os 3}}',
        "{{if .Config.Tty}}t{{else}}  {{- .Os -}}  {{end}}| {{slice .Id 7 19}}",
        '{{1e6}} {{print 1 2 "a" "b" 3}} {{println 1 "a"}} {{range .RepoTags}}{{.}}{{end}}',
    ):
        ours = Template.parse(template, escapes=False).render(document)
        theirs = docker("image", "inspect", "--format", template, image)
        assert ours + "\n" == theirs, template
