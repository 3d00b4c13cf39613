"""Time to the five leading Hessian eigenvalues of spiking VGG-11, against PyHessian and SciPy.

On torch the peers take the same network, weights and batch in the same command: PyHessian's power
iteration with its usual limits, and SciPy's eigsh on curvlinops' Hessian operator. For each the
worst residual ||H q - theta q|| over |lambda_1| is computed afterwards with one product more per
eigenvalue, the same way for all; ours runs to the residual in --tolerance, eigsh to the same, and
PyHessian as far as its rule takes it. On the other backends ours is timed alone. Memory is the peak
above the start, ours against one training step, each in a process of its own.

  python benchmarks/curvature.py --backend=torch --json=curvature.json
  python benchmarks/curvature.py --backend=jax --quick
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

import conventions


def main():
    options = _options()
    if options.memory_of:
        print(_peak(options))
        return
    case = f"{options.model}, {options.batch} images"
    times, facts = _measure(options)
    print(f"{case}, {options.backend}")
    print(f"{'':<12}{'seconds':>10}{'least':>10}{'most':>10}{'products':>10}{'residual':>11}")
    for name, seconds in times.items():
        products, residual = facts[name]
        print(
            f"{name:<12}{statistics.median(seconds):>10.3f}{min(seconds):>10.3f}"
            f"{max(seconds):>10.3f}{products:>10}{residual:>11.2e}"
        )
    rows = [
        _row(options, case, "seconds", times["ours"], seconds, name)
        for name, seconds in times.items()
        if name != "ours"
    ]
    if options.memory:
        ours, step = (_peak_elsewhere(options, kind) for kind in ("spectrum", "step"))
        print(f"peak memory: {ours / 1e6:.0f} MB, a training step {step / 1e6:.0f} MB")
        # A small step may stay below what importing took.
        if step:
            rows.append(_row(options, case, "bytes", [ours], [step], "training step"))
    for row in rows:
        print(f"{row['metric']}: {row['ratio']:.3f} of {row['peer_name']}")
    conventions.save(rows, options)


def _options():
    parser = conventions.parser(__doc__, "a small network and batch")
    parser.add_argument("--model", help="default vgg11, quick vgg5")
    parser.add_argument("--batch", type=int, help="images; default 128, quick 4")
    parser.add_argument("--together", type=int, help="images looked at together by ours")
    parser.add_argument("--tolerance", type=float, default=1e-2, help="relative residual")
    parser.add_argument("--memory", action="store_true", help="peak memory too")
    parser.add_argument("--memory_of", choices=("spectrum", "step"), help=argparse.SUPPRESS)
    options = conventions.parsed(parser)
    options.model = options.model or ("vgg5" if options.quick else "vgg11")
    options.batch = options.batch or (4 if options.quick else 128)
    options.size = 8 if options.quick else 32
    return options


def _row(options, case, metric, ours, peer, peer_name):
    ours, peer = statistics.median(ours), statistics.median(peer)
    return conventions.row(options, case, metric, ours, peer, peer_name, ours / peer)


def _problem(options):
    import keras
    import numpy as np

    import keras_dep

    keras.utils.set_random_seed(0)
    shape = (options.size, options.size, 3)
    if options.backend == "torch":
        # The peer's products cannot pass torch's channels-last convolution.
        keras.config.set_image_data_format("channels_first")
        shape = (3, options.size, options.size)
    model = keras_dep.models.build(options.model, input_shape=shape, num_classes=10)
    draw = np.random.default_rng(0)
    x = draw.uniform(0, 1, (options.batch, *shape)).astype("float32")
    return model, x, draw.integers(0, 10, options.batch).astype("int32")


def _measure(options):
    """Seconds of each counted round by name, the contestants in turn, and what each found."""
    import keras_dep

    model, x, y = _problem(options)
    hessian = keras_dep.Hessian(model, keras_dep.MeanLogitCrossentropy())

    def ours():
        found = hessian.spectrum(
            x, y, tolerance=options.tolerance, vectors=True, batch_size=options.together
        )
        return found.eigenvalues, found.vectors, found.products

    contestants = {"ours": ours}
    if options.backend == "torch":
        contestants.update(_peers(model, x, y, options))
    times, facts = {name: [] for name in contestants}, {}
    for number in range(options.rounds + 1):
        for name, contestant in contestants.items():
            started = time.perf_counter()
            values, vectors, products = contestant()
            if number:
                times[name].append(time.perf_counter() - started)
            if number == options.rounds:
                product = hessian.at(x, y, options.together)
                facts[name] = products, _worst_residual(product, values, vectors)
    return times, facts


def _worst_residual(product, values, vectors):
    from keras import ops

    def residual(value, vector):
        vector = vector / ops.sqrt(ops.sum(vector * vector))
        rest = product(vector) - float(value) * vector
        return float(ops.sqrt(ops.sum(rest * rest)))

    worst = max(residual(value, vector) for value, vector in zip(values, vectors))
    return worst / max(abs(float(value)) for value in values)


def _peers(model, x, y, options):
    """PyHessian, and SciPy on curvlinops' operator, on the Keras model as a torch module."""
    import numpy as np
    import pyhessian
    import torch
    from curvlinops import HessianLinearOperator
    from scipy.sparse.linalg import LinearOperator
    from scipy.sparse.linalg import eigsh

    fixed = [variable.value for variable in model.non_trainable_variables]

    class Network(torch.nn.Module):
        """Its parameters are the trainable weights, in our order."""

        def __init__(self):
            super().__init__()
            weights = [variable.value.detach().clone() for variable in model.trainable_variables]
            self.weights = torch.nn.ParameterList(weights)

        def forward(self, images):
            return model.stateless_call(list(self.weights), fixed, images)[0].mean(dim=1)

    network, entropy = Network(), torch.nn.CrossEntropyLoss()
    data = torch.tensor(x), torch.tensor(y).long()
    products = [0]
    module = sys.modules["pyhessian.hessian"]
    product_of_peer = module.hessian_vector_product

    def counted(*arguments):
        products[0] += 1
        return product_of_peer(*arguments)

    module.hessian_vector_product = counted

    def with_pyhessian():
        torch.manual_seed(0)
        products[0] = 0
        network.zero_grad()
        peer = pyhessian.hessian(network, entropy, data=data, cuda=False)
        values, vectors = peer.eigenvalues(top_n=5)
        flat = [torch.cat([part.reshape(-1) for part in vector]).detach() for vector in vectors]
        return values, flat, products[0]

    def with_scipy():
        products[0] = 0
        parameters = list(network.parameters())
        operator = HessianLinearOperator(
            network, entropy, parameters, [data], check_deterministic=False
        )

        def matvec(vector):
            products[0] += 1
            vector = torch.from_numpy(np.asarray(vector, "float32").ravel())
            return (operator @ vector).detach().numpy()

        size = operator.shape[0]
        scipy_operator = LinearOperator((size, size), matvec=matvec, dtype="float32")
        start = np.random.default_rng(0).standard_normal(size).astype("float32")
        values, vectors = eigsh(scipy_operator, 5, which="LM", tol=options.tolerance, v0=start)
        return values, [torch.from_numpy(vector) for vector in vectors.T.copy()], products[0]

    return {"PyHessian": with_pyhessian, "curvlinops": with_scipy}


def _peak_elsewhere(options, kind):
    """Peak bytes above the start, in a process of its own."""
    command = [sys.executable, __file__, f"--backend={options.backend}", f"--memory_of={kind}"]
    command += [f"--model={options.model}", f"--batch={options.batch}"]
    command += [f"--tolerance={options.tolerance}"]
    command += [f"--together={options.together}"] if options.together else []
    command += ["--quick"] if options.quick else []
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(answer.stdout.split()[-1])


def _peak(options):
    import keras

    import keras_dep

    model, x, y = _problem(options)
    loss = keras_dep.MeanLogitCrossentropy()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss)
    model.predict_on_batch(x[:1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if options.memory_of == "step":
        for _ in range(2):
            model.train_on_batch(x, y)
    else:
        keras_dep.Hessian(model, loss).spectrum(
            x, y, tolerance=options.tolerance, batch_size=options.together
        )
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main()
