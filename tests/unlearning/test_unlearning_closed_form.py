from __future__ import annotations

import gc
import secrets
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_decoders import LAYERS
from tiny_removal import CLOSED, request, run, same
from tiny_removal import LONG as TOPICS

from govern.errors import IntegrityError, RemovalError
from govern.models import load_model, read_tensors
from govern.unlearning.activations import block_output, find_blocks
from govern.unlearning.batches import Deck, generator
from govern.unlearning.misdirection import Misdirection
from govern.unlearning.points import Points
from govern.unlearning.solvers.closed_form import CHECKPOINT, Equations, Moments, Statistics
from govern.unlearning.srmu import METHOD, srmu

ONE = {"train": {"modules": ["mlp.down_proj"], "layers": [2]}}
DOWN = "model.layers.2.mlp.down_proj.weight"


def asked(path, topics=TOPICS[:1], **changes):
    return request(path, CLOSED, topics=topics, **changes)


def moments(name, *, tokens=40, inputs=6, outputs=4):
    random = generator(name)
    made = Moments(inputs, outputs)
    made.add(torch.randn(tokens, inputs, generator=random), torch.randn(tokens, outputs, generator=random))
    return made


def statistics(name):
    return Statistics(moments(f"{name} forget"), moments(f"{name} retain"))


def target(name):
    return torch.randn(4, generator=generator(f"{name} target"), dtype=torch.float64)


def objective(several, targets, change, *, alpha):
    return sum(
        each.forget.loss(change, aim) + alpha * each.retain.loss(change)
        for each, aim in zip(several, targets, strict=True)
    )


def test_the_loss_of_moments_is_the_loss_of_the_tokens():
    random = generator("loss")
    a, y = (torch.randn(30, size, generator=random, dtype=torch.float64) for size in (6, 4))
    change, target = torch.randn(4, 6, generator=random, dtype=torch.float64), torch.arange(4, dtype=torch.float64)
    made = Moments(6, 4)
    made.add(a, y)
    assert made.loss(change, target) == pytest.approx(float((y + a @ change.T - target).square().mean()), rel=1e-12)
    assert made.loss(change) == pytest.approx(float((y + a @ change.T).square().mean()), rel=1e-12)


def test_few_bfloat16_tokens_and_a_small_ridge_determine_the_change_of_many_inputs():
    random = generator("bfloat16")
    mean = 10 * torch.randn(768, generator=random)  # one direction outweighs the others by far
    several = []
    for _ in range(2):
        made = Moments(768, 4)
        for _ in range(4):
            a = mean + torch.randn(32, 768, generator=random)
            made.add(a.bfloat16(), torch.randn(32, 4, generator=random).bfloat16())
        several.append(made)
    Equations([Statistics(*several)], retain_weight=1200.0, ridge=1e-6)  # refused where sums are rounded to float32


@given(split=st.integers(0, 20))
def test_moments_of_parts_add_up_to_those_of_the_whole(split):
    random = generator("parts")
    a, y = torch.randn(20, 6, generator=random), torch.randn(20, 4, generator=random)
    whole, first, second = (Moments(6, 4) for _ in range(3))
    whole.add(a, y)
    first.add(a[:split], y[:split])
    second.add(a[split:], y[split:])
    first += second
    assert first.tokens == whole.tokens
    for name in ("inputs", "cross", "input_sum", "output_sum", "squares"):
        torch.testing.assert_close(getattr(first, name), getattr(whole, name), rtol=1e-12, atol=1e-12)


@given(name=st.text(max_size=3), alpha=st.floats(0.1, 1e3), size=st.floats(1e-4, 1), topics=st.integers(1, 3))
def test_no_other_change_has_a_lower_objective(name, alpha, size, topics):
    several = [statistics(f"{name}{topic}") for topic in range(topics)]
    targets = [target(f"{name}{topic}") for topic in range(topics)]
    best = Equations(several, retain_weight=alpha, ridge=0.0).minimiser(targets)
    other = best + size * torch.randn(best.shape, generator=generator(name), dtype=torch.float64)
    assert objective(several, targets, best, alpha=alpha) < objective(several, targets, other, alpha=alpha)


