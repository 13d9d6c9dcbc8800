"""A pretended device: tensors that say they are on CUDA and refuse what tensors there refuse, on a machine without a GPU.

Numbers are computed on the CPU, so that a fault of handling shows and nothing else: what is not moved home before numpy or
matplotlib reads it, and what is mixed with tensors of the CPU. It does not prove CUDA. It is stricter in two things, ``tolist``
and ``item``: they work there, but each makes the device wait, so they are asked of what is at home. It is laxer inside the
transforms of ``torch.func``: their tensors carry no class, so nothing that happens in them is seen, and what they return is at
home.
"""

from contextlib import contextmanager
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

NAME = "cuda"
DEVICE = torch.device(NAME, 0)
READS = ("numpy", "__array__", "tolist", "item")
JOINS = ("stack", "cat", "concatenate", "hstack", "vstack")  # which take no number of the CPU either
MOVES = ("to", "cpu", "cuda")
WHERE, ON_GPU = torch.Tensor.device.__get__, torch.Tensor.is_cuda.__get__


class There(torch.Tensor):
    """A tensor on the pretended device; what torch makes of it is there too."""


class Misplaced(RuntimeError):
    """What CUDA would refuse."""


def there(value):
    """A tensor as one of the pretended device, with storage of its own."""
    return value.clone().as_subclass(There)


def here(value):
    """The same tensor of the CPU, with storage of its own."""
    return value.as_subclass(torch.Tensor).clone() if isinstance(value, There) else value


def _meant(where):
    """Whether a device that was asked for is the pretended one."""
    return where is not None and torch.device(where).type == NAME


class Pretended(TorchFunctionMode):
    """While it is on, each call of torch is looked at: where its tensors are, and where it makes new ones."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Call it, or raise Misplaced."""
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if func in (WHERE, ON_GPU):
            far = isinstance(args[0], There)
            return func(*args) if not far else DEVICE if func == WHERE else True
        if name in MOVES:
            return self.moved(func, name, *args, **kwargs)
        if name in READS and isinstance(args[0], There):
            raise Misplaced(f"{name} of a tensor on {DEVICE}: it has to be moved to the CPU first")
        if name == "__format__":
            return func(here(args[0]), *args[1:])
        if kwargs.get("device") is not None:
            return self.made(func, args, kwargs)
        self.together(name, args, kwargs)
        return func(*args, **kwargs)

    def moved(self, func, name, value, *args, **kwargs):
        """The ``to`` of a tensor, with a device, a type or another tensor, and its short forms."""
        where = {"cpu": "cpu", "cuda": NAME}.get(name) or kwargs.pop("device", None)
        rest = []
        for one in args:
            if isinstance(one, torch.Tensor):
                where, one = (NAME if isinstance(one, There) else "cpu"), one.dtype
            if isinstance(one, (str, torch.device)):
                where = one
            else:
                rest.append(one)
        far = isinstance(value, There) if where is None else _meant(where)
        found = value.to(*rest, **kwargs) if rest or kwargs else value
        return found if isinstance(found, There) == far else there(found) if far else here(found)

    def made(self, func, args, kwargs):
        """What is made on a device that the call names, from numbers or from tensors anywhere."""
        far = _meant(kwargs["device"])
        if far and kwargs.get("generator") is not None:
            raise Misplaced(f"a generator of the CPU draws no tensor on {DEVICE}")
        found = func(*args, **kwargs | {"device": "cpu"})
        return found if isinstance(found, There) == far else there(found) if far else here(found)

    def together(self, name, args, kwargs):
        """Raise where tensors of both devices meet, but as CUDA takes them: numbers anywhere, places to look up, a copy."""
        found = [one for one in _pytree.tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        if not any(isinstance(one, There) for one in found) or name == "copy_":
            return
        if name == "__getitem__" and isinstance(args[0], There):
            return
        least = 0 if name in JOINS else 1
        near = [one for one in found if not isinstance(one, There) and one.ndim >= least]
        near = [one for one in near if not torch._C._functorch.is_functorch_wrapped_tensor(one)]
        if near:
            raise Misplaced(f"{name} of tensors on {DEVICE} and on the CPU, the latter of shape {tuple(near[0].shape)}")


@contextmanager
def pretended():
    """In a ``with``: torch says that there is one CUDA device, and tensors that are moved to it or made on it are There."""
    found = {"is_available": lambda: True, "device_count": lambda: 1}
    # An optimiser asks the driver whether its work is captured as a graph; there is no driver here.
    asks = [name for name in dir(torch.optim.Optimizer) if name.endswith("graph_capture_health_check")]
    quiet = mock.patch.multiple(torch.optim.Optimizer, **{name: lambda self: None for name in asks})
    with quiet, mock.patch.multiple(torch.cuda, **found), Pretended():
        yield NAME
