"""Every shared configuration key: its default, its bounds and its meaning. Other files must not repeat a default or a limit.

The form is `KEY = default, bounds`, see bounds.py. A key without bounds is a switch or any text. Groups and key names are those
of PaddleViT. Keys of a single family are in its own `config.py`, below MODEL.
"""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import (FILE_NAME, PART, SHARE, TEXT, Bounds, Each, above, at_least, one_of, pair,
                                                rising, taken_apart, whole, within)
from image_classification.weights.catalogue import ENTRY_WORDS, is_entry

COUNT = at_least(0)                              # for counts, and also for learning rates
SIDE = 4096                                      # largest image side, in pixels

_C = CN()
_C.BASE = ['']                             # files or model names to merge first, in this order

_C.RESUME = ''                             # a checkpoint or run directory to continue, or 'auto': the newest run below SAVE
_C.PRETRAINED = ''                         # weights to start from: a tag of PUBLISHED.WEIGHTS, 'default', an address or a file

_C.DATA = CN()
_C.DATA.DATASET = 'imagenet2012', one_of('imagenet2012', 'folder', 'mnist5k', 'mnist', 'fashion_mnist', 'cifar10', 'cifar100',
                                         any_case=True)
_C.DATA.DATA_PATH = ''                     # directory of the data set; not needed for mnist5k
_C.DATA.DOWNLOAD = False                   # download mnist, fashion_mnist, cifar10 or cifar100 if it is not in DATA_PATH
_C.DATA.BATCH_SIZE = 256, within(1, 65536)       # images per process in each batch
_C.DATA.BATCH_SIZE_EVAL = 0, within(0, 65536)    # the same in evaluation; 0: BATCH_SIZE
_C.DATA.IMAGE_SIZE = 224, within(1, SIDE)        # side of the network's square input, in pixels
_C.DATA.CROP_PCT = 0.875, within(0.1, 1)  # evaluation resizes the short side to IMAGE_SIZE / CROP_PCT, then crops the centre
_C.DATA.INTERPOLATION = 'bilinear', one_of('nearest', 'bilinear', 'bicubic', 'lanczos', 'box', 'hamming')
_C.DATA.IMAGENET_MEAN = [0.485, 0.456, 0.406], Each(Bounds(SHARE.admits, '0 to 1, to which pixels are scaled first'), least=1)
_C.DATA.IMAGENET_STD = [0.229, 0.224, 0.225], Each(within(1e-6, 1_000_000), least=1)  # divisor after the mean is subtracted
_C.DATA.COLOR_ORDER = 'RGB', one_of('RGB', 'BGR')  # channel order of the network's input, after normalizing; OpenCV reads BGR
_C.DATA.NUM_WORKERS = 2, within(0, 512)    # processes that load images; 0: load in the training process
_C.DATA.FAST_DECODE = True                 # training decodes JPEG at 1/2, 1/4 or 1/8 size if the crop still has enough pixels
_C.DATA.BACKEND = 'pillow', one_of('pillow', 'opencv')  # opencv (an extra) decodes and resizes JPEG faster, with other filters
_C.DATA.MAX_BAD_IMAGES = 50, COUNT         # unreadable training images to skip before training stops with an error

_C.MODEL = CN()
_C.MODEL.TYPE = 'MobileFormer', TEXT       # directory of the family, in any case
_C.MODEL.NAME = 'mobileformer_26m', FILE_NAME    # name of the variant in logs and exports
_C.MODEL.NUM_CLASSES = 1000, within(1, 1_000_000)
_C.MODEL.IN_CHANNELS = 3, within(1, 4096)  # 3: RGB, 1: grey, 4: RGBA
_C.MODEL.DROPOUT = 0.0, PART               # before the classifier, and at other places that the family names
_C.MODEL.DROPPATH = 0.0, PART              # probability that a sample skips a residual branch
_C.MODEL.GRAD_CHECKPOINTING = False        # recompute blocks in the backward pass: less memory, a third more time

