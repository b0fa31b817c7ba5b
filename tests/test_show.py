"""Every figure at the ends of its range: it draws, its words are there, its bytes are a small PNG, pyplot
stays out.
"""

import io
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from sslcourse import encoders, show
from sslcourse.evaluate import health
from sslcourse.methods.simclr import SimCLR
from sslcourse.runtime.errors import CourseError
from sslcourse.show import tables
from sslcourse.transforms import augment

CLASSES = ("sphere", "cube", "cylinder", "cone", "torus", "capsule", "octahedron", "cross", "link", "disc")


def words(figure) -> str:
    """All text of a figure: titles, labels, ticks, legends, annotations."""
    figure.canvas.draw()
    return "\n".join(
        t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text") and a.get_visible())
    )


def check(figure, *expected, most: int = 90_000, width: int = 830):
    data = show.png(figure)
    picture = Image.open(io.BytesIO(data))
    picture.load()
    assert picture.width <= width and 0 < len(data) < most
    for ground in ("#FFFFFF", "#111111"):
        seen = show.look.on_ground(np.asarray(picture.convert("RGBA")), ground)
        assert seen.std() > 1, f"an empty page on {ground}"
    assert picture.mode != "RGBA", "a palette is a third of the bytes"
    text = words(figure).replace("\n", " ")
    for e in expected:
        assert e in text, f"{e!r} is missing in {text!r}"
    return picture


def images(n, size=32, kind="uint8"):
    x = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8)
    return x if kind == "uint8" else x.float() / 255


@pytest.mark.parametrize(
    "n, size, kind", [(1, 8, "uint8"), (24, 32, "float"), (3, 256, "uint8"), (9, 64, "float")]
)
def test_grid(n, size, kind):
    frames = [["right", "wrong", None, "orange"][i % 4] for i in range(n)]
    check(
        show.grid(
            images(n, size, kind), titles=[f"word{i}" for i in range(n)], frame=frames, title="A title"
        ),
        "A title",
        "word0",
        f"word{n - 1}",
        "\u2713",
        most=400_000,
    )  # noise does not compress
    check(show.grid(images(n, size, kind)), most=400_000)


def test_grid_pixels_are_squares():
    x = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    x[0, 0, 1, 2] = 255
    pixels = np.asarray(Image.open(io.BytesIO(show.png(show.grid(x, scale=10)))).convert("RGB")).astype(int)
    red = (pixels[..., 0] > 200) & (pixels[..., 1] < 60)
    assert red.sum() == 100 and (red.any(1).sum(), red.any(0).sum()) == (10, 10)


def test_grid_asks_for_what_it_needs():
    for call, word in (
        (lambda: show.grid(torch.zeros(2, 5, 8, 8)), "shape"),
        (lambda: show.grid(images(2), titles=["a"]), "titles"),
        (lambda: show.grid(images(0)), "length 0"),
        (lambda: show.grid(torch.zeros(1, 3, 4, 4, dtype=torch.long)), "int64"),
    ):
        with pytest.raises(CourseError, match=word):
            call()


def test_views_shows_the_method_and_leaves_the_random_numbers_alone(toys):
    method = SimCLR(encoders.small_cnn(8))
    before = torch.get_rng_state()
    first = check(show.views(method, toys.train, n=6, draws=4), "image", "first", "second")
    assert torch.equal(before, torch.get_rng_state())
    again = check(show.views(method, toys.train, n=6, draws=4))
    other = check(show.views(method, toys.train, n=6, draws=4, seed=1))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    check(show.views(augment.simclr_view(), images(1), n=1, draws=1), "view", most=60_000)
    check(show.views(method, {"image": images(2), "index": torch.arange(2)}, n=9, draws=9), most=200_000)


def test_views_lays_out_patches_films_and_stacked_views():
    class Patches:
        def views(self, batch):
            x = batch["image"]
            return {
                "patches": x[:, None, :, :10, :10].expand(-1, 9, -1, -1, -1),
                "order": torch.zeros(len(x)),
                "turned": torch.cat([x, x.flip(3)]),
                "film": x[:, :, None].expand(-1, -1, 8, -1, -1),
            }

    check(show.views(Patches(), images(3), n=3, draws=4), "patches", "turned", "film", most=200_000)

    class Nothing:
        def views(self, batch):
            return {"numbers": torch.zeros(3, 5)}

    with pytest.raises(CourseError, match="numbers"):
        show.views(Nothing(), images(3))


