"""Certificates of a directory, beside those of the environment: ``--cert-dir``.

Source: containers-certs.d(5): ``*.crt`` are those of CAs; ``*.cert`` with the ``*.key`` of the same
name is the client's.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

import requests
import urllib3

from ocitool.errors import RegistryError


class CertificatesAdapter(requests.adapters.HTTPAdapter):
    """An adapter of requests whose connections know the certificates of a directory, too."""

    def __init__(self, directory: str, *, pool_maxsize: int) -> None:
        self._context = _context(directory)
        super().__init__(pool_maxsize=pool_maxsize, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> Any:
        return super().init_poolmanager(*args, **kwargs, ssl_context=self._context)

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, **kwargs, ssl_context=self._context)


def _context(directory: str) -> ssl.SSLContext:
    context = urllib3.util.ssl_.create_urllib3_context()
    try:
        names = sorted(os.listdir(directory))
        for name in names:
            path = os.path.join(directory, name)
            if name.endswith(".crt"):
                context.load_verify_locations(cafile=path)
            elif name.endswith(".cert"):
                context.load_cert_chain(path, f"{path.removesuffix('.cert')}.key")
            elif name.endswith(".key") and f"{name.removesuffix('.key')}.cert" not in names:
                raise RegistryError(
                    f"the key {name} has no certificate", where=directory,
                    hint="a client's certificate is NAME.cert, and its key NAME.key",
                )  # fmt: skip
    except ssl.SSLError as error:
        raise RegistryError(f"invalid certificate or key: {error}", where=path) from error
    except OSError as error:
        where = error.filename or directory
        raise RegistryError(f"cannot read certificates: {error.strerror}", where=where) from error
    return context
