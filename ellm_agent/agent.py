"""The agent: a text encoder (an MLP over frozen SentenceBERT vectors), and a DQN that reads with it.

SB3's PPO and sb3-contrib's TRPO use the same encoder.
"""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn
from torch.nn import functional as F

from ellm_agent.bags import by_blocks, sum_of_rows
from ellm_agent.phrases import DIMENSIONS, PhraseFeatures

LEARNED_STD = 0.03  # of learned vectors at the start: what a random projection gives unit vectors


class TextEncoder(BaseFeaturesExtractor):
    """Phrase ids -> features.

        h = sum over the phrases read of (W1 v + u)
        features = ReLU(W2 ReLU(LayerNorm(h)))

    v is a phrase's frozen SentenceBERT vector, u a learned offset that starts at zero. The frozen part
    carries what is known of a phrase before it was ever read; the offsets let a rare phrase be learned
    quickly, because Adam scales the step of each phrase by itself. Either part can be left out.

    Args:
        observation_space: ``Box((slots,))`` of phrase ids; 0 is padding.
        features: the frozen vectors, or None: then phrases are told apart by learned vectors alone.
        hidden: width of both layers.
        offsets: number of ids with a learned offset of their own (later ones have none); 0: no offsets.
        twice: whether second derivatives are needed (TRPO): slower.

    Attributes:
        fold: set this on a network that needs no gradients and seldom changes (a target network): it then adds up
            ready rows W1 v + u. Needs frozen vectors.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        features: PhraseFeatures | None,
        hidden: int,
        offsets: int = 0,
        twice: bool = False,
    ):
        super().__init__(observation_space, features_dim=hidden)
        self._features, self._twice = features, twice
        self.project = nn.Linear(DIMENSIONS, hidden) if features is not None else None
        self.offsets = nn.Parameter(torch.zeros(offsets, hidden)) if offsets else None
        if self.project is None:
            nn.init.normal_(self.offsets, std=LEARNED_STD)
        self.mlp = nn.Sequential(nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.fold = False
        self._folded = self._folded_for = None

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        ids = observations.to(torch.int32)  # (batch, slots)
        if self.fold:
            return self.mlp(sum_of_rows(self._fold(), ids) + self.project.bias)
        hidden = 0.0
        if self.project is not None:
            hidden = self.project(sum_of_rows(self._features.tensor, ids))  # vectors: (phrases, 384)
        if self.offsets is not None:
            hidden = hidden + sum_of_rows(self.offsets, ids, self._twice)
        return self.mlp(hidden)  # (batch, hidden)

    @torch.no_grad()
    def _fold(self) -> torch.Tensor:
        """W1 v + u of each phrase, ``(phrases, hidden)``, computed once for as long as W1 and u stay as they are."""
        vectors, bias = self._features.tensor, self.project.bias
        # A gradient that reaches W1 or u reaches the bias: if that has not moved, nothing has.
        if self._folded is None or not torch.equal(bias, self._folded_for):
            self._folded, self._folded_for = vectors.new_zeros(0, len(bias)), bias.clone()
        known = len(self._folded)
        if known < len(vectors):
            new = by_blocks(self._project_rows, vectors, known)
            if self.offsets is not None:
                own = self.offsets[known : len(vectors)]
                new[: len(own)] += own
            self._folded = torch.cat([self._folded, new])
        return self._folded

    def _project_rows(self, vectors: torch.Tensor) -> torch.Tensor:
        return F.linear(vectors, self.project.weight)


class DuelingQNetwork(QNetwork):
    """Q = V + A - mean(A)  (Wang et al. 2016, equation 9)."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.value = nn.Linear(self.features_dim, 1)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        features = self.extract_features(obs, self.features_extractor)
        advantage = self.q_net(features)  # (batch, actions)
        return self.value(features) + advantage - advantage.mean(dim=1, keepdim=True)


