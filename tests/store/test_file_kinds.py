"""Files are told apart by what is in them, and each kind gets the advice that fits; compressed ones just work."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from store import datasets, importing
from store.db import Store
from store.errors import BadInput
from store.formats import open_file, read
from store.formats.base import Row

ROW = b'{"question": "q", "answer": "a"}\n'
LINE = ROW.decode().strip()
CSV = b"question,answer\nq,a\n"


def zstd(data: bytes) -> bytes:
    pyarrow = pytest.importorskip("pyarrow", reason="zstd needs the package pyarrow")
    return bytes(pyarrow.Codec("zstd").compress(data, asbytes=True))


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("a.jsonl")
        info.size = len(ROW)
        archive.addfile(info, io.BytesIO(ROW))
    return out.getvalue()


def database(folder: Path) -> bytes:
    with sqlite3.connect(folder / "made.db") as conn:
        conn.execute("CREATE TABLE t (a)")
    conn.close()
    return (folder / "made.db").read_bytes()


def arrow(folder: Path, stream: bool) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    table, out = pyarrow.table({"question": ["q"]}), io.BytesIO()
    opened = pyarrow.ipc.new_stream(out, table.schema) if stream else pyarrow.ipc.new_file(out, table.schema)
    with opened as writer:
        writer.write_table(table)
    return out.getvalue()


def refused(path: Path) -> BadInput:
    with pytest.raises(BadInput) as caught:
        list(read(open_file(path)))
    assert caught.value.where and caught.value.where.startswith(str(path)) and caught.value.todo
    return caught.value


def answers(path: Path) -> list[str]:
    return [row.draft.answer for row in read(open_file(path)) if isinstance(row, Row)]  # type: ignore[union-attr]


Make = Callable[[Path], bytes]
FOREIGN: dict[str, tuple[Make, str, str]] = {
    "zip": (lambda _: zipped("a.jsonl", "b.csv"), "ZIP archive with a.jsonl, b.csv", "unzip"),
    "xlsx": (lambda _: zipped("xl/workbook.xml"), "Excel workbook", "CSV"),
    "docx": (lambda _: zipped("word/document.xml"), "Word document", "CSV"),
    "ods": (lambda _: zipped("content.xml"), "OpenDocument", "CSV"),
    "broken zip": (lambda _: zipped("a")[:30], "damaged ZIP", "again"),
    "tar": (lambda _: tarred(), "tar archive", "tar -xf"),
    "tar.gz": (lambda _: gzip.compress(tarred()), "tar archive", "tar -xf"),
    "sqlite": (database, "SQLite", "sqlite3 -json"),
    "arrow file": (lambda folder: arrow(folder, False), "Arrow file", "parquet"),
    "arrow stream": (lambda folder: arrow(folder, True), "Arrow stream", "to_json"),
    "lfs": (lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "LFS pointer", "lfs pull"),
    "html": (lambda _: b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "web page", "raw file"),
    "html 2": (lambda _: b"\n <html lang='en'>", "web page", "raw file"),
    "xml": (lambda _: b"<?xml version='1.0'?><rss/>", "XML", "CSV"),
    "yaml list": (lambda _: b"- instruction: q\n  output: a\n", "YAML", "yaml.safe_load"),
    "yaml mapping": (lambda _: b"data:\n  - question: q\n    answer: a\n", "YAML", "yaml.safe_load"),
    "yaml document": (lambda _: b"---\nquestion: q\n", "YAML", "yaml.safe_load"),
    "pdf": (lambda _: b"%PDF-1.7\n%\xe2\xe3", "PDF", "CSV"),
    "xls": (lambda _: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "Office document", "CSV"),
    "gguf": (lambda _: b"GGUF\x03\x00\x00\x00", "GGUF model", "models"),
    "pickle": (lambda _: b"\x80\x04\x95\x00", "pickle", "JSON lines"),
    "numpy": (lambda _: b"\x93NUMPY\x01\x00", "NumPy", "JSON lines"),
    "binary": (lambda _: bytes(range(256)) * 8, "binary data", "JSON"),
    "utf-16": (lambda _: ROW.decode().encode("utf-16"), "UTF-16", "iconv -f UTF-16 "),
    "utf-16 without mark": (lambda _: ROW.decode().encode("utf-16-be"), "UTF-16BE", "iconv -f UTF-16BE"),
    "utf-32": (lambda _: ROW.decode().encode("utf-32"), "UTF-32", "iconv -f UTF-32"),
    "gz in gz": (lambda _: gzip.compress(gzip.compress(ROW)), "compressed twice", "Unpack"),
    "cut gz": (lambda _: gzip.compress(ROW * 99)[:-12], "gzip data is damaged or cut short", "again"),
    "cut bz2": (lambda _: bz2.compress(ROW * 99)[:-9], "bzip2 data is damaged or cut short", "again"),
    "cut xz": (lambda _: lzma.compress(ROW * 99)[:-9], "xz data is damaged or cut short", "again"),
    "cut zst": (lambda _: zstd(ROW * 99)[:-5], "zstd data is damaged or cut short", "again"),
    "wrong zst": (lambda _: b"\x28\xb5\x2f\xfd" + b"x" * 20, "zstd data is damaged", "again"),
}


@pytest.mark.parametrize("suffix", ["", ".jsonl", ".parquet"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_data_is_named_with_what_to_do(tmp_path: Path, kind: str, suffix: str) -> None:
    make, what, todo = FOREIGN[kind]
    path = tmp_path / f"file{suffix}"
    path.write_bytes(make(tmp_path))
    error = refused(path)
    assert what in error.what
    assert todo in (error.todo or "")
    assert "LATIN1" not in (error.todo or "")


@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
def test_yaml_by_its_name(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"x{suffix}").write_text("question: 'Where?'\n")
    assert "YAML" in refused(tmp_path / f"x{suffix}").what


@pytest.mark.parametrize(
    "data", [b'{"question": "caf\xe9", "answer": "a"}\n', b"question,answer\nna\xefve,a\n", b"\xabq\xbb\n"]
)
def test_iconv_is_advised_where_the_bytes_look_like_text(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(data)
    assert "iconv -f LATIN1" in (refused(tmp_path / "x.csv").todo or "")


def test_damage_in_the_middle_is_not_taken_for_latin(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(ROW * 3_000 + bytes(range(128, 256)) * 2 + bytes(2_000))
    error = refused(tmp_path / "x.jsonl")
    assert "not text" in error.what and "LATIN1" not in (error.todo or "")
    assert error.where == f"{tmp_path / 'x.jsonl'}:3001"


@pytest.mark.parametrize("compress", [gzip.compress, zstd, bz2.compress, lzma.compress])
@pytest.mark.parametrize(("name", "data"), [("a.jsonl", ROW * 2), ("a.json", b"[" + ROW + b"]"), ("a.csv", CSV)])
def test_compressed_files_just_work(
    store: Store, tmp_path: Path, compress: Callable[[bytes], bytes], name: str, data: bytes
) -> None:
    for n, ending in enumerate((".gz", "")):  # the content decides, not the name
        path = tmp_path / f"{n}{name}{ending}"
        path.write_bytes(compress(data))
        assert answers(path) == ["a"] * (2 if name == "a.jsonl" else 1)
        assert importing.import_files(store, [path], dataset=f"d{n}").read >= 1


def test_several_compressed_parts_in_one_file(tmp_path: Path) -> None:
    for n, compress in enumerate((gzip.compress, zstd)):
        (tmp_path / f"{n}.jsonl").write_bytes(compress(ROW) + compress(ROW))
        assert answers(tmp_path / f"{n}.jsonl") == ["a", "a"]


@pytest.mark.parametrize("name", ["data.parquet", "data.jsonl", "data", "data.csv"])
def test_parquet_under_any_name(store: Store, tmp_path: Path, name: str) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"question": ["q", "r"], "answer": ["a", None]}), tmp_path / name)
    report = importing.import_files(store, [tmp_path / name], dataset="d")
    assert (report.read, report.kept, report.rejected) == (2, 1, 1)


def test_compressed_parquet(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    out = io.BytesIO()
    parquet.write_table(pyarrow.table({"question": ["q"], "answer": [1.5]}), out)
    (tmp_path / "x.parquet.gz").write_bytes(gzip.compress(out.getvalue()))
    assert answers(tmp_path / "x.parquet.gz") == ["1.5"]


def test_empty_folders_and_addresses_are_no_files(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, what, todo in (
        (tmp_path / "empty", "is a folder", "no data files"),
        (Path("https://example.org/x.jsonl"), "web address", "curl"),
        (Path("hf://datasets/a/b.jsonl"), "web address", "Download"),
        (tmp_path / "none", "no such file", "path"),
    ):
        with pytest.raises(BadInput, match=what) as caught:
            importing.import_files(store, [path], dataset="d")
        assert todo in (caught.value.todo or "")
    assert datasets.all_datasets(store) == []


class TestLooseText:
    """What people write by hand and other programs write carelessly."""

    @pytest.mark.parametrize(
        "text",
        [
            '{"question": "q", "answer": "a"},\n{"question": "q", "answer": "b"},\n',
            '{"question": "q", "answer": "a"},\r\n\r\n{"question": "q", "answer": "b"}',
            '{\n"question": "q",\n"answer": "a"\n},\n{\n"question": "q", "answer": "b"},\n',
            '\ufeff{"question": "q", "answer": "a"} ,\n{"question": "q", "answer": "b"}',
        ],
    )
    def test_a_comma_after_every_line(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "x.jsonl").write_text(text, "utf-8")
        assert answers(tmp_path / "x.jsonl") == ["a", "b"]

    @pytest.mark.parametrize(
        ("text", "lines", "beside"),
        [
            (f'{{"data": [{LINE}]}}', [1], ()),
            (f'{{"version": 2,\n "data":\n [{LINE},\n{LINE}]}}', [3, 4], ("version",)),
            (f'{{"result": {{"rows": [\n{LINE}\n], "total": 1}}, "ok": true}}', [2], ("ok", "total")),
        ],
    )
    def test_a_list_inside_an_object(
        self, store: Store, tmp_path: Path, text: str, lines: list[int], beside: tuple[str, ...]
    ) -> None:
        (tmp_path / "x.json").write_text(text)
        file = open_file(tmp_path / "x.json")
        assert [row.line for row in read(file)] == lines
        assert file.beside == beside
        notices = importing.import_files(store, [tmp_path / "x.json"], dataset="d").notices
        assert notices == ([f"x.json: not read beside its rows: {', '.join(beside)}."] if beside else [])

    def test_several_lists_inside_an_object_are_not_guessed(self, tmp_path: Path) -> None:
        (tmp_path / "x.json").write_text('{"train": [{"question": "q", "answer": "a"}], "test": [{"question": "r"}]}')
        assert "train (1), test (1)" in refused(tmp_path / "x.json").what

    def test_one_row_is_no_wrapper(self, tmp_path: Path) -> None:
        row = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}'
        (tmp_path / "x.json").write_text(row)
        assert answers(tmp_path / "x.json") == ["a"]

    @pytest.mark.parametrize(
        "before", ["", "\n", "\r\n\r\n", "# made by hand\n", "# a, b\n\n# c\n", "sep=,\n", "\ufeff\n"]
    )
    def test_something_before_the_header(self, tmp_path: Path, before: str) -> None:
        (tmp_path / "x.csv").write_text(before + "question,answer\nq,a\n,b\n", "utf-8", newline="")
        rows = list(read(open_file(tmp_path / "x.csv")))
        assert [row.line for row in rows] == [before.count("\n") + 2, before.count("\n") + 3]

    @pytest.mark.parametrize(
        "text",
        [
            '"question", "answer"\n"q, r", "a"\n',
            'question, answer\n"q, r", "a"\n',
            'question,answer\n"q, r", "a"\n',
            'question;answer\n"q, r"; "a"\n',
        ],
    )
    def test_spaces_after_a_delimiter(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "x.csv").write_text(text)
        (row,) = read(open_file(tmp_path / "x.csv"))
        assert isinstance(row, Row) and (row.draft.question, row.draft.answer) == ("q, r", "a")  # type: ignore[union-attr]

    def test_a_space_that_belongs_to_a_text_stays(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_text("question,answer\nq,  indented\n")
        assert answers(tmp_path / "x.csv") == ["  indented"]

    def test_two_columns_of_one_name_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_text("question,answer,answer\nq,a,b\n")
        assert "two columns named answer" in refused(tmp_path / "x.csv").what

    @pytest.mark.parametrize("name", ["x.txt", "x", "x.jsonl"])
    def test_a_table_under_another_name(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(CSV)
        assert answers(tmp_path / name) == ["a"]
