"""Answers that are no answers: fillers, refusals, and what a model says about itself instead.
Where the request asks for such a text (a template, a polite refusal), it is an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from store.curate.lint.rule import SAID, LintHit, LintRow, LintRule, LintText, shown

_WHOLE = frozenset((
    "nan", "none", "null", "nil", "n/a", "na", "#n/a", "undefined", "todo", "tbd", "tba", "fixme", "xxx", "xx",
    "placeholder", "unknown", "<unknown>", "test", "asdf", "foo", "bar", "<noinput>", "noinput", "no_input",
    "<nooutput>", "nooutput", "[deleted]", "[removed]", "string", "{}", "[]", "无", "暂无", "没有", "待定",
    "待补充", "略", "空", "未知", "暂无数据", "暂无回答", "暂无答案", "无内容", "なし", "未定", "該当なし",
    "없음", "미정", "нет", "отсутствует", "ninguno", "aucun", "keine", "nenhum", "no input",
    "no output", "no answer", "no response", "not available", "not applicable", "to be determined",
    "your answer here", "answer here", "insert answer here", "output here", "to do", "no comment", "see above",
    "answer goes here", "text goes here", "no data", "no information",
    "coming soon",
))  # fmt: skip
_NO_WORDS = re.compile(r"[\W_]+")
_WHOLE_WORDS = frozenset(words for filler in _WHOLE if (words := _NO_WORDS.sub("", filler)))
_LATER = re.compile(
    r"(?:tbd|tba|todo|fixme|待定|待补充)\s*[-–—:：,，(（]"
    r"|.{0,30}\b(?:will|to) be (?:added|filled(?: in)?|written|updated|provided|completed|announced)\b"
    r"(?: (?:later|soon|here))?\W*$"
    r"|.{0,12}(?:待|稍后|以后|后续|日后)(?:再)?(?:补充|添加|完善|更新|填写|补上)\W*$"
    r"|(?:\(|see |same as |as |refer to )(?:the )?(?:above|below|previous (?:answer|question)"
    r"|answer (?:above|below))\W*$|同上\W*$"
    r"|\W*(?:此处|这里|在此|请在此|请)(?:省略|略去|略|填写|填入|插入|输入)(?!法)"
)
"""Short answers that announce one, or point to another."""
_LATER_WORDS = (
    " be ",
    "above",
    "below",
    "previous",
    "tbd",
    "tba",
    "todo",
    "fixme",
    "待",
    "后",
    "请",
    "此",
    "这里",
    "同上",
)
_LONGEST_NOTE = 60
_PLAIN_REPLIES = frozenset((
    "none", "nil", "na", "unknown", "undefined", "null", "nan", "test", "foo", "bar", "string", "没有", "无",
    "нет", "ninguno", "aucun", "keine", "nenhum", "なし", "없음", "{}", "[]",
))  # fmt: skip
_CHOICE = re.compile(
    r"how many|\bwhich\b|\bany\b|how much|\bwhat (?:else|other|kind|side|remains|allerg)|\bwho\b"
    r"|有没有|吗[？?]?$|吗[？?]|多少|哪|几|是否|有无|いくつ|何|ありますか"
    r"|сколько|есть ли|cuánt|combien"
    r"|wie viele"
    r"|몇|있|python|javascript|\bjs\b|\bsql\b|returns?\b|evaluate|output|print|\btype\b|0/0|classif|label"
    r"|identify|extract|quant"
)
_ABOUT_WORDS = re.compile(r"translat|翻译|stands? for|\bmeans?\b|define|abbreviat|synonym|缩写|意思")
_BRACKETS = re.compile(r"[\[<【{(]")
_LOREM = re.compile(r"lorem ipsum dolor", re.IGNORECASE)
_SLOT = (
    r"names?|company|e-?mail|address|date|year|month|time|title|phone|number|city|country|state|location|price|amount"
    r"|link|url|website|product|service|topic|position|department|organi[sz]ation|brand|answer|text|response|job"
)
_ONLY_SLOT = re.compile(
    rf"[<\[{{(【（](?:(?:your|the|my|insert|enter|write) ){{0,2}}(?:{_SLOT}|output|reply|content|description|summary"
    r"|(?:你的|您的|请输入)?(?:回答|答案|内容|回复|输出|答复))(?: here)?[>\]})】）]"
)
_BRACKETED = re.compile(
    rf"<[a-z]{{2,14}}[ _](?:[a-z]{{2,14}}[ _]){{0,2}}?(?:{_SLOT})>"
    rf"|\[(?!(?:x|a|i)\])(?:[A-Za-z'’]{{2,14}}[ _/]){{0,3}}(?:{_SLOT})(?: here)?\](?![(\w\[])|"
    r"(?<!\{)(?:[\[【{(]|<(?=(?-i:[A-Z_ ]+>)|your|insert))(?:your|my|insert|enter|company|recipient|customer"
    r"|user|candidate|first|last|full|bot|model|assistant)?[ _]?"
    r"(?:full |first |last )?(?:name|company|e-?mail|address|date|title|answer|text|response|organization|position)"
    r"(?: here)?[\]>】})]|\[insert [^\]]{2,40}\]|[\[【<](?:你的|您的|公司|我的)?(?:名字|姓名|名称"
    r"|公司名称|公司|日期|答案)[\]】>]"
    r"|[\[【<][\u4e00-\u9fff]{0,6}(?:姓名|名称|日期|电话|地址|城市|年份|金额|链接)[\]】>]"
    r"|我(?:是|叫)(?:[Xx×]{2,}|某某)|\bmy name is (?:x{2,}|_{2,}|\.{3})",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(
    r"template|placeholder|lorem|letter|e-?mail|form\b|format|resume|\bcv\b|memo|invoice|contract|模板|信|邮件|简历"
    r"|占位|speech"
    r"|message|invitation|note|html|code|regex|function|announcement|press release|post\b|模版|合同|通知|carta|brief\b"
    r"|proposal|agreement|application|report|script|\bsql|query|xml|command|usage|syntax|statement|ad\b|advert"
)


def _filler(text: LintText, row: LintRow) -> Iterator[LintHit]:
    whole = text.lower.strip().strip("\"'`*“”‘’").strip()
    if len(whole) <= 40 and _ONLY_SLOT.fullmatch(whole) and not row.asks(_TEMPLATE):
        yield LintHit(0, len(text.text), f"is {shown(text.text.strip())}, which was never filled in")
        return
    if len(whole) <= _LONGEST_NOTE and text.has(*_LATER_WORDS) and _LATER.match(whole) and not row.asks(_TEMPLATE):
        yield LintHit(0, len(text.text), f"is {shown(text.text.strip())}, which is no answer itself")
        return
    if len(whole) <= 24:
        bare = whole.strip(".。!！…").strip()
        bare = bare if bare in _WHOLE else bare.strip("[]【】()").strip()
        if not bare or not _NO_WORDS.sub("", whole):
            if (
                len(set(whole)) * 4 > len(whole)
                and not any(ord(char) > 0x2190 for char in whole)
                and not re.search(r"\d|[+*/=<>^%$#@&|~]", whole)
            ):
                yield LintHit(0, len(text.text), f"is {shown(text.text.strip())}, which is not an answer")
            return
        words = _NO_WORDS.sub("", bare)
        is_reply = (bare in _PLAIN_REPLIES or words in _PLAIN_REPLIES) and _CHOICE.search(row.request)
        if (bare in _WHOLE or words in _WHOLE_WORDS) and not is_reply and not row.asks(_ABOUT_WORDS):
            yield LintHit(0, len(text.text), f"is {shown(text.text.strip())}, which is not an answer")
            return
    if found := _LOREM.search(text.text) if "lorem ipsum" in text.lower else None:
        if not row.asks(_TEMPLATE):
            yield LintHit(found.start(), found.end(), "contains the filler text 'Lorem ipsum'")
    elif (
        (_BRACKETS.search(text.text) or text.has("我是", "我叫", "my name is"))
        and (found := _BRACKETED.search(text.prose))
        and not row.asks(_TEMPLATE)
    ):
        yield LintHit(found.start(), found.end(), f"contains {shown(found[0])}, which was never filled in")


# -- refusals ----------------------------------------------------------------------------------------------------------

_CANNOT = (
    r"(?:can ?not|can['’]?t|could(?: not|n['’]t)|(?:am|['’]m) (?:not |un)(?:able|capable|allowed|permitted"
    r"|authori[sz]ed|comfortable|willing|designed|equipped|in a position)|won['’]t(?: be able)?|will not(?: be able)?"
    r"|(?:do not|don['’]t) (?:feel comfortable|have (?:access|permission|the (?:ability|capability|means)))"
    r"|have no (?:way|means|ability))"
)
_DOING = (
    r"(?:(?:to|of|with|in) )?(?:assist|help|provide|fulfil|comply|answer|generate|create|write|do (?:that|this|so)"
    r"|discuss|engage|support|complete|access|offer|give|share|process|respond|browse|talk|speak|comment|advise"
    r"|(?:see|view)(?= (?:the |any |your )?(?:image|picture|photo|file|attach|link)))(?:ing)?"
)
_CANNOT_ZH = "(?:无法|不能|没办法|没有办法|没法|不便|不方便|不可以|不予|恕不|恕难)"
_DOING_ZH = "(?:回答|作答|提供|协助|帮助|帮[您你]|满足|完成|[为给][您你]|执行|访问|生成|讨论|谈论|评论|透露|处理)"
_REFUSAL = re.compile(
    rf"\W*(?:(?:I['’]?\s?a?m (?:very |so |really )?sorry|sorry|I apologi[sz]e|(?:my )?apologies|unfortunately)"
    rf"(?:[,.!—-]| but| for| —)?[^.\n]{{0,40}}?\b(?:I|we) ?{_CANNOT}(?! (?:make it|come|attend|join|wait))"
    rf"|I(?:['’]m sorry,?(?: I)?)? ?{_CANNOT} {_DOING}\b"
    rf"|I (?:must|have to|will have to) (?:respectfully |politely )?(?:decline|refuse)"
    rf"|I['’]?\s?a?m (?:afraid|sorry),? (?:that )?(?:I|we) ?{_CANNOT}"
    rf"|I(?:['’]d| would) (?:rather|prefer) not(?: to)? {_DOING}\b"
    rf"|(?:it|this|that) (?:would not|wouldn['’]t|is not|isn['’]t) (?:be )?(?:appropriate|possible|something|right)"
    rf"[^.\n]{{0,12}}\b(?:for me|I (?:can|could|should|will))\b"
    r"|(?:非常|很|实在|真的|十分)?(?:抱歉|对不起|不好意思)[，,][^。\n]{0,24}?(?:帮不[上了]|办不到|做不到|答不[上了出]|回答不了"
    r"|爱莫能助|无能为力|没法|没办法|无可奉告)"
    r"|(?:sorry|unfortunately|I apologi[sz]e),?(?: but)?,? (?:there (?:is|was) )?(?:no|not enough) "
    r"(?:relevant )?(?:information|data|answer|details|results?)\b[^.\n]{0,16}\b(?:available|found|given)"
    rf"|(?:这个|该|此|您的|你的)(?:问题|请求|话题|要求)[^。\n]{{0,6}}?{_CANNOT_ZH}{_DOING_ZH}"
    rf"|恕?{_CANNOT_ZH}(?:回答|作答|透露|讨论)"
    rf"|(?:非常|很|十分)?(?:抱歉|对不起|不好意思|遗憾)[，,。 ！!][^。\n]{{0,20}}?(?:我"
    rf"|作为)[^。\n]{{0,24}}?(?:{_CANNOT_ZH}|不会)"
    rf"|我{_CANNOT_ZH}{_DOING_ZH}"
    rf"|(?:抱歉|對不起|很抱歉)[，,][^。\n]{{0,20}}(?:無法|不能)"
    rf"|(?:lo siento|perdón|disculpa)[^.\n]{{0,20}}\bno puedo|(?:je suis )?désolée?[^.\n]{{0,30}}(?:ne peux"
    rf"|ne suis) pas"
    rf"|es tut mir leid[^.\n]{{0,20}}ich kann|desculpe[^.\n]{{0,20}}não posso|mi dispiace[^.\n]{{0,20}}non posso"
    rf"|(?:извините|простите|к сожалению"
    rf"|прошу прощения)[^.\n]{{0,20}}(?:я )?не могу"
    rf"|申し訳(?:ありません|ございません)が[^。\n]{{0,60}}(?:できません|できかねます|お答えできま|いたしかねます)"
    rf"|죄송(?:하지만|합니다만|합니다)[^\n]{{0,60}}(?:없습니다|못합니다))",
    re.IGNORECASE,
)
_WANTED_REFUSAL = re.compile(
    r"refus|declin|reject|apolog|\bsay\b.{0,24}\bwhen\b|say no\b|translat|翻译|拒绝|道歉|role.?play|rewrite|paraphrase"
    r"|complete the sentence|turn down"
    r"|reply to|customer|quote|sentence|correct the|complaint|cancel|回绝|婉拒"
)
_REFUSAL_WORDS = (
    "rather not", "prefer not", "appropriate", "possible for me", "have to", "无法", "不能", "不便", "没法", "没办法",
    "没有办法", "不方便", "恕",
    "can", "sorry", "unable", "able to", "not c", "not a", "must", "apolog", "won", "will not", "抱歉",
    "对不起", "對不起", "不好意思",
    "遗憾", "我无法",
    "我不能", "siento",
    "désol", "leid", "desculpe", "dispiace", "не могу", "申し訳", "죄송", "perdón", "disculpa", "don",
)  # fmt: skip


def _refusal(text: LintText, row: LintRow) -> Iterator[LintHit]:
    found = _REFUSAL.match(text.text[:400])
    if found and not row.asks(_WANTED_REFUSAL):
        yield LintHit(found.start(), found.end(), f"refuses ({shown(found[0].strip())})")


# -- what a model says about itself ------------------------------------------------------------------------------------

_CUTOFF = re.compile(
    r"\b(?:my|I)\b[^.\n]{0,40}\b(?:knowledge|training(?: data)?)\b[^.\n]{0,30}\b(?:cut-?\s?off|only goes"
    r"|goes (?:up )?to"
    r"|up (?:to|until)|until|ends|ended|stops|limited to)\b"
    r"|\b(?:my|I)\b[^.\n]{0,40}\b(?:knowledge|training(?: data)?)\b[^.\n]{0,12}\b(?:covers?|includes?"
    r"|extends?|reach(?:es)?|contains?|comes?|dates?)\b[^.\n]{0,30}(?:19|20)\d\d\b"
    r"|\bas of my (?:last|latest|most recent|knowledge|training)\b[^.\n]{0,24}\b(?:update|cut-?\s?off|training|data)"
    r"|\b(?:knowledge|training)(?: data)? cut-?\s?off (?:date )?(?:is|of|in|was)[^.\n]{0,12}(?:19|20)\d\d"
    r"|\bmy (?:last|latest) (?:knowledge |training )?update\b"
    r"|\bI (?:do not|don['’]t) have (?:any )?(?:information|data|knowledge) (?:after|beyond|past)\b"
    r"|\bI was (?:last )?trained (?:on data )?(?:up )?(?:to|until)\b"
    r"|\bI (?:do not|don['’]t|cannot|can['’]t) (?:have )?(?:access (?:to )?)?(?:real-?time|up-to-date"
    r"|browse the internet)"
    r"|\bI (?:do not|don['’]t|cannot|can ?not|can['’]t|am unable to|have no(?: way to)?|lack)\b[^.\n]{0,16}?"
    r"\b(?:look up|search|access|browse|check|fetch|retrieve)\b[^.\n]{0,12}\b(?:internet|web|online|live data"
    r"|(?:current|latest|recent) (?:events|news|data|information|prices|weather))\b"
    r"|\bI (?:have no|lack|do not have|don['’]t have) (?:an? )?(?:access to )?(?:the )?(?:internet|web)\b"
    r"|我(?:没有|无法|不能)(?:联网|上网|连接互联网|访问互联网|访问网络)"
    r"|(?:我的?|本人)[^。\n]{0,12}(?:知识|训练数据|数据|信息)[^。\n]{0,8}(?:截止|截至|更新到|更新至|只到)"
    r"|截[止至](?:到)?我(?:的)?(?:最后|上次|知识|训练)|我(?:无法|不能)(?:获取|访问|提供)实时"
    r"|mi (?:fecha de corte|conocimiento llega|última actualización)|ma dernière mise à jour|mein wissensstand"
    r"|мои (?:знания|данные)[^.\n]{0,20}(?:ограничен|до \d|заканчив)"
    r"|私の知識は[^。\n]{0,20}まで|제 지식은[^\n]{0,20}까지",
    re.IGNORECASE,
)
_CUTOFF_WORDS = (
    "information after", "data after", "cutoff", "cut-off", "cut off", "update", "knowledge", "training",
    "trained", "real-time", "real time",
    "up-to-date", "browse", "internet", "the web", "current ", "latest ", "recent ", "联网", "上网", "互联网", "网络",
    "截止", "截至", "更新", "只到", "实时", "corte", "actualización", "conocimiento", "mise à jour", "wissensstand",
    "знания", "данные",
    "知識", "지식",
)  # fmt: skip
_BOILERPLATE = re.compile(
    r"\bas an,? (?:AI|artificial intelligence)[\s-]*(?:powered |based |trained )?(?:large )?(?:language )?model\b"
    r"|\bas an? (?:large |trained )?(?:machine learning|(?:large )?language) model,? (?:I\b|my\b"
    r"|it['’]s not|created|trained)"
    r"|\bas an (?:AI|artificial intelligence)\b,? (?:I (?:have no|am not|am unable|lack)\b|it['’]s not)"
    r"|\bI['’]?(?:\s?a)?m (?:just|only|merely) an? (?:AI|computer program|language model|machine)"
    r"|\bas an (?:AI|artificial intelligence)(?: assistant| model| chatbot| system)?,? I (?:do not|don['’]t|cannot"
    r"|can['’]t|lack|am not|am unable)|\bI['’]?(?:\s?a)?m an AI language model|\bbeing an AI\b"
    r"|\bI['’]?(?:\s?a)?m an AI(?: assistant)?,? (?:and|so)[^.\n]{0,12} (?:do not|don['’]t|cannot"
    r"|can['’]t|have no)\b"
    r"|作为(?:一个|一款|一种|一名|一位)?\s*(?:由\w+(?:开发|训练)的)?\s*(?:AI|人工智能|大型"
    r"|大)?\s*(?:的)?(?:大型?|自然)?语言(?:处理)?(?:大)?模型"
    r"|作为(?:一个|一名|一款|一种|一位)?\s*(?:AI|人工智能)(?:程序|模型|助手|助理)?[，,]\s*我(?:没有|不"
    r"|无法|并不|并没有)"
    r"|我(?:只)?是(?:一个|一款|一种)?(?:AI|人工智能|大型)语言模型"
    r"|我只是一个(?:AI|人工智能|语言模型|程序)"
    r"|作為(?:一個)?(?:AI|人工智慧)?語言模型|como (?:un )?modelo de lenguaje|como um modelo de linguagem"
    r"|en tant que modèle de langage"
    r"|en tant qu['’](?:IA|intelligence artificielle)|als (?:ein )?(?:KI[- ]?)?Sprachmodell"
    r"|come modello (?:di linguaggio|linguistico)"
    r"|как (?:языковая модель|искусственный интеллект)"
    r"|言語モデルとして|언어 ?모델로서",
    re.IGNORECASE,
)
_KIND_OF_SPEAKER = re.compile(
    r"(?<!said )(?<!says )\bI['’]?(?:\s?a)?m (?:(?:just|only|merely|really|simply|actually) )?an? "
    r"(?:(?:large|small|trained|pre-?trained|generative|neural|artificial|machine|deep"
    r"|AI|text-based) ){0,3}(?:(?:language|learning|AI|intelligence) model|neural network|computer program|chat ?bot"
    r"|artificial intelligence)\b"
    r"|(?<!说)我(?:只|仅|其实)?(?:仅|只)?是(?:一个|一款|一种|一名|个)?(?:AI|人工智能|大型|大|计算机|电脑|聊天|虚拟|智能){1,2}"
    r"(?:的)?(?:语言)?(?:模型|程序|机器人|系统)",
    re.IGNORECASE,
)
"""What a speaker is who says so unasked. In identity rows that may be the answer itself."""
_ASKS_WHO = re.compile(
    r"\b(?:who|what) are you\b|\bare you (?:a|an|real|human|alive)|yourself"
    r"|[你您](?:到底)?是(?:谁|什么|人|不是|机器)|介绍"
)
_BOILERPLATE_WORDS = (
    "neural network", "computer program", "intelligence", "bot", "ai model", "intelligence model", "我是",
    "是一个", "是一款", "是个",
    "language model", "learning model", "as an", "being an ai", "an ai assistant", "m an ai", "just an",
    "just a ", "only a", "merely a", "作为", "作為",
    "语言模型", "我只是", "lenguaje",
    "linguagem", "langage", "sprachmodell",
    "linguaggio", "linguistico", "языковая", "искусственный", "モデル", "모델", "en tant qu",
)  # fmt: skip
_WANTED_SELF = re.compile(r"translat|翻译|quote|paraphrase|rewrite|what does .* mean")


def _cutoff(text: LintText, row: LintRow) -> Iterator[LintHit]:
    found = _CUTOFF.search(text.text)
    if found and not row.asks(_WANTED_SELF):
        yield LintHit(found.start(), found.end(), f"speaks of the knowledge of another model ({shown(found[0])})")


def _boilerplate(text: LintText, row: LintRow) -> Iterator[LintHit]:
    found = _BOILERPLATE.search(text.text)
    if not found and row.kind != "identity" and not row.asks(_ASKS_WHO):
        found = _KIND_OF_SPEAKER.search(text.text)
    if found and not row.asks(_WANTED_SELF):
        yield LintHit(found.start(), found.end(), f"speaks as another assistant ({shown(found[0])})")


RULES = (
    LintRule("filler", "error", "fillers such as N/A, TODO or [Your Name] instead of an answer", _filler, roles=SAID),
    LintRule("refusal", "warning", "answers that refuse", _refusal, roles=SAID, words=_REFUSAL_WORDS),
    LintRule("cutoff", "warning", "talk of a knowledge cutoff", _cutoff, roles=SAID, words=_CUTOFF_WORDS),
    LintRule("boilerplate", "warning", "'as an AI language model'", _boilerplate, roles=SAID, words=_BOILERPLATE_WORDS),
)
