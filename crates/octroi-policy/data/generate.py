#!/usr/bin/env python3
"""Writes `cog-2026.txt` from the npm package `@etalab/decoupage-administratif`.

    python3 generate.py                  fetches the package with `npm pack`
    python3 generate.py package.tgz      reads it from there

Standard library only. The output is a pure function of the package, whose
digest is pinned: running this twice writes the same bytes. README.md says what
is in and what is not.
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile

PACKAGE = "@etalab/decoupage-administratif"
VERSION = "6.0.0"
YEAR = 2026
SHA512 = "5dabd8b0595b70cfe9acaafc84d1cf28447de081f0fddb3134ce27c6358c624e8f2c5002a4479dbe7ffbc0af016a8ce6d1d09885659c7feedb716a40e6998269"
HERE = pathlib.Path(__file__).resolve().parent


def fetch(directory):
    subprocess.run(
        ["npm", "pack", f"{PACKAGE}@{VERSION}"], cwd=directory, check=True, stdout=subprocess.DEVNULL
    )
    (archive,) = pathlib.Path(directory).glob("*.tgz")
    return archive


def read(archive):
    found = hashlib.sha512(archive.read_bytes()).hexdigest()
    if found != SHA512:
        sys.exit(f"{archive}: sha512 is {found}, expected {SHA512}")
    with tarfile.open(archive) as tar:

        def table(name):
            return json.load(tar.extractfile(f"package/data/{name}.json"))

        return {name: table(name) for name in ("communes", "epci", "departements", "regions")}


def name(entry):
    return " ".join(entry["nom"].split())  # the sources have double and trailing spaces


def lines(data):
    """The lines of the file, see README.md for their form."""
    departements = {d["code"]: d for d in data["departements"] if d["zone"] != "com"}
    regions = {r["code"]: r for r in data["regions"] if r["zone"] != "com"}
    epcis = {e["code"]: e for e in data["epci"]}
    epci_of = {}
    for epci in data["epci"]:
        for member in epci["membres"]:
            if member["code"] in epci_of:
                sys.exit(f"{member['code']} is in two EPCI")
            epci_of[member["code"]] = epci["code"]
    groups = {}
    for commune in data["communes"]:
        if commune["type"] != "commune-actuelle" or commune["zone"] == "com":
            continue
        code, departement = commune["code"], commune["departement"]
        if not code.startswith(departement) or commune["region"] != departements[departement]["region"]:
            sys.exit(f"{code} does not follow from its département")
        groups.setdefault((departement, epci_of.get(code, "-")), []).append((code, name(commune)))

    yield f"# Code officiel géographique {YEAR}, {PACKAGE} {VERSION}, Licence Ouverte 2.0; written by generate.py"
    for code, region in sorted(regions.items()):
        yield f"R{code} {name(region)}"
    for code, departement in sorted(departements.items()):
        yield f"D{code} {departement['region']} {name(departement)}"
    for siren, epci in sorted(epcis.items()):
        yield f"E{siren} {name(epci)}"
    for (departement, siren), communes in sorted(groups.items()):
        yield f"@{departement} {siren}"
        for code, label in sorted(communes):
            yield f"{code[len(departement):]} {label}"


def main():
    with tempfile.TemporaryDirectory() as directory:
        archive = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else fetch(directory)
        text = "\n".join(lines(read(archive))) + "\n"
    (HERE / f"cog-{YEAR}.txt").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
