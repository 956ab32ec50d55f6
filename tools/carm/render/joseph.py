"""Numba kernels of the CPU renderer: packing a CT, and Joseph's ray casting through it. Knows no poses and no frames.

Joseph, "An improved algorithm for reprojecting rays through pixel images", IEEE Trans. Med. Imaging 1(3), 1982: a ray
is sampled where it crosses the voxel planes of the axis along which it advances most, bilinearly within each plane.

Only what Python calls is cached on disk. A kernel compiled over helpers that came from the cache is not the machine
code of one compiled together with them: under `fastmath` their sums differed in the last bit, and so did the pictures
of two processes. Without helpers in the cache a kernel is always compiled whole, hence alike on one machine.

`_padded` indices are voxel indices + 1: one layer of zeros lies before the volume and two after it, so that no sample
needs a bounds check.
"""

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

BRICK = 16
"""Edge of the cells of `occupied`, in voxels."""
HALFWAY_MM = 1.0
"""A ray that moves sideways by more than this from plane to plane is also sampled halfway. Along a ray, trilinear
interpolation is a cubic within a cell, for which Simpson's rule is exact; Joseph's alone strays by up to 0.7 % of full
scale at 45 degrees through voxels of 2.7 mm."""
_HALF = BRICK // 2
_TINY = 1e-9


@njit(parallel=True, cache=True)
def pack(values: NDArray[np.uint16], table: NDArray[np.uint16], packed: NDArray[np.uint16]) -> None:
    """Write `table[values]` into zeros `packed` (nx + 3, nz + 3, ny + 3): y runs fastest, as rays do."""
    nx, ny, nz = values.shape
    for x in prange(nx):
        for y in range(ny):
            for z in range(nz):
                packed[x + 1, z + 1, y + 1] = table[values[x, y, z]]


