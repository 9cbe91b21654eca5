"""One file or folder of weights into another toolkit's form: read, identified, written whole or not at all.

Nothing is computed on the way: arrays are renamed, transposed, split or joined, and keep their number format (but for
bfloat16, which becomes float32 exactly), so that converting there and back gives the same bits.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

import numpy as np

from passl.checkpoint import implied_activation, save_model_folder, to_family, write_weights
from passl.checkpoint.folders import CONFIG_FILE, WEIGHTS_FILE
from passl.tokenizers import ClipTokenizer, Tokenizer, build_tokenizer
from passl.tokenizers.bpe import BUNDLED_VOCABULARY, VOCABULARY_NOTICE
from passl.tokenizers.files import SETTINGS_FILES, VOCABULARIES
from passl.utils.errors import UserError
from passl.utils.files import PathLike, atomic_folder, atomic_path, write_json
from passl.utils.registry import nearest
from passl.zoo.foreign_configs import huggingface_files, open_clip_files, paddlemix_files
from passl.zoo.reading import Checkpoint, differing, identify, read_checkpoint, spec_of
from passl.zoo.recognition import openai_architecture
from passl.zoo.verification import Agreement, compare

Arrays = Mapping[str, np.ndarray]
Spec = Mapping[str, Any]

# What each layout may be written as, besides a folder: file endings. Names of PyTorch's toolkits go with PyTorch's
# orientation of matrices, which no .pdparams file has.
_ENDINGS = {
    "passl": (".safetensors", ".pdparams"),
    "passl-2021": (".pdparams", ".safetensors"),
    "openai": (".safetensors",),
    "open_clip": (".safetensors",),
    "huggingface": (),
    "paddlemix": (".pdparams",),
}


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Attributes:
        family: the layout that was read.
        is_certain: whether it could be told from another one with the same names.
        dropped: names of buffers without learned numbers, which were left out.
        to: the layout that was written.
        spec: what the model computes.
        said_by: what told that.
        num_arrays: arrays read.
        num_bytes: their size.
        agreement: how far the outputs before and after differ; None unless that was asked for.
    """

    family: str
    is_certain: bool
    dropped: Tuple[str, ...]
    to: str
    spec: Spec
    said_by: str
    num_arrays: int
    num_bytes: int
    agreement: Optional[Agreement]


def convert(
    source: PathLike,
    target: PathLike,
    from_family: Optional[str] = None,
    to: Optional[str] = None,
    model: Optional[str] = None,
    tokenizer: Optional[PathLike] = None,
    verify: bool = False,
    force: bool = False,
) -> Conversion:
    """Converts weights.

    Args:
        source: a weight file or a folder.
        target: what to write: a file that ends in .safetensors or .pdparams, or a folder.
        from_family: the layout of `source`, where it is not to be recognised.
        to: the layout to write; our own unless said.
        model: the name of the model, where nothing beside the weights says what they compute.
        tokenizer: a folder with the tokenizer's files, for a model whose tokenizer is not CLIP's own and whose files do not
            stand beside the weights.
        verify: compare the outputs before and after on random input.
        force: replace `target` if it is there.

    Raises:
        UserError: a source that is damaged, of another layout or model, or not identified; a target that is there, or a
            form that cannot hold this model; outputs that differ by more than `verification.TOLERANCE`. Nothing is
            written then.
    """
    target, to = Path(target), to or "passl"
    is_file = _is_file(target, to)
    _check_free(target, is_file, force)
    checkpoint = read_checkpoint(source, from_family)
    spec, said_by = identify(checkpoint, model)
    _check_can_be_said(checkpoint, spec, to)
    files = None if is_file else _tokenizer_of(checkpoint, spec, tokenizer)
    agreement = None
    with atomic_path(target) if is_file else atomic_folder(target) as unfinished:
        if is_file:
            _write_file(unfinished, checkpoint.arrays, to, spec)
        else:
            _FOLDERS[to](unfinished, checkpoint.arrays, spec, files)
        if verify:
            agreement = compare(checkpoint, unfinished, to, spec)
        _check_free(target, is_file, force)  # it may have come meanwhile
    return Conversion(
        family=checkpoint.family,
        is_certain=checkpoint.is_certain,
        dropped=checkpoint.dropped,
        to=to,
        spec=spec,
        said_by=said_by,
        num_arrays=len(checkpoint.arrays),
        num_bytes=sum(array.nbytes for array in checkpoint.arrays.values()),
        agreement=agreement,
    )


def _is_file(target: Path, to: str) -> bool:
    """Whether to write a file; if not, a folder. Raises `UserError` for a form that the layout does not have."""
    if to not in _ENDINGS:
        raise UserError(f"--to {to}: there is no such layout.{nearest(to, _ENDINGS)} Accepted: {', '.join(_ENDINGS)}")
    ending = target.suffix
    if ending in _ENDINGS[to]:
        return True
    if to not in _FOLDERS or re.fullmatch(r"\.[A-Za-z]\w*", ending):
        forms = [*_ENDINGS[to], *(["a folder (a name without ending)"] if to in _FOLDERS else [])]
        raise UserError(
            f"{target}: the layout {to} is not written as {ending or 'a folder'}, but as {', '.join(forms)}"
        )
    return False


