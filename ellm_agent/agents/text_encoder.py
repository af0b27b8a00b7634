"""The agent: a text encoder (an MLP over frozen SentenceBERT vectors), and a DQN that reads with it.

SB3's PPO and sb3-contrib's TRPO use the same encoder.
"""

from __future__ import annotations

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn
from torch.nn import functional as F

from ellm_agent.text.embedding_bag import by_blocks, sum_of_rows
from ellm_agent.text.sentence_bert import DIMENSIONS
from ellm_agent.text.whitening import PhraseFeatures

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
