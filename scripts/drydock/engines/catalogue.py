"""What is known of GPUs and models: `data/gpus.yaml` and `data/models.yaml`."""

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from drydock.engines.model_config import read_shape, suite_shape
from drydock.errors import UsageError

DTYPE_BYTES = {
    "float32": 4.0,
    "float16": 2.0,
    "half": 2.0,
    "bfloat16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "mxfp4": 0.53125,
    "int4": 0.53125,
}
"""Bytes a weight; four-bit formats with one 8-bit or 16-bit scale for 32 or 128 weights."""

_PARAMETERS = re.compile(r"(?<![a-z\d.])(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z\d])")
_QUANTIZED_NAME = re.compile(r"[-.](fp8|w8a8|quantized\.w8a8|awq|gptq|w4a16|quantized\.w4a16|bnb-4bit)(?![a-z]).*$")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator; units as in the data file."""

    name: str
    bf16_tflops: float
    bandwidth_gbs: float
    memory_gib: float
    interconnect_gbs: float
    watts: float
    instances: tuple[str, ...]
    source: str
    capability: float
    fp8_tflops: float | None = None

    @property
    def bf16(self) -> bool:
        """Whether it computes in bfloat16; vLLM refuses it on others."""
        return self.capability >= 8.0  # noqa: PLR2004 (see start_rules.py)

    @property
    def nvidia(self) -> bool:
        """Whether it is a GPU; Neuron devices are the rest."""
        return not self.name.startswith(("inferentia", "trainium"))


@dataclass(frozen=True, slots=True)
class Model:
    """The shape of one model; units as in the data file."""

    name: str
    ids: tuple[str, ...]
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    context: int
    parameters: float
    dtype: str
    tied: bool = False
    experts: int = 0
    active_experts: int = 0
    expert_intermediate: int = 0
    shared_intermediate: int = 0
    dense_layers: int = 0
    latent: int = 0
    q_latent: int = 0
    fp8_block: int = 0
    window: int = 0
    full_layers: int = 0
    linear_layers: int = 0
    linear_mixer: float = 0.0
    state_elements: int = 0
    encoder: float = 0.0
    guessed: str = ""
    source: str = ""
    mixerless_layers: int = 0
    mlp_layers: int | None = None
    mlp_matrices: int = 3
    family: str = ""

    @property
    def attending_layers(self) -> int:
        """Layers of attention, full or with a window."""
        return self.layers - self.linear_layers - self.mixerless_layers

    @property
    def window_layers(self) -> int:
        """Layers that look back only so many tokens as `window` says."""
        return self.attending_layers - self.full_layers if self.window else 0

    @property
    def mixer_parameters(self) -> float:
        """Of all layers' attention, and of what stands in its place in layers of linear attention."""
        return self.attention_parameters * self.attending_layers + 1e6 * self.linear_mixer * self.linear_layers

    @property
    def attention_parameters(self) -> float:
        """Of one layer's four projections."""
        if self.latent:
            rope = 64
            queries = self.hidden * self.q_latent + self.q_latent * self.heads * (self.head_dim + rope)
            keys = self.hidden * self.latent + (self.latent - rope) * self.heads * 2 * self.head_dim
            return queries + keys + self.heads * self.head_dim * self.hidden
        return self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)

    def _mlp_parameters(self, experts: int) -> float:
        """Of all layers, with so many experts counted in each layer that has them."""
        layers = self.layers if self.mlp_layers is None else self.mlp_layers
        dense = self.mlp_matrices * self.hidden * self.intermediate
        if not self.experts:
            return dense * layers
        wide = experts * self.expert_intermediate + self.shared_intermediate
        return dense * self.dense_layers + self.mlp_matrices * self.hidden * wide * (layers - self.dense_layers)

    @property
    def embedding_parameters(self) -> float:
        """Of one embedding (or output) matrix."""
        return self.vocab * self.hidden

    @property
    def linear_parameters(self) -> float:
        """Of all layers' matrices, without embeddings."""
        return self.mixer_parameters + self._mlp_parameters(self.experts)

    def active_parameters(self) -> float:
        """Matrix parameters that one token goes through, without embeddings."""
        return self.mixer_parameters + self._mlp_parameters(self.active_experts)

    def touched_parameters(self, tokens: float) -> float:
        """Matrix parameters read for a batch of independent tokens: of a mixture, the experts that anyone chose."""
        if not self.experts:
            return self.linear_parameters
        missed = float((1 - self.active_experts / self.experts) ** tokens)
        return (
            self.mixer_parameters
            + self._mlp_parameters(1)
            + (self._mlp_parameters(self.experts) - self._mlp_parameters(1)) * (1 - missed)
        )

    def weight_bytes(self, quantization: str | None = None, dtype: str = "auto") -> float:
        """Bytes of all weights; quantization leaves embeddings, output matrix and norms in 16 bits."""
        stored = self.dtype if dtype == "auto" else dtype
        target = quantized_dtype(quantization) or (stored if stored in {"fp8", "mxfp4", "int4"} else None)
        if target is None:
            return self.parameters * 1e9 * DTYPE_BYTES.get(stored, 2.0)
        linear = min(self.linear_parameters, self.parameters * 1e9)
        if target == "mxfp4":
            linear = self._mlp_parameters(self.experts)
        return linear * DTYPE_BYTES[target] + (self.parameters * 1e9 - linear) * 2.0

    def kv_elements(self) -> int:
        """Elements of KV cache a token, all layers that have one."""
        return self.attending_layers * (self.latent or 2 * self.kv_heads * self.head_dim)

    def kv_share(self, length: int, batched: int) -> float:
        """Of a token in every layer, what each token of a request of that length holds on average.

        A layer with a window holds the window and the tokens of a step (vllm/v1/kv_cache_interface.py,
        SlidingWindowSpec.max_memory_usage_bytes); one of linear attention a state that does not grow.
        """
        held = min(1.0, (self.window + batched) / max(length, 1)) if self.window else 1.0
        full = self.attending_layers - self.window_layers
        state = self.linear_layers * self.state_elements / max(length, 1)
        grown = (full + self.window_layers * held) * (self.latent or 2 * self.kv_heads * self.head_dim)
        return (grown + state) / max(self.kv_elements(), 1)

    def kv_bytes(self, kv_cache_dtype: str = "auto", dtype: str = "auto") -> float:
        """Bytes of KV cache a token, all layers; `auto` is the type that the model computes in."""
        if kv_cache_dtype == "auto":
            return self.kv_elements() * (4.0 if dtype in ("float32", "float") else 2.0)
        return self.kv_elements() * (1.0 if kv_cache_dtype.startswith(("fp8", "int8")) else 2.0)


