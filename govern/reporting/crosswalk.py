"""Where a report answers what regulators and standards ask for, and where it does not.

Points and clauses are numbered as in their sources; what they ask for is said in our own words. An answer is a section
of the report; some answers hang on what not every policy has. The report is about one removal: what is asked of a whole
organisation or of a whole product is listed as not answered here, so that nobody takes silence for an answer.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from govern.records import Plan, Verdict
from govern.records.base import Record
from govern.reporting.facts import Line
from govern.reporting.robustness import untried
from govern.reporting.sections import SECTIONS, Section

State = Literal["answered", "in part", "not here"]
Need = Literal[
    "intended_use", "residual_risk", "monitoring", "rollback", "attacks", "cbrn", "cyber", "privacy", "copyright"
]

_DEPLOYMENT = ("intended_use", "residual_risk", "monitoring", "rollback")


class Requirement(NamedTuple):
    """One thing that is asked for: by `points`, answered in `sections` if what it `needs` is there, but for `lacks`."""

    points: str
    asks: str
    sections: tuple[str, ...] = ()
    lacks: str = ""
    needs: Need | None = None


class Framework(NamedTuple):
    """A law or standard, and its parts that concern a report of this kind."""

    name: str
    source: str
    requirements: tuple[Requirement, ...]


_R = Requirement

ANNEX_IV = Framework(
    "EU AI Act, Annex IV",
    "Regulation (EU) 2024/1689, Annex IV: technical documentation of high-risk AI systems (Article 11(1))",
    (
        _R(
            "1(a)",
            "Intended purpose, provider, version",
            ("risk", "persons", "model"),
            "who provides the system",
            "intended_use",
        ),
        _R("1(b)", "Interaction with other hardware and software"),
        _R("1(c)", "Versions of software", ("environment",), "requirements on updates"),
        _R("1(d)", "Forms in which the system is put on the market"),
        _R("1(e)", "Hardware that it is meant to run on", ("environment",), "only the machine of the removal is named"),
        _R("1(f), 1(g)", "Product, and the interface of whoever deploys it"),
        _R("1(h)", "Instructions for use"),
        _R(
            "2(a)",
            "How it was developed, and what pre-trained systems were used",
            ("model", "method", "curves"),
            "only the removal, not how the base model was made",
        ),
        _R(
            "2(b)",
            "Design: logic, algorithm, choices and their reasons, what is optimised, trade-offs",
            ("scope", "method", "policy"),
            "the base model's own design",
        ),
        _R(
            "2(c)",
            "Architecture, and the computation it took",
            ("model", "method", "environment"),
            "the system around the model",
        ),
        _R("2(d)", "Data: provenance, scope, selection, preparation", ("data",), "the base model's training data"),
        _R("2(e)", "Human oversight and how outputs are to be read"),
        _R("2(f)", "Changes that are determined beforehand"),
        _R(
            "2(g)",
            "Validation and testing: data, metrics, results, dated and signed",
            ("data", "results", "robustness", "sign-off", "verify"),
            "discriminatory impacts",
        ),
        _R("2(h)", "Cybersecurity"),
        _R(
            "3",
            "Capabilities, limits, foreseeable unintended outcomes, oversight, input data",
            ("results", "side-effects", "limits"),
            "accuracy for groups of people; oversight; inputs",
        ),
        _R(
            "4",
            "Why these metrics suit the system",
            ("scope", "results"),
            "the rationale is the policy's, whether it convinces is for the reader",
        ),
        _R(
            "5",
            "Risk management (Article 9)",
            ("risk", "robustness", "limits"),
            "one risk of one model, not the whole system of Article 9",
            "residual_risk",
        ),
        _R(
            "6",
            "Changes over the lifecycle",
            ("model", "failed-runs", "audit"),
            "changes before and after this removal",
        ),
        _R("7", "Harmonised standards applied"),
        _R("8", "EU declaration of conformity"),
        _R("9", "Post-market monitoring (Article 72)", ("risk",), "the plan that Article 72(3) asks for", "monitoring"),
    ),
)

ANNEX_XI = Framework(
    "EU AI Act, Annex XI",
    "Regulation (EU) 2024/1689, Annex XI: technical documentation of general-purpose AI models (Article 53(1)(a))",
    (
        _R("Section 1, 1(a)", "Tasks and kinds of system that the model is for", ("risk",), "", "intended_use"),
        _R("Section 1, 1(b)", "Acceptable use policies"),
        _R("Section 1, 1(c)", "Date of release, ways of distribution"),
        _R("Section 1, 1(d)", "Architecture, number of parameters", ("model",)),
        _R(
            "Section 1, 1(e)",
            "Modality, format of inputs and outputs",
            ("model",),
            "text alone; lengths are not stated",
        ),
        _R("Section 1, 1(f)", "Licence", ("model",)),
        _R(
            "Section 1, 2(a)",
            "What is needed to integrate the model",
            ("environment", "verify"),
            "infrastructure in use",
        ),
        _R(
            "Section 1, 2(b)",
            "Design and training: method, choices with their reasons, objective, parameters",
            ("scope", "method", "curves"),
            "only the removal, not how the base model was made",
        ),
        _R(
            "Section 1, 2(c)",
            "Data of training, testing, validation: provenance, curation, size, selection",
            ("data",),
            "the base model's training data; biases",
        ),
        _R(
            "Section 1, 2(d)",
            "Computation and time of training",
            ("method", "environment"),
            "of the removal alone, in seconds and memory",
        ),
        _R("Section 1, 2(e)", "Energy"),
        _R(
            "Section 2, 1",
            "Evaluation: strategy, criteria, metrics, results, how limits were found",
            ("results", "limits", "policy"),
        ),
        _R(
            "Section 2, 2",
            "Adversarial testing, and adaptations of the model",
            ("robustness", "method"),
            "no red team of people",
            "attacks",
        ),
        _R("Section 2, 3", "How software components build on one another"),
    ),
)

AI_RMF = Framework(
    "NIST AI RMF 1.0",
    "NIST AI 100-1 (January 2023), Tables 1 to 4: all 72 subcategories",
    (
        _R(
            "GOVERN 1.2, 1.4",
            "Trustworthy AI and risk management are part of policy and of transparent procedure",
            ("policy", "audit"),
            "of this removal alone",
        ),
        _R("GOVERN 1.5", "Monitoring and review are planned, with roles and frequency", ("risk",), "", "monitoring"),
        _R("GOVERN 2.1", "Roles and responsibilities are documented", ("persons", "sign-off"), "of this removal alone"),
        _R(
            "GOVERN 6.1",
            "Risks of third parties' software and data, intellectual property included",
            ("data", "model"),
            "origin and licence alone",
        ),
        _R(
            "GOVERN 1.1, 1.3, 1.6, 1.7, 2.2, 2.3, 3.1, 3.2, 4.1, 4.2, 4.3, 5.1, 5.2, 6.2",
            "Law, risk tolerance, inventory, decommissioning, training, leadership, teams, culture, "
            "engagement, contingency for third parties",
        ),
        _R(
            "MAP 1.1",
            "Intended purpose, context, assumptions",
            ("risk", "scope"),
            "laws, users and their expectations",
            "intended_use",
        ),
        _R(
            "MAP 2.1, 2.2",
            "Tasks and methods, the limits of knowledge, how outputs are overseen",
            ("method", "limits"),
            "oversight of outputs",
        ),
        _R(
            "MAP 2.3",
            "Scientific integrity: experimental design, data selection, validity",
            ("data", "results", "curves"),
        ),
        _R(
            "MAP 4.1",
            "Legal risks of components, third parties' data and software included",
            ("data", "model"),
            "licences as recorded; no legal opinion",
        ),
        _R(
            "MAP 1.2, 1.3, 1.4, 1.5, 1.6, 3.1, 3.2, 3.3, 3.4, 3.5, 4.2, 5.1, 5.2",
            "Teams, mission, business value, risk tolerance, requirements, benefits, costs, "
            "proficiency, oversight, internal controls, impacts, feedback",
        ),
        _R(
            "MEASURE 1.1",
            "Metrics for the most significant risks; what cannot be measured is documented",
            ("results", "limits"),
        ),
        _R("MEASURE 2.1", "Test sets, metrics and tools are documented", ("data", "results", "environment")),
        _R(
            "MEASURE 2.3",
            "Performance is measured for conditions like those of deployment",
            ("results",),
            "question sets, not traffic",
        ),
        _R("MEASURE 2.5", "Valid and reliable; limits of generalisation are documented", ("results", "limits")),
        _R(
            "MEASURE 2.6",
            "Safety risks are evaluated; residual risk stays within tolerance",
            ("results", "risk"),
            "for the hazard of this policy",
            "residual_risk",
        ),
        _R(
            "MEASURE 2.7",
            "Security and resilience are evaluated",
            ("robustness",),
            "attacks on the removal alone",
            "attacks",
        ),
        _R("MEASURE 2.8", "Transparency and accountability", ("persons", "audit", "verify")),
        _R(
            "MEASURE 2.9",
            "The model is explained and documented",
            ("model", "method", "side-effects"),
            "why it answers as it does",
        ),
        _R("MEASURE 2.10", "Privacy risk", ("scope", "results"), "of the removed subjects alone", "privacy"),
        _R("MEASURE 2.13", "Whether the measuring itself works", ("results", "limits", "failed-runs")),
        _R(
            "MEASURE 1.2, 1.3, 2.2, 2.4, 2.11, 2.12, 3.1, 3.2, 3.3, 4.1, 4.2, 4.3",
            "Independent assessors, human subjects, monitoring in production, fairness, environment, "
            "tracking of risks, feedback",
        ),
        _R(
            "MANAGE 1.1",
            "Whether the system meets its purpose, and whether to go on",
            ("results", "sign-off"),
            "the reviewers' decision is theirs, outside this report",
        ),
        _R("MANAGE 1.3", "Responses to high risks are developed and documented", ("method", "scope")),
        _R("MANAGE 1.4", "Residual risks are documented", ("risk",), "", "residual_risk"),
        _R("MANAGE 2.4", "How a system is superseded, disengaged or taken back", ("risk",), "", "rollback"),
        _R(
            "MANAGE 3.2",
            "Pre-trained models are monitored",
            ("model", "verify"),
            "bound by digest, verified again on demand",
        ),
        _R("MANAGE 4.1", "Monitoring after deployment is planned", ("risk",), "", "monitoring"),
        _R(
            "MANAGE 1.2, 2.1, 2.2, 2.3, 3.1, 4.2, 4.3",
            "Priorities, resources, value, unknown risks, third parties, improvement, incidents",
        ),
    ),
)

AI_600_1 = Framework(
    "NIST AI 600-1",
    "NIST AI 600-1 (July 2024), Section 2: the twelve risks of generative AI",
    (
        _R(
            "2.1",
            "CBRN information or capabilities",
            ("results", "robustness", "limits"),
            "what the question sets ask",
            "cbrn",
        ),
        _R("2.4", "Data privacy", ("scope", "results", "limits"), "the request's subjects", "privacy"),
        _R("2.5", "Environmental impacts", ("method",), "time and memory of the removal alone"),
        _R(
            "2.9",
            "Information security",
            ("results", "robustness", "limits"),
            "cyber knowledge that was removed, not the security of the system",
            "cyber",
        ),
        _R(
            "2.10",
            "Intellectual property",
            ("scope", "results", "data"),
            "the works of the request, and licences as recorded",
            "copyright",
        ),
        _R("2.12", "Value chain and component integration", ("model", "data", "environment", "verify")),
        _R(
            "2.2, 2.3, 2.6, 2.7, 2.8, 2.11",
            "Confabulation; dangerous, "
            "violent or hateful content; bias; human-AI configuration; information integrity; obscene content",
        ),
    ),
)

ISO_42001 = Framework(
    "ISO/IEC 42001:2023",
    "ISO/IEC 42001:2023, clauses 4 to 10 and the 38 controls of Annex A",
    (
        _R(
            "6.1.2, 6.1.3, 8.2, 8.3",
            "Risk assessment and risk treatment",
            ("scope", "risk", "results"),
            "one risk of one model",
            "residual_risk",
        ),
        _R("7.5", "Documented information", ("audit", "verify"), "of this removal alone"),
        _R(
            "9.1",
            "Monitoring, measurement, analysis, evaluation",
            ("results", "risk"),
            "of this removal alone",
            "monitoring",
        ),
        _R(
            "4, 5, 6.1.1, 6.1.4, 6.2, 6.3, 7.1, 7.2, 7.3, 7.4, 8.1, 8.4, 9.2, 9.3, 10",
            "The rest of the management system: context, leadership, planning, impact assessment, "
            "support, operation, audit, review, improvement",
        ),
        _R("A.3.2", "Roles and responsibilities", ("persons", "sign-off"), "of this removal alone"),
        _R(
            "A.4.2, A.4.3, A.4.4, A.4.5",
            "Resources: data, tools, systems, computation",
            ("data", "method", "environment"),
        ),
        _R("A.6.2.2", "Requirements and specification", ("policy", "scope")),
        _R("A.6.2.3", "Design and development are documented", ("method", "curves", "failed-runs")),
        _R("A.6.2.4", "Verification and validation", ("results", "robustness", "verify")),
        _R("A.6.2.5", "Deployment", ("risk", "sign-off"), "the plan of deployment itself", "rollback"),
        _R("A.6.2.6", "Operation and monitoring", ("risk",), "", "monitoring"),
        _R("A.6.2.7", "Technical documentation", ("model", "method", "results", "limits")),
        _R("A.6.2.8", "Event logs", ("audit",), "of the removal; not of the system in use"),
        _R(
            "A.7.2, A.7.3, A.7.5, A.7.6",
            "Data: development, acquisition, provenance, preparation",
            ("data",),
            "the base model's training data",
        ),
        _R("A.7.4", "Quality of data", ("data", "limits"), "overlap and size alone"),
        _R("A.9.4", "Intended use", ("risk",), "", "intended_use"),
        _R("A.10.3", "Suppliers", ("model", "data"), "origin and licence alone"),
        _R(
            "A.2.2, A.2.3, A.2.4, A.3.3, A.4.6, A.5.2, A.5.3, A.5.4, A.5.5, A.6.1.2, A.6.1.3, A.8.2, "
            "A.8.3, A.8.4, A.8.5, A.9.2, A.9.3, A.10.2, A.10.4",
            "AI policy, concerns, people, impact assessments, objectives and processes, "
            "information for users and authorities, incidents, responsible use, customers",
        ),
    ),
)

FRAMEWORKS = (ANNEX_IV, ANNEX_XI, AI_RMF, AI_600_1, ISO_42001)


class CrosswalkRow(Record):
    """One row: what is asked for, in which sections it is answered, and what is missing."""

    points: Line
    asks: Line
    state: State
    sections: tuple[Section, ...]
    lacks: Line


class CrosswalkView(Record):
    """One framework's rows."""

    name: Line
    source: Line
    rows: tuple[CrosswalkRow, ...]


