"""Writes three toy models that a real llama.cpp server loads. No trained weights: each is made of rules.

    make.py DIR        -> DIR/random.gguf  DIR/scripted.gguf  DIR/tool.gguf

scripted  answers every conversation with SENTENCE, greedy or sampled.
tool      asks for the tool `book` when tools are offered, and says ANSWER once it has the result.
random    babbles printable text until `max_tokens`: for lengths, stops and cancelled streams.

How a rule becomes a model: the embedding is the identity, all blocks add nothing, and the output
matrix holds a 1 at [next token, this token]. So the last token alone decides the next one, and every
piece of a sentence must be a token that occurs once.
"""

import sys
from pathlib import Path

import gguf
import numpy as np

SENTENCE = "Good day , the desk is open ."
ANSWER = "Booked you in at nine ."
TOOL_CALL = ["<tool_call>\n", '{"name":▁"book",▁"arguments":▁', '{"slot":▁"9am"}', "}\n", "</tool_call>"]

CONTROL = ["<s>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|answer|>"]
END = CONTROL.index("<|end|>") + 1  # the unknown token stands before the control tokens
LETTERS = list("▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'\"{}[]()/_<>|-")
CONTEXT_TOKENS = 32768

PLAIN_TEMPLATE = (
    "{%- for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|assistant|>' }}{%- endif %}"
)
TOOL_TEMPLATE = (
    "{%- for m in messages %}{%- if m.role == 'assistant' and m.tool_calls %}{{ '<|assistant|>' }}"
    "{%- for c in m.tool_calls %}"
    "{{ '<tool_call>\n{\"name\": \"' + c.function.name + '\", \"arguments\": ' }}"
    "{{ (c.function.arguments | tojson) + '}\n</tool_call>' }}{%- endfor %}{{ '<|end|>' }}"
    "{%- else %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{%- endif %}{%- endfor %}"
    "{%- if tools %}{{ '<|system|>' }}{%- for t in tools %}{{ t | tojson }}{%- endfor %}{{ '<|end|>' }}{%- endif %}"
    "{%- if add_generation_prompt %}{%- if tools and messages[-1].role != 'tool' %}{{ '<|assistant|>' }}"
    "{%- else %}{{ '<|answer|>' }}{%- endif %}{%- endif %}"
)


def pieces(sentence):
    """The words of a sentence as tokens; a full stop or comma of its own stays without a space."""
    return [word if word in ".,!?" else "▁" + word for word in sentence.split()]


def vocabulary(words):
    """Tokens and their types in llama.cpp's numbering: 2 unknown, 3 control, 6 byte, 1 normal."""
    normal = list(dict.fromkeys([*words, *LETTERS]))
    tokens = ["<unk>", *CONTROL, *(f"<0x{byte:02X}>" for byte in range(256)), *normal]
    return tokens, [2] + [3] * len(CONTROL) + [6] * 256 + [1] * len(normal)


def write(path, tokens, types, template, width, feed_forward, blocks, tensors):
    w = gguf.GGUFWriter(str(path), "llama")
    w.add_name(f"toy-{path.stem}")
    w.add_context_length(CONTEXT_TOKENS)
    w.add_embedding_length(width)
    w.add_block_count(blocks)
    w.add_feed_forward_length(feed_forward)
    w.add_head_count(4)
    w.add_head_count_kv(4)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(width // 4)
    w.add_vocab_size(len(tokens))
    w.add_file_type(0)
    w.add_tokenizer_model("llama")
    w.add_tokenizer_pre("default")
    w.add_token_list(tokens)
    w.add_token_scores([-float(i) for i in range(len(tokens))])
    w.add_token_types(types)
    w.add_bos_token_id(1)
    w.add_eos_token_id(END)
    w.add_unk_token_id(0)
    w.add_add_bos_token(True)
    w.add_add_space_prefix(False)
    w.add_chat_template(template)
    for name, values in tensors.items():
        w.add_tensor(name, values.astype(np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def block(number, width, feed_forward, fill):
    names = {f"attn_{part}": (width, width) for part in ("q", "k", "v", "output")}
    names |= {"ffn_gate": (feed_forward, width), "ffn_up": (feed_forward, width), "ffn_down": (width, feed_forward)}
    weights = {f"blk.{number}.{name}.weight": fill(shape) for name, shape in names.items()}
    norms = {f"blk.{number}.{name}.weight": np.ones(width) for name in ("attn_norm", "ffn_norm")}
    return weights | norms


def rule_model(path, template, chains):
    """A model that walks along `chains`; every token outside them is followed by the end."""
    tokens, types = vocabulary([piece for chain in chains for piece in chain[1:]])
    width = (len(tokens) + 63) // 64 * 64
    output = np.zeros((len(tokens), width))
    for chain in chains:
        for this, following in zip(chain, [*chain[1:], "<|end|>"], strict=True):
            output[tokens.index(following), tokens.index(this)] = 1.0
    for lonely in np.flatnonzero(output[:, : len(tokens)].sum(axis=0) == 0):
        output[END, lonely] = 1.0
    tensors = {"token_embd.weight": np.eye(len(tokens), width), "output.weight": output}
    tensors |= {"output_norm.weight": np.ones(width)} | block(0, width, 32, np.zeros)
    write(path, tokens, types, template, width, 32, 1, tensors)


def random_model(path):
    random = np.random.default_rng(742)
    tokens, types = vocabulary([])
    width, gaussian = 64, lambda shape: random.normal(0, 0.5, shape)
    output = gaussian((len(tokens), width))
    output[: len(tokens) - len(LETTERS)] = 0  # never a control token, never a raw byte
    tensors = {"token_embd.weight": gaussian((len(tokens), width)), "output.weight": output * 20}
    tensors |= {"output_norm.weight": np.ones(width)}
    tensors |= block(0, width, 128, gaussian) | block(1, width, 128, gaussian)
    write(path, tokens, types, PLAIN_TEMPLATE, width, 128, 2, tensors)


def make(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    random_model(folder / "random.gguf")
    rule_model(folder / "scripted.gguf", PLAIN_TEMPLATE, [["<|assistant|>", *pieces(SENTENCE)]])
    tool_chains = [["<|assistant|>", *TOOL_CALL], ["<|answer|>", *pieces(ANSWER)]]
    rule_model(folder / "tool.gguf", TOOL_TEMPLATE, tool_chains)


if __name__ == "__main__":
    make(sys.argv[1])
