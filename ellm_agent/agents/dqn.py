"""SB3's DQN with a text encoder, dueling heads, and a double-Q or a Munchausen target."""

from __future__ import annotations

import numpy as np
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn
from torch.nn import functional as F

from ellm_agent.agents.targets import double_q_target, munchausen_target


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

    @property
    def value_heads(self) -> list[nn.Linear]:
        """The layers that estimate the value of a state."""
        return [self.q_net.value, self.q_net_target.value]

    @property
    def advantage_heads(self) -> list[nn.Linear]:
        """The layers that estimate the advantages of actions."""
        return [self.q_net.q_net[-1], self.q_net_target.q_net[-1]]

    @property
    def trained_encoder(self) -> nn.Module:
        """The encoder that gradients reach."""
        return self.q_net.features_extractor

    def make_q_net(self) -> DuelingQNetwork:
        arguments = self._update_features_extractor(self.net_args, features_extractor=None)
        return DuelingQNetwork(**arguments).to(self.device)

    def _predict(self, obs: torch.Tensor, deterministic: bool = True) -> torch.Tensor:
        q_values = self.q_net(obs)  # (batch, actions)
        if deterministic or self.temperature is None:
            return q_values.argmax(dim=1)
        return torch.multinomial(torch.softmax(q_values / self.temperature, dim=1), 1).squeeze(1)


class TextDQN(DQN):
    """SB3's DQN with a double-Q or a Munchausen target.

    ``double`` explores with epsilon-greedy actions (drawn for each environment independently); ``munchausen`` samples
    from its softmax policy and needs no epsilon, but may have one. A share of the random actions can be those of a
    ``guide`` (Du et al. 2023, section 4.3).

    Args:
        target: "munchausen" or "double".
        temperature: t of the softmax policy (reward units).
        munchausen_scale: alpha.
        munchausen_clip: l0.
        epsilon_greedy: whether to mix in random actions; None: with the double target, and with a guide.
        guide: policy of another agent with the same observations, or None.
        guide_share: share of the random actions that are the guide's, in [0, 1].
        random_start: whether actions are random before learning starts; not for pretrained networks.
        policy_kwargs: for :class:`TextDQNPolicy`; the temperature is added here.
        **kwargs: as for SB3's DQN.
    """

    def __init__(
        self,
        policy,
        env,
        target: str = "munchausen",
        temperature: float = 0.03,
        munchausen_scale: float = 0.9,
        munchausen_clip: float = -1.0,
        epsilon_greedy: bool | None = None,
        guide: BasePolicy | None = None,
        guide_share: float = 0.5,
        random_start: bool = True,
        policy_kwargs: dict | None = None,
        **kwargs,
    ):
        if target not in ("munchausen", "double"):
            raise ValueError(f"target is {target!r}; choose 'munchausen' or 'double'")
        self.target = target
        self.epsilon_greedy = (
            (target == "double" or guide is not None) if epsilon_greedy is None else epsilon_greedy
        )
        self.temperature, self.munchausen_scale = temperature, munchausen_scale
        self.munchausen_clip = munchausen_clip
        self.guide, self.guide_share, self.random_start = guide, guide_share, random_start
        soft = temperature if target == "munchausen" else None
        super().__init__(policy, env, policy_kwargs={**(policy_kwargs or {}), "temperature": soft}, **kwargs)

    def predict(
        self, observation, state=None, episode_start=None, deterministic=False
    ) -> tuple[np.ndarray, tuple | None]:
        """As SB3's, but epsilon is drawn for each environment, not once for all of them."""
        actions, state = self.policy.predict(observation, state, episode_start, deterministic)
        if deterministic or not self.epsilon_greedy:
            return actions, state
        at_random = np.random.rand(*np.shape(actions)) < self.exploration_rate
        uniform = np.random.randint(self.action_space.n, size=np.shape(actions))
        return np.where(at_random, self._guided(uniform, observation), actions), state

    def _sample_action(
        self, learning_starts: int, action_noise=None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """As SB3's, but the random actions before learning starts may be guided, too, or be left out."""
        starts = learning_starts if self.random_start else 0
        actions, stored = super()._sample_action(starts, action_noise, n_envs)
        if self.num_timesteps < starts:
            actions = stored = self._guided(actions, self._last_obs)
        return actions, stored

    def _guided(self, uniform: np.ndarray, observation: np.ndarray) -> np.ndarray:
        """Random actions, a share of them replaced by the guide's."""
        if self.guide is None:
            return uniform
        shown, _ = self.guide.predict(observation, deterministic=False)
        return np.where(np.random.rand(*np.shape(uniform)) < self.guide_share, shown, uniform)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Takes gradient steps on the smooth-L1 TD error."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        losses, values = [], []
        for _ in range(gradient_steps):
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
            with torch.no_grad():
                target = self._target(batch)  # (batch, 1)
            q_values = self.q_net(batch.observations).gather(1, batch.actions)  # (batch, 1)
            loss = F.smooth_l1_loss(q_values, target)
            self.policy.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.q_net.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
            losses.append(loss.detach())
            values.append(q_values.detach().mean())
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates)
        self.logger.record_mean("train/loss", torch.stack(losses).mean().item())
        self.logger.record_mean("train/q_value", torch.stack(values).mean().item())

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
