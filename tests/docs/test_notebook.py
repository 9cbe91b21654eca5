"""docs/notebooks/clip.ipynb, executed in a kernel of this Python and in a folder of its own.

A cell added at its end hands the facts to look at back to the tests.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

import passl
from passl.checkpoint import layer_arrays, to_family, weights_hash

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: pip install -r requirements-dev.txt")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: pip install -r requirements-dev.txt")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: pip install -r requirements-dev.txt")

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "notebooks" / "clip.ipynb"
WARNING = "RANDOM WEIGHTS: these numbers mean nothing"

FACTS = """
import json, sys
from passl.checkpoint import layer_arrays, weights_hash

print(json.dumps({
    "python": sys.executable,
    "similarity": similarity.tolist(),
    "image_lengths": image_features.norm(axis=-1).tolist(),
    "text_lengths": text_features.norm(axis=-1).tolist(),
    "class_lengths": classifier.norm(axis=-1).tolist(),
    "probabilities": probabilities.tolist(),
    "in_one_call": in_one_call.tolist(),
    "pixel_difference": float(np.abs(image_input.numpy() - in_one_go).max()),
    "feature_difference": float(difference),
    "same_tokens": bool((text_input == tokenize(sentences)).all()),
    "titles": [axis.get_title(), figure._suptitle.get_text()],
    "weights": [weights_hash(layer_arrays(layer)) for layer in (network, model.model)],
}))
"""


class Executed:
    """The notebook after its run in `folder`, without PASSL_WEIGHTS or with it."""

    def __init__(self, folder, weights=None):
        kernel = folder / "jupyter" / "kernels" / "this-python"
        kernel.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "-", "language": "python"}))
        (folder / "empty").mkdir()

        notebook = nbformat.read(NOTEBOOK, as_version=4)
        notebook.cells.append(nbformat.v4.new_code_cell(FACTS))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
            patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
            patch.setenv("IPYTHONDIR", str(folder / "ipython"))
            patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
            patch.delenv("MPLBACKEND", raising=False)  # or a user's own would keep figures out of the outputs
            patch.delenv("PASSL_WEIGHTS", raising=False)
            if weights is not None:
                patch.setenv("PASSL_WEIGHTS", str(weights))
            resources = {"metadata": {"path": str(folder / "empty")}}
            client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="this-python", resources=resources)
            client.execute()

        self.cells = {cell.id: cell for cell in notebook.cells[:-1] if cell.cell_type == "code"}
        self.facts = json.loads(_text(notebook.cells[-1]))

    def text(self, cell):
        return _text(self.cells[cell])


def _text(cell):
    return "".join(output.text for output in cell.outputs if output.get("name") == "stdout")


@pytest.fixture(scope="module")
def without_weights(tmp_path_factory):
    return Executed(tmp_path_factory.mktemp("notebook"))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file as PASSL's own are, of the real size, and the hash of the weights in it under our names."""
    paddle.seed(1)
    arrays = layer_arrays(passl.create_model("ViT-B/32"))
    arrays["logit_scale"] = np.array(np.log(100), np.float32)
    path = tmp_path_factory.mktemp("published") / "ViT-B-32.pdparams"
    weights = to_family(arrays, "passl-2021")
    paddle.save({"state_dict": {name: paddle.to_tensor(array) for name, array in weights.items()}}, str(path))
    return path, weights_hash(arrays)


@pytest.fixture(scope="module")
def with_weights(tmp_path_factory, published):
    return Executed(tmp_path_factory.mktemp("notebook"), weights=published[0])


def test_notebook_is_stored_without_outputs():
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


@pytest.mark.slow
def test_notebook_runs_in_this_python(without_weights):
    assert without_weights.facts["python"] == sys.executable


@pytest.mark.slow
def test_notebook_shows_its_three_figures(without_weights):
    pictures = {
        name: sum("image/png" in output.get("data", {}) for output in cell.outputs)
        for name, cell in without_weights.cells.items()
    }
    assert {name: count for name, count in pictures.items() if count} == {"pictures": 1, "cosines": 1, "bars": 1}


@pytest.mark.slow
def test_notebook_without_weights_says_so_wherever_it_shows_numbers(without_weights):
    for cell in ("weights", "short", "load", "zero-shot", "one-call"):
        assert WARNING in without_weights.text(cell), cell
    assert all(WARNING in title for title in without_weights.facts["titles"])


@pytest.mark.slow
def test_notebook_compares_every_text_with_every_picture(without_weights):
    similarity = np.array(without_weights.facts["similarity"])
    assert similarity.shape == (8, 8)
    assert np.abs(similarity).max() <= 1 and np.unique(similarity).size > 32


@pytest.mark.slow
@pytest.mark.parametrize("what", ["image_lengths", "text_lengths", "class_lengths"])
def test_notebook_features_have_unit_length(without_weights, what):
    assert np.allclose(without_weights.facts[what], np.ones(8), atol=1e-5)


@pytest.mark.slow
def test_notebook_probabilities_sum_to_one(without_weights):
    probabilities = np.array(without_weights.facts["probabilities"])
    assert probabilities.shape == (8, 8) and probabilities.min() > 0
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_notebook_step_by_step_equals_the_predictor(without_weights):
    facts = without_weights.facts
    assert facts["same_tokens"]
    assert facts["pixel_difference"] < 1e-5
    assert facts["feature_difference"] < 1e-5
    assert np.allclose(facts["in_one_call"], facts["probabilities"], atol=1e-5)


@pytest.mark.slow
def test_notebook_loads_the_weights_in_the_file(with_weights, published):
    assert with_weights.facts["weights"] == [published[1], published[1]]


@pytest.mark.slow
def test_notebook_with_weights_does_not_call_them_random(with_weights, published):
    assert str(published[0]) in with_weights.text("weights")
    assert not any(WARNING in with_weights.text(cell) for cell in with_weights.cells)
    assert not any(WARNING in title for title in with_weights.facts["titles"])


@pytest.mark.slow
def test_notebook_with_weights_uses_their_scale(with_weights):
    assert "scale 100.0" in with_weights.text("zero-shot")
    facts = with_weights.facts
    assert np.allclose(facts["in_one_call"], facts["probabilities"], atol=1e-4)


@pytest.mark.slow
def test_notebook_stops_at_a_path_that_is_wrong(tmp_path):
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="no such file or folder"):
        Executed(tmp_path, weights=tmp_path / "absent.pdparams")
