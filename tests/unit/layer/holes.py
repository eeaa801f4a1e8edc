"""Sparse members, in each of the forms that there are."""

from __future__ import annotations

import os

from tests.unit.layer.tars import extended, header, padded, record

FORMS = ("gnu", "0.0", "0.1", "1.0")
GNU = b"ustar  \0"
#: Whoever unpacks them, so that every user can.
OWNER = {"uid": b"%o" % os.geteuid(), "gid": b"%o" % os.getegid()}


def sparse(form, size, runs, name=b"f", **claims):
    """One member of *size* bytes; *runs* are the offsets of data, and the data.

    *claims* say something else than what is so: ``spans`` the map, ``count`` its length.
    """
    data = b"".join(content for _, content in runs)
    spans = claims.get("spans", [(at, len(content)) for at, content in runs])
    count = claims.get("count", len(spans))
    if form == "gnu":
        return _gnu(name, size, spans, data)
    records = record(b"GNU.sparse.name", name)
    if form == "1.0":
        numbers = [count, *(number for span in spans for number in span)]
        data = padded(b"".join(b"%d\n" % number for number in numbers)) + data
        records += record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0")
        records += record(b"GNU.sparse.realsize", b"%d" % size)
    else:
        records += record(b"GNU.sparse.size", b"%d" % size)
        records += record(b"GNU.sparse.numblocks", b"%d" % count)
    if form == "0.0":
        for at, length in spans:
            records += record(b"GNU.sparse.offset", b"%d" % at)
            records += record(b"GNU.sparse.numbytes", b"%d" % length)
    elif form == "0.1":
        numbers = ",".join(str(number) for span in spans for number in span)
        records += record(b"GNU.sparse.map", numbers.encode())
    made_up = header(b"GNUSparseFile.0/f", size=b"%o" % len(data), **OWNER)
    return extended(records) + made_up + padded(data)


def _gnu(name, size, spans, data):
    fields = [b"%011o\0%011o\0" % span for span in spans]
    parts = [fields[at : at + 21] for at in range(4, len(fields), 21)]
    blocks = b""
    for at, part in enumerate(parts):
        more = b"\1" if at + 1 < len(parts) else b"\0"
        blocks += padded(b"".join(part).ljust(504, b"\0") + more)
    rest = b"".join(fields[:4]).ljust(96, b"\0") + (b"\1" if parts else b"\0")
    rest += b"%011o\0" % size if size < 8 << 30 else b"\x80" + size.to_bytes(11, "big")
    # GNU's times of access and change stand where ustar has the prefix, then the map.
    prefix = bytes(41) + rest
    head = header(name, kind=b"S", magic=GNU, size=b"%o" % len(data), prefix=prefix, **OWNER)
    return head + blocks + padded(data)


def whole(size, runs):
    """The content that such a member has."""
    content = bytearray(size)
    for at, data in runs:
        content[at : at + len(data)] = data
    return bytes(content)
