"""Shared agents: the folder plays the run's episodes elsewhere, runs no code, and what is wrong with one is said in a line."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from ellm_agent.build import make_suggester
from ellm_agent.config import PRESETS
from ellm_agent.errors import UserError
from ellm_agent.runs.folder import Run
from ellm_agent.runs.pretrained import trained_agent
from ellm_agent.sharing import card, folder, hub, vectors
from envs import registry
from envs.interface import Situation
from prompts import open_ended
from tests.helpers.processes import ROOT, script
from tests.helpers.transfers import SMALL


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An agent trained with goals of the scripted language model, which is not there when it plays again."""
    made = tmp_path_factory.mktemp("run") / "run"
    done = script(
        "run_crafter.py", *SMALL, "--goal-mode", "open", "--llm", "script", "--algo", "ppo", "--out", made
    )
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def shared(run, tmp_path_factory):
    made = tmp_path_factory.mktemp("shared") / "agent"
    done = script("share.py", run, "--out", made)
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.parametrize("algo", ["dqn", "ppo"])
def test_a_shared_agent_plays_the_episodes_of_its_run(shared, pretrained, tmp_path, algo):
    away = tmp_path / "elsewhere"
    if algo == "ppo":
        shutil.copytree(shared, away)
    else:
        folder.write(Run.open(pretrained(algo)), away)
    done = script("evaluate.py", away, "--out", tmp_path / "played", "--gifs", "0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    episodes = len(folder.read(away).episodes)
    assert episodes > 0
    assert f"{episodes} of {episodes} episodes are those of the run that trained it" in done.stdout
    assert len(list((tmp_path / "played").glob("*.json"))) == episodes


def test_the_folder_holds_what_the_hub_needs(shared, run):
    assert {path.name for path in shared.iterdir()} <= set(hub.FILES)
    text = (shared / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front)["license"] == "mit"
    evaluation = Run.open(run).read("evaluations")[-1]
    assert f"| unlocks\\_per\\_episode | {evaluation['unlocks_per_episode']:,.2f} |" in body
    assert "MIT License" in (shared / "LICENSE").read_text()
    assert str(run) not in "".join(
        path.read_text() for path in shared.iterdir() if path.suffix in (".md", ".json", ".yaml")
    )
    assert all(
        name.startswith("policy.") or name == "phrases" for name in load_file(shared / "agent.safetensors")
    )


def test_no_path_of_the_machine_is_shared(run, tmp_path):
    of_here = Run.open(run)
    mine = Path("/home/me/secret")
    of_here.config = of_here.config.changed(
        **{
            "suggester.llm.gguf": mine,
            "suggester.llm.answers": mine,
            "suggester.llm.cache": str(mine),
            "reward.preference.recordings": mine,
            "run.out": mine,
        }
    )
    summary = run / "summary.json"
    kept = summary.read_text()
    described = "open-form goals from m at gpu.corp:8000, replayed from /home/me/answers.sqlite"
    summary.write_text(json.dumps(json.loads(kept) | {"suggester": described}))
    try:
        folder.write(of_here, tmp_path / "agent")
    finally:
        summary.write_text(kept)
    assert "open-form goals from a language model" in (tmp_path / "agent" / "README.md").read_text().replace(
        "\\", ""
    )
    for path in (tmp_path / "agent").iterdir():
        assert b"/home/me" not in path.read_bytes(), path.name
        assert b"gpu.corp" not in path.read_bytes(), path.name


def test_the_name_of_recorded_answers_that_a_world_brings_is_shared(run, tmp_path):
    """They come with the package; without the name, the agent would be trained again with others."""
    of_here = Run.open(run)
    of_here.config = of_here.config.changed(
        **{"suggester.kind": "open", "suggester.llm.kind": "recorded", "suggester.llm.answers": "claude-open"}
    )
    folder.write(of_here, tmp_path / "agent")
    assert folder.read(tmp_path / "agent").config.suggester.llm.answers == Path("claude-open")
    of_here.config = of_here.config.changed(**{"suggester.llm.answers": "mine"})
    folder.write(of_here, tmp_path / "other")
    assert folder.read(tmp_path / "other").config.suggester.llm.answers is None


def test_an_agent_that_needs_a_file_of_the_machine_is_not_shared(run, tmp_path):
    of_here, table = Run.open(run), tmp_path / "votes.npy"
    table.touch()
    of_here.config = of_here.config.model_copy(
        update={"env": of_here.config.env.model_copy(update={"own": {"placements": str(table)}})}
    )
    with pytest.raises(UserError, match=r"was played with --placements .*votes.npy: agents that need files"):
        folder.write(of_here, tmp_path / "agent")
    assert not (tmp_path / "agent").exists()


def test_a_shared_agent_follows_goals(shared, tmp_path):
    out = tmp_path / "following.json"
    done = script(
        "evaluate.py", shared, "--goals", "chop tree", "--episodes", "1", "--within", "20", "--out", out
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())["goals"] == ["chop tree"]


def test_vectors_that_are_computed_again_are_not_in_the_folder(shared, tmp_path, capsys):
    data = json.loads((shared / "agent.json").read_text())
    stored = load_file(shared / "agent.safetensors")["phrases"]
    assert data["known"]["phrases"] > 1_000
    assert len(stored) == len(data["phrases"]) - data["known"]["phrases"]
    vectors = folder.read(shared).agent.state["phrases"]["vectors"]
    assert vectors.shape == (len(data["phrases"]), 384)
    assert capsys.readouterr().err == ""
    # On a machine whose arithmetic differs in the last bits, it says so.
    away = tmp_path / "away"
    shutil.copytree(shared, away)
    data["known"]["sha256"] = "0" * 64
    (away / "agent.json").write_text(json.dumps(data))
    assert folder.read(away).agent.state["phrases"]["vectors"].equal(vectors)
    assert "vectors differ here in their last bits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("agent.safetensors", lambda b: b[:-1] + b"x", "agent.safetensors is damaged: its checksum is wrong"),
        ("agent.safetensors", None, "holds no shared agent, or a damaged one"),
        ("agent.json", lambda b: b[:-9], "holds no shared agent, or a damaged one"),
        ("agent.json", lambda b: b.replace(b'"format": 2', b'"format": 9'), "has format 9, of version"),
        (
            "agent.json",
            lambda b: b.replace(b'"known": {"phrases": 1', b'"known": {"phrases": 2'),
            "agent.json does not fit",
        ),
        (
            "agent.json",
            lambda b: b.replace(b'"known": {', b'"known": {}, "unknown": {'),
            "holds no shared agent, or a damaged",
        ),
        (
            "agent.json",
            lambda b: b.replace(
                b'"policy.features_extractor.offsets": ', b'"policy.features_extractor.offsets": -'
            ),
            "damaged",
        ),
        ("config.yaml", lambda b: b + b"x: 1\n", "config.yaml is damaged"),
    ],
)
def test_a_damaged_folder_is_refused(shared, tmp_path, name, spoil, message):
    away = tmp_path / "away"
    shutil.copytree(shared, away)
    if spoil:
        (away / name).write_bytes(spoil((away / name).read_bytes()))
    else:
        (away / name).unlink()
    with pytest.raises(UserError, match=message):
        folder.read(away)


