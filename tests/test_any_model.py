"""Every page runs on any GPT-2 that INSIDEGPT_MODEL names: here an untrained one of the size of OpenAI's smallest."""

import json
import os
from pathlib import Path

import nbformat
import pytest
import torch
from jupyter_client.provisioning import KernelProvisionerFactory
from nbclient import NotebookClient
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel

from insidegpt.models import quiet_transformers
from insidegpt.texts import load_text
from insidegpt.tokenizer import END_OF_TEXT, pretrained

ROOT = Path(__file__).parent.parent
SIZE = GPT2Config()  # 12 layers, 12 heads, width 768, 1024 positions, 50,257 tokens


def other_tokenizer() -> Tokenizer:
    """A tokenizer built as GPT-2's is, with as many tokens, that has read English stories alone.

    Its words end where GPT-2's do. The stories do not fill the vocabulary: pairs of bytes take what is left of it.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=SIZE.vocab_size - 1, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([load_text("story/validation/en")], trainer)
    learnt = json.loads(tokenizer.to_str())["model"]
    vocabulary, merges = learnt["vocab"], [tuple(pair) for pair in learnt["merges"]]
    for pair in ((a, b) for a in alphabet for b in alphabet if a + b not in vocabulary):
        if len(vocabulary) == SIZE.vocab_size - 1:
            break
        vocabulary["".join(pair)] = len(vocabulary)
        merges.append(pair)
    tokenizer.model = models.BPE(vocabulary, merges)
    tokenizer.add_special_tokens([END_OF_TEXT])
    assert tokenizer.token_to_id(END_OF_TEXT) == SIZE.eos_token_id
    return tokenizer


@pytest.fixture(scope="module")
def other_gpt2(tmp_path_factory):
    """The folder of the model; removed at the end, for it holds half a gigabyte."""
    folder = tmp_path_factory.mktemp("models") / "gpt2"
    quiet_transformers()
    torch.manual_seed(0)
    GPT2LMHeadModel(SIZE).save_pretrained(folder)
    pretrained(other_tokenizer()).save_pretrained(folder)
    yield folder
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("page", sorted(ROOT.glob("book/*.ipynb")), ids=lambda path: path.stem)
def test_a_page_runs_on_another_gpt2(page, other_gpt2, monkeypatch):
    monkeypatch.setattr(KernelProvisionerFactory.instance(), "default_provisioner_name", "insidegpt-warm")
    notebook = nbformat.read(page, as_version=4)
    client = NotebookClient(notebook, resources={"metadata": {"path": str(page.parent)}})
    client.execute(env=os.environ | {"INSIDEGPT_MODEL": str(other_gpt2)})
