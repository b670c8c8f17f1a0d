"""The trust document: one form, one root key, and rotations that both keys signed."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from govern.digests import sha256_bytes
from govern.errors import IntegrityError
from govern.records import Trust, TrustEntry
from govern.signing import sign, throwaway_key, verify
from govern.signing.trust_document import (
    read_trust,
    sign_rotation,
    sign_trust,
    verify_rotation,
    verify_trust,
    write_trust,
)

ROOT, OTHER = throwaway_key(), throwaway_key()
NOW = "2026-11-24T10:00:00Z"


def entry(fingerprint: str = "a" * 64, person: str = "Ada Example", **fields) -> TrustEntry:
    given_fields = {"role": "safety-reviewer", "valid_from": NOW, "valid_to": None, "revoked_at": None, **fields}
    return TrustEntry(fingerprint=fingerprint, person=person, **given_fields)


def trust(*keys: TrustEntry, root: str = ROOT.public.fingerprint, **fields) -> Trust:
    return Trust(**{"serial": 1, "previous": None, "issued": NOW, "root": root, "keys": keys, **fields})


DOCUMENT = write_trust(trust(entry(), entry("b" * 64, "Börge: #1 \"quoted\" 'x' & *y"), entry("c" * 64, "null")))
BUNDLE = sign_trust(DOCUMENT, ROOT)
PRINTABLE = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(
    lambda text: text.isprintable() and text == text.strip()
)


def test_the_form_is_pinned():
    assert write_trust(trust(entry(valid_to="2027-01-01T00:00:00Z"))).decode() == (
        "# Whose signatures count. Signed by the root key: change it with `govern trust`, never by hand.\n"
        "format_version: 1\n"
        "serial: 1\n"
        "previous: null\n"
        'issued: "2026-11-24T10:00:00Z"\n'
        f'root: "{ROOT.public.fingerprint}"\n'
        "keys:\n"
        f'  - fingerprint: "{"a" * 64}"\n'
        '    person: "Ada Example"\n'
        '    role: "safety-reviewer"\n'
        '    valid_from: "2026-11-24T10:00:00Z"\n'
        '    valid_to: "2027-01-01T00:00:00Z"\n'
        "    revoked_at: null\n"
    )


@given(PRINTABLE, PRINTABLE)
def test_any_name_and_role_come_back(person, role):
    written = trust(entry(person=person, role=role))
    assert read_trust(write_trust(written)) == written


def test_an_empty_document_comes_back():
    assert read_trust(write_trust(trust())) == trust()


def test_no_changed_byte_is_accepted():
    for place in range(len(DOCUMENT)):
        changed = bytearray(DOCUMENT)
        changed[place] ^= 1
        with pytest.raises(IntegrityError):
            verify_trust(bytes(changed), BUNDLE, ROOT.public)
        # Unsigned, another person's name makes a document as well, but never the same one.
        with contextlib.suppress(IntegrityError):
            assert write_trust(read_trust(bytes(changed))) == bytes(changed)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"\xff",
        b"keys: []\n",
        b"[" * 100_000,
        b"a: &a [x, x]\nb: &b [*a, *a]\n",
        b"!!python/object/apply:os.system ['true']\n",
        DOCUMENT + b"\n",
        DOCUMENT.replace(b"\n", b"\r\n"),
        DOCUMENT.replace(b"serial: 1", b"serial: 0x1"),
        DOCUMENT.replace(b"serial: 1\n", b"serial: 1\nserial: 1\n"),
        DOCUMENT + b"# " + b"x" * (1 << 20),
    ],
)
def test_no_other_form_is_read(document):
    with pytest.raises(IntegrityError):
        read_trust(document)


@given(st.binary(max_size=200))
def test_bytes_from_outside_never_crash_the_reader(data):
    with pytest.raises(IntegrityError):
        read_trust(data)


def test_the_root_key_s_signature_counts_and_no_other():
    assert verify_trust(DOCUMENT, BUNDLE, ROOT.public) == read_trust(DOCUMENT)
    with pytest.raises(IntegrityError, match="another key"):
        verify_trust(DOCUMENT, BUNDLE, OTHER.public)
    # Somebody else may sign the same document, but it names its root.
    with pytest.raises(IntegrityError, match="names another root"):
        verify_trust(DOCUMENT, sign_trust(DOCUMENT, OTHER), OTHER.public)


def test_a_signature_over_another_document_or_of_another_kind_is_refused():
    second = write_trust(trust(entry(), serial=2, previous=sha256_bytes(DOCUMENT)))
    with pytest.raises(IntegrityError, match="not the one that was signed"):
        verify_trust(second, BUNDLE, ROOT.public)
    rotation, _ = sign_rotation(DOCUMENT, old=ROOT, new=OTHER, time=NOW)
    with pytest.raises(IntegrityError, match="not about a trust document"):
        verify_trust(DOCUMENT, rotation, ROOT.public)


def test_a_rotation_needs_both_keys():
    after = write_trust(trust(root=OTHER.public.fingerprint, serial=2, previous=sha256_bytes(DOCUMENT)))
    by_old, by_new = sign_rotation(after, old=ROOT, new=OTHER, time=NOW)
    verify_rotation(after, (by_old, by_new), old=ROOT.public, new=OTHER.public)
    third = throwaway_key()
    for bundles, old, new in [
        ((by_old, by_old), ROOT, OTHER),
        ((by_new, by_old), ROOT, OTHER),
        ((by_old, by_new), ROOT, third),
        ((by_old, by_new), OTHER, ROOT),
        (sign_rotation(after, old=ROOT, new=third, time=NOW), ROOT, OTHER),
        ((by_old, sign(b"{}", OTHER)), ROOT, OTHER),
        ((by_old, sign_rotation(after, old=ROOT, new=OTHER, time="2026-11-24T10:00:01Z")[1]), ROOT, OTHER),
    ]:
        with pytest.raises(IntegrityError):
            verify_rotation(after, bundles, old=old.public, new=new.public)
    with pytest.raises(IntegrityError, match="not the one that was signed"):
        verify_rotation(DOCUMENT, (by_old, by_new), old=ROOT.public, new=OTHER.public)


def test_a_later_document_names_the_one_before_in_what_is_signed():
    second = write_trust(trust(entry(), serial=2, previous=sha256_bytes(DOCUMENT)))
    assert verify_trust(second, sign_trust(second, ROOT), ROOT.public).previous == sha256_bytes(DOCUMENT)


def test_what_is_wrong_with_a_rotation_is_said():
    after = write_trust(trust(root=OTHER.public.fingerprint, serial=2, previous=sha256_bytes(DOCUMENT)))
    by_old, _ = sign_rotation(after, old=ROOT, new=OTHER, time=NOW)
    late = sign_rotation(after, old=ROOT, new=OTHER, time="2026-11-24T10:00:01Z")[1]
    with pytest.raises(IntegrityError, match=r"^the two keys of the rotation signed different statements$"):
        verify_rotation(after, (by_old, late), old=ROOT.public, new=OTHER.public)
    third = throwaway_key()
    bundles = (sign(payload(by_old), ROOT), sign(payload(by_old), third))
    with pytest.raises(IntegrityError) as caught:
        verify_rotation(after, bundles, old=ROOT.public, new=third.public)
    assert caught.value.message == "the rotation is between other keys"
    assert caught.value.where == f"key {ROOT.public.fingerprint}"
    with pytest.raises(IntegrityError, match="not about a key rotation"):
        verify_rotation(DOCUMENT, (BUNDLE, sign(payload(BUNDLE), OTHER)), old=ROOT.public, new=OTHER.public)


def payload(bundle):
    return verify(bundle, ROOT.public)
