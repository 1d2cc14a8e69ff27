"""A user's own data sets on the command line: from a list to a head and back, and what is refused."""

import json
from pathlib import Path

from cli_samples import Place
from dataset_samples import samples, write_csv, write_folder, write_tar

RANDOM = ("-m", "resnet18", "--weights", "random:0", "--image-size", "32", "--precision", "fp32")


def test_a_list_goes_all_the_way(tmp_path: Path) -> None:
    given = samples(24, "cat", "dog")
    write_folder(tmp_path, given)
    rows = [
        (f"{one.label}/{one.name}.png", one.label, "test" if n % 4 == 3 else "train", n // 2) for n, one in enumerate(given)
    ]
    spec = f"list:{write_csv(tmp_path / 'pets.csv', ('file', 'class', 'split', 'group'), *rows)}"
    here = Place(tmp_path)
    said = here.run("extract", *RANDOM, "--dataset", spec)
    assert "note: train: 18 pictures of 2 classes" in said.stderr
    assert "note: pets.csv: path from the column file, label from the column class" in said.stderr
    assert "resnet18 list-pets test: 6 x 512" in said.stdout
    trained = here.run("train-head", *RANDOM[:2], "--dataset", spec, "--head", "prototype", "--json")
    (run,) = json.loads(trained.stdout.splitlines()[-1])
    assert run["key"]["dataset"] == "list-pets"
    assert "12 groups by #group=(.+), each on one side of every division" in trained.stdout
    assert "6 test pictures of groups that training pictures are of too" in trained.stdout
    timed = here.run("bench-inference", "--dataset", spec, "--limit", "2", "--repeats", "1", "--warmup", "0")
    assert "list-pets" in timed.stdout
    assert "say where it is with --dataset list:PATH" in here.fails("bench-inference")


def test_the_same_pictures_in_an_archive_run_no_backbone(tmp_path: Path) -> None:
    given, here = samples(6, "cat", "dog"), Place(tmp_path)
    here.run("extract", *RANDOM, "--dataset", f"folder:{write_folder(tmp_path / 'pets', given)}")
    said = here.run("extract", *RANDOM, "--dataset", f"tar:{write_tar(tmp_path / 'pets.tar', given)}")
    assert "resnet18 tar-pets all: 6 x 512" in said.stdout
    assert "6 pictures: 6 kept, 0 computed" in said.stdout


def test_one_line_says_what_is_wrong(tmp_path: Path) -> None:
    here = Place(tmp_path)
    (tmp_path / "cut.tar").write_bytes(write_tar(tmp_path / "a.tar", samples(2, "a", "b")).read_bytes()[:700])
    assert "cut.tar: no whole tar archive" in here.fails("extract", *RANDOM, "--dataset", f"tar:{tmp_path}/cut.tar")
    assert "did you mean --dataset list:pets.csv?" in here.fails("extract", *RANDOM, "--dataset", "pets.csv")
    assert "no such file" in here.fails("extract", *RANDOM, "--dataset", f"npz:{tmp_path}/gone.npz")
