"""Which methods can learn from some data: asked before anything trains, so that nothing is lost at the
seventh.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sslcourse.data.datasets import Data, Samples
from sslcourse.methods import catalogue
from sslcourse.methods.spec import Spec, stated
from sslcourse.runtime.errors import CourseError
from sslcourse.train import features
from sslcourse.train.loop import fit

SAMPLES = 512  # that a trial sees, or a batch where that is more


def candidates(name: str, data: Data) -> tuple[str, ...]:
    """The methods that learn from such data, by what it is: pictures, films, or films with sound.

    Args:
        name: as `load` understands it.

    Raises:
        CourseError: no method of the course learns from it.
    """
    known = stated().values()
    if name == "movingdigits" or name in {spec.data for spec in known}:
        return catalogue.methods_for(name)
    kind, sound = data.train.kind, data.train.rate is not None
    found = tuple(
        spec.name
        for spec in known
        if (spec.data == "toybox") == (kind == "image") and kind != "audio" and (sound or not spec.hears)
    )
    if not found:
        raise CourseError(
            f"{data.name} has {kind} alone, from which no method of the course learns; ears are judged on "
            f"it by "
            f"sslcourse esc --data {name}"
        )
    return found


def fitting(
    names: Sequence[str] | None,
    name: str,
    data: Data,
    encoder: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    recipe: str = "course",
) -> tuple[list[Spec], dict[str, str]]:
    """The methods that are to be trained, and of those that are left out the reason, by their names.

    Each takes one step on a few of the samples and encodes them. What the course has data for is not tried.

    Args:
        names: those that were asked for; None for all that learn from such data.
        name, data: what `load` was given, and what it gave.
        encoder, epochs, batch_size, recipe: as for `compare.run`.

    Raises:
        CourseError: the data have no labels to be judged by, a method that was asked for does not fit, or
            none does.
    """
    if not data.train.labelled:
        raise CourseError(
            f"{name} has no labels, and a comparison needs some (of a folder of your own: one subfolder per "
            f"class). "
            f"To train without: sslcourse train simclr --data {name}"
        )
    wanted = [catalogue.spec(one) for one in (candidates(name, data) if names is None else names)]
    known = {spec.data for spec in stated().values()}
    fit_in: list[Spec] = []
    out: dict[str, str] = {}
    for spec in wanted:
        reason = None if name in known else _trial(spec, name, data, encoder, batch_size, recipe)
        if reason is None:
            fit_in.append(spec)
        else:
            out[spec.name] = reason
    if out and (names is not None or not fit_in):
        first = next(iter(out))
        raise CourseError(
            f"{name} is not for {', '.join(out)}. {first}: {out[first]}"
            + (f"; the others fit: {' '.join(spec.name for spec in fit_in)}" if fit_in else "")
        )
    return fit_in, out


def _trial(
    spec: Spec, name: str, data: Data, encoder: str | None, batch_size: int | None, recipe: str
) -> str | None:
    """Why a method cannot learn from these samples; None where it can."""
    how = spec.recipe(recipe).but(epochs=1, max_steps=1, **({"batch_size": batch_size} if batch_size else {}))
    samples = data.train
    if how.batch_size > len(samples):
        return (
            f"a batch of {how.batch_size} is more than the {len(samples)} training samples; pass "
            f"--batch-size "
            f"{max(2, 1 << (len(samples) // 4).bit_length())}"
        )
    few: Samples = samples.take(slice(0, max(how.batch_size, SAMPLES)))
    try:
        with torch.random.fork_rng(devices=[]):
            about = catalogue.describe(spec.name, name, len(data.classes), recipe, encoder, samples=samples)
            method = catalogue.build(about)
            fit(method, few, how)
            found = features.extract(method, few.take(slice(0, 2)))
    except CourseError as error:
        return str(error)
    except Exception as error:  # a network for larger pictures, and what else PyTorch may say
        return f"{type(error).__name__}: {error}"
    if found.ndim != 2:
        return "its features are dense, one vector for each place; it is judged by tracking"
    return None
