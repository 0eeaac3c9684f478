"""Every shared configuration key: its default, its bounds, what it means. Other files must not repeat a default or a limit.

`KEY = default, bounds`: see bounds.py. A key without bounds is a switch or any text. Groups and names of keys are PaddleViT's.
Keys that belong to one family are in that family's `config.py`, below MODEL.
"""
from yacs.config import CfgNode as CN

from image_classification.config.bounds import (FILE_NAME, PART, SHARE, TEXT, Bounds, Each, above, at_least, one_of, pair,
                                                rising, taken_apart, whole, within)
from image_classification.weights.catalogue import ENTRY_WORDS, is_entry

COUNT = at_least(0)                              # of anything, also a rate of learning
SIDE = 4096                                      # pixels, at most

_C = CN()
_C.BASE = ['']                             # files or model names that are merged first, in this order

_C.RESUME = ''                             # a checkpoint or a run's directory to continue, or 'auto': the newest run below SAVE
_C.PRETRAINED = ''                         # weights to start from: a tag of PUBLISHED.WEIGHTS, 'default', an address, a file

_C.DATA = CN()
_C.DATA.DATASET = 'imagenet2012', one_of('imagenet2012', 'folder', 'mnist5k', 'mnist', 'fashion_mnist', 'cifar10', 'cifar100',
                                         any_case=True)
_C.DATA.DATA_PATH = ''                     # where the data set's files are; mnist5k needs none
_C.DATA.DOWNLOAD = False                   # fetch mnist, fashion_mnist, cifar10 or cifar100 when DATA_PATH lacks them
_C.DATA.BATCH_SIZE = 256, within(1, 65536)       # images per process and step of the loader
_C.DATA.BATCH_SIZE_EVAL = 0, within(0, 65536)    # the same in evaluation; 0: as BATCH_SIZE
_C.DATA.IMAGE_SIZE = 224, within(1, SIDE)        # side of the network's square input, in pixels
_C.DATA.CROP_PCT = 0.875, within(0.1, 1)  # evaluation resizes the short side to IMAGE_SIZE / CROP_PCT, then crops the centre
_C.DATA.INTERPOLATION = 'bilinear', one_of('nearest', 'bilinear', 'bicubic', 'lanczos', 'box', 'hamming')
_C.DATA.IMAGENET_MEAN = [0.485, 0.456, 0.406], Each(Bounds(SHARE.admits, '0 to 1, to which pixels are scaled first'), least=1)
_C.DATA.IMAGENET_STD = [0.229, 0.224, 0.225], Each(within(1e-6, 1_000_000), least=1)  # by which the rest is divided
_C.DATA.COLOR_ORDER = 'RGB', one_of('RGB', 'BGR')  # in which the network takes colours, after normalizing; OpenCV reads BGR
_C.DATA.NUM_WORKERS = 2, within(0, 512)    # processes that load images; 0 loads in the training process
_C.DATA.FAST_DECODE = True                 # training decodes JPEG at 1/2, 1/4 or 1/8 where its crop keeps the size it needs
_C.DATA.BACKEND = 'pillow', one_of('pillow', 'opencv')  # opencv, an extra, decodes and resizes JPEG faster, by other filters
_C.DATA.MAX_BAD_IMAGES = 50, COUNT         # unreadable training images that are skipped before training stops

_C.MODEL = CN()
_C.MODEL.TYPE = 'MobileFormer', TEXT       # the family's directory, compared in lower case
_C.MODEL.NAME = 'mobileformer_26m', FILE_NAME    # the variant, as logs and exports call it
_C.MODEL.NUM_CLASSES = 1000, within(1, 1_000_000)
_C.MODEL.IN_CHANNELS = 3, within(1, 4096)  # 3: RGB, 1: grey, 4: RGBA
_C.MODEL.DROPOUT = 0.0, PART               # in front of the classifier, and where else the family says
_C.MODEL.DROPPATH = 0.0, PART              # probability that a sample skips a residual branch
_C.MODEL.GRAD_CHECKPOINTING = False        # train with less memory and a third more time: blocks run again in the backward pass

