"""Recorded answers by name: those that a world brings."""

import gzip
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from ellm_agent.config.suggester import SuggesterConfig
from ellm_agent.errors import UserError
from ellm_agent.llm.factory import make_model


def model(answers, folder):
    world = SimpleNamespace(
        name="home", recorded_answers=folder / "answers.jsonl.gz", has_bundled_model=False
    )
    llm = {"kind": "recorded", "answers": answers and Path(answers)}
    return make_model(SuggesterConfig.model_validate({"kind": "closed", "llm": llm}), world)


def test_a_name_stands_for_a_file_of_the_world(tmp_path):
    for name in ("answers", "small", "large-closed"):
        head = json.dumps({"description": f"{name} of the world", "version": "closed-3"})
        (tmp_path / f"{name}.jsonl.gz").write_bytes(gzip.compress(head.encode()))
    assert model(None, tmp_path).description == "answers of the world"
    assert model("small", tmp_path).description == "small of the world"
    assert model("large", tmp_path).description == "large-closed of the world"
    assert model(tmp_path / "small.jsonl.gz", tmp_path).description == "small of the world"
    with pytest.raises(
        UserError,
        match=r"^llm is recorded:tiny and goal-mode closed, but .* brings answers, large-closed, small$",
    ):
        model("tiny", tmp_path)
    with pytest.raises(UserError, match=r"^cannot read recorded answers .*tiny.jsonl"):
        model("tiny.jsonl", tmp_path)
