"""Pages and figures: escaped, readable on narrow screens, the same figure for a page and a file."""

import html
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ellm_agent.analysis import comparison_report, figures, page, run_report
from ellm_agent.analysis.results import NOTHING, Cell, read_all, read_tasks
from ellm_agent.analysis.tables import Table
from ellm_agent.config.methods import METHODS
from ellm_agent.config.presets import PRESETS
from ellm_agent.runs.folder import Run
from tests.analysis.cells import NAMES, write_cell

HOSTILE = "<script>document.title = 'taken'</script>"
WIDTHS = (400, 800, 1300)  # CSS pixels


@pytest.fixture
def make_run(tmp_path):
    """Writes the logs of a run; gives it and what else its summary needs."""

    def make(suggestion="chop tree", **options):
        changes = {name.replace("__", "."): value for name, value in options.items()}
        run = Run.create(PRESETS["debug"].changed(**{"run.out": tmp_path / "run", **changes}))
        quality = {"good": 0.5, "poorly_timed": 0.25, "bad": 0.25, "nonsensical": 0.0}
        for i in range(1, 5):
            solved = {"success": i > 2} if "env__task" in options else {}
            run.append("episodes", {"frames": 100 * i, "length": 50, "unlocked": NAMES[:i], **solved})
            row = {"frames": 100 * i, "episodes": i, "unlocks_per_episode": i, "crafter_score": i / 2}
            row |= {"success_rate": 0.5} if solved else {}
            row |= {f"goals/suggested_{kind}": share for kind, share in quality.items()}
            run.append("metrics", row)
        run.append("evaluations", {"frames": 400, "episodes": 2, "unlocks_per_episode": 3.5})
        extra = {
            "suggester": suggestion,
            "seconds": 1.0,
            "suggestions": [[suggestion, 2]],
            "quality": {"suggested": quality, "rewarded": {}},
        }
        return run, extra

    return make


def write_page(body, **values):
    """A page with that content, in the language of templates."""
    source = (
        """{% extends "base.html.j2" %}
        {% from "macros.html.j2" import table, drawing, gif %}
        {% block content %}"""
        + body
        + "{% endblock %}"
    )
    with figures.style():
        return page.TEMPLATES.from_string(source).render(title=HOSTILE, text=HOSTILE, **values)


def test_texts_on_a_page_are_escaped():
    text = write_page(
        "<p>{{ text }}</p> {{ table(rows) }} {{ gif(content, attribute) }}",
        rows=Table([[HOSTILE, "1"]], [HOSTILE, "n"], [1]),
        content=b"GIF89a",
        attribute=f'" onerror="{HOSTILE}',
    )
    assert "<script>" not in text
    assert text.count("&lt;script&gt;") == 2 + 1 + 2 + 2
    assert 'onerror="<' not in text


def test_texts_in_a_figure_are_escaped():
    with figures.style():
        figure = figures.run_achievements({HOSTILE: 0.5})
    text = write_page('{{ drawing(figure, "c") }}', figure=figure)
    assert "<script>" not in text
    assert text.count("&lt;script&gt;") == 2 + 1


def test_a_summary_by_hand(make_run):
    run, extra = make_run()
    summary = run_report.write_summary(run, extra)
    assert json.loads((run.folder / "summary.json").read_text()) == json.loads(json.dumps(summary))
    assert (summary["frames"], summary["episodes"], summary["unlocks_per_episode"]) == (400, 4, 2.5)
    assert list(summary["success_rates"].values())[:5] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert summary["crafter_score"] == pytest.approx((101 * 76 * 51 * 26) ** (1 / 22) - 1)
    text = " ".join(run_report.write_page(run, summary).read_text().split())
    sentence = (
        "After 400 frames without environment reward, the agent unlocks 2.50 of 22 achievements in an episode"
    )
    assert sentence in text


def test_the_page_of_a_run(make_run):
    """The result in one sentence stands first, then the episodes; all within one file."""
    run, extra = make_run(HOSTILE)
    for name in ("01-best", "02-median"):
        Image.new("P", (8, 4)).save(run.replays / f"{name}.gif")
    summary = run_report.write_summary(run, extra)
    with Image.open(run_report.draw_curves(run, summary)) as curves:
        assert curves.width > 3 * curves.height
    text = run_report.write_page(run, summary).read_text()
    places = [
        text.index(part)
        for part in ("After 400 frames", "data:image/gif", "<h2>Learning", "<h2>Achievements")
    ]
    assert places == sorted(places)
    assert "<script>" not in text
    assert text.count("data:image/gif;base64,") == 2
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?!data:|#)[^"'\s>]+""", text)  # needs no network
    assert "sampled" not in text


