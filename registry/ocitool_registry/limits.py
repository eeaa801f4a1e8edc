"""How much the other end may send, and how long it may take: every limit with its unit.

Those of documents (manifests, configs, layers of an image) are in `ocitool.oci.limits`.
"""

from __future__ import annotations

from typing import Final

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB

# -- what a registry may answer a client ---------------------------------------------------

TOKEN_REPLY: Final = _MIB  # bytes of a token server's answer
ERROR_TEXT: Final = 16 * _KIB  # bytes of an error; what is longer is a web page, not a message
FIELD: Final = 8 * _KIB  # characters of a WWW-Authenticate or Link header field; longer is ignored
LISTING_PAGE: Final = 16 * _MIB  # bytes of one page of tags or repositories
LISTING: Final = 64 * _MIB  # bytes of all its pages
LISTING_PAGES: Final = 10_000
REDIRECTS: Final = 10  # in a row

# -- where credentials come from -----------------------------------------------------------

AUTHFILE: Final = 4 * _MIB  # bytes of config.json or auth.json
HELPER_OUTPUT: Final = _MIB  # bytes that a credential helper may print
HELPER_TIME: Final = 60.0  # seconds that it may take; some ask the user for a passphrase

# -- what a client may ask of a server -----------------------------------------------------

HEAD: Final = 64 * _KIB  # bytes of a request line and its header fields
THREADS: Final = 256  # requests that are served at once
CONNECTIONS: Final = 10_000  # open at once; fewer where the process may have fewer descriptors
IDLE: Final = 60.0  # seconds that a connection may rest between two requests
#: Seconds that a client is waited for: for all of a head, and for each `STRETCH` of a body that
#: it sends or takes.
PATIENCE: Final = 30.0
STRETCH: Final = 32 * _KIB  # bytes
HURRY: Final = 6  # parts of the patience; one is enough while other requests wait for a thread
DRAIN: Final = 32 * _MIB  # bytes of a refused body that are read before hanging up
UPLOADS: Final = 1000  # open at once
UPLOAD_IDLE: Final = 3600.0  # seconds without a byte after which an upload is given up
UPLOAD_EMPTY: Final = 600.0  # the same, for one that never had any
RETRY_AFTER: Final = 60  # seconds that a client is told to wait when there are too many uploads
