"""``python -m pairlab`` is the `pairlab` command."""

from pairlab.cli import main

if __name__ == "__main__":
    main()
