"""`python -m passl`."""

import sys

from passl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
