"""Fine-tune a base through TRL's SFTTrainer: LoRA by config, loss on the answers alone, resumable after a kill.

The run folder holds `config.yaml`, `run.json` (weights and data it was begun with), `tensorboard/`, `checkpoint-N/`,
`trainer_state.json` with every logged figure, and at last `adapter/`. Each checkpoint is itself an adapter.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from peft.utils.other import TrainableTokensWrapper
from transformers import PrinterCallback, TrainerState
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from loopwright.errors import MissingDependency
from loopwright.finetune.data.cases import cases_of
from loopwright.finetune.runs.checkpoints import ended, last_checkpoint, tensorboard
from loopwright.finetune.sft.config import BaseModelConfig
from loopwright.finetune.sft.config import SftConfig as Config
from loopwright.finetune.sft.data import Rows, load_rows, varied_by
from loopwright.finetune.sft.emphasis import emphasis
from loopwright.finetune.sft.lora import lora_config
from loopwright.finetune.sft.order import LikeLengths
from loopwright.finetune.sft.record import (
    ADAPTER_FOLDER,
    RunRecord,
    claim,
    identify,
    refuse_other_inputs,
)
from loopwright.finetune.sft.start import start_of
from loopwright.finetune.sft.watch import Progress, Watch
from loopwright.models.local.loading import Base, load_base, out_of_memory
from loopwright.models.local.vocabulary import extend
from loopwright.models.visual_tokens import visual_ids
from loopwright.schema import Frozen


class SftResult(Frozen):
    """What a finished run leaves. `loss` is over the last steps that were logged together.

    Losses are means over answer tokens, nats; the validation's is a mean over batches of such means. `samples_per_s`
    is this process's, validation and checkpoints included, and None where nothing was left to do.
    """

    adapter: Path
    steps: int
    loss: float
    validation_loss: float | None
    samples_per_s: float | None
    peak_gpu_gib: float | None


def train(config: Config, out_dir: Path, on_progress: Progress = lambda _: None) -> SftResult:
    """Train in `out_dir`, going on where an earlier run of the same config stopped.

    Args:
        config: everything that the run depends on.
        out_dir: the run folder, made if need be.
        on_progress: called with a line now and then.

    Raises:
        BadInput: data, base or run folder are missing, wrong, or another run's.
        MissingDependency: the config asks for CUDA or bitsandbytes, and they are not there.
        OperatorError: out of memory, or the loss is no longer a number.
    """
    vary = varied_by(config.data.augment, config.seed) if config.data.augment else None
    rows = load_rows(config.data.train, config.model.image_size_px, vary)
    validation = load_rows(config.data.validation, config.model.image_size_px) if config.data.validation else None
    check_optimiser(config.optimiser.name)
    checkpoint = last_checkpoint(out_dir)
    begun = checkpoint is not None or (out_dir / ADAPTER_FOLDER).exists()  # else nothing is there to be spoilt
    if begun:
        config.refuse_other(out_dir)
    base = load_to_train(config.model)
    if not base.takes_images:
        rows, validation = rows.text_only(), validation and validation.text_only()
    identity = identify(config.model)
    start = start_of(config.start_from, identity)
    cases = _cases(config)
    record = RunRecord(
        base=identity,
        train_rows=len(rows.dataset),
        train_sha256=rows.sha256,
        validation_rows=len(validation.dataset) if validation else 0,
        validation_sha256=validation.sha256 if validation else None,
        start_sha256=start.sha256 if start else None,
        cases=start.cases(cases) if start else cases,
    )
    if begun:
        refuse_other_inputs(out_dir, record)
    claim(out_dir, config, record)
    watch = Watch(config, record, on_progress)
    if checkpoint and (end := ended(checkpoint)):
        return _result(config, watch, end, watch.recover(end, checkpoint, out_dir))
    trainer = build_trainer(config, base, rows, validation, out_dir)
    if start and not checkpoint:
        start.put_into(cast(PeftModel, trainer.model))
    trainer.add_callback(watch)
    trainer.add_callback(tensorboard(out_dir, checkpoint))
    if checkpoint:
        on_progress(f"resumed from {checkpoint.name}")
    with out_of_memory("Training", "Lower `batch` and raise `accumulate`, or set `gradient_checkpointing: true`."):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.save_state()
    cast(PeftModel, trainer.model).save_pretrained(str(out_dir / ADAPTER_FOLDER))
    watch.record(trainer.state).save(out_dir / ADAPTER_FOLDER)
    return _result(config, watch, trainer.state, out_dir / ADAPTER_FOLDER)


def build_trainer(config: Config, base: Base, rows: Rows, validation: Rows | None, out_dir: Path) -> SFTTrainer:
    """The trainer of a run: TRL's own, with everything that it would otherwise guess written out.

    Raises:
        BadInput: the base has no layers where `config.lora` wants adapters.
    """
    step = config.optimiser.batch * config.optimiser.accumulate
    trainer = _Trainer(
        LikeLengths(rows.lengths, step, config.seed),
        model=base.model,
        args=_arguments(config, base, out_dir, validate=validation is not None),
        train_dataset=rows.dataset,
        eval_dataset=validation.dataset if validation else None,
        processing_class=base.processor,
        peft_config=lora_config(config.lora, base.model, visual_ids(base.tokenizer)[: config.model.visual_tokens]),
    )
    head = cast(PeftModel, trainer.model).get_output_embeddings()
    if isinstance(head, TrainableTokensWrapper):
        cast(Any, head).bias = None  # TRL asks for it, and peft's wrapper hides that a head has none
    if config.emphasis:
        model = cast(PeftModel, trainer.model)
        model.register_forward_hook(emphasis(config.emphasis, base.tokenizer), with_kwargs=True)
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which is for results
    # Qwen2.5-VL and Gemma 3 deny that their loss takes a token count. TRL computes the loss itself; were it not told
    # the count, an accumulated step would average over batches instead of over answer tokens.
    trainer.model_accepts_loss_kwargs = True
    return trainer


def _arguments(config: Config, base: Base, out_dir: Path, *, validate: bool) -> SFTConfig:
    on_gpu = base.model.device.type == "cuda"
    optimiser = config.optimiser
    return SFTConfig(
        output_dir=str(out_dir),
        seed=config.seed,
        data_seed=config.seed,
        per_device_train_batch_size=optimiser.batch,
        per_device_eval_batch_size=optimiser.batch,
        gradient_accumulation_steps=optimiser.accumulate,
        num_train_epochs=optimiser.epochs,
        max_steps=optimiser.max_steps or -1,
        optim="adamw_8bit" if optimiser.name == "adamw_8bit" else "adamw_torch",
        learning_rate=optimiser.lr,
        lr_scheduler_type="cosine",
        warmup_steps=optimiser.warm_up,  # below 1 it is a share
        weight_decay=optimiser.weight_decay,
        max_grad_norm=optimiser.clip_norm,
        activation_checkpointing=optimiser.gradient_checkpointing,
        use_cpu=not on_gpu,
        bf16=on_gpu and base.model.dtype == torch.bfloat16,
        completion_only_loss=True,
        max_length=None,  # a cut prompt would lose part of its image
        remove_unused_columns=False,  # the columns are made row by row
        dataloader_num_workers=config.data.workers,
        dataloader_pin_memory=on_gpu,
        eval_strategy="steps" if validate else "no",
        eval_steps=config.validate_every,
        save_strategy="steps",
        save_steps=config.checkpoint_every,
        save_total_limit=config.keep_checkpoints,
        logging_steps=config.log_every,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
    )


class _Trainer(SFTTrainer):
    """TRL's trainer in our order. The card that it drafts at every checkpoint is left out: `export` writes ours."""

    def __init__(self, order: LikeLengths, **arguments: Any) -> None:
        self.order = order
        super().__init__(**arguments)

    def _get_train_sampler(self, train_dataset: Any = None) -> LikeLengths:
        # Its own `group_by_length` cannot see the lengths of rows that are made when they are wanted, and goes from
        # long to short again and again: the last rows before a checkpoint would always be of the shortest task.
        return self.order

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write nothing."""

    def _send_telemetry(self) -> None:
        """Progress nobody: TRL would report each run to the hub."""


def _result(config: Config, watch: Watch, state: TrainerState, adapter: Path) -> SftResult:
    """What a finished run leaves."""
    figures, optimiser = watch.record(state).figures, config.optimiser
    samples = (state.global_step - watch.first_step) * optimiser.batch * optimiser.accumulate
    return SftResult(
        adapter=adapter,
        steps=state.global_step,
        loss=figures["loss"],
        validation_loss=figures.get("eval_loss"),
        samples_per_s=samples / watch.took_s if samples else None,
        peak_gpu_gib=torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None,
    )


def load_to_train(model: BaseModelConfig) -> Base:
    """The base that a run trains on, with its visual tokens."""
    placement = model.model_dump(include={"device", "dtype", "quantisation"})
    return extend(load_base(model.base, folder=model.folder, **placement), model.visual_tokens)


def _cases(config: Config) -> tuple[str, ...]:
    files = (config.data.train, config.data.validation)
    return tuple(sorted({case for path in files if path for case in cases_of(path)}))


def check_optimiser(name: str) -> None:
    """Raise `MissingDependency` where this machine has not what the optimiser needs."""
    if name != "adamw_8bit":
        return
    if not torch.cuda.is_available() or find_spec("bitsandbytes") is None:
        raise MissingDependency(
            "`optimiser.name: adamw_8bit` needs an NVIDIA GPU, of which torch sees "
            f"{torch.cuda.device_count()}, and bitsandbytes: `pip install 'loopwright[gpu]'`. "
            "Set `optimiser.name: adamw` to do without."
        )
