"""What the pages tell people to type works: commands, Python, configs, links, and the page of config keys."""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml
from PIL import Image

import passl
from passl.checkpoint import from_family, layer_arrays, read_weights, to_family, write_weights
from passl.cli.main import _parser, main
from passl.cli.train import read_config, register_everything
from passl.config import build, load_config
from passl.datasets.sections import LoaderConfig
from passl.utils import registry

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    name: (ROOT / name).read_text()
    for name in ("README.md", "docs/finetune.md", "docs/runs.md", "docs/data.md", "docs/convert.md")
}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")


def blocks(page, language):
    """The blocks of a page in one language."""
    return [text for kind, text in BLOCK.findall(PAGES[page]) if kind == language]


def in_words(page):
    """The code that stands between single backticks outside of blocks, without the bars that tables escape."""
    return [code.replace("\\|", "|") for code in INLINE.findall(BLOCK.sub("", PAGES[page]))]


def commands(page):
    """The shell commands of a page as lists of words: those of its bash blocks, and those inside sentences."""
    lines = [line for text in blocks(page, "bash") for line in text.replace("\\\n", " ").splitlines()]
    lines += [code for code in in_words(page) if code.startswith(("passl ", "python ", "make ", "pip "))]
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words and "..." not in words]


COMMANDS = [pytest.param(words, id=f"{page}-{' '.join(words)}") for page in PAGES for words in commands(page)]
GPU_COMMANDS = [case for case in COMMANDS if "configs/clip/vit-b-32" in " ".join(case.values[0])]
PASSL = {"tools/train.py": "train", "tools/eval.py": "eval", "tools/convert.py": "convert"}


def passl_arguments(words):
    """(command, arguments) of `python tools/train.py ...` and of `passl ...`."""
    if words[0] == "passl":
        return None, words[1:]
    return PASSL[words[1]], words[2:]


def run_here(words, *more):
    """Runs a command in this process; returns its exit code."""
    command, arguments = passl_arguments(words)
    return main([*arguments, *map(str, more)], command=command)


