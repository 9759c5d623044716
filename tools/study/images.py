"""What a study of images trains on, and how the features of its runs are scored."""

import dataclasses
from typing import Any

from ml_collections import config_dict

from clinometer.train.fewshot import names
from clinometer.train.fewshot import ridge
from clinometer.train.run import record as run_record


@dataclasses.dataclass(frozen=True)
class ImageSettings:
    """The images and the options of the models that all runs of a study share.

    Attributes:
        folder: folder of labelled images (data/README.md), or "digits".
        classes: comma-separated names of the classes to train on; "" for all.
        validation_share: share of the images held out for validation, where the folder
            does not divide them.
        size: height and width to which the images are scaled, in pixels.
        patch_size: height and width of a patch.
        pooling: what represents an image, one of `models.VisionConfig`'s.
        loss: the loss, likewise.
        label_smoothing: share of a label that is spread over all classes.
        min_area: smallest share of an image's area that a random crop has.
        flip: whether half of the images are mirrored.
        mixup: parameter of mixup; 0 mixes nothing.
    """

    folder: str | None = None
    classes: str = ""
    validation_share: float = 0.05
    size: int = 224
    patch_size: int = 32
    pooling: str = "token"
    loss: str = "sigmoid"
    label_smoothing: float = 0.0
    min_area: float = 0.05
    flip: bool = True
    mixup: float = 0.0

    @property
    def model_fields(self) -> dict[str, object]:
        """Field of the model's config -> value."""
        return {
            "image_height": self.size,
            "image_width": self.size,
            "patch_size": self.patch_size,
            "pooling": self.pooling,
            "loss": self.loss,
            "label_smoothing": self.label_smoothing,
        }

    def data(self, folder: str) -> config_dict.ConfigDict:
        """Returns the fields by which the trainer opens the images.

        Args:
            folder: where they are.
        """
        return config_dict.ConfigDict(
            {
                "folder": folder,
                "classes": self.classes,
                "validation_share": self.validation_share,
            }
        )

    def settings(self) -> dict[str, object]:
        """Returns config key -> value, except for the folder, which may move."""
        data = ("classes", "validation_share", "min_area", "flip", "mixup")
        return {
            **{f"model.{name}": value for name, value in self.model_fields.items()},
            **{f"data.{name}": getattr(self, name) for name in data},
        }


@dataclasses.dataclass(frozen=True)
class FewShotSettings:
    """The few-shot evaluation of the features of all runs.

    Attributes:
        folder: folder of labelled images, or "digits"; None for that of training.
        classes: comma-separated names of the classes; "" for all.
        shots: numbers of images of each class.
        seeds: of the draws.
        test_share: share of the images to classify, where the folder does not divide
            them.
    """

    folder: str | None = None
    classes: str = ""
    shots: tuple[int, ...] = ridge.SHOTS
    seeds: tuple[int, ...] = ridge.SEEDS
    test_share: float = 0.5

    def request(self, folder: str) -> dict[str, Any]:
        """Returns the fields of `fewshot.evaluation.Request`, without the run.

        Args:
            folder: the folder that the runs were trained on.
        """
        classes = (name.strip() for name in self.classes.split(","))
        return {
            "folder": self.folder or folder,
            "classes": tuple(name for name in classes if name),
            "shots": self.shots,
            "seeds": self.seeds,
            "test_share": self.test_share,
            "controls": True,
        }

    def settings(self) -> dict[str, Any]:
        """Returns config key -> value, except for the folder, which may move."""
        return {
            "fewshot.classes": self.classes,
            "fewshot.shots": list(self.shots),
            "fewshot.seeds": list(self.seeds),
            "fewshot.test_share": self.test_share,
        }

    def arguments(self, folder: str) -> list[str]:
        """Returns the options of `clinometer fewshot`; see `request`."""
        return [
            f"--data={self.folder or folder}",
            *([f"--classes={self.classes}"] if self.classes else []),
            f"--shots={','.join(map(str, self.shots))}",
            f"--seeds={','.join(map(str, self.seeds))}",
            f"--test-share={self.test_share}",
            "--controls",
        ]

    def is_of(self, record: run_record.Record) -> bool:
        """Returns whether a run has been scored so, with the controls.

        Args:
            record: of the run.
        """
        shots = {f"{number}-shot" for number in self.shots}
        found = {
            one.mixture
            for one in record.evaluations
            if shots <= set(one.tasks)
            and list(one.options.get("seeds", ())) == list(self.seeds)
            and one.options.get("test_share") == self.test_share
        }
        return found >= {names.MIXTURE, *names.CONTROLS}
