"""The code of PASSL's notebook of 2021, with a small network in place of ViT-B/32, on files as PASSL wrote them."""

import os
import types

import numpy as np
import paddle
import pytest
import skimage
from PIL import Image

import passl
from passl.checkpoint import to_family
from passl.modeling.architectures import CLIPWrapper
from passl.utils.errors import UserError

ARCHITECTURE = {
    "name": "CLIP",
    "embed_dim": 32,
    "image_resolution": 224,
    "vision_layers": 1,
    "vision_width": 64,
    "vision_patch_size": 32,
    "context_length": 77,
    "vocab_size": 49408,
    "transformer_width": 64,
    "transformer_heads": 2,
    "transformer_layers": 1,
    "qkv_bias": True,
}
DESCRIPTIONS = {
    "page": "words on a page",
    "chelsea": "A cat's face",
    "astronaut": "an astronaut",
    "rocket": "a rocket on its launch pad",
    "motorcycle_right": "a red motorcycle",
    "camera": "a man with a camera",
    "horse": "the shape of a horse",
    "coffee": "a cup of coffee",
}


def old_cells(arch, descriptions):
    """What its cells do, one after the other, by the names they use; returns their variables.

    Left out are the tokenizer's own code, which it repeats, and the arrays saved elsewhere that it loads over its input.
    """
    import matplotlib.pyplot as plt
    from paddle.vision.transforms import CenterCrop, Compose, Resize, ToTensor

    from passl.datasets.preprocess.transforms import ToRGB  # noqa: F401  (imported there, and not used)
    from passl.modeling.architectures import CLIPWrapper
    from passl.utils.tokenizer import SimpleTokenizer

    head = {"name": "ClipCNHead"}
    model = CLIPWrapper(architectual=arch, head=head)

    preprocess = Compose([Resize(224, interpolation="bicubic"), CenterCrop(224), ToTensor()])
    image_mean = paddle.to_tensor([0.48145466, 0.4578275, 0.40821073])
    image_std = paddle.to_tensor([0.26862954, 0.26130258, 0.27577711])

    images = []
    texts = []
    paths = []
    for filename in [name for name in os.listdir(skimage.data_dir) if name.endswith((".png", ".jpg"))]:
        name = os.path.splitext(filename)[0]
        if name not in descriptions:
            continue
        paths.append(os.path.join(skimage.data_dir, filename))
        im = Image.open(paths[-1])
        image = preprocess(im.convert("RGB"))
        images.append(image)
        texts.append(descriptions[name])
        plt.subplot(2, 4, len(images))
        plt.imshow(image.transpose((1, 2, 0)))

    image_input = paddle.to_tensor(np.stack(images))
    image_input -= paddle.to_tensor(np.array(image_mean).reshape(-1, 1, 1))
    image_input /= paddle.to_tensor(np.array(image_std).reshape(-1, 1, 1))

    tokenizer = SimpleTokenizer()
    text_tokens = [tokenizer.encode("This is " + desc) for desc in texts]
    text_input = paddle.zeros((len(text_tokens), 77), dtype="int64")
    sot_token = tokenizer.encoder["<|startoftext|>"]
    eot_token = tokenizer.encoder["<|endoftext|>"]
    for i, tokens in enumerate(text_tokens):
        tokens = [sot_token] + tokens + [eot_token]
        text_input[i, : len(tokens)] = paddle.to_tensor(tokens)

    with paddle.no_grad():
        state_dict = paddle.load("pretrain/ViT-B-32.pdparams")["state_dict"]
        model.set_state_dict(state_dict)
        image_features = model.model.encode_image(image_input)
        text_features = model.model.encode_text(text_input)

    image_features /= image_features.norm(axis=-1, keepdim=True)
    text_features /= text_features.norm(axis=-1, keepdim=True)
    similarity = paddle.matmul(text_features, image_features.t()).cpu().numpy()

    for i, image in enumerate(images):
        plt.imshow(image.transpose((1, 2, 0)), extent=(i - 0.5, i + 0.5, -1.6, -0.6), origin="lower")
    plt.close("all")
    return types.SimpleNamespace(**locals())


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """The variables of the old cells, run in a folder that holds nothing but the weights; `saved` made the file."""
    folder = tmp_path_factory.mktemp("old")
    saved = CLIPWrapper(architecture=ARCHITECTURE)
    arrays = {name: value.numpy() for name, value in saved.model.state_dict().items()}
    weights = to_family(arrays, "passl-2021")
    state_dict = {name: paddle.to_tensor(array) for name, array in weights.items()}
    paddle.save({"state_dict": state_dict}, str(folder / "pretrain" / "ViT-B-32.pdparams"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "Agg")
        patch.chdir(folder)
        variables = old_cells(ARCHITECTURE, DESCRIPTIONS)
    variables.saved = saved
    return variables


def test_old_cells_compare_the_eight_pictures(old):
    assert sorted(old.texts) == sorted(DESCRIPTIONS.values())
    assert old.similarity.shape == (8, 8)


def test_old_cells_load_what_the_file_holds(old):
    loaded = old.model.model.state_dict()
    for name, value in old.saved.model.state_dict().items():
        assert np.array_equal(loaded[name].numpy(), value.numpy()), name


def test_old_cells_give_the_predictors_features(old):
    predictor = passl.Predictor(old.saved.model)
    images = predictor.embed_images(old.paths)
    texts = predictor.embed_texts(["This is " + text for text in old.texts])
    assert np.allclose(old.image_features.numpy(), images, atol=1e-5)
    assert np.allclose(old.text_features.numpy(), texts, atol=1e-5)
    assert np.allclose(old.similarity, texts @ images.T, atol=1e-5)


def test_old_set_state_dict_is_strict(old):
    name = "model.visual.blocks.0.attn.qkv.weight"
    left = {key: value for key, value in old.state_dict.items() if key != name}
    assert len(left) == len(old.state_dict) - 1
    with pytest.raises(UserError, match=r"visual\.blocks\.0\.attn\.q_proj\.weight"):
        old.model.set_state_dict(left)
