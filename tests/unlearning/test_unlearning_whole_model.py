"""The whole-model methods as a whole: what they change, that they go on where they were, and what they refuse."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from tiny_decoders import documents
from tiny_removal import DOWN, run, same
from tiny_whole_model import METHODS, SHARED, TOPICS, TRAINED, asked, opened

from govern.corpora import TokenCorpus
from govern.errors import IntegrityError, RemovalError
from govern.models import load_model, read_tensors
from govern.training import FineTuning, fine_tune
from govern.unlearning.protocol import RemovalRequest, Topic
from govern.unlearning.registry import METHODS as REGISTERED
from govern.unlearning.whole_model import loop, measuring
from govern.unlearning.whole_model.depn import measured, top_neurons
from govern.unlearning.whole_model.ssd import dampening, importances
from govern.unlearning.whole_model.task_arithmetic import negated

WITH_ADAPTERS = [name for name in METHODS if name not in {"ssd", "depn"}]


@pytest.fixture
def path(tiny):
    return tiny("llama")


# Those that keep more than weights and moments; the others are the same loop.
STATEFUL = ("rklu", "quark", "ssd", "depn")


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[] if name in STATEFUL else pytest.mark.slow) for name in METHODS]
)
def test_a_run_that_was_killed_ends_in_the_same_bits(path, tmp_path, monkeypatch, method):
    monkeypatch.setattr(loop, "STEPS_BETWEEN_CHECKPOINTS", 2)
    monkeypatch.setattr(measuring, "STEPS_BETWEEN_CHECKPOINTS", 2)
    changes = {} if method in {"ssd", "depn"} else {"steps": 5}
    whole = run(asked(path, method, topics=TOPICS, **changes))

    class Killed(Exception):
        pass

    def kill(stage, done, total, **_):
        if stage in {"unlearn", "learn", "importance", "attribution"} and done == 4:
            raise Killed

    with pytest.raises(Killed):
        run(asked(path, method, topics=TOPICS, checkpoint=tmp_path, progress=kill, **changes))
    seen = []
    resumed = run(
        asked(
            path, method, topics=TOPICS, checkpoint=tmp_path, progress=lambda _s, done, _t, **_: seen.append(done),
            **changes,
        )
    )  # fmt: skip
    assert seen[0] == 3  # two were done, and the third is not lost either
    same(resumed, whole)
    with pytest.raises(IntegrityError, match="other settings"):
        run(asked(path, method, checkpoint=tmp_path, **changes, seed=9))


@pytest.mark.parametrize("method", ["npo", "rklu", "task_arithmetic"])
def test_modules_of_some_blocks_and_nothing_else(path, method):
    edit = run(asked(path, method, train={"layers": [1, 2]}))
    assert set(edit.tensors) == set(DOWN)


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[] if name == "npo" else pytest.mark.slow) for name in WITH_ADAPTERS]
)
def test_an_adapter_is_merged_and_has_its_rank(path, method):
    edit = run(asked(path, method, lora_rank=2, train={"layers": [1, 2], "modules": ["mlp", "self_attn.o_proj"]}))
    assert len(edit.tensors) == 8
    base = read_tensors(path, edit.tensors)
    for name, tensor in edit.tensors.items():
        assert torch.linalg.matrix_rank((tensor - base[name]).double(), rtol=1e-3) <= 2


def test_an_adapter_that_is_named_no_modules_sits_on_every_linear_map_but_the_head(path):
    names = set(run(asked(path, "ga", lora_rank=2)).tensors)
    assert len(names) == 4 * 7
    assert not any("embed" in name or "head" in name for name in names)


def test_every_weight_changes_and_only_changed_ones_are_kept(path):
    assert len(run(asked(path, "ga")).tensors) == len(read_names(path))
    with pytest.raises(RemovalError, match="changed no weight"):
        run(asked(path, "ga", learning_rate=1e-30, weight_decay=0.0))


def read_names(path):
    return dict(load_model(path, dtype=torch.float32).named_parameters())


def test_the_tensors_are_in_the_checkpoint_s_dtype(tiny):
    edit = run(asked(tiny("llama", torch.bfloat16), "ga", learning_rate=1e-2))
    assert {tensor.dtype for tensor in edit.tensors.values()} == {torch.bfloat16}


def test_products_in_bfloat16_are_near_those_in_float32(path):
    half, whole = (run(asked(path, "npo", dtype=dtype)).curve for dtype in ("bfloat16", "float32"))
    assert [point.loss for point in half] == pytest.approx([point.loss for point in whole], rel=0.02)
    assert half != whole


def test_topics_take_turns(path):
    curve = run(asked(path, "grad_diff", topics=TOPICS)).curve
    assert [point.topic for point in curve] == ["bio", "cyber", "bio", "cyber"]


def test_a_loss_that_is_no_number_ends_it_and_says_why(path):
    with pytest.raises(RemovalError, match="no longer a number") as caught:
        run(asked(path, "grad_diff", steps=30, learning_rate=1e30))
    assert caught.value.where == "removal.learning_rate"
    assert "1e+30" in caught.value.hint


@dataclass(frozen=True)
class Two:
    rank: int = 0
    size: int = 2


def test_several_processes_are_refused_in_words(path):
    with pytest.raises(RemovalError, match="npo is computed by one process"):
        run(replace(asked(path, "npo"), workers=Two()))


def learnt(path, folder):
    """A tiny model that knows both texts by heart."""
    forget = documents("known secret", count=4, shortest=8, longest=8)
    retain = documents("known rest", count=8, shortest=8, longest=8)
    model = load_model(path, dtype=torch.float32)
    both = TokenCorpus(forget.documents + retain.documents)
    fine_tune(model, both, FineTuning(steps=70, learning_rate=1e-2, batch_size=6))
    model.save_pretrained(folder)
    return folder, (Topic("known", forget, retain),)


def surprise(path, corpus, tensors=None):
    """Mean −log p a token."""
    model = load_model(path, dtype=torch.float32)
    if tensors:
        model.load_state_dict(dict(tensors), strict=False)
    with torch.no_grad():
        losses = [float(model(ids, labels=ids).loss) for ids in (torch.tensor([each]) for each in corpus.documents)]
    return sum(losses) / len(losses)


@pytest.fixture(scope="module")
def known(tiny, tmp_path_factory):
    return learnt(tiny("llama"), tmp_path_factory.mktemp("learnt"))


# Settings under which each forgets on the tiny model; found by hand, the same number of steps where there are any.
FORGETS = {
    "ga": {"learning_rate": 1e-3},
    "grad_diff": {"learning_rate": 1e-3},
    "npo": {"learning_rate": 1e-3},
    "simnpo": {"learning_rate": 1e-3, "forget_weight": 1.0},
    "undial": {"learning_rate": 1e-3, "retain_weight": 1.0},
    "rklu": {"learning_rate": 3e-3, "strengthening_steps": 10, "strength": 20.0, "retain_weight": 1.0},
    "llmu": {"learning_rate": 1e-3, "random_answers": 1},
    "scrub": {"learning_rate": 1e-3, "max_epochs": 20},
    "task_arithmetic": {"learning_rate": 3e-3, "coefficient": 2.0},
    "quark": {"learning_rate": 1e-2, "explore_every": 2},
    "ssd": {"threshold": 2.0, "dampening": 0.5, "batch_size": 1},
    "depn": {"neurons": 40, "points": 4},
}
KEEPS = ("grad_diff", "npo", "simnpo", "undial", "rklu", "llmu", "scrub")


@pytest.fixture(scope="module")
def edits(known):
    """What each method leaves of the two texts: {method: (forget, retain)}."""
    path, topics = known
    found = {}
    for method, changes in FORGETS.items():
        base = SHARED if method in {"ssd", "depn"} else {**TRAINED, "steps": 20}
        given = {**base, "batch_size": 4, **changes}
        wanted = REGISTERED[method].settings({"method": method, **given})
        edit = REGISTERED[method].edit(RemovalRequest(model_path=path, topics=topics, settings=wanted))
        found[method] = tuple(surprise(path, part, edit.tensors) for part in (topics[0].forget, topics[0].retain))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", FORGETS)
def test_each_forgets(known, edits, method):
    path, topics = known
    # Of the seven tokens, the first cannot be known: it is one of twelve, 0.35 nats a token of all seven.
    assert edits[method][0] > 0.6 + surprise(path, topics[0].forget), edits


@pytest.mark.slow
@pytest.mark.parametrize("method", KEEPS)
def test_those_that_promise_it_keep_the_rest_better_than_ascent(edits, method):
    assert edits[method][1] < 0.5 * edits["ga"][1], edits


def test_dampening_is_the_paper_s(path):
    forget, retain = torch.tensor([1.0, 21.0, 21.0, 0.0, 5.0]), torch.tensor([1.0, 2.0, 3.0, 0.0, 0.0])
    assert dampening(forget, retain, 10.0, 1.0).tolist() == pytest.approx([1, 2 / 21, 1, 1, 0])
    assert dampening(forget, retain, 10.0, 50.0).tolist() == pytest.approx([1, 1, 1, 1, 0])  # never above 1
    with pytest.raises(RemovalError, match="changed no weight"):
        run(asked(path, "ssd", threshold=1e12, train={"layers": [1, 2]}))


def test_importance_is_the_mean_squared_gradient(path):
    session, _, _ = opened(path, "ssd", batch_size=1)
    forget, retain = importances(session, 3)
    name = DOWN[0]
    for deck, found in ((session.topics[0].forget, forget), (session.topics[0].retain, retain)):
        model = load_model(path, dtype=torch.float32)
        squares = []
        for visit in range(3):
            ids = deck.batch(deck.visit(visit)).input_ids
            model.zero_grad()
            model(ids, labels=ids).loss.backward()
            squares.append(model.get_parameter(name).grad.square())
        torch.testing.assert_close(found[name], sum(squares) / 3, rtol=1e-4, atol=1e-9)


def test_depn_zeroes_the_columns_of_the_greatest_attribution_and_nothing_else(path):
    session, _, settings = opened(path, "depn")
    attributions = measured(session, settings)
    assert set(attributions) == set(DOWN)
    chosen = top_neurons(attributions, 5)
    assert sum(map(len, chosen.values())) == 5
    least = min(float(attributions[name][neurons].min()) for name, neurons in chosen.items())
    for name in chosen:
        attributions[name][chosen[name]] = -1e9
    assert least >= max(float(each.max()) for each in attributions.values())
    edit = run(asked(path, "depn"))
    base = read_tensors(path, edit.tensors)
    assert set(edit.tensors) == set(chosen)
    for name, neurons in chosen.items():
        expected = base[name].clone()
        expected[:, neurons] = 0
        assert torch.equal(edit.tensors[name], expected)


def test_attributions_of_a_block_add_up_to_what_it_does_to_the_probability(path):
    """Integrated gradients are complete: over all neurons they sum to P(whole) − P(none), but for the points' grid."""
    session, _, settings = opened(path, "depn", train={"layers": [2]}, points=60, batches=1)
    total = float(measured(session, settings)[DOWN[1]].sum())
    student = session.student
    batch = session.topics[0].forget.batch(session.topics[0].forget.visit(0))
    whole = float((-student.read(batch).losses()).exp().sum())
    with torch.no_grad():
        student.plain.get_parameter(DOWN[1]).zero_()
    none = float((-student.read(batch).losses()).exp().sum())
    assert abs(whole - none) > 1e-3
    assert total == pytest.approx(whole - none, rel=0.05)


