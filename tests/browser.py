"""A real JupyterLab and a real browser for tests: `lab` (a server on copies), `page`, `open_and_run`.

    from browser import lab, open_and_run, page  # noqa: F401 (fixtures)

    @pytest.mark.browser
    def test_lesson(page, lab):
        open_and_run(page, lab, "notebooks/01_simclr.ipynb", timeout_s=180)
        assert page.external == [] and page.errors == []

Where Chromium or playwright is missing tests are skipped; with SSLCOURSE_REQUIRE_BROWSER=1 they fail instead.
`SSLCOURSE_CHROMIUM` names another browser, `SSLCOURSE_SCREENSHOTS` a folder that keeps all screenshots.
"""

import base64
import contextlib
import dataclasses
import functools
import http.server
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

CHROMIUM = (
    os.environ.get("SSLCOURSE_CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
]
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},  # every cell is in the page
    "@jupyterlab/apputils-extension/notification": {"checkForUpdates": False, "fetchNews": "false"},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}
NOTEBOOK = "window.jupyterapp.shell.currentWidget"


def need(reason: str) -> None:
    """Skip, or fail where a browser is required."""
    if os.environ.get("SSLCOURSE_REQUIRE_BROWSER") == "1":
        pytest.fail(f"SSLCOURSE_REQUIRE_BROWSER=1, but {reason}")
    pytest.skip(reason)