@njit(parallel=True, cache=True)
def occupancy(packed: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """For every brick: whether a ray whose middle in a slab of BRICK planes lies in it can meet anything but zero.

    Within the slab a ray strays at most (BRICK - 1) / 2 voxels from that middle along either other axis, and a sample
    reads one voxel more (halfway samples included), so the brick is grown by half a brick.
    """
    na, nb, nc = packed.shape
    ha, hb, hc = -(-na // _HALF), -(-nb // _HALF), -(-nc // _HALF)
    half = np.zeros((ha, hb, hc), np.uint8)
    for i in prange(ha):
        for j in range(hb):
            for k in range(hc):
                block = packed[
                    i * _HALF : i * _HALF + _HALF + 1,
                    j * _HALF : j * _HALF + _HALF + 1,
                    k * _HALF : k * _HALF + _HALF + 1,
                ]
                half[i, j, k] = block.max() > 0
    grown = np.zeros((-(-ha // 2), -(-hb // 2), -(-hc // 2)), np.uint8)
    for i in prange(grown.shape[0]):
        for j in range(grown.shape[1]):
            for k in range(grown.shape[2]):
                around = half[
                    max(2 * i - 1, 0) : 2 * i + 3, max(2 * j - 1, 0) : 2 * j + 3, max(2 * k - 1, 0) : 2 * k + 3
                ]
                grown[i, j, k] = around.max() > 0
    return grown


@njit(fastmath=True, inline="always")
def _clip(origin: float, direction: float, high: float, t_in: float, t_out: float) -> tuple[float, float]:
    """The part of [t_in, t_out] where 0 <= origin + t * direction <= high."""
    if abs(direction) < _TINY:
        return (t_in, t_out) if 0.0 <= origin <= high else (1.0, 0.0)
    t_0, t_1 = -origin / direction, (high - origin) / direction
    return max(t_in, min(t_0, t_1)), min(t_out, max(t_0, t_1))


@njit(fastmath=True, forceinline=True)
def _bilinear(packed: NDArray[np.uint16], plane: int, b: float, c: float, second: int, third: int) -> float:
    """The value at (b, c) on the plane that starts at `plane`. Unsigned indices spare a check for negative ones."""
    i, j = np.int32(b), np.int32(c)
    wb, wc = np.float32(b - i), np.float32(c - j)
    at, beside = np.uint64(plane + i * second + j * third), np.uint64(third)
    near = np.float32(packed[at])
    near += wc * (np.float32(packed[at + beside]) - near)
    at += np.uint64(second)
    far = np.float32(packed[at])
    far += wc * (np.float32(packed[at + beside]) - far)
    return float(near + wb * (far - near))


@njit(fastmath=True, forceinline=True)
def _march(
    packed: NDArray[np.uint16],
    occupied: NDArray[np.uint8],
    strides: tuple[int, int, int],
    brick_strides: tuple[int, int, int],
    start: tuple[float, float],
    slope: tuple[float, float],
    first: int,
    last: int,
    halfway: bool,
) -> float:
    """Sum of the values on the planes `first`..`last` of the leading axis, in steps of one plane.

    `strides` are ordered (leading, second, third); `start` are the ray's second and third index at plane 0. With
    `halfway`, values between the planes count too, by Simpson's rule.
    """
    lead, second, third = strides
    on_planes = between = 0.0
    plane = first
    while plane <= last:
        slab = plane // BRICK
        stop = min(slab * BRICK + BRICK - 1, last)
        middle = 0.5 * (plane + stop)
        brick_b = np.int64(start[0] + slope[0] * middle) // BRICK
        brick_c = np.int64(start[1] + slope[1] * middle) // BRICK
        if occupied[np.uint64(slab * brick_strides[0] + brick_b * brick_strides[1] + brick_c * brick_strides[2])]:
            for k in range(plane, stop + 1):
                b, c = start[0] + slope[0] * k, start[1] + slope[1] * k
                on_planes += _bilinear(packed, k * lead, b, c, second, third)
            if halfway:
                for k in range(plane, min(stop, last - 1) + 1):
                    b, c = start[0] + slope[0] * (k + 0.5), start[1] + slope[1] * (k + 0.5)
                    between += _bilinear(packed, k * lead, b, c, second, third)
                    between += _bilinear(packed, (k + 1) * lead, b, c, second, third)
        plane = stop + 1
    return (on_planes + between) / 3.0 if halfway else on_planes


@njit(fastmath=True, forceinline=True)
def _integral(
    packed: NDArray[np.uint16],
    occupied: NDArray[np.uint8],
    shape: tuple[int, int, int],
    strides: tuple[int, int, int],
    brick_strides: tuple[int, int, int],
    origin: tuple[float, float, float],
    direction: tuple[float, float, float],
    length_mm: float,
    voxel_mm: tuple[float, float, float],
) -> float:
    """Integral of the packed values along origin + t * direction, t in [0, 1], which is `length_mm` long."""
    t_in, t_out = 0.0, 1.0
    for axis in range(3):
        t_in, t_out = _clip(origin[axis], direction[axis], shape[axis] - 2.0, t_in, t_out)
    if t_in >= t_out:
        return 0.0
    dx, dy, dz = abs(direction[0]), abs(direction[1]), abs(direction[2])
    if dy >= dx and dy >= dz:
        a, b, c = 1, 0, 2
    elif dx >= dz:
        a, b, c = 0, 1, 2
    else:
        a, b, c = 2, 0, 1
    at_in, at_out = origin[a] + t_in * direction[a], origin[a] + t_out * direction[a]
    first = math.ceil(min(at_in, at_out) - _TINY)
    last = math.floor(max(at_in, at_out) + _TINY)
    slope = (direction[b] / direction[a], direction[c] / direction[a])
    start = (origin[b] - slope[0] * origin[a], origin[c] - slope[1] * origin[a])
    order = (strides[a], strides[b], strides[c])
    bricks = (brick_strides[a], brick_strides[b], brick_strides[c])
    sideways_mm = math.hypot(slope[0] * voxel_mm[b], slope[1] * voxel_mm[c])
    total = _march(packed, occupied, order, bricks, start, slope, first, last, sideways_mm > HALFWAY_MM)
    return total * length_mm / abs(direction[a])


@njit(parallel=True, fastmath=True, cache=True)
def cast(
    packed: NDArray[np.uint16],
    occupied: NDArray[np.uint8],
    source: NDArray[np.float64],
    corner: NDArray[np.float64],
    step_u: NDArray[np.float64],
    step_v: NDArray[np.float64],
    length_mm: NDArray[np.float64],
    voxel_mm: tuple[float, float, float],
    image: NDArray[np.float32],
    threads: int,
) -> None:
    """Fill `image` (N, N) with integrals of the packed values from the source to each pixel.

    Args:
        packed: (nx + 3, nz + 3, ny + 3) C-contiguous, from `pack`.
        occupied: from `occupancy`.
        source, corner, step_u, step_v: (3,) the source, the centre of the first pixel, and the steps from pixel to
            pixel, in `_padded` indices (x, y, z).
        length_mm: (N, N) source to pixel.
        voxel_mm: edges of a voxel.
        image: (N, N) float32, written.
        threads: how many share the work; each takes every `threads`-th row, so that no one gets all the bone.
    """
    rows, columns = image.shape
    nx, nz, ny = packed.shape
    strides = (nz * ny, 1, ny)
    _, bz, by = occupied.shape
    brick_strides = (bz * by, 1, by)
    flat, flat_occupied = packed.reshape(-1), occupied.reshape(-1)
    origin = (source[0], source[1], source[2])
    each = -(-rows // threads)
    for task in prange(each * threads):
        row = task % each * threads + task // each
        if row < rows:
            for column in range(columns):
                direction = (
                    corner[0] + column * step_u[0] + row * step_v[0] - source[0],
                    corner[1] + column * step_u[1] + row * step_v[1] - source[1],
                    corner[2] + column * step_u[2] + row * step_v[2] - source[2],
                )
                image[row, column] = _integral(
                    flat,
                    flat_occupied,
                    (nx, ny, nz),
                    strides,
                    brick_strides,
                    origin,
                    direction,
                    length_mm[row, column],
                    voxel_mm,
                )
