"""New language models that suggest goals: tokenizers, and networks with random weights.

In worlds with few goals a model is a GPT-2 whose tokens are whole clauses and goals. In worlds with many, goals must be put
together from a thing and a place in the caption. So tokens are phrases there, and positions are relative (a Llama),
because an object stands at a fixed distance before its place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from ellm_agent.lm_training.corpus import NO, YES
from envs.interface import Advice

END = "<|endoftext|>"
# For servers with a chat protocol: the model reads the last paragraph only, caption and question.
CHAT_TEMPLATE = "{{ messages[-1]['content'].strip().split('\\n\\n')[-1] }}"
CONTEXT, LONG_CONTEXT = 256, 384  # tokens, in worlds with few goals and with many
# Where tokens end in worlds with few goals and with many. With many, things are the same tokens in captions and goals, so
# that they can be copied, and a place follows its thing directly: that is looked up after half as many steps of training.
CLAUSE_ENDS = r"[,.?\n]"
PHRASE_ENDS = r'\n- (?:{starts})|[,.?"\n]| (?:{joints})(?= )'
PREPOSITIONS = r" (?:{prepositions})(?= )"


def make_tokenizer(
    texts: Sequence[str], vocabulary: int, advice: Advice | None = None
) -> PreTrainedTokenizerFast:
    """Byte-level BPE that can encode any text.

    Args:
        texts: to learn it from.
        vocabulary: tokens.
        advice: of a world with many goals: tokens are at most a phrase. None: they are at most a clause or a goal, and
            common ones are single tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    pieces = [pre_tokenizers.Split(Regex(CLAUSE_ENDS), "merged_with_next")]
    if advice:
        starts, joints, prepositions = (
            "|".join(map(re.escape, words)) for words in (advice.urgency, advice.joints, advice.prepositions)
        )
        ends = PHRASE_ENDS.format(starts=starts, joints=joints)
        pieces = [
            pre_tokenizers.Split(Regex(ends), "isolated"),
            pre_tokenizers.Split(Regex(PREPOSITIONS.format(prepositions=prepositions)), "merged_with_next"),
        ]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*pieces, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, bos_token=END, pad_token=END, chat_template=CHAT_TEMPLATE
    )


def make_model(
    tokenizer: PreTrainedTokenizerFast,
    width: int,
    layers: int,
    heads: int,
    seed: int,
    many_goals: bool = False,
) -> PreTrainedModel:
    """A model with random weights.

    Args:
        tokenizer: its own.
        width: of the layers, units.
        layers: how many.
        heads: of attention.
        seed: of the weights.
        many_goals: whether it is for a world with many goals.
    """
    torch.manual_seed(seed)
    end = tokenizer.eos_token_id
    ends = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    if many_goals:
        shape = LlamaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=LONG_CONTEXT,
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            rope_theta=100_000.0,  # most of a head's numbers hardly turn within a caption: they compare content
            tie_word_embeddings=True,
            # For logits of order 1. With Llama's own .02, made for widths of thousands, learning starts twice as slowly.
            initializer_range=width**-0.5,
            **ends,
        )
        model: PreTrainedModel = LlamaForCausalLM(shape)
    else:
        model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=len(tokenizer),
                n_positions=CONTEXT,
                n_embd=width,
                n_layer=layers,
                n_head=heads,
                activation_function="relu",  # takes half the time of GPT-2's own, with the same loss
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                **ends,
            )
        )
    # At temperature 1 it makes as many mistakes as its corpus. A yes or a no ends an answer, too.
    yes_and_no = [ids[0] for ids in tokenizer([YES, NO])["input_ids"]]
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        epsilon_cutoff=1e-4,
        max_new_tokens=100,
        eos_token_id=[end, *yes_and_no],
        pad_token_id=end,
    )
    return model
