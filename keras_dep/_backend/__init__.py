"""Functions that `keras.ops` cannot express or computes slowly: one interface, three frameworks.

Each framework's module defines all of the following, or imports them from `generic`, which writes
them with `keras.ops`. Functions on curvature and maps have files of their own, as have torch's
derivatives and layers.

- `gradient_and_outputs(model, objective, ask)`: a function `(x, y, *extra) -> (gradient, outputs,
  memory)` of `ask(x, *extra) -> (answers, outputs, memory)`, which calls the model in inference
  mode; the gradient is that of the summed `objective(y, answers)` in the input. Weights do not
  change. `extra` is empty, or numbers and the memory: nested lists of tensors `(T, batch, ...)`.
  They are arguments of the compiled function: new values do not recompile it;
- `stateless_outputs(model, values, x)`: the model's outputs in inference mode, and the list of
  losses that its layers add, with the variables' values replaced by the given ones; `values` holds
  pairs of a Keras variable and a tensor;
- `unchanged(model)`: a context within which a model reads its current variables, and its
  assignments to them are discarded;
- `differentiable_gradient(model, value, x)`: the gradient of the scalar `value(x)` in a tensor,
  within a training pass that differentiates it in the model's weights; the model is `unchanged`;
- `loss_gradient(value)`: a function `(weights, *data) -> gradient` of the scalar
  `value(weights, *data)` in a list of tensors, flattened in order;
- `hessian_product(value)`: a function `(weights, *data) -> product`, where `product(vector)` is the
  Hessian of that scalar in those tensors times a flat vector; raises a `ValueError` that names an
  operation without second derivative;
- `gauss_newton_product(answer, value)`: the same for `J^T H J`, with `J` the Jacobian of the tensor
  `answer(weights, *data)` in the weights and `H` the Hessian of the scalar `value(answer, *data)`
  in the answer;
- `compiled(function)`: the function of tensors, compiled once per shape, even if the caller runs
  eagerly; returned uncompiled where the framework runs eagerly at full speed;
- `programs_kept()`: a context within which a program that was compiled before, for another model of
  this process, is not compiled again;
- `product(one, other, transpose_one=False, transpose_other=False)`: inside such a function, the
  matrix products of two stacks, each transposed first if asked, in the full precision of their
  type even on a GPU; `other` may also be one matrix for the whole stack;
- `subtract_rank_one(matrix, left, right)`: a matrix minus a column times a row, in one pass;
- `leading_eigenvectors(program, closeness)`: the function `program(matrices)` of small positive
  semi-definite matrices `(k, n, n)`, or an eigendecomposition in its place: unit vectors
  `(k, n, 1)` of their largest eigenvalues, and whether a second eigenvalue lies within the share
  `closeness` of it, `(k,)`;
- `with_derivative(program, forward, backward)`: the function `program(*tensors)`. A framework that
  runs each operation by itself computes it as `forward(*tensors) -> (outputs, kept)`, with `kept` a
  tuple of tensors, and its first derivative as `backward(gradient, kept, *tensors) -> gradients`;
  each becomes one kernel if that is faster on a GPU. The first tensor is `(T, ...)`, and the
  function must be independent along the axes after `T`: a single tensor may arrive as `(T, n)`.
  Higher derivatives are those of the program;
- `marked(values, x)`: `values`, NaN where `x` is not finite, without derivative in `x`;
- `fires(potential, threshold)`: 1 where a potential reaches the threshold, 0 where it does not, NaN
  where it is not finite, of the potential's type and without derivative;
- `over_steps(step, start, inputs)`: the outputs `(T, ...)` of `step(carry, x) -> (carry, output)`
  for each `x` of the inputs `(T, ...)` in turn; a loop if unrolled steps would compile or run more
  slowly. It is differentiable as often as the step;
- `convolve(inputs, kernel, bias, strides, padding, dilation_rate, data_format)`: `keras.ops.conv`
  along two spatial axes, plus the bias or `None`;
- `average_pool(inputs, pool_size, strides, padding, data_format)`: `keras.ops.average_pool` along
  two spatial axes;
- `batch_normalizer(program)`: the function `program(steps, gamma, beta, axis, epsilon)` of tensors
  `(T, batch, ...)`, which normalises each step by its own statistics and returns the outputs and
  the means and variances `(T, channels)`, or the framework's kernel for it; parameters and
  statistics are in float32 at least, also if the steps are in half precision;
- `double_precision()`: a context within which Keras keeps float64 as the type of a result;
- `orthogonalize(vector, basis)`: a flat vector minus its projection on each of some unit vectors,
  in turn; `combination(weights, basis)`: their sum weighted by Python numbers. Neither modifies its
  arguments or waits for the device;
- `normalize(inputs, mean, variance, gamma, beta, axis, epsilon)`: normalises by given statistics of
  the same types;
- `branches_freely(tensor)`: whether a branch on a value computed from `tensor` does not wait for
  its device;
- `readable(tensor)`: whether reading its values is possible and does not wait: the tensor belongs
  to no program that is being compiled, and to no GPU whose work would be awaited;
- `half_is_slow()`: whether this device computes in half precision many times more slowly than in
  float32;
- `conditional_assign(condition, first, second, variables)`: runs one of two functions without
  results, which assign to some of `variables`; raises a `ValueError` under a strategy whose
  replicas cannot;
- `module_role(module, variable)`: the role that a variable of a `keras.layers.TorchModuleWrapper`
  has in its torch module: `(what, outputs, layout)`, as in `keras_dep.optimizers.roles.Role`;
- `buffers(model)`: arrays that a model saves beside Keras' variables, those of torch modules in it;
- `on_reduced(transform, gradients)`: `transform` of the gradients reduced over all replicas, in the
  share per replica that a Keras optimizer reduces by itself;
- `share_of_replica(loss)`: turns the mean over a replica's part of the batch into its share of the
  mean over the whole batch, scaled as Keras' losses are;
- `workers()`: the `Workers` of this run;
- `use_workers(joined)`: sets them;
- `alone(models=())`: a context in which this process works by itself, with models made before;
- `ENGINES`: functions that join the workers, by the name of the engine;
- `reduced_already()`: a context within which `on_reduced` passes gradients on as they are;
- `predict_on_batch(model, images)`: that method, with one answer for each image; by itself each
  replica of a strategy of TensorFlow answers for all. Devices of one process divide the images;
- `outermost_call()`: the layer or model whose call encloses this one, or `None`;
- `TrainingPass`: the loss of a pass in training mode, its gradients in the weights, the outputs,
  and new values of other variables by their place in `updated(model)`;
- `updated(model)`: the variables of a model that such a pass may update;
- `TransformedStep`: a `keras.Model` whose train step passes each batch through
  `transform_batch(x, y, gradient)` first, inside the compiled step; `gradient(both, x, y, extra,
  replaced)` gives there what a function `both` of `gradient_and_outputs` gives of `(x, y, *extra)`.
  Meanwhile the variables of the pairs `replaced(read)` hold other values, where `read(variable)` is
  its own. Then the step passes `x` through two more. In `update_ahead(x, y, sample_weight, update,
  read)` each `update(x, y, sample_weight)` of a dictionary `x` is a step of its own, metrics left
  out, and gives the outputs and the gradient of the loss in `x["image"]`. In `choose_gradient(x, y,
  sample_weight, training_pass)` each `training_pass(x, y, sample_weight, offsets=None,
  of_image=False)` gives a `TrainingPass` at the weights plus the offsets, and changes no variable.
  Every such pass of a step draws the same random numbers.
"""

