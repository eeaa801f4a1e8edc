"""One output as a value, read from the syntax of ``docker buildx build --output``.

Source: BuildKit, README.md, "Output", and exporter/containerimage/exptypes/keys.go; buildx,
util/buildflags/export.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ocitool.builder.outputs.annotations import split_key
from ocitool.errors import FormatError, during
from ocitool.go_values import boolean_of
from ocitool.image.form import Form
from ocitool.oci.reference import Reference
from ocitool.suggestions import suggest

STDOUT: Final = "-"
_STDOUT_FILES: Final = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output; ``text`` is how it was written, or the option that stands for it."""

    type: str  # local, tar, oci, docker, image, cacheonly
    text: str = ""
    dest: str = ""  # a file or directory, or `STDOUT`
    names: tuple[str, ...] = ()  # references; none: the tags of the build
    push: bool = False
    push_by_digest: bool = False  # to the repositories of the names, without a tag
    store: bool = True  # whether the image is kept in the store
    unpack: bool = False  # whether its layers are unpacked at once
    insecure: bool = False  # registries: as `BuildOptions.insecure`
    delete: bool = False  # whether a directory loses what the result has not
    #: Whether files are in a directory named after the platform; without a value the build decides.
    platform_split: bool | None = None
    tar: bool = True  # whether a layout is an archive, or else a directory
    optional: bool = False  # whether an engine that does not answer is no error
    form: Form = field(default_factory=Form)
    #: With keys as `ocitool.builder.outputs.annotations` reads them.
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def parse(cls, text: str) -> Output:
        """Read ``DIR``, ``-``, or CSV of ``type=TYPE`` and attributes.

        Raises:
            FormatError: a type or an attribute is unknown, or a value invalid.
        """
        with during(f"--output {text}"):
            return _parse(text)

    @property
    def has_image(self) -> bool:
        """Whether what is written is an image, and not its files."""
        return self.type in ("oci", "docker", "image")

    @property
    def to_stdout(self) -> bool:
        """Whether standard output gets it."""
        return self.dest == STDOUT

    @property
    def to_directory(self) -> bool:
        """Whether ``dest`` is a directory."""
        return self.type == "local" or (self.type in ("oci", "docker") and not self.tar)

    @property
    def shown(self) -> str:
        """What messages call it."""
        return self.text if self.text.startswith("--") or not self.text else f"--output {self.text}"


def _parse(text: str) -> Output:
    fields = _fields(text)
    if len(fields) == 1 and "=" not in fields[0]:
        if text == STDOUT:
            return Output(type="tar", text=text, dest=STDOUT)
        if not fields[0]:
            raise FormatError(
                "the output is empty", hint="write a directory, or type=TYPE and its attributes"
            )
        return Output(type="local", text=text, dest=fields[0])
    attributes = dict(_attribute(each) for each in fields)
    name = attributes.pop("type", "")
    if not name:
        raise FormatError("type is required for output", hint=f"one of {_listed(_TYPES)}")
    if name not in _TYPES:
        near = suggest(name, _TYPES)
        raise FormatError(
            f"unknown output type {name!r}{near}", hint="" if near else f"one of {_listed(_TYPES)}"
        )
    if name == "registry":
        name = "image"
        attributes["push"] = "true"
    return _checked(_with_attributes(Output(type=name, text=text), attributes))


def _fields(text: str) -> list[str]:
    import csv  # slow to load, rarely wanted

    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise FormatError(f"invalid CSV: {error}", hint="quote a field: '\"name=a,b\"'") from None
    return rows[0] if rows and rows[0] else [""]


def _attribute(field: str) -> tuple[str, str]:
    key, equals, value = field.partition("=")
    if not equals:
        raise FormatError(
            f"invalid field {field!r}: it must be a key=value pair",
            hint="values with commas are quoted with their key: '\"name=a,b\"'",
        )
    key = key.strip() if key.strip().startswith("annotation") else key.strip().lower()
    return key, value


def _with_attributes(output: Output, attributes: Mapping[str, str]) -> Output:
    own: dict[str, Any] = {}
    form: dict[str, Any] = {}
    annotations = {}
    allowed = _TYPES[output.type]
    for key, value in attributes.items():
        if found := _ANNOTATION.fullmatch(key):
            if not output.has_image:
                raise _unknown(output.type, key, allowed)
            annotations[_annotation_key(found)] = value
            continue
        if key in _REFUSED and output.has_image:
            _REFUSED[key](key, value)
            continue
        if key not in allowed:
            raise _unknown(output.type, key, allowed)
        target, name, convert = _ATTRIBUTES[key]
        (form if target == "form" else own)[name] = convert(key, value)
    level = form.pop("level", "")
    if level:
        form["compression"] = f"{form.get('compression') or 'gzip'}:{level}"
    return replace(output, **own, form=Form(**form), annotations=annotations)


