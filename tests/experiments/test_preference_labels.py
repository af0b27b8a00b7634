"""The script that measures labels: its options, and clips that are kept for the next time."""

from pathlib import Path

import numpy as np
import pytest

from ellm_agent.errors import UserError
from ellm_agent.text.phrases import PhraseTable
from experiments.preference_labels import Options, main, read_clips, write_clips


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 10}, "frames is 10; it must be at least 60000"),
        ({"seeds": ()}, "seeds is empty"),
        ({"seeds": (0, -1)}, "seeds is -1"),
        ({"clips_seed": -1}, "clips-seed is -1"),
        ({"cache": "nowhere/clips.npz"}, "cache is .*; nowhere is no folder"),
        ({"out": "nowhere/x.json"}, "nowhere is no folder"),
    ],
)
def test_bad_options_are_named(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    paths = {name: Path(value) for name, value in options.items() if name in ("cache", "out")}
    with pytest.raises(UserError, match=message):
        main(Options(**{"out": tmp_path / "x.json", **options, **paths}))


def test_clips_are_kept_with_what_they_are(tmp_path):
    """Another table has other ids; clips of other frames are refused."""
    path, first, second = tmp_path / "clips", PhraseTable(), PhraseTable()
    observations = np.array([[first.ids(["a", "b"]), first.ids(["b", "c"])]], np.int32)
    write_clips(path, observations, np.array([1.5]), {"frames": 9}, first)
    second.ids(["c", "x"])
    found, totals = read_clips(path, {"frames": 9}, second)
    assert [second.text(i) for i in found.flat] == ["a", "b", "b", "c"]
    assert totals.tolist() == [1.5]
    with pytest.raises(UserError, match=r"whose clips are of {'frames': 9}, not of {'frames': 10}"):
        read_clips(path, {"frames": 10}, second)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match="holds no clips of this script"):
        read_clips(path, {"frames": 9}, second)
