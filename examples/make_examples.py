#!/usr/bin/env python3
"""Makes the sample input of this folder: an invented sales team's opportunities as a CRM would export them, with the dirt
that such files have.

usage: make_examples.py [FOLDER]    default: the folder of this script
The same every time: random numbers come from one seed, dates from one day. Standard library only.
"""

import csv
import io
import json
import random
import sys
from datetime import date, timedelta
from pathlib import Path

SEED = 20260301
TODAY = date(2026, 3, 1)
ROWS = 300
JSON_ROWS = 12

PRODUCTS = {  # name: list price
    "Atlas Server": 24_000,
    "Atlas Workstation": 6_500,
    "Beacon Monitor": 780,
    "Beacon Monitor XL": 1_450,
    "Harbor Storage": 12_800,
    "Harbor Backup": 3_200,
}
SECTORS = ["retail", "manufacturing", "health", "education", "finance", "logistics"]
ACCOUNT_NAMES = [
    "Aldermoor Foods", "Bryce & Sons", "Calloway Freight", "Dunmere Clinic", "Eastgate College", "Fenwick Mills",
    "Garnet Bank", "Hollis Interiors", "Ironbridge Tools", "Juniper Hotels", "Kestrel Air", "Larkspur Pharma",
    "Marlowe Books", "Northgate Hospital", "Oakhurst Schools", "Pinecrest Energy", "Quarry Lane Homes",
    "Redfern Logistics", "Stonewall Insurance", "Tidewater Marine", "Upland Dairy", "Vale Textiles", "Westbrook Motors",
    "Yarrow Gardens",
]
OWNERS = {  # name: how well they sell
    "Amara Okafor": 0.12, "Bjorn Lindqvist": 0.04, "Chloé Martin": 0.0, "Daniel Reyes": -0.05, "Elif Kaya": 0.08,
    "Frank Novak": -0.18,
}
OPEN_STAGES = ["Prospecting", "Qualification", "Proposal", "Negotiation"]
STAGE_PROBABILITY = {"Prospecting": 0.1, "Qualification": 0.25, "Proposal": 0.5, "Negotiation": 0.75}
COLUMNS = [
    "external_id", "name", "stage", "amount", "currency", "product", "account", "owner", "competitor", "probability",
    "created_on", "stage_entered_on", "last_activity_on", "close_on", "stage_regressed",
]


def make_accounts(rng):
    rows = []
    for name in ACCOUNT_NAMES:
        employees = int(10 ** rng.uniform(1.5, 4))
        rows.append([name, rng.choice(SECTORS), round(employees * rng.uniform(0.08, 0.4), 1), employees])
    return rows


def make_opportunity(rng, number, accounts):
    """One row, clean. What decides about winning is the owner, the sector and the competitor, so that a model has
    something to find."""
    product = rng.choice(list(PRODUCTS))
    account = rng.choice(accounts)
    owner = rng.choice(list(OWNERS))
    competitor = rng.choice(["", "", "", "Vantor", "Quillon"])
    created = TODAY - timedelta(days=rng.randint(5, 400))
    price = PRODUCTS[product]
    win = 0.5 + OWNERS[owner] + (0.1 if account[1] in ("health", "finance") else -0.05) - (0.15 if competitor else 0)
    won = rng.random() < win
    cycle = int(rng.gammavariate(4, 16 if won else 12)) + 4
    closed_on = created + timedelta(days=cycle)
    row = {
        "external_id": f"OPP-{number:05d}",
        "name": f"{product} for {account[0]}",
        "currency": "EUR",
        "product": product,
        "account": account[0],
        "owner": owner,
        "competitor": competitor,
        "created_on": created.isoformat(),
        "stage_regressed": "",
    }
    if closed_on <= TODAY and rng.random() < 0.85:
        row |= {
            "stage": "Closed Won" if won else "Closed Lost",
            "amount": f"{price * rng.uniform(0.82, 1.05):.2f}" if won else "0",
            "probability": "1" if won else "0",
            "stage_entered_on": closed_on.isoformat(),
            "last_activity_on": closed_on.isoformat(),
            "close_on": closed_on.isoformat(),
        }
        return row
    age = (TODAY - created).days
    stage = OPEN_STAGES[min(3, int(age / 30) + rng.choice([0, 0, 1]))]
    idle = min(age, int(rng.expovariate(1 / 12)))
    row |= {
        "stage": stage,
        "amount": f"{price * rng.uniform(0.6, 1.05):.2f}",
        "probability": f"{STAGE_PROBABILITY[stage]}",
        "stage_entered_on": (TODAY - timedelta(days=rng.randint(0, max(1, age // 2)))).isoformat(),
        "last_activity_on": (TODAY - timedelta(days=idle)).isoformat(),
        "close_on": (TODAY + timedelta(days=rng.randint(-40, 90))).isoformat(),
        "stage_regressed": "yes" if rng.random() < 0.08 else "",
    }
    return row


def make_dirty(rng, row):
    """What people leave out; such rows are normal."""
    if row["stage"] in OPEN_STAGES:
        for column, share in (("amount", 0.35), ("account", 0.15), ("close_on", 0.2), ("owner", 0.04),
                              ("last_activity_on", 0.1), ("created_on", 0.05)):
            if rng.random() < share:
                row[column] = ""
    if row["amount"] and rng.random() < 0.1:
        row["amount"] = f"{float(row['amount']):,.2f}"  # "12,800.00", in quotes
    return row


def spoil(rows):
    """A handful of rows that cannot be used, each for a reason of its own."""
    rows[40]["amount"] = "tbd"
    rows[85]["created_on"] = "31.02.2026"
    rows[130]["external_id"] = ""
    rows[170]["stage"] = ""
    rows[215]["external_id"] = rows[214]["external_id"]
    rows[260]["probability"] = "75"


def csv_text(columns, rows):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


def json_text(rows):
    names = {"external_id": "externalId", "created_on": "createdOn", "close_on": "closeOn",
             "last_activity_on": "lastActivityOn", "stage_entered_on": "stageEnteredOn",
             "stage_regressed": "stageRegressed", "competitor": "competitorId"}
    lines = []
    for row in rows:
        document = {}
        for column in COLUMNS:
            value = row[column]
            if value == "":
                continue
            if column in ("amount", "probability"):
                value = float(value.replace(",", ""))
            elif column == "stage_regressed":
                value = True
            document[names.get(column, column)] = value
        lines.append(json.dumps(document, ensure_ascii=False) + "\n")
    return "".join(lines)


def main(arguments):
    folder = Path(arguments[0]) if arguments else Path(__file__).resolve().parent
    rng = random.Random(SEED)
    accounts = make_accounts(rng)
    rows = [make_dirty(rng, make_opportunity(rng, number, accounts)) for number in range(1, ROWS + 1)]
    extra = [make_dirty(rng, make_opportunity(rng, number, accounts)) for number in range(9001, 9001 + JSON_ROWS)]
    spoil(rows)
    files = {
        "opportunities.csv": csv_text(COLUMNS, ([row[column] for column in COLUMNS] for row in rows)),
        "opportunities.jsonl": json_text(extra),
        "products.csv": csv_text(["product", "list_price"], PRODUCTS.items()),
        "accounts.csv": csv_text(["account", "sector", "revenue", "employees"], accounts),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        print(f"{folder / name}: {text.count(chr(10))} lines")


if __name__ == "__main__":
    main(sys.argv[1:])
