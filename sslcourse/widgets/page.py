"""Views on pages without a kernel: one file that opens anywhere, offline.

    panel.replay.page("training.html")

The page carries the view's script and state and a few lines that play the part of the notebook. Nothing is loaded from elsewhere.
"""

from __future__ import annotations

import base64
import html
import json
import pathlib

from sslcourse import common
from sslcourse.widgets import views


def state(view: views.View) -> dict:
    """Everything of a view that a page needs: {"script", "traits", "binary"}, plain JSON."""
    view.for_page()
    own = {name for c in type(view).__mro__ if c.__module__.startswith("sslcourse") for name in c.class_own_traits() if not name.startswith("_")}
    values = {name: value for name, value in view.get_state().items() if name in own}
    binary = {n: base64.b64encode(bytes(v)).decode() for n, v in values.items() if isinstance(v, (bytes, bytearray, memoryview))}
    return {"script": view.script_name, "traits": {n: v for n, v in values.items() if n not in binary}, "binary": binary}


def _json(value) -> str:
    """JSON that can stand inside a script element: no "</" can end it early."""
    return json.dumps(value).replace("</", "<\\/")


def place(key: str, png: str, name: str) -> str:
    """Where a view stands in a page: until scripts have run, and where none run, its picture."""
    return (f'<div class="ssl-place" data-view="{html.escape(key)}"><img alt="{html.escape(name)}" style="max-width:100%" '
            f'src="data:image/png;base64,{png}"></div>')  # fmt: skip


def scripts(states: dict[str, dict]) -> str:
    """The script elements of a page that shows these views: each script once, each state, and the host."""
    names = sorted({s["script"] for s in states.values()})
    parts = [f'<script type="application/json" data-script="{n}">{_json(views.script(n))}</script>' for n in names]
    parts += [f'<script type="application/json" data-state="{html.escape(k)}">{_json(s)}</script>' for k, s in states.items()]
    host = (pathlib.Path(__file__).parent / "static" / "host.js").read_text(encoding="utf-8")
    return "\n".join([*parts, f"<script>{host}</script>"])


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<style>:root {{ color-scheme: light dark; }} body {{ font-family: system-ui, sans-serif; margin: 16px; }}</style></head>
<body>{body}
{scripts}
</body></html>
"""


def write(view: views.View, path, title: str = "") -> pathlib.Path:
    """One view as a page of its own, whole or not at all. Returns the path."""
    path = pathlib.Path(path)
    path = path if path.suffix in (".html", ".htm") else path.with_name(path.name + ".html")
    # Its picture first: drawing all that a page needs may take the view to another state.
    body = place("view", view._stored(), repr(view))
    text = PAGE.format(title=html.escape(title or repr(view).strip("<>")), body=body, scripts=scripts({"view": state(view)}))
    with common.atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def collect(path) -> int:
    """The states of all views that this process has made, by model id, as one JSON file: what `make site` runs at a notebook's end."""
    found = {view.model_id: state(view) for view in views.alive()}
    with common.atomic(path) as temporary:
        temporary.write_text(json.dumps(found), encoding="utf-8")
    return len(found)
