"""The exploration wrapper, on a world simple enough to follow by hand."""

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from ellm_agent.agents.dqn import TextDQN, TextDQNPolicy
from ellm_agent.errors import UserError
from ellm_agent.goals.base import AllGoals, FixedGoals, GoalSuggester, OracleSuggester
from ellm_agent.rewards.goal_similarity import GoalSimilarity
from ellm_agent.wrappers.goal_exploration import GoalExploration
from envs.interface import Situation
from tests.helpers.counting import LANGUAGE, play, policy_options, texts


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
    assert infos[6]["log"].goals == ("drink water",)  # the episode's last step
    assert worlds.open_before(infos[2]["log"]) == ()  # achieved, so it is no longer open


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


@pytest.mark.parametrize("sentence", [False, True])
def test_hidden_clauses_are_not_observed(explore, sentence):
    """The captions of the tiny world are "count 1", "count 2" and so on."""
    worlds = explore(sentence=sentence, hide="count [34]$")
    worlds.reset()
    observed = [texts(worlds, worlds.step(np.zeros(1, int))[0][0])["caption"] for _ in range(5)]
    assert observed == [["count 1"], ["count 2"], [], [], ["count 5"]]


def test_to_hide_clauses_that_no_caption_has_is_refused(explore):
    with pytest.raises(
        UserError, match="hide-clauses is 'cuont'; no clause of the caption matches that, such as 'count"
    ):
        explore(hide="cuont")


def test_attempts_count_only_where_asked(explore):
    suggester = AllGoals(("drink tree",))
    worlds = explore(suggester)
    worlds.reset()
    assert sum(play(worlds, 7, action=1)[0]) == 0
    worlds = explore(suggester, success="attempt")
    worlds.reset()
    assert play(worlds, 7, action=1)[0] == [1, 0, 0, 0, 0, 0, 0]


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


@pytest.mark.parametrize("truncates", [False, True])
def test_replay_loses_no_frame(explore, truncates):
    """Every transition of three worlds is in the replay, in order, with its own reward and end."""
    worlds = explore(n_envs=3, truncates=truncates)
    agent = TextDQN(
        TextDQNPolicy, worlds, buffer_size=600, learning_starts=10, batch_size=8, train_freq=1,
        policy_kwargs=policy_options(worlds), seed=0,
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
    agent = PPO(
        "MlpPolicy", worlds, n_steps=16, batch_size=16, policy_kwargs=policy_options(worlds), device="cpu"
    )
    agent.learn(64)
    assert agent.num_timesteps == 64


def test_scenes_read_the_same_in_a_table_that_knew_other_phrases(explore, table):
    table.ids(["goal: fly away", "count 7"])
    worlds = explore()
    observations = [worlds.reset()[0]]
    observations += [worlds.step(np.zeros(1, int))[0][0] for _ in range(3)]
    assert [texts(worlds, row)["caption"] for row in observations] == [[f"count {i}"] for i in range(4)]


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
        "MlpPolicy",
        worlds,
        n_steps=7,
        batch_size=7,
        gamma=0.5,
        policy_kwargs=policy_options(worlds),
        device="cpu",
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
