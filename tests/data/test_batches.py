import numpy as np
import torch

from prior.data.augment import Augmentation, augment, augment_with_masks, sample_affine, warp, warp_boxes
from prior.data.batches import epoch_batches, load_images, load_masks, ordered_batches, step_batches


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_rows_become_floats_in_order():
    store = np.arange(4 * 9, dtype=np.uint8).reshape(4, 3, 3)
    batch = load_images(store, np.array([2, 0]))
    assert batch.shape == (2, 1, 3, 3)
    assert torch.allclose(batch[0, 0] * 255, torch.from_numpy(store[2]).float())
    assert load_masks(store % 2, np.array([1])).unique().tolist() == [0.0, 1.0]


def test_epochs_cover_every_item_once_and_repeat_exactly():
    batches = list(epoch_batches(10, 3, generator(), drop_last=False))
    assert sorted(np.concatenate(batches)) == list(range(10))
    again = list(epoch_batches(10, 3, generator(), drop_last=False))
    assert all((a == b).all() for a, b in zip(batches, again, strict=True))
    assert [len(b) for b in epoch_batches(10, 3, generator())] == [3, 3, 3]
    assert [len(b) for b in epoch_batches(2, 3, generator())] == [2]


def test_steps_repeat_small_sets():
    batches = list(step_batches(5, 8, 4, generator()))
    assert [len(b) for b in batches] == [8] * 4
    counts = np.bincount(np.concatenate(batches), minlength=5)
    assert counts.max() - counts.min() <= 1
    assert np.concatenate(list(ordered_batches(5, 2))).tolist() == [0, 1, 2, 3, 4]


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


def test_masks_move_with_their_images():
    images = torch.zeros(8, 1, 64, 64)
    images[:, :, 16:40, 20:50] = 1.0
    still = Augmentation(brightness=0.0, contrast=0.0)
    moved, masks = augment_with_masks(images, images, generator(1), still)
    assert set(masks.unique().tolist()) <= {0.0, 1.0}
    assert ((moved > 0.5).float() - masks).abs().mean() < 0.01


def test_boxes_move_with_their_images():
    images = torch.zeros(8, 1, 64, 64)
    images[:, :, 16:40, 20:50] = 1.0
    matrices = sample_affine(8, generator(2), Augmentation())
    moved = warp(images, matrices)
    for image, matrix in zip(moved, matrices, strict=True):
        box = warp_boxes(torch.tensor([[20.0, 16.0, 50.0, 40.0]]), matrix, 64)[0]
        rows, columns = torch.nonzero(image[0] > 0.5, as_tuple=True)
        found = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert (box - found).abs().max() < 2.5
