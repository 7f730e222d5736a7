"""The one way to a model, its tokenizer and a device."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from insidegpt.errors import UserError
from insidegpt.hub import require_hub

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SHIPPED = Path(__file__).parent / "assets" / "story-gpt2"


def load_model(
    name: str | Path | None = None, device: str | None = None, attentions: bool = False
) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """A causal language model in float32 and evaluation mode, and its tokenizer.

    name: a folder in transformers' format or a name on the Hugging Face hub ("gpt2-large"); without one, what
    INSIDEGPT_MODEL names, else the GPT-2 that comes with this package. A model that was downloaded before is not
    downloaded again.
    device: "cpu", "cuda", "cuda:1", "mps"; without one, what INSIDEGPT_DEVICE names, else the CPU.
    attentions: make `model(ids, output_attentions=True)` return the attention weights. The fused kernels that are
    quicker never hold them, and transformers 5 then returns an empty tuple without a word.

    Raises UserError when the model or the device is not to be had; never takes another one instead. Warnings and
    progress bars of transformers are switched off for the process.
    """
    device = find_device(device)
    name = str(name or os.environ.get("INSIDEGPT_MODEL") or SHIPPED)
    quiet_transformers()
    kernel = "eager" if attentions else "sdpa"
    if Path(name).expanduser().is_dir():
        model, tokenizer = _from_folder(Path(name).expanduser(), kernel)
    else:
        model, tokenizer = _from_hub(name, kernel)
    return model.to(device).eval(), tokenizer


def model_name(model: "PreTrainedModel") -> str:
    """The name to print beside every number of a model: "story-gpt2", "gpt2-large"."""
    return Path(model.name_or_path).name


def find_device(name: str | None = None) -> "torch.device":
    """The device called `name`, else what INSIDEGPT_DEVICE names, else the CPU; UserError when it is not there."""
    import torch

    name = name or os.environ.get("INSIDEGPT_DEVICE") or "cpu"
    present = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in present:
        raise UserError(
            f"There is no kind of device called {name!r}: take cpu, cuda, cuda:1 or mps.",
            f"没有叫 {name!r} 的设备：请用 cpu、cuda、cuda:1 或 mps。",
        )
    if (device.index or 0) >= present[device.type]:
        raise UserError(
            f"This computer has no device {name!r} that PyTorch can use: take cpu.",
            f"PyTorch 在本机上找不到设备 {name!r}：请用 cpu。",
        )
    return device


def quiet_transformers() -> None:
    """Switch off the warnings and progress bars of transformers, for the process."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _from_folder(folder: Path, kernel: str) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    if not (folder / "config.json").is_file():
        raise UserError(
            f"The folder {folder} holds no model: it has no config.json.",
            f"文件夹 {folder} 里没有模型：缺少 config.json。",
        )
    # Without these files transformers makes up an empty tokenizer.
    if not any((folder / file).is_file() for file in ("tokenizer.json", "vocab.json", "tokenizer.model")):
        raise UserError(
            f"The model in {folder} has no tokenizer: put its tokenizer.json beside it.",
            f"{folder} 里的模型没有分词器：请把它的 tokenizer.json 放进去。",
        )
    return _load(str(folder), kernel, local_files_only=True)


def _from_hub(name: str, kernel: str) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    from huggingface_hub.utils import HFValidationError, enable_progress_bars, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        raise UserError(
            f"There is no folder {name}, and no model on the hub can have this name.",
            f"没有文件夹 {name}，模型库里也不会有这样的名字。",
        ) from None
    try:
        return _load(name, kernel, local_files_only=True)
    except UserError:
        # Not downloaded yet, or not all of it.
        require_hub(
            name,
            ("unset INSIDEGPT_MODEL to use the book's own model", "去掉 INSIDEGPT_MODEL，改用本书自带的模型"),
        )
        enable_progress_bars()  # for the download, which can take minutes
        return _load(name, kernel, local_files_only=False)


def _load(name: str, kernel: str, local_files_only: bool) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=local_files_only)
        model, loading = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=torch.float32,
            attn_implementation=kernel,
            local_files_only=local_files_only,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise UserError(
            f"{name} cannot be loaded as a causal language model ({reason}).",
            f"无法把 {name} 当作因果语言模型读入（{reason}）。",
        ) from error
    if loading["missing_keys"]:
        missing = ", ".join(sorted(loading["missing_keys"])[:3])
        raise UserError(
            f"The weights in {name} are not complete: {missing} … are missing.",
            f"{name} 的权重不全：缺少 {missing} 等。",
        )
    return model, tokenizer
