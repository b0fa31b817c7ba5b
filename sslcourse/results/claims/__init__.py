"""Each paper's claims as functions: an effect per seed, and from several seeds a verdict.

A claim is written so that its effect is positive where the paper is right. The verdict is

    pass           the 95 % confidence interval of the mean effect (Student's t over seeds) lies above 0
    fail           it lies below 0
    inconclusive   it holds 0, or there is only one seed

All numbers are read on the test split, once per seed, with settings that were fixed before the first run.
Each seed draws a world of its own, so that an interval speaks of worlds and not of first weights alone.

    claims.paper("simclr").CLAIMS       what is claimed
    claims.run("simclr", seeds=5)       is it so? (the command: sslcourse claims simclr)
"""

from sslcourse.results.claims.engine import Claim, Runs, Verdict, gain, judge, paper, papers, run, scored

__all__ = ["Claim", "Runs", "Verdict", "gain", "judge", "paper", "papers", "run", "scored"]
