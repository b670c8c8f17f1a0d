"""JUnit XML: one test case a gate, in the form that Jenkins and its kin read (jenkins-junit.xsd).

`failure` is a failed gate, `skipped` an inconclusive one. JUnit knows nothing between pass and fail, so a pipeline goes
by the command's exit code; the file says which gate and why.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from govern.reporting.document import RunDocument
from govern.reporting.exports.judged import Judged, judged, plain_spaces
from govern.reporting.exports.protocol import Export

_NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(document: RunDocument) -> bytes:
    """The gates of a run as JUnit XML."""
    plan, verdict = document.plan, document.verdict
    found = judged(verdict)
    counts = {
        "tests": str(len(found)),
        "failures": str(sum(each.verdict == "fail" for each in found)),
        "errors": "0",
    }
    root = ElementTree.Element("testsuites", {"name": "govern verify", **counts})
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        {
            "name": _xml(plan.policy_name),
            **counts,
            "skipped": str(sum(each.verdict == "inconclusive" for each in found)),
            "time": f"{verdict.seconds:.3f}",
            "timestamp": document.report.issued[:19],
        },
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (
        ("run", verdict.run),
        ("verdict", verdict.verdict),
        ("model_before", plan.model.digest),
        ("model_after", verdict.edited_model_digest),
        ("policy_digest", plan.policy_digest),
        ("verdict_sha256", verdict.sha256),
    ):
        ElementTree.SubElement(properties, "property", {"name": name, "value": _xml(value)})
    for each in found:
        _case(suite, plan.policy_name, each)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'.encode()


def _case(suite: ElementTree.Element, policy: str, each: Judged) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", {"classname": _xml(f"{policy}.{each.task}"), "name": _xml(each.rule)}
    )
    if each.verdict == "fail":
        ElementTree.SubElement(case, "failure", {"type": each.kind, "message": _xml(each.reason)}).text = _xml(
            each.finding
        )
    elif each.verdict == "inconclusive":
        ElementTree.SubElement(case, "skipped").text = _xml(f"inconclusive: {each.reason} {each.finding}")
    else:
        ElementTree.SubElement(case, "system-out").text = _xml(each.finding)


def _xml(text: str) -> str:
    """One line without what XML 1.0 cannot hold even as a reference."""
    return _NOT_XML.sub("\ufffd", plain_spaces(text))


EXPORT = Export(("document",), junit)
