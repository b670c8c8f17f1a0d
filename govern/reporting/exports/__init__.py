"""A run for machines: pure functions from its records to the bytes of other people's formats, always the same bytes."""

from govern.reporting.exports.cyclonedx import ml_bom
from govern.reporting.exports.document import RunDocument
from govern.reporting.exports.junit import junit
from govern.reporting.exports.model_card import model_card
from govern.reporting.exports.pdf import find_chromium, pdf
from govern.reporting.exports.sarif import GatePlace, sarif
from govern.reporting.exports.schemas import SCHEMAS, schema

__all__ = [
    "SCHEMAS",
    "GatePlace",
    "RunDocument",
    "find_chromium",
    "junit",
    "ml_bom",
    "model_card",
    "pdf",
    "sarif",
    "schema",
]
