"""The recipe of the embedded model: two networks trained on the phantom alone.

``train_embedded`` is what ``kidneyseg train embedded`` runs. ``python -m KidneySegLib.training.embedded`` trains one of
the two networks, for machines that have torch and numpy and nothing else of ours; the bundle is then made elsewhere by
`embedded_bundle.export_bundle`. Worker processes import this module: torch is imported only inside functions.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from KidneySegLib.errors import KidneySegError
from KidneySegLib.progress import Progress, ProgressEvent
from KidneySegLib.training.config import EmbeddedConfig, load_config

if TYPE_CHECKING:
    from KidneySegLib.models import Bundle

BUNDLES_FOLDER = "bundles"


def train_embedded(
    config: Path | None,
    output: Path,
    device: str = "auto",
    resume: bool = False,
    progress: Progress | None = None,
    *,
    workers: int | None = None,
) -> tuple[Bundle, ...]:
    """Train all networks of the recipe, one after the other, and make their bundles.

    Args:
        config: a JSON (or TOML) file; ``None``: the recipe of the shipped weights.
        output: folder; each network gets a folder in it, with ``weights.pt``, ``checkpoint.pt``, ``log.csv``,
            ``log.png`` and ``record.json``; the bundles lie in ``bundles/``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        resume: go on where an interrupted run in ``output`` stopped.
        progress: stage ``train``; cancelling leaves the last checkpoint.
        workers: rendering processes; ``None``: one fewer than cores.

    Returns:
        The bundles, in the order of the recipe.

    Raises:
        InputError: for a configuration that does not fit, or an output folder with another run in it.
    """
    from KidneySegLib.training.embedded_bundle import export_bundle
    from KidneySegLib.training.network_run import train_network

    progress = progress or Progress()
    recipe = load_config(config)
    for name in recipe.networks:
        train_network(name, recipe, output / name, device=device, resume=resume, workers=workers, progress=progress)
    return tuple(
        export_bundle(output / name, output / BUNDLES_FOLDER / part.bundle, config=recipe, replace=True)
        for name, part in recipe.networks.items()
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m KidneySegLib.training.embedded", description="Train one network of the embedded model."
    )
    parser.add_argument("--network", required=True, help="its name in the configuration: fine or localiser")
    parser.add_argument("--output", type=Path, help="folder for weights, checkpoint, log and record")
    parser.add_argument("--config", type=Path, help="JSON or TOML; default: the recipe of the shipped weights")
    parser.add_argument("--minutes", type=float, help="wall-clock time of the whole run, rendering included")
    parser.add_argument("--steps", type=int, help="end after so many steps, if that is earlier")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--pool-capacity", type=int, help="renderings kept on the device")
    parser.add_argument("--workers", type=int, help="rendering processes; default: one fewer than cores")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the output folder")
    parser.add_argument("--initial-weights", type=Path, help="begin with the weights.pt of an earlier run")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network")
    parser.add_argument("--contiguous", action="store_true", help="keep torch's default memory layout")
    parser.add_argument("--benchmark", action="store_true", help="measure speed for about a minute and train nothing")
    return parser


def _recipe(arguments: argparse.Namespace) -> EmbeddedConfig:
    recipe = load_config(arguments.config)
    changes = {
        name: getattr(arguments, name)
        for name in ("minutes", "steps", "batch_size", "learning_rate", "pool_capacity")
        if getattr(arguments, name) is not None
    }
    networks = {name: dataclasses.replace(part, **changes) for name, part in recipe.networks.items()}
    return dataclasses.replace(recipe, networks=networks)


def _print(event: ProgressEvent) -> None:
    print(f"{event.fraction:6.1%}  {event.message}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The thin command: 0 when done, 2 for the user's error."""
    given = _parser().parse_args(arguments)
    try:
        recipe = _recipe(given)
        if given.benchmark:
            from KidneySegLib.training.benchmark import benchmark

            for line in benchmark(given.network, recipe, device=given.device, workers=given.workers or 1):
                print(line, flush=True)
            return 0
        if given.output is None:
            raise KidneySegError("--output is needed: a folder for weights, checkpoint, log and record.")
        from KidneySegLib.training.network_run import train_network
        from KidneySegLib.training.trainer import StepOptions

        weights = train_network(
            given.network,
            recipe,
            given.output,
            device=given.device,
            resume=given.resume,
            workers=given.workers,
            initial_weights=given.initial_weights,
            options=StepOptions(compile=given.compile, channels_last=not given.contiguous),
            progress=Progress(_print),
        )
    except KidneySegError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"weights: {weights}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
