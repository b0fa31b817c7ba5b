# ruff: noqa: F811 (pytest hands fixtures over by the names that were imported)
"""The quiz of each lesson: what a file of questions must hold, how answers are read and counted, and the view
in a browser.
"""

import collections
import html.parser
import json
import re

import build_notebooks as build
import pytest
from browser import blank_page, browser_page, host_view, keep  # noqa: F401 (fixtures)

from sslcourse.check import quiz, quizzes
from sslcourse.runtime import pages
from sslcourse.runtime.errors import CourseError
from sslcourse.widgets import views

LESSONS = [s for s in build.sources([]) if re.match(r"(0[1-9]|1[0-2])_", s.stem)]
ASKED = [(name, question) for name in quizzes.lessons() for question in quizzes.questions(name).questions]
by_lesson = pytest.mark.parametrize("source", LESSONS, ids=build.name_of)


def plain(text: str) -> str:
    return re.sub(r"[$*`_]", "", text)


# ----------------------------------------------------------------------------------------- the questions


def test_every_lesson_from_01_to_12_has_five_questions():
    assert quizzes.lessons() == [source.stem for source in LESSONS]
    assert len(LESSONS) == 12 and len(ASKED) == 60
    assert all(name == quizzes.questions(name).lesson for name, _ in ASKED)


def test_no_question_and_no_choice_is_there_twice():
    assert len({question.ask for _, question in ASKED}) == len(ASKED)
    for _, question in ASKED:
        for part in ("says", "why"):
            assert len({getattr(choice, part) for choice in question.choices}) == len(question.choices)


def test_a_letter_or_a_length_gives_no_answer_away():
    letters = collections.Counter(question.right for _, question in ASKED)
    assert set(letters) == set("abcd") and max(letters.values()) <= 0.4 * len(ASKED)
    longest = 0
    for _, question in ASKED:
        own = len(question.choices["abcd".index(question.right)].says)
        longest += own == max(len(choice.says) for choice in question.choices)
    assert 0.1 * len(ASKED) <= longest <= 0.4 * len(ASKED)


@by_lesson
def test_each_mistake_has_a_section_of_its_lesson(source):
    found = [plain(h) for h in re.findall(r"^# ## (?:\d+\. )?(.+)$", source.read_text("utf-8"), re.M)]
    for question in quizzes.questions(source.stem).questions:
        mistakes = [choice.mistake for choice in question.choices if choice.mistake]
        assert len(mistakes) == len(set(mistakes)) == len(question.choices) - 1
        for look in (choice.look for choice in question.choices if choice.look):
            assert any(title.startswith(look) for title in found), f"{look} is no section of {source.stem}"


@by_lesson
def test_the_lesson_ends_with_its_quiz_and_the_teacher_sees_the_answers(source):
    """The key in the lesson's source was written down apart from the one in the questions."""
    student, teacher = (
        [c.source for c in build.build(source, solution).cells if "import quiz" in c.source]
        for solution in (False, True)
    )
    assert student == [f'from sslcourse.check import quiz\nquiz("{source.stem}")']
    key = re.search(rf'quiz\("{source.stem}", answers="(.+)"\)$', teacher[0])[1]
    assert quiz(source.stem, answers=key).right == 5
    titles = re.findall(r"^# ## (.+)$", source.read_text("utf-8"), re.M)
    assert titles[-2:] == ["Quiz", "References"]


# ----------------------------------------------------------------------------------------- a file of them


