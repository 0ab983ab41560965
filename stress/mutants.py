"""Break the code in listed ways, one at a time, and see that a named test notices: `make mutants`.

Each mutant is one textual change in a copy of the repository. It is caught when its test, which passes on the
unchanged copy, fails.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = ("lightning_modules", "datamodules", "experiments", "benchmarks", "tests", "stress")
COPIED = (*SOURCES, "pyproject.toml", "README.md", "MODULES.md")


@dataclass(frozen=True)
class Mutant:
    """One fault: in `file`, `old` becomes `new`, and `test` must fail."""

    name: str
    file: str
    old: str
    new: str
    test: str


LIGHTNING = "tests/lightning_modules"
DATA = "tests/datamodules"
CORE = "tests/core"
VANISHING = "tests/vanishing"

MUTANTS = [
    # Nothing silent, nothing destroyed
    Mutant(
        "the environment decides",
        "experiments/core/commands/environment_variables.py",
        "            del os.environ[name]\n",
        "            pass\n",
        f"{CORE}/test_inherited_environment.py::test_what_is_a_persons_to_say_is_kept",
    ),
    Mutant(
        "samples of one source that are not scaled",
        "datamodules/stack.py",
        "return (made - mean) / std",
        "return made",
        f"{CORE}/test_stack_memory.py::test_one_source_gives_the_batches_of_samples_that_are_held",
    ),
    Mutant(
        "links in an experiment followed",
        "experiments/core/grid/plan.py",
        "    run_directory.refuse_links(directory)\n",
        "",
        f"{CORE}/test_resume_security.py::test_an_experiment_follows_no_link_that_leads_out_of_it",
    ),
    Mutant(
        "the worst epoch of an accuracy kept",
        "experiments/core/training/config.py",
        '"mode": metric_modes()[metric]}',
        '"mode": "min"}',
        f"{CORE}/test_asked_and_done.py::test_a_missing_mode_is_filled_in",
    ),
    Mutant(
        "a dead fit kept in memory",
        "experiments/core/execution/workers.py",
        "        gc.collect()\n        trim",
        "        trim",
        f"{CORE}/test_workers.py::test_a_worker_lets_go_of_what_a_call_has_made",
    ),
    Mutant(
        "every arithmetic taken for the same",
        "experiments/core/files/environment.py",
        "digest.update(tensor.numpy().tobytes())",
        "pass",
        f"{CORE}/test_verification.py::test_the_fingerprint_of_the_arithmetic_is_another_where_a_function_rounds_otherwise[exp]",
    ),
    # Going on
    Mutant(
        "a run goes on with other random numbers",
        "experiments/core/training/resume.py",
        'torch.set_rng_state(self._restored["random"])',
        "pass",
        f"{CORE}/test_resume.py::test_a_run_that_is_cut_off_again_and_again[dropout and batch normalisation]",
    ),
    Mutant(
        "the masks of a stack go on with other random numbers",
        "experiments/core/training/resume.py",
        '"ends": self.model.finished, "streams": self.model.network.random_states}',
        '"ends": self.model.finished}',
        f"{CORE}/test_resume.py::test_a_stack_that_is_cut_off_again_and_again[dropout and batch normalisation]",
    ),
    Mutant(
        "rows written after the checkpoint stay",
        "experiments/core/training/resume.py",
        "                run.cut()\n",
        "                pass\n",
        f"{CORE}/test_resume.py::test_a_run_that_is_cut_off_again_and_again[plain]",
    ),
    Mutant(
        "a damaged checkpoint is used",
        "experiments/core/files/checkpoints.py",
        "hashlib.sha256(content).hexdigest().encode() != digest",
        "False",
        f"{CORE}/test_resume.py::test_a_damaged_checkpoint_is_named_and_the_one_before_it_used[one bit]",
    ),
    Mutant(
        "a killed worker costs its runs",
        "experiments/core/execution/workers.py",
        "call.attempts < ATTEMPTS",
        "call.attempts < 1",
        f"{CORE}/test_workers.py::test_a_call_is_made_again_if_its_worker_ends_and_never_if_it_raises",
    ),
    # Stacks
    Mutant(
        "losses averaged over the seeds of a stack",
        "lightning_modules/stack.py",
        "self.losses.sum()",
        "self.losses.mean()",
        f"{CORE}/test_stacking.py::test_a_stack_leaves_what_its_seeds_leave_alone[optimizer sgd]",
    ),
    Mutant(
        "the seeds of a stack clipped together",
        "lightning_modules/stack.py",
        "    before = gradient_norms(gradients, stacked=stacked)\n",
        "    before = gradient_norms(gradients, stacked=False).expand(len(gradients[0]))\n",
        f"{CORE}/test_stacking.py::test_a_stack_leaves_what_its_seeds_leave_alone[clipping by the trainer]",
    ),
    Mutant(
        "one stream of dropout masks for all seeds",
        "lightning_modules/stack.py",
        "torch.Generator().manual_seed(seed).get_state() for seed in seeds",
        "torch.Generator().manual_seed(seeds[0]).get_state() for seed in seeds",
        f"{CORE}/test_stacking.py::test_a_stack_leaves_what_its_seeds_leave_alone[dropout]",
    ),
    Mutant(
        "one order of the samples for all seeds",
        "datamodules/stack.py",
        "[order.rows(epoch) for order in self.orders]",
        "[self.orders[0].rows(epoch) for _ in self.orders]",
        f"{CORE}/test_stacking.py::test_a_stack_leaves_what_its_seeds_leave_alone[optimizer sgd]",
    ),
    Mutant(
        "a network of a stack that has ended learns on",
        "lightning_modules/stack.py",
        "            self.load_network_states(self.finished.states)\n",
        "            pass\n",
        f"{CORE}/test_stacking.py::test_seeds_that_stop_early_end_at_epochs_of_their_own",
    ),
    Mutant(
        "a diverged network is trained on",
        "experiments/core/callbacks/divergence.py",
        "stop(trainer, pl_module, self.first >= 0)",
        "pass",
        f"{CORE}/test_callbacks_divergence.py::test_the_first_bad_step_is_remembered_and_the_run_ends_with_its_epoch",
    ),
    Mutant(
        "a stack goes on for networks that have all ended",
        "lightning_modules/stack.py",
        "if len(self.finished_at) == len(self.plain):",
        "if False:",
        f"{CORE}/test_stacking.py::test_a_stack_ends_with_its_last_network",
    ),
    Mutant(
        "the numbers of one seed recorded for all",
        "experiments/core/callbacks/recorder.py",
        "for index, numbers in enumerate(values.tolist()):",
        "for index, numbers in enumerate([values[0].tolist()] * len(values)):",
        f"{CORE}/test_stacking.py::test_a_stack_leaves_what_its_seeds_leave_alone[weights]",
    ),
    Mutant(
        "the loggers of a seed get the numbers of the first",
        "experiments/core/callbacks/loggers.py",
        "zip(self.loggers, values.tolist(), strict=True)",
        "zip(self.loggers, [values[0].tolist()] * len(values), strict=True)",
        f"{CORE}/test_stacking.py::test_tensorboard_of_a_seed_holds_what_it_holds_alone",
    ),
    Mutant(
        "a look ahead uses up the dropout masks of a stack",
        "experiments/core/callbacks/evaluation.py",
        "module.network.random_states.preserved() if isinstance(module, Stack) else nullcontext()",
        "nullcontext()",
        f"{CORE}/test_stacking.py::test_a_stack_leaves_what_its_seeds_leave_alone[landscape]",
    ),
    Mutant(
        "the workers wait while an experiment is drawn",
        "experiments/core/commands/for_each.py",
        "            return finish_and_unlock\n",
        "            code = finish_and_unlock()\n            return lambda: code\n",
        f"{CORE}/test_run_all.py::test_all_are_submitted_before_the_first_is_shown",
    ),
    # Data
    Mutant(
        "unshuffled training",
        "datamodules/loader.py",
        "if not self.shuffle:",
        "if True:",
        f"{DATA}/test_tensor_loader.py::test_order_depends_on_seed_and_epoch_only",
    ),
    Mutant(
        "clipping left out where one seed's gradient is small",
        "lightning_modules/stack.py",
        "not all(norm + 1e-6 <= max_norm",
        "not any(norm + 1e-6 <= max_norm",
        f"{CORE}/test_stacking.py::test_a_seed_is_clipped_beside_one_that_is_not",
    ),
    Mutant(
        "clipping left out of a gradient just below the limit",
        "lightning_modules/stack.py",
        "norm + 1e-6 <= max_norm",
        "norm <= max_norm",
        f"{CORE}/test_stacking.py::test_clipping_that_is_left_out_would_have_changed_nothing",
    ),
    Mutant(
        "the best weights of a network take those of all",
        "experiments/core/callbacks/best_weights.py",
        "self.weights[name][rows] = value[rows]",
        "self.weights[name][:] = value",
        f"{CORE}/test_stacking.py::test_seeds_that_stop_early_end_at_epochs_of_their_own",
    ),
    Mutant(
        "the samples of a stack's first seed read for all",
        "datamodules/stack.py",
        ".unsqueeze(1) * len(parts[0])",
        ".unsqueeze(1) * 0",
        f"{DATA}/test_tensor_loader.py::test_a_stack_reads_what_each_loader_reads",
    ),
    Mutant(
        "the same order every epoch",
        "datamodules/loader.py",
        'f"order/{epoch}"',
        '"order"',
        f"{DATA}/test_data_module_base.py::test_trainer_sees_every_sample_once_an_epoch_in_another_order",
    ),
    Mutant(
        "test statistics leaked into the standardisation",
        "datamodules/base.py",
        "self._statistics(parts[0])",
        "self._statistics(parts[2])",
        f"{DATA}/test_data_module_base.py::test_validation_and_test_do_not_leak_into_the_statistics",
    ),
    Mutant(
        "validation drawn from the training samples",
        "datamodules/base.py",
        "val=order[: self.num_val]",
        "val=order[self.num_val : 2 * self.num_val]",
        f"{DATA}/test_digits_data.py::test_parts_never_overlap",
    ),
    Mutant(
        "all seeds share one test sample",
        "datamodules/base.py",
        "first = (self._seed % self.num_disjoint_tests) * self.num_test",
        "first = 0",
        f"{DATA}/test_fashion_mnist_data.py::test_ten_seeds_have_disjoint_test_samples_from_the_test_files",
    ),
    Mutant(
        "seed ignored by the split",
        "datamodules/base.py",
        "generator=generator(self._seed, purpose)",
        "generator=generator(0, purpose)",
        f"{DATA}/test_digits_data.py::test_another_seed_is_another_split",
    ),
    Mutant(
        "altered files accepted",
        "datamodules/files.py",
        "if found != sha256:",
        "if False:",
        f"{DATA}/test_idx_sources.py::test_altered_content_is_refused",
    ),
    Mutant(
        "noise on the labels of the test sample instead of the training split's",
        "datamodules/base.py",
        "self._targets = self._add_duplicates(self._add_label_noise(train_y))",
        "self._targets, self.test = self._add_duplicates(train_y), (self.test[0], self._add_label_noise(self.test[1]))",
        f"{DATA}/test_data_options.py::test_label_noise_leaves_inputs_and_other_parts_alone_and_differs_by_seed",
    ),
    Mutant(
        "the same augmentation every epoch",
        "datamodules/augmentation.py",
        'f"augmentation/{epoch}/{operation.name}"',
        'f"augmentation/{operation.name}"',
        f"{DATA}/test_augmentation.py::test_it_trains_under_a_trainer_with_another_draw_every_epoch",
    ),
    # Architectures
    Mutant(
        "delta of the cost without its 2",
        "lightning_modules/by_hand/costs.py",
        "return 2 * difference / difference.numel()",
        "return difference / difference.numel()",
        f"{LIGHTNING}/test_by_hand.py::test_delta_end_as_on_the_slides",
    ),
    Mutant(
        "weight gradient overwritten instead of added up",
        "lightning_modules/by_hand/linear.py",
        "accumulate(self.weight, delta.T @ z)",
        "self.weight.grad = delta.T @ z",
        f"{LIGHTNING}/test_by_hand.py::test_gradients_add_up",
    ),
    Mutant(
        "running statistics that ignore the mini-batch",
        "lightning_modules/by_hand/normalization.py",
        "self.running_mean += 0.1 * (mean[0] - self.running_mean)",
        "self.running_mean += 0.0 * (mean[0] - self.running_mean)",
        f"{LIGHTNING}/test_by_hand.py::test_a_module_is_torchs",
    ),
    Mutant(
        "perceptron that takes ties for correct",
        "lightning_modules/perceptron.py",
        '{"mistakes": torch.le, "correct": torch.lt}',
        '{"mistakes": torch.lt, "correct": torch.lt}',
        f"{LIGHTNING}/test_perceptron.py::test_update_for_update_as_scikit_learn",
    ),
    Mutant(
        "bound from the smallest sample",
        "lightning_modules/perceptron.py",
        "rows.norm(dim=1).max()",
        "rows.norm(dim=1).min()",
        f"{LIGHTNING}/test_perceptron.py::test_bound_in_closed_form",
    ),
    Mutant(
        "collapse that forgets the inner biases",
        "lightning_modules/linear.py",
        "bias = layer.weight @ bias + layer.bias",
        "bias = layer.bias",
        f"{LIGHTNING}/test_linear.py::test_a_stack_collapses",
    ),
    Mutant(
        "frozen network that goes on learning",
        "lightning_modules/penalties.py",
        "parameter.requires_grad",
        "True",
        f"{LIGHTNING}/test_input_optimization.py::test_l2_is_a_penalty_on_the_noise_alone",
    ),
    # Networks and their training
    Mutant(
        "seed ignored by the weights",
        "lightning_modules/layers/initialization.py",
        'f"{seed}/weights/{layer}"',
        'f"weights/{layer}"',
        f"{LIGHTNING}/test_initialization.py::test_layers_and_seeds_differ",
    ),
    Mutant(
        "weights depend on the order of construction",
        "lightning_modules/layers/initialization.py",
        '    return Generator().manual_seed(random.Random(f"{seed}/weights/{layer}").getrandbits(63))',
        "    return torch.default_generator",
        f"{LIGHTNING}/test_initialization.py::test_conditions_share_every_stream",
    ),
    Mutant(
        "schedule stepped once an epoch",
        "lightning_modules/base.py",
        '"interval": "step"',
        '"interval": "epoch"',
        f"{LIGHTNING}/test_optimization.py::test_rates_of_a_fit",
    ),
    Mutant(
        "schedule ends one step late",
        "lightning_modules/optimization.py",
        "T_max=total",
        "T_max=total + 1",
        f"{LIGHTNING}/test_optimization.py::test_schedules_of_torch",
    ),
    Mutant(
        "mean of batch means",
        "lightning_modules/metrics.py",
        "(losses.to(self.mean_value) * sizes).sum(-1)",
        "losses.to(self.mean_value).mean(-1) * sizes.sum()",
        f"{LIGHTNING}/test_lecture_module.py::test_means_are_exact_with_a_partial_last_batch",
    ),
    Mutant(
        "an epoch that begins with the samples of the last",
        "lightning_modules/base.py",
        "            self.stage_outputs[stage].clear()\n",
        "            pass\n",
        f"{LIGHTNING}/test_lecture_module.py::test_validation_and_test_means",
    ),
    Mutant(
        "metrics of a stack that are not reset between its networks",
        "lightning_modules/metrics.py",
        "    alone.reset()\n",
        "",
        f"{CORE}/test_stacking.py::test_a_stack_leaves_what_its_seeds_leave_alone[more metrics]",
    ),
    Mutant(
        "sizes that do not fit the data accepted",
        "lightning_modules/base.py",
        "if None not in (given, found) and given != found:",
        "if False:",
        f"{LIGHTNING}/test_sizes.py::test_a_contradiction_to_the_data_is_refused",
    ),
    Mutant(
        "penalty on the biases too",
        "lightning_modules/penalties.py",
        'if name.startswith("weight")',
        "if name",
        f"{LIGHTNING}/test_losses.py::test_only_weights_are_penalized",
    ),
    Mutant(
        "normalisation always before the activation",
        "lightning_modules/fully_connected.py",
        'self.normalize_first = options.normalization_position != "after"',
        "self.normalize_first = True",
        f"{LIGHTNING}/test_fully_connected_network.py::test_normalization_position",
    ),
    Mutant(
        "an argument the optimiser ignores is accepted",
        "lightning_modules/optimization.py",
        "if name not in spec.uses:",
        "if False:",
        f"{LIGHTNING}/test_optimization.py::test_bad_optimizer_arguments",
    ),
    # Statistics
    Mutant(
        "one-sided interval",
        "experiments/core/verdicts/statistics.py",
        "half = stats.t.isf((1 - confidence) / 2,",
        "half = stats.t.isf(1 - confidence,",
        f"{CORE}/test_statistics.py::test_student_interval_is_scipys",
    ),
    Mutant(
        "overlapping test samples taken for independent ones",
        "experiments/core/verdicts/statistics.py",
        "values.std(axis=-1, ddof=1) * np.sqrt((1 + n * overlap) / n)",
        "values.std(axis=-1, ddof=1) * np.sqrt(1 / n)",
        f"{CORE}/test_statistics.py::test_nadeau_bengio_multiplies_the_variance",
    ),
    Mutant(
        "no correction for many claims",
        "experiments/core/verdicts/statistics.py",
        "steps = alpha / remaining",
        "steps = alpha * np.ones(m)",
        f"{CORE}/test_statistics.py::test_at_most_one_family_in_twenty_holds_a_false_verdict",
    ),
    Mutant(
        "diverged runs dropped",
        "experiments/core/verdicts/inference.py",
        "return np.where(diverged, claim.if_diverged, values)",
        "return values[~diverged]",
        f"{CORE}/test_verdicts.py::test_a_diverged_run_counts_as_declared",
    ),
    Mutant(
        "a proportion accepted that no outcome could confirm",
        "experiments/core/verdicts/verdicts.py",
        "if not st.confirmable(",
        "if False and not st.confirmable(",
        f"{CORE}/test_verdicts.py::test_a_proportion_whose_n_cannot_confirm_it_is_refused",
    ),
    Mutant(
        "any number of seeds is official",
        "experiments/core/verdicts/verdicts.py",
        "(n == claim.n or not counted)",
        "True",
        f"{CORE}/test_verdicts.py::test_only_the_frozen_n_is_official",
    ),
    # Instruments
    Mutant(
        "delta of the mean loss instead of one sample's",
        "experiments/core/callbacks/instrument.py",
        "delta * (delta.shape[1] * batches)",
        "delta * batches",
        f"{CORE}/test_callbacks_gradient_flow.py::test_the_size_of_the_batch_does_not_matter",
    ),
    Mutant(
        "delta of z instead of a",
        "experiments/core/callbacks/instrument.py",
        "module.register_forward_pre_hook(hook_for(name, index))",
        "module.register_forward_hook(lambda m, i, o, n=name, k=index: see(n, k, o))",
        f"{CORE}/test_callbacks_gradient_flow.py::test_delta_follows_the_back_propagation_formula",
    ),
    Mutant(
        "layers numbered from the output",
        "experiments/core/callbacks/instrument.py",
        "enumerate(found, start=1)",
        "enumerate(reversed(found), start=1)",
        f"{CORE}/test_callbacks_gradient_flow.py::test_gradients_are_those_of_autograd_by_hand",
    ),
    Mutant(
        "squares of vanished gradients underflow",
        "experiments/core/callbacks/gradient_flow.py",
        "values.double().square()",
        "values.square()",
        f"{CORE}/test_callbacks_gradient_flow.py::test_vanished_gradients_do_not_underflow",
    ),
    Mutant(
        "every step slowed by hooks",
        "experiments/core/callbacks/instrument.py",
        "if self.is_due(trainer) and ends_step(trainer, batch_idx):",
        "if True:",
        f"{CORE}/test_callbacks_gradient_flow.py::test_hooks_exist_on_recorded_steps_only",
    ),
    Mutant(
        "a unit dead in one batch counts as dead",
        "experiments/core/callbacks/activation_statistics.py",
        "super().__init__(torch.logical_or)",
        "super().__init__()",
        f"{CORE}/test_callbacks_activations.py::test_a_unit_active_in_one_batch_of_many_lives",
    ),
    Mutant(
        "clipping after the step",
        "experiments/core/callbacks/gradient_clipping.py",
        "def on_before_optimizer_step(",
        "def on_before_zero_grad(",
        f"{CORE}/test_callbacks_clipping.py::test_bit_equal_to_the_trainers_clipping",
    ),
    Mutant(
        "divergence remembered at its last step",
        "experiments/core/callbacks/divergence.py",
        "torch.where(self.first < 0, this_step, self.first)",
        "this_step",
        f"{CORE}/test_callbacks_divergence.py::test_the_first_bad_step_is_remembered_and_the_run_ends_with_its_epoch",
    ),
    Mutant(
        "a diverged run is ok",
        "experiments/core/callbacks/recorder.py",
        "                return callback.diverged_at(index)\n",
        "                return None\n",
        f"{CORE}/test_callbacks_divergence.py::test_a_huge_learning_rate_is_a_result_with_exit_code_0",
    ),
    Mutant(
        "numbers that the module logs stand twice in the rows",
        "experiments/core/callbacks/recorder.py",
        'if "epoch" not in metrics and step is not None:',
        "if step is not None:",
        f"{CORE}/test_cli.py::test_every_number_stands_once_in_metrics_and_last_in_the_result",
    ),
    Mutant(
        "more noise is other noise",
        "experiments/core/callbacks/further_tests.py",
        'f"robustness/noise/{index}"',
        'f"robustness/noise/{sigma}"',
        f"{CORE}/test_callbacks_further_tests.py::test_noise_of_the_seed_is_added_to_the_inputs",
    ),
    Mutant(
        "the units that are kept are removed",
        "experiments/core/callbacks/further_tests.py",
        "kept = place >= round",
        "kept = place < round",
        f"{CORE}/test_callbacks_further_tests.py::test_a_larger_share_contains_the_smaller_and_networks_of_a_seed_lose_the_same",
    ),
    # Runs, and what is read off them
    Mutant(
        "last weights tested instead of the best",
        "experiments/core/training/stacking.py",
        "recorder.tested = set(best.load(model, sound))",
        "recorder.tested = {k for k, is_sound in sound.items() if is_sound}",
        f"{CORE}/test_cli.py::test_the_best_weights_are_tested_and_not_the_last",
    ),
    Mutant(
        "the worst weights kept for the best",
        "experiments/core/callbacks/best_weights.py",
        "values = SIGNS[self.mode] *",
        "values = -SIGNS[self.mode] *",
        f"{CORE}/test_cli.py::test_the_epoch_with_the_smallest_loss_is_kept",
    ),
    Mutant(
        "the seed of an earlier run of the process",
        "experiments/core/training/fit.py",
        '{**config, "seed_everything": seed, "trainer": trainer}',
        '{**config, "trainer": trainer}',
        f"{CORE}/test_stacking.py::test_a_stack_leaves_what_its_seeds_leave_alone[activation relu]",
    ),
    Mutant(
        "a checkpoint of another network accepted",
        "experiments/core/training/cli.py",
        "if stored.get(name) != value:",
        "if False:",
        f"{CORE}/test_cli.py::test_a_checkpoint_of_another_network_is_refused",
    ),
    Mutant(
        "a config names a function",
        "experiments/core/training/parsing.py",
        "for function in _functions(self.config):",
        "for function in ():",
        f"{CORE}/test_allow_import.py::test_no_function_is_named_whoever_wrote_it",
    ),
    Mutant(
        "a file called like a class is opened",
        "experiments/core/training/parsing.py",
        '**{**kwargs, "sub_configs": False}',
        "**kwargs",
        f"{CORE}/test_allow_import.py::test_a_file_called_like_a_class_is_not_opened",
    ),
    Mutant(
        "a key given twice accepted",
        "experiments/core/files/yaml.py",
        "if key in seen:",
        "if False:",
        f"{CORE}/test_bad_input.py::test_yaml_with_one_mistake",
    ),
    Mutant(
        "results of another config kept",
        "experiments/core/execution/tasks.py",
        'same = result.get("config_hash") == self.config_hash and',
        "same = True and",
        f"{CORE}/test_run.py::test_runs_of_another_config_are_run_again_and_it_says_so",
    ),
    Mutant(
        "outdated runs are judged",
        "experiments/core/execution/planner.py",
        'if result["config_hash"] == task.config_hash:\n                runs.append(run_of',
        "if True:\n                runs.append(run_of",
        f"{CORE}/test_results.py::test_runs_of_another_config_are_outdated_and_judge_nothing",
    ),
    Mutant(
        "exit code 0 although a run failed",
        "experiments/core/commands/run.py",
        'return 1 if ended["failed"] else 0',
        "return 0",
        f"{CORE}/test_run.py::test_a_run_that_fails_stops_nothing_is_shown_and_is_tried_again",
    ),
    Mutant(
        "the worst learning rate chosen",
        "experiments/core/execution/tuning.py",
        "min(tried_values",
        "max(tried_values",
        f"{CORE}/test_plan.py::test_the_smallest_mean_validation_loss_is_chosen",
    ),
    Mutant(
        "a proportion on ten seeds",
        "experiments/core/grid/plan.py",
        "max(self.seeds, claim.n)",
        "self.seeds",
        f"{CORE}/test_plan.py::test_each_condition_has_the_seeds_its_claims_ask_for",
    ),
    Mutant(
        "differences between unpaired seeds",
        "experiments/core/verdicts/per_seed.py",
        "columns[0] - columns[1] if",
        "columns[0] - columns[1][::-1] if",
        f"{CORE}/test_results.py::test_a_difference_pairs_the_runs_of_each_seed",
    ),
    Mutant(
        "a step function integrated with a node on the step",
        "experiments/vanishing/theory.py",
        "+ _STEP / 2",
        "",
        f"{VANISHING}/test_vanishing_theory.py::test_means_of_the_functions_and_of_their_derivatives",
    ),
    Mutant(
        "theory without biases",
        "experiments/vanishing/theory.py",
        "lambda a: g(a) ** 2, variance) + var_b",
        "lambda a: g(a) ** 2, variance)",
        f"{VANISHING}/test_vanishing_theory.py::test_the_recursion_over_layers",
    ),
    Mutant(
        "decay with the wrong sign",
        "experiments/vanishing/measures.py",
        "return _decades(delta[0], delta[-1]) / (len(delta) - 1)",
        "return _decades(delta[-1], delta[0]) / (len(delta) - 1)",
        f"{VANISHING}/test_vanishing_measures.py::test_decades_per_layer_are_negative_where_the_gradient_vanishes",
    ),
    # Running
    Mutant(
        "workers that begin wherever their parent is",
        "experiments/core/execution/workers.py",
        "    os.chdir(directory)\n",
        "",
        f"{CORE}/test_workers.py::test_workers_begin_where_their_parent_was_when_it_asked_for_them",
    ),
    Mutant(
        "one batch that becomes all batches",
        "experiments/core/training/cli.py",
        "instantiate_trainer(**self.numbers, plugins",
        "instantiate_trainer(plugins",
        f"{CORE}/test_cli.py::test_the_trainer_is_given_one_batch_even_if_building_makes_it_all_batches",
    ),
    Mutant(
        "a batch that does not fit is found out in training",
        "experiments/core/training/cli.py",
        "self.model.validate_batch(self.datamodule.smallest_batch())",
        "pass",
        f"{CORE}/test_bad_input.py::test_options_of_fit",
    ),
]


def copy_repository(target: Path) -> None:
    """Copy what the tests need, without caches."""
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target / name)


def passes(directory: Path, test: str) -> bool:
    """Run one test in a copy of the repository."""
    # `-P` and the copy first on the path: the installed project must not be imported instead.
    environment = {**os.environ, "PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", test]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{test} could not be run:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


def is_caught(mutant: Mutant) -> bool:
    """Apply one mutant to a fresh copy and run its test."""
    with tempfile.TemporaryDirectory() as directory:
        copy_repository(Path(directory))
        path = Path(directory) / mutant.file
        text = path.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            raise RuntimeError(
                f"mutant '{mutant.name}': its text stands {text.count(mutant.old)} times in {mutant.file}"
            )
        path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        return not passes(Path(directory), mutant.test)


def main() -> int:
    """Run the mutants that the command line names, or all, and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="part of a mutant's name; all if none is given")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    chosen = [m for m in MUTANTS if not options.names or any(part in m.name for part in options.names)]
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(options.jobs) as pool:
        copy_repository(Path(directory))
        tests = sorted({mutant.test for mutant in chosen})
        sound = dict(zip(tests, pool.map(lambda test: passes(Path(directory), test), tests), strict=True))
        survived = 0
        for mutant, caught in zip(chosen, pool.map(is_caught, chosen), strict=True):
            word = "caught" if caught and sound[mutant.test] else "SURVIVED" if sound[mutant.test] else "TEST BROKEN"
            survived += word != "caught"
            print(f"{word:12} {mutant.name:55} {mutant.test}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} mutants caught")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
