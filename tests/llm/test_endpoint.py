"""The endpoint of a language model, and which model a run asks."""

import shutil
from pathlib import Path

import pytest

from ellm_agent.config.suggester import LLMConfig, SuggesterConfig
from ellm_agent.errors import UserError
from ellm_agent.llm.bundled import FOLDER
from ellm_agent.llm.endpoint import check_endpoint, endpoint, model_at
from ellm_agent.llm.factory import make_model, resolve
from envs import registry
from envs.interface import World

CRAFTER = registry.get("crafter")


def resolved(**options):
    """The resolved options of a language model."""
    return resolve(SuggesterConfig(llm=LLMConfig(**options)), CRAFTER).llm


def test_endpoint_is_found_in_order(monkeypatch):
    assert endpoint(None) is None
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert endpoint(None) == "https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1")
    assert endpoint(None) == "http://elsewhere/v1"
    assert endpoint("http://here/v1") == "http://here/v1"


@pytest.mark.parametrize(
    "url", ["http://localhost:1/v1", "http://127.0.0.1/v1", "http://[::1]:80/v1", "http://10.0.0.3/v1"]
)
def test_local_servers_need_no_key(url):
    assert check_endpoint(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://api.openai.com/v1", "OPENAI_API_KEY is not set"),
        ("ftp://localhost", "not a URL"),
        ("localhost:8000", "not a URL"),
        ("http://[bad", "not a URL"),
        ("http://localhost:notaport/v1", "not a URL"),
        ("http://user:secret@localhost/v1", "holds a password"),
        ("http://localhost/v1?api_key=secret", "has a query"),
    ],
)
def test_bad_endpoints_are_named(url, message):
    with pytest.raises(UserError, match=message) as caught:
        check_endpoint(url)
    assert "secret" not in str(caught.value)


def test_the_resolved_options_name_what_answers(monkeypatch):
    assert resolved().kind == "bundled"
    assert resolved(kind="script").kind == "script"
    oracle = SuggesterConfig(kind="oracle")
    assert resolve(oracle, CRAFTER) == oracle
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    at_openai = resolved()
    assert (at_openai.kind, at_openai.base_url) == ("endpoint", "https://api.openai.com/v1")
    assert at_openai.model == "gpt-4o-mini"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    found = resolved(model="m")
    assert (found.kind, found.base_url, found.model) == ("endpoint", "http://localhost:1/v1", "m")
    assert resolved(kind="bundled").base_url is None
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.delenv("OPENAI_API_KEY")
    for llm in (found, at_openai):
        assert resolve(SuggesterConfig(llm=llm), CRAFTER).llm == llm  # in another shell, too


def test_a_folder_selects_the_bundled_model(monkeypatch):
    folder = Path("somewhere")
    assert resolved(folder=folder).kind == "bundled"
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert resolved(folder=folder).kind == "bundled"  # an option wins over the environment
    for options in ({"kind": "script"}, {"kind": "endpoint"}, {"base_url": LOCAL, "model": "m"}):
        with pytest.raises(UserError, match="llm-folder is somewhere, but llm is"):
            resolved(folder=folder, **options)


LOCAL = "http://localhost:1/v1"


@pytest.mark.parametrize("how", ["option", "environment"])
def test_only_openai_has_a_default_model(monkeypatch, how):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    if how == "environment":
        monkeypatch.setenv("OPENAI_BASE_URL", LOCAL)
    with pytest.raises(UserError, match=f"llm-model is not given: say with --llm-model .* at {LOCAL}"):
        resolved(base_url=None if how == "environment" else LOCAL)


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1/", True),
        ("https://notapi.openai.com/v1", False),
        ("https://api.openai.com.example.org/v1", False),
    ],
)
def test_what_is_openai(url, known):
    assert model_at(url, "m") == "m"
    if known:
        assert model_at(url, None) == "gpt-4o-mini"
    else:
        with pytest.raises(UserError, match="--llm-model"):
            model_at(url, None)


def test_a_password_in_the_environments_url_is_not_repeated(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:secret@localhost:1/v1")
    with pytest.raises(UserError, match="holds a password") as caught:
        resolved()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "endpoint"}, "none is configured"),
        (
            {"model": "gpt-4o"},
            "llm-model is for endpoints, but what answers is bundled: set OPENAI_API_KEY",
        ),
        ({"budget_usd": 1.0}, "llm-budget-usd is for endpoints"),
        ({"kind": "bundled", "base_url": "http://localhost:1/v1"}, "llm is bundled"),
        ({"kind": "script", "structured": True}, "llm is script"),
    ],
)
def test_options_without_effect_are_named(options, message):
    with pytest.raises(UserError, match=message):
        resolved(**options)


def test_models_are_made_from_options(tmp_path):
    crafter, plain = registry.get("crafter"), World()
    plain.name = "plain"

    def made(world=crafter, **options):
        return make_model(SuggesterConfig(llm=LLMConfig(**options)), world)

    assert made(kind="script").name == "script"
    assert not made(kind="script").can_be_asked_ahead
    with pytest.raises(UserError, match="world plain has no advice"):
        made(plain, kind="script")
    with pytest.raises(UserError, match="no model is bundled for the world plain; give --llm-base-url"):
        made(plain)
    bundled = made()
    assert bundled.name.startswith("bundled-")
    assert (bundled.default_temperature, bundled.can_be_asked_ahead, bundled.in_process) == (1.0, True, True)
    remote = made(base_url=LOCAL, model="m", cache=str(tmp_path / "a.sqlite"))
    assert (remote.name, remote.source, remote.in_process) == ("m", LOCAL, False)
    assert remote.default_temperature is None
    with pytest.raises(UserError, match="needs a cache"):
        made(kind="replay", cache="off")


def test_a_folder_without_a_sound_model_is_named_at_once(tmp_path):
    def made():
        llm = LLMConfig(kind="bundled", folder=tmp_path)
        return make_model(SuggesterConfig(llm=llm), registry.get("crafter"))

    with pytest.raises(UserError, match=f"^{tmp_path} holds no model; train one with"):
        made()
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    assert str(tmp_path) in made().description
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=f"^{tmp_path} holds no model that can be read"):
        made()
