"""The pages in Chromium, by keyboard, while training goes on; and who is refused."""

import gc
import json
import os
import signal
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest

from ellm_agent.config.env import EnvConfig
from ellm_agent.errors import UserError
from ellm_agent.preferences import command, page
from ellm_agent.preferences.labels import LABELS, JsonLines, LabelFile
from ellm_agent.preferences.person import PersonJudge
from ellm_agent.preferences.suggestions import Scene, SuggestionChooser, choose_suggestions
from ellm_agent.runs.folder import Run
from tests.helpers.processes import wait_for
from tests.preferences.tiny import configure, play

pytestmark = [
    pytest.mark.usefixtures("tiny_world"),
    pytest.mark.filterwarnings("ignore:You have specified a mini-batch size"),
]
HOSTILE = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
CHOICES = 30


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_world):
    """A run of a random agent, with recordings."""
    config = configure(
        tmp_path_factory.mktemp("finished") / "run",
        agent__algo="random",
        run__frames=50,
        run__eval_episodes=4,
        reward__preference__labels=0,
    )
    run = Run.create(config)
    for number, recording in enumerate(play(run).recordings):
        recording.save(run.replays / f"{number}.json")
    folder = run.folder
    del run, recording
    gc.collect()  # a run is claimed for as long as it lives
    return folder


def fetch(address, body=None, host=None, kind="application/json"):
    """The status of a request."""
    headers = {"Content-Type": kind} | ({"Host": host} if host else {})
    try:
        return urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


def choose_by_key(tab, likes):
    """What somebody does who likes that event: looks at both clips, and presses a key. The number of choices then."""
    left, right = (
        tab.value(f"document.getElementById('{side}-events').textContent") for side in ("left", "right")
    )
    before, key = tab.value("shown"), "ArrowDown"
    if (likes in left) != (likes in right):
        key = "ArrowLeft" if likes in left else "ArrowRight"
    tab.press(key)
    return tab.wait(f"(shown !== {json.dumps(before)} || document.getElementById('message').textContent) && !busy && "
                    "document.getElementById('labels').textContent")  # fmt: skip


