"""Drawing recorded episodes: the world's picture, the panel, and the reason for each reward."""

import numpy as np
import pytest
from PIL import Image

from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.evaluation import rendering
from ellm_agent.evaluation.recording import Recording
from envs import registry
from experiments import replay


@pytest.fixture
def recording():
    """Eight frames without movement, of which the fourth is rewarded."""
    step = {
        "goals": ["chop tree", "gather wood"],
        "open": ["chop tree", "gather wood"],
        "events": [],
        "satisfied": [],
    }
    steps = [{**step, "reward": 0.0} for _ in range(8)]
    steps[3] |= {"events": ["chop tree"], "satisfied": ["gather wood"], "reward": 0.93}
    return Recording(2**30, {"protocol": "crafter"}, "crafter", actions=[0] * 8, steps=steps)


def test_the_reason_for_a_reward():
    """The event, the goals that it satisfied, and the cosine, which up to 0.8.0 is the reward."""
    step = {"events": ["chop tree"], "satisfied": ["gather wood", "fell a tree"], "reward": 0.934}
    assert rendering.explain_reward(step) == (
        "+0.93   chop tree",
        "goal: gather wood, fell a tree   cosine 0.93",
    )


def test_frames(recording):
    pictures = list(rendering.frames(recording))
    assert [picture.shape for picture in pictures] == [(450, 870, 3)] * 9
    banner = [picture[46:92, 460:860] for picture in pictures]
    assert (banner[3] == banner[0]).all()
    assert (banner[4] != banner[3]).any()  # the reward is shown after the frame that earned it
    assert (banner[5] == banner[4]).all()  # and stays for a while


def test_a_frame_with_a_reward_is_never_left_out(recording):
    few = list(rendering.frames(recording, stride=100))
    every = list(rendering.frames(recording))
    assert len(few) == 3
    assert all((one == every[i]).all() for one, i in zip(few[:2], (0, 4), strict=True))


@pytest.mark.parametrize(
    "damage",
    [
        {"world": "nowhere"},
        {"environment": {"weather": "rain"}},
        {"world_seed": "abc"},
        {"actions": [99] * 8},
        {"actions": [0] * 9},
        {"steps": [{"reward": 0.0}] * 8},
    ],
)
def test_a_recording_that_cannot_be_played_ends_in_one_line(recording, damage):
    for name, value in damage.items():
        setattr(recording, name, value)
    with pytest.raises(UserError, match=r"the recording of world .* cannot be played \("):
        list(rendering.frames(recording, stride=4))


def test_only_replays_are_replaced(recording, tmp_path):
    kept = [tmp_path / name for name in ("speed.json", "episode.gif", "agent.json", "notes-best-1.json")]
    old = [tmp_path / name for name in ("01-best-9-unlocks.json", "02-episode-solved.gif")]
    for path in (*kept, *old):
        path.touch()
    rendering.draw_replays([recording], tmp_path, Config(), drawn=0)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in kept} | {
        "01-best-0-unlocks.json"
    }


def test_gif(recording, tmp_path):
    rendering.write_gif(recording, tmp_path / "x.gif", max_frames=4)
    with Image.open(tmp_path / "x.gif") as image:
        assert image.size == (870, 450)
        assert 4 <= image.n_frames <= 6
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 8


def test_nights_are_drawn_without_grain():
    """It flickers in animations, and makes their files large."""
    crafter = registry.get("crafter")
    env, plain = (crafter.make_env(render_mode="rgb_array", grain=grain) for grain in (True, False))
    for each in (env, plain):
        each.reset(options={"world_seed": 2**30})
        each.game._world.daylight = 0.1
    assert (env.render() != plain.render()).any()
    assert (crafter.draw(env) == plain.render()).all()


def test_hostile_goals_are_drawn_as_text(recording):
    for step in recording.steps:
        step["goals"] = step["open"] = ["\x1b[31m" + "x" * 500, "\n" * 50, "é" * 99]
    assert len(list(rendering.frames(recording, stride=8))) >= 2


def test_a_run_without_recordings(tmp_path):
    from ellm_agent.config.presets import PRESETS
    from ellm_agent.runs.folder import Run

    run = Run.create(PRESETS["debug"].changed(**{"run.out": tmp_path / "run"}))
    with pytest.raises(UserError, match="holds no recorded episodes yet"):
        replay.main(replay.Options(run.folder))