@pytest.mark.parametrize("topics", [1, 3])
def test_the_losses_at_the_minimiser_are_those_of_the_moments(topics):
    several, targets = [statistics(f"{n}") for n in range(topics)], [3 * target(f"{n}") for n in range(topics)]
    equations = Equations(several, retain_weight=7.0, ridge=0.01)
    change = equations.minimiser(targets)
    for each, aim, (forget, retain) in zip(several, targets, equations.losses(targets), strict=True):
        assert forget == pytest.approx(each.forget.loss(change, aim), rel=1e-10)
        assert retain == pytest.approx(each.retain.loss(change), rel=1e-10)


def test_the_solution_is_affine_in_the_coefficient_and_its_slope_has_rank_one():
    """What a sweep over c lives on: ΔW(c) = c·A − B."""
    equations = Equations([statistics("affine")], retain_weight=10.0, ridge=0.01)
    changes = [equations.minimiser([c * target("affine")]) for c in (0.0, 1.0, 5.0)]
    slope = changes[1] - changes[0]
    torch.testing.assert_close(changes[2], changes[0] + 5 * slope)
    assert int(torch.linalg.matrix_rank(slope)) == 1


def test_a_ridge_shrinks_the_change():
    several, aims = [statistics("ridge")], [target("ridge")]
    norms = [
        float(Equations(several, retain_weight=10.0, ridge=ridge).minimiser(aims).norm())
        for ridge in (0.0, 1.0, 1e3, 1e9)
    ]
    assert norms == sorted(norms, reverse=True)
    assert norms[-1] < 1e-6


def test_too_few_tokens_are_refused_and_a_ridge_helps():
    few = [Statistics(moments("a", tokens=2), moments("b", tokens=2))]
    with pytest.raises(RemovalError, match="4 tokens do not determine a change of 6 inputs") as caught:
        Equations(few, retain_weight=1.0, ridge=0.0)
    assert "ridge" in caught.value.hint
    assert Equations(few, retain_weight=1.0, ridge=1e-3).minimiser([target("few")]).isfinite().all()


PINNED = [(0.635661984, 0.0426297906), (0.527404091, 0.0611521465)]
PLAIN = {**ONE, "importance": "uniform", "direction": "ones"}


