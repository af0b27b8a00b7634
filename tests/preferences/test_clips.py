"""Clips: how experience is cut, what they say in words, and that a saved clip is the same."""

import json

import numpy as np
import pytest

from ellm_agent.build import make_suggester, make_worlds
from ellm_agent.config import PRESETS
from ellm_agent.config.files import in_world
from ellm_agent.evaluation.recording import Recording
from ellm_agent.preferences.clips import Clip, ClipRecorder, RecordedClips, clips_of_recordings
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.wrappers.added_reward import AddedReward
from envs import registry


def record(worlds, steps, frames=3, kept=100):
    events = worlds.fields["achieved"]
    recorder = ClipRecorder(worlds.num_envs, frames, events.stop, kept, events)
    recorded = AddedReward(worlds, RecordedClips(recorder))
    recorded.reset()
    for step in range(steps):
        recorded.step(np.full(worlds.num_envs, step % 2))
    return recorder


def test_recordings_are_played_again_in_the_same_way_each_time():
    """Also the worlds beside them and the episodes that follow, whose phrases get ids: the same in each process."""

    def phrases():
        config = in_world(PRESETS["debug"], "housekeep").changed(
            **{"env.protocol": "homes", "suggester.kind": "none"}
        )
        table = PhraseTable()
        worlds = make_worlds(config, make_suggester(config, registry.get("housekeep").language()), table, 3)
        recording = Recording(5, {}, "housekeep", [1] * 30)
        clips_of_recordings([recording], worlds, 5, worlds.fields["achieved"].stop)
        return [table.text(i) for i in range(len(table))]

    assert phrases() == phrases()


def test_an_episode_is_cut_into_clips(worlds, reader):
    """Seven frames in clips of three: 0 to 3, 3 to 6, and, so that the end is seen, 4 to 7."""
    recorder = record(worlds, 7)
    mine = list(recorder.clips)[::2]
    assert [reader.captions(clip)[0] for clip in mine] == ["count 0", "count 3", "count 4"]
    assert [reader.captions(clip)[-1] for clip in mine] == ["count 3", "count 6", "count 7"]
    assert [clip.start for clip in mine] == [0, 3, 4]
    assert mine[-1].actions == (0, 1, 0, 1, 0, 1, 0)
    assert mine[0].total == pytest.approx(1.5)
    assert [reader.events(clip) for clip in mine] == [
        [(2, "chop tree")],
        [(2, "drink water")],
        [(1, "drink water")],
    ]
    assert len({clip.key for clip in mine}) == 3


def test_episodes_shorter_than_a_clip_give_none(worlds):
    assert not record(worlds, 21, frames=8).clips


def test_only_the_newest_clips_are_kept(worlds):
    clips = record(worlds, 14, kept=4).clips
    assert [clip.start for clip in clips] == [3, 3, 4, 4]


def test_clips_of_an_event_stay_candidates(worlds, reader):
    """The clip with the tree is no longer among the newest. Both worlds play the same, so their clips are the same."""
    recorder = record(worlds, 7, kept=2)
    assert [reader.events(clip) for clip in recorder.clips] == [[(1, "drink water")]] * 2
    events = [reader.events(clip) for clip in recorder.candidates]
    assert events == [[(2, "chop tree")], [(2, "drink water")], [(1, "drink water")]]


def test_of_each_event_the_newest_ten_clips_are_candidates(worlds, clip):
    recorder = ClipRecorder(1, 2, worlds.fields["achieved"].stop, kept=1, events=worlds.fields["achieved"])
    for seed in range(12):
        recorder.keep(clip([1, 2, 3], ["chop tree"], world_seed=seed))
    recorder.keep(clip([1, 2, 3], world_seed=12))
    assert [one.world_seed for one in recorder.candidates] == [*range(2, 12), 12]


def test_an_event_of_which_a_clip_is_kept_too_long_gives_way(worlds, clip):
    """Of 51 events the first has no clips any more."""
    recorder = ClipRecorder(1, 2, worlds.fields["achieved"].stop, kept=1, events=worlds.fields["achieved"])
    for seed in range(51):
        recorder.keep(clip([1, 2, 3], [f"event {seed}"], world_seed=seed))
    assert [one.world_seed for one in recorder.candidates] == list(range(1, 51))


def test_a_saved_recorder_goes_on(worlds):
    straight, first = record(worlds, 9), record(worlds, 5)
    events = worlds.fields["achieved"]
    second = ClipRecorder(2, 3, events.stop, events=events)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    worlds_again = AddedReward(worlds, RecordedClips(second))
    worlds_again._last = worlds._observe(worlds._captions)
    for step in range(5, 9):
        worlds_again.step(np.full(2, step % 2))
    assert [clip.key for clip in second.clips] == [clip.key for clip in straight.clips]
    assert [clip.key for clip in second.candidates] == [clip.key for clip in straight.candidates]
    assert all(
        np.array_equal(a.observations, b.observations)
        for a, b in zip(second.clips, straight.clips, strict=True)
    )


def test_a_saved_clip_is_the_same(clip):
    one = clip([3, 4, 5], ["chop tree"], total=1.5)
    other = Clip.from_row(json.loads(json.dumps(one.row())))
    assert np.array_equal(one.observations, other.observations)
    assert (one.key, one.total, one.actions) == (other.key, other.total, other.actions)


@pytest.mark.parametrize(
    "change",
    [
        {"observations": "AAAA"},
        {"shape": [3]},
        {"shape": [9, 9]},
        {"actions": []},
        {"world_seed": "x"},
        {"total": None},
    ],
)
def test_a_damaged_clip_is_refused(clip, change):
    with pytest.raises((TypeError, ValueError, KeyError)):
        Clip.from_row({**clip([3, 4, 5]).row(), **change})
