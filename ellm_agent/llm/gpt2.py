"""How a GPT-2 reads scenes and many questions about each: every token once, nothing padded, answers side by side.

What is read are lists of tokens. Each row holds a scene and, as branches of it, the questions about it with their answers.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

SPARE = 32  # columns that a table has beyond those in use when it has grown
SCENE, NOBODY = 0, -1  # branches: of tokens that all others of their row see; of cells without a token


class GPT2:
    """The weights of a GPT-2 as transformers saves it, and what they do to a list of tokens, each by itself.

    What tokens do to one another is for `Reading`. Plain torch, because transformers' own takes seconds to import,
    and reads in rectangles, with padding, a scene and its questions as well as single tokens of answers.

    Attributes:
        end: the token at the end of a text, no part of it.
        last: tokens after which an answer is over, beside ``end``.

    Args:
        folder: with config.json, generation_config.json and model.safetensors.

    Raises:
        ValueError: for another kind of model; for damaged files, whatever reading them raises.
    """

    def __init__(self, folder: Path):
        config = json.loads((folder / "config.json").read_text())
        made = f"{config['model_type']} with {config['activation_function']}"
        if made != "gpt2 with relu":
            raise ValueError(f"it is a {made}, not a gpt2 with relu")
        self.layers, self.heads, self.width = config["n_layer"], config["n_head"], config["n_embd"]
        self.positions, self.end = config["n_positions"], config["eos_token_id"]
        ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
        self.last = frozenset(ends if isinstance(ends, list) else [ends])
        self._epsilon = config["layer_norm_epsilon"]
        weights = load_file(folder / "model.safetensors")
        self._weights = {name.removeprefix("transformer."): w.float() for name, w in weights.items()}

    def embed(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Tokens and their positions, each ``(tokens,)`` -> ``(tokens, width)``."""
        return self._weights["wte.weight"][ids] + self._weights["wpe.weight"][positions]

    def project(self, layer: int, x: torch.Tensor) -> torch.Tensor:
        """Queries, keys and values of a layer, side by side."""
        return self._linear(f"h.{layer}.attn.c_attn", self._norm(f"h.{layer}.ln_1", x))

    def transform(self, layer: int, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """What a layer makes of its input and of what was attended to."""
        x = x + self._linear(f"h.{layer}.attn.c_proj", attended)
        hidden = self._linear(f"h.{layer}.mlp.c_fc", self._norm(f"h.{layer}.ln_2", x)).relu_()
        return x + self._linear(f"h.{layer}.mlp.c_proj", hidden)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """``(tokens, width)`` -> ``(tokens, vocabulary)``."""
        return F.linear(self._norm("ln_f", x), self._weights["wte.weight"])

    def _norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return F.layer_norm(x, (self.width,), weight, bias, self._epsilon)

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self._weights[f"{name}.bias"], x, self._weights[f"{name}.weight"])


class Piece(NamedTuple):
    """Consecutive tokens of a scene, a question or an answer."""

    row: int
    branch: int
    position: int  # of the first token, in its text
    ids: Sequence[int]


