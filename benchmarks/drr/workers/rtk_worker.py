"""RTK's Joseph forward projector on the CPU."""

import itk
import numpy as np
from itk import RTK
from serving import serve

IMAGE = itk.Image[itk.F, 3]


def prepare(volume):
    """The volume stays in ITK; the affine must have no rotation."""
    affine = volume["affine_world"]
    spacing = np.diag(affine)[:3]
    if not np.allclose(affine[:3, :3], np.diag(spacing)):
        raise SystemExit("this worker takes volumes whose axes are those of the world")
    image = itk.image_from_array(np.ascontiguousarray(volume["attenuation"].T))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())

    def draw(view):
        size_px, pixel_mm = view["size_px"], view["pixel_mm"]
        source, u, v, forward = (np.array(view[key]) for key in ("source", "u", "v", "forward"))
        detector = source + view["source_detector_mm"] * forward
        geometry = RTK.ThreeDCircularProjectionGeometry.New()
        geometry.AddProjection(source.tolist(), detector.tolist(), u.tolist(), v.tolist())
        blank = RTK.ConstantImageSource[IMAGE].New()
        blank.SetSize([size_px, size_px, 1])
        blank.SetSpacing([pixel_mm, pixel_mm, 1.0])
        blank.SetOrigin([-(size_px - 1) / 2 * pixel_mm] * 2 + [0.0])
        blank.SetConstant(0.0)
        projector = RTK.JosephForwardProjectionImageFilter[IMAGE, IMAGE].New()
        projector.SetInput(0, blank.GetOutput())
        projector.SetInput(1, image)
        projector.SetGeometry(geometry)
        projector.Update()
        return itk.array_from_image(projector.GetOutput())[0]

    return draw


serve(prepare)
