import json
import logging
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lm_eval.evaluator import evaluate as harness_evaluate
from lm_eval.models.huggingface import HFLM

from govern.digests import sha256_bytes
from govern.errors import IntegrityError, SourceError, UsageError
from govern.evaluation import harness
from govern.evaluation.harness import evaluate, word_perplexity
from govern.evaluation.official import MMLU_SUBJECTS, WIKITEXT_TASK
from govern.evaluation.questions import OwnTask, load_questions, part_of

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared/data"

sys.path.insert(0, str(ROOT / "benchmarks"))
from mirror import lay_mirror  # noqa: E402  benchmarks/ is no package


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def file(tmp_path):
    rows = [
        {
            "question": f"Item {index}: {'x' * (index % 7)} is",
            "choices": [f"{letter}{index}" * (1 + (index + place) % 3) for place, letter in enumerate("pqrs")],
            "answer": index % 4,
            "fact": f"fact {index % 5}",
        }
        for index in range(20)
    ]
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_cloze_answers_come_under_both_metrics(tiny_model, byte_tokenizer, file, no_network):
    task = OwnTask("items", file, "cloze", cluster="fact", use="split")
    acc, norm = evaluate(tiny_model, byte_tokenizer, [task], share=0.3)
    assert [(each.task, each.metric, each.kind) for each in (acc, norm)] == [
        ("items", "acc", "cloze"),
        ("items", "acc_norm", "cloze"),
    ]
    questions = load_questions(task)
    assert acc.ids == tuple(question.id for question in questions)
    # A fact's name may be a person's, so it is stored as a digest: two questions share one where they share a fact.
    assert acc.clusters == tuple(sha256_bytes(question.cluster.encode())[:16] for question in questions)
    assert acc.parts == tuple(part_of(question.cluster, salt="items", share=0.3) for question in questions)
    for each in (acc, norm):
        assert each.choices == (4,) * 20
        assert each.correct == tuple(
            chosen == question.answer for chosen, question in zip(each.chosen, questions, strict=True)
        )
    assert acc.chosen != norm.chosen
    assert 0 < acc.accuracy < 1


def test_letters_are_accompanied_by_cloze(tiny_model, byte_tokenizer, file):
    letters, cloze = evaluate(tiny_model, byte_tokenizer, [OwnTask("items", file, "letters")], share=0.3)
    assert (letters.task, letters.kind, letters.clusters) == ("items", "letters", None)
    assert (cloze.task, cloze.kind, cloze.metric) == ("items (cloze)", "cloze", "acc")
    assert letters.ids == cloze.ids
    alone = evaluate(tiny_model, byte_tokenizer, [OwnTask("items", file, "cloze")], share=0.3)[0]
    assert cloze.chosen == alone.chosen


def test_answers_are_those_of_the_stock_model(tiny_model, byte_tokenizer, file):
    task = OwnTask("items", file, "cloze")
    ours = evaluate(tiny_model, byte_tokenizer, [task], share=0.3)
    stock = HFLM(pretrained=tiny_model, tokenizer=byte_tokenizer, backend="causal", batch_size=4)
    tasks = {"items": harness._own_task("items", "cloze", load_questions(task))}
    theirs = harness_evaluate(lm=stock, task_dict={"tasks": tasks}, bootstrap_iters=0, log_samples=True)
    for answers in ours:
        assert answers.correct == tuple(bool(sample[answers.metric]) for sample in theirs["samples"]["items"])


def test_changed_weights_are_asked_anew(tiny_model, byte_tokenizer, file):
    import copy

    other = copy.deepcopy(tiny_model)
    with torch.no_grad():
        other.lm_head.weight.neg_()
    task = OwnTask("items", file, "cloze")
    first = evaluate(tiny_model, byte_tokenizer, [task], share=0.3)
    assert evaluate(other, byte_tokenizer, [task], share=0.3) != first
    assert evaluate(tiny_model, byte_tokenizer, [task], share=0.3) == first


def test_changed_questions_are_asked_anew(tiny_model, byte_tokenizer, file):
    task = OwnTask("items", file, "cloze")
    before = evaluate(tiny_model, byte_tokenizer, [task], share=0.3)[0]
    file.write_text(file.read_text().replace("Item", "Entry"))
    assert evaluate(tiny_model, byte_tokenizer, [task], share=0.3)[0].ids != before.ids


