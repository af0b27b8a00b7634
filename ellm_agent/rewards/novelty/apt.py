"""Active pre-training (APT) in ICM features: particle entropy of the visited states."""

from __future__ import annotations

import torch

from ellm_agent.rewards.novelty.icm import ICM


class APT(ICM):
    """Active pre-training (Liu & Abbeel 2021), as URLB's ICM-APT: entropy of the visited states, from neighbours.

        bonus = log(1 + mean over the k nearest neighbours z_j of |phi(s') - z_j| / m)

    The neighbours are those in a uniform sample of all states visited so far (a reservoir); the published form takes
    them from a batch of the replay. m is the running mean of such distances. The features are ICM's; the published
    ones are learned by a contrastive loss.

    Args:
        inputs: length of a state.
        actions: number of actions.
        hidden: width of all layers, and of the features.
        neighbours: k.
        memory: size of the sample.
        refresh: calls of ``score`` between updates of the sample's features, which change as they are learned.
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
        self._distance, self._distances = 0.0, 0  # running mean of neighbours' distances; how many are in it

    def get_extra_state(self) -> dict[str, float]:
        return {"distance": self._distance, "distances": self._distances}

    def set_extra_state(self, state: dict[str, float]) -> None:
        self._distance, self._distances = float(state["distance"]), int(state["distances"])

    def score(self, before, actions, after, first_visit) -> torch.Tensor:
        features = self.features(after)
        if self.calls % self.refresh == 0:
            self.sample_features[:] = self.features(self.sample)
        self.calls += 1
        known = self.sample_features[: int(self.seen.clamp(max=len(self.sample)))]
        near = nearest(features, known, self.neighbours) if len(known) >= self.neighbours else None
        self._remember(after, features)
        if near is None:
            return after.new_zeros(len(after))
        self._distances += near.numel()
        self._distance += float((near.cpu().double() - self._distance).sum()) / self._distances
        return torch.log1p(near.mean(dim=1) / max(self._distance, 1e-8))  # (batch,)

    def _remember(self, states: torch.Tensor, features: torch.Tensor) -> None:
        """Keeps each state with the same probability, whenever it came (reservoir sampling)."""
        size = len(self.sample)
        numbers = self.seen + torch.arange(len(states), device=states.device)
        places = torch.where(
            numbers < size, numbers, (torch.rand(len(states), device=states.device) * (numbers + 1)).long()
        )
        # One after the other: of two states that are given the same place, the later one stays.
        for i in torch.nonzero(places < size).flatten():
            self.sample[places[i]] = states[i]
            self.sample_features[places[i]] = features[i].detach()
        self.seen += len(states)


def nearest(points: torch.Tensor, known: torch.Tensor, k: int) -> torch.Tensor:
    """Distances to the k nearest known points, ``(len(points), k)``, ascending."""
    return torch.cdist(points, known).topk(k, largest=False).values
