"""`passl train` and `tools/train.py`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import List, Optional

from passl.utils.cpu import configure_cpu
from passl.utils.errors import UserError
from passl.utils.logging import get_logger

_BASE_BATCH_SIZE = "optimizer.base_batch_size"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_config_arguments(parser)
    add_process_arguments(parser)
    parser.add_argument(
        "--load", metavar="WEIGHTS", help="start from these weights: a file or a folder of any toolkit, or an address"
    )
    add_loading_arguments(parser)
    parser.add_argument(
        "--resume", metavar="auto|PATH", help="continue from the newest state of the run folder, or from this one"
    )
    parser.add_argument(
        "--allow-config-change", action="store_true", help="with --resume: continue although the config has changed"
    )
    parser.add_argument(
        "--evaluate-only", action="store_true", help="run the evaluators once, on --load's weights, and end"
    )
    parser.add_argument("--dry-run", action="store_true", help="build everything, compute one loss, write nothing")


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command that reads a training config."""
    parser.add_argument("-c", "--config", required=True, metavar="CONFIG", help="the YAML file")
    parser.add_argument(
        "-o",
        "--override",
        action="append",
        default=[],
        metavar="KEY.SUB=VALUE",
        help="change a key of the config; repeatable",
    )
    parser.add_argument("--output-dir", metavar="DIR", help="the run folder")
    parser.add_argument("--print-config", action="store_true", help="print the whole config with all defaults, and end")


def add_loading_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command that has --load."""
    parser.add_argument("--partial", action="store_true", help="take over what fits of --load, and print what does not")
    parser.add_argument(
        "--resize-positions",
        action="store_true",
        help="resample the tables of positions of --load for the config's image size and context length",
    )


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command that may run in several processes."""
    parser.add_argument("--num-gpus", type=int, metavar="N", help="use N GPUs of this machine, one process each")
    parser.add_argument("--device", choices=("gpu", "cpu"), help="where to compute; the config's `device` otherwise")
    parser.add_argument("--num-procs", type=int, metavar="N", help="with --device cpu: compute in N processes")


def run(arguments: argparse.Namespace) -> int:
    """Checks what was asked for, starts further processes if needed, and trains."""
    _check_combinations(arguments)
    from passl.distributed import world_size
    from passl.distributed.environment import num_local_processes
    from passl.distributed.launch import launch

    wanted = arguments.num_gpus or arguments.num_procs or 1
    if world_size() > 1 and wanted not in (1, world_size()):
        raise UserError(
            f"a launcher started {world_size()} processes already; {wanted} were asked for. Give one of the two"
        )
    is_to_be_launched = wanted > 1 and world_size() == 1
    configure_cpu(num_local_processes=wanted if is_to_be_launched else num_local_processes())
    config = read_config(arguments)
    if arguments.print_config:
        from passl.config import to_yaml

        print(to_yaml(config), end="")
        return 0
    if config.device == "gpu":
        check_gpus(arguments.num_gpus or 1, arguments.config)
    if is_to_be_launched:
        return launch([sys.executable, *sys.argv], wanted, config.device)
    return _train(arguments, config)


def _check_combinations(arguments: argparse.Namespace) -> None:
    if arguments.num_gpus is not None and arguments.device == "cpu":
        raise UserError("--num-gpus goes with GPUs; on the CPU give --device cpu --num-procs N")
    if arguments.num_procs is not None and arguments.device != "cpu":
        raise UserError("--num-procs goes with --device cpu; on GPUs give --num-gpus N")
    for name in ("num_gpus", "num_procs"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} is {getattr(arguments, name)}; it is at least 1")
    for name in ("partial", "resize_positions"):
        if getattr(arguments, name) and arguments.load is None:
            raise UserError(f"--{name.replace('_', '-')} goes with --load WEIGHTS")
    if arguments.allow_config_change and arguments.resume is None:
        raise UserError("--allow-config-change goes with --resume")
    if arguments.evaluate_only and (arguments.resume is not None or arguments.dry_run):
        raise UserError(
            "--evaluate-only measures the weights of --load and trains nothing; leave out --resume and --dry-run"
        )
    if arguments.dry_run and arguments.resume is not None:
        raise UserError("--dry-run tries a run from its beginning; leave out --resume")
    if arguments.load is not None and arguments.resume not in (None, "auto"):
        raise UserError("--load starts from weights and --resume PATH continues a run; give one of them")