def rows(n):
    return [{"epoch": i + 1, "loss": 4 - i / n, "kNN": 0.3 + 0.3 * i / n, "lr": 0.1} for i in range(n)]


@pytest.mark.parametrize("n", [1, 2, 200])
def test_history(n):
    check(
        show.history(
            rows(n),
            ("loss", "kNN"),
            title="A title",
            baselines={"kNN": {"chance": 0.1, "pixels": 0.43, "random": 0.44}},
        ),
        "A title",
        "loss",
        "kNN",
        "epoch",
        "chance",
        "pixels",
        "random",
    )
    check(show.history({"one": rows(n), "two": rows(n)}, "loss"), "one", "two")
    check(show.history(rows(n), (("loss", "kNN"),)), "kNN")


def test_history_names_what_it_has():
    with pytest.raises(CourseError, match="'accuracy'; the rows have epoch, loss, kNN"):
        show.history(rows(2), ("accuracy",))
    with pytest.raises(CourseError, match="no rows"):
        show.history([])


def test_labels_of_near_baselines_do_not_overlap():
    moved = show.charts._apart([0.43, 0.44, 0.1, 0.45], 0.05)
    assert np.diff(sorted(moved)).min() > 0.049 and abs(moved[2] - 0.1) < 1e-9


def test_bars():
    check(
        show.bars({"raw pixels": (0.43, 0.01), "SimCLR": 0.553, "nothing": 0.0}, title="Probe", chance=0.1),
        "43.0 \u00b1 1.0 %",
        "55.3 %",
        "0.0 %",
        "chance 10.0 %",
        "raw pixels",
        "Probe",
    )
    check(show.bars({"a": -3.4, "b": 12.0}, unit="ms"), "-3.40 ms", "12.0 ms")
    check(show.bars({f"method {i}": i / 20 for i in range(20)}), "method 19")
    for bad, word in (
        ({"a": 55.0}, "no share"),
        ({"a": math.nan}, "finite"),
        ({}, "nothing"),
        ({"a": "x"}, "finite"),
    ):
        with pytest.raises(CourseError, match=word):
            show.bars(bad)


def test_embedding():
    labels = torch.arange(40) % 10
    check(show.embedding(torch.randn(40, 2), labels, CLASSES, title="A map"), *CLASSES, "A map")
    check(show.embedding(torch.randn(40, 2), labels - 1, CLASSES), "unlabelled")
    check(
        show.embedding(
            {f"panel {i}": torch.randn(40, 2) for i in range(4)}, labels, CLASSES, images=images(40)
        ),
        "panel 0",
        "panel 3",
        most=200_000,
    )
    check(show.embedding(torch.zeros(1, 2), torch.zeros(1)), "0")  # one point; names made from numbers
    check(show.embedding(torch.randn(5000, 2), torch.arange(5000) % 10, CLASSES), "disc")
    with pytest.raises(CourseError, match=r"\(40, 2\)"):
        show.embedding({"a": torch.randn(40, 2), "b": torch.randn(40, 3)}, labels, CLASSES)
    with pytest.raises(CourseError, match="labels of shape"):
        show.embedding(torch.randn(40, 2), labels[:3], CLASSES)


def test_ten_classes_differ_in_colour_and_in_marker():
    assert len(set(show.COLOURS)) == len(set(show.MARKERS)) == 10


