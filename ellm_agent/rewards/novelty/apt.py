"""Features of what actions change: curiosity (ICM), and particle entropy (APT) in the same features."""

from __future__ import annotations

import torch

from ellm_agent.rewards.novelty.icm import ICM


class APT(ICM):
    """Active pre-training (Liu & Abbeel 2021): entropy of the states visited, estimated from their neighbours.

        bonus = log(1 + mean over the k nearest neighbours z_j of |phi(s') - z_j| / m)

    The neighbours are sought among a uniform sample of all states visited so far (a reservoir); the published form
    seeks them in a batch sampled from the replay. m is the running mean of such distances. The features are ICM's.

    Args:
        inputs: length of a state.
        actions: number of actions.
        hidden: width of all layers, and of the features.
        neighbours: k.
        memory: size of the sample.
        refresh: calls of ``score`` after which the sample is put into features anew: they learn.
    """

    scaled = False

    def __init__(
        self,
        inputs: int,
        actions: int,
        hidden: int,
        neighbours: int = 12,
        memory: int = 1024,
        refresh: int = 32,
    ):
        super().__init__(inputs, actions, hidden)
        self.neighbours, self.refresh = neighbours, refresh
        self.register_buffer("sample", torch.zeros(memory, inputs))
        self.register_buffer("sample_features", torch.zeros(memory, hidden))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))  # states so far
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("distance", torch.zeros((), dtype=torch.float64))  # running mean
        self.register_buffer("distances", torch.zeros((), dtype=torch.int64))  # how many are in it

    def score(self, before, actions, after, first_visit) -> torch.Tensor:
        features = self.features(after)
        if self.calls % self.refresh == 0:
            self.sample_features[:] = self.features(self.sample)
        self.calls += 1
        known = self.sample_features[: int(self.seen.clamp(max=len(self.sample)))]
        near = nearest(features, known, self.neighbours) if len(known) >= self.neighbours else None
        self._remember(after, features)
        if near is None:
            return torch.zeros(len(after))
        self.distances += near.numel()
        self.distance += (near.double() - self.distance).sum() / self.distances
        return torch.log1p(near.mean(dim=1) / self.distance.clamp(min=1e-8).float())

    def _remember(self, states: torch.Tensor, features: torch.Tensor) -> None:
        """Keeps each state with the same probability, whenever it came (reservoir sampling)."""
        size = len(self.sample)
        numbers = self.seen + torch.arange(len(states))
        places = torch.where(numbers < size, numbers, (torch.rand(len(states)) * (numbers + 1)).long())
        # One after the other: of two states that are given the same place, the later one stays.
        for i in torch.nonzero(places < size).flatten():
            self.sample[places[i]] = states[i]
            self.sample_features[places[i]] = features[i].detach()
        self.seen += len(states)


def nearest(points: torch.Tensor, known: torch.Tensor, k: int) -> torch.Tensor:
    """Distances to the k nearest known points, ``(len(points), k)``, ascending."""
    return torch.cdist(points, known).topk(k, largest=False).values
