"""The oracle with mistakes, against its rates and against the oracle."""

import pytest

from ellm_agent.goals.base import FullState, OracleSuggester
from ellm_agent.goals.noisy_oracle import NoisyOracle
from envs.interface import Privileged, Situation

GOALS = tuple(f"goal {i}" for i in range(20))
STATES = [FullState(Situation(f"Scene {i}."), Privileged(GOALS[i % 15 : i % 15 + 5])) for i in range(3_000)]


def test_without_mistakes_it_is_the_oracle():
    suggested = NoisyOracle(1, 1, GOALS).suggest(STATES)
    in_order = [
        FullState(state.situation, Privileged(tuple(g for g in GOALS if g in state.privileged.possible)))
        for state in STATES
    ]
    assert suggested == OracleSuggester().suggest(in_order)


@pytest.mark.parametrize(("recall", "precision"), [(0.8, 1), (1, 0.3), (0.4, 0.6), (0.2, 0.3)])
def test_rates_are_as_asked_for(recall, precision):
    suggested = NoisyOracle(recall, precision, GOALS).suggest(STATES)
    right = sum(
        len({*goals} & {*state.privileged.possible}) for goals, state in zip(suggested, STATES, strict=True)
    )
    assert right / (5 * len(STATES)) == pytest.approx(recall, abs=0.02)
    assert right / sum(map(len, suggested)) == pytest.approx(precision, abs=0.02)
    assert all(len(goals) == len({*goals}) for goals in suggested)


def test_false_goals_by_hand():
    """Recall 1, precision .5: to 5 possible goals belong 5 others; of 3 others there are only 3."""
    one = NoisyOracle(1, 0.5, GOALS)
    assert {len(goals) for goals in one.suggest(STATES[:50])} == {10}
    assert set(NoisyOracle(1, 0.5, GOALS[:8]).suggest(STATES[:1])[0]) == {*GOALS[:8]}
    assert NoisyOracle(1, 0.5, GOALS).suggest([FullState(Situation("x"), Privileged(()))]) == [()]


def test_mistakes_are_those_of_the_scene():
    """Whatever is faced, and in another process; other scenes have other ones."""
    one, other = (NoisyOracle(0.5, 0.5, GOALS, scene=lambda c: c.split(". ")[0]) for _ in range(2))
    possible = Privileged(GOALS[:10])
    faces = [FullState(Situation(f"You see a cow. You face {thing}."), possible) for thing in ("a", "b")]
    assert one.suggest(faces) == other.suggest(faces[::-1])
    assert len({*one.suggest(faces)}) == 1
    assert len({*one.suggest([FullState(Situation(f"{i}"), possible) for i in range(50)])}) > 40
    # By Python's generator with a text for its seed, which is the same on every machine.
    (goals,) = one.suggest([FullState(Situation("You see a cow."), Privileged(GOALS[:3]))])
    assert goals == ("goal 1", "goal 2", "goal 6")


def test_what_else_is_possible_changes_no_mistake():
    one = NoisyOracle(0.5, 1, GOALS)
    few, many = one.suggest([FullState(Situation("x"), Privileged(GOALS[:n])) for n in (5, 15)])
    assert {*few} == {*many} & {*GOALS[:5]}


def test_false_goals_are_taken_from_the_scenes_own_candidates():
    one = NoisyOracle(1, 0.3, GOALS, candidates=lambda caption: GOALS[:7])
    assert set(one.suggest([FullState(Situation("x"), Privileged(GOALS[:3]))])[0]) == {*GOALS[:7]}
