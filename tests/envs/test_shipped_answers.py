"""Recorded answers that worlds bring: they answer the prompts of today, and are as good as the documents say."""

from pathlib import Path

import numpy as np
import pytest

from ellm_agent.config.suggester import SuggesterConfig
from ellm_agent.llm.factory import make_model, resolve
from envs.housekeep.answers import put_right
from envs.housekeep.homes import fixed_homes
from envs.housekeep.placements import placements
from envs.interface import Statement
from envs.registry import get
from prompts import closed_form, open_ended, scored, statement

VERSIONS = {
    ("crafter", "open"): open_ended.VERSION,
    ("crafter", "closed"): closed_form.VERSION,
    ("crafter", "scored"): scored.VERSION,
    ("housekeep", "closed"): statement.VERSION,
}
NAMES = [("crafter", "claude", "open"), ("housekeep", "claude", "closed"), ("housekeep", "smollm2", "closed")]
NAMES += [("housekeep", "trained", "closed")]
NAMES += [("crafter", "smollm2", form) for form in ("open", "closed", "scored")]


def recorded(world, name, form):
    llm = {"kind": "recorded", "answers": Path(name)}
    return make_model(SuggesterConfig.model_validate({"kind": form, "llm": llm}), get(world))


def test_the_default_answers_are_written_into_a_configuration():
    """So that a run keeps them. One of 0.12.0, whose configuration names none, has those that were the default then."""
    closed, world = SuggesterConfig(kind="closed"), get("housekeep")
    resolved = resolve(closed, world).llm
    assert (resolved.kind, str(resolved.answers)) == ("recorded", "claude")
    before = SuggesterConfig.model_validate({"kind": "closed", "llm": {"kind": "recorded"}})
    assert "SmolLM2" in make_model(before, world).description


@pytest.mark.parametrize(("world", "name", "form"), NAMES)
def test_shipped_answers_are_of_the_present_prompts(world, name, form):
    recorded(world, name, form).check(VERSIONS[world, form])


def test_all_shipped_files_are_tested():
    shipped = {
        (path.parent.name, path.name.removesuffix(".jsonl.gz")) for path in Path("envs").rglob("*.jsonl.gz")
    }
    tested = {(world, name if world == "housekeep" else f"{name}-{form}") for world, name, form in NAMES}
    assert shipped == tested


def test_goals_of_claude_are_found_by_the_captions_of_crafter():
    language, model = get("crafter").language(), recorded("crafter", "claude", "open")
    captions = (
        "You see grass, tree.",
        "You see crafting table, grass, tree. You have in your inventory wood: 2 or more.",
    )
    answers = model.answer([open_ended.prompt(caption, language) for caption in captions])
    goals = [open_ended.parse(answer.text) for answer in answers]
    assert goals[0] == ("chop tree", "chop grass")
    assert {"make wood pickaxe", "make wood sword"} <= set(goals[1])


def test_a_player_who_follows_claude_puts_most_of_the_fixed_homes_right():
    known, judgements = placements(), get("housekeep").language().judgements
    model = recorded("housekeep", "claude", "closed")
    asked = [
        statement.prompt(Statement(thing, known.where(place)), judgements)
        for thing in known.objects
        for place in range(len(known.places))
    ]
    said = [closed_form.probability_of_yes(a.text, a.logprobs) for a in model.look_up(asked)]
    yes = np.reshape(said, known.right.shape) > 0.5
    assert put_right(fixed_homes(known), yes) == pytest.approx(0.725)