class TextDQNPolicy(DQNPolicy):
    """Dueling heads on a text encoder; greedy, or sampling from softmax(Q / temperature).

    Args:
        temperature: of the softmax policy; None: greedy (then the algorithm adds epsilon).
    """

    def __init__(self, *args, temperature: float | None = None, **kwargs):
        self.temperature = temperature
        super().__init__(*args, **kwargs)

    def make_q_net(self) -> DuelingQNetwork:
        arguments = self._update_features_extractor(self.net_args, features_extractor=None)
        return DuelingQNetwork(**arguments).to(self.device)

    def set_training_mode(self, mode: bool) -> None:
        """Nothing: no layer here behaves differently in training, and telling each of them takes its time."""

    def _predict(self, obs: torch.Tensor, deterministic: bool = True) -> torch.Tensor:
        q_values = self.q_net(obs)  # (batch, actions)
        if deterministic or self.temperature is None:
            return q_values.argmax(dim=1)
        return torch.multinomial(torch.softmax(q_values / self.temperature, dim=1), 1).squeeze(1)


def double_q_target(
    rewards: torch.Tensor,
    dones: torch.Tensor,
    discounts: torch.Tensor | float,
    next_q_online: torch.Tensor,
    next_q_target: torch.Tensor,
) -> torch.Tensor:
    """y = R + discount * (1 - done) * Q_target(s', argmax_a Q_online(s', a)).

    van Hasselt et al. 2016, equation 4, for n-step returns R (discount = gamma^n).

    Args:
        rewards: ``(batch, 1)`` n-step returns.
        dones: ``(batch, 1)``, 1 where the episode terminated.
        discounts: ``(batch, 1)`` or a number.
        next_q_online: ``(batch, actions)``.
        next_q_target: ``(batch, actions)``.

    Returns:
        ``(batch, 1)``
    """
    best = next_q_online.argmax(dim=1, keepdim=True)
    return rewards + discounts * (1 - dones) * next_q_target.gather(1, best)


def munchausen_target(
    rewards: torch.Tensor,
    dones: torch.Tensor,
    discounts: torch.Tensor | float,
    actions: torch.Tensor,
    q_target: torch.Tensor,
    next_q_target: torch.Tensor,
    temperature: float,
    scale: float,
    clip: float,
) -> torch.Tensor:
    """y = R + scale * clip(t log pi(a|s), clip, 0) + discount * (1 - done) * soft value of s'.

    With pi = softmax(Q_target / t), the soft value of s' is sum_a pi(a|s') (Q_target(s', a) - t log
    pi(a|s')) = t logsumexp(Q_target(s', .) / t).  Vieillard, Pietquin & Geist 2020, equation 2. With
    n-step returns the bonus is added for the first action only.

    Args:
        rewards: ``(batch, 1)`` n-step returns.
        dones: ``(batch, 1)``, 1 where the episode terminated.
        discounts: ``(batch, 1)`` or a number.
        actions: ``(batch, 1)`` int64, taken in s.
        q_target: ``(batch, actions)``, of s.
        next_q_target: ``(batch, actions)``, of s'.
        temperature: t.
        scale: alpha, weight of the bonus.
        clip: l0 <= 0, the least that the bonus t log pi can be.

    Returns:
        ``(batch, 1)``
    """
    log_pi = torch.log_softmax(q_target / temperature, dim=1).gather(1, actions)
    bonus = scale * (temperature * log_pi).clamp(min=clip, max=0.0)
    soft_value = temperature * torch.logsumexp(next_q_target / temperature, dim=1, keepdim=True)
    return rewards + bonus + discounts * (1 - dones) * soft_value