def command_with(page, *parts):
    """The one command of a page that contains all the words."""
    found = [words for words in commands(page) if all(part in words for part in parts)]
    assert len(found) == 1, found
    return list(found[0])


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A working directory that looks like a clone to the commands: `configs` and `tools` lie in it, data do not."""
    for name in ("configs", "tools", "requirements.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options(*overrides):
    return [word for override in overrides for word in ("-o", override)]


# ---------------------------------------------------------------------------------------------------- every command


def test_pages_have_commands_to_check():
    assert len(COMMANDS) >= 12 and len(GPU_COMMANDS) == 3


@pytest.mark.parametrize("words", COMMANDS)
def test_command_of_the_pages_is_one_that_exists(words, clone):
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif words[0] == "pip":
        assert words[1] == "install" and (words[2:4] == ["-e", "."] or (clone / words[3]).is_file())
    else:
        command, arguments = passl_arguments(words)
        parsed = _parser(command).parse_args(arguments)
        if command in ("train", "eval"):
            config = read_config(parsed)  # checks every key of the config and of the overrides
            assert config.device == ("cpu" if "cpu" in words or "digits" in parsed.config else "gpu")


@pytest.mark.skipif(paddle.is_compiled_with_cuda(), reason="there may be GPUs here, and then the command would train")
@pytest.mark.parametrize("words", GPU_COMMANDS)
def test_gpu_command_says_that_there_are_none_and_what_to_do(words, clone, capfd):
    wanted = words[words.index("--num-gpus") + 1]
    assert run_here(words) == 1
    errors = capfd.readouterr().err
    assert f"{wanted} GPUs asked for, 0 found" in errors
    assert f"python tools/train.py -c {words[words.index('-c') + 1]} --device cpu --num-procs {wanted}" in errors


def test_links_lead_somewhere():
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)#\s]+)", BLOCK.sub("", PAGES[page]))]
    assert len(links) > 10
    for page, link in links:
        if link == "https://passl.bj.bcebos.com/models/ViT-B-32.pdparams":  # the address in PASSL's own document
            continue
        assert (ROOT / page).parent.joinpath(link).exists(), f"{page}: {link}"


# ---------------------------------------------------------------------------------------------------- data


def test_pairs_of_scikit_image_are_prepared_where_the_page_says(clone, capfd):
    assert run_here(command_with("docs/finetune.md", "skimage-pairs")) == 0
    written = list((clone / "data" / "skimage-pairs").iterdir())
    texts = {path.stem for path in written if path.suffix == ".txt"}
    assert len(texts) == 21 and texts == {path.stem for path in written if path.suffix in (".png", ".jpg")}


def test_captions_of_food101_are_prepared_where_the_page_says(clone, capfd):
    official = clone / "data" / "FOOD101"
    (official / "meta").mkdir(parents=True)
    for split, text in {"train": "sushi/1", "test": "sushi/2", "classes": "sushi", "labels": "sushi"}.items():
        (official / "meta" / f"{split}.txt").write_text(f"{text}\n")
    (official / "images" / "sushi").mkdir(parents=True)
    for number in (1, 2):
        Image.new("RGB", (20, 20)).save(official / "images" / "sushi" / f"{number}.jpg")
    assert run_here(command_with("docs/data.md", "food101", "--root")) == 0
    assert sorted(os.listdir(official / "captions")) == ["sushi_1.jpg", "sushi_1.txt"]


def test_config_nodes_of_the_page_on_data_are_valid():
    register_everything()
    nodes = [yaml.safe_load(code) for code in in_words("docs/data.md") if code.startswith("{name:")]
    assert len(nodes) >= 5
    for node in nodes:
        checked = build(LoaderConfig, {"dataset": node, "batch_size": 1})
        assert {key: checked.dataset[key] for key in node} == node


# ---------------------------------------------------------------------------------------------------- runs of the digits


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The digits, written once by the pages' command."""
    root = tmp_path_factory.mktemp("data") / "digits"
    assert run_here(command_with("docs/data.md", "digits"), "--root", root) == 0
    return root


@pytest.fixture
def with_digits(clone, digits):
    (clone / "data").mkdir()
    (clone / "data" / "digits").symlink_to(digits)
    return clone


def short(steps):
    """What makes a digits run short and leaves its rate independent of its length."""
    return options("epochs=null", f"steps={steps}", "log.every_steps=1", "expect=null", "schedule={name: Constant}")


def test_digits_command_runs_and_is_continued_as_the_page_says(with_digits, capfd):
    (first,) = (words for words in commands("docs/runs.md") if words[2:] == ["-c", "configs/quick/digits.yaml"])
    assert run_here(first, *short(2)) == 0
    folder = with_digits / "outputs" / "quick" / "digits"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]

    # Every file and every quantity that the page lists is there, and no quantity that it does not.
    table = dict(re.findall(r"^\| (`[^|]+) \| ([^|]+) \|$", PAGES["docs/runs.md"], re.MULTILINE))
    for name in (INLINE.match(cell)[1] for cell in table):
        if name != "bad_samples.jsonl":
            assert (folder / name.replace("step-N", "step-2")).exists(), name
    documented = set(INLINE.findall(table["`metrics.jsonl`"]))
    parts = {key for key in rows[0] if key.endswith("_loss")}
    assert set(rows[0]) - parts == documented and parts == {"img_loss", "text_loss"}

    assert run_here(command_with("docs/runs.md", "tools/eval.py"), "-o", "expect=null") == 0
    results = [
        json.loads(path.read_text()) for path in (folder / "results.json", Path("outputs/best-digits/results.json"))
    ]
    assert results[0]["zero_shot"]["top1"] == results[1]["zero_shot"]["top1"]

    second = command_with("docs/runs.md", "--resume", "configs/quick/digits.yaml")
    assert run_here(second, *short(4), "--allow-config-change") == 0
    assert "continuing after step 2 of 4" in capfd.readouterr().err
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 4


