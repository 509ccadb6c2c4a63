"""`python -m kcompile` is the console script `kcompile`."""

import sys

from kcompile.cli import main

if __name__ == "__main__":
    sys.exit(main())
