"""Policies: schema, loading with file:line:column, digest."""

from govern.policy.gates import ForgetGate, PerplexityGate, TaskGate, WikitextGate
from govern.policy.inputs import DEFAULT_TOPIC, Task, TextSource
from govern.policy.loading import LoadedPolicy, load_policy, parse_policy, policy_digest
from govern.policy.schema import Policy, json_schema

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
