"""Door: ``python -m shim run|doctor|check|env``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
