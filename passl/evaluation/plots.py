"""Pictures of a run: its curves, and which classes it confuses.

Drawn with Matplotlib's objects rather than pyplot, so nothing global changes and no window system is asked for.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import MaxNLocator, PercentFormatter

from passl.utils.errors import UserError
from passl.utils.files import PathLike, atomic_file

# Key in a row of metrics.jsonl, title, whether the values are shares, whether they are worth smoothing.
_PANELS = (
    ("loss", "loss", False, True),
    ("batch_accuracy", "accuracy in the batch", True, True),
    ("lr", "learning rate", False, False),
    ("logit_scale", "temperature (logit scale)", False, False),
    ("samples_per_second", "samples per second", False, True),
)

_MAX_POINTS = 4000  # more than a line has pixels
_SMOOTHED_FROM = 60  # so many points look ragged without a running mean
_MAX_NUMBERED = 25  # classes: above this a cell is too small for its number
_MAX_NAMED = 150  # classes: above this a row is too thin for its name
_MAX_NAME = 28  # letters

# Fonts that are widely installed and have Chinese, Japanese and Korean, which Matplotlib's own lacks.
_CJK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "Arial Unicode MS",
)


def plot_curves(rows: Sequence[Mapping[str, Any]], evaluations: Sequence[Mapping[str, Any]], path: PathLike) -> None:
    """Draws the course of a run as a PNG: loss, accuracy in the batch, evaluations, rate, temperature and speed.

    A panel is drawn if there are values for it; values that are missing or not finite leave a gap.

    Args:
        rows: what `metrics.jsonl` holds: `step` and any of `loss`, `batch_accuracy`, `lr`, `logit_scale`,
            `samples_per_second`.
        evaluations: `step`, `name` and `top1` (0..1) of each evaluation; those without `top1` are left out.
        path: where the picture goes; it is replaced in one step.
    """
    draw: List[Callable[[Axes], None]] = []
    for key, title, is_share, is_smoothed in _PANELS:
        steps, values = _curve(rows, key)
        if np.isfinite(values).any():
            draw.append(functools.partial(_draw_curve, title, is_share, is_smoothed, steps, values))
    evaluations = [row for row in evaluations if row.get("top1") is not None]
    if evaluations:
        draw.insert(2, functools.partial(_draw_evaluations, evaluations))
    if not draw:
        raise UserError("there is nothing to draw: no logged step has a finite value, and there is no evaluation")

    num_columns = min(3, len(draw))
    num_rows = -(-len(draw) // num_columns)
    figure = Figure(figsize=(4.6 * num_columns, 3.2 * num_rows), layout="constrained")
    panels = figure.subplots(num_rows, num_columns, squeeze=False).flat
    for panel, draw_panel in itertools.zip_longest(panels, draw):
        if draw_panel is None:
            panel.set_axis_off()
        else:
            draw_panel(panel)
    _write(figure, path)


def plot_confusion(matrix: np.ndarray, class_names: Sequence[str], path: PathLike) -> None:
    """Draws a confusion matrix as a PNG: true classes in rows, predicted ones in columns, coloured by share of the row.

    Few classes have their counts written in; many have the most frequent confusions listed beside the matrix.

    Args:
        matrix: counts, [C, C].
        class_names: the C names.
        path: where the picture goes; it is replaced in one step.
    """
    matrix = np.asarray(matrix)
    num_classes = len(class_names)
    if num_classes == 0 or matrix.shape != (num_classes, num_classes):
        raise UserError(f"a confusion matrix of {num_classes} classes is square, not of shape {matrix.shape}")
    labels = [_label(name, index) for index, name in enumerate(class_names)]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)  # [C, C]
    is_small = num_classes <= _MAX_NUMBERED

    # In inches; what the names at the axes need comes on top when the picture is written.
    side = max(2.6, 0.5 * num_classes) if is_small else min(13.0, 4.0 + 0.085 * num_classes)
    column = 0.3 if is_small else 3.6
    width, height = side + 0.25 + column, side
    beside = (side + 0.25) / width
    figure = Figure(figsize=(width, height))
    panel = figure.add_axes((0, 0, side / width, 1))
    bar = figure.add_axes((beside, 0, 0.16 / width, min(2.6, side) / height))

    # The root makes a confusion of one in a hundred visible beside a hundred in a hundred.
    image = panel.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    figure.colorbar(image, cax=bar, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1], format=PercentFormatter(1, decimals=0))
    bar.tick_params(labelsize=8, length=0)
    if is_small:
        for row, column in zip(*np.nonzero(matrix)):
            colour = "white" if shares[row, column] > 0.35 else "#1b2a3a"
            panel.text(column, row, f"{matrix[row, column]}", ha="center", va="center", fontsize=8, color=colour)
    else:
        figure.text(beside, 1, "most frequent confusions", va="top", fontsize=10)
        figure.text(
            beside, 1 - 0.3 / height, _worst_confusions(matrix, labels), va="top", linespacing=1.6, **_free_text(7.5)
        )
    _name_classes(panel, labels, room=72 * side / num_classes)
    panel.set_xlabel("predicted")
    panel.set_ylabel("true")
    total, right = int(matrix.sum()), int(np.trace(matrix))
    panel.set_title(f"{right / max(total, 1):.1%} of {total:,} right", fontsize=11, loc="left")
    _write(figure, path)


def _curve(rows: Sequence[Mapping[str, Any]], key: str) -> Tuple[np.ndarray, np.ndarray]:
    """Steps and values of one quantity, NaN where it is missing."""
    steps = np.array([row["step"] for row in rows], dtype=np.float64)
    values = [row.get(key) for row in rows]
    return steps, np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _draw_curve(
    title: str, is_share: bool, is_smoothed: bool, steps: np.ndarray, values: np.ndarray, panel: Axes
) -> None:
    finite = np.isfinite(values)
    values = np.where(finite, values, np.nan)
    stride = -(-len(values) // _MAX_POINTS)
    if is_smoothed and finite.sum() >= _SMOOTHED_FROM:
        panel.plot(steps[::stride], values[::stride], color="#9ec5e8", linewidth=0.7)
        values = _running_mean(values, window=max(5, len(values) // 40))
    marker = "o" if finite.sum() == 1 else None
    panel.plot(steps[::stride], values[::stride], color="#1f6fb4", linewidth=1.6, marker=marker)
    _dress(panel, title, is_share)


def _draw_evaluations(evaluations: Sequence[Mapping[str, Any]], panel: Axes) -> None:
    for number, name in enumerate(dict.fromkeys(row["name"] for row in evaluations)):
        points = sorted((row["step"], row["top1"]) for row in evaluations if row["name"] == name)
        steps, values = np.array(points, dtype=np.float64).T
        label = f"{_label(name, number)}: {values[-1]:.1%}"
        panel.plot(steps, values, linewidth=1.4, marker="o", markersize=4, label=label)
    _dress(panel, "top-1 accuracy of evaluations", is_share=True)
    for text in panel.legend(frameon=False, prop={"family": _fonts(), "size": 8}).get_texts():
        text.set_parse_math(False)


def _dress(panel: Axes, title: str, is_share: bool) -> None:
    panel.set_title(title, fontsize=10, loc="left")
    panel.set_xlabel("step", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.grid(color="#e4e7eb", linewidth=0.8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    if is_share:
        panel.yaxis.set_major_formatter(PercentFormatter(1))
    else:
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean over `window` values around each point, of those that are finite (NaN if none is)."""
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    positions = np.arange(len(values))
    first = np.maximum(positions - window // 2, 0)
    end = np.minimum(positions + window // 2 + 1, len(values))
    num = counts[end] - counts[first]
    return np.where(num > 0, (sums[end] - sums[first]) / np.maximum(num, 1), np.nan)


def _name_classes(panel: Axes, labels: Sequence[str], room: float) -> None:
    """Puts the class names at both axes, as large as fits `room` points; class numbers if there are too many."""
    num_classes = len(labels)
    panel.tick_params(length=0 if num_classes <= _MAX_NAMED else 3)
    panel.spines[:].set_color("#c4cad1")
    if num_classes > _MAX_NAMED:
        panel.tick_params(labelsize=8)
        return
    is_short = max(map(len, labels)) <= 6 and num_classes <= _MAX_NUMBERED
    positions = range(num_classes)
    text = _free_text(min(9.0, 0.72 * room))
    panel.set_xticks(positions, labels, rotation=0 if is_short else 90, **text)
    panel.set_yticks(positions, labels, **text)


def _worst_confusions(matrix: np.ndarray, labels: Sequence[str], length: int = 25) -> str:
    """The most frequent confusions in words, one a line."""
    wrong = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    order = np.argsort(-wrong, axis=None, kind="stable")[:length]
    pairs = [pair for pair in zip(*np.unravel_index(order, matrix.shape)) if wrong[pair] > 0]
    lines = [f"{wrong[true, taken]}  {labels[true]} \N{RIGHTWARDS ARROW} {labels[taken]}" for true, taken in pairs]
    return "\n".join(lines) or "none"


def _free_text(size: float) -> Dict[str, Any]:
    """How text is drawn that was written by people: in any script, and with dollar signs that mean no formula."""
    return {"fontsize": size, "family": _fonts(), "parse_math": False}


def _label(name: str, index: int) -> str:
    """A name as it can be drawn: shortened, or the class's number if no font at hand has its letters."""
    name = " ".join(str(name).split())
    if not all(ord(letter) in _drawable() for letter in name):
        return f"class {index}"
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"


@functools.cache
def _fonts() -> List[str]:
    """Matplotlib's own font, and behind it one with Chinese, Japanese and Korean if the machine has one."""
    installed = set(font_manager.get_font_names())
    cjk: Optional[str] = next((font for font in _CJK_FONTS if font in installed), None)
    return ["DejaVu Sans", *([cjk] if cjk else [])]


@functools.cache
def _drawable() -> frozenset:
    """The characters that the fonts have."""
    return frozenset(code for font in _fonts() for code in FT2Font(font_manager.findfont(font)).get_charmap())


def _write(figure: Figure, path: PathLike) -> None:
    FigureCanvasAgg(figure)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=140, facecolor="white", bbox_inches="tight", pad_inches=0.15)
