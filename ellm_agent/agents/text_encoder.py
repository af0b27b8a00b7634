"""The text encoder: an MLP over SentenceBERT vectors of the observed phrases, for any SB3 policy.

Knows nothing of text: it reads phrase ids, whose vectors a :class:`PhraseFeatures` gives.
"""

from __future__ import annotations

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from ellm_agent.agents.action_prior import ActionPrior
from ellm_agent.text.embedding_bag import sum_of_rows
from ellm_agent.text.sentence_bert import DIMENSIONS
from ellm_agent.text.whitening import PhraseFeatures

LEARNED_STD = 0.03  # of learned vectors at the start: that of unit vectors after a random projection


class TextEncoder(BaseFeaturesExtractor):
    """Phrase ids -> features.

        h = sum over the observed phrases of (W1 v + u)
        features = ReLU(W2 ReLU(LayerNorm(h)))

    v is a phrase's frozen SentenceBERT vector, u a learned offset that starts at zero. The frozen part generalises to
    phrases that were never observed; the offsets let a rare phrase be learned quickly, because Adam scales the step of
    each phrase by itself. Either part can be left out.

    Args:
        observation_space: ``Box((slots,))`` of phrase ids; 0 is padding.
        features: the frozen vectors; None: learned vectors only.
        hidden: width of both layers.
        offsets: number of ids with a learned offset of their own (later ones have none); 0: no offsets.
        twice: whether second derivatives are needed (TRPO): slower.
        prior: its features are put behind the encoder's; None: no prior.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        features: PhraseFeatures | None,
        hidden: int,
        offsets: int = 0,
        twice: bool = False,
        prior: ActionPrior | None = None,
    ):
        super().__init__(observation_space, features_dim=hidden + (prior.actions if prior else 0))
        self._features, self._twice, self._prior = features, twice, prior
        self.project = nn.Linear(DIMENSIONS, hidden) if features is not None else None
        self.offsets = nn.Parameter(torch.zeros(offsets, hidden)) if offsets else None
        if self.project is None:
            nn.init.normal_(self.offsets, std=LEARNED_STD)
        self.mlp = nn.Sequential(nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        ids = observations.int()  # (batch, slots)
        hidden = 0.0
        if self.project is not None:
            vectors = self._features.on(ids.device)  # (phrases, 384)
            hidden = self.project(sum_of_rows(vectors, ids))
        if self.offsets is not None:
            hidden = hidden + sum_of_rows(self.offsets, ids, self._twice)
        encoded = self.mlp(hidden)  # (batch, hidden)
        if self._prior is None:
            return encoded
        return torch.cat([encoded, self._prior.features(ids)], dim=1)  # (batch, hidden + actions)
