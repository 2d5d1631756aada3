"""A button whose CSV the browser downloads, in JupyterLab, Notebook and Voila alike."""

from __future__ import annotations

import asyncio
import base64
import json
import zlib
from typing import TYPE_CHECKING, Any, Final

from ipywidgets import Button, HBox, Output

from pairlab.history import csv_name
from pairlab.widgets.formats import count
from pairlab.widgets.trees import close_tree, put

if TYPE_CHECKING:
    from pairlab.lab import PairLab

__all__ = ["ExportButton"]

_KEEP_S: Final = 10.0
"""The file leaves the widgets' state after this, or it would be saved with the notebook."""

# The file travels compressed: 100,000 rows are some 20 MB of text. The browser unpacks it and
# clicks a link that nobody sees; there is no way to start a download from the kernel without
# script, and none with script that needs less.
_SCRIPT: Final = """
(async () => {{
  const packed = Uint8Array.from(atob({data}), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const blob = new Blob([await new Response(stream).arrayBuffer()], {{ type: "text/csv" }});
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = {name};
  document.body.appendChild(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}})();
"""


class ExportButton(HBox):  # type: ignore[misc]
    """Downloads the history as a CSV file, with the numbers that `PairLab.history` has.

    Parameters
    ----------
    lab : PairLab
        Whose history.
    """

    def __init__(self, lab: PairLab) -> None:
        self._lab = lab
        self._button = Button(
            description="Export", tooltip="Download the history as a CSV file"
        ).add_class("pairlab-button-export")
        self._output = Output().add_class("pairlab-hidden")
        self._button.on_click(lambda _: lab.call(self._begin))
        self._work: asyncio.Task[None] | None = None
        self._forget: asyncio.TimerHandle | None = None
        super().__init__([self._button, self._output])
        lab.attach(self)
        for style in ("pairlab", "pairlab-export"):
            self.add_class(style)

    def _begin(self) -> None:
        if self._work is not None and not self._work.done():
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._deliver(self._pack())  # a lab that was never started has no loop to spare
            return
        self._work = loop.create_task(self._export(loop), name="pairlab export")

    async def _export(self, loop: asyncio.AbstractEventLoop) -> None:
        put(self._button, disabled=True)
        try:
            self._deliver(await asyncio.to_thread(self._pack))
        except Exception as error:
            # A background error belongs on the screen: nobody awaits this task.
            self._lab.note("error", f"the export failed: {type(error).__name__}: {error}")
        else:
            self._forget = loop.call_later(_KEEP_S, self._clear)
        finally:
            put(self._button, disabled=False)

    def _pack(self) -> tuple[str, int]:
        """Return the compressed CSV in base64 and the text's size; runs off the loop."""
        text = self._lab.csv_bytes()
        return base64.b64encode(zlib.compress(text, 6)).decode("ascii"), len(text)

    def _deliver(self, packed: tuple[str, int]) -> None:
        data, size = packed
        name = self.file_name()
        script = _SCRIPT.format(data=json.dumps(data), name=json.dumps(name))
        self._clear()
        self._output.outputs = (
            {
                "output_type": "display_data",
                "data": {"application/javascript": script, "text/plain": name},
                "metadata": {},
            },
        )
        self._lab.note("info", f"exported {name}: {count(size)} bytes")

    def file_name(self) -> str:
        """Return the name of the file: pair and UTC time, safe on every system."""
        return csv_name(self._lab.pair)

    def _clear(self) -> None:
        if self._forget is not None:
            self._forget.cancel()
            self._forget = None
        self._output.outputs = ()

    def start(self) -> None:
        """Do nothing: a click is what starts the work."""

    def finish(self) -> Any:
        """End what runs in the background."""
        if self._work is not None:
            self._work.cancel()
        if self._forget is not None:
            self._clear()

    def close(self) -> None:
        """Leave no widget in the front end or the kernel, and nothing on the loop."""
        if "_work" in self.__dict__:
            self.finish()
        close_tree(self)
