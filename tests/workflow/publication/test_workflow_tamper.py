"""The tamper matrix: every file of a pack and every field in it × every way to change it, and none goes unseen.

The matrix is made from the pack itself, so a new file or field joins it by being there.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from review_team import Team
from tiny_policy import TinyPolicy

import govern
from govern.audit import LogVerifier, format_proof, open_checkpoint, parse_proof, parse_vkey, sign_checkpoint
from govern.digests import canonical_json, sha256_bytes
from govern.errors import ExitCode, IntegrityError
from govern.evidence import verify_pack
from govern.evidence.pack import verify_page
from govern.signing import PublicKey, SigningKey, load_public, sign, throwaway_key
from govern.signing.log_key import load_log_key
from govern.workflow.publication.evidence import pack

NOW = "2026-12-01T00:00:00Z"
STRANGER: SigningKey = throwaway_key()

# A change of one pack's files: name → bytes, None for a file that is taken out.
Change = dict[str, bytes | None]


@pytest.fixture(scope="module")
def pristine(packed_once: Path) -> dict[str, bytes]:
    return contents(packed_once)


@pytest.fixture(scope="module")
def other(packed_once: Path, team_once: Team, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The evidence of another run in the same workspace, by the same people and under the same keys."""
    folder = tmp_path_factory.mktemp("other")
    shutil.copytree(packed_once.parent / "audits", folder / "audits")
    team = Team(TinyPolicy(team_once.policy.path, folder / "audits"), team_once.keys)
    govern.apply(team.policy.path, workspace=team.workspace)
    govern.verify(workspace=team.workspace, key=team.keys["ian"])
    team.say_all()
    key = load_log_key(team.workspace / "keys" / "log.pem", b"password")
    return contents(pack(None, folder / "pack", workspace=team.workspace, log_key=key).path)