def test_thirty_choices_by_keyboard_teach_the_reward(chromium, finished, tmp_path, capsys):
    """Training goes on in the background; in the end, drinking water is worth most."""
    arguments = [
        str(finished), "--judge", "person", "--labels", str(CHOICES), "--out", str(tmp_path / "run"), "--algo", "ppo",
        "--clip-frames", "2", "--frames", "1500", "--judge-pace", "3", "--preference-steps", "60", "--queries", "random",
        "--preference-event-bonus", "0",
    ]  # fmt: skip
    config = command.parse([*arguments, "--judge-words", "<b>water</b>"], "").config
    assert config.reward.preference.recordings == finished
    run, ended = Run.create(config), []
    training = threading.Thread(target=lambda: ended.append(play(run)), daemon=True)
    training.start()
    try:
        said = []
        wait_for(lambda: said.append(capsys.readouterr().out) or "http" in "".join(said))
        address = "".join(said).split()[-1]
        chromium.open(address)
        chromium.wait("typeof shown !== 'undefined' && shown")
        chromium.wait("[...document.images].every(image => image.complete && image.naturalWidth === 300)")
        chromium.press(" ")  # cannot say
        chromium.wait("document.getElementById('labels').textContent === '1' && !busy")
        chromium.press("u")
        chromium.wait("document.getElementById('labels').textContent === '0' && !busy")
        for _ in range(CHOICES):
            chromium.wait("shown && !busy")
            choose_by_key(chromium, "drink water")
        chromium.wait("document.getElementById('message').textContent.includes('That is all')")
        assert (
            chromium.value("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        )
        assert chromium.messages == []
        assert chromium.value("document.getElementById('question').textContent") == "Better: <b>water</b>"
        # Nobody answers any more: the page says so, and offers nothing.
        chromium.value("window.fetch = () => Promise.reject(new TypeError('gone')); over = false; look()")
        chromium.wait("document.getElementById('message').textContent.includes('The program has ended')")
        assert chromium.value(
            "[...document.querySelectorAll('[data-choice]')].every(button => button.disabled)"
        )
    finally:
        training.join(timeout=600)  # it shares random numbers with whatever comes after
    parts = ended[0].parts

    rows = [json.loads(line) for line in (run.folder / LABELS).read_text().splitlines()]
    assert len(rows) == CHOICES
    assert {"left", "right", "tie"} == {row["choice"] for row in rows}
    pairs = {frozenset((row[s]["world_seed"], *row[s]["actions"]) for s in ("left", "right")) for row in rows}
    assert len(pairs) == CHOICES  # none was shown twice
    drinks, other = (events(parts.worlds, event) for event in ("drink water", "chop tree"))
    taught = parts.bonus.reward
    assert taught.score(*drinks).item() > 1
    assert taught.score(*drinks).item() > 1.5 * taught.score(*other).item()
    assert run.read("metrics")[-1]["preference/labels"] == CHOICES


def events(worlds, event):
    """A transition in which it is achieved."""
    before = np.zeros((1, worlds.observation_space.shape[0]), np.int32)
    before[0, 0] = worlds.phrases.id("count 4")
    after = before.copy()
    after[0, 0] = worlds.phrases.id("count 5")
    after[0, worlds.fields["achieved"].start] = worlds.phrases.id(f"achieved: {event}")
    return before, after


def test_a_kill_loses_no_label_that_was_acknowledged(tmp_path):
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:  # writes as fast as it can, and says so after each
        try:
            file = JsonLines(tmp_path / "labels.jsonl")
            while True:
                file.append({"n": len(file.rows)})
                os.write(writes, b".")
        finally:
            os._exit(1)
    os.close(writes)
    acknowledged = 0
    while acknowledged < 50:
        acknowledged += len(os.read(reads, 1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(reads, 2**16):
        acknowledged += len(more)
    os.close(reads)
    assert [row["n"] for row in JsonLines(tmp_path / "labels.jsonl").rows][:acknowledged] == list(
        range(acknowledged)
    )


def test_four_suggestions_for_a_scene(chromium, tmp_path):
    """Hostile answers are shown as text; a number chooses, space passes over, u takes back."""
    chooser = SuggestionChooser(JsonLines(tmp_path / "choices.jsonl"), 2)
    answers = (HOSTILE, "- chop tree\n- eat cow", "- sleep", "- drink water")
    for key in range(3):
        chooser.offer(Scene(key, f"You see tree. {HOSTILE}", answers))
    address = page.serve(
        lambda token: page.application("suggestions.html", token, chooser.state, chooser.posts()), 0, "test"
    )
    chromium.open(address)
    chromium.wait("document.querySelectorAll('#answers button').length === 4")
    assert chromium.value("document.title") == "Which suggestion is best?"
    assert HOSTILE in chromium.value("document.querySelector('#answers button').textContent")
    for key, labels in (("2", 1), ("u", 0), (" ", 0), ("4", 1), ("1", 2)):
        chromium.press(key)
        wait_for(lambda labels=labels: chooser.labels == labels)
        chromium.wait("!busy")
    chromium.wait("document.getElementById('message').textContent.includes('That is all')")
    assert chromium.messages == []
    rows = JsonLines(tmp_path / "choices.jsonl").rows
    assert [row["choice"] for row in rows] == [3, 0]
    assert rows[0]["answers"] == list(answers)
    assert rows[0]["prompt"].endswith("What should the player do?")
    assert fetch(address + "choice", b'{"key": 2, "choice": 9}') == 400
    assert fetch(address + "undo", b"{}", kind="text/plain") == 415  # another site could send this
    assert chooser.labels == 2


@pytest.fixture
def clips_page(worlds, reader, query, tmp_path):
    """The page of two clips with one query: its judge, its routes, and its address."""
    pytest.importorskip("uvicorn")
    labels = LabelFile(tmp_path / "labels.jsonl", (3, worlds.observation_space.shape[0]), worlds.phrases)
    judge, made = PersonJudge(labels, reader, EnvConfig(name="tiny"), 5), []
    judge.offer([query(1, 0)])

    def make(token):
        made.append(page.clips_app(judge, token))
        return made[0]

    address = page.serve(make, 0, "test")
    return judge, made[0].routes, address


def test_every_path_is_refused_without_the_token(clips_page, query):
    """Pages, styles, scripts, states, pictures, and all that changes something; and other names of this machine."""
    judge, routes, address = clips_page
    key = query(1, 0).key
    base, token = address.rsplit("/", 2)[:2]
    body = json.dumps({"key": key, "choice": "left"}).encode()
    for route in routes:
        path = route.path.replace("{key}", key).replace("{side:str}", "left")
        posted = body if "POST" in route.methods else None
        for wrong in ("x", token[:-1], token + "x", token.swapcase()):
            assert fetch(base + path.replace("{token}", wrong), posted) == 403, path
        assert fetch(base + path.replace("{token}", token), posted, host="evil.example") == 400, path
        if not posted:
            assert fetch(base + path.replace("{token}", token)) == 200, path
    assert len(routes) == 9
    assert judge.state()["labels"] == 0
    for path in ("/", "/state", "//state"):
        assert fetch(base + path) in (403, 404), path
    assert fetch(address + "choice", body) == 200
    assert judge.state()["labels"] == 1


@pytest.mark.parametrize("content", ["[]", '"x"', "{", '{"choice": []}', '{"key": "x", "choice": []}',
                                     '{"key": [], "choice": "left"}', '{"key": "x", "choice": "up"}'])  # fmt: skip
def test_what_is_no_choice_is_refused(clips_page, content):
    judge, _, address = clips_page
    assert fetch(address + "choice", content.encode()) == 400
    assert judge.state()["labels"] == 0


def test_a_port_that_is_taken(tmp_path):
    chooser = SuggestionChooser(JsonLines(tmp_path / "choices.jsonl"), 1)

    def make(token):
        return page.application("suggestions.html", token, chooser.state, chooser.posts())

    taken = int(page.serve(make, 0, "test").split(":")[2].split("/")[0])
    with pytest.raises(UserError, match=rf"port {taken} cannot be had: Address already in use"):
        page.serve(make, taken, "test")


def test_suggestions_are_not_chosen_for_a_run_that_is_written(finished, monkeypatch):
    run = Run.open(finished)
    run.claim()
    monkeypatch.setattr("ellm_agent.runs.folder.PATIENCE", 0)
    with pytest.raises(UserError, match="another process is writing the run"):
        choose_suggestions(finished, run.config)


def test_bad_input_ends_in_one_line(refused, finished, tmp_path):
    def call(*arguments):
        return refused("preferences", arguments, run_command)

    def run_command():
        from ellm_agent import cli

        with cli.one_line_errors():
            command.main("")

    assert "comes first" in call()
    assert "is not a folder" in call(tmp_path / "nothing")
    empty = Run.create(configure(tmp_path / "empty", reward__preference__labels=0)).folder
    assert "holds no recorded episodes yet" in call(empty)
    assert "labels is 0" in call(finished, "--labels", 0)
    assert "did you mean --labels?" in call(finished, "--label", 3)