_C.PUBLISHED = CN()                        # what others report of the network, and their weights; its own yaml says it
_C.PUBLISHED.TOP1 = 0.0, within(0, 100)    # ImageNet top-1 in percent of its authors or porters; 0: none
_C.PUBLISHED.SOURCE = ''                   # where
_C.PUBLISHED.WEIGHTS = [], Each(Bounds(is_entry, ENTRY_WORDS))  # published weights, the default first: see weights/catalogue.py

_C.TRAIN = CN()
_C.TRAIN.NUM_EPOCHS = 300, within(1, 1_000_000)
_C.TRAIN.MAX_STEPS = 0, COUNT              # end after so many optimizer steps, for a quick try; 0: no limit
_C.TRAIN.WARMUP_EPOCHS = 5.0, COUNT        # the rate rises linearly from WARMUP_START_LR to BASE_LR, step by step
_C.TRAIN.WARMUP_START_LR = 1e-6, COUNT
_C.TRAIN.BASE_LR = 1e-3, COUNT
_C.TRAIN.LR_SCHEDULE = 'cosine', one_of('cosine', 'step', 'exponential', 'poly', 'constant')   # after the warm-up
_C.TRAIN.END_LR = 1e-5, COUNT               # where cosine and poly end, below which step and exponential do not fall
_C.TRAIN.DECAY_EPOCHS = 30.0, above(0)     # step and exponential: epochs (from the start) per factor DECAY_RATE
_C.TRAIN.DECAY_RATE = 0.1, above(0, most=1)      # step and exponential: step at once, exponential a little at every step
_C.TRAIN.DECAY_MILESTONES = [], rising(COUNT)    # step: epochs after which the rate falls, instead of every DECAY_EPOCHS
_C.TRAIN.POLY_POWER = 1.0, above(0, most=1000)   # poly: 1 is a straight line
_C.TRAIN.COOLDOWN_EPOCHS = 0.0, COUNT      # last epochs at END_LR; part of NUM_EPOCHS (timm trains them in addition)
_C.TRAIN.LAYER_DECAY = 1.0, above(0, most=1)  # each block's rate is the next deeper one's times this, the head's full; 1: off
_C.TRAIN.HEAD_LR_SCALE = 1.0, above(0, most=1_000_000)  # the classifier's rate is the others' times this
_C.TRAIN.FREEZE = [], Each(TEXT)           # layers that keep their weights: [stem, blocks.0]; [backbone]: all but the head
_C.TRAIN.FREEZE_EPOCHS = 0, COUNT          # epochs after which they learn, too; 0: never
_C.TRAIN.FREEZE_BN = False                 # batch norms keep the statistics they have; their scale and shift learn
_C.TRAIN.LINEAR_SCALED_LR = 0, COUNT       # the total batch that the three rates are meant for: they scale with it; 0: fixed
_C.TRAIN.WEIGHT_DECAY = 0.05, within(0, 1000)
_C.TRAIN.NO_DECAY_1D = True                # norms, biases and the network's exceptions take no decay; False: all decay
_C.TRAIN.GRAD_CLIP = 0.0, COUNT            # the limit of GRAD_CLIP_MODE; 0: no clipping
_C.TRAIN.GRAD_CLIP_MODE = 'norm', one_of('norm', 'value', 'agc')  # all gradients; each number; each unit, by its weights
_C.TRAIN.EARLY_STOP = 0, COUNT             # evaluations in a row, after warm-up, without a better top-1 that end it; 0: never
_C.TRAIN.MAX_BAD_STEPS = 20, at_least(1)   # steps in a row with a NaN or infinite loss or gradient, skipped, that end the run
_C.TRAIN.ACCUM_ITER = 1, within(1, 65536)  # batches per optimizer step
_C.TRAIN.OPTIMIZER = CN()
_C.TRAIN.OPTIMIZER.NAME = 'AdamW', one_of('AdamW', 'SGD', 'RMSprop', any_case=True)  # RMSprop is TensorFlow's
_C.TRAIN.OPTIMIZER.EPS = 1e-8, above(0, most=1)  # AdamW; RMSprop, inside the root (PyTorch's, outside, is the root of this)
_C.TRAIN.OPTIMIZER.BETAS = [0.9, 0.999], Each(PART, count=2)  # AdamW
_C.TRAIN.OPTIMIZER.ALPHA = 0.9, PART       # RMSprop: share that its average of squares keeps
_C.TRAIN.OPTIMIZER.MOMENTUM = 0.9, PART    # SGD, RMSprop
_C.TRAIN.OPTIMIZER.NESTEROV = False        # SGD
_C.TRAIN.MODEL_EMA = False                 # keep a moving average of the weights; it is what is evaluated and exported
_C.TRAIN.MODEL_EMA_DECAY = 0.9999, PART
_C.TRAIN.MODEL_EMA_WARMUP = True           # with a smaller decay at first, (1 + step) / (10 + step); False: the same throughout
_C.TRAIN.PRECISE_BN = True                 # before evaluations, take batch norms' statistics anew where running ones lag behind
_C.TRAIN.SYNC_BN = False                   # batch norm over the images of all processes; GPU only, the log says so on a CPU
_C.TRAIN.LOSS = 'ce', one_of('ce', 'bce')  # cross entropy, or binary cross entropy of each class
_C.TRAIN.BCE_SUM = False                   # bce: sum over the classes instead of the mean
_C.TRAIN.SMOOTHING = 0.1, PART             # label smoothing
_C.TRAIN.AUX_LOSS_WEIGHT = 0.3, within(0, 1000)  # of the loss of each auxiliary head, where a network has some
_C.TRAIN.DISTILL = CN()
_C.TRAIN.DISTILL.KIND = 'none', one_of('none', 'soft', 'hard')  # soft: the teacher's probabilities; hard: the class it finds
_C.TRAIN.DISTILL.TEACHER = ''              # a model's name, with its weights below; a checkpoint of ours; an export's directory
_C.TRAIN.DISTILL.WEIGHTS = ''              # of a teacher by name: a tag of its WEIGHTS, 'default', an address, a file
_C.TRAIN.DISTILL.ALPHA = 0.5, SHARE        # of the teacher's loss; the labels' has the rest
_C.TRAIN.DISTILL.TAU = 1.0, above(0, most=1000)  # soft: temperature
_C.TRAIN.IMAGE_SIZE = 0, within(0, SIDE)   # side in training, in pixels; 0: as DATA.IMAGE_SIZE, that of the evaluation
_C.TRAIN.MULTI_SCALE = [], pair(whole(1, SIDE), optional=True)  # pixels: each batch draws its side, and its size by that
_C.TRAIN.MULTI_SCALE_STEP = 32, within(1, SIDE)  # sides are least, least + step, ...; another -image_size scales all
_C.TRAIN.PROGRESSIVE_SIZES = [], Each(within(1, SIDE))  # pixels, one after another, each for as many epochs; follow -image_size
_C.TRAIN.REPEATED_AUG = 0, within(0, 1000)  # copies of an image per epoch, each transformed anew; steps stay, so fewer images
_C.TRAIN.CROP_SCALE = [0.08, 1.0], pair(above(0, most=1))            # share of the image's area that a random crop keeps
_C.TRAIN.CROP_RATIO = [0.75, 1.3333333333], pair(within(0.01, 100))  # width / height of a random crop
_C.TRAIN.HFLIP = 0.5, SHARE                # probability of mirroring; 0 for digits and text
_C.TRAIN.VFLIP = 0.0, SHARE                # probability of turning upside down, for pictures that have no right way up
_C.TRAIN.ROTATE = 0.0, within(0, 180)      # degrees, at most, to either side, that a picture is turned by
_C.TRAIN.SHEAR = 0.0, at_least(0, below=90)      # degrees, at most, to either side, that its columns lean by
_C.TRAIN.COLOR_JITTER = 0.4, within(0, 100)      # brightness, contrast, saturation; only without AUTO_AUGMENT and RAND_AUGMENT
_C.TRAIN.AUTO_AUGMENT = '', one_of('', 'original', 'v0', 'trivial')  # the paper's for ImageNet, EfficientNet's, TrivialAugment
_C.TRAIN.RAND_AUGMENT = False
_C.TRAIN.RAND_AUGMENT_INCREASING = False   # every operation gets stronger with the magnitude: "inc1" in the names of timm
_C.TRAIN.RAND_AUGMENT_LAYERS = 2, within(0, 100)      # operations per image
_C.TRAIN.RAND_AUGMENT_MAGNITUDE = 9.0, within(0, 10)
_C.TRAIN.RAND_AUGMENT_MSTD = 0.5, within(0, 100)      # standard deviation of the magnitude
_C.TRAIN.RANDOM_ERASE_PROB = 0.0, SHARE
_C.TRAIN.RANDOM_ERASE_MODE = 'pixel', one_of('const', 'rand', 'pixel')  # what fills the hole: zeros, one colour or noise
_C.TRAIN.RANDOM_ERASE_COUNT = 1, within(1, 1000)      # holes per image, at most
_C.TRAIN.MIXUP_MODE = 'batch', one_of('batch', 'pair', 'elem')  # one share and box per batch, per pair of images, or per image
_C.TRAIN.MIXUP_ALPHA = 0.0, within(0, 1000)      # 0: no mixup
_C.TRAIN.CUTMIX_ALPHA = 0.0, within(0, 1000)     # 0: no cutmix
_C.TRAIN.CUTMIX_MINMAX = [], pair(SHARE, optional=True)  # share of a side that cutmix pastes, instead of CUTMIX_ALPHA
_C.TRAIN.MIXUP_PROB = 1.0, SHARE           # probability that a batch is mixed at all
_C.TRAIN.MIXUP_SWITCH_PROB = 0.5, SHARE    # probability of cutmix where both are on

