"""The line from image file and text to embedding and class score."""

from __future__ import annotations

import contextlib
import math
import os
from typing import Any, Callable, Iterator, List, Optional, Sequence, Union

import numpy as np
import paddle

from passl.datasets.images import load_image
from passl.datasets.preprocess.transforms import eval_transform
from passl.utils.errors import UserError
from passl.utils.logging import get_logger
from passl.zoo import create_model, get_tokenizer
from passl.zoo.names import is_model_name


class Predictor:
    """A model with its tokenizer and preprocessing.

    Args:
        model: a name (`passl.list_models()`), a model folder, or a network that is built already.
        pretrained: weights for a name: a file or a folder.
        backend: what computes; "paddle" is the only one so far.
        batch_size: pictures or texts computed at once.

    Example:
        >>> predictor = passl.Predictor("ViT-B-32", pretrained="weights.safetensors")  # doctest: +SKIP
        >>> predictor.classify(["cat.jpg"], ["cat", "dog"], ["a photo of a {}."])  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Union[str, paddle.nn.Layer],
        pretrained: Optional[str] = None,
        backend: str = "paddle",
        batch_size: int = 64,
    ) -> None:
        if backend != "paddle":
            raise UserError(f"backend {backend!r} is not there yet; accepted: 'paddle'")
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}; it is at least 1")
        if isinstance(model, paddle.nn.Layer):
            if pretrained is not None:
                raise UserError(
                    "pretrained goes with a model's name; load weights into a network that is built already"
                )
            if not hasattr(model, "spec"):
                raise UserError(
                    f"{type(model).__name__} is not a network with a specification; give one, such as CLIPWrapper(...).model"
                )
            self.model = model
            self.tokenizer = None if model.text is None else model.make_tokenizer()
        else:
            if pretrained is None and is_model_name(model):
                get_logger().warning(
                    "%s without pretrained weights: its weights are random, and so is what it says", model
                )
            self.model = create_model(model, pretrained=pretrained)
            self.tokenizer = None if self.model.text is None else get_tokenizer(model)
        self.transform: Optional[Callable[[Any], np.ndarray]] = (
            None if self.model.visual is None else eval_transform(self.model.spec["preprocessing"])
        )
        self.batch_size = batch_size

    def embed_images(self, images: Sequence[Any]) -> np.ndarray:
        """Embeddings of pictures, given as paths or PIL images: [N, E] float32, unit length.

        Raises:
            BadImage: a file that cannot be read, named.
            UserError: a model without an image tower.
        """
        self.model.tower("image")
        rows = []
        for batch in _portions(images, self.batch_size):
            pictures = [self.transform(image if hasattr(image, "convert") else load_image(image)) for image in batch]
            rows.append(self.embed_pixels(paddle.to_tensor(np.stack(pictures))))
        return _rows(rows)

    def embed_pixels(self, pixels: paddle.Tensor) -> np.ndarray:
        """Embeddings of preprocessed pictures [B, 3, H, W]: [B, E] float32, unit length."""
        with self._inference():
            return self.model.encode_image(pixels, normalize=True).astype("float32").numpy()

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of texts: [N, E] float32, unit length. Raises `UserError` for a model without a text tower."""
        self.model.tower("text")
        rows = []
        for batch in _portions(texts, self.batch_size):
            with self._inference():
                rows.append(self.model.encode_text(self.tokenizer(batch), normalize=True).astype("float32").numpy())
        return _rows(rows)

    def embed_classes(self, class_names: Sequence[str], templates: Sequence[str]) -> np.ndarray:
        """One embedding a class, the normalised mean of its normalised prompts (CLIP paper, section 3.1.4).

        Args:
            class_names: C names.
            templates: prompts with `{}` where the name goes.

        Returns:
            [C, E] float32, unit length.

        Raises:
            UserError: a single text in place of a list, or a template without `{}`.
        """
        _check_is_list(class_names)
        _check_is_list(templates)
        for template in templates:
            if "{}" not in template:
                raise UserError(
                    f"the template {template!r} has no {{}} for the class name: all classes would be the same"
                )
        prompts = [template.replace("{}", name) for name in class_names for template in templates]
        embeddings = self.embed_texts(prompts).reshape(len(class_names), len(templates), -1)  # [C, T, E]
        means = embeddings.mean(axis=1)  # [C, E]
        return means / np.linalg.norm(means, axis=-1, keepdims=True)

    def classify(
        self, images: Sequence[Any], labels: Sequence[str], templates: Sequence[str] = ("a photo of a {}.",)
    ) -> np.ndarray:
        """How likely each picture shows each label: [N, C] float32, rows sum to 1.

        The softmax of cosine similarities times the model's learned scale, over these labels alone.
        """
        logits = self.embed_images(images) @ self.embed_classes(labels, templates).T  # [N, C]
        logits = math.exp(self.model.logit_scale.item()) * logits
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return exponentials / exponentials.sum(axis=-1, keepdims=True)

    @contextlib.contextmanager
    def _inference(self) -> Iterator[None]:
        """Inference mode inside the block; the model is left as it was found."""
        modes = [(layer, layer.training) for layer in self.model.sublayers(include_self=True)]
        self.model.eval()
        try:
            with paddle.no_grad():
                yield
        finally:
            for (
                layer,
                was_training,
            ) in modes:  # one by one: parts of a model in training may be frozen in evaluation mode
                layer.training = was_training


def _portions(items: Sequence[Any], size: int) -> Iterator[List[Any]]:
    _check_is_list(items)
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _check_is_list(items: Any) -> None:
    if isinstance(items, (str, bytes, os.PathLike)) or hasattr(items, "convert"):
        raise UserError(f"{items!r:.200} is one item; give a list of them, also of one: [...]")


def _rows(batches: List[np.ndarray]) -> np.ndarray:
    if not batches:
        raise UserError("nothing to embed: the list is empty")
    return np.concatenate(batches)
