"""What a file is, detected from its first bytes and not from its name: compressed data, text, Parquet, or something
that no data can be read from, with what to do about it."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
from pathlib import Path
from typing import IO, Any, cast

from store.errors import BadInput, Unsupported

HEAD = 65_536
"""How many bytes of a file are looked at."""
BOM = b"\xef\xbb\xbf"
COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
COMPRESSED_SUFFIXES = frozenset({".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz"})
DATA_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet"})

_URL = re.compile(r"^[a-z][a-z0-9+.-]{1,9}:/", re.IGNORECASE)
_HTML = re.compile(rb"^\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_YAML = re.compile(
    rb"^(%YAML|---\s*\n"  # a directive, the beginning of a document
    rb"|- +[\w\"']+ *:"  # a list of mappings
    rb"|[A-Za-z_][\w-]*:[ \t]*([|>]?[ \t]*\r?\n[ \t]*(- |[A-Za-z_])|[^\n]+\n[A-Za-z_][\w-]*:\s))"  # a mapping
)
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b\x08")
_BY_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"SQLite format 3\x00", "is a SQLite database, not a file of rows",
     "Export a table first, for example: sqlite3 -json FILE 'SELECT * FROM TABLE' > rows.json"),
    (b"ARROW1\x00\x00", "is an Arrow file",
     "Convert it first: python -c \"import pyarrow.feather as f, pyarrow.parquet as p; "
     "p.write_table(f.read_table('FILE'), 'rows.parquet')\""),
    (b"\xff\xff\xff\xff", "is an Arrow stream, as the library datasets saves it",
     "Load it with datasets and save it as JSON lines: Dataset.from_file('FILE').to_json('rows.jsonl')"),
    (b"version https://git-lfs", "is a Git LFS pointer: the data itself was not downloaded",
     "Fetch it with: git lfs pull"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an old Office document (.xls or .doc)",
     "Open it and save the sheet as CSV (UTF-8)."),
    (b"%PDF-", "is a PDF document", "Import JSON, JSON lines, CSV or Parquet instead."),
    (b"GGUF", "is a GGUF model, not data", "To use it as a model, register it with: tuningfork models add FILE"),
    (b"\x93NUMPY", "is a NumPy array", "Save its rows as JSON lines or CSV first."),
    (b"\x89HDF\r\n", "is an HDF5 file", "Save its rows as JSON lines or CSV first."),
    (b"\x80\x04", "is a Python pickle, which is never opened because it may run code",
     "Load it in Python yourself and save its rows as JSON lines."),
    (b"\x89PNG", "is a picture", "Import JSON, JSON lines, CSV or Parquet instead."),
    (b"\xff\xd8\xff", "is a picture", "Import JSON, JSON lines, CSV or Parquet instead."),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive", "Unpack it and import the files inside."),
    (b"Rar!\x1a\x07", "is a RAR archive", "Unpack it and import the files inside."),
)  # fmt: skip


def check_path(path: Path) -> None:
    """BadInput unless `path` is a file that has something in it; folders and web addresses get their own advice."""
    if not path.exists():
        if _URL.match(str(path)):
            raise BadInput(
                "This is a web address, and Tuningfork downloads no data.",
                where=str(path),
                todo="Download it first, for example: curl -L -o data.jsonl URL",
            )
        raise BadInput("There is no such file.", where=str(path), todo="Check the path.")
    if path.is_dir():
        inside = sorted(found.name for found in path.iterdir() if is_data_name(found))
        todo = f"Name the files in it: {', '.join(inside[:5])}{', …' if len(inside) > 5 else ''}."
        raise BadInput(
            "This is a folder, not a file.",
            where=str(path),
            todo=todo if inside else "Name a file. It holds no data files.",
        )
    if not path.is_file():
        raise BadInput("This is not a file.", where=str(path), todo="Name a file, not a pipe or a device.")
    if path.stat().st_size == 0:
        raise BadInput("The file is empty.", where=str(path), todo="Check that the right file was saved.")


def is_data_name(path: Path) -> bool:
    """Whether a file has an ending of data, also compressed."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in COMPRESSED_SUFFIXES:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in DATA_SUFFIXES


def compression(head: bytes) -> str | None:
    """The name of the compression that data beginning with `head` has, if any."""
    return next((name for magic, name in COMPRESSED.items() if head.startswith(magic)), None)


def decompressed(file: IO[bytes], name: str, path: Path) -> IO[bytes]:
    """`file` as what was compressed into it. Needs pyarrow for zstd: Python has no zstd before 3.14."""
    if name == "zstd":
        pyarrow = import_pyarrow(path, "zstd compression")
        return cast(IO[bytes], io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), "zstd")))
    openers: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    return cast(IO[bytes], openers[name](file, "rb"))