_C.PUBLISHED = CN()                        # published accuracy and weights of the network, set in its own yaml
_C.PUBLISHED.TOP1 = 0.0, within(0, 100)    # ImageNet top-1 in percent, as reported by its authors or porters; 0: none
_C.PUBLISHED.SOURCE = ''                   # where it was reported
_C.PUBLISHED.WEIGHTS = [], Each(Bounds(is_entry, ENTRY_WORDS))  # published weights, the default first: see weights/catalogue.py

_C.TRAIN = CN()
_C.TRAIN.NUM_EPOCHS = 300, within(1, 1_000_000)
_C.TRAIN.MAX_STEPS = 0, COUNT              # stop after this many optimizer steps, for a quick try; 0: no limit
_C.TRAIN.WARMUP_EPOCHS = 5.0, COUNT        # the learning rate rises linearly from WARMUP_START_LR to BASE_LR, step by step
_C.TRAIN.WARMUP_START_LR = 1e-6, COUNT
_C.TRAIN.BASE_LR = 1e-3, COUNT
_C.TRAIN.LR_SCHEDULE = 'cosine', one_of('cosine', 'step', 'exponential', 'poly', 'constant')   # after the warm-up
_C.TRAIN.END_LR = 1e-5, COUNT               # final rate of cosine and poly, lower limit of step and exponential
_C.TRAIN.DECAY_EPOCHS = 30.0, above(0)     # step and exponential: epochs (counted from the start) per factor DECAY_RATE
_C.TRAIN.DECAY_RATE = 0.1, above(0, most=1)      # step applies it at once, exponential a little at every step
_C.TRAIN.DECAY_MILESTONES = [], rising(COUNT)    # step: epochs after which the rate falls, instead of every DECAY_EPOCHS
_C.TRAIN.POLY_POWER = 1.0, above(0, most=1000)   # poly: 1 is a straight line
_C.TRAIN.COOLDOWN_EPOCHS = 0.0, COUNT      # last epochs at END_LR; part of NUM_EPOCHS (timm trains them in addition)
_C.TRAIN.LAYER_DECAY = 1.0, above(0, most=1)  # a block's rate: the next deeper one's times this; the head's is full; 1: off
_C.TRAIN.HEAD_LR_SCALE = 1.0, above(0, most=1_000_000)  # multiplies the learning rate of the classifier
_C.TRAIN.FREEZE = [], Each(TEXT)           # layers that keep their weights: [stem, blocks.0]; [backbone]: all but the head
_C.TRAIN.FREEZE_EPOCHS = 0, COUNT          # unfreeze them after this many epochs; 0: never
_C.TRAIN.FREEZE_BN = False                 # freeze the statistics of batch norms; their scale and shift still learn
_C.TRAIN.LINEAR_SCALED_LR = 0, COUNT       # total batch size that the three rates are given for; they scale with yours; 0: off
_C.TRAIN.WEIGHT_DECAY = 0.05, within(0, 1000)
_C.TRAIN.NO_DECAY_1D = True                # no decay for norms, biases and the network's exceptions; False: decay everything
_C.TRAIN.GRAD_CLIP = 0.0, COUNT            # the limit for GRAD_CLIP_MODE; 0: no clipping
_C.TRAIN.GRAD_CLIP_MODE = 'norm', one_of('norm', 'value', 'agc')  # all gradients; each number; each unit, by its weights
_C.TRAIN.EARLY_STOP = 0, COUNT             # stop after this many evaluations without a better top-1, after warm-up; 0: never
_C.TRAIN.MAX_BAD_STEPS = 20, at_least(1)   # steps with a NaN or infinite loss or gradient are skipped; so many in a row: end
_C.TRAIN.ACCUM_ITER = 1, within(1, 65536)  # batches per optimizer step
_C.TRAIN.OPTIMIZER = CN()
_C.TRAIN.OPTIMIZER.NAME = 'AdamW', one_of('AdamW', 'SGD', 'RMSprop', any_case=True)  # RMSprop as in TensorFlow
_C.TRAIN.OPTIMIZER.EPS = 1e-8, above(0, most=1)  # AdamW; RMSprop: inside the square root (PyTorch adds its root outside)
_C.TRAIN.OPTIMIZER.BETAS = [0.9, 0.999], Each(PART, count=2)  # AdamW
_C.TRAIN.OPTIMIZER.ALPHA = 0.9, PART       # RMSprop: decay of the average of squared gradients
_C.TRAIN.OPTIMIZER.MOMENTUM = 0.9, PART    # SGD, RMSprop
_C.TRAIN.OPTIMIZER.NESTEROV = False        # SGD
_C.TRAIN.MODEL_EMA = False                 # keep a moving average of the weights, and evaluate and export it
_C.TRAIN.MODEL_EMA_DECAY = 0.9999, PART
_C.TRAIN.MODEL_EMA_WARMUP = True           # smaller decay at first: (1 + step) / (10 + step); False: constant decay
_C.TRAIN.PRECISE_BN = True                 # recompute batch norm statistics before an evaluation if the running ones lag behind
_C.TRAIN.SYNC_BN = False                   # batch norm over the images of all processes; GPU only, a CPU run says so in its log
_C.TRAIN.LOSS = 'ce', one_of('ce', 'bce')  # cross entropy, or binary cross entropy per class
_C.TRAIN.BCE_SUM = False                   # bce: sum over the classes instead of the mean
_C.TRAIN.SMOOTHING = 0.1, PART             # label smoothing
_C.TRAIN.AUX_LOSS_WEIGHT = 0.3, within(0, 1000)  # weight of the loss of each auxiliary head, for networks that have them
_C.TRAIN.DISTILL = CN()
_C.TRAIN.DISTILL.KIND = 'none', one_of('none', 'soft', 'hard')  # learn the teacher's probabilities, or its predicted class
_C.TRAIN.DISTILL.TEACHER = ''              # a model name (with WEIGHTS), a checkpoint of this library or an export directory
_C.TRAIN.DISTILL.WEIGHTS = ''              # for a model name: a tag of its published weights, 'default', an address or a file
_C.TRAIN.DISTILL.ALPHA = 0.5, SHARE        # weight of the teacher's loss; that of the labels has 1 - ALPHA
_C.TRAIN.DISTILL.TAU = 1.0, above(0, most=1000)  # soft: temperature
_C.TRAIN.IMAGE_SIZE = 0, within(0, SIDE)   # image side in training, in pixels; 0: DATA.IMAGE_SIZE, which evaluation uses
_C.TRAIN.MULTI_SCALE = [], pair(whole(1, SIDE), optional=True)  # least and largest side, drawn per batch; batch size follows
_C.TRAIN.MULTI_SCALE_STEP = 32, within(1, SIDE)  # sides are smallest, smallest + step, ...; -image_size scales all of them
_C.TRAIN.PROGRESSIVE_SIZES = [], Each(within(1, SIDE))  # sides in pixels, each for an equal share of epochs; -image_size scales
_C.TRAIN.REPEATED_AUG = 0, within(0, 1000)  # differently augmented copies per image and epoch; same steps, so fewer images
_C.TRAIN.CROP_SCALE = [0.08, 1.0], pair(above(0, most=1))            # share of the image's area that a random crop keeps
_C.TRAIN.CROP_RATIO = [0.75, 1.3333333333], pair(within(0.01, 100))  # width / height of a random crop
_C.TRAIN.HFLIP = 0.5, SHARE                # probability of a horizontal flip; 0 for digits and text
_C.TRAIN.VFLIP = 0.0, SHARE                # probability of a vertical flip, for pictures that have no right way up
_C.TRAIN.ROTATE = 0.0, within(0, 180)      # largest rotation to either side, in degrees
_C.TRAIN.SHEAR = 0.0, at_least(0, below=90)      # largest horizontal shear to either side, in degrees
_C.TRAIN.COLOR_JITTER = 0.4, within(0, 100)      # brightness, contrast, saturation; only without AUTO_AUGMENT and RAND_AUGMENT
_C.TRAIN.AUTO_AUGMENT = '', one_of('', 'original', 'v0', 'trivial')  # the paper's for ImageNet, EfficientNet's, TrivialAugment
_C.TRAIN.RAND_AUGMENT = False
_C.TRAIN.RAND_AUGMENT_INCREASING = False   # every operation gets stronger with the magnitude: "inc1" in timm's names
_C.TRAIN.RAND_AUGMENT_LAYERS = 2, within(0, 100)      # operations per image
_C.TRAIN.RAND_AUGMENT_MAGNITUDE = 9.0, within(0, 10)
_C.TRAIN.RAND_AUGMENT_MSTD = 0.5, within(0, 100)      # standard deviation of the magnitude
_C.TRAIN.RANDOM_ERASE_PROB = 0.0, SHARE
_C.TRAIN.RANDOM_ERASE_MODE = 'pixel', one_of('const', 'rand', 'pixel')  # what fills the hole: zeros, one colour or noise
_C.TRAIN.RANDOM_ERASE_COUNT = 1, within(1, 1000)      # holes per image, at most
_C.TRAIN.MIXUP_MODE = 'batch', one_of('batch', 'pair', 'elem')  # draw share and box per batch, per pair of images, or per image
_C.TRAIN.MIXUP_ALPHA = 0.0, within(0, 1000)      # 0: no mixup
_C.TRAIN.CUTMIX_ALPHA = 0.0, within(0, 1000)     # 0: no cutmix
_C.TRAIN.CUTMIX_MINMAX = [], pair(SHARE, optional=True)  # share of a side that cutmix pastes, instead of CUTMIX_ALPHA
_C.TRAIN.MIXUP_PROB = 1.0, SHARE           # probability that a batch is mixed at all
_C.TRAIN.MIXUP_SWITCH_PROB = 0.5, SHARE    # probability of cutmix if both are on

