"""A credit transfer as a file for the bank: ISO 20022 pain.001, built and checked against its schema by `sepaxml`.

The library puts random ids and the time of day into each file. Here they follow from the payment: the same payment is
the same bytes, and a bank that gets it twice knows it by its message id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from utils.core.books import Payment
from utils.core.task import InvalidTask
from utils.ports import AdapterError, OutcomeUnknown
from utils.vault import atomic

SCHEMAS = ("pain.001.001.09", "pain.001.001.03")
_LONGEST = {"payee": 70, "reference": 140}
#: What banks must take (EPC217-08, "SEPA Requirements for an Extended Character Set", basic Latin set).
_OUTSIDE = re.compile(r"[^A-Za-z0-9/\-?:().,'+ ]")


@dataclass(frozen=True)
class Debtor:
    """Our account, from which is paid."""

    name: str
    iban: str
    bic: str


def transfer(payment: Payment, mark: str, debtor: Debtor, approved_at: datetime, schema: str) -> bytes:
    """The file's bytes, the same each time. Raises `InvalidTask` for what SEPA can't carry."""
    from sepaxml import SepaTransfer

    payee, reference = bank_text(payment.payee), bank_text(payment.reference)
    problems = [
        f"'{name}' is longer than the {_LONGEST[name]} characters that the bank takes"
        for name, text in (("payee", payee), ("reference", reference))
        if len(text) > _LONGEST[name]
    ]
    if payment.currency != "EUR":
        problems.append("a SEPA transfer is in EUR")
    if not payment.iban:
        problems.append("a SEPA transfer needs the payee's 'iban'")
    if "@" in payment.payee or payment.payee.isdecimal():
        problems.append("for a SEPA transfer 'payee' must be the name of the account's holder")
    if problems:
        raise InvalidTask(problems)
    account = {
        "name": bank_text(debtor.name),
        "IBAN": debtor.iban,
        "BIC": debtor.bic,
        "batch": False,
        "currency": "EUR",
    }
    entry = {
        "name": payee, "IBAN": payment.iban, "amount": int(payment.amount.scaleb(2)), "execution_date": payment.day,
        "description": reference, "endtoend_id": mark, **({"BIC": payment.bic} if payment.bic else {}),
    }  # fmt: skip
    document = SepaTransfer(account, schema=schema, clean=False)
    document.add_payment(entry)
    return _settled(document.export(validate=True), mark, approved_at, schema)


def bank_text(text: str) -> str:
    """`text` in the letters that every bank takes: transliterated, anything else as a point."""
    from text_unidecode import unidecode

    return _OUTSIDE.sub(".", unidecode(text)).strip()


def write(folder: Path, mark: str, data: bytes) -> str:
    """Write the file, complete or not at all; answers its name. Raises `AdapterError`, and `OutcomeUnknown` where there
    is one already: it may be at the bank."""
    path = folder / f"{mark}.xml"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic.write(path, data, mode=0o600, replace=False)
    except FileExistsError:
        if not path.exists():
            raise AdapterError(f"SEPA_PATH: {folder} is not a folder", retry=False) from None
        raise OutcomeUnknown(f"{path.name} was written before") from None
    except OSError as error:
        if path.exists():  # renamed, but not certainly on the disk
            raise OutcomeUnknown(f"{path.name} is there, but the disk failed: {error.strerror}") from error
        raise AdapterError(f"the folder {folder} can't be written: {error.strerror}", retry=False) from error
    return path.name


def written(folder: Path, mark: str) -> str | None:
    """The name of the file with our mark, if there is one."""
    path = folder / f"{mark}.xml"
    return path.name if path.is_file() else None


def _settled(data: bytes, mark: str, approved_at: datetime, schema: str) -> bytes:
    root = ET.fromstring(data)  # noqa: S314  # our own, made a moment ago
    space = f"{{urn:iso:std:iso:20022:tech:xsd:{schema}}}"
    values = {"MsgId": mark, "PmtInfId": mark, "CreDtTm": f"{approved_at:%Y-%m-%dT%H:%M:%S}"}
    for name, value in values.items():
        (found,) = root.iter(space + name)
        found.text = value
    ET.register_namespace("", space.strip("{}"))
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + bytes(ET.tostring(root, "utf-8"))
