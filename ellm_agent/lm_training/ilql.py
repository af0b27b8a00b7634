"""ILQL: a language model learns offline, from logged answers and their rewards (Snell et al. 2022).

Beside it, on the same data: behaviour cloning (BC), BC on the best episodes only, and the single-step ablation (SARSA,
tau = .5). Knows nothing of where episodes come from.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from ellm_agent.llm.value_heads import ValueHeads
from ellm_agent.lm_training.decoding import Adjust
from ellm_agent.lm_training.losses import ilql
from ellm_agent.lm_training.networks import read


@dataclass(frozen=True)
class Row:
    """Tokens that are read together.

    Attributes:
        ids: token ids.
        actions: columns of the tokens that the model wrote, ascending; the first column cannot be one.
        rewards: of each of these tokens.
    """

    ids: Sequence[int]
    actions: Sequence[int]
    rewards: Sequence[float]


@dataclass(frozen=True)
class Episode:
    """Rows in the order of play: a whole dialogue in one, or one for each answer.

    Attributes:
        rows: of the episode.
        terminal: whether nothing follows the last row. If something unknown does, Q and V of its last token are not
            learned.
    """

    rows: Sequence[Row]
    terminal: bool = True

    @property
    def value(self) -> float:
        """The sum of the rewards."""
        return float(sum(sum(row.rewards) for row in self.rows))


@dataclass(frozen=True)
class Batch:
    """All actions of some episodes, one after the other.

    Attributes:
        ids: of the rows, ``(rows, columns)``, padded on the right.
        row, column: of the state before each action, ``(actions,)``.
        tokens: taken, likewise.
        rewards: likewise.
        following: index of the next action of the episode, likewise; its own where none follows.
        terminal: whether none follows because the episode has ended, likewise, bool.
        known: whether it is terminal or another follows, likewise, bool.
    """

    ids: torch.Tensor
    row: torch.Tensor
    column: torch.Tensor
    tokens: torch.Tensor
    rewards: torch.Tensor
    following: torch.Tensor
    terminal: torch.Tensor
    known: torch.Tensor

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> Batch:
        """Lays out episodes, each of which has at least one action."""
        ids, row, column, tokens, rewards, following, terminal, known = ([] for _ in range(8))
        for episode in episodes:
            for part in episode.rows:
                for place, reward in zip(part.actions, part.rewards, strict=True):
                    row.append(len(ids))
                    column.append(place - 1)
                    tokens.append(part.ids[place])
                    rewards.append(reward)
                    following.append(len(following) + 1)
                    terminal.append(False)
                    known.append(True)
                ids.append(torch.tensor(part.ids))
            following[-1] -= 1
            terminal[-1] = known[-1] = episode.terminal
        return cls(
            pad_sequence(ids, batch_first=True),
            *(torch.tensor(values) for values in (row, column, tokens)),
            torch.tensor(rewards, dtype=torch.float32),
            *(torch.tensor(values) for values in (following, terminal, known)),
        )


@dataclass(frozen=True)
class Settings:
    """Hyperparameters; Snell et al.: gamma .99, tau .7 to .9, alpha 1e-4 to 1, rate of the targets .005, beta 4 to 32."""

    gamma: float = 0.99  # discount per action
    tau: float = 0.8  # expectile; .5: SARSA
    alpha: float = 0.1  # weight of the CQL term
    polyak: float = 0.005  # rate of the target heads
    learning_rate: float = 1e-3  # of Adam
    batch: int = 64  # episodes in a step


class ILQL:
    """The learner: a language model whose body the heads share, L = L_Q + L_V + alpha L_CQL + L_BC.

    Args:
        model: to train.
        heads: on its hidden states; None: behaviour cloning alone.
        settings: hyperparameters.
    """

    def __init__(self, model: PreTrainedModel, heads: ValueHeads | None, settings: Settings):
        self.model, self.heads, self.settings = model.eval(), heads, settings
        learned = [*model.parameters()]
        if heads:
            learned += [parameter for parameter in heads.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(learned, lr=settings.learning_rate, fused=True)

    def step(self, episodes: Sequence[Episode], rng: np.random.Generator) -> dict[str, float]:
        """One gradient step on randomly chosen episodes."""
        count = min(self.settings.batch, len(episodes))
        batch = Batch.of([episodes[i] for i in rng.choice(len(episodes), count, replace=False)])
        parts = self.losses(batch)
        weights = {"cql": self.settings.alpha}
        self.optimizer.zero_grad()
        sum(weights.get(name, 1.0) * loss for name, loss in parts.items()).backward()
        torch.nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], 1.0)
        self.optimizer.step()
        if self.heads:
            for target, source in (
                (self.heads.target_q1, self.heads.q1),
                (self.heads.target_q2, self.heads.q2),
            ):
                ilql.polyak(target.parameters(), source.parameters(), self.settings.polyak)
        return {f"{name}_loss": loss.item() for name, loss in parts.items()}

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The terms of the loss."""
        hidden = read(self.model, batch.ids)[batch.row, batch.column]  # (actions, width)
        parts = {"bc": F.cross_entropy(self.model.get_output_embeddings()(hidden), batch.tokens)}
        if self.heads is None:
            return parts
        heads, settings = self.heads, self.settings
        q1, q2 = heads.q1(hidden), heads.q2(hidden)  # (actions, vocabulary)
        values = heads.v(hidden).squeeze(1)  # (actions,)
        taken = batch.tokens[:, None]
        with torch.no_grad():
            targets = torch.minimum(heads.target_q1(hidden), heads.target_q2(hidden))
            target_q = targets.gather(1, taken).squeeze(1)
        aim = ilql.bellman_target(batch.rewards, values[batch.following], batch.terminal, settings.gamma)
        own1, own2 = q1.gather(1, taken).squeeze(1), q2.gather(1, taken).squeeze(1)
        known = batch.known
        return parts | {
            "q": ilql.q_loss(own1[known], own2[known], aim[known]),
            "v": ilql.expectile_loss(values[known], target_q[known], settings.tau),
            "cql": ilql.cql_loss(q1, batch.tokens) + ilql.cql_loss(q2, batch.tokens),
        }

    def policy(self, beta: float) -> Adjust | None:
        """What makes the logits of the model those of the policy pi_BC exp(beta (Q - V))."""
        return None if self.heads is None else functools.partial(self.heads.perturb, beta=beta)

    def state_dict(self) -> dict:
        return {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict() if self.heads else None,
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.heads:
            self.heads.load_state_dict(state["heads"])


def best_episodes(episodes: Sequence[Episode], share: float) -> list[Episode]:
    """The given share of the episodes with the largest returns, for filtered BC."""
    order = sorted(range(len(episodes)), key=lambda i: -episodes[i].value)
    return [episodes[i] for i in sorted(order[: max(1, round(share * len(episodes)))])]
