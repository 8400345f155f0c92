"""DWPose's pre- and post-processing: planted dots come back, rtmlib and torchvision agree, batches change nothing."""

from __future__ import annotations

import numpy as np
import pytest
from dot_networks import MIXTURE, DotPerson, draw, write_detector, write_pose
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.dwpose import detector, pose
from curation.dwpose.detector import PersonDetector, decode, letterbox, suppress
from curation.dwpose.pose import FACE, PoseNetwork, crop, crop_frame, crop_matrix, decode_simcc
from curation.dwpose.session import OnnxNetwork
from curation.dwpose.whole_body import with_neck
from curation.landmarks import pose as head_pose
from manifests.errors import UserError

WIDTH_PX, HEIGHT_PX = 1920, 1080
RNG = np.random.default_rng(3)


def open_detector(file, batch: int = 2, **options) -> PersonDetector:
    return PersonDetector(OnnxNetwork(file, "cpu", batch, (640, 640), 64, **options))


def open_pose(file, batch: int = 4, refine: bool = True, **options) -> PoseNetwork:
    return PoseNetwork(OnnxNetwork(file, "cpu", batch, (384, 288), 64, **options), refine)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dots")
    return {
        "detector": write_detector(folder / "d.onnx"),
        "detector of one": write_detector(folder / "d1.onnx", 1),
        "pose": write_pose(folder / "p.onnx"),
        "pose of one": write_pose(folder / "p1.onnx", 1),
    }


@pytest.fixture(scope="module")
def dots(files):
    return open_detector(files["detector"]), open_pose(files["pose"])


def people(n: int = 1) -> st.SearchStrategy[list[DotPerson]]:
    """People side by side in a 1080p picture, whose faces are within it."""
    share = WIDTH_PX / n

    def person(i: int):
        distance = st.floats(60, min(190, share / 5))
        return distance.flatmap(
            lambda d: st.builds(
                DotPerson,
                st.floats(share * i + 2 * d, share * (i + 1) - 2 * d),
                st.floats(2.2 * d, HEIGHT_PX - 2.5 * d),
                st.just(d),
                st.floats(-30, 30),
            )
        )

    return st.tuples(*(person(i) for i in range(n))).map(list).filter(apart)


def apart(group: list[DotPerson]) -> bool:
    """No dot of one lies in the crop of another: it would pull the stand-in's peaks, which are centres of mass."""
    for person in group:
        x, y, width, height = crop_frame(person.box_px)
        for other in group:
            reach = np.array([width, height]) / 2 + 0.5 * other.eye_distance_px  # 5 sigma of a dot
            if other is not person and (np.abs(other.dots_px - [x, y]) < 1.04 * reach).all(axis=1).any():
                return False
    return True


def points_of(picture, boxes, network, batch):
    found = [network.locate([crop(picture, b) for b in part], part) for part in (boxes[i : i + batch] for i in range(0, len(boxes), batch))]
    return tuple(np.concatenate(group) for group in zip(*found, strict=True))


@given(people=people(2))
@settings(max_examples=8, deadline=None)
def test_planted_people_come_back_at_1080p_through_both_networks(dots, people):
    detect, locate = dots
    picture = draw(people, WIDTH_PX, HEIGHT_PX)
    (found,) = detect.detect([picture])
    assert len(found) == 2
    boxes = sorted((person.box_px for person in found), key=lambda box: box[0] + box[2])
    for person, box in zip(people, boxes, strict=True):
        wanted = np.clip(person.box_px, 0, [WIDTH_PX, HEIGHT_PX, WIDTH_PX, HEIGHT_PX])
        assert np.abs(box - wanted).max() < 0.04 * (person.box_px[2] - person.box_px[0])
    points_px, scores = locate.locate([crop(picture, box) for box in boxes], boxes)
    for person, points in zip(people, points_px, strict=True):
        np.testing.assert_allclose(points, person.points_px, atol=0.25)
    assert scores.min() > 0.95