@pytest.mark.slow
def test_digits_command_for_several_processes_runs(with_digits):
    words = command_with("docs/runs.md", "--num-procs")
    done = in_a_shell(words, *short(2), "-o", "data.eval.batch_size=90", "--output-dir", "two")
    assert done.returncode == 0, done.stderr
    assert len((with_digits / "two" / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
def test_paddles_own_launcher_is_joined_as_the_page_says(with_digits):
    (line,) = (code for code in in_words("docs/runs.md") if code.startswith("python -m paddle.distributed.launch"))
    words = shlex.split(line)
    assert words[-2:] == ["tools/train.py", "..."]
    words[3:3] = ["--nproc_per_node", "2"]
    done = in_a_shell(
        words[:-1], "-c", "configs/quick/digits.yaml", "--device", "cpu", *short(2), "--output-dir", "run"
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (with_digits / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in lines] == [1, 2] and lines[1]["epoch"] == pytest.approx(2 / (1437 // 64))


def in_a_shell(words, *more):
    """Runs a command as a process of its own, with this Python."""
    program = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "passl.cli.main"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*program, *words[1:], *map(str, more)], env=environment, capture_output=True, text=True, timeout=600
    )


# ---------------------------------------------------------------------------------------------------- fine-tuning


def test_rates_on_the_page_are_those_of_the_config():
    (text,) = blocks("docs/finetune.md", "yaml")
    shown = yaml.safe_load(text)["optimizer"]
    shipped = load_config(ROOT / "configs" / "clip" / "finetune-own-pairs.yaml")["optimizer"]
    assert shown == {key: shipped[key] for key in shown} and set(shown) == {"lr", "groups"}


def test_option_that_freezes_the_image_tower_does(clone):
    (option,) = (code for code in in_words("docs/finetune.md") if code.startswith("-o "))
    command, arguments = passl_arguments(command_with("docs/finetune.md", "--load"))
    config = read_config(_parser(command).parse_args([*arguments, *shlex.split(option)]))
    tower = paddle.nn.Layer()
    for name in ("visual", "text"):
        setattr(tower, name, paddle.nn.LayerDict({"fc": paddle.nn.Linear(2, 2), "norm": paddle.nn.LayerNorm(2)}))
    tower.logit_scale = tower.create_parameter([])
    optimizer = registry.OPTIMIZERS.build(config.optimizer, dict(tower.named_parameters()), 4)
    assert set(optimizer.parameters) == {"text.fc.weight", "text.fc.bias"}


def write_passl_weights(name, **overrides):
    """ViT-B-32.pdparams in PASSL's layout, with new weights."""
    model = passl.create_model(name, **overrides)
    write_weights("ViT-B-32.pdparams", to_family(layer_arrays(model), "passl-2021"))


def run_python(page):
    """Runs the Python block of a page; returns what its last line gives."""
    (source,) = blocks(page, "python")
    *statements, last = source.strip().splitlines()
    names = {}
    exec("\n".join(statements), names)
    return eval(last, names)


@pytest.fixture
def photo(clone):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype("uint8")).save("photo.jpg")


def test_python_of_the_readme_runs_on_a_small_model(clone, photo, monkeypatch):
    # The name keeps everything of ViT-B-32 but its size.
    monkeypatch.setitem(passl.zoo.sizes.TOWERS, "tiny", passl.zoo.sizes.Tower(64, 1, 1, 64))
    monkeypatch.setitem(passl.zoo.sizes.MODELS, "ViT-B-32", passl.zoo.sizes.Vit(16, 32, "tiny", 16, "tiny"))
    write_passl_weights("ViT-B-32-quickgelu")
    probabilities = run_python("README.md")
    assert probabilities.shape == (1, 2) and probabilities.sum() == pytest.approx(1)


@pytest.mark.slow
def test_fine_tuning_walk_runs_from_its_first_command_to_its_last_line(clone, photo):
    """Real sizes, random weights; two steps, and two digits a class as the reference set."""
    write_passl_weights("ViT-B-32-quickgelu")
    assert run_python("README.md").shape == (1, 2)
    for name in ("skimage-pairs", "digits"):
        done = in_a_shell(command_with("docs/finetune.md", name))
        assert done.returncode == 0, done.stderr
    for folder in Path("data/digits/test").iterdir():
        for picture in sorted(folder.iterdir())[2:]:
            picture.unlink()
    workers = options("data.train.num_workers=0", "evaluate.0.data.num_workers=0")
    done = in_a_shell(command_with("docs/finetune.md", "--load"), *options("epochs=null", "steps=2"), *workers)
    assert done.returncode == 0, done.stderr
    assert "loaded ViT-B-32.pdparams (layout passl-2021, activation quick_gelu)" in done.stderr
    assert "reference after step 0: top1" in done.stderr and "reference after step 2: top1" in done.stderr
    probabilities = run_python("docs/finetune.md")
    assert probabilities.shape == (1, 2) and probabilities.sum() == pytest.approx(1)
    shutil.rmtree("outputs")
    os.unlink("ViT-B-32.pdparams")


# ---------------------------------------------------------------------------------------------------- the page of config keys


def test_page_of_config_keys_is_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "make_config_docs.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_page_of_config_keys_shows_an_override_that_works(clone):
    page = (ROOT / "docs" / "configs.md").read_text()
    shown = re.findall(r"`-o ([^`]+)`", page)
    assert len(shown) == 2
    arguments = argparse.Namespace(config="configs/quick/digits.yaml", override=shown, device=None, num_gpus=None)
    config = read_config(arguments)
    assert config.optimizer["lr"] == 1e-4 and config.evaluate[0]["every_epochs"] == 2


# ---------------------------------------------------------------------------------------------------- converting


def test_conversions_of_the_page_give_the_same_weights_in_every_form(clone, capfd):
    """The first command's source stands for OpenAI's archive: a file of theirs that says it is one."""
    tower = {"width": 64, "num_layers": 1, "num_heads": 1}
    image = {"image_size": 32, "patch_size": 16, **tower}
    source = passl.create_model("ViT-B-32-quickgelu", embed_dim=16, image=image, text={"context_length": 8, **tower})
    numbers = {"input_resolution": 32, "context_length": 8, "vocab_size": 49408}
    arrays = {name: value.astype("float16") for name, value in to_family(layer_arrays(source), "openai").items()}
    arrays.update({name: np.asarray(number) for name, number in numbers.items()})
    write_weights("openai.safetensors", arrays)
    os.rename("openai.safetensors", "ViT-B-32.safetensors")
    first, *others = [
        words for words in commands("docs/convert.md") if words[:2] == ["passl", "convert"] and words[2] != "SOURCE"
    ]
    assert run_here([*first[:2], "ViT-B-32.safetensors", *first[3:]]) == 0
    for words in others:
        assert run_here(words) == 0
    assert "verified" in capfd.readouterr().out
    wanted = read_weights(first[3])
    assert {array.dtype.name for array in wanted.values()} == {"float16"}
    for words in others:
        found = from_family(read_weights(words[3])).arrays
        assert all(np.array_equal(found[name], array) for name, array in wanted.items()), words


def test_python_of_the_page_on_conversion_makes_a_larger_model(clone):
    write_passl_weights("ViT-B-32-quickgelu")
    os.rename("ViT-B-32.pdparams", "vit-b-32.pdparams")
    (source,) = blocks("docs/convert.md", "python")
    names = {}
    exec(source, names)
    assert names["model"].spec["architecture"]["image"]["image_size"] == 288
