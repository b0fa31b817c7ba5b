"""No exercise accepts answers that do not compute: input ignored, order changed, answers of another seed
recited, constants, the first row for all.
"""

import attacks
import pytest
import torch

from sslcourse import check
from sslcourse.check import engine

QUICK = set(
    "avts.contrastive avts.cut avts.judged bigan.discriminator_loss bigan.generator_encoder_loss "
    "byol.update_target clip.classify clusters.nmi colorization.copy_loss colorization.pointer dpc.kinds "
    "jigsaw.permutation_set moco.enqueue museum.gather tracking.region video_lstm.targets xdc.cluster_loss "
    "xdc.whose".split()
)


def marked(names):
    return [pytest.param(n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in names]


@pytest.mark.parametrize("name", marked(check.EXERCISES))
def test_answers_that_compute_nothing_are_rejected(name):
    let_through, tried = attacks.accepted(name)
    assert let_through == [] and tried >= 8


def test_what_is_right_all_the_same_is_no_attack():
    """The mean of a loss over pairs does not depend on their order; the order of one side does matter."""
    name = "simclr.nt_xent"
    calls = attacks.recorded(name, 1)
    both = attacks.changed_input(name, attacks.flipped, None)
    one = attacks.changed_input(name, attacks.flipped, 0)
    assert not attacks.answers_otherwise(both, calls) and attacks.answers_otherwise(one, calls)
    assert engine.examine(name, both, 1).verdict == "correct"


def test_a_checker_with_fixed_inputs_is_found_out(monkeypatch):
    """What the attacks are for: the same questions at every seed are answered by heart."""

    def properties(f):
        for x in (torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])):
            if float(f(x)) != float(x.sum()):
                raise engine.NotYet("the sum", float(x.sum()), float(f(x)))

    fixed = engine.Exercise("test.fixed", torch.sum, properties, (), lambda f, g: False, ("",))
    monkeypatch.setitem(check.EXERCISES, "test.fixed", fixed)
    let_through, _ = attacks.accepted("test.fixed")
    assert let_through == ["answers of another seed", "inputs of another seed"]
