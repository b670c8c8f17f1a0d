from __future__ import annotations

import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from plain_algorithm import transcription
from tiny_removal import BASE, CLOSED, DOWN, TOPICS, request, run, same
from transformers import AutoModelForCausalLM

from govern.errors import IntegrityError, RemovalError
from govern.unlearning import misdirection
from govern.unlearning.batches import Deck
from govern.unlearning.solvers.gradient import CHECKPOINT

PINNED = [
    (1.10065889, 0.0),
    (0.912159562, 0.00394778606),
    (0.956167579, 0.0090543488),
    (1.0568527, 0.0110893529),
    (0.691500127, 0.0105052982),
    (0.901661515, 0.0208651051),
    (0.70898211, 0.0134926271),
]


def plain_target(settings, v_f, v_r, _first, random):
    ratio = torch.log(1 + v_f / (v_r + 1e-6))
    sign = torch.randint(0, 2, (len(ratio),), generator=random) * 2 - 1
    return settings.coefficient * sign / len(sign) ** 0.5 * ratio / ratio.max()


@pytest.mark.parametrize("mask", ["default", "reference"])
@pytest.mark.parametrize("topics", [TOPICS[:1], TOPICS])
def test_the_losses_are_those_of_a_plain_transcription_of_algorithm_1(tiny, topics, mask):
    asked = request(tiny("llama"), topics=topics, mask=mask)
    edit = run(asked)
    losses, weights = transcription(tiny("llama"), topics, asked.settings, plain_target)
    assert [(point.forget_loss, point.retain_loss) for point in edit.curve] == [
        pytest.approx(pair, rel=1e-4, abs=1e-7) for pair in losses
    ]
    for name, weight in weights.items():
        torch.testing.assert_close(edit.tensors[name], weight, rtol=1e-3, atol=1e-4)


def test_the_losses_are_pinned(tiny):
    edit = run(request(tiny("llama")))
    assert [(point.forget_loss, point.retain_loss) for point in edit.curve] == [
        pytest.approx(pair, rel=1e-5, abs=1e-9) for pair in PINNED
    ]


def test_the_retain_loss_begins_at_zero_and_the_forget_loss_falls(tiny):
    curve = run(request(tiny("llama"), steps=30)).curve
    assert curve[0].retain_loss == pytest.approx(0.0, abs=1e-12)
    assert curve[-1].forget_loss < 0.9 * curve[0].forget_loss
    assert [point.step for point in curve] == list(range(30))
    for point in curve:
        assert point.loss == pytest.approx(point.forget_loss + 4.0 * point.retain_loss, rel=1e-5)


def test_only_the_named_tensors_change_and_all_of_them_do(tiny):
    chosen = {"modules": ["mlp.up_proj", "self_attn.o_proj"], "layers": [0, 2]}
    edit = run(request(tiny("qwen2"), train=chosen))
    before = AutoModelForCausalLM.from_pretrained(tiny("qwen2"), dtype=torch.float32).state_dict()
    assert set(edit.tensors) == {
        f"model.layers.{layer}.{module}.weight" for layer in (0, 2) for module in chosen["modules"]
    }
    for name, tensor in edit.tensors.items():
        assert tensor.shape == before[name].shape
        assert not torch.equal(tensor, before[name])


def test_biases_of_a_named_module_are_trained_with_it(tiny):
    edit = run(request(tiny("gpt_neox"), train={"modules": ["mlp.dense_4h_to_h"], "layers": [2]}))
    assert set(edit.tensors) == {f"gpt_neox.layers.2.mlp.dense_4h_to_h.{kind}" for kind in ("weight", "bias")}


OTHERS = {
    **dict.fromkeys(["mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3"], "mlp.down_proj"),
    **dict.fromkeys(["olmo", "olmo2", "olmo3", "granite"], "mlp.down_proj"),
    "gpt_neox": "mlp.dense_4h_to_h",
    "mixtral": "self_attn.o_proj",  # experts have no single down_proj, attention is as everywhere
    "qwen3_moe": "self_attn.o_proj",
}


@pytest.mark.parametrize(("architecture", "module"), OTHERS.items())
def test_other_architectures_learn_too(tiny, architecture, module):
    curve = run(request(tiny(architecture), steps=20, train={"modules": [module], "layers": [1, 2]})).curve
    assert curve[0].retain_loss == pytest.approx(0.0, abs=1e-12)
    assert curve[-1].forget_loss < curve[0].forget_loss


def test_a_seed_gives_one_edit_and_another_seed_another(tiny):
    first, again = (run(request(tiny("llama"))) for _ in range(2))
    same(first, again)
    other = run(request(tiny("llama"), seed=4))
    assert not torch.equal(first.tensors[DOWN[0]], other.tensors[DOWN[0]])


