"""How often an agent's captions hold some words, from its recordings."""

from ellm_agent.evaluation.recording import Recording
from envs.crafter.env import CrafterTextEnv
from experiments.words_in_sight import share
from tests.helpers.processes import ROOT, script

TAUGHT = ROOT / "results" / "taught"


def test_the_share_of_frames_by_hand():
    env = CrafterTextEnv()
    env.reset(options={"world_seed": 3})
    actions = [1, 2, 3, 4, 0, 2, 2, 2]
    captions = [env.step(action)[4]["situation"].caption for action in actions]
    for words in ("grass", "tree", "no such thing"):
        wanted = sum(words in caption for caption in captions) / 8
        assert share(Recording(3, {}, actions=actions), words) == wanted


def test_the_committed_recordings_show_what_was_taught():
    done = script("words_in_sight.py", TAUGHT / "water", TAUGHT / "random", "--words", "water")
    assert done.returncode == 0, done.stderr
    taught, untaught = done.stdout.splitlines()
    assert "water: 0.59 of the frames of 10 episodes" in taught
    assert "random: 0.34 of the frames of 10 episodes" in untaught


def test_a_folder_without_recordings_is_one_line(tmp_path):
    done = script("words_in_sight.py", tmp_path, "--words", "water")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "holds no recorded episodes" in done.stderr
