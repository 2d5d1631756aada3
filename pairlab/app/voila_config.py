"""Configuration of the Voila server: the page's template, title, theme and restrictions."""

from __future__ import annotations

import logging
import os
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from nbformat.sign import MemorySignatureStore

from pairlab.app.app import AppOptions, PageQuery
from pairlab.app.board_app import is_board_app
from pairlab.app.visitor_kernels import PING_SETTINGS, VisitorKernels
from pairlab.widgets.style.theme import DARK, theme_css

__all__ = ["prepare_page", "voila_settings"]

_ROOT: Final = Path(str(files("pairlab.app"))) / "template"
"""A Jupyter data folder: Voila finds ``voila/templates/pairlab`` in it."""

_EXTENSIONS: Final = (
    "@voila-dashboards/widgets-manager8", "@jupyter-widgets/jupyterlab-manager", "anywidget",
    "bqplot", "bqscales",
)  # fmt: skip
"""Front-end extensions that the page needs; no other installed extension is loaded."""

_ICON: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
    f'<rect width="16" height="16" rx="3" fill="{DARK.panel}"/>'
    '<g fill="none" stroke-width="1.8" stroke-linejoin="round" stroke-linecap="round">'
    f'<path d="M2 11 5.5 6.5 8.5 9 14 3.5" stroke="{DARK.y}"/>'
    f'<path d="M2 13 6 9.5 9.5 11.5 14 8" stroke="{DARK.x}"/></g></svg>'
)


def voila_settings() -> dict[str, Any]:
    """Return Voila's configuration for the app, and add the app's template to its search path.

    The query of a page cannot choose Voila's own template and theme, whose names would be inserted
    into the page. `prepare_page` reads what it can choose.
    """
    search_path = os.environ.get("JUPYTER_PATH", "")
    if str(_ROOT) not in search_path.split(os.pathsep):
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(_ROOT), search_path]))
    icon = f"data:image/svg+xml,{quote(_ICON)}"
    return {
        "Voila": {
            "config_file_paths": [],  # another app's options could lift the restrictions below
            "log_level": logging.ERROR,
            "tornado_settings": dict(PING_SETTINGS),
        },
        # In memory: nothing of the app needs a home folder that can be written.
        "NotebookNotary": {"secret": os.urandom(64), "store_factory": MemorySignatureStore},
        "VoilaConfiguration": {
            "multi_kernel_manager_class": VisitorKernels,
            "template": "pairlab",
            "theme": "dark",
            "allow_template_override": "NO",
            "allow_theme_override": "NOTEBOOK",
            "extension_allowlist": list(_EXTENSIONS),
            "prelaunch_hook": prepare_page,
            "resources": {"pairlab": {"css": theme_css(), "icon": icon}},
        },
        "VoilaExecutor": {
            "cell_error_instruction": "The reason is printed in the terminal that runs pairlab.",
        },
    }


def prepare_page(handler: Any, notebook: Any, cwd: str) -> None:
    """Set a page's title and theme before it is sent, and the cookie with which it ends its kernel.

    Parameters
    ----------
    handler : tornado.web.RequestHandler
        Handles the page's request.
    notebook : nbformat.NotebookNode
        The notebook; a copy of this request's own.
    cwd : str
        Folder of the notebook.
    """
    # Reading it sets the cookie that a closing page must send; without it the server refuses to
    # end the page's kernel, and every visit would leave one running.
    _ = handler.xsrf_token
    query = PageQuery.read(handler.request.query, AppOptions.from_environment(os.environ))
    shown = "Board" if is_board_app() else f"{query.y} / {query.x}"
    notebook.metadata["title"] = f"{shown} · pairlab"
    notebook.metadata["voila"] = {"theme": "light" if query.theme == "light" else "dark"}
