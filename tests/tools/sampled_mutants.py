"""The mutation score of modules whose tests are too slow for every mutant: that of a sample, with its error bound.

    make mutation-sample
    .venv/bin/python -m tests.tools.sampled_mutants --mutants 30 --seed 31 ucrmmail/smtp/auth.py -- tests/unit/smtp

The mutants are mutmut's. pytest collects the tests once and runs them once, with a coverage that knows which of them
executes which line, and how long it takes. Then each mutant of the sample has a forked process of its own, in which the
code of one function is replaced, and which runs the tests that execute its line: quick ones first, up to the first that
fails. What runs as a program of its own does not see the mutant, as with mutmut.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import importlib
import math
import os
import pickle
import random
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import pytest

# A test that hangs is one that fails, and a process in which nothing ends is ended.
_TEST_TIMEOUT_S = 15
_SPARE_S = 60
# Up to here a test is a quick one: all of these run before any other.
_QUICK_S = 0.1
# Half the width of an interval in which the figure is in 19 of 20 samples.
_DEVIATIONS = 1.96


@dataclass(frozen=True)
class Mutant:
    """A module with one change, in the function ``owner.name`` (``owner`` is "" or a class)."""

    path: str
    source: str
    owner: str
    name: str
    lines: range
    change: str


@dataclass
class Seen:
    """How long each test takes, and which tests execute a line of one of these modules."""

    modules: list[str]
    durations: dict[str, float] = field(default_factory=dict)
    tests: dict[tuple[str, int], set[str]] = field(default_factory=dict)


@dataclass
class Score:
    """What became of the sampled mutants of one module."""

    population: int
    sampled: int = 0
    survivors: list[Mutant] = field(default_factory=list)

    @property
    def share(self) -> float:
        return 1 - len(self.survivors) / self.sampled

    @property
    def variance(self) -> float:
        """That of ``share``, drawn without replacement; one that had no survivor counts as if it had half of one."""
        survived = max(len(self.survivors), 0.5) / self.sampled
        return survived * (1 - survived) / self.sampled * (1 - self.sampled / self.population)


def bound(scores: Sequence[Score]) -> tuple[float, float]:
    """Return the share of all mutants of these modules that is noticed, and its error bound (19 times of 20)."""
    population = sum(score.population for score in scores)
    share = sum(score.share * score.population for score in scores) / population
    variance = sum(score.variance * (score.population / population) ** 2 for score in scores)
    return share, float(_DEVIATIONS * variance**0.5)


def _statement_lines(source: str) -> dict[int, range]:
    """Return the lines of the innermost statement for each line: of one with a body those of its head."""
    found: dict[int, range] = {}
    # From the outside to the inside.
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            end = body[0].lineno if body and body[0].lineno > node.lineno else (node.end_lineno or node.lineno) + 1
            found.update(dict.fromkeys(range(node.lineno, end), range(node.lineno, end)))
    return found


def mutants_of(path: str) -> Iterator[Mutant]:
    """Yield every mutant of a module that mutmut would make, each as a whole module."""
    import libcst
    from libcst.metadata import MetadataWrapper, PositionProvider
    from mutmut.mutation import file_mutation

    source = Path(path).read_text()
    module, mutations, _, _ = file_mutation.create_mutations(path, source)
    # Looks at the nodes themselves, not at copies.
    positions = MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider)
    statements = _statement_lines(source)
    owners = {
        method: each.name.value
        for each in module.body
        if isinstance(each, libcst.ClassDef)
        for method in each.body.body
        if isinstance(method, libcst.FunctionDef)
    }
    for mutation in mutations:
        function = mutation.contained_by_top_level_function
        if not isinstance(function, libcst.FunctionDef) or mutation.original_node not in positions:
            continue
        changed = module.with_changes(
            body=[
                file_mutation.deep_replace(each, mutation.original_node, mutation.mutated_node) for each in module.body
            ]
        ).code
        if changed == source:
            continue
        line = positions[mutation.original_node].start.line
        difference = difflib.unified_diff(source.splitlines(), changed.splitlines(), n=0, lineterm="")
        yield Mutant(
            path,
            changed,
            owners.get(function, ""),
            function.name.value,
            statements.get(line, range(line, line + 1)),
            "\n".join(each for each in list(difference)[2:]),
        )


def put_in_place(mutant: Mutant) -> None:
    """Replace the code of the changed function, wherever it was imported to."""
    name = mutant.path.removesuffix(".py").replace("/", ".")
    module = importlib.import_module(name)
    changed: dict[str, Any] = {"__name__": name, "__file__": module.__file__, "__package__": module.__package__}
    exec(compile(mutant.source, str(module.__file__), "exec"), changed)

    def function(of: Any) -> Any:
        found = vars(of[mutant.owner])[mutant.name] if mutant.owner else of[mutant.name]
        return getattr(found, "__func__", found)

    old, new = function(vars(module)), function(changed)
    old.__code__, old.__defaults__, old.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__


class Sampler:
    """The plugin: instead of the tests it runs what is needed to know their mutation score."""

    def __init__(self, options: argparse.Namespace, told: TextIO) -> None:
        self._modules: list[str] = options.modules
        self._mutants: int = options.mutants
        self._seed: int = options.seed
        self._slowest_s: float = options.slowest
        self._known = Path(options.known) if options.known else None
        self._told = told
        self._failed = ""
        self._seen = Seen(self._modules)
        self.scores: dict[str, Score] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        durations = self._seen.durations
        durations[report.nodeid] = durations.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self._failed = report.nodeid

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        from hypothesis import Phase, settings

        # What failed once need not be made small.
        phases = [phase for phase in Phase if phase is not Phase.shrink]
        settings.register_profile("mutants", deadline=None, database=None, derandomize=True, phases=phases)
        settings.load_profile("mutants")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        for module in self._modules:
            importlib.import_module(module.removesuffix(".py").replace("/", "."))
        self._look_at(session.items)
        durations = self._seen.durations
        items = [item for item in session.items if durations[item.nodeid] <= self._slowest_s]
        quick = [item for item in items if durations[item.nodeid] <= _QUICK_S]
        if name := self._in_a_child(lambda: self._failing(self._unchanged(), quick), _SPARE_S * 30):
            self._tell(f"fails although nothing was changed: {name}")
        for module in self._modules:
            self._score(module, items)
        return True

    def _look_at(self, items: Sequence[pytest.Item]) -> None:
        """Run the tests that are not known yet, without any mutant."""
        if self._known and self._known.exists():
            known = pickle.loads(self._known.read_bytes())
            # What a test executes of another module was not looked at.
            self._seen = known if known.modules == self._modules else self._seen
        unknown = [item for item in items if item.nodeid not in self._seen.durations]
        began = time.monotonic()
        answer = self._in_a_child(lambda: self._watched(unknown), _SPARE_S * 60) if unknown else self._seen
        if not isinstance(answer, Seen):
            raise pytest.UsageError(f"the tests without a mutant: {answer}")
        self._seen = answer
        self._tell(f"{len(unknown)} of {len(items)} tests were looked at in {time.monotonic() - began:.0f} s")
        if self._known:
            self._known.write_bytes(pickle.dumps(answer))

    def _watched(self, items: Sequence[pytest.Item]) -> Seen:
        """Return how long each test took, and the tests by the lines that they execute; one that fails is left out."""
        import coverage

        watcher = coverage.Coverage(data_file=None, include=list(self._modules), config_file=False)
        watcher.start()
        for item, following in zip(items, [*items[1:], None], strict=False):
            self._failed = ""
            watcher.switch_context(item.nodeid)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed:
                self._tell(f"fails without a mutant, and is left out: {self._failed}")
                self._seen.durations[self._failed] = math.inf
        watcher.stop()
        data = watcher.get_data()
        for module in self._modules:
            for line, contexts in data.contexts_by_lineno(str(Path(module).resolve())).items():
                self._seen.tests.setdefault((module, line), set()).update(filter(None, contexts))
        return self._seen

    def _score(self, module: str, items: Sequence[pytest.Item]) -> None:
        executed = []
        for mutant in mutants_of(module):
            names = set().union(*(self._seen.tests.get((module, line), set()) for line in mutant.lines))
            if tests := [item for item in items if item.nodeid in names]:
                executed.append((mutant, tests))
        score = self.scores[module] = Score(len(executed))
        drawn = random.Random(f"{self._seed} {module}").sample(executed, min(self._mutants, len(executed)))
        began = time.monotonic()
        for mutant, tests in drawn:
            score.sampled += 1
            if not self._is_noticed(mutant, self._quick_ones_first(tests)):
                score.survivors.append(mutant)
                self._tell(f"\nnot noticed by {len(tests)} tests: {mutant.path} {mutant.owner} {mutant.name}")
                self._tell(mutant.change)
        if drawn:
            self._tell(
                f"\n{module}: {score.sampled - len(score.survivors)} of {score.sampled} noticed ({score.share:.1%}),"
                f" of {score.population} that are executed; {time.monotonic() - began:.0f} s"
            )

    def _is_noticed(self, mutant: Mutant, tests: list[pytest.Item]) -> bool:
        """Return whether one of the tests fails each of two times: one that fails at times shows nothing."""

        def failing(some: Sequence[pytest.Item]) -> str:
            within_s = 3 * sum(self._seen.durations[each.nodeid] for each in some) + _SPARE_S
            return str(self._in_a_child(lambda: self._failing([mutant], some), within_s))

        while name := failing(tests):
            at = next((number for number, each in enumerate(tests) if each.nodeid == name), None)
            if at is None:
                self._tell(f"{name} with {mutant.path} {mutant.change}")
                return True
            if failing(tests[at : at + 1]):
                return True
            tests = tests[at + 1 :]
        return False

    def _quick_ones_first(self, tests: list[pytest.Item]) -> list[pytest.Item]:
        def key(item: pytest.Item) -> tuple[bool, float, str]:
            # The tests of a file stay together: they share what is dear to set up.
            beside = [self._seen.durations[each.nodeid] for each in tests if each.path == item.path]
            return self._seen.durations[item.nodeid] > _QUICK_S, sum(beside) / len(beside), item.nodeid

        return sorted(tests, key=key)

    def _unchanged(self) -> list[Mutant]:
        """Every function that has a mutant, as it is."""
        places = {(each.path, each.owner, each.name) for module in self._modules for each in mutants_of(module)}
        return [Mutant(path, Path(path).read_text(), owner, name, range(0), "") for path, owner, name in places]

    def _failing(self, mutants: Sequence[Mutant], tests: Sequence[pytest.Item]) -> str:
        """Return the name of the first test that fails with these in place, "" where none does."""
        for mutant in mutants:
            put_in_place(mutant)
        for item, following in zip(tests, [*tests[1:], None], strict=False):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed:
                return self._failed
        return ""

    def _in_a_child(self, work: Callable[[], Any], within_s: float) -> Any:
        """Return what ``work`` does in a process of its own, or how that one ended before it had answered."""
        reader, writer = os.pipe()
        if (pid := os.fork()) == 0:
            code = 70
            try:
                os.setsid()
                os.close(reader)
                with os.fdopen(writer, "wb") as answer:
                    pickle.dump(work(), answer)
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        with os.fdopen(reader, "rb") as answer:
            in_time = bool(select.select([answer], [], [], within_s)[0])
            try:
                told = pickle.load(answer) if in_time else "no end"
            except EOFError:
                told = "no answer"
            # With what it started: nothing that a mutant left behind is to meet the next one.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return told

    def _tell(self, line: str) -> None:
        print(line, file=self._told, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=30, help="how many of each module (30)")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--slowest", type=float, default=2.0, metavar="S", help="leaves out slower tests (2 s)")
    parser.add_argument("--known", default="", metavar="FILE", help="keeps which test executes what")
    parser.add_argument("modules", nargs="+", metavar="MODULE", help="such as ucrmmail/smtp/auth.py")
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, tests = parser.parse_args(sys.argv[1:at]), sys.argv[at + 1 :]
    # The words of pytest are those of a suite whose tests fail: they are not what this tells.
    told = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sampler = Sampler(options, told)
    arguments = ["-q", f"--timeout={_TEST_TIMEOUT_S}", *tests]
    code = pytest.main(arguments, plugins=[sampler])
    scores = [score for score in sampler.scores.values() if score.sampled]
    if code or not scores:
        return int(code) or 1
    share, error = bound(scores)
    print(
        f"{sum(score.sampled for score in scores)} of {sum(score.population for score in scores)} mutants:"
        f" {share:.1%} noticed, give or take {error:.1%}",
        file=told,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
