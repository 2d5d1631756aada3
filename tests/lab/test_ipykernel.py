"""Widgets' messages in real kernels: on the main thread, and on another, as subshells bring them.

JupyterLab sends them over a subshell where the kernel offers it. ipykernel 7.3 then runs their
callbacks on the subshell's thread, with a loop of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

pytestmark = pytest.mark.slow  # a package index, and kernels that begin anew

REPLY_S = 60.0
PIP_S = 90.0

START = """
import asyncio, json, threading, ipykernel
from pairlab import PairLab
from pairlab.widgets.core.widget_utils import tree
lab = PairLab("BTCUSDT", "ETHUSDT", feed="demo", window=20)
lab.start()
lab.wait(rows=25, timeout_s=60)
view = lab.dashboard()
named = {getattr(widget, "description", ""): widget for widget in tree(view)}
slider, pause = named["Entry z"], named["Pause"]
came, done = [], []
here = threading.main_thread()
slider.observe(lambda change: came.append(threading.current_thread() is here), "value")
def note(change):
    done.append((threading.current_thread() is here, asyncio.get_running_loop() is lab.loop))
lab.settings.observe(note, "entry_z")
print(ipykernel.__version__, slider.model_id, pause.model_id)
"""
SEEN = """
rows = lab.health().rows
lab.wait(rows=rows + 10, timeout_s=60)  # it lives on
errors = [entry.message for entry in lab.event_log if entry.level == "error"]
print(json.dumps([lab.settings.entry_z, view.render_loop.view.paused, came, done, errors]))
"""


@pytest.fixture(scope="module", params=["7.3.0", "7.4.0"])
def ipykernel_path(request: Any, tmp_path_factory: Any) -> tuple[str, Path]:
    """A folder to stand before what is installed: with that ipykernel, or empty where it is it.

    The other one comes from the package index that pip is set up for; where pip cannot get it, the
    tests on it are skipped, and say what pip said.
    """
    folder = tmp_path_factory.mktemp("ipykernel")
    if version("ipykernel") == request.param:
        return request.param, folder
    wanted = f"ipykernel=={request.param}"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-input"]
    patience = ["--retries", "1", "--timeout", "10", "--disable-pip-version-check"]
    try:
        got = subprocess.run(
            [*command, *patience, "--target", str(folder), wanted],
            capture_output=True, text=True, timeout=PIP_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.skip(f"pip could not get {wanted} within {PIP_S:g} s")
    if got.returncode:
        said = got.stderr.strip().splitlines() or ["it said nothing"]
        pytest.skip(f"pip could not get {wanted}: {said[-1]}")
    return request.param, folder


@pytest.fixture(scope="module")
def kernel(ipykernel_path: tuple[str, Path]) -> Iterator[BlockingKernelClient]:
    """A kernel of that version, and its client; the cells of the next test are run again in it."""
    _, folder = ipykernel_path
    manager = KernelManager(kernel_name="python3")
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    manager.start_kernel(env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=REPLY_S)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run(client: BlockingKernelClient, code: str) -> str:
    """Run a cell; return what it printed."""
    text: list[str] = []

    def output(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            text.append(message["content"]["text"])

    reply = client.execute_interactive(code, timeout=REPLY_S, output_hook=output)
    assert reply["content"]["status"] == "ok", reply["content"]
    return "".join(text)


def subshell(client: BlockingKernelClient) -> str:
    message = client.session.msg("create_subshell_request")
    client.control_channel.send(message)
    while True:
        reply = client.get_control_msg(timeout=REPLY_S)
        if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
            return str(reply["content"]["subshell_id"])


def send(client: BlockingKernelClient, model: str, data: dict[str, Any], shell: str | None) -> None:
    """Send a widget's message as a front end does, and wait until the kernel has done it."""
    message = client.session.msg("comm_msg", {"comm_id": model, "data": data})
    if shell is not None:
        message["header"]["subshell_id"] = shell
    client.shell_channel.send(message)
    while True:
        seen = client.get_iopub_msg(timeout=REPLY_S)
        if (
            seen["parent_header"].get("msg_id") == message["header"]["msg_id"]
            and seen["msg_type"] == "status"
            and seen["content"]["execution_state"] == "idle"
        ):
            return


@pytest.mark.parametrize("over_subshell", [False, True], ids=["main shell", "subshell"])
def test_a_slider_moves_the_setting_on_the_labs_loop(kernel, ipykernel_path, over_subshell):
    running, slider, pause = run(kernel, START).split()
    assert running == ipykernel_path[0]
    shell = subshell(kernel) if over_subshell else None
    for value in (2.5, 3.0):
        update = {"method": "update", "state": {"value": value}, "buffer_paths": []}
        send(kernel, slider, update, shell)
    send(kernel, pause, {"method": "custom", "content": {"event": "click"}}, shell)
    entry_z, paused, came, done, errors = json.loads(run(kernel, SEEN))
    assert (entry_z, paused, errors) == (3.0, True, [])
    assert len(came) == 2
    if running == "7.3.0":
        # Else this test would not be about threads at all.
        assert came == [not over_subshell] * 2
    # Whatever thread they came on: main thread, the lab's loop; two that wait there are one change.
    assert done in ([[True, True]], [[True, True]] * 2)
