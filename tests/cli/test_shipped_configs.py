"""Every config that is shipped is checked, built and run one batch far, on small data in the layouts it names."""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import paddle
import pytest
from PIL import Image

from passl.cli.main import main
from passl.cli.train import add_arguments, read_config
from passl.datasets.prepare import DIGIT_NAMES
from passl.engine.trainer import RunOptions, Trainer
from passl.utils.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
RUNNABLE = sorted(
    str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob("*.yaml") if path.parent != CONFIGS / "clip" / "models"
)
FOODS = ["apple_pie", "baby_back_ribs", "sushi"]

# The same towers with one thin layer each; what else stands in a config stays.
SMALL = [
    *("model.architecture.vision_layers=1", "model.architecture.transformer_layers=1"),
    *("model.architecture.vision_width=64", "model.architecture.transformer_width=64"),
    *("model.architecture.vision_heads=1", "model.architecture.transformer_heads=1"),
    *("data.train.batch_size=4", "data.train.num_workers=0"),
]


def checked(config, *overrides):
    """The config as the command line reads it."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = [word for override in overrides for word in ("-o", override)]
    return read_config(parser.parse_args(["-c", str(CONFIGS / config), *options]))


@pytest.fixture
def train(capfd):
    """Runs the command on a shipped config, made small, on the CPU; returns its exit code and its messages."""

    def call(config, *arguments):
        options = [word for override in SMALL for word in ("-o", override)]
        code = main(["-c", str(CONFIGS / config), "--device", "cpu", *options, *map(str, arguments)], command="train")
        return code, capfd.readouterr().err

    return call


# ---------------------------------------------------------------------------------------------------- small data


def write_picture(path, rng, shape=(40, 56, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, shape).astype("uint8")).save(path)


def write_food101(root, num_train=4, num_test=2):
    """The official layout with three classes."""
    rng = np.random.default_rng(0)
    lines = {"train": [], "test": []}
    for name in FOODS:
        for number in range(num_train + num_test):
            write_picture(root / "images" / name / f"{1000 + number}.jpg", rng)
            lines["train" if number < num_train else "test"].append(f"{name}/{1000 + number}")
    (root / "meta").mkdir()
    for split, entries in {**lines, "classes": FOODS, "labels": [name.replace("_", " ") for name in FOODS]}.items():
        (root / "meta" / f"{split}.txt").write_text("\n".join(entries) + "\n")


def write_pairs(root, count=8, **picture):
    """Pictures and texts of the same stem, two captions a picture; PASSL's layout of Food-101 too."""
    rng = np.random.default_rng(1)
    for number in range(count):
        write_picture(root / f"{number}.jpg", rng, **picture)
        (root / f"{number}.txt").write_text(f"dish number {number}\nthe {number}th plate\n")


