"""Made data: parts drawn from a seed, with exact truth. Nothing is downloaded, and one seed always makes one part.

`plate` is a picture, `solid` a point cloud, `conveyor` a video; `write_demo_parts` writes a folder of all three.
"""

from looktwice.data.procedural.bearing_cover import SOLID_DEFECTS, solid
from looktwice.data.procedural.gear_belt import CONVEYOR_DEFECTS, conveyor
from looktwice.data.procedural.mounting_plate import PLATE_DEFECTS, plate
from looktwice.data.procedural.parts import DemoParts, write_demo_parts

__all__ = [
    "CONVEYOR_DEFECTS",
    "PLATE_DEFECTS",
    "SOLID_DEFECTS",
    "DemoParts",
    "conveyor",
    "plate",
    "solid",
    "write_demo_parts",
]
