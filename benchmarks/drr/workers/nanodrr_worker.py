"""nanodrr on the CPU; the number of samples along a ray is the first argument."""

import sys

import torch
from nanodrr.camera import make_k_inv
from nanodrr.data import Subject
from nanodrr.drr import DRR
from serving import serve
from torchio import ScalarImage

SAMPLES = int(sys.argv[1])


def prepare(volume):
    """The attenuation as it is, without nanodrr's own conversion."""
    image = ScalarImage(tensor=torch.from_numpy(volume["attenuation"])[None], affine=volume["affine_world"])
    subject = Subject.from_images(image, convert_to_mu=False)
    cameras = {}

    def draw(view):
        size_px, pixel_mm, distance = view["size_px"], view["pixel_mm"], view["source_detector_mm"]
        if size_px not in cameras:
            matrix = make_k_inv(distance, pixel_mm, pixel_mm, 0.0, 0.0, size_px, size_px)
            cameras[size_px] = DRR(matrix, torch.tensor([distance]), size_px, size_px)
        pose = torch.eye(4)
        pose[:3] = torch.tensor([view["u"], view["v"], view["forward"], view["source"]]).T
        with torch.inference_mode():
            return cameras[size_px](subject, pose[None], n_samples=SAMPLES)[0, 0].numpy()

    return draw


serve(prepare)