def test_neighbours_are_the_nearest_by_cosine():
    x, labels = images(12), torch.arange(12) % 3
    features = torch.nn.functional.one_hot(labels, 3).float() * torch.arange(1, 13)[
        :, None
    ] + 0.01 * torch.randn(12, 3)
    check(
        show.neighbours(features, x, 4, k=3, labels=labels, classes=CLASSES),
        "3 of 3 share",
        "cube",
        "\u2713",
        most=200_000,
    )
    check(
        show.neighbours({"one": features, "two": -features.flip(0)}, x, [0, -1], k=11),
        "one",
        "two",
        most=300_000,
    )
    for call, word in (
        (lambda: show.neighbours(features, x, 12), "query=12"),
        (lambda: show.neighbours(features, x, 0, k=12), "k=12"),
        (lambda: show.neighbours(features[:5], x, 0, k=2), "features of shape"),
    ):
        with pytest.raises(CourseError, match=word):
            call()


def test_filters():
    check(show.filters(encoders.small_cnn(8), title="First layer"), "First layer")
    check(show.filters(torch.rand(1, 1, 3, 3)))
    check(show.filters(torch.rand(96, 3, 11, 11)), most=300_000)


def test_factor_table():
    factors = [f"factor_{i}" for i in range(13)]
    table = {
        f"method {j}": {f: float(np.clip(0.1 * i, 0, 1)) for i, f in enumerate(factors)} for j in range(6)
    }
    table["with gaps"] = {"factor_0": math.nan, "factor_1": -0.001}
    check(
        show.factor_table(table, title="What is kept"),
        "What is kept",
        "method 5",
        "factor 12",
        "0.70",
        "1.00",
        "0.00",
        "kept",
    )
    check(show.factor_table({"one": {"hue": 1.0}}), "hue")
    with pytest.raises(CourseError):
        show.factor_table({})


def test_similarity_shows_the_loss_of_the_course():
    from sslcourse.methods.simclr import nt_xent

    for n, temperature in ((2, 0.01), (4, 0.5), (8, 10.0), (12, 0.2)):
        z1 = torch.randn(n, 6)
        z2 = z1 + 0.5 * torch.randn(n, 6)
        loss = float(nt_xent(z1.double(), z2.double(), temperature))
        check(
            show.similarity(z1, z2, temperature, [f"n{i}" for i in range(n)]),
            "cosine similarity",
            f"loss {loss:.2f}",
            "n0 a",
            "n1 b",
        )
    check(
        show.similarity(torch.zeros(2, 3), torch.zeros(2, 3), 1.0)
    )  # a vector without a direction must not end in NaN
    for bad, word in (
        ((torch.randn(13, 2), torch.randn(13, 2), 0.1), "2 to 12"),
        ((torch.randn(3, 2), torch.randn(3, 2), 0.0), "temperature"),
    ):
        with pytest.raises(CourseError, match=word):
            show.similarity(*bad)


def test_health_says_what_is_wrong():
    z = torch.randn(200, 32)
    good = health.diagnose(z).gauges()
    bad = health.diagnose(torch.ones(200, 32) + 1e-4 * z, z1=z[:50], z2=z[:50] + 1, loss=4.59).gauges()
    assert "LOOK" not in words(show.health(good))
    check(show.health(bad), "spread", "LOOK", "collapsed")
    check(show.health({"x": (math.inf, 0.0, 1.0, "infinite"), "y": (0.5, 0.0, 1.0, "")}), "infinite", "ok")


def test_curve():
    check(
        show.curve(
            [0.02, 0.1, 1],
            {"kNN": [(0.3, 0.02), (0.4, 0.01), None], "linear": [0.3, 0.4, 0.5]},
            "temperature",
            "accuracy",
            log=True,
            title="T",
        ),
        "temperature",
        "accuracy",
        "kNN",
        "linear",
        "0.02",
        "T",
    )
    check(
        show.curve(["crop only", "colour only"], {"": [0.3, 0.4]}, "views", "kNN"), "crop only", "colour only"
    )
    check(show.curve([1], {"a": [1.0]}, "x", "y"))
    for call, word in (
        (lambda: show.curve([0, 1], {"a": [1, 2]}, "x", "y", log=True), "logarithmic"),
        (lambda: show.curve([1, 2], {"a": [1]}, "x", "y"), "1 values for 2"),
        (lambda: show.curve([], {}, "x", "y"), "nothing"),
    ):
        with pytest.raises(CourseError, match=word):
            call()


