"""Policies: schema, loading with file:line:column, digest."""

from govern.policy.loading import LoadedPolicy, load_policy, parse_policy, policy_digest
from govern.policy.schema import (
    DEFAULT_TOPIC,
    ForgetGate,
    PerplexityGate,
    Policy,
    Task,
    TaskGate,
    TextSource,
    WikitextGate,
    json_schema,
)

__all__ = [
    "DEFAULT_TOPIC",
    "ForgetGate",
    "LoadedPolicy",
    "PerplexityGate",
    "Policy",
    "Task",
    "TaskGate",
    "TextSource",
    "WikitextGate",
    "json_schema",
    "load_policy",
    "parse_policy",
    "policy_digest",
]