_C.AMP = False                             # mixed precision; GPU only
_C.AMP_DTYPE = 'float16', one_of('float16', 'bfloat16')
_C.PROCESSES = 0, within(0, 256)           # training processes on a CPU, each with BATCH_SIZE; 0: fastest number, sharing one
_C.THREADS = 0, within(0, 1024)            # threads of each process; 0: the fastest number
_C.SAVE = './output', TEXT                 # every run makes its own directory in here
_C.SAVE_FREQ = 1, at_least(1)              # epochs between checkpoints
_C.SAVE_STEPS = 0, COUNT                   # steps between additional checkpoints within an epoch; 0: none
_C.KEEP_CHECKPOINTS = 2, within(1, 1000)   # last.safetensors, last-1.safetensors (the one before), ...
_C.KEEP_BEST = 1, within(1, 1000)          # best.safetensors, best-2.safetensors (the second best evaluation), ...
_C.WATCHDOG_SECONDS = 300.0, within(0, 10_000_000)  # end the run if a process makes no progress for so long; 0: never
_C.REPORT_FREQ = 20, at_least(1)           # steps between log lines
_C.VALIDATE_FREQ = 1, at_least(1)          # epochs between evaluations
_C.VISUAL = '', one_of('', 'visualdl', 'tensorboard')  # also write curves for this viewer to the run's directory
_C.SEED = 0, within(0, 2 ** 32 - 1)
_C.EVAL = False                            # evaluate only
_C.PER_CLASS = False                       # report accuracy per class and confusions, after an evaluation or a training
_C.TEMPERATURE = 1.0, above(0, most=1_000_000)  # divides logits before the softmax; tools/fit.py sets it by calibration
_C.EXPORT = True                           # after training, export the best checkpoint with paddle.jit and verify it

DEFAULTS, BOUNDS = taken_apart(_C)         # BOUNDS is {dotted key: Bounds}
