"""Statistics of few seeds, worked out by hand and held against rliable."""

import numpy as np
import pytest
from rliable import metrics

from ellm_agent.analysis.statistics import interquartile_mean, performance_profile, probability_of_improvement


def test_interquartile_mean_by_hand():
    few = interquartile_mean([1, 2, 6])
    assert few.centre == pytest.approx(3)  # of three seeds: their mean
    assert interquartile_mean([0, 1, 2, 3, 4, 5, 6, 100]).centre == pytest.approx(3.5)  # of 2, 3, 4, 5
    # Three times the same of three is sampled once in 27 times, which is more than 2.5 %: the interval is the range.
    assert (few.low, few.high) == (1, 6)
    assert str(few) == few.text(3) == "3.00 [1.00, 6.00]"
    assert few.text(2) == "3.00"


def test_an_estimate_does_not_depend_on_the_others():
    runs = np.random.default_rng(0).normal(size=(3, 5))
    alone = interquartile_mean(runs[0])
    found = [interquartile_mean(values) for values in reversed(runs)]
    assert found[-1] == alone


def test_interquartile_mean_is_rliables():
    runs = np.random.default_rng(0).normal(size=(7, 5))
    found = interquartile_mean(runs)
    assert found.centre.tolist() == pytest.approx([metrics.aggregate_iqm(runs[:, i]) for i in range(5)])
    assert (found.low < found.centre).all()
    assert (found.centre < found.high).all()
    again = interquartile_mean(runs)
    assert (again.low == found.low).all()  # resampling is seeded


def test_probability_of_improvement_by_hand():
    assert probability_of_improvement([3, 4], [1, 2]).centre == 1
    assert probability_of_improvement([1, 3], [2, 2]).centre == 0.5
    assert probability_of_improvement([1, 2], [2, 2]).centre == 0.25  # a tie counts half


def test_performance_profile_by_hand():
    found = performance_profile([[0.0, 0.5], [1.0, 0.2]], np.array([0.0, 0.3, 0.6]))
    assert found.centre.tolist() == [0.75, 0.5, 0.25]
    # Seeds are sampled anew for each task. None is above 0.6 or one in two is; the first task's alone decides.
    assert (found.low[2], found.high[2]) == (0, 0.5)