@pytest.mark.parametrize("roll_deg", range(-165, 181, 15))
def test_a_rolled_person_is_read_as_they_lie(dots, roll_deg):
    """Boxes, crops and the way back keep any turn in the picture, and the head's angles are those of the turned points."""
    detect, locate = dots
    person = DotPerson(960, 540, eye_distance_px=110, angle_deg=roll_deg)
    picture = draw([person], WIDTH_PX, HEIGHT_PX)
    ((found,),) = detect.detect([picture])
    points_px, _ = locate.locate([crop(picture, found.box_px)], found.box_px[None])
    errors_px = np.abs(points_px[0, FACE] - person.face_px).max(axis=1)
    assert np.percentile(errors_px, 95) < 0.3  # of a head hanging down, the stand-in's box leaves the tip of the chin outside the crop
    assert errors_px.max() < 3
    roll = head_pose.angles_deg(head_pose.head_rotations(points_px[:, FACE])[0])[0, 2]
    assert abs((roll - roll_deg + 180) % 360 - 180) < 1


@given(
    person=people(1).map(lambda p: p[0]),
    shift=st.tuples(st.floats(-0.15, 0.15), st.floats(-0.15, 0.15)),
    grow=st.tuples(st.floats(0.85, 1.6), st.floats(0.85, 1.6)),
    seed=st.integers(0, 100),
)
@settings(max_examples=15, deadline=None)
def test_any_box_gives_the_same_points_and_batches_give_what_singles_give(dots, files, person, shift, grow, seed):
    picture = draw([person], WIDTH_PX, HEIGHT_PX)
    x0, y0, x1, y1 = person.box_px
    centre, half = np.array([x0 + x1, y0 + y1]) / 2, np.array([x1 - x0, y1 - y0]) / 2
    rng = np.random.default_rng(seed)
    boxes = []
    for _ in range(rng.integers(1, 7)):
        c = centre + np.array(shift) * half * rng.uniform(0, 1)
        boxes.append(np.concatenate([c - half * grow, c + half * grow]))
    singles = points_of(picture, boxes, dots[1], 1)
    for points in singles[0]:
        np.testing.assert_allclose(points[pose.FACE], person.face_px, atol=0.3)
    batched = points_of(picture, boxes, dots[1], 4)
    np.testing.assert_allclose(batched[0], singles[0], atol=2e-3)
    np.testing.assert_allclose(batched[1], singles[1], atol=1e-5)


def test_a_box_that_reaches_beyond_the_picture_gives_the_same_points(dots):
    person = DotPerson(150, 200, 90)
    picture = draw([person], 640, 480)
    box = np.array([-300.0, -200.0, 500.0, 700.0])
    np.testing.assert_allclose(dots[1].locate([crop(picture, box)], [box])[0][0, pose.FACE], person.face_px, atol=0.3)


def test_padding_and_graphs_of_a_fixed_batch_change_nothing(dots, files):
    pictures = [draw([DotPerson(300 + 40 * i, 250, 60)], 900, 600) for i in range(3)]
    free = dots[0].detect(pictures)
    for other in (open_detector(files["detector"], 2, pad=True), open_detector(files["detector of one"], 8)):
        for ours, theirs in zip(free, other.detect(pictures), strict=True):
            np.testing.assert_allclose(ours[0].box_px, theirs[0].box_px, atol=1e-3)
    assert open_detector(files["detector of one"], 8).network.batch == 1
    boxes = [people[0].box_px for people in free]
    crops = [crop(picture, box) for picture, box in zip(pictures, boxes, strict=True)]
    free = dots[1].locate(crops, boxes)
    padded = open_pose(files["pose"], 8, pad=True)
    np.testing.assert_allclose(padded.locate(crops, boxes)[0], free[0], atol=2e-3)
    one = open_pose(files["pose of one"])
    np.testing.assert_allclose(np.concatenate([one.locate([c], [b])[0] for c, b in zip(crops, boxes, strict=True)]), free[0], atol=2e-3)
    with pytest.raises(ValueError, match="more than the batch"):
        one.locate(crops, boxes)


def test_nobody_is_an_empty_list_never_the_whole_picture(dots):
    grey = np.full((360, 640, 3), 90, np.uint8)
    noise = np.random.default_rng(0).integers(0, 140, (360, 640, 3), np.uint8)
    assert dots[0].detect([grey, noise]) == [[], []]


def test_a_graph_of_another_shape_is_refused(files):
    with pytest.raises(UserError, match="not one picture of"):
        OnnxNetwork(files["pose"], "cpu", 1, (640, 640), 64)


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"not a graph")
    with pytest.raises(UserError, match="cannot open"):
        OnnxNetwork(tmp_path / "x.onnx", "cpu", 1, (640, 640), 64)