def _check_free(target: Path, is_file: bool, force: bool) -> None:
    """Raises `UserError` for a target that is there, but for an empty folder; with `force`, for one that is no conversion's."""
    parent = next((folder for folder in target.parents if folder.exists()), Path("."))
    if not parent.is_dir():
        raise UserError(f"{target}: {parent} is a file, and nothing can be written below it; give another name")
    if target.is_symlink() and not target.exists():
        raise UserError(f"{target} is a link to something that does not exist; remove it or give another name")
    if not target.exists():
        return
    if is_file != target.is_file():
        kinds = ("file", "folder") if is_file else ("folder", "file")
        raise UserError(f"{target}: a {kinds[0]} is to be written there, and it is a {kinds[1]}; give another name")
    others = [] if is_file else sorted({entry.name for entry in target.iterdir()} - _WRITTEN)
    if others:
        raise UserError(
            f"{target} holds other files, which writing a model there would remove: {', '.join(others[:5])}; give another name"
        )
    if not force and (is_file or any(target.iterdir())):
        raise UserError(f"{target} is there already; give another name, or --force to replace it")


def _check_can_be_said(checkpoint: Checkpoint, spec: Spec, to: str) -> None:
    """Raises `UserError` if who reads the layout would take the model for another one, because it implies the rest."""
    if implied_activation(to) is None:
        return
    implied = spec_of(openai_architecture(checkpoint.shapes))
    differences = list(differing(spec, implied, ("architecture",)))
    if differences:
        raise UserError(
            f"the layout {to} holds no settings: whoever reads it takes QuickGELU and heads of width 64, and this model has "
            + ", ".join(f"{key}: {ours!r} (not {theirs!r})" for key, ours, theirs in differences)
            + ". Choose another layout, such as --to open_clip or --to huggingface"
        )


def _tokenizer_of(checkpoint: Checkpoint, spec: Spec, folder: Optional[PathLike]) -> Optional[Tokenizer]:
    """The tokenizer that goes into the folder, with its files at hand; None for a model without texts."""
    if spec["tokenizer"] is None:
        return None
    if spec["tokenizer"]["name"] == ClipTokenizer.__name__ and folder is None:
        return build_tokenizer(spec["tokenizer"])
    path = Path(checkpoint.path)
    beside = path if path.is_dir() else path.parent
    try:
        tokenizer = build_tokenizer(spec["tokenizer"], folder=beside if folder is None else folder)
        tokenizer.ids(["a photo"])
    except UserError as error:
        raise UserError(
            f"a folder holds its model's tokenizer, and its files are not at hand: {error}. Name a folder that has them "
            "with --tokenizer FOLDER, or write a .safetensors file, which needs none"
        ) from None
    return tokenizer


def _write_file(path: Path, arrays: Arrays, to: str, spec: Spec) -> None:
    named = to_family(arrays, to)
    if to == "openai":  # the three numbers in OpenAI's archives, by which they are told from open_clip's
        text = spec["architecture"]["text"]
        numbers = {"input_resolution": spec["preprocessing"]["size"], **{key: text[key] for key in _OPENAI_NUMBERS}}
        named.update({name: np.asarray(number, np.int64) for name, number in numbers.items()})
    if path.suffix == ".safetensors":
        own = {"spec": json.dumps(spec)} if to == "passl" else {}
        write_weights(path, named, {"format": "passl" if to == "passl" else "pt", **own})
    else:
        write_weights(path, named)


def _write_own(folder: Path, arrays: Arrays, spec: Spec, tokenizer: Optional[Tokenizer]) -> None:
    save_model_folder(folder, arrays, spec, tokenizer)


def _write_huggingface(folder: Path, arrays: Arrays, spec: Spec, tokenizer: Optional[Tokenizer]) -> None:
    files = huggingface_files(spec, dtype=_number_format(arrays))
    write_weights(folder / "model.safetensors", to_family(arrays, "huggingface"), {"format": "pt"})
    _write_beside(folder, files, tokenizer)


def _write_open_clip(folder: Path, arrays: Arrays, spec: Spec, tokenizer: Optional[Tokenizer]) -> None:
    files = open_clip_files(spec)
    write_weights(folder / "open_clip_model.safetensors", to_family(arrays, "open_clip"), {"format": "pt"})
    _write_beside(folder, files, None if isinstance(tokenizer, ClipTokenizer) else tokenizer)


def _write_paddlemix(folder: Path, arrays: Arrays, spec: Spec, tokenizer: Optional[Tokenizer]) -> None:
    files = paddlemix_files(spec)
    write_weights(folder / "model_state.pdparams", to_family(arrays, "paddlemix"))
    _write_beside(folder, files, tokenizer)


_FOLDERS: Dict[str, Callable[[Path, Arrays, Spec, Optional[Tokenizer]], None]] = {
    "passl": _write_own,
    "huggingface": _write_huggingface,
    "open_clip": _write_open_clip,
    "paddlemix": _write_paddlemix,
}


# What a folder may hold that a conversion replaces: everything that one writes.
_WRITTEN = {
    *(WEIGHTS_FILE, CONFIG_FILE, "model_state.pdparams", "open_clip_config.json", "open_clip_model.safetensors"),
    *("preprocessor_config.json", BUNDLED_VOCABULARY.name, VOCABULARY_NOTICE.name, *SETTINGS_FILES),
    *(file for vocabulary in VOCABULARIES for file in vocabulary.files),
}
_OPENAI_NUMBERS = ("context_length", "vocab_size")


def _write_beside(folder: Path, configs: Mapping[str, Any], tokenizer: Optional[Tokenizer]) -> None:
    for name, content in configs.items():
        write_json(folder / name, content)
    if tokenizer is not None:
        tokenizer.save_huggingface(folder)


def _number_format(arrays: Arrays) -> str:
    """The format that most of the numbers have."""
    counts: Dict[str, int] = {}
    for array in arrays.values():
        counts[array.dtype.name] = counts.get(array.dtype.name, 0) + array.size
    return max(counts, key=lambda name: counts[name])
