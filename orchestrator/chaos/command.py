"""`blockyard chaos`: play scenarios in which things go wrong, and judge what clients heard.

In a simulated cluster, on processes of this machine, or against a cluster that
runs somewhere. Exits with 1 if a rule broke, after the line that plays it
again, and if nothing could be played at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from os import cpu_count
from pathlib import Path
from tempfile import mkdtemp

import click

from orchestrator.chaos import library, pool
from orchestrator.chaos.again import Again
from orchestrator.chaos.bad_scenario import BadScenario
from orchestrator.chaos.console import bar, show_failures, show_kept, show_sum, show_table
from orchestrator.chaos.gathering import Gathering
from orchestrator.chaos.run import Run, Skipped, play
from orchestrator.chaos.scenario import Scenario
from orchestrator.chaos.stretch import lasting
from orchestrator.chaos.world import CannotDo
from orchestrator.chaos.worlds import Cluster, Local, Simulated, Target, Where
from orchestrator.exit_status import INTERRUPTED
from orchestrator.finite_range import FiniteRange
from orchestrator.out_file import writing

ALL = "all"
SUFFIX = ".toml"
TINY = "tiny"
LOGS = "chaos-logs"  # of servers, beside the figures
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
TRUSTED = click.Path(exists=True, path_type=Path)


@click.group(name="chaos")
def command() -> None:
    """Play scenarios in which things go wrong, and judge what clients heard."""


@command.command(name="list")
def list_scenarios() -> None:
    """The scenarios that come with blockyard."""
    for name in library.names():
        click.echo(f"{name:28} {library.load(name).about}")


@command.command()
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO|FILE.toml|all...")
@click.option("--sim", is_flag=True, help="In a simulated cluster, in virtual time (default).")
@click.option("--local", is_flag=True, help="On processes of this machine.")
@click.option("--target", metavar="URL", help="Against the cluster that answers there.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="How many.")
@click.option(
    "--duration",
    type=FiniteRange(0.1, 86_400),
    metavar="S",
    help="Seconds in which requests arrive; faults and spikes come accordingly.",
)
@click.option("--jobs", type=click.IntRange(1), help="Simulated worlds at once. Default: cores.")
@click.option("--model", help="--local: PATH, smollm2 or tiny (default). --target: its name.")
@click.option("--control", metavar="HOST:PORT", help="--target: a control plane, for leaks.")
@click.option(
    "--tls-ca", type=TRUSTED, envvar="BLOCKYARD_TLS_CA", help="--target: whom to believe."
)
@click.option(
    "--internal-tls", type=FOLDER, envvar="BLOCKYARD_INTERNAL_TLS", help="--control: as a member."
)
@click.option("--kubectl", metavar="NAMESPACE", help="--target: faults by kubectl, in there.")
@click.option("--kubectl-context", metavar="NAME", help="Default: the current one.")
@click.option("--netem-image", metavar="IMAGE", help="Has tc and ss; allows faults of the network.")
@click.option("--json", "json_path", type=FILE, metavar="OUT", help="Write all figures here.")
@click.option("--report", type=FILE, metavar="OUT.html", help="Write a page for people here.")
def run(
    *,
    scenarios: tuple[str, ...],
    sim: bool,
    local: bool,
    target: str | None,
    seed: int,
    seeds: int,
    duration: float | None,
    jobs: int | None,
    model: str | None,
    control: str | None,
    tls_ca: Path | None,
    internal_tls: Path | None,
    kubectl: str | None,
    kubectl_context: str | None,
    netem_image: str | None,
    json_path: Path | None,
    report: Path | None,
) -> None:
    """Play scenarios and judge what clients heard.

    Exits with 1 if a rule broke, in the simulator also if an aim was missed, or if nothing could be
    played; with 130 after Ctrl-C. What failed is kept beside OUT, as are the logs of servers.
    """
    require_used(target is not None, "--target", control, tls_ca, internal_tls, kubectl)
    require_used(kubectl is not None, "--kubectl", kubectl_context, netem_image)
    require_used(local or target is not None, "--local and --target", model)
    require_writable(json_path, report)
    folder = (json_path or report or Path("here")).parent
    logs = log_folder(folder) if local else None
    cluster = None if kubectl is None else Cluster(kubectl, kubectl_context, netem_image)
    where = chosen(
        Simulated() if sim else None,
        Local(model or TINY, logs) if logs is not None else None,
        Target(target, model, control, cluster, tls_ca, internal_tls) if target else None,
    )
    todo = [
        (scenario, seed + number)
        for scenario in resolved(scenarios, duration)
        for number in range(seeds)
    ]
    again = Again(where, duration, {Path(s).stem: s for s in scenarios if s.endswith(SUFFIX)})
    gathering = Gathering(has_aims=where.is_simulated)
    is_cut = collect(gathering, where, todo, jobs or cpu_count() or 1)
    show_failures(gathering, again)
    write_both(gathering, json_path, report, again.line_of_all(scenarios, seed, seeds=seeds))
    if not where.is_simulated:
        show_kept(gathering.keep_failures(folder, again, {"logs": str(logs or "")}))
    if is_cut:
        click.echo(f"stopped; {len(todo) - len(gathering.results)} were not played", err=True)
        raise SystemExit(INTERRUPTED)
    if not gathering.played:
        raise click.ClickException("nothing was played: this world can do none of it")
    if gathering.failures:
        raise SystemExit(1)


def collect(gathering: Gathering, where: Where, todo: Sequence[pool.Job], processes: int) -> bool:
    """Play all and show the table; whether Ctrl-C came before the end."""
    began = time.perf_counter()
    is_cut = False
    try:
        with bar(len(todo)) as progress:
            for one in results(where, todo, processes, progress.tell):
                gathering.add(one)
                progress.over(one)
    except KeyboardInterrupt:
        is_cut = True
    show_table(gathering)
    show_sum(gathering, time.perf_counter() - began)
    return is_cut


def write_both(gathering: Gathering, figures: Path | None, page: Path | None, line: str) -> None:
    """What was asked for, of the figures and the page; `line` plays all of it again."""
    if figures is not None:
        with writing(figures):
            gathering.write_json(figures)
    if page is not None:
        with writing(page):
            gathering.write_page(page, line)


def require_used(is_there: bool, where: str, *options: object) -> None:
    """UsageError where one of these options was given, and what it is for was not."""
    if not is_there and any(option is not None for option in options):
        raise click.UsageError(f"an option that is only for {where} was given without it")


def require_writable(*paths: Path | None) -> None:
    """Before anything is played, not after. Raises a UsageError that names the path."""
    for path in filter(None, paths):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a"):
                pass
        except OSError as error:
            raise click.UsageError(f"cannot write {path}: {error.strerror}") from error


def log_folder(folder: Path) -> Path:
    """One that no other run writes to."""
    logs = folder / LOGS
    logs.mkdir(parents=True, exist_ok=True)
    return Path(mkdtemp(prefix="run-", dir=logs))


def chosen(*places: Where | None) -> Where:
    """The one that was asked for; the simulator if none was."""
    asked = [place for place in places if place is not None]
    if len(asked) > 1:
        raise click.UsageError("choose one of --sim, --local and --target")
    return asked[0] if asked else Simulated()


def resolved(scenarios: Sequence[str], duration: float | None) -> list[Scenario]:
    """Those of these names, or in these files."""
    names = [name for word in scenarios for name in (library.names() if word == ALL else (word,))]
    try:
        found = [
            library.load_file(Path(name)) if name.endswith(SUFFIX) else library.load(name)
            for name in names
        ]
    except BadScenario as error:
        raise click.ClickException(str(error)) from error
    return found if duration is None else [lasting(one, duration) for one in found]


def results(
    where: Where, todo: Sequence[pool.Job], processes: int, tell: Callable[[str], None]
) -> Iterator[Run | Skipped]:
    """In order. Simulated worlds run side by side, a real one plays one after the other."""
    if where.is_simulated and processes > 1 and len(todo) > 1:
        yield from pool.at_once(todo, processes=min(processes, len(todo)))
        return
    try:
        with where.open() as world:
            for scenario, seed in todo:
                tell(f"{scenario.name}, seed {seed}")
                yield play(world, scenario, seed, tell)
    except CannotDo as error:  # nothing can be played there at all
        raise click.ClickException(str(error)) from error
