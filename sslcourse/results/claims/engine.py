"""From the effects of a paper's claims, one per seed, to verdicts; and the runs that several papers' claims
need.

Each module beside this one holds one paper: `LESSON` is the notebook that treats it, `runs(seed)` trains
what the claims compare, `CLAIMS` says what is claimed."""

from __future__ import annotations

import ast
import hashlib
import importlib
import pkgutil
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sslcourse import evaluate, runtime
from sslcourse.data.datasets import Data, open_labels
from sslcourse.results.stored import Claims, opened, write
from sslcourse.runtime import progress
from sslcourse.runtime.errors import CourseError
from sslcourse.runtime.options import SEEDS
from sslcourse.train import checkpoints, features, identity as identities, loop

Runs = dict[str, dict[str, float]]  # the results of one seed: name of a run -> its numbers


@dataclass(frozen=True)
class Claim:
    """What a paper says, where, and the effect that decides it.

    `effect` takes the results of one seed (name of a run -> its numbers) and returns a number in units of
    `unit`."""

    name: str
    text: str
    source: str
    effect: Callable[[Runs], float]
    unit: str = "accuracy"


@dataclass(frozen=True)
class Verdict:
    claim: str
    text: str
    source: str
    effects: tuple[float, ...]
    unit: str = "accuracy"

    @property
    def mean(self) -> float:
        return statistics.fmean(self.effects)

    @property
    def spread(self) -> float:
        """Standard deviation over seeds; 0 for one seed."""
        return statistics.stdev(self.effects) if len(self.effects) > 1 else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the mean."""
        n = len(self.effects)
        if n < 2:
            return float("-inf"), float("inf")
        from scipy.stats import t

        half = float(t.ppf(0.975, n - 1)) * self.spread / n**0.5
        return self.mean - half, self.mean + half

    @property
    def verdict(self) -> str:
        low, high = self.interval
        return "pass" if low > 0 else "fail" if high < 0 else "inconclusive"

    def row(self) -> dict:
        """For a table: claim, effect with its spread and interval, verdict."""
        low, high = self.interval
        return {
            "claim": self.text,
            "source": self.source,
            "effect": f"{self.mean:+.3f} ± {self.spread:.3f}",
            "95 % interval": f"{low:+.3f} to {high:+.3f}" if len(self.effects) > 1 else "one seed",
            "seeds": len(self.effects),
            "verdict": self.verdict,
        }


def gain(better: str, *others: str, key: str = "linear") -> Callable[[Runs], float]:
    """An effect: how far a run is above the best of others."""
    return lambda r: r[better][key] - max(r[o][key] for o in others)


def scored(
    methods: Mapping[str, nn.Module | tuple[nn.Module, features.Encode]], data: Data, reader: str
) -> Runs:
    """kNN and linear probe of several trained methods on the test split, in one opening of its labels.

    Args:
        methods: name -> a method, or (a method, what to read instead of its `encode`).
        reader: who opens the labels, such as "claims.simclr".
    """
    label, train_label = open_labels(data.test, reader)[0].cpu(), data.train.label.cpu()
    result = {}
    for name, source in methods.items():
        method, encode = source if isinstance(source, tuple) else (source, None)
        x = [features.extract(method, part, encode=encode) for part in (data.train, data.test)]
        result[name] = evaluate.score(x[0], train_label, x[1], label, classes=len(data.classes))
    return result


# ---------------------------------------------------------------------------------------------- running them


def papers() -> tuple[str, ...]:
    """The papers whose claims are written down: the modules of this folder."""
    return tuple(
        sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]) if m.name != "engine")
    )


def paper(name: str):
    """The module of a paper, with `LESSON`, `runs(seed, ...)` and `CLAIMS`."""
    if name not in papers():
        raise CourseError(f"no claims of {name!r} are written down; there are those of {', '.join(papers())}")
    return importlib.import_module(f"sslcourse.results.claims.{name}")


def judge(name: str, results: dict[int, Runs], partly: bool = False) -> list[Verdict]:
    """Verdicts of all claims of a paper from the results of its seeds.

    Args:
        partly: leave out the claims that need runs which are not there, because an older course wrote the
            results.

    Raises:
        CourseError: a claim needs what is not there, and not all is `partly`.
    """
    verdicts = []
    for c in paper(name).CLAIMS:
        try:
            effects = tuple(c.effect(results[s]) for s in sorted(results))
        except (
            KeyError,
            TypeError,
            IndexError,
        ) as error:  # results of an earlier version, or of somebody else
            if partly and isinstance(error, KeyError):
                continue
            raise CourseError(
                f"the results of {name!r} lack what the claim {c.name!r} reads ({error!r}); run them again: "
                f"delete the file, then sslcourse claims {name}"
            ) from error
        verdicts.append(Verdict(c.name, c.text, c.source, effects, c.unit))
    return verdicts


def run(
    name: str, seeds: int = 5, *, file: str | Path | None = None, say=print, **kwargs
) -> Iterator[list[Verdict]]:
    """Run a paper's claims, yielding the verdicts so far after each seed.

    Args:
        seeds: how many, from 0.
        file: JSON to write after each seed (atomically); seeds that it holds already are not run again, if
            they were run with the same arguments and the same code of the paper.
        **kwargs: handed to the runs (`data`, `recipe`).
    """
    seeds = SEEDS.of(seeds, "seeds")
    train = paper(name).runs
    page: dict[str, Any] = {"paper": name, "runs": {}}
    # What a seed's numbers rest on, beside the seed.
    identity = {"code": _code_of(name), "arguments": identities.plain(kwargs)}
    if file:
        runtime.prove(file, "name another file (--out FILE)")  # before an hour of training
    if file and Path(file).exists():
        page = _page(name, file, identity)
    results = {int(s): r for s, r in page["runs"].items() if int(s) < seeds}
    stored = checkpoints.usable(runtime.Profile(**page["profile"])) if page.get("profile") else None
    for seed in progress.each(range(seeds), "seed"):
        if seed not in results:
            # All seeds of a file on one profile: its precision moves the numbers.
            with loop.whole_runs(), runtime.computing_on(stored or runtime.profile()) as stored:
                results[seed] = train(seed, say=say, **kwargs)
            page["runs"][str(seed)] = results[seed]
            page.update(
                identity,
                versions=checkpoints.versions(),
                profile=asdict(stored),
                verdicts=[{**asdict(v), "verdict": v.verdict} for v in judge(name, results)],
            )
            if file:
                write(page, file)
        yield judge(name, {s: results[s] for s in range(seed + 1)})


def _page(name: str, file: str | Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The seeds that a file holds already; an error where they are of another paper, or were run
    otherwise."""
    page = opened(file, Claims, f"sslcourse claims {name}, or name another file")
    if page.get("paper") != name:
        raise CourseError(
            f"{str(file)!r} holds results of {page.get('paper')!r}, not of {name!r}; name another file"
        )
    if not page["runs"]:
        return page
    differing = identities.unequal(page.get("arguments", {}), identity["arguments"])
    if "code" in page and page["code"] != identity["code"]:
        differing.append(f"what is trained for {name} is written otherwise since")
    if differing:
        raise CourseError(
            f"{str(file)!r} holds seeds that were run otherwise ({'; '.join(differing)}). Name another file "
            "(--out FILE), or delete this one to run them anew."
        )
    there, here = page.get("versions") or {}, checkpoints.versions()
    other = [f"{k} {there[k]} there, {here[k]} here" for k in here if k in there and there[k] != here[k]]
    if other:
        print(f"{str(file)!r} holds seeds of other versions ({'; '.join(other)}); going on", file=sys.stderr)
    return page


def _code_of(name: str) -> str:
    """Digest of what a paper's module trains and measures: its code without comments, texts about it, and the
    claims, which are judged anew each time."""
    tree = ast.parse(Path(paper(name).__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _says_only(part)]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:8]


def _says_only(node: ast.AST) -> bool:
    """Whether a statement is a text, or states the claims."""
    if isinstance(node, ast.Assign):
        return [getattr(target, "id", "") for target in node.targets] == ["CLAIMS"]
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
