"""Settings that are changed by "key=value" texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from sslcourse.runtime.errors import CourseError


def override(known: Mapping[str, object], changes: Iterable[str], whose: str) -> dict:
    """Settings with some of them changed by "key=value" texts, as they are typed after --set on a command
    line.

    Args:
        known: the settings as they are; their types decide how a value is read. Values of lists and dicts are
            JSON.
        whose: to be named in errors, such as "simclr".
    """
    result = dict(known)
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or key not in known:
            raise CourseError(
                f"--set {change}: write key=value; {whose} has {', '.join(known) or 'no settings'}"
            )
        old = known[key]
        if isinstance(old, str) or old is None:
            result[key] = text
            continue
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        value = float(value) if type(old) is float and type(value) is int else value
        if type(value) is not type(old):
            kinds = {int: "a whole number", float: "a number", bool: "true or false"}
            raise CourseError(
                f"--set {change}: {text!r} is not {kinds.get(type(old), 'JSON like ' + json.dumps(old))}"
            )
        result[key] = value
    return result