def test_what_is_kept_in_memory_changes_nothing(tiny, monkeypatch):
    kept = run(request(tiny("llama"), steps=12))
    monkeypatch.setattr(misdirection, "_KEPT_BYTES", 0)
    same(kept, run(request(tiny("llama"), steps=12)))


def test_topics_alternate_batch_by_batch_each_with_its_own_target(tiny):
    edit = run(request(tiny("llama"), topics=TOPICS))
    assert [point.topic for point in edit.curve] == ["bio", "cyber", "bio", "cyber", "bio", "cyber", "bio"]
    alone = run(request(tiny("llama"), topics=TOPICS[1:]))
    assert edit.figures["bio.target_norm"] != edit.figures["cyber.target_norm"]
    assert edit.figures["cyber.coefficient"] == alone.figures["cyber.coefficient"]


def test_a_topic_whose_turn_never_comes_is_reported_as_unread(tiny):
    figures = run(request(tiny("llama"), topics=TOPICS, steps=1)).figures
    assert figures["bio.forget_tokens"] > 0
    assert figures["cyber.forget_tokens"] == 0
    assert figures["cyber.target_norm"] > 0


def test_a_zero_direction_aims_at_the_origin(tiny):
    edit = run(request(tiny("llama"), direction="zero"))
    assert edit.figures["bio.target_norm"] == 0


def test_raw_is_unit_with_a_coefficient_longer_by_the_root_of_the_width(tiny):
    raw = run(request(tiny("llama"), direction_scale="raw", coefficient=1.0))
    unit = run(request(tiny("llama"), coefficient=32**0.5))
    assert raw.figures["bio.target_norm"] == pytest.approx(unit.figures["bio.target_norm"])
    torch.testing.assert_close(raw.tensors[DOWN[0]], unit.tensors[DOWN[0]], rtol=1e-3, atol=1e-5)


def test_a_uniform_map_gives_the_target_the_length_of_the_coefficient(tiny):
    assert run(request(tiny("llama"), importance="uniform")).figures["bio.target_norm"] == pytest.approx(6.0)
    ones, minus = (run(request(tiny("llama"), direction=kind)).figures for kind in ("ones", "minus_ones"))
    assert ones["bio.target_norm"] == minus["bio.target_norm"] < 6.0


def test_a_relative_coefficient_is_a_multiple_of_the_mean_norm(tiny):
    relative = run(request(tiny("llama"), coefficient={"relative": 2.5})).figures
    assert relative["bio.coefficient"] == pytest.approx(2.5 * relative["bio.mean_norm"])
    assert relative["bio.mean_norm"] > 0


def test_a_refreshed_map_is_another_map_and_a_refresh_beyond_the_end_is_the_first_batch(tiny):
    once, each = (run(request(tiny("llama"), refresh_every=every)) for every in (0, 1))
    assert once.curve[1].forget_loss != each.curve[1].forget_loss
    never_again, at_the_end = (run(request(tiny("llama"), refresh_every=every)) for every in (7, 100))
    same(never_again, at_the_end)


def test_refreshing_the_map_leaves_a_relative_coefficient_as_it_was_first_measured(tiny):
    relative = run(request(tiny("llama"), coefficient={"relative": 0.9}, refresh_every=1))
    absolute = run(request(tiny("llama"), coefficient=relative.figures["bio.coefficient"], refresh_every=1))
    same(relative, absolute)


def test_the_figures_say_how_much_was_read_and_how_far_the_first_token_went(tiny):
    figures = run(request(tiny("llama"), steps=4)).figures
    deck = Deck.deal(TOPICS[0].forget, batch_size=3, mask="default", seed="3/bio/forget")
    seen = [document for visit in range(4) for document in deck.documents[deck.visit(visit)]]
    assert figures["bio.forget_tokens"] == sum(len(document) - 1 for document in seen)
    assert 0 < figures["bio.first_token_drift"] < 10


def test_the_edit_has_the_checkpoints_dtype_not_the_computations(tiny):
    half = run(request(tiny("llama", torch.bfloat16), dtype="float32"))
    assert {tensor.dtype for tensor in half.tensors.values()} == {torch.bfloat16}
    full = run(request(tiny("llama"), dtype="bfloat16"))
    assert {tensor.dtype for tensor in full.tensors.values()} == {torch.float32}


def test_float32_masters_move_where_a_bfloat16_weight_could_not(tiny):
    """One step of 1e-6 is far below half a unit in the last place of a bfloat16 weight; a hundred of them add up."""
    edit = run(request(tiny("llama"), dtype="bfloat16", learning_rate=1e-6, steps=3, weight_decay=0.0))
    before = AutoModelForCausalLM.from_pretrained(tiny("llama"), dtype=torch.bfloat16).state_dict()
    moved = edit.tensors[DOWN[0]] - before[DOWN[0]].float()
    assert 0 < float(moved.abs().max()) <= 4e-6