def test_table():
    made = show.table(
        [
            {"features": "a|<b>", "kNN": 0.55341, "n": 12345, "ok": True},
            {"features": "c", "kNN": (0.1, 0.02), "n": None},
        ],
        caption="Results & more",
    )
    assert (
        repr(made).splitlines()[0] == "Results & more"
        and "12,345" in repr(made)
        and "0.100 \u00b1 0.020" in repr(made)
    )
    assert (
        "a&lt;b&gt;" not in made._repr_html_()
        and "a|&lt;b&gt;" in made._repr_html_()
        and "Results &amp; more" in made._repr_html_()
    )
    assert "a\\|<b>" in made._repr_markdown_() and "yes" in repr(made)
    assert "color:inherit" in made._repr_html_() and "background:transparent" in made._repr_html_()
    assert repr(show.table([{"a": 1, "b": 2}], columns=["b"])).split() == ["b", "-", "2"]
    assert repr(show.table([])) is not None
    with pytest.raises(CourseError, match="'c'; the rows have a, b"):
        show.table([{"a": 1, "b": 2}], columns=["c"])


def test_a_table_finds_its_columns_by_name_whatever_the_keys_are():
    """Keys that are no text, such as places 1, 2, 3, head a column with their text and lose no value."""
    rows = [{"": "expected", 1: "a", 2: "b"}]
    rows += [{"": "measured", 2: "d", 1: "c", None: "e", 0.5: "f", ("x", 1): "g"}]
    made = show.table(rows)
    cells = [line.split("|")[1:-1] for line in made._repr_markdown_().splitlines()]
    names, values = [c.strip() for c in cells[0]], [c.strip() for c in cells[3]]
    assert dict(zip(names, values)) == {str(k): v for k, v in rows[1].items()}
    assert all(f">{v}</td>" in made._repr_html_() for v in rows[1].values()) and "c" in repr(made)
    assert show.table(rows, columns=[2, 1]).columns == ["2", "1"]
    assert (
        "b" in repr(show.table(rows, columns=[2]))
        and "a" not in repr(show.table(rows, columns=["2"])).split()
    )
    with pytest.raises(CourseError, match="no row has '3'"):
        show.table(rows, columns=[3])
    with pytest.raises(CourseError, match="two columns of a row are called '1'"):
        show.table([{1: "a", "1": "b"}])


def test_numbers_are_written_with_three_figures():
    assert [tables.number_text(v) for v in (0.5534, 5.534, 55.34, 553.4, 5534.0, 5534, 0.0, 1e-5)] == [
        "0.553",
        "5.53",
        "55.3",
        "553",
        "5,534",
        "5,534",
        "0.000",
        "1.0e-05",
    ]


def test_a_figure_shows_itself_without_pyplot_whatever_style_is_set():
    code = """
import sys, matplotlib, torch
from sslcourse import show
matplotlib.rcParams["figure.facecolor"] = matplotlib.rcParams["axes.facecolor"] = "black"
matplotlib.rcParams["text.color"] = "white"
keys = ("figure.facecolor", "axes.facecolor", "text.color", "font.size", "axes.prop_cycle")
before = [matplotlib.rcParams[k] for k in keys]
from IPython.core.formatters import DisplayFormatter
figure = show.bars({"a": 0.5})
data, _ = DisplayFormatter().format(figure)
assert data["image/png"] and "0x" not in data["text/plain"], data
import io, numpy
from PIL import Image
assert numpy.asarray(Image.open(io.BytesIO(show.png(figure))).convert("RGBA"))[2, 2, 3] == 0
assert [matplotlib.rcParams[k] for k in keys] == before
show.grid(torch.rand(2, 3, 8, 8)); show.history([{"epoch": 1, "loss": 1.0}])
show.embedding(torch.rand(5, 2), torch.zeros(5))
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_figures_can_be_drawn_from_several_threads():
    from concurrent.futures import ThreadPoolExecutor

    def draw(i):
        return show.png(show.bars({"$a_1$": 0.5, "b": (0.2, 0.1)}, title=r"$\tau$", chance=0.1))

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(draw, range(12)))
    assert len(set(made)) == 1
