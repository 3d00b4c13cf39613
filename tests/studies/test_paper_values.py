"""The figures that the paper prints."""

import pytest

from keras_dep.studies import paper_values


@pytest.mark.parametrize(
    "where, value, deviation",
    [
        (("table1", "cifar10", "dep", "vanilla", "pgd"), 31.44, None),
        (("table1", "cifar100", "hosnn", "adversarial", "clean"), 64.64, None),
        (("table2", "cifar10", "sgd", "vanilla", "fgsm", "", "lambda_1"), 269.9, 85.54),
        (("table3", "cifar10", "dep", "c/+p_0", "clean", "count=5"), 12.07, None),
        (("figure3", "cifar10", "sgd", "black_box", "fgsm", "epsilon=8/255"), 10.26, None),
        (("figure4", "cifar10", "dep", "adversarial", "pgd", "steps=80"), 39.77, None),
    ],
)
def test_a_figure_by_its_place(where, value, deviation):
    found = paper_values.find(*where)
    assert (found.value, found.deviation) == (value, deviation)


def test_what_the_paper_does_not_print_is_none():
    assert paper_values.find("table1", "digits", "dep", "vanilla", "pgd") is None
    assert paper_values.find("table1", "cifar10", "sam", "vanilla", "pgd") is None


def test_each_place_has_one_figure():
    keys = {each.source + str(each)[: str(each).index(", value=")] for each in paper_values.read()}
    assert len(keys) == len(paper_values.read()) == 568