def test_the_last_point_of_the_way_is_the_whole_activation(path):
    session, _, settings = opened(path, "depn", train={"layers": [2]}, points=1, batches=1)
    found = measured(session, settings)[DOWN[1]]
    model = load_model(path, dtype=torch.float32)
    batch = session.topics[0].forget.batch(session.topics[0].forget.visit(0))
    inputs = []

    def keep(_module, arguments):
        arguments[0].retain_grad()
        inputs.append(arguments[0])

    model.get_submodule(DOWN[1].removesuffix(".weight")).register_forward_pre_hook(keep)
    chances = model(batch.input_ids, attention_mask=batch.attention_mask).logits[:, :-1].softmax(-1)
    chances.gather(2, batch.input_ids[:, 1:, None])[batch.counted[:, 1:]].sum().backward()
    torch.testing.assert_close(found, (inputs[0] * inputs[0].grad).sum(dim=(0, 1)).detach(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("architecture", "module", "shape"),
    [("llama", "mlp.down_proj", 3), ("opt", "fc2", 2), ("qwen2_moe", "mlp.shared_expert.down_proj", 2)],
)
def test_attributions_are_a_neurons_own_whatever_shape_its_module_sees(tiny, architecture, module, shape):
    """Against the slope along a factor on each neuron, which holds for inputs of every shape: d/ds P(s · a) at k/m."""
    train = {"layers": [2], "modules": [module]}
    session, _, settings = opened(tiny(architecture), "depn", train=train, points=3, batches=1)
    ((name, found),) = measured(session, settings).items()
    model = load_model(tiny(architecture), dtype=torch.float32).requires_grad_(False)
    batch = session.topics[0].forget.batch(session.topics[0].forget.visit(0))
    linear = model.get_submodule(name.removesuffix(".weight"))
    seen = []

    def say():
        return model(batch.input_ids, attention_mask=batch.attention_mask).logits[:, :-1].softmax(-1)

    keep = linear.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    say()
    keep.remove()
    assert seen[0].dim() == shape
    expected = torch.zeros(linear.in_features)
    for point in (1, 2, 3):
        factor = torch.full((linear.in_features,), point / 3, requires_grad=True)
        hook = linear.register_forward_pre_hook(lambda _, _given, factor=factor: (seen[0] * factor,))
        chances = say().gather(2, batch.input_ids[:, 1:, None])[batch.counted[:, 1:]].sum()
        expected += torch.autograd.grad(chances, factor)[0] / 3
        hook.remove()
    assert len(set(expected.tolist())) > linear.in_features // 2  # after a ReLU some are never active
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_depn_does_not_erase_all_there_is(path):
    with pytest.raises(RemovalError, match="96 neurons would be erased") as caught:
        run(asked(path, "depn", neurons=96))
    assert caught.value.where == "removal.neurons"


def test_task_arithmetic_goes_as_far_the_other_way(path):
    base, after = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([1.5, 1.0])}
    assert negated(base, after, 2.0)["w"].tolist() == [0.0, 4.0]
    assert torch.equal(negated(base, after, 0.0)["w"], base["w"])
    learnt_only = run(asked(path, "task_arithmetic", coefficient=1e-9, weight_decay=0.0))
    assert learnt_only.curve[-1].loss < learnt_only.curve[0].loss


