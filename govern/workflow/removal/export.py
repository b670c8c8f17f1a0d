"""`govern export`: a removal becomes a normal model folder, signed where there is a key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from govern.digests import sha256_bytes
from govern.errors import IntegrityError
from govern.evidence import model_folder
from govern.models import export_model, model_digest, read_delta
from govern.models.reloading import refuse_other_model
from govern.progress import Progress, silent
from govern.records.told import ExportFinished
from govern.signing import SigningKey
from govern.signing.model_signature import MODEL_SIGNATURE, sign_model
from govern.sources import resolve_model
from govern.workflow.files import DELTA, SIGNER
from govern.workflow.runs import check_artefacts, held_run, refuse_pruned, refuse_revoked, stored_policy, stored_removal
from govern.workspace import RunFolder, write_atomic


@dataclass(frozen=True)
class Exported:
    """A model folder that anybody can load, and its digest. `signer` is the fingerprint of the key that signed it."""

    run: RunFolder
    path: Path
    model_digest: str
    signer: str | None


def export(
    run_id: str | None, out: Path, *, workspace: Path, key: SigningKey | None = None, progress: Progress = silent
) -> Exported:
    """Write the edited model of a run to `out`, with its signature where there is a key.

    What was written is loaded in a fresh process and asked a few fixed prompts before it is put in its place. Raises
    UsageError where the removal was revoked or its weights were pruned, IntegrityError where it is not the model of the
    removal.
    """
    with held_run(workspace, run_id) as (_, log, run, events):
        refuse_revoked(run, events)
        refuse_pruned(run, events)
        check_artefacts(run, events)
        loaded, removal = stored_policy(run, events), stored_removal(run)
        model = loaded.policy.model
        base = resolve_model(model.source, revision=model.revision, base=loaded.path.parent, progress=progress)
        found = model_digest(base.path, like=removal.base_model_digest)
        if found != removal.base_model_digest:
            raise IntegrityError(
                f"the base model changed: the removal was made on sha256:{removal.base_model_digest}, "
                f"it is sha256:{found}",
                where=str(base.path),
            )
        delta = read_delta(run.path(DELTA), sha256=removal.delta_sha256, base_digest=removal.base_model_digest)
        signatures: list[bytes] = []
        apart: list[float] = []

        def finish(folder: Path, digest: str) -> None:
            if digest != removal.edited_model_digest:
                raise IntegrityError(
                    f"the exported model is sha256:{digest}, the removal promised sha256:{removal.edited_model_digest}",
                    where=str(out),
                )
            apart.append(
                refuse_other_model(folder, base.path, delta, trust_remote_code=loaded.policy.model.trust_remote_code)
            )
            if key:
                # Read back from the disk: what is signed is what lies there.
                signatures.append(sign_model(out.name, model_folder(folder), key))
                write_atomic(folder / MODEL_SIGNATURE, signatures[0])

        digest = export_model(base.path, delta, out, like=removal.edited_model_digest, finish=finish)
        kept = {}
        if key:
            place = run.next_numbered("exports")
            kept = {f"{place}/{MODEL_SIGNATURE}": signatures[0], f"{place}/{SIGNER}": key.public.pem}
        for name, data in kept.items():
            run.write(name, data)
        signer = key.public.fingerprint if key else None
        log.append(
            "export.finished",
            actor=signer,
            run=run.id,
            policy_digest=loaded.digest,
            model_before=removal.base_model_digest,
            model_after=digest,
            digests={name: sha256_bytes(data) for name, data in kept.items()},
            parameters=ExportFinished(folder=str(out.absolute()), logits_apart=apart[0]).to_json(),
        )
    return Exported(run, out, digest, signer)
