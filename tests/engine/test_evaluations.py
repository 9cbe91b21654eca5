"""When evaluators run, what becomes of their results, and the guard against forgetting."""

import json
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from PIL import Image

import passl
from passl.checkpoint import read_weights
from passl.cli.main import main
from passl.engine.evaluating import Evaluations
from passl.engine.step import TrainStep
from passl.utils.errors import UserError
from passl.utils.files import write_text
from passl.utils.registry import EVALUATORS

# ---------------------------------------------------------------------------------------------------- with scripted evaluators


class Scripted:
    """An evaluator that measures nothing: it gives out the accuracies it was told."""

    metrics = ("top1",)

    def __init__(self, top1, label="scripted", every_steps=None, every_epochs=None, max_drop=None):
        self.top1, self.label, self.max_drop = list(top1), label, max_drop
        self.every_steps, self.every_epochs = every_steps, every_epochs

    def prepare(self, default_data):
        pass

    def run(self, model):
        value = self.top1.pop(0)
        metrics = {"top1": value, "top5": 1.0, "mean_per_class_recall": value, "interval": [0.0, 1.0]}
        return SimpleNamespace(
            metrics=metrics, measured={"num_samples": 10}, confusion=np.zeros((2, 2)), class_names=["a", "b"]
        )


class Model:
    """Remembers what was written where."""

    def __init__(self):
        self.saved = []

    def save_pretrained(self, folder):
        self.saved.append(folder)


class Folder:
    """A run folder that keeps its lines in memory."""

    best, evaluations = "best", "evaluations"

    def __init__(self):
        self.lines, self.results = [], {}

    def append(self, path, row):
        self.lines.append(row)

    def add_result(self, label, result):
        self.results[label] = result


@pytest.fixture
def scripted(monkeypatch):
    """Makes `Evaluations` of scripted evaluators, each given by its settings."""
    monkeypatch.setitem(EVALUATORS._entries, "Scripted", Scripted)

    def make(*settings, steps_per_epoch=5, **options):
        nodes = [{"name": "Scripted", **given} for given in settings]
        return Evaluations(nodes, None, steps_per_epoch, **options)

    return make


def run_all_steps(evaluations, total_steps, model=None, folder=None):
    """Goes through a run; returns the steps after which something was measured."""
    ran = []
    for step in range(1, total_steps + 1):
        if evaluations.due(step, total_steps):
            evaluations.run_due(step, total_steps, model or Model(), folder)
            ran.append(step)
    return ran


@pytest.mark.parametrize(
    "interval, expected",
    [
        ({"every_steps": 4}, [4, 8, 12, 13]),
        ({"every_epochs": 1}, [5, 10, 13]),
        ({"every_epochs": 2}, [10, 13]),
        ({"every_epochs": 1, "every_steps": 5}, [5, 10, 13]),
        ({}, [13]),
    ],
)
def test_evaluators_run_at_their_intervals_and_at_the_end(scripted, interval, expected):
    assert run_all_steps(scripted({"top1": [0.5] * 9, **interval}), 13) == expected


def test_each_evaluator_has_its_own_interval(scripted):
    folder = Folder()
    evaluations = scripted(
        {"top1": [0.5] * 9, "label": "often", "every_steps": 2}, {"top1": [0.5] * 9, "label": "seldom"}
    )
    run_all_steps(evaluations, 5, folder=folder)
    assert [(row["step"], row["name"]) for row in folder.lines] == [
        (2, "often"),
        (4, "often"),
        (5, "often"),
        (5, "seldom"),
    ]


def test_guard_measures_before_training_and_warns_in_words_when_the_model_forgets(scripted, caplog):
    folder = Folder()
    evaluations = scripted({"top1": [0.6, 0.59, 0.45], "label": "reference", "every_steps": 1, "max_drop": 0.02})
    evaluations.run_before_training(Model(), folder)
    assert [row["step"] for row in folder.lines] == [0]
    evaluations.run_due(1, 2, Model(), folder)
    assert "forgets" not in caplog.text
    evaluations.run_due(2, 2, Model(), folder)
    assert "the model forgets: reference fell from 60.0 % before training to 45.0 %. A lower rate" in caplog.text


def test_guard_is_quiet_when_the_model_gains(scripted, caplog):
    evaluations = scripted({"top1": [0.6, 0.9], "max_drop": 0.0})
    evaluations.run_before_training(Model(), None)
    evaluations.run_due(1, 1, Model(), None)
    assert "forgets" not in caplog.text


def test_evaluator_without_guard_does_not_run_before_training(scripted):
    evaluations = scripted({"top1": [0.5]})
    evaluations.run_before_training(Model(), None)
    assert evaluations.before == {} and evaluations.latest == {}


