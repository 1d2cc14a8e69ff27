"""The published figures are those of the study."""

from headstart.core.heads.report.published import STUDY, TABLE_1


def test_the_published_tables_are_the_studys() -> None:
    assert {model: (f.training_s, f.inference_s, f.accuracy) for model, f in TABLE_1.items()} == {
        "vgg16": (12 * 60 + 47, 60 + 4, 0.8187),
        "vgg19": (20 * 60 + 1, 60 + 39, 0.8164),
        "resnet50": (12 * 60 + 23, 59, 0.8066),
        "resnet152": (22 * 60 + 4, 60 + 45, 0.8193),
    }
    right = {name: sum(label == "✓" for label in labels.values()) for name, labels in STUDY.table_2.items()}
    assert right == {"frog 1": 3, "frog 2": 2, "ship 1": 2, "ship 2": 2, "plane 1": 4, "plane 2": 4}
