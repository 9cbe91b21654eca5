"""The zero-shot evaluator on a tree of small pictures, against a computation written out in NumPy."""

import json

import numpy as np
import paddle
import pytest
from PIL import Image

import passl
from passl.datasets.sections import LoaderConfig
from passl.evaluation.zero_shot import ZeroShot
from passl.utils.constants import OPENAI_MEAN, OPENAI_STD
from passl.utils.errors import UserError

CLASSES = ["apple", "bus", "cat", "dog", "egg", "fire truck", "goose"]
TEMPLATES = ["a {}.", "the {} again"]
PICTURES_PER_CLASS = 4


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Seven classes of four noisy pictures in ImageFolder's layout; not square, so that resizing and cutting show."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (root / name.replace(" ", "_")).mkdir()
        for number in range(PICTURES_PER_CLASS):
            pixels = np.clip(rng.integers(0, 256, 3) + rng.integers(-60, 60, (24, 30, 3)), 0, 255).astype("uint8")
            Image.fromarray(pixels).save(root / name.replace(" ", "_") / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def model():
    paddle.seed(1)
    model = passl.create_model(
        "ViT-B-32",
        embed_dim=16,
        image={"image_size": 16, "patch_size": 8, "width": 32, "num_layers": 1, "num_heads": 2},
        text={"context_length": 12, "width": 16, "num_layers": 1, "num_heads": 2},
    )
    with paddle.no_grad():  # larger than at initialisation, so that pictures and texts get different embeddings
        for parameter in model.parameters():
            if len(parameter.shape) > 1:
                parameter.set_value(10 * parameter)
    return model


def data(root, **changes):
    return LoaderConfig(**{"dataset": {"name": "ImageFolder", "root": str(root)}, "batch_size": 5, **changes})


def evaluator(root, **settings):
    return ZeroShot(**{"templates": TEMPLATES, "data": data(root), **settings})


def plain_scores(root, model):
    """Labels [N] and cosines [N, C] without any of the evaluator's parts: Pillow, the towers, NumPy."""
    pixels, labels = [], []
    for label, name in enumerate(CLASSES):
        for path in sorted((root / name.replace(" ", "_")).iterdir()):
            image = Image.open(path).resize((20, 16), Image.BICUBIC).crop((2, 0, 18, 16))
            pixels.append((np.asarray(image) / 255 - OPENAI_MEAN) / OPENAI_STD)
            labels.append(label)
    tokenizer = passl.get_tokenizer("ViT-B-32")
    tokenizer.context_length = 12
    classes = []
    for name in CLASSES:
        prompts = np.stack(
            [model.encode_text(tokenizer(template.replace("{}", name)))[0].numpy() for template in TEMPLATES]
        )
        mean = (prompts / np.linalg.norm(prompts, axis=1, keepdims=True)).mean(axis=0)
        classes.append(mean / np.linalg.norm(mean))
    images = model.encode_image(paddle.to_tensor(np.stack(pixels).transpose(0, 3, 1, 2).astype("float32"))).numpy()
    return np.array(labels), images / np.linalg.norm(images, axis=1, keepdims=True) @ np.stack(classes).T


def test_metrics_equal_those_of_a_plain_computation(tree, model):
    labels, scores = plain_scores(tree, model)
    order = np.argsort(-scores, axis=1)
    right = order[:, 0] == labels
    result = evaluator(tree).run(model)
    assert len(set(order[:, 0])) > 2, "a model that always says the same class tests nothing"
    assert result.metrics["top1"] == right.mean()
    assert result.metrics["top5"] == (order[:, :5] == labels[:, None]).any(axis=1).mean() < 1
    by_class = [right[labels == label].mean() for label in range(len(CLASSES))]
    assert result.metrics["mean_per_class_recall"] == pytest.approx(np.mean(by_class), abs=1e-12)
    for true in range(len(CLASSES)):
        for taken in range(len(CLASSES)):
            assert result.confusion[true, taken] == ((labels == true) & (order[:, 0] == taken)).sum()


def test_interval_holds_the_accuracy(tree, model):
    metrics = evaluator(tree).run(model).metrics
    low, high = metrics["interval"]
    assert 0 <= low < metrics["top1"] < high <= 1


@pytest.mark.parametrize("batch_size, num_workers", [(1, 0), (28, 0), (3, 2)])
def test_result_does_not_depend_on_batches_and_workers(tree, model, batch_size, num_workers):
    settings = data(tree, batch_size=batch_size, num_workers=num_workers)
    other = evaluator(tree, data=settings).run(model)
    one = evaluator(tree).run(model)
    assert other.metrics == one.metrics and np.array_equal(other.confusion, one.confusion)


def test_result_is_the_same_each_time(tree, model):
    zero_shot = evaluator(tree)
    one, two = zero_shot.run(model), zero_shot.run(model)
    assert one.metrics == two.metrics and one.measured == two.measured


# ---------------------------------------------------------------------------------------------------- class names


def test_class_names_are_the_datas_when_none_are_given(tree, model):
    result = evaluator(tree, class_names=None).run(model)
    assert result.class_names == CLASSES


def test_given_class_names_go_into_the_prompts(tree, model):
    renamed = evaluator(tree, class_names=[f"{name} from afar" for name in CLASSES]).run(model)
    assert renamed.class_names[0] == "apple from afar"
    assert not np.array_equal(renamed.confusion, evaluator(tree).run(model).confusion)


def test_known_class_names_are_taken_by_their_name(tmp_path, model):
    for number in range(10):
        (tmp_path / str(number)).mkdir()
        Image.new("RGB", (16, 16), (20 * number, 0, 0)).save(tmp_path / str(number) / "0.png")
    result = evaluator(tmp_path, class_names="digits").run(model)
    assert result.class_names[:2] == ["zero", "one"]


def test_wrong_number_of_class_names_is_refused_before_running(tree):
    with pytest.raises(UserError, match="'zero_shot' has 10 class names, and its data has 7 classes"):
        evaluator(tree, class_names="digits").prepare(None)


def test_class_names_in_another_order_than_the_datas_are_refused(tree):
    with pytest.raises(UserError, match="in another order"):
        evaluator(tree, class_names=[*CLASSES[1:], CLASSES[0]]).prepare(None)


# ---------------------------------------------------------------------------------------------------- data


def test_evaluator_without_data_takes_the_default(tree):
    zero_shot = evaluator(tree, data=None)
    zero_shot.prepare(data(tree))
    assert zero_shot.data == data(tree) and zero_shot.class_names == CLASSES


def test_evaluator_without_any_data_says_where_to_give_it(tree):
    with pytest.raises(UserError, match="'mine' has no data: give data.eval"):
        evaluator(tree, data=None, label="mine").prepare(None)


def test_data_without_labels_is_refused(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "cat.png")
    (tmp_path / "cat.txt").write_text("a cat\n")
    pairs = LoaderConfig(dataset={"name": "ImageTextFolder", "root": str(tmp_path)}, batch_size=2)
    with pytest.raises(UserError, match="needs labels, and the dataset ImageTextFolder has none"):
        evaluator(tmp_path, data=pairs).prepare(None)


@pytest.mark.parametrize("key", ["every_epochs", "every_steps"])
def test_interval_below_one_is_refused(tree, key):
    with pytest.raises(UserError, match=f"{key} of evaluator 'zero_shot' is 0"):
        evaluator(tree, **{key: 0})


@pytest.fixture
def damaged(tree, tmp_path):
    """The tree with two pictures that cannot be read, and without them."""
    import shutil

    with_bad, without = tmp_path / "with", tmp_path / "without"
    shutil.copytree(tree, with_bad)
    (with_bad / "cat" / "1.png").write_bytes(b"")
    (with_bad / "dog" / "3.png").write_bytes((tree / "dog" / "3.png").read_bytes()[:60])
    shutil.copytree(with_bad, without)
    (without / "cat" / "1.png").unlink()
    (without / "dog" / "3.png").unlink()
    return with_bad, without


def test_bad_pictures_are_counted_and_do_not_count_for_the_accuracy(damaged, model, caplog):
    with_bad, without = damaged
    result = evaluator(with_bad, data=data(with_bad, max_bad_fraction=0.1)).run(model)
    assert (result.measured["num_samples"], result.measured["num_bad_samples"]) == (26, 2)
    assert "2 of 28 pictures cannot be read and do not count" in caplog.text
    assert result.metrics == evaluator(without).run(model).metrics


def test_too_many_bad_pictures_end_the_evaluation_and_name_one(damaged, model):
    with_bad, _ = damaged
    with pytest.raises(UserError, match=r"(?s)2 of 28 pictures.*max_bad_fraction = 0\.05.*(cat/1|dog/3)\.png"):
        evaluator(with_bad, data=data(with_bad, max_bad_fraction=0.05)).run(model)


def test_data_without_one_readable_picture_is_an_error_even_if_all_may_be_bad(tmp_path, model):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"")
    with pytest.raises(UserError, match="no picture that can be read"):
        evaluator(tmp_path, data=data(tmp_path, max_bad_fraction=1.0)).run(model)


