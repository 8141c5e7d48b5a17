import numpy as np
import torch

from prior.data.augment import Augmentation, augment, sample_affine
from prior.data.batches import load_images


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_rows_become_floats_in_order():
    store = np.arange(4 * 9, dtype=np.uint8).reshape(4, 3, 3)
    batch = load_images(store, np.array([2, 0]))
    assert batch.shape == (2, 1, 3, 3)
    assert torch.allclose(batch[0, 0] * 255, torch.from_numpy(store[2]).float())


def test_augmentation_repeats_from_the_generator_and_stays_in_range():
    images = torch.rand(6, 1, 24, 24)
    one, two = augment(images, generator(3)), augment(images, generator(3))
    assert torch.equal(one, two)
    assert not torch.equal(one, augment(images, generator(4)))
    assert one.min() >= 0
    assert one.max() <= 1


def test_no_change_is_the_identity():
    images = torch.rand(3, 1, 16, 16)
    still = Augmentation(crop=(1.0, 1.0), rotation=0.0, brightness=0.0, contrast=0.0)
    assert torch.allclose(augment(images, generator(), still), images, atol=1e-5)


def test_never_a_flip_and_within_the_stated_strength():
    matrices = sample_affine(500, generator(), Augmentation())
    determinant = torch.linalg.det(matrices[:, :, :2])
    assert determinant.min() >= 0.8 - 1e-5
    assert determinant.max() <= 1 + 1e-5
    angles = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]).rad2deg()
    assert angles.abs().max() <= 10.001