def write_folders(root, names):
    """Labelled pictures in one folder per class."""
    rng = np.random.default_rng(2)
    for name in names:
        write_picture(root / name / "0.png", rng)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A working directory with data in all places that shipped configs name."""
    write_food101(tmp_path / "data" / "FOOD101")
    write_pairs(tmp_path / "data" / "my-pairs")
    write_folders(tmp_path / "data" / "reference", ["cat", "dog"])
    write_pairs(tmp_path / "data" / "digits" / "train", shape=(8, 8))
    write_folders(
        tmp_path / "data" / "digits" / "test", [f"{number}-{name}" for number, name in enumerate(DIGIT_NAMES)]
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


# ---------------------------------------------------------------------------------------------------- every config


def test_there_are_configs_to_check():
    assert {"clip/vit-b-32.yaml", "clip/vit-b-32-finetune.yaml", "quick/digits.yaml"} <= set(RUNNABLE)


@pytest.mark.parametrize("config", RUNNABLE)
def test_shipped_config_is_built_and_computes_a_loss(config, data, train):
    before = sorted(data.parent.rglob("*"))
    code, messages = train(config, "--dry-run")
    assert code == 0, messages
    loss = float(messages.rpartition("first loss ")[2])
    assert 0.5 < loss < 5, messages  # ln 4 = 1.39 for four pairs and a new model
    assert "warning" not in messages
    assert sorted(data.parent.rglob("*")) == before


def test_vit_b_32_config_has_the_published_number_of_parameters():
    config = checked("clip/vit-b-32.yaml")
    with paddle.LazyGuard():  # shapes without memory
        model = MODELS.build(config.model)
    assert sum(int(np.prod(parameter.shape)) for parameter in model.parameters()) == 151_277_313


# ---------------------------------------------------------------------------------------------------- rates


@pytest.mark.parametrize(
    "config, num_processes, batch_size, rate",
    [
        ("clip/vit-b-32.yaml", 8, 128, 1e-4),
        ("clip/vit-b-32.yaml", 1, 128, 1.25e-5),
        ("clip/vit-b-32.yaml", 1, 4, 1e-4 * 4 / 1024),
        ("clip/vit-b-32-finetune.yaml", 8, 128, 1e-5),
        ("clip/vit-b-32-finetune.yaml", 2, 32, 1e-5 / 16),
    ],
)
def test_rate_is_stated_for_eight_processes_and_scaled_to_the_run(
    tmp_path, monkeypatch, capfd, config, num_processes, batch_size, rate
):
    root = tmp_path / "FOOD101"
    write_food101(root, num_train=1, num_test=1)
    entries = [f"sushi/{number}" for number in range(num_processes * batch_size)]
    (root / "meta" / "train.txt").write_text("\n".join(entries) + "\n")
    monkeypatch.setattr("passl.distributed.world_size", lambda: num_processes)
    roots = [f"data.{part}.dataset.root={root}" for part in ("train", "eval")]
    built = Trainer(
        checked(config, "device=cpu", *SMALL[:-2], f"data.train.batch_size={batch_size}", *roots),
        tmp_path / "run",
        RunOptions(),
    )
    assert built.optimizer.peak_lr == pytest.approx(rate, rel=1e-12)
    assert f"global batch {num_processes * batch_size} " in built.describe()
    assert f"peak rate {rate:.3g}\n" in built.describe()


def test_scaled_rate_is_said_with_what_it_was_stated_for(data, train):
    _, messages = train("clip/vit-b-32.yaml", "--dry-run")
    assert "rate 3.906e-07: 0.0001 is stated for a global batch of 1024, this run's is 4\n" in messages


def test_rate_of_the_command_line_is_used_as_it_is(data, train):
    code, messages = train("clip/vit-b-32.yaml", "--dry-run", "-o", "optimizer.lr=3e-5")
    assert code == 0 and "peak rate 3e-05\n" in messages and "is stated for" not in messages


def test_rate_of_the_command_line_is_scaled_when_its_batch_size_is_given_too(data, train):
    _, messages = train("clip/vit-b-32.yaml", "--dry-run", "-o", "optimizer={lr: 8e-5, base_batch_size: 8}")
    assert "rate 4e-05: 8e-05 is stated for a global batch of 8, this run's is 4\n" in messages


def test_fine_tuning_config_differs_in_the_rate_alone():
    scratch, finetune = checked("clip/vit-b-32.yaml"), checked("clip/vit-b-32-finetune.yaml")
    assert finetune.optimizer["lr"] == 1e-5
    assert finetune == checked("clip/vit-b-32.yaml", "optimizer.lr=1e-5", "optimizer.base_batch_size=1024")
    assert scratch.optimizer["lr"] == 1e-4 and scratch.epochs == 10
    assert scratch.schedule == {
        "name": "WarmupCosine",
        "warmup_fraction": 0.05,
        "warmup_steps": None,
        "final_factor": 0.0,
    }


def test_own_pairs_config_freezes_norms_and_temperature_and_slows_the_image_tower(data, train):
    config = checked("clip/finetune-own-pairs.yaml", "device=cpu", *SMALL)
    optimizer = Trainer(config, data.parent / "run", RunOptions()).optimizer
    frozen = [name for name in optimizer.frozen if "norm" not in name]
    assert frozen == ["model.logit_scale"] and optimizer.peak_lr == 5e-6
    rates = {group["learning_rate"]: len(group["params"]) for group in optimizer._optimizer._param_groups}
    assert rates.keys() == {1.0, 0.2}


# ---------------------------------------------------------------------------------------------------- Food-101


@pytest.mark.parametrize("config", ["clip/vit-b-32.yaml", "clip/vit-b-32-finetune.yaml"])
def test_missing_food101_names_both_layouts_and_the_command_that_prepares_it(tmp_path, monkeypatch, train, config):
    monkeypatch.chdir(tmp_path)
    code, messages = train(config)
    assert code == 1
    for words in (
        "data/FOOD101/images/<class>/<id>.jpg",
        "data/FOOD101/captions/",
        "the folder data/FOOD101 does not exist",
        "`passl data prepare food101 --root data/FOOD101`",
    ):
        assert words in messages
    assert list(tmp_path.iterdir()) == []


def run_food101(train, data):
    """Two steps of the config and its evaluation; returns messages and results."""
    code, messages = train("clip/vit-b-32.yaml", "-o", "epochs=null", "-o", "steps=2", "-o", "data.eval.num_workers=0")
    assert code == 0, messages
    run = data.parent / "outputs" / "clip" / "vit-b-32"
    assert sorted(os.listdir(run / "checkpoints")) == ["latest", "step-2"]
    assert {"config.json", "model.safetensors"} <= set(os.listdir(run / "best"))
    result = json.loads((run / "results.json").read_text())["food101"]
    assert result["measured"]["num_samples"] == 6 and result["measured"]["num_classes"] == 3
    assert result["measured"]["templates"] == ["a photo of {}, a type of food."]
    assert result["top5"] == 1.0 and 0 <= result["top1"] <= 1
    return messages


def test_food101_in_its_official_layout_trains_and_is_measured(data, train):
    messages = run_food101(train, data)
    assert "official layout in data/FOOD101, train split, 12 pictures" in messages
    assert "official layout in data/FOOD101, test split, 6 pictures" in messages


def test_food101_in_passls_layout_trains_and_is_measured_on_the_official_one_beside_it(data, train):
    write_pairs(data / "FOOD101" / "captions")
    messages = run_food101(train, data)
    assert "PASSL's layout in data/FOOD101/captions, 8 pairs" in messages
    assert "official layout in data/FOOD101, test split, 6 pictures" in messages


def test_prepared_captions_of_food101_are_trained_on(data, train, capfd):
    assert main(["data", "prepare", "food101"]) == 0
    assert "12 pictures with captions" in capfd.readouterr().err
    code, messages = train("clip/vit-b-32.yaml", "--dry-run")
    assert code == 0 and "PASSL's layout in data/FOOD101/captions, 12 pairs" in messages
    caption = (data / "FOOD101" / "captions" / "apple_pie_1000.txt").read_text()
    assert caption == "a photo of apple pie, a type of food.\n"


def test_food101_with_captions_alone_says_how_to_train_without_measuring(tmp_path, monkeypatch, train):
    write_pairs(tmp_path / "data" / "FOOD101" / "captions")
    monkeypatch.chdir(tmp_path)
    code, messages = train("clip/vit-b-32.yaml", "--dry-run")
    assert code == 1 and "the data of evaluator 'food101': Food-101 is not there" in messages
    way_out = messages.rpartition("To train without measuring: ")[2].split()
    assert way_out == ["-o", "evaluate=[]", "-o", "checkpoint.best=null"]
    assert train("clip/vit-b-32.yaml", "--dry-run", *way_out)[0] == 0
