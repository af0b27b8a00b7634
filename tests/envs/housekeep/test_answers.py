"""Recorded answers about what belongs where: their file, and what a player puts right who follows them."""

from types import SimpleNamespace

import numpy as np
import pytest

from ellm_agent.llm.recorded import RecordedModel
from envs.housekeep.answers import put_right, recorded
from envs.housekeep.placements import placements
from envs.interface import Statement
from envs.registry import get
from prompts import closed_form
from prompts.statement import prompt


def test_a_player_who_follows_answers_puts_right_what_they_know():
    # Objects 0 and 1 are misplaced at places 0; right places: 1 and 2 for object 0, 2 for object 1.
    right = np.array([[0, 1, 1], [0, 0, 1]], bool)
    home = SimpleNamespace(misplaced=(0, 1), objects=(4, 5), places=(7, 8, 9), at=(0, 0), right=right)
    yes = np.zeros((6, 10), bool)
    assert put_right([home], yes) == 0  # nowhere to put them
    yes[4, [8, 9]] = yes[5, [8, 9]] = True  # object 0 surely right; object 1 in one of two places
    assert put_right([home], yes) == pytest.approx((1 + 1 / 2) / 2)
    yes[4, 7] = True  # it is left where it lies
    assert put_right([home], yes) == pytest.approx((0 + 1 / 2) / 2)


def test_a_file_of_answers_is_read_back(tmp_path):
    known = placements()
    answers = np.full((len(known.objects), len(known.places)), 0.25)
    answers[3, 5] = 0.75
    content = recorded({"description": "a test"}, known, answers)
    assert content == recorded({"description": "a test"}, known, answers)
    path = tmp_path / "answers.jsonl.gz"
    path.write_bytes(content)
    model = RecordedModel(path)
    judgements = get("housekeep").language().judgements
    prompts = [prompt(Statement(known.objects[3], known.where(p)), judgements) for p in (5, 6)]
    yes = [closed_form.probability_of_yes(answer.text, answer.logprobs) for answer in model.answer(prompts)]
    assert yes == pytest.approx([0.75, 0.25])