def refusals(folder, method, layers=4, **changes):
    settings = REGISTERED[method].settings({"method": method, **changes})
    return [tuple(each) for each in REGISTERED[method].refusals(settings, folder, layers)]


def test_what_the_model_has_not_is_refused_before_it_is_loaded(path, tiny):
    assert refusals(path, "npo") == refusals(path, "depn") == refusals(path, "npo", train={"layers": [0, 3]}) == []
    assert refusals(path, "npo", train={"layers": [1, 4]}) == [
        (("train", "layers", 1), "layer 4 is out of range: the model has 0 to 3")
    ]
    assert refusals(path, "ssd", train={"layers": [1, 1]})[0][0] == ("train", "layers", 1)
    assert refusals(path, "npo", train={"layers": [1], "modules": ["mlp.nothing"]})[0][0] == ("train", "modules", 0)
    assert refusals(path, "depn", train={"layers": [1], "modules": ["mlp.down_proj", "mlp.up_proj"]}) == [
        (("train", "modules", 1), "neurons are the inputs of one module a block")
    ]
    ((location, message),) = refusals(tiny("mixtral"), "depn")
    assert location == ("method",)
    assert "mixture of experts" in message
    ((location, message),) = refusals(tiny("mixtral"), "npo")
    assert location == ("method",)
    assert "lora_rank" in message
    assert refusals(tiny("mixtral"), "npo", lora_rank=2) == []


