import pytest

from passl.optim import Constant, WarmupCosine
from passl.utils.errors import UserError


def test_cosine_rises_linearly_then_falls_to_zero():
    schedule = WarmupCosine(100, warmup_fraction=0.05)
    assert [schedule(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert schedule(5) == pytest.approx(1.0)
    assert schedule(5 + 95 // 2) == pytest.approx(0.5, abs=0.01)
    assert schedule(100) == pytest.approx(0.0)


def test_cosine_ends_at_its_final_factor():
    assert WarmupCosine(10, warmup_steps=0, final_factor=0.1)(10) == pytest.approx(0.1)


def test_constant_stays_at_the_peak():
    schedule = Constant(10, warmup_steps=2)
    assert [schedule(step) for step in (0, 1, 2, 9)] == pytest.approx([0.5, 1.0, 1.0, 1.0])


@pytest.mark.parametrize("settings", [{"warmup_fraction": 1.0}, {"warmup_steps": 10}, {"final_factor": 2.0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(UserError, match="schedule."):
        WarmupCosine(10, **settings)
