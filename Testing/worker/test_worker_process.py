"""The real child process, with a scripted engine: what it says, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conversation import REAL, ROOT, SCRIPTED, Conversation

from KidneySegLib.progress import STAGES
from KidneySegLib.worker_parts import lifeline, protocol


@pytest.fixture
def talk():
    conversations = []

    def start(*args, **kwargs):
        conversations.append(Conversation(*args, **kwargs))
        return conversations[-1]

    yield start
    for conversation in conversations:
        conversation.close()


@pytest.fixture
def kidneys():
    hu = np.full((8, 20, 30), 20, np.int16)
    hu[2:6, 5:15, 4:10] = 200
    hu[3:5, 8:12, 6:8] = 120
    hu[2:6, 5:15, 20:26] = 200
    return hu


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_hello_names_the_protocol_and_the_process(talk):
    c = talk()
    assert c.hello["event"] == "result"
    assert (c.hello["protocol"], c.hello["version"]) == (protocol.PROTOCOL, protocol.VERSION)
    assert lifeline.is_alive(c.hello["pid"])
    assert set(c.hello["capabilities"]) == {"torch", "import_nnunet", "retraining"}


def test_the_real_worker_greets(talk):
    assert talk(REAL).hello["event"] == "result"


def test_segment_reports_every_stage_then_the_result(talk, kidneys):
    c = talk()
    request_id = c.send("segment", volume=c.volume(kidneys))
    messages = c.receive_until("result", request_id=request_id)
    progress = [m for m in messages if m["event"] == "progress"]
    assert list(dict.fromkeys(m["stage"] for m in progress)) == list(STAGES)
    overall = [m["overall"] for m in progress]
    assert overall == sorted(overall)
    assert overall[-1] == pytest.approx(1)
    labels = np.load(c.workspace / messages[-1]["labels"]["array"])
    x, y, z = messages[-1]["labels"]["index"]
    whole = np.zeros(kidneys.shape, np.uint8)
    whole[z : z + labels.shape[0], y : y + labels.shape[1], x : x + labels.shape[2]] = labels
    assert (whole[kidneys == 120] == 2).all()
    assert set(np.unique(whole[kidneys == 200])) == {1, 3}
    assert (whole[kidneys == 20] == 0).all()


@pytest.mark.parametrize("stage", STAGES)
def test_cancel_at_each_stage_then_the_same_process_works_again(talk, kidneys, stage):
    c = talk()
    volume = c.volume(kidneys)
    request_id = c.send("segment", volume=volume, script={"seconds_per_stage": 0.05})
    while c.receive()["stage"] != stage:
        pass
    c.send("cancel", target=request_id)
    assert c.receive_until("result", "cancelled", request_id=request_id)[-1]["event"] == "cancelled"
    assert c.ask("segment", volume=volume)["event"] == "result"


def test_a_waiting_request_can_be_cancelled(talk, kidneys):
    c = talk()
    volume = c.volume(kidneys)
    first = c.send("segment", volume=volume, script={"seconds_per_stage": 0.05})
    second = c.send("segment", volume=volume)
    c.send("cancel", target=second)
    assert c.receive_until("result", request_id=first)[-1]["event"] == "result"
    assert c.receive_until("cancelled", request_id=second)


def test_the_users_error_keeps_the_process(talk, kidneys):
    c = talk()
    volume = c.volume(kidneys)
    reply = c.ask("segment", volume=volume, script={"fault": "input", "at": "network"})
    assert (reply["kind"], reply["message"]) == ("InputError", "The scan is not good. Choose another.")
    assert "traceback" not in reply
    reply = c.ask("segment", volume=volume, script={"fault": "bug", "at": "network"})
    assert reply["kind"] == "Bug"
    assert "KeyError" in reply["traceback"]
    assert c.ask("segment", volume=volume)["event"] == "result"


def test_out_of_memory_is_said_and_ends_the_process(talk, kidneys):
    c = talk()
    reply = c.ask("segment", volume=c.volume(kidneys), script={"fault": "memory", "at": "network"})
    assert reply["kind"] == "OutOfMemory"
    assert "memory" in reply["message"]
    assert reply["advice"]
    assert c.process.wait(20) == protocol.EXIT_OUT_OF_MEMORY


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX resource limits")
def test_a_full_disk_is_said_and_keeps_the_process(talk, kidneys):
    c = talk()
    reply = c.ask("segment", volume=c.volume(kidneys), script={"fault": "disk", "at": "write"})
    assert reply["kind"] == "DiskFull"
    assert "Free some disk space" in reply["advice"]
    assert c.process.poll() is None


def test_what_libraries_print_never_reaches_the_protocol(talk, kidneys):
    c = talk()
    reply = c.ask("segment", volume=c.volume(kidneys), script={"fault": "noise", "at": "read"})
    assert reply["event"] == "result"
    assert wait_for(lambda: b"a child prints too\n" in c.errors)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("stage", STAGES)
def test_kill_9_in_mid_run_is_seen_at_once(talk, kidneys, stage):
    c = talk()
    request_id = c.send("segment", volume=c.volume(kidneys), script={"fault": "killed", "at": stage})
    with pytest.raises(AssertionError, match="ended with status -9"):
        c.receive_until("result", request_id=request_id)


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n",
        b'{"id": 1, "command": "hello", "protocol": "other", "version": 1}\n',
        b'{"id": 1, "command": "hello", "protocol": "kidneyseg-worker", "version": 999}\n',
        b'{"id": 1, "command": "segment"}\n',
        b"x" * (protocol.MAX_LINE_BYTES + 10),
    ],
)
def test_what_is_not_its_protocol_is_refused(talk, line):
    c = talk(greet=False)
    c.send_raw(line)
    assert c.receive()["kind"] == "ProtocolError"
    assert c.process.wait(20) == protocol.EXIT_NOT_OUR_PROTOCOL


def test_shutdown_ends_it_even_while_it_works(talk, kidneys):
    c = talk()
    c.send("segment", volume=c.volume(kidneys), script={"seconds_per_stage": 5})
    c.receive()
    c.send("shutdown")
    assert c.process.wait(20) == protocol.EXIT_OK


def test_a_closed_pipe_ends_it_and_deletes_the_workspace(talk, kidneys):
    c = talk()
    c.send("segment", volume=c.volume(kidneys), script={"seconds_per_stage": 5})
    c.receive()
    c.process.stdin.close()
    assert c.process.wait(20) == protocol.EXIT_ABANDONED
    assert not c.workspace.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX process groups")
def test_a_stage_that_listens_to_nobody_is_ended_with_its_children(talk, kidneys):
    c = talk()
    volume = c.volume(kidneys)
    c.send("segment", volume=volume, script={"fault": "child", "at": "read"})
    c.receive_until("result")
    children = subprocess.run(["ps", "-o", "pid=", "-g", str(c.hello["pid"])], capture_output=True, text=True).stdout
    pids = [int(pid) for pid in children.split()]
    assert len(pids) == 2
    c.send("segment", volume=volume, script={"fault": "deaf", "at": "network"})
    c.receive()
    c.process.stdin.close()
    c.process.wait(20)
    assert wait_for(lambda: not any(lifeline.is_alive(pid) for pid in pids))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_it_dies_with_its_parent_even_if_the_pipe_stays_open(talk):
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    c = talk(parent_pid=parent.pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert c.process.wait(20) == protocol.EXIT_ABANDONED


def test_a_folder_that_is_not_a_workspace_is_refused(tmp_path):
    keep = tmp_path / "keep.txt"
    keep.write_text("mine")
    command = [*SCRIPTED, "--workspace", str(tmp_path), "--parent-pid", str(os.getpid())]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert outcome.returncode == 2
    assert "must be a folder with the file" in outcome.stderr
    assert keep.exists()
