"""Numba primitives that paint Hounsfield units onto a grid with soft edges. They know no anatomy.

Every primitive has an approximate signed distance in mm and covers a voxel by `clip(0.5 - distance / voxel_mm, 0, 1)`,
so that a shell thinner than a voxel keeps about the right mass; only its bounding box is touched. Where `hu` meets
what is there, the two are mixed by coverage; with `only_add` nothing is made less dense (vessels inside tissue).
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Field = NDArray[np.float32]


@dataclass(frozen=True)
class Canvas:
    """A float32 (nx, ny, nz) grid of Hounsfield units with cubic voxels; `origin_mm` is the centre of voxel 0, 0, 0."""

    field: Field
    origin_mm: Array
    voxel_mm: float

    def axis_mm(self, axis: int) -> Array:
        """Voxel centres along an axis, mm."""
        return np.asarray(self.origin_mm[axis] + self.voxel_mm * np.arange(self.field.shape[axis]), dtype=np.float64)

    def tube(
        self,
        points: ArrayLike,
        radii_mm: ArrayLike,
        hu: float,
        *,
        squash: ArrayLike = (1.0, 1.0, 1.0),
        only_add: bool = False,
    ) -> None:
        """A chain of tapered capsules through `points` (n, 3) mm; `squash` > 1 along an axis makes it thinner there."""
        path = np.ascontiguousarray(points, dtype=np.float64)
        radii = np.broadcast_to(np.asarray(radii_mm, dtype=np.float64), (len(path),)).copy()
        _tube(
            self.field, self.origin_mm, self.voxel_mm, path, radii, hu, np.asarray(squash, dtype=np.float64), only_add
        )

    def bone_tube(
        self, points: ArrayLike, radii_mm: ArrayLike, cortex: tuple[float, float], core_hu: float, **kwargs: ArrayLike
    ) -> None:
        """A tube with a wall: `cortex` is (HU, thickness in mm)."""
        radii = np.asarray(radii_mm, dtype=np.float64)
        self.tube(points, radii, cortex[0], squash=kwargs.get("squash", (1.0, 1.0, 1.0)))
        self.tube(points, np.maximum(radii - cortex[1], 0.1), core_hu, squash=kwargs.get("squash", (1.0, 1.0, 1.0)))

    def solid(
        self,
        centre: ArrayLike,
        semi_mm: ArrayLike,
        hu: float,
        *,
        axes: ArrayLike | None = None,
        power: tuple[float, float] = (2.0, 2.0),
        only_add: bool = False,
    ) -> None:
        """A superquadric: `axes` (3, 3) rows are its directions, `power` its exponents (across, along the third axis).

        (2, 2) is an ellipsoid, (2, 8) an elliptic cylinder, (8, 8) a box with rounded edges.
        """
        frame = np.eye(3) if axes is None else np.ascontiguousarray(axes, dtype=np.float64)
        _solid(
            self.field,
            self.origin_mm,
            self.voxel_mm,
            np.asarray(centre, dtype=np.float64),
            frame,
            np.asarray(semi_mm, dtype=np.float64),
            float(power[0]),
            float(power[1]),
            hu,
            only_add,
        )

    def bone_solid(
        self,
        centre: ArrayLike,
        semi_mm: ArrayLike,
        cortex: tuple[float, float],
        core_hu: float,
        *,
        axes: ArrayLike | None = None,
        power: tuple[float, float] = (2.0, 2.0),
    ) -> None:
        """A solid with a wall: `cortex` is (HU, thickness in mm)."""
        semi = np.asarray(semi_mm, dtype=np.float64)
        self.solid(centre, semi, cortex[0], axes=axes, power=power)
        self.solid(centre, np.maximum(semi - cortex[1], 0.1), core_hu, axes=axes, power=power)

    def plate(self, corners: ArrayLike, half_mm: float, hu: float, *, only_add: bool = True) -> None:
        """Triangles (n, 3, 3) mm of thickness 2 `half_mm`."""
        for triangle in np.ascontiguousarray(corners, dtype=np.float64):
            _triangle(self.field, self.origin_mm, self.voxel_mm, triangle, half_mm, hu, only_add)

    def stack(self, sections: Array, hu: float) -> None:
        """Stacked superelliptic sections (nz, 6): x, y of the centre, half width, front, back (mm), exponent.

        A half width of 0 leaves a slice as it is.
        """
        _stack(self.field, self.origin_mm, self.voxel_mm, np.ascontiguousarray(sections), hu)

    def turn(self, angle_deg: float, pivot_y_mm: float) -> None:
        """Turn what is painted about the body's long axis through (0, pivot)."""
        pivot = np.array([-self.origin_mm[0], pivot_y_mm - self.origin_mm[1]]) / self.voxel_mm
        turned = np.empty_like(self.field)
        _turn(self.field, turned, np.deg2rad(angle_deg), pivot)
        self.field[:] = turned

    def texture(self, table: Field, amplitudes: Array, scale_mm: float) -> None:
        """Add smooth periodic noise: `table` (n, n, n) ~ N(0, 1), stretched so that one cell is `scale_mm`.

        `amplitudes` are HU for lung, soft tissue and bone; air stays air.
        """
        _texture(self.field, self.voxel_mm / scale_mm, table, amplitudes)


