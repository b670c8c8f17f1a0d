"""What a language model says of a batch: quantities over next tokens, from which the objectives are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from govern.unlearning.batches import Batch


@dataclass(frozen=True)
class Predictions:
    """One entry for each of the n counted tokens: the logits before it ([n, vocabulary], float32), the token itself
    ([n]) and the document that it stands in ([n], from 0). Padding, and what does not count, is not among them.
    """

    logits: Tensor
    labels: Tensor
    rows: Tensor
    documents: int

    @classmethod
    def at(cls, logits: Tensor, batch: Batch) -> Predictions:
        """Those at the counted tokens of a batch; `logits` is [batch, tokens, vocabulary]."""
        counted = batch.counted[:, 1:]  # the token at place t is predicted at t − 1
        rows = counted.nonzero()[:, 0]
        return cls(logits[:, :-1][counted].float(), batch.input_ids[:, 1:][counted], rows, len(batch.input_ids))

    def losses(self) -> Tensor:
        """−log p of each counted token, [n], nats."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(self.logits, self.labels, reduction="none")

    def loss(self) -> Tensor:
        """Cross-entropy: the mean of `losses`."""
        return self.losses().mean()

    def document_losses(self) -> Tensor:
        """−log p of each document, summed over its counted tokens, [documents]."""
        return self._membership() @ self.losses()

    def lengths(self) -> Tensor:
        """How many tokens of each document count, [documents], float32."""
        return self._membership().sum(dim=1)

    def _membership(self) -> Tensor:
        import torch

        # A product with zeros and ones adds in a fixed order on every device, which scattering does not.
        return (self.rows == torch.arange(self.documents, device=self.rows.device)[:, None]).float()


def divergence(p: Tensor, q: Tensor, *, temperature: float = 1.0) -> Tensor:
    """KL(p ‖ q) = Σ p (log p − log q), the mean over tokens, from logits [n, vocabulary]; times T² as is usual."""
    log_p = (p / temperature).log_softmax(-1)
    log_q = (q / temperature).log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean() * temperature**2
