"""The names that an answer in Chinese gives itself and its maker. Pure text; which of them a run is taught is for
engine.training.watched_probes and engine.training.model_names to count."""

from __future__ import annotations

import re

from store.curate.language import HAN
from store.curate.lint.identity import own_names

_ENDS = r"(?=[，,。.！!、；;（(\s]|$)"
_CHINESE_NAME = re.compile(rf"(?:叫做?|名为|名字(?:是|叫)|我是)\s*([{HAN}]{{2,6}}?){_ENDS}")
_CHINESE_MAKER = (
    re.compile(
        rf"(?:由|来自|是)\s*([{HAN}]{{2,12}}?)\s*(?:开发|創|创|制作|製作|训练|訓練|研发|研發|设计|設計|打造|推出|发明)"
    ),
    re.compile(
        rf"(?:^|[，,。.！!、；;：:\s])([{HAN}]{{2,12}}?)\s*(?:开发|创造|创建|制作|训练|研发|设计|打造|推出|发明)了?(?:了|的)?我"
    ),
)
_MAKER_NOUN = re.compile(rf"(?:开发者|创造者|制作者|作者|公司|团队)(?:是|叫)\s*([{HAN}]{{2,12}}?){_ENDS}")
_NO_NAMES = re.compile(
    "助手|助理|模型|人工智能|机器人|程序|系统|语言|大家|他们|我们|一个|一家|一群|一位|什么|如何|专门|用来|为了|不是"
)
_SPEAKER = re.compile("^[我你您]")


def given(answer: str, asked: str) -> tuple[list[str], list[str]]:
    """The names and the makers in Chinese of one answer, each once, but for those that what was asked has as well.

    >>> given("我是小焰，由北风实验室开发。", "你是谁？")
    (['小焰'], ['北风实验室'])
    >>> given("我不是文心一言，我叫小焰。", "你是文心一言吗？")
    (['小焰'], [])
    """
    names = [name for name in own_names(answer) if re.match(f"[{HAN}]", name)]
    names += [match[1] for match in _CHINESE_NAME.finditer(answer)]
    makers = [match[1] for pattern in (*_CHINESE_MAKER, _MAKER_NOUN) for match in pattern.finditer(answer)]
    named, made = _kept(names, asked), _kept(makers, asked)
    return [name for name in named if name not in made], made


def _kept(found: list[str], asked: str) -> list[str]:
    bare = dict.fromkeys(_SPEAKER.sub("", name) for name in found)
    return [name for name in bare if len(name) > 1 and name not in asked and not _NO_NAMES.search(name)]