def test_shipped_agents_are_whole_and_small():
    agents = sorted((ROOT / "results" / "agents").iterdir())
    assert {"crafter", "housekeep"} <= {agent.name for agent in agents}
    for agent in agents:
        assert folder.read(agent).episodes
        assert sum(path.stat().st_size for path in agent.iterdir()) <= 5_000_000


def test_a_folder_that_exists_is_not_overwritten(shared, run):
    with pytest.raises(UserError, match="exists; choose another --out"):
        folder.write(Run.open(run), shared)


def test_hostile_text_stays_text():
    assert card.escape("a\n# b <script> [x](y) | z\x1b[1m") == r"a \# b \<script\> \[x\]\(y\) \| z\\x1b\[1m"


class FakeHub:
    """The part of ``HfApi`` that is used."""

    def __init__(self):
        self.made, self.uploaded = [], {}

    def create_repo(self, name, exist_ok):
        self.made.append(name)
        return f"https://hub.invalid/{name}"

    def upload_folder(self, repo_id, folder_path, allow_patterns, commit_message):
        self.uploaded[repo_id] = {
            p.name: p.read_bytes() for p in folder_path.iterdir() if p.name in allow_patterns
        }


def test_pushed_and_pulled_it_is_the_same(shared, tmp_path, monkeypatch):
    fake = FakeHub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: fake)
    (shared / "secret.txt").write_text("not to be uploaded")
    assert hub.push(shared, "me/agent") == "https://hub.invalid/me/agent"
    (shared / "secret.txt").unlink()
    assert fake.uploaded["me/agent"] == {path.name: path.read_bytes() for path in shared.iterdir()}

    def download(repository, allow_patterns):
        (tmp_path / "cached").mkdir()
        for name, content in fake.uploaded[repository].items():
            (tmp_path / "cached" / name).write_bytes(content)
        return str(tmp_path / "cached")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert folder.read(hub.pull("me/agent")).episodes == folder.read(shared).episodes


def test_a_hub_that_refuses_is_one_line(shared, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: (_ for _ in ()).throw(OSError("401: no\ntoken")))
    with pytest.raises(
        UserError, match=r"cannot push to me/agent: 401: no token; .* is complete, push it again"
    ):
        hub.push(shared, "me/agent")


def test_rows_of_zeros_are_left_out_by_hand():
    sparse = torch.tensor([[0.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    tensors = {"a": sparse, "b": torch.ones(3, 2), "c": torch.zeros(3)}
    found, lengths = folder._without_zeros(tensors)
    assert lengths == {"a": 3}
    assert (found["a"].tolist(), found["a.rows"].tolist()) == ([[0.0, 2.0]], [1])
    assert (found["b"] is tensors["b"], found["c"] is tensors["c"]) == (True, True)
    assert folder._with_zeros(found["a"], found["a.rows"], 3).equal(sparse)


def test_an_agent_of_the_folder_has_the_parameters_of_its_run(shared, run):
    stored = load_file(shared / "agent.safetensors")
    assert any(name.endswith(".rows") for name in stored)
    trained, again = trained_agent(Run.open(run)).state["policy"], folder.read(shared).agent.state["policy"]
    assert trained.keys() == again.keys()
    assert all(tensor.equal(again[name]) for name, tensor in trained.items())


def test_captions_that_recorded_answers_leave_out_borrow_also_in_a_shared_agent(tmp_path):
    language = registry.get("crafter").language()
    seen = [f"You see tree, {thing}." for thing in ("cow", "water", "sand", "grass")]
    head = {"description": "somebody", "version": open_ended.VERSION}
    rows = [{"user": open_ended.prompt(caption, language).user, "text": "- chop tree"} for caption in seen]
    file = tmp_path / "answers.jsonl"
    file.write_text("\n".join(map(json.dumps, [head, *rows])))
    config = PRESETS["debug"].changed(
        **{"suggester": {"kind": "open", "llm": {"kind": "recorded", "answers": file}}}
    )
    playing = make_suggester(config, language)
    met = [Situation(caption) for caption in (*seen, "You see tree, stone.")]
    playing.suggest(met)  # which learns what is left out, too
    again = vectors.remembering_suggester(config, (), playing.state_dict())
    assert again.recall(met) == playing.suggest(met) == [("chop tree",)] * 5
