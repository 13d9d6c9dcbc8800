"""What the tests share: one thread, so that two processes on two cores do not get in each other's way."""

import matplotlib
import torch

matplotlib.use("Agg")
torch.set_num_threads(1)