def test_the_page_says_that_goals_are_sampled(make_run):
    run, extra = make_run(suggester__max_active_goals=1)
    text = run_report.write_page(run, run_report.write_summary(run, extra)).read_text()
    assert "at most 1 of the suggested goals was active at a time, sampled" in text
    assert "all goals that the suggester named, sampled or not" in " ".join(text.split())
    assert "goals suggested most often" in text


def test_the_page_of_a_task(make_run):
    run, extra = make_run(env__task="mine stone")
    summary = run_report.write_summary(run, extra)
    assert summary["success_rate"] == 0.5
    text = run_report.write_page(run, summary).read_text()
    assert "It solves the task 'mine stone' in 50.0% of the last 100 episodes." in text


def test_a_run_without_episodes_has_a_page(make_run, tmp_path):
    run, extra = Run.create(PRESETS["debug"].changed(**{"run.out": tmp_path / "empty"})), make_run()[1]
    summary = run_report.write_summary(run, extra)
    run_report.draw_curves(run, summary)
    assert "0.00 of 22" in run_report.write_page(run, summary).read_text()


@pytest.fixture(scope="module")
def comparison_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    for method in ("oracle", "rnd"):
        write_cell(folder, Cell("crafter", "ppo", method, 0), 3)
    for method in ("oracle", NOTHING):
        write_cell(folder, Cell("crafter", "ppo", method, 0, "survival"), 3, env__task="survival")
    return comparison_report.build(read_all(folder), "known", read_tasks(folder))


def test_the_page_of_a_comparison(comparison_page):
    assert comparison_page.count("<svg") == 3 + 1
    assert "Share of episodes in which the task is solved" in comparison_page
    assert "tasks are achievements here, which is unusual" in comparison_page  # the performance profile
    assert "DreamerV3" in comparison_page  # published, by the world
    assert "made from the simulator&#39;s state" in comparison_page


def show(chromium, folder, document):
    """Opens a document in Chromium."""
    path = folder / "page.html"
    path.write_text(document)
    chromium.open(path.as_uri())


def test_the_page_of_a_run_in_a_browser(chromium, make_run, tmp_path):
    """A suggestion that contains a script is shown as text, and the browser complains of nothing."""
    run, extra = make_run(HOSTILE)
    show(chromium, tmp_path, run_report.write_page(run, run_report.write_summary(run, extra)).read_text())
    assert chromium.value("document.documentElement.textContent").count("<script>document.title") == 2
    assert chromium.value("document.title") != "taken"
    assert chromium.messages == []


def test_no_page_scrolls_sideways(chromium, make_run, comparison_page, tmp_path):
    run, extra = make_run()
    pages = (run_report.write_page(run, run_report.write_summary(run, extra)).read_text(), comparison_page)
    frames = "".join(
        f'<iframe style="width: {width}px" srcdoc="{html.escape(text)}"></iframe>'
        for text in pages
        for width in WIDTHS
    )
    show(chromium, tmp_path, f"<!doctype html><body>{frames}")
    scrolls = """[...document.querySelectorAll("iframe")].map(frame => frame.contentDocument.documentElement)
        .map(root => root.scrollWidth - root.clientWidth)"""
    assert chromium.value(scrolls) == [0] * len(pages) * len(WIDTHS)


def test_methods_can_be_told_apart():
    names = [*METHODS, "none", "oracle-double", "oracle-raw", "mine", "yours", "mine-too"]
    styles = figures.line_styles(names)
    assert set(styles) == set(names)
    assert len(set(styles.values())) == len(names)
    assert styles["open"].colour == styles["open-script"].colour
    assert styles["open"] == figures.line_styles(["open"])["open"]
    known = ("open", "closed", "oracle", "rnd", "apt", "icm", "noveld")
    assert len({styles[name].colour for name in known}) == 7
    assert len(figures.line_styles(map(str, range(40)))) == 40


def test_all_lines_can_be_drawn():
    """Many variants of one method: some lines are patterns of dots and gaps."""
    styles = figures.line_styles([f"open-{n}" for n in range(12)])
    assert any(isinstance(style.line, tuple) for style in styles.values())
    runs = {name: np.ones((2, 3)) * n for n, name in enumerate(styles)}
    axes = Figure().subplots()
    figures._bands(axes, np.arange(3), SimpleNamespace(methods=runs, values=lambda _: runs), lambda run: run)
    assert len(axes.lines) == 12
