"""The records and rules behind `tests/fakes/odoo.py`: those models, fields and methods that our client touches."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any


class OdooError(Exception):
    """Refused; nothing changed. `status`: of JSON-2."""

    status = 422
    name = "odoo.exceptions.UserError"


class UserError(OdooError):
    """What Odoo calls so, and its kin."""


class MissingError(UserError):
    status, name = 404, "odoo.exceptions.MissingError"


class AccessError(OdooError):
    status, name = 403, "odoo.exceptions.AccessError"


class BadArgument(OdooError):
    status, name = 422, "werkzeug.exceptions.UnprocessableEntity"


class NotFoundError(OdooError):
    status, name = 404, "werkzeug.exceptions.NotFound"

    def __init__(self, text: str, *, is_model: bool) -> None:
        super().__init__(text)
        self.is_model = is_model


#: Fields: `char`, `float`, `int`, `bool`, `date`, `one:<model>`, `many:<model>`, or the values of a selection.
MOVE_TYPES = "entry|out_invoice|out_refund|in_invoice|in_refund|out_receipt|in_receipt"
FIELDS: dict[str, dict[str, str]] = {
    "res.users": {"login": "char", "company_id": "one:res.company"},
    "res.company": {
        "name": "char", "currency_id": "one:res.currency", "account_sale_tax_id": "one:account.tax",
        "account_purchase_tax_id": "one:account.tax",
    },
    "res.currency": {"name": "char", "decimal_places": "int", "active": "bool", "rate": "float"},
    "res.partner": {
        "name": "char", "email": "char", "vat": "char", "is_company": "bool",
        "commercial_partner_id": "one:res.partner",
    },
    "res.partner.bank": {"acc_number": "char", "sanitized_acc_number": "char", "partner_id": "one:res.partner"},
    "account.tax": {
        "name": "char", "amount": "float", "amount_type": "percent|fixed", "type_tax_use": "sale|purchase|none",
        "price_include": "bool", "sequence": "int",
    },
    "account.account": {"name": "char", "code": "char"},
    "account.journal": {"name": "char", "code": "char", "type": "sale|purchase|bank|cash|general"},
    "account.move": {
        "name": "char", "state": "draft|posted|cancel", "posted_before": "bool", "move_type": MOVE_TYPES,
        "partner_id": "one:res.partner", "commercial_partner_id": "one:res.partner", "currency_id": "one:res.currency",
        "amount_untaxed": "float", "amount_total": "float", "amount_residual": "float",
        "amount_untaxed_signed": "float", "amount_residual_signed": "float",
        "payment_state": "not_paid|in_payment|paid|partial|reversed|blocked|invoicing_legacy",
        "invoice_date": "date", "invoice_date_due": "date", "invoice_origin": "char", "ref": "char",
        "invoice_payment_term_id": "int", "invoice_line_ids": "many:account.move.line",
    },
    "account.move.line": {
        "name": "char", "quantity": "float", "price_unit": "float", "tax_ids": "many:account.tax",
        "account_id": "one:account.account", "display_type": "product|line_section|line_note", "sequence": "int",
        "move_id": "one:account.move",
    },
    "account.payment": {
        "name": "char", "state": "draft|posted|in_process|paid|canceled|rejected|cancel",
        "payment_type": "inbound|outbound", "partner_type": "customer|supplier", "partner_id": "one:res.partner",
        "amount": "float", "currency_id": "one:res.currency", "date": "date", "journal_id": "one:account.journal",
        "partner_bank_id": "one:res.partner.bank",
    },
    "account.payment.register": {
        "amount": "float", "currency_id": "one:res.currency", "journal_id": "one:account.journal",
        "payment_date": "date", "communication": "char", "payment_difference_handling": "open|reconcile",
        "partner_id": "one:res.partner", "payment_type": "inbound|outbound", "partner_bank_id": "one:res.partner.bank",
    },
}  # fmt: skip
#: Arguments of each method: needed, allowed. Of any other method only the name is known to be wrong.
METHODS: dict[str, tuple[set[str], set[str]]] = {
    "search_read": (set(), {"domain", "fields", "offset", "limit", "order"}),
    "read": (set(), {"fields", "load"}),
    "create": ({"vals_list"}, {"vals_list"}),
    "write": ({"vals"}, {"vals"}),
    "context_get": (set(), set()),
    "has_group": ({"group_ext_id"}, {"group_ext_id"}),
    "action_post": (set(), set()),
    "action_create_payments": (set(), set()),
}
ONLY = {
    "context_get": {"res.users"},
    "has_group": {"res.users"},
    "action_post": {"account.move", "account.payment"},
    "action_create_payments": {"account.payment.register"},
}
ON_MODEL = {"search_read", "create", "context_get"}
POSTER = "account.group_account_invoice"


class Database:
    """One company in USD with EUR (0.9 for a dollar) and JPY, a bank journal, taxes of 15 %, a poster and a reader."""

    def __init__(self, version: int) -> None:
        self.version = version
        memo = "memo" if version >= 18 else "ref"
        self.fields = {**FIELDS, "account.payment": {**FIELDS["account.payment"], memo: "char"}}
        self.memo = memo
        self.tables: dict[str, dict[int, dict[str, Any]]] = {model: {} for model in self.fields}
        self.numbers: dict[str, int] = {}
        self.uid_of_key = {"k" * 40: 2, "r" * 40: 6}
        self.uid_of_password = {"admin-password": 2}
        self.logins = {"admin": 2, "reader": 6}
        for model, identifier, values in _SEED:
            self.tables[model][identifier] = {**self._empty(model), "id": identifier, **values}

    def uid_of_login(self, login: str, key: str) -> int | None:
        """The user's id, or None."""
        uid = self.logins.get(login)
        return uid if uid and uid in (self.uid_of_key.get(key), self.uid_of_password.get(key)) else None

    def call(
        self, uid: int, model: str, method: str, ids: list[int], named: dict[str, Any], context: Mapping[str, Any]
    ) -> tuple[Any, bool]:
        """`(result, whether something changed)`."""
        if model not in self.fields:
            raise NotFoundError(
                f"the model {model!r} does not exist" if self.version >= 19 else f"Object {model} doesn't exist",
                is_model=True,
            )
        if method.startswith("_"):
            named_as = f"{model}.{method}" if self.version >= 19 else method
            raise AccessError(f"Private methods (such as '{named_as}') cannot be called remotely.")
        if method not in METHODS or model not in ONLY.get(method, {model}):
            text = f"The method '{model}.{method}' does not exist"
            if self.version >= 19:
                raise NotFoundError(text, is_model=False)
            raise AttributeError(text)
        needed, allowed = METHODS[method]
        strange, missing = set(named) - allowed, needed - set(named)
        if strange or missing or (ids and method in ON_MODEL):
            text = f"got an unexpected keyword argument {min(strange)!r}" if strange else "missing a required argument"
            raise BadArgument(text) if self.version >= 19 else TypeError(f"{method}() {text}")
        changes = method not in ("search_read", "read", "context_get", "has_group")
        if changes and uid != 2:
            raise AccessError(f"You are not allowed to {method} '{model}' ({model}) records.")
        handler = getattr(self, f"_{model.replace('.', '_')}_{method}", None) or getattr(self, f"_{method}", None)
        assert handler is not None
        return handler(model=model, ids=ids, uid=uid, context=context, **named), changes

    # Reading

    def _context_get(self, uid: int, **_: Any) -> dict[str, Any]:
        return {"lang": "en_US", "tz": False, "uid": uid}

    def _has_group(self, ids: list[int], uid: int, group_ext_id: str, **_: Any) -> bool:
        if self.version >= 18 and len(ids) != 1:
            raise ValueError(f"Expected singleton: res.users({ids})")
        return (ids[0] if ids else uid) == 2

    def _read(self, model: str, ids: list[int], fields: list[str] | None = None, **_: Any) -> list[dict[str, Any]]:
        names = self._known(model, fields)
        return [self._shown(model, self.tables[model][one], names) for one in ids if one in self.tables[model]]

    def _search_read(
        self, model: str, domain: list[Any] = [], fields: list[str] | None = None, offset: int = 0,  # noqa: B006
        limit: int | None = None, order: str = "id", **_: Any,
    ) -> list[dict[str, Any]]:  # fmt: skip
        names = self._known(model, fields)
        test = self._matcher(model, domain)
        rows = [row for row in self.tables[model].values() if test(row)]
        if "active" in self.fields[model]:
            rows = [row for row in rows if row["active"]]
        for key in reversed(order.split(",")):
            name, _, direction = key.strip().partition(" ")
            self._known(model, [name])
            rows.sort(key=lambda row, n=name: (row[n] is False, row[n]), reverse=direction.lower() == "desc")  # type: ignore[misc]
        return [self._shown(model, row, names) for row in rows[offset : None if limit is None else offset + limit]]

    def _known(self, model: str, names: Iterable[str] | None) -> list[str]:
        known = {"id": "int", **self.fields[model]}
        for name in names or ():
            if name not in known:
                raise ValueError(f"Invalid field {name!r} on {model!r}")
        return list(names) if names is not None else list(known)

    def _shown(self, model: str, row: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
        def value(name: str) -> Any:
            kind = self.fields[model].get(name, "int")
            if kind.startswith("one:") and row[name]:
                target = self.tables[kind[4:]][row[name]]
                return [row[name], target.get("name") or f"{kind[4:]},{row[name]}"]
            return float(row[name]) if kind == "float" else row[name]

        return {"id": row["id"], **{name: value(name) for name in names}}

    def _matcher(self, model: str, domain: list[Any]) -> Callable[[Mapping[str, Any]], bool]:
        """Prefix notation: `|` and `&` take two; what is left over is joined by and."""
        terms = list(reversed(domain))
        stack: list[Callable[[Mapping[str, Any]], bool]] = []
        for term in terms:
            if term in ("|", "&"):
                a, b = stack.pop(), stack.pop()
                stack.append((lambda r, a=a, b=b: a(r) or b(r)) if term == "|" else (lambda r, a=a, b=b: a(r) and b(r)))  # type: ignore[misc]
            else:
                stack.append(self._term(model, *term))
        return lambda row: all(test(row) for test in stack)

    def _term(self, model: str, name: str, operator: str, value: Any) -> Callable[[Mapping[str, Any]], bool]:
        self._known(model, [name])
        if operator in ("ilike", "=ilike"):
            parts = re.findall(r"\\.|[%_]|[^\\%_]", str(value))
            pattern = "".join(
                {"%": "*", "_": "?"}.get(part) or _literal(part.removeprefix("\\") or "\\") for part in parts
            ).lower()
            pattern = f"*{pattern}*" if operator == "ilike" else pattern
            return lambda row: isinstance(row[name], str) and fnmatch.fnmatchcase(row[name].lower(), pattern)
        if operator == "in":
            return lambda row: row[name] in value
        tests: dict[str, Callable[[Any, Any], bool]] = {
            "=": lambda a, b: (float(a) if isinstance(a, Decimal) else a) == b,
            "!=": lambda a, b: a != b,
            ">=": lambda a, b: a is not False and a >= b,
            "<=": lambda a, b: a is not False and a <= b,
        }
        if operator not in tests:
            raise ValueError(f"Invalid operator {operator!r}")
        return lambda row: tests[operator](row[name], value)

    # Writing

    def _empty(self, model: str) -> dict[str, Any]:
        zero = {"float": Decimal(0), "int": 0}
        return {
            name: [] if kind.startswith("many:") else zero.get(kind, False) for name, kind in self.fields[model].items()
        }

    def _checked(self, model: str, values: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for name, value in values.items():
            kind = self.fields[model].get(name)
            if kind is None:
                raise ValueError(f"Invalid field {name!r} in {model!r}")
            if kind.startswith("one:") and value and value not in self.tables[kind[4:]]:
                raise MissingError(f"Record does not exist or has been deleted.\n(Record: {kind[4:]}({value},))")
            if "|" in kind and value not in kind.split("|"):
                raise ValueError(f"Wrong value for {model}.{name}: {value!r}")
            if kind == "date" and value:
                date.fromisoformat(value)
            found[name] = Decimal(str(value)) if kind == "float" else value
        return found

    def _create(self, model: str, vals_list: Any, context: Mapping[str, Any], **_: Any) -> Any:
        many = isinstance(vals_list, list)
        made = [self._create_one(model, values, context) for values in (vals_list if many else [vals_list])]
        return made if many else made[0]

    def _create_one(self, model: str, values: Mapping[str, Any], context: Mapping[str, Any]) -> int:
        identifier = max([*self.tables[model], 0]) + 1
        lines = values.get("invoice_line_ids", []) if model == "account.move" else []
        plain = {name: value for name, value in values.items() if name != "invoice_line_ids"}
        row = {**self._empty(model), "id": identifier, **self._checked(model, plain)}
        self.tables[model][identifier] = row
        if model == "res.partner":
            row["commercial_partner_id"] = identifier
        elif model == "res.partner.bank":
            row["sanitized_acc_number"] = re.sub(r"\W", "", row["acc_number"]).upper()
        elif model == "account.move":
            self._new_move(row, lines)
        elif model == "account.payment":
            row["state"] = "draft"
            row["currency_id"] = row["currency_id"] or 1
            if row["amount"] < 0:
                raise UserError("The payment amount cannot be negative.")
        elif model == "account.payment.register":
            self._new_register(row, values, context)
        return identifier

    def _write(self, model: str, ids: list[int], vals: Mapping[str, Any], **_: Any) -> bool:
        for one in ids:
            if one not in self.tables[model]:
                raise MissingError(f"Record does not exist or has been deleted.\n(Record: {model}({one},), User: 2)")
            self.tables[model][one].update(self._checked(model, vals))
        return True

    def _new_move(self, row: dict[str, Any], lines: list[Any]) -> None:
        row |= {"state": "draft", "payment_state": "not_paid", "name": False if self.version >= 19 else "/"}
        row["move_type"] = row["move_type"] or "entry"
        row["currency_id"] = row["currency_id"] or 1
        row["commercial_partner_id"] = row["partner_id"]
        for command in lines:
            if list(command[:2]) != [0, 0]:
                raise ValueError(f"Wrong command {command!r}")
            values = dict(command[2])
            taxes = values.pop("tax_ids", None)
            identifier = max([*self.tables["account.move.line"], 0]) + 1
            line = {
                **self._empty("account.move.line"),
                "quantity": Decimal(1),
                "sequence": 10,
                "display_type": "product",
            }
            line |= {"id": identifier, "move_id": row["id"], **self._checked("account.move.line", values)}
            is_sale = row["move_type"].startswith("out")
            line["tax_ids"] = list(taxes[0][2]) if taxes else [1 if is_sale else 2]
            line["account_id"] = line["account_id"] or (1 if is_sale else 2)
            # The decimal precision "Product Unit", two digits by default; "Product Price" rounds up to 18 only.
            line["quantity"] = _half_up(line["quantity"])
            line["price_unit"] = line["price_unit"] if self.version >= 19 else _half_up(line["price_unit"])
            self.tables["account.move.line"][identifier] = line
            row["invoice_line_ids"].append(identifier)
        self._sum_up(row)

    def _sum_up(self, row: dict[str, Any]) -> None:
        digits = self.tables["res.currency"][row["currency_id"]]["decimal_places"]
        untaxed = tax = Decimal(0)
        for one in row["invoice_line_ids"]:
            line = self.tables["account.move.line"][one]
            net = _half_up(line["quantity"] * line["price_unit"], digits)
            untaxed += net
            for each in line["tax_ids"]:
                tax += _half_up(net * self.tables["account.tax"][each]["amount"] / 100, digits)
        row["amount_untaxed"], row["amount_total"] = untaxed, untaxed + tax
        row["amount_residual"] = untaxed + tax
        self._sign(row)

    def _sign(self, row: dict[str, Any]) -> None:
        sign = 1 if row["move_type"] in ("out_invoice", "in_refund", "out_receipt") else -1
        rate = self.tables["res.currency"][row["currency_id"]]["rate"]
        for name in ("amount_untaxed", "amount_residual"):
            row[f"{name}_signed"] = _half_up(sign * row[name] / rate)

    def _account_move_action_post(self, ids: list[int], **_: Any) -> bool:
        for one in ids:
            row = self.tables["account.move"].get(one)
            if row is None:
                raise MissingError(
                    f"Record does not exist or has been deleted.\n(Record: account.move({one},), User: 2)"
                )
            self._may_post(row)
            row |= {"state": "posted", "posted_before": True}
            row["invoice_date"] = row["invoice_date"] or date.today().isoformat()
            year, month = row["invoice_date"][:4], row["invoice_date"][5:7]
            if row["move_type"].startswith("out"):
                row["name"] = self._number(f"INV/{year}/", 5)
            else:
                row["name"] = self._number(f"BILL/{year}/{month}/", 4)
        return False

    def _may_post(self, row: Mapping[str, Any]) -> None:
        new = self.version >= 19
        if row["state"] != "draft":
            raise UserError(f"The entry {row['name']} (id {row['id']}) must be in draft.")
        if not row["invoice_line_ids"]:
            raise UserError("Even magicians can't post nothing!" if new else "You need to add a line before posting.")
        if not row["partner_id"]:
            raise UserError(
                "The 'Customer' field is required to validate the invoice."
                if new
                else "The field 'Customer' is required."
            )
        if row["move_type"] == "in_invoice" and not row["invoice_date"]:
            raise UserError("The Bill/Refund date is required to validate this document.")
        if row["amount_total"] < 0:
            raise UserError("You cannot validate an invoice with a negative total amount.")

    def _number(self, prefix: str, digits: int) -> str:
        self.numbers[prefix] = self.numbers.get(prefix, 0) + 1
        return f"{prefix}{self.numbers[prefix]:0{digits}d}"

    # Payments

    def _new_register(self, row: dict[str, Any], values: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        if context.get("active_model") != "account.move" or not context.get("active_ids"):
            raise UserError(
                "The register payment wizard should only be called on account.move or account.move.line records."
            )
        (bill,) = (self.tables["account.move"][one] for one in context["active_ids"])
        if bill["state"] != "posted" or not bill["amount_residual"]:
            raise UserError(
                "You can't register a payment because there is nothing left to pay on the selected journal items."
            )
        row |= {"partner_id": bill["partner_id"], "bill": bill["id"]}
        row["payment_type"] = "outbound" if bill["move_type"] == "in_invoice" else "inbound"
        row["currency_id"] = row["currency_id"] or bill["currency_id"]
        if "amount" not in values:
            row["amount"] = bill["amount_residual"]

    def _account_payment_register_action_create_payments(
        self, ids: list[int], context: Mapping[str, Any], **_: Any
    ) -> dict[str, Any]:
        wizard = self.tables["account.payment.register"][ids[0]]
        bill = self.tables["account.move"][wizard["bill"]]
        names = ("amount", "currency_id", "journal_id", "partner_id", "payment_type", "partner_bank_id")
        values = {name: wizard[name] for name in names} | {"partner_type": "supplier", "date": wizard["payment_date"]}
        payment = self._create_one("account.payment", {**values, self.memo: wizard["communication"]}, {})
        self._post_payment(self.tables["account.payment"][payment])
        bill["amount_residual"] = max(bill["amount_residual"] - wizard["amount"], Decimal(0))
        bill["payment_state"] = "partial" if bill["amount_residual"] else "paid"
        self._sign(bill)
        return {"type": "ir.actions.act_window", "res_model": "account.payment", "res_id": payment, "context": {}}

    def _account_payment_action_post(self, ids: list[int], **_: Any) -> None:
        for one in ids:
            row = self.tables["account.payment"].get(one)
            if row is None:
                raise MissingError(
                    f"Record does not exist or has been deleted.\n(Record: account.payment({one},), User: 2)"
                )
            if row["state"] != "draft" and self.version < 18:
                raise UserError(f"The entry {row['name']} (id {row['id']}) must be in draft.")
            self._post_payment(row)

    def _post_payment(self, row: dict[str, Any]) -> None:
        if row["state"] == "draft":
            row["state"] = "in_process" if self.version >= 18 else "posted"
            row["name"] = self._number(f"PBNK1/{row['date'][:4]}/", 5)


def _half_up(amount: Decimal, digits: int = 2) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)


def _literal(character: str) -> str:
    return f"[{character}]" if character in "*?[" else character


_SEED: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("res.currency", 1, {"name": "USD", "decimal_places": 2, "active": True, "rate": Decimal(1)}),
    ("res.currency", 126, {"name": "EUR", "decimal_places": 2, "active": True, "rate": Decimal("0.9")}),
    ("res.currency", 25, {"name": "JPY", "decimal_places": 0, "active": True, "rate": Decimal(1)}),
    ("res.currency", 142, {"name": "GBP", "decimal_places": 2, "active": False, "rate": Decimal(1)}),
    (
        "res.company",
        1,
        {"name": "My Company", "currency_id": 1, "account_sale_tax_id": 1, "account_purchase_tax_id": 2},
    ),
    ("res.users", 2, {"login": "admin", "company_id": 1}),
    ("res.users", 6, {"login": "reader", "company_id": 1}),
    ("account.tax", 1, {"name": "15%", "amount": Decimal(15), "amount_type": "percent", "type_tax_use": "sale"}),
    ("account.tax", 2, {"name": "15%", "amount": Decimal(15), "amount_type": "percent", "type_tax_use": "purchase"}),
    ("account.account", 1, {"name": "Product Sales", "code": "400000"}),
    ("account.account", 2, {"name": "Expenses", "code": "600000"}),
    ("account.account", 3, {"name": "Rent Expenses", "code": "612000"}),
    ("account.journal", 6, {"name": "Bank", "code": "BNK1", "type": "bank"}),
    ("account.journal", 1, {"name": "Customer Invoices", "code": "INV", "type": "sale"}),
)
