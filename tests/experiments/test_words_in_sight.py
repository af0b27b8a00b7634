"""How often an agent's captions hold some words, from its recordings."""

from types import SimpleNamespace

from ellm_agent.evaluation.recording import Recording
from envs import registry
from experiments.words_in_sight import share
from tests.helpers.processes import ROOT, script

TAUGHT = ROOT / "results" / "taught"


def test_the_share_of_frames_by_hand(monkeypatch):
    """A world whose captions count frames: "You see count 1." after the first action, and so on."""

    class Counted:
        def reset(self, *, options):
            self.frame = options["world_seed"]

        def step(self, action):
            self.frame += action
            situation = SimpleNamespace(caption=f"You see count {self.frame}.")
            return None, 0.0, False, False, {"situation": situation}

    monkeypatch.setattr(registry, "get", lambda name: SimpleNamespace(make_env=Counted))
    recording = Recording(0, {}, actions=[1, 1, 1, 0, 7])
    for words, wanted in (("count 3", 2 / 5), ("count 1", 2 / 5), ("count", 1.0), ("tree", 0.0)):
        assert share(recording, words) == wanted, words


def test_the_committed_recordings_show_what_was_taught():
    folders = (TAUGHT / "water", TAUGHT / "water-1", TAUGHT / "random")
    done = script("words_in_sight.py", *folders, "--words", "water")
    assert done.returncode == 0, done.stderr
    taught, again, untaught = done.stdout.splitlines()
    assert "water: 0.76 of the frames of 10 episodes" in taught
    assert "water-1: 0.71 of the frames of 10 episodes" in again
    assert "random: 0.34 of the frames of 10 episodes" in untaught


def test_a_folder_without_recordings_is_one_line(tmp_path):
    done = script("words_in_sight.py", tmp_path, "--words", "water")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "holds no recorded episodes" in done.stderr