_C.AMP = False                             # mixed precision; GPU only
_C.AMP_DTYPE = 'float16', one_of('float16', 'bfloat16')
_C.PROCESSES = 0, within(0, 256)           # that train on a CPU, each with a BATCH_SIZE; 0: the fastest number, which share one
_C.THREADS = 0, within(0, 1024)            # of each of them; 0: the fastest number
_C.SAVE = './output', TEXT                 # every run makes a directory of its own in here
_C.SAVE_FREQ = 1, at_least(1)              # epochs between checkpoints
_C.SAVE_STEPS = 0, COUNT                   # steps between further checkpoints within an epoch; 0: none
_C.KEEP_CHECKPOINTS = 2, within(1, 1000)   # last.safetensors, last-1.safetensors (the one before), ...
_C.KEEP_BEST = 1, within(1, 1000)          # best.safetensors, best-2.safetensors (the second best evaluation), ...
_C.WATCHDOG_SECONDS = 300.0, within(0, 10_000_000)  # without progress, in any process, after which all end; 0: never
_C.REPORT_FREQ = 20, at_least(1)           # steps between lines in the log
_C.VALIDATE_FREQ = 1, at_least(1)          # epochs between evaluations
_C.VISUAL = '', one_of('', 'visualdl', 'tensorboard')  # curves for it in the run's directory, too
_C.SEED = 0, within(0, 2 ** 32 - 1)
_C.EVAL = False                            # evaluate only
_C.PER_CLASS = False                       # after an evaluation or a training: accuracy per class, and what it is taken for
_C.TEMPERATURE = 1.0, above(0, most=1_000_000)  # divides logits before a softmax: the calibration that tools/fit.py finds
_C.EXPORT = True                           # after training, export the best checkpoint with paddle.jit and verify it

DEFAULTS, BOUNDS = taken_apart(_C)         # BOUNDS: {dotted key: Bounds}
