"""The commands as a user gives them: what they print, write and return."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from PIL import Image

import passl
from passl.checkpoint import layer_arrays, to_family, weights_hash, write_weights
from passl.cli.main import main
from passl.config import build, load_config
from passl.engine.run_config import RunConfig
from passl.modeling.architectures import CLIP
from passl.utils.env import environment_report

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def command(capfd):
    """Runs a command in this process; returns its exit code, standard output and standard error."""

    def call(*arguments, command=None):
        code = main([str(word) for word in arguments], command=command)
        return (code, *capfd.readouterr())

    return call


# ---------------------------------------------------------------------------------------------------- doctor, models, data


def test_doctor_prints_versions_devices_and_cpu_settings(command):
    code, output, _ = command("doctor")
    report = environment_report()
    assert code == 0
    for word in (passl.__version__, report["packages"]["numpy"], "GPUs", "CPU: matrix products", "no known problems"):
        assert word in output


def test_doctor_as_json_is_the_report_and_the_problems(command):
    code, output, _ = command("doctor", "--json")
    printed = json.loads(output)
    assert code == 0 and printed["problems"] == []
    assert printed["packages"] == environment_report()["packages"] and printed["cores"] >= 1


def test_doctor_fails_on_a_known_bad_pair_and_says_the_remedy(command, monkeypatch):
    packages = {"paddlepaddle": "2.6.2", "numpy": "2.1.0"}
    monkeypatch.setattr("passl.utils.env.environment_report", lambda: {**environment_report(), "packages": packages})
    code, output, _ = command("doctor")
    assert code == 1 and "problem: paddlepaddle 2.6.2 was built for numpy 1; pip install 'numpy<2'" in output


def test_models_lists_names_by_pattern(command):
    assert command("models") == (0, "\n".join(passl.list_models()) + "\n", "")
    assert command("models", "RN50-*") == (0, "RN50-quickgelu\n", "")


def test_models_says_when_nothing_matches(command):
    code, output, errors = command("models", "RN5O")
    assert (code, output) == (1, "") and "no model's name matches 'RN5O'" in errors


def test_data_prepare_digits_writes_both_parts_and_leaves_them_alone_the_second_time(command, tmp_path):
    root = tmp_path / "digits"
    code, _, errors = command("data", "prepare", "digits", "--root", root)
    assert code == 0 and "1437 digits to train on, 360 held out" in errors
    assert len(list((root / "train").glob("*.png"))) == len(list((root / "train").glob("*.txt"))) == 1437
    assert len(list((root / "test").glob("*/*.png"))) == 360
    marked = next((root / "train").glob("*.txt"))
    marked.write_text("mine")
    code, _, errors = command("data", "prepare", "digits", "--root", root)
    assert code == 0 and "stands already" in errors and marked.read_text() == "mine"


def test_data_prepare_does_not_write_over_other_things(command, tmp_path):
    (tmp_path / "precious").write_text("mine")
    code, _, errors = command("data", "prepare", "digits", "--root", tmp_path)
    assert code == 1 and "holds something else" in errors
    assert [entry.name for entry in tmp_path.iterdir()] == ["precious"]


def test_data_prepare_food101_without_the_data_says_what_was_expected_where(command, tmp_path):
    code, _, errors = command("data", "prepare", "food101", "--root", tmp_path / "FOOD101")
    assert code == 1 and "images/<class>/<id>.jpg" in errors and str(tmp_path / "FOOD101") in errors


@pytest.mark.parametrize("tool", ["train", "eval"])
def test_tools_work_from_any_folder(tool, tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / f"{tool}.py", "--help"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0 and "--load WEIGHTS" in done.stdout and done.stderr == ""


def test_unknown_command_is_refused_with_the_known(capfd):
    with pytest.raises(SystemExit) as stopped:
        main(["trian"])
    assert stopped.value.code == 2 and "'train'" in capfd.readouterr().err


# ---------------------------------------------------------------------------------------------------- configs and devices


def test_printed_config_reads_back_as_the_same_config(run, command, tmp_path):
    asked = ("-c", run.config, "-o", "optimizer.base_batch_size=16", "-o", "optimizer.lr=3e-5", "--print-config")
    code, printed, errors = command("train", *asked)
    assert (code, errors) == (0, "")
    (tmp_path / "printed.yaml").write_text(printed)
    again = build(RunConfig, load_config(tmp_path / "printed.yaml"))
    assert again == build(
        RunConfig, load_config(run.config, ["optimizer.base_batch_size=16", "optimizer.lr=3e-5", "output_dir=null"])
    )
    assert command("train", "-c", tmp_path / "printed.yaml", "--print-config") == (0, printed, "")
    assert not run.output.exists()


def test_gpus_that_are_asked_for_are_not_replaced_by_the_cpu_of_the_config(run, command):
    code, _, errors = command("train", "-c", run.config, "--num-gpus", "64")
    assert code == 1 and "64 GPUs asked for" in errors


@pytest.mark.parametrize("other", [("--resume", "auto"), ("--dry-run",)])
def test_evaluate_only_is_refused_beside_what_it_would_ignore(run, command, other):
    code, _, errors = command("train", "-c", run.config, "--evaluate-only", "--load", "x", *other)
    assert code == 1 and "leave out --resume and --dry-run" in errors


# ---------------------------------------------------------------------------------------------------- weights


@pytest.fixture
def measured(run, command):
    """The config of `run` with labelled pictures, its network with weights of its own, and a way to measure a file."""
    for number, colour in enumerate(((200, 30, 30), (30, 200, 30), (30, 30, 200)) * 3):
        folder = run.folder / "labelled" / ("red", "green", "blue")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(np.random.default_rng(number).normal(colour, 80, (20, 20, 3)), 0, 255).astype("uint8")
        Image.fromarray(pixels).save(folder / f"{number}.png")
    with run.config.open("a") as file:
        file.write(
            f"evaluate:\n  - name: ZeroShot\n    templates: photo\n    data:\n      batch_size: 4\n      dataset: "
            f"{{name: ImageFolder, root: {run.folder / 'labelled'}}}\n"
        )
    architecture = load_config(run.config)["model"]["architecture"]
    paddle.seed(7)
    run.network = CLIP(**{key: value for key, value in architecture.items() if key != "name"})
    run.hash = weights_hash(layer_arrays(run.network))

    def measure(weights, *arguments, command_name="train", expected=0):
        """The results, and what was said."""
        output = run.folder / f"measured-{len(list(run.folder.glob('measured-*')))}"
        flags = ("--evaluate-only",) if command_name == "train" else ()
        code, _, errors = command(
            command_name, "-c", run.config, "--load", weights, *flags, *arguments, "--output-dir", output
        )
        assert code == expected, errors
        results = output / "results.json"
        return (json.loads(results.read_text())["zero_shot"] if results.exists() else None), errors

    run.measure = measure
    return run


def paddle_file(path, arrays, wrap):
    tensors = {name: paddle.to_tensor(array) for name, array in arrays.items()}
    paddle.save({"state_dict": tensors} if wrap else tensors, str(path))
    return path


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("wrap", [False, True])
def test_passl_weights_load_with_and_without_prefix_and_outer_state_dict(measured, tmp_path, prefix, wrap):
    arrays = to_family(layer_arrays(measured.network), "passl-2021", prefix=prefix)
    result, errors = measured.measure(paddle_file(tmp_path / "ViT.pdparams", arrays, wrap))
    assert result["measured"]["weights_sha256"] == measured.hash
    assert f"loaded {tmp_path / 'ViT.pdparams'} (layout passl-2021, activation quick_gelu)" in errors


@pytest.mark.parametrize("kind", ["safetensors", "pdparams", "folder", "file in a folder", "wrapped"])
def test_our_own_weights_load_from_every_kind_of_file(measured, tmp_path, kind):
    arrays = layer_arrays(measured.network)
    if kind in ("safetensors", "pdparams"):
        path = tmp_path / f"weights.{kind}"
        write_weights(path, arrays)
    elif kind == "wrapped":
        path = paddle_file(tmp_path / "w.pdparams", {f"model.{name}": array for name, array in arrays.items()}, True)
    else:
        measured.network.save_pretrained(tmp_path / "model")
        path = tmp_path / "model" / ("model.safetensors" if kind == "file in a folder" else "")
    result, errors = measured.measure(path)
    assert result["measured"]["weights_sha256"] == measured.hash and "layout passl," in errors


def test_state_of_a_run_loads_as_weights(measured, command):
    assert command("train", "-c", measured.config, "-o", "steps=2", "--output-dir", measured.output)[0] == 0
    trained = json.loads((measured.output / "results.json").read_text())["zero_shot"]
    for state in ("latest", "step-2"):
        result, _ = measured.measure(measured.output / "checkpoints" / state)
        assert {**result, "measured": None} == {**trained, "measured": None}
        assert result["measured"]["weights_sha256"] == trained["measured"]["weights_sha256"]


def test_weights_of_another_activation_are_refused_and_both_are_named(measured, command, tmp_path):
    measured.network.save_pretrained(tmp_path / "model")
    passl_file = tmp_path / "ViT.pdparams"
    write_weights(passl_file, to_family(layer_arrays(measured.network), "passl-2021"))
    assert command("train", "-c", measured.config, "-o", "steps=1", "--output-dir", measured.output)[0] == 0
    for weights in (tmp_path / "model", passl_file, measured.output / "checkpoints" / "latest"):
        result, errors = measured.measure(weights, "-o", "model.architecture.activation=gelu", expected=1)
        assert result is None and "activation" in errors and "'quick_gelu'" in errors and "'gelu'" in errors


def test_partial_takes_what_fits_and_prints_a_table_of_the_rest(measured, tmp_path):
    arrays = layer_arrays(measured.network)
    arrays["visual.proj"] = arrays["visual.proj"][:, :8]
    arrays["visual.extra"] = arrays.pop("text.norm_final.bias")
    write_weights(tmp_path / "weights.safetensors", arrays)
    _, errors = measured.measure(tmp_path / "weights.safetensors", expected=1)
    assert "visual.proj: expected [32, 16]" in errors and "found [32, 8]" in errors and "--partial" in errors
    result, errors = measured.measure(tmp_path / "weights.safetensors", "--partial")
    total = len(arrays)
    assert f"{total - 2} of {total} arrays of the model loaded" in errors
    rows = {line.split()[0]: line for line in errors.splitlines() if line.startswith(("visual.", "text."))}
    assert set(rows) == {"visual.proj", "visual.extra", "text.norm_final.bias"}
    assert rows["visual.proj"].endswith("kept as it was") and rows["visual.extra"].endswith("not used")
    assert result["measured"]["weights_sha256"] != measured.hash


def test_positions_of_another_image_size_are_resampled_when_asked(measured, tmp_path):
    arrays = layer_arrays(measured.network)
    arrays["visual.positional_embedding"] = np.zeros([1 + 9, arrays["visual.class_embedding"].shape[0]], "float32")
    write_weights(tmp_path / "weights.safetensors", arrays)
    _, errors = measured.measure(tmp_path / "weights.safetensors", expected=1)
    assert "only the tables of positions differ" in errors and "--resize-positions" in errors
    result, errors = measured.measure(tmp_path / "weights.safetensors", "--resize-positions")
    assert "resampled visual.positional_embedding: 3 x 3 to 2 x 2 squares" in errors and result is not None


def test_eval_and_evaluate_only_give_the_same_numbers(measured, tmp_path):
    write_weights(tmp_path / "weights.safetensors", layer_arrays(measured.network))
    one, _ = measured.measure(tmp_path / "weights.safetensors")
    two, _ = measured.measure(tmp_path / "weights.safetensors", command_name="eval")
    assert one == two and one["measured"]["num_samples"] == 9


@pytest.mark.slow
def test_evaluation_on_two_processes_gives_the_same_numbers_as_on_one(measured, tmp_path):
    write_weights(tmp_path / "weights.safetensors", layer_arrays(measured.network))
    one, _ = measured.measure(tmp_path / "weights.safetensors")
    arguments = ("--evaluate-only", "--load", tmp_path / "weights.safetensors", "--device", "cpu", "--num-procs", "2")
    measured.finish(*arguments, output=tmp_path / "two")
    assert json.loads((tmp_path / "two" / "results.json").read_text())["zero_shot"] == one


def test_config_without_evaluators_cannot_measure(run, command, tmp_path):
    write_weights(tmp_path / "weights.safetensors", {"a": np.zeros(1, "float32")})
    code, _, errors = command("eval", "-c", run.config, "--load", tmp_path / "weights.safetensors")
    assert code == 1 and "its section `evaluate` is empty" in errors


def test_weights_to_measure_may_not_be_missing(measured):
    _, errors = measured.measure("nowhere.safetensors", expected=1)
    assert "nowhere.safetensors" in errors and "no such file or folder" in errors
