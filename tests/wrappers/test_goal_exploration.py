"""The exploration wrapper, on a world simple enough to follow by hand."""

import dataclasses
import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from ellm_agent.agents.dqn import TextDQN, TextDQNPolicy
from ellm_agent.agents.text_encoder import TextEncoder
from ellm_agent.errors import UserError
from ellm_agent.goals.base import AllGoals, FixedGoals, GoalSuggester, NoGoals, OracleSuggester
from ellm_agent.rewards.goal_similarity import GoalSimilarity
from ellm_agent.rewards.rarity import InverseRate
from ellm_agent.text.whitening import PhraseFeatures
from ellm_agent.wrappers.goal_exploration import Attempts, GoalExploration
from ellm_agent.wrappers.observation import closed_vocabulary
from envs.interface import Language, Privileged, Situation

LANGUAGE = Language(
    vocabulary=("", *(f"count {i}" for i in range(40))),
    to_sentence=". ".join,
    goals=("chop tree", "drink water"),
    verbs=("chop", "drink"),
    nouns=("tree", "water"),
    achievements=("wood", "water"),
)


class Counting(gym.Env):
    """Counts frames and says so. Frame 2 and 4: chop tree; frame 5: drink water. Ends at frame 7.

    Goals possible: "chop tree" until frame 4; "drink water" from frame 3 on.
    """

    language = LANGUAGE
    observation_space = gym.spaces.Box(0, 40, (2,), np.int16)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, truncates=False):
        self.truncates = truncates

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.frame = 0
        return self._observation(), self._info()

    def step(self, action):
        self.frame += 1
        events = {2: ("chop tree",), 4: ("chop tree",), 5: ("drink water",)}.get(self.frame, ())
        ended = self.frame == 7
        info = {**self._info(), "events": events, "attempt": "drink tree" if action else None}
        if ended:
            info["unlocked"] = ("water", "wood")
        return self._observation(), 0.5, ended and not self.truncates, ended and self.truncates, info

    def episode(self):
        return {"frame": self.frame}

    def resume_episode(self, episode):
        self.frame = episode["frame"]
        return self._observation(), self._info()

    def _observation(self):
        return np.array([self.frame + 1, 0], np.int16)

    def _info(self):
        possible = ("chop tree",) if self.frame < 5 else ()
        possible += ("drink water",) if self.frame >= 3 else ()
        return {
            "situation": Situation(f"Frame {self.frame}."),
            "privileged": Privileged(possible, ("chop tree",) if self.frame < 4 else ()),
            "world_seed": 7,
        }


@pytest.fixture
def explore(table):
    table.known.update({"chop tree": [1.0], "drink water": [0.0, 1.0], "drink tree": [0.0, 0.0, 1.0]})

    def make(suggester=None, n_envs=1, truncates=False, **options):
        worlds = DummyVecEnv([lambda: Counting(truncates)] * n_envs)
        reward = GoalSimilarity(0.5, encode=table.encode)
        return GoalExploration(worlds, suggester or OracleSuggester(), reward, table, **options)

    return make


def play(worlds, frames, action=0):
    """Rewards, dones and infos of the first world."""
    steps = []
    for _ in range(frames):
        _, rewards, dones, infos = worlds.step(np.full(worlds.num_envs, action))
        steps.append((float(rewards[0]), bool(dones[0]), {**infos[0], "log": worlds.log(0)}))
    return [list(part) for part in zip(*steps, strict=True)]


def texts(worlds, row):
    """Field -> phrases of an observation."""
    return {f: [worlds.phrases.text(i) for i in row[part] if i] for f, part in worlds.fields.items()}


def test_goals_are_rewarded_once_an_episode_and_again_in_the_next(explore):
    worlds = explore()
    worlds.reset()
    rewards, dones, infos = play(worlds, 14)
    assert rewards == [0, 1, 0, 0, 1, 0, 0] * 2
    assert dones == ([False] * 6 + [True]) * 2
    assert infos[6]["finished"].intrinsic_return == 2.0
    assert infos[6]["finished"].extrinsic_return == 3.5
    assert infos[6]["finished"].unlocked == ("water", "wood")
    assert infos[6]["episode"] == {"r": 2.0, "l": 7}
    assert infos[1]["log"].reward.goals == ("chop tree",)
    assert infos[2]["log"].goals == ("chop tree",)
    assert worlds.open_before(infos[2]["log"]) == ()  # achieved, so it is no longer open