def test_a_mixture_of_experts_is_trained_by_an_adapter_on_what_it_has_once(tiny):
    assert run(asked(tiny("mixtral"), "grad_diff", lora_rank=2)).tensors


def test_what_a_method_costs(path):
    def cost(method, **changes):
        settings = REGISTERED[method].settings({"method": method, **changes})
        return REGISTERED[method].cost_of(settings, path, 4)

    whole = sum(parameter.numel() for parameter in read_names(path).values())
    npo = cost("npo", steps=60)
    assert (npo.scope, npo.trained_parameters, npo.blocks, npo.model_copies) == ("logit", whole, 4, 2)
    assert (npo.forward_passes, npo.backward_passes, npo.steps) == (3, 2, 60)
    assert npo.memory_bytes == 4 * whole * 5  # weights, gradients, two moments, the weights as they were
    assert cost("npo", steps=60, retain_weight=0).forward_passes == 2
    some = cost("ga", train={"layers": [1, 2]})
    assert (some.trained_parameters, some.model_copies) == (2 * 32 * 48, 1)
    assert some.memory_bytes == 4 * (whole + 3 * some.trained_parameters)
    assert cost("ga", train={"layers": [1]}, lora_rank=2).trained_parameters == 2 * (32 + 48)
    depn = cost("depn", points=20)
    assert (depn.scope, depn.trained_parameters, depn.steps) == ("neuron", 4 * 32 * 48, None)
    assert depn.forward_passes == 80
    rmu = cost("rmu", layer=1, train={"layers": [1]}, coefficient=1, retain_weight=1, learning_rate=1e-3, steps=5)
    assert (rmu.scope, rmu.trained_parameters, rmu.blocks, rmu.model_copies) == ("representation", 32 * 48, 2, 1)
    assert cost("external", model={"source": "file:x"}) is None


def test_the_passes_that_a_plan_tells_are_those_that_are_made(path):
    for method in WITH_ADAPTERS:
        wanted = asked(path, method, steps=1, train={"layers": [3]})
        forward, backward = counted(wanted)
        extra = {"rklu": (3, 3), "quark": (forward - 2, 0)}.get(method, (0, 0))  # strengthening; exploring
        assert (forward, backward) == tuple(map(sum, zip(wanted.settings.passes, extra, strict=True))), method


def counted(wanted):
    """How often the model's head is used, and how often a gradient reaches the trained block."""
    forward, backward = [], []
    opened_before = loop.Student.open

    def open_and_count(*args, **kwargs):
        student = opened_before(*args, **kwargs)
        student.plain.get_output_embeddings().register_forward_hook(lambda *_: forward.append(1))
        next(iter(student.trained.values())).register_hook(lambda _gradient: backward.append(1))
        return student

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Student, "open", open_and_count)
        run(wanted)
    return len(forward), len(backward)
