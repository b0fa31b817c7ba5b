"""The drawn diagrams: their shapes are those that the methods really pass on, and their boxes do not
overlap.
"""

import re
import xml.etree.ElementTree as ElementTree

import pytest
import torch

from sslcourse import show
from sslcourse.data import toybox
from sslcourse.methods import catalogue
from sslcourse.runtime.errors import CourseError

B = 8
SMALL = {
    "toybox": lambda: toybox.images(128, 8, 8),
    "toyvideos": lambda: toybox.videos(16, 8, 8),
    "toytracks": lambda: toybox.tracks(16, 8, 8),
    "toyscenes": lambda: toybox.events(16, 8, 8, seconds=3),
    "toyevents": lambda: toybox.events(64, 8, 8),
}
SHAPE = re.compile(r"\((\d*B,[^)]*)\)")


def shape(label):
    """The shape that a label names, with B filled in; None where it names none."""
    found = SHAPE.search(label)
    if not found:
        return None
    parts = [p.strip() for p in found[1].split(",") if p.strip()]
    return tuple(int(p[:-1] or 1) * B if p.endswith("B") else int(p) for p in parts)


def passed_on(name):
    """What every part of a method takes and gives in one step: part -> set of shapes taken, set given."""
    spec = catalogue.spec(name)
    data = SMALL[spec.data]()
    about = catalogue.describe(name, spec.data, len(data.classes))
    if name == "moco":  # drawn in the paper's one direction; both are the same twice
        about["settings"].update(symmetric=False, own_keys=False)
    method = catalogue.build(about)
    part = data.train.unlabelled()
    found = {}

    def note(path):
        def hook(_, taken, given):
            tensors = [t for t in taken if isinstance(t, torch.Tensor)]
            inside, outside = found.setdefault(path, (set(), set()))
            inside.update(tuple(t.shape) for t in tensors)
            outside.add(tuple(given.shape) if isinstance(given, torch.Tensor) else None)

        return hook

    method.train()
    if hasattr(method, "assigned"):  # it clusters before it learns
        method.before_epoch(0.0, part, {})
    for path, module in method.named_modules():
        module.register_forward_hook(note(path))
    method.loss(next(iter(part.batches(B))))
    return found


DRAWN = [n for n in catalogue.NAMES if n in show.DIAGRAMS]


def test_every_method_of_a_paper_is_drawn():
    assert set(catalogue.NAMES) - set(DRAWN) == {"supervised"}
    assert {"gan", "sdc", "mdc", "cdc"} <= set(show.DIAGRAMS)


@pytest.mark.parametrize("name", [n for n in DRAWN if any(b.module for b in show.DIAGRAMS[n].boxes.values())])
def test_shapes_are_those_of_the_method(name):
    drawn, found, compared = show.diagram(name), passed_on(name), 0
    for key, box in drawn.boxes.items():
        if not box.module:
            continue
        assert box.module in found, f"{name} has no part {box.module!r} that is run"
        taken, given = found[box.module]
        for arrow in drawn.arrows:
            if arrow.end == key and shape(arrow.label):
                assert shape(arrow.label) in taken, f"into {box.text}: {arrow.label}, in truth {taken}"
                compared += 1
            if arrow.start == key and shape(arrow.label):
                assert shape(arrow.label) in given, f"out of {box.text}: {arrow.label}, in truth {given}"
                compared += 1
    assert compared or name == "video_lstm"  # its arrows carry states


@pytest.mark.parametrize("name", show.DIAGRAMS)
def test_a_diagram_is_a_picture_that_can_be_read(name):
    drawn = show.diagram(name)
    root = ElementTree.fromstring(drawn.svg())
    space = "{http://www.w3.org/2000/svg}"
    width, height = map(float, root.get("viewBox").split()[2:])
    assert width < 1100, "wider than a page"
    rects = [tuple(float(r.get(k)) for k in ("x", "y", "width", "height")) for r in root.iter(f"{space}rect")]
    assert len(rects) == len(drawn.boxes)
    for i, (x, y, w, h) in enumerate(rects):
        assert x >= 0 and y >= 20 and x + w <= width and y + h <= height
        for other in rects[i + 1 :]:
            apart = (
                x + w <= other[0] or other[0] + other[2] <= x or y + h <= other[1] or other[1] + other[3] <= y
            )
            assert apart, "two boxes overlap"
    ends = {e for a in drawn.arrows for e in (a.start, a.end)}
    assert ends == set(drawn.boxes), "a box that no arrow reaches, or an arrow to nowhere"
    inks = set(re.findall(r"(?:fill|stroke)='(#\w+|currentColor|none)'", drawn.svg()))
    assert inks <= {"currentColor", "none", "#4C8BF5", "#E8871E"}, "an ink that a dark page swallows"


def test_the_four_of_xdc_differ_in_whose_clusters_are_learned():
    def learned(name):
        boxes = show.diagram(name).boxes
        return {
            (boxes[a.start].below, boxes[a.end].text)
            for a in show.diagram(name).arrows
            if a.start[:2] == "k "
        }

    own = {("of what the eye sees", "heads of the eye"), ("of what the ear hears", "heads of the ear")}
    cross = {("of what the ear hears", "heads of the eye"), ("of what the eye sees", "heads of the ear")}
    assert learned("sdc") == own and learned("xdc") == cross and learned("mdc") == own | cross
    assert {start for start, _ in learned("cdc")} == {"of both side by side"}


def test_a_diagram_is_saved_and_asked_for_by_name(tmp_path):
    path = show.diagram("byol").save(tmp_path / "byol.svg")
    assert ElementTree.parse(path).getroot().tag.endswith("svg")
    with pytest.raises(CourseError, match=r"\.svg"):
        show.diagram("byol").save(tmp_path / "byol.png")
    with pytest.raises(CourseError, match="byol"):
        show.diagram("bylo")
    assert "predictor q -> 2 - 2 cos" in repr(show.diagram("byol"))
    both = show.diagram("byol", "moco")
    assert [d.name for d in both] == ["byol", "moco"] and both._repr_html_().count("<svg") == 2
    with pytest.raises(CourseError, match="mocco"):
        show.diagram("byol", "mocco")