def test_guard_remembers_across_an_interruption(scripted, caplog):
    first = scripted({"top1": [0.8], "max_drop": 0.1})
    first.run_before_training(Model(), None)
    resumed = scripted({"top1": [0.5], "max_drop": 0.1})
    resumed.load_state(json.loads(json.dumps(first.state())), best_stands=True)
    resumed.run_due(1, 1, Model(), None)
    assert "fell from 80.0 % before training to 50.0 %" in caplog.text


def test_best_model_is_written_only_when_its_metric_rises(scripted):
    model = Model()
    evaluations = scripted({"top1": [0.3, 0.5, 0.5, 0.4, 0.6], "every_steps": 1}, best="scripted.top1")
    written = []
    for step in range(1, 6):
        evaluations.run_due(step, 5, model, Folder())
        written.append(len(model.saved))
    assert written == [1, 2, 2, 2, 3] and evaluations.best_value == 0.6


@pytest.mark.parametrize(
    "best_stands, saved_metric, written",
    [(True, "scripted.top1", []), (False, "scripted.top1", ["best"]), (True, "other.top1", ["best"])],
)
def test_best_value_survives_an_interruption_with_its_model(scripted, best_stands, saved_metric, written):
    model = Model()
    evaluations = scripted({"top1": [0.4, 0.7], "every_steps": 1}, best="scripted.top1")
    evaluations.load_state({"best_metric": saved_metric, "best_value": 0.5, "before": {}}, best_stands)
    evaluations.run_due(1, 2, model, Folder())
    assert model.saved == written
    evaluations.run_due(2, 2, model, Folder())
    assert model.saved == [*written, "best"] and evaluations.best_value == 0.7


def test_value_before_training_is_not_the_best_of_the_run(scripted):
    model = Model()
    evaluations = scripted({"top1": [0.9, 0.5], "max_drop": 0.5}, best="scripted.top1")
    evaluations.run_before_training(model, Folder())
    evaluations.run_due(1, 1, model, Folder())
    assert model.saved == ["best"] and evaluations.best_value == 0.5


def test_processes_without_the_folder_write_nothing(scripted):
    model = Model()
    evaluations = scripted({"top1": [0.4]}, best="scripted.top1")
    evaluations.run_due(1, 1, model, None)
    assert model.saved == [] and evaluations.best_value == 0.4


def test_two_evaluators_of_one_label_are_refused(scripted):
    with pytest.raises(UserError, match="two evaluators have the label 'scripted'"):
        scripted({"top1": [0.5]}, {"top1": [0.5]})


@pytest.mark.parametrize("option, key", [("best", "checkpoint.best"), ("expected", "expect.metric")])
def test_metric_that_nothing_measures_is_refused_with_those_that_are(scripted, option, key):
    with pytest.raises(
        UserError, match=f"{key} is 'scripted.top2', which no evaluator measures; accepted: scripted.top1"
    ):
        scripted({"top1": [0.5]}, **{option: "scripted.top2"})


# ---------------------------------------------------------------------------------------------------- in whole runs


@pytest.fixture
def train(run, capfd, monkeypatch):
    """Runs `tools/train.py` on the config of `run` in this process, with a ZeroShot evaluator on 12 labelled pictures."""
    for name in ("plot_curves", "plot_confusion"):  # their pictures are tested by themselves, and take half of the time
        monkeypatch.setattr(f"passl.engine.run_folder.{name}", lambda *given: write_text(given[-1], "a picture"))
    rng = np.random.default_rng(1)
    for name in ("red", "green", "blue"):
        (run.folder / "labelled" / name).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (16, 16, 3)).astype("uint8")
            Image.fromarray(pixels).save(run.folder / "labelled" / name / f"{number}.png")
    with run.config.open("a") as file:
        file.write(
            "evaluate:\n  - name: ZeroShot\n    templates: ['a square of colour {}']\n"
            "    every_steps: 4\n    every_epochs: null\n"
            f"    data: {{dataset: {{name: ImageFolder, root: {run.folder / 'labelled'}}}, batch_size: 5}}\n"
        )

    def call(*arguments, output=None, expected=0):
        code = main([str(word) for word in run.command(*arguments, output=output)[2:]], command="train")
        errors = capfd.readouterr().err
        assert code == expected, errors
        return errors

    return call


def evaluations_of(folder):
    return [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]