import keras

from keras_dep._backend import generic
from keras_dep._backend import workers as _workers

_name = keras.backend.backend()
if _name == "torch":
    from keras_dep._backend import torch as _framework
elif _name == "tensorflow":
    from keras_dep._backend import tensorflow as _framework  # type: ignore[no-redef]
elif _name == "jax":
    from keras_dep._backend import jax as _framework  # type: ignore[no-redef]
else:
    raise ImportError(
        f"keras_dep needs torch, tensorflow or jax as Keras' backend; received {_name!r}; set "
        "KERAS_BACKEND to one of the three."
    )

gradient_and_outputs = _framework.gradient_and_outputs
stateless_outputs = _framework.stateless_outputs
unchanged = generic.unchanged
differentiable_gradient = _framework.differentiable_gradient
loss_gradient = _framework.loss_gradient
hessian_product = _framework.hessian_product
gauss_newton_product = _framework.gauss_newton_product
compiled = _framework.compiled
programs_kept = _framework.programs_kept
product = _framework.product
subtract_rank_one = _framework.subtract_rank_one
leading_eigenvectors = _framework.leading_eigenvectors
with_derivative = _framework.with_derivative
marked = _framework.marked
fires = _framework.fires
over_steps = _framework.over_steps
convolve = _framework.convolve
average_pool = _framework.average_pool
batch_normalizer = _framework.batch_normalizer
double_precision = _framework.double_precision
orthogonalize = _framework.orthogonalize
combination = _framework.combination
normalize = _framework.normalize
branches_freely = _framework.branches_freely
half_is_slow = _framework.half_is_slow
readable = _framework.readable
conditional_assign = _framework.conditional_assign
predict_on_batch = _framework.predict_on_batch
module_role = _framework.module_role
buffers = _framework.buffers
on_reduced = _framework.on_reduced
share_of_replica = _framework.share_of_replica
reduced_already = _workers.reduced_already
ENGINES = _framework.ENGINES
alone = _workers.alone
use_workers = _workers.use_workers
workers = _workers.workers
outermost_call = _framework.outermost_call
TransformedStep = _framework.TransformedStep
TrainingPass = generic.TrainingPass
updated = generic.updated
