"""Every shared configuration key, with its default and what it means. Other files must not repeat a default or a limit.

Groups and names of keys are PaddleViT's. Keys that belong to one family are in that family's `config.py`, below MODEL.
"""
from yacs.config import CfgNode as CN

_C = CN()
_C.BASE = ['']                            # files or model names that are merged first, in this order

_C.RESUME = ''                            # a checkpoint or a run's directory to continue, or 'auto': the newest run below SAVE
_C.PRETRAINED = ''                        # weights to start from: a tag of PUBLISHED.WEIGHTS, 'default', an address, a file

_C.DATA = CN()
_C.DATA.DATASET = 'imagenet2012'          # imagenet2012, folder, mnist5k, mnist, fashion_mnist, cifar10 or cifar100
_C.DATA.DATA_PATH = ''                    # where the data set's files are; mnist5k needs none
_C.DATA.DOWNLOAD = False                  # fetch mnist, fashion_mnist, cifar10 or cifar100 when DATA_PATH lacks them
_C.DATA.BATCH_SIZE = 256                  # images per process and step of the loader
_C.DATA.BATCH_SIZE_EVAL = 0               # the same in evaluation; 0: as BATCH_SIZE
_C.DATA.IMAGE_SIZE = 224                  # side of the network's square input, in pixels
_C.DATA.CROP_PCT = 0.875                  # evaluation resizes the short side to IMAGE_SIZE / CROP_PCT, then crops the centre
_C.DATA.INTERPOLATION = 'bilinear'        # nearest, bilinear, bicubic, lanczos, box or hamming
_C.DATA.IMAGENET_MEAN = [0.485, 0.456, 0.406]  # subtracted from RGB in 0..1
_C.DATA.IMAGENET_STD = [0.229, 0.224, 0.225]   # then divided by this
_C.DATA.COLOR_ORDER = 'RGB'               # in which the network takes colours, after normalizing: RGB, or BGR as OpenCV reads
_C.DATA.NUM_WORKERS = 2                   # processes that load images; 0 loads in the training process
_C.DATA.FAST_DECODE = True                # training decodes JPEG at 1/2, 1/4 or 1/8 where its crop keeps the size it needs
_C.DATA.BACKEND = 'pillow'                # opencv, an extra, decodes and resizes JPEG for training faster, by other filters
_C.DATA.MAX_BAD_IMAGES = 50               # unreadable training images that are skipped before training stops

_C.MODEL = CN()
_C.MODEL.TYPE = 'MobileFormer'            # the family's directory, compared in lower case
_C.MODEL.NAME = 'mobileformer_26m'        # the variant, as logs and exports call it
_C.MODEL.NUM_CLASSES = 1000
_C.MODEL.IN_CHANNELS = 3                  # 3: RGB, 1: grey, 4: RGBA
_C.MODEL.DROPOUT = 0.0                    # in front of the classifier, and where else the family says
_C.MODEL.DROPPATH = 0.0                   # probability that a sample skips a residual branch
_C.MODEL.GRAD_CHECKPOINTING = False       # train with less memory and a third more time: blocks run again in the backward pass

_C.PUBLISHED = CN()                       # what others report of the network, and their weights; the network's own yaml says it
_C.PUBLISHED.TOP1 = 0.0                   # ImageNet top-1 in percent of its authors or porters; 0: none
_C.PUBLISHED.SOURCE = ''                  # where
_C.PUBLISHED.WEIGHTS = []                 # published weights, the first is the default: see `weights/catalogue.py`

