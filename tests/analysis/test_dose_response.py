"""The fit of scores to recall and precision, by hand, and its predictions."""

import numpy as np
import pytest

from ellm_agent.analysis.dose_response import Dose, Fit, fit
from ellm_agent.errors import UserError

GRID = [(r, p) for r in (1.0, 0.6, 0.2) for p in (1.0, 0.6, 0.3)]


def surface(r, p):
    return 5 + 10 * r + 2 * p + 12 * r * p


def test_a_surface_without_noise_is_found_exactly():
    fitted = fit([Dose(r, p, surface(r, p)) for r, p in GRID], 100)
    assert fitted.coefficients == pytest.approx([5, 10, 2, 12])
    assert fitted.deviation == pytest.approx(0, abs=1e-9)
    assert fitted.predict(0.5, 0.5) == pytest.approx((14, 14, 14))
    assert fitted.covers(0.5, 0.5)
    assert not fitted.covers(0.5, 0.2)


def test_an_interval_by_hand():
    """Four corners of r, p in {0, 1}, twice, with +1 and -1: s^2 = 8 / 4. In the middle x'(X'X)^-1 x = 1 / 8, as for a mean."""
    corners = [(r, p) for r in (0.0, 1.0) for p in (0.0, 1.0)]
    fitted = fit([Dose(r, p, surface(r, p) + noise) for noise in (1, -1) for r, p in corners], 100)
    assert fitted.deviation == pytest.approx(2**0.5)
    score, low, high = fitted.predict(0.5, 0.5)
    t = 2.7764451  # 97.5 % of Student's distribution with 4 degrees of freedom
    assert score == pytest.approx(14)
    assert (high - score, score - low) == pytest.approx((t * (2 * (1 + 1 / 8)) ** 0.5,) * 2)


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


def test_too_few_runs_are_refused():
    with pytest.raises(UserError, match=r"^5 runs do not say how recall and precision act"):
        fit([Dose(1, 1, 3)] * 5, 100)