class TextDQN(DQN):
    """SB3's DQN with a double-Q or a Munchausen target.

    ``double`` explores with epsilon-greedy actions (drawn for each environment by itself);
    ``munchausen`` samples from its softmax policy and needs no epsilon, but may have one. Of what would be random actions, a
    share can be those of a ``guide`` (Du et al. 2023, section 4.3).

    Args:
        target: "munchausen" or "double".
        temperature: t of the softmax policy (reward units).
        munchausen_scale: alpha.
        munchausen_clip: l0.
        policy_kwargs: for :class:`TextDQNPolicy`; the temperature is added here.
        **kwargs: as for SB3's DQN.

    Attributes:
        epsilon: whether there are random actions.
        guide: policy of another agent that reads the same, or None.
        guide_share: of the random actions, in [0, 1].
        experienced: whether it acts as it knows also before learning starts, not at random: it was pretrained.
    """

    guide: BasePolicy | None = None
    guide_share: float = 0.5
    experienced: bool = False

    def __init__(
        self,
        policy,
        env,
        target: str = "munchausen",
        temperature: float = 0.03,
        munchausen_scale: float = 0.9,
        munchausen_clip: float = -1.0,
        policy_kwargs: dict | None = None,
        **kwargs,
    ):
        if target not in ("munchausen", "double"):
            raise ValueError(f"target is {target!r}; choose 'munchausen' or 'double'")
        self.target, self.epsilon = target, target == "double"
        self.temperature, self.munchausen_scale = temperature, munchausen_scale
        self.munchausen_clip = munchausen_clip
        soft = temperature if target == "munchausen" else None
        super().__init__(policy, env, policy_kwargs={**(policy_kwargs or {}), "temperature": soft}, **kwargs)
        encoder = self.q_net_target.features_extractor
        encoder.fold = encoder.project is not None

    def predict(
        self, observation, state=None, episode_start=None, deterministic=False
    ) -> tuple[np.ndarray, tuple | None]:
        """As SB3's, but epsilon is tossed for each environment, not once for all of them."""
        actions, state = self.policy.predict(observation, state, episode_start, deterministic)
        if deterministic or not self.epsilon:
            return actions, state
        at_random = np.random.rand(*np.shape(actions)) < self.exploration_rate
        drawn = np.random.randint(self.action_space.n, size=np.shape(actions))
        return np.where(at_random, self._guided(drawn, observation), actions), state

    def _sample_action(
        self, learning_starts: int, action_noise=None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """As SB3's, but the random actions before learning starts may be guided, too, or there are none."""
        starts = 0 if self.experienced else learning_starts
        actions, stored = super()._sample_action(starts, action_noise, n_envs)
        if self.num_timesteps < starts:
            actions = stored = self._guided(actions, self._last_obs)
        return actions, stored

    def _guided(self, drawn: np.ndarray, observation: np.ndarray) -> np.ndarray:
        """Random actions, a share of them replaced by the guide's."""
        if self.guide is None:
            return drawn
        shown, _ = self.guide.predict(observation, deterministic=False)
        return np.where(np.random.rand(*np.shape(drawn)) < self.guide_share, shown, drawn)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Takes gradient steps on the smooth-L1 TD error."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        losses, values = [], []
        for _ in range(gradient_steps):
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
            batch = batch._replace(actions=batch.actions.long())  # stored in as few bytes as will do
            with torch.no_grad():
                target = self._target(batch)  # (batch, 1)
            q_values = self.q_net(batch.observations).gather(1, batch.actions)  # (batch, 1)
            loss = F.smooth_l1_loss(q_values, target)
            self.policy.optimizer.zero_grad()
            loss.backward()
            self._clip_gradients()
            self.policy.optimizer.step()
            losses.append(loss.detach())
            values.append(q_values.detach().mean())
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates)
        self.logger.record_mean("train/loss", torch.stack(losses).mean().item())
        self.logger.record_mean("train/q_value", torch.stack(values).mean().item())

    def _clip_gradients(self) -> None:
        """As ``clip_grad_norm_``, which multiplies every gradient also when there is nothing to clip."""
        parameters = [p for p in self.q_net.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters])
        if norm > self.max_grad_norm:
            nn.utils.clip_grads_with_norm_(parameters, self.max_grad_norm, norm)

    def _target(self, batch) -> torch.Tensor:
        discounts = self.gamma if batch.discounts is None else batch.discounts
        common = (batch.rewards, batch.dones, discounts)
        if self.target == "double":
            following = batch.next_observations
            return double_q_target(*common, self.q_net(following), self.q_net_target(following))
        both = torch.cat([batch.observations, batch.next_observations])
        q_now, q_next = self.q_net_target(both).chunk(2)
        return munchausen_target(
            *common,
            batch.actions,
            q_now,
            q_next,
            self.temperature,
            self.munchausen_scale,
            self.munchausen_clip,
        )