class Reading:
    """What a GPT-2 has read: scenes and, as branches of each, the questions about it with their answers.

    A token sees its scene and its own branch as far as itself, and no other branch. Keys and values stand in a table:
    a row for each scene, columns for its tokens in the order in which they were read. All but attention is computed
    on lists of tokens, without padding.

    Args:
        model: that reads.
        rows: how many.
    """

    def __init__(self, model: GPT2, rows: int):
        self._model = model
        self._places = np.arange(rows)  # in the table, of each row
        self._columns = 0  # in use
        self._branches = self._positions = torch.zeros(rows, 0, dtype=torch.long)
        self._memory = torch.zeros(model.layers, rows, 0, 2 * model.width)  # keys and values side by side

    def read(self, pieces: Sequence[Piece]) -> torch.Tensor:
        """Reads pieces, sorted by row; a row that is left out cannot be read on.

        Returns:
            Logits of the token after each piece that is not of a scene: ``(pieces, vocabulary)``.
        """
        model = self._model
        row, branch, position, texts = zip(*pieces, strict=True)
        lengths = np.array([len(ids) for ids in texts])
        ends = lengths.cumsum()
        rows = self._find(np.array(row)).repeat(lengths)
        branches = torch.from_numpy(np.array(branch).repeat(lengths))
        starts = np.array(position) - (ends - lengths)
        positions = torch.from_numpy(np.arange(ends[-1]) + starts.repeat(lengths))
        ids = torch.tensor(list(itertools.chain.from_iterable(texts)))
        asked = ends[np.array(branch) != SCENE] - 1

        grid = Grid(rows, len(self._branches))
        new = self._extend(grid, branches, positions)
        mask = self._mask(grid, branches, positions)
        # What the first layer projects depends on token and position alone: it is computed once for each such pair.
        pairs, places = torch.unique(ids * model.positions + positions, return_inverse=True)
        x = model.embed(pairs // model.positions, pairs % model.positions)
        x, projected = x[places], model.project(0, x)[places]
        for layer in range(model.layers):
            if layer > 0:
                projected = model.project(layer, x)
            queries, told = projected.split((model.width, 2 * model.width), dim=1)
            self._memory[layer, :, new] = grid.spread(told)
            if layer == model.layers - 1 and len(asked) < len(ids):
                # Of the last layer nobody sees more than keys and values, but for the tokens that are asked.
                grid = Grid(rows[asked], len(self._branches))
                mask = self._mask(grid, branches[asked], positions[asked])
                x, queries = x[asked], queries[asked]
            x = model.transform(layer, x, self._attend(layer, grid, queries, mask))
        return model.logits(x)

    def _find(self, rows: np.ndarray) -> np.ndarray:
        """Places of rows in the table, which is rid of the others once they are half of it."""
        kept = np.unique(self._places[rows])
        if 2 * len(kept) <= len(self._branches):
            self._branches, self._positions = self._branches[kept], self._positions[kept]
            self._memory = self._memory[:, kept]
            self._places = np.searchsorted(kept, self._places)
        return self._places[rows]

    def _extend(self, grid: Grid, branches: torch.Tensor, positions: torch.Tensor) -> slice:
        """New columns of the table, for keys and values of tokens with these branches and positions."""
        new = slice(self._columns, self._columns + grid.shape[1])
        self._columns = new.stop
        if (missing := new.stop - self._memory.shape[2]) > 0:
            more = (0, missing + SPARE)
            self._branches, self._positions = F.pad(self._branches, more), F.pad(self._positions, more)
            self._memory = F.pad(self._memory, (0, 0, *more))
        self._branches[:, new] = grid.spread(branches, NOBODY)
        self._positions[:, new] = grid.spread(positions)
        return new

    def _mask(self, grid: Grid, branches: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """What attention adds to scores: nothing for what a token sees, or else minus infinity."""
        branch, position = grid.spread(branches, NOBODY)[:, :, None], grid.spread(positions)[:, :, None]
        of, at = self._branches[:, None, : self._columns], self._positions[:, None, : self._columns]
        seen = ((of == SCENE) | (of == branch)) & (at <= position)  # (rows, tokens, tokens they may see)
        return torch.zeros(seen.shape).masked_fill_(~seen, -torch.inf)[:, None]

    def _attend(self, layer: int, grid: Grid, queries: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        heads = self._model.heads
        memory = self._memory[layer, :, : self._columns].unflatten(2, (2, heads, -1))
        keys, values = memory.permute(2, 0, 3, 1, 4)  # each (rows, heads, tokens, width of a head)
        queries = grid.spread(queries).unflatten(2, (heads, -1)).transpose(1, 2)
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return grid.gather(attended.transpose(1, 2).flatten(2))


class Grid:
    """Tokens of a list, sorted by row, as a table with so many rows: each row's from the left, then empty cells."""

    def __init__(self, rows: np.ndarray, count: int):
        columns = np.arange(len(rows)) - np.searchsorted(rows, rows)
        self.shape = count, int(columns.max()) + 1
        self._cells = torch.from_numpy(rows * self.shape[1] + columns)
        self._full = len(rows) == count * self.shape[1]  # then list and table are the same

    def spread(self, listed: torch.Tensor, empty: int = 0) -> torch.Tensor:
        """``(tokens, ...)`` -> ``(rows, columns, ...)``."""
        if not self._full:
            cells = listed.new_full((self.shape[0] * self.shape[1], *listed.shape[1:]), empty)
            listed = cells.index_copy_(0, self._cells, listed)
        return listed.unflatten(0, self.shape)

    def gather(self, table: torch.Tensor) -> torch.Tensor:
        """``(rows, columns, ...)`` -> ``(tokens, ...)``."""
        listed = table.flatten(0, 1)
        return listed if self._full else listed[self._cells]
