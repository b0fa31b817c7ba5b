"""Result tables in pages: an extension of Sphinx.

    ```{result} claims simclr
    ```

stands for the table of that name in `course_tables`, read from the result files when the page is built,
and a line below it that says which command measured it. `{lessons}` stands for the table of lessons.
"""

from __future__ import annotations

import course_tables
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective


class Result(SphinxDirective):
    """The table of a result file; with `:columns:` only these, in this order, separated by semicolons."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec = {"columns": directives.unchanged, "no-note": directives.flag}

    def run(self) -> list[nodes.Node]:
        try:
            table = course_tables.rows(self.arguments[0])
        except LookupError as error:
            raise self.error(str(error)) from error
        rows = table.rows
        if "columns" in self.options:
            wanted = [c.strip() for c in self.options["columns"].split(";")]
            rows = [{c: row[c] for c in wanted} for row in rows]
        for file in course_tables.measured().glob("*.json"):
            self.env.note_dependency(str(file))
        # A mean and its spread stay on one line.
        found = self.parse_text_to_nodes(course_tables.markdown(rows).replace(" ± ", "\u00a0±\u00a0"))
        if table.note and "no-note" not in self.options:
            note = nodes.container(classes=["result-note"])
            note += self.parse_text_to_nodes(table.note)
            found.append(note)
        return found


class Lessons(SphinxDirective):
    """The table of lessons, as in the README, with links to their pages."""

    def run(self) -> list[nodes.Node]:
        rows = course_tables.lessons("lessons/{}.md")
        return self.parse_text_to_nodes(course_tables.markdown(rows).replace(" ± ", "\u00a0±\u00a0"))


def setup(app) -> dict:
    app.add_directive("result", Result)
    app.add_directive("lessons", Lessons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
