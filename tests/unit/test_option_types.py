"""Options of the library: values of another type are refused, by name of the field."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from ocitool import BuildOptions, RunOptions, Settings, Store, build
from ocitool.errors import FormatError, SandboxError
from ocitool_runtime.host.plan import _check
from ocitool_runtime.spec import Mount, Sandbox

CLASSES = {BuildOptions: {}, RunOptions: {"image": "x"}, Settings: {"root": "/x"}}
FIELDS = [
    pytest.param(options, required, each, id=f"{options.__name__}.{each.name}")
    for options, required in CLASSES.items()
    for each in fields(options)
]


@pytest.mark.parametrize(("options", "required", "field"), FIELDS)
def test_a_value_of_another_type_is_refused_by_its_name(options, required, field):
    place = f"{options.__name__}.{field.name}"
    if field.type == "Network":
        return  # checked by `RunOptions.check`
    # One of these is no value of any field that is not of this very type.
    number = "3.5" if field.type == "float | None" else 3.5
    for wrong in (number, object(), b"bytes" if "bytes |" not in str(field.type) else 3.5):
        with pytest.raises(FormatError) as caught:
            options(**required | {field.name: wrong})
        assert caught.value.where == place


@pytest.mark.parametrize(("options", "required", "field"), FIELDS)
def test_a_string_is_no_sequence_of_strings(options, required, field):
    if not str(field.type).startswith("tuple"):
        return
    with pytest.raises(FormatError, match="expected a sequence of strings, got the string 't4'"):
        options(**required | {field.name: "t4"})
    given = options(**required | {field.name: ["a", Path("/b")]})
    assert getattr(given, field.name) == ("a", "/b")
    with pytest.raises(FormatError, match=rf"{field.name}\[1\]: expected a string, got int"):
        options(**required | {field.name: ("a", 1)})


def test_mappings_have_strings():
    with pytest.raises(FormatError, match="expected a mapping of strings, got tuple"):
        BuildOptions(build_args=("A=1",))
    with pytest.raises(FormatError, match=r"build_args\['A'\]: expected a string, got int"):
        BuildOptions(build_args={"A": 1})


def test_flags_and_numbers_are_no_text():
    for wrong in ({"no_cache": "no"}, {"timestamp": "7"}, {"source_date_epoch": True}):
        with pytest.raises(FormatError, match="expected"):
            BuildOptions(**wrong)


def test_a_dockerfile_may_be_text_and_paths_may_be_paths(tmp_path):
    (tmp_path / "f").write_text("content")
    options = BuildOptions(context=tmp_path, dockerfile="FROM scratch\nCOPY f /\n# \u00e4\n")
    assert options.dockerfile == "FROM scratch\nCOPY f /\n# \u00e4\n".encode()
    with Store.open(str(tmp_path / "store")) as store:
        assert build(options, store=store).steps == 1


@pytest.mark.parametrize("field", ["args", "env", "hosts", "capabilities"])
def test_a_sandbox_takes_no_string_for_a_sequence(field):
    values = {"args": ("x",), "rootfs": (Mount(type="bind", source="/", target="/"),)}
    with pytest.raises(SandboxError, match="got a string") as caught:
        _check(Sandbox(**values | {field: "ls"}))
    assert caught.value.where == field
