"""``redenoise denoise`` for a single image: plan, training, prediction, results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_redenoise._cli._app import check_targets, read_noted, train_on
from napari_redenoise._cli._interruption import Interruption, interruption
from napari_redenoise._cli._results import Delivery, Targets
from napari_redenoise._cli._resuming import unfinished_run
from napari_redenoise._cli._workers import predict_by_workers, refuse_draws
from napari_redenoise.assessment import assess_file
from napari_redenoise.config import Config
from napari_redenoise.distributed import Cluster
from napari_redenoise.errors import ConfigError
from napari_redenoise.inference import Interrupted
from napari_redenoise.io import ImageFile, UnfinishedRun
from napari_redenoise.model import Redenoiser, TrainingPlan, should_recorrupt


@dataclass(frozen=True)
class SingleImage:
    """One image, how to denoise it, and where to.

    Parameters
    ----------
    image : Path
    targets : Targets
    config : Config
        Of the training.
    model : Path, optional
        Denoises without training.
    axes : str, optional
    series : int, optional
    target : Path, optional
        Second shot of the scene, for Noise2Noise.
    region : Path, optional
        Training region.
    stop_after : int, optional
        Step after which the training ends.
    device : str, optional
    cluster : Cluster, optional
        Its workers denoise.
    has_report : bool
        Whether to print the quality checks.
    """

    image: Path
    targets: Targets
    config: Config
    model: Path | None = None
    axes: str | None = None
    series: int | None = None
    target: Path | None = None
    region: Path | None = None
    stop_after: int | None = None
    device: str | None = None
    cluster: Cluster | None = None
    has_report: bool = False

    def denoise(self, *, as_json: bool) -> int:
        """Train unless a model is given, denoise, and write the results.

        Parameters
        ----------
        as_json : bool
            Print events in place of sentences.

        Returns
        -------
        int
            Exit code of the command.
        """
        targets = self.targets
        check_targets(
            self.image,
            [*targets.by_name.values()],
            targets.model,
            overwrite=targets.overwrite,
            others=(self.target, self.region, self.model),
        )
        denoiser = self._denoiser()
        with interruption(keeps=False, as_json=as_json) as asked:
            source = read_noted(self.image, self.axes, self.series, asked.say)
            for line in targets.check(denoiser, source):
                asked.say(line)
            self._tell_model(denoiser, asked)
            run, model = self._unfinished(denoiser), self.model
            if run is not None and run.is_continued:
                denoiser, model = Redenoiser.load(run.model, self.device), run.model
            delivery = Delivery(denoiser, source, targets, asked, self.command(), run)
            if self.cluster is not None and run is not None:
                self._give_to_workers(delivery, self.cluster, run)
            try:
                if model is None:
                    self._train(denoiser, source, asked)
                    delivery.save_model()
                result = delivery.denoise()
            finally:
                delivery.close()
                # After errors, too, but not where a second Ctrl-C insists.
                keeps = model is None or self.cluster is not None
                if keeps and not asked.ends_at_once:
                    delivery.keep_model()
            if self.has_report and result is not None:
                report = assess_file(source, result.denoised, denoiser)
                asked.emit("quality", report=report.as_dict())
                if not asked.as_json:
                    asked.say("\n".join(report.sentences()))
        return delivery.exit_code

    def _denoiser(self) -> Redenoiser:
        model, targets = self.model, self.targets
        denoiser = (
            Redenoiser.load(model, self.device) if model else Redenoiser(self.config, self.device)
        )
        if denoiser.config.network.kind != "adarenet":
            if targets.mask is not None:
                raise ConfigError("only the adarenet has a fusion mask: omit --mask")
            if targets.has_branches:
                raise ConfigError("only the adarenet has two branches: omit --branches")
        return denoiser

    def _tell_model(self, denoiser: Redenoiser, asked: Interruption) -> None:
        """Say what is averaged with a loaded model; refuse it where workers cannot do that."""
        plan = denoiser.session.plan
        if plan is None:
            return
        if should_recorrupt(plan.config):
            asked.say(plan.noise_sentence())
        if self.cluster is not None:
            refuse_draws(plan.config)

    def _unfinished(self, denoiser: Redenoiser) -> UnfinishedRun | None:
        return unfinished_run(
            denoiser,
            self.targets,
            (self.image, self.target, self.region, self.model),
            self.axes,
            self.series,
            self.stop_after,
            by_workers=self.cluster is not None,
        )

    def _give_to_workers(self, delivery: Delivery, cluster: Cluster, run: UnfinishedRun) -> None:
        place = self.image, self.axes, self.series
        delivery.by_workers = lambda streams: predict_by_workers(
            delivery.denoiser,
            cluster,
            delivery.source,
            place,
            run,
            streams,
            self.device,
            delivery.asked,
        )

    def _train(self, denoiser: Redenoiser, source: ImageFile, asked: Interruption) -> None:
        target = _read(self.target, source.axes, asked)
        region = _read(self.region, None, asked)
        plan = _plan(denoiser, source, target, region, asked)
        if plan is not None:
            asked.emit("plan", plan=plan.as_json())
            if self.cluster is not None:
                refuse_draws(plan.config)
            for line in plan.sentences():
                asked.say(line)
        train_on(denoiser, source, target, region, plan, self.stop_after, asked)

    def command(self) -> list[str]:
        """Arguments of the command that makes the same files with a model."""
        targets = self.targets
        words = ["redenoise", "denoise", str(self.image), str(targets.output)]
        given = {
            "--axes": self.axes,
            "--series": self.series,
            "--mask": targets.mask,
            "--device": self.device,
        }
        for option, value in given.items():
            words += [] if value is None else [option, str(value)]
        words += ["--branches"] if targets.has_branches else []
        words += ["--as-source"] if targets.as_source else []
        return words + (["--overwrite"] if targets.overwrite else [])


def _read(path: Path | None, axes: str | None, asked: Interruption) -> ImageFile | None:
    return None if path is None else read_noted(path, axes, say=asked.say)


def _plan(
    denoiser: Redenoiser,
    source: ImageFile,
    target: ImageFile | None,
    region: ImageFile | None,
    asked: Interruption,
) -> TrainingPlan | None:
    """The plan of the run; None after an interruption."""
    try:
        return denoiser.plan(
            source.array,
            source.axes,
            target=None if target is None else target.array,
            mask=None if region is None else region.array != 0,
            should_stop=asked.is_set,
        )
    except Interrupted:
        return None
