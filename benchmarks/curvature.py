"""Time to the five leading Hessian eigenvalues of spiking VGG-11, against PyHessian and SciPy.

The network is trained for ten steps of SGD on random images and labels: an untrained one is silent
in inference mode, and its Hessian trivial. On torch the peers use the same weights and batch in the
same command: PyHessian's power iteration with its default limits, and SciPy's eigsh on curvlinops'
Hessian operator. The worst residual ||H q - theta q|| / |lambda_1| is computed afterwards in the
same way for all, with one more product per eigenvalue. Ours and eigsh stop at the residual of
--tolerance, PyHessian by its own rule. --also times ours on other backends too, with the weights of
the first, against the same peers. Memory is the peak above the start of a spectrum and of one
training step, each in its own process; that of a spectrum includes Lanczos' vectors, one per
product. --products=N instead times N products of each library on the whole batch, with the same
vector. Use it where PyHessian's 200 or so would take hours. It measures the cost of a product, not
how many a library needs; "bound" is the preparation before the first product.

  python benchmarks/curvature.py --backend=torch --images=8 --rounds=1 --also=tensorflow,jax
  python benchmarks/curvature.py --backend=torch --images=128 --rounds=1 --alone
  python benchmarks/curvature.py --backend=torch --images=128 --rounds=0 --memory --products=1
  python benchmarks/curvature.py --backend=torch --images=128 --products=3
  python benchmarks/curvature.py --backend=jax --quick
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import harness

STEPS = 10


def main():
    options = _options()
    if options.memory_of:
        print(_peak(options))
        return
    rows, case = [], f"{options.model}, {options.images} images"
    with tempfile.TemporaryDirectory() as folder:
        if options.weights:
            problem = _problem(options)
        else:
            options.weights = os.path.join(folder, "weights.npz")
            problem = _fired(options)
        if options.products and options.rounds:
            rows += _costs(options, case, *problem)
        elif options.rounds:
            found = _measure(options, *problem)
            found += [one for also in options.also for one in _elsewhere(options, also)]
            rows += _compared(found, case, options)
            if options.found:
                with open(options.found, "w") as file:
                    json.dump(found, file)
        if options.memory:
            ours, step = (_peak_elsewhere(options, kind) for kind in ("spectrum", "step"))
            print(f"peak memory: {ours:.0f} MB, a training step {step:.0f} MB")
            # The peak of a small step may be below that of the imports.
            if step > 0:
                ratio = ours / step
                peer = "training step"
                rows.append(harness.row(options.backend, case, "peak MB", ours, step, peer, ratio))
    for row in rows:
        print(f"{row['backend']} {row['metric']}: {row['ratio']:.3f} of {row['peer_name']}")
    harness.save(rows, options)


def _options():
    parser = harness.parser(__doc__, "a small network and batch", "counted rounds; 0: no times")
    parser.add_argument("--model", help="default vgg11, quick vgg5")
    parser.add_argument("--images", type=int, help="default 128, quick 4")
    parser.add_argument("--together", type=int, help="images per part in ours")
    parser.add_argument("--tolerance", type=float, default=1e-2, help="relative residual")
    parser.add_argument("--alone", action="store_true", help="leave the peers out")
    parser.add_argument(
        "--products", type=int, default=0, help="number of products to time; 0: time spectra"
    )
    parser.add_argument("--also", default="", help="more backends to time ours on, comma-separated")
    parser.add_argument("--memory", action="store_true", help="measure peak memory too")
    parser.add_argument("--memory_of", choices=("spectrum", "step"), help=argparse.SUPPRESS)
    for name in ("--weights", "--found"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = harness.parsed(parser)
    harness.listed(parser, options, "also", harness.BACKENDS)
    if options.products and options.also:
        parser.error("--products times one backend; leave --also out.")
    options.model = options.model or ("vgg5" if options.quick else "vgg11")
    options.images = options.images or (4 if options.quick else 128)
    options.size = 8 if options.quick else 32
    return options


def _compared(found, case, options):
    """Prints the results, and returns rows of ours on each backend against each peer."""
    print(f"{case}, tolerance {options.tolerance:g}")
    heads = ("seconds", "least", "most", "products", "each", "lambda_1", "residual")
    print(" " * 24 + "".join(f"{head:>10}" for head in heads))
    for one in found:
        seconds, label = one["seconds"], f"{one['name']}, {one['backend']}"
        middle = statistics.median(seconds)
        times = [f"{value:.2f}" for value in (middle, min(seconds), max(seconds))]
        each, first = f"{middle / one['products']:.3f}", f"{one['eigenvalues'][0]:.4g}"
        cells = [*times, one["products"], each, first, f"{one['residual']:.2e}"]
        print(f"{label:<24}" + "".join(f"{cell:>10}" for cell in cells))
    ours = [one for one in found if one["name"] == "ours"]
    rows = []
    for mine in ours:
        for peer in (one for one in found if one["name"] != "ours"):
            times = [statistics.median(one["seconds"]) for one in (mine, peer)]
            ratio = times[0] / times[1]
            rows.append(harness.row(mine["backend"], case, "seconds", *times, peer["name"], ratio))
    return rows


def _problem(options):
    """Builds the network and its batch, and loads the weights if their file exists."""
    import keras
    import numpy as np

    import keras_dep

    keras.utils.set_random_seed(0)
    shape = (options.size, options.size, 3)
    draw = np.random.default_rng(0)
    x = draw.uniform(0, 1, (options.images, *shape)).astype("float32")
    y = draw.integers(0, 10, options.images).astype("int32")
    if options.backend == "torch":
        # PyHessian's products fail in torch's channels-last convolution.
        keras.config.set_image_data_format("channels_first")
        shape, x = (3, options.size, options.size), x.transpose(0, 3, 1, 2).copy()
    model = keras_dep.models.build(options.model, input_shape=shape, num_classes=10)
    if os.path.exists(options.weights):
        with np.load(options.weights) as saved:
            model.set_weights([saved[name] for name in saved.files])
    return model, x, y


def _fired(options):
    """Builds and trains the network, and saves its weights."""
    import keras
    import numpy as np

    import keras_dep

    model, x, y = _problem(options)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), keras_dep.MeanLogitCrossentropy())
    for _ in range(STEPS):
        model.train_on_batch(x[:16], y[:16])
    np.savez(options.weights, *model.get_weights())
    return model, x, y


def _measure(options, model, x, y):
    """Runs all runners in turn, and returns the times, products and residual of each."""
    import keras_dep

    hessian = keras_dep.Hessian(model, keras_dep.MeanLogitCrossentropy())

    def ours(**limits):
        found = hessian.spectrum(
            x, y, tolerance=options.tolerance, vectors=True, batch_size=options.together, **limits
        )
        return found.eigenvalues, found.vectors, found.products

    runners = {"ours": ours}
    if options.backend == "torch" and not options.alone:
        runners.update(_peers(*_torch_counterpart(model, x, y), options.tolerance))
    # Compiles ours; the peers run eagerly.
    ours(max_steps=2)
    found = {name: {"name": name, "backend": options.backend, "seconds": []} for name in runners}
    for number in range(options.rounds):
        for name, runner in runners.items():
            started = time.perf_counter()
            values, vectors, products = runner()
            found[name]["seconds"].append(time.perf_counter() - started)
            if number == options.rounds - 1:
                product = hessian.at(x, y, options.together)
                found[name]["products"] = products
                found[name]["residual"] = _worst_residual(product, values, vectors)
                found[name]["eigenvalues"] = sorted(map(float, values), key=abs, reverse=True)
    return list(found.values())


def _costs(options, case, model, x, y):
    """Times binding the data and single products of each library; returns rows of products."""
    import numpy as np
    from keras import ops

    import keras_dep

    hessian = keras_dep.Hessian(model, keras_dep.MeanLogitCrossentropy())
    binders = {"ours": lambda: hessian.at(x, y, options.together)}
    if options.backend == "torch" and not options.alone:
        binders.update(_peer_products(*_torch_counterpart(model, x, y)))
    draw = np.random.default_rng(0).standard_normal(hessian.dimension).astype("float32")
    vector = ops.convert_to_tensor(draw / np.linalg.norm(draw))
    print(f"{case}, {options.products} products of each library on the whole batch")
    print(" " * 24 + "".join(f"{head:>10}" for head in ("bound", "each", "least", "most")))
    found, images = {}, {}
    for name, bind in binders.items():
        if options.backend != "torch":
            # Compiles.
            float(ops.sum(bind()(vector)))
        started = time.perf_counter()
        product = bind()
        bound = time.perf_counter() - started
        seconds = []
        for _ in range(options.products):
            started = time.perf_counter()
            images[name] = ops.convert_to_numpy(product(vector))
            seconds.append(time.perf_counter() - started)
        # Frees the graph before the next library binds.
        del product
        found[name] = statistics.median(seconds)
        cells = (bound, found[name], min(seconds), max(seconds))
        print(f"{name:<24}" + "".join(f"{cell:>10.3f}" for cell in cells), flush=True)
    ours, own = found.pop("ours"), images.pop("ours")
    for name, image in images.items():
        apart = np.linalg.norm(image - own) / np.linalg.norm(own)
        print(f"distance of {name}'s product from ours: {apart:.1e}")
    return [
        harness.row(options.backend, case, "seconds per product", ours, peer, name, ours / peer)
        for name, peer in found.items()
    ]


def _worst_residual(product, values, vectors):
    from keras import ops

    def residual(value, vector):
        vector = vector / ops.sqrt(ops.sum(vector * vector))
        rest = product(vector) - float(value) * vector
        return float(ops.sqrt(ops.sum(rest * rest)))

    worst = max(residual(value, vector) for value, vector in zip(values, vectors))
    return worst / max(abs(float(value)) for value in values)


def _torch_counterpart(model, x, y):
    """Wraps the Keras model as a torch module, with its loss and the data as tensors."""
    import torch

    fixed = [variable.value for variable in model.non_trainable_variables]

    class Network(torch.nn.Module):
        """A module with the trainable weights as parameters, in our order."""

        def __init__(self):
            super().__init__()
            weights = [variable.value.detach().clone() for variable in model.trainable_variables]
            self.weights = torch.nn.ParameterList(weights)

        def forward(self, images):
            return model.stateless_call(list(self.weights), fixed, images)[0].mean(dim=1)

    network = Network()
    device = network.weights[0].device
    data = torch.tensor(x, device=device), torch.tensor(y, device=device).long()
    return network, torch.nn.CrossEntropyLoss(), data


def _peer_products(network, entropy, data):
    """Returns by library a function that binds the data to products with the Hessian."""
    import pyhessian
    import torch
    from curvlinops import HessianLinearOperator

    def with_pyhessian():
        peer = pyhessian.hessian(network, entropy, data=data, cuda=data[0].is_cuda)
        multiply = sys.modules["pyhessian.hessian"].hessian_vector_product
        sizes = [part.numel() for part in peer.params]

        def product(vector):
            parts = zip(vector.split(sizes), peer.params)
            parts = [part.reshape(like.shape) for part, like in parts]
            columns = multiply(peer.gradsH, peer.params, parts)
            return torch.cat([column.reshape(-1) for column in columns]).detach()

        return product

    def with_curvlinops():
        operator = HessianLinearOperator(
            network, entropy, list(network.parameters()), [data], check_deterministic=False
        )
        return lambda vector: (operator @ vector).detach()

    return {"PyHessian": with_pyhessian, "curvlinops": with_curvlinops}


def _peers(network, entropy, data, tolerance):
    """Returns runners of PyHessian, and of SciPy on curvlinops' operator."""
    import numpy as np
    import pyhessian
    import torch
    from curvlinops import HessianLinearOperator
    from scipy.sparse.linalg import LinearOperator
    from scipy.sparse.linalg import eigsh

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
        peer = pyhessian.hessian(network, entropy, data=data, cuda=data[0].is_cuda)
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
            vector = torch.tensor(np.asarray(vector, "float32").ravel(), device=data[0].device)
            return (operator @ vector).detach().cpu().numpy()

        size = operator.shape[0]
        scipy_operator = LinearOperator((size, size), matvec=matvec, dtype="float32")
        start = np.random.default_rng(0).standard_normal(size).astype("float32")
        values, vectors = eigsh(scipy_operator, 5, which="LM", tol=tolerance, v0=start)
        return values, list(torch.tensor(vectors.T, device=data[0].device)), products[0]

    return {"PyHessian": with_pyhessian, "curvlinops": with_scipy}


