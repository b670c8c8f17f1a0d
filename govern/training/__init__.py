"""Plain fine-tuning of causal language models: what attacks on a removal and whole-model methods share."""

from govern.training.adapters import adapt
from govern.training.finetuning import FineTuning, fine_tune

__all__ = ["FineTuning", "adapt", "fine_tune"]
