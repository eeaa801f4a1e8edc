"""The host's side of a sandbox: it makes the plan, starts the shim and waits for the end."""

import os

#: Of ``sys.path``: where a bare interpreter finds `ocitool_runtime`.
LIBRARY = os.path.realpath(f"{__file__}/../../..")
