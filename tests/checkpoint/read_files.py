"""Reads every weight file below a folder with little memory and says what became of each, as JSON.

    python tests/checkpoint/read_files.py FOLDER MAX_INSTRUCTIONS

Run by test_altered_files.py. A folder with an index, or with parts, is read as a set. Pickles that only grow end at
MAX_INSTRUCTIONS, which may be lower than the reader's own limit to save time. Without Paddle: reading does not need it.
"""

import json
import resource
import sys
from pathlib import Path

from passl.checkpoint import pickles
from passl.checkpoint.weights import read_weights, weights_hash
from passl.utils.errors import UserError

MEMORY = 600 << 20


def outcome(path):
    try:
        arrays = read_weights(path)
    except UserError as error:
        return {"refused": str(error)}
    except Exception as error:  # any other exception is what the test looks for
        return {"crashed": f"{type(error).__name__}: {error}"}
    return {"hash": weights_hash(arrays), "bytes": sum(array.nbytes for array in arrays.values())}


def main():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    folder = Path(sys.argv[1])
    pickles.MAX_INSTRUCTIONS = int(sys.argv[2])
    kinds = sorted(folder.iterdir())
    outcomes = {kind.name: {path.stem: outcome(path) for path in sorted(kind.iterdir())} for kind in kinds}
    # Not getrusage: its peak counts what the parent held when it forked this process.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) << 10
    print(json.dumps({"outcomes": outcomes, "peak": peak, "paddle": "paddle" in sys.modules}))


if __name__ == "__main__":
    main()
