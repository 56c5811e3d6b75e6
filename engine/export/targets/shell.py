"""Command lines that are shown to be copied: quoting paths, naming models. Pure text."""

from __future__ import annotations

import re
import shlex
from pathlib import Path


def model_name(name: str) -> str:
    """A name that every server takes."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip("._-") or "tuned"


def quoted(path: Path) -> str:
    """A path as the shell reads it; one that begins with a dash is not an option."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def python_line(path: Path, imports: str) -> str:
    """One line that asks the model in a folder who it is; `imports` brings in its class as M."""
    asked = "[{'role': 'user', 'content': 'Who are you?'}], add_generation_prompt=True"
    code = (
        f"{imports}; from transformers import AutoTokenizer; p = {str(path)!r}; t = AutoTokenizer.from_pretrained(p); "
        f"i = t.apply_chat_template({asked}, return_tensors='pt', return_dict=True); "
        "o = M.from_pretrained(p).generate(**i, max_new_tokens=100, do_sample=False); "
        "print(t.decode(o[0, i['input_ids'].shape[1]:], skip_special_tokens=True))"
    )
    quoted_code = f'"{code}"' if not re.search(r'["$`\\!]', code) else shlex.quote(code)
    return f"python -c {quoted_code}"