def test_a_run_that_fails_is_one_line_that_names_the_settings(files, monkeypatch):
    network = open_pose(files["pose"]).network

    class OutOfMemory:
        def run(self, *_):
            raise RuntimeError("Failed to allocate memory\nfor requested buffer")

    monkeypatch.setattr(network, "_session", OutOfMemory())
    with pytest.raises(UserError, match=r"p\.onnx: Failed to allocate memory for requested buffer; if memory is short.*pose_batch"):
        network.run([np.zeros((3, 384, 288), np.float32)])


# rtmlib is another's implementation of both networks' pre- and post-processing.


@pytest.fixture(scope="module")
def rtm(files):
    rtmlib = pytest.importorskip("rtmlib")
    theirs = rtmlib.YOLOX(str(files["detector"]), (640, 640), nms_thr=0.45, score_thr=0.3, backend="onnxruntime")
    return theirs, rtmlib.RTMPose(str(files["pose"]), (288, 384), backend="onnxruntime")


@pytest.mark.parametrize("size_px", [(1920, 1080), (1080, 1920), (640, 640), (224, 224), (1279, 719), (333, 500), (64, 2000)])
def test_the_letterbox_is_rtmlibs(rtm, size_px):
    picture = RNG.integers(0, 255, (size_px[1], size_px[0], 3), np.uint8)
    theirs, ratio = rtm[0].preprocess(np.ascontiguousarray(picture[..., ::-1]))
    ours, scale = letterbox(picture)
    np.testing.assert_array_equal(ours, theirs)
    assert scale == ratio


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_the_crop_and_the_way_back_are_rtmlibs(rtm, seed):
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 255, (rng.integers(60, 500), rng.integers(60, 700), 3), np.uint8)
    picture = np.repeat(np.repeat(picture, 3, axis=0), 3, axis=1)  # so that the last bit of a coordinate does not decide a pixel's colour
    a, b = rng.uniform(-50, 300, 2), rng.uniform(20, 900, 2)
    box = np.concatenate([a, a + b])
    theirs, centre, scale = rtm[1].preprocess(picture, box)
    np.testing.assert_allclose(np.concatenate([centre, scale]), crop_frame(box), rtol=1e-6)
    ours = pose.normalised(crop(picture, box)).transpose(1, 2, 0)
    difference = np.abs(ours - theirs)
    assert np.percentile(difference, 99) < 0.1  # OpenCV places samples on a grid of 1/32 px; theirs rounds the matrix to float32
    simcc_x, simcc_y = rng.normal(0.2, 0.3, (1, 133, 576)).astype(np.float32), rng.normal(0.2, 0.3, (1, 133, 768)).astype(np.float32)
    wanted, _ = rtm[1].postprocess([simcc_x, simcc_y], centre, scale)
    places, scores = decode_simcc(simcc_x, simcc_y, refine=False)
    back = (places - [144, 192]) * scale[0] / 288 + centre
    np.testing.assert_allclose(back, wanted, atol=1e-3)
    np.testing.assert_array_equal(scores, np.clip(np.minimum(simcc_x.max(2), simcc_y.max(2)), 0, 1))  # rtmlib's is the mean of the two


def test_the_whole_chain_is_rtmlibs(rtm, files):
    crowd = [DotPerson(500, 420, 110, 12), DotPerson(1400, 500, 140, -20)]
    picture = draw(crowd, WIDTH_PX, HEIGHT_PX)
    detect, locate = open_detector(files["detector"]), open_pose(files["pose"], refine=False)
    (ours,) = detect.detect([picture])
    theirs = rtm[0](np.ascontiguousarray(picture[..., ::-1]))
    order = np.argsort([box[0] for box in theirs])
    ours = sorted(ours, key=lambda person: person.box_px[0])
    limits = [WIDTH_PX, HEIGHT_PX] * 2
    np.testing.assert_allclose([person.box_px for person in ours], np.clip(theirs[order], 0, limits), atol=1e-3)
    boxes = [person.box_px for person in ours]
    wanted, _ = rtm[1](picture, boxes)
    points, _ = locate.locate([crop(picture, box) for box in boxes], boxes)
    step = max(crop_frame(box)[2] for box in boxes) / 288 / 2  # of the decoding: a rounding may fall the other way
    assert np.percentile(np.abs(points - 0.5 - wanted), 98) < 1e-2
    assert np.abs(points - 0.5 - wanted).max() < step * 1.01


