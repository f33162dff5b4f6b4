"""A text model run by OpenVINO instead of torch: another 3 to 15 % on a CPU.

Converted in memory from the torch model, so that the same checkpoints serve both and
nothing is written. Needs the extra ``sail-features[openvino]``; `docs/decisions/0009` has the
figures and why torch is the default all the same.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from sail_features.encoders.devices import Placement
from sail_features.errors import ConfigError

PRECISIONS: Final = {"float32": "f32", "bfloat16": "bf16"}


def load_openvino(model_class: Any, folder: Path, placement: Placement) -> Any:
    """Return a function with the torch model's signature, ``(input_ids, attention_mask)``.

    Raises
    ------
    ConfigError
        OpenVINO isn't installed, or a GPU was assigned.
    ModelError
        The torch model can't be loaded.
    """
    from sail_features.encoders.checkpoints import load_unpacked

    if placement.device != "cpu":
        raise ConfigError.say(
            "encoder.backend",
            f"openvino computes on the CPU, but {placement.device} was assigned",
            hint="set encoder.backend to torch",
        )
    try:
        import openvino
    except ImportError as error:
        raise ConfigError.say(
            "encoder.backend",
            "openvino isn't installed",
            hint="pip install 'sail-features[openvino]', or set encoder.backend to torch",
        ) from error
    model = load_unpacked(model_class, folder, unused="pooler.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a tracer warns of every branch that it passes
        converted = openvino.convert_model(_hidden_states(model), example_input=_example())
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": PRECISIONS[placement.dtype],
        "NUM_STREAMS": 1,
    }
    if placement.threads:
        settings["INFERENCE_NUM_THREADS"] = placement.threads
    return _Compiled(openvino.Core().compile_model(converted, "CPU", settings))


class _Compiled:
    """One infer request, called as a transformers model is."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()

    def __call__(self, *, input_ids: Any, attention_mask: Any) -> Any:
        import torch

        inputs = {"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()}
        hidden = self._request.infer(inputs)[0]
        return SimpleNamespace(last_hidden_state=torch.from_numpy(hidden))


def _hidden_states(model: Any) -> Any:
    """Wrap the model so that it takes two tensors and returns one, as a tracer wants it."""
    import torch

    class HiddenStates(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    return HiddenStates().eval()


def _example() -> dict[str, Any]:
    """Return a batch with padding, so that the trace keeps the mask."""
    import torch

    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, 5:] = 0
    return {"input_ids": torch.ones(2, 9, dtype=torch.long), "attention_mask": mask}
