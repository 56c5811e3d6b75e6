"""The doctor's page: the real checks at two sizes, what must be fixed, and checking again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from engine import doctor
from engine.doctor import Diagnosis
from store.db import Store
from tests.tui.conftest import Drive

SIZES = [(80, 24), (120, 40)]


@pytest.mark.parametrize("size", SIZES)
async def test_the_real_checks_are_shown_and_fit(
    drive: Drive, store: Store, monkeypatch: pytest.MonkeyPatch, size: Any
) -> None:
    monkeypatch.setattr(doctor, "_cuda", lambda: Diagnosis("cuda", "ok", "not asked here: it starts torch"))
    async with drive(size=size) as app:
        await app.see("F2 Data")
        await app.press("ctrl+p")
        await app.type("doctor")
        await app.see("Doctor: check this machine")
        await app.press("enter")
        await app.see_page("DoctorPage")
        await app.until(lambda: not app.app.screen.working())  # type: ignore[attr-defined]
        await app.see("✓ python", str(store.home.root)[:20], "^R Again")
        await app.press("G")
        await app.see("cuda", "not asked here")
        assert all(len(line) <= size[0] for line in app.text.splitlines())
        await app.press("f1")
        await app.see("It changes nothing.")
        await app.press("escape", "escape")
        await app.until(lambda: app.page != "DoctorPage")


async def test_what_must_be_fixed_is_said_and_checked_again(
    drive: Drive, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, full = threading.Event(), [True]

    def examine(_: object) -> Iterator[Diagnosis]:
        yield Diagnosis("python", "ok", "3.12")
        go_on.wait(30)
        if full[0]:
            yield Diagnosis("disk", "fail", "It is \x1b[31mfull. " + "word " * 40, "Free some.")
        else:
            yield Diagnosis("disk", "ok", "9 GB")

    monkeypatch.setattr(doctor, "examine", examine)
    async with drive() as app:
        await app.see("F2 Data")
        await app.press("alt+c")
        await app.see("Checking this machine", "✓ python")
        assert "Again" not in app.text
        go_on.set()
        await app.see("Something must be fixed: disk.", "✗ disk", "→ Free some.", "^R Again")
        assert "\x1b" not in app.text
        full[0] = False
        await app.press("ctrl+r")
        await app.see("Tuningfork can run here.", "9 GB")
