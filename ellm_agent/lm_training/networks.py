"""Networks on top of a causal language model: scores of answers, and values of their tokens.

Any ``transformers`` model with a language-modelling head will do. Rows hold a question and its answer, padded on the
right, where no earlier token attends to the padding. Knows nothing of tokenisation.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel


@dataclass(frozen=True)
class Answers:
    """Questions and answers in token ids.

    Attributes:
        ids: questions and answers, ``(rows, columns)``, padded with 0 on the right.
        columns: of the state before each token of an answer, ``(rows, tokens)``; 0 outside of answers.
        tokens: of the answers, likewise.
        mask: whether it is a token of an answer, likewise, bool.
    """

    ids: torch.Tensor
    columns: torch.Tensor
    tokens: torch.Tensor
    mask: torch.Tensor

    @classmethod
    def of(cls, questions: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> Answers:
        """Pads questions and their answers; none may be empty."""
        rows = [torch.tensor([*q, *a]) for q, a in zip(questions, answers, strict=True)]
        starts = torch.tensor([len(question) - 1 for question in questions])
        lengths = torch.tensor([len(answer) for answer in answers])
        places = torch.arange(int(lengths.max()))
        mask = places < lengths[:, None]
        columns = (starts[:, None] + places) * mask
        ids = pad_sequence(rows, batch_first=True)
        return cls(ids, columns, ids.gather(1, columns + 1) * mask, mask)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: torch.Tensor) -> Answers:
        """Some of the rows."""
        return Answers(self.ids[rows], self.columns[rows], self.tokens[rows], self.mask[rows])


def read(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """The last hidden states of rows padded on the right, ``(rows, columns, width)``."""
    body = model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    return body.last_hidden_state


def at(hidden: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Hidden states of columns, ``(rows, tokens, width)``."""
    return hidden.gather(1, columns[:, :, None].expand(-1, -1, hidden.shape[2]))


def log_probabilities(model: PreTrainedModel, answers: Answers) -> torch.Tensor:
    """log pi of the answers' tokens, ``(rows, tokens)``, 0 outside of answers."""
    logits = model.get_output_embeddings()(at(read(model, answers.ids), answers.columns))
    logp = torch.log_softmax(logits, dim=2).gather(2, answers.tokens[:, :, None]).squeeze(2)
    return logp * answers.mask


class ScalarModel(nn.Module):
    """A language model with a scalar head: scores answers (a reward model), or gives the value of each state.

    Each token adds to the score, r(x, y) = sum over t of head(h_t), from the question's last token on: the usefulness of an
    answer is nearly the sum of its goals'. The value of a state is the score of the answer so far. Scores are shifted and
    scaled by ``normalise``, so that they have mean 0 and deviation 1 among given answers.

    Args:
        model: whose body is copied.
        generator: of the head's first weights, which are small (deviation .1 / sqrt(width + 1); published, for the last token
            alone: 1 / sqrt(width + 1)).
    """

    def __init__(self, model: PreTrainedModel, generator: torch.Generator):
        super().__init__()
        self.body = copy.deepcopy(model.base_model).float()
        width = model.get_output_embeddings().weight.shape[1]
        self.head = nn.Linear(width, 1)
        with torch.no_grad():
            self.head.weight.normal_(0, 0.1 * (width + 1) ** -0.5, generator=generator)
            self.head.bias.zero_()
        self.register_buffer("gain", torch.ones(()))
        self.register_buffer("shift", torch.zeros(()))

    def everywhere(self, answers: Answers) -> torch.Tensor:
        """The score of the answer up to each column, ``(rows, columns)``."""
        outputs = self.head(read(self.body, answers.ids)).squeeze(2)
        counted = torch.arange(outputs.shape[1]) >= answers.columns[:, :1]
        return (outputs * counted).cumsum(dim=1) * self.gain + self.shift

    def scores(self, answers: Answers) -> torch.Tensor:
        """Scores of whole answers, ``(rows,)``."""
        last = answers.columns.max(dim=1, keepdim=True).values + 1
        return self.everywhere(answers).gather(1, last).squeeze(1)

    def values(self, answers: Answers) -> torch.Tensor:
        """Values of the states before each token, ``(rows, tokens)``, 0 outside of answers."""
        return self.everywhere(answers).gather(1, answers.columns) * answers.mask

    @torch.no_grad()
    def normalise(self, scores: torch.Tensor) -> None:
        """Makes these scores have mean 0 and deviation 1 (Ziegler et al. 2019, section 2.1)."""
        scale = 1 / (scores.std(unbiased=False) + 1e-8)
        self.gain.mul_(scale)
        self.shift.copy_((self.shift - scores.mean()) * scale)
