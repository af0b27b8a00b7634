"""Sums of table rows equal PyTorch's, forward and backward."""

import pytest
import torch
from torch.nn import functional as F

from ellm_agent.text.embedding_bag import sum_of_rows


@pytest.mark.parametrize("twice", [False, True])
def test_by_hand(twice):
    table = torch.tensor([[9.0, 9.0], [1.0, 2.0], [10.0, 20.0]], requires_grad=True)
    ids = torch.tensor([[1, 0, 2], [2, 2, 0], [0, 0, 0], [7, 1, 0]], dtype=torch.int16)  # there is no row 7
    sums = sum_of_rows(table, ids, twice)
    assert sums.tolist() == [[11, 22], [20, 40], [0, 0], [1, 2]]
    sums.backward(torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0], [100.0, 0.0]]))
    assert table.grad.tolist() == [[0, 0], [101, 0], [1, 2]]


@pytest.mark.parametrize("twice", [False, True])
def test_as_embedding_bag(twice):
    torch.manual_seed(0)
    ids = torch.randint(0, 50, (20, 7))
    weights = torch.randn(20, 16)
    gradients, results = [], []
    table = torch.randn(50, 16)
    for kind in ("ours", "theirs"):
        leaf = table.clone().requires_grad_()
        if kind == "ours":
            sums = sum_of_rows(leaf, ids, twice)
        else:
            sums = F.embedding_bag(ids, leaf, mode="sum", padding_idx=0)
        (sums * weights).sum().backward()
        results.append(sums.detach())
        gradients.append(leaf.grad)
    assert torch.allclose(*results, atol=1e-5)
    assert torch.allclose(*gradients, atol=1e-5)
