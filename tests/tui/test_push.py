"""Pushing from Export by keys: what would leave is shown, nothing leaves before the answer, refusals as on the command
line. The hub is the stand-in of tests/tui/cli/test_export.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalTokenNotFoundError

from store.db import Store
from tests import in_thread
from tests.tui import fake_exports
from tests.tui.cli.test_export import FakeHub
from tests.tui.conftest import Drive, Driver
from tests.tui.fake_exports import a_run, an_export, planned


@pytest.fixture(autouse=True)
def _in_export(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("tui.app.TuningforkApp.DEFAULT_MODE", "export")
    fake = fake_exports.install(monkeypatch)
    yield
    fake.gate.set()
    in_thread.join(fake.threads)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[FakeHub]:
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)
    FakeHub.sent, FakeHub.error = [], None
    return FakeHub


async def asked(app: Driver, repo: str) -> None:
    await app.see("✓ gguf q8_0")
    await app.press("down")
    await app.see("> Push")
    await app.press("greater_than_sign")
    await app.see("Push ember-1")
    await app.type(repo)
    await app.press("enter")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_every_file_is_shown_and_sent_once_you_agree(
    drive: Drive,
    store: Store,
    hub: type[FakeHub],
    size: Any,
) -> None:
    an_export(store, planned(store, a_run(store).name), "ember-1")
    async with drive(size=size) as app:
        await app.see_page("ExportScreen")
        for agreed in (False, True):
            await asked(app, "northwind/ember") if not agreed else await again(app)
            await app.see("Who may read it, if it is new?")
            await app.press("enter")
            await app.see("huggingface.co/northwind/ember", "as a private", ".gguf", "Until now nothing was sent.")
            assert hub.sent == []
            await app.press(*(["right"] if agreed else []), "enter")  # the focus is on Cancel
            if not agreed:
                await app.see_page("ExportScreen")
        await app.see("The export is on the hub", "https://huggingface.co/northwind/ember")
    assert hub.sent[0] == ("repo", ("northwind/ember", True))
    assert any(name.endswith(".gguf") for name in hub.sent[1][1])


async def again(app: Driver) -> None:
    await app.press("greater_than_sign")
    await app.see("Push ember-1")
    await app.type("northwind/ember")
    await app.press("enter")


async def test_refusals_are_those_of_the_command_line(
    drive: Drive,
    store: Store,
    hub: type[FakeHub],
) -> None:
    an_export(store, planned(store, a_run(store).name), "ember-1")
    async with drive(size=(100, 30)) as app:
        await app.see_page("ExportScreen")
        await asked(app, "ember")
        await app.see("is not OWNER/NAME.")
        assert "--to" not in app.text
        await app.press("escape")
        hub.error = LocalTokenNotFoundError("no token")
        await again(app)
        await app.see("Who may read it")
        await app.press("down", "enter")
        await app.see("where everyone can")
        await app.press("right", "enter")
        await app.see("The export was not pushed", "There is no token for the Hugging Face hub", "(or set HF_TOKEN)")
    assert hub.sent == []