def whole(path, tensors, settings, topic=TOPICS[0]):
    """Eq. 5 over all tokens for T = c/√d, by the whole model's forward with `tensors` in place, and its gradient."""
    edited, frozen = (load_model(path, dtype=torch.float32) for _ in range(2))
    parameters = dict(edited.named_parameters())
    with torch.no_grad():
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)
    h = {}
    for role in ("forget", "retain"):
        corpus = getattr(topic, role)
        batch = Deck.deal(corpus, batch_size=len(corpus.documents), mask=settings.mask, seed="all").batch(0)
        kept = []
        hook = find_blocks(edited)[settings.layer].register_forward_hook(
            lambda _m, _i, output, kept=kept: kept.append(output[0] if isinstance(output, tuple) else output)
        )
        edited(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        hook.remove()
        h[role] = kept[0][batch.counted]
        original = block_output(frozen, settings.layer, batch)[batch.counted]
    forget = (h["forget"] - settings.coefficient / edited.config.hidden_size**0.5).square().mean()
    retain = (h["retain"] - original).square().mean()
    (slope,) = torch.autograd.grad(forget + settings.retain_weight * retain, parameters[min(tensors)])
    return forget.item(), retain.item(), float(slope.norm())


def test_the_gradient_vanishes_at_the_solution(tiny):
    chosen = asked(tiny("llama"), **PLAIN)
    edit = run(chosen)
    before = whole(tiny("llama"), read_tensors(tiny("llama"), [DOWN]), chosen.settings)
    after = whole(tiny("llama"), edit.tensors, chosen.settings)
    assert after[2] < 1e-4 * before[2]


@pytest.mark.parametrize("architecture", ["llama", "granite", "olmo"])
def test_the_losses_of_the_curve_are_those_of_the_whole_edited_model(tiny, architecture):
    chosen = asked(tiny(architecture), **PLAIN)
    edit = run(chosen)
    (point,) = edit.curve
    forget, retain, _ = whole(tiny(architecture), edit.tensors, chosen.settings)
    assert (point.forget_loss, point.retain_loss) == (pytest.approx(forget, rel=1e-4), pytest.approx(retain, rel=1e-4))


FLATTENED = {"opt": "fc2", "qwen2_moe": "mlp.shared_expert.down_proj"}


@pytest.mark.parametrize("architecture", FLATTENED)
def test_a_module_that_sees_all_tokens_in_one_row_is_solved_for(tiny, architecture):
    """Their blocks hand [batch · tokens, n] to the MLP; each token's input must still stand beside its own output."""
    trained = {"modules": [FLATTENED[architecture]], "layers": [2]}
    if architecture == "qwen2_moe":  # the gate in front of its output leaves it nonlinear
        with pytest.raises(RemovalError, match="not linear in this weight"):
            run(asked(tiny(architecture), **{**PLAIN, "train": trained}))
        return
    # After its ReLU some inputs are always 0, which alone would leave their weights undetermined.
    chosen = asked(tiny(architecture), **{**PLAIN, "train": trained, "ridge": 1e-7})
    edit = run(chosen)
    (point,) = edit.curve
    forget, retain, slope = whole(tiny(architecture), edit.tensors, chosen.settings)
    assert (point.forget_loss, point.retain_loss) == (pytest.approx(forget, rel=1e-4), pytest.approx(retain, rel=1e-4))
    base = read_tensors(tiny(architecture), edit.tensors)
    assert slope < 1e-3 * whole(tiny(architecture), base, chosen.settings)[2]


def test_the_loss_is_never_above_the_gradient_solvers(tiny):
    """One block, the same tokens, ρ = 0: gradient descent on all of them comes close and never below."""
    everything = {"batch_size": 30, **ONE}
    exact = run(asked(tiny("llama"), **everything)).curve[0].loss
    descent = request(tiny("llama"), topics=TOPICS[:1], steps=400, learning_rate=1e-2, weight_decay=0.0, **everything)
    losses = [point.loss for point in run(descent).curve]
    assert exact < min(losses)
    assert min(losses) < exact + 0.25 * (losses[0] - exact)


def test_the_losses_are_pinned(tiny):
    assert [(point.forget_loss, point.retain_loss) for point in run(asked(tiny("llama"))).curve] == [
        pytest.approx(pair, rel=1e-5) for pair in PINNED
    ]


def test_in_later_blocks_the_drift_on_retain_text_is_undone(tiny, monkeypatch):
    with_it = run(asked(tiny("llama")))
    pull = Statistics.pull
    monkeypatch.setattr(
        Statistics,
        "pull",
        lambda self, alpha: pull(replace(self, retain=_without_cross(self.retain)), alpha),
    )
    without = run(asked(tiny("llama")))
    assert with_it.curve[0] == without.curve[0]  # in the first block there is no drift to undo
    assert with_it.curve[1].loss < without.curve[1].loss
    assert with_it.curve[1].retain_loss < without.curve[1].retain_loss


def _without_cross(retain):
    copy = Moments(*reversed(retain.cross.shape))
    copy += retain
    copy.cross.zero_()
    return copy


def test_topics_weigh_alike_in_one_solve(tiny):
    edit = run(asked(tiny("llama"), TOPICS, **ONE))
    assert [point.topic for point in edit.curve] == ["bio", "cyber"]
    alone = [run(asked(tiny("llama"), (topic,), **ONE)) for topic in TOPICS]
    for point, own in zip(edit.curve, alone, strict=True):
        assert point.loss > own.curve[0].loss
    assert edit.figures["cyber.target_norm"] == pytest.approx(alone[1].figures["cyber.target_norm"])


def test_every_token_that_counts_is_used_once(tiny):
    figures = run(asked(tiny("llama"))).figures
    for role in ("forget", "retain"):
        corpus = getattr(TOPICS[0], role)
        assert figures[f"bio.{role}_tokens"] == corpus.tokens - len(corpus.documents)


@pytest.mark.parametrize("layers", [[2], [0, 1, 2]])
def test_the_first_tokens_drift_is_that_of_the_edited_model(tiny, layers, monkeypatch):
    """It follows from the solution; the replay of the edited model says the same."""
    monkeypatch.setattr(Misdirection, "release", lambda self: None)
    chosen = asked(tiny("llama"), train={"modules": ["mlp.down_proj"], "layers": layers})
    setup = Misdirection.open(chosen)
    edit = srmu(setup, chosen)
    assert edit.figures["bio.first_token_drift"] == pytest.approx(setup.first_token_drift(setup.topics[0]), rel=1e-4)
    assert edit.figures["bio.first_token_drift"] > 0.01


def test_the_model_is_gone_before_the_last_solve(tiny, monkeypatch):
    held, begin = [], Equations.__init__

    def solved(self, *arguments, **named):
        gc.collect()
        held.append(model() is not None)
        begin(self, *arguments, **named)

    monkeypatch.setattr(Equations, "__init__", solved)
    chosen = asked(tiny("llama"))
    setup = Misdirection.open(chosen)
    model = weakref.ref(setup.window.model)
    srmu(setup, chosen)
    assert held == [True, False]


def test_each_block_has_its_own_target(tiny):
    figures = run(asked(tiny("llama"), coefficient={"relative": 2.0})).figures
    assert figures["bio.layer_1.coefficient"] != figures["bio.layer_2.coefficient"]
    assert figures["bio.layer_2.coefficient"] == figures["bio.coefficient"] == 2 * figures["bio.mean_norm"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("architecture", "module", "scale"),
    [
        ("llama", "mlp.down_proj", 1.0),
        ("mistral", "mlp.down_proj", 1.0),
        ("qwen2", "mlp.down_proj", 1.0),
        ("qwen3", "mlp.down_proj", 1.0),
        ("phi3", "mlp.down_proj", 1.0),
        ("olmo", "mlp.down_proj", 1.0),
        ("gpt_neox", "mlp.dense_4h_to_h", 1.0),
        ("gpt_neox", "attention.dense", 1.0),  # its attention and MLP both read the block's input
        ("granite", "mlp.down_proj", 0.5),
    ],
)
def test_linear_blocks_are_probed_and_their_scale_is_found(tiny, architecture, module, scale, dtype):
    train = {"modules": [module], "layers": [2]}
    edit = run(asked(tiny(architecture), train=train, dtype=dtype, ridge=1e-3))
    assert edit.figures["layer_2.linear_scale"] == pytest.approx(scale, rel=1e-2)
    assert {name.rpartition(".")[2] for name in edit.tensors} == {"weight"}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("architecture", "module"),
    [
        ("gemma2", "mlp.down_proj"),
        ("gemma3", "mlp.down_proj"),
        ("olmo2", "mlp.down_proj"),
        ("olmo3", "mlp.down_proj"),
        ("llama", "self_attn.o_proj"),
    ],
)
def test_blocks_that_are_not_linear_are_refused(tiny, architecture, module, dtype):
    with pytest.raises(RemovalError, match="not linear") as caught:
        run(asked(tiny(architecture), train={"modules": [module], "layers": [2]}, dtype=dtype))
    assert "gradient" in caught.value.hint


