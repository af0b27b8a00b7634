"""Value heads of a language model that learned by ILQL, and the output layer that they change (Snell et al. 2022).

Knows nothing of how they are trained.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

WEIGHTS, SETTINGS = "value_heads.safetensors", "value_heads.json"  # beside the model's own files


class ValueHeads(nn.Module):
    """ILQL's heads: Q1, Q2 and V, and target copies of the Qs. Each is Linear(d, 2d), ReLU, Linear.

    Args:
        width: d, of the language model's hidden states.
        vocabulary: tokens.
    """

    def __init__(self, width: int, vocabulary: int):
        super().__init__()
        self.q1, self.q2 = _mlp(width, vocabulary), _mlp(width, vocabulary)
        self.v = _mlp(width, 1)
        self.target_q1, self.target_q2 = copy.deepcopy(self.q1), copy.deepcopy(self.q2)
        for parameter in (*self.target_q1.parameters(), *self.target_q2.parameters()):
            parameter.requires_grad_(False)

    def perturb(self, hidden: torch.Tensor, logits: torch.Tensor, beta: float) -> torch.Tensor:
        """Logits of the policy pi_BC exp(beta (Q - V)), with the target heads' Q; arguments as in ``perturbed``."""
        q1, q2 = self.target_q1(hidden), self.target_q2(hidden)
        return perturbed(logits, q1, q2, self.v(hidden).squeeze(-1), beta)

    def save(self, folder: Path, beta: float) -> None:
        """Writes the heads beside a model, to be decoded with this beta."""
        save_file({name: tensor.half() for name, tensor in self.state_dict().items()}, folder / WEIGHTS)
        (folder / SETTINGS).write_text(json.dumps({"beta": beta}) + "\n")


def perturbed(
    logits: torch.Tensor, q1: torch.Tensor, q2: torch.Tensor, values: torch.Tensor, beta: float
) -> torch.Tensor:
    """Logits of the policy: log pi = log pi_BC + beta (min(Q1, Q2) - V), not normalised.

    Args:
        logits: of pi_BC, ``(..., vocabulary)``.
        q1, q2: the target heads' Q(h, .), likewise.
        values: V(h), ``(...)``.
        beta: 0: pi_BC.
    """
    return torch.log_softmax(logits, dim=-1) + beta * (torch.minimum(q1, q2) - values[..., None])


class PerturbedOutput(nn.Module):
    """An output layer that adds beta (Q - V) to the log-probabilities of another."""

    def __init__(self, output: nn.Module, heads: ValueHeads, beta: float):
        super().__init__()
        self._output, self._heads, self._beta = output, heads, beta
        self.weight = output.weight

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self._heads.perturb(hidden, self._output(hidden), self._beta)


def attach(network: nn.Module, folder: Path) -> None:
    """Lets a model decode with the heads in its folder, if there are any.

    Raises:
        Exception: of any kind, if they are damaged, or for another model.
    """
    if not (folder / WEIGHTS).exists():
        return
    output = network.get_output_embeddings()
    heads = ValueHeads(output.weight.shape[1], output.weight.shape[0])
    heads.load_state_dict({name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()})
    beta = float(json.loads((folder / SETTINGS).read_text())["beta"])
    network.set_output_embeddings(PerturbedOutput(output, heads.eval(), beta))


def _mlp(width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, outputs))
