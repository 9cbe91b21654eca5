"""Lists of texts as a config gives them: by the name of a known set, in a text file, or written out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, List, Mapping, Sequence, Tuple

from passl.utils.errors import UserError
from passl.utils.registry import nearest


def read_named_list(value: Any, known: Mapping[str, Sequence[str]], kind: str) -> List[Tuple[str, str]]:
    """The entries that `value` stands for, each with the place where it stands (for error messages).

    Args:
        value: a name in `known`, a list of strings, or the path of a .txt file with one entry a line (UTF-8; empty
            lines are skipped). White space around an entry is dropped.
        known: the known sets.
        kind: what an entry is, in the plural, as error messages say it ("templates").

    Raises:
        UserError: an unknown name, a file that is missing or not UTF-8, an empty list, or entries that are no text.
    """
    if isinstance(value, str) and value in known:
        entries = [(entry, f"{kind} {value!r}") for entry in known[value]]
    elif isinstance(value, os.PathLike) or (isinstance(value, str) and value.endswith(".txt")):
        entries = _read_file(Path(value), kind)
    elif isinstance(value, (list, tuple)):
        for number, entry in enumerate(value, start=1):
            if not isinstance(entry, str) or not entry.strip():
                raise UserError(f"entry {number} of {kind} is not a text but {entry!r}")
        entries = [(entry.strip(), f"entry {number} of {kind}") for number, entry in enumerate(value, start=1)]
    elif isinstance(value, str):
        raise UserError(
            f"there is no known set of {kind} named {value!r}.{nearest(value, known)} Accepted: {', '.join(known)}; "
            "or a list of texts; or the path of a .txt file with one a line"
        )
    else:
        raise UserError(
            f"{kind} are the name of a known set ({', '.join(known)}), a list of texts, or the path of a .txt file "
            f"with one a line, not {type(value).__name__}: {value!r:.80}"
        )
    if not entries:
        raise UserError(f"{kind}: {value!r:.200} holds no entry")
    return entries


def _read_file(path: Path, kind: str) -> List[Tuple[str, str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: the file is not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{kind}: the file {path} cannot be read: {error.strerror}") from error
    lines = text.replace("\r\n", "\n").split("\n")
    return [(line.strip(), f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()]
