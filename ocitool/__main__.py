"""``python -m ocitool``."""

from ocitool.cli.main import main

main()