def test_goals_can_be_observed_without_being_rewarded(explore):
    worlds = explore(goal_weight=0.0, extrinsic_weight=2.0, goal_conditioned=True)
    shown = texts(worlds, worlds.reset()[0])["goals"]
    assert shown == ["goal: chop tree"]
    assert play(worlds, 7)[0] == [1.0] * 7  # twice the environment's
    worlds.reset()
    play(worlds, 2)
    assert worlds.achieved == [("chop tree",)]
    assert worlds.open == [()]  # closed when achieved


def test_a_needed_goal_is_open_again_at_half_its_reward(explore):
    """The tree falls in frames 2 and 4, and is needed until then; in frame 5 the water, which is not needed."""
    worlds = explore(reopen=True, goal_weight=2.0)
    worlds.reset()
    rewards, _, infos = play(worlds, 7)
    assert rewards == [0, 2, 0, 1, 2, 0, 0]
    assert infos[6]["finished"].intrinsic_return == 5.0
    state = worlds.state_dict()
    assert state["rewarded"] == [[]]  # the next episode has begun


def test_rare_events_are_worth_more(explore):
    """In the first episode all weights are 1, then 1 and, for what was never rewarded, 10."""

    class TreeFirst(GoalSuggester):
        only_tree = True

        def suggest(self, situations):
            return [("chop tree",) if self.only_tree else ("chop tree", "drink water")] * len(situations)

    suggester = TreeFirst()
    worlds = explore(suggester, rarity=InverseRate(0.5))
    worlds.reset()
    assert play(worlds, 7)[0] == [0, 1, 0, 0, 0, 0, 0]
    suggester.only_tree = False
    state = worlds.state_dict()
    assert play(worlds, 7)[0] == [0, 1, 0, 0, 10, 0, 0]
    other = explore(suggester, rarity=InverseRate(0.5))
    other.reset()
    other.load_state_dict(json.loads(json.dumps(state)))
    assert play(other, 7)[0] == [0, 1, 0, 0, 10, 0, 0]  # resumed
    # Means .005 and 0, then .009975 and .005: water is worth the root of their ratio.
    assert play(other, 7)[0][4] == pytest.approx((0.009975 / 0.005) ** 0.5)


def test_only_goals_of_the_state_before_the_action_are_rewarded(explore):
    """Goals that are suggested only after the event has happened do not count."""

    class AfterTheFact(GoalSuggester):
        def suggest(self, situations):
            return [("drink water",) if s.caption == "Frame 5." else () for s in situations]

    worlds = explore(AfterTheFact())
    worlds.reset()
    assert sum(play(worlds, 7)[0]) == 0

    class Before(GoalSuggester):
        def suggest(self, situations):
            return [("drink water",) if s.caption == "Frame 4." else () for s in situations]

    worlds = explore(Before())
    worlds.reset()
    assert play(worlds, 7)[0] == [0, 0, 0, 0, 1, 0, 0]


def test_agent_reads_what_it_has_achieved(explore):
    worlds = explore()
    first = worlds.reset()
    assert texts(worlds, first[0]) == {"caption": ["count 0"], "achieved": []}
    worlds.step(np.zeros(1, int))
    obs, *_ = worlds.step(np.zeros(1, int))
    assert texts(worlds, obs[0]) == {"caption": ["count 2"], "achieved": ["achieved: chop tree"]}


def test_end_of_an_episode_is_seen_as_it_was(explore):
    """The terminal observation holds the achievements; the first of the next episode holds none."""
    worlds = explore()
    worlds.reset()
    for _ in range(7):
        obs, _, _, infos = worlds.step(np.zeros(1, int))
    last = texts(worlds, infos[0]["terminal_observation"])
    assert last == {"caption": ["count 7"], "achieved": ["achieved: chop tree", "achieved: drink water"]}
    assert texts(worlds, obs[0]) == {"caption": ["count 0"], "achieved": []}
    assert worlds.open[0] == ("chop tree",)


def test_conditioned_agent_reads_its_open_goals(explore):
    worlds = explore(goal_conditioned=True)
    obs = worlds.reset()
    assert texts(worlds, obs[0])["goals"] == ["goal: chop tree"]
    for _ in range(4):
        obs, *_ = worlds.step(np.zeros(1, int))
    assert texts(worlds, obs[0])["goals"] == ["goal: drink water"]