@pytest.mark.parametrize(
    ("module", "words"), [("post_attention_layernorm", "not one linear map"), ("mlp.up_proj", "48 outputs, not 32")]
)
def test_a_module_that_is_not_the_last_linear_map_is_refused(tiny, module, words):
    with pytest.raises(RemovalError, match=words):
        run(asked(tiny("llama"), train={"modules": [module], "layers": [2]}))


@pytest.mark.parametrize(
    ("train", "location"),
    [
        ({"modules": ["mlp.down_proj", "mlp.up_proj"], "layers": [2]}, ("train", "modules", 1)),
        ({"modules": ["mlp.down_proj"], "layers": [1]}, ("train", "layers")),
    ],
)
def test_what_the_closed_form_cannot_do_is_refused_before_any_weight_is_loaded(tiny, train, location):
    settings = asked(tiny("llama"), train=train).settings
    (refusal,) = METHOD.refusals(settings, tiny("llama"), LAYERS)
    assert refusal.location == location


class Stopped(Exception):
    pass


def stop_in_block(layer):
    def progress(stage, done, total, **_):
        if stage.endswith(f"block {layer}") and done == total:
            raise Stopped

    return progress


def collect(stages):
    return lambda stage, *_, **__: stages.append(stage)


def test_a_run_stopped_in_any_block_resumes_to_the_same_bits(tiny, tmp_path):
    changes = {"train": {"modules": ["mlp.down_proj"], "layers": [0, 1, 2]}, "topics": TOPICS, "dtype": "bfloat16"}
    whole_run = run(asked(tiny("llama"), **changes))
    for layer in (0, 1, 2):
        folder = tmp_path / str(layer)
        folder.mkdir()
        with pytest.raises(Stopped):
            run(asked(tiny("llama"), checkpoint=folder, progress=stop_in_block(layer), **changes))
        assert (folder / CHECKPOINT).exists() == (layer > 0)
        stages = []
        edit = run(asked(tiny("llama"), checkpoint=folder, progress=collect(stages), **changes))
        same(edit, whole_run)
        assert stages[0] == f"measure bio block {layer}"
    with pytest.raises(IntegrityError, match="other settings"):
        run(asked(tiny("llama"), checkpoint=folder, **{**changes, "seed": 9}))


