"""The supervisor: what dies is started again, and nothing is left behind however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from config.processes import Process
from config.run_folder import AlreadyRunning, RunFolder
from tests.integration.config.processes import eventually, gone

SUPERVISE = """
import sys
from pathlib import Path
from config.interruption import Interrupted, Interruption
from config.processes import Process
from config.processes import Process
from config.run_folder import RunFolder
from config.supervisor import Supervisor

interruption, folder = Interruption(), RunFolder(Path(sys.argv[1]))
folder.hold()
supervisor = Supervisor(folder, lambda text: print(text, flush=True))
log = folder.log("program")
try:
    supervisor.start("program", lambda: Process(["sh", "-c", sys.argv[2]], log))
    folder.write_environment({"READY": "yes"})
    while True:
        supervisor.watch()
        interruption.pause(0.02)
except Interrupted:
    pass
finally:
    supervisor.stop()
"""

#: A program with a child, as a Celery worker has.
PARENT_AND_CHILD = "sleep 60 & echo $! > {child}; sleep 60; true"


class Supervision:
    """A supervisor in a process of its own, and what it runs."""

    def __init__(self, path, program, **options):
        self.folder, self.child_file = RunFolder(path / "run"), path / "child"
        program = program.format(child=self.child_file)
        command = [sys.executable, "-c", SUPERVISE, str(self.folder.path), program]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
        eventually(self.folder.environment)

    @property
    def program(self):
        return self.folder.pid("program")

    @property
    def child(self):
        return eventually(lambda: self.child_file.exists() and self.child_file.read_text()) and int(
            self.child_file.read_text()
        )

    @property
    def pids(self):
        return [self.program, self.child]

    def leaves_nothing(self, pids):
        eventually(lambda: all(map(gone, pids)))
        eventually(lambda: list(self.folder.path.iterdir()) == [self.folder.logs])


@pytest.fixture
def supervise(tmp_path):
    started = []

    def start(program=PARENT_AND_CHILD, **options):
        started.append(Supervision(tmp_path, program, **options))
        return started[-1]

    yield start
    for supervision in started:
        supervision.process.kill()
        supervision.process.communicate()


def test_a_killed_process_is_started_again_and_its_children_do_not_linger(supervise):
    supervision = supervise()
    before = supervision.pids
    supervision.child_file.unlink()
    os.kill(before[0], signal.SIGKILL)

    eventually(lambda: supervision.program != before[0], within=1.0)

    eventually(lambda: all(map(gone, before)))
    assert not any(map(gone, supervision.pids))
    line = supervision.process.stdout.readline() + supervision.process.stdout.readline()
    assert line == f"program was killed\nprogram runs again, pid {supervision.program}\n"


def test_a_process_that_keeps_failing_is_started_again_ever_later(supervise, tmp_path):
    supervision = supervise(program="echo started; exit 3")
    lines = [supervision.process.stdout.readline() for _ in range(5)]
    assert lines[0] == "program ended with code 3\n"
    assert lines[2] == "program ended with code 3, 2 times in a row\n"
    assert "3 times in a row; next try in 2.0 s, see" in lines[4]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything(supervise, number):
    supervision = supervise()
    pids = supervision.pids
    supervision.process.send_signal(number)
    assert supervision.process.wait(5) == 0
    supervision.leaves_nothing(pids)


def test_nothing_is_left_when_the_supervisor_itself_is_killed(supervise):
    supervision = supervise()
    pids = supervision.pids
    supervision.process.kill()
    supervision.leaves_nothing(pids)


def test_the_death_of_its_parent_stops_everything(tmp_path):
    parent = (
        "import sys; from tests.integration.config.test_supervisor import *\n"
        "supervision = Supervision(Path(sys.argv[1]), PARENT_AND_CHILD)\n"
        "print(*supervision.pids, supervision.process.pid)"
    )
    command = [sys.executable, "-c", parent, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
    eventually(lambda: all(map(gone, pids)))


def test_a_suspended_process_is_ended_too(supervise):
    supervision = supervise()
    pids = supervision.pids
    os.kill(pids[0], signal.SIGSTOP)
    supervision.process.terminate()
    supervision.process.wait(10)
    supervision.leaves_nothing(pids)


def test_a_process_that_does_not_listen_is_ended_with_its_children_all_the_same(tmp_path):
    child = tmp_path / "child"
    deaf = f"trap '' TERM; sleep 60 & echo $! > {child}; while true; do sleep 60; done"
    process = Process(["sh", "-c", deaf], tmp_path / "log")
    eventually(lambda: child.exists() and child.read_text())
    process.stop(within=0.2)
    assert process.exit_code == -signal.SIGKILL
    eventually(lambda: gone(int(child.read_text())))


def test_the_run_folder_has_one_holder_at_a_time(supervise):
    supervision = supervise()
    second = RunFolder(supervision.folder.path)
    with pytest.raises(AlreadyRunning):
        second.hold(wait=0)
    assert supervision.folder.environment() == {"READY": "yes"}

    supervision.process.terminate()
    supervision.process.wait(5)
    second.hold(wait=0)


def test_the_environment_file_is_private_and_a_shell_reads_it(tmp_path):
    values = {"URI": "mongodb://h:1/?replicaSet=rs0&w=1", "WORD": "it's $HOME", "EMPTY": ""}
    folder = RunFolder(tmp_path)
    folder.write_environment(values)
    file = Path(folder.environment_file)
    read = f'. {file}; printf "%s|" "$URI" "$WORD" "$EMPTY"'
    output = subprocess.run(["sh", "-c", read], capture_output=True, text=True, check=True).stdout
    assert output == "|".join(values.values()) + "|"
    assert folder.environment() == values
    assert file.stat().st_mode & 0o777 == 0o600