# ---------------------------------------------------------------------------------------------------- how it was measured


def test_result_says_how_it_was_measured(tree, model):
    measured = evaluator(tree).run(model).measured
    assert measured["templates"] == TEMPLATES
    assert measured["dataset"] == {"name": "ImageFolder", "root": str(tree)}
    assert measured["preprocessing"]["size"] == 16 and measured["preprocessing"]["interpolation"] == "bicubic"
    assert measured["precision"] == "float32" and measured["num_classes"] == 7
    assert len(measured["weights_sha256"]) == 64
    assert json.loads(json.dumps(measured)) == measured


def test_transforms_of_the_data_are_used_and_named(tree, model):
    squash = [{"name": "Resize", "size": 16, "mode": "squash"}, {"name": "ToTensor"}, {"name": "Normalize"}]
    result = evaluator(tree, data=data(tree, transforms=squash)).run(model)
    assert result.measured["preprocessing"] == squash
    assert not np.array_equal(result.confusion, evaluator(tree).run(model).confusion)


def test_hash_changes_with_one_weight_and_only_then(tree, model):
    zero_shot = evaluator(tree)
    first = zero_shot.run(model).measured["weights_sha256"]
    weight = model.visual.class_embedding
    before = weight.numpy()
    weight.set_value(before + np.eye(1, len(before), dtype="float32")[0] * 1e-3)
    changed = zero_shot.run(model).measured["weights_sha256"]
    weight.set_value(before)
    assert changed != first == zero_shot.run(model).measured["weights_sha256"]


@pytest.mark.parametrize("mode", [True, False])
def test_mode_of_the_model_is_left_as_found(tree, model, mode):
    model.train() if mode else model.eval()
    model.text.eval()  # a part that is frozen in evaluation mode while the rest trains
    before = {name: layer.training for name, layer in model.named_sublayers(include_self=True)}
    evaluator(tree).run(model)
    after = {name: layer.training for name, layer in model.named_sublayers(include_self=True)}
    model.eval()
    assert after == before and before[""] is mode
