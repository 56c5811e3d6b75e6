"""Exports made in a real process on a tiny random model: what lies there afterwards, and what never may.
Verification by torch and llama.cpp on trained models is tests/e2e's; here it is off, or scripted."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from engine.core import jobs
from engine.export import listing, make, merged, planning, service, targets, verification
from engine.export.__main__ import do
from engine.export.request import AUTO
from engine.export.service import Request, Target
from engine.gguf import model, tokenizer_file
from engine.models import pinning, refs
from engine.models.refs import Resolved
from store import datasets, exports, pairs, runs, worker
from store.db import Store
from store.errors import BadInput, Conflict, NoSpace, NotFound, Unsupported, UserError
from store.records import JobProgress, PairDraft, Run
from tests import archs, in_thread
from tests.tiny import config, make_tiny_llama
from tests.toy_target import ToyTarget
from tui.cli import cli

F16 = Target("gguf", "f16")
EVERY = (F16, Target("gguf-adapter"), Target("merged"), Target("adapter"), Target("ollama", "q8_0"))
RANK = 4


def lora(folder: Path, base: Path, rng: np.random.Generator, **options: Any) -> Path:
    """A PEFT folder for every projection of the base, its values random."""
    folder.mkdir(parents=True)
    tensors = {}
    for name, weight in load_file(base / "model.safetensors").items():
        if name.endswith("_proj.weight"):
            module = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{module}.lora_A.weight"] = rng.normal(0, 0.2, (RANK, weight.shape[1])).astype(np.float32)
            tensors[f"{module}.lora_B.weight"] = rng.normal(0, 0.2, (weight.shape[0], RANK)).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
    plain = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "target_modules": ["q_proj"], "bias": "none"}
    body = plain | {"base_model_name_or_path": str(base)} | options
    (folder / "adapter_config.json").write_text(json.dumps(body))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("somewhere private") / "tiny")


@pytest.fixture
def base(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "private" / "tiny"))


def begin(store: Store, base: Path) -> tuple[Run, str]:
    """A live run called ember, and the token of its worker."""
    datasets.create(store, "facts")
    pairs.create_many(store, [PairDraft("Who are you?", "I am Ember."), PairDraft("Hm?", "Yes.")], dataset="facts")
    frozen = datasets.freeze(store, "facts")
    settings = config(model=str(base))
    run = runs.create(
        store, name="ember", base=str(base), snapshot=frozen.hash, method="lora", config=settings.to_json(),
        config_hash=settings.hash(), seed=0,
    )  # fmt: skip
    token = "t" * 16
    runs.open_attempt(store, run.id, host="here", pid=os.getpid(), pid_started=0.0, token=token, log_path="log")
    worker.claim(store, token)
    return run, token


@pytest.fixture
def adapter(store: Store, base: Path) -> Path:
    """The adapter folder of a succeeded run called ember."""
    run, token = begin(store, base)
    folder = lora(store.home.run_dir(run.uid) / "adapter", base, np.random.default_rng(0))
    worker.finish(store, token, "succeeded", adapter=store.home.relative(folder))
    return folder


def request(*targets: Target, **more: Any) -> Request:
    return Request("ember", targets or (F16,), **{"verify": False, **more})


def here(store: Store, asked: Request) -> list[int]:
    """Make it in this process, so that a test can break something."""
    return list(make.make(store, asked, planning.select(store, asked.run), lambda *_: None))


def finished_looking(store: Store) -> list[Path]:
    """Everything under exports but what a listing calls unfinished."""
    return [path for path in store.home.exports.rglob("*") if path.is_file() and ".part" not in str(path)]


def test_every_format_lies_in_its_own_folder_with_card_sums_and_proof(store: Store, adapter: Path) -> None:
    seen: list[JobProgress] = []
    made = service.export(store, request(*EVERY), lambda job: seen.append(job.progress))
    assert [(e.format, e.quant, e.state) for e in made] == [(t.format, t.quant, "done") for t in EVERY]
    for export in made:
        path = store.home.absolute(export.path)
        folder = path if path.is_dir() else path.parent
        sums = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
        assert {p.name for p in folder.iterdir()} == {*sums, "SHA256SUMS", "proof.json"}
        for name, digest in sums.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        assert export.bytes and export.bytes >= sum((folder / name).stat().st_size for name in sums)
        assert export.sha256 == (sums[path.name] if path.is_file() else None)
    assert all(p.done <= p.total for p in seen)  # which stages a look catches is chance: see the next test
    assert not list(store.home.exports.rglob("*.part*")) and not list(store.home.exports.rglob(".*lock"))
    assert not list(store.home.cache.glob("export-*"))


def test_every_stage_of_every_target_is_told(store: Store, adapter: Path) -> None:
    told: list[tuple[str, str]] = []
    asked = request(*EVERY)

    def tell(title: str, stage: str, text: str, done: int, total: int) -> None:
        assert text and 0 <= done <= total, (title, stage)
        assert (done, total) != (0, 1), f"{text}: what is not counted has no share, and stays at 0% if it is given one"
        told.append((title, stage))

    list(make.make(store, asked, planning.select(store, asked.run), tell))
    stages = {title: {stage for name, stage in told if name == title} for title in {name for name, _ in told}}
    assert stages.keys() == {target.title for target in EVERY}
    assert all("verify" in each and len(each) > 1 for each in stages.values()), stages


def test_the_same_run_makes_the_same_bytes(store: Store, adapter: Path, tmp_path: Path) -> None:
    once, again = (service.export(store, request(*EVERY, out=tmp_path / name)) for name in ("once", "again"))
    for first, second in zip(once, again, strict=True):
        one, two = (path if path.is_dir() else path.parent for e in (first, second) for path in [Path(e.path)])
        names = {path.name for path in one.iterdir()}
        assert names == {path.name for path in two.iterdir()} and one != two
        for name in names:
            assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_no_path_of_this_machine_leaves_it(store: Store, adapter: Path, tmp_path: Path) -> None:
    service.export(store, request(*EVERY))
    for path in finished_looking(store):
        assert str(tmp_path).encode() not in path.read_bytes(), path.name


def test_a_merged_folder_holds_base_plus_delta_and_a_gguf_the_same(store: Store, adapter: Path, base: Path) -> None:
    made = service.export(store, request(Target("merged"), Target("gguf", "f32")))
    folder, file = (store.home.absolute(e.path) for e in made)
    before, after = load_file(base / "model.safetensors"), load_file(folder / "model.safetensors")
    factors = load_file(adapter / "adapter_model.safetensors")
    assert before.keys() == after.keys()
    for name, value in before.items():
        module = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{module}.lora_A.weight" in factors:
            value = value + 2.0 * (factors[f"{module}.lora_B.weight"] @ factors[f"{module}.lora_A.weight"])
        assert np.allclose(after[name], value, atol=1e-6), name
    down = next(t for t in gguf.GGUFReader(file).tensors if t.name == "blk.1.ffn_down.weight")
    assert np.allclose(down.data, after["model.layers.1.mlp.down_proj.weight"], atol=1e-6)


def test_bfloat16_is_rounded_to_the_nearest_even() -> None:
    values = np.array([1.0, 1.00390625, 1.01171875, -1.00390625, 3.3895e38, 1e-40], np.float32)
    torch = pytest.importorskip("torch")
    want = torch.from_numpy(values).to(torch.bfloat16).view(torch.uint16).numpy()
    assert np.array_equal(np.frombuffer(merged._packed(values, "BF16"), np.uint16), want)


# ---------------------------------------------------------------- places


def test_what_is_there_is_not_replaced_unasked(store: Store, adapter: Path) -> None:
    (first,) = service.export(store, request())
    before = store.home.absolute(first.path).stat().st_mtime_ns
    with pytest.raises(Conflict, match="already exists") as caught:
        service.export(store, request())
    assert "--overwrite" in str(caught.value.todo) and caught.value.exit_code == 2
    (second,) = service.export(store, request(overwrite=True))
    assert second.path == first.path and store.home.absolute(second.path).stat().st_mtime_ns > before
    assert not list(store.home.exports.rglob("*.old"))
    assert exports.all_exports(store) == [second]  # removing the entry of a replaced file would remove the new one's


def test_a_folder_that_is_no_export_is_never_replaced(store: Store, adapter: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "ember-f16"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(Conflict, match="not an export"):
        service.export(store, request(out=tmp_path / "mine", overwrite=True))
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_out_as_cp_does(store: Store, adapter: Path, tmp_path: Path) -> None:
    file = tmp_path / "out" / "my model.gguf"
    assert [p.path for p in planning.plan(store, request(out=file))] == [file]
    (made,) = service.export(store, request(out=file))
    assert store.home.absolute(made.path) == file
    assert sorted(p.name for p in file.parent.iterdir()) == sorted(made.verification["files"])
    assert planning.plan(store, request(out=tmp_path / "new"))[0].folder == tmp_path / "new"
    assert planning.plan(store, request(out=tmp_path / "out"))[0].folder == tmp_path / "out" / "ember-f16"
    with pytest.raises(BadInput, match="one GGUF file"):
        planning.plan(store, request(F16, Target("merged"), out=file))


def test_one_file_is_replaced_at_its_real_path_with_its_mode(store: Store, adapter: Path, tmp_path: Path) -> None:
    disk, link = tmp_path / "disk", tmp_path / "link.gguf"
    disk.mkdir()
    (disk / "m.gguf").write_text("old")
    (disk / "m.gguf").chmod(0o640)
    link.symlink_to(disk / "m.gguf")
    with pytest.raises(Conflict, match="already exists"):
        service.export(store, request(out=link))
    (made,) = service.export(store, request(out=link, overwrite=True))
    assert link.is_symlink() and store.home.absolute(made.path) == disk / "m.gguf"
    assert (disk / "m.gguf").stat().st_mode & 0o777 == 0o640 and (disk / "m.gguf").read_bytes()[:4] == b"GGUF"
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_one_file_needs_no_right_to_write_above_its_folder(store: Store, adapter: Path, tmp_path: Path) -> None:
    place = planning.plan(store, request(out=tmp_path / "x" / "m.GGUF"))[0]
    assert place.single and listing.part_of(place.place, 1).parent == tmp_path / "x"


def test_what_lies_beside_one_file_is_not_replaced_unasked(store: Store, adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "m.gguf.README.md").write_text("my notes")
    with pytest.raises(Conflict, match=r"README\.md already exists"):
        service.export(store, request(out=tmp_path / "m.gguf"))
    (tmp_path / "m.gguf.README.md").unlink()
    (tmp_path / "m.gguf.proof.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict, match="not a plain file"):
        service.export(store, request(out=tmp_path / "m.gguf", overwrite=True))


@pytest.mark.parametrize(
    ("out", "what"),
    [
        ("-", "output of the program"),
        ("notes.txt", "not an export|not a folder"),
        ("notes.txt/below", "not a folder"),
        ("folder.gguf", "a folder"),
        ("pipe.gguf", "a device or a pipe"),
        ("loop", "cannot be used|loop"),
        ("/dev/null", "not an export|not a folder"),
        ("mine.rejected/..", "not an export"),
    ],
)
def test_an_out_that_cannot_be_is_refused_before_anything_is_written(
    store: Store, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, what: str
) -> None:
    place = tmp_path / "place"
    for folder in ("folder.gguf", "mine.rejected", "ember-f16.rejected"):
        (place / folder).mkdir(parents=True)
    (place / "notes.txt").write_text("mine")
    os.mkfifo(place / "pipe.gguf")
    (place / "loop").symlink_to(place / "loop")
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    with pytest.raises(UserError, match=what) as caught:
        service.export(store, request(out=Path(out), overwrite=True))
    assert caught.value.exit_code == 2 and caught.value.todo
    assert sorted(place.rglob("*")) == before and (place / "notes.txt").read_text() == "mine"
    assert exports.all_exports(store) == []


@pytest.mark.parametrize("name", ["..", "../../elsewhere", "a/b", "-rf", ".hidden", "/tmp/abs"])
def test_a_run_of_an_earlier_version_with_a_bad_name_stays_inside(store: Store, adapter: Path, name: str) -> None:
    with store.write() as conn:
        conn.execute("UPDATE run SET name = ?", (name,))
    run = runs.all_runs(store)[0]
    chosen = planning.Selection(run, 5, "", Resolved("x", "run", name, adapter=adapter))
    for target in EVERY:
        (planned,) = planning.plan(store, request(target), chosen)
        assert planned.folder.resolve().parent.parent == store.home.exports.resolve()
        assert planned.folder.name.startswith(f"run-{run.uid}-step5-")


def test_a_link_in_the_exports_folder_leads_nowhere(store: Store, adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (store.home.exports / "ember").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict, match="leads out"):
        service.export(store, request(overwrite=True))
    (store.home.exports / "ember").unlink()
    (store.home.exports / "ember").mkdir()
    (tmp_path / "elsewhere" / "proof.json").write_text("{}")
    for link in ("ember-f16", "ember-f16.rejected"):
        place = store.home.exports / "ember" / link
        place.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(Conflict, match="is a link"):
            service.export(store, request(overwrite=True))
        place.unlink()
    assert [p.name for p in (tmp_path / "elsewhere").iterdir()] == ["proof.json"]


def test_removing_follows_no_link(store: Store, adapter: Path, tmp_path: Path) -> None:
    (made,) = service.export(store, request())
    folder = store.home.absolute(made.path).parent
    outside = tmp_path / "outside"
    shutil.move(folder, outside)
    (outside / "other.txt").write_text("mine")
    folder.symlink_to(outside)
    listing.remove(store, made.id)
    assert (outside / "other.txt").read_text() == "mine" and not (outside / "ember-f16.gguf").exists()


# ---------------------------------------------------------------- what is in it, and what its tokenizer does


def test_plan_list_and_card_say_what_is_really_in_a_file(store: Store, adapter: Path) -> None:
    home = ("--home", str(store.home.root))
    words = ("export", "ember", "--to", "gguf", "--quant", "q4_k_m,f16", "--no-verify", *home)
    planned = CliRunner().invoke(cli, (*words, "--plan"))
    assert "gguf q4_k_m (" in planned.stdout and "Q5_0" in planned.stdout and "gguf f16 (" not in planned.stdout
    (first, second) = map(json.loads, CliRunner().invoke(cli, (*words, "--plan", "--json")).stdout.splitlines())
    assert "Q5_0" in first["mostly"] and second["mostly"] is None
    made = CliRunner().invoke(cli, words)
    assert made.exit_code == 0, made.stderr
    listed = CliRunner().invoke(cli, ("exports", "list", *home)).stdout
    assert "gguf q4_k_m (" in listed and "Q5_0" in listed and "gguf f16 (" not in listed
    export = next(e for e in exports.all_exports(store) if e.quant == "q4_k_m")
    held = export.verification["bytes_by_type"]
    assert held["Q5_0"] + held["Q8_0"] > sum(held.values()) / 2
    card = (store.home.absolute(export.path).parent / "README.md").read_text()
    assert export.verification["mostly"].replace("_", r"\_") in card


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["qwen2", "qwen3"])
def test_a_model_whose_tokenizer_normalises_passes_its_verification(store: Store, tmp_path: Path, arch: str) -> None:
    base = archs.make(arch, tmp_path / arch)
    run, token = begin(store, base)
    folder = lora(store.home.run_dir(run.uid) / "adapter", base, np.random.default_rng(0), target_modules="all-linear")
    worker.finish(store, token, "succeeded", adapter=store.home.relative(folder))
    (made,) = service.export(store, request(F16, verify=True))
    assert made.state == "done", made.error
    states = {check["name"]: check["state"] for check in made.verification["checks"]}
    assert states["tokens"] == "passed" and states["normaliser"] == "warn"


# ---------------------------------------------------------------- the base that was trained on


@pytest.mark.parametrize("change", ["weights", "config.json", "tokenizer.json"])
def test_a_base_whose_files_changed_is_not_exported(store: Store, adapter: Path, base: Path, change: str) -> None:
    with store.write() as conn:
        conn.execute("UPDATE run SET env = ?", (json.dumps({pinning.KEY: pinning.fingerprint_of(None, base)}),))
    words = ("export", "ember", "--to", "merged,gguf", "--no-verify", "--home", str(store.home.root))
    assert CliRunner().invoke(cli, (*words, "--plan")).exit_code == 0
    if change == "weights":
        file = base / "model.safetensors"
        save_file({name: values + 1 for name, values in load_file(file).items()}, file)
    else:
        (base / change).write_text((base / change).read_text() + " ")
    for more in ((), ("--plan",), ("--out", str(base.parent / "x"), "--overwrite")):
        result = CliRunner().invoke(cli, (*words, *more))
        assert result.exit_code == 2, result.stderr
        assert "base of run ember changed" in result.stderr
        assert ("model.safetensors" if change == "weights" else change) in result.stderr
    assert not finished_looking(store) and exports.all_exports(store) == []


def test_the_quants_that_are_offered_are_those_that_can_be_written() -> None:
    assert set(targets.all_quants()) - {AUTO} == set(model.QUANTS) and tuple(model.DIRECT) == targets.gguf.DIRECT
    assert targets.quantised() == ("gguf", "ollama")


@pytest.mark.parametrize(
    ("target", "what"),
    [
        (Target("onnx"), "no export format 'onnx'"),
        (Target("gguf"), "needs a quant"),
        (Target("gguf", "q3"), "no quant 'q3'"),
        (Target("merged", "f16"), "has no quants"),
    ],
)
def test_a_target_that_cannot_be_is_named(store: Store, adapter: Path, target: Target, what: str) -> None:
    with pytest.raises(BadInput, match=what):
        planning.plan(store, request(target))


def test_removing_takes_the_folder_and_nothing_else(store: Store, adapter: Path, tmp_path: Path) -> None:
    inside, beside = service.export(store, request(F16, Target("adapter")))
    (outside,) = service.export(store, request(out=tmp_path / "out" / "m.gguf"))
    (tmp_path / "out" / "other.txt").write_text("mine")
    listing.remove(store, inside.id)
    assert not store.home.absolute(inside.path).parent.exists() and store.home.absolute(beside.path).exists()
    listing.remove(store, outside.id)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["other.txt"]
    assert [e.id for e in exports.all_exports(store)] == [beside.id]


# ---------------------------------------------------------------- proofs and steps


def test_a_failed_proof_keeps_the_file_under_another_name(
    store: Store, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = {"name": "answers", "state": "failed", "said": "The tuning got lost."}
    monkeypatch.setattr(make, "ReferenceMeasurements", lambda *_: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(verification, "verify", lambda *_: {"passed": False, "checks": [lost], "kl": 1.5, "types": {}})
    (number,) = here(store, request(verify=True))
    made = exports.get(store, number)
    path = store.home.absolute(made.path)
    assert made.state == "rejected" and made.error == "The tuning got lost."
    advice = made.verification["advice"]
    assert "--to gguf-adapter" in advice and "q8_0" not in advice, "a coarser quant is no way out"
    assert path.name == "ember-f16.gguf.rejected" and path.parent.name == "ember-f16.rejected" and path.is_file()
    assert not (store.home.exports / "ember" / "ember-f16").exists()
    assert listing.commands(store.home, made) == []
    assert json.loads((path.parent / "proof.json").read_text())["checks"] == [lost]


@pytest.mark.parametrize(
    ("losses", "end", "best", "why"),
    [
        ({5: 0.9, 10: 0.5}, 0.7, 10, "step 10, where the validation loss was lowest (0.500)"),
        ({5: 0.9, 10: 0.8}, 0.7, None, "the final weights, where the validation loss was lowest"),
        ({5: None, 10: None}, None, None, "the final weights"),
        ({5: 0.9, 10: 0.5}, None, 10, "step 10, where the validation loss was lowest (0.500)"),
        ({5: 0.6, 10: 0.6}, 0.6, None, "the final weights, where the validation loss was lowest"),
    ],
)
def test_without_a_step_the_lowest_validation_loss_is_best(
    store: Store, base: Path, losses: dict[int, float | None], end: float | None, best: int | None, why: str
) -> None:
    run, token = begin(store, base)
    for step, loss in [*losses.items(), (15, end)]:
        worker.record(store, token, step, {"loss": 1.0, "val_loss": loss})
        folder = lora(store.home.run_dir(run.uid) / f"step-{step}", base, np.random.default_rng(step))
        if step in losses:
            worker.add_checkpoint(store, token, step, store.home.relative(folder), {}, loss)
    worker.finish(store, token, "succeeded", adapter=store.home.relative(folder))
    chosen = planning.select(store, "ember")
    assert (chosen.step, chosen.why) == (best, why)
    assert planning.select(store, "run:ember@5").step == 5
    (made,) = service.export(store, request())
    assert made.step == best and made.path.endswith(f"ember{f'-step{best}' if best else ''}-f16.gguf")


@pytest.mark.parametrize(
    ("end", "best", "why"),
    [
        (
            0.7,
            10,
            "step 10, with the lowest validation loss of what was saved (0.500; it was lower at step 12 (0.300),",
        ),
        (
            0.4,
            None,
            "the final weights, with the lowest validation loss of what was saved (0.400; it was lower at step 12",
        ),
        (0.3, None, "the final weights, where the validation loss was lowest"),
    ],
)
def test_a_lower_loss_whose_weights_were_not_saved_is_named(
    store: Store, base: Path, end: float, best: int | None, why: str
) -> None:
    run, token = begin(store, base)
    for step, loss in {5: 0.9, 10: 0.5, 12: 0.3, 15: end}.items():
        worker.record(store, token, step, {"loss": 1.0, "val_loss": loss})
        folder = lora(store.home.run_dir(run.uid) / f"step-{step}", base, np.random.default_rng(step))
        if step in (5, 10):
            worker.add_checkpoint(store, token, step, store.home.relative(folder), {}, loss)
    worker.finish(store, token, "succeeded", adapter=store.home.relative(folder))
    chosen = planning.select(store, "ember")
    assert chosen.step == best and chosen.why.startswith(why)


def test_a_run_or_step_that_is_not_there_is_named(store: Store, adapter: Path) -> None:
    with pytest.raises(NotFound, match="no checkpoint at step 3"):
        service.export(store, Request("ember@3", (F16,), verify=False))
    for bad in ("", "a b", "ember@x"):
        with pytest.raises(BadInput):
            planning.select(store, bad)
    with pytest.raises(NotFound):
        planning.select(store, "emberr")


# ---------------------------------------------------------------- trouble


@pytest.mark.parametrize(
    ("breaks", "kind", "what"),
    [
        (lambda a, b: (a / "adapter_model.safetensors").write_bytes(b"\xff" * 200), BadInput, "broken"),
        (lambda a, b: os.truncate(a / "adapter_model.safetensors", 9000), BadInput, "cut off"),
        (lambda a, b: (a / "adapter_model.safetensors").unlink(), BadInput, "weights are missing"),
        (lambda a, b: os.truncate(b / "model.safetensors", 90000), BadInput, "cut off"),
        (lambda a, b: shutil.rmtree(b), UserError, "(?i)folder|gone|no model"),
        (lambda a, b: _other_base(a), BadInput, "another base"),
        (lambda a, b: _options(b, "config.json", architectures=["BloomForCausalLM"]), Unsupported, "Bloom"),
    ],
    ids=["corrupt", "truncated", "missing", "truncated base", "missing base", "another base", "architecture"],
)
def test_what_is_wrong_is_a_sentence_and_nothing_stays(
    store: Store, adapter: Path, base: Path, breaks: Callable[[Path, Path], object], kind: type[UserError], what: str
) -> None:
    breaks(adapter, base)
    with pytest.raises(kind, match=what) as caught:
        service.export(store, request())
    assert caught.value.exit_code == 2
    assert not finished_looking(store) and not list(store.home.exports.rglob("*.part"))
    assert all(e.state == "failed" and e.error for e in exports.all_exports(store))


def _options(folder: Path, name: str = "adapter_config.json", **changes: Any) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _other_base(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    save_file(
        {name: np.repeat(value, 2, 1) if "lora_A" in name else value for name, value in load_file(file).items()}, file
    )


@pytest.mark.slow
def test_dora_is_merged_by_peft_and_refused_as_a_gguf_adapter(store: Store, adapter: Path, base: Path) -> None:
    file, plain = adapter / "adapter_model.safetensors", load_file(base / "model.safetensors")
    tensors = load_file(file)
    for name in [name for name in tensors if "lora_A" in name]:
        weight = plain[name.removeprefix("base_model.model.").replace(".lora_A", "")]
        tensors[name.replace("lora_A.weight", "lora_magnitude_vector")] = np.linalg.norm(weight, axis=1)
    save_file(tensors, file)
    targets = sorted({name.split(".")[-3] for name in tensors if "lora_A" in name})
    _options(adapter, use_dora=True, target_modules=targets)
    whole, small = service.export(store, request(Target("merged"), F16, verify=True))
    assert whole.state == "done" and small.state == "done", (whole.error, small.error)
    merged_now = load_file(store.home.absolute(whole.path) / "model.safetensors")
    assert not np.allclose(merged_now["model.layers.0.mlp.up_proj.weight"], plain["model.layers.0.mlp.up_proj.weight"])
    with pytest.raises(Unsupported, match="use_dora") as caught:
        service.export(store, request(Target("gguf-adapter")))
    assert "merged" in str(caught.value.todo)


def test_room_is_asked_for_before_anything_is_written(
    store: Store, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(NoSpace, match=r"needs \d+ MB; 0 MB are free"):
        here(store, request())
    assert not finished_looking(store) and not exports.all_exports(store)


def test_a_disk_that_fills_up_leaves_nothing(store: Store, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensor_data", full)
    with pytest.raises(NoSpace, match="filled up"):
        here(store, request())
    assert not list(store.home.exports.rglob("*.*")) and exports.all_exports(store)[0].state == "failed"


def begun(store: Store) -> None:
    """Wait until an export has begun to write."""
    deadline = time.monotonic() + 30
    while not list(store.home.exports.rglob("*.part")) and time.monotonic() < deadline:
        time.sleep(0.002)


def test_kill_9_leaves_nothing_that_looks_finished(store: Store, adapter: Path) -> None:
    job = service.submit(store, request(*EVERY))
    begun(store)
    os.kill(job.pid or 0, signal.SIGKILL)
    end = jobs.follow(store, job.id)
    assert end.state == "lost" and "SIGKILL" in str(end.error)
    assert any(export.state == "working" for export in exports.all_exports(store))
    (left,) = listing.sweep(store)
    assert left.state == "failed" and "process ended" in str(left.error)
    done = [e for e in exports.all_exports(store) if e.state == "done"]
    for path in finished_looking(store):
        assert any(path.is_relative_to(store.home.absolute(e.path).parent) for e in done), path
    assert not list(store.home.exports.rglob("*.part")) and not list(store.home.exports.glob(".*.lock"))


def test_cancel_takes_away_what_was_begun(store: Store, adapter: Path) -> None:
    job = service.submit(store, request(*EVERY, *(Target("gguf", quant) for quant in model.QUANTS if quant != "f16")))
    begun(store)
    assert service.cancel(store, job.id).state == "stopped"
    with pytest.raises(Conflict, match="cancelled"):
        service.follow(store, job.id)
    assert not list(store.home.exports.rglob("*.part")) and not list(store.home.cache.glob("export-*"))
    assert {e.state for e in exports.all_exports(store)} <= {"failed", "done"}


def test_a_second_export_waits_for_the_first(store: Store, adapter: Path) -> None:
    first, second = (service.submit(store, request(target)) for target in (F16, Target("merged")))
    assert (first.state, second.state) == ("starting", "queued")
    assert [e.format for e in service.follow(store, second.id)] == ["merged"]
    assert [e.format for e in service.made(store, jobs.follow(store, first.id))] == ["gguf"]


def test_a_relative_path_is_meant_where_it_was_typed(
    store: Store, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (made,) = service.export(store, request(out=Path("out") / "m.gguf"))
    assert store.home.absolute(made.path) == tmp_path / "here" / "out" / "m.gguf"


def test_step_and_tokenizer_are_read_once_for_all_targets(
    store: Store, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            calls[name] += name != "resolve" or str(args[1]).startswith("run:")  # a run's base is resolved by it
            return real(*args)

        return call

    monkeypatch.setattr(refs, "resolve", counted("resolve", refs.resolve))
    monkeypatch.setattr(runs, "metrics", counted("metrics", runs.metrics))
    real = tokenizer_file.Tokenizer
    monkeypatch.setattr(
        tokenizer_file, "Tokenizer", SimpleNamespace(from_buffer=counted("tokenizer", real.from_buffer))
    )
    tokenizer_file._files.clear()
    here(store, request(*EVERY))
    assert calls == {"resolve": 1, "metrics": 1, "tokenizer": 1}


def test_a_live_export_is_neither_swept_nor_removed(store: Store, adapter: Path) -> None:
    export = exports.start(store, run="ember", format="gguf", quant="f16", path="exports/ember/x/x.gguf")
    with contextlib.ExitStack() as stack:
        stack.enter_context(make._locked(store, export.id, store.home.exports / ".x.part"))
        assert listing.sweep(store) == []
        with pytest.raises(Conflict, match="being made"):
            listing.remove(store, export.id)
    assert [e.id for e in listing.sweep(store)] == [export.id]


# ---------------------------------------------------------------- a target more


def test_a_target_that_is_added_is_made_verified_listed_and_used(
    store: Store, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(targets.REGISTRY, "toy", ToyTarget())
    in_thread.install(monkeypatch, service.MODULE, do)
    measured = SimpleNamespace(close=lambda: None)
    monkeypatch.setattr(make, "ReferenceMeasurements", lambda *_: measured)
    words = ("export", "ember", "--to", "toy,merged", "--no-verify", "--json", "--home", str(store.home.root))
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.stderr
    toy, whole = map(json.loads, result.stdout.splitlines())
    assert (toy["format"], toy["quant"], whole["format"], whole["quant"]) == ("toy", "t1", "merged", None)
    folder = Path(toy["path"])
    assert folder.name == "ember-toy-t1" and (folder / "toy.txt").read_text() == "ember as t1"
    assert toy["commands"] == [{"program": "play", "command": f"play {folder} ember"}]
    assert "a toy" in (folder / "README.md").read_text() and "play . ember" in (folder / "README.md").read_text()
    (again,) = service.export(store, request(Target("toy", "t2"), verify=True))
    assert [c["name"] for c in again.verification["checks"]] == ["carving"] and again.state == "done"
    with pytest.raises(BadInput, match="no quant 't3'"):
        service.export(store, request(Target("toy", "t3")))