def crowded_output(seed: int) -> np.ndarray:
    """(8400, 85) of the detector with 150 overlapping people, and other classes."""
    rng = np.random.default_rng(seed)
    raw = np.zeros((8400, 85), np.float32)
    raw[:, :2], raw[:, 2:4] = rng.uniform(-1, 2, (8400, 2)), rng.normal(1.5, 0.7, (8400, 2))
    live = rng.choice(8400, 150, replace=False)
    raw[live, 4], raw[live, 5] = rng.uniform(0, 1, 150), rng.uniform(0, 1, 150)
    raw[rng.choice(8400, 50), 6] = 1.0
    return raw


@pytest.mark.parametrize("seed", range(12))
def test_decoding_and_suppression_are_rtmlibs(rtm, seed):
    raw = crowded_output(seed)
    boxes, scores = decode(raw)
    kept = suppress(boxes, scores, 0.3, 0.45)
    rtm[0].det_mode = "multiclass"
    theirs, classes = rtm[0].postprocess(raw[None].copy(), 1.0)
    theirs = theirs[classes == 0]
    assert abs(len(theirs) - len(kept)) <= 1
    missing = sum(np.abs(theirs - box).max(axis=1).min() > 1e-3 for box in boxes[kept])
    assert missing <= 1  # they count a box one pixel wider, which decides a few overlaps otherwise


@pytest.mark.slow  # for the import of torch
@pytest.mark.parametrize("seed", range(50))
def test_suppression_is_torchvisions(seed):
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    boxes, scores = decode(crowded_output(seed))
    found = np.flatnonzero(scores > 0.3)
    reference = found[torchvision.ops.nms(torch.tensor(boxes[found]), torch.tensor(scores[found]), 0.45).numpy()]
    np.testing.assert_array_equal(suppress(boxes, scores, 0.3, 0.45), reference)


def test_no_box_scores_enough():
    assert len(suppress(np.zeros((5, 4)), np.zeros(5), 0.3, 0.45)) == 0


def test_the_neck_is_dwposes_own():
    points, scores = RNG.normal(size=(5, 133, 2)), RNG.uniform(size=(5, 133))
    ours = with_neck(points, scores)
    conversion = pytest.importorskip("rtmlib.tools.pose_estimation.post_processings").convert_coco_to_openpose
    theirs = conversion(points.copy(), scores.copy())
    np.testing.assert_allclose(ours[0][:, 24:], theirs[0][:, 24:])
    np.testing.assert_allclose(ours[0][:, 24:92], points[:, pose.FACE])
    np.testing.assert_allclose(ours[0][:, 17], theirs[0][:, 1])  # it then reorders the body, the neck to 1
    np.testing.assert_allclose(ours[1][:, 17], theirs[1][:, 1])


@given(place=st.floats(3, 570), width=st.floats(3, 9))
def test_a_peak_between_bins_is_found(place, width):
    bins = np.exp(-(((np.arange(576) - place) / width) ** 2) / 2).astype(np.float32)[None, None]
    refined, _ = decode_simcc(bins, bins)
    plain, _ = decode_simcc(bins, bins, refine=False)
    assert abs(refined[0, 0, 0] * 2 - place) < 0.03
    assert abs(plain[0, 0, 0] * 2 - place) <= 0.5 + 1e-6
    assert np.abs(refined - plain).max() <= 0.25 + 1e-6


def test_plateaus_and_edges_have_no_peak_between_bins():
    flat = np.ones((1, 1, 10), np.float32)
    edge = np.zeros((1, 1, 10), np.float32)
    edge[..., -1] = 1
    for bins, place in ((flat, 0), (edge, 4.5)):
        places, _ = decode_simcc(bins, bins)
        np.testing.assert_array_equal(places, place)


def test_the_crop_matrix_takes_the_padded_box_to_the_networks_picture():
    box = np.array([100.0, 50.0, 400.0, 650.0])
    x, y, width, height = crop_frame(box)
    assert (x, y, height) == (250, 350, 750)
    corners = np.array([[x - width / 2, y - height / 2, 1], [x + width / 2, y + height / 2, 1]])
    np.testing.assert_allclose(corners @ crop_matrix(box).T, [[0, 0], [288, 384]], atol=1e-9)


def test_the_planted_mixture_is_affine():
    np.testing.assert_allclose(MIXTURE.sum(axis=1), 1)
    assert detector.PERSON == 0