def read_config(arguments: argparse.Namespace):
    """The checked config with the command line's changes.

    A rate given with `-o optimizer.lr=` is used as it is: `base_batch_size`, which would scale it, is taken out.
    """
    from passl.config import build, load_config
    from passl.engine.run_config import RunConfig

    register_everything()
    overrides = list(arguments.override)
    names = [override.partition("=")[0].strip() for override in overrides]
    if "optimizer.lr" in names and _BASE_BATCH_SIZE not in names:
        overrides.append(f"{_BASE_BATCH_SIZE}=null")
    device = arguments.device or ("gpu" if arguments.num_gpus else None)
    if device is not None:
        overrides.append(f"device={device}")
    return build(RunConfig, load_config(arguments.config, overrides))


def register_everything() -> None:
    """Imports the modules whose classes configs can name."""
    import passl.datasets
    import passl.datasets.preprocess.transforms
    import passl.evaluation.zero_shot
    import passl.modeling.architectures
    import passl.optim
    import passl.tokenizers  # noqa: F401


def check_gpus(wanted: int, config_path: str) -> None:
    """Raises `UserError` when this machine has fewer GPUs than wanted."""
    import paddle

    there = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    if there < wanted:
        why = "" if paddle.is_compiled_with_cuda() else " (this PaddlePaddle is built for the CPU)"
        raise UserError(
            f"{wanted} GPU{'s' * (wanted > 1)} asked for, {there} found{why}. To train on the CPU: "
            f"python tools/train.py -c {config_path} --device cpu --num-procs {wanted}"
        )


def output_folder(arguments: argparse.Namespace, configured: Optional[str]) -> Path:
    """The run folder: --output-dir, else the config's, else outputs/ and the config's path below configs/."""
    chosen = arguments.output_dir or configured
    if chosen:
        return Path(chosen)
    parts: List[str] = list(Path(arguments.config).resolve().with_suffix("").parts)
    below = parts[parts.index("configs") + 1 :] if "configs" in parts else parts[-1:]
    return Path("outputs", *below)


def _train(arguments: argparse.Namespace, config) -> int:
    from passl import distributed
    from passl.engine.evaluate_only import evaluate_only
    from passl.engine.trainer import RunOptions, Stopped, Trainer

    distributed.start(config.device)
    if distributed.rank() > 0:
        get_logger().setLevel("ERROR")  # the first process speaks for all
    folder = output_folder(arguments, config.output_dir)
    if arguments.evaluate_only:
        if arguments.output_dir is None:
            folder = folder / "evaluation"  # the run's own results stay
        results = evaluate_only(config, folder, arguments.load, arguments.partial, arguments.resize_positions)
    else:
        options = RunOptions(
            load=arguments.load,
            partial=arguments.partial,
            resize_positions=arguments.resize_positions,
            resume=arguments.resume,
            allow_config_change=arguments.allow_config_change,
        )
        trainer = Trainer(config, folder, options)
        if arguments.dry_run:
            trainer.dry_run()
            distributed.finish()
            return 0
        try:
            results = trainer.run()
        except Stopped as stopped:
            get_logger().info("stopped by %s; continue with --resume auto", stopped)
            return stopped.exit_code
    distributed.finish()
    return _judge(config.expect, results) if distributed.rank() == 0 else 0


def _judge(expect, results) -> int:
    """Says whether the expectation was met; the exit code is 1 when it was not."""
    if expect is None:
        return 0
    label, _, metric = expect.metric.rpartition(".")
    value = results[label][metric]
    met = value >= expect.at_least
    get_logger().info(
        "expected %s of at least %.4f: it is %.4f, %s",
        expect.metric,
        expect.at_least,
        value,
        "met" if met else "NOT met",
    )
    return 0 if met else 1
