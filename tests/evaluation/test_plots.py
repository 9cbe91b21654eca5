import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from passl.evaluation import plots
from passl.evaluation.plots import plot_confusion, plot_curves
from passl.utils.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _rows(count):
    return [
        {
            "step": n,
            "loss": 3 / n,
            "batch_accuracy": 1 - 1 / n,
            "lr": 1e-3,
            "logit_scale": 14.3,
            "samples_per_second": 90,
        }
        for n in range(1, count + 1)
    ]


def _size(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        image.load()
        return image.size


def _pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("num_classes", [1, 2, 10, 26, 101, 300])
def test_confusion_is_drawn_for_any_number_of_classes(num_classes, tmp_path):
    matrix = np.eye(num_classes, dtype=int) * 9 + np.roll(np.eye(num_classes, dtype=int), 1, axis=1)
    plot_confusion(matrix, [f"class name {n}" for n in range(num_classes)], tmp_path / "plots" / "c.png")
    width, height = _size(tmp_path / "plots" / "c.png")
    assert 400 < width < 2700 and 400 < height < 2500


def test_confusion_colours_a_row_by_its_shares(tmp_path):
    # The same shares on 3 and on 3000 samples give the same colours; only the numbers in the cells differ.
    names = ["a"] * 26
    matrix = np.full((26, 26), 1)
    for factor in (1, 1000):
        plot_confusion(matrix * factor, names, tmp_path / f"{factor}.png")
    small, large = (_pixels(tmp_path / f"{factor}.png")[:, :900] for factor in (1, 1000))
    centre = (slice(100, 700), slice(100, 700))
    assert (small[centre] == large[centre]).all()


def test_confusion_has_no_trouble_with_odd_names(tmp_path):
    names = ["$5 $10", "\\frac{x}", "日本語", "😀", "x" * 500, "", "two\nlines", "_under"]
    plot_confusion(np.ones((8, 8), dtype=int), names, tmp_path / "c.png")
    width, height = _size(tmp_path / "c.png")
    assert max(width, height) < 1500


def test_confusion_lists_odd_names_too(tmp_path):
    plot_confusion(np.ones((40, 40), dtype=int), ["$5 $10", "a_{b}^$"] * 20, tmp_path / "c.png")
    assert min(_size(tmp_path / "c.png")) > 400


def test_names_that_no_font_can_draw_become_numbers(monkeypatch):
    monkeypatch.setattr(plots, "_drawable", lambda: frozenset(map(ord, "cats ")))
    assert [plots._label(name, n) for n, name in enumerate(["cats", "猫", "a  cat"])] == ["cats", "class 1", "a cat"]


def test_long_names_are_shortened():
    label = plots._label("pulled pork sandwich with extra sauce", 0)
    assert len(label) == 28 and label.startswith("pulled pork sandwich") and label.endswith("…")


def test_confusion_without_samples_is_drawn(tmp_path):
    plot_confusion(np.zeros((3, 3), dtype=int), ["a", "b", "c"], tmp_path / "c.png")
    assert _size(tmp_path / "c.png")


@pytest.mark.parametrize(("shape", "names"), [((2, 3), ["a", "b"]), ((3, 3), ["a", "b"]), ((0, 0), [])])
def test_confusion_of_a_wrong_shape_is_refused(shape, names, tmp_path):
    with pytest.raises(UserError, match="is square, not of shape"):
        plot_confusion(np.zeros(shape), names, tmp_path / "c.png")


@pytest.mark.parametrize("count", [1, 2, 30, 1000, 20_000])
def test_curves_are_drawn_for_any_number_of_steps(count, tmp_path):
    evaluations = [{"step": count, "name": name, "top1": 0.5} for name in ("zero_shot", "guard $1$")]
    plot_curves(_rows(count), evaluations, tmp_path / "k.png")
    assert _size(tmp_path / "k.png")[0] > 1500


def test_curves_draw_only_panels_that_have_values(tmp_path):
    plot_curves([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "lr": None}], [], tmp_path / "one.png")
    plot_curves(_rows(2), [], tmp_path / "five.png")
    assert 2 * _size(tmp_path / "one.png")[0] < _size(tmp_path / "five.png")[0]


def test_curves_draw_evaluations_alone(tmp_path):
    plot_curves([], [{"step": 0, "name": "guard", "top1": 0.6, "top5": 0.9}], tmp_path / "k.png")
    assert _size(tmp_path / "k.png")[0] < 900


def test_curves_leave_evaluations_without_top1_out(tmp_path):
    with pytest.raises(UserError, match="nothing to draw"):
        plot_curves([], [{"step": 0, "name": "retrieval", "recall": 0.6}], tmp_path / "k.png")


def test_worst_confusions_come_first_and_right_ones_not():
    matrix = np.array([[9, 2, 0], [5, 9, 0], [0, 1, 9]])
    assert plots._worst_confusions(matrix, ["a", "b", "c"]) == "5  b → a\n2  a → b\n1  c → b"
    assert plots._worst_confusions(np.eye(2, dtype=int), ["a", "b"]) == "none"


def test_curves_leave_gaps_where_values_are_not_finite(tmp_path):
    rows = _rows(200)
    rows[50]["loss"] = float("nan")
    rows[60]["loss"] = float("inf")
    del rows[70]["loss"]
    plot_curves(rows, [], tmp_path / "k.png")
    assert _size(tmp_path / "k.png")


def test_curves_of_nothing_are_refused(tmp_path):
    with pytest.raises(UserError, match="nothing to draw"):
        plot_curves([{"step": 1, "loss": float("nan")}], [], tmp_path / "k.png")
    assert list(tmp_path.iterdir()) == []


def test_running_mean_is_of_the_finite_values_around_each_point():
    values = np.array([1.0, 2.0, np.nan, 4.0, 9.0])
    assert plots._running_mean(values, window=3).tolist() == [1.5, 1.5, 3.0, 6.5, 6.5]
    assert np.isnan(plots._running_mean(np.full(4, np.nan), window=3)).all()


def test_picture_is_replaced_and_nothing_else_left(tmp_path):
    path = tmp_path / "k.png"
    path.write_bytes(b"old")
    plot_curves(_rows(3), [], path)
    assert _size(path) and [entry.name for entry in tmp_path.iterdir()] == ["k.png"]


def test_drawing_leaves_pyplot_alone(tmp_path):
    code = (
        "import sys\n"
        "from passl.evaluation.plots import plot_curves\n"
        f"plot_curves([{{'step': 1, 'loss': 2.0}}], [], {str(tmp_path / 'k.png')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
