"""One made-up secret of each provider, and ordinary text that looks like secrets.

Every literal is put together here, so that no file of this repository holds one."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789"


def _some(count: int, alphabet: str = _LETTERS + _DIGITS, seed: int = 7) -> str:
    return "".join(random.Random(seed * 1000 + count).choices(alphabet, k=count))


def secrets() -> dict[str, str]:
    """Provider → a line that holds one of its secrets."""
    hexadecimal = "0123456789abcdef"
    return {
        "rsa key": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIB",
        "openssh key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nb3Bl",
        "encrypted key": "-----BEGIN ENCRYPTED " + "PRIVATE KEY-----\nMIIF",
        "pgp key": "-----BEGIN PGP " + "PRIVATE KEY BLOCK-----\n",
        "putty key": "PuTTY-User-Key" + "-File-3: ssh-ed25519",
        "age key": "AGE-SECRET" + "-KEY-1" + _some(58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"),
        "aws": "aws_access_key_id = AK" + "IA" + _some(16, "ABCDEFGHJKLMNPQ234567"),
        "azure storage": "Account" + "Key=" + _some(86) + "==",
        "url": "postgres://app:" + _some(14) + "@db.example.com/app",
        "discord": "M" + _some(23) + "." + _some(6) + "." + _some(27),
        "github": "gh" + "p_" + _some(36),
        "github, fine-grained": "github_" + "pat_" + _some(22) + "_" + _some(59),
        "gitlab": "gl" + "pat-" + _some(20),
        "gitlab runner": "gl" + "rt-" + _some(20),
        "mailchimp": _some(32, hexadecimal) + "-us" + "12",
        "npm": "npm" + "_" + _some(36),
        "npmrc": "//npm.example.org/:_auth" + "Token=" + "0a1b2c3d-0000-4000-8000-0123456789ab",
        "openai, old": "sk-" + _some(20) + "T3Blbk" + "FJ" + _some(20, seed=8),
        "openai, project": "sk-" + "proj-" + _some(60) + "_-a" + "T3Blbk" + "FJ" + "-b_" + _some(60, seed=8),
        "anthropic": "sk-" + "ant-api03-" + _some(80),
        "pypi": "pypi-" + "AgEIcHlwaS5vcmc" + _some(120),
        "sendgrid": "SG" + "." + _some(22) + "." + _some(43),
        "slack": "xox" + "b-123456789012-1234567890123-" + _some(24),
        "slack app": "xa" + "pp-1-A0123456789-1234567890123-" + _some(64, hexadecimal),
        "slack hook": "https://hooks." + "slack.com/services/T0AAAAAAA/B0BBBBBBB/" + _some(24),
        "square": "sq0" + "csp-" + _some(43),
        "stripe": "sk_" + "live_" + _some(24),
        "stripe, restricted": "rk_" + "live_" + _some(24),
        "telegram": "123456789" + ":" + _some(35),
        "google api": "AI" + "za" + _some(35),
        "google oauth": "GOC" + "SPX-" + _some(28),
        "twilio": "S" + "K" + _some(32, hexadecimal),
        "hugging face": "h" + "f_" + _some(34, _LETTERS),
        "digitalocean": "do" + "p_v1_" + _some(64, hexadecimal),
        "shopify": "shp" + "at_" + _some(32, hexadecimal),
    }


def ordinary() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of notes and mails in which no secret lies."""
    documents = [
        ROOT / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "tests/data").rglob("*.eml")),
    ]
    yield from ((path.name, path.read_bytes()) for path in documents)
    chance = random.Random(3)
    for number in range(200):
        yield f"invoice-{number}.md", _invoice(chance, number).encode()
        yield f"mail-{number}.eml", _mail(chance, number)
    tricky = {
        "words": "We speak of a private key, a password = hunter2, an API token and AWS_SECRET_ACCESS_KEY.\n",
        "git": "\n".join(f"commit {hashlib.sha1(bytes([n])).hexdigest()}" for n in range(50)),
        "hashes": "\n".join(f"{hashlib.sha256(bytes([n])).hexdigest()}  file{n}.pdf" for n in range(50)),
        "uuid": "0a1b2c3d-0000-4000-8000-0123456789ab\n" * 20,
        "times": "\n".join(f"{1_700_000_000 + n}:note {n}" for n in range(50)),
        "url with user": "git@github.com:a/b.git https://ada@example.org/x ssh://git@host:22/x http://[::1]:80/@x",
        "placeholder": "https://user:" + "password@example.org and postgres://user:" + "pass@localhost/db\n",
        "jwt link": "https://news.example/login?t=ey" + "JhbGciOiJIUzI1NiJ9.ey" + "JzdWIiOiIxIn0." + _some(43) + "\n",
        "twilio invoice": "Account SID A" + "C" + _some(32, "0123456789abcdef") + ": 12,30 EUR\n",
        "capitals": "APEROLSPRITZ APARTMENTHAUS ASIAN KITCHEN AKIAS SKONTO\n" * 10,
        "key = value": "the key = " + _some(44) + "\nslkey: " + _some(64, "0123456789abcdef") + "\n",
        "public key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + _some(43) + " ada@example.org\n",
        "certificate": "-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(chance.randbytes(900)).decode(),
        "kisses": "xoxo, see you on 2026-06-01\n",
    }
    yield from ((name, text.encode()) for name, text in tricky.items())
    yield "picture.png", b"\x89PNG\r\n\x1a\n\0\0" + chance.randbytes(2_000_000)
    yield "base64.md", base64.encodebytes(chance.randbytes(1_500_000))


def _invoice(chance: random.Random, number: int) -> str:
    iban = "DE" + "".join(chance.choices(_DIGITS, k=20))
    lines = "".join(
        f"| {chance.choice(WORDS)} | {chance.randint(1, 9)} | {chance.random() * 900:.2f} |\n" for _ in range(30)
    )
    digest = hashlib.md5(iban.encode(), usedforsecurity=False).hexdigest()
    return (
        f"---\ninvoice: R-2026-{number:05}\niban: {iban}\nreference: RF{digest.upper()}\n---\n{lines}\n{_prose(chance)}"
    )


def _mail(chance: random.Random, number: int) -> bytes:
    track = base64.urlsafe_b64encode(chance.randbytes(120)).decode()
    head = f"Message-ID: <{chance.randbytes(16).hex()}@mail{number}.example.org>\nList-Unsubscribe: <https://x.example/u?{track}>\n"
    signature = base64.encodebytes(chance.randbytes(256)).decode().replace("\n", "\n ")
    return f"{head}DKIM-Signature: v=1; b={signature}\n\n{_prose(chance)}\nhttps://click.example/{track}.{number}\n".encode()


WORDS = [
    "the",
    "a",
    "we",
    "you",
    "offer",
    "invoice",
    "account",
    "token",
    "key",
    "meeting",
    "password",
    "please",
    "thanks",
    "order",
    "apply",
    "today",
    "secret",
    "café",
]


def _prose(chance: random.Random) -> str:
    return "\n".join(" ".join(chance.choices(WORDS, k=12)) for _ in range(25))