def test_the_questions_say_no_measured_number():
    """A share or a score would change with the next training."""
    for name, question in ASKED:
        text = " ".join([question.ask, *(f"{c.says} {c.why}" for c in question.choices)])
        assert not re.search(r"\d\s*%|per cent|five seeds", text), (name, question.ask)


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A copy of a file of questions to be broken: its content, and how to write it."""
    text = (quizzes.QUESTIONS / "01_simclr.json").read_text("utf-8")
    monkeypatch.setattr(quizzes, "QUESTIONS", tmp_path)
    quizzes.questions.cache_clear()
    yield json.loads(text), lambda page: (tmp_path / "01_simclr.json").write_text(json.dumps(page), "utf-8")
    quizzes.questions.cache_clear()


def test_a_wrong_key_is_noticed(page):
    content, write = page
    write(content)
    assert quizzes.questions("01_simclr").questions[0].right == content["questions"][0]["right"] == "a"
    for wrong in "bcd":
        content["questions"][0]["right"] = wrong
        write(content)
        quizzes.questions.cache_clear()
        with pytest.raises(pages.Unfit, match="question 1 of 01_simclr"):
            quizzes.questions("01_simclr")


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda q: q["choices"][0].pop("why"), "why"),
        (lambda q: q["choices"][0].update(why=""), "length >= 1"),
        (lambda q: q["choices"][1].pop("mistake"), "question 1"),
        (lambda q: q["choices"][1].pop("look"), "question 1"),
        (lambda q: q["choices"][0].update(look="Break it"), "question 1"),
        (lambda q: q.update(right="e"), "right"),
        (lambda q: q.update(choices=q["choices"][:2]), "length >= 3"),
        (lambda q: q.update(points=3), "points"),
    ],
)
def test_a_damaged_file_is_noticed(page, spoil, message):
    content, write = page
    spoil(content["questions"][0])
    write(content)
    with pytest.raises(pages.Unfit, match=message):
        quizzes.questions("01_simclr")


def test_four_questions_are_too_few(page):
    content, write = page
    content["questions"].pop()
    write(content)
    with pytest.raises(pages.Unfit, match="length >= 5"):
        quizzes.questions("01_simclr")


# ----------------------------------------------------------------------------------------- answering


def test_answers_are_counted():
    key = [question.right for question in quizzes.questions("06_byol").questions]
    assert quiz("06", answers=key).right == 5 and quiz("06").right == 0
    for i in range(5):
        other = next(letter for letter in "abcd" if letter != key[i])
        assert quiz("06", answers=[*key[:i], other, *key[i + 1 :]]).right == 4
        assert quiz("06", answers=[*key[:i], "-", *key[i + 1 :]]).right == 4
    assert quiz("06", answers="A,b;c  d-").answers == "a b c d -"


def test_every_choice_says_what_it_is():
    for letter in "abcd":
        view = quiz("06_byol", answers=letter * 5)
        for question in quizzes.questions("06_byol").questions:
            choice = question.choices["abcd".index(letter)]
            assert f" {letter}) {choice.says}\n" in str(view) and choice.why in str(view)
            if letter != question.right:
                assert f"({choice.mistake})" in str(view) and f"“{choice.look}”" in str(view)
        assert f"{view.right} of 5 right" in str(view) and f"{view.right} of 5" in repr(view)


def test_as_text_it_is_the_same_each_time_and_gives_nothing_away():
    first, second = (quiz("03")._repr_mimebundle_()[0] for _ in range(2))
    kept = [kind for kind in first if "widget-view" not in kind]
    assert kept == ["text/plain", "text/html"] and all(first[kind] == second[kind] for kind in kept)
    assert not any(mark in first["text/plain"] for mark in "✓✗") and "0x" not in first["text/plain"]
    assert 'quiz("03_damaged_jigsaw", answers="a b c d a")' in first["text/plain"]
    assert sum(len(first[kind]) for kind in kept) < 12_000
    tags = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    parser.feed(first["text/html"])
    opened = [attributes for tag, attributes in tags if tag == "details"]
    assert len(opened) == 20 and not any("open" in attributes for attributes in opened)


@pytest.mark.parametrize("lesson", ["1", "", "0", "13", "simclr", 1, None])
def test_an_unknown_quiz_says_what_to_type(lesson):
    with pytest.raises(CourseError, match=re.escape('type, say, quiz("01"). There are 01_simclr, 02_bigan')):
        quiz(lesson)


@pytest.mark.parametrize(
    "answers, message",
    [
        ("a b c", "these are 3"),
        ("a b c d a b", "these are 6"),
        ("", "these are 0"),
        ("a b c d e", "Question 5 has the choices a, b, c, d, not 'e'"),
        ("1 2 3 4 1", "Question 1 has the choices"),
        (3, "There are 5 questions"),
        ([0, 1, 2, 3, 0], "There are 5 questions"),
    ],
)
def test_answers_that_do_not_fit_say_what_to_type(answers, message):
    with pytest.raises(CourseError, match=re.escape(message)) as error:
        quiz("01", answers=answers)
    assert 'quiz("01_simclr", answers="' in str(error.value)


# ----------------------------------------------------------------------------------------- in a browser


@pytest.mark.browser
def test_it_is_answered_by_mouse_and_by_keyboard(blank_page, tmp_path):
    page, view = blank_page, quiz("06")
    host_view(page, view)
    key = [question.right for question in quizzes.questions("06_byol").questions]
    root = page.locator(".ssl-quiz")
    data = lambda name: root.get_attribute(f"data-{name}")
    said = lambda i: root.locator(".said").nth(i).inner_text()
    choice = lambda i, k: root.locator("fieldset").nth(i).locator("button.choice").nth(k)
    assert root.locator("fieldset").count() == 5 and data("answered") == "0" and said(0) == ""
    keep(page, tmp_path / "quiz-new.png", full_page=True)

    choice(0, "abcd".index(key[0])).click()
    first = quizzes.questions("06_byol").questions[0]
    assert data("right") == "1" and said(0) == f"✓ Right. {first.choices['abcd'.index(key[0])].why}"
    wrong = next(k for k in range(4) if "abcd"[k] != key[0])
    choice(0, wrong).click()
    assert data("right") == "0" and data("answered") == "1"
    assert said(0).startswith(f"✗ Not so ({first.choices[wrong].mistake})") and "See “" in said(0)
    assert root.locator("button[aria-pressed=true]").count() == 1

    for _ in range(4 - wrong):  # on to the next question by keyboard alone
        page.keyboard.press("ArrowDown")
    assert choice(1, 0).evaluate("e => e === document.activeElement")
    page.keyboard.press("Enter")
    assert data("answers").split(",")[1] == "a"
    for i in range(5):
        choice(i, 0).focus()
        page.keyboard.press(key[i])
    assert data("right") == "5" and "5 of 5" in root.locator("output").inner_text()
    assert page.evaluate("() => window.saved.at(-1).chosen") == ["abcd".index(letter) for letter in key]
    keep(page, tmp_path / "quiz-right.png", full_page=True)
    root.locator("button.again").click()
    assert data("answered") == "0" and root.locator("button[aria-pressed=true]").count() == 0
    assert page.errors == []


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_page_without_a_kernel_it_takes_the_place_of_its_text(tmp_path, theme):
    file = views.write_page(quiz("01", answers="b a d c -"), tmp_path / "quiz.html")
    text = file.read_text("utf-8")
    assert text.count("<details") == 20 and text.count("<details open") == 4
    with browser_page((tmp_path.as_uri(),)) as page:
        page.emulate_media(color_scheme=theme)
        page.goto(file.as_uri())
        page.wait_for_function("() => document.documentElement.dataset.views === 'ready'")
        root = page.locator(".ssl-quiz")
        assert root.get_attribute("data-answers") == "b,a,d,c," and page.locator("details").count() == 0
        root.locator("button.choice").last.click()
        assert root.get_attribute("data-answered") == "5"
        keep(page, tmp_path / f"quiz-{theme}.png", full_page=True)
        assert page.errors == [] == page.external