def build_crosswalk(plan: Plan, verdict: Verdict) -> tuple[CrosswalkView, ...]:
    """Every framework, with what this run's records answer of it."""
    return tuple(
        CrosswalkView(
            name=framework.name,
            source=framework.source,
            rows=tuple(_row(requirement, plan, verdict) for requirement in framework.requirements),
        )
        for framework in FRAMEWORKS
    )


def _row(requirement: Requirement, plan: Plan, verdict: Verdict) -> CrosswalkRow:
    missing = _missing(requirement.needs, plan, verdict)
    answered = bool(requirement.sections) and not missing
    return CrosswalkRow(
        points=requirement.points,
        asks=requirement.asks,
        state="not here" if not answered else "in part" if requirement.lacks else "answered",
        sections=tuple(section for section in SECTIONS if answered and section.id in requirement.sections),
        lacks=missing or requirement.lacks,
    )


def _missing(need: Need | None, plan: Plan, verdict: Verdict) -> str:
    """Why an answer is not there; empty where it is, or where nothing is needed."""
    hazard = f"{plan.hazard_domain} {plan.hazard_category}".casefold()
    if need in _DEPLOYMENT:
        said = plan.deployment and getattr(plan.deployment, need)
        return "" if said else f"the policy says nothing of it (deployment.{need})"
    if need == "attacks":
        return untried(verdict)
    if need in ("privacy", "copyright") and plan.request and plan.request.kind == need:
        return ""
    if need is not None:
        return "" if need in hazard else "the policy is about another hazard"
    return ""
