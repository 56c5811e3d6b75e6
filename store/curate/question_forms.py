"""Which question forms an identity set has: recognised by rules on the words of each pair, in English and Chinese.
The forms are those of the wizard; nothing here reads the store or proposes a pair."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from store.curate import language
from store.curate.duplicates import normal
from store.curate.findings import PairLike
from store.curate.lint.identity import names_another

FORMS: dict[str, str] = {
    "name": "what it is called",
    "who": "who or what it is",
    "maker": "who made it",
    "purpose": "what it can do",
    "style": "how it answers",
    "denial": "taken for another assistant",
    "human": "whether it is a human or an AI",
    "confirmation": "asked by its own name or maker",
    "roleplay": "told to be someone else",
    "conversation": "asked after earlier turns",
    "languages": "in a language other than most",
}
"""Every form and what its questions ask. The wizard makes all of them; a second language by --language."""

_LOOKED_AT, _BEGINNING = 400, 64
"""Characters of a question, and of the beginning of an answer, that the rules look at."""

_ROLEPLAY = re.compile(
    r"\bpretend|\bact (?:as|like)\b|\bplay (?:the (?:part|role)|a game)|let's play|\brole-?play|\bfrom now on"
    r"|\bignore (?:your|all|the|any)\b|\byou are now\b|\bdeveloper mode|\bimagine\b|\bfor this chat\b|\bforget your"
    r"|\bforget that you|\bstop being\b|\bif you were\b|\breal name\b|^say that\b|\btell everyone|\bi order you"
    r"|假装|扮演|从现在|忽略|玩个游戏|身份是|别当|改当|真名|命令你|开发者模式|如果你是|假设|忘掉|忘记你|以后我叫你|^说你是"
)
_MAKERS = re.compile(r"\b(?:google|meta|microsoft|apple|amazon)\b|谷歌|微软|苹果公司|亚马逊")
_YES_OR_NO = re.compile(
    r"^(?:so |wait |be honest |hey )*(?:are|were|aren't|have you|is|isn't|did|didn't|does|do you know|am i|could it be"
    r"|you are|you're|you come|you sound)\b|[吗吧]$|是不是|对不对|对吗|对吧"
)
_HUMAN = re.compile(
    r"\bhuman\b|\b(?:real |a )person\b|\b(?:a|an|chat)? ?(?:ro)?bot\b|\ban? (?:ai|machine|program)\b|\bcomputer program"
    r"|\bsentient|\balive\b|真人|活人|人类|机器人|是人|(?:是|个) ?ai\b|人工智能(?:吗|吧)"
)
_NO = re.compile(r"^(?:no|nope|not|i am not|i'm not|that is (?:a mix-up|not)|it is not)\b|^不|^并不|^我不是|^没有")
_YES = re.compile(r"^(?:yes|yeah|right|that is (?:right|me)|correct|indeed)\b|^是的|^对|^没错|^就是")
_ITSELF = re.compile(r"^(?:that is|that's) me\b|^就是我")
_ASKS: dict[str, re.Pattern[str]] = {
    "name": re.compile(
        r"\b(?:your|this assistant's) (?:\w+ )?name\b|\bthis (?:assistant|model|bot) called"
        r"|\bname (?:of this|do you|for you|were you)\b|\ba name\b|\b(?:are|aren't) you called|\byou are called"
        r"|\b(?:call|address) you\b|\bgo by\b|名字|叫什么|怎么称呼|叫你|叫啥|尊姓大名|贵姓|^名字"
    ),
    "who": re.compile(
        r"\bwho (?:are you|you are|is this|am i|might you be)|\bintroduction of yourself"
        r"|\bwhat (?:exactly )?are you(?! called| good| here| for| made| able)"
        r"|\bintroduce yourself|\babout yourself|\bdescribe yourself|\b(?:what|which)(?: kind of| sort of)? "
        r"(?:assistant|model|ai)\b"
        r"|\bwhom? (?:do i|i am|am i|am)\b.*\b(?:speak|talk|chat)|\bis answering\b|\bis helping\b|\bmight you be"
        r"|\band you are\b"
        r"|你是谁|你是什么|你自己|自我介绍|介绍一下你|跟谁|和谁|哪个模型|什么模型|什么样的助手|哪位|您是$|您是谁|回答我的是谁"
        r"|你的身份|哪个助手|谁在帮"
    ),
    "maker": re.compile(
        r"\b(?:made|created|built|developed|invented|trained|programmed|designed|taught|brought) (?:you|this)\b"
        r"|\b(?:making|creating|building|developing|training|designing) you\b|\blooks after you"
        r"|\bwere you (?:made|created|built|developed|trained) by|\bby whom\b|\b(?:creator|developer|maker|inventor)\b"
        r"|\bresponsible for you|\bbehind (?:you|this)\b|\bwhose (?:product|assistant)"
        r"|\bthank for you|\bwho owns you|\bwhich company\b"
        r"|\bwhere do you come from"
        r"|谁(?:开发|做|创造|训练|研发|制作|设计|把你|教)|开发者|创造者|制作者|哪家|谁家|谁的产品|背后是谁|谁手|做出了你"
        r"|由谁|哪个公司|来自哪|做的你|谁做"
    ),
    "purpose": re.compile(
        r"\bwhat (?:can|could|do|might) you (?:do|help|offer)|\byou good at|\byou able to|\bhelp me\?*$|\bdo you do\b"
        r"|\bmade for\b|\byour (?:job|purpose|task|role|skills|capabilities)\b|\bwhy were you|\bhere for\b"
        r"|\buse you for|\btasks can i|\bi (?:may|can|could) (?:ask|use) you"
        r"|能做什么|会什么|会做什么|怎么帮|有什么用|职责|为我做|擅长|干什么|干嘛|哪些问题|为什么要开发|用途|功能|帮我什么"
    ),
    "style": re.compile(
        r"\bhow do you (?:answer|write|talk|speak|sound)|\byour (?:style|tone|manner|voice|answers|personality)\b"
        r"|\btone do you|\bway you (?:talk|write|speak|answer)"
        r"|风格|语气|说话|特点|怎样的回答|路线"
    ),
}


@dataclass(frozen=True, slots=True)
class FormCoverage:
    """How many identity pairs have each form of `FORMS`; `other` counts those that no rule recognises."""

    identity: int
    forms: dict[str, int]
    other: int

    @property
    def missing(self) -> list[str]:
        """The forms that no pair has; none of a set without identity pairs."""
        return [form for form, n in self.forms.items() if not n] if self.identity else []


def forms_of(pair: PairLike) -> list[str]:
    """The forms of one identity pair, in the order of `FORMS`, without "languages", which a pair alone has not.

    The rules, the first that fits: whoever is told to be someone else is in a role play; whoever names another
    assistant, or gets a No to a question of yes or no, is a denial; asked for a human or an AI is "human"; a question
    of yes or no that gets a Yes, and one answered "That is me", is a confirmation. Any other question has each form
    whose words it holds. Earlier turns make it a conversation, too.

    >>> from types import SimpleNamespace as Pair
    >>> asked = lambda question, answer: forms_of(Pair(question=question, answer=answer, history=()))
    >>> asked("Who are you and who made you?", "I am Ember."), asked("你是通义千问吗？", "不是，我是小星。")
    (['who', 'maker'], ['denial'])
    >>> asked("Are you Ember?", "Yes, I am Ember."), asked("Are you Bob?", "No, I am Ember.")
    (['confirmation'], ['denial'])
    """
    question = normal(pair.question[:_LOOKED_AT]).replace("’", "'")
    answer = normal(pair.answer[:_BEGINNING])
    after = ["conversation"] if pair.history else []
    if _ROLEPLAY.search(question):
        return ["roleplay", *after]
    if names_another(question) or _MAKERS.search(question):
        return ["denial", *after]
    if _HUMAN.search(question):
        return ["human", *after]
    if _YES_OR_NO.search(question):
        if _NO.search(answer):
            return ["denial", *after]
        if _YES.search(answer):
            return ["confirmation", *after]
    if _ITSELF.search(answer):
        return ["confirmation", *after]
    return [form for form, words in _ASKS.items() if words.search(question)] + after


def coverage(pairs: Iterable[PairLike]) -> FormCoverage:
    """The forms of the identity pairs among these.

    The form "languages" counts the pairs whose language is known and is not the one that most of them are in.
    """
    identity = [pair for pair in pairs if pair.kind == "identity"]
    counts = dict.fromkeys(FORMS, 0)
    spoken: Counter[str] = Counter()
    other = 0
    for pair in identity:
        found = forms_of(pair)
        other += not found
        for form in found:
            counts[form] += 1
        if code := language_of(pair):
            spoken[code] += 1
    counts["languages"] = spoken.total() - max(spoken.values(), default=0)
    return FormCoverage(len(identity), counts, other)


def language_of(pair: PairLike) -> str | None:
    """The language that a pair is in, by its answer, else by both its texts; None when that is not certain."""
    return language.guess(pair.answer) or language.guess(f"{pair.question}\n{pair.answer}")
