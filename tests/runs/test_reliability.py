"""What can go wrong around a run, as docs/reliability.md says it ends: signals, full and read-only disks, clocks, twins."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from ellm_agent.runs import checkpoints
from tests.experiments.test_run import rows
from tests.helpers.processes import ROOT, Script, script, wait_for
from tests.helpers.run_kills import SMALL, differences, outcome, start

RUN = ["--goal-mode", "oracle", *SMALL, "--frames", "1500", "--checkpoint-every", "400"]  # and one at the end


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run when nothing happens to it, and what it leaves."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    done = script("run_crafter.py", *RUN, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder, outcome(folder)


def running(folder, *more):
    """A long run, at work."""
    process = start(*RUN, "--frames", "1000000", "--out", folder, *more)
    wait_for(lambda: (folder / "metrics.jsonl").exists() or process.poll() is not None)
    assert process.poll() is None, process.output()[1]
    return process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_polite_signal_saves_and_leaves(tmp_path, number, status):
    process = running(tmp_path / "run")
    process.send_signal(number)
    _, output = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in output
    assert output.splitlines()[-2:] == [
        "stopping after a checkpoint; send the signal again to stop at once",
        "stopped; --resume continues from the last checkpoint",
    ]
    path, _ = checkpoints.latest(tmp_path / "run" / "checkpoints")
    saved = checkpoints.frames_of(path)
    last = max(row["frames"] for log in ("episodes", "metrics") for row in rows(tmp_path / "run", log))
    assert saved >= last  # nothing that was played is played again


def test_the_second_signal_ends_it_at_once(tmp_path):
    folder = tmp_path / "run"
    process = running(folder, "--algo", "ppo", "--ppo.rollout", "100000")  # whose rollouts do not end
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, output = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in output
    assert checkpoints.latest(folder / "checkpoints") is None
    assert rows(folder, "metrics")


def test_two_processes_cannot_write_one_run(tmp_path):
    folder = tmp_path / "run"
    process = running(folder)
    before = (folder / "config.yaml").read_text()
    for arguments in (["--resume", folder], [*RUN, "--out", folder]):
        second = script("run_crafter.py", *arguments)
        assert second.returncode == 2
        assert second.stderr == f"error: another process is writing the run in {folder}\n"
    assert process.poll() is None
    assert (folder / "config.yaml").read_text() == before
    process.kill()
    process.communicate()
    resumed = start("--resume", folder)  # a killed one lets go
    wait_for(lambda: len(rows(folder, "metrics")) > 3 or resumed.poll() is not None)
    assert resumed.poll() is None, resumed.output()[1]
    resumed.kill()
    resumed.communicate()


def in_small_disk(tmp_path, megabytes, commands):
    """Runs shell commands where ``disk`` is a small disk of their own."""
    (tmp_path / "disk").mkdir()
    mount = f"mount -t tmpfs -o size={megabytes}m tmpfs disk"
    if subprocess.run(
        ["unshare", "-r", "-m", "sh", "-c", mount], cwd=tmp_path, capture_output=True
    ).returncode:
        pytest.skip("this machine lets nobody mount a disk of their own")
    python = f"{sys.executable} {ROOT}/experiments/run_crafter.py"
    output = "\n".join(["set -e", mount, *commands]).replace("RUN", python)
    done = subprocess.run(
        ["unshare", "-r", "-m", "sh", "-c", output], cwd=tmp_path, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_full_disk_ends_it_with_one_line_and_it_goes_on_when_there_is_room(tmp_path, whole):
    """There is room for two checkpoints and a half; then more."""
    size = sum(path.stat().st_size for path in (whole[0] / "checkpoints").glob("*")) / 2 / 1024
    arguments = " ".join(RUN)
    output = in_small_disk(
        tmp_path,
        32,
        [
            "free=$(df -k --output=avail disk | tail -1)",
            f"dd if=/dev/zero of=disk/filler bs=1k count=$((free - {2.4 * size:.0f})) 2>/dev/null",
            f"RUN {arguments} --out disk/run >/dev/null 2>error && status=0 || status=$?",
            'echo "status $status: $(cat error)"',
            "ls disk/run/checkpoints",
            "rm disk/filler",
            "RUN --resume disk/run >/dev/null",
            "cp -r disk/run .",
        ],
    )
    assert re.search(r"^status 2: .*error: .*No space left on device", output, re.M | re.S), output
    assert "Traceback" not in output
    assert "0000000400" in output  # the first one was whole, and stayed
    assert not list(differences(whole[1], outcome(tmp_path / "run")))


def test_a_read_only_folder_is_named(tmp_path, whole):
    output = in_small_disk(
        tmp_path,
        16,
        [
            f"cp -r {whole[0]} disk/run",
            "mount -o remount,ro disk",
            f"RUN {' '.join(RUN)} --out disk/other 2>&1 >/dev/null || echo status $?",
            "RUN --resume disk/run 2>&1 >/dev/null || echo status $?",
        ],
    )
    assert output.splitlines() == [
        "error: cannot write the run folder disk/other: Read-only file system",
        "status 2",
        "error: cannot write the run folder disk/run: Read-only file system",
        "status 2",
    ]


def test_a_clock_that_jumps_changes_nothing(tmp_path, whole):
    """The wall clock jumps by a day, back and forth, at every look."""
    jumps = "import itertools, time\nreal, days = time.time, itertools.cycle([0, 86400, -86400])\n"
    jumps += "time.time = lambda: real() + next(days)\ntime.time_ns = lambda: int(time.time() * 1e9)\n"
    code = (
        f"{jumps}import runpy, sys\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    )
    folder = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", code, ROOT / "experiments" / "run_crafter.py", *RUN, "--out", folder],
        capture_output=True, text=True, timeout=280, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not list(differences(whole[1], outcome(folder)))
    seconds = [row["seconds"] for row in rows(folder, "metrics")]
    assert seconds == sorted(seconds)
    assert 0 < seconds[-1] < 280


def test_a_checkpoint_cut_off_is_named_and_the_one_before_gives_the_same_run(tmp_path, whole):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    newest, _ = checkpoints.latest(folder / "checkpoints")
    newest.write_bytes(newest.read_bytes()[:1000])
    done = script("run_crafter.py", "--resume", folder)
    assert done.returncode == 0, done.stderr
    assert (
        f"warning: the checkpoint {newest} does not fit this run, or is damaged; looking for" in done.stderr
    )
    assert not list(differences(whole[1], outcome(folder)))


def test_a_log_that_something_else_has_damaged_is_not_made_worse(tmp_path, whole):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    path = folder / "episodes.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"\0" * len(lines[3]), *lines[4:]]))
    damaged = path.read_bytes()
    done = script("run_crafter.py", "--resume", folder)
    assert done.returncode == 2
    assert f"{path} is damaged in row 4; repair it, or start a new run" in done.stderr
    assert path.read_bytes() == damaged


def test_a_configuration_edited_by_hand_is_refused(tmp_path, whole):
    folder = shutil.copytree(whole[0], tmp_path / "run")
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("n_steps: 1", "n_steps: 3"))
    done = script("run_crafter.py", "--resume", folder)
    assert done.returncode == 2
    assert "a resumed run keeps its options: dqn.n-steps is 3 but was 1" in done.stderr


def test_nobody_has_to_read_what_it_tells(tmp_path):
    """Its stderr leads nowhere any more, as after ``| tee`` or a closed terminal."""
    reader, writer = os.pipe()
    folder = tmp_path / "run"
    command = [
        sys.executable,
        ROOT / "experiments" / "run_crafter.py",
        *RUN,
        "--frames",
        "1000000",
        "--out",
        folder,
    ]
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=writer)
    os.close(writer)
    wait_for(lambda: (folder / "metrics.jsonl").exists() or process.poll() is not None)
    os.close(reader)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 129
    assert checkpoints.latest(folder / "checkpoints")


def test_a_full_disk_for_tensorboard_alone_ends_nothing(tmp_path, whole):
    output = in_small_disk(
        tmp_path,
        1,
        [
            "mkdir run && ln -s ../disk run/tensorboard",
            "dd if=/dev/zero of=disk/filler bs=1k count=1020 2>/dev/null",
            f"RUN {' '.join(RUN)} --tensorboard --out run 2>&1 >/dev/null",
        ],
    )
    (line,) = (line for line in output.splitlines() if "frames/s" not in line)
    assert line.startswith("warning: TensorBoard's files cannot be written (No space left on device)")
    assert not list(differences(whole[1] | {"state": 0}, outcome(tmp_path / "run") | {"state": 0}))


def test_a_killed_worker_fails_its_cell_alone_and_is_made_again(tmp_path):
    def sweep(name):
        folders = ["--results", tmp_path / "results", "--work", tmp_path / "work"]
        cells = ["--methods", "oracle", "--algos", "ppo", "--seeds", *"01", "--frames", "2000", "--jobs", "2"]
        each = [*SMALL[:2], "--episode-length", "60", "--checkpoint-every", "500", "--eval-episodes", "1"]
        return Script("compare.py", "--name", name, *folders, *cells, "--", *each)

    process = sweep("killed")
    work = tmp_path / "work" / "killed"
    wait_for(lambda: list(work.glob("*-1/run/metrics.jsonl")) or process.poll() is not None)
    (worker,) = (
        p for p in psutil.Process(process.pid).children() if any("oracle-1/" in word for word in p.cmdline())
    )
    worker.kill()
    _, output = process.communicate(timeout=280)
    assert process.returncode == 2
    assert "1 of 2 runs failed: crafter ppo oracle seed 1 (status -9; delete " in output
    results = tmp_path / "results" / "killed"
    assert [path.name for path in results.glob("*/*/*/*")] == ["seed0"]
    assert sweep("killed").wait(timeout=280) == 0
    # That its files are those of a run left alone, test_comparison and test_checkpoints tell.
    assert sorted(path.name for path in results.glob("*/*/*/*")) == ["seed0", "seed1"]
