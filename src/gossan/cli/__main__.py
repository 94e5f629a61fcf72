"""``python -m gossan.cli``."""

from gossan.cli.commands import main

main()