@pytest.fixture
def altered(packed_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(packed_once, tmp_path / "pack")
    return tmp_path / "pack"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(folder: Path, pristine: dict[str, bytes], change: Change) -> IntegrityError | None:
    """What the verifier says of the pack with this change, and the pack restored."""
    for name, data in change.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink() if data is None else path.write_bytes(data)
    try:
        verify_pack(folder, now=NOW)
    except IntegrityError as error:
        return error
    finally:
        for name in change:
            if name in pristine:
                (folder / name).write_bytes(pristine[name])
            else:
                (folder / name).unlink()
    return None


def survivors(folder: Path, pristine: dict[str, bytes], changes: Iterator[tuple[str, Change]]) -> list[str]:
    """The changes that nobody noticed, or that were noticed without naming a file."""
    found: list[str] = []
    count = 0
    for name, change in changes:
        assert any(pristine.get(path) != data for path, data in change.items()), f"{name} changes nothing"
        count += 1
        error = refused(folder, pristine, change)
        if error is None:
            found.append(name)
        else:
            assert error.exit_code == ExitCode.INTEGRITY
            if not error.where:
                found.append(f"{name} (no file named: {error.message})")
    assert count
    verify_pack(folder, now=NOW)
    return found


def test_flip(altered: Path, pristine: dict[str, bytes]) -> None:
    def changes() -> Iterator[tuple[str, Change]]:
        for name, data in pristine.items():
            places = {0, len(data) // 3, len(data) // 2, len(data) - 2, len(data) - 1}
            for place in sorted(places):
                for bit in (0, 5):
                    flipped = data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]
                    yield f"{name} byte {place} bit {bit}", {name: flipped}

    assert survivors(altered, pristine, changes()) == []


def test_delete_truncate_extend_and_empty(altered: Path, pristine: dict[str, bytes]) -> None:
    def changes() -> Iterator[tuple[str, Change]]:
        for name, data in pristine.items():
            yield f"{name} deleted", {name: None}
            yield f"{name} emptied", {name: b""}
            yield f"{name} without its last byte", {name: data[:-1]}
            yield f"{name} cut in half", {name: data[: len(data) // 2]}
            yield f"{name} with a line more", {name: data + b"\n"}
            yield f"{name} twice over", {name: data + data}

    assert survivors(altered, pristine, changes()) == []


def test_duplicate_and_foreign_files(altered: Path, pristine: dict[str, bytes]) -> None:
    def changes() -> Iterator[tuple[str, Change]]:
        for name, data in pristine.items():
            path = Path(name)
            yield f"{name} copied", {path.with_name(f"copy-of-{path.name}").as_posix(): data}
        for series in ("waivers", "revocations"):
            again = {name.replace("/001/", "/002/"): data for name, data in pristine.items() if name.startswith(series)}
            page = verify_page({**pristine, **again})
            yield f"{series} counted twice, and the page made to fit", {**again, "VERIFY.md": page}
        third = {name.replace("/002/", "/003/"): data for name, data in pristine.items() if "/002/" in name}
        yield "a sign-off counted twice", {**third}
        files = {**pristine, **third}
        yield "a sign-off counted twice, and the page made to fit", {**third, "VERIFY.md": verify_page(files)}

    assert survivors(altered, pristine, changes()) == []


def test_a_whole_group_taken_out(altered: Path, pristine: dict[str, bytes]) -> None:
    def changes() -> Iterator[tuple[str, Change]]:
        for start in ("reviews/001/", "reviews/002/", "waivers/", "revocations/", "trust", "gates", "checkpoint"):
            yield f"{start}* deleted", {name: None for name in pristine if name.startswith(start)}
        proofs: Change = {name: None for name in pristine if name.endswith(".tlog-proof")}
        yield "all proofs deleted", proofs

    assert survivors(altered, pristine, changes()) == []


def test_reorder(altered: Path, pristine: dict[str, bytes]) -> None:
    """Two files of one kind change places: sign-offs, keys, events, proofs, bundles."""

    def changes() -> Iterator[tuple[str, Change]]:
        names = sorted(pristine)
        for first in names:
            for second in names:
                alike = Path(first).suffixes[-1:] == Path(second).suffixes[-1:]
                if first < second and alike and pristine[first] != pristine[second]:
                    yield f"{first} and {second} swapped", {first: pristine[second], second: pristine[first]}
        folders: Change = {}
        for name in names:
            if name.startswith("reviews/001/"):
                twin = name.replace("/001/", "/002/")
                folders |= {name: pristine[twin], twin: pristine[name]}
        yield "both sign-offs swapped whole", folders

    assert survivors(altered, pristine, changes()) == []


def test_replay_from_another_run(altered: Path, pristine: dict[str, bytes], other: dict[str, bytes]) -> None:
    assert set(other) == set(pristine)

    def changes() -> Iterator[tuple[str, Change]]:
        for name in pristine:
            if other[name] != pristine[name]:
                yield f"{name} of another run", {name: other[name]}
        # A bundle together with all that it is checked against directly.
        for group in (
            ("statement.json", "report.sigstore.json", "report.html", "report.md", "signer.pub"),
            ("event.json", "event.tlog-proof"),
            ("applied.event.json", "applied.event.tlog-proof"),
            ("verified.event.json", "verified.event.tlog-proof"),
            ("checkpoint", "log.vkey"),
            tuple(name for name in pristine if name.startswith("reviews/001/")),
            tuple(name for name in pristine if name.startswith("reviews/")),
            tuple(name for name in pristine if name.startswith("waivers/")),
            tuple(name for name in pristine if name.startswith("revocations/")),
            ("removal.json", "removal.sigstore.json"),
            ("verdict.json", "gates.sigstore.json"),
        ):
            yield f"{group[0]} and its like of another run", {name: other[name] for name in group}

    assert survivors(altered, pristine, changes()) == []


def test_swap_key(altered: Path, pristine: dict[str, bytes], team_once: Team) -> None:
    keys = [*team_once.keys.values(), STRANGER]

    def changes() -> Iterator[tuple[str, Change]]:
        yield "the whole log signed by a stranger", signed_log(pristine)
        public = {name: data for name, data in pristine.items() if name.endswith(".pub")}
        for name, data in public.items():
            for key in keys:
                if key.public.pem != data:
                    yield f"{name} replaced by sha256:{key.public.fingerprint[:8]}", {name: key.public.pem}
        # Signed afresh by somebody else, with or without that key put in place.
        for name, data in pristine.items():
            if is_bundle(data):
                beside = key_of(name)
                for key in keys:
                    if key.public.pem != pristine[beside]:
                        signed = signed_like(data, payload(data), key, pristine[beside])
                        yield f"{name} signed by another", {name: signed}
                        yield f"{name} and {beside} of another", {name: signed, beside: key.public.pem}

    assert survivors(altered, pristine, changes()) == []


def test_swap_type(altered: Path, pristine: dict[str, bytes], team_once: Team) -> None:
    """The same key's signature over a statement of another type, and another payload type."""

    def changes() -> Iterator[tuple[str, Change]]:
        bundles = [name for name, data in pristine.items() if is_bundle(data)]
        for name in bundles:
            key = holder(team_once, pristine[key_of(name)])
            statement = json.loads(payload(pristine[name]))
            for source in bundles:
                said = json.loads(payload(pristine[source]))
                if said["predicateType"] != statement["predicateType"]:
                    typed = {**statement, "predicateType": said["predicateType"]}
                    for place, value in (
                        (f"called {said['predicateType']}", typed),
                        (f"saying what {source} says", said),
                    ):
                        signed = signed_like(pristine[name], canonical_json(value), key, pristine[key_of(name)])
                        yield f"{name} {place}", {name: signed}
            bundle = json.loads(pristine[name])
            bundle["dsseEnvelope"]["payloadType"] = "application/vnd.oci.image.manifest.v1+json"
            yield f"{name} of another payload type", {name: canonical_json(bundle)}

    assert survivors(altered, pristine, changes()) == []


@pytest.mark.slow
def test_every_field(altered: Path, pristine: dict[str, bytes]) -> None:
    """Each field of each JSON file, and of each signed statement, changed, deleted, repeated or reordered."""

    def changes() -> Iterator[tuple[str, Change]]:
        for name, data in pristine.items():
            if name.endswith(".json") or is_bundle(data):
                for place, value in variants(json.loads(data)):
                    yield f"{name} {place}", {name: canonical_json(value)}
            if is_bundle(data):
                bundle = json.loads(data)
                for place, value in variants(json.loads(payload(data))):
                    bundle["dsseEnvelope"]["payload"] = base64.b64encode(canonical_json(value)).decode()
                    yield f"{name} statement {place}", {name: canonical_json(bundle)}

    assert survivors(altered, pristine, changes()) == []


@pytest.mark.slow
def test_every_field_signed_again_by_its_own_signer(altered: Path, pristine: dict[str, bytes], team_once: Team) -> None:
    """A signer who changes their mind afterwards: the signature is good, and the log knows the first one."""

    def changes() -> Iterator[tuple[str, Change]]:
        for name, data in pristine.items():
            if is_bundle(data):
                pem = pristine[key_of(name)]
                key = holder(team_once, pem)
                for place, value in variants(json.loads(payload(data))):
                    yield f"{name} {place}", {name: signed_like(data, canonical_json(value), key, pem)}
                yield f"{name} signed once more", {name: signed_like(data, payload(data), key, pem)}

    assert survivors(altered, pristine, changes()) == []


@pytest.mark.slow
def test_every_line(altered: Path, pristine: dict[str, bytes]) -> None:
    """Each line of each text file deleted, repeated, or swapped with the next."""

    def changes() -> Iterator[tuple[str, Change]]:
        for name, data in pristine.items():
            if name.endswith((".json", ".html", "report.md", "policy.yaml")) or is_bundle(data):
                continue
            lines = data.splitlines(keepends=True)
            for place in range(len(lines)):
                without = lines[:place] + lines[place + 1 :]
                yield f"{name} line {place} deleted", {name: b"".join(without)}
                yield f"{name} line {place} repeated", {name: b"".join([*lines[:place], lines[place], *lines[place:]])}
                if place + 1 < len(lines) and lines[place] != lines[place + 1]:
                    swapped = [*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]]
                    yield f"{name} lines {place} and {place + 1} swapped", {name: b"".join(swapped)}

    assert survivors(altered, pristine, changes()) == []


def test_links_and_odd_names_are_not_followed(altered: Path, pristine: dict[str, bytes], tmp_path: Path) -> None:
    (altered / "report.html").unlink()
    (tmp_path / "elsewhere").write_bytes(pristine["report.html"])
    (altered / "report.html").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match=r"report\.html"):
        verify_pack(altered, now=NOW)


def variants(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """A JSON value with each of its fields changed in each way, one at a time."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{place}.{name} deleted", {key: found for key, found in value.items() if key != name}
            for deeper, changed in variants(inner, f"{place}.{name}"):
                yield deeper, {**value, name: changed}
        yield f"{place} with a field more", {**value, "extra": 1}
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield f"{place}[{index}] deleted", value[:index] + value[index + 1 :]
            yield f"{place}[{index}] repeated", [*value[: index + 1], *value[index:]]
            if index + 1 < len(value) and inner != value[index + 1]:
                yield f"{place}[{index}] reordered", [*value[:index], value[index + 1], inner, *value[index + 2 :]]
            for deeper, changed in variants(inner, f"{place}[{index}]"):
                yield deeper, [*value[:index], changed, *value[index + 1 :]]
        if not value:
            yield f"{place} filled", ["extra"]
    elif isinstance(value, bool) or value is None:
        yield f"{place} changed", value is not True
    elif isinstance(value, int | float):
        yield f"{place} changed", value + 1
    else:
        yield f"{place} changed", value[:-1] + ("0" if value[-1:] != "0" else "1")
        yield f"{place} emptied" if value else f"{place} filled", "" if value else "extra"


def signed_log(pristine: dict[str, bytes]) -> Change:
    """The checkpoint under a key that is not the log's, with that key and every proof made to fit."""
    key = Ed25519PrivateKey.generate()
    head = open_checkpoint(pristine["checkpoint"], parse_vkey(pristine["log.vkey"].decode().strip()))
    verifier = LogVerifier(head.origin, key.public_key().public_bytes_raw())
    note = sign_checkpoint(head, verifier, key.sign)
    change: Change = {"checkpoint": note, "log.vkey": f"{verifier.vkey}\n".encode()}
    for name, data in pristine.items():
        if name.endswith(".tlog-proof"):
            proof = parse_proof(data)
            change[name] = format_proof(proof.index, proof.hashes, note)
    return change


def is_bundle(data: bytes) -> bool:
    return data.startswith(b'{"dsseEnvelope"')


def signed_like(bundle: bytes, statement: bytes, key: SigningKey, pem: bytes) -> bytes:
    """A statement signed by `key`, which is named the way that `bundle` names the key in `pem`."""
    hint = json.loads(bundle)["verificationMaterial"]["publicKey"]["hint"]
    forms: list[Callable[[PublicKey], str]] = [lambda key: key.fingerprint, lambda key: sha256_bytes(key.pem)]
    form = next(form for form in forms if form(load_public(pem)) == hint)
    return sign(statement, key, hint=form(key.public))


def payload(bundle: bytes) -> bytes:
    return base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"])


def key_of(bundle: str) -> str:
    folder, _, name = bundle.rpartition("/")
    beside = {"review": "reviewer", "waiver": "approver", "revocation": "revoker"}
    if folder:
        return f"{folder}/{beside[name.removesuffix('.sigstore.json')]}.pub"
    return "root.pub" if bundle == "trust.sigstore.json" else "signer.pub"


def holder(team: Team, pem: bytes) -> SigningKey:
    return next(key for key in team.keys.values() if key.public.pem == pem)
