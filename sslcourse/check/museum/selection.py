"""Exhibit: choosing the best epoch on the test split."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from sslcourse.check.museum.engine import Exhibit
from sslcourse.check.museum.exercises import assert_true, exercise_of, general_mistakes, misses, rejects

# --------------------------------------------------------------------------------------- 4. selection on test


def _report_best(validation: Tensor, test: Tensor) -> tuple[int, float]:
    epoch = int(validation.argmax())
    return epoch, float(test[epoch])


def _report_latest_best(validation: Tensor, test: Tensor) -> tuple[int, float]:
    epoch = max(e for e in range(len(validation)) if validation[e] == validation.max())
    return epoch, float(test[epoch])


def _report_patient(validation: Tensor, test: Tensor, patience: int = 3) -> tuple[int, float]:
    best = 0
    for epoch in range(len(validation)):
        if validation[epoch] > validation[best]:
            best = epoch
        if epoch - best >= patience:
            break
    return best, float(test[best])


def _report_smoothed(validation: Tensor, test: Tensor) -> tuple[int, float]:
    padded = torch.cat([validation[:1], validation, validation[-1:]])
    epoch = int(padded.unfold(0, 3, 1).mean(1).argmax())
    return epoch, float(test[epoch])


def _report_last(validation: Tensor, test: Tensor) -> tuple[int, float]:
    return len(test) - 1, float(test[-1])


def _report_best_on_test(validation: Tensor, test: Tensor) -> tuple[int, float]:
    epoch = int(test.argmax())
    return epoch, float(test[epoch])


def _report_best_on_both(validation: Tensor, test: Tensor) -> tuple[int, float]:
    epoch = int((validation + test).argmax())
    return epoch, float(test[epoch])


def _report_the_highest(validation: Tensor, test: Tensor) -> tuple[int, float]:
    return int(validation.argmax()), float(test.max())


def _report_ties_by_test(validation: Tensor, test: Tensor) -> tuple[int, float]:
    epoch = max(range(len(test)), key=lambda e: (float(validation[e]), float(test[e])))
    return epoch, float(test[epoch])


def _report_among_three(validation: Tensor, test: Tensor) -> tuple[int, float]:
    short_list = validation.topk(min(3, len(validation))).indices
    epoch = int(short_list[test[short_list].argmax()])
    return epoch, float(test[epoch])


SELECTION = Exhibit(
    "museum.selection",
    "selection on the test split",
    right={
        "the best epoch": _report_best,
        "the latest of the best": _report_latest_best,
        "stops when patience ends": _report_patient,
        "the best of a running mean": _report_smoothed,
        "the last epoch": _report_last,
    },
    bugs={
        "the best on test": _report_best_on_test,
        "the best on both": _report_best_on_both,
        "the highest test score": _report_the_highest,
        "ties broken by test": _report_ties_by_test,
        "test decides among three": _report_among_three,
    },
)


def test_selection(report: Callable) -> None:
    """Another test split changes the score and never the choice; and the score is that of the chosen
    epoch.
    """
    for _ in range(30):
        validation = torch.randint(0, 5, (12,)) / 5  # with ties, as accuracies have them
        chosen = set()
        for test in torch.rand(4, 12):
            epoch, score = report(validation, test)
            chosen.add(int(epoch))
            assert abs(float(score) - float(test[epoch])) < 1e-6, (
                f"epoch {epoch} scored {float(test[epoch]):.3f}, reported is {float(score):.3f}"
            )
        assert len(chosen) == 1, f"with other test scores another epoch is chosen: {sorted(chosen)}"


def _tables(ties: bool, count: int = 30, epochs: int = 12) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    for _ in range(count):
        validation = torch.randint(0, 5, (epochs,)) / 5 if ties else torch.randperm(epochs) / epochs
        yield validation, torch.rand(epochs), torch.rand(epochs)


def _same_choice(report: Callable) -> None:
    for validation, first, second in _tables(ties=True):
        assert report(validation, first)[0] == report(validation, second)[0], "another choice"


def _own_score(report: Callable) -> None:
    for validation, test, _ in _tables(ties=True):
        epoch, score = report(validation, test)
        assert abs(score - float(test[epoch])) < 1e-6, "another epoch's score"


def _no_ties(report: Callable) -> None:
    for validation, first, second in _tables(ties=False):
        (one, score), (two, _) = report(validation, first), report(validation, second)
        assert one == two and abs(score - float(first[one])) < 1e-6, (
            "another choice, or another epoch's score"
        )


def _best_on_validation(report: Callable) -> None:
    for validation, test, _ in _tables(ties=False):
        assert report(validation, test)[0] == int(validation.argmax()), "not the best on validation"


def _one_table(report: Callable) -> None:
    validation = torch.tensor([0.1, 0.7, 0.5, 0.4, 0.3, 0.7])
    first, second = (
        torch.tensor([0.9, 0.65, 0.8, 0.2, 0.1, 0.1]),
        torch.tensor([0.1, 0.2, 0.8, 0.2, 0.1, 0.65]),
    )
    (one, score), (two, _) = report(validation, first), report(validation, second)
    assert one == two and abs(score - float(first[one])) < 1e-6, "another choice, or another epoch's score"


_SELECTION_MISTAKES = {
    "demands one way to choose": (
        "It rejects a choice that never looks at the test split. Some take the best epoch, some the last "
        "of several equal ones, some stop early, "
        "some smooth, some do not choose at all. They share one property: what the test scores are makes "
        "no difference to *which* epoch is taken.",
        rejects(),
        _best_on_validation,
    ),
    "checks the score, not the choice": (
        (
            "The reported score is that of the chosen epoch. But who chose? Change the test scores and see "
            "whether the choice moves."
        ),
        misses("the best on test"),
        _own_score,
    ),
    "checks the choice, not the score": (
        (
            "The choice never depends on the test split, yet the number that is reported is another epoch's. "
            "Compare it with test[epoch]."
        ),
        misses("the highest test score"),
        _same_choice,
    ),
    "has no ties": (
        "Accuracies are shares of a few hundred pictures: two epochs are often equal, and then this bug "
        "asks the test split. Make validation scores "
        "with ties.",
        misses("ties broken by test"),
        _no_ties,
    ),
    "tries too few tables": (
        "In the tables that you tried the test split was not asked, or its answer made no difference. Draw "
        "many tables, and for each of them "
        "several test splits.",
        misses("test decides among three", "the best on both"),
        _one_table,
    ),
}

SELECTION_EXERCISE = exercise_of(
    SELECTION,
    test_selection,
    general_mistakes(
        test_selection,
        never=(lambda report: assert_true(0 <= report(torch.rand(9), torch.rand(9))[1] <= 1),),
        never_because=(
            "That the score is a share, and the epoch one of them, holds for a score that was chosen "
            "by the test split too."
        ),
    ),
    _SELECTION_MISTAKES,
    (
        "You hold both lists in your hand. What may depend on the second one, and what may not?",
        (
            "Call report(validation, test) with one validation list and several random test lists. Compare "
            "the "
            "epochs, and the score with test[epoch]."
        ),
        (
            "torch.randint(0, 5, (12,)) / 5 has ties; thirty such lists, four torch.rand(12) for each; the "
            "set "
            "of chosen epochs has one member."
        ),
    ),
)
