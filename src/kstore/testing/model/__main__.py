"""The command of the model checker: explore scopes, or plant a known-bad variant and tell its story.

Owns arguments and output. Called as `python -m kstore.testing.model`; exits with 1 where an invariant of the shipped
rules is broken, or where a planted variant is not noticed.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Sequence

from kstore.testing.model.explorer import Explorer, Result
from kstore.testing.model.scope import Scope
from kstore.testing.model.scopes import FULL, QUICK, SCOPES
from kstore.testing.model.story import story
from kstore.testing.model.variants import VARIANTS, Variant, planted

HEADER = f"{'scope':26}{'states':>12}{'transitions':>14}{'depth':>7}{'seconds':>9}{'MB':>7}  "


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    asked = _parser().parse_args(arguments)
    if asked.list:
        return _list()
    print(HEADER)
    if asked.variants is not None:
        names = asked.variants or [variant.name for variant in VARIANTS]
        return max(_try(variant, asked.story) for variant in VARIANTS if variant.name in names)
    scopes = QUICK + FULL if asked.all else QUICK
    if asked.scopes:
        scopes = tuple(SCOPES[name] for name in asked.scopes)
    return max([_explore(scope, asked.states, asked.verbose) for scope in scopes])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kstore.testing.model",
        description="Explore every order of events of a small cluster, over the shipped replication rules.",
    )
    parser.add_argument("scopes", nargs="*", metavar="SCOPE", help="scopes by name; the quick ones if none")
    parser.add_argument("--all", action="store_true", help="the quick scopes and the large ones")
    parser.add_argument("--states", type=int, metavar="N", help="stop a scope after about N states")
    parser.add_argument("--list", action="store_true", help="list scopes and variants")
    names = [variant.name for variant in VARIANTS]
    parser.add_argument(
        "--variants", nargs="*", choices=[*names], metavar="NAME", help="plant known-bad variants instead; all if none"
    )
    parser.add_argument("--story", action="store_true", help="with --variants, tell how each is found")
    parser.add_argument("--verbose", action="store_true", help="say how far it is, layer by layer")
    return parser


def _list() -> int:
    for scope in SCOPES.values():
        print(f"{scope.name:26} {scope.what}")
    print()
    for variant in VARIANTS:
        print(f"{variant.name:26} {variant.what} ({variant.anchor})")
    return 0


def _line(name: str, result: Result, seconds: float, outcome: str) -> str:
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    counts = f"{result.states:>12,}{result.transitions:>14,}{result.depth:>7}"
    return f"{name:26}{counts}{seconds:>9.1f}{megabytes:>7}  {outcome}"


def _explore(scope: Scope, states_max: int | None, verbose: bool) -> int:
    began = time.process_time()

    def progress(depth: int, states: int, width: int) -> None:
        seconds = time.process_time() - began
        print(f"  depth {depth}: {states:,} states, {width:,} to go on from, {seconds:.0f} s", file=sys.stderr)

    explorer = Explorer(scope)
    result = explorer.run(states_max, progress if verbose else None)
    outcome = result.problem or ("every state" if result.exhausted else f"every state to depth {result.depth}")
    print(_line(scope.name, result, time.process_time() - began, outcome), flush=True)
    if result.problem:
        print(story(explorer.world, result.actions, result.problem))
    return 1 if result.problem else 0


def _try(variant: Variant, tell: bool) -> int:
    began = time.process_time()
    with planted(variant):
        explorer = Explorer(variant.scope, variant.unseen)
        result = explorer.run()
        told = story(explorer.world, result.actions, result.problem) if result.problem and tell else ""
    caught = result.problem.partition(":")[0] in variant.breaks
    outcome = f"{result.problem.partition(':')[0]} in {len(result.actions)} steps" if caught else "NOT NOTICED"
    print(_line(variant.name, result, time.process_time() - began, outcome), flush=True)
    if told:
        print(f"\n{variant.anchor}: {variant.what}\n\n{told}\n", flush=True)
    return 0 if caught else 1


if __name__ == "__main__":
    sys.exit(main())
