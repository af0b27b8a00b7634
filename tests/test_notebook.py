"""The notebook runs from top to bottom, in a kernel of its own, and its agent learns."""

from pathlib import Path

import pytest

from tests.helpers.processes import ROOT

NOTEBOOK = Path(ROOT) / "examples" / "own_world.ipynb"


def test_the_notebook_runs_and_its_agent_learns(tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    world = next(cell.source for cell in notebook.cells if "class GardenWorld" in cell.source)
    assert sum(bool(line.strip()) for line in world.splitlines()) <= 50
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "stream" and output.name == "stdout"
    )
    shares = {
        line.split(" ")[0]: int(line.split(":")[1].split("%")[0])
        for line in printed.splitlines()
        if " 50 episodes: " in line
    }
    assert shares["last"] > shares["first"]
    assert shares["last"] >= 80
    assert any(
        "image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())
    )
