"""Learners from feedback on tiny models: what their gradients reach, trivial tasks that they must solve, exact resuming."""

import copy

import numpy as np
import pytest
import torch

from ellm_agent.errors import UserError
from ellm_agent.llm.value_heads import ValueHeads
from ellm_agent.lm_training import resumable
from ellm_agent.lm_training.checks import random_walks, stitching, wordle
from ellm_agent.lm_training.checks.tiny import tiny_model
from ellm_agent.lm_training.decoding import sample
from ellm_agent.lm_training.ilql import ILQL, Batch, Episode, Row, Settings, best_episodes
from ellm_agent.lm_training.interpolate import interpolate
from ellm_agent.lm_training.networks import Answers, ScalarModel, log_probabilities, read
from ellm_agent.lm_training.ppo import PPO, likelihood_loss, penalise_no_end
from ellm_agent.lm_training.ppo import Settings as PPOSettings
from ellm_agent.lm_training.reward_model import (
    Comparison,
    RewardTraining,
    accuracies,
    choice_ceiling,
    collate,
    score,
)


def model(vocabulary=8, seed=0):
    return tiny_model(vocabulary, 12, width=16, layers=1, heads=2, seed=seed)


def scalar(of, seed=0):
    return ScalarModel(of, torch.Generator().manual_seed(seed))


# --- networks and decoding ----------------------------------------------------------------------------------


def test_columns_of_answers():
    answers = Answers.of([[1, 2], [3]], [[4, 5], [6]])
    assert answers.ids.tolist() == [[1, 2, 4, 5], [3, 6, 0, 0]]
    assert answers.columns.tolist() == [[1, 2], [0, 0]]
    assert answers.tokens.tolist() == [[4, 5], [6, 0]]
    assert answers.mask.tolist() == [[True, True], [True, False]]