_C.TRAIN = CN()
_C.TRAIN.NUM_EPOCHS = 300
_C.TRAIN.MAX_STEPS = 0                    # end after so many optimizer steps, for a quick try; 0: no limit
_C.TRAIN.WARMUP_EPOCHS = 5.0              # the rate rises linearly from WARMUP_START_LR to BASE_LR, step by step
_C.TRAIN.WARMUP_START_LR = 1e-6
_C.TRAIN.BASE_LR = 1e-3
_C.TRAIN.LR_SCHEDULE = 'cosine'           # after the warm-up: cosine, step, exponential, poly or constant
_C.TRAIN.END_LR = 1e-5                    # where cosine and poly end, below which step and exponential do not fall
_C.TRAIN.DECAY_EPOCHS = 30.0              # step and exponential: epochs (from the start) per factor DECAY_RATE
_C.TRAIN.DECAY_RATE = 0.1                 # step and exponential: step at once, exponential a little at every step
_C.TRAIN.DECAY_MILESTONES = []            # step: epochs after which the rate falls, instead of every DECAY_EPOCHS
_C.TRAIN.POLY_POWER = 1.0                 # poly: 1 is a straight line
_C.TRAIN.COOLDOWN_EPOCHS = 0.0            # last epochs at END_LR; part of NUM_EPOCHS (timm trains them in addition)
_C.TRAIN.LAYER_DECAY = 1.0                # each block's rate is the next deeper one's times this, the head's is full; 1: off
_C.TRAIN.HEAD_LR_SCALE = 1.0              # the classifier's rate is the others' times this
_C.TRAIN.FREEZE = []                      # layers that keep their weights: [stem, blocks.0]; [backbone]: all but the classifier
_C.TRAIN.FREEZE_EPOCHS = 0                # epochs after which they learn, too; 0: never
_C.TRAIN.FREEZE_BN = False                # batch norms keep the statistics they have; their scale and shift learn
_C.TRAIN.LINEAR_SCALED_LR = 0             # the total batch that the three rates are meant for: they scale with it; 0: fixed
_C.TRAIN.WEIGHT_DECAY = 0.05
_C.TRAIN.NO_DECAY_1D = True               # norms, biases and the network's exceptions take no decay; False: all decay
_C.TRAIN.GRAD_CLIP = 0.0                  # the limit of GRAD_CLIP_MODE; 0: no clipping
_C.TRAIN.GRAD_CLIP_MODE = 'norm'          # norm: of all gradients; value: of each number; agc: of each unit, by its weights
_C.TRAIN.EARLY_STOP = 0                   # evaluations in a row, after the warm-up, without a better top-1 that end it; 0: never
_C.TRAIN.MAX_BAD_STEPS = 20               # steps in a row with a NaN or infinite loss or gradient, skipped, that end the run
_C.TRAIN.ACCUM_ITER = 1                   # batches per optimizer step
_C.TRAIN.OPTIMIZER = CN()
_C.TRAIN.OPTIMIZER.NAME = 'AdamW'         # AdamW, SGD, or RMSprop as TensorFlow's, which MobileNets were trained with
_C.TRAIN.OPTIMIZER.EPS = 1e-8             # AdamW; RMSprop, inside the root (PyTorch's, outside of it, is the root of this)
_C.TRAIN.OPTIMIZER.BETAS = [0.9, 0.999]   # AdamW
_C.TRAIN.OPTIMIZER.ALPHA = 0.9            # RMSprop: share that its average of squares keeps
_C.TRAIN.OPTIMIZER.MOMENTUM = 0.9         # SGD, RMSprop
_C.TRAIN.OPTIMIZER.NESTEROV = False       # SGD
_C.TRAIN.MODEL_EMA = False                # keep a moving average of the weights; it is what is evaluated and exported
_C.TRAIN.MODEL_EMA_DECAY = 0.9999
_C.TRAIN.MODEL_EMA_WARMUP = True          # with a smaller decay at first, (1 + step) / (10 + step); False: the same throughout
_C.TRAIN.PRECISE_BN = True                # before evaluations, take batch norms' statistics anew where running ones lag behind
_C.TRAIN.SYNC_BN = False                  # batch norm over the images of all processes; GPU only, the log says so on a CPU
_C.TRAIN.LOSS = 'ce'                      # ce: cross entropy; bce: binary cross entropy of each class
_C.TRAIN.BCE_SUM = False                  # bce: sum over the classes instead of the mean
_C.TRAIN.SMOOTHING = 0.1                  # label smoothing
_C.TRAIN.AUX_LOSS_WEIGHT = 0.3            # of the loss of each auxiliary head, where a network has some
_C.TRAIN.DISTILL = CN()
_C.TRAIN.DISTILL.KIND = 'none'            # soft: learn the teacher's probabilities; hard: the class it finds; none
_C.TRAIN.DISTILL.TEACHER = ''             # a model's name, with its weights below; a checkpoint of ours; an export's directory
_C.TRAIN.DISTILL.WEIGHTS = ''             # of a teacher by name: a tag of its WEIGHTS, 'default', an address, a file
_C.TRAIN.DISTILL.ALPHA = 0.5              # share of the teacher's loss; the labels' has the rest
_C.TRAIN.DISTILL.TAU = 1.0                # soft: temperature
_C.TRAIN.IMAGE_SIZE = 0                   # side in training, in pixels; 0: as DATA.IMAGE_SIZE, that of the evaluation
_C.TRAIN.MULTI_SCALE = []                 # [least, most] pixels: each batch draws its side; its size keeps the memory constant
_C.TRAIN.MULTI_SCALE_STEP = 32            # sides are least, least + step, ..., up to most; another -image_size scales all
_C.TRAIN.REPEATED_AUG = 0                 # copies of an image per epoch, each transformed anew; steps stay, so fewer images
_C.TRAIN.CROP_SCALE = [0.08, 1.0]         # share of the image's area that a random crop keeps
_C.TRAIN.CROP_RATIO = [0.75, 1.3333333333]  # width / height of a random crop
_C.TRAIN.HFLIP = 0.5                      # probability of mirroring; 0 for digits and text
_C.TRAIN.VFLIP = 0.0                      # probability of turning upside down, for pictures that have no right way up
_C.TRAIN.ROTATE = 0.0                     # degrees, at most, to either side, that a picture is turned by
_C.TRAIN.SHEAR = 0.0                      # degrees, at most, to either side, that its columns lean by
_C.TRAIN.COLOR_JITTER = 0.4               # brightness, contrast, saturation; only where AUTO_AUGMENT and RAND_AUGMENT are off
_C.TRAIN.AUTO_AUGMENT = ''                # original (the paper's for ImageNet), v0 (EfficientNet's) or trivial (TrivialAugment)
_C.TRAIN.RAND_AUGMENT = False
_C.TRAIN.RAND_AUGMENT_INCREASING = False  # every operation gets stronger with the magnitude: "inc1" in the names of timm
_C.TRAIN.RAND_AUGMENT_LAYERS = 2          # operations per image
_C.TRAIN.RAND_AUGMENT_MAGNITUDE = 9.0     # 0 to 10
_C.TRAIN.RAND_AUGMENT_MSTD = 0.5          # standard deviation of the magnitude
_C.TRAIN.RANDOM_ERASE_PROB = 0.0
_C.TRAIN.RANDOM_ERASE_MODE = 'pixel'      # what fills the hole: const (zeros), rand (one colour) or pixel (noise)
_C.TRAIN.RANDOM_ERASE_COUNT = 1           # holes per image, at most
_C.TRAIN.MIXUP_MODE = 'batch'             # one share and box per batch, per pair of images, or per image: elem
_C.TRAIN.MIXUP_ALPHA = 0.0                # 0: no mixup
_C.TRAIN.CUTMIX_ALPHA = 0.0               # 0: no cutmix
_C.TRAIN.CUTMIX_MINMAX = []               # [least, most] share of a side that cutmix pastes, instead of CUTMIX_ALPHA
_C.TRAIN.MIXUP_PROB = 1.0                 # probability that a batch is mixed at all
_C.TRAIN.MIXUP_SWITCH_PROB = 0.5          # probability of cutmix where both are on

