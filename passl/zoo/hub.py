"""Repositories of the model hub: the files that a model or a tokenizer consists of, brought into one folder of the cache.

A repository's file lies at `https://huggingface.co/{repo}/resolve/{revision}/{file}`; a mirror has the same layout after
its own host. Which files a repository has is found by asking for them, so a plain file server will do as a mirror. What
was found is written down beside the files: from then on the folder is used without the net. `main` is therefore the
state of the day of the download; remove the folder to fetch it anew, or name a revision.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import List, Sequence, Union

from passl.checkpoint.weights import INDEX_SUFFIX, MODEL_WEIGHTS, OPEN_CLIP_WEIGHTS, PADDLEMIX_WEIGHTS
from passl.tokenizers.files import VOCABULARIES
from passl.tokenizers.settings import CONFIG_FILE, SPECIAL_TOKENS_FILE
from passl.utils.errors import UserError
from passl.utils.files import write_json
from passl.zoo.downloads import cache_path, fetch, is_offline
from passl.zoo.web import FetchError

HUB = "https://huggingface.co"

# Weights by the config that describes them, the safest kind first.
_WEIGHTS_BESIDE = {
    "open_clip_config.json": OPEN_CLIP_WEIGHTS,
    "config.json": (*MODEL_WEIGHTS, PADDLEMIX_WEIGHTS),
}
_VOCABULARIES = tuple(dict.fromkeys(file for vocabulary in VOCABULARIES for file in vocabulary.files))
_TOKENIZER_FILES = (*_VOCABULARIES, CONFIG_FILE, SPECIAL_TOKENS_FILE)
# The notes of what was fetched: a model; all of it but its weights; a tokenizer alone.
_MODEL_FOUND, _CONFIG_FOUND, _TOKENIZER_FOUND = ".passl-model.json", ".passl-config.json", ".passl-tokenizer.json"
# What servers answer for a file that is not there. Plain file servers and object stores often say 403, which the hub
# says of a repository that may not be read: it counts as missing where another of its files came.
_MISSING, _FORBIDDEN = 404, 403


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


def hub_folder(repo: str, revision: str = "main", with_weights: bool = True) -> Path:
    """A folder with a repository's model: its config, its weights, and the files of its tokenizer if it has any.

    Args:
        repo: organisation/name.
        revision: a branch, a tag or a commit.
        with_weights: False fetches the small files alone, to learn what the model is or to get its tokenizer.

    Raises:
        UserError: the repository has no config or no weights that are known, or they cannot be fetched.
    """
    folder = _folder(repo, revision)
    note = _MODEL_FOUND if with_weights else _CONFIG_FOUND
    if not _is_found(folder, _MODEL_FOUND) and not _is_found(folder, note):
        config = fetch_first(repo, list(_WEIGHTS_BESIDE), revision)
        files = [config.name]
        if with_weights:
            weights = fetch_first(repo, _WEIGHTS_BESIDE[config.name], revision)
            files.append(weights.name)
            if weights.name.endswith(INDEX_SUFFIX):
                files += _fetch_shards(weights, repo, revision)
        files += _fetch_those_there(repo, ("preprocessor_config.json", *_TOKENIZER_FILES), revision, is_readable=True)
        _write_found(folder, note, files)
    return folder


def tokenizer_folder(repo: str, revision: str = "main") -> Path:
    """A folder with the files of a repository's tokenizer.

    Raises:
        UserError: the repository has none, or they cannot be fetched.
    """
    folder = _folder(repo, revision)
    if not _is_found(folder, _TOKENIZER_FOUND):
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
    refusals = []
    for address in addresses:
        outcome = _fetch_if_there(address)
        if isinstance(outcome, Path):
            return outcome
        refusals.append(outcome)
    _raise_forbidden(refusals)
    raise FetchError(
        f"{HUB}/{repo} (revision {revision}) has none of {', '.join(files)}: give the path of a local file", 404
    )


def _fetch_those_there(repo: str, files: Sequence[str], revision: str, is_readable: bool = False) -> List[str]:
    """The names of those files that the repository has, after fetching them; offline, of those in the cache.

    Args:
        repo: organisation/name.
        files: each may be missing.
        revision: a branch, a tag or a commit.
        is_readable: whether another file of the repository came already.
    """
    if is_offline():
        return [file for file in files if (_folder(repo, revision) / file).is_file()]
    outcomes = {file: _fetch_if_there(hub_address(repo, file, revision)) for file in files}
    found = [file for file, outcome in outcomes.items() if isinstance(outcome, Path)]
    if not found and not is_readable:
        _raise_forbidden([outcome for outcome in outcomes.values() if isinstance(outcome, FetchError)])
    return found


def _fetch_if_there(address: str) -> Union[Path, FetchError]:
    """The file at an address, or what the server answered if that can mean that there is none."""
    try:
        return fetch(address)
    except FetchError as error:
        if error.status not in (_MISSING, _FORBIDDEN):
            raise
        return error


def _raise_forbidden(refusals: Sequence[FetchError]) -> None:
    """Where nothing came, a 403 among the answers says more than that all are missing."""
    for refusal in refusals:
        if refusal.status == _FORBIDDEN:
            raise refusal


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


def _is_found(folder: Path, note: str) -> bool:
    """Whether a note says what was fetched before, and all of it is there still. A damaged one says nothing."""
    try:
        files = json.loads((folder / note).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return False
    is_list = isinstance(files, list) and bool(files) and all(isinstance(file, str) and file for file in files)
    return is_list and all(os.path.isfile(folder / file) for file in files)


def _write_found(folder: Path, note: str, files: Sequence[str]) -> None:
    if not is_offline():  # offline, only the cache was looked at
        write_json(folder / note, list(files))