@dataclass(frozen=True, slots=True)
class QuantizationMethod:
    """One of vLLM's methods; units as in the data file."""

    weights: str
    capability: float
    dtypes: tuple[str, ...]
    source: str
    config: str = ""


@cache
def quantization_methods() -> dict[str, QuantizationMethod]:
    """Every method by name."""
    return {
        name: QuantizationMethod(**{**facts, "dtypes": tuple(facts["dtypes"])})
        for name, facts in _read("vllm/quantization.yaml").items()
    }


def quantized_dtype(quantization: str | None) -> str | None:
    """What weights are stored in under vLLM's `--quantization`.

    Raises:
        UsageError: there is no such method.
    """
    if quantization is None:
        return None
    if quantization not in quantization_methods():
        raise UsageError(
            f"quantization {quantization!r} is not known",
            remedy=f"known are {', '.join(sorted(quantization_methods()))}",
        )
    return quantization_methods()[quantization].weights


def _read(name: str) -> dict[str, dict[str, Any]]:
    import yaml

    data: dict[str, dict[str, Any]] = yaml.safe_load((files("drydock") / "data" / name).read_text())
    return data


@cache
def gpus() -> dict[str, Gpu]:
    """Every accelerator by name."""
    return {
        name: Gpu(name=name, **{**facts, "instances": tuple(facts["instances"])})
        for name, facts in _read("gpus.yaml").items()
    }


@cache
def models() -> dict[str, Model]:
    """Every model by name."""
    return {
        name: Model(name=name, **{**facts, "ids": tuple(facts["ids"])}) for name, facts in _read("models.yaml").items()
    }


