"""Where a machine has certificates: of the system's CAs, and of a registry for other engines.

Source: Go's crypto/x509, root_linux.go; containers-certs.d(5); docker's manual, "Verify repository
client with certificates".
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
#: Debian, Fedora, openSUSE, OpenELEC, RHEL 7, Alpine.
BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_REGISTRIES: Final = ("/etc/containers/certs.d", "/etc/docker/certs.d")


def bundle() -> str:
    """Return the file, or directory, with the CAs of the environment or the system, or ``""``."""
    for name in _VARIABLES:
        if value := os.environ.get(name):
            return value
    return next(filter(os.path.exists, BUNDLES), "")


def directory(host: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the directory with podman's or docker's certificates for *host*, or ``""``."""
    home = environ.get("HOME", "")
    own = environ.get("XDG_CONFIG_HOME") or (home and os.path.join(home, ".config"))
    tops = (own and os.path.join(own, "containers", "certs.d"), *_REGISTRIES)
    paths = (os.path.join(top, host) for top in tops if top)
    return next((path for path in paths if os.access(path, os.R_OK | os.X_OK)), "")
