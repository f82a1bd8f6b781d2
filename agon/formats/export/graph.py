"""ONNX and torch.export: the sampler as a graph for any batch, compared with the sampler before it is written."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from agon.errors import UserError
from agon.formats.export.sampler import TOLERANCE, Sampler, difference

BATCHES = {1: 1.0, 3: 0.7, 8: 0.5}
"""Sizes at which a graph is compared, each with a truncation where there is one."""
TRACED = 2
MOST = 2_000_000_000  # bytes of one protobuf message, and so of an ONNX file that holds its weights


def torch_program(sampler: Sampler, description: dict[str, Any]) -> tuple[bytes, float]:
    """(a .pt2 file, the largest relative difference found). Raises UserError for a network that cannot be traced or differs."""
    with _quiet():
        buffer = io.BytesIO()
        torch.export.save(_traced(sampler, "torch"), buffer, extra_files={"agon.json": json.dumps(description, ensure_ascii=False)})
        content = buffer.getvalue()
        program = torch.export.load(io.BytesIO(content)).module()
        return content, compared(sampler, lambda given: program(given.pop("latent"), **given), "torch")


def onnx_graph(sampler: Sampler, description: dict[str, Any]) -> tuple[bytes, float]:
    """(an .onnx file, the largest relative difference that onnxruntime made). Raises UserError where a package is missing, or for a network that cannot be
    traced, is too large for one file, or differs."""
    onnx, onnxruntime = needed()
    size = sum(tensor.numel() * tensor.element_size() for tensor in sampler.state_dict().values())
    if size > MOST:
        raise UserError(
            "The generator has {size} GB, and an ONNX file holds 2. Expected a smaller one: use --to torch or safetensors.", size=f"{size / 1e9:.1f}"
        )
    program = _traced(sampler.cpu(), "onnx")
    _without_wide_rectifiers(program)
    with _quiet():
        try:  # not optimised: that takes the 1e-8 under a square root for 0, and onnxruntime optimises what it loads
            made = torch.onnx.export(program, (), dynamo=True, verbose=False, optimize=False, input_names=list(sampler.inputs), output_names=["samples"])
        except Exception as error:
            raise _refusal("onnx", error) from error
        model = made.model_proto
    _name_batch(model)
    for key, value in (("agon", description["exported_by"]), ("game", description["game"]), ("description", json.dumps(description, ensure_ascii=False))):
        model.metadata_props.add(key=key, value=value)
    content = model.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    try:
        session = onnxruntime.InferenceSession(content, _options(onnxruntime), providers=["CPUExecutionProvider"])
    except Exception as error:  # an operator that it lacks
        raise _refusal("onnx", error) from error

    def run(given: dict[str, Tensor]) -> Tensor:
        return torch.from_numpy(session.run(["samples"], {name: value.numpy() for name, value in given.items()})[0])

    return content, compared(sampler, run, "onnx")


@torch.no_grad()
def compared(sampler: Sampler, run: Callable[[dict[str, Tensor]], Tensor], target: str) -> float:
    """The largest relative difference over :data:`BATCHES`. Raises UserError above :data:`TOLERANCE`, so that no such file is left."""
    found = 0.0
    for n, truncation in BATCHES.items():
        given = sampler.example(n, n, truncation)
        expected, made = sampler(**given), run(given)
        apart = difference(made, expected) if made.shape == expected.shape else float("inf")
        found = max(found, apart)
        if found > TOLERANCE:
            raise UserError(
                "The {target} graph differs from the run by {found} (relative, batch {n}); {tolerance} is allowed. Nothing was written: use --to safetensors.",
                target=target, found=f"{found:.2g}", n=n, tolerance=f"{TOLERANCE:g}",
            )  # fmt: skip
    return found


def needed() -> tuple[Any, Any]:
    """The modules onnx and onnxruntime. Raises UserError where one of the three packages is missing."""
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError("ONNX needs the package {name}, which is not installed. Run: pip install 'agon-gan[export]'", name=error.name) from None
    return onnx, onnxruntime


@torch.no_grad()
def _traced(sampler: Sampler, target: str) -> torch.export.ExportedProgram:
    given = sampler.example(TRACED)
    batch = torch.export.Dim("batch")
    shapes = {name: {0: batch} if name != "truncation" else None for name in given}
    latent = given.pop("latent")
    with _quiet():
        try:  # strict: the other mode reads len(x) as a constant
            return torch.export.export(sampler, (latent,), given, dynamic_shapes=shapes, strict=True)
        except Exception as error:
            raise _refusal(target, error) from error


def _refusal(target: str, error: Exception) -> UserError:
    why = " ".join(str(error).split())[:200]
    return UserError("This generator cannot be traced for {target}: {why} Use --to safetensors, which needs no graph.", target=target, why=why)


def _without_wide_rectifiers(program: torch.export.ExportedProgram) -> None:
    """Write float64 leaky ReLU, which onnxruntime lacks, as the larger of x and slope * x."""
    aten = torch.ops.aten
    for module in program.graph_module.modules():
        for node in list(module.graph.nodes) if isinstance(module, torch.fx.GraphModule) else ():
            if node.target is aten.leaky_relu.default and node.meta["val"].dtype == torch.float64:
                x, slope = (*node.args, 0.01)[:2]
                with module.graph.inserting_before(node):
                    scaled = module.graph.call_function(aten.mul.Tensor, (x, slope))
                    larger = module.graph.call_function(aten.maximum.default, (x, scaled))
                scaled.meta = larger.meta = node.meta
                node.replace_all_uses_with(larger)
                module.graph.erase_node(node)
        if isinstance(module, torch.fx.GraphModule):
            module.recompile()


def _name_batch(model: Any) -> None:
    """Call the first axis of inputs and output "batch"; the exporter names it after a symbol."""
    for value in (*model.graph.input, *model.graph.output):
        axes = value.type.tensor_type.shape.dim
        if axes:
            symbol, axes[0].dim_param = axes[0].dim_param, "batch"
            for other in model.graph.value_info:
                for axis in other.type.tensor_type.shape.dim:
                    if symbol and axis.dim_param == symbol:
                        axis.dim_param = "batch"


def _options(onnxruntime: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return options


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' remarks on their own affairs."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
