"""Certificates of files and directories, beside those of the environment: ``--cert-dir``.

Source: containers-certs.d(5): ``*.crt`` are those of CAs; ``*.cert`` with the ``*.key`` of the same
name is the client's.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from typing import Any

import requests
import urllib3

from ocitool.errors import RegistryError


class CertificatesAdapter(requests.adapters.HTTPAdapter):
    """An adapter of requests whose connections know the certificates of *paths*, too."""

    def __init__(self, paths: Sequence[str], *, pool_maxsize: int) -> None:
        self._context = urllib3.util.ssl_.create_urllib3_context()
        for path in paths:
            _load(self._context, path)
        super().__init__(pool_maxsize=pool_maxsize, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> Any:
        return super().init_poolmanager(*args, **kwargs, ssl_context=self._context)

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, **kwargs, ssl_context=self._context)


def _load(context: ssl.SSLContext, top: str) -> None:
    """Load a file with certificates of CAs, or all that a directory has."""
    path = top
    try:
        names = sorted(os.listdir(top)) if os.path.isdir(top) else [""]
        for name in names:
            path = os.path.join(top, name) if name else top
            if not name or name.endswith(".crt"):
                context.load_verify_locations(cafile=path)
            elif name.endswith(".cert"):
                context.load_cert_chain(path, f"{path.removesuffix('.cert')}.key")
            elif name.endswith(".key") and f"{name.removesuffix('.key')}.cert" not in names:
                raise RegistryError(
                    f"the key {name} has no certificate", where=top,
                    hint="a client's certificate is NAME.cert, and its key NAME.key",
                )  # fmt: skip
    except ssl.SSLError as error:
        raise RegistryError(f"invalid certificate or key: {error}", where=path) from error
    except OSError as error:
        raise RegistryError(f"cannot read certificates: {error.strerror}", where=path) from error
