"""Repositories of the model hub: the files that a model or a tokenizer consists of, brought into one folder of the cache.

A repository's file lies at `https://huggingface.co/{repo}/resolve/{revision}/{file}`; a mirror has the same layout after
its own host. Which files a repository has is found by asking for them, so a plain file server will do as a mirror. What
was found is written down beside the files: from then on the folder is used without the net. `main` is therefore the
state of the day of the download; remove the folder to fetch it anew, or name a revision.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import List, Optional, Sequence

from passl.tokenizers.files import VOCABULARIES
from passl.tokenizers.settings import CONFIG_FILE, SPECIAL_TOKENS_FILE
from passl.utils.errors import UserError
from passl.utils.files import write_json
from passl.zoo.downloads import cache_path, fetch, is_offline
from passl.zoo.web import FetchError

HUB = "https://huggingface.co"
OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

# Weights by the config that describes them, the safest kind first.
_WEIGHTS_BESIDE = {
    "open_clip_config.json": OPEN_CLIP_WEIGHTS,
    "config.json": (
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "model_state.pdparams",
    ),
}
_VOCABULARIES = tuple(dict.fromkeys(file for vocabulary in VOCABULARIES for file in vocabulary.files))
_TOKENIZER_FILES = (*_VOCABULARIES, CONFIG_FILE, SPECIAL_TOKENS_FILE)
_MODEL_FOUND, _TOKENIZER_FOUND = ".passl-model.json", ".passl-tokenizer.json"


def hub_address(repo: str, file: str, revision: str = "main") -> str:
    """The address of a file of a repository.

    Raises:
        UserError: a name that no repository, revision or file can have.
    """
    for kind, name, pattern in (
        ("repository", repo, r"[\w.-]+(/[\w.-]+)?"),
        ("revision", revision, r"[\w.-]+"),
        ("file", file, r"[\w.-]+"),
    ):
        if not re.fullmatch(pattern, name, re.ASCII) or ".." in name:
            raise UserError(
                f"{name!r} is no name of a {kind} of the model hub; organisation/name is accepted for a repository"
            )
    return f"{HUB}/{repo}/resolve/{revision}/{file}"


def hub_folder(repo: str, revision: str = "main") -> Path:
    """A folder with a repository's model: its config, its weights, and the files of its tokenizer if it has any.

    Raises:
        UserError: the repository has no config or no weights that are known, or they cannot be fetched.
    """
    folder = _folder(repo, revision)
    if _found(folder, _MODEL_FOUND) is None:
        config = fetch_first(repo, list(_WEIGHTS_BESIDE), revision)
        weights = fetch_first(repo, _WEIGHTS_BESIDE[config.name], revision)
        files = [config.name, weights.name]
        if weights.name.endswith(".index.json"):
            files += _fetch_shards(weights, repo, revision)
        files += _fetch_those_there(repo, ("preprocessor_config.json", *_TOKENIZER_FILES), revision)
        _write_found(folder, _MODEL_FOUND, files)
    return folder


def tokenizer_folder(repo: str, revision: str = "main") -> Path:
    """A folder with the files of a repository's tokenizer.

    Raises:
        UserError: the repository has none, or they cannot be fetched.
    """
    folder = _folder(repo, revision)
    if _found(folder, _TOKENIZER_FOUND) is None:
        files = _fetch_those_there(repo, _TOKENIZER_FILES, revision)
        if not set(files) & set(_VOCABULARIES):
            fetch_first(repo, _VOCABULARIES, revision)  # says why there is none
        _write_found(folder, _TOKENIZER_FOUND, files)
    return folder


def fetch_first(repo: str, files: Sequence[str], revision: str = "main") -> Path:
    """The first of some files that the repository has; one that is in the cache already comes before the others.

    Raises:
        FetchError: it has none of them, or they cannot be fetched.
    """
    addresses = [hub_address(repo, file, revision) for file in files]
    for address in addresses:
        if cache_path(address).is_file():
            return fetch(address)
    for address in addresses:
        path = _fetch_if_there(address)
        if path is not None:
            return path
    raise FetchError(
        f"{HUB}/{repo} (revision {revision}) has none of {', '.join(files)}: give the path of a local file", 404
    )


def _fetch_if_there(address: str) -> Optional[Path]:
    try:
        return fetch(address)
    except FetchError as error:
        if error.status != 404:
            raise
        return None


def _fetch_those_there(repo: str, files: Sequence[str], revision: str) -> List[str]:
    """The names of those files that the repository has, after fetching them; offline, of those in the cache."""
    if is_offline():
        return [file for file in files if (_folder(repo, revision) / file).is_file()]
    return [file for file in files if _fetch_if_there(hub_address(repo, file, revision)) is not None]


def _fetch_shards(index: Path, repo: str, revision: str) -> List[str]:
    """Fetches the files that an index of sharded weights names."""
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        addresses = [hub_address(repo, shard, revision) for shard in shards]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{index} is no index of sharded weights ({error!r}); remove it to fetch it anew") from None
    for address in addresses:
        fetch(address)
    return shards


def _folder(repo: str, revision: str) -> Path:
    return cache_path(hub_address(repo, "any", revision)).parent


def _found(folder: Path, note: str) -> Optional[List[str]]:
    """The files that were fetched before, if they are all there still."""
    try:
        files = json.loads((folder / note).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return files if all((folder / file).is_file() for file in files) else None


def _write_found(folder: Path, note: str, files: Sequence[str]) -> None:
    if not is_offline():  # offline, only the cache was looked at
        write_json(folder / note, list(files))
