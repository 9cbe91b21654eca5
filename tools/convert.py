"""Convert weights: `python tools/convert.py SOURCE TARGET`. The same as `passl convert`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a clone that is not installed

from passl.cli.main import main

if __name__ == "__main__":
    sys.exit(main(command="convert"))
