"""Private SSH keys in files: their public half, and signatures by them.

Source: RFC 4253, section 6.6; RFC 5656, section 3.1; RFC 8332, section 3; RFC 8709, section 6.
"""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ocitool.builder.secrets.ssh.protocol import (
    RSA_SHA2_256,
    RSA_SHA2_512,
    mpint,
    string,
)
from ocitool.errors import BuildError
from ocitool.inputfile import read_input_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

_LARGEST: Final = 100 << 10  # bytes of a file, as in BuildKit
_HINT: Final = "--ssh takes the socket of an agent, or files of private keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One private key: a blob that names it, and what signs with it."""

    public: bytes  # the key blob of the protocol
    comment: str
    sign: Callable[[bytes, int], bytes]  # data and flags to a signature blob


def load(path: str) -> Key:
    """Return the key in a file; `BuildError` if it has a passphrase, or is of another kind."""
    try:
        data = read_input_file(path, _LARGEST, hint=_HINT)
    except OSError as error:
        raise BuildError(
            f"failed to read SSH key: open {path}: {error.strerror}", hint=_HINT
        ) from error
    key = _parsed(path, data)
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if isinstance(key, ed25519.Ed25519PrivateKey):
        sign = _ed25519(key)
    elif isinstance(key, rsa.RSAPrivateKey):
        sign = _rsa(key)
    elif isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        sign = _ecdsa(key)
    else:
        raise _unsupported(path)
    text = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return Key(public=b64decode(text.split()[1]), comment=os.path.basename(path), sign=sign)


def _parsed(path: str, data: bytes) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        load_pem_private_key,
        load_ssh_private_key,
    )

    read = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in data else load_pem_private_key
    try:
        return read(data, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        if isinstance(error, TypeError) or "passphrase" in str(error) or "password" in str(error):
            raise BuildError(
                f"the SSH key {path} is protected by a passphrase",
                hint="add it to an agent with ssh-add, and use --ssh default",
            ) from None
        if isinstance(error, UnsupportedAlgorithm):
            raise _unsupported(path) from None
        raise BuildError(f"{path} is not a private SSH key", hint=_HINT) from None


def _unsupported(path: str) -> BuildError:
    return BuildError(
        f"the type of the SSH key {path} is not supported",
        hint="use a key of ed25519, ecdsa or rsa, or an agent that has this one",
    )


def _ed25519(key: ed25519.Ed25519PrivateKey) -> Callable[[bytes, int], bytes]:
    return lambda data, flags: string(b"ssh-ed25519") + string(key.sign(data))


def _rsa(key: rsa.RSAPrivateKey) -> Callable[[bytes, int], bytes]:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    def sign(data: bytes, flags: int) -> bytes:
        name, kind = b"ssh-rsa", "SHA1"  # what a client without flags expects
        if flags & RSA_SHA2_512:
            name, kind = b"rsa-sha2-512", "SHA512"
        elif flags & RSA_SHA2_256:
            name, kind = b"rsa-sha2-256", "SHA256"
        return string(name) + string(key.sign(data, PKCS1v15(), getattr(hashes, kind)()))

    return sign


#: Names of curves, and the hash that signatures with each are of.
_CURVES: Final = {
    "secp256r1": ("nistp256", "SHA256"),
    "secp384r1": ("nistp384", "SHA384"),
    "secp521r1": ("nistp521", "SHA512"),
}


def _ecdsa(key: ec.EllipticCurvePrivateKey) -> Callable[[bytes, int], bytes]:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    name, kind = _CURVES[key.curve.name]

    def sign(data: bytes, flags: int) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ECDSA(getattr(hashes, kind)())))
        return string(f"ecdsa-sha2-{name}".encode()) + string(mpint(r) + mpint(s))

    return sign
