"""What the papers found, beside what is found here.

    papers.reported("simclr")    the paper's own tables, as it printed them
    papers.findings("simclr")    each claim: the paper's number, the effect here, its interval, a verdict

The numbers of a paper stand in the JSON file of its name beside this module, each table with the paper that
printed it. Only numbers that were checked against the paper, its authors' code or a second publication are
kept: where a claim has none, the place in the paper is named instead. The numbers of this course come from
`sslcourse claims`.
"""

from sslcourse.results.papers.engine import Reported, ReportedTable, findings, holm, names, reported

__all__ = ["Reported", "ReportedTable", "findings", "holm", "names", "reported"]
