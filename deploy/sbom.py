#!/usr/bin/env python3
"""Writes what the program is made of, as CycloneDX 1.6 JSON, on stdout: deploy/sbom.py >crossfade.cdx.json

The list has every crate that is linked into the program, with its version, licence and checksum from Cargo.lock, and which
crate needs which. It has no time and no random number: the same sources and compiler give the same list.
"""

import json
import pathlib
import re
import subprocess
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAM = "crossfade"


def run(*words):
    return subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def main():
    rustc = dict(line.split(": ", 1) for line in run("rustc", "-vV").splitlines() if ": " in line)
    metadata = json.loads(run("cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", rustc["host"]))
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    program = next(id for id, package in packages.items() if package["name"] == PROGRAM)
    linked = needs(nodes, packages, rustc["host"])
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(it["name"], it["version"]): it.get("checksum") for it in locked}
    standard = {"type": "library", "bom-ref": "rust-std", "name": "rust-std", "version": rustc["release"],
                "licenses": [{"expression": "MIT OR Apache-2.0"}]}
    components = [component(packages[id], checksums) for id in linked if id != program] + [standard]
    dependencies = [{"ref": ref(packages[id]), "dependsOn": sorted(ref(packages[it]) for it in own)}
                    for id, own in linked.items()]
    print(json.dumps({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(packages[program], checksums) | {"type": "application"}},
        "components": sorted(components, key=lambda it: it["bom-ref"]),
        "dependencies": sorted(dependencies, key=lambda it: it["ref"]),
    }, indent=1))


def needs(nodes, packages, target):
    """Returns the packages that are linked into the program, each with those that it needs itself.

    Only cargo tree leaves out the crates of features that are not used, and those that only run in the compiler.
    """
    tree = run("cargo", "tree", "--locked", "--package", PROGRAM, "--target", target, "--edges", "normal,no-proc-macro",
               "--prefix", "none", "--format", "{p}")
    names = {(line.split()[0], line.split()[1].removeprefix("v")) for line in tree.splitlines() if line}
    linked = {id for id, package in packages.items() if (package["name"], package["version"]) in names}
    return {id: {dep["pkg"] for dep in nodes[id]["deps"]
                 if dep["pkg"] in linked and any(kind["kind"] is None for kind in dep["dep_kinds"])} for id in linked}


def ref(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums):
    found = {"type": "library", "bom-ref": ref(package), "name": package["name"], "version": package["version"]}
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["license"]:
        # Cargo's older form of OR.
        found["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}]
    if package["source"]:
        found["purl"] = ref(package)
    if package["repository"]:
        found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return found


if __name__ == "__main__":
    main()
