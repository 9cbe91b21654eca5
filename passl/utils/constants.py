"""Numbers that belong to the field rather than to one file."""

import math

# Channel means and deviations of pixels scaled to 0..1, in RGB order.
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# CLIP paper, section 2.5: the logits are never scaled by more than 100.
MAX_LOGIT_SCALE = math.log(100.0)
INIT_LOGIT_SCALE = math.log(1 / 0.07)
