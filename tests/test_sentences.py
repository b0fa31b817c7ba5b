"""No lesson says what its own numbers deny: each sentence that compares results is held by an assertion.

How that is written is explained in tools/lesson_sentences.py, which also prints the whole list.
"""

import jupytext
import lesson_sentences
import pytest

LESSONS = lesson_sentences.lessons()
by_name = pytest.mark.parametrize("source", LESSONS, ids=lambda source: source.stem)


@by_name
def test_every_sentence_that_compares_is_held(source):
    """By an assertion that quotes it, or it is no result and stands in tests/explained.txt."""
    found, _, _ = lesson_sentences.of_lesson(source)
    assert found, "each lesson compares something"
    missing = [f"cell {one.cell}: {one.text}" for one in found if not (one.held_by or one.explained)]
    assert not missing, "no assertion holds:\n" + "\n".join(missing)


@by_name
def test_what_is_quoted_is_said_and_asserted(source):
    """A sentence that was changed or taken away takes its comment along; a comment alone holds nothing."""
    _, quoted, texts = lesson_sentences.of_lesson(source)
    whole = lesson_sentences.plain(" ".join(texts))
    stale = [q.text for q in quoted if lesson_sentences.plain(q.text) not in whole]
    assert not stale, f"the prose of {source.stem} does not say: {stale}"
    alone = [q.text for q in quoted if not q.asserted]
    assert not alone, f"no assertion follows the comment on: {alone}"


def test_every_explained_phrase_is_needed():
    """And is of a lesson that there is."""
    names = [source.stem for source in LESSONS]
    text = lesson_sentences.EXPLAINED.read_text(encoding="utf-8")
    assert {line[1:-1] for line in text.splitlines() if line.startswith("[")} <= set(names)
    for source in LESSONS:
        used = {one.explained for one in lesson_sentences.of_lesson(source)[0] if not one.held_by}
        unused = set(lesson_sentences.explained(source.stem)) - used
        assert not unused, f"{source.stem} needs no longer: {unused}"


# ---------------------------------------------------------------------------------------- it notices


LESSON = """\
# %% [markdown]
# # A lesson
#
# Better than nothing is what it says of its aims.

# %%
# Holds: "Clusters of edges teach more than clusters of colours"
assert edges > colours + 0.1, "they should"

# %% [markdown]
# Clusters of *edges* teach more than clusters of colours. Which one is worse than chance?
# A sentence of no interest.
#
# $$a > b$$
"""


def lesson(tmp_path, text):
    source = tmp_path / "02_x.py"
    source.write_text(text, encoding="utf-8")
    return lesson_sentences.of_lesson(source)


def test_a_held_sentence(tmp_path):
    ((one,), (quote,), _) = lesson(tmp_path, LESSON)
    assert one.text == "Clusters of *edges* teach more than clusters of colours."
    assert (one.cell, one.held_by, one.explained) == (2, [1], "") and quote.asserted


@pytest.mark.parametrize(
    "added",
    [
        "RotNet beats DeepCluster.",
        "The curriculum loses on hard pairs.",
        "Its features stay below chance.",
        "They are far less alike.",
        "A long queue is no better than a short one.",
        "(It is ahead of flow.)",
        "Of the two,\n# the second forgets more of the place than the first.",
    ],
)
def test_a_sentence_that_nothing_holds_is_noticed(added, tmp_path):
    found, _, _ = lesson(tmp_path, LESSON.replace("A sentence of no interest.", added))
    assert [one.held_by for one in found] == [[1], []]


def test_a_quote_that_nobody_says_and_a_comment_without_assertion_are_noticed(tmp_path):
    found, (quote,), texts = lesson(
        tmp_path, LESSON.replace("teach more than clusters", "teach less than clusters", 1)
    )
    assert found[0].held_by == [] and lesson_sentences.plain(quote.text) not in " ".join(texts)
    _, (quote,), _ = lesson(tmp_path, LESSON.replace("assert edges > colours + 0.1, ", "print(edges), "))
    assert not quote.asserted


def test_the_list_names_every_sentence(capsys, monkeypatch):
    name = LESSONS[3].stem
    monkeypatch.setattr(lesson_sentences.sys, "argv", ["lesson_sentences.py", name])
    assert lesson_sentences.main() == 0
    said = capsys.readouterr().out
    assert all(one.text in said for one in lesson_sentences.of_lesson(LESSONS[3])[0])
    assert len(jupytext.read(LESSONS[3], fmt="py:percent").cells) > 40 and "HELD BY NOTHING" not in said