def test_padding_changes_nothing():
    network, value = model(), scalar(model())
    both = Answers.of([[1, 2, 3], [3]], [[4, 5], [6]])
    alone = Answers.of([[3]], [[6]])
    torch.testing.assert_close(
        log_probabilities(network, both)[1, :1], log_probabilities(network, alone)[0], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(value.scores(both)[1:], value.scores(alone), atol=1e-5, rtol=0)
    torch.testing.assert_close(value.values(both)[1, :1], value.values(alone)[0], atol=1e-5, rtol=0)


def test_samples_follow_the_model():
    """Frequencies of first tokens against probabilities; and a cached read against one without."""
    network = model()
    questions = [[1, 2]] * 2_000 + [[5]]
    answers = sample(network, questions, 3, (0,), torch.Generator().manual_seed(1))
    assert answers == sample(network, questions, 3, (0,), torch.Generator().manual_seed(1))
    assert all(len(answer) == 3 or answer[-1] == 0 for answer in answers)
    assert not any(0 in answer[:-1] for answer in answers)  # the end is the end
    logp = [log_probabilities(network, Answers.of([[1, 2]], [[t]])).item() for t in range(8)]
    counts = np.bincount([answer[0] for answer in answers[:-1]], minlength=8) / 2_000
    assert counts == pytest.approx(np.exp(logp), abs=0.04)
    greedy = sample(network, [[1, 2], [5]], 3, (), torch.Generator(), temperature=0)
    assert greedy[1] == sample(network, [[5]], 3, (), torch.Generator(), temperature=0)[0]


def test_each_token_adds_to_the_score():
    """With a head that gives 1 everywhere: an answer of n tokens, and the question's last one, score n + 1."""
    value = scalar(model())
    with torch.no_grad():
        value.head.weight.zero_()
        value.head.bias.fill_(1.0)
    answers = Answers.of([[1, 2, 3], [3]], [[4, 5], [6]])
    assert value.scores(answers).tolist() == [3, 2]
    assert value.values(answers).tolist() == [[1, 2], [1, 0]]


def has_mean_0_and_deviation_1(value, questions, answers):
    scores = score(value, questions, answers)
    return [scores.mean().item(), scores.std(unbiased=False).item()] == pytest.approx([0, 1], abs=1e-3)


def test_normalised_scores_have_mean_0_and_deviation_1():
    value = scalar(model())
    answers = Answers.of([[1]] * 4, [[2], [3], [4], [5]])
    first = value.scores(answers).detach()
    value.normalise(torch.tensor([1.0, 3.0]))  # mean 2, deviation 1
    torch.testing.assert_close(value.scores(answers).detach(), first - 2)
    value.normalise(torch.tensor([0.0, 4.0]))  # mean 2, deviation 2
    torch.testing.assert_close(value.scores(answers).detach(), (first - 4) / 2)
    assert has_mean_0_and_deviation_1(scalar(model()), [[1]] * 4, [[2], [3], [4], [5]]) is False
    value.normalise(value.scores(answers).detach())
    assert has_mean_0_and_deviation_1(value, [[1]] * 4, [[2], [3], [4], [5]])


# --- reward model -------------------------------------------------------------------------------------------


def comparisons():
    """The answer that holds a 7 is better."""
    rng = np.random.default_rng(0)
    result = []
    for _ in range(40):
        answers = rng.integers(1, 7, (4, 3)).tolist()
        best = int(rng.integers(4))
        answers[best][int(rng.integers(3))] = 7
        preferred = torch.zeros(4, 4, dtype=torch.bool)
        preferred[best] = True
        preferred[best, best] = False
        result.append(Comparison([1, 2], answers, preferred, best))
    return result


@pytest.mark.parametrize("loss", ["ranking", "best"])
def test_a_reward_model_learns_what_is_better(loss):
    base = model()
    training = RewardTraining(scalar(base), 2e-2, loss)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    compared = comparisons()
    for step in range(40):
        training.step(compared, np.random.default_rng(step))
    found = accuracies(training.model, compared)
    assert found["pair_accuracy"] > 0.9
    assert found["best_accuracy"] > 0.9
    assert all(torch.equal(base.state_dict()[name], before[name]) for name in before)  # a copy was trained


def test_choices_are_learned_beside_other_labels():
    """The labels know nothing of what they are about; the choices do, and two of their pairs say nothing."""
    ignorant = [Comparison([1, 2], c.answers, torch.zeros(4, 4, dtype=torch.bool), 0) for c in comparisons()]
    choices = [Comparison.of_choice([1, 2], c.answers, c.best) for c in comparisons()]
    assert choices[0].preferred.sum() == 3
    training = RewardTraining(scalar(model()), 2e-2, "ranking")
    for step in range(40):
        training.step(ignorant, np.random.default_rng(step), choices)
    assert accuracies(training.model, choices)["best_accuracy"] > 0.9


def test_a_reward_model_that_learns_on_is_normalised_again():
    training = RewardTraining(scalar(model()), 2e-2)
    standard = [[1, 2]] * 5, [[i] for i in range(2, 7)]
    for _ in range(2):
        training.relearn(comparisons(), 10, np.random.default_rng(0), *standard)
        assert has_mean_0_and_deviation_1(training.model, *standard)
    assert accuracies(training.model, comparisons())["pair_accuracy"] > 0.7


def test_ties_bound_what_can_be_known_of_choices():
    """One best answer; one that is there twice; three that tie: 1, 1 and 1/3."""
    preferred = torch.zeros(4, 4, dtype=torch.bool)
    alone = Comparison.of_choice([1], [[2], [3], [4], [5]], 0)
    preferred[0, 2:] = True
    twice = Comparison([1], [[2], [2], [4], [5]], preferred.clone(), 0)
    preferred[0, 2] = False
    three = Comparison([1], [[2], [3], [4], [5]], preferred, 0)
    assert choice_ceiling([alone, twice, three]) == pytest.approx(7 / 9)


def test_labels_that_disagree_in_length_are_one_line():
    with pytest.raises(UserError, match=r"labels are for \(2, 2\) pairs .* but there are 3 answers"):
        Comparison([1], [[2]] * 3, torch.zeros(2, 2, dtype=torch.bool), 0)
    one, other = (Comparison([1], [[2]] * k, torch.zeros(k, k, dtype=torch.bool), 0) for k in (2, 3))
    with pytest.raises(UserError, match="questions have 2 and 3 answers"):
        collate([one, other])


# --- PPO ----------------------------------------------------------------------------------------------------


def test_ppo_learns_the_token_that_pays_and_the_reference_stays():
    policy = model()
    ppo = PPO(policy, scalar(policy), PPOSettings(learning_rate=3e-3, beta=0.05))
    reference = copy.deepcopy(ppo.reference.state_dict())
    generator = torch.Generator().manual_seed(0)
    for _ in range(12):
        answers = sample(policy, [[1]] * 64, 2, (0,), generator)
        scores = torch.tensor([float(answer[0] == 7) for answer in answers])
        metrics = ppo.learn([[1]] * 64, answers, scores, generator)
    assert metrics["score"] > 0.8
    assert metrics["kl"] > 0.3
    assert all(torch.equal(ppo.reference.state_dict()[name], reference[name]) for name in reference)
    assert not any(parameter.requires_grad for parameter in ppo.reference.parameters())


def test_weights_between_two_networks():
    first, other = torch.nn.Linear(1, 2), torch.nn.Linear(1, 2)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0], [2.0]]))
        other.weight.copy_(torch.tensor([[3.0], [-2.0]]))
    interpolate(first, other, 0.25)
    assert first.weight.flatten().tolist() == [1.5, 1.0]
    assert other.weight.flatten().tolist() == [3.0, -2.0]


