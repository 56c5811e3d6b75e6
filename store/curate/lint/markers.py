"""What a program left in the text: chat markers, prompt wrappers, HTML, escapes, placeholders.
Where a row is about code or markup, what looks like a leftover is its subject."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from store.curate.lint.rule import LintHit, LintRow, LintRule, LintText, shown
from store.formats.placeholders import unfilled

_MARKERS = re.compile(
    r"<\|[A-Za-z0-9_▁-]{2,40} ?\| ?>"  # ChatML, Llama 3, Phi, Cohere, GLM-4, Zephyr
    r"|<｜[^｜<>\n]{1,40}｜>"  # DeepSeek's fullwidth bars
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]|<</?SYS>>"  # Mistral, Llama 2
    r"|</?(?:start|end)_of_(?:turn|utterance|image)>|<(?:bos|eos|unk|pad|eoa|eoh|eot|eom|sop|eop)>"  # Gemma, MOSS, GLM
    r"|\[\|[A-Za-z]{2,12}\|\]|\[gMASK\]|<(?:BOS|EOS|PAD|UNK)_TOKEN>|<reserved_\d+>|<TOKENS_UNUSED_\d+>|<extra_id_\d+>"
)
_SENTENCE_MARK = re.compile(r"</?s>")
_STRUCK = re.compile(r"<s>[^<>\n]+</s>")


def _marker_spans(text: str) -> Iterator[tuple[int, int]]:
    for found in _MARKERS.finditer(text):
        yield found.span()
    if "<s>" in text or "</s>" in text:
        struck = []
        if not (text.strip().startswith("<s>") and text.strip().endswith("</s>")):
            struck = [found.span() for found in _STRUCK.finditer(text) if "[INST]" not in found[0]]
        for found in _SENTENCE_MARK.finditer(text):
            if not any(start <= found.start() < end for start, end in struck):
                yield found.span()


def _marker(text: LintText, row: LintRow) -> Iterator[LintHit]:
    for start, end in _marker_spans(text.text):
        is_subject = text.prose[start] == " " or text.text[start:end] in ("<s>", "</s>")
        if not (is_subject and _TALK.search(row.request)):
            yield LintHit(start, end, f"contains {text.text[start:end]}, which a chat template would take for its own")
            return


_TALK = re.compile(r"html|strike|markup|\btags?\b")


def _without_markers(text: str) -> str:
    for start, end in sorted(_marker_spans(text), reverse=True):
        text = text[:start] + text[end:]
    return text.strip()


# -- wrappers of prompts -----------------------------------------------------------------------------------------------

_ASKS = "Human|User|Instruction|Question|Input|Prompt|Q|用户|问|问题|问题描述|指令|人类|Pregunta|Frage|Вопрос|質問"
_SAYS = (
    "Assistant|Response|Answer|Output|AI|Bot|Chatbot|GPT|A|助手|助理|答|回答|答案|回复|答复|输出|机器人"
    "|Respuesta|Antwort|Ответ|回答例"
)
_BEGINS = {
    "question": re.compile(rf"\s*(?:#{{1,4}}\s*|\*\*)?(?:{_ASKS})\s*[:：](?:\*\*)?\s*", re.IGNORECASE),
    "answer": re.compile(rf"\s*(?:#{{1,4}}\s*|\*\*)?(?:{_SAYS})\s*[:：](?:\*\*)?\s*", re.IGNORECASE),
}
_ENDS = re.compile(rf"(?:^|\s)(?:#{{1,4}}\s?)?(?:{_SAYS})\s?[:：]$", re.IGNORECASE)
_LONGEST_LABEL = 40
_INSIDE = re.compile(
    r"^[ \t]{0,8}#{2,4}[ \t]?(?:Instruction|Response|Input|Human|Assistant|User)[ \t]?:?[ \t]*$"
    r"|^[ \t]{0,8}#{2,4}[ \t]?(?:Instruction|Response|Input|Human|Assistant|User|Question|Answer|问题|回答)[ \t]?[:：]"
    r"|\n[ \t]{0,8}(?:Human|Assistant|用户|助手)[ \t]?[:：]\s|\b(?:USER|HUMAN|ASSISTANT):\s",
    re.MULTILINE,
)
_PREAMBLE = re.compile(
    r"^Below is an instruction that describes a task|^A chat between a curious (?:user|human)"
    r"|^\[Round \d+\]|^GPT4 Correct User:"
)
_DIALOGUE = re.compile(
    r"dialog|conversation|\bchats?\b|script|interview|transcript|\bfaq|q&a|screenplay|quiz"
    r"|flash ?cards?|对话|采访|剧本"
    r"|diálogo|gespräch|диалог|会話|問答|问答|test questions?|worksheet"
)


def _wrapper_spans(text: str, role: str) -> Iterator[tuple[int, int]]:
    begins = _BEGINS.get(role)
    if begins and (found := begins.match(text)):
        yield found.span()
    if role != "answer" and (at := _end_label(text)):
        yield at, len(text)
    for pattern in (_INSIDE, _PREAMBLE):
        for found in pattern.finditer(text):
            yield found.span()


def _wrapper(text: LintText, row: LintRow) -> Iterator[LintHit]:
    if _DIALOGUE.search(row.request) and not _PREAMBLE.search(text.text):
        return
    for start, end in _wrapper_spans(text.text, text.role):
        label = text.text[start:end].strip()
        yield LintHit(start, end, f"contains {shown(label)}, a label of a prompt that is not part of the text")
        return


def _unwrapped(text: str) -> str:
    """Without labels at the beginning and the end. In the middle they separate turns: that is no text to guess at."""
    for role in ("question", "answer"):
        if found := _BEGINS[role].match(text):
            text = text[found.end() :]
    if at := _end_label(text):
        text = text[:at]
    return text.strip()


def _end_label(text: str) -> int:
    """Where a label at the end begins, such as "Answer:"; 0 when there is none, or nothing before it."""
    ends = text.rstrip()
    tail = ends[-_LONGEST_LABEL:]
    found = _ENDS.search(tail)
    return len(ends) - len(tail) + found.start() if found else 0


# -- HTML and escapes --------------------------------------------------------------------------------------------------

_ENTITY = re.compile(r"&(?:#\d{2,6}|#[xX][0-9a-fA-F]{2,5}|[A-Za-z]{2,8}\d{0,2});")
_TAG = re.compile(
    r"</?(?:p|div|span|font|strong|em|li|ul|ol|h[1-6]|td|tr|table|blockquote|center)(?:\s[^<>]*)?/?>|<br\s*/?>\s*<br"
    r"|<a\s+href=[^<>]*>|<br\s*/?>(?=\s*$)|<!--.*?-->",
    re.IGNORECASE | re.DOTALL,
)
_MARKUP = re.compile(
    r"html|xml|markup|\btags?\b|\bcss\b|web ?(?:page|site)|javascript|jsx|react|\bvue|entit|escap|markdown"
    r"|\bcode\b|svg"
    r"|template|网页|标签|代码|实体|\bphp\b|jquery|\bdom\b|转义|angular"
)


def _entity_spans(text: str) -> Iterator[tuple[int, int]]:
    for found in _ENTITY.finditer(text):
        if html.unescape(found[0]) != found[0]:
            yield found.span()


def _entity(text: LintText, row: LintRow) -> Iterator[LintHit]:
    if _MARKUP.search(row.request) or _has_page(text):
        return
    for start, end in _entity_spans(text.prose):
        entity = text.text[start:end]
        yield LintHit(start, end, f"contains the HTML entity {entity}, which is {html.unescape(entity)!r}")
        return


def _has_page(text: LintText) -> bool:
    return text.has("<html", "<!doctype", "<body", "<script", "<?xml", "<svg")


def _unescaped(text: str) -> str:
    for start, end in reversed(list(_entity_spans(text))):
        text = text[:start] + html.unescape(text[start:end]).replace("\xa0", " ") + text[end:]
    return text


def _tag(text: LintText, row: LintRow) -> Iterator[LintHit]:
    if _MARKUP.search(row.request) or _has_page(text):
        return
    if found := _TAG.search(text.prose):
        yield LintHit(
            found.start(), found.end(), f"contains the HTML tag {shown(found[0])}, probably left from a web page"
        )


_ESCAPE = re.compile(r"(?<!\\)(?:\\r)?\\n(?![a-z])|(?<![\\\w:])\\t(?![a-z])|(?:\\u[0-9a-fA-F]{4})+|\\n(?=[a-z]+ [a-z])")
_QUOTED_ESCAPE = re.compile(r"['\"’”“‘(\[]\s*\\[ntru]|\\[ntr]['\"’”]")
_LATEX = re.compile(r"\$[^$\n]*\\|\\\(|\\\[|\\frac|\\begin|\\nabla|\\neq|\\times|\\text|\\theta|\\right|\\sum|\\nu\b")
_PROGRAM = re.compile(
    r"\bcode\b|python|\bjava|\bc\+\+|regex|regular exp|newline|line ?break|escape|\bstrings?\b|latex|print|program"
    r"|script|json|\bsql\b|function|代码|换行|转义|正则|函数|字符串|\bpath\b|\bbash\b|\bshell\b|\btabs?\b|carriage"
    r"|algorithm|\bc#|\bhtml\b|format"
)
_CODE_LINE = re.compile(
    r"(?m)^\s*(?:def |class |import |from \w+ import|#include|print\(|printf\(|return\b|for \(|if \()|;\s*$"
)


def _escape_spans(text: str) -> list[tuple[int, int]]:
    return [found.span() for found in _ESCAPE.finditer(text)]


def _escape(text: LintText, row: LintRow) -> Iterator[LintHit]:
    prose = text.prose
    spans = _escape_spans(prose)
    if not spans or _LATEX.search(prose) or _QUOTED_ESCAPE.search(prose) or _CODE_LINE.search(prose):
        return
    if len(spans) < 3 and _PROGRAM.search(row.request):
        return
    start, end = spans[0]
    yield LintHit(
        start, end, f"contains {text.text[start:end]} written out instead of the character that it stands for"
    )


_PLAIN = {"\\n": "\n", "\\t": "\t", "\\r\\n": "\n"}


def _as_characters(text: str) -> str:
    def plain(found: re.Match[str]) -> str:
        if found[0] in _PLAIN:
            return _PLAIN[found[0]]
        try:
            units = [int(unit, 16) for unit in found[0].split("\\u")[1:]]
            return b"".join(unit.to_bytes(2, "big") for unit in units).decode("utf-16-be")
        except (UnicodeDecodeError, ValueError):
            return found[0]

    return _ESCAPE.sub(plain, text)


def _placeholder(text: LintText, row: LintRow) -> Iterator[LintHit]:
    for name in unfilled(text.text)[:1]:
        start = text.text.find("{{")
        end = text.text.find("}}", start) + 2
        yield LintHit(start, end, f"contains the unfilled placeholder {{{{{name}}}}}")


RULES = (
    LintRule("placeholder", "error", "{{name}} placeholders without a value", _placeholder, signs=frozenset("{")),
    LintRule("marker", "error", "markers of chat templates", _marker, signs=frozenset("<["), fix=_without_markers),
    LintRule("wrapper", "warning", "labels of prompts, such as ### Response:", _wrapper, signs=frozenset(":：#["),
         fix=_unwrapped),
    LintRule("entity", "warning", "HTML entities outside markup", _entity, signs=frozenset("&"), words=(";",),
         fix=_unescaped),
    LintRule("tag", "info", "HTML tags left from web pages", _tag, signs=frozenset("<")),
    LintRule("escape", "warning", r"\n and \t written out", _escape, signs=frozenset("\\"), fix=_as_characters),
)  # fmt: skip
