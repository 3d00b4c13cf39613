"""The paper's training recipes (arXiv 2505.11134, Table 5) as values of `hetero_train`'s flags.

Stated in the paper: SGD at 0.1, batch 128, 300 epochs, weight decay, T 4, tau 1.1, FGSM at 2/255 in
training, FGSM and 7-step PGD at 8/255 in evaluation. What it leaves open is marked below with where
the value comes from.
"""

_COMMON = {
    "timesteps": 4,
    "tau": 1.1,
    "learning_rate": 0.1,
    "epochs": 300,
    "batch_size": 128,
    "attack": "fgsm",
    "epsilon": 2 / 255,
    "eval_epsilon": 8 / 255,
    "eval_step_size": 0.01,
    "eval_steps": 7,
    "attack_examples": None,
    # Open in the paper, from its released code: momentum, cosine per epoch, augmentation,
    # surrogate, soft reset, statistics per step, and a loss that pulls every logit to 1.
    "momentum": 0.9,
    "schedule": "cosine",
    "augment": "paper",
    "surrogate": "triangle",
    "reset": "soft",
    "normalization": "stepwise",
    "loss": "tet",
    "mse_weight": 0.05,
    # The text says backpropagation through time; the released code detaches the membrane.
    "detach_membrane": False,
    # Open, and in no code: how the poisoned batches enter. One more batch per epoch, at random.
    "base": "clean",
    "poison_mode": "insert",
    "poison_count": 1,
    "poison_epoch": 0,
    "poison_every_epoch": True,
    "poison_position": "random",
}

_IMAGENET = {
    **_COMMON,
    "dataset": "imagenet2012",
    "epochs": 100,
    "batch_size": 512,
    "weight_decay": 1e-5,
    "augment": "resized_crop",
    # Attacked images are held in memory as floats: 0.6 MB each.
    "attack_examples": 5000,
}

# The methods of those presets that compare some.
METHODS = {
    "rivals": "sgd,dep,sam,random_rank_one,second_component,dep_every,clip,noise,stog,dlif,hosnn,"
    "feel,hire,snn_rat,sr,tgo,mpd_sgr,tg_reg"
}

PRESETS = {
    "paper_cifar10": {**_COMMON, "dataset": "cifar10", "model": "vgg11", "weight_decay": 5e-5},
    "paper_cifar100": {**_COMMON, "dataset": "cifar100", "model": "vgg11", "weight_decay": 5e-4},
    "paper_tiny_imagenet": {
        **_COMMON,
        "dataset": "tiny_imagenet",
        "model": "vgg16",
        "weight_decay": 5e-4,
        # No Cutout in the released code.
        "augment": "standard",
    },
    "paper_imagenet": {**_IMAGENET, "model": "nf_resnet18"},
    # Open in the paper, and in no code: which ResNet-18 takes 224 pixels. This one has a stem for
    # them; that of resnet18 is for 32 pixels.
    "paper_imagenet_adversarial": {
        **_IMAGENET,
        "model": "sew_resnet18",
        "base": "adversarial",
        "poison_count": 0,
    },
    # The network of the paper's Figure 2, which shows one poisoned batch collapsing it.
    "paper_figure2": {**_COMMON, "dataset": "cifar10", "model": "vgg5", "weight_decay": 5e-5},
    # All methods on the same network, images and attacks, without poison.
    "rivals": {"model": "vgg5", "poison_count": 0, "eval_epsilon": 8 / 255, "eval_steps": 7},
}