def test_a_killed_run_resumes_to_the_same_bits(tiny, tmp_path):
    script = Path(__file__).with_name("tiny_removal.py")
    whole_run = run(asked(tiny("llama")))
    child = subprocess.Popen(
        [sys.executable, script, tiny("llama"), tmp_path, "closed_form"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    kill_at = secrets.SystemRandom().randrange(1, 3)
    for line in child.stdout:
        if int(line) == kill_at:
            child.kill()
            break
    child.wait()
    same(run(asked(tiny("llama"), checkpoint=tmp_path)), whole_run)


def test_the_solution_is_one_whatever_the_batches(tiny):
    """Averages run over all data, so how they are cut into batches is rounding only."""
    first, second = (run(asked(tiny("llama"), batch_size=size, **ONE)) for size in (4, 30))
    torch.testing.assert_close(first.tensors[DOWN], second.tensors[DOWN], rtol=1e-2, atol=1e-3)


def test_a_seed_gives_one_edit(tiny):
    same(*(run(asked(tiny("llama"))) for _ in range(2)))


def test_the_trunk_runs_once_a_batch_and_pass_even_where_nothing_can_be_kept(tiny, monkeypatch):
    chosen = asked(tiny("llama"), train={"modules": ["mlp.down_proj"], "layers": [1, 2]})
    kept = srmu(Misdirection.open(chosen), chosen)
    setup = Misdirection.open(chosen, room=0)
    entered = []
    enter = setup.window.enter
    monkeypatch.setattr(setup.window, "enter", lambda batch: entered.append(id(batch)) or enter(batch))
    edit = srmu(setup, chosen)
    batches = len(setup.topics[0].forget) + len(setup.topics[0].retain)
    # A pass for each of the two blocks; before and after each, the linearity probe and the first tokens read one batch.
    assert len(entered) <= 2 * (batches + 2)
    same(edit, kept)


def test_a_later_block_goes_on_where_the_one_before_it_was_measured(tiny, monkeypatch):
    chosen = asked(tiny("llama"), layer=3, train={"modules": ["mlp.down_proj"], "layers": [1, 2, 3]})
    edits, passes, rooms = [], [], []
    for room in (0, 2**30):
        setup = Misdirection.open(chosen, room=room)
        ran = []
        replay = setup.window.replay

        def counted(*arguments, _replay=replay, _ran=ran, begin=0, end, **named):
            _ran.append(end - begin)
            return _replay(*arguments, begin=begin, end=end, **named)

        monkeypatch.setattr(setup.window, "replay", counted)
        edits.append(srmu(setup, chosen))
        passes.append(sum(ran))
    same(*edits)
    assert passes[1] < passes[0]

    points = Points(chosen)
    for _ in range(2):
        same(points.edit(chosen.settings), edits[0])
        rooms.append(points._opened[1].frozen._room)
    assert rooms[0] == rooms[1]  # what one point's waypoints took is given back
