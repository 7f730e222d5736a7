"""The one way to a model: what it loads, how, and what it says when it cannot."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from insidegpt.errors import UserError
from insidegpt.models import SHIPPED, find_device, load_model, model_name
from small_hub import COMMIT, serve


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch):
    """No model or device is named in the environment."""
    monkeypatch.delenv("INSIDEGPT_MODEL", raising=False)
    monkeypatch.delenv("INSIDEGPT_DEVICE", raising=False)


@pytest.fixture
def small_folder(tmp_path):
    """A folder with a very small GPT-2 and the book's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=32, n_embd=16, n_layer=1, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def assert_says(caught, *words: str) -> None:
    """The error is one line in both languages that contains the words."""
    message = str(caught.value)
    assert "\n" not in message and " · " in message
    for word in words:
        assert word in message


def test_without_a_name_the_shipped_model_comes_ready_for_use():
    model, tokenizer = load_model()
    assert model_name(model) == "story-gpt2"
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    ids = tokenizer("Once upon a time", return_tensors="pt").input_ids
    assert model(ids).logits.shape == (1, ids.shape[1], len(tokenizer))


def test_the_environment_names_the_default_model(small_folder, monkeypatch):
    monkeypatch.setenv("INSIDEGPT_MODEL", str(small_folder))
    assert load_model()[0].config.n_layer == 1
    assert load_model(SHIPPED)[0].config.n_layer == 6


def test_attention_weights_come_when_asked_for_and_sum_to_one():
    model, tokenizer = load_model(attentions=True)
    ids = tokenizer("Once upon a time", return_tensors="pt").input_ids
    attentions = model(ids, output_attentions=True).attentions
    assert len(attentions) == model.config.n_layer
    for weights in attentions:
        torch.testing.assert_close(weights.sum(-1), torch.ones(1, model.config.n_head, ids.shape[1]))


def test_attention_weights_do_not_change_the_logits():
    ids = torch.arange(20)[None]
    with torch.inference_mode():
        torch.testing.assert_close(
            load_model()[0](ids).logits, load_model(attentions=True)[0](ids).logits, atol=1e-4, rtol=1e-4
        )


def test_loading_says_nothing():
    code = "from insidegpt.models import load_model; model, tokenizer = load_model(); tokenizer('word ' * 5000)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout + ran.stderr == ""


def test_importing_the_module_imports_neither_torch_nor_transformers():
    code = "import sys, insidegpt.models; print({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


def test_a_full_size_gpt2_in_the_hubs_format_loads_with_all_its_parameters(tmp_path):
    torch.manual_seed(0)
    made = GPT2LMHeadModel(GPT2Config())
    made.save_pretrained(tmp_path / "gpt2")
    AutoTokenizer.from_pretrained(SHIPPED).save_pretrained(tmp_path / "gpt2")
    model, _ = load_model(tmp_path / "gpt2")
    assert model_name(model) == "gpt2"
    assert sum(p.numel() for p in model.parameters()) == 124_439_808
    ids = torch.arange(8)[None]
    with torch.inference_mode():
        torch.testing.assert_close(model(ids).logits, made.eval()(ids).logits)
    (tmp_path / "gpt2" / "model.safetensors").unlink()  # half a gigabyte


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError) as caught:
        load_model(tmp_path)
    assert_says(caught, str(tmp_path), "config.json")


def test_a_model_without_a_tokenizer_is_refused(small_folder):
    (small_folder / "tokenizer.json").unlink()
    with pytest.raises(UserError) as caught:
        load_model(small_folder)
    assert_says(caught, "tokenizer.json")


def test_weights_that_are_cut_off_are_refused(small_folder):
    weights = small_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError) as caught:
        load_model(small_folder)
    assert_says(caught, str(small_folder))


def test_weights_that_are_not_all_there_are_refused(small_folder):
    from safetensors.torch import load_file, save_file

    weights = small_folder / "model.safetensors"
    tensors = load_file(weights)
    del tensors["transformer.h.0.mlp.c_fc.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(UserError) as caught:
        load_model(small_folder)
    assert_says(caught, "h.0.mlp.c_fc.weight")


def test_a_config_that_is_no_json_is_refused(small_folder):
    (small_folder / "config.json").write_text("{")
    with pytest.raises(UserError) as caught:
        load_model(small_folder)
    assert_says(caught, "config.json")


LOAD_FROM_HUB = """
import sys
from insidegpt.errors import UserError
from insidegpt.models import load_model, model_name
try:
    model, tokenizer = load_model(sys.argv[1])
    print(model_name(model), model.config.n_layer, len(tokenizer))
except UserError as error:
    print(error)
"""


def load_from_hub(name: str, address: str, home: Path) -> subprocess.CompletedProcess:
    """Load a model in a new process, from the hub at an address, with downloads kept in `home`."""
    environment = os.environ | {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": address, "HF_HOME": str(home)}
    command = [sys.executable, "-c", LOAD_FROM_HUB, name]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment)


def test_a_model_comes_from_the_hub_once_and_then_without_it(small_folder, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with serve({"models/someone/small": small_folder}) as (address, requests):
        first = load_from_hub("someone/small", address, home)
        assert first.stdout == "small 1 4096\n"
        assert f"GET /someone/small/resolve/{COMMIT}/model.safetensors" in requests
        requests.clear()
        again = load_from_hub("someone/small", address, home)
        assert again.stdout == first.stdout and again.stderr == ""
        assert requests == []


def test_a_model_that_the_hub_has_not_is_refused_in_one_line(tmp_path):
    with serve({}) as (address, _):
        ran = load_from_hub("gpt3", address, tmp_path)
    assert ran.stdout.startswith("gpt3 cannot be loaded") and ran.stdout.count("\n") == 1
    assert ran.stderr == ""


def test_a_hub_that_does_not_answer_is_named_at_once(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # closed by the time it is used
    ran = load_from_hub("gpt2", f"http://127.0.0.1:{port}", tmp_path)
    assert "gpt2 is not on this computer" in ran.stdout and "INSIDEGPT_MODEL" in ran.stdout
    assert ran.stdout.count("\n") == 1 and ran.stderr == ""


def test_a_name_that_no_model_can_have_is_refused():
    with pytest.raises(UserError) as caught:
        load_model("no/such/folder")
    assert_says(caught, "no/such/folder")


def test_the_environment_names_the_default_device(monkeypatch):
    assert find_device().type == "cpu"
    monkeypatch.setenv("INSIDEGPT_DEVICE", "abacus")
    with pytest.raises(UserError) as caught:
        load_model()
    assert_says(caught, "abacus", "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this computer has a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UserError) as caught:
        load_model(device="cuda")
    assert_says(caught, "cuda")


def test_a_device_number_beyond_the_last_is_refused():
    with pytest.raises(UserError) as caught:
        find_device(f"cuda:{torch.cuda.device_count()}")
    assert_says(caught, "cuda:")