class Reluctant(GoalSuggester):
    """Knows a goal of frame 3 only; keeps what it was given."""

    def __init__(self):
        self.suggested, self.recalled = [], []

    def suggest(self, situations):
        self.suggested += [situation.caption for situation in situations]
        return [("make noise",) if s.caption == "Frame 3." else None for s in situations]

    def recall(self, situations):
        self.recalled += [situation.caption for situation in situations]
        return [("make noise",) if s.caption == "Frame 3." else None for s in situations]


@pytest.mark.parametrize("one_episode", [False, True])
def test_where_goals_are_not_known_the_last_ones_of_the_episode_stand(explore, one_episode):
    suggester = Reluctant()
    worlds = explore(suggester, goal_conditioned=True, one_episode=one_episode)
    assert texts(worlds, worlds.reset()[0])["goals"] == []
    steps = [worlds.step(np.zeros(1, int)) for _ in range(7)]
    assert texts(worlds, steps[3][0][0])["goals"] == ["goal: make noise"]  # frame 4
    last = steps[6][3][0]["terminal_observation"]
    assert texts(worlds, last)["goals"] == ["goal: make noise"]
    assert texts(worlds, steps[6][0][0])["goals"] == []  # the next episode
    # Training asks about how an episode ended, too; evaluation asks nobody.
    asked, unasked = suggester.suggested, suggester.recalled
    if one_episode:
        asked, unasked = unasked, asked
    assert "Frame 7." in asked
    assert unasked == []


def test_sentences_are_one_phrase_a_field(explore):
    worlds = explore(sentence=True, goal_conditioned=True)
    assert worlds.reset().shape == (1, 3)
    for _ in range(5):
        obs, *_ = worlds.step(np.zeros(1, int))
    observed = texts(worlds, obs[0])
    assert observed["caption"] == ["count 5"]
    assert observed["achieved"] == ["achieved: chop tree, drink water"]
    assert observed["goals"] == []


def test_attempts_count_only_where_asked(explore):
    suggester = AllGoals(("drink tree",))
    worlds = explore(suggester)
    worlds.reset()
    assert sum(play(worlds, 7, action=1)[0]) == 0
    worlds = explore(suggester, success="attempt")
    worlds.reset()
    assert play(worlds, 7, action=1)[0] == [1, 0, 0, 0, 0, 0, 0]


def test_environment_reward_is_added_by_weight(explore):
    worlds = explore(NoGoals(), extrinsic_weight=2.0)
    worlds.reset()
    assert play(worlds, 3)[0] == [1.0, 1.0, 1.0]


def test_quality_is_counted_for_suggested_and_rewarded_goals(explore):
    worlds = explore(AllGoals(("chop tree", "drink water", "chop water", "fly away")))
    worlds.reset()
    play(worlds, 3)
    # Frames 0 to 3, of which only in the last both real goals are possible.
    assert dict(worlds.counts.suggested) == {"good": 5, "poorly_timed": 3, "bad": 4, "nonsensical": 4}
    assert dict(worlds.counts.rewarded) == {"good": 1}
    metrics = worlds.metrics()
    assert metrics["goals/suggested_good"] == pytest.approx(5 / 16)
    assert metrics["goals/rewarded_good"] == 1.0
    play(worlds, 1)
    assert worlds.metrics()["goals/suggested_good"] == pytest.approx(2 / 4)  # since the last call
    play(worlds, 5)
    assert worlds.counts.wordings["fly away"] == 10


def _options(worlds):
    closed = worlds.phrases.ids(closed_vocabulary(worlds.language))
    return {
        "features_extractor_class": TextEncoder,
        "features_extractor_kwargs": {
            "features": PhraseFeatures(worlds.phrases, closed, whiten=False),
            "hidden": 8,
        },
        "net_arch": [],
    }


@pytest.mark.parametrize("truncates", [False, True])
def test_replay_loses_no_frame(explore, truncates):
    """Every transition of three worlds is in the replay, in order, with its own reward and end."""
    worlds = explore(n_envs=3, truncates=truncates)
    agent = TextDQN(
        TextDQNPolicy, worlds, buffer_size=600, learning_starts=10, batch_size=8, train_freq=1,
        policy_kwargs=_options(worlds), seed=0,
    )  # fmt: skip
    agent.learn(3 * 30)
    replay = agent.replay_buffer
    assert replay.pos == 30
    for step in range(30):
        for world in range(3):
            now = texts(worlds, replay.observations[step, world])
            after = texts(worlds, replay.next_observations[step, world])
            frame = step % 7
            assert now["caption"] == [f"count {frame}"]
            assert after["caption"] == [f"count {frame + 1}"]
            assert replay.rewards[step, world] == (frame + 1 in (2, 5))
            assert len(now["achieved"]) == (frame >= 2) + (frame >= 5)
            assert len(after["achieved"]) == (frame >= 1) + (frame >= 4)
            assert replay.dones[step, world] == (frame == 6)
            assert replay.timeouts[step, world] == (truncates and frame == 6)