_C.AMP = False                            # mixed precision; GPU only
_C.AMP_DTYPE = 'float16'                  # float16 or bfloat16
_C.SAVE = './output'                      # every run makes a directory of its own in here
_C.SAVE_FREQ = 1                          # epochs between checkpoints
_C.SAVE_STEPS = 0                         # steps between further checkpoints within an epoch; 0: none
_C.KEEP_CHECKPOINTS = 2                   # last.safetensors, last-1.safetensors (the one before), ...
_C.KEEP_BEST = 1                          # best.safetensors, best-2.safetensors (the second best evaluation), ...
_C.WATCHDOG_SECONDS = 300.0               # without progress, in any process, after which all end with the reason; 0: never
_C.REPORT_FREQ = 20                       # steps between lines in the log
_C.VALIDATE_FREQ = 1                      # epochs between evaluations
_C.VISUAL = ''                            # visualdl or tensorboard: curves for it in the run's directory, too
_C.SEED = 0
_C.EVAL = False                           # evaluate only
_C.PER_CLASS = False                      # after an evaluation or a training: accuracy per class, and what it is taken for
_C.TEMPERATURE = 1.0                      # logits are divided by it before a softmax: the calibration that tools/fit.py finds
_C.EXPORT = True                          # after training, export the best checkpoint with paddle.jit and verify it

DEFAULTS = _C
