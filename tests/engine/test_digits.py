"""The accuracy of the digits run comes from the captions: with captions shuffled between the pictures it is chance."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from passl.cli.main import main
from passl.datasets.prepare import prepare_digits

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "quick" / "digits.yaml"
STEPS = 250

# Chance is one in ten, but 360 pictures are not 360 independent guesses: a model without knowledge still sees that the
# threes look alike and gives them all the same wrong or right name. What is drawn by chance is a name for each of the ten
# digits. In the worst case a digit's pictures are right or wrong together, so that the accuracy is K / 10 with K of
# Binomial(10, 1/10); digits that are torn apart only bring it nearer to 1/10. More than 4 of 10 have a probability of
# 0.2 %: the control has to stay at or below that.
HIGHEST_BY_CHANCE = 0.4


def probability_of_more_than(count, trials, chance):
    """Of so many successes in independent trials."""
    return sum(math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(count + 1, trials + 1))


def test_bound_of_the_control_is_one_in_several_hundred():
    assert probability_of_more_than(4, 10, 0.1) < 0.002 < 0.01 < probability_of_more_than(3, 10, 0.1)


def shuffle_captions(folder):
    """Gives each picture the captions of another one, drawn with a fixed seed."""
    texts = sorted(folder.glob("*.txt"))
    captions = [path.read_text() for path in texts]
    for path, number in zip(texts, np.random.default_rng(0).permutation(len(texts))):
        path.write_text(captions[number])


def accuracy(data, output):
    """The zero-shot accuracy on held-out digits after a short run of the shipped config, and its logged steps."""
    overrides = [
        *(f"data.train.dataset.root={data / 'train'}", f"data.eval.dataset.root={data / 'test'}"),
        *("epochs=null", f"steps={STEPS}", "data.train.batch_size=64", "expect=null"),
        *("evaluate.0.every_epochs=null", "checkpoint.every_epochs=null", "checkpoint.best=null"),
    ]
    options = [word for override in overrides for word in ("-o", override)]
    assert main(["-c", str(CONFIG), *options, "--output-dir", str(output)], command="train") == 0
    lines = (output / "metrics.jsonl").read_text().splitlines()
    result = json.loads((output / "results.json").read_text())["zero_shot"]
    assert result["measured"]["num_samples"] == 360
    return result["top1"], [json.loads(line)["step"] for line in lines]


@pytest.mark.slow
def test_digits_are_learned_from_their_captions_and_not_from_shuffled_ones(tmp_path):
    prepare_digits(tmp_path / "true")
    prepare_digits(tmp_path / "shuffled")
    shuffle_captions(tmp_path / "shuffled" / "train")
    learned, steps = accuracy(tmp_path / "true", tmp_path / "run")
    control, same_steps = accuracy(tmp_path / "shuffled", tmp_path / "control")
    print(f"top1 {learned:.1%} after {STEPS} steps, {control:.1%} with shuffled captions")
    assert steps == same_steps and steps[-1] == STEPS
    assert learned > 0.6
    assert control <= HIGHEST_BY_CHANCE
