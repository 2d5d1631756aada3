"""A real Chromium in front of real servers, and a second client on their kernels."""

from __future__ import annotations

import io
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from jupyter_client.blocking import BlockingKernelClient

from tests.browser.console import Screen
from tests.browser.notebooks import ready, run_cell, write_notebook

SERVER_READY_S = 90.0
WARM_S = 30.0
SHOW = 'from pairlab import PairLab\nlab = PairLab(feed="demo")\nlab.start()\nlab'
AS_AT_FIRST = """
from pairlab.settings import SETTINGS
lab.settings.update(**{name: knob.default for name, knob in SETTINGS.items()})
lab.select()
screen = lab.dashboard().render_loop
screen.view.select_mode, screen.view.signal_in_front, screen.view.cleared_ns = False, False, -2**63
screen.view.pause(False)
screen.view.reset()
screen.view.reset()
screen.view.set_span(screen.view.span_s)  # that, however little is held yet
screen.paint(due=True)
import math
from pairlab.widgets.core.widget_utils import programmatic_update
sliders = {name: row.slider for name, row in lab.dashboard().parts["settings"]._rows.items()}
with programmatic_update():  # ranges that were made wider for a value
    sliders["stop_z"].value = 4.0
    for name in ("entry_z", "exit_z", "stop_z"):
        sliders[name].max = 6.0
    sliders["min_correlation"].min = 0.0
    sliders["window"].max = math.log10(5000)
"""
END_KERNEL = """async () => {
    await window.jupyterapp?.shell.currentWidget?.sessionContext?.shutdown();
}"""
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def asked_elsewhere(item: pytest.Item) -> bool:
    """Return whether a test asks again, in another front end, what is no front end's own.

    Notebook 7 is made of JupyterLab's parts: its own are the page around the dashboard, and keys.
    What the kernel decides, and one more slider of a kind, is asked in the app alone.
    """
    where = getattr(item, "callspec", None) and item.callspec.params.get("warm_place")  # type: ignore[attr-defined]
    if os.environ.get("PAIRLAB_FRONT_ENDS") == "all" or where in (None, "voila"):
        return False
    only_app = item.get_closest_marker("in_the_app") is not None
    return only_app or (where == "notebook7" and not item.get_closest_marker("every_front_end"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here; tests on the common pages come last, one front end after the other."""
    items[:] = [item for item in items if not asked_elsewhere(item)]
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.browser)
    items.sort(key=lambda item: item in ours and "place" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium; skips where there is none."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@contextmanager
def tabs(chromium: Any) -> Iterator[Callable[..., Screen]]:
    """Open addresses at a size; in the end no console may have said what is not known.

    Pages are left as a person leaves them, by closing the tab. A notebook's kernel would go on
    then, and its lab, for the rest of the run: it is ended.
    """
    screens: list[Screen] = []

    def opened(url: str, width: int = 1280, height: int = 800, script: str = "") -> Screen:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, accept_downloads=True
        )
        context.add_init_script(script)
        page = context.new_page()
        page.set_default_timeout(60_000)
        screen = Screen(page)
        screens.append(screen)
        page.goto(url, wait_until="domcontentloaded")
        return screen

    yield opened
    strange = [error for screen in screens for error in screen.strange]
    for screen in screens:
        if not screen.page.is_closed():
            screen.page.evaluate(END_KERNEL)
            screen.page.close(run_before_unload=True)  # Voila ends the page's kernel then
        screen.page.context.close()
    assert strange == [], "the console said: " + "\n".join(map(str, strange))


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Screen]]:
    """Open an address for one test."""
    with tabs(chromium) as opened:
        yield opened


@pytest.fixture(scope="module")
def open_page(chromium: Any) -> Iterator[Callable[..., Screen]]:
    """Open an address; the page stays until the module's tests are done."""
    with tabs(chromium) as opened:
        yield opened


class Server:
    """A server process whose kernels can be spoken to."""

    def __init__(self, command: list[str], home: Path, ready: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.home = home
        self.runtime = home / "runtime"
        self.runtime.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "JUPYTER_RUNTIME_DIR": str(self.runtime),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(self.runtime),  # Voila keeps its connection files in a folder of these
        }
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            env=environment,
            cwd=home,
            start_new_session=True,
            # Tests may run where Ctrl-C is ignored, in a shell's background: not the server.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.lines: list[str] = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(ready,), daemon=True)
        self._reader.start()
        if not self._ready.wait(SERVER_READY_S) or self.process.poll() is not None:
            self.stop()
            raise AssertionError("the server did not start:\n" + "".join(self.lines))

    def _read(self, ready: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if ready in line:
                self._ready.set()
        self._ready.set()

    def stop(self) -> None:
        """End it as Ctrl-C does, and see that it took its kernels along."""
        family = []
        if self.process.poll() is None:
            family = psutil.Process(self.process.pid).children(recursive=True)
            # Jupyter asks before it ends, and a second one is the answer, if it came apart from
            # the first.
            for _ in range(10):
                self.process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(3)
                    break
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                pytest.fail("Ctrl-C did not end the server")
            finally:
                _, left = psutil.wait_procs(family, timeout=10)
                for process in left:
                    process.kill()
            assert not left, f"Ctrl-C left {left}"
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def newest_kernel(self) -> Path:
        """Return the connection file of the kernel that was started last."""
        return max(self.runtime.glob("**/kernel-*.json"), key=lambda path: path.stat().st_mtime)

    @contextmanager
    def kernel(self, file: Path | None = None) -> Iterator[Kernel]:
        """Speak to the kernel of a connection file, by default to the newest one."""
        client = BlockingKernelClient(connection_file=str(file or self.newest_kernel()))
        client.load_connection_file()
        client.start_channels()
        # Not wait_for_ready: it ends in a silence of 0.2 s, which a dashboard never leaves.
        client.kernel_info()
        client.get_shell_msg(timeout=60)
        while True:
            client.kernel_info()
            try:
                client.get_iopub_msg(timeout=1)  # subscribed: what is printed from now on is seen
                break
            except queue.Empty:
                continue
        try:
            yield Kernel(client)
        finally:
            client.stop_channels()


class Kernel:
    """Runs code in a kernel that a page is using at the same time."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self._client = client

    def run(self, code: str, timeout_s: float = 60.0) -> str:
        """Return what `code` printed; an error in it is an error here."""
        printed: list[str] = []

        def collect(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                printed.append(content["text"])

        # ZeroMQ drops what comes behind 4,000 unread messages, and the screen's fill that in 15 s.
        while self._client.iopub_channel.msg_ready():
            self._client.get_iopub_msg(timeout=0)
        reply = self._client.execute_interactive(
            code, timeout=timeout_s, output_hook=collect, allow_stdin=False, store_history=False
        )
        assert reply["content"]["status"] == "ok", "\n".join(reply["content"]["traceback"])
        return "".join(printed).strip()

    def hears(self, words: str, timeout_s: float = 30.0) -> str:
        """Return the rest of a line that the kernel prints between cells."""
        ends_s, printed = time.monotonic() + timeout_s, ""
        while True:
            message = self._client.get_iopub_msg(timeout=max(ends_s - time.monotonic(), 0.0))
            if message["msg_type"] == "stream":
                printed += message["content"]["text"]
            said = re.search(re.escape(words) + "(.*)\n", printed)
            if said:
                return said[1]

    def holds(self, condition: str, timeout_s: float = 30.0) -> None:
        """Ask until an expression is true in the kernel.

        It is asked anew and not awaited there: a front end's messages wait while a cell runs.
        """
        ends_s = time.monotonic() + timeout_s
        while self.run(f"print(bool({condition}))") != "True":
            assert time.monotonic() < ends_s, f"never true: {condition}"


def warm(page: Any) -> None:
    """Wait until the stationarity test has an answer: the window is full, every number is there."""
    page.wait_for_function(
        """/^(?!.*NOT ENOUGH)[^]*STATIONARY/.test(
            document.querySelector('.pairlab-status-bar')?.innerText ?? '')""",
        timeout=WARM_S * 1000,
    )


def paths(page: Any) -> list[str]:
    """Return what every line of every chart draws."""
    return list(
        page.eval_on_selector_all(
            ".pairlab-chart path.line", "lines => lines.map(line => line.getAttribute('d'))"
        )
    )


def check_export(place: Place) -> None:
    """Click Export and hold the file against the kernel's own numbers."""
    page = place.page
    with place.kernel() as kernel, page.expect_download(timeout=30_000) as download:
        page.locator(".pairlab-button-export").click()
        text = Path(download.value.path()).read_text()
        frame = pd.read_csv(io.StringIO(text), index_col="time", parse_dates=True)
        assert len(frame) > 50
        assert "pairlab-SIMULATED-" in download.value.suggested_filename
        assert set(frame.pop("source")) == {"SIMULATED"}
        assert frame.columns[-1].startswith("pair=BTCUSDT/ETHUSDT; stream=")
        assert frame.pop(frame.columns[-1]).isna().all()
        name = str(place.server.home / "expected.npy")
        kernel.run(f"import numpy; numpy.save({name!r}, lab.history().iloc[:{len(frame)}])")
    np.testing.assert_array_equal(np.load(name), frame.to_numpy(float))
    assert np.isfinite(frame["zscore"]).sum() > 20


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """``pairlab demo``, as the README has it."""
    port = free_port()
    command = [sys.executable, "-m", "pairlab", "demo", "--no-browser", "--port", str(port)]
    server = Server(command, tmp_path_factory.mktemp("demo"), "is running at", port)
    yield server
    server.stop()


def jupyter_server(application: str, home: Path) -> Server:
    """Start JupyterLab or Notebook on a folder."""
    port = free_port()
    command = [
        sys.executable, "-m", application, "--no-browser", "--allow-root",
        f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
        f"--ServerApp.root_dir={home}", "--LabApp.news_url=", ("--LabApp.check_for_updates_class="
        "jupyterlab.NeverCheckForUpdate"), "--LabApp.expose_app_in_browser=True",
        "--JupyterNotebookApp.expose_app_in_browser=True",
    ]  # fmt: skip
    return Server(command, home, "is running at", port)


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab on an empty folder."""
    server = jupyter_server("jupyterlab", tmp_path_factory.mktemp("jupyter"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def notebook7(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Jupyter Notebook on an empty folder."""
    server = jupyter_server("notebook", tmp_path_factory.mktemp("notebook"))
    yield server
    server.stop()


@dataclass
class Place:
    """A lab's dashboard in one of the front ends, warm."""

    name: str
    server: Server
    screen: Screen
    file: Path

    @property
    def page(self) -> Any:
        return self.screen.page

    def kernel(self) -> AbstractContextManager[Kernel]:
        """Speak to the kernel of this page, whatever else runs on the server."""
        return self.server.kernel(self.file)


@pytest.fixture(scope="session", params=["voila", "jupyterlab", "notebook7"])
def warm_place(request: pytest.FixtureRequest, chromium: Any) -> Iterator[Place]:
    """The same dashboard in every front end: what one test asks holds in all."""
    name, path = {
        "voila": ("demo", ""),
        "jupyterlab": ("jupyter", "doc/tree"),
        "notebook7": ("notebook7", "notebooks"),
    }[request.param]
    server = request.getfixturevalue(name)
    with tabs(chromium) as opened:
        if not path:
            screen = opened(server.url)
        else:
            write_notebook(server.home, "place.ipynb", [SHOW])
            # Wide and high: beside JupyterLab's panels there is room for the whole dashboard.
            screen = opened(f"{server.url}/{path}/place.ipynb", 1700, 1300)
            ready(screen.page)
            run_cell(screen.page, 0)
            screen.page.wait_for_selector(".pairlab-dash")
        warm(screen.page)
        yield Place(request.param, server, screen, server.newest_kernel())


@pytest.fixture
def place(warm_place: Place) -> Iterator[Place]:
    """One page for all tests; whatever a test did, the next one finds it as it was at first."""
    size = warm_place.page.viewport_size
    yield warm_place
    warm_place.page.mouse.move(1, 1)
    warm_place.page.set_viewport_size(size)
    with warm_place.kernel() as kernel:
        kernel.run(AS_AT_FIRST)