def find_gpu(name: str) -> Gpu:
    """An accelerator by name, however it is written (`H100`, `nvidia-h100`, `NVIDIA H100 80GB HBM3`)."""
    key = name.lower().replace("nvidia", "").strip(" -_").replace("_", "-").replace(" ", "-")
    for known in sorted(gpus(), key=len, reverse=True):
        if key == known or key.startswith(f"{known}-"):
            return gpus()[known]
    if key == "a100":
        return gpus()["a100-80gb"]
    raise _unknown("GPU", name, list(gpus()))


def find_model(name: str) -> Model:
    """A model by its name here, a Hugging Face repository or its last part, or by its own config.json.

    Raises:
        UsageError: it is not known, or the file is not that of a model.
    """
    if (own := read_shape(name)) is not None:
        return _own_model(own)
    key = name.rstrip("/").lower()
    for model in models().values():
        for known in (model.name, *model.ids):
            if key in {known.lower(), known.lower().rpartition("/")[2]}:
                return model
    last = key.rpartition("/")[2].replace("meta-", "").replace("-instruct", "").replace("-shape", "")
    if last in models():
        return models()[last]
    raise _unknown("model", name, list(models()))


def _own_model(shape: dict[str, Any]) -> Model:
    """A model of which only its shape is known: parameters by the bytes of its weights, else by its matrices."""
    stored = int(shape.pop("index_bytes"))
    model = Model(**shape, parameters=0.0)
    counted = model.linear_parameters + model.embedding_parameters * (1 if model.tied else 2)
    parameters = counted / 1e9 + model.encoder
    if stored and model.dtype in ("bfloat16", "float16", "float32"):
        parameters = stored / DTYPE_BYTES[model.dtype] / 1e9
    return replace(model, parameters=parameters)


def recognized(name: str) -> tuple[Model, str | None] | None:
    """A model by the name that engines are given, which may be a folder's, and the quantization that the name states.

    Quantized copies are named after their original, `Meta-Llama-3.1-8B-Instruct-FP8`. None for what is not known.

    Raises:
        UsageError: the suite has a shape of that name which cannot be read.
    """
    last = name.rstrip("/").rpartition("/")[2].lower()
    marked = _QUANTIZED_NAME.search(last)
    plain = last[: marked.start()] if marked else last
    try:
        model = find_model(name if not marked and not name.startswith((".", "/")) else plain)
    except UsageError:
        if suite_shape(name) or suite_shape(plain):
            raise
        return None
    if not marked:
        return model, None
    return model, "fp8" if re.search("fp8|w8a8|int8", last[marked.start() :]) else "awq"


def weights_by_name(name: str, quantization: str | None = None) -> float | None:
    """GiB of weights by the parameters that a model's name states, as `acme/dock-70b`; None where it states none.

    A guess: `8x7b` counts as 56 billion, and names of mixtures say all parameters, or those of one expert.
    """
    last = name.rstrip("/").rpartition("/")[2].lower()
    found = _PARAMETERS.search(last)
    if not found:
        return None
    method = quantization or checkpoint_of(name)
    stored = quantized_dtype(method) if method in quantization_methods() else None
    billions = int(found[1] or 1) * float(found[2])
    return billions * 1e9 * DTYPE_BYTES[stored or "bfloat16"] / 2**30


def checkpoint_of(name: str) -> str | None:
    """The method by which weights were quantized, as the name of their repository says; None where it says nothing."""
    owner, _, last = name.rstrip("/").lower().rpartition("/")
    marked = _QUANTIZED_NAME.search(last)
    if not marked:
        return None
    if owner in ("redhatai", "neuralmagic") or "dynamic" in last:
        return "compressed-tensors"
    methods = {"awq": "awq", "gptq": "gptq", "bnb-4bit": "bitsandbytes", "fp8": "fp8"}
    return methods.get(marked[1], "compressed-tensors")


def _unknown(kind: str, name: str, known: list[str]) -> UsageError:
    close = get_close_matches(name.lower(), known, n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    own = "; or name a folder with its config.json, or put that into the Hugging Face cache" if kind == "model" else ""
    return UsageError(f"{kind} {name!r} is not in the catalogue", remedy=f"{guess}known are {', '.join(known)}{own}")