def test_real_environment_works_in_worker_processes(table):
    """The contract crosses process borders: SB3's SubprocVecEnv can be wrapped, too."""
    from stable_baselines3.common.vec_env import SubprocVecEnv

    from envs.crafter.env import CrafterTextEnv

    venv = SubprocVecEnv([CrafterTextEnv] * 2, start_method="spawn")
    try:
        worlds = GoalExploration(venv, OracleSuggester(), GoalSimilarity(0.5, encode=table.encode), table)
        worlds.seed(0)
        assert worlds.reset().shape == (2, worlds.observation_space.shape[0])
        _, rewards, *_ = worlds.step(np.zeros(2, int))
        assert rewards.tolist() == [0, 0]
        assert worlds.log(0).goals
    finally:
        venv.close()


def test_any_sb3_algorithm_trains_on_it(explore):
    worlds = explore(n_envs=2)
    agent = PPO("MlpPolicy", worlds, n_steps=16, batch_size=16, policy_kwargs=_options(worlds), device="cpu")
    agent.learn(64)
    assert agent.num_timesteps == 64


def test_one_active_goal_is_sampled_kept_and_sampled_again(explore):
    worlds = explore(
        AllGoals(LANGUAGE.goals), goal_conditioned=True, max_active_goals=1, active_goal_frames=3
    )
    worlds.seed(0)
    worlds.reset()
    drawn = []
    for _ in range(6):
        drawn.append(worlds.goals[0])
        assert len(worlds.goals[0]) == 1
        _, rewards, _, infos = worlds.step([0])
        log = worlds.log(0)
        assert log.goals == drawn[-1]
        assert (rewards[0] > 0) == bool(set(infos[0]["events"]) & set(log.goals) - set(log.achieved))
    assert drawn[0] == drawn[1]  # what is not achieved is kept for three frames
    assert worlds.counts.suggested.total() == 2 * 7  # suggested goals are counted, not sampled ones


def test_scenes_read_the_same_in_a_table_that_knew_other_phrases(explore, table):
    table.ids(["goal: fly away", "count 7"])
    worlds = explore()
    observations = [worlds.reset()[0]]
    observations += [worlds.step(np.zeros(1, int))[0][0] for _ in range(3)]
    assert [texts(worlds, row)["caption"] for row in observations] == [[f"count {i}"] for i in range(4)]


def test_sampled_goals_are_restored(explore):
    options = {"goal_conditioned": True, "max_active_goals": 1, "active_goal_frames": 3, "n_envs": 3}
    worlds, other = (explore(AllGoals(LANGUAGE.goals), **options) for _ in range(2))
    for seed, one in enumerate((worlds, other)):
        one.seed(seed)
        one.reset()
        play(one, 4)
    state = worlds.state_dict()
    kept = json.dumps(state)
    assert (
        worlds.load_state_dict(state).tolist() == other.load_state_dict(json.loads(kept)).tolist()
    )  # also into itself
    assert json.dumps(worlds.state_dict()) == kept
    for _ in range(20):
        one, two = (w.step(np.zeros(3, int)) for w in (worlds, other))
        assert worlds.goals == other.goals
        assert [part.tolist() for part in one[:3]] == [part.tolist() for part in two[:3]]
    worlds.reset()
    assert all(len(goals) == 1 for goals in worlds.goals)


def test_the_last_observation_of_an_episode_shows_the_sampled_goal(explore):
    worlds = explore(AllGoals(LANGUAGE.goals), goal_conditioned=True, max_active_goals=1, truncates=True)
    worlds.seed(1)
    goals = worlds.fields["goals"]
    shown = [worlds.reset()[0, goals]]
    for _ in range(7):
        observation, _, dones, infos = worlds.step([0])
        shown.append(infos[0]["terminal_observation"][goals] if dones[0] else observation[0, goals])
    assert dones[0]
    assert max(np.count_nonzero(row) for row in shown) == 1


