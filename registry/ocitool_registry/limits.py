"""Limits on size and duration of what the other end sends, with their units.

Those of documents (manifests, configs, layers of an image) are in `ocitool.oci.limits`.
"""

from __future__ import annotations

from typing import Final

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB

# -- responses of a registry ---------------------------------------------------------------

TOKEN_REPLY: Final = _MIB  # bytes of a token server's response
ERROR_TEXT: Final = 16 * _KIB  # bytes of an error response; a longer one is a web page
FIELD: Final = 8 * _KIB  # characters of a WWW-Authenticate or Link header field; longer is ignored
LISTING_PAGE: Final = 16 * _MIB  # bytes of one page of tags or repositories
LISTING: Final = 64 * _MIB  # bytes of all its pages
LISTING_PAGES: Final = 10_000
REDIRECTS: Final = 10  # in a row

# -- credential files and helpers -----------------------------------------------------------

AUTHFILE: Final = 4 * _MIB  # bytes of config.json or auth.json
HELPER_OUTPUT: Final = _MIB  # bytes of output of a credential helper
HELPER_TIME: Final = 60.0  # seconds it may run; some ask the user for a passphrase

# -- clients of the server ------------------------------------------------------------------

REQUEST_HEAD: Final = 64 * _KIB  # bytes of a request line and its header fields
THREADS: Final = 256  # requests served at the same time
CONNECTIONS: Final = 10_000  # open at the same time; fewer if RLIMIT_NOFILE is lower
IDLE_TIMEOUT: Final = 60.0  # seconds that a connection may be idle between two requests
#: Seconds to wait for a client: for a whole request head, and for each `STALL_BYTES` of a body that
#: it sends or receives.
STALL_TIMEOUT: Final = 30.0
STALL_BYTES: Final = 32 * _KIB  # bytes
STALL_DIVISOR: Final = 6  # the timeout is divided by this while other requests wait for a thread
DRAIN: Final = 32 * _MIB  # bytes of a rejected body that are read before the connection is closed
UPLOADS: Final = 1000  # open at the same time
UPLOAD_IDLE: Final = 3600.0  # seconds without a byte after which an upload expires
UPLOAD_EMPTY: Final = 600.0  # the same, for an upload without any byte
RETRY_AFTER: Final = 60  # seconds in Retry-After when there are too many uploads
