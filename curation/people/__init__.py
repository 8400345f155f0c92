"""People: any number of rendered talking heads whose every factor is planted, from public-domain shape data.

    person = Person.from_seed(7)                       # who: shape, age, sex, skin, hair, glasses, clothes     (person.py)
    scene = Scene.from_seed(7)                         # where: lights, background, camera                      (scene.py)
    studio = Studio(person, scene, size_px=256)        # builds the person once, about a second                 (rendered.py)
    shot = studio.render(Pose(jaw_open=0.4, yaw_deg=12))                                                        (pose.py)
    shot.rgb, shot.points_px, shot.visible, shot.lip_gap_px, shot.lid_gap_px                                    (rendered.py: Rendered)

Needs the extra `people` (numba); the data ship with the package. How it is made and what it is good for: docs/people.md.
"""

from curation.people.person import Person
from curation.people.pose import Pose
from curation.people.rendered import Rendered, Studio
from curation.people.scene import Scene

__all__ = ["Person", "Pose", "Rendered", "Scene", "Studio"]