def test_goals_without_intrinsic_reward_are_neither_sampled_nor_filtered(explore):
    class Shown(AllGoals):
        rewards_goals = False

    worlds = explore(Shown(LANGUAGE.goals), goal_conditioned=True, max_active_goals=1)
    worlds.reset()
    assert worlds.goals == [LANGUAGE.goals]


def test_more_phrases_than_a_field_holds_are_an_error(explore):
    """An observation that left some out would no longer determine the reward."""
    goals = tuple(f"goal number {i}" for i in range(65))
    worlds = explore(FixedGoals(goals), goal_conditioned=True)
    with pytest.raises(UserError, match="65 phrases do not fit into the 64 slots"):
        worlds.reset()


def test_likely_wordings_of_goals_have_ids_before_others(explore, table):
    """So an encoder can give them learned offsets; goals that nobody observes take no ids."""

    class Wordy(FixedGoals):
        likely_goals = ("cut down a tree", "take a sip")

    worlds = explore(Wordy(LANGUAGE.goals), goal_conditioned=True)
    known = {worlds.phrases.text(i) for i in worlds.known_phrases}
    assert {"goal: cut down a tree", "goal: take a sip", "goal: chop tree"} <= known
    assert max(worlds.known_phrases) + 1 == len(table)
    size = len(table)
    worlds.reset()
    play(worlds, 7)
    assert len(table) == size  # rewarding goals gives no ids to phrases that the agent never observes


def test_suggesters_see_only_what_a_player_sees(explore):
    seen = []

    class Curious(GoalSuggester):
        def suggest(self, situations):
            seen.extend(situations)
            return [()] * len(situations)

    worlds = explore(Curious())
    worlds.reset()
    play(worlds, 2)
    assert seen
    assert all(type(situation) is Situation for situation in seen)
    assert not any(hasattr(situation, "possible") for situation in seen)


@pytest.mark.parametrize("truncates", [True, False])
def test_time_limits_are_bootstrapped_under_ppo_through_the_wrappers(explore, truncates):
    """SB3 adds the discounted value of the last observation where an episode was truncated, and only there."""
    worlds = explore(n_envs=1, truncates=truncates)
    agent = PPO(
        "MlpPolicy", worlds, n_steps=7, batch_size=7, gamma=0.5, policy_kwargs=_options(worlds), device="cpu"
    )
    torch.nn.init.constant_(agent.policy.value_net.bias, 3.0)
    values = []

    def keep(local, _):
        for info in local["infos"]:
            if "terminal_observation" in info:
                last = info["terminal_observation"]
                assert texts(worlds, last)["achieved"] == ["achieved: chop tree", "achieved: drink water"]
                with torch.no_grad():
                    values.append(agent.policy.predict_values(torch.as_tensor(last[None])).item())
        return True

    agent.learn(7, callback=keep)
    stored = agent.rollout_buffer.rewards[:, 0].tolist()
    assert stored[:6] == [0, 1, 0, 0, 1, 0]
    assert stored[6] == pytest.approx(0.5 * values[0] if truncates else 0.0)
    assert abs(values[0]) > 1


def test_attempts_are_found_in_the_meanings_of_actions():
    language = dataclasses.replace(
        LANGUAGE,
        action_meanings={
            "": ((3, "drink water"),),
            "count 1": ((1, "chop tree"), (2, "go to tree")),
            "count 2": ((1, "drink water"),),
        },
    )
    attempts = Attempts(language)
    ids = np.array([[2, 0], [3, 0], [2, 0], [1, 0], [2, 0], [2, 0]])  # "count 1" has id 2
    actions = np.array([1, 1, 2, 3, 0, 4])
    expected = ["chop tree", "drink water", None, "drink water", None, None]
    assert attempts.goals(ids, actions) == expected


def test_suggesters_that_learn_from_attempts_are_told_of_them(explore, monkeypatch):
    told = dataclasses.replace(LANGUAGE, action_meanings={"": ((1, "chop tree"),)})
    monkeypatch.setattr(Counting, "language", told)

    class Learner(AllGoals):
        learns_from_attempts = True

        def __init__(self, goals):
            super().__init__(goals)
            self.noted = []

        def note_attempt(self, goal, situation, succeeded):
            self.noted.append((goal, situation.caption, succeeded))

    learner = Learner(LANGUAGE.goals)
    worlds = explore(learner)
    worlds.reset()
    for action in (1, 1, 0):
        worlds.step(np.array([action]))
    assert learner.noted == [("chop tree", "Frame 0.", False), ("chop tree", "Frame 1.", True)]
