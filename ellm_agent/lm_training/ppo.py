"""PPO with a divergence penalty: a language model learns from scores of its answers (Ziegler 2019, Ouyang 2022).

Knows nothing of where scores come from.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from ellm_agent.lm_training import resumable
from ellm_agent.lm_training.losses import kl, ppo
from ellm_agent.lm_training.networks import Answers, ScalarModel, log_probabilities


@dataclass(frozen=True)
class Settings:
    """Hyperparameters. Where the published ones differ, ``docs/suggester_training.md`` has both."""

    learning_rate: float = 3e-4  # of Adam
    epochs: int = 4  # passes over the answers of an iteration
    minibatches: int = 4  # in a pass
    beta: float = 0.02  # weight of the divergence, or its first value
    target_kl: float | None = None  # nats an answer, for the adaptive weight; None: the weight is fixed
    horizon: float = kl.HORIZON  # answers, of the adaptive weight
    gamma: float = 1.0  # discount per token
    lam: float = 0.95  # of generalised advantage estimation
    clip: float = 0.2  # of the probability ratio, and of values
    value_weight: float = 0.5  # of the value loss
    whiten_rewards: bool = False  # to deviation 1; the mean stays
    mix: float = 0.0  # weight of the pretraining loss; 0: none
    no_end: float = -1.0  # score of an answer that has no end


class PPO:
    """The learner: policy, frozen reference, value model, optimiser, weight of the divergence.

    Dropout is off everywhere: networks stay in evaluation mode.

    Args:
        policy: to train; its present weights are the reference.
        value: a scalar model, usually a copy of the reward model.
        settings: hyperparameters.
    """

    def __init__(self, policy: PreTrainedModel, value: ScalarModel, settings: Settings):
        self.policy, self.value, self.settings = policy.eval(), value.eval(), settings
        self.reference = copy.deepcopy(policy).requires_grad_(False)
        parameters = [*policy.parameters(), *value.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate, eps=1e-5, fused=True)
        self.beta = (
            kl.FixedBeta(settings.beta)
            if settings.target_kl is None
            else kl.AdaptiveBeta(settings.beta, settings.target_kl, settings.horizon)
        )

    def learn(
        self,
        questions: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
        scores: torch.Tensor,
        generator: torch.Generator,
        pretraining: Answers | None = None,
    ) -> dict[str, float]:
        """One iteration: several passes over answers that the policy has just given.

        Args:
            questions: token ids.
            answers: token ids, sampled from the policy at temperature 1.
            scores: of the answers, ``(answers,)``.
            generator: of the minibatches.
            pretraining: texts whose likelihood must stay high.
        """
        settings, batch = self.settings, Answers.of(questions, answers)
        mask = batch.mask
        with torch.no_grad():
            old_logp = log_probabilities(self.policy, batch)
            reference_logp = log_probabilities(self.reference, batch)
            old_values = self.value.values(batch)
            rewards = kl.token_rewards(old_logp, reference_logp, scores, mask, self.beta.beta)
            if settings.whiten_rewards:
                rewards = ppo.whiten(rewards, mask, shift=False)
            advantage, returns = ppo.advantages(rewards, old_values, mask, settings.gamma, settings.lam)
            advantage = ppo.whiten(advantage, mask)
        losses = []
        for _ in range(settings.epochs):
            order = torch.randperm(len(batch), generator=generator)
            if settings.mix:
                texts = torch.randperm(len(pretraining), generator=generator).chunk(settings.minibatches)
            for place, rows in enumerate(order.chunk(settings.minibatches)):
                part, own = batch[rows], mask[rows]
                logp, values = log_probabilities(self.policy, part), self.value.values(part)
                policy = ppo.policy_loss(logp, old_logp[rows], advantage[rows], own, settings.clip)
                value = ppo.value_loss(values, old_values[rows], returns[rows], own, settings.clip)
                loss = policy + settings.value_weight * value
                if settings.mix:
                    loss = loss + settings.mix * likelihood_loss(self.policy, pretraining[texts[place]])
                self.optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], 1.0)
                self.optimizer.step()
                losses.append([policy.item(), value.item()])
        divergence = kl.divergence(old_logp, reference_logp, mask)
        self.beta.update(divergence, len(batch))
        policy, value = torch.tensor(losses).mean(dim=0).tolist()
        return {
            "score": float(scores.mean()),
            "kl": divergence,
            "beta": self.beta.beta,
            "tokens": float(mask.sum(dim=1).float().mean()),
            "policy_loss": policy,
            "value_loss": value,
        }

    def anneal(self, progress: float) -> None:
        """Lets the learning rate fall linearly to 0, as published; progress: share of the training that is done."""
        resumable.set_rate(self.optimizer, self.settings.learning_rate * (1 - progress))

    def state_dict(self) -> dict:
        return {
            "policy": self.policy.state_dict(),
            "reference": self.reference.state_dict(),
            "value": self.value.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "beta": self.beta.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        for name, part in state.items():
            getattr(self, name).load_state_dict(part)


def likelihood_loss(model: PreTrainedModel, texts: Answers) -> torch.Tensor:
    """Mean negative log-likelihood of the answers' tokens, in nats: -E[log pi], the pretraining loss."""
    return -log_probabilities(model, texts).sum() / texts.mask.sum()


def penalise_no_end(
    scores: torch.Tensor, answers: Sequence[Sequence[int]], ends: Sequence[int], score: float
) -> torch.Tensor:
    """Scores, with a fixed one for answers that do not end (as published: else they grow without an end)."""
    ended = torch.tensor([answer[-1] in ends for answer in answers])
    return torch.where(ended, scores, torch.full_like(scores, score))