@njit(fastmath=True, nogil=True, inline="always")
def _blend(old: float, hu: float, coverage: float, only_add: bool) -> float:
    if only_add and hu < old:
        return old
    return old + (hu - old) * coverage


@njit(fastmath=True, nogil=True, inline="always")
def _span(low_mm: float, high_mm: float, origin: float, h: float, n: int) -> tuple[int, int]:
    first = int(np.ceil((low_mm - origin) / h - 0.5))
    last = int(np.floor((high_mm - origin) / h + 0.5)) + 1
    return max(0, min(n, first)), max(0, min(n, last))


@njit(cache=True, fastmath=True, nogil=True)
def _tube(
    field: Field, origin: Array, h: float, points: Array, radii: Array, hu: float, squash: Array, only_add: bool
) -> None:
    nx, ny, nz = field.shape
    for s in range(max(1, points.shape[0] - 1)):
        p, q = points[s], points[min(s + 1, points.shape[0] - 1)]
        rp, rq = radii[s], radii[min(s + 1, points.shape[0] - 1)]
        d = q - p
        length2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2] + 1e-9
        reach = max(rp, rq)
        x0, x1 = _span(min(p[0], q[0]) - reach / squash[0], max(p[0], q[0]) + reach / squash[0], origin[0], h, nx)
        y0, y1 = _span(min(p[1], q[1]) - reach / squash[1], max(p[1], q[1]) + reach / squash[1], origin[1], h, ny)
        z0, z1 = _span(min(p[2], q[2]) - reach / squash[2], max(p[2], q[2]) + reach / squash[2], origin[2], h, nz)
        for i in range(x0, x1):
            x = origin[0] + i * h - p[0]
            for j in range(y0, y1):
                y = origin[1] + j * h - p[1]
                for k in range(z0, z1):
                    z = origin[2] + k * h - p[2]
                    t = min(1.0, max(0.0, (x * d[0] + y * d[1] + z * d[2]) / length2))
                    ex, ey, ez = (x - t * d[0]) * squash[0], (y - t * d[1]) * squash[1], (z - t * d[2]) * squash[2]
                    r = rp + t * (rq - rp)
                    coverage = 0.5 - (np.sqrt(ex * ex + ey * ey + ez * ez) - r) / h
                    if r < h:  # a soft edge alone would give a thread more than its mass
                        coverage = min(1.0, coverage) * r * r / (r * r + h * h / 12.0)
                    if coverage > 0.0:
                        field[i, j, k] = _blend(field[i, j, k], hu, min(1.0, coverage), only_add)


@njit(cache=True, fastmath=True, nogil=True)
def _solid(
    field: Field,
    origin: Array,
    h: float,
    centre: Array,
    axes: Array,
    semi: Array,
    across: float,
    along: float,
    hu: float,
    only_add: bool,
) -> None:
    nx, ny, nz = field.shape
    reach = np.sqrt(3.0) * semi.max() if across > 3 or along > 3 else semi.max()
    box = np.empty(3)
    for a in range(3):
        box[a] = min(reach, abs(axes[0, a]) * semi[0] + abs(axes[1, a]) * semi[1] + abs(axes[2, a]) * semi[2])
    x0, x1 = _span(centre[0] - box[0], centre[0] + box[0], origin[0], h, nx)
    y0, y1 = _span(centre[1] - box[1], centre[1] + box[1], origin[1], h, ny)
    z0, z1 = _span(centre[2] - box[2], centre[2] + box[2], origin[2], h, nz)
    least = semi.min()
    round_ = across == 2.0 and along == 2.0
    for i in range(x0, x1):
        x = origin[0] + i * h - centre[0]
        for j in range(y0, y1):
            y = origin[1] + j * h - centre[1]
            for k in range(z0, z1):
                z = origin[2] + k * h - centre[2]
                a = abs(axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z) / semi[0]
                b = abs(axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z) / semi[1]
                c = abs(axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z) / semi[2]
                if max(a, max(b, c)) > 1.0 + h / least:
                    continue
                if round_:
                    f = np.sqrt(a * a + b * b + c * c)
                else:
                    f = ((a**across + b**across) ** (along / across) + c**along) ** (1.0 / along)
                r = np.sqrt(x * x + y * y + z * z)
                distance = r * (1.0 - 1.0 / f) if f > 1e-3 else -least
                coverage = 0.5 - distance / h
                if coverage > 0.0:
                    field[i, j, k] = _blend(field[i, j, k], hu, min(1.0, coverage), only_add)