@dataclasses.dataclass
class Lab:
    """A running server: its address, its token, and the folder it shows."""

    url: str
    token: str
    root: pathlib.Path
    log: pathlib.Path

    def _asked(self, path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(
            f"{self.url}/api/{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.read()

    def kernels(self) -> list[str]:
        return [kernel["id"] for kernel in json.loads(self._asked("kernels"))]

    def end_kernels(self) -> None:
        """A kernel outlives its page. Those of sixteen lessons would fill the memory of a machine of 24 GB,
        and nothing moves any more.
        """
        for kernel in self.kernels():
            with contextlib.suppress(urllib.error.HTTPError):  # it may have ended by itself
                self._asked(f"kernels/{kernel}", "DELETE")
        assert self.kernels() == []


def _start(folder: pathlib.Path) -> tuple[subprocess.Popen, Lab]:
    root = folder / "notebooks"
    root.mkdir(parents=True)
    for name, value in SETTINGS.items():
        path = folder / "settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    token, log = secrets.token_hex(16), folder / "server.log"
    # Settings, workspaces and history of the reader stay out of the test, and the test out of them.
    env = {
        **os.environ,
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    env.pop("SSLCOURSE_DISPLAY", None)  # the other tests are silent; here the panel should be seen
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={root}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    with log.open("w") as file:
        process = subprocess.Popen(command, env=env, stdout=file, stderr=file, start_new_session=True)
    lab, end = Lab(f"http://127.0.0.1:{port}", token, root, log), time.time() + 90
    while time.time() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{lab.url}/api/status?token={token}", timeout=1).close()
            return process, lab
        time.sleep(0.25)
    _stop(process)
    raise RuntimeError("JupyterLab did not start:\n" + log.read_text()[-2000:])


def _stop(process: subprocess.Popen) -> None:
    """End the server and, with its process group, the kernels."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """JupyterLab on a folder of its own. Another process may take the free port first: then try once more."""
    if not CHROMIUM:
        need("no Chromium was found (Debian: apt-get install chromium)")
    for module in ("playwright", "jupyterlab"):
        try:
            __import__(module)
        except ImportError:
            need(f"{module} is not installed")
    try:
        process, started = _start(tmp_path_factory.mktemp("lab"))
    except RuntimeError:
        process, started = _start(tmp_path_factory.mktemp("lab"))
    yield started
    _stop(process)


def _watched(browser, allowed: tuple[str, ...]):
    """A new page of a browser that reaches only the addresses that begin with one of `allowed`; anything else
    is refused and
    kept in `page.external`, what the console calls an error in `page.errors`."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.external, page.errors = [], []

    def route(request):
        address = request.request.url
        if address.startswith((*allowed, "blob:", "data:", "about:")):
            request.continue_()
        else:
            page.external.append(address)
            request.abort()

    page.route("**/*", route)
    page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: page.errors.append(str(e)))
    return page


@contextlib.contextmanager
def browser_page(allowed: tuple[str, ...] = (), beside=None):
    """A page in Chromium that reaches only what is allowed, see `_watched`; in the browser of the page
    `beside`, where one is open already.
    """
    if beside is not None:
        page = _watched(beside.context.browser, allowed)
        try:
            yield page
        finally:
            page.close()
        return
    if not CHROMIUM:
        need("no Chromium was found (Debian: apt-get install chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        need("playwright is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield _watched(browser, allowed)
        finally:
            browser.close()


@pytest.fixture()
def page(lab):
    """A page that can reach the test's JupyterLab and nothing else."""
    with browser_page((lab.url,)) as opened:
        yield opened
    lab.end_kernels()


@pytest.fixture()
def blank_page():
    """An empty page that can reach nothing: for a view's JavaScript alone."""
    with browser_page() as opened:
        opened.goto("about:blank")
        yield opened


# An anywidget model in a few lines. What a view sends is kept in window.sent and window.saved; what it adds
# to the page is counted.
HOST = """
async ([script, traits, binary]) => {
  const listeners = new Map();
  const decode = (s) => new DataView(Uint8Array.from(atob(s), (c) => c.charCodeAt(0)).buffer);
  const values = { ...traits };
  for (const [name, data] of Object.entries(binary)) values[name] = decode(data);
  window.sent = []; window.saved = [];
  const dirty = {};
  const model = {
    get: (name) => values[name],
    set: (name, value) => { values[name] = value; dirty[name] = value;
        (listeners.get('change:' + name) || new Set()).forEach((f) => f()); },
    on: (name, f) => { if (!listeners.has(name)) listeners.set(name, new Set());
        listeners.get(name).add(f); },
    off: (name, f) => { listeners.get(name)?.delete(f); },
    send: (message) => { window.sent.push(message) },
    save_changes: () => { window.saved.push({ ...dirty }); for (const k in dirty) delete dirty[k]; },
  };
  if (window.alive === undefined) {
    window.alive = 0;
    const proto = EventTarget.prototype, add = proto.addEventListener, remove = proto.removeEventListener;
    proto.addEventListener = function (...a) { if (this instanceof Element) window.alive++;
        return add.apply(this, a); };
    proto.removeEventListener = function (...a) { if (this instanceof Element) window.alive--;
        return remove.apply(this, a); };
  }
  const module = await import(URL.createObjectURL(new Blob([script], { type: 'text/javascript' })));
  const el = document.createElement('div'); document.body.append(el);
  window.model = model; window.listeners = listeners; window.el = el;
  window.cleanup = await module.default.render({ model, el });
}
"""


def host_view(page, view) -> None:
    """Render one of our views in a page without Jupyter. Leaves `model`, `cleanup`, `sent`, `saved`, `alive`
    and `el` on window.
    """
    own = set(view.class_own_traits()) | {
        name
        for c in type(view).__mro__
        if c.__module__.startswith("sslcourse")
        for name in c.class_own_traits()
    }
    state = {
        name: value for name, value in view.get_state().items() if name in own and not name.startswith("_")
    }
    binary = {
        name: base64.b64encode(bytes(v)).decode()
        for name, v in state.items()
        if isinstance(v, (bytes, bytearray, memoryview))
    }
    page.evaluate(HOST, [view._esm, {k: v for k, v in state.items() if k not in binary}, binary])


def open_and_run(page, lab: Lab, notebook, timeout_s: float = 180) -> None:
    """Open a copy of a notebook, run all its cells and wait until every one has finished.

    Args:
        notebook: a path to a notebook, which is copied to the server's folder, or a name that is already
            there.
        timeout_s: for all cells together. An error in a cell fails at once, with its text.
    """
    path = pathlib.Path(notebook)
    if path.exists():
        content = json.loads(path.read_text(encoding="utf-8"))
        # Without a kernel's name JupyterLab would ask which one to start, and wait for an answer.
        content["metadata"].setdefault(
            "kernelspec", {"name": "python3", "display_name": "Python 3", "language": "python"}
        )
        (lab.root / path.name).write_text(json.dumps(content), encoding="utf-8")
    page.goto(f"{lab.url}/doc/tree/{path.name}?token={lab.token}&reset")
    page.wait_for_function(
        f"() => window.jupyterapp && {NOTEBOOK}?.context?.isReady && {NOTEBOOK}.sessionContext.isReady"
        f" && {NOTEBOOK}.sessionContext.session?.kernel?.status === 'idle'",
        timeout=120_000,
    )
    # Stored outputs are cleared, so that what is seen was made now. Braces: returning the promise would await
    # all cells.
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs') }")
    page.wait_for_function(f"""() => {{ const cells = {NOTEBOOK}.content.model.cells;
        for (let i = 0; i < cells.length; i++)
            if (cells.get(i).type === 'code' && cells.get(i).executionCount !== null) return false;
        return true; }}""")
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
    # Execution counts and not the kernel's status: with subshells it reads "idle" while a cell still runs.
    page.wait_for_function(
        f"""() => {{ const cells = {NOTEBOOK}.content.model.cells; let busy = false;
        for (let i = 0; i < cells.length; i++) {{ const c = cells.get(i);
            if (c.type !== 'code' || !c.sharedModel.source.trim()) continue;
            for (let j = 0; j < c.outputs.length; j++) if (c.outputs.get(j).type === 'error'
                && !(c.getMetadata('tags') || []).includes('raises-exception'))
                throw new Error(`cell ${{i}}: ` + c.outputs.get(j).toJSON().evalue);
            busy = busy || c.executionCount === null; }} return !busy }}""",
        timeout=timeout_s * 1000,
    )


def wait_change(page, expression: str, old, timeout_s: float = 20):
    """Wait until a JavaScript expression is no longer `old`; return its new value."""
    page.wait_for_function(f"(old) => ({expression}) !== old", arg=old, timeout=timeout_s * 1000)
    return page.evaluate(f"() => {expression}")


def use_theme(page, dark: bool) -> None:
    """Switch JupyterLab to its dark or light theme and wait until it is there."""
    name = "JupyterLab Dark" if dark else "JupyterLab Light"
    page.evaluate(
        f"() => {{ window.jupyterapp.commands.execute('apputils:change-theme', {{theme: '{name}'}}) }}"
    )
    page.wait_for_function(
        f"() => document.body.dataset.jpThemeLight === '{'false' if dark else 'true'}'", timeout=20_000
    )
    page.wait_for_timeout(600)  # style sheets load after the mark is set


PICTURES = os.environ.get("SSLCOURSE_SCREENSHOTS")


def keep(page, path: pathlib.Path, **kwargs) -> None:
    """A screenshot of a page or of one element, under the name of `path`, where SSLCOURSE_SCREENSHOTS names a
    folder. No test reads it.
    """
    if PICTURES:
        pathlib.Path(PICTURES).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(pathlib.Path(PICTURES) / path.name), **kwargs)


@pytest.fixture(scope="session")
def site():
    """The module that makes lessons into pages."""
    folder = pathlib.Path(__file__).resolve().parents[1] / "docs"
    sys.path.insert(0, str(folder))
    import lesson_pages

    yield lesson_pages
    sys.path.remove(str(folder))


def move_explorer(page, explorer) -> None:
    """Its first slider from one end to the other; where it has none, the last option of its last choice."""
    sliders, choices = explorer.locator("input[type=range]"), explorer.locator("select")
    if sliders.count():
        sliders.first.focus()
        page.keyboard.press("End")
        page.keyboard.press("Home")
    else:
        last = choices.last
        last.select_option(index=last.locator("option").count() - 1)


def _change_theme(page) -> None:
    """From light to dark or back: by the page's own button, where it has one, else as that button does it."""
    button, theme = page.locator(".theme-toggle:visible").first, "() => document.body.dataset.theme"
    before = page.evaluate(theme)
    if button.count():
        button.click()
    else:
        page.evaluate("() => { document.body.dataset.theme = 'dark' }")
    assert page.evaluate(theme) != before


def use_page(
    file: pathlib.Path, folder: pathlib.Path, beside=None, root: pathlib.Path | None = None, drive=None
) -> int:
    """Open a page of the site from disk and over http: views answer, both themes, nothing from outside, no
    error. Returns how many views.

    Args:
        folder: where a picture of the page is kept.
        beside: a page that is open already; its browser is used.
        root: the site's folder; by default the page's own.
        drive: called with the page that came over http, before it is judged: what else its views should do.
    """
    root = root or file.parent
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(root))
    handler.log_message = lambda *a: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        served = f"http://127.0.0.1:{server.server_port}"
        for address in (file.as_uri(), f"{served}/{file.relative_to(root).as_posix()}"):
            with browser_page((root.as_uri(), served), beside) as page:
                page.goto(address)
                count = page.locator("[data-view]").count()
                if count:
                    page.wait_for_function(
                        "() => document.documentElement.dataset.views === 'ready'", timeout=60_000
                    )
                    assert (
                        page.locator(".ssl-view").count() >= count
                        and page.locator(".ssl-place > img").count() == 0
                    )
                replay = page.locator(".ssl-replay").first
                if replay.count():
                    replay.focus()
                    page.keyboard.press("End")
                    before = replay.get_attribute("data-frame")
                    page.keyboard.press("ArrowLeft")
                    assert replay.get_attribute("data-frame") == str(int(before) - 1)
                explorer = page.locator(".ssl-explorer").first
                if explorer.count():
                    before = int(explorer.get_attribute("data-draws"))
                    move_explorer(page, explorer)
                    assert int(explorer.get_attribute("data-draws")) > before
                if drive and address.startswith("http"):
                    drive(page)
                _change_theme(page)
                if address.startswith("file"):
                    keep(page, folder / f"site-{file.stem}.png", full_page=True)
                assert page.external == [], page.external
                assert page.errors == [], page.errors
        server.shutdown()
    return count
