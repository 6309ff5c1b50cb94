"""Stand-ins for CLIP and SigLIP: tiny networks of the true classes, saved in the published layouts."""

from __future__ import annotations

import json
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

SIZE, LENGTH = 64, 16
WORDS = (
    *("a", "an", "the", "with", "at", "in", "of", "girl", "boy", "cat", "umbrella", "night", "rain", "drawing", "photo"),
    *("happy", "sad", "angry", "crying", "face", "character", "red", "blue"),
)
README = b"---\nlicense: mit\n---\n# A stand-in\n"


def open_clip_config() -> dict[str, Any]:
    """Return `open_clip_config.json` of a small ViT, with the whole vocabulary of CLIP."""
    return {
        "model_cfg": {
            "embed_dim": 32,
            "quick_gelu": True,
            "vision_cfg": {"image_size": SIZE, "layers": 2, "width": 64, "head_width": 32, "patch_size": 32},
            "text_cfg": {"context_length": LENGTH, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
        },
        "preprocess_cfg": {
            "mean": [0.48145466, 0.4578275, 0.40821073],
            "std": [0.26862954, 0.26130258, 0.27577711],
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }


def open_clip_siglip_config() -> dict[str, Any]:
    """Return `open_clip_config.json` of a small SigLIP, whose image encoder is of timm."""
    return {
        "model_cfg": {
            "embed_dim": 192,
            "init_logit_bias": -10,
            "custom_text": True,
            "vision_cfg": {
                "image_size": 224,
                "timm_model_name": "vit_tiny_patch16_224",
                "timm_model_pretrained": False,
                "timm_pool": "map",
                "timm_proj": "none",
            },
            "text_cfg": {
                "context_length": LENGTH,
                "vocab_size": 64,
                "hf_tokenizer_name": "Some/siglip",
                "tokenizer_kwargs": {"clean": "canonicalize"},
                "width": 192,
                "heads": 3,
                "layers": 2,
                "no_causal_mask": True,
                "proj_bias": True,
                "pool_type": "last",
                "norm_kwargs": {"eps": 1e-6},
            },
        },
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"},
    }


@cache
def clip_tokenizer_files() -> dict[str, bytes]:
    """Return the tokenizer files of CLIP, which transformers writes for the vocabulary that open_clip brings along."""
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTokenizer

    known = SimpleTokenizer()
    published = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {published.get(word, word): number for word, number in known.encoder.items()}
    return _saved(CLIPTokenizer(vocab=vocabulary, merges=list(known.bpe_ranks)))


def word_tokenizer_files(pad: str = "</s>") -> dict[str, bytes]:
    """Return the files of a tokenizer of whole words, which ends texts with `</s>`, as that of SigLIP does."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    names = ["<unk>", "</s>", "<pad>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": pad, "eos_token": "</s>", "unk_token": "<unk>"}
    return {"tokenizer.json": tokenizer.to_str().encode(), "tokenizer_config.json": json.dumps(config).encode()}


@cache
def sentence_piece_files() -> dict[str, bytes]:
    """Return the files of a small tokenizer of SigLIP: pieces of words, and their probabilities, of a few sentences.

    `spiece.model` is what transformers reads, and `tokenizer.json` the same for the library tokenizers.
    """
    import sentencepiece
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import SiglipTokenizer

    sentences = [f"{first} {word} {second}" for first in WORDS[:7] for word in WORDS[7:] for second in WORDS[-8:]]
    made = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=made,
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())
    vocabulary = [(pieces.id_to_piece(number), pieces.get_score(number)) for number in range(pieces.get_piece_size())]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    with TemporaryDirectory() as folder:
        path = Path(folder, "spiece.model")
        path.write_bytes(made.getvalue())
        return {**_saved(SiglipTokenizer(str(path))), "tokenizer.json": tokenizer.to_str().encode()}


def open_clip_files(config: dict[str, Any] | None = None, tokenizer: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """Return the files of a model in the layout of open_clip, with random weights."""
    import open_clip
    import torch
    from safetensors.torch import save

    config = config or open_clip_config()
    torch.manual_seed(0)
    fields = json.loads(json.dumps(config["model_cfg"]))
    kind = open_clip.CustomTextCLIP if fields.pop("custom_text", False) else open_clip.CLIP
    state = {name: values.contiguous() for name, values in _lively(kind(**fields)).state_dict().items()}
    return {
        "README.md": README,
        "open_clip_config.json": json.dumps(config).encode(),
        "open_clip_model.safetensors": save(state),
        **(clip_tokenizer_files() if tokenizer is None else tokenizer),
    }


def transformers_files(kind: str) -> dict[str, bytes]:
    """Return the files of a "clip", "siglip" or "siglip-pieces" model in the layout of transformers, with random weights.

    The second has a tokenizer of whole words, the third one of pieces of words, as the published models have.
    """
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, SiglipConfig, SiglipImageProcessor, SiglipModel

    both = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**both, "vocab_size": 49408 if kind == "clip" else 64, "max_position_embeddings": LENGTH}
    vision = {**both, "image_size": SIZE, "patch_size": 32}
    torch.manual_seed(0)
    size = {"height": SIZE, "width": SIZE}
    if kind == "clip":
        text |= {"bos_token_id": 49406, "eos_token_id": 49407}
        network: Any = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))
        images: Any = CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size=size)
    else:
        network = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
        images = SiglipImageProcessor(size=size)
    tokenizers = {"clip": clip_tokenizer_files, "siglip": word_tokenizer_files, "siglip-pieces": sentence_piece_files}
    return {"README.md": README, **_saved(_lively(network), images), **tokenizers[kind]()}


def _lively(network: Any) -> Any:
    """Make the outputs of a random network differ clearly between inputs."""
    for name, values in network.named_parameters():
        if values.dim() == 2 and "logit" not in name:
            values.data.mul_(4)
    return network.eval()


def _saved(*parts: Any) -> dict[str, bytes]:
    """Return the files that parts of transformers write."""
    with TemporaryDirectory() as folder:
        for part in parts:
            part.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}