def test_the_learning_rate_falls_to_nothing():
    ppo = PPO(policy := model(), scalar(policy), PPOSettings(learning_rate=4e-3))
    for progress, rate in ((0.0, 4e-3), (0.25, 3e-3), (1.0, 0.0)):
        ppo.anneal(progress)
        assert {group["lr"] for group in ppo.optimizer.param_groups} == {rate}


def test_a_heavy_divergence_keeps_the_policy_and_the_mix_its_text():
    texts = Answers.of([[1]] * 8, [[3, 4]] * 8)

    def train(**options):
        policy = model()
        ppo = PPO(policy, scalar(policy), PPOSettings(learning_rate=3e-3, **options))
        generator = torch.Generator().manual_seed(0)
        for _ in range(8):
            answers = sample(policy, [[1]] * 64, 2, (0,), generator)
            scores = torch.tensor([float(answer[0] == 7) for answer in answers])
            metrics = ppo.learn([[1]] * 64, answers, scores, generator, texts)
        return metrics["kl"], likelihood_loss(policy, texts).item()

    free, mixed, kept = train(beta=0.0), train(beta=0.0, mix=1.0), train(beta=5.0)
    assert kept[0] < 0.2 < free[0]
    assert mixed[1] < free[1] - 0.5


def test_answers_without_an_end_have_a_score_of_their_own():
    scores = penalise_no_end(torch.tensor([1.0, 2.0]), [[3, 0], [3, 3]], (0,), -1.0)
    assert scores.tolist() == [1.0, -1.0]


# --- ILQL ---------------------------------------------------------------------------------------------------


def test_actions_are_laid_out_in_the_order_of_play():
    whole = Episode([Row([1, 2, 3], [1, 2], [0.0, 1.0]), Row([4, 5], [1], [2.0])])
    cut = Episode([Row([6, 7], [1], [3.0])], terminal=False)
    batch = Batch.of([whole, cut])
    assert batch.ids.tolist() == [[1, 2, 3], [4, 5, 0], [6, 7, 0]]
    assert list(zip(batch.row.tolist(), batch.column.tolist(), strict=True)) == [
        (0, 0),
        (0, 1),
        (1, 0),
        (2, 0),
    ]
    assert batch.tokens.tolist() == [2, 3, 5, 7]
    assert batch.following.tolist() == [1, 2, 2, 3]
    assert batch.terminal.tolist() == [False, False, True, False]
    assert batch.known.tolist() == [True, True, True, False]
    assert whole.value == 3.0


def test_the_best_episodes_in_their_order():
    low, high, middle = (Episode([Row([1, 2], [1], [reward])]) for reward in (1.0, 3.0, 2.0))
    assert best_episodes([low, high, middle], 0.67) == [high, middle]
    assert best_episodes([low, high, middle], 0.01) == [high]


def test_nothing_is_learned_where_the_future_is_unknown():
    """The last action of a chain that was cut has a reward, but no known next value: no Q and no V of it."""
    learner = ILQL(model(), ValueHeads(16, 8), Settings())
    whole = Episode([Row([1, 2, 3], [1, 2], [0.0, 1.0])])
    cut = Episode([Row([6, 7], [1], [3.0])], terminal=False)
    alone, beside = (learner.losses(Batch.of(data)) for data in ([whole], [whole, cut]))
    for name in ("q", "v"):
        assert beside[name].item() == pytest.approx(alone[name].item(), abs=1e-5)
    unknown = learner.losses(Batch.of([cut]))
    assert unknown["q"].item() == unknown["v"].item() == 0.0
    assert all(np.isfinite(value) for value in learner.step([cut], np.random.default_rng(0)).values())