def test_a_sweep_has_to_choose_first(tiny):
    with pytest.raises(RemovalError, match="sweep") as caught:
        run(request(tiny("llama"), coefficient={"sweep": {"start": 1, "stop": 170, "step": 10}}))
    assert caught.value.hint
    assert caught.value.where == "removal.coefficient"


@pytest.mark.parametrize("rate", [1e3, 1e30])
def test_divergence_stops_with_what_to_lower(tiny, rate):
    with pytest.raises(RemovalError, match=r"at step \d") as caught:
        run(request(tiny("llama"), learning_rate=rate, steps=40))
    assert "learning_rate" in caught.value.hint


def test_running_out_of_memory_says_what_to_lower(tiny):
    def greedy(*_, **__):
        torch.empty(1 << 55)

    with pytest.raises(RemovalError, match="out of memory") as caught:
        run(request(tiny("llama"), progress=greedy))
    assert "batch_size" in caught.value.hint


def test_other_errors_are_not_taken_for_a_lack_of_memory(tiny):
    def broken(*_, **__):
        torch.zeros(2) + torch.zeros(3)

    with pytest.raises(RuntimeError, match="size of tensor"):
        run(request(tiny("llama"), progress=broken))


def test_what_the_model_lacks_is_refused_without_a_traceback(tiny):
    with pytest.raises(RemovalError, match=r"no module 'mlp.fc2'"):
        run(request(tiny("llama"), train={"modules": ["mlp.fc2"], "layers": [1]}))
    with pytest.raises(RemovalError, match="lies above"):
        run(request(tiny("llama"), train={"modules": ["mlp.down_proj"], "layers": [3]}))
    for base in (BASE, CLOSED):
        with pytest.raises(RemovalError, match="mixture of experts"):
            run(request(tiny("mixtral"), base))


class Stopped(Exception):
    pass


def stop_after(step):
    def progress(stage, done, total, **values):
        if stage == "unlearn" and done == step:
            raise Stopped

    return progress


@pytest.fixture
def frequent(monkeypatch):
    """A checkpoint after every second step, so that a stop is before, at and after one."""
    monkeypatch.setattr("govern.unlearning.solvers.gradient.STEPS_BETWEEN_CHECKPOINTS", 2)


@pytest.mark.usefixtures("frequent")
def test_a_run_stopped_at_any_step_resumes_to_the_same_bits(tiny, tmp_path):
    changes = {"topics": TOPICS, "refresh_every": 2, "dtype": "bfloat16"}
    whole = run(request(tiny("llama"), **changes))
    for step in range(1, 8):
        folder = tmp_path / str(step)
        folder.mkdir()
        with pytest.raises(Stopped):
            run(request(tiny("llama"), checkpoint=folder, progress=stop_after(step), **changes))
        steps = []
        edit = run(
            request(
                tiny("llama"),
                checkpoint=folder,
                progress=lambda stage, done, total, steps=steps, **_: (
                    steps.append(done) if stage == "unlearn" else None
                ),
                **changes,
            )
        )
        same(edit, whole)
        # The checkpoint of an even step is written after its report, so a stop on that report comes before it.
        assert steps[0] == 2 * ((step - 1) // 2) + 1


def test_a_killed_run_resumes_to_the_same_bits(tiny, tmp_path):
    whole = run(request(tiny("llama"), topics=TOPICS, steps=40))
    kill_at = secrets.SystemRandom().randrange(1, 40)
    child = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("tiny_removal.py"), tiny("llama"), tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in child.stdout:
        if int(line) == kill_at:
            child.kill()
            break
    assert child.wait() == -signal.SIGKILL
    assert {path.name for path in tmp_path.iterdir() if not path.name.endswith(".part")} <= {CHECKPOINT}
    same(run(request(tiny("llama"), topics=TOPICS, steps=40, checkpoint=tmp_path)), whole)


@pytest.mark.usefixtures("frequent")
def test_a_checkpoint_of_another_removal_is_refused(tiny, tmp_path):
    run(request(tiny("llama"), checkpoint=tmp_path))
    for other in ({"seed": 4}, {"topics": TOPICS[1:]}):
        with pytest.raises(IntegrityError, match="other settings"):
            run(request(tiny("llama"), checkpoint=tmp_path, **other))
    with pytest.raises(IntegrityError, match="another model"):
        run(request(tiny("gemma2"), checkpoint=tmp_path))


@pytest.mark.usefixtures("frequent")
def test_a_damaged_checkpoint_is_refused(tiny, tmp_path):
    run(request(tiny("llama"), checkpoint=tmp_path))
    stored = tmp_path / CHECKPOINT
    stored.write_bytes(stored.read_bytes()[:-40])
    with pytest.raises(IntegrityError, match="cannot be read"):
        run(request(tiny("llama"), checkpoint=tmp_path))