def test_a_limit_takes_a_random_subset_that_stays(tiny_model, byte_tokenizer, file):
    task = OwnTask("items", file, "cloze")
    every = [question.id for question in load_questions(task)]
    limited = evaluate(tiny_model, byte_tokenizer, [task], share=0.3, limit=6)[0]
    assert set(limited.ids) == set(sorted(every)[:6])
    assert list(limited.ids) == [identifier for identifier in every if identifier in limited.ids]
    assert limited.ids != tuple(every[:6])


def test_evaluation_is_quiet_and_reports_progress(tiny_model, byte_tokenizer, file, capfd):
    level = logging.getLogger("lm_eval").level
    stages = []
    evaluate(
        tiny_model,
        byte_tokenizer,
        [OwnTask("items", file, "letters")],
        share=0.3,
        progress=lambda stage, done, total, **_: stages.append((stage, done == total)),
    )
    assert capfd.readouterr() == ("", "")
    assert stages[-1] == ("answer items", True)
    assert logging.getLogger("lm_eval").level == level


def test_a_broken_question_file_is_a_usage_error(tiny_model, byte_tokenizer, file):
    file.write_text("{")
    with pytest.raises(UsageError, match="not JSON"):
        evaluate(tiny_model, byte_tokenizer, [OwnTask("items", file, "cloze")], share=0.3)


def made_up_wmdp(folder, count):
    rows = [
        {"question": f"Harmless question {index}?", "choices": ["one", "two", "three", "four"], "answer": index % 4}
        for index in range(count)
    ]
    folder.mkdir(parents=True)
    (folder / "cyber_questions.json").write_text(json.dumps(rows))
    return folder