def _elsewhere(options, backend):
    """Measures ours on another backend, in its own process."""
    path = f"{options.weights}.{backend}.json"
    _again(options, backend, f"--found={path}", f"--rounds={options.rounds}", "--alone")
    with open(path) as file:
        return json.load(file)


def _peak_elsewhere(options, kind):
    """Measures the peak memory above the start in megabytes, in its own process."""
    return float(_again(options, options.backend, f"--memory_of={kind}").split()[-1])


def _again(options, backend, *arguments):
    """Runs this command on a backend, and returns its output."""
    command = [sys.executable, __file__, f"--backend={backend}", f"--weights={options.weights}"]
    passed = ("model", "images", "tolerance", "products")
    command += [f"--{name}={getattr(options, name)}" for name in passed]
    command += [f"--together={options.together}"] if options.together else []
    command += ["--quick"] if options.quick else []
    command += arguments
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _peak(options):
    import keras

    import keras_dep

    model, x, y = _problem(options)
    loss = keras_dep.MeanLogitCrossentropy()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss)
    model.predict_on_batch(x[:1])
    with harness.peak_memory(options.backend) as peak:
        if options.memory_of == "step":
            for _ in range(2):
                model.train_on_batch(x, y)
        else:
            hessian = keras_dep.Hessian(model, loss)
            if options.products:
                product = hessian.at(x, y, options.together)
                for _ in range(options.products):
                    product(keras.ops.ones((hessian.dimension,)))
            else:
                hessian.spectrum(x, y, tolerance=options.tolerance, batch_size=options.together)
    return peak[0]


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main()
