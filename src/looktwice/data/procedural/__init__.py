"""Made data: parts drawn from a seed, with exact truth. Nothing is downloaded, and one seed always makes one part.

`family` draws a kind of part from a category and a seed, and makes good and defective pictures of it; `stream` is an
endless list of such pictures to train on. For the demo, `plate` is a picture, `solid` a point cloud, `conveyor` a
video; `write_demo_parts` writes a folder of all three.
"""

from looktwice.data.procedural.bearing_cover import SOLID_DEFECTS, solid
from looktwice.data.procedural.camera import NEAR_MISSES
from looktwice.data.procedural.categories import CATEGORIES, HELD_OUT
from looktwice.data.procedural.films import FILM_DEFECTS, FILMS, FilmFamily, FilmScene, film_family
from looktwice.data.procedural.gear_belt import CONVEYOR_DEFECTS, conveyor
from looktwice.data.procedural.mounting_plate import PLATE_DEFECTS, plate
from looktwice.data.procedural.parts import DemoParts, write_demo_parts
from looktwice.data.procedural.scenes import LEVELS, Episode, Family, Scene, Stream, family, stream
from looktwice.data.procedural.solids import CLOUD_DEFECTS, SOLIDS, CloudFamily, CloudScene, cloud_family
from looktwice.data.procedural.words import Question, Rule
from looktwice.data.procedural.writing import Order, write_data_set

__all__ = [
    "CATEGORIES",
    "CLOUD_DEFECTS",
    "CONVEYOR_DEFECTS",
    "FILMS",
    "FILM_DEFECTS",
    "HELD_OUT",
    "LEVELS",
    "NEAR_MISSES",
    "PLATE_DEFECTS",
    "SOLIDS",
    "SOLID_DEFECTS",
    "CloudFamily",
    "CloudScene",
    "DemoParts",
    "Episode",
    "Family",
    "FilmFamily",
    "FilmScene",
    "Order",
    "Question",
    "Rule",
    "Scene",
    "Stream",
    "cloud_family",
    "conveyor",
    "family",
    "film_family",
    "plate",
    "solid",
    "stream",
    "write_data_set",
    "write_demo_parts",
]
