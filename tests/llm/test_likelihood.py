"""Log-likelihoods of continuations: by hand on a model of bigrams, and against reading one by one."""

import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ellm_agent.llm import likelihood
from ellm_agent.llm.base import Answer, LanguageModelError
from ellm_agent.llm.client import OpenAIModel
from ellm_agent.llm.likelihood import log_likelihoods
from prompts import scored
from tests.helpers.llm_server import serve

# P(next | token): rows sum to 1.
BIGRAMS = [[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.25, 0.25, 0.5]]


def tiny(**options):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(**{"vocab_size": 50, **sizes, **options})).eval()


@pytest.fixture
def bigrams():
    """A network whose layers add nothing, and whose head holds log P(next | token)."""
    network = tiny(
        vocab_size=3, hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1
    )
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "proj" in name:
                weight.zero_()
        network.model.embed_tokens.weight.copy_(torch.eye(3, 4))
        # RMS normalisation turns (1, 0, 0, 0) into (2, 0, 0, 0).
        network.lm_head.weight.copy_(torch.log(torch.tensor(BIGRAMS)).T @ torch.eye(3, 4) / 2)
    return network


def test_by_hand(bigrams):
    """After 0 1: P(2) = .7; P(2 2 1) = .7 * .5 * .25; P(0 0) = .1 * .5."""
    values = log_likelihoods(bigrams, [0, 1], [[2], [2, 2, 1], [0, 0]])
    assert values == pytest.approx([math.log(0.7), math.log(0.7 * 0.5 * 0.25), math.log(0.05)], abs=1e-4)


@pytest.mark.parametrize("batch", [64, 2])
def test_side_by_side_is_one_by_one(batch, monkeypatch):
    """The prefix read once, and continuations of different lengths in one batch, as in a plain reading of each text."""
    monkeypatch.setattr(likelihood, "BATCH", batch)
    network, prefix, read = tiny(), [3, 1, 4, 1, 5], []
    continuations = [[9], [2, 6, 5], [3, 5], [8, 9, 7, 9], [9]]
    plain = []
    with torch.inference_mode():
        for tokens in continuations:
            logs = torch.log_softmax(network(torch.tensor([prefix + tokens])).logits[0], dim=1)
            plain.append(sum(float(logs[len(prefix) + i - 1, token]) for i, token in enumerate(tokens)))
    network.register_forward_pre_hook(lambda _, __, given: read.append(given["input_ids"]), with_kwargs=True)
    assert log_likelihoods(network, prefix, continuations) == pytest.approx(plain, abs=1e-5)
    assert [ids.tolist() for ids in read].count([prefix]) == 1


# --- over a server that returns log-probabilities of prompts ----------------------------------------------------------

PROMPT = scored.prompt("You see a cow.", ("eat cow", "sleep"))


def echoed(body):
    """A token is a character; each has log-probability -1, in the last text -2. The server writes one more."""
    choices = []
    for index, text in enumerate(body["prompt"]):
        each = -2.0 if index else -1.0
        logprobs = {
            "token_logprobs": [None, *[each] * len(text)],
            "text_offset": list(range(len(text) + 1)),
        }
        choices.append({"index": index, "text": text + "!", "logprobs": logprobs})
    return 200, {"choices": choices[::-1], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}


def test_a_server_scores_all_continuations_in_one_request():
    with serve(echoed) as server:
        (answer,) = OpenAIModel("m", server.url).answer([PROMPT])
    assert answer == Answer(" eat cow", {" eat cow": -8.0, " sleep": -12.0}, 9, 2)
    (request,) = server.requests
    assert request["prompt"] == [
        "You see a cow. The player should eat cow",
        "You see a cow. The player should sleep",
    ]
    assert (request["echo"], request["logprobs"]) == (True, 1)
    assert server.paths == ["/v1/completions"]


@pytest.mark.parametrize(
    "choices",
    [
        [{"index": 0, "text": "x", "logprobs": None}],
        [{"index": 0, "text": "x", "logprobs": {"content": []}}],
        [{"index": 0, "logprobs": {"token_logprobs": [None, -1.0], "text_offset": [0, 3]}}],
        [{"index": 7, "logprobs": {"token_logprobs": [-1.0], "text_offset": [40]}}],
        [],
    ],
)
def test_a_server_that_does_not_score_is_told_apart(choices):
    with serve(lambda body: (200, {"choices": choices})) as server:
        (error,) = OpenAIModel("m", server.url).answer([PROMPT])
    assert isinstance(error, LanguageModelError)
    assert error.kind == "malformed"
