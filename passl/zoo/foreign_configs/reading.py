"""Finding and reading another toolkit's config beside weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping, NoReturn, Optional, Tuple

from passl.tokenizers import tokenizer_spec_from_huggingface
from passl.tokenizers.files import VOCABULARIES
from passl.utils.constants import OPENAI_MEAN, OPENAI_STD
from passl.utils.errors import UserError
from passl.utils.files import PathLike
from passl.utils.logging import get_logger
from passl.utils.registry import nearest
from passl.utils.strict_json import read_mapping
from passl.zoo.foreign_configs import huggingface, images, open_clip, paddlemix

TOKENIZER_FILE = "tokenizer_config.json"
_FILES = {
    "huggingface": huggingface.CONFIG_FILE,
    "open_clip": open_clip.CONFIG_FILE,
    "openai": open_clip.CONFIG_FILE,
    "paddlemix": paddlemix.CONFIG_FILE,
}
# transformers' tokenizers say a number like 1e30 where nothing limits the length of a text.
_NO_LIMIT = 1 << 20


def read_foreign_spec(path: PathLike, family: Optional[str] = None) -> Optional[Tuple[Dict[str, Any], str]]:
    """The specification of the model that another toolkit's config describes, and the file that says so.

    Args:
        path: a folder, in which the config is looked for by its usual name, or the config itself.
        family: whose it is: "huggingface", "open_clip", "openai" (whose weights open_clip's configs go with) or
            "paddlemix"; told from the content unless given.

    Returns:
        the specification with every key filled in, and the file's name; None if the folder has no such config.

    Raises:
        UserError: a config that is no JSON, of another family than said, or of a model that passl cannot build; or
            configs of several families and none is said.
    """
    path = Path(path)
    file = _find(path, family) if path.is_dir() else path
    if file is None:
        return None
    config = _read_json(file)
    if config.get("format") == "passl":
        return None
    expected = "open_clip" if family == "openai" else family
    found = _family_of(config, file, expected)
    if expected is not None and found != expected:
        raise UserError(
            f"{file} is a config of {found}, not of {family}; say --from {found} if the weights are too, or give the config "
            "that belongs to them"
        )
    return _READERS[found](config, file), str(file)


def _find(folder: Path, family: Optional[str]) -> Optional[Path]:
    if family is not None:
        name = _FILES.get(family)
        return folder / name if name is not None and (folder / name).is_file() else None
    found = [folder / name for name in dict.fromkeys(_FILES.values()) if (folder / name).is_file()]
    if len(found) > 1:
        raise UserError(
            f"{folder} has configs of several toolkits, {' and '.join(file.name for file in found)}; say which one goes with "
            "the weights (--from huggingface or --from open_clip)"
        )
    return found[0] if found else None


def _family_of(config: Mapping[str, Any], file: Path, expected: Optional[str]) -> str:
    """Whose config it is. open_clip's bare configs and PaddleMIX's have the same sections, but not the same file name."""
    if "model_cfg" in config:
        return "open_clip"
    if "vision_cfg" in config or "text_cfg" in config:
        if expected in ("open_clip", "paddlemix"):
            return expected
        return "paddlemix" if "model_type" in config or file.name == paddlemix.CONFIG_FILE else "open_clip"
    if "model_type" in config:
        return "huggingface"
    known = ("model_type", "model_cfg", "vision_cfg")
    hints = [hint for key in config for hint in [nearest(key, known)] if hint]
    raise UserError(
        f"{file} is not a config that passl knows: it has none of {', '.join(known)}.{hints[0] if hints else ''} "
        "Accepted: config.json of transformers or PaddleMIX, open_clip_config.json"
    )


def _read_huggingface(config: Mapping[str, Any], file: Path) -> Dict[str, Any]:
    limit = (_beside(file, TOKENIZER_FILE) or {}).get("model_max_length")
    is_limit = isinstance(limit, int) and not isinstance(limit, bool) and 1 < limit < _NO_LIMIT
    node = huggingface.node_from_huggingface(config, str(file), limit if is_limit else None)
    return {
        "architecture": node,
        "preprocessing": _huggingface_images(file, huggingface.processor_kind(config), node),
        "tokenizer": None if node["text"] is None else _huggingface_tokenizer(config, file, node["text"]),
    }


def _huggingface_tokenizer(config: Mapping[str, Any], file: Path, text: Mapping[str, Any]) -> Dict[str, Any]:
    names = {name for vocabulary in VOCABULARIES for name in vocabulary.files}
    if any(file.with_name(name).is_file() for name in names):
        return tokenizer_spec_from_huggingface(file.parent, text["context_length"])
    return huggingface.default_tokenizer(config, text)


def _huggingface_images(file: Path, kind: str, node: Mapping[str, Any]) -> Dict[str, Any]:
    if node["image"] is None:
        return _NO_IMAGES
    size = node["image"]["image_size"]
    config, name = _beside(file, images.CONFIG_FILE), images.CONFIG_FILE
    if config is None:
        joint = _beside(file, images.JOINT_CONFIG_FILE) or {}
        config, name = joint.get("image_processor"), images.JOINT_CONFIG_FILE
    if config is not None:
        return images.preprocessing_from_huggingface(config, kind, size, str(file.with_name(name)))
    preprocessing = images.default_preprocessing(kind, size)
    get_logger().info(
        "%s has no %s beside it: images are prepared as %s's are by default (%s, %s)",
        *(file, images.CONFIG_FILE, kind, preprocessing["resize_mode"], preprocessing["interpolation"]),
    )
    return preprocessing


_NO_IMAGES = {
    "size": None,
    "mean": list(OPENAI_MEAN),
    "std": list(OPENAI_STD),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def _read_open_clip(config: Mapping[str, Any], file: Path) -> Dict[str, Any]:
    model, place = config.get("model_cfg", config), str(file)
    node = open_clip.node_from_open_clip(model, place)
    size = node["image"]["image_size"]
    if config.get("preprocess_cfg") is None:
        get_logger().info("%s has no preprocess_cfg: images are prepared as OpenAI's are", file)
    return {
        "architecture": node,
        "preprocessing": open_clip.preprocessing_from_open_clip(config.get("preprocess_cfg"), size, place),
        "tokenizer": open_clip.tokenizer_from_open_clip(model, place),
    }


def _read_paddlemix(config: Mapping[str, Any], file: Path) -> Dict[str, Any]:
    node = paddlemix.node_from_paddlemix(config, str(file))
    return {
        "architecture": node,
        "preprocessing": _huggingface_images(file, "CLIP", node),
        "tokenizer": {"name": "ClipTokenizer", "context_length": node["text"]["context_length"]},
    }


_READERS = {"huggingface": _read_huggingface, "open_clip": _read_open_clip, "paddlemix": _read_paddlemix}


def _beside(file: Path, name: str) -> Optional[Dict[str, Any]]:
    """The content of another JSON file in the same folder; None if it is not there."""
    other = file.with_name(name)
    return _read_json(other) if other.is_file() else None


def _read_json(file: Path) -> Dict[str, Any]:
    try:
        return read_mapping(file, str(file), _refuse)
    except FileNotFoundError:
        raise UserError(f"{file}: there is no such file") from None


def _refuse(reason: str) -> NoReturn:
    raise UserError(f"{reason}; copy it again from where the weights are") from None
