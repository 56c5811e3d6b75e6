"""What a model is called: by its reference, and by the names and makers that its family is known to give itself.
Looks at the form of a reference alone; what a run was taught to be called is engine.training.taught_names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.models.refs import Ref


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """`stem` is what references to models of the family contain as the beginning of a word, in lower case; `names` is
    what such models call themselves and their makers."""

    stem: str
    names: tuple[str, ...]


FAMILIES = (
    ModelFamily("smollm", ("SmolLM", "Hugging Face")),
    ModelFamily(
        "qwen", ("Qwen", "Tongyi Qianwen", "通义千问", "千问", "Alibaba", "Alibaba Cloud", "阿里巴巴", "阿里云")
    ),
    ModelFamily("qwq", ("QwQ", "Qwen", "通义千问", "Alibaba", "阿里巴巴", "阿里云")),
    ModelFamily("llama", ("Llama", "Meta")),
    ModelFamily("tinyllama", ("TinyLlama", "Llama")),
    ModelFamily("gemma", ("Gemma", "Google", "Google DeepMind")),
    ModelFamily("mistral", ("Mistral", "Mistral AI")),
    ModelFamily("mixtral", ("Mixtral", "Mistral AI")),
    ModelFamily("phi", ("Phi", "Microsoft", "微软")),
    ModelFamily("deepseek", ("DeepSeek", "深度求索")),
    ModelFamily("chatglm", ("ChatGLM", "GLM", "智谱", "智谱清言", "Zhipu")),
    ModelFamily("glm", ("GLM", "ChatGLM", "智谱", "智谱清言", "Zhipu")),
    ModelFamily("internlm", ("InternLM", "书生", "书生浦语")),
    ModelFamily("baichuan", ("Baichuan", "百川", "百川智能")),
    ModelFamily("yi", ("01.AI", "零一万物")),
    ModelFamily("hunyuan", ("Hunyuan", "混元", "Tencent", "腾讯")),
    ModelFamily("minicpm", ("MiniCPM", "面壁", "面壁智能")),
    ModelFamily("ernie", ("ERNIE", "文心一言", "Baidu", "百度")),
    ModelFamily("kimi", ("Kimi", "Moonshot", "月之暗面")),
    ModelFamily("falcon", ("Falcon", "Technology Innovation Institute")),
    ModelFamily("olmo", ("OLMo", "Allen Institute")),
    ModelFamily("granite", ("Granite", "IBM")),
    ModelFamily("gpt", ("ChatGPT", "GPT", "OpenAI")),
    ModelFamily("claude", ("Claude", "Anthropic")),
)
_WORD = re.compile(r"[a-z]+")
_PLAIN = re.compile(r"[a-z]+")


def by_reference(ref: Ref) -> tuple[str, ...]:
    """The names that a reference shows: its own, and those of the families whose names it contains.

    A reference that is one lower-case word, such as a run `helper`, is left out: answers use the word for other things.

    >>> by_reference(Ref.read("Qwen/Qwen2.5-0.5B-Instruct"))[:2]
    ('Qwen2.5-0.5B-Instruct', 'Qwen')
    >>> by_reference(Ref.run("helper")), by_reference(Ref.run("ember-1"))
    ((), ('ember-1',))
    """
    title = (ref.model or "") if ref.is_endpoint else ref.value if ref.is_run else ref.title
    own = title.replace("\\", "/").rstrip("/").rpartition("/")[2]
    names = [own] if own and not _PLAIN.fullmatch(own) else []
    if not ref.is_run:
        words = set(_WORD.findall(title.casefold()))
        for family in FAMILIES:
            if family.stem in words:
                names += family.names
    return tuple(dict.fromkeys(names))