def test_an_official_set_runs_from_a_mirror(tiny_model, byte_tokenizer, tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("GOVERN_CACHE", str(tmp_path / "cache"))
    lay_mirror(tmp_path / "mirror", wmdp_cyber=made_up_wmdp(tmp_path / "raw", 1987))
    (answers,) = evaluate(tiny_model, byte_tokenizer, ["wmdp_cyber"], share=0.3, mirror=tmp_path / "mirror", limit=12)
    assert (answers.task, answers.kind, answers.metric, len(answers.ids)) == ("wmdp_cyber", "official", "acc", 12)
    assert answers.parts == tuple(part_of(identifier, salt="wmdp_cyber", share=0.3) for identifier in answers.ids)


def test_a_short_mirror_is_refused_also_after_a_full_one(tiny_model, byte_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("GOVERN_CACHE", str(tmp_path / "cache"))
    mirror = tmp_path / "mirror"
    lay_mirror(mirror, wmdp_cyber=made_up_wmdp(tmp_path / "raw", 1987))
    evaluate(tiny_model, byte_tokenizer, ["wmdp_cyber"], share=0.3, mirror=mirror, limit=1)
    lay_mirror(mirror, wmdp_cyber=made_up_wmdp(tmp_path / "short", 1900))
    with pytest.raises(IntegrityError, match="holds 1900 questions instead of 1987"):
        evaluate(tiny_model, byte_tokenizer, ["wmdp_cyber"], share=0.3, mirror=mirror, limit=1)


def test_a_mirror_without_the_set_says_how_to_get_it(tiny_model, byte_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("GOVERN_CACHE", str(tmp_path / "cache"))
    lay_mirror(tmp_path / "mirror", wmdp_cyber=made_up_wmdp(tmp_path / "raw", 1987))
    with pytest.raises(SourceError, match="wmdp_bio cannot be loaded"):
        evaluate(tiny_model, byte_tokenizer, ["wmdp_bio"], share=0.3, mirror=tmp_path / "mirror")
    with pytest.raises(UsageError, match="mirror holds no data"):
        evaluate(tiny_model, byte_tokenizer, ["mmlu_virology"], share=0.3, mirror=tmp_path / "mirror")


@pytest.mark.model
def test_real_official_questions_run_offline_on_smollm2(smollm2, tmp_path, monkeypatch):
    if not (DATA / "mmlu").is_dir():
        pytest.skip("needs ../shared/data with the official questions")
    from govern.models import load_model, load_tokenizer

    monkeypatch.setenv("GOVERN_CACHE", str(tmp_path / "cache"))
    lay_mirror(tmp_path / "mirror", mmlu=DATA / "mmlu", wmdp_cyber=DATA / "wmdp_cyber")
    cyber, virology = evaluate(
        load_model(smollm2, dtype=torch.float32),
        load_tokenizer(smollm2),
        ["wmdp_cyber", "mmlu_virology"],
        share=0.3,
        mirror=tmp_path / "mirror",
        limit=5,
    )
    assert (len(cyber.ids), len(virology.ids)) == (5, 5)
    assert set(cyber.choices) == {4}


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A mirror with MMLU's virology and computer security, and WikiText, all made up, in their published numbers."""
    monkeypatch.setenv("GOVERN_CACHE", str(tmp_path / "cache"))
    mirror = tmp_path / "mirror"
    for subject in ("virology", "computer_security"):
        folder = mirror / "cais/mmlu" / subject
        folder.mkdir(parents=True)
        for split, count in (("dev", 5), ("validation", 5), ("test", MMLU_SUBJECTS[subject])):
            rows = [
                {"question": f"{subject} {n}", "subject": subject, "choices": ["a", "b", "c", f"d{n}"], "answer": n % 4}
                for n in range(count)
            ]
            (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    card(mirror / "cais/mmlu", dict.fromkeys(("virology", "computer_security"), ("dev", "validation", "test")))
    text = "".join(
        f" = Title {n} = \n The number @-@ {n} ( of {n * n} ) is {'very ' * (n % 40)}{'' if n % 2 else 'un'}likely .\n"
        for n in range(WIKITEXT_TASK.questions)
    )
    (tmp_path / "wiki.test.raw").write_text(text)
    lay_mirror(mirror, wikitext=tmp_path)
    return mirror


def card(folder, configurations):
    configs = [
        {"config_name": name, "data_files": [{"split": split, "path": f"{name}/{split}.jsonl"} for split in splits]}
        for name, splits in configurations.items()
    ]
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")


def test_continuations_ask_the_same_questions_without_letters(tiny_model, byte_tokenizer, made_up, no_network):
    letters, cloze = evaluate(
        tiny_model,
        byte_tokenizer,
        ["mmlu_virology", "mmlu_virology_continuation"],
        share=0.3,
        mirror=made_up,
        limit=20,
    )
    assert (letters.kind, cloze.kind) == ("official", "cloze")
    assert letters.ids == cloze.ids
    assert letters.parts == cloze.parts
    assert set(letters.subjects) == {"virology"}
    assert letters.chosen != cloze.chosen


def test_only_the_questions_that_are_named_are_asked(tiny_model, byte_tokenizer, made_up, file, no_network):
    tasks = ["mmlu_computer_security", OwnTask("items", file, "cloze")]
    every = evaluate(tiny_model, byte_tokenizer, tasks, share=0.3, mirror=made_up)
    some = {every[0].ids[3], every[0].ids[70], every[1].ids[5]}
    found = evaluate(tiny_model, byte_tokenizer, tasks, share=0.3, mirror=made_up, only=some)
    assert [each.ids for each in found] == [each.only(some).ids for each in every]
    assert [each.correct for each in found] == [each.only(some).correct for each in every]


def test_word_perplexity_is_that_of_the_stock_model(tiny_model, byte_tokenizer, made_up, no_network):
    found = word_perplexity(tiny_model, byte_tokenizer, mirror=made_up)
    assert len(found.ids) == len(set(found.ids)) == WIKITEXT_TASK.questions
    assert found.unit == "word"
    loaded = harness.load_official((WIKITEXT_TASK,), made_up)
    with harness.quiet(offline=True):
        stock = HFLM(pretrained=tiny_model, tokenizer=byte_tokenizer, backend="causal", batch_size=1)
        expected = harness_evaluate(lm=stock, task_dict=dict(loaded), bootstrap_iters=1)
    ours = float(np.exp(sum(found.nll) / sum(found.tokens)))
    assert ours == pytest.approx(expected["results"]["wikitext"]["word_perplexity,none"], rel=1e-5)


def test_another_number_of_articles_is_refused(tiny_model, byte_tokenizer, made_up):
    pages = made_up / WIKITEXT_TASK.dataset.path / WIKITEXT_TASK.config / "test.jsonl"
    pages.write_text("".join(pages.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(IntegrityError, match="holds 61 questions instead of 62"):
        word_perplexity(tiny_model, byte_tokenizer, mirror=made_up)
