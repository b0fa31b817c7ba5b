"""The error that speaks to a student."""

from __future__ import annotations


class CourseError(ValueError):
    """A mistake that the student can mend. The text says what is wrong, with which value, and what to type
    next.
    """
