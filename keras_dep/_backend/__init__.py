"""What Keras cannot express, one file per framework behind one interface.

Each framework's module has all of the following. It imports from `generic` what `keras.ops`
expresses well enough there; torch's functions on curvature and layers have files of their own:

- `gradient_and_outputs(model, objective, ask)`: a function `(x, y, *extra) -> (gradient, outputs,
  beside)` of `ask(x, *extra) -> (outputs, beside)`, which asks the model in inference mode; the
  gradient is that of the summed `objective(y, outputs)` in the input, weights untouched. Numbers
  and lists of tensors among `extra` are arguments of what is compiled, and never compiled again;
- `stateless_outputs(model, values, x)`: the model's outputs in inference mode, and the list of
  losses that its layers add, where variables have given values: pairs of a Keras variable and a
  tensor;
- `unchanged(model)`: a context within which variables of a model have their values, and what the
  model assigns to them is forgotten;
- `differentiable_gradient(model, value, x)`: the gradient of the scalar `value(x)` in a tensor,
  within a training pass that differentiates it in the model's weights; the model is `unchanged`;
- `loss_gradient(value)`: a function `(weights, *data) -> gradient` of the scalar
  `value(weights, *data)` in a list of tensors, flattened in order;
- `hessian_product(value)`: a function `(weights, *data) -> product`, where `product(vector)` is the
  Hessian of that scalar in those tensors times a flat vector; a `ValueError` that names the
  operation where one has no second derivative;
- `gauss_newton_product(answer, value)`: the same for `J^T H J`, with `J` the Jacobian of the tensor
  `answer(weights, *data)` in the weights and `H` the Hessian of the scalar `value(answer, *data)`
  in the answer;
- `compiled(function)`: the function of tensors, compiled once for each of their shapes, also where
  the caller runs eagerly; as it is where a framework runs eagerly at full speed;
- `product(one, other, transpose_one=False, transpose_other=False)`: inside such a function, the
  matrix products of two stacks, each transposed first if asked, in the full precision of their
  type, also where a GPU would round to fewer bits; `other` may also be one matrix for the stack;
- `subtract_rank_one(matrix, left, right)`: a matrix less a column times a row, in one pass;
- `leading_eigenvectors(program, closeness)`: the function `program(matrices)` of small positive
  semi-definite matrices `(k, n, n)`, or a decomposition in its place: unit vectors `(k, n, 1)` of
  their largest eigenvalues, and whether a second one is within the share `closeness` of it, `(k,)`;
- `with_derivative(program, forward, backward)`: the function `program(*tensors)`, run as
  `forward(*tensors) -> (outputs, kept)`, `kept` a tuple of tensors, with
  `backward(gradient, kept, *tensors) -> gradients` for its first derivative where the framework
  runs each operation by itself, as one kernel each where that takes a GPU less; the first of the
  tensors is `(T, ...)`, and what lies behind `T` is independent, so that alone it may come as
  `(T, n)`. Further derivatives are the program's own;
- `marked(values, x)`: `values`, NaN where `x` is not finite; nothing is derived in `x`;
- `fires(potential, threshold)`: 1 where a potential reaches the threshold, 0 where it does not, NaN
  where it is not finite, of the potential's type and without derivative;
- `over_steps(step, start, inputs)`: the outputs `(T, ...)` of `step(carry, x) -> (carry, output)`
  for each `x` of the inputs `(T, ...)` in turn; a loop where many steps one after the other compile
  or run more slowly, differentiable as often as the step;
- `convolve(inputs, kernel, bias, strides, padding, dilation_rate, data_format)`: what
  `keras.ops.conv` gives of two spatial axes, plus the bias or `None`;
- `average_pool(inputs, pool_size, strides, padding, data_format)`: what `keras.ops` gives;
- `batch_normalizer(program)`: the function `program(steps, gamma, beta, axis, epsilon)` of tensors
  `(T, batch, ...)`, which normalises each step by its own statistics and returns the outputs and
  the statistics `(T, channels)`, or the framework's kernel for it; parameters and statistics are in
  float32 at least, and outputs of half-precision steps may be;
- `double_precision()`: a context within which Keras keeps float64 as the type of a result;
- `orthogonalize(vector, basis)`: a flat vector less its projection on each of some unit vectors, in
  turn; `combination(weights, basis)`: their sum weighted by Python numbers. Both touch no argument,
  and no number leaves the device;
- `normalize(inputs, mean, variance, gamma, beta, axis, epsilon)`: by given statistics, of the same
  types;
- `branches_freely(tensor)`: whether a branch on a value computed from `tensor` costs no waiting
  for its device;
- `readable(tensor)`: whether its values can be read at once: it belongs to no program that is being
  compiled, and nothing waits for its device;
- `conditional_assign(condition, first, second, variables)`: runs one of two functions without
  results, which assign to some of `variables`; a `ValueError` where the replicas of a strategy
  cannot;
- `module_role(module, variable)`: what a variable of a `keras.layers.TorchModuleWrapper` is to the
  torch module in it: `(what, outputs, layout)`, as in `keras_dep.optimizers.roles.Role`;
- `on_reduced(transform, gradients)`: `transform` of the gradients as reduced over all replicas, in
  the share per replica that a Keras optimizer reduces by itself;
- `share_of_replica(loss)`: a mean over a replica's part of the batch as its share of that over the
  whole batch, in the measure of Keras' losses;
- `outermost_call()`: the layer or model whose call this is part of, or `None`;
- `TrainingPass`: the loss of a pass in training mode, its gradients in the weights, the outputs,
  and new values of other variables by their place in `updated(model)`;
- `updated(model)`: the variables of a model that such a pass may update;
- `TransformedStep`: a `keras.Model` whose train step passes each batch through
  `transform_batch(x, y, gradient)` first, inside the compiled step; `gradient(both, x, y, extra,
  replaced)` gives there what a function `both` of `gradient_and_outputs` gives of `(x, y, *extra)`.
  Meanwhile the variables of the pairs `replaced(read)` hold other values, where `read(variable)` is
  its own. Then the step passes `x` through `choose_gradient(x, y, sample_weight, training_pass)`.
  There `training_pass(x, y, sample_weight, offsets=None)` gives a `TrainingPass` at the weights
  plus the offsets, and changes no variable. Every pass of a step draws the same random numbers.
  The attribute `compiled_draws_agree` says whether a compiled step draws the numbers that an eager
  one draws.
"""

import keras

from keras_dep._backend import generic

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
readable = _framework.readable
conditional_assign = _framework.conditional_assign
module_role = _framework.module_role
on_reduced = _framework.on_reduced
share_of_replica = _framework.share_of_replica
outermost_call = _framework.outermost_call
TransformedStep = _framework.TransformedStep
TrainingPass = generic.TrainingPass
updated = generic.updated
