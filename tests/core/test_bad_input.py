"""Every mistake a person can make: one line that names the nearest valid thing, exit code 2, nothing written."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from datamodules import sources
from datamodules.images import FashionMNIST
from experiments.core.definitions import Axes, Claim, Experiment, Tuning, axes
from experiments.core.grid import catalogue
from experiments.core.training.classes import defaults_of
from lightning_modules import FullyConnected

SILENT = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")


@pytest.fixture
def edited(here, base_yaml):
    """base.yaml with one text replaced by another, in the current directory."""

    def write(old: str, new: str) -> Path:
        text = base_yaml.read_text()
        assert text.count(old) == 1
        (here / "edited.yaml").write_text(text.replace(old, new))
        return Path("edited.yaml")

    return write


CHECKPOINT = "--trainer.callbacks+={class_path: ModelCheckpoint, init_args:"
STOPPING = CHECKPOINT.replace("ModelCheckpoint", "EarlyStopping")
FIT_OPTIONS = {
    # Names
    "--model.dpth=3": "unknown key 'model.dpth' of FullyConnected; did you mean 'depth'?",
    "--model.init_args.dpth=3": "unknown key 'model.dpth' of FullyConnected; did you mean 'depth'?",
    "--modl.depth=3": "unknown option '--modl.depth'; did you mean 'model'?",
    "--trainer.max_epoch=3": "unknown key 'trainer.max_epoch'; did you mean 'max_epochs'?",
    "--traner.max_epochs=3": "unknown option '--traner.max_epochs'; did you mean 'trainer.max_epochs'?",
    "--conf=a.yaml": "unknown option '--conf'; did you mean 'config'?",
    "--model.depth.foo=3": "unknown option '--model.depth.foo'; a class argument is model.NAME",
    "--model.activation=sigmoidd": "unknown activation 'sigmoidd': did you mean 'sigmoid'?",
    "--model.normalization=bach": "unknown normalization 'bach': did you mean 'batch'?",
    "--model.initialization=xaver": "unknown initialization 'xaver': did you mean 'xavier'?",
    "--model.optimizer=sdg": "unknown optimizer 'sdg': did you mean 'sgd'?",
    "--model=FullyConected": "unknown model 'FullyConected'; did you mean 'FullyConnected'?",
    "--data=Digit": "unknown data set 'Digit'; did you mean 'Digits'?",
    "--data.class_path=FashonMNIST": "unknown data set 'FashonMNIST'; did you mean 'FashionMNIST'?",
    "--trainer.callbacks+=GradientFlo": "unknown callback 'GradientFlo'; did you mean 'GradientFlow'?",
    "--trainer.logger=TensorBordLogger": "unknown logger 'TensorBordLogger'; did you mean 'TensorBoardLogger'?",
    "--trainer.accelerator=gpuu": "You selected an invalid accelerator name",
    "--model.help=FullyConected": "unknown model 'FullyConected'; did you mean 'FullyConnected'?",
    # What Lightning's CLI would add, and silently replace what the model says
    "--optimizer=SGD": "unknown option '--optimizer'",
    "--lr_scheduler=OneCycleLR": "unknown option '--lr_scheduler'",
    # Classes from elsewhere
    "--model=sklearn.svm.SVC": "class path 'sklearn.svm.SVC' is neither this project's nor Lightning's",
    "--trainer.profiler=evil.Profiler": "class path 'evil.Profiler' is neither this project's nor Lightning's",
    "--trainer.strategy.class_path=evil.Strategy": "class path 'evil.Strategy' is neither this project's nor",
    "--trainer.logger.init_args.x.class_path=evil.Logger": "class path 'evil.Logger' is neither this project's nor",
    "--trainer.profiler.help=evil.Profiler": "class path 'evil.Profiler' is neither this project's nor Lightning's",
    "--model=os.system": "class path 'os.system' is neither this project's nor Lightning's",
    "--model=torch.nn.Linear": "class path 'torch.nn.Linear' is neither this project's nor Lightning's",
    "--model=lightning_modules.FullyConected": "does not exist; did you mean 'FullyConnected'?",
    # Types
    "--model.depth=abc": "model.depth: expected int; it is abc",
    "--model.depth=1.5": "model.depth: expected int; it is 1.5",
    "--model.lr=abc": "model.lr: expected float; it is abc",
    "--model.lr=nan": "model.lr: expected float; it is nan",
    "--model.residual=maybe": "model.residual: expected bool; it is maybe",
    "--model.hidden=[1,2": "model.hidden: expected list",
    "--trainer.max_epochs=abc": "trainer.max_epochs: expected int; it is abc",
    "--trainer.precision=foo": "trainer.precision: expected int or 'transformer-engine'",
    "--seed_everything=abc": "seed_everything must be a whole number >= 0, for example 1000; it is 'abc'",
    "--seed_everything=true": "seed_everything must be a whole number >= 0, for example 1000; it is True",
    # Ranges
    "--model.lr=0": "lr must be a finite number > 0, not 0.0",
    "--model.lr=-1e-3": "lr must be a finite number > 0, not -0.001",
    "--model.depth=0": "depth must be a whole number >= 1, not 0",
    "--model.depth=-2": "depth must be a whole number >= 1, not -2",
    "--model.width=0": "width must be a whole number >= 1, not 0",
    "--data.batch_size=1 --model.normalization=batch": "a training batch of 1 is not possible: ",
    "--data.batch_size=1199 --model.normalization=batch": "a training batch of 1 is not possible: ",
    "--model.loss=mse": "mse needs targets of the outputs' shape (2, 10) and type torch.float32, not (2,)",
    "--model.loss=bce": "bce needs targets of the outputs' shape (2, 10) and type torch.float32, not (2,)",
    "--data=Diabetes --data.batch_size=16": "cross_entropy needs at least 2 classes, not 1",
    "--data=MultiLabel --data.batch_size=16": "cross_entropy needs labels of shape (2,) and type torch.int64, not",
    "--data.num_train=9 --data.batch_size=9": "num_train must be",
    "--data.augmentation=[flop]": "unknown augmentation 'flop': did you mean 'flip'?",
    "--data.label_noise=1.5": "label_noise must lie in [0, 1], not 1.5",
    "--data.batch_size=0": "batch_size must be >= 1 or 'full', not 0",
    "--data.batch_size=-64": "batch_size must be >= 1 or 'full', not -64",
    "--data.num_train=9999": "num_train + num_val + num_test must be <= 1797",
    "--seed_everything=4294967296": "seed_everything must be at most 4294967295; it is 4294967296",
    "--seed_everything=-1": "seed_everything must be a whole number >= 0, for example 1000; it is -1",
    "--trainer.max_epochs=0": "trainer.max_epochs must be at least 1; it is 0",
    "--trainer.max_steps=0": "trainer.max_steps must be at least 1; it is 0",
    "--trainer.limit_train_batches=0": "trainer.limit_train_batches must be greater than 0; it is 0",
    "--trainer.accumulate_grad_batches=0": "trainer.accumulate_grad_batches must be at least 1; it is 0",
    "--trainer.gradient_clip_val=-1": "trainer.gradient_clip_val must be greater than 0; it is -1",
    "--trainer.accumulate_grad_batches=1000": "accumulate_grad_batches must be at most 19, the batches of an epoch",
    "--trainer.num_sanity_val_steps=-5": "trainer.num_sanity_val_steps must be at least -1; it is -5",
    "--trainer.val_check_interval=0": "trainer.val_check_interval must be greater than 0; it is 0",
    "--trainer.val_check_interval=99": "`val_check_interval` (99) must be less than or equal to the number of",
    "--trainer.min_steps=-5": "trainer.min_steps must be at least 1; it is -5",
    "--trainer.min_epochs=11": "trainer.min_epochs must be at most trainer.max_epochs, 10; it is 11",
    "--trainer.max_steps=3 --trainer.min_steps=4": "trainer.min_steps must be at most trainer.max_steps, 3; it is 4",
    "--trainer.check_val_every_n_epoch=11": "trainer.check_val_every_n_epoch must be at most 10, the epochs; it is 11",
    "--trainer.max_epochs=-1": "the training has no end: give trainer.max_epochs or trainer.max_steps",
    "--trainer.max_epochs=null": "the training has no end: give trainer.max_epochs or trainer.max_steps",
    "--trainer.max_epochs=-1 --trainer.max_time=00:00:00:09 --model.schedule=step": "step needs the number of steps",
    # Keys that would have no effect
    "--trainer.gradient_clip_algorithm=value": "has no effect without trainer.gradient_clip_val",
    "--trainer.callbacks+=GradientFlow": "trainer.callbacks holds GradientFlow twice: give it once",
    "--trainer.callbacks+=GradientClipping --trainer.callbacks.max_norm=1": "trainer.callbacks holds GradientClipping",
    "--trainer.sync_batchnorm=true": "trainer.sync_batchnorm must be false: data in memory feed one device; it is True",
    "--trainer.use_distributed_sampler=false": "trainer.use_distributed_sampler must be true",
    "--trainer.model_registry=x": "trainer.model_registry must be null: runs are kept in their directories; it is x",
    "--model.warmup=1e-4": "warmup=0.0001 has no effect: of 190 steps it is none",
    "--model.optimizer=adam": "adam does not use momentum; it uses lr, beta1, beta2, weight_decay",
    "--model.nesterov=true --model.momentum=0": "nesterov=True needs a momentum > 0, not 0",
    "--model.dropout_mask=batch": "dropout_mask=batch has no effect: dropout is 0",
    "--model.initialization=zero --model.gain=2": "gain=2.0 has no effect: initialization is zero",
    "--weights_only=true": "unknown option '--weights_only'",
    "--trainer.precision=16": "trainer.precision 16 is not available on this device, which would use bf16-mixed",
    # Names that something looks for in vain
    "--trainer.callbacks.monitor=val/los": "monitors 'val/los', which is not logged; did you mean 'val/loss'?",
    "--trainer.callbacks+={class_path: EarlyStopping, init_args: {monitor: val/acuracy}}": "mean 'val/accuracy'?",
    f"{CHECKPOINT} {{filename: '{{val/los:.2f}}'}}}}": "has no 'val/los'; did you mean 'val/loss'?",
    f"{CHECKPOINT} {{filename: '{{epoch'}}}}": "'{epoch' is no pattern: expected '}' before",
    # What another class was given, and this one would keep
    "--data=Iris": "data.batch_size=64 was given to another class, and Iris has it too: give it again",
    "--model=LinearModel": "model.optimizer=sgd was given to another class, and LinearModel has it too",
    "--model.class_path=Recurrent": "was given to another class, and Recurrent has it too: give it again",
    "--model=LinearModel --model.optimizer=sgd --model.lr=1 --model.momentum=0": "has no activation module",
    "--trainer.num_nodes=2": "trainer.num_nodes must be 1: data in memory feed one device; it is 2",
    "--trainer.devices=[0,1]": "trainer.devices must be 1: data in memory feed one device; it is [0, 1]",
    "--trainer.devices=2": "trainer.devices must be 1: data in memory feed one device; it is 2",
    "--trainer.gradient_clip_val=1": "GradientClipping and trainer.gradient_clip_val both clip the gradient",
    "--model.dropout=1": "dropout must be a finite number >= 0 and < 1, not 1.0",
    # Sizes that are not the data's
    "--model.num_classes=3": "num_classes=3 does not fit Digits, which has 10",
    "--model.init_args.num_features=3": "num_features=3 does not fit Digits, which has 64",
    "--model.seed=-3": "seed must be a whole number >= 0, not -3",
    "--data.seed=-3": "seed must be >= 0, not -3",
    "--data.num_classes=3": "unknown key 'data.num_classes' of Digits",
    # Shape of the command line
    "--model={class_path: FullyConnected}": "option --model sets no section as a whole: give --model.NAME=VALUE",
    "--trainer={max_epochs: 3}": "option --trainer sets no section as a whole: give --trainer.NAME=VALUE",
    "--trainer.max_epochs+=3": "option --trainer.max_epochs+ appends to a list, and max_epochs is 10",
    "--model.depth+=3": "option --model.depth+ appends to a list, and depth is 8",
    "--trainer.callbacks.max_norm=5": "unknown key 'trainer.callbacks[4].max_norm' of BestWeights",
    "--trainer.callbacks.dirpth=x": "'trainer.callbacks[4].dirpth' of BestWeights; did you mean 'dirpath'?",
    "--trainer.logger.max_queu=5": "'trainer.logger.max_queu' of TensorBoardLogger; did you mean 'max_queue'?",
    "--allow-imprt=x": "unknown option '--allow-imprt'; did you mean 'allow-import'?",
    "stray": "'stray' is not an option; options begin with --",
    "-x=1": "unknown option '-x'; options begin with --",
    "--model.depth": "option --model.depth has no value",
    "--threads=0": "--threads must be a whole number of at least 1; it is '0'",
    "--threads=-2": "--threads must be a whole number of at least 1; it is '-2'",
    "--threads=two": "--threads must be a whole number of at least 1; it is 'two'",
    "--threads=1.5": "--threads must be a whole number of at least 1; it is '1.5'",
    "--threads": "option --threads has no value",
    "--threads=2 --threads=3": "option --threads is given twice",
    "--ckpt_path=none.ckpt": "ckpt_path 'none.ckpt' does not exist",
    "--trainer.profiler=foo": "it can only be one of",
    # What is no value at all, or none that can be read
    "--model.depth=!!int abc": "model.depth: invalid literal for int() with base 10: 'abc'",
    "--model.depth=2026-13-45": "model.depth: expected int; it is 2026-13-45",
    "--model.depth=&a [*a]": "model.depth: expected int; it is [[...]]",
    "--model.depth=0x_": "model.depth: invalid literal for int() with base 16",
    "--model.depth=" + 5000 * "9": "model.depth: Exceeds the limit",
    "--model.depth="
    + 100_000 * "[": "model.init_args.depth: line 1: more than 40 mappings and lists within each other",
    "--model.hidden=['" + 100_000 * "[" + "']": "model.init_args.hidden.0: line 1: more than 40 mappings and lists",
    "--model.activation=\x1b[31mred": r"unknown activation '\x1b[31mred': valid: identity",
    "--trainer.callbacks=true": "trainer.callbacks must be a mapping of keys to values; it is True",
    "--trainer.default_root_dir=-1": "trainer.default_root_dir must be the path of a directory; it is -1",
    "--trainer.default_root_dir=[a]": "trainer.default_root_dir must be the path of a directory; it is ['a']",
    # What another package, or another machine, would have
    "--trainer.accelerator=tpu --allow-import=lightning": "Requirement 'torch_xla>=1.13' not met",
    "--trainer.accelerator=mps": "`MPSAccelerator` can not run on your system",
    "--trainer.logger=MLFlowLogger --allow-import=lightning.pytorch.loggers.MLFlowLogger": "Requirement 'mlflow>=1",
    # Two of one state, and a metric that never comes
    f"{CHECKPOINT} {{monitor: val/loss}}}} {CHECKPOINT} {{monitor: val/loss, filename: b}}}}": "`ModelCheckpoint`",
    f"{STOPPING} {{monitor: val/loss}}}} {STOPPING} {{monitor: val/loss}}}}": "`EarlyStopping`",
    f"--trainer.limit_val_batches=0 {STOPPING} {{monitor: val/loss}}}}": "EarlyStopping monitors val/loss, and",
}


@pytest.mark.parametrize("option", FIT_OPTIONS, ids=lambda option: option[:80])
def test_options_of_fit(refused, base_yaml, option):
    line = refused("fit", "--config", base_yaml, *SILENT, *re.split(r" (?=--)", option))
    assert FIT_OPTIONS[option] in line
    assert len(line) < 400


@pytest.mark.parametrize("command_name", ["validate", "test", "predict"])
def test_the_other_subcommands_pass_through_the_same_door(refused, base_yaml, command_name):
    assert "did you mean 'depth'?" in refused(command_name, "--config", base_yaml, "--model.dpth=3")


@pytest.mark.parametrize(
    "pair", [("--model.depth=3", "--model.depth=4"), ("--model.depth=3", "--model.init_args.depth=4")]
)
def test_an_option_given_twice(refused, base_yaml, pair):
    assert refused("fit", "--config", base_yaml, *pair).endswith("is given twice")


def test_an_option_before_a_file_that_would_override_it(refused, base_yaml):
    line = refused("fit", "--model.depth=3", "--config", base_yaml)
    assert line == f"option --model.depth stands before --config {base_yaml}, which would override it: put it after"


def test_what_an_overlay_would_keep_of_another_class(refused, here, base_yaml):
    (here / "data.yaml").write_text("data: {class_path: Iris}\n")
    assert "data.batch_size=64 was given to another class" in refused(
        "fit", f"--config={base_yaml}", "--config=data.yaml"
    )


def test_predictions_are_written(refused, base_yaml, trained):
    best = trained / "checkpoints" / "best.ckpt"
    words = ("--config", trained / "config.yaml", "--ckpt_path", best)
    assert "unknown option '--return_predictions'" in refused("predict", *words, "--return_predictions=false")
    assert "unknown option '--weights_only'" in refused("test", *words, "--weights_only=false")


STATISTICS = "{class_path: ActivationStatistics, init_args: {every_n_steps: 25}}"
LOGGER = "max_epochs: 10\n  logger: {{class_path: TensorBoardLogger, init_args: {{save_dir: ., {}}}}}"
YAML_EDITS = {
    ("depth: 8", "dpeth: 8"): "unknown key 'model.dpeth' of FullyConnected; did you mean 'depth'?",
    ("trainer:\n", "trainr:\n"): "config file 'edited.yaml': unknown key 'trainr'; did you mean 'trainer'?",
    ("max_epochs: 10", "max_epoch: 10"): "unknown key 'trainer.max_epoch'; did you mean 'max_epochs'?",
    ("init_args:\n    depth", "init_arg:\n    depth"): "unknown key 'model.init_arg'; did you mean 'init_args'?",
    ("max_norm: 10.0", "maxnorm: 10.0"): "unknown key 'trainer.callbacks[2].maxnorm' of GradientClipping",
    ("depth: 8", "depth: 8\n    depth: 9"): "config file 'edited.yaml', line 8: key 'depth' is given twice",
    ("depth: 8", "depth: eight"): "model.depth: expected int; it is eight",
    ("depth: 8", "depth: [8]"): "model.depth: expected int; it is [8]",
    ("depth: 8", "depth: 0"): "depth must be a whole number >= 1, not 0",
    ("depth: 8", "depth: 8\n    num_classes: 3"): "num_classes=3 does not fit Digits, which has 10",
    ("activation: sigmoid", "activation: sigmod"): "unknown activation 'sigmod': did you mean 'sigmoid'?",
    ("lr: 0.05", "lr: 0"): "lr must be a finite number > 0, not 0",
    ("batch_size: 64", "batch_size: 0"): "batch_size must be >= 1 or 'full', not 0",
    ("batch_size: 64", "batch_size: big"): "data.batch_size: expected int or 'full'; it is big",
    ("  init_args:\n    batch_size: 64\n", ""): "data: Digits needs batch_size",
    ("max_norm: 10.0", "max_norm: 0"): "max_norm must be greater than 0; it is 0",
    ("max_norm: 10.0", "max_norm: -1.0"): "max_norm must be greater than 0; it is -1",
    ("max_norm: 10.0", "max_norm: big"): "trainer.callbacks.max_norm: expected float; it is big",
    ("max_norm: 10.0, ", ""): "trainer.callbacks: GradientClipping needs max_norm",
    ("GradientFlow,", "GradientFlo,"): "unknown callback 'GradientFlo'; did you mean 'GradientFlow'?",
    ("class_path: Digits", "class_path: Digit"): "unknown data set 'Digit'; did you mean 'Digits'?",
    ("class_path: FullyConnected", "class_path: os.path.join"): "is neither this project's nor Lightning's",
    ("  class_path: FullyConnected\n", ""): "model needs a class_path; valid: Convolutional, FullyConnected",
    (
        "max_epochs: 10",
        "max_epochs: 10\n  plugins: [{class_path: evil.Plugin}]",
    ): "class path 'evil.Plugin' is neither this project's nor Lightning's",
    ("seed_everything: 1000", "seed_everything: 1000\nmax_epochs: 3"): "did you mean 'trainer.max_epochs'?",
    ("seed_everything: 1000", "seed_everything: 1000\nlr: 3"): "unknown key 'lr'; did you mean 'model.lr'?",
    ("seed_everything: 1000", "seed_everything: 1000\ncallbacks+: []"): "did you mean 'trainer.callbacks'?",
    ("max_epochs: 10", "max_epochs: 10\n  depth: 3"): "unknown key 'trainer.depth'; did you mean 'model.depth'?",
    ("max_epochs: 10", "max_epochs: 10\n  model: x"): "unknown key 'trainer.model'; 'model' stands at the top level",
    ("depth: 8", "depth: 8\n    max_epochs: 3"): "of FullyConnected; did you mean 'trainer.max_epochs'?",
    ("batch_size: 64", "batch_size: 64\n    lr: 3"): "unknown key 'data.lr' of Digits; did you mean 'model.lr'?",
    (
        "class_path: FullyConnected",
        "class_path: FullyConnected\n  lr: 3",
    ): "unknown key 'model.lr'; did you mean 'model.init_args.lr'?",
    (
        STATISTICS,
        "{class_path: ActivationStatistics, every_n_steps: 3}",
    ): "did you mean 'trainer.callbacks[1].init_args.every_n_steps'?",
    (STATISTICS, "{class_path: Divergence, init_args: {every_n_steps: 3}}"): "'trainer.callbacks[1].every_n_steps' of",
    (STATISTICS, "{class_path: Divergence, init_args: null}"): "init_args must be a mapping",
    (STATISTICS, "null"): "trainer.callbacks[1] needs a class_path; valid ones begin",
    ("max_epochs: 10", "max_epochs+: 10"): "'max_epochs+' appends to a list",
    ("depth: 8", "depth+: 8"): "'depth+' appends to a list",
    ("depth: 8", "depth+: [8]"): "model.depth: expected int; it is [8]",
    ("residual: false", "residual: null"): "model.residual: expected bool; it is null",
    ("activation: sigmoid", "activation: null"): "model.activation: expected str; it is null",
    ("class_path: Digits", "class_path: [Digits]"): "data.class_path must be the name of a class; it is ['Digits']",
    ("class_path: Digits", "class_path: null"): "data.class_path must be the name of a class; it is None",
    ("max_epochs: 10", LOGGER.format("max_queue: many")): "trainer.logger.max_queue: expected int; it is many",
    (
        "max_epochs: 10",
        LOGGER.format("max_queu: 1"),
    ): "unknown key 'trainer.logger.max_queu' of TensorBoardLogger; did you mean 'max_queue'?",
    (
        STATISTICS,
        "{class_path: EarlyStopping, init_args: {monitor: train/los}}",
    ): "which is not logged; did you mean 'train/loss'?",
    ("seed_everything: 1000\n", ""): "seed_everything must be a whole number >= 0, for example 1000; it is None",
    ("seed_everything: 1000", "seed_everything: true"): "seed_everything must be a whole number >= 0",
    ("max_epochs: 10", "max_epochs: 10\n  gradient_clip_val: 1.0"): "both clip the gradient: give one of them",
    ("seed_everything: 1000", "on: 1\nseed_everything: 1000"): "line 3: a key must be a word; put True in quotes",
    ("model:\n", "model: [\n"): "config file 'edited.yaml', line 6: not YAML: ",
}


@pytest.mark.parametrize("edit", YAML_EDITS, ids=lambda edit: " ".join(edit[1].split()) or f"no {edit[0].strip()}")
def test_yaml_with_one_mistake(refused, edited, edit):
    line = refused("fit", "--config", edited(*edit), *SILENT)
    assert YAML_EDITS[edit] in line
    assert len(line) < 400


NATURAL = ["Divergence", "[Divergence]", "{class_path: Divergence}", "[{class_path: Divergence}]", "null", "[]"]


@pytest.mark.parametrize("spelling", NATURAL)
def test_callbacks_as_they_are_naturally_spelt(command, here, base_yaml, spelling):
    text = base_yaml.read_text()
    (here / "mine.yaml").write_text(text[: text.index("  callbacks:")] + f"  callbacks: {spelling}\n")
    answer = command("fit", "--config", "mine.yaml", "--trainer.max_epochs=1", "--data.num_train=64", *SILENT)
    assert (answer.code, answer.err) == (0, "")


def test_a_stop_waits_for_a_metric_that_comes_every_second_epoch(command, base_yaml):
    words = (f"{STOPPING} {{monitor: val/loss}}}}", "--trainer.check_val_every_n_epoch=2", "--data.num_train=64")
    answer = command("fit", "--config", base_yaml, "--trainer.max_epochs=3", *words, *SILENT)
    assert (answer.code, answer.err) == (0, "")


def test_merge_keys_are_read_as_lightnings_users_write_them(command, here, base_yaml):
    text = base_yaml.read_text().replace("init_args: {every_n_steps: 25}}", "init_args: {<<: *often}}", 2)
    text = text.replace("{<<: *often}", "&often {every_n_steps: 25}", 1)
    (here / "mine.yaml").write_text(text)
    answer = command("fit", "--config", "mine.yaml", "--trainer.max_epochs=1", "--data.num_train=64", *SILENT)
    assert (answer.code, answer.err) == (0, "")
    assert (answer.directory / "config.yaml").read_text().count("every_n_steps: 25") == 3


FILES = {
    "": "config file 'bad.yaml' holds no mapping of keys to values",
    "just text": "config file 'bad.yaml' holds no mapping of keys to values",
    "- a\n- b\n": "config file 'bad.yaml' holds no mapping of keys to values",
    "a: [1": "config file 'bad.yaml', line 2: not YAML: ",
    "\x00": "config file 'bad.yaml', not YAML: ",
    "? [1]\n: 2\n": "config file 'bad.yaml', line 1: a key must be a word",
    "seed_everything: 1\nmodel: 3\ndata: Digits\n": "model must be a mapping of keys to values; it is 3",
    "seed_everything: 1\nmodel: FullyConnected\ndata: Digits\ntrainer: [1]\n": "trainer must be a mapping",
    "seed_everything: 1\nmodel: FullyConnected\n": "the config names no data; valid: CIFAR10, MNIST",
    "seed_everything: 1\ndata: Digits\n": "the config names no model; valid: Convolutional, FullyConnected",
    "seed_everything: 1\nmodel: {class_path: FullyConnected, init_args: 3}\n": "model.init_args must be a mapping",
}


@pytest.mark.parametrize("text", FILES, ids=repr)
def test_files_that_are_no_config(refused, here, text):
    (here / "bad.yaml").write_text(text)
    assert FILES[text] in refused("fit", "--config", "bad.yaml")
    # An option on top meets the same mistake.
    assert refused("fit", "--config", "bad.yaml", "--model.depth=3")


def test_a_file_of_bytes(refused, here):
    (here / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    assert "config file 'bad.yaml' cannot be read: 'utf-8'" in refused("fit", "--config", "bad.yaml")


def test_config_files_that_are_not_there(refused, here, base_yaml):
    assert refused("fit", "--config", "none.yaml") == "config file 'none.yaml' does not exist"
    near = base_yaml.with_name("smok.yaml")
    assert f"did you mean '{base_yaml.with_name('smoke.yaml')}'?" in refused(
        "fit", "--config", base_yaml, "--config", near
    )
    assert "is a directory" in refused("fit", "--config", here).lower()
    assert refused("fit", "--config") == "option --config has no value"
    assert refused("fit") == "nothing to do without a config: --config FILE"


@pytest.mark.parametrize("order", [("base", "overlay"), ("overlay", "base")])
def test_callbacks_that_are_appended_are_checked_too(refused, here, base_yaml, order):
    (here / "overlay.yaml").write_text("trainer: {callbacks+: [{class_path: GradientFlo}]}\n")
    files = {"base": base_yaml, "overlay": Path("overlay.yaml")}
    assert "GradientFlo" in refused("fit", *(f"--config={files[name]}" for name in order))


def test_data_that_are_absent_without_a_network(refused, base_yaml, monkeypatch):
    def no_network(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    absent = dataclasses.replace(sources.FASHION_MNIST, system=Path("/nonexistent"))
    monkeypatch.setattr(FashionMNIST, "source", absent)
    overlay = base_yaml.with_name("fashion_mnist.yaml")
    line = refused("fit", "--config", base_yaml, "--config", overlay, "--data.root=nowhere", *SILENT)
    assert "FashionMNIST is not in nowhere" in line
    assert "install Debian's package dataset-fashion-mnist" in line
    define(monkeypatch)  # two conditions instead of forty
    line = refused("run", "vanishing", "--scale=smoke", "--data=fashion_mnist", "--data.root=elsewhere")
    assert "FashionMNIST is not in elsewhere" in line


def test_runs_that_cannot_be_written(refused, here, base_yaml):
    (here / "runs").write_text("a file in its place")
    expected = f"results cannot be written to '{{}}': '{here / 'runs'}' is not a directory"
    assert refused("run", "vanishing", "--scale=smoke") == expected.format("runs/vanishing-smoke")
    assert expected.partition("'{}'")[2] in refused("fit", "--config", base_yaml, *SILENT)
    assert "is not a directory" in refused("fit", "--config", base_yaml, "--trainer.default_root_dir=runs/x", *SILENT)


COMMANDS = {
    "frobnicate": "unknown command 'frobnicate'; valid",
    "fitt --config x": "unknown command 'fitt'; did you mean 'fit'?",
    "--hlp": "unknown option '--hlp'; did you mean '--help'?",
    "list --foo": "unknown option '--foo'",
    "list vanishing": "unknown option 'vanishing'",
    "claims vanishin": "unknown experiment 'vanishin'; did you mean 'vanishing'?",
    "run": "the following arguments are required: experiment",
    "run vanishin": "unknown experiment 'vanishin'; did you mean 'vanishing'?",
    "report vanishin": "unknown experiment 'vanishin'; did you mean 'vanishing'?",
    "run core": "unknown experiment 'core'",
    "run vanishing --scale smoky": "unknown scale 'smoky'; did you mean 'smoke'?",
    "run vanishing --logger tensorbord": "unknown logger 'tensorbord'; did you mean 'tensorboard'?",
    "run vanishing --data digit": "unknown data set 'digit'; did you mean 'digits'?",
    "run vanishing --scal smoke": "unknown option '--scal'; did you mean '--scale'?",
    "run vanishing --seeds 0": "argument --seeds: must be a whole number of at least 1; it is 0",
    "run vanishing --seeds -3": "argument --seeds: must be a whole number of at least 1; it is -3",
    "run vanishing --seeds ten": "argument --seeds: must be a whole number of at least 1; it is 'ten'",
    "run vanishing --jobs 0": "argument --jobs: must be a whole number of at least 1; it is 0",
    "run vanishing --jobs 1.5": "argument --jobs: must be a whole number of at least 1; it is '1.5'",
    "run vanishing --seeds 2 --seeds 3": "option --seeds is given twice",
    "run vanishing --model.depth=2 --model.depth=3": "option --model.depth is given twice",
    "run vanishing stray": "unknown option 'stray'",
    "run vanishing --model.depth 3": "option --model.depth needs its value in the same word: --model.depth=VALUE",
    "run vanishing --seed_everything=3": "did you mean '--seeds'?",
    "run vanishing --config=x.yaml": "unknown option '--config=x.yaml'",
    "run vanishing --model.wdth=3": "unknown key 'model.wdth' of FullyConnected; did you mean 'width'?",
    "run vanishing --model.optimizer=sdg": "unknown optimizer 'sdg': did you mean 'sgd'?",
    "run vanishing --model.width=0": "width must be a whole number >= 1, not 0",
    "run vanishing --data.batch_size=0": "batch_size must be >= 1 or 'full', not 0",
    "run vanishing --model.width=abc": "model.width: expected int; it is abc",
    "run vanishing --model.num_classes=3": "num_classes=3 does not fit Digits, which has 10",
    "run vanishing --trainer.max_epochs=0": "trainer.max_epochs must be at least 1; it is 0",
    "run vanishing --model.depth=3": "'--model.depth=3' cannot hold for every run: the grid of 'vanishing' varies it",
}


@pytest.mark.parametrize("line", COMMANDS)
def test_commands(refused, line):
    assert COMMANDS[line] in refused(*line.split())


@pytest.mark.parametrize("line", ["report vanishing", "report vanishing --scale smoke"])
def test_a_report_of_nothing(refused, line):
    assert "holds no finished run; first: python -m experiments run vanishing" in refused(*line.split())


def test_a_reference_of_nothing(refused):
    message = refused("reference", "vanishing")
    assert "runs are missing or outdated; first: python -m experiments run vanishing" in message


@pytest.mark.parametrize(
    "line",
    [
        "",
        "-h",
        "--help",
        "run --help",
        "report --help",
        "list --help",
        "claims -h",
        "fit --help",
        "fit --config BASE --help",
        "fit --model.help FullyConnected",
        "fit --model.help=FullyConnected",
        "fit --data.help FashionMNIST",
        "fit --trainer.callbacks.help GradientFlow",
        "fit --print_config",
        "validate --help",
        "test -h",
        "predict --help",
    ],
)
def test_help_is_help(command, here, base_yaml, line):
    answer = command(*line.replace("BASE", str(base_yaml)).split())
    assert (answer.code, answer.err) == (0, "")
    assert len(answer.out) > 80
    assert "pytest" not in answer.out.splitlines()[0]
    assert not list(here.iterdir())


@pytest.mark.parametrize("words", [["--model.help", "TwoLayer"], ["--model.help=lightning_modules.TwoLayer"]])
def test_help_of_a_class_begins_with_what_it_is(command, words):
    out = command("fit", *words).out
    about, _, arguments = out.partition("usage: ")
    assert about.startswith("Two linear layers with an activation between them")
    assert 'Slide "DeuxCouches".' in about
    assert "Args:" not in about
    assert "--model.units UNITS" in arguments
    assert "Of the hidden layer, >= 1" in arguments
    assert "Learning rate, > 0" in arguments  # inherited


def test_help_of_a_class_shows_what_stands_under_each_field(command):
    _, *blocks = command("fit", "--model.help=FullyConnected").out.partition("Help for ")[2].split("\n  --model.")
    texts = {block.split()[0].rstrip(","): " ".join(block.split()) for block in blocks}
    assert texts.keys() == defaults_of(FullyConnected).keys()
    assert texts["lr"].startswith("lr LR Learning rate, > 0; with a schedule, its largest value. (type: float")
    for name, text in texts.items():
        assert len(text.partition("(type: ")[0].split()) > 5, name


# What only the author of an experiment can get wrong: shown before anything is run.


def claim(**fields) -> Claim:
    usual = {"id": "L1-x", "statement": "s", "statement_fr": "s", "slide": "s", "kind": "effect", "above": 0.1}
    return Claim(**{**usual, "measure": "left_plateau", "where": {"depth": 8}, **fields})


def define(monkeypatch, *claims: Claim, grid: list[Axes] | None = None, tuning: Tuning | None = None) -> None:
    """Put another definition in the place of the one in experiments/vanishing/experiment.py."""
    grid, data = grid or [axes(activation=["sigmoid", "relu"], depth=[1, 8])], ("digits", "fashion_mnist")
    written = Experiment(title="t", title_fr="t", grid=grid, claims=claims, figures=(), data=data, tuning=tuning)
    monkeypatch.setattr(catalogue.part("vanishing", "experiment"), "experiment", written)


AUTHORS = {
    "where names no condition": (
        lambda m: define(m, claim(where={"activation": "relu", "depth": 4})),
        "claim L1-x: no condition of 'vanishing' is 'activation=relu,depth=4'; nearest: ",
    ),
    "minus names no condition": (
        lambda m: define(m, claim(where={"depth": 8}, minus={"activation": "tanh"})),
        "claim L1-x: no condition of 'vanishing' is 'activation=tanh'; nearest: ",
    ),
    "conditions": (
        lambda m: define(m, claim(where=None, contrast="largest_deviation", conditions=[{"depth": 2}])),
        "claim L1-x: no condition of 'vanishing' is 'depth=2'; nearest: ",
    ),
    "contrast": (
        lambda m: define(m, claim(where=None, contrast="largest_deviatio", conditions=[{"depth": 1}])),
        "unknown contrast 'largest_deviatio'; did you mean 'largest_deviation'?",
    ),
    "check": (
        lambda m: define(m, claim(kind="exact", check="sigmoid_identity", above=None, tolerance=0.0)),
        "unknown check 'sigmoid_identity'; did you mean 'sigmoid_identities'?",
    ),
    "axis": (
        lambda m: define(m, grid=[axes(detph=[1, 2])]),
        "axis 'detph' is no argument of model, data or trainer; did you mean 'depth'?",
    ),
    "overlay": (lambda m: define(m, grid=[axes(config="initialisation")]), "did you mean"),
    "unsafe name": (
        lambda m: define(m, grid=[axes(activation="../relu")]),
        "condition 'activation=../relu' of 'vanishing' cannot be the name of a directory",
    ),
    "same name": (
        lambda m: define(m, grid=[axes(lr=[0.10000001, 0.10000002])]),
        "two conditions of 'vanishing' would share the directory 'lr=0.1'",
    ),
    "nothing tunes it": (
        lambda m: define(m, grid=[axes(momentum="tuned")]),
        "condition 'momentum=tuned' has momentum tuned, which the experiment's tuning does not do",
    ),
    "n that cannot confirm": (
        lambda m: define(m, claim(kind="proportion", above=0.5, n=3)),
        "experiments/vanishing/experiment.py: ",
    ),
}


@pytest.mark.parametrize("mistake", AUTHORS)
def test_definitions(refused, monkeypatch, mistake):
    define_it, expected = AUTHORS[mistake]
    define_it(monkeypatch)
    assert expected in refused("run", "vanishing", "--scale=smoke")