def test_each_evaluation_is_a_line_and_the_newest_stands_in_the_results(run, train):
    train("-o", "steps=10")
    lines = evaluations_of(run.output)
    assert [(line["step"], line["name"]) for line in lines] == [(4, "zero_shot"), (8, "zero_shot"), (10, "zero_shot")]
    result = json.loads((run.output / "results.json").read_text())["zero_shot"]
    for metric in ("top1", "top5", "mean_per_class_recall", "interval"):
        assert result[metric] == lines[-1][metric]
    assert result["measured"]["step"] == 10 and result["measured"]["templates"] == ["a square of colour {}"]
    assert (run.output / "plots" / "zero_shot-confusion.png").exists()


def test_guard_measures_the_weights_that_the_run_starts_from(run, train):
    train("-o", "steps=4", "-o", "evaluate.0.max_drop=0.5")
    lines = evaluations_of(run.output)
    assert [line["step"] for line in lines] == [0, 4]
    train("--evaluate-only", "--load", run.output / "checkpoints" / "latest", output=run.folder / "after")
    after = json.loads((run.folder / "after" / "results.json").read_text())["zero_shot"]
    assert after["top1"] == lines[1]["top1"] and after["measured"]["step"] is None


def test_evaluations_change_nothing_in_the_training(run, train):
    train("-o", "steps=10", output=run.folder / "without")
    train("-o", "steps=10", "-o", "evaluate.0.every_steps=1", "-o", "evaluate.0.max_drop=0.1")
    assert run.losses() == run.losses(run.folder / "without")


def test_best_folder_holds_the_weights_of_the_best_evaluation(run, train):
    train("-o", "steps=12", "-o", "checkpoint.best=zero_shot.top1")
    lines = evaluations_of(run.output)
    best = max(lines, key=lambda line: line["top1"])["step"]  # of equal ones the first
    state = run.output / "checkpoints" / f"step-{best}"
    expected = {name[len("model.") :]: array for name, array in read_weights(state).items()}
    found = read_weights(run.output / "best")
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    model = passl.create_model(run.output / "best")
    same = passl.create_model(run.output / "best", pretrained=state)
    image = paddle.randn([2, 3, 16, 16])
    np.testing.assert_array_equal(model.encode_image(image).numpy(), same.encode_image(image).numpy())
    assert passl.get_tokenizer(run.output / "best").context_length == 12


# Before there is any state, and after a state and its evaluation.
@pytest.mark.parametrize("crash_at", [pytest.param(2, marks=pytest.mark.slow), 9])
def test_evaluations_stand_once_after_a_crash_and_resume(run, train, monkeypatch, crash_at):
    guard = ("-o", "steps=12", "-o", "evaluate.0.max_drop=0.9")
    train(*guard, output=run.folder / "whole")
    call = TrainStep.__call__

    def crash(self, step, *arguments, **keywords):
        if step == crash_at:
            raise RuntimeError("power cut")
        return call(self, step, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "__call__", crash)
        with pytest.raises(RuntimeError, match="power cut"):
            train(*guard)
    train(*guard, "--resume", "auto")
    assert evaluations_of(run.output) == evaluations_of(run.folder / "whole")
    assert [line["step"] for line in evaluations_of(run.output)] == [0, 4, 8, 12]
    results, whole = (folder / "results.json" for folder in (run.output, run.folder / "whole"))
    assert results.read_text() == whole.read_text()


def test_finished_run_that_is_resumed_measures_its_end_once_more_and_keeps_one_line(run, train):
    train("-o", "steps=8")
    before = evaluations_of(run.output)
    train("-o", "steps=8", "--resume", "auto")
    assert evaluations_of(run.output) == before


@pytest.mark.parametrize("at_least, code, words", [(0.0, 0, "met"), (1.0, 1, "NOT met")])
def test_expectation_decides_the_exit_code(run, train, at_least, code, words):
    expect = ("-o", f"expect={{metric: zero_shot.top1, at_least: {at_least}}}")
    errors = train("-o", "steps=2", *expect, expected=code)
    top1 = json.loads((run.output / "results.json").read_text())["zero_shot"]["top1"]
    assert f"expected zero_shot.top1 of at least {at_least:.4f}: it is {top1:.4f}, {words}\n" in errors
    errors = train(
        "--evaluate-only",
        "--load",
        run.output / "checkpoints" / "latest",
        *expect,
        expected=code,
        output=run.folder / "b",
    )
    assert f", {words}\n" in errors


def test_folder_of_a_measurement_can_still_take_a_run(run, train):
    train("-o", "steps=2")
    train("--evaluate-only", "--load", run.output / "checkpoints" / "latest", output=run.folder / "measured")
    assert sorted(entry.name for entry in (run.folder / "measured").iterdir()) == [".lock", "plots", "results.json"]
    train("-o", "steps=2", output=run.folder / "measured")
