"""Mails to test with, and a look at what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from utils.bootstrap import Services
from utils.core.stages import Stage
from utils.vault import frontmatter

SAMPLES = Path(__file__).parent / "data" / "mail"

ANN = "Ann Example <ann@example.com>"


def make_mail(
    text: str = "Hello,\n\nCould you send us your price list?\n\nKind regards\nAnn\n",
    *,
    sender: str | None = ANN,
    subject: str = "Price list",
    message_id: str | None = "<1@example.com>",
    date: str | None = "Mon, 1 Jun 2026 10:00:00 +0200",
    **headers: str,
) -> bytes:
    """The bytes of a plain mail. `Reply_To="…"` becomes the header `Reply-To`."""
    lines = [
        *([f"From: {sender}"] if sender is not None else []),
        "To: office@acme.example",
        f"Subject: {subject}",
        *([f"Message-ID: {message_id}"] if message_id is not None else []),
        *([f"Date: {date}"] if date is not None else []),
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + text.replace("\n", "\r\n")).encode()


def drop(services: Services, data: bytes, name: str = "mail.eml") -> Path:
    """Drop a mail into the node's Maildir, as a person would."""
    folder = services.settings.maildir
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(data)
    return path


def files(services: Services, stage: Stage) -> list[tuple[dict[str, Any], str]]:
    """Front matter and body of each file of a stage."""
    return [frontmatter.read(path.read_bytes()) for path in services.layout.files(stage)]


def plans(services: Services) -> list[tuple[dict[str, Any], str]]:
    """Front matter and body of each e-mail plan."""
    folder = services.layout.plan("email", "x").parent
    return [frontmatter.read(path.read_bytes()) for path in sorted(folder.glob("*.plan.md"))]


def run(services: Services) -> str:
    """One cycle of the intake."""
    return services.intake.run(services.clock.now())
