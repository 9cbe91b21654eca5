"""Published weights by tag, by address and by name on the model hub; from any of them to a file on this machine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

from passl.utils.errors import UserError
from passl.utils.files import PathLike
from passl.utils.logging import get_logger
from passl.utils.registry import nearest
from passl.zoo.downloads import cache_path, fetch
from passl.zoo.hub import HUB, OPEN_CLIP_WEIGHTS, fetch_first, hub_address, hub_folder
from passl.zoo.names import architecture_of
from passl.zoo.published import PUBLISHED, Source
from passl.zoo.sizes import OPENAI_SPELLING, QUICK, QUICK_ENDING
from passl.zoo.web import FetchError

HUB_PREFIX = "hf-hub:"
_ACCEPTED = (
    "a file or a folder with weights, an https:// address, hf-hub:organisation/name (with @revision, if you like), or the "
    "tag of published weights (passl.list_pretrained())"
)


@dataclass(frozen=True)
class Pretrained:
    """Weights that were published for a model.

    Attributes:
        name: the model that they were trained as.
        tag: theirs among the weights of that model.
        source: where they lie.
    """

    name: str
    tag: str
    source: Source

    @property
    def activation(self) -> Optional[str]:
        """What they were trained with, where there is a model of the same sizes with another activation."""
        if self.name.endswith(QUICK_ENDING):
            return "quick_gelu"
        return "gelu" if self.name in QUICK else None

    @property
    def preprocessing(self) -> Optional[Dict[str, Any]]:
        """How pictures are prepared, where that is not as the name has it: mean, std, interpolation, resize_mode."""
        if self.source.images is None:
            return None
        return dict(zip(("mean", "std", "interpolation", "resize_mode"), self.source.images))


@dataclass(frozen=True)
class Located:
    """Weights on this machine, and what is known of them before they are read.

    Attributes:
        path: a file or a folder; None if no weights were asked for.
        family: their layout, as `passl.checkpoint` names it; None where reading must tell.
        activation: what they need; None where nothing is known.
        preprocessing: mean, std, interpolation and resize_mode, where they are not as the model's name has them.
        label: what to call them in messages.
        model: the model that they were published for; None where that is not known.
        is_unverified: whether they were downloaded as one file without a hash to check it by.
    """

    path: Optional[Path]
    family: Optional[str] = None
    activation: Optional[str] = None
    preprocessing: Optional[Dict[str, Any]] = None
    label: str = "no weights"
    model: Optional[str] = None
    is_unverified: bool = False


def list_pretrained(as_str: bool = False) -> List[Union[Tuple[str, str], str]]:
    """The published weights that can be loaded by tag.

    Args:
        as_str: give `name:tag` in place of pairs.

    Returns:
        pairs (name, tag); `create_model(name, pretrained=tag)` takes them.

    Example:
        >>> ("ViT-B-32-quickgelu", "openai") in list_pretrained()
        True
    """
    return [f"{name}:{tag}" if as_str else (name, tag) for name, tags in PUBLISHED.items() for tag in tags]


def pretrained_of(name: str, tag: str) -> Pretrained:
    """The published weights of a model by their tag; capitals and `-` for `_` do not matter.

    Raises:
        UserError: no such model; no weights of that tag; or they were trained with another activation than the name says.
    """
    name = OPENAI_SPELLING.get(name, name)
    found = _find(name, tag)
    if found is not None:
        return found
    other = _find(_twin(name), tag)
    if other is not None:
        raise _contradiction(other, name)
    architecture_of(name)  # a name that is none says which is nearest
    models = [model for model in (name, _twin(name)) if model in PUBLISHED]
    known = [f"{model}: {', '.join(PUBLISHED[model])}" for model in models]
    hint = nearest(_clean(tag), [known_tag for model in models for known_tag in PUBLISHED[model]])
    raise UserError(
        f"{name} has no published weights {tag!r}.{hint} Tags of {' · of '.join(known) or 'it: none'}. Accepted: {_ACCEPTED}"
    )


def known_address(address: str, name: Optional[str] = None) -> Optional[Pretrained]:
    """The published weights that lie at an address; None if it is not one that is known.

    Args:
        address: https://…
        name: the model wanted, where several may have the same file.
    """
    plain = address.partition("#")[0].partition("?")[0]
    found = [
        Pretrained(model, tag, source)
        for model, tags in PUBLISHED.items()
        for tag, source in tags.items()
        if plain == source.address or (source.repo and plain.startswith(f"{HUB}/{source.repo}/resolve/"))
    ]
    wanted = [published for published in found if published.name == OPENAI_SPELLING.get(name or "", name)]
    return (wanted or found or [None])[0]


def locate(name: Optional[str], pretrained: Optional[PathLike]) -> Located:
    """Weights as a user names them, on this machine; what is not there is downloaded.

    Args:
        name: the model that they are for; None if it is not one with a name.
        pretrained: a tag of that model, an address, `hf-hub:organisation/name`, or a path. A tag comes before a file of
            the same name; start the path with `./` to mean the file.

    Raises:
        UserError: none of them; weights whose activation contradicts the model's name; and what `fetch` raises.
    """
    if pretrained is None:
        return Located(None)
    given = os.fspath(pretrained)
    name = OPENAI_SPELLING.get(name or "", name)
    if isinstance(pretrained, str):
        if name is not None and (_find(name, given) or _find(_twin(name), given)):
            return _locate_published(pretrained_of(name, given))
        folder = hub_path(given)
        if folder is not None:
            return Located(folder, label=given)
        if re.match("[a-z]+://", given, re.IGNORECASE):
            return _locate_address(given, name)
    if os.path.exists(given):
        return Located(Path(given), label=given)
    if name is not None and re.fullmatch(r"[\w-]+", given):  # neither a folder nor an ending: it was meant as a tag
        pretrained_of(name, given)
    raise UserError(f"pretrained weights {given!r}: there is no such file or folder. Accepted: {_ACCEPTED}")


def hub_path(name: str, with_weights: bool = True) -> Optional[Path]:
    """The folder of `hf-hub:organisation/name` in the cache, fetched if it is not there; None for any other text.

    Args:
        name: what a user gave.
        with_weights: whether the weights are wanted too, or config and tokenizer alone.

    Raises:
        UserError: the repository has no model that is known, or cannot be fetched.
    """
    if not name.startswith(HUB_PREFIX):
        return None
    repo, _, revision = name[len(HUB_PREFIX) :].partition("@")
    return hub_folder(repo, revision or "main", with_weights)


def _locate_published(published: Pretrained) -> Located:
    """Fetches weights from where their hash is published; if that fails, the copy on the model hub."""
    source = published.source
    if source.address is not None and (source.sha256 or source.repo is None) and not _is_copy_here(source):
        try:
            return _located(published, fetch(source.address, source.sha256), source.family)
        except FetchError as error:
            if source.repo is None:
                raise
            get_logger().warning("%s. Taking the copy in %s/%s", error, HUB, source.repo)
    return _located(published, fetch_first(source.repo, OPEN_CLIP_WEIGHTS), "open_clip")


def _is_copy_here(source: Source) -> bool:
    """Whether the cache has the copy from the model hub, and not the file that the hash is of."""
    if source.repo is None or cache_path(source.address).is_file():
        return False
    return any(cache_path(hub_address(source.repo, file)).is_file() for file in OPEN_CLIP_WEIGHTS)


def _locate_address(address: str, name: Optional[str]) -> Located:
    published = known_address(address, name)
    if published is None:
        return Located(fetch(address), label=address, is_unverified=True)
    if name is not None and published.name == _twin(name):
        raise _contradiction(published, name)
    if address == published.source.address:
        return _located(published, fetch(address, published.source.sha256), published.source.family)
    return _located(published, fetch(address), "open_clip")


def _located(published: Pretrained, path: Path, family: str) -> Located:
    label = f"{published.tag} of {published.name}"
    source = published.source
    has_no_hash = source.address is not None and source.sha256 is None and path == cache_path(source.address)
    known = (path, family, published.activation, published.preprocessing, label, published.name)
    return Located(*known, is_unverified=has_no_hash)


def _clean(tag: str) -> str:
    return tag.lower().replace("-", "_")


def _find(name: str, tag: str) -> Optional[Pretrained]:
    source = PUBLISHED.get(name, {}).get(_clean(tag))
    return None if source is None else Pretrained(name, _clean(tag), source)


def _twin(name: str) -> str:
    """The name of the model with the same sizes and the other activation."""
    return name[: -len(QUICK_ENDING)] if name.endswith(QUICK_ENDING) else name + QUICK_ENDING


def _contradiction(published: Pretrained, name: str) -> UserError:
    theirs, ours = ("QuickGELU", "GELU") if published.name.endswith(QUICK_ENDING) else ("GELU", "QuickGELU")
    return UserError(
        f"the weights {published.tag!r} were trained as {published.name}, with {theirs}; {name} has {ours} and would give "
        f"wrong features with them. Ask for the model {published.name!r}"
    )