def _checked(output: Output) -> Output:
    """Return *output*; `FormatError` if its attributes do not fit each other."""
    output.form.check()
    if output.to_directory:
        if not output.dest:
            raise FormatError(f"dest is required for {output.type} output", hint="add dest=DIR")
        if output.to_stdout:
            raise FormatError(
                f"dest cannot be stdout for {output.type} output",
                hint="write dest=DIR, or type=tar for an archive on standard output",
            )
    if not output.dest and output.type in ("tar", "oci"):
        return replace(output, dest=STDOUT)
    if output.type == "docker" and not output.tar and not output.dest:
        raise FormatError("dest is required with tar=false", hint="add dest=DIR")
    if output.push_by_digest and not output.push:
        raise FormatError("push-by-digest=true requires push=true")
    if not output.store and not output.push:
        raise FormatError(
            "store=false without push=true would keep the image nowhere", hint="use type=cacheonly"
        )
    return output


def _unknown(kind: str, key: str, allowed: tuple[str, ...]) -> FormatError:
    near = suggest(key, allowed)
    known = ", ".join([*allowed, *(("annotation.KEY",) if "compression" in allowed else ())])
    hint = f"supported: {known}" if known else f"type={kind} has no attributes"
    return FormatError(
        f"unknown attribute {key!r} for output type {kind}{near}", hint="" if near else hint
    )


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(names)


# -- values ---------------------------------------------------------------------------------


def _boolean(key: str, value: str) -> bool:
    found = boolean_of(value or "true")  # as BuildKit: push= is push=true
    if found is None:
        raise FormatError(f"invalid value {value!r} for {key}: expected true or false")
    return found


def _oci_types(key: str, value: str) -> bool:
    return not _boolean(key, value)


def _text(key: str, value: str) -> str:
    if not value:
        raise FormatError(f"the value of {key} is empty")
    return value


def _dest(key: str, value: str) -> str:
    return STDOUT if value in _STDOUT_FILES else _text(key, value)


def _number(key: str, value: str) -> str:
    if not (value.isascii() and value.isdigit() and len(value) < 4):
        raise FormatError(f"invalid value {value!r} for {key}: expected a number")
    return value


def _names(key: str, value: str) -> tuple[str, ...]:
    names = tuple(filter(None, value.split(",")))
    for name in names:
        Reference.parse_new(name)
    return names


def _delete(key: str, value: str) -> bool:
    if value not in ("copy", "delete"):
        raise FormatError(f"invalid value {value!r} for {key}: expected copy or delete")
    return value == "delete"


def _foreign_layers(key: str, value: str) -> None:
    if _boolean(key, value):
        raise FormatError(
            f"{key}=true is not supported",
            hint="non-distributable layers are exported like all others",
        )


def _dangling(key: str, value: str) -> None:
    raise FormatError(f"{key} is not supported", hint="an image without a name is listed by its ID")


def _canonical(key: str, value: str) -> None:
    _boolean(key, value)  # an image is always found by NAME@DIGEST


#: attribute -> what has the value (the output or its form), the field, and how it is read
_ATTRIBUTES: Final[Mapping[str, tuple[str, str, Callable[[str, str], Any]]]] = {
    "dest": ("output", "dest", _dest),
    "name": ("output", "names", _names),
    "mode": ("output", "delete", _delete),
    "platform-split": ("output", "platform_split", _boolean),
    "tar": ("output", "tar", _boolean),
    "push": ("output", "push", _boolean),
    "push-by-digest": ("output", "push_by_digest", _boolean),
    "store": ("output", "store", _boolean),
    "unpack": ("output", "unpack", _boolean),
    "registry.insecure": ("output", "insecure", _boolean),
    "compression": ("form", "compression", _text),
    "compression-level": ("form", "level", _number),
    "force-compression": ("form", "force", _boolean),
    "oci-mediatypes": ("form", "docker", _oci_types),
    "rewrite-timestamp": ("form", "rewrite_timestamp", _boolean),
}
#: attributes of images that are read, and refused where they ask for what there is not
_REFUSED: Final[Mapping[str, Callable[[str, str], None]]] = {
    "prefer-nondist-layers": _foreign_layers,
    "dangling-name-prefix": _dangling,
    "name-canonical": _canonical,
}
_FORM: Final = tuple(key for key, (target, _, _) in _ATTRIBUTES.items() if target == "form")
_LAYOUT: Final = ("dest", "name", "tar", *_FORM)
_PUSHED: Final = ("push", "push-by-digest", "store", "unpack", "registry.insecure")
_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "local": ("dest", "mode", "platform-split"),
    "tar": ("dest", "platform-split"),
    "oci": _LAYOUT,
    "docker": _LAYOUT,
    "image": ("name", *_PUSHED, *_FORM),
    "registry": ("name", *_PUSHED, *_FORM),
    "cacheonly": (),
}
_ANNOTATION: Final = re.compile(
    r"annotation(?:-(index-descriptor|manifest-descriptor|index|manifest))?"
    r"(?:\[([^\]]*)\])?\.(.+)",
    re.DOTALL,
)


def _annotation_key(found: re.Match[str]) -> str:
    platform = f"[{found[2]}]" if found[2] else ""
    key = f"{found[1] or 'manifest'}{platform}:{found[3]}"
    split_key(key)  # refuses those of an index
    return key
