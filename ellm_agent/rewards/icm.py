"""Features of what actions change: curiosity (ICM), and particle entropy (APT) in the same features."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from ellm_agent.rewards.bonus import Bonus, mlp

BETA = 0.2  # weight of the forward loss in ICM, its complement that of the inverse loss (Pathak et al. 2017)


class ICM(Bonus):
    """Intrinsic curiosity (Pathak et al. 2017): how wrong a forward model is, in features of an inverse model.

        a_hat = inverse(phi(s), phi(s'))      loss_I = cross-entropy of a
        phi_hat = forward(phi(s), a)          loss_F = mean of (phi_hat - phi(s'))^2 / 2  over features
        loss = 0.8 loss_I + 0.2 loss_F        bonus = loss_F of the transition

    Args:
        inputs: length of a state.
        actions: number of actions.
        hidden: width of all layers, and of the features.
    """

    def __init__(self, inputs: int, actions: int, hidden: int):
        super().__init__()
        self.actions = actions
        self.features = mlp(inputs, hidden, hidden)
        self.inverse = mlp(2 * hidden, hidden, actions)
        self.forward_model = mlp(hidden + actions, hidden, hidden)

    def forward_error(self, phi: torch.Tensor, actions: torch.Tensor, next_phi: torch.Tensor) -> torch.Tensor:
        """Half the mean squared error of the forward model, ``(batch,)``."""
        chosen = F.one_hot(actions, self.actions).to(phi.dtype)
        predicted = self.forward_model(torch.cat([phi, chosen], dim=1))
        return (predicted - next_phi).square().mean(dim=1) / 2

    def score(self, before, actions, after, first_visit) -> torch.Tensor:
        return self.forward_error(self.features(before), actions, self.features(after))

    def loss(self, before, actions, after) -> torch.Tensor:
        phi, next_phi = self.features(before), self.features(after)
        inverse = F.cross_entropy(self.inverse(torch.cat([phi, next_phi], dim=1)), actions)
        return (1 - BETA) * inverse + BETA * self.forward_error(phi, actions, next_phi).mean()


class APT(ICM):
    """Active pre-training (Liu & Abbeel 2021): entropy of the states visited, estimated from their neighbours.

        bonus = log(1 + mean over the k nearest neighbours z_j of |phi(s') - z_j| / m)

    The neighbours are sought among the latest states visited (each in the features of its time), which include the
    batch itself; m is the running mean of such distances. The features are ICM's.

    Args:
        inputs: length of a state.
        actions: number of actions.
        hidden: width of all layers, and of the features.
        neighbours: k.
        memory: latest states among which neighbours are sought.
    """

    def __init__(self, inputs: int, actions: int, hidden: int, neighbours: int = 12, memory: int = 1024):
        super().__init__(inputs, actions, hidden)
        self.neighbours = neighbours
        self.register_buffer("recent", torch.zeros(memory, hidden))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))  # states so far
        self.register_buffer("distance", torch.zeros((), dtype=torch.float64))  # running mean
        self.register_buffer("distances", torch.zeros((), dtype=torch.int64))  # how many are in it

    def score(self, before, actions, after, first_visit) -> torch.Tensor:
        features = self.features(after)
        self._remember(features)
        known = self.recent[: int(self.seen.clamp(max=len(self.recent)))]
        near = nearest(features, known, self.neighbours)
        self.distances += near.numel()
        self.distance += (near.double() - self.distance).sum() / self.distances
        return torch.log1p(near.mean(dim=1) / self.distance.clamp(min=1e-8).float())

    def _remember(self, features: torch.Tensor) -> None:
        places = (self.seen + torch.arange(len(features))) % len(self.recent)
        self.recent[places] = features.detach()
        self.seen += len(features)


def nearest(points: torch.Tensor, known: torch.Tensor, k: int) -> torch.Tensor:
    """Distances to the k nearest known points; the nearest is left out where it is the point itself.

    Args:
        points: ``(n, d)``, all of them among the known ones.
        known: ``(m, d)``.
        k: how many; fewer if there are no more.

    Returns:
        ``(n, min(k, m - 1))``, ascending (of a single known point: its distance, 0).
    """
    distances = torch.cdist(points, known)
    found = distances.topk(min(k + 1, len(known)), largest=False).values
    return found[:, 1:] if found.shape[1] > 1 else found
