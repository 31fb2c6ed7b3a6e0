//! Points and areas against what Redis answers, and areas against looking at every point.

use base::random::Rng;
use ds::geo::{Area, Point};

fn point(longitude: f64, latitude: f64) -> Point {
    Point { longitude, latitude }
}

const PALERMO: Point = Point { longitude: 13.361389, latitude: 38.115556 };
const CATANIA: Point = Point { longitude: 15.087269, latitude: 37.502669 };

#[test]
fn scores_and_back() {
    let check = |place: Point, score: f64, longitude: f64, latitude: f64| {
        assert_eq!(place.score(), score);
        assert_eq!(Point::of_score(score), point(longitude, latitude));
    };
    check(PALERMO, 3479099956230698.0, 13.361389338970184, 38.1155563954963);
    check(CATANIA, 3479447370796909.0, 15.087267458438873, 37.50266842333162);
    check(point(0.0, 0.0), 3377699720527872.0, 2.682209014892578e-6, 1.2673605809254695e-6);
    check(point(-180.0, -85.05112878), 0.0, -179.99999731779099, -85.05112751263943);
    // On the eastern and northern edge a score has more than 52 bits.
    check(point(180.0, 85.05112878), 13510798882111488.0, 180.0, 85.05112878);
}

/// A sorted set may hold any score.
#[test]
fn any_score_is_a_valid_point() {
    let scores = [0.5, -1.0, -0.5, -1e300, 1e300, f64::INFINITY, f64::NEG_INFINITY, 2e19, 9007199254740993.0];
    for score in scores {
        assert!(Point::of_score(score).is_valid(), "{score}");
    }
    assert_eq!(Point::of_score(-0.5), Point::of_score(0.0));
}

#[test]
fn validity() {
    assert!(point(180.0, 85.05112878).is_valid() && point(-180.0, -85.05112878).is_valid());
    for bad in [point(180.1, 0.0), point(-181.0, 0.0), point(0.0, 85.06), point(0.0, f64::NEG_INFINITY)] {
        assert!(!bad.is_valid(), "{bad:?}");
    }
}

#[test]
fn distances() {
    let check = |from: Point, to: Point, expected: &str| {
        let (from, to) = (Point::of_score(from.score()), Point::of_score(to.score()));
        assert_eq!(format!("{:.4}", from.distance(to)), expected, "{from:?} {to:?}");
        assert_eq!(format!("{:.4}", to.distance(from)), expected);
    };
    check(PALERMO, CATANIA, "166274.1516");
    check(PALERMO, PALERMO, "0.0000");
    check(point(5.0, -10.0), point(5.0, 20.0), "3336789.1688");
    check(point(0.0, 0.0), point(180.0, 0.0), "20020733.6202");
    check(point(-90.0, 30.0), point(90.0, -30.0), "20020734.0000");
}

#[test]
fn geohashes() {
    let check = |place: Point, expected: &[u8; 11]| {
        assert_eq!(&Point::of_score(place.score()).geohash(), expected);
    };
    check(PALERMO, b"sqc8b49rny0");
    check(CATANIA, b"sqdtr74hyu0");
    check(point(-5.6, 42.6), b"ezs42e44yx0");
}

fn any_point(rng: &mut Rng, latitude_max: f64) -> Point {
    let unit = |rng: &mut Rng| rng.below(1 << 53) as f64 / (1u64 << 53) as f64;
    point(unit(rng) * 360.0 - 180.0, (unit(rng) * 2.0 - 1.0) * latitude_max)
}

/// Near the center, so that a good part lies inside.
fn near(rng: &mut Rng, center: Point, degrees: f64) -> Point {
    let offset = any_point(rng, 90.0);
    let longitude = center.longitude + offset.longitude / 180.0 * degrees;
    let latitude = center.latitude + offset.latitude / 90.0 * degrees;
    point((longitude + 540.0).rem_euclid(360.0) - 180.0, latitude.clamp(-85.0, 85.0))
}

fn check_area(rng: &mut Rng, area: &Area, degrees: f64) {
    let ranges: Vec<_> = area.scores().collect();
    for (index, range) in ranges.iter().enumerate() {
        let before = &ranges[..index];
        assert!(before.iter().all(|other| other.end <= range.start || range.end <= other.start), "{area:?}");
    }
    for _ in 0..200 {
        let place = near(rng, area.center, degrees);
        if let Some(distance) = area.distance_inside(place) {
            let score = place.score();
            assert!(ranges.iter().any(|range| range.contains(&score)), "{area:?} {place:?}");
            assert_eq!(distance, area.center.distance(place));
        }
    }
}

#[test]
fn areas_are_covered() {
    let mut rng = Rng::from_seed(7);
    for round in 0..3000 {
        let center = any_point(&mut rng, 70.0);
        let meters = 10f64.powf(rng.below(60) as f64 / 10.0);
        let degrees = (meters / 60_000.0).min(60.0);
        let area = match round % 3 {
            0 => Area::circle(center, meters),
            1 => Area::rectangle(center, meters, meters * 10f64.powf(rng.below(20) as f64 / 10.0 - 1.0)),
            _ => {
                let corners = (0..3 + rng.below(5)).map(|_| near(&mut rng, center, degrees.min(20.0)));
                Area::polygon(corners.collect())
            }
        };
        // Redis does not look across the date line for all of it.
        if center.longitude.abs() + degrees < 170.0 {
            check_area(&mut rng, &area, degrees);
        }
    }
}

#[test]
fn the_whole_earth() {
    let everywhere = Area::circle(point(10.0, 10.0), 30_000_000.0);
    let ranges: Vec<_> = everywhere.scores().collect();
    assert_eq!(ranges.len(), 4, "one for each quarter, none twice");
    let mut rng = Rng::from_seed(8);
    for _ in 0..1000 {
        let score = any_point(&mut rng, 85.0).score();
        assert_eq!(ranges.iter().filter(|range| range.contains(&score)).count(), 1);
    }
}

#[test]
fn polygons() {
    let square = Area::polygon(vec![point(0.0, 0.0), point(10.0, 0.0), point(10.0, 10.0), point(0.0, 10.0)]);
    assert!(square.distance_inside(point(5.0, 5.0)).is_some());
    assert!(square.distance_inside(point(11.0, 5.0)).is_none());
    assert!(square.distance_inside(point(-0.1, 5.0)).is_none());
    // A horseshoe, open to the north.
    let outline =
        [(0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (6.0, 9.0), (6.0, 3.0), (3.0, 3.0), (3.0, 9.0), (0.0, 9.0)];
    let horseshoe = Area::polygon(outline.map(|(longitude, latitude)| point(longitude, latitude)).to_vec());
    assert!(horseshoe.distance_inside(point(1.0, 8.0)).is_some());
    assert!(horseshoe.distance_inside(point(8.0, 8.0)).is_some());
    assert!(horseshoe.distance_inside(point(4.5, 8.0)).is_none());
    // Round the pole: its center is the pole, where no point can be.
    let corners = [-180.0, -90.0, 0.0, 90.0].map(|longitude| point(longitude, 84.0)).to_vec();
    let polar = Area::polygon(corners);
    assert!(polar.center.latitude > 89.0);
    assert!(polar.scores().count() > 0);
}