@njit(cache=True, fastmath=True, nogil=True)
def _triangle(field: Field, origin: Array, h: float, corners: Array, half: float, hu: float, only_add: bool) -> None:
    nx, ny, nz = field.shape
    a, ab, ac = corners[0], corners[1] - corners[0], corners[2] - corners[0]
    low = np.minimum(np.minimum(corners[0], corners[1]), corners[2]) - half
    high = np.maximum(np.maximum(corners[0], corners[1]), corners[2]) + half
    x0, x1 = _span(low[0], high[0], origin[0], h, nx)
    y0, y1 = _span(low[1], high[1], origin[1], h, ny)
    z0, z1 = _span(low[2], high[2], origin[2], h, nz)
    d00, d01, d11 = np.dot(ab, ab), np.dot(ab, ac), np.dot(ac, ac)
    det = max(d00 * d11 - d01 * d01, 1e-9)
    point = np.empty(3)
    for i in range(x0, x1):
        for j in range(y0, y1):
            for k in range(z0, z1):
                point[0], point[1], point[2] = origin[0] + i * h, origin[1] + j * h, origin[2] + k * h
                rel = point - a
                e0, e1 = np.dot(rel, ab), np.dot(rel, ac)
                v, w = (d11 * e0 - d01 * e1) / det, (d00 * e1 - d01 * e0) / det
                v, w = max(v, 0.0), max(w, 0.0)
                if v + w > 1.0:
                    v, w = v / (v + w), w / (v + w)
                gap = rel - v * ab - w * ac
                distance = np.sqrt(np.dot(gap, gap)) - half
                coverage = 0.5 - distance / h
                if coverage > 0.0:
                    field[i, j, k] = _blend(field[i, j, k], hu, min(1.0, coverage), only_add)


@njit(fastmath=True, nogil=True, forceinline=True)
def inside_mm(x: float, y: float, section: Array) -> float:
    """Approximate depth in mm of (x, y) inside a superelliptic section (see `Canvas.stack`); negative outside."""
    dx, dy = x - section[0], y - section[1]
    a = abs(dx) / section[2]
    b = dy / section[3] if dy > 0 else -dy / section[4]
    if max(a, b) > 1.3:
        return -99.0
    f = (a ** section[5] + b ** section[5]) ** (1.0 / section[5])
    r = np.sqrt(dx * dx + dy * dy)
    return float(r * (1.0 / f - 1.0) if f > 1e-3 else min(section[2], min(section[3], section[4])))


@njit(cache=True, fastmath=True, parallel=True)
def _stack(field: Field, origin: Array, h: float, sections: Array, hu: float) -> None:
    nx, ny, nz = field.shape
    for i in prange(nx):
        x = origin[0] + i * h
        for j in range(ny):
            y = origin[1] + j * h
            for k in range(nz):
                if sections[k, 2] <= 0 or abs(x - sections[k, 0]) > sections[k, 2] + h:
                    continue
                coverage = 0.5 + inside_mm(x, y, sections[k]) / h
                if coverage > 0.0:
                    field[i, j, k] += (hu - field[i, j, k]) * min(1.0, coverage)


@njit(cache=True, fastmath=True, parallel=True)
def _texture(field: Field, step: float, table: Field, amplitudes: Array) -> None:
    nx, ny, nz = field.shape
    n = table.shape[0]
    for i in prange(nx):
        fx = i * step
        ix = int(fx)
        fx, ix, jx = fx - ix, ix % n, (ix + 1) % n
        for j in range(ny):
            fy = j * step
            iy = int(fy)
            fy, iy, jy = fy - iy, iy % n, (iy + 1) % n
            for k in range(nz):
                old = field[i, j, k]
                if old < -960.0:
                    continue
                fz = k * step
                iz = int(fz)
                fz, iz, jz = fz - iz, iz % n, (iz + 1) % n
                c0 = (table[ix, iy, iz] * (1 - fx) + table[jx, iy, iz] * fx) * (1 - fy) + (
                    table[ix, jy, iz] * (1 - fx) + table[jx, jy, iz] * fx
                ) * fy
                c1 = (table[ix, iy, jz] * (1 - fx) + table[jx, iy, jz] * fx) * (1 - fy) + (
                    table[ix, jy, jz] * (1 - fx) + table[jx, jy, jz] * fx
                ) * fy
                amplitude = amplitudes[0] if old < -300.0 else (amplitudes[1] if old < 150.0 else amplitudes[2])
                field[i, j, k] = old + amplitude * (c0 * (1 - fz) + c1 * fz)


@njit(cache=True, fastmath=True, parallel=True)
def _turn(field: Field, turned: Field, angle: float, pivot: Array) -> None:
    nx, ny, nz = field.shape
    c, s = np.cos(angle), np.sin(angle)
    for i in prange(nx):
        for j in range(ny):
            x, y = i - pivot[0], j - pivot[1]
            u = min(max(pivot[0] + c * x + s * y, 0.0), nx - 1.001)
            v = min(max(pivot[1] - s * x + c * y, 0.0), ny - 1.001)
            a, b = int(u), int(v)
            fu, fv = np.float32(u - a), np.float32(v - b)
            for k in range(nz):
                low = field[a, b, k] * (1 - fu) + field[a + 1, b, k] * fu
                high = field[a, b + 1, k] * (1 - fu) + field[a + 1, b + 1, k] * fu
                turned[i, j, k] = low * (1 - fv) + high * fv