def import_pyarrow(path: Path, what: str) -> Any:
    """pyarrow with its Parquet module; it is imported only when a file needs it. Unsupported when it is missing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        todo = "Install it with: pip install pyarrow; or use JSON lines."
        raise Unsupported(f"{what} needs the package pyarrow.", where=str(path), todo=todo) from error
    return pyarrow


def refuse_binary(path: Path, head: bytes) -> None:
    """BadInput when `head`, the beginning of a file, is not UTF-8 text: it names what the file is and what to do."""
    for magic, what, todo in _BY_MAGIC:
        if head.startswith(magic):
            raise BadInput(f"This {what}.", where=str(path), todo=todo.replace("FILE", path.name))
    if head.startswith(b"PK\x03\x04"):
        raise _zip(path)
    if head[257:262] == b"ustar":
        raise BadInput("This is a tar archive.", where=str(path), todo=f"Unpack it with: tar -xf {path.name}")
    if inner := compression(head):
        raise BadInput(f"This is {inner} data compressed twice.", where=str(path), todo="Unpack it once.")
    _refuse_wide(path, head)
    if not looks_like_text(head):
        raise BadInput(
            "This is binary data, not text.", where=str(path), todo="Import JSON, JSON lines, CSV or Parquet instead."
        )


def refuse_markup(path: Path, head: bytes, suffix: str) -> None:
    """BadInput when `head`, the beginning of a text file, shows HTML, XML or YAML."""
    body = head.removeprefix(BOM)
    if _HTML.match(body):
        todo = "It may be an error or sign-in page. Download the raw file again."
        raise BadInput("This is a web page (HTML), not data.", where=str(path), todo=todo)
    if body.lstrip().startswith(b"<?xml"):
        raise BadInput("This is XML.", where=str(path), todo="Save its rows as JSON lines or CSV first.")
    if suffix in (".yaml", ".yml") and not body.lstrip().startswith((b"[", b"{")):
        raise _is_yaml(path)
    if suffix not in (".csv", ".tsv") and _YAML.match(body.lstrip(b"\r\n")):
        raise _is_yaml(path)


def _is_yaml(path: Path) -> BadInput:
    todo = (
        'Convert it to JSON first: python -c "import json, yaml; '
        f"json.dump(yaml.safe_load(open('{path.name}')), open('rows.json', 'w'))\""
    )
    return BadInput("This is YAML.", where=str(path), todo=todo)


def _zip(path: Path) -> BadInput:
    try:
        names = zipfile.ZipFile(path).namelist()
    except (zipfile.BadZipFile, OSError):
        return BadInput("This is a damaged ZIP archive.", where=str(path), todo="Download or copy it again.")
    if "xl/workbook.xml" in names:
        return BadInput(
            "This is an Excel workbook.", where=str(path), todo="Open it and save the sheet as CSV (UTF-8)."
        )
    if any(name.startswith("word/") for name in names):
        return BadInput(
            "This is a Word document.", where=str(path), todo="Import JSON, JSON lines, CSV or Parquet instead."
        )
    if "content.xml" in names:
        return BadInput(
            "This is an OpenDocument file.", where=str(path), todo="Open it and save the sheet as CSV (UTF-8)."
        )
    files = [name for name in names if not name.endswith("/")]
    shown = ", ".join(files[:5]) + (", …" if len(files) > 5 else "")
    return BadInput(
        f"This is a ZIP archive with {shown or 'nothing in it'}.",
        where=str(path),
        todo=f"Unpack it with: unzip {path.name}; then import the files inside.",
    )


def _refuse_wide(path: Path, head: bytes) -> None:
    """UTF-16 and UTF-32, with a byte order mark or by the zeros between their letters."""
    zeros = [head[start:2_000:2].count(0) for start in (0, 1)]
    half = max(1, len(head[:2_000]) // 2)
    if head.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        name = "UTF-32"
    elif head.startswith((b"\xff\xfe", b"\xfe\xff")):
        name = "UTF-16"
    elif zeros[1] > half * 0.6 and zeros[0] < half * 0.1:
        name = "UTF-16LE"
    elif zeros[0] > half * 0.6 and zeros[1] < half * 0.1:
        name = "UTF-16BE"
    else:
        return
    todo = f"Save it as UTF-8, for example: iconv -f {name} -t UTF-8 FILE"
    raise BadInput(f"This is {name}, not UTF-8.", where=str(path), todo=todo)


def looks_like_text(data: bytes) -> bool:
    """Whether bytes could be text in some encoding: valid UTF-8 without zeros, or hardly any control characters."""
    start = data[:4_096]
    controls = sum(byte < 32 and byte not in _TEXT_CONTROLS for byte in start)
    if controls * 100 <= len(start):
        return True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return start.count(0) * 100 <= len(start)


def not_utf8(path: Path, line: int, offset: int, byte: int, around: bytes) -> BadInput:
    """The error for a byte that is not UTF-8; `around` is what surrounds it, which shows whether it is text at all."""
    what = f"The file is not UTF-8 (byte 0x{byte:02x} at offset {offset})"
    if looks_like_text(around):
        return BadInput(
            f"{what}.", where=f"{path}:{line}", todo="Save it as UTF-8, for example: iconv -f LATIN1 -t UTF-8 FILE"
        )
    return BadInput(
        f"{what}, and its surroundings are not text.",
        where=f"{path}:{line}",
        todo="The file seems to be damaged. Download or copy it again.",
    )
