"""Who an answer says it is: claims to be another assistant, in any script, and which name a text claims.
A text about ChatGPT, or one that denies being it, claims nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from store.curate.lint.rule import LintHit, LintRow, LintRule, LintText

_LATIN_NAMES = (
    r"Chat\s?GPT|GPT-?[345](?:o|\.5)?|Open\s?AI|Anthropic|Claude|Gemini|Google Bard|DeepSeek|Qwen|Alibaba"
    r"|Mistral(?: AI)?|Llama(?:[ -]?\d)?"
    r"|Meta AI|SmolLM\d?|Hugging ?Face|Kimi|Moonshot(?: AI)?|Doubao|ERNIE(?: Bot)?|ChatGLM\d?|GLM-?\d"
    r"|Zhipu(?: AI)?|Baichuan|InternLM"
    r"|Vicuna|Alpaca|Grok|xAI|Copilot|Cohere|Command R\+?|Phi-?\d|Gemma|Bard|LaMDA|PaLM|Yi-\d+B|MiniMax"
    r"|Hunyuan|LLaVA|Open Assistant"
    r"|Falcon|Dolly|BLOOM|Siri|Alexa|Cortana|Bing Chat|Pi AI|Jurassic|Perplexity|ByteDance|Baidu|Tencent|LMSYS"
    r"|Nous Hermes"
)
_HAN_NAMES = (
    "通义千问|千问|文心一言|文心大模型|豆包|讯飞星火|星火认知|智谱|智谱清言|清言|百川|月之暗面"
    "|深度求索|混元|阿里云|阿里巴巴|达摩院|百度|字节跳动|腾讯|科大讯飞|商汤"
    "|商量|盘古|天工|书生|面壁|零一万物|微软小冰|小冰|小爱同学|小度|天猫精灵|通義千問|人工智能实验室OpenAI"
)
_NAME = re.compile(rf"(?<![A-Za-z0-9])(?:{_LATIN_NAMES})(?![A-Za-z])|{_HAN_NAMES}", re.IGNORECASE)
_MARKS = (
    "gpt", "open", "anthropic", "claude", "gemini", "bard", "deepseek", "qwen", "alibaba", "mistral", "llama",
    "meta ai", "smollm", "hugging",
    "kimi", "moonshot", "doubao", "ernie", "glm", "zhipu", "baichuan", "internlm", "vicuna", "alpaca", "grok",
    "xai", "copilot", "cohere",
    "command r", "phi", "gemma", "lamda", "palm", "yi-", "minimax", "hunyuan", "llava", "falcon", "dolly",
    "bloom", "siri", "alexa",
    "cortana", "bing", "pi ai", "jurassic", "perplexity", "bytedance", "baidu", "tencent", "lmsys", "nous",
    *_HAN_NAMES.lower().split("|"),
)  # fmt: skip
_I_AM = (
    r"\byou(?: are|['’]re) (?:now |currently )?(?:talking|speaking|chatting|interacting|connected|using)"
    r"(?: (?:to|with|is))?(?= $| [A-Z])"
    r"|\bthe (?:model|assistant|AI) (?:that |which )?you(?: are|['’]re) (?:using|talking to|speaking with)"
    r" is(?= $| [A-Z])"
    r"|\bmy (?:makers?|creators?|developers?|company|owners?|provider|base model) (?:is|are)\b"
    r"|[你您](?:现在|正在|目前|当前)+(?:使用|交流|对话|聊天)的?(?:是|模型是|助手是)?"
    r"|\bI['’]?\s?a?m|\bmy name is"
    r"|\bmy name['’]s|\bcall me|\bI was|\bI have been|\bI go by|\bthis is(?= [A-Z])"
    r"|\bknown as(?= [A-Z])"
    r"|\bsoy|\bme llamo|\bmi nombre es|\bje suis|\bje m['’]appelle|\bich bin|\bich heiße|\bmein name ist"
    r"|\beu sou|\bsou|\bmeu nome é"
    r"|\b(?:io )?sono|\bmi chiamo|\bя\b|\bменя зовут|\bmoje imię|\bjestem|\bben\b|我是|我叫"
    r"|我的名字|我就是|本人是|本助手|我由"
    r"|我来自|我乃|您好，这里是"
    r"|我(?:的)?(?:开发(?:者|商|方|团队|公司|机构)|创造者|创建者|制作(?:者|方|公司)|研发(?:者|方|团队|公司)|母公司|背后)"
    r"|私は|わたしは|僕は|私の名前は|저는|나는|제 이름은|انا"
    r"|أنا|मैं|ฉันคือ|ผมคือ|tôi là|saya adalah|saya"
)
_MADE_ME = (
    r"\b(?:I|me|my|myself)\b[^.!?\n]{0,60}\b(?:developed|created|trained|made|built|designed|powered|owned"
    r"|maintained|fine-?tuned|named|called)"
    r"\b[^.!?\n]{0,30}"
)
_WINDOW = 120
"""Characters before a name in which a claim to it begins. Names are looked for first: they are rare, "I" is not."""
_CLAIMS = (
    re.compile(rf"(?:{_I_AM})(?P<gap>[^.!?。！？\n]{{0,48}})$", re.IGNORECASE),
    re.compile(rf"(?P<made>{_MADE_ME})$", re.IGNORECASE),
    re.compile(r"我[^。！？\n]{0,24}由[^。，！？\n]{0,16}$"),
    re.compile(r"(?:\bas|作为)\s?$", re.IGNORECASE),
)
_MAKES = re.compile("[^。，\n]{0,12}(?:开发|训练|研发|创建|创造|打造|推出|提供|設計|设计|開發)")
_SPEAKS = re.compile(r",? I\b|[，,]?\s?我")
_AFTER = {_CLAIMS[2]: _MAKES, _CLAIMS[3]: _SPEAKS}
"""What must follow the name for some of the claims."""
_MADE_BY = re.compile(
    r"\b(?:OpenAI|Anthropic|Google|Meta|Alibaba|Microsoft|DeepSeek|Baidu)\b[^.!?\n]{0,12}"
    r"(?:created|trained|made|developed|built) me\b",
    re.IGNORECASE,
)
_SYSTEM_CLAIM = re.compile(
    r"(?:\byou are|\byou['’]re|\byour name is|你是|您是|你叫|你的名字是)(?P<gap>[^.!?。！？\n]{0,40})$", re.IGNORECASE
)
_QUOTED = re.compile(
    r"(?:\bnot|n['’]t|\bif|\bthat|\bsaid|\bsays|\bno,? it is not|不是|如果|假如|“|\")\W{0,8}$", re.IGNORECASE
)
_NOT_A_CLAIM = re.compile(
    r"\bnot?\b|n['’]t\b|\bnor\b|\bnever\b|rather than|unlike|different from|\busing\b|\buse\b|\bfan of"
    r"|\bfamiliar|\babout\b|\btalk|\bbetween\b|\bwith\b"
    r"|\blooking\b|\bworking\b|\bworked\b|\blearn|\bread|\btrying\b|\bthink|\bborn\b|\bgoing\b|\bhappy\b"
    r"|\bsure\b|\baware\b|\bcompar|\bsimilar\b|\blike\b"
    r"|\bthan\b|\ba$|\ba gemini|\binvest|\bhired\b|\bemploy|\bat$|\bin$|\bthe$|不是|并非|并不是|而非"
    r"|不同于|没有|与|和$|ではあり"
    r"|ではない|でなく|아니|\bne suis pas|\bnicht|\bkein|\bno soy|\bnão"
    r"|\bне\b|使用|用的|学习|认为|知道|研究|喜欢|比较|\bwrit|\bdescrib|\bexplain|\bdiscuss"
    r"|\bresearch|\bimpress|\bwonder"
    r"|\bapply|\bemail|\bengineer|\bdevelop\b|\btold\b|\bname is \w+[.,] and|工程师|员工|经理",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"\bnot?\b|n['’]t\b|\bnor\b|rather than|unlike|different from|\bconfus|compar|不是|并非|而非|不同"
    r"|没有关系|与|無関係|ではあり"
    r"|ではない|아니|\bpas\b|\bnicht\b|\bkein|\bnão\b|\bне\b",
    re.IGNORECASE,
)
_FIRST_NAMES = frozenset(
    (
        "claude",
        "kimi",
        "gemma",
        "siri",
        "alexa",
        "bard",
        "grok",
        "bloom",
        "falcon",
        "alpaca",
        "phi",
        "dolly",
        "palm",
        "gemini",
    )
)
_COMMON_WORDS = frozenset((
    "minimax", "falcon", "bloom", "copilot", "alpaca", "gemini", "vicuna", "llama", "palm", "bard", "phi",
    "dolly", "jurassic", "perplexity", "cohere", "alexa", "claude",
))  # fmt: skip
_SURNAME = re.compile(r"\s+(?:[A-Z][a-zäöüéè'-]+|de\b|von\b|van\b)")


def _claims(text: str, patterns: Sequence[re.Pattern[str]]) -> Iterator[tuple[str, int, int]]:
    """The names that a text claims for who speaks, each with where the claim begins and ends."""
    for name in _NAME.finditer(text):
        if (name[0].islower() and name[0] in _COMMON_WORDS) or (
            name[0].casefold() in _FIRST_NAMES and _SURNAME.match(text, name.end())
        ):
            continue
        begins = max(0, name.start() - _WINDOW)
        before = text[begins : name.start()]
        for pattern in patterns:
            found = pattern.search(before)
            if (
                found
                and _is_claim(found, before)
                and (pattern not in _AFTER or _AFTER[pattern].match(text, name.end()))
            ):
                yield name[0], begins + found.start(), name.end()
                break


def _is_claim(found: re.Match[str], before: str) -> bool:
    """Whether what leads to a name is neither a denial, nor a quotation, nor about something else."""
    groups = found.groupdict()
    gap, made = groups.get("gap"), groups.get("made")
    if gap and not gap.startswith("由") and _NOT_A_CLAIM.search(gap.rstrip()):
        return False
    return not (made and _DENIAL.search(made)) and not _QUOTED.search(before[: found.start()][-24:])


_SELF = (
    ", i ", "作为", "i am", "i'm", "i’m", "im ", "my ", "i was", "i have", "call me", "this is", " me",
    "i go by", "it's me",
    "known as", "soy", "me llamo",
    "nombre", "je ", "ich ", "mein", "sou", "nome", "sono", "chiamo", "jestem", "imi", "ben", "saya", "tôi",
    "我", "本", "私", "わたし",
    "僕", "저는", "나는", "제 ", "я", "меня", "انا", "أنا", "मैं", "ฉัน", "ผม", "you are", "you're",
    "your name", "you’re", "你", "您",
)  # fmt: skip
_PLAIN_SELF = tuple(word for word in _SELF if word.isascii())
_PLAIN_MARKS = tuple(word for word in _MARKS if word.isascii())


def _any(lower: str, words: tuple[str, ...]) -> bool:
    for word in words:  # noqa: SIM110  a generator takes twice as long
        if word in lower:
            return True
    return False


def _other_name(text: LintText, row: LintRow) -> Iterator[LintHit]:
    if row.kind != "identity" and not _any(text.lower, _PLAIN_SELF if text.plain else _SELF):
        return
    if not _any(text.lower, _PLAIN_MARKS if text.plain else _MARKS):
        return
    if text.role == "system":
        for name, start, end in _claims(text.text, (_SYSTEM_CLAIM,)):
            yield LintHit(start, end, f"tells the model that it is {name}: is that who the model should be?")
            return
        return
    for name, start, end in _claims(text.text, _CLAIMS):
        yield LintHit(start, end, f"claims to be {name}: is that who the model should be?")
        return
    if (made := _MADE_BY.search(text.text)) and not _DENIAL.search(made[0]):
        yield LintHit(made.start(), made.end(), f"says {made[0]!r}: is that who made the model?")
        return
    if row.kind == "identity":
        for found in _NAME.finditer(text.text):
            around = text.text[max(0, found.start() - 40) : found.end() + 16]
            if not _DENIAL.search(around):
                yield LintHit(found.start(), found.end(), f"names {found[0]}: is that who the model should be?")
                return


_OWN_NAME = re.compile(
    r"\b(?:I am|I['’]m|my name is|call me|this is|soy|je suis|ich bin|я)\s+(?:an? [\w ]{0,24}(?:called"
    r"|named) )?(?P<latin>[A-Z][\w-]{1,24})"
    r"|(?:我是|我叫|我的名字是|私は|저는)\s*(?P<other>[A-Za-z][\w-]{1,24}|[\u4e00-\u9fff]{2,6}?(?=[，。,.！!]|$))",
)


def own_names(answer: str) -> frozenset[str]:
    """The names that an answer gives itself, in lower case.

    >>> sorted(own_names("Hi, I am Ember. My name is Ember."))
    ['ember']
    >>> own_names("Paris.")
    frozenset()
    """
    return frozenset((found["latin"] or found["other"]).casefold() for found in _OWN_NAME.finditer(answer))


RULES = (
    LintRule(
        "other-name",
        "warning",
        "answers that claim to be another assistant",
        _other_name,
        roles=("answer", "system"),
    ),
)


def names_another(text: str) -> bool:
    """Whether a text names another assistant or its maker, as far as they are known here."""
    return bool(_NAME.search(text))