def test_gradients_of_the_terms_reach_their_heads_and_nothing_else():
    learner = ILQL(model(), ValueHeads(16, 8), Settings())
    batch = Batch.of([Episode([Row([1, 2, 3], [1, 2], [0.0, 1.0])])])
    heads = learner.heads
    reached = {
        "q": (heads.q1, heads.q2),
        "v": (heads.v,),
        "cql": (heads.q1, heads.q2),
        "bc": (),
    }
    for name, parts in reached.items():
        learner.optimizer.zero_grad()
        learner.losses(batch)[name].backward()
        for part in (heads.q1, heads.q2, heads.v, heads.target_q1, heads.target_q2):
            found = any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())
            assert found == (part in parts), name
        assert learner.model.transformer.wte.weight.grad.abs().sum() > 0  # the body is shared


def test_values_of_a_chain_are_discounted_returns():
    """One action after the other, rewarded at the end: V is 1, .9, .81 backwards."""
    torch.manual_seed(0)  # of the heads: their start must not depend on tests that ran before
    learner = ILQL(
        model(), ValueHeads(16, 8), Settings(gamma=0.9, tau=0.5, alpha=0, polyak=0.1, learning_rate=3e-3)
    )
    data = [Episode([Row([1, 2], [1], [0.0]), Row([3, 4, 5], [1, 2], [0.0, 1.0])])]
    for step in range(400):
        learner.step(data, np.random.default_rng(step))
    batch = Batch.of(data)
    hidden = read(learner.model, batch.ids)[batch.row, batch.column]
    assert learner.heads.v(hidden).squeeze(1).tolist() == pytest.approx([0.81, 0.9, 1.0], abs=0.05)


def test_stitching():
    assert stitching.check(0, tau=0.9, steps=120) >= 0.9
    assert stitching.check(0, tau=0.5, steps=120) <= 0.2


# --- the tasks of the checks --------------------------------------------------------------------------------


def test_shortest_walks_and_optimality():
    edges = np.zeros((4, 4), bool)
    edges[1, 0] = edges[2, 1] = edges[3, 2] = edges[3, 1] = True
    assert random_walks.shortest_walks(edges).tolist() == [1, 2, 3, 3]
    graph = random_walks.Graph(edges, random_walks.shortest_walks(edges))
    assert graph.optimality([3, 1, 0]) == 1.0
    assert graph.optimality([3, 2, 1, 0]) == pytest.approx(6 / 7)
    assert graph.optimality([3, 0]) == graph.optimality([3, 2]) == 0.0  # no edge; not there


def test_colours_of_wordle():
    green, yellow, grey = wordle.GREEN, wordle.YELLOW, wordle.GREY
    assert wordle.colours("apple", "paper") == [yellow, yellow, green, grey, yellow]
    assert wordle.colours("sheep", "apple") == [grey, grey, yellow, grey, yellow]
    assert wordle.colours("queen", "queen") == [green] * 5


def test_returns_of_wordle():
    """A model that always writes the same word wins one game in so many words, at once."""
    network = tiny_model(wordle.VOCABULARY, wordle.POSITIONS, 16, 1, 2, seed=0)
    word = wordle.SPELLED[3]
    asked = iter(range(10_000))

    def always(hidden, logits):
        place = next(asked)
        forced = torch.full_like(logits, -1e9)
        forced[:, word[place % wordle.LETTERS]] = 0
        return forced

    returns = wordle.play(network, 500, torch.Generator().manual_seed(0), always)
    assert set(returns.tolist()) == {0.0, -6.0}
    assert (returns == 0).mean() == pytest.approx(1 / len(wordle.WORDS), abs=0.02)


# --- resuming -----------------------------------------------------------------------------------------------


def test_a_training_that_was_killed_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    monkeypatch.setattr(resumable, "EVERY", 0.0)
    data = [Episode([Row([1, 2 + i % 5], [1], [float(i)])]) for i in range(20)]

    def train(folder, stop=None):
        with resumable.seeded(0):
            learner = ILQL(model(), ValueHeads(16, 8), Settings(batch=4))

        def step(number):
            if number == stop:
                raise KeyboardInterrupt
            return learner.step(data, resumable.generators(3, number)[0])

        rows = resumable.run(folder, {"learner": learner}, step, 8, lambda _: None)
        return rows, learner.state_dict()

    for folder in ("straight", "killed"):
        (tmp_path / folder).mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", stop=5)
    (rows, straight), (again, resumed) = train(tmp_path / "straight"), train(tmp_path / "killed")
    assert again == rows
    for part in ("model", "heads"):
        for name, tensor in straight[part].items():
            assert torch.equal(tensor, resumed[part][name]), name
    names = ("training.pt", "training.jsonl")
    assert {path.name for path in (tmp_path / "killed").iterdir()} == set(names)
