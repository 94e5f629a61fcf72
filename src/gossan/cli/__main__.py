"""``python -m gossan.cli``."""

from gossan.cli.commands import main

if __name__ == "__main__":  # and not where a model file names it
    main()
