"""The fit of scores to recall and precision, by hand, and its predictions."""

from types import SimpleNamespace

import numpy as np
import pytest

from ellm_agent.analysis.dose_response import Dose, Fit, doses, fit
from ellm_agent.errors import UserError

GRID = [(r, p) for r in (1.0, 0.6, 0.2) for p in (1.0, 0.6, 0.3)]


def surface(r, p):
    return 5 + 10 * r - 4 * r * r + 2 * p + 12 * r * p


def test_a_surface_without_noise_is_found_exactly():
    fitted = fit([Dose(r, p, surface(r, p)) for r, p in GRID], 100)
    assert fitted.coefficients == pytest.approx([5, 10, -4, 2, 12])
    assert fitted.deviation == pytest.approx(0, abs=1e-9)
    assert fitted.predict(0.5, 0.5) == pytest.approx((13, 13, 13))
    assert fitted.covers(0.5, 0.5)
    assert not fitted.covers(0.5, 0.2)


def test_an_interval_by_hand():
    """r in {0, 1/2, 1}, p in {0, 1}, each twice, with +1 and -1: s^2 = 12 / 7. At r = p = 1/2, where the curve goes through
    the mean of the four runs there, x'(X'X)^-1 x = 1 / 4.
    """
    places = [(r, p) for r in (0.0, 0.5, 1.0) for p in (0.0, 1.0)]
    fitted = fit([Dose(r, p, surface(r, p) + noise) for noise in (1, -1) for r, p in places], 100)
    assert fitted.deviation == pytest.approx((12 / 7) ** 0.5)
    score, low, high = fitted.predict(0.5, 0.5)
    t = 2.3646243  # 97.5 % of Student's distribution with 7 degrees of freedom
    assert score == pytest.approx(13)
    assert (high - score, score - low) == pytest.approx((t * (12 / 7 * (1 + 1 / 4)) ** 0.5,) * 2)


def test_new_runs_are_inside_as_often_as_promised():
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(300):
        fitted = fit([Dose(r, p, surface(r, p) + rng.normal()) for r, p in GRID], 100)
        _, low, high = fitted.predict(0.7, 0.5)
        inside.append(low <= surface(0.7, 0.5) + rng.normal() <= high)
    assert 0.91 < np.mean(inside) < 0.99


def test_it_is_kept_in_a_file(tmp_path):
    fitted = fit([Dose(r, p, surface(r, p)) for r, p in GRID], 100)
    fitted.save(tmp_path / "fit.json")
    assert Fit.load(tmp_path / "fit.json") == fitted
    (tmp_path / "fit.json").write_text('{"coefficients": []}')
    with pytest.raises(UserError, match="is no fit of"):
        Fit.load(tmp_path / "fit.json")
    with pytest.raises(UserError, match="cannot read the fit"):
        Fit.load(tmp_path / "absent.json")


def test_doses_are_read_from_methods_and_what_was_counted():
    """Recall is the method's; precision what was counted, or the method's, where nothing was."""
    counted = SimpleNamespace(summary={"quality": {"suggested": {"good": 0.75}}}, score=30.0)
    nominal = SimpleNamespace(summary={"quality": {}}, score=20.0)
    group = SimpleNamespace(methods={"oracle-r80-p60": [counted, nominal], "oracle": [counted]})
    assert doses(group) == [Dose(0.8, 0.75, 30.0), Dose(0.8, 0.6, 20.0)]


def test_too_few_runs_are_refused():
    with pytest.raises(UserError, match=r"^5 runs do not say how recall and precision act"):
        fit([Dose(1, 1, 3)] * 5, 100)
