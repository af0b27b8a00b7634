"""The pages in Chromium, by keyboard, while training goes on; and who is refused."""

import gc
import io
import json
import os
import signal
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from ellm_agent.config.env import EnvConfig
from ellm_agent.errors import UserError
from ellm_agent.preferences import command, page
from ellm_agent.preferences.labels import LABELS, JsonLines, LabelFile
from ellm_agent.preferences.person import EMPTY, PersonJudge, draw
from ellm_agent.preferences.queries import Query
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


def offered(tab):
    """Choices that can be made: those of the visible buttons that are enabled."""
    return tab.value("[...document.querySelectorAll('[data-choice]')].filter(button => button.offsetParent && "
                     "!button.disabled).map(button => button.dataset.choice)")  # fmt: skip


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
        chromium.wait("[...document.images].every(image => image.complete && image.naturalWidth === 450)")
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
        # Nobody answers any more: the page offers nothing.
        chromium.value("window.fetch = () => Promise.reject(new TypeError('gone')); look()")
        chromium.wait("gone")
        assert offered(chromium) == []
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
    assert taught.judge.finished
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
        lambda token: page.application("suggestions.html", token, chooser.state, chooser.posts()), 0
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

    address = page.serve(make, 0)
    return judge, made[0].routes, address


def picture_of(tab, side):
    """The address of the picture that is shown on one side; None while it is loaded."""
    return tab.value(f"document.querySelector('#{side} img')?.getAttribute('src')")


def test_nothing_is_chosen_before_both_pictures_are_shown(chromium, clips_page, clip, query):
    """Each pair's right picture comes late. Until then there are no captions, the buttons are disabled, and no key counts."""
    judge, _, address = clips_page
    second = Query(clip([0, 1, 2], ["chop tree", "eat cow"], world_seed=8), clip([3, 4, 5], world_seed=8))
    queries, drawn = [query(1, 0), second], judge.picture
    come = {one.key: threading.Event() for one in queries}

    def late(key, side):
        if side == "right":
            come[key].wait(60)
        return drawn(key, side)

    answered, choose = threading.Event(), judge.choose
    judge.picture, judge.choose = late, lambda *choice: answered.wait(60) and choose(*choice)
    judge.offer([second])
    chromium.open(address)
    for made, one in enumerate(queries):
        chromium.wait(f"wanted === '{one.key}' && !busy")
        undo = ["undo"] if made else []
        for key in ("ArrowLeft", "ArrowRight", "ArrowDown", " "):
            chromium.press(key)
        assert offered(chromium) == undo
        assert chromium.value("SIDES.map(side => at(side).textContent)") == ["loading…", "loading…"]
        assert chromium.value("SIDES.map(side => at(`${side}-events`).textContent)") == ["", ""]
        assert judge.state()["labels"] == made
        come[one.key].set()
        chromium.wait("shown")
        for side in ("left", "right"):
            assert picture_of(chromium, side) == f"{one.key}/{side}"
            assert chromium.value(f"document.querySelector('#{side} img').naturalWidth") == 450
        assert offered(chromium) == ["left", "right", "tie", "unsure", *undo]
        left = "for the first time: chop tree, eat cow" if one is second else "nothing for the first time"
        assert chromium.value("at('left-events').textContent") == left
        assert chromium.value("at('right-events').textContent") == "nothing for the first time"
        chromium.press("ArrowRight")
        chromium.press("ArrowRight")  # too early for the next pair
        # Until the next pair appears, the one that was chosen from stays, with a mark on the choice.
        assert chromium.value("document.querySelector('.chosen').dataset.choice") == "right"
        assert picture_of(chromium, "left") == f"{one.key}/left"
        answered.set()
        chromium.wait(f"at('labels').textContent === '{made + 1}'")
        answered.clear()
        chromium.wait("!busy")
        assert chromium.value("document.querySelector('.chosen')") is None
    assert judge.state()["labels"] == 2
    assert chromium.messages == []


def test_pictures_that_do_not_load_are_asked_for_again(chromium, clips_page, query):
    judge, _, address = clips_page
    drawn, judge.picture = judge.picture, lambda key, side: None
    chromium.open(address)
    chromium.wait("at('message').textContent.includes('Trying again')")
    assert offered(chromium) == []
    judge.picture = drawn
    chromium.wait("shown")
    assert chromium.value("at('message').textContent") == ""


def test_the_page_says_how_it_ended(chromium, clips_page):
    """With fewer choices than asked for: the agent has played all its frames; or nobody knows why."""
    judge, _, address = clips_page
    judge.progress = {"frames": 1199, "total": 3000}
    chromium.open(address)
    chromium.wait("shown")
    assert "0 of 5 choices made. Meanwhile the agent practises: 39 % of its time is over" in chromium.text()
    chromium.press("ArrowLeft")
    chromium.wait("at('labels').textContent === '1' && !busy")

    chromium.value("window.kept = window.fetch; window.fetch = () => Promise.reject(new TypeError('gone'))")
    chromium.value("look()")
    chromium.wait("gone")
    assert "The program has ended, or cannot be reached. 1 of 5 choices were made" in chromium.text()
    assert offered(chromium) == []
    chromium.value("window.fetch = window.kept; look()")  # such as when a forwarded port is back
    chromium.wait("!gone")
    assert offered(chromium) == ["undo"]

    judge.progress, judge.finished = {"frames": 3008, "total": 3000}, True
    chromium.value("look()")
    chromium.wait("last.finished")
    said = chromium.text()
    assert "The agent has played all its 3,000 steps. 1 of 5 choices were made; all of them are kept." in said
    assert "Which clip" not in said
    assert "Meanwhile" not in said
    assert offered(chromium) == []
    assert chromium.messages == []


def test_the_last_picture_of_an_episode_says_so(clip, tiny_world):
    """The world ends after 7 frames."""

    def last_pictures(count):
        picture = Image.open(io.BytesIO(draw(clip([count - 2, count - 1, count]), EnvConfig(name="tiny"))))
        frames = []
        for number in range(picture.n_frames):
            picture.seek(number)
            frames.append(np.asarray(picture.convert("RGB"))[4, 4])
        return [tuple(frame.tolist()) == EMPTY for frame in frames]

    assert last_pictures(6) == [False, False, False]
    assert last_pictures(7) == [False, False, True]


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

    taken = int(page.serve(make, 0).split(":")[2].split("/")[0])
    with pytest.raises(UserError, match=rf"port {taken} cannot be had: Address already in use"):
        page.serve(make, taken)


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
